"""What a pass costs: multiplications as PyTorch counts them, bytes as the cache weighs them."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from qkvlib import KVCache, ModelConfig, build_model, get_config, matrix_weights, pass_cost

SHAPE = ModelConfig(d_model=24, n_layers=2, n_heads=4, vocab_size=16, max_seq_len=24)
VARIANTS = ["QKV", "Q=K-V", "Q-K=V", "Q=K=V", "GQA-2", "MQA", "Q-MQA"]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(
    ("new", "held", "batch_size"), [(7, 0, 1), (1, 6, 1), (3, 5, 2), (1, 0, 2)]
)
def test_it_is_what_a_real_pass_does(variant: str, new: int, held: int, batch_size: int) -> None:
    config = SHAPE.replace(variant=variant)
    model = build_model(config, seed=0).eval()
    cache = KVCache(config, batch_size)
    tokens = torch.zeros(batch_size, held + new, dtype=torch.int64)
    with torch.inference_mode():
        if held:
            model(tokens[:, :held], cache=cache)
        before = cache.nbytes_used
        with FlopCounterMode(display=False) as counter:
            model(tokens[:, held:], cache=cache, return_attention=True)
    cost = pass_cost(config, new, held, batch_size=batch_size)
    assert cost.macs == counter.get_total_flops() // 2
    assert (cost.cache_read, cost.cache_written) == (before, cache.nbytes_used - before)
    assert cost.weight_bytes == 4 * matrix_weights(config)
    assert cost.bytes_read == cost.weight_bytes + before
    assert cost.macs_per_byte == cost.macs / cost.bytes_read


def test_without_a_cache_the_factor_is_the_length() -> None:
    for length in (1, 2, 17):
        anew = pass_cost(SHAPE, length, use_cache=False)
        assert anew.macs == length * pass_cost(SHAPE, 1, length - 1).macs
        assert (anew.cache_read, anew.cache_written) == (0, 0)


def test_a_batch_shares_the_weights_and_nothing_else() -> None:
    large = get_config("300M")
    one = pass_cost(large, 1, 2047, dtype=torch.float16)
    many = pass_cost(large, 1, 2047, batch_size=16, dtype=torch.float16)
    assert many.weight_bytes == one.weight_bytes == 2 * matrix_weights(large)
    assert (many.macs, many.cache_read) == (16 * one.macs, 16 * one.cache_read)
    assert one.cache_read == 80 * 1024 * 2047  # the paper's 80 KiB per token


def test_untied_embeddings_count_the_output_layer_only() -> None:
    untied = SHAPE.replace(tie_embeddings=False)
    assert matrix_weights(untied) == matrix_weights(SHAPE)
    # 12 d² for each layer, and the output layer.
    assert matrix_weights(SHAPE) == 2 * 12 * 24 * 24 + 16 * 24


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"new": 0}, "new=0: expected a whole number of at least 1"),
        ({"new": 1, "held": -1}, "held=-1"),
        ({"new": 1, "batch_size": 0}, "batch_size=0"),
        ({"new": 1, "held": 3, "use_cache": False}, "new=4, held=0"),
    ],
)
def test_counts_that_make_no_sense_are_refused(arguments: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        pass_cost(SHAPE, **arguments)  # type: ignore[arg-type]
