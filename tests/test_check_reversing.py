"""Lesson 06's checks: right answers pass in several styles, and mistakes are named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from qkvlib import CheckFailed, check

Answer = Callable[..., Any]


def subtract_first(scores: Tensor) -> Tensor:
    powers = (scores - scores.max()).exp()
    return powers.sum(dim=1) / powers.sum()


def in_double(scores: Tensor) -> Tensor:
    powers = scores.double().exp()
    return powers.sum(0) / powers.sum()


def by_walking(scores: Tensor) -> Tensor:
    weights = scores.double().softmax(-1)
    return torch.linalg.matrix_power(weights, 2**12)[0]


@pytest.mark.parametrize(
    "answer", [lambda s: s.logsumexp(-1).softmax(0), subtract_first, in_double]
)
def test_right_shares_pass(answer: Answer, capsys: pytest.CaptureFixture[str]) -> None:
    check.stationary(answer)
    assert "Correct" in capsys.readouterr().out


def test_walking_for_ever_comes_to_the_same() -> None:
    keys = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    scores = keys @ keys.T
    assert torch.allclose(by_walking(scores).float(), subtract_first(scores), atol=1e-4)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda s: torch.full((len(s),), 1 / len(s)), "Only the scores are"),
        (lambda s: s.exp().sum(-1), "divide the row sums by their total"),
        (lambda s: s.sum(-1) / s.sum(), "scores themselves"),
        (lambda s: s.sum(-1).softmax(-1), "softmax of the summed scores"),
        (lambda s: s.softmax(-1).mean(0), "after one step"),
        (lambda s: (1 / s.exp().sum(-1)) / (1 / s.exp().sum(-1)).sum(), "upside down"),
        (lambda s: s.diagonal().softmax(0), "diagonal"),
        (lambda s: s.logsumexp(-1) / s.logsumexp(-1).sum(), "under a logarithm"),
        (lambda s: s.exp().sum(-1) / s.exp().sum(), "too large for float32"),
        (lambda s: s.softmax(-1), "shape (3, 3); expected (T,) = (3,)"),
        (lambda s: s.sum(-1, keepdim=True), "shape (3, 1)"),
        (lambda s: torch.tensor([0.9, *[0.1 / (len(s) - 1)] * (len(s) - 1)]), "out of balance"),
        (lambda s: torch.ones(len(s)), "sum to 3, not to 1"),
        (lambda s: [0.5, 0.5], "returns list; a tensor is expected"),
        (lambda s: None, "returns nothing yet"),
        (lambda s: s @ torch.ones(4), "stopped for 3 places"),
        (0.5, "needs your function itself"),
    ],
)
def test_wrong_shares_are_named(answer: Any, words: str) -> None:
    with pytest.raises(CheckFailed) as caught:
        check.stationary(answer)
    assert words in str(caught.value)


def paired(t: int) -> Tensor:
    place = torch.arange(t)
    return 12.0 * torch.eye(t)[torch.minimum(place, place.flip(0))]


def folded(t: int) -> Tensor:
    half = 9.0 * torch.randn(t, 256, generator=torch.Generator().manual_seed(t))
    return half + half.flip(0)


@pytest.mark.parametrize("answer", [paired, folded])
def test_right_keys_pass(answer: Answer, capsys: pytest.CaptureFixture[str]) -> None:
    check.mirror_keys(answer)
    assert "less than 0.50" in capsys.readouterr().out


def test_more_than_a_half_for_all_cannot_be_had() -> None:
    """What the success says: on geometric mean, the mirror image gets no more than oneself."""
    for seed in range(20):
        keys = torch.randn(8, 5, generator=torch.Generator().manual_seed(seed)).double()
        weights = (keys @ keys.T).softmax(-1).log()
        assert weights.flip(1).diagonal().sum() <= weights.diagonal().sum() + 1e-9


def opposite(t: int) -> Tensor:
    keys = 12.0 * torch.eye(t)
    keys[t - t // 2 :] = -keys[: t // 2].flip(0)
    return keys


def shifted_pairs(t: int) -> Tensor:
    place = torch.arange(t)
    return 12.0 * torch.eye(t)[torch.minimum(place, (t - place) % t)]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda t: 12.0 * torch.eye(t), "looks only at itself"),
        (opposite, "the negative key"),
        (lambda t: paired(t) / 12, "Longer keys"),
        (lambda t: torch.ones(t, 4), "all weights are equal"),
        (lambda t: torch.zeros(t, 4), "all weights are equal"),
        (lambda t: 12.0 * torch.eye(t)[torch.arange(t) % (t // 2)], "in the other half"),
        (shifted_pairs, "length - 1 - i"),
        (lambda t: torch.randn(t, 3, generator=torch.Generator().manual_seed(0)), "the weight 0."),
        (lambda t: paired(t)[:-1], "shape (5, 6); expected (6, D)"),
        (lambda t: paired(t) * float("inf"), "not finite"),
        (lambda t: paired(t).tolist(), "returns list; a tensor is expected"),
        (lambda t: torch.ones(t), "expected (6, D)"),
        (lambda: 1, "cannot be called with 1 argument"),
    ],
)
def test_wrong_keys_are_named(answer: Any, words: str) -> None:
    with pytest.raises(CheckFailed) as caught:
        check.mirror_keys(answer)
    assert words in str(caught.value)
