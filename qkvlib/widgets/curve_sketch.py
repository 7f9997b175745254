"""CurveSketch: draw how a difference moves before you see what was measured."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import traitlets

from qkvlib.plots.base import rounded, style
from qkvlib.stats import Interval
from qkvlib.widgets.base import CourseWidget, module_source, where_it_lives

_LEAST_POINTS: Final = 3
_DIGITS: Final = 4


@dataclass(frozen=True)
class MeasuredCurve:
    """Something measured at several sizes.

    Attributes:
        name: What it is of, for example a variant.
        axis: What changes from point to point, for example ``"tokens"``.
        x: The sizes, rising, above 0.
        x_text: How each of them is written.
        y: What was measured at each.
        trend: Change of y with each doubling of x.
    """

    name: str
    axis: str
    x: Sequence[float]
    x_text: Sequence[str]
    y: Sequence[Interval]
    trend: Interval

    def __post_init__(self) -> None:
        counts = {len(self.x), len(self.x_text), len(self.y)}
        if counts != {len(self.x)} or len(self.x) < _LEAST_POINTS:
            raise ValueError(
                f"{self.name}, {self.axis}: {len(self.x)} sizes, {len(self.x_text)} texts and "
                f"{len(self.y)} measurements. Expected as many of each, at least {_LEAST_POINTS}."
            )
        if self.x[0] <= 0 or any(b <= a for a, b in zip(self.x, self.x[1:], strict=False)):
            raise ValueError(
                f"{self.name}, {self.axis}: sizes {list(self.x)}. They must be above 0 and rise, "
                "as the axis counts doublings."
            )


def _room(curve: MeasuredCurve) -> float:
    """Upper end of the axis, at least twice what was measured, so that it gives little away."""
    most = 2 * max(abs(end) for each in curve.y for end in (each.low, each.high))
    power: float = 10.0 ** math.floor(math.log10(most or 1.0))
    return next(step * power for step in (1.0, 2.0, 5.0, 10.0) if step * power >= most)


def _state(curve: MeasuredCurve) -> dict[str, Any]:
    return {
        "name": curve.name,
        "axis": curve.axis,
        "x": list(curve.x),
        "x_text": list(curve.x_text),
        "mean": [each.mean for each in curve.y],
        "low": [each.low for each in curve.y],
        "high": [each.high for each in curve.y],
        "trend": {key: asdict(curve.trend)[key] for key in ("mean", "low", "high")},
        "top": _room(curve),
        "colour": style(curve.name)[0],
    }


def key_of(name: str, axis: str) -> str:
    """Name a curve in ``drawn`` and ``revealed``.

    Args:
        name: What it is of.
        axis: What changes from point to point.
    """
    return f"{name} over {axis}"


class CurveSketch(CourseWidget):
    """Curves to be guessed: the learner draws one, then what was measured appears beside it.

    Attributes:
        curves: What was measured, as dictionaries. Read-only.
        unit: Unit of y, with what it is, for example ``"loss above QKV (%)"``. Read-only.
        name_shown: Name of the curve that is shown.
        axis_shown: What changes from point to point in it.
        drawn: ``"NAME over AXIS"`` -> the learner's guess at each size. Assign a new dictionary: a
            change inside the old one goes unnoticed.
        revealed: Keys of the curves whose measurement is shown.

    Example:
        >>> show(CurveSketch(curves, unit="loss above QKV (%)"))  # doctest: +SKIP
    """

    name = "curve_sketch"
    _esm = module_source("curve_sketch")

    curves = traitlets.List(trait=traitlets.Dict(), read_only=True).tag(sync=True)
    unit = traitlets.Unicode(read_only=True).tag(sync=True)
    name_shown = traitlets.Unicode().tag(sync=True)
    axis_shown = traitlets.Unicode().tag(sync=True)
    drawn: Any = traitlets.Dict().tag(sync=True)
    revealed: Any = traitlets.List(trait=traitlets.Unicode()).tag(sync=True)

    def __init__(self, curves: Sequence[MeasuredCurve], *, unit: str, **state: Any) -> None:
        keys = [key_of(curve.name, curve.axis) for curve in curves]
        if not curves or len(set(keys)) != len(keys):
            raise ValueError(
                f"curves {keys}: expected at least one, each of another name or over another axis."
            )
        self.set_trait("curves", rounded([_state(curve) for curve in curves], _DIGITS))
        self.set_trait("unit", unit)
        state.setdefault("name_shown", curves[0].name)
        state.setdefault("axis_shown", curves[0].axis)
        super().__init__(**state)

    def _find(self, key: str) -> dict[str, Any] | None:
        found = [row for row in self.curves if key_of(row["name"], row["axis"]) == key]
        return found[0] if found else None

    def _known(self) -> str:
        return ", ".join(repr(key_of(row["name"], row["axis"])) for row in self.curves)

    @traitlets.validate("name_shown", "axis_shown")
    def _check_shown(self, proposal: dict[str, Any]) -> str:
        name, value = proposal["trait"].name, proposal["value"]
        key = key_of(
            value if name == "name_shown" else self.name_shown,
            value if name == "axis_shown" else self.axis_shown,
        )
        if self._find(key) is None:
            raise traitlets.TraitError(
                f"there is no curve {key!r}: there are {self._known()}. Change both at once with "
                ".update(name_shown=…, axis_shown=…)."
            )
        return str(value)

    @traitlets.validate("drawn")
    def _check_drawn(self, proposal: dict[str, Any]) -> dict[str, list[float]]:
        checked = {}
        for key, line in proposal["value"].items():
            curve = self._find(key)
            if curve is None:
                raise traitlets.TraitError(f"drawn: no curve {key!r}: there are {self._known()}.")
            good = isinstance(line, list | tuple) and len(line) == len(curve["x"])
            if not good or not all(
                isinstance(y, int | float) and not isinstance(y, bool) and math.isfinite(y)
                for y in line
            ):
                raise traitlets.TraitError(
                    f"drawn[{key!r}]={line!r}: expected {len(curve['x'])} numbers, one for each of "
                    f"{', '.join(curve['x_text'])}."
                )
            checked[key] = [float(y) for y in line]
        return checked

    @traitlets.validate("revealed")
    def _check_revealed(self, proposal: dict[str, Any]) -> list[str]:
        for key in proposal["value"]:
            if self._find(key) is None:
                raise traitlets.TraitError(
                    f"revealed: no curve {key!r}: there are {self._known()}."
                )
        return list(proposal["value"])

    def off_by(self, name: str, axis: str) -> float | None:
        """Return how far a guess is off, the mean over the sizes in the unit of y.

        Args:
            name: What the curve is of.
            axis: What changes from point to point.

        Returns:
            ``None`` if nothing was drawn.
        """
        curve, line = self._find(key_of(name, axis)), self.drawn.get(key_of(name, axis))
        if curve is None or line is None:
            return None
        return float(np.abs(np.subtract(line, curve["mean"])).mean())

    def describe(self) -> str:
        """Return what was measured, and how far each guess is off, as lines of plain text."""
        lines = [f"To be guessed: {self.unit}. Measured:"]
        for row in self.curves:
            points = ", ".join(
                f"{mean:.3g} at {text}"
                for mean, text in zip(row["mean"], row["x_text"], strict=True)
            )
            off = self.off_by(row["name"], row["axis"])
            guess = "" if off is None else f"; your line is off by {off:.2g}"
            lines.append(f"  {key_of(row['name'], row['axis'])}: {points}{guess}")
        return "\n".join(lines)

    def fallback_html(self) -> str:
        """Return what was measured, folded away, since it is to be guessed."""
        rows = "".join(
            f'<tr><th scope="row">{html.escape(key_of(row["name"], row["axis"]))}</th><td>'
            + html.escape(
                ", ".join(
                    f"{m:.3g} ({low:.3g} to {high:.3g}) at {text}"
                    for m, low, high, text in zip(
                        row["mean"], row["low"], row["high"], row["x_text"], strict=True
                    )
                )
            )
            + "</td></tr>"
            for row in self.curves
        )
        return (
            f"<details><summary>What was measured: {html.escape(self.unit)}</summary>"
            f"<table><tbody>{rows}</tbody></table></details>"
        ) + where_it_lives("A line can be drawn")
