"""The lab's engine in a notebook, the recipe of its models, and what is stored of them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from qkvlib import (
    BYTES,
    AttentionLab,
    BPETokenizer,
    LabEngine,
    LabError,
    ModelConfig,
    UnknownNameError,
    ViTConfig,
    build_model,
    cache_bytes,
    choose,
    dice,
    evaluate,
    face_of,
    generate,
    load_weights,
    model_entry,
    read_manifest,
)
from qkvlib.task_maps import unpack_map

from in_node import find_node, in_page
from small_lab import COURSES, ROOT, families, script, small_lab

HERE = Path(__file__).parent
ENGINE = ROOT / "book" / "_static" / "lab" / "engine.mjs"
SMALL = ModelConfig(d_model=16, n_layers=2, n_heads=2, vocab_size=256, max_seq_len=24)


class Ask:
    """Asks an engine as the page does, and puts the buffers where they belong."""

    def __init__(self, engine: LabEngine) -> None:
        self.engine = engine

    def message(self, task: str, **given: Any) -> dict[str, Any]:
        answer, buffers = self.engine.answer({"id": 7, "task": task, **given})
        assert answer["id"] == 7
        json.dumps(answer)  # nothing but JSON beside the buffers
        return {key: self._whole(value, buffers) for key, value in answer.items()}

    def _whole(self, value: Any, buffers: list[bytes]) -> Any:
        if isinstance(value, dict):
            if set(value) == {"buffer"}:
                return np.frombuffer(buffers[value["buffer"]], dtype=np.float32)
            return {key: self._whole(each, buffers) for key, each in value.items()}
        return [self._whole(each, buffers) for each in value] if isinstance(value, list) else value

    def __call__(self, task: str, **given: Any) -> Any:
        answer = self.message(task, **given)
        assert "error" not in answer, answer
        return answer["result"]

    def refused(self, task: str, **given: Any) -> str:
        answer = self.message(task, **given)
        assert not answer["retry"]
        return str(answer["error"])


@pytest.fixture(scope="module")
def own() -> Ask:
    torch.manual_seed(0)
    models = {
        "mine": build_model(SMALL.replace(variant="Q-K=V"), seed=0),
        "lists": build_model(SMALL.replace(causal=False, vocab_size=10, max_seq_len=6), seed=0),
    }
    return Ask(LabEngine(models))


# --------------------------------------------------------------------------------- in the kernel


@torch.no_grad()
def test_it_writes_what_generate_writes(own: Ask) -> None:
    model = own.engine._held["mine"].model
    prompt = [each["token"] for each in own("encode", name="mine", text="def ")]
    assert prompt == list(b"def ")
    wanted = list(generate(model, torch.tensor(prompt), 16, temperature=0))
    whole, maps = model(torch.tensor([prompt + wanted[:-1]]), return_attention=True)
    weights = torch.stack([each.weights[0] for each in maps]).numpy()
    tokens, known, written = list(prompt), 0, []
    for _ in range(16):
        found = own("read", name="mine", tokens=tokens, known=known)
        held = len(tokens)
        assert found["from"] == known
        assert found["shape"] == [2, 2, held - known, held]
        assert found["cacheBytes"] == cache_bytes(model.config, held, dtype=torch.float32)
        rows = found["weights"].reshape(found["shape"])
        assert np.abs(rows - weights[:, :, known:held, :held]).max() < 1e-6
        shares = whole[0, held - 1].softmax(-1).sort(descending=True).values[:5].tolist()
        assert [each["share"] for each in found["likeliest"]] == pytest.approx(shares, rel=1e-4)
        assert found["likeliest"][0]["token"] == found["next"]["token"]
        written.append(found["next"]["token"])
        known = held
        tokens.append(written[-1])
    assert written == wanted


def test_going_back_gives_the_same(own: Ask) -> None:
    text = [1, 2, 3, 4]
    whole = own("read", name="mine", tokens=text, temperature=1.0)
    part = own("read", name="mine", tokens=text, known=1, temperature=1.0)
    assert (whole["from"], part["from"]) == (0, 1)
    assert part["next"] == whole["next"]
    rows = whole["weights"].reshape(whole["shape"])[:, :, 1:]
    assert np.abs(part["weights"].reshape(part["shape"]) - rows).max() < 1e-6
    drawn = [
        own("read", name="mine", tokens=text[:2], known=2, temperature=5.0, seed=seed)
        for seed in range(8)
    ]
    assert {each["from"] for each in drawn} == {1}  # the last token is read always
    assert len({each["next"]["token"] for each in drawn}) > 1


def test_what_is_held_is_not_read_again_unless_it_is_another_text(own: Ask) -> None:
    asked = [
        ([7, 8, 9], 0, 0),
        ([7, 8, 9, 10], 3, 3),
        ([7, 8, 9, 10], 2, 2),  # rows that the asker has lost
        ([7, 8, 1, 10, 11], 4, 2),  # somebody else's text was read meanwhile
        ([5, 6], 2, 0),
    ]
    for tokens, known, start in asked:
        found = own("read", name="mine", tokens=tokens, known=known)
        assert found["from"] == start
        fresh = Ask(LabEngine({"m": own.engine._held["mine"].model}))(
            "read", name="m", tokens=tokens
        )
        assert found["next"] == fresh["next"]
        rows = fresh["weights"].reshape(fresh["shape"])[:, :, start:]
        assert np.abs(found["weights"].reshape(found["shape"]) - rows).max() < 1e-6
        assert found["cacheBytes"] == fresh["cacheBytes"]


def test_what_other_weights_have_read_is_read_anew() -> None:
    """Keys of before a training and queries of after it would be the maps of no model."""
    model = build_model(SMALL, seed=0)
    ask, tokens = Ask(LabEngine({"mine": model})), [1, 2, 3, 4]
    ask("read", name="mine", tokens=tokens[:3])
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight))
    found = ask("read", name="mine", tokens=tokens, known=3)
    assert found["from"] == 0
    anew = Ask(LabEngine({"mine": model}))("read", name="mine", tokens=tokens)
    assert np.array_equal(found["weights"], anew["weights"])
    assert ask("read", name="mine", tokens=[*tokens, 5], known=4)["from"] == 4


def test_models_made_in_inference_mode_are_read_too() -> None:
    with torch.inference_mode():
        model = build_model(SMALL)
    ask = Ask(LabEngine({"mine": model}))
    ask("read", name="mine", tokens=[1, 2])
    assert ask("read", name="mine", tokens=[1, 2, 3], known=2)["from"] == 2


def test_a_reading_that_fails_leaves_nothing_behind(
    own: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    own("read", name="mine", tokens=[1, 2, 3, 4])
    held = own.engine._held["mine"]
    with monkeypatch.context() as patch:
        patch.setattr(type(held.model), "forward", lambda *a, **k: 1 / 0)
        assert "ZeroDivisionError" in own.refused("read", name="mine", tokens=[1, 2, 9], known=2)
    assert held.tokens == [1, 2]
    found = own("read", name="mine", tokens=[1, 2, 9], known=2)
    fresh = Ask(LabEngine({"m": held.model}))("read", name="m", tokens=[1, 2, 9])
    assert (found["from"], found["next"]) == (2, fresh["next"])


@torch.no_grad()
def test_an_encoder_looks_at_a_whole_list(own: Ask) -> None:
    tokens = [3, 1, 4, 1, 5, 9]
    logits, maps = own.engine._held["lists"].model(torch.tensor([tokens]), return_attention=True)
    found = own("look", name="lists", tokens=tokens)
    assert found["shape"] == [2, 2, 6, 6]
    assert found["answers"] == logits[0].argmax(-1).tolist()
    for key, i in (("scores", 0), ("weights", 1)):
        wanted = torch.stack([each[i][0] for each in maps]).flatten().numpy()
        assert np.abs(found[key] - wanted).max() < 1e-6
    assert np.abs(found["logits"] - logits[0].flatten().numpy()).max() < 1e-6


def test_models_of_ones_own_are_listed(own: Ask) -> None:
    opened = own("open")
    assert opened["engine"] == "kernel"
    mine, lists = opened["models"]
    model = own.engine._held["mine"].model
    assert mine == own("load", name="mine")
    assert mine.items() >= model_entry("mine", model).items()
    assert mine["tokenizer"] == '{"kind": "bytes", "vocab_size": 256}'
    assert opened["examples"]["lists"] == [[0, 1, 2, 3, 4, 5]]
    assert (mine["kind"], mine["variant"], mine["cached"]) == ("gpt", "Q-K=V", {"k": 8})
    assert mine["bytes_per_token"] == 2 * 2 * 8 * 4
    assert mine["parameters"] == sum(p.numel() for p in model.parameters())
    assert (lists["kind"], lists["bytes_per_token"]) == ("encoder", 0)


def test_a_model_keeps_its_mode() -> None:
    model = build_model(SMALL.replace(dropout=0.5), seed=0).train()
    ask = Ask(LabEngine({"mine": model}))
    first = ask("read", name="mine", tokens=[1, 2, 3])
    assert model.training
    again = ask("read", name="mine", tokens=[1, 2, 3])
    assert (first["weights"] == again["weights"]).all()


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ({"task": "sing"}, "unknown task of the lab 'sing'"),
        ({"task": "load", "name": "min"}, "Did you mean 'mine'"),
        ({"task": "look", "name": "mine", "tokens": [1]}, "Ask it to read"),
        ({"task": "read", "name": "lists", "tokens": [1]}, "Ask it to look"),
        ({"task": "encode", "name": "lists", "text": "1"}, "Ask it to look"),
        ({"task": "read", "name": "mine", "known": -1, "tokens": [1]}, "known=-1"),
        ({"task": "read", "name": "mine", "tokens": []}, "at least 1"),
        ({"task": "read", "name": "mine", "tokens": [256]}, "from 0 to 255"),
        ({"task": "read", "name": "mine", "tokens": [1] * 25}, "25 tokens: mine reads 1 to 24"),
        ({"task": "read", "name": "mine", "tokens": [1], "temperature": -1}, "0 is greedy"),
        ({"task": "look", "name": "lists", "tokens": [1, 2]}, "trained on lists of 6"),
        ({"task": "look", "name": "lists", "tokens": [1, 2, 3, 4, 5, 10]}, "from 0 to 9"),
        ({"task": "read", "name": "mine"}, "missing 1 required positional argument"),
    ],
)
def test_what_cannot_be_is_answered_in_words(own: Ask, message: dict[str, Any], words: str) -> None:
    own("read", name="mine", tokens=[1, 2, 3])
    assert words in own.refused(**message)
    assert own("read", name="mine", tokens=[1, 2, 3, 4], known=3)["from"] == 3  # nothing is lost


def test_models_that_the_lab_cannot_run_are_refused(tmp_path: Path) -> None:
    image = ViTConfig(
        d_model=16, n_layers=1, n_heads=2, image_size=8, patch_size=4, n_channels=1, n_classes=2
    )
    with pytest.raises(LabError, match="'mine' is a ViT"):
        LabEngine({"mine": build_model(image)})
    with pytest.raises(LabError, match=r"knows 300 tokens.*tokenizer=task\.tokenizer"):
        LabEngine({"mine": build_model(SMALL.replace(vocab_size=300))})
    lists = [build_model(SMALL.replace(causal=False, max_seq_len=n, vocab_size=10)) for n in (5, 6)]
    with pytest.raises(LabError, match="lists of 5 of 10 digits and 6 of 10 digits"):
        LabEngine(dict(zip("ab", lists, strict=True)))
    with pytest.raises(LabError, match="models is empty"):
        LabEngine({})
    with pytest.raises(OSError, match=r"manifest\.json"):
        LabEngine(folder=tmp_path)
    (tmp_path / "manifest.json").write_text('{"models": []}')
    with pytest.raises(LabError, match=r"manifest\.json is damaged"):
        LabEngine(folder=tmp_path)


def test_a_token_has_a_face() -> None:
    assert face_of(b" def") == " def"
    assert face_of(b"\xc3\xaf") == "ï"
    assert face_of(b"\xc3") == "⟨c3⟩"
    assert face_of(b"\xef\xbb\xbf") == "\ufeff"


# ----------------------------------------------------------------------------- as the page does it


def test_the_scripts_own_tests_pass() -> None:
    tests = sorted(str(path) for path in HERE.glob("*.test.mjs"))
    run = subprocess.run(
        [find_node(), "--test", *tests], capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert re.search(r"^(#|ℹ) pass [1-9]", run.stdout, re.MULTILINE), run.stdout


def test_dice_and_choice_are_those_of_the_page() -> None:
    seeds = [0, 1, 7, 65_537 * 12 + 40, 2**32 - 1, 2**32 + 3]
    generator = torch.Generator().manual_seed(0)
    rows = [(3 * torch.randn(300, generator=generator)).tolist() for _ in range(20)]
    script_text = f"""
