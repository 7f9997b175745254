"""What one pass through a model costs: multiplications, and bytes that must come from memory.

Writing a text is a row of passes. The first reads the prompt (prefill), each of the others one new
token (decode). Every weight of a pass is fetched once, however many tokens it serves; the cache is
fetched whole. Both counts are formulas one can read, and the multiplications agree with what
PyTorch's own counter finds in a real pass.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from qkvlib.accounting import bytes_per_token
from qkvlib.config import ModelConfig
from qkvlib.models import build_model


@dataclass(frozen=True)
class PassCost:
    """Cost of one pass.

    Attributes:
        macs: Multiplications, each with its addition: those of the matrices, and those of scores
            and weighted values. The half of the score map that a causal mask hides is counted too,
            as it is computed.
        weight_bytes: Bytes of the matrices, each fetched once.
        cache_read: Bytes of the keys and values that earlier passes left.
        cache_written: Bytes of the keys and values that this pass adds.
    """

    macs: int
    weight_bytes: int
    cache_read: int
    cache_written: int

    @property
    def bytes_read(self) -> int:
        """Bytes that come from memory: weights and cache."""
        return self.weight_bytes + self.cache_read

    @property
    def macs_per_byte(self) -> float:
        """Multiplications for each byte read; what is low waits for memory."""
        return self.macs / self.bytes_read


def matrix_weights(config: ModelConfig) -> int:
    """Number of weights in the matrices that each token is multiplied by.

    These are all linear layers, the output layer among them. Embeddings that are only looked up,
    biases and norms are left out.
    """
    with torch.device("meta"):
        model = build_model(config)
    return sum(m.weight.numel() for m in model.modules() if isinstance(m, nn.Linear))


def pass_cost(
    config: ModelConfig,
    new: int,
    held: int = 0,
    *,
    use_cache: bool = True,
    batch_size: int = 1,
    dtype: torch.dtype = torch.float32,
) -> PassCost:
    """Count one pass over ``new`` tokens of a causal model that has ``held`` tokens in its cache.

    ``new × weights + 2 × n_layers × n_heads × head_dim × new × (held + new)`` multiplications for
    each sequence. What is made and used within the pass is not counted as read or written: how much
    of it travels to memory is the machine's affair.

    Args:
        config: The model.
        new: Tokens read in this pass, for each sequence; all are given logits.
        held: Tokens whose keys and values are in the cache. Without one it must be 0: then every
            token is new in every pass.
        use_cache: Whether keys and values are kept.
        batch_size: Sequences side by side. They share the weights, not the cache.
        dtype: Number format of weights and cache.

    Raises:
        ValueError: If a count is out of its range, or tokens are held without a cache.
    """
    for name, value, least in (("new", new, 1), ("held", held, 0), ("batch_size", batch_size, 1)):
        if value < least:
            raise ValueError(f"{name}={value}: expected a whole number of at least {least}.")
    if held and not use_cache:
        raise ValueError(
            f"held={held} with use_cache=False: without a cache nothing is held, and every token "
            f"is read again. Count the whole text as new: new={held + new}, held=0."
        )
    weights = matrix_weights(config)
    width = config.n_layers * config.n_heads * config.head_dim
    per_token = bytes_per_token(config, dtype) * batch_size if use_cache else 0
    return PassCost(
        macs=batch_size * new * (weights + 2 * width * (held + new)),
        weight_bytes=weights * dtype.itemsize,
        cache_read=per_token * held,
        cache_written=per_token * new,
    )
