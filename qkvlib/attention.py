"""One attention module for every sharing, every head sharing, causal or not, with or without (X)+.

Axis letters: B batch, T query positions, S key positions, H query heads, G KV heads, D head_dim.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from qkvlib.cache import LayerCache
from qkvlib.config import StackConfig
from qkvlib.linear import Linear
from qkvlib.position import PlusTerm
from qkvlib.rotary import key_value_scheme


class AttentionMaps(NamedTuple):
    """What attention computed on the way.

    Attributes:
        scores: Shape (B, H, T, S): scaled dot products, after (X)+ if that is on, before mask
            and softmax.
        weights: Shape (B, H, T, S): each row sums to one.
    """

    scores: Tensor
    weights: Tensor


class Attention(nn.Module):
    """Multi-head attention whose projections are tied as ``config.sharing`` says.

    The module makes one projection per distinct name in the sharing, all in one matrix multiply,
    and looks the roles up. Query head h reads KV head h // (H / G).

    Source: Kayyam et al. (2026), section 3; Vaswani et al. (2017); Ainslie et al. (2023).
    """

    def __init__(self, config: StackConfig) -> None:
        super().__init__()
        self.config = config
        self.roles = config.sharing.roles
        heads = {"q": config.n_heads, "k": config.n_kv_heads, "v": config.n_kv_heads}
        self.names = config.sharing.projections
        self.widths = [heads[name] * config.head_dim for name in self.names]
        self.in_proj = Linear(config.d_model, sum(self.widths), bias=config.bias)
        heads_width = config.n_heads * config.head_dim
        self.out_proj = (
            Linear(heads_width, config.d_model, bias=config.bias)
            if config.out_proj
            else nn.Identity()
        )
        self.plus = PlusTerm(config) if config.plus_channels else None
        self.scheme = key_value_scheme(config)

    def forward(
        self,
        x: Tensor,
        cache: LayerCache | None = None,
        return_attention: bool = False,
        start: int = 0,
    ) -> tuple[Tensor, AttentionMaps | None]:
        """Let every position look at those it may see.

        Args:
            x: Shape (B, T, d_model).
            cache: This layer's cache. It is given the new keys and values, and attention then
                runs over all S positions it holds. Without one, S = T.
            return_attention: Whether to compute and return the maps (slower: T x S numbers).
            start: Position of the first of the T tokens; with a cache, the number it holds.

        Returns:
            output: Shape (B, T, d_model).
            maps: The scores and weights, or ``None`` if not asked for.
        """
        projected = self.in_proj(x).split(self.widths, dim=-1)
        now = {
            name: p.unflatten(-1, (-1, self.config.head_dim)).transpose(1, 2)  # (B, H or G, T, D)
            for name, p in zip(self.names, projected, strict=True)
        }
        # Queries are those of the new tokens; keys and values those of every token held.
        q = self.scheme.query(now[self.roles["q"]], start)
        kept = self.scheme.keep(now, start)
        if cache is None:
            k, v = self.scheme.read(kept, start)
        else:
            k, v = self.scheme.read(cache.append(kept))

        addend = None
        if self.plus is not None:
            gain, addend = self.plus(q.shape[2])
            q = q * gain
        if return_attention:
            y, maps = _attend_explicitly(q, k, v, addend, causal=self.config.causal)
        else:
            y, maps = attend(q, k, v, addend, causal=self.config.causal), None
        y = self.scheme.output(y, start)
        return self.out_proj(y.transpose(1, 2).flatten(2)), maps


def _causal_mask(t: int, s: int, device: torch.device) -> Tensor:
    """Shape (T, S), true where a query may look: the T queries are the last of the S positions."""
    return torch.ones(t, s, dtype=torch.bool, device=device).tril(s - t)


_GROUPED_ON_GPU: Final = (torch.float16, torch.bfloat16)
"""Number formats that the GPU's kernel for grouped heads takes. On an H200 folded queries took six
times as long for MQA at 16,384 tokens, probably because keys are cut into pieces for single queries
only. That was not tested, nor was the speed in float32 measured."""


def attend_folded(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention of one query each, with the query heads of a KV head in the query axis.

    On a CPU this is far cheaper than repeating K and V for each of them.

    Args:
        q: Shape (B, H, 1, D).
        k: Shape (B, G, S, D).
        v: Shape (B, G, S, D).

    Returns:
        Shape (B, H, 1, D).
    """
    (b, h, _, d), g = q.shape, k.shape[1]
    parts = g
    if b == g == 1 and h % 2 == 0 and not q.is_cuda and torch.get_num_threads() > 1:
        # The kernel gives a thread whole heads, so a single one would leave all threads but one
        # idle. Half of the queries to each of two, over the same keys (a view, no copy), is 1.2
        # times as fast. Measured on two threads, where four parts gained nothing: each reads all
        # keys again. Several texts (b > 1) are work enough as they are.
        parts = 2
        k, v = (each.expand(b, parts, -1, -1) for each in (k, v))
    folded = F.scaled_dot_product_attention(q.reshape(b, parts, h // parts, d), k, v)
    return folded.reshape(b, h, 1, d)


def attend(q: Tensor, k: Tensor, v: Tensor, addend: Tensor | None, *, causal: bool) -> Tensor:
    """Attention by PyTorch's fused kernel.

    Args:
        q: Shape (B, H, T, D).
        k: Shape (B, G, S, D).
        v: Shape (B, G, S, D).
        addend: Shape (T, S), added to the scaled scores, or ``None``.
        causal: Whether the T queries, the last of the S positions, may only look back.

    Returns:
        Shape (B, H, T, D).
    """
    h, t, g, s = q.shape[1], q.shape[2], k.shape[1], k.shape[2]
    if t == 1 and addend is None:  # one query sees everything, so no mask is needed
        if q.is_cuda and q.dtype in _GROUPED_ON_GPU:
            return F.scaled_dot_product_attention(q, k, v, enable_gqa=g != h)
        return attend_folded(q, k, v)
    square = causal and t == s
    mask = _causal_mask(t, s, q.device) if causal and not square else addend
    return F.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, is_causal=square, enable_gqa=g != h
    )


def _attend_explicitly(
    q: Tensor, k: Tensor, v: Tensor, addend: Tensor | None, *, causal: bool
) -> tuple[Tensor, AttentionMaps]:
    """The same attention spelled out, for when the maps are wanted. Shapes as in attend."""
    (b, h, t, d), g, s = q.shape, k.shape[1], k.shape[2]
    grouped = q.reshape(b, g, h // g, t, d)
    scores = grouped @ k[:, :, None].transpose(-1, -2) * d**-0.5  # (B, G, H/G, T, S)
    if addend is not None:
        scores = scores + addend
    masked = scores
    if causal:
        masked = scores.masked_fill(~_causal_mask(t, s, q.device), float("-inf"))
    weights = masked.softmax(dim=-1)
    y = weights @ v[:, :, None]  # (B, G, H/G, T, D)
    maps = AttentionMaps(scores.reshape(b, h, t, s), weights.reshape(b, h, t, s))
    return y.reshape(b, h, t, d), maps
