"""What is counted equals what is there: cache bytes to the byte, parameters to the unit."""

import pytest
import torch
from hypothesis import given, strategies as st

from qkvlib import (
    GPT,
    KVCache,
    build_model,
    bytes_per_token,
    cache_bytes,
    cache_table,
    count_parameters,
    format_bytes,
    get_config,
    parse_dtype,
    projection_macs,
    saved,
)

from strategies import configs

DTYPES = st.sampled_from([torch.float32, torch.float16, torch.bfloat16])


@given(configs(causal=True), DTYPES, st.integers(1, 3), st.integers(1, 12))
def test_a_preallocated_cache_holds_what_the_formula_says(config, dtype, batch, capacity) -> None:
    cache = KVCache(config, batch, capacity=capacity, dtype=dtype)
    assert cache.nbytes == cache_bytes(config, capacity, batch_size=batch, dtype=dtype)
    assert cache.nbytes_used == 0


@given(configs(causal=True), st.integers(1, 5), st.lists(st.integers(1, 4), max_size=4))
def test_a_growing_cache_holds_what_the_formula_says(config, chunk, steps) -> None:
    cache = KVCache(config, 2, chunk=chunk)
    model = GPT(config)
    assert cache.nbytes == 0
    for t in steps:
        if cache.length + t > config.max_seq_len:
            break
        model(torch.zeros(2, t, dtype=torch.long), cache=cache)
        assert cache.capacity == -(-cache.length // chunk) * chunk
        full = cache_bytes(config, cache.capacity, batch_size=2, dtype=torch.float32)
        used = cache_bytes(config, cache.length, batch_size=2, dtype=torch.float32)
        assert (cache.nbytes, cache.nbytes_used) == (full, used)


def test_shared_storage_counts_once() -> None:
    config = get_config("small")
    cache = KVCache(config, capacity=4)
    before = cache.nbytes
    cache.layers[0].tensors["v"] = cache.layers[0].tensors["k"]
    assert cache.nbytes == before - cache_bytes(config, 4, dtype=torch.float32) // (2 * 3)


@given(configs())
def test_parameters_are_counted_without_storage(config) -> None:
    real = sum(p.numel() for p in build_model(config).parameters())
    assert count_parameters(config) == real


# Kayyam et al. (2026), as printed: KiB per token of the 300M model in two-byte numbers, and
# millions of parameters of the 1.2B model.
PRINTED_KIB = {
    "QKV": 80, "Q-K=V": 40, "Q=K-V": 80, "Q=K=V": 40,
    "GQA-4": 20, "MQA": 5, "Q-GQA-4": 10, "Q-MQA": 2.5,
}  # fmt: skip
PRINTED_SAVED = {"Q-K=V": 0.5, "GQA-4": 0.75, "MQA": 0.9375, "Q-GQA-4": 0.875, "Q-MQA": 0.96875}
PRINTED_MILLIONS = {"QKV": 1215, "Q-K=V": 1123, "GQA-8": 1077, "MQA": 1036, "Q-MQA": 1033}


def test_the_paper_s_cache_table_comes_out() -> None:
    table = cache_table("300M", 32768)
    assert {r.name: r.bytes_per_token / 1024 for r in table.rows} == PRINTED_KIB
    assert {r.name: r.saved for r in table.rows if r.name in PRINTED_SAVED} == PRINTED_SAVED
    for row in table.rows:
        assert row.total_bytes == 32768 * row.bytes_per_token


def test_the_paper_s_parameter_counts_come_out() -> None:
    config = get_config("1.2B")
    for name, millions in PRINTED_MILLIONS.items():
        assert round(count_parameters(config.replace(variant=name)) / 1e6) == millions


def test_saved_at_32_heads() -> None:
    assert saved(get_config("1.2B").replace(variant="Q-MQA")) == 1 - 1 / 64


def test_the_table_as_json_and_text() -> None:
    table = cache_table("300M", 1000, dtype=torch.float32)
    data = table.to_dict()
    assert set(data) == {"config", "tokens", "dtype", "rows"}
    assert data["rows"][0] == {
        "name": "QKV", "sharing": "QKV", "n_kv_heads": 16,
        "bytes_per_token": 163840, "total_bytes": 163840000, "saved": 0.0,
    }  # fmt: skip
    assert "164 MB" in table.to_text()
    assert "156 MiB" in table.to_text(binary=True)


def test_projection_macs_are_3_2_1() -> None:
    config = get_config("300M")
    unit = 20 * 7 * 1024**2
    macs = {s: projection_macs(config.replace(sharing=s), 7) for s in ("QKV", "Q-K=V", "Q=K=V")}
    assert macs == {"QKV": 3 * unit, "Q-K=V": 2 * unit, "Q=K=V": unit}


@pytest.mark.parametrize(
    ("n", "ten", "two"),
    [
        (0, "0 B", "0 B"),
        (999, "999 B", "999 B"),
        (1000, "1 kB", "1000 B"),
        (1024, "1.02 kB", "1 KiB"),
        (2560, "2.56 kB", "2.5 KiB"),
        (81920 * 32768, "2.68 GB", "2.5 GiB"),
        (81920 * 32000, "2.62 GB", "2.44 GiB"),
        (999_999, "1 MB", "977 KiB"),
    ],
)
def test_bytes_are_printed_with_their_unit(n: int, ten: str, two: str) -> None:
    assert format_bytes(n) == ten
    assert format_bytes(n, binary=True) == two


def test_bad_input() -> None:
    config = get_config("small")
    with pytest.raises(ValueError, match="neither can be negative"):
        cache_bytes(config, -1)
    with pytest.raises(ValueError, match="Did you mean 'bfloat16'"):
        parse_dtype("bflaot16")
    with pytest.raises(ValueError, match=r"Choose n_kv_heads from \[1, 2, 4, 8, 16\]"):
        cache_table("300M", 10, n_kv_heads=3)
    assert bytes_per_token(config, parse_dtype("float32")) == 3 * 2 * 96 * 4
