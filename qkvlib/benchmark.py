"""Speed as a ratio of two ways of doing the same work, measured in one process.

Seconds depend on the machine and on what else it does. So the two ways take turns, and what is kept
is how many times longer the one takes than the other, turn by turn: the median, and how far the
turns lie apart. Set ``OMP_PROC_BIND=true`` before PyTorch is imported: threads that move between
cores were seen to stall for 8 ms.
"""

from __future__ import annotations

import functools
import gc
import importlib.util
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Final

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from tqdm import tqdm

from qkvlib.accounting import cache_bytes, format_bytes
from qkvlib.attention import attend
from qkvlib.cache import KVCache
from qkvlib.config import ModelConfig, get_config
from qkvlib.generation import generate
from qkvlib.models import build_model
from qkvlib.records import cpu_name, versions
from qkvlib.sharing import unknown_name
from qkvlib.terminal import someone_watches
from qkvlib.text_table import aligned

Work = Callable[[], object]

_AT_LEAST: Final = 0.05  # seconds that one turn of either way takes, so that the clock is exact


@dataclass(frozen=True)
class SpeedRow:
    """How much longer the other way takes.

    Attributes:
        case: The two ways, "this against that".
        tokens: Tokens in the cache, or tokens made.
        ratio: Time of the other way divided by that of this one, the median over the turns; above 1
            this way is the faster one.
        low: The lowest ratio of any turn.
        high: The highest.
        turns: Turns that were counted.
        seconds: Median time of this way, for the work done once.
        other_seconds: Median time of the other way.
        note: What else was measured on the way.
    """

    case: str
    tokens: int
    ratio: float
    low: float
    high: float
    turns: int
    seconds: float
    other_seconds: float
    note: str = ""


