"""Look at a machine and say whether the course will run on it, and how to mend what will not.

Nothing here may fail because something is missing: that is what it is there to report.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final, Literal

Status = Literal["ok", "warn", "fail"]

OLDEST_PYTHON: Final = (3, 11)
NEWEST_PYTHON: Final = (3, 13)

INSTALL: Final = "Install the course again: make lab, or pip install -e '.[course]'"

CHROMIUM_NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

GB: Final = 10**9


@dataclass(frozen=True)
class Check:
    """One thing looked at.

    Attributes:
        name: What was looked at.
        status: ``"ok"``; ``"warn"`` if something will be slow or left out; ``"fail"`` if the
            course will not run.
        found: What was found, with units.
        mend: What to do about it; empty where all is well.
    """

    name: str
    status: Status
    found: str
    mend: str = ""

    def to_dict(self) -> dict[str, str]:
        """Return the check as JSON can hold it."""
        return dict(vars(self))


def check_python(version: Sequence[int] = sys.version_info[:3]) -> Check:
    """Python must be 3.11 to 3.13."""
    found = ".".join(map(str, version)) + f" in {sys.prefix}"
    if OLDEST_PYTHON <= tuple(version[:2]) <= NEWEST_PYTHON:
        return Check("Python", "ok", found)
    return Check(
        "Python",
        "fail",
        found,
        "Install Python 3.11, 3.12 or 3.13, then: make PYTHON=python3.13 lab",
    )


def check_packages(extra: str = "", *, needed: bool = True) -> Iterator[Check]:
    """Every dependency must be there, in a version that the package admits.

    Args:
        extra: Instead of the core's dependencies, those of this extra, such as ``"course"``.
        needed: Whether a missing one fails, or only warns.
    """
    bad: Status = "fail" if needed else "warn"
    title = f"packages ({extra})" if extra else "packages"
    try:
        from packaging.requirements import Requirement

        wanted = [Requirement(text) for text in metadata.requires("qkvlib") or []]
    except (ImportError, metadata.PackageNotFoundError) as error:
        yield Check(title, "fail", f"{error.name} is not installed", f"{INSTALL}.")
        return
    good = []
    for requirement in wanted:
        marker = requirement.marker
        if extra and (marker is None or not marker.evaluate({"extra": extra})):
            continue
        if marker is not None and not marker.evaluate({"extra": extra}):
            continue
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            yield Check(requirement.name, bad, "not installed", f"{INSTALL}.")
            continue
        if requirement.specifier.contains(version, prereleases=True):
            good.append(f"{requirement.name} {version}")
        else:
            found = f"{version}, but the course needs {requirement.specifier}"
            yield Check(requirement.name, bad, found, f"{INSTALL}.")
    if good:
        yield Check(title, "ok", ", ".join(good))


def check_threads() -> Check:
    """PyTorch should use the cores that this process may use."""
    cores = _usable_cores()
    try:
        import torch
    except ImportError:
        return Check("threads", "fail", f"{cores} cores, but no PyTorch to use them", f"{INSTALL}.")
    threads = torch.get_num_threads()
    found = f"{threads} PyTorch threads on {cores} usable cores"
    if threads > cores:
        return Check(
            "threads", "warn", found, f"More threads than cores slow down: OMP_NUM_THREADS={cores}"
        )
    return Check("threads", "ok", found)


def check_binding() -> Check:
    """OMP_PROC_BIND=true keeps PyTorch's threads on their cores, which trains faster."""
    value = os.environ.get("OMP_PROC_BIND")
    policy = os.environ.get("OMP_WAIT_POLICY", "")
    if policy.upper() == "PASSIVE":
        return Check(
            "OpenMP", "warn", "OMP_WAIT_POLICY=PASSIVE", "It slows training: unset OMP_WAIT_POLICY"
        )
    if value is None:
        return Check("OpenMP", "ok", "OMP_PROC_BIND is not set; qkv train sets it")
    return Check("OpenMP", "ok", f"OMP_PROC_BIND={value}")


def check_memory() -> Check:
    """A lesson needs about 1 GB; the browser and JupyterLab want theirs too."""
    try:
        import psutil
    except ImportError:
        return Check("memory", "warn", "cannot be measured without psutil", f"{INSTALL}.")
    memory = psutil.virtual_memory()
    found = f"{memory.available / GB:.1f} GB free of {memory.total / GB:.1f} GB"
    if memory.available < 2 * GB:
        return Check("memory", "warn", found, "Close other programs: 2 GB free keep lessons smooth")
    return Check("memory", "ok", found)


