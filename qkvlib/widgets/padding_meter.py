"""PaddingMeter: what padding in a batch does to a reported loss, and what it may have hidden."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import traitlets

from qkvlib.paper import paper_figures
from qkvlib.sharing import parse_variant
from qkvlib.widgets.base import (
    CourseWidget,
    Whole,
    facts_html,
    facts_text,
    module_source,
    where_it_lives,
)

PAD_TO: Final = (16, 2048)
"""Shortest and longest length to which the meter pads."""

ROWS: Final = 14
"""Paragraphs in the picture."""

_OPENING: Final = 60  # characters of a paragraph in the picture
_PRINTED: Final = ("QKV", "Q-K=V", "MQA", "Q=K=V")


def _paragraph_row(paragraph: bytes) -> dict[str, Any]:
    words = " ".join(paragraph.decode(errors="replace").split())
    return {"length": len(paragraph), "opening": words[:_OPENING]}


def _model_row(name: str, losses: tuple[float, float]) -> dict[str, Any]:
    text, padding = losses
    if not (math.isfinite(text) and math.isfinite(padding) and text > 0 and padding >= 0):
        raise ValueError(
            f"losses[{name!r}]={losses}: expected nats per target on text, above 0, and on "
            "padding, at least 0."
        )
    variant = parse_variant(name)
    return {
        "name": variant.name,
        "both_forms": variant.both_forms,
        "colour": variant.sharing.colour,
        "text": round(text, 5),
        "padding": round(padding, 5),
    }


def _printed_row(name: str) -> dict[str, Any]:
    printed = paper_figures()[f"300M/{name}/perplexity"].value
    return {"name": name, "both_forms": parse_variant(name).both_forms, "perplexity": printed}


class PaddingMeter(CourseWidget):
    """A batch of paragraphs padded to one length, and the perplexity that is reported for it.

    The loss on text and that on padding are those of the models, and stay as they are; only the
    share of padding is moved.

    Attributes:
        pad_to: Length to which each paragraph is cut or padded, in bytes.
        scored: Whether padding counts in the loss.

    Example:
        >>> meter = PaddingMeter([b"x = 1", b"y = 2"], {"QKV": (1.6, 0.01)}, pad_to=16)
        >>> meter.share
        0.6875
    """

    name = "padding_meter"
    _esm = module_source("padding_meter")

    pad_to = Whole(128).tag(sync=True)
    scored = traitlets.Bool(True).tag(sync=True)

    # What the view must know. Constants, sent once.
    lengths = traitlets.List(trait=traitlets.Int(), read_only=True).tag(sync=True)
    rows = traitlets.List(trait=traitlets.Dict(), read_only=True).tag(sync=True)
    models = traitlets.List(trait=traitlets.Dict(), read_only=True).tag(sync=True)
    printed = traitlets.List(trait=traitlets.Dict(), read_only=True).tag(sync=True)
    limits = traitlets.List(trait=traitlets.Int(), read_only=True).tag(sync=True)

    def __init__(
        self,
        paragraphs: Sequence[bytes],
        losses: Mapping[str, tuple[float, float]],
        **state: Any,
    ) -> None:
        """Make the meter.

        Args:
            paragraphs: The texts of the batch; a byte is a token.
            losses: Variant -> its loss on text and its loss on padding, in nats per target; the
                first is the one that gaps are measured against.
            **state: Traits.

        Raises:
            ValueError: If there is nothing to show, or a loss is none.
            traitlets.TraitError: If a trait is out of its range.
        """
        if not paragraphs or not all(paragraphs):
            raise ValueError("paragraphs: expected at least one, and none of them empty.")
        if not losses:
            raise ValueError("losses is empty: give at least one variant, such as QKV.")
        self.set_trait("lengths", [len(each) for each in paragraphs])
        n = min(ROWS, len(paragraphs))
        picked = [i * len(paragraphs) // n for i in range(n)]
        self.set_trait("rows", [_paragraph_row(paragraphs[i]) for i in picked])
        self.set_trait("models", [_model_row(*each) for each in losses.items()])
        self.set_trait("printed", [_printed_row(name) for name in _PRINTED])
        self.set_trait("limits", list(PAD_TO))
        super().__init__(**state)

    @traitlets.validate("pad_to")
    def _check_pad_to(self, proposal: dict[str, Any]) -> int:
        low, high = PAD_TO
        value = int(proposal["value"])
        if not low <= value <= high:
            raise traitlets.TraitError(
                f"pad_to={value}: the meter pads to whole lengths from {low} to {high:,}."
            )
        return value

    # What the page computes

    @property
    def share(self) -> float:
        """Share of the targets that are padding, the mark at a paragraph's end excepted."""
        room = [max(0, self.pad_to - length) for length in self.lengths]
        return sum(room) / (len(room) * self.pad_to)

    def reported(self) -> dict[str, float]:
        """Return each variant's mean loss over what is scored, in nats."""
        s = self.share if self.scored else 0.0
        return {m["name"]: (1 - s) * m["text"] + s * m["padding"] for m in self.models}

    def undone(self) -> dict[str, float]:
        """Return what the paper's printed perplexities would be without this share of padding.

        It is taken that padding was scored, and predicted without loss.
        """
        return {row["name"]: row["perplexity"] ** (1 / (1 - self.share)) for row in self.printed}

    def _facts(self) -> list[tuple[str, str]]:
        reported, undone = self.reported(), self.undone()
        first = self.models[0]["name"]
        how = "scored" if self.scored else "left out of the loss"
        rows = [
            ("Batch", f"{len(self.lengths):,} paragraphs, cut or padded to {self.pad_to:,} bytes"),
            ("Padding", f"{100 * self.share:.1f} % of the targets, {how}"),
        ]
        for model in self.models:
            loss = reported[model["name"]]
            gap = 100 * math.expm1(loss - reported[first])
            against = "" if model["name"] == first else f", {gap:+.1f} % against {first}"
            rows.append(
                (
                    model["both_forms"],
                    f"loss on text {model['text']:.3f}, on padding {model['padding']:.3f}, "
                    f"reported perplexity {math.exp(loss):.2f}{against}",
                )
            )
        base = self.printed[0]
        for row in self.printed:
            before = 100 * (row["perplexity"] / base["perplexity"] - 1)
            after = 100 * (undone[row["name"]] / undone[base["name"]] - 1)
            gaps = "" if row is base else f", and {before:+.1f} % would be {after:+.1f} %"
            rows.append(
                (
                    f"The paper's {row['both_forms']}",
                    f"prints {row['perplexity']:.2f}; if that held this share of padding, the text "
                    f"alone would be {undone[row['name']]:,.2f}{gaps}",
                )
            )
        return rows

    def describe(self) -> str:
        """Return the meter's reading as lines of plain text."""
        return facts_text("What padding does to a perplexity", self._facts())

    def fallback_html(self) -> str:
        """Return the meter's reading as a table."""
        table = facts_html("What padding does to a perplexity", self._facts())
        return table + where_it_lives("The length can be moved")
