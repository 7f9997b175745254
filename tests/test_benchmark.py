"""Speed rows: what is compared does the same work, and what is kept of the turns is right.

No time decides whether a test passes.
"""

from __future__ import annotations

import json

import pytest
import torch
from click.testing import CliRunner

from qkvlib import SpeedRow, SpeedTable, benchmark, compare_speed
from qkvlib.cli import main


@pytest.fixture(autouse=True)
def no_collecting(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes a third of a second with all that is imported, and here no time matters."""
    monkeypatch.setattr("qkvlib.benchmark.gc.collect", lambda: 0)


class Clock:
    """A clock that works move on."""

    def __init__(self) -> None:
        self.now = 0.0

    def work(self, *seconds: float):
        """Work that takes these times, one after the other, then always the last."""
        left = list(seconds)

        def do() -> None:
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return do


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("qkvlib.benchmark.time.perf_counter", lambda: clock.now)
    return clock


def test_ratios_turn_by_turn(clock: Clock) -> None:
    # Two calls find out how long it takes, the first turn warms up, three count.
    this = clock.work(9, 1, 9, 1, 2, 1)
    other = clock.work(9, 1, 9, 3, 4, 10)
    row = compare_speed("this against that", 16, this, other, turns=3, note="noted")
    assert (row.ratio, row.low, row.high) == (3.0, 2.0, 10.0)
    assert (row.seconds, row.other_seconds, row.turns) == (1, 4, 3)
    assert (row.case, row.tokens, row.note) == ("this against that", 16, "noted")


def test_short_work_is_repeated_until_the_clock_is_exact(clock: Clock) -> None:
    calls = []

    def work() -> None:
        calls.append(None)
        clock.now += 0.001

    row = compare_speed("a", 1, work, clock.work(0.1), turns=2)
    assert len(calls) == 2 + 3 * 50
    assert row.seconds == pytest.approx(0.001)
    assert row.ratio == pytest.approx(100)
    with pytest.raises(ValueError, match="turns=0: expected at least 1"):
        compare_speed("a", 1, work, work, turns=0)


@torch.inference_mode()
@pytest.mark.parametrize("variant", ["QKV", "Q-K=V", "GQA-8", "MQA"])
def test_the_ways_give_the_same(variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "_CACHE_BYTES", (1, 1))
    monkeypatch.setattr(
        benchmark, "DECODE_SHAPE", benchmark.DECODE_SHAPE.replace(d_model=256, n_layers=2)
    )
    layers = benchmark._layers(variant, 20)
    assert layers
    for q, k, v in layers:
        assert (k is v) is (variant == "Q-K=V")
        ours = benchmark._ours(q, k, v)
        for other in (benchmark._by_enable_gqa, benchmark._by_repeating):
            torch.testing.assert_close(other(q, k, v), ours)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The benchmark at a size that takes seconds."""
    monkeypatch.setattr(benchmark, "_AT_LEAST", 0.0)
    monkeypatch.setattr(benchmark, "_CACHE_BYTES", (1, 1))
    shape = benchmark.DECODE_SHAPE.replace(d_model=256, n_layers=1)
    monkeypatch.setattr(benchmark, "DECODE_SHAPE", shape)

    def bench_small(turns: int) -> SpeedTable:
        return benchmark.bench_decode((16,), cached=8, new_tokens=4, turns=turns)

    monkeypatch.setattr(benchmark, "BENCHMARKS", {"decode": bench_small})


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
    assert ("generation, with a cache against without", 4) in cases
    text = CliRunner().invoke(main, command).stdout
    for case, _ in cases:
        assert case in text


def test_text_and_unknown_names() -> None:
    row = SpeedRow("a against b", 4096, 1.8, 1.6, 2.0, 7, 0.0123, 1.5, "cache 1 kB")
    text = SpeedTable("decode", (row,)).to_text()
    for words in ("4,096", "1.80", "1.60 – 2.00", "12.3 ms", "1.5 s", "cache 1 kB", "threads"):
        assert words in text
    result = CliRunner().invoke(main, ["bench", "decoding"])
    assert result.exit_code == 2
    assert "Did you mean 'decode'" in result.stderr
