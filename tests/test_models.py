"""Models and cache: what they refuse, and that a refusal changes nothing."""

import pytest
import torch

from qkvlib import GPT, ConfigError, Encoder, KVCache, ModelConfig, build_model, get_config

SMALL = get_config("small").replace(d_model=16, n_layers=2, d_ff=8, max_seq_len=8)


def tokens(batch: int, t: int) -> torch.Tensor:
    return torch.zeros(batch, t, dtype=torch.long)


def test_too_long_a_sequence_is_refused() -> None:
    with pytest.raises(ValueError, match=r"9 tokens is longer than max_seq_len=8"):
        GPT(SMALL)(tokens(1, 9))


def test_a_full_cache_refuses_and_keeps_what_it_holds() -> None:
    model, cache = GPT(SMALL), KVCache(SMALL, capacity=5)
    model(tokens(1, 4), cache=cache)
    before = cache.layers[0].tensors["k"].clone()
    with pytest.raises(ValueError, match=r"holds 4 of at most 5"):
        model(tokens(1, 2), cache=cache)
    assert cache.length == 4
    assert all(layer.length == 4 for layer in cache.layers)
    assert torch.equal(cache.layers[0].tensors["k"], before)


def test_a_growing_cache_stops_at_max_seq_len() -> None:
    model, cache = GPT(SMALL), KVCache(SMALL, chunk=3)
    model(tokens(1, 8), cache=cache)
    with pytest.raises(ValueError, match="do not fit"):
        model(tokens(1, 1), cache=cache)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"capacity": 9}, "max_seq_len=8"),
        ({"capacity": 0}, "expected at least 1"),
        ({"chunk": -1}, "expected at least 1"),
        ({"batch_size": 0}, "expected at least 1"),
        ({"capacity": 4, "chunk": 4}, "give one of them"),
    ],
)
def test_caches_that_cannot_work(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        KVCache(SMALL, **arguments)


def test_an_encoder_has_no_cache() -> None:
    with pytest.raises(ValueError, match="needs a causal model"):
        KVCache(SMALL.replace(causal=False))


def test_batches_must_match() -> None:
    with pytest.raises(ValueError, match="batch_size=2"):
        GPT(SMALL)(tokens(2, 1), cache=KVCache(SMALL))


@pytest.mark.parametrize(
    "change", [{"sharing": "Q-K=V"}, {"n_kv_heads": 1}, {"n_layers": 1}, {"d_model": 32}]
)
def test_another_model_s_cache_is_refused(change: dict) -> None:
    with pytest.raises(ValueError, match="the cache was made for"):
        GPT(SMALL)(tokens(1, 1), cache=KVCache(SMALL.replace(**change)))


@pytest.mark.parametrize("shape", [(4,), (1, 0), (1, 2, 3)])
def test_odd_token_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected \(batch, positions\)"):
        GPT(SMALL)(torch.zeros(shape, dtype=torch.long))


def test_the_class_must_fit_the_configuration() -> None:
    with pytest.raises(ConfigError, match=r"config.replace\(causal=False\)"):
        Encoder(SMALL)
    with pytest.raises(ConfigError, match=r"config.replace\(causal=True\)"):
        GPT(SMALL.replace(causal=False))
    assert isinstance(build_model(SMALL.replace(causal=False)), Encoder)


@torch.no_grad()
@pytest.mark.parametrize("chunk", [None, 4])
def test_a_pass_that_was_interrupted_leaves_the_cache_whole(chunk: int | None) -> None:
    """Ctrl-C between two layers: the first has written its keys, the second has not."""
    config = ModelConfig(d_model=16, n_layers=2, n_heads=2, vocab_size=11, max_seq_len=12)
    model = build_model(config, seed=0).eval()
    text = torch.randint(11, (1, 12))
    cache = KVCache(config, chunk=chunk)
    parts = [model(text[:, :5], cache=cache)]

    def press(*_: object) -> None:
        raise KeyboardInterrupt

    for at in range(5, 12):
        hook = model.blocks[1].register_forward_pre_hook(press)
        with pytest.raises(KeyboardInterrupt):
            model(text[:, at : at + 1], cache=cache)
        hook.remove()
        parts.append(model(text[:, at : at + 1], cache=cache))
    torch.testing.assert_close(torch.cat(parts, 1), model(text))
    if chunk is None:
        with pytest.raises(ValueError, match="13 tokens for a layer with room for 12"):
            cache.layers[0].append({name: torch.zeros(1, 2, 1, 8) for name in "kv"})


def test_truncate_refuses_more_than_is_held() -> None:
    cache = KVCache(SMALL)
    with pytest.raises(ValueError, match="expected 0 to 0"):
        cache.truncate(1)


def test_the_cache_follows_the_sharing() -> None:
    names = {
        s: list(KVCache(SMALL.replace(sharing=s)).layers[0].tensors)
        for s in ("QKV", "Q=K-V", "Q-K=V", "Q=K=V")
    }
    assert names == {"QKV": ["k", "v"], "Q=K-V": ["k", "v"], "Q-K=V": ["k"], "Q=K=V": ["k"]}


def test_same_seed_same_weights() -> None:
    a, b, c = (build_model(SMALL, seed=s).state_dict() for s in (1, 1, 2))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["embedding.weight"], c["embedding.weight"])
