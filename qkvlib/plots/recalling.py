"""Keys and values of a recalling head in the plane, and how well heads of several widths recall."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import plotly.graph_objects as go
from plotly.subplots import make_subplots
from torch import Tensor

from qkvlib.hull import planar_hull
from qkvlib.plots.base import GREY, Figure, finish, label, rounded, style
from qkvlib.stats import mean_interval

_KEYS: Final = [
    ("#0072B2", "circle"),
    ("#D55E00", "square"),
    ("#009E73", "diamond"),
    ("#CC79A7", "triangle-up"),
]
_AXES: Final = 2


def pair_plane(
    vectors: Tensor,
    *,
    title: str,
    what: str,
    alt: str,
    among: Tensor | None = None,
    outputs: Tensor | None = None,
) -> Figure:
    """Draw the vectors that a head with head_dim 2 makes of pairs of a key and a digit.

    Args:
        vectors: Shape (n, digits, 2), at most four keys; each key has its colour and marker, each
            point bears its digit.
        title: What is shown.
        what: What the vectors are: ``"key"``, ``"value"`` or both.
        alt: The text alternative.
        among: Shape (S, 2): the vectors of one list, whose hull is drawn.
        outputs: Shape (N, 2): what the head puts out in that list.

    Raises:
        ValueError: If the vectors are not in a plane, or there are more than four keys.
    """
    if vectors.ndim != 3 or vectors.shape[-1] != _AXES or len(vectors) > len(_KEYS):
        raise ValueError(
            f"vectors of shape {tuple(vectors.shape)}: expected (n, digits, 2) with n at most "
            f"{len(_KEYS)}. A head in the plane has head_dim=2."
        )
    figure = go.Figure()
    if among is not None:
        corners = planar_hull([(float(x), float(y)) for x, y in among])
        x, y = zip(*corners, corners[0], strict=True)
        figure.add_scatter(
            x=rounded(list(x)),
            y=rounded(list(y)),
            mode="lines",
            fill="toself",
            fillcolor="rgba(128,128,128,0.18)",
            line={"color": GREY, "width": 1, "dash": "dash"},
            name=f"hull of the {what}s of one list",
            hoverinfo="skip",
        )
    for i, (each, (colour, symbol)) in enumerate(zip(vectors, _KEYS, strict=False)):
        figure.add_scatter(
            x=rounded(each[:, 0]),
            y=rounded(each[:, 1]),
            mode="markers+text",
            text=[str(digit) for digit in range(len(each))],
            textposition="top center",
            textfont={"size": 12},
            marker={"color": colour, "symbol": symbol, "size": 9},
            name=f"key {i}",
            hovertemplate=f"key {i} with digit %{{text}}<extra></extra>",
        )
    if outputs is not None:
        figure.add_scatter(
            x=rounded(outputs[:, 0]),
            y=rounded(outputs[:, 1]),
            mode="markers",
            marker={
                "color": "#E69F00",
                "symbol": "star",
                "size": 13,
                "line": {"color": GREY, "width": 1},
            },
            name="outputs in that list",
            hovertemplate="output<extra></extra>",
        )
    figure.update_layout(
        title_text=title,
        xaxis={"title": {"text": f"first number of the {what}"}, "constrain": "domain"},
        yaxis={
            "title": {"text": f"second number of the {what}"},
            "scaleanchor": "x",
            "constrain": "domain",
        },
        legend={"orientation": "h", "y": -0.2},
    )
    return finish(figure, alt=alt, height=520)


Runs = Mapping[str, Mapping[int, Sequence[float]]]
"""Variant -> width of a head -> a value for each seed."""


def width_panels(panels: Mapping[str, Runs], *, y_title: str, title: str) -> Figure:
    """Draw a measure against the width of a head, with an interval over seeds, a panel each.

    Args:
        panels: Title of a panel -> its runs, from top to bottom.
        y_title: What is measured, with its unit.
        title: What is shown.

    Raises:
        ValueError: If there is no panel.
        StatsError: If there are fewer than three seeds somewhere.
    """
    if not panels:
        raise ValueError("panels is empty: there is nothing to draw. Give at least one.")
    figure = make_subplots(
        rows=len(panels),
        cols=1,
        shared_xaxes=True,
        subplot_titles=list(panels),
        vertical_spacing=0.24 / len(panels),
    )
    words = []
    for row, (heading, runs) in enumerate(panels.items(), start=1):
        for i, (name, by_width) in enumerate(runs.items()):
            words.append(f"{heading}, {name}: {_panel(figure, row, i, name, by_width)}")
        figure.update_yaxes(title_text=y_title, row=row, col=1)
    widths = sorted({w for runs in panels.values() for each in runs.values() for w in each})
    figure.update_xaxes(
        type="log", tickvals=widths, ticktext=[str(w) for w in widths], showticklabels=True
    )
    figure.update_xaxes(title_text="head_dim (numbers in a head)", row=len(panels), col=1)
    drawn = [y for trace in figure.data for y in _extent(trace)]
    pad = 0.06 * (max(drawn) - min(drawn)) or 1.0
    # One scale, so that panels can be compared.
    figure.update_yaxes(range=rounded([min(drawn) - pad, max(drawn) + pad]))
    figure.update_annotations(font_size=14)
    figure.update_layout(
        title_text=title,
        legend={"orientation": "h", "y": -0.5 / len(panels)},
        margin={"t": 90, "b": 110},
    )
    alt = (
        f"Points with error bars (95 % interval over seeds), {y_title} against head_dim. "
        f"{'; '.join(words)}."
    )
    return finish(figure, alt=alt, height=200 + 230 * len(panels))


def _extent(trace: go.Scatter) -> list[float]:
    """Where a trace and its error bars reach to."""
    half = trace.error_y.array or [0.0] * len(trace.y)
    return [y + sign * h for y, h in zip(trace.y, half, strict=True) for sign in (-1, 1)]


def _panel(
    figure: go.Figure, row: int, i: int, name: str, by_width: Mapping[int, Sequence[float]]
) -> str:
    """Draw one variant in one panel; returns its means in words."""
    colour, symbol, dash = style(name)
    x = [width * 1.06**i for width in by_width]  # side by side, so that no bar hides another
    found = [mean_interval(list(values)) for values in by_width.values()]
    seeds = [
        (at, value) for at, values in zip(x, by_width.values(), strict=True) for value in values
    ]
    figure.add_scatter(
        x=rounded([at for at, _ in seeds]),
        y=rounded([value for _, value in seeds]),
        mode="markers",
        marker={"color": GREY, "symbol": "line-ew-open", "size": 9},
        name="single seeds",
        legendgroup="seeds",
        showlegend=row == 1 and i == 0,
        row=row,
        col=1,
    )
    figure.add_scatter(
        x=rounded(x),
        y=rounded([each.mean for each in found]),
        mode="lines+markers",
        line={"color": colour, "dash": dash, "width": 2},
        marker={"color": colour, "symbol": symbol, "size": 10},
        error_y={"type": "data", "array": rounded([e.half_width for e in found]), "width": 6},
        name=label(name),
        legendgroup=name,
        showlegend=row == 1,
        row=row,
        col=1,
    )
    means = [f"{each.mean:.3g} at {width}" for width, each in zip(by_width, found, strict=True)]
    return ", ".join(means)
