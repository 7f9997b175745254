"""OddOneOut: find the odd image before the models do, and see where its images look."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
import traitlets
from torch import Tensor

from qkvlib.models import SetEncoder
from qkvlib.sharing import unknown_name
from qkvlib.tasks.anomaly import SetTask
from qkvlib.training import evaluate
from qkvlib.widgets.base import CourseWidget, module_source, where_it_lives

NO_PICK: Final = -1
"""Stands in ``picks`` for a round that was not played yet, and in ``focus`` for no image."""

_FINEST: Final = 255  # steps of a weight: one byte each


def pack_bytes(values: Tensor) -> str:
    """Write numbers from 0 to 255 as base64, a byte each, in reading order."""
    return base64.b64encode(values.to(torch.uint8).numpy().tobytes()).decode("ascii")


def pack_weights(weights: Tensor) -> str:
    """Write weights from 0 to 1 as base64, a byte each, in steps of 1/255."""
    return pack_bytes((weights * _FINEST).round())


@torch.inference_mode()
def _model_row(name: str, model: SetEncoder, task: SetTask, elements: Tensor) -> dict[str, Any]:
    """What the view must know of a model: how it scores the rounds, and where it looks."""
    model.eval()
    scores, layers = model(task.features.test[elements], return_attention=True)
    assert isinstance(scores, Tensor)
    variant = model.config.variant
    return {
        "name": name,
        "tuple_form": variant.tuple_form,
        "colour": variant.sharing.colour,
        "accuracy": round(evaluate(model, task, batch_size=500)["accuracy"], 4),
        "scores": [[round(score, 3) for score in row] for row in scores.tolist()],
        "maps": [
            [[pack_weights(head) for head in maps.weights[i]] for maps in layers]
            for i in range(len(elements))
        ],
    }


class OddOneOut(CourseWidget):
    """A game: of ten images one is odd. The learner picks, then the models show their answers.

    Below the answers stands the attention between the images, as a graph and as a table.

    Attributes:
        shown: The round, from 0.
        picks: The learner's pick in every round, a place from 0; -1 where none was made yet.
            Assign a new list: a change inside the old one goes unnoticed.
        variant: The model whose attention is drawn.
        layer: Of which layer, from 0.
        head: Of which head, from 0.
        least: Weights below so many percent are not drawn.
        focus: The image whose edges alone are drawn, from 0; -1 draws all.

    Example:
        >>> show(OddOneOut({"QKV": model}, SetTask("mnist-small")))  # doctest: +SKIP
    """

    name = "odd_one_out"
    _esm = module_source("odd_one_out")

    shown = traitlets.Int(0).tag(sync=True)
    picks = traitlets.List(trait=traitlets.Int()).tag(sync=True)
    variant = traitlets.Unicode().tag(sync=True)
    layer = traitlets.Int(0).tag(sync=True)
    head = traitlets.Int(0).tag(sync=True)
    least = traitlets.Int(12).tag(sync=True)
    focus = traitlets.Int(NO_PICK).tag(sync=True)

    # What the view must know. Constants, sent once.
    set_size = traitlets.Int(read_only=True).tag(sync=True)
    image_size = traitlets.Int(read_only=True).tag(sync=True)
    n_layers = traitlets.Int(read_only=True).tag(sync=True)
    n_heads = traitlets.Int(read_only=True).tag(sync=True)
    rounds = traitlets.List(trait=traitlets.Dict(), read_only=True).tag(sync=True)
    models = traitlets.List(trait=traitlets.Dict(), read_only=True).tag(sync=True)

    def __init__(
        self, models: Mapping[str, SetEncoder], task: SetTask, *, n_rounds: int = 10, **state: Any
    ) -> None:
        """Make the widget: the rounds are the first held-out sets, whatever they are.

        Args:
            models: Name -> trained model; all of one shape but for what they share.
            task: Where the sets come from; its images must be grey.
            n_rounds: Rounds of the game.
            **state: Traits.

        Raises:
            ValueError: If there is no model, one does not fit the task or the others, the images
                have colours, or there are fewer held-out sets than rounds.
            traitlets.TraitError: If a trait has a value that the rounds or models do not have.
        """
        _refuse_misfits(models, task, n_rounds)
        elements, odd = (part[:n_rounds] for part in task.held_out_sets())
        images = task.features.images
        first = next(iter(models.values())).config
        # Before the others, which are checked against them.
        self.set_trait("set_size", task.set_size)
        self.set_trait("image_size", images.image_size)
        self.set_trait("n_layers", first.n_layers)
        self.set_trait("n_heads", first.n_heads)
        self.set_trait(
            "rounds",
            [
                {
                    "pixels": pack_bytes(images.test_images[places]),
                    "labels": [images.classes[label] for label in images.test_labels[places]],
                    "odd": int(place),
                }
                for places, place in zip(elements, odd, strict=True)
            ],
        )
        rows = [_model_row(name, model, task, elements) for name, model in models.items()]
        self.set_trait("models", rows)
        chosen = {"variant": rows[0]["name"], "picks": [NO_PICK] * n_rounds}
        super().__init__(**chosen | state)

    @traitlets.validate("shown", "layer", "head", "least", "focus")
    def _check_number(self, proposal: dict[str, Any]) -> int:
        name, value = proposal["trait"].name, proposal["value"]
        low, high = {
            "shown": (0, len(self.rounds) - 1),
            "layer": (0, self.n_layers - 1),
            "head": (0, self.n_heads - 1),
            "least": (0, 100),
            "focus": (NO_PICK, self.set_size - 1),
        }[name]
        if isinstance(value, bool) or not low <= value <= high:
            raise traitlets.TraitError(f"{name}={value!r}: expected {low} to {high}.")
        return int(value)

    @traitlets.validate("variant")
    def _check_variant(self, proposal: dict[str, Any]) -> str:
        known = [row["name"] for row in self.models]
        if proposal["value"] not in known:
            raise traitlets.TraitError(str(unknown_name("variant", proposal["value"], known)))
        return str(proposal["value"])

    @traitlets.validate("picks")
    def _check_picks(self, proposal: dict[str, Any]) -> list[int]:
        picks: list[int] = proposal["value"]
        if len(picks) != len(self.rounds) or not all(
            NO_PICK <= pick < self.set_size and not isinstance(pick, bool) for pick in picks
        ):
            raise traitlets.TraitError(
                f"picks={picks!r}: expected {len(self.rounds)} places, one for each round, from 0 "
                f"to {self.set_size - 1}, or {NO_PICK} where none was made yet."
            )
        return picks

    def static_state(self) -> dict[str, Any]:
        """Return the state with no round played: a page is read by others."""
        return {**self.state(), "picks": [NO_PICK] * len(self.rounds), "shown": 0}

    def answers(self) -> dict[str, list[int]]:
        """Return the places that each model picks, name -> one for each round."""
        return {row["name"]: [_best(scores) for scores in row["scores"]] for row in self.models}

    def tally(self) -> dict[str, int]:
        """Return how many of the played rounds each got right; the learner is ``"you"``."""
        played = [i for i, pick in enumerate(self.picks) if pick != NO_PICK]
        picks = {"you": self.picks, **self.answers()}
        return {
            name: sum(each[i] == self.rounds[i]["odd"] for i in played)
            for name, each in picks.items()
        }

    def describe(self) -> str:
        """Return the round, the models' picks and their shares as lines of plain text."""
        one = self.rounds[self.shown]
        lines = [
            f"Round {self.shown + 1} of {len(self.rounds)}: {', '.join(one['labels'])}. The odd "
            f"one is image {one['odd'] + 1}."
        ]
        for row in self.models:
            scores = row["scores"][self.shown]
            pick = _best(scores)
            verdict = "right" if pick == one["odd"] else "wrong"
            share = torch.tensor(scores).softmax(dim=0)[pick]
            lines.append(
                f"  {row['name']:<9} picks image {pick + 1} with {100 * share:.0f} %: {verdict}"
                f" (held-out sets: {100 * row['accuracy']:.1f} %)"
            )
        return "\n".join(lines)

    def fallback_html(self) -> str:
        """Return what each model picked in each round as a table."""
        names = [row["name"] for row in self.models]
        head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in names)
        answers = self.answers()
        rows = []
        for i, one in enumerate(self.rounds):
            usual = one["labels"][one["odd"] - 1]  # the last one's if the first is odd
            cells = "".join(
                f"<td>{answers[name][i] + 1} {'✓' if answers[name][i] == one['odd'] else '✗'}</td>"
                for name in names
            )
            what = f"{one['odd'] + 1}: {one['labels'][one['odd']]} among {usual}"
            rows.append(f'<tr><th scope="row">{i + 1}</th><td>{html.escape(what)}</td>{cells}</tr>')
        return (
            f"<table><caption>The image that each model picks, of {self.set_size}</caption>"
            f'<thead><tr><th scope="col">round</th><th scope="col">odd one</th>{head}</tr></thead>'
            f"<tbody>{''.join(rows)}</tbody></table>" + where_it_lives("The game can be played")
        )


def _best(scores: Sequence[float]) -> int:
    return max(range(len(scores)), key=scores.__getitem__)


def _refuse_misfits(models: Mapping[str, SetEncoder], task: SetTask, n_rounds: int) -> None:
    if not models:
        raise ValueError("models is empty: the game needs at least one trained SetEncoder.")
    images = task.features.images
    if images.n_channels != 1:
        raise ValueError(
            f"the images of {task.name} have {images.n_channels} channels: the game draws grey "
            "images only. Use a SetTask of mnist-small or fashion-small."
        )
    if not 1 <= n_rounds <= task.eval_sets:
        raise ValueError(
            f"n_rounds={n_rounds}: expected 1 to eval_sets={task.eval_sets}, the number of "
            "held-out sets that the task has."
        )
    shapes = set()
    for name, model in models.items():
        if (problem := task.misfit(model.config)) is not None:
            raise ValueError(f"model {name}: {problem}")
        shapes.add((model.config.n_layers, model.config.n_heads))
    if len(shapes) > 1:
        raise ValueError(
            f"models have (n_layers, n_heads) of {sorted(shapes)}: the same for all is needed, so "
            "that one choice of layer and head fits every model."
        )
