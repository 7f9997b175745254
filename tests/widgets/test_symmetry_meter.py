"""SymmetryMeter in Python: the same numbers as the page and the library, and what is refused."""

from __future__ import annotations

import json
import math
import random
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from qkvlib import asymmetry, split_asymmetry
from qkvlib.widgets import SymmetryMeter, base, static_html

from in_node import find_node
from widget_pages import refuses

HERE = Path(__file__).parent
VARIANTS = ["QKV", "Q=K-V", "(Q=K-V)+"]


@pytest.fixture(autouse=True)
def static(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QKV_STATIC", "1")  # hundreds of comms would only take time


def drawn(dice: random.Random) -> SymmetryMeter:
    n = dice.randint(3, 6)

    def points() -> list[list[float]]:
        return [[round(dice.uniform(-3, 3), 2) for _ in "xy"] for _ in range(n)]

    return SymmetryMeter(
        variant=dice.choice(VARIANTS), key_points=points(), query_points=points(),
        gain=round(dice.uniform(-2, 3), 1), row=round(dice.uniform(-4, 4), 1),
        column=round(dice.uniform(-4, 4), 1),
    )  # fmt: skip


# ------------------------------------------------------------------------------- the page's numbers

SCRIPT = """
import { readFileSync } from "node:fs";
import { load } from LOAD;
const meter = await load("symmetry_meter");
const answers = JSON.parse(readFileSync(0, "utf8")).map((state) => {
  const scores = meter.scoresOf(state);
  const { pull, flow, all } = meter.asymmetryOf(scores);
  const { places, times } = meter.roundTripOf(scores);
  return {
    scores, weights: meter.weightsOf(scores), pull, flow, all,
    round: [...places, places[0]].map((i) => state.labels[i]).join("→"), times,
    prefers: meter.prefersOf(scores), balance: meter.balanceOf(scores),
  };
});
process.stdout.write(JSON.stringify(answers));
"""


def test_the_page_computes_what_python_computes() -> None:
    dice = random.Random(0)
    meters = [
        *(SymmetryMeter(variant=name) for name in VARIANTS),
        *(drawn(dice) for _ in range(150)),
    ]
    script = SCRIPT.replace("LOAD", json.dumps((HERE / "load.mjs").as_uri()))
    run = subprocess.run(
        [find_node(), "--input-type=module", "-e", script],
        input=json.dumps([meter.state() for meter in meters]),
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    for meter, page in zip(meters, json.loads(run.stdout), strict=True):
        for name in ("scores", "weights"):
            for ours, theirs in zip(getattr(meter, name), page[name], strict=True):
                assert theirs == pytest.approx(ours, abs=1e-12)
        assert [page["pull"], page["flow"]] == pytest.approx(meter.parts, abs=1e-12)
        assert page["all"] == pytest.approx(meter.asymmetry, abs=1e-12)
        assert (page["round"], page["times"]) == (
            meter.round_trip[0], pytest.approx(meter.round_trip[1]),
        )  # fmt: skip
        assert page["prefers"] == list(meter.prefers)
        assert page["balance"] == pytest.approx(meter.balance, abs=1e-12)


def test_the_library_measures_the_same() -> None:
    dice = random.Random(1)
    for _ in range(40):
        meter = drawn(dice)
        scores = torch.tensor(meter.scores, dtype=torch.float64)
        assert asymmetry(scores).item() == pytest.approx(meter.asymmetry, abs=1e-9)
        pull, flow = split_asymmetry(scores)
        assert [pull.item(), flow.item()] == pytest.approx(meter.parts, abs=1e-9)
        assert torch.allclose(scores.softmax(-1), torch.tensor(meter.weights, dtype=torch.float64))


def test_one_projection_grants_one_wish_and_never_both() -> None:
    dice = random.Random(2)
    meters = [drawn(dice) for _ in range(250)]
    tied = [m for m in meters if m.parsed_variant.sharing.ties_query and m.gain >= 0]
    assert not any(all(m.prefers) for m in tied)
    assert any(any(m.prefers) for m in tied)
    assert all(m.parts[1] < 1e-9 for m in meters if m.parsed_variant.sharing.ties_query)
    for meter in meters:
        if meter.parsed_variant.sharing.ties_query:
            gain = meter.gain if meter.parsed_variant.plus else 1.0
            (a, b), (c, d) = meter.key_points[:2]
            apart = (a - c) ** 2 + (b - d) ** 2
            assert meter.balance == pytest.approx(gain * apart / math.sqrt(2), abs=1e-9)
    untied = [m for m in meters if not m.parsed_variant.sharing.ties_query]
    assert any(all(m.prefers) for m in untied)
    assert any(all(m.prefers) for m in meters if m.parsed_variant.plus and m.gain < 0)


# ------------------------------------------------------------------------------------------- traits


def test_it_starts_tied_with_nothing_wished_and_knows_how_to_flow() -> None:
    meter = SymmetryMeter()
    assert (meter.variant, meter.prefers, meter.asymmetry) == ("Q=K-V", (False, False), 0.0)
    meter.variant = "(q, k, v)"
    assert meter.variant == "QKV"
    trip, times = meter.round_trip
    assert (trip, times > 100) == ("A→C→D→A", True)
    assert [row["name"] for row in meter.variants] == VARIANTS
    source = (Path(base.__file__).parent / "symmetry_meter.js").read_text(encoding="utf-8")
    assert not any(f'"{name}"' in source for name in VARIANTS)


def test_other_keys_bring_labels_and_queries_along() -> None:
    meter = SymmetryMeter(key_points=[[1, 0], [0, 2], [-1, -1]])
    assert meter.labels == ["A", "B", "C"]
    assert meter.query_points == [[0.0, 1.0], [-2.0, 0.0], [1.0, -1.0]]
    named = SymmetryMeter(key_points=[[1, 0]] * 5, labels=list("vwxyz"))
    assert named.round_trip == ("v→w→x→v", 1.0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"variant": "Q-K=V"}, ["unknown variant of the meter 'Q-K=V'", "V plays no part"]),
        ({"variant": "Q=K"}, ["unknown variant of the meter 'Q=K'", "Q=K-V"]),
        ({"gain": 3.5}, ["gain=3.5", "-2 to 3"]),
        ({"row": float("nan")}, ["row=nan", "-4 to 4"]),
        ({"column": -9}, ["column=-9"]),
        ({"labels": ["A", "A", "B", "C"]}, ["a name of its own"]),
        ({"key_points": [[0, 0]] * 3}, ["3 key_points", ".update("]),
        ({"key_points": [[0, 0]] * 2}, ["2 key_points", "3 to 6"]),
        ({"key_points": [[0, 0]] * 7}, ["7 key_points"]),
        ({"query_points": [[0, 0]] * 3 + [[0, 3.1]]}, ["query_points[3]=[0, 3.1]", "-3 to 3"]),
        ({"query_points": [[0, 0]] * 3 + [[0, True]]}, ["query_points[3]"]),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_changes(
    change: dict[str, Any], words: list[str]
) -> None:
    refuses(SymmetryMeter(), change, words)


def test_several_change_together() -> None:
    meter = SymmetryMeter()
    three = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
    meter.update(labels=list("abc"), key_points=three, query_points=three)
    assert len(meter.scores) == 3


# ----------------------------------------------------------------------------- without a kernel


def test_a_page_reads_the_numbers_without_scripts() -> None:
    meter = SymmetryMeter(variant="(Q=K-V)+", column=2.5, labels=["A", "B", "C", "<D>"])
    text = static_html(meter)
    assert len(text) < 8_000
    found = re.search(r'<script type="application/json">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    assert json.loads(found[1]) == json.loads(json.dumps(meter.state()))
    assert '<th scope="row">&lt;D&gt;</th>' in text
    assert "gain 1, row term 0, column term 2.5" in text
    assert "as likely as the same backwards" in text
    for row in meter.weights:
        assert all(f"<td>{w:.2f}</td>" in text for w in row)


def test_it_reads_as_text() -> None:
    lines = SymmetryMeter(variant="QKV").describe().splitlines()
    assert lines[0].startswith("Who prefers whom")
    assert "    A: 0.52, 1.81, 1.34, -2.08" in lines
    assert "times as likely as backwards" in lines[-2]
    assert "A prefers B over itself; B does not prefer A over itself" in lines[-1]
