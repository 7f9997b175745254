"""AttentionLookup in a real browser, on a page opened from ``file://`` as the book's are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qkvlib.widgets import AttentionLookup

from widget_pages import put, trait

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
HOST = ROOT / "book" / "_static" / "qkv-host.js"


@pytest.fixture
def lookup(widget_page: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Open a page with a lookup, and something below it."""
    monkeypatch.setenv("QKV_STATIC", "1")

    def open_page(widget: AttentionLookup | None = None, **options: Any) -> Any:
        below = '<p style="height: 900px">Below.</p>'
        return widget_page(widget or AttentionLookup(), after=below, **options)

    return open_page


def grip(page: Any, name: str) -> Any:
    return page.get_by_role("slider", name=name, exact=True)


def row(page: Any, name: str) -> list[str]:
    """The cells of a key's row: dot product, weight, value."""
    cells = page.get_by_role("row").filter(has_text=name).get_by_role("cell")
    return [text.strip() for text in cells.all_inner_texts()]


def answer(page: Any) -> str:
    text = page.locator(".answer").inner_text()
    assert isinstance(text, str)
    return text


def place_of(page: Any, x: float, y: float) -> tuple[float, float]:
    """Where a point of the plane lies on the page."""
    box = page.locator(".plane").bounding_box()
    size = 7.5
    return box["x"] + box["width"] * (0.5 + x / size), box["y"] + box["height"] * (0.5 - y / size)


def drag(page: Any, name: str, x: float, y: float) -> None:
    box = grip(page, name).bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(*place_of(page, x, y), steps=3)
    page.mouse.up()


def test_it_shows_what_python_computes(lookup: Callable[..., Any]) -> None:
    widget = AttentionLookup(query=[-1.0, 2.0], temperature=2.0)
    page = lookup(widget)
    assert not page.locator(".qkv-widget-fallback").is_visible()
    for label, weight, value in zip(widget.labels, widget.weights, widget.values, strict=True):
        _, shown, price = row(page, label)
        assert shown == f"{100 * weight:.1f} %".replace(".0 ", " ")
        assert price == f"{value:g} €"
        width = page.get_by_role("row").filter(has_text=label).locator(".track i")
        shown_width = width.evaluate("bar => parseFloat(bar.style.width)")
        assert shown_width == pytest.approx(100 * weight, rel=1e-4)
    number, unit = answer(page).split()
    assert (float(number), unit) == (pytest.approx(widget.mixed_value, abs=0.005), "€")
    assert page.get_by_text(f"{widget.effective_keys:.2f}", exact=True).is_visible()


def test_the_query_and_the_keys_are_dragged_by_mouse(lookup: Callable[..., Any]) -> None:
    page = lookup()
    before = answer(page)
    drag(page, "query", -2.0, 1.5)
    assert trait(page, "query") == [-2, 1.5]
    assert answer(page) != before
    assert float(row(page, "pickle")[1].split()[0]) > 50
    drag(page, "tonic", -3.0, 3.0)
    assert trait(page, "key_points")[4] == [-3, 3]
    assert row(page, "tonic")[0] == "10.5"
    drag(page, "query", 9, 9)
    assert trait(page, "query") == [3.5, 3.5], "it stays within reach"
    page.mouse.click(*place_of(page, 1, -2))
    assert trait(page, "query") == [1, -2]


def test_by_keyboard_alone(lookup: Callable[..., Any]) -> None:
    page = lookup()
    page.evaluate("document.addEventListener('keydown', () => { window.heard = true })")
    for _ in range(6):
        page.keyboard.press("Tab")
    page.evaluate("window.heard = null")  # the first came from outside
    query = grip(page, "query")
    assert query.evaluate("node => node.matches(':focus-visible')")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Shift+ArrowLeft")
    assert trait(page, "query") == [0.4, 2.1]
    assert query.get_attribute("aria-valuetext").startswith("sweet 0.4, sour 2.1; most weight on l")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("ArrowDown")
    assert trait(page, "key_points")[4] == [-2.4, -0.4]
    assert page.evaluate("[scrollY, window.heard]") == [0, None]
    said = page.get_by_role("status").filter(has_text="Most weight on lemon")
    said.wait_for(state="attached")


