"""The training loop: it learns, it repeats itself to the bit, and it survives being stopped."""

import dataclasses
import itertools
import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors
import torch
from hypothesis import given, strategies as st
from safetensors.torch import load_file, save_file

from qkvlib import ConfigError, ModelConfig, build_model, count_parameters
from qkvlib.checkpoint import CHECKPOINT_FILE, CheckpointError, RunError, load_checkpoint
from qkvlib.records import RunRecord
from qkvlib.tasks.synthetic import TASKS, SyntheticTask
from qkvlib.tasks.text import TextTask
from qkvlib.training import (
    InterruptedRunError,
    Progress,
    TrainConfig,
    _make_optimizer,
    evaluate,
    train,
)

SHAPE = ModelConfig(
    d_model=16, n_layers=1, n_heads=2, vocab_size=256, max_seq_len=16, dropout=0.1, sharing="Q-K=V"
)
SCHEDULE = TrainConfig(steps=20, batch_size=2, eval_every=6, save_every=5, seed=3)


@pytest.fixture(scope="module")
def task(text_file: Path) -> TextTask:
    return TextTask(16, files=[text_file], seed=3, eval_windows=4)


@pytest.fixture(scope="module")
def whole(task: TextTask) -> RunRecord:
    """An uninterrupted run, to hold the others against."""
    return train(build_model(SHAPE, seed=1), task, SCHEDULE)


class Stop(BaseException):
    """Ends a run at a step of our choice, without the loop's help."""


def stop_at(step: int) -> Any:
    def progress(now: Progress) -> None:
        if now.step == step:
            raise Stop

    return progress


def run_until(step: int, task: TextTask, out: Path) -> None:
    with pytest.raises(Stop):
        train(build_model(SHAPE, seed=1), task, SCHEDULE, out=out, progress=stop_at(step))


# What a run does


@pytest.mark.parametrize("name", ["COPY", "SUB"])
def test_learns(name: str) -> None:
    config = ModelConfig(
        d_model=16, n_layers=1, n_heads=2, vocab_size=10, max_seq_len=6, causal=False,
        tie_embeddings=False,  # or COPY would be half solved before training
    )  # fmt: skip
    task = SyntheticTask(name, 6, eval_lists=64)
    record = train(build_model(config, seed=0), task, TrainConfig(steps=150, lr=1e-2))
    assert record.history["eval_accuracy"][0] < 0.5
    assert record.metrics["accuracy"] == 1.0
    assert "bits_per_byte" not in record.metrics
    assert record.cache_bytes_per_token == {}  # an encoder has no cache


def test_record_says_what_happened(whole: RunRecord, task: TextTask) -> None:
    assert whole.config == SHAPE
    assert whole.training == SCHEDULE.to_dict()
    assert whole.task == task.describe()
    assert whole.n_params == count_parameters(SHAPE)
    assert whole.cache_bytes_per_token == {"float16": 32, "float32": 64}  # 1 layer, K only
    assert whole.history["train_step"] == list(range(20))
    assert whole.history["eval_step"] == [0, 6, 12, 18, 20]
    for group in ("train_loss", "eval_loss", "eval_accuracy", "eval_bits_per_byte"):
        steps = whole.history[group.partition("_")[0] + "_step"]
        assert len(whole.history[group]) == len(steps)
    assert whole.history["eval_loss"][0] == pytest.approx(math.log(256), rel=0.05)
    assert whole.metrics["loss"] == whole.history["eval_loss"][-1]
    assert whole.metrics["loss"] < whole.history["eval_loss"][0]
    assert whole.metrics["bits_per_byte"] == pytest.approx(whole.metrics["loss"] / math.log(2))
    assert whole.tokens_per_second > 0
    assert 0 < whole.seconds < 60
    assert (whole.seed, whole.device, whole.threads) == (3, "cpu", torch.get_num_threads())


