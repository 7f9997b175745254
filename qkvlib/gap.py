"""How far a tied model is behind QKV, from evaluation to evaluation: in percent, and in tokens.

The gap in percent depends on where on its way a model is. How many times as many tokens it takes to
the same loss is the other way to tell it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from qkvlib.experiments import TOKENS_PER_STEP

_Curves = dict[tuple[str, int, int], dict[int, dict[int, float]]]


def gap_task(d_model: int, context: int, tokens: float, lr: float | None = None) -> str:
    """Name a row of table ``gap`` or ``gap_wide``: width, context, and how long it was trained.

    Args:
        d_model: Width.
        context: Tokens of context.
        tokens: Tokens trained on.
        lr: The learning rate, in ``gap_wide``.
    """
    rate = "" if lr is None else f", learning rate {lr:g}"
    return f"d_model {d_model}, context {context}, {tokens / 1e6:.1f}M tokens{rate}"


def loss_curves(rows: Iterable[Mapping[str, Any]]) -> _Curves:
    """Sort the evaluations of experiment ``gap`` into curves of the loss, seed by seed.

    Args:
        rows: ``load_rows(data_file("results/gap.json")).rows``.

    Returns:
        (variant, d_model, context) -> seed -> tokens -> held-out loss, in nats per byte.

    Raises:
        ValueError: If two rows are of the same variant, shape and seed.
    """
    curves: _Curves = {}
    for row in rows:
        shape = (row["variant"], row["d_model"], row["context"])
        by_seed = curves.setdefault(shape, {})
        if row["seed"] in by_seed:
            raise ValueError(
                f"two runs of {shape} with seed {row['seed']}: one would hide the other. Give the "
                "rows of one learning rate at a time."
            )
        by_seed[row["seed"]] = {
            step * TOKENS_PER_STEP: loss
            for step, loss in zip(row["eval_step"], row["eval_loss"], strict=True)
            if step
        }
    return curves


def gap_curves(rows: Iterable[Mapping[str, Any]]) -> _Curves:
    """Turn the evaluations of experiment ``gap`` into curves of the gap, seed by seed.

    Args:
        rows: As for :func:`loss_curves`.

    Returns:
        (variant, d_model, context) -> seed -> tokens -> loss above QKV of the same seed, in percent
        of QKV's loss.
    """
    losses = loss_curves(rows)
    curves: _Curves = {}
    for (variant, d_model, context), by_seed in losses.items():
        for seed, ours in by_seed.items():
            plain = losses.get(("QKV", d_model, context), {}).get(seed)
            if variant != "QKV" and plain is not None:
                curve = {t: 100 * (loss / plain[t] - 1) for t, loss in ours.items() if t in plain}
                curves.setdefault((variant, d_model, context), {})[seed] = curve
    return curves


def token_ratios(plain: Mapping[int, float], own: Mapping[int, float]) -> dict[int, float]:
    """How many times as many tokens one run takes to reach the losses of another.

    Between two evaluations the loss is taken to fall evenly with the logarithm of the tokens.

    Args:
        plain: Tokens -> loss of the run to compare with, such as QKV's.
        own: Tokens -> loss of the other run.

    Returns:
        Tokens of ``plain`` -> tokens that ``own`` needs for the same loss, divided by these. A loss
        that ``own`` never reaches, or had at its first evaluation already, is left out.
    """
    steps = sorted(own.items())
    ratios = {}
    for tokens, wanted in sorted(plain.items()):
        for (before, above), (after, below) in itertools.pairwise(steps):
            if above > wanted >= below:
                share = (above - wanted) / (above - below)
                ratios[tokens] = before / tokens * (after / before) ** share
                break
    return ratios


def slope_per_doubling(points: Mapping[float, float]) -> float:
    """Least-squares slope of y against the binary logarithm of x.

    Args:
        points: x -> y, at least two of them, x positive.
    """
    x, y = np.log2(list(points)), np.array(list(points.values()))
    return float(np.polyfit(x, y, 1)[0])


__all__: Sequence[str] = [
    "gap_curves",
    "gap_task",
    "loss_curves",
    "slope_per_doubling",
    "token_ratios",
]
