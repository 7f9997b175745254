"""What every widget of the course shares: state, the static mount point, the bundle."""

from __future__ import annotations

import html
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Final

import anywidget
import traitlets
from IPython import get_ipython
from IPython.display import display

from qkvlib.sharing import unknown_name

STATIC_VARIABLE: Final = "QKV_STATIC"
"""Environment variable: ``1`` makes :func:`show` write HTML instead of a live widget."""

_HERE = Path(__file__).parent


def is_static() -> bool:
    """Whether outputs are being stored, so that they must be the same on every machine."""
    return os.environ.get(STATIC_VARIABLE) == "1"


def module_source(name: str) -> str:
    """Read a widget's ES module, self-contained: what all widgets share stands in front of it.

    A module that is long has parts of its own, which it names in lines ``// needs: _stem``.

    Args:
        name: Stem of the module, for example ``"cache_meter"``.
    """
    module = (_HERE / f"{name}.js").read_text(encoding="utf-8")
    needs = re.findall(r"^// needs: (\w+)$", module, re.MULTILINE)
    parts = [(_HERE / f"{stem}.js").read_text(encoding="utf-8") for stem in ("_shared", *needs)]
    return "\n".join([*parts, module])


class Whole(traitlets.Int[int, int]):
    """A whole number; traitlets alone would let ``True`` pass for 1."""

    def validate(self, obj: Any, value: Any) -> int:
        if isinstance(value, bool):
            self.error(obj, value)
        return super().validate(obj, value)


class CourseWidget(anywidget.AnyWidget):
    """Base class of the course's widgets: JSON-able traits, and a way to be shown without a kernel.

    A subclass sets ``name`` (the stem of the ES module beside it) and ``_esm`` (that module's
    :func:`module_source`), declares its traits with ``sync=True``, and writes :meth:`describe` and
    :meth:`fallback_html`.

    Attributes:
        name: Stem of the ES module; also ``data-widget`` in the static mount point.
    """

    name: ClassVar[str]

    def __init__(self, **state: Any) -> None:
        known = type(self).state_names()
        for key in state:
            # Traitlets only warns about a misspelt keyword; a reader would never see why the
            # widget ignored it.
            if key not in known and not type(self).class_traits().get(key):
                raise unknown_name(f"field of {type(self).__name__}", key, known)
        super().__init__(**state)

    def open(self) -> None:
        """Open the comm to the front end, unless outputs are being stored.

        A stored notebook would otherwise carry the widget's state under a random model id.
        """
        if not is_static():
            super().open()

    @classmethod
    def state_names(cls) -> list[str]:
        """Names of the traits that make up the state, in alphabetical order."""
        own = set(cls.class_trait_names(sync=True)) - set(anywidget.AnyWidget.class_trait_names())
        # anywidget adds the module's source as a trait of its own, with an underscore.
        return sorted(name for name in own if not name.startswith("_"))

    def state(self) -> dict[str, Any]:
        """Return the synced traits as JSON can hold them: all that the view needs to draw."""
        return {key: getattr(self, key) for key in self.state_names()}

    def static_state(self) -> dict[str, Any]:
        """Return the state that a page without a kernel starts from; the whole of it unless told.

        A widget that holds what is the learner's own leaves that out: pages are read by others.
        """
        return self.state()

    def update(self, **changes: Any) -> None:
        """Change several traits at once, checked together and sent together.

        Use it where one change alone would not fit, such as ``n_heads`` and ``n_kv_heads``.

        Args:
            **changes: Traits and their new values.

        Raises:
            ValueError: If a trait does not exist; the message offers the nearest.
            traitlets.TraitError: If the values do not fit together; nothing is changed then.
        """
        names = self.state_names()
        for key in changes:
            if key not in names:
                raise unknown_name(f"field of {type(self).__name__}", key, names)
        with self.hold_sync(), self.hold_trait_notifications():
            for key, value in changes.items():
                setattr(self, key, value)

    def describe(self) -> str:
        """Return what the widget shows, in a line or two of plain text."""
        raise NotImplementedError(f"{type(self).__name__} must say in words what it shows")

    def fallback_html(self) -> str:
        """Return HTML that says the same where no script runs."""
        return f"<p>{html.escape(self.describe())}</p>"


