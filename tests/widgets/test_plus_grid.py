"""PlusGrid: its parts give back what the model does, and the page computes the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
import traitlets

from qkvlib import (
    PlusGrid,
    Transformer,
    VisionTask,
    ViTConfig,
    asymmetry,
    build_model,
    split_asymmetry,
)
from qkvlib.widgets.plus_grid import PARTS, pack_scores, unpack_scores

from in_node import in_page

CONFIG = ViTConfig(
    d_model=16, n_layers=2, n_heads=2, image_size=28, patch_size=7, n_channels=1, n_classes=10
).replace(variant="(Q=K-V)+")
PLACES = [4, 0]
TOLD = {"its number": "index", "(row, col)": "grid"}


@pytest.fixture(scope="module")
def task() -> VisionTask:
    return VisionTask("mnist-small")


@pytest.fixture(scope="module")
def models() -> dict[str, Transformer]:
    made = {
        told: build_model(CONFIG.replace(plus_position=position), seed=1)
        for told, position in TOLD.items()
    }
    generator = torch.Generator().manual_seed(0)
    for model in made.values():  # untrained, (X)+ adds next to nothing
        for parameter in model.parameters():
            parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator)
    return made


@pytest.fixture
def widget(models: dict[str, Transformer], task: VisionTask) -> PlusGrid:
    return PlusGrid(models, task, places=PLACES)


def chosen() -> list[dict[str, Any]]:
    parts = ([], ["gain"], ["a"], ["b"], ["a", "b"], list(PARTS))
    return [
        {"told": told, "image": image, "layer": layer, "head": 1, "patch": 6, "parts": some}
        for told in TOLD
        for image in range(len(PLACES))
        for layer in range(2)
        for some in parts
    ]


def test_scores_survive_two_bytes() -> None:
    scores = torch.randn(9, 9, generator=torch.Generator().manual_seed(0)).double() * 5
    found = unpack_scores(pack_scores(scores), 9)
    assert (found - scores).abs().max() < (scores.max() - scores.min()) / 65_535


def test_with_all_parts_the_maps_are_the_model_s(
    widget: PlusGrid, models: dict[str, Transformer], task: VisionTask
) -> None:
    images = task.standardised(task.images.test_images[PLACES])
    for told, model in models.items():
        with torch.inference_mode():
            _, maps = model(images, return_attention=True)
        for layer, image in ((0, 0), (1, 1)):
            widget.update(**{"told": told, "layer": layer, "image": image, "head": 1})
            effect = widget.effect
            real = maps[layer].weights[image, 1].double()
            torch.testing.assert_close(effect.after.softmax(-1), real, atol=2e-3, rtol=0)
            plus = model.blocks[layer].attention.plus
            gain, addend = plus(16)
            before = (maps[layer].scores[image, 1] - addend) / gain
            torch.testing.assert_close(
                effect.before.softmax(-1), before.double().softmax(-1), atol=2e-3, rtol=0
            )


def test_the_term_of_the_one_who_looks_moves_no_weight(widget: PlusGrid) -> None:
    widget.parts = ["a"]
    assert widget.effect.moved.max() < 1e-9
    widget.parts = []
    assert widget.effect.moved.max() == 0
    assert widget.effect.asymmetry_before == widget.effect.asymmetry_after
    assert widget.effect.asymmetry_before < 1e-3  # a shared projection: the map is its own mirror
    widget.parts = ["b"]
    assert widget.effect.moved.max() > 0.01
    assert widget.effect.asymmetry_after > 0.01
    assert widget.effect.flow_after < 1e-3  # heights account for all of it


def test_the_page_computes_what_python_does(widget: PlusGrid) -> None:
    states = chosen()
    found = in_page(
        "plus_grid",
        "data.states.map((some) => view.effectOf({ ...data.widget, ...some }))",
        {"widget": widget.state(), "states": states},
    )
    for state, page in zip(states, found, strict=True):
        widget.update(**state)
        effect = widget.effect
        assert page["meanMoved"] == pytest.approx(effect.moved.mean().item(), abs=1e-9)
        assert page["asymmetry"]["before"]["all"] == pytest.approx(
            effect.asymmetry_before, abs=1e-9
        )
        assert page["asymmetry"]["after"]["all"] == pytest.approx(effect.asymmetry_after, abs=1e-9)
        assert page["asymmetry"]["after"]["flow"] == pytest.approx(effect.flow_after, abs=1e-9)
        assert asymmetry(effect.after).item() == pytest.approx(effect.asymmetry_after)
        assert split_asymmetry(effect.after).flow.item() == pytest.approx(effect.flow_after)


def test_the_state_is_small_json(widget: PlusGrid) -> None:
    text = json.dumps(widget.state())
    assert len(text) < 60_000
    assert "NaN" not in text


def test_words_name_the_parts_and_the_places(widget: PlusGrid) -> None:
    widget.update(**{"parts": ["b"], "patch": 6, "layer": 1})
    said = widget.describe()
    assert "(Q=K-V)+ (Q=K, V)+ told its number" in said
    assert "with a term b(j)" in said
    assert widget.place_text(6) in said
    widget.parts = []
    assert "it is off" in widget.describe()
    table = widget.fallback_html()
    assert table.count("<tr>") == 1 + len(TOLD) * 2


@pytest.mark.parametrize(
    ("trait", "value", "message"),
    [
        ("told", "nothing", "unknown told 'nothing'"),
        ("direction", "up", "unknown direction 'up'"),
        ("parts", ["c"], r"unknown part of \(X\)\+ 'c'"),
        ("patch", 16, "0 to 15"),
        ("layer", -1, "0 to 1"),
        ("head", 2, "0 to 1"),
        ("image", True, "0 to 1"),
    ],
)
def test_traits_that_there_are_not(
    widget: PlusGrid, trait: str, value: object, message: str
) -> None:
    with pytest.raises(traitlets.TraitError, match=message):
        setattr(widget, trait, value)


def test_what_cannot_be_shown_is_refused(models: dict[str, Transformer], task: VisionTask) -> None:
    plain = build_model(CONFIG.replace(variant="Q=K-V"))
    with pytest.raises(ValueError, match=r"no \(X\)\+"):
        PlusGrid({"plain": plain}, task, places=[0])
    with pytest.raises(ValueError, match="at least one"):
        PlusGrid({}, task, places=[0])
    with pytest.raises(ValueError, match="from 0 to 1999"):
        PlusGrid(models, task, places=[2000])
    other = build_model(CONFIG.replace(n_layers=1))
    with pytest.raises(ValueError, match="must have the same"):
        PlusGrid({**models, "other": other}, task, places=[0])
    pooled = build_model(CONFIG.replace(pool="class"))
    with pytest.raises(ValueError, match="pool='mean'"):
        PlusGrid({"pooled": pooled}, task, places=[0])
