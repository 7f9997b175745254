"""Many runs over the cores of one machine: never twice, and none lost when the machine stops.

A finished run is one line in ``records.jsonl``, written and flushed by one process only. Whatever
happens between two lines, a kill, a full disk, a power cut, costs the runs that were under way and
nothing else: the next start reads what is there, cuts off a last line that was not finished, and
goes on with the rest. Runs that take minutes also keep checkpoints and go on in the middle.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import multiprocessing
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any, Final

import torch
from tqdm import tqdm

from qkvlib.config import StackConfig
from qkvlib.devices import usable_device
from qkvlib.models import Transformer, build_model
from qkvlib.records import RunRecord, lock_folder
from qkvlib.tasks import Task
from qkvlib.terminal import someone_watches
from qkvlib.training import InterruptedRunError, TrainConfig, train

RECORDS_FILE: Final = "records.jsonl"
"""Name of the file of finished runs in a sweep's folder."""

Measure = Callable[[Transformer, Task], dict[str, Any]]


class SweepError(ValueError):
    """A sweep cannot start, or some of its runs failed; the message says which and why."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run of a sweep.

    Attributes:
        name: Tells it from the others of its sweep; also its folder, if it keeps checkpoints.
        model: The model. Its weights are drawn from the training configuration's seed.
        training: How it is trained.
        task: Makes the task; a :func:`functools.partial` of a task's class, so that it can be
            sent to another process and written down.
        measure: Called on the model before and after training; the answers go into the record's
            ``extra`` as ``"untrained"`` and ``"trained"``.
        checkpoints: Whether the run keeps checkpoints: worth it from about a minute on.
    """

    name: str
    model: StackConfig
    training: TrainConfig
    task: functools.partial[Any]
    measure: Measure | None = None
    checkpoints: bool = False

    @property
    def key(self) -> str:
        """Hash of all that decides the run's numbers; a job that was changed is another job."""
        task = {
            "class": self.task.func.__qualname__,
            "args": self.task.args,
            "keywords": self.task.keywords,
            "content": [_sum_of(file) for file in self.task.keywords.get("files") or ()],
        }
        training = self.training.to_dict()
        del training["save_every"]  # changes no number
        what = {
            "model": self.model.to_dict(),
            "training": training,
            "task": task,
            "measure": None if self.measure is None else self.measure.__qualname__,
        }
        text = json.dumps(what, sort_keys=True, default=str)
        return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()

    def run(self, folder: Path, device: str = "cpu") -> RunRecord:
        """Train and measure in this process.

        Args:
            folder: The sweep's folder.
            device: Where to train. The weights are drawn on the CPU, so that they are the same
                everywhere.
        """
        task = self.task()
        model = build_model(self.model, seed=self.training.seed).to(device)
        before = None if self.measure is None else self.measure(model, task)
        out = folder / self.name if self.checkpoints else None
        record = train(
            model, task, self.training, out=out, resume=self.checkpoints, progress=lambda _: None
        )
        if self.measure is None:
            return record
        return replace(record, extra={"untrained": before, "trained": self.measure(model, task)})


@functools.lru_cache(maxsize=64)
def _sum_at(path: Path, when: int, size: int) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=12).hexdigest()


def _sum_of(file: str | PathLike[str]) -> str | None:
    """Sum of a file, read again only after a change; ``None`` where there is none."""
    path = Path(file)
    if not path.is_file():
        return None
    facts = path.stat()
    return _sum_at(path.absolute(), facts.st_mtime_ns, facts.st_size)


def read_finished(folder: str | PathLike[str]) -> dict[str, RunRecord]:
    """Read the finished runs of a sweep.

    A last line without its end is what a kill in the middle of writing leaves: it does not count.
    A damaged line anywhere else is skipped with a warning.

    Args:
        folder: The sweep's folder.

    Returns:
        Job key -> record; nothing if there is no file.
    """
    path = Path(folder) / RECORDS_FILE
    if not path.exists():
        return {}
    finished = {}
    *lines, _ = path.read_bytes().split(b"\n")  # what follows the last end of a line is not one
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            finished[str(entry["job"])] = RunRecord.from_dict(entry["record"])
        except (ValueError, KeyError, TypeError) as error:
            warnings.warn(f"skipped line {number} of {path}: {error}", stacklevel=2)
    return finished


