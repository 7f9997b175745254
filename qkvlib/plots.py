"""Data in, plotly figure out: for light and dark pages, colour-blind safe, each with words.

No figure leaves this module without a text alternative: it stands in ``layout.meta.alt``, where the
book reads it to screen readers, and is the plain-text output where figures cannot be drawn. Colour
is never alone: each sharing also has its own marker and dash. Numbers are rounded to four
significant digits, so that a stored notebook stays small.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import plotly.graph_objects as go
import plotly.io
import torch
from plotly.subplots import make_subplots
from torch import Tensor

from qkvlib.accounting import bytes_per_token, format_bytes
from qkvlib.config import ModelConfig
from qkvlib.records import RunRecord
from qkvlib.sharing import SHARINGS, parse_variant

COLOURS: Final = {name: sharing.colour for name, sharing in SHARINGS.items()}
"""One colour for each sharing, from Okabe and Ito's palette for colour-blind readers."""

_SYMBOLS: Final = {
    "QKV": "circle",
    "Q=K-V": "square",
    "Q-K=V": "diamond",
    "Q=K=V": "triangle-up",
}
_DASHES: Final = {"QKV": "solid", "Q=K-V": "dash", "Q-K=V": "dot", "Q=K=V": "dashdot"}

GREY: Final = "#767676"
"""Text and axes: contrast 4.5 to white, and nearly that to black."""

_GRID: Final = "rgba(128,128,128,0.25)"
_MIME: Final = "application/vnd.plotly.v1+json"
_LEAST_ALT: Final = 20

