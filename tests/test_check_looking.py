"""The checks of lesson 08: right answers of several styles pass, each mistake is recognised."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from qkvlib import check
from qkvlib.check import CheckFailed


def one_hot(move: Any, length: int) -> Any:
    return F.one_hot(move(torch.arange(length)), length)


def loop(move: Any, length: int) -> Any:
    weights = torch.zeros(length, length)
    for i, j in enumerate(move(torch.arange(length)).tolist()):
        weights[i, j] = 1.0
    return weights


def by_columns(move: Any, length: int) -> Any:
    """Moving the rows of the identity moves each digit's one-hot vector."""
    return move(torch.eye(length).T).T.T


def as_array(move: Any, length: int) -> Any:
    return np.eye(length)[move(torch.arange(length)).numpy()]


@pytest.mark.parametrize("answer", [one_hot, loop, as_array])
def test_right_maps_pass(answer: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    check.map_of(answer)
    assert "Correct for every move" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda move, n: one_hot(move, n).T, "transposed: row i says where digit i goes to"),
        (by_columns, "transposed"),
        (lambda move, n: torch.eye(n), "the diagonal: that map copies"),
        (lambda move, n: move(torch.arange(n)), "make one row of weights of each"),
        (lambda move, n: one_hot(move, n) * 2.0, "row 0 sums to 2; every row must sum to 1"),
        (lambda move, n: torch.full((n, n), 1 / n), r"your map makes \[2.0, 2.0"),
        (lambda move, n: torch.eye(n).roll(1, 0), r"REVERSE, 4 digits your map makes"),
        (lambda move, n: torch.eye(n + 1), r"shape \(6, 6\); expected \(5, 5\)"),
        (lambda move, n: "a map", "returns str; a tensor is expected"),
        (lambda move, n: None, "returns nothing yet"),
        (lambda move: 1, "cannot be called with 2 arguments"),
        (7, "needs your function itself"),
    ],
)
def test_mistakes_in_maps_are_named(answer: Any, words: str) -> None:
    with pytest.raises(CheckFailed, match=words):
        check.map_of(answer)


def rings(move: Any, length: int) -> list[int]:
    source, left, found = move(torch.arange(length)).tolist(), set(range(length)), []
    while left:
        at, size = left.pop(), 1
        while source[at] in left:
            at = source[at]
            left.remove(at)
            size += 1
        found.append(size)
    return found


def by_powers(move: Any, length: int) -> int:
    """Without walking: places that come back after d moves and not before lie in rings of d."""
    places = torch.arange(length)
    period, moved = torch.zeros(length), places
    for step in range(1, length + 1):
        moved = move(moved)
        period[(moved == places) & (period == 0)] = step
    return round((1 / period[period > 2]).sum().item())


@pytest.mark.parametrize(
    "answer", [lambda move, n: sum(ring > 2 for ring in rings(move, n)), by_powers]
)
def test_right_counts_pass(answer: Any, capsys: pytest.CaptureFixture[str]) -> None:
    check.holes(answer)
    assert "one hole for every ring of three places or more" in capsys.readouterr().out


def test_rolls_have_as_many_rings_as_the_greatest_common_divisor() -> None:
    for k in range(1, 16):
        assert rings(lambda x, k=k: x.roll(k, dims=-1), 16) == [16 // math.gcd(k, 16)] * math.gcd(
            k, 16
        )


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda move, n: len(rings(move, n)), "you count every ring"),
        (lambda move, n: sum(r > 1 for r in rings(move, n)), "only rings of one place"),
        (lambda move, n: int(max(rings(move, n)) > 2), "each ring has a hole of its own"),
        (lambda move, n: sum(r for r in rings(move, n) if r > 2), "Each ring loses one place"),
        (
            lambda move, n: int((move(torch.arange(n)) != torch.arange(n)).sum()),
            "as REVERSE does",
        ),
        (
            lambda move, n: n - sum(r > 2 for r in rings(move, n)),
            "the number of places that can see",
        ),
        (lambda move, n: 5, r"SHIFT, 5 digits your function says 5.*rings of 5\. .*more: 1"),
        (lambda move, n: "one", "returns str"),
        (lambda move, n: ..., "returns nothing yet"),
    ],
)
def test_mistakes_in_counts_are_named(answer: Any, words: str) -> None:
    with pytest.raises(CheckFailed, match=words):
        check.holes(answer)
