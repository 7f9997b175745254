"""Lesson 08: the map of a move, and the places that a mirrored map must leave blind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from qkvlib.check.base import CheckFailed, call, number
from qkvlib.tasks.synthetic import TASKS

Move = Callable[[Tensor], Tensor]


def _moves() -> Iterator[tuple[str, Move, int]]:
    """Moves with words for them: tasks, and some that are none."""
    yield "SHIFT, 5 digits", TASKS["SHIFT"], 5
    yield "REVERSE, 4 digits", TASKS["REVERSE"], 4
    yield "SWAP, 6 digits", TASKS["SWAP"], 6
    yield "moving by three places, 8 digits", lambda x: x.roll(3, dims=-1), 8
    yield "moving by four places, 12 digits", lambda x: x.roll(4, dims=-1), 12
    yield "an arbitrary order of 7 digits", lambda x: x[..., [2, 0, 1, 4, 3, 5, 6]], 7
    yield "COPY, 1 digit", TASKS["COPY"], 1


# The map of a move


def map_of(fn: Callable[[Move, int], Any]) -> None:
    """Check a function that finds the attention map of any task that only moves digits.

    Args:
        fn: Called as ``fn(move, length)`` with a move such as ``TASKS["SHIFT"]``, from a list of
            digits to the list moved. It returns weights of shape (length, length): row i is where
            output i comes from.

    Raises:
        CheckFailed: Naming the mistake: transposed, not one-hot, a map that fits one move only.
    """
    for shown, move, length in _moves():
        answer = call(fn, shown, move, length)
        weights = _as_map(answer, length, shown)
        source = move(torch.arange(length))
        wanted = F.one_hot(source, length).float()
        if torch.allclose(weights, wanted, atol=1e-6):
            continue
        if torch.allclose(weights, wanted.T, atol=1e-6):
            raise CheckFailed(
                f"For {shown} the map is transposed: row i says where digit i goes to. It must say "
                "where output i comes from, since it is the output that looks."
            )
        if torch.allclose(weights, torch.eye(length), atol=1e-6):
            raise CheckFailed(f"For {shown} you return the diagonal: that map copies.")
        sums = weights.sum(dim=-1)
        if not torch.allclose(sums, torch.ones(length), atol=1e-5):
            i = int((sums - 1).abs().argmax())
            raise CheckFailed(
                f"For {shown} row {i} sums to {sums[i].item():.3g}; every row must sum to 1, as "
                "softmax makes it."
            )
        digits = torch.arange(length)
        moved = [round(value, 2) for value in (weights @ digits.float()).tolist()]
        raise CheckFailed(
            f"For {shown} your map makes {moved} of {digits.tolist()}; expected "
            f"{move(digits).tolist()}."
        )
    print("Correct for every move: asked with the places themselves, a move tells its map.")


def _as_map(answer: Any, length: int, shown: str) -> Tensor:
    try:
        weights = torch.as_tensor(answer).float()
    except (TypeError, ValueError, RuntimeError):
        raise CheckFailed(
            f"For {shown} your function returns {type(answer).__name__}; a tensor is expected."
        ) from None
    if tuple(weights.shape) != (length, length):
        hint = ""
        if weights.ndim == 1:
            hint = " Those are the places that are looked at; make one row of weights of each."
        raise CheckFailed(
            f"For {shown} the result has shape {tuple(weights.shape)}; expected ({length}, "
            f"{length}): a row for each position that looks, a column for each that can be looked "
            f"at.{hint}"
        )
    return weights


# Holes


def _rings(source: list[int]) -> list[int]:
    """Lengths of the rings that one walks in, going from each place to where it looks."""
    lengths, seen = [], set[int]()
    for start in range(len(source)):
        at, length = start, 0
        while at not in seen:
            seen.add(at)
            at, length = source[at], length + 1
        if length:
            lengths.append(length)
    return lengths


def holes(fn: Callable[[Move, int], Any]) -> None:
    """Check the least number of places that a symmetric map must leave blind.

    Args:
        fn: Called as ``fn(move, length)``, as for :func:`map_of`.

    Raises:
        CheckFailed: Naming what was counted instead.
    """
    cases = list(_moves())
    got = [number(call(fn, shown, move, length), shown) for shown, move, length in cases]
    sources = [move(torch.arange(length)).tolist() for _, move, length in cases]
    wanted = [sum(ring > 2 for ring in _rings(source)) for source in sources]
    if got == wanted:
        print("Correct: one hole for every ring of three places or more.")
        return
    mistakes: list[tuple[str, Callable[[list[int]], float]]] = [
        (
            "you count every ring. A place that looks at itself, or two that look at each other, "
            "need no hole: the only thing in their way is their own digit",
            lambda source: len(_rings(source)),
        ),
        (
            "you leave out only rings of one place. Two that look at each other need no hole "
            "either: what is in their way is their own digit, and that they know",
            lambda source: sum(ring > 1 for ring in _rings(source)),
        ),
        (
            "one hole for any move that has a ring is not enough: each ring has a hole of its own",
            lambda source: int(any(ring > 2 for ring in _rings(source))),
        ),
        (
            "you count the places that lie in such rings. Each ring loses one place, not all",
            lambda source: sum(ring for ring in _rings(source) if ring > 2),
        ),
        (
            "you count the places that a digit leaves. A move can take all digits away from where "
            "they were and need no hole, as REVERSE does",
            lambda source: sum(at != i for i, at in enumerate(source)),
        ),
        (
            "this is the number of places that can see. The holes are the others",
            lambda source: len(source) - sum(ring > 2 for ring in _rings(source)),
        ),
    ]
    for words, mistake in mistakes:
        if got == [mistake(source) for source in sources]:
            raise CheckFailed(f"Nearly: {words}.")
    for given, right, source, (shown, _, _) in zip(got, wanted, sources, cases, strict=True):
        if given != right:
            rings = ", ".join(map(str, sorted(_rings(source), reverse=True)))
            raise CheckFailed(
                f"For {shown} your function says {given:g}. Walk from each place to where it "
                f"looks: you go round in rings of {rings}. Count those of three or more: {right}."
            )
