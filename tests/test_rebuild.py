"""Values rebuilt from keys: exact but for rounding, half the bytes, refused where impossible."""

from __future__ import annotations

import warnings

import pytest
import torch
from hypothesis import given, strategies as st

from qkvlib import (
    ConditioningError,
    ConditioningWarning,
    KVCache,
    ModelConfig,
    RebuildCache,
    build_model,
    generate,
    rebuilding,
)

CONFIG = ModelConfig(d_model=24, n_layers=2, n_heads=3, vocab_size=11, max_seq_len=20)


def model_of(config: ModelConfig = CONFIG, dtype: torch.dtype = torch.float64):
    model = build_model(config, seed=1).to(dtype).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


@torch.no_grad()
def with_condition(model, condition: float):
    """Give every layer's W_K singular values from 1 down to 1 / condition."""
    for block in model.blocks:
        attention = block.attention
        _, w_k, _ = attention.in_proj.weight.split(attention.widths)
        u, _, v = torch.linalg.svd(w_k.double())
        values = torch.logspace(0, -torch.log10(torch.tensor(condition)).item(), len(u))
        w_k.copy_(u @ torch.diag(values.double()) @ v)
    return model


@torch.no_grad()
@given(st.booleans(), st.booleans(), st.sampled_from([None, 4]), st.integers(1, 19))
def test_logits_are_those_of_the_whole_pass(bias, rope, chunk, first) -> None:
    config = CONFIG.replace(bias=bias)
    if rope:
        config = config.replace(position="rope", rope_scheme="rotate_on_read")
    model = model_of(config)
    text = torch.randint(11, (2, 20))
    cache = RebuildCache(model, 2, chunk=chunk)
    parts = [model(text[:, :first], cache=cache)]
    parts += [model(text[:, t : t + 1], cache=cache) for t in range(first, 20)]
    torch.testing.assert_close(torch.cat(parts, 1), model(text), rtol=0, atol=1e-8)


@torch.no_grad()
def test_it_holds_half_of_what_a_plain_cache_holds() -> None:
    model = model_of(dtype=torch.float32)
    half, plain = RebuildCache(model, capacity=9), KVCache(CONFIG, capacity=9)
    for cache in (half, plain):
        model(torch.zeros(1, 7, dtype=torch.long), cache=cache)
    assert 2 * half.nbytes == plain.nbytes
    assert 2 * half.nbytes_used == plain.nbytes_used
    half.truncate(3)
    assert half.length == 3


def test_there_is_never_room_for_values(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    zeros = torch.zeros

    def counted(*shape, **how):
        made.append(zeros(*shape, **how))
        return made[-1]

    monkeypatch.setattr(torch, "zeros", counted)
    cache = RebuildCache(model_of(dtype=torch.float32), capacity=9)
    assert sum(tensor.nbytes for tensor in made if tensor.ndim == 4) == cache.nbytes


@torch.no_grad()
def test_the_error_grows_with_the_condition() -> None:
    text = torch.randint(11, (1, 20))
    errors = []
    for condition in (1e1, 1e3, 1e5):
        model = with_condition(model_of(), condition).float()
        cache = RebuildCache(model, tolerance=1.0)
        assert cache.conditions == pytest.approx([condition] * 2, rel=1e-2)
        got = torch.cat([model(text[:, t : t + 1], cache=cache) for t in range(20)], dim=1)
        errors.append((got.double() - model.double()(text)).abs().max().item())
    assert errors[0] < 1e-4
    assert 10 * errors[0] < 10 * errors[1] / 3 < errors[2] / 3


@torch.no_grad()
def test_ill_conditioned_layers_are_refused_or_warned_of() -> None:
    model = with_condition(model_of(), 1e6).float()
    with pytest.raises(ConditioningError, match=r"layer [01]: W_K .* off by 0.1 of their size"):
        RebuildCache(model)
    with pytest.warns(ConditioningWarning, match="condition number of 1e"):
        RebuildCache(model, tolerance=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RebuildCache(model.double())
    model = model_of()
    model.blocks[1].attention.in_proj.weight[24:48].zero_()
    with pytest.raises(ConditioningError, match="layer 1: W_K has a condition number of inf"):
        RebuildCache(model)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sharing": "Q-K=V"}, "keys are values already"),
        ({"sharing": "Q=K-V"}, "sharing='QKV'"),
        ({"n_kv_heads": 1}, "MHA only"),
        ({"head_dim": 4}, "MHA only"),
        ({"position": "rope"}, "rope_scheme='rotate_on_read'"),
    ],
)
def test_other_models_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rebuilding(build_model(CONFIG.replace(**changes)).blocks[0].attention)


@torch.no_grad()
def test_it_serves_the_model_it_was_made_from_and_no_other() -> None:
    config = CONFIG.replace(position="rope", rope_scheme="rotate_on_read")
    made_from = model_of(config)
    sibling = build_model(config.replace(rope_scheme=None)).double().eval()
    sibling.load_state_dict(made_from.state_dict())
    text = torch.randint(11, (1, 6))
    torch.testing.assert_close(sibling(text), made_from(text))
    for other in (sibling, build_model(config, seed=2).double()):
        with pytest.raises(ValueError, match="weights of the model it was made from"):
            other(text, cache=RebuildCache(made_from))
    cache = RebuildCache(made_from)
    made_from(text, cache=cache)
    made_from.blocks[0].attention.in_proj.weight.mul_(1.1)
    with pytest.raises(ValueError, match="trained or moved since"):
        made_from(text, cache=cache)


@torch.no_grad()
def test_greedy_text_is_the_same() -> None:
    model = model_of()
    prompt = torch.tensor([1, 2, 3])
    plain = list(generate(model, prompt, 16, temperature=0))
    cache, tokens = RebuildCache(model), prompt[None]
    made = []
    for _ in range(16):
        tokens = model(tokens, cache=cache)[:, -1:].argmax(-1)
        made.append(tokens.item())
    assert made == plain
