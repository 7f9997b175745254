"""Lesson 04: which KV head a query head reads, and grouped attention that repeats nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from qkvlib.check.base import CheckFailed, Mistake, call, close, explain, not_yet, number

# ------------------------------------------------------------------------------ who reads whom

_HeadCase = tuple[int, int, int]

_HEAD_MISTAKES: Final = [
    Mistake(
        "your heads take turns (h % n_kv_heads): neighbours then read different KV heads. Here "
        "neighbours share: the first H/G query heads read KV head 0, the next H/G KV head 1",
        lambda h, n_heads, n_kv: h % n_kv,
    ),
    Mistake(
        "that is h % (H/G), the place of a query head within its group, not the number of its "
        "group: use // instead of %",
        lambda h, n_heads, n_kv: h % (n_heads // n_kv),
    ),
    Mistake(
        "you divided by the number of KV heads; divide by the number of query heads that share "
        "one, which is H/G",
        lambda h, n_heads, n_kv: h // n_kv,
    ),
    Mistake(
        "you count from 1: the first KV head is number 0",
        lambda h, n_heads, n_kv: h // (n_heads // n_kv) + 1,
    ),
    Mistake(
        "you gave every query head a KV head of its own number, but there are only G of them",
        lambda h, n_heads, n_kv: h,
    ),
    Mistake(
        "you count the KV heads from the other end: query head 0 reads KV head 0",
        lambda h, n_heads, n_kv: n_kv - 1 - h // (n_heads // n_kv),
    ),
]


def kv_head(fn: Callable[[int, int, int], Any]) -> None:
    """Check a function that says which KV head a query head reads.

    Args:
        fn: Called as ``fn(h, n_heads, n_kv_heads)``; it returns a whole number.

    Raises:
        CheckFailed: Naming the mistake, or else the first query head that differs.
    """
    shapes = [(8, 8), (8, 4), (8, 2), (8, 1), (12, 3), (6, 2)]
    cases: list[_HeadCase] = [(h, n, g) for n, g in shapes for h in range(n)]
    got = []
    for h, n, g in cases:
        words = f"query head {h} of {n} with {_kv_heads(g)}"
        got.append(number(call(fn, words, h, n, g), words))
    wanted = [float(h // (n // g)) for h, n, g in cases]
    if all(close(a, b) for a, b in zip(got, wanted, strict=True)):
        print(f"Correct for {len(cases)} query heads, from MHA to MQA.")
        return
    if all(int(a) == b for a, b in zip(got, wanted, strict=True)):
        raise CheckFailed(
            f"Query head {cases[1][0]} of 8 with 4 KV heads reads a head with a whole number: "
            "use // and not /."
        )
    first = next(i for i, (a, b) in enumerate(zip(got, wanted, strict=True)) if not close(a, b))
    h, n, g = cases[first]
    said = (
        f"Query head {h} of {n} with {_kv_heads(g)} reads KV head {wanted[first]:g}, and your "
        f"function says {got[first]:g}."
    )
    found = explain(got, cases, _HEAD_MISTAKES)
    raise not_yet(found, said)


def _kv_heads(n: int) -> str:
    return f"{n} KV {'head' if n == 1 else 'heads'}"


# -------------------------------------------------------------------------- grouped attention


class _Largest(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Remembers the largest storage that is made while it is on, also inside another operation."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.numbers = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        for each in made if isinstance(made, tuple | list) else (made,):
            if isinstance(each, Tensor):  # a view has the storage of what it looks at
                size = each.untyped_storage().nbytes() // each.itemsize
                self.numbers = max(self.numbers, size)
        return made


def _reference(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    turns: bool = False,
    scale: float | None = None,
    over: str = "tokens",
    swapped: bool = False,
) -> Tensor:
    """Attention of one query token head by head, and with one mistake built in."""
    (n_heads, width), n_kv = q.shape, k.shape[0]
    if swapped:
        k, v = v, k
    reads = [h % n_kv if turns else h // (n_heads // n_kv) for h in range(n_heads)]
    scores = torch.stack([k[g] @ q[h] for h, g in enumerate(reads)])  # (H, S)
    scores = scores * (width**-0.5 if scale is None else scale)
    by_group = scores.reshape(n_kv, n_heads // n_kv, -1)  # (G, H/G, S)
    weights = {
        "tokens": scores.softmax(dim=-1),
        "heads": scores.softmax(dim=0),
        "groups": by_group.softmax(dim=0).flatten(0, 1),
        "within": by_group.softmax(dim=1).flatten(0, 1),
        "nothing": scores,
    }[over]
    return torch.stack([weights[h] @ v[g] for h, g in enumerate(reads)])


def grouped(fn: Callable[[Tensor, Tensor, Tensor], Any]) -> None:
    """Check attention of one query token over shared KV heads, written by hand.

    Args:
        fn: Called as ``fn(q, k, v)`` with q of shape (H, D), the heads of one query token, and k
            and v of shape (G, S, D). It returns a tensor of shape (H, D).

    Raises:
        CheckFailed: Naming the axis or the mistake: heads that take turns, a wrong order of axes,
            scale or softmax; or that the result is right, but K and V were repeated for it.
    """
    for n_heads, n_kv in ((6, 6), (6, 2), (8, 1), (12, 3)):
        q, k, v = _draw(n_heads, n_kv)
        shown = f"{n_heads} query heads and {_kv_heads(n_kv)}"
        inputs = q.clone(), k.clone(), v.clone()
        watch = _Largest()
        with watch:
            answer = call(fn, shown, *inputs)
        wanted = _reference(q, k, v)
        _check_shape(answer, q, k, shown)
        answer = answer.detach().to(wanted.dtype)
        if not torch.allclose(answer, wanted, atol=1e-5):
            raise CheckFailed(f"For {shown}: {_what_differs(answer, q, k, v)}")
        if n_kv < n_heads and watch.numbers >= n_heads * k.shape[1] * k.shape[2]:
            times = n_heads // n_kv
            raise CheckFailed(
                f"Your numbers are right, but for {shown} you made a tensor of "
                f"{watch.numbers:,} numbers, where K has {k.numel():,}: as much as a copy of each "
                f"KV head for the {times} query heads that read it, and the saving is gone. Give q "
                "the axes of k instead: q.reshape(G, H // G, D)."
            )
    print("Correct for MHA, GQA and MQA, and neither K nor V was copied.")


def _draw(n_heads: int, n_kv: int, tokens: int = 40, width: int = 16) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((n_heads, width), (n_kv, tokens, width), (n_kv, tokens, width))
    q, k, v = (torch.randn(shape, generator=generator) for shape in shapes)
    return q, k, v


def _check_shape(answer: Any, q: Tensor, k: Tensor, shown: str) -> None:
    if not isinstance(answer, Tensor):
        kind = type(answer).__name__
        raise CheckFailed(f"For {shown} your function returns {kind}; a tensor is expected.")
    (n_heads, width), (n_kv, tokens, _) = q.shape, k.shape
    shape = tuple(answer.shape)
    if shape == (n_heads, width):
        return
    ways = {
        (n_kv, n_heads // n_kv, width): (
            "that is (G, H/G, D): the attention is done; put the heads back into one axis with "
            ".reshape(H, D)"
        ),
        (n_heads, tokens): "that is (H, S): these are scores or weights; multiply them with v",
        (n_kv, n_heads // n_kv, tokens): (
            "that is (G, H/G, S): these are scores or weights; multiply them with v"
        ),
        (n_kv, width): "one output for each KV head. Every query head needs its own",
    }
    why = ways.get(shape, "one output of width D for each query head")
    raise CheckFailed(
        f"For {shown} your result has shape {shape}; expected (H, D) = ({n_heads}, {width}): {why}."
    )


def _in_turns(heads: Tensor, n: int) -> Tensor:
    """The same heads in the order that a reshape to (H/n, n, D) and a transpose would give them."""
    return heads.reshape(-1, n, heads.shape[-1]).transpose(0, 1).flatten(0, 1)


_TURNS: Final = "query heads take turns (h % G) where neighbours should share (h // (H/G))"


def _what_differs(answer: Tensor, q: Tensor, k: Tensor, v: Tensor) -> str:
    right = _reference(q, k, v)
    variations: list[tuple[str, dict[str, Any]]] = [
        ("the scale is missing. Multiply the scores by D ** -0.5.", {"scale": 1.0}),
        ("you divided by D; it is the square root of D.", {"scale": 1 / q.shape[1]}),
        (
            "the scale uses the number of tokens. It is the width of a head: D ** -0.5.",
            {"scale": k.shape[1] ** -0.5},
        ),
        (
            "the scale uses the width of the whole model. A head is D wide: D ** -0.5.",
            {"scale": q.numel() ** -0.5},
        ),
        (
            f"{_TURNS}. Did you reshape q to (H/G, G, D), or repeat K as a whole? Neighbours "
            "stand together in q.reshape(G, H // G, D).",
            {"turns": True},
        ),
        ("softmax is missing between scores and values.", {"over": "nothing"}),
        ("k and v have changed places: keys make scores, values the output.", {"swapped": True}),
    ]
    wrong_axis = "softmax runs over the heads. The weights of one head over S tokens sum to one: "
    variations += [(f"{wrong_axis}dim=-1.", {"over": o}) for o in ("heads", "groups", "within")]
    for words, change in variations:
        if torch.allclose(answer, _reference(q, k, v, **change), atol=1e-5):
            return words
    n_kv = k.shape[0]
    group = q.shape[0] // n_kv
    if torch.allclose(answer, _in_turns(right, group), atol=1e-5):
        return (
            "the outputs are right, but in another order of heads. Go back as you came, from "
            "(G, H/G, D) to (H, D), with no transpose between."
        )
    if torch.allclose(answer, _reference(_in_turns(q, n_kv), k, v), atol=1e-5):
        return f"{_TURNS}, and their outputs are in another order than the heads of q."
    off = (answer - right).abs().amax(dim=-1).nan_to_num(nan=float("inf"))
    wrong = (off > 1e-5).nonzero().flatten().tolist()
    return (
        f"{len(wrong)} of {q.shape[0]} query heads differ; the first is query head {wrong[0]}, by "
        f"{off[wrong[0]].item():.3g}. It must read KV head {wrong[0] // group}."
    )
