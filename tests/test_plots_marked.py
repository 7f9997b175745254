"""Marked lines: every point is drawn and said, and what cannot be drawn is refused."""

import json
from typing import Any

import pytest

from qkvlib import plots

X = [0, 1, 4]


def figure(**options: Any) -> plots.Figure:
    given: dict[str, Any] = {
        "series": {"one": (X, [1.0, 2.0, 1 / 3]), "other": (X, [5.0, 5.0, 5.0])},
        "x_title": "start",
        "y_title": "loss",
        "title": "What a shift does",
    }
    given |= options
    return plots.marked_lines(given.pop("series"), **given)


def test_points_are_drawn_with_marks_and_formulas_without() -> None:
    drawn = figure(beside={"formula": ([0, 4], [1.0, 3.0])})
    formula, one, other = drawn.data
    assert (formula.mode, one.mode, other.mode) == ("lines", *["lines+markers"] * 2)
    assert formula.line.color == one.line.color != other.line.color
    assert formula.line.width < one.line.width
    assert list(one.x) == X
    assert list(one.y) == [1.0, 2.0, 0.3333]
    assert drawn.layout.xaxis.type is None
    assert drawn.layout.xaxis.title.text == "start"


def test_the_words_carry_the_numbers() -> None:
    alt = figure(beside={"formula": ([0, 4], [1.0, 3.0])}).alt
    assert alt == (
        "loss against start. one: 1 at 0, 2 at 1, 0.333 at 4; other: 5 from 0 to 4; "
        "beside them formula: 1 at 0, 3 at 4."
    )


def test_series_differ_in_more_than_colour() -> None:
    lines = figure(series=dict.fromkeys("abcd", (X, X))).data
    for looks in (
        {line.line.color for line in lines},
        {line.line.dash for line in lines},
        {line.marker.symbol for line in lines},
    ):
        assert len(looks) == 4


def test_logarithmic_axes_and_what_is_stored() -> None:
    drawn = figure(series={"errors": ([1e1, 1e3], [1e-7, 2e-5])}, log_x=True, log_y=True)
    assert (drawn.layout.xaxis.type, drawn.layout.yaxis.type) == ("log", "log")
    assert (drawn.layout.xaxis.dtick, drawn.layout.yaxis.dtick) == (1, 1)
    wide = figure(series={"errors": ([1, 2], [1e-15, 10.0])}, log_y=True)
    assert wide.layout.yaxis.dtick == 3
    stored = json.dumps(drawn._repr_mimebundle_()["application/vnd.plotly.v1+json"])
    assert "bdata" not in stored
    assert len(stored) < 20_000


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"series": {}}, "0 series: expected 1 to 4"),
        ({"series": {str(i): (X, X) for i in range(5)}}, "5 series"),
        ({"beside": {str(i): (X, X) for i in range(5)}}, "5 lines beside them"),
        ({"series": {"one": (X, X[:2])}}, "one: 3 places and 2 values"),
        ({"series": {"one": ([], [])}}, "one: 0 places"),
        ({"log_x": True}, "one: x=0 has no place"),
        ({"series": {"one": ([1, 2], [1.0, -1.0])}, "log_y": True}, "one: y=-1"),
    ],
)
def test_what_cannot_be_drawn_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        figure(**options)
