"""CurveSketch in a real browser, on a page opened from ``file://`` as the book's are."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from qkvlib import Interval
from qkvlib.widgets import CurveSketch, MeasuredCurve

from widget_pages import fits, in_both_themes, put, trait

pytestmark = pytest.mark.browser


def _curve(name: str, axis: str, means: list[float]) -> MeasuredCurve:
    sizes = [10**6 * 2**i for i in range(len(means))]
    return MeasuredCurve(
        name,
        axis,
        x=sizes,
        x_text=[f"{size // 10**6}M" for size in sizes],
        y=[Interval(mean, mean - 0.5, mean + 0.5, 3, 0.95) for mean in means],
        trend=Interval(-1.0, -1.2, -0.8, 3, 0.95),
    )


@pytest.fixture
def page(widget_page: Callable[..., Any]) -> Callable[..., Any]:
    """Open a page with the widget; arguments are the browser's."""
    curves = [
        _curve("MQA", "tokens", [8.0, 7.0, 6.0, 5.0, 4.0]),
        _curve("MQA", "width", [3.0, 2.0, 1.0]),
        _curve("Q-K=V", "tokens", [9.0, 8.0, 7.0, 6.0, 5.0]),
    ]
    widget = CurveSketch(curves, unit="loss above QKV (%)")
    return functools.partial(widget_page, widget)


def reveal(page: Any) -> Any:
    return page.get_by_role("button", name="Show what was measured")


def test_a_stroke_draws_and_only_then_the_measurement_can_be_seen(page: Callable[..., Any]) -> None:
    opened = page()
    assert reveal(opened).is_disabled()
    assert opened.locator(".real").count() == 0
    box = opened.locator(".board").bounding_box()
    opened.mouse.move(box["x"] + 4, box["y"] + 40)
    opened.mouse.down()
    opened.mouse.move(box["x"] + box["width"] - 4, box["y"] + 200, steps=3)
    opened.mouse.up()
    line = trait(opened, "drawn")["MQA over tokens"]
    assert len(line) == 5
    assert line == sorted(line, reverse=True)
    assert len(set(line)) == 5, "a fast stroke passes every point"
    assert opened.get_by_text("Your line: it shrinks").is_visible()
    reveal(opened).click()
    assert opened.locator(".real").count() == 1
    assert opened.locator(".spot").count() == 5
    assert opened.get_by_text("Measured: it shrinks, −1 with each doubling").is_visible()
    opened.get_by_role("status").filter(has_text="You are off by").wait_for(state="attached")


def test_keys_draw_too_and_drawing_again_hides_the_answer(page: Callable[..., Any]) -> None:
    opened = page()
    second = opened.get_by_role("slider", name="Guess at 2M")
    assert second.get_attribute("aria-valuetext") == "not drawn yet"
    second.focus()
    opened.keyboard.press("ArrowUp")
    line = trait(opened, "drawn")["MQA over tokens"]
    assert len(set(line)) == 1
    opened.keyboard.press("ArrowRight")
    opened.keyboard.press("Home")
    after = trait(opened, "drawn")["MQA over tokens"]
    assert after[:2] + after[3:] == line[:2] + line[3:]
    assert after[2] < 0
    bold = "(button) => getComputedStyle(button).backgroundColor"
    ready = reveal(opened).evaluate(bold)
    reveal(opened).focus()
    opened.keyboard.press("Enter")
    opened.wait_for_function(
        "document.querySelector('.qkv-widget').qkvModel.get('revealed').length === 1"
    )
    assert trait(opened, "revealed") == ["MQA over tokens"]
    assert reveal(opened).get_attribute("aria-disabled") == "true"
    assert reveal(opened).evaluate(bold) != ready, "it looks as if it had nothing to do"
    assert reveal(opened).evaluate("(button) => button.matches(':focus')"), "and is not left"
    opened.get_by_role("button", name="Draw again").click()
    assert trait(opened, "revealed") == []
    assert trait(opened, "drawn") == {}
    assert opened.locator(".real").count() == 0


def test_each_curve_has_its_own_line(page: Callable[..., Any]) -> None:
    opened = page()
    opened.get_by_role("slider", name="Guess at 1M").focus()
    opened.keyboard.press("PageUp")
    opened.get_by_role("radio", name="width").check(force=True)
    assert opened.get_by_role("slider").count() == 3
    assert reveal(opened).is_disabled()
    # There is no Q-K=V over width: the choice goes back to tokens, and that is said.
    opened.get_by_role("radio", name="Q-K=V").check(force=True)
    assert trait(opened, "axis_shown") == "tokens"
    assert opened.get_by_role("radio", name="width").is_disabled()
    put(opened, name_shown="MQA")
    opened.wait_for_function("document.querySelector('.qkv-widget').qkvModel.get('drawn')")
    assert list(trait(opened, "drawn")) == ["MQA over tokens"]
    assert not reveal(opened).is_disabled()


@pytest.mark.parametrize("width", [360, 1100])
def test_it_fits_and_passes_axe(
    page: Callable[..., Any], axe: Callable[..., list[str]], width: int
) -> None:
    opened = page(width=width, has_touch=True, is_mobile=width < 400)
    fits(opened, width)
    opened.get_by_role("slider", name="Guess at 4M").focus()
    opened.keyboard.press("ArrowDown")
    reveal(opened).click()
    in_both_themes(opened, axe)
    small = opened.locator(".cs button, .cs .face").evaluate_all(
        "nodes => nodes.map((n) => n.getBoundingClientRect()).filter((b) => b.height < 44).length"
    )
    assert small == 0
