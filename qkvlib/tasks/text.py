"""Language modelling on bytes: predict the next byte of a text.

The default text is the source code of Python's own standard library: it is on every machine that
can run the course, so there is nothing to download. Any UTF-8 files can take its place. A token is
a byte, so no tokenizer stands between the reader and the numbers: bits per byte is the loss
divided by ln 2.
"""

from __future__ import annotations

import hashlib
import platform
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib.machinery import PathFinder
from os import PathLike
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from qkvlib.config import StackConfig
from qkvlib.tasks import Batch, TaskError, step_generator, token_misfit

VOCAB_SIZE: Final = 256
"""Every value of a byte is a token."""

SEPARATOR: Final = b"\n\n"
"""Stands between two files."""

STANDARD_LIBRARY: Final[tuple[str, ...]] = tuple(
    """
    argparse ast asyncio.base_events asyncio.events asyncio.locks asyncio.streams asyncio.tasks
    base64 bdb calendar collections concurrent.futures._base configparser contextlib csv dataclasses
    difflib dis email.message enum fractions functools gettext gzip heapq html.parser http.client
    http.server inspect ipaddress json.decoder json.encoder logging logging.handlers
    multiprocessing.connection multiprocessing.pool pathlib pdb pickle pkgutil pprint random
    selectors shutil socket socketserver statistics subprocess tarfile tempfile textwrap threading
    tokenize traceback typing unittest.case urllib.parse urllib.request uuid warnings weakref
    webbrowser xml.etree.ElementTree xmlrpc.client zipfile
    """.split()  # noqa: SIM905
)
"""Modules of the default text, sorted; all are in Python 3.11, 3.12 and 3.13."""


def encode(text: str) -> Tensor:
    """Turn a string into tokens: its UTF-8 bytes.

    Args:
        text: Any string.

    Returns:
        int64 of shape (T,), T the number of bytes.
    """
    return torch.tensor(list(text.encode()), dtype=torch.int64)


def decode(tokens: bytes | Iterable[int] | Tensor) -> str:
    """Turn tokens back into a string.

    Args:
        tokens: Bytes, or whole numbers from 0 to 255.

    Returns:
        The string; bytes that are not UTF-8 become U+FFFD, the replacement character.
    """
    values = tokens.tolist() if isinstance(tokens, Tensor) else tokens
    return bytes(values).decode(errors="replace")


def _standard_library_file(name: str) -> Path:
    """Find a module's source inside the standard library's own folder.

    ``importlib.util.find_spec`` would import parent packages, answer ``frozen`` for some modules
    and be fooled by a ``random.py`` beside the notebook; looking in that one folder is not.
    """
    root = sysconfig.get_path("stdlib")
    folders, origin = [root], ""
    for part in name.split("."):
        spec = PathFinder.find_spec(part, folders)
        origin = (spec and spec.origin) or ""
        if spec is None or not origin.endswith(".py"):
            raise TaskError(
                f"the default text needs the source of Python's module {name!r}, which is not in "
                f"{root} (Python {platform.python_version()}). Use a Python 3.11 to 3.13 with its "
                "full standard library, or a text of your own: --text FILE, or "
                "TextTask(..., files=[...])."
            )
        folders = list(spec.submodule_search_locations or [])
    return Path(origin)


@cache
def standard_library_text() -> bytes:
    """Return the default text: the modules of :data:`STANDARD_LIBRARY`, joined in order.

    Returns:
        About 3 MB of UTF-8, with ``\\n`` line ends; its exact size depends on the Python version.

    Raises:
        TaskError: If a module's source is missing.
    """
    sources = (_standard_library_file(name).read_bytes() for name in STANDARD_LIBRARY)
    return SEPARATOR.join(source.replace(b"\r\n", b"\n") for source in sources)


def read_text(path: str | PathLike[str]) -> bytes:
    """Read one UTF-8 file.

    Args:
        path: A file.

    Returns:
        Its bytes, unchanged.

    Raises:
        TaskError: If it is missing, a folder, unreadable, empty, or not UTF-8 text.
    """
    path = Path(path)
    if path.is_dir():
        raise TaskError(f"{path} is a folder. Name the files in it: --text {path}/*.txt")
    if not path.exists():
        raise TaskError(f"there is no file {path}. The path is taken from {Path.cwd()}.")
    try:
        text = path.read_bytes()
    except OSError as error:
        raise TaskError(f"{path} cannot be read: {error.strerror}.") from error
    if not text:
        raise TaskError(f"{path} is empty. Give a file with text in it.")
    if (offset := text.find(0)) >= 0:
        raise TaskError(
            f"{path} is not text: there is a NUL byte at offset {offset}. Give UTF-8 text files."
        )
    try:
        text.decode()
    except UnicodeDecodeError as error:
        raise TaskError(
            f"{path} is not UTF-8: byte 0x{text[error.start]:02x} at offset {error.start}. "
            "Save it as UTF-8, or convert it with: iconv -f latin1 -t utf-8"
        ) from error
    return text


