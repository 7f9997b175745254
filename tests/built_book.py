"""The built book, for every test that reads or opens it: taken as given, or built once."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DEFAULT = ROOT / "book" / "_build" / "html"


def page_names() -> list[str]:
    """The pages that the sources make, and the two that Sphinx adds, without ``.html``."""
    sources = [
        ROOT / "index.md",
        *(ROOT / "book").glob("*.md"),
        *(ROOT / "notebooks").glob("*.ipynb"),
    ]
    return [
        *sorted(p.relative_to(ROOT).with_suffix("").as_posix() for p in sources),
        "search",
        "404",
    ]


def _inputs() -> Iterator[Path]:
    yield ROOT / "index.md"
    yield from (ROOT / "notebooks").glob("*.ipynb")
    for folder, patterns in (
        ("book", ("*",)),
        ("data/lab", ("*",)),
        ("qkvlib", ("*.py", "*.js")),
    ):
        for pattern in patterns:
            for path in (ROOT / folder).rglob(pattern):
                if path.is_file() and not {"_build", "__pycache__"} & set(path.parts):
                    yield path


def built_book() -> Path:
    """Return the folder of the built site.

    ``QKV_BOOK`` names one that is built already. Otherwise the default is built, unless it is newer
    than everything it is made from.
    """
    given = os.environ.get("QKV_BOOK")
    if given:
        site = (ROOT / given).resolve()
        if not (site / "index.html").is_file():
            pytest.fail(f"QKV_BOOK={given} holds no index.html; build it with `make book`.")
        return site
    stamp = DEFAULT / ".buildinfo"
    DEFAULT.parent.mkdir(parents=True, exist_ok=True)
    with (DEFAULT.parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another worker of pytest-xdist may be building it
        if stamp.is_file() and stamp.stat().st_mtime > max(p.stat().st_mtime for p in _inputs()):
            return DEFAULT
        command = ["-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-c", "book", "."]
        done = subprocess.run(
            [sys.executable, *command, str(DEFAULT)], cwd=ROOT, capture_output=True, text=True
        )
        if done.returncode != 0:
            pytest.fail(f"the book does not build:\n{done.stdout}{done.stderr}", pytrace=False)
        stamp.touch()
    return DEFAULT
