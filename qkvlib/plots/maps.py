"""Attention maps, and numbers taken from them."""

from __future__ import annotations

import math
from collections.abc import Mapping

import plotly.graph_objects as go
from plotly.subplots import make_subplots
from torch import Tensor

from qkvlib.plots.base import (
    GREY,
    Figure,
    finish,
    label,
    rounded,
    style,
)


def attention_grid(
    maps: Mapping[str, Tensor], *, title: str = "", tokens: str | None = None, what: str = "weight"
) -> Figure:
    """Draw attention maps, a row for each variant and a column for each head, in one scale.

    Args:
        maps: Variant -> tensor of shape (H, T, T). What a causal mask hides may be NaN; it is
            left blank.
        title: What is shown.
        tokens: The T characters, for the labels that appear under the pointer.
        what: What the numbers are: ``"weight"`` or ``"score"``.

    Raises:
        ValueError: If there is no map, or the shapes differ.
    """
    shapes = {tuple(each.shape) for each in maps.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 3:
        raise ValueError(
            f"maps of shapes {sorted(shapes)}: expected the same shape (heads, positions, "
            "positions) for every variant."
        )
    n_heads, t, _ = next(iter(shapes))
    figure = make_subplots(
        rows=len(maps),
        cols=n_heads,
        column_titles=[f"head {h}" for h in range(n_heads)],
        row_titles=list(maps),
        horizontal_spacing=0.02,
        vertical_spacing=0.03,
    )
    names = None
    if tokens is not None:
        names = [f"{i} {c!r}" for i, c in enumerate(tokens[:t])]
    for row, each in enumerate(maps.values(), start=1):
        for head in range(n_heads):
            figure.add_heatmap(
                z=rounded(each[head].float(), 3),
                coloraxis="coloraxis",
                row=row,
                col=head + 1,
                x=names,
                y=names,
                hovertemplate=f"looks from %{{y}}<br>to %{{x}}<br>{what} %{{z}}<extra></extra>",
            )
    figure.update_annotations(font_size=12)
    figure.update_xaxes(showticklabels=False, ticks="", showgrid=False, constrain="domain")
    figure.update_yaxes(
        showticklabels=False, ticks="", showgrid=False, autorange="reversed", constrain="domain"
    )
    figure.update_layout(
        title_text=title,
        coloraxis={
            "colorscale": "Cividis",
            # Below the maps: beside them it would take a third of a telephone's width.
            "colorbar": {
                "orientation": "h",
                "thickness": 12,
                "y": -0.02,
                "yanchor": "top",
                "title": {"text": what, "side": "bottom"},
            },
        },
        margin={"l": 12, "r": 28, "t": 80, "b": 80},
    )
    diagonals = [
        f"{name} {each.diagonal(dim1=-2, dim2=-1).float().mean().item():.2g}"
        for name, each in maps.items()
    ]
    alt = (
        f"Grid of attention maps, {len(maps)} variants by {n_heads} heads, {t} positions each; "
        f"rows are positions that look, columns what they look at. Mean {what} on the diagonal, a "
        f"position with itself: {'; '.join(diagonals)}."
    )
    return finish(figure, alt=alt, height=160 + 150 * len(maps))


def asymmetry_dots(values: Mapping[str, Tensor], *, title: str = "") -> Figure:
    """Draw the asymmetry of every head of every layer, one column of dots for each variant.

    Args:
        values: Variant -> tensor of shape (L, H) from :func:`qkvlib.analysis.asymmetry`.
        title: What is shown.
    """
    figure = go.Figure()
    words = []
    for i, (name, each) in enumerate(values.items()):
        colour, symbol, _ = style(name)
        layers, heads = each.shape
        # A fixed spread instead of a random one, so that a figure is the same every time.
        offsets = [(k + 0.5) / (layers * heads) - 0.5 for k in range(layers * heads)]
        figure.add_scatter(
            x=rounded([i + 0.5 * offset for offset in offsets]),
            y=rounded(each.flatten().float()),
            mode="markers",
            name=label(name),
            marker={"color": colour, "symbol": symbol, "size": 10},
            text=[f"layer {k // heads}, head {k % heads}" for k in range(layers * heads)],
            hovertemplate="%{text}: %{y}<extra></extra>",
        )
        words.append(f"{name} {each.min().item():.2g} to {each.max().item():.2g}")
    figure.add_hline(
        y=math.sqrt(2), line_color=GREY, line_dash="dash", annotation_text="√2: unrelated scores"
    )
    figure.update_layout(
        title_text=title,
        xaxis={
            "tickvals": list(range(len(values))),
            "ticktext": list(values),
            "showgrid": False,
            "zeroline": False,
        },
        yaxis={"title": {"text": "asymmetry ‖S − Sᵀ‖ / ‖S‖"}, "range": [-0.05, 2.05]},
    )
    alt = f"Dots: asymmetry of each head's scores, 0 for symmetric, 2 at most. {'; '.join(words)}."
    return finish(figure, alt=alt)
