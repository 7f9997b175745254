"""The book's host script draws stored plotly figures: words, theme, narrow pages, failures."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest

from qkvlib.mystnb import figure_html

pytestmark = pytest.mark.browser

STATIC = Path(__file__).parents[2] / "book" / "_static"
ALT = "Two lines that fall from three to one as the step goes from one to three."

PAGE = """<!doctype html>
<html lang="en" data-theme="light"><head><meta charset="utf-8"><title>Figures</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>body {{ margin: 0 }} figure {{ margin: 0 }}
html[data-theme="dark"] body {{ background: #121212; color: #eee }}</style>
{scripts}<script defer src="qkv-host.js"></script>
</head><body><main><h1>Figures</h1>{body}</main></body></html>
"""


@pytest.fixture
def figures(tmp_path: Path, new_page: Callable[..., Any]) -> Callable[..., Any]:
    """Open a page with one figure, with plotly or without it."""

    def open_page(*, plotly: bool = True, legend: dict[str, Any] | None = None, **page: Any) -> Any:
        figure = go.Figure()
        figure.add_scatter(x=[1, 2, 3], y=[3, 2, 1], name="QKV (Q, K, V)")
        figure.add_scatter(x=[1, 2, 3], y=[3, 2.2, 1.2], name="Q-K=V (Q, K=V)")
        figure.update_layout(xaxis_title_text="step", meta={"alt": ALT}, height=380)
        if legend:
            figure.update_layout(legend=legend)
        scripts = ""
        shutil.copy(STATIC / "qkv-host.js", tmp_path)
        if plotly:
            shutil.copy(STATIC / "vendor" / "plotly" / "plotly-cartesian.min.js", tmp_path)
            scripts = '<script defer src="plotly-cartesian.min.js"></script>\n'
        body = figure_html(figure.to_plotly_json())
        path = tmp_path / "page.html"
        path.write_text(PAGE.format(scripts=scripts, body=body), encoding="utf-8")
        opened = new_page(**page)
        opened.goto(path.as_uri())
        opened.wait_for_selector(".qkv-plotly[data-state]")
        return opened

    return open_page


def box(page: Any, selector: str) -> dict[str, float]:
    found = page.locator(selector).first.bounding_box()
    assert found is not None
    return dict(found)


def test_a_figure_has_words_and_follows_the_theme(
    figures: Callable[..., Any], axe: Callable[..., list[str]]
) -> None:
    page = figures()
    assert page.get_by_role("img", name=ALT).count() == 1
    ink = "getComputedStyle(document.querySelector('.xtick text')).fill"
    colours = set()
    for theme in ("light", "dark"):
        page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
        page.wait_for_timeout(300)
        colours.add(page.evaluate(ink))
        assert axe(page) == []
    assert colours == {"rgb(28, 37, 48)", "rgb(230, 235, 241)"}


@pytest.mark.parametrize("width", [360, 1000])
def test_the_legend_lies_below_the_axis_title(figures: Callable[..., Any], width: int) -> None:
    page = figures(width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    title, legend = box(page, ".xtitle"), box(page, ".legend")
    assert legend["y"] >= title["y"] + title["height"] - 1
    assert legend["x"] + legend["width"] <= width


def test_a_legend_placed_by_the_figure_moves_on_a_phone_only(figures: Callable[..., Any]) -> None:
    page = figures(legend={"x": 1.02, "y": 1, "orientation": "v"}, width=1000)
    assert box(page, ".legend")["x"] > box(page, ".xtitle")["x"] + 200
    page.set_viewport_size({"width": 360, "height": 900})
    page.wait_for_function(
        "document.querySelector('.legend').getBoundingClientRect().top >"
        " document.querySelector('.xtitle').getBoundingClientRect().bottom - 1"
    )


def test_without_plotly_the_words_remain(figures: Callable[..., Any]) -> None:
    page = figures(plotly=False)
    assert "plotly did not load" in page.get_by_role("alert").inner_text()
    page.get_by_text("Figure in words").click()
    assert page.get_by_text(ALT).is_visible()
