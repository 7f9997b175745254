"""A lab of three tiny models, made by the script that makes the course's, once for all workers."""

from __future__ import annotations

import dataclasses
import fcntl
import functools
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from qkvlib import ModelConfig, SyntheticTask, TextTask, TrainConfig, standard_library_text

ROOT = Path(__file__).resolve().parent.parent
COURSES = ROOT / "data" / "lab"
"""The course's own lab."""


def script(name: str) -> ModuleType:
    """Load one of the repository's scripts."""
    place = ROOT / ("book" if name == "conf" else "scripts") / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"lab_{name}", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def families(make_lab: ModuleType, text: Path) -> tuple[Any, Any]:
    """Tiny models: two that write, one that answers lists."""
    gpts = dataclasses.replace(
        make_lab.GPTS,
        variants=("QKV", "Q-MQA"),
        model=ModelConfig(d_model=32, n_layers=2, n_heads=2, vocab_size=1, max_seq_len=1),
        task=functools.partial(TextTask, 128, files=[text], bpe_vocab_size=300, eval_windows=8),
        training=TrainConfig(steps=40, batch_size=4, lr=1e-2, eval_every=40, save_every=20),
    )
    encoders = dataclasses.replace(
        make_lab.ENCODERS,
        variants=("(Q=K-V)+",),
        task=functools.partial(SyntheticTask, "REVERSE", 10, eval_lists=16),
        training=TrainConfig(steps=40, batch_size=16, lr=1e-2, eval_every=40, save_every=40),
    )
    return gpts, encoders


def small_lab(factory: pytest.TempPathFactory) -> Path:
    """Return a folder with ``lab`` as ``data/lab`` is, ``runs``, and the text they learned."""
    shared = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / "small-lab"
    folder.mkdir(exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "lab" / "stored.json").exists():
            make_lab = script("make_lab")
            text = folder / "text.py"
            text.write_bytes(standard_library_text()[:60_000])
            made = families(make_lab, text)
            for family in made:
                for variant in family.variants:
                    family.run(variant, folder / "runs")
            make_lab.export(folder / "lab", folder / "runs", made)
    return folder
