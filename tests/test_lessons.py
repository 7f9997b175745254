"""Lessons: one source, twins in step, student versions that differ by the solutions only."""

import ast
import getpass
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]


def _load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lessons_script", ROOT / "scripts/lessons.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


lessons = _load_script()
SOURCES: list[Path] = lessons.sources()

pytestmark = pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)

HEADINGS = [
    "What you will be able to do",
    "The question",
    "Predict",
    "Run",
    "Compare",
    "Explain",
    "Change one thing",
    "Exercise",
    "What would change my mind",
    "Summary",
    "Sources",
]


def cells(path: Path, kind: str) -> list[Any]:
    return [cell for cell in lessons.read_source(path).cells if cell.cell_type == kind]


def text_of(path: Path) -> str:
    return "\n\n".join(cell.source for cell in cells(path, "markdown"))


def outputs(path: Path) -> Iterator[tuple[Any, Any]]:
    notebook = nbformat.read(path.with_suffix(".ipynb"), as_version=4)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            yield cell, output


# Twins


def test_twin_is_in_step(path: Path) -> None:
    assert lessons.out_of_step(path) is None


@pytest.fixture(scope="module")
def updated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copies of all lessons, after jupytext's command has seen to the twins."""
    folder = tmp_path_factory.mktemp("updated")
    for each in SOURCES:
        for suffix in (".md", ".ipynb"):
            shutil.copy(each.with_suffix(suffix), folder)
    command = [sys.executable, "-m", "jupytext", "--to", "ipynb", "--update"]
    command += [each.name for each in SOURCES]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder


def test_jupytext_agrees_that_the_twin_is_in_step(path: Path, updated: Path) -> None:
    twin = path.with_suffix(".ipynb")
    assert (updated / twin.name).read_text() == twin.read_text()


def test_a_changed_source_is_noticed_and_keeps_other_outputs(path: Path, tmp_path: Path) -> None:
    copied = tmp_path / path.name
    shutil.copy(path.with_suffix(".ipynb"), tmp_path)
    copied.write_text(path.read_text() + "\n```{code-cell} ipython3\nprint('new')\n```\n")
    assert "differs" in lessons.out_of_step(copied)
    before = nbformat.read(path.with_suffix(".ipynb"), as_version=4).cells
    after = lessons.twin(copied).cells
    assert after[: len(before)] == before
    assert after[-1].outputs == []


def test_cell_ids_are_made_from_the_source(path: Path) -> None:
    first, second = lessons.read_source(path), lessons.read_source(path)
    assert first == second
    ids = [cell.id for cell in first.cells]
    assert len(set(ids)) == len(ids)


# Shape


def test_shape_of_a_lesson(path: Path) -> None:
    found = re.findall(r"^## (.+)$", text_of(path), re.MULTILINE)
    position = -1
    for wanted in HEADINGS:
        later = [i for i, h in enumerate(found) if h.startswith(wanted)]
        assert later, f"{wanted} is missing"
        if wanted not in ("Change one thing", "Exercise"):  # these two may change places
            assert later[0] > position, f"{wanted} comes too early"
            position = later[0]
    head = text_of(path).split("## The question")[0]
    assert len(re.findall(r"^- .*\*\*\w+\*\*", head, re.MULTILINE)) >= 3, "three testable verbs"
    assert re.search(r"\*\*Time:\*\* \d+ minutes", head)
    assert "**You need:**" in head


def test_exercises_are_marked_and_hinted(path: Path) -> None:
    sections = re.split(r"^## ", text_of(path), flags=re.MULTILINE)
    exercises = [s for s in sections if s.startswith("Exercise")]
    solved = [c for c in cells(path, "code") if "exercise" in c.metadata.get("tags", [])]
    assert len(exercises) == len(solved) > 0
    marks = r"\*\*Difficulty\*\* [●○]{5} · \*\*Importance\*\* [●○]{5} · \*\*about \d+ minutes\*\*"
    for section in exercises:
        assert re.search(marks, section)
        hints = re.findall(r"<details><summary>(Hint \d)</summary>", section)
        assert hints == ["Hint 1", "Hint 2", "Hint 3"]
        assert section.count("</details>") == 3
    assert sum("check." in c.source for c in cells(path, "code")) >= len(exercises)


def test_text_is_plain_markdown(path: Path) -> None:
    """It must read right in JupyterLab and on GitHub, which know no MyST."""
    text = text_of(path)
    assert not re.search(r"^(:::|```\{)", text, re.MULTILINE)
    assert not re.search(r"\{[a-z:]+\}`", text)


def test_links_between_lessons_work(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text_of(path)):
        if not target.startswith("http"):
            assert (path.parent / target).is_file(), target


