"""The learner's journal: nothing is lost, nothing is written where outputs are stored."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from qkvlib import journal


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QKV_CACHE_DIR", str(tmp_path / "mine"))
    monkeypatch.delenv("QKV_STATIC", raising=False)
    return tmp_path / "mine"


def test_a_prediction_outlives_the_process(folder: Path) -> None:
    journal.predict("03/per_token", 80.5, unit="KiB")
    journal.predict("ratings", {"half-cache": 90})
    stored = json.loads((folder / "journal.json").read_text())
    assert stored["03/per_token"]["value"] == 80.5
    assert stored["03/per_token"]["unit"] == "KiB"
    assert journal.recall("ratings") == {"half-cache": 90}
    assert journal.recall("never made", 7) == 7


def test_two_notebooks_may_write_at_once(folder: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: journal.predict(f"key-{i}", i), range(40)))
    assert sorted(journal.recall(f"key-{i}") for i in range(40)) == list(range(40))


def test_a_second_prediction_replaces_the_first(folder: Path) -> None:
    journal.predict("x", 1)
    journal.predict("y", 2)
    journal.predict("x", 3)
    assert (journal.recall("x"), journal.recall("y")) == (3, 2)


@pytest.mark.parametrize("damage", ["{not json", "[1, 2]", '{"x": 3}', "", "\udcff"])
def test_a_damaged_journal_is_kept_aside(
    folder: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    folder.mkdir()
    raw = damage.encode(errors="surrogateescape")
    (folder / "journal.json").write_bytes(raw)
    (folder / "journal.damaged-1.json").write_text("an older one")
    journal.predict("x", 1)
    assert "kept as" in capsys.readouterr().out
    assert (folder / "journal.damaged-1.json").read_text() == "an older one"
    assert (folder / "journal.damaged-2.json").read_bytes() == raw
    assert journal.recall("x") == 1


def test_static_mode_writes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QKV_STATIC", "1")
    monkeypatch.setattr(journal, "_memory", {})
    journal.predict("x", 5)
    assert journal.recall("x") == 5
    assert not folder.exists()


@pytest.mark.parametrize(
    ("predicted", "measured", "words"),
    [
        (4, 80.0, "Too low by a factor of 20."),
        (160, 80, "Too high by a factor of 2."),
        (80, 80.0, "Exactly."),
        (82, 80, "Within 2.5 %."),
        (0, 80, "Off by 80."),
        (["a", "b"], ["a", "b"], "The same."),
        (["a", "b"], ["b", "a"], "Not the same."),
        ({"a": 10, "b": 2}, {"a": 10.9, "b": 3}, "1 of 2 agree within a tenth."),
        ({"a": 1}, {"a": 1, "b": 0}, "1 of 2 agree within a tenth."),
    ],
)
def test_comparison_in_words(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    predicted: object,
    measured: object,
    words: str,
) -> None:
    journal.predict("x", predicted, unit="KiB")
    capsys.readouterr()
    journal.compare("x", measured)
    out = capsys.readouterr().out
    assert out.strip().endswith(words)
    assert "KiB" in out
    assert out.count("\n") == 1


def test_units_must_agree(folder: Path) -> None:
    journal.predict("x", 1, unit="kB")
    with pytest.raises(ValueError, match="kB but measured in KiB"):
        journal.compare("x", 1, unit="KiB")


def test_what_cannot_be_kept_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="cannot be written down"):
        journal.predict("x", {1, 2})
    with pytest.raises(ValueError, match="cannot be written down"):
        journal.predict("x", float("nan"))
    with pytest.raises(ValueError, match="needs a name"):
        journal.predict("", 1)
    assert not folder.exists()


def test_a_measurement_without_prediction(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal.compare("03/per_token", 80, unit="KiB")
    assert "No prediction on record" in capsys.readouterr().out
