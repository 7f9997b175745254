"""One training loop for every task, in plain PyTorch.

The loop knows nothing of the cache and nothing of machines: it asks the task for a batch, the model
for logits, the optimizer for an update, and writes down what it saw. What a step does depends on
nothing but the model, the optimizer, the random generator and the step's number, so a checkpoint of
these four makes a run go on as if it had never stopped, to the last bit.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from qkvlib.accounting import bytes_per_token
from qkvlib.checkpoint import CHECKPOINT_FILE, Checkpoint, RunError, RunState, find_run
from qkvlib.config import ConfigError
from qkvlib.devices import device_name
from qkvlib.models import Transformer, token_loss
from qkvlib.records import RunRecord, cpu_name, lock_folder, remove_leftovers, versions
from qkvlib.tasks import IGNORED, Batch, KeepsFiles, Task
from qkvlib.terminal import someone_watches


class InterruptedRunError(KeyboardInterrupt):
    """Ctrl-C stopped a run; the message says where it was saved and how to go on."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a model is trained.

    Attributes:
        steps: Updates.
        batch_size: Sequences in each.
        lr: Highest learning rate, reached at the end of the warm-up.
        min_lr: Learning rate of the last step. ``None`` means ``lr / 10``.
        warmup_steps: Steps over which the learning rate rises. ``None`` means a tenth of ``steps``,
            at most 100.
        weight_decay: For matrices only; biases, norms and other vectors are left alone.
        beta1: AdamW's memory of the gradient.
        beta2: AdamW's memory of its square.
        clip: Greatest norm of the gradient.
        eval_every: Steps between evaluations; the first is before any training, the last after all.
        save_every: Steps between checkpoints, where there is a folder to write to.
        target_accuracy: Stop at the first evaluation whose accuracy reaches this share. ``None``
            never stops early. With ``min_lr=lr`` the steps that a run took can be compared.
        seed: Seed of the random generator that dropout draws from.

    Raises:
        ConfigError: If a value is out of its range.

    The defaults follow Kayyam et al. (2026), section 4.3, but for ``lr``, which suits small models.
    """

    steps: int = 2000
    batch_size: int = 32
    lr: float = 1e-3
    min_lr: float = None  # type: ignore[assignment]  # __post_init__ fills it in
    warmup_steps: int = None  # type: ignore[assignment]
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.95
    clip: float = 1.0
    eval_every: int = 200
    save_every: int = 200
    target_accuracy: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.min_lr is None:
            object.__setattr__(self, "min_lr", self.lr / 10)
        if self.warmup_steps is None:
            object.__setattr__(self, "warmup_steps", min(100, self.steps // 10))
        for name in ("steps", "batch_size", "eval_every", "save_every"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ConfigError(f"{name}={value!r}: expected a whole number of at least 1.")
        if not 0 <= self.warmup_steps <= self.steps:
            raise ConfigError(
                f"warmup_steps={self.warmup_steps}: expected 0 to steps={self.steps}."
            )
        if not 0 < self.lr < math.inf:
            raise ConfigError(f"lr={self.lr!r}: expected a positive number, for example 1e-3.")
        if not 0 <= self.min_lr <= self.lr:
            raise ConfigError(f"min_lr={self.min_lr!r}: expected 0 to lr={self.lr}.")
        if not 0 <= self.weight_decay < math.inf:
            raise ConfigError(f"weight_decay={self.weight_decay!r}: expected 0 or more.")
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)!r}: expected 0 to below 1.")
        if self.target_accuracy is not None and not 0 < self.target_accuracy <= 1:
            raise ConfigError(
                f"target_accuracy={self.target_accuracy!r}: expected a share above 0, at most 1, "
                "or None to train for all steps."
            )
        if not self.clip > 0:
            raise ConfigError(f"clip={self.clip!r}: expected a positive number; inf never clips.")

    def learning_rate(self, step: int) -> float:
        """Learning rate of a step: a linear rise to ``lr``, then half a cosine to ``min_lr``.

        Args:
            step: From 0 to ``steps - 1``.
        """
        if step < self.warmup_steps:
            return self.lr * (step + 1) / self.warmup_steps
        progress = (step - self.warmup_steps) / max(1, self.steps - 1 - self.warmup_steps)
        return self.min_lr + (self.lr - self.min_lr) * (1 + math.cos(math.pi * progress)) / 2

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON can hold them."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Progress:
    """Where a run is, as told to the ``progress`` callback after every step.

    Attributes:
        step: Updates made.
        steps: Updates to make.
        loss: Training loss of the step, in nats per token.
        tokens_per_second: Speed of this session so far, evaluation and saving excluded.
        seconds_left: Estimate for the rest, evaluation and saving excluded.
        metrics: The latest evaluation.
        bytes_per_token: As the task says; ``None`` where tokens are not text.
    """

    step: int
    steps: int
    loss: float
    tokens_per_second: float
    seconds_left: float
    metrics: Mapping[str, float]
    bytes_per_token: float | None


def train(
    model: Transformer,
    task: Task,
    config: TrainConfig,
    *,
    out: str | PathLike[str] | None = None,
    resume: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> RunRecord:
    """Train a model on a task.

    AdamW with weight decay on matrices only, warm-up and cosine, clipped gradients, cross-entropy
    over every position. On one machine and number of threads, the same model seed, task seed and
    configuration give the same losses to the last bit, interrupted and resumed or not.

    Args:
        model: The model, trained in place; its seed is given where it is built,
            ``build_model(config, seed=0)``.
        task: Where the batches come from.
        config: How to train.
        out: A folder for ``checkpoint.safetensors`` and ``record.json``; nothing is written
            without it.
        resume: Go on with the run in ``out``. If that run is finished, the model gets its weights
            and its record is returned at once; if nothing was saved yet, the run starts.
        progress: Called after every step. Without it a person at a terminal or notebook sees a
            progress bar, and a pipe or a CI job sees nothing.

    Returns:
        The record of the run.

    Raises:
        RunError: If the model does not fit the task, ``out`` holds a run already, the run to resume
            had other settings or data, or the loss is not finite.
        CheckpointError: If the checkpoint to resume from is damaged.
        InterruptedRunError: After Ctrl-C, once the checkpoint is safe.
    """
    if (problem := task.misfit(model.config)) is not None:
        raise RunError(problem)
    if out is None:
        return _train(model, task, config, None, resume, progress)
    folder = Path(out)
    find_run(folder, resume)  # what cannot be goes before what is in use
    busy = RunError(
        f"another process is training in {folder}. Wait for it, stop it, or name another folder: "
        "out (--out)."
    )
    with lock_folder(folder, busy):
        remove_leftovers(folder / CHECKPOINT_FILE)
        return _train(model, task, config, folder, resume, progress)


def _train(
    model: Transformer,
    task: Task,
    config: TrainConfig,
    folder: Path | None,
    resume: bool,
    progress: Callable[[Progress], None] | None,
) -> RunRecord:
    identity = {
        "model": model.config.to_dict(),
        "training": config.to_dict(),
        "task": task.describe(),
    }
    identity = json.loads(json.dumps(identity))  # as a checkpoint gives it back
    optimizer = _make_optimizer(model, config)
    torch.manual_seed(config.seed)
    state = RunState()
    if folder is not None:
        found = find_run(folder, resume)
        if found is not None:
            saved = Checkpoint.load(found)
            saved.check_same_run(identity)
            saved.restore(model, optimizer)
            state = saved.state
            if saved.record is not None:
                saved.record.save(folder)  # in case the run died between its two files
                model.eval()  # as after a training that has just ended
                return saved.record

    if folder is not None and isinstance(task, KeepsFiles):
        folder.mkdir(parents=True, exist_ok=True)
        task.keep(folder)

    device = next(model.parameters()).device
    tokens_per_step = config.batch_size * model.n_positions(task.batch(0, 1)[0])
    session = _Stopwatch()  # this session's training time, without evaluation and saving
    started, before = time.perf_counter(), state.seconds
    first_step = state.step

    def save(record: RunRecord | None = None) -> None:
        if folder is not None:
            state.seconds = before + time.perf_counter() - started
            Checkpoint.take(identity, state, model, optimizer, record).save(
                folder / CHECKPOINT_FILE
            )

    def evaluate_now() -> None:
        metrics = evaluate(model, task, batch_size=config.batch_size)
        state.log("eval", state.step, metrics)

    if not state.history:
        evaluate_now()
        save()  # so that a run can be resumed from its first moment on
    with _bar_or(progress, config.steps, first_step) as show, _stop_between_steps() as stopped:
        model.train()
        for step in range(state.step, config.steps):
            with session:
                inputs, targets = task.batch(step, config.batch_size)
                for group in optimizer.param_groups:
                    group["lr"] = config.learning_rate(step)
                loss_tensor = token_loss(model(inputs.to(device)), targets.to(device))
                optimizer.zero_grad(set_to_none=True)
                loss_tensor.backward()  # type: ignore[no-untyped-call]
                norm = nn.utils.clip_grad_norm_(model.parameters(), config.clip).item()
                loss = loss_tensor.item()
                if not (math.isfinite(loss) and math.isfinite(norm)):
                    raise RunError(_non_finite(step, loss, norm, config, folder))
                optimizer.step()
            state.log("train", step, {"loss": loss})
            state.step = step + 1
            state.train_seconds += session.last
            if state.step % config.eval_every == 0 or state.step == config.steps:
                evaluate_now()
                model.train()
            done = state.step - first_step
            show(
                Progress(
                    step=state.step,
                    steps=config.steps,
                    loss=loss,
                    tokens_per_second=done * tokens_per_step / session.total,
                    seconds_left=(config.steps - state.step) * session.total / done,
                    metrics=state.metrics(),
                    bytes_per_token=task.bytes_per_token,
                )
            )
            if state.step == config.steps or _reached(config, state):
                break
            if stopped():
                save()
                raise InterruptedRunError(_how_to_go_on(state.step, folder))
            if state.step % config.save_every == 0:
                save()

    model.eval()
    state.seconds = before + time.perf_counter() - started
    record = _make_record(model, config, identity, state, tokens_per_step)
    save(record)
    if folder is not None:
        record.save(folder)
    return record


def evaluate(model: Transformer, task: Task, *, batch_size: int = 32) -> dict[str, float]:
    """Measure a model on a task's held-out batches.

    Args:
        model: The model; its train or eval mode is as before afterwards.
        task: The task.
        batch_size: Sequences at once.

    Returns:
        As :func:`evaluate_batches`, and for text ``bits_per_byte``.
    """
    metrics = evaluate_batches(model, task.eval_batches(batch_size))
    if task.bytes_per_token is not None:
        metrics["bits_per_byte"] = metrics["loss"] / math.log(2) / task.bytes_per_token
    return metrics


@torch.inference_mode()
def evaluate_batches(model: Transformer, batches: Iterable[Batch]) -> dict[str, float]:
    """Measure a model on any batches.

    Args:
        model: The model; its train or eval mode is as before afterwards.
        batches: Inputs and targets.

    Returns:
        Over the scored tokens, images or sets: ``loss`` in nats for each, ``accuracy`` as share of
        them.
    """
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    loss, correct, count = 0.0, 0, 0
    try:
        for inputs, targets in batches:
            logits = model(inputs.to(device))
            targets = targets.to(device)
            scored = int((targets != IGNORED).sum())
            if scored:  # the mean over none is not a number
                loss += token_loss(logits, targets).item() * scored
            correct += int((logits.argmax(dim=-1) == targets).sum())
            count += scored
    finally:
        model.train(was_training)
    return {"loss": loss / count, "accuracy": correct / count}


def _reached(config: TrainConfig, state: RunState) -> bool:
    """Whether the evaluation that belongs to this very step reached the target."""
    if config.target_accuracy is None or state.history["eval_step"][-1] != state.step:
        return False
    return state.metrics()["accuracy"] >= config.target_accuracy


def _make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.lr, betas=(config.beta1, config.beta2), fused=True)


def _make_record(
    model: Transformer,
    config: TrainConfig,
    identity: dict[str, Any],
    state: RunState,
    tokens_per_step: int,
) -> RunRecord:
    weight = next(model.parameters())
    dtypes = {str(dtype).removeprefix("torch."): dtype for dtype in (torch.float16, weight.dtype)}
    return RunRecord(
        **identity,
        seed=config.seed,
        n_params=sum(parameter.numel() for parameter in model.parameters()),
        cache_bytes_per_token=(
            {name: bytes_per_token(model.config, dtype) for name, dtype in dtypes.items()}
            if model.config.causal
            else {}
        ),
        metrics=state.metrics(),
        history=state.history,
        versions=versions(),
        device=device_name(weight.device),
        cpu=cpu_name(),
        threads=torch.get_num_threads(),
        seconds=state.seconds,
        tokens_per_second=state.step * tokens_per_step / state.train_seconds,
    )


def _non_finite(
    step: int, loss: float, norm: float, config: TrainConfig, folder: Path | None
) -> str:
    kept = "" if folder is None else f" The last checkpoint in {folder} is from before it."
    return (
        f"at step {step} the loss is {loss} and the gradient's norm {norm}: training has come "
        f"apart.{kept} Try, in this order: a lower lr than {config.lr:g}, more warmup_steps than "
        f"{config.warmup_steps}, a smaller clip than {config.clip:g}."
    )


def _how_to_go_on(step: int, folder: Path | None) -> str:
    if folder is None:
        return f"stopped after step {step}. Nothing was saved: there was no folder (out)."
    return (
        f"stopped after step {step}; saved in {folder}. Go on with the same settings and "
        "resume=True (--resume)."
    )


# Time, Ctrl-C, and the progress bar


class _Stopwatch:
    """Adds up the time spent inside it."""

    def __init__(self) -> None:
        self.total = 0.0
        self.last = 0.0

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.last = time.perf_counter() - self._start
        self.total += self.last


@contextlib.contextmanager
def _stop_between_steps() -> Iterator[Callable[[], bool]]:
    """Hold the first Ctrl-C back until the step is whole; a second one strikes at once.

    Half an update must never be saved. Python handles signals in its main thread only.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    pressed = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        signal.signal(signal.SIGINT, previous)

    previous = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, previous)


@contextlib.contextmanager
def _bar_or(
    progress: Callable[[Progress], None] | None, steps: int, done: int
) -> Iterator[Callable[[Progress], None]]:
    """The caller's own callback, or a progress bar where someone watches."""
    if progress is not None:
        yield progress
        return
    form = "{percentage:3.0f}% {bar:20} {n_fmt}/{total_fmt} [{elapsed}, {remaining} left{postfix}]"
    with tqdm(
        total=steps,
        initial=done,
        bar_format=form,
        disable=not someone_watches(),
        mininterval=0.5,
        dynamic_ncols=True,
    ) as bar:

        def show(now: Progress) -> None:
            text = f"loss {now.loss:.3f}"
            if now.bytes_per_token is not None:
                text += f", {now.loss / math.log(2) / now.bytes_per_token:.3f} bits/byte"
            bar.set_postfix_str(f"{text}, {now.tokens_per_second:,.0f} tokens/s", refresh=False)
            bar.update()

        yield show
