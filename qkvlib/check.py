"""Checks for the exercises: they run an answer on several cases and say what is wrong with it.

A check that fails raises :class:`CheckFailed`, which a notebook shows as its message alone. It
compares the answer with those that typical mistakes would give, and names the mistake it finds.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from numbers import Real
from typing import Any, Final

import torch
from torch import Tensor

from qkvlib import accounting
from qkvlib.analysis import asymmetry
from qkvlib.attention import Attention
from qkvlib.config import ModelConfig, get_config
from qkvlib.paper import paper_figures
from qkvlib.sharing import SHARINGS, Sharing, unknown_name


class CheckFailed(AssertionError):  # noqa: N818  # a learner reads this name; "Error" would scold
    """An answer is not right yet; the message says what is wrong with it."""

    def _render_traceback_(self) -> list[str]:
        # IPython asks for this: a wrong answer is no crash, so the message is enough.
        return [f"Not yet. {self}"]


# Running and comparing


def _call(fn: Callable[..., Any], shown: str, *args: Any) -> Any:
    """Run the learner's function; turn what goes wrong inside into words."""
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
    try:
        result = fn(*args)
    except NotImplementedError:
        raise CheckFailed("Your turn: the function is still empty.") from None
    except Exception as error:
        where = error.__traceback__
        while (
            where is not None
            and where.tb_next is not None
            and where.tb_frame.f_code is not (getattr(fn, "__code__", None))
        ):
            where = where.tb_next
        line = "" if where is None else f" (line {where.tb_lineno} of its cell)"
        what = f"{type(error).__name__}: {error}"
        raise CheckFailed(f"Your function stopped for {shown}{line}: {what}") from None
    if result is None or result is ...:
        raise CheckFailed(
            "Your function returns nothing yet. Is there a `return` in front of the result?"
        )
    return result


def _number(value: Any, shown: str) -> float:
    if isinstance(value, Tensor) and value.numel() == 1:
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, Real):
        raise CheckFailed(
            f"Your function returns {type(value).__name__} for {shown}; a number is expected."
        )
    return float(value)


def _close(a: float, b: float) -> bool:
    return abs(a - b) <= 1e-9 * max(abs(a), abs(b))


@dataclass(frozen=True)
class _Mistake:
    """A typical wrong answer: what it computes, and what to say about it."""

    words: str
    answer: Callable[..., float]


def _explain(
    got: Sequence[float], cases: Sequence[tuple[Any, ...]], mistakes: Sequence[_Mistake]
) -> str | None:
    """Words of the first mistake that gives exactly the learner's answers in every case."""
    for mistake in mistakes:
        if all(_close(g, mistake.answer(*case)) for g, case in zip(got, cases, strict=True)):
            return mistake.words
    return None


def _compare_numbers(
    got: Sequence[float],
    wanted: Sequence[float],
    shown: Sequence[str],
    unit: str,
) -> str:
    """Words for the first case that differs, for when no typical mistake explains it."""
    for g, w, case in zip(got, wanted, shown, strict=True):
        if not _close(g, w):
            times = f", {g / w:.4g} times what it is" if w else ""
            right = sum(_close(a, b) for a, b in zip(got, wanted, strict=True))
            return (
                f"For {case} your function gives {g:,.6g} {unit}{times}: it should be {w:,.6g}. "
                f"({right} of {len(got)} cases are right.)"
            )
    return ""


# Lesson 00


