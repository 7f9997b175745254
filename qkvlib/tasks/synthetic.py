"""Tasks on short lists, for models that see the whole list.

Each asks for something else of attention: SUB and COPY can be done position by position, REVERSE,
SWAP and SHIFT need the place of each digit, SORT needs their values, RECALL needs to find by
content. Source of the first five: Kayyam et al. (2026), section 4.1; SHIFT and RECALL are ours. The
data are made here, not read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

import torch
from torch import Tensor

from qkvlib.config import StackConfig
from qkvlib.sharing import unknown_name
from qkvlib.tasks import IGNORED, Batch, TaskError, step_generator, token_misfit

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


def shift(digits: Tensor) -> Tensor:
    """Each digit one place to the right, the last one first."""
    return digits.roll(1, dims=-1)


def recall(tokens: Tensor) -> Tensor:
    """For each question the digit that was paired with its key.

    A list of length T holds n = T / 2 pairs, then n questions. A pair is one token,
    ``10 * key + digit``; a question is ``10 * n + key``.

    Args:
        tokens: Shape (…, T); each of the n keys stands in one pair.

    Returns:
        Shape (…, T): :data:`~qkvlib.tasks.IGNORED` at the pairs, a digit at each question.
    """
    n = tokens.shape[-1] // 2
    pairs, asked = tokens[..., :n], tokens[..., n:] - N_DIGITS * n
    found = asked[..., :, None] == pairs[..., None, :] // N_DIGITS  # (…, question, pair)
    answers = (found * (pairs % N_DIGITS)[..., None, :]).sum(-1)
    return torch.cat([torch.full_like(pairs, IGNORED), answers], dim=-1)


TASKS: Final[Mapping[str, Callable[[Tensor], Tensor]]] = MappingProxyType(
    {
        "REVERSE": reverse,
        "SORT": sort,
        "SUB": sub,
        "SWAP": swap,
        "COPY": copy,
        "SHIFT": shift,
        "RECALL": recall,
    }
)
"""Name -> what the model has to learn: the paper's five in its order, then ours."""

_HALVES: Final = {"SWAP": "exchanges two halves", "RECALL": "has as many questions as pairs"}


def _draw_digits(n_lists: int, length: int, generator: torch.Generator) -> Tensor:
    return torch.randint(N_DIGITS, (n_lists, length), generator=generator)


def _draw_recall(n_lists: int, length: int, generator: torch.Generator) -> Tensor:
    """Every key once, in random order, with a random digit; then random keys as questions."""
    n = length // 2
    keys = torch.rand(n_lists, n, generator=generator).argsort(dim=-1)
    digits = torch.randint(N_DIGITS, (n_lists, n), generator=generator)
    asked = torch.randint(n, (n_lists, n), generator=generator)
    return torch.cat([N_DIGITS * keys + digits, N_DIGITS * n + asked], dim=-1)


class SyntheticTask:
    """Random lists and what one of :data:`TASKS` makes of them.

    Args:
        name: A key of :data:`TASKS`, in any case.
        length: T, tokens in a list: digits, or for RECALL T / 2 pairs and as many questions.
        seed: Chooses the training lists.
        eval_lists: Number of held-out lists.

    Raises:
        UnknownNameError: If there is no task of that name; the message offers the nearest.
        TaskError: If the length is odd for SWAP or RECALL, or a number is below
            1.

    Attributes:
        vocab_size: 10 digits; for RECALL 10 + 1 tokens for each key. Answers are digits always.
    """

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
        if self.name in _HALVES and length % 2:
            raise TaskError(
                f"length={length}: {self.name} {_HALVES[self.name]}, so the length must be even. "
                f"Use {length + 1}."
            )
        self.vocab_size = (N_DIGITS + 1) * (length // 2) if self.name == "RECALL" else N_DIGITS
        self.seq_len = length
        self.seed = seed
        self.eval_lists = eval_lists

    def _lists(self, n: int, generator: torch.Generator) -> Batch:
        draw = _draw_recall if self.name == "RECALL" else _draw_digits
        inputs = draw(n, self.seq_len, generator)
        return inputs, TASKS[self.name](inputs)

    def misfit(self, config: StackConfig) -> str | None:
        """Say why a model of this configuration cannot be trained on the task."""
        return token_misfit(self, config)

    def batch(self, step: int, batch_size: int) -> Batch:
        """Return random lists, a pure function of (seed, step).

        Args:
            step: The training step.
            batch_size: B, number of lists.

        Returns:
            Inputs and targets, int64 of shape (B, T); targets are digits from 0 to 9, or
            :data:`~qkvlib.tasks.IGNORED` where nothing is asked.
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
        narrow = torch.uint8 if self.vocab_size <= 256 else torch.int32
        return {
            "name": self.name,
            "source": "synthetic",
            "sha256": hashlib.sha256(inputs.to(narrow).numpy().tobytes()).hexdigest(),
            "eval_lists": self.eval_lists,
            "seq_len": self.seq_len,
            "seed": self.seed,
        }
