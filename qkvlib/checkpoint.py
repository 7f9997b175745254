"""What a run has to keep so that it can go on as if it had never stopped.

One safetensors file holds the model, the optimizer and the random generator as tensors, and
everything else as JSON in its metadata, so that one rename replaces all of it at once.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Final

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from qkvlib.config import config_from_dict
from qkvlib.models import Transformer, build_model
from qkvlib.records import RECORD_FILE, RunRecord, write_atomically

CHECKPOINT_FILE: Final = "checkpoint.safetensors"
"""Name of the checkpoint in a run's folder."""

_METADATA_KEY: Final = "qkvlib"


class CheckpointError(ValueError):
    """A checkpoint cannot be used; the message says why and what to do."""


class RunError(ValueError):
    """A run cannot start, or cannot go on; the message says why and what to do."""


@dataclass
class RunState:
    """What changes during a run, beside model, optimizer and random generator."""

    step: int = 0
    history: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0
    train_seconds: float = 0.0

    def log(self, group: str, step: int, values: Mapping[str, float]) -> None:
        for name, value in {"step": step, **values}.items():
            self.history.setdefault(f"{group}_{name}", []).append(value)

    def metrics(self) -> dict[str, float]:
        """The latest evaluation."""
        return {
            name.removeprefix("eval_"): column[-1]
            for name, column in self.history.items()
            if name.startswith("eval_") and name != "eval_step"
        }