import {{ readFileSync }} from "node:fs";
const {{ choose, dice }} = await import({json.dumps(ENGINE.as_uri())});
const [seeds, rows] = JSON.parse(readFileSync(0, "utf8"));
const drawn = seeds.map((seed) => {{ const one = dice(seed); return [one(), one(), one()]; }});
const chosen = rows.map((row, i) => [0, 0.5, 1.3].map((t) => choose(row, t, dice(i))));
console.log(JSON.stringify([drawn, chosen]));
"""
    run = subprocess.run(
        [find_node(), "--input-type=module", "-e", script_text],
        input=json.dumps([seeds, rows]), capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    drawn, chosen = json.loads(run.stdout)
    for seed, wanted in zip(seeds, drawn, strict=True):
        one = dice(seed)
        assert [one() for _ in range(3)] == wanted
    assert chosen == [
        [choose(row, t, dice(i)) for t in (0, 0.5, 1.3)] for i, row in enumerate(rows)
    ]
    assert len({tuple(row) for row in chosen}) > 10


def test_a_choice_follows_its_shares() -> None:
    random = dice(1)
    counts = [0, 0, 0]
    for _ in range(4000):
        counts[choose([0.0, math.log(3), -math.inf], 1.0, random)] += 1
    assert counts[2] == 0
    assert counts[1] / 4000 == pytest.approx(0.75, abs=0.03)


# ------------------------------------------------------------------------------------- the models


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnx")
    return small_lab(tmp_path_factory)


@pytest.fixture(scope="module")
def make_lab() -> ModuleType:
    return script("make_lab")


@pytest.fixture(params=["small", "course's"])
def lab(request: pytest.FixtureRequest) -> Path:
    """A lab's folder: a tiny one, and the course's own."""
    return COURSES if request.param == "course's" else request.getfixturevalue("made") / "lab"


def test_the_list_is_true_of_the_files(lab: Path) -> None:
    manifest = read_manifest(lab / "manifest.json")
    listed = {"manifest.json", "stored.json"}
    facts = [manifest["tokenizer"]]
    for entry in manifest["models"]:
        model = load_weights(lab / entry["weights"]["file"])
        assert entry.items() >= model_entry(entry["name"], model).items()
        assert all((p.half().float() == p).all() for p in model.parameters())
        facts += [entry["graph"], entry["weights"]]
        numbers = 2 * sum(p.numel() for p in model.parameters())
        assert numbers < entry["weights"]["bytes"] < numbers + 8_000
        assert entry["graph"]["bytes"] < 40_000  # the weights are not in it
    for file in facts:
        data = (lab / file["file"]).read_bytes()
        assert (file["bytes"], file["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
        assert re.fullmatch(r"[\w.-]+", file["file"]), "a name that every server serves"
        assert b".py" not in data or "tokenizer" in file["file"], "where it was traced"
        listed.add(file["file"])
    assert {path.name for path in lab.iterdir()} - {"README.md"} == listed


def test_the_page_states_the_losses_of_the_list() -> None:
    models = read_manifest(COURSES / "manifest.json")["models"]
    losses = {m["variant"]: m["loss"]["bits_per_byte"] for m in models if m["kind"] == "gpt"}
    order = sorted(losses, key=lambda variant: losses[variant])
    assert (order[0], order[-1]) == ("QKV", "Q=K=V")
    page = (ROOT / "book" / "lab.md").read_text(encoding="utf-8")
    said = [float(number) for number in re.findall(r"\b1\.\d\d\b", page)]
    assert said == [round(losses[order[i]], 2) for i in (0, 1, -2, -1)]


@torch.inference_mode()
def test_the_page_states_where_a_head_looks_back_by_one() -> None:
    """On the stored text; free queries about 40 %, tied ones 27 and 15 %, each in layer 3."""
    stored = json.loads((COURSES / "stored.json").read_text())
    tokens = torch.tensor(stored["text"]["tokens"])[None]
    most = {}
    for entry in read_manifest(COURSES / "manifest.json")["models"]:
        if entry["kind"] != "gpt":
            continue
        model = load_weights(COURSES / entry["weights"]["file"])
        _, maps = model(tokens, return_attention=True)
        back = torch.stack([m.weights[0].diagonal(-1, -2, -1)[:, 2:].mean(-1) for m in maps])
        assert back.amax(dim=1).argmax() == 2, f"{entry['name']}: another layer"
        most[entry["variant"]] = back.max().item()
    assert most.pop("Q=K-V") == pytest.approx(0.27, abs=0.01)
    assert most.pop("Q=K=V") == pytest.approx(0.15, abs=0.01)
    assert all(0.36 < share < 0.44 for share in most.values())
    page = (ROOT / "book" / "lab.md").read_text()
    assert all(words in page for words in ("about 40 %", "27 % under `Q=K-V`", "15 % under"))


def test_one_recipe_for_all(lab: Path) -> None:
    manifest = read_manifest(lab / "manifest.json")
    assert manifest["trained"] is True
    for kind in ("gpt", "encoder"):
        configs = [each["config"] for each in manifest["models"] if each["kind"] == kind]
        shared = manifest["recipe"][kind]["model"]
        assert all(config.items() >= shared.items() for config in configs)
    for entry in manifest["models"]:
        if entry["kind"] == "gpt":
            loss = entry["loss"]
            assert loss["low"] < loss["bits_per_byte"] < loss["high"]
            assert f"{loss['n']} held-out windows" in loss["how"]
        else:
            assert 0 < entry["accuracy"] <= 1
            assert entry["task"]["length"] == entry["config"]["max_seq_len"]


def test_the_loss_is_that_of_the_rounded_model(made: Path, make_lab: ModuleType) -> None:
    gpts, _ = families(make_lab, made / "text.py")
    task = gpts.task()
    manifest = read_manifest(made / "lab" / "manifest.json")
    for entry in manifest["models"][:2]:
        model = load_weights(made / "lab" / entry["weights"]["file"])
        wanted = evaluate(model, task)["bits_per_byte"]
        assert entry["loss"]["bits_per_byte"] == pytest.approx(wanted, abs=1e-4)


def test_the_same_runs_give_the_same_files(
    made: Path, make_lab: ModuleType, tmp_path: Path
) -> None:
    gpts, encoders = families(make_lab, made / "text.py")
    gpts = dataclasses.replace(gpts, variants=("Q-MQA",))
    make_lab.export(tmp_path, made / "runs", (gpts, encoders))
    for path in tmp_path.iterdir():
        if path.name not in ("manifest.json", "stored.json"):  # these are of fewer models
            assert path.read_bytes() == (made / "lab" / path.name).read_bytes(), path.name
    entries = [
        json.loads((f / "manifest.json").read_text())["models"] for f in (made / "lab", tmp_path)
    ]
    assert entries[0][1:] == entries[1]


def test_runs_that_are_not_finished_or_of_another_text_are_refused(
    made: Path, make_lab: ModuleType, tmp_path: Path
) -> None:
    gpts, _ = families(make_lab, made / "text.py")
    with pytest.raises(make_lab.LabRunError, match=r"is not there.*make_lab\.py train QKV"):
        make_lab.trained(gpts, "QKV", tmp_path, gpts.task())
    (tmp_path / "gpt-q_k_v").mkdir()
    (tmp_path / "gpt-q_k_v" / "checkpoint.safetensors").touch()
    with pytest.raises(make_lab.LabRunError, match="is not finished"):
        make_lab.trained(gpts, "QKV", tmp_path, gpts.task())
    other = tmp_path / "other.py"
    other.write_bytes((made / "text.py").read_bytes() + b"\n# more\n")
    changed, _ = families(make_lab, other)
    with pytest.raises(make_lab.LabRunError, match="another text, or other tokens"):
        make_lab.trained(changed, "QKV", made / "runs", changed.task())
    for change, words in (
        ({"training": dataclasses.replace(gpts.training, steps=41)}, "steps=40 in place of 41"),
        ({"model": gpts.model.replace(d_ff=48)}, "d_ff=128 in place of 48"),
    ):
        longer = dataclasses.replace(gpts, **change)
        with pytest.raises(make_lab.LabRunError, match=rf"another recipe than here: {words}"):
            make_lab.trained(longer, "QKV", made / "runs", longer.task())


def test_files_are_named_for_every_server(make_lab: ModuleType) -> None:
    for family in (make_lab.GPTS, make_lab.ENCODERS):
        stems = [family.stem(variant) for variant in family.variants]
        assert len(set(stems)) == len(stems)
        assert all(re.fullmatch(r"[a-z_-]+", stem) for stem in stems)
        task_tokens = family.training.steps * family.training.batch_size * family.model.max_seq_len
        assert family.kind != "gpt" or task_tokens == pytest.approx(32.8e6, rel=0.01)


def test_the_lab_is_read_by_the_kernels_engine(lab: Path) -> None:
    ask = Ask(LabEngine(folder=lab))
    opened = ask("open")
    manifest = read_manifest(lab / "manifest.json")
    assert opened["models"] == manifest["models"]
    tokenizer = BPETokenizer.load(lab / manifest["tokenizer"]["file"])
    entry = opened["models"][0]
    tokens = [each["token"] for each in ask("encode", name=entry["name"], text="def read")]
    assert tokens == tokenizer.encode(b"def read").tolist()
    assert ask("load", name=entry["name"]) == entry
    assert ask("read", name=entry["name"], tokens=tokens)["shape"][2:] == [len(tokens)] * 2


def test_runs_and_files_of_weights_can_be_looked_into(made: Path) -> None:
    run, weights = made / "runs" / "gpt-q_kv-mqa", made / "lab" / "gpt-q_kv-mqa.safetensors"
    ask = Ask(LabEngine({"run": run, "file": run / "checkpoint.safetensors", "rounded": weights}))
    found = {name: ask("read", name=name, tokens=[5, 6, 7]) for name in ("run", "file", "rounded")}
    assert (found["run"]["weights"] == found["file"]["weights"]).all()
    assert np.abs(found["run"]["weights"] - found["rounded"]["weights"]).max() < 1e-2
    assert ask.engine._held["rounded"].tokenizer.vocab_size == 300
    assert ask.engine._held["run"].tokenizer is not BYTES


# --------------------------------------------------------------------------------- stored states


def test_what_is_stored_is_what_the_engine_answers(lab: Path) -> None:
    stored = json.loads((lab / "stored.json").read_text(encoding="utf-8"))
    ask = Ask(LabEngine(folder=lab))
    assert stored["examples"] == ask("open")["examples"]
    tokens, prompt = stored["text"]["tokens"], stored["text"]["prompt"]
    writer = next(m["entry"]["name"] for m in stored["models"] if m["entry"]["kind"] == "gpt")
    for model in stored["models"]:
        entry = model["entry"]
        name, config = entry["name"], entry["config"]
        if entry["kind"] == "encoder":
            assert [run["tokens"] for run in model["lists"]] == stored["examples"]["lists"]
            for run in model["lists"]:
                found = ask("look", name=name, tokens=run["tokens"])
                assert run["answers"] == found["answers"]
                assert np.abs(np.array(run["scores"]) - found["scores"]).max() < 6e-3
                _same_maps(run["maps"], found, len(run["tokens"]))
            continue
        assert len(tokens) == len(model["likeliest"]) > prompt
        encoded = ask("encode", name=name, text=stored["examples"]["text"])
        assert [each["token"] for each in encoded] == tokens[:prompt]
        found = ask("read", name=name, tokens=tokens)
        _same_maps(model["maps"], found, len(tokens))
        assert len(model["maps"]) == config["n_layers"]
        likeliest = [first for (first, _), *_ in model["likeliest"]]
        assert found["next"]["token"] == likeliest[-1]
        if name == writer:
            assert likeliest[prompt - 1 : -1] == tokens[prompt:]  # greedy
        for token in {*tokens, *(each[0] for row in model["likeliest"] for each in row)}:
            assert str(token) in stored["faces"]


def _same_maps(packed: list[list[str]], found: dict[str, Any], length: int) -> None:
    weights = found["weights"].reshape(found["shape"])
    for layer, heads in enumerate(packed):
        for head, text in enumerate(heads):
            assert np.abs(unpack_map(text, length).numpy() - weights[layer, head]).max() < 0.01


def test_the_page_replays_what_is_stored(made: Path) -> None:
    stored = json.loads((made / "lab" / "stored.json").read_text(encoding="utf-8"))
    answers = in_page(
        "attention_lab",
        """await (async () => {
          const engine = new view.StoredEngine(data);
          await engine.open();
          const all = [];
          for (const { entry, lists } of data.models) {
            if (!lists) all.push(await engine.read(entry.name, data.text.tokens.slice(0, 5)));
            else all.push(await engine.look(entry.name, lists[0].tokens));
          }
          const plain = ({ weights, shape, next }) => ({ weights: [...weights], shape, next });
          let refused = "";
          await engine.look(data.models.at(-1).entry.name, [0]).catch((e) => (refused = e.message));
          return [all.map(plain), refused];
        })()""",
        stored,
    )
    ask = Ask(LabEngine(folder=made / "lab"))
    for model, answer in zip(stored["models"], answers[0], strict=True):
        name = model["entry"]["name"]
        if "lists" not in model:
            found = ask("read", name=name, tokens=stored["text"]["tokens"][:5])
        else:
            found = ask("look", name=name, tokens=model["lists"][0]["tokens"])
        assert answer["shape"] == found["shape"]
        assert np.abs(np.array(answer["weights"]) - found["weights"]).max() < 0.01
    assert "was not stored" in answers[1]


def test_the_book_carries_the_lab(made: Path, tmp_path: Path) -> None:
    conf = script("conf")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "old.onnx").touch()
    conf.write_lab(made / "lab", tmp_path)
    carried = {path.name for path in (tmp_path / "models").iterdir()}
    assert carried == {path.name for path in (made / "lab").iterdir()} - {"stored.json"}
    text = (tmp_path / "stored.js").read_text(encoding="utf-8")
    body = re.fullmatch(r"window\.QKV_LAB_STORED = (.*);\n", text, re.DOTALL)
    assert body is not None
    carried_runs = json.loads(body[1])
    assert carried_runs.pop("state") == AttentionLab(LabEngine(folder=made / "lab")).static_state()
    assert carried_runs.pop("runtime_bytes") > 10_000_000
    assert carried_runs == json.loads((made / "lab" / "stored.json").read_text())
    runtime = json.loads((tmp_path / "runtime.json").read_text())
    vendor = ROOT / "book" / "_static" / "vendor" / "onnxruntime-web"
    for role, ending in (("script", ".mjs"), ("wasm", ".wasm")):
        data = (vendor / runtime[role]["file"]).read_bytes()
        assert runtime[role]["file"].endswith(ending)
        assert runtime[role]["sha256"] == hashlib.sha256(data).hexdigest()


def test_untrained_models_never_lie_in_the_courses_folder(
    make_lab: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    for out in ([], ["--out", "data/lab"], ["--out", "scripts/../data/lab"]):
        with pytest.raises(SystemExit):
            make_lab.main(["export", "--untrained", *out])
        assert "data/lab is for trained models" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        make_lab.main(["train", "QKW"])


def test_a_name_that_is_not_there_offers_the_nearest(own: Ask) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'mine'"):
        own.engine._find("mime")
