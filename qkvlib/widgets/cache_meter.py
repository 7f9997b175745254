"""CacheMeter: move a model's shape and see what its KV cache weighs."""

from __future__ import annotations

from typing import Any, Final

import traitlets

from qkvlib.accounting import (
    DTYPES,
    bytes_per_token,
    cache_bytes,
    format_bytes,
    parse_dtype,
    saved,
)
from qkvlib.config import CONFIGS, ConfigError, ModelConfig
from qkvlib.sharing import SHARINGS, parse_sharing, unknown_name
from qkvlib.widgets.base import (
    CourseWidget,
    Whole,
    facts_html,
    facts_text,
    module_source,
    where_it_lives,
)

LIMITS: Final[dict[str, tuple[int, int]]] = {
    "n_layers": (1, 128),
    "n_heads": (1, 128),
    "n_kv_heads": (1, 128),
    "head_dim": (1, 1024),
    "tokens": (1, 2**24),
    "batch_size": (1, 4096),
}
"""Smallest and largest value of each whole number that the meter takes."""

BUDGET_LIMITS: Final = (0.001, 1_000_000.0)
"""Smallest and largest budget, in GB."""

_UNITS: Final = ("decimal", "binary")

# float64 serves the parity tests; no one serves a model from it.
_ITEM_BYTES: Final = {name: d.itemsize for name, d in DTYPES.items() if name != "float64"}


def _sharing_rows() -> list[dict[str, Any]]:
    return [
        {
            "name": s.name,
            "tuple_form": s.tuple_form,
            "cached": [name.upper() for name in s.cached],
            "ties_query": s.ties_query,
            "colour": s.colour,
        }
        for s in SHARINGS.values()
    ]


def _preset_rows() -> list[dict[str, Any]]:
    shapes = ("n_layers", "n_heads", "head_dim")
    return [{"name": n, **{k: getattr(c, k) for k in shapes}} for n, c in CONFIGS.items()]


def _divisors(n: int) -> list[int]:
    return [d for d in range(1, n + 1) if n % d == 0]


