"""The course's result tables: ours, with intervals, beside the paper's.

Every table has one shape, a row per variant, task and metric, so that one reader fits all.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from scipy.stats import binomtest

from qkvlib.experiments import (
    EIGHT_VARIANTS,
    GAP_MAIN,
    GAP_SHAPES,
    GAP_VARIANTS,
    SIX_VARIANTS,
    TOKENS_PER_STEP,
    VISION,
    VISION_RECIPES,
)
from qkvlib.gap import gap_curves, gap_task, loss_curves, slope_per_doubling, token_ratios
from qkvlib.paper import PaperFigure, data_file, paper_figures
from qkvlib.records import RecordError, Rows, aggregate, load_records, load_rows
from qkvlib.sharing import look_up, parse_variant, unknown_name
from qkvlib.stats import MIN_RUNS, Interval, Verdict, mean_interval, paired_difference
from qkvlib.tasks.synthetic import TASKS
from qkvlib.text_table import aligned, markdown

AVERAGE: Final = "average"
"""Name of the mean over the paper's five synthetic tasks."""

PAPER_TASKS: Final = ("REVERSE", "SORT", "SUB", "SWAP", "COPY")

BySeed = Mapping[int, float]


@dataclass(frozen=True)
class ResultRow:
    """One measured number.

    Attributes:
        variant: For example ``"Q-K=V"``.
        task: For example ``"REVERSE"`` or ``"text"``.
        metric: What is counted, with its unit.
        mean: Mean over the runs; ``None`` where some run has no such number.
        low: Lower end of the 95 % interval.
        high: Upper end.
        n: Runs.
        paper: The paper's figure in the same unit, or ``None``.
    """

    variant: str
    task: str
    metric: str
    mean: float | None
    low: float | None
    high: float | None
    n: int
    paper: float | None

    @property
    def verdict(self) -> Verdict | None:
        """Of a difference that is good or bad: ``"better"`` or ``"worse"`` only where the interval
        leaves out zero. ``None`` for a number that is no such difference."""
        signs = {"accuracy above": 1, "loss above": -1, "perplexity above": -1}
        sign = signs.get(" ".join(self.metric.split()[:2]))
        if sign is None or self.low is None or self.high is None:
            return None
        if self.low <= 0 <= self.high:
            return "cannot tell"
        return "better" if sign * self.low > 0 else "worse"


@dataclass(frozen=True)
class ResultTable:
    """A table of the course: its name, what was asked, and the rows."""

    name: str
    about: str
    rows: tuple[ResultRow, ...]

    def metrics(self) -> list[str]:
        """Return the metrics in the order of the rows."""
        return list(dict.fromkeys(row.metric for row in self.rows))

    def find(self, variant: str, task: str, metric: str) -> ResultRow:
        """Look one row up.

        Raises:
            UnknownNameError: If there is none; the message names the part that does not occur.
        """
        for what, value in (("variant", variant), ("task", task), ("metric", metric)):
            there = list(dict.fromkeys(getattr(row, what) for row in self.rows))
            if value not in there:
                raise unknown_name(f"{what} of table {self.name}", value, there)
        wanted = (variant, task, metric)
        for row in self.rows:
            if (row.variant, row.task, row.metric) == wanted:
                return row
        there = [row.metric for row in self.rows if (row.variant, row.task) == wanted[:2]]
        raise unknown_name(f"metric of {variant} on {task}", metric, there)

    def to_dict(self) -> dict[str, Any]:
        """Return the table as JSON can hold it; every table of the course has this shape."""
        return {"table": self.name, "rows": [asdict(row) for row in self.rows]}

    def to_text(self) -> str:
        """Return a block per metric, variants by tasks, the more of the two down; the paper in
        brackets."""
        blocks = [f"{metric}\n{aligned(self._grid(metric))}" for metric in self.metrics()]
        return "\n\n".join([self._head(), *blocks])

    def to_markdown(self) -> str:
        """Return the same as Markdown."""
        blocks = [f"**{metric}**\n\n{markdown(self._grid(metric))}" for metric in self.metrics()]
        return "\n\n".join([self._head(), *blocks])

    def _head(self) -> str:
        note = " [In brackets: the paper.]" if any(r.paper is not None for r in self.rows) else ""
        words = (
            " A difference is called better or worse where its interval leaves out zero."
            if any(row.verdict for row in self.rows)
            else ""
        )
        return f"{self.about} Mean ± half of the 95 % interval over runs.{note}{words}"

    def _grid(self, metric: str) -> list[list[str]]:
        rows = [row for row in self.rows if row.metric == metric]
        tasks = list(dict.fromkeys(row.task for row in rows))
        variants = list(dict.fromkeys(row.variant for row in rows))
        cells = {(row.variant, row.task): _cell(row) for row in rows}
        grid = [
            ["", *tasks],
            *(
                [parse_variant(v).both_forms, *(cells.get((v, t), "") for t in tasks)]
                for v in variants
            ),
        ]
        if len(tasks) > len(variants):  # a screen has more room down than across
            return [list(column) for column in zip(*grid, strict=True)]
        return grid


