"""Figures of many draws: medians and bands are what they say, and words go with them."""

import json
from typing import Any

import pytest
import torch

from qkvlib import Interval, plots

X = [1, 4, 16]
VALUES = torch.stack([torch.arange(11.0) + 10 * row for row in range(3)])  # (places, draws)


def figure(**options: Any) -> plots.Figure:
    given: dict[str, Any] = {
        "series": {"plain": (X, VALUES), "scaled": (X, VALUES / 3)},
        "x_title": "head_dim",
        "y_title": "largest weight",
        "title": "What it does",
    }
    given |= options
    return plots.draws(given.pop("series"), **given)


def test_the_line_is_the_median_and_the_band_the_middle_of_the_draws() -> None:
    band, line = figure(series={"plain": (X, VALUES)}).data
    assert list(line.y) == [5.0, 15.0, 25.0]
    assert list(line.x) == X
    assert list(band.y) == [9.0, 19.0, 29.0, 21.0, 11.0, 1.0]
    assert list(band.x) == [1, 4, 16, 16, 4, 1]
    half = figure(series={"plain": (X, VALUES)}, share=0.5).data[0]
    assert list(half.y) == [7.5, 17.5, 27.5, 22.5, 12.5, 2.5]


def test_the_words_carry_the_numbers() -> None:
    drawn = figure(curve=("√D", [1.0, 2.0, 4.0]))
    assert drawn.alt.startswith("largest weight against head_dim: the median of many random draws")
    for part in (
        "middle 80 %",
        "plain: 5 at 1, 15 at 4, 25 at 16 (band there 21 to 29)",
        "scaled: 1.67 at 1",
        "√D runs from 1 to 4",
    ):
        assert part in drawn.alt
    assert "band: middle 80 % of draws" in drawn.layout.title.text


def test_series_differ_in_more_than_colour() -> None:
    four = dict.fromkeys("abcd", (X, VALUES))
    lines = [trace for trace in figure(series=four).data if trace.showlegend is None]
    assert [line.name for line in lines] == [f"{name}, median" for name in "abcd"]
    for looks in (
        {line.line.color for line in lines},
        {line.line.dash for line in lines},
        {line.marker.symbol for line in lines},
    ):
        assert len(looks) == 4


def test_axes_and_what_is_stored() -> None:
    drawn = figure(curve=("√D", [1.0, 2.0, 4.0]))
    layout = drawn.layout
    assert (layout.xaxis.type, layout.yaxis.type) == ("log", None)
    assert list(layout.xaxis.tickvals) == X
    assert (layout.xaxis.title.text, layout.yaxis.title.text) == ("head_dim", "largest weight")
    assert list(drawn.data[0].y) == [1.0, 2.0, 4.0]
    assert figure(series={"up": (X, VALUES + 1)}, log_y=True).layout.yaxis.type == "log"
    bundle = drawn._repr_mimebundle_()
    stored = json.dumps(bundle["application/vnd.plotly.v1+json"])
    assert "bdata" not in stored
    assert len(stored) < 20_000
    thirds = figure(series={"third": (X, VALUES / 3 + 1e-9)}).data[1]
    assert thirds.y[0] == 1.667


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"series": {}}, "0 series"),
        ({"series": {str(i): (X, VALUES) for i in range(5)}}, "5 series"),
        ({"series": {"plain": (X, VALUES.T)}}, r"\(11, 3\) for 3 places; expected \(3, draws\)"),
        ({"series": {"plain": (X, VALUES[0])}}, r"shape \(11,\)"),
        ({"series": {"plain": (X, VALUES - 5)}, "log_y": True}, "plain: a value of -4"),
        ({"share": 1.0}, "share=1.0"),
    ],
)
def test_what_cannot_be_drawn_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        figure(**options)


def moving(**changes: Any) -> plots.Figure:
    points = {
        size: Interval(mean, mean - 1, mean + 1, 3, 0.95)
        for size, mean in zip(X, [3, 2, 1], strict=True)
    }
    given: dict[str, Any] = {
        "series": {"QKV": points, "MQA": points, "Q-K=V": points},
        "x_title": "tokens",
        "y_title": "loss above QKV (%)",
        "title": "How it moves",
    }
    given |= changes
    return plots.interval_bands(given.pop("series"), **given)


def test_a_band_is_the_interval_and_heads_differ_by_more_than_colour() -> None:
    drawn = moving(ticks={1: "1M", 4: "4M", 16: "16M"})
    band, line = drawn.data[0], drawn.data[1]
    assert list(line.y) == [3, 2, 1]
    assert list(band.y) == [4, 3, 2, 0, 1, 2]
    plain, fewer, tied = (trace for trace in drawn.data if trace.showlegend is None)
    assert plain.line.color == fewer.line.color != tied.line.color
    assert plain.line.dash != fewer.line.dash
    assert plain.marker.symbol != fewer.marker.symbol
    assert list(drawn.layout.xaxis.ticktext) == ["1M", "4M", "16M"]
    assert "MQA: +3 (+2 to +4) at 1M, +2 (+1 to +3) at 4M" in drawn.alt


@pytest.mark.parametrize(
    ("series", "words"),
    [({}, "nothing to draw"), ({"MQA": {}}, "nothing to draw"), ({"MQA": {0: None}}, "size of 0")],
)
def test_bands_that_cannot_be_drawn_are_refused(series: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        moving(series=series)
