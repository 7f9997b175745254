"""RotaryCache in Python: the library's turning, what is refused, the same numbers as the page."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch

from qkvlib import ROPE_SCHEMES, ModelConfig
from qkvlib.widgets import RotaryCache, base, static_html
from qkvlib.widgets.rotary_cache import POSITIONS, STAYS, TURNED_KEYS

from in_node import in_page
from widget_pages import refuses

NAMES = [TURNED_KEYS, *ROPE_SCHEMES]


@pytest.fixture(autouse=True)
def static(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QKV_STATIC", "1")  # comms would only take time


def widgets(count: int) -> list[RotaryCache]:
    dice = random.Random(0)

    def hands(longest: float) -> list[list[float]]:
        return [[round(dice.uniform(-0.7, 0.7) * longest, 3) for _ in "xy"] for _ in range(2)]

    found = [RotaryCache(), RotaryCache(turning=1, start=25)]
    for _ in range(count):
        n = dice.randint(2, 8)
        ahead = dice.randint(1, 9)
        found.append(
            RotaryCache(
                key_hands=[hands(1.0) for _ in range(n)],
                query_hands=hands(3.0),
                ahead=ahead,
                start=dice.randint(0, POSITIONS - n - ahead),
                turning=dice.randint(1, 2),
            )
        )
    return found


def test_the_page_computes_what_the_library_does() -> None:
    shown = widgets(12)
    script = (
        "data.map((state) => state.schemes.map(({ name }) => ({...view.readingOf(state, name), "
        "moved: view.movedOf(state, name), numbers: view.numbersOf(state, name)})))"
    )
    answers = in_page("rotary_cache", script, [widget.state() for widget in shown])
    for widget, by_scheme in zip(shown, answers, strict=True):
        for name, answer in zip(NAMES, by_scheme, strict=True):
            reading = widget.reading(name)
            # The library's table of sines is in single precision.
            assert answer["weights"] == pytest.approx(reading.weights.tolist(), abs=1e-5)
            for hand, wanted in zip(answer["output"], reading.output.tolist(), strict=True):
                assert hand == pytest.approx(wanted, abs=1e-5)
            assert answer["moved"] == pytest.approx(reading.moved, abs=1e-5)
            assert answer["numbers"] == reading.numbers
            assert (reading.moved < STAYS) == (name != TURNED_KEYS or widget.start == 0)


def test_two_ways_of_keeping_one_model_and_another_model() -> None:
    widget = RotaryCache(start=5)
    output = {name: widget.reading(name).output for name in NAMES}
    torch.testing.assert_close(output["rotate_on_read"], output["two_tensors"])
    assert (output["relative_values"] - output["rotate_on_read"]).abs().max() > 0.1
    assert widget.reading(TURNED_KEYS).moved > 0.3, "the mistake must be seen at a glance"


def test_what_is_kept_is_what_the_configuration_keeps() -> None:
    for turning, fraction in ((2, 1.0), (1, 0.5)):
        for name in ROPE_SCHEMES:
            config = ModelConfig(
                d_model=4, n_layers=1, n_heads=1, vocab_size=2, max_seq_len=8, sharing="Q-K=V",
                position="rope", rope_scheme=name, rope_fraction=fraction,
            )  # fmt: skip
            row = next(r for r in RotaryCache().schemes if r["name"] == name)
            assert len(row["kept"]) == len(config.cached)
            assert RotaryCache(turning=turning).reading(name).numbers == sum(config.cached.values())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scheme": "rotate"}, ["unknown scheme 'rotate'", "rotate_on_read"]),
        ({"start": 26}, ["start=26", "expected 0 to 25", ".update(start=…, ahead=…)"]),
        ({"start": -1}, ["start=-1"]),
        ({"ahead": 0}, ["ahead=0", "expected 1 to 27"]),
        ({"start": True}, ["start=True"]),
        ({"turning": 3}, ["expected 1 or 2 hands"]),
        ({"key_hands": [[[1, 0], [0, 1]]]}, ["expected 2 to 8 keys"]),
        ({"key_hands": [[[1, 0], [0, 1]]] * 3}, ["3 keys and 5 words"]),
        ({"words": ["A"]}, ["5 keys and 1 words", ".update(key_hands=…, words=…)"]),
        (
            {"key_hands": [[[1, 0], [0, 1]]] * 8, "words": list("ABCDEFGH"), "start": 25},
            ["8 keys with start=25 and ahead=2", "32 positions"],
        ),
        ({"key_hands": [[[1, 1], [0, 1]]] * 5}, ["at most 1 long"]),
        ({"query_hands": [[0, 0], [0, 1]]}, ["longer than 0"]),
        ({"query_hands": [[4, 0], [0, 1]]}, ["at most 3 long"]),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_changes(
    change: dict[str, Any], words: list[str]
) -> None:
    refuses(RotaryCache(), change, words)


def test_a_misspelt_field_is_named() -> None:
    with pytest.raises(ValueError, match="Did you mean 'scheme'"):
        RotaryCache(schema="two_tensors")


def test_it_says_in_words_what_it_shows() -> None:
    widget = RotaryCache(scheme="two_tensors", turning=1, start=7)
    text = widget.describe()
    assert "two tensors. Both forms are kept" in text
    assert "positions 7 to 11, the query at 13" in text
    assert "6 numbers; keys and values apart would be 8, so 25 % is saved" in text
    assert "Output, turned keys as values: has moved by" in text
    assert text.count(": stays") == 3
    page = static_html(widget)
    assert "so 25 % is saved" in page
    assert len(page) < 6000


def test_names_of_schemes_belong_to_python() -> None:
    assert [row["name"] for row in RotaryCache().schemes] == NAMES
    source = base.module_source("rotary_cache")
    assert not any(f'"{name}"' in source for name in NAMES)
