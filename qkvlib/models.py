"""One block, and the models built from it.

Axis letters: B batch, T positions. Pre-norm residual blocks in the manner of GPT-2.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from qkvlib.attention import Attention, AttentionMaps
from qkvlib.cache import KVCache, LayerCache
from qkvlib.config import ConfigError, ModelConfig
from qkvlib.position import PositionEmbedding


class Block(nn.Module):
    """Attention, then an MLP, each behind a layer norm and with a residual connection."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.d_model, bias=config.bias)
        self.attention = Attention(config)
        self.norm2 = nn.LayerNorm(config.d_model, bias=config.bias)
        self.mlp = nn.Sequential(
            nn.Linear(config.d_model, config.d_ff, bias=config.bias),
            nn.GELU(),
            nn.Linear(config.d_ff, config.d_model, bias=config.bias),
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, x: Tensor, cache: LayerCache | None = None, return_attention: bool = False
    ) -> tuple[Tensor, AttentionMaps | None]:
        """Map (B, T, d_model) to (B, T, d_model); arguments as in :class:`Attention`."""
        y, maps = self.attention(self.norm1(x), cache, return_attention)
        x = x + self.dropout(y)
        return x + self.dropout(self.mlp(self.norm2(x))), maps


class Transformer(nn.Module):
    """Token and position embeddings, a stack of blocks, a final norm, and an output layer.

    :class:`GPT` and :class:`Encoder` are this model with and without a causal mask.
    """

    causal: bool

    def __init__(self, config: ModelConfig) -> None:
        if config.causal is not self.causal:
            raise ConfigError(
                f"{type(self).__name__} needs causal={self.causal}, but the configuration says "
                f"causal={config.causal}. Use config.replace(causal={self.causal}), or "
                "build_model(config), which picks the class."
            )
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.position = PositionEmbedding(config)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.norm = nn.LayerNorm(config.d_model, bias=config.bias)
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        if config.tie_embeddings:
            self.head.weight = self.embedding.weight
        self._init_weights()

    def _init_weights(self) -> None:
        """Normal weights of deviation 0.02, smaller where a residual branch ends (GPT-2)."""
        if self.embedding.weight.is_meta:  # there is nothing to fill, only shapes to count
            return
        for name, parameter in self.named_parameters():
            if parameter.ndim >= 2:
                ends_branch = name.endswith(("out_proj.weight", "mlp.2.weight"))
                std = 0.02 / (2 * self.config.n_layers) ** 0.5 if ends_branch else 0.02
                nn.init.normal_(parameter, std=std)
            elif name.endswith(("_proj.bias", "mlp.0.bias", "mlp.2.bias")):
                nn.init.zeros_(parameter)

    def forward(
        self, tokens: Tensor, *, cache: KVCache | None = None, return_attention: bool = False
    ) -> Tensor | tuple[Tensor, list[AttentionMaps]]:
        """Logits for each position.

        Args:
            tokens: Shape (B, T), int64, values from 0 to vocab_size - 1.
            cache: Keys and values of earlier tokens; the T tokens given are taken to follow
                them, and are appended. The logits are those that one call over the whole
                sequence gives.
            return_attention: Whether to return each layer's scores and weights as well.

        Returns:
            Logits of shape (B, T, vocab_size); with ``return_attention=True`` a pair of the
            logits and a list with one :class:`AttentionMaps` per layer.

        Raises:
            ValueError: If the tokens have another shape, or with the cache's run past
                ``max_seq_len``.
        """
        config = self.config
        if tokens.ndim != 2 or tokens.shape[1] == 0:
            raise ValueError(
                f"tokens of shape {tuple(tokens.shape)}: expected (batch, positions) with at "
                "least one position. For a single sequence use tokens[None]."
            )
        start = 0
        if cache is not None:
            self._check_cache(cache)
            cache.check_room(*tokens.shape)
            start = cache.length
        if start + tokens.shape[1] > config.max_seq_len:
            raise ValueError(
                f"a sequence of {start + tokens.shape[1]} tokens is longer than max_seq_len="
                f"{config.max_seq_len}. Shorten it, or build the model with a larger max_seq_len."
            )
        x = self.dropout(self.position(self.embedding(tokens), start))
        all_maps = []
        for i, block in enumerate(self.blocks):
            layer_cache = None if cache is None else cache.layers[i]
            x, maps = block(x, layer_cache, return_attention)
            all_maps.append(maps)
        logits: Tensor = self.head(self.norm(x))
        return (logits, all_maps) if return_attention else logits

    def _check_cache(self, cache: KVCache) -> None:
        """A cache made for another shape would raise deep inside, or worse, broadcast."""
        for name in ("n_layers", "n_kv_heads", "head_dim", "sharing"):
            theirs, ours = getattr(cache.config, name), getattr(self.config, name)
            if theirs != ours:
                raise ValueError(
                    f"the cache was made for {name}={theirs}, the model has {name}={ours}. "
                    "Make the cache from the model: KVCache(model.config)."
                )


class GPT(Transformer):
    """A language model: causal, so that position t is predicted from what came before."""

    causal = True


class Encoder(Transformer):
    """A model that sees the whole sequence and labels each position."""

    causal = False


def build_model(config: ModelConfig, *, seed: int | None = None) -> Transformer:
    """Build a GPT if the configuration is causal, else an Encoder.

    Args:
        config: The configuration.
        seed: Seed for the initial weights. ``None`` leaves PyTorch's global generator alone.
    """
    if seed is not None:
        torch.manual_seed(seed)
    return GPT(config) if config.causal else Encoder(config)


def token_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy over every position that is scored, in nats.

    Args:
        logits: Shape (B, T, vocab_size).
        targets: Shape (B, T), int64; :data:`~qkvlib.tasks.IGNORED` (-100) leaves a position out.

    Returns:
        Shape ().
    """
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())
