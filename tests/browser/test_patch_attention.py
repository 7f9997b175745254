"""PatchAttention in a real browser, on a page opened from ``file://`` as the book's are."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from qkvlib import SHARINGS, VisionTask, ViTConfig, build_model
from qkvlib.widgets import PatchAttention

from widget_pages import trait

pytestmark = pytest.mark.browser

HOST = Path(__file__).parents[2] / "book" / "_static" / "qkv-host.js"


@pytest.fixture(scope="module")
def widget() -> PatchAttention:
    config = ViTConfig(
        d_model=16, n_layers=2, n_heads=4, image_size=28, patch_size=7, n_channels=1, n_classes=10
    )
    models = {name: build_model(config.replace(variant=name), seed=1) for name in SHARINGS}
    generator = torch.Generator().manual_seed(0)
    for model in models.values():  # untrained, all maps would be grey
        for parameter in model.parameters():
            parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator)
    return PatchAttention(models, VisionTask("mnist-small"), places=range(5), patch=5)


@pytest.fixture
def page(widget: PatchAttention, widget_page: Callable[..., Any]) -> Callable[..., Any]:
    """Open a page with the widget; arguments are the browser's."""
    return functools.partial(widget_page, widget)


def shades(page: Any, head: int = 0) -> list[float]:
    """How dark each patch of a head's map is."""
    cells = page.locator(".heads .tile").nth(head).locator("i")
    found: list[float] = cells.evaluate_all("all => all.map((i) => Number(i.style.opacity))")
    return found


def in_widget(widget: PatchAttention, head: int, patch: int, way: str = "out") -> list[int]:
    """Bytes of the weights that a head of layer 0 gives from a patch, or to it; QKV, image 0."""
    import base64

    text = widget.images[0]["answers"][0]["maps"][0][head]
    rows = torch.tensor(list(base64.b64decode(text))).view(16, 16)
    found: list[int] = (rows[patch] if way == "out" else rows[:, patch]).tolist()
    return found


def test_the_map_shows_the_weights(page: Any, widget: PatchAttention) -> None:
    opened = page()
    assert opened.locator(".heads .tile").count() == 8
    for head in range(4):
        bytes_ = in_widget(widget, head, 5)
        expected = [0.92 * (b / 255) ** 0.6 for b in bytes_]
        assert shades(opened, head) == pytest.approx(expected, abs=6e-4)
    opened.get_by_label("who looks at it").check(force=True)
    bytes_ = in_widget(widget, 2, 5, "in")
    assert shades(opened, 2) == pytest.approx([0.92 * (b / 255) ** 0.6 for b in bytes_], abs=6e-4)
    assert trait(opened, "direction") == "in"
    label = opened.locator(".heads .tile").first.get_attribute("aria-label")
    assert label.startswith("Layer 0, head 0, row 2, column 2, who looks at it: most ")


def test_a_patch_is_chosen_by_keys_click_and_pointer(page: Any) -> None:
    opened = page()
    told = opened.locator(".told")
    cell = opened.locator(".whole [role=gridcell]")
    assert "the patch in row 2, column 2" in told.inner_text()
    cell.nth(5).focus()
    for key in ("ArrowRight", "ArrowDown", "End"):
        opened.keyboard.press(key)
    assert trait(opened, "patch") == 11
    focused = opened.locator("[role=gridcell]:focus")
    assert focused.get_attribute("aria-selected") == "true"
    assert "the patch in row 3, column 4" in told.inner_text()
    before = shades(opened)
    cell.nth(2).click()
    assert trait(opened, "patch") == 2
    assert shades(opened) != before
    opened.locator(".heads .tile").nth(6).locator(".cells span").nth(9).click()
    assert trait(opened, "patch") == 9
    cell.nth(0).hover()
    assert "the patch in row 1, column 1" in told.inner_text()
    assert trait(opened, "patch") == 9, "only looked at, not chosen"
    opened.mouse.move(1, 1)
    assert "the patch in row 3, column 2" in told.inner_text()
    opened.get_by_role("status").filter(has_text="row 3, column 2").wait_for(state="attached")


def test_images_and_sharings_are_chosen(page: Any, widget: PatchAttention) -> None:
    opened = page()
    opened.get_by_role("radio", name="image 4:").check(force=True)
    assert trait(opened, "image") == 3
    image = widget.images[3]
    for at, name in enumerate(SHARINGS):
        opened.get_by_role("radio", name=name).first.check(force=True)
        found = image["answers"][at]
        taken = opened.locator("h3", has_text="takes it for")
        assert taken.inner_text() == f"{trait(opened, 'variant')} takes it for {found['answer']}"
        mark = "✓" if found["answer"] == image["label"] else "✗"
        face = opened.locator(".who .face").nth(at)
        assert f"says {found['answer']} {mark}" in face.inner_text()
        bars = opened.locator(".bars [role=listitem]")
        assert bars.count() == 3
        assert bars.first.inner_text().split()[0] == str(found["answer"])


def test_the_model_moves_the_view(page: Any) -> None:
    opened = page()
    opened.evaluate(
        "() => { const m = document.querySelector('.qkv-widget').qkvModel;"
        "m.set('image', 2); m.set('patch', 14); m.set('variant', 'Q=K=V'); }"
    )
    opened.locator(".told", has_text="Q=K=V, the patch in row 4, column 3").wait_for()
    assert opened.get_by_role("radio", name="image 3:").is_checked()
    assert opened.locator(".whole [tabindex='0']").count() == 1


@pytest.mark.parametrize("width", [360, 800])
def test_it_fits_and_passes_axe(page: Any, axe: Callable[..., list[str]], width: int) -> None:
    opened = page(width=width, has_touch=width == 360)
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    assert axe(opened) == []
    for face in opened.locator(".who .face").all():
        assert face.evaluate("node => node.scrollWidth <= node.clientWidth + 1")
    if width == 360:
        for control in [
            *opened.locator(".face").all(), *opened.locator(".whole [role=gridcell]").all(),
        ]:  # fmt: skip
            assert control.bounding_box()["height"] >= 44
        opened.evaluate("document.documentElement.dataset.theme = 'dark'")
        opened.wait_for_selector(".sheet[data-theme='dark']")
        assert axe(opened) == []


def test_without_scripts_there_is_a_table(page: Any, new_page: Any) -> None:
    url = page().url
    plain = new_page(java_script_enabled=False)
    plain.goto(url)
    assert plain.get_by_role("row").count() == 6
    assert "what the models say" in plain.locator("caption").inner_text()
