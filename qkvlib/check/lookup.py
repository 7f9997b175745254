"""Lesson 01: attention from scratch, checked axis by axis.

Axis letters: B batch, T query positions, S key positions, D features of queries and keys, E
features of values.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from qkvlib.check.base import CheckFailed, call

AttentionFunction = Callable[[Tensor, Tensor, Tensor, bool], Any]

AXES: Final = {
    "B": "the batch",
    "T": "the query positions",
    "S": "the key positions",
    "D": "the features of queries and keys",
    "E": "the features of the values",
}


class _Case(NamedTuple):
    """One call, with sizes that can be told apart wherever they may differ."""

    q: Tensor
    k: Tensor
    v: Tensor
    causal: bool

    @property
    def sizes(self) -> dict[str, int]:
        (b, t, d), (s, e) = self.q.shape, self.v.shape[1:]
        return {"B": b, "T": t, "S": s, "D": d, "E": e}

    @property
    def shown(self) -> str:
        return ", ".join(f"{axis} = {n}" for axis, n in self.sizes.items()) + (
            f" and causal={self.causal}"
        )


def _case(b: int, t: int, s: int, d: int, e: int, *, causal: bool, loud: float = 1.0) -> _Case:
    generator = torch.Generator().manual_seed(b * t * s * d * e)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    return _Case(loud * draw(b, t, d), loud * draw(b, s, d), draw(b, s, e), causal)


def _cases() -> list[_Case]:
    return [
        _case(2, 3, 5, 16, 7, causal=False),
        _case(2, 6, 6, 9, 5, causal=True),
        # Scores in the hundreds, whose exponential is no longer a number.
        _case(2, 3, 5, 16, 7, causal=False, loud=15.0),
        # Below some of these a score that hides with a number such as -20 does not lie.
        _case(2, 6, 6, 9, 5, causal=True, loud=4.0),
    ]


_LOUD: Final = 2
"""So many of them, at the end, have large scores."""


# Right answers, and wrong ones on purpose


class _Twist(NamedTuple):
    """How an answer departs from the right one; the first choice of each is right."""

    scale: str = "root"
    axis: int = -1
    mask: str = "right"
    mix: str = "weights"


_CHOICES: Final[dict[str, dict[Any, str]]] = {
    "scale": {
        "root": "",
        "none": "Features: the scale is missing. Divide the scores by the square root of D",
        "width": "Features: you divided the scores by D; it is the square root of D",
        "times": "Features: you multiplied by the square root of D where you should divide",
        "late": "Key positions: the scale comes after the softmax, so the weights of a query no "
        "longer sum to one. Divide the scores, before the softmax",
        **{
            axis: f"Features: you divided by the square root of {axis}, {AXES[axis]}; the square "
            "root is that of D, the last axis of q"
            for axis in "BTSE"
        },
    },
    "axis": {
        -1: "",
        -2: "Query positions: the softmax runs along them. The weights of one query over all the "
        "keys must sum to one: dim=-1",
        0: "Batch: the softmax runs along it, so the items of a batch share their weights. It "
        "must run along the key positions: dim=-1",
    },
    "mask": {
        "right": "",
        "none": "Key positions: the causal mask is missing although causal=True was asked for: "
        "position 0 looks at later ones",
        "zero": "Key positions: hidden scores are set to 0 before the softmax, but a score of 0 "
        "still gets a weight, e^0 = 1 before normalising. Set them to minus infinity",
        "late": "Key positions: the mask comes after the softmax, so the weights that are left no "
        "longer sum to one. Set hidden scores to minus infinity before the softmax",
        "flipped": "Key positions: the mask is upside down. Position t may look at itself and at "
        "earlier ones: tril, not triu",
        "strict": "Key positions: a position may look at itself. Keep the diagonal: tril() without "
        "an argument (without it, position 0 sees nothing, and the result is NaN)",
        "wide": "Key positions: the mask is off by one, each position sees the next one. Keep "
        "nothing above the diagonal: tril() without an argument",
        "always": "Key positions: you hide later positions also where causal=False",
    },
    "mix": {
        "weights": "",
        "scores": "Key positions: the values are mixed with the scores. The softmax is missing: it "
        "makes weights of the scores, and they mix",
        "after": "Key positions: the values are mixed with the scores, and the softmax comes after "
        "that. It makes weights of the scores first; then they mix",
        "sum": "Key positions: the scores are divided by their sum. Scores may be negative; e to "
        "the power of a score is not, and that is what softmax divides",
    },
}


def _hidden(twist: _Twist, case: _Case) -> Tensor | None:
    """Shape (T, S), true where a query may not look; ``None`` where nothing is hidden."""
    if twist.mask == "none" or not (case.causal or twist.mask == "always"):
        return None
    seen = torch.ones(case.q.shape[1], case.k.shape[1], dtype=torch.bool)
    if twist.mask == "flipped":
        return ~seen.triu()
    return ~seen.tril({"strict": -1, "wide": 1}.get(twist.mask, 0))


def _answer(case: _Case, twist: _Twist = _Twist()) -> Tensor:  # noqa: B008  # immutable
    """Attention as the exercise asks for it, or with mistakes built in."""
    q, k, v, _ = case
    root = case.sizes.get(twist.scale, case.sizes["D"]) ** 0.5
    scale = {"none": 1.0, "width": root**-2, "times": root, "late": 1.0}.get(twist.scale, 1 / root)
    scores = q @ k.mT * scale
    hidden = _hidden(twist, case)
    if hidden is not None and twist.mask != "late":
        scores = scores.masked_fill(hidden, 0.0 if twist.mask == "zero" else float("-inf"))
    if twist.mix == "after":
        mixed: Tensor = scores @ v
        return mixed.softmax(dim=twist.axis)
    if twist.mix == "sum":
        weights = scores / scores.sum(dim=twist.axis, keepdim=True)
    else:
        weights = scores if twist.mix == "scores" else scores.softmax(dim=twist.axis)
    if hidden is not None and twist.mask == "late":
        weights = weights.masked_fill(hidden, 0.0)
    output: Tensor = weights @ v
    return output / root if twist.scale == "late" else output


def _twists() -> Iterator[_Twist]:
    """Every mistake and combination of mistakes, those with the fewest first."""
    every = [_Twist(*chosen) for chosen in itertools.product(*_CHOICES.values())]
    right = _Twist()
    yield from sorted(every, key=lambda t: sum(a != b for a, b in zip(t, right, strict=True)))


def _same(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a.to(b.dtype), b, rtol=1e-4, atol=1e-5, equal_nan=True)


# Finding words


def attention(fn: AttentionFunction) -> None:
    """Check scaled dot-product attention, written by hand, axis by axis.

    Args:
        fn: Called as ``fn(q, k, v, causal)`` with q of shape (B, T, D), k (B, S, D) and v
            (B, S, E); where ``causal`` is true, T = S and position t may look at positions up
            to t. It returns a tensor of shape (B, T, E).

    Raises:
        CheckFailed: Naming the axis that is wrong, and the mistake where it is a typical one.
    """
    cases = _cases()
    answers = [_run(fn, case) for case in cases]
    right = [_same(a, _answer(case)) for a, case in zip(answers, cases, strict=True)]
    if all(right):
        print(
            "Correct along every axis, with the mask and without, for small scores and large ones."
        )
        return
    pairs = list(zip(cases, answers, strict=True))
    usual, large = pairs[:-_LOUD], pairs[-_LOUD:]
    if all(right[:-_LOUD]):
        wrong = next(pair for pair, fine in zip(large, right[-_LOUD:], strict=True) if not fine)
        raise CheckFailed(_large_scores(*wrong))
    for twist in _twists():
        if all(_same(a, _answer(case, twist)) for case, a in usual):
            words = [_CHOICES[knob][chosen] for knob, chosen in twist._asdict().items()]
            raise CheckFailed(". Besides: ".join(w for w in words if w) + ".")
    raise CheckFailed(_probe(fn, cases[0], answers[0]) or _first_difference(usual))


def _run(fn: AttentionFunction, case: _Case) -> Tensor:
    """Call the learner's function; refuse what is not a tensor of the right shape."""
    inputs = (case.q.clone(), case.k.clone(), case.v.clone())
    try:
        answer = call(fn, case.shown, *inputs, case.causal)
    except CheckFailed as failed:
        if "RuntimeError" not in str(failed) and "IndexError" not in str(failed):
            raise
        raise CheckFailed(
            f"{failed} Here q is (B, T, D) = {tuple(case.q.shape)}, k is (B, S, D) = "
            f"{tuple(case.k.shape)} and v is (B, S, E) = {tuple(case.v.shape)}. The scores have to "
            "be (B, T, S), a row for each query: q times k with the last two axes of k swapped, "
            "k.transpose(-2, -1)."
        ) from None
    if isinstance(answer, tuple):
        raise CheckFailed("Your function returns a tuple; return the output alone.")
    if not isinstance(answer, Tensor):
        raise CheckFailed(
            f"Your function returns {type(answer).__name__}; a tensor is expected, (B, T, E)."
        )
    if not answer.is_floating_point():
        raise CheckFailed(
            f"Your function returns a tensor of {str(answer.dtype).removeprefix('torch.')}; the "
            "output has fractions, as the values have."
        )
    answer = answer.detach()
    if answer.shape != (*case.q.shape[:2], case.v.shape[2]):
        raise CheckFailed(_wrong_shape(tuple(answer.shape), case))
    return answer


