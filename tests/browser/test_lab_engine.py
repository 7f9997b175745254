"""The lab's engine in a real browser: PyTorch's tokens, maps and bytes, and errors in words."""

from __future__ import annotations

import json
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from qkvlib import BPETokenizer, cache_bytes, generate, load_weights, read_manifest

from site_visit import PREFIX, Host, Visit
from small_lab import COURSES, ROOT, script, small_lab

pytestmark = pytest.mark.browser
pytest.importorskip("onnx")

STATIC = ROOT / "book" / "_static"
NEW_TOKENS = 24  # on the book's page, each model writes a hundred

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Lab</title></head><body>
<script>
const asked = new Map();
window.shown = [];
const worker = new Worker("_static/lab/worker.mjs", { type: "module" });
worker.onmessage = ({ data }) => {
  if ("loaded" in data) window.shown.push([data.loaded, data.total]);
  else {
    asked.get(data.id)(data);
    asked.delete(data.id);
  }
};
window.ask = (task, given = {}) =>
  new Promise((resolve) => {
    const id = Math.random();
    asked.set(id, resolve);
    worker.postMessage({ id, task, ...given });
  });
// JSON, with arrays of numbers as lists.
window.answer = async (task, given) =>
  JSON.stringify(await window.ask(task, given), (_, v) => (ArrayBuffer.isView(v) ? [...v] : v));
