"""PaddingMeter in a real browser, on a page opened from ``file://`` as the book's are."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from qkvlib.widgets import PaddingMeter

from widget_pages import fits, in_both_themes, trait

pytestmark = pytest.mark.browser

LOSSES = {"QKV": (1.6, 0.01), "Q-K=V": (1.7, 0.02), "MQA": (1.65, 0.0), "Q=K=V": (2.1, 0.05)}
PARAGRAPHS = [b"some words of a text " * n for n in (1, 2, 3, 5, 8, 13)]


def made(**state: Any) -> PaddingMeter:
    return PaddingMeter(PARAGRAPHS, LOSSES, **state)


@pytest.fixture
def meter(widget_page: Callable[..., Any]) -> Callable[..., Any]:
    """Open a page with the widget and wait until it lives."""

    def open_page(widget: PaddingMeter | None = None, **options: Any) -> Any:
        return widget_page(widget or made(), **options)

    return open_page


def table(page: Any, name: str) -> list[list[str]]:
    """Cells of the rows that have a head."""
    rows = page.get_by_role("table", name=name).locator("tbody tr:not(.bars)").all()
    return [row.locator("th, td").all_inner_texts() for row in rows]


def test_a_longer_batch_lowers_what_is_reported(meter: Callable[..., Any]) -> None:
    page = meter()
    assert not page.locator(".qkv-widget-fallback").is_visible()
    for length in (128, 512):
        page.get_by_label("Padded to", exact=True).fill(str(length))
        assert trait(page, "pad_to") == length
        reported = made(pad_to=length).reported()
        shown = [row[2] for row in table(page, "Measured here")]
        assert shown == [f"{math.exp(loss):.2f}" for loss in reported.values()]
    page.get_by_role("radio", name="left out").check(force=True)
    assert trait(page, "scored") is False
    alone = [row[2] for row in table(page, "Measured here")]
    assert alone == [f"{math.exp(text):.2f}" for text, _ in LOSSES.values()]
    page.get_by_label("Padded to", exact=True).fill("64")
    assert [row[2] for row in table(page, "Measured here")] == alone


def test_the_share_sets_the_length_and_reads_the_paper_backwards(
    meter: Callable[..., Any],
) -> None:
    page = meter()
    page.get_by_label("Share of padding", exact=True).fill("50")
    widget = made(pad_to=trait(page, "pad_to"))
    assert widget.share == pytest.approx(0.5, abs=0.005)
    rows = table(page, "The paper's figures, read backwards")
    assert [row[1] for row in rows] == ["5.11", "5.27", "5.19", "6.41"]
    assert [row[2] for row in rows] == [f"{value:.2f}" for value in widget.undone().values()]
    assert rows[1][3].startswith("+3.1 → +6.")
    said = page.get_by_role("status").filter(has_text="Padded to")
    said.wait_for(state="attached")


def test_sliders_move_by_keys(meter: Callable[..., Any]) -> None:
    page = meter()
    slider = page.get_by_role("slider", name="Padded to: common values")
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert trait(page, "pad_to") == 160
    assert slider.get_attribute("aria-valuetext") == "160 bytes"
    share = page.get_by_role("slider", name="Share of padding: common values")
    before = trait(page, "pad_to")
    share.focus()
    page.keyboard.press("ArrowRight")
    assert trait(page, "pad_to") > before
    page.keyboard.press("Home")
    assert trait(page, "pad_to") < before


def test_the_picture_says_what_is_cut(meter: Callable[..., Any]) -> None:
    page = meter(made(pad_to=64))
    picture = page.get_by_role("img", name="Paragraphs padded to 64 bytes")
    cut = sum(len(each) > 64 for each in PARAGRAPHS)
    assert f"{cut} of 6 paragraphs are cut" in picture.get_attribute("aria-label")
    assert page.locator(".para.cut").count() == cut


@pytest.mark.parametrize("width", [360, 1100])
def test_it_fits_and_passes_axe(
    meter: Callable[..., Any], axe: Callable[..., list[str]], width: int
) -> None:
    page = meter(made(pad_to=256), width=width, has_touch=True, is_mobile=width < 400)
    fits(page, width)
    in_both_themes(page, axe)
    small = page.locator(".pm .face, .pm input").evaluate_all(
        "nodes => nodes.map((n) => n.getBoundingClientRect()).filter((b) => b.height < 44).length"
    )
    assert small == 0
