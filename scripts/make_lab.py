"""Make the models of the Attention Lab in ``data/lab``: small language models, and encoders.

All language models have one recipe and one seed; so have all encoders. Weights are rounded to
float16, and what is measured is measured on the rounded models.

    python scripts/make_lab.py train all       # 40 minutes each on one core; stop, start at will
    python scripts/make_lab.py encoders        # a minute each
    python scripts/make_lab.py export          # writes data/lab from the runs

To see the lab before its models are trained, or with a change of your own:

    python scripts/make_lab.py export --untrained --out /tmp/lab
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

from qkvlib.checkpoint import CHECKPOINT_FILE, load_checkpoint
from qkvlib.config import ModelConfig
from qkvlib.experiments import SIX_VARIANTS
from qkvlib.export import export_onnx, round_to_half
from qkvlib.lab import MANIFEST_FILE, PROMPT, LabEngine, model_entry
from qkvlib.models import TokenTransformer, Transformer, build_model
from qkvlib.records import RECORD_FILE, RunRecord, write_atomically
from qkvlib.sharing import parse_variant
from qkvlib.stats import Interval
from qkvlib.task_maps import pack_map
from qkvlib.tasks import Task
from qkvlib.tasks.synthetic import SyntheticTask
from qkvlib.tasks.text import TextTask
from qkvlib.tokenizer import TOKENIZER_FILE, BPETokenizer
from qkvlib.training import TrainConfig, evaluate, train

ROOT: Final = Path(__file__).resolve().parent.parent
OUT: Final = ROOT / "data" / "lab"
RUNS: Final = ROOT / "runs" / "lab"
STORED_FILE: Final = "stored.json"

ABOUT: Final = (
    "Small models of the Attention Lab, made by scripts/make_lab.py. Each graph reads its weights "
    "from the safetensors file beside it."
)


@dataclass(frozen=True)
class Family:
    """Models that differ by their sharing only.

    Attributes:
        kind: ``"gpt"`` or ``"encoder"``.
        variants: Their sharings.
        model: Their shape; vocabulary and context are the task's.
        task: Makes what they are trained on.
        training: How.
    """

    kind: str
    variants: tuple[str, ...]
    model: ModelConfig
    task: Callable[[], Task]
    training: TrainConfig

    def config(self, variant: str, task: Any) -> ModelConfig:
        """The configuration of one of them."""
        return self.model.replace(
            variant=variant, vocab_size=task.vocab_size, max_seq_len=task.seq_len
        )

    def run(self, variant: str, runs: Path) -> RunRecord:
        """Train one of them, or go on where its run stopped."""
        task = self.task()
        model = build_model(self.config(variant, task), seed=self.training.seed)
        return train(model, task, self.training, out=runs / self.stem(variant), resume=True)

    def stem(self, variant: str) -> str:
        """What the files of one of them are called: letters that every server serves."""
        form = parse_variant(variant).tuple_form.lower().replace("=", "").replace(", ", "_")
        words = re.sub(r"[()]", "", form).replace("+", " plus").split()
        return "-".join([self.kind, *words])


GPTS: Final = Family(
    "gpt",
    ("QKV", "Q=K-V", "Q-K=V", "Q=K=V", "MQA", "Q-MQA"),
    ModelConfig(d_model=96, n_layers=4, n_heads=4, vocab_size=1024, max_seq_len=256),
    functools.partial(TextTask, 256, bpe_vocab_size=1024, eval_windows=256),
    # 32.8 million tokens, in many small steps: Q=K=V gains from both.
    TrainConfig(steps=32_000, batch_size=4, lr=4e-3, min_lr=0.0, eval_every=4000, save_every=1000),
)

# Of the tasks on lists, REVERSE has the maps that can be read: who looks where is one line across.
ENCODERS: Final = Family(
    "encoder",
    SIX_VARIANTS,
    ModelConfig(
        d_model=48, n_layers=2, n_heads=2, vocab_size=10, max_seq_len=10, causal=False,
        tie_embeddings=False,  # tied, an untrained model solves most of COPY
    ),
    functools.partial(SyntheticTask, "REVERSE", 10),
    TrainConfig(steps=3000, batch_size=64, lr=2e-3, eval_every=1000, save_every=1000),
)  # fmt: skip

LISTS: Final = ((3, 1, 4, 1, 5, 9, 2, 6, 5, 3), (9, 8, 7, 6, 5, 4, 3, 2, 1, 0))
"""What the encoders begin with."""

NEW_TOKENS: Final = 28
"""So many tokens of each language model are stored."""

RESAMPLES: Final = 10_000


# What is measured


@torch.inference_mode()
def bits_per_byte(model: Transformer, task: TextTask) -> tuple[Interval, str]:
    """Measure a language model on held-out windows.

    Returns:
        Bits per byte with its interval, and how that was made.
    """
    sizes = torch.tensor([len(piece) for piece in task.tokenizer.token_bytes])
    bits, n_bytes = [], []
    model.eval()
    for inputs, targets in task.eval_batches(16):
        losses = F.cross_entropy(model(inputs).mT, targets, reduction="none")
        bits += (losses.double().sum(dim=1) / math.log(2)).tolist()
        n_bytes += sizes[targets].sum(dim=1).tolist()
    n = len(bits)
    drawn = np.random.default_rng(0).integers(n, size=(RESAMPLES, n))
    means = np.array(bits)[drawn].sum(axis=1) / np.array(n_bytes)[drawn].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    how = (
        f"bits over bytes of {n} held-out windows of {task.seq_len} tokens; 95 % bootstrap over "
        f"windows, {RESAMPLES:,} resamples, seed 0"
    )
    return Interval(sum(bits) / sum(n_bytes), float(low), float(high), n, 0.95), how


def measured(model: TokenTransformer, task: Task) -> dict[str, Any]:
    """Measure a model that has been rounded, ready for the manifest."""
    if isinstance(task, TextTask):
        found, how = bits_per_byte(model, task)
        ends = {"bits_per_byte": found.mean, "low": found.low, "high": found.high}
        return {"loss": {k: round(v, 4) for k, v in ends.items()} | {"n": found.n, "how": how}}
    found_accuracy = evaluate(model, task)["accuracy"]
    return {"accuracy": round(found_accuracy, 4)}


# What is written


class LabRunError(ValueError):
    """The lab cannot be made from these runs; the message says why and what to do."""


def file_facts(path: Path) -> dict[str, Any]:
    """Return a file's name, size and sum."""
    data = path.read_bytes()
    return {"file": path.name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def trained(
    family: Family, variant: str, runs: Path, task: Task
) -> tuple[TokenTransformer, dict[str, str]]:
    """Read a finished run.

    Returns:
        The model, and the versions that it was trained with.

    Raises:
        LabRunError: If it is not finished, or was trained on something else.
    """
    folder = runs / family.stem(variant)
    how = "encoders" if family.kind == "encoder" else f"train {variant}"
    if not (folder / RECORD_FILE).exists():
        begun = "is not finished" if (folder / CHECKPOINT_FILE).exists() else "is not there"
        raise LabRunError(f"the run {folder} {begun}. Train it: python scripts/make_lab.py {how}")
    record = RunRecord.load(folder)
    here = facts_of(task)
    if (recipe := _other_recipe(family, variant, record, task)) is not None:
        raise LabRunError(
            f"the run {folder} has another recipe than here: {recipe}. Move it away and train it: "
            f"python scripts/make_lab.py {how}"
        )
    if any(record.task.get(name) != here.get(name) for name in ("sha256", "tokenizer")):
        raise LabRunError(
            f"the run {folder} was trained on another text, or other tokens, than here (Python "
            f"{record.task.get('python')}, now {here.get('python')}), so what is held out here "
            "may have been trained on. Export where it was trained, or train again."
        )
    model = load_checkpoint(folder)
    assert isinstance(model, TokenTransformer)
    return model, record.versions


def _other_recipe(family: Family, variant: str, record: RunRecord, task: Any) -> str | None:
    """What in a run is not as this script would train it, in words; ``None`` where all is."""
    wanted = family.config(variant, task).to_dict() | family.training.to_dict()
    found = record.model | record.training
    for name in ("save_every", "vocab_size", "max_seq_len"):  # harmless, or facts of the data
        wanted.pop(name, None)
    differ = [f"{k}={found.get(k)} in place of {v}" for k, v in wanted.items() if found.get(k) != v]
    return ", ".join(differ) or None


def facts_of(task: Any) -> dict[str, Any]:
    """What identifies the data; the hash says which text it was."""
    facts = {name: value for name, value in task.describe().items() if name != "files"}
    if task.bytes_per_token is not None:
        facts["bytes_per_token"] = round(task.bytes_per_token, 4)
    return facts


def recipe_of(family: Family, task: Any) -> dict[str, Any]:
    """What all models of a family have in common."""
    shape = family.config(family.variants[0], task).to_dict()
    for name in ("sharing", "n_kv_heads", "plus_channels"):
        del shape[name]
    steps, batch = family.training.steps, family.training.batch_size
    return {
        "model": shape,
        "training": family.training.to_dict(),
        "tokens": steps * batch * task.seq_len,
    }


def export(
    out: Path,
    runs: Path,
    families: Sequence[Family] = (GPTS, ENCODERS),
    *,
    untrained: bool = False,
) -> None:
    """Write the lab's folder: graphs, weights, tokenizer, list and stored states.

    Args:
        out: The folder.
        runs: The folder of the runs.
        families: The models.
        untrained: Take models that have learned nothing, in place of the runs.
    """
    out.mkdir(parents=True, exist_ok=True)
    entries, recipe, data = [], {}, {}
    tokenizer: dict[str, Any] = {}
    for family in families:
        task: Any = family.task()
        recipe[family.kind] = recipe_of(family, task)
        data["text" if isinstance(task, TextTask) else "lists"] = facts_of(task)
        if isinstance(task, TextTask):
            assert isinstance(task.tokenizer, BPETokenizer)
            task.tokenizer.save(out / TOKENIZER_FILE)
            tokenizer = file_facts(out / TOKENIZER_FILE)
        for variant in family.variants:
            stem = family.stem(variant)
            if untrained:
                model: Any = build_model(family.config(variant, task), seed=family.training.seed)
            else:
                model, recipe[family.kind]["versions"] = trained(family, variant, runs, task)
            round_to_half(model)
            graph, weights = out / f"{stem}.onnx", out / f"{stem}.safetensors"
            export_onnx(model, graph, half=True, weights=weights)
            entry = model_entry(f"{family.kind}/{variant}", model)
            entry |= {"graph": file_facts(graph), "weights": file_facts(weights)}
            entry |= measured(model, task)
            if family.kind == "encoder":
                entry["task"] = {"name": task.name, "length": task.seq_len}
            entries.append(entry)
            print(f"{entry['name']}: {entry.get('loss') or entry.get('accuracy')}", flush=True)
    manifest = {
        "about": ABOUT,
        "trained": not untrained,
        "tokenizer": tokenizer,
        **data,
        "recipe": recipe,
        "examples": {"text": PROMPT, "lists": [list(each) for each in LISTS]},
        "models": entries,
    }
    write_atomically(out / MANIFEST_FILE, json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
    stored = json.dumps(stored_states(LabEngine(folder=out)), separators=(",", ":"))
    write_atomically(out / STORED_FILE, stored + "\n")


# Stored states: what the engine answers, small enough for a page opened from a file


class Asker:
    """Asks an engine, and unpacks its buffers."""

    def __init__(self, engine: LabEngine) -> None:
        self.engine = engine

    def __call__(self, task: str, **given: Any) -> Any:
        answer, buffers = self.engine.answer({"id": 0, "task": task, **given})
        if "error" in answer:
            raise LabRunError(answer["error"])
        result = answer["result"]
        if isinstance(result, dict):
            for name, value in result.items():
                if isinstance(value, dict) and "buffer" in value:
                    result[name] = torch.frombuffer(
                        bytearray(buffers[value["buffer"]]), dtype=torch.float32
                    )
        return result


def stored_states(engine: LabEngine) -> dict[str, Any]:
    """Run the examples, and keep what a page needs to show them again."""
    ask = Asker(engine)
    opened = ask("open")
    faces: dict[int, str] = {}
    tokens, prompt = _written(ask, opened, faces)
    models = []
    for entry in opened["models"]:
        kept = {name: v for name, v in entry.items() if name not in ("graph", "weights")}
        if entry["kind"] == "gpt":
            run = _stored_text(ask, entry["name"], tokens, faces)
        else:
            run = _stored_lists(ask, entry["name"], opened["examples"]["lists"])
        models.append({"entry": kept} | run)
    return {
        "about": opened["about"],
        "examples": opened["examples"],
        "text": {"tokens": tokens, "prompt": prompt},
        "faces": {str(token): faces[token] for token in sorted(faces)},
        "models": models,
    }


def _written(ask: Asker, opened: dict[str, Any], faces: dict[int, str]) -> tuple[list[int], int]:
    """The prompt, and what the first language model adds: the text that all of them read.

    Maps of two models can be compared only where both have read the same.
    """
    first = next(entry for entry in opened["models"] if entry["kind"] == "gpt")
    prompt = ask("encode", name=first["name"], text=opened["examples"]["text"])
    faces |= {each["token"]: each["face"] for each in prompt}
    tokens = [each["token"] for each in prompt]
    room = first["config"]["max_seq_len"] - len(tokens)
    for _ in range(min(NEW_TOKENS, room)):
        found = ask("read", name=first["name"], tokens=tokens, known=len(tokens))
        tokens.append(found["next"]["token"])
    return tokens, len(prompt)


def _stored_text(ask: Asker, name: str, tokens: list[int], faces: dict[int, str]) -> dict[str, Any]:
    """What a model takes for likely after each token, and a map for each head."""
    rows: list[torch.Tensor] = []
    after = []
    for at in range(len(tokens)):
        found = ask("read", name=name, tokens=tokens[: at + 1], known=at)
        rows.append(found["weights"].view(found["shape"])[:, :, 0])
        after.append([[each["token"], round(each["share"], 3)] for each in found["likeliest"]])
        faces |= {each["token"]: each["face"] for each in [found["next"], *found["likeliest"]]}
    maps = torch.stack([F.pad(row, (0, len(rows) - row.shape[-1])) for row in rows], dim=2)
    return {"likeliest": after, "maps": [[pack_map(head) for head in layer] for layer in maps]}


def _stored_lists(ask: Asker, name: str, examples: list[list[int]]) -> dict[str, Any]:
    """The lists, the answers, and a map for each head."""
    lists = []
    for tokens in examples:
        found = ask("look", name=name, tokens=tokens)
        weights = found["weights"].view(found["shape"])
        lists.append(
            {
                "tokens": tokens,
                "answers": found["answers"],
                "scores": _rounded(found["scores"]),
                "maps": [[pack_map(head) for head in layer] for layer in weights],
            }
        )
    return {"lists": lists}


def _rounded(values: torch.Tensor) -> list[float]:
    return [round(value, 2) for value in values.tolist()]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--runs", type=Path, default=RUNS, help="folder of the runs")
    parser.add_argument("--steps", type=int, help="train for so many steps, to try it out")
    what = parser.add_subparsers(dest="what", required=True)
    training = what.add_parser("train", help="train the language models")
    training.add_argument("names", nargs="+", choices=["all", *GPTS.variants], metavar="NAME")
    what.add_parser("encoders", help="train the encoders")
    writing = what.add_parser("export", help="write the lab's folder from the runs")
    writing.add_argument("--out", type=Path, default=OUT, help="folder to write")
    writing.add_argument("--untrained", action="store_true", help="models that know nothing")
    options = parser.parse_args(arguments)

    gpts, encoders = (_shortened(family, options.steps) for family in (GPTS, ENCODERS))
    if options.what == "export":
        if options.untrained and options.out.resolve() == OUT:
            parser.error("--untrained needs --out: data/lab is for trained models")
        export(options.out, options.runs, (gpts, encoders), untrained=options.untrained)
        return
    family = encoders if options.what == "encoders" else gpts
    chosen: Iterable[str] = family.variants
    if options.what == "train" and "all" not in options.names:
        chosen = options.names
    for variant in chosen:
        record = family.run(variant, options.runs)
        numbers = ", ".join(f"{name} {value:.4f}" for name, value in record.metrics.items())
        print(f"{family.stem(variant)}: {numbers}, {record.seconds:.0f} s", flush=True)


def _shortened(family: Family, steps: int | None) -> Family:
    if steps is None:
        return family
    changes = {"steps": steps, "warmup_steps": min(family.training.warmup_steps, steps // 10)}
    training = dataclasses.replace(family.training, **changes)
    return dataclasses.replace(family, training=training)


if __name__ == "__main__":
    main()
