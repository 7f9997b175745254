"""Rotary positions, and the ways in which a key that turns can be a value as well.

A rotation by an angle that grows with the position is given to queries and keys, so that their dot
product depends on how far apart they stand. Without tying that is all. Where keys are values, it
has to be said what becomes of the values: see :data:`~qkvlib.ROPE_SCHEMES`.

Axis letters: B batch, T query positions, S key positions, H query heads, G KV heads, D head_dim.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import torch
from torch import Tensor, nn

from qkvlib.config import TURNED, ModelConfig, StackConfig


class Rotary(nn.Module):
    """Turns pairs of columns by angles proportional to the position.

    Of the first ``rotary_dim`` columns r, column c and column c + r/2 are a pair, which turns by
    ``position * base ** (-2 c / r)``. The other columns stay as they are.

    Args:
        rotary_dim: Columns that turn; even.
        max_seq_len: Positions there are.
        base: Ratio between the longest and the shortest wavelength.

    Source: Su et al. (2021), section 3.2, with the pairing of columns that GPT-NeoX introduced.
    """

    def __init__(self, rotary_dim: int, max_seq_len: int, base: float) -> None:
        super().__init__()
        self.rotary_dim = rotary_dim
        speed = base ** (-torch.arange(0, rotary_dim, 2, dtype=torch.float64) / rotary_dim)
        angle = torch.arange(max_seq_len, dtype=torch.float64)[:, None] * speed  # (n, r / 2)
        # Recomputed from the configuration, so they have no place in a checkpoint.
        self.register_buffer("cos", angle.cos().float(), persistent=False)
        self.register_buffer("sin", angle.sin().float(), persistent=False)
        self.cos: Tensor
        self.sin: Tensor

    def turn(self, x: Tensor, start: int = 0) -> Tensor:
        """Turn vectors at positions start, start + 1, …

        Args:
            x: Shape (…, T, D).
            start: Position of the first of the T vectors.

        Returns:
            The same shape; lengths are unchanged.

        Raises:
            ValueError: If a position is not among the ``max_seq_len`` that there are.
        """
        return self._by(x, start, 1.0)

    def turn_back(self, x: Tensor, start: int = 0) -> Tensor:
        """Undo :meth:`turn`; arguments as there."""
        return self._by(x, start, -1.0)

    def _by(self, x: Tensor, start: int, direction: float) -> Tensor:
        end, most = start + x.shape[-2], len(self.cos)
        if not 0 <= start <= end <= most:  # a slice would be shorter, and spread over all vectors
            raise ValueError(
                f"positions {start} to {end - 1}: there are {most}, from 0 to {most - 1}. Make the "
                "rotation for more of them (max_seq_len)."
            )
        at = slice(start, end)
        cos, sin = self.cos[at], direction * self.sin[at]
        turning, rest = x[..., : self.rotary_dim], x[..., self.rotary_dim :]
        a, b = turning.chunk(2, dim=-1)
        return torch.cat([a * cos - b * sin, a * sin + b * cos, rest], dim=-1)


class KeyValueScheme(nn.Module):
    """What attention keeps of each token, and how keys and values come from what is kept.

    This one knows no positions: what is projected is what is kept and what is read.
    """

    def __init__(self, config: StackConfig) -> None:
        super().__init__()
        self.k, self.v = config.sharing.roles["k"], config.sharing.roles["v"]

    def query(self, q: Tensor, start: int) -> Tensor:
        """Return the queries as they are compared with keys.

        Args:
            q: Shape (B, H, T, D), as projected.
            start: Position of the first of the T tokens.
        """
        return q

    def keep(self, projected: Mapping[str, Tensor], start: int) -> dict[str, Tensor]:
        """Return what is kept of T new tokens.

        Args:
            projected: Projection name -> tensor of shape (B, G, T, D).
            start: Position of the first of them.

        Returns:
            For each name in ``config.cached`` a tensor of shape (B, G, T, its columns).
        """
        return {name: projected[name] for name in dict.fromkeys((self.k, self.v))}

    def read(self, kept: Mapping[str, Tensor], first: int = 0) -> tuple[Tensor, Tensor]:
        """Return keys and values, each (B, G, S, D), of all S tokens that are kept.

        Args:
            kept: As :meth:`keep` returns it, for all S tokens.
            first: Position of the first of them.
        """
        return kept[self.k], kept[self.v]

    def output(self, y: Tensor, start: int) -> Tensor:
        """Return what each query takes away, from the weighted mean of values (B, H, T, D)."""
        return y


class _Turning(KeyValueScheme):
    """Queries turn. Keys are kept turned, values plain: what models without K=V do."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.rotary = Rotary(config.rotary_dim, config.max_seq_len, config.rope_base)

    def query(self, q: Tensor, start: int) -> Tensor:
        return self.rotary.turn(q, start)

    def keep(self, projected: Mapping[str, Tensor], start: int) -> dict[str, Tensor]:
        plain = super().keep(projected, start)
        return plain | {self.k: self.rotary.turn(plain[self.k], start)}


class RotateOnRead(_Turning):
    """Keys are kept as projected, so they can be values, and turned each time they are read."""

    def keep(self, projected: Mapping[str, Tensor], start: int) -> dict[str, Tensor]:
        return KeyValueScheme.keep(self, projected, start)

    def read(self, kept: Mapping[str, Tensor], first: int = 0) -> tuple[Tensor, Tensor]:
        k, v = super().read(kept, first)
        return self.rotary.turn(k, first), v


class RelativeValues(_Turning):
    """Values turn like keys, and the output is turned back by the position of its query.

    What is taken from position j is then turned by j - i: it depends on how far away j is.
    """

    def keep(self, projected: Mapping[str, Tensor], start: int) -> dict[str, Tensor]:
        plain = KeyValueScheme.keep(self, projected, start)
        return {name: self.rotary.turn(p, start) for name, p in plain.items()}

    def output(self, y: Tensor, start: int) -> Tensor:
        return self.rotary.turn_back(y, start)


class TwoTensors(_Turning):
    """Tied keys are kept twice: plain, as values, and their turning columns turned, as keys."""

    def keep(self, projected: Mapping[str, Tensor], start: int) -> dict[str, Tensor]:
        if self.k != self.v:
            return super().keep(projected, start)
        plain = projected[self.k]
        turned = self.rotary.turn(plain[..., : self.rotary.rotary_dim], start)
        return {self.k: plain, TURNED: turned}

    def read(self, kept: Mapping[str, Tensor], first: int = 0) -> tuple[Tensor, Tensor]:
        if self.k != self.v:
            return super().read(kept, first)
        plain = kept[self.k]
        return torch.cat([kept[TURNED], plain[..., self.rotary.rotary_dim :]], dim=-1), plain


_SCHEMES: Final[Mapping[str | None, type[_Turning]]] = MappingProxyType(
    {
        None: _Turning,
        "rotate_on_read": RotateOnRead,
        "relative_values": RelativeValues,
        "two_tensors": TwoTensors,
    }
)


def key_value_scheme(config: StackConfig) -> KeyValueScheme:
    """Build what the configuration asks for."""
    if isinstance(config, ModelConfig) and config.rotary_dim:
        return _SCHEMES[config.rope_scheme](config)
    return KeyValueScheme(config)
