"""DecodeStepper on the Python side: what it records is what the models do."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
import traitlets

from qkvlib import (
    SHARINGS,
    KVCache,
    ModelConfig,
    Transformer,
    build_model,
    bytes_per_token,
    encode,
    generate,
    pass_cost,
)
from qkvlib.widgets import DecodeStepper, static_html
from qkvlib.widgets.decode_stepper import LONGEST, glyph

from in_node import find_node

HERE = Path(__file__).parent
PROMPT = "if x:\n"
STEPS = 8
SCRIPT = """
import { readFileSync } from "node:fs";
const { load } = await import(LOAD);
const { totals, passOf, wordsOf } = await load("decode_stepper");
const state = JSON.parse(readFileSync(0, "utf8"));
const answers = [];
for (const run of state.runs) {
  for (let at = 0; at <= run.steps.length; at++) {
    const now = { ...state, sharing: run.sharing, at };
    answers.push({ totals: totals(now), pass: passOf(now), words: wordsOf(now) });
  }
}
process.stdout.write(JSON.stringify(answers));
"""


@pytest.fixture(autouse=True)
def _static(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QKV_STATIC", "1")  # comms would only take time


def small(sharing: str, seed: int = 0, **changes: Any) -> Transformer:
    shape = {"d_model": 16, "n_layers": 2, "n_heads": 2, "vocab_size": 256, "max_seq_len": 64}
    model = build_model(ModelConfig(sharing=sharing, **(shape | changes)), seed=seed)
    with torch.no_grad():  # at their small initial weights all tokens are as likely
        for parameter in model.parameters():
            parameter *= 8
    return model


@pytest.fixture(scope="module")
def models() -> list[Transformer]:
    return [small(name) for name in SHARINGS]


@pytest.fixture
def stepper(models: list[Transformer]) -> DecodeStepper:
    return DecodeStepper.from_models(models, PROMPT, STEPS)


def test_the_page_adds_up_as_python_does(stepper: DecodeStepper) -> None:
    run = subprocess.run(
        [find_node(), "--input-type=module", "-e",
         SCRIPT.replace("LOAD", json.dumps((HERE / "load.mjs").as_uri()))],
        input=json.dumps(stepper.state()),
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    answers = iter(json.loads(run.stdout))
    for sharing in SHARINGS.values():
        for at in range(STEPS + 1):
            stepper.update(sharing=sharing.name, at=at)
            answer = next(answers)
            assert answer["totals"] == stepper.totals()
            seen = len(PROMPT) + at - 1 if at else 0
            assert answer["pass"]["seen"] == seen
            label = answer["words"]["cached"]["label"]
            if at:
                held = bytes_per_token(small(sharing.name).config, torch.float32) * seen
                assert stepper.totals()["held"] == held
                assert f"holds {held:,} bytes" in label
    assert next(answers, None) is None


@pytest.mark.parametrize("name", SHARINGS)
def test_the_recording_is_what_the_model_does(
    models: list[Transformer], stepper: DecodeStepper, name: str
) -> None:
    stepper.sharing = name
    model = models[list(SHARINGS).index(name)]
    expected = list(generate(model, encode(PROMPT), STEPS, temperature=0, use_cache=False))
    steps = stepper.run["steps"]
    assert [step["token"] for step in steps] == [glyph(token) for token in expected]

    cache = KVCache(model.config)
    text = torch.cat([encode(PROMPT), torch.tensor(expected)])
    for made, step in enumerate(steps):
        seen = len(PROMPT) + made
        before = cache.nbytes_used
        with torch.inference_mode():
            logits = model(text[None, cache.length : seen], cache=cache)[0, -1]
        chances = logits.double().softmax(dim=-1)
        best = chances.topk(5)
        for (token, without, cached), chance, index in zip(
            step["candidates"], best.values.tolist(), best.indices.tolist(), strict=True
        ):
            assert token == glyph(index)
            assert without == pytest.approx(chance, abs=2e-4)
            assert cached == pytest.approx(chance, abs=2e-4)
        assert step["apart"] < 1e-3
        assert (step["read"], step["held"]) == (before, cache.nbytes_used)
        assert step["written"] == cache.nbytes_used - before
        config = model.config
        anew = pass_cost(config, seen, use_cache=False)
        kept = pass_cost(config, 1 if made else seen, seen - 1 if made else 0)
        assert step["macs"] == [anew.macs, kept.macs]
        assert stepper.run["weight_bytes"] == anew.weight_bytes == kept.weight_bytes


def test_prefill_costs_the_same_both_ways_and_decoding_does_not(stepper: DecodeStepper) -> None:
    first, *rest = stepper.run["steps"]
    assert first["macs"][0] == first["macs"][1]
    for made, step in enumerate(rest, start=1):
        assert step["macs"][0] == (len(PROMPT) + made) * step["macs"][1]


def test_a_tied_value_halves_what_is_held(stepper: DecodeStepper) -> None:
    stepper.at = STEPS
    held = {}
    for name in SHARINGS:
        stepper.sharing = name
        held[name] = stepper.totals()["held"]
    assert held["QKV"] == held["Q=K-V"] == 2 * held["Q-K=V"] == 2 * held["Q=K=V"] > 0


def test_drawing_is_seeded_and_stays_among_the_likeliest(models: list[Transformer]) -> None:
    def written(**how: Any) -> list[str]:
        drawn = DecodeStepper.from_models(models[:1], PROMPT, STEPS, **how)
        for step in drawn.run["steps"]:
            assert step["token"] in [token for token, *_ in step["candidates"]]
        return [step["token"] for step in drawn.run["steps"]]

    assert written(temperature=50.0, seed=1) == written(temperature=50.0, seed=1)
    assert written(temperature=50.0, seed=1) != written(temperature=50.0, seed=2)
    assert written(temperature=1e-6) == written()


def test_the_model_keeps_its_mode_and_its_dropout_is_off() -> None:
    model = small("QKV", dropout=0.5).train()
    steps = DecodeStepper.from_models([model], PROMPT, 3).run["steps"]
    assert model.training
    assert all(step["apart"] < 1e-3 for step in steps)


def test_bytes_are_drawn_so_that_they_can_be_seen() -> None:
    assert [glyph(b) for b in b"a~ \n\t\0\xc3"] == ["a", "~", "␣", "⏎", "⇥", "00", "C3"]
    stepper = DecodeStepper.from_models([small("QKV")], "a é", 1)
    assert stepper.prompt == ["a", "␣", "C3", "A9"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"models": []}, "give at least one model"),
        ({"models": [small("QKV"), small("QKV", 1)]}, "of each sharing only one"),
        ({"models": [small("QKV", causal=False)]}, "causal=False"),
        ({"models": [small("QKV", vocab_size=10)]}, "vocab_size=10"),
        ({"prompt": ""}, "0 tokens of prompt"),
        ({"steps": 0}, "steps=0"),
        ({"prompt": "x" * LONGEST}, f"there is room for {LONGEST}"),
        ({"models": [small("QKV", max_seq_len=12)]}, "take 13 positions; there is room for 12"),
        ({"temperature": -1.0}, "temperature=-1.0"),
    ],
)
def test_what_cannot_be_recorded_is_refused(arguments: dict[str, Any], words: str) -> None:
    given = {"models": [small("QKV")], "prompt": PROMPT, "steps": STEPS} | arguments
    with pytest.raises(ValueError, match=words):
        DecodeStepper.from_models(**given)


def test_the_longest_recording_that_fits(models: list[Transformer]) -> None:
    stepper = DecodeStepper.from_models(models[:1], "x" * (LONGEST - 1), 2)
    assert stepper.steps == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"at": STEPS + 1}, f"expected 0 to {STEPS}"),
        ({"at": -1}, "expected 0 to"),
        ({"at": True}, "at=True"),
        ({"sharing": "Q-KV"}, "Did you mean 'Q-K=V'"),
    ],
)
def test_a_state_that_was_not_recorded_is_refused(
    stepper: DecodeStepper, change: dict[str, Any], words: str
) -> None:
    before = stepper.state()
    with pytest.raises(traitlets.TraitError, match=words):
        stepper.update(**change)
    assert stepper.state() == before


def test_it_is_made_from_models() -> None:
    for nothing in ({}, {"runs": []}):
        with pytest.raises(ValueError, match=r"DecodeStepper\.from_models"):
            DecodeStepper(**nothing)


def test_the_mount_point_is_small_and_reads_as_a_table(stepper: DecodeStepper) -> None:
    text = static_html(stepper)
    assert len(text) < 20_000
    assert text.count("<tr>") == STEPS + 1
    assert "1, prefill</td><td>6 tokens</td>" in text
    assert f"<code>{''.join(stepper.prompt)}</code>" in text
    for step in stepper.run["steps"]:
        assert f"<td>{step['macs'][0]:,}</td><td>{step['macs'][1]:,}</td>" in text


def test_words(stepper: DecodeStepper) -> None:
    stepper.update(at=2, sharing="Q-K=V")
    words = stepper.describe()
    assert "A model with Q-K=V (Q, K=V) goes on from 'if␣x:⏎': pass 2 of 8" in words
    without, cached = stepper.totals()["macs"]
    assert f"{without:,} without a cache, {cached:,} with one" in words