@dataclass(frozen=True)
class SpeedTable:
    """The rows of one benchmark, and where they were measured."""

    name: str
    rows: tuple[SpeedRow, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the table as JSON can hold it."""
        return {
            "bench": self.name,
            "rows": [asdict(row) for row in self.rows],
            "cpu": cpu_name(),
            "threads": torch.get_num_threads(),
            "versions": versions("transformers"),
        }

    def to_text(self) -> str:
        """Return the table as aligned text."""
        lines = [("case", "tokens", "ratio", "lowest – highest", "this way", "the other")]
        lines += [
            (
                row.case,
                f"{row.tokens:,}",
                f"{row.ratio:.2f}",
                f"{row.low:.2f} – {row.high:.2f}",
                _seconds_text(row.seconds),
                _seconds_text(row.other_seconds),
            )
            for row in self.rows
        ]
        notes = [f"{row.case}, {row.tokens:,} tokens: {row.note}" for row in self.rows if row.note]
        machine = f"{cpu_name()}, {torch.get_num_threads()} threads; above 1 this way is faster."
        return "\n".join([aligned(lines), *notes, machine])


def _seconds_text(seconds: float) -> str:
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def compare_speed(
    case: str, tokens: int, this: Work, other: Work, *, turns: int = 7, note: str = ""
) -> SpeedRow:
    """Let two ways of doing the same work take turns.

    Args:
        case: What they are.
        tokens: For the row.
        this: Does the work once in the one way.
        other: Does it once in the other.
        turns: Turns to count; one more goes before them, to warm up.
        note: For the row.

    Raises:
        ValueError: If there is no turn.
    """
    if turns < 1:
        raise ValueError(f"turns={turns}: expected at least 1.")
    counts = [_times_for(work) for work in (this, other)]
    both = list(zip((this, other), counts, strict=True))
    counted = [[_timed(work, n) / n for work, n in both] for _ in range(turns + 1)][1:]
    ratios = [theirs / ours for ours, theirs in counted]
    ours, theirs = (statistics.median(column) for column in zip(*counted, strict=True))
    return SpeedRow(
        case=case,
        tokens=tokens,
        ratio=round(statistics.median(ratios), 3),
        low=round(min(ratios), 3),
        high=round(max(ratios), 3),
        turns=turns,
        seconds=ours,
        other_seconds=theirs,
        note=note,
    )


def _times_for(work: Work) -> int:
    """How often the work is to be repeated for one turn; it also warms up."""
    work()
    once = _timed(work, 1)
    return max(1, round(_AT_LEAST / once))


def _timed(work: Work, times: int) -> float:
    gc.collect()
    start = time.perf_counter()
    for _ in range(times):
        work()
    return time.perf_counter() - start


# Attention of one new token over what is cached

DECODE_SHAPE: Final = ModelConfig(
    d_model=4096, n_layers=8, n_heads=32, vocab_size=256, max_seq_len=16_384
)
"""Width and heads of a model of about 7 billion parameters; 32 heads of 128."""

_CACHE_BYTES: Final = (1 << 28, 1 << 30)  # at least and at most so many, where there are layers


def _layers(variant: str, tokens: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """A query, and the keys and values that a full cache hands out, for each layer.

    Layers take turns, as those of a model do, and are so many that none stays in the processor.
    """
    config = DECODE_SHAPE.replace(variant=variant)
    held = (1, config.n_kv_heads, tokens, config.head_dim)
    layers: list[tuple[Tensor, Tensor, Tensor]] = []
    layer_bytes = cache_bytes(config, tokens, dtype=torch.float32) // config.n_layers
    least, most = (-(-limit // layer_bytes) for limit in _CACHE_BYTES)
    for _ in range(min(most, max(config.n_layers, least))):
        tensors = {name: torch.randn(held) for name in config.sharing.cached}
        k, v = (tensors[config.sharing.roles[role]] for role in ("k", "v"))
        layers.append((torch.randn(1, config.n_heads, 1, config.head_dim), k, v))
    return layers


def _over(layers: Iterable[tuple[Tensor, Tensor, Tensor]], one: Callable[..., Tensor]) -> Work:
    def work() -> None:
        for q, k, v in layers:
            one(q, k, v)

    return work


_ours = functools.partial(attend, addend=None, causal=True)


def _by_enable_gqa(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, enable_gqa=True)


def _by_repeating(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    k, v = (each.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for each in (k, v))
    return F.scaled_dot_product_attention(q, k, v)


def _attention_rows(sizes: Iterable[int], turns: int) -> Iterator[SpeedRow]:
    for tokens in sizes:
        plain, tied = _layers("QKV", tokens), _layers("Q-K=V", tokens)
        yield compare_speed(
            "attention, Q-K=V against QKV", tokens, _over(tied, _ours), _over(plain, _ours),
            turns=turns,
        )  # fmt: skip
        for variant in ("GQA-8", "MQA"):
            layers = _layers(variant, tokens)
            for name, other in (("enable_gqa", _by_enable_gqa), ("repeating", _by_repeating)):
                yield compare_speed(
                    f"attention, {variant} folded against {name}",
                    tokens,
                    _over(layers, _ours),
                    _over(layers, other),
                    turns=turns,
                )


# Keeping what is new


def _cache_rows(tokens: int, turns: int) -> Iterator[SpeedRow]:
    config = get_config("300M").replace(n_layers=1, max_seq_len=tokens)
    for batch_size in (1, 8):
        new = {
            name: torch.randn(batch_size, config.n_kv_heads, 1, config.head_dim)
            for name in config.cached
        }
        cache = KVCache(config, batch_size)

        def write(cache: KVCache = cache, new: Mapping[str, Tensor] = new) -> None:
            cache.reset()
            for _ in range(tokens):
                cache.layers[0].append(new)

        def concatenate(new: Mapping[str, Tensor] = new) -> None:
            held = dict(new)
            for _ in range(tokens - 1):
                held = {name: torch.cat([held[name], new[name]], dim=2) for name in held}

        yield compare_speed(
            f"keeping keys and values, making room at once against cat, batch of {batch_size}",
            tokens,
            write,
            concatenate,
            turns=turns,
        )


# Generation from the first token to the last


def _generation_rows(new_tokens: int, turns: int) -> Iterator[SpeedRow]:
    prompt = torch.zeros(8, dtype=torch.long)
    config = get_config("small").replace(max_seq_len=len(prompt) + new_tokens)
    model = build_model(config, seed=0).eval()

    def make(use_cache: bool) -> Work:
        return lambda: list(generate(model, prompt, new_tokens, temperature=0, use_cache=use_cache))

    yield compare_speed(
        "generation, with a cache against without", new_tokens, make(True), make(False),
        turns=min(turns, 3),  # without a cache a turn takes half a minute
    )  # fmt: skip


def _transformers_rows(new_tokens: int, turns: int) -> Iterator[SpeedRow]:
    """Beside Hugging Face's transformers, where that is installed."""
    if importlib.util.find_spec("transformers") is None:
        return
    from transformers import DynamicCache, GPT2Config, GPT2LMHeadModel

    prompt = torch.zeros(16, dtype=torch.long)
    for name, config in GENERATION_SHAPES.items():
        room = len(prompt) + new_tokens
        config = config.replace(max_seq_len=room)
        ours = build_model(config, seed=0).eval()
        theirs = GPT2LMHeadModel(
            GPT2Config(
                vocab_size=config.vocab_size,
                n_positions=room,
                n_embd=config.d_model,
                n_layer=config.n_layers,
                n_head=config.n_heads,
                n_inner=config.d_ff,
                bos_token_id=0,
                eos_token_id=None,
            )
        )
        theirs.eval()
        their_cache = DynamicCache(config=theirs.config)

        def run_ours(model: Any = ours) -> list[int]:
            return list(generate(model, prompt, new_tokens, temperature=0))

        @torch.inference_mode()
        def run_theirs(model: Any = theirs, cache: Any = None) -> Tensor:
            made: Tensor = model.generate(
                prompt[None],
                attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
                max_new_tokens=new_tokens,
                min_new_tokens=new_tokens,
                do_sample=False,
                pad_token_id=0,
                past_key_values=cache,
            )
            return made

        run_theirs(cache=their_cache)
        their_bytes = sum(layer.keys.nbytes + layer.values.nbytes for layer in their_cache.layers)
        generation = generate(ours, prompt, new_tokens, temperature=0)
        list(generation)
        assert generation.cache is not None
        yield compare_speed(
            f"generation beside transformers, {name}",
            new_tokens,
            run_ours,
            run_theirs,
            turns=turns,
            note=f"cache {format_bytes(generation.cache.nbytes_used)} here, "
            f"{format_bytes(their_bytes)} there",
        )


GENERATION_SHAPES: Final[Mapping[str, ModelConfig]] = MappingProxyType(
    {
        "d_model 128, 4 layers": ModelConfig(
            d_model=128, n_layers=4, n_heads=4, vocab_size=256, max_seq_len=256
        ),
        "d_model 384, 6 layers": ModelConfig(
            d_model=384, n_layers=6, n_heads=6, vocab_size=256, max_seq_len=256
        ),
    }
)
"""Shapes of the models whose generation is compared with that of other libraries."""


@torch.inference_mode()
def bench_decode(
    sizes: Iterable[int] = (1024, 4096, 16_384),
    *,
    cached: int = 1024,
    new_tokens: int = 1000,
    turns: int = 7,
) -> SpeedTable:
    """Measure what makes decoding fast.

    Args:
        sizes: Tokens in the cache, for attention.
        cached: Tokens to keep one after the other, for writing.
        new_tokens: Tokens to make, for generation.
        turns: Turns of each pair.

    Returns:
        Attention over shared and separate keys and values; query heads folded against two other
        ways; room made at once against growing by ``cat``; generation with a cache against without;
        and beside transformers, where that is installed.
    """
    torch.manual_seed(0)
    parts = (
        _attention_rows(sizes, turns),
        _cache_rows(cached, turns),
        _generation_rows(new_tokens, turns),
        _transformers_rows(min(new_tokens, 200), turns),
    )
    rows = []
    with tqdm(desc="decode", unit=" cases", disable=not someone_watches(), leave=False) as bar:
        for part in parts:
            for row in part:
                rows.append(row)
                bar.update()
    return SpeedTable("decode", tuple(rows))


BENCHMARKS: Final[Mapping[str, Callable[..., SpeedTable]]] = MappingProxyType(
    {"decode": bench_decode}
)
"""Name -> benchmark."""


def get_benchmark(name: str) -> Callable[..., SpeedTable]:
    """Look a benchmark up by name.

    Raises:
        UnknownNameError: If there is none of that name; the message offers the nearest.
    """
    if name not in BENCHMARKS:
        raise unknown_name("benchmark", name, BENCHMARKS)
    return BENCHMARKS[name]
