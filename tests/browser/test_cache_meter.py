"""CacheMeter in a real browser, on a page opened from ``file://`` as the book's are."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qkvlib.widgets import CacheMeter

from widget_pages import fits, in_both_themes, put, trait

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
HOST = ROOT / "book" / "_static" / "qkv-host.js"


@pytest.fixture
def meters(widget_page: Callable[..., Any]) -> Callable[..., Any]:
    """Open a page with the given meters, or one."""

    def open_page(*widgets: CacheMeter, **options: Any) -> Any:
        return widget_page(*(widgets or (CacheMeter(),)), **options)

    return open_page


def total(page: Any, index: int = 0) -> str:
    text = page.locator(".total").nth(index).inner_text()
    assert isinstance(text, str)
    return text


def radio(page: Any, group: str, name: str) -> Any:
    fieldset = page.get_by_role("group", name=re.compile(f"^{group}"))
    return fieldset.get_by_role("radio", name=re.compile(rf"^{re.escape(name)}(\W|$)"))


def test_mouse_moves_sharing_and_heads(meters: Callable[..., Any]) -> None:
    page = meters()
    assert total(page) == "2.68 GB"
    assert not page.locator(".qkv-widget-fallback").is_visible()
    radio(page, "Sharing", "Q-K=V").click()
    assert total(page) == "1.34 GB"
    assert "50 % saved" in page.locator(".headline").inner_text()
    assert page.get_by_text("not stored: V is K").is_visible()
    radio(page, "KV heads", "1").click()
    assert total(page) == "83.9 MB"
    assert (trait(page, "sharing"), trait(page, "n_kv_heads")) == ("Q-K=V", 1)
    page.get_by_role("button", name="1.2B").click()
    shape = [trait(page, name) for name in ("n_layers", "n_heads", "n_kv_heads", "head_dim")]
    assert shape == [22, 32, 1, 64]
    assert "98.4 % saved" in page.locator(".headline").inner_text()


def test_v_leaves_the_picture_and_heads_merge(meters: Callable[..., Any]) -> None:
    page = meters(CacheMeter(sharing="Q-K=V", n_kv_heads=4))
    places = page.locator(".meter").evaluate(
        """(root) => {
            const of = (role) => [...root.querySelectorAll(`.lane .block.${role}`)].map((b) => ({
                left: Math.round(b.getBoundingClientRect().left),
                seen: getComputedStyle(b).opacity,
            }));
            const cells = [...root.querySelectorAll('.cell.v i')];
            return { k: of('k'), v: of('v'), layers: root.querySelectorAll('.layer').length,
                     height: Math.max(...cells.map((c) => c.getBoundingClientRect().height)) };
        }"""
    )
    assert len({block["left"] for block in places["k"]}) == 4
    assert {block["seen"] for block in places["k"]} == {"1"}
    assert {block["seen"] for block in places["v"]} == {"0"}
    assert places["layers"] == 20
    assert places["height"] == 0


def test_keyboard_alone(meters: Callable[..., Any]) -> None:
    page = meters()
    page.keyboard.press("Tab")
    assert radio(page, "Sharing", "QKV").evaluate("node => node.matches(':focus-visible')")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert trait(page, "sharing") == "Q-K=V"
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowLeft")
    assert trait(page, "n_kv_heads") == 8
    page.keyboard.press("Tab")
    box = page.get_by_role("spinbutton", name="Context")
    assert box.evaluate("node => node.matches(':focus-visible')")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    assert trait(page, "tokens") == 65_536
    slider = page.get_by_role("slider", name="Context")
    assert slider.get_attribute("aria-valuetext") == "65,536 tokens"
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Control+A")
    page.keyboard.type("1000")
    assert trait(page, "tokens") == 1000
    assert total(page) == "20.5 MB"
    outline = box.evaluate("node => getComputedStyle(node).outlineStyle")
    assert outline == "solid"


def test_a_number_typed_digit_by_digit_keeps_the_kv_heads(meters: Callable[..., Any]) -> None:
    """3 is on the way to 32, and has no four KV heads to share."""
    page = meters(CacheMeter(n_heads=16, n_kv_heads=4))
    box = page.get_by_role("spinbutton", name="Query heads")
    box.focus()
    page.keyboard.press("Control+a")
    page.keyboard.type("32", delay=30)
    assert (trait(page, "n_heads"), trait(page, "n_kv_heads")) == (32, 4)
    for heads, kv in ((12, 4), (6, 3), (8, 4)):
        box.fill(str(heads))
        assert (trait(page, "n_heads"), trait(page, "n_kv_heads")) == (heads, kv)
    radio(page, "KV heads", "8").click()
    box.fill("16")
    assert trait(page, "n_kv_heads") == 16, "MHA was chosen, and stays"
    put(page, n_kv_heads=2)
    box.fill("6")
    assert trait(page, "n_kv_heads") == 2


def test_a_shape_chosen_by_keyboard_keeps_the_focus(meters: Callable[..., Any]) -> None:
    page = meters()
    page.get_by_role("button", name="1.2B").focus()
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('.qkv-widget').qkvModel.get('n_heads') === 32")
    page.wait_for_timeout(50)
    inside = page.locator(".meter").evaluate(
        "(root) => root.getRootNode().activeElement.textContent"
    )
    assert inside == "1.2B"


def test_a_value_out_of_range_is_refused_and_undone(meters: Callable[..., Any]) -> None:
    page = meters()
    box = page.get_by_role("spinbutton", name="Layers")
    box.fill("0")
    assert box.get_attribute("aria-invalid") == "true"
    assert page.get_by_text("A whole number from 1 to 128, please.").is_visible()
    assert trait(page, "n_layers") == 20
    box.press("Tab")
    assert box.input_value() == "20"
    assert box.get_attribute("aria-invalid") == "false"
    assert total(page) == "2.68 GB"


def test_q_equals_k_switches_off_fewer_kv_heads(meters: Callable[..., Any]) -> None:
    page = meters()
    radio(page, "Sharing", "Q=K=V").click()
    for heads in ("1", "2", "4", "8"):
        assert radio(page, "KV heads", heads).is_disabled()
    assert radio(page, "KV heads", "16").is_checked()
    note = page.locator(".note:visible")
    assert "a query head is its own key head" in note.inner_text()
    # The way out frees the query and keeps what is stored; the keyboard does not lose its place.
    note.get_by_role("button", name="Use Q-K=V (Q, K=V)").press("Enter")
    assert trait(page, "sharing") == "Q-K=V"
    assert radio(page, "KV heads", "16").evaluate("node => node.matches(':focus')")
    assert radio(page, "KV heads", "1").is_enabled()


def test_fewer_kv_heads_switch_off_q_equals_k(meters: Callable[..., Any]) -> None:
    page = meters(CacheMeter(n_kv_heads=4))
    assert radio(page, "Sharing", "Q=K-V").is_disabled()
    assert radio(page, "Sharing", "Q=K=V").is_disabled()
    page.get_by_role("button", name="Use 16 KV heads").click()
    assert trait(page, "n_kv_heads") == 16
    assert radio(page, "Sharing", "Q=K-V").is_enabled()
    assert page.locator(".note:visible").count() == 0


def test_a_state_without_an_answer_shows_no_number(meters: Callable[..., Any]) -> None:
    page = meters()
    put(page, sharing="Q=K-V", n_kv_heads=4)
    alert = page.get_by_role("alert")
    assert "16 query heads need 16 KV heads, not 4" in alert.inner_text()
    assert not page.locator(".total").is_visible()
    assert page.locator(".formula:visible").count() == 0
    put(page, n_kv_heads=16)
    assert page.locator(".total").is_visible()
    assert total(page) == "2.68 GB"


def test_the_model_moves_the_view(meters: Callable[..., Any]) -> None:
    page = meters()
    put(page, n_layers=100, n_heads=32, n_kv_heads=8, tokens=1000, batch_size=3, dtype="float32")
    put(page, budget_gb=0.5, units="binary")
    assert page.get_by_role("spinbutton", name="Layers").input_value() == "100"
    assert radio(page, "Number format", "float32").is_checked()
    assert page.locator(".layer").count() == 100
    assert total(page) == "1.14 GiB"  # 100 × 2 × 8 × 64 × 4 × 1000 × 3 bytes
    fit = page.locator(".fit").inner_text()
    assert "too much" in fit
    assert "Room for 1 user of 1,000 tokens each (QKV with MHA: 0)" in fit
    assert "406 tokens for each of 3 users" in fit


def test_two_meters_do_not_interfere(meters: Callable[..., Any]) -> None:
    page = meters(CacheMeter(), CacheMeter(sharing="Q-K=V", n_kv_heads=1))
    first = page.locator(".qkv-widget").nth(0)
    first.get_by_role("radio", name="Q=K=V").click()
    assert [trait(page, "sharing", i) for i in (0, 1)] == ["Q=K=V", "Q-K=V"]
    assert (total(page, 0), total(page, 1)) == ("1.34 GB", "83.9 MB")
    checked = page.locator("input[type=radio]:checked")
    assert checked.count() == 8  # four choices in each


@pytest.mark.parametrize("width", [360, 800, 1200])
@pytest.mark.parametrize("sharing", ["QKV", "Q=K-V", "Q-K=V", "Q=K=V"])
def test_it_fits_and_passes_axe(
    meters: Callable[..., Any], axe: Callable[..., list[str]], width: int, sharing: str
) -> None:
    page = meters(CacheMeter(sharing=sharing, batch_size=64), width=width)
    fits(page, width)
    in_both_themes(page, axe)


def test_it_follows_the_system_where_the_page_has_no_wish(meters: Callable[..., Any]) -> None:
    page = meters(dark=True)
    meter = page.locator(".meter")
    assert meter.get_attribute("data-theme") == "dark"
    page.emulate_media(color_scheme="light")
    page.wait_for_selector(".meter[data-theme=light]")
    page.evaluate("document.body.dataset.jpThemeLight = 'false'")
    page.wait_for_selector(".meter[data-theme=dark]")


def test_fingers_find_their_targets(meters: Callable[..., Any]) -> None:
    page = meters(CacheMeter(n_kv_heads=4), width=360, has_touch=True, is_mobile=True)
    small = page.locator(".meter input, .meter button").evaluate_all(
        """(nodes) => nodes
            .map((n) => [n.type + ' ' + n.value, n.getBoundingClientRect()])
            .filter(([, box]) => box.width < 44 || box.height < 44)
            .map(([name, box]) => `${name}: ${box.width} × ${box.height}`)"""
    )
    assert small == []
    radio(page, "KV heads", "8").tap()
    assert trait(page, "n_kv_heads") == 8


def test_nothing_is_announced_before_something_changes(meters: Callable[..., Any]) -> None:
    page = meters()
    page.wait_for_timeout(700)
    assert page.locator("[role=status]").text_content() == ""


def test_the_total_is_announced_once_it_rests(meters: Callable[..., Any]) -> None:
    page = meters()
    radio(page, "Sharing", "Q-K=V").click()
    said = page.get_by_role("status").filter(has_text="KV cache 1.34 GB, 50 % saved, within budget")
    said.wait_for(state="attached")


def test_a_key_press_stays_in_the_meter(meters: Callable[..., Any]) -> None:
    page = meters()
    page.evaluate("document.addEventListener('keydown', () => { window.heard = true })")
    page.get_by_role("slider", name="Users").press("ArrowRight")
    assert trait(page, "batch_size") == 2
    assert page.evaluate("window.heard") is None
    # JupyterLab listens before the meter can; it leaves marked places alone.
    assert page.locator("[data-lm-suppress-shortcuts=true]").count() == 1


@pytest.mark.parametrize(
    ("bundle", "reason"),
    [
        ("window.QKV_WIDGETS = {};", "widgets/cache_meter.js is not there"),
        ('window.QKV_WIDGETS = {"cache_meter": "export default {"};', "could not start"),
        (
            'window.QKV_WIDGETS = {"cache_meter": '
            "\"export default { render() { throw new Error('out of ink') } }\"};",
            "out of ink",
        ),
    ],
)
def test_a_failing_widget_leaves_its_reading(
    meters: Callable[..., Any], bundle: str, reason: str
) -> None:
    page = meters(bundle=bundle)
    assert page.locator(".qkv-widget").get_attribute("data-state") == "failed"
    assert reason in page.get_by_role("alert").inner_text()
    assert page.get_by_role("cell", name="2.68 GB (2,684,354,560 bytes)").is_visible()


def test_without_scripts_the_reading_is_there(meters: Callable[..., Any], new_page: Any) -> None:
    url = meters().url
    page = new_page(java_script_enabled=False)
    page.goto(url)
    assert page.get_by_role("cell", name="2.68 GB (2,684,354,560 bytes)").is_visible()


def test_nothing_is_requested_from_elsewhere(meters: Callable[..., Any]) -> None:
    page = meters()
    seen: list[str] = []
    page.on("request", lambda request: seen.append(request.url))
    page.reload()
    page.wait_for_selector(".qkv-widget[data-state=live]")
    assert seen
    assert [url for url in seen if not url.startswith(("file:", "blob:"))] == []
