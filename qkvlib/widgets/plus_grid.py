"""PlusGrid: what a trained (X)+ adds to the scores, drawn on the grid of an image's patches."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import torch
import traitlets
from torch import Tensor

from qkvlib.analysis import asymmetry
from qkvlib.config import ViTConfig
from qkvlib.flow import split_asymmetry
from qkvlib.models import Block, Transformer, build_model
from qkvlib.sharing import unknown_name
from qkvlib.tasks.vision import VisionTask
from qkvlib.widgets.base import CourseWidget, module_source, where_it_lives
from qkvlib.widgets.patch_attention import pack

PARTS: Final = {"gain": "a factor g", "a": "a term a(i)", "b": "a term b(j)"}
"""The parts of (X)+, each of which can be left out."""

_DIRECTIONS: Final = ("out", "in")
_PIXEL: Final = 255
_FINEST: Final = 65_535  # steps of a score: two bytes each


class Effect(NamedTuple):
    """What the chosen parts of (X)+ do to one map.

    Attributes:
        before: Shape (n, n): the scores without (X)+.
        after: The same with the chosen parts.
        asymmetry_before: ‖S − Sᵀ‖ / ‖S‖ of the one.
        asymmetry_after: Of the other.
        flow_after: The part of it that no heights account for.
        moved: Shape (n,): share of its weight that a patch gives to others than without (X)+.
    """

    before: Tensor
    after: Tensor
    asymmetry_before: float
    asymmetry_after: float
    flow_after: float
    moved: Tensor


def pack_scores(scores: Tensor) -> dict[str, Any]:
    """Write scores as two bytes each, high byte first, between their least and their greatest."""
    low, high = (round(end, 6) for end in (scores.min().item() - 1e-6, scores.max().item() + 1e-6))
    levels = ((scores.double() - low) / (high - low) * _FINEST).round().int().flatten().tolist()
    data = b"".join(level.to_bytes(2, "big") for level in levels)
    return {"low": low, "high": high, "levels": base64.b64encode(data).decode()}


def unpack_scores(packed: Mapping[str, Any], n: int) -> Tensor:
    """Read what :func:`pack_scores` wrote, as float64 of shape (n, n)."""
    data = base64.b64decode(packed["levels"])
    levels = [int.from_bytes(data[k : k + 2], "big") for k in range(0, len(data), 2)]
    low, high = packed["low"], packed["high"]
    shares = torch.tensor(levels, dtype=torch.float64).view(n, n) / _FINEST
    return torch.lerp(torch.full_like(shares, low), torch.full_like(shares, high), shares)


def _check_models(models: Mapping[str, Transformer], task: VisionTask) -> ViTConfig:
    """The configuration that the models share; refuses what cannot be shown."""
    if not models:
        raise ValueError("models is empty: give at least one, for example {'its number': model}.")
    configs = []
    for name, model in models.items():
        if (problem := task.misfit(model.config)) is not None:
            raise ValueError(f"{name}: {problem}")
        config = model.config
        assert isinstance(config, ViTConfig)
        if not config.plus_channels:
            raise ValueError(
                f"{name}: the model has no (X)+, so there is nothing to draw. Build it with "
                f"config.replace(variant='({config.variant.name})+')."
            )
        if config.pool != "mean" or config.n_channels != 1:
            raise ValueError(
                f"{name}: expected pool='mean' and n_channels=1, since a class token has no place "
                "in the image and images are drawn as ink on paper; it has "
                f"pool={config.pool!r} and n_channels={config.n_channels}."
            )
        configs.append(config)
    first = configs[0]
    for name, config in zip(models, configs, strict=True):
        for field in ("patch_size", "n_layers", "n_heads", "sharing"):
            ours, theirs = getattr(config, field), getattr(first, field)
            if ours != theirs:
                raise ValueError(
                    f"{name} has {field}={ours}, {next(iter(models))} has {theirs}: models shown "
                    "together must have the same."
                )
    return first


@torch.inference_mode()
def _layers(model: Transformer, images: Tensor) -> list[dict[str, Any]]:
    """For each layer the parts of (X)+, and for each image and head the scores before it."""
    # In double precision, so that taking (X)+ off the scores again loses nothing.
    with torch.random.fork_rng(devices=[]):  # the copy's initial weights are no one's business
        exact = build_model(model.config)
    exact.load_state_dict(model.state_dict())
    exact = exact.double().eval()
    _, all_maps = exact(images.double(), return_attention=True)
    n = all_maps[0].scores.shape[-1]
    layers = []
    for block, maps in zip(exact.blocks, all_maps, strict=True):
        assert isinstance(block, Block)
        plus = block.attention.plus
        assert plus is not None
        gain, addend = plus(n)
        # Constants go to a, where they do no more than a itself; b has mean zero.
        a = addend.mean(dim=1)
        b = addend.mean(dim=0) - addend.mean()
        plain = (maps.scores - addend) / gain
        layers.append(
            {
                "gain": round(gain.item(), 6),
                "a": [round(value, 5) for value in a.tolist()],
                "b": [round(value, 5) for value in b.tolist()],
                "maps": [[pack_scores(head) for head in image] for image in plain],
            }
        )
    return layers


class PlusGrid(CourseWidget):
    """The learned correction of models with (X)+, on an image: what it adds, and what that does.

    A patch is chosen; shown are what (X)+ adds to its look at every patch (or to every patch's look
    at it), and its weights before and after. Each part of (X)+ can be left out.

    Attributes:
        told: Which model: the name of what its (X)+ is told of places.
        image: Which of the images, from 0.
        layer: Which layer, from 0.
        head: Which head, from 0.
        patch: The patch that is followed, from 0 in reading order.
        direction: ``"out"``: it looks at all the others; ``"in"``: all the others look at it.
        parts: The parts of (X)+ that are on: ``"gain"``, ``"a"``, ``"b"``. With none (X)+ is off.

    Example:
        >>> show(PlusGrid({"its number": model}, task, places=[0, 7]))  # doctest: +SKIP
    """

    name = "plus_grid"
    _esm = module_source("plus_grid")

    told = traitlets.Unicode().tag(sync=True)
    image = traitlets.Int(0).tag(sync=True)
    layer = traitlets.Int(0).tag(sync=True)
    head = traitlets.Int(0).tag(sync=True)
    patch = traitlets.Int(0).tag(sync=True)
    direction = traitlets.Unicode("out").tag(sync=True)
    parts = traitlets.List(trait=traitlets.Unicode(), default_value=list(PARTS)).tag(sync=True)

    # What the view must know. Constants, sent once.
    grid: Any = traitlets.List(read_only=True).tag(sync=True)
    size: Any = traitlets.List(read_only=True).tag(sync=True)
    n_heads = traitlets.Int(read_only=True).tag(sync=True)
    images = traitlets.List(trait=traitlets.Dict(), read_only=True).tag(sync=True)
    models = traitlets.List(trait=traitlets.Dict(), read_only=True).tag(sync=True)
    variant = traitlets.Dict(read_only=True).tag(sync=True)

    def __init__(
        self,
        models: Mapping[str, Transformer],
        task: VisionTask,
        *,
        places: Sequence[int],
        **state: Any,
    ) -> None:
        """Make the widget.

        Args:
            models: What (X)+ is told of places, in words -> trained vision transformer with (X)+;
                all of one sharing, with the same patches, layers and heads.
            task: Where the images come from, and how their pixels are standardised.
            places: Which of the held-out images to show, by their places in the set.
            **state: Traits.

        Raises:
            ValueError: If a model has no (X)+, or does not fit the images or the other models, or a
                place does not exist.
            traitlets.TraitError: If a trait has a value that there is not.
        """
        config = _check_models(models, task)
        bad = [place for place in places if not 0 <= place < task.n_test]
        if bad or not len(places):
            raise ValueError(
                f"places={list(places)}: expected at least one, each from 0 to {task.n_test - 1}, "
                f"since {task.name} has {task.n_test:,} held-out images."
            )
        pixels = task.images.test_images[list(places)]
        variant = config.variant
        # Before the others, which are checked against them.
        for name, value in {
            "grid": list(config.grid),
            "size": list(pixels.shape[-2:]),
            "n_heads": config.n_heads,
            "variant": {
                "name": variant.name,
                "tuple_form": variant.tuple_form,
                "colour": variant.sharing.colour,
            },
            "images": [
                {
                    "label": task.images.classes[int(task.images.test_labels[place])],
                    "pixels": pack(pixels[i].float() / _PIXEL),
                }
                for i, place in enumerate(places)
            ],
            "models": [
                {"told": told, "layers": _layers(model, task.standardised(pixels))}
                for told, model in models.items()
            ],
        }.items():
            self.set_trait(name, value)
        super().__init__(**{"told": next(iter(models))} | state)

    @traitlets.validate("told", "direction")
    def _check_name(self, proposal: dict[str, Any]) -> str:
        name, value = proposal["trait"].name, proposal["value"]
        known = _DIRECTIONS if name == "direction" else [row["told"] for row in self.models]
        if value not in known:
            raise traitlets.TraitError(str(unknown_name(name, value, known)))
        return str(value)

    @traitlets.validate("parts")
    def _check_parts(self, proposal: dict[str, Any]) -> list[str]:
        for value in proposal["value"]:
            if value not in PARTS:
                raise traitlets.TraitError(str(unknown_name("part of (X)+", value, PARTS)))
        return [part for part in PARTS if part in proposal["value"]]

    @traitlets.validate("image", "layer", "head", "patch")
    def _check_number(self, proposal: dict[str, Any]) -> int:
        name, value = proposal["trait"].name, proposal["value"]
        count = {
            "image": len(self.images),
            "layer": len(self.models[0]["layers"]),
            "head": self.n_heads,
            "patch": self.grid[0] * self.grid[1],
        }[name]
        if isinstance(value, bool) or not 0 <= value < count:
            raise traitlets.TraitError(f"{name}={value!r}: expected 0 to {count - 1}.")
        return int(value)

    # What is computed: the view computes the same

    def _layer(self) -> Mapping[str, Any]:
        model = next(row for row in self.models if row["told"] == self.told)
        layer: Mapping[str, Any] = model["layers"][self.layer]
        return layer

    @property
    def effect(self) -> Effect:
        """What the chosen parts do to the chosen map."""
        layer = self._layer()
        n = self.grid[0] * self.grid[1]
        before = unpack_scores(layer["maps"][self.image][self.head], n)
        after = before * (layer["gain"] if "gain" in self.parts else 1.0)
        if "a" in self.parts:
            after = after + torch.tensor(layer["a"], dtype=torch.float64)[:, None]
        if "b" in self.parts:
            after = after + torch.tensor(layer["b"], dtype=torch.float64)[None, :]
        moved = (after.softmax(-1) - before.softmax(-1)).abs().sum(-1) / 2
        return Effect(
            before,
            after,
            asymmetry(before).item(),
            asymmetry(after).item(),
            split_asymmetry(after).flow.item(),
            moved,
        )

    # What is said where it cannot be seen

    def place_text(self, patch: int) -> str:
        """Name a patch by its row and column, from 1."""
        row, column = divmod(patch, self.grid[1])
        return f"row {row + 1}, column {column + 1}"

    def _peaks(self, layer: Mapping[str, Any]) -> tuple[int, int]:
        b = layer["b"]
        return b.index(max(b)), b.index(min(b))

    def describe(self) -> str:
        """Return what (X)+ adds, and what it does to the weights, as lines of plain text."""
        layer, effect = self._layer(), self.effect
        most, least = self._peaks(layer)
        chosen = ", ".join(PARTS[part] for part in self.parts) or "none of its parts, so it is off"
        return "\n".join(
            [
                f"{self.variant['name']} {self.variant['tuple_form']} told {self.told}: image "
                f"{self.image + 1} ({self.images[self.image]['label']}), layer {self.layer}, head "
                f"{self.head}.",
                f"  (X)+ with {chosen}; g = {layer['gain']:.2f}.",
                f"  b(j), the same for every patch that looks: most at {self.place_text(most)} "
                f"({layer['b'][most]:+.2f}), least at {self.place_text(least)} "
                f"({layer['b'][least]:+.2f}).",
                f"  The patch in {self.place_text(self.patch)}: a(i) = "
                f"{layer['a'][self.patch]:+.2f}; {100 * effect.moved[self.patch]:.1f} % of its "
                f"weight moved; on average over all patches {100 * effect.moved.mean():.1f} %.",
                f"  Asymmetry of the scores {effect.asymmetry_before:.2f} without (X)+, "
                f"{effect.asymmetry_after:.2f} with it, of which flow {effect.flow_after:.2f}.",
            ]
        )

    def fallback_html(self) -> str:
        """Return what every (X)+ has learned as a table."""
        rows = []
        for model in self.models:
            for number, layer in enumerate(model["layers"]):
                most, least = self._peaks(layer)
                ends = "".join(
                    f"<td>{self.place_text(place)} ({layer['b'][place]:+.2f})</td>"
                    for place in (most, least)
                )
                rows.append(
                    f'<tr><th scope="row">{html.escape(model["told"])}, layer {number}</th>'
                    f"<td>{layer['gain']:.2f}</td>{ends}</tr>"
                )
        return (
            "<table><caption>What (X)+ has learned: a factor g, and a term b(j) that is the same "
            "for every patch that looks</caption><thead><tr>"
            '<th scope="col">told</th><th scope="col">g</th><th scope="col">b most at</th>'
            '<th scope="col">b least at</th></tr></thead>'
            f"<tbody>{''.join(rows)}</tbody></table>"
            + where_it_lives("Patches can be chosen and parts left out")
        )
