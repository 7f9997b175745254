"""Curves in bands: medians of many random draws, and means with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import plotly.graph_objects as go
from torch import Tensor

from qkvlib.plots.base import GREY, Figure, finish, label, rounded, signed, style
from qkvlib.stats import Interval

_LOOKS: Final = [
    ("#0072B2", "circle", "solid"),
    ("#D55E00", "diamond", "dash"),
    ("#009E73", "square", "dot"),
    ("#CC79A7", "triangle-up", "dashdot"),
]


def draws(
    series: Mapping[str, tuple[Sequence[float], Tensor]],
    *,
    x_title: str,
    y_title: str,
    title: str,
    curve: tuple[str, Sequence[float]] | None = None,
    log_y: bool = False,
    share: float = 0.8,
) -> Figure:
    """Draw the median of many draws at each place, in a band that holds most of the draws.

    Args:
        series: Name -> (x, values), with values of shape (len(x), draws); at most four of them.
            The x axis is logarithmic, with a tick at each x of the first series.
        x_title: With its unit.
        y_title: With its unit.
        title: What is shown.
        curve: A formula to compare with: its name, and a value for each x of the first series.
        log_y: Whether the y axis is logarithmic too.
        share: The part of the draws that lies in the band, the middle ones.

    Raises:
        ValueError: If there are no series or too many, if the shapes do not fit, or if a value
            cannot stand on a logarithmic axis.
    """
    if not 1 <= len(series) <= len(_LOOKS):
        raise ValueError(f"{len(series)} series: expected 1 to {len(_LOOKS)}, a colour for each.")
    figure = go.Figure()
    words = []
    ticks = list(next(iter(series.values()))[0])
    if curve is not None:
        name, y = curve
        line = {"color": GREY, "width": 2}
        figure.add_scatter(x=rounded(ticks), y=rounded(list(y)), mode="lines", name=name, line=line)
        words.append(f"{name} runs from {y[0]:.3g} to {y[-1]:.3g}")
    for look, (name, (x, values)) in zip(_LOOKS, series.items(), strict=False):
        low, middle, high = _quantiles(name, x, values, share, log_y=log_y)
        for trace in _traces(f"{name}, median", look, list(x), low, middle, high):
            figure.add_scatter(**trace)
        middles = [f"{m:.3g} at {place:g}" for place, m in zip(x, middle, strict=True)]
        words.append(f"{name}: {', '.join(middles)} (band there {low[-1]:.3g} to {high[-1]:.3g})")
    percent = f"{100 * share:g} %"
    figure.update_layout(
        title_text=f"{title} (band: middle {percent} of draws)",
        xaxis={
            "title": {"text": x_title},
            "type": "log",
            "tickvals": ticks,
            "ticktext": [f"{place:g}" for place in ticks],
        },
        yaxis={"title": {"text": y_title}, **({"type": "log", "dtick": 1} if log_y else {})},
    )
    alt = (
        f"{y_title} against {x_title}: the median of many random draws, with a band around the "
        f"middle {percent} of them. {'; '.join(words)}."
    )
    return finish(figure, alt=alt)


_DASHES: Final = ("solid", "dash", "dot", "dashdot")


def interval_bands(
    series: Mapping[str, Mapping[float, Interval]],
    *,
    x_title: str,
    y_title: str,
    title: str,
    ticks: Mapping[float, str] | None = None,
    reference_name: str = "QKV",
    interval: str = "95 % interval",
) -> Figure:
    """Draw how a difference moves with size: a mean for each variant, in the band of its interval.

    Args:
        series: Variant -> size -> what was measured. The x axis is logarithmic.
        x_title: What the sizes are, with their unit.
        y_title: What was measured, with its unit.
        title: What is shown.
        ticks: Size -> how it is written; the sizes of the first variant unless told.
        reference_name: What the differences are from; the level line at zero.
        interval: What the bands are.

    Raises:
        ValueError: If there is nothing to draw, or a size is not above 0.
    """
    if not series or not all(series.values()):
        raise ValueError("series is empty: there is nothing to draw. Give at least one variant.")
    sizes = [size for points in series.values() for size in points]
    if min(sizes) <= 0:
        raise ValueError(f"a size of {min(sizes):g} has no place on a logarithmic axis.")
    figure = go.Figure()
    figure.add_hline(y=0, line_color=GREY, line_dash="dash", annotation_text=reference_name)
    shown = ticks or {size: f"{size:g}" for size in sorted(next(iter(series.values())))}
    drawn: list[str] = []
    words = []
    for name, points in series.items():
        colour, symbol, _ = style(name)
        again = drawn.count(colour)  # colour says the sharing; fewer KV heads have finer dashes
        drawn.append(colour)
        look = (colour, f"{symbol}-open" if again else symbol, _DASHES[again % len(_DASHES)])
        x = sorted(points)
        columns = [[getattr(points[size], end) for size in x] for end in ("low", "mean", "high")]
        for trace in _traces(label(name), look, x, *columns):
            figure.add_scatter(**trace)
        said = [
            f"{signed(mean)} ({signed(low)} to {signed(high)}) at {shown.get(size, f'{size:g}')}"
            for size, low, mean, high in zip(x, *columns, strict=True)
        ]
        words.append(f"{name}: {', '.join(said)}")
    figure.update_layout(
        title={"text": title, "subtitle": {"text": f"band: {interval}", "font": {"size": 12}}},
        xaxis={
            "title": {"text": x_title},
            "type": "log",
            "tickvals": list(shown),
            "ticktext": list(shown.values()),
        },
        yaxis={"title": {"text": y_title}},
        legend={"orientation": "v", "y": -0.24},
        margin={"t": 76},
    )
    alt = f"{y_title} against {x_title}, a line in a band ({interval}) for each variant. "
    return finish(figure, alt=alt + f"{'; '.join(words)}.", height=420 + 24 * len(series))


def _quantiles(
    name: str, x: Sequence[float], values: Tensor, share: float, *, log_y: bool
) -> list[list[float]]:
    """Lower end, median and upper end at each place."""
    if values.ndim != 2 or values.shape[0] != len(x):
        raise ValueError(
            f"{name}: values of shape {tuple(values.shape)} for {len(x)} places; expected "
            f"({len(x)}, draws), a row for each place."
        )
    if not 0 < share < 1:
        raise ValueError(f"share={share!r}: the part of the draws in the band, between 0 and 1.")
    at = values.new_tensor([(1 - share) / 2, 0.5, (1 + share) / 2])
    found = values.quantile(at, dim=1)
    if log_y and found.min() <= 0:
        raise ValueError(f"{name}: a value of {found.min():g} has no place on a logarithmic axis.")
    ends: list[list[float]] = found.tolist()
    return ends


def _traces(
    name: str,
    look: tuple[str, str, str],
    x: list[float],
    low: list[float],
    middle: list[float],
    high: list[float],
) -> list[dict[str, Any]]:
    colour, symbol, dash = look
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    band = {
        "x": rounded(x + x[::-1]),
        "y": rounded(high + low[::-1]),
        "fill": "toself",
        "fillcolor": f"rgba({red},{green},{blue},0.2)",
        "mode": "lines",
        "line": {"width": 0},
        "hoverinfo": "skip",
        "showlegend": False,
        "legendgroup": name,
    }
    line = {
        "x": rounded(x),
        "y": rounded(middle),
        "mode": "lines+markers",
        "name": name,
        "legendgroup": name,
        "line": {"color": colour, "dash": dash, "width": 2},
        "marker": {"color": colour, "symbol": symbol, "size": 9},
    }
    return [band, line]
