"""The hull: what attention can put out, tested on real heads, and in the plane."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from qkvlib import SHARINGS, ModelConfig, build_model, hull_distance, planar_hull
from qkvlib.hull import planar_distance
from qkvlib.models import Transformer

ROUNDING = 1e-5  # of float32


def one_layer(sharing: str, *, causal: bool, n_kv_heads: int) -> Transformer:
    config = ModelConfig(
        d_model=32, n_layers=1, n_heads=4, n_kv_heads=n_kv_heads, head_dim=6, vocab_size=20,
        max_seq_len=12, sharing=sharing, causal=causal, tie_embeddings=False,
    )  # fmt: skip
    model = build_model(config, seed=0).eval()
    with torch.no_grad():  # far from the mild maps of the start
        for parameter in model.parameters():
            parameter.mul_(8 if parameter.ndim > 1 else 1)
    return model


@torch.inference_mode()
def head_vectors(model: Transformer, tokens: Tensor) -> dict[str, Tensor]:
    """Keys, values and outputs of the one layer, each (H, T, D), KV heads repeated."""
    config, block = model.config, model.blocks[0]
    x = block.norm1(model.position(model.embedding(tokens)))
    attention = block.attention
    pieces = attention.in_proj(x).split(attention.widths, dim=-1)
    made = {
        name: piece[0].unflatten(-1, (-1, config.head_dim)).transpose(0, 1)
        for name, piece in zip(attention.names, pieces, strict=True)
    }
    group = config.n_heads // config.n_kv_heads
    found = {r: made[attention.roles[r]].repeat_interleave(group, dim=0) for r in "kv"}
    _, maps = model(tokens, return_attention=True)
    return found | {"y": maps[0].weights[0] @ found["v"]}


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    ("sharing", "n_kv_heads"), [*((name, 4) for name in SHARINGS), ("QKV", 2), ("Q-K=V", 1)]
)
def test_outputs_lie_in_the_hull_of_the_values_and_of_the_keys_where_tied(
    sharing: str, n_kv_heads: int, causal: bool
) -> None:
    model = one_layer(sharing, causal=causal, n_kv_heads=n_kv_heads)
    tokens = torch.randint(20, (1, 12), generator=torch.Generator().manual_seed(1))
    found = head_vectors(model, tokens)
    roles = SHARINGS[sharing].roles
    outside = 0
    for keys, values, outputs in zip(found["k"], found["v"], found["y"], strict=True):
        assert hull_distance(outputs, values).max() < ROUNDING
        outside += int((hull_distance(outputs, keys) > 100 * ROUNDING).sum())
    if roles["k"] == roles["v"]:
        assert outside == 0
    else:
        assert outside > 0.6 * found["y"].shape[0] * found["y"].shape[1]  # in 6 dimensions: most


def test_the_values_of_a_later_layer_are_no_exception() -> None:
    """The attention module alone, without the block around it."""
    attention = one_layer("Q-K=V", causal=False, n_kv_heads=4).blocks[0].attention
    x = torch.randn(1, 9, 32, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        attention.out_proj.weight.copy_(torch.eye(32, 24))
        attention.out_proj.bias.zero_()
        outputs, _ = attention(x)
        _, keys = attention.in_proj(x).split(attention.widths, dim=-1)
    for head in range(4):
        columns = slice(6 * head, 6 * head + 6)
        far = hull_distance(outputs[0, :, columns], keys[0, :, columns])
        assert far.max() < ROUNDING


def test_distances_of_known_points() -> None:
    square = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    points = torch.tensor([[0.5, 0.5], [0, 0], [1, 0.25], [1.5, 0.5], [2, 3], [-1, 0.5]])
    expected = torch.tensor([0, 0, 0, 0.5, 2, 1], dtype=torch.float64)
    assert torch.allclose(hull_distance(points, square), expected, atol=1e-9)
    single = hull_distance(torch.tensor([[3.0, -1.0]]), torch.tensor([[1.0, 1.0]]))
    assert single.item() == pytest.approx(2)


@pytest.mark.parametrize(
    ("points", "corners"), [((3, 2), (4, 3)), ((2,), (4, 2)), ((1, 2, 2), (4, 2)), ((3, 2), (0, 2))]
)
def test_shapes_that_do_not_fit_are_refused(
    points: tuple[int, ...], corners: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match="one head of one sequence"):
        hull_distance(torch.zeros(points), torch.zeros(corners))


def test_numbers_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="not all numbers are finite"):
        hull_distance(torch.tensor([[math.nan, 0]]), torch.zeros(2, 2))


def test_corners_in_the_plane() -> None:
    square = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]
    assert planar_hull([*square[::-1], (0.5, 0.5), (0.5, 0.0), (1.0, 1.0)]) == square
    assert planar_hull([(2, 2), (0, 0), (1, 1)]) == [(0.0, 0.0), (2.0, 2.0)]
    assert planar_hull([(1, 2), (1, 2)]) == [(1.0, 2.0)]


def test_distance_in_the_plane() -> None:
    square = planar_hull([(0, 0), (1, 0), (1, 1), (0, 1)])
    assert planar_distance((0.3, 0.9), square) == 0
    assert planar_distance((1.0, 0.5), square) == 0
    assert planar_distance((4.0, 5.0), square) == pytest.approx(5)
    assert planar_distance((0.0, 1.0), planar_hull([(0, 0), (1, 1)])) == pytest.approx(0.5**0.5)
    assert planar_distance((4.0, 4.0), [(1.0, 0.0)]) == 5


def test_plane_and_linear_programming_agree() -> None:
    generator = torch.Generator().manual_seed(3)
    both = {True: 0, False: 0}
    for _ in range(30):
        corners = torch.rand(5, 2, generator=generator, dtype=torch.float64)
        point = torch.rand(1, 2, generator=generator, dtype=torch.float64)
        hull = planar_hull([(x, y) for x, y in corners.tolist()])
        near = planar_distance((point[0, 0].item(), point[0, 1].item()), hull)
        largest = hull_distance(point, corners).item()
        both[near == 0] += 1
        assert (largest < 1e-9) is (near == 0)
        assert largest <= near + 1e-9 <= 2**0.5 * largest + 2e-9
    assert min(both.values()) > 3


@pytest.mark.parametrize("star", [(0.5, -0.5), (0.6, -2.7), (3.5, 3.0)])
def test_the_walk_downhill_ends_at_the_point_of_the_hull_that_is_nearest(
    star: tuple[float, float],
) -> None:
    """What lesson 07 says of a query that looks for a point."""
    points = [(-2.6, -1.2), (-0.9, 2.3), (1.5, 1.6), (2.4, -1.7)]
    corners, goal = torch.tensor(points).double(), torch.tensor(star).double()
    query = torch.zeros(2, dtype=torch.float64)
    for _ in range(20_000):
        output = (corners @ query).softmax(dim=0) @ corners
        query += 0.2 * (goal - output)
    left = (output - goal).norm().item()
    assert left == pytest.approx(planar_distance(star, planar_hull(points)), abs=0.01)
    assert bool(query.norm() > 100) is (left > 0.1)
