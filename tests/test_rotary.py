"""Rotary positions: what turning does, and what each way of tying keys and values promises."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor

from qkvlib import (
    ROPE_SCHEMES,
    SHARINGS,
    ConfigError,
    KVCache,
    ModelConfig,
    RelativeValues,
    Rotary,
    build_model,
    bytes_per_token,
    get_config,
    saved,
)

from strategies import configs

TIED = "Q-K=V"
SMALL = ModelConfig(
    d_model=16, n_layers=2, n_heads=2, vocab_size=11, max_seq_len=24, position="rope",
    rope_scheme="rotate_on_read", sharing=TIED,
)  # fmt: skip


def wide(config: ModelConfig):
    """A model in double precision, its weights as wide as trained ones."""
    model = build_model(config, seed=0).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


def tokens(n: int = 12) -> Tensor:
    return torch.randint(11, (2, n), generator=torch.Generator().manual_seed(0))


@given(st.sampled_from([2, 4, 8]), st.integers(0, 3), st.integers(0, 9))
def test_turning_is_a_multiplication_of_complex_numbers(rotary_dim, rest, start) -> None:
    rotary = Rotary(rotary_dim, 16, 100.0)
    x = torch.randn(3, 5, rotary_dim + rest)
    half = rotary_dim // 2
    pairs = torch.complex(x[..., :half].double(), x[..., half:rotary_dim].double())
    place = torch.arange(start, start + 5)[:, None]
    speed = torch.tensor([100.0 ** (-2 * c / rotary_dim) for c in range(half)])
    turned = pairs * torch.exp(1j * place.double() * speed.double())
    wanted = torch.cat([turned.real, turned.imag, x[..., rotary_dim:].double()], dim=-1)
    torch.testing.assert_close(rotary.turn(x, start).double(), wanted, rtol=0, atol=2e-5)
    torch.testing.assert_close(rotary.turn_back(rotary.turn(x, start), start), x)
    torch.testing.assert_close(rotary.turn(x, start).norm(dim=-1), x.norm(dim=-1))


@given(st.integers(0, 7), st.integers(0, 7), st.integers(0, 8))
def test_a_score_depends_on_the_distance_only(i, j, shift) -> None:
    rotary = Rotary(4, 16, 100.0).double()
    q, k = torch.randn(2, 1, 6, dtype=torch.float64)

    def score(i: int, j: int) -> Tensor:
        return (rotary.turn(q, i) * rotary.turn(k, j)).sum()

    torch.testing.assert_close(score(i, j), score(i + shift, j + shift), rtol=0, atol=1e-5)


@torch.no_grad()
@given(configs(causal=True, rope=True), st.integers(1, 12), st.integers(1, 12))
def test_only_how_far_apart_tokens_stand_matters(config, n, shift) -> None:
    """Every sharing and scheme, relative values among them."""
    config = dataclasses.replace(config, max_seq_len=24)
    model = wide(config)
    text = tokens(n)
    torch.testing.assert_close(model(text, start=shift), model(text), rtol=0, atol=1e-4)


class TurnedKeysAsValues(RelativeValues):
    """The mistake that the configuration refuses: values turn, and nothing turns them back."""

    def output(self, y: Tensor, start: int) -> Tensor:
        return y


@torch.no_grad()
def test_turned_keys_as_values_fail_that_test() -> None:
    model = wide(SMALL.replace(rope_scheme="relative_values"))
    for block in model.blocks:
        block.attention.scheme = TurnedKeysAsValues(model.config)
    moved = (model(tokens(), start=7) - model(tokens())).abs().max()
    assert moved > 0.1


@torch.no_grad()
@pytest.mark.parametrize("sharing", SHARINGS)
@pytest.mark.parametrize("fraction", [1.0, 0.25])
def test_what_the_schemes_have_in_common(sharing: str, fraction: float) -> None:
    """Two cache the same model in two ways; relative values are another model."""
    logits = {}
    for scheme in ROPE_SCHEMES:
        config = SMALL.replace(sharing=sharing, rope_scheme=scheme, rope_fraction=fraction)
        logits[scheme] = wide(config)(tokens())
    same = torch.testing.assert_close
    same(logits["rotate_on_read"], logits["two_tensors"], rtol=0, atol=1e-9)
    assert (logits["relative_values"] - logits["rotate_on_read"]).abs().max() > 0.1
    if len(SHARINGS[sharing].cached) == 2:
        plain = SMALL.replace(sharing=sharing, rope_scheme=None, rope_fraction=fraction)
        same(wide(plain)(tokens()), logits["rotate_on_read"], rtol=0, atol=1e-9)


@torch.no_grad()
@pytest.mark.parametrize(
    ("scheme", "fraction", "saving"),
    [
        ("rotate_on_read", 1.0, 0.5),
        ("relative_values", 1.0, 0.5),
        ("two_tensors", 1.0, 0.0),
        ("two_tensors", 0.25, 0.375),  # Gemma 4's global layers
        ("two_tensors", 0.5, 0.25),
        ("rotate_on_read", 0.25, 0.5),
    ],
)
def test_what_a_scheme_saves(scheme: str, fraction: float, saving: float) -> None:
    config = get_config("small").replace(
        d_model=128, sharing=TIED, position="rope", rope_scheme=scheme, rope_fraction=fraction
    )
    assert saved(config) == saving
    cache = KVCache(config, capacity=9)
    build_model(config)(torch.zeros(1, 5, dtype=torch.long), cache=cache)
    assert cache.nbytes == 9 * bytes_per_token(config, torch.float32)
    plain = KVCache(config.replace(sharing="QKV"), capacity=9)
    assert cache.nbytes == (1 - saving) * plain.nbytes


def test_turned_keys_never_serve_as_values_unasked() -> None:
    for sharing in ("Q-K=V", "Q=K=V"):
        with pytest.raises(ConfigError, match="are not values") as error:
            SMALL.replace(sharing=sharing, rope_scheme=None)
        for scheme in ROPE_SCHEMES:
            assert f"rope_scheme={scheme!r}" in str(error.value)
    for sharing in ("QKV", "Q=K-V"):
        assert SMALL.replace(sharing=sharing, rope_scheme=None).rotary_dim == 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rope_scheme": "rotate"}, "Did you mean 'rotate_on_read'"),
        ({"rope_fraction": 0.0}, "a share above 0"),
        ({"rope_fraction": 1.5}, "at most 1"),
        ({"rope_fraction": 0.3}, "even whole number"),
        ({"rope_fraction": 0.375}, "is 3 columns"),
        ({"rope_base": 1.0}, "above 1"),
        ({"position": "learned"}, "rope_scheme='rotate_on_read' with position='learned'"),
        ({"position": "none", "rope_scheme": None, "rope_fraction": 0.5}, "rope_fraction=0.5"),
        ({"position": "none", "rope_scheme": None, "rope_base": 10.0}, "rope_base=10.0"),
        ({"position": "sinusoidal_2d", "rope_scheme": None}, "position"),
    ],
)
def test_what_cannot_work_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SMALL.replace(**changes)


def test_a_start_is_checked() -> None:
    model = build_model(SMALL)
    cache = KVCache(SMALL)
    model(tokens(3), cache=KVCache(SMALL, 2))
    with pytest.raises(ValueError, match="start=4 with a cache that holds 0"):
        model(tokens(3)[:1], cache=cache, start=4)
    with pytest.raises(ValueError, match="0 or more"):
        model(tokens(3), start=-1)
    with pytest.raises(ValueError, match="a sequence of 25 tokens"):
        model(tokens(5), start=20)
    other = KVCache(SMALL.replace(rope_scheme="two_tensors"))
    with pytest.raises(ValueError, match="the cache was made for cached="):
        model(tokens(3)[:1], cache=other)


def test_positions_that_there_are_not_are_refused() -> None:
    """A slice past the end would be one row, and spread over all vectors."""
    rotary = Rotary(4, 8, 1e4)
    for start, n in ((7, 5), (8, 1), (-1, 1)):
        with pytest.raises(ValueError, match=rf"positions {start} to .*there are 8, from 0 to 7"):
            rotary.turn(torch.ones(n, 4), start)
    assert rotary.turn(torch.ones(1, 4), 7).shape == (1, 4)


def test_turning_is_not_saved_with_the_weights() -> None:
    names = build_model(SMALL).state_dict()
    assert not any("cos" in name or "sin" in name for name in names)
    assert set(names) == set(
        build_model(SMALL.replace(position="none", rope_scheme=None)).state_dict()
    )