def _cell(row: ResultRow) -> str:
    if row.mean is None or row.low is None or row.high is None:
        ours = "not by all"
    else:
        half = (row.high - row.low) / 2
        if half == 0 and row.mean == int(row.mean):  # a count, the same in every run
            return f"{row.mean:,.0f}"
        digits = 0 if max(abs(row.mean), half) >= 20 else 2 if abs(row.mean) >= 2 else 3
        if math.isclose(row.mean, (row.low + row.high) / 2, abs_tol=1e-9):
            mean = round(row.mean, digits) + 0.0  # never "-0.000"
            ours = f"{mean:.{digits}f} ± {half:.{digits}f}"
        else:  # a share has no interval beyond 0 and 1
            ours = f"{row.mean:.2f} ({row.low:.2f}–{row.high:.2f})"
    if row.paper is not None:
        ours += f" [{row.paper:.3g}]"
    return ours if row.verdict in (None, "cannot tell") else f"{ours} {row.verdict}"


def _row(
    variant: str, task: str, metric: str, found: Interval, paper: float | None = None
) -> ResultRow:
    return ResultRow(variant, task, metric, found.mean, found.low, found.high, found.n, paper)


# Language models on text


def relative_loss(variant: str, figures: Mapping[str, PaperFigure]) -> float | None:
    """Convert the paper's perplexity at 300M parameters into a change of loss against QKV.

    Perplexity depends on what a token is; the relative change of its logarithm does not.

    Args:
        variant: A variant's name; GQA-2 of our 4 heads answers to the paper's GQA-4 of 16 only
            in name, so a variant that the paper does not have gives ``None``.
        figures: :func:`qkvlib.paper_figures`.

    Returns:
        In percent.
    """
    key = f"300M/{variant}/perplexity"
    if key not in figures:
        return None
    base = math.log(figures["300M/QKV/perplexity"].value)
    return 100 * (math.log(figures[key].value) / base - 1)


def _text_rows(table: Mapping[str, BySeed]) -> list[ResultRow]:
    figures = paper_figures()
    bits = "bits per byte"
    rows = [
        _row(name, "text", bits, mean_interval(by_seed))
        for name, by_seed in table.items()
        if len(by_seed) >= MIN_RUNS
    ]
    plain = table["QKV"]
    for name, by_seed in table.items():
        both = sorted(by_seed.keys() & plain.keys())
        if name == "QKV" or len(both) < MIN_RUNS:
            continue
        change = mean_interval([100 * (by_seed[s] / plain[s] - 1) for s in both])
        rows.append(_row(name, "text", "loss above QKV, %", change, relative_loss(name, figures)))
    return rows


def _four_tyings(results: Path | None) -> ResultTable:
    table = aggregate(load_records(_result(results, "four_tyings")), "bits_per_byte")
    if "QKV" not in table:
        raise RecordError("these runs have none of QKV, which all others are set against. Add it.")
    about = "Small GPTs on the source of Python's standard library."
    return ResultTable("four_tyings", about, tuple(_text_rows(table)))


def _head_sharing(results: Path | None) -> ResultTable:
    names = ("four_tyings", "head_sharing")
    records = [r for name in names for r in load_records(_result(results, name))]
    table = aggregate(records, "bits_per_byte")
    kept = {name: v for name, v in table.items() if not parse_variant(name).sharing.ties_query}
    about = "Small GPTs with 4 query heads and fewer KV heads, same text and recipe."
    return ResultTable("head_sharing", about, tuple(_text_rows(kept)))


