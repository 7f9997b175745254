"""The page of claims: made from the results, in step, and honest about what is untested."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest

from qkvlib import claims
from qkvlib.claims import COST, Finding, findings
from qkvlib.paper import paper_claims, paper_statements
from qkvlib.tables import result_table

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def found() -> list[Finding]:
    return findings()


def test_every_claim_is_there_once_and_in_order(found: list[Finding]) -> None:
    ids = [finding.claim.id for finding in found]
    assert ids == [claim.id for claim in (*paper_claims(), *paper_statements())]
    assert set(ids) == set(claims._TESTS)


def test_what_was_tested_has_numbers_and_the_rest_has_none(found: list[Finding]) -> None:
    for finding in found:
        if finding.outcome == "not tested yet":
            assert finding.test == ""
            assert finding.measured == ()
        else:
            assert len(finding.test) > 40
            assert any(re.search(r"\d", sentence) for sentence in finding.measured)


def test_intervals_stand_beside_the_paper_s_figure(found: list[Finding]) -> None:
    (price,) = [f for f in found if f.claim.id == "small-price"]
    sentence = price.measured[0]
    assert re.search(r"\+\d\.\d+ % \(\+\d.*to \+\d.*, 5 seeds\); the paper \+1\.89 %", sentence)


@pytest.mark.parametrize(
    ("low", "high", "counts"),
    [(1.3, 3.9, [True]), (-1.0, 1.5, [True]), (4.9, 9.6, [False]), (-3.7, 9.1, [])],
    ids=["as small", "smaller", "dearer, if not known well", "cannot tell it from nothing"],
)
def test_an_interval_that_tells_nothing_does_not_count(
    low: float, high: float, counts: list[bool]
) -> None:
    row = result_table("language").find("Q-K=V", "text", COST)
    row = dataclasses.replace(row, low=low, high=high, paper=1.9)
    assert claims._may_be_the_paper_s(row) == counts


def test_the_page_is_in_step() -> None:
    """Remade runs change the page; so does a lesson that it can link to now."""
    result = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "claims.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
