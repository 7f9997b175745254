"""DecodeRoofline: what a decode step waits for, and what fits into a machine's memory."""

from __future__ import annotations

from typing import Any, Final

import torch
import traitlets

from qkvlib.accounting import DTYPES, cache_bytes, format_bytes, parse_dtype
from qkvlib.config import CONFIGS, ConfigError, ModelConfig, get_config
from qkvlib.passes import PassCost, pass_cost
from qkvlib.roofline import DEVICES, Machine, longest_context
from qkvlib.sharing import SHARINGS, Variant, parse_sharing, unknown_name
from qkvlib.widgets.base import (
    CourseWidget,
    Whole,
    facts_html,
    facts_text,
    module_source,
    where_it_lives,
)

THIS: Final = "this"
"""Key of the machine that the widget is given, beside those of :data:`~qkvlib.DEVICES`."""

LIMITS: Final[dict[str, tuple[int, int]]] = {"tokens": (1, 2**20), "batch_size": (1, 1024)}
"""Smallest and largest value of each whole number that can be set freely."""

_SHAPE: Final = ("n_layers", "d_model", "n_heads", "head_dim", "d_ff", "vocab_size")
_MACHINE: Final = ("name", "bandwidth", "peak", "memory", "bandwidth_from", "peak_from")

# As in the cache meter, no one serves a model from float64; and bfloat16 has as many bytes as
# float16, so one of the two is enough here.
_ITEM_BYTES: Final = {name: DTYPES[name].itemsize for name in ("float16", "float32")}


def _sharing_rows() -> list[dict[str, Any]]:
    return [
        {
            "name": s.name,
            "tuple_form": s.tuple_form,
            "prefix": Variant(s, 1).name.removesuffix("MQA") if not s.ties_query else "",
            "projections": list(s.projections),
            "cached": list(s.cached),
            "ties_query": s.ties_query,
            "colour": s.colour,
        }
        for s in SHARINGS.values()
    ]


def _model_rows() -> list[dict[str, Any]]:
    return [{"name": n, **{key: getattr(c, key) for key in _SHAPE}} for n, c in CONFIGS.items()]


def _device_row(key: str, machine: Machine) -> dict[str, Any]:
    return {"key": key, **{name: getattr(machine, name) for name in _MACHINE}}


