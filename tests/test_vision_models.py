"""Models on images and sets: what goes in, what comes out, and what their order may change."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor

from qkvlib import (
    SIX_VARIANTS,
    ConfigError,
    Encoder,
    ModelConfig,
    SetConfig,
    SetEncoder,
    Transformer,
    ViT,
    ViTConfig,
    build_model,
    config_from_dict,
    count_parameters,
    patches,
    plus_codes,
    sinusoid,
    sinusoid_2d,
)

IMAGE = ViTConfig(
    d_model=16, n_layers=2, n_heads=2, image_size=12, patch_size=4, n_channels=3, n_classes=5
)
SET = SetConfig(d_model=16, n_layers=2, n_heads=2, n_features=7, max_seq_len=10)


def stir(model: Transformer, seed: int = 0) -> None:
    """Give every parameter a value that matters: an (X)+ at its start hardly does."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator)


# Images


def test_patches_are_cut_in_reading_order() -> None:
    image = torch.arange(2 * 4 * 6).view(1, 2, 4, 6)
    cut = patches(image, 2)
    assert cut.shape == (1, 6, 8)
    assert cut[0, 1].tolist() == image[0, :, 0:2, 2:4].flatten().tolist()
    assert cut[0, 3].tolist() == image[0, :, 2:4, 0:2].flatten().tolist()


@pytest.mark.parametrize("pool", ["mean", "class"])
@pytest.mark.parametrize("position", ["learned", "sinusoidal", "sinusoidal_2d", "none"])
@pytest.mark.parametrize("variant", SIX_VARIANTS)
def test_a_vit_answers_once_for_each_image(variant: str, position: str, pool: str) -> None:
    config = IMAGE.replace(variant=variant, position=position, pool=pool)
    model = build_model(config, seed=0)
    assert isinstance(model, ViT)
    images = torch.randn(3, 3, 12, 12)
    logits, maps = model(images, return_attention=True)
    n = 9 + (pool == "class")
    assert logits.shape == (3, 5)
    assert model.n_positions(images) == n
    assert [m.weights.shape for m in maps] == [(3, 2, n, n)] * 2
    torch.testing.assert_close(model(images), logits)


def test_a_vit_without_positions_does_not_know_where_a_patch_was() -> None:
    model = build_model(IMAGE.replace(position="none"), seed=0)
    stir(model)
    model.double()
    images = torch.randn(2, 3, 12, 12, dtype=torch.float64)
    swapped = images.clone()
    swapped[..., 0:4, 0:4], swapped[..., 8:12, 4:8] = (
        images[..., 8:12, 4:8],
        images[..., 0:4, 0:4],
    )
    torch.testing.assert_close(model(images), model(swapped), atol=1e-10, rtol=0)
    knows = build_model(IMAGE.replace(position="sinusoidal_2d"), seed=0)
    stir(knows)
    images, swapped = images.float(), swapped.float()
    assert not torch.allclose(knows(images), knows(swapped), atol=1e-3)


def test_two_dimensional_sinusoids_code_the_row_and_the_column() -> None:
    table = sinusoid_2d((3, 5), 12)
    rows, columns = sinusoid(3, 6), sinusoid(5, 6)
    for row in range(3):
        for column in range(5):
            expected = torch.cat([rows[row], columns[column]])
            torch.testing.assert_close(table[5 * row + column], expected)
    assert sinusoid_2d((3, 5), 7).shape == (15, 7)


@pytest.mark.parametrize("pool", ["mean", "class"])
def test_the_plus_term_of_an_image_is_told_rows_and_columns(pool: str) -> None:
    config = IMAGE.replace(variant="(Q=K-V)+", pool=pool)
    codes = plus_codes(config)
    first = config.max_seq_len - config.n_patches
    assert codes.shape == (config.max_seq_len, 10)
    assert not codes[:first].any()
    rows, columns = codes[first:].view(3, 3, 10).split(5, dim=-1)
    assert (rows == rows[:, :1]).all()
    assert (columns == columns[:1]).all()
    assert not (rows[0] == rows[1]).all()
    by_index = plus_codes(config.replace(plus_position="index"))
    torch.testing.assert_close(by_index, sinusoid(config.max_seq_len, 5))
    assert not plus_codes(config.replace(plus_position="none")).any()