def facts_text(title: str, facts: Iterable[tuple[str, str]]) -> str:
    """Write what a widget shows as lines of plain text, under a title.

    Args:
        title: What the widget is about.
        facts: Labels and values, in order.
    """
    return "\n".join([title, *(f"  {label}: {value}" for label, value in facts)])


def facts_html(title: str, facts: Iterable[tuple[str, str]]) -> str:
    """Write the same as a table.

    Args:
        title: What the widget is about.
        facts: Labels and values, in order.
    """
    rows = "".join(
        f'<tr><th scope="row">{html.escape(label)}</th><td>{html.escape(value)}</td></tr>'
        for label, value in facts
    )
    return f"<table><caption>{html.escape(title)}</caption><tbody>{rows}</tbody></table>"


def where_it_lives(what: str) -> str:
    """Say where a widget is more than what is written in its place.

    Args:
        what: What can be done there, for example ``"The points can be moved"``.
    """
    return (
        f"<p>{html.escape(what)} where scripts run: on the course's site, or by running this cell "
        "in a notebook.</p>"
    )


def static_html(widget: CourseWidget) -> str:
    """Write a widget as HTML that needs no kernel: its state, and what to read without a script.

    The book's host script turns it into the live widget. The text depends on the state only.

    Args:
        widget: Any widget of the course.

    Returns:
        One ``<div class="qkv-widget">`` with the state as JSON and a readable fallback.
    """
    state = json.dumps(
        widget.static_state(), sort_keys=True, ensure_ascii=False, separators=(",", ":")
    )
    # Only "<" could end the script element early; JSON reads its escape as the same character.
    state = state.replace("<", "\\u003c")
    name = html.escape(widget.name)
    return (
        f'<div class="qkv-widget" data-widget="{name}">'
        f'<script type="application/json">{state}</script>'
        f'<div class="qkv-widget-fallback">{widget.fallback_html()}</div>'
        "</div>"
    )


def show(widget: CourseWidget) -> None:
    """Show a widget: live in a notebook, as HTML where outputs are stored, as text elsewhere.

    With the environment variable ``QKV_STATIC=1`` the output is the deterministic HTML of
    :func:`static_html`, which the book brings to life without a kernel.

    Args:
        widget: Any widget of the course, for example ``CacheMeter()``.

    Raises:
        TypeError: If it is not a widget of the course.
    """
    if not isinstance(widget, CourseWidget):
        raise TypeError(
            f"show() was given a {type(widget).__name__}; it shows widgets of the course, for "
            "example show(CacheMeter()). Other objects display themselves as a cell's last line."
        )
    if get_ipython() is None:
        print(widget.describe())
    elif is_static():
        display(  # type: ignore[no-untyped-call]
            {"text/html": static_html(widget), "text/plain": widget.describe()},
            raw=True,
        )
    else:
        display(widget)  # type: ignore[no-untyped-call]


def module_names() -> list[str]:
    """Return the stems of all widgets' ES modules, in alphabetical order."""
    return sorted(path.stem for path in _HERE.glob("*.js") if not path.stem.startswith("_"))


def bundle_sources(names: Iterable[str] | None = None) -> str:
    """Write widgets' ES modules into a classic script, for pages opened from ``file://``.

    Module scripts and ``fetch`` do not work there; a classic script does.

    Args:
        names: Stems of the modules; all of them unless told.

    Returns:
        JavaScript that adds to ``window.QKV_WIDGETS``, which is ``{name: source}``.
    """
    sources = {name: module_source(name) for name in (module_names() if names is None else names)}
    # Escaped, so that the text is safe inside an inline script element as well.
    text = json.dumps(sources, ensure_ascii=False, indent=0).replace("<", "\\u003c")
    return f"window.QKV_WIDGETS = Object.assign(window.QKV_WIDGETS ?? {{}}, {text});\n"
