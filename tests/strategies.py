"""Hypothesis strategies for model configurations that the course admits."""

from hypothesis import strategies as st

from qkvlib import PLUS_CHANNELS, SHARINGS, ModelConfig


@st.composite
def configs(draw: st.DrawFn, *, causal: bool | None = None) -> ModelConfig:
    """Draw any small configuration that can work: every tying, head sharing, mask and (X)+."""
    sharing = SHARINGS[draw(st.sampled_from(list(SHARINGS)))]
    n_heads = draw(st.sampled_from([1, 2, 4, 6]))
    divisors = [g for g in range(1, n_heads + 1) if n_heads % g == 0]
    is_causal = draw(st.booleans()) if causal is None else causal
    head_dim = draw(st.sampled_from([2, 4, 5]))
    # Heads that together are narrower or wider than the model need the output projection.
    d_model = draw(st.sampled_from([n_heads * head_dim, n_heads * head_dim, 10]))
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
        position=draw(st.sampled_from(["learned", "sinusoidal", "none"])),
        bias=draw(st.booleans()),
        tie_embeddings=draw(st.booleans()),
    )
