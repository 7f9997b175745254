"""Numbers on the grid of an image's patches: one for each place, or one for each pair of places."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import plotly.graph_objects as go
import torch
from torch import Tensor

from qkvlib.plots.base import GREY, Figure, finish, rounded
from qkvlib.plots.vision import GREYS, INK, ink

_SIGNED: Final = [[0.0, "#0072B2"], [0.5, "#f4f6f9"], [1.0, "#D55E00"]]
_GAP: Final = 1.4  # cells between two maps side by side
_TALL: Final = 140  # pixels of a map from top to bottom on a page
_TALL_TILES: Final = 280  # the same, of a map of maps
_TEXT: Final = 26  # pixels above it for its name
_BARE: Final[dict[str, Any]] = {
    "showgrid": False,
    "showline": False,
    "zeroline": False,
    "ticks": "",
    "constrain": "domain",
}


def cut_images(images: Mapping[str, Tensor], patch_size: int, *, title: str = "") -> Figure:
    """Draw images cut into patches, with a gap between the patches.

    Args:
        images: Name -> shape (height, width), uint8, all of one shape.
        patch_size: Side of a patch, in pixels; must divide both sides.
        title: What is shown.

    Raises:
        ValueError: If there is no image, they differ in shape, or do not divide into patches.
    """
    shapes = {tuple(each.shape) for each in images.values()}
    sides = next(iter(shapes), ())
    if len(shapes) != 1 or len(sides) != 2 or any(side % patch_size for side in sides):
        raise ValueError(
            f"images of shapes {sorted(shapes)} with patch_size={patch_size}: expected (height, "
            "width), the same for all, both divisible by the patch_size."
        )
    height, width = sides
    # A pixel between two patches is left blank, and several between two images.
    across = width + width // patch_size + 3
    figure = go.Figure()
    for k, (name, image) in enumerate(images.items()):
        z: list[list[int | None]] = []
        for strip in torch.split(image, patch_size):
            for line in ink(strip):
                parts = [line[c : c + patch_size] for c in range(0, width, patch_size)]
                z.append([v for part in parts for v in [*part, None]])
            z.append([None] * len(z[-1]))
        figure.add_heatmap(
            z=z, x0=k * across, y0=0, coloraxis="coloraxis", hoverinfo="skip", hoverongaps=False
        )
        figure.add_annotation(
            x=k * across + (across - 5) / 2, y=-1, text=name, showarrow=False, yanchor="bottom",
            borderpad=1, font={"size": 12},
        )  # fmt: skip
    tall = height + height // patch_size - 1
    figure.update_xaxes(_BARE, showticklabels=False, range=[-0.5, len(images) * across - 4 - 0.5])
    figure.update_yaxes(
        _BARE, showticklabels=False, range=[tall - 0.5, -5.5], scaleanchor="x",
        constraintoward="top",
    )  # fmt: skip
    figure.update_layout(
        title_text=title,
        coloraxis={"cmin": 0, "cmax": GREYS, "colorscale": INK, "showscale": False},
        margin={"l": 8, "r": 8, "t": 50, "b": 8},
    )
    alt = (
        f"Images of {height} by {width} pixels, cut into {height // patch_size} by "
        f"{width // patch_size} patches, from left to right: {', '.join(images)}."
    )
    return finish(figure, alt=alt, height=round(90 + 720 / max(2, len(images))))


def place_maps(
    maps: Mapping[str, Mapping[str, Tensor]],
    grid: tuple[int, int],
    *,
    what: str,
    marks: Mapping[str, int] | None = None,
    signed: bool = False,
    title: str = "",
) -> Figure:
    """Draw a number for each place of a grid, many such maps side by side in one scale.

    Args:
        maps: Name of a row -> name of a column -> shape (rows * columns,), in reading order.
        grid: Rows and columns of places.
        what: What the numbers are.
        marks: Name of a column -> number of a place that is framed in it.
        signed: Whether the scale is centred on zero, with a colour for each sign.
        title: What is shown.

    Raises:
        ValueError: If there is no map, or one does not fit the grid.
    """
    high, wide = grid
    _check(
        {f"{a}, {b}": each for a, row in maps.items() for b, each in row.items()}, (high * wide,)
    )
    columns = list(dict.fromkeys(name for row in maps.values() for name in row))
    width, height = wide + _GAP, high * (1 + _TEXT / _TALL)
    tall = round(130 + (_TALL + _TEXT) * len(maps))
    figure = go.Figure()
    for r, (row_name, row) in enumerate(maps.items()):
        for name, values in row.items():
            left, top = columns.index(name) * width, r * height
            figure.add_heatmap(
                z=rounded(values.detach().float().view(high, wide), 3),
                x0=left,
                y0=top,
                coloraxis="coloraxis",
                customdata=_names(grid),
                hovertemplate=f"{row_name}; {name}<br>%{{customdata}}: %{{z}}<extra></extra>",
            )
            if marks and name in marks:
                down, right = divmod(marks[name], wide)
                figure.add_shape(
                    type="rect", x0=left + right - 0.5, x1=left + right + 0.5,
                    y0=top + down - 0.5, y1=top + down + 0.5, line={"width": 2.5, "color": "black"},
                )  # fmt: skip
            figure.add_annotation(
                x=left + (wide - 1) / 2, y=top - 0.5, text=name, showarrow=False, yanchor="bottom",
                borderpad=1, font={"size": 12},
            )  # fmt: skip
    figure.update_xaxes(
        _BARE, showticklabels=False, range=[-0.5, len(columns) * width - _GAP - 0.5]
    )
    figure.update_yaxes(
        _BARE,
        tickvals=[r * height + (high - 1) / 2 for r in range(len(maps))],
        ticktext=list(maps),
        tickangle=-90,
        range=[len(maps) * height - (height - high) - 0.4, -0.5 - (height - high)],
        scaleanchor="x",
        constraintoward="top",
    )
    figure.update_layout(
        title={"text": title, "y": 0.99, "yref": "container", "yanchor": "top", "pad": {"t": 8}},
        coloraxis=_scale(maps, what, signed, tall),
        margin={"l": 30, "r": 8, "t": 124, "b": 8},
    )
    words = [
        f"{row_name}, {name}: most at {_peak(values, grid)}"
        for row_name, row in maps.items()
        for name, values in row.items()
    ]
    alt = (
        f"Maps of {high} by {wide} places, {what}. From top to bottom: {', '.join(maps)}. From "
        f"left to right: {', '.join(columns)}. {'; '.join(words)}."
    )
    return finish(figure, alt=alt, height=tall)


def place_tiles(
    tables: Mapping[str, Tensor], grid: tuple[int, int], *, what: str, title: str = ""
) -> Figure:
    """Draw a number for each pair of places: at the place of i stands the whole picture of i.

    Args:
        tables: Name -> shape (n, n), n = rows * columns: a row for each place i, in it a number
            for each place j.
        grid: Rows and columns of places.
        what: What the numbers are.
        title: What is shown.

    Raises:
        ValueError: If there is no table, or one does not fit the grid.
    """
    high, wide = grid
    _check(tables, (high * wide, high * wide))
    tall = 130 + (_TALL_TILES + _TEXT) * len(tables)
    figure = go.Figure()
    cells = high * (high + 1) - 1
    pitch = cells * (1 + _TEXT / _TALL_TILES)  # one below the other: side by side they are specks
    for k, (name, table) in enumerate(tables.items()):
        # (i row, i column, j row, j column), and between two pictures a cell that is left blank.
        pictures = table.detach().float().view(high, wide, high, wide)
        z: list[list[float | None]] = []
        for pictures_of_row in pictures:
            z += [
                [v for picture in pictures_of_row for v in [*rounded(picture[down], 3), None]]
                for down in range(high)
            ]
            z.append([None] * len(z[-1]))
        figure.add_heatmap(
            z=z[:-1],
            x0=0,
            y0=k * pitch,
            coloraxis="coloraxis",
            hoverongaps=False,
            hovertemplate=f"{name}<br>%{{z}}<extra></extra>",
        )
        figure.add_annotation(
            x=(wide * (wide + 1) - 2) / 2, y=k * pitch - 0.5, text=name, showarrow=False,
            yanchor="bottom", borderpad=1, font={"size": 12},
        )  # fmt: skip
    figure.update_xaxes(_BARE, showticklabels=False, range=[-0.5, wide * (wide + 1) - 1.5])
    figure.update_yaxes(
        _BARE,
        showticklabels=False,
        range=[len(tables) * pitch - (pitch - cells) - 0.5, -0.5 - (pitch - cells)],
        scaleanchor="x",
        constraintoward="top",
    )
    figure.update_layout(
        title={"text": title, "y": 0.99, "yref": "container", "yanchor": "top", "pad": {"t": 8}},
        coloraxis=_scale({"": tables}, what, True, tall),
        margin={"l": 8, "r": 8, "t": 124, "b": 8},
    )
    words = [f"{name}: {_count(n_pictures(table))}" for name, table in tables.items()]
    alt = (
        f"Pictures of {high} by {wide} places, {what}, one at the place of each of the "
        f"{high * wide} patches that look. Apart from a constant, {'; '.join(words)}."
    )
    return finish(figure, alt=alt, height=tall)


def n_pictures(table: Tensor, *, tolerance: float = 1e-3) -> int:
    """Count the rows of a table that differ by more than a constant.

    Args:
        table: Shape (n, n).
        tolerance: Differences up to this share of the largest number pass for rounding.
    """
    centred = table.detach().double()
    centred = centred - centred.mean(dim=1, keepdim=True)
    size = centred.abs().max().clamp_min(1e-12)
    kept: list[Tensor] = []
    for row in centred:
        if not any(bool((row - other).abs().max() <= tolerance * size) for other in kept):
            kept.append(row)
    return len(kept)


def _count(n: int) -> str:
    return "the same picture everywhere" if n == 1 else f"{n} different pictures"


def _check(maps: Mapping[str, Tensor], shape: tuple[int, ...]) -> None:
    if not maps:
        raise ValueError("there is nothing to draw: give at least one map.")
    for name, each in maps.items():
        if tuple(each.shape) != shape:
            raise ValueError(f"{name}: shape {tuple(each.shape)}, but the grid asks for {shape}.")


def _names(grid: tuple[int, int]) -> list[list[str]]:
    """Rows and columns from 1, as one counts on a picture."""
    return [[f"row {r + 1}, column {c + 1}" for c in range(grid[1])] for r in range(grid[0])]


def _peak(values: Tensor, grid: tuple[int, int]) -> str:
    row, column = divmod(int(values.argmax()), grid[1])
    return _names(grid)[row][column]


def _scale(
    maps: Mapping[str, Mapping[str, Tensor]], what: str, signed: bool, tall: int
) -> dict[str, Any]:
    scale: dict[str, Any] = {
        "colorscale": _SIGNED if signed else "Cividis",
        "colorbar": {
            # Above the maps: below, a telephone would show it far from maps as wide as the page.
            # Placed by the paper, and not by the figure, it would push the title out.
            "orientation": "h",
            "thickness": 10,
            "y": 1 - 46 / tall,
            "yref": "container",
            "yanchor": "top",
            "title": {"text": what, "side": "bottom", "font": {"size": 12}},
            "outlinecolor": GREY,
        },
    }
    if signed:
        most = max(each.abs().max().item() for row in maps.values() for each in row.values())
        scale |= {"cmin": -rounded(most or 1.0, 3), "cmax": rounded(most or 1.0, 3)}
    return scale
