"""Visits to the built site: a host under a sub-path, and a tab that notes what a page does."""

from __future__ import annotations

from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

PREFIX = "/some/sub/path/"

READY = """() => {
  const live = [...document.querySelectorAll(".qkv-widget")].every((w) => w.dataset.state);
  const drawn = [...document.querySelectorAll(".qkv-plotly-plot")].every(
    (p) => p.querySelector("svg.main-svg"));
  const formulas = document.querySelectorAll(".math").length;
  const set = document.querySelectorAll("mjx-container").length >= formulas;
  return live && drawn && set;
}"""


class Host(SimpleHTTPRequestHandler):
    """A static host that serves the site under a prefix and its 404 page for the rest."""

    def translate_path(self, path: str) -> str:
        path = urlsplit(path).path
        if not path.startswith(PREFIX):
            return str(Path(self.directory) / "no such file")
        return super().translate_path("/" + path.removeprefix(PREFIX))

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        if code != HTTPStatus.NOT_FOUND:
            super().send_error(code, message, explain)
            return
        body = (Path(self.directory) / "404.html").read_bytes()
        self.send_response(code)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep pytest's output quiet."""


class Visit:
    """A browser tab that notes what a page asks for and complains about."""

    def __init__(self, browser: Any, **options: Any) -> None:
        self.context = browser.new_context(
            viewport={"width": 1280, "height": 900},
            color_scheme="light",
            reduced_motion="reduce",
            **options,
        )
        self.page = self.context.new_page()
        self.outside: list[str] = []
        self.errors: list[str] = []
        self.sizes: dict[str, int] = {}
        self.context.route("**/*", self._filter)
        self.page.on("request", self._note)
        self.page.on("pageerror", lambda error: self.errors.append(f"thrown: {error}"))
        self.page.on("console", self._console)

    @staticmethod
    def _is_outside(url: str) -> bool:
        parts = urlsplit(url)
        return parts.scheme not in {"file", "data", "blob", "about"} and (
            parts.hostname != "127.0.0.1"
        )

    def _filter(self, route: Any) -> None:
        if self._is_outside(route.request.url):
            route.abort()
        else:
            route.continue_()

    def _note(self, request: Any) -> None:
        if self._is_outside(request.url):
            self.outside.append(request.url)

    def _console(self, message: Any) -> None:
        if message.type == "error":
            self.errors.append(f"{message.text} ({message.location.get('url')})")

    def open(self, url: str) -> Any:
        """Go to a page, wait until everything on it is drawn; notes start afresh."""
        self.outside.clear()
        self.errors.clear()
        self.page.set_viewport_size({"width": 1280, "height": 900})
        self.page.goto(url)
        self.page.wait_for_function(READY)
        return self.page
