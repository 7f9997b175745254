"""Lesson 07: a head built by hand whose keys are its values, and which recalls."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from qkvlib.check.base import CheckFailed, call
from qkvlib.tasks.synthetic import N_DIGITS

_COUNTS: Final = (4, 9, 16)  # keys; 9 so that a table made for a power of two is noticed
_LISTS: Final = 256
_SAME: Final = 1e-6


@dataclass(frozen=True)
class _Head:
    """What the learner's function returned, in float64."""

    n: int
    pairs: Tensor  # (n, 10, D)
    queries: Tensor  # (n, D)
    read: Tensor  # (D, 10)

    @property
    def scale(self) -> float:
        return 1 / math.sqrt(self.pairs.shape[-1])

    def run(self, digits: Tensor) -> tuple[Tensor, Tensor]:
        """Attend in lists where key i is paired with digits[:, i]; both results (B, n, …)."""
        keys = self.pairs[torch.arange(self.n), digits]  # (B, n, D), and the values too
        weights = (self.queries @ keys.mT * self.scale).softmax(dim=-1)
        return (weights @ keys @ self.read).argmax(dim=-1), weights


def recall(fn: Callable[[int], Any]) -> None:
    """Check a head with K=V that recalls, built by hand.

    Args:
        fn: Called as ``fn(n)``, it returns three tensors: ``pairs`` of shape (n, 10, D), the one
            vector of each key with each digit, which is key and value; ``queries`` of shape (n, D);
            and ``read`` of shape (D, 10), which makes of the head's output a score for each digit.

    Raises:
        CheckFailed: Naming the mistake: a query that listens to the payload, a softmax too soft,
            addresses that cannot be told apart, a payload that is missing or read from the wrong
            place.
    """
    generator = torch.Generator().manual_seed(0)
    widths = []
    for n in _COUNTS:
        head = _as_head(call(fn, f"{n} keys", n), n)
        digits = torch.randint(N_DIGITS, (_LISTS, n), generator=generator)
        answers, weights = head.run(digits)
        if not bool((answers == digits).all()):
            right = (answers == digits).double().mean().item()
            chosen = weights.diagonal(dim1=-2, dim2=-1)
            shown = f"With {n} keys {100 * right:.0f} % of the answers are right: "
            raise CheckFailed(shown + _what_differs(head, chosen))
        widths.append(head.pairs.shape[-1])
    print(_praise(widths))


def _praise(widths: Sequence[int]) -> str:
    n, width = _COUNTS[-1], widths[-1]
    words = f"Correct: {n} keys recalled from vectors of {width} numbers, each key and value."
    one_hot = n + N_DIGITS
    if width < one_hot:
        return f"{words}\nA number for each key and each digit would have taken {one_hot}."
    return f"{words}\nAddresses and payloads on a circle would do with 4. Can you?"


def _as_head(answer: Any, n: int) -> _Head:
    if not isinstance(answer, tuple | list) or len(answer) != 3:
        raise CheckFailed(
            f"Your function returns {type(answer).__name__}; three tensors are expected: "
            "return pairs, queries, read."
        )
    tensors = []
    for name, each in zip(("pairs", "queries", "read"), answer, strict=True):
        try:
            tensors.append(torch.as_tensor(each, dtype=torch.float64))
        except (TypeError, ValueError, RuntimeError):
            kind = type(each).__name__
            raise CheckFailed(f"{name} is {kind}; a tensor of numbers is expected.") from None
    pairs, queries, read = tensors
    if pairs.ndim != 3 or pairs.shape[:2] != (n, N_DIGITS):
        raise CheckFailed(
            f"pairs has shape {tuple(pairs.shape)}; expected (n, 10, D) = ({n}, 10, D): a vector "
            "for each key with each digit."
        )
    d = pairs.shape[-1]
    for name, tensor, wanted in (
        ("queries", queries, (n, d)),
        ("read", read, (d, N_DIGITS)),
    ):
        if tuple(tensor.shape) != wanted:
            axes = "(n, D)" if name == "queries" else "(D, 10)"
            raise CheckFailed(
                f"{name} has shape {tuple(tensor.shape)}; pairs has D={d} numbers in each vector, "
                f"so expected {axes} = {wanted}."
            )
    for name, tensor in zip(("pairs", "queries", "read"), tensors, strict=True):
        if not bool(tensor.isfinite().all()):
            raise CheckFailed(f"{name} holds numbers that are not finite.")
    return _Head(n, pairs, queries, read)


