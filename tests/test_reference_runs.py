"""The reference runs: never done twice, measured, and what is collected is what the table says."""

import dataclasses
import importlib.util
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from qkvlib import SHARINGS, ModelConfig
from qkvlib.records import load_records
from qkvlib.tasks.text import TextTask
from qkvlib.training import TrainConfig

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The script as a module, writing below a temporary folder."""
    environment = dict(os.environ)
    spec = importlib.util.spec_from_file_location(
        "reference_runs", ROOT / "scripts" / "reference_runs.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(module, "RESULTS", tmp_path / "results")
    yield module
    os.environ.clear()
    os.environ.update(environment)


@pytest.fixture
def jobs(script: ModuleType, tmp_path: Path) -> list:
    """Two small jobs on a small text."""
    text = tmp_path / "rhyme.txt"
    text.write_text("One for the master, and one for the dame.\n" * 40)
    shape = ModelConfig(d_model=16, n_layers=2, n_heads=2, vocab_size=256, max_seq_len=16)
    return [
        script.Job(
            name=f"{sharing}/seed-0",
            model=shape.replace(sharing=sharing),
            training=TrainConfig(steps=41, batch_size=2, eval_every=20),
            task=lambda: TextTask(16, files=[text]),
        )
        for sharing in ("QKV", "Q=K=V")
    ]


def test_a_job_is_run_once_and_measured(script: ModuleType, jobs: list) -> None:
    qkv, tied = jobs
    folder = script.RUNS / "list" / qkv.name
    assert not qkv.is_done(folder)
    qkv.run(folder)
    assert qkv.is_done(folder)
    assert not tied.is_done(folder)
    longer = dataclasses.replace(qkv, training=TrainConfig(steps=42, batch_size=2))
    assert not longer.is_done(folder)

    assert [path.name for path in (script.collect("list", jobs),)] == ["list.json"]
    (record,) = load_records(script.RESULTS / "list.json")
    assert record.history["train_step"] == [0, 20, 40]
    assert record.history["eval_step"] == [0, 20, 40, 41]
    assert "files" not in record.task
    for state in ("untrained", "trained"):
        for name in ("asymmetry", "self_attention"):
            layers = record.extra[state][name]
            assert [len(heads) for heads in layers] == [2, 2]
        assert all(0.05 < x < 2 for heads in record.extra[state]["asymmetry"] for x in heads)
    assert record.extra["trained"] != record.extra["untrained"]

    tied.run(script.RUNS / "list" / tied.name)
    script.collect("list", jobs)
    _, tied_record = load_records(script.RESULTS / "list.json")
    assert all(x < 1e-5 for heads in tied_record.extra["trained"]["asymmetry"] for x in heads)
    # A causal map's first row looks only at itself, so the diagonal has some weight at least.
    weights = tied_record.extra["trained"]["self_attention"]
    assert all(1 / 16 < x <= 1 for heads in weights for x in heads)


def test_only_what_is_left_is_started(
    script: ModuleType, jobs: list, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    jobs[0].run(script.RUNS / "list" / jobs[0].name)
    started: list[list[str]] = []

    class Process:
        returncode = 3

        def __init__(self, command: list[str], **_: object) -> None:
            started.append(command)

        def poll(self) -> int:
            return self.returncode

    monkeypatch.setattr(script.subprocess, "Popen", Process)
    monkeypatch.setattr(script.time, "sleep", lambda _: None)
    assert not script.run_list("list", jobs, n_processes=4)
    assert [command[-1] for command in started] == ["Q=K=V/seed-0"]
    assert "failed, see" in capsys.readouterr().out
    Process.returncode = 0
    assert script.run_list("list", jobs, n_processes=4)


def test_unknown_list(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments in (["four_tying"], [], ["four_tyings", "--jobs", "0"]):
        monkeypatch.setattr(sys, "argv", ["reference_runs.py", *arguments])
        with pytest.raises(SystemExit) as stop:
            script.main()
        assert stop.value.code == 2


def test_four_tyings_table(script: ModuleType) -> None:
    jobs = script.LISTS["four_tyings"]()
    assert len({job.name for job in jobs}) == len(jobs) == 20
    for job in jobs:
        assert job.training.steps >= 2000
        assert job.name == f"{job.model.sharing}/seed-{job.training.seed}"
        assert job.task().describe()["seed"] == job.training.seed
    assert {job.model.sharing.name for job in jobs} == set(SHARINGS)
    # They differ by sharing and seed only.
    plain = {(job.model.replace(sharing="QKV"), dataclasses.replace(job.training, seed=0))
             for job in jobs}  # fmt: skip
    assert len(plain) == 1


def test_collected_results_are_those_of_the_table(script: ModuleType) -> None:
    for name, jobs_of in script.LISTS.items():
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            records = load_records(ROOT / "data" / "results" / f"{name}.json")
        jobs = jobs_of()
        assert len(records) == len(jobs)
        assert len({record.data_sha256 for record in records}) == 1
        for job, record in zip(jobs, records, strict=True):
            assert record.model == job.model.to_dict()
            assert record.training == job.training.to_dict()
            assert record.seed == job.training.seed
            assert record.extra["trained"]
            assert record.metrics["loss"] < record.history["eval_loss"][0]
