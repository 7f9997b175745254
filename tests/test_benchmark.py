"""Benchmarks: what is compared does the same work. No time decides whether a test passes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner

from qkvlib import (
    KVCache,
    ModelConfig,
    SpeedRow,
    SpeedTable,
    benchmark,
    build_model,
    linear,
    speed,
)
from qkvlib.attention import attend_folded
from qkvlib.cli import main

pytestmark = pytest.mark.usefixtures("no_collecting")


@torch.inference_mode()
@pytest.mark.parametrize("variant", ["QKV", "Q-K=V", "GQA-8", "MQA"])
def test_the_ways_give_the_same(variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "_CACHE_BYTES", (1, 1))
    monkeypatch.setattr(
        benchmark, "DECODE_SHAPE", benchmark.DECODE_SHAPE.replace(d_model=256, n_layers=2)
    )
    layers = benchmark._layers(variant, 20, 2, benchmark._ON_CPU)
    assert len(layers) == 2
    for q, k, v in layers:
        assert (k is v) is (variant == "Q-K=V")
        ours = benchmark._ours(q, k, v)
        ways = benchmark._other_ways((q, k, v))
        assert len(ways) == 3
        for other in (attend_folded, benchmark._by_repeating, *ways.values()):
            for _ in range(2):  # what is kept from the first time changes nothing
                torch.testing.assert_close(other(q, k, v), ours)


def test_both_sides_have_the_same_layers_and_times_are_of_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[str, int]] = []

    layer = tuple(torch.zeros(1, heads, 1, 1) for heads in (2, 1, 1))

    def note(variant: str, tokens: int, n_layers: int, place: object) -> list[object]:
        seen.append((variant, n_layers))
        return [layer] * n_layers

    measured = SpeedRow("this against that", 1, 2.0, 2.0, 2.0, 1, seconds=10.0, other_seconds=20.0)
    monkeypatch.setattr(benchmark, "_layers", note)
    monkeypatch.setattr(benchmark, "compare_speed", lambda *_, **__: measured)
    for tokens in (1024, 16_384):
        seen.clear()
        rows = list(benchmark._attention_rows((tokens,), 1))
        (first, of_plain), (second, of_tied), (_, of_gqa), (_, of_mqa) = seen
        assert (first, second) == ("QKV", "Q-K=V")
        assert of_plain == of_tied >= 2
        of_each = (of_tied, *[of_gqa] * 3, *[of_mqa] * 3)
        for row, n_layers in zip(rows, of_each, strict=True):
            assert row == replace(measured, seconds=10 / n_layers, other_seconds=20 / n_layers)


@torch.inference_mode()
def test_copies_take_new_memory_each_time_or_never() -> None:
    resource = pytest.importorskip("resource")  # Windows does not say

    def taken() -> int:
        pages: int = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        return pages

    q, k = torch.randn(1, 8, 1, 64), torch.randn(1, 2, 8192, 64)
    fewest = 2 * 8 * 8192 * 64 * 4 // 2**21  # pages for both copies, were they huge ones
    found = {}
    for name, one in benchmark._other_ways((q, k, k)).items():
        one(q, k, k)
        before = taken()
        one(q, k, k)
        found[name] = taken() - before
    assert found["repeating in new memory"] >= fewest == 16
    assert found["repeating in memory kept"] < fewest / 2


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The benchmark at a size that takes seconds."""
    monkeypatch.setattr(speed, "_AT_LEAST", 0.0)
    monkeypatch.setattr(benchmark, "_CACHE_BYTES", (1, 1))
    shape = benchmark.DECODE_SHAPE.replace(d_model=256, n_layers=1)
    monkeypatch.setattr(benchmark, "DECODE_SHAPE", shape)

    def bench_small(turns: int) -> SpeedTable:
        return benchmark.bench_decode((16,), cached=8, new_tokens=4, turns=turns)

    def attention_small(turns: int, **where: str) -> SpeedTable:
        return benchmark.bench_attention((16,), turns=turns, **where)

    def step_small(turns: int, **where: str) -> SpeedTable:
        return benchmark.bench_step((16,), turns=turns, **where)

    works = {"decode": bench_small, "attention": attention_small, "step": step_small}
    monkeypatch.setattr(benchmark, "BENCHMARKS", works)


