"""Figures of speed: every row is drawn and said, whatever rows there are."""

from __future__ import annotations

import pytest

from qkvlib import SpeedRow, SpeedTable, plots


def row(case: str, tokens: int, ratio: float) -> SpeedRow:
    return SpeedRow(case, tokens, ratio, 0.9 * ratio, 1.2 * ratio, 7, 0.1, 0.1 * ratio)


def test_every_row_is_drawn_and_said() -> None:
    rows = (
        row("a against b", 1024, 1.5),
        row("c, d against e", 8, 30.0),
        row("a against b", 4096, 1.8),
    )
    figure = plots.speed_ratios(SpeedTable("decode", rows, "a box", 2, {}), title="x")
    dots = [trace for trace in figure.data if trace.mode == "markers"]
    assert [list(trace.x) for trace in dots] == [[1.5, 1.8], [30.0]]
    assert list(figure.layout.yaxis.ticktext) == ["1,024", "4,096", "8"]
    places = list(figure.layout.yaxis.tickvals)
    assert places == sorted(places, reverse=True)
    assert [note.text for note in figure.layout.annotations] == [
        "<b>a against b</b>",
        "<b>c, d against e</b>",
    ]
    for words in ("a against b, 4,096 tokens: 1.8 (1.62 to 2.16)", "a box, threads: 2"):
        assert words in figure.alt
    with pytest.raises(ValueError, match="no rows"):
        plots.speed_ratios(SpeedTable("decode", ()))


def test_long_cases_are_broken_for_phones() -> None:
    case = "keeping keys and values, making room at once against cat, batch of 1"
    figure = plots.speed_ratios(SpeedTable("decode", (row(case, 1, 0.5),)))
    (note,) = figure.layout.annotations
    lines = note.text.removeprefix("<b>").removesuffix("</b>").split("<br>")
    assert " ".join(lines) == case
    assert max(map(len, lines)) <= 30


def test_time_by_bytes_stands_beside_its_bandwidth() -> None:
    measured = {"QKV": {2_000_000: 0.004, 1_000_000: 0.002}, "Q-MQA": {500_000: 0.003}}
    figure = plots.time_by_bytes(measured, 1e9, x_title="cache (MB)", title="x", log=True)
    line, plain, shared = figure.data
    assert (list(line.x), list(line.y)) == ([0.5, 2.0], [0.5, 2.0])
    assert (list(plain.x), list(plain.y)) == ([1.0, 2.0], [2.0, 4.0])
    assert plain.line.color == plots.COLOURS["QKV"]
    assert shared.line.color == plots.COLOURS["Q-K=V"]
    assert shared.marker.symbol == "diamond-open"
    assert "QKV 2 ms at 1 MB, 4 ms at 2 MB; Q-MQA 3 ms at 0.5 MB" in figure.alt
    linear = plots.time_by_bytes(measured, 1e9, x_title="cache (MB)", title="x")
    assert linear.data[0].x[0] == 0


@pytest.mark.parametrize(
    ("measured", "bandwidth", "words"),
    [
        ({}, 1, "empty"),
        ({"QKV": {}}, 1, "empty"),
        ({"QKV": {1: 0.0}}, 1, "above 0"),
        ({"QKV": {1: 1}}, 0, "above 0"),
    ],
)
def test_nothing_and_nonsense_are_refused(measured, bandwidth, words) -> None:
    with pytest.raises(ValueError, match=words):
        plots.time_by_bytes(measured, bandwidth, x_title="", title="")