EQUAL_PARAMETERS: Final = "text, equal parameters"
"""Task of the rows whose MLP was widened until a tied model has as many parameters as QKV."""


def perplexity_change(variant: str, figures: Mapping[str, PaperFigure]) -> float | None:
    """Return the paper's change of perplexity per token at 300M parameters against QKV, in percent.

    Ours is per byte, of which a token has several, so ours is smaller where the models are alike.

    Args:
        variant: A variant's name; one that the paper does not have gives ``None``.
        figures: :func:`qkvlib.paper_figures`.
    """
    key = f"300M/{variant}/perplexity"
    if key not in figures:
        return None
    return 100 * (figures[key].value / figures["300M/QKV/perplexity"].value - 1)


def _language_rows(results: Path | None) -> list[dict[str, Any]]:
    """One row per run, the same columns whatever file it comes from."""
    records = [
        record
        for name in ("four_tyings", "head_sharing")
        for record in load_records(_result(results, name))
    ]
    rows = [
        {
            "task": "text",
            "variant": record.variant.name,
            "seed": record.seed,
            "loss": record.metrics["loss"],
            "n_params": record.n_params,
            "bytes_per_token": record.cache_bytes_per_token["float16"],
        }
        for record in records
    ]
    for name, task in (("shakespeare", "tinyshakespeare"), ("matched", EQUAL_PARAMETERS)):
        with contextlib.suppress(FileNotFoundError):  # a sweep of one's own need not have all
            rows += [row | {"task": task} for row in load_rows(_result(results, name)).rows]
    # The untied model is its own control.
    plain = [row for row in rows if (row["task"], row["variant"]) == ("text", "QKV")]
    if any(row["task"] == EQUAL_PARAMETERS for row in rows):
        rows += [row | {"task": EQUAL_PARAMETERS} for row in plain]
    return rows


def language_losses(
    results: str | PathLike[str] | None = None,
) -> dict[str, dict[str, dict[int, float]]]:
    """Return what table ``language`` is made from, for comparisons that it does not have.

    Args:
        results: As for :func:`result_table`.

    Returns:
        Task -> variant -> seed -> loss in nats per byte, of all that have enough seeds.
    """
    found = _language_rows(None if results is None else Path(results))
    losses: dict[str, dict[str, dict[int, float]]] = {}
    for (variant, task), by_seed in _cells(found, "loss", lambda row: str(row["task"])).items():
        losses.setdefault(task, {})[variant] = by_seed
    return losses


def _language(results: Path | None) -> ResultTable:
    figures = paper_figures()
    found = _language_rows(results)
    losses = _cells(found, "loss", lambda row: str(row["task"]))
    order = {name: i for i, name in enumerate(EIGHT_VARIANTS)}
    cells = sorted(losses, key=lambda cell: order[cell[0]])
    rows = []
    for metric, scale in (("loss, nats per byte", 1.0), ("bits per byte", 1 / math.log(2))):
        for cell in cells:
            scaled = [scale * value for value in losses[cell].values()]
            rows.append(_row(*cell, metric, mean_interval(scaled)))
    for metric, change, printed in (
        ("perplexity above QKV, %", lambda a, b: 100 * math.expm1(a - b), perplexity_change),
        ("loss above QKV, %", lambda a, b: 100 * (a / b - 1), relative_loss),
    ):
        for variant, task in cells:
            ours, plain = losses[variant, task], losses["QKV", task]
            both = sorted(ours.keys() & plain.keys())
            if variant != "QKV" and len(both) >= MIN_RUNS:
                by_seed = [change(ours[seed], plain[seed]) for seed in both]
                paper = printed(variant, figures)
                rows.append(_row(variant, task, metric, mean_interval(by_seed), paper))
    for column, metric in (
        ("n_params", "parameters"),
        ("bytes_per_token", "cache bytes per token, float16"),
    ):
        counts = _cells(found, column, lambda row: str(row["task"]))
        rows += [_row(*cell, metric, mean_interval(counts[cell])) for cell in cells]
    about = (
        "Small GPTs of the paper's eight configurations, GQA-2 of 4 heads in place of GQA-4 of 16."
    )
    return ResultTable("language", about, tuple(rows))


