"""Lesson 11's checks: right answers pass in several styles, and mistakes are named."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from qkvlib import CheckFailed, check


def shuffled(model: Any, elements: Tensor, order: Tensor) -> float:
    return (model(elements[:, order]) - model(elements)[:, order]).abs().max().item()


def put_back(model: Any, elements: Tensor, order: Tensor) -> Tensor:
    return (model(elements[:, order])[:, order.argsort()] - model(elements)).abs().max()


def by_matrix(model: Any, elements: Tensor, order: Tensor) -> float:
    p = torch.eye(len(order))[order]
    moved = model(p @ elements) - (p @ model(elements)[..., None]).squeeze(-1)
    return max(abs(x) for x in moved.flatten().tolist())


@pytest.mark.parametrize("answer", [shuffled, put_back, by_matrix])
def test_right_gaps_pass(answer: Any, capsys: pytest.CaptureFixture[str]) -> None:
    check.shuffle_gap(answer)
    assert "Correct" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda f, x, o: (f(x[:, o]) - f(x)).abs().max(), "Shuffle the scores as well"),
        (lambda f, x, o: (f(x[:, o])[:, o] - f(x)).abs().max(), "order.argsort()"),
        (lambda f, x, o: (f(x[o]) - f(x)[o]).abs().max(), "The first counts sets"),
        (lambda f, x, o: (f(x[:, :, o]) - f(x)[:, o]).abs().max(), "the features"),
        (lambda f, x, o: (f(x[:, o]) - f(x)[:, o]).abs().mean(), "take the largest"),
        (lambda f, x, o: (f(x[:, o]) - f(x)[:, o]).max(), "without its absolute value"),
        (lambda f, x, o: (f(x[:, o]) - f(x)[:, o]).sum(), "cancel"),
        (lambda f, x, o: torch.allclose(f(x[:, o]), f(x)[:, o], atol=1e-5), "yes or no"),
        (lambda f, x, o: shuffled(f, x, o) < 1e-5, "yes or no"),
        (lambda f, x, o: 0.0, "0 for every model"),
        (lambda f, x, o: 2 * shuffled(f, x, o), "favours some places your function gives 19"),
        (lambda f, x, o: (f(x[:, o]) - f(x)[:, o]).abs(), "returns Tensor"),
        (lambda f, x, o: None, "returns nothing yet"),
        (lambda f, x: 0.0, "cannot be called with 3 arguments"),
        (0.5, "needs your function itself"),
    ],
)
def test_wrong_gaps_are_named(answer: Any, words: str) -> None:
    with pytest.raises(CheckFailed) as caught:
        check.shuffle_gap(answer)
    assert words in str(caught.value)


def test_the_check_leaves_chance_as_it_was() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    check.shuffle_gap(shuffled)
    assert torch.equal(torch.rand(1), expected)


def dots(x: Tensor) -> Tensor:
    alike = x @ x.mT
    return -(alike.sum(-1) - alike.diagonal(dim1=1, dim2=2)) / (x.shape[1] - 1)


def cosines(x: Tensor) -> Tensor:
    return 1 - F.cosine_similarity(x[:, :, None], x[:, None], dim=-1).mean(-1)


def scaled(x: Tensor) -> Tensor:
    n = x.shape[1]
    return (x @ x.mT / x.shape[-1] ** 0.5).masked_fill(torch.eye(n).bool(), 0).sum(-1).neg()


@pytest.mark.parametrize("answer", [dots, cosines, scaled])
def test_right_scores_pass(answer: Any, capsys: pytest.CaptureFixture[str]) -> None:
    check.least_alike(answer)
    assert "Correct" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda x: -dots(x), "upside down"),
        (lambda x: -cosines(x), "upside down"),
        (lambda x: -(x @ x.mT).mean(-1), "with itself as well"),
        (lambda x: -x.square().sum(-1), "the diagonal"),
        (lambda x: dots(F.normalize(x, dim=1)), "must have length 1"),
        (lambda x: dots(x).argmax(-1), "Not which element it is"),
        (lambda x: x @ x.mT, "mean over the last axis"),
        (lambda x: (x @ x.mT).softmax(-1).sum(-1), "same score"),
        (lambda x: torch.zeros(x.shape[:2]), "same score"),
        (lambda x: dots(x) / 0.0, "not finite"),
        (lambda x: x[:, :, 0], "your scores say element"),
        (lambda x: dots(x).exp(), "not in step"),
        (lambda x: dots(x).tolist(), "returns list"),
        (lambda x: None, "returns nothing yet"),
        (lambda x: x @ x, "stopped for 4 sets of 10"),
    ],
)
def test_wrong_scores_are_named(answer: Any, words: str) -> None:
    with pytest.raises(CheckFailed) as caught:
        check.least_alike(answer)
    assert words in str(caught.value)
