"""Configurations: what is refused, and what the refusal says."""

import pytest
from hypothesis import given

from qkvlib import CONFIGS, ConfigError, ModelConfig, get_config

from strategies import configs

SHAPE = {"d_model": 32, "n_layers": 2, "n_heads": 4, "vocab_size": 10, "max_seq_len": 16}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sharing": "Q=K-V", "n_kv_heads": 2}, r"Two ways out: set n_kv_heads=4, or untie"),
        ({"sharing": "Q=K=V", "n_kv_heads": 1}, r"Two ways out: set n_kv_heads=4, or untie"),
        ({"plus_channels": 10}, r"set causal=False, or plus_channels=0"),
        ({"plus_channels": 5, "causal": False}, "expected an even whole number"),
        ({"n_heads": 5}, r"Choose n_heads from \[1, 2, 4, 8, 16, 32\]"),
        ({"n_kv_heads": 3}, r"Choose n_kv_heads from \[1, 2, 4\]"),
        ({"n_kv_heads": 8}, r"Choose n_kv_heads from \[1, 2, 4\]"),
        ({"n_heads": 5}, "or give the head_dim yourself"),
        ({"head_dim": 0}, "head_dim=0: expected a whole number of at least 1"),
        ({"head_dim": 6, "out_proj": False}, r"4 times head_dim=6 is 24, not d_model=32"),
        ({"n_layers": 0}, "n_layers=0: expected a whole number of at least 1"),
        ({"d_model": 32.0}, "d_model=32.0: expected a whole number"),
        ({"vocab_size": True}, "vocab_size=True: expected a whole number"),
        ({"dropout": 1.0}, r"expected a probability in \[0, 1\)"),
        ({"position": "learnt"}, "Did you mean 'learned'"),
        ({"sharing": "Q-K=W"}, "Did you mean 'Q-K=V'"),
    ],
)
def test_what_cannot_work_is_refused_with_the_way_out(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModelConfig(**SHAPE | change)


def test_replace_refuses_unknown_fields() -> None:
    with pytest.raises(ValueError, match="Did you mean 'n_kv_heads'"):
        ModelConfig(**SHAPE).replace(n_kv_head=2)


def test_replace_reads_a_variant() -> None:
    config = ModelConfig(**SHAPE).replace(variant="Q-GQA-2")
    assert (config.sharing.name, config.n_kv_heads, config.plus_channels) == ("Q-K=V", 2, 0)
    assert config.replace(variant="QKV").n_kv_heads == 4


def test_defaults() -> None:
    config = ModelConfig(**SHAPE)
    assert (config.n_kv_heads, config.d_ff, config.head_dim) == (4, 128, 8)
    assert config.variant.name == "QKV"
    assert config.replace(n_kv_heads=1, sharing="Q-K=V").variant.name == "Q-MQA"


def test_defaults_go_on_following_the_shape_unless_they_were_given() -> None:
    plain = ModelConfig(**SHAPE)
    wide = plain.replace(d_model=64)
    assert (wide.head_dim, wide.d_ff) == (16, 256)
    eight = plain.replace(n_heads=8)
    assert (eight.head_dim, eight.n_kv_heads) == (4, 8)
    own = ModelConfig(**SHAPE, head_dim=6, d_ff=100, n_kv_heads=2)
    for other in (own.replace(d_model=64), own.replace(n_heads=8), own.replace(n_layers=2)):
        assert (other.head_dim, other.d_ff, other.n_kv_heads) == (6, 100, 2)
    assert plain.replace(n_heads=8, variant="MQA").n_kv_heads == 1
    uneven = ModelConfig(**SHAPE | {"n_heads": 5}, head_dim=SHAPE["d_model"] // 5)
    assert uneven.replace(n_layers=3).head_dim == uneven.head_dim  # given, since 5 does not divide
    assert plain.replace(out_proj=False).head_dim == 8


def test_configurations_written_before_a_field_existed_are_read() -> None:
    data = ModelConfig(**SHAPE).to_dict()
    del data["head_dim"], data["out_proj"]
    assert ModelConfig.from_dict(data) == ModelConfig(**SHAPE)


@given(configs())
def test_configurations_survive_json(config: ModelConfig) -> None:
    assert ModelConfig.from_dict(config.to_dict()) == config


def test_broken_json_is_refused() -> None:
    data = ModelConfig(**SHAPE).to_dict()
    with pytest.raises(ValueError, match="Did you mean 'd_model'"):
        ModelConfig.from_dict(data | {"dmodel": 3})
    del data["d_model"]
    with pytest.raises(ConfigError, match="d_model"):
        ModelConfig.from_dict(data)


def test_the_registry_offers_the_nearest_name() -> None:
    assert get_config("300m") is CONFIGS["300M"]
    with pytest.raises(ValueError, match="Did you mean '300M'"):
        get_config("300")
