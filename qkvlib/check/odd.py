"""Lesson 11: does a model see order in a set, and an odd one found with nothing learned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from qkvlib.check.base import CheckFailed, call, number
from qkvlib.config import SetConfig
from qkvlib.models import build_model

Scorer = Callable[[Tensor], Tensor]

_SAME: Final = 1e-4  # of float32 scores that went different ways to the same sum


# Shuffled sets


def _gap(model: Scorer, elements: Tensor, order: Tensor) -> float:
    """The right answer."""
    return _largest(model(elements[:, order]) - model(elements)[:, order])


def _largest(difference: Tensor) -> float:
    return difference.abs().max().item()


_GAP_SLIPS: Final[tuple[tuple[str, Callable[[Scorer, Tensor, Tensor], float]], ...]] = (
    (
        "you compare the shuffled set with the set as it was, place by place. But at one place "
        "there are now two different images. Shuffle the scores as well: "
        "model(elements)[:, order].",
        lambda f, x, o: _largest(f(x[:, o]) - f(x)),
    ),
    (
        "you shuffle the scores once more where they should be put back. Indexing with order again "
        "does not undo it, order.argsort() does; or shuffle the other side instead: "
        "model(elements)[:, order].",
        lambda f, x, o: _largest(f(x[:, o])[:, o] - f(x)),
    ),
    (
        "it gives 0 for every model, also for one that favours some places. Do you shuffle the "
        "second axis, elements[:, order]? The first counts sets.",
        lambda f, x, o: _largest(f(x[o]) - f(x)[o]),
    ),
    (
        "you shuffle the features of each image. They are the third axis; images are the second: "
        "elements[:, order].",
        lambda f, x, o: _largest(f(x[:, :, o]) - f(x)[:, o]),
    ),
    (
        "you take the mean of the differences. A model that errs at one place only would look "
        "good: take the largest.",
        lambda f, x, o: (f(x[:, o]) - f(x)[:, o]).abs().mean().item(),
    ),
    (
        "you take the largest difference without its absolute value first: large negative ones "
        "are overlooked.",
        lambda f, x, o: (f(x[:, o]) - f(x)[:, o]).max().item(),
    ),
    (
        "you add the differences up without their absolute values, and they cancel.",
        lambda f, x, o: (f(x[:, o]) - f(x)[:, o]).sum().item(),
    ),
)


def _encoder(variant: str) -> Scorer:
    """A small set encoder whose (X)+, if it has one, has not stayed near its start."""
    state = torch.random.get_rng_state()
    try:
        config = SetConfig(d_model=16, n_layers=2, n_heads=2, n_features=6, max_seq_len=6)
        model = build_model(config.replace(variant=variant), seed=0).eval().requires_grad_(False)
        for parameter in model.parameters():
            parameter.add_(0.5 * torch.randn(parameter.shape))
    finally:
        torch.random.set_rng_state(state)
    return model


def shuffle_gap(fn: Callable[[Scorer, Tensor, Tensor], Any]) -> None:
    """Check a test of whether scores move with the elements of a set.

    Args:
        fn: Called as ``fn(model, elements, order)``: ``model(elements)`` gives scores of shape
            (B, N) for elements of shape (B, N, F), and ``order`` holds the places 0 to N - 1 in
            another order. It returns the largest difference between the scores of the shuffled set
            and the shuffled scores.

    Raises:
        CheckFailed: Naming the mistake, or the model for which the answer is wrong.
    """
    generator = torch.Generator().manual_seed(0)
    # As many sets as elements and features, so that a shuffle of another axis runs and is noticed.
    elements = torch.randn(6, 6, 6, generator=generator)
    order = torch.tensor([2, 0, 3, 5, 1, 4])
    place = torch.tensor([0.0, -9.0, 1.0, 2.0, 0.5, 1.5])
    cases: dict[str, Scorer] = {
        "a model that compares each element with the mean of its set": (
            lambda x: (x - x.mean(dim=1, keepdim=True)).norm(dim=-1)
        ),
        "a model that favours some places": lambda x: x.sum(dim=-1) + place,
        "a model that measures distance from the first element": (
            lambda x: (x - x[:, :1]).norm(dim=-1)
        ),
        "a set encoder QKV": _encoder("QKV"),
        "a set encoder (Q=K-V)+": _encoder("(Q=K-V)+"),
    }
    given, wanted = [], []
    for shown, model in cases.items():
        answer = call(fn, shown, model, elements.clone(), order.clone())
        if isinstance(answer, bool) or (isinstance(answer, Tensor) and answer.dtype == torch.bool):
            raise CheckFailed(
                "Your function says yes or no. Return the difference itself, a number: then one "
                "sees whether it is rounding or a real one."
            )
        given.append(number(answer, shown))
        wanted.append(_gap(model, elements, order))
    if not _all_close(given, wanted):
        for words, slip in _GAP_SLIPS:
            if _all_close(given, [slip(model, elements, order) for model in cases.values()]):
                raise CheckFailed(words[0].upper() + words[1:])
        for shown, g, w in zip(cases, given, wanted, strict=True):
            if abs(g - w) > _SAME:
                raise CheckFailed(
                    f"For {shown} your function gives {g:.4g}; the scores of the shuffled set and "
                    f"the shuffled scores differ by {w:.4g} at most."
                )
    print("Correct: zero for models that see a set, and not for those that see places.")


def _all_close(some: list[float], others: list[float]) -> bool:
    return all(abs(a - b) <= _SAME for a, b in zip(some, others, strict=True))


# By hand


def _to_others(similarity: Tensor) -> Tensor:
    """Mean similarity of each element to the others, (B, N) from (B, N, N)."""
    own = similarity.diagonal(dim1=1, dim2=2)
    return (similarity.sum(dim=-1) - own) / (similarity.shape[1] - 1)


def _dot(x: Tensor) -> Tensor:
    return x @ x.mT


def _cosine(x: Tensor) -> Tensor:
    return _dot(F.normalize(x, dim=-1))


_HAND_SLIPS: Final[tuple[tuple[str, Scorer], ...]] = (
    (
        "it is upside down: the element that is most like the others has the highest score. Turn "
        "the sign.",
        lambda x: _to_others(_dot(x)),
    ),
    (
        "it is upside down: the element that is most like the others has the highest score. Turn "
        "the sign.",
        lambda x: _to_others(_cosine(x)),
    ),
    (
        "each element is compared with itself as well. A long vector is very much like itself, "
        "and that hides how little it is like the others: take the diagonal out.",
        lambda x: -_dot(x).mean(dim=-1),
    ),
    (
        "you look at how much an element is like itself, the diagonal. Take what is off it.",
        lambda x: -_dot(x).diagonal(dim1=1, dim2=2),
    ),
    (
        "you normalise over the elements of a set. For a cosine each vector must have length 1: "
        "dim=-1.",
        lambda x: -_to_others(_dot(F.normalize(x, dim=1))),
    ),
)


def least_alike(fn: Scorer) -> None:
    """Check scores that find the odd one with nothing learned.

    Args:
        fn: Called as ``fn(elements)`` with shape (B, N, F). It returns scores (B, N), the higher
            the less an element is like the others of its set: by the mean of its dot products with
            them, or of the cosines. Scale and offset do not matter.

    Raises:
        CheckFailed: Naming the mistake, or a set in which the scores are in another order.
    """
    generator = torch.Generator().manual_seed(1)
    several = torch.randn(4, 10, 64, generator=generator) + 0.3
    several *= torch.linspace(0.5, 2, 10)[:, None]  # long and short vectors
    cases = {
        "4 sets of 10": several,
        "1 set of 5": torch.randn(1, 5, 8, generator=generator) + 0.5,
    }
    for shown, elements in cases.items():
        answer = call(fn, shown, elements.clone())
        scores = _standardised(_as_scores(answer, elements, shown))
        right = [-_to_others(similar(elements)) for similar in (_dot, _cosine)]
        if any(torch.allclose(scores, _standardised(each), atol=1e-3) for each in right):
            continue
        for words, slip in _HAND_SLIPS:
            if torch.allclose(scores, _standardised(slip(elements)), atol=1e-3):
                raise CheckFailed(f"For {shown}: {words}")
        raise CheckFailed(f"For {shown}: {_another_order(scores, right)}")
    print("Correct: the least alike has the highest score, and nothing was learned.")


def _standardised(scores: Tensor) -> Tensor:
    """Without scale and offset, set by set."""
    centred = scores - scores.mean(dim=1, keepdim=True)
    return centred / centred.std(dim=1, keepdim=True).clamp(min=1e-6)


def _as_scores(answer: Any, elements: Tensor, shown: str) -> Tensor:
    if not isinstance(answer, Tensor):
        raise CheckFailed(
            f"For {shown} your function returns {type(answer).__name__}; a tensor is expected."
        )
    b, n, _ = elements.shape
    if tuple(answer.shape) != (b, n):
        hints = {
            (b,): " Not which element it is, but a score for each: the arg-max comes later.",
            (b, n, n): " That is how alike each two are: take the mean over the last axis.",
        }
        raise CheckFailed(
            f"For {shown} your result has shape {tuple(answer.shape)}; expected (B, N) = "
            f"({b}, {n}), a score for each element.{hints.get(tuple(answer.shape), '')}"
        )
    scores = answer.detach().float()
    if not bool(scores.isfinite().all()):
        raise CheckFailed(f"For {shown} some scores are not finite.")
    if bool((scores.std(dim=1) < 1e-5).any()):
        raise CheckFailed(
            f"For {shown} all elements of a set have the same score. (Rows of a softmax always sum "
            "to one: take the similarities themselves.)"
        )
    return scores


def _another_order(scores: Tensor, right: list[Tensor]) -> str:
    for i, row in enumerate(scores):
        first = int(row.argmax())
        dot, cosine = (int(each[i].argmax()) for each in right)
        if first not in (dot, cosine):
            return (
                f"in set {i} your scores say element {first}. By mean dot product with the others "
                f"the least alike is element {dot}, by mean cosine element {cosine}."
            )
    return (
        "the same elements come first, but the scores are not in step with the mean similarity to "
        "the others. Take the mean of the dot products, or of the cosines, and turn the sign."
    )
