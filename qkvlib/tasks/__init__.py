"""Tasks: data in, batches out, offline by default.

A task hands out batches as a pure function of its seed and the step. So an interrupted run needs no
state of the data to go on, and two variants with the same seed see the same batches in the same
order, which is what makes paired comparisons by seed fair.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

import torch
from torch import Tensor

from qkvlib.config import ModelConfig, StackConfig

Batch = tuple[Tensor, Tensor]
"""``(inputs, targets)``: for tokens both int64 of shape (B, T). An image or a set has one answer:
floats of shape (B, …) and int64 of shape (B,)."""

IGNORED: Final = -100
"""Target of a position that is not scored; PyTorch's cross-entropy leaves it out by default."""


class TaskError(ValueError):
    """A task cannot be made from what was given; the message says why and how to mend it."""


@runtime_checkable
class Task(Protocol):
    """What the training loop asks of a task."""

    @property
    def name(self) -> str:
        """Short name, for records and tables: ``"text"``, ``"REVERSE"``."""
        ...

    @property
    def bytes_per_token(self) -> float | None:
        """Bytes of text that one token stands for; ``None`` where tokens are not text."""
        ...

    def misfit(self, config: StackConfig) -> str | None:
        """Say why a model of this configuration cannot be trained on the task; ``None`` if it can.

        The answer names both values and the way out.
        """
        ...

    def batch(self, step: int, batch_size: int) -> Batch:
        """Return the training batch of a step, a pure function of the task's seed and the step."""
        ...

    def eval_batches(self, batch_size: int) -> Iterable[Batch]:
        """Return held-out batches, the same for every variant, seed and step."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return what identifies the data, ready for JSON; ``sha256`` is always among it."""
        ...


@runtime_checkable
class KeepsFiles(Protocol):
    """A task without whose files a trained model cannot be used."""

    def keep(self, folder: Path) -> None:
        """Write them into the run's folder."""
        ...


class TokenTask(Task, Protocol):
    """A task on sequences of tokens."""

    @property
    def vocab_size(self) -> int:
        """Number of distinct tokens."""
        ...

    @property
    def seq_len(self) -> int:
        """T, the length of every sequence in a batch."""
        ...

    @property
    def causal(self) -> bool:
        """Whether each target is the next input: then only a causal model may be trained on it."""
        ...


def token_misfit(task: TokenTask, config: StackConfig) -> str | None:
    """Answer :meth:`Task.misfit` for any task on tokens."""
    if not isinstance(config, ModelConfig):
        return (
            f"task {task.name} is made of tokens, and a {type(config).__name__} describes a model "
            "for something else. Use a ModelConfig."
        )
    if task.vocab_size > config.vocab_size:
        return (
            f"task {task.name} has {task.vocab_size} tokens, the model vocab_size="
            f"{config.vocab_size}. Build the model with vocab_size={task.vocab_size}."
        )
    if task.seq_len > config.max_seq_len:
        return (
            f"task {task.name} has sequences of {task.seq_len}, the model max_seq_len="
            f"{config.max_seq_len}. Lengthen the one or shorten the other."
        )
    if task.causal and not config.causal:
        return (
            f"task {task.name} asks for the next token, and a model with causal=False sees it. "
            "Build the model with causal=True."
        )
    return None


def step_generator(seed: int, step: int, *, held_out: bool = False) -> torch.Generator:
    """Make the random generator of one batch.

    PyTorch's CPU generator keeps only 32 bits of its seed. Seed and step are therefore hashed
    down to 31, and the last bit tells training from held-out data: the two can never share a seed.

    Args:
        seed: The task's seed.
        step: The training step, or the number of the held-out batch.
        held_out: Whether the batch is for evaluation.

    Returns:
        A fresh CPU generator, the same for the same arguments.
    """
    digest = hashlib.blake2b(f"{seed} {step}".encode(), digest_size=4).digest()
    mixed = int.from_bytes(digest, "little") & 0x7FFF_FFFF
    return torch.Generator().manual_seed(mixed | int(held_out) << 31)


__all__ = [
    "IGNORED",
    "Batch",
    "KeepsFiles",
    "Task",
    "TaskError",
    "TokenTask",
    "step_generator",
    "token_misfit",
]
