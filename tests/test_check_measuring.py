"""Checks of lesson 12: right answers of several styles pass, each typical mistake has its words."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from qkvlib import check
from qkvlib.check import CheckFailed


def fails(run: Callable[..., None], answer: Any, words: str) -> None:
    with pytest.raises(CheckFailed) as caught:
        run(answer)
    assert words in str(caught.value), str(caught.value)


@pytest.mark.parametrize(
    "answer",
    [
        lambda loss, width: loss / math.log(2) / width,
        lambda loss, width: math.log2(math.exp(loss)) / width,
        lambda loss, width: torch.tensor(loss, dtype=torch.float64) / (math.log(2) * width),
    ],
)
def test_bits_per_byte_takes_every_right_answer(
    answer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    check.bits_per_byte(answer)
    assert "Correct in 4 cases" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda loss, width: loss / width, "still in nats"),
        (lambda loss, width: loss / math.log(2), "bits per token"),
        (lambda loss, width: loss / math.log(2) * width, "multiplied by the bytes"),
        (lambda loss, width: loss * math.log(2) / width, "multiplied by ln 2"),
        (lambda loss, width: math.log2(loss) / width, "a logarithm already"),
        (lambda loss, width: loss / math.log10(2) / width, "decimal logarithm"),
        (lambda loss, width: math.exp(loss / width), "perplexity per byte"),
        (lambda loss, width: math.exp(loss), "perplexity per token"),
        (lambda loss, width: 1.0, "3.058 nats and 4.4 bytes"),
        (lambda loss, width: None, "returns nothing yet"),
        (lambda loss, width: math.nan, "returns nan for a loss of"),
        (lambda loss, width: math.inf, "a finite number is expected"),
        (lambda loss, width: "1", "returns str"),
        (lambda loss: loss, "cannot be called with 2 arguments"),
    ],
)
def test_bits_per_byte_names_the_mistake(answer: Any, words: str) -> None:
    fails(check.bits_per_byte, answer, words)


@pytest.mark.parametrize(
    "answer",
    [
        lambda p, s, pad: math.exp((math.log(p) - s * pad) / (1 - s)),
        lambda p, s, pad: (p / math.exp(s * pad)) ** (1 / (1 - s)),
        lambda p, s, pad: torch.exp((torch.tensor(p).log() - s * pad) / (1 - s)),  # in float32
    ],
)
def test_unpadded_perplexity_takes_every_right_answer(
    answer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    check.unpadded_perplexity(answer)
    assert "Correct in 5 cases" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda p, s, pad: (p - s * math.exp(pad)) / (1 - s), "averaged perplexities"),
        (lambda p, s, pad: p ** (1 / (1 - s)), "is not free here"),
        (lambda p, s, pad: math.exp((math.log(p) - pad) / (1 - s)), "the whole padding_loss"),
        (lambda p, s, pad: math.exp((math.log(p) + s * pad) / (1 - s)), "part was added"),
        (lambda p, s, pad: math.exp(math.log(p) / (1 - s) - s * pad), "divided first; take"),
        (lambda p, s, pad: math.exp(math.log(p) - s * pad), "times the loss of the text: divide"),
        (lambda p, s, pad: p / (1 - s), "it is the loss that is diluted, math.log"),
        (lambda p, s, pad: math.exp((1 - s) * math.log(p) + s * pad), "wrong way round"),
        (lambda p, s, pad: (math.log(p) - s * pad) / (1 - s), "take math.exp"),
        (lambda p, s, pad: p, "share is missing"),
        (lambda p, s, pad: p**2, "5.11 with 0 % padding"),
        (lambda p, s, pad: 1 / s, "ZeroDivisionError"),
        (3, "your function itself"),
    ],
)
def test_unpadded_perplexity_names_the_mistake(answer: Any, words: str) -> None:
    fails(check.unpadded_perplexity, answer, words)
