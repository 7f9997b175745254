"""Where small encoders look: what they did with a few lists, kept as text small enough for a page.

The models of the experiment ``task_maps`` have one layer with one or two heads, so that a map is
the whole story. Each is shown the same held-out lists; its answers and maps are kept beside its
accuracy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any, Final

import torch
from torch import Tensor

from qkvlib.models import Transformer
from qkvlib.paper import data_file
from qkvlib.records import load_rows
from qkvlib.tasks import Task
from qkvlib.tasks.synthetic import N_DIGITS, SyntheticTask

LISTS: Final = 2
"""Held-out lists that each model is shown."""

_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"
_FINEST: Final = len(_DIGITS) - 1
_RUN: Final = "~"


# Maps as text


def pack_map(weights: Tensor) -> str:
    """Write a map as text: a character for each weight, in steps of 1/63, row by row.

    Three zeros in a row or more are ``~`` and one character for how many.

    Args:
        weights: Shape (T, T), each from 0 to 1.
    """
    levels = (weights.flatten() * _FINEST).round().int().tolist()
    written: list[str] = []
    at = 0
    while at < len(levels):
        end = at
        while end < len(levels) and levels[end] == 0 and end - at < _FINEST:
            end += 1
        if end - at >= 3:
            written.append(_RUN + _DIGITS[end - at])
            at = end
        else:
            written.append(_DIGITS[levels[at]])
            at += 1
    return "".join(written)


def unpack_map(text: str, length: int) -> Tensor:
    """Read what :func:`pack_map` wrote.

    Args:
        text: The map.
        length: T.

    Returns:
        Shape (T, T), float32. Rows sum to one up to rounding.

    Raises:
        ValueError: If the text does not hold T x T weights.
    """
    levels: list[int] = []
    characters = iter(text)
    for character in characters:
        if character == _RUN:
            levels += [0] * _DIGITS.index(next(characters))
        else:
            levels.append(_DIGITS.index(character))
    if len(levels) != length * length:
        raise ValueError(f"a map of {len(levels)} weights: expected {length} x {length}.")
    return torch.tensor(levels).view(length, length) / _FINEST


# Measured, kept, loaded


@torch.inference_mode()
def measure_task_maps(model: Transformer, task: Task) -> dict[str, Any]:
    """Show a model the first held-out lists of a synthetic task.

    Returns:
        ``answers``: for each list its digits as one string. ``maps``: for each list its layers, for
        each layer its heads, for each head a map by :func:`pack_map`.
    """
    inputs, _ = next(iter(task.eval_batches(LISTS)))
    model.eval()
    logits, layers = model(inputs, return_attention=True)
    answers = logits[..., :N_DIGITS].argmax(dim=-1)
    return {
        "answers": ["".join(map(str, row)) for row in answers.tolist()],
        "maps": [
            [[pack_map(head) for head in maps.weights[i]] for maps in layers]
            for i in range(len(inputs))
        ],
    }


@dataclass(frozen=True, eq=False)
class TaskMap:
    """What one kind of model made of one task.

    Axis letters: N lists, L layers, H heads, T positions.

    Attributes:
        task: The task.
        variant: The variant.
        n_layers: Layers.
        n_heads: Heads.
        accuracy: Seed -> accuracy on held-out lists.
        inputs: Shape (N, T), the lists shown.
        targets: Shape (N, T), what the task asks for; :data:`~qkvlib.tasks.IGNORED` where nothing.
        answers: Shape (N, T), what the model of the first seed says.
        weights: Shape (N, L, H, T, T), where its positions look.
    """

    task: str
    variant: str
    n_layers: int
    n_heads: int
    accuracy: Mapping[int, float]
    inputs: Tensor
    targets: Tensor
    answers: Tensor
    weights: Tensor


def load_task_maps(path: str | PathLike[str] | None = None) -> list[TaskMap]:
    """Load the stored task maps.

    Args:
        path: A file of the experiment ``task_maps``; the course's own unless told.

    Returns:
        One for each kind of model, in the order of the file.

    Raises:
        DataNotFoundError: If the course's file is not there.
        RecordError: If the file is damaged.
    """
    stored = load_rows(path or data_file("results/task_maps.json"))
    kinds: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in stored.rows:
        kind = tuple(row[name] for name in ("task", "variant", "n_layers", "n_heads"))
        kinds.setdefault(kind, []).append(row)
    # How many lists there are decides which come first.
    eval_lists = stored.recipe["task"]["eval_lists"]
    return [_task_map(rows, eval_lists) for rows in kinds.values()]


def _task_map(rows: Iterable[dict[str, Any]], eval_lists: int) -> TaskMap:
    rows = sorted(rows, key=lambda row: int(row["seed"]))
    first = rows[0]
    length = first["length"]
    task = SyntheticTask(first["task"], length, eval_lists=eval_lists)
    inputs, targets = next(iter(task.eval_batches(LISTS)))
    maps = [
        [[unpack_map(head, length) for head in layer] for layer in layers]
        for layers in first["maps"]
    ]
    return TaskMap(
        task=first["task"],
        variant=first["variant"],
        n_layers=first["n_layers"],
        n_heads=first["n_heads"],
        accuracy={row["seed"]: row["accuracy"] for row in rows},
        inputs=inputs,
        targets=targets,
        answers=torch.tensor([[int(digit) for digit in row] for row in first["answers"]]),
        weights=torch.stack(
            [torch.stack([torch.stack(layer) for layer in layers]) for layers in maps]
        ),
    )
