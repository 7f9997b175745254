"""Lesson 13: a slope against doublings, and an interval of pairs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from scipy import stats

from qkvlib.check.base import (
    ENOUGH,
    CheckFailed,
    Mistake,
    call,
    close,
    compare_numbers,
    explain,
    number,
)

Slope = Callable[[Mapping[float, float]], Any]
Pairs = Callable[[Mapping[int, float], Mapping[int, float]], Any]


def _fit(x: Any, y: Any) -> float:
    return float(np.polyfit(np.asarray(x, dtype=float), np.asarray(y, dtype=float), 1)[0])


def _per_doubling(points: Mapping[float, float]) -> float:
    return _fit(np.log2(list(points)), list(points.values()))


def _by_ends(points: Mapping[float, float]) -> float:
    first, last = min(points), max(points)
    return (points[last] - points[first]) / math.log2(last / first)


_SLOPE_SLIPS: Final = (
    Mistake(
        "You fit against the sizes themselves: that is a change for each token, and the largest "
        "size alone decides. Take their binary logarithm first.",
        lambda points: _fit(list(points), list(points.values())),
    ),
    Mistake(
        "Your logarithm is the natural one: that is a change for each factor of 2.718. For each "
        "factor of 2 take the binary logarithm.",
        lambda points: _fit(np.log(list(points)), list(points.values())),
    ),
    Mistake(
        "Your logarithm is the decimal one: that is a change for each factor of 10.",
        lambda points: _fit(np.log10(list(points)), list(points.values())),
    ),
    Mistake(
        "You use the first and the last point only. The others were measured too: fit a line "
        "through all of them.",
        _by_ends,
    ),
    Mistake(
        "You take the logarithm of the gap as well: that is the exponent of a power law, and it "
        "fails where a gap is below zero.",
        lambda points: _fit(np.log2(list(points)), np.log2(np.abs(list(points.values())))),
    ),
    Mistake(
        "You fit the sizes against the gap. What moves goes on the y axis: polyfit(x, y, 1).",
        lambda points: _fit(list(points.values()), np.log2(list(points))),
    ),
)


def slope(fn: Slope) -> None:
    """Check a least-squares slope against doublings.

    Args:
        fn: Called as ``fn(points)`` with a dictionary size -> gap; returns the change of the gap
            with each doubling of the size.

    Raises:
        CheckFailed: Naming the mistake, or the case that is wrong.
    """
    cases: dict[str, dict[float, float]] = {
        "a gap of 8, 7, 6, 5 at 1, 2, 4, 8": {1: 8.0, 2: 7.0, 4: 6.0, 8: 5.0},
        "sizes that are no powers of two": {3e5: 4.0, 1e6: 1.5, 7e6: 2.5, 9e6: 1.0},
        "sizes in any order": {512: 2.0, 64: 5.0, 4096: 1.0, 128: 5.5},
    }
    given = [number(call(fn, shown, dict(points)), shown) for shown, points in cases.items()]
    wanted = [_per_doubling(points) for points in cases.values()]
    if not all(close(g, w, ENOUGH) for g, w in zip(given, wanted, strict=True)):
        words = explain(given, [(points,) for points in cases.values()], _SLOPE_SLIPS, ENOUGH)
        said = compare_numbers(given, wanted, list(cases), "per doubling", ENOUGH)
        raise CheckFailed(words or said)
    print("Correct: all points count, and each doubling counts alike.")


# Pairs


def _interval(values: Any) -> float:
    values = np.asarray(values, dtype=float)
    n = len(values)
    return float(stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / math.sqrt(n))


def _differences(ours: Mapping[int, float], plain: Mapping[int, float]) -> list[float]:
    return [ours[seed] - plain[seed] for seed in sorted(ours.keys() & plain.keys())]


def _paired(ours: Mapping[int, float], plain: Mapping[int, float]) -> float:
    return _interval(_differences(ours, plain))


def _apart(ours: Mapping[int, float], plain: Mapping[int, float]) -> float:
    """As if the seeds had nothing to do with each other; equal numbers of runs."""
    n = len(ours)
    a, b = (np.var(list(each.values()), ddof=1) for each in (ours, plain))
    return float(stats.t.ppf(0.975, 2 * n - 2) * math.sqrt((a + b) / n))


_PAIR_SLIPS: Final = (
    Mistake(
        "You take the two sides apart, as if the seeds had nothing to do with each other. What "
        "both runs of a seed share falls out only if you subtract first, seed by seed.",
        _apart,
    ),
    Mistake(
        "You pair by the order in which the runs stand. Pair by their seeds: the two dictionaries "
        "need not be sorted alike.",
        lambda ours, plain: _interval(
            np.subtract(list(ours.values()), list(plain.values()))
            if len(ours) == len(plain)
            else [0.0, 1.0]
        ),
    ),
    Mistake(
        "Your standard deviation divides by n. Of a sample it divides by n - 1: std(ddof=1).",
        lambda ours, plain: (
            _paired(ours, plain) * math.sqrt(1 - 1 / len(_differences(ours, plain)))
        ),
    ),
    Mistake(
        "You give the standard deviation of the differences. That of their mean is smaller by the "
        "root of n, and the interval is that times the t quantile.",
        lambda ours, plain: float(np.std(_differences(ours, plain), ddof=1)),
    ),
    Mistake(
        "You give the standard error. The half width is that times stats.t.ppf(0.975, n - 1), "
        "which is 4.30 for three seeds and not 1.",
        lambda ours, plain: float(stats.sem(_differences(ours, plain))),
    ),
    Mistake(
        "You use 1.96, which is for many runs. For few take stats.t.ppf(0.975, n - 1), which is "
        "4.30 for three.",
        lambda ours, plain: 1.959963984540054 * float(stats.sem(_differences(ours, plain))),
    ),
    Mistake(
        "You use stats.t.ppf(0.95, n - 1). With 5 % outside, 2.5 % are on either side: 0.975.",
        lambda ours, plain: float(
            stats.t.ppf(0.95, len(_differences(ours, plain)) - 1)
            * stats.sem(_differences(ours, plain))
        ),
    ),
    Mistake(
        "You give the whole width. The half of it is what stands after ±.",
        lambda ours, plain: 2 * _paired(ours, plain),
    ),
)


_BY_RANK: Final = Mistake(
    "You sort both sides and pair the first with the first. Where one side lacks a seed, all that "
    "follow are paired with another seed's: keep the seeds that both have.",
    lambda ours, plain: _interval(
        [ours[a] - plain[b] for a, b in zip(sorted(ours), sorted(plain), strict=False)]
    ),
)


def pairs(fn: Pairs) -> None:
    """Check the half width of the 95 % interval of a difference, seed by seed.

    Args:
        fn: Called as ``fn(ours, plain)`` with two dictionaries seed -> loss; returns half the width
            of the interval of the mean difference.

    Raises:
        CheckFailed: Naming the mistake, or the case that is wrong.
    """
    cases: dict[str, tuple[dict[int, float], dict[int, float]]] = {
        "three seeds that move together": (
            {0: 2.10, 1: 2.31, 2: 1.95},
            {0: 2.00, 1: 2.20, 2: 1.86},
        ),
        "seeds in another order": (
            {2: 1.0, 0: 3.0, 1: 2.0, 3: 4.5},
            {0: 2.5, 1: 1.75, 2: 0.5, 3: 4.0},
        ),
        "a seed that only one side has": (
            {0: 1.0, 1: 9.0, 2: 1.5, 3: 1.25},
            {0: 0.5, 2: 1.25, 3: 0.75},
        ),
        "a seed that only the other side has": (
            {1: 2.0, 2: 2.5, 3: 2.25},
            {0: 3.0, 1: 1.5, 2: 2.25, 3: 1.5},
        ),
    }
    given = [number(call(fn, shown, *map(dict, case)), shown) for shown, case in cases.items()]
    wanted = [_paired(*case) for case in cases.values()]
    if not all(close(g, w, ENOUGH) for g, w in zip(given, wanted, strict=True)):
        words = explain(given[:2], list(cases.values())[:2], _PAIR_SLIPS, ENOUGH)
        if words is None and explain(given, list(cases.values()), [_BY_RANK], ENOUGH):
            words = _BY_RANK.words
        said = compare_numbers(given, wanted, list(cases), "half the width", ENOUGH)
        raise CheckFailed(words or said)
    print("Correct: what both runs of a seed share falls out.")
