"""Values with intervals, beside the paper's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from qkvlib.plots.base import (
    GREY,
    Figure,
    finish,
    label,
    rounded,
    style,
)


@dataclass(frozen=True)
class Measured:
    """A measured value with its interval, for :func:`intervals`.

    Attributes:
        name: The variant.
        value: The mean.
        low: Lower end of the interval; equal to ``value`` where there is none.
        high: Upper end.
        seeds: The single runs, drawn as small marks.
        paper: The paper's figure, drawn beside; ``None`` if it has none.
    """

    name: str
    value: float
    low: float
    high: float
    seeds: Sequence[float] = ()
    paper: float | None = None


def intervals(
    rows: Sequence[Measured],
    *,
    x_title: str,
    title: str = "",
    interval: str = "95 % interval",
    reference: float | None = 0.0,
    reference_name: str = "",
) -> Figure:
    """Draw measured values with their intervals, single runs, and the paper's figures beside.

    Args:
        rows: One for each variant, from top to bottom.
        x_title: What is measured, with its unit.
        title: What is shown.
        interval: What the error bars are.
        reference: A value to compare with, drawn as an upright line.
        reference_name: What that line stands for.

    Raises:
        ValueError: If there is no row, or a value lies outside its own interval.
    """
    if not rows:
        raise ValueError("rows is empty: there is nothing to draw. Give at least one Measured.")
    for row in rows:
        if not row.low <= row.value <= row.high:
            raise ValueError(
                f"{row.name}: value {row.value} is not between low={row.low} and high={row.high}."
            )
    figure = go.Figure()
    for i, row in enumerate(rows):
        colour, symbol, _ = style(row.name)
        place = label(row.name, line_break=True)
        if row.seeds:
            figure.add_scatter(
                x=rounded(list(row.seeds)),
                y=[place] * len(row.seeds),
                mode="markers",
                name="single seeds",
                marker={"color": GREY, "symbol": "line-ns-open", "size": 14},
                legendgroup="seeds",
                showlegend=i == 0,
            )
        figure.add_scatter(
            x=rounded([row.value]),
            y=[place],
            mode="markers",
            name=f"measured here, {interval}",
            marker={"color": colour, "symbol": symbol, "size": 12},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": rounded([row.high - row.value]),
                "arrayminus": rounded([row.value - row.low]),
                "thickness": 2.5,
                "width": 7,
            },
            legendgroup="ours",
            showlegend=i == 0,
        )
        if row.paper is not None:
            figure.add_scatter(
                x=[row.paper],
                y=[place],
                mode="markers",
                name="the paper's (one seed)",
                marker={"color": GREY, "symbol": "x-thin-open", "size": 13, "line": {"width": 3}},
                legendgroup="paper",
                showlegend=not any(r.paper is not None for r in rows[:i]),
            )
    if reference is not None:
        figure.add_vline(
            x=reference, line_color=GREY, line_dash="dash", annotation_text=reference_name
        )
    figure.update_layout(
        title_text=title,
        xaxis_title_text=x_title,
        yaxis={"autorange": "reversed", "showgrid": False},
        legend={"orientation": "v", "y": -0.35},
    )
    words = [
        f"{row.name} {row.value:.3g}"
        + (f" ({row.low:.3g} to {row.high:.3g})" if row.low < row.high else "")
        + (f", the paper {row.paper:.3g}" if row.paper is not None else "")
        for row in rows
    ]
    alt = f"Dots with error bars ({interval}): {x_title}. {'; '.join(words)}."
    return finish(figure, alt=alt, height=260 + 60 * len(rows))