class TextTask:
    """Next-byte prediction on a text; the last part of the text is held out.

    Args:
        seq_len: T, bytes of context that the model sees.
        files: UTF-8 files, joined in the given order; by default the source code of Python's
            standard library.
        seed: Chooses the training windows.
        held_out: Share of the text, at its end, that is never trained on.
        eval_windows: At most so many windows of the held-out text are evaluated.

    Raises:
        TaskError: If a file cannot be used, or a split is too short for one window.
    """

    name = "text"
    vocab_size = VOCAB_SIZE
    causal = True
    bytes_per_token = 1.0

    def __init__(
        self,
        seq_len: int,
        *,
        files: Sequence[str | PathLike[str]] | None = None,
        seed: int = 0,
        held_out: float = 0.1,
        eval_windows: int = 64,
    ) -> None:
        if seq_len < 1:
            raise TaskError(f"seq_len={seq_len}: a context needs at least 1 byte.")
        if not 0 < held_out < 1:
            raise TaskError(f"held_out={held_out}: give a share between 0 and 1, for example 0.1.")
        if eval_windows < 1:
            raise TaskError(f"eval_windows={eval_windows}: evaluation needs at least 1 window.")
        if files is not None and not files:
            raise TaskError("files is an empty list. Give at least one file, or None.")
        self.seq_len = seq_len
        self.seed = seed
        if files is None:
            text = standard_library_text()
            self._source = "Python standard library"
            self._files = list(STANDARD_LIBRARY)
        else:
            text = SEPARATOR.join(read_text(path) for path in files)
            self._source = "files"
            self._files = [Path(path).name for path in files]
        self._sha256 = hashlib.sha256(text).hexdigest()

        split = len(text) - round(len(text) * held_out)
        tokens = torch.frombuffer(bytearray(text), dtype=torch.uint8)
        self._train, self._held_out = tokens[:split], tokens[split:]
        # A window is T inputs and the byte after the last of them.
        for part, name in ((self._train, "train"), (self._held_out, "held-out")):
            if len(part) <= seq_len:
                raise TaskError(
                    f"the {name} split has {len(part)} bytes (of a text of {len(text)}), but a "
                    f"context of {seq_len} needs at least {seq_len + 1}. Give a longer text, or "
                    "a shorter context (seq_len, --max-seq-len)."
                )
        self._n_eval = min(eval_windows, len(self._held_out) // (seq_len + 1))

    def _windows(self, split: Tensor, starts: Tensor) -> Batch:
        windows = split.unfold(0, self.seq_len + 1, 1)[starts].long()  # (B, T + 1)
        return windows[:, :-1].contiguous(), windows[:, 1:].contiguous()

    def misfit(self, config: StackConfig) -> str | None:
        """Say why a model of this configuration cannot be trained on the task."""
        return token_misfit(self, config)

    def batch(self, step: int, batch_size: int) -> Batch:
        """Return training windows at random places, a pure function of (seed, step).

        Args:
            step: The training step.
            batch_size: B, number of windows.

        Returns:
            Inputs and next-byte targets, int64 of shape (B, T).
        """
        generator = step_generator(self.seed, step)
        starts = torch.randint(len(self._train) - self.seq_len, (batch_size,), generator=generator)
        return self._windows(self._train, starts)

    def eval_batches(self, batch_size: int) -> Iterator[Batch]:
        """Yield fixed windows over the held-out text: evenly spaced, none overlapping another.

        Args:
            batch_size: B, at most so many windows at once.

        Yields:
            Inputs and next-byte targets, int64 of shape (≤ B, T).
        """
        last = len(self._held_out) - self.seq_len - 1
        starts = torch.arange(self._n_eval) * last // max(self._n_eval - 1, 1)
        for some in torch.split(starts, batch_size):
            yield self._windows(self._held_out, some)

    def describe(self) -> dict[str, Any]:
        """Return what identifies the data, ready for JSON.

        Returns:
            Name, source, files, sizes in bytes, hash, Python version (for the default text), seed.
        """
        description: dict[str, Any] = {
            "name": self.name,
            "source": self._source,
            "files": self._files,
            "bytes": len(self._train) + len(self._held_out),
            "sha256": self._sha256,
            "train_bytes": len(self._train),
            "held_out_bytes": len(self._held_out),
            "eval_windows": self._n_eval,
            "seq_len": self.seq_len,
            "seed": self.seed,
        }
        if self._source != "files":
            description["python"] = platform.python_version()
        return description
