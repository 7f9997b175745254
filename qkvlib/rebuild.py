"""A cache that keeps keys only and computes the values from them.

Where keys and values are made from the same input by square matrices, the one can be had from the
other: x W_K = k gives x = k W_K⁻¹, so v = x W_V = k (W_K⁻¹ W_V). A model trained with three
projections then needs half the cache, with no loss but rounding. How much rounding depends on how
near W_K is to having no inverse.

Source: Graef and Wasielewski (2025), *Slim attention*, arXiv:2503.05840.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from qkvlib.attention import Attention
from qkvlib.cache import KVCache, LayerCache, marks
from qkvlib.models import GPT
from qkvlib.rotary import RotateOnRead


class ConditioningError(ValueError):
    """A layer's values cannot be had from its keys with the numbers there are."""


class ConditioningWarning(UserWarning):
    """A layer's values will differ from the exact ones by more than rounding usually does."""


@dataclass(frozen=True)
class Rebuilding:
    """How one layer's values follow from its keys: v = k @ matrix + offset.

    Attributes:
        matrix: Shape (d_model, d_model), float64.
        offset: Shape (d_model,), float64; what the biases come to.
        condition: Condition number of W_K, its largest singular value divided by its smallest. A
            relative error in the keys can come out this many times larger in the values.
    """

    matrix: Tensor
    offset: Tensor
    condition: float


def rebuilding(attention: Attention) -> Rebuilding:
    """Work out how a layer's values follow from its keys.

    Args:
        attention: Of a model with QKV, as many KV heads as query heads, and heads that together
            are as wide as the model.

    Raises:
        ValueError: If the layer is of another kind; the message says why that does not work.
    """
    config = attention.config
    if config.sharing.name != "QKV":
        raise ValueError(
            f"sharing={config.sharing.name} {config.sharing.tuple_form}: values are rebuilt from "
            "keys where keys and values differ and each has a projection: sharing='QKV'."
            + (" Here keys are values already." if len(config.sharing.cached) == 1 else "")
        )
    width = config.n_kv_heads * config.head_dim
    if width != config.d_model:
        raise ValueError(
            f"the keys of n_kv_heads={config.n_kv_heads} heads have {width} numbers, and the input "
            f"has d_model={config.d_model}: what is narrower cannot be turned back into what it "
            f"was made from. This works for MHA only, with n_kv_heads * head_dim = d_model."
        )
    if config.rotary_dim and not isinstance(attention.scheme, RotateOnRead):
        raise ValueError(
            "position='rope' keeps keys turned by their position, and W_K is undone on keys as "
            "projected. Build the model with rope_scheme='rotate_on_read': it takes the same "
            "weights, and has the logits of rope_scheme='two_tensors'."
        )
    weight, bias = attention.in_proj.weight.detach(), attention.in_proj.bias
    _, w_k, w_v = torch.split(weight.double(), attention.widths)
    # As nn.Linear has it, k = x W_K^T + b_K. Without an inverse the result means nothing, and the
    # condition number says so; solve() would raise with a message about LAPACK.
    matrix, _ = torch.linalg.solve_ex(w_k.T, w_v.T)
    offset = torch.zeros(config.d_model, dtype=torch.float64, device=w_k.device)
    if bias is not None:
        _, b_k, b_v = torch.split(bias.detach().double(), attention.widths)
        offset = b_v - b_k @ matrix
    sizes = torch.linalg.svdvals(w_k).tolist()
    condition = sizes[0] / sizes[-1] if sizes[-1] > 0 else math.inf
    return Rebuilding(matrix, offset, condition)


