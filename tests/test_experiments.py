"""The named experiments: fair, complete, and what is collected is what they say."""

from __future__ import annotations

import dataclasses
import itertools
import json
import warnings
from collections import Counter
from pathlib import Path

import pytest

from qkvlib import (
    EXPERIMENTS,
    GRID,
    SHARINGS,
    SIX_VARIANTS,
    TASKS,
    Experiment,
    RecordError,
    SweepError,
    TrainConfig,
    get_experiment,
    load_records,
    load_rows,
    paper_figures,
)
from qkvlib.experiments import VISION, measure_maps
from qkvlib.models import build_model
from qkvlib.tables import PAPER_TASKS
from qkvlib.tasks.text import TextTask

from small_jobs import SHAPE, make_job

RESULTS = Path(__file__).resolve().parents[1] / "data" / "results"

pytestmark = pytest.mark.filterwarnings("error")


def _takes_minutes(name: str) -> bool:
    """These runs take minutes each, so there are fewer of them."""
    return name.startswith(VISION) or name in (
        "image_positions", "shakespeare", "matched", "padding", "gap", "gap_wide",
    )  # fmt: skip


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_variant_gets_the_same(name: str) -> None:
    """Same recipe, data and seeds for all, and seeds enough for an interval."""
    groups: dict[object, list] = {}
    for job in EXPERIMENTS[name].jobs():
        shape = job.model.replace(variant="QKV")
        training = dataclasses.replace(job.training, seed=0)
        task = (job.task.func, job.task.args, {**job.task.keywords, "seed": 0})
        groups.setdefault((str(shape), str(training), str(task)), []).append(job)
    for jobs in groups.values():
        count = Counter(job.model.variant.name for job in jobs)
        assert len(set(count.values())) == 1
        for variant in count:
            seeds = {j.training.seed for j in jobs if j.model.variant.name == variant}
            assert len(seeds) == count[variant] >= (3 if _takes_minutes(name) else 5)
    for job in EXPERIMENTS[name].jobs():
        assert job.task.keywords["seed"] == job.training.seed


def test_the_synthetic_grid_is_the_documented_one() -> None:
    jobs = EXPERIMENTS["synthetic"].jobs()
    assert len(jobs) == len(TASKS) * len(GRID) * len(SIX_VARIANTS) * 5
    seen = {
        (j.task.args[0], j.model.max_seq_len, j.model.d_model, j.model.n_layers, j.model.n_heads,
         j.model.variant.name)
        for j in jobs
    }  # fmt: skip
    assert seen == set(
        itertools.product(TASKS, (16, 64, 128), (32, 64), (1, 2), (2, 4), SIX_VARIANTS)
    )
    assert {j.training.batch_size * j.model.max_seq_len for j in jobs} == {512}


def test_four_tyings_and_head_sharing_can_be_laid_side_by_side() -> None:
    recipes = {
        str((job.model.replace(variant="QKV"), dataclasses.replace(job.training, seed=0)))
        for name in ("four_tyings", "head_sharing")
        for job in EXPERIMENTS[name].jobs()
    }
    assert len(recipes) == 1
    assert {j.model.sharing.name for j in EXPERIMENTS["four_tyings"].jobs()} == set(SHARINGS)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_collected_results_are_those_of_the_experiment(name: str) -> None:
    experiment = EXPERIMENTS[name]
    jobs = experiment.jobs()
    path = RESULTS / f"{name}.json"
    if experiment.columns is None:
        records = load_records(path)
        assert len({record.data_sha256 for record in records}) == 1
        by_run = {(r.variant.name, r.seed): r for r in records}
        assert len(by_run) == len(records) == len(jobs)
        jobs_by_run = {(j.model.variant.name, j.training.seed): j for j in jobs}
        for run, record in by_run.items():
            assert record.config == jobs_by_run[run].model
            assert TrainConfig(**record.training) == jobs_by_run[run].training
            assert record.extra["trained"]
            assert record.metrics["loss"] < record.history["eval_loss"][0]
        return
    found = load_rows(path)
    assert found.about == experiment.about
    assert len(found.rows) == len(jobs)
    for row, job in zip(found.rows, jobs, strict=True):
        assert (row["variant"], row["seed"]) == (job.model.variant.name, job.training.seed)
        assert row.keys() == experiment.columns.keys()
        assert 0 <= row.get("accuracy", 0) <= 1
        losses = [row[name] for name in ("loss", "padded", "unpadded") if name in row]
        assert losses
        assert all(0 <= loss < 10 for loss in losses)
    for key, value in found.recipe["training"].items():
        assert {job.training.to_dict()[key] for job in jobs} == {value}


