"""PlusGrid in a real browser, on a page opened from ``file://`` as the book's are."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from qkvlib import VisionTask, ViTConfig, build_model
from qkvlib.widgets import PlusGrid

from widget_pages import trait

pytestmark = pytest.mark.browser

HOST = Path(__file__).parents[2] / "book" / "_static" / "qkv-host.js"


@pytest.fixture(scope="module")
def widget() -> PlusGrid:
    config = ViTConfig(
        d_model=16, n_layers=2, n_heads=2, image_size=28, patch_size=7, n_channels=1, n_classes=10
    ).replace(variant="(Q=K-V)+")
    generator = torch.Generator().manual_seed(0)
    models = {}
    for told, position in {"its number": "index", "(row, col)": "grid"}.items():
        models[told] = build_model(config.replace(plus_position=position), seed=1)
        for parameter in models[told].parameters():  # untrained, (X)+ adds next to nothing
            parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator)
    return PlusGrid(models, VisionTask("mnist-small"), places=range(3), patch=5)


@pytest.fixture
def page(widget: PlusGrid, widget_page: Callable[..., Any]) -> Callable[..., Any]:
    """Open a page with the widget; arguments are the browser's."""
    return functools.partial(widget_page, widget)


def tile(page: Any, at: int) -> Any:
    """The image, what is added, the weights without (X)+, the weights with what is on."""
    return page.locator(".panels .tile").nth(at)


def shades(page: Any, at: int) -> list[float]:
    found: list[float] = (
        tile(page, at).locator("i").evaluate_all("all => all.map((i) => Number(i.style.opacity))")
    )
    return found


def meter(page: Any, at: int) -> float:
    return float(page.locator(".meter output").nth(at).inner_text().rstrip("\u00a0%"))


def test_the_maps_show_the_weights(page: Any, widget: PlusGrid) -> None:
    opened = page()
    effect = widget.effect
    before, after = effect.before.softmax(-1), effect.after.softmax(-1)
    darkest = max(before[5].max().item(), after[5].max().item())
    for at, weights in ((2, before), (3, after)):
        expected = [0.95 * (w / darkest) ** 0.7 for w in weights[5].tolist()]
        assert shades(opened, at) == pytest.approx(expected, abs=6e-4)
    assert meter(opened, 0) == pytest.approx(effect.asymmetry_before, abs=0.006)
    assert meter(opened, 1) == pytest.approx(effect.asymmetry_after, abs=0.006)
    assert meter(opened, 2) == pytest.approx(100 * effect.moved.mean().item(), abs=0.06)
    opened.get_by_label("from all to the patch").check(force=True)
    darkest = max(before[:, 5].max().item(), after[:, 5].max().item())
    expected = [0.95 * (w / darkest) ** 0.7 for w in after[:, 5].tolist()]
    assert shades(opened, 3) == pytest.approx(expected, abs=6e-4)
    assert trait(opened, "direction") == "in"


def test_the_picture_is_the_same_for_every_patch(page: Any) -> None:
    opened = page()
    opened.get_by_role("button", name="+ a(i)").click()
    assert trait(opened, "parts") == ["gain", "b"]
    before = shades(opened, 1)
    assert max(before) > 0
    for patch in (0, 10, 15):
        opened.locator("[role=gridcell]").nth(patch).click()
        assert trait(opened, "patch") == patch
        assert shades(opened, 1) == before


def test_parts_are_left_out_and_put_back(page: Any) -> None:
    opened = page()
    law = opened.get_by_role("group", name="The parts of (X)+")
    gain, a, b = (law.get_by_role("button").nth(k) for k in range(3))
    moved = meter(opened, 2)
    a.click()
    assert a.get_attribute("aria-pressed") == "false"
    assert meter(opened, 2) == moved, "the softmax does not see a(i)"
    b.click()
    gain.click()
    assert trait(opened, "parts") == []
    assert meter(opened, 2) == 0
    assert shades(opened, 2) == shades(opened, 3)
    assert "(X)+ is off" in opened.locator(".told").inner_text()
    law.get_by_role("button", name="(X)+ on").click()
    assert trait(opened, "parts") == ["gain", "a", "b"]
    assert meter(opened, 2) == moved
    law.get_by_role("button", name="(X)+ off").click()
    assert trait(opened, "parts") == []
    opened.get_by_role("status").filter(has_text="(X)+ is off").wait_for(state="attached")


