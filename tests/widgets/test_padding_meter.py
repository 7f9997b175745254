"""PaddingMeter in Python: the task's own share, what is refused, the same numbers as the page."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import pytest

from qkvlib import PaddedTextTask, paper
from qkvlib.widgets import PaddingMeter, base, static_html
from qkvlib.widgets.padding_meter import PAD_TO, ROWS

from in_node import in_page
from widget_pages import refuses

PARAGRAPHS = [b"x = 1", b"def f():\n    return 1", b"y" * 300, b"z" * 40]
LOSSES = {"QKV": (1.6, 0.01), "Q-K=V": (1.7, 0.02), "MQA": (1.65, 0.0)}


@pytest.fixture(autouse=True)
def static(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QKV_STATIC", "1")  # comms would only take time


def meter(**state: Any) -> PaddingMeter:
    return PaddingMeter(PARAGRAPHS, LOSSES, **state)


def test_the_share_is_that_of_the_task(tmp_path: Path) -> None:
    dice = random.Random(0)
    text = "\n\n".join("a" * dice.randint(1, 90) for _ in range(60))
    (tmp_path / "text.txt").write_text(text)

    def task(length: int) -> PaddedTextTask:
        return PaddedTextTask(length, files=[tmp_path / "text.txt"], held_out=0.5)

    rows = (row for inputs, _ in task(200).eval_batches(64) for row in inputs)
    paragraphs = [bytes(row[row != 0].tolist()) for row in rows]
    for length in (16, 33, 64, 120):
        shown = PaddingMeter(paragraphs, LOSSES, pad_to=length)
        assert shown.share == pytest.approx(task(length).padding_share)


def test_the_page_computes_what_python_does() -> None:
    dice = random.Random(0)
    shown = [meter(), meter(scored=False), meter(pad_to=PAD_TO[0])]
    for _ in range(10):
        paragraphs = [b"x" * dice.randint(1, 400) for _ in range(dice.randint(1, 40))]
        losses = {name: (dice.uniform(1, 4), dice.uniform(0, 0.5)) for name in LOSSES}
        shown.append(PaddingMeter(paragraphs, losses, pad_to=dice.randint(*PAD_TO)))
    answers = in_page("padding_meter", "data.map(view.readingOf)", [each.state() for each in shown])
    for widget, answer in zip(shown, answers, strict=True):
        assert answer["share"] == pytest.approx(widget.share)
        for found, (name, loss) in zip(answer["models"], widget.reported().items(), strict=True):
            assert found["name"] == name
            assert found["loss"] == pytest.approx(loss)
            assert found["perplexity"] == pytest.approx(math.exp(loss))
        for found, (name, value) in zip(answer["printed"], widget.undone().items(), strict=True):
            assert (found["name"], found["undone"]) == (name, pytest.approx(value))


def test_half_a_batch_of_padding_squares_the_printed_figure() -> None:
    widget = PaddingMeter([b"x" * 50], LOSSES, pad_to=100)
    assert widget.share == 0.5
    printed = paper.paper_figures()["300M/QKV/perplexity"].value
    assert widget.undone()["QKV"] == pytest.approx(printed**2)
    assert widget.reported()["QKV"] == pytest.approx((1.6 + 0.01) / 2)
    widget.scored = False
    assert widget.reported()["QKV"] == 1.6


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pad_to": 15}, ["pad_to=15", "from 16 to 2,048"]),
        ({"pad_to": 2049}, ["pad_to=2049"]),
        ({"pad_to": True}, ["True"]),
        ({"scored": "yes"}, ["scored"]),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_changes(
    change: dict[str, Any], words: list[str]
) -> None:
    widget = meter()
    refuses(widget, change, words)


@pytest.mark.parametrize(
    ("paragraphs", "losses", "words"),
    [
        ([], LOSSES, "at least one"),
        ([b"x", b""], LOSSES, "none of them empty"),
        (PARAGRAPHS, {}, "losses is empty"),
        (PARAGRAPHS, {"QKV": (1.0, -0.1)}, "on padding, at least 0"),
        (PARAGRAPHS, {"QKV": (math.nan, 0.1)}, "nats per target"),
        (PARAGRAPHS, {"Q-K": (1.0, 0.1)}, "Q-K"),
    ],
)
def test_a_meter_of_nothing_is_refused(
    paragraphs: list[bytes], losses: dict[str, tuple[float, float]], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        PaddingMeter(paragraphs, losses)


def test_a_misspelt_field_is_named() -> None:
    with pytest.raises(ValueError, match="Did you mean 'pad_to'"):
        meter(padto=3)


def test_it_says_in_words_what_it_shows() -> None:
    widget = meter(pad_to=64)
    text = widget.describe()
    assert "4 paragraphs, cut or padded to 64 bytes" in text
    assert f"{100 * widget.share:.1f} % of the targets, scored" in text
    assert "Q-K=V (Q, K=V): loss on text 1.700, on padding 0.020" in text
    assert "The paper's QKV (Q, K, V): prints 5.11; if that held" in text
    page = static_html(widget)
    assert "left out" in meter(scored=False).describe()
    assert len(page) < 6000
    many = PaddingMeter([b"some text"] * 500, LOSSES)
    assert len(many.rows) == ROWS


def test_names_belong_to_python() -> None:
    source = base.module_source("padding_meter").partition("// PaddingMeter:")[2]
    assert not any(f'"{name}"' in source for name in LOSSES)
    assert "5.11" not in source
