"""What tests of widgets share: reading and changing the state of one on an open page."""

from __future__ import annotations

from typing import Any


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
