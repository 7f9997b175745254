"""Speed rows: what is kept of the turns is right. No time decides whether a test passes."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from qkvlib import SpeedRow, SpeedTable, compare_speed, take_turns

pytestmark = pytest.mark.usefixtures("no_collecting")


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
    monkeypatch.setattr("qkvlib.speed.time.perf_counter", lambda: clock.now)
    return clock


def test_ratios_turn_by_turn(clock: Clock) -> None:
    # One long call is enough to know how long it takes, the first turn warms up, three count.
    this = clock.work(9, 9, 1, 2, 1)
    other = clock.work(9, 9, 3, 4, 10)
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


def test_works_take_turns_and_the_first_turn_only_warms_up(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qkvlib.speed.time.thread_time", lambda: clock.now)
    order: list[str] = []

    def noted(name: str, work: Callable[[], None]) -> Callable[[], None]:
        return lambda: (order.append(name), work())

    works = {"a": noted("a", clock.work(9, 1, 2)), "b": noted("b", clock.work(9, 5))}
    assert take_turns(works, 2) == {"a": [1, 2], "b": [5, 5]}
    assert order == ["a", "b"] * 3
    with pytest.raises(ValueError, match="repeats=0"):
        take_turns(works, 0)


def test_text() -> None:
    row = SpeedRow("a against b", 4096, 1.8, 1.6, 2.0, 7, 0.0123, 1.5, "cache 1 kB")
    text = SpeedTable("decode", (row,)).to_text()
    for words in ("4,096", "1.80", "1.60 – 2.00", "12.3 ms", "1.5 s", "cache 1 kB", "threads"):
        assert words in text


def test_a_gpu_is_the_machine_of_its_table() -> None:
    table = SpeedTable("attention", (), device="Some GPU")
    assert "Some GPU; above 1" in table.to_text()


def test_a_table_is_read_back_as_it_was_written(tmp_path) -> None:
    rows = (
        SpeedRow("a against b", 1024, 1.8, 1.6, 2.0, 7, 0.0123, 1.5, "cache 1 kB here"),
        SpeedRow("c against d", 8, 0.5, 0.4, 0.6, 7, 1.0, 0.5),
        SpeedRow("a against b", 4096, 1.9, 1.6, 2.0, 7, 0.1, 1.5),
    )
    table = SpeedTable("decode", rows, "a box", 3, {"python": "3"})
    path = tmp_path / "decode.json"
    path.write_text(json.dumps(table.to_dict()))
    assert SpeedTable.load(path) == table
    assert [len(each) for each in table.by_case().values()] == [2, 1]
    lines = table.to_narrow_text().splitlines()
    assert [line for line in lines if not line.startswith(" ")] == [
        "a against b", "c against d", "a box, threads: 3; above 1 this way is faster.",
    ]  # fmt: skip
    assert lines[3].strip() == "cache 1 kB here"
    assert "4,096" in lines[4]
    path.write_text('{"bench": "decode"}')
    with pytest.raises(ValueError, match=r"holds no speed table.*qkv bench decode"):
        SpeedTable.load(path)
