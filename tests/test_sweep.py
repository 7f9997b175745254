"""Sweeps: no run twice, none lost, and whatever is left of a killed one is put to use."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import pickle
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import filelock
import pytest

from qkvlib import (
    InterruptedRunError,
    Job,
    SweepError,
    SyntheticTask,
    TextTask,
    TrainConfig,
    read_finished,
    run_jobs,
    sweep,
)
from qkvlib.models import Transformer
from qkvlib.tasks import Task

from small_jobs import SHAPE, make_job

ROOT = Path(__file__).resolve().parents[1]


def weight_sum(model: Transformer, task: Task) -> dict[str, Any]:
    return {"sum": sum(p.abs().sum().item() for p in model.parameters()), "task": task.name}


def test_a_device_that_is_not_there_is_named_before_any_run(
    tmp_path: Path, here: list[str]
) -> None:
    with pytest.raises(ValueError, match=r"device 'abacus' cannot be used here: .*'cpu'"):
        run_jobs([make_job(0)], tmp_path, device="abacus")
    assert not here
    assert not (tmp_path / "records.jsonl").exists()


def test_each_job_is_run_once(tmp_path: Path, here: list[str]) -> None:
    jobs = [make_job(seed) for seed in range(3)]
    run_jobs(jobs[:2], tmp_path)
    run_jobs(jobs, tmp_path)
    assert here == [job.name for job in jobs]
    finished = read_finished(tmp_path)
    assert set(finished) == {job.key for job in jobs}
    for job in jobs:
        record = finished[job.key]
        assert record.config == job.model
        assert record.seed == job.training.seed
        assert record.metrics == job.run(tmp_path).metrics


def test_a_changed_job_is_another_job(tmp_path: Path, here: list[str]) -> None:
    plain = make_job()
    others = [
        make_job(model=SHAPE.replace(d_model=16)),
        make_job(training=TrainConfig(steps=4, batch_size=2)),
        make_job(task=functools.partial(SyntheticTask, "COPY", 4, seed=1, eval_lists=4)),
        make_job(task=functools.partial(SyntheticTask, "SUB", 4, seed=0, eval_lists=4)),
        make_job(measure=weight_sum),
    ]
    assert len({job.key for job in (plain, *others)}) == 6
    # How often it is saved, and what it is called, change no number.
    saved_often = dataclasses.replace(plain.training, save_every=1)
    assert make_job(training=saved_often, name="else").key == plain.key
    run_jobs([plain], tmp_path)
    run_jobs([others[0]], tmp_path)
    assert len(read_finished(tmp_path)) == 2


def test_a_file_that_was_changed_makes_another_job(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("what is kept " * 60)
    job = make_job(task=functools.partial(TextTask, 8, files=[file]))
    before = job.key
    assert job.key == before
    file.write_text("what is read " * 61)
    assert job.key != before


def test_measured_before_and_after(tmp_path: Path, here: list[str]) -> None:
    run_jobs([make_job(measure=weight_sum)], tmp_path)
    (record,) = read_finished(tmp_path).values()
    before, after = record.extra["untrained"], record.extra["trained"]
    assert before["task"] == after["task"] == "COPY"
    assert before["sum"] != after["sum"]


@pytest.mark.parametrize("left", [1, 40, -1])
def test_a_last_line_cut_short_costs_one_run(tmp_path: Path, here: list[str], left: int) -> None:
    jobs = [make_job(seed) for seed in range(3)]
    run_jobs(jobs, tmp_path)
    path = tmp_path / sweep.RECORDS_FILE
    first, second, third = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + second + third[:left])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it is what a kill leaves, nothing to worry about
        assert len(read_finished(tmp_path)) == 2
        run_jobs(jobs, tmp_path)
    assert here[3:] == [jobs[2].name]
    assert len(read_finished(tmp_path)) == 3
    for line in path.read_bytes().splitlines():
        json.loads(line)


def test_a_damaged_line_in_the_middle_is_named_and_run_again(
    tmp_path: Path, here: list[str]
) -> None:
    jobs = [make_job(seed) for seed in range(3)]
    run_jobs(jobs, tmp_path)
    path = tmp_path / sweep.RECORDS_FILE
    first, second, third = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + second[:50] + b"\xff\n" + third)
    with pytest.warns(UserWarning, match="skipped line 2 of"):
        run_jobs(jobs, tmp_path)
    assert here[3:] == [jobs[1].name]


def test_a_failing_run_leaves_the_others(tmp_path: Path, here: list[str]) -> None:
    bad = make_job(7, task=functools.partial(SyntheticTask, "SWAP", 3))
    with pytest.raises(SweepError, match=r"1 of 3 runs failed(.|\n)*copy/seed-7: TaskError"):
        run_jobs([make_job(0), bad, make_job(1)], tmp_path)
    assert len(read_finished(tmp_path)) == 2


def test_ctrl_c_keeps_what_is_finished(tmp_path: Path, here: list[str]) -> None:
    def stop(model: Transformer, task: Task) -> dict[str, Any]:
        raise KeyboardInterrupt

    with pytest.raises(InterruptedRunError, match=r"stopped; \d of 2 runs are kept"):
        run_jobs([make_job(0), make_job(1, measure=stop)], tmp_path)
    run_jobs([make_job(0)], tmp_path)
    assert len(read_finished(tmp_path)) == 1


def test_doubles_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match="same name"):
        run_jobs([make_job(0), make_job(1, name="copy/seed-0")], tmp_path)
    with pytest.raises(SweepError, match="same key"):
        run_jobs([make_job(0), make_job(0, name="copy/again")], tmp_path)
    with pytest.raises(ValueError, match="processes=0"):
        run_jobs([make_job(0)], tmp_path, processes=0)


def test_two_sweeps_in_one_folder_are_refused(tmp_path: Path, here: list[str]) -> None:
    with (
        filelock.FileLock(tmp_path / ".lock"),
        pytest.raises(SweepError, match="another sweep is writing"),
    ):
        run_jobs([make_job()], tmp_path)
    run_jobs([make_job()], tmp_path)
    assert here == [make_job().name]


def test_no_finished_runs_where_there_is_no_file(tmp_path: Path) -> None:
    assert read_finished(tmp_path / "nowhere") == {}


@pytest.mark.slow
def test_in_processes_of_their_own(tmp_path: Path) -> None:
    environment = dict(os.environ)
    text = tmp_path / "rhyme.txt"
    text.write_text("One for the master, and one for the dame.\n" * 40)
    gpt = SHAPE.replace(causal=True, vocab_size=256, max_seq_len=16)
    long = Job(
        name="text/seed-0",
        model=gpt,
        training=TrainConfig(steps=4, batch_size=2, save_every=2),
        task=functools.partial(TextTask, 16, files=[text]),
        checkpoints=True,
    )
    run_jobs([long, make_job(0), make_job(1)], tmp_path / "runs", processes=2)
    finished = read_finished(tmp_path / "runs")
    assert {record.threads for record in finished.values()} == {1}
    assert finished[make_job(0).key].metrics == make_job(0).run(tmp_path).metrics
    assert (tmp_path / "runs" / "text" / "seed-0" / "checkpoint.safetensors").is_file()
    assert dict(os.environ) == environment


KILLED = """
import functools, sys
from qkvlib import Job, ModelConfig, SyntheticTask, TrainConfig, run_jobs

