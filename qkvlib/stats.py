"""Means with intervals, comparisons by seed, and who is dominated by whom.

The point of this module is to keep small experiments honest: no interval from two runs, and
"cannot tell" is an answer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from scipy import stats

Verdict = Literal["better", "worse", "cannot tell"]

MIN_RUNS = 3
"""Fewest values from which an interval is made."""


class StatsError(ValueError):
    """Too few or unfit values for what was asked; the message says what is needed."""


@dataclass(frozen=True)
class Interval:
    """A mean and where it may lie.

    Attributes:
        mean: Mean of the values.
        low: Lower end of the interval.
        high: Upper end.
        n: Number of values.
        confidence: For example 0.95.
    """

    mean: float
    low: float
    high: float
    n: int
    confidence: float

    @property
    def half_width(self) -> float:
        """Length of an error bar, from the mean to either end."""
        return (self.high - self.low) / 2

    def __str__(self) -> str:
        return f"{self.mean:.4g} ± {self.half_width:.2g} ({self.n} runs)"


@dataclass(frozen=True)
class PairedDifference:
    """How much a differs from b, seed by seed.

    Attributes:
        difference: Mean of a - b over the seeds, with its interval.
        seeds: The seeds that both have, in order.
        lower_is_better: Whether less is better, as with a loss.
    """

    difference: Interval
    seeds: tuple[int, ...]
    lower_is_better: bool

    @property
    def verdict(self) -> Verdict:
        """Of a against b: ``"better"`` or ``"worse"`` only where the interval leaves out zero."""
        if self.difference.low <= 0 <= self.difference.high:
            return "cannot tell"
        return "better" if (self.difference.mean < 0) is self.lower_is_better else "worse"

    def __str__(self) -> str:
        d = self.difference
        return f"{d.mean:+.4g} ({d.low:+.3g} to {d.high:+.3g}, {d.n} seeds): {self.verdict}"


def mean_interval(
    values: Sequence[float] | Mapping[int, float], confidence: float = 0.95
) -> Interval:
    """Mean with Student's t-interval.

    The interval takes runs as independent and their spread as roughly normal.

    Args:
        values: One number per run, or seed -> number.
        confidence: How often, over many such experiments, the interval holds the true mean.

    Returns:
        The mean and its interval.

    Raises:
        StatsError: If there are fewer than three values, or one is not finite.
    """
    numbers = list(values.values() if isinstance(values, Mapping) else values)
    if not 0 < confidence < 1:
        raise StatsError(f"confidence={confidence}: give a share between 0 and 1, such as 0.95.")
    n = len(numbers)
    if n < MIN_RUNS:
        raise StatsError(
            f"{n} {'value' if n == 1 else 'values'}: an interval needs at least {MIN_RUNS}. With "
            "fewer, the spread between runs is not known; show the values themselves, or run more "
            "seeds."
        )
    if not all(math.isfinite(number) for number in numbers):
        raise StatsError(f"not all values are finite: {numbers}. Look at the run that failed.")
    mean = math.fsum(numbers) / n
    variance = math.fsum((number - mean) ** 2 for number in numbers) / (n - 1)
    half = float(stats.t.ppf((1 + confidence) / 2, n - 1)) * math.sqrt(variance / n)
    return Interval(mean, mean - half, mean + half, n, confidence)


def paired_difference(
    a: Mapping[int, float],
    b: Mapping[int, float],
    *,
    lower_is_better: bool = True,
    confidence: float = 0.95,
) -> PairedDifference:
    """Compare two variants seed by seed.

    Runs with the same seed saw the same batches, so their difference is free of the luck they
    share, and its interval is narrower than one from two separate means.

    Args:
        a: Seed -> value of the one.
        b: Seed -> value of the other.
        lower_is_better: Whether less is better, as with a loss; False for an accuracy.
        confidence: Of the interval.

    Returns:
        The difference a - b, with its verdict on a.

    Raises:
        StatsError: If they have fewer than three seeds in common.
    """
    seeds = tuple(sorted(a.keys() & b.keys()))
    if len(seeds) < MIN_RUNS:
        raise StatsError(
            f"{len(seeds)} seeds in common ({sorted(a)} against {sorted(b)}): a comparison needs "
            f"at least {MIN_RUNS}. Run both with the same seeds."
        )
    difference = mean_interval([a[seed] - b[seed] for seed in seeds], confidence)
    return PairedDifference(difference, seeds, lower_is_better)


def undominated(points: Mapping[str, Sequence[float]]) -> list[str]:
    """Names on the Pareto frontier: no other point is as good in all and better in one.

    Args:
        points: Name -> its costs, for example ``(cache bytes, loss)``; less is better in each.

    Returns:
        The names that nothing dominates, in the order given.

    Raises:
        StatsError: If points have different numbers of costs.
    """
    if len({len(costs) for costs in points.values()}) > 1:
        raise StatsError("all points need the same number of costs.")

    def dominates(p: Sequence[float], q: Sequence[float]) -> bool:
        return all(x <= y for x, y in zip(p, q, strict=True)) and tuple(p) != tuple(q)

    return [
        name
        for name, costs in points.items()
        if not any(dominates(other, costs) for other in points.values())
    ]
