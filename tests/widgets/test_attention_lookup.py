"""AttentionLookup on the Python side: the same numbers as the page, and as PyTorch."""

from __future__ import annotations

import json
import math
import random
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
import traitlets

from qkvlib.widgets import AttentionLookup, base, static_html

from in_node import find_node
from widget_pages import refuses

HERE = Path(__file__).parent

SCRIPT = """
import { readFileSync } from "node:fs";
import { load } from LOAD;
const lookup = await load("attention_lookup");
const answers = JSON.parse(readFileSync(0, "utf8")).map((state) => {
  const weights = lookup.weightsOf(state);
  return {
    scores: lookup.scoresOf(state),
    weights,
    value: lookup.mix(weights, state.values),
    key: lookup.mixKeys(weights, state.key_points),
    keys: lookup.effectiveKeys(weights),
    through: lookup.letThrough(weights),
  };
});
process.stdout.write(JSON.stringify(answers));
"""


@pytest.fixture(autouse=True)
def _static(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QKV_STATIC", "1")  # comms would only take time


def some(count: int) -> list[AttentionLookup]:
    """The picture it starts with, and pictures at random, extreme ones among them."""
    dice = random.Random(0)

    def point() -> list[float]:
        return [round(dice.uniform(-3.5, 3.5), 2), round(dice.uniform(-3.5, 3.5), 2)]

    widgets = [AttentionLookup(), AttentionLookup(query=[0, 0])]
    for _ in range(count):
        n = dice.randint(1, 8)
        widgets.append(
            AttentionLookup(
                key_points=[point() for _ in range(n)],
                labels=[f"key {i}" for i in range(n)],
                values=[dice.uniform(-100, 100) for _ in range(n)],
                query=point(),
                temperature=10 ** dice.uniform(-2, 2),
                head_dim=2 ** dice.randint(1, 16),
                scaled=dice.random() < 0.5,
            )
        )
    return widgets


def test_the_page_computes_what_python_computes() -> None:
    widgets = some(200)
    script = SCRIPT.replace("LOAD", json.dumps((HERE / "load.mjs").as_uri()))
    run = subprocess.run(
        [find_node(), "--input-type=module", "-e", script],
        input=json.dumps([widget.state() for widget in widgets]),
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    for widget, answer in zip(widgets, json.loads(run.stdout), strict=True):
        assert answer["scores"] == pytest.approx(widget.scores, rel=1e-12, abs=1e-12)
        assert answer["weights"] == pytest.approx(widget.weights, rel=1e-9, abs=1e-12)
        assert answer["value"] == pytest.approx(widget.mixed_value, rel=1e-9, abs=1e-9)
        assert answer["key"] == pytest.approx(widget.mixed_key, rel=1e-9, abs=1e-9)
        assert answer["keys"] == pytest.approx(widget.effective_keys, rel=1e-9)
        assert answer["through"] == pytest.approx(widget.let_through, rel=1e-9, abs=1e-12)


def test_python_computes_what_pytorch_computes() -> None:
    for widget in some(50):
        keys = torch.tensor(widget.key_points, dtype=torch.float64)
        scores = keys @ torch.tensor(widget.query, dtype=torch.float64)
        scores = scores * (widget.head_dim / 2) ** 0.5
        if widget.scaled:
            scores = scores / widget.head_dim**0.5
        scores = (scores / widget.temperature).requires_grad_()
        weights = scores.softmax(dim=0)
        assert widget.weights == pytest.approx(weights.tolist(), rel=1e-6, abs=1e-12)
        mixed = (weights @ keys).tolist()
        assert widget.mixed_key == pytest.approx(mixed, rel=1e-6, abs=1e-9)
        slope = torch.autograd.functional.jacobian(lambda s: s.softmax(0), scores.detach())
        most = 1 - 1 / len(keys)
        if len(keys) > 1:
            assert widget.let_through == pytest.approx(slope.trace().item() / most, abs=1e-9)


def test_the_widgets_width_is_what_random_vectors_do() -> None:
    """Dot products in D dimensions really spread √(D/2) times as wide as in two."""
    generator = torch.Generator().manual_seed(0)

    def spread(d: int) -> float:
        q, k = torch.randn(2, 20_000, d, generator=generator)
        return (q * k).sum(-1).std().item()

    for d in (8, 64, 256):
        told = AttentionLookup(head_dim=d, scaled=False).scores[0]
        told /= AttentionLookup(head_dim=2, scaled=False).scores[0]
        assert told == pytest.approx(math.sqrt(d / 2))
        assert spread(d) / spread(2) == pytest.approx(told, rel=0.05)


def test_it_starts_as_the_lesson_says() -> None:
    widget = AttentionLookup()
    assert widget.labels == ["honey", "apple", "lemon", "pickle", "tonic"]
    assert widget.labels[widget.weights.index(max(widget.weights))] == "lemon"
    assert widget.mixed_value == pytest.approx(6.44, abs=0.005)
    assert len(set(widget.palette)) == 8
    assert len(json.dumps(widget.state())) < 2_000


def test_own_keys_bring_names_and_values() -> None:
    widget = AttentionLookup(key_points=[[1, 0], [0, 1]], query=[3, 3])
    assert (widget.labels, widget.values) == (["A", "B"], [1, 2])
    assert widget.mixed_value == pytest.approx(1.5)
    widget.update(key_points=[[1, 1]], labels=["one"], values=[7.5])
    assert (widget.mixed_value, widget.effective_keys, widget.let_through) == (7.5, 1.0, 0.0)
    moved = AttentionLookup(key_points=[[0, 0]] * 5)
    assert moved.labels == AttentionLookup().labels
    assert moved.weights == pytest.approx([0.2] * 5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"key_points": [[1, 0]]}, ["1 key_points, 5 labels", ".update(key_points="]),
        ({"labels": ["a", "b"]}, ["5 key_points, 2 labels, 5 values"]),
        ({"values": [1.0]}, ["1 values", "hands over one value"]),
        ({"key_points": []}, ["0 keys", "1 to 8"]),
        ({"key_points": [[0, 0]] * 9}, ["9 keys"]),
        ({"key_points": [[1, 0], 3, [0, 0], [0, 0], [0, 0]]}, ["key_points[1]=3", "[x, y]"]),
        ({"key_points": [[3.6, 0]] * 5}, ["key_points[0]=[3.6, 0]", "from -3.5 to 3.5"]),
        ({"query": [1]}, ["query=[1]", "two numbers"]),
        ({"query": [float("nan"), 0]}, ["query=[nan, 0]"]),
        ({"query": [True, 0]}, ["query=[True, 0]"]),
        ({"labels": ["a", "a", "b", "c", "d"]}, ["a name of its own"]),
        ({"labels": ["a", "", "b", "c", "d"]}, ["a name of its own"]),
        ({"values": [1, 2, 3, 4, "5"]}, ["values[4]='5'", "finite number"]),
        ({"values": [1, 2, 3, 4, math.inf]}, ["values[4]=inf"]),
        ({"temperature": 0}, ["temperature=0", "0.01 to 100"]),
        ({"head_dim": 1}, ["head_dim=1", "2 to 65,536"]),
        ({"head_dim": True}, ["head_dim=True"]),
        ({"axes": ["left", "right"]}, ["four words"]),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_changes(
    change: dict[str, Any], words: list[str]
) -> None:
    refuses(AttentionLookup(), change, words)


def test_a_misspelt_field_is_named() -> None:
    with pytest.raises(ValueError, match="Did you mean 'key_points'"):
        AttentionLookup(key_point=[[0, 0]])
    with pytest.raises(traitlets.TraitError, match="9 keys"):
        AttentionLookup(key_points=[[0, 0]] * 9)


def test_without_a_script_the_numbers_are_there() -> None:
    widget = AttentionLookup()
    text = static_html(widget)
    assert text.startswith('<div class="qkv-widget" data-widget="attention_lookup">')
    found = re.search(r'<script type="application/json">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    assert json.loads(found[1]) == widget.state()
    assert '<tr><th scope="row">lemon</th><td>sweet -0.6, sour 2.7</td><td>4.80</td>' in text
    assert "Mixed value 6.44 €." in text
    said = widget.describe()
    assert "lemon (sweet -0.6, sour 2.7): dot product 4.80, weight 51.1 %, value 4 €" in said
    assert "In effect 3.03 of 5 keys are read" in said
    tied = AttentionLookup(value_is_key=True, scaled=False, unit="")
    assert "Output (sweet" in tied.describe()
    assert "scores not divided by its square root" in tied.fallback_html()
    assert "<b>" not in AttentionLookup(labels=["<b>", *"wxyz"]).fallback_html()


def test_what_is_shown_comes_from_the_state() -> None:
    source = (Path(base.__file__).parent / "attention_lookup.js").read_text(encoding="utf-8")
    for word in [*AttentionLookup().labels, *AttentionLookup().axes, "€"]:
        assert f'"{word}"' not in source
