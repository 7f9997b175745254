"""DecodeStepper in a real browser, on a page opened from ``file://`` as the book's are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from qkvlib import ModelConfig, build_model
from qkvlib.widgets import DecodeStepper

from widget_pages import fits, in_both_themes

pytestmark = pytest.mark.browser

HOST = Path(__file__).parents[2] / "book" / "_static" / "qkv-host.js"
PROMPT = "for x in "
STEPS = 12


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    models = []
    for name in ("QKV", "Q-K=V"):
        config = ModelConfig(
            d_model=16, n_layers=2, n_heads=2, vocab_size=256, max_seq_len=32, sharing=name
        )
        models.append(build_model(config, seed=0))
        with torch.no_grad():
            for parameter in models[-1].parameters():
                parameter *= 8
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QKV_STATIC", "1")
        return DecodeStepper.from_models(models, PROMPT, STEPS, temperature=30.0).state()


@pytest.fixture
def stepper(
    widget_page: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, recorded: dict[str, Any]
) -> Callable[..., Any]:
    """Open a page with a stepper; ``page.problems`` is what the console says."""
    monkeypatch.setenv("QKV_STATIC", "1")

    def open_page(**options: Any) -> Any:
        problems: list[str] = []

        def listen(page: Any) -> None:
            page.on("console", lambda message: problems.append(message.text))

        page = widget_page(DecodeStepper(**recorded), listen=listen, **options)
        page.problems = problems
        return page

    return open_page


def at(page: Any) -> Any:
    return page.evaluate("document.querySelector('.qkv-widget').qkvModel.get('at')")


def button(page: Any, name: str) -> Any:
    return page.get_by_role("button", name=name, exact=True)


def cells(page: Any, lane: int, role: str) -> list[str]:
    """How the cells of a row stand, the empty ones left out."""
    row = page.locator(".lane").nth(lane).locator(f".row.{role.lower()} .cells i")
    found = row.evaluate_all("nodes => nodes.map((node) => node.className).filter(Boolean)")
    assert isinstance(found, list)
    return found


def test_prefill_is_alike_and_decoding_is_not(
    stepper: Callable[..., Any], recorded: dict[str, Any]
) -> None:
    page = stepper()
    assert not page.locator(".qkv-widget-fallback").is_visible()
    assert page.get_by_text("Nothing read yet", exact=True).is_visible()
    assert cells(page, 0, "K") == cells(page, 1, "K") == []
    n = len(PROMPT)
    button(page, "Next token").click()
    assert page.get_by_text(f"Prefill: {n} tokens in one pass").is_visible()
    for role in "QKV":
        assert cells(page, 0, role) == cells(page, 1, role) == ["new"] * n
    button(page, "Next token").click()
    assert page.get_by_text("Decode: one token", exact=True).is_visible()
    for role in "QKV":
        assert cells(page, 0, role) == ["again"] * n + ["new"]
    assert cells(page, 1, "K") == cells(page, 1, "V") == ["kept"] * n + ["new"]
    assert cells(page, 1, "Q") == ["used"] * n + ["new"]

    second = recorded["runs"][0]["steps"][1]
    counts = page.get_by_role("table", name="Multiplications")
    row = counts.get_by_role("row", name="this pass")
    without, cached = second["macs"]
    assert row.inner_text().split() == ["this", "pass", f"{without:,}", f"{cached:,}", "÷", "10"]
    read = page.get_by_role("table", name="Bytes read from memory").get_by_role("row")
    weights = recorded["runs"][0]["weight_bytes"]
    assert f"{weights:,}" in read.nth(1).inner_text()
    assert f"{weights + second['read']:,}" in read.nth(1).inner_text()
    assert page.get_by_text(f"of 1 token, holds {second['held']:,} bytes").is_visible()
    likeliest = page.get_by_role("table", name="Likeliest next tokens")
    assert likeliest.locator("tr.taken th").inner_text() == second["token"]
    assert page.problems == []


def test_forth_and_back_and_over(stepper: Callable[..., Any], recorded: dict[str, Any]) -> None:
    page = stepper()
    tokens = [step["token"] for step in recorded["runs"][0]["steps"]]
    button(page, "Back").click(force=True)  # there is nothing to go back to
    assert at(page) == 0
    page.get_by_role("slider", name="Passes made").fill("5")
    assert at(page) == 5
    text = page.locator(".text").inner_text()
    assert text.replace(" ", "␣").startswith((PROMPT + "".join(tokens[:5])).replace(" ", "␣"))
    button(page, "Back").click()
    assert at(page) == 4
    page.get_by_role("slider").fill(str(STEPS))
    assert button(page, "Next token").get_attribute("aria-disabled") == "true"
    button(page, "Next token").click(force=True)
    assert at(page) == STEPS
    button(page, "Start over").click()
    assert at(page) == 0
    assert cells(page, 0, "K") == []


def test_it_plays_to_the_end_and_stops_when_told(stepper: Callable[..., Any]) -> None:
    page = stepper()
    page.clock.install()
    button(page, "Play").click()
    assert at(page) == 1
    page.clock.run_for(1900)
    assert at(page) == 3
    button(page, "Pause").click()
    page.clock.run_for(5000)
    assert at(page) == 3
    button(page, "Play").click()
    button(page, "Next token").click()  # a step by hand ends the play
    assert at(page) == 5
    page.clock.run_for(5000)
    assert at(page) == 5
    button(page, "Play").click()
    page.clock.run_for(30_000)
    assert at(page) == STEPS
    button(page, "Play").click()  # from the end it begins anew
    assert at(page) == 1


def test_with_k_equal_v_the_values_leave(
    stepper: Callable[..., Any], recorded: dict[str, Any]
) -> None:
    page = stepper()
    page.get_by_role("slider").fill("6")
    values = page.locator(".row.v").nth(1)
    opacity = "node => getComputedStyle(node.querySelector('.cells i')).opacity"
    assert values.evaluate(opacity) == "1"
    page.get_by_role("radio", name="Q-K=V").check()
    assert values.evaluate(opacity) == "0"
    assert page.get_by_text("V is K", exact=True).count() == 2
    both = [run["steps"][5]["held"] for run in recorded["runs"]]
    assert both[0] == 2 * both[1]
    assert page.get_by_text(f"of 1 token, holds {both[1]:,} bytes").is_visible()
    assert at(page) == 6
    assert len(cells(page, 1, "K")) == len(PROMPT) + 5


def test_keyboard_alone_and_what_is_heard(stepper: Callable[..., Any]) -> None:
    page = stepper()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert button(page, "Next token").evaluate("node => node.matches(':focus-visible')")
    page.evaluate("document.addEventListener('keydown', () => { window.heard = true })")
    for _ in range(STEPS + 1):
        page.keyboard.press("Enter")
    assert at(page) == STEPS
    assert button(page, "Next token").evaluate("node => node.matches(':focus')")
    for _ in range(4):
        page.keyboard.press("Tab")
    page.keyboard.press("ArrowLeft")
    assert at(page) == STEPS - 1
    assert page.get_by_role("slider").get_attribute("aria-valuetext") == "11 of 12, decode"
    said = page.get_by_role("status").filter(has_text="Decode: one token, writes")
    said.wait_for(state="attached")
    lanes = page.get_by_role("img")
    assert "18 of them again" in lanes.nth(0).get_attribute("aria-label")
    assert "reads K and V of 18 back" in lanes.nth(1).get_attribute("aria-label")
    assert page.evaluate("window.heard") is None


@pytest.mark.parametrize("width", [360, 760, 1200])
def test_it_fits_and_passes_axe(
    stepper: Callable[..., Any], axe: Callable[..., list[str]], width: int
) -> None:
    touch = {"has_touch": True, "is_mobile": True} if width == 360 else {}
    page = stepper(width=width, **touch)
    for passes, sharing in (("0", "QKV"), (str(STEPS), "Q-K=V")):
        page.get_by_role("radio", name=sharing, exact=False).first.check()
        page.get_by_role("slider").fill(passes)
        fits(page, width)
    in_both_themes(page, axe)
    if touch:
        small = page.locator(".stepper :is(button, input[type=range], .face)").evaluate_all(
            "nodes => nodes.map((n) => n.getBoundingClientRect())"
            ".filter((box) => box.width < 44 || box.height < 44).length"
        )
        assert small == 0


def test_motion_is_reduced_on_request(stepper: Callable[..., Any]) -> None:
    page = stepper()
    button(page, "Next token").click()
    cell = page.locator(".cells .new").first
    name = "node => getComputedStyle(node).animationName"
    assert cell.evaluate(name) == "none"
    page.emulate_media(reduced_motion="no-preference")
    first = cell.evaluate(name)
    button(page, "Next token").click()
    assert {first, page.locator(".cells .again").first.evaluate(name)} == {"sweep0", "sweep1"}


def test_without_scripts_there_is_a_table(stepper: Callable[..., Any], new_page: Any) -> None:
    url = stepper().url
    page = new_page(java_script_enabled=False)
    page.goto(url)
    assert page.get_by_role("row").count() == STEPS + 1
    assert page.get_by_text("1, prefill").is_visible()
