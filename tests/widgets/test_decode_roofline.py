"""DecodeRoofline in Python: bytes and times of the library, what is refused, the page's numbers."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any

import pytest

from qkvlib import CONFIGS, DEVICES, SHARINGS, Machine, cache_bytes, longest_context, pass_cost
from qkvlib.accounting import cache_table, parse_dtype
from qkvlib.widgets import DecodeRoofline, base, static_html
from qkvlib.widgets.decode_roofline import LIMITS, THIS

from in_node import in_page
from widget_pages import refuses

SLOW = Machine("a slow one", bandwidth=1.5e9, peak=4e9, memory=2e9)


@pytest.fixture(autouse=True)
def static(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QKV_STATIC", "1")  # comms would only take time


def widgets() -> list[DecodeRoofline]:
    """Every model with every variant, on all machines in turn, at sizes thrown by dice."""
    dice = random.Random(0)
    found = []
    devices = itertools.cycle([THIS, *DEVICES])
    for name, config in CONFIGS.items():
        for sharing in SHARINGS.values():
            for kv in (g for g in range(1, config.n_heads + 1) if config.n_heads % g == 0):
                if sharing.ties_query and kv != config.n_heads:
                    continue
                found.append(
                    DecodeRoofline(
                        machine=SLOW, model=name, sharing=sharing.name, n_kv_heads=kv,
                        dtype=dice.choice(["float16", "float32"]), device=next(devices),
                        tokens=dice.choice([1, dice.randint(1, 2**20)]),
                        batch_size=dice.choice([1, dice.randint(1, 1024)]),
                    )
                )  # fmt: skip
    return found


def test_the_page_counts_what_the_library_counts() -> None:
    shown = widgets()
    assert {w.device for w in shown} == {THIS, *DEVICES}
    answers = in_page(
        "decode_roofline",
        "data.map((s) => ({ ...view.stepOf(s), refused: view.refusal(s), "
        "variants: view.variantsOf(s).map((v) => [v.name, v.step.cacheBytes, v.step.longest]) }))",
        [widget.state() for widget in shown],
    )
    for widget, answer in zip(shown, answers, strict=True):
        dtype, machine, users = parse_dtype(widget.dtype), widget.machine, widget.batch_size
        cost = pass_cost(widget.config, 1, widget.tokens, batch_size=users, dtype=dtype)
        assert answer["refused"] is None
        assert answer["weightBytes"] == cost.weight_bytes
        assert answer["cacheBytes"] == cost.cache_read
        assert answer["cacheBytes"] == cache_bytes(
            widget.config, widget.tokens, batch_size=users, dtype=dtype
        )
        assert answer["bytes"] == cost.bytes_read
        assert answer["macs"] == pytest.approx(cost.macs)
        assert answer["seconds"] == pytest.approx(machine.seconds(cost))
        assert answer["limit"] == machine.limit(cost)
        assert answer["fits"] == (cost.bytes_read <= machine.memory)
        assert answer["longest"] == longest_context(
            widget.config, machine.memory, batch_size=users, dtype=dtype
        )
        rows = {
            row.name: row for row in cache_table(widget.config, widget.tokens, dtype=dtype).rows
        }
        named = [name for name, *_ in answer["variants"]]
        assert len(named) == len(set(named))
        assert set(named) == {name for name in rows if not name.endswith("GQA-1")}
        for name, cache, _ in answer["variants"]:
            assert cache == users * rows[name].total_bytes


def test_a_measured_machine_stands_first() -> None:
    widget = DecodeRoofline(machine=SLOW, device=THIS)
    assert [row["key"] for row in widget.devices] == [THIS, *DEVICES]
    assert widget.machine is SLOW
    assert [row["key"] for row in DecodeRoofline().devices] == list(DEVICES)
    assert DecodeRoofline(model="300M").n_kv_heads == 16


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": "300"}, ["unknown model '300'", "Did you mean '300M'"]),
        ({"model": "300M"}, ["n_kv_heads=32", ".update(model=…"]),
        ({"n_kv_heads": 3}, ["n_kv_heads=3 does not divide n_heads=32"]),
        ({"sharing": "Q=K=V", "n_kv_heads": 4}, ["set n_kv_heads=32"]),
        ({"sharing": "Q-K"}, ["unknown sharing 'Q-K'"]),
        ({"tokens": 0}, ["tokens=0", "from 1 to 1,048,576"]),
        ({"batch_size": 1025}, ["batch_size=1025", "from 1 to 1,024"]),
        ({"batch_size": True}, ["batch_size", "True"]),
        ({"dtype": "float64"}, ["unknown dtype 'float64'"]),
        ({"device": "phones"}, ["unknown device 'phones'", "'phone'"]),
        ({"device": "this"}, ["unknown device 'this'", "DecodeRoofline(machine=…)"]),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_changes(
    change: dict[str, Any], words: list[str]
) -> None:
    widget = DecodeRoofline()
    refuses(widget, change, words)


def test_model_and_heads_change_together() -> None:
    widget = DecodeRoofline()
    widget.update(model="300M", n_kv_heads=4, sharing="(Q, K=V)")
    assert widget.config.variant.name == "Q-GQA-4"


def test_it_says_in_words_what_it_shows() -> None:
    widget = DecodeRoofline(sharing="Q-K=V")
    text = widget.describe()
    cost = widget.cost
    assert "a phone: 68.3 GB per second (LPDDR5X, 64 bits / 8" in text
    assert "2.95 GB of caches" in text
    assert f"{1e3 * DEVICES['phone'].seconds(cost):.3g} ms, waiting for bytes" in text
    assert "it fits; room for 63,963 tokens" in text
    assert "does not fit" in DecodeRoofline().describe()
    page = static_html(widget)
    assert "waiting for bytes" in page
    assert len(page) < 8000


def test_names_and_limits_belong_to_python() -> None:
    state = DecodeRoofline().state()
    assert [row["name"] for row in state["sharings"]] == list(SHARINGS)
    assert state["limits"] == {name: list(limits) for name, limits in LIMITS.items()}
    for row, sharing in zip(state["sharings"], SHARINGS.values(), strict=True):
        assert row["projections"] == list(sharing.projections)
    source = (Path(base.__file__).parent / "decode_roofline.js").read_text(encoding="utf-8")
    assert not any(f'"{name}"' in source for name in (*SHARINGS, *DEVICES, "300M", "1.2B"))