def run_jobs(
    jobs: Sequence[Job],
    folder: str | PathLike[str],
    *,
    processes: int = 1,
    device: str = "cpu",
) -> None:
    """Run what is not finished yet, each job in a process with one thread.

    Args:
        jobs: The sweep.
        folder: Where its records and checkpoints are kept.
        processes: How many run side by side.
        device: Where they train: ``"cpu"``, or ``"cuda"`` for a GPU that all of them share.

    Raises:
        SweepError: If two jobs are the same, another sweep is writing in the folder, or runs
            failed; the others are finished all the same.
        InterruptedRunError: After Ctrl-C; finished runs are kept.
        ValueError: If ``processes`` is below 1, or the device cannot be used here.
    """
    if processes < 1:
        raise ValueError(f"processes={processes}: at least 1 is needed to run anything.")
    _refuse_doubles(jobs)
    usable_device(device)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with _alone_in(folder):
        finished = read_finished(folder)
        waiting = [job for job in jobs if job.key not in finished]
        bar = tqdm(
            total=len(jobs),
            initial=len(jobs) - len(waiting),
            disable=not someone_watches(),
            dynamic_ncols=True,
            bar_format="{percentage:3.0f}% {bar:20} {n_fmt}/{total_fmt} runs [{elapsed}, "
            "{remaining} left]",
        )
        failures = []
        kept = len(jobs) - len(waiting)
        try:
            with (
                bar,
                _records_at_the_end_of(folder / RECORDS_FILE) as keep,
                _pool(processes) as pool,
            ):
                under_way = {pool.submit(job.run, folder, device): job for job in waiting}
                for future in as_completed(under_way):
                    job, error = under_way[future], _error_of(future)
                    if error is None:
                        keep(job, future.result())
                        kept += 1
                    else:
                        failures.append(f"{job.name}: {type(error).__name__}: {error}")
                    bar.update()
        except KeyboardInterrupt:
            raise InterruptedRunError(
                f"stopped; {kept} of {len(jobs)} runs are kept in {folder}. Start the same again "
                "to go on."
            ) from None
    if failures:
        listed = "\n".join(f"  {failure}" for failure in failures[:10])
        raise SweepError(
            f"{len(failures)} of {len(jobs)} runs failed, the others are kept. Mend the cause and "
            f"start again; finished runs are not repeated.\n{listed}"
        )


def _error_of(future: Future[RunRecord]) -> BaseException | None:
    error = future.exception()
    if isinstance(error, KeyboardInterrupt):  # the run heard Ctrl-C before this process did
        raise error
    return error


def _refuse_doubles(jobs: Sequence[Job]) -> None:
    for what in ("name", "key"):
        seen: dict[str, Job] = {}
        for job in jobs:
            value = getattr(job, what)
            if value in seen:
                raise SweepError(
                    f"jobs {seen[value].name!r} and {job.name!r} have the same {what}: one run "
                    "would be counted twice. Give each its own seed and name."
                )
            seen[value] = job


def _alone_in(folder: Path) -> contextlib.AbstractContextManager[None]:
    said = f"another sweep is writing in {folder}. Wait for it, stop it, or give another folder."
    return lock_folder(folder, SweepError(said))


@contextlib.contextmanager
def _records_at_the_end_of(path: Path) -> Iterator[Callable[[Job, RunRecord], None]]:
    """Open the file behind its last whole line."""
    with path.open("ab+") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)

        def keep(job: Job, record: RunRecord) -> None:
            entry = {"job": job.key, "name": job.name, "record": record.to_dict()}
            file.write(json.dumps(entry).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

        yield keep


@contextlib.contextmanager
def _pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    # Set for the workers, which inherit it and import PyTorch anew. With one thread there is
    # nothing to bind, and OMP_PROC_BIND=true would put every process on the first core.
    settings = {"OMP_NUM_THREADS": "1", "OMP_PROC_BIND": "false"}
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, context, initializer=_start_worker)
    try:
        yield pool
    except KeyboardInterrupt:
        for worker in multiprocessing.active_children():
            worker.terminate()  # its last checkpoint is good
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _start_worker() -> None:
    torch.set_num_threads(1)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow_parent() -> None:
        # A parent that is killed cannot stop its workers, and nobody would read their results.
        parent.join()
        os._exit(1)

    threading.Thread(target=follow_parent, daemon=True).start()
