"""OddOneOut on the Python side, and the same weights and shares as in the page."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import traitlets

from qkvlib import (
    Features,
    ImageSet,
    SetConfig,
    SetEncoder,
    SetTask,
    UnknownNameError,
    build_model,
    evaluate,
    show,
)
from qkvlib.widgets import OddOneOut, base, static_html
from qkvlib.widgets.odd_one_out import pack_weights

from in_node import in_page

HERE = Path(__file__).parent
VARIANTS = ("QKV", "Q=K-V", "(Q=K-V)+")


def grey_features(n_channels: int = 1) -> Features:
    """Six pictures of each of 4 things, described by 5 numbers each."""
    dice = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (24, n_channels, 6, 6), generator=dice, dtype=torch.uint8)
    labels = torch.arange(24) % 4
    images = ImageSet("things", "by chance", ("hat", "cup", "<b>", "key"), pixels, labels,
                      pixels.flip(0), labels.flip(0))  # fmt: skip
    train, test = torch.randn(2, 24, 5, generator=dice)
    return Features(images, "none", train, test)


def small_task(n_channels: int = 1, **changes: Any) -> SetTask:
    return SetTask(grey_features(n_channels), **{"set_size": 5, "eval_sets": 40} | changes)


def small_models(**changes: Any) -> dict[str, SetEncoder]:
    shape = {"d_model": 8, "n_layers": 2, "n_heads": 2, "n_features": 5, "max_seq_len": 5}
    config = SetConfig(**shape | changes)
    models = {}
    for name in VARIANTS:
        model = build_model(config.replace(variant=name), seed=0)
        assert isinstance(model, SetEncoder)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(8)  # so that its maps are not flat
        models[name] = model
    return models


@pytest.fixture
def widget() -> OddOneOut:
    return OddOneOut(small_models(), small_task(), n_rounds=6)


def test_rounds_are_the_first_held_out_sets(widget: OddOneOut) -> None:
    task = small_task()
    elements, odd = task.held_out_sets()
    images = task.features.images
    assert len(widget.rounds) == 6
    for one, places, place in zip(widget.rounds, elements, odd, strict=False):
        pixels = torch.tensor(list(base64.b64decode(one["pixels"]))).view(5, 6, 6)
        assert torch.equal(pixels, images.test_images[places, 0].long())
        assert one["labels"] == [images.classes[i] for i in images.test_labels[places]]
        assert one["odd"] == place
        assert one["labels"].count(one["labels"][one["odd"]]) == 1


def test_scores_and_maps_are_the_models_own(widget: OddOneOut) -> None:
    task, models = small_task(), small_models()
    inputs = task.features.test[task.held_out_sets()[0][:6]]
    for row, (name, model) in zip(widget.models, models.items(), strict=True):
        model.eval()
        with torch.inference_mode():
            scores, layers = model(inputs, return_attention=True)
        assert row["name"] == name
        assert torch.allclose(torch.tensor(row["scores"]), scores, atol=6e-4)
        assert row["accuracy"] == round(evaluate(model, task)["accuracy"], 4)
        for i, layer, head in ((0, 0, 0), (5, 1, 1), (3, 1, 0)):
            packed = torch.tensor(list(base64.b64decode(row["maps"][i][layer][head])))
            expected = layers[layer].weights[i, head]
            assert torch.allclose(packed.view(5, 5) / 255, expected, atol=0.5 / 255 + 1e-6)
    assert widget.answers()["QKV"] == [max(range(5), key=s.__getitem__) for s in
                                       widget.models[0]["scores"]]  # fmt: skip


def test_the_page_reads_what_python_wrote() -> None:
    dice = torch.Generator().manual_seed(0)
    maps = [torch.randn(10, 10, generator=dice).mul(scale).softmax(-1) for scale in (0, 1, 9)]
    scores = [torch.randn(10, generator=dice).mul(scale).tolist() for scale in (0.1, 5, 300)]
    found = in_page(
        "odd_one_out",
        "{ maps: data.maps.map((text) => view.unpackWeights(text, 10)),"
        "  shares: data.scores.map(view.shares), best: data.scores.map(view.best) }",
        {"maps": [pack_weights(each) for each in maps], "scores": scores},
    )
    for rows, weights in zip(found["maps"], maps, strict=True):
        assert torch.allclose(torch.tensor(rows), weights, atol=0.5 / 255 + 1e-6)
    for share, first, score in zip(found["shares"], found["best"], scores, strict=True):
        assert share == pytest.approx(torch.tensor(score).double().softmax(0).tolist())
        assert first == int(torch.tensor(score).argmax())


def test_both_sides_keep_the_same_tally(widget: OddOneOut) -> None:
    odd = [one["odd"] for one in widget.rounds]
    widget.picks = [odd[0], (odd[1] + 1) % 5, -1, odd[3], -1, -1]
    tally = widget.tally()
    answers = widget.answers()
    assert tally["you"] == 2
    for name in VARIANTS:
        assert tally[name] == sum(answers[name][i] == odd[i] for i in (0, 1, 3))
    page = in_page("odd_one_out", "view.tally(data)", widget.state())
    assert page == {"played": 3, "you": 2, "models": [tally[name] for name in VARIANTS]}


def test_a_stored_page_has_no_round_played(widget: OddOneOut) -> None:
    widget.update(picks=[0, 1, 2, 3, 4, 0], shown=3)
    stored = widget.static_state()
    assert (stored["picks"], stored["shown"]) == ([-1] * 6, 0)
    assert widget.picks == [0, 1, 2, 3, 4, 0]


def test_the_lessons_state_stays_small() -> None:
    # Ten rounds of ten images of 28 x 28, six models of 2 layers with 4 heads.
    pixels = 10 * len(base64.b64encode(bytes(10 * 28 * 28)))
    maps = 6 * 10 * 2 * 4 * len(pack_weights(torch.full((10, 10), 0.1)))
    assert pixels + maps < 200_000


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"shown": 6}, "shown=6: expected 0 to 5"),
        ({"layer": 2}, "layer=2: expected 0 to 1"),
        ({"head": -1}, "head=-1: expected 0 to 1"),
        ({"least": 101}, "least=101: expected 0 to 100"),
        ({"focus": 5}, "focus=5: expected -1 to 4"),
        ({"layer": True}, "layer=True"),
        ({"variant": "QVK"}, "Did you mean 'QKV'"),
        ({"picks": [0]}, "expected 6 places"),
        ({"picks": [0, 1, 2, 3, 4, 5]}, "from 0 to 4"),
        ({"picks": [-2] * 6}, "or -1 where none"),
    ],
)
def test_what_is_not_there_is_refused(change: dict[str, Any], words: str) -> None:
    widget = OddOneOut(small_models(), small_task(), n_rounds=6)
    before = widget.state()
    with pytest.raises(traitlets.TraitError, match=re.escape(words)):
        widget.update(**change)
    assert widget.state() == before
    with pytest.raises(traitlets.TraitError):
        OddOneOut(small_models(), small_task(), n_rounds=6, **change)


def test_models_and_tasks_that_do_not_fit_are_refused() -> None:
    task, models = small_task(), small_models()
    with pytest.raises(ValueError, match="models is empty"):
        OddOneOut({}, task)
    with pytest.raises(ValueError, match="have 3 channels"):
        OddOneOut(models, small_task(3))
    for n_rounds in (0, 41):
        with pytest.raises(ValueError, match=f"n_rounds={n_rounds}: expected 1 to eval_sets=40"):
            OddOneOut(models, task, n_rounds=n_rounds)
    with pytest.raises(ValueError, match="model QKV: an element of things sets has 5 features"):
        OddOneOut(small_models(n_features=6), task)
    deeper = models | {"QKV": small_models(n_layers=1)["QKV"]}
    with pytest.raises(ValueError, match=r"\(n_layers, n_heads\) of \[\(1, 2\), \(2, 2\)\]"):
        OddOneOut(deeper, task)
    with pytest.raises(UnknownNameError, match="Did you mean 'focus'"):
        OddOneOut(models, task, fokus=1)


def test_its_words(widget: OddOneOut) -> None:
    lines = widget.describe().splitlines()
    one = widget.rounds[0]
    assert lines[0].startswith(f"Round 1 of 6: {one['labels'][0]}, ")
    assert lines[0].endswith(f"The odd one is image {one['odd'] + 1}.")
    for line, name in zip(lines[1:], VARIANTS, strict=True):
        pick = widget.answers()[name][0]
        assert f"{name:<9} picks image {pick + 1} with" in line
        assert ("right" in line) is (pick == one["odd"])


def test_the_fallback_is_a_table_of_all_picks(widget: OddOneOut) -> None:
    text = static_html(widget)
    assert text.startswith('<div class="qkv-widget" data-widget="odd_one_out">')
    assert text.count('<th scope="row">') == 6
    assert text.count("✓") + text.count("✗") == 6 * len(VARIANTS)
    assert "<b>" not in text.replace("&lt;b&gt;", ""), "names of classes are escaped"
    for one in widget.rounds:
        usual = next(label for i, label in enumerate(one["labels"]) if i != one["odd"])
        cell = f"{one['odd'] + 1}: {one['labels'][one['odd']]} among {usual}"
        assert cell.replace("<", "&lt;").replace(">", "&gt;") in text


def test_a_terminal_gets_the_words(
    widget: OddOneOut, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "get_ipython", lambda: None)
    show(widget)
    assert capsys.readouterr().out == f"{widget.describe()}\n"


def test_names_come_from_python() -> None:
    source = base.module_source("odd_one_out").partition("// OddOneOut:")[2]
    for name in ("QKV", "Q=K-V", "MNIST"):
        assert name not in source