def check_disk(folder: Path | None = None) -> Check:
    """Runs and the book need some room where one works."""
    free = shutil.disk_usage(folder or Path.cwd()).free
    found = f"{free / GB:.1f} GB free here"
    if free < GB:
        return Check("disk", "warn", found, "Make room: runs and the built book take up to 1 GB")
    return Check("disk", "ok", found)


def check_text() -> Check:
    """The default text is Python's own source; some systems ship Python without it."""
    try:
        from qkvlib.tasks.text import STANDARD_LIBRARY, standard_library_text

        text = standard_library_text()
    except (ImportError, ValueError, OSError) as error:
        return Check("default text", "fail", str(error), "Install Python with its standard library")
    digest = hashlib.sha256(text).hexdigest()
    found = f"{len(STANDARD_LIBRARY)} modules, {len(text) / 1e6:.2f} MB, sha256 {digest[:12]}…"
    return Check("default text", "ok", found)


def check_chromium() -> Check:
    """Browser tests need a Chromium; lessons do not."""
    path = find_chromium()
    if path is None:
        return Check(
            "Chromium", "warn", "none found; browser tests are skipped",
            "apt-get install chromium, or set QKV_CHROMIUM to the path of a Chromium or Chrome",
        )  # fmt: skip
    return Check("Chromium", "ok", _first_line([path, "--version"]) or path)


def check_node() -> Check:
    """The widgets' own tests run under Node; lessons do not need it."""
    path = shutil.which("node")
    if path is None:
        return Check(
            "Node", "warn", "none found; the widgets' JavaScript tests are skipped",
            "apt-get install nodejs, or https://nodejs.org",
        )  # fmt: skip
    return Check("Node", "ok", _first_line([path, "--version"]) or path)


def find_chromium() -> str | None:
    """Find the Chromium that the browser tests use.

    Returns:
        The path in ``QKV_CHROMIUM``, else the first Chromium or Chrome on the path; ``None`` if
        there is none.
    """
    if chosen := os.environ.get("QKV_CHROMIUM"):
        return chosen if Path(chosen).exists() else None
    return next((path for path in map(shutil.which, CHROMIUM_NAMES) if path), None)


def examine() -> list[Check]:
    """Run every check.

    Returns:
        The checks; a check that breaks is itself reported as a warning.
    """
    single: list[Callable[[], Check]] = [
        check_threads, check_binding, check_memory, check_disk, check_text, check_chromium,
        check_node,
    ]  # fmt: skip
    checks = [check_python(), *check_packages(), *check_packages("course", needed=False)]
    for look in single:
        try:
            checks.append(look())
        except Exception as error:
            name = look.__name__.removeprefix("check_")
            checks.append(
                Check(
                    name, "warn", f"could not be looked at: {error}", "Report it with this output"
                )
            )
    return checks


def report(checks: Sequence[Check]) -> str:
    """Write the checks for a person, with the mends under what needs one."""
    sign = {"ok": "ok  ", "warn": "WARN", "fail": "FAIL"}
    width = max(len(check.name) for check in checks)
    lines = [f"qkvlib {_own_version()} on {platform.platform()}"]
    for check in checks:
        lines.append(f"{sign[check.status]}  {check.name:<{width}}  {check.found}")
        if check.mend:
            lines.append(f"{'':6}{'':{width}}  -> {check.mend}")
    worst = summary(checks)
    lines.append(
        {
            "ok": "All is well: start with make lab.",
            "warn": "The course will run; see the warnings.",
            "fail": "The course will not run yet; mend what says FAIL.",
        }[worst]
    )
    return "\n".join(lines)


def summary(checks: Sequence[Check]) -> Status:
    """The worst status among the checks."""
    order: list[Status] = ["ok", "warn", "fail"]
    return max((check.status for check in checks), key=order.index, default="ok")


def to_dict(checks: Sequence[Check]) -> dict[str, Any]:
    """Return all checks as JSON can hold them."""
    return {
        "status": summary(checks),
        "qkvlib": _own_version(),
        "platform": platform.platform(),
        "checks": [check.to_dict() for check in checks],
    }


def _own_version() -> str:
    try:
        return metadata.version("qkvlib")
    except metadata.PackageNotFoundError:
        return "(not installed)"


def _usable_cores() -> int:
    # Inside a container or under taskset a process may use fewer cores than there are.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _first_line(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return re.sub(r"\s+", " ", done.stdout.strip().partition("\n")[0])
