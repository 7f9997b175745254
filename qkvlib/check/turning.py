"""Lesson 14: vectors that turn with their position, and values rebuilt from keys."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor

from qkvlib.check.base import CheckFailed, as_tensor, call

Turn = Callable[[Tensor, Tensor, float], Tensor]
Weights = tuple[Tensor, Tensor, Tensor, Tensor]

_TOLERANCE: Final = 1e-4


_as_double = functools.partial(as_tensor, dtype=torch.float64)


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, rtol=0, atol=_TOLERANCE)


# Turning


def _speeds(width: int, base: float, *, factor: float = 2.0, first: int = 0) -> Tensor:
    pair = torch.arange(width // 2, dtype=torch.float64) + first
    return base ** (-factor * pair / width)


def _angles(x: Tensor, positions: Tensor, base: float, **speeds: Any) -> Tensor:
    """Shape (T, D / 2)."""
    return positions.double()[:, None] * _speeds(x.shape[-1], base, **speeds)


def _by(x: Tensor, angle: Tensor) -> Tensor:
    a, b = x.double().chunk(2, dim=-1)
    cos, sin = angle.cos(), angle.sin()
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


def _turn(x: Tensor, positions: Tensor, base: float) -> Tensor:
    return _by(x, _angles(x, positions, base))


def _parts(x: Tensor, positions: Tensor, base: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    angle = _angles(x, positions, base)
    a, b = x.double().chunk(2, dim=-1)
    return a, b, angle.cos(), angle.sin()


def _neighbours(x: Tensor, positions: Tensor, base: float) -> Tensor:
    """Columns 0 and 1 are a pair, 2 and 3, …"""
    angle = _angles(x, positions, base)
    a, b = x.double()[..., 0::2], x.double()[..., 1::2]
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1).flatten(-2)


def _neighbours_apart(x: Tensor, positions: Tensor, base: float) -> Tensor:
    """The same pairs, put back as halves."""
    joined = _neighbours(x, positions, base)
    return torch.cat([joined[..., 0::2], joined[..., 1::2]], dim=-1)


def _mirrored(x: Tensor, positions: Tensor, base: float) -> Tensor:
    a, b, cos, sin = _parts(x, positions, base)
    return torch.cat([a * cos + b * sin, a * sin - b * cos], dim=-1)


def _wrong_sign(x: Tensor, positions: Tensor, base: float) -> Tensor:
    a, b, cos, sin = _parts(x, positions, base)
    return torch.cat([a * cos - b * sin, a * sin - b * cos], dim=-1)


def _both_plus(x: Tensor, positions: Tensor, base: float) -> Tensor:
    a, b, cos, sin = _parts(x, positions, base)
    return torch.cat([a * cos + b * sin, a * sin + b * cos], dim=-1)


def _exchanged(x: Tensor, positions: Tensor, base: float) -> Tensor:
    a, b, cos, sin = _parts(x, positions, base)
    return torch.cat([a * sin - b * cos, a * cos + b * sin], dim=-1)


def _second_as_first(x: Tensor, positions: Tensor, base: float) -> Tensor:
    a, b, cos, sin = _parts(x, positions, base)
    return torch.cat([a * cos - b * sin, a * cos + b * sin], dim=-1)


def _first_half_only(x: Tensor, positions: Tensor, base: float) -> Tensor:
    turned, _ = _turn(x, positions, base).chunk(2, dim=-1)
    return torch.cat([turned, x.double().chunk(2, dim=-1)[1]], dim=-1)


def _halves_exchanged(x: Tensor, positions: Tensor, base: float) -> Tensor:
    first, second = _turn(x, positions, base).chunk(2, dim=-1)
    return torch.cat([second, first], dim=-1)


def _wrong_axis(x: Tensor, positions: Tensor, base: float) -> Tensor:
    angle = _angles(x, positions, base)
    # Only where there are as many positions as pairs does the mistake run at all.
    return _by(x, angle.T) if angle.shape[0] == angle.shape[1] else torch.zeros(0)


def _with_speeds(**speeds: Any) -> Turn:
    return lambda x, positions, base: _by(x, _angles(x, positions, base, **speeds))


_PAIR: Final = "column c and column c + D/2 are a pair"

_TURN_MISTAKES: Final[list[tuple[str, Turn]]] = [
    (
        f"your pairs are neighbouring columns, 0 with 1, 2 with 3. Here {_PAIR}: "
        "x.chunk(2, dim=-1)",
        _neighbours,
    ),
    (
        f"you pair column 0 with 1, 2 with 3, and put the results back as halves. Here {_PAIR}, "
        "going in and coming out: x.chunk(2, dim=-1)",
        _neighbours_apart,
    ),
    (
        "you turn backwards: the sign of the sine is wrong in both halves. It is a cos - b sin, "
        "and a sin + b cos",
        lambda x, positions, base: _turn(x, -positions, base),
    ),
    (
        "that is a mirror, not a turn: it is a cos - b sin in the first half, a sin + b cos in the "
        "second",
        _mirrored,
    ),
    ("the sign in the second half is wrong: a sin + b cos", _wrong_sign),
    ("the sign in the first half is wrong: a cos - b sin", _both_plus),
    (
        "sine and cosine have changed places: at position 0 the angle is 0, its cosine 1, and "
        "nothing turns",
        _exchanged,
    ),
    (
        "in the second half sine and cosine have changed places: a sin + b cos",
        _second_as_first,
    ),
    ("only the first half turns. Of a pair both change", _first_half_only),
    ("the two halves have changed places in the result", _halves_exchanged),
    (
        "the angles lie along the wrong axis. They need a row for each position and a column for "
        "each pair: positions[:, None] * speed",
        _wrong_axis,
    ),
    (
        "your first vector is taken to be at position 0, the next at 1. Use the positions that are "
        "given",
        lambda x, positions, base: _turn(x, torch.arange(len(positions)), base),
    ),
    ("your speeds fall half as fast as they should: base ** (-2 c / D)", _with_speeds(factor=1.0)),
    ("your speeds fall twice as fast as they should: base ** (-2 c / D)", _with_speeds(factor=4.0)),
    (
        "your speeds rise with c. They fall: base ** (-2 c / D), with a minus",
        _with_speeds(factor=-2.0),
    ),
    (
        "all your pairs turn at the same speed. Pair c turns by position * base ** (-2 c / D)",
        _with_speeds(factor=0.0),
    ),
    ("you count pairs from 1. The first pair is c = 0, and its speed is 1", _with_speeds(first=1)),
]


def _turn_cases() -> list[tuple[str, Tensor, Tensor, float]]:
    generator = torch.Generator().manual_seed(0)

    def case(
        shape: tuple[int, ...], positions: list[int], base: float
    ) -> tuple[str, Tensor, Tensor, float]:
        shown = f"x of shape {shape} at positions {positions}, base={base:g}"
        return shown, torch.randn(shape, generator=generator), torch.tensor(positions), base

    return [
        # As many positions as pairs, so that angles along the wrong axis fit.
        case((4, 8), [0, 3, 1, 7], 100.0),
        case((2, 3, 5, 6), [2, 3, 4, 5, 6], 10_000.0),
        case((1, 2), [11], 10.0),
    ]


def turn(fn: Callable[[Tensor, Tensor, float], Any]) -> None:
    """Check a function that turns vectors by their positions.

    Args:
        fn: Called as ``fn(x, positions, base)`` with x of shape (…, T, D), positions of shape (T,)
            and a number, it returns a tensor of the shape of x: column c and column c + D/2 are
            turned together, by ``position * base ** (-2 c / D)``.

    Raises:
        CheckFailed: Naming the mistake: pairs, sign, axis, speeds, positions that are not used.
    """
    cases = _turn_cases()
    for shown, x, positions, base in cases:
        answer = call(fn, shown, x.clone(), positions.clone(), base)
        got = _as_double(answer, shown, tuple(x.shape), "as x, for only directions change")
        wanted = _turn(x, positions, base)
        if _same(got, wanted):
            continue
        for words, mistake in _TURN_MISTAKES:
            if _same(got, mistake(x, positions, base)):
                raise CheckFailed(f"For {shown}: {words}.")
        raise CheckFailed(f"For {shown}: {_what_differs(got, wanted, x, positions)}")
    print(f"Correct in {len(cases)} cases: lengths stay, and at position 0 nothing turns.")


def _what_differs(got: Tensor, wanted: Tensor, x: Tensor, positions: Tensor) -> str:
    at_zero = positions == 0
    if at_zero.any() and not _same(got[..., at_zero, :], x[..., at_zero, :].double()):
        return "a vector at position 0 has changed. Its angle is 0, so it stays as it is."
    if not _same(got.norm(dim=-1), x.double().norm(dim=-1)):
        return (
            "some vectors have become longer or shorter. A turn keeps lengths: of each pair a, b "
            "it makes a cos - b sin and a sin + b cos."
        )
    first = [int(i) for i in ((got - wanted).abs() > _TOLERANCE).nonzero()[0]]
    half = x.shape[-1] // 2
    pair = first[-1] % half
    return (
        f"lengths stay, but the vector at position {int(positions[first[-2]])} is off in column "
        f"{first[-1]} (the pair {pair}, {pair + half}): it is {got[tuple(first)].item():.3f}, and "
        f"should be {wanted[tuple(first)].item():.3f}."
    )


# Rebuilding


def _rebuild(w_k: Tensor, b_k: Tensor, w_v: Tensor, b_v: Tensor) -> tuple[Tensor, Tensor]:
    matrix = torch.linalg.solve(w_k.T, w_v.T)
    return matrix, b_v - b_k @ matrix


_MATRIX_MISTAKES: Final[list[tuple[str, Callable[[Tensor, Tensor], Tensor]]]] = [
    (
        "nn.Linear computes x @ weight.T, so the matrices that x is multiplied by are w_k.T and "
        "w_v.T",
        lambda w_k, w_v: torch.linalg.inv(w_k) @ w_v,
    ),
    (
        "the factors have changed places. k @ inverse gives x back, and x goes through w_v.T: "
        "inverse first",
        lambda w_k, w_v: w_v.T @ torch.linalg.inv(w_k.T),
    ),
    (
        "this matrix stands on the left of a column vector, weight @ x. Here vectors are rows, "
        "k @ matrix: transpose it",
        lambda w_k, w_v: w_v @ torch.linalg.inv(w_k),
    ),
    (
        "this makes keys from values. It is W_K that has to be undone",
        lambda w_k, w_v: torch.linalg.inv(w_v.T) @ w_k.T,
    ),
    (
        "nothing is undone here: multiply by the inverse of w_k.T, or use torch.linalg.solve",
        lambda w_k, w_v: w_k.T @ w_v.T,
    ),
    (
        "this gives x back from k. From x on it is one more step, w_v.T",
        lambda w_k, w_v: torch.linalg.inv(w_k.T),
    ),
]

_OFFSET_MISTAKES: Final[list[tuple[str, Callable[[Tensor, Tensor, Tensor], Tensor]]]] = [
    (
        "the bias of the keys must be taken off before the matrix undoes them: what it makes of "
        "b_k comes off b_v",
        lambda matrix, b_k, b_v: b_v,
    ),
    (
        "b_k goes through the matrix like the rest of k: b_v - b_k @ matrix",
        lambda matrix, b_k, b_v: b_v - b_k,
    ),
    (
        "the sign of what becomes of b_k is wrong: it is in k, and must come off",
        lambda matrix, b_k, b_v: b_v + b_k @ matrix,
    ),
    ("the sign of the whole offset is wrong", lambda matrix, b_k, b_v: b_k @ matrix - b_v),
    ("b_v is missing", lambda matrix, b_k, b_v: -b_k @ matrix),
    (
        "vectors are rows here: b_k @ matrix, not matrix @ b_k",
        lambda matrix, b_k, b_v: b_v - matrix @ b_k,
    ),
    (
        "without an offset the biases are lost: k holds b_k, and v should hold b_v",
        lambda matrix, b_k, b_v: torch.zeros_like(b_v),
    ),
]


def _layers() -> list[tuple[str, Weights]]:
    """Square weights with singular values between 1/2 and 2, none of them symmetric."""
    generator = torch.Generator().manual_seed(0)

    def weight(d: int) -> Tensor:
        u, _, v = torch.linalg.svd(torch.randn(d, d, generator=generator, dtype=torch.float64))
        made: Tensor = u @ torch.diag(torch.linspace(0.5, 2.0, d, dtype=torch.float64)) @ v
        return made

    def bias(d: int) -> Tensor:
        return torch.randn(d, generator=generator, dtype=torch.float64)

    return [
        (f"weights of shape ({d}, {d})", (weight(d), bias(d), weight(d), bias(d))) for d in (4, 7)
    ]


def rebuild(fn: Callable[[Tensor, Tensor, Tensor, Tensor], Any]) -> None:
    """Check a function that works out how values follow from keys.

    Args:
        fn: Called as ``fn(w_k, b_k, w_v, b_v)`` with the weights (d, d) and biases (d,) of two
            ``nn.Linear``, it returns a matrix (d, d) and an offset (d,), so that with
            ``k = x @ w_k.T + b_k`` the values are ``k @ matrix + offset``.

    Raises:
        CheckFailed: Naming the mistake: a transpose, the order of factors, the wrong matrix undone,
            a bias that is forgotten or has the wrong sign.
    """
    for shown, (w_k, b_k, w_v, b_v) in _layers():
        answer = call(fn, shown, w_k.clone(), b_k.clone(), w_v.clone(), b_v.clone())
        if not isinstance(answer, tuple | list) or len(answer) != 2:
            raise CheckFailed(
                f"For {shown} your function returns {type(answer).__name__}; two things are "
                "expected, a matrix and an offset: return matrix, offset."
            )
        d = len(b_k)
        matrix = _as_double(answer[0], f"{shown}, the matrix", (d, d), "from k to v")
        offset = _as_double(answer[1], f"{shown}, the offset", (d,), "one number for each of v")
        wanted, wanted_offset = _rebuild(w_k, b_k, w_v, b_v)
        if not _same(matrix, wanted):
            _raise_first(f"{shown}, the matrix", matrix, _MATRIX_MISTAKES, w_k, w_v)
            off = (matrix - wanted).norm() / wanted.norm()
            raise CheckFailed(
                f"For {shown}, the matrix: it differs from W_K⁻¹ W_V by {off:.1g} of its size. Try "
                "it on a vector: k = x @ w_k.T, then k @ matrix should be x @ w_v.T."
            )
        if not _same(offset, wanted_offset):
            _raise_first(f"{shown}, the offset", offset, _OFFSET_MISTAKES, matrix, b_k, b_v)
            raise CheckFailed(
                f"For {shown}, the offset: the matrix is right, the offset is not. For x = 0 the "
                "key is b_k, so b_k @ matrix + offset should be b_v."
            )
    print("Correct for two layers: every value follows from its key, biases and all.")


def _raise_first(
    shown: str, got: Tensor, mistakes: list[tuple[str, Callable[..., Tensor]]], *parts: Tensor
) -> None:
    for words, mistake in mistakes:
        if _same(got, mistake(*parts)):
            raise CheckFailed(f"For {shown}: {words}.")
