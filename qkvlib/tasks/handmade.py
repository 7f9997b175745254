"""Attention maps as one would write them by hand, one for each synthetic task.

A trained map is easier to judge beside one that is known to be right. A hand-written solution mixes
the one-hot inputs with its map and reads each position's answer from the mix: nothing is learned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from qkvlib.sharing import unknown_name
from qkvlib.tasks import IGNORED, TaskError
from qkvlib.tasks.synthetic import N_DIGITS, TASKS

LooksBy = Literal["place", "count", "content", "nothing"]

LOOKS_BY: Final[Mapping[str, LooksBy]] = MappingProxyType(
    {
        "REVERSE": "place",
        "SORT": "count",
        "SUB": "nothing",
        "SWAP": "place",
        "COPY": "nothing",
        "SHIFT": "place",
        "RECALL": "content",
    }
)
"""How each task finds what a position needs: by its place, by counting all, by what it holds; or
not at all, because a position holds what it needs already, and any map will do."""


def _by_place(move: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """A map for a task that only moves digits: row i looks where the i-th output comes from."""

    def make(inputs: Tensor) -> Tensor:
        places = torch.arange(inputs.shape[-1])
        return F.one_hot(move(places), len(places)).float()

    return make


def _uniform(inputs: Tensor) -> Tensor:
    t = inputs.shape[-1]
    return torch.full((t, t), 1.0 / t)


def _same_key(inputs: Tensor) -> Tensor:
    """Questions look at the pair with their key; nothing is asked of pairs, they stay put."""
    t, n = inputs.shape[-1], inputs.shape[-1] // 2
    weights = torch.eye(t)
    asked = inputs[n:, None] - N_DIGITS * n
    weights[n:, :n] = (asked == inputs[None, :n] // N_DIGITS).float()
    weights[n:, n:] = 0.0
    return weights


_MAKERS: Final[Mapping[str, Callable[[Tensor], Tensor]]] = MappingProxyType(
    {
        "REVERSE": _by_place(TASKS["REVERSE"]),
        "SORT": _uniform,
        "SUB": _by_place(TASKS["COPY"]),
        "SWAP": _by_place(TASKS["SWAP"]),
        "COPY": _by_place(TASKS["COPY"]),
        "SHIFT": _by_place(TASKS["SHIFT"]),
        "RECALL": _same_key,
    }
)


def _check(task: str, inputs: Tensor) -> str:
    name = task.upper()
    if name not in _MAKERS:
        raise unknown_name("synthetic task", task, _MAKERS)
    if inputs.ndim != 1 or len(inputs) == 0:
        raise TaskError(
            f"inputs of shape {tuple(inputs.shape)}: expected one list, shape (T,). For the first "
            "list of a batch use inputs[0]."
        )
    if name in ("SWAP", "RECALL") and len(inputs) % 2:
        raise TaskError(f"{len(inputs)} inputs: the length must be even for {name}.")
    return name


def ideal_map(task: str, inputs: Tensor) -> Tensor:
    """Return the attention map of a hand-written solution.

    REVERSE, SWAP and SHIFT look at the place where their digit stands. SORT looks at everything
    alike: the mix is then a histogram of the list, and a position reads its digit off it. RECALL
    looks at the pair with the key that is asked for. SUB and COPY need no attention; theirs is the
    diagonal, and any other would do as well, since a position holds its own digit anyway.

    Args:
        task: A key of :data:`~qkvlib.TASKS`, in any case.
        inputs: Shape (T,), one list as the task draws it.

    Returns:
        Shape (T, T), float32: row i holds the weights with which position i looks; each row sums
        to one.

    Raises:
        UnknownNameError: If there is no task of that name.
        TaskError: If the inputs are not one list, or their length is odd for SWAP or RECALL.
    """
    return _MAKERS[_check(task, inputs)](inputs)


def read_out(task: str, mixed: Tensor) -> Tensor:
    """Read the answers off a mix of one-hot inputs, as the MLP of a hand-written solution would.

    Args:
        task: A key of :data:`~qkvlib.TASKS`, in any case.
        mixed: Shape (T, vocab_size): a map times the one-hot inputs.

    Returns:
        Shape (T,), int64: digits, :data:`~qkvlib.tasks.IGNORED` at the pairs of RECALL.
    """
    name = task.upper()
    if name == "SORT":
        t = mixed.shape[0]
        up_to = (mixed * t).round().cumsum(dim=-1)  # how many digits are at most 0, 1, … 9
        place = torch.arange(t, dtype=up_to.dtype)[:, None]
        return (up_to <= place).sum(dim=-1)
    found = mixed.argmax(dim=-1)
    if name == "SUB":
        return N_DIGITS - 1 - found
    if name == "RECALL":
        asked = torch.arange(len(found)) >= len(found) // 2
        return torch.where(asked, found % N_DIGITS, IGNORED)
    return found


def solve_by_hand(task: str, inputs: Tensor) -> Tensor:
    """Solve a list with the hand-written map: mix the one-hot inputs, read the answers off.

    Args:
        task: A key of :data:`~qkvlib.TASKS`, in any case.
        inputs: Shape (T,), one list as the task draws it.

    Returns:
        Shape (T,), int64: what the task asks for.

    Raises:
        UnknownNameError, TaskError: As :func:`ideal_map`.
    """
    vocabulary = int(inputs.max()) + 1 if task.upper() == "RECALL" else N_DIGITS
    one_hot = F.one_hot(inputs, vocabulary).float()
    return read_out(task, ideal_map(task, inputs) @ one_hot)
