"""Measured points, joined, and beside them what a formula says or what nothing goes below."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import plotly.graph_objects as go

from qkvlib.plots.base import Figure, finish, rounded

Line = tuple[Sequence[float], Sequence[float]]

_LOOKS: Final = [
    ("#D55E00", "diamond", "dash"),
    ("#0072B2", "circle", "solid"),
    ("#009E73", "square", "dot"),
    ("#CC79A7", "triangle-up", "dashdot"),
]
_LEGEND_LINE: Final = 24  # pixels of height


def marked_lines(
    series: Mapping[str, Line],
    *,
    x_title: str,
    y_title: str,
    title: str,
    beside: Mapping[str, Line] | None = None,
    log_x: bool = False,
    log_y: bool = False,
) -> Figure:
    """Draw measured points of several series, with a mark at each, and plain lines beside them.

    Args:
        series: Name -> (x, y); at most four, each with a colour, a mark and a dash of its own.
        x_title: With its unit.
        y_title: With its unit.
        title: What is shown.
        beside: Name -> (x, y) of lines without marks, thin, in the colours of the series in the
            same order: a formula, or a floor.
        log_x: Whether the x axis is logarithmic.
        log_y: Whether the y axis is.

    Raises:
        ValueError: If there are no series or too many of either, if x and y differ in length, or if
            a value cannot stand on a logarithmic axis.
    """
    beside = beside or {}
    for what, lines in (("series", series), ("lines beside them", beside)):
        if len(lines) > len(_LOOKS) or (what == "series" and not lines):
            least = 1 if what == "series" else 0
            raise ValueError(f"{len(lines)} {what}: expected {least} to {len(_LOOKS)}.")
        for name, (x, y) in lines.items():
            _check(name, x, y, log_x=log_x, log_y=log_y)
    figure = go.Figure()
    for (colour, _, _), (name, (x, y)) in zip(_LOOKS, beside.items(), strict=False):
        line = {"color": colour, "width": 1.5, "dash": "solid"}
        figure.add_scatter(
            x=rounded(list(x)), y=rounded(list(y)), name=name, mode="lines", line=line
        )
    for (colour, symbol, dash), (name, (x, y)) in zip(_LOOKS, series.items(), strict=False):
        figure.add_scatter(
            x=rounded(list(x)),
            y=rounded(list(y)),
            name=name,
            mode="lines+markers",
            line={"color": colour, "dash": dash, "width": 3},
            marker={"color": colour, "symbol": symbol, "size": 9},
        )
    figure.update_layout(
        title_text=title,
        xaxis={"title": {"text": x_title}, **(_decades(series, beside, 0) if log_x else {})},
        yaxis={"title": {"text": y_title}, **(_decades(series, beside, 1) if log_y else {})},
        legend={"orientation": "v", "y": -0.22},
    )
    words = [f"{name}: {_in_words(x, y)}" for name, (x, y) in series.items()]
    words += [f"beside them {name}: {_in_words(x, y)}" for name, (x, y) in beside.items()]
    n = len(series) + len(beside)
    alt = f"{y_title} against {x_title}. {'; '.join(words)}."
    return finish(figure, alt=alt, height=400 + _LEGEND_LINE * n)


def _decades(series: Mapping[str, Line], beside: Mapping[str, Line], axis: int) -> dict[str, Any]:
    """A logarithmic axis with about six ticks, however many decades it spans."""
    ends = [value for line in (*series.values(), *beside.values()) for value in line[axis]]
    span = math.log10(max(ends) / min(ends))
    return {"type": "log", "dtick": max(1, math.ceil(span / 6)), "exponentformat": "power"}


def _check(name: str, x: Sequence[float], y: Sequence[float], *, log_x: bool, log_y: bool) -> None:
    if len(x) != len(y) or not len(x):
        raise ValueError(f"{name}: {len(x)} places and {len(y)} values; expected as many of both.")
    for axis, values, is_log in (("x", x, log_x), ("y", y, log_y)):
        if is_log and min(values) <= 0:
            raise ValueError(f"{name}: {axis}={min(values):g} has no place on a logarithmic axis.")


def _in_words(x: Sequence[float], y: Sequence[float]) -> str:
    """All points of a short line, the ends of one that says the same everywhere."""
    if len(x) > 1 and len({f"{value:.3g}" for value in y}) == 1:
        return f"{y[0]:.3g} from {x[0]:.3g} to {x[-1]:.3g}"
    return ", ".join(f"{value:.3g} at {place:.3g}" for place, value in zip(x, y, strict=True))
