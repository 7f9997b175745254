"""What tests of widgets share: the state of one on an open page, how it fits, what it refuses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import traitlets

from qkvlib.widgets import CourseWidget


def trait(page: Any, name: str, index: int = 0) -> Any:
    """Return a value of a widget's state."""
    return page.evaluate(
        "([i, name]) => document.querySelectorAll('.qkv-widget')[i].qkvModel.get(name)",
        [index, name],
    )


def put(page: Any, index: int = 0, **changes: Any) -> None:
    """Change a widget's state, as a kernel would."""
    page.evaluate(
        """([i, changes]) => {
            const model = document.querySelectorAll('.qkv-widget')[i].qkvModel;
            for (const [name, value] of Object.entries(changes)) model.set(name, value);
        }""",
        [index, changes],
    )


def in_both_themes(page: Any, axe: Callable[..., list[str]]) -> None:
    """Demand that the only widget of a page is accessible in the light and in the dark."""
    for theme in ("light", "dark"):
        page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
        page.wait_for_selector(f".sheet[data-theme={theme}]")
        assert axe(page, ".qkv-widget") == []


def fits(page: Any, width: int, *, beside: str = ".quiet") -> None:
    """Demand that nothing of a widget is wider than the page.

    ``beside`` is a selector of what may be: what only screen readers read, or scrolls by itself.
    """
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wide = page.locator(".sheet *").evaluate_all(
        "(nodes, beside) => nodes.filter((n) => !n.closest(beside)"
        " && n.getBoundingClientRect().right > innerWidth + 0.5)"
        ".map((n) => n.outerHTML.slice(0, 80))",
        beside,
    )
    assert wide == []


def refuses(widget: CourseWidget, change: dict[str, Any], words: Sequence[str]) -> None:
    """Demand that a change is refused with these words, and that nothing changes."""
    before = widget.state()
    with pytest.raises(traitlets.TraitError) as caught:
        widget.update(**change)
    for word in words:
        assert word in str(caught.value)
    assert widget.state() == before
