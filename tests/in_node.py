"""Scripts of the widgets, run by Node.js."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

LOADER = Path(__file__).parent / "widgets" / "load.mjs"


def find_node() -> str:
    """The path of node: on PATH, or the one that Playwright brings; without it the test skips, or
    fails where nothing may be skipped."""
    found = shutil.which("node")
    driver = importlib.util.find_spec("playwright")
    if found is None and driver is not None and driver.origin is not None:
        found = shutil.which("node", path=str(Path(driver.origin).parent / "driver"))
    if found is None:
        reason = (
            "no node: install Node.js 20 or later (Debian, Ubuntu: apt-get install nodejs), "
            "or pip install playwright, which brings one"
        )
        if os.environ.get("QKV_REQUIRE_BROWSER") == "1":
            pytest.fail(f"{reason} (QKV_REQUIRE_BROWSER=1 makes this a failure)", pytrace=False)
        pytest.skip(reason)
    return found


def in_page(name: str, script: str, data: Any) -> Any:
    """Evaluate an expression as the page would.

    Args:
        name: The widget, whose module the expression calls `view`.
        script: The expression.
        data: What it calls `data`.

    Returns:
        What it makes of it.
    """
    text = (
        f"import {{ load }} from {json.dumps(LOADER.as_uri())};"
        "import { readFileSync } from 'node:fs';"
        f"const view = await load({json.dumps(name)});"
        "const data = JSON.parse(readFileSync(0, 'utf8'));"
        f"console.log(JSON.stringify({script}))"
    )
    run = subprocess.run(
        [find_node(), "--input-type=module", "-e", text],
        input=json.dumps(data), capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    return json.loads(run.stdout)
