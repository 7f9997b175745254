"""Maps written by hand: mixing with them gives exactly what each task asks for."""

import pytest
import torch
from hypothesis import given, strategies as st

from qkvlib import SyntheticTask, UnknownNameError
from qkvlib.tasks import TaskError
from qkvlib.tasks.handmade import LOOKS_BY, ideal_map, solve_by_hand
from qkvlib.tasks.synthetic import TASKS


def drawn(name: str, length: int, seed: int) -> torch.Tensor:
    inputs, _ = SyntheticTask(name, length, seed=seed).batch(0, 1)
    return inputs[0]


def test_every_task_has_one() -> None:
    assert list(LOOKS_BY) == list(TASKS)


@given(st.sampled_from(list(TASKS)), st.integers(1, 20), st.integers(0, 10_000))
def test_mixing_with_it_solves_the_task(name: str, half: int, seed: int) -> None:
    inputs = drawn(name, 2 * half, seed)
    weights = ideal_map(name, inputs)
    assert weights.shape == (2 * half, 2 * half)
    assert torch.allclose(weights.sum(-1), torch.ones(2 * half))
    assert torch.equal(solve_by_hand(name, inputs), TASKS[name](inputs))


@given(
    st.sampled_from([n for n in TASKS if n not in ("SWAP", "RECALL")]),
    st.lists(st.integers(0, 9), min_size=1, max_size=15),
)
def test_any_list_of_digits_of_any_length(name: str, digits: list[int]) -> None:
    inputs = torch.tensor(digits)
    assert torch.equal(solve_by_hand(name, inputs), TASKS[name](inputs))


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("seed", [0, 1])
def test_only_recall_looks_at_what_the_list_holds(name: str, seed: int) -> None:
    one, other = drawn(name, 16, seed), drawn(name, 16, seed + 10)
    assert torch.equal(ideal_map(name, one), ideal_map(name, other)) is (name != "RECALL")


def test_mirror_images() -> None:
    """What lesson 08 rests on: of those that look by place, SHIFT alone is not its own mirror."""
    mirrored = {n: torch.equal(m, m.T) for n in TASKS for m in [ideal_map(n, drawn(n, 16, 0))]}
    assert [name for name, same in mirrored.items() if not same] == ["SHIFT", "RECALL"]


@pytest.mark.parametrize("name", ["SUB", "COPY"])
def test_where_nothing_is_looked_for_each_row_looks_at_itself(name: str) -> None:
    assert LOOKS_BY[name] == "nothing"
    assert torch.equal(ideal_map(name, torch.tensor([3, 1, 4])), torch.eye(3))


def test_errors_teach() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'SHIFT'"):
        ideal_map("shft", torch.tensor([1]))
    with pytest.raises(TaskError, match=r"inputs\[0\]"):
        ideal_map("COPY", torch.ones(2, 3, dtype=torch.int64))
    with pytest.raises(TaskError, match="even for SWAP"):
        ideal_map("SWAP", torch.tensor([1, 2, 3]))
