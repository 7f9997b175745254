"""Lesson 10: codes of rows and columns, and the one picture that softmax takes from a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor

from qkvlib.check.base import CheckFailed, as_tensor, call
from qkvlib.position import sinusoid, sinusoid_2d

Code = Callable[[int, int, int], Tensor]

_GRIDS: Final = ((2, 3, 8), (7, 7, 64), (4, 4, 6), (3, 5, 7))  # rows, columns, dim; not all square


# The table of rows and columns


def _halves(dim: int) -> tuple[int, int]:
    return dim - dim // 2, dim // 2


def _joined(of_row: Tensor, of_column: Tensor) -> Tensor:
    return torch.cat([of_row, of_column], dim=-1)


def _column_first(rows: int, columns: int, dim: int) -> Tensor:
    row, column = _halves(dim)
    return _joined(
        sinusoid(columns, row).repeat(rows, 1),
        sinusoid(rows, column).repeat_interleave(columns, dim=0),
    )


def _both_repeated(rows: int, columns: int, dim: int) -> Tensor:
    row, column = _halves(dim)
    return _joined(
        sinusoid(rows, row).repeat(columns, 1), sinusoid(columns, column).repeat(rows, 1)
    )


def _both_stretched(rows: int, columns: int, dim: int) -> Tensor:
    row, column = _halves(dim)
    return _joined(
        sinusoid(rows, row).repeat_interleave(columns, dim=0),
        sinusoid(columns, column).repeat_interleave(rows, dim=0),
    )


def _down_the_columns(rows: int, columns: int, dim: int) -> Tensor:
    row, column = _halves(dim)
    return _joined(
        sinusoid(rows, row).repeat(columns, 1),
        sinusoid(columns, column).repeat_interleave(rows, dim=0),
    )


def _cut_from_wide(rows: int, columns: int, dim: int) -> Tensor:
    """Both halves cut out of codes of the whole width, whose waves are others."""
    row, column = _halves(dim)
    return _joined(
        sinusoid(rows, dim)[:, :row].repeat_interleave(columns, dim=0),
        sinusoid(columns, dim)[:, :column].repeat(rows, 1),
    )


def _odd_to_column(rows: int, columns: int, dim: int) -> Tensor:
    row, column = dim // 2, dim - dim // 2
    return _joined(
        sinusoid(rows, row).repeat_interleave(columns, dim=0),
        sinusoid(columns, column).repeat(rows, 1),
    )


_TABLE_MISTAKES: Final[list[tuple[str, Code]]] = [
    (
        "this is the code of the patch's number. Code its row with one half of the columns and its "
        "column with the other",
        lambda rows, columns, dim: sinusoid(rows * columns, dim),
    ),
    (
        "row and column have changed places: the first half of each vector codes the row",
        _column_first,
    ),
    (
        "your rows run 0, 1, 2, …, again and again. In reading order the row stays the same for a "
        "whole row of patches, 0, 0, 0, …: repeat_interleave",
        _both_repeated,
    ),
    (
        "your columns stay the same for several patches. In reading order the column changes with "
        "every patch, 0, 1, 2, …, and starts again: repeat(rows, 1)",
        _both_stretched,
    ),
    ("you go down the columns. Reading order goes along the rows", _down_the_columns),
    (
        "both halves are cut out of codes of width dim. Make each as wide as it is used: its waves "
        "depend on its width",
        _cut_from_wide,
    ),
    ("with an odd dim the row gets the larger half: dim - dim // 2", _odd_to_column),
    (
        "the codes of row and column are added up, so they cannot be told apart any more: row 1, "
        "column 2 is the same as row 2, column 1. Put them side by side: torch.cat(…, dim=-1)",
        lambda rows, columns, dim: (
            sinusoid(rows, dim).repeat_interleave(columns, dim=0)
            + sinusoid(columns, dim).repeat(rows, 1)
        ),
    ),
]


def grid_codes(fn: Callable[[int, int, int], Any]) -> None:
    """Check the two-dimensional position table, built from the one-dimensional one.

    Args:
        fn: Called as ``fn(rows, columns, dim)``, it returns a vector for each place of the grid in
            reading order, shape (rows * columns, dim): the first half, rounded up, is the sinusoid
            of the row, the rest that of the column.

    Raises:
        CheckFailed: Naming the mistake: numbers in place of rows and columns, halves that have
            changed places, another order than that of reading, halves of the wrong width.
    """
    cases = [f"{r} rows, {c} columns, dim={d}" for r, c, d in _GRIDS]
    got, wanted = [], [sinusoid_2d((r, c), d) for r, c, d in _GRIDS]
    for shown, (rows, columns, dim) in zip(cases, _GRIDS, strict=True):
        answer = call(fn, shown, rows, columns, dim)
        axes = "a row of numbers for each place, dim of them"
        got.append(as_tensor(answer, shown, (rows * columns, dim), axes))
    wrong = [i for i, g in enumerate(got) if not torch.allclose(g, wanted[i], atol=1e-5)]
    if not wrong:
        print(
            f"Correct for {len(_GRIDS)} grids: a vector that can be told apart for every place, "
            "and its row and column can be read off it."
        )
        return
    for words, mistake in _TABLE_MISTAKES:
        if all(
            torch.allclose(g, mistake(*case), atol=1e-5)
            for g, case in zip(got, _GRIDS, strict=True)
        ):
            raise CheckFailed(f"For {cases[wrong[0]]}: {words}.")
    first = wrong[0]
    off = (got[first] - wanted[first]).abs() > 1e-5
    place, column = (int(x) for x in off.nonzero()[0])
    part = "row" if column < _halves(_GRIDS[first][2])[0] else "column"
    raise CheckFailed(
        f"For {cases[first]}: the vector of place {place} (row {place // _GRIDS[first][1]}, column "
        f"{place % _GRIDS[first][1]}) differs at number {column}, in the half of the {part}: it is "
        f"{got[first][place, column].item():.3f}, and should be "
        f"{wanted[first][place, column].item():.3f}."
    )


# The height: what softmax can take from a table if every query takes the same


def _tables() -> list[tuple[str, Tensor]]:
    """Sums of a term in i and a term in j, which heights can replace, and a table that is none."""
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 6, generator=generator)
    ring = torch.eye(6).roll(1, dims=1) * 3
    return [
        ("a table that is a term in i plus a term in j", a[:, None] * 4 + b[None, :] + 0.7),
        ("a table with a term in j only", b.flip(0)[None, :].expand(6, 6)),
        ("a table with a term in i only", a[:, None].expand(6, 6)),
        ("a table that is no such sum", ring + torch.randn(6, 6, generator=generator)),
    ]


def _height(table: Tensor) -> Tensor:
    return table.mean(dim=0) - table.mean()


_HEIGHT_MISTAKES: Final[list[tuple[str, Callable[[Tensor], Tensor]]]] = [
    (
        "this is the part in i, which falls out of the softmax. Take the mean over i, dim=0, for "
        "a number for each j",
        lambda t: t.mean(dim=1) - t.mean(),
    ),
    (
        "this is the part in i, which falls out of the softmax. Take the mean over i, dim=0, for "
        "a number for each j",
        lambda t: t.mean(dim=1),
    ),
    ("subtract the mean, so that the heights sum to zero", lambda t: t.mean(dim=0)),
    (
        "one row is the whole story only where the table is a sum. Of a table that is none, take "
        "what all rows have in common: their mean",
        lambda t: t[0] - t[0].mean(),
    ),
    (
        "one row is the whole story only where the table is a sum, and its mean must go: take the "
        "mean of all rows, less the mean of all",
        lambda t: t[0],
    ),
    ("add up and divide by how many there are: a mean, not a sum", lambda t: _height(t) * len(t)),
    (
        "that is a softmax. The heights go into one, they are no weights yet",
        lambda t: _height(t).softmax(-1),
    ),
]


def height(fn: Callable[[Tensor], Any]) -> None:
    """Check a function that finds the one picture that comes closest to a table of scores.

    Args:
        fn: Called as ``fn(addend)`` with what is added to the scores, shape (n, n), it returns one
            number for each place that is looked at, shape (n,), of mean zero: the best
            approximation, by least squares, up to a constant in each row.

    Raises:
        CheckFailed: Naming the mistake: the wrong axis, a constant left in, one row taken for all.
    """
    cases = _tables()
    got = []
    for shown, table in cases:
        answer = call(fn, shown, table.clone())
        axes = "one number for each place that is looked at"
        if tuple(getattr(answer, "shape", ())) == (6, 6):
            axes += ". A table with a row for each i is not one picture"
        got.append(as_tensor(answer, shown, (6,), axes))
    wrong = [
        i for i, (_, t) in enumerate(cases) if not torch.allclose(got[i], _height(t), atol=1e-5)
    ]
    if wrong:
        shown, table = cases[wrong[0]]
        for words, mistake in _HEIGHT_MISTAKES:
            if all(
                torch.allclose(g, mistake(t), atol=1e-5)
                for g, (_, t) in zip(got, cases, strict=True)
            ):
                raise CheckFailed(f"For {shown}: {words}.")
        raise CheckFailed(
            f"For {shown} your heights are {_short(got[wrong[0]])}; expected "
            f"{_short(_height(table))}."
        )
    scores = torch.randn(6, 6, generator=torch.Generator().manual_seed(1))
    whole = (scores + cases[0][1]).softmax(dim=-1)
    moved = (whole - (scores + got[0]).softmax(dim=-1)).abs().max().item()
    print(
        "Correct: of a term in i plus a term in j six numbers are left, and with them in place of "
        f"all 36 no weight moves by more than {max(moved, 1e-6):.0e}."
    )


def _short(values: Tensor) -> str:
    return "[" + ", ".join(f"{value:.2f}" for value in values.tolist()) + "]"
