"""SymmetryMeter: drag keys in the plane, and see which token can prefer which."""

from __future__ import annotations

import html
import math
from itertools import combinations
from typing import Any, Final

import traitlets

from qkvlib.sharing import SHARINGS, UnknownNameError, Variant, parse_variant, unknown_name
from qkvlib.widgets.base import CourseWidget, module_source, where_it_lives

REACH: Final = 3.0
"""Largest coordinate of a key or a query, either way."""

FEWEST, MOST = 3, 6
"""Tokens that the plane and the maps have room for."""

MARGIN: Final = 1e-9
"""Smallest difference of scores that counts as a preference; rounding makes smaller ones."""

LIMITS: Final[dict[str, tuple[float, float]]] = {
    "gain": (-2.0, 3.0),
    "row": (-4.0, 4.0),
    "column": (-4.0, 4.0),
}
"""Smallest and largest value of each part of (X)+."""

# V plays no part in the scores, so one sharing stands for each kind of query.
_VARIANTS: Final = [
    Variant(SHARINGS["QKV"]), Variant(SHARINGS["Q=K-V"]), Variant(SHARINGS["Q=K-V"], plus=True),
]  # fmt: skip

_KEYS: Final = [[1.7, 0.6], [0.7, 1.5], [-1.4, 0.9], [0.3, -1.6]]
_QUERIES: Final = [[-0.2, 1.8], [-1.7, 0.5], [-0.5, -1.6], [1.6, -0.3]]

Map = list[list[float]]


def _is_point(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(
            isinstance(x, int | float) and not isinstance(x, bool) and abs(x) <= REACH
            for x in value
        )
    )


def _norm(rows: Map) -> float:
    return math.sqrt(sum(x * x for row in rows for x in row))