# How the gap moves

GAP_METRIC: Final = "loss above QKV, %"
"""Name of the gap in table ``gap``."""

GAP_TREND: Final = "change of that gap with each doubling, points"
"""Name of its trend there."""

TOKENS_METRIC: Final = "times QKV's tokens for the same loss"
"""Name of the other way to tell a gap, in tables ``gap`` and ``gap_wide``."""

_FROM_TOKENS: Final = 1_000_000  # a trend is fitted from here on, when the first steps are over


def _gap(results: Path | None) -> ResultTable:
    found = load_rows(_result(results, "gap"))
    curves = gap_curves(found.rows)
    last = min(max(curve) for by_seed in curves.values() for curve in by_seed.values())
    rows = _gap_rows(found.rows, last)
    for variant in GAP_VARIANTS[1:]:
        for axis, per_seed in _trends(curves, variant, last).items():
            if len(per_seed) >= MIN_RUNS:
                rows.append(_row(variant, axis, GAP_TREND, mean_interval(per_seed)))
    return ResultTable("gap", found.about, tuple(rows))


def _gap_wide(results: Path | None) -> ResultTable:
    found = load_rows(_result(results, "gap_wide"))
    rows: list[ResultRow] = []
    for rate in sorted({row["lr"] for row in found.rows}, reverse=True):
        same = [row for row in found.rows if row["lr"] == rate]
        last = min(row["eval_step"][-1] for row in same) * TOKENS_PER_STEP
        rows += _gap_rows(same, last, rate)
    return ResultTable("gap_wide", found.about, tuple(rows))


def _gap_rows(
    found: Sequence[Mapping[str, Any]], last: int, lr: float | None = None
) -> list[ResultRow]:
    """The gap of every shape after its last tokens; of the longest also after half as many, …"""
    losses, figures, rows = loss_curves(found), paper_figures(), []
    for (variant, d_model, context), by_seed in gap_curves(found).items():
        if len(by_seed) < MIN_RUNS:
            continue
        shared = sorted(set.intersection(*(set(curve) for curve in by_seed.values())))
        plain, own = losses["QKV", d_model, context], losses[variant, d_model, context]
        ratios = [token_ratios(plain[seed], own[seed]) for seed in by_seed]
        main = (d_model, context) == GAP_MAIN
        kept = _doublings(shared) if main else _doublings([t for t in shared if t <= last])[-2:]
        for tokens in kept:
            task = gap_task(d_model, context, tokens, lr)
            gaps = mean_interval([curve[tokens] for curve in by_seed.values()])
            paper = relative_loss(variant, figures)
            rows.append(_row(variant, task, GAP_METRIC, gaps, paper))
            if all(tokens in each for each in ratios):
                times = mean_interval([each[tokens] for each in ratios])
                rows.append(_row(variant, task, TOKENS_METRIC, times))
    return rows


def _doublings(tokens: Sequence[int]) -> list[int]:
    """The last of them, half of it, a quarter, …: those that are there."""
    wanted = tokens[-1]
    kept = []
    while wanted >= tokens[0]:
        nearest = min(tokens, key=lambda t: abs(t - wanted))
        kept.append(nearest)
        wanted //= 2
    return sorted(set(kept))


def _trends(
    curves: Mapping[tuple[str, int, int], Mapping[int, Mapping[int, float]]],
    variant: str,
    last: int,
) -> dict[str, list[float]]:
    """Slopes of the gap over tokens, width and context, one of each for every seed."""
    width, context = GAP_MAIN
    over_tokens = [
        slope_per_doubling({t: gap for t, gap in curve.items() if t >= _FROM_TOKENS})
        for curve in curves.get((variant, width, context), {}).values()
    ]
    trends = {"tokens": over_tokens}
    for axis, shapes in (
        ("width", [shape for shape in GAP_SHAPES if shape[1] == context]),
        ("context", [shape for shape in GAP_SHAPES if shape[0] == width]),
    ):
        by_shape = [curves.get((variant, *shape), {}) for shape in shapes]
        seeds = sorted(set.intersection(*(set(by_seed) for by_seed in by_shape)))
        place = 0 if axis == "width" else 1
        trends[axis] = [
            slope_per_doubling(
                {
                    shape[place]: by_seed[seed][last]
                    for shape, by_seed in zip(shapes, by_shape, strict=True)
                }
            )
            for seed in seeds
        ]
    return trends