def test_the_questions_it_offers(lookup: Callable[..., Any]) -> None:
    page = lookup()
    page.get_by_role("button", name="exact hit").click()
    assert trait(page, "query") == [2.7, 0.7]
    assert row(page, "honey")[1] > "80"
    assert page.get_by_role("button", name="exact hit").get_attribute("aria-pressed") == "true"
    page.get_by_role("button", name="between two").click()
    lead, next_to_it = sorted(
        (float(row(page, name)[1].split()[-2]) for name in AttentionLookup().labels), reverse=True
    )[:2]
    assert lead - next_to_it < 1.5 < next_to_it
    page.get_by_role("button", name="nothing fits").click()
    products = [row(page, name)[0] for name in AttentionLookup().labels]
    assert all(product.startswith("−") for product in products)


def test_head_dim_matters_only_without_the_scale(lookup: Callable[..., Any]) -> None:
    page = lookup()
    width = page.get_by_role("spinbutton", name="head_dim")
    before = answer(page)
    width.fill("64")
    assert (answer(page), trait(page, "head_dim")) == (before, 64)
    page.get_by_role("radio", name="none").check()
    assert row(page, "lemon")[1] == "98.1 %"
    stuck = page.locator(".stat.warn")
    assert stuck.inner_text().startswith("4.6 %")
    assert page.get_by_text("4.8 × √(64 ÷ 2) = 27.2").is_visible()
    page.get_by_role("spinbutton", name="Temperature").fill("100")
    assert stuck.count() == 0
    width.fill("1")
    assert page.get_by_text("A whole number from 2 to 65,536, please.").is_visible()
    assert trait(page, "head_dim") == 64


def test_the_value_may_be_the_key(lookup: Callable[..., Any]) -> None:
    page = lookup()
    assert page.locator(".hull").count() == 0
    page.get_by_role("radio", name="itself").check()
    assert page.locator(".hull").count() == 1
    x, y = AttentionLookup().mixed_key
    assert answer(page) == f"({x:.2f}, {y:.2f})"
    assert page.locator(".swatch").is_hidden()
    assert row(page, "lemon")[2] == "its key"


def test_other_keys_in_other_numbers(lookup: Callable[..., Any]) -> None:
    page = lookup()
    put(page, key_points=[[1, 1], [-1, -1]], labels=["up", "down"], values=[1, -1], unit="")
    assert page.get_by_role("slider", name="up").count() == 1
    assert grip(page, "lemon").count() == 0
    assert page.locator(".lookup tbody tr").count() == 2
    assert row(page, "down")[2] == "−1"


@pytest.mark.parametrize(("width", "dark"), [(360, True), (1000, False)])
def test_it_fits_and_passes_axe(
    lookup: Callable[..., Any], axe: Callable[..., list[str]], width: int, dark: bool
) -> None:
    widget = AttentionLookup(head_dim=4096, scaled=False, value_is_key=not dark)
    page = lookup(widget, width=width, dark=dark)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wide = page.locator(".lookup .inner *:not(.quiet)").evaluate_all(
        "nodes => nodes.filter((n) => !n.closest('svg')"
        " && n.getBoundingClientRect().right > innerWidth + 0.5).map((n) => n.outerHTML)"
    )
    assert wide == []
    theme = "dark" if dark else "light"
    page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
    page.wait_for_selector(f".lookup[data-theme={theme}]")
    assert axe(page, ".qkv-widget") == []


def test_fingers_drag_the_query_and_scroll_the_page(lookup: Callable[..., Any]) -> None:
    page = lookup(width=360, height=700, has_touch=True, is_mobile=True)
    small = page.locator(".lookup :is(input, button, .grip)").evaluate_all(
        "nodes => nodes.map((n) => n.getBoundingClientRect())"
        ".filter((box) => box.width < 44 || box.height < 44).length"
    )
    assert small == 0
    touch = page.context.new_cdp_session(page)

    def finger(kind: str, *points: tuple[float, float]) -> None:
        spots = [{"x": x, "y": y} for x, y in points]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": spots})

    finger("touchStart", place_of(page, 1, 2))
    for x in (0.5, 0, -1, -2):
        finger("touchMove", place_of(page, x, 1))
    finger("touchEnd")
    assert trait(page, "query") == [-2, 1]
    assert page.evaluate("scrollY") == 0
    before = trait(page, "query")
    x, y = place_of(page, 2, -2)
    finger("touchStart", (x, y))
    for step in range(1, 12):
        finger("touchMove", (x, y - 12 * step))
        page.wait_for_timeout(16)
    finger("touchEnd")
    page.wait_for_function("scrollY > 50")
    assert trait(page, "query") == before
