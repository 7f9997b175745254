"""Widgets in JupyterLab with a kernel: the page moves Python and Python moves the page."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
CELLS = [
    "from qkvlib.widgets import CacheMeter, show\nmeter = CacheMeter()\nshow(meter)",
    "print(meter.sharing, meter.n_kv_heads, meter.tokens)\nmeter.n_layers = 50",
    "from qkvlib.widgets import ClaimRater\nrater = ClaimRater()\nshow(rater)",
    "print(rater.ratings, ClaimRater().ratings)\nrater.ratings = {'on-par': 7}",
    "from qkvlib import AttentionLab\nlab = AttentionLab(variant='Q-K=V')\nshow(lab)",
    "print(lab.variant, lab.engine.answer({'id': 1, 'task': 'open'})[0]['result']['engine'])",
    """\
from qkvlib import LabEngine, build_model, get_config
mine = build_model(get_config('small').replace(n_layers=2), seed=0)
show(AttentionLab(LabEngine({'mine': mine}), prompt='if '))""",
    "last = True",
]


@pytest.fixture
def lab(tmp_path: Path, browser: Any) -> Iterator[str]:
    """Address of a notebook in a JupyterLab of its own; ``browser`` first, as it may skip."""
    pytest.importorskip("jupyterlab", reason="no JupyterLab: pip install jupyterlab")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in CELLS])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    (tmp_path / "books").mkdir()
    nbformat.write(notebook, tmp_path / "books" / "meter.ipynb")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = secrets.token_hex(8)
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "JUPYTER_CONFIG_DIR": str(tmp_path / "config"),
        "JUPYTER_DATA_DIR": str(tmp_path / "data"),
        "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"),
        "QKV_CACHE_DIR": str(tmp_path / "journal"),
    }
    environment.pop("QKV_STATIC", None)
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(
            [
                sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root",
                "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}",
                f"--IdentityProvider.token={token}", "--LabApp.news_url=None",
                f"--ServerApp.root_dir={tmp_path / 'books'}",
            ],
            env=environment, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            _wait(f"http://127.0.0.1:{port}/api?token={token}", server, tmp_path / "log")
            yield f"http://127.0.0.1:{port}/lab/tree/meter.ipynb?token={token}"
        finally:
            server.terminate()
            server.wait(30)


def _wait(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-2000:]}", pytrace=False)


def run_cell(page: Any, index: int) -> None:
    page.locator(".jp-CodeCell").nth(index).locator(".cm-content").click()
    page.keyboard.press("Shift+Enter")


def test_state_goes_both_ways_and_keys_stay_in_the_meter(
    lab: str, new_page: Callable[..., Any]
) -> None:
    page = new_page(width=1300, height=1000)
    page.goto(lab)
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60_000)
    run_cell(page, 0)
    meter = page.locator(".meter")
    meter.wait_for(timeout=90_000)
    meter.locator("input[value='Q-K=V']").click()
    meter.locator("input[value='4']").click()
    box = page.get_by_role("spinbutton", name="Context")
    box.click()
    page.keyboard.press("Control+A")
    page.keyboard.type("1234")  # digits make headings in JupyterLab's command mode
    page.get_by_role("slider", name="Users").focus()
    page.keyboard.press("ArrowUp")  # would choose the cell above
    page.keyboard.press("d")
    page.keyboard.press("d")  # would delete the cell
    assert page.locator(".jp-CodeCell").count() == len(CELLS)
    assert page.get_by_role("spinbutton", name="Users").input_value() == "2"

    run_cell(page, 1)
    output = page.locator(".jp-CodeCell").nth(1).locator(".jp-OutputArea-output")
    output.get_by_text("Q-K=V 4 1234").wait_for(timeout=30_000)
    page.wait_for_function(
        "[...document.querySelectorAll('.jp-OutputArea-output *')].some((node) =>"
        " node.shadowRoot?.querySelectorAll('.layer').length === 50)"
    )
    # 50 layers × 1 tensor × 4 heads × 64 × 2 bytes × 1234 tokens × 2 users
    assert meter.locator(".total").inner_text() == "63.2 MB"


def test_ratings_reach_the_journal(lab: str, new_page: Callable[..., Any], tmp_path: Path) -> None:
    page = new_page(width=1300, height=1000)
    page.goto(lab)
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60_000)
    run_cell(page, 0)
    run_cell(page, 2)
    slider = page.get_by_role("slider", name="halves the KV cache")
    slider.wait_for(timeout=90_000)
    slider.focus()
    page.keyboard.press("Space")  # would scroll the notebook
    page.keyboard.press("ArrowUp")  # would choose the cell above
    assert page.get_by_text("1 of 7 rated", exact=True).is_visible()
    journal = tmp_path / "journal" / "journal.json"
    assert page.get_by_text(f"Kept in your journal, {journal}.").is_visible()
    run_cell(page, 3)
    output = page.locator(".jp-CodeCell").nth(3).locator(".jp-OutputArea-output")
    output.get_by_text("{'half-cache': 51} {'half-cache': 51}").wait_for(timeout=30_000)
    first = page.get_by_role("slider", name="Transformers with tied projections")
    page.wait_for_function("node => node.value === '7'", arg=first.element_handle())
    assert slider.get_attribute("aria-valuetext") == "not rated"
    assert json.loads(journal.read_text())["00-claims"]["value"] == {"on-par": 7}


def test_the_lab_computes_in_the_kernel(lab: str, new_page: Callable[..., Any]) -> None:
    page = new_page(width=1300, height=1000)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(lab)
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60_000)
    run_cell(page, 0)
    run_cell(page, 4)
    sheet = page.locator(".sheet.lab")
    tokens = sheet.locator(".tokens span")
    tokens.first.wait_for(timeout=90_000)
    sheet.get_by_text("50 % saved").wait_for()
    n = tokens.count()
    sheet.get_by_role("button", name="One token").click()
    sheet.get_by_text(f"bytes for {n + 1} tokens").wait_for()
    assert "ms a token" in sheet.locator(".facts").inner_text()
    sheet.locator("input[value='gpt/Q-MQA']").check(force=True)
    sheet.get_by_text("87.5 % saved").wait_for()
    strip = sheet.get_by_role("listbox")
    strip.focus()
    page.keyboard.press("Home")  # would go to the first cell
    assert sheet.locator(".told").inner_text().startswith("Token 1, ")
    run_cell(page, 5)
    output = page.locator(".jp-CodeCell").nth(5).locator(".jp-OutputArea-output")
    output.get_by_text("gpt/Q-MQA kernel").wait_for(timeout=30_000)
    run_cell(page, 6)
    second = page.locator(".sheet.lab").nth(1)
    second.get_by_text("bytes for 3 tokens").wait_for(timeout=60_000)
    second.get_by_role("button", name="One token").click()
    second.get_by_text("bytes for 4 tokens").wait_for()
    assert not [url for url in asked if "onnx" in url or "wasm" in url]
