"""The text task: bytes in, next bytes out, and errors that teach."""

import itertools
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, strategies as st

from qkvlib import FetchError, fetch_text
from qkvlib.cli import main
from qkvlib.tasks import Task, TaskError, step_generator
from qkvlib.tasks.text import (
    STANDARD_LIBRARY,
    TextTask,
    decode,
    encode,
    read_text,
    standard_library_text,
)

from small_images import FileServer, publish_text, serving


@pytest.fixture
def counted(tmp_path: Path) -> Path:
    """A text of 1000 bytes in which every three bytes stand in one place only."""
    path = tmp_path / "counted.txt"
    path.write_text(" ".join(f"{i:03d}" for i in range(250)) + "\n")
    assert path.stat().st_size == 1000
    return path


def test_fits_the_protocol(counted: Path) -> None:
    assert isinstance(TextTask(16, files=[counted]), Task)


@given(st.text())
def test_encode_and_decode_are_inverse(text: str) -> None:
    tokens = encode(text)
    assert tokens.dtype == torch.int64
    assert decode(tokens) == decode(tokens.tolist()) == decode(text.encode()) == text


def test_decode_replaces_what_is_not_utf8() -> None:
    assert decode([0x61, 0xFF, 0x62]) == "a\ufffdb"


def test_targets_are_the_next_bytes(counted: Path) -> None:
    inputs, targets = TextTask(16, files=[counted]).batch(3, 8)
    assert inputs.shape == targets.shape == (8, 16)
    assert inputs.dtype == targets.dtype == torch.int64
    assert torch.equal(inputs[:, 1:], targets[:, :-1])
    text = counted.read_text()
    for row, target in zip(inputs, targets, strict=True):
        assert decode([*row.tolist(), int(target[-1])]) in text


@given(seed=st.integers(0, 2**40), step=st.integers(0, 2**40))
def test_a_batch_is_a_pure_function_of_seed_and_step(seed: int, step: int) -> None:
    torch.manual_seed(step % 7)  # the global generator must not matter
    first = torch.rand(4, generator=step_generator(seed, step))
    assert torch.equal(first, torch.rand(4, generator=step_generator(seed, step)))
    assert not torch.equal(first, torch.rand(4, generator=step_generator(seed, step + 1)))
    assert not torch.equal(first, torch.rand(4, generator=step_generator(seed + 1, step)))
    held_out = step_generator(seed, step, held_out=True)
    assert not torch.equal(first, torch.rand(4, generator=held_out))


@given(st.integers(0, 2**40), st.integers(0, 2**40))
def test_training_and_held_out_seeds_are_disjoint(seed: int, step: int) -> None:
    assert step_generator(seed, step).initial_seed() < 2**31
    assert 2**31 <= step_generator(seed, step, held_out=True).initial_seed() < 2**32


def test_batches_of_two_tasks_with_one_seed_agree(counted: Path) -> None:
    tasks = [TextTask(16, files=[counted], seed=seed) for seed in (5, 5, 6)]
    batches = [task.batch(10, 4)[0] for task in tasks]
    assert torch.equal(batches[0], batches[1])
    assert not torch.equal(batches[0], batches[2])


def test_training_never_sees_held_out_text(counted: Path) -> None:
    task = TextTask(16, files=[counted])
    held_out = counted.read_text()[900:]
    seen = "|".join(
        decode([*row.tolist(), int(target[-1])])
        for step in range(200)
        for row, target in zip(*task.batch(step, 16), strict=True)
    )
    assert not any(held_out[i : i + 4] in seen for i in range(len(held_out) - 3))
    # … and it does see all the rest: the last training window begins 17 bytes before the split.
    assert counted.read_text()[900 - 17 : 900] in seen


