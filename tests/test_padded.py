"""Padded paragraphs: what is scored, and what that does to a mean."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from qkvlib import (
    IGNORED,
    ModelConfig,
    PaddedTextTask,
    Task,
    TaskError,
    TrainConfig,
    build_model,
    evaluate_batches,
    train,
)


@pytest.fixture
def paragraphs(tmp_path: Path) -> Path:
    """Twenty paragraphs of 1 to 20 letters."""
    path = tmp_path / "paragraphs.txt"
    path.write_text("\n\n".join("x" * n for n in range(1, 21)))
    return path


def test_rows_by_hand(paragraphs: Path) -> None:
    task = PaddedTextTask(8, files=[paragraphs], held_out=0.5)
    assert isinstance(task, Task)
    inputs, targets = next(iter(task.eval_batches(10)))
    assert inputs.shape == targets.shape == (10, 8)
    assert set(inputs.unique().tolist()) == {ord("x")}  # paragraphs of 11 to 20 letters are cut
    assert task.padding_share == 0
    short = PaddedTextTask(8, files=[paragraphs], held_out=0.95, eval_paragraphs=19)
    inputs, targets = next(iter(short.eval_batches(19)))
    x = ord("x")
    # Two letters, the end mark, and padding.
    assert inputs[0].tolist() == [x, x, 0, 0, 0, 0, 0, 0]
    assert targets[0].tolist() == [x, 0, 0, 0, 0, 0, 0, 0]
    _, left_out = next(iter(short.eval_batches(19, score_padding=False)))
    assert left_out[0].tolist() == [x, 0] + 6 * [IGNORED]
    assert short.padding_share == (left_out == IGNORED).float().mean()


def test_batches_are_a_function_of_seed_and_step(paragraphs: Path) -> None:
    tasks = [PaddedTextTask(8, files=[paragraphs], seed=seed) for seed in (5, 5, 6)]
    first, again, other = (task.batch(3, 16)[0] for task in tasks)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(tasks[0].batch(4, 16)[0], first)
    assert tasks[0].describe()["sha256"] == tasks[2].describe()["sha256"]


def test_padding_lowers_the_mean_by_its_share(paragraphs: Path) -> None:
    """Once padding is foreseen with certainty, loss with it is (1 - share) times loss without."""
    task = PaddedTextTask(24, files=[paragraphs], held_out=0.8, eval_paragraphs=16)
    config = ModelConfig(d_model=32, n_layers=1, n_heads=2, vocab_size=256, max_seq_len=24)
    model = build_model(config, seed=0)
    train(model, task, TrainConfig(steps=150, batch_size=16, lr=1e-2, eval_every=150))
    with_it, without = (
        evaluate_batches(model, task.eval_batches(8, score_padding=scored))["loss"]
        for scored in (True, False)
    )
    share = task.padding_share
    assert 0.3 < share < 0.7
    assert with_it == pytest.approx((1 - share) * without, abs=0.05)
    assert math.exp(with_it) < math.exp(without)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seq_len": 0}, "at least 1 byte"),
        ({"held_out": 1.0}, "a share between 0 and 1"),
        ({"held_out": 0.01}, "cannot be split"),
        ({"eval_paragraphs": 0}, "at least 1"),
    ],
)
def test_what_cannot_work_is_refused(
    paragraphs: Path, arguments: dict[str, float], message: str
) -> None:
    with pytest.raises(TaskError, match=message):
        PaddedTextTask(**{"seq_len": 8, "files": [paragraphs], **arguments})


def test_a_model_that_does_not_fit_is_refused(paragraphs: Path) -> None:
    task = PaddedTextTask(8, files=[paragraphs])
    config = ModelConfig(d_model=32, n_layers=1, n_heads=2, vocab_size=256, max_seq_len=4)
    assert "max_seq_len=4" in task.misfit(config)
    assert task.misfit(config.replace(max_seq_len=8)) is None


def test_the_default_text_has_some_of_both() -> None:
    task = PaddedTextTask(128)
    assert 0.1 < task.padding_share < 0.4
    assert task.n_paragraphs > 10_000
