"""AttentionLab in a notebook: what its view is told, what it refuses, and that it answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from qkvlib import (
    SHARINGS,
    AttentionLab,
    BPETokenizer,
    LabEngine,
    LabError,
    ModelConfig,
    build_model,
    bytes_per_token,
    config_from_dict,
    save_weights,
)
from qkvlib.widgets import base, static_html
from qkvlib.widgets.attention_lab import LONGEST_PROMPT

from small_lab import small_lab
from widget_pages import refuses

SMALL = ModelConfig(d_model=16, n_layers=2, n_heads=2, vocab_size=256, max_seq_len=24)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> LabEngine:
    return LabEngine(folder=small_lab(tmp_path_factory) / "lab")


def test_it_tells_the_view_what_there_is(engine: LabEngine) -> None:
    lab = AttentionLab(engine)
    assert (lab.kind, lab.variant, lab.other) == ("text", "gpt/QKV", "")
    assert lab.prompt == engine.catalogue["examples"]["text"]
    assert len(lab.digits) == lab.task["length"] == 10
    by_title = {(row["kind"], row["title"]): row for row in lab.models}
    assert set(by_title) == {("text", "QKV"), ("text", "Q-MQA"), ("lists", "(Q=K-V)+")}
    tied = by_title["text", "Q-MQA"]
    assert (tied["sharing"], tied["option"], tied["config"]["cached"]) == ("Q-K=V", "MQA", ["k"])
    assert tied["quality"]["low"] < tied["quality"]["value"] < tied["quality"]["high"]
    assert tied["download"] > 10_000
    (entry,) = (each for each in engine.catalogue["models"] if each["name"] == tied["name"])
    config = config_from_dict(entry["config"])
    assert tied["bytes_per_token"] == bytes_per_token(config, torch.float32)
    assert by_title["lists", "(Q=K-V)+"]["option"] == "(X)+"
    json.dumps(lab.state())


@pytest.mark.parametrize("spelling", ["Q-MQA", "(Q, K=V) MQA", "gpt/Q-MQA", "q-mqa"])
def test_variants_are_read_in_any_spelling(engine: LabEngine, spelling: str) -> None:
    assert AttentionLab(engine, variant=spelling).variant == "gpt/Q-MQA"


def test_kind_and_variant_change_together(engine: LabEngine) -> None:
    lab = AttentionLab(engine)
    lab.update(kind="lists", variant="(Q=K-V)+")
    assert lab.variant == "encoder/(Q=K-V)+"
    assert AttentionLab(engine, kind="lists").variant == "encoder/(Q=K-V)+"


def test_what_no_longer_fits_falls_to_the_nearest() -> None:
    deep, flat = (build_model(SMALL.replace(n_layers=n)) for n in (3, 2))
    lists = build_model(SMALL.replace(causal=False, vocab_size=10, max_seq_len=8))
    models = {"deep": deep, "twin": deep, "flat": flat, "lists": lists}
    lab = AttentionLab(LabEngine(models), variant="deep", other="twin", layer=2, head=1)
    lab.variant = "flat"
    assert (lab.other, lab.layer, lab.head) == ("", 1, 1)
    lab.update(variant="deep", other="twin", layer=2)
    lab.kind = "lists"
    assert (lab.variant, lab.other, lab.layer) == ("lists", "", 1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "texts"}, ["unknown kind 'texts'", "'text'"]),
        ({"variant": "Q=K=V"}, ["unknown variant 'Q=K=V'", "Q-MQA", ".update(kind=…"]),
        ({"other": "encoder/(Q=K-V)+"}, ["unknown other"]),
        ({"layer": 2}, ["layer=2", "has 2", "0 to 1"]),
        ({"head": -1}, ["head=-1", "0 to 1"]),
        ({"head": True}, ["head"]),
        ({"temperature": -0.1}, ["temperature=-0.1", "0 or more"]),
        ({"temperature": float("nan")}, ["temperature=nan"]),
        ({"seed": -1}, ["seed=-1"]),
        ({"prompt": "x" * (LONGEST_PROMPT + 1)}, ["20,001 characters", "20,000"]),
        ({"digits": [1, 2, 3]}, ["digits=[1, 2, 3]", "expected 10"]),
        ({"digits": [10] * 10}, ["from 0 to 9"]),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_changes(
    engine: LabEngine, change: dict[str, Any], words: list[str]
) -> None:
    refuses(AttentionLab(engine), change, words)


def test_it_answers_its_view(engine: LabEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = AttentionLab(engine)
    sent: list[tuple[Any, Any]] = []
    monkeypatch.setattr(lab, "send", lambda content, buffers=None: sent.append((content, buffers)))
    for message in (
        {"id": 1, "task": "encode", "name": lab.variant, "text": "if x"},
        {"id": 2, "task": "read", "name": lab.variant, "tokens": [1, 2, 3]},
        {"id": 3, "task": "dance"},
        {"something": "else"},
    ):
        lab._handle_custom_msg(message, [])
    assert [content["id"] for content, _ in sent] == [1, 2, 3]
    answer, buffers = sent[1]
    assert answer["result"]["shape"] == [2, 2, 3, 3]
    assert len(buffers[answer["result"]["weights"]["buffer"]]) == 4 * 2 * 2 * 3 * 3
    assert "dance" in sent[2][0]["error"]


def test_models_of_ones_own() -> None:
    before, after = (build_model(SMALL, seed=seed) for seed in (0, 1))
    lab = AttentionLab(LabEngine({"before": before, "after": after}), variant="after")
    assert [row["option"] for row in lab.models] == ["before", "after"], "told apart by name"
    assert [row["label"] for row in lab.models] == ["before: QKV (Q, K, V)", "after: QKV (Q, K, V)"]
    assert [row["quality"] for row in lab.models] == [None, None]
    assert lab.task == {}
    assert "not measured" not in lab.describe()
    assert "for each token" in lab.describe()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_a_full_cache_would_hold_is_told_in_the_models_own_numbers(dtype: torch.dtype) -> None:
    models = {name: build_model(SMALL.replace(variant=name)) for name in ("QKV", "Q-MQA")}
    lab = AttentionLab(LabEngine({name: model.to(dtype) for name, model in models.items()}))
    plain, tied = lab.models
    assert plain["full_bytes_per_token"] == plain["bytes_per_token"] == 2 * 32 * dtype.itemsize
    assert tied["full_bytes_per_token"] == 4 * tied["bytes_per_token"]
    answer, _ = lab.engine.answer({"task": "read", "name": "QKV", "tokens": [1, 2, 3]})
    assert answer["result"]["cacheBytes"] == 3 * plain["bytes_per_token"]


def test_encoders_of_ones_own_have_a_list_to_look_at() -> None:
    shape = SMALL.replace(causal=False, vocab_size=6, max_seq_len=8)
    lab = AttentionLab(LabEngine({"mine": build_model(shape)}))
    assert (lab.kind, lab.task["name"], lab.task["length"]) == ("lists", "", 8)
    assert lab.digits == [0, 1, 2, 3, 4, 5, 0, 1]
    refuses(lab, {"digits": [6] * 8}, ["from 0 to 5"])
    answer, _ = lab.engine.answer({"task": "look", "name": "mine", "tokens": lab.digits})
    assert len(answer["result"]["answers"]) == 8


def test_only_models_of_the_same_maps_and_tokens_stand_side_by_side() -> None:
    tokenizer = BPETokenizer.train(b"def read(self):\n    return self\n" * 40, 270)
    plain, deep = (build_model(SMALL.replace(n_layers=n)) for n in (2, 3))
    lab = AttentionLab(LabEngine({"plain": plain, "twin": plain, "deep": deep}), variant="plain")
    lab.other = "twin"
    refuses(lab, {"other": "deep"}, ["other='deep' cannot stand beside 'plain'", "layers"])
    words = LabEngine({"words": build_model(SMALL.replace(vocab_size=270))}, tokenizer=tokenizer)
    assert words.catalogue["models"][0]["tokenizer"] != lab.models[0]["tokenizer"]


def test_weights_without_a_tokenizer_take_the_one_that_is_given(tmp_path: Path) -> None:
    tokenizer = BPETokenizer.train(b"def read(self):\n    return self\n" * 40, 270)
    path = save_weights(build_model(SMALL.replace(vocab_size=270)), tmp_path / "m.safetensors")
    with pytest.raises(LabError, match=r"tokenizer=task\.tokenizer"):
        LabEngine({"m": path})
    engine = LabEngine({"m": path}, tokenizer=tokenizer)
    answer, _ = engine.answer({"task": "encode", "name": "m", "text": "def read"})
    assert [each["token"] for each in answer["result"]] == tokenizer.encode(b"def read").tolist()


def test_it_says_in_words_what_there_is(engine: LabEngine) -> None:
    lab = AttentionLab(engine)
    text = lab.describe()
    assert "Q-MQA (Q, K=V): " in text
    assert "bits per byte (" in text
    page = static_html(lab)
    assert "where scripts run" in page
    assert len(page) < 12_000
    assert "% right" in AttentionLab(engine, kind="lists").describe()


def test_names_belong_to_python() -> None:
    source = base.module_source("attention_lab")
    own = source.partition("// What is behind the Attention Lab's picture")[2]
    assert own
    assert not any(f'"{name}"' in own for name in SHARINGS if name not in ("QKV", "Q-K=V"))
