"""Task maps: kept as text, loaded again, and what the stored ones must hold."""

import functools
from pathlib import Path

import pytest
import torch
from hypothesis import given, strategies as st

from qkvlib import SIX_VARIANTS, TASKS, ModelConfig, SyntheticTask, build_model, save_rows
from qkvlib.task_maps import (
    LISTS,
    TaskMap,
    load_task_maps,
    measure_task_maps,
    pack_map,
    unpack_map,
)
from qkvlib.tasks import IGNORED


@given(st.integers(1, 20), st.integers(0, 1000), st.sampled_from([0.1, 1.0, 30.0]))
def test_a_map_comes_back_from_its_text(length: int, seed: int, sharpness: float) -> None:
    scores = torch.randn(length, length, generator=torch.Generator().manual_seed(seed))
    weights = (scores * sharpness).softmax(dim=-1)
    text = pack_map(weights)
    assert len(text) <= length * length
    again = unpack_map(text, length)
    assert (again - weights).abs().max() <= 0.5 / 63 + 1e-6
    assert pack_map(again) == text


def test_zeros_are_counted() -> None:
    eye = torch.eye(16)
    assert pack_map(eye) == "_~G" * 15 + "_"
    assert torch.equal(unpack_map(pack_map(eye), 16), eye)
    assert pack_map(torch.zeros(10, 10)) == "~_~b"
    assert pack_map(torch.tensor([[0.0, 0.0], [1.0, 0.0]])) == "00_0"


@pytest.mark.parametrize("text", ["", "_", "~G", "_~G_"])
def test_a_text_of_another_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected 3 x 3"):
        unpack_map(text, 3)


def small(task: str, n_heads: int = 2) -> tuple[ModelConfig, SyntheticTask]:
    made = SyntheticTask(task, 6, eval_lists=5)
    config = ModelConfig(
        d_model=16, n_layers=2, n_heads=n_heads, vocab_size=made.vocab_size, max_seq_len=6,
        causal=False, tie_embeddings=False,
    )  # fmt: skip
    return config, made


def test_what_is_measured_is_loaded_again(tmp_path: Path) -> None:
    rows = []
    for name in ("SHIFT", "RECALL"):
        config, task = small(name)
        for seed in (1, 0):  # the order of the file does not matter
            measured = measure_task_maps(build_model(config, seed=seed), task)
            kept = measured if seed == 0 else {"answers": None, "maps": None}
            shape = {"length": 6, "n_layers": 2, "n_heads": 2}
            rows.append(
                {"task": name, "variant": "QKV", "seed": seed, "accuracy": seed / 4} | shape | kept
            )
    path = tmp_path / "maps.json"
    save_rows(rows, path, about="", recipe={"task": {"eval_lists": 5}})
    shift, recall = load_task_maps(path)
    assert (shift.task, recall.task) == ("SHIFT", "RECALL")
    assert shift.accuracy == {0: 0.0, 1: 0.25}
    for one in (shift, recall):
        config, task = small(one.task)
        inputs, targets = next(iter(task.eval_batches(LISTS)))
        assert torch.equal(one.inputs, inputs)
        assert torch.equal(one.targets, targets)
        with torch.inference_mode():
            logits, maps = build_model(config, seed=0).eval()(inputs, return_attention=True)
        assert torch.equal(one.answers, logits[..., :10].argmax(-1))
        assert one.weights.shape == (LISTS, 2, 2, 6, 6)
        for layer in range(2):
            assert torch.allclose(one.weights[:, layer], maps[layer].weights, atol=0.51 / 63)


@functools.cache
def stored() -> dict[tuple[str, str, int], TaskMap]:
    return {(one.task, one.variant, one.n_heads): one for one in load_task_maps()}


def test_the_stored_file_has_every_task_and_variant() -> None:
    assert set(stored()) == {(t, v, h) for t in TASKS for v in SIX_VARIANTS for h in (1, 2)}
    for one in stored().values():
        assert len(one.accuracy) >= 5
        assert one.weights.shape == (LISTS, 1, one.n_heads, 16, 16)
        assert (one.weights.sum(-1) - 1).abs().max() < 0.1


@pytest.mark.parametrize("variant", SIX_VARIANTS)
def test_symmetric_scores_leave_a_hole_in_every_shift(variant: str) -> None:
    """No training gets round it; see lesson 08 for the proof. Two heads have one each."""
    here = torch.arange(16)
    for n_heads in (1, 2):
        weights = stored()["SHIFT", variant, n_heads].weights[:, 0]
        leans = weights[..., here, here - 1] > weights[..., here, (here + 1) % 16]
        if variant.startswith(("Q=K", "(Q=K")):
            assert leans.sum(-1).max() < 16
        elif n_heads == 1:
            assert leans.all()


def test_answers_fit_the_accuracy() -> None:
    for one in stored().values():
        asked = one.targets != IGNORED
        right = (one.answers == one.targets)[asked].float().mean().item()
        assert abs(right - one.accuracy[0]) < 0.25, (one.task, one.variant)
