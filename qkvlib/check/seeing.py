"""Lesson 09: an image cut into patches, and every axis of the result looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from qkvlib import models
from qkvlib.check.base import CheckFailed, call

Cut = Callable[[Tensor, int], Tensor]


def _numbered_images() -> Iterator[tuple[str, Tensor, int]]:
    """Images whose pixels are all different, so that each pixel of an answer tells its origin."""
    for shown, shape, patch_size in (
        ("a batch of 2 grey images of 4 × 6 pixels and patch_size=2", (2, 1, 4, 6), 2),
        ("a batch of 2 colour images of 9 × 6 pixels and patch_size=3", (2, 3, 9, 6), 3),
        ("a batch of 3 grey images of 28 × 28 pixels and patch_size=7", (3, 1, 28, 28), 7),
    ):
        count = torch.Size(shape).numel()
        yield shown, torch.arange(count).view(shape).float(), patch_size


def _rearranged(axes: tuple[int, ...], *, height_first: bool = True) -> Cut:
    """Cut as one does who permutes the six axes like this.

    The right order is (0, 2, 4, 1, 3, 5). Without ``height_first`` both sides are split as
    (patch_size, number of patches).
    """

    def cut(images: Tensor, patch_size: int) -> Tensor:
        b, c, height, width = images.shape
        rows, columns = height // patch_size, width // patch_size
        split = (
            (b, c, rows, patch_size, columns, patch_size)
            if height_first
            else (b, c, patch_size, rows, patch_size, columns)
        )
        return images.reshape(split).permute(axes).reshape(b, rows * columns, -1)

    return cut


_SLIPS: tuple[tuple[str, Cut], ...] = (
    (
        "axis 1, the patches: each of yours is a strip of the image, line after line. reshape "
        "alone keeps the pixels in their order in memory, but the lines of a patch lie far apart "
        "there. Split height and width in two each, then permute, then join.",
        _rearranged((0, 1, 2, 3, 4, 5)),
    ),
    (
        "axis 1, the patches: they go down the columns. In reading order patch 1 lies to the "
        "right of patch 0, so the axis of patch rows stands before that of patch columns.",
        _rearranged((0, 4, 2, 1, 3, 5)),
    ),
    (
        "axis 2, the numbers of a patch: rows and columns are exchanged, so every patch lies on "
        "its side. The row within the patch stands before the column.",
        _rearranged((0, 2, 4, 1, 5, 3)),
    ),
    (
        "axes 1 and 2: both the patches and the pixels within go down the columns. Rows stand "
        "before columns, twice.",
        _rearranged((0, 4, 2, 1, 5, 3)),
    ),
    (
        "axis 2, the numbers of a patch: the channels come last. A patch holds all of its first "
        "channel, then all of the second: channel, row, column.",
        _rearranged((0, 2, 4, 3, 5, 1)),
    ),
    (
        "axis 1, the patches: pixels of a patch are not neighbours, but come from all over the "
        "image. Height is (rows of patches) × (patch_size), and reshape takes the last axis "
        "fastest: split it as rows, patch_size, and not the other way round.",
        _rearranged((0, 3, 5, 1, 2, 4), height_first=False),
    ),
    (
        "axis 1, the patches: the height was split as patch_size, rows. Height is (rows of "
        "patches) × (patch_size), in this order, and so is the width.",
        _rearranged((0, 2, 4, 1, 3, 5), height_first=False),
    ),
)


def patches(fn: Callable[[Tensor, int], Any]) -> None:
    """Check a function that cuts images into patches, axis by axis.

    Args:
        fn: Called as ``fn(images, patch_size)`` with images of shape (B, C, height, width). It
            returns shape (B, patches in reading order, C * patch_size²), the numbers of a patch by
            channel, then row, then column.

    Raises:
        CheckFailed: Naming the axis that is wrong, and what stands there instead.
    """
    for shown, images, patch_size in _numbered_images():
        answer = _as_tokens(call(fn, shown, images.clone(), patch_size), images, patch_size, shown)
        wanted = models.patches(images, patch_size)
        if torch.equal(answer, wanted):
            continue
        for words, slip in _SLIPS:
            if torch.equal(answer, slip(images, patch_size)):
                raise CheckFailed(f"For {shown}, {words}")
        raise CheckFailed(f"For {shown}, {_wrong_axis(answer, images, patch_size)}")
    print(
        "Correct on every axis: one token for each patch, in reading order, whether the image is "
        "grey or coloured, square or not."
    )


def _as_tokens(answer: Any, images: Tensor, patch_size: int, shown: str) -> Tensor:
    if not isinstance(answer, Tensor):
        raise CheckFailed(
            f"For {shown} your function returns {type(answer).__name__}; a tensor is expected."
        )
    b, c, height, width = images.shape
    n, size = (height // patch_size) * (width // patch_size), c * patch_size**2
    if tuple(answer.shape) != (b, n, size):
        raise CheckFailed(
            f"For {shown} the result has shape {tuple(answer.shape)}; expected ({b}, {n}, {size}): "
            f"{b} images, {n} patches, {size} numbers each.{_shape_hint(answer, b, n, size)}"
        )
    tokens: Tensor = answer.detach().to(images.dtype)
    if not torch.equal(tokens.flatten().sort().values, images.flatten()):
        raise CheckFailed(
            f"For {shown} your result does not hold every pixel once: cutting neither changes nor "
            "drops nor repeats one. Only the order is new."
        )
    return tokens


def _shape_hint(answer: Tensor, b: int, n: int, size: int) -> str:
    shape = tuple(answer.shape)
    if shape == (b, size, n):
        return (
            " Axes 1 and 2 are exchanged: a token is a row, so the patches come second. "
            "transpose(1, 2) mends it."
        )
    if shape == (b * n, size):
        return " Images and patches share axis 0; the last reshape must keep the images apart."
    if answer.numel() != b * n * size:
        return ""
    if answer.ndim > 3:
        return (
            " What belongs together is still in several axes: join the two that number the "
            "patches, and those within a patch, by a last reshape."
        )
    return " The last reshape joins axes that do not belong together."


def _wrong_axis(answer: Tensor, images: Tensor, patch_size: int) -> str:
    """Words for the first axis that goes astray.

    Pixels are numbered line by line, so one step along an axis adds the same everywhere.
    """
    b, c, height, width = images.shape
    p = patch_size
    apart = answer.reshape(b, height // p, width // p, c, p, p)
    axes = (
        ("axis 0, the images", "to the next image", "one image on", c * height * width),
        ("axis 1, the patches", "to the patch below", "patch_size rows down", p * width),
        ("axis 1, the patches", "to the patch on the right", "patch_size columns on", p),
        ("axis 2, the numbers of a patch", "to the next channel", "one channel on", height * width),
        ("axis 2, the numbers of a patch", "to the row below", "one row down", width),
        ("axis 2, the numbers of a patch", "to the next column", "one column on", 1),
    )
    for k, (axis, step, move, distance) in enumerate(axes):
        wrong = (apart.diff(dim=k) != distance).nonzero()
        if len(wrong):
            at = wrong[0].tolist()
            here = int(apart[tuple(at)])
            at[k] += 1
            return (
                f"{axis}: the step {step} leads from {_pixel(here, images)} to "
                f"{_pixel(int(apart[tuple(at)]), images)}. It should lead {move}."
            )
    raise AssertionError("called for a right answer")  # pragma: no cover


def _pixel(number: int, images: Tensor) -> str:
    _, channels, height, width = images.shape
    rest, column = divmod(number, width)
    rest, row = divmod(rest, height)
    image, channel = divmod(rest, channels)
    of_channel = f", channel {channel}" if channels > 1 else ""
    return f"the pixel in row {row}, column {column}{of_channel} of image {image}"
