"""How positions enter: sinusoidal vectors, learned vectors, and the (X)+ term on the scores."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from qkvlib.config import StackConfig


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


def sinusoid_2d(grid: tuple[int, int], dim: int) -> Tensor:
    """Sinusoidal vectors of the places of a grid, in reading order.

    Args:
        grid: Rows and columns.
        dim: Width of each vector: the first half of it, rounded up, codes the row, the rest the
            column.

    Returns:
        Shape (rows * columns, dim), float32.

    Source: the two-dimensional form used by Dosovitskiy et al. (2021), appendix D.4.
    """
    rows, columns = grid
    of_row = sinusoid(rows, dim - dim // 2).repeat_interleave(columns, dim=0)
    return torch.cat([of_row, sinusoid(columns, dim // 2).repeat(rows, 1)], dim=-1)


class PositionEmbedding(nn.Module):
    """Adds one vector per position: learned, sinusoidal in one or two dimensions, or none.

    In an image these are the positions of patches; a class token is none of them.
    """

    def __init__(self, config: StackConfig) -> None:
        super().__init__()
        grid, dim = config.grid, config.d_model
        length = config.max_seq_len if grid is None else grid[0] * grid[1]
        if config.position == "learned":
            self.table: Tensor | None = nn.Parameter(torch.empty(length, dim))
        elif config.position in ("none", "rope"):  # turning is up to attention
            self.table = None
        else:
            if config.position == "sinusoidal" or grid is None:
                table = sinusoid(length, dim)
            else:
                table = sinusoid_2d(grid, dim)
            # Recomputed from the configuration, so it has no place in a checkpoint.
            self.register_buffer("table", table, persistent=False)

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        """Add positions start, start + 1, … to x.

        Args:
            x: Shape (B, T, d_model).
            start: Position of the first of the T tokens.

        Returns:
            Shape (B, T, d_model).
        """
        return x if self.table is None else x + self.table[start : start + x.shape[1]]


def plus_codes(config: StackConfig) -> Tensor:
    """What (X)+ is told of each position.

    Returns:
        Shape (max_seq_len, c), float32. By index, c = m / 2 sinusoids of the place in the sequence.
        On a grid, c = m: m / 2 of the patch's row, then m / 2 of its column; a class token, which
        has no place, is all zeros. Without positions, c = m / 2 zeros.

    The paper says that (row, col) are coded, not how its ten channels divide between the two; here
    each coordinate gets as many as an index gets.
    """
    half = config.plus_channels // 2
    if config.plus_position == "none":
        return torch.zeros(config.max_seq_len, half)
    if config.plus_position == "index" or config.grid is None:
        return sinusoid(config.max_seq_len, half)
    rows, columns = config.grid
    of_row = sinusoid(rows, half).repeat_interleave(columns, dim=0)
    codes = torch.cat([of_row, sinusoid(columns, half).repeat(rows, 1)], dim=-1)
    return F.pad(codes, (0, 0, config.max_seq_len - len(codes), 0))


class PlusTerm(nn.Module):
    """The (X)+ term: a learned, positional correction of the score map.

    A fixed tensor P of shape (n, n, m) with P[i, j] = [sinusoid(i); sinusoid(j)] is added to the
    scores S, broadcast over m channels, and a learned 1x1 convolution (w, b) folds the channels::

        S'[i, j] = sum_c w_c (S[i, j] + P[i, j, c]) + b
                 = S[i, j] sum(w)  +  sinusoid(i) . w_row  +  sinusoid(j) . w_column  +  b

    The second line is what runs here: two vectors of length n in place of n x n x m numbers.
    Whatever the learned w, the correction is a term in i plus a term in j. Weights start at
    1/m and 0, so that S' starts as S plus a small bias. On a grid there are twice as many
    channels, see :func:`plus_codes`.

    Source: Kayyam et al. (2026), section 3.3.
    """

    def __init__(self, config: StackConfig) -> None:
        super().__init__()
        codes = plus_codes(config)
        m = 2 * codes.shape[1]
        self.weight = nn.Parameter(torch.full((m,), 1.0 / m))
        self.bias = nn.Parameter(torch.zeros(()))
        self.register_buffer("table", codes, persistent=False)
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