def test_lessons_import_the_library_from_its_top(path: Path) -> None:
    for cell in cells(path, "code"):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.Import):
                assert not any(alias.name.startswith("qkvlib.") for alias in node.names)
            if isinstance(node, ast.ImportFrom):
                assert not (node.module or "").startswith("qkvlib."), ast.unparse(node)


# Student versions


def test_student_versions_differ_by_the_solutions_only(path: Path) -> None:
    original, student = lessons.read_source(path), lessons.student_version(path)
    assert len(original.cells) == len(student.cells)
    n_solutions = 0
    for ours, theirs in zip(original.cells, student.cells, strict=True):
        regions = lessons.solutions(ours.source)
        n_solutions += len(regions)
        if not regions:
            assert theirs == ours
            continue
        assert theirs.source != ours.source
        assert "SOLUTION" not in theirs.source
        for region in regions:
            for line in region.splitlines()[1:-1]:
                assert line.strip() not in theirs.source.splitlines()
        # Putting the solutions back gives the original, so nothing else was changed.
        assert lessons.with_solutions(theirs.source, iter(regions)) == ours.source
        unfolded = [t for t in ours.metadata.tags if t != "hide-input"]
        assert theirs.metadata == {"tags": unfolded}
    assert n_solutions > 0


def test_student_files_hold_no_solution_and_no_output(path: Path, tmp_path: Path) -> None:
    text, notebook = lessons.write_student(path, tmp_path)
    for file in (text, notebook):
        assert "SOLUTION" not in file.read_text()
        assert lessons.YOUR_TURN in file.read_text()
    read = nbformat.read(notebook, as_version=4)
    nbformat.validate(read)
    for cell in read.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
            ast.parse(cell.source)
    again = lessons.jupytext.reads(text.read_text(), fmt="md:myst")
    assert [c.source for c in again.cells] == [c.source for c in read.cells]


def test_an_unsolved_exercise_is_told_so_in_words(path: Path) -> None:
    """Running the student's cells as they are must end in a check's words, not in a traceback."""
    student = [c.source for c in lessons.student_version(path).cells if c.cell_type == "code"]
    starts = [i for i, source in enumerate(student) if lessons.YOUR_TURN in source]
    from qkvlib import SHARINGS, check

    for i in starts:
        check_cell = next(s for s in student[i + 1 :] if "check." in s)
        space = {"check": check, "SHARINGS": SHARINGS, "names": ["QKV", "Q-K=V", "GQA-8"]}
        exec(student[i], space)
        with pytest.raises(check.CheckFailed):
            exec(check_cell, space)


# Stored outputs


def test_outputs_are_stored_and_clean(path: Path) -> None:
    home, user = str(Path.home()), getpass.getuser()
    count = 0
    for cell, output in outputs(path):
        count += 1
        assert output.output_type != "error", cell.source
        assert output.get("name") != "stderr", cell.source
        text = json.dumps(output)
        for private in (str(ROOT), home + os.sep, f"/{user}/", "/tmp/", "0x7f", "\\u001b["):
            assert private not in text, f"{private} in the output of:\n{cell.source}"
    assert count > 0
    notebook = nbformat.read(path.with_suffix(".ipynb"), as_version=4)
    assert "version" not in notebook.metadata.language_info
    code = [c for c in notebook.cells if c.cell_type == "code"]
    assert [c.execution_count for c in code] == list(range(1, len(code) + 1))
    assert not any("execution" in c.metadata for c in code), "timings change with every run"


def test_figures_have_words_and_stay_small(path: Path) -> None:
    for cell, output in outputs(path):
        figure = output.get("data", {}).get("application/vnd.plotly.v1+json")
        if figure is not None:
            assert len(figure["layout"]["meta"]["alt"]) > 40, cell.source
            assert len(json.dumps(figure)) < 150_000
            assert "text/html" not in output.data, "plotly's HTML carries 5 MB of library"
        assert "image/png" not in output.get("data", {}), "a picture has no words"
    assert path.with_suffix(".ipynb").stat().st_size < 500_000


def test_cells_that_vary_between_machines_assert_what_must_hold(path: Path) -> None:
    """Output of live training is not compared, so such a lesson must assert something instead."""
    varying = [
        cell
        for cell in cells(path, "code")
        if "nbval-ignore-output" in cell.metadata.get("tags", [])
    ]
    trains = [cell for cell in varying if re.search(r"\btrain\(", cell.source)]
    assert all("assert " in cell.source for cell in trains)
    for cell in cells(path, "code"):
        if re.search(r"\b(train|examine)\(", cell.source):
            assert cell in varying, f"its output depends on the machine:\n{cell.source}"
