"""Figures of lesson 08: every map in its place, intervals and the paper's crosses."""

import json

import pytest
import torch

from qkvlib import plots
from qkvlib.plots import Measured

EYE = torch.eye(4)
MAPS = {"REVERSE": {"by hand": EYE.flip(0), "QKV": EYE}, "SHIFT": {"QKV": EYE.roll(1, 0)}}
NOTES = {"REVERSE": {"QKV": "100 %"}, "SHIFT": {"QKV": "94 %"}}


def test_every_map_lies_where_its_names_say() -> None:
    figure = plots.task_maps(MAPS, notes=NOTES)
    across = dict(zip(figure.layout.xaxis.ticktext, figure.layout.xaxis.tickvals, strict=True))
    down = dict(zip(figure.layout.yaxis.ticktext, figure.layout.yaxis.tickvals, strict=True))
    assert list(across) == ["by hand", "QKV"]
    assert list(down) == ["REVERSE", "SHIFT"]
    found = {(trace.y0 + 1.5, trace.x0 + 1.5): trace for trace in figure.data}
    assert len(found) == 3, "a model that a row lacks leaves its place empty"
    for task, row in MAPS.items():
        for name, weights in row.items():
            trace = found[down[task], across[name]]
            assert [list(each) for each in trace.z] == (100 * weights).int().tolist()
            assert trace.hovertemplate.startswith(f"{task}, {name}<br>")
    assert down["SHIFT"] - down["REVERSE"] > 4.5, "room for the notes"
    assert across["QKV"] - across["by hand"] > 4
    assert figure.layout.yaxis.range[0] > figure.layout.yaxis.range[1], "position 0 is on top"


def test_notes_stand_under_their_maps_and_in_the_words() -> None:
    figure = plots.task_maps(MAPS, notes=NOTES)
    assert [a.text for a in figure.layout.annotations] == ["100 %", "94 %"]
    first, second = figure.layout.annotations
    assert first.x == second.x
    assert first.y < second.y
    assert "SHIFT: QKV 94 %" in figure.alt
    assert "by hand" in figure.alt


def test_a_full_figure_is_small() -> None:
    torch.manual_seed(0)
    names = ["by hand", "QKV", "Q=K-V", "(Q=K-V)+", "Q-K=V", "Q=K=V", "(Q=K=V)+"]
    maps = {f"T{i}": {n: torch.randn(16, 16).softmax(-1) for n in names} for i in range(7)}
    assert len(json.dumps(plots.task_maps(maps)._repr_mimebundle_())) < 150_000


def test_maps_of_several_shapes_are_refused() -> None:
    for bad in ({}, {"A": {"QKV": EYE, "MQA": torch.eye(5)}}, {"A": {"QKV": torch.ones(2, 3)}}):
        with pytest.raises(ValueError, match=r"expected \(T, T\)"):
            plots.task_maps(bad)


ROWS = {
    "REVERSE": [Measured("Q=K-V", 0.1, 0.05, 0.15, paper=0.02), Measured("(Q=K-V)+", 0, 0, 0)],
    "SHIFT": [Measured("(Q=K-V)+", -0.2, -0.3, -0.1), Measured("Q=K-V", -0.1, -0.2, 0.0)],
}


def test_differences_keep_their_variants_apart() -> None:
    figure = plots.task_differences(ROWS, x_title="accuracy above QKV", title="Gained or lost")
    plain, plus, paper = figure.data
    assert plain.marker.color == plus.marker.color, "one sharing, one colour"
    assert (plain.marker.symbol, plus.marker.symbol) == ("square", "square-open")
    assert list(plain.x) == [0.1, -0.1]
    assert list(plus.x) == [0, -0.2]
    assert plain.error_x.array[0] == pytest.approx(0.05)
    assert plus.error_x.arrayminus[1] == pytest.approx(0.1)
    assert (list(paper.x), paper.y[0]) == ([0.02], plain.y[0])
    heights = [*plain.y, *plus.y]
    assert len(set(heights)) == 4
    assert [round(y) for y in heights] == [0, 1, 0, 1]
    assert list(figure.layout.yaxis.ticktext) == list(ROWS)


def test_differences_are_put_into_words() -> None:
    figure = plots.task_differences(ROWS, x_title="accuracy above QKV")
    assert "SHIFT: (Q=K-V)+ -0.2 (-0.3 to -0.1), Q=K-V -0.1" in figure.alt
    assert figure.layout.xaxis.title.text == "accuracy above QKV"
    without = plots.task_differences({"SHIFT": ROWS["SHIFT"]}, x_title="accuracy")
    assert "the paper's" not in [trace.name for trace in without.data]
    with pytest.raises(ValueError, match="nothing to draw"):
        plots.task_differences({"SHIFT": []}, x_title="accuracy")
