"""Odd one out: of a set of images, all but one are of the same class.

What a model sees of an image is a vector that a frozen encoder made of it. Source: Kayyam et al.
(2026), section 4.2, after Lee et al. (2019), section 5.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import torch
from torch import Tensor

from qkvlib.config import SetConfig, StackConfig
from qkvlib.encoder import encode_images, load_encoder
from qkvlib.tasks import Batch, TaskError, step_generator
from qkvlib.tasks.images import ImageSet
from qkvlib.tasks.vision import VisionTask

SET_SIZE: Final = 10
"""Images in a set in the paper: 9 of one class and 1 of another."""


@dataclass(frozen=True, eq=False)
class Features:
    """Images as a frozen encoder describes them, in the images' order.

    Attributes:
        images: The images.
        encoder: Name of the encoder.
        train: Shape (N, F), float32: mean 0 and deviation 1 in each column.
        test: The same of the held-out images, by the mean and deviation of the training images.
    """

    images: ImageSet
    encoder: str
    train: Tensor
    test: Tensor


@cache
def load_features(images: str) -> Features:
    """Describe a set of images with the encoder for its kind; a second time it is there at once.

    Args:
        images: A name that :func:`~qkvlib.load_images` knows.

    Raises:
        TaskError: If the images are not on this machine or not whole.
    """
    task = VisionTask(images)
    name = "grey" if task.images.n_channels == 1 else "colour"
    encoder = load_encoder(name)
    train, test = (
        torch.cat(
            [encode_images(encoder, task.standardised(some)) for some in torch.split(pixels, 5000)]
        )
        for pixels in (task.images.train_images, task.images.test_images)
    )
    mean, deviation = train.mean(dim=0), train.std(dim=0).clamp(min=1e-6)
    return Features(task.images, name, (train - mean) / deviation, (test - mean) / deviation)


class SetTask:
    """Find the one element of a set that is of another class than the rest.

    Args:
        images: A name that :func:`~qkvlib.load_images` knows, or features made before.
        seed: Chooses the training sets.
        set_size: N, elements of a set; N - 1 of them are of one class.
        eval_sets: Number of held-out sets, made of held-out images.

    Raises:
        TaskError: If a number is out of its range, or a class has too few images for a set.

    Attributes:
        n_features: Numbers that describe an element.
    """

    bytes_per_token = None

    def __init__(
        self,
        images: Features | str,
        *,
        seed: int = 0,
        set_size: int = SET_SIZE,
        eval_sets: int = 2000,
    ) -> None:
        self.features = load_features(images) if isinstance(images, str) else images
        if set_size < 3:
            raise TaskError(
                f"set_size={set_size}: of two elements neither is the odd one; expected at least 3."
            )
        if eval_sets < 1:
            raise TaskError(f"eval_sets={eval_sets}: evaluation needs at least 1 set.")
        source = self.features.images
        self.name = f"{source.name} sets"
        self.n_features = self.features.train.shape[1]
        self.seed = seed
        self.set_size = set_size
        self.eval_sets = eval_sets
        n_classes = len(source.classes)
        self._train = _by_class(source.train_labels, n_classes, set_size)
        self._test = _by_class(source.test_labels, n_classes, set_size)

    def misfit(self, config: StackConfig) -> str | None:
        """Say why a model of this configuration cannot be trained on these sets."""
        if not isinstance(config, SetConfig):
            return (
                f"task {self.name} is made of sets, and a {type(config).__name__} describes a "
                "model for something else. Use a SetConfig."
            )
        if config.n_features != self.n_features:
            return (
                f"an element of {self.name} has {self.n_features} features, but the model has "
                f"n_features={config.n_features}. Build the model with n_features="
                f"{self.n_features}."
            )
        if config.max_seq_len < self.set_size:
            return (
                f"the sets have {self.set_size} elements, but the model has max_seq_len="
                f"{config.max_seq_len}. Build the model with max_seq_len={self.set_size}."
            )
        return None

    def _draw(self, classes: Tensor, n_sets: int, generator: torch.Generator) -> Batch:
        """Draw sets as places in a list of images, and where the odd one stands in each.

        Args:
            classes: Shape (classes, most images of a class), -1 where a class has fewer.
            n_sets: B.
            generator: Where the chance comes from.

        Returns:
            Shape (B, N), and shape (B,).
        """
        n_classes, n = len(classes), self.set_size
        usual = torch.randint(n_classes, (n_sets,), generator=generator)
        step = torch.randint(1, n_classes, (n_sets,), generator=generator)
        odd_class = (usual + step) % n_classes  # another one, each as likely
        # The greatest of random numbers, one for each image of the class: none is drawn twice.
        lots = torch.rand(n_sets, classes.shape[1], generator=generator)
        chosen = lots.masked_fill(classes[usual] < 0, -1).topk(n, dim=1).indices
        elements = classes[usual].gather(1, chosen)
        lots = torch.rand(n_sets, classes.shape[1], generator=generator)
        one = lots.masked_fill(classes[odd_class] < 0, -1).argmax(dim=1, keepdim=True)
        odd = torch.randint(n, (n_sets,), generator=generator)
        elements.scatter_(1, odd[:, None], classes[odd_class].gather(1, one))
        return elements, odd

    def batch(self, step: int, batch_size: int) -> Batch:
        """Return random sets, a pure function of (seed, step).

        Args:
            step: The training step.
            batch_size: B, number of sets.

        Returns:
            Features, float32 of shape (B, N, F), and the odd one's place, int64 of shape (B,).
        """
        generator = step_generator(self.seed, step)
        elements, odd = self._draw(self._train, batch_size, generator)
        return self.features.train[elements], odd

    def held_out_sets(self) -> Batch:
        """Return the held-out sets as places among the held-out images, the same for every seed.

        Returns:
            int64 of shape (eval_sets, N), and the odd one's place, int64 of shape (eval_sets,).
        """
        return self._draw(self._test, self.eval_sets, step_generator(0, 0, held_out=True))

    def eval_batches(self, batch_size: int) -> Iterator[Batch]:
        """Yield the held-out sets.

        Args:
            batch_size: B, at most so many sets at once.

        Yields:
            Features and places as in :meth:`batch`.
        """
        elements, odd = self.held_out_sets()
        for some, places in zip(
            torch.split(elements, batch_size), torch.split(odd, batch_size), strict=True
        ):
            yield self.features.test[some], places

    def describe(self) -> dict[str, Any]:
        """Return what identifies the data, ready for JSON; the hash is of images and features."""
        features = self.features
        digest = hashlib.sha256(features.images.sha256.encode())
        # Rounded, because the last bits of a convolution differ between machines.
        digest.update(features.test[:100].mul(100).round().short().numpy().tobytes())
        return {
            "name": self.name,
            "source": features.images.source,
            "encoder": features.encoder,
            "sha256": digest.hexdigest(),
            "set_size": self.set_size,
            "eval_sets": self.eval_sets,
            "seed": self.seed,
        }


def _by_class(labels: Tensor, n_classes: int, set_size: int) -> Tensor:
    """Places of each class's images, shape (classes, most images of a class), filled up by -1."""
    places = [(labels == c).nonzero()[:, 0] for c in range(n_classes)]
    fewest = min(len(p) for p in places)
    if n_classes < 2 or fewest < set_size:
        raise TaskError(
            f"{n_classes} classes with at least {fewest} images each: sets of {set_size} need 2 "
            f"classes or more and {set_size} images of each. Give more images, or a smaller "
            "set_size."
        )
    return torch.nn.utils.rnn.pad_sequence(places, batch_first=True, padding_value=-1)
