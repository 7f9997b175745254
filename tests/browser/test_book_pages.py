"""The book in a real browser: accessible, self-contained, and alive from http and from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from built_book import page_names
from site_visit import Visit

pytestmark = pytest.mark.browser

PAGES = page_names()

# Rules of axe-core that may fail, with the reason. Empty: nothing is excused.
EXCUSED: dict[str, str] = {}

AXE = (Path(__file__).with_name("vendor") / "axe.min.js").read_text(encoding="utf-8")

# Violations only: listing what passes takes four times as long on a long page. Code is most of what
# a lesson consists of, and its words come in a dozen colours: a block is looked at if it brings a
# colour that no block before it has had. Another theme has other colours, and all else is the same.
CHECK = """async ([excused, rules]) => {
  const seen = new Set();
  const alike = [...document.querySelectorAll("div.highlight")].filter((block) => {
    const colours = [...block.querySelectorAll("span")].map((word) => word.className);
    const fresh = colours.filter((colour) => !seen.has(colour));
    fresh.forEach((colour) => seen.add(colour));
    return fresh.length === 0;
  });
  const runOnly = rules.length > 0 ? { runOnly: rules } : {};
  const { violations } = await axe.run(
    { exclude: alike }, { resultTypes: ["violations"], ...runOnly });
  return violations
    .filter((v) => ["serious", "critical"].includes(v.impact) && !excused.includes(v.id))
    .flatMap((v) => v.nodes.map((n) => `${v.id} at ${n.target}: ${n.failureSummary}`));
}"""

RULES_OF_COLOUR = ["color-contrast", "link-in-text-block"]

FIRST_LOAD_LIMIT = 1_500_000  # bytes, uncompressed, of the landing page and all it loads


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_accessible_and_keeps_to_itself(name: str, address: str, visit: Visit) -> None:
    page = visit.open(f"{address}{name}.html")
    page.evaluate(AXE)
    for theme, rules in (("light", []), ("dark", RULES_OF_COLOUR)):
        page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
        page.wait_for_timeout(50)  # style sheets may fade colours; axe must see the last frame
        found = page.evaluate(CHECK, [list(EXCUSED), rules])
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
