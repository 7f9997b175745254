"""The course's experiments by name: which runs each needs, and what is kept of them.

``qkv sweep NAME`` runs one, ``make results`` all. The runs of an experiment differ only by what it
asks about; recipe, data and seeds are the same for every variant.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import torch

from qkvlib.accounting import count_parameters
from qkvlib.analysis import asymmetry, self_attention_share
from qkvlib.config import ModelConfig, SetConfig, StackConfig, ViTConfig, get_config
from qkvlib.models import Transformer
from qkvlib.records import RunRecord, load_records, load_rows, save_records, save_rows
from qkvlib.sharing import SHARINGS, look_up
from qkvlib.sweep import Job, SweepError, read_finished, run_jobs
from qkvlib.task_maps import measure_task_maps
from qkvlib.tasks import Task
from qkvlib.tasks.anomaly import SET_SIZE, SetTask
from qkvlib.tasks.padded import PaddedTextTask
from qkvlib.tasks.synthetic import TASKS, SyntheticTask
from qkvlib.tasks.text import TextTask
from qkvlib.tasks.vision import VisionTask
from qkvlib.training import TrainConfig, evaluate_batches

SIX_VARIANTS: Final = ("QKV", "Q=K-V", "(Q=K-V)+", "Q-K=V", "Q=K=V", "(Q=K=V)+")
"""The variants of a model that sees the whole list, in the paper's order."""

SEEDS: Final = range(5)

Column = Callable[[RunRecord], Any]


@dataclass(frozen=True)
class Experiment:
    """A question, the runs that answer it, and what is kept of them.

    Attributes:
        name: Also the name of its file in ``data/results``.
        about: What it asks and how, for the head of the file.
        make_jobs: The runs.
        columns: Name -> what to keep of a record, one row per run. ``None`` keeps whole records.
        device: What it is made for: on ``"cpu"`` two cores have it done in hours.
    """

    name: str
    about: str
    make_jobs: Callable[[], list[Job]]
    columns: Mapping[str, Column] | None = None
    device: str = "cpu"

    def jobs(self, patterns: Sequence[str] = ()) -> list[Job]:
        """Return the runs, or those whose names fit one of the patterns.

        Args:
            patterns: As in a shell: ``"REVERSE/*"``, ``"*/seed-0"``.

        Raises:
            SweepError: If a pattern fits no run.
        """
        jobs = self.make_jobs()
        for pattern in patterns:
            if not any(fnmatchcase(job.name, pattern) for job in jobs):
                raise SweepError(
                    f"no run of {self.name} is called {pattern!r}. They are called like "
                    f"{jobs[0].name!r} and {jobs[-1].name!r}; * stands for anything."
                )
        return [
            job
            for job in jobs
            if not patterns or any(fnmatchcase(job.name, pattern) for pattern in patterns)
        ]

    def run(
        self,
        runs: str | PathLike[str],
        *,
        processes: int = 1,
        patterns: Sequence[str] = (),
        device: str = "cpu",
    ) -> None:
        """Run what is not finished yet.

        Args:
            runs: The folder of all sweeps; this one gets its own below.
            processes: Runs side by side.
            patterns: As for :meth:`jobs`.
            device: Where they train, ``"cpu"`` or ``"cuda"``.
        """
        run_jobs(self.jobs(patterns), Path(runs) / self.name, processes=processes, device=device)

    def collect(self, runs: str | PathLike[str], results: str | PathLike[str]) -> Path:
        """Put what is kept of the finished runs into one file.

        Args:
            runs: As for :meth:`run`.
            results: The folder of the file.

        Returns:
            The file.

        Raises:
            SweepError: If the file is there already and holds more runs than are finished here: a
                sweep that has just begun must not take the place of a whole one.
        """
        finished = read_finished(Path(runs) / self.name)
        jobs = self.jobs()
        records = [finished[job.key] for job in jobs if job.key in finished]
        path = Path(results) / f"{self.name}.json"
        if len(records) < len(jobs) and (there := self._runs_in(path)) > len(records):
            raise SweepError(
                f"{path} holds {there} runs, and only {len(records)} of {len(jobs)} are finished "
                f"in {Path(runs) / self.name}, so it stays as it is. Finish the sweep, or choose "
                "another folder for its results."
            )
        if self.columns is None:
            # The hash says which text it was; its list of files stands in the source.
            slim = [replace(r, task=_without_files(r.task)).trimmed(_LOSS_EVERY) for r in records]
            save_records(slim, path)
        else:
            rows = [{name: take(r) for name, take in self.columns.items()} for r in records]
            save_rows(rows, path, about=self.about, recipe=_recipe(records))
        return path

    def _runs_in(self, path: Path) -> int:
        if not path.exists():
            return 0
        return len(load_records(path) if self.columns is None else load_rows(path).rows)


