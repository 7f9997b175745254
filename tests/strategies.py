"""Hypothesis strategies for model configurations that the course admits."""

from hypothesis import strategies as st

from qkvlib import PLUS_CHANNELS, ROPE_SCHEMES, SHARINGS, ModelConfig, Sharing

_TURNING = {2: [1.0], 4: [1.0, 0.5], 5: [0.8, 0.4]}
"""head_dim -> shares of it that are an even number of columns."""


@st.composite
def ropes(draw: st.DrawFn, sharing: Sharing, head_dim: int) -> dict[str, object]:
    """Draw rotary positions that can work, as fields of a configuration."""
    ties_value = len(sharing.cached) == 1
    schemes = list(ROPE_SCHEMES) if ties_value else [None, *ROPE_SCHEMES]
    return {
        "position": "rope",
        "rope_scheme": draw(st.sampled_from(schemes)),
        "rope_fraction": draw(st.sampled_from(_TURNING[head_dim])),
        "rope_base": draw(st.sampled_from([10.0, 10_000.0])),
    }


@st.composite
def configs(
    draw: st.DrawFn, *, causal: bool | None = None, rope: bool | None = None
) -> ModelConfig:
    """Draw any small configuration that can work: tying, head sharing, mask, positions, (X)+."""
    sharing = SHARINGS[draw(st.sampled_from(list(SHARINGS)))]
    n_heads = draw(st.sampled_from([1, 2, 4, 6]))
    divisors = [g for g in range(1, n_heads + 1) if n_heads % g == 0]
    is_causal = draw(st.booleans()) if causal is None else causal
    head_dim = draw(st.sampled_from([2, 4, 5]))
    # Heads that together are narrower or wider than the model need the output projection.
    d_model = draw(st.sampled_from([n_heads * head_dim, n_heads * head_dim, 10]))
    turns = draw(st.booleans()) if rope is None else rope
    positions = (
        draw(ropes(sharing, head_dim))
        if turns
        else {"position": draw(st.sampled_from(["learned", "sinusoidal", "none"]))}
    )
    return ModelConfig(
        d_model=d_model,
        head_dim=head_dim,
        out_proj=n_heads * head_dim != d_model or draw(st.booleans()),
        n_layers=draw(st.integers(1, 2)),
        n_heads=n_heads,
        n_kv_heads=n_heads if sharing.ties_query else draw(st.sampled_from(divisors)),
        vocab_size=11,
        max_seq_len=12,
        d_ff=8,
        sharing=sharing,
        causal=is_causal,
        plus_channels=0 if is_causal else draw(st.sampled_from([0, PLUS_CHANNELS])),
        bias=draw(st.booleans()),
        tie_embeddings=draw(st.booleans()),
        **positions,
    )