# Padding


def _padding(results: Path | None) -> ResultTable:
    found = load_rows(_result(results, "padding"))
    trained = {True: "padding scored in training", False: "padding left out of training"}

    def of_task(row: Mapping[str, Any]) -> str:
        return trained[row["score_padding"]]

    rows = []
    for column in ("padded", "unpadded"):
        how = "with padding" if column == "padded" else "without padding"
        cells = _cells(found.rows, column, of_task)
        rows += [
            _row(*cell, f"perplexity per byte {how}", mean_interval([*map(math.exp, v.values())]))
            for cell, v in cells.items()
        ]
        for (variant, task), ours in cells.items():
            plain = cells["QKV", task]
            if variant != "QKV":
                change = [100 * math.expm1(ours[seed] - plain[seed]) for seed in ours]
                metric = f"perplexity above QKV, %, {how}"
                rows.append(_row(variant, task, metric, mean_interval(change)))
    return ResultTable("padding", found.about, tuple(rows))


# Encoders on lists


_Setting = tuple[Any, ...]


def _by_setting(rows: Iterable[Mapping[str, Any]]) -> dict[int, dict[_Setting, float]]:
    """Seed -> setting -> accuracy."""
    cells: dict[int, dict[_Setting, float]] = {}
    for row in rows:
        setting = tuple(row[name] for name in ("length", "d_model", "n_layers", "n_heads"))
        cells.setdefault(row["seed"], {})[setting] = row["accuracy"]
    return cells


def _means(
    by_variant: Mapping[str, Mapping[int, Mapping[_Setting, float]]],
) -> dict[str, dict[int, float]]:
    """Variant -> seed -> mean over the settings that all variants have.

    Of a sweep that is not finished, means over different settings would be compared; so would those
    of a seed that lacks some of them, which is left out.
    """
    shared = set.intersection(
        *({s for seed in cells.values() for s in seed} for cells in by_variant.values())
    )
    return {
        variant: {
            seed: math.fsum(values[s] for s in sorted(shared)) / len(shared)
            for seed, values in cells.items()
            if shared and shared <= set(values)
        }
        for variant, cells in by_variant.items()
    }


def synthetic_accuracy(grid: Rows) -> dict[str, dict[str, dict[int, float]]]:
    """Average the synthetic sweep over its settings, seed by seed.

    Args:
        grid: ``load_rows(data_file("results/synthetic.json"))``.

    Returns:
        Task -> variant -> seed -> accuracy over the settings that all variants have, tasks in
        their order, then ``"average"`` over the paper's five.
    """
    table: dict[str, dict[str, dict[int, float]]] = {}
    for task in TASKS:
        of_task = [row for row in grid.rows if row["task"] == task]
        cells = {v: _by_setting(r for r in of_task if r["variant"] == v) for v in SIX_VARIANTS}
        if found := {variant: each for variant, each in cells.items() if each}:
            table[task] = _means(found)
    if all(task in table for task in PAPER_TASKS):
        table[AVERAGE] = {
            variant: {
                seed: math.fsum(table[task][variant][seed] for task in PAPER_TASKS)
                / len(PAPER_TASKS)
                for seed in sorted(
                    set.intersection(*(set(table[task][variant]) for task in PAPER_TASKS))
                )
            }
            for variant in SIX_VARIANTS
            if all(variant in table[task] for task in PAPER_TASKS)
        }
    return table