_LOSS_EVERY: Final = 20  # steps between the training losses that a collected record keeps


def _without_files(task: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in task.items() if key != "files"}


def _recipe(records: Sequence[RunRecord]) -> dict[str, Any]:
    """What all runs have in common: of settings, data, versions and machine."""
    common: dict[str, Any] = {}
    for group in ("model", "training", "task", "versions"):
        dicts = [getattr(record, group) for record in records]
        shared = {
            key: value
            for key, value in (dicts[0] if dicts else {}).items()
            if all(other.get(key) == value for other in dicts)
        }
        common[group] = shared
    for name in ("cpu", "device", "threads"):
        common[name] = sorted({str(getattr(record, name)) for record in records})
    common["seconds"] = round(sum(record.seconds for record in records))
    return common


# Language models on text

_MAP_WINDOWS: Final = 8  # held-out windows whose attention maps are measured
_EVAL_WINDOWS: Final = 256  # of 128 bytes: 32 kB of held-out text, the same for every run


@torch.inference_mode()
def measure_maps(model: Transformer, task: Task) -> dict[str, Any]:
    """Measure scores and weights on the first held-out windows.

    Returns:
        ``asymmetry`` of the scores and ``self_attention`` (mean weight on the diagonal), each a
        list of layers, each a list of heads; means over the windows.
    """
    inputs, _ = next(iter(task.eval_batches(_MAP_WINDOWS)))
    model.eval()
    _, layers = model(inputs.to(next(model.parameters()).device), return_attention=True)
    return {
        "asymmetry": [asymmetry(maps.scores).mean(dim=0).tolist() for maps in layers],
        "self_attention": [
            self_attention_share(maps.weights).mean(dim=0).tolist() for maps in layers
        ],
    }


def _text_jobs(variants: Sequence[str], seeds: Sequence[int] = SEEDS, **text: Any) -> list[Job]:
    """The lessons' GPT on the default text or another, the same recipe for every variant."""
    small = get_config("small")
    return [
        Job(
            name=f"{variant}/seed-{seed}",
            model=small.replace(variant=variant),
            training=TrainConfig(steps=2000, batch_size=16, lr=2e-3, eval_every=100, seed=seed),
            task=functools.partial(
                TextTask, small.max_seq_len, seed=seed, eval_windows=_EVAL_WINDOWS, **text
            ),
            measure=measure_maps,
            checkpoints=True,
        )
        for seed in seeds
        for variant in variants
    ]


def _four_tyings() -> list[Job]:
    return _text_jobs(tuple(SHARINGS))


def _head_sharing() -> list[Job]:
    return _text_jobs(("GQA-2", "MQA", "Q-MQA", "Q-GQA-2"))


EIGHT_VARIANTS: Final = ("QKV", "Q-K=V", "Q=K-V", "Q=K=V", "GQA-2", "MQA", "Q-GQA-2", "Q-MQA")
"""The variants of the paper's table of language models; GQA-2 of our 4 heads stands for GQA-4 of
16."""


def _shakespeare() -> list[Job]:
    """The recipe of four_tyings on another text."""
    return _text_jobs(EIGHT_VARIANTS, range(3), text="tinyshakespeare")


def matched_config(config: ModelConfig) -> ModelConfig:
    """Widen the MLP of a tied model until it has as many parameters as QKV with MHA.

    Args:
        config: A tied model whose ``d_ff`` is that of the untied one.

    Returns:
        The configuration whose number of parameters is nearest to that of QKV.
    """
    wanted = count_parameters(config.replace(variant="QKV"))
    column = config.n_layers * (2 * config.d_model + config.bias)  # what one more of d_ff costs
    missing = wanted - count_parameters(config)
    return config.replace(d_ff=config.d_ff + round(missing / column))


