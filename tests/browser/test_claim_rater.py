"""ClaimRater in a real browser, on a page opened from ``file://`` as the book's are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qkvlib import paper_claims
from qkvlib.widgets import ClaimRater

from widget_pages import fits, in_both_themes

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
HOST = ROOT / "book" / "_static" / "qkv-host.js"
CLAIMS = paper_claims()
IDS = [claim.id for claim in CLAIMS]
KEY = "qkvlib/00-claims"

NO_STORE = """Object.defineProperty(window, "localStorage", {
    get() { throw new DOMException("denied", "SecurityError") } });"""
FULL_STORE = """Storage.prototype.setItem = function () {
    throw new DOMException("full", "QuotaExceededError") };"""


def wait(page: Any) -> Any:
    page.wait_for_selector(".qkv-widget[data-state]")
    assert page.locator(".qkv-widget").get_attribute("data-state") == "live"
    return page


@pytest.fixture
def rater(
    widget_page: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """Open a page with a rater; ``before`` is a script that runs first."""
    monkeypatch.setenv("QKV_CACHE_DIR", str(tmp_path / "journal"))
    return lambda **options: widget_page(ClaimRater(), **options)


def ratings(page: Any) -> dict[str, int]:
    found = page.evaluate("document.querySelector('.qkv-widget').qkvModel.get('ratings')")
    assert isinstance(found, dict)
    return found


def stored(page: Any) -> str | None:
    text = page.evaluate("key => localStorage.getItem(key)", KEY)
    assert text is None or isinstance(text, str)
    return text


def slider(page: Any, index: int) -> Any:
    return page.get_by_role("slider").nth(index)


def value(page: Any, index: int) -> str:
    text = page.locator(".value").nth(index).inner_text()
    assert isinstance(text, str)
    return text


def count(page: Any) -> str:
    text = page.locator(".count").inner_text()
    assert isinstance(text, str)
    return text


def click(page: Any, index: int, share: float) -> None:
    """Click on the scale where the middle of the thumb stands for ``share`` of it."""
    slider(page, index).scroll_into_view_if_needed()
    box = slider(page, index).bounding_box()
    thumb = 24
    x = box["x"] + thumb / 2 + share * (box["width"] - thumb)
    page.mouse.click(x, box["y"] + box["height"] / 2)


def test_every_claim_has_a_card_and_nothing_is_rated(rater: Callable[..., Any]) -> None:
    page = rater()
    assert not page.locator(".qkv-widget-fallback").is_visible()
    assert page.get_by_role("slider").count() == len(CLAIMS)
    for index, claim in enumerate(CLAIMS):
        assert slider(page, index).is_visible()
        named = page.get_by_role("slider", name=claim.text)
        assert named.count() == 1
        assert named.get_attribute("aria-valuetext") == "not rated"
        assert value(page, index) == "not rated"
    assert count(page) == f"0 of {len(CLAIMS)} rated"
    for end in ("surely false", "cannot say", "surely true"):
        assert page.locator(".ends").get_by_text(end).count() == len(CLAIMS)
    assert page.get_by_role("button", name="Reset").is_disabled()
    assert (ratings(page), stored(page)) == ({}, None)


def test_mouse_rates_and_the_middle_is_a_rating_too(rater: Callable[..., Any]) -> None:
    page = rater()
    dashed = page.locator(".rail").first
    assert dashed.evaluate("node => getComputedStyle(node).borderTopStyle") == "dashed"
    click(page, 0, 0.5)  # where the slider stands already
    assert value(page, 0) == "50"
    assert dashed.evaluate("node => getComputedStyle(node).borderTopStyle") == "solid"
    click(page, 1, 0)
    click(page, 2, 1)
    assert ratings(page) == {IDS[0]: 50, IDS[1]: 0, IDS[2]: 100}
    assert count(page) == f"3 of {len(CLAIMS)} rated"
    assert slider(page, 1).get_attribute("aria-valuetext") == "0, surely false"
    assert value(page, 3) == "not rated"


def test_the_number_follows_the_thumb_and_the_rating_is_where_it_rests(
    rater: Callable[..., Any],
) -> None:
    page = rater()
    box = slider(page, 0).bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.8, y, steps=4)
    shown = value(page, 0)
    assert int(shown) > 70
    assert ratings(page) == {}
    page.mouse.up()
    assert ratings(page) == {IDS[0]: int(shown)}


def test_keyboard_alone(rater: Callable[..., Any]) -> None:
    page = rater()
    page.keyboard.press("Tab")
    assert slider(page, 0).evaluate("node => node.matches(':focus-visible')")
    outline = slider(page, 0).evaluate("node => getComputedStyle(node).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Tab")
    page.keyboard.press("Home")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("End")
    page.keyboard.press("Space")  # on a scale that is rated it changes nothing
    page.keyboard.press("PageDown")
    assert ratings(page) == {IDS[0]: 50, IDS[1]: 52, IDS[2]: 0, IDS[3]: 90}
    page.wait_for_timeout(200)
    assert page.evaluate("scrollY") == 0, "Space is for the slider, not for the page"


def test_a_reload_keeps_the_ratings(rater: Callable[..., Any]) -> None:
    page = rater()
    assert page.get_by_text("Kept in this browser only; nothing is sent anywhere.").is_visible()
    slider(page, 0).fill("0")
    slider(page, 4).fill("73")
    page.reload()
    wait(page)
    assert ratings(page) == {IDS[0]: 0, IDS[4]: 73}
    assert [value(page, i) for i in (0, 1, 4)] == ["0", "not rated", "73"]
    assert slider(page, 4).input_value() == "73"
    assert count(page) == f"2 of {len(CLAIMS)} rated"


def test_what_another_page_left_damaged_is_passed_over(rater: Callable[..., Any]) -> None:
    page = rater()
    for text in ("{not json", '{"gone": 3, "half-cache": 900, "on-par": 7.5}'):
        page.evaluate("([key, text]) => localStorage.setItem(key, text)", [KEY, text])
        page.reload()
        wait(page)
        assert ratings(page) == {}
    slider(page, 0).fill("12")
    assert stored(page) == f'{{"{IDS[0]}":12}}'


def test_reset_takes_all_and_can_be_undone(rater: Callable[..., Any]) -> None:
    page = rater()
    slider(page, 0).fill("20")
    slider(page, 3).fill("80")
    page.get_by_role("button", name="Reset", exact=True).press("Enter")
    assert (ratings(page), stored(page)) == ({}, None)
    assert (value(page, 0), value(page, 3)) == ("not rated", "not rated")
    assert slider(page, 3).input_value() == "50"
    undo = page.get_by_role("button", name="Undo reset")
    assert undo.evaluate("node => node.matches(':focus')")
    undo.press("Enter")
    assert ratings(page) == {IDS[0]: 20, IDS[3]: 80}
    # A new rating after a reset is a new start.
    page.get_by_role("button", name="Reset", exact=True).click()
    slider(page, 1).fill("5")
    assert page.get_by_role("button", name="Undo reset").count() == 0
    page.reload()
    wait(page)
    assert ratings(page) == {IDS[1]: 5}


@pytest.mark.parametrize("before", [NO_STORE, FULL_STORE])
def test_a_browser_that_keeps_nothing_is_confessed(rater: Callable[..., Any], before: str) -> None:
    page = rater(before=before)
    note = page.get_by_text("Not kept: this browser lets the page store nothing.")
    assert note.is_visible()
    slider(page, 0).fill("60")
    assert ratings(page) == {IDS[0]: 60}
    assert count(page) == f"1 of {len(CLAIMS)} rated"
    assert note.is_visible()


def test_a_store_that_fills_up_later_is_confessed(rater: Callable[..., Any]) -> None:
    page = rater()
    slider(page, 0).fill("60")
    page.evaluate(f"() => {{ {FULL_STORE} }}")
    slider(page, 1).fill("61")
    assert page.get_by_text("Not kept:").is_visible()
    assert ratings(page) == {IDS[0]: 60, IDS[1]: 61}


def test_with_a_kernel_the_page_keeps_nothing_itself(rater: Callable[..., Any]) -> None:
    page = rater()
    page.evaluate(
        """() => {
            const mount = document.querySelector('.qkv-widget');
            const state = JSON.parse(mount.querySelector('script').textContent);
            state.kept = 'Kept in your journal, ~/journal.json.';
            mount.querySelector('script').textContent = JSON.stringify(state);
            const fresh = mount.cloneNode(true);
            fresh.lastElementChild.remove();
            mount.replaceWith(fresh);
            const host = document.createElement('script');
            host.src = 'host.js';
            document.head.append(host);
        }"""
    )
    page.wait_for_function("document.querySelector('.qkv-widget').qkvModel")
    assert page.get_by_text("Kept in your journal, ~/journal.json.").is_visible()
    slider(page, 0).fill("60")
    assert ratings(page) == {IDS[0]: 60}
    assert stored(page) is None


def test_the_model_moves_the_view(rater: Callable[..., Any]) -> None:
    page = rater()
    page.evaluate(
        "ratings => document.querySelector('.qkv-widget').qkvModel.set('ratings', ratings)",
        dict.fromkeys(IDS, 100),
    )
    assert count(page) == f"All {len(CLAIMS)} rated"
    assert [value(page, i) for i in range(len(CLAIMS))] == ["100"] * len(CLAIMS)
    assert slider(page, 0).input_value() == "100"


def test_another_tab_is_followed(rater: Callable[..., Any]) -> None:
    page = rater()
    other = page.context.new_page()
    other.goto(page.url)
    wait(other)
    slider(other, 2).fill("41")
    page.wait_for_function(
        "id => document.querySelector('.qkv-widget').qkvModel.get('ratings')[id] === 41", arg=IDS[2]
    )
    slider(page, 3).fill("42")
    assert stored(page) == f'{{"{IDS[2]}":41,"{IDS[3]}":42}}'


def test_progress_is_announced_once_it_rests(rater: Callable[..., Any]) -> None:
    page = rater()
    assert page.get_by_role("status").inner_text() == ""
    slider(page, 0).fill("10")
    said = page.get_by_role("status").filter(has_text=f"1 of {len(CLAIMS)} rated.")
    said.wait_for(state="attached")


@pytest.mark.parametrize("width", [360, 800, 1200])
def test_it_fits_and_passes_axe(
    rater: Callable[..., Any], axe: Callable[..., list[str]], width: int
) -> None:
    page = rater(width=width)
    for index, rating in enumerate(("0", "50", "100")):
        slider(page, index).fill(rating)
    fits(page, width)
    in_both_themes(page, axe)


def test_fingers_rate_and_scrolling_does_not(rater: Callable[..., Any]) -> None:
    page = rater(width=360, has_touch=True, is_mobile=True)
    small = page.locator(".rater input, .rater button").evaluate_all(
        "nodes => nodes.map((n) => n.getBoundingClientRect())"
        ".filter((box) => box.width < 44 || box.height < 44).length"
    )
    assert small == 0
    slider(page, 0).tap()
    assert ratings(page) == {IDS[0]: 50}
    box = slider(page, 1).bounding_box()
    x, y = box["x"] + box["width"] * 0.8, box["y"] + box["height"] / 2
    page.touchscreen.tap(x, y)
    rated = ratings(page)
    assert 75 < rated[IDS[1]] < 90
    # The finger comes down on a scale, to the left of the middle, and pushes the page up.
    x = box["x"] + box["width"] * 0.2
    y = slider(page, 2).bounding_box()["y"] + box["height"] / 2
    touch = page.context.new_cdp_session(page)

    def finger(kind: str, *points: tuple[float, float]) -> None:
        spots = [{"x": x, "y": y} for x, y in points]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": spots})

    finger("touchStart", (x, y))
    assert value(page, 2) != "not rated"
    for step in range(1, 16):
        finger("touchMove", (x, y - 10 * step))
        page.wait_for_timeout(16)
    finger("touchEnd")
    page.wait_for_function("scrollY > 50")
    page.wait_for_timeout(100)
    assert value(page, 2) == "not rated"
    assert ratings(page) == rated


def test_a_key_press_stays_in_the_rater(rater: Callable[..., Any]) -> None:
    page = rater()
    page.evaluate("document.addEventListener('keydown', () => { window.heard = true })")
    slider(page, 0).press("ArrowRight")
    assert ratings(page) == {IDS[0]: 51}
    assert page.evaluate("window.heard") is None
    assert page.locator("[data-lm-suppress-shortcuts=true]").count() == 1


def test_motion_is_reduced_on_request(rater: Callable[..., Any]) -> None:
    page = rater()
    bar = page.locator(".meterline i")
    duration = "node => getComputedStyle(node).transitionDuration"
    assert bar.evaluate(duration) == "0s"
    page.emulate_media(reduced_motion="no-preference")
    assert bar.evaluate(duration) == "0.3s"


def test_without_scripts_the_claims_are_there(rater: Callable[..., Any], new_page: Any) -> None:
    url = rater().url
    page = new_page(java_script_enabled=False)
    page.goto(url)
    assert page.get_by_role("listitem").all_inner_texts() == [claim.text for claim in CLAIMS]


def test_nothing_is_requested_from_elsewhere(rater: Callable[..., Any]) -> None:
    page = rater()
    seen: list[str] = []
    page.on("request", lambda request: seen.append(request.url))
    page.reload()
    wait(page)
    slider(page, 0).fill("10")
    assert seen
    assert [url for url in seen if not url.startswith(("file:", "blob:"))] == []
