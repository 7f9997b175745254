"""Sphinx settings of the book.

The source folder is the repository root, so that the landing page is the site's ``index.html`` and
lessons keep their place in ``notebooks/``; this file lives beside the pages it configures:

    sphinx-build -W --keep-going -b html -c book . book/_build/html

The build runs no notebook and opens no connection, and neither does the finished site.
"""

from __future__ import annotations

import json
import shutil
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

from qkvlib.lab import LabEngine
from qkvlib.records import write_atomically
from qkvlib.widgets import AttentionLab

ROOT = Path(__file__).resolve().parent.parent

project = "Do transformers need three projections?"
author = "the course's authors"
copyright = "the course's authors. Text: CC BY 4.0. Code: MIT"
release = metadata("qkvlib")["Version"]
language = "en"

extensions = [
    "myst_nb",
    "sphinx_external_toc",
    "sphinxcontrib.bibtex",
    "sphinx_copybutton",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "qkvlib.mystnb",  # {qkv-widget}, and the scripts of figures and widgets where they are needed
]

# Pages. Only what is named here is a page, and Sphinx walks into no other folder (.venv, data …).
include_patterns = ["index.md", "book/*.md", "notebooks/*.ipynb"]
exclude_patterns = [
    *sorted(p.name for p in ROOT.iterdir() if p.is_dir() and p.name not in {"book", "notebooks"}),
    "book/_build",
    "book/_static",
    "book/_templates",
    "notebooks/.*",
]
external_toc_path = str(ROOT / "book" / "_toc.yml")
use_multitoc_numbering = False
templates_path = ["_templates"]

# Lessons show the outputs stored in the notebook.
nb_execution_mode = "off"
nb_merge_streams = True
nb_ipywidgets_js: dict[str, dict[str, str]] = {}  # its default would load scripts from a CDN
nb_mime_priority_overrides = [("html", "application/vnd.plotly.v1+json", 0)]
myst_enable_extensions = ["amsmath", "attrs_block", "attrs_inline", "colon_fence", "deflist",
                          "dollarmath"]  # fmt: skip
myst_heading_anchors = 3
myst_heading_slug_func = "qkvlib.mystnb.heading_slug"  # the anchors that JupyterLab makes

# Formulas. MathJax is loaded on pages with a formula only. Its menu and speech explorer are off:
# they would fetch more files; the hidden MathML that screen readers use stays on.
mathjax_path = "vendor/mathjax/tex-svg.js"
mathjax3_config = {
    "options": {"enableMenu": False},
    "loader": {"load": []},
    "tex": {"packages": {"[-]": ["autoload", "require"]}},
}

bibtex_bibfiles = ["references.bib"]
bibtex_default_style = "plain"
bibtex_reference_style = "author_year"

autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_class_signature = "mixed"
autodoc_default_options = {"no-value": True}  # a table of dataclasses has no readable repr
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
python_display_short_literal_types = True

html_theme = "sphinx_book_theme"
html_title = project
html_favicon = "_static/favicon.svg"
html_static_path = ["_static"]
html_css_files = ["qkv.css"]
html_js_files = ["qkv-book.js"]
html_additional_pages = {"404": "404.html"}  # its links find their way under any sub-path
html_use_index = False
html_domain_indices = False
html_context = {"default_mode": "auto"}  # light or dark as the reader's system says
html_theme_options = {
    "use_download_button": False,  # lessons get their own link, see article-header-buttons.html
    "use_fullscreen_button": False,
    "navbar_persistent": [],  # no bar across the top: search is in the sidebar
    "footer_content_items": ["copyright"],
    "show_toc_level": 2,
    "toc_title": "On this page",
    "search_bar_text": "Search the book",
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
copybutton_exclude = ".linenos, .gp, .go"


def keep_first_line(
    app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Stop napoleon from reading "Words: more words" in an attribute's docstring as a type.

    It looks at the first line only, so an empty one before it does no harm and leaves the text be.
    """
    if what in {"attribute", "data", "property"} and lines:
        lines.insert(0, "")


def mend_html(
    app: Any, pagename: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    """Mend what screen readers would be told wrongly, where no setting or style sheet reaches.

    Entries of a bibliography are items of its list; docutils gives them a role of their own that
    has been retired. "Show code cell source" is the name of its button; myst-nb adds another.
    """
    body = context.get("body", "")
    body = body.replace('role="doc-biblioentry"', 'role="listitem"')
    context["body"] = body.replace('<summary aria-label="Toggle hidden content">', "<summary>")


def write_all(app: Any, env: Any) -> list[str]:
    """Write every page at every build: a new lesson changes the sidebar of all the others."""
    return sorted(env.all_docs)


LAB = ROOT / "data" / "lab"


def write_lab(lab: Path, target: Path) -> None:
    """Write what the Attention Lab loads once it is started.

    Args:
        lab: The folder of its models.
        target: The folder that gets them as ``models/``; the stored runs as ``stored.js``, a
            classic script, which also a page opened from ``file://`` may load, with the state that
            an ``<attention-lab>`` begins from; and what there is to know of the runtime as
            ``runtime.json``.
    """
    shutil.rmtree(target / "models", ignore_errors=True)
    only_here = shutil.ignore_patterns("stored.json", "README.md")
    shutil.copytree(lab, target / "models", ignore=only_here)
    stored = json.loads((lab / "stored.json").read_text(encoding="utf-8"))
    vendored = json.loads((ROOT / "book" / "vendor.json").read_text(encoding="utf-8"))["packages"]
    files = next(each["files"] for each in vendored if each["name"] == "onnxruntime-web")
    runtime = {
        role: {"file": Path(entry["target"]).name, **{k: entry[k] for k in ("bytes", "sha256")}}
        for entry in files
        for role, ending in (("script", ".mjs"), ("wasm", ".wasm"))
        if entry["target"].endswith(ending)
    }
    write_atomically(target / "runtime.json", json.dumps(runtime))
    stored["state"] = AttentionLab(LabEngine(folder=lab)).static_state()
    stored["runtime_bytes"] = sum(entry["bytes"] for entry in runtime.values())
    text = json.dumps(stored, ensure_ascii=False, separators=(",", ":"))
    write_atomically(target / "stored.js", f"window.QKV_LAB_STORED = {text};\n")


def carry_lab(app: Any) -> None:
    """Carry the lab into the site, where it has been made."""
    if app.builder.format == "html" and (LAB / "manifest.json").is_file():
        write_lab(LAB, Path(app.outdir) / "_static" / "lab")


def setup(app: Any) -> None:
    """Connect what cannot be said by a setting."""
    app.connect("builder-inited", carry_lab)
    app.connect("autodoc-process-docstring", keep_first_line, priority=400)
    app.connect("html-page-context", mend_html)
    app.connect("env-updated", write_all)
