"""TaskMaps in a real browser, on a page opened from ``file://`` as the book's are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qkvlib import load_task_maps
from qkvlib.widgets import TaskMaps

from widget_pages import trait

pytestmark = pytest.mark.browser

HOST = Path(__file__).parents[2] / "book" / "_static" / "qkv-host.js"


@pytest.fixture
def maps(widget_page: Callable[..., Any]) -> Callable[..., Any]:
    """Open a page with the widget; ``state`` is for the widget."""

    def open_page(state: dict[str, Any] | None = None, **options: Any) -> Any:
        chosen = {"task": "SHIFT", "variant": "QKV", "other": "Q=K-V"} | (state or {})
        return widget_page(TaskMaps(**chosen), **options)

    return open_page


def row(page: Any, head: str) -> list[str]:
    """The cells of a row, without what is for screen readers only."""
    cells = page.locator(".row", has=page.locator(".head", has_text=head)).locator(".cell")
    found: list[str] = cells.evaluate_all("all => all.map((cell) => cell.firstChild.textContent)")
    return found


def stored(task: str, variant: str, n_heads: int = 1) -> Any:
    return next(
        one for one in load_task_maps()
        if (one.task, one.variant, one.n_heads) == (task, variant, n_heads)
    )  # fmt: skip


def test_lists_answers_and_wrong_digits(maps: Callable[..., Any]) -> None:
    page = maps()
    one = stored("SHIFT", "Q=K-V")
    wrong = (one.answers[0] != one.targets[0]).nonzero().flatten().tolist()
    assert wrong, "the first list shows a hole"
    assert row(page, "input") == [str(digit) for digit in one.inputs[0].tolist()]
    assert row(page, "should be") == [str(digit) for digit in one.targets[0].tolist()]
    assert row(page, "right held-out: 100 %") == row(page, "should be")
    assert row(page, f"{16 - len(wrong)} of 16 right") == [
        str(digit) for digit in one.answers[0].tolist()
    ]
    marked = page.locator(".cell.wrong")
    assert marked.count() == len(wrong)
    assert marked.first.inner_text().split() == [str(one.answers[0, wrong[0]].item()), "✗", "wrong"]


def test_a_position_is_followed_by_slider_pointer_and_click(maps: Callable[..., Any]) -> None:
    page = maps()
    told = page.locator(".told")
    digits = stored("SHIFT", "QKV").inputs[0].tolist()
    assert f"by hand looks at input 15 ({digits[15]}) 100 %." in told.inner_text()
    slider = page.get_by_role("slider", name="Position")
    slider.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert trait(page, "position") == 2
    assert slider.get_attribute("aria-valuetext") == f"Position 2 should write {digits[1]}."
    assert f"by hand looks at input 1 ({digits[1]}) 100 %." in told.inner_text()
    assert "QKV looks at input 1" in told.inner_text()
    lookers = page.locator(".map")
    assert lookers.count() == 3
    lookers.nth(1).scroll_into_view_if_needed()
    box = lookers.nth(1).bounding_box()
    middle = box["x"] + box["width"] / 2
    page.mouse.move(middle, box["y"] + box["height"] * 9.5 / 16)
    assert "Position 9 should write" in told.inner_text()
    assert trait(page, "position") == 2, "only looked at, not chosen"
    page.mouse.click(middle, box["y"] + box["height"] * 11.5 / 16)
    page.mouse.move(1, 1)
    assert trait(page, "position") == 11
    assert "Position 11 should write" in told.inner_text()
    page.locator(".row", has_text="should be").locator(".cell").nth(4).click()
    assert trait(page, "position") == 4
    said = page.get_by_role("status").filter(has_text="Position 4 should write")
    said.wait_for(state="attached")


def test_task_models_heads_and_list_are_chosen(maps: Callable[..., Any]) -> None:
    page = maps()
    page.get_by_role("radio", name="REVERSE").check(force=True)
    page.get_by_label("Model").select_option("Q=K=V")
    page.get_by_label("Beside it").select_option("")
    assert page.locator(".map").count() == 2
    assert page.locator(".rule").inner_text().startswith("The last digit first.")
    page.get_by_role("group", name="Heads").get_by_label("2").check(force=True)
    assert page.locator("figcaption").all_inner_texts() == [
        "by hand",
        "Q=K=V head 0",
        "Q=K=V head 1",
    ]
    page.get_by_role("group", name="List").get_by_label("2").check(force=True)
    one = stored("REVERSE", "Q=K=V", 2)
    assert row(page, "input") == [str(digit) for digit in one.inputs[1].tolist()]
    assert [trait(page, n) for n in ("task", "variant", "other", "n_heads", "shown")] == [
        "REVERSE", "Q=K=V", "", 2, 1,
    ]  # fmt: skip
    page.get_by_role("radio", name="RECALL").check(force=True)
    assert row(page, "should be")[:8] == ["·"] * 8
    assert "Nothing is asked of position 0." in page.locator(".told").inner_text()


def test_the_model_moves_the_view(maps: Callable[..., Any]) -> None:
    page = maps()
    page.evaluate(
        "() => { const m = document.querySelector('.qkv-widget').qkvModel;"
        "m.set('task', 'SWAP'); m.set('position', 3); }"
    )
    page.locator(".told", has_text="looks at input 11").wait_for()
    assert page.get_by_role("radio", name="SWAP").is_checked()
    assert page.get_by_role("slider", name="Position").input_value() == "3"


@pytest.mark.parametrize("width", [360, 800])
def test_it_fits_and_passes_axe(
    maps: Callable[..., Any], axe: Callable[..., list[str]], width: int
) -> None:
    page = maps({"task": "RECALL", "n_heads": 2}, width=width, has_touch=width == 360)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert axe(page) == []
    for cell in page.locator(".cell").all()[:32]:
        assert cell.evaluate("node => node.scrollWidth <= node.clientWidth + 1")
    if width == 360:
        for control in [*page.locator("select").all(), *page.locator(".face").all()]:
            assert control.bounding_box()["height"] >= 44
        page.evaluate("document.documentElement.dataset.theme = 'dark'")
        page.wait_for_selector(".sheet[data-theme='dark']")
        assert axe(page) == []


def test_without_scripts_there_is_a_table(maps: Callable[..., Any], new_page: Any) -> None:
    url = maps().url
    page = new_page(java_script_enabled=False)
    page.goto(url)
    assert page.get_by_role("row").count() == 8
    assert "Accuracy on held-out lists, 1 layer, 1 head" in page.locator("caption").inner_text()