class CacheMeter(CourseWidget):
    """The KV cache of a model, drawn head by head and layer by layer, and counted to the byte.

    Attributes:
        sharing: The paper's name of the sharing; any spelling is read.
        n_layers: Layers.
        n_heads: Query heads (H).
        n_kv_heads: KV heads (G); must divide ``n_heads``, and equal it where Q=K.
        head_dim: Width of one head (D).
        tokens: Tokens held for each user.
        batch_size: Users served at once.
        dtype: Number format of the cache.
        budget_gb: Memory set aside for the cache, in GB (powers of ten).
        units: ``"decimal"`` for MB and GB, ``"binary"`` for MiB and GiB.

    Example:
        >>> show(CacheMeter(sharing="Q-K=V", n_kv_heads=1))  # doctest: +SKIP
    """

    name = "cache_meter"
    _esm = module_source("cache_meter")

    sharing = traitlets.Unicode("QKV").tag(sync=True)
    n_layers = Whole(CONFIGS["300M"].n_layers).tag(sync=True)
    n_heads = Whole(CONFIGS["300M"].n_heads).tag(sync=True)
    n_kv_heads = Whole(CONFIGS["300M"].n_kv_heads).tag(sync=True)
    head_dim = Whole(CONFIGS["300M"].head_dim).tag(sync=True)
    tokens = Whole(32_768).tag(sync=True)
    batch_size = Whole(1).tag(sync=True)
    dtype = traitlets.Unicode("float16").tag(sync=True)
    budget_gb = traitlets.Float(24.0).tag(sync=True)
    units = traitlets.Unicode("decimal").tag(sync=True)

    # What the view must know and Python alone decides. Constants, sent once.
    sharings = traitlets.List(trait=traitlets.Dict()).tag(sync=True)
    item_bytes = traitlets.Dict().tag(sync=True)
    presets = traitlets.List(trait=traitlets.Dict()).tag(sync=True)
    limits = traitlets.Dict().tag(sync=True)

    @traitlets.default("sharings")
    def _default_sharings(self) -> list[dict[str, Any]]:
        return _sharing_rows()

    @traitlets.default("item_bytes")
    def _default_item_bytes(self) -> dict[str, int]:
        return dict(_ITEM_BYTES)

    @traitlets.default("presets")
    def _default_presets(self) -> list[dict[str, Any]]:
        return _preset_rows()

    @traitlets.default("limits")
    def _default_limits(self) -> dict[str, list[float]]:
        return {**{k: list(v) for k, v in LIMITS.items()}, "budget_gb": list(BUDGET_LIMITS)}

    def __init__(self, **state: Any) -> None:
        if "n_heads" in state and "n_kv_heads" not in state:
            state["n_kv_heads"] = state["n_heads"]
        super().__init__(**state)

    @classmethod
    def from_config(cls, config: ModelConfig, **state: Any) -> CacheMeter:
        """Make a meter for a model.

        Args:
            config: Gives sharing, layers, heads and head_dim.
            **state: The rest, for example ``tokens=2048``; ``tokens`` is the model's
                ``max_seq_len`` unless given.

        Raises:
            traitlets.TraitError: If the model is larger than the meter can draw.
        """
        shape = {
            "sharing": config.sharing.name,
            "n_layers": config.n_layers,
            "n_heads": config.n_heads,
            "n_kv_heads": config.n_kv_heads,
            "head_dim": config.head_dim,
            "tokens": config.max_seq_len,
        }
        return cls(**(shape | state))

    @property
    def config(self) -> ModelConfig:
        """The model whose cache is shown; its vocabulary is a placeholder, the cache has none."""
        return ModelConfig(
            d_model=self.n_heads * self.head_dim,
            n_layers=self.n_layers,
            n_heads=self.n_heads,
            n_kv_heads=self.n_kv_heads,
            sharing=parse_sharing(self.sharing),
            vocab_size=1,
            max_seq_len=self.tokens,
        )

    @property
    def total_bytes(self) -> int:
        """Bytes of the cache for all users, as the view shows them."""
        return cache_bytes(
            self.config, self.tokens, batch_size=self.batch_size, dtype=parse_dtype(self.dtype)
        )

    @traitlets.validate("sharing", "n_heads", "n_kv_heads")
    def _check_heads(self, proposal: dict[str, Any]) -> Any:
        name, value = proposal["trait"].name, proposal["value"]
        if name != "sharing":
            self._within(name, value)
        proposed: dict[str, Any] = {
            "sharing": self.sharing,
            "n_heads": self.n_heads,
            "n_kv_heads": self.n_kv_heads,
        }
        proposed[name] = value
        try:
            # The model's own rules, and its own words: Q=K needs every KV head, divisors only.
            config = ModelConfig(
                d_model=proposed["n_heads"], n_layers=1, vocab_size=1, max_seq_len=1, **proposed
            )
        except ValueError as error:
            hint = " Change several at once with .update(n_heads=…, n_kv_heads=…, sharing=…)."
            together = isinstance(error, ConfigError)
            raise traitlets.TraitError(f"{error}{hint if together else ''}") from None
        return config.sharing.name if name == "sharing" else value

    @traitlets.validate("n_layers", "head_dim", "tokens", "batch_size")
    def _check_size(self, proposal: dict[str, Any]) -> int:
        return self._within(proposal["trait"].name, proposal["value"])

    @staticmethod
    def _within(name: str, value: int) -> int:
        low, high = LIMITS[name]
        if not low <= value <= high:
            raise traitlets.TraitError(
                f"{name}={value!r}: the meter takes whole numbers from {low:,} to {high:,}."
            )
        return value

    @traitlets.validate("budget_gb")
    def _check_budget(self, proposal: dict[str, Any]) -> float:
        low, high = BUDGET_LIMITS
        value = float(proposal["value"])
        if not low <= value <= high:
            raise traitlets.TraitError(
                f"budget_gb={value!r}: expected {low} to {high:,.0f} GB (1 GB = 10^9 bytes)."
            )
        return value

    @traitlets.validate("dtype")
    def _check_dtype(self, proposal: dict[str, Any]) -> str:
        return self._one_of("dtype", proposal["value"], list(_ITEM_BYTES))

    @traitlets.validate("units")
    def _check_units(self, proposal: dict[str, Any]) -> str:
        return self._one_of("units", proposal["value"], list(_UNITS))

    @staticmethod
    def _one_of(kind: str, value: str, allowed: list[str]) -> str:
        if value not in allowed:
            raise traitlets.TraitError(str(unknown_name(kind, value, allowed)))
        return value

    def _facts(self) -> list[tuple[str, str]]:
        config, dtype = self.config, parse_dtype(self.dtype)
        binary = self.units == "binary"
        variant = config.variant
        budget = round(self.budget_gb * 1e9)
        per_token = bytes_per_token(config, dtype)
        total = self.total_bytes
        users = budget // (per_token * self.tokens)
        fits = "fits" if total <= budget else "does not fit"
        return [
            ("Variant", f"{variant.name}: {variant.tuple_form}"),
            ("Stored", " and ".join(name.upper() for name in config.sharing.cached)),
            ("KV heads", f"{self.n_kv_heads} for {self.n_heads} query heads"),
            ("Layers × head_dim", f"{self.n_layers} × {self.head_dim}"),
            ("Number format", f"{self.dtype}, {dtype.itemsize} bytes"),
            ("Per token", format_bytes(per_token, binary=binary)),
            ("Tokens × users", f"{self.tokens:,} × {self.batch_size:,}"),
            ("Total", f"{format_bytes(total, binary=binary)} ({total:,} bytes)"),
            ("Saved against QKV", f"{100 * saved(config):.1f} %"),
            (
                f"Budget {format_bytes(budget, binary=binary)}",
                f"{fits}; room for {users:,} users of {self.tokens:,} tokens",
            ),
        ]

    def describe(self) -> str:
        """Return the meter's reading as lines of plain text."""
        return facts_text("KV cache", self._facts())

    def fallback_html(self) -> str:
        """Return the meter's reading as a table."""
        table = facts_html("KV cache", self._facts())
        return table + where_it_lives("The values can be moved")
