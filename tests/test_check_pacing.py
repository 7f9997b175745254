"""Checks of lesson 15: right answers of several styles pass, each typical mistake is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from qkvlib import check
from qkvlib.check import CheckFailed


def fails(run: Callable[..., None], answer: Any, *words: str) -> None:
    with pytest.raises(CheckFailed) as caught:
        run(answer)
    for word in words:
        assert word in str(caught.value), str(caught.value)


def test_right_answers_pass(capsys: pytest.CaptureFixture[str]) -> None:
    check.tokens_per_second(lambda w, c, n, b: n * b / (w + n * c))
    check.tokens_per_second(lambda w, c, n, b: n / (w / b + n * c / b))
    check.longest_context(lambda w, t, m, b, s: max(0, int((min(m, b / s) - w) // t)))
    check.longest_context(
        lambda w, t, m, b, s: 0 if min(m, b / s) < w else int((min(m, b / s) - w) / t)
    )
    assert capsys.readouterr().out.count("Correct in") == 4


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda w, c, n, b: b / (w + n * c), "all of them together"),
        (lambda w, c, n, b: b / (w + c), "read the weights once for every user"),
        (lambda w, c, n, b: n * b / (w + c), "cache of their own"),
        (lambda w, c, n, b: n * b / w, "caches are missing"),
        (lambda w, c, n, b: b / c, "weights are missing"),
        (lambda w, c, n, b: (w + n * c) / b / n, "its inverse"),
        (lambda w, c, n, b: (w + n * c) / b, "seconds of a step"),
        (lambda w, c, n, b: 2 * n * b / (w + n * c), "2 times what it is"),
        (lambda w, c, n, b: "fast", "a number is expected"),
        (lambda w, c, n: 1, "cannot be called with 4 arguments"),
        (lambda w, c, n, b: None, "returns nothing"),
    ],
)
def test_mistakes_in_speed_are_named(answer: Any, words: str) -> None:
    fails(check.tokens_per_second, answer, words)


def clipped(context: float) -> int:
    return max(0, int(context))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda w, t, m, b, s: clipped((m - w) / t), "fast enough as well"),
        (lambda w, t, m, b, s: (m - w) // t, "fast enough as well"),
        (lambda w, t, m, b, s: clipped((b / s - w) / t), "fit into memory as well"),
        (lambda w, t, m, b, s: clipped((max(m, b / s) - w) / t), "smaller of the two"),
        (lambda w, t, m, b, s: clipped(min(m, b / s) / t), "weights are missing: they lie"),
        (lambda w, t, m, b, s: clipped(min(m - w, b / s) / t), "missing in the time"),
        (lambda w, t, m, b, s: clipped(min(m, b / s - w) / t), "missing in memory"),
        (lambda w, t, m, b, s: clipped((min(m, b * s) - w) / t), "bandwidth / slowest bytes"),
        (lambda w, t, m, b, s: (min(m, b / s) - w) // t, "Say 0"),
        (lambda w, t, m, b, s: max(0, round((min(m, b / s) - w) / t)), "round to the nearest"),
        (lambda w, t, m, b, s: max(0, (min(m, b / s) - w) / t), "come whole"),
        (lambda w, t, m, b, s: clipped((min(m, b / s) - w) / t / 2), "times what it is"),
    ],
)
def test_mistakes_in_context_are_named(answer: Any, words: str) -> None:
    fails(check.longest_context, answer, words)
