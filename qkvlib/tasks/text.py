"""Language modelling on bytes: predict the next byte of a text.

The default text is the source code of Python's own standard library: it is on every machine that
can run the course, so there is nothing to download. Any UTF-8 files can take its place, or a text
that the course knows by name. By default a token is a byte, so no tokenizer stands between the
reader and the numbers: bits per byte is the loss divided by ln 2.
"""

from __future__ import annotations

import hashlib
import platform
import sysconfig
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from importlib.machinery import PathFinder
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import torch
from torch import Tensor

from qkvlib.config import StackConfig
from qkvlib.fetch import download
from qkvlib.local_data import DATA_FOLDER_VARIABLE, alone_in, data_folder
from qkvlib.sharing import look_up
from qkvlib.tasks import Batch, TaskError, step_generator, token_misfit
from qkvlib.tokenizer import BYTES, TOKENIZER_FILE, BPETokenizer, Tokenizer, to_bytes

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


STANDARD_LIBRARY_SOURCE: Final = "Python standard library"
"""What records call the default text."""


def encode(text: str, tokenizer: Tokenizer = BYTES) -> Tensor:
    """Turn a string into tokens: its UTF-8 bytes, or those of a tokenizer.

    Args:
        text: Any string.
        tokenizer: What turns it into tokens.

    Returns:
        int64 of shape (T,); with bytes, T is their number.
    """
    return tokenizer.encode(text.encode())


def decode(tokens: bytes | Iterable[int] | Tensor, tokenizer: Tokenizer = BYTES) -> str:
    """Turn tokens back into a string.

    Args:
        tokens: Bytes, or numbers of tokens.
        tokenizer: Whose tokens they are.

    Returns:
        The string; bytes that are not UTF-8 become U+FFFD, the replacement character.
    """
    return to_bytes(tokens, tokenizer).decode(errors="replace")


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


@dataclass(frozen=True)
class TextSource:
    """A published text that the course knows by name.

    Attributes:
        name: For example ``"tinyshakespeare"``.
        about: What it is.
        url: Where it is published.
        sha256: Its hash.
        size: Its length in bytes.
    """

    name: str
    about: str
    url: str
    sha256: str
    size: int

    @property
    def download_bytes(self) -> int:
        """Bytes that fetching it takes."""
        return self.size

    @property
    def embedded(self) -> bool:
        """Whether it comes with the course: none of these does."""
        return False

    def place(self, folder: Path) -> Path | None:
        """Return the file, or ``None`` if it is not on this machine.

        Args:
            folder: The data folder.
        """
        path = folder / f"{self.name}.txt"
        return path if path.exists() else None


TEXTS: Final[Mapping[str, TextSource]] = MappingProxyType(
    {
        source.name: source
        for source in (
            TextSource(
                "tinyshakespeare",
                "speeches from Shakespeare's plays, 1.1 MB",
                "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/"
                "input.txt",
                "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
                1_115_394,
            ),
        )
    }
)
"""Name -> text; the default text needs none, see :func:`standard_library_text`.

:meta hide-value:
"""


def get_text_source(name: str) -> TextSource:
    """Look a text up by name.

    Raises:
        UnknownNameError: If there is none of that name; the message offers the nearest.
    """
    return look_up("text", name, TEXTS)


def fetch_text(
    name: str, folder: str | PathLike[str] | None = None, *, mirrors: Sequence[str] = ()
) -> Path:
    """Bring a text to this machine; one that is there already is left as it is.

    Args:
        name: A key of :data:`TEXTS`.
        folder: The data folder; :func:`~qkvlib.data_folder` unless told.
        mirrors: Addresses of folders that hold the same file under the same name; they are asked
            instead of its own address, in order.

    Returns:
        The file.

    Raises:
        UnknownNameError: If there is no text of that name; the message offers the nearest.
        FetchError: If it cannot be fetched; the message says why, and what to do.
    """
    source = get_text_source(name)
    folder = data_folder() if folder is None else Path(folder)
    if (place := source.place(folder)) is not None:
        return place
    file = source.url.rpartition("/")[2]
    urls = [f"{mirror.rstrip('/')}/{file}" for mirror in mirrors] or source.url
    with alone_in(folder):
        path = folder / f"{name}.txt"
        return download(urls, path, sha256=source.sha256, size=source.size)


