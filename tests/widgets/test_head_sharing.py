"""HeadSharing in Python: what is measured, what is refused, the same numbers as the page."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import traitlets

from qkvlib import bytes_per_token, get_config, saved, undominated
from qkvlib.paper import paper_figures
from qkvlib.records import RunRecord
from qkvlib.stats import StatsError
from qkvlib.widgets import HeadSharing, base, static_html

from in_node import find_node
from widget_pages import refuses

HERE = Path(__file__).parent
SHIFTS = {"QKV": 0.0, "GQA-2": 0.01, "MQA": 0.002, "Q-K=V": 0.1, "Q-GQA-2": 0.11, "Q-MQA": 0.12}
WOBBLE = (0.0, 0.003, -0.002)


def record(variant: str, seed: int, bits: float, model: str = "small") -> RunRecord:
    config = get_config(model).replace(variant=variant)
    return RunRecord(
        model=config.to_dict(), training={}, task={"sha256": "0"}, seed=seed, n_params=1,
        cache_bytes_per_token={}, metrics={"bits_per_byte": bits}, history={}, versions={},
        device="cpu", cpu="", threads=1, seconds=1.0, tokens_per_second=1.0,
    )  # fmt: skip


def runs() -> list[RunRecord]:
    """Three seeds of six variants, and of one that cannot share heads."""
    found = [
        record(name, seed, 2.0 + seed / 50 + shift + WOBBLE[(seed + i) % 3] * (i > 0))
        for i, (name, shift) in enumerate(SHIFTS.items())
        for seed in range(3)
    ]
    return [*found, *(record("Q=K-V", seed, 2.2) for seed in range(3))]


# ------------------------------------------------------------------------------- the page's numbers

SCRIPT = """
import { readFileSync } from "node:fs";
import { load } from LOAD;
const heads = await load("head_sharing");
const answers = JSON.parse(readFileSync(0, "utf8")).map((state) => {
  const model = heads.modelOf(state);
  const sharing = heads.sharingOf(state);
  const kv = state.n_kv_heads;
  return {
    problem: heads.refusal(state),
    name: heads.variantName(sharing, kv, model.n_heads),
    bytes: heads.bytesPerToken(model, sharing, kv),
    saved: 1 - heads.keptShare(model, sharing, kv),
    reads: heads.kvHeadOf(state.query_head, model.n_heads, kv),
    measured: heads.pointOf(model, sharing, kv)?.name ?? null,
    choices: heads.kvChoices(model.n_heads),
  };
});
process.stdout.write(JSON.stringify(answers));
"""


def test_the_page_shows_what_accounting_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QKV_STATIC", "1")  # comms would only take time
    widgets = []
    for n_heads in (1, 4, 6, 16, 32, 64):
        shape = get_config("small").replace(
            d_model=192, head_dim=3, n_heads=n_heads, n_kv_heads=n_heads
        )
        choices = [g for g in range(1, n_heads + 1) if n_heads % g == 0]
        for sharing in ("QKV", "Q-K=V"):
            for kv in choices:
                config = shape.replace(sharing=sharing, n_kv_heads=kv)
                widgets.append(HeadSharing.from_config(config, query_head=(7 * kv) % n_heads))
    measured = HeadSharing.from_records(runs())
    for row in measured.models:
        for point in row["points"]:
            chosen = {"sharing": point["sharing"], "n_kv_heads": point["n_kv_heads"]}
            widgets.append(HeadSharing.from_records(runs(), model=row["name"], **chosen))
    assert len(widgets) > 60
    run = subprocess.run(
        [
            find_node(),
            "--input-type=module",
            "-e",
            SCRIPT.replace("LOAD", json.dumps((HERE / "load.mjs").as_uri())),
        ],
        input=json.dumps([widget.state() for widget in widgets]),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    for widget, answer in zip(widgets, json.loads(run.stdout), strict=True):
        config = widget.config
        heads = range(1, config.n_heads + 1)
        assert answer == {
            "problem": None,
            "name": config.variant.name,
            "bytes": bytes_per_token(config),
            "saved": pytest.approx(saved(config), abs=1e-15),
            "reads": widget.kv_head,
            "measured": widget.point["name"] if widget.point else None,
            "choices": [g for g in heads if config.n_heads % g == 0],
        }


# --------------------------------------------------------------------------------- what is measured


def points_of(widget: HeadSharing, index: int) -> dict[str, dict[str, Any]]:
    return {p["name"]: p for p in widget.models[index]["points"]}


def test_runs_are_compared_seed_by_seed() -> None:
    widget = HeadSharing.from_records(runs())
    row = widget.models[0]
    assert (row["seeds"], row["metric"], row["n_heads"]) == (3, "bits per byte", 4)
    points = points_of(widget, 0)
    assert set(points) == set(SHIFTS), "with Q=K heads cannot be shared"
    assert "low" not in points["QKV"]
    tied = points["Q-K=V"]
    bits = {name: {r.seed: r.metrics["bits_per_byte"] for r in runs() if r.variant.name == name}
            for name in ("QKV", "Q-K=V")}  # fmt: skip
    percent = [100 * (bits["Q-K=V"][seed] / bits["QKV"][seed] - 1) for seed in range(3)]
    assert tied["change"] == pytest.approx(sum(percent) / 3, abs=1e-4)
    assert tied["low"] < tied["change"] < tied["high"]
    assert (tied["verdict"], points["MQA"]["verdict"]) == ("worse", "cannot tell")
    assert tied["value"] == pytest.approx(sum(bits["Q-K=V"].values()) / 3, abs=1e-4)
    assert tied["value_low"] < tied["value"] < tied["value_high"]


@pytest.mark.parametrize("index", [0, 1, 2])
def test_the_frontier_is_that_of_stats(index: int) -> None:
    widget = HeadSharing.from_records(runs())
    points = points_of(widget, index)
    config = get_config(["small", "300M", "1.2B"][index])
    costs = {
        name: (bytes_per_token(config.replace(variant=name)), p["change"])
        for name, p in points.items()
    }
    best = undominated(costs)
    assert [name for name, p in points.items() if p["beaten_by"] == ""] == best
    assert 0 < len(best) < len(points)
    for name, p in points.items():
        if name not in best:
            assert costs[p["beaten_by"]][0] <= costs[name][0]
            assert costs[p["beaten_by"]][1] <= costs[name][1]
            assert p["beaten_by"] in best


def test_the_papers_points_are_its_perplexities_as_loss() -> None:
    points = points_of(HeadSharing(), 0)
    printed = {k: f.value for k, f in paper_figures().items()}
    assert set(points) == {"QKV", "Q-K=V", "GQA-4", "MQA", "Q-GQA-4", "Q-MQA"}
    for name, p in points.items():
        value = printed[f"300M/{name}/perplexity"]
        assert p["value"] == value
        change = 100 * (math.log(value) / math.log(printed["300M/QKV/perplexity"]) - 1)
        assert p["change"] == pytest.approx(change, abs=1e-4)
        assert "low" not in p, "one seed makes no interval"
    assert points["Q-K=V"]["beaten_by"] == "GQA-4"
    assert points["Q-GQA-4"]["beaten_by"] == "MQA"
    assert [p["name"] for p in HeadSharing().models[1]["points"] if not p["beaten_by"]] == [
        "QKV", "GQA-8", "MQA", "Q-MQA",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("records", "error", "words"),
    [
        ([], ValueError, "QKV is missing"),
        ([r for r in runs() if r.variant.name != "QKV"], ValueError, "QKV is missing"),
        ([*runs(), record("QKV", 9, 2.0, "300M")], ValueError, "records of 2 shapes"),
        ([r for r in runs() if r.seed < 2], StatsError, "2 seeds in common"),
    ],
)
def test_records_that_allow_no_comparison_are_refused(
    records: list[RunRecord], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=re.escape(words)):
        HeadSharing.from_records(records)


def test_a_variant_with_fewer_seeds_is_compared_on_those_it_has() -> None:
    extra = [dataclasses.replace(record("QKV", seed, 2.0), seed=seed) for seed in (7, 8)]
    widget = HeadSharing.from_records([*runs(), *extra])
    assert widget.models[0]["seeds"] == 5
    assert points_of(widget, 0)["MQA"] == points_of(HeadSharing.from_records(runs()), 0)["MQA"]


# ---------------------------------------------------------------------------------------- traits


def test_it_starts_on_the_papers_model_with_all_its_heads() -> None:
    widget = HeadSharing()
    assert (widget.model, widget.sharing, widget.n_kv_heads) == ("Paper, 300M", "QKV", 16)
    assert widget.config.head_dim == 64
    assert HeadSharing(model="Paper, 1.2B").n_kv_heads == 32
    assert HeadSharing(sharing="(q, k=v)").sharing == "Q-K=V"


def test_query_heads_read_by_neighbourhood() -> None:
    widget = HeadSharing(n_kv_heads=4)
    seen = []
    for h in range(16):
        widget.query_head = h
        seen.append(widget.kv_head)
    assert seen == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"n_kv_heads": 3}, ["n_kv_heads=3 does not divide n_heads=16", "[1, 2, 4, 8, 16]"]),
        ({"sharing": "Q=K-V"}, ["(Q=K, V)", "shares with nobody", "'QKV' or 'Q-K=V'"]),
        ({"sharing": "Q-K"}, ["Did you mean 'Q-K=V'"]),
        ({"query_head": 16}, ["query_head=16", "0 to 15"]),
        ({"query_head": -1}, ["query_head=-1"]),
        ({"query_head": True}, ["query_head", "True"]),
        ({"model": "Paper, 300"}, ["unknown model", "Did you mean 'Paper, 300M'"]),
        ({"n_kv_heads": 0}, ["n_kv_heads=0"]),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_changes(
    change: dict[str, Any], words: list[str]
) -> None:
    refuses(HeadSharing(n_kv_heads=8), change, words)


def test_models_change_together_with_their_heads() -> None:
    widget = HeadSharing.from_records(runs(), n_kv_heads=4)
    with pytest.raises(traitlets.TraitError, match=r"\.update\("):
        widget.update(model="Paper, 1.2B", n_kv_heads=3)
    widget.update(model="Paper, 1.2B", n_kv_heads=32, query_head=31)
    assert widget.config.n_heads == 32
    with pytest.raises(ValueError, match="Did you mean 'n_kv_heads'"):
        HeadSharing(kv_heads=2)
    with pytest.raises(ValueError, match="models is empty"):
        HeadSharing(models=[])


def test_models_too_wide_to_draw_are_refused() -> None:
    config = get_config("small").replace(d_model=1024, head_dim=8, n_heads=128, n_kv_heads=128)
    with pytest.raises(traitlets.TraitError, match="room for 64"):
        HeadSharing.from_config(config)


# ------------------------------------------------------------------------------- without a kernel


def test_the_mount_point_carries_the_state_and_a_reading() -> None:
    widget = HeadSharing.from_records(runs(), n_kv_heads=2)
    text = static_html(widget)
    found = re.search(r'<script type="application/json">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    assert json.loads(found[1]) == json.loads(json.dumps(widget.state()))
    assert len(found[1]) < 6000
    assert "query heads 0 to 1 read KV head 0; query heads 2 to 3 read KV head 1" in text
    assert '<th scope="row">Q-MQA</th><td>144</td>' in text
    assert text == static_html(HeadSharing.from_records(runs(), n_kv_heads=2))


def test_it_says_in_words_what_it_shows() -> None:
    text = HeadSharing.from_records(runs(), sharing="Q-K=V", n_kv_heads=1).describe()
    assert "Q-MQA (Measured here)" in text
    assert "query heads 0 to 3 read KV head 0" in text
    assert "Cache: K, 144 bytes per token in float16, 87.5 % saved" in text
    assert re.search(r"QKV +1,152 bytes per token +the reference", text)
    assert re.search(r"Q-K=V +576 bytes per token +loss \+4\.\d\d % \(\+", text)
    bare = HeadSharing.from_config(get_config("small")).describe()
    assert "every query head reads a KV head of its own" in bare
    assert "no model of this shape was measured" in bare
    assert "one seed" in HeadSharing().describe()


def test_names_of_sharings_come_from_python() -> None:
    source = (Path(base.__file__).parent / "head_sharing.js").read_text(encoding="utf-8")
    state = HeadSharing().state()
    assert [s["name"] for s in state["sharings"]] == ["QKV", "Q-K=V"]
    assert [s["prefix"] for s in state["sharings"]] == ["", "Q-"]
    for name in ("Q-K=V", "Q=K-V"):
        assert f'"{name}"' not in source, "names of sharings belong to sharing.py"