def _matched() -> list[Job]:
    """The recipe of four_tyings; what a tie saves is given back to the MLP."""
    return [
        replace(job, model=matched_config(job.model))
        for job in _text_jobs(EIGHT_VARIANTS[1:], range(3))
        if isinstance(job.model, ModelConfig)
    ]


def measure_padding(model: Transformer, task: Task) -> dict[str, Any]:
    """Measure the loss on held-out paragraphs, with padding and without it."""
    assert isinstance(task, PaddedTextTask)
    return {
        name: evaluate_batches(model, task.eval_batches(64, score_padding=scored))["loss"]
        for name, scored in (("padded", True), ("unpadded", False))
    }


def _padding() -> list[Job]:
    """Both ways of training, each scored in both ways."""
    small = get_config("small")
    return [
        Job(
            name=f"{variant}/{'scored' if scored else 'left-out'}/seed-{seed}",
            model=small.replace(variant=variant),
            training=TrainConfig(steps=1500, batch_size=16, lr=2e-3, eval_every=500, seed=seed),
            task=functools.partial(
                PaddedTextTask, small.max_seq_len, score_padding=scored, seed=seed
            ),
            measure=measure_padding,
            checkpoints=True,
        )
        for seed in range(3)
        for scored in (True, False)
        for variant in ("QKV", "Q-K=V", "MQA", "Q=K=V")
    ]


GAP_VARIANTS: Final = ("QKV", "Q-K=V", "MQA", "Q-MQA", "Q=K=V")
"""The variants whose gap to QKV is followed over tokens, width and context."""

GAP_MAIN: Final = (64, 128)
"""Width and context of the models that are trained longest."""

GAP_SHAPES: Final = (GAP_MAIN, (32, 128), (128, 128), (64, 64), (64, 256))
"""Width and context of all of them."""

TOKENS_PER_STEP: Final = 2048
"""Of the runs that show how the gap moves, whatever their context."""

GAP_STEPS: Final = 2000
"""Of all of these runs but those of the main shape, which go on for longer."""

_GAP_EVAL_BYTES: Final = 65_536


GAP_WIDE_SHAPES: Final = tuple((d_model, 128) for d_model in (128, 256, 512))
"""Width and context of models that take a GPU; the first is also among those of the CPU."""

GAP_RATES: Final = (1e-3, 3e-4)
"""Learning rates of the models that take a GPU; the first is that of the CPU's."""


def _gap_jobs(
    shapes: Sequence[tuple[int, int]], lr: float, longer: Mapping[tuple[int, int], int]
) -> list[Job]:
    """One learning rate to the end, so that every evaluation is that of a run of so many tokens."""
    jobs = []
    for seed, (d_model, context) in itertools.product(range(3), shapes):
        for variant in GAP_VARIANTS:
            training = TrainConfig(
                steps=longer.get((d_model, context), GAP_STEPS),
                batch_size=TOKENS_PER_STEP // context,
                lr=lr,
                min_lr=lr,
                warmup_steps=100,
                eval_every=250,
                save_every=500,
                seed=seed,
            )
            model = get_config("small").replace(d_model=d_model, max_seq_len=context)
            jobs.append(
                Job(
                    name=f"{variant}/d{d_model}-n{context}/seed-{seed}",
                    model=model.replace(variant=variant),
                    training=training,
                    task=functools.partial(
                        TextTask, context, seed=seed, eval_windows=_GAP_EVAL_BYTES // context
                    ),
                    checkpoints=True,
                )
            )
    return jobs


def _gap() -> list[Job]:
    return _gap_jobs(GAP_SHAPES, GAP_RATES[0], {GAP_MAIN: 5000})


def _gap_wide() -> list[Job]:
    return [
        replace(job, name=f"{job.name}/lr-{lr:g}")
        for lr in GAP_RATES
        for job in _gap_jobs(GAP_WIDE_SHAPES, lr, {})
    ]


# Encoders on synthetic lists

GRID: Final = tuple(
    {"length": length, "d_model": d_model, "n_layers": n_layers, "n_heads": n_heads}
    for length, d_model, n_layers, n_heads in itertools.product(
        (16, 64, 128), (32, 64), (1, 2), (2, 4)
    )
)
"""The settings of the synthetic sweep: a subset of the paper's grid that two cores can repeat."""

_TOKENS_PER_STEP: Final = 512