def _accuracy_rows(grid: Rows) -> list[ResultRow]:
    figures = paper_figures()
    table = synthetic_accuracy(grid)

    def printed(task: str, variant: str) -> float | None:
        key = f"synthetic/{variant}/{'accuracy' if task == AVERAGE else task}"
        return figures[key].value if key in figures else None

    rows = [
        _row(variant, task, "accuracy", mean_interval(by_seed), printed(task, variant))
        for task, by_variant in table.items()
        for variant, by_seed in by_variant.items()
        if len(by_seed) >= MIN_RUNS
    ]
    for base in ("QKV", "Q=K-V", "Q=K=V"):
        others = SIX_VARIANTS[1:] if base == "QKV" else (f"({base})+",)
        for task, by_variant in table.items():
            for variant in others:
                ours, theirs = by_variant.get(variant, {}), by_variant.get(base, {})
                if len(ours.keys() & theirs.keys()) < MIN_RUNS:
                    continue
                gap = paired_difference(ours, theirs, lower_is_better=False).difference
                a, b = printed(task, variant), printed(task, base)
                paper = None if a is None or b is None else round(a - b, 4)
                rows.append(_row(variant, task, f"accuracy above {base}", gap, paper))
    return rows


def _race_rows(race: Rows) -> list[ResultRow]:
    rows = []
    limit = race.recipe["training"]["steps"]
    for task in TASKS:
        for variant in SIX_VARIANTS:
            steps = [
                r["steps_to_99"] for r in race.rows if (r["task"], r["variant"]) == (task, variant)
            ]
            if len(steps) < MIN_RUNS:
                continue
            reached = [step for step in steps if step is not None]
            if len(reached) == len(steps):
                rows.append(_row(variant, task, "steps to 99 %", mean_interval(reached)))
            else:
                none = ResultRow(variant, task, "steps to 99 %", None, None, None, len(steps), None)
                rows.append(none)
            share = binomtest(len(reached), len(steps)).proportion_ci(0.95, method="exact")
            rows.append(
                ResultRow(
                    variant, task, f"share of runs at 99 % within {limit} steps",
                    len(reached) / len(steps), float(share.low), float(share.high), len(steps),
                    None,
                )
            )  # fmt: skip
    return sorted(rows, key=lambda row: row.metric.startswith("share"))


def _synthetic(results: Path | None) -> ResultTable:
    grid = load_rows(_result(results, "synthetic"))
    rows = _accuracy_rows(grid)
    with contextlib.suppress(FileNotFoundError):  # a sweep of one's own need not run the race
        rows += _race_rows(load_rows(_result(results, "synthetic_race")))
    return ResultTable("synthetic", grid.about, tuple(rows))


def _recall(results: Path | None) -> ResultTable:
    found = load_rows(_result(results, "recall"))
    cells: dict[tuple[str, str], dict[int, float]] = {}
    for row in found.rows:
        layers = "1 layer" if row["n_layers"] == 1 else f"{row['n_layers']} layers"
        projected = "" if row["out_proj"] else ", no out_proj"
        task = f"{row['pairs']} pairs, head_dim {row['head_dim']}, {layers}{projected}"
        cells.setdefault((task, row["variant"]), {})[row["seed"]] = row["accuracy"]
    rows = [
        _row(variant, task, "accuracy", mean_interval(by_seed))
        for (task, variant), by_seed in cells.items()
        if len(by_seed) >= MIN_RUNS
    ]
    for (task, variant), by_seed in cells.items():
        plain = cells.get((task, "QKV"), {})
        if variant != "QKV" and len(by_seed.keys() & plain.keys()) >= MIN_RUNS:
            gap = paired_difference(by_seed, plain, lower_is_better=False).difference
            rows.append(_row(variant, task, "accuracy above QKV", gap))
    return ResultTable("recall", found.about, tuple(rows))


# Transformers on images and on sets

_Cell = tuple[str, str]
"""Variant and task."""


def _cells(
    rows: Iterable[Mapping[str, Any]], value: str, task: Callable[[Mapping[str, Any]], str]
) -> dict[_Cell, dict[int, float]]:
    """Sort one column by variant and task, then by seed; what has too few runs is left out."""
    cells: dict[_Cell, dict[int, float]] = {}
    for row in rows:
        cells.setdefault((row["variant"], task(row)), {})[row["seed"]] = row[value]
    return {cell: by_seed for cell, by_seed in cells.items() if len(by_seed) >= MIN_RUNS}


