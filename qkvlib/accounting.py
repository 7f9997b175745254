"""What a configuration costs: parameters, multiply-accumulates, cache bytes.

Each figure is a formula one can read; the cache's agrees to the byte with the storage of the
tensors in :class:`~qkvlib.cache.KVCache`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch

from qkvlib.config import CONFIGS, StackConfig, get_config
from qkvlib.models import build_model
from qkvlib.sharing import look_up
from qkvlib.text_table import aligned

DTYPES: Final[dict[str, torch.dtype]] = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float64": torch.float64,
}
"""The number formats a cache can hold, by name."""


def parse_dtype(name: str | torch.dtype) -> torch.dtype:
    """Look a number format up by name.

    Raises:
        ValueError: If the cache cannot hold it; the message lists what it can.
    """
    if isinstance(name, torch.dtype):
        name = str(name).removeprefix("torch.")
    return look_up("dtype", name, DTYPES)


def bytes_per_token(config: StackConfig, dtype: torch.dtype = torch.float16) -> int:
    """Bytes that one token of one sequence adds to the KV cache.

    ``n_layers × (distinct tensors among K and V) × n_kv_heads × head_dim × bytes per number``;
    where tied keys are kept turned and plain, the columns that turn count twice.

    Args:
        config: The model.
        dtype: Number format of the cache; two-byte float16 unless told.

    Source: Kayyam et al. (2026), section 3.4; Pope et al. (2022), section 2.
    """
    numbers = config.n_layers * config.n_kv_heads * sum(config.cached.values())
    return numbers * dtype.itemsize


def cache_bytes(
    config: StackConfig,
    tokens: int,
    *,
    batch_size: int = 1,
    dtype: torch.dtype = torch.float16,
) -> int:
    """Bytes of a KV cache with room for ``tokens`` tokens of ``batch_size`` sequences.

    Args:
        config: The model.
        tokens: Tokens per sequence.
        batch_size: Sequences held at once.
        dtype: Number format of the cache.

    Raises:
        ValueError: If ``tokens`` or ``batch_size`` is negative.
    """
    if tokens < 0 or batch_size < 0:
        raise ValueError(
            f"tokens={tokens}, batch_size={batch_size}: neither can be negative; a cache holds "
            "0 or more tokens of 0 or more sequences."
        )
    return bytes_per_token(config, dtype) * tokens * batch_size


def saved(config: StackConfig) -> float:
    """Share of the cache saved against QKV with MHA in the same shape, from 0 to 1.

    1 - g/H for GQA and MQA, 1 - g/(2H) with K=V on top.
    """
    plain = config.replace(sharing="QKV", n_kv_heads=config.n_heads, plus_channels=0)
    return 1.0 - bytes_per_token(config) / bytes_per_token(plain)


def count_parameters(config: StackConfig) -> int:
    """Number of learned parameters, counted on a model without storage (the meta device).

    A tied embedding counts once.
    """
    with torch.device("meta"):
        model = build_model(config)
    return sum(parameter.numel() for parameter in model.parameters())


def projection_macs(config: StackConfig, tokens: int) -> int:
    """Multiply-accumulates of the q, k and v projections of all layers for ``tokens`` tokens.

    With MHA, and heads that together are as wide as the model, this is 3, 2 or 1 times
    ``n_layers × tokens × d_model²``.
    """
    widths = {"q": config.n_heads, "k": config.n_kv_heads, "v": config.n_kv_heads}
    columns = sum(widths[name] for name in config.sharing.projections) * config.head_dim
    return config.n_layers * tokens * config.d_model * columns


def format_bytes(n: float, *, binary: bool = False) -> str:
    """Write a number of bytes with its unit.

    Args:
        n: Bytes.
        binary: False for powers of ten (kB, MB, GB), True for powers of two (KiB, MiB, GiB).

    Returns:
        For example ``"2.68 GB"``, or ``"2.5 GiB"`` for the same bytes.
    """
    step = 1024 if binary else 1000
    units = ("B", "KiB", "MiB", "GiB", "TiB") if binary else ("B", "kB", "MB", "GB", "TB")
    value = float(n)
    for unit in units:
        if abs(value) < step - 0.5 or unit == units[-1]:  # 999,999 bytes read better as 1 MB
            break
        value /= step
    digits = 0 if unit == "B" or abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    text = f"{value:.{digits}f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} {unit}"


@dataclass(frozen=True)
class CacheRow:
    """One configuration of the cache table.

    Attributes:
        name: The paper's name, for example ``"Q-GQA-4"``.
        tuple_form: The tuple form with its head sharing, for example ``"(Q, K=V) GQA-4"``.
        sharing: Name of the sharing.
        n_kv_heads: KV heads (G).
        bytes_per_token: Bytes that one token adds, over all layers.
        total_bytes: Bytes for all tokens.
        saved: Share saved against QKV with MHA, from 0 to 1.
    """

    name: str
    tuple_form: str
    sharing: str
    n_kv_heads: int
    bytes_per_token: int
    total_bytes: int
    saved: float


@dataclass(frozen=True)
class CacheTable:
    """The paper's cache table for one configuration, number of tokens and dtype."""

    config: str
    tokens: int
    dtype: str
    rows: tuple[CacheRow, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the table as JSON can hold it."""
        keep = ("name", "sharing", "n_kv_heads", "bytes_per_token", "total_bytes", "saved")
        rows = [{key: getattr(row, key) for key in keep} for row in self.rows]
        return {"config": self.config, "tokens": self.tokens, "dtype": self.dtype, "rows": rows}

    def to_text(self, *, binary: bool = False) -> str:
        """Return the table as aligned text, in powers of ten or of two."""
        head = ("name", "tuple form", "KV heads", "per token", f"{self.tokens:,} tokens", "saved")
        lines: list[Sequence[str]] = [head]
        lines += [
            (
                row.name,
                row.tuple_form,
                str(row.n_kv_heads),
                format_bytes(row.bytes_per_token, binary=binary),
                format_bytes(row.total_bytes, binary=binary),
                f"{100 * row.saved:.1f} %",
            )
            for row in self.rows
        ]
        return aligned(lines, left=2)


def cache_table(
    config: StackConfig | str,
    tokens: int,
    *,
    dtype: torch.dtype = torch.float16,
    n_kv_heads: int | None = None,
) -> CacheTable:
    """Cache bytes of the paper's eight configurations: four tyings, GQA, MQA, and both.

    Args:
        config: The shape, or the name of one in the registry; its own variant is ignored.
        tokens: Tokens held.
        dtype: Number format of the cache; two bytes unless told.
        n_kv_heads: KV heads of the GQA rows. By default the paper's: 4 of 16, 8 of 32, that is a
            quarter of the query heads.

    Raises:
        ConfigError: If ``n_kv_heads`` does not divide the query heads.
        ValueError: If the name is unknown or ``tokens`` is negative.
    """
    shape = get_config(config) if isinstance(config, str) else config
    name = next((key for key, known in CONFIGS.items() if known == shape), "custom")
    g = n_kv_heads if n_kv_heads is not None else max(1, shape.n_heads // 4)
    names = ["QKV", "Q-K=V", "Q=K-V", "Q=K=V", f"GQA-{g}", "MQA", f"Q-GQA-{g}", "Q-MQA"]
    rows = []
    for row_name in names:
        c = shape.replace(variant=row_name)
        rows.append(
            CacheRow(
                name=row_name,
                tuple_form=c.variant.tuple_form,
                sharing=c.sharing.name,
                n_kv_heads=c.n_kv_heads,
                bytes_per_token=bytes_per_token(c, dtype),
                total_bytes=cache_bytes(c, tokens, dtype=dtype),
                saved=saved(c),
            )
        )
    return CacheTable(name, tokens, str(dtype).removeprefix("torch."), tuple(rows))
