"""Telling what is in an image: an image in, one answer out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from qkvlib.config import StackConfig, ViTConfig
from qkvlib.tasks import Batch, TaskError, step_generator
from qkvlib.tasks.images import ImageSet, load_images


class VisionTask:
    """Images of one set and their classes.

    Pixels go in standardised: less the mean of the training images, divided by their deviation,
    channel by channel. Each pass over the training images is in a new order, and none is seen twice
    in a pass.

    Args:
        images: A set, or the name of one that :func:`~qkvlib.load_images` knows.
        seed: Chooses the order of the training images, and how they are changed.
        shift: Training images are moved by up to so many pixels, down or up and left or right;
            what comes in at the side is black.
        flip: Whether training images are mirrored half of the time. Digits must not be.
        train_per_class: Take only the first so many of each class for training; all unless told.
        eval_images: At most so many held-out images are evaluated; all unless told.

    Raises:
        UnknownNameError: If there is no set of that name; the message offers the nearest.
        TaskError: If the set is not on this machine or not whole, or a number is out of its range.

    Attributes:
        n_classes: Number of answers.
        n_train: Training images.
    """

    bytes_per_token = None

    def __init__(
        self,
        images: ImageSet | str,
        *,
        seed: int = 0,
        shift: int = 0,
        flip: bool = False,
        train_per_class: int | None = None,
        eval_images: int | None = None,
    ) -> None:
        self.images = load_images(images) if isinstance(images, str) else images
        self.name = self.images.name
        side = self.images.image_size
        if not 0 <= shift < side:
            raise TaskError(f"shift={shift}: expected 0 to {side - 1} pixels for {side} x {side}.")
        for name, value in (("train_per_class", train_per_class), ("eval_images", eval_images)):
            if value is not None and value < 1:
                raise TaskError(f"{name}={value}: expected at least 1, or None for all.")
        if train_per_class is not None:
            self.images = _first_of_each_class(self.images, train_per_class)
        self.n_classes = len(self.images.classes)
        self.n_train = len(self.images.train_labels)
        self.seed = seed
        self.shift = shift
        self.flip = flip
        self.eval_images = min(eval_images or self.n_test, self.n_test)
        self._order: tuple[int, Tensor] = (-1, torch.empty(0))

    @property
    def n_test(self) -> int:
        """Held-out images there are."""
        return len(self.images.test_labels)

    @cached_property
    def _scale(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation of each channel over the training images, in parts of 255."""
        n, c, height, width = self.images.train_images.shape
        counts = torch.stack(
            [self.images.train_images[:, i].flatten().bincount(minlength=256) for i in range(c)]
        ).double()
        values = torch.arange(256).double() / 255
        mean = counts @ values / (n * height * width)
        square = counts @ values.square() / (n * height * width)
        deviation = (square - mean.square()).clamp(min=1e-12).sqrt()
        return mean.float().view(1, c, 1, 1), deviation.float().view(1, c, 1, 1)

    def steps_per_epoch(self, batch_size: int) -> int:
        """Return the steps that see every training image once, rounded up."""
        return -(-self.n_train // batch_size)

    def standardised(self, pixels: Tensor) -> Tensor:
        """Turn 8-bit pixels into what the model is given.

        Args:
            pixels: Shape (B, C, height, width), uint8.

        Returns:
            The same shape, float32, with mean near 0 and deviation near 1 in each channel.
        """
        mean, deviation = self._scale
        return (pixels.float() / 255 - mean) / deviation

    def misfit(self, config: StackConfig) -> str | None:
        """Say why a model of this configuration cannot be trained on these images."""
        if not isinstance(config, ViTConfig):
            return (
                f"task {self.name} is made of images, and a {type(config).__name__} describes a "
                "model for something else. Use a ViTConfig."
            )
        for name, needed in (
            ("image_size", self.images.image_size),
            ("n_channels", self.images.n_channels),
            ("n_classes", self.n_classes),
        ):
            if (given := getattr(config, name)) != needed:
                return (
                    f"the images of {self.name} need {name}={needed}, but the model has "
                    f"{name}={given}. Build the model with {name}={needed}."
                )
        return None

    def _pass(self, epoch: int) -> Tensor:
        """The order of the training images in one pass."""
        if self._order[0] != epoch:
            # Negative, so that no step of the training has the same generator.
            generator = step_generator(self.seed, -1 - epoch)
            self._order = (epoch, torch.randperm(self.n_train, generator=generator))
        return self._order[1]

    def batch(self, step: int, batch_size: int) -> Batch:
        """Return the images of a step, a pure function of (seed, step, batch size).

        Args:
            step: The training step.
            batch_size: B, number of images.

        Returns:
            Images, float32 of shape (B, C, height, width), and classes, int64 of shape (B,).
        """
        places = torch.arange(step * batch_size, (step + 1) * batch_size)
        epochs = places // self.n_train
        passes = range(int(epochs[0]), int(epochs[-1]) + 1)
        chosen = torch.cat([self._pass(e)[places[epochs == e] % self.n_train] for e in passes])
        pixels = self.images.train_images[chosen]
        if self.flip or self.shift:
            pixels = _changed(pixels, step_generator(self.seed, step), self.shift, self.flip)
        return self.standardised(pixels), self.images.train_labels[chosen]

    def eval_batches(self, batch_size: int) -> Iterator[Batch]:
        """Yield the held-out images, unchanged; the same for every seed.

        Args:
            batch_size: B, at most so many images at once.

        Yields:
            Images and classes as in :meth:`batch`.
        """
        yield from self._split(
            self.images.test_images[: self.eval_images],
            self.images.test_labels[: self.eval_images],
            batch_size,
        )

    def train_batches(self, batch_size: int, n_images: int | None = None) -> Iterator[Batch]:
        """Yield training images, unchanged and always in the same order, to measure a fit.

        Args:
            batch_size: B, at most so many images at once.
            n_images: The first so many of a fixed order; all unless told.

        Yields:
            Images and classes as in :meth:`batch`.
        """
        generator = step_generator(0, 0, held_out=True)
        some = torch.randperm(self.n_train, generator=generator)[:n_images]
        yield from self._split(
            self.images.train_images[some], self.images.train_labels[some], batch_size
        )

    def _split(self, pixels: Tensor, labels: Tensor, batch_size: int) -> Iterator[Batch]:
        for some, answers in zip(
            torch.split(pixels, batch_size), torch.split(labels, batch_size), strict=True
        ):
            yield self.standardised(some), answers

    def describe(self) -> dict[str, Any]:
        """Return what identifies the data, ready for JSON; the hash is of all pixels and labels."""
        return {
            "name": self.name,
            "source": self.images.source,
            "sha256": self.images.sha256,
            "n_train": self.n_train,
            "eval_images": self.eval_images,
            "image_size": self.images.image_size,
            "shift": self.shift,
            "flip": self.flip,
            "seed": self.seed,
        }


def _first_of_each_class(images: ImageSet, n: int) -> ImageSet:
    labels = images.train_labels
    chosen = torch.cat([(labels == c).nonzero()[:n, 0] for c in range(len(images.classes))])
    chosen = chosen.sort().values
    return dataclasses.replace(
        images, train_images=images.train_images[chosen], train_labels=labels[chosen]
    )


def _changed(pixels: Tensor, generator: torch.Generator, shift: int, flip: bool) -> Tensor:
    """Shift and mirror each image by chance of its own."""
    b, _, height, width = pixels.shape
    if flip:
        mirrored = torch.rand(b, generator=generator) < 0.5
        pixels = torch.where(mirrored.view(b, 1, 1, 1), pixels.flip(-1), pixels)
    if shift:
        top, left = torch.randint(2 * shift + 1, (2, b, 1), generator=generator)
        rows = top + torch.arange(height)  # (B, height)
        columns = left + torch.arange(width)
        padded = F.pad(pixels, (shift,) * 4)
        which = torch.arange(b).view(b, 1, 1)
        # Advanced indices on both sides of a slice put their axes first: (B, height, width, C).
        pixels = padded[which, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    return pixels
