"""The course's look, and the figure that always has a text alternative."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final

import plotly.graph_objects as go
import plotly.io
from torch import Tensor

from qkvlib.sharing import SHARINGS, parse_variant

COLOURS: Final = {name: sharing.colour for name, sharing in SHARINGS.items()}
"""One colour for each sharing, from Okabe and Ito's palette for colour-blind readers."""

SYMBOLS: Final = {
    "QKV": "circle",
    "Q=K-V": "square",
    "Q-K=V": "diamond",
    "Q=K=V": "triangle-up",
}
DASHES: Final = {"QKV": "solid", "Q=K-V": "dash", "Q-K=V": "dot", "Q=K=V": "dashdot"}

GREY: Final = "#767676"
"""Text and axes: contrast 4.5 to white, and nearly that to black."""

GRID: Final = "rgba(128,128,128,0.25)"
_MIME: Final = "application/vnd.plotly.v1+json"
_LEAST_ALT: Final = 20

_axis = {
    "gridcolor": GRID,
    "linecolor": GREY,
    "zerolinecolor": GREY,
    "zerolinewidth": 1,
    "showline": True,
    "ticks": "outside",
    "tickcolor": GREY,
    "automargin": True,
}
_TEMPLATE: Final = go.layout.Template(
    layout={
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 14, "color": GREY},
        "title": {"font": {"size": 16}, "x": 0, "xref": "paper", "xanchor": "left"},
        "margin": {"l": 60, "r": 20, "t": 50, "b": 50},
        "legend": {"orientation": "h", "x": 0, "y": -0.25, "yanchor": "top"},
        "colorway": list(COLOURS.values()),
        "xaxis": _axis,
        "yaxis": _axis,
    }
)


class Figure(go.Figure):  # type: ignore[misc]  # plotly ships no types
    """A plotly figure that a notebook stores as plotly's JSON and as its text alternative.

    Nothing else is stored: plotly's own renderers may add a copy of its 5 MB library.
    """

    # IPython would ask this one first, and plotly's own prints or opens a browser.
    _ipython_display_ = None

    @property
    def alt(self) -> str:
        """The text alternative."""
        return str(self.layout.meta["alt"])

    def _repr_html_(self) -> None:
        return None

    def _repr_mimebundle_(
        self, include: Any = None, exclude: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        if "colab" in (plotly.io.renderers.default or ""):  # Colab does not draw plotly's JSON
            bundle: dict[str, Any] = super()._repr_mimebundle_(include, exclude, **kwargs)
            return bundle
        figure = json.loads(self.to_json())
        figure["config"] = {"displayModeBar": False, "responsive": True}
        return {_MIME: figure, "text/plain": self.alt}


def finish(figure: go.Figure, *, alt: str, height: int = 420) -> Figure:
    """Give a figure the course's look and its text alternative.

    Args:
        figure: Any plotly figure.
        alt: What a reader who cannot see it must know: what is drawn and what it shows.
        height: In pixels; the width follows the page.

    Raises:
        ValueError: If the text alternative is missing or a mere word.
    """
    words = " ".join(alt.split())
    if len(words) < _LEAST_ALT:
        raise ValueError(
            f"alt={alt!r}: a figure needs a text alternative, a sentence or two that say what is "
            f"drawn and what it shows (at least {_LEAST_ALT} characters)."
        )
    finished = Figure(figure)
    finished.update_layout(template=_TEMPLATE, meta={"alt": words}, height=height)
    return finished


def rounded(value: Any, digits: int = 4) -> Any:
    """Round numbers to significant digits, in lists and tensors too; what is not finite is None."""
    if isinstance(value, Tensor):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {key: rounded(each, digits) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(each, digits) for each in value]
    if isinstance(value, float):
        return float(f"{value:.{digits}g}") if math.isfinite(value) else None
    return value


def signed(value: float, digits: int = 3) -> str:
    """Write a difference with its sign; what only rounding has left of zero is zero."""
    return f"{round(value, 9) + 0.0:+.{digits}g}"


def label(name: str, *, line_break: bool = False) -> str:
    """Write a variant in both forms: ``Q-K=V (Q, K=V)``."""
    try:
        variant = parse_variant(name)
    except ValueError:
        return name
    return variant.both_forms.replace(" ", "<br>", 1) if line_break else variant.both_forms


def style(name: str) -> tuple[str, str, str]:
    """Colour, marker and dash of a variant: those of its sharing; grey for anything else."""
    try:
        sharing = parse_variant(name).sharing.name
    except ValueError:
        return GREY, "circle", "solid"
    return COLOURS[sharing], SYMBOLS[sharing], DASHES[sharing]
