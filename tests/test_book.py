"""The book without a browser: its settings, vendored files, links, and what its pages load."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote, urlsplit

import plotly.offline
import pytest
import torch
import yaml
from myst_nb.core.render import get_mime_priority
from pybtex.database import parse_file
from sphinx.util.matching import get_matching_files

import qkvlib
from qkvlib import SHARINGS, UnknownNameError, bytes_per_token, get_config, parse_variant, saved
from qkvlib.cli import main
from qkvlib.mystnb import PLOTLY_MIME, PLOTLY_SCRIPT, figure_html, widget_html, widgets_on

from built_book import ROOT, built_book, page_names


def load(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


vendor = load("qkv_vendor", ROOT / "scripts" / "vendor.py")
conf = load("qkv_book_conf", ROOT / "book" / "conf.py")


# ------------------------------------------------------------------------------------ settings


def test_pages_are_what_is_meant_and_nothing_else() -> None:
    found = set(get_matching_files(ROOT, conf.include_patterns, conf.exclude_patterns))
    expected = {"index.md"}
    expected |= {p.relative_to(ROOT).as_posix() for p in (ROOT / "book").glob("*.md")}
    expected |= {p.relative_to(ROOT).as_posix() for p in (ROOT / "notebooks").glob("*.ipynb")}
    assert found == expected


def test_sphinx_walks_into_no_other_folder() -> None:
    # The test runner may make its caches after conf has looked.
    late = {".hypothesis", ".pytest_cache"}
    folders = {p.name for p in ROOT.iterdir() if p.is_dir()} - {"book", "notebooks"} - late
    assert folders <= set(conf.exclude_patterns)
    assert "qkvlib" in folders


def test_every_page_is_in_the_contents_once() -> None:
    toc = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text(encoding="utf-8"))
    listed = [entry["file"] for part in toc["subtrees"] for entry in part["entries"]]
    made = [name for name in page_names() if name not in {"index", "search", "404"}]
    assert sorted(listed) == sorted(made)


def test_figures_are_preferred_to_their_html_copies() -> None:
    order = get_mime_priority("html", conf.nb_mime_priority_overrides)
    assert order.index(PLOTLY_MIME) < order.index("text/html")


def test_the_bibliography_is_complete() -> None:
    entries = parse_file(ROOT / "book" / "references.bib").entries
    assert "kayyam2026" in entries
    for key, entry in entries.items():
        assert {"title", "year"} <= set(entry.fields), key
        assert entry.persons["author"], key
        if "eprint" in entry.fields:
            assert re.fullmatch(r"\d{4}\.\d{4,5}", entry.fields["eprint"]), key


# ------------------------------------------------------------------------- what pages say is so


def test_the_landing_page_names_the_sharings_as_the_library_does() -> None:
    text = (ROOT / "index.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(.+?)` \| `(.+?)` \| (\d) \| (.+?) \|$", text, re.M)
    assert [row[0] for row in rows] == list(SHARINGS)
    for name, tuple_form, projections, kept in rows:
        sharing = SHARINGS[name]
        assert tuple_form == sharing.tuple_form
        assert int(projections) == len(sharing.projections)
        assert kept.startswith(" and ".join(role.upper() for role in sharing.cached))
        assert ("half" in kept) == (len(sharing.cached) == 1)


@pytest.mark.parametrize(
    ("variant", "percent"),
    [("Q-K=V", "50"), ("Q-MQA", "96.9"), ("Q-GQA-4", "87.5"), ("MQA", "93.8")],
)
def test_savings_in_the_prose_follow_from_the_configuration(variant: str, percent: str) -> None:
    chosen = parse_variant(variant)
    config = get_config("300M")
    config = config.replace(
        sharing=chosen.sharing.name, n_kv_heads=chosen.n_kv_heads or config.n_heads
    )
    assert f"{100 * saved(config):.3g}" == percent


def test_the_worked_example_of_the_notation_page() -> None:
    text = (ROOT / "book" / "notation.md").read_text(encoding="utf-8")
    count = bytes_per_token(get_config("300M"), torch.float16)
    assert f"{count:,} bytes" in text
    assert f"{count / 1000:.2f} kB or {count / 1024:.0f} KiB" in text


def test_the_teaching_guide_gives_the_lessons_own_times() -> None:
    guide = (ROOT / "book" / "teaching.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"\(\.\./notebooks/(\w+)\.ipynb\) \| (\d+ minutes) \|", guide))
    lessons = sorted((ROOT / "notebooks").glob("*.md"))
    assert sorted(told) == [lesson.stem for lesson in lessons]
    for lesson in lessons:
        assert f"**Time:** {told[lesson.stem]}" in lesson.read_text(encoding="utf-8"), lesson.name


def test_every_public_name_is_in_the_reference() -> None:
    found = {
        name.rpartition(".")[2]
        for reference in PAGES
        if reference.startswith("book/api")
        for name in page(reference).ids
        if name.startswith(("qkvlib.", "module-qkvlib."))
    }
    missing = sorted(set(qkvlib.__all__) - found)
    assert not missing, f"no docstring, or no entry in book/api_*.md: {', '.join(missing)}"


def test_the_reference_lists_the_commands_that_exist() -> None:
    text = (ROOT / "book" / "api.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `qkv (\w+)` \|", text, re.M)) == set(main.commands)


# -------------------------------------------------------------------------------- vendored files


def test_vendored_files_are_unaltered() -> None:
    assert vendor.check(vendor.read_manifest()) == []


def test_every_vendored_file_has_its_licence_beside_it() -> None:
    for package in vendor.read_manifest()["packages"]:
        folders = {(ROOT / entry["target"]).parent for entry in package["files"]}
        assert all((folder / "LICENSE").is_file() for folder in folders), package["name"]
        assert package["licence"], package["name"]


def test_nothing_unlisted_lies_among_the_vendored_files() -> None:
    listed = {e["target"] for p in vendor.read_manifest()["packages"] for e in p["files"]}
    folders = (ROOT / "book" / "_static" / "vendor", ROOT / "tests" / "browser" / "vendor")
    found = {
        path.relative_to(ROOT).as_posix()
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file()
    }
    assert found == listed


def test_an_altered_or_missing_file_is_noticed(tmp_path: Path) -> None:
    manifest = vendor.read_manifest()
    manifest["packages"] = [p for p in manifest["packages"] if p["name"].startswith("plotly")]
    script, licence = manifest["packages"][0]["files"]
    for entry in (script, licence):
        (tmp_path / entry["target"]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / entry["target"], tmp_path / entry["target"])
    assert vendor.check(manifest, tmp_path) == []
    with (tmp_path / script["target"]).open("ab") as file:
        file.write(b" ")
    (tmp_path / licence["target"]).unlink()
    first, second = vendor.check(manifest, tmp_path)
    assert script["target"] in first
    assert "sha256" in first
    assert second == f"{licence['target']}: missing"


def test_a_fetched_file_with_another_sum_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = vendor.read_manifest()
    manifest["packages"] = manifest["packages"][:1]
    monkeypatch.setattr(
        vendor, "fetch", lambda package: {e["source"]: b"?" for e in package["files"]}
    )
    with pytest.raises(vendor.VendorError, match="--accept"):
        vendor.update(manifest, tmp_path)
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_a_file_that_no_package_has_is_checked_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = vendor.read_manifest()
    (package,) = (p for p in manifest["packages"] if p["name"] == "onnxruntime-web")
    manifest["packages"] = [package]
    by_hand = [entry for entry in package["files"] if entry["source"] is None]
    assert {Path(entry["target"]).name for entry in by_hand} == {"LICENSE", "ThirdPartyNotices.txt"}
    fetched = {e["source"]: b"?" for e in package["files"] if e["source"] is not None}
    monkeypatch.setattr(vendor, "fetch", lambda package: fetched)
    with pytest.raises(vendor.VendorError, match=r"no package has it.*git checkout"):
        vendor.update(manifest, tmp_path, accept=True)
    for entry in by_hand:
        path = tmp_path / entry["target"]
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / entry["target"], path)
    sums = [entry["sha256"] for entry in by_hand]
    written = vendor.update(manifest, tmp_path, accept=True)
    assert len(written) == len(fetched)
    assert [entry["sha256"] for entry in by_hand] == sums
    assert vendor.check(manifest, tmp_path) == []


def test_plotly_in_the_page_reads_what_plotly_in_python_writes() -> None:
    versions = {p["name"]: p["version"] for p in vendor.read_manifest()["packages"]}
    carried = versions["plotly.js-cartesian-dist-min"]
    assert carried.split(".")[0] == plotly.offline.get_plotlyjs_version().split(".")[0]


# --------------------------------------------------------------------------- figures and widgets


def test_a_figure_survives_its_way_into_the_page() -> None:
    alt = 'One <b>"bar"</b> & </script>'
    figure = {"data": [{"y": [1, 2], "name": "</script><!--"}], "layout": {"meta": {"alt": alt}}}
    html = figure_html(figure)
    seen = Page(html)
    assert [tag for tag, _ in seen.tags if tag == "script"] == ["script"]
    assert json.loads(seen.scripts[0]) == figure
    (plot,) = [attributes for tag, attributes in seen.tags if attributes.get("role") == "img"]
    assert plot["aria-label"] == alt
    assert "<noscript>" in html
    assert any(tag == "details" for tag, _ in seen.tags)


def test_a_figure_without_a_description_says_so() -> None:
    assert 'aria-label="A figure without a description."' in figure_html({"data": [], "layout": {}})


def test_a_widget_takes_traits_and_refuses_unknown_names() -> None:
    assert '"sharing":"Q-K=V"' in widget_html("CacheMeter", {"sharing": "Q-K=V"})
    with pytest.raises(UnknownNameError, match="CacheMeter"):
        widget_html("CashMeter", {})


# ------------------------------------------------------------------------------- the built pages


class Page(HTMLParser):
    """What a test wants to know of a page: its tags, ids, and the text of its scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.ids: set[str] = set()
        self.scripts: list[str] = []
        self.classes: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {key: value or "" for key, value in attrs}
        self.tags.append((tag, attributes))
        self.classes |= set(attributes.get("class", "").split())
        self.ids |= {attributes[key] for key in ("id", "name") if attributes.get(key)}
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] == "script" and self.scripts:
            self.scripts[-1] += data

    def loaded(self) -> list[str]:
        """Addresses that a browser asks for when it opens the page."""
        wanted = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src"}
        return [a[wanted[tag]] for tag, a in self.tags if tag in wanted and a.get(wanted[tag])]


