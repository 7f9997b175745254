"""The paper's printed figures and claims, kept apart from what the course measures.

They lie in ``data/paper.json``, each with the table it stands in and how it was read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from qkvlib.sharing import unknown_name


class DataNotFoundError(FileNotFoundError):
    """A data file of the course is not there; the message says how to get it."""


@dataclass(frozen=True)
class PaperFigure:
    """One printed number.

    Attributes:
        id: For example ``"300M/Q-K=V/change"``.
        value: The number as printed.
        unit: What it counts.
        where: Table or section.
        how_read: Where we read it, and what was not checked.
    """

    id: str
    value: float
    unit: str
    where: str
    how_read: str


@dataclass(frozen=True)
class PaperClaim:
    """One claim of the paper, in our words.

    Attributes:
        id: For example ``"half-cache"``.
        text: The claim.
        where: Where the paper makes it.
        how_read: Where we read it.
        lesson: The lesson that tests it.
    """

    id: str
    text: str
    where: str
    how_read: str
    lesson: str


class _Figures(Mapping[str, PaperFigure]):
    """Figures by id; an unknown id offers the nearest instead of a bare KeyError."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self._rows = MappingProxyType({row["id"]: PaperFigure(**row) for row in rows})

    def __getitem__(self, key: str) -> PaperFigure:
        if key not in self._rows:
            raise KeyError(str(unknown_name("figure of the paper", key, self._rows)))
        return self._rows[key]

    def __contains__(self, key: object) -> bool:
        return key in self._rows  # asking is no mistake, so no nearest id is looked for

    def __iter__(self) -> Any:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


def data_file(name: str) -> Path:
    """Find a file of the course's ``data`` folder.

    The folder belongs to the repository, not to the package: it is looked for beside the package
    (an editable install, as ``make lab`` makes it), then in the working folder and those above it.

    Args:
        name: Path below ``data``, for example ``"results/four_tyings.json"``.

    Raises:
        DataNotFoundError: If the file is in none of these places.
    """
    places = [Path(__file__).resolve().parent.parent, Path.cwd(), *Path.cwd().parents]
    for place in places:
        if (found := place / "data" / name).is_file():
            return found
    raise DataNotFoundError(
        f"data/{name} was not found beside the package, nor in {Path.cwd()} or above it. The data "
        "come with the repository: clone it, run `make lab` there, or start Python inside it."
    )


@cache
def _read() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(data_file("paper.json").read_text(encoding="utf-8"))
    return data


def paper_figures() -> Mapping[str, PaperFigure]:
    """Return the paper's printed figures by id, in the order of the file.

    Raises:
        DataNotFoundError: If ``data/paper.json`` is not there.
    """
    return _Figures(_read()["figures"])


def paper_claims() -> list[PaperClaim]:
    """Return the claims of the abstract, in its order and our words.

    Raises:
        DataNotFoundError: If ``data/paper.json`` is not there.
    """
    return [PaperClaim(**row) for row in _read()["claims"]]


def paper_statements() -> list[PaperClaim]:
    """Return statements from the body of the paper that the course tests, in our words.

    Raises:
        DataNotFoundError: If ``data/paper.json`` is not there.
    """
    return [PaperClaim(**row) for row in _read()["statements"]]
