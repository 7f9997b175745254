"""How positions enter: sinusoidal vectors, learned vectors, and the (X)+ term on the scores."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qkvlib.config import ModelConfig


def sinusoid(length: int, dim: int, *, base: float = 10_000.0) -> Tensor:
    """Sinusoidal position vectors.

    Args:
        length: Number of positions.
        dim: Width of each vector; when odd, the last sine has no cosine beside it.
        base: Ratio between the longest and the shortest wavelength.

    Returns:
        Shape (length, dim), float32: sine in even columns, cosine in odd ones.

    Source: Vaswani et al. (2017), section 3.5.
    """
    column = torch.arange(dim)
    frequency = base ** (-(column // 2 * 2).float() / dim)
    angle = torch.arange(length).float()[:, None] * frequency
    return torch.where(column % 2 == 0, angle.sin(), angle.cos())


class PositionEmbedding(nn.Module):
    """Adds one vector per position to the token embeddings: learned, sinusoidal, or none."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        shape = (config.max_seq_len, config.d_model)
        if config.position == "learned":
            self.table: Tensor | None = nn.Parameter(torch.empty(shape))
        elif config.position == "sinusoidal":
            # Recomputed from the configuration, so it has no place in a checkpoint.
            self.register_buffer("table", sinusoid(*shape), persistent=False)
        else:
            self.table = None

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        """Add positions start, start + 1, … to x.

        Args:
            x: Shape (B, T, d_model).
            start: Position of the first of the T tokens.

        Returns:
            Shape (B, T, d_model).
        """
        return x if self.table is None else x + self.table[start : start + x.shape[1]]


class PlusTerm(nn.Module):
    """The (X)+ term: a learned, positional correction of the score map.

    A fixed tensor P of shape (n, n, m) with P[i, j] = [sinusoid(i); sinusoid(j)] is added to the
    scores S, broadcast over m channels, and a learned 1x1 convolution (w, b) folds the channels::

        S'[i, j] = sum_c w_c (S[i, j] + P[i, j, c]) + b
                 = S[i, j] sum(w)  +  sinusoid(i) . w_row  +  sinusoid(j) . w_column  +  b

    The second line is what runs here: two vectors of length n in place of n x n x m numbers.
    Whatever the learned w, the correction is a term in i plus a term in j. Weights start at
    1/m and 0, so that S' starts as S plus a small bias.

    Source: Kayyam et al. (2026), section 3.3.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        m = config.plus_channels
        self.weight = nn.Parameter(torch.full((m,), 1.0 / m))
        self.bias = nn.Parameter(torch.zeros(()))
        self.register_buffer("table", sinusoid(config.max_seq_len, m // 2), persistent=False)
        self.table: Tensor

    def forward(self, length: int) -> tuple[Tensor, Tensor]:
        """Return what to multiply the scores by, and what to add.

        Args:
            length: Sequence length n.

        Returns:
            gain: Shape (), the sum of the weights.
            addend: Shape (n, n), so that S' = gain * S + addend.
        """
        w_row, w_column = self.weight.chunk(2)
        codes = self.table[:length]
        addend = (codes @ w_row)[:, None] + (codes @ w_column)[None, :] + self.bias
        return self.weight.sum(), addend
