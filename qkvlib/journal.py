"""The learner's own predictions: written down before a cell runs, compared after it.

Kept as one JSON file in the user's cache folder, so that a rating given in lesson 00 is still there
in lesson 19. With ``QKV_STATIC=1`` (stored outputs, continuous integration) nothing is written.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import filelock
from platformdirs import user_cache_dir

from qkvlib.records import write_atomically
from qkvlib.sharing import unknown_name

FILE_NAME: Final = "journal.json"

_PATIENCE: Final = 10  # s to wait for another notebook that is writing

_memory: dict[str, dict[str, Any]] = {}


def _is_static() -> bool:
    return os.environ.get("QKV_STATIC") == "1"


def cache_dir() -> Path:
    """Folder where the course keeps what is the learner's own; ``QKV_CACHE_DIR`` moves it."""
    return Path(os.environ.get("QKV_CACHE_DIR") or user_cache_dir("qkvlib"))


def _load() -> dict[str, dict[str, Any]]:
    if _is_static():
        return _memory
    path = cache_dir() / FILE_NAME
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        return _set_aside(path, str(error))
    try:
        data = json.loads(text)
        if not isinstance(data, dict) or not all(
            isinstance(entry, dict) and "value" in entry for entry in data.values()
        ):
            raise ValueError("it is not a table of predictions")
    except ValueError as error:
        return _set_aside(path, str(error))
    return data


def _set_aside(path: Path, why: str) -> dict[str, dict[str, Any]]:
    """Keep a damaged file under another name: it may hold a term's worth of predictions."""
    n = 1
    while (aside := path.with_name(f"{path.stem}.damaged-{n}{path.suffix}")).exists():
        n += 1
    try:
        path.rename(aside)
    except OSError as error:
        raise OSError(
            f"your journal {path} cannot be read ({why}), nor moved aside ({error}). Mend or "
            "remove it, or set QKV_CACHE_DIR to another folder."
        ) from error
    print(f"Your journal could not be read ({why}). It is kept as {aside}; a new one begins.")
    return {}


def predict(key: str, value: Any, *, unit: str = "") -> None:
    """Write a prediction down. A second one under the same key replaces the first.

    Args:
        key: What is predicted, for example ``"03/bytes_per_token"``.
        value: The prediction: a number, a string, a list or a dictionary that JSON can hold.
        unit: What a number counts, for example ``"KiB"``.

    Raises:
        ValueError: If the key is empty or JSON cannot hold the value.
    """
    if not key:
        raise ValueError("key='': a prediction needs a name, for example '03/bytes_per_token'.")
    try:
        value = json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{key}: {value!r} cannot be written down ({error}). Give a number, a string, or a "
            "list or dictionary of them."
        ) from None
    entry = {"value": value, "unit": unit, "when": int(time.time())}
    if _is_static():
        _load()[key] = entry
    else:
        path = cache_dir() / FILE_NAME
        path.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(path.with_name(f".{FILE_NAME}.lock"), timeout=_PATIENCE):
            entries = _load() | {key: entry}  # another notebook may have written meanwhile
            write_atomically(path, json.dumps(entries, indent=1, ensure_ascii=False) + "\n")
    print(f"Written down: {_with_unit(value, unit)}.")


def recall(key: str, default: Any = None) -> Any:
    """Return what was predicted.

    Args:
        key: As given to :func:`predict`.
        default: Returned where nothing was predicted.
    """
    entry = _load().get(key)
    return default if entry is None else entry["value"]


def compare(key: str, measured: Any, *, unit: str | None = None) -> None:
    """Print a prediction beside what was measured, in one line.

    Args:
        key: As given to :func:`predict`.
        measured: What came out. For numbers the line says by which factor the two differ.
        unit: Unit of ``measured``; that of the prediction unless told.

    Raises:
        ValueError: If the units differ: a factor between kB and KiB would be nonsense.
    """
    entries = _load()
    entry = entries.get(key)
    if entry is None:
        near = str(unknown_name("prediction", key, entries)) if entries else ""
        print(
            f"Measured: {_with_unit(measured, unit or '')}. No prediction on record. {near}".strip()
        )
        return
    if unit is not None and entry.get("unit", "") and unit != entry["unit"]:
        raise ValueError(
            f"{key} was predicted in {entry['unit']} but measured in {unit}: convert one of them."
        )
    unit = unit or entry.get("unit", "")
    predicted = entry["value"]
    print(
        f"You predicted {_with_unit(predicted, unit)}; measured: {_with_unit(measured, unit)}."
        f"{_verdict(predicted, measured)}"
    )


def _numbers(*values: Any) -> bool:
    return all(isinstance(x, int | float) and not isinstance(x, bool) for x in values)


def _agree(predicted: Any, measured: Any) -> bool:
    """Whether two values are the same, or two numbers within a tenth."""
    if not _numbers(predicted, measured) or not measured:
        return bool(predicted == measured)
    return bool(0.9 <= predicted / measured <= 1.1)


def _verdict(predicted: Any, measured: Any) -> str:
    if isinstance(predicted, Mapping) and isinstance(measured, Mapping):
        agree = sum(_agree(predicted.get(key), value) for key, value in measured.items())
        return f" {agree} of {len(measured)} agree within a tenth."
    if not _numbers(predicted, measured):
        return " The same." if predicted == measured else " Not the same."
    if predicted == measured:
        return " Exactly."
    if predicted <= 0 or measured <= 0:
        return f" Off by {abs(predicted - measured):.3g}."
    ratio = predicted / measured
    if _agree(predicted, measured):
        return f" Within {100 * abs(ratio - 1):.2g} %."
    way = "high" if ratio > 1 else "low"
    return f" Too {way} by a factor of {max(ratio, 1 / ratio):.3g}."


def _with_unit(value: Any, unit: str) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_with_unit(each, unit)}" for key, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_with_unit(each, unit) for each in value)
    if isinstance(value, bool):
        value = "yes" if value else "no"
    elif isinstance(value, float):
        value = f"{value:,.4g}"
    elif isinstance(value, int):
        value = f"{value:,}"
    return f"{value} {unit}".strip()
