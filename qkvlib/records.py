"""A run in, one JSON record out; and back, for tables and figures over many runs."""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import json
import math
import os
import platform
import uuid
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from os import PathLike
from pathlib import Path
from typing import Any, Final

import filelock

from qkvlib.config import StackConfig, config_from_dict
from qkvlib.sharing import SHARINGS, Variant, unknown_name

RECORD_FILE: Final = "record.json"
"""Name of the record in a run's folder."""


class RecordError(ValueError):
    """A record cannot be read, or records cannot be put together; the message names which."""


def write_atomically(path: str | PathLike[str], data: bytes | str) -> None:
    """Write a file so that a reader, or a crash, finds the old one or the new one, never a part.

    Args:
        path: Where the file shall be; its folder is made if need be.
        data: What it shall hold; a string is written as UTF-8.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Beside the target, because a rename is atomic only within one file system; with a name of
    # its own, because somebody else may be writing the same file.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if os.name == "posix":
        # The rename itself reaches the disk only with its folder.
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def remove_leftovers(path: str | PathLike[str]) -> None:
    """Remove what killed writers of a file left beside it. Call it where nobody else writes."""
    path = Path(path)
    for temporary in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def lock_folder(folder: Path, why_not: Exception) -> Iterator[None]:
    """Keep other processes out of a folder, which is made if need be.

    Args:
        folder: The folder; the lock is a file in it.
        why_not: Raised where another process is in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(folder / ".lock", timeout=0):
            yield
    except filelock.Timeout:
        raise why_not from None


