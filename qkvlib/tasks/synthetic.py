"""Tasks on lists of digits, for models that see the whole list: REVERSE, SORT, SUB, SWAP, COPY.

Each asks for something else of attention: SUB and COPY can be done position by position, REVERSE
and SWAP need the place of each digit, SORT needs their values. Source: Kayyam et al. (2026),
section 4.1; the data are made here, not read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

import torch
from torch import Tensor

from qkvlib.sharing import unknown_name
from qkvlib.tasks import Batch, TaskError, step_generator

N_DIGITS: Final = 10


def reverse(digits: Tensor) -> Tensor:
    """Last digit first; shape (…, T) in and out, as for all of these."""
    return digits.flip(-1)


def sort(digits: Tensor) -> Tensor:
    """From the least digit to the greatest."""
    return digits.sort(dim=-1).values


def sub(digits: Tensor) -> Tensor:
    """Nine minus each digit."""
    return 9 - digits


def swap(digits: Tensor) -> Tensor:
    """Second half first. T must be even."""
    return digits.roll(digits.shape[-1] // 2, dims=-1)


def copy(digits: Tensor) -> Tensor:
    """The list itself."""
    return digits.clone()


TASKS: Final[Mapping[str, Callable[[Tensor], Tensor]]] = MappingProxyType(
    {"REVERSE": reverse, "SORT": sort, "SUB": sub, "SWAP": swap, "COPY": copy}
)
"""Name -> what the model has to learn, in the paper's order."""


class SyntheticTask:
    """Random lists of digits and what one of :data:`TASKS` makes of them.

    Args:
        name: A key of :data:`TASKS`, in any case.
        length: T, digits in a list.
        seed: Chooses the training lists.
        eval_lists: Number of held-out lists.

    Raises:
        UnknownNameError: If there is no task of that name; the message offers the nearest.
        TaskError: If the length is odd for SWAP, or a number is below 1.
    """

    vocab_size = N_DIGITS
    causal = False
    bytes_per_token = None

    def __init__(self, name: str, length: int, *, seed: int = 0, eval_lists: int = 512) -> None:
        if name.upper() not in TASKS:
            raise unknown_name("synthetic task", name, TASKS)
        if length < 1:
            raise TaskError(f"length={length}: a list needs at least 1 digit.")
        if eval_lists < 1:
            raise TaskError(f"eval_lists={eval_lists}: evaluation needs at least 1 list.")
        self.name = name.upper()
        if self.name == "SWAP" and length % 2:
            raise TaskError(
                f"length={length}: SWAP exchanges two halves, so the length must be even. Use "
                f"{length + 1}."
            )
        self.seq_len = length
        self.seed = seed
        self.eval_lists = eval_lists

    def _lists(self, n: int, generator: torch.Generator) -> Batch:
        inputs = torch.randint(N_DIGITS, (n, self.seq_len), generator=generator)
        return inputs, TASKS[self.name](inputs)

    def batch(self, step: int, batch_size: int) -> Batch:
        """Return random lists, a pure function of (seed, step).

        Args:
            step: The training step.
            batch_size: B, number of lists.

        Returns:
            Inputs and targets, int64 of shape (B, T), digits from 0 to 9.
        """
        return self._lists(batch_size, step_generator(self.seed, step))

    def eval_batches(self, batch_size: int) -> Iterator[Batch]:
        """Yield the held-out lists, the same for every seed, from generators never trained on.

        Args:
            batch_size: B, at most so many lists at once.

        Yields:
            Inputs and targets, int64 of shape (≤ B, T).
        """
        inputs, targets = self._lists(self.eval_lists, step_generator(0, 0, held_out=True))
        for some in torch.split(torch.arange(self.eval_lists), batch_size):
            yield inputs[some], targets[some]

    def describe(self) -> dict[str, Any]:
        """Return what identifies the data, ready for JSON; the hash is of the held-out lists."""
        inputs, _ = self._lists(self.eval_lists, step_generator(0, 0, held_out=True))
        return {
            "name": self.name,
            "source": "synthetic",
            "sha256": hashlib.sha256(inputs.to(torch.uint8).numpy().tobytes()).hexdigest(),
            "eval_lists": self.eval_lists,
            "seq_len": self.seq_len,
            "seed": self.seed,
        }
