"""Checks of lesson 04: right answers of several styles pass, each typical mistake has its words."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from qkvlib import check
from qkvlib.check import CheckFailed


def fails(run: Callable[..., None], answer: Any, *words: str) -> None:
    with pytest.raises(CheckFailed) as caught:
        run(answer)
    for word in words:
        assert word in str(caught.value), str(caught.value)


@pytest.mark.parametrize(
    "answer",
    [
        lambda h, n, g: h // (n // g),
        lambda h, n, g: h * g // n,
        lambda h, n, g: torch.arange(n).reshape(g, n // g).tolist().index(
            next(r for r in torch.arange(n).reshape(g, n // g).tolist() if h in r)
        ),
        lambda h, n, g: torch.tensor(h) // (n // g),
    ],
)  # fmt: skip
def test_kv_head_takes_every_right_answer(answer: Any, capsys: pytest.CaptureFixture[str]) -> None:
    check.kv_head(answer)
    assert "Correct for 50 query heads" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda h, n, g: h % g, "take turns"),
        (lambda h, n, g: h % (n // g), "place of a query head within its group"),
        (lambda h, n, g: h // g, "divided by the number of KV heads"),
        (lambda h, n, g: h // (n // g) + 1, "count from 1"),
        (lambda h, n, g: h, "only G of them"),
        (lambda h, n, g: g - 1 - h // (n // g), "from the other end"),
        (lambda h, n, g: h / (n / g), "use // and not /"),
        (lambda h, n, g: 0, "Query head 1 of 8 with 8 KV heads reads KV head 1"),
        (lambda h, n, g: "0", "returns str for query head 0 of 8 with 8 KV heads"),
        (lambda h, n, g: None, "returns nothing yet"),
        (lambda h, n: h, "cannot be called with 3 arguments"),
        (lambda h, n, g: h // 0, "ZeroDivisionError"),
        (..., "your function itself"),
    ],
)
def test_kv_head_names_the_mistake(answer: Any, words: str) -> None:
    fails(check.kv_head, answer, words)


def folded(**wrong: Any) -> Any:
    """Grouped attention without copies, with one part replaced."""

    def answer(q: Any, k: Any, v: Any) -> Any:
        (h, d), g = q.shape, k.shape[0]
        if wrong.get("swapped"):
            k, v = v, k
        scores = wrong.get("group", lambda q, g: q.reshape(g, h // g, d))(q, g) @ k.mT
        scores = scores * wrong.get("scale", lambda q, k: d**-0.5)(q, k)
        weights = wrong.get("softmax", lambda s: s.softmax(dim=-1))(scores)
        return wrong.get("back", lambda y: y.reshape(h, d))(weights @ v)

    return answer


def by_loop(q: Any, k: Any, v: Any) -> Any:
    group = len(q) // len(k)
    rows = []
    for h, row in enumerate(q):
        weights = (k[h // group] @ row / row.numel() ** 0.5).softmax(0)
        rows.append(weights @ v[h // group])
    return torch.stack(rows)


def by_einsum(q: Any, k: Any, v: Any) -> Any:
    grouped = q.unflatten(0, (len(k), -1))
    scores = torch.einsum("gnd,gsd->gns", grouped, k) / q.shape[-1] ** 0.5
    return torch.einsum("gns,gsd->gnd", scores.softmax(-1), v).flatten(0, 1)


def by_kernel(q: Any, k: Any, v: Any) -> Any:
    grouped = q.view(k.shape[0], -1, q.shape[1])
    return F.scaled_dot_product_attention(grouped, k, v).view_as(q)


@pytest.mark.parametrize("answer", [folded(), by_loop, by_einsum, by_kernel])
def test_grouped_takes_every_right_answer(answer: Any, capsys: pytest.CaptureFixture[str]) -> None:
    check.grouped(answer)
    assert "neither K nor V was copied" in capsys.readouterr().out


def test_a_copy_inside_a_product_is_found() -> None:
    """Expanding copies nothing; the product of what was expanded does."""

    def answer(q: Any, k: Any, v: Any) -> Any:
        (h, d), g = q.shape, k.shape[0]
        keys, values = (each[:, None].expand(g, h // g, *k.shape[1:]) for each in (k, v))
        scores = q.reshape(g, h // g, 1, d) @ keys.mT * d**-0.5
        return (scores.softmax(-1) @ values).reshape(h, d)

    with pytest.raises(CheckFailed, match=r"Your numbers are right, but .* the saving is gone"):
        check.grouped(answer)


def test_another_precision_is_right_too() -> None:
    check.grouped(lambda q, k, v: by_loop(q.double(), k.double(), v.double()))


def turns(q: Any, g: int) -> Any:
    return q.reshape(-1, g, q.shape[1]).transpose(0, 1)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"scale": lambda q, k: 1.0}, ("6 query heads and 6 KV heads", "the scale is missing")),
        ({"scale": lambda q, k: 1 / 16}, ("divided by D",)),
        ({"scale": lambda q, k: k.shape[1] ** -0.5}, ("number of tokens",)),
        ({"scale": lambda q, k: q.numel() ** -0.5}, ("width of the whole model",)),
        (
            {"group": turns, "back": lambda y: y.transpose(0, 1).reshape(-1, 16)},
            ("6 query heads and 2 KV heads", "take turns (h % G)"),
        ),
        ({"group": turns}, ("take turns", "in another order than the heads of q")),
        ({"back": lambda y: y.transpose(0, 1).reshape(-1, 16)}, ("another order of heads",)),
        ({"softmax": lambda s: s.softmax(dim=0)}, ("softmax runs over the heads", "dim=-1")),
        ({"softmax": lambda s: s.softmax(dim=1)}, ("softmax runs over the heads", "dim=-1")),
        ({"softmax": lambda s: s}, ("softmax is missing",)),
        ({"swapped": True}, ("k and v have changed places",)),
        ({"softmax": lambda s: s.softmax(-1) * 2}, ("6 of 6 query heads differ",)),
        ({"softmax": lambda s: s * float("nan")}, ("query head 0, by inf",)),
        ({"back": lambda y: y}, ("shape (6, 1, 16)", "put the heads back into one axis")),
        ({"back": lambda y: y[:, 0]}, ("6 query heads and 2 KV heads", "one output for each KV")),
        ({"back": lambda y: y.reshape(-1)}, ("shape (96,)", "one output of width D")),
    ],
)
def test_grouped_names_the_mistake(wrong: dict[str, Any], words: tuple[str, ...]) -> None:
    fails(check.grouped, folded(**wrong), *words)


def repeated(how: Callable[[Any, int], Any], scale: float = 16**-0.5) -> Any:
    def answer(q: Any, k: Any, v: Any) -> Any:
        n = len(q) // len(k)
        weights = ((how(k, n) * q[:, None]).sum(-1) * scale).softmax(-1)
        return (weights[:, None] @ how(v, n))[:, 0]

    return answer


@pytest.mark.parametrize(
    "how",
    [
        lambda x, n: x.repeat_interleave(n, dim=0),
        lambda x, n: x[torch.arange(len(x) * n) // n],
        lambda x, n: x[:, None].expand(-1, n, -1, -1).reshape(-1, *x.shape[1:]),
    ],
)
def test_a_right_result_by_copies_is_told_apart(how: Any) -> None:
    fails(check.grouped, repeated(how), "numbers are right", "3 query heads that read it")


def test_repeating_as_a_whole_is_the_wrong_order() -> None:
    fails(check.grouped, repeated(lambda x, n: x.repeat(n, 1, 1)), "take turns (h % G)")
    fails(
        check.grouped,
        repeated(lambda x, n: x.repeat(n, 1, 1), 1.0),
        "6 KV heads",
        "scale is missing",
    )


def test_scores_instead_of_outputs_are_recognised() -> None:
    weights = lambda q, k, v: (q.reshape(len(k), -1, 16) @ k.mT).softmax(-1)  # noqa: E731
    fails(check.grouped, weights, "(G, H/G, S)", "multiply them with v")
    fails(check.grouped, lambda q, k, v: weights(q, k, v).flatten(0, 1), "(H, S)")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda q, k, v: None, "returns nothing yet"),
        (lambda q, k, v: [1.0], "returns list"),
        (lambda q, k: q, "cannot be called with 3 arguments"),
        (lambda q, k, v: q @ k, "RuntimeError"),
        (3, "your function itself"),
    ],
)
def test_junk_is_answered_in_words(answer: Any, words: str) -> None:
    fails(check.grouped, answer, words)


def test_the_learners_tensors_are_their_own() -> None:
    """Writing into what it was given must not make a wrong answer right."""

    def answer(q: Any, k: Any, v: Any) -> Any:
        result = by_loop(q, k, v)
        q.zero_(), k.zero_(), v.zero_()
        return result

    with pytest.raises(CheckFailed, match="changes its argument 'q'"):
        check.grouped(answer)
