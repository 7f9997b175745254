"""Speed as a ratio of two ways of doing the same work, measured in one process.

Seconds depend on the machine and on what else it does. So the two ways take turns, and what is kept
is how many times longer the one takes than the other, turn by turn: the median, and how far the
turns lie apart.
"""

from __future__ import annotations

import gc
import json
import statistics
import sys
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import asdict, dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, Final, TypeVar

import torch

from qkvlib.records import cpu_name, versions
from qkvlib.text_table import aligned

Work = Callable[[], object]
Key = TypeVar("Key", bound=Hashable)

_AT_LEAST: Final = 0.05  # seconds that one turn of either way takes, so that the clock is exact


@dataclass(frozen=True)
class SpeedRow:
    """How much longer the other way takes.

    Attributes:
        case: The two ways, "this against that".
        tokens: Tokens in the cache, or tokens made.
        ratio: Time of the other way divided by that of this one, the median over the turns; above 1
            this way is the faster one.
        low: The lowest ratio of any turn.
        high: The highest.
        turns: Turns that were counted.
        seconds: Median time of this way, for the work done once; attention once is one layer's.
        other_seconds: Median time of the other way.
        note: What else was measured on the way.
    """

    case: str
    tokens: int
    ratio: float
    low: float
    high: float
    turns: int
    seconds: float
    other_seconds: float
    note: str = ""


@dataclass(frozen=True)
class SpeedTable:
    """The rows of one benchmark, and where they were measured.

    Attributes:
        name: The benchmark's.
        rows: What was compared.
        cpu: The processor; this one unless told.
        threads: Threads that computed.
        versions: Of Python and the libraries.
        device: Where the tensors were: ``"cpu"``, or the model name of a GPU.
    """

    name: str
    rows: tuple[SpeedRow, ...]
    cpu: str = field(default_factory=cpu_name)
    threads: int = field(default_factory=torch.get_num_threads)
    versions: Mapping[str, str] = field(
        default_factory=lambda: versions("transformers", "x-transformers")
    )
    device: str = "cpu"

    def to_dict(self) -> dict[str, Any]:
        """Return the table as JSON can hold it."""
        return {
            "bench": self.name,
            "rows": [asdict(row) for row in self.rows],
            "cpu": self.cpu,
            "threads": self.threads,
            "versions": dict(self.versions),
            "device": self.device,
        }

    @classmethod
    def load(cls, path: str | PathLike[str]) -> SpeedTable:
        """Read a table that ``qkv bench NAME --out FILE`` has written.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it holds something else.
        """
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
            rows = tuple(SpeedRow(**row) for row in data["rows"])
            where = data["cpu"], data["threads"], data["versions"], data["device"]
            return cls(data["bench"], rows, *where)
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(
                f"{path} holds no speed table ({error!r}). Make one with: qkv bench decode "
                "--out FILE"
            ) from None

    def to_text(self) -> str:
        """Return the table as aligned text."""
        lines = [("case", "tokens", "ratio", "lowest – highest", "this way", "the other")]
        lines += [(row.case, *_cells(row)) for row in self.rows]
        notes = [f"{row.case}, {row.tokens:,} tokens: {row.note}" for row in self.rows if row.note]
        return "\n".join([aligned(lines), *notes, f"{self.machine}; above 1 this way is faster."])

    def to_narrow_text(self) -> str:
        """Return the same for narrow places: each case on a line of its own above its rows."""
        head = ("tokens", "ratio", "lowest – highest", "this way", "the other")
        first, *lines = aligned([head, *map(_cells, self.rows)], left=0).splitlines()
        text = ["  " + first]
        for case, rows in self.by_case().items():
            text.append(case)
            for row in rows:
                text.append("  " + lines[self.rows.index(row)])
                if row.note:
                    text.append("  " + row.note)
        return "\n".join([*text, f"{self.machine}; above 1 this way is faster."])

    def by_case(self) -> dict[str, list[SpeedRow]]:
        """Return the rows of each case, in the order in which cases were measured."""
        found: dict[str, list[SpeedRow]] = {}
        for row in self.rows:
            found.setdefault(row.case, []).append(row)
        return found

    @property
    def machine(self) -> str:
        """Where the table was measured, in words."""
        if self.device != "cpu":
            return self.device
        return f"{self.cpu}, threads: {self.threads}"


def _cells(row: SpeedRow) -> tuple[str, str, str, str, str]:
    return (
        f"{row.tokens:,}",
        f"{row.ratio:.2f}",
        f"{row.low:.2f} – {row.high:.2f}",
        _seconds_text(row.seconds),
        _seconds_text(row.other_seconds),
    )


def _seconds_text(seconds: float) -> str:
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def compare_speed(
    case: str, tokens: int, this: Work, other: Work, *, turns: int = 7, note: str = ""
) -> SpeedRow:
    """Let two ways of doing the same work take turns.

    Args:
        case: What they are.
        tokens: For the row.
        this: Does the work once in the one way.
        other: Does it once in the other.
        turns: Turns to count; one more goes before them, to warm up.
        note: For the row.

    Raises:
        ValueError: If there is no turn.
    """
    if turns < 1:
        raise ValueError(f"turns={turns}: expected at least 1.")
    counts = [_times_for(work) for work in (this, other)]
    both = list(zip((this, other), counts, strict=True))
    counted = [[_timed(work, n) / n for work, n in both] for _ in range(turns + 1)][1:]
    ratios = [theirs / ours for ours, theirs in counted]
    ours, theirs = (statistics.median(column) for column in zip(*counted, strict=True))
    return SpeedRow(
        case=case,
        tokens=tokens,
        ratio=round(statistics.median(ratios), 3),
        low=round(min(ratios), 3),
        high=round(max(ratios), 3),
        turns=turns,
        seconds=ours,
        other_seconds=theirs,
        note=note,
    )


def take_turns(works: Mapping[Key, Work], repeats: int = 7) -> dict[Key, list[float]]:
    """Time several works that take turns, so that what else the machine does hits all of them.

    With one thread the clock is the thread's own, on Linux: it stands still while other programs
    have the processor.

    Args:
        works: Name -> what is to be done once.
        repeats: Turns that are counted; one more goes before them, to warm up.

    Returns:
        Name -> seconds of each turn.

    Raises:
        ValueError: If there is no turn.
    """
    if repeats < 1:
        raise ValueError(f"repeats={repeats}: expected at least 1.")
    # Only there: Windows counts a thread's time in ticks of 16 ms, and macOS may lend work out to
    # threads that this clock does not see.
    own = sys.platform == "linux" and torch.get_num_threads() == 1
    clock = time.thread_time if own else time.perf_counter
    seconds: dict[Key, list[float]] = {name: [] for name in works}
    for repeat in range(repeats + 1):
        for name, work in works.items():
            start = clock()
            work()
            if repeat:
                seconds[name].append(clock() - start)
    return seconds


def _times_for(work: Work) -> int:
    """How often the work is to be repeated for one turn; it also warms up."""
    once = _timed(work, 1)
    if once < 1:  # what the first time takes may be the cost of the first time
        once = _timed(work, 1)
    return max(1, round(_AT_LEAST / once))


def _timed(work: Work, times: int) -> float:
    gc.collect()
    _wait_for_gpu()
    start = time.perf_counter()
    for _ in range(times):
        work()
    _wait_for_gpu()
    return time.perf_counter() - start


def _wait_for_gpu() -> None:
    """A GPU works on after the call that gave it the work has returned."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()
