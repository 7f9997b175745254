"""Train the frozen encoders in ``data/encoders``: the recipe behind the odd-one-out features.

The encoder for grey images learns clothes (the embedded subset of Fashion-MNIST), and is used on
digits; the one for colour learns TinyImageNet-20, scaled to 32 x 32, and is used on CIFAR-10. So
what it is asked about in the course it has never been told.

    python scripts/make_encoders.py grey       # under a minute on one core
    python scripts/make_encoders.py colour     # needs tiny-imagenet-20: qkv data fetch
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812
from safetensors.torch import save
from torch import Tensor, nn

from qkvlib.encoder import ENCODERS, ConvEncoder, EncoderSpec
from qkvlib.records import versions, write_atomically
from qkvlib.tasks.images import ImageSet, load_images
from qkvlib.tasks.vision import VisionTask
from qkvlib.training import TrainConfig

OUT: Final = Path(__file__).resolve().parent.parent / "data" / "encoders"
EPOCHS: Final = 10
BATCH_SIZE: Final = 64
LR: Final = 2e-3
SEED: Final = 0


def scaled(images: ImageSet, size: int) -> ImageSet:
    """Scale all images of a set."""

    def smaller(pixels: Tensor) -> Tensor:
        float_pixels = F.interpolate(pixels.float(), size=(size, size), mode="area")
        return float_pixels.round().to(torch.uint8)

    return dataclasses.replace(
        images,
        train_images=smaller(images.train_images),
        test_images=smaller(images.test_images),
    )


def task_of(spec: EncoderSpec) -> VisionTask:
    """The images that an encoder learns from."""
    if spec.name == "grey":
        return VisionTask("fashion-small", seed=SEED, shift=2)
    return VisionTask(scaled(load_images("tiny-imagenet-20"), 32), seed=SEED, shift=3, flip=True)


def train(encoder: ConvEncoder, task: VisionTask) -> float:
    """Train it to name the classes, with a linear layer on top that is then thrown away.

    Returns:
        Accuracy on the held-out images.
    """
    model = nn.Sequential(encoder, nn.Linear(encoder.n_features, task.n_classes))
    recipe = TrainConfig(steps=EPOCHS * task.steps_per_epoch(BATCH_SIZE), lr=LR)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
    model.train()
    for step in range(recipe.steps):
        images, labels = task.batch(step, BATCH_SIZE)
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate(step)
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    model.eval()
    with torch.inference_mode():
        right = sum(
            int((model(images).argmax(dim=-1) == labels).sum())
            for images, labels in task.eval_batches(500)
        )
    return right / task.eval_images


def main() -> None:
    """Train and write the encoders that were named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="+", choices=list(ENCODERS))
    for name in parser.parse_args().names:
        spec = ENCODERS[name]
        torch.manual_seed(SEED)
        encoder = ConvEncoder(spec.n_channels, spec.width)
        task = task_of(spec)
        accuracy = train(encoder, task)
        recipe = {
            "trained_on": spec.trained_on,
            "task": task.describe(),
            "epochs": EPOCHS,
            "batch_size": BATCH_SIZE,
            "lr": LR,
            "accuracy_on_its_own_classes": round(accuracy, 4),
            "versions": versions(),
        }
        tensors = {n: t.contiguous() for n, t in encoder.state_dict().items()}
        data = save(tensors, {"recipe": json.dumps(recipe)})
        write_atomically(OUT / f"{name}.safetensors", data)
        print(f"{name}: {len(data):,} bytes, {100 * accuracy:.1f} % of {task.name}")


if __name__ == "__main__":
    main()