def test_patterns() -> None:
    experiment = get_experiment("synthetic_race")
    assert len(experiment.jobs(["SORT/*/seed-0"])) == len(SIX_VARIANTS)
    assert len(experiment.jobs(["SORT/*/seed-0", "SORT/QKV/*"])) == len(SIX_VARIANTS) + 4
    with pytest.raises(SweepError, match=r"no run of synthetic_race is called 'sort/\*'"):
        experiment.jobs(["sort/*"])
    with pytest.raises(ValueError, match="Did you mean 'synthetic_race'"):
        get_experiment("synthetic_rase")


@pytest.fixture
def small() -> Experiment:
    return Experiment(
        "small",
        "Three small runs.",
        lambda: [make_job(seed) for seed in range(3)],
        {"seed": lambda record: record.seed, "loss": lambda record: record.metrics["loss"]},
    )


def test_run_and_collect(small: Experiment, tmp_path: Path, here: list[str]) -> None:
    small.run(tmp_path / "runs", patterns=["*/seed-[01]"])
    path = small.collect(tmp_path / "runs", tmp_path / "results")
    found = load_rows(path)
    assert [row["seed"] for row in found.rows] == [0, 1]
    assert found.about == "Three small runs."
    # What all have in common stands in the recipe, what differs does not.
    assert found.recipe["model"] == SHAPE.to_dict()
    assert found.recipe["training"]["steps"] == 3
    assert "seed" not in found.recipe["training"]
    assert found.recipe["versions"]["torch"]
    small.run(tmp_path / "runs")
    assert len(load_rows(small.collect(tmp_path / "runs", tmp_path / "results")).rows) == 3


def test_a_begun_sweep_does_not_replace_a_whole_one(
    small: Experiment, tmp_path: Path, here: list[str]
) -> None:
    small.run(tmp_path / "whole")
    path = small.collect(tmp_path / "whole", tmp_path)
    before = path.read_bytes()
    small.run(tmp_path / "begun", patterns=["*/seed-0"])
    with pytest.raises(SweepError, match=r"holds 3 runs, and only 1 of 3 are finished"):
        small.collect(tmp_path / "begun", tmp_path)
    assert path.read_bytes() == before
    path.write_text("{")
    with pytest.raises(RecordError, match="damaged"):
        small.collect(tmp_path / "begun", tmp_path)


def test_whole_records_are_kept_where_there_are_no_columns(
    small: Experiment, tmp_path: Path, here: list[str]
) -> None:
    whole = dataclasses.replace(small, columns=None)
    whole.run(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        records = load_records(whole.collect(tmp_path, tmp_path / "results"))
    assert [record.seed for record in records] == [0, 1, 2]
    assert records[0].history["train_step"] == [0]  # every 20th


def test_maps_are_measured_for_each_layer_and_head(text_file: Path) -> None:
    task = TextTask(16, files=[text_file], eval_windows=4)
    shape = SHAPE.replace(causal=True, vocab_size=256, max_seq_len=16, n_layers=2)
    for sharing, tied in (("QKV", False), ("Q=K=V", True)):
        measured = measure_maps(build_model(shape.replace(sharing=sharing), seed=0), task)
        json.dumps(measured)
        for name in ("asymmetry", "self_attention"):
            assert [len(heads) for heads in measured[name]] == [2, 2]
        for heads in measured["asymmetry"]:
            assert all((x < 1e-5) is tied for x in heads)
        # A causal map's first row looks only at itself, so the diagonal has some weight at least.
        assert all(1 / 16 < x <= 1 for heads in measured["self_attention"] for x in heads)


def test_the_paper_s_averages_are_those_of_its_five_tasks() -> None:
    figures = paper_figures()
    for variant in SIX_VARIANTS:
        five = [figures[f"synthetic/{variant}/{task}"].value for task in PAPER_TASKS]
        printed = figures[f"synthetic/{variant}/accuracy"].value
        assert sum(five) / 5 == pytest.approx(printed, abs=0.0011)
