"""Figures of lesson 07: points that are keys and values, and accuracy by the width of a head."""

from __future__ import annotations

import json

import pytest
import torch

from qkvlib import plots
from qkvlib.stats import StatsError

ALT = "Forty points in the plane, ten for each of four keys, for the sake of a test."


def plane(**more: torch.Tensor) -> plots.Figure:
    vectors = torch.rand(4, 10, 2, generator=torch.Generator().manual_seed(0))
    return plots.pair_plane(vectors, title="Keys", what="key", alt=ALT, **more)


def panels(seeds: int = 3) -> plots.Figure:
    runs = {
        name: {d: [90.0 + d + seed / 3 for seed in range(seeds)] for d in (4, 8)}
        for name in ("QKV", "Q-K=V")
    }
    return plots.width_panels(
        {"8 pairs": runs, "16 pairs": runs}, y_title="recalled (%)", title="One layer"
    )


@pytest.mark.parametrize("figure", [plane(), panels()])
def test_what_a_notebook_stores(figure: plots.Figure) -> None:
    bundle = figure._repr_mimebundle_()
    assert set(bundle) == {"application/vnd.plotly.v1+json", "text/plain"}
    stored = json.dumps(bundle["application/vnd.plotly.v1+json"])
    assert len(stored) < 100_000
    assert "bdata" not in stored
    assert len(bundle["text/plain"]) > 60


def test_each_key_has_its_marker_and_each_point_its_digit() -> None:
    figure = plane()
    assert [trace.name for trace in figure.data] == [f"key {i}" for i in range(4)]
    assert len({trace.marker.symbol for trace in figure.data}) == 4
    assert len({trace.marker.color for trace in figure.data}) == 4
    assert list(figure.data[0].text) == list("0123456789")
    assert figure.layout.yaxis.scaleanchor == "x", "a hull must not be stretched"


def test_the_hull_is_closed_and_the_outputs_are_there() -> None:
    among = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1], [0.5, 0.5]])
    figure = plane(among=among, outputs=torch.tensor([[0.5, 0.25]]))
    hull, *_, stars = figure.data
    assert (list(hull.x), list(hull.y)) == ([0, 1, 1, 0, 0], [0, 0, 1, 1, 0])
    assert "hull of the keys" in hull.name
    assert (list(stars.x), list(stars.y)) == ([0.5], [0.25])


@pytest.mark.parametrize("shape", [(5, 10, 2), (4, 10, 3), (40, 2)])
def test_what_has_no_place_in_the_plane_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="head_dim=2"):
        plots.pair_plane(torch.zeros(shape), title="t", what="key", alt=ALT)


def test_panels_show_mean_interval_and_seeds() -> None:
    figure = panels()
    drawn = [trace for trace in figure.data if trace.error_y.array is not None]
    assert len(drawn) == 4
    assert list(drawn[0].y) == [pytest.approx(94.33), pytest.approx(98.33)]
    assert drawn[0].error_y.array[0] == pytest.approx(0.828, abs=1e-3)  # 4.303 · (1/3) / √3
    assert [trace.name for trace in figure.data if trace.showlegend] == [
        "single seeds", "QKV (Q, K, V)", "Q-K=V (Q, K=V)",
    ]  # fmt: skip
    assert drawn[0].x[0] < drawn[1].x[0], "side by side, so that no bar hides another"
    assert list(figure.layout.xaxis2.ticktext) == ["4", "8"]
    assert figure.layout.yaxis.range == figure.layout.yaxis2.range, "panels must be comparable"
    low, high = figure.layout.yaxis.range
    assert low < min(drawn[0].y) - drawn[0].error_y.array[0]
    assert high > max(drawn[0].y) + drawn[0].error_y.array[1]
    assert "8 pairs, QKV: 94.3 at 4, 98.3 at 8" in figure.alt
    assert all(
        axis.title.text == "recalled (%)" for axis in (figure.layout.yaxis, figure.layout.yaxis2)
    )


def test_panels_need_seeds_and_something_to_draw() -> None:
    with pytest.raises(StatsError, match="at least 3"):
        panels(seeds=2)
    with pytest.raises(ValueError, match="nothing to draw"):
        plots.width_panels({}, y_title="y", title="t")
