"""CurveSketch in Python: what is measured, what is refused, and that nothing is given away."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from qkvlib import Interval, slope_per_doubling
from qkvlib.widgets import CurveSketch, MeasuredCurve, static_html
from qkvlib.widgets.curve_sketch import key_of

from in_node import find_node
from widget_pages import refuses

HERE = Path(__file__).parent
UNIT = "loss above QKV (%)"


@pytest.fixture(autouse=True)
def static(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QKV_STATIC", "1")  # comms would only take time


def around(mean: float, half: float = 1.0) -> Interval:
    return Interval(mean, mean - half, mean + half, 3, 0.95)


def curve(name: str = "MQA", axis: str = "tokens", **changes: Any) -> MeasuredCurve:
    fields: dict[str, Any] = {
        "x": [1e6, 2e6, 4e6],
        "x_text": ["1M", "2M", "4M"],
        "y": [around(4.0), around(3.0), around(2.5)],
        "trend": around(-0.75, 0.2),
    }
    return MeasuredCurve(name, axis, **(fields | changes))


def sketch(**state: Any) -> CurveSketch:
    return CurveSketch([curve(), curve("Q-K=V"), curve("MQA", "width")], unit=UNIT, **state)


def test_the_first_curve_is_shown_and_none_is_revealed() -> None:
    widget = sketch()
    assert (widget.name_shown, widget.axis_shown) == ("MQA", "tokens")
    assert (widget.drawn, widget.revealed) == ({}, [])
    for row in widget.curves:
        # Room for guesses twice as high as the truth.
        assert row["top"] == 10.0


def test_how_far_a_guess_is_off() -> None:
    widget = sketch()
    assert widget.off_by("MQA", "tokens") is None
    widget.drawn = {key_of("MQA", "tokens"): [4.0, 3.0, 1.0]}
    assert widget.off_by("MQA", "tokens") == pytest.approx(0.5)
    assert widget.off_by("MQA", "width") is None
    assert "MQA over tokens: 4 at 1M, 3 at 2M, 2.5 at 4M; your line is off by 0.5" in (
        widget.describe()
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"x": [1e6, 2e6]}, ["2 sizes, 3 texts and 3 measurements"]),
        ({"x": [1.0], "x_text": ["1"], "y": [around(1.0)]}, ["at least 3"]),
        ({"x": [0.0, 1.0, 2.0]}, ["above 0"]),
        ({"x": [1.0, 2.0, 2.0]}, ["must be above 0 and rise"]),
    ],
)
def test_curves_that_cannot_be_drawn_are_refused(changes: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ValueError, match="MQA, tokens") as caught:
        curve(**changes)
    for word in words:
        assert word in str(caught.value)


def test_none_or_the_same_curve_twice_are_refused() -> None:
    for curves in ([], [curve(), curve()]):
        with pytest.raises(ValueError, match="at least one, each of another name"):
            CurveSketch(curves, unit=UNIT)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name_shown": "GQA-2"}, ["'GQA-2 over tokens'", "'MQA over width'"]),
        ({"name_shown": "Q-K=V", "axis_shown": "width"}, ["'Q-K=V over width'", ".update("]),
        ({"drawn": {"MQA over depth": [1, 2, 3]}}, ["'MQA over depth'"]),
        ({"drawn": {"MQA over tokens": [1, 2]}}, ["expected 3 numbers", "1M, 2M, 4M"]),
        ({"drawn": {"MQA over tokens": [1, 2, float("nan")]}}, ["expected 3 numbers"]),
        ({"drawn": {"MQA over tokens": [1, 2, True]}}, ["expected 3 numbers"]),
        ({"revealed": ["MQA"]}, ["no curve 'MQA'"]),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_changes(
    changes: dict[str, Any], words: list[str]
) -> None:
    widget = sketch()
    refuses(widget, changes, words)


def test_a_page_without_scripts_folds_the_measurement_away() -> None:
    text = static_html(sketch())
    fallback = text[text.index("qkv-widget-fallback") :]
    assert fallback.index("<details>") < fallback.index("MQA over tokens")
    assert "4 (3 to 5) at 1M" in fallback


def test_the_page_computes_the_same_slope_and_distance() -> None:
    widget = sketch()
    lines = [[4.0, 3.0, 1.0], [0.5, 0.5, 0.5], [9.0, -2.0, 3.25]]
    script = (
        f"const {{ load }} = await import({json.dumps((HERE / 'load.mjs').as_uri())});"
        "const { slopeOf, offBy } = await load('curve_sketch');"
        f"const curve = {json.dumps(widget.curves[0])};"
        f"console.log(JSON.stringify({json.dumps(lines)}"
        ".map((line) => [slopeOf(curve, line), offBy(curve, line)])))"
    )
    run = subprocess.run(
        [find_node(), "--input-type=module", "-e", script],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    for line, (slope, off) in zip(lines, json.loads(run.stdout), strict=True):
        widget.drawn = {key_of("MQA", "tokens"): line}
        points = dict(zip(widget.curves[0]["x"], line, strict=True))
        assert slope == pytest.approx(slope_per_doubling(points), abs=1e-9)
        assert off == pytest.approx(widget.off_by("MQA", "tokens"))
