"""Intervals and verdicts, against scipy and against simulation."""

import math

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import stats as scipy_stats

from qkvlib.stats import StatsError, mean_interval, paired_difference, undominated

floats = st.floats(-1e3, 1e3)


@given(st.lists(floats, min_size=3, max_size=12).filter(lambda x: np.std(x) > 1e-3))
def test_interval_is_scipys(values: list[float]) -> None:
    ours = mean_interval(values)
    theirs = scipy_stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert ours.mean == pytest.approx(np.mean(values), abs=1e-9)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-6)
    assert ours.n == len(values)
    assert ours.half_width == pytest.approx(ours.high - ours.mean)


def test_interval_holds_the_true_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(1000):
        interval = mean_interval(list(rng.normal(2.0, 0.5, size=5)), confidence=0.9)
        held += interval.low <= 2.0 <= interval.high
    assert 870 <= held <= 930  # 900, give or take three standard deviations


@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_few_values_are_refused(n: int) -> None:
    with pytest.raises(StatsError, match=rf"^{n} value.*at least 3"):
        mean_interval([1.0] * n)
    with pytest.raises(StatsError, match="seeds in common"):
        paired_difference(dict.fromkeys(range(n), 1.0), dict.fromkeys(range(9), 2.0))


def test_unfit_values_are_refused() -> None:
    with pytest.raises(StatsError, match="finite"):
        mean_interval([1.0, math.nan, 2.0])
    with pytest.raises(StatsError, match="confidence=95"):
        mean_interval([1.0, 2.0, 3.0], confidence=95)


def test_pairing_uses_the_seeds_in_common() -> None:
    a = {0: 1.0, 1: 2.1, 2: 3.0, 7: 99.0}
    b = {2: 3.5, 1: 2.5, 0: 1.4, 8: -99.0}
    result = paired_difference(a, b)
    assert result.seeds == (0, 1, 2)
    assert result.difference.mean == pytest.approx((-0.4 - 0.4 - 0.5) / 3)
    theirs = scipy_stats.ttest_rel([1.0, 2.1, 3.0], [1.4, 2.5, 3.5]).confidence_interval(0.95)
    assert result.difference.low == pytest.approx(theirs.low)
    assert result.verdict == "better"
    assert "better" in str(result)


@pytest.mark.parametrize(
    ("shift", "lower_is_better", "verdict"),
    [(-1, True, "better"), (-1, False, "worse"), (1, True, "worse"), (1, False, "better")],
)
def test_verdict(shift: float, lower_is_better: bool, verdict: str) -> None:
    base = {0: 1.0, 1: 5.0, 2: 3.0, 3: 2.0}
    noise = {0: 0.01, 1: -0.01, 2: 0.0, 3: 0.02}
    other = {seed: value + shift + noise[seed] for seed, value in base.items()}
    assert paired_difference(other, base, lower_is_better=lower_is_better).verdict == verdict


def test_cannot_tell_where_seeds_disagree() -> None:
    a, b = {0: 1.0, 1: 2.0, 2: 3.0}, {0: 1.5, 1: 1.5, 2: 2.9}
    assert paired_difference(a, b).verdict == "cannot tell"
    assert paired_difference(a, a).verdict == "cannot tell"


def test_pairing_sees_what_separate_means_hide() -> None:
    base = {seed: float(10 * seed) for seed in range(5)}
    shifted = {seed: value + 0.1 + 0.01 * (seed % 2) for seed, value in base.items()}
    assert mean_interval(base).high > mean_interval(shifted).low
    assert paired_difference(shifted, base).verdict == "worse"


def test_undominated() -> None:
    points = {"a": (1, 5), "b": (2, 2), "c": (3, 3), "d": (5, 1), "twin": (2, 2), "e": (2, 6)}
    assert undominated(points) == ["a", "b", "d", "twin"]
    assert undominated({}) == []
    with pytest.raises(StatsError, match="same number"):
        undominated({"a": (1,), "b": (1, 2)})


@given(st.dictionaries(st.integers(0, 30), st.tuples(st.integers(0, 4), st.integers(0, 4))))
def test_each_dominated_point_is_dominated_by_an_undominated_one(points: dict) -> None:
    named = {str(key): value for key, value in points.items()}
    kept = undominated(named)
    for name, (x, y) in named.items():
        better = [n for n in kept if named[n][0] <= x and named[n][1] <= y and named[n] != (x, y)]
        assert (name in kept) == (not better)
