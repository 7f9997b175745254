"""Speed: time against bytes, and ratios of two ways."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from typing import Any, Final

import plotly.graph_objects as go

from qkvlib.plots.base import GREY, Figure, finish, label, rounded, style
from qkvlib.sharing import parse_variant
from qkvlib.speed import SpeedTable

_BLUE: Final = "#0072B2"
_LINE: Final = 22  # pixels of height
_WIDTH: Final = 26  # characters that a phone has room for


def time_by_bytes(
    measured: Mapping[str, Mapping[int, float]],
    bandwidth: float,
    *,
    x_title: str,
    title: str,
    log: bool = False,
) -> Figure:
    """Draw measured times of variants against bytes, above the line that a bandwidth allows.

    Args:
        measured: Variant -> bytes read -> seconds. Fewer KV heads are drawn with open marks.
        bandwidth: Bytes per second.
        x_title: What the bytes are of, with MB as their unit.
        title: What is shown.
        log: Whether both axes are logarithmic.

    Raises:
        ValueError: If there is nothing to draw, or something that is not above 0.
    """
    if not measured or not all(measured.values()):
        raise ValueError("measured is empty: give at least one variant with one measurement.")
    every = [n for points in measured.values() for pair in points.items() for n in pair]
    if min(*every, bandwidth) <= 0:
        raise ValueError("bytes, seconds and bandwidth must be above 0.")
    figure = go.Figure()
    sizes = [n for points in measured.values() for n in points]
    ends = [min(sizes) if log else 0, max(sizes)]
    figure.add_scatter(
        x=rounded([n / 1e6 for n in ends]),
        y=rounded([1e3 * n / bandwidth for n in ends]),
        name="what the bandwidth allows",
        mode="lines",
        line={"color": GREY, "width": 2},
    )
    words = []
    for name, points in measured.items():
        colour, symbol, _ = style(name)
        shares_heads = parse_variant(name).n_kv_heads is not None
        x = sorted(points)
        figure.add_scatter(
            x=rounded([n / 1e6 for n in x]),
            y=rounded([1e3 * points[n] for n in x]),
            name=label(name),
            mode="lines+markers",
            line={"color": colour, "width": 2.5, "dash": "dash" if shares_heads else "solid"},
            marker={"symbol": f"{symbol}-open" if shares_heads else symbol, "size": 10},
        )
        said = ", ".join(f"{1e3 * points[n]:.3g} ms at {n / 1e6:.3g} MB" for n in x)
        words.append(f"{name} {said}")
    axis: dict[str, Any] = {"rangemode": "tozero"}
    if log:
        axis = {"type": "log", "dtick": 1, "exponentformat": "power"}
    figure.update_layout(
        title_text=title,
        xaxis={"title": {"text": x_title}, **axis},
        yaxis={"title": {"text": "time of one token (ms)"}, **axis},
        legend={"orientation": "v", "y": -0.22},
    )
    alt = (
        f"Time of one token against {x_title}: {'; '.join(words)}. The line of the bandwidth goes "
        f"from {1e3 * ends[0] / bandwidth:.3g} to {1e3 * ends[1] / bandwidth:.3g} ms."
    )
    return finish(figure, alt=alt, height=410 + 24 * (len(measured) + 1))


def speed_ratios(table: SpeedTable, *, title: str = "") -> Figure:
    """Draw each row's ratio, median and range, on a logarithmic axis, the cases one below another.

    Args:
        table: Whatever rows it has.
        title: What is shown.

    Raises:
        ValueError: If it has none.
    """
    if not table.rows:
        raise ValueError("the table has no rows: there is nothing to draw.")
    figure = go.Figure()
    place = 0.0
    ticks: list[tuple[float, str]] = []
    words: list[str] = []
    for case, rows in table.by_case().items():
        lines = textwrap.wrap(case, _WIDTH)
        figure.add_annotation(
            x=0, xref="paper", y=place, text=f"<b>{'<br>'.join(lines)}</b>",
            showarrow=False, xanchor="left", yanchor="top", align="left",
        )  # fmt: skip
        place -= len(lines) + 0.8
        at = [place - i for i in range(len(rows))]
        for y, row in zip(at, rows, strict=True):
            ticks.append((y, f"{row.tokens:,}"))
            words.append(
                f"{case}, {row.tokens:,} tokens: {row.ratio:.3g} ({row.low:.3g} to {row.high:.3g})"
            )
        # Beside the rows only: it would cross out the words between them.
        figure.add_scatter(
            x=[1, 1],
            y=[at[0] + 0.5, at[-1] - 0.5],
            mode="lines",
            line={"color": GREY, "dash": "dot", "width": 2},
            hoverinfo="skip",
            showlegend=False,
        )
        figure.add_scatter(
            x=rounded([row.ratio for row in rows]),
            y=at,
            mode="markers",
            marker={"color": _BLUE, "size": 10},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": rounded([row.high - row.ratio for row in rows]),
                "arrayminus": rounded([row.ratio - row.low for row in rows]),
                "color": _BLUE,
                "thickness": 3,
            },
            showlegend=False,
            hovertemplate="%{x:.2f} times<extra></extra>",
        )
        place = at[-1] - 1.2
    low = min(1, *(row.low for row in table.rows))
    high = max(2, *(row.high for row in table.rows))
    figure.update_layout(
        title_text=title,
        xaxis={
            "title": {"text": "times as long the other way"},
            "type": "log",
            "range": [math.log10(low / 1.25), math.log10(high * 1.25)],
            "tickvals": [t for t in (0.5, 1, 2, 5, 10, 20, 50, 100) if t < high * 1.25],
            "showgrid": False,
        },
        yaxis={
            "title": {"text": "tokens"},
            "tickvals": [y for y, _ in ticks],
            "ticktext": [text for _, text in ticks],
            "range": [place, 0.5],
            "showgrid": False,
            "zeroline": False,
        },
    )
    alt = (
        "How many times longer the other way takes, the median and the range over the turns; "
        f"above 1 this way is faster. {'; '.join(words)}. Measured on {table.machine}."
    )
    return finish(figure, alt=alt, height=110 + round(_LINE * (0.5 - place)))
