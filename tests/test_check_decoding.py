"""Checks of lesson 02: right answers of several styles pass, each typical mistake is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from qkvlib import check
from qkvlib.check import CheckFailed

Parts = dict[str, Tensor]
Cache = dict[str, Any]


def fails(run: Callable[..., None], answer: Any, *words: str) -> None:
    with pytest.raises(CheckFailed) as caught:
        run(answer)
    for word in words:
        assert word in str(caught.value), str(caught.value)


# ------------------------------------------------------------------------------- one decode step


def step(
    token: int,
    parts: Parts,
    cache: Cache,
    *,
    at: Callable[[int], int] = lambda held: held,
    position: float = 1.0,
    q: str = "q",
    k: str = "k",
    v: str = "v",
    power: float = 0.5,
    keep: Callable[[Cache, Tensor, Tensor], None] | None = None,
    seen: Callable[[Tensor], Tensor] = lambda rows: rows,
) -> Tensor:
    """A right step, each part of which a mistake may replace."""
    x = parts["embedding"][token] + position * parts["position"][at(len(cache["k"]))]
    key, value = x @ parts[k], x @ parts[v]
    keys, values = torch.cat([cache["k"], key[None]]), torch.cat([cache["v"], value[None]])
    if keep is None:
        cache["k"], cache["v"] = keys, values
    else:
        keep(cache, key, value)
    scores = seen(keys) @ (x @ parts[q]) / len(x) ** power
    return scores.softmax(dim=-1) @ seen(values)


def as_rows(token: int, parts: Parts, cache: Cache) -> Tensor:
    """The same with a batch of one row, cached in place, by PyTorch's own attention."""
    x = (parts["embedding"][token] + parts["position"][cache["k"].shape[0]]).unsqueeze(0)
    for name in ("k", "v"):
        cache[name] = torch.vstack([cache[name], x @ parts[name]])
    return torch.nn.functional.scaled_dot_product_attention(
        (x @ parts["q"])[None], cache["k"][None], cache["v"][None]
    )[0]


def by_loop(token: int, parts: Parts, cache: Cache) -> Tensor:
    x = parts["embedding"][token] + parts["position"][len(cache["k"])]
    q, k, v = (x @ parts[name] for name in "qkv")
    cache["k"] = torch.cat((cache["k"], k.view(1, -1)), dim=0)
    cache["v"] = torch.cat((cache["v"], v.view(1, -1)), dim=0)
    scores = torch.stack([q.dot(key) for key in cache["k"]]) / len(q) ** 0.5
    weights = scores.exp() / scores.exp().sum()
    return (weights[:, None] * cache["v"]).sum(0)


def in_double(token: int, parts: Parts, cache: Cache) -> Tensor:
    """Also what it keeps is in another precision."""
    for name in ("k", "v"):
        cache[name] = cache[name].double()
    return by_loop(token, {name: each.double() for name, each in parts.items()}, cache)


@pytest.mark.parametrize("answer", [step, as_rows, by_loop, in_double])
def test_a_right_step_passes(answer: Any, capsys: pytest.CaptureFixture[str]) -> None:
    check.decode(answer)
    assert capsys.readouterr().out.startswith("Correct")


def keep_nothing(cache: Cache, key: Tensor, value: Tensor) -> None:
    pass


def keep_keys_only(cache: Cache, key: Tensor, value: Tensor) -> None:
    cache["k"] = torch.cat([cache["k"], key[None]])


def keep_in_front(cache: Cache, key: Tensor, value: Tensor) -> None:
    cache["k"], cache["v"] = (
        torch.cat([key[None], cache["k"]]),
        torch.cat([value[None], cache["v"]]),
    )


def keep_exchanged(cache: Cache, key: Tensor, value: Tensor) -> None:
    cache["k"], cache["v"] = (
        torch.cat([cache["k"], value[None]]),
        torch.cat([cache["v"], key[None]]),
    )


def keep_twice(cache: Cache, key: Tensor, value: Tensor) -> None:
    cache["k"], cache["v"] = torch.cat([cache["k"], key[None], key[None]]), cache["v"]


def keep_newest(cache: Cache, key: Tensor, value: Tensor) -> None:
    cache["k"], cache["v"] = key[None], value[None]


def keep_sums(cache: Cache, key: Tensor, value: Tensor) -> None:
    cache["k"] = torch.cat([cache["k"] + 1, key[None]])
    cache["v"] = torch.cat([cache["v"], value[None]])


def keep_list(cache: Cache, key: Tensor, value: Tensor) -> None:
    cache["k"] = [*cache["k"], key]


def keep_query(cache: Cache, key: Tensor, value: Tensor) -> None:
    keep_both(cache, key, value)
    cache["q"] = key


def keep_input(cache: Cache, key: Tensor, value: Tensor) -> None:
    keep_both(cache, key, value)
    cache["x"] = key


def keep_both(cache: Cache, key: Tensor, value: Tensor) -> None:
    cache["k"], cache["v"] = (
        torch.cat([cache["k"], key[None]]),
        torch.cat([cache["v"], value[None]]),
    )


