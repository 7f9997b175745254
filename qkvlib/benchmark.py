"""What is measured, by name: ways of decoding, and this library beside others.

How it is measured is in :mod:`qkvlib.speed`. Set ``OMP_PROC_BIND=true`` before PyTorch is imported:
threads that move between cores were seen to stall for 8 ms.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import itertools
import math
import mmap
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from tqdm import tqdm

from qkvlib.accounting import cache_bytes, format_bytes
from qkvlib.attention import attend, attend_folded
from qkvlib.cache import KVCache
from qkvlib.config import ModelConfig, get_config
from qkvlib.devices import device_name, usable_device
from qkvlib.generation import generate
from qkvlib.linear import Linear
from qkvlib.models import Transformer, build_model, token_loss
from qkvlib.sharing import look_up
from qkvlib.speed import SpeedRow, SpeedTable, Work, compare_speed
from qkvlib.terminal import someone_watches

# Attention of one new token over what is cached

DECODE_SHAPE: Final = ModelConfig(
    d_model=4096, n_layers=8, n_heads=32, vocab_size=256, max_seq_len=16_384
)
"""Width and heads of a model of about 7 billion parameters; 32 heads of 128.

:meta hide-value:
"""

_CACHE_BYTES: Final = (1 << 28, 1 << 30)  # at least and at most so many, where there are layers


@dataclass(frozen=True)
class _Place:
    """Where attention is measured, how finely, and for how many texts at once."""

    device: torch.device
    dtype: torch.dtype
    batch_size: int


_ON_CPU: Final = _Place(torch.device("cpu"), torch.float32, 1)


def _n_layers(variant: str, tokens: int, place: _Place) -> int:
    """So many that no cache stays in the processor from one turn of it to the next."""
    config = DECODE_SHAPE.replace(variant=variant)
    total = cache_bytes(config, tokens, batch_size=place.batch_size, dtype=place.dtype)
    least, most = (-(-limit // (total // config.n_layers)) for limit in _CACHE_BYTES)
    return min(most, max(config.n_layers, least))


def _layers(
    variant: str, tokens: int, n_layers: int, place: _Place
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """A query, and the keys and values that a full cache hands out, for each layer.

    Layers take turns, as those of a model do.
    """
    config = DECODE_SHAPE.replace(variant=variant)
    draw = functools.partial(torch.randn, device=place.device, dtype=place.dtype)
    held = (place.batch_size, config.n_kv_heads, tokens, config.head_dim)
    layers: list[tuple[Tensor, Tensor, Tensor]] = []
    for _ in range(n_layers):
        tensors = {name: draw(held) for name in config.sharing.cached}
        k, v = (tensors[config.sharing.roles[role]] for role in ("k", "v"))
        layers.append((draw(place.batch_size, config.n_heads, 1, config.head_dim), k, v))
    return layers


def _over(layers: Iterable[tuple[Tensor, Tensor, Tensor]], one: Callable[..., Tensor]) -> Work:
    def work() -> None:
        for q, k, v in layers:
            one(q, k, v)

    return work


def _of_one_layer(n_layers: int, row: SpeedRow) -> SpeedRow:
    """Rows have as many layers as they need; only times of one can be compared between rows."""
    return replace(row, seconds=row.seconds / n_layers, other_seconds=row.other_seconds / n_layers)


_ours = functools.partial(attend, addend=None, causal=True)


def _by_enable_gqa(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, enable_gqa=True)


def _by_repeating(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    k, v = (each.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for each in (k, v))
    return F.scaled_dot_product_attention(q, k, v)


def _new_memory(shape: tuple[int, ...]) -> Tensor:
    """Memory that the system gives to the program for this, and clears, page by page."""
    private = {} if sys.platform == "win32" else {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS}
    pages = mmap.mmap(-1, 4 * math.prod(shape), **private)
    return torch.frombuffer(pages, dtype=torch.float32).view(shape)


def _by_repeating_in(
    room: Callable[[tuple[int, ...]], Tensor],
) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Repeating, with the copies of keys and values in memory of that kind."""

    def one(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        b, g, s, d = k.shape
        copies = room((2, b, q.shape[1], s, d))
        for copy, each in zip(copies, (k, v), strict=True):
            copy.view(b, g, -1, s, d).copy_(each[:, :, None])
        return F.scaled_dot_product_attention(q, copies[0], copies[1])

    return one


def _other_ways(layer: tuple[Tensor, Tensor, Tensor]) -> dict[str, Callable[..., Tensor]]:
    """Name -> what folding is compared with.

    PyTorch hands out memory of a CPU as the C library does, from what the program has freed or from
    the system, whichever it has. That made 15 ms or 47 of one row, by what had been measured before
    it. So each kind has a row. A GPU's memory is kept by PyTorch itself.
    """
    q, k, _ = layer
    if k.is_cuda:
        return {"enable_gqa": _by_enable_gqa, "repeating": _by_repeating}
    kept = _new_memory((2, len(k), q.shape[1], *k.shape[2:]))
    return {
        "enable_gqa": _by_enable_gqa,
        "repeating in new memory": _by_repeating_in(_new_memory),
        "repeating in memory kept": _by_repeating_in(lambda _: kept),
    }


def _attention_rows(
    sizes: Iterable[int], turns: int, place: _Place = _ON_CPU
) -> Iterator[SpeedRow]:
    for tokens in sizes:
        n_layers = _n_layers("Q-K=V", tokens, place)  # the smaller cache; for both as many
        plain, tied = (_layers(name, tokens, n_layers, place) for name in ("QKV", "Q-K=V"))
        yield _of_one_layer(n_layers, compare_speed(
            "attention, Q-K=V against QKV", tokens, _over(tied, _ours), _over(plain, _ours),
            turns=turns,
        ))  # fmt: skip
        for variant in ("GQA-8", "MQA"):
            layers = _layers(variant, tokens, _n_layers(variant, tokens, place), place)
            for name, other in _other_ways(layers[0]).items():
                row = compare_speed(
                    f"attention, {variant} folded against {name}",
                    tokens,
                    _over(layers, attend_folded),
                    _over(layers, other),
                    turns=turns,
                )
                yield _of_one_layer(len(layers), row)


# A whole step


def _step(variant: str, tokens: int, place: _Place) -> Work:
    """One new token in each text, behind so many less one that the cache holds."""
    layers = DECODE_SHAPE.n_layers if place.device.type == "cuda" else 2
    config = DECODE_SHAPE.replace(variant=variant, n_layers=layers)
    with place.device:  # a GPU draws 1.7 billion weights in no time
        model = build_model(config, seed=0)
    model = model.to(place.dtype).eval()
    cache = KVCache(
        config, place.batch_size, capacity=tokens, dtype=place.dtype, device=place.device
    )
    for layer in cache.layers:
        layer.length = tokens - 1
        for tensor in layer.tensors.values():
            tensor.normal_()
    new = torch.zeros(place.batch_size, 1, dtype=torch.long, device=place.device)

    def work() -> None:
        model(new, cache=cache)
        cache.truncate(tokens - 1)

    return work


def _recorded(work: Work) -> Work:
    """The same on a GPU without its cost of being called: all kernels are started at once."""
    work()  # what is set up on first use must not be recorded
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()

    def again(_work: Work = work) -> None:  # whose weights and cache the graph reads, unasked
        graph.replay()

    return again


def _step_rows(sizes: Iterable[int], turns: int, place: _Place) -> Iterator[SpeedRow]:
    kinds: dict[str, Callable[[Work], Work]] = {"a decode step": lambda work: work}
    if place.device.type == "cuda":
        kinds["a decode step, recorded"] = _recorded
    for i, tokens in enumerate(sizes):
        plain = _step("QKV", tokens, place)
        if i == 0 and place.device.type == "cuda":
            # What a new process does first was seen to take 1.2 times as long, also beside itself.
            compare_speed("warm up", tokens, plain, plain, turns=turns)
        others = {kind: made(plain) for kind, made in kinds.items()}
        for variant in ("Q-K=V", "GQA-8", "MQA", "Q-MQA"):
            this = _step(variant, tokens, place)
            for kind, other in others.items():
                case = f"{kind}, {variant} against QKV"
                yield compare_speed(case, tokens, kinds[kind](this), other, turns=turns)


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


# Beside other libraries

SHAPES: Final[Mapping[str, ModelConfig]] = MappingProxyType(
    {
        "d_model 128, 4 layers": ModelConfig(
            d_model=128, n_layers=4, n_heads=4, vocab_size=256, max_seq_len=256
        ),
        "d_model 384, 6 layers": ModelConfig(
            d_model=384, n_layers=6, n_heads=6, vocab_size=256, max_seq_len=256
        ),
    }
)
"""Models that are compared with those of other libraries; all have learned positions.

:meta hide-value:
"""


def _trainer(model: nn.Module, tokens: Tensor) -> Work:
    """One update: batch in, weights changed."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

    def work() -> None:
        optimizer.zero_grad(set_to_none=True)
        token_loss(model(tokens[:, :-1]), tokens[:, 1:]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return work


def bench_train(*, batch_size: int = 8, turns: int = 7) -> SpeedTable:
    """Measure training beside x-transformers, both with fused AdamW and a tied output layer.

    Args:
        batch_size: Sequences in an update, as long as the model's context.
        turns: Turns of each pair.

    Raises:
        ModuleNotFoundError: If x-transformers is not installed; the message says how to get it.
    """
    if importlib.util.find_spec("x_transformers") is None:
        raise ModuleNotFoundError(
            'this benchmark needs x-transformers: pip install "qkvlib[bench]", or make bench.'
        )
    from x_transformers import Decoder, TransformerWrapper

    torch.manual_seed(0)
    rows = []
    for name, config in SHAPES.items():
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
        sizes = [sum(p.numel() for p in model.parameters()) for model in (ours, theirs)]
        tokens = torch.randint(config.vocab_size, (batch_size, config.max_seq_len + 1))
        rows.append(
            compare_speed(
                f"an update beside x-transformers, {name}",
                batch_size * config.max_seq_len,
                _trainer(ours, tokens),
                _trainer(theirs, tokens),
                turns=turns,
                note=f"{sizes[0]:,} parameters here, {sizes[1]:,} there",
            )
        )
    return SpeedTable("train", tuple(rows))


# Generation from the first token to the last


def _generation_rows(new_tokens: int, turns: int) -> Iterator[SpeedRow]:
    prompt = torch.zeros(8, dtype=torch.long)
    # Large enough that a pass over many tokens is arithmetic and not the cost of calling.
    config = ModelConfig(
        d_model=256, n_layers=4, n_heads=4, vocab_size=256, max_seq_len=len(prompt) + new_tokens
    )
    model = build_model(config, seed=0).eval()

    def make(use_cache: bool) -> Work:
        return lambda: list(generate(model, prompt, new_tokens, temperature=0, use_cache=use_cache))

    with _threads(1):  # a second one helps more with many tokens: the ratio would mix both
        row = compare_speed(
            "generation on one thread, with a cache against without",
            new_tokens,
            make(True),
            make(False),
            turns=min(turns, 3),  # a thousand passes over up to a thousand tokens take their time
        )
    yield row


def _linear_rows(new_tokens: int, turns: int) -> Iterator[SpeedRow]:
    """Weights read by all threads, where they are large enough for it, and by one."""
    prompt = torch.zeros(16, dtype=torch.long)
    name, config = list(SHAPES.items())[-1]
    config = config.replace(max_seq_len=len(prompt) + new_tokens)
    ours, plain = (build_model(config, seed=0).eval() for _ in range(2))
    for layer in plain.modules():
        if isinstance(layer, Linear):
            layer.forward = functools.partial(nn.Linear.forward, layer)  # type: ignore[method-assign]

    def make(model: Transformer) -> Work:
        return lambda: list(generate(model, prompt, new_tokens, temperature=0))

    yield compare_speed(
        f"generation, weights shared out among threads against nn.Linear, {name}",
        new_tokens,
        make(ours),
        make(plain),
        turns=turns,
    )


@contextlib.contextmanager
def _threads(n: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _transformers_rows(new_tokens: int, turns: int) -> Iterator[SpeedRow]:
    """Beside Hugging Face's transformers, where that is installed."""
    if importlib.util.find_spec("transformers") is None:
        return
    from transformers import DynamicCache, GPT2Config, GPT2LMHeadModel

    prompt = torch.zeros(16, dtype=torch.long)
    for name, config in SHAPES.items():
        room = len(prompt) + new_tokens
        config = config.replace(max_seq_len=room)
        ours = build_model(config, seed=0).eval()
        theirs: Any = GPT2LMHeadModel(
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
        their_cache: Any = DynamicCache(config=theirs.config)

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
                cache=cache,
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
        ways; room made at once against growing by ``cat``; generation with a cache against without,
        with weights read by all threads against by one, and beside transformers, where that is
        installed.
    """
    torch.manual_seed(0)
    parts = (
        _attention_rows(sizes, turns),
        _cache_rows(cached, turns),
        _generation_rows(new_tokens, turns),
        _linear_rows(min(new_tokens, 200), turns),
        _transformers_rows(min(new_tokens, 200), turns),
    )
    return SpeedTable("decode", _measured("decode", parts))


def _measured(name: str, parts: Iterable[Iterable[SpeedRow]]) -> tuple[SpeedRow, ...]:
    rows = itertools.chain.from_iterable(parts)
    return tuple(tqdm(rows, name, unit=" cases", disable=not someone_watches(), leave=False))


@torch.inference_mode()
def bench_attention(
    sizes: Iterable[int] = (1024, 4096, 16_384), *, turns: int = 7, device: str = "cpu"
) -> SpeedTable:
    """Measure attention alone, the part of :func:`bench_decode` that a GPU can repeat.

    Args:
        sizes: Tokens in the cache.
        turns: Turns of each pair.
        device: ``"cpu"``: one text in float32. ``"cuda"``: eight texts at once in bfloat16, so that
            there is enough to read for a GPU's memory to be what limits it; about 30 GB of it.

    Raises:
        ValueError: If the device cannot be used here.
    """
    return _on_device("attention", _attention_rows, sizes, turns, device)


@torch.inference_mode()
def bench_step(
    sizes: Iterable[int] = (1024, 4096, 16_384), *, turns: int = 7, device: str = "cpu"
) -> SpeedTable:
    """Measure whole decode steps, weights and all, of models that tie and share against one that
    does not.

    The models have the width of one of 7 billion parameters, and its heads.

    Args:
        sizes: Tokens in the cache, with the one that the step adds.
        turns: Turns of each pair.
        device: ``"cpu"``: two layers, one text in float32; about 8 GB of memory. ``"cuda"``: eight
            layers, eight texts at once in bfloat16; about 40 GB of the GPU's. There, also with the
            step recorded as a CUDA graph: called from Python, its cost is that of many small calls.

    Raises:
        ValueError: If the device cannot be used here.
    """
    return _on_device("step", _step_rows, sizes, turns, device)


def _on_device(
    name: str,
    rows: Callable[[Iterable[int], int, _Place], Iterable[SpeedRow]],
    sizes: Iterable[int],
    turns: int,
    device: str,
) -> SpeedTable:
    torch.manual_seed(0)
    where = usable_device(device)
    place = _ON_CPU if where.type == "cpu" else _Place(where, torch.bfloat16, 8)
    found = _measured(name, [rows(sizes, turns, place)])
    return SpeedTable(name, found, device=device_name(where))


ON_DEVICES: Final[Mapping[str, Callable[..., SpeedTable]]] = MappingProxyType(
    {"attention": bench_attention, "step": bench_step}
)
"""Name -> benchmark that a GPU can repeat.

:meta hide-value:
"""

BENCHMARKS: Final[Mapping[str, Callable[..., SpeedTable]]] = MappingProxyType(
    {"decode": bench_decode, **ON_DEVICES, "train": bench_train}
)
"""Name -> benchmark.

:meta hide-value:
"""


def get_benchmark(name: str) -> Callable[..., SpeedTable]:
    """Look a benchmark up by name.

    Raises:
        UnknownNameError: If there is none of that name; the message offers the nearest.
    """
    return look_up("benchmark", name, BENCHMARKS)
