"""Generation: the cache changes what it costs and nothing else."""

import itertools

import pytest
import torch
from hypothesis import given, strategies as st

from qkvlib import ModelConfig, build_model, bytes_per_token
from qkvlib.generation import GenerateError, generate, stream_text
from qkvlib.tasks.text import decode

from strategies import configs

BASE = ModelConfig(d_model=16, n_layers=2, n_heads=4, vocab_size=50, max_seq_len=24)
PROMPT = torch.tensor([3, 1, 4, 1, 5])
VARIANTS = ["QKV", "Q=K-V", "Q-K=V", "Q=K=V", "GQA-2", "MQA", "Q-GQA-2", "Q-MQA"]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("variant", VARIANTS)
def test_cache_changes_no_token(variant: str, temperature: float) -> None:
    config = BASE.replace(variant=variant)
    # In float64, so that a near tie cannot fall to either side; larger weights make it livelier.
    model = build_model(config, seed=1).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4.0)
    with_cache = generate(model, PROMPT, 19, temperature=temperature, seed=7)
    without = generate(model, PROMPT, 19, temperature=temperature, seed=7, use_cache=False)
    tokens = list(with_cache)
    assert tokens == list(without)
    assert len(tokens) == 19
    assert without.cache is None
    assert without.stats.cache_bytes == 0
    # The last token is never read, so it is never held.
    assert with_cache.stats.cache_bytes == 23 * bytes_per_token(config, torch.float64)
    assert with_cache.cache is not None
    assert with_cache.cache.length == with_cache.cache.capacity == 23


@given(configs(causal=True), st.data())
def test_cache_changes_no_token_of_any_configuration(
    config: ModelConfig, data: st.DataObject
) -> None:
    model = build_model(config, seed=data.draw(st.integers(0, 99))).double()
    length = data.draw(st.integers(1, config.max_seq_len - 1))
    prompt = torch.randint(config.vocab_size, (length,))
    n = data.draw(st.integers(1, config.max_seq_len - length))
    top_k = data.draw(st.none() | st.integers(1, 20))
    runs = [list(generate(model, prompt, n, top_k=top_k, use_cache=use)) for use in (True, False)]
    assert runs[0] == runs[1]


def test_greedy_takes_the_likeliest() -> None:
    model = build_model(BASE, seed=0).eval()
    tokens = PROMPT.tolist()
    for token in generate(model, PROMPT, 5, temperature=0):
        with torch.inference_mode():
            assert token == int(model(torch.tensor([tokens]))[0, -1].argmax())
        tokens.append(token)


def test_seed_repeats_and_varies() -> None:
    model = build_model(BASE, seed=0)
    runs = [list(generate(model, PROMPT, 19, seed=seed)) for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]
    torch.manual_seed(5)
    state = torch.get_rng_state()
    list(generate(model, PROMPT, 3))
    assert torch.equal(state, torch.get_rng_state())  # the global generator is left alone


def test_sampling_follows_the_model() -> None:
    model = build_model(BASE.replace(vocab_size=4), seed=3).eval()
    prompt = torch.tensor([1, 2])
    with torch.inference_mode():
        logits = model(prompt[None])[0, -1]
    n = 800
    for temperature, top_k in ((1.0, None), (0.02, None), (0.02, 2)):
        expected = logits / temperature
        if top_k is not None:
            expected[expected < expected.topk(top_k).values[-1]] = -torch.inf
        drawn = torch.tensor(
            [
                next(generate(model, prompt, 1, temperature=temperature, top_k=top_k, seed=seed))
                for seed in range(n)
            ]
        )
        share = drawn.bincount(minlength=4) / n
        assert torch.allclose(share, expected.softmax(dim=-1), atol=0.071)  # 4 deviations
        if top_k is not None:
            assert int((share > 0).sum()) <= top_k


def test_tiny_temperature_is_greedy_and_top_k_may_exceed_the_vocabulary() -> None:
    model = build_model(BASE, seed=0)
    greedy = list(generate(model, PROMPT, 8, temperature=0))
    assert list(generate(model, PROMPT, 8, temperature=1e-30)) == greedy
    assert list(generate(model, PROMPT, 8, top_k=1)) == greedy
    assert list(generate(model, PROMPT, 8, top_k=999)) == list(generate(model, PROMPT, 8))


@pytest.mark.parametrize("training", [True, False])
def test_the_model_stays_as_it_was(training: bool) -> None:
    model = build_model(BASE.replace(dropout=0.5), seed=0).train(training)
    tokens = generate(model, PROMPT, 6)
    for _ in tokens:
        assert model.training is training
        assert not torch.is_inference_mode_enabled()
    model.train()
    assert list(generate(model, PROMPT, 6)) == list(generate(model.eval(), PROMPT, 6))


def test_stats_grow_with_the_tokens() -> None:
    generation = generate(build_model(BASE, seed=0), PROMPT, 10)
    assert generation.stats.new_tokens == 0
    assert generation.stats.tokens_per_second == 0
    next(generation)
    assert generation.stats.prefill_seconds > 0
    assert generation.stats.decode_seconds == 0
    assert len(list(itertools.islice(generation, 4))) == 4
    stats = generation.stats
    assert (stats.prompt_tokens, stats.new_tokens) == (5, 5)
    assert stats.tokens_per_second == pytest.approx(4 / stats.decode_seconds)
    assert len(list(generation)) == 5
    assert next(generation, None) is None


@pytest.mark.parametrize(
    ("prompt", "arguments", "message"),
    [
        (torch.tensor([], dtype=torch.int64), {}, "prompt is empty"),
        (PROMPT[None], {}, r"shape \(1, 5\)"),
        (PROMPT.float(), {}, "float32"),
        (PROMPT + 46, {}, r"tokens from 47 to 51; the model knows 0 to 49"),
        (-PROMPT, {}, "tokens from -5"),
        (PROMPT, {"max_new_tokens": 20}, r"max_seq_len=24\. Ask for at most 19 new tokens"),
        (torch.ones(24, dtype=torch.int64), {}, r"max_seq_len=24\. Shorten the prompt"),
        (PROMPT, {"max_new_tokens": 0}, "max_new_tokens=0"),
        (PROMPT, {"temperature": -0.1}, "temperature=-0.1"),
        (PROMPT, {"temperature": float("nan")}, "temperature=nan"),
        (PROMPT, {"top_k": 0}, "top_k=0"),
    ],
)
def test_refusals_teach(prompt: torch.Tensor, arguments: dict, message: str) -> None:
    with pytest.raises(GenerateError, match=message):
        generate(build_model(BASE), prompt, **{"max_new_tokens": 3, **arguments})


def test_an_encoder_does_not_write() -> None:
    with pytest.raises(GenerateError, match="causal=True"):
        generate(build_model(BASE.replace(causal=False)), PROMPT, 3)


@given(st.binary() | st.text().map(str.encode))
def test_streamed_text_is_the_decoded_text(data: bytes) -> None:
    assert "".join(stream_text(data)) == decode(data)


def test_characters_are_streamed_whole() -> None:
    assert list(stream_text("aé€😀".encode())) == ["a", "é", "€", "😀"]
    assert list(stream_text("€".encode()[:2])) == ["\ufffd"]