def _gap_row(
    cells: Mapping[_Cell, BySeed], one: _Cell, other: _Cell, metric: str, paper: float | None = None
) -> list[ResultRow]:
    """The paired difference of one cell from another, if both are there."""
    ours, theirs = cells.get(one, {}), cells.get(other, {})
    if len(ours.keys() & theirs.keys()) < MIN_RUNS:
        return []
    gap = paired_difference(ours, theirs, lower_is_better=False).difference
    return [_row(*one, metric, gap, paper)]


def _printed_vision(variant: str, column: str | None) -> float | None:
    key = f"vision/{variant}/{column}"
    figures = paper_figures()
    return figures[key].value if key in figures else None


def _printed_gap(variant: str, base: str, column: str | None) -> float | None:
    ours, theirs = _printed_vision(variant, column), _printed_vision(base, column)
    return None if ours is None or theirs is None else round(ours - theirs, 4)


def _compared(cells: Mapping[_Cell, BySeed], columns: Mapping[str, str | None]) -> list[ResultRow]:
    """Accuracy, and its differences from QKV and, for (X)+, from the same without it.

    Args:
        cells: Accuracies.
        columns: Task -> the paper's column to put beside it, ``None`` where there is none.
    """
    rows = [
        _row(
            variant,
            task,
            "accuracy",
            mean_interval(by_seed),
            _printed_vision(variant, columns[task]),
        )
        for (variant, task), by_seed in cells.items()
    ]
    for base in ("QKV", "Q=K-V", "Q=K=V"):
        others = SIX_VARIANTS[1:] if base == "QKV" else (f"({base})+",)
        for task, column in columns.items():
            for variant in others:
                paper = _printed_gap(variant, base, column)
                metric = f"accuracy above {base}"
                rows += _gap_row(cells, (variant, task), (base, task), metric, paper)
    return rows


def _vision(results: Path | None) -> ResultTable:
    # A sweep of one's own need not have all sets, but at least one.
    runs: list[dict[str, Any]] = []
    missing = None
    for images in VISION_RECIPES:
        try:
            runs += load_rows(_result(results, f"{VISION}{images}")).rows
        except FileNotFoundError as error:
            missing = error
    if not runs and missing is not None:
        raise missing

    def of_task(row: Mapping[str, Any]) -> str:
        return str(row["task"])

    # Of 20 classes in place of 200 the paper has no figure.
    columns = {row["task"]: row["task"] for row in runs}
    columns |= {task: None for task in columns if task == "tiny-imagenet-20"}
    rows = _compared(_cells(runs, "accuracy", of_task), columns)
    for row in runs:
        row["overfit"] = row["train_accuracy"] - row["accuracy"]
    for column, metric in (
        ("train_accuracy", "accuracy on training images"),
        ("overfit", "accuracy on training images less held-out"),
        ("n_params", "parameters"),
        ("seconds_per_epoch", "seconds per epoch"),
    ):
        cells = _cells(runs, column, of_task)
        rows += [_row(*cell, metric, mean_interval(by_seed)) for cell, by_seed in cells.items()]
        if column == "overfit":
            for variant, task in cells:
                if variant != "QKV":
                    gap = f"{metric}, above QKV"
                    rows += _gap_row(cells, (variant, task), ("QKV", task), gap)
    about = "Small vision transformers, the same recipe for every variant of a set of images."
    return ResultTable("vision", about, tuple(rows))


PLUS_TOLD: Final[Mapping[str | None, str]] = MappingProxyType(
    {
        None: "no (X)+",
        "none": "(X)+ told nothing",
        "index": "(X)+ told numbers",
        "grid": "(X)+ told (row, col)",
    }
)
"""What (X)+ is told of places -> how tables say it."""


_POSITIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "none": "no positions",
        "learned": "learned positions",
        "sinusoidal": "1-D sinusoids",
        "sinusoidal_2d": "2-D sinusoids",
    }
)


def place_task(position: str, plus_position: str | None) -> str:
    """Name a row of table ``image_positions``: how a model is told where a patch is.

    Args:
        position: Positions added to the patches, as in :class:`~qkvlib.ViTConfig`.
        plus_position: What (X)+ is told; ``None`` without (X)+.
    """
    return f"{_POSITIONS[position]}, {PLUS_TOLD[plus_position]}"


