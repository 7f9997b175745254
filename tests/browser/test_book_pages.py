"""The book in a real browser: accessible, self-contained, and alive from http and from a file."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from built_book import built_book, page_names

pytestmark = pytest.mark.browser

PREFIX = "/some/sub/path/"
PAGES = page_names()

# Rules of axe-core that may fail, with the reason. Empty: nothing is excused.
EXCUSED: dict[str, str] = {}

AXE = (Path(__file__).with_name("vendor") / "axe.min.js").read_text(encoding="utf-8")

# Violations only: listing what passes takes four times as long on a long page. Code is most of what
# a lesson consists of, and its words come in a dozen colours: a block is looked at if it brings a
# colour that no block before it has had.
CHECK = """async (excused) => {
  const seen = new Set();
  const alike = [...document.querySelectorAll("div.highlight")].filter((block) => {
    const colours = [...block.querySelectorAll("span")].map((word) => word.className);
    const fresh = colours.filter((colour) => !seen.has(colour));
    fresh.forEach((colour) => seen.add(colour));
    return fresh.length === 0;
  });
  const { violations } = await axe.run({ exclude: alike }, { resultTypes: ["violations"] });
  return violations
    .filter((v) => ["serious", "critical"].includes(v.impact) && !excused.includes(v.id))
    .flatMap((v) => v.nodes.map((n) => `${v.id} at ${n.target}: ${n.failureSummary}`));
}"""

FIRST_LOAD_LIMIT = 1_500_000  # bytes, uncompressed, of the landing page and all it loads

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


@pytest.fixture(scope="module")
def visit(browser: Any) -> Iterator[Visit]:
    visit = Visit(browser)
    yield visit
    visit.context.close()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_accessible_and_keeps_to_itself(name: str, address: str, visit: Visit) -> None:
    page = visit.open(f"{address}{name}.html")
    page.evaluate(AXE)
    for theme in ("light", "dark"):
        page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
        page.wait_for_timeout(50)  # style sheets may fade colours; axe must see the last frame
        found = page.evaluate(CHECK, list(EXCUSED))
        assert not found, f"{theme}:\n" + "\n".join(found)
    for figure in page.query_selector_all("figure.qkv-plotly"):
        box = figure.query_selector("svg.main-svg").bounding_box()
        assert box["width"] > 200
        assert box["height"] > 100
        assert figure.query_selector("[role=img]").get_attribute("aria-label").strip()
    page.set_viewport_size({"width": 360, "height": 740})
    page.wait_for_timeout(50)
    too_wide = page.evaluate(
        "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    assert too_wide <= 0, f"{name} scrolls sideways by {too_wide} px at 360 px"
    assert visit.outside == []
    assert visit.errors == []


@pytest.mark.parametrize("name", [name for name in PAGES if name not in {"search", "404"}])
def test_a_page_works_from_a_file(name: str, site: Path, visit: Visit) -> None:
    page = visit.open((site / f"{name}.html").as_uri())
    assert page.locator("article h1").first.is_visible()
    assert all(w == "live" for w in page.evaluate(
        "() => [...document.querySelectorAll('.qkv-widget')].map((w) => w.dataset.state)"
    ))  # fmt: skip
    assert visit.outside == []
    assert visit.errors == []


@pytest.mark.parametrize("origin", ["http", "file"])
def test_search_finds_a_word_and_leads_to_it(
    origin: str, address: str, site: Path, visit: Visit
) -> None:
    start = address if origin == "http" else site.as_uri() + "/"
    page = visit.open(f"{start}index.html")
    page.keyboard.press("Control+k")
    page.locator("#pst-search-dialog input").fill("MQA")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?q=MQA*")
    results = page.locator("#search-results li a")
    results.first.wait_for()
    page.wait_for_function(
        "() => /found/.test(document.querySelector('#search-results .search-summary')?.textContent)"
    )
    targets = [link.get_attribute("href") for link in results.all()]
    assert any(target.startswith("book/glossary.html") for target in targets)
    page.locator("#search-results li a[href^='book/glossary.html']").first.click()
    page.wait_for_url("**/book/glossary.html**")
    assert page.locator("dt", has_text="MQA").first.is_visible()
    assert visit.outside == []
    assert visit.errors == []


@pytest.mark.parametrize("missing", ["nothing.html", "notebooks/gone/deep/page.html", "a%20b/c"])
def test_a_missing_page_is_met_with_a_readable_one(
    missing: str, address: str, visit: Visit
) -> None:
    answer = visit.page.goto(address + missing)
    assert answer.status == 404
    page = visit.page
    assert page.locator("article h1").inner_text() == "Page not found"
    assert page.evaluate(
        "() => [...document.styleSheets].some((s) => s.href?.includes('qkv.css') && s.cssRules[0])"
    ), "the page came without its style"
    page.locator("#page-not-found a").first.click()
    page.wait_for_url(f"{address}index.html")
    assert page.locator("article h1").first.inner_text().startswith("Do transformers need three")


def test_without_scripts_everything_still_reads(address: str, browser: Any) -> None:
    visit = Visit(browser, java_script_enabled=False)
    page = visit.page
    page.goto(f"{address}index.html")
    assert page.locator(".qkv-widget-fallback").is_visible()
    assert page.locator(".qkv-door").count() == 3
    page.goto(f"{address}no/such/page")
    assert page.locator("article h1").inner_text() == "Page not found"
    assert page.locator("#page-not-found noscript p").is_visible()
    visit.context.close()


def test_the_landing_page_is_light(address: str, browser: Any) -> None:
    visit = Visit(browser)
    sizes: dict[str, int] = {}
    visit.page.on("response", lambda answer: sizes.update({answer.url: len(answer.body())}))
    visit.open(f"{address}index.html")
    visit.page.wait_for_load_state("networkidle")
    names = " ".join(sizes)
    assert "plotly" not in names
    assert "mathjax" not in names
    assert sum(sizes.values()) < FIRST_LOAD_LIMIT, sizes
    visit.context.close()


def test_the_landing_pages_meter_answers_the_keyboard(address: str, visit: Visit) -> None:
    page = visit.open(f"{address}index.html")
    nothing = page.locator(".qkv-widget").get_by_text("nothing saved", exact=True)
    assert nothing.first.is_visible()
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("() => !!document.activeElement.closest('.qkv-widget')"):
            break
    else:
        pytest.fail("forty tab stops do not reach the meter")
    page.keyboard.press("ArrowRight")  # the first control is the sharing: QKV, Q=K-V, Q-K=V
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "() => document.querySelector('.qkv-widget').qkvModel.get('sharing') === 'Q-K=V'"
    )
    assert not nothing.first.is_visible()
    assert page.locator(".qkv-widget").get_by_text("50 %").first.is_visible()


def test_light_and_dark_can_be_chosen(address: str, visit: Visit) -> None:
    page = visit.open(f"{address}index.html")
    colour = "() => getComputedStyle(document.body).backgroundColor"
    page.locator("button.theme-switch-button").first.click()
    page.locator("button.theme-change-button[data-mode=dark]").first.click()
    dark = page.evaluate(colour)
    page.reload()
    assert page.evaluate(colour) == dark, "the choice is forgotten"
    page.locator("button.theme-switch-button").first.click()
    page.locator("button.theme-change-button[data-mode=light]").first.click()
    assert page.evaluate(colour) != dark
