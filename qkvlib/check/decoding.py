"""Lesson 02: a decode step with a cache, and the multiplications of a whole text."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from qkvlib.cache import KVCache
from qkvlib.check.base import CheckFailed, Mistake, call, close, compare_numbers, explain, number
from qkvlib.config import ModelConfig
from qkvlib.models import build_model
from qkvlib.passes import matrix_weights

# ------------------------------------------------------------------------------- one decode step

_WIDTH: Final = 16
_VOCAB: Final = 12
_LONGEST: Final = 20


@dataclass(frozen=True)
class _Slip:
    """A decode step with one mistake built in; as it stands, it is right."""

    at: Callable[[int], int | None] = lambda held: held
    newest: bool = True
    power: float = 0.5
    roles: str = "qkv"
    oldest: bool = True


def _step(
    token: int, parts: Mapping[str, Tensor], cache: Mapping[str, Tensor], slip: _Slip
) -> tuple[Tensor, dict[str, Tensor]]:
    """Output of shape (D,) and the cache afterwards."""
    at = slip.at(len(cache["k"]))
    x = parts["embedding"][token]
    if at is not None:
        x = x + parts["position"][at]
    q, k, v = (x @ parts[slip.roles[i]] for i in range(3))
    after = {"k": torch.cat([cache["k"], k[None]]), "v": torch.cat([cache["v"], v[None]])}
    keys, values = (after["k"], after["v"]) if slip.newest else (cache["k"], cache["v"])
    if not slip.oldest:
        keys, values = keys[-1:], values[-1:]
    weights = (keys @ q / _WIDTH**slip.power).softmax(dim=-1)
    return weights @ values, after


_SLIPS: Final[tuple[tuple[str, _Slip], ...]] = (
    (
        "it attends without the newest token. A token sees itself: append its key and value first, "
        "then attend to everything the cache holds.",
        _Slip(newest=False),
    ),
    (
        "every token gets position 0. The new token stands behind all that are held, so its "
        "position is the length of the cache: len(cache['k']), before you append.",
        _Slip(at=lambda held: 0),
    ),
    (
        "the position is one too far. Positions count from 0, so the new token's is the length of "
        "the cache *before* its key is appended.",
        _Slip(at=lambda held: held + 1),
    ),
    (
        "the position is one too low: the new token gets that of the last one held. Its own is "
        "len(cache['k']), without - 1.",
        _Slip(at=lambda held: held - 1),
    ),
    (
        "the position is missing. x is embedding[token] + position[at], with at the length of the "
        "cache.",
        _Slip(at=lambda held: None),
    ),
    (
        "it attends to the newest token alone. The query looks at every key in the cache.",
        _Slip(oldest=False),
    ),
    (
        "the scale is missing. Divide the scores by the square root of D.",
        _Slip(power=0.0),
    ),
    ("you divided by D; it is the square root of D.", _Slip(power=1.0)),
    ("the newest key serves as query. The query is x @ parts['q'].", _Slip(roles="kkv")),
    ("query and key are exchanged: q is x @ parts['q'], k is x @ parts['k'].", _Slip(roles="kqv")),
    ("key and value are exchanged: k is x @ parts['k'], v is x @ parts['v'].", _Slip(roles="qvk")),
    ("the keys serve as values. The output mixes cache['v'].", _Slip(roles="qkk")),
)


def decode(fn: Callable[[int, Mapping[str, Tensor], dict[str, Tensor]], Any]) -> None:
    """Check one decode step of an attention layer with a cache, written by hand.

    Args:
        fn: Called as ``fn(token, parts, cache)``. ``parts`` has ``"embedding"`` and ``"position"``
            of shapes (V, D) and (T, D), and ``"q"``, ``"k"``, ``"v"`` of shape (D, D); ``cache``
            has ``"k"`` and ``"v"`` of shape (S, D), which the function replaces by tensors of
            shape (S + 1, D). It returns the new token's output, of shape (D,).

    Raises:
        CheckFailed: Naming the step and the mistake: what was not appended, what was attended to,
            a wrong position, scale or role.
    """
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    parts = {name: draw(_WIDTH, _WIDTH) / 8 for name in "qkv"}
    parts |= {"embedding": draw(_VOCAB, _WIDTH), "position": draw(_LONGEST, _WIDTH)}
    empty = {name: torch.zeros(0, _WIDTH) for name in "kv"}
    # What is held need not come from tokens: a step that trusts its cache cannot tell.
    filled = {name: draw(6, _WIDTH) for name in "kv"}
    for tokens, start, shown in (
        ([3, 1, 4], filled, "on 6 tokens held"),
        ([2, 7, 1, 8], empty, "from an empty cache"),
    ):
        held, wanted = dict(start), dict(start)
        for n, token in enumerate(tokens):
            where = f"step {n + 1} {shown}"
            before = {name: each.clone() for name, each in held.items()}
            answer = call(fn, where, token, dict(parts), held, fills=[2])
            output, after = _step(token, parts, wanted, _Slip())
            _check_output(answer, output, token, parts, wanted, where)
            _check_cache(held, before, after, where)
            wanted = after
    print("Correct: one query, one new key, one new value, and all the rest is read.")


def _check_output(
    answer: Any,
    wanted: Tensor,
    token: int,
    parts: Mapping[str, Tensor],
    cache: Mapping[str, Tensor],
    where: str,
) -> None:
    if not isinstance(answer, Tensor):
        raise CheckFailed(
            f"In {where} your function returns {type(answer).__name__}; a tensor is expected."
        )
    if answer.shape not in ((_WIDTH,), (1, _WIDTH)):
        rows = answer.ndim == 2 and answer.shape[1] == _WIDTH
        more = (
            " There is one output for every position: only the newest token asks. The outputs of "
            "earlier ones were made when they were read, and nobody needs their queries again."
            if rows
            else ""
        )
        raise CheckFailed(
            f"In {where} your result has shape {tuple(answer.shape)}; expected (D,) = "
            f"({_WIDTH},), the output of the new token.{more}"
        )
    answer = answer.detach().reshape(_WIDTH).to(wanted.dtype)
    if torch.allclose(answer, wanted, atol=1e-5):
        return
    for words, slip in _SLIPS:
        if torch.allclose(answer, _step(token, parts, cache, slip)[0], atol=1e-5):
            raise CheckFailed(f"In {where}, {words}")
    far = (answer - wanted).abs().max().item()
    raise CheckFailed(
        f"In {where} your output is off by {far:.3g}. Go through it in order: position from the "
        "length of the cache; q, k and v of the new token; append k and v; scores of q with every "
        "key held; softmax; mix the values."
    )


def _check_cache(
    held: Mapping[str, Any],
    before: Mapping[str, Tensor],
    after: Mapping[str, Tensor],
    where: str,
) -> None:
    for name in held:
        if name not in after:
            why = (
                "A query is used once, in the step that makes it; later tokens ask with theirs."
                if name == "q"
                else "Keys and values are all that later tokens need."
            )
            raise CheckFailed(f"After {where} the cache also keeps {name!r}. {why}")
    for name, right in after.items():
        role = {"k": "key", "v": "value"}[name]
        mine = held.get(name)
        if not isinstance(mine, Tensor):
            raise CheckFailed(
                f"After {where} cache[{name!r}] is {type(mine).__name__}; keep it a tensor of "
                "shape (S, D)."
            )
        mine = mine.detach().to(right.dtype)
        if mine.shape == before[name].shape and torch.equal(mine, before[name]):
            raise CheckFailed(
                f"The output of {where} is right, but cache[{name!r}] has not grown: the next "
                f"token would not find this one's {role}. Write the longer tensor back: "
                f"cache[{name!r}] = torch.cat(…)."
            )
        if mine.shape != right.shape:
            raise CheckFailed(
                f"After {where} cache[{name!r}] has shape {tuple(mine.shape)}; expected "
                f"{tuple(right.shape)}: one row more than before."
            )
        if torch.allclose(mine, right, atol=1e-5):
            continue
        if torch.allclose(mine.roll(-1, 0), right, atol=1e-5):
            raise CheckFailed(
                f"After {where} the new {role} stands first in the cache. Append it behind those "
                "held, so that row i belongs to position i."
            )
        other, wrong = ("v", "value") if name == "k" else ("k", "key")
        if torch.allclose(mine, torch.cat([before[name], after[other][-1:]]), atol=1e-5):
            raise CheckFailed(
                f"After {where} cache[{name!r}] has got the new {wrong}; it keeps the {role}s."
            )
        raise CheckFailed(
            f"After {where} cache[{name!r}] does not hold what it should: the rows that it had, "
            f"unchanged, and behind them x @ parts[{name!r}] of the new token."
        )


# ----------------------------------------------------------------- multiplications of a whole text

_Case = tuple[int, int, int, int, bool]  # prompt, new, weights, width, use_cache


def _total(
    prompt: int,
    new: int,
    weights: int,
    width: int,
    use_cache: bool,
    *,
    passes: int = 0,
    prefill: bool = True,
    grows: bool = True,
    products: int = 2,
    queries: bool = False,
    alone: bool = False,
    prompt_at_once: bool = True,
) -> int:
    """Multiplications of all passes; the keywords build one mistake in."""
    total = 0
    for made in range(new + passes):
        seen = prompt + (made if grows else 0)
        first = made == 0
        read = 1 if use_cache and not (first and prompt_at_once) else seen
        if first and not prefill:
            continue
        asking = seen if queries else read
        total += read * weights + products * width * asking * (read if alone else seen)
    return total


def _wrong(words: str, **slip: Any) -> Mistake:
    return Mistake(words, lambda *case: _total(*case, **slip))


_MISTAKES: Final = (
    Mistake(
        "use_cache changes nothing: you recompute everything in both cases. With a cache, only the "
        "first pass reads more than one token.",
        lambda p, n, w, d, c: _total(p, n, w, d, False),
    ),
    Mistake(
        "use_cache changes nothing: you read one token per pass in both cases. Without a cache "
        "every pass reads the whole text so far.",
        lambda p, n, w, d, c: _total(p, n, w, d, True),
    ),
    Mistake(
        "the two ways are exchanged: use_cache=True is the one that reads a single token.",
        lambda p, n, w, d, c: _total(p, n, w, d, not c),
    ),
    _wrong(
        "that is one pass too many. The pass over the prompt makes the first new token already, so "
        "there are `new` passes in all.",
        passes=1,
    ),
    _wrong(
        "that is one pass too few: the last new token also needs a pass that makes it.",
        passes=-1,
    ),
    _wrong("the first pass, over the prompt, is missing.", prefill=False),
    _wrong(
        "the text never grows: after each pass there is one token more to look at.",
        grows=False,
    ),
    _wrong(
        "attention is counted once. Each query is multiplied with every key, and each weight with "
        "every value: twice width × read × seen.",
        products=1,
    ),
    _wrong("attention is missing: 2 × width × read × seen.", products=0),
    _wrong(
        "with a cache you let all queries ask again: read × seen became seen × seen. Only the new "
        "token has a question.",
        queries=True,
    ),
    _wrong(
        "a new token looks only at itself. What is read is 1, what is seen is everything so far.",
        alone=True,
    ),
    _wrong(
        "with a cache the first pass reads one token only. The prompt is not in the cache yet: the "
        "first pass reads all of it.",
        prompt_at_once=False,
    ),
    Mistake(
        "that is twice the number: one multiplication and one addition are two operations, but "
        "multiplications are asked for.",
        lambda *case: 2 * _total(*case),
    ),
)


@functools.cache
def _really_counted(config: ModelConfig, prompt: int, new: int, use_cache: bool) -> int:
    """Multiplications of real passes, by PyTorch's own counter."""
    with torch.random.fork_rng(devices=[]):
        model = build_model(config, seed=0).eval()
    text = torch.zeros(1, prompt + new, dtype=torch.int64)
    cache = KVCache(config) if use_cache else None
    # The maps are asked for, since the counter does not know the fused attention of every machine.
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        for made in range(new):
            start = 0 if cache is None else cache.length
            model(text[:, start : prompt + made], cache=cache, return_attention=True)
    return int(counter.get_total_flops()) // 2


