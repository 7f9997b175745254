"""A linear layer that reads its weight with every thread of the CPU, also for a single token.

Decoding multiplies a row or a few by large matrices, and the time is that of reading these. PyTorch
leaves such a product to one thread, whatever number is allowed.
"""

from __future__ import annotations

import functools
from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

_PART: Final = 1 << 16
"""Numbers that a thread reads at least. Measured on two threads: with a weight of two such parts
decoding is faster; with smaller ones calling the second thread costs more than it saves."""

_FEW: Final = 8
"""Rows up to which sharing out gains much: 1.6 to 1.9 times as fast for 1 to 4, 1.3 times for 8."""

_CPU: Final = torch.device("cpu")


class Linear(nn.Linear):
    """``nn.Linear``; on a CPU, a few rows of float32 in inference are shared out among threads.

    Each thread takes some of the outputs, and computes them as one thread does all: the numbers are
    the same. Parameters, their names and files are those of ``nn.Linear``.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in_features) to (..., out_features)."""
        parts = self._parts(x)
        if parts == 1:
            return F.linear(x, self.weight, self.bias)
        rows = x.reshape(-1, self.in_features).expand(parts, -1, -1)
        columns = self.weight.reshape(parts, -1, self.in_features).transpose(1, 2)  # no copy
        if self.bias is None:
            y = torch.bmm(rows, columns)
        else:
            y = torch.baddbmm(self.bias.view(parts, 1, -1), rows, columns)
        return y.transpose(0, 1).reshape(*x.shape[:-1], self.out_features)

    def _parts(self, x: Tensor) -> int:
        # What is cheapest to know comes first: a small model's step has many such layers. Shapes
        # come after whether they are followed: an exporter would take the answer for a promise.
        if (
            self.in_features * self.out_features < 2 * _PART
            or torch.is_grad_enabled()
            or torch.compiler.is_compiling()
            or x.shape[-1:] != (self.in_features,)  # for PyTorch to refuse
            or not 0 < x.numel() <= _FEW * self.in_features
            or not x.dtype == self.weight.dtype == torch.float32
            or not x.device == self.weight.device == _CPU
        ):
            return 1
        return _equal_parts(self.out_features, self.in_features, torch.get_num_threads())


@functools.cache
def _equal_parts(n_rows: int, n_columns: int, n_threads: int) -> int:
    """The most parts, of as many rows each, that threads can have."""
    most = max(1, min(n_threads, n_rows * n_columns // _PART))
    return max(parts for parts in range(1, most + 1) if n_rows % parts == 0)
