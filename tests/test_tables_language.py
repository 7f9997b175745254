"""Tables of language models, on made-up runs whose answers can be worked out by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from qkvlib import (
    EIGHT_VARIANTS,
    EQUAL_PARAMETERS,
    GAP_MAIN,
    GAP_METRIC,
    GAP_SHAPES,
    GAP_TREND,
    GAP_VARIANTS,
    TOKENS_METRIC,
    gap_curves,
    gap_task,
    language_losses,
    load_rows,
    loss_curves,
    mean_interval,
    paper,
    result_table,
    save_rows,
    slope_per_doubling,
    token_ratios,
)
from qkvlib.tables import perplexity_change, relative_loss

DATA = Path(paper.data_file("results/four_tyings.json")).parent


@given(st.floats(-5, 5), st.floats(-5, 5), st.lists(st.integers(1, 20), min_size=2, unique=True))
def test_a_slope_is_that_of_a_line(slope: float, start: float, powers: list[int]) -> None:
    points = {2.0**p: start + slope * p for p in powers}
    assert slope_per_doubling(points) == pytest.approx(slope, abs=1e-6)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The real runs on the default text, and made-up others."""
    for name in ("four_tyings", "head_sharing"):
        (tmp_path / f"{name}.json").write_bytes((DATA / f"{name}.json").read_bytes())
    common = {"n_params": 10, "bytes_per_token": 4}
    shakespeare = [
        {"variant": v, "seed": s, "loss": 1.5 + 0.1 * s + (v != "QKV") * 0.03, **common}
        for v in EIGHT_VARIANTS
        for s in range(3)
    ]
    save_rows(shakespeare, tmp_path / "shakespeare.json", about="Made up.", recipe={})
    matched = [row for row in shakespeare if row["variant"] != "QKV"]
    save_rows(matched, tmp_path / "matched.json", about="Made up.", recipe={})
    return tmp_path


def test_language(folder: Path) -> None:
    table = result_table("language", folder)
    row = table.find("Q-K=V", "tinyshakespeare", "perplexity above QKV, %")
    wanted = 100 * math.expm1(0.03)
    assert (row.mean, row.low, row.high) == pytest.approx((wanted,) * 3)
    assert row.verdict == "worse"
    assert row.paper == pytest.approx(100 * (5.27 / 5.11 - 1))
    bits = table.find("QKV", "tinyshakespeare", "bits per byte")
    losses = [1.5, 1.6, 1.7]
    assert bits.mean == pytest.approx(mean_interval(losses).mean / math.log(2))
    # The untied model is its own control, with the seeds of the widened ones.
    gap = table.find("MQA", EQUAL_PARAMETERS, "loss above QKV, %")
    assert gap.n == 3
    plain = table.find("QKV", EQUAL_PARAMETERS, "bits per byte")
    assert plain.mean == table.find("QKV", "text", "bits per byte").mean
    assert table.find("GQA-2", "text", "cache bytes per token, float16").n == 5
    variants = list(dict.fromkeys(row.variant for row in table.rows))
    assert variants == list(EIGHT_VARIANTS)


def test_language_losses_are_what_the_table_is_made_from(folder: Path) -> None:
    losses = language_losses(folder)
    assert set(losses) == {"text", "tinyshakespeare", EQUAL_PARAMETERS}
    assert losses["tinyshakespeare"]["MQA"] == pytest.approx({0: 1.53, 1: 1.63, 2: 1.73})
    assert losses[EQUAL_PARAMETERS]["QKV"] == losses["text"]["QKV"]
    for row in result_table("language", folder).rows:
        if row.metric == "loss, nats per byte":
            values = list(losses[row.task][row.variant].values())
            assert row.mean == mean_interval(values).mean


def test_the_paper_s_changes() -> None:
    figures = paper.paper_figures()
    assert perplexity_change("MQA", figures) == pytest.approx(100 * (5.19 / 5.11 - 1))
    assert perplexity_change("GQA-2", figures) is relative_loss("GQA-2", figures) is None


def made_up_gap(folder: Path, change: Any) -> None:
    rows = []
    for seed in range(3):
        for d_model, context in GAP_SHAPES:
            steps = 5000 if (d_model, context) == GAP_MAIN else 2000
            for variant in GAP_VARIANTS:
                evals = list(range(0, steps + 1, 250))
                losses = [
                    2.0 * (1 + (variant != "QKV") * change(d_model, context, max(s, 1)) / 100)
                    for s in evals
                ]
                rows.append(
                    {"variant": variant, "seed": seed, "d_model": d_model, "context": context,
                     "eval_step": evals, "eval_loss": losses}
                )  # fmt: skip
    save_rows(rows, folder / "gap.json", about="Made up.", recipe={})


