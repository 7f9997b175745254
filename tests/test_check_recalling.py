"""check.recall: right heads of several styles pass, and each typical mistake is called by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from qkvlib import check
from qkvlib.check import CheckFailed

Head = tuple[Tensor, Tensor, Tensor]


def one_hot(n: int, sharpness: float = 100.0) -> Head:
    address, payload = torch.eye(n), torch.eye(10)
    pairs = torch.cat([address[:, None].expand(n, 10, n), payload[None].expand(n, 10, 10)], dim=-1)
    queries = sharpness * torch.cat([address, torch.zeros(n, 10)], dim=-1)
    return pairs, queries, torch.cat([torch.zeros(n, 10), payload])


def circle(count: int) -> Tensor:
    angle = 2 * math.pi * torch.arange(count) / count
    return torch.stack([angle.cos(), angle.sin()], dim=-1)


def on_circles(n: int, sharpness: float = 3000.0) -> Head:
    address, payload = circle(n), circle(10)
    pairs = torch.cat([address[:, None].expand(n, 10, 2), payload[None].expand(n, 10, 2)], dim=-1)
    queries = torch.cat([sharpness * address, torch.zeros(n, 2)], dim=-1)
    return pairs, queries, torch.cat([torch.zeros(2, 10), payload.T])


def in_numpy(n: int) -> list[Any]:
    return [np.asarray(each) for each in one_hot(n)]


def turned(n: int) -> Head:
    """The same head in another basis: no number is address or payload alone."""
    pairs, queries, read = (each.double() for each in one_hot(n))
    noise = torch.randn(n + 10, n + 10, generator=torch.Generator().manual_seed(1))
    basis = torch.linalg.qr(noise.double()).Q
    return pairs @ basis, queries @ basis, basis.T @ read


@pytest.mark.parametrize("head", [one_hot, on_circles, in_numpy, turned])
def test_right_heads_pass(head: Callable[[int], Any], capsys: pytest.CaptureFixture[str]) -> None:
    check.recall(head)
    out = capsys.readouterr().out
    width = 4 if head is on_circles else 26
    assert f"Correct: 16 keys recalled from vectors of {width} numbers" in out
    assert ("Can you?" in out) is (width == 26)


def changed(**wrong: Callable[[Head], Tensor]) -> Callable[[int], Head]:
    def answer(n: int) -> Head:
        head = one_hot(n)
        parts = dict(zip(("pairs", "queries", "read"), head, strict=True))
        parts |= {name: change(head) for name, change in wrong.items()}
        return parts["pairs"], parts["queries"], parts["read"]

    return answer


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (changed(queries=lambda h: 100 * h[0][:, 0]), ["listens to the payload", "zero where"]),
        (lambda n: one_hot(n, 1.0), ["softmax is too soft", "weight of 0.3", "multiply"]),
        (lambda n: on_circles(n, 2.0), ["softmax is too soft"]),
        (
            changed(read=lambda h: torch.cat([h[2][10:], h[2][:10]])[: len(h[2])].flip(0)),
            ["`read`"],
        ),
        (
            changed(read=lambda h: torch.cat([torch.ones(len(h[2]) - 10, 10), h[2][-10:] * 0])),
            ["read from the wrong part"],
        ),
        (
            changed(
                read=lambda h: torch.cat([50 * torch.rand(len(h[2]) - 10, 10), h[2][-10:]])
            ),
            ["hears the address as well"],
        ),
        (changed(read=lambda h: h[2].roll(1, dims=1)), ["`read` makes 1 of key 0 with digit 0"]),
        (
            changed(pairs=lambda h: h[0][:, :1].expand_as(h[0])),
            ["same whatever its digit", "no payload"],
        ),
        (
            changed(pairs=lambda h: torch.cat([h[0][:1, :, :-10].expand(len(h[0]), 10, -1), h[0][..., -10:]], -1)),  # noqa: E501
            ["not told apart"],
        ),
        (changed(queries=lambda h: h[1].roll(1, dims=0)), ["not told apart", "scores higher"]),
        (changed(queries=lambda h: h[1] * 0), ["all queries are zero"]),
        (changed(queries=lambda h: -h[1]), ["not told apart"]),
    ],
)  # fmt: skip
def test_each_mistake_is_named(answer: Callable[[int], Head], words: list[str]) -> None:
    torch.manual_seed(0)
    with pytest.raises(CheckFailed) as caught:
        check.recall(answer)
    for word in ["of the answers are right", *words]:
        assert word in str(caught.value), str(caught.value)


def on_a_line(n: int) -> Head:
    """Addresses on a line: only its two ends are corners."""
    pairs, _, read = one_hot(n)
    place = torch.linspace(-1, 1, n)
    pairs = torch.cat([place[:, None, None].expand(n, 10, 1), pairs[..., -10:]], dim=-1)
    queries = torch.cat([1000 * place[:, None], torch.zeros(n, 10)], dim=-1)
    return pairs, queries, torch.cat([torch.zeros(1, 10), read[-10:]])


def test_addresses_on_a_line_are_no_corners() -> None:
    with pytest.raises(CheckFailed, match=r"not told apart.*corner of the hull"):
        check.recall(on_a_line)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda n: ..., "returns nothing yet"),
        (lambda n: one_hot(n)[:2], "three tensors"),
        (lambda n: torch.zeros(n, 10, 4), "three tensors"),
        (lambda n: ("a", "b", "c"), "pairs is str"),
        (lambda n: (one_hot(n)[0].flatten(0, 1), *one_hot(n)[1:]), r"expected \(n, 10, D\)"),
        (lambda n: (one_hot(16)[0], *one_hot(n)[1:]), r"\(4, 10, D\)"),
        (lambda n: (one_hot(n)[0], one_hot(n)[1].T, one_hot(n)[2]), r"\(n, D\) = \(4, 14\)"),
        (lambda n: (*one_hot(n)[:2], one_hot(n)[2].T), r"\(D, 10\) = \(14, 10\)"),
        (lambda n: (one_hot(n)[0] / 0, *one_hot(n)[1:]), "not finite"),
        (lambda n: 1 / 0, "ZeroDivisionError"),
        (lambda: 1, "cannot be called with 1 arguments"),
        (7, "your function itself"),
    ],
)
def test_junk_is_answered_in_words(answer: Any, words: str) -> None:
    with pytest.raises(CheckFailed, match=words):
        check.recall(answer)
