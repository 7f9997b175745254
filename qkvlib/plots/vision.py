"""Images as tokens, what they are taken for, and whether a fit explains an accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import plotly.graph_objects as go
from plotly.subplots import make_subplots
from torch import Tensor

from qkvlib.models import patches
from qkvlib.plots.base import GREY, Figure, finish, label, rounded, signed, style
from qkvlib.stats import Interval

INK: Final = [[0.0, "#f4f6f9"], [1.0, "#1c2530"]]
"""Pixels as ink on paper, so that a figure is as light as a light page, and frames show on both."""

_BARE: Final[dict[str, Any]] = {
    "showgrid": False,
    "showline": False,
    "showticklabels": False,
    "ticks": "",
    "zeroline": False,
}
_NUMBERS: Final = 10  # below a row of tokens; on a telephone more would touch
_BUBBLE: Final = 17  # pixels across of the most frequent kind of mistake
GREYS: Final = 15  # shades; finer ones are not seen, and a stored notebook stays small


def ink(pixels: Tensor) -> list[list[int]]:
    return (pixels.float() * GREYS / 255).round().int().tolist()


def _check_image(image: Tensor, what: str = "image") -> None:
    if image.ndim != 2:
        raise ValueError(
            f"{what} of shape {tuple(image.shape)}: expected (height, width), a grey image. Of a "
            "set's images (N, 1, height, width) one is images[i, 0]."
        )


# Images as tokens


def patch_tokens(image: Tensor, patch_size: int, *, title: str = "", alt: str = "") -> Figure:
    """Draw an image cut into patches, and below it the patches in a row, as a model reads them.

    Args:
        image: Shape (height, width), uint8.
        patch_size: Side of a patch, in pixels; must divide both sides.
        title: What is shown.
        alt: What is in the image, for the text alternative.

    Raises:
        ValueError: If it is no grey image, or does not divide into patches.
    """
    _check_image(image)
    height, width = image.shape
    if height % patch_size or width % patch_size:
        raise ValueError(
            f"patch_size={patch_size} does not divide an image of {height} × {width} pixels."
        )
    columns = width // patch_size
    tokens = patches(image[None, None], patch_size)[0].view(-1, patch_size, patch_size)
    figure = make_subplots(rows=2, cols=1, row_heights=[0.76, 0.24], vertical_spacing=0.04)
    gap = patch_size / 7
    every = -(-len(tokens) // _NUMBERS)
    for n, token in enumerate(tokens):
        place = divmod(n, columns)
        corners = [c * (patch_size + gap) for c in place], [0.0, n * (patch_size + gap)]
        for row, (top, left) in enumerate(corners, start=1):
            figure.add_heatmap(
                z=ink(token), x0=left, y0=top, coloraxis="coloraxis", row=row, col=1,
                hovertemplate=f"token {n}<br>row {place[0]}, column {place[1]} of the patches"
                "<extra></extra>",
            )  # fmt: skip
        if n % every == 0:
            figure.add_annotation(
                x=corners[1][1] + (patch_size - 1) / 2, y=patch_size, text=str(n), showarrow=False,
                yanchor="top", font={"size": 11}, row=2, col=1,
            )  # fmt: skip
    for row, (down, right) in enumerate(((height // patch_size, columns), (1, len(tokens))), 1):
        # A scale of its own for each part; within it pixels are squares.
        at = {"row": row, "col": 1, "constrain": "domain"}
        figure.update_xaxes(**_BARE, **at, range=[-1, right * (patch_size + gap) - gap])
        room = 0 if row == 1 else 4 * gap  # for the numbers
        figure.update_yaxes(
            **_BARE, **at, scaleanchor="x" if row == 1 else "x2",
            range=[down * (patch_size + gap) - gap + room, -1],
        )  # fmt: skip
    figure.update_layout(
        title_text=title,
        coloraxis={"cmin": 0, "cmax": GREYS, "colorscale": INK, "showscale": False},
        margin={"l": 4, "r": 4, "t": 50, "b": 6},
    )
    words = (
        f"{alt} An image of {height} by {width} pixels, cut into {len(tokens)} patches of "
        f"{patch_size} by {patch_size}; below it the same patches in a row, numbered 0 to "
        f"{len(tokens) - 1} in reading order."
    )
    return finish(figure, alt=words, height=430)


# Mistakes


def confusions(counts: Mapping[str, Tensor], classes: Sequence[str], *, title: str = "") -> Figure:
    """Draw what was taken for what, a panel for each model and a dot for each kind of mistake.

    Args:
        counts: Model (a variant, or what else it is called) -> shape (C, C), how many of class
            row were given the answer column.
        classes: Names of the C classes.
        title: What is shown.

    Raises:
        ValueError: If there is no model, or a shape does not fit the classes.
    """
    c = len(classes)
    for name, each in counts.items():
        if tuple(each.shape) != (c, c):
            raise ValueError(f"{name}: counts of shape {tuple(each.shape)}, expected ({c}, {c}).")
    if not counts:
        raise ValueError("counts is empty: there is nothing to draw. Give at least one model.")
    off = {name: each.clone().fill_diagonal_(0) for name, each in counts.items()}
    most = max(int(each.max()) for each in off.values())
    rows = -(-len(off) // 2)
    figure = make_subplots(
        rows=rows,
        cols=min(2, len(off)),
        subplot_titles=[f"{name}: {int(each.sum())}" for name, each in off.items()],
        horizontal_spacing=0.1,
        vertical_spacing=0.2 / rows,
    )
    for n, (name, each) in enumerate(off.items()):
        cells = each.nonzero().tolist()
        figure.add_scatter(
            x=[classes[answer] for _, answer in cells],
            y=[classes[true] for true, _ in cells],
            mode="markers",
            marker={
                "color": style(name)[0],
                "opacity": 0.85,
                "line": {"width": 0},
                # The area counts. No larger than a cell on a telephone, or they would overlap.
                "size": rounded([_BUBBLE * (int(each[i, k]) / most) ** 0.5 for i, k in cells], 3),
            },
            customdata=[int(each[i, k]) for i, k in cells],
            showlegend=False,
            hovertemplate="%{customdata} × %{y}<br>taken for %{x}<extra></extra>",
            row=n // 2 + 1,
            col=n % 2 + 1,
        )
    both = {
        "type": "category", "categoryarray": list(classes), "ticks": "", "tickangle": 0,
        "tickfont": {"size": 11},
    }  # fmt: skip
    figure.update_xaxes(**both, range=[-0.6, c - 0.4])
    figure.update_yaxes(**both, range=[c - 0.4, -0.6])
    figure.update_xaxes(title={"text": "taken for", "standoff": 6}, row=rows)
    figure.update_yaxes(title={"text": "is", "standoff": 6}, col=1)
    figure.update_annotations(font_size=13)
    figure.update_layout(
        title={"text": title, "y": 0.99, "yref": "container", "yanchor": "top", "pad": {"t": 8}},
        margin={"l": 40, "r": 8, "t": 84, "b": 50},
    )
    words = [f"{name}: {_worst(each, classes)}" for name, each in off.items()]
    alt = (
        f"A panel for each model, with a dot wherever images of one class (rows) were taken for "
        f"another (columns); its area is how many. {'; '.join(words)}."
    )
    return finish(figure, alt=alt, height=120 + 300 * rows)


def _worst(off: Tensor, classes: Sequence[str], n: int = 3) -> str:
    """The most frequent confusions in words."""
    order = off.flatten().argsort(descending=True, stable=True)[:n].tolist()
    most = [divmod(i, len(classes)) for i in order]
    said = [
        f"{int(off[i, j])} times {classes[i]} for {classes[j]}" for i, j in most if off[i, j] > 0
    ]
    return f"{int(off.sum())} mistakes{', ' if said else ''}{', '.join(said)}"


def mistaken_images(
    images: Tensor,
    labels: Sequence[str],
    answers: Mapping[str, Sequence[str]],
    *,
    columns: int = 6,
    title: str = "",
) -> Figure:
    """Draw images, under each what it is, and under that the answer of every model.

    Args:
        images: Shape (N, height, width), uint8.
        labels: What each is.
        answers: Model -> its answer to each image; ✓ stands for a right one.
        columns: Images side by side.
        title: What is shown.

    Raises:
        ValueError: If there is no image, or labels or answers are not as many.
    """
    counts = {"labels": len(labels)} | {name: len(each) for name, each in answers.items()}
    if images.ndim != 3 or not len(images) or set(counts.values()) != {len(images)}:
        raise ValueError(
            f"images of shape {tuple(images.shape)} with {counts}: expected images (N, height, "
            "width), N at least 1, and N labels and answers."
        )
    n, height, width = images.shape
    # An image and the two lines under it, in pixels on a page that is wide enough. On a telephone
    # all shrinks but the lines, and they still fit.
    tall, room = 68, 52
    pitch = height * (1 + room / tall)
    figure = go.Figure()
    said = []
    for i, (image, true) in enumerate(zip(images, labels, strict=True)):
        row, column = divmod(i, columns)
        left, top = column * width * 1.25, row * pitch
        figure.add_heatmap(z=ink(image), x0=left, y0=top, coloraxis="coloraxis", hoverinfo="skip")
        given = ["✓" if each[i] == true else each[i] for each in answers.values()]
        for k, text in enumerate((f"<b>{true}</b>", " ".join(given))):
            figure.add_annotation(
                x=left + (width - 1) / 2, y=top + height - 0.5, yshift=-14 * k, text=text,
                showarrow=False, yanchor="top", borderpad=1, font={"size": 12},
            )  # fmt: skip
        wrong = [f"{each[i]} by {name}" for name, each in answers.items() if each[i] != true]
        said.append(f"{true} taken for {', '.join(wrong) or 'what it is by all'}")
    rows = -(-n // columns)
    across = [-1, (min(columns, n) - 1) * width * 1.25 + width]
    figure.update_xaxes(**_BARE, constrain="domain", range=across)
    figure.update_yaxes(
        **_BARE, constrain="domain", constraintoward="top", scaleanchor="x",
        range=[rows * pitch, -1],
    )  # fmt: skip
    order = f"under each: what it is; then the answers of<br>{', '.join(answers)}"
    figure.update_layout(
        title={"text": title, "subtitle": {"text": order, "font": {"size": 12}}},
        coloraxis={"cmin": 0, "cmax": GREYS, "colorscale": INK, "showscale": False},
        margin={"l": 4, "r": 4, "t": 92, "b": 4},
    )
    return finish(figure, alt=f"{n} images. {'; '.join(said)}.", height=96 + rows * (tall + room))


# A fit and an accuracy


@dataclass(frozen=True)
class FitChange:
    """What a variant changes on one set of images, against another variant.

    Attributes:
        name: The variant.
        images: The set of images.
        gap: How much larger its gap between training and held-out accuracy is.
        accuracy: How much higher its held-out accuracy is.
    """

    name: str
    images: str
    gap: Interval
    accuracy: Interval


def fit_changes(
    changes: Sequence[FitChange],
    *,
    title: str = "",
    unit: str = "points of 100",
    reference_name: str = "QKV",
    interval: str = "95 % interval",
) -> Figure:
    """Draw the change of the gap beside the change of the accuracy, with intervals.

    The shaded sides are those of "it remembers less, so it sees better".

    Args:
        changes: What was measured; sets of images from top to bottom, in the order given.
        title: What is shown.
        unit: Unit of both.
        reference_name: What the changes are against.
        interval: What the error bars are.

    Raises:
        ValueError: If there is nothing to draw.
    """
    if not changes:
        raise ValueError("changes is empty: there is nothing to draw. Give at least one FitChange.")
    sets = list(dict.fromkeys(each.images for each in changes))
    names = list(dict.fromkeys(each.name for each in changes))
    figure = make_subplots(rows=1, cols=2, shared_yaxes=True, horizontal_spacing=0.05)
    for k, name in enumerate(names):
        colour, symbol, _ = style(name)
        some = [each for each in changes if each.name == name]
        y = [sets.index(e.images) + (k + 0.5) / len(names) * 0.7 - 0.35 for e in some]
        for column, found in enumerate(([e.gap for e in some], [e.accuracy for e in some]), 1):
            figure.add_scatter(
                x=rounded([each.mean for each in found]),
                y=rounded(y),
                mode="markers",
                name=label(name),
                legendgroup=name,
                showlegend=column == 1,
                marker={"color": colour, "symbol": symbol, "size": 10},
                error_x={
                    "type": "data",
                    "array": rounded([each.half_width for each in found]),
                    "thickness": 2,
                    "width": 4,
                },
                hovertemplate="%{x}<extra>" + label(name) + "</extra>",
                row=1,
                col=column,
            )
    sides = (("gap", -1, [e.gap for e in changes]), ("accuracy", 1, [e.accuracy for e in changes]))
    for column, (what, side, found) in enumerate(sides, start=1):
        reach = 1.1 * max(abs(end) for each in found for end in (each.low, each.high)) or 1.0
        figure.add_vrect(
            x0=0, x1=side * reach, fillcolor="rgba(128,128,128,0.13)", line_width=0, layer="below",
            row=1, col=column,
        )  # fmt: skip
        figure.add_vline(x=0, line_color=GREY, line_dash="dash", row=1, col=column)
        figure.update_xaxes(
            title={"text": what, "font": {"size": 14}},
            range=[-reach, reach], zeroline=False, nticks=5, tickangle=0, row=1, col=column,
        )  # fmt: skip
    figure.update_yaxes(
        tickvals=list(range(len(sets))),
        ticktext=[name.replace("-", "-<br>", 1) if len(name) > 9 else name for name in sets],
        range=[len(sets) - 0.5, -0.5],
        showgrid=False,
        zeroline=False,
        ticks="",
    )
    for i in range(1, len(sets)):
        figure.add_hline(y=i - 0.5, line_color=GREY, line_width=0.5)
    subtitle = f"{unit} above {reference_name},<br>{interval}"
    figure.update_layout(
        title={"text": title, "subtitle": {"text": subtitle, "font": {"size": 12}}},
        margin={"t": 92},
        legend={"orientation": "v", "y": -64 / (80 * len(sets)), "yanchor": "top"},
    )
    words = [
        f"{each.images}, {each.name}: gap {_said(each.gap)}, accuracy {_said(each.accuracy)}"
        for each in changes
    ]
    alt = (
        f"Dots with error bars ({interval}): change against {reference_name}, in {unit}, of the "
        f"gap between training and held-out accuracy, left, and of the held-out accuracy, right. "
        f"{'; '.join(words)}."
    )
    return finish(figure, alt=alt, height=206 + 80 * len(sets) + 24 * len(names))


def _said(found: Interval) -> str:
    return f"{signed(found.mean, 2)} ({signed(found.low, 2)} to {signed(found.high, 2)})"