def _wrong_shape(got: tuple[int, ...], case: _Case) -> str:
    sizes = case.sizes
    wanted = {axis: sizes[axis] for axis in "BTE"}
    head = f"Your result has shape {got} for {case.shown}; expected (B, T, E) = "
    head += f"{tuple(wanted.values())}. "
    if len(got) != len(wanted):
        if got == (sizes["T"], sizes["E"]):
            return f"{head}Batch: that axis is gone. Each item of the batch has its own answer."
        return f"{head}It has {len(got)} axes, not {len(wanted)}."
    if got == (sizes["B"], sizes["E"], sizes["T"]):
        return (
            f"{head}The result is transposed: query positions and features have changed places. "
            "weights @ v has a row for each query."
        )
    if got == (sizes["B"], sizes["T"], sizes["S"]):
        return (
            f"{head}Features: this is one number for each query and key, so weights or scores. "
            "They have yet to mix the values: weights @ v."
        )
    by_size = {n: axis for axis, n in sizes.items()}
    for i, (axis, n) in enumerate(wanted.items()):
        if got[i] != n:
            found = by_size.get(got[i])
            is_what = f"; {got[i]} is {found}, {AXES[found]}" if found else ""
            name = AXES[axis].removeprefix("the ").capitalize()
            return f"{head}{name}: axis {i} has {got[i]} entries, not {n}{is_what}."
    raise AssertionError(got)  # pragma: no cover


