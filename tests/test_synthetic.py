"""The synthetic tasks, each held to its definition."""

import pytest
import torch
from hypothesis import given, strategies as st

from qkvlib import UnknownNameError
from qkvlib.tasks import IGNORED, Task, TaskError
from qkvlib.tasks.synthetic import TASKS, SyntheticTask

DEFINITIONS = {
    "REVERSE": lambda x: x[::-1],
    "SORT": sorted,
    "SUB": lambda x: [9 - digit for digit in x],
    "SWAP": lambda x: x[len(x) // 2 :] + x[: len(x) // 2],
    "COPY": lambda x: x,
    "SHIFT": lambda x: [x[-1], *x[:-1]],
}


def answers(tokens: list[int]) -> list[int]:
    """RECALL by a dictionary."""
    n = len(tokens) // 2
    paired = {pair // 10: pair % 10 for pair in tokens[:n]}
    return [IGNORED] * n + [paired[question - 10 * n] for question in tokens[n:]]


def test_every_task_has_a_definition_here() -> None:
    assert list(TASKS) == [*DEFINITIONS, "RECALL"]


@given(
    st.sampled_from(list(DEFINITIONS)),
    st.lists(st.integers(0, 9), min_size=2, max_size=20).filter(lambda x: len(x) % 2 == 0),
)
def test_definition(name: str, digits: list[int]) -> None:
    assert TASKS[name](torch.tensor(digits)).tolist() == DEFINITIONS[name](digits)


@given(st.integers(1, 70), st.integers(0, 5), st.integers(0, 3))
def test_recall(n: int, seed: int, step: int) -> None:
    task = SyntheticTask("RECALL", 2 * n, seed=seed)
    inputs, targets = task.batch(step, 3)
    assert inputs.shape == targets.shape == (3, 2 * n)
    assert task.vocab_size == 11 * n
    for tokens, target in zip(inputs.tolist(), targets.tolist(), strict=True):
        assert sorted(pair // 10 for pair in tokens[:n]) == list(range(n))  # each key once
        assert all(10 * n <= question < 11 * n for question in tokens[n:])
        assert target == answers(tokens)


def test_recall_asks_for_every_key_and_digit() -> None:
    inputs, targets = SyntheticTask("RECALL", 16).batch(0, 200)
    assert inputs[:, 8:].unique().tolist() == list(range(80, 88))
    assert inputs[:, :8].unique().tolist() == list(range(80))
    assert targets.unique().tolist() == [IGNORED, *range(10)]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12))
def test_shift_is_a_cycle(digits: list[int]) -> None:
    turned = torch.tensor(digits)
    for _ in digits:
        turned = TASKS["SHIFT"](turned)
    assert turned.tolist() == digits


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
    # 64 pairs have more tokens than a byte can number.
    assert len({SyntheticTask("RECALL", n).describe()["sha256"] for n in (16, 64, 128)}) == 3
    assert a["sha256"] != SyntheticTask("SORT", 8).describe()["sha256"]


def test_errors_teach() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'REVERSE'"):
        SyntheticTask("revers", 8)
    with pytest.raises(TaskError, match=r"length=7: SWAP.*even.*8"):
        SyntheticTask("SWAP", 7)
    assert SyntheticTask("COPY", 7).seq_len == 7
    with pytest.raises(TaskError, match=r"length=9: RECALL.*even.*10"):
        SyntheticTask("recall", 9)
    with pytest.raises(TaskError, match="length=0"):
        SyntheticTask("COPY", 0)
    with pytest.raises(TaskError, match="eval_lists=0"):
        SyntheticTask("COPY", 4, eval_lists=0)
