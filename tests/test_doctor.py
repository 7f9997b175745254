"""The doctor: it finds what is wrong, says how to mend it, and never falls ill itself."""

import json
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from qkvlib import doctor
from qkvlib.doctor import Check


def test_a_healthy_machine() -> None:
    checks = doctor.examine()
    by_name = {check.name: check for check in checks}
    # The tests run here, so these cannot fail.
    for name in ("Python", "packages", "default text"):
        assert by_name[name].status == "ok"
    assert "torch" in by_name["packages"].found
    assert {"threads", "OpenMP", "memory", "disk", "Chromium", "Node"} <= set(by_name)
    for check in checks:
        assert check.found
        assert bool(check.mend) == (check.status != "ok")


@pytest.mark.parametrize(
    ("version", "status"),
    [((3, 10, 9), "fail"), ((3, 11, 0), "ok"), ((3, 13, 5), "ok"), ((3, 14, 0), "fail")],
)
def test_python(version: tuple[int, int, int], status: str) -> None:
    assert doctor.check_python(version).status == status


def test_packages_that_are_old_or_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    real = metadata.version

    def version(name: str) -> str:
        if name == "numpy":
            return "1.26.4"
        if name == "tqdm":
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "version", version)
    by_name = {check.name: check for check in doctor.check_packages()}
    assert by_name["numpy"].status == "fail"
    assert by_name["numpy"].found.startswith("1.26.4, but the course needs >=2")
    assert by_name["tqdm"].found == "not installed"
    assert by_name["packages"].status == "ok"
    assert "numpy" not in by_name["packages"].found


def test_extras_only_warn(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    checks = list(doctor.check_packages("course", needed=False))
    assert {"jupyterlab", "jupytext"} <= {check.name for check in checks}
    assert "torch" not in {check.name for check in checks}
    assert {check.status for check in checks} == {"warn"}


def test_course_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def requires(name: str) -> list[str]:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", requires)
    (check,) = doctor.check_packages()
    assert check.status == "fail"
    assert "pip install" in check.mend


def test_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.get_num_threads", lambda: 8)
    monkeypatch.setattr(doctor, "_usable_cores", lambda: 2)
    check = doctor.check_threads()
    assert check.status == "warn"
    assert "OMP_NUM_THREADS=2" in check.mend


def test_openmp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_PROC_BIND", raising=False)
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    assert "not set" in doctor.check_binding().found
    monkeypatch.setenv("OMP_PROC_BIND", "true")
    assert doctor.check_binding() == Check("OpenMP", "ok", "OMP_PROC_BIND=true")
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    assert doctor.check_binding().status == "warn"


@pytest.mark.parametrize(("free", "status"), [(0.5e9, "warn"), (9e9, "ok")])
def test_room(free: float, status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free))
    memory = SimpleNamespace(available=free, total=16e9)
    monkeypatch.setattr("psutil.virtual_memory", lambda: memory)
    assert doctor.check_disk().status == doctor.check_memory().status == status


def test_missing_default_text(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> bytes:
        raise ValueError("the default text needs the source of Python's module 'ast'")

    monkeypatch.setattr("qkvlib.tasks.text.standard_library_text", fail)
    check = doctor.check_text()
    assert check.status == "fail"
    assert "'ast'" in check.found


def test_browser_and_node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.delenv("QKV_CHROMIUM", raising=False)
    assert doctor.check_chromium().status == doctor.check_node().status == "warn"
    program = tmp_path / "chrome"
    monkeypatch.setenv("QKV_CHROMIUM", str(program))
    assert doctor.find_chromium() is None
    program.write_text("#!/bin/sh\necho Chromium  1.2.3\n")
    program.chmod(0o755)
    assert doctor.find_chromium() == str(program)
    assert doctor.check_chromium() == Check("Chromium", "ok", "Chromium 1.2.3")
    monkeypatch.delenv("QKV_CHROMIUM")
    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}")
    assert doctor.find_chromium() == "/bin/chromium"


def test_a_check_that_breaks_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def check_disk() -> Check:
        raise RuntimeError("no such device")

    monkeypatch.setattr(doctor, "check_disk", check_disk)
    (check,) = [check for check in doctor.examine() if check.name == "disk"]
    assert check.status == "warn"
    assert "no such device" in check.found


def test_reports() -> None:
    good, bad = Check("Python", "ok", "3.12"), Check("numpy", "fail", "not installed", "Install it")
    assert doctor.summary([good]) == "ok"
    assert doctor.summary([good, bad]) == "fail"
    text = doctor.report([good, bad])
    assert "FAIL  numpy   not installed" in text
    assert "-> Install it" in text
    data = json.loads(json.dumps(doctor.to_dict([good, bad])))
    assert data["status"] == "fail"
    assert data["checks"][1] == {
        "name": "numpy", "status": "fail", "found": "not installed", "mend": "Install it"
    }  # fmt: skip
