"""Whether attention can go round in a circle: round trips, and eigenvalues of its maps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
import torch
from torch import Tensor

from qkvlib.plots.base import GREY, Figure, finish, label, rounded, style
from qkvlib.sharing import parse_variant


def _plus_apart(name: str) -> tuple[str, str, str]:
    """Colour, marker and dash; (X)+ has the colour of its sharing, so it differs in the others."""
    colour, symbol, dash = style(name)
    try:
        plus = parse_variant(name).plus
    except ValueError:
        plus = False
    return (colour, "x-thin", "dot") if plus else (colour, f"{symbol}-open", dash)


def round_trips(
    climbs: Mapping[str, Sequence[Tensor]], *, title: str = "", x_title: str = "steps made"
) -> Figure:
    """Draw how far each step of a round trip leans forward, added up from the start.

    Args:
        climbs: Variant -> one curve for each seed, of shape (steps + 1,), in nats, from 0.
        title: What is shown.
        x_title: What a step is.

    Raises:
        ValueError: If a variant has no curve.
    """
    figure = go.Figure()
    words = []
    for name, curves in climbs.items():
        if not curves:
            raise ValueError(f"{name} has no curve: give one for each seed.")
        colour, symbol, dash = _plus_apart(name)
        for k, curve in enumerate(curves):
            figure.add_scatter(
                x=list(range(len(curve))),
                y=rounded(curve.double()),
                mode="lines+markers",
                name=label(name),
                legendgroup=name,
                showlegend=k == 0,
                line={"color": colour, "dash": dash, "width": 2},
                marker={"symbol": symbol, "size": 8, "line": {"color": colour, "width": 2}},
                hovertemplate="after %{x} steps: %{y} nats<extra></extra>",
            )
        words.append(f"{name} {_in_words(curves)}")
    figure.update_layout(
        title_text=title,
        xaxis_title_text=x_title,
        yaxis_title_text="lean, added up (nats)",
    )
    alt = (
        "Curves of the lean forward, added up step by step round the circle, one for each seed. "
        f"{'; '.join(words)}."
    )
    return finish(figure, alt=alt)


def _in_words(curves: Sequence[Tensor]) -> str:
    tops = _span([curve.max().item() for curve in curves])
    ends = _span([curve[-1].item() for curve in curves])
    return (
        f"ends at {ends}, its highest" if ends == tops else f"climbs to {tops} and ends at {ends}"
    )


def _span(values: Sequence[float]) -> str:
    low, high = (round(value) for value in (min(values), max(values)))
    return f"{low}" if low == high else f"{low} to {high}"


def eigenvalue_plane(maps: Mapping[str, Tensor], *, title: str = "") -> Figure:
    """Draw the eigenvalues of attention maps in the complex plane, with the unit circle.

    Args:
        maps: Variant -> weights of shape (T, T) or (N, T, T), each row with the sum 1.
        title: What is shown.

    Raises:
        ValueError: If a map is not square.
    """
    turn = torch.linspace(0, 2 * math.pi, 73, dtype=torch.float64)
    figure = go.Figure()
    figure.add_scatter(
        x=rounded(turn.cos(), 3), y=rounded(turn.sin(), 3), mode="lines", name="length 1",
        line={"color": GREY, "width": 1, "dash": "dot"}, hoverinfo="skip",
    )  # fmt: skip
    words = []
    for name, weights in maps.items():
        if weights.ndim not in (2, 3) or weights.shape[-1] != weights.shape[-2]:
            raise ValueError(
                f"{name}: weights of shape {tuple(weights.shape)}; expected (T, T) or (N, T, T)."
            )
        found = torch.linalg.eigvals(weights.double()).flatten()
        colour, symbol, _ = _plus_apart(name)
        figure.add_scatter(
            x=rounded(found.real, 3),
            y=rounded(found.imag, 3),
            mode="markers",
            name=label(name),
            marker={
                "color": colour, "symbol": symbol, "size": 10, "opacity": 0.85,
                "line": {"color": colour, "width": 2},
            },
            hovertemplate="%{x} + %{y} i<extra></extra>",
        )  # fmt: skip
        aside = found.imag.abs().max().item()
        where = f"up to {aside:.2f} off the real line" if aside > 0.005 else "all on the real line"
        low, high = found.real.min().item(), found.real.max().item()
        words.append(f"{name} from {low:.2f} to {high:.2f}, {where}")
    figure.update_layout(
        title_text=title,
        xaxis={"title": {"text": "real part"}, "range": [-1.15, 1.15], "constrain": "domain"},
        yaxis={
            "title": {"text": "imaginary part"}, "range": [-1.15, 1.15], "scaleanchor": "x",
            "constrain": "domain",
        },
    )  # fmt: skip
    alt = f"Eigenvalues of attention maps in the complex plane. Real parts: {'; '.join(words)}."
    return finish(figure, alt=alt, height=460)
