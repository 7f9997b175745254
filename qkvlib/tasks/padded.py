"""Documents cut or padded to one length: what padding does to a reported loss.

Batches want sequences of one length, and documents have many. One way out is to fill short ones up
with a token that says nothing, *padding*, and to leave it out of the loss. If it is left in, most
of it is as easy to predict as can be, and the mean goes down with the share of padding.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from os import PathLike
from typing import Any, Final

import torch
from torch import Tensor

from qkvlib.config import StackConfig
from qkvlib.tasks import IGNORED, Batch, TaskError, step_generator, token_misfit
from qkvlib.tasks.text import SEPARATOR, VOCAB_SIZE, read_text, standard_library_text

PAD: Final = 0
"""The byte that fills up; text has none of it."""


class PaddedTextTask:
    """Next-byte prediction on paragraphs, each cut or padded to the same length.

    A paragraph is what stands between blank lines. The first byte of padding marks its end and is
    always predicted; what comes after it is scored or not.

    Args:
        seq_len: T, bytes that the model sees of each paragraph.
        files: UTF-8 files; by default the source code of Python's standard library.
        score_padding: Whether padding counts in training and evaluation.
        seed: Chooses the training paragraphs.
        held_out: Share of the paragraphs, the last ones, that is never trained on.
        eval_paragraphs: At most so many of the held-out ones are evaluated, evenly spaced.

    Raises:
        TaskError: If a file cannot be used, or there are too few paragraphs for both parts.
    """

    name = "paragraphs"
    vocab_size = VOCAB_SIZE
    causal = True
    bytes_per_token = None

    def __init__(
        self,
        seq_len: int,
        *,
        files: Sequence[str | PathLike[str]] | None = None,
        score_padding: bool = True,
        seed: int = 0,
        held_out: float = 0.1,
        eval_paragraphs: int = 512,
    ) -> None:
        if seq_len < 1:
            raise TaskError(f"seq_len={seq_len}: a paragraph needs at least 1 byte.")
        if not 0 < held_out < 1:
            raise TaskError(f"held_out={held_out}: give a share between 0 and 1, for example 0.1.")
        if eval_paragraphs < 1:
            raise TaskError(f"eval_paragraphs={eval_paragraphs}: evaluation needs at least 1.")
        text = (
            standard_library_text()
            if files is None
            else SEPARATOR.join(read_text(path) for path in files)
        )
        paragraphs = [part for part in re.split(rb"\n\s*\n", text) if part.strip()]
        n_held_out = round(len(paragraphs) * held_out)
        if not 0 < n_held_out < len(paragraphs):
            raise TaskError(
                f"{len(paragraphs)} paragraphs cannot be split into training and held-out ones "
                f"with held_out={held_out}. Give a text with more blank lines."
            )
        self.seq_len = seq_len
        self.score_padding = score_padding
        self.seed = seed
        self.n_paragraphs = len(paragraphs)
        self._sha256 = hashlib.sha256(text).hexdigest()
        rows = torch.stack([self._row(part) for part in paragraphs])  # (paragraphs, T + 1)
        self._train, held_out_rows = rows[:-n_held_out], rows[-n_held_out:]
        n_eval = min(eval_paragraphs, n_held_out)
        self._held_out = held_out_rows[torch.arange(n_eval) * n_held_out // n_eval]

    def _row(self, paragraph: bytes) -> Tensor:
        cut = paragraph[: self.seq_len + 1]
        return torch.frombuffer(
            bytearray(cut.ljust(self.seq_len + 1, bytes([PAD]))), dtype=torch.uint8
        )

    def _batch(self, rows: Tensor, score_padding: bool) -> Batch:
        inputs, targets = rows[:, :-1].long(), rows[:, 1:].long()
        if not score_padding:
            targets = targets.masked_fill(is_padding(rows), IGNORED)
        return inputs, targets

    @property
    def padding_share(self) -> float:
        """Share of the held-out targets that are padding, from 0 to 1; the end mark is not."""
        return is_padding(self._held_out).float().mean().item()

    def misfit(self, config: StackConfig) -> str | None:
        """Say why a model of this configuration cannot be trained on the task."""
        return token_misfit(self, config)

    def batch(self, step: int, batch_size: int) -> Batch:
        """Return training paragraphs at random, a pure function of (seed, step).

        Args:
            step: The training step.
            batch_size: B, number of paragraphs.

        Returns:
            Inputs and next-byte targets, int64 of shape (B, T).
        """
        generator = step_generator(self.seed, step)
        chosen = torch.randint(len(self._train), (batch_size,), generator=generator)
        return self._batch(self._train[chosen], self.score_padding)

    def eval_batches(
        self, batch_size: int, *, score_padding: bool | None = None
    ) -> Iterator[Batch]:
        """Yield the held-out paragraphs, the same for every seed.

        Args:
            batch_size: B, at most so many paragraphs at once.
            score_padding: Whether padding counts; as in training unless told.

        Yields:
            Inputs and next-byte targets, int64 of shape (≤ B, T).
        """
        scored = self.score_padding if score_padding is None else score_padding
        for rows in torch.split(self._held_out, batch_size):
            yield self._batch(rows, scored)

    def describe(self) -> dict[str, Any]:
        """Return what identifies the data, ready for JSON."""
        return {
            "name": self.name,
            "sha256": self._sha256,
            "paragraphs": self.n_paragraphs,
            "eval_paragraphs": len(self._held_out),
            "padding_share": round(self.padding_share, 5),
            "score_padding": self.score_padding,
            "seq_len": self.seq_len,
            "seed": self.seed,
        }


def is_padding(rows: Tensor) -> Tensor:
    """Tell which targets are padding, the end mark excepted.

    Args:
        rows: Shape (B, T + 1), bytes.

    Returns:
        Shape (B, T), true where both the byte to predict and the one before it are padding.
    """
    return (rows[:, 1:] == PAD) & (rows[:, :-1] == PAD)
