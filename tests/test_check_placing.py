"""The checks of lesson 10: right answers of several styles pass, each mistake is recognised."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from qkvlib import check, sinusoid, sinusoid_2d
from qkvlib.check import CheckFailed


def by_index(rows: int, columns: int, dim: int) -> Any:
    number = torch.arange(rows * columns)
    of_row, of_column = sinusoid(rows, dim - dim // 2), sinusoid(columns, dim // 2)
    return torch.cat([of_row[number // columns], of_column[number % columns]], dim=-1)


def by_loop(rows: int, columns: int, dim: int) -> Any:
    table = np.zeros((rows * columns, dim))
    half = dim - dim // 2
    for r in range(rows):
        for c in range(columns):
            table[r * columns + c, :half] = sinusoid(rows, half)[r]
            table[r * columns + c, half:] = sinusoid(columns, dim // 2)[c]
    return table


@pytest.mark.parametrize("answer", [by_index, by_loop, lambda r, c, d: sinusoid_2d((r, c), d)])
def test_right_tables_pass(answer: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    check.grid_codes(answer)
    assert "Correct for 4 grids" in capsys.readouterr().out


def halves(dim: int) -> tuple[int, int]:
    return dim - dim // 2, dim // 2


def joined(of_row: Callable[..., Any], of_column: Callable[..., Any]) -> Callable[..., Any]:
    def answer(rows: int, columns: int, dim: int) -> Any:
        a, b = halves(dim)
        return torch.cat([of_row(rows, columns, a), of_column(rows, columns, b)], dim=-1)

    return answer


def stretched_rows(r: int, c: int, d: int) -> Any:
    return sinusoid(r, d).repeat_interleave(c, 0)


def repeated_columns(r: int, c: int, d: int) -> Any:
    return sinusoid(c, d).repeat(r, 1)


def repeated_rows(r: int, c: int, d: int) -> Any:
    return sinusoid(r, d).repeat(c, 1)


def stretched_columns(r: int, c: int, d: int) -> Any:
    return sinusoid(c, d).repeat_interleave(r, 0)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda r, c, d: sinusoid(r * c, d), "the code of the patch's number"),
        (joined(repeated_columns, stretched_rows), "have changed places"),
        (joined(repeated_rows, repeated_columns), "repeat_interleave"),
        (joined(stretched_rows, stretched_columns), r"repeat\(rows, 1\)"),
        (joined(repeated_rows, stretched_columns), "you go down the columns"),
        (
            joined(
                lambda r, c, d: stretched_rows(r, c, 2 * d)[:, :d],
                lambda r, c, d: repeated_columns(r, c, 2 * d)[:, :d],
            ),
            "differs at number",  # for odd widths neither is cut from codes of width dim
        ),
        (
            lambda r, c, d: torch.cat(
                [
                    stretched_rows(r, c, d)[:, : halves(d)[0]],
                    repeated_columns(r, c, d)[:, : halves(d)[1]],
                ],
                dim=-1,
            ),
            "cut out of codes of width dim",
        ),
        (
            lambda r, c, d: torch.cat(
                [stretched_rows(r, c, d // 2), repeated_columns(r, c, d - d // 2)], dim=-1
            ),
            "with an odd dim the row gets the larger half",
        ),
        (
            lambda r, c, d: stretched_rows(r, c, d) + repeated_columns(r, c, d),
            "row 1, column 2 is the same as row 2, column 1",
        ),
        (lambda r, c, d: sinusoid(r, d), r"shape \(2, 8\); expected \(6, 8\)"),
        (lambda r, c, d: sinusoid_2d((r, c), d) * 2, "differs at number 1, in the half of the row"),
        (lambda r, c, d: "codes", "returns str; a tensor is expected"),
        (lambda r, c, d: None, "returns nothing yet"),
        (lambda r, c: 1, "cannot be called with 3 arguments"),
        (7, "needs your function itself"),
    ],
)
def test_mistakes_in_tables_are_named(answer: Any, words: str) -> None:
    with pytest.raises(CheckFailed, match=words):
        check.grid_codes(answer)


def by_least_squares(addend: Any) -> Any:
    """Every table is its own constant per row, plus heights, plus what neither can make."""
    n = len(addend)
    ones, eye = torch.ones(n, 1), torch.eye(n)
    terms = torch.cat([torch.kron(eye, ones), torch.kron(ones, eye)], dim=1).double()
    y = addend.double().reshape(-1, 1)
    found = torch.linalg.lstsq(terms, y, driver="gelsd").solution[n:, 0]
    return found - found.mean()


def by_rows(addend: Any) -> Any:
    centred = addend - addend.mean(dim=1, keepdim=True)
    return [float(x) for x in centred.mean(dim=0)]


@pytest.mark.parametrize("answer", [lambda t: t.mean(dim=0) - t.mean(), by_least_squares, by_rows])
def test_right_heights_pass(answer: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    check.height(answer)
    assert "six numbers are left" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda t: t.mean(dim=1) - t.mean(), "the part in i, which falls out"),
        (lambda t: t.mean(dim=1), "the part in i, which falls out"),
        (lambda t: t.mean(dim=0), "so that the heights sum to zero"),
        (lambda t: t[0] - t[0].mean(), "take what all rows have in common"),
        (lambda t: t[0], "one row is the whole story only where"),
        (lambda t: (t.mean(0) - t.mean()) * 6, "a mean, not a sum"),
        (lambda t: (t.mean(0) - t.mean()).softmax(-1), "that is a softmax"),
        (lambda t: t - t.mean(dim=1, keepdim=True), "a row for each i is not one picture"),
        (lambda t: torch.zeros(6), r"your heights are \[0.00"),
        (lambda t: None, "returns nothing yet"),
    ],
)
def test_mistakes_in_heights_are_named(answer: Any, words: str) -> None:
    with pytest.raises(CheckFailed, match=words):
        check.height(answer)


def test_a_check_does_not_change_what_it_hands_out() -> None:
    def greedy(addend: Any) -> Any:
        addend -= addend.mean(dim=1, keepdim=True)
        return addend.mean(dim=0)

    with pytest.raises(CheckFailed, match="changes its argument 'addend'"):
        check.height(greedy)
    check.height(lambda t: t.mean(dim=0) - t.mean())