def read_named_text(name: str, folder: str | PathLike[str] | None = None) -> bytes:
    """Read a text from the data folder.

    Args:
        name: A key of :data:`TEXTS`.
        folder: The data folder; :func:`~qkvlib.data_folder` unless told.

    Raises:
        UnknownNameError: If there is no text of that name; the message offers the nearest.
        TaskError: If it is not on this machine, or not the published text; the message says how to
            get it.
    """
    source = get_text_source(name)
    folder = data_folder() if folder is None else Path(folder)
    path = source.place(folder)
    if path is None:
        raise TaskError(
            f"{name} is not on this machine: there is no {name}.txt in {folder}. Fetch it once, "
            f"with a network: qkv data fetch {name}. If you have a copy, put it there, or name its "
            f"folder in {DATA_FOLDER_VARIABLE}."
        )
    text = read_text(path)
    if (found := hashlib.sha256(text).hexdigest()) != source.sha256:
        raise TaskError(
            f"{path} is not the published text: its sha256 is {found} instead of {source.sha256}. "
            f"Delete it and fetch it again: qkv data fetch {name}. To train on it as it is, give "
            "it as a file of your own."
        )
    return text


@lru_cache(maxsize=4)
def _learned(text: bytes, vocab_size: int) -> BPETokenizer:
    """Learning takes seconds, and every seed of a comparison needs the same."""
    return BPETokenizer.train(text, vocab_size)


