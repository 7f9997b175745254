"""Jobs for sweeps that take no time."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

from qkvlib import Job, ModelConfig, SyntheticTask, TrainConfig

SHAPE = ModelConfig(
    d_model=8, n_layers=1, n_heads=2, vocab_size=10, max_seq_len=4, causal=False, position="none"
)


def make_job(seed: int = 0, **changes: Any) -> Job:
    job = Job(
        name=f"copy/seed-{seed}",
        model=SHAPE,
        training=TrainConfig(steps=3, batch_size=2, seed=seed),
        task=functools.partial(SyntheticTask, "COPY", 4, seed=seed, eval_lists=4),
    )
    return dataclasses.replace(job, **changes)