def kept(fn: Callable[[Mapping[str, str]], Any]) -> None:
    """Check a function from roles to the projections that decoding has to keep.

    Args:
        fn: Given ``{"q": "q", "k": "k", "v": "k"}`` it returns ``["k"]`` (any sequence or set).

    Raises:
        CheckFailed: Naming the sharing and what is too much or missing.
    """
    for sharing in SHARINGS.values():
        roles = dict(sharing.roles)
        shown = f"{sharing.name} {sharing.tuple_form}"
        answer = _call(fn, shown, roles)
        if isinstance(answer, str) or not isinstance(answer, Sequence | set | frozenset | dict):
            raise CheckFailed(
                f"For {shown} your function returns {answer!r}; a list of names is expected, "
                "such as ['k', 'v']."
            )
        names = list(answer)
        wanted = list(sharing.cached)
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise CheckFailed(
                f"For {shown} you keep {doubled[0]!r} twice. Key and value are one tensor here: "
                "one copy serves both."
            )
        if "q" in names:
            raise CheckFailed(
                f"For {shown} you keep 'q'. A query is used once, when its own token is read; "
                "later tokens ask with theirs."
            )
        extra = [name for name in names if name not in wanted]
        if extra:
            raise CheckFailed(
                f"For {shown} you keep {extra[0]!r}, but neither k nor v uses a projection of "
                "that name: look the role up in the table."
            )
        lacking = [name for name in wanted if name not in names]
        if lacking:
            raise CheckFailed(
                f"For {shown} {lacking[0]!r} is missing. Later tokens need every key and value."
            )
    print("Correct for all four. The query's tie changes nothing: only k and v are ever kept.")


# Lesson 03

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


