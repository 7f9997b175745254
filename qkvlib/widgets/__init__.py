"""Interactive figures that run with a kernel in JupyterLab and without one in the book.

A widget is one self-contained ES module (the anywidget protocol) beside a thin Python class. The
class holds JSON-able traits and nothing else, so the same state drives both places: a kernel sends
it over a comm, the book's host script reads it from the page.
"""

from __future__ import annotations

from qkvlib.widgets.base import CourseWidget, bundle_sources, show, static_html
from qkvlib.widgets.cache_meter import CacheMeter

__all__ = ["CacheMeter", "CourseWidget", "bundle_sources", "show", "static_html"]
