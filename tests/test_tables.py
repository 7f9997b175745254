"""Result tables: one shape for all, means and intervals that can be checked by hand."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest

from qkvlib import (
    GRID,
    SIX_VARIANTS,
    TABLES,
    aggregate,
    data_file,
    load_records,
    load_rows,
    mean_interval,
    paper_figures,
    result_table,
    save_rows,
    synthetic_accuracy,
)
from qkvlib.tables import AVERAGE, ResultRow, ResultTable, relative_loss
from qkvlib.text_table import aligned, markdown

ROOT = Path(__file__).resolve().parents[1]
FIELDS = ["variant", "task", "metric", "mean", "low", "high", "n", "paper"]


@pytest.mark.parametrize("name", TABLES)
def test_every_table_has_the_same_shape(name: str) -> None:
    table = result_table(name)
    data = json.loads(json.dumps(table.to_dict()))
    assert data["table"] == name
    assert data["rows"]
    for row in data["rows"]:
        assert list(row) == FIELDS
        assert row["n"] >= 3
        if row["mean"] is None:
            assert row["low"] is row["high"] is None
        else:
            assert row["low"] <= row["mean"] <= row["high"]
    keys = [tuple(row[k] for k in FIELDS[:3]) for row in data["rows"]]
    assert len(set(keys)) == len(keys)
    for text in (table.to_text(), table.to_markdown()):
        for metric in table.metrics():
            assert metric in text


def test_a_sweep_that_is_not_finished_compares_only_what_all_have() -> None:
    """Q=K=V at the short lists alone must not be set against QKV at short and long ones."""
    grid = load_rows(data_file("results/synthetic.json"))
    easy = [r for r in grid.rows if r["variant"] != "Q=K=V" or r["length"] == 16]
    part = synthetic_accuracy(dataclasses.replace(grid, rows=easy))
    short = [r for r in grid.rows if r["length"] == 16]
    wanted = synthetic_accuracy(dataclasses.replace(grid, rows=short))
    assert part == wanted
    assert part["REVERSE"]["QKV"] != synthetic_accuracy(grid)["REVERSE"]["QKV"]


def test_four_tyings_by_hand() -> None:
    table = result_table("four_tyings")
    records = load_records(ROOT / "data/results/four_tyings.json")
    bits = aggregate(records, "bits_per_byte")
    row = table.find("Q-K=V", "text", "loss above QKV, %")
    wanted = mean_interval([100 * (bits["Q-K=V"][s] / bits["QKV"][s] - 1) for s in bits["QKV"]])
    assert (row.mean, row.low, row.high, row.n) == (wanted.mean, wanted.low, wanted.high, wanted.n)
    assert row.paper == pytest.approx(100 * (math.log(5.27) / math.log(5.11) - 1))
    assert relative_loss("GQA-2", paper_figures()) is None


def made_up(tmp_path: Path, *, without: Any = None, race: bool = True) -> ResultTable:
    """Accuracy = 0.5 for QKV and 0.4 for the others, plus 0.01 per seed and 0.001 per setting."""
    grid, runs = [], []
    for variant in SIX_VARIANTS:
        for seed in range(3):
            for i, setting in enumerate(GRID):
                base = 0.5 if variant == "QKV" else 0.4
                accuracy = base + 0.01 * seed + 0.001 * i
                row = {"task": "SORT", **setting, "variant": variant, "seed": seed}
                if (variant, seed, i) != without:
                    grid.append({**row, "accuracy": accuracy})
            steps = None if (variant, seed) == ("Q=K=V", 2) else 100 + 10 * seed
            runs.append({"task": "SORT", "variant": variant, "seed": seed, "steps_to_99": steps})
    save_rows(grid, tmp_path / "synthetic.json", about="Made up.", recipe={})
    if race:
        recipe = {"training": {"steps": 700}}
        save_rows(runs, tmp_path / "synthetic_race.json", about="Made up.", recipe=recipe)
    return result_table("synthetic", tmp_path)


def test_seeds_are_the_unit_and_settings_are_averaged(tmp_path: Path) -> None:
    table = made_up(tmp_path)
    row = table.find("QKV", "SORT", "accuracy")
    wanted = mean_interval([0.5 + 0.01 * seed + 0.0115 for seed in range(3)])
    assert (row.mean, row.low, row.n) == pytest.approx((wanted.mean, wanted.low, 3))
    assert row.paper == 0.971
    # Compared seed by seed, what the seeds share drops out.
    gap = table.find("Q-K=V", "SORT", "accuracy above QKV")
    assert (gap.mean, gap.low, gap.high) == pytest.approx((-0.1, -0.1, -0.1))
    assert gap.paper == pytest.approx(0.958 - 0.971)
    assert AVERAGE not in {row.task for row in table.rows}  # the other four are not there


def test_a_seed_without_all_settings_does_not_count(tmp_path: Path) -> None:
    table = made_up(tmp_path, without=("Q-K=V", 1, 5), race=False)
    assert {row.variant for row in table.rows if row.metric == "accuracy"} == set(SIX_VARIANTS) - {
        "Q-K=V"
    }
    assert not any(metric.startswith(("steps", "share")) for metric in table.metrics())


def test_the_race_says_where_not_all_arrive(tmp_path: Path) -> None:
    table = made_up(tmp_path)
    row = table.find("QKV", "SORT", "steps to 99 %")
    assert (row.mean, row.n) == (110, 3)
    share = "share of runs at 99 % within 700 steps"
    missing = table.find("Q=K=V", "SORT", "steps to 99 %")
    assert missing.mean is missing.low is missing.high is None
    assert "not by all" in table.to_text()
    assert "0.67 (0.09–0.99)" in table.to_text()
    arrived = table.find("Q=K=V", "SORT", share)
    assert arrived.mean == pytest.approx(2 / 3)
    # Clopper and Pearson: 2 of 3 says little.
    assert (arrived.low, arrived.high) == pytest.approx((0.0943, 0.9916), abs=1e-3)
    assert table.find("QKV", "SORT", share).high == 1


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    table = made_up(tmp_path)
    with pytest.raises(ValueError, match="Did you mean 'SORT'"):
        table.find("QKV", "SORTS", "accuracy")
    with pytest.raises(ValueError, match="metric of QKV on SORT"):
        table.find("QKV", "SORT", "accuracy above QKV")
    with pytest.raises(FileNotFoundError, match="Make it: qkv sweep recall"):
        result_table("recall", tmp_path)
    with pytest.raises(ValueError, match="Did you mean 'recall'"):
        result_table("recal")


def test_cells_show_the_paper_s_figure() -> None:
    rows = (
        ResultRow("Q-K=V", "text", "loss, %", 5.4321, 4.4321, 6.4321, 5, 1.893),
        ResultRow("Q-K=V", "SORT", "loss, %", 0.9111, 0.9011, 0.9211, 5, None),
        ResultRow("QKV", "SORT", "loss, %", 123.4, 120.1, 126.7, 5, None),
    )
    table = ResultTable("x", "About.", rows)
    assert "| Q-K=V (Q, K=V) | 5.43 ± 1.00 [1.89] | 0.911 ± 0.010 |" in table.to_markdown()
    assert "123 ± 3" in table.to_text()
    assert table.to_text().startswith("About. Mean ± half of the 95 % interval")


def test_verdicts_are_of_differences_and_by_intervals() -> None:
    def verdict(metric: str, low: float | None, high: float | None) -> str | None:
        return ResultRow("Q-K=V", "a", metric, low, low, high, 5, None).verdict

    assert verdict("accuracy above QKV", 0.1, 0.2) == "better"
    assert verdict("accuracy above QKV", -0.2, -0.1) == "worse"
    assert verdict("loss above QKV, %", 0.1, 0.2) == "worse"
    assert verdict("loss above QKV, %", -0.2, -0.1) == "better"
    assert verdict("accuracy above Q=K=V", 0.0, 0.2) == "cannot tell"
    assert verdict("accuracy", 0.1, 0.2) is None
    assert verdict("accuracy above QKV", None, None) is None
    rows = (
        ResultRow("QKV", "a", "parameters", 104_970, 104_970, 104_970, 3, None),
        ResultRow("Q-K=V", "a", "accuracy above QKV", -0.2, -0.3, -0.1, 3, None),
        ResultRow("Q-K=V", "b", "accuracy above QKV", 0.1, -0.3, 0.5, 3, None),
    )
    text = ResultTable("x", "About.", rows).to_text()
    assert "104,970\n" in text
    assert "-0.200 ± 0.100 worse" in text
    assert "0.100 ± 0.400\n" in text + "\n"
    assert "called better or worse" in text


def test_the_longer_axis_goes_down() -> None:
    rows = tuple(
        ResultRow(variant, task, "accuracy", 0.5, 0.4, 0.6, 3, None)
        for variant in ("QKV", "Q-K=V")
        for task in ("one", "two", "three")
    )
    lines = ResultTable("x", "About.", rows).to_text().splitlines()
    assert [line.split()[0] for line in lines[-3:]] == ["one", "two", "three"]
    assert "Q-K=V (Q, K=V)" in lines[-4]


def test_text_tables() -> None:
    rows = [["a", "bb"], ["ccc", "d"]]
    assert aligned(rows) == "a    bb\nccc   d"
    assert aligned(rows, left=2) == "a    bb\nccc  d"
    assert markdown([["x|y", "n"], ["1", "2"]]) == "| x\\|y | n |\n| --- | ---: |\n| 1 | 2 |"
