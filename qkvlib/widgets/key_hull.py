"""KeyHull: drag keys, values and a query in the plane, and see where the output can go."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import traitlets

from qkvlib.hull import Point, planar_distance, planar_hull
from qkvlib.sharing import SHARINGS, parse_sharing
from qkvlib.widgets.base import CourseWidget, facts_html, facts_text, module_source, where_it_lives

REACH: Final = 4.0
"""Largest coordinate of a point, either way."""

FEWEST, MOST = 4, 6
"""Keys that the plane shows."""

NEAR: Final = 0.15
"""Distance at which the output counts as being on the star."""

TOUCH: Final = 1e-9
"""Distance from a hull that rounding alone can make."""

# The two whose query is free: the widget moves it.
_SHARINGS: Final = [s for s in SHARINGS.values() if not s.ties_query]

_PRESETS: Final[list[dict[str, Any]]] = [
    {
        "name": "Star outside",
        "task": "Make the output land on the star by moving the query alone. Then switch the "
        "sharing, and move values.",
        "key_points": [[-2.6, -1.2], [-0.9, 2.3], [1.5, 1.6], [2.4, -1.7]],
        "value_points": [[-3.2, 0.4], [-1.4, -2.9], [2.1, -3.1], [3.3, 2.2]],
        "query": [-0.4, -0.7],
        "target": [0.6, -2.7],
    },
    {
        "name": "Star inside",
        "task": "Inside the hull of the keys there is a query for every point. Find the one for "
        "the star: a longer query is more decided.",
        "key_points": [[-2.6, -1.2], [-0.9, 2.3], [1.5, 1.6], [2.4, -1.7], [0.2, -2.8]],
        "value_points": [[-3.2, 0.4], [-1.4, -2.9], [2.1, -3.1], [3.3, 2.2], [0.4, 3.2]],
        "query": [1.7, -0.9],
        "target": [-1.0, 0.6],
    },
    {
        "name": "Address across, payload up",
        "task": "The query is level, so it listens to the address only. Leave it, and move key 4 "
        "straight up to the star: no weight changes, and the output comes along.",
        "key_points": [[-3.0, 1.4], [-1.0, -1.8], [1.0, 2.2], [3.0, -1.2]],
        "value_points": [[-2.0, 2.6], [-2.4, -2.2], [1.8, 3.0], [2.8, 0.6]],
        "query": [3.4, 0.0],
        "target": [3.0, 1.9],
    },
]


def _sharing_rows() -> list[dict[str, Any]]:
    return [
        {
            "name": s.name,
            "tuple_form": s.tuple_form,
            "tied": s.roles["k"] == s.roles["v"],
            "colour": s.colour,
        }
        for s in _SHARINGS
    ]


def _is_point(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(
            isinstance(x, int | float) and not isinstance(x, bool) and abs(x) <= REACH
            for x in value
        )
    )


def _written(point: Sequence[float]) -> str:
    return f"({point[0]:.2f}, {point[1]:.2f})"


class KeyHull(CourseWidget):
    """One head with two numbers per vector: keys, a query, and the output they give, in a plane.

    With K=V the values are the keys, so the output cannot leave the convex hull of the keys. With
    values of their own it cannot leave the hull of those.

    Attributes:
        sharing: ``"Q-K=V"`` or ``"QKV"``, in any spelling.
        key_points: Four to six points, each a pair of numbers from -4 to 4.
        value_points: As many points; used by QKV only.
        query: A point; the scores are its products with the keys, divided by √2.
        target: The star that the output is to land on.

    Example:
        >>> show(KeyHull(sharing="QKV"))  # doctest: +SKIP
    """

    name = "key_hull"
    _esm = module_source("key_hull")

    sharing = traitlets.Unicode("Q-K=V").tag(sync=True)
    key_points: Any = traitlets.List().tag(sync=True)
    value_points: Any = traitlets.List().tag(sync=True)
    query = traitlets.List(_PRESETS[0]["query"]).tag(sync=True)
    target = traitlets.List(_PRESETS[0]["target"]).tag(sync=True)

    # What the view must know and Python alone decides. Constants, sent once.
    sharings = traitlets.List(trait=traitlets.Dict()).tag(sync=True)
    presets = traitlets.List(trait=traitlets.Dict()).tag(sync=True)
    reach = traitlets.Float(REACH, read_only=True).tag(sync=True)
    near = traitlets.Float(NEAR, read_only=True).tag(sync=True)

    @traitlets.default("key_points")
    def _default_key_points(self) -> list[list[float]]:
        return [list(point) for point in _PRESETS[0]["key_points"]]

    @traitlets.default("value_points")
    def _default_value_points(self) -> list[list[float]]:
        return [list(point) for point in _PRESETS[0]["value_points"]]

    @traitlets.default("sharings")
    def _default_sharings(self) -> list[dict[str, Any]]:
        return _sharing_rows()

    @traitlets.default("presets")
    def _default_presets(self) -> list[dict[str, Any]]:
        return [dict(preset) for preset in _PRESETS]

    @traitlets.validate("sharing")
    def _check_sharing(self, proposal: dict[str, Any]) -> str:
        try:
            sharing = parse_sharing(proposal["value"])
        except ValueError as error:
            raise traitlets.TraitError(str(error)) from None
        if sharing.ties_query:
            raise traitlets.TraitError(
                f"sharing={sharing.name!r}: here the query moves by itself, and {sharing.name} "
                f"{sharing.tuple_form} has none of its own. Choose "
                f"{' or '.join(s.name for s in _SHARINGS)}."
            )
        return sharing.name

    @traitlets.validate("query", "target")
    def _check_point(self, proposal: dict[str, Any]) -> list[float]:
        name, value = proposal["trait"].name, proposal["value"]
        if not _is_point(value):
            raise traitlets.TraitError(
                f"{name}={value!r}: expected two numbers from {-REACH:g} to {REACH:g}."
            )
        return [float(x) for x in value]

    @traitlets.validate("key_points", "value_points")
    def _check_points(self, proposal: dict[str, Any]) -> list[list[float]]:
        name, value = proposal["trait"].name, proposal["value"]
        if not FEWEST <= len(value) <= MOST or not all(map(_is_point, value)):
            raise traitlets.TraitError(
                f"{name}={value!r}: expected {FEWEST} to {MOST} points, each two numbers from "
                f"{-REACH:g} to {REACH:g}."
            )
        counts = {n: len(getattr(self, n)) for n in ("key_points", "value_points")} | {
            name: len(value)
        }
        if len(set(counts.values())) > 1:
            shown = " and ".join(f"{count} {name}" for name, count in counts.items())
            raise traitlets.TraitError(
                f"{shown}: each key needs its value. Change both at once with "
                ".update(key_points=…, value_points=…)."
            )
        return [[float(x) for x in point] for point in value]

    def __init__(self, **state: Any) -> None:
        if "key_points" in state:  # as under K=V, until told otherwise
            state.setdefault("value_points", state["key_points"])
        super().__init__(**state)

    @property
    def is_tied(self) -> bool:
        """Whether the values are the keys."""
        roles = parse_sharing(self.sharing).roles
        return roles["k"] == roles["v"]

    @property
    def weights(self) -> list[float]:
        """Attention weights of the keys: softmax of query · key / √2."""
        scores = [
            (self.query[0] * x + self.query[1] * y) / math.sqrt(2) for x, y in self.key_points
        ]
        powers = [math.exp(score - max(scores)) for score in scores]
        return [power / sum(powers) for power in powers]

    @property
    def output(self) -> Point:
        """The weighted mean of the values."""
        values = self.key_points if self.is_tied else self.value_points
        pairs = list(zip(self.weights, values, strict=True))
        return sum(w * v[0] for w, v in pairs), sum(w * v[1] for w, v in pairs)

    @property
    def distances(self) -> dict[str, float]:
        """How far output and star lie outside the hulls, and the output from the star."""
        keys = planar_hull([(x, y) for x, y in self.key_points])
        values = keys if self.is_tied else planar_hull([(x, y) for x, y in self.value_points])
        star = (self.target[0], self.target[1])
        output = self.output
        return {
            "output_keys": planar_distance(output, keys),
            "output_values": planar_distance(output, values),
            "star_values": planar_distance(star, values),
            "output_star": math.hypot(output[0] - star[0], output[1] - star[1]),
        }

    def _facts(self) -> list[tuple[str, str]]:
        sharing = parse_sharing(self.sharing)
        far = self.distances
        rows = [("Sharing", f"{sharing.name} {sharing.tuple_form}")]
        for i, (key, weight) in enumerate(zip(self.key_points, self.weights, strict=True), start=1):
            value = "" if self.is_tied else f", value {_written(self.value_points[i - 1])}"
            rows.append((f"Key {i}", f"{_written(key)}{value}, weight {weight:.2f}"))
        inside = "inside" if far["output_keys"] <= TOUCH else "outside"
        rows += [
            ("Query", _written(self.query)),
            ("Output", f"{_written(self.output)}, {inside} the hull of the keys"),
            ("Star", f"{_written(self.target)}, {far['output_star']:.2f} from the output"),
        ]
        return rows

    def describe(self) -> str:
        """Return the points, the weights and where the output lies, as lines of plain text."""
        return facts_text("Output and the hull of the keys", self._facts())

    def fallback_html(self) -> str:
        """Return the same as a table."""
        table = facts_html("Output and the hull of the keys", self._facts())
        return table + where_it_lives("The points can be moved")
