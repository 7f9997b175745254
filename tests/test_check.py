"""Checks: right answers pass, and each typical mistake is called by its name."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from qkvlib import SHARINGS, ModelConfig, check
from qkvlib.accounting import cache_bytes, count_parameters
from qkvlib.check import CheckFailed


def fails(run: Callable[..., None], answer: Any, *words: str) -> str:
    with pytest.raises(CheckFailed) as caught:
        run(answer)
    message = str(caught.value)
    for word in words:
        assert word in message, message
    return message


def test_a_wrong_answer_is_shown_as_words_not_as_a_traceback() -> None:
    assert CheckFailed("so and so")._render_traceback_() == ["Not yet. so and so"]


# The parts of a right answer, each of which a mistake may replace.
def bytes_with(**wrong: Callable[..., float]) -> Callable[..., float]:
    parts: dict[str, Callable[..., float]] = {
        "layers": lambda c, t, b, s: c.n_layers,
        "kept": lambda c, t, b, s: len(c.sharing.cached),
        "heads": lambda c, t, b, s: c.n_kv_heads,
        "dim": lambda c, t, b, s: c.head_dim,
        "tokens": lambda c, t, b, s: t,
        "batch": lambda c, t, b, s: b,
        "size": lambda c, t, b, s: s,
    } | wrong

    def answer(config: ModelConfig, tokens: int, batch_size: int, itemsize: int) -> float:
        total = 1.0
        for part in parts.values():
            total *= part(config, tokens, batch_size, itemsize)
        return total

    return answer


@pytest.mark.parametrize(
    ("part", "wrong", "words"),
    [
        ("kept", lambda c, t, b, s: 2, "counts V although K=V is tied"),
        ("kept", lambda c, t, b, s: 1, "one tensor per token always"),
        ("kept", lambda c, t, b, s: len(c.sharing.projections), "counted projections"),
        ("heads", lambda c, t, b, s: c.n_heads, "n_heads (or d_model) where the cache holds"),
        ("heads", lambda c, t, b, s: c.n_heads // c.n_kv_heads, "query heads per KV head"),
        ("heads", lambda c, t, b, s: 1, "KV heads are missing"),
        ("dim", lambda c, t, b, s: 1, "width of a head is missing"),
        ("dim", lambda c, t, b, s: c.d_model, "d_model where one head"),
        ("layers", lambda c, t, b, s: 1, "layers are missing"),
        ("tokens", lambda c, t, b, s: 1, "tokens are missing"),
        ("tokens", lambda c, t, b, s: c.max_seq_len, "max_seq_len"),
        ("tokens", lambda c, t, b, s: t * t, "squared the tokens"),
        ("batch", lambda c, t, b, s: 1, "batch is missing"),
        ("size", lambda c, t, b, s: 1, "numbers, not bytes"),
        ("size", lambda c, t, b, s: 2, "2 bytes for every number"),
        ("size", lambda c, t, b, s: 4, "4 bytes for every number"),
        ("size", lambda c, t, b, s: 8 * s, "bits"),
        ("size", lambda c, t, b, s: s / 1024, "KiB"),
        ("size", lambda c, t, b, s: s / 1000, "kB"),
    ],
)
def test_cache_bytes_names_the_factor(part: str, wrong: Callable[..., float], words: str) -> None:
    message = fails(check.cache_bytes, bytes_with(**{part: wrong}), words, "times what it is")
    assert "wo things" not in message


def test_cache_bytes_names_two_mistakes_at_once() -> None:
    answer = bytes_with(kept=lambda c, t, b, s: 2, layers=lambda c, t, b, s: 1)
    fails(check.cache_bytes, answer, "Two things at once", "V although", "layers are missing")


def test_cache_bytes_passes_the_right_answer(capsys: pytest.CaptureFixture[str]) -> None:
    check.cache_bytes(bytes_with())
    assert "Correct" in capsys.readouterr().out


def test_cache_bytes_with_an_unknown_mistake_shows_the_first_case() -> None:
    answer = bytes_with(dim=lambda c, t, b, s: c.head_dim + 1)
    fails(check.cache_bytes, answer, "For QKV with 5 layers", "it should be", "0 of 8 cases")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda c, t, b, s: None, "returns nothing yet"),
        (lambda c, t, b, s: ..., "returns nothing yet"),
        (lambda c, t, b, s: "12", "a number is expected"),
        (lambda c, t, b, s: 1 / 0, "ZeroDivisionError"),
        (lambda c, t, b, s: c.n_layer, "AttributeError"),
        (lambda c, t: 1, "cannot be called with 4 arguments"),
        (12, "your function itself"),
    ],
)
def test_broken_functions_are_explained(answer: Any, words: str) -> None:
    fails(check.cache_bytes, answer, words)


def test_an_error_inside_names_the_learners_line() -> None:
    def answer(c: ModelConfig, t: int, b: int, s: int) -> int:
        x = 1
        return x.missing  # type: ignore[attr-defined, no-any-return]

    line = answer.__code__.co_firstlineno + 2
    fails(check.cache_bytes, answer, f"line {line} of its cell")


RIGHT_UNITS = {"QKV": "MB", "Q-K=V": "MB", "GQA-8": "MiB", "MQA": "MiB", "Q-MQA": "MiB"}


def test_units() -> None:
    check.units(RIGHT_UNITS)
    for row, unit in RIGHT_UNITS.items():
        other = {"MB": "MiB", "MiB": "MB"}[unit]
        fails(check.units, RIGHT_UNITS | {row: other}, row, other, "the table prints")
    fails(check.units, dict.fromkeys(RIGHT_UNITS, "MB or MiB?"), "not one of the two units")
    fails(check.units, RIGHT_UNITS | {"QMA": "MB"}, "Did you mean")
    fails(check.units, ..., "dictionary")


def users_with(weights: int = 2, gb: float = 1e9, up: bool = False, floor: bool = True) -> Any:
    def answer(config: ModelConfig, tokens: int, budget_gb: float) -> float:
        left = int(budget_gb * gb) - weights * count_parameters(config)
        if floor:
            left = max(0, left)
        each = cache_bytes(config, tokens)
        return -(-left // each) if up else left // each

    return answer


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"weights": 0}, "weights are missing"),
        ({"weights": 1}, "1 byte for each parameter"),
        ({"weights": 4}, "4 bytes for each parameter"),
        ({"gb": 2**30}, "GiB"),
        ({"gb": 2**30, "weights": 0}, "weights are missing, and a GB"),
        ({"up": True}, "rounded up"),
        ({"floor": False}, "negative number of users"),
        ({"floor": False, "weights": 4}, "4 bytes for each parameter"),
    ],
)
def test_users_names_the_mistake(wrong: dict[str, Any], words: str) -> None:
    fails(check.users, users_with(**wrong), words)


def test_users_right_and_nearly_right() -> None:
    check.users(users_with())
    fails(check.users, lambda c, t, gb: users_with()(c, t, gb) + 0.25, "round down")


def tied(**wrong: Any) -> Any:
    def answer(x: Any, weights: Any, roles: Any) -> Any:
        made = wrong.get("project", lambda w, r: (w[r["q"]], w[r["k"]], w[r["v"]]))(weights, roles)
        q, k, v = (x @ w for w in made)
        scores = (k @ q.T if wrong.get("flip") else q @ k.T) * wrong.get("scale", 16**-0.5)
        hidden = ~torch.ones_like(scores, dtype=torch.bool).tril(wrong.get("tril", 0))
        if wrong.get("mask", True):
            scores = scores.masked_fill(hidden, float("-inf"))
        return scores.softmax(dim=wrong.get("dim", -1)) @ v

    return answer


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"project": lambda w, r: (w["q"], w["k"], w["v"])}, ("Q=K-V", "weights['q']", "roles")),
        (
            {"project": lambda w, r: (w[r["q"]], w[r["k"]], w[r["k"]])},
            ("QKV", "v is made with weights['k']", "v -> 'v'"),
        ),
        (
            {"project": lambda w, r: (w[r["k"]], w[r["q"]], w[r["v"]])},
            ("QKV", "transposed"),
        ),
        ({"scale": 1.0}, ("scale is missing",)),
        ({"scale": 1 / 16}, ("divided by D",)),
        ({"mask": False}, ("mask is missing",)),
        ({"mask": False, "scale": 1.0}, ("neither scale nor mask",)),
        ({"dim": 0}, ("wrong axis",)),
        ({"flip": True}, ("transposed",)),
        ({"tril": -1}, ("NaN", "diagonal")),
        ({"tril": 1}, ("first position that differs is 0",)),
    ],
)
def test_tie_names_the_mistake(wrong: dict[str, Any], words: tuple[str, ...]) -> None:
    fails(check.tie, tied(**wrong), *words)


def test_tie_right_and_broken() -> None:
    check.tie(tied())

    def all_made_first(x: Any, weights: Any, roles: Any) -> Any:
        made = {name: x.double() @ weights[name].double() for name in weights}
        assert sorted(weights.keys()) == sorted(set(roles.values())) == sorted(made)
        q, k, v = (made[roles[role]] for role in "qkv")
        hidden = ~torch.ones(len(x), len(x), dtype=torch.bool).tril()
        return (q @ k.T / 4).masked_fill(hidden, float("-inf")).softmax(-1) @ v

    check.tie(all_made_first)
    by_name = tied(project=lambda w, r: [w.get(role, w.get("k")) for role in "qkv"])
    fails(check.tie, by_name, "roles={'q': 'first'")
    fails(check.tie, lambda x, w, r: None, "returns nothing yet")
    fails(check.tie, lambda x, w, r: x[0], "shape (16,)", "expected (T, D)")
    fails(check.tie, lambda x, w, r: 3, "a tensor is expected")
    fails(check.tie, lambda x, w, r: x @ w["z"], "KeyError")
    fails(check.tie, ..., "your function itself")


def test_the_line_that_stopped_is_the_learners_own() -> None:
    @torch.no_grad()
    def answer(x: Any, weights: Any, roles: Any) -> Any:
        return weights["nowhere"]

    line = answer.__wrapped__.__code__.co_firstlineno + 2
    fails(check.tie, answer, f"(line {line} of its cell): KeyError")


def test_symmetric() -> None:
    right = {name: s.ties_query for name, s in SHARINGS.items()}
    state = torch.get_rng_state()
    check.symmetric(right)
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in right.items():
        fails(check.symmetric, right | {name: not value}, name, "measured asymmetry")
    fails(check.symmetric, dict.fromkeys(SHARINGS, "True or False?"), "answer True or False")
    fails(check.symmetric, right | {"Q=KV": True}, "Did you mean")


def test_kept() -> None:
    check.kept(lambda roles: [*dict.fromkeys((roles["k"], roles["v"]))])
    check.kept(lambda roles: {roles["k"], roles["v"]})
    fails(check.kept, lambda roles: [roles["k"], roles["v"]], "Q-K=V", "twice")
    fails(check.kept, lambda roles: set(roles.values()), "QKV", "A query is used once")
    fails(check.kept, lambda roles: ["k", "v"], "Q-K=V", "'v'")
    fails(check.kept, lambda roles: ["k"], "QKV", "'v' is missing")
    fails(check.kept, lambda roles: "kv", "a list of names")
    by_name = {"q": "first", "k": "first", "v": "second"}
    fails(check.kept, lambda roles: {*roles.values()} - {"q"} - {"first"}, f"roles={by_name}")
    fails(check.kept, lambda roles: None, "returns nothing yet")
