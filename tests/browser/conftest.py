"""One Chromium for all browser tests, with a reason that helps where there is none."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any, NoReturn

import pytest

from qkvlib.widgets import CourseWidget, bundle_sources, static_html

from built_book import built_book
from site_visit import PREFIX, Host, Visit

HOST = Path(__file__).parents[2] / "book" / "_static" / "qkv-host.js"

VENDOR = Path(__file__).with_name("vendor")

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def _missing(reason: str) -> NoReturn:
    if os.environ.get("QKV_REQUIRE_BROWSER") == "1":
        pytest.fail(f"{reason} (QKV_REQUIRE_BROWSER=1 makes this a failure)", pytrace=False)
    pytest.skip(reason)


def find_chromium() -> str | None:
    """The path in QKV_CHROMIUM, or the first Chromium or Chrome on PATH."""
    chosen = os.environ.get("QKV_CHROMIUM")
    if chosen:
        return chosen if Path(chosen).exists() else None
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((path for path in map(shutil.which, names) if path), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A running Chromium (a Playwright ``Browser``), shared by the session."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _missing("no playwright: pip install playwright (it is in the extra 'test')")
    path = find_chromium()
    if path is None:
        chosen = os.environ.get("QKV_CHROMIUM")
        _missing(
            f"QKV_CHROMIUM={chosen} does not exist"
            if chosen
            else "no Chromium: install one (Debian, Ubuntu: apt-get install chromium; Fedora: dnf "
            "install chromium; macOS: brew install --cask chromium), or set QKV_CHROMIUM to the "
            "path of a Chromium or Chrome"
        )
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def new_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Make pages: ``new_page(width=360, dark=True)``; an uncaught script error fails the test.

    Keyword arguments other than ``width``, ``height`` and ``dark`` go to ``browser.new_context``.
    Motion is reduced, so that what is measured stands still.
    """
    contexts: list[Any] = []
    errors: list[str] = []

    def make(*, width: int = 1000, height: int = 900, dark: bool = False, **options: Any) -> Any:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
            **options,
        )
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        return page

    yield make
    for context in contexts:
        context.close()
    assert not errors, f"the page threw: {errors}"


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Widgets</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>body {{ margin: 0 }}
html[data-theme="dark"] body {{ background: #121212; color: #eee }}</style>
<script>{before}</script>
<script defer src="widgets.js"></script><script defer src="host.js"></script>
</head><body><main><h1>Widgets</h1><h2>One</h2>{body}{after}</main></body></html>
"""


@pytest.fixture
def widget_page(tmp_path: Path, new_page: Callable[..., Any]) -> Callable[..., Any]:
    """Open a page with widgets from ``file://``, as the book's are, and wait until they live.

    ``before`` is a script that runs first, ``after`` what stands below the widgets, ``bundle``
    other JavaScript than the widgets' own, ``listen`` is given the page before it opens. The other
    keyword arguments are those of ``new_page``.
    """

    def open_page(
        *widgets: CourseWidget,
        before: str = "",
        after: str = "",
        bundle: str | None = None,
        listen: Callable[[Any], object] | None = None,
        **options: Any,
    ) -> Any:
        body = "".join(map(static_html, widgets))
        files = {
            "page.html": PAGE.format(before=before, body=body, after=after),
            "widgets.js": bundle or bundle_sources(),
            "host.js": HOST.read_text(encoding="utf-8"),
        }
        for name, text in files.items():
            (tmp_path / name).write_text(text, encoding="utf-8")
        page = new_page(**options)
        if listen is not None:
            listen(page)
        page.goto((tmp_path / "page.html").as_uri())
        found = "[...document.querySelectorAll('.qkv-widget')]"
        page.wait_for_function(f"{found}.every(w => w.dataset.state)")
        if bundle is None:
            states = page.evaluate(f"{found}.map(w => w.dataset.state)")
            assert states == ["live"] * len(widgets)
        return page

    return open_page


@pytest.fixture(scope="session")
def axe() -> Callable[..., list[str]]:
    """Run axe-core on a page and return its serious and critical violations, one line each."""
    script = (VENDOR / "axe.min.js").read_text(encoding="utf-8")

    def run(page: Any, selector: str | None = None) -> list[str]:
        page.evaluate(script)
        found = page.evaluate(
            "selector => axe.run(selector ?? document, { resultTypes: ['violations'] })", selector
        )
        return [
            f"{violation['id']} ({violation['impact']}) at {node['target']}: "
            f"{node['failureSummary']}"
            for violation in found["violations"]
            if violation["impact"] in ("serious", "critical")
            for node in violation["nodes"]
        ]

    return run


@pytest.fixture(scope="session")
def site() -> Path:
    return built_book()


@pytest.fixture(scope="session")
def address(site: Path) -> Iterator[str]:
    """Where the site is served, under a sub-path."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Host, directory=str(site)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}{PREFIX}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def visit(browser: Any) -> Iterator[Visit]:
    visit = Visit(browser)
    yield visit
    visit.context.close()