def _what_differs(head: _Head, chosen: Tensor) -> str:
    return _reading(head) or _addressing(head) or _softness(head, chosen)


def _reading(head: _Head) -> str | None:
    """What is wrong even if every query finds exactly its pair."""
    pairs, read = head.pairs, head.read
    if bool((pairs - pairs[:, :1]).abs().max() < _SAME):
        return (
            "a key's vector is the same whatever its digit, so there is no payload in it. Set some "
            "of its numbers by the digit."
        )
    answers = (pairs @ read).argmax(dim=-1)  # (n, 10)
    if bool((answers == torch.arange(N_DIGITS)).all()):
        return None
    payload = pairs - pairs.mean(dim=1, keepdim=True)  # what of a vector follows the digit
    heard = (payload @ read).abs().max()
    if bool(heard < _SAME):
        return (
            "the payload is read from the wrong part: `read` does not look at any number that "
            "changes with the digit. Its rows for the address must be zero, and those for the "
            "payload not."
        )
    address = pairs.mean(dim=1) - pairs.mean(dim=(0, 1))
    if bool(((payload @ read).argmax(dim=-1) == torch.arange(N_DIGITS)).all()):
        louder = (address @ read).abs().max() / heard
        return (
            "`read` hears the address as well as the payload (the address "
            f"{louder.item():.2g} times as loud). Make its rows for the address zero."
        )
    i, digit = (answers != torch.arange(N_DIGITS)).nonzero()[0].tolist()
    return (
        f"even if a query finds exactly its pair, `read` makes {int(answers[i, digit])} of key {i} "
        f"with digit {digit}. Each digit's payload must score highest with its own column."
    )


def _addressing(head: _Head) -> str | None:
    """What is wrong with the scores, before the softmax."""
    scores = torch.einsum("id,jpd->ijp", head.queries, head.pairs) * head.scale  # (n, n, 10)
    own = scores.diagonal(dim1=0, dim2=1).T  # (n, 10): query i with its own pair
    own_mask = torch.eye(head.n, dtype=torch.bool)
    rival = scores.amax(dim=-1).masked_fill(own_mask, -torch.inf).amax(dim=-1)  # (n,)
    if bool((own.amin(dim=-1) > rival + _SAME).all()):
        return None
    if bool(head.queries.abs().max() < _SAME):
        return "all queries are zero, so all keys score alike. A query is the address it looks for."
    swing = (own.amax(dim=-1) - own.amin(dim=-1)).max().item()
    level = scores.mean(dim=-1)  # what is left when the digit is averaged out
    lead = level.diagonal() - level.masked_fill(own_mask, -torch.inf).amax(dim=-1)
    if swing > _SAME and bool((lead > _SAME).all()):
        return (
            "a query listens to the payload: its score with its own pair moves by "
            f"{swing:.3g} with the digit, and then another pair can score higher. Who asks does "
            "not know the digit yet: make the query zero where the payload stands."
        )
    i = int(lead.argmin())
    j = int(level[i].masked_fill(own_mask[i], -torch.inf).argmax())
    apart = "no lower" if lead[i] > -_SAME else "higher"
    return (
        f"the addresses are not told apart: query {i} scores {apart} with the pair of key {j} "
        f"({level[i, j]:.3g}) than with its own ({level[i, i]:.3g}). Every address must be a "
        "corner of the hull of the addresses: one-hot, or points on a circle."
    )


def _softness(head: _Head, chosen: Tensor) -> str:
    return (
        "each query scores its own pair highest, but the softmax is too soft: the right pair gets "
        f"a weight of {chosen.mean().item():.2f} on average (all alike would be "
        f"{1 / head.n:.2f}), so the payloads run into one another. The scores are divided by √D; "
        "multiply the queries by a number."
    )