def total_macs(fn: Callable[[int, int, int, int, bool], Any]) -> None:
    """Check a count of the multiplications that writing a text takes, against a real count.

    Args:
        fn: Called as ``fn(prompt, new, weights, width, use_cache)``: tokens of the prompt, tokens
            to make, weights in the matrices, ``n_layers × d_model``, and whether there is a cache.

    Raises:
        CheckFailed: Naming the mistake, or the first case that differs.
    """
    cases: list[_Case] = []
    wanted: list[float] = []
    shown: list[str] = []
    shapes = ((8, 1, 1, 1), (8, 1, 3, 4), (16, 2, 5, 3), (16, 2, 1, 6))
    for d_model, n_layers, prompt, new in shapes:
        config = ModelConfig(
            d_model=d_model, n_layers=n_layers, n_heads=2, vocab_size=8, max_seq_len=12
        )
        weights = matrix_weights(config)
        for use_cache in (False, True):
            cases.append((prompt, new, weights, n_layers * d_model, use_cache))
            wanted.append(_really_counted(config, prompt, new, use_cache))
            how = "with a cache" if use_cache else "without a cache"
            shown.append(f"{prompt} tokens of prompt and {new} new ones, {how},")
    got = [number(call(fn, case, *given), case) for given, case in zip(cases, shown, strict=True)]
    if all(close(g, w) for g, w in zip(got, wanted, strict=True)):
        print(f"Correct: what PyTorch's counter finds in real passes, in all {len(cases)} cases.")
        return
    why = explain(got, cases, _MISTAKES)
    raise CheckFailed(
        f"In all cases, {why}" if why else compare_numbers(got, wanted, shown, "multiplications")
    )
