"""Widgets on the Python side: traits, the static mount point, and the same numbers as the page."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
import traitlets

from qkvlib import CONFIGS, SHARINGS, get_config
from qkvlib.accounting import bytes_per_token, cache_bytes, format_bytes, parse_dtype, saved
from qkvlib.widgets import (
    CacheMeter,
    ClaimRater,
    CourseWidget,
    base,
    bundle_sources,
    show,
    static_html,
)

from in_node import find_node
from widget_pages import refuses

HERE = Path(__file__).parent
MODULES = [
    "attention_lab",
    "attention_lookup",
    "cache_meter",
    "claim_rater",
    "curve_sketch",
    "decode_roofline",
    "decode_stepper",
    "head_sharing",
    "key_hull",
    "odd_one_out",
    "padding_meter",
    "patch_attention",
    "plus_grid",
    "rotary_cache",
    "symmetry_meter",
    "task_maps",
]
ROOT = HERE.parents[1]


@pytest.fixture(scope="module")
def node() -> str:
    return find_node()


# ------------------------------------------------------------------------------- the page's numbers


def test_the_scripts_own_tests_pass(node: str) -> None:
    tests = sorted(str(path) for path in HERE.glob("*.test.mjs"))
    assert tests
    run = subprocess.run([node, "--test", *tests], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout + run.stderr
    assert re.search(r"^(#|ℹ) pass [1-9]", run.stdout, re.MULTILINE), run.stdout


def _meters(count: int) -> Iterator[CacheMeter]:
    """The named shapes with every sharing and head sharing, then shapes at random."""
    for config in CONFIGS.values():
        for sharing in SHARINGS.values():
            heads = config.n_heads
            for kv in range(1, heads + 1):
                if heads % kv == 0 and (kv == heads or not sharing.ties_query):
                    variant = config.replace(sharing=sharing, n_kv_heads=kv)
                    yield CacheMeter.from_config(variant, tokens=32_768)
    dice = random.Random(0)
    for _ in range(count):
        sharing = dice.choice(list(SHARINGS.values()))
        heads = dice.randint(1, 128)
        divisors = [d for d in range(1, heads + 1) if heads % d == 0]
        yield CacheMeter(
            sharing=sharing.name,
            n_heads=heads,
            n_kv_heads=heads if sharing.ties_query else dice.choice(divisors),
            n_layers=dice.randint(1, 128),
            head_dim=dice.randint(1, 1024),
            tokens=dice.choice([1, dice.randint(1, 2**24), 2 ** dice.randint(0, 24)]),
            batch_size=dice.randint(1, 4096),
            dtype=dice.choice(["float16", "bfloat16", "float32"]),
            budget_gb=dice.choice([0.001, 24.0, 80.0, round(dice.uniform(0.001, 1e6), 3)]),
        )


def test_the_page_shows_what_accounting_counts(node: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QKV_STATIC", "1")  # hundreds of comms would only take time
    meters = list(_meters(300))
    run = subprocess.run(
        [node, str(HERE / "compute.mjs")],
        input=json.dumps([meter.state() for meter in meters]),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    answers = json.loads(run.stdout)
    assert len(answers) == len(meters) > 300
    for meter, answer in zip(meters, answers, strict=True):
        config, dtype = meter.config, parse_dtype(meter.dtype)
        total = cache_bytes(config, meter.tokens, batch_size=meter.batch_size, dtype=dtype)
        plain = config.replace(sharing="QKV", n_kv_heads=config.n_heads)
        per_token = bytes_per_token(config, dtype)
        assert answer == {
            "per_token": str(per_token),
            "total": str(total),
            "baseline": str(
                cache_bytes(plain, meter.tokens, batch_size=meter.batch_size, dtype=dtype)
            ),
            "users": str(round(meter.budget_gb * 1e9) // (per_token * meter.tokens)),
            "saved": pytest.approx(saved(config), abs=1e-15),
            "share": re.sub(r"\.0 ", " ", f"{100 * answer['saved']:.1f} %"),
            "decimal": format_bytes(total),
            "binary": format_bytes(total, binary=True),
        }


def test_sizes_at_the_edges_are_written_alike(node: str) -> None:
    sizes = [0, 1, 999, 1000, 1023, 1024, 1152, 1280, 9995, 10_240, 99_950, 102_400, 10**6, 2**20]
    sizes += [128 * k for k in range(1, 400)] + [5 * 10**k for k in range(16)]
    script = (
        f"import {{ load }} from {json.dumps((HERE / 'load.mjs').as_uri())};"
        "const { formatBytes } = await load('cache_meter');"
        f"const sizes = {sizes};"
        "console.log(JSON.stringify(sizes.map((n) => [formatBytes(n), formatBytes(n, true)])))"
    )
    run = subprocess.run(
        [node, "--input-type=module", "-e", script], capture_output=True, text=True, check=True
    )
    assert json.loads(run.stdout) == [
        [format_bytes(n), format_bytes(n, binary=True)] for n in sizes
    ]


# ------------------------------------------------------------------------------------------- traits


def test_it_starts_on_the_papers_300m_model() -> None:
    meter = CacheMeter()
    assert meter.total_bytes == cache_bytes(get_config("300M"), 32_768) == 2_684_354_560
    assert meter.config.n_layers == 20


def test_from_config_takes_the_model_and_keeps_the_rest() -> None:
    config = get_config("1.2B").replace(variant="Q-GQA-8")
    meter = CacheMeter.from_config(config, batch_size=4, units="binary")
    assert meter.tokens == config.max_seq_len == 2048
    assert (meter.sharing, meter.n_kv_heads, meter.batch_size) == ("Q-K=V", 8, 4)
    assert meter.total_bytes == cache_bytes(config, 2048, batch_size=4)
    assert CacheMeter.from_config(config, tokens=7).tokens == 7


def test_any_spelling_of_a_sharing_is_read() -> None:
    assert CacheMeter(sharing="(q, k=v)").sharing == "Q-K=V"
    meter = CacheMeter()
    meter.sharing = "Q≠K=V"
    assert meter.sharing == "Q-K=V"


def test_query_heads_alone_mean_mha() -> None:
    assert CacheMeter(n_heads=12).n_kv_heads == 12


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sharing": "Q-K"}, ["unknown sharing 'Q-K'", "Did you mean 'Q-K=V'"]),
        ({"n_kv_heads": 3}, ["n_kv_heads=3 does not divide n_heads=16", "[1, 2, 4, 8, 16]"]),
        (
            {"sharing": "Q=K=V", "n_kv_heads": 4},
            ["(Q=K=V)", "set n_kv_heads=16", "sharing='QKV' or 'Q-K=V'"],
        ),
        ({"n_heads": 6}, ["does not divide n_heads=6", ".update("]),
        ({"n_heads": 0}, ["n_heads=0", "from 1 to 128"]),
        ({"n_layers": 129}, ["n_layers=129", "from 1 to 128"]),
        ({"tokens": 0}, ["tokens=0", "16,777,216"]),
        ({"batch_size": True}, ["batch_size", "True"]),
        ({"head_dim": 64.5}, ["head_dim"]),
        ({"dtype": "float8"}, ["unknown dtype 'float8'", "float16"]),
        ({"units": "bits"}, ["unknown units 'bits'", "decimal, binary"]),
        ({"budget_gb": 0}, ["budget_gb=0.0", "GB"]),
        ({"budget_gb": float("nan")}, ["budget_gb=nan"]),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_changes(
    change: dict[str, Any], words: list[str]
) -> None:
    refuses(CacheMeter(), change, words)


def test_a_constructor_refuses_the_same() -> None:
    with pytest.raises(traitlets.TraitError, match="set n_kv_heads=16"):
        CacheMeter(sharing="Q=K-V", n_kv_heads=1)
    with pytest.raises(ValueError, match="Did you mean 'n_layers'"):
        CacheMeter(layers=3)
    with pytest.raises(ValueError, match="Did you mean 'tokens'"):
        CacheMeter().update(token=3)


def test_one_change_alone_is_checked_too() -> None:
    meter = CacheMeter(sharing="Q-K=V", n_kv_heads=4)
    with pytest.raises(traitlets.TraitError, match="Two ways out"):
        meter.sharing = "Q=K=V"
    assert meter.sharing == "Q-K=V"


# --------------------------------------------------------------------------------------- both ways


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """State updates that Python sends to the page."""
    messages: list[dict[str, Any]] = []
    monkeypatch.delenv("QKV_STATIC", raising=False)  # a static widget has nobody to send to
    monkeypatch.setattr(
        CacheMeter, "_send", lambda self, msg, buffers=None: messages.append(msg["state"])
    )
    return messages


def test_python_to_page_in_one_message(sent: list[dict[str, Any]]) -> None:
    meter = CacheMeter()
    sent.clear()  # anywidget sends the module itself first
    meter.update(n_heads=32, n_kv_heads=8)
    assert sent == [{"n_heads": 32, "n_kv_heads": 8}]
    meter.tokens = 5
    assert sent[1:] == [{"tokens": 5}]


def test_page_to_python(sent: list[dict[str, Any]]) -> None:
    meter = CacheMeter()
    seen: list[tuple[str, Any]] = []
    names = ["n_heads", "n_kv_heads", "sharing"]
    meter.observe(lambda change: seen.append((change.name, change.new)), names)
    meter.set_state({"n_heads": 4, "n_kv_heads": 2, "sharing": "Q-K=V"})
    assert (meter.n_heads, meter.n_kv_heads, meter.sharing) == (4, 2, "Q-K=V")
    assert set(seen) == {("n_heads", 4), ("n_kv_heads", 2), ("sharing", "Q-K=V")}
    assert meter.total_bytes == cache_bytes(meter.config, 32_768)


# ----------------------------------------------------------------------------- without a kernel


def _mounted(text: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    state = json.loads(found[1])
    assert isinstance(state, dict)
    return state


def test_the_mount_point_carries_the_state_and_a_reading() -> None:
    meter = CacheMeter(sharing="Q-K=V", n_kv_heads=4, units="binary")
    text = static_html(meter)
    assert text.startswith('<div class="qkv-widget" data-widget="cache_meter"><script ')
    state = _mounted(text)
    assert state == json.loads(json.dumps(meter.state()))
    assert list(state) == sorted(state)
    assert not any(key.startswith("_") for key in state)
    assert "Q-GQA-4: (Q, K=V) GQA-4" in text
    assert "87.5 %" in text
    assert "320 MiB (335,544,320 bytes)" in text


def test_sharings_and_presets_come_from_python() -> None:
    state = CacheMeter().state()
    assert [row["name"] for row in state["sharings"]] == list(SHARINGS)
    for row, sharing in zip(state["sharings"], SHARINGS.values(), strict=True):
        assert row["cached"] == [name.upper() for name in sharing.cached]
        assert row["ties_query"] is sharing.ties_query
        assert row["tuple_form"] == sharing.tuple_form
        assert row["colour"] == sharing.colour
    assert [row["name"] for row in state["presets"]] == list(CONFIGS)
    source = (Path(base.__file__).parent / "cache_meter.js").read_text(encoding="utf-8")
    for sharing in SHARINGS.values():
        assert f'"{sharing.name}"' not in source, "names of sharings belong to sharing.py"


def test_no_state_ends_its_script_element() -> None:
    class Probe(CourseWidget):
        name = "probe"
        _esm = "export default { render() {} }"
        text = traitlets.Unicode("").tag(sync=True)

        def describe(self) -> str:
            return self.text

    evil = "</script><img src=x onerror=alert(1)><!-- & \u2028 “"
    text = static_html(Probe(text=evil))
    assert _mounted(text) == {"text": evil}
    assert text.count("</script>") == 1
    assert "<img" not in text
    assert "&lt;img" in text


def test_the_mount_point_is_the_same_in_every_process() -> None:
    script = "from qkvlib.widgets import *; print(static_html(CacheMeter(n_kv_heads=2)))"
    runs = [
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1] == static_html(CacheMeter(n_kv_heads=2)) + "\n"


def test_show_in_a_terminal_prints_the_reading(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "get_ipython", lambda: None)
    show(CacheMeter(sharing="Q-K=V"))
    out = capsys.readouterr().out
    assert "Q-K=V: (Q, K=V)" in out
    assert "1.34 GB (1,342,177,280 bytes)" in out


def test_show_in_a_notebook_is_live(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(base, "get_ipython", lambda: object())
    monkeypatch.setattr(base, "display", lambda *args, **options: shown.extend(args))
    monkeypatch.delenv("QKV_STATIC", raising=False)
    meter = CacheMeter()
    show(meter)
    assert shown == [meter]
    assert "application/vnd.jupyter.widget-view+json" in meter._repr_mimebundle_()[0]


def test_show_refuses_what_is_no_widget() -> None:
    with pytest.raises(TypeError, match="list"):
        show([1])  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_stored_notebook_holds_html_and_no_widget_state(tmp_path: Path) -> None:
    pytest.importorskip("nbclient")
    cell = "from qkvlib.widgets import CacheMeter, show\nshow(CacheMeter())"
    path = tmp_path / "meter.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)]), path)
    # In a process of its own: Playwright keeps an event loop running in this one.
    script = (
        "import nbformat, sys; from nbclient import NotebookClient;"
        "book = nbformat.read(sys.argv[1], 4);"
        "NotebookClient(book, kernel_name='python3').execute();"
        "nbformat.write(book, sys.argv[1])"
    )
    subprocess.run(
        [sys.executable, "-c", script, str(path)],
        env={**os.environ, "QKV_STATIC": "1"},
        cwd=ROOT,
        check=True,
        timeout=300,
        capture_output=True,
    )
    book = nbformat.read(path, 4)
    assert "widgets" not in book.metadata
    (output,) = book.cells[0].outputs
    assert output.data["text/html"] == static_html(CacheMeter())
    assert output.data["text/plain"] == CacheMeter().describe()


# ------------------------------------------------------------------------------------- the bundle


def test_the_bundle_holds_every_module(node: str, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.js"
    bundle.write_text(bundle_sources(), encoding="utf-8")
    script = (
        "globalThis.window = {};"
        f"require('node:vm').runInThisContext(require('node:fs').readFileSync({str(bundle)!r},"
        "'utf8'));console.log(JSON.stringify(window.QKV_WIDGETS))"
    )
    run = subprocess.run([node, "-e", script], capture_output=True, text=True, check=True)
    assert json.loads(run.stdout) == {name: base.module_source(name) for name in MODULES}
    assert "<" not in bundle_sources(), "the text must be safe inside a script element"


@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_self_contained(name: str) -> None:
    source = base.module_source(name)
    assert not re.search(r"^\s*import\b", source, re.MULTILINE)
    assert not re.search(r"\bimport\(|https?://(?!www\.w3\.org/2000/svg)", source)
    assert source.count("export default { render }") == 1


def test_kernel_and_book_get_the_same_module() -> None:
    for widget in (CacheMeter(), ClaimRater()):
        assert widget._esm == base.module_source(widget.name)
        assert widget.name in MODULES
