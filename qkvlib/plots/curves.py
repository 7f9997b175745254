"""Curves over tokens, steps and context."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import plotly.graph_objects as go
import torch

from qkvlib.accounting import bytes_per_token, format_bytes
from qkvlib.config import ModelConfig
from qkvlib.plots.base import (
    GREY,
    Figure,
    finish,
    label,
    rounded,
    style,
)
from qkvlib.records import RunRecord
from qkvlib.sharing import SHARINGS


def lines(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    x_title: str,
    y_title: str,
    title: str = "",
    alt: str,
    steps: bool = False,
) -> Figure:
    """Draw one line for each series.

    Args:
        series: Name -> (x, y). The name of a variant brings its colour and dash.
        x_title: With its unit.
        y_title: With its unit.
        title: What is shown.
        alt: The text alternative.
        steps: Whether a value holds until the next point, as memory does.
    """
    figure = go.Figure()
    others = ["#D55E00", "#56B4E9", "#0072B2", "#009E73"]
    for i, (name, (x, y)) in enumerate(series.items()):
        colour, _, dash = style(name)
        if colour == GREY:
            colour = others[i % len(others)]
            dash = ["solid", "dash", "dot", "dashdot"][i % 4]
        line = {"color": colour, "dash": dash, "width": 3, "shape": "hv" if steps else "linear"}
        figure.add_scatter(
            x=rounded(list(x)), y=rounded(list(y)), name=label(name), mode="lines", line=line
        )
    figure.update_layout(title_text=title, xaxis_title_text=x_title, yaxis_title_text=y_title)
    return finish(figure, alt=alt)


def cache_growth(
    config: ModelConfig,
    variants: Iterable[str],
    tokens: int,
    *,
    batch_size: int = 1,
    dtype: torch.dtype = torch.float16,
    budget_gb: float | None = None,
) -> Figure:
    """Draw how the cache grows with the context, for several variants of one shape.

    Args:
        config: The shape.
        variants: Names of variants. Those that need the same number of bytes share one line,
            which bears all their names.
        tokens: Longest context drawn.
        batch_size: Sequences held at once.
        dtype: Number format of the cache.
        budget_gb: Memory there is, in GB, drawn as a level.
    """
    per_token: dict[int, list[str]] = {}
    for name in variants:
        needed = bytes_per_token(config.replace(variant=name), dtype) * batch_size
        per_token.setdefault(needed, []).append(name)
    figure = go.Figure()
    words = []
    drawn: list[str] = []
    for needed, names in per_token.items():
        colour, symbol, _ = style(names[0])
        # Colour says the sharing; of one sharing, fewer KV heads have finer dashes.
        dash = ["solid", "dash", "dot", "dashdot"][drawn.count(colour) % 4]
        drawn.append(colour)
        end = needed * tokens
        both = " and ".join(label(n) for n in names)
        figure.add_scatter(
            x=[0, tokens],
            y=rounded([0.0, end / 1e9]),
            name=f"{both}: {format_bytes(end)}",
            mode="lines+markers",
            line={"color": colour, "dash": dash, "width": 3},
            marker={"symbol": symbol, "size": 9},
        )
        words.append(f"{both} {format_bytes(end)}")
    if budget_gb is not None:
        figure.add_hline(
            y=budget_gb, line_color=GREY, line_dash="dash", annotation_text=f"{budget_gb:g} GB"
        )
    figure.update_layout(
        title_text="The cache grows in a straight line",
        xaxis_title_text="tokens of context",
        yaxis_title_text=f"cache, {batch_size} at a time (GB)" if batch_size > 1 else "cache (GB)",
        legend={"orientation": "v", "y": -0.3},
    )
    alt = (
        f"Straight lines from zero: bytes of the KV cache against the context. At {tokens:,} "
        f"tokens: {'; '.join(words)}."
    )
    return finish(figure, alt=alt, height=400 + 25 * len(per_token))


def loss_curves(
    records: Iterable[RunRecord],
    *,
    column: str = "eval_bits_per_byte",
    y_title: str = "",
    from_step: int = 0,
) -> Figure:
    """Draw loss against step: the mean over seeds, in a band from the lowest to the highest.

    Args:
        records: Runs; those of one variant make one curve. Where there is one seed, no band.
        column: A column of their history that starts with ``eval_`` or ``train_``.
        y_title: What it measures, with its unit; made from the column's name unless told.
        from_step: Leave out what comes before: the first fall hides all that comes later.

    Raises:
        ValueError: If there is no record, a record has no such column, or runs of one variant
            have no step in common from ``from_step`` on.
    """
    by_variant: dict[str, list[dict[float, float]]] = {}
    for record in records:
        if column not in record.history:
            raise ValueError(
                f"column={column!r} is not in the history of {record.variant.name}; it has "
                f"{', '.join(record.history)}."
            )
        steps = record.history["eval_step" if column.startswith("eval_") else "train_step"]
        curve = dict(zip(steps, record.history[column], strict=True))
        by_variant.setdefault(record.variant.name, []).append(curve)
    if not by_variant:
        raise ValueError("records is empty: there is nothing to draw. Give at least one record.")

    figure = go.Figure()
    words = []
    order = list(SHARINGS)
    for name in sorted(by_variant, key=lambda n: order.index(n) if n in order else len(order)):
        curves = by_variant[name]
        common = set.intersection(*(set(curve) for curve in curves))
        x = sorted(step for step in common if step >= from_step)
        if not x:
            raise ValueError(f"the runs of {name} have no step in common from {from_step} on.")
        columns = [[curve[step] for curve in curves] for step in x]
        mean = [sum(values) / len(values) for values in columns]
        colour, symbol, dash = style(name)
        if len(curves) > 1:
            red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
            figure.add_scatter(
                x=x + x[::-1],
                y=rounded([max(v) for v in columns] + [min(v) for v in columns][::-1]),
                fill="toself",
                fillcolor=f"rgba({red},{green},{blue},0.2)",
                line={"width": 0},
                hoverinfo="skip",
                showlegend=False,
                legendgroup=name,
            )
        figure.add_scatter(
            x=x,
            y=rounded(mean),
            mode="lines+markers",
            name=label(name),
            legendgroup=name,
            line={"color": colour, "dash": dash, "width": 2},
            marker={"symbol": symbol, "size": 7},
        )
        words.append(f"{name} from {mean[0]:.3g} to {mean[-1]:.3g}")
    seeds = sorted({len(curves) for curves in by_variant.values()})
    count = " to ".join(str(n) for n in dict.fromkeys((seeds[0], seeds[-1])))
    band = "no band: one seed" if seeds == [1] else f"band: lowest to highest of {count} seeds"
    if not y_title:
        group, _, what = column.partition("_")
        unit = {"loss": " (nats per token)", "accuracy": " (share of tokens)"}.get(what, "")
        y_title = f"{'held-out' if group == 'eval' else 'training'} {what.replace('_', ' ')}{unit}"
    figure.update_layout(
        title_text=f"Learning curves{f' from step {from_step}' if from_step else ''} ({band})",
        xaxis_title_text="training step",
        yaxis_title_text=y_title,
    )
    alt = f"Curves of {y_title} over the training steps, {band}. {'; '.join(words)}."
    return finish(figure, alt=alt)
