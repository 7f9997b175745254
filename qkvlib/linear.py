"""A linear layer that reads its weight with every thread of the CPU, also for a single token.

Decoding multiplies a row or a few by large matrices, and the time is that of reading these. PyTorch
leaves a product of one to four rows to one thread, whatever number is allowed. But its library for
matrices on most x86 processors, MKL, gives the matrices of a batch to several threads. So here a
large weight becomes a batch of its parts.
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

    Each thread computes some of the outputs. They are sums of the same products; the order of
    adding, and so the last digit, may be another. Where PyTorch has no MKL, and with gradients on,
    this is ``nn.Linear``. Parameters, their names and files are always those of ``nn.Linear``.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in_features) to (..., out_features)."""
        weight, bias = self.weight, self.bias
        parts = _parts(x, weight, bias)
        if parts == 1:
            return F.linear(x, weight, bias)
        n_out, n_in = weight.shape
        rows = x.reshape(-1, n_in).expand(parts, -1, -1)
        columns = weight.reshape(parts, -1, n_in).transpose(1, 2)  # no copy
        if bias is None:
            y = torch.bmm(rows, columns)
        else:
            y = torch.baddbmm(bias.view(parts, 1, -1), rows, columns)
        return y.transpose(0, 1).reshape(*x.shape[:-1], n_out)


def _parts(x: Tensor, weight: Tensor, bias: Tensor | None) -> int:
    """Into how many parts to cut the weight. Whatever is unusual, PyTorch is to judge."""
    # What is cheapest to know comes first: a small model's step has many such layers. Shapes of x
    # come after whether they are followed: an exporter would take the answer for a promise.
    if (
        weight.numel() < 2 * _PART
        or torch.is_grad_enabled()
        or torch.compiler.is_compiling()
        or not torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]
        or weight.ndim != 2
        or weight.layout is not torch.strided
        or x.shape[-1:] != weight.shape[1:]
        or not 0 < x.numel() <= _FEW * weight.shape[1]
        or not x.dtype == weight.dtype == torch.float32
        or not x.device == weight.device == _CPU
        or (bias is not None and bias.shape != weight.shape[:1])
    ):
        return 1
    return _equal_parts(*weight.shape, torch.get_num_threads())


@functools.cache
def _equal_parts(n_rows: int, n_columns: int, n_threads: int) -> int:
    """The most parts, of as many rows each, that threads can have."""
    most = max(1, min(n_threads, n_rows * n_columns // _PART))
    return max(parts for parts in range(1, most + 1) if n_rows % parts == 0)