def _large_scores(case: _Case, answer: Tensor) -> str:
    largest = (case.q @ case.k.mT).abs().max().item() / case.sizes["D"] ** 0.5
    if not answer.isfinite().all():
        return (
            f"Key positions: with scores up to {largest:,.0f} the result is not a number, because "
            "e to such a power overflows. Subtract the largest score of each row first (the "
            "weights stay the same), or use softmax, which does."
        )
    off = (
        f"Key positions: with scores up to {largest:,.0f} the result is off, by "
        f"{(answer - _answer(case)).abs().max().item():.3g}."
    )
    if case.causal:
        return (
            f"{off} A hidden score of -20, say, lies above some that are seen. Set hidden scores "
            "to minus infinity: float('-inf')."
        )
    return f"{off} Only the softmax is different there: nearly all weight lies on one key."


def _probe(fn: AttentionFunction, case: _Case, answer: Tensor) -> str | None:
    """Look for the axis along which something leaks, when no typical mistake explains it."""
    q, k, v, _ = case
    alone = torch.cat(
        [_run(fn, _Case(q[b : b + 1], k[b : b + 1], v[b : b + 1], False)) for b in (0, 1)]
    )
    if not _same(answer, alone):
        return (
            "Batch: an item comes out differently when another stands beside it in the batch. "
            "Nothing may be summed or normalised along axis 0."
        )
    if not _same(answer[:, :1], _run(fn, _Case(q[:, :1], k, v, False))):
        return (
            "Query positions: the answer to query 0 changes with the other queries. Each query "
            "has to be answered on its own."
        )
    ones = _run(fn, _Case(q, k, torch.ones_like(v), False))
    if not _same(ones, torch.ones_like(ones)):
        return (
            "Key positions: with every value 1 the output must be 1, whatever the weights, since "
            f"they sum to one. Yours is {ones.flatten()[0].item():.3g}."
        )
    order = torch.arange(k.shape[1]).flip(0)
    if not _same(answer, _run(fn, _Case(q, k[:, order], v[:, order], False))):
        return (
            "Key positions: the output changes when keys and their values are listed in another "
            "order. Without a mask their order must not matter."
        )
    louder = v.clone()
    louder[..., 0] += 1
    if not _same(answer[..., 1:], _run(fn, _Case(q, k, louder, False))[..., 1:]):
        return (
            "Features: output feature 1 changes with feature 0 of the values. Weights mix "
            "positions; they leave features apart."
        )
    return None


def _first_difference(pairs: list[tuple[_Case, Tensor]]) -> str:
    case, answer = next((c, a) for c, a in pairs if not _same(a, _answer(c)))
    off = (answer - _answer(case)).abs()
    b, t, e = (int(i) for i in (~(off <= 1e-5)).nonzero()[0])
    return (
        f"For {case.shown} the first number that differs is output[{b}, {t}, {e}], by "
        f"{off[b, t, e].item():.3g}: batch item {b}, query position {t}, feature {e}. No axis is "
        "mixed up without a mask, so look at "
        + ("the mask." if case.causal else "the scores: q · k / √D, and e to their power.")
    )
