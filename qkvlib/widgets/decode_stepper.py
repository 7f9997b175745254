"""DecodeStepper: step a real model token by token, with and without its KV cache."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
import traitlets
from torch import Tensor

from qkvlib.accounting import format_bytes
from qkvlib.cache import KVCache
from qkvlib.config import ModelConfig
from qkvlib.models import GPT
from qkvlib.passes import PassCost, pass_cost
from qkvlib.sharing import unknown_name
from qkvlib.tasks.text import VOCAB_SIZE, encode
from qkvlib.widgets.base import CourseWidget, module_source, where_it_lives

LONGEST: Final = 48
"""Most positions that the two lanes have room for: the prompt and every token but the last."""

N_CANDIDATES: Final = 5
"""So many of the likeliest next tokens are shown; the next one is chosen among them."""

_FIRST_PRINTABLE, _LAST_PRINTABLE = 33, 126
_GLYPHS: Final = {ord(" "): "␣", ord("\n"): "⏎", ord("\t"): "⇥"}


def glyph(token: int) -> str:
    """Write a byte so that it can be seen: ``a`` as itself, a space as ``␣``, others in hex."""
    if _FIRST_PRINTABLE <= token <= _LAST_PRINTABLE:
        return chr(token)
    return _GLYPHS.get(token, f"{token:02X}")


class DecodeStepper(CourseWidget):
    """Writes a text step by step in two lanes: all computed anew, and with a KV cache.

    Everything shown was recorded from real models when the widget was made: logits of both ways,
    the bytes of a real cache, multiplications and bytes by :func:`qkvlib.passes.pass_cost`. Make
    one with :meth:`from_models`.

    Attributes:
        prompt: The prompt's tokens, each as it is drawn.
        runs: One recording for each model, by sharing.
        sharing: Name of the sharing whose recording is shown.
        at: Passes made: 0 is before the first, 1 after prefill, and so on.

    Example:
        >>> show(DecodeStepper.from_models([model], "def f(", steps=12))  # doctest: +SKIP
    """

    name = "decode_stepper"
    _esm = module_source("decode_stepper")

    prompt = traitlets.List(trait=traitlets.Unicode()).tag(sync=True)
    runs = traitlets.List(trait=traitlets.Dict()).tag(sync=True)
    sharing = traitlets.Unicode().tag(sync=True)
    at = traitlets.Int(0).tag(sync=True)

    def __init__(self, **state: Any) -> None:
        if not state.get("runs"):
            raise ValueError(
                "a DecodeStepper shows what was recorded from a model: make it with "
                "DecodeStepper.from_models([model], prompt, steps=12)."
            )
        state.setdefault("sharing", state["runs"][0]["sharing"])
        super().__init__(**state)

    @classmethod
    def from_models(
        cls,
        models: Sequence[GPT],
        prompt: str,
        steps: int,
        *,
        temperature: float = 0.0,
        seed: int = 0,
        **state: Any,
    ) -> DecodeStepper:
        """Let models go on from a prompt, and record each step with and without a cache.

        Args:
            models: Causal models on bytes, each of another sharing; their mode is left as it is.
            prompt: Text that they go on from.
            steps: Tokens to make.
            temperature: 0 takes the likeliest token. Above 0 the token is drawn among the five
                likeliest, and a higher temperature makes the choice more even.
            seed: Of the draw.
            **state: Further traits, for example ``at=1`` to open after prefill.

        Raises:
            ValueError: If there is no model, two have the same sharing, or the prompt or the
                number of steps does not fit.
        """
        tokens = encode(prompt)
        names = [model.config.sharing.name for model in models]
        if not names or len(set(names)) < len(names):
            raise ValueError(
                f"models of sharings {names}: give at least one model, and of each sharing only "
                "one, since the switch goes by sharing."
            )
        if not 0 <= temperature < float("inf"):
            raise ValueError(f"temperature={temperature}: expected 0 or more; 0 is greedy.")
        for model in models:
            _check_fit(model.config, len(tokens), steps)
        runs = [_record(model, tokens, steps, temperature, seed) for model in models]
        return cls(prompt=[glyph(t) for t in tokens.tolist()], runs=runs, **state)

    @traitlets.validate("sharing")
    def _check_sharing(self, proposal: dict[str, Any]) -> str:
        names = [run["sharing"] for run in self.runs]
        if proposal["value"] not in names:
            raise traitlets.TraitError(str(unknown_name("recording", proposal["value"], names)))
        return str(proposal["value"])

    @traitlets.validate("at")
    def _check_at(self, proposal: dict[str, Any]) -> int:
        value, last = proposal["value"], self.steps
        if isinstance(value, bool) or not 0 <= value <= last:
            raise traitlets.TraitError(f"at={value!r}: expected 0 to {last}, the passes recorded.")
        return int(value)

    @property
    def steps(self) -> int:
        """Passes recorded."""
        return len(self.runs[0]["steps"])

    @property
    def run(self) -> dict[str, Any]:
        """The recording shown."""
        return next(run for run in self.runs if run["sharing"] == self.sharing)

    def totals(self) -> dict[str, Any]:
        """What the passes made so far have cost, as the view shows it: [without, with a cache]."""
        run, made = self.run, self.run["steps"][: self.at]
        weights = run["weight_bytes"] * len(made)
        return {
            "macs": [sum(step["macs"][way] for step in made) for way in (0, 1)],
            "read": [weights, weights + sum(step["read"] for step in made)],
            "written": sum(step["written"] for step in made),
            "held": made[-1]["held"] if made else 0,
        }

    def describe(self) -> str:
        """Return what was recorded, and where it stands, as lines of plain text."""
        run, totals = self.run, self.totals()
        text = "".join(step["token"] for step in run["steps"][: self.at])
        apart = max(step["apart"] for step in run["steps"])
        without, cached = totals["macs"]
        return "\n".join(
            [
                f"A model with {run['sharing']} {run['tuple_form']} goes on from "
                f"{''.join(self.prompt)!r}: pass {self.at} of {self.steps}, written {text!r}.",
                f"  Multiplications so far: {without:,} without a cache, {cached:,} with one.",
                f"  Bytes read so far: {totals['read'][0]:,} without, {totals['read'][1]:,} with.",
                f"  The cache holds {format_bytes(totals['held'])}.",
                f"  The logits of both ways are never further apart than {apart:.1g}.",
            ]
        )

    def fallback_html(self) -> str:
        """Return every pass of the recording shown as a table."""
        head = ("Pass", "Reads", "Writes", "Multiplications without", "with a cache", "Cache holds")
        seen = len(self.prompt)
        rows = []
        for k, step in enumerate(self.run["steps"]):
            new = f"{seen} tokens" if k == 0 else "1 token"
            without, cached = (f"{n:,}" for n in step["macs"])
            cells = (
                f"{k + 1}, {'decode' if k else 'prefill'}", new, step["token"], without, cached,
                format_bytes(step["held"]),
            )  # fmt: skip
            rows.append("".join(f"<td>{html.escape(cell)}</td>" for cell in cells))
        heads = "".join(f'<th scope="col">{title}</th>' for title in head)
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        about = f"{self.run['sharing']} {self.run['tuple_form']} goes on from"
        return (
            f"<table><caption>{about} <code>{html.escape(''.join(self.prompt))}</code></caption>"
            f"<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"
            + where_it_lives("The steps can be walked through")
        )


def _check_fit(config: ModelConfig, n_prompt: int, steps: int) -> None:
    if not config.causal:
        raise ValueError(
            "the model has causal=False: it cannot write from left to right, and nothing of it can "
            "be kept. Give a causal one."
        )
    if config.vocab_size != VOCAB_SIZE:
        raise ValueError(
            f"vocab_size={config.vocab_size}: the stepper draws tokens that are bytes, so it needs "
            f"a model with vocab_size={VOCAB_SIZE}."
        )
    if n_prompt < 1 or steps < 1:
        raise ValueError(f"{n_prompt} tokens of prompt and steps={steps}: both must be at least 1.")
    # The last token made is shown, but no pass reads it.
    positions, room = n_prompt + steps - 1, min(LONGEST, config.max_seq_len)
    if positions > room:
        raise ValueError(
            f"a prompt of {n_prompt} tokens and steps={steps} take {positions} positions; there "
            f"is room for {room}. Shorten the prompt, or take fewer steps."
        )


@torch.inference_mode()
def _record(
    model: GPT, prompt: Tensor, steps: int, temperature: float, seed: int
) -> dict[str, Any]:
    """Make ``steps`` tokens twice, with a cache and without, and write down both."""
    config = model.config
    weight = next(model.parameters())
    cache = KVCache(
        config, capacity=len(prompt) + steps - 1, dtype=weight.dtype, device=weight.device
    )
    generator = torch.Generator().manual_seed(seed)
    text = new = prompt.to(weight.device)[None]  # (1, T)
    was_training = model.training
    model.eval()
    rows = []
    try:
        for _ in range(steps):
            anew = pass_cost(config, text.shape[1], use_cache=False, dtype=weight.dtype)
            kept = pass_cost(config, new.shape[1], cache.length, dtype=weight.dtype)
            without = model(text)[0, -1].double().cpu()  # (vocab_size,)
            cached = model(new, cache=cache)[0, -1].double().cpu()
            token, shown = _choose(cached, without, temperature, generator)
            apart = (without - cached).abs().max().item()
            rows.append(_row(token, shown, apart, anew, kept, cache))
            new = torch.tensor([[token]], device=text.device)
            text = torch.cat([text, new], dim=1)
    finally:
        model.train(was_training)
    sharing = config.sharing
    return {
        "sharing": sharing.name,
        "tuple_form": sharing.tuple_form,
        "colour": sharing.colour,
        "roles": {role.upper(): name.upper() for role, name in sharing.roles.items()},
        "weight_bytes": kept.weight_bytes,
        "steps": rows,
    }


def _choose(
    cached: Tensor, without: Tensor, temperature: float, generator: torch.Generator
) -> tuple[int, Mapping[int, list[float]]]:
    """Choose the next token; return it and the likeliest ones: token -> [without, with a cache]."""
    best = cached.topk(N_CANDIDATES)
    tokens = [int(t) for t in best.indices]
    chances = torch.stack([without.softmax(dim=-1), cached.softmax(dim=-1)], dim=-1)
    shown = {t: [round(p, 4) for p in chances[t].tolist()] for t in tokens}
    if temperature == 0:
        return tokens[0], shown
    weights = ((best.values - best.values[0]) / temperature).softmax(dim=-1)
    return tokens[int(torch.multinomial(weights, 1, generator=generator))], shown


def _row(
    token: int,
    shown: Mapping[int, list[float]],
    apart: float,
    anew: PassCost,
    kept: PassCost,
    cache: KVCache,
) -> dict[str, Any]:
    return {
        "token": glyph(token),
        "candidates": [[glyph(t), *both] for t, both in shown.items()],
        "apart": float(f"{apart:.1e}"),
        "macs": [anew.macs, kept.macs],
        "read": kept.cache_read,
        "written": kept.cache_written,
        "held": cache.nbytes_used,
    }
