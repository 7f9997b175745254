"""The checks of lesson 13: right answers of several styles pass, each mistake is recognised."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

from qkvlib import check, slope_per_doubling
from qkvlib.check import CheckFailed
from qkvlib.stats import paired_difference


def by_sums(points: Any) -> float:
    x, y = [math.log2(size) for size in points], list(points.values())
    mx, my = sum(x) / len(x), sum(y) / len(y)
    over = sum((a - mx) * (b - my) for a, b in zip(x, y, strict=True))
    return float(over / sum((a - mx) ** 2 for a in x))


def by_scipy(points: Any) -> float:
    return float(stats.linregress(np.log2(list(points)), list(points.values())).slope)


def fit(x: Any, y: Any) -> float:
    return float(np.polyfit(list(x), list(y), 1)[0])


@pytest.mark.parametrize("answer", [by_sums, by_scipy, slope_per_doubling])
def test_right_slopes_pass(answer: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    check.slope(answer)
    assert "Correct" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda p: fit(p, p.values()), "against the sizes themselves"),
        (lambda p: fit(np.log(list(p)), p.values()), "natural one"),
        (lambda p: fit(np.log10(list(p)), p.values()), "decimal one"),
        (
            lambda p: (p[max(p)] - p[min(p)]) / math.log2(max(p) / min(p)),
            "first and the last point only",
        ),
        (lambda p: fit(np.log2(list(p)), np.log2(list(p.values()))), "a power law"),
        (lambda p: fit(p.values(), np.log2(list(p))), "goes on the y axis"),
        (lambda p: 0.0, "it should be -1"),
        (lambda p: "no", "a number is expected"),
        (lambda p: None, "returns nothing yet"),
    ],
)
def test_wrong_slopes_are_named(answer: Callable[..., Any], words: str) -> None:
    with pytest.raises(CheckFailed, match=words):
        check.slope(answer)


def differences(ours: Any, plain: Any) -> list[float]:
    return [ours[seed] - plain[seed] for seed in ours if seed in plain]


def by_hand(ours: Any, plain: Any) -> float:
    d = differences(ours, plain)
    mean = sum(d) / len(d)
    deviation = math.sqrt(sum((x - mean) ** 2 for x in d) / (len(d) - 1))
    return float(stats.t.ppf(0.975, len(d) - 1)) * deviation / math.sqrt(len(d))


def by_list(d: list[float]) -> float:
    return float(stats.t.ppf(0.975, len(d) - 1) * stats.sem(d))


def by_interval(ours: Any, plain: Any) -> float:
    d = differences(ours, plain)
    low, high = stats.t.interval(0.95, len(d) - 1, loc=np.mean(d), scale=stats.sem(d))
    return float(high - low) / 2


def by_the_library(ours: Any, plain: Any) -> float:
    both = ours.keys() & plain.keys()
    found = paired_difference(*({seed: x[seed] for seed in both} for x in (ours, plain)))
    return found.difference.half_width


@pytest.mark.parametrize("answer", [by_hand, by_interval, by_the_library])
def test_right_pairs_pass(answer: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    check.pairs(answer)
    assert "Correct" in capsys.readouterr().out


def apart(ours: Any, plain: Any) -> float:
    n = len(ours)
    variance = sum(float(np.var(list(each.values()), ddof=1)) for each in (ours, plain))
    return float(stats.t.ppf(0.975, 2 * n - 2)) * math.sqrt(variance / n)


def by_order(ours: Any, plain: Any) -> float:
    d = [a - b for a, b in zip(ours.values(), plain.values(), strict=False)]
    return float(stats.t.ppf(0.975, len(d) - 1) * stats.sem(d))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (apart, "subtract first, seed by seed"),
        (by_order, "Pair by their seeds"),
        (
            lambda a, b: (
                float(stats.t.ppf(0.975, len(differences(a, b)) - 1))
                * float(np.std(differences(a, b)))
                / math.sqrt(len(differences(a, b)))
            ),
            r"std\(ddof=1\)",
        ),
        (lambda a, b: np.std(differences(a, b), ddof=1), "standard deviation of the differences"),
        (lambda a, b: stats.sem(differences(a, b)), "You give the standard error"),
        (lambda a, b: 1.959963984540054 * stats.sem(differences(a, b)), "1.96"),
        (
            lambda a, b: (
                stats.t.ppf(0.95, len(differences(a, b)) - 1) * stats.sem(differences(a, b))
            ),
            r"stats.t.ppf\(0.95",
        ),
        (lambda a, b: 2 * by_hand(a, b), "The half of it"),
        (lambda a, b: 1.0, "it should be"),
        (
            lambda a, b: by_hand(a, b) if len(a) <= len(b) else 1.0,
            "a seed that only one side has",
        ),
        (
            lambda a, b: by_list([a[x] - b[y] for x, y in zip(sorted(a), sorted(b), strict=False)]),
            "You sort both sides and pair the first with the first",
        ),
        (
            lambda a, b: by_list([a[seed] - b[seed] for seed in b]),
            r"stopped for a seed that only the other side has.*KeyError: 0",
        ),
    ],
)
def test_wrong_pairs_are_named(answer: Callable[..., Any], words: str) -> None:
    with pytest.raises(CheckFailed, match=words):
        check.pairs(answer)