@pytest.mark.parametrize(("eval_windows", "expected"), [(64, 5), (3, 3), (1, 1)])
def test_held_out_windows_are_fixed_and_apart(
    counted: Path, eval_windows: int, expected: int
) -> None:
    windows = []
    for seed, batch_size in ((0, 2), (1, 64)):
        task = TextTask(16, files=[counted], seed=seed, eval_windows=eval_windows)
        batches = list(task.eval_batches(batch_size))
        assert all(len(inputs) <= batch_size for inputs, _ in batches)
        inputs = torch.cat([inputs for inputs, _ in batches])
        targets = torch.cat([targets for _, targets in batches])
        assert torch.equal(inputs[:, 1:], targets[:, :-1])
        windows.append([decode([*i.tolist(), int(t[-1])]) for i, t in zip(inputs, targets)])  # noqa: B905
    assert windows[0] == windows[1]
    starts = [counted.read_text()[900:].index(window) for window in windows[0]]
    assert len(starts) == expected
    assert all(b - a >= 17 for a, b in itertools.pairwise(starts))


def test_description_is_the_same_for_the_same_bytes(counted: Path, tmp_path: Path) -> None:
    copied = tmp_path / "elsewhere" / "counted.txt"
    copied.parent.mkdir()
    copied.write_bytes(counted.read_bytes())
    description = TextTask(16, files=[counted]).describe()
    assert TextTask(16, files=[copied]).describe() == description
    assert description["bytes"] == 1000
    assert (description["train_bytes"], description["held_out_bytes"]) == (900, 100)
    assert str(tmp_path) not in str(description)  # no path of this machine goes into a record
    copied.write_text("x" * 1000)
    assert TextTask(16, files=[copied]).describe()["sha256"] != description["sha256"]


def test_files_are_joined_in_order(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_text(name * 50)
    task = TextTask(4, files=[tmp_path / "b", tmp_path / "a"], held_out=0.5)
    assert decode(task.batch(0, 1)[0][0]) == "bbbb"
    assert task.describe()["bytes"] == 102  # two newlines between
    assert task.describe()["files"] == ["b", "a"]


def test_default_text() -> None:
    text = standard_library_text()
    text.decode()
    assert 2_000_000 < len(text) < 4_000_000
    assert b"\0" not in text
    description = TextTask(128).describe()
    assert description["bytes"] == len(text)
    assert description["python"].startswith(f"{sys.version_info[0]}.{sys.version_info[1]}.")


def test_default_modules_are_a_sorted_list_of_standard_names() -> None:
    assert list(STANDARD_LIBRARY) == sorted(set(STANDARD_LIBRARY))
    assert {name.partition(".")[0] for name in STANDARD_LIBRARY} <= set(sys.stdlib_module_names)
    # Gone by Python 3.13, or deprecated there.
    gone = "aifc asynchat asyncore audioop cgi cgitb chunk crypt distutils imghdr imp lib2to3 "
    gone += "mailcap nntplib pipes smtpd sndhdr spwd sunau telnetlib uu xdrlib"
    assert not set(STANDARD_LIBRARY) & set(gone.split())


def test_default_text_ignores_files_that_look_like_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ast.py").write_text("not Python's")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    before = standard_library_text()
    standard_library_text.cache_clear()
    assert standard_library_text() == before


def test_missing_standard_module_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qkvlib.tasks.text.STANDARD_LIBRARY", ("ast", "no_such_module"))
    standard_library_text.cache_clear()
    try:
        with pytest.raises(TaskError, match=r"'no_such_module'.*--text FILE"):
            standard_library_text()
    finally:
        standard_library_text.cache_clear()


def test_text_errors_teach(tmp_path: Path) -> None:
    def write(name: str, data: bytes) -> Path:
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    with pytest.raises(TaskError, match="there is no file"):
        read_text(tmp_path / "nowhere.txt")
    with pytest.raises(TaskError, match="is a folder"):
        read_text(tmp_path)
    with pytest.raises(TaskError, match="is empty"):
        read_text(write("empty", b""))
    with pytest.raises(TaskError, match="NUL byte at offset 3"):
        read_text(write("binary", b"abc\0def"))
    with pytest.raises(TaskError, match="byte 0xe9 at offset 3"):
        read_text(write("latin1", "café".encode("latin1")))
    assert read_text(write("good", "café".encode())) == "café".encode()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read every file")
def test_unreadable_file(tmp_path: Path) -> None:
    path = tmp_path / "secret.txt"
    path.write_text("text")
    path.chmod(0)
    with pytest.raises(TaskError, match="cannot be read"):
        read_text(path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seq_len": 100}, r"held-out split has 100 bytes.*at least 101"),
        ({"seq_len": 2000}, r"train split has 900 bytes.*at least 2001"),
        ({"seq_len": 101, "held_out": 0.9}, r"train split has 100 bytes"),
        ({"seq_len": 0}, "at least 1 token"),
        ({"seq_len": 8, "held_out": 1.0}, "between 0 and 1"),
        ({"seq_len": 8, "eval_windows": 0}, "at least 1 window"),
        ({"seq_len": 8, "files": []}, "empty list"),
    ],
)
def test_task_errors_teach(counted: Path, arguments: dict, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        TextTask(**{"files": [counted], **arguments})


def test_shortest_text_that_works(counted: Path) -> None:
    inputs, _ = next(iter(TextTask(99, files=[counted]).eval_batches(4)))
    assert inputs.shape == (1, 99)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FileServer]:
    monkeypatch.setenv("QKV_DATA", str(tmp_path / "data"))
    with serving(monkeypatch) as files:
        publish_text(monkeypatch, files)
        yield files


