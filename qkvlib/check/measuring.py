"""Lesson 12: units of a loss, and what padding takes off a perplexity."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

from qkvlib.check.base import (
    ENOUGH,
    Mistake,
    call,
    close,
    compare_numbers,
    explain,
    not_yet,
    number,
)


def _judge(
    fn: Callable[..., Any],
    cases: Sequence[tuple[float, ...]],
    shown: Sequence[str],
    right: Callable[..., float],
    mistakes: Sequence[Mistake],
    unit: str,
) -> None:
    got = [number(call(fn, words, *case), words) for words, case in zip(shown, cases, strict=True)]
    wanted = [right(*case) for case in cases]
    if all(close(g, w, ENOUGH) for g, w in zip(got, wanted, strict=True)):
        return
    found = explain(got, cases, mistakes, ENOUGH)
    raise not_yet(found, compare_numbers(got, wanted, shown, unit, ENOUGH))


# Bits per byte

_BITS_CASES: Final = ((math.log(2), 1.0), (3.058, 4.4), (1.5, 1.0), (6.2, 3.1))


def _bits(loss: float, width: float) -> float:
    return loss / (math.log(2) * width)


_BITS_MISTAKES: Final = [
    Mistake(
        "that is still in nats: a bit is ln 2 of a nat, so divide by math.log(2)",
        lambda loss, width: loss / width,
    ),
    Mistake(
        "you forgot the bytes: these are bits per token, the slip that lesson 12 finds on a model "
        "card",
        lambda loss, width: loss / math.log(2),
    ),
    Mistake(
        "you multiplied by the bytes per token: the loss of one token is spread over its bytes, so "
        "divide",
        lambda loss, width: loss / math.log(2) * width,
    ),
    Mistake(
        "you multiplied by ln 2: a nat is more than a bit, so there are more bits than nats. "
        "Divide by math.log(2)",
        lambda loss, width: loss * math.log(2) / width,
    ),
    Mistake(
        "you took the logarithm of the loss; the loss is a logarithm already",
        lambda loss, width: math.log2(loss) / width,
    ),
    Mistake(
        "you divided by the decimal logarithm of 2; the loss is in nats, so take math.log(2)",
        lambda loss, width: loss / (math.log10(2) * width),
    ),
    Mistake(
        "that is the perplexity per byte; bits are asked for, with no exponential",
        lambda loss, width: math.exp(loss / width),
    ),
    Mistake(
        "that is the perplexity per token; bits per byte need no exponential",
        lambda loss, width: math.exp(loss),
    ),
]


def bits_per_byte(fn: Callable[[float, float], Any]) -> None:
    """Check a function that turns a loss per token into bits per byte.

    Args:
        fn: Called as ``fn(loss_per_token, bytes_per_token)``, the loss in nats.

    Raises:
        CheckFailed: Naming the mistake, or else the first case that differs.
    """
    shown = [
        f"a loss of {loss:.4g} nats and {width:g} bytes per token" for loss, width in _BITS_CASES
    ]
    _judge(fn, _BITS_CASES, shown, _bits, _BITS_MISTAKES, "bits per byte")
    print(f"Correct in {len(_BITS_CASES)} cases, whatever a token is.")


# Padding

_PAD_CASES: Final = (
    (5.11, 0.0, 0.0),
    (5.11, 0.5, 0.0),
    (3.0, 0.25, 0.02),
    (6.41, 0.4, 0.1),
    (20.0, 0.1, 1.5),
)


def _unpadded(reported: float, share: float, padding: float) -> float:
    return math.exp((math.log(reported) - share * padding) / (1 - share))


_PAD_MISTAKES: Final = [
    Mistake(
        "you averaged perplexities: it is the losses, their logarithms, whose mean is taken",
        lambda p, s, pad: (p - s * math.exp(pad)) / (1 - s),
    ),
    Mistake(
        "padding is not free here: share * padding_loss is part of the reported loss",
        lambda p, s, pad: p ** (1 / (1 - s)),
    ),
    Mistake(
        "you took the whole padding_loss off; only a share of the targets is padding",
        lambda p, s, pad: math.exp((math.log(p) - pad) / (1 - s)),
    ),
    Mistake(
        "padding's part was added; it is in the reported loss already, so take it off",
        lambda p, s, pad: math.exp((math.log(p) + s * pad) / (1 - s)),
    ),
    Mistake(
        "you divided first; take padding's part off the reported loss, then divide",
        lambda p, s, pad: math.exp(math.log(p) / (1 - s) - s * pad),
    ),
    Mistake(
        "padding's part is off, but what is left is (1 - share) times the loss of the text: divide",
        lambda p, s, pad: math.exp(math.log(p) - s * pad),
    ),
    Mistake(
        "you divided the perplexity by the share of text; it is the loss that is diluted, "
        "math.log(reported)",
        lambda p, s, pad: p / (1 - s),
    ),
    Mistake(
        "the wrong way round: that is what padding would make of a perplexity without padding",
        lambda p, s, pad: math.exp((1 - s) * math.log(p) + s * pad),
    ),
    Mistake(
        "that is the loss of the text in nats; take math.exp of it",
        lambda p, s, pad: (math.log(p) - s * pad) / (1 - s),
    ),
    Mistake("the share is missing: that is what was reported", lambda p, s, pad: p),
]


def unpadded_perplexity(fn: Callable[[float, float, float], Any]) -> None:
    """Check a function that takes the padding out of a reported perplexity.

    Args:
        fn: Called as ``fn(reported, share, padding_loss)``, with the share of targets that are
            padding, from 0 to below 1, and the mean loss of those, in nats.

    Raises:
        CheckFailed: Naming the mistake, or else the first case that differs.
    """
    shown = [
        f"a perplexity of {p:g} with {100 * s:g} % padding at {pad:g} nats"
        for p, s, pad in _PAD_CASES
    ]
    _judge(fn, _PAD_CASES, shown, _unpadded, _PAD_MISTAKES, "perplexity")
    print(f"Correct in {len(_PAD_CASES)} cases.")