class SymmetryMeter(CourseWidget):
    """A few tokens with keys, and queries of their own or not; scores and weights side by side.

    The meter tells how far the scores are from symmetric, and how much of that is flow. A task is
    set: let the first token prefer the second over itself, and the second the first.

    Attributes:
        variant: ``"QKV"``, ``"Q=K-V"`` or ``"(Q=K-V)+"``; any spelling is read.
        labels: A name for each token, in the order of their places.
        key_points: The key of each token, as [x, y].
        query_points: The query of each token, used where the query is not the key.
        gain: What (X)+ multiplies the scores by.
        row: Strength of its term for the place that looks: from -row at the first to +row at the
            last.
        column: The same for the place that is looked at.

    Example:
        >>> show(SymmetryMeter(variant="QKV"))  # doctest: +SKIP
    """

    name = "symmetry_meter"
    _esm = module_source("symmetry_meter")

    variant = traitlets.Unicode("Q=K-V").tag(sync=True)
    labels = traitlets.List(trait=traitlets.Unicode()).tag(sync=True)
    key_points: traitlets.List[Any] = traitlets.List().tag(sync=True)
    query_points: traitlets.List[Any] = traitlets.List().tag(sync=True)
    gain = traitlets.Float(1.0).tag(sync=True)
    row = traitlets.Float(0.0).tag(sync=True)
    column = traitlets.Float(0.0).tag(sync=True)

    # What the view must know and Python alone decides. Constants, sent once.
    variants = traitlets.List(trait=traitlets.Dict()).tag(sync=True)
    limits = traitlets.Dict().tag(sync=True)

    @traitlets.default("labels")
    def _default_labels(self) -> list[str]:
        return list("ABCD")

    @traitlets.default("key_points")
    def _default_key_points(self) -> Map:
        return [list(point) for point in _KEYS]

    @traitlets.default("query_points")
    def _default_query_points(self) -> Map:
        return [list(point) for point in _QUERIES]

    @traitlets.default("variants")
    def _default_variants(self) -> list[dict[str, Any]]:
        return [
            {
                "name": v.name,
                "tuple_form": v.tuple_form,
                "colour": v.sharing.colour,
                "ties_query": v.sharing.ties_query,
                "plus": v.plus,
            }
            for v in _VARIANTS
        ]

    @traitlets.default("limits")
    def _default_limits(self) -> dict[str, list[float]]:
        return {**{name: list(ends) for name, ends in LIMITS.items()}, "reach": [-REACH, REACH]}

    def __init__(self, **state: Any) -> None:
        keys = state.get("key_points")
        if isinstance(keys, list | tuple):
            state.setdefault("labels", list("ABCDEF"[: len(keys)]))
            if len(keys) != len(_QUERIES) and all(map(_is_point, keys)):
                # A quarter turn of each key: a query that is as good as any other.
                state.setdefault("query_points", [[-y, x] for x, y in keys])
        super().__init__(**state)

    # What is computed: the view computes the same

    @property
    def parsed_variant(self) -> Variant:
        """The variant whose scores are shown."""
        return parse_variant(self.variant)

    @property
    def scores(self) -> Map:
        """Scores, a row for each token that looks, after (X)+ if that is on; head_dim is 2."""
        variant, keys = self.parsed_variant, self.key_points
        queries = keys if variant.sharing.ties_query else self.query_points
        scores = [[(a * c + b * d) / math.sqrt(2) for c, d in keys] for a, b in queries]
        if not variant.plus:
            return scores
        ramp = [2 * i / (len(keys) - 1) - 1 for i in range(len(keys))]
        return [
            [self.gain * s + self.row * ramp[i] + self.column * ramp[j] for j, s in enumerate(line)]
            for i, line in enumerate(scores)
        ]

    @property
    def weights(self) -> Map:
        """The softmax of the scores over each row."""
        weights = []
        for line in self.scores:
            powers = [math.exp(s - max(line)) for s in line]
            weights.append([power / sum(powers) for power in powers])
        return weights

    @property
    def asymmetry(self) -> float:
        """‖S − Sᵀ‖ / ‖S‖ of the scores, as :func:`qkvlib.asymmetry` computes it."""
        return math.hypot(*self.parts)

    @property
    def parts(self) -> tuple[float, float]:
        """Pull and flow, as :func:`qkvlib.split_asymmetry` computes them."""
        scores = self.scores
        n, size = len(scores), max(_norm(scores), 1e-30)
        lean = [[scores[i][j] - scores[j][i] for j in range(n)] for i in range(n)]
        height = [sum(line[j] for line in lean) / n for j in range(n)]
        pull = [[height[j] - height[i] for j in range(n)] for i in range(n)]
        rest = [[lean[i][j] - pull[i][j] for j in range(n)] for i in range(n)]
        return _norm(pull) / size, _norm(rest) / size

    @property
    def round_trip(self) -> tuple[str, float]:
        """The most uneven round trip of three, and how many times as likely it is as backwards."""
        scores = self.scores
        best, most = (0, 1, 2), 0.0
        for i, j, k in combinations(range(len(scores)), 3):
            there = scores[i][j] + scores[j][k] + scores[k][i]
            back = scores[i][k] + scores[k][j] + scores[j][i]
            if abs(there - back) > abs(most) + MARGIN:
                best, most = (i, j, k), there - back
        i, j, k = best if most >= 0 else (best[0], best[2], best[1])
        a, b, c = (self.labels[x] for x in (i, j, k))
        return f"{a}→{b}→{c}→{a}", math.exp(abs(most))

    @property
    def prefers(self) -> tuple[bool, bool]:
        """Whether the first token prefers the second over itself, and the second the first."""
        (aa, ab), (ba, bb) = (line[:2] for line in self.scores[:2])
        return ab > aa + MARGIN, ba > bb + MARGIN

    @property
    def balance(self) -> float:
        """What the first two score with themselves, less what they score with each other.

        Both prefer the other only if it is below zero. Under Q=K it is gain · ‖k_A − k_B‖² / √D,
        whatever the terms of (X)+ for single places.
        """
        (aa, ab), (ba, bb) = (line[:2] for line in self.scores[:2])
        return aa + bb - ab - ba

    # What is refused

    @traitlets.validate("variant")
    def _check_variant(self, proposal: dict[str, Any]) -> str:
        names = [v.name for v in _VARIANTS]
        try:
            name = parse_variant(proposal["value"]).name
        except UnknownNameError:
            name = proposal["value"]
        if name not in names:
            raise traitlets.TraitError(
                f"{unknown_name('variant of the meter', name, names)} V plays no part in scores: "
                "what goes for Q=K-V goes for Q=K=V."
            )
        return name

    @traitlets.validate("labels")
    def _check_labels(self, proposal: dict[str, Any]) -> list[str]:
        labels: list[str] = proposal["value"]
        if not all(labels) or len(set(labels)) < len(labels):
            raise traitlets.TraitError(f"labels={labels}: each token needs a name of its own.")
        self._same_count(labels=labels)
        return labels

    @traitlets.validate("key_points", "query_points")
    def _check_points(self, proposal: dict[str, Any]) -> Map:
        name, points = proposal["trait"].name, proposal["value"]
        if not FEWEST <= len(points) <= MOST:
            raise traitlets.TraitError(
                f"{len(points)} {name}: the meter takes {FEWEST} to {MOST} tokens."
            )
        for i, point in enumerate(points):
            if not _is_point(point):
                raise traitlets.TraitError(
                    f"{name}[{i}]={point!r}: expected [x, y], two numbers from {-REACH:g} to "
                    f"{REACH:g}."
                )
        self._same_count(**{name: points})
        return [[float(x) for x in point] for point in points]

    def _same_count(self, **changed: list[Any]) -> None:
        names = ("labels", "key_points", "query_points")
        counts = {name: len(changed.get(name, getattr(self, name))) for name in names}
        if len(set(counts.values())) > 1:
            shown = ", ".join(f"{count} {name}" for name, count in counts.items())
            raise traitlets.TraitError(
                f"{shown}: every token has one of each. Change them together with "
                ".update(labels=…, key_points=…, query_points=…)."
            )

    @traitlets.validate("gain", "row", "column")
    def _check_part(self, proposal: dict[str, Any]) -> float:
        name, value = proposal["trait"].name, proposal["value"]
        low, high = LIMITS[name]
        if not low <= value <= high:  # refuses NaN as well
            raise traitlets.TraitError(f"{name}={value!r}: expected {low:g} to {high:g}.")
        return float(value)

    # What is said where it cannot be seen

    def _facts(self) -> list[str]:
        pull, flow = self.parts
        trip, times = self.round_trip
        a, b = self.labels[:2]
        wishes = zip(self.prefers, ((a, b), (b, a)), strict=True)
        wished = [
            f"{one} {'prefers' if does else 'does not prefer'} {other} over itself"
            for does, (one, other) in wishes
        ]
        variant = self.parsed_variant
        lines = [
            f"{variant.name} {variant.tuple_form}.",
            f"Asymmetry of the scores {self.asymmetry:.2f}: pull {pull:.2f}, flow {flow:.2f}.",
            f"Round trip {trip}: {times:.3g} times as likely as backwards."
            if times > 1 + MARGIN
            else "Every round trip is as likely as the same backwards.",
            f"{wished[0]}; {wished[1]}. Themselves less each other: {self.balance:.2f}.",
        ]
        if variant.plus:
            parts = f"gain {self.gain:g}, row term {self.row:g}, column term {self.column:g}"
            lines.insert(1, f"(X)+ with {parts}.")
        return lines

    def describe(self) -> str:
        """Return scores, weights and the meters as lines of plain text."""
        lines = [f"Who prefers whom: a row looks, at {', '.join(self.labels)}"]
        for title, rows in (("Scores", self.scores), ("Weights", self.weights)):
            lines.append(f"  {title}")
            for label, row in zip(self.labels, rows, strict=True):
                lines.append(f"    {label}: {', '.join(f'{x:.2f}' for x in row)}")
        return "\n".join([*lines, *(f"  {line}" for line in self._facts())])

    def fallback_html(self) -> str:
        """Return the same as two tables."""
        labels = [html.escape(label) for label in self.labels]
        head = "".join(f'<th scope="col">{label}</th>' for label in labels)
        tables = ""
        for title, rows in (("Scores", self.scores), ("Weights", self.weights)):
            body = "".join(
                f'<tr><th scope="row">{label}</th>'
                + "".join(f"<td>{x:.2f}</td>" for x in row)
                + "</tr>"
                for label, row in zip(labels, rows, strict=True)
            )
            tables += (
                f"<table><caption>{title}: rows look, columns are looked at</caption>"
                f"<thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table>"
            )
        lines = "".join(f"<p>{html.escape(line)}</p>" for line in self._facts())
        return tables + lines + where_it_lives("Keys can be dragged")