class DecodeRoofline(CourseWidget):
    """One decode step on a machine's roofline: its bytes, its multiplications, and its time.

    The time is what the machine allows, ``max(bytes / bandwidth, multiplications / peak)``; no
    program is faster. Beside it stand memory, filled with weights and caches, and the longest
    context that each variant leaves room for.

    Attributes:
        model: A name of :data:`~qkvlib.CONFIGS`.
        sharing: The paper's name of the sharing; any spelling is read.
        n_kv_heads: KV heads (G); must divide the model's query heads, and equal them where Q=K.
        dtype: Number format of weights and caches, ``"float16"`` or ``"float32"``.
        tokens: Tokens held for each user.
        batch_size: Users served at once.
        device: ``"this"``, if a machine was given, or a key of :data:`~qkvlib.DEVICES`.

    Args:
        machine: A machine that was measured; it becomes the device ``"this"``.
        **state: The attributes above.

    Example:
        >>> show(DecodeRoofline(model="300M", sharing="Q-K=V"))  # doctest: +SKIP
    """

    name = "decode_roofline"
    _esm = module_source("decode_roofline")

    model = traitlets.Unicode("1.2B").tag(sync=True)
    sharing = traitlets.Unicode("QKV").tag(sync=True)
    n_kv_heads = Whole(CONFIGS["1.2B"].n_kv_heads).tag(sync=True)
    dtype = traitlets.Unicode("float16").tag(sync=True)
    tokens = Whole(32_768).tag(sync=True)
    batch_size = Whole(1).tag(sync=True)
    device = traitlets.Unicode("phone").tag(sync=True)

    # What the view must know and Python alone decides. Constants, sent once.
    models = traitlets.List(trait=traitlets.Dict(), read_only=True).tag(sync=True)
    sharings = traitlets.List(trait=traitlets.Dict(), read_only=True).tag(sync=True)
    devices = traitlets.List(trait=traitlets.Dict(), read_only=True).tag(sync=True)
    item_bytes = traitlets.Dict(read_only=True).tag(sync=True)
    limits = traitlets.Dict(read_only=True).tag(sync=True)

    def __init__(self, machine: Machine | None = None, **state: Any) -> None:
        self._machines = {**({} if machine is None else {THIS: machine}), **DEVICES}
        self.set_trait("models", _model_rows())
        self.set_trait("sharings", _sharing_rows())
        self.set_trait("devices", [_device_row(key, m) for key, m in self._machines.items()])
        self.set_trait("item_bytes", dict(_ITEM_BYTES))
        self.set_trait("limits", {name: list(limits) for name, limits in LIMITS.items()})
        if "model" in state and "n_kv_heads" not in state and state["model"] in CONFIGS:
            state["n_kv_heads"] = get_config(state["model"]).n_heads
        super().__init__(**state)

    @property
    def config(self) -> ModelConfig:
        """The model whose step is shown."""
        return get_config(self.model).replace(
            sharing=parse_sharing(self.sharing), n_kv_heads=self.n_kv_heads
        )

    @property
    def machine(self) -> Machine:
        """The machine it runs on."""
        return self._machines[self.device]

    @property
    def cost(self) -> PassCost:
        """What the step costs, for all users together."""
        return pass_cost(self.config, 1, self.tokens, batch_size=self.batch_size, dtype=self._dtype)

    @property
    def _dtype(self) -> torch.dtype:
        return parse_dtype(self.dtype)

    @traitlets.validate("model", "sharing", "n_kv_heads")
    def _check_variant(self, proposal: dict[str, Any]) -> Any:
        name, value = proposal["trait"].name, proposal["value"]
        proposed: dict[str, Any] = {
            "model": self.model,
            "sharing": self.sharing,
            "n_kv_heads": self.n_kv_heads,
        }
        proposed[name] = value
        if proposed["model"] not in CONFIGS:
            raise traitlets.TraitError(str(unknown_name("model", proposed["model"], CONFIGS)))
        try:
            config = get_config(proposed.pop("model")).replace(**proposed)
        except ValueError as error:
            hint = " Change several at once with .update(model=…, n_kv_heads=…, sharing=…)."
            together = isinstance(error, ConfigError)
            raise traitlets.TraitError(f"{error}{hint if together else ''}") from None
        return config.sharing.name if name == "sharing" else value

    @traitlets.validate("tokens", "batch_size")
    def _check_size(self, proposal: dict[str, Any]) -> int:
        name, value = proposal["trait"].name, proposal["value"]
        low, high = LIMITS[name]
        if not low <= value <= high:
            raise traitlets.TraitError(
                f"{name}={value!r}: expected a whole number from {low:,} to {high:,}."
            )
        return int(value)

    @traitlets.validate("dtype", "device")
    def _check_choice(self, proposal: dict[str, Any]) -> str:
        name, value = proposal["trait"].name, proposal["value"]
        allowed = list(_ITEM_BYTES if name == "dtype" else self._machines)
        if value not in allowed:
            hint = (
                f" To have {THIS!r}, give a machine: DecodeRoofline(machine=…)."
                if name == "device" and value == THIS
                else ""
            )
            raise traitlets.TraitError(f"{unknown_name(name, value, allowed)}{hint}")
        return str(value)

    def _facts(self) -> list[tuple[str, str]]:
        machine, cost, config = self.machine, self.cost, self.config
        seconds = machine.seconds(cost)
        cache = cache_bytes(config, self.tokens, batch_size=self.batch_size, dtype=self._dtype)
        held = cost.weight_bytes + cache
        longest = longest_context(
            config, machine.memory, batch_size=self.batch_size, dtype=self._dtype
        )
        fits = "fits" if held <= machine.memory else "does not fit"
        return [
            (
                "Machine",
                f"{machine.name}: {format_bytes(machine.bandwidth)} per second "
                f"({machine.bandwidth_from}), {machine.peak / 1e9:,.3g} billion multiplications "
                f"per second ({machine.peak_from})",
            ),
            ("Model", f"{self.model}, {config.variant.name}: {config.variant.tuple_form}"),
            ("Number format", self.dtype),
            ("Tokens × users", f"{self.tokens:,} × {self.batch_size:,}"),
            (
                "Read in a step",
                f"{format_bytes(cost.weight_bytes)} of weights, {format_bytes(cost.cache_read)} "
                "of caches",
            ),
            (
                "Multiplications for each byte",
                f"{cost.macs_per_byte:.3g}; the limits meet at {machine.ridge:.3g}",
            ),
            (
                "A step takes at least",
                f"{1e3 * seconds:.3g} ms, waiting for {machine.limit(cost)}",
            ),
            (
                "Tokens per second, at most",
                f"{1 / seconds:.3g} for each user, {self.batch_size / seconds:.3g} in all",
            ),
            (
                "Memory",
                f"{format_bytes(held)} of {format_bytes(machine.memory)}: it {fits}; room for "
                f"{longest:,} tokens of each user",
            ),
        ]

    def describe(self) -> str:
        """Return the step, its limits and what fits, as lines of plain text."""
        return facts_text("One decode step on its roofline", self._facts())

    def fallback_html(self) -> str:
        """Return the same as a table."""
        table = facts_html("One decode step on its roofline", self._facts())
        return table + where_it_lives("The values can be moved")
