"""TaskMaps on the Python side, and the same maps and words as in the page."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import traitlets

from qkvlib import SHARINGS, SIX_VARIANTS, TASKS, TaskMap, load_task_maps, show
from qkvlib.task_maps import pack_map, unpack_map
from qkvlib.widgets import TaskMaps, base, static_html
from qkvlib.widgets.task_maps import accuracy_text

from in_node import in_page

HERE = Path(__file__).parent


def test_the_page_reads_the_maps_that_python_wrote() -> None:
    dice = torch.Generator().manual_seed(0)
    maps = [torch.randn(16, 16, generator=dice).mul(scale).softmax(-1) for scale in (0, 1, 5, 50)]
    texts = [pack_map(each) for each in [*maps, torch.eye(16)]]
    found = in_page("task_maps", "data.map((text) => view.unpack(text, 16))", texts)
    for text, rows in zip(texts, found, strict=True):
        assert torch.allclose(torch.tensor(rows).float(), unpack_map(text, 16), atol=1e-7)


def test_the_page_writes_accuracies_as_python_does() -> None:
    cases = [[1.0, 1.0], [0.8845, 0.9443, 0.91235], [0.5], [1 / 3, 2 / 3], [0.0, 1.0, 0.0625]]
    assert in_page("task_maps", "data.map(view.accuracyText)", cases) == [
        accuracy_text(c) for c in cases
    ]


def test_the_state_is_complete_and_small() -> None:
    widget = TaskMaps()
    state = widget.state()
    assert [row["name"] for row in state["tasks"]] == list(TASKS)
    assert [row["name"] for row in state["variants"]] == list(SIX_VARIANTS)
    assert len(json.dumps(state)) < 90_000
    for row in state["variants"]:
        assert row["colour"] in {sharing.colour for sharing in SHARINGS.values()}
    stored = {(one.task, one.variant, one.n_heads): one for one in load_task_maps()}
    for model in state["models"]:
        one = stored[model["task"], model["variant"], model["n_heads"]]
        for packed, weights in zip(model["maps"], one.weights, strict=True):
            for text, head in zip(packed, weights[0], strict=True):
                assert torch.equal(unpack_map(text, 16), head)


def test_lists_are_written_for_people() -> None:
    tasks = {row["name"]: row for row in TaskMaps().state()["tasks"]}
    for name, task in TASKS.items():
        for one in tasks[name]["lists"]:
            assert len(one["inputs"]) == len(one["targets"]) == 16
            if name != "RECALL":
                digits = torch.tensor([int(text) for text in one["inputs"]])
                assert one["targets"] == "".join(map(str, task(digits).tolist()))
    recall = tasks["RECALL"]["lists"][0]
    pairs = dict(text.split(":") for text in recall["inputs"][:8])
    assert set(pairs) == set("01234567")
    for asked, digit in zip(recall["inputs"][8:], recall["targets"][8:], strict=True):
        assert pairs[asked.removesuffix("?")] == digit
    assert recall["targets"][:8] == "·" * 8
    for row in tasks.values():
        assert row["rule"].endswith((".", "?"))
        assert row["by_hand"].startswith("By hand: ")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"task": "SHFT"}, "Did you mean 'SHIFT'"),
        ({"variant": "Q-K"}, "unknown variant 'Q-K'"),
        ({"variant": ""}, "unknown variant ''"),
        ({"other": "MQA"}, "unknown other 'MQA'"),
        ({"n_heads": 3}, "n_heads=3: there are 1, 2."),
        ({"shown": 2}, "shown=2: there are 0, 1."),
        ({"position": 16}, "position=16: there are 0, 1"),
        ({"position": True}, "position"),
    ],
)
def test_what_is_not_there_is_refused(change: dict[str, Any], words: str) -> None:
    widget = TaskMaps()
    before = widget.state()
    with pytest.raises(traitlets.TraitError, match=re.escape(words)):
        widget.update(**change)
    assert widget.state() == before
    with pytest.raises(traitlets.TraitError):
        TaskMaps(**change)


def test_good_values_are_taken() -> None:
    widget = TaskMaps(task="reverse", other="Q=K-V", position=7)
    assert (widget.task, widget.position) == ("REVERSE", 7)
    widget.update(other="", n_heads=2, shown=1)
    assert (widget.other, widget.n_heads, widget.shown) == ("", 2, 1)
    with pytest.raises(traitlets.TraitError, match="read-only"):
        widget.models = []
    with pytest.raises(ValueError, match="Did you mean 'position'"):
        TaskMaps(positon=1)


def test_it_takes_maps_of_ones_own() -> None:
    some = [one for one in load_task_maps() if one.task == "SHIFT" and one.n_heads == 1][:2]
    widget = TaskMaps(maps=some)
    assert [row["name"] for row in widget.variants] == ["QKV", "Q=K-V"]
    with pytest.raises(ValueError, match="nothing to show"):
        TaskMaps(maps=[])


def test_its_words() -> None:
    text = TaskMaps(task="SHIFT", variant="QKV", other="Q=K-V").describe().splitlines()
    assert text[0].startswith("SHIFT: Each digit one place to the right")
    given, wanted = (line.split()[-16:] for line in text[1:3])
    assert wanted == given[-1:] + given[:-1]
    assert text[3].split() == ["QKV", *wanted]
    assert text[4].strip().startswith("1 layer, 1 head, on held-out lists 100 % (5 seeds")
    assert text[5].split()[0] == "Q=K-V"
    assert TaskMaps(task="RECALL").describe().count("·") == 16


def test_the_fallback_is_a_table_of_all() -> None:
    text = static_html(TaskMaps(n_heads=2))
    assert text.startswith('<div class="qkv-widget" data-widget="task_maps">')
    assert text.count('<th scope="row">') == len(TASKS)
    assert text.count("<td>") == len(TASKS) * len(SIX_VARIANTS) + 1
    assert "1 layer, 2 heads" in text
    assert "<td></td></tr>" not in text


def test_a_terminal_gets_the_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "get_ipython", lambda: None)
    widget = TaskMaps()
    show(widget)
    assert capsys.readouterr().out == f"{widget.describe()}\n"


def test_names_come_from_python() -> None:
    source = base.module_source("task_maps").partition("// TaskMaps:")[2]
    for name in [*SIX_VARIANTS, *TASKS]:
        assert f'"{name}"' not in source
    assert isinstance(load_task_maps()[0], TaskMap)
