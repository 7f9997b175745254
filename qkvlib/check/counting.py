"""Lesson 03: bytes, units, users."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any, Final

import torch

from qkvlib import accounting
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
from qkvlib.config import ModelConfig, get_config
from qkvlib.paper import paper_figures
from qkvlib.sharing import unknown_name

_CacheCase = tuple[ModelConfig, int, int, int]


def _cache_cases() -> list[_CacheCase]:
    base = ModelConfig(d_model=96, n_layers=5, n_heads=12, vocab_size=11, max_seq_len=64)
    return [
        (base.replace(variant=name), tokens, batch, size)
        for name, tokens, batch, size in (
            ("QKV", 7, 1, 2),
            ("Q-K=V", 13, 1, 2),
            ("Q=K-V", 17, 1, 4),
            ("Q=K=V", 19, 3, 4),
            ("GQA-4", 23, 5, 2),
            ("Q-GQA-3", 29, 7, 4),
            ("MQA", 31, 1, 4),
            ("Q-MQA", 37, 2, 2),
        )
    ]


def _factor(words: str, factor: Callable[[ModelConfig, int, int, int], float]) -> Mistake:
    return Mistake(words, factor)


_CACHE_MISTAKES: Final = [
    _factor(
        "your formula counts V although K=V is tied: use len(config.sharing.cached), which is 1 "
        "there, and you are no longer 2 times too high",
        lambda c, t, b, s: 2 / len(c.sharing.cached),
    ),
    _factor(
        "your formula counts one tensor per token always; without K=V there are two, K and V",
        lambda c, t, b, s: 1 / len(c.sharing.cached),
    ),
    _factor(
        "you counted projections (config.sharing.projections) where the cache keeps only those of "
        "key and value (config.sharing.cached): a query is used once and forgotten",
        lambda c, t, b, s: len(c.sharing.projections) / len(c.sharing.cached),
    ),
    _factor(
        "you multiplied by n_heads (or d_model) where the cache holds n_kv_heads heads",
        lambda c, t, b, s: c.n_heads / c.n_kv_heads,
    ),
    _factor(
        "you multiplied by the query heads per KV head, n_heads / n_kv_heads, where the cache "
        "holds n_kv_heads heads",
        lambda c, t, b, s: c.n_heads / c.n_kv_heads**2,
    ),
    _factor(
        "the KV heads are missing: head_dim is the width of one of n_kv_heads heads",
        lambda c, t, b, s: 1 / c.n_kv_heads,
    ),
    _factor(
        "the width of a head is missing: each KV head keeps head_dim numbers",
        lambda c, t, b, s: 1 / c.head_dim,
    ),
    _factor(
        "you multiplied by d_model where one head has head_dim numbers",
        lambda c, t, b, s: c.d_model / c.head_dim,
    ),
    _factor(
        "the layers are missing: every layer has a cache of its own",
        lambda c, t, b, s: 1 / c.n_layers,
    ),
    _factor("the tokens are missing", lambda c, t, b, s: 1 / t),
    _factor(
        "you took config.max_seq_len, the longest context, instead of tokens",
        lambda c, t, b, s: c.max_seq_len / t,
    ),
    _factor(
        "you squared the tokens: the T × T map is made and thrown away, what is kept grows with T",
        lambda c, t, b, s: t,
    ),
    _factor(
        "the batch is missing: every sequence has a cache of its own",
        lambda c, t, b, s: 1 / b,
    ),
    _factor(
        "you counted numbers, not bytes: multiply by itemsize",
        lambda c, t, b, s: 1 / s,
    ),
    _factor(
        "you took 2 bytes for every number; itemsize says how many there are",
        lambda c, t, b, s: 2 / s,
    ),
    _factor(
        "you took 4 bytes for every number; itemsize says how many there are",
        lambda c, t, b, s: 4 / s,
    ),
    _factor("you counted bits: 8 bits are one byte", lambda c, t, b, s: 8),
    _factor("your result is in KiB; bytes are asked for", lambda c, t, b, s: 1 / 1024),
    _factor("your result is in kB; bytes are asked for", lambda c, t, b, s: 1 / 1000),
]


def cache_bytes(fn: Callable[[ModelConfig, int, int, int], Any]) -> None:
    """Check a function that counts the bytes of a KV cache.

    Args:
        fn: Called as ``fn(config, tokens, batch_size, itemsize)``; itemsize is bytes per number.

    Raises:
        CheckFailed: Naming the mistake, or two made at once, or else the first case that differs.
    """
    cases = _cache_cases()
    shown = [
        f"{c.variant.name} with {c.n_layers} layers, {c.n_kv_heads} KV heads of {c.head_dim}, "
        f"{t} tokens, batch {b}, {s} bytes per number"
        for c, t, b, s in cases
    ]
    got = [number(call(fn, words, *case), words) for words, case in zip(shown, cases, strict=True)]
    wanted = [
        float(
            accounting.cache_bytes(
                c, t, batch_size=b, dtype=torch.float16 if s == 2 else torch.float32
            )
        )
        for c, t, b, s in cases
    ]
    if all(close(g, w) for g, w in zip(got, wanted, strict=True)):
        print(f"Correct, to the byte, in {len(cases)} cases.")
        return
    ratios = [g / w for g, w in zip(got, wanted, strict=True)]
    found = explain(ratios, cases, _CACHE_MISTAKES)
    if found is None:
        pairs = [
            Mistake(
                f"two things at once: {one.words}; and {two.words}",
                lambda *case, one=one, two=two: one.answer(*case) * two.answer(*case),
            )
            for one, two in combinations(_CACHE_MISTAKES, 2)
        ]
        found = explain(ratios, cases, pairs)
    first = compare_numbers(got, wanted, shown, "bytes")
    raise not_yet(found, first)


def units(answers: Mapping[str, str]) -> None:
    """Check which unit each row of the paper's 1.2B cache table is in.

    Args:
        answers: Row -> ``"MB"`` or ``"MiB"``.

    Raises:
        CheckFailed: Naming the first row whose number does not come out in that unit.
    """
    if not isinstance(answers, Mapping):
        raise CheckFailed(f"Give a dictionary, row -> unit, not {type(answers).__name__}.")
    config = get_config("1.2B")
    figures = paper_figures()
    rows = [f.id.split("/")[1] for f in figures.values() if f.id.startswith("1.2B/")]
    rows = [row for row in dict.fromkeys(rows) if f"1.2B/{row}/cache_32k" in figures]
    for row in answers:
        if row not in rows:
            raise CheckFailed(str(unknown_name("row", row, rows)))
    for row in rows:
        unit = answers.get(row)
        if unit not in ("MB", "MiB"):
            raise CheckFailed(f"{row}: {unit!r} is not one of the two units. Write 'MB' or 'MiB'.")
        printed = figures[f"1.2B/{row}/cache_32k"].value
        total = accounting.cache_bytes(config.replace(variant=row), 32 * 1024)
        ours = total / {"MB": 1e6, "MiB": 2**20}[unit]
        if abs(ours / printed - 1) > 0.01:
            raise CheckFailed(
                f"{row}: {total:,} bytes are {ours:,.0f} {unit}, but the table prints "
                f"{printed:,.0f}. Divide by the other unit."
            )
    print("Correct: two rows are in MB and three in MiB, under one heading.")


_UsersCase = tuple[ModelConfig, int, float]


def _per_user(c: ModelConfig, tokens: int) -> int:
    return accounting.cache_bytes(c, tokens)


def _weights(c: ModelConfig) -> int:
    return 2 * accounting.count_parameters(c)


_USERS_MISTAKES: Final = [
    Mistake(
        "the weights are missing: they lie in the same memory, 2 bytes for each parameter",
        lambda c, t, gb: int(gb * 1e9) // _per_user(c, t),
    ),
    Mistake(
        "you took a GB for 2**30 bytes; that is a GiB. A GB is 10**9 bytes",
        lambda c, t, gb: (int(gb * 2**30) - _weights(c)) // _per_user(c, t),
    ),
    Mistake(
        "the weights are missing, and a GB is 10**9 bytes, not 2**30",
        lambda c, t, gb: int(gb * 2**30) // _per_user(c, t),
    ),
    Mistake(
        "you counted the weights once for every user; all users share one model",
        lambda c, t, gb: int(gb * 1e9) // (_per_user(c, t) + _weights(c)),
    ),
    Mistake(
        "you counted 1 byte for each parameter; in float16 it is 2",
        lambda c, t, gb: (int(gb * 1e9) - _weights(c) // 2) // _per_user(c, t),
    ),
    Mistake(
        "you counted 4 bytes for each parameter; in float16 it is 2",
        lambda c, t, gb: (int(gb * 1e9) - _weights(c) * 2) // _per_user(c, t),
    ),
    Mistake(
        "you rounded up: the last user does not fit whole",
        lambda c, t, gb: -(-(int(gb * 1e9) - _weights(c)) // _per_user(c, t)),
    ),
    Mistake(
        "where the weights alone do not fit, you give a negative number of users. Say 0",
        lambda c, t, gb: (int(gb * 1e9) - _weights(c)) // _per_user(c, t),
    ),
]


def users(fn: Callable[[ModelConfig, int, float], Any]) -> None:
    """Check a function that says how many users fit into a memory beside the model's weights.

    Args:
        fn: Called as ``fn(config, tokens, budget_gb)``; weights and cache in two-byte numbers.

    Raises:
        CheckFailed: Naming the mistake, or else the first case that differs.
    """
    big, large = get_config("300M"), get_config("1.2B")
    cases: list[_UsersCase] = [
        (big, 2048, 80),
        (big.replace(variant="Q-K=V"), 2048, 80),
        (large, 2000, 24),
        (large.replace(variant="Q-MQA"), 1900, 24),
        (large, 512, 1),
    ]
    shown = [
        f"{c.variant.name} with {c.n_layers} layers, {t:,} tokens and {gb:g} GB"
        for c, t, gb in cases
    ]
    got = [number(call(fn, words, *case), words) for words, case in zip(shown, cases, strict=True)]
    wanted = [float(max(0, int(gb * 1e9) - _weights(c)) // _per_user(c, t)) for c, t, gb in cases]
    if all(close(g, w) for g, w in zip(got, wanted, strict=True)):
        print(f"Correct in {len(cases)} cases, also where not even the weights fit.")
        return
    if all(int(g) == w for g, w in zip(got, wanted, strict=True)):
        raise CheckFailed("Users come whole: round down to a whole number, with //.")
    found = explain(got, cases, _USERS_MISTAKES)
    # Whoever also lets the last case go negative should hear of the greater mistake first.
    found = found or explain(got[:-1], cases[:-1], _USERS_MISTAKES)
    first = compare_numbers(got, wanted, shown, "users")
    raise not_yet(found, first)
