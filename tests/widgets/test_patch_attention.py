"""PatchAttention on the Python side, and the same bytes and words as in the page."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import traitlets

from qkvlib import SHARINGS, PatchAttention, Transformer, VisionTask, ViTConfig, build_model, show
from qkvlib.widgets import base, static_html
from qkvlib.widgets.patch_attention import pack

from in_node import in_page

HERE = Path(__file__).parent
CONFIG = ViTConfig(
    d_model=16, n_layers=2, n_heads=2, image_size=28, patch_size=7, n_channels=1, n_classes=10
)
PLACES = [3, 0, 11]


@pytest.fixture(scope="module")
def task() -> VisionTask:
    return VisionTask("mnist-small")


@pytest.fixture(scope="module")
def models() -> dict[str, Transformer]:
    made = {name: build_model(CONFIG.replace(variant=name), seed=1) for name in SHARINGS}
    generator = torch.Generator().manual_seed(0)
    for model in made.values():  # untrained, all maps would be grey
        for parameter in model.parameters():
            parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator)
    return made


@pytest.fixture
def widget(models: dict[str, Transformer], task: VisionTask) -> PatchAttention:
    return PatchAttention(models, task, places=PLACES)


def unpack(text: str) -> torch.Tensor:
    return torch.tensor(list(base64.b64decode(text))) / 255


def test_the_page_reads_the_bytes_that_python_wrote() -> None:
    numbers = torch.rand(300, generator=torch.Generator().manual_seed(0))
    numbers[:2] = torch.tensor([0.0, 1.0])
    found = torch.tensor(in_page("patch_attention", "view.unpack(data, 300)", pack(numbers)))
    assert (found - numbers).abs().max() <= 0.5 / 255 + 1e-6
    assert found[:2].tolist() == [0, 1]


def test_the_state_holds_what_the_models_did(
    widget: PatchAttention, models: dict[str, Transformer], task: VisionTask
) -> None:
    state = widget.state()
    pixels = task.images.test_images[PLACES]
    assert (state["grid"], state["size"], state["n_layers"], state["n_heads"]) == (
        [4, 4], [28, 28], 2, 2,
    )  # fmt: skip
    assert [row["name"] for row in state["variants"]] == list(SHARINGS)
    for k, (name, model) in enumerate(models.items()):
        assert model.training, "a widget leaves the models as they were"
        model.eval()
        with torch.inference_mode():
            logits, maps = model(task.standardised(pixels), return_attention=True)
        model.train()
        for i, image in enumerate(state["images"]):
            found = image["answers"][k]
            assert found["answer"] == logits[i].argmax(), name
            assert torch.allclose(
                torch.tensor(found["shares"]), logits[i].softmax(-1), rtol=0, atol=1e-4
            )
            for layer, packed in zip(maps, found["maps"], strict=True):
                for head, text in zip(layer.weights[i], packed, strict=True):
                    assert (unpack(text).view(16, 16) - head).abs().max() <= 0.5 / 255 + 1e-6
    for i, image in enumerate(state["images"]):
        assert image["place"] == PLACES[i]
        assert image["label"] == task.images.test_labels[PLACES[i]]
        assert torch.equal((255 * unpack(image["pixels"])).round(), pixels[i].flatten().float())


def test_a_dozen_images_of_a_course_model_stay_small(task: VisionTask) -> None:
    config = CONFIG.replace(n_heads=4)
    four = {name: build_model(config.replace(variant=name), seed=0) for name in SHARINGS}
    state = PatchAttention(four, task, places=range(12)).state()
    assert len(json.dumps(state)) < 170_000


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"variant": "Q-K"}, "unknown variant 'Q-K'"),
        ({"variant": "MQA"}, "unknown variant 'MQA'"),
        ({"direction": "up"}, "unknown direction 'up'"),
        ({"image": 3}, "image=3: expected 0 to 2."),
        ({"image": True}, "image"),
        ({"patch": 16}, "patch=16: expected 0 to 15."),
        ({"patch": -1}, "patch=-1: expected 0 to 15."),
    ],
)
def test_what_is_not_there_is_refused(
    widget: PatchAttention,
    models: dict[str, Transformer],
    task: VisionTask,
    change: dict[str, Any],
    words: str,
) -> None:
    before = widget.state()
    with pytest.raises(traitlets.TraitError, match=re.escape(words)):
        widget.update(**change)
    assert widget.state() == before
    with pytest.raises(traitlets.TraitError):
        PatchAttention(models, task, places=PLACES, **change)


def test_models_that_do_not_fit_are_refused(
    models: dict[str, Transformer], task: VisionTask
) -> None:
    def of(**changes: Any) -> Transformer:
        return build_model(CONFIG.replace(**changes), seed=0)

    for given, words in (
        ({}, "models is empty"),
        ({"Q-K": of()}, "unknown variant 'Q-K'"),
        ({"QKV": of(n_classes=3)}, "QKV: the images of mnist-small need n_classes=10"),
        ({"QKV": of(pool="class")}, "a class token has no place in the image"),
        ({"QKV": of(), "Q-K=V": of(patch_size=4)}, "Q-K=V has patch_size=4, QKV has 7"),
        ({"QKV": of(), "Q-K=V": of(n_heads=4)}, "Q-K=V has n_heads=4, QKV has 2"),
    ):
        with pytest.raises(ValueError, match=re.escape(words)):
            PatchAttention(given, task, places=PLACES)
    for places in ([], [2000], [-1]):
        with pytest.raises(ValueError, match="from 0 to 1999, since mnist-small has 2,000"):
            PatchAttention(models, task, places=places)


def test_good_values_are_taken(widget: PatchAttention) -> None:
    widget.update(image=2, patch=15, variant="Q=K=V", direction="in")
    assert (widget.image, widget.patch, widget.variant) == (2, 15, "Q=K=V")
    with pytest.raises(traitlets.TraitError, match="read-only"):
        widget.images = []
    with pytest.raises(ValueError, match="Did you mean 'patch'"):
        widget.update(patches=1)


def test_its_words(widget: PatchAttention) -> None:
    widget.image = 1
    image = widget.state()["images"][1]
    lines = widget.describe().splitlines()
    assert lines[0] == f"Image 2 of 3 (held-out image 0): {image['label']}"
    for line, (name, found) in zip(
        lines[1:5], zip(SHARINGS, image["answers"], strict=True), strict=True
    ):
        right = "right" if found["answer"] == image["label"] else "wrong"
        assert line.split()[:4] == [name, "says", f"{found['answer']},", f"{right},"]
        assert f"{100 * max(found['shares']):.0f} % sure" in line
    assert "4 x 4 patches" in lines[5]


def test_the_fallback_is_a_table_of_all_answers(widget: PatchAttention) -> None:
    text = static_html(widget)
    assert text.startswith('<div class="qkv-widget" data-widget="patch_attention">')
    assert text.count('<th scope="row">') == len(PLACES)
    assert text.count("% sure</td>") == len(PLACES) * len(SHARINGS)


def test_a_terminal_gets_the_words(
    widget: PatchAttention, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "get_ipython", lambda: None)
    show(widget)
    assert capsys.readouterr().out == f"{widget.describe()}\n"


def test_names_come_from_python() -> None:
    source = base.module_source("patch_attention").partition("// PatchAttention:")[2]
    for name in SHARINGS:
        assert f'"{name}"' not in source
