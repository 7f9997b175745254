"""Train the reference runs that the lessons quote, and collect their records in data/results.

    python scripts/reference_runs.py four_tyings --jobs 2     one list
    python scripts/reference_runs.py --all                    every list (make results)

Each run is a process of its own with one thread, in its own folder under ``runs/``. Stop the script
whenever you like, with Ctrl-C or harder, and start it again: finished runs are not repeated, the
others go on from their last checkpoint.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Before torch is imported, and for the runs, which inherit it. With one thread there is nothing to
# bind, and OMP_PROC_BIND=true would put every process on the first core.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_PROC_BIND"] = "false"

import torch

from qkvlib.analysis import asymmetry, self_attention_share
from qkvlib.config import ModelConfig, get_config
from qkvlib.models import Transformer, build_model
from qkvlib.records import RecordError, RunRecord, save_records
from qkvlib.sharing import SHARINGS, unknown_name
from qkvlib.tasks import Task
from qkvlib.tasks.text import TextTask
from qkvlib.training import TrainConfig, train

ROOT = Path(__file__).resolve().parents[1]
RUNS = ROOT / "runs"
RESULTS = ROOT / "data" / "results"

MAP_WINDOWS = 8  # held-out windows whose attention maps are measured
EVAL_WINDOWS = 256  # of 128 bytes: 32 kB of held-out text, the same for every run
LOSS_EVERY = 20  # steps between the training losses that a collected record keeps


@dataclass(frozen=True)
class Job:
    """One run: a name for its folder, the model, how it is trained, and the task."""

    name: str
    model: ModelConfig
    training: TrainConfig
    task: Callable[[], Task]

    def is_done(self, folder: Path) -> bool:
        """Whether the folder holds the finished and measured record of exactly this job."""
        try:
            record = RunRecord.load(folder)
        except (OSError, RecordError):
            return False
        return (
            record.model == self.model.to_dict()
            and record.training == self.training.to_dict()
            and "trained" in record.extra
        )

    def run(self, folder: Path) -> None:
        """Train, or go on training, then measure the attention maps before and after."""
        task = self.task()
        model = build_model(self.model, seed=self.training.seed)
        untrained = measure_maps(model, task)
        record = train(model, task, self.training, out=folder, resume=True)
        extra = {"untrained": untrained, "trained": measure_maps(model, task)}
        dataclasses.replace(record, extra=extra).save(folder)


@torch.inference_mode()
def measure_maps(model: Transformer, task: Task) -> dict[str, Any]:
    """Measure scores and weights on the first held-out windows.

    Returns:
        ``asymmetry`` of the scores and ``self_attention`` (mean weight on the diagonal), each a
        list of layers, each a list of heads; means over the windows.
    """
    inputs, _ = next(iter(task.eval_batches(MAP_WINDOWS)))
    model.eval()
    _, layers = model(inputs, return_attention=True)
    return {
        "asymmetry": [asymmetry(maps.scores).mean(dim=0).tolist() for maps in layers],
        "self_attention": [
            self_attention_share(maps.weights).mean(dim=0).tolist() for maps in layers
        ],
    }


def four_tyings() -> list[Job]:
    """The four sharings, five seeds each: the lessons' GPT on the default text."""
    small = get_config("small")
    return [
        Job(
            name=f"{sharing}/seed-{seed}",
            model=small.replace(sharing=sharing),
            training=TrainConfig(steps=2000, batch_size=16, lr=2e-3, eval_every=100, seed=seed),
            task=lambda seed=seed: TextTask(  # type: ignore[misc]
                small.max_seq_len, seed=seed, eval_windows=EVAL_WINDOWS
            ),
        )
        for seed in range(5)
        for sharing in SHARINGS
    ]


def head_sharing() -> list[Job]:
    """Fewer KV heads, for QKV and for Q-K=V: the recipe, seeds and text of the four tyings."""
    return [
        dataclasses.replace(
            job,
            name=f"{variant}/seed-{job.training.seed}",
            model=job.model.replace(variant=variant),
        )
        for job in four_tyings()
        if job.model.sharing.name == "QKV"
        for variant in ("GQA-2", "MQA", "Q-MQA", "Q-GQA-2")
    ]


# Name of the list, which is also the name of its file in data/results -> its jobs.
LISTS: dict[str, Callable[[], list[Job]]] = {
    "four_tyings": four_tyings,
    "head_sharing": head_sharing,
}


def run_list(name: str, jobs: list[Job], n_processes: int) -> bool:
    """Run what is not done yet, side by side. Returns whether every job is done now."""
    waiting = [job for job in jobs if not job.is_done(RUNS / name / job.name)]
    print(f"{name}: {len(jobs)} runs, {len(waiting)} to do", flush=True)
    running: dict[str, subprocess.Popen[bytes]] = {}
    failed = []
    try:
        while waiting or running:
            while waiting and len(running) < n_processes:
                job = waiting.pop(0)
                command = [sys.executable, __file__, name, "--only", job.name]
                folder = RUNS / name / job.name
                folder.mkdir(parents=True, exist_ok=True)
                with (folder / "log.txt").open("ab") as log:
                    running[job.name] = subprocess.Popen(
                        command, stdout=log, stderr=subprocess.STDOUT
                    )
            time.sleep(0.5)
            for job_name, process in list(running.items()):
                if process.poll() is not None:
                    del running[job_name]
                    good = process.returncode == 0
                    log_file = RUNS / name / job_name / "log.txt"
                    print(f"  {job_name}: {'done' if good else f'failed, see {log_file}'}")
                    sys.stdout.flush()
                    if not good:
                        failed.append(job_name)
    finally:
        for process in running.values():  # their last checkpoints are good
            process.terminate()
            process.wait()
    return not failed


def collect(name: str, jobs: list[Job]) -> Path:
    """Put the records of a list's finished jobs into one file of data/results."""
    records = []
    for job in jobs:
        folder = RUNS / name / job.name
        if job.is_done(folder):
            record = RunRecord.load(folder).trimmed(LOSS_EVERY)
            # The hash says which text it was; its list of modules stands in the source.
            task = {key: value for key, value in record.task.items() if key != "files"}
            records.append(dataclasses.replace(record, task=task))
    path = RESULTS / f"{name}.json"
    save_records(records, path)
    print(f"{name}: {len(records)} of {len(jobs)} records in {path.relative_to(ROOT)}")
    return path


def main() -> int:
    """Read the command line, run, collect."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("lists", nargs="*", help=f"which lists: {', '.join(LISTS)}")
    parser.add_argument("--all", action="store_true", help="every list")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs side by side")
    parser.add_argument("--only", help="one run of one list, in this process; collect nothing")
    args = parser.parse_args()
    names = list(LISTS) if args.all else args.lists
    if not names:
        parser.error(f"name a list ({', '.join(LISTS)}), or give --all")
    for name in names:
        if name not in LISTS:
            parser.error(str(unknown_name("list of runs", name, LISTS)))
    if args.jobs < 1:
        parser.error(f"--jobs {args.jobs}: at least 1 process is needed")
    if args.only:
        (job,) = [job for job in LISTS[names[0]]() if job.name == args.only]
        job.run(RUNS / names[0] / job.name)
        return 0
    good = True
    for name in names:
        jobs = LISTS[name]()
        good &= run_list(name, jobs, args.jobs)
        collect(name, jobs)
    return 0 if good else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("stopped; start the same command again to go on", file=sys.stderr)
        sys.exit(130)