@dataclass
class Checkpoint:
    """One safetensors file: tensors by name, everything else as JSON in its metadata."""

    path: Path | None
    identity: dict[str, Any]
    state: RunState
    record: RunRecord | None
    tensors: dict[str, Tensor]

    @classmethod
    def take(
        cls,
        identity: dict[str, Any],
        state: RunState,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        record: RunRecord | None,
    ) -> Checkpoint:
        tensors = {f"model.{name}": tensor for name, tensor in distinct_state(model).items()}
        if record is None:
            for name, parameter in model.named_parameters():
                for key, value in optimizer.state[parameter].items():
                    tensors[f"optimizer.{key}.{name}"] = value
            tensors |= _random_state(next(model.parameters()).device)
        return cls(None, identity, state, record, tensors)

    def save(self, path: Path) -> None:
        metadata = {
            "identity": self.identity,
            "state": dataclasses.asdict(self.state),
            "record": None if self.record is None else self.record.to_dict(),
        }
        tensors = {name: t.detach().cpu().contiguous() for name, t in self.tensors.items()}
        data = safetensors.torch.save(tensors, {_METADATA_KEY: json.dumps(metadata)})
        write_atomically(path, data)

    @classmethod
    def load(cls, path: Path) -> Checkpoint:
        if path.suffix in {".pt", ".pth", ".pkl", ".pickle", ".bin", ".ckpt"}:
            raise CheckpointError(
                f"{path} is a pickle by its name, and opening a pickle can run any code that is in "
                "it. Only .safetensors files, which hold numbers and text, are read."
            )
        if not path.is_file():
            raise CheckpointError(
                f"there is no checkpoint {path}. Train one: qkv train text --out {path.parent}"
            )
        damaged = (
            f"{path} is damaged or cut short, or not a checkpoint of qkvlib. Put back a copy, or "
            "delete it and train again"
        )
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                metadata = json.loads((file.metadata() or {})[_METADATA_KEY])
                # A copy of its own for each tensor: none may keep the file mapped, because the
                # next checkpoint replaces it.
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
            record = metadata["record"]
            return cls(
                path,
                metadata["identity"],
                RunState(**metadata["state"]),
                None if record is None else RunRecord.from_dict(record),
                tensors,
            )
        except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{damaged} ({type(error).__name__}: {error}).") from error

    def check_same_run(self, identity: dict[str, Any]) -> None:
        """Refuse to go on with another model, other settings or other data."""
        # Where a file lies, and how often the run is saved, change no number.
        harmless = {"training": {"save_every"}, "task": {"files", "python"}}
        for group, new in identity.items():
            old = self.identity[group]
            if group == "model":  # one written before a field existed means that field's default
                old = config_from_dict(old).to_dict()
            for name in dict.fromkeys([*old, *new]):
                if name in harmless.get(group, ()) or old.get(name) == new.get(name):
                    continue
                raise RunError(
                    f"the run in {self.path and self.path.parent} has {group} {name}="
                    f"{old.get(name)!r}, but {new.get(name)!r} was given. Resume it with "
                    "its own settings and data, or start a new run in another folder."
                )

    def restore(self, model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Put the saved tensors back; without an optimizer, those of the model only."""
        own = {name: tensor.detach() for name, tensor in distinct_state(model).items()}
        saved = self._part("model.")
        if own.keys() != saved.keys() or any(own[n].shape != saved[n].shape for n in own):
            raise CheckpointError(
                f"the tensors in {self.path} are not those of its model: it was changed, or "
                "written by another version. Train again in another folder."
            )
        for name, tensor in own.items():
            tensor.copy_(saved[name])
        if optimizer is None or self.record is not None:
            return
        for key in ("step", "exp_avg", "exp_avg_sq"):
            moments = self._part(f"optimizer.{key}.")
            if self.state.step == 0:
                continue  # AdamW makes its state at the first update
            for name, parameter in model.named_parameters():
                if name not in moments:
                    if not parameter.requires_grad:
                        continue  # frozen: AdamW has never seen it
                    raise CheckpointError(
                        f"{self.path} lacks AdamW's {key} of {name}. Train again in another folder."
                    )
                optimizer.state[parameter][key] = moments[name].to(parameter.device)
        _set_random_state(self.tensors, next(model.parameters()).device)

    def _part(self, prefix: str) -> dict[str, Tensor]:
        return {
            name.removeprefix(prefix): tensor
            for name, tensor in self.tensors.items()
            if name.startswith(prefix)
        }


def distinct_state(model: nn.Module) -> dict[str, Tensor]:
    """The model's tensors, each once: safetensors refuses two names for one tensor."""
    distinct: dict[int, tuple[str, Tensor]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        distinct.setdefault(id(tensor), (name, tensor))
    return dict(distinct.values())


def _random_state(device: torch.device) -> dict[str, Tensor]:
    state = {"random.cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["random.cuda"] = torch.cuda.get_rng_state(device)
    return state


def _set_random_state(tensors: Mapping[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(tensors["random.cpu"])
    if "random.cuda" in tensors and device.type == "cuda":
        torch.cuda.set_rng_state(tensors["random.cuda"], device)


def find_run(folder: Path, resume: bool) -> Path | None:
    """The checkpoint to go on from; ``None`` if the folder holds no run."""
    if folder.exists() and not folder.is_dir():
        raise RunError(f"out={folder} is a file. Name a folder; it is made if need be.")
    checkpoint, record = folder / CHECKPOINT_FILE, folder / RECORD_FILE
    if not resume and (checkpoint.exists() or record.exists()):
        raise RunError(
            f"{folder} holds a run already. Go on with it: resume=True (--resume); or name another "
            "folder: out (--out)."
        )
    if not checkpoint.exists() and record.exists():
        raise RunError(
            f"{folder} has a record but no {CHECKPOINT_FILE}, so there is nothing to resume. Put "
            "the checkpoint back, or name another folder: out (--out)."
        )
    return checkpoint if checkpoint.exists() else None


def load_checkpoint(path: str | PathLike[str]) -> Transformer:
    """Rebuild a trained model from its checkpoint.

    Args:
        path: A ``.safetensors`` file that :func:`train` wrote, or the run's folder.

    Returns:
        The model, in eval mode, on the CPU.

    Raises:
        CheckpointError: If there is no checkpoint, it is damaged, or of another kind.
    """
    path = Path(path)
    checkpoint = Checkpoint.load(path / CHECKPOINT_FILE if path.is_dir() else path)
    try:
        model = build_model(config_from_dict(checkpoint.identity["model"]))
    except ValueError as error:
        raise CheckpointError(f"{path} holds a model that cannot be built: {error}") from error
    checkpoint.restore(model)
    return model.eval()
