"""Lesson 09's check: right cuts pass in several styles, and the axis of a mistake is named."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

import qkvlib
from qkvlib import CheckFailed, check

Answer = Callable[..., Any]


def six_axes(images: Tensor, p: int) -> Tensor:
    b, c, height, width = images.shape
    return images.reshape(b, c, height // p, p, width // p, p)


def joined(images: Tensor, p: int, *axes: int) -> Tensor:
    n = images.shape[2] // p * (images.shape[3] // p)
    return six_axes(images, p).permute(axes).reshape(len(images), n, -1)


def by_hand(images: Tensor, p: int) -> Tensor:
    _, _, height, width = images.shape
    cut = [
        images[:, :, y : y + p, x : x + p].flatten(1)
        for y in range(0, height, p)
        for x in range(0, width, p)
    ]
    return torch.stack(cut, dim=1)


def windows(images: Tensor, p: int) -> Tensor:
    return images.unfold(2, p, p).unfold(3, p, p).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)


@pytest.mark.parametrize(
    "answer",
    [
        qkvlib.patches,
        by_hand,
        windows,
        lambda x, p: F.unfold(x, p, stride=p).transpose(1, 2),
        lambda x, p: joined(x, p, 0, 2, 4, 1, 3, 5).double(),
    ],
)
def test_right_cuts_pass(answer: Answer, capsys: pytest.CaptureFixture[str]) -> None:
    check.patches(answer)
    assert "Correct on every axis" in capsys.readouterr().out


def split_the_wrong_way(images: Tensor, p: int) -> Tensor:
    b, c, height, width = images.shape
    cut = images.reshape(b, c, p, height // p, p, width // p)
    return cut.permute(0, 3, 5, 1, 2, 4).reshape(b, height // p * (width // p), -1)


def seven(images: Tensor, p: int) -> Tensor:
    return qkvlib.patches(images, 7)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda x, p: joined(x, p, 0, 1, 2, 3, 4, 5), "axis 1, the patches: each of yours is a st"),
        (lambda x, p: joined(x, p, 0, 4, 2, 1, 3, 5), "axis 1, the patches: they go down the colu"),
        (lambda x, p: joined(x, p, 0, 2, 4, 1, 5, 3), "axis 2, the numbers of a patch: rows and c"),
        (lambda x, p: joined(x, p, 0, 4, 2, 1, 5, 3), "Rows stand before columns, twice"),
        (lambda x, p: joined(x, p, 0, 2, 4, 3, 5, 1), "axis 2, the numbers of a patch: the channe"),
        (split_the_wrong_way, "split it as rows, patch_size"),
        (lambda x, p: by_hand(x.flip(0), p), "axis 0, the images: the step to the next image"),
        (lambda x, p: by_hand(x.flip(3), p), "axis 1, the patches: the step to the patch on the r"),
        (lambda x, p: by_hand(x, p).flip(2), "axis 2, the numbers of a patch: the step to the row"),
        (lambda x, p: by_hand(x.roll(1, 3), p), "row 0, column"),
        (lambda x, p: F.unfold(x, p, stride=p), "Axes 1 and 2 are exchanged"),
        (lambda x, p: six_axes(x, p).permute(0, 2, 4, 1, 3, 5), "still in several axes"),
        (lambda x, p: by_hand(x, p).flatten(0, 1), "share axis 0"),
        (lambda x, p: by_hand(x, p).flatten(1), "shape (2, 24)"),
        (lambda x, p: by_hand(x, p)[:, :-1], "shape (2, 5, 4); expected (2, 6, 4)"),
        (lambda x, p: by_hand(x, p) / 255, "does not hold every pixel once"),
        (lambda x, p: by_hand(x, p)[:, [0] * 6], "does not hold every pixel once"),
        (seven, "stopped for a batch of 2 grey images"),
        (lambda x, p: by_hand(x, p).tolist(), "returns list; a tensor is expected"),
        (lambda x, p: None, "returns nothing yet"),
        (lambda x: x, "cannot be called with 2 arguments"),
        (4, "needs your function itself"),
    ],
)
def test_wrong_cuts_are_named(answer: Any, words: str) -> None:
    with pytest.raises(CheckFailed) as caught:
        check.patches(answer)
    assert words in str(caught.value)


RIGHT = (0, 2, 4, 1, 3, 5)


@pytest.mark.parametrize("rest", [p for p in permutations(range(1, 6)) if (0, *p) != RIGHT])
def test_every_other_order_of_the_axes_is_refused_by_the_axis(rest: tuple[int, ...]) -> None:
    with pytest.raises(CheckFailed, match=r"axis \d, the (images|patches|numbers)|axes 1 and 2"):
        check.patches(lambda images, p: joined(images, p, 0, *rest))
