"""DecodeRoofline in a real browser, on a page opened from ``file://`` as the book's are."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from qkvlib import Machine
from qkvlib.widgets import DecodeRoofline

from widget_pages import fits, in_both_themes, put, trait

pytestmark = pytest.mark.browser

SLOW = Machine("a slow one", bandwidth=10e9, peak=20e9, memory=2e9)


@pytest.fixture
def roof(widget_page: Callable[..., Any]) -> Callable[..., Any]:
    """Open a page with the widget and wait until it lives."""

    def open_page(widget: DecodeRoofline | None = None, **options: Any) -> Any:
        return widget_page(widget or DecodeRoofline(machine=SLOW), **options)

    return open_page


def choose(page: Any, legend: str, option: str) -> None:
    group = page.get_by_role("group", name=re.compile(f"^{legend}"))
    group.get_by_role("radio", name=re.compile(rf"^{re.escape(option)}( |$)")).first.check(
        force=True
    )


def headline(page: Any) -> str:
    return str(page.locator(".headline").inner_text())


def place(page: Any, what: str) -> float:
    """Where a mark stands on the plot, in pixels from the left."""
    return float(page.locator(f".plot .{what}").first.bounding_box()["x"])


def test_half_of_the_cache_fits_where_all_of_it_does_not(roof: Callable[..., Any]) -> None:
    page = roof()
    assert not page.locator(".qkv-widget-fallback").is_visible()
    assert "122 ms" in headline(page)
    assert "waits for bytes" in headline(page)
    assert "326 MB too much" in page.locator(".fit").inner_text()
    left = place(page, "mark")
    choose(page, "Sharing", "Q-K=V")
    assert trait(page, "sharing") == "Q-K=V"
    assert "76 ms" in headline(page)
    assert "Room for 63,963 tokens" in page.locator(".fit").inner_text()
    assert place(page, "mark") > left, "fewer bytes, as many multiplications"
    lit = page.locator("tr.lit")
    assert lit.count() == 1
    assert lit.inner_text().split() == ["Q-K=V", "(Q,", "K=V)", "63,963", "13.2"]


def test_a_batch_shares_weights_and_moves_to_the_other_limit(roof: Callable[..., Any]) -> None:
    page = roof(DecodeRoofline(machine=SLOW, model="300M", tokens=16, device="this"))
    assert "waits for bytes" in headline(page)
    assert "a slow one" in page.locator(".panel.wide .label").inner_text()
    box = page.get_by_label("Users", exact=True)
    box.fill("64")
    assert trait(page, "batch_size") == 64
    assert "waits for arithmetic" in headline(page)
    assert "for each user" in headline(page)
    assert "in all" in headline(page)
    assert "64 caches" in page.locator(".parts").inner_text()
    said = page.get_by_role("status").filter(has_text="waiting for arithmetic")
    said.wait_for(state="attached")


def test_rules_of_sharing_hold_and_can_be_left(roof: Callable[..., Any]) -> None:
    page = roof()
    choose(page, "KV heads", "8")
    assert trait(page, "n_kv_heads") == 8
    tied = page.get_by_role("radio", name=re.compile(r"^Q=K=V "))
    assert tied.is_disabled()
    assert page.get_by_text("need all 32 KV heads").is_visible()
    choose(page, "Model", "300M")
    assert (trait(page, "model"), trait(page, "n_kv_heads")) == ("300M", 8)
    choose(page, "KV heads", "16")
    assert tied.is_enabled()
    tied.check(force=True)
    assert page.get_by_text("so all 16 stay").is_visible()
    put(page, n_kv_heads=3)
    page.get_by_role("alert").filter(has_text="Choose from 1, 2, 4, 8, 16").wait_for()
    assert not page.locator(".headline").is_visible()
    choose(page, "KV heads", "16")
    assert page.locator(".headline").is_visible()


def test_the_keyboard_is_enough(roof: Callable[..., Any]) -> None:
    page = roof()
    page.get_by_role("slider", name="Context: common values").focus()
    page.keyboard.press("ArrowLeft")
    assert trait(page, "tokens") == 16_384
    page.get_by_role("radio", name=re.compile("^a phone")).focus()
    page.keyboard.press("ArrowRight")
    assert trait(page, "device") == "laptop"
    assert "LPDDR5X, 128 bits / 8" in page.locator(".spec").inner_text()


@pytest.mark.parametrize("width", [360, 1100])
def test_it_fits_and_passes_axe(
    roof: Callable[..., Any], axe: Callable[..., list[str]], width: int
) -> None:
    widget = DecodeRoofline(machine=SLOW, sharing="Q-K=V", n_kv_heads=4, batch_size=16)
    page = roof(widget, width=width, has_touch=True, is_mobile=width < 400)
    fits(page, width)
    in_both_themes(page, axe)
    small = page.locator(".roof .face, .roof input[type=number]").evaluate_all(
        "nodes => nodes.map((n) => n.getBoundingClientRect()).filter((b) => b.height < 44).length"
    )
    assert small == 0
    assert page.locator(".dock").is_visible() == (width < 400)
