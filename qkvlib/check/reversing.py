"""Lesson 06: where a wandering look comes to rest, and keys that find their mirror image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from qkvlib.check.base import CheckFailed, call

_ENOUGH = 0.45
"""Weight on the mirror image that passes; a half is the most that all places can have."""


def _symmetric_scores(t: int, size: float, seed: int) -> Tensor:
    keys = torch.randn(t, 3, generator=torch.Generator().manual_seed(seed))
    return size * keys @ keys.T / 3**0.5


def _resting(scores: Tensor) -> Tensor:
    """The right answer: row sums of the exponentials, as shares."""
    return scores.logsumexp(dim=-1).softmax(dim=-1)


_SLIPS: tuple[tuple[str, Callable[[Tensor], Tensor]], ...] = (
    (
        "it gives every place the same. That would be right if the weights were symmetric. Only "
        "the scores are.",
        lambda s: torch.full((len(s),), 1 / len(s)),
    ),
    ("the shares must sum to one: divide the row sums by their total.", lambda s: s.exp().sum(-1)),
    (
        "you add up the scores themselves. Take exp of each score first: it is exp(s) that softmax "
        "divides by its row sum.",
        lambda s: s.sum(-1) / s.sum(),
    ),
    (
        "you take softmax of the summed scores. First exp of each score, then the sum over a row.",
        lambda s: s.sum(-1).softmax(-1),
    ),
    (
        "that is the mean weight each place receives: where looks are after one step from "
        "anywhere. One step more changes it.",
        lambda s: s.softmax(-1).mean(0),
    ),
    (
        "it is upside down: places with a large row sum must come out large, not small.",
        lambda s: (-s.logsumexp(-1)).softmax(-1),
    ),
    (
        "you use the diagonal, each score with itself. Every score of the row counts.",
        lambda s: s.diagonal().softmax(-1),
    ),
    (
        "you have the row sums of the exponentials, but under a logarithm.",
        lambda s: s.logsumexp(-1) / s.logsumexp(-1).sum(),
    ),
)


def stationary(fn: Callable[[Tensor], Any]) -> None:
    """Check the resting distribution of attention whose scores are symmetric.

    Args:
        fn: Called as ``fn(scores)`` with symmetric scores of shape (T, T). It returns shape (T,):
            shares that sum to one and that the weights, the softmax of the scores over rows, leave
            as they are.

    Raises:
        CheckFailed: Naming the mistake, or the pair of places that is out of balance.
    """
    cases = [
        ("3 places", _symmetric_scores(3, 1.0, 5)),
        ("5 places", _symmetric_scores(5, 1.0, 0)),
        ("9 places", _symmetric_scores(9, 3.0, 1)),
        ("6 places with long keys", _symmetric_scores(6, 60.0, 2)),
    ]
    for shown, scores in cases:
        answer = _as_shares(call(fn, shown, scores.clone()), scores, shown)
        wanted = _resting(scores)
        if torch.allclose(answer, wanted, atol=1e-5):
            continue
        if not bool(answer.isfinite().all()):
            raise CheckFailed(
                f"For {shown} the result is not a number: scores reach {scores.max():.0f} there, "
                "and exp of more than 88 is too large for float32. Shares do not change when one "
                "number is taken from every score; or let logsumexp do it."
            )
        for words, slip in _SLIPS:
            if torch.allclose(answer, slip(scores), atol=1e-5):
                raise CheckFailed(f"For {shown}: {words}")
        raise CheckFailed(f"For {shown}: {_out_of_balance(answer, scores)}")
    print("Correct: every pair of places is in balance, with no eigenvalue computed.")


def _as_shares(answer: Any, scores: Tensor, shown: str) -> Tensor:
    if not isinstance(answer, Tensor):
        kind = type(answer).__name__
        raise CheckFailed(f"For {shown} your function returns {kind}; a tensor is expected.")
    if tuple(answer.shape) != (len(scores),):
        hint = " Sum over each row: .sum(dim=-1)." if answer.shape == scores.shape else ""
        raise CheckFailed(
            f"For {shown} your result has shape {tuple(answer.shape)}; expected (T,) = "
            f"({len(scores)},), one share for each place.{hint}"
        )
    return answer.detach().to(scores.dtype)


def _out_of_balance(answer: Tensor, scores: Tensor) -> str:
    total = answer.sum().item()
    if abs(total - 1) > 1e-3:
        return f"the shares sum to {total:.3g}, not to 1."
    sent = answer[:, None] * scores.softmax(-1)
    gap = (sent - sent.T).abs()
    i, j = divmod(int(gap.argmax()), len(scores))
    return (
        f"places {i} and {j} are out of balance. From {i} to {j} goes share × weight = "
        f"{sent[i, j]:.3g}, back comes {sent[j, i]:.3g}; they must be equal."
    )


def mirror_keys(fn: Callable[[int], Any]) -> None:
    """Check keys with which every place looks at its mirror image as much as it can.

    Args:
        fn: Called as ``fn(length)``. It returns keys of shape (length, D), any D. Query and key are
            one, so the scores are ``keys @ keys.T / D**0.5``.

    Raises:
        CheckFailed: Naming the mistake, or the place that looks elsewhere.
    """
    lowest = 1.0
    for t in (6, 7, 12):
        shown = f"{t} places"
        keys = call(fn, shown, t)
        weights = _weights(keys, t, shown)
        place = torch.arange(t)
        on_mirror = weights[place, place.flip(0)]
        if bool((on_mirror < _ENOUGH).any()):
            raise CheckFailed(f"For {shown}: {_where_it_looks(keys, weights, on_mirror)}")
        lowest = min(lowest, on_mirror.min().item())
    print(
        f"Correct: no place gives its mirror image less than {lowest:.2f}. More than a half for "
        "all cannot be had: a key that matches its mirror image matches itself as well."
    )


def _weights(keys: Any, t: int, shown: str) -> Tensor:
    if not isinstance(keys, Tensor):
        raise CheckFailed(
            f"For {shown} your function returns {type(keys).__name__}; a tensor is expected."
        )
    if keys.ndim != 2 or keys.shape[0] != t:
        raise CheckFailed(
            f"For {shown} your keys have shape {tuple(keys.shape)}; expected ({t}, D): one key of "
            "D numbers for each place."
        )
    keys = keys.detach().double()
    weights: Tensor = (keys @ keys.T / keys.shape[1] ** 0.5).softmax(-1)
    if not bool(weights.isfinite().all()):
        raise CheckFailed(f"For {shown} the keys hold numbers that are not finite.")
    return weights


def _where_it_looks(keys: Tensor, weights: Tensor, on_mirror: Tensor) -> str:
    t = len(weights)
    place = torch.arange(t)
    pairs = place != place.flip(0)
    on_self = weights.diagonal()
    others = {
        "its place in the other half": (place + t // 2) % t,
        "the place one further than its mirror image (the mirror of i is length - 1 - i)": (
            (t - place) % t
        ),
        "its right neighbour": (place + 1) % t,
    }
    if bool(((weights - 1 / t).abs() < 1e-6).all()):
        return (
            "all weights are equal, as when all keys are alike. Different pairs need different "
            "keys, at right angles to each other."
        )
    if bool((on_self[pairs] > 0.9).all()):
        if torch.allclose(keys[pairs], -keys.flip(0)[pairs]):
            return (
                "every place looks at itself, and at its mirror image least of all, since that has "
                "the negative key. Opposite keys give the lowest score; the same key gives the "
                "highest."
            )
        return (
            "every place looks only at itself: its key is unlike any other. A place and its mirror "
            "image can share one key."
        )
    if torch.allclose(on_mirror, on_self) and bool((on_mirror > weights.mean()).all()):
        return (
            f"every place does prefer its mirror image, but faintly, with {on_mirror.min():.2f}. "
            "Longer keys make larger scores, and softmax sharper."
        )
    for words, other in others.items():
        moved = (other != place) & (other != place.flip(0))
        if bool(moved.any()) and bool((weights[place, other][moved] >= _ENOUGH).all()):
            return f"every place looks at {words}."
    i = int(on_mirror.argmin())
    return (
        f"place {i} gives its mirror image, place {t - 1 - i}, the weight {on_mirror[i]:.2f}, and "
        f"looks most at place {int(weights[i].argmax())}, with {weights[i].max():.2f}."
    )
