"""Fixtures and strategies that several test files use."""

import os
from pathlib import Path
from typing import Any

# Before torch is imported anywhere: one thread per worker, so that parallel workers do not fight.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import pytest
import torch

from qkvlib import KVCache, sweep

hypothesis.settings.register_profile(
    "course",
    deadline=None,  # a first call compiles and loads; time is not what these tests are about
    max_examples=60,
    derandomize=bool(os.environ.get("CI")),
)
hypothesis.settings.load_profile("course")


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def text_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small text to train on."""
    path = tmp_path_factory.mktemp("text") / "rhyme.txt"
    path.write_text("One for the master, and one for the dame.\n" * 40)
    return path


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Run the jobs in this process; returns the names of those that were run."""
    ran: list[str] = []

    class Pool:
        def __init__(self, *_: object, **__: object) -> None: ...

        def submit(self, run: Any, *args: object) -> Any:
            ran.append(run.__self__.name)
            future: Any = sweep.Future()
            try:
                future.set_result(run(*args))
            except BaseException as error:
                future.set_exception(error)
            return future

        def shutdown(self, **_: object) -> None: ...

    monkeypatch.setattr(sweep, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(sweep, "as_completed", list)  # in the order of the jobs
    return ran


@pytest.fixture
def no_collecting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Timing collects garbage first: a third of a second, where no time matters."""
    monkeypatch.setattr("qkvlib.speed.gc.collect", lambda: 0)


@pytest.fixture
def caches(monkeypatch: pytest.MonkeyPatch) -> list[KVCache]:
    """The caches that benchmarks make, for looking into."""
    made: list[KVCache] = []

    def keep(*given: Any, **named: Any) -> KVCache:
        made.append(KVCache(*given, **named))
        return made[-1]

    monkeypatch.setattr("qkvlib.benchmark.KVCache", keep)
    return made