_axis = {
    "gridcolor": _GRID,
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


def label(name: str, *, line_break: bool = False) -> str:
    """Write a variant in both forms: ``Q-K=V (Q, K=V)``."""
    try:
        variant = parse_variant(name)
    except ValueError:
        return name
    # The name of a shared head already says MQA; its tuple need not say it again.
    form = variant.tuple_form if variant.n_kv_heads is None else variant.sharing.tuple_form
    return f"{variant.name}{'<br>' if line_break else ' '}{form}"


def _style(name: str) -> tuple[str, str, str]:
    """Colour, marker and dash of a variant: those of its sharing; grey for anything else."""
    try:
        sharing = parse_variant(name).sharing.name
    except ValueError:
        return GREY, "circle", "solid"
    return COLOURS[sharing], _SYMBOLS[sharing], _DASHES[sharing]


def lines(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    x_title: str,
    y_title: str,
    title: str = "",
    alt: str,
    steps: bool = False,
) -> Figure:
    """Draw one line for each series.

    Args:
        series: Name -> (x, y). The name of a variant brings its colour and dash.
        x_title: With its unit.
        y_title: With its unit.
        title: What is shown.
        alt: The text alternative.
        steps: Whether a value holds until the next point, as memory does.
    """
    figure = go.Figure()
    others = ["#D55E00", "#56B4E9", "#0072B2", "#009E73"]
    for i, (name, (x, y)) in enumerate(series.items()):
        colour, _, dash = _style(name)
        if colour == GREY:
            colour = others[i % len(others)]
            dash = ["solid", "dash", "dot", "dashdot"][i % 4]
        line = {"color": colour, "dash": dash, "width": 3, "shape": "hv" if steps else "linear"}
        figure.add_scatter(
            x=rounded(list(x)), y=rounded(list(y)), name=label(name), mode="lines", line=line
        )
    figure.update_layout(title_text=title, xaxis_title_text=x_title, yaxis_title_text=y_title)
    return finish(figure, alt=alt)


def cache_growth(
    config: ModelConfig,
    variants: Iterable[str],
    tokens: int,
    *,
    batch_size: int = 1,
    dtype: torch.dtype = torch.float16,
    budget_gb: float | None = None,
) -> Figure:
    """Draw how the cache grows with the context, for several variants of one shape.

    Args:
        config: The shape.
        variants: Names of variants. Those that need the same number of bytes share one line,
            which bears all their names.
        tokens: Longest context drawn.
        batch_size: Sequences held at once.
        dtype: Number format of the cache.
        budget_gb: Memory there is, in GB, drawn as a level.
    """
    per_token: dict[int, list[str]] = {}
    for name in variants:
        needed = bytes_per_token(config.replace(variant=name), dtype) * batch_size
        per_token.setdefault(needed, []).append(name)
    figure = go.Figure()
    words = []
    drawn: list[str] = []
    for needed, names in per_token.items():
        colour, symbol, _ = _style(names[0])
        # Colour says the sharing; of one sharing, fewer KV heads have finer dashes.
        dash = ["solid", "dash", "dot", "dashdot"][drawn.count(colour) % 4]
        drawn.append(colour)
        end = needed * tokens
        both = " and ".join(label(n) for n in names)
        figure.add_scatter(
            x=[0, tokens],
            y=rounded([0.0, end / 1e9]),
            name=f"{both}: {format_bytes(end)}",
            mode="lines+markers",
            line={"color": colour, "dash": dash, "width": 3},
            marker={"symbol": symbol, "size": 9},
        )
        words.append(f"{both} {format_bytes(end)}")
    if budget_gb is not None:
        figure.add_hline(
            y=budget_gb, line_color=GREY, line_dash="dash", annotation_text=f"{budget_gb:g} GB"
        )
    figure.update_layout(
        title_text="The cache grows in a straight line",
        xaxis_title_text="tokens of context",
        yaxis_title_text=f"cache, {batch_size} at a time (GB)" if batch_size > 1 else "cache (GB)",
        legend={"orientation": "v", "y": -0.3},
    )
    alt = (
        f"Straight lines from zero: bytes of the KV cache against the context. At {tokens:,} "
        f"tokens: {'; '.join(words)}."
    )
    return finish(figure, alt=alt, height=400 + 25 * len(per_token))


@dataclass(frozen=True)
class Measured:
    """A measured value with its interval, for :func:`intervals`.

    Attributes:
        name: The variant.
        value: The mean.
        low: Lower end of the interval; equal to ``value`` where there is none.
        high: Upper end.
        seeds: The single runs, drawn as small marks.
        paper: The paper's figure, drawn beside; ``None`` if it has none.
    """

    name: str
    value: float
    low: float
    high: float
    seeds: Sequence[float] = ()
    paper: float | None = None


def intervals(
    rows: Sequence[Measured],
    *,
    x_title: str,
    title: str = "",
    interval: str = "95 % interval",
    reference: float | None = 0.0,
    reference_name: str = "",
) -> Figure:
    """Draw measured values with their intervals, single runs, and the paper's figures beside.

    Args:
        rows: One for each variant, from top to bottom.
        x_title: What is measured, with its unit.
        title: What is shown.
        interval: What the error bars are.
        reference: A value to compare with, drawn as an upright line.
        reference_name: What that line stands for.

    Raises:
        ValueError: If there is no row, or a value lies outside its own interval.
    """
    if not rows:
        raise ValueError("rows is empty: there is nothing to draw. Give at least one Measured.")
    for row in rows:
        if not row.low <= row.value <= row.high:
            raise ValueError(
                f"{row.name}: value {row.value} is not between low={row.low} and high={row.high}."
            )
    figure = go.Figure()
    for i, row in enumerate(rows):
        colour, symbol, _ = _style(row.name)
        place = label(row.name, line_break=True)
        if row.seeds:
            figure.add_scatter(
                x=rounded(list(row.seeds)),
                y=[place] * len(row.seeds),
                mode="markers",
                name="single seeds",
                marker={"color": GREY, "symbol": "line-ns-open", "size": 14},
                legendgroup="seeds",
                showlegend=i == 0,
            )
        figure.add_scatter(
            x=rounded([row.value]),
            y=[place],
            mode="markers",
            name=f"measured here, {interval}",
            marker={"color": colour, "symbol": symbol, "size": 12},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": rounded([row.high - row.value]),
                "arrayminus": rounded([row.value - row.low]),
                "thickness": 2.5,
                "width": 7,
            },
            legendgroup="ours",
            showlegend=i == 0,
        )
        if row.paper is not None:
            figure.add_scatter(
                x=[row.paper],
                y=[place],
                mode="markers",
                name="the paper's (one seed)",
                marker={"color": GREY, "symbol": "x-thin-open", "size": 13, "line": {"width": 3}},
                legendgroup="paper",
                showlegend=not any(r.paper is not None for r in rows[:i]),
            )
    if reference is not None:
        figure.add_vline(
            x=reference, line_color=GREY, line_dash="dash", annotation_text=reference_name
        )
    figure.update_layout(
        title_text=title,
        xaxis_title_text=x_title,
        yaxis={"autorange": "reversed", "showgrid": False},
        legend={"orientation": "v", "y": -0.35},
    )
    words = [
        f"{row.name} {row.value:.3g}"
        + (f" ({row.low:.3g} to {row.high:.3g})" if row.low < row.high else "")
        + (f", the paper {row.paper:.3g}" if row.paper is not None else "")
        for row in rows
    ]
    alt = f"Dots with error bars ({interval}): {x_title}. {'; '.join(words)}."
    return finish(figure, alt=alt, height=260 + 60 * len(rows))


