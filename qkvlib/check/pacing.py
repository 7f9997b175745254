"""Lesson 15: tokens per second from bytes, and how long a context may grow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from qkvlib.check.base import (
    CheckFailed,
    Mistake,
    call,
    close,
    compare_numbers,
    explain,
    not_yet,
    number,
)

_SpeedCase = tuple[float, float, int, float]
_ContextCase = tuple[float, float, float, float, float]


# Tokens per second


def _speed(weights: float, cache: float, users: int, bandwidth: float) -> float:
    return users * bandwidth / (weights + users * cache)


_SPEED_MISTAKES: Final = [
    Mistake(
        "that is how many tokens one user gets. A step makes a token for each user: all of them "
        "together are asked for",
        lambda w, c, n, b: b / (w + n * c),
    ),
    Mistake(
        "you read the weights once for every user. A step reads them once, for all",
        lambda w, c, n, b: n * b / (n * (w + c)),
    ),
    Mistake(
        "you read one cache for all users. Each has a cache of their own",
        lambda w, c, n, b: n * b / (w + c),
    ),
    Mistake(
        "the caches are missing: a step reads them whole",
        lambda w, c, n, b: n * b / w,
    ),
    Mistake(
        "the weights are missing: a step reads them too",
        lambda w, c, n, b: n * b / (n * c),
    ),
    Mistake(
        "you give seconds for each token; tokens per second are its inverse",
        lambda w, c, n, b: (w + n * c) / (n * b),
    ),
    Mistake(
        "you give the seconds of a step. In that time it makes a token for each user",
        lambda w, c, n, b: (w + n * c) / b,
    ),
]


def tokens_per_second(fn: Callable[[float, float, int, float], Any]) -> None:
    """Check a function that says how many tokens per second bytes allow, for all users together.

    Args:
        fn: Called as ``fn(weight_bytes, cache_bytes, users, bandwidth)``; ``cache_bytes`` are those
            of one user, ``bandwidth`` is in bytes per second.

    Raises:
        CheckFailed: Naming the mistake, or else the first case that differs.
    """
    cases: list[_SpeedCase] = [
        (600e6, 170e6, 1, 60e9),
        (600e6, 170e6, 16, 60e9),
        (2.4e9, 0.5e9, 8, 1.5e12),
        (50e6, 800e6, 3, 12e9),
    ]
    shown = [
        f"{w / 1e6:,.0f} MB of weights, {c / 1e6:,.0f} MB for each of {n} users, {b / 1e9:g} GB/s"
        for w, c, n, b in cases
    ]
    got = [number(call(fn, words, *case), words) for words, case in zip(shown, cases, strict=True)]
    wanted = [_speed(*case) for case in cases]
    if all(close(g, w) for g, w in zip(got, wanted, strict=True)):
        print(f"Correct in {len(cases)} cases.")
        return
    found = explain(got, cases, _SPEED_MISTAKES)
    raise not_yet(found, compare_numbers(got, wanted, shown, "tokens per second"))


# The longest context


def _by_memory(w: float, t: float, memory: float) -> float:
    return (memory - w) / t


def _by_time(w: float, t: float, bandwidth: float, slowest: float) -> float:
    return (bandwidth / slowest - w) / t


def _longest(w: float, t: float, m: float, b: float, s: float) -> float:
    return float(max(0, int(min(_by_memory(w, t, m), _by_time(w, t, b, s)))))


def _whole(context: float) -> float:
    return float(max(0, int(context)))


_CONTEXT_MISTAKES: Final = [
    Mistake(
        "you only ask whether it fits. It must be fast enough as well",
        lambda w, t, m, b, s: _whole(_by_memory(w, t, m)),
    ),
    Mistake(
        "you only ask whether it is fast enough. It must fit into memory as well",
        lambda w, t, m, b, s: _whole(_by_time(w, t, b, s)),
    ),
    Mistake(
        "both must hold, so the smaller of the two contexts counts",
        lambda w, t, m, b, s: _whole(max(_by_memory(w, t, m), _by_time(w, t, b, s))),
    ),
    Mistake(
        "the weights are missing: they lie in memory, and every step reads them",
        lambda w, t, m, b, s: _whole(min(m / t, b / s / t)),
    ),
    Mistake(
        "the weights are missing in the time: every step reads them",
        lambda w, t, m, b, s: _whole(min(_by_memory(w, t, m), b / s / t)),
    ),
    Mistake(
        "the weights are missing in memory: they lie there too",
        lambda w, t, m, b, s: _whole(min(m / t, _by_time(w, t, b, s))),
    ),
    Mistake(
        "a step may take 1 / slowest seconds, and reads bandwidth / slowest bytes in that time",
        lambda w, t, m, b, s: _whole(min(_by_memory(w, t, m), (b * s - w) / t)),
    ),
    Mistake(
        "you round to the nearest whole number: half of the time that is one token too many. Round "
        "down",
        lambda w, t, m, b, s: float(max(0, round(min(_by_memory(w, t, m), _by_time(w, t, b, s))))),
    ),
    Mistake(
        "where not even the weights fit, or are read in time, you give a negative number. Say 0",
        lambda w, t, m, b, s: float(int(min(_by_memory(w, t, m), _by_time(w, t, b, s)) // 1)),
    ),
]


def longest_context(fn: Callable[[float, float, float, float, float], Any]) -> None:
    """Check a function that says how long one user's context may be.

    Args:
        fn: Called as ``fn(weight_bytes, bytes_per_token, memory, bandwidth, slowest)``; ``slowest``
            is the least number of tokens per second that will do.

    Raises:
        CheckFailed: Naming the mistake, or else the first case that differs.
    """
    cases: list[_ContextCase] = [
        (2.4e9, 163_840, 8e9, 68e9, 5),
        (2.4e9, 180_224, 8e9, 68e9, 14),
        (0.6e9, 40_960, 64e9, 12e9, 0.5),
        (0.6e9, 2560, 1e9, 1.5e12, 100),
        (2.4e9, 90_112, 2e9, 68e9, 5),
        (2.4e9, 90_112, 8e9, 12e9, 10),
    ]
    shown = [
        f"{w / 1e9:g} GB of weights, {t:,.0f} bytes a token, {m / 1e9:g} GB of memory, "
        f"{b / 1e9:g} GB/s and at least {s:g} tokens/s"
        for w, t, m, b, s in cases
    ]
    got = [number(call(fn, words, *case), words) for words, case in zip(shown, cases, strict=True)]
    wanted = [_longest(*case) for case in cases]
    if all(close(g, w) for g, w in zip(got, wanted, strict=True)):
        print(f"Correct in {len(cases)} cases, also where no context will do.")
        return
    if all(int(g) == w for g, w in zip(got, wanted, strict=True)):
        raise CheckFailed("Tokens come whole: round down to a whole number, with int() or //.")
    rounded = [float(int(g)) if g > 0 else g for g in got]
    found = explain(rounded, cases, _CONTEXT_MISTAKES)
    # Whoever also lets the last cases go negative should hear of the greater mistake first.
    found = found or explain(rounded[:4], cases[:4], _CONTEXT_MISTAKES)
    raise not_yet(found, compare_numbers(got, wanted, shown, "tokens"))
