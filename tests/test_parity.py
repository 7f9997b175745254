"""Fast paths equal slow ones, and tied models equal untied ones with copied weights."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given, strategies as st
from torch import Tensor, nn

from qkvlib import (
    GPT,
    PLUS_CHANNELS,
    Attention,
    KVCache,
    ModelConfig,
    PlusTerm,
    asymmetry,
    build_model,
    get_config,
    sinusoid,
)
from qkvlib.attention import attend_folded

from strategies import configs

# A norm over four channels that are nearly alike enlarges rounding; float64 shows what is exact.
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-10}
PRECISIONS = st.sampled_from(list(TOLERANCE))


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=TOLERANCE[a.dtype])


def model_and_tokens(config: ModelConfig, dtype: torch.dtype, batch: int = 2):
    model = build_model(config, seed=1).to(dtype).eval()
    # Weights as wide as trained ones: small initial weights would hide an error in the tolerance.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model, torch.randint(config.vocab_size, (batch, config.max_seq_len))


@torch.no_grad()
@given(configs(causal=True), PRECISIONS, st.booleans(), st.data())
def test_decoding_with_a_cache_equals_the_full_pass(config, dtype, grows, data) -> None:
    model, tokens = model_and_tokens(config, dtype)
    full = model(tokens)
    cache = KVCache(config, 2, dtype=dtype, **({"chunk": 5} if grows else {}))
    parts, start = [], 0
    while start < tokens.shape[1]:
        size = data.draw(st.integers(1, tokens.shape[1] - start), label="chunk")
        parts.append(model(tokens[:, start : start + size], cache=cache))
        start += size
    close(torch.cat(parts, dim=1), full)


@torch.no_grad()
@given(configs(causal=True), PRECISIONS)
def test_decoding_token_by_token_equals_the_full_pass(config, dtype) -> None:
    model, tokens = model_and_tokens(config, dtype)
    cache = KVCache(config, 2, dtype=dtype)
    steps = [model(tokens[:, t : t + 1], cache=cache) for t in range(tokens.shape[1])]
    close(torch.cat(steps, dim=1), model(tokens))


@torch.no_grad()
@given(configs(causal=True), st.integers(0, 11), st.booleans())
def test_a_truncated_cache_goes_on_from_there(config, keep, maps) -> None:
    model, tokens = model_and_tokens(config, torch.float64)
    cache = KVCache(config, 2, dtype=torch.float64)
    model(torch.flip(tokens, [1])[:, :12], cache=cache)
    cache.reset()
    model(tokens, cache=cache)
    cache.truncate(keep)
    again = model(tokens[:, keep:], cache=cache, return_attention=maps)
    close(again[0] if maps else again, model(tokens)[:, keep:])


@torch.no_grad()
def test_without_an_output_projection_the_heads_are_the_output() -> None:
    config = get_config("small").replace(n_layers=1, out_proj=False, bias=False)
    bare = build_model(config, seed=1).blocks[0].attention
    projected = Attention(config.replace(out_proj=True))
    projected.in_proj.load_state_dict(bare.in_proj.state_dict())
    projected.out_proj.weight.copy_(torch.eye(config.d_model))
    x = torch.randn(2, 7, config.d_model)
    close(bare(x)[0], projected(x)[0])
    assert not list(bare.out_proj.parameters())


@torch.no_grad()
@given(configs(), PRECISIONS)
def test_asking_for_maps_does_not_change_the_logits(config, dtype) -> None:
    model, tokens = model_and_tokens(config, dtype)
    logits, maps = model(tokens, return_attention=True)
    close(logits, model(tokens))
    t = tokens.shape[1]
    assert len(maps) == config.n_layers
    for layer in maps:
        assert layer.scores.shape == layer.weights.shape == (2, config.n_heads, t, t)
        close(layer.weights.sum(-1), torch.ones(2, config.n_heads, t, dtype=dtype))
        if config.causal:
            assert layer.weights.triu(1).abs().max() == 0
        if config.sharing.ties_query and not config.plus_channels:
            assert asymmetry(layer.scores).max() < 1e-5


@torch.no_grad()
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_qkv_equals_torch_s_multihead_attention(causal: bool, dtype: torch.dtype) -> None:
    config = ModelConfig(
        d_model=24, n_layers=1, n_heads=4, vocab_size=5, max_seq_len=9, causal=causal
    )
    ours = Attention(config).to(dtype)
    theirs = nn.MultiheadAttention(24, 4, batch_first=True, dtype=dtype)
    theirs.in_proj_weight.copy_(ours.in_proj.weight)
    theirs.in_proj_bias.copy_(ours.in_proj.bias)
    theirs.out_proj.load_state_dict(ours.out_proj.state_dict())
    x = torch.randn(3, 9, 24, dtype=dtype)
    mask = torch.ones(9, 9, dtype=torch.bool).triu(1) if causal else None
    expected, weights = theirs(x, x, x, attn_mask=mask, average_attn_weights=False)
    output, maps = ours(x, return_attention=True)
    close(output, expected)
    close(maps.weights, weights)
    close(ours(x)[0], expected)


@torch.no_grad()
@pytest.mark.parametrize("n_kv_heads", [1, 2, 3, 6])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_gqa_equals_torch_s_enable_gqa(n_kv_heads: int, dtype: torch.dtype) -> None:
    config = ModelConfig(
        d_model=24, n_layers=1, n_heads=6, n_kv_heads=n_kv_heads, vocab_size=5, max_seq_len=9
    )
    attention = Attention(config).to(dtype)
    cache = KVCache(config, 2, dtype=dtype)
    x = torch.randn(2, 9, 24, dtype=dtype)
    q, k, v = (
        p.unflatten(-1, (-1, 4)).transpose(1, 2)
        for p in attention.in_proj(x).split(attention.widths, dim=-1)
    )
    y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    expected = attention.out_proj(y.transpose(1, 2).flatten(2))
    close(attention(x)[0], expected)
    close(attention(x, return_attention=True)[0], expected)
    steps = [attention(x[:, t : t + 1], cache.layers[0])[0] for t in range(9)]
    close(torch.cat(steps, dim=1), expected)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("batch", "n_heads", "n_kv_heads"), [(1, 4, 1), (1, 3, 1), (2, 4, 1), (1, 4, 2)]
)
def test_folding_equals_repeating(
    batch: int, n_heads: int, n_kv_heads: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one KV head, its queries are shared out where there are threads to share them out to."""
    monkeypatch.setattr("torch.get_num_threads", lambda: threads)
    q = torch.randn(batch, n_heads, 1, 8)
    k, v = (torch.randn(batch, n_kv_heads, 7, 8) for _ in range(2))
    repeated = (each.repeat_interleave(n_heads // n_kv_heads, dim=1) for each in (k, v))
    close(attend_folded(q, k, v), F.scaled_dot_product_attention(q, *repeated))


@torch.no_grad()
@given(configs(), PRECISIONS)
def test_a_tied_model_equals_an_untied_one_with_copied_weights(config, dtype) -> None:
    """K=V is QKV whose value weights were copied from its keys; Q=K likewise for queries."""
    tied, tokens = model_and_tokens(config, dtype)
    untied = build_model(config.replace(sharing="QKV")).to(dtype).eval()
    roles = config.sharing.roles
    weights = {}
    for name, tensor in tied.state_dict().items():
        if ".in_proj." in name:
            block = tied.get_submodule(name.rsplit(".", 2)[0])
            rows = dict(zip(block.names, tensor.split(block.widths), strict=True))
            tensor = torch.cat([rows[roles[role]] for role in ("q", "k", "v")])
        weights[name] = tensor
    untied.load_state_dict(weights)
    close(untied(tokens), tied(tokens))


@torch.no_grad()
@given(st.integers(2, 12), st.sampled_from([2, 4, PLUS_CHANNELS]), PRECISIONS)
def test_the_plus_shortcut_equals_the_literal_convolution(n, m, dtype) -> None:
    """S' by two vectors equals a 1x1 convolution over the n x n x m tensor S + P."""
    config = get_config("small").replace(causal=False, plus_channels=m)
    plus = PlusTerm(config).to(dtype)
    plus.weight.copy_(torch.randn(m))
    plus.bias.copy_(torch.randn(()))
    conv = nn.Conv2d(m, 1, kernel_size=1, dtype=dtype)
    conv.weight.copy_(plus.weight[None, :, None, None])
    conv.bias.copy_(plus.bias[None])
    codes = sinusoid(n, m // 2).to(dtype)
    p = torch.cat(
        [codes[:, None].expand(n, n, m // 2), codes[None, :].expand(n, n, m // 2)], dim=-1
    )
    scores = torch.randn(n, n, dtype=dtype)
    literal = conv((scores[:, :, None] + p).permute(2, 0, 1)[None])[0, 0]
    gain, addend = plus(n)
    close(gain * scores + addend, literal)


@torch.no_grad()
def test_plus_makes_symmetric_scores_asymmetric() -> None:
    config = get_config("small").replace(variant="(Q=K-V)+", causal=False)
    attention = Attention(config)
    attention.plus.weight.copy_(torch.randn(PLUS_CHANNELS))
    x = torch.randn(1, 16, config.d_model)
    assert asymmetry(attention(x, return_attention=True)[1].scores).min() > 0.1


@torch.no_grad()
@given(configs(causal=True))
def test_causal_models_do_not_see_the_future(config) -> None:
    model, tokens = model_and_tokens(config, torch.float64)
    changed = tokens.clone()
    changed[:, 7:] = (changed[:, 7:] + 1) % config.vocab_size
    close(model(changed)[:, :7], model(tokens)[:, :7])


@torch.no_grad()
@given(configs(causal=True, rope=False))
def test_k_equals_v_keeps_outputs_in_the_span_of_the_keys(config) -> None:
    """With K=V each head's output is a convex mix of its keys."""
    config = config.replace(sharing="Q-K=V", n_layers=1)
    attention = Attention(config).double()
    attention.out_proj = nn.Identity()
    x = torch.randn(1, 6, config.d_model, dtype=torch.float64)
    y, maps = attention(x, return_attention=True)
    k = attention.in_proj(x).split(attention.widths, -1)[1].unflatten(-1, (-1, config.head_dim))
    k = k.repeat_interleave(config.n_heads // config.n_kv_heads, dim=2).transpose(1, 2)
    close(y, (maps.weights @ k).transpose(1, 2).flatten(2))


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_two_byte_decoding_runs_and_stays_near(dtype: torch.dtype) -> None:
    config = get_config("small").replace(variant="Q-MQA")
    model = GPT(config).eval()
    tokens = torch.randint(256, (1, 20))
    full = model(tokens)
    half = model.to(dtype)
    cache = KVCache(config, dtype=dtype)
    steps = [half(tokens[:, t : t + 1], cache=cache) for t in range(20)]
    torch.testing.assert_close(torch.cat(steps, 1).float(), full, rtol=0, atol=0.05)
