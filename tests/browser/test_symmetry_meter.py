"""SymmetryMeter in a real browser, on a page opened from ``file://`` as the book's are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qkvlib.widgets import SymmetryMeter

from widget_pages import fits, in_both_themes, trait

pytestmark = pytest.mark.browser

HOST = Path(__file__).parents[2] / "book" / "_static" / "qkv-host.js"


@pytest.fixture
def meter(widget_page: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Open a page with a meter; what the console says fails the test."""
    monkeypatch.setenv("QKV_STATIC", "1")

    def listen(page: Any) -> None:
        page.on("console", lambda message: pytest.fail(f"console: {message.text}"))

    def open_page(state: dict[str, Any] | None = None, **options: Any) -> Any:
        return widget_page(SymmetryMeter(**(state or {})), listen=listen, **options)

    return open_page


def wishes(page: Any) -> list[str]:
    found: list[str] = page.locator(".task li").all_inner_texts()
    return [" ".join(text.split()) for text in found]


def cells(page: Any, title: str) -> list[float]:
    table = page.get_by_role("table", name=title)
    return [float(x.replace("−", "-")) for x in table.locator("td.cell").all_inner_texts()]


def meters(page: Any) -> list[float]:
    return [float(x) for x in page.locator(".meter output").all_inner_texts()]


def drag(page: Any, name: str, x: float, y: float) -> None:
    """Drag a point to a place of the plane, in its own units."""
    box = page.locator(".plane").bounding_box()
    grip = page.get_by_role("slider", name=name, exact=True).bounding_box()
    page.mouse.move(grip["x"] + grip["width"] / 2, grip["y"] + grip["height"] / 2)
    page.mouse.down()
    to_x = box["x"] + box["width"] * (0.5 + x / 6.6)
    to_y = box["y"] + box["height"] * (0.5 - y / 6.6)
    page.mouse.move(to_x, to_y, steps=5)
    page.mouse.up()


def test_one_wish_by_dragging_a_key_and_never_both(meter: Callable[..., Any]) -> None:
    page = meter()
    assert not page.locator(".qkv-widget-fallback").is_visible()
    assert cells(page, "Scores") == pytest.approx(
        [score for row in SymmetryMeter().scores for score in row], abs=0.0051
    )
    assert [text[0] for text in wishes(page)] == ["○", "○"]
    assert page.get_by_text("never both. One wish can be had").is_visible()
    assert page.get_by_role("slider", name="query of A").count() == 0
    drag(page, "key of B", 2.9, 1.1)
    x, y = trait(page, "key_points")[1]
    assert (x, y) == pytest.approx((2.9, 1.1), abs=0.06)
    assert wishes(page)[0].startswith("✓ A prefers B (yes)")
    assert wishes(page)[1].startswith("○ B prefers A (not yet)")
    assert page.get_by_text("A prefers B: the key of B is longer").is_visible()
    assert meters(page) == [0.0, 0.0, 0.0]
    assert page.get_by_text("nothing flows").is_visible()
    page.get_by_role("button", name="Start again").click()
    assert trait(page, "key_points") == SymmetryMeter().key_points


def test_queries_of_their_own_grant_both_and_flow(meter: Callable[..., Any]) -> None:
    page = meter()
    page.get_by_role("radio", name="QKV (Q, K, V)").check(force=True)
    assert meters(page)[2] > 1
    drag(page, "query of A", 0.5, 2.6)
    drag(page, "query of B", 2.6, 0.4)
    assert [text[0] for text in wishes(page)] == ["✓", "✓"]
    assert page.get_by_text("Both at once").is_visible()
    assert page.get_by_text("times as likely as backwards").is_visible()


def test_the_row_term_moves_scores_and_not_weights(meter: Callable[..., Any]) -> None:
    page = meter({"variant": "(Q=K-V)+"})
    scores, weights = cells(page, "Scores"), cells(page, "Weights")
    page.get_by_label("Row term").fill("3")
    assert cells(page, "Scores")[0] == pytest.approx(scores[0] - 3, abs=0.011)
    assert cells(page, "Weights") == weights
    asymmetry, pull, flow = meters(page)
    assert asymmetry == pull > 0.3
    assert flow == 0
    page.get_by_label("Column term").fill("3")
    assert cells(page, "Weights") != weights
    assert meters(page)[2] == 0
    page.get_by_label("Gain").fill("-2")
    drag(page, "key of B", -1.8, -0.6)
    page.get_by_label("Column term").fill("0")
    assert [text[0] for text in wishes(page)] == ["✓", "✓"]
    assert page.get_by_text("Both, because the gain is below zero").is_visible()


def test_keyboard_moves_what_is_in_focus_and_is_heard(meter: Callable[..., Any]) -> None:
    page = meter()
    page.evaluate("document.addEventListener('keydown', () => { window.heard = true })")
    key = page.get_by_role("slider", name="key of A")
    assert "1.70 across, 0.60 up; looks most at A" in key.get_attribute("aria-valuetext")
    key.focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Shift+ArrowLeft")
    assert trait(page, "key_points")[0] == [1.2, 0.7]
    for _ in range(20):
        page.keyboard.press("Shift+ArrowRight")
    assert trait(page, "key_points")[0] == [3.0, 0.7], "the plane ends there"
    assert page.evaluate("window.heard") is None
    assert page.evaluate("scrollY") == 0
    said = page.get_by_role("status").filter(has_text="B prefers A. Asymmetry 0.00")
    said.wait_for(state="attached")


@pytest.mark.parametrize(("width", "variant"), [(360, "(Q=K-V)+"), (1000, "QKV")])
def test_it_fits_and_passes_axe(
    meter: Callable[..., Any], axe: Callable[..., list[str]], width: int, variant: str
) -> None:
    six = [[1.7, 0.6], [0.7, 1.5], [-1.4, 0.9], [0.3, -1.6], [2.5, -2.0], [-2.4, -1.5]]
    page = meter({"variant": variant, "key_points": six}, width=width)
    fits(page, width)
    in_both_themes(page, axe)


def test_fingers_drag_and_targets_are_large(meter: Callable[..., Any]) -> None:
    page = meter({"variant": "(Q=K-V)+"}, width=360, has_touch=True, is_mobile=True)
    small = page.locator(".grip:visible, .symmetry input:visible, .symmetry button").evaluate_all(
        "nodes => nodes.map((n) => n.getBoundingClientRect())"
        ".filter((box) => box.width < 44 || box.height < 44).length"
    )
    assert small == 0
    grip = page.get_by_role("slider", name="key of C")
    grip.scroll_into_view_if_needed()
    box = grip.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    touch = page.context.new_cdp_session(page)
    for kind, at in (("touchStart", 0), ("touchMove", 20), ("touchMove", 40), ("touchEnd", None)):
        points = [] if at is None else [{"x": x + at, "y": y}]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    assert trait(page, "key_points")[2][0] > -1.0


def test_without_scripts_the_maps_are_there(meter: Callable[..., Any], new_page: Any) -> None:
    url = meter().url
    page = new_page(java_script_enabled=False)
    page.goto(url)
    assert page.get_by_role("table").count() == 2
    assert page.get_by_text("Every round trip is as likely as the same backwards.").is_visible()
