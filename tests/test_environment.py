"""pyproject.toml, constraints.txt, environment.yml and the Makefile describe one environment."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = {
    canonicalize_name(name): version
    for name, version in re.findall(
        r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M
    )
}
REQUIREMENTS = [
    Requirement(text)
    for group in [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    for text in group
]


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=lambda r: r.name)
def test_every_requirement_has_a_pin_that_it_admits(requirement: Requirement) -> None:
    pin = PINS.get(canonicalize_name(requirement.name))
    assert pin is not None, f"constraints.txt has no {requirement.name}; run `make constraints`"
    assert pin in requirement.specifier


def test_conda_asks_for_the_same_environment() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python = next(d for d in environment["dependencies"] if str(d).startswith("python "))
    assert SpecifierSet(python.removeprefix("python ")) == SpecifierSet(PROJECT["requires-python"])
    pip = next(d["pip"] for d in environment["dependencies"] if isinstance(d, dict))
    editable = next(re.search(r"\.\[(.*)\]", line) for line in pip if "--editable" in line)
    in_makefile = re.search(r"--editable '\.\[(.*)\]'", (ROOT / "Makefile").read_text())
    assert editable is not None
    assert in_makefile is not None
    assert editable[1] == in_makefile[1]
    assert set(editable[1].split(",")) <= set(PROJECT["optional-dependencies"])
    assert "--constraint constraints.txt" in pip


def test_the_doctor_and_the_makefile_admit_the_same_pythons() -> None:
    assert SpecifierSet(PROJECT["requires-python"]) == SpecifierSet(">=3.11,<3.14")
    assert "(3, 11) <= v[:2] < (3, 14)" in (ROOT / "Makefile").read_text()


def test_make_help_names_every_public_target() -> None:
    listed = subprocess.run(
        ["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for target in ("lab", "test", "book", "results", "student", "help"):
        assert re.search(rf"make {target}\b", listed), f"make help does not list {target}"


def test_nothing_names_a_folder_of_one_machine() -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    word = re.compile(r"/root/|/home/\w+/")
    found = [
        name
        for name in filter(None, tracked)
        if "vendor/" not in name
        and name != "tests/test_environment.py"
        and (ROOT / name).is_file()
        and word.search((ROOT / name).read_text(encoding="utf-8", errors="ignore"))
    ]
    assert found == []