def _factor(words: str, factor: Callable[[ModelConfig, int, int, int], float]) -> _Mistake:
    return _Mistake(words, factor)


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
    got = [
        _number(_call(fn, words, *case), words) for words, case in zip(shown, cases, strict=True)
    ]
    wanted = [
        float(
            accounting.cache_bytes(
                c, t, batch_size=b, dtype=torch.float16 if s == 2 else torch.float32
            )
        )
        for c, t, b, s in cases
    ]
    if all(_close(g, w) for g, w in zip(got, wanted, strict=True)):
        print(f"Correct, to the byte, in {len(cases)} cases.")
        return
    ratios = [g / w for g, w in zip(got, wanted, strict=True)]
    found = _explain(ratios, cases, _CACHE_MISTAKES)
    if found is None:
        pairs = [
            _Mistake(
                f"two things at once: {one.words}; and {two.words}",
                lambda *case, one=one, two=two: one.answer(*case) * two.answer(*case),
            )
            for one, two in combinations(_CACHE_MISTAKES, 2)
        ]
        found = _explain(ratios, cases, pairs)
    first = _compare_numbers(got, wanted, shown, "bytes")
    raise CheckFailed(first if found is None else f"{found[0].upper()}{found[1:]}. {first}")


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
    _Mistake(
        "the weights are missing: they lie in the same memory, 2 bytes for each parameter",
        lambda c, t, gb: int(gb * 1e9) // _per_user(c, t),
    ),
    _Mistake(
        "you took a GB for 2**30 bytes; that is a GiB. A GB is 10**9 bytes",
        lambda c, t, gb: (int(gb * 2**30) - _weights(c)) // _per_user(c, t),
    ),
    _Mistake(
        "the weights are missing, and a GB is 10**9 bytes, not 2**30",
        lambda c, t, gb: int(gb * 2**30) // _per_user(c, t),
    ),
    _Mistake(
        "you counted the weights once for every user; all users share one model",
        lambda c, t, gb: int(gb * 1e9) // (_per_user(c, t) + _weights(c)),
    ),
    _Mistake(
        "you counted 1 byte for each parameter; in float16 it is 2",
        lambda c, t, gb: (int(gb * 1e9) - _weights(c) // 2) // _per_user(c, t),
    ),
    _Mistake(
        "you counted 4 bytes for each parameter; in float16 it is 2",
        lambda c, t, gb: (int(gb * 1e9) - _weights(c) * 2) // _per_user(c, t),
    ),
    _Mistake(
        "you rounded up: the last user does not fit whole",
        lambda c, t, gb: -(-(int(gb * 1e9) - _weights(c)) // _per_user(c, t)),
    ),
    _Mistake(
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
    got = [
        _number(_call(fn, words, *case), words) for words, case in zip(shown, cases, strict=True)
    ]
    wanted = [float(max(0, int(gb * 1e9) - _weights(c)) // _per_user(c, t)) for c, t, gb in cases]
    if all(_close(g, w) for g, w in zip(got, wanted, strict=True)):
        print(f"Correct in {len(cases)} cases, also where not even the weights fit.")
        return
    if all(int(g) == w for g, w in zip(got, wanted, strict=True)):
        raise CheckFailed("Users come whole: round down to a whole number, with //.")
    found = _explain(got, cases, _USERS_MISTAKES)
    # Whoever also lets the last case go negative should hear of the greater mistake first.
    found = found or _explain(got[:-1], cases[:-1], _USERS_MISTAKES)
    first = _compare_numbers(got, wanted, shown, "users")
    raise CheckFailed(first if found is None else f"{found[0].upper()}{found[1:]}. {first}")


# Lesson 05


def _reference_attention(
    x: Tensor,
    weights: Mapping[str, Tensor],
    roles: Mapping[str, str],
    *,
    scale: bool = True,
    mask: bool = True,
    strict: bool = False,
    axis: int = -1,
    flip: bool = False,
    width: bool = False,
    late: bool = False,
) -> Tensor:
    """Attention of one head as the exercise asks for it, and with one mistake built in."""
    q, k, v = (x @ weights[roles[role]] for role in "qkv")
    scores = k @ q.T if flip else q @ k.T
    if scale:
        scores = scores * (q.shape[-1] if width else q.shape[-1] ** 0.5) ** -1
    hidden = ~torch.ones_like(scores, dtype=torch.bool).tril(-1 if strict else 0)
    if mask and not late:
        scores = scores.masked_fill(hidden, float("-inf"))
    spread = scores.softmax(dim=axis)
    if late:
        spread = spread.masked_fill(hidden, 0.0)
    return spread @ v


def tie(fn: Callable[[Tensor, Mapping[str, Tensor], Mapping[str, str]], Any]) -> None:
    """Check causal attention with tied projections, written by hand.

    Args:
        fn: Called as ``fn(x, weights, roles)`` with x of shape (T, D), weights from projection
            name to a tensor of shape (D, D), and roles from ``"q"``, ``"k"``, ``"v"`` to a name
            in weights. It returns a tensor of shape (T, D).

    Raises:
        CheckFailed: Naming the sharing and the mistake: a tie not made, another pair tied, a
            projection read that does not exist, scale, mask or softmax.
    """
    generator = torch.Generator().manual_seed(0)
    t, d = 7, 16
    x = torch.randn(t, d, generator=generator)
    everything = {n: torch.randn(d, d, generator=generator) / d**0.5 for n in "qkv"}
    for sharing in SHARINGS.values():
        shown = f"{sharing.name} {sharing.tuple_form}"
        weights = {n: everything[n] for n in sharing.projections}
        roles: dict[str, str] = {str(role): name for role, name in sharing.roles.items()}
        if callable(fn):
            _refuse_absent_weights(fn, x, everything, sharing, shown)
        answer = _call(fn, shown, x.clone(), dict(weights), roles)
        if not isinstance(answer, Tensor):
            kind = type(answer).__name__
            raise CheckFailed(f"For {shown} your function returns {kind}; a tensor is expected.")
        if tuple(answer.shape) != (t, d):
            raise CheckFailed(
                f"For {shown} your result has shape {tuple(answer.shape)}; expected (T, D) = "
                f"({t}, {d}): one output for each position."
            )
        wanted = _reference_attention(x, weights, roles)
        if not torch.allclose(answer, wanted, atol=1e-5):
            raise CheckFailed(f"For {shown}: {_what_differs(answer, x, weights, roles)}")
    print("Correct for all four sharings, from one function without a single `if`.")


class _Watched(dict[str, Tensor]):
    """Weights that remember which were read."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__(weights)
        self.read: list[str] = []

    def __getitem__(self, key: str) -> Tensor:
        self.read.append(key)
        return super().__getitem__(key)


def _refuse_absent_weights(
    fn: Callable[..., Any],
    x: Tensor,
    everything: Mapping[str, Tensor],
    sharing: Sharing,
    shown: str,
) -> None:
    """Find reads of projections that the sharing does not have, before they raise KeyError."""
    watched = _Watched(everything)
    _call(fn, shown, x.clone(), watched, dict(sharing.roles))
    for name in watched.read:
        if name not in sharing.projections:
            role = {"q": "query", "k": "key", "v": "value"}[name]
            raise CheckFailed(
                f"For {shown} your function reads weights[{name!r}]. This sharing has no such "
                f"projection: the {role} uses weights[{sharing.roles[name]!r}]. Ask roles for "  # type: ignore[index]
                f"the name: weights[roles[{name!r}]]."
            )


def _what_differs(
    answer: Tensor, x: Tensor, weights: Mapping[str, Tensor], roles: Mapping[str, str]
) -> str:
    variations: list[tuple[str, dict[str, Any]]] = [
        ("the scale is missing. Divide the scores by the square root of D.", {"scale": False}),
        ("you divided by D; it is the square root of D.", {"width": True}),
        ("the causal mask is missing: position 0 looks at later ones.", {"mask": False}),
        (
            "softmax runs along the wrong axis. Each row, one query, must sum to one: dim=-1.",
            {"axis": 0},
        ),
        (
            "the scores are transposed: rows belong to queries, columns to keys: q @ k.T.",
            {"flip": True},
        ),
        (
            "the mask comes after softmax, so rows no longer sum to one. Set hidden scores to "
            "minus infinity before softmax.",
            {"late": True},
        ),
        ("there is neither scale nor mask.", {"scale": False, "mask": False}),
    ]
    for words, change in variations:
        if torch.allclose(answer, _reference_attention(x, weights, roles, **change), atol=1e-5):
            return words
    if answer.isnan().any():
        return (
            "there is NaN in the result: a row in which everything is hidden. A position may look "
            "at itself: keep the diagonal, tril() without an argument."
        )
    names = list(weights)
    for q in names:
        for k in names:
            for v in names:
                other = {"q": q, "k": k, "v": v}
                if torch.allclose(answer, _reference_attention(x, weights, other), atol=1e-5):
                    wrong = next(role for role in "qkv" if other[role] != roles[role])
                    return (
                        f"{wrong} is made with weights[{other[wrong]!r}]; roles says "
                        f"{wrong} -> {roles[wrong]!r}."
                    )
    off = (answer - _reference_attention(x, weights, roles)).abs().amax(dim=-1)
    first = int((off > 1e-5).nonzero()[0])
    return (
        f"the first position that differs is {first}, by {off[first].item():.3g}. Position 0 sees "
        "only itself, so its output must be its own value."
    )


def symmetric(answers: Mapping[str, bool]) -> None:
    """Check which sharings have symmetric scores, by measuring them.

    Args:
        answers: Name of the sharing -> whether its score map is symmetric.

    Raises:
        CheckFailed: Naming the first sharing that is answered wrongly, and what was measured.
    """
    if not isinstance(answers, Mapping):
        raise CheckFailed(f"Give a dictionary, sharing -> True or False, not {answers!r}.")
    for name in answers:
        if name not in SHARINGS:
            raise CheckFailed(str(unknown_name("sharing", name, SHARINGS)))
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 12, 32, generator=generator)
    for name, sharing in SHARINGS.items():
        given = answers.get(name)
        if not isinstance(given, bool):
            raise CheckFailed(f"{name} {sharing.tuple_form}: answer True or False, not {given!r}.")
        config = ModelConfig(
            d_model=32, n_layers=1, n_heads=1, vocab_size=2, max_seq_len=12, sharing=sharing
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            _, maps = Attention(config)(x, return_attention=True)
        assert maps is not None
        measured = asymmetry(maps.scores).item()
        if given != (measured < 1e-5):
            because = (
                "score(i, j) is key i times key j, and the order of a product does not matter"
                if sharing.ties_query
                else "score(i, j) is query i times key j; swapping i and j takes another query"
            )
            number = f"{max(measured, 0.0):.2g}" if measured > 1e-5 else "0"
            raise CheckFailed(
                f"{name} {sharing.tuple_form}: measured asymmetry {number}, so its scores are "
                f"{'' if measured < 1e-5 else 'not '}symmetric: {because}."
            )
    print("Correct: symmetric exactly where query and key are one projection.")
