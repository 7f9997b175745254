"""Differences of many variants, measured in several settings, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import plotly.graph_objects as go

from qkvlib.plots.base import GREY, Figure, finish, label, rounded
from qkvlib.plots.comparison import Measured

_LOOKS: Final = [
    ("#0072B2", "circle"),
    ("#D55E00", "diamond"),
    ("#009E73", "square"),
    ("#CC79A7", "triangle-up"),
]
_BAND: Final = 0.62  # of a row, for its settings


def differences_by_setting(
    settings: Mapping[str, Sequence[Measured]],
    *,
    x_title: str,
    title: str,
    interval: str = "95 % interval",
    reference_name: str = "QKV",
) -> Figure:
    """Draw how far variants lie above a reference, a row each, a mark for each setting.

    Args:
        settings: Name of a text or a recipe -> a measured difference for each variant; at most
            four. A variant may be missing in some.
        x_title: What is measured, with its unit.
        title: What is shown.
        interval: What the error bars are.
        reference_name: What the differences are from; the upright line at zero.

    Raises:
        ValueError: If there is nothing to draw, or there are too many settings.
    """
    if not any(settings.values()):
        raise ValueError("settings is empty: there is nothing to draw. Give at least one Measured.")
    if len(settings) > len(_LOOKS):
        raise ValueError(f"{len(settings)} settings: expected 1 to {len(_LOOKS)}.")
    names = list(dict.fromkeys(row.name for rows in settings.values() for row in rows))
    figure = go.Figure()
    papers = {row.name: row.paper for rows in settings.values() for row in rows}
    drawn = {name: value for name, value in papers.items() if value is not None}
    if drawn:
        figure.add_scatter(
            x=rounded(list(drawn.values())),
            y=[names.index(name) for name in drawn],
            mode="markers",
            name="the paper's (one seed)",
            marker={
                "color": GREY, "symbol": "line-ns-open", "size": 30, "line": {"width": 2.5}
            },
            hovertemplate="%{x}<extra>the paper's</extra>",
        )  # fmt: skip
    for k, ((colour, symbol), (setting, rows)) in enumerate(
        zip(_LOOKS, settings.items(), strict=False)
    ):
        offset = _BAND * ((k + 0.5) / len(settings) - 0.5)
        figure.add_scatter(
            x=rounded([row.value for row in rows]),
            y=rounded([names.index(row.name) + offset for row in rows]),
            mode="markers",
            name=setting,
            marker={"color": colour, "symbol": symbol, "size": 10},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": rounded([row.high - row.value for row in rows]),
                "arrayminus": rounded([row.value - row.low for row in rows]),
                "thickness": 2,
                "width": 4,
            },
            hovertemplate="%{x}<extra>" + setting + "</extra>",
        )
    figure.add_vline(
        x=0, line_color=GREY, line_dash="dash", annotation_text=reference_name,
        annotation_position="top",
    )  # fmt: skip
    figure.update_layout(
        title_text=title,
        xaxis_title_text=x_title,
        yaxis={
            "tickvals": list(range(len(names))),
            "ticktext": [label(name, line_break=True) for name in names],
            "range": [len(names) - 0.5, -0.5],
            "showgrid": False,
            "zeroline": False,
            "ticks": "",
        },
        legend={"orientation": "v", "y": -0.16},
    )
    words = [
        f"{setting}: "
        + ", ".join(f"{r.name} {r.value:.3g} ({r.low:.3g} to {r.high:.3g})" for r in rows)
        for setting, rows in settings.items()
    ]
    if drawn:
        words.append("the paper: " + ", ".join(f"{n} {v:.3g}" for n, v in drawn.items()))
    alt = f"Dots with error bars ({interval}): {x_title}. {'; '.join(words)}."
    return finish(figure, alt=alt, height=220 + 56 * len(names))
