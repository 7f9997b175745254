"""Lesson 05: tied attention, and what is symmetric."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from qkvlib.analysis import asymmetry
from qkvlib.attention import Attention
from qkvlib.check.base import CheckFailed, call
from qkvlib.config import ModelConfig
from qkvlib.sharing import SHARINGS, unknown_name


def _reference_attention(
    x: Tensor,
    weights: Mapping[str, Tensor],
    roles: Mapping[str, str],
    *,
    scale: bool = True,
    mask: bool = True,
    strict: bool = False,
    axis: int = -1,
    flip: bool = False,
    width: bool = False,
    late: bool = False,
) -> Tensor:
    """Attention of one head as the exercise asks for it, and with one mistake built in."""
    q, k, v = (x @ weights[roles[role]] for role in "qkv")
    scores = k @ q.T if flip else q @ k.T
    if scale:
        scores = scores * (q.shape[-1] if width else q.shape[-1] ** 0.5) ** -1
    hidden = ~torch.ones_like(scores, dtype=torch.bool).tril(-1 if strict else 0)
    if mask and not late:
        scores = scores.masked_fill(hidden, float("-inf"))
    spread = scores.softmax(dim=axis)
    if late:
        spread = spread.masked_fill(hidden, 0.0)
    return spread @ v


def tie(fn: Callable[[Tensor, Mapping[str, Tensor], Mapping[str, str]], Any]) -> None:
    """Check causal attention with tied projections, written by hand.

    Args:
        fn: Called as ``fn(x, weights, roles)`` with x of shape (T, D), weights from projection
            name to a tensor of shape (D, D), and roles from ``"q"``, ``"k"``, ``"v"`` to a name
            in weights. It returns a tensor of shape (T, D).

    Raises:
        CheckFailed: Naming the sharing and the mistake: a tie not made, another pair tied, a
            projection read that does not exist, scale, mask or softmax.
    """
    generator = torch.Generator().manual_seed(0)
    t, d = 7, 16
    x = torch.randn(t, d, generator=generator)
    everything = {n: torch.randn(d, d, generator=generator) / d**0.5 for n in "qkv"}
    cases = [
        (
            f"{sharing.name} {sharing.tuple_form}",
            {n: everything[n] for n in sharing.projections},
            {str(role): name for role, name in sharing.roles.items()},
        )
        for sharing in SHARINGS.values()
    ]
    # Roles decide, and not what a projection is called.
    other_names = {"first": everything["q"], "second": everything["v"]}
    roles = {"q": "first", "k": "first", "v": "second"}
    cases.append((f"roles={roles}", other_names, roles))
    for shown, weights, roles in cases:
        if callable(fn):
            _refuse_absent_weights(fn, x, weights, roles, everything, shown)
        answer = call(fn, shown, x.clone(), dict(weights), dict(roles))
        if not isinstance(answer, Tensor):
            kind = type(answer).__name__
            raise CheckFailed(f"For {shown} your function returns {kind}; a tensor is expected.")
        if tuple(answer.shape) != (t, d):
            raise CheckFailed(
                f"For {shown} your result has shape {tuple(answer.shape)}; expected (T, D) = "
                f"({t}, {d}): one output for each position."
            )
        answer = answer.detach().to(x.dtype)
        wanted = _reference_attention(x, weights, roles)
        if not torch.allclose(answer, wanted, atol=1e-5):
            raise CheckFailed(f"For {shown}: {_what_differs(answer, x, weights, roles)}")
    print("Correct for all four sharings, from one function that asks the roles.")


class _Watched(dict[str, Tensor]):
    """Weights of a sharing that remember which others were asked for."""

    def __init__(self, weights: Mapping[str, Tensor], everything: Mapping[str, Tensor]) -> None:
        super().__init__(weights)
        self.everything = everything
        self.absent: list[str] = []

    def __missing__(self, key: str) -> Tensor:
        found = self.everything[key]
        self.absent.append(key)
        return found


def _refuse_absent_weights(
    fn: Callable[..., Any],
    x: Tensor,
    weights: Mapping[str, Tensor],
    roles: Mapping[str, str],
    everything: Mapping[str, Tensor],
    shown: str,
) -> None:
    """Find reads of projections that the sharing does not have, before they raise KeyError."""
    watched = _Watched(weights, everything)
    call(fn, shown, x.clone(), watched, dict(roles))
    for name in watched.absent:
        role = {"q": "query", "k": "key", "v": "value"}[name]
        raise CheckFailed(
            f"For {shown} your function reads weights[{name!r}]. This sharing has no such "
            f"projection: the {role} uses weights[{roles[name]!r}]. Ask roles for the name: "
            f"weights[roles[{name!r}]]."
        )


def _what_differs(
    answer: Tensor, x: Tensor, weights: Mapping[str, Tensor], roles: Mapping[str, str]
) -> str:
    variations: list[tuple[str, dict[str, Any]]] = [
        ("the scale is missing. Divide the scores by the square root of D.", {"scale": False}),
        ("you divided by D; it is the square root of D.", {"width": True}),
        ("the causal mask is missing: position 0 looks at later ones.", {"mask": False}),
        (
            "softmax runs along the wrong axis. Each row, one query, must sum to one: dim=-1.",
            {"axis": 0},
        ),
        (
            "the scores are transposed: rows belong to queries, columns to keys: q @ k.T.",
            {"flip": True},
        ),
        (
            "the mask comes after softmax, so rows no longer sum to one. Set hidden scores to "
            "minus infinity before softmax.",
            {"late": True},
        ),
        ("there is neither scale nor mask.", {"scale": False, "mask": False}),
    ]
    for words, change in variations:
        if torch.allclose(answer, _reference_attention(x, weights, roles, **change), atol=1e-5):
            return words
    if answer.isnan().any():
        return (
            "there is NaN in the result: a row in which everything is hidden. A position may look "
            "at itself: keep the diagonal, tril() without an argument."
        )
    names = list(weights)
    for q in names:
        for k in names:
            for v in names:
                other = {"q": q, "k": k, "v": v}
                if torch.allclose(answer, _reference_attention(x, weights, other), atol=1e-5):
                    wrong = next(role for role in "qkv" if other[role] != roles[role])
                    return (
                        f"{wrong} is made with weights[{other[wrong]!r}]; roles says "
                        f"{wrong} -> {roles[wrong]!r}."
                    )
    off = (answer - _reference_attention(x, weights, roles)).abs().amax(dim=-1)
    first = int((off > 1e-5).nonzero()[0])
    return (
        f"the first position that differs is {first}, by {off[first].item():.3g}. Position 0 sees "
        "only itself, so its output must be its own value."
    )


def symmetric(answers: Mapping[str, bool]) -> None:
    """Check which sharings have symmetric scores, by measuring them.

    Args:
        answers: Name of the sharing -> whether its score map is symmetric.

    Raises:
        CheckFailed: Naming the first sharing that is answered wrongly, and what was measured.
    """
    if not isinstance(answers, Mapping):
        raise CheckFailed(f"Give a dictionary, sharing -> True or False, not {answers!r}.")
    for name in answers:
        if name not in SHARINGS:
            raise CheckFailed(str(unknown_name("sharing", name, SHARINGS)))
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 12, 32, generator=generator)
    for name, sharing in SHARINGS.items():
        given = answers.get(name)
        if not isinstance(given, bool):
            raise CheckFailed(f"{name} {sharing.tuple_form}: answer True or False, not {given!r}.")
        config = ModelConfig(
            d_model=32, n_layers=1, n_heads=1, vocab_size=2, max_seq_len=12, sharing=sharing
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            _, maps = Attention(config)(x, return_attention=True)
        assert maps is not None
        measured = asymmetry(maps.scores).item()
        if given != (measured < 1e-5):
            because = (
                "score(i, j) is key i times key j, and the order of a product does not matter"
                if sharing.ties_query
                else "score(i, j) is query i times key j; swapping i and j takes another query"
            )
            number = f"{max(measured, 0.0):.2g}" if measured > 1e-5 else "0"
            raise CheckFailed(
                f"{name} {sharing.tuple_form}: measured asymmetry {number}, so its scores are "
                f"{'' if measured < 1e-5 else 'not '}symmetric: {because}."
            )
    print("Correct: symmetric exactly where query and key are one projection.")
