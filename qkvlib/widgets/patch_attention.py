"""PatchAttention: choose a patch of an image, and see where every head of every layer looks."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
import traitlets
from torch import Tensor

from qkvlib.config import ViTConfig
from qkvlib.models import Transformer
from qkvlib.sharing import parse_variant, unknown_name
from qkvlib.tasks.vision import VisionTask
from qkvlib.widgets.base import CourseWidget, Whole, module_source, where_it_lives

_FINEST: Final = 255  # a weight of one, and a pixel that is all ink
_DIRECTIONS: Final = ("out", "in")


def pack(numbers: Tensor) -> str:
    """Write numbers from 0 to 1 as bytes in base64, in steps of 1/255."""
    levels = (numbers.flatten() * _FINEST).round().to(torch.uint8)
    return base64.b64encode(levels.numpy().tobytes()).decode()


def _configs(models: Mapping[str, Transformer], task: VisionTask) -> list[ViTConfig]:
    """The models' configurations; refuses models that cannot be shown side by side."""
    if not models:
        raise ValueError("models is empty: give at least one, for example {'QKV': model}.")
    configs = []
    for name, model in models.items():
        parse_variant(name)
        if (problem := task.misfit(model.config)) is not None:
            raise ValueError(f"{name}: {problem}")
        assert isinstance(model.config, ViTConfig)
        configs.append(model.config)
    first = configs[0]
    if first.n_channels != 1:
        raise ValueError(
            f"{task.name} has {first.n_channels} channels: images are drawn as ink on paper here, "
            "so they must be grey. mnist-small and fashion-small are."
        )
    for name, config in zip(models, configs, strict=True):
        for field in ("patch_size", "n_layers", "n_heads", "pool"):
            ours, theirs = getattr(config, field), getattr(first, field)
            if ours != theirs:
                raise ValueError(
                    f"{name} has {field}={ours!r}, {next(iter(models))} has {theirs!r}: models "
                    "shown side by side must have the same. Use config.replace(variant=…)."
                )
    if first.pool != "mean":
        raise ValueError(
            f"pool={first.pool!r}: a class token has no place in the image. Use pool='mean'."
        )
    return configs


@torch.inference_mode()
def _answers(model: Transformer, images: Tensor) -> list[dict[str, Any]]:
    """What a model says to each image (N, 1, height, width), how sure it is, where it looks."""
    was_training = model.training
    model.eval()
    logits, layers = model(images, return_attention=True)
    model.train(was_training)
    shares = logits.softmax(dim=-1)
    return [
        {
            "answer": int(logits[i].argmax()),
            "shares": [round(float(share), 4) for share in shares[i]],
            "maps": [[pack(head) for head in maps.weights[i]] for maps in layers],
        }
        for i in range(len(images))
    ]


