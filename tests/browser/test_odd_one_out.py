"""OddOneOut in a real browser, on a page opened from ``file://`` as the book's are."""

from __future__ import annotations

import base64
import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from qkvlib import Features, ImageSet, SetConfig, SetEncoder, SetTask, build_model
from qkvlib.widgets import OddOneOut

from widget_pages import trait

pytestmark = pytest.mark.browser

HOST = Path(__file__).parents[2] / "book" / "_static" / "qkv-host.js"

VARIANTS = ("QKV", "Q=K-V", "(Q=K-V)+", "Q-K=V", "Q=K=V", "(Q=K=V)+")


@pytest.fixture(scope="module")
def widget() -> OddOneOut:
    """A game with models that learnt nothing, so that rounds are lost as well."""
    dice = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (60, 1, 8, 8), generator=dice, dtype=torch.uint8)
    labels = torch.arange(60) % 3
    images = ImageSet("things", "by chance", ("0", "1", "2"), pixels, labels, pixels, labels)
    features = Features(images, "none", *torch.randn(2, 60, 6, generator=dice))
    models = {}
    for name in VARIANTS:
        config = SetConfig(d_model=8, n_layers=2, n_heads=4, n_features=6, max_seq_len=10)
        model = build_model(config.replace(variant=name), seed=0)
        assert isinstance(model, SetEncoder)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(8)  # so that its maps are not flat
        models[name] = model
    return OddOneOut(models, SetTask(features, eval_sets=20))


@pytest.fixture
def game(widget: OddOneOut, widget_page: Callable[..., Any]) -> Callable[..., Any]:
    """Open a page with the widget."""
    return functools.partial(widget_page, widget)


def weights(widget: OddOneOut, name: str, layer: int = 0, head: int = 0) -> torch.Tensor:
    model = next(row for row in widget.models if row["name"] == name)
    packed = base64.b64decode(model["maps"][0][layer][head])
    return torch.tensor(list(packed)).view(10, 10) / 255


def test_nothing_is_given_away_before_the_pick(game: Callable[..., Any]) -> None:
    page = game()
    assert page.locator(".card").count() == 10
    assert page.locator(".cell").count() == 0
    assert not page.locator(".graph").is_visible()
    assert not page.get_by_role("button", name="Next round").is_visible()
    assert page.locator(".card.odd").count() == 0
    assert "come after your pick" in page.locator(".hint").inner_text()


def test_images_are_drawn_as_they_are(game: Callable[..., Any], widget: OddOneOut) -> None:
    page = game()
    alphas = page.locator(".card img").nth(3).evaluate(
        "async (img) => { await img.decode(); const c = document.createElement('canvas');"
        "c.width = c.height = 8; const x = c.getContext('2d'); x.drawImage(img, 0, 0);"
        "return [...x.getImageData(0, 0, 8, 8).data].filter((_, i) => i % 4 === 3); }"
    )  # fmt: skip
    pixels = base64.b64decode(widget.rounds[0]["pixels"])
    assert alphas == list(pixels[3 * 64 : 4 * 64])


def test_a_game_by_keyboard(game: Callable[..., Any], widget: OddOneOut) -> None:
    page = game()
    odd = [one["odd"] for one in widget.rounds]
    page.locator(".card").first.focus()
    for i in range(10):
        place = odd[i] if i != 4 else (odd[i] + 1) % 10
        page.keyboard.press(str((place + 1) % 10))
        following = page.get_by_role("button", name="Play again" if i == 9 else "Next round")
        following.wait_for()
        assert page.locator(".card.odd").get_attribute("aria-label").startswith(
            f"Image {odd[i] + 1}: {widget.rounds[i]['labels'][odd[i]]}, odd"
        )  # fmt: skip
        assert following.evaluate("node => node.getRootNode().activeElement === node")
        if i == 0:
            page.keyboard.press("5")  # a second pick in a round does not count
        if i < 9:
            page.keyboard.press("Enter")
    assert trait(page, "picks") == [p if i != 4 else (p + 1) % 10 for i, p in enumerate(odd)]
    assert "You: 9 of 10" in page.locator(".top").inner_text()
    results = page.locator(".rounds button").all_inner_texts()
    assert [re.sub(r"\d+\s*", "", text) for text in results] == ["✓"] * 4 + ["✗"] + ["✓"] * 5
    page.keyboard.press("Enter")
    page.locator(".hint").wait_for()
    assert trait(page, "picks") == [-1] * 10