def _image_positions(results: Path | None) -> ResultTable:
    found = load_rows(_result(results, "image_positions"))
    cells = _cells(
        found.rows,
        "accuracy",
        lambda row: place_task(row["position"], row["plus_position"] if row["plus"] else None),
    )
    rows = [_row(*cell, "accuracy", mean_interval(by_seed)) for cell, by_seed in cells.items()]
    positions = list(dict.fromkeys(row["position"] for row in found.rows))
    for position in positions[1:]:
        ours, base = place_task(position, None), place_task(positions[0], None)
        for variant in ("QKV", "Q=K-V", "Q=K=V"):
            metric = f"accuracy above {_POSITIONS[positions[0]]}"
            rows += _gap_row(cells, (variant, ours), (variant, base), metric)
    for position, base_sharing in itertools.product(positions, ("Q=K-V", "Q=K=V")):
        plus = f"({base_sharing})+"
        for told, less in itertools.combinations(list(PLUS_TOLD)[::-1], 2):
            other = (plus if less else base_sharing, place_task(position, less))
            metric = f"accuracy above {PLUS_TOLD[less]}"
            rows += _gap_row(cells, (plus, place_task(position, told)), other, metric)
    return ResultTable("image_positions", found.about, tuple(rows))


NO_PLACES: Final = "told no places"
"""Ends the task's name where (X)+ is the control that leaves only its factor on the scores."""


def _odd_one_out(results: Path | None) -> ResultTable:
    found = load_rows(_result(results, "odd_one_out"))
    columns: dict[str, str | None] = {row["task"]: "set-anomaly" for row in found.rows}
    cells = _cells(
        found.rows,
        "accuracy",
        lambda row: row["task"] + ("" if row["plus_position"] == "index" else f", {NO_PLACES}"),
    )
    plain = {cell: by_seed for cell, by_seed in cells.items() if cell[1] in columns}
    rows = _compared(plain, columns)
    for (variant, task), by_seed in cells.items():
        if task in columns:
            continue
        told = task.removesuffix(f", {NO_PLACES}")
        base = variant.strip("()+")
        rows.append(_row(variant, task, "accuracy", mean_interval(by_seed)))
        rows += _gap_row(cells, (variant, task), (base, told), f"accuracy above {base}")
        rows += _gap_row(cells, (variant, told), (variant, task), f"accuracy above {NO_PLACES}")
    about = f"{found.about} The paper's figures are of CIFAR-100 and ResNet-34."
    return ResultTable("odd_one_out", about, tuple(rows))


TABLES: Final[Mapping[str, Callable[[Path | None], ResultTable]]] = MappingProxyType(
    {
        "four_tyings": _four_tyings,
        "head_sharing": _head_sharing,
        "synthetic": _synthetic,
        "language": _language,
        "padding": _padding,
        "gap": _gap,
        "gap_wide": _gap_wide,
        "recall": _recall,
        "vision": _vision,
        "image_positions": _image_positions,
        "odd_one_out": _odd_one_out,
    }
)
"""Name -> how the table is made from the results.

:meta hide-value:
"""


def _result(results: Path | None, name: str) -> Path:
    if results is None:
        return data_file(f"results/{name}.json")
    path = results / f"{name}.json"
    if not path.exists():
        raise FileNotFoundError(
            f"there is no {path}. Make it: qkv sweep {name} --results {results}"
        )
    return path


def result_table(name: str, results: str | PathLike[str] | None = None) -> ResultTable:
    """Make one of the course's tables.

    Args:
        name: A key of :data:`TABLES`.
        results: Folder of collected results; ``data/results`` unless told.

    Raises:
        UnknownNameError: If there is no such table; the message offers the nearest.
        FileNotFoundError: If its results are not there; the message says how to make them.
    """
    make = look_up("table", name, TABLES)
    return make(None if results is None else Path(results))


__all__: Sequence[str] = [
    "AVERAGE",
    "EQUAL_PARAMETERS",
    "GAP_METRIC",
    "GAP_TREND",
    "NO_PLACES",
    "PAPER_TASKS",
    "PLUS_TOLD",
    "TABLES",
    "TOKENS_METRIC",
    "ResultRow",
    "ResultTable",
    "language_losses",
    "perplexity_change",
    "place_task",
    "relative_loss",
    "result_table",
    "synthetic_accuracy",
]
