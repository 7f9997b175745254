"""Text to tokens and back: a byte each, or pieces of words learned from the text.

Byte-pair encoding starts from bytes and joins, again and again, the pair of tokens that stands side
by side most often. What a token is decides what a loss per token means; the loss per byte does not
depend on it. Source: Sennrich, Haddow and Birch (2016); on bytes, Radford et al. (2019).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import torch
from torch import Tensor

from qkvlib.records import write_atomically

TOKENIZER_FILE: Final = "tokenizer.json"
"""Name of the tokenizer in a run's folder; a run without it has a byte for a token."""

N_BYTES: Final = 256


class TokenizerError(ValueError):
    """A tokenizer cannot be made or read; the message says why and how to mend it."""


class Tokenizer(Protocol):
    """What turns text into tokens."""

    @property
    def token_bytes(self) -> tuple[bytes, ...]:
        """What each token stands for."""
        ...

    @property
    def vocab_size(self) -> int:
        """Number of tokens."""
        ...

    def encode(self, text: bytes) -> Tensor:
        """Return the tokens of a UTF-8 text, int64 of shape (T,)."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return what identifies it, ready for JSON."""
        ...


class ByteTokenizer:
    """A byte is a token."""

    vocab_size = N_BYTES
    token_bytes = tuple(bytes([value]) for value in range(N_BYTES))

    def encode(self, text: bytes) -> Tensor:
        """Return the bytes, int64 of shape (T,)."""
        return torch.from_numpy(np.frombuffer(text, dtype=np.uint8).astype(np.int64))

    def describe(self) -> dict[str, Any]:
        """Return what identifies it."""
        return {"kind": "bytes", "vocab_size": N_BYTES}


class BPETokenizer:
    """Byte-pair encoding on bytes, by Hugging Face's ``tokenizers``.

    Args:
        json_text: The tokenizer as ``tokenizers`` writes it.

    Raises:
        TokenizerError: If it is no such tokenizer, or the library is not installed.
    """

    def __init__(self, json_text: str) -> None:
        library = _library()
        try:
            self._inner = library.Tokenizer.from_str(json_text)
        except Exception as error:  # the library raises plain Exception
            raise TokenizerError(f"this is not a tokenizer: {error}") from error
        self._json = json_text
        if any(piece is None for piece in self._pieces()):
            raise TokenizerError("the tokenizer's tokens are not numbered from 0 on without gaps.")

    @classmethod
    def train(cls, text: bytes, vocab_size: int) -> BPETokenizer:
        """Learn tokens from a text; the same text gives the same tokens.

        Args:
            text: UTF-8.
            vocab_size: Tokens at most, the 256 bytes among them.

        Raises:
            TokenizerError: If there is no room for joined tokens, the text is empty, or the library
                is not installed.
        """
        if vocab_size <= N_BYTES:
            raise TokenizerError(
                f"vocab_size={vocab_size}: {N_BYTES} tokens are bytes, so expected more, for "
                "example 1024."
            )
        if not text:
            raise TokenizerError("the text is empty: there is nothing to learn tokens from.")
        library = _library()
        inner = library.Tokenizer(library.models.BPE())
        inner.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = library.trainers.BpeTrainer(
            vocab_size=vocab_size,
            show_progress=False,
            initial_alphabet=sorted(library.pre_tokenizers.ByteLevel.alphabet()),
        )
        inner.train_from_iterator(text.decode().splitlines(keepends=True), trainer)
        return cls(inner.to_str())

    @classmethod
    def load(cls, path: str | PathLike[str]) -> BPETokenizer:
        """Read what :meth:`save` wrote.

        Raises:
            TokenizerError: If there is no such file, or it is damaged.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise TokenizerError(f"{path} cannot be read: {error}") from error
        return cls(text)

    def save(self, path: str | PathLike[str]) -> None:
        """Write it as JSON, whole or not at all."""
        write_atomically(Path(path), self._json)

    def _pieces(self) -> list[bytes | None]:
        byte_of = _bytes_of_letters()
        pieces: list[bytes | None] = [None] * self._inner.get_vocab_size()
        for piece, number in self._inner.get_vocab().items():
            pieces[number] = bytes(byte_of[letter] for letter in piece)
        return pieces

    @cached_property
    def token_bytes(self) -> tuple[bytes, ...]:
        """What each token stands for; a token may be a part of a character."""
        return tuple(piece for piece in self._pieces() if piece is not None)

    @property
    def vocab_size(self) -> int:
        """Number of tokens."""
        return len(self.token_bytes)

    def encode(self, text: bytes) -> Tensor:
        """Return the tokens of a UTF-8 text, int64 of shape (T,)."""
        # Line by line, as in training: a long text as one piece takes the library far longer.
        lines = self._inner.encode_batch(text.decode().splitlines(keepends=True))
        return torch.tensor([number for line in lines for number in line.ids], dtype=torch.int64)

    def describe(self) -> dict[str, Any]:
        """Return what identifies it."""
        digest = hashlib.sha256(json.dumps(json.loads(self._json)).encode()).hexdigest()
        return {"kind": "bpe", "vocab_size": self.vocab_size, "sha256": digest}


BYTES: Final[Tokenizer] = ByteTokenizer()
"""A byte for a token: the course's default.

:meta hide-value:
"""


def to_bytes(tokens: Iterable[int] | Tensor, tokenizer: Tokenizer = BYTES) -> bytes:
    """Return what tokens stand for, one after the other.

    Args:
        tokens: Numbers of tokens.
        tokenizer: Whose tokens they are.
    """
    numbers = tokens.tolist() if isinstance(tokens, Tensor) else tokens
    pieces = tokenizer.token_bytes
    return b"".join(pieces[number] for number in numbers)


def load_tokenizer(folder: str | PathLike[str]) -> Tokenizer:
    """Return the tokenizer of a run.

    Args:
        folder: The run's folder, or a file in it.

    Raises:
        TokenizerError: If the folder holds a damaged tokenizer.
    """
    folder = Path(folder)
    path = (folder if folder.is_dir() else folder.parent) / TOKENIZER_FILE
    return BPETokenizer.load(path) if path.exists() else BYTES


def _library() -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise TokenizerError(
            "pieces of words are learned by the library tokenizers, which is not installed: "
            'pip install "qkvlib[course]". Bytes as tokens need nothing.'
        ) from error
    return tokenizers


def _bytes_of_letters() -> dict[str, int]:
    """Letter -> byte, for the letters that stand for bytes in a byte-level vocabulary.

    A vocabulary is text, so each byte has a letter that can be seen: its own where it has one, and
    else the next free one from 256 on.
    """
    seen = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), 256)]
    hidden = [value for value in range(N_BYTES) if value not in seen]
    return {chr(value): value for value in seen} | {
        chr(N_BYTES + i): value for i, value in enumerate(hidden)
    }
