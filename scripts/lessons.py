"""Keep the lessons' two forms in step, run them, and make the student versions.

A lesson's source is ``notebooks/NN_slug.md``. Its twin ``NN_slug.ipynb`` is made from it and
carries the outputs that classrooms, GitHub and the book show. Text flows one way only, from ``.md``
to ``.ipynb``.

    python scripts/lessons.py sync          bring every twin in step with its source
    python scripts/lessons.py run 03 05     run lessons and store their outputs (all if none named)
    python scripts/lessons.py check         say which twins are out of step; exit status 1 if any
    python scripts/lessons.py student       write student/: the same without the solutions
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jupytext
import nbformat

ROOT = Path(__file__).resolve().parents[1]
LESSONS = ROOT / "notebooks"
STUDENT = ROOT / "student"

BEGIN = "### BEGIN SOLUTION"
END = "### END SOLUTION"
YOUR_TURN = "...  # your turn"

# Without the version of Python, which would change with the machine that stores the outputs.
LANGUAGE = {
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "name": "python",
    "nbconvert_exporter": "python",
    "pygments_lexer": "ipython3",
}


class LessonError(ValueError):
    """A lesson that cannot be used; the message names the lesson and the mend."""


def sources(names: Sequence[str] = (), folder: Path | None = None) -> list[Path]:
    """Find the sources of lessons.

    Args:
        names: Numbers or beginnings of names, ``"03"`` or ``"03_counting_bytes"``; all if empty.
        folder: Where they lie; ``notebooks`` unless told.

    Raises:
        LessonError: If a name fits none.
    """
    found = sorted((folder or LESSONS).glob("[0-9][0-9]_*.md"))
    if not names:
        return found
    chosen = []
    for name in names:
        stem = Path(name).stem
        fitting = [path for path in found if path.stem.startswith(stem)]
        if not fitting:
            raise LessonError(f"no lesson {name!r}; there are {', '.join(p.stem for p in found)}.")
        chosen += fitting
    return chosen


def write(path: Path, text: str) -> bool:
    """Write a file if that changes it, under a temporary name first. Returns whether it did."""
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
    return True


def dump(notebook: Any) -> str:
    """Write a notebook as jupytext writes it, so that either tool leaves the file as it is."""
    text: str = nbformat.writes(notebook, version=4)  # type: ignore[no-untyped-call]
    return text + "\n"


def read_source(path: Path) -> Any:
    """Read a source as a notebook without outputs, each cell with an id made from what is in it.

    The same source always gives the same notebook, byte for byte.
    """
    notebook = jupytext.reads(path.read_text(encoding="utf-8"), fmt="md:myst")
    notebook.metadata["language_info"] = copy.deepcopy(LANGUAGE)
    # As jupytext itself does when it writes an .ipynb: this describes the other file.
    notebook.metadata.get("jupytext", {}).pop("text_representation", None)
    seen: dict[str, int] = {}
    for cell in notebook.cells:
        key = f"{path.stem}\n{cell.cell_type}\n{cell.source}"
        seen[key] = seen.get(key, 0) + 1
        cell.id = hashlib.sha256(f"{key}\n{seen[key]}".encode()).hexdigest()[:12]
    return notebook


def twin(path: Path) -> Any:
    """Make the twin of a source: its cells, with the outputs that the present twin holds for them.

    A code cell keeps its outputs while its code stays the same, wherever it moves.
    """
    notebook = read_source(path)
    present = path.with_suffix(".ipynb")
    if not present.exists():
        return notebook
    stored: Any = nbformat.read(present, as_version=4)  # type: ignore[no-untyped-call]
    old = {cell.id: cell for cell in stored.cells if cell.cell_type == "code"}
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.id in old:
            cell.outputs = old[cell.id].outputs
            cell.execution_count = old[cell.id].execution_count
    return notebook


def out_of_step(path: Path) -> str | None:
    """Say why a twin is out of step with its source; ``None`` if it is not."""
    present = path.with_suffix(".ipynb")
    if not present.exists():
        return f"{present.name} does not exist"
    if present.read_text(encoding="utf-8") != dump(twin(path)):
        return f"{present.name} differs from what {path.name} gives"
    return None


def normalise(notebook: Any) -> None:
    """Take out of fresh outputs what depends on the moment: timings, transient ids, versions."""
    notebook.metadata["language_info"] = copy.deepcopy(LANGUAGE)
    count = 0
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        count += 1
        cell.execution_count = count
        cell.metadata.pop("execution", None)
        for output in cell.outputs:
            output.pop("transient", None)
            if output.output_type == "execute_result":
                output.execution_count = count


def run(path: Path) -> float:
    """Run a lesson from top to bottom and store its outputs. Returns the seconds it took."""
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    notebook = read_source(path)
    # Outputs are stored for people without a kernel, and nothing is kept in the journal.
    os.environ["QKV_STATIC"] = "1"
    client = NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        record_timing=False,
        coalesce_streams=True,
    )
    started = time.perf_counter()
    try:
        client.execute()
    except CellExecutionError as error:
        raise LessonError(f"{path.name} does not run: {error}") from None
    seconds = time.perf_counter() - started
    normalise(notebook)
    write(path.with_suffix(".ipynb"), dump(notebook))
    return seconds


# Student versions

_REGION = re.compile(
    rf"^(?P<indent>[ \t]*){re.escape(BEGIN)}\n(?P<body>.*?)^[ \t]*{re.escape(END)}$",
    re.MULTILINE | re.DOTALL,
)
_FOLD = ("hide-input",)


def solutions(source: str) -> list[str]:
    """The solution regions of a cell, with their markers, in order."""
    return [match.group(0) for match in _REGION.finditer(source)]


def without_solution(source: str) -> str:
    """Replace each solution region of a cell by an invitation to write one."""
    return _REGION.sub(lambda match: f"{match['indent']}{YOUR_TURN}", source)


def with_solutions(source: str, regions: Iterator[str]) -> str:
    """Put solution regions back where the invitations stand: undo :func:`without_solution`."""
    place = re.compile(rf"^[ \t]*{re.escape(YOUR_TURN)}$", re.MULTILINE)
    return place.sub(lambda match: next(regions), source)


def student_version(path: Path) -> Any:
    """Make a lesson without solutions and outputs, its exercise cells open instead of folded.

    Raises:
        LessonError: If markers do not pair, or stand in a cell that is not tagged ``exercise``.
    """
    notebook = read_source(path)
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        marks = cell.source.count("### BEGIN"), cell.source.count("### END")
        pairs = len(solutions(cell.source)) if cell.cell_type == "code" else 0
        if marks != (pairs, pairs):
            raise LessonError(f"{path.name}: solution markers do not pair in:\n{cell.source}")
        if bool(pairs) != ("exercise" in tags):
            raise LessonError(
                f"{path.name}: a cell is tagged `exercise` exactly if it holds a solution:\n"
                f"{cell.source}"
            )
        if pairs:
            cell.source = without_solution(cell.source)
            cell.metadata.tags = [tag for tag in tags if tag not in _FOLD]
            cell.metadata.pop("mystnb", None)
            cell.metadata.pop("jupyter", None)
    return notebook


def write_student(path: Path, folder: Path) -> list[Path]:
    """Write both forms of a lesson's student version. Returns their paths."""
    notebook = student_version(path)
    text = jupytext.writes(notebook, fmt="md:myst")
    written = [folder / path.name, folder / path.with_suffix(".ipynb").name]
    write(written[0], text)
    write(written[1], dump(notebook))
    return written


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line and do it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=("sync", "run", "check", "student"))
    parser.add_argument("lessons", nargs="*", help="numbers or names; all if none is given")
    parser.add_argument("--out", type=Path, default=STUDENT, help="folder of student versions")
    args = parser.parse_args(argv)
    try:
        paths = sources(args.lessons)
        if not paths:
            raise LessonError(f"there are no lessons in {LESSONS}.")
        bad = 0
        for path in paths:
            if args.action == "sync":
                changed = write(path.with_suffix(".ipynb"), dump(twin(path)))
                print(f"{path.stem}: {'brought in step' if changed else 'in step'}")
            elif args.action == "run":
                print(f"{path.stem}: {run(path):.1f} s", flush=True)
            elif args.action == "check":
                why = out_of_step(path)
                bad += why is not None
                print(f"{path.stem}: {why or 'in step'}")
            else:
                write_student(path, args.out)
                print(f"{path.stem}: student version in {args.out}")
        if bad:
            print("Mend it with: python scripts/lessons.py sync")
        return int(bad > 0)
    except LessonError as error:
        print(f"lessons: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
