"""The figure of time per token: the fastest, a band up to the median, words."""

from __future__ import annotations

import pytest

from qkvlib import SHARINGS, plots
from qkvlib.plots.base import style

MEASURED = {
    "without a cache": {500: [0.009, 0.010, 0.011, 0.050], 16: [0.001, 0.0011, 0.0012, 0.0013]},
    "with a cache": {16: [0.0004], 500: [0.0004, 0.0005, 0.0006]},
}


def test_the_fastest_and_the_median() -> None:
    figure = plots.time_per_token(MEASURED, title="Time")
    band, line, _, cached = figure.data
    assert list(line.x) == [16, 500]
    assert list(line.y) == [1.0, 9.0]
    # One slow measurement moves neither the line nor the band much.
    assert list(band.x) == [16, 500, 500, 16]
    assert list(band.y) == [1.15, 10.5, 9.0, 1.0]
    assert band.mode == "lines", "markers would show on the band's corners"
    assert list(cached.y) == [0.4, 0.4]
    assert figure.layout.yaxis.title.text == "time for one token (ms)"
    assert figure.layout.yaxis.rangemode == "tozero"


def test_lines_differ_by_more_than_colour() -> None:
    figure = plots.time_per_token(MEASURED)
    lines = [trace for trace in figure.data if trace.mode == "lines+markers"]
    assert [trace.name for trace in lines] == list(MEASURED)
    for key in ("color", "dash"):
        assert len({trace.line[key] for trace in lines}) == len(lines)
    assert len({trace.marker.symbol for trace in lines}) == len(lines)


def test_variants_keep_their_style() -> None:
    figure = plots.time_per_token({name: {1: [0.1], 2: [0.2]} for name in SHARINGS})
    for name, trace in zip(SHARINGS, figure.data[1::2], strict=True):
        assert (trace.line.color, trace.marker.symbol, trace.line.dash) == style(name)


def test_words_say_both_ends() -> None:
    alt = plots.time_per_token(MEASURED).alt
    assert "without a cache 1 ms at 16 tokens and 9 ms at 500" in alt
    assert "with a cache 0.4 ms at 16 tokens and 0.4 ms at 500" in alt


@pytest.mark.parametrize("nothing", [{}, {"a": {}}])
def test_nothing_to_draw_is_refused(nothing: dict[str, dict[int, list[float]]]) -> None:
    with pytest.raises(ValueError, match="nothing to draw"):
        plots.time_per_token(nothing)
    with pytest.raises(ValueError, match="no time was measured at a context of 4"):
        plots.time_per_token({"a": {2: [0.1], 4: []}})
