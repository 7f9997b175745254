"""A small frozen convolutional encoder: an image in, a vector out.

It stands in for the pretrained network whose features the odd-one-out task is made of. Its
weights come with the course; ``scripts/make_encoders.py`` made them, from images of other classes
than those it is used on.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Final

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from qkvlib.paper import data_file
from qkvlib.sharing import look_up


class ConvEncoder(nn.Module):
    """Three convolutions, each halving the image, then the mean over what is left of it.

    Args:
        n_channels: 1 for grey images, 3 for colour.
        width: Channels of the first convolution; the second has twice, the third four times as
            many.

    Attributes:
        n_features: Numbers that describe an image: ``4 * width``.
    """

    def __init__(self, n_channels: int, width: int) -> None:
        super().__init__()
        self.n_channels = n_channels
        self.n_features = 4 * width
        layers: list[nn.Module] = []
        widths = (n_channels, width, 2 * width, 4 * width)
        for before, after in itertools.pairwise(widths):
            layers += [
                nn.Conv2d(before, after, 3, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
                nn.MaxPool2d(2),
            ]
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        """Describe images.

        Args:
            images: Shape (B, n_channels, height, width), standardised.

        Returns:
            Shape (B, n_features).
        """
        features: Tensor = self.layers(images).mean(dim=(-2, -1))
        return features


@dataclass(frozen=True)
class EncoderSpec:
    """One encoder that comes with the course.

    Attributes:
        name: Its name, and that of its file in ``data/encoders``.
        n_channels: 1 for grey images, 3 for colour.
        width: As in :class:`ConvEncoder`.
        trained_on: The images that it learnt from.
    """

    name: str
    n_channels: int
    width: int
    trained_on: str


ENCODERS: Final[Mapping[str, EncoderSpec]] = MappingProxyType(
    {
        spec.name: spec
        for spec in (
            EncoderSpec("grey", 1, 16, "fashion-small"),
            EncoderSpec("colour", 3, 32, "tiny-imagenet-20, scaled to 32 x 32"),
        )
    }
)
"""Name -> encoder; the one for digits has seen clothes only."""


@cache
def load_encoder(name: str) -> ConvEncoder:
    """Read a frozen encoder.

    Args:
        name: ``"grey"`` or ``"colour"``.

    Returns:
        The encoder, in eval mode, its weights frozen.

    Raises:
        UnknownNameError: If there is none of that name.
        DataNotFoundError: If its file is not there.
        ValueError: If the file is damaged.
    """
    spec = look_up("encoder", name, ENCODERS)
    encoder = ConvEncoder(spec.n_channels, spec.width)
    path = data_file(f"encoders/{name}.safetensors")
    try:
        encoder.load_state_dict(safetensors.torch.load_file(path))
    except (safetensors.SafetensorError, RuntimeError) as error:
        raise ValueError(
            f"{path} is damaged ({error}). Put it back from the repository: git checkout {path}"
        ) from error
    return encoder.eval().requires_grad_(False)


@torch.inference_mode()
def encode_images(encoder: ConvEncoder, images: Tensor, *, batch_size: int = 500) -> Tensor:
    """Describe many images, so many at a time.

    Args:
        encoder: The encoder.
        images: Shape (N, n_channels, height, width), standardised.
        batch_size: Images at once.

    Returns:
        Shape (N, n_features), float32.
    """
    return torch.cat([encoder(some) for some in torch.split(images, batch_size)])
