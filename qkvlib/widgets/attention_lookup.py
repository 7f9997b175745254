"""AttentionLookup: drag a query among keys, and see whose values it fetches."""

from __future__ import annotations

import html
import math
from typing import Any, Final

import traitlets

from qkvlib.widgets.base import CourseWidget, module_source, where_it_lives

REACH: Final = 3.5
"""Largest coordinate of a key or a query, either way."""

MAX_KEYS: Final = 8
"""Keys that can be told apart in the plane: each has a colour and a shape of its own."""

LIMITS: Final[dict[str, tuple[float, float]]] = {
    "temperature": (0.01, 100.0),
    "head_dim": (2, 65_536),
}
"""Smallest and largest value of the two sliders."""

_SHELF: Final[dict[str, tuple[tuple[float, float], float]]] = {
    "honey": ((2.7, 0.7), 12),
    "apple": ((1.2, 0.9), 3),
    "lemon": ((-0.6, 2.7), 4),
    "pickle": ((-2.1, 1.5), 7),
    "tonic": ((-2.4, -0.3), 2),
}

# Okabe and Ito's palette; its black would vanish on a dark page.
_PALETTE: Final = [
    "#E69F00", "#D55E00", "#F0E442", "#009E73", "#56B4E9", "#CC79A7", "#0072B2", "#999999",
]  # fmt: skip


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_point(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(_is_number(x) and abs(x) <= REACH for x in value)
    )