def test_same_seeds_give_the_same_losses(whole: RunRecord, task: TextTask) -> None:
    torch.rand(7)  # the state of the global generator must not matter
    assert train(build_model(SHAPE, seed=1), task, SCHEDULE).history == whole.history
    for model_seed, dropout_seed in ((2, 3), (1, 4)):
        schedule = dataclasses.replace(SCHEDULE, seed=dropout_seed)
        other = train(build_model(SHAPE, seed=model_seed), task, schedule)
        assert other.history["train_loss"] != whole.history["train_loss"]


def test_evaluation_leaves_the_model_alone(task: TextTask) -> None:
    model = build_model(SHAPE, seed=0).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    random = torch.get_rng_state()
    metrics = evaluate(model, task, batch_size=4)
    assert model.training
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    # Means over tokens, whatever the batches: 4 windows as 3 + 1.
    assert evaluate(model, task, batch_size=3) == pytest.approx(metrics, rel=1e-6)


def test_evaluation_is_what_it_says() -> None:
    class Certain(torch.nn.Module):
        """Puts probability 0.9 on the digit that was read."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(()))

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            probabilities = torch.full((*tokens.shape, 10), 0.1 / 9)
            return probabilities.scatter(-1, tokens[..., None], 0.9).log()

    metrics = evaluate(Certain(), SyntheticTask("COPY", 5, eval_lists=7), batch_size=3)
    assert metrics == pytest.approx({"loss": -math.log(0.9), "accuracy": 1.0})


def test_positions_that_are_not_asked_count_neither_way() -> None:
    class Knows(torch.nn.Module):
        """Answers every question of RECALL, and says 0 at the pairs, which nobody asks about."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(()))

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            answers = TASKS["RECALL"](tokens).clamp_min(0)
            probabilities = torch.full((*tokens.shape, 44), 0.1 / 43)
            return probabilities.scatter(-1, answers[..., None], 0.9).log()

    metrics = evaluate(Knows(), SyntheticTask("RECALL", 8, eval_lists=7), batch_size=3)
    assert metrics == pytest.approx({"loss": -math.log(0.9), "accuracy": 1.0})


def test_stops_where_the_target_is_reached(tmp_path: Path) -> None:
    copy = SyntheticTask("COPY", 4, eval_lists=16)
    shape = SHAPE.replace(causal=False, vocab_size=10, max_seq_len=4, dropout=0.0)
    easy = TrainConfig(steps=500, batch_size=16, lr=1e-2, eval_every=10, target_accuracy=0.99)
    record = train(build_model(shape, seed=0), copy, easy, out=tmp_path)
    steps = record.history["eval_step"]
    assert steps[-1] < 500
    assert record.history["train_step"][-1] == steps[-1] - 1
    accuracies = record.history["eval_accuracy"]
    assert record.metrics["accuracy"] == accuracies[-1] >= 0.99
    assert all(accuracy < 0.99 for accuracy in accuracies[1:-1])
    again = train(build_model(shape, seed=1), copy, easy, out=tmp_path, resume=True)
    assert again == record
    # Without a target the same run goes on, along the same losses.
    whole_way = dataclasses.replace(easy, target_accuracy=None)
    longer = train(build_model(shape, seed=0), copy, whole_way)
    losses = record.history["train_loss"]
    assert longer.history["train_loss"][: len(losses)] == losses
    assert longer.history["eval_step"][-1] == 500


def test_weight_decay_is_for_matrices_only() -> None:
    model = build_model(SHAPE)
    decayed, free = _make_optimizer(model, TrainConfig(weight_decay=0.3)).param_groups
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.3, 0.0)
    assert {p.ndim for p in decayed["params"]} == {2}
    assert {p.ndim for p in free["params"]} == {1}
    assert len(decayed["params"]) + len(free["params"]) == len(list(model.parameters()))
    assert decayed["fused"]
    assert decayed["betas"] == (0.9, 0.95)