def _encoder_job(
    name: str,
    task_name: str,
    variant: str,
    seed: int,
    *,
    length: int,
    training: TrainConfig,
    eval_lists: int,
    **shape: Any,
) -> Job:
    task = functools.partial(SyntheticTask, task_name, length, seed=seed, eval_lists=eval_lists)
    config = ModelConfig(
        **shape,
        vocab_size=task().vocab_size,
        max_seq_len=length,
        causal=False,
        tie_embeddings=False,  # tied, an untrained model solves most of COPY
    )
    return Job(
        name=name,
        model=config.replace(variant=variant),
        training=replace(training, seed=seed),
        task=task,
    )


def _steady(steps: int, lr: float, batch_size: int, **more: Any) -> TrainConfig:
    """A short warm-up, then one learning rate: step 100 means the same in every run."""
    return TrainConfig(
        steps=steps, batch_size=batch_size, lr=lr, min_lr=lr, warmup_steps=20,
        **{"eval_every": steps, "save_every": steps} | more,
    )  # fmt: skip


def _synthetic() -> list[Job]:
    return [
        _encoder_job(
            f"{task_name}/{variant}/n{setting['length']}-d{setting['d_model']}"
            f"-l{setting['n_layers']}-h{setting['n_heads']}/seed-{seed}",
            task_name,
            variant,
            seed,
            training=_steady(200, 3e-3, _TOKENS_PER_STEP // setting["length"]),
            eval_lists=128,
            **setting,
        )
        for seed in SEEDS
        for task_name in TASKS
        for setting in GRID
        for variant in SIX_VARIANTS
    ]


def _synthetic_race() -> list[Job]:
    return [
        _encoder_job(
            f"{task_name}/{variant}/seed-{seed}",
            task_name,
            variant,
            seed,
            length=16,
            training=_steady(1000, 1e-3, 32, eval_every=10, target_accuracy=0.99),
            eval_lists=128,
            d_model=64,
            n_layers=2,
            n_heads=4,
        )
        for seed in SEEDS
        for task_name in TASKS
        for variant in SIX_VARIANTS
    ]


def _task_maps() -> list[Job]:
    """One layer, so that a map is the whole story; one head, then two."""
    return [
        replace(
            _encoder_job(
                f"{task_name}/{variant}/h{n_heads}/seed-{seed}",
                task_name,
                variant,
                seed,
                length=16,
                training=_steady(300, 3e-3, 32),
                eval_lists=128,
                d_model=64,
                n_layers=1,
                n_heads=n_heads,
            ),
            measure=measure_task_maps,
        )
        for n_heads in (1, 2)
        for task_name in TASKS
        for variant in SIX_VARIANTS
        for seed in SEEDS
    ]


def _recall_job(
    part: str, variant: str, pairs: int, head_dim: int, n_layers: int, out_proj: bool, seed: int
) -> Job:
    return _encoder_job(
        f"{part}/{variant}/pairs-{pairs}/head_dim-{head_dim}/seed-{seed}",
        "RECALL",
        variant,
        seed,
        length=2 * pairs,
        # With one learning rate to the end, the luck of the last steps would hide the head's width.
        training=TrainConfig(steps=1000, lr=1e-3, eval_every=1000, save_every=1000),
        eval_lists=256,
        d_model=64,
        n_layers=n_layers,
        n_heads=1,
        head_dim=head_dim,
        out_proj=out_proj,
    )


def _recall() -> list[Job]:
    two = ("QKV", "Q-K=V")
    jobs = []
    for seed in SEEDS:
        for variant, pairs, head_dim in itertools.product(two, (8, 16), (1, 2, 3, 4, 8, 16)):
            jobs.append(_recall_job("one-layer", variant, pairs, head_dim, 1, True, seed))
        for variant, head_dim in itertools.product(two, (1, 2, 4)):
            jobs.append(_recall_job("two-layers", variant, 16, head_dim, 2, True, seed))
        for variant, out_proj in itertools.product(two, (True, False)):
            part = "with-out_proj" if out_proj else "without-out_proj"
            jobs.append(_recall_job(part, variant, 16, 64, 1, out_proj, seed))
    return jobs


# Vision transformers on images

VISION_SEEDS: Final = range(3)

VISION: Final = "vision_"
"""Begins the names of the experiments on a set of images."""


@dataclass(frozen=True, kw_only=True)
class VisionRecipe:
    """How the vision transformers of one set of images are made and trained.

    Attributes:
        model: The model, sharing QKV.
        epochs: Passes over the training images.
        n_train: Training images.
        lr: Highest learning rate.
        shift: Pixels by which training images are moved, see :class:`~qkvlib.VisionTask`.
        flip: Whether training images are mirrored half of the time.
    """

    model: ViTConfig
    epochs: int
    n_train: int
    lr: float = 2e-3
    shift: int = 0
    flip: bool = False

    @property
    def training(self) -> TrainConfig:
        """The loop's settings; evaluated five times on the way."""
        steps = self.epochs * -(-self.n_train // _IMAGES_PER_STEP)
        return TrainConfig(
            steps=steps,
            batch_size=_IMAGES_PER_STEP,
            lr=self.lr,
            weight_decay=0.05,
            eval_every=-(-steps // 5),
            save_every=500,
        )


_IMAGES_PER_STEP: Final = 64
_FIT_IMAGES: Final = 2000  # training images on which the fit is measured, unchanged


def _vit(
    image_size: int, patch_size: int, n_channels: int, n_classes: int, **changes: Any
) -> ViTConfig:
    """The paper's small vision transformer: 2 layers, 4 heads."""
    return ViTConfig(
        d_model=64,
        n_layers=2,
        n_heads=4,
        image_size=image_size,
        patch_size=patch_size,
        n_channels=n_channels,
        n_classes=n_classes,
        **changes,
    )


VISION_RECIPES: Final[Mapping[str, VisionRecipe]] = MappingProxyType(
    {
        "mnist": VisionRecipe(model=_vit(28, 7, 1, 10), epochs=5, n_train=60_000),
        "fashion-mnist": VisionRecipe(
            model=_vit(28, 7, 1, 10), epochs=5, n_train=60_000, flip=True
        ),
        "cifar10": VisionRecipe(
            # Learned positions are slower to start with: .547 against .563 after four passes.
            model=_vit(32, 4, 3, 10, position="sinusoidal_2d"),
            epochs=10,
            n_train=50_000,
            flip=True,
        ),
        "tiny-imagenet-20": VisionRecipe(
            model=_vit(64, 8, 3, 20), epochs=20, n_train=10_000, shift=6, flip=True
        ),
    }
)
"""Set of images -> recipe, the same for every variant.

:meta hide-value:
"""


def measure_fit(model: Transformer, task: Task) -> dict[str, Any]:
    """Measure loss and accuracy on training images, unchanged: how well they are remembered."""
    assert isinstance(task, VisionTask)
    return evaluate_batches(model, task.train_batches(250, _FIT_IMAGES))


def _vision_job(
    name: str, images: str, model: StackConfig, training: TrainConfig, seed: int, **changes: Any
) -> Job:
    return Job(
        name=name,
        model=model,
        training=replace(training, seed=seed),
        task=functools.partial(VisionTask, images, seed=seed, **changes),
        measure=measure_fit,
        checkpoints=True,
    )


def _vision(images: str) -> list[Job]:
    recipe = VISION_RECIPES[images]
    return [
        _vision_job(
            f"{variant}/seed-{seed}",
            images,
            recipe.model.replace(variant=variant),
            recipe.training,
            seed,
            shift=recipe.shift,
            flip=recipe.flip,
        )
        for seed in VISION_SEEDS
        for variant in SIX_VARIANTS
    ]


_PLACES: Final = (
    *(("QKV", position, "grid") for position in ("none", "learned", "sinusoidal", "sinusoidal_2d")),
    *(
        (variant, position, plus_position)
        for variant in ("Q=K-V", "Q=K=V")
        for position in ("none", "learned")
        for plus_position in (None, "none", "index", "grid")
    ),
)
"""Variant, positions added to the patches, and what (X)+ is told, ``None`` without it."""


def _image_positions() -> list[Job]:
    recipe = VisionRecipe(model=_vit(28, 4, 1, 10), epochs=6, n_train=10_000, shift=1, flip=True)
    jobs = []
    for seed, (variant, position, plus) in itertools.product(VISION_SEEDS, _PLACES):
        model = recipe.model.replace(variant=variant, position=position)
        name = f"{variant}/{position}"
        if variant != "QKV":
            name += f"/plus-{plus}" if plus else "/plain"
            if plus:
                model = model.replace(variant=f"({variant})+", plus_position=plus)
        jobs.append(
            _vision_job(
                f"{name}/seed-{seed}",
                "fashion-small",
                model,
                recipe.training,
                seed,
                shift=recipe.shift,
                flip=recipe.flip,
            )
        )
    return jobs


# Set encoders: odd one out


def _odd_one_out() -> list[Job]:
    jobs = []
    for images, n_features in (("mnist", 64), ("cifar10", 128)):
        config = SetConfig(
            d_model=64, n_layers=2, n_heads=4, n_features=n_features, max_seq_len=SET_SIZE
        )
        for seed, variant in itertools.product(SEEDS, SIX_VARIANTS):
            model = config.replace(variant=variant)
            # Of (X)+ a learned factor on the scores is left where it is not told the places.
            controls = ("index", "none") if model.plus_channels else ("index",)
            for plus_position in controls:
                suffix = "" if plus_position == "index" else ", no places"
                jobs.append(
                    Job(
                        name=f"{images}/{variant}{suffix}/seed-{seed}",
                        model=model.replace(plus_position=plus_position),
                        training=TrainConfig(
                            steps=1500, batch_size=64, eval_every=300, save_every=1500, seed=seed
                        ),
                        task=functools.partial(SetTask, images, seed=seed),
                    )
                )
    return jobs


def _of_model(name: str) -> Column:
    return lambda record: record.model[name]


def _rounded_metric(name: str) -> Column:
    return lambda record: round(record.metrics[name], 5)


_WHO: Final[dict[str, Column]] = {
    "variant": lambda record: record.variant.name,
    "seed": lambda record: record.seed,
}
_OUTCOME: Final[dict[str, Column]] = {
    "accuracy": _rounded_metric("accuracy"),
    "loss": _rounded_metric("loss"),
}
_TASK: Final[dict[str, Column]] = {
    "task": lambda record: record.task["name"],
    "length": lambda record: record.task["seq_len"],
}


def _of_first_seed(name: str) -> Column:
    """What the maps' readers look at; of the other seeds the accuracy is enough."""
    return lambda record: record.extra["trained"][name] if record.seed == SEEDS[0] else None


def _seconds_per_epoch(record: RunRecord) -> float:
    """Training time of one pass over the images."""
    positions = int(record.task["n_train"]) * record.config.max_seq_len
    return round(positions / record.tokens_per_second, 2)


def _fit(name: str) -> Column:
    return lambda record: round(record.extra["trained"][name], 5)


_IMAGES: Final[dict[str, Column]] = {
    "task": lambda record: record.task["name"],
    **_WHO,
    **_OUTCOME,
    "train_accuracy": _fit("accuracy"),
    "train_loss": _fit("loss"),
    "n_params": lambda record: record.n_params,
    "seconds_per_epoch": _seconds_per_epoch,
}


_BITS: Final[dict[str, Column]] = {
    **_WHO,
    "loss": _rounded_metric("loss"),
    "bits_per_byte": _rounded_metric("bits_per_byte"),
    "n_params": lambda record: record.n_params,
    "bytes_per_token": lambda record: record.cache_bytes_per_token["float16"],
}


def _curve(name: str) -> Column:
    """An evaluation's numbers, from the first to the last."""
    return lambda record: [round(value, 5) for value in record.history[name]]


def _steps_to_target(record: RunRecord) -> int | None:
    """Updates until the target was reached; ``None`` if it was not."""
    reached = record.metrics["accuracy"] >= record.training["target_accuracy"]
    return int(record.history["eval_step"][-1]) if reached else None


_GAP_COLUMNS: Final[dict[str, Column]] = (
    {"d_model": _of_model("d_model"), "context": _of_model("max_seq_len")}
    | _BITS
    | {"eval_step": lambda record: record.history["eval_step"]}
    | {"eval_loss": _curve("eval_loss")}
)


EXPERIMENTS: Final[Mapping[str, Experiment]] = MappingProxyType(
    {
        experiment.name: experiment
        for experiment in (
            Experiment(
                "four_tyings",
                "The four sharings: the lessons' GPT on the source of Python's standard library.",
                _four_tyings,
            ),
            Experiment(
                "head_sharing",
                "Fewer KV heads, for QKV and Q-K=V: recipe, text and seeds of four_tyings.",
                _head_sharing,
            ),
            Experiment(
                "shakespeare",
                "The paper's eight configurations on Tiny Shakespeare; recipe of four_tyings.",
                _shakespeare,
                _BITS,
            ),
            Experiment(
                "matched",
                "Text and recipe of four_tyings, the MLP widened until each tied model has as many "
                "parameters as QKV.",
                _matched,
                _BITS | {"d_ff": _of_model("d_ff")},
            ),
            Experiment(
                "padding",
                "The lessons' GPT on paragraphs of the standard library's source, padded to one "
                "length; trained with padding scored or left out, and measured both ways.",
                _padding,
                {
                    "score_padding": lambda record: record.task["score_padding"],
                    "padding_share": lambda record: record.task["padding_share"],
                }
                | _WHO
                | {name: _fit(name) for name in ("padded", "unpadded")},
            ),
            Experiment(
                "gap",
                "How far tied GPTs fall behind QKV on the source of Python's standard library: "
                "over tokens, over width, over context. One learning rate from start to end.",
                _gap,
                _GAP_COLUMNS,
            ),
            Experiment(
                "gap_wide",
                "The recipe of gap for wider models, for a GPU: qkv sweep gap_wide --device cuda. "
                "Width 128 is there on both, to see what the machine changes.",
                _gap_wide,
                _GAP_COLUMNS | {"lr": lambda record: record.training["lr"]},
                device="cuda",
            ),
            Experiment(
                "synthetic",
                "Accuracy of an encoder after 200 steps of 512 tokens, over a grid of settings.",
                _synthetic,
                _TASK
                | _WHO
                | {name: _of_model(name) for name in ("d_model", "n_layers", "n_heads")}
                | _OUTCOME,
            ),
            Experiment(
                "synthetic_race",
                "Steps until an encoder (d_model 64, 2 layers, 4 heads, lists of 16) gets 99 % of "
                "held-out tokens right, looked at every 10 steps; null where 1000 did not do.",
                _synthetic_race,
                _TASK | _WHO | {"steps_to_99": _steps_to_target} | _OUTCOME,
            ),
            Experiment(
                "task_maps",
                "Where encoders of one layer look after 300 steps, for every task and variant: "
                "answers and maps on the first held-out lists.",
                _task_maps,
                _TASK
                | _WHO
                | {name: _of_model(name) for name in ("n_layers", "n_heads")}
                | _OUTCOME
                | {name: _of_first_seed(name) for name in ("answers", "maps")},
            ),
            Experiment(
                "recall",
                "Associative recall by an encoder with one head after 1000 steps: how many pairs "
                "a head of how many numbers tells apart, with one layer or two, with and without "
                "an output projection.",
                _recall,
                {"pairs": lambda record: record.task["seq_len"] // 2}
                | _WHO
                | {name: _of_model(name) for name in ("head_dim", "n_layers", "out_proj")}
                | _OUTCOME,
            ),
            *(
                Experiment(
                    f"{VISION}{images}",
                    f"Small vision transformers on {images}: {recipe.epochs} passes over the "
                    "training images for every variant; the fit is that of 2,000 of them, "
                    "unchanged.",
                    functools.partial(_vision, images),
                    _IMAGES | {"source": lambda record: record.task["source"]},
                )
                for images, recipe in VISION_RECIPES.items()
            ),
            Experiment(
                "image_positions",
                "What tells a vision transformer where a patch is: vectors added to the patches, "
                "(X)+ told numbers or (row, col), or neither; on the embedded clothes.",
                _image_positions,
                _IMAGES
                | {name: _of_model(name) for name in ("position", "plus_position")}
                | {"plus": lambda record: bool(record.model["plus_channels"])},
            ),
            Experiment(
                "odd_one_out",
                "Nine of one class and one of another, described by a frozen encoder that never "
                "saw these classes; (X)+ told the places, or told nothing.",
                _odd_one_out,
                {"task": lambda record: record.task["name"]}
                | _WHO
                | {"plus_position": _of_model("plus_position")}
                | _OUTCOME
                | {"n_params": lambda record: record.n_params},
            ),
        )
    }
)
"""Name -> experiment, in the order in which the lessons need them.

:meta hide-value:
"""


def get_experiment(name: str) -> Experiment:
    """Look an experiment up by name.

    Raises:
        UnknownNameError: If there is none of that name; the message offers the nearest.
    """
    return look_up("experiment", name, EXPERIMENTS)