def test_answers_and_the_tally(game: Callable[..., Any], widget: OddOneOut) -> None:
    page = game()
    odd = widget.rounds[0]["odd"]
    missed = (odd + 3) % 10
    page.locator(".card").nth(missed).click()
    page.locator(".cell").first.wait_for()
    assert page.locator(".card.missed small").inner_text() == "yours ✗"
    assert page.locator(".asks .bad").inner_text().strip() == "Not that one:"
    rows = page.locator(".answers .row")
    assert rows.count() == 2 + len(VARIANTS)
    assert "picks" in rows.nth(1).inner_text()
    for k, model in enumerate(widget.models):
        text = " ".join(rows.nth(2 + k).inner_text().split())
        share = torch.tensor(model["scores"][0]).softmax(0)
        pick = int(share.argmax())
        assert text.startswith(
            f"{model['name']} picks {pick + 1} {'✓ right' if pick == odd else '✗ wrong'}"
        )
        assert f"{int(pick == odd)} of 1 so far" in text
        bold = rows.nth(2 + k).locator(".cell b").inner_text()
        assert abs(int(bold) - 100 * share[pick].item()) <= 0.5 + 1e-3
    said = page.get_by_role("status").filter(has_text="You have 0 of 1.")
    said.wait_for(state="attached")


def test_the_graph_follows_model_layer_head_and_limit(
    game: Callable[..., Any], widget: OddOneOut
) -> None:
    page = game()
    page.locator(".card").first.click()
    page.locator(".graph").wait_for()

    def drawn(found: torch.Tensor, least: float) -> int:
        return int(((found >= least) & (found > 0) & ~torch.eye(10).bool()).sum())

    assert page.locator(".edge").count() == drawn(weights(widget, "QKV"), 0.12)
    page.get_by_role("radio", name="Q=K=V", exact=True).check(force=True)
    page.get_by_role("group", name="Layer").get_by_label("1").check(force=True)
    page.get_by_role("group", name="Head").get_by_label("2").check(force=True)
    found = weights(widget, "Q=K=V", 1, 2)
    assert page.locator(".told b").inner_text() == "Q=K=V, layer 1, head 2"
    assert page.locator(".edge").count() == drawn(found, 0.12)
    slider = page.get_by_role("slider", name="Edges from")
    slider.focus()
    page.keyboard.press("Home")
    assert page.locator(".edge").count() == drawn(found, 0.0)
    page.locator("summary").click()
    cells = page.locator(".scroll tbody td").all_inner_texts()
    assert [int(text) for text in cells] == [round(100 * w) for w in found.flatten().tolist()]


def test_one_image_is_singled_out(game: Callable[..., Any], widget: OddOneOut) -> None:
    page = game()
    page.locator(".card").first.click()
    page.locator(".graph").wait_for()
    page.get_by_role("slider", name="Edges from").focus()
    page.keyboard.press("Home")
    page.locator(".node").nth(2).hover()
    assert page.locator(".told").inner_text().startswith("QKV, layer 0, head 0. Image 3 (")
    found = weights(widget, "QKV")
    incoming = int((found[:, 2] > 0).sum()) - int(found[2, 2] > 0)
    outgoing = int((found[2] > 0).sum()) - int(found[2, 2] > 0)
    assert page.locator(".edge.in").count() == incoming
    assert page.locator(".edge:not(.in)").count() == outgoing
    assert trait(page, "focus") == -1, "only looked at, not chosen"
    page.locator(".node").nth(5).click()
    page.mouse.move(1, 1)
    assert trait(page, "focus") == 5
    assert "Image 6 (" in page.locator(".told").inner_text()
    page.locator(".node").nth(5).focus()
    page.keyboard.press("Enter")
    assert trait(page, "focus") == -1


@pytest.mark.parametrize("width", [360, 800])
def test_it_fits_and_passes_axe(
    game: Callable[..., Any], axe: Callable[..., list[str]], width: int
) -> None:
    page = game(width=width, has_touch=width == 360)
    assert axe(page) == []
    page.locator(".card").first.click()
    page.locator(".graph").wait_for()
    page.locator("summary").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert axe(page) == []
    for card in page.locator(".card").all():
        assert card.evaluate("node => node.scrollWidth <= node.clientWidth + 1")
        assert card.bounding_box()["height"] >= 44
    if width == 360:
        page.evaluate("document.documentElement.dataset.theme = 'dark'")
        page.wait_for_selector(".sheet[data-theme='dark']")
        assert axe(page) == []


def test_without_scripts_there_is_a_table(game: Callable[..., Any], new_page: Any) -> None:
    url = game().url
    page = new_page(java_script_enabled=False)
    page.goto(url)
    assert page.get_by_role("row").count() == 11
    assert "The image that each model picks, of 10" in page.locator("caption").inner_text()
