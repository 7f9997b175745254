"""Round trips and eigenvalues drawn; and the split of asymmetry that they illustrate."""

from __future__ import annotations

import pytest
import torch

from qkvlib import asymmetry, plots, split_asymmetry


def keys(t: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(t, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def scores(t: int, seed: int = 0) -> torch.Tensor:
    return keys(t, seed) @ keys(t, seed + 1).T


# Splitting


def test_the_parts_are_the_sides_of_a_right_triangle() -> None:
    maps = torch.stack([scores(7, seed) for seed in range(6)]).unflatten(0, (2, 3))
    pull, flow = split_asymmetry(maps)
    assert pull.shape == flow.shape == (2, 3)
    assert torch.allclose(pull**2 + flow**2, asymmetry(maps) ** 2)
    assert bool((pull > 0.01).all() and (flow > 0.01).all())


def test_terms_of_one_place_are_pull_and_a_ring_is_flow() -> None:
    own = keys(6) @ keys(6).T
    row, column = torch.rand(6, 1, dtype=torch.float64), torch.rand(1, 6, dtype=torch.float64)
    pulled = split_asymmetry(1.7 * own + 3 * row + 5 * column + 0.3)
    assert pulled.flow < 1e-12
    assert pulled.pull > 0.1
    assert torch.allclose(pulled.pull, asymmetry(1.7 * own + 3 * row + 5 * column + 0.3))
    ring = torch.eye(6, dtype=torch.float64).roll(1, dims=0)
    assert split_asymmetry(ring).pull < 1e-12
    assert split_asymmetry(ring).flow == pytest.approx(2**0.5)


def test_no_flow_is_the_same_as_reversible() -> None:
    """Kolmogorov: no flow exactly if every triangle is as likely as the same backwards."""
    for seed in range(5):
        free = scores(5, seed)
        logs = free.log_softmax(-1)
        lean = logs - logs.mT
        around = lean[:, :, None] + lean[None] + lean.T[:, None, :]  # i -> j -> k -> i
        assert around.abs().max() > 0.01
        height = (free - free.mT).mean(0)
        level = free - (free - free.mT - (height[None] - height[:, None])) / 2
        assert split_asymmetry(level).flow < 1e-12
        logs = level.log_softmax(-1)
        lean = logs - logs.mT
        around = lean[:, :, None] + lean[None] + lean.T[:, None, :]
        assert around.abs().max() < 1e-9


def test_a_map_of_zeros_has_neither() -> None:
    assert split_asymmetry(torch.zeros(3, 3)) == (0.0, 0.0)


@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4)])
def test_maps_must_be_square(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected square maps"):
        split_asymmetry(torch.rand(shape))


# Drawing


def test_round_trips_show_each_seed_and_say_where_they_end() -> None:
    there_and_back = torch.tensor([0.0, 5.0, 9.0, 0.0])
    figure = plots.round_trips(
        {
            "QKV": [torch.tensor([0.0, 10.0, 20.0, 30.0])],
            "Q=K-V": [there_and_back, there_and_back / 3],
            "(Q=K-V)+": [there_and_back],
        },
        title="Round the circle",
    )
    assert len(figure.data) == 4
    assert [trace.showlegend for trace in figure.data] == [True, True, False, True]
    assert list(figure.data[1].y) == [0.0, 5.0, 9.0, 0.0]
    assert "QKV ends at 30, its highest" in figure.alt
    assert "Q=K-V climbs to 3 to 9 and ends at 0" in figure.alt
    assert "nats" in figure.layout.yaxis.title.text
    plain, plus = figure.data[1], figure.data[3]
    assert plain.line.color == plus.line.color
    assert plain.line.dash != plus.line.dash
    assert plain.marker.symbol != plus.marker.symbol
    with pytest.raises(ValueError, match="no curve"):
        plots.round_trips({"QKV": []})


def test_eigenvalues_of_a_turn_lie_on_the_circle_and_of_a_mirror_on_the_line() -> None:
    turn = torch.eye(4).roll(1, dims=0)
    mirror = torch.eye(4).flip(0)
    figure = plots.eigenvalue_plane({"QKV": turn, "Q=K-V": mirror, "(Q=K-V)+": torch.ones(2, 4, 4)})
    circle, first, second, third = figure.data
    assert {(round(x), round(y)) for x, y in zip(first.x, first.y, strict=True)} == {
        (1, 0), (-1, 0), (0, 1), (0, -1),
    }  # fmt: skip
    assert set(second.y) == {0.0}
    assert sorted(second.x) == [-1, -1, 1, 1]
    assert len(third.x) == 8
    assert all(abs(x * x + y * y - 1) < 0.01 for x, y in zip(circle.x, circle.y, strict=True))
    assert "QKV from -1.00 to 1.00, up to 1.00 off the real line" in figure.alt
    assert "Q=K-V from -1.00 to 1.00, all on the real line" in figure.alt
    assert len({trace.marker.symbol for trace in figure.data[1:]}) == 3
    with pytest.raises(ValueError, match=r"expected \(T, T\)"):
        plots.eigenvalue_plane({"QKV": torch.rand(3, 4)})
