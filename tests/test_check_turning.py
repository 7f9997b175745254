"""The checks of lesson 14: right answers of several styles pass, each mistake is recognised."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from qkvlib import Rotary, check
from qkvlib.check import CheckFailed


def parts(x: Any, positions: Any, base: float, exponent: float = -2.0) -> Any:
    width = x.shape[-1]
    speed = base ** (exponent * torch.arange(width // 2) / width)
    angle = positions[:, None] * speed
    return *x.chunk(2, dim=-1), angle.cos(), angle.sin()


def plainly(x: Any, positions: Any, base: float) -> Any:
    a, b, cos, sin = parts(x, positions, base)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


def by_complex_numbers(x: Any, positions: Any, base: float) -> Any:
    half = x.shape[-1] // 2
    pairs = torch.complex(x[..., :half], x[..., half:])
    speed = base ** (-torch.arange(half) / half)
    turned = pairs * torch.polar(torch.ones(()), positions[:, None] * speed)
    return torch.cat([turned.real, turned.imag], dim=-1)


def by_the_library(x: Any, positions: Any, base: float) -> Any:
    rotary = Rotary(x.shape[-1], 128, base)
    rows = [rotary.turn(x[..., [i], :], int(p)) for i, p in enumerate(positions)]
    return torch.cat(rows, dim=-2).tolist()


@pytest.mark.parametrize("answer", [plainly, by_complex_numbers])
def test_right_turns_pass(answer: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    check.turn(answer)
    assert "Correct in 3 cases" in capsys.readouterr().out


def test_the_librarys_own_turning_is_what_is_asked_for() -> None:
    check.turn(lambda x, p, base: torch.tensor(by_the_library(x, p, base)))


def joined(make: Callable[..., Any]) -> Callable[..., Any]:
    def answer(x: Any, positions: Any, base: float) -> Any:
        return torch.cat(make(*parts(x, positions, base)), dim=-1)

    return answer


def with_exponent(exponent: float) -> Callable[..., Any]:
    def answer(x: Any, positions: Any, base: float) -> Any:
        a, b, cos, sin = parts(x, positions, base, exponent)
        return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)

    return answer


def neighbours(x: Any, positions: Any, base: float, *, halves: bool) -> Any:
    speed = base ** (-torch.arange(0, x.shape[-1], 2) / x.shape[-1])
    cos, sin = (positions[:, None] * speed).cos(), (positions[:, None] * speed).sin()
    a, b = x[..., 0::2], x[..., 1::2]
    both = [a * cos - b * sin, a * sin + b * cos]
    return torch.cat(both, dim=-1) if halves else torch.stack(both, dim=-1).flatten(-2)


def along_the_wrong_axis(x: Any, positions: Any, base: float) -> Any:
    speed = base ** (-torch.arange(0, x.shape[-1], 2) / x.shape[-1])
    angle = speed[:, None] * positions
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], -1)


def counted_from_one(x: Any, positions: Any, base: float) -> Any:
    half = x.shape[-1] // 2
    angle = positions[:, None] * base ** (-torch.arange(1, half + 1) / half)
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], -1)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda x, p, b: neighbours(x, p, b, halves=False), "your pairs are neighbouring columns"),
        (lambda x, p, b: neighbours(x, p, b, halves=True), "put the results back as halves"),
        (lambda x, p, b: plainly(x, -p, b), "you turn backwards"),
        (joined(lambda a, b, c, s: [a * c + b * s, a * s - b * c]), "a mirror, not a turn"),
        (joined(lambda a, b, c, s: [a * c - b * s, a * s - b * c]), "sign in the second half"),
        (joined(lambda a, b, c, s: [a * c + b * s, a * s + b * c]), "sign in the first half"),
        (joined(lambda a, b, c, s: [a * s - b * c, a * c + b * s]), "the angle is 0, its cosine 1"),
        (joined(lambda a, b, c, s: [a * c - b * s, a * c + b * s]), "in the second half sine"),
        (joined(lambda a, b, c, s: [a * c - b * s, b]), "only the first half turns"),
        (joined(lambda a, b, c, s: [a * s + b * c, a * c - b * s]), "changed places in the result"),
        (along_the_wrong_axis, "along the wrong axis"),
        (lambda x, p, b: plainly(x, torch.arange(len(p)), b), "Use the positions that are given"),
        (with_exponent(-1.0), "half as fast"),
        (with_exponent(-4.0), "twice as fast"),
        (with_exponent(2.0), "They fall"),
        (with_exponent(0.0), "the same speed"),
        (counted_from_one, "count pairs from 1"),
        (lambda x, p, b: x + 1, "at position 0 has changed"),
        (joined(lambda a, b, c, s: [a * c, b * c]), "longer or shorter"),
        (lambda x, p, b: plainly(x, 3 * p, b), r"position 3 is off in column 0 \(the pair 0, 4\)"),
        (lambda x, p, b: x.mT, r"shape \(8, 4\); expected \(4, 8\)"),
        (lambda x, p, b: "turned", "returns str; a tensor is expected"),
        (lambda x, p, b: None, "returns nothing yet"),
        (lambda x, p: x, "cannot be called with 3 arguments"),
    ],
)
def test_mistakes_in_turning_are_named(answer: Any, words: str) -> None:
    with pytest.raises(CheckFailed, match=words):
        check.turn(answer)


def by_solving(w_k: Any, b_k: Any, w_v: Any, b_v: Any) -> Any:
    matrix = torch.linalg.solve(w_k.T, w_v.T)
    return matrix, b_v - b_k @ matrix


def by_inverting(w_k: Any, b_k: Any, w_v: Any, b_v: Any) -> Any:
    matrix = (w_v @ w_k.inverse()).T
    return [matrix.numpy(), b_v - matrix.T @ b_k]


@pytest.mark.parametrize("answer", [by_solving, by_inverting])
def test_right_rebuildings_pass(
    answer: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    check.rebuild(answer)
    assert "every value follows from its key" in capsys.readouterr().out


def test_what_is_asked_for_is_true_of_linear_layers() -> None:
    k, v = nn.Linear(6, 6), nn.Linear(6, 6)
    x = torch.randn(3, 6)
    matrix, offset = by_solving(k.weight, k.bias, v.weight, v.bias)
    torch.testing.assert_close(k(x) @ matrix + offset, v(x), rtol=0, atol=1e-3)


def answering(matrix: Callable[..., Any], offset: Callable[..., Any] | None = None) -> Any:
    def answer(w_k: Any, b_k: Any, w_v: Any, b_v: Any) -> Any:
        m = matrix(w_k, w_v)
        return m, (b_v - b_k @ m if offset is None else offset(m, b_k, b_v))

    return answer


def right(w_k: Any, w_v: Any) -> Any:
    return w_k.T.inverse() @ w_v.T


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (answering(lambda k, v: k.inverse() @ v), "x @ weight.T"),
        (answering(lambda k, v: v.T @ k.T.inverse()), "the factors have changed places"),
        (answering(lambda k, v: v @ k.inverse()), "on the left of a column vector"),
        (answering(lambda k, v: v.T.inverse() @ k.T), "makes keys from values"),
        (answering(lambda k, v: k.T @ v.T), "nothing is undone"),
        (answering(lambda k, v: k.T.inverse()), "gives x back from k"),
        (answering(lambda k, v: 2 * right(k, v)), "differs from W_K⁻¹ W_V by 1 of its size"),
        (answering(right, lambda m, b_k, b_v: b_v), "taken off before the matrix"),
        (answering(right, lambda m, b_k, b_v: b_v - b_k), "goes through the matrix"),
        (answering(right, lambda m, b_k, b_v: b_v + b_k @ m), "must come off"),
        (answering(right, lambda m, b_k, b_v: b_k @ m - b_v), "sign of the whole offset"),
        (answering(right, lambda m, b_k, b_v: -b_k @ m), "b_v is missing"),
        (answering(right, lambda m, b_k, b_v: b_v - m @ b_k), "vectors are rows here"),
        (answering(right, lambda m, b_k, b_v: 0 * b_v), "the biases are lost"),
        (answering(right, lambda m, b_k, b_v: 2 * b_v), r"b_k @ matrix \+ offset should be b_v"),
        (
            answering(lambda k, v: right(k, v)[:3], lambda m, b_k, b_v: b_v),
            r"shape \(3, 4\); expected \(4, 4\)",
        ),
        (lambda *weights: weights[0], "returns Tensor; two things are expected"),
        (lambda *weights: None, "returns nothing yet"),
    ],
)
def test_mistakes_in_rebuilding_are_named(answer: Any, words: str) -> None:
    with pytest.raises(CheckFailed, match=words):
        check.rebuild(answer)


def test_a_check_does_not_change_what_it_hands_out() -> None:
    def greedy(x: Any, positions: Any, base: float) -> Any:
        turned = plainly(x, positions, base)
        x.zero_()
        positions.zero_()
        return turned

    with pytest.raises(CheckFailed, match="changes its argument 'x'"):
        check.turn(greedy)
    check.turn(plainly)