@cache
def page(name: str) -> Page:
    return Page((built_book() / f"{name}.html").read_text(encoding="utf-8"))


PAGES = page_names()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_loads_only_what_the_site_has(name: str) -> None:
    site = built_book()
    for address in page(name).loaded():
        parts = urlsplit(address)
        if not parts.path and address.startswith("#"):
            continue  # a page that names itself as a relation
        assert not parts.scheme, address
        assert not parts.netloc, address
        assert not parts.path.startswith("/"), f"{address} breaks under a sub-path"
        assert ((site / f"{name}.html").parent / unquote(parts.path)).is_file(), address


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_to_a_page_and_a_place_on_it(name: str) -> None:
    site = built_book()
    here = site / f"{name}.html"
    for tag, attributes in page(name).tags:
        if tag != "a" or "href" not in attributes:
            continue
        parts = urlsplit(attributes["href"])
        if parts.scheme:
            assert parts.scheme == "https", attributes["href"]
            continue
        target = (here.parent / unquote(parts.path)).resolve() if parts.path else here
        assert target.is_file(), attributes["href"]
        if parts.fragment and target.suffix == ".html":
            ids = page(target.relative_to(site).with_suffix("").as_posix()).ids
            assert unquote(parts.fragment) in ids, attributes["href"]


