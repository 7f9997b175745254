"""ClaimRater: say how much you believe of the paper's abstract before you see a number."""

from __future__ import annotations

import contextlib
import html
import io
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import traitlets

from qkvlib import journal
from qkvlib.paper import paper_claims
from qkvlib.sharing import unknown_name
from qkvlib.widgets.base import CourseWidget, is_static, module_source, where_it_lives

JOURNAL_KEY: Final = "00-claims"
"""Where the ratings stand in the journal: ``journal.recall(JOURNAL_KEY)`` gives id -> rating."""

_HIGHEST: Final = 100


def _is_rating(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _HIGHEST


def _short(path: Path) -> str:
    home = Path.home()
    return f"~/{path.relative_to(home).as_posix()}" if path.is_relative_to(home) else str(path)


class ClaimRater(CourseWidget):
    """The claims of the abstract, each to be rated from 0 (surely false) to 100 (surely true).

    With a kernel the ratings are kept in the learner's journal and come back in the next session;
    in the book the page keeps them in the browser. Where outputs are stored (``QKV_STATIC=1``) it
    starts empty, and a page made from it carries nobody's ratings.

    Attributes:
        claims: The claims of :func:`qkvlib.paper_claims`, as dictionaries. Read-only.
        ratings: Claim id -> rating, a whole number from 0 to 100; a claim that is not rated is
            absent. Assign a new dictionary: a change inside the old one goes unnoticed.
        storage_key: Name under which a page without a kernel keeps the ratings.
        kept: Where Python keeps the ratings, in words; empty where the page has to.

    Example:
        >>> show(ClaimRater())  # doctest: +SKIP
    """

    name = "claim_rater"
    _esm = module_source("claim_rater")

    claims = traitlets.List(trait=traitlets.Dict(), read_only=True).tag(sync=True)
    ratings = traitlets.Dict().tag(sync=True)
    storage_key = traitlets.Unicode("qkvlib/00-claims").tag(sync=True)
    kept = traitlets.Unicode(read_only=True).tag(sync=True)

    @traitlets.default("claims")
    def _default_claims(self) -> list[dict[str, str]]:
        return [asdict(claim) for claim in paper_claims()]

    @traitlets.default("ratings")
    def _restored(self) -> dict[str, int]:
        if is_static():
            return {}
        try:
            found = journal.recall(JOURNAL_KEY)
        except OSError:
            return {}  # the first rating tries to write, and says why it cannot
        if not isinstance(found, Mapping):
            return {}
        # An older edition of the course may have kept claims that are gone.
        return {key: found[key] for key in self._ids() if _is_rating(found.get(key))}

    @traitlets.default("kept")
    def _default_kept(self) -> str:
        if is_static():
            return ""
        return f"Kept in your journal, {_short(journal.cache_dir() / journal.FILE_NAME)}."

    def _ids(self) -> list[str]:
        return [claim["id"] for claim in self.claims]

    @traitlets.validate("ratings")
    def _check_ratings(self, proposal: dict[str, Any]) -> dict[str, int]:
        given, ids = proposal["value"], self._ids()
        for key, value in given.items():
            if key not in ids:
                raise traitlets.TraitError(str(unknown_name("claim", key, ids)))
            if not _is_rating(value):
                raise traitlets.TraitError(
                    f"ratings[{key!r}]={value!r}: a rating is a whole number from 0 (surely "
                    f"false) to {_HIGHEST} (surely true). Leave a claim out to leave it unrated."
                )
        return {key: given[key] for key in ids if key in given}

    @traitlets.observe("ratings")
    def _keep(self, change: dict[str, Any]) -> None:
        try:
            # predict() confirms in words, which suits a cell and not every stop of a slider.
            with contextlib.redirect_stdout(io.StringIO()):
                journal.predict(JOURNAL_KEY, self.ratings)
            kept = self._default_kept()
        except OSError as error:
            kept = f"Not kept: the journal cannot be written ({error})."
        self.set_trait("kept", kept)

    def static_state(self) -> dict[str, Any]:
        """Return the state without the learner's ratings: a page is read by others."""
        return {**self.state(), "ratings": {}, "kept": ""}

    def describe(self) -> str:
        """Return the claims as numbered lines, with the ids that ``ratings`` takes."""
        lines = [f"  {n}. {c['text']} [{c['id']}]" for n, c in enumerate(self.claims, 1)]
        head = f"Rate each claim from 0 (surely false) to {_HIGHEST} (surely true)"
        return "\n".join([head, *lines])

    def fallback_html(self) -> str:
        """Return the claims as a numbered list."""
        items = "".join(f"<li>{html.escape(claim['text'])}</li>" for claim in self.claims)
        return (
            f"<p>Rate each claim from 0 (surely false) to {_HIGHEST} (surely true).</p>"
            f"<ol>{items}</ol>" + where_it_lives("The claims can be rated")
        )