def loss_curves(
    records: Iterable[RunRecord],
    *,
    column: str = "eval_bits_per_byte",
    y_title: str = "",
    from_step: int = 0,
) -> Figure:
    """Draw loss against step: the mean over seeds, in a band from the lowest to the highest.

    Args:
        records: Runs; those of one variant make one curve. Where there is one seed, no band.
        column: A column of their history that starts with ``eval_`` or ``train_``.
        y_title: What it measures, with its unit; made from the column's name unless told.
        from_step: Leave out what comes before: the first fall hides all that comes later.

    Raises:
        ValueError: If there is no record, a record has no such column, or runs of one variant
            have no step in common from ``from_step`` on.
    """
    by_variant: dict[str, list[dict[float, float]]] = {}
    for record in records:
        if column not in record.history:
            raise ValueError(
                f"column={column!r} is not in the history of {record.variant.name}; it has "
                f"{', '.join(record.history)}."
            )
        steps = record.history["eval_step" if column.startswith("eval_") else "train_step"]
        curve = dict(zip(steps, record.history[column], strict=True))
        by_variant.setdefault(record.variant.name, []).append(curve)
    if not by_variant:
        raise ValueError("records is empty: there is nothing to draw. Give at least one record.")

    figure = go.Figure()
    words = []
    order = list(SHARINGS)
    for name in sorted(by_variant, key=lambda n: order.index(n) if n in order else len(order)):
        curves = by_variant[name]
        common = set.intersection(*(set(curve) for curve in curves))
        x = sorted(step for step in common if step >= from_step)
        if not x:
            raise ValueError(f"the runs of {name} have no step in common from {from_step} on.")
        columns = [[curve[step] for curve in curves] for step in x]
        mean = [sum(values) / len(values) for values in columns]
        colour, symbol, dash = _style(name)
        if len(curves) > 1:
            red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
            figure.add_scatter(
                x=x + x[::-1],
                y=rounded([max(v) for v in columns] + [min(v) for v in columns][::-1]),
                fill="toself",
                fillcolor=f"rgba({red},{green},{blue},0.2)",
                line={"width": 0},
                hoverinfo="skip",
                showlegend=False,
                legendgroup=name,
            )
        figure.add_scatter(
            x=x,
            y=rounded(mean),
            mode="lines+markers",
            name=label(name),
            legendgroup=name,
            line={"color": colour, "dash": dash, "width": 2},
            marker={"symbol": symbol, "size": 7},
        )
        words.append(f"{name} from {mean[0]:.3g} to {mean[-1]:.3g}")
    seeds = sorted({len(curves) for curves in by_variant.values()})
    count = " to ".join(str(n) for n in dict.fromkeys((seeds[0], seeds[-1])))
    band = "no band: one seed" if seeds == [1] else f"band: lowest to highest of {count} seeds"
    if not y_title:
        group, _, what = column.partition("_")
        unit = {"loss": " (nats per token)", "accuracy": " (share of tokens)"}.get(what, "")
        y_title = f"{'held-out' if group == 'eval' else 'training'} {what.replace('_', ' ')}{unit}"
    figure.update_layout(
        title_text=f"Learning curves{f' from step {from_step}' if from_step else ''} ({band})",
        xaxis_title_text="training step",
        yaxis_title_text=y_title,
    )
    alt = f"Curves of {y_title} over the training steps, {band}. {'; '.join(words)}."
    return finish(figure, alt=alt)


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
        colour, symbol, _ = _style(name)
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
