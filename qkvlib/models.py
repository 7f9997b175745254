"""One block, and the models built from it.

Axis letters: B batch, T positions, N elements of a set. Pre-norm residual blocks in the manner of
GPT-2.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from qkvlib.attention import Attention, AttentionMaps
from qkvlib.cache import KVCache, LayerCache
from qkvlib.config import ConfigError, ModelConfig, SetConfig, StackConfig, ViTConfig
from qkvlib.linear import Linear
from qkvlib.position import PositionEmbedding


class Block(nn.Module):
    """Attention, then an MLP, each behind a layer norm and with a residual connection."""

    def __init__(self, config: StackConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.d_model, bias=config.bias)
        self.attention = Attention(config)
        self.norm2 = nn.LayerNorm(config.d_model, bias=config.bias)
        self.mlp = nn.Sequential(
            Linear(config.d_model, config.d_ff, bias=config.bias),
            nn.GELU(),
            Linear(config.d_ff, config.d_model, bias=config.bias),
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        x: Tensor,
        cache: LayerCache | None = None,
        return_attention: bool = False,
        start: int = 0,
    ) -> tuple[Tensor, AttentionMaps | None]:
        """Map (B, T, d_model) to (B, T, d_model); arguments as in :class:`Attention`."""
        y, maps = self.attention(self.norm1(x), cache, return_attention, start)
        x = x + self.dropout(y)
        return x + self.dropout(self.mlp(self.norm2(x))), maps


class Transformer(nn.Module):
    """Embedding, positions, a stack of blocks, a final norm, and an output layer.

    What goes in and what comes out is up to the subclass.
    """

    config: StackConfig

    def __init__(
        self, config: StackConfig, embedding: nn.Module, n_outputs: int, *, tied: bool | None = None
    ) -> None:
        """Build the parts that all models have.

        Args:
            config: The configuration.
            embedding: Maps what goes in to (B, T, d_model).
            n_outputs: Columns of the output layer.
            tied: Whether the output layer's weight is that of the embedding; then, and where it
                could be but is not, the layer has no bias. ``None`` where it cannot be.
        """
        super().__init__()
        self.config = config
        self.embedding = embedding
        self.position = PositionEmbedding(config)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.norm = nn.LayerNorm(config.d_model, bias=config.bias)
        self.head = Linear(config.d_model, n_outputs, bias=tied is None)
        if tied:
            self.head.weight = embedding.weight  # type: ignore[assignment]
        self._init_weights()

    def _init_weights(self) -> None:
        """Normal weights of deviation 0.02, smaller where a residual branch ends (GPT-2)."""
        if self.norm.weight.is_meta:  # there is nothing to fill, only shapes to count
            return
        for name, parameter in self.named_parameters():
            if parameter.ndim >= 2:
                ends_branch = name.endswith(("out_proj.weight", "mlp.2.weight"))
                std = 0.02 / (2 * self.config.n_layers) ** 0.5 if ends_branch else 0.02
                nn.init.normal_(parameter, std=std)
            elif name.endswith(("_proj.bias", "mlp.0.bias", "mlp.2.bias")):
                nn.init.zeros_(parameter)

    def n_positions(self, inputs: Tensor) -> int:
        """Return T, the positions that attention runs over for these inputs."""
        return inputs.shape[1]

    def _run(
        self, x: Tensor, cache: KVCache | None, return_attention: bool, start: int = 0
    ) -> tuple[Tensor, list[AttentionMaps]]:
        """Send (B, T, d_model) through the blocks and the final norm."""
        x = self.dropout(x)
        all_maps = []
        for i, block in enumerate(self.blocks):
            layer_cache = None if cache is None else cache.layers[i]
            x, maps = block(x, layer_cache, return_attention, start)
            all_maps.append(maps)
        return self.norm(x), all_maps


class TokenTransformer(Transformer):
    """Token and position embeddings, a stack of blocks, a final norm, and an output layer.

    :class:`GPT` and :class:`Encoder` are this model with and without a causal mask.
    """

    config: ModelConfig
    causal: bool

    def __init__(self, config: ModelConfig) -> None:
        _refuse_other_kind(self, config, ModelConfig)
        if config.causal is not self.causal:
            raise ConfigError(
                f"{type(self).__name__} needs causal={self.causal}, but the configuration says "
                f"causal={config.causal}. Use config.replace(causal={self.causal}), or "
                "build_model(config), which picks the class."
            )
        embedding = nn.Embedding(config.vocab_size, config.d_model)
        super().__init__(config, embedding, config.vocab_size, tied=config.tie_embeddings)

    def forward(
        self,
        tokens: Tensor,
        *,
        cache: KVCache | None = None,
        return_attention: bool = False,
        start: int | None = None,
    ) -> Tensor | tuple[Tensor, list[AttentionMaps]]:
        """Logits for each position.

        Args:
            tokens: Shape (B, T), int64, values from 0 to vocab_size - 1.
            cache: Keys and values of earlier tokens; the T tokens given are taken to follow
                them, and are appended. The logits are those that one call over the whole
                sequence gives.
            return_attention: Whether to return each layer's scores and weights as well.
            start: Position of the first of the T tokens, 0 unless told. With a cache it follows
                from the tokens held, and cannot be given.

        Returns:
            Logits of shape (B, T, vocab_size); with ``return_attention=True`` a pair of the
            logits and a list with one :class:`AttentionMaps` per layer.

        Raises:
            ValueError: If the tokens have another shape, or with the cache's or the start run past
                ``max_seq_len``, or the start is negative or contradicts the cache.
        """
        config = self.config
        if tokens.ndim != 2 or tokens.shape[1] == 0:
            raise ValueError(
                f"tokens of shape {tuple(tokens.shape)}: expected (batch, positions) with at "
                "least one position. For a single sequence use tokens[None]."
            )
        if cache is not None:
            cache.check_model(self)
            cache.check_room(*tokens.shape)
            if start not in (None, cache.length):
                raise ValueError(
                    f"start={start} with a cache that holds {cache.length} tokens: the new ones "
                    "follow these. Leave start out, or the cache."
                )
            start = cache.length
        start = start or 0
        if start < 0:
            raise ValueError(f"start={start}: expected a position, 0 or more.")
        if start + tokens.shape[1] > config.max_seq_len:
            raise ValueError(
                f"a sequence of {start + tokens.shape[1]} tokens is longer than max_seq_len="
                f"{config.max_seq_len}. Shorten it, or build the model with a larger max_seq_len."
            )
        x = self.position(self.embedding(tokens), start)
        x, all_maps = self._run(x, cache, return_attention, start)
        logits: Tensor = self.head(x)
        return (logits, all_maps) if return_attention else logits


class GPT(TokenTransformer):
    """A language model: causal, so that position t is predicted from what came before."""

    causal = True


class Encoder(TokenTransformer):
    """A model that sees the whole sequence and labels each position."""

    causal = False


class ViT(Transformer):
    """A vision transformer: an image is cut into patches, and each patch is a token.

    Source: Dosovitskiy et al. (2021), without its large-scale training.
    """

    config: ViTConfig

    def __init__(self, config: ViTConfig) -> None:
        _refuse_other_kind(self, config, ViTConfig)
        embedding = nn.Linear(config.n_channels * config.patch_size**2, config.d_model)
        super().__init__(config, embedding, config.n_classes)
        self.class_token = (
            nn.Parameter(0.02 * torch.randn(1, 1, config.d_model))
            if config.pool == "class"
            else None
        )

    def n_positions(self, inputs: Tensor) -> int:
        """Return T: the patches, and the class token if there is one."""
        return self.config.max_seq_len

    def forward(
        self, images: Tensor, *, return_attention: bool = False
    ) -> Tensor | tuple[Tensor, list[AttentionMaps]]:
        """Logits for each image.

        Args:
            images: Shape (B, n_channels, image_size, image_size), float.
            return_attention: Whether to return each layer's scores and weights as well. Positions
                are patches in reading order, after the class token if there is one.

        Returns:
            Logits of shape (B, n_classes); with ``return_attention=True`` a pair of the logits and
            a list with one :class:`AttentionMaps` per layer.

        Raises:
            ValueError: If the images have another shape.
        """
        config = self.config
        expected = (config.n_channels, config.image_size, config.image_size)
        if images.ndim != 4 or images.shape[1:] != expected:
            raise ValueError(
                f"images of shape {tuple(images.shape)}: expected (batch, channels, height, width) "
                f"= (B, {expected[0]}, {expected[1]}, {expected[2]}). For a single image use "
                "images[None]; for another size, resize it or build the model for it."
            )
        x = self.position(self.embedding(patches(images, config.patch_size)))
        if self.class_token is not None:
            x = torch.cat([self.class_token.expand(len(x), -1, -1), x], dim=1)
        x, all_maps = self._run(x, None, return_attention)
        logits: Tensor = self.head(x[:, 0] if self.class_token is not None else x.mean(dim=1))
        return (logits, all_maps) if return_attention else logits


def patches(images: Tensor, patch_size: int) -> Tensor:
    """Cut images into square patches.

    Args:
        images: Shape (B, C, height, width), both sides divisible by ``patch_size``.
        patch_size: Side P of a patch, in pixels.

    Returns:
        Shape (B, patches in reading order, C * P * P).
    """
    b, c, height, width = images.shape
    rows, columns = height // patch_size, width // patch_size
    cut = images.reshape(b, c, rows, patch_size, columns, patch_size)
    return cut.permute(0, 2, 4, 1, 3, 5).reshape(b, rows * columns, -1)


class SetEncoder(Transformer):
    """A score for each element of a set, with no notion of order.

    The elements' order changes nothing but the order of the scores, unless (X)+ tells them their
    places.

    Source: Lee et al. (2019), the set transformer; Kayyam et al. (2026), section 4.2.
    """

    config: SetConfig

    def __init__(self, config: SetConfig) -> None:
        _refuse_other_kind(self, config, SetConfig)
        embedding = nn.Linear(config.n_features, config.d_model)
        super().__init__(config, embedding, 1)

    def forward(
        self, elements: Tensor, *, return_attention: bool = False
    ) -> Tensor | tuple[Tensor, list[AttentionMaps]]:
        """Score each element.

        Args:
            elements: Shape (B, N, n_features), float.
            return_attention: Whether to return each layer's scores and weights as well.

        Returns:
            Scores of shape (B, N), logits of being the odd one out; with ``return_attention=True``
            a pair of the scores and a list with one :class:`AttentionMaps` per layer.

        Raises:
            ValueError: If the elements have another shape, or are more than ``max_seq_len``.
        """
        config = self.config
        if elements.ndim != 3 or elements.shape[2] != config.n_features or not elements.shape[1]:
            raise ValueError(
                f"elements of shape {tuple(elements.shape)}: expected (batch, elements, features) "
                f"with at least one element and {config.n_features} features."
            )
        if elements.shape[1] > config.max_seq_len:
            raise ValueError(
                f"a set of {elements.shape[1]} elements is larger than max_seq_len="
                f"{config.max_seq_len}. Build the model with a larger max_seq_len."
            )
        x, all_maps = self._run(self.embedding(elements), None, return_attention)
        scores: Tensor = self.head(x).squeeze(-1)
        return (scores, all_maps) if return_attention else scores


def _refuse_other_kind(model: Transformer, config: StackConfig, needed: type[StackConfig]) -> None:
    if not isinstance(config, needed):
        raise ConfigError(
            f"{type(model).__name__} needs a {needed.__name__}, but got a "
            f"{type(config).__name__}. build_model(config) picks the class."
        )


_MODELS: Final[Mapping[str, Any]] = MappingProxyType(
    {ViTConfig.kind: ViT, SetConfig.kind: SetEncoder}
)


def build_model(config: StackConfig, *, seed: int | None = None) -> Transformer:
    """Build the model that a configuration describes.

    A :class:`GPT` or, without a causal mask, an :class:`Encoder` for tokens, a :class:`ViT` for
    images, a :class:`SetEncoder` for sets.

    Args:
        config: The configuration.
        seed: Seed for the initial weights. ``None`` leaves PyTorch's global generator alone.
    """
    if seed is not None:
        torch.manual_seed(seed)
    token_model = GPT if config.causal else Encoder
    model: Transformer = _MODELS.get(config.kind, token_model)(config)
    return model


def token_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy over every position that is scored, in nats.

    Args:
        logits: Shape (B, T, vocab_size); or, with one answer for each input, (B, n_classes).
        targets: int64 of the same shape without the last axis;
            :data:`~qkvlib.tasks.IGNORED` (-100) leaves a position out.

    Returns:
        Shape ().
    """
    return F.cross_entropy(logits.flatten(0, -2), targets.flatten())