def test_gap(tmp_path: Path) -> None:
    """A gap of 3 % that falls by half a point with each doubling of tokens, rises by 1 with width,
    and knows nothing of context."""
    made_up_gap(
        tmp_path,
        lambda d_model, context, step: (
            3 - 0.5 * math.log2(step / 2000) + math.log2(d_model / GAP_MAIN[0])
        ),
    )
    table = result_table("gap", tmp_path)
    last = 2000 * 2048
    for d_model, context in GAP_SHAPES:
        if (d_model, context) != GAP_MAIN:
            row = table.find("MQA", gap_task(d_model, context, last), GAP_METRIC)
            assert row.mean == pytest.approx(3 + math.log2(d_model / GAP_MAIN[0]))
    main = [
        row
        for row in table.rows
        if row.task.startswith(f"d_model {GAP_MAIN[0]}, context {GAP_MAIN[1]}")
    ]
    tasks = list(dict.fromkeys(row.task for row in main))
    assert tasks[-1] == gap_task(*GAP_MAIN, 5000 * 2048)
    assert len(tasks) >= 5
    for axis, slope in {"tokens": -0.5, "width": 1.0, "context": 0.0}.items():
        row = table.find("Q-K=V", axis, GAP_TREND)
        assert (row.mean, row.n) == (pytest.approx(slope, abs=1e-6), 3)


def test_gap_wide_keeps_the_rates_apart(tmp_path: Path) -> None:
    """Twice the tokens for the same loss, at one of the rates; at the other none are needed."""
    steps = [0, 250, 500, 1000, 2000]
    rows = [
        {"variant": v, "seed": s, "d_model": 256, "context": 128, "lr": lr, "eval_step": steps,
         "eval_loss": [5.0] + [4.0 - math.log2(i / (250 * slower)) for i in steps[1:]]}
        for v, slow in (("QKV", 1), ("Q-K=V", 2))
        for lr, slower in ((1e-3, slow), (3e-4, 1))
        for s in range(3)
    ]  # fmt: skip
    save_rows(rows, tmp_path / "gap_wide.json", about="Made up.", recipe={})
    table = result_table("gap_wide", tmp_path)
    for tokens, rate, gap, times in (
        (1000, 1e-3, 50.0, 2.0), (2000, 1e-3, 100.0, None), (1000, 3e-4, 0.0, 1.0),
    ):  # fmt: skip
        task = gap_task(256, 128, tokens * 2048, rate)
        assert table.find("Q-K=V", task, GAP_METRIC).mean == pytest.approx(gap)
        found = [r.mean for r in table.rows if (r.task, r.metric) == (task, TOKENS_METRIC)]
        assert found == ([] if times is None else [pytest.approx(times)])


def test_two_runs_of_one_seed_do_not_hide_each_other() -> None:
    row = {"variant": "MQA", "d_model": 8, "context": 4, "seed": 0}
    row |= {"eval_step": [0, 5], "eval_loss": [5.0, 2.0]}
    assert loss_curves([row]) == {("MQA", 8, 4): {0: {5 * 2048: 2.0}}}
    with pytest.raises(ValueError, match=r"two runs of .* with seed 0: one would hide the other"):
        gap_curves([row, row])


@given(slower=st.floats(1.05, 3.0), power=st.floats(0.1, 1.0))
def test_a_run_that_is_slower_takes_as_many_times_the_tokens(slower: float, power: float) -> None:
    tokens = [2**k for k in range(20, 30)]
    plain = {t: t**-power for t in tokens}
    own = {t: (t / slower) ** -power for t in tokens}
    ratios = token_ratios(plain, own)
    assert {t for t in tokens if t * slower < 0.999 * tokens[-1]} <= set(ratios)
    for ratio in ratios.values():
        assert ratio == pytest.approx(slower, rel=0.07)  # the curve bends between two evaluations


def test_losses_that_are_not_reached_are_left_out() -> None:
    assert token_ratios({10: 3.0, 20: 2.0, 40: 1.0}, {10: 4.0, 20: 3.0, 40: 2.0}) == {
        10: pytest.approx(2.0),
        20: pytest.approx(2.0),
    }
    # A loss that was reached, lost, and reached again counts from the first time.
    assert token_ratios({20: 2.0}, {10: 3.0, 20: 2.0, 40: 3.0, 80: 1.0}) == {20: 1.0}


def test_padding(tmp_path: Path) -> None:
    rows = [
        {"variant": v, "seed": s, "score_padding": scored, "padding_share": 0.25,
         "padded": 1.5 + (v != "QKV") * 0.03, "unpadded": 2.0 + (v != "QKV") * 0.04}
        for v in ("QKV", "Q-K=V")
        for s in range(3)
        for scored in (True, False)
    ]  # fmt: skip
    save_rows(rows, tmp_path / "padding.json", about="Made up.", recipe={})
    table = result_table("padding", tmp_path)
    task = "padding scored in training"
    assert table.find("QKV", task, "perplexity per byte without padding").mean == pytest.approx(
        math.exp(2)
    )
    row = table.find("Q-K=V", task, "perplexity above QKV, %, with padding")
    assert (row.mean, row.verdict) == (pytest.approx(100 * math.expm1(0.03)), "worse")
    assert load_rows(tmp_path / "padding.json").about == table.about
