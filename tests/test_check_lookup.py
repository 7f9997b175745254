"""The check of attention from scratch: right in any style, wrong along a named axis."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from qkvlib import check
from qkvlib.check import CheckFailed


def hide(scores: Tensor, causal: bool, fill: float = float("-inf"), diagonal: int = 0) -> Tensor:
    if not causal:
        return scores
    seen = torch.ones_like(scores, dtype=torch.bool).tril(diagonal)
    return scores.masked_fill(~seen, fill)


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    causal: bool = False,
    *,
    scale: Callable[[Tensor, Tensor, Tensor], float] = lambda q, k, v: q.shape[-1] ** -0.5,
    dim: int = -1,
    mask: Callable[[Tensor, bool], Tensor] = hide,
    late: Callable[[Tensor, bool], Tensor] = lambda weights, causal: weights,
) -> Tensor:
    scores = mask(q @ k.transpose(-2, -1) * scale(q, k, v), causal)
    return late(scores.softmax(dim=dim), causal) @ v


def by_einsum(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    scores = torch.einsum("btd,bsd->bts", q, k) / math.sqrt(k.shape[2])
    if causal:
        scores = scores + torch.full(scores.shape[1:], float("-inf")).triu(1)
    return torch.einsum("bts,bse->bte", torch.softmax(scores, 2), v)


def by_loops(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    out = torch.zeros(q.shape[0], q.shape[1], v.shape[2])
    for b in range(q.shape[0]):
        for t in range(q.shape[1]):
            last = t + 1 if causal else k.shape[1]
            scores = torch.stack([q[b, t] @ k[b, s] for s in range(last)]) / q.shape[2] ** 0.5
            powers = (scores - scores.max()).exp()
            for s in range(last):
                out[b, t] += powers[s] / powers.sum() * v[b, s]
    return out


def by_the_fused_kernel(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, is_causal=causal)


def scaled_first_and_in_double(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    q = q / q.shape[-1] ** 0.5
    return attention(q.double(), k.double(), v.double(), causal, scale=lambda *_: 1.0)


def with_a_large_negative_number(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    return attention(q, k, v, causal, mask=lambda s, c: hide(s, c, fill=-1e9))


def masked_late_but_normalised_again(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    def late(weights: Tensor, causal: bool) -> Tensor:
        kept = hide(weights, causal, fill=0.0)
        return kept / kept.sum(dim=-1, keepdim=True)

    return attention(q, k, v, causal, mask=lambda s, c: s, late=late)


RIGHT = [
    attention,
    by_einsum,
    by_loops,
    by_the_fused_kernel,
    scaled_first_and_in_double,
    with_a_large_negative_number,
    masked_late_but_normalised_again,
]


def test_arguments_belong_to_the_caller() -> None:
    def answer(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
        q /= q.shape[-1] ** 0.5
        return attention(q, k, v, causal, scale=lambda *_: 1.0)

    with pytest.raises(CheckFailed, match=r"changes its argument 'q' for .*x = x \+ y"):
        check.attention(answer)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            lambda q, k, v, c: attention(q, k, v, c, mask=lambda s, c: hide(s, c, fill=-20.0)),
            r"A hidden score of -20, say, .*float\('-inf'\)",
        ),
        (lambda q, k, v, c: attention(q, k, v, c).int(), "a tensor of int32; the output has frac"),
        (lambda q, k, v, c: attention(q, k, v, c) > 0, "a tensor of bool"),
    ],
)
def test_what_is_right_by_chance_is_refused(answer: Callable[..., Any], words: str) -> None:
    with pytest.raises(CheckFailed, match=words):
        check.attention(answer)


@pytest.mark.parametrize("answer", RIGHT)
def test_right_answers_pass_in_any_style(
    answer: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    state = torch.get_rng_state()
    check.attention(answer)
    assert "Correct along every axis" in capsys.readouterr().out
    assert torch.equal(torch.get_rng_state(), state)


def fails(answer: Any, *words: str) -> str:
    with pytest.raises(CheckFailed) as caught:
        check.attention(answer)
    message = str(caught.value)
    for word in words:
        assert word in message, message
    return message


def wrong(**twists: Any) -> Callable[..., Tensor]:
    return lambda q, k, v, causal: attention(q, k, v, causal, **twists)


def triu(scores: Tensor, causal: bool) -> Tensor:
    seen = torch.ones_like(scores, dtype=torch.bool).triu()
    return scores.masked_fill(~seen, float("-inf")) if causal else scores


def unmasked(scores: Tensor, causal: bool) -> Tensor:
    return scores


@pytest.mark.parametrize(
    ("twists", "words"),
    [
        ({"dim": 1}, ["Query positions: the softmax runs along them", "dim=-1"]),
        ({"dim": 0}, ["Batch: the softmax runs along it"]),
        ({"scale": lambda q, k, v: 1.0}, ["Features: the scale is missing"]),
        ({"scale": lambda q, k, v: 1 / q.shape[-1]}, ["divided the scores by D"]),
        ({"scale": lambda q, k, v: q.shape[-1] ** 0.5}, ["multiplied by the square root"]),
        ({"scale": lambda q, k, v: q.shape[0] ** -0.5}, ["square root of B, the batch"]),
        ({"scale": lambda q, k, v: q.shape[1] ** -0.5}, ["square root of T, the query pos"]),
        ({"scale": lambda q, k, v: k.shape[1] ** -0.5}, ["square root of S, the key positions"]),
        ({"scale": lambda q, k, v: v.shape[2] ** -0.5}, ["square root of E"]),
        ({"mask": unmasked}, ["Key positions: the causal mask is missing"]),
        ({"mask": lambda s, c: hide(s, c, fill=0.0)}, ["set to 0 before the softmax"]),
        (
            {"mask": unmasked, "late": lambda w, c: hide(w, c, fill=0.0)},
            ["mask comes after the softmax"],
        ),
        ({"mask": triu}, ["upside down", "tril, not triu"]),
        ({"mask": lambda s, c: hide(s, c, diagonal=-1)}, ["may look at itself", "NaN"]),
        ({"mask": lambda s, c: hide(s, c, diagonal=1)}, ["off by one"]),
        ({"mask": lambda s, c: hide(s, True)}, ["also where causal=False"]),
        (
            {"mask": unmasked, "scale": lambda q, k, v: 1.0},
            ["the scale is missing", "Besides: Key positions: the causal mask is missing"],
        ),
    ],
)
def test_a_mistake_is_named_with_its_axis(twists: dict[str, Any], words: list[str]) -> None:
    message = fails(wrong(**twists), *words)
    assert ("Besides" in message) is ("Besides" in words[-1]), "as many mistakes as were made"


def test_the_scale_after_the_softmax() -> None:
    def answer(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
        return attention(q, k, v, causal, scale=lambda *_: 1.0) / q.shape[-1] ** 0.5

    fails(answer, "Key positions: the scale comes after the softmax")


def test_values_mixed_with_scores() -> None:
    def scores(q: Tensor, k: Tensor, causal: bool) -> Tensor:
        return hide(q @ k.mT / q.shape[-1] ** 0.5, causal, fill=0.0)

    fails(lambda q, k, v, c: scores(q, k, c) @ v, "mixed with the scores")
    fails(lambda q, k, v, c: (scores(q, k, c) @ v).softmax(-1), "softmax comes after")

    def divided(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
        each = scores(q, k, causal)
        return each / each.sum(-1, keepdim=True) @ v

    fails(divided, "divided by their sum")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda q, k, v, c: attention(q, k, v, c).mT, ["(2, 7, 3)", "transposed"]),
        (lambda q, k, v, c: q @ k.mT, ["Features", "have yet to mix the values"]),
        (lambda q, k, v, c: attention(q, k, v, c).mean(0), ["(3, 7)", "Batch: that axis is gone"]),
        (lambda q, k, v, c: attention(q, k, v, c)[:1], ["Batch: axis 0 has 1 entries, not 2"]),
        (lambda q, k, v, c: attention(k, k, v, False), ["Query positions: axis 1", "5 is S"]),
        (lambda q, k, v, c: attention(q, k, k, False), ["Features of the values", "16 is D"]),
        (lambda q, k, v, c: attention(q, k, v, c)[..., None], ["4 axes, not 3"]),
        (lambda q, k, v, c: (k @ q.mT).softmax(-1) @ v, ["RuntimeError", "(B, T, S)"]),
        (lambda q, k, v, c: q @ k, ["RuntimeError", "k.transpose(-2, -1)"]),
    ],
)
def test_a_wrong_shape_says_which_axis(answer: Callable[..., Any], words: list[str]) -> None:
    fails(answer, *words)


def test_a_bare_exponential_overflows() -> None:
    def answer(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
        powers = hide(q @ k.mT / q.shape[-1] ** 0.5, causal).exp()
        return powers / powers.sum(-1, keepdim=True) @ v

    fails(answer, "overflows", "Subtract the largest score")

    def clamped(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
        scores = (q @ k.mT / q.shape[-1] ** 0.5).clamp(-30, 30)
        return hide(scores, causal).softmax(-1) @ v

    fails(clamped, "the result is off", "Only the softmax is different there")


def leaks(axis: str) -> Callable[..., Tensor]:
    """Right, but for something that leaks along one axis."""

    def answer(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
        if axis == "batch":
            k = k / k.std(dim=0, keepdim=True) if len(k) > 1 else k
        if axis == "queries":
            q = q - q.mean(dim=1, keepdim=True) * (q.shape[1] > 1)
        y = attention(q, k, v, causal)
        if axis == "sum":
            y = 1.01 * y
        if axis == "order":
            y = y + 0.01 * (v[:, :1] - v[:, -1:])
        if axis == "features":
            y = y + 0.01 * (v.mean(-1, keepdim=True) - 1).mean(1, keepdim=True)
        if axis == "scores":
            y = attention(q, k.tanh(), v, causal)
        if axis == "mask" and causal:
            y = y + 0.01
        return y

    return answer


@pytest.mark.parametrize(
    ("axis", "words"),
    [
        ("batch", "Batch: an item comes out differently"),
        ("queries", "Query positions: the answer to query 0 changes"),
        ("sum", "Key positions: with every value 1 the output must be 1"),
        ("order", "Key positions: the output changes when keys"),
        ("features", "Features: output feature 1 changes with feature 0"),
        ("scores", "look at the scores"),
        ("mask", "look at the mask"),
    ],
)
def test_what_no_typical_mistake_explains_is_traced_to_its_axis(axis: str, words: str) -> None:
    fails(leaks(axis), words)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda q, k, v, c: None, "returns nothing yet"),
        (lambda q, k, v, c: ..., "returns nothing yet"),
        (lambda q, k, v, c: 3.0, "float; a tensor is expected"),
        (lambda q, k, v, c: (q, k), "return the output alone"),
        (lambda q, k, v: q, "cannot be called with 4 arguments"),
        (lambda q, k, v, c: q.missing, "AttributeError"),
        (..., "your function itself"),
        (torch.ones(2), "your function itself"),
    ],
)
def test_junk_is_answered_in_words(answer: Any, words: str) -> None:
    fails(answer, words)