@given(st.integers(1, 300), st.floats(1e-6, 1.0), st.floats(0, 1), st.none() | st.integers(0, 300))
def test_learning_rate(steps: int, lr: float, fraction: float, warmup: int | None) -> None:
    warmup = None if warmup is None else min(warmup, steps)
    config = TrainConfig(steps=steps, lr=lr, min_lr=lr * fraction, warmup_steps=warmup)
    rates = [config.learning_rate(step) for step in range(steps)]
    w = config.warmup_steps
    assert all(a < b for a, b in itertools.pairwise(rates[:w]))
    assert all(a >= b - 1e-12 for a, b in itertools.pairwise(rates[w:]))
    assert all(0 < rate <= lr * (1 + 1e-12) for rate in rates[: steps - 1])
    if w:
        assert rates[w - 1] == pytest.approx(lr)
    if steps - w > 1:
        assert rates[w] == pytest.approx(lr)
        assert rates[-1] == pytest.approx(config.min_lr, abs=1e-12)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", 0), ("batch_size", 1.5), ("eval_every", -1), ("save_every", 0), ("lr", 0.0),
        ("lr", math.inf), ("min_lr", 1.0), ("warmup_steps", 3000), ("weight_decay", -0.1),
        ("beta1", 1.0), ("beta2", -0.1), ("clip", 0.0),
        ("target_accuracy", 0.0), ("target_accuracy", 1.5),
    ],
)  # fmt: skip
def test_bad_settings_are_named(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{field}={value}"):
        TrainConfig(**{field: value})


def test_model_and_task_must_fit(task: TextTask) -> None:
    for change, message in (
        ({"vocab_size": 200}, r"256 tokens.*vocab_size=200"),
        ({"max_seq_len": 15}, r"sequences of 16.*max_seq_len=15"),
        ({"causal": False}, r"next token.*causal=False"),
    ):
        with pytest.raises(RunError, match=message):
            train(build_model(SHAPE.replace(**change)), task, SCHEDULE)


def test_loss_that_is_not_finite_stops_the_run(task: TextTask, tmp_path: Path) -> None:
    model = build_model(SHAPE, seed=0)
    wild = dataclasses.replace(SCHEDULE, lr=1e30, min_lr=1e30, warmup_steps=0)
    with pytest.raises(RunError, match=r"at step \d+ the loss is .*lower lr than 1e\+30"):
        train(model, task, wild, out=tmp_path)
    assert all(t.isfinite().all() for t in load_checkpoint(tmp_path).state_dict().values())


def test_progress_is_told_and_nothing_is_printed(
    task: TextTask, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[Progress] = []
    record = train(build_model(SHAPE), task, SCHEDULE, progress=told.append)
    assert [now.step for now in told] == list(range(1, 21))
    assert [now.loss for now in told] == record.history["train_loss"]
    assert told[-1].metrics == record.metrics
    assert told[-1].seconds_left == 0
    train(build_model(SHAPE), task, SCHEDULE)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("quiet", [None, "CI", "QKV_STATIC"])
def test_a_person_sees_a_bar(
    quiet: str | None,
    task: TextTask,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("CI", "QKV_STATIC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    if quiet:
        monkeypatch.setenv(quiet, "1")
    train(build_model(SHAPE), task, SCHEDULE)
    shown = capsys.readouterr().err
    if quiet:
        assert shown == ""
    else:
        for part in ("loss", "bits/byte", "tokens/s", "left", "20/20"):
            assert part in shown


# Files


def test_finished_run(task: TextTask, whole: RunRecord, tmp_path: Path) -> None:
    model = build_model(SHAPE, seed=1)
    record = train(model, task, SCHEDULE, out=tmp_path / "new" / "run")
    folder = tmp_path / "new" / "run"
    assert record.history == whole.history
    assert RunRecord.load(folder) == record
    assert {path.name for path in folder.iterdir()} == {".lock", CHECKPOINT_FILE, "record.json"}
    tensors = load_file(folder / CHECKPOINT_FILE)
    assert all(name.startswith("model.") for name in tensors)  # no optimizer, no random state
    # The tied embedding is there once.
    assert sum(tensor.numel() for tensor in tensors.values()) == record.n_params
    loaded = load_checkpoint(folder)
    assert not loaded.training
    assert loaded.config == SHAPE
    assert loaded.head.weight is loaded.embedding.weight
    assert evaluate(loaded, task, batch_size=2) == record.metrics
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)


def test_finished_run_is_not_repeated(task: TextTask, tmp_path: Path) -> None:
    record = train(build_model(SHAPE, seed=1), task, SCHEDULE, out=tmp_path)
    (tmp_path / "record.json").unlink()  # as if it had died between its two files
    model = build_model(SHAPE, seed=9)
    again = train(model, task, SCHEDULE, out=tmp_path, resume=True, progress=stop_at(1))
    assert again == record
    assert RunRecord.load(tmp_path) == record
    assert evaluate(model, task, batch_size=2) == record.metrics
    assert not model.training, "as after the training itself"


def test_a_run_with_frozen_weights_goes_on(task: TextTask, tmp_path: Path) -> None:
    def frozen() -> Any:
        model = build_model(SHAPE, seed=1)
        model.blocks[0].attention.out_proj.requires_grad_(False)
        return model

    whole = train(frozen(), task, SCHEDULE)
    with pytest.raises(Stop):
        train(frozen(), task, SCHEDULE, out=tmp_path, progress=stop_at(7))
    assert train(frozen(), task, SCHEDULE, out=tmp_path, resume=True).history == whole.history


def test_two_trainings_in_one_folder_are_refused(task: TextTask, tmp_path: Path) -> None:
    def second(_: Progress) -> None:
        with pytest.raises(RunError, match="another process is training in"):
            train(build_model(SHAPE), task, SCHEDULE, out=tmp_path, resume=True)

    record = train(build_model(SHAPE, seed=1), task, SCHEDULE, out=tmp_path, progress=second)
    assert RunRecord.load(tmp_path) == record


@pytest.mark.parametrize("step", [1, 5, 13, 19])
def test_resumed_run_gives_the_same_losses(
    step: int, task: TextTask, whole: RunRecord, tmp_path: Path
) -> None:
    run_until(step, task, tmp_path)
    model = build_model(SHAPE, seed=8)  # its own weights do not matter
    record = train(model, task, SCHEDULE, out=tmp_path, resume=True)
    assert record.history == whole.history
    assert record.metrics == whole.metrics


def test_resuming_nothing_starts(task: TextTask, whole: RunRecord, tmp_path: Path) -> None:
    record = train(build_model(SHAPE, seed=1), task, SCHEDULE, out=tmp_path / "new", resume=True)
    assert record.history == whole.history


def test_saving_does_not_change_a_run(task: TextTask, whole: RunRecord, tmp_path: Path) -> None:
    schedule = dataclasses.replace(SCHEDULE, save_every=1)
    record = train(build_model(SHAPE, seed=1), task, schedule, out=tmp_path)
    assert record.history == whole.history


KILLED_RUN = """
import os, signal, sys
from pathlib import Path
from qkvlib import ModelConfig, build_model
from qkvlib.tasks.text import TextTask
from qkvlib.training import TrainConfig, train

text, out, where = sys.argv[1:]
shape = ModelConfig(
    d_model=16, n_layers=1, n_heads=2, vocab_size=256, max_seq_len=16, dropout=0.1, sharing="Q-K=V"
)
schedule = TrainConfig(steps=20, batch_size=2, eval_every=6, save_every=5, seed=3)
task = TextTask(16, files=[text], seed=3, eval_windows=4)

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def progress(now):
    if where == "writing" and now.step == 10:
        os.replace = die  # the checkpoint of step 10 is written, but never takes its place
    if where == "step 13" and now.step == 13:
        die()

train(build_model(shape, seed=1), task, schedule, out=out, resume=True, progress=progress)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kill -9 is a POSIX matter")
def test_survives_kill_9(text_file: Path, task: TextTask, whole: RunRecord, tmp_path: Path) -> None:
    for where in ("writing", "step 13"):
        command = [sys.executable, "-c", KILLED_RUN, str(text_file), str(tmp_path), where]
        env = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
        done = subprocess.run(command, env=env, timeout=120, capture_output=True, text=True)
        assert done.returncode == -signal.SIGKILL, done.stderr
        if where == "writing":
            assert list(tmp_path.glob(f".{CHECKPOINT_FILE}.*.tmp"))
            with safetensors.safe_open(tmp_path / CHECKPOINT_FILE, framework="pt") as file:
                assert '"step": 5' in file.metadata()["qkvlib"]
    model = build_model(SHAPE, seed=1)
    record = train(model, task, SCHEDULE, out=tmp_path, resume=True)
    assert record.history == whole.history
    assert record.metrics == whole.metrics
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [".lock", CHECKPOINT_FILE, "record.json"]


def test_ctrl_c_waits_for_the_step_and_saves(
    task: TextTask, whole: RunRecord, tmp_path: Path
) -> None:
    def press(now: Progress) -> None:
        if now.step == 8:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(InterruptedRunError, match=r"after step 8; saved in .*resume=True"):
        train(build_model(SHAPE, seed=1), task, SCHEDULE, out=tmp_path, progress=press)
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(InterruptedRunError, match="Nothing was saved"):
        train(build_model(SHAPE, seed=1), task, SCHEDULE, progress=press)

    def must_go_on_at_9(now: Progress) -> None:
        assert now.step >= 9

    record = train(
        build_model(SHAPE), task, SCHEDULE, out=tmp_path, resume=True, progress=must_go_on_at_9
    )
    assert record.history == whole.history


@pytest.fixture
def _ctrl_c_is_heard() -> Iterator[None]:
    """A process started in the background ignores SIGINT, and so would what it restores."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_ctrl_c_is_heard")
def test_a_second_ctrl_c_strikes_at_once(task: TextTask) -> None:
    def press_twice(now: Progress) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("not reached")

    with pytest.raises(KeyboardInterrupt):
        train(build_model(SHAPE), task, SCHEDULE, progress=press_twice)


def test_trains_outside_the_main_thread(task: TextTask, whole: RunRecord) -> None:
    records: list[RunRecord] = []

    def work() -> None:
        records.append(train(build_model(SHAPE, seed=1), task, SCHEDULE))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert records[0].history == whole.history


# Refusals


def test_a_folder_with_a_run_is_not_overwritten(task: TextTask, tmp_path: Path) -> None:
    run_until(7, task, tmp_path)
    with pytest.raises(RunError, match=r"holds a run already.*--resume.*--out"):
        train(build_model(SHAPE), task, SCHEDULE, out=tmp_path)
    (tmp_path / CHECKPOINT_FILE).rename(tmp_path / "record.json")
    with pytest.raises(RunError, match="holds a run already"):
        train(build_model(SHAPE), task, SCHEDULE, out=tmp_path)
    with pytest.raises(RunError, match="nothing to resume"):
        train(build_model(SHAPE), task, SCHEDULE, out=tmp_path, resume=True)
    with pytest.raises(RunError, match="is a file"):
        train(build_model(SHAPE), task, SCHEDULE, out=tmp_path / "record.json")


def test_resuming_another_run_names_the_field(
    task: TextTask, text_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    run_until(7, task, out)

    def resume(model: ModelConfig = SHAPE, data: TextTask = task, **training: Any) -> None:
        schedule = dataclasses.replace(SCHEDULE, **training)
        train(build_model(model), data, schedule, out=out, resume=True, progress=stop_at(8))

    with pytest.raises(RunError, match="model sharing='Q-K=V', but 'QKV' was given"):
        resume(SHAPE.replace(sharing="QKV"))
    with pytest.raises(RunError, match="training steps=20, but 30"):
        resume(steps=30)
    with pytest.raises(RunError, match="training lr="):
        resume(lr=5e-4)
    with pytest.raises(RunError, match="task seed=3, but 4"):
        resume(data=TextTask(16, files=[text_file], seed=4, eval_windows=4))
    changed = tmp_path / "changed.txt"
    changed.write_bytes(text_file.read_bytes().replace(b"dame", b"lame"))
    with pytest.raises(RunError, match="task sha256="):
        resume(data=TextTask(16, files=[changed], seed=3, eval_windows=4))
    moved = tmp_path / "moved.txt"
    moved.write_bytes(text_file.read_bytes())
    with pytest.raises(Stop):  # the same bytes in another place, saved more often: the same run
        resume(data=TextTask(16, files=[moved], seed=3, eval_windows=4), save_every=2)


def test_damaged_checkpoints_are_named(task: TextTask, tmp_path: Path) -> None:
    run_until(7, task, tmp_path)
    path = tmp_path / CHECKPOINT_FILE
    data = path.read_bytes()
    for broken in (b"", data[:4], data[:200], data[: len(data) // 2], data[:-1], b"\0" * 100):
        path.write_bytes(broken)
        with pytest.raises(CheckpointError, match=f"{CHECKPOINT_FILE} is damaged or cut short"):
            load_checkpoint(path)
        with pytest.raises(CheckpointError, match="delete it and train again"):
            train(build_model(SHAPE), task, SCHEDULE, out=tmp_path, resume=True)


def test_checkpoints_of_another_kind_are_refused(tmp_path: Path) -> None:
    for name in ("model.pt", "model.pkl", "model.bin"):
        (tmp_path / name).write_bytes(b"whatever")
        with pytest.raises(CheckpointError, match=r"pickle.*run any code"):
            load_checkpoint(tmp_path / name)
    with pytest.raises(CheckpointError, match="no checkpoint"):
        load_checkpoint(tmp_path)
    save_file({"weight": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    with pytest.raises(CheckpointError, match="not a checkpoint of qkvlib"):
        load_checkpoint(tmp_path / "foreign.safetensors")


def test_checkpoint_with_changed_tensors_is_refused(task: TextTask, tmp_path: Path) -> None:
    run_until(7, task, tmp_path)
    path = tmp_path / CHECKPOINT_FILE
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    model = build_model(SHAPE)
    name = "embedding.weight"
    for changed in (
        {key: value for key, value in tensors.items() if key != f"model.{name}"},
        tensors | {f"model.{name}": torch.zeros(3, 3)},
        {key: value for key, value in tensors.items() if key != f"optimizer.exp_avg.{name}"},
    ):
        save_file(changed, path, metadata)
        with pytest.raises(CheckpointError, match=r"not those of its model|lacks AdamW's exp_avg"):
            train(model, task, SCHEDULE, out=tmp_path, resume=True)


@pytest.mark.parametrize("tie", [True, False])
@pytest.mark.parametrize("causal", [True, False])
def test_checkpoint_round_trip_of_other_models(tie: bool, causal: bool, tmp_path: Path) -> None:
    config = ModelConfig(
        d_model=8, n_layers=2, n_heads=2, vocab_size=10, max_seq_len=4, causal=causal,
        tie_embeddings=tie, plus_channels=0 if causal else 10, sharing="Q=K-V",
        position="sinusoidal", bias=False,
    )  # fmt: skip
    model = build_model(config, seed=0)
    task = SyntheticTask("COPY", 4, eval_lists=4)
    train(model, task, TrainConfig(steps=2, batch_size=2), out=tmp_path)
    tokens = torch.randint(10, (2, 4))
    with torch.inference_mode():
        assert torch.equal(load_checkpoint(tmp_path)(tokens), model(tokens))