@torch.inference_mode()
def test_one_of_two_models_shares_its_weights_out(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[int] = []

    def parts(*given: object) -> int:
        found.append(_parts(*given))
        return found[-1]

    _parts = linear._parts
    monkeypatch.setattr(linear, "_parts", parts)
    monkeypatch.setattr(linear, "_PART", 1 << 6)
    wide = ModelConfig(d_model=64, n_layers=1, n_heads=2, vocab_size=64, max_seq_len=64)
    monkeypatch.setattr(benchmark, "SHAPES", {"wide": wide})
    ways: list[Callable[[], list[int]]] = []
    monkeypatch.setattr(benchmark, "compare_speed", lambda *given, **_: ways.extend(given[2:]))
    list(benchmark._linear_rows(3, 1))
    this, other = ways
    with benchmark._threads(2):
        tokens = this()
        assert (2 in found) is torch.backends.mkl.is_available()
        found.clear()
        assert other() == tokens
    assert not found


def test_the_table(small: None, tmp_path) -> None:
    out = tmp_path / "decode.json"
    command = ["bench", "decode", "--turns", "1", "--out", str(out)]
    result = CliRunner().invoke(main, [*command, "--json"])
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert json.loads(out.read_text()) == data
    assert data["threads"] == torch.get_num_threads()
    for row in data["rows"]:
        assert 0 < row["low"] <= row["ratio"] <= row["high"]
    cases = [(row["case"], row["tokens"]) for row in data["rows"]]
    assert len(set(cases)) == len(cases) >= 8
    assert ("attention, Q-K=V against QKV", 16) in cases
    assert ("generation on one thread, with a cache against without", 4) in cases
    text = CliRunner().invoke(main, command).stdout
    for case, _ in cases:
        assert case in text


def test_attention_alone_on_a_device(small: None) -> None:
    def bench(*arguments: str):
        return CliRunner().invoke(main, ["bench", *arguments, "--turns", "1", "--json"])

    data = json.loads(bench("attention", "--device", "cpu").stdout)
    assert data["device"] == "cpu"
    assert [row["case"] for row in data["rows"]] == [
        "attention, Q-K=V against QKV",
        "attention, GQA-8 folded against enable_gqa",
        "attention, GQA-8 folded against repeating in new memory",
        "attention, GQA-8 folded against repeating in memory kept",
        "attention, MQA folded against enable_gqa",
        "attention, MQA folded against repeating in new memory",
        "attention, MQA folded against repeating in memory kept",
    ]
    missing = bench("attention", "--device", "abacus")
    assert (missing.exit_code, "device 'abacus' cannot be used" in missing.stderr) == (2, True)
    other = bench("decode", "--device", "cpu")
    assert (other.exit_code, "decode is measured on the CPU" in other.stderr) == (2, True)


def test_whole_steps(small: None) -> None:
    result = CliRunner().invoke(main, ["bench", "step", "--device", "cpu", "--turns", "1"])
    assert result.exit_code == 0, result.output
    for variant in ("Q-K=V", "GQA-8", "MQA", "Q-MQA"):
        assert f"a decode step, {variant} against QKV" in result.stdout


@torch.inference_mode()
def test_a_step_adds_a_token_to_a_full_cache_each_time(small: None, caches: list[KVCache]) -> None:
    work = benchmark._step("Q-K=V", 5, benchmark._ON_CPU)
    (cache,) = caches
    (held,) = cache.layers[0].tensors.values()
    assert held.shape[2] == 5
    assert held.std() > 0.5
    drawn = held.clone()
    for _ in range(2):
        held[:, :, 4:] = drawn[:, :, 4:]
        work()
        assert cache.length == 4
        assert not torch.isclose(held[:, :, 4:], drawn[:, :, 4:]).all(dim=-1).any()
        torch.testing.assert_close(held[:, :, :4], drawn[:, :, :4])


def test_unknown_names() -> None:
    result = CliRunner().invoke(main, ["bench", "decoding"])
    assert result.exit_code == 2
    assert "Did you mean 'decode'" in result.stderr


def test_training_needs_the_other_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qkvlib.benchmark.importlib.util.find_spec", lambda name: None)
    result = CliRunner().invoke(main, ["bench", "train"])
    assert result.exit_code == 2
    assert "needs x-transformers: pip install" in result.stderr


def test_an_update_changes_the_weights() -> None:
    config = ModelConfig(d_model=16, n_layers=1, n_heads=2, vocab_size=11, max_seq_len=8)
    model = build_model(config, seed=0)
    before = [parameter.clone() for parameter in model.parameters()]
    benchmark._trainer(model, torch.randint(11, (2, 9)))()
    assert not any(
        torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True) if a.ndim > 1
    )
