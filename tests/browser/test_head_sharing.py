"""HeadSharing in a real browser, on a page opened from ``file://`` as the book's are."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qkvlib import get_config, load_records, paper
from qkvlib.widgets import HeadSharing

from widget_pages import fits, in_both_themes, put, trait

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
HOST = ROOT / "book" / "_static" / "qkv-host.js"


def measured(**state: Any) -> HeadSharing:
    """The course's own runs: QKV and Q-K=V at least, with four query heads."""
    return HeadSharing.from_records(
        load_records(paper.data_file("results/four_tyings.json")), **state
    )


@pytest.fixture
def heads(widget_page: Callable[..., Any]) -> Callable[..., Any]:
    """Open a page with the widget given, or one in a known state."""

    def open_page(widget: HeadSharing | None = None, **options: Any) -> Any:
        return widget_page(widget or HeadSharing(n_kv_heads=4, query_head=6), **options)

    return open_page


def lit(page: Any) -> dict[str, list[str]]:
    """Numbers of what is lit: the query head, those that share with it, the KV heads."""
    found = page.locator(".sharing").evaluate(
        """(root) => {
            const words = (kind) => [...root.querySelectorAll(kind)].map((n) => n.textContent);
            return { query: words('.q.lit'), near: words('.q.near'), kv: words('.kv.lit'),
                     threads: [String(root.querySelectorAll('path.lit').length),
                               String(root.querySelectorAll('path.near').length)] };
        }"""
    )
    assert isinstance(found, dict)
    return found


def headline(page: Any) -> str:
    text = page.locator(".headline").inner_text()
    assert isinstance(text, str)
    return text


def test_sliders_move_the_picture_and_the_numbers(heads: Callable[..., Any]) -> None:
    page = heads()
    assert not page.locator(".qkv-widget-fallback").is_visible()
    assert lit(page) == {
        "query": ["6"], "near": ["4", "5", "7"], "kv": ["1", "1"], "threads": ["1", "3"],
    }  # fmt: skip
    assert page.get_by_text("Query head 6 reads KV head 1").is_visible()
    assert page.get_by_text("6 // (16 // 4) = 1").is_visible()
    kv = page.get_by_role("slider", name="KV heads")
    kv.press("End")
    assert trait(page, "n_kv_heads") == 16
    assert lit(page)["kv"] == ["6", "6"]
    assert "nothing saved" in headline(page)
    kv.press("Home")
    assert trait(page, "n_kv_heads") == 1
    assert kv.get_attribute("aria-valuetext") == "1 KV head for 16 query heads, MQA"
    assert len(lit(page)["near"]) == 15
    text = headline(page)
    assert "MQA" in text
    assert "5,120 bytes per token" in text
    assert "93.8 % saved" in text
    page.get_by_role("slider", name="Query head").press("Home")
    assert lit(page)["query"] == ["0"]


def test_a_pointer_lights_a_head_and_a_click_keeps_it(heads: Callable[..., Any]) -> None:
    page = heads()
    page.locator(".q").nth(13).hover()
    assert lit(page)["query"] == ["13"]
    assert lit(page)["kv"] == ["3", "3"]
    assert trait(page, "query_head") == 6
    page.mouse.move(5, 5)
    assert lit(page)["query"] == ["6"]
    page.locator(".q").nth(2).click()
    page.mouse.move(5, 5)
    assert (trait(page, "query_head"), lit(page)["kv"]) == (2, ["0", "0"])


def test_the_key_as_value_takes_v_away(heads: Callable[..., Any]) -> None:
    page = heads()
    page.get_by_role("radio", name=re.compile("^Q-K=V")).click()
    assert page.get_by_text("not stored: V is K").is_visible()
    assert lit(page)["kv"] == ["1"]
    assert "Q-GQA-4" in headline(page)
    assert "87.5 % saved" in headline(page)
    assert page.locator(".plot .name.lit").inner_text() == "Q-GQA-4"
    assert "Not on the frontier: MQA keeps no more" in page.locator(".words").inner_text()


def test_a_point_in_the_plot_can_be_chosen(heads: Callable[..., Any]) -> None:
    page = heads()
    marks = page.locator(".plot .mark")
    assert marks.count() == 6
    box = marks.nth(5).bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert (trait(page, "sharing"), trait(page, "n_kv_heads")) == ("Q-K=V", 1)
    assert "One seed, so no interval." in page.locator(".words").inner_text()
    page.get_by_text("The points as a table").click()
    cells = page.locator("tr.lit").inner_text().split()
    assert cells[:2] == ["Q-MQA", "2,560"]