class TextTask:
    """Next-token prediction on a text; the last part of the text is held out.

    Args:
        seq_len: T, tokens of context that the model sees.
        text: A key of :data:`TEXTS`, to be on this machine; by default, and without ``files``, the
            source code of Python's standard library.
        files: UTF-8 files instead, joined in the given order.
        seed: Chooses the training windows.
        held_out: Share of the text, at its end, that is never trained on.
        eval_windows: At most so many windows of the held-out text are evaluated.
        bpe_vocab_size: Learn so many tokens from the part of the text that is trained on, and
            predict these; a byte is a token unless told.
        tokenizer: Take these tokens instead of learning some.

    Raises:
        TaskError: If a file cannot be used, or a split is too short for one window.
        TokenizerError: If tokens cannot be learned.

    Attributes:
        tokenizer: Turns text into tokens.
        vocab_size: Number of tokens.
        bytes_per_token: Bytes that a token stands for, on average over what is evaluated.
    """

    name = "text"
    causal = True

    def __init__(
        self,
        seq_len: int,
        *,
        text: str | None = None,
        files: Sequence[str | PathLike[str]] | None = None,
        seed: int = 0,
        held_out: float = 0.1,
        eval_windows: int = 64,
        bpe_vocab_size: int | None = None,
        tokenizer: Tokenizer | None = None,
    ) -> None:
        if seq_len < 1:
            raise TaskError(f"seq_len={seq_len}: a context needs at least 1 token.")
        if not 0 < held_out < 1:
            raise TaskError(f"held_out={held_out}: give a share between 0 and 1, for example 0.1.")
        if eval_windows < 1:
            raise TaskError(f"eval_windows={eval_windows}: evaluation needs at least 1 window.")
        if files is not None and not files:
            raise TaskError("files is an empty list. Give at least one file, or None.")
        if text is not None and files is not None:
            raise TaskError(f"text={text!r} and files: give one of them.")
        if bpe_vocab_size is not None and tokenizer is not None:
            raise TaskError(f"bpe_vocab_size={bpe_vocab_size} and tokenizer: give one of them.")
        self.seq_len = seq_len
        self.seed = seed
        if files is not None:
            content = SEPARATOR.join(read_text(path) for path in files)
            self._source = "files"
            self._files = [Path(path).name for path in files]
        elif text is not None:
            content = read_named_text(text)
            self._source = text
            self._files = [f"{text}.txt"]
        else:
            content = standard_library_text()
            self._source = STANDARD_LIBRARY_SOURCE
            self._files = list(STANDARD_LIBRARY)
        self._sha256 = hashlib.sha256(content).hexdigest()

        split = len(content) - round(len(content) * held_out)
        if bpe_vocab_size is not None or tokenizer is not None:
            split = content.find(b"\n", split) + 1 or len(content)  # in no character's middle
        if bpe_vocab_size is not None:
            tokenizer = _learned(content[:split], bpe_vocab_size)
        self.tokenizer = tokenizer or BYTES
        self.vocab_size = self.tokenizer.vocab_size
        self._split_bytes = (split, len(content) - split)
        self._train, self._held_out = (
            self._compact(self.tokenizer.encode(part))
            for part in (content[:split], content[split:])
        )
        # A window is T inputs and the token after the last of them.
        for part, name in ((self._train, "train"), (self._held_out, "held-out")):
            if len(part) <= seq_len:
                raise TaskError(
                    f"the {name} split has {len(part)} {self._unit} (of a text of {len(content)} "
                    f"bytes), but a context of {seq_len} needs at least {seq_len + 1}. Give a "
                    "longer text, or a shorter context (seq_len, --max-seq-len)."
                )
        self._n_eval = min(eval_windows, len(self._held_out) // (seq_len + 1))

    @property
    def _unit(self) -> str:
        return "bytes" if self.tokenizer is BYTES else "tokens"

    def _compact(self, tokens: Tensor) -> Tensor:
        """In as few bytes as hold every token."""
        return tokens.to(torch.uint8 if self.vocab_size <= VOCAB_SIZE else torch.int32)

    @cached_property
    def bytes_per_token(self) -> float:
        """Bytes that a token stands for, on average over what is evaluated."""
        if self.tokenizer is BYTES:
            return 1.0
        sizes = torch.tensor([len(piece) for piece in self.tokenizer.token_bytes])
        targets = torch.cat([targets.flatten() for _, targets in self.eval_batches(64)])
        return float(sizes[targets].sum() / len(targets))

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
            Inputs and next-token targets, int64 of shape (B, T).
        """
        generator = step_generator(self.seed, step)
        starts = torch.randint(len(self._train) - self.seq_len, (batch_size,), generator=generator)
        return self._windows(self._train, starts)

    def eval_batches(self, batch_size: int) -> Iterator[Batch]:
        """Yield fixed windows over the held-out text: evenly spaced, none overlapping another.

        Args:
            batch_size: B, at most so many windows at once.

        Yields:
            Inputs and next-token targets, int64 of shape (≤ B, T).
        """
        last = len(self._held_out) - self.seq_len - 1
        starts = torch.arange(self._n_eval) * last // max(self._n_eval - 1, 1)
        for some in torch.split(starts, batch_size):
            yield self._windows(self._held_out, some)

    def keep(self, folder: Path) -> None:
        """Write the tokenizer into a run's folder; bytes need none."""
        if isinstance(self.tokenizer, BPETokenizer):
            self.tokenizer.save(folder / TOKENIZER_FILE)

    def describe(self) -> dict[str, Any]:
        """Return what identifies the data, ready for JSON.

        Returns:
            Name, source, files, sizes in bytes, hash, Python version (for the default text), seed.
        """
        description: dict[str, Any] = {
            "name": self.name,
            "source": self._source,
            "files": self._files,
            "bytes": sum(self._split_bytes),
            "sha256": self._sha256,
            "train_bytes": self._split_bytes[0],
            "held_out_bytes": self._split_bytes[1],
            "eval_windows": self._n_eval,
            "seq_len": self.seq_len,
            "seed": self.seed,
        }
        if self._source == STANDARD_LIBRARY_SOURCE:
            description["python"] = platform.python_version()
        if self.tokenizer is not BYTES:
            description["tokenizer"] = self.tokenizer.describe()
        return description