window.write = async (name, prompt, count) => {
  const reads = [];
  const tokens = [...prompt];
  for (let known = 0; reads.length < count; known = tokens.length - 1) {
    const { result, error } = await window.ask("read", { name, tokens, known });
    if (error) throw new Error(error);
    reads.push({ ...result, weights: [...result.weights] });
    tokens.push(result.next.token);
  }
  return reads;
};
</script></body></html>"""


class Faulty(Host):
    """A static host some of whose files are missing, altered or cut off."""

    broken: dict[str, str]

    def do_GET(self) -> None:  # noqa: N802
        path = Path(self.translate_path(self.path))
        how = self.broken.get(path.name)
        if how is None:
            super().do_GET()
        elif how == "missing":
            self.send_error(404)
        else:
            data = bytearray(path.read_bytes())
            data[-1] ^= 1
            self.send_response(200)
            self.send_header("Content-Type", self.guess_type(str(path)))
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data if how == "altered" else data[: len(data) // 2])
            if how == "cut":
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_lab(tmp_path_factory) / "lab"


Opened = tuple[Any, dict[str, str]]


@pytest.fixture
def open_lab(browser: Any, tmp_path: Path) -> Iterator[Callable[[Path], Opened]]:
    """Serve a lab and open a page with its worker; what the page asks of others fails the test."""
    visit = Visit(browser)
    servers = []

    def open_it(lab: Path) -> Opened:
        site = tmp_path / "site"
        shutil.copytree(STATIC / "lab", site / "_static" / "lab")
        (site / "_static" / "vendor").symlink_to(STATIC / "vendor")
        script("conf").write_lab(lab, site / "_static" / "lab")
        (site / "page.html").write_text(PAGE, encoding="utf-8")
        (site / "404.html").write_text("not here", encoding="utf-8")
        broken: dict[str, str] = {}
        handler = partial(type("Handler", (Faulty,), {"broken": broken}), directory=str(site))
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return visit.open(f"http://127.0.0.1:{server.server_port}{PREFIX}page.html"), broken

    yield open_it
    visit.context.close()
    for server in servers:
        server.shutdown()
        server.server_close()
    assert visit.outside == []
    assert [each for each in visit.errors if each.startswith("thrown")] == []


def ask(page: Any, task: str, **given: Any) -> Any:
    answer = json.loads(page.evaluate("([task, given]) => answer(task, given)", [task, given]))
    assert "error" not in answer, answer
    return answer["result"]


def refusal(page: Any, task: str, **given: Any) -> tuple[str, bool]:
    answer = json.loads(page.evaluate("([task, given]) => answer(task, given)", [task, given]))
    return answer["error"], answer["retry"]


@torch.no_grad()
def test_each_model_writes_what_it_writes_in_pytorch(open_lab: Callable[[Path], Opened]) -> None:
    page, _ = open_lab(COURSES)
    manifest = read_manifest(COURSES / "manifest.json")
    opened = ask(page, "open")
    assert opened["models"] == manifest["models"]
    tokenizer = BPETokenizer.load(COURSES / manifest["tokenizer"]["file"])
    text = opened["examples"]["text"]
    first = True
    for entry in [each for each in manifest["models"] if each["kind"] == "gpt"]:
        name, model = entry["name"], load_weights(COURSES / entry["weights"]["file"])
        assert ask(page, "load", name=name) == entry
        files = entry["graph"]["bytes"] + entry["weights"]["bytes"]
        loaded, total = page.evaluate("window.shown.at(-1)")
        assert loaded == total
        assert total > 10 * files if first else total == files  # the runtime comes once
        first = False
        prompt = [each["token"] for each in ask(page, "encode", name=name, text=text)]
        assert prompt == tokenizer.encode(text.encode()).tolist()
        reads = page.evaluate(
            "([name, prompt, count]) => write(name, prompt, count)", [name, prompt, NEW_TOKENS]
        )
        found = [read["next"]["token"] for read in reads]
        wanted = list(generate(model, torch.tensor(prompt), NEW_TOKENS, temperature=0))
        assert found == wanted, name
        tokens = torch.tensor([prompt + wanted[:-1]])
        _, maps = model(tokens, return_attention=True)
        whole = torch.stack([each.weights[0] for each in maps]).numpy()
        for i, read in enumerate(reads):
            held = len(prompt) + i
            assert read["from"] == (held - 1 if i else 0)
            assert read["cacheBytes"] == cache_bytes(model.config, held, dtype=torch.float32)
            new = len(prompt) if i == 0 else 1
            rows = np.array(read["weights"]).reshape(read["shape"])
            assert np.abs(rows - whole[:, :, held - new : held, :held]).max() < 1e-4
            assert read["likeliest"][0]["token"] == read["next"]["token"]


@torch.no_grad()
def test_each_encoder_looks_as_in_pytorch(open_lab: Callable[[Path], Opened]) -> None:
    page, _ = open_lab(COURSES)
    opened = ask(page, "open")
    for entry in [each for each in opened["models"] if each["kind"] == "encoder"]:
        model = load_weights(COURSES / entry["weights"]["file"])
        for tokens in opened["examples"]["lists"]:
            found = ask(page, "look", name=entry["name"], tokens=tokens)
            logits, maps = model(torch.tensor([tokens]), return_attention=True)
            wanted = {
                "logits": logits[0],
                "scores": torch.stack([each.scores[0] for each in maps]),
                "weights": torch.stack([each.weights[0] for each in maps]),
            }
            assert found["shape"] == list(wanted["weights"].shape)
            for key, tensor in wanted.items():
                assert np.abs(np.array(found[key]) - tensor.flatten().numpy()).max() < 1e-3, key
            assert (
                np.abs(np.array(found["weights"]) - wanted["weights"].flatten().numpy()).max()
                < 1e-4
            )
            assert found["answers"] == logits[0].argmax(dim=-1).tolist()


def test_going_back_and_what_is_held(small: Path, open_lab: Callable[[Path], Opened]) -> None:
    page, _ = open_lab(small)
    name = "gpt/QKV"
    whole = ask(page, "read", name=name, tokens=[5, 6, 7, 8])
    again = ask(page, "read", name=name, tokens=[5, 6, 7, 8], known=2)
    assert (whole["from"], again["from"]) == (0, 2)
    for key in ("next", "cacheBytes"):
        assert again[key] == whole[key]
    rows = np.array(whole["weights"]).reshape(whole["shape"])[:, :, 2:]
    assert np.abs(rows - np.array(again["weights"]).reshape(again["shape"])).max() < 1e-5
    # What was asked at once is answered in order.
    both = page.evaluate(
        """() => Promise.all([[[5, 6], 0], [[5, 6, 7, 8], 2]].map(
            ([tokens, known]) => ask("read", { name: "gpt/QKV", tokens, known })))"""
    )
    assert [each["result"]["from"] for each in both] == [0, 2]
    assert both[1]["result"]["next"] == whole["next"]
    words, retry = refusal(page, "read", name=name, tokens=[1] * 129)
    assert "a text of 129 tokens" in words
    assert not retry
    assert "0 is greedy" in refusal(page, "read", name=name, tokens=[1], temperature=-1)[0]
    after = ask(page, "read", name=name, tokens=[5, 6, 7, 8, 1], known=4)
    assert after["from"] == 4  # nothing was forgotten
    assert "Ask it to read" in refusal(page, "look", name=name, tokens=[1])[0]
    assert "no task sing" in refusal(page, "sing")[0]


@pytest.mark.parametrize(
    ("file", "how", "words"),
    [
        ("ort-wasm-simd-threaded.wasm", "missing", "the server answers 404"),
        ("ort-wasm-simd-threaded.wasm", "cut", "was cut off"),
        ("ort.wasm.bundle.min.mjs", "missing", "could not be loaded"),
        ("runtime.json", "missing", "the server answers 404"),
        ("gpt-q_k_v.onnx", "missing", "the server answers 404"),
        ("gpt-q_k_v.safetensors", "altered", "is not the file that was published"),
        ("gpt-q_k_v.safetensors", "cut", "was cut off"),
        ("manifest.json", "missing", "the server answers 404"),
        ("tokenizer.json", "altered", "is not the file that was published"),
    ],
)
def test_what_cannot_be_loaded_is_said_and_may_be_tried_again(
    small: Path, open_lab: Callable[[Path], Opened], file: str, how: str, words: str
) -> None:
    page, broken = open_lab(small)
    broken[file] = how
    for _ in range(2):
        said, retry = refusal(page, "load", name="gpt/QKV")
        assert words in said
        assert file in said
        assert retry
    broken.clear()
    assert ask(page, "load", name="gpt/QKV")["name"] == "gpt/QKV"
    assert ask(page, "read", name="gpt/QKV", tokens=[1])["shape"][3] == 1


def test_a_lost_connection_is_said(small: Path, open_lab: Callable[[Path], Opened]) -> None:
    page, _ = open_lab(small)
    ask(page, "open")
    page.context.set_offline(True)
    said, retry = refusal(page, "load", name="gpt/QKV")
    assert "could not be reached" in said
    assert retry
    page.context.set_offline(False)
    assert ask(page, "load", name="gpt/QKV")["kind"] == "gpt"