def versions(*others: str) -> dict[str, str]:
    """Return the versions that decide a run's numbers: Python, PyTorch, qkvlib, and ``others``."""
    found = {"python": platform.python_version()}
    for name in ("torch", "qkvlib", *others):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def cpu_name() -> str:
    """Return the processor's model name, as precise as the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:  # not Linux
        pass
    return platform.processor() or platform.machine()


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """Everything that a table, a figure or a doubter needs to know of one run.

    Attributes:
        model: The model's configuration, its ``to_dict``.
        training: The training configuration, :meth:`TrainConfig.to_dict`.
        task: What the task says of itself, ``Task.describe()``.
        seed: Seed of weights and dropout; the task's own is in ``task``.
        n_params: Learned parameters; a tied embedding counts once.
        cache_bytes_per_token: Bytes per token in the KV cache, by dtype: float16, and the dtype
            that the model was trained in. Empty for a model that is not causal: it has no cache.
        metrics: Last evaluation on held-out data: ``loss`` (nats per token), ``accuracy`` (share
            of tokens), and for text ``bits_per_byte``.
        history: Columns of equal length in two groups: ``train_step`` and ``train_loss``;
            ``eval_step`` and ``eval_loss``, ``eval_accuracy``, ``eval_bits_per_byte``. A step is
            the number of updates made before the loss was taken.
        versions: Of Python, PyTorch and qkvlib.
        device: Where the weights lived: ``"cpu"``, or the model name of a GPU.
        cpu: The processor's model name.
        threads: PyTorch's threads.
        seconds: Wall time of the whole run, evaluation and saving included.
        tokens_per_second: Training speed, evaluation and saving excluded.
        extra: Measurements that only some runs have.
    """

    model: dict[str, Any]
    training: dict[str, Any]
    task: dict[str, Any]
    seed: int
    n_params: int
    cache_bytes_per_token: dict[str, int]
    metrics: dict[str, float]
    history: dict[str, list[float]]
    versions: dict[str, str]
    device: str
    cpu: str
    threads: int
    seconds: float
    tokens_per_second: float
    extra: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def config(self) -> StackConfig:
        """The model's configuration, rebuilt."""
        return config_from_dict(self.model)

    @property
    def variant(self) -> Variant:
        """Sharing, head sharing and (X)+ of the model."""
        return self.config.variant

    @property
    def data_sha256(self) -> str:
        """Hash of the data."""
        return str(self.task["sha256"])

    def trimmed(self, every: int) -> RunRecord:
        """Return a copy that keeps every n-th training loss and all evaluations.

        Args:
            every: Keep the losses of steps 0, ``every``, 2 ``every`` …
        """
        history = {
            name: column[::every] if name.startswith("train_") else column
            for name, column in self.history.items()
        }
        return dataclasses.replace(self, history=history)

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON can hold it."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RunRecord:
        """Rebuild a record from :meth:`to_dict`.

        Raises:
            RecordError: If a field is missing, unknown, or of the wrong kind.
        """
        if not isinstance(data, Mapping):
            raise RecordError(f"a record is a JSON object, not {type(data).__name__}.")
        fields = {field.name: field for field in dataclasses.fields(cls)}
        for name in data:
            if name not in fields:
                raise RecordError(f"not a record of this version: unknown field {name!r}.")
        for name, field in fields.items():
            if name not in data and field.default_factory is dataclasses.MISSING:
                raise RecordError(f"not a whole record: field {name!r} is missing.")
            kind = str(field.type)
            if kind.startswith("dict") and not isinstance(data.get(name, {}), dict):
                raise RecordError(f"field {name!r} is not an object: {data[name]!r}.")
        return cls(**data)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the record as JSON, atomically.

        Args:
            path: A file, or a run's folder, where it becomes ``record.json``.
        """
        write_atomically(_record_path(path), json.dumps(self.to_dict(), indent=1) + "\n")

    @classmethod
    def load(cls, path: str | PathLike[str]) -> RunRecord:
        """Read a record.

        Args:
            path: A file, or a run's folder.

        Raises:
            RecordError: If the file is not a whole record; the message names it.
            OSError: If there is no such file.
        """
        path = _record_path(path)
        try:
            return cls.from_dict(json.loads(path.read_bytes()))
        except ValueError as error:
            raise RecordError(f"{path} is damaged or not a run's record: {error}") from error


def _record_path(path: str | PathLike[str]) -> Path:
    path = Path(path)
    return path if path.suffix == ".json" else path / RECORD_FILE


def load_records(folder: str | PathLike[str]) -> list[RunRecord]:
    """Load records from a folder of runs, or from one file that holds a list of them.

    A damaged record, say of a run that was cut off, is skipped with a warning that names it.

    Args:
        folder: A folder, searched with all its subfolders for ``record.json``; or a ``.json`` file
            with one record or a list of them.

    Returns:
        The records, in the order of their paths.

    Raises:
        FileNotFoundError: If the folder or file does not exist.
        RecordError: If the one file named is not JSON at all.
    """
    path = Path(folder)
    if not path.exists():
        raise FileNotFoundError(f"there is no folder or file {path} with records.")
    if path.is_dir():
        loaded = [_load_or_warn(file) for file in sorted(path.rglob(RECORD_FILE))]
        return [record for record in loaded if record is not None]
    try:
        data = json.loads(path.read_bytes())
    except ValueError as error:
        raise RecordError(f"{path} is damaged: {error}") from error
    records = []
    for i, item in enumerate(data if isinstance(data, list) else [data]):
        try:
            records.append(RunRecord.from_dict(item))
        except RecordError as error:
            warnings.warn(f"skipped record {i} of {path}: {error}", stacklevel=2)
    return records


def _load_or_warn(file: Path) -> RunRecord | None:
    try:
        return RunRecord.load(file)
    except (RecordError, OSError) as error:
        warnings.warn(f"skipped {file}: {error}", stacklevel=3)
        return None


def save_records(records: Iterable[RunRecord], path: str | PathLike[str]) -> None:
    """Write many records to one JSON file, a record a line, atomically.

    Args:
        records: The records.
        path: The file; :func:`load_records` reads it back.
    """
    lines = ",\n".join(json.dumps(record.to_dict()) for record in records)
    write_atomically(path, f"[\n{lines}\n]\n")


def aggregate(records: Iterable[RunRecord], metric: str = "loss") -> dict[str, dict[int, float]]:
    """Sort a metric of many runs by variant and seed, ready for :mod:`qkvlib.stats`.

    Args:
        records: Runs of the same task that differ by variant and seed.
        metric: A key of ``metrics``, or ``"n_params"``, ``"seconds"``, ``"tokens_per_second"``.

    Returns:
        Variant name -> seed -> value: the four sharings first, in the paper's order.

    Raises:
        RecordError: If a metric is unknown or not finite, two runs claim the same variant and
            seed, or the runs are not of the same data and task.
    """
    table: dict[str, dict[int, float]] = {}
    hashes = set()
    tasks: list[dict[str, Any]] = []
    for record in records:
        hashes.add(record.data_sha256)
        # What a run may have of its own: its seed, and where its data lay.
        task = {k: v for k, v in record.task.items() if k not in ("seed", "files", "python")}
        if task not in tasks:
            tasks.append(task)
        plain = {name: getattr(record, name) for name in ("n_params", "seconds")}
        plain["tokens_per_second"] = record.tokens_per_second
        values = record.metrics | plain
        if metric not in values:
            raise unknown_name("metric", metric, values)
        name = record.variant.name
        if record.seed in table.setdefault(name, {}):
            raise RecordError(
                f"two records of {name} with seed {record.seed}: a run may count only once. "
                "Remove one of them."
            )
        if not math.isfinite(values[metric]):
            raise RecordError(f"{metric} of {name}, seed {record.seed}, is {values[metric]}.")
        table[name][record.seed] = float(values[metric])
    if len(hashes) > 1:
        raise RecordError(
            f"these runs are of {len(hashes)} different data sets (task['sha256'] differs), so "
            "their numbers cannot be compared. Aggregate each data set on its own."
        )
    if len(tasks) > 1:
        first, other = tasks[:2]
        name = next(k for k in [*first, *other] if first.get(k) != other.get(k))
        raise RecordError(
            f"these runs are of {len(tasks)} tasks, with {name}={first.get(name)!r} and "
            f"{other.get(name)!r}, so their numbers cannot be compared. Aggregate each on its own."
        )
    order = {name: i for i, name in enumerate(SHARINGS)}
    return dict(sorted(table.items(), key=lambda item: order.get(item[0], len(order))))


@dataclass(frozen=True)
class Rows:
    """What is kept of a large sweep: a row per run, and what all runs have in common.

    Attributes:
        about: What was asked and how.
        recipe: Settings, data, versions and machine that all runs share.
        rows: One dictionary per run, all with the same keys.
    """

    about: str
    recipe: dict[str, Any]
    rows: list[dict[str, Any]]


def save_rows(
    rows: Iterable[Mapping[str, Any]],
    path: str | PathLike[str],
    *,
    about: str,
    recipe: Mapping[str, Any],
) -> None:
    """Write rows to one JSON file, column names once and a row a line, atomically.

    Args:
        rows: Dictionaries with the same keys.
        path: The file; :func:`load_rows` reads it back.
        about: What was asked and how.
        recipe: What all runs share.
    """
    rows = list(rows)
    columns = list(rows[0]) if rows else []
    lines = ",\n".join(json.dumps([row[name] for name in columns]) for row in rows)
    head = json.dumps({"about": about, "recipe": dict(recipe), "columns": columns}, indent=1)
    write_atomically(path, f'{head[:-2]},\n "rows": [\n{lines}\n]}}\n')


def load_rows(path: str | PathLike[str]) -> Rows:
    """Read what :func:`save_rows` wrote.

    Raises:
        RecordError: If the file is damaged, or a row has not one value for each column.
        OSError: If there is no such file.
    """
    path = Path(path)
    try:
        data = json.loads(path.read_bytes())
        columns = data["columns"]
        rows = [dict(zip(columns, row, strict=True)) for row in data["rows"]]
        return Rows(data["about"], data["recipe"], rows)
    except (ValueError, KeyError, TypeError) as error:
        raise RecordError(f"{path} is damaged or not a file of rows: {error}") from error
