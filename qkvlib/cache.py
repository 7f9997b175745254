"""The KV cache: it keeps each distinct projection among keys and values once.

That Q-K=V halves the cache is not computed here. The cache is given a configuration, and makes one
tensor per name in ``config.cached``: two names, two tensors; one name, one tensor.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from qkvlib.config import StackConfig


class LayerCache:
    """The cache of one layer.

    Attributes:
        tensors: Name, mostly of a projection -> tensor of shape (B, G, capacity, its columns).
        length: Tokens held so far; the rest of each tensor is room.
    """

    def __init__(self, tensors: dict[str, Tensor], chunk: int | None) -> None:
        self.tensors = tensors
        self.length = 0
        self._chunk = chunk

    @property
    def capacity(self) -> int:
        """Tokens there is room for at the moment."""
        return next(iter(self.tensors.values())).shape[2]

    def append(self, new: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Write the projections of T new tokens behind those held.

        Args:
            new: Name -> tensor of shape (B, G, T, its columns), at least one for each name kept.

        Returns:
            Name -> view of shape (B, G, S, its columns) on all S tokens held, old and new.
        """
        end = self.length + new[next(iter(self.tensors))].shape[2]
        if end > self.capacity:
            if self._chunk is None:
                raise ValueError(
                    f"{end} tokens for a layer with room for {self.capacity}. Make a larger cache, "
                    "or call cache.truncate() or cache.reset()."
                )
            self._grow(-(-end // self._chunk) * self._chunk)
        for name, tensor in self.tensors.items():
            tensor[:, :, self.length : end] = new[name]
        self.length = end
        return {name: tensor[:, :, :end] for name, tensor in self.tensors.items()}

    def _grow(self, capacity: int) -> None:
        for name, old in self.tensors.items():
            batch, heads, _, dim = old.shape
            grown = old.new_zeros((batch, heads, capacity, dim))
            grown[:, :, : self.length] = old[:, :, : self.length]
            self.tensors[name] = grown


def marks(weights: Iterable[Tensor]) -> tuple[tuple[int, int], ...]:
    """What tells whether tensors are the same ones, unchanged: where each lies, and its version.

    PyTorch counts what is done to a tensor in place, except through ``.data``, and for tensors made
    in inference mode.
    """
    return tuple((w.data_ptr(), 0 if w.is_inference() else w._version) for w in weights)


class KVCache:
    """The keys and values of every layer, for decoding token by token or chunk by chunk.

    Pass it to a model, ``model(tokens, cache=cache)``: the model reads the positions from
    ``cache.length`` and appends the new tokens.

    Args:
        config: The model's configuration; must be causal.
        batch_size: Sequences decoded side by side.
        capacity: Tokens to make room for at once; ``config.max_seq_len`` unless told.
        chunk: Instead of making room at once, start empty and grow by this many tokens whenever
            the room runs out.
        dtype: Number format of the tensors; that of the model's activations.
        device: Where the tensors live.

    Raises:
        ValueError: If the model is not causal, a size is not positive, or the capacity is beyond
            ``config.max_seq_len``.
    """

    def __init__(
        self,
        config: StackConfig,
        batch_size: int = 1,
        *,
        capacity: int | None = None,
        chunk: int | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        if not config.causal:
            raise ValueError(
                "a KV cache needs a causal model: without a causal mask each new token changes "
                "what all earlier ones see, so nothing can be kept. Set causal=True."
            )
        if capacity is not None and chunk is not None:
            raise ValueError(
                f"capacity={capacity} and chunk={chunk}: give one of them. capacity makes room "
                "at once, chunk grows as needed."
            )
        for name, value in (("batch_size", batch_size), ("capacity", capacity), ("chunk", chunk)):
            if value is not None and value < 1:
                raise ValueError(f"{name}={value}: expected at least 1.")
        if capacity is not None and capacity > config.max_seq_len:
            raise ValueError(
                f"capacity={capacity} is more than the model can use: max_seq_len="
                f"{config.max_seq_len}. Choose a capacity up to {config.max_seq_len}."
            )
        self.config = config
        self.max_length = capacity or config.max_seq_len
        room = 0 if chunk is not None else self.max_length
        rows = (batch_size, config.n_kv_heads, room)
        self.layers = [
            LayerCache(
                {
                    name: torch.zeros((*rows, columns), dtype=dtype, device=device)
                    for name, columns in self._kept().items()
                },
                chunk,
            )
            for _ in range(config.n_layers)
        ]
        self.batch_size = batch_size
        self.dtype = dtype

    def _kept(self) -> Mapping[str, int]:
        """Tensors to make room for, and their columns."""
        return self.config.cached

    @property
    def length(self) -> int:
        """Tokens held."""
        return self.layers[-1].length

    @property
    def capacity(self) -> int:
        """Tokens there is room for at the moment."""
        return self.layers[-1].capacity

    @property
    def nbytes(self) -> int:
        """Bytes held, read from the storage of the tensors.

        Storage that two tensors share counts once, so the figure cannot flatter itself.
        """
        storages = {
            tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
            for layer in self.layers
            for tensor in layer.tensors.values()
        }
        return sum(storages.values())

    @property
    def nbytes_used(self) -> int:
        """Bytes of the tokens held, without the room that is still empty."""
        return sum(
            tensor[:, :, : layer.length].numel() * tensor.itemsize
            for layer in self.layers
            for tensor in layer.tensors.values()
        )

    def check_model(self, model: nn.Module) -> None:
        """Refuse a model of another shape: it would raise deep inside, or worse, broadcast.

        Args:
            model: Whose keys and values are to be kept.

        Raises:
            ValueError: If the cache was made for another one.
        """
        for name in ("n_layers", "n_kv_heads", "head_dim", "sharing", "cached"):
            theirs, ours = getattr(self.config, name), getattr(model.config, name)
            if theirs != ours:
                raise ValueError(
                    f"the cache was made for {name}={theirs}, the model has {name}={ours}. "
                    "Make the cache from the model: KVCache(model.config)."
                )

    def check_room(self, batch_size: int, tokens: int) -> None:
        """Refuse new tokens that do not fit, before any layer is written.

        What a pass that was interrupted has left in some of the layers is forgotten.

        Args:
            batch_size: Sequences in the new batch.
            tokens: New tokens per sequence.

        Raises:
            ValueError: If the batch differs or there is no room; nothing has been changed.
        """
        if batch_size != self.batch_size:
            raise ValueError(
                f"batch of {batch_size} sequences for a cache of {self.batch_size}: make a cache "
                f"with batch_size={batch_size}."
            )
        self.truncate(self.length)
        if self.length + tokens > self.max_length:
            raise ValueError(
                f"{tokens} new tokens do not fit: the cache holds {self.length} of at most "
                f"{self.max_length}. Make a larger cache (max_seq_len={self.config.max_seq_len}), "
                "shorten the text, or call cache.truncate() or cache.reset()."
            )

    def truncate(self, length: int) -> None:
        """Forget all but the first ``length`` tokens; the room stays.

        Raises:
            ValueError: If ``length`` is negative or more than is held.
        """
        if not 0 <= length <= self.length:
            raise ValueError(f"length={length}: expected 0 to {self.length}, the tokens held.")
        for layer in self.layers:
            layer.length = length

    def reset(self) -> None:
        """Forget every token; the room stays."""
        self.truncate(0)

    def __repr__(self) -> str:
        names = "+".join(self.config.cached).upper()
        return (
            f"KVCache({names}, {len(self.layers)} layers, {self.length}/{self.max_length} tokens, "
            f"{self.nbytes} bytes)"
        )
