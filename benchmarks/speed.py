"""Tokens per second beside x-transformers (training) and transformers (generation)."""

from __future__ import annotations

import os

# Both before torch is imported: threads stay on their core, and nothing asks the network.
os.environ.setdefault("OMP_PROC_BIND", "true")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import argparse
import gc
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm
from transformers import GPT2Config, GPT2LMHeadModel
from x_transformers import Decoder, TransformerWrapper

from qkvlib.config import ModelConfig
from qkvlib.generation import generate
from qkvlib.models import build_model, token_loss
from qkvlib.records import cpu_name, versions, write_atomically

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "data" / "results" / "speed.json"

SHAPES = {
    "d_model 128, 4 layers": ModelConfig(
        d_model=128, n_layers=4, n_heads=4, vocab_size=256, max_seq_len=256
    ),
    "d_model 384, 6 layers": ModelConfig(
        d_model=384, n_layers=6, n_heads=6, vocab_size=256, max_seq_len=256
    ),
}
BATCH_SIZE = 8
PROMPT, NEW_TOKENS = 16, 200


@dataclass(frozen=True)
class Pair:
    """Two ways of doing the same work: each call does it once."""

    case: str
    other: str
    tokens: int
    ours: Callable[[], object]
    theirs: Callable[[], object]
    n_params: tuple[int, int]

    def measure(self, turns: int) -> dict[str, Any]:
        """Let the two take turns; the first turn warms up and is not counted."""
        seconds = [
            (_seconds(self.ours), _seconds(self.theirs))
            for _ in tqdm(range(turns + 1), desc=self.case, leave=False)
        ]
        counted = seconds[1:]
        ratios = [theirs / ours for ours, theirs in counted]
        ours, theirs = (statistics.median(column) for column in zip(*counted, strict=True))
        return {
            "case": self.case,
            "other": self.other,
            "ratio": round(statistics.median(ratios), 3),
            "low": round(min(ratios), 3),
            "high": round(max(ratios), 3),
            "turns": turns,
            "tokens_per_second": round(self.tokens / ours),
            "other_tokens_per_second": round(self.tokens / theirs),
            "n_params": self.n_params[0],
            "other_n_params": self.n_params[1],
        }


def _seconds(work: Callable[[], object]) -> float:
    gc.collect()
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _n_params(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _trainer(model: nn.Module, tokens: Tensor, steps: int) -> Callable[[], None]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

    def work() -> None:
        for _ in range(steps):
            optimizer.zero_grad(set_to_none=True)
            token_loss(model(tokens[:, :-1]), tokens[:, 1:]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    return work


def training_pair(name: str, config: ModelConfig, steps: int) -> Pair:
    """Ours against x-transformers, both with learned positions and a tied output layer."""
    ours = build_model(config, seed=0)
    theirs = TransformerWrapper(
        num_tokens=config.vocab_size,
        max_seq_len=config.max_seq_len,
        tie_embedding=True,
        attn_layers=Decoder(
            dim=config.d_model,
            depth=config.n_layers,
            heads=config.n_heads,
            attn_dim_head=config.head_dim,
            attn_flash=True,
            ff_mult=config.d_ff // config.d_model,
        ),
    )
    tokens = torch.randint(config.vocab_size, (BATCH_SIZE, config.max_seq_len + 1))
    return Pair(
        case=f"training, {name}",
        other="x-transformers",
        tokens=steps * BATCH_SIZE * config.max_seq_len,
        ours=_trainer(ours, tokens, steps),
        theirs=_trainer(theirs, tokens, steps),
        n_params=(_n_params(ours), _n_params(theirs)),
    )


def generation_pair(name: str, config: ModelConfig) -> Pair:
    """Ours against transformers' GPT-2, greedy, one sequence, each with its own cache."""
    ours = build_model(config, seed=0).eval()
    theirs = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=config.vocab_size,
            n_positions=config.max_seq_len,
            n_embd=config.d_model,
            n_layer=config.n_layers,
            n_head=config.n_heads,
            n_inner=config.d_ff,
            bos_token_id=0,
            eos_token_id=None,
        )
    )
    theirs.eval()  # type: ignore[no-untyped-call]
    prompt = torch.randint(config.vocab_size, (PROMPT,))

    def run_ours() -> list[int]:
        return list(generate(ours, prompt, NEW_TOKENS, temperature=0))

    @torch.inference_mode()
    def run_theirs() -> Tensor:
        return theirs.generate(  # type: ignore[no-any-return]
            prompt[None],
            attention_mask=torch.ones(1, PROMPT, dtype=torch.long),
            max_new_tokens=NEW_TOKENS,
            min_new_tokens=NEW_TOKENS,
            do_sample=False,
            pad_token_id=0,
        )

    assert len(run_ours()) == run_theirs().shape[1] - PROMPT == NEW_TOKENS
    return Pair(
        case=f"generation with cache, {name}",
        other="transformers",
        tokens=NEW_TOKENS,
        ours=run_ours,
        theirs=run_theirs,
        n_params=(_n_params(ours), _n_params(theirs)),
    )


def main() -> None:
    """Measure every pair, print the table, write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=7, help="counted turns of each pair")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    args = parser.parse_args()
    torch.manual_seed(0)

    rows = []
    for name, config in SHAPES.items():
        rows.append(training_pair(name, config, steps=4).measure(args.turns))
        rows.append(generation_pair(name, config).measure(args.turns))
    result = {
        "rows": rows,
        "cpu": cpu_name(),
        "threads": torch.get_num_threads(),
        "versions": versions("x-transformers", "transformers"),
    }
    write_atomically(OUT, json.dumps(result, indent=1) + "\n")
    if args.json:
        print(json.dumps(result))
        return
    print(f"{'case':42} {'beside':15} {'ratio':>6}  {'low – high':>13}  {'ours':>8} {'theirs':>8}")
    for row in rows:
        print(
            f"{row['case']:42} {row['other']:15} {row['ratio']:6.2f}  "
            f"{row['low']:5.2f} – {row['high']:5.2f}  "
            f"{row['tokens_per_second']:8,} {row['other_tokens_per_second']:8,}  tokens/s"
        )
    print(f"{result['cpu']}, {result['threads']} threads; written to {OUT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
