"""The five synthetic tasks, each held to its definition."""

import pytest
import torch
from hypothesis import given, strategies as st

from qkvlib import UnknownNameError
from qkvlib.tasks import Task, TaskError
from qkvlib.tasks.synthetic import TASKS, SyntheticTask

DEFINITIONS = {
    "REVERSE": lambda x: x[::-1],
    "SORT": sorted,
    "SUB": lambda x: [9 - digit for digit in x],
    "SWAP": lambda x: x[len(x) // 2 :] + x[: len(x) // 2],
    "COPY": lambda x: x,
}


def test_every_task_has_a_definition_here() -> None:
    assert list(TASKS) == list(DEFINITIONS)


@given(
    st.sampled_from(list(DEFINITIONS)),
    st.lists(st.integers(0, 9), min_size=2, max_size=20).filter(lambda x: len(x) % 2 == 0),
)
def test_definition(name: str, digits: list[int]) -> None:
    assert TASKS[name](torch.tensor(digits)).tolist() == DEFINITIONS[name](digits)


@pytest.mark.parametrize("name", ["REVERSE", "SUB", "SWAP", "COPY"])
def test_doing_it_twice_undoes_it(name: str) -> None:
    digits = torch.randint(10, (7, 12))
    assert torch.equal(TASKS[name](TASKS[name](digits)), digits)


@pytest.mark.parametrize("name", DEFINITIONS)
def test_batches(name: str) -> None:
    task = SyntheticTask(name.lower(), 6, seed=3)
    assert isinstance(task, Task)
    inputs, targets = task.batch(5, 4)
    assert inputs.shape == targets.shape == (4, 6)
    assert inputs.dtype == targets.dtype == torch.int64
    for row, target in zip(inputs.tolist(), targets.tolist(), strict=True):
        assert DEFINITIONS[name](row) == target
    again, _ = SyntheticTask(name, 6, seed=3).batch(5, 4)
    assert torch.equal(inputs, again)
    for other in (SyntheticTask(name, 6, seed=4).batch(5, 4), task.batch(6, 4)):
        assert not torch.equal(inputs, other[0])


def test_every_digit_occurs() -> None:
    inputs, _ = SyntheticTask("COPY", 50).batch(0, 20)
    assert inputs.unique().tolist() == list(range(10))


def test_held_out_lists_are_the_same_for_every_seed_and_batch_size() -> None:
    first = [x for x, _ in SyntheticTask("SORT", 6, seed=0, eval_lists=10).eval_batches(4)]
    other = [x for x, _ in SyntheticTask("SORT", 6, seed=1, eval_lists=10).eval_batches(10)]
    assert [len(x) for x in first] == [4, 4, 2]
    assert torch.equal(torch.cat(first), torch.cat(other))


def test_description_identifies_the_lists() -> None:
    a = SyntheticTask("SORT", 6).describe()
    assert a == SyntheticTask("sort", 6).describe()
    assert len(a["sha256"]) == 64
    assert a["sha256"] != SyntheticTask("SORT", 8).describe()["sha256"]


def test_errors_teach() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'REVERSE'"):
        SyntheticTask("revers", 8)
    with pytest.raises(TaskError, match=r"length=7: SWAP.*even.*8"):
        SyntheticTask("SWAP", 7)
    assert SyntheticTask("COPY", 7).seq_len == 7
    with pytest.raises(TaskError, match="length=0"):
        SyntheticTask("COPY", 0)
    with pytest.raises(TaskError, match="eval_lists=0"):
        SyntheticTask("COPY", 4, eval_lists=0)
