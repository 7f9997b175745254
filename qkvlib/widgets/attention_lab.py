"""AttentionLab: small trained models read and write, live; maps and cache grow with each token."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import traitlets

from qkvlib.accounting import format_bytes
from qkvlib.config import ModelConfig, config_from_dict
from qkvlib.lab import LabEngine
from qkvlib.sharing import parse_variant, unknown_name
from qkvlib.tasks.synthetic import N_DIGITS
from qkvlib.widgets.base import (
    CourseWidget,
    Whole,
    facts_html,
    facts_text,
    module_source,
    where_it_lives,
)

KINDS: Final = {"text": "gpt", "lists": "encoder"}
"""What can be looked at -> kind of the models that do it."""

LONGEST_PROMPT: Final = 20_000
"""Characters of a prompt; a model reads the last few hundred tokens of them at most."""

_TITLES: Final = {"text": "Models that write code", "lists": "Models that answer lists"}

_RULES: Final = {
    "COPY": "Each digit as it stands.",
    "REVERSE": "The last digit first.",
    "SORT": "The digits in order, smallest first.",
}


def _quality(entry: Mapping[str, Any]) -> dict[str, Any] | None:
    if "loss" in entry:
        loss = entry["loss"]
        value, low, high = (loss[name] for name in ("bits_per_byte", "low", "high"))
        return {"value": value, "low": low, "high": high, "unit": "bits per byte"}
    if "accuracy" in entry:
        return {"value": entry["accuracy"], "unit": "%"}
    return None


def _option(config: ModelConfig, plus: bool) -> str:
    """What tells a model from others of its sharing."""
    if not config.causal:
        return "(X)+" if plus else "plain"
    if config.n_kv_heads == config.n_heads:
        return "MHA"
    return "MQA" if config.n_kv_heads == 1 else f"GQA-{config.n_kv_heads}"


def _row(entry: Mapping[str, Any]) -> dict[str, Any]:
    """What the view has to know of a model."""
    variant = parse_variant(entry["variant"])
    config = config_from_dict(entry["config"])
    assert isinstance(config, ModelConfig)
    shape = ("n_layers", "n_heads", "n_kv_heads", "head_dim", "max_seq_len")
    return {
        "name": entry["name"],
        "title": entry["name"].partition("/")[2] or entry["name"],
        "kind": next(kind for kind, of in KINDS.items() if of == entry["kind"]),
        "sharing": variant.sharing.name,
        "tuple_form": variant.sharing.tuple_form,
        "both_forms": variant.both_forms,
        "colour": variant.sharing.colour,
        "option": _option(config, variant.plus),
        "tokenizer": entry.get("tokenizer", ""),  # the course's models have one for all
        "quality": _quality(entry),
        "download": sum(entry[part]["bytes"] for part in ("graph", "weights") if part in entry),
        "config": {name: getattr(config, name) for name in shape}
        | {"cached": list(entry["cached"])},
        "bytes_per_token": entry["bytes_per_token"],
        "full_bytes_per_token": (
            2 * config.n_layers * config.n_heads * config.head_dim * entry["bytes_per_number"]
        ),
    }


def _rows(entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    rows = [_row(entry) for entry in entries]
    places = Counter((row["kind"], row["sharing"], row["option"]) for row in rows)
    for row in rows:
        # Two of one kind, such as the same variant before and after training: go by their names.
        twins = places[row["kind"], row["sharing"], row["option"]] > 1
        row["label"] = f"{row['title']}: {row['both_forms']}" if twins else row["both_forms"]
        if twins:
            row["option"] = row["title"]
    return rows


class AttentionLab(CourseWidget):
    """Trained models that read and write where the reader is.

    In a notebook they run in the kernel. On the course's site they run in the browser, once the
    reader starts them; until then, and where no model can run, a stored run is shown.

    Attributes:
        kind: ``"text"`` for language models, ``"lists"`` for encoders of a synthetic task. Where it
            or ``variant`` changes alone, what no longer fits falls to the nearest that does.
        variant: Name of the model that writes.
        other: Name of a model beside it, or ``""``.
        layer: Layer whose map is large, from 0.
        head: Head whose map is large, from 0.
        temperature: 0 writes the likeliest token; above 0 the token is drawn.
        seed: Of the draw.
        prompt: Text to go on from.
        digits: List that the encoders answer.
        tour: Whether the guided tour stands beside it.
        share: Whether what is shown goes into the page's address, to be sent to others.

    Args:
        engine: What computes, the course's own models unless told. To look into a model of yours:
            ``AttentionLab(LabEngine({"mine": model}))``.
        **state: The attributes above. Variants are read in any spelling.

    Raises:
        DataNotFoundError: If the course's models are not there.
        traitlets.TraitError: If a value is out of its range; nothing is changed then.

    Example:
        >>> show(AttentionLab(variant="Q-K=V", other="QKV"))  # doctest: +SKIP
    """

    name = "attention_lab"
    _esm = module_source("attention_lab")

    kind = traitlets.Unicode().tag(sync=True)
    variant = traitlets.Unicode().tag(sync=True)
    other = traitlets.Unicode("").tag(sync=True)
    layer = Whole(0).tag(sync=True)
    head = Whole(0).tag(sync=True)
    temperature = traitlets.Float(0.0).tag(sync=True)
    seed = Whole(0).tag(sync=True)
    prompt = traitlets.Unicode().tag(sync=True)
    digits: Any = traitlets.List(trait=Whole()).tag(sync=True)
    tour = traitlets.Bool(False).tag(sync=True)
    share = traitlets.Bool(False).tag(sync=True)

    # What the view must know. Constants, sent once.
    models = traitlets.List(trait=traitlets.Dict(), read_only=True).tag(sync=True)
    task = traitlets.Dict(read_only=True).tag(sync=True)

    def __init__(self, engine: LabEngine | None = None, **state: Any) -> None:
        self.engine = LabEngine() if engine is None else engine
        catalogue = self.engine.catalogue
        examples = catalogue["examples"]
        self.set_trait("models", _rows(catalogue["models"]))
        self.set_trait("task", _task(catalogue["models"]))
        state.setdefault("kind", self.models[0]["kind"])
        if "variant" not in state:
            state["variant"] = next(iter(self._names(state["kind"])), "")
        state.setdefault("prompt", examples["text"])
        if examples["lists"]:
            state.setdefault("digits", list(examples["lists"][0]))
        super().__init__(**state)
        self.on_msg(self._heard)

    def _heard(self, _: Any, message: Any, buffers: Any) -> None:
        """Answer the view."""
        if isinstance(message, Mapping) and "task" in message:
            self.send(*self.engine.answer(message))

    def _names(self, kind: str) -> list[str]:
        return [row["name"] for row in self.models if row["kind"] == kind]

    def _find(self, name: str) -> dict[str, Any]:
        return next(row for row in self.models if row["name"] == name)

    @traitlets.validate("kind")
    def _check_kind(self, proposal: dict[str, Any]) -> str:
        kinds = list(dict.fromkeys(row["kind"] for row in self.models))
        if proposal["value"] not in kinds:
            raise traitlets.TraitError(str(unknown_name("kind", proposal["value"], kinds)))
        return str(proposal["value"])

    @traitlets.validate("variant", "other")
    def _check_variant(self, proposal: dict[str, Any]) -> str:
        trait, value = proposal["trait"].name, str(proposal["value"])
        if trait == "other" and value == "":
            return value
        names = self._names(self.kind)
        found = _nearest(value, [self._find(name) for name in names])
        if found is None:
            titles = [self._find(name)["title"] for name in names]
            raise traitlets.TraitError(
                f"{unknown_name(trait, value, titles)} These are of kind {self.kind!r}; change "
                "both at once with .update(kind=…, variant=…)."
            )
        if trait == "other" and self.variant in names:
            own, beside = self._find(self.variant), self._find(found)
            if not _comparable(own, beside):
                raise traitlets.TraitError(
                    f"other={value!r} cannot stand beside {own['title']!r}: two models are "
                    "compared map by map over the same tokens, so they need the same number of "
                    "layers, of heads, and the same tokenizer."
                )
        return found

    @traitlets.observe("kind", "variant")
    def _fall_to_the_nearest(self, _: Any) -> None:
        names = self._names(self.kind)
        if self.variant not in names:
            self.variant = names[0]
        own = self._find(self.variant)
        if self.other and (self.other not in names or not _comparable(own, self._find(self.other))):
            self.other = ""
        self.layer = min(self.layer, own["config"]["n_layers"] - 1)
        self.head = min(self.head, own["config"]["n_heads"] - 1)

    @traitlets.validate("layer", "head")
    def _check_place(self, proposal: dict[str, Any]) -> int:
        name, value = proposal["trait"].name, int(proposal["value"])
        config = self._find(self.variant)["config"]
        n = config["n_layers" if name == "layer" else "n_heads"]
        if not 0 <= value < n:
            raise traitlets.TraitError(
                f"{name}={value}: {self.variant} has {n}, counted from 0 to {n - 1}."
            )
        return value

    @traitlets.validate("temperature", "seed")
    def _check_draw(self, proposal: dict[str, Any]) -> Any:
        name, value = proposal["trait"].name, proposal["value"]
        if not 0 <= value < math.inf:
            raise traitlets.TraitError(f"{name}={value}: expected 0 or more.")
        return value

    @traitlets.validate("prompt")
    def _check_prompt(self, proposal: dict[str, Any]) -> str:
        text = str(proposal["value"])
        if len(text) > LONGEST_PROMPT:
            raise traitlets.TraitError(
                f"a prompt of {len(text):,} characters: at most {LONGEST_PROMPT:,}, and the models "
                "read the last few hundred tokens of them."
            )
        return text

    @traitlets.validate("digits")
    def _check_digits(self, proposal: dict[str, Any]) -> list[int]:
        digits = [int(each) for each in proposal["value"]]
        if not self.task:
            return digits
        length, n = self.task["length"], self.task["n_digits"]
        if len(digits) != length or not all(0 <= each < n for each in digits):
            raise traitlets.TraitError(
                f"digits={digits}: expected {length} whole numbers from 0 to {n - 1}."
            )
        return digits

    def _facts(self) -> list[tuple[str, str]]:
        rows = []
        for row in self.models:
            if row["kind"] != self.kind:
                continue
            said = [] if row["quality"] is None else [quality_text(row["quality"])]
            if row["kind"] == "text":
                said.append(f"a cache of {format_bytes(row['bytes_per_token'])} for each token")
            rows.append((row["label"], ", ".join(said) or "not measured"))
        return rows

    def describe(self) -> str:
        """Return what can be looked at, as lines of plain text."""
        return facts_text(_TITLES[self.kind], self._facts())

    def fallback_html(self) -> str:
        """Return the same as a table."""
        return facts_html(_TITLES[self.kind], self._facts()) + where_it_lives(
            "The models write and show where they look"
        )


def quality_text(quality: Mapping[str, Any]) -> str:
    """Write how good a model is, with its interval where there is one.

    Args:
        quality: ``value`` and ``unit``; perhaps ``low`` and ``high``.
    """
    percent = quality["unit"] == "%"
    texts = [
        f"{100 * quality[name]:.1f}" if percent else f"{quality[name]:.3f}"
        for name in ("value", "low", "high")
        if name in quality
    ]
    interval = f" ({texts[1]} to {texts[2]})" if len(texts) > 1 else ""
    return f"{texts[0]} {'% right' if percent else quality['unit']}{interval}"


def _comparable(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether two models can stand side by side: map by map, over the same tokens."""
    shapes = [[row["config"][name] for name in ("n_layers", "n_heads")] for row in (a, b)]
    return shapes[0] == shapes[1] and a["tokenizer"] == b["tokenizer"]


def _task(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the encoders were trained on, if there are any; of one's own no more than the lists."""
    encoders = [entry for entry in entries if entry["kind"] == KINDS["lists"]]
    if not encoders:
        return {}
    config = encoders[0]["config"]
    name = encoders[0].get("task", {}).get("name", "")
    return {
        "name": name,
        "rule": _RULES.get(name, "One answer for each place."),
        "length": config["max_seq_len"],
        "n_digits": min(config["vocab_size"], N_DIGITS),
    }


def _nearest(value: str, rows: Sequence[Mapping[str, Any]]) -> str | None:
    """The engine's name of what is meant: a name, or any spelling of a variant."""
    for row in rows:
        if value in (row["name"], row["title"]):
            return str(row["name"])
    try:
        wanted = parse_variant(value).name
    except ValueError:
        return None
    found = [row["name"] for row in rows if row["both_forms"].startswith(f"{wanted} ")]
    return str(found[0]) if found else None
