"""KeyHull in Python: what is computed, what is refused, the same numbers as the page."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
import traitlets

from qkvlib import SHARINGS, hull_distance
from qkvlib.widgets import KeyHull, base, static_html
from qkvlib.widgets.key_hull import MOST, NEAR, REACH, TOUCH

from in_node import find_node

HERE = Path(__file__).parent
DIAMOND = [[2.0, 0.0], [0.0, 2.0], [-2.0, 0.0], [0.0, -2.0]]

SCRIPT = """
import { readFileSync } from "node:fs";
const { load } = await import(%s);
const { readingOf, wordsOf } = await load("key_hull");
const states = JSON.parse(readFileSync(0, "utf8"));
const answers = states.map((state) => ({ ...readingOf(state), ...wordsOf(state) }));
process.stdout.write(JSON.stringify(answers));
"""


@pytest.fixture(autouse=True)
def static(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QKV_STATIC", "1")  # comms would only take time


@pytest.fixture(scope="module")
def node() -> str:
    return find_node()


def widgets(count: int) -> list[KeyHull]:
    """The presets under both sharings, degenerate ones, and some at random."""
    dice = random.Random(0)

    def points(n: int) -> list[list[float]]:
        return [[round(dice.uniform(-REACH, REACH), 2) for _ in "xy"] for _ in range(n)]

    names = ("key_points", "value_points", "query", "target")
    found = [
        KeyHull(sharing=sharing, **{name: preset[name] for name in names})
        for preset in KeyHull().presets
        for sharing in ("QKV", "Q-K=V")
    ]
    found += [
        KeyHull(key_points=[[x, 0.5 * x] for x in (-2, -1, 1, 2)]),  # on a line
        KeyHull(key_points=[[1, 1]] * 4),
        KeyHull(key_points=DIAMOND, query=[4, 4], target=[2, 0]),
    ]
    for _ in range(count):
        n = dice.randint(4, MOST)
        found.append(
            KeyHull(
                sharing=dice.choice(["QKV", "Q-K=V"]),
                key_points=points(n),
                value_points=points(n),
                query=points(1)[0],
                target=points(1)[0],
            )
        )
    return found


def test_the_page_computes_what_python_computes(node: str) -> None:
    made = widgets(100)
    run = subprocess.run(
        [node, "--input-type=module", "-e", SCRIPT % json.dumps((HERE / "load.mjs").as_uri())],
        input=json.dumps([widget.state() for widget in made]),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    answers = json.loads(run.stdout)
    assert len(answers) == len(made) > 100
    seen = set()
    for widget, answer in zip(made, answers, strict=True):
        assert answer["weights"] == pytest.approx(widget.weights, abs=1e-12)
        assert answer["output"] == pytest.approx(widget.output, abs=1e-12)
        assert answer["distances"] == pytest.approx(widget.distances, abs=1e-12)
        assert answer["inside"] is (widget.distances["output_keys"] <= TOUCH)
        assert answer["hit"] is (widget.distances["output_star"] <= NEAR)
        facts = dict(widget._facts())
        assert ("inside the hull" in facts["Output"]) is answer["inside"]
        seen.add((widget.is_tied, answer["inside"]))
    assert seen == {(True, True), (False, True), (False, False)}


def test_inside_is_what_linear_programming_says() -> None:
    for widget in widgets(40):
        output = torch.tensor([widget.output], dtype=torch.float64)
        keys = torch.tensor(widget.key_points, dtype=torch.float64)
        far = hull_distance(output, keys).item()
        assert (far < 1e-8) is (widget.distances["output_keys"] < 1e-8)


def test_every_preset_keeps_its_word() -> None:
    outside, inside, level = KeyHull().presets
    names = ("key_points", "value_points", "query", "target")

    def far(preset: dict[str, Any], sharing: str) -> dict[str, float]:
        state = {name: preset[name] for name in names}
        return KeyHull(sharing=sharing, **state).distances

    assert far(outside, "Q-K=V")["star_values"] > 3 * NEAR
    assert far(outside, "QKV")["star_values"] == 0
    assert far(inside, "Q-K=V")["star_values"] == 0
    assert level["query"][1] == 0
    lifted = [*level["key_points"][:3], [level["key_points"][3][0], level["target"][1]]]
    assert far(level | {"key_points": lifted}, "Q-K=V")["output_star"] < NEAR
    assert min(far(each, s)["output_star"] for each in (outside, inside, level) for s in ("QKV", "Q-K=V")) > NEAR  # fmt: skip  # noqa: E501


def test_it_starts_with_something_to_do() -> None:
    widget = KeyHull()
    assert widget.is_tied
    assert widget.key_points == widget.presets[0]["key_points"]
    assert widget.distances["output_keys"] == 0
    assert len(static_html(widget)) < 6_000


def test_keys_alone_are_their_own_values() -> None:
    widget = KeyHull(key_points=DIAMOND, sharing="qkv")
    assert widget.value_points == DIAMOND
    assert widget.sharing == "QKV"
    widget.update(key_points=[*DIAMOND, [3, 3]], value_points=[*DIAMOND, [1, 1]])
    assert len(widget.weights) == 5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"key_points": DIAMOND[:3]}, "4 to 6 points"),
        ({"key_points": [*DIAMOND, [0, 1]]}, "5 key_points and 4 value_points"),
        ({"value_points": [*DIAMOND, [0, 1]]}, "each key needs its value"),
        ({"key_points": [*DIAMOND[:3], [9, 0]]}, "from -4 to 4"),
        ({"key_points": [*DIAMOND[:3], [0, True]]}, "two numbers"),
        ({"key_points": [*DIAMOND[:3], [0, float("nan")]]}, "two numbers"),
        ({"query": [1]}, r"query=\[1\]: expected two numbers"),
        ({"target": [0, 4.5]}, "target"),
        ({"sharing": "Q=K=V"}, "has none of its own. Choose QKV or Q-K=V"),
        ({"sharing": "KVQ"}, "unknown sharing"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_changes(change: dict[str, Any], words: str) -> None:
    widget = KeyHull(key_points=DIAMOND)
    before = widget.state()
    with pytest.raises(traitlets.TraitError, match=words):
        widget.update(**change)
    assert widget.state() == before
    with pytest.raises(traitlets.TraitError):
        setattr(widget, *next(iter(change.items())))
    assert widget.state() == before


def test_sharings_come_from_python() -> None:
    rows = KeyHull().sharings
    assert [row["name"] for row in rows] == ["QKV", "Q-K=V"]
    for row in rows:
        sharing = SHARINGS[row["name"]]
        assert row["colour"] == sharing.colour
        assert row["tied"] is (sharing.roles["k"] == sharing.roles["v"])
    source = (Path(base.__file__).parent / "key_hull.js").read_text(encoding="utf-8")
    assert '"QKV"' not in source
    assert '"Q-K=V"' not in source


def test_it_can_be_read_without_a_script() -> None:
    widget = KeyHull(key_points=DIAMOND, query=[4.0, 0.0])
    text = widget.describe()
    assert "Sharing: Q-K=V (Q, K=V)" in text
    assert "Key 1: (2.00, 0.00), weight 0.99" in text
    assert "Output: (1.99, 0.00), inside the hull of the keys" in text
    page = static_html(widget)
    for line in text.splitlines()[1:]:
        label, _, value = line.strip().partition(": ")
        assert f'<th scope="row">{label}</th><td>{value}</td>' in page
    assert "value (" in KeyHull(sharing="QKV").describe()
