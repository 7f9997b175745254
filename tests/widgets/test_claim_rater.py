"""ClaimRater on the Python side: what a rating is, where it is kept, what a page may carry."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import traitlets

from qkvlib import journal, paper_claims
from qkvlib.widgets import ClaimRater, base, claim_rater, show, static_html

ROOT = Path(__file__).parents[2]
IDS = [claim.id for claim in paper_claims()]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A journal of its own for every test, and a kernel that stores no outputs."""
    monkeypatch.setenv("QKV_CACHE_DIR", str(tmp_path / "mine"))
    monkeypatch.delenv("QKV_STATIC", raising=False)
    return tmp_path / "mine"


@pytest.fixture
def static(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QKV_STATIC", "1")
    monkeypatch.setattr(journal, "_memory", {})


def test_it_starts_with_the_papers_claims_unrated(folder: Path) -> None:
    rater = ClaimRater()
    assert [claim["id"] for claim in rater.claims] == IDS
    assert [claim["text"] for claim in rater.claims] == [c.text for c in paper_claims()]
    assert rater.ratings == {}
    assert not folder.exists(), "looking at the claims writes nothing"


def test_ratings_are_kept_and_come_back(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rater = ClaimRater()
    rater.set_state({"ratings": {IDS[2]: 100, IDS[0]: 0}})
    assert list(rater.ratings.items()) == [(IDS[0], 0), (IDS[2], 100)]
    assert journal.recall("00-claims") == {IDS[0]: 0, IDS[2]: 100}
    assert capsys.readouterr().out == "", "a slider is no cell"
    assert str(folder / "journal.json") in rater.kept
    assert ClaimRater().ratings == {IDS[0]: 0, IDS[2]: 100}
    rater.ratings = {}
    assert ClaimRater().ratings == {}


def test_ratings_come_back_in_another_process(folder: Path) -> None:
    ClaimRater(ratings={IDS[1]: 64})
    script = "from qkvlib.widgets import ClaimRater; print(ClaimRater().ratings)"
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout == f"{ {IDS[1]: 64} }\n"


def test_given_ratings_win_over_earlier_ones(folder: Path) -> None:
    ClaimRater(ratings={IDS[0]: 10})
    assert ClaimRater(ratings={IDS[1]: 20}).ratings == {IDS[1]: 20}
    assert journal.recall(claim_rater.JOURNAL_KEY) == {IDS[1]: 20}


@pytest.mark.parametrize("entry", [3, "text", [1, 2], {"gone": 5, IDS[0]: 101, IDS[1]: True}])
def test_what_is_no_rating_is_not_restored(folder: Path, entry: Any) -> None:
    journal.predict("00-claims", entry)
    assert ClaimRater().ratings == {}


def test_a_good_rating_among_others_is_restored(folder: Path) -> None:
    journal.predict("00-claims", {"gone": 5, IDS[3]: 7, IDS[0]: 1.5})
    assert ClaimRater().ratings == {IDS[3]: 7}


@pytest.mark.parametrize(
    ("ratings", "words"),
    [
        ({"half-cash": 3}, "Did you mean 'half-cache'"),
        ({IDS[0]: 101}, "from 0 (surely false) to 100 (surely true)"),
        ({IDS[0]: -1}, "=-1: a rating is a whole number"),
        ({IDS[0]: 50.5}, "=50.5"),
        ({IDS[0]: True}, "=True"),
        ({IDS[0]: None}, "Leave a claim out"),
        ([1], "ratings"),
    ],
)
def test_what_is_no_rating_is_refused(folder: Path, ratings: Any, words: str) -> None:
    rater = ClaimRater(ratings={IDS[1]: 5})
    with pytest.raises(traitlets.TraitError, match=re.escape(words)):
        rater.ratings = ratings
    assert rater.ratings == journal.recall("00-claims") == {IDS[1]: 5}


def test_claims_cannot_be_changed() -> None:
    with pytest.raises(traitlets.TraitError, match="read-only"):
        ClaimRater().claims = []
    with pytest.raises(ValueError, match="Did you mean 'ratings'"):
        ClaimRater(rating={})


def test_a_journal_that_cannot_be_written_is_confessed(folder: Path) -> None:
    folder.write_text("a file where the folder should be")
    rater = ClaimRater()
    rater.ratings = {IDS[0]: 30}
    assert rater.ratings == {IDS[0]: 30}
    assert rater.kept.startswith("Not kept: the journal cannot be written (")
    folder.unlink()
    rater.ratings = {IDS[0]: 31}
    assert rater.kept.startswith("Kept in your journal, ")
    assert ClaimRater().ratings == {IDS[0]: 31}


def test_the_home_folder_is_written_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert ClaimRater().kept == "Kept in your journal, ~/mine/journal.json."


# ----------------------------------------------------------------------------- without a kernel


def _mounted(text: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    state = json.loads(found[1])
    assert isinstance(state, dict)
    return state


def test_a_page_lists_the_claims_and_carries_nobodys_ratings(folder: Path) -> None:
    text = static_html(ClaimRater(ratings={IDS[0]: 97}))
    assert text.startswith('<div class="qkv-widget" data-widget="claim_rater">')
    state = _mounted(text)
    assert [claim["id"] for claim in state["claims"]] == IDS
    assert (state["ratings"], state["kept"]) == ({}, "")
    assert state["storage_key"] == "qkvlib/00-claims"
    assert "97" not in text
    assert str(folder) not in text
    items = re.findall(r"<li>(.*?)</li>", text)
    assert items == [claim.text for claim in paper_claims()]
    assert re.search(r"<ol><li>", text)


@pytest.mark.usefixtures("static")
def test_stored_outputs_neither_read_nor_write_the_journal(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.predict("00-claims", {IDS[0]: 3})
    rater = ClaimRater()
    assert (rater.ratings, rater.kept) == ({}, "")
    rater.ratings = {IDS[0]: 4}
    assert not folder.exists()
    monkeypatch.delenv("QKV_STATIC")
    assert journal.recall("00-claims") is None


def test_the_stored_output_is_the_same_on_every_machine(tmp_path: Path) -> None:
    script = (
        "from qkvlib.widgets import *; rater = ClaimRater();"
        "print(static_html(rater)); print(rater.describe())"
    )
    runs = []
    for seed in ("1", "2"):
        home = tmp_path / seed
        environment = {
            **os.environ, "PYTHONHASHSEED": seed, "QKV_STATIC": "1", "HOME": str(home),
            "QKV_CACHE_DIR": str(home / "cache"),
        }  # fmt: skip
        runs.append(
            subprocess.run(
                [sys.executable, "-c", script],
                env=environment, cwd=ROOT, capture_output=True, text=True, check=True,
            ).stdout
        )  # fmt: skip
    rater = ClaimRater()
    assert runs[0] == runs[1] == f"{static_html(rater)}\n{rater.describe()}\n"


def test_a_terminal_shows_the_claims_and_their_ids(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "get_ipython", lambda: None)
    show(ClaimRater())
    out = capsys.readouterr().out.splitlines()
    assert out[1:] == [f"  {n}. {c.text} [{c.id}]" for n, c in enumerate(paper_claims(), 1)]
    assert "0 (surely false) to 100 (surely true)" in out[0]


def test_the_view_gets_no_claims_of_its_own() -> None:
    source = base.module_source("claim_rater")
    for claim in paper_claims():
        assert f'"{claim.id}"' not in source
        assert claim.text not in source