def test_what_was_not_measured_says_so(heads: Callable[..., Any]) -> None:
    page = heads(HeadSharing(n_kv_heads=8))
    words = page.locator(".words").inner_text()
    assert "GQA-8 was not measured on this model." in words
    assert "At the same cache: Q-K=V (+1.89 %)." in words
    assert page.locator(".plot .ring").count() == 0
    assert page.locator(".plot .missing").count() == 1
    bare = heads(HeadSharing.from_config(get_config("small")))
    assert "nothing is known of its quality" in bare.locator(".words").inner_text()
    assert not bare.get_by_text("What it costs, what it saves").is_visible()
    assert bare.get_by_role("group", name="Model").count() == 0


def test_another_model_brings_its_heads_and_its_intervals(heads: Callable[..., Any]) -> None:
    page = heads(measured(sharing="Q-K=V"))
    assert page.locator(".plot .whisker").count() >= 1
    words = page.locator(".words").inner_text()
    assert re.search(r"Loss \+5\.\d\d % against QKV \(\+", words)
    assert re.search(r"\d\.\d{3} bits per byte \(", words)
    page.get_by_role("radio", name=re.compile("^Paper, 1.2B")).click()
    assert (trait(page, "n_kv_heads"), page.locator(".q").count()) == (32, 32)
    assert page.locator(".plot .whisker").count() == 0


def test_keyboard_alone_and_its_keys_stay_in_the_widget(heads: Callable[..., Any]) -> None:
    page = heads()
    page.evaluate("document.addEventListener('keydown', (e) => { window.heard = e.key })")
    for _ in range(3):
        page.keyboard.press("Tab")
    kv = page.get_by_role("slider", name="KV heads")
    assert kv.evaluate("node => node.matches(':focus-visible')")
    assert kv.evaluate("node => getComputedStyle(node).outlineStyle") == "solid"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowLeft")
    assert (trait(page, "n_kv_heads"), trait(page, "query_head")) == (8, 5)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.get_by_role("table").is_visible()
    assert page.evaluate("window.heard") == "Tab", "only what came before the widget had focus"


def test_what_changes_is_announced_and_a_bad_state_is_refused(heads: Callable[..., Any]) -> None:
    page = heads()
    page.get_by_role("slider", name="KV heads").press("Home")
    said = page.get_by_role("status").filter(has_text="MQA: 5,120 bytes per token, 93.8 % saved")
    said.wait_for(state="attached")
    put(page, n_kv_heads=3)
    assert "Choose from 1, 2, 4, 8, 16" in page.get_by_role("alert").inner_text()
    assert not page.locator(".headline").is_visible()
    put(page, n_kv_heads=2, query_head=15)
    assert lit(page)["kv"] == ["1", "1"]


@pytest.mark.parametrize("width", [360, 800])
def test_it_fits_and_passes_axe(
    heads: Callable[..., Any], axe: Callable[..., list[str]], width: int
) -> None:
    page = heads(measured(), width=width)
    page.get_by_text("The points as a table").click()
    for model in ("Measured here", "Paper, 1.2B"):
        page.get_by_role("radio", name=re.compile(f"^{re.escape(model)}")).click()
        fits(page, width, beside=".quiet, .scroll")
    in_both_themes(page, axe)


def test_fingers_find_their_targets(heads: Callable[..., Any]) -> None:
    page = heads(measured(), width=360, has_touch=True, is_mobile=True)
    small = page.locator(".sharing input, .sharing summary").evaluate_all(
        "nodes => nodes.map((n) => [n.tagName + n.type, n.getBoundingClientRect()])"
        ".filter(([, box]) => box.width < 44 || box.height < 44).map(([name]) => name)"
    )
    assert small == []
    page.locator(".q").nth(3).tap()
    assert trait(page, "query_head") == 3


def test_without_scripts_the_points_are_there(heads: Callable[..., Any], new_page: Any) -> None:
    url = heads(measured()).url
    page = new_page(java_script_enabled=False)
    page.goto(url)
    assert page.get_by_role("row", name=re.compile(r"^Q-K=V 576 loss \+5")).is_visible()
