"""What the book needs from the library: figures and widgets that work without a server.

Used by Sphinx only, in two ways. As a ``myst_nb.mime_renderers`` entry point,
:class:`PlotlyRenderer` turns a notebook's stored plotly figures into plain HTML. As a Sphinx
extension (:func:`setup`) this module adds the ``{qkv-widget}`` directive and gives each page
exactly the scripts it uses: plotly (1.5 MB) where there is a figure, a widget where there is that
widget, and neither on other pages.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import yaml
from docutils import nodes
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective
from traitlets import TraitError

from qkvlib.records import write_atomically
from qkvlib.sharing import unknown_name

if TYPE_CHECKING:
    from myst_nb.core.render import MimeData, NbElementRenderer
    from sphinx.application import Sphinx

__all__ = ["PlotlyRenderer", "figure_html", "heading_slug", "setup", "widget_html", "widgets_on"]

PLOTLY_MIME = "application/vnd.plotly.v1+json"
PLOTLY_SCRIPT = "vendor/plotly/plotly-cartesian.min.js"
WIDGETS_FOLDER = "widgets"
"""Folder of ``_static`` with a script for each widget."""

HOST_SCRIPT = "qkv-host.js"
FIGURE_CLASS = "qkv-plotly"
WIDGET_CLASS = "qkv-widget"
LAB_ELEMENT = "<attention-lab"
NO_ALT = "A figure without a description."


def figure_html(figure: dict[str, Any]) -> str:
    """Write a plotly figure as HTML that the book's host script can draw.

    The figure's text alternative is read from ``layout.meta.alt``, where :mod:`qkvlib.plots` puts
    it. It names the drawing for screen readers, opens below it for everyone, and stands in for it
    where scripts do not run.

    Args:
        figure: The figure as plotly's JSON: ``data``, ``layout`` and perhaps ``config``.

    Returns:
        One ``<figure>`` element.
    """
    meta = figure.get("layout", {}).get("meta")
    alt = str(meta.get("alt") or "") if isinstance(meta, dict) else ""
    alt = " ".join((alt or NO_ALT).split())
    # Inside <script>, only "<" could end the element or open a comment; JSON may spell it \u003c.
    data = json.dumps(figure, separators=(",", ":"), sort_keys=True).replace("<", "\\u003c")
    return (
        f'<figure class="{FIGURE_CLASS}">'
        f'<div class="{FIGURE_CLASS}-plot" role="img" aria-label="{escape(alt)}"></div>'
        f'<script type="application/json">{data}</script>'
        "<noscript><p>This figure is drawn by JavaScript, which is switched off. "
        "Its description follows.</p></noscript>"
        "<figcaption><details><summary>Figure in words</summary>"
        f"<p>{escape(alt)}</p></details></figcaption>"
        "</figure>"
    )


class PlotlyRenderer:
    """Renderer of stored plotly figures for myst-nb (entry point ``plotly``)."""

    #: Builder, MIME type, priority: before ``text/html``, which would carry its own plotly.
    mime_priority_overrides: ClassVar[Sequence[tuple[str, str, int | None]]] = (
        ("html", PLOTLY_MIME, 0),
    )

    @staticmethod
    def handle_mime(
        renderer: NbElementRenderer, data: MimeData, inline: bool
    ) -> list[nodes.Element] | None:
        """Turn one output into document nodes.

        Args:
            renderer: myst-nb's renderer; unused, the scripts are added per page by :func:`setup`.
            data: The output: its MIME type and content.
            inline: True inside a line of text, where a figure has no place.

        Returns:
            The nodes, or None to leave the output to others.
        """
        if inline or data.mime_type != PLOTLY_MIME:
            return None
        figure = json.loads(data.content) if isinstance(data.content, str) else data.content
        return [nodes.raw(text=figure_html(figure), format="html", classes=["output"])]


def widget_html(name: str, traits: dict[str, Any]) -> str:
    """Make the static mount point of a widget, the same as in a notebook's stored output.

    Args:
        name: A widget class of :mod:`qkvlib`, for example ``"CacheMeter"``.
        traits: Its initial traits.

    Returns:
        HTML that the book's host script brings to life.

    Raises:
        UnknownNameError: If there is no such widget; the message offers the nearest.
    """
    from qkvlib import widgets

    classes = {
        key: value
        for key, value in vars(widgets).items()
        if isinstance(value, type)
        and issubclass(value, widgets.CourseWidget)
        and value is not widgets.CourseWidget
    }
    if name not in classes:
        raise unknown_name("widget", name, sorted(classes))
    return widgets.static_html(classes[name](**traits))


def heading_slug(title: str) -> str:
    """Make a heading's anchor as JupyterLab does, so that a lesson's links work in both.

    Args:
        title: The heading's text.

    Returns:
        The text with hyphens for spaces, case kept: ``#What-changes``.
    """
    return title.strip().replace(" ", "-")


class WidgetDirective(SphinxDirective):
    """``{qkv-widget} CacheMeter``, with the widget's traits as YAML in the body."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Make the mount point, or say on the build's log what is wrong with it."""
        traits = yaml.safe_load("\n".join(self.content)) or {}
        if not isinstance(traits, dict):
            raise self.error("The body of {qkv-widget} must be YAML, one `trait: value` a line.")
        try:
            html = widget_html(self.arguments[0], traits)
        except (ValueError, TraitError) as error:
            raise self.error(str(error)) from error
        return [nodes.raw(text=html, format="html")]


def widgets_on(body: str) -> list[str]:
    """Name the widgets that a page has, in alphabetical order.

    Args:
        body: The page's HTML.
    """
    found = set(re.findall(rf'class="{WIDGET_CLASS}" data-widget="(\w+)"', body))
    return sorted(found | ({"attention_lab"} if LAB_ELEMENT in body else set()))


def _add_page_scripts(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Give a page the scripts that its content uses, and no others."""
    body = context.get("body", "")
    figures = f'class="{FIGURE_CLASS}"' in body
    widgets = widgets_on(body)
    if figures:
        app.add_js_file(PLOTLY_SCRIPT, loading_method="defer", priority=800)
    for name in widgets:
        app.add_js_file(f"{WIDGETS_FOLDER}/{name}.js", loading_method="defer", priority=810)
    if figures or widgets:
        app.add_js_file(HOST_SCRIPT, loading_method="defer", priority=820)


def _write_widget_scripts(app: Sphinx) -> None:
    """Write each widget as a classic script into the site, before pages refer to it."""
    if app.builder.format != "html":
        return
    from qkvlib.widgets.base import bundle_sources, module_names

    folder = Path(app.outdir) / "_static" / WIDGETS_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for name in module_names():
        write_atomically(folder / f"{name}.js", bundle_sources([name]))
    folders = [Path(app.confdir) / path for path in app.config.html_static_path]
    if not any((folder / HOST_SCRIPT).is_file() for folder in folders):
        raise ExtensionError(f"{HOST_SCRIPT} is in none of html_static_path.")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive and the page scripts with Sphinx.

    Args:
        app: The Sphinx application.

    Returns:
        What Sphinx wants to know about an extension.
    """
    app.add_directive("qkv-widget", WidgetDirective)
    app.connect("builder-inited", _write_widget_scripts)
    app.connect("html-page-context", _add_page_scripts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