@pytest.mark.parametrize(
    ("slip", "words"),
    [
        ({"seen": lambda rows: rows[:-1]}, "without the newest token"),
        ({"seen": lambda rows: rows[-1:]}, "the newest token alone"),
        ({"at": lambda held: 0}, "every token gets position 0"),
        ({"at": lambda held: held + 1}, "one too far"),
        ({"at": lambda held: held - 1}, "one too low"),
        ({"position": 0.0}, "the position is missing"),
        ({"power": 0.0}, "the scale is missing"),
        ({"power": 1.0}, "divided by D"),
        ({"q": "k"}, "the newest key serves as query"),
        ({"q": "k", "k": "q"}, "query and key are exchanged"),
        ({"k": "v", "v": "k"}, "key and value are exchanged"),
        ({"v": "k"}, "the keys serve as values"),
        ({"keep": keep_nothing}, "cache['k'] has not grown"),
        ({"keep": keep_keys_only}, "cache['v'] has not grown"),
        ({"keep": keep_in_front}, "stands first in the cache"),
        ({"keep": keep_exchanged}, "cache['k'] has got the new value"),
        ({"keep": keep_twice}, "cache['k'] has shape (8, 16); expected (7, 16)"),
        ({"keep": keep_newest}, "cache['k'] has shape (1, 16); expected (7, 16)"),
        ({"keep": keep_sums}, "unchanged, and behind them"),
        ({"keep": keep_list}, "cache['k'] is list; keep it a tensor"),
        ({"keep": keep_query}, "also keeps 'q'. A query is used once"),
        ({"keep": keep_input}, "also keeps 'x'. Keys and values are all"),
        ({"k": "q"}, "your output is off by"),
    ],
)
def test_a_slip_in_the_step_is_named(slip: dict[str, Any], words: str) -> None:
    fails(check.decode, lambda token, parts, cache: step(token, parts, cache, **slip), words, "tep")


def every_query(token: int, parts: Parts, cache: Cache) -> Tensor:
    """An output for all positions, as if all of them asked again."""
    step(token, parts, cache)
    return (cache["k"] @ cache["k"].T).softmax(dim=-1) @ cache["v"]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (every_query, "only the newest token asks"),
        (lambda token, parts, cache: torch.zeros(3), "shape (3,); expected (D,) = (16,)"),
        (lambda token, parts, cache: 1.0, "returns float; a tensor is expected"),
        (lambda token, parts, cache: None, "returns nothing yet"),
        (lambda token, parts, cache: parts["w"], "KeyError"),
        (lambda token, cache: token, "cannot be called with 3 arguments"),
        (7, "your function itself"),
    ],
)
def test_a_broken_step_is_answered_in_words(answer: Any, words: str) -> None:
    fails(check.decode, answer, words)


def test_a_step_that_writes_into_the_embedding_is_told_so() -> None:
    """``x`` is a view of it: += would make every later step wrong."""

    def answer(token: int, parts: Parts, cache: Cache) -> Tensor:
        x = parts["embedding"][token]
        x += parts["position"][len(cache["k"])]
        return x

    fails(check.decode, answer, "changes its argument 'parts'", "x = x + y, not x += y")


# ----------------------------------------------------------------- multiplications of a whole text


def counted(
    prompt: int,
    new: int,
    weights: int,
    width: int,
    use_cache: bool,
    *,
    passes: Callable[[int], range] = range,
    read: Callable[[int, int, bool], int] = lambda made, seen, cached: (
        1 if cached and made else seen
    ),
    one: Callable[[int, int, int, int], int] = lambda read, seen, n, d: (
        read * n + 2 * d * read * seen
    ),
    grows: int = 1,
) -> int:
    total = 0
    for made in passes(new):
        seen = prompt + grows * made
        total += one(read(made, seen, use_cache), seen, weights, width)
    return total


def closed_form(prompt: int, new: int, weights: int, width: int, use_cache: bool) -> int:
    last = prompt + new - 1
    if use_cache:
        decoded = sum(range(prompt + 1, last + 1))
        return (prompt + new - 1) * weights + 2 * width * (prompt**2 + decoded)
    squares = sum(n * n for n in range(prompt, last + 1))
    return sum(range(prompt, last + 1)) * weights + 2 * width * squares


@pytest.mark.parametrize("answer", [counted, closed_form])
def test_a_right_count_passes(answer: Any, capsys: pytest.CaptureFixture[str]) -> None:
    check.total_macs(answer)
    assert "in all 8 cases" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("slip", "words"),
    [
        ({"read": lambda made, seen, cached: seen}, "you recompute everything in both cases"),
        ({"read": lambda made, seen, cached: 1 if made else seen}, "one token per pass in both"),
        ({"read": lambda made, seen, cached: seen if cached or not made else 1}, "exchanged"),
        ({"passes": lambda new: range(new + 1)}, "one pass too many"),
        ({"passes": lambda new: range(new - 1)}, "one pass too few"),
        ({"passes": lambda new: range(1, new)}, "over the prompt, is missing"),
        ({"grows": 0}, "the text never grows"),
        ({"one": lambda read, seen, n, d: read * n + d * read * seen}, "attention is counted once"),
        ({"one": lambda read, seen, n, d: read * n}, "attention is missing"),
        ({"one": lambda read, seen, n, d: read * n + 2 * d * seen * seen}, "all queries ask again"),
        ({"one": lambda read, seen, n, d: read * n + 2 * d * read * read}, "looks only at itself"),
        ({"read": lambda made, seen, cached: 1 if cached else seen}, "The prompt is not in the"),
        (
            {"one": lambda read, seen, n, d: 2 * read * n + 4 * d * read * seen},
            "twice the number",
        ),
        ({"one": lambda read, seen, n, d: read * n + 3 * d * read * seen}, "it should be"),
    ],
)
def test_a_slip_in_the_count_is_named(slip: dict[str, Any], words: str) -> None:
    fails(check.total_macs, lambda *case: counted(*case, **slip), words)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda prompt, new, weights, width, use_cache: "many", "a number is expected"),
        (lambda prompt, new, weights, width, use_cache: None, "returns nothing yet"),
        (lambda prompt, new: 1, "cannot be called with 5 arguments"),
        (12, "your function itself"),
    ],
)
def test_a_broken_count_is_answered_in_words(answer: Any, words: str) -> None:
    fails(check.total_macs, answer, words)