class AttentionLookup(CourseWidget):
    """A query that is dragged among keys in the plane, the weights they get, and the mixed value.

    The picture has two dimensions. What more of them would do is applied to the scores: random dot
    products in D dimensions spread as √D, so the widget multiplies each by √(D/2), and divides by
    √D where ``scaled`` is on.

    Attributes:
        key_points: Where each key lies, as [x, y].
        labels: A name for each key.
        values: What each key hands over, a number.
        query: Where the query points, as [x, y].
        temperature: What the scores are divided by besides: small is hard, large is uniform.
        head_dim: The number of dimensions (D) that the scores are made for.
        scaled: Whether scores are divided by √D.
        value_is_key: Whether a key hands over itself, a point, in place of its number.
        axes: What the plane's directions mean: left, right, bottom, top.
        unit: Unit of the values.

    Example:
        >>> show(AttentionLookup(query=[-2.0, 1.0]))  # doctest: +SKIP
    """

    name = "attention_lookup"
    _esm = module_source("attention_lookup")

    key_points: traitlets.List[Any] = traitlets.List().tag(sync=True)
    labels = traitlets.List(trait=traitlets.Unicode()).tag(sync=True)
    values: traitlets.List[Any] = traitlets.List().tag(sync=True)
    query = traitlets.List(default_value=[1.0, 2.0]).tag(sync=True)
    temperature = traitlets.Float(1.0).tag(sync=True)
    head_dim = traitlets.Int(2).tag(sync=True)
    scaled = traitlets.Bool(True).tag(sync=True)
    value_is_key = traitlets.Bool(False).tag(sync=True)
    axes = traitlets.List(
        trait=traitlets.Unicode(), default_value=["bitter", "sweet", "mild", "sour"]
    ).tag(sync=True)
    unit = traitlets.Unicode("€").tag(sync=True)

    # What the view must know and Python alone decides. Constants, sent once.
    palette = traitlets.List(trait=traitlets.Unicode()).tag(sync=True)
    limits = traitlets.Dict().tag(sync=True)

    @traitlets.default("key_points")
    def _default_key_points(self) -> list[list[float]]:
        return [list(place) for place, _ in _SHELF.values()]

    @traitlets.default("labels")
    def _default_labels(self) -> list[str]:
        return list(_SHELF)

    @traitlets.default("values")
    def _default_values(self) -> list[float]:
        return [value for _, value in _SHELF.values()]

    @traitlets.default("palette")
    def _default_palette(self) -> list[str]:
        return list(_PALETTE)

    @traitlets.default("limits")
    def _default_limits(self) -> dict[str, list[float]]:
        return {**{name: list(ends) for name, ends in LIMITS.items()}, "reach": [-REACH, REACH]}

    def __init__(self, **state: Any) -> None:
        given = state.get("key_points", [])
        if isinstance(given, list | tuple) and given and len(given) != len(_SHELF):
            state.setdefault("labels", [chr(ord("A") + i) for i in range(len(given))])
            state.setdefault("values", list(range(1, len(given) + 1)))
        super().__init__(**state)

    # What is computed: the view computes the same

    @property
    def scores(self) -> list[float]:
        """The scores that enter the softmax: after head_dim, scale and temperature."""
        x, y = self.query
        factor = math.sqrt(self.head_dim / 2)
        if self.scaled:
            factor /= math.sqrt(self.head_dim)
        return [(x * a + y * b) * factor / self.temperature for a, b in self.key_points]

    @property
    def weights(self) -> list[float]:
        """One weight for each key; they sum to one."""
        scores = self.scores
        highest = max(scores)
        powers = [math.exp(score - highest) for score in scores]
        return [power / sum(powers) for power in powers]

    @property
    def mixed_value(self) -> float:
        """The values, mixed by the weights."""
        return float(sum(w * v for w, v in zip(self.weights, self.values, strict=True)))

    @property
    def mixed_key(self) -> list[float]:
        """The keys, mixed by the weights: the output where a key is its own value."""
        weights = self.weights
        return [
            sum(w * k[i] for w, k in zip(weights, self.key_points, strict=True)) for i in (0, 1)
        ]

    @property
    def effective_keys(self) -> float:
        """How many keys are read in effect: e to the entropy of the weights, from 1 to all."""
        return math.exp(-sum(w * math.log(w) for w in self.weights if w > 0))

    @property
    def let_through(self) -> float:
        """How much gradient the softmax lets through: the trace of its derivative, Σ w (1 - w).

        As a share of the most there can be: 1 where all weights are alike, 0 where one takes all.
        """
        weights = self.weights
        if len(weights) == 1:
            return 0.0
        return sum(w * (1 - w) for w in weights) / (1 - 1 / len(weights))

    # What is refused

    @traitlets.validate("key_points")
    def _check_key_points(self, proposal: dict[str, Any]) -> list[list[float]]:
        keys = proposal["value"]
        if not 1 <= len(keys) <= MAX_KEYS:
            raise traitlets.TraitError(f"{len(keys)} keys: the plane takes 1 to {MAX_KEYS}.")
        for i, key in enumerate(keys):
            if not _is_point(key):
                raise traitlets.TraitError(
                    f"key_points[{i}]={key!r}: expected [x, y], two numbers from {-REACH:g} to "
                    f"{REACH:g}."
                )
        self._same_count(key_points=keys)
        return [list(key) for key in keys]

    @traitlets.validate("labels")
    def _check_labels(self, proposal: dict[str, Any]) -> list[str]:
        labels: list[str] = proposal["value"]
        if not all(labels) or len(set(labels)) < len(labels):
            raise traitlets.TraitError(f"labels={labels}: each key needs a name of its own.")
        self._same_count(labels=labels)
        return labels

    @traitlets.validate("values")
    def _check_values(self, proposal: dict[str, Any]) -> list[float]:
        values: list[float] = proposal["value"]
        for i, value in enumerate(values):
            if not _is_number(value):
                raise traitlets.TraitError(f"values[{i}]={value!r}: each value is a finite number.")
        self._same_count(values=values)
        return values

    def _same_count(self, **changed: list[Any]) -> None:
        counts = {
            n: len(changed.get(n, getattr(self, n))) for n in ("key_points", "labels", "values")
        }
        if len(set(counts.values())) > 1:
            shown = ", ".join(f"{count} {name}" for name, count in counts.items())
            raise traitlets.TraitError(
                f"{shown}: every key has one label and hands over one value. Change them together "
                "with .update(key_points=…, labels=…, values=…)."
            )

    @traitlets.validate("query")
    def _check_query(self, proposal: dict[str, Any]) -> list[float]:
        if not _is_point(proposal["value"]):
            raise traitlets.TraitError(
                f"query={proposal['value']!r}: expected [x, y], two numbers from {-REACH:g} to "
                f"{REACH:g}."
            )
        return list(proposal["value"])

    @traitlets.validate("temperature", "head_dim")
    def _check_size(self, proposal: dict[str, Any]) -> float:
        name, value = proposal["trait"].name, proposal["value"]
        low, high = LIMITS[name]
        if isinstance(value, bool) or not low <= value <= high:
            raise traitlets.TraitError(f"{name}={value!r}: expected {low:g} to {high:,g}.")
        number: float = value
        return number

    @traitlets.validate("axes")
    def _check_axes(self, proposal: dict[str, Any]) -> list[str]:
        axes: list[str] = proposal["value"]
        if len(axes) != 4 or not all(axes):
            raise traitlets.TraitError(
                f"axes={axes}: expected four words, for left, right, bottom and top."
            )
        return axes

    # What is said where it cannot be seen

    def _place(self, point: list[float]) -> str:
        _, right, _, top = self.axes
        return f"{right} {point[0]:.3g}, {top} {point[1]:.3g}"

    def _rows(self) -> list[tuple[str, str, str, str, str]]:
        x, y = self.query
        return [
            (
                label,
                self._place(key),
                f"{x * key[0] + y * key[1]:.2f}",
                f"{100 * weight:.1f} %",
                self._place(key) if self.value_is_key else f"{value:.3g} {self.unit}".strip(),
            )
            for label, key, weight, value in zip(
                self.labels, self.key_points, self.weights, self.values, strict=True
            )
        ]

    def _summary(self) -> list[str]:
        if self.value_is_key:
            output = f"Output ({self._place(self.mixed_key)})."
        else:
            output = f"Mixed value {f'{self.mixed_value:.3g} {self.unit}'.strip()}."
        scale = "divided" if self.scaled else "not divided"
        return [
            f"Query ({self._place(self.query)}), head_dim {self.head_dim:,}, scores {scale} by its "
            f"square root, temperature {self.temperature:g}.",
            output,
            f"In effect {self.effective_keys:.2f} of {len(self.key_points)} keys are read; "
            f"{100 * self.let_through:.0f} % of the gradient gets through the softmax (equal "
            "weights: 100 %).",
        ]

    def describe(self) -> str:
        """Return keys, weights and the mixed value as lines of plain text."""
        rows = [
            f"  {label} ({place}): dot product {dot}, weight {weight}, value {value}"
            for label, place, dot, weight, value in self._rows()
        ]
        return "\n".join(["A query among keys", *rows, *(f"  {line}" for line in self._summary())])

    def fallback_html(self) -> str:
        """Return the same as a table."""
        heads = ("Key", "Where", "Dot product", "Weight", "Value")
        head = "".join(f'<th scope="col">{each}</th>' for each in heads)
        body = "".join(
            f'<tr><th scope="row">{html.escape(label)}</th>'
            + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
            + "</tr>"
            for label, *cells in self._rows()
        )
        lines = "".join(f"<p>{html.escape(line)}</p>" for line in self._summary())
        return (
            f"<table><caption>A query among keys</caption><thead><tr>{head}</tr></thead>"
            f"<tbody>{body}</tbody></table>{lines}"
            + where_it_lives("Query and keys can be dragged")
        )