def test_a_text_by_name(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"there is no tinyshakespeare.txt .* qkv data fetch tiny"):
        TextTask(16, text="tinyshakespeare")
    path = fetch_text("tinyshakespeare")
    assert path == tmp_path / "data" / "tinyshakespeare.txt"
    task = TextTask(16, text="tinyshakespeare", eval_windows=4)
    described = task.describe()
    assert (described["source"], "python" in described) == ("tinyshakespeare", False)
    same = TextTask(16, files=[path], eval_windows=4)
    assert described["sha256"] == same.describe()["sha256"]
    assert torch.equal(task.batch(3, 4)[0], same.batch(3, 4)[0])
    server.asked.clear()
    fetch_text("tinyshakespeare")
    assert server.asked == []
    with pytest.raises(ValueError, match="Did you mean 'tinyshakespeare'"):
        TextTask(16, text="shakespeare")
    with pytest.raises(TaskError, match="give one of them"):
        TextTask(16, text="tinyshakespeare", files=[path])
    path.write_text("Alas")
    with pytest.raises(TaskError, match="is not the published text"):
        TextTask(16, text="tinyshakespeare")


def test_a_text_that_comes_damaged_or_from_a_mirror(server: FileServer, tmp_path: Path) -> None:
    server.files["room/input.txt"] = server.files["input.txt"]
    server.files["input.txt"] = b"x" * len(server.files["input.txt"])
    with pytest.raises(FetchError, match="sha256"):
        fetch_text("tinyshakespeare")
    assert not (tmp_path / "data" / "tinyshakespeare.txt").exists()
    assert fetch_text("tinyshakespeare", mirrors=[f"{server.url}room/"]).exists()


def test_training_on_a_text_by_name(server: FileServer, tmp_path: Path) -> None:
    fetch_text("tinyshakespeare")
    out = tmp_path / "run"
    shape = ["--d-model", "16", "--n-layers", "1", "--n-heads", "2", "--max-seq-len", "16"]
    train = ["train", "text", "--steps", "2", *shape, "--out", str(out)]
    result = CliRunner().invoke(main, [*train, "--text", "tinyshakespeare"])
    assert result.exit_code == 0, result.output
    assert json.loads((out / "record.json").read_text())["task"]["source"] == "tinyshakespeare"