def test_the_plus_term_without_places_is_a_factor_on_the_scores() -> None:
    config = IMAGE.replace(variant="(Q=K-V)+", plus_position="none")
    model = build_model(config, seed=0)
    stir(model)
    images = torch.randn(2, 3, 12, 12)
    plain = build_model(config.replace(variant="Q=K-V"), seed=0)
    plain.load_state_dict(model.state_dict(), strict=False)
    for with_plus, without in zip(model.blocks, plain.blocks, strict=True):
        plus = with_plus.attention.plus
        maps = with_plus.attention(torch.ones(1, 9, 16).cumsum(1), return_attention=True)[1]
        bare = without.attention(torch.ones(1, 9, 16).cumsum(1), return_attention=True)[1]
        expected = bare.scores * plus.weight.sum() + plus.bias
        torch.testing.assert_close(maps.scores, expected, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(model(images), plain(images), atol=1e-3)


@pytest.mark.parametrize("shape", [(2, 1, 12, 12), (2, 3, 8, 12), (3, 12, 12)])
def test_images_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected \(batch, channels, height, width\)"):
        build_model(IMAGE)(torch.zeros(shape))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patch_size": 5}, r"Choose patch_size from \[1, 2, 3, 4, 6, 12\]"),
        ({"image_size": 0}, "image_size=0"),
        ({"n_classes": True}, "n_classes=True"),
        ({"causal": True}, "an image is seen whole"),
        ({"pool": "max"}, "unknown pool 'max'"),
        ({"position": "rotary"}, "unknown position 'rotary'"),
        ({"plus_position": "rows"}, "unknown plus_position 'rows'"),
        ({"patchsize": 4}, "Did you mean 'patch_size'"),
    ],
)
def test_a_vit_that_cannot_work_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        IMAGE.replace(**changes)


# Sets


@settings(max_examples=60, deadline=None)
@given(
    variant=st.sampled_from([*SIX_VARIANTS, "MQA", "Q-MQA"]),
    order=st.permutations(range(7)),
    seed=st.integers(0, 100),
)
def test_a_set_encoder_follows_its_elements_unless_plus_tells_their_places(
    variant: str, order: list[int], seed: int
) -> None:
    model = build_model(SET.replace(variant=variant), seed=seed)
    stir(model, seed)
    elements = torch.randn(2, 7, 7, generator=torch.Generator().manual_seed(seed))
    scores: Tensor = model(elements)
    assert scores.shape == (2, 7)
    same = torch.allclose(model(elements[:, order])[:, :], scores[:, order], atol=1e-4)
    if model.config.plus_channels and order != sorted(order):
        assert not same
    else:
        assert same


@pytest.mark.parametrize("variant", ["(Q=K-V)+", "(Q=K=V)+"])
def test_plus_without_places_keeps_a_set_a_set(variant: str) -> None:
    model = build_model(SET.replace(variant=variant, plus_position="none"), seed=1)
    stir(model)
    elements = torch.randn(2, 10, 7, dtype=torch.float64)
    order = torch.randperm(10, generator=torch.Generator().manual_seed(0))
    model.double()
    torch.testing.assert_close(
        model(elements[:, order]), model(elements)[:, order], atol=1e-10, rtol=0
    )


def test_sets_may_be_smaller_than_the_largest_but_not_larger() -> None:
    model = build_model(SET, seed=0)
    assert isinstance(model, SetEncoder)
    assert model(torch.zeros(1, 3, 7)).shape == (1, 3)
    with pytest.raises(ValueError, match="max_seq_len=10"):
        model(torch.zeros(1, 11, 7))
    with pytest.raises(ValueError, match="7 features"):
        model(torch.zeros(1, 3, 6))
    with pytest.raises(ConfigError, match="a set has no order"):
        SET.replace(causal=True)
    with pytest.raises(ValueError, match="unknown plus_position 'grid'"):
        SET.replace(variant="(Q=K-V)+", plus_position="grid")
    assert SET.position == "none"


# All kinds


@pytest.mark.parametrize("config", [IMAGE, SET, IMAGE.replace(pool="class", variant="(Q=K=V)+")])
def test_configurations_of_every_kind_survive_json(config: ViTConfig | SetConfig) -> None:
    assert config_from_dict(config.to_dict()) == config
    with pytest.raises(ConfigError, match="config_from_dict picks the class"):
        ModelConfig.from_dict(config.to_dict())
    with pytest.raises(ValueError, match="unknown kind of configuration 'video'"):
        config_from_dict(config.to_dict() | {"kind": "video"})


def test_a_model_of_another_kind_is_refused() -> None:
    for model in (Encoder, SetEncoder):
        with pytest.raises(ConfigError, match=r"build_model\(config\) picks the class"):
            model(IMAGE)


def test_parameters_of_every_kind_are_counted_as_they_are() -> None:
    for config in (IMAGE, IMAGE.replace(pool="class"), SET):
        for variant in SIX_VARIANTS:
            some = config.replace(variant=variant)
            model = build_model(some)
            assert count_parameters(some) == sum(p.numel() for p in model.parameters())
