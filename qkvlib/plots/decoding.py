"""Time per token against the context."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from qkvlib.plots.base import GREY, Figure, finish, label, rounded, style

_OTHERS = ("#D55E00", "#0072B2", "#009E73", "#56B4E9")
_DASHES = ("dash", "solid", "dot", "dashdot")
_SYMBOLS = ("square", "circle", "diamond", "triangle-up")


def time_per_token(
    seconds: Mapping[str, Mapping[int, Sequence[float]]], *, title: str = ""
) -> Figure:
    """Draw measured times against the context: the fastest, and a band from there to the median.

    What else a computer does can only slow a measurement down, so the fastest says what a step
    takes, and the band how much it was disturbed.

    Args:
        seconds: Name -> tokens of context -> measured times of one step, in seconds. The name of a
            variant brings its colour and dash.
        title: What is shown.

    Raises:
        ValueError: If there is nothing to draw, or a context has no measurement.
    """
    if not seconds or not all(seconds.values()):
        raise ValueError("seconds is empty: there is nothing to draw. Measure at least one step.")
    figure = go.Figure()
    words = []
    for i, (name, measured) in enumerate(seconds.items()):
        for context, each in measured.items():
            if not each:
                raise ValueError(f"{name}: no time was measured at a context of {context} tokens.")
        colour, symbol, dash = style(name)
        if colour == GREY:
            k = i % len(_OTHERS)
            colour, symbol, dash = _OTHERS[k], _SYMBOLS[k], _DASHES[k]
        x = sorted(measured)
        fastest = [1e3 * min(measured[c]) for c in x]
        median = [1e3 * statistics.median(measured[c]) for c in x]
        red, green, blue = (int(colour[j : j + 2], 16) for j in (1, 3, 5))
        figure.add_scatter(
            x=x + x[::-1],
            y=rounded(median + fastest[::-1]),
            mode="lines",
            fill="toself",
            fillcolor=f"rgba({red},{green},{blue},0.2)",
            line={"width": 0},
            hoverinfo="skip",
            showlegend=False,
            legendgroup=name,
        )
        figure.add_scatter(
            x=x,
            y=rounded(fastest),
            mode="lines+markers",
            name=label(name),
            legendgroup=name,
            line={"color": colour, "dash": dash, "width": 3},
            marker={"symbol": symbol, "size": 8},
        )
        words.append(
            f"{name} {fastest[0]:.2g} ms at {x[0]} tokens and {fastest[-1]:.2g} ms at {x[-1]}"
        )
    figure.update_layout(
        title_text=title,
        xaxis_title_text="tokens of context",
        yaxis={"title": {"text": "time for one token (ms)"}, "rangemode": "tozero"},
    )
    alt = (
        "Time for one token against the context: the fastest of repeated measurements, and a band "
        f"from there to their median. {'; '.join(words)}."
    )
    return finish(figure, alt=alt)
