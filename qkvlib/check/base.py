"""What every check needs: to run an answer, to compare it, and to find words for a mistake."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, Final

import torch
from torch import Tensor


class CheckFailed(AssertionError):  # noqa: N818  # a learner reads this name; "Error" would scold
    """An answer is not right yet; the message says what is wrong with it."""

    def _render_traceback_(self) -> list[str]:
        # IPython asks for this: a wrong answer is no crash, so the message is enough.
        return [f"Not yet. {self}"]


# Running and comparing


ENOUGH: Final = 1e-5
"""Relative difference up to which an answer that was worked out in float32 is right."""


def call(fn: Callable[..., Any], shown: str, *args: Any, fills: Sequence[int] = ()) -> Any:
    """Run the learner's function; turn what goes wrong inside into words.

    Args:
        fn: The function.
        shown: What it is called with, in words.
        args: What it is called with.
        fills: Places of the arguments that it is asked to change.
    """
    if not callable(fn):
        raise CheckFailed(
            f"The check needs your function itself, not {type(fn).__name__}: write its name "
            "without brackets."
        )
    try:
        inspect.signature(fn).bind(*args)
    except TypeError as error:
        raise CheckFailed(
            f"Your function cannot be called with {len(args)} arguments: {error}. Keep the first "
            "line of the exercise as it was."
        ) from None
    except ValueError:  # built-in without a signature: calling it will tell
        pass
    before = {i: _copied(each) for i, each in enumerate(args) if i not in fills}
    try:
        result = fn(*args)
    except NotImplementedError:
        raise CheckFailed("Your turn: the function is still empty.") from None
    except Exception as error:
        where = error.__traceback__
        # A decorator, such as torch.no_grad(), stands before the function itself.
        own = getattr(inspect.unwrap(fn), "__code__", None)
        while where is not None and where.tb_frame.f_code is not own:
            where = where.tb_next
        line = "" if where is None else f" (line {where.tb_lineno} of its cell)"
        what = f"{type(error).__name__}: {error}"
        raise CheckFailed(f"Your function stopped for {shown}{line}: {what}") from None
    for i, copy in before.items():
        if not _is_still(args[i], copy):
            raise CheckFailed(
                f"Your function changes {_name_of(fn, i)} for {shown}, and whoever called it may "
                "need that again. Make something new of it: x = x + y, not x += y; and what is "
                "written into x[i], into a copy: x = x.clone()."
            )
    if result is None or result is ...:
        raise CheckFailed(
            "Your function returns nothing yet. Is there a `return` in front of the result?"
        )
    return result


def _copied(value: Any) -> Any:
    """What an argument was: tensors by their numbers, also those in tables and lists."""
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, Mapping):
        return {key: _copied(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_copied(each) for each in value]
    return value


def _is_still(value: Any, copy: Any) -> bool:
    if isinstance(copy, Tensor):
        same = isinstance(value, Tensor) and value.shape == copy.shape
        return same and torch.equal(value.nan_to_num(), copy.nan_to_num())
    if isinstance(copy, dict):
        return list(value) == list(copy) and all(_is_still(value[k], copy[k]) for k in copy)
    if isinstance(copy, list):
        return len(value) == len(copy) and all(map(_is_still, value, copy))
    return True  # nothing else that is handed out can be changed


def _name_of(fn: Callable[..., Any], place: int) -> str:
    names = list(inspect.signature(fn).parameters)
    return f"its argument {names[place]!r}" if place < len(names) else "what it is given"


def number(value: Any, shown: str) -> float:
    if isinstance(value, Tensor) and value.numel() == 1:
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, Real):
        raise CheckFailed(
            f"Your function returns {type(value).__name__} for {shown}; a number is expected."
        )
    if not math.isfinite(value):
        raise CheckFailed(
            f"Your function returns {float(value)} for {shown}; a finite number is expected. Look "
            "for a division by zero, or a logarithm of it."
        )
    return float(value)


def as_tensor(
    value: Any,
    shown: str,
    shape: tuple[int, ...],
    axes: str,
    *,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """The answer as a tensor of the shape that is expected; ``axes`` says what that stands for."""
    try:
        found = torch.as_tensor(value).detach().to(dtype)
    except (TypeError, ValueError, RuntimeError):
        raise CheckFailed(
            f"For {shown} your function returns {type(value).__name__}; a tensor is expected."
        ) from None
    if tuple(found.shape) != shape:
        raise CheckFailed(
            f"For {shown} the result has shape {tuple(found.shape)}; expected {shape}: {axes}."
        )
    return found


EXACT: Final = 1e-9
"""Relative difference up to which two numbers are the same, where nothing else is said."""


def close(a: float, b: float, rel: float = EXACT) -> bool:
    return abs(a - b) <= rel * max(abs(a), abs(b))


@dataclass(frozen=True)
class Mistake:
    """A typical wrong answer: what it computes, and what to say about it."""

    words: str
    answer: Callable[..., float]


def explain(
    got: Sequence[float],
    cases: Sequence[tuple[Any, ...]],
    mistakes: Sequence[Mistake],
    rel: float = EXACT,
) -> str | None:
    """Words of the first mistake that gives exactly the learner's answers in every case."""
    for mistake in mistakes:
        if all(close(g, mistake.answer(*case), rel) for g, case in zip(got, cases, strict=True)):
            return mistake.words
    return None


def not_yet(found: str | None, first: str) -> CheckFailed:
    """The mistake, if one was found, and then the first case that differs."""
    return CheckFailed(first if found is None else f"{found[0].upper()}{found[1:]}. {first}")


def compare_numbers(
    got: Sequence[float],
    wanted: Sequence[float],
    shown: Sequence[str],
    unit: str,
    rel: float = EXACT,
) -> str:
    """Words for the first case that differs, for when no typical mistake explains it."""
    for g, w, case in zip(got, wanted, shown, strict=True):
        if not close(g, w, rel):
            factor = f"{g / w:.4g}" if w else "1"
            times = "" if factor == "1" else f", {factor} times what it is"
            right = sum(close(a, b, rel) for a, b in zip(got, wanted, strict=True))
            return (
                f"For {case} your function gives {g:,.6g} {unit}{times}: it should be {w:,.6g}. "
                f"({right} of {len(got)} cases are right.)"
            )
    return ""
