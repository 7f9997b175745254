"""Speed as ratios: how many times longer the other way takes."""

from __future__ import annotations

import math
from typing import Final

import plotly.graph_objects as go

from qkvlib.benchmark import SpeedTable
from qkvlib.plots.base import GREY, Figure, finish, rounded

_BLUE: Final = "#0072B2"
_LINE: Final = 26  # pixels of height


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
        figure.add_annotation(
            x=0, xref="paper", y=place, text=f"<b>{case.replace(', ', ',<br>', 1)}</b>",
            showarrow=False, xanchor="left", yanchor="middle", align="left",
        )  # fmt: skip
        place -= 1.7
        for row in rows:
            ticks.append((place, f"{row.tokens:,}"))
            words.append(
                f"{case}, {row.tokens:,} tokens: {row.ratio:.3g} ({row.low:.3g} to {row.high:.3g})"
            )
            place -= 1
        figure.add_scatter(
            x=rounded([row.ratio for row in rows]),
            y=[y for y, _ in ticks[-len(rows) :]],
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
        place -= 0.7
    low = min(1, *(row.low for row in table.rows))
    high = max(2, *(row.high for row in table.rows))
    figure.add_vline(x=1, line_color=GREY, line_dash="dot")
    figure.update_layout(
        title_text=title,
        xaxis={
            "title": {"text": "time of the other way / time of this way"},
            "type": "log",
            "range": [math.log10(low / 1.25), math.log10(high * 1.25)],
            "tickvals": [t for t in (0.5, 1, 2, 5, 10, 20, 50, 100) if t < high * 1.25],
        },
        yaxis={
            "title": {"text": "tokens"},
            "tickvals": [y for y, _ in ticks],
            "ticktext": [text for _, text in ticks],
            "range": [place, 1],
            "showgrid": False,
            "zeroline": False,
        },
    )
    alt = (
        "How many times longer the other way takes, the median and the range over the turns; "
        f"above 1 this way is faster. {'; '.join(words)}. Measured on {table.machine}."
    )
    return finish(figure, alt=alt, height=110 + round(_LINE * (1 - place)))