class _RebuildLayer(LayerCache):
    """Keeps keys, hands out keys and values."""

    def __init__(self, keys: Tensor, chunk: int | None, how: Rebuilding) -> None:
        super().__init__({"k": keys}, chunk)
        self._matrix, self._offset = (
            each.to(dtype=keys.dtype, device=keys.device) for each in (how.matrix, how.offset)
        )

    def append(self, new: Mapping[str, Tensor]) -> dict[str, Tensor]:
        k = super().append(new)["k"]  # (B, H, S, D)
        b, heads, s, dim = k.shape
        v = k.transpose(1, 2).flatten(2) @ self._matrix + self._offset  # (B, S, d_model)
        return {"k": k, "v": v.view(b, s, heads, dim).transpose(1, 2)}


class RebuildCache(KVCache):
    """A KV cache of half the size for a plain QKV model: keys are kept, values computed from them.

    Args:
        model: The model that it will be used with; QKV with MHA.
        batch_size: As for :class:`~qkvlib.KVCache`, as are the next two.
        capacity: Tokens to make room for at once.
        chunk: Tokens to grow by.
        tolerance: Largest relative error of the values to put up with, as estimated by the
            condition number of W_K times the precision of the model's number format. Beyond a
            tenth of it there is a warning.

    Attributes:
        conditions: Condition number of W_K, for each layer.

    Raises:
        ConditioningError: If the estimate is beyond the tolerance in some layer.
        ValueError: If the model is of another kind, or as for :class:`~qkvlib.KVCache`. In use also
            where it is given to another model, or to this one with other weights.

    Each decoding step multiplies all S keys by a matrix (d_model, d_model): less memory is paid for
    with more arithmetic. That matrix takes the place of W_V, so it needs no room of its own.
    """

    def __init__(
        self,
        model: GPT,
        batch_size: int = 1,
        *,
        capacity: int | None = None,
        chunk: int | None = None,
        tolerance: float = 1e-2,
    ) -> None:
        weight = next(model.parameters())
        self._made_of = marks(_projections(model))
        ways = [rebuilding(part) for part in model.modules() if isinstance(part, Attention)]
        self.conditions = [how.condition for how in ways]
        _judge(self.conditions, weight.dtype, tolerance)
        super().__init__(
            model.config,
            batch_size,
            capacity=capacity,
            chunk=chunk,
            dtype=weight.dtype,
            device=weight.device,
        )
        self.layers = [
            _RebuildLayer(layer.tensors["k"], chunk, how)
            for layer, how in zip(self.layers, ways, strict=True)
        ]

    def _kept(self) -> Mapping[str, int]:
        return {"k": self.config.cached["k"]}  # never any room for values

    def check_model(self, model: nn.Module) -> None:
        """Refuse any model but the one it was made from: its weights rebuild the values."""
        super().check_model(model)
        if marks(_projections(model)) != self._made_of:
            raise ValueError(
                "this RebuildCache computes values by the weights of the model it was made from, "
                "as they were then; this is another model, or it was trained or moved since. Make "
                "the cache anew: RebuildCache(model)."
            )


def _projections(model: nn.Module) -> list[Tensor]:
    parts = [part for part in model.modules() if isinstance(part, Attention)]
    return [weight for part in parts for weight in part.in_proj.parameters()]


def _judge(conditions: list[float], dtype: torch.dtype, tolerance: float) -> None:
    """Refuse, or warn of, what would come out too far from the exact values."""
    precision = torch.finfo(dtype).eps
    worst = max(range(len(conditions)), key=conditions.__getitem__)
    error = conditions[worst] * precision
    said = (
        f"layer {worst}: W_K has a condition number of {conditions[worst]:.2g}, so with "
        f"{str(dtype).removeprefix('torch.')} rebuilt values may be off by {error:.1g} of their "
        "size"
    )
    if not error <= tolerance:  # also where the condition is infinite or not a number
        raise ConditioningError(
            f"{said}, more than tolerance={tolerance:g}. Use a plain KVCache, a number format of "
            "more digits (model.double()), or a larger tolerance if you measure the error."
        )
    if error > tolerance / 10:
        warnings.warn(f"{said}.", ConditioningWarning, stacklevel=3)
