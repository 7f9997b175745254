"""Pin the installed versions as the tested set: ``constraints.txt`` and ``environment.yml``.

Run it with ``make constraints`` after the tests pass with newer versions.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

from qkvlib.records import write_atomically

ROOT = Path(__file__).resolve().parent.parent

CONSTRAINTS_HEADER = """\
# The versions that the tests passed with; `make constraints` writes this file.
# They bind only what is installed, so a machine without CUDA ignores the nvidia lines.
"""

ENVIRONMENT = """\
# The conda door to the environment of pyproject.toml; `make constraints` writes this file.
#   conda env create -f environment.yml && conda activate qkv && jupyter lab notebooks/
# Python and pip come from conda, everything else from pip with the tested versions.
name: qkv
channels:
  - conda-forge
dependencies:
  - python {python}
  - pip
  - pip:
      - --constraint constraints.txt
      - --editable .[{extras}]
"""


def main() -> None:
    """Write both files."""
    freeze = subprocess.run(
        [sys.executable, "-m", "pip", "freeze", "--exclude-editable"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    pins = sorted((line for line in freeze.splitlines() if "==" in line), key=str.lower)
    write_atomically(ROOT / "constraints.txt", CONSTRAINTS_HEADER + "\n".join(pins) + "\n")

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    write_atomically(
        ROOT / "environment.yml",
        ENVIRONMENT.format(python=project["requires-python"], extras="course,book,test"),
    )
    print(f"{len(pins)} versions pinned in constraints.txt")


if __name__ == "__main__":
    main()
