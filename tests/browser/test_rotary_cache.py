"""RotaryCache in a real browser, on a page opened from ``file://`` as the book's are."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from qkvlib.widgets import RotaryCache

from widget_pages import fits, in_both_themes, put, trait

pytestmark = pytest.mark.browser


@pytest.fixture
def rotary(widget_page: Callable[..., Any]) -> Callable[..., Any]:
    """Open a page with the widget and wait until it lives."""

    def open_page(widget: RotaryCache | None = None, **options: Any) -> Any:
        return widget_page(widget or RotaryCache(), **options)

    return open_page


def text(page: Any) -> Any:
    return page.get_by_role("slider", name="Position of the first token")


def asks(page: Any) -> Any:
    return page.get_by_role("slider", name="How far behind the text")


def scheme(page: Any, title: str) -> Any:
    group = page.get_by_role("group", name=re.compile("^What becomes of the values"))
    return group.get_by_role("radio", name=re.compile(rf"^{title}"))


def marks(page: Any) -> list[str]:
    return [str(each) for each in page.locator(".mark").all_inner_texts()]


def verdict(page: Any) -> str:
    return str(page.locator(".verdict").inner_text())


def faces(page: Any, row: int) -> list[str]:
    """What a row of clock faces shows: how far its hands are turned."""
    hands = page.locator(".row").nth(row).locator(".cells:not([hidden]) .dial g.turns")
    return [
        str(each) for each in hands.evaluate_all("nodes => nodes.map((n) => n.style.transform)")
    ]


def test_three_outputs_stay_and_one_does_not(rotary: Callable[..., Any]) -> None:
    page = rotary()
    assert not page.locator(".qkv-widget-fallback").is_visible()
    assert marks(page) == ["at position 0"] * 4
    weights = page.locator(".bar").all_inner_texts()
    text(page).focus()
    for _ in range(7):
        page.keyboard.press("ArrowRight")
    assert trait(page, "start") == 7
    moved = RotaryCache(start=7).reading().moved
    assert marks(page) == [f"✗ moved by {moved:.2f}", *["✓ stays"] * 3]
    assert f"moved by {moved:.2f}" in verdict(page)
    assert page.locator(".bar").all_inner_texts() == weights
    for title in ("rotate on read", "relative values", "two tensors"):
        scheme(page, title).check(force=True)
        assert "Only distances count" in verdict(page)
    page.get_by_role("button", name="Back to 0").click()
    assert trait(page, "start") == 0


def test_what_is_kept_stands_still_or_turns(rotary: Callable[..., Any]) -> None:
    page = rotary(RotaryCache(scheme="rotate_on_read"))
    kept, compared = faces(page, 1), faces(page, 2)
    text(page).focus()
    page.keyboard.press("End")
    assert trait(page, "start") == 25
    assert faces(page, 1) == kept, "plain keys know no position"
    assert faces(page, 2) != compared
    assert page.locator(".row.now").count() == 1
    assert "all 5 keys held" in page.locator(".store").inner_text()
    scheme(page, "relative values").check(force=True)
    assert faces(page, 1) == faces(page, 2) == faces(page, 4) != kept
    assert page.locator(".row.now").count() == 0
    assert page.get_by_text("output: turned back by 31").is_visible()
    scheme(page, "two tensors").check(force=True)
    assert len(faces(page, 1)) == 2 * len(kept)
    page.get_by_role("radio", name="the first", exact=True).check(force=True)
    assert "6 numbers, 12 bytes" in page.locator(".store").inner_text()
    assert page.locator(".slots .full").count() == 6


def test_text_and_query_can_be_dragged(rotary: Callable[..., Any]) -> None:
    page = rotary(RotaryCache(scheme="relative_values"))

    def drag(grip: Any, positions: float) -> None:
        box = grip.bounding_box()
        step = page.locator(".ruler").bounding_box()["width"] / 32
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + positions * step, y, steps=4)
        page.mouse.up()

    before = page.locator(".bar").all_inner_texts()
    drag(text(page), 6)
    assert trait(page, "start") == 6
    assert page.locator(".bar").all_inner_texts() == before
    drag(asks(page), 5)
    assert (trait(page, "start"), trait(page, "ahead")) == (6, 7)
    assert page.locator(".bar").all_inner_texts() != before
    drag(asks(page), -40)
    assert trait(page, "ahead") == 1
    assert asks(page).get_attribute("aria-valuetext") == "query at position 11, 1 behind the text"
    said = page.get_by_role("status").filter(has_text="relative values, text at position 6")
    said.wait_for(state="attached")


def test_the_text_moves_by_itself_and_stops(rotary: Callable[..., Any]) -> None:
    page = rotary(RotaryCache(start=22))
    page.get_by_role("button", name="Move along").click()
    page.wait_for_function("document.querySelector('.qkv-widget').qkvModel.get('start') === 25")
    page.get_by_role("button", name="Move along").wait_for()
    page.get_by_role("button", name="Move along").click()
    assert trait(page, "start") == 0
    page.get_by_role("button", name="Stop").click()
    assert page.get_by_role("button", name="Move along").is_visible()


def test_python_may_give_it_another_text(rotary: Callable[..., Any]) -> None:
    page = rotary()
    hands = trait(page, "key_hands")
    for keys in (hands[:3], [*hands, *hands[:3]]):
        letters = [chr(ord("P") + i) for i in range(len(keys))]
        put(page, key_hands=keys, words=letters)
        page.wait_for_function(
            "(n) => document.querySelector('.qkv-widget [data-lm-suppress-shortcuts]')"
            ".shadowRoot.querySelectorAll('.bar').length === n",
            arg=len(keys),
        )
        assert (
            page.locator(".name").evaluate_all("(all) => all.map((n) => n.firstChild.data)")
            == letters
        )
        assert (
            text(page).get_attribute("aria-valuetext") == f"text at positions 0 to {len(keys) - 1}"
        )


@pytest.mark.parametrize("width", [360, 1100])
def test_it_fits_and_passes_axe(
    rotary: Callable[..., Any], axe: Callable[..., list[str]], width: int
) -> None:
    widget = RotaryCache(scheme="two_tensors", start=9)
    page = rotary(widget, width=width, has_touch=True, is_mobile=width < 400)
    fits(page, width)
    in_both_themes(page, axe)
    small = page.locator(".rc button, .rc .grip, .rc .face").evaluate_all(
        "nodes => nodes.map((n) => n.getBoundingClientRect()).filter((b) => b.height < 44).length"
    )
    assert small == 0