def test_a_patch_is_chosen_by_keys_click_and_pointer(page: Any) -> None:
    opened = page()
    told = opened.locator(".told")
    cell = opened.locator("[role=gridcell]")
    assert "The patch in row 2, column 2" in told.inner_text()
    cell.nth(5).focus()
    for key in ("ArrowRight", "ArrowDown", "End"):
        opened.keyboard.press(key)
    assert trait(opened, "patch") == 11
    focused = opened.locator("[role=gridcell]:focus")
    assert focused.get_attribute("aria-selected") == "true"
    assert focused.get_attribute("aria-label").startswith("row 3, column 4: added ")
    assert opened.locator("[role=gridcell][tabindex='0']").count() == 1
    tile(opened, 3).locator(".cells span").nth(9).click()
    assert trait(opened, "patch") == 9
    cell.nth(0).hover()
    assert "The patch in row 1, column 1" in told.inner_text()
    assert trait(opened, "patch") == 9, "only looked at, not chosen"
    opened.mouse.move(1, 1)
    assert "The patch in row 3, column 2" in told.inner_text()
    opened.get_by_role("status").filter(has_text="row 3, column 2").wait_for(state="attached")


def test_model_layer_head_and_image_are_chosen(page: Any, widget: PlusGrid) -> None:
    opened = page()
    seen = {tuple(shades(opened, 3))}
    for group, name, trait_name, value in (
        ("Image", widget.images[2]["label"], "image", 2),
        ("Head", "1", "head", 1),
        ("Layer", "1", "layer", 1),
        ("(X)+ is told", "(row, col)", "told", "(row, col)"),
    ):
        fieldset = opened.get_by_role("group", name=group, exact=True)
        fieldset.get_by_role("radio", name=name, exact=True).check(force=True)
        assert trait(opened, trait_name) == value
        seen.add(tuple(shades(opened, 3)))
    assert len(seen) == 5, "each choice shows another map"
    gain = widget.models[1]["layers"][1]["gain"]
    shown = f"× g = {gain:.2f}".replace("-", "−")
    assert opened.get_by_role("button", name=shown).count() == 1


def test_the_model_moves_the_view(page: Any) -> None:
    opened = page()
    opened.evaluate(
        "() => { const m = document.querySelector('.qkv-widget').qkvModel;"
        "m.set('patch', 14); m.set('parts', ['b']); m.set('told', '(row, col)'); }"
    )
    opened.locator(".told", has_text="The patch in row 4, column 3").wait_for()
    assert opened.get_by_role("radio", name="(row, col)").is_checked()
    assert opened.get_by_role("button", name="+ a(i)").get_attribute("aria-pressed") == "false"


@pytest.mark.parametrize("width", [360, 800])
def test_it_fits_and_passes_axe(page: Any, axe: Callable[..., list[str]], width: int) -> None:
    opened = page(width=width, has_touch=width == 360)
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    assert axe(opened) == []
    if width == 360:
        for control in [*opened.locator(".face").all(), *opened.locator(".sum button").all()]:
            assert control.bounding_box()["height"] >= 44
        opened.evaluate("document.documentElement.dataset.theme = 'dark'")
        opened.wait_for_selector(".sheet[data-theme='dark']")
        assert axe(opened) == []


def test_without_scripts_there_is_a_table(page: Any, new_page: Any) -> None:
    url = page().url
    plain = new_page(java_script_enabled=False)
    plain.goto(url)
    assert plain.get_by_role("row").count() == 5
    assert "What (X)+ has learned" in plain.locator("caption").inner_text()
