"""KeyHull in a real browser, on a page opened from ``file://`` as the book's are."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qkvlib.widgets import KeyHull
from qkvlib.widgets.key_hull import NEAR

from widget_pages import fits, in_both_themes, trait

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
HOST = ROOT / "book" / "_static" / "qkv-host.js"


@pytest.fixture
def hull(widget_page: Callable[..., Any]) -> Callable[..., Any]:
    """Open a page with the widget given, or a plain one."""

    def open_page(widget: KeyHull | None = None, **options: Any) -> Any:
        return widget_page(widget or KeyHull(), **options)

    return open_page


def python(page: Any) -> KeyHull:
    """The widget in Python that has the page's state."""
    names = ("sharing", "key_points", "value_points", "query", "target")
    return KeyHull(**{name: trait(page, name) for name in names})


def point(page: Any, name: str) -> Any:
    return page.get_by_role("button", name=re.compile(rf"^{name} at "))


def verdict(page: Any) -> str:
    return str(page.locator(".verdict").inner_text())


def place(page: Any, x: float, y: float) -> tuple[float, float]:
    """Where a point of the plane is on the screen."""
    box = page.locator(".plane").bounding_box()
    at = [0.5 + x / 8.9, 0.5 - y / 8.9]
    return box["x"] + at[0] * box["width"], box["y"] + at[1] * box["height"]


def drag(page: Any, name: str, x: float, y: float) -> None:
    box = point(page, name).bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(*place(page, x, y), steps=3)
    page.mouse.up()


def sharing(page: Any, name: str) -> Any:
    group = page.get_by_role("group", name="Sharing")
    return group.get_by_role("radio", name=re.compile(rf"^{re.escape(name)}\W"))


def test_the_walls_hold_under_one_sharing_and_not_under_the_other(hull: Callable[..., Any]) -> None:
    page = hull()
    assert not page.locator(".qkv-widget-fallback").is_visible()
    for x, y in ((0.6, -2.7), (4.0, -4.0), (-3.9, 0.0)):
        drag(page, "Query", x, y)
        assert trait(page, "query") == pytest.approx([x, y], abs=0.05)
        assert "inside the hull of the keys" in verdict(page)
        shown = re.search(r"Output \((\S+), (\S+)\)", verdict(page))
        assert shown is not None
        read = [float(text.replace("−", "-")) for text in shown.groups()]
        assert read == pytest.approx(python(page).output, abs=0.006)
    assert "no query reaches it" in verdict(page)
    assert point(page, "Value 1").count() == 0

    sharing(page, "QKV").check(force=True)
    drag(page, "Query", 1.0, -4.0)
    drag(page, "Value 4", 0.6, -2.7)
    assert trait(page, "value_points")[3] == pytest.approx([0.6, -2.7], abs=0.05)
    assert python(page).distances["output_star"] < NEAR
    assert "outside the hull of the keys" in verdict(page)
    assert "The output is on the star." in verdict(page)


def test_keyboard_alone(hull: Callable[..., Any]) -> None:
    page = hull()
    query = point(page, "Query")
    query.focus()
    outline = query.evaluate("node => getComputedStyle(node).outlineStyle")
    assert outline == "solid"
    x, y = trait(page, "query")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowUp")
    assert trait(page, "query") == pytest.approx([x + 0.1, y + 0.5])
    for _ in range(20):
        page.keyboard.press("Shift+ArrowUp")
    assert trait(page, "query")[1] == 4, "a point stays within reach"
    assert query.get_attribute("aria-label") == f"Query at ({x + 0.1:.2f}, 4.00)".replace("-", "−")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowLeft")
    assert trait(page, "key_points")[0] == pytest.approx([-2.7, -1.2])
    assert page.evaluate("scrollY") == 0
    said = page.get_by_role("status").filter(has_text="inside the hull of the keys")
    said.wait_for(state="attached")


def test_a_level_query_does_not_hear_the_payload(hull: Callable[..., Any]) -> None:
    page = hull()
    page.get_by_role("button", name="Address across").click()
    before = page.locator(".bars").get_attribute("aria-label")
    assert "no query reaches it" in verdict(page)
    point(page, "Key and value 4").focus()
    for key in ["Shift+ArrowUp"] * 6 + ["ArrowUp"]:
        page.keyboard.press(key)
    assert trait(page, "key_points")[3] == pytest.approx([3.0, 1.9])
    assert page.locator(".bars").get_attribute("aria-label") == before
    assert "The output is on the star." in verdict(page)
    assert page.get_by_role("button", name="Address across").get_attribute("aria-pressed") == "true"


def test_coordinates_can_be_typed_and_keys_added(hull: Callable[..., Any]) -> None:
    page = hull()
    page.get_by_text("Coordinates and weights").click()
    page.get_by_label("Key and value 2, x").fill("-3.5")
    page.get_by_label("Query, y").fill("9")  # out of reach: nothing happens, and it comes back
    page.get_by_label("Query, y").blur()
    assert trait(page, "key_points")[1] == [-3.5, 2.3]
    assert page.get_by_label("Query, y").input_value() == str(trait(page, "query")[1])
    page.get_by_role("group", name="How many keys").get_by_role("radio", name="6").check(force=True)
    assert len(trait(page, "key_points")) == len(trait(page, "value_points")) == 6
    assert point(page, "Key and value 6").is_visible()
    assert page.locator("details tbody tr").count() == 8
    weights = python(page).weights
    assert page.locator(".share").all_inner_texts() == [
        f"{100 * weight:.1f}".removesuffix(".0") + " %" for weight in weights
    ]


@pytest.mark.parametrize("width", [360, 1100])
def test_it_fits_and_passes_axe(
    hull: Callable[..., Any], axe: Callable[..., list[str]], width: int
) -> None:
    page = hull(KeyHull(sharing="QKV"), width=width, has_touch=True, is_mobile=width < 400)
    page.get_by_text("Coordinates and weights").click()
    fits(page, width)
    in_both_themes(page, axe)
    small = page.locator(".hull button, .hull summary, .hull input[type=number]").evaluate_all(
        "nodes => nodes.map((n) => n.getBoundingClientRect()).filter((b) => b.height < 44).length"
    )
    assert small == 0


def test_a_finger_moves_a_point(hull: Callable[..., Any]) -> None:
    page = hull(width=360, has_touch=True, is_mobile=True)
    handle = point(page, "Star")
    handle.scroll_into_view_if_needed()
    box = handle.bounding_box()
    touch = page.context.new_cdp_session(page)
    before = page.evaluate("scrollY")

    def finger(kind: str, *points: tuple[float, float]) -> None:
        spots = [{"x": x, "y": y} for x, y in points]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": spots})

    finger("touchStart", (box["x"] + 22, box["y"] + 22))
    for x, y in ((0.0, -1.0), (-1.0, 0.5)):
        finger("touchMove", place(page, x, y))
    finger("touchEnd")
    assert trait(page, "target") == pytest.approx([-1.0, 0.5], abs=0.05)
    assert "a query can reach it" in verdict(page)
    assert page.evaluate("scrollY") == before, "the page stays where it is"
