"""Synthetic tasks: maps of many tasks under many variants, and what a variant gains or loses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import plotly.graph_objects as go
from torch import Tensor

from qkvlib.plots.base import GREY, Figure, finish, label, rounded, signed, style
from qkvlib.plots.comparison import Measured

_GAP: Final = 3  # cells between two maps side by side
_TEXT: Final = 26  # pixels under each row of maps for what is noted there
_WIDE: Final = 520  # pixels for all maps side by side, between a telephone's and a page's
_SCALE: Final = {
    "cmin": 0,
    "cmax": 100,
    "colorscale": "Cividis",
    "colorbar": {
        "orientation": "h",
        "thickness": 12,
        "y": 0,
        "yanchor": "top",
        "title": {"text": "weight (%)", "side": "bottom"},
    },
}


def task_maps(
    maps: Mapping[str, Mapping[str, Tensor]],
    *,
    notes: Mapping[str, Mapping[str, str]] | None = None,
    title: str = "",
) -> Figure:
    """Draw attention maps side by side, a row for each task and a column for each model.

    Args:
        maps: Task -> model (a variant, or what else it is called) -> weights of shape (T, T). A
            row may lack a model; its place is left empty.
        notes: Task -> model -> a few characters to stand under the map, such as ``"94 %"``.
        title: What is shown.

    Raises:
        ValueError: If there is no map, or they differ in shape.
    """
    shapes = {tuple(each.shape) for row in maps.values() for each in row.values()}
    if len(shapes) != 1 or len(shape := next(iter(shapes))) != 2 or shape[0] != shape[1]:
        raise ValueError(f"maps of shapes {sorted(shapes)}: expected (T, T), the same for all.")
    t = shape[0]
    columns = list(dict.fromkeys(name for row in maps.values() for name in row))
    tall = min(max(_WIDE / len(columns), 66), 110)  # pixels of a map from top to bottom
    width, height = t + _GAP, t * (1 + _TEXT / tall)
    figure = go.Figure()
    # All maps in one pair of axes: some fifty subplots would be slow to draw.
    for r, (task, row) in enumerate(maps.items()):
        for name, weights in row.items():
            c = columns.index(name)
            figure.add_heatmap(
                # Whole percents are finer than the eye, and keep the stored notebook small.
                z=(100 * weights.float()).round().int().tolist(),
                x0=c * width,
                y0=r * height,
                coloraxis="coloraxis",
                hovertemplate=f"{task}, {name}<br>weight %{{z}} %<extra></extra>",
            )
            note = (notes or {}).get(task, {}).get(name, "")
            if note:
                figure.add_annotation(
                    x=c * width + (t - 1) / 2, y=r * height + t - 0.5, text=note, showarrow=False,
                    yanchor="top", font={"size": 12}, borderpad=1,
                )  # fmt: skip
    middle = (t - 1) / 2
    figure.update_xaxes(
        side="top",
        ticklabeloverflow="allow",  # aslant, the first name begins left of its map
        tickvals=[c * width + middle for c in range(len(columns))],
        ticktext=columns,
        ticks="",
        showgrid=False,
        showline=False,
        zeroline=False,
        range=[-0.5, len(columns) * width - _GAP - 0.5],
    )
    figure.update_yaxes(
        tickvals=[r * height + middle for r in range(len(maps))],
        ticktext=list(maps),
        tickangle=-90,
        ticks="",
        showgrid=False,
        showline=False,
        zeroline=False,
        range=[len(maps) * height - 0.5, -0.5],
    )
    figure.update_layout(
        # On a telephone the names above the columns are aslant, and need the room below the title.
        title={"text": title, "y": 0.99, "yref": "container", "yanchor": "top", "pad": {"t": 6}},
        coloraxis=_SCALE,
        margin={"l": 24, "r": 4, "t": 84, "b": 5},  # the scale makes its own room below
    )
    words = [
        f"{task}: " + ", ".join(f"{name} {text}" for name, text in row.items() if text)
        for task, row in (notes or {}).items()
    ]
    alt = (
        f"Attention maps of {t} positions. From top to bottom: {', '.join(maps)}. From left to "
        f"right: {', '.join(columns)}. In a map, rows are positions that look, columns what they "
        f"look at. {'; '.join(words)}"
    )
    return finish(figure, alt=alt, height=round(160 + (tall + _TEXT) * len(maps)))


def task_differences(
    rows: Mapping[str, Sequence[Measured]],
    *,
    x_title: str,
    title: str = "",
    interval: str = "95 % interval",
    reference_name: str = "QKV",
) -> Figure:
    """Draw what variants gain or lose on each task, with intervals and the paper's figures.

    Args:
        rows: Task -> a measured difference for each variant; from top to bottom.
        x_title: What is measured, with its unit.
        title: What is shown.
        interval: What the error bars are.
        reference_name: What the differences are from; the upright line at zero.

    Raises:
        ValueError: If there is no row.
    """
    if not any(rows.values()):
        raise ValueError("rows is empty: there is nothing to draw. Give at least one Measured.")
    names = list(dict.fromkeys(row.name for some in rows.values() for row in some))
    figure = go.Figure()
    for k, name in enumerate(names):
        colour, symbol, _ = style(name)
        if name.endswith("+"):  # the same sharing, so the same colour and shape, but hollow
            symbol = f"{symbol}-open"
        found = [
            (i + (k + 0.5) / len(names) * 0.8 - 0.4, row)
            for i, some in enumerate(rows.values())
            for row in some
            if row.name == name
        ]
        figure.add_scatter(
            x=rounded([row.value for _, row in found]),
            y=rounded([y for y, _ in found]),
            mode="markers",
            name=label(name),
            marker={
                "color": colour,
                "symbol": symbol,
                "size": 9,
                "line": {"width": 2, "color": colour},
            },
            error_x={
                "type": "data",
                "symmetric": False,
                "array": rounded([row.high - row.value for _, row in found]),
                "arrayminus": rounded([row.value - row.low for _, row in found]),
                "thickness": 2,
                "width": 4,
            },
            hovertemplate="%{x}<extra>" + label(name) + "</extra>",
        )
    theirs = [
        (row.paper, i + (names.index(row.name) + 0.5) / len(names) * 0.8 - 0.4)
        for i, some in enumerate(rows.values())
        for row in some
        if row.paper is not None
    ]
    if theirs:
        figure.add_scatter(
            x=rounded([x for x, _ in theirs]),
            y=rounded([y for _, y in theirs]),
            mode="markers",
            name="the paper's",
            marker={"color": GREY, "symbol": "x-thin-open", "size": 9, "line": {"width": 2}},
            hovertemplate="%{x}<extra>the paper's</extra>",
        )
    figure.add_vline(
        x=0, line_color=GREY, line_dash="dash", annotation_text=reference_name,
        annotation_position="top",
    )  # fmt: skip
    for i in range(1, len(rows)):
        figure.add_hline(y=i - 0.5, line_color=GREY, line_width=0.5)
    figure.update_layout(
        title_text=title,
        xaxis_title={"text": x_title, "font": {"size": 14}},
        yaxis={
            "tickvals": list(range(len(rows))),
            "ticktext": list(rows),
            "range": [len(rows) - 0.5, -0.5],
            "showgrid": False,
            "zeroline": False,
            "ticks": "",
        },
        legend={"orientation": "v", "y": -60 / (90 * len(rows)), "yanchor": "top"},
    )
    words = [
        f"{task}: "
        + ", ".join(
            f"{r.name} {signed(r.value)} ({signed(r.low)} to {signed(r.high)})" for r in some
        )
        for task, some in rows.items()
    ]
    alt = f"Dots with error bars ({interval}): {x_title}. {'; '.join(words)}."
    return finish(figure, alt=alt, height=120 + 90 * len(rows) + 24 * (len(names) + 1))
