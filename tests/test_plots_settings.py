"""Differences by setting: every variant in every setting is drawn and said, apart from the rest."""

import pytest

from qkvlib import plots
from qkvlib.plots import Measured

ROWS = {
    "one text": [Measured("Q-K=V", 2.0, 1.0, 3.0, paper=1.9), Measured("MQA", 1 / 3, 0.1, 0.5)],
    "another": [Measured("MQA", -0.5, -0.7, 0.1)],
}


def test_every_value_stands_in_its_row_beside_the_others() -> None:
    figure = plots.differences_by_setting(ROWS, x_title="loss (%)", title="What it costs")
    paper, one, other = figure.data
    assert (list(paper.x), list(paper.y)) == ([1.9], [0])
    assert list(one.x) == [2.0, 0.3333]
    assert [round(y) for y in one.y] == [0, 1]
    assert [round(y) for y in other.y] == [1]
    assert other.y[0] > one.y[1], "settings of a variant must not hide one another"
    assert one.marker.color != other.marker.color
    assert one.marker.symbol != other.marker.symbol
    assert list(other.error_x.array) == pytest.approx([0.6])
    assert figure.layout.yaxis.ticktext == ("Q-K=V<br>(Q, K=V)", "MQA<br>(Q, K, V)")
    for words in ("one text: Q-K=V 2 (1 to 3), MQA 0.333", "another: MQA -0.5", "paper: Q-K=V 1.9"):
        assert words in figure.alt


def test_without_the_paper_there_is_no_mark_of_it() -> None:
    figure = plots.differences_by_setting(
        {"another": ROWS["another"]}, x_title="loss (%)", title="What it costs"
    )
    assert [trace.name for trace in figure.data] == ["another"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [({}, "nothing to draw"), ({"a": []}, "nothing to draw"),
     ({str(i): ROWS["another"] for i in range(5)}, "5 settings: expected 1 to 4")],
)  # fmt: skip
def test_what_cannot_be_drawn_is_refused(settings: dict[str, list[Measured]], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        plots.differences_by_setting(settings, x_title="loss (%)", title="What it costs")