@pytest.mark.parametrize("name", PAGES)
def test_heavy_scripts_come_only_where_they_are_used(name: str) -> None:
    seen = page(name)
    loaded = " ".join(seen.loaded())
    assert (PLOTLY_SCRIPT in loaded) == ("qkv-plotly" in seen.classes)
    assert ("mathjax" in loaded) == ("math" in seen.classes)
    scripts = re.findall(r"_static/widgets/(\w+)\.js", loaded)
    assert scripts == widgets_on((built_book() / f"{name}.html").read_text(encoding="utf-8"))
    assert bool(scripts) == ("qkv-widget" in seen.classes)
    assert "fontawesome.js" not in loaded
    # The lab's models and what runs them come when the lab is started, not with a page.
    assert "onnxruntime" not in loaded
    assert "_static/lab/" not in loaded


def test_style_sheets_ask_for_nothing_outside() -> None:
    for sheet in (built_book() / "_static").rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        addresses = re.findall(r"url\(\s*['\"]?([^'\")]+)", text)
        addresses += re.findall(r"@import\s+['\"]([^'\"]+)", text)
        outside = [a for a in addresses if re.match(r"(?:https?:)?//", a)]
        assert not outside, f"{sheet.name}: {outside}"


def test_titles() -> None:
    site = built_book()
    book_title = "Do transformers need three projections?"
    titles = {}
    for name in PAGES:
        (titles[name],) = re.findall(
            r"<title>(.*?)</title>", (site / f"{name}.html").read_text(encoding="utf-8"), re.S
        )
    assert titles["index"] == book_title
    assert all(book_title in title for title in titles.values())
    assert len(set(titles.values())) == len(titles), "two pages share a title"


def test_a_lesson_can_be_downloaded() -> None:
    site = built_book()
    lessons = [name for name in PAGES if name.startswith("notebooks/")]
    assert lessons
    for name in lessons:
        (link,) = [a for tag, a in page(name).tags if "qkv-download" in a.get("class", "").split()]
        target = ((site / f"{name}.html").parent / unquote(link["href"])).resolve()
        assert json.loads(target.read_text(encoding="utf-8"))["nbformat"] == 4