class PatchAttention(CourseWidget):
    """Vision transformers at work on some images: where each patch looks, and what they answer.

    Attributes:
        image: Which of the images is shown, from 0.
        patch: The patch that is followed, from 0 in reading order.
        variant: The model whose maps are shown.
        direction: ``"out"`` shows where the patch looks, ``"in"`` who looks at it.

    Example:
        >>> show(PatchAttention({"QKV": model}, task, places=[0, 7]))  # doctest: +SKIP
    """

    name = "patch_attention"
    _esm = module_source("patch_attention")

    image = Whole(0).tag(sync=True)
    patch = Whole(0).tag(sync=True)
    variant = traitlets.Unicode().tag(sync=True)
    direction = traitlets.Unicode("out").tag(sync=True)

    # What the view must know. Constants, sent once.
    grid: Any = traitlets.List(read_only=True).tag(sync=True)
    size: Any = traitlets.List(read_only=True).tag(sync=True)
    classes = traitlets.List(trait=traitlets.Unicode(), read_only=True).tag(sync=True)
    variants = traitlets.List(trait=traitlets.Dict(), read_only=True).tag(sync=True)
    n_layers = traitlets.Int(read_only=True).tag(sync=True)
    n_heads = traitlets.Int(read_only=True).tag(sync=True)
    images = traitlets.List(trait=traitlets.Dict(), read_only=True).tag(sync=True)

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
            models: Variant -> vision transformer; all with the same patches, layers and heads.
            task: Where the images come from, and how their pixels are standardised.
            places: Which of the held-out images to show, by their places in the set.
            **state: Traits.

        Raises:
            ValueError: If the models do not fit the images or each other, or a place does not
                exist.
            traitlets.TraitError: If a trait names what is not there.
        """
        config = _configs(models, task)[0]
        bad = [place for place in places if not 0 <= place < task.n_test]
        if bad or not len(places):
            raise ValueError(
                f"places={list(places)}: expected at least one, each from 0 to {task.n_test - 1}, "
                f"since {task.name} has {task.n_test:,} held-out images."
            )
        pixels = task.images.test_images[list(places)]
        answers = {name: _answers(m, task.standardised(pixels)) for name, m in models.items()}
        known = [parse_variant(name) for name in models]
        # Before the others, which are checked against them.
        for name, value in {
            "grid": list(config.grid),
            "size": list(pixels.shape[-2:]),
            "classes": list(task.images.classes),
            "n_layers": config.n_layers,
            "n_heads": config.n_heads,
            "variants": [
                {"name": v.name, "tuple_form": v.tuple_form, "colour": v.sharing.colour}
                for v in known
            ],
            "images": [
                {
                    "place": int(place),
                    "label": int(task.images.test_labels[place]),
                    "pixels": pack(pixels[i].float() / _FINEST),
                    "answers": [answers[name][i] for name in models],
                }
                for i, place in enumerate(places)
            ],
        }.items():
            self.set_trait(name, value)
        super().__init__(**{"variant": known[0].name} | state)

    @traitlets.validate("variant", "direction")
    def _check_name(self, proposal: dict[str, Any]) -> str:
        name, value = proposal["trait"].name, proposal["value"]
        known = _DIRECTIONS if name == "direction" else [row["name"] for row in self.variants]
        if value not in known:
            raise traitlets.TraitError(str(unknown_name(name, value, known)))
        return str(value)

    @traitlets.validate("image", "patch")
    def _check_number(self, proposal: dict[str, Any]) -> int:
        name, value = proposal["trait"].name, proposal["value"]
        count = len(self.images) if name == "image" else self.grid[0] * self.grid[1]
        if not 0 <= value < count:
            raise traitlets.TraitError(f"{name}={value!r}: expected 0 to {count - 1}.")
        return int(value)

    def _said(self, image: Mapping[str, Any], at: int) -> str:
        found = image["answers"][at]
        mark = "right" if found["answer"] == image["label"] else "wrong"
        share = found["shares"][found["answer"]]
        return f"{self.classes[found['answer']]}, {mark}, {100 * share:.0f} % sure"

    def describe(self) -> str:
        """Return the image's class and every model's answer as lines of plain text."""
        image = self.images[self.image]
        lines = [
            f"Image {self.image + 1} of {len(self.images)} "
            f"(held-out image {image['place']}): {self.classes[image['label']]}"
        ]
        lines += [
            f"  {row['name']:<9} says {self._said(image, at)}"
            for at, row in enumerate(self.variants)
        ]
        rows, columns = self.grid
        lines.append(
            f"  Where each of {rows} x {columns} patches looks, in {self.n_layers} layers of "
            f"{self.n_heads} heads, is drawn in a notebook or on the course's site."
        )
        return "\n".join(lines)

    def fallback_html(self) -> str:
        """Return every model's answer to every image as a table."""
        head = "".join(f'<th scope="col">{html.escape(v["name"])}</th>' for v in self.variants)
        rows = []
        for image in self.images:
            cells = "".join(
                f"<td>{html.escape(self._said(image, at))}</td>" for at in range(len(self.variants))
            )
            label = html.escape(self.classes[image["label"]])
            rows.append(f'<tr><th scope="row">{label} ({image["place"]})</th>{cells}</tr>')
        return (
            "<table><caption>What each image is (and its place among the held-out ones), and what "
            "the models say</caption>"
            f"<thead><tr><td></td>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
            + where_it_lives("Images and maps can be looked at")
        )