shape = ModelConfig(d_model=8, n_layers=1, n_heads=2, vocab_size=10, max_seq_len=4, causal=False)
if __name__ == "__main__":
    jobs = [
        Job(
            name=f"seed-{seed}", model=shape,
            training=TrainConfig(steps=steps, batch_size=2, seed=seed),
            task=functools.partial(SyntheticTask, "COPY", 4, seed=seed, eval_lists=4),
        )
        for seed, steps in enumerate((2, 10**7))
    ]
    run_jobs(jobs, sys.argv[1])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no kill -9")
def test_killed_it_leaves_no_workers_and_no_lock(tmp_path: Path, here: list[str]) -> None:
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "runs")],
        cwd=ROOT,
        stdout=subprocess.PIPE,  # the workers inherit it: its end is their end
    )
    deadline = time.monotonic() + 120
    while not read_finished(tmp_path / "runs"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    assert process.stdout.read() == b""  # would wait for ever for an orphan of ten million steps
    process.stdout.close()
    assert len(read_finished(tmp_path / "runs")) == 1
    run_jobs([make_job()], tmp_path / "runs")
    assert len(read_finished(tmp_path / "runs")) == 2


def test_a_sharing_crosses_processes_as_itself() -> None:
    config = SHAPE.replace(sharing="Q-K=V")
    again = pickle.loads(pickle.dumps(config))
    assert again == config
    assert again.sharing is config.sharing
