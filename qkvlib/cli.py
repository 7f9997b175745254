"""``qkv``: the course at the command line.

Every command has ``--json``; standard output is then JSON and nothing else. What goes wrong is said
in one message on standard error with exit status 2; ``QKV_DEBUG=1`` shows the traceback instead.
PyTorch is imported inside the commands, so that ``qkv --help`` answers at once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from qkvlib.config import StackConfig
    from qkvlib.records import RunRecord
    from qkvlib.tasks import Task
    from qkvlib.tasks.images import ImageSet

F = TypeVar("F", bound=Callable[..., Any])
C = TypeVar("C", bound="StackConfig")

INTERRUPTED = 130  # 128 + SIGINT, as shells have it


class _Commands(click.Group):
    """A group whose commands answer a mistake with one message instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            click.echo(f"\n{stop}" if str(stop) else "\nstopped", err=True)
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:
            raise  # click knows what to do when a reader such as head has seen enough
        except (ValueError, OSError, ModuleNotFoundError) as error:
            if os.environ.get("QKV_DEBUG"):
                raise
            click.echo(f"Error: {error}", err=True)
            ctx.exit(2)


def _json_option(command: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")(
        command
    )


def _print_json(data: Any) -> None:
    click.echo(json.dumps(data, indent=1))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="qkvlib", prog_name="qkv")
def main() -> None:
    """Transformers with tied query, key and value projections: train them, watch their caches."""


@main.command()
@_json_option
def doctor(as_json: bool) -> None:
    """Check this machine, and say how to mend it."""
    from qkvlib import doctor as clinic

    checks = clinic.examine()
    if as_json:
        _print_json(clinic.to_dict(checks))
    else:
        click.echo(clinic.report(checks))
    raise SystemExit(1 if clinic.summary(checks) == "fail" else 0)


@main.command()
@click.option("--config", "name", default="300M", show_default=True, help="300M, 1.2B or small.")
@click.option("--tokens", default=32768, show_default=True, help="Tokens in the cache.")
@click.option("--dtype", default="float16", show_default=True, help="Number format of the cache.")
@click.option("--binary", is_flag=True, help="Powers of two (MiB) instead of ten (MB).")
@_json_option
def cache(name: str, tokens: int, dtype: str, binary: bool, as_json: bool) -> None:
    """Print the KV caches of eight configurations.

    The paper's four tyings, GQA, MQA and both together: bytes per token, in all, and share saved.
    """
    from qkvlib.accounting import cache_table, parse_dtype

    table = cache_table(name, tokens, dtype=parse_dtype(dtype))
    if as_json:
        _print_json(table.to_dict())
    else:
        click.echo(table.to_text(binary=binary))


@main.command()
@click.option("--config", "name", default="300M", show_default=True, help="300M, 1.2B or small.")
@_json_option
def params(name: str, as_json: bool) -> None:
    """Count the parameters of the same eight."""
    from qkvlib.accounting import cache_table, count_parameters
    from qkvlib.config import get_config
    from qkvlib.text_table import aligned

    config = get_config(name)
    variants = [config.replace(variant=row.name) for row in cache_table(config, 0).rows]
    counts = [count_parameters(variant) for variant in variants]
    if as_json:
        rows = [
            {
                "name": variant.variant.name,
                "sharing": variant.sharing.name,
                "n_kv_heads": variant.n_kv_heads,
                "parameters": count,
            }
            for variant, count in zip(variants, counts, strict=True)
        ]
        _print_json({"config": name, "rows": rows})
        return
    lines = [("name", "parameters", "fewer than QKV")]
    lines += [
        (
            f"{variant.variant.name}  {variant.variant.tuple_form}",
            f"{count:,}",
            f"{100 * (1 - count / counts[0]):.1f} %",
        )
        for variant, count in zip(variants, counts, strict=True)
    ]
    click.echo(aligned(lines))


@main.group()
def train() -> None:
    """Train a model on a task."""


def _training_options(command: F) -> F:
    options = [
        click.option(
            "--sharing", default="QKV", show_default=True,
            help="QKV, Q=K-V, Q-K=V, Q=K=V in any spelling; or with head sharing: MQA, Q-GQA-2.",
        ),
        click.option("--n-kv-heads", type=int, help="KV heads; 1 is MQA.  [default: --n-heads]"),
        click.option("--d-model", type=int, help="Width."),
        click.option("--n-layers", type=int, help="Blocks."),
        click.option("--n-heads", type=int, help="Query heads."),
        click.option("--d-ff", type=int, help="Width of the MLP.  [default: 4 x --d-model]"),
        click.option("--dropout", type=float, default=0.0, show_default=True),
        click.option(
            "--batch-size", type=click.IntRange(min=1), default=16, show_default=True,
            help="Inputs a step.",
        ),
        click.option("--lr", default=2e-3, show_default=True, help="Highest learning rate."),
        click.option("--eval-every", default=100, show_default=True, help="Steps between."),
        click.option("--save-every", default=100, show_default=True, help="Steps between."),
        click.option("--seed", default=0, show_default=True, help="Of weights, data and dropout."),
        click.option(
            "--out", type=click.Path(path_type=Path),
            help="Folder of the run.  [default: runs/TASK-VARIANT-seed-SEED]",
        ),
        click.option("--resume", is_flag=True, help="Go on with the run in --out."),
        click.option("--threads", type=click.IntRange(min=1), help="PyTorch's threads."),
        _json_option,
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@train.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--text", "text", multiple=True, type=click.Path(path_type=Path), metavar="FILE...",
    help="UTF-8 files to train on, or the name of a text that qkv data list shows.  "
    "[default: the source of Python's standard library]",
)  # fmt: skip
@click.option("--config", "name", default="small", show_default=True, help="Shape to start from.")
@click.option("--max-seq-len", type=int, help="Context, in tokens.")
@click.option(
    "--bpe", type=int, metavar="N", help="Learn N tokens from the text.  [default: bytes]"
)
@click.option("--steps", default=2000, show_default=True, help="Updates.")
@_training_options
def text(
    files: tuple[Path, ...],
    text: tuple[Path, ...],
    name: str,
    max_seq_len: int | None,
    bpe: int | None,
    seed: int,
    threads: int | None,
    **options: Any,
) -> None:
    """Train a GPT to predict the next byte of a text, or the next token."""
    _set_threads(threads)
    from qkvlib.config import get_config
    from qkvlib.tasks.text import TEXTS, TextTask

    config = get_config(name)
    if max_seq_len is not None:
        config = config.replace(max_seq_len=max_seq_len)
    given = [*text, *files]
    named = str(given[0]) if len(given) == 1 and not given[0].exists() else None
    what = {"text": named} if named in TEXTS else {"files": given or None}
    task = TextTask(config.max_seq_len, seed=seed, bpe_vocab_size=bpe, **what)
    config = _shape(config.replace(vocab_size=task.vocab_size), options)
    _train(config, task, seed, **options)


@train.command()
@click.argument("task_name", metavar="TASK")
@click.option("--length", default=16, show_default=True, help="Tokens in a list.")
@click.option("--steps", default=1000, show_default=True, help="Updates.")
@_training_options
def synthetic(task_name: str, length: int, seed: int, threads: int | None, **options: Any) -> None:
    """Train an encoder on TASK: REVERSE, SORT, SUB, SWAP, COPY, SHIFT or RECALL."""
    _set_threads(threads)
    from qkvlib.config import ModelConfig
    from qkvlib.tasks.synthetic import SyntheticTask

    task = SyntheticTask(task_name, length, seed=seed)
    shape = ModelConfig(
        d_model=64, n_layers=2, n_heads=4, vocab_size=task.vocab_size, max_seq_len=length,
        causal=False,
        tie_embeddings=False,  # tied, an untrained model solves most of COPY
    )  # fmt: skip
    _train(_shape(shape, options), task, seed, **options)


@train.command()
@click.argument("name", metavar="NAME")
@click.option(
    "--patch-size",
    type=click.IntRange(min=1),
    help="Side of a patch, in pixels.  [default: a quarter]",
)
@click.option("--image-size", type=int, help="Of a folder of your own: scale to this side.")
@click.option(
    "--shift",
    default=0,
    show_default=True,
    help="Most pixels to move images by.",
)
@click.option("--flip", is_flag=True, help="Mirror training images half of the time.")
@click.option("--epochs", type=click.IntRange(min=1), help="Passes, in place of --steps.")
@click.option("--steps", default=1000, show_default=True, help="Updates.")
@_training_options
def images(
    name: str,
    patch_size: int | None,
    image_size: int | None,
    shift: int,
    flip: bool,
    epochs: int | None,
    seed: int,
    threads: int | None,
    **options: Any,
) -> None:
    """Train a vision transformer on NAME: a set that qkv data list shows, or a folder."""
    _set_threads(threads)
    from qkvlib.config import ViTConfig
    from qkvlib.tasks.images import IMAGE_SETS, image_folder
    from qkvlib.tasks.vision import VisionTask

    own = name not in IMAGE_SETS and Path(name).is_dir()
    found = image_folder(name, image_size=image_size) if own else name
    task = VisionTask(found, seed=seed, shift=shift, flip=flip)
    if epochs is not None:
        options["steps"] = epochs * task.steps_per_epoch(options["batch_size"])
    side = task.images.image_size
    shape = ViTConfig(
        d_model=64, n_layers=2, n_heads=4, image_size=side, patch_size=patch_size or side // 4,
        n_channels=task.images.n_channels, n_classes=task.n_classes,
    )  # fmt: skip
    _train(_shape(shape, options), task, seed, **options)


@train.command()
@click.argument("name", metavar="NAME")
@click.option("--set-size", default=10, show_default=True, help="Images in a set.")
@click.option("--steps", default=1000, show_default=True, help="Updates.")
@_training_options
def sets(name: str, set_size: int, seed: int, threads: int | None, **options: Any) -> None:
    """Train a set encoder to find the odd one out among images of NAME, see qkv data list."""
    _set_threads(threads)
    from qkvlib.config import SetConfig
    from qkvlib.tasks.anomaly import SetTask

    task = SetTask(name, seed=seed, set_size=set_size)
    shape = SetConfig(
        d_model=64, n_layers=2, n_heads=4, n_features=task.n_features, max_seq_len=set_size
    )
    _train(_shape(shape, options), task, seed, **options)


def _set_threads(threads: int | None) -> None:
    """Set what OpenMP reads when PyTorch is first imported."""
    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(threads)
    if os.environ.get("OMP_NUM_THREADS") != "1":
        # Threads that stay on their core train faster. A single one has nothing to keep together,
        # and would share the first core with every other run that does the same.
        os.environ.setdefault("OMP_PROC_BIND", "true")
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def _shape(config: C, options: dict[str, Any]) -> C:
    """Apply the options that shape the model, and take them out of ``options``."""
    from qkvlib.config import ConfigError
    from qkvlib.sharing import parse_variant

    variant = parse_variant(options.pop("sharing"))
    n_kv_heads, d_ff = options.pop("n_kv_heads"), options.pop("d_ff")
    if variant.n_kv_heads is not None and n_kv_heads not in (None, variant.n_kv_heads):
        raise ConfigError(
            f"--sharing {variant.name} means {variant.n_kv_heads} KV heads, but --n-kv-heads "
            f"{n_kv_heads} was given. Leave one of them out."
        )
    changes = {name: options.pop(name) for name in ("d_model", "n_layers", "n_heads", "dropout")}
    changes = {name: value for name, value in changes.items() if value is not None}
    if d_ff is not None or "d_model" in changes:
        changes["d_ff"] = d_ff  # None: four times the new width
    shaped = config.replace(variant=variant, **changes)
    return shaped if n_kv_heads is None else shaped.replace(n_kv_heads=n_kv_heads)


def _train(
    config: StackConfig,
    task: Task,
    seed: int,
    *,
    out: Path | None,
    resume: bool,
    as_json: bool,
    **training: Any,
) -> None:
    from qkvlib.models import build_model
    from qkvlib.training import TrainConfig, train as run

    if out is None:
        out = Path("runs") / f"{task.name}-{config.variant.name}-seed-{seed}".replace(" ", "-")
    model = build_model(config, seed=seed)
    record = run(model, task, TrainConfig(seed=seed, **training), out=out, resume=resume)
    if as_json:
        _print_json(record.to_dict() | {"out": str(out)})
    else:
        click.echo(_summary(record, out))
        if config.causal:
            click.echo(f'\nLet it write: qkv generate --checkpoint {out} --prompt "def "')


_COUNTED = {"tokens": ("token", "token"), "image": ("image", "position"), "set": ("set", "element")}
"""Kind of model -> what it gives one answer for, and what attention runs over."""


def _summary(record: RunRecord, out: Path) -> str:
    from qkvlib.accounting import format_bytes

    answer, position = _COUNTED[record.config.kind]
    rows = [
        ("run", str(out)),
        ("variant", f"{record.variant.name} {record.variant.tuple_form}"),
        ("held-out loss", f"{record.metrics['loss']:.4f} nats per {answer}"),
    ]
    if "bits_per_byte" in record.metrics:
        rows.append(("bits per byte", f"{record.metrics['bits_per_byte']:.4f}"))
    rows.append(("accuracy", f"{100 * record.metrics['accuracy']:.2f} % of {answer}s"))
    rows.append(("parameters", f"{record.n_params:,}"))
    for dtype, size in record.cache_bytes_per_token.items():
        rows.append((f"cache per token, {dtype}", format_bytes(size)))
    rows.append(("speed", f"{record.tokens_per_second:,.0f} {position}s/s"))
    rows.append(("time", f"{record.seconds:.1f} s"))
    width = max(len(label) for label, _ in rows)
    return "\n".join(f"{label:<{width}}  {value}" for label, value in rows)


@main.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option(
    "--jobs", "processes", type=click.IntRange(min=1), help="Side by side.  [default: cores]"
)
@click.option(
    "--only",
    "patterns",
    multiple=True,
    metavar="PATTERN",
    help="Runs whose name fits, such as 'REVERSE/*' or '*/seed-0'; may be given again.",
)
@click.option(
    "--device", default="cpu", show_default=True, help="Where they train: cpu, or cuda for a GPU."
)
@click.option(
    "--runs",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Folder of records and checkpoints.",
)
@click.option(
    "--results",
    type=click.Path(path_type=Path),
    default=Path("runs/results"),
    show_default=True,
    help="Folder of collected results, for qkv table.",
)
@_json_option
def sweep(
    names: tuple[str, ...],
    processes: int | None,
    patterns: tuple[str, ...],
    device: str,
    runs: Path,
    results: Path,
    as_json: bool,
) -> None:
    """Run the experiments NAME... over the cores of this machine; "all" runs every one that is made
    for the device.

    Stop whenever you like, with Ctrl-C or harder, and start again: finished runs are kept and never
    repeated.
    """
    os.environ["OMP_NUM_THREADS"] = "1"  # before PyTorch is imported: one thread a process
    from qkvlib.experiments import EXPERIMENTS, get_experiment

    if names == ("all",):
        chosen = [each for each in EXPERIMENTS.values() if each.device in ("cpu", device)]
    else:
        chosen = [get_experiment(name) for name in names]
    processes = processes or os.cpu_count() or 1
    rows = []
    for experiment in chosen:
        jobs = experiment.jobs(patterns)
        if not as_json:
            click.echo(f"{experiment.name}: {len(jobs)} runs, {processes} side by side", err=True)
            if experiment.device not in ("cpu", device):
                click.echo(
                    f"{experiment.name} is made for a GPU (--device {experiment.device}); on this "
                    "device it may take days",
                    err=True,
                )
        experiment.run(runs, processes=processes, patterns=patterns, device=device)
        path = experiment.collect(runs, results)
        rows.append({"experiment": experiment.name, "runs": len(jobs), "file": str(path)})
        if not as_json:
            click.echo(f"{path}")
    if as_json:
        _print_json({"rows": rows})


@main.command()
@click.argument("name")
@click.option("--markdown", is_flag=True, help="Markdown instead of aligned text.")
@click.option(
    "--results",
    type=click.Path(path_type=Path),
    help="Folder of collected results, as qkv sweep writes them.  [default: the course's own]",
)
@_json_option
def table(name: str, markdown: bool, results: Path | None, as_json: bool) -> None:
    """Print a table of results beside the paper's.

    Tables: four_tyings, head_sharing, language, padding, gap, gap_wide, synthetic, recall,
    vision, image_positions, odd_one_out.
    """
    from qkvlib.tables import result_table

    found = result_table(name, results)
    if as_json:
        _print_json(found.to_dict())
    else:
        click.echo(found.to_markdown() if markdown else found.to_text())


@main.command()
@click.argument("name")
@click.option("--turns", default=7, show_default=True, help="Turns of each pair.")
@click.option("--threads", type=click.IntRange(min=1), help="PyTorch's threads.")
@click.option("--device", help="Of attention and step: cpu, or cuda for a GPU.  [default: cpu]")
@click.option("--out", type=click.Path(path_type=Path), help="Write the JSON here as well.")
@_json_option
def bench(
    name: str,
    turns: int,
    threads: int | None,
    device: str | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Measure speed on this machine, as ratios of two ways that take turns.

    Benchmarks: decode, attention, step, train. Let nothing else run. Other libraries are measured
    beside the course where they are installed: pip install "qkvlib[bench]".
    """
    # Both before PyTorch is imported: threads stay on their core, and nothing asks the network.
    os.environ.setdefault("OMP_PROC_BIND", "true")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    _set_threads(threads)
    from qkvlib.benchmark import ON_DEVICES, get_benchmark
    from qkvlib.records import write_atomically

    measure = get_benchmark(name)
    if device is not None and name not in ON_DEVICES:
        raise click.UsageError(
            f"--device is for {' and '.join(ON_DEVICES)}; {name} is measured on the CPU."
        )
    found = measure(turns=turns, **({} if device is None else {"device": device}))
    if out is not None:
        write_atomically(out, json.dumps(found.to_dict(), indent=1) + "\n")
    if as_json:
        _print_json(found.to_dict())
    else:
        click.echo(found.to_text())


@main.command()
@click.option(
    "--checkpoint", required=True, type=click.Path(path_type=Path),
    help="Folder of a run, or its .safetensors file.",
)  # fmt: skip
@click.option("--prompt", required=True, help="Text to go on from.")
@click.option("--max-new-tokens", type=int, help="Tokens to write. [default: what fits, up to 200]")
@click.option("--temperature", default=0.8, show_default=True, help="0 is greedy.")
@click.option("--top-k", type=int, help="Choose among the k likeliest tokens only.")
@click.option("--seed", default=0, show_default=True, help="Of the choice.")
@click.option("--no-cache", is_flag=True, help="Compute all anew for each token; the same text.")
@_json_option
def generate(
    checkpoint: Path,
    prompt: str,
    max_new_tokens: int | None,
    temperature: float,
    top_k: int | None,
    seed: int,
    no_cache: bool,
    as_json: bool,
) -> None:
    """Write text with a trained model.

    The text goes to standard output; what the cache holds, and the speed, to standard error.
    """
    from qkvlib.accounting import format_bytes
    from qkvlib.checkpoint import load_checkpoint
    from qkvlib.generation import generate as make, stream_text
    from qkvlib.tasks.text import encode
    from qkvlib.tokenizer import TOKENIZER_FILE, TokenizerError, load_tokenizer

    model = load_checkpoint(checkpoint)
    tokenizer = load_tokenizer(checkpoint)
    known = getattr(model.config, "vocab_size", None)
    if known not in (None, tokenizer.vocab_size):  # a model of images is refused further down
        raise TokenizerError(
            f"the model knows {known} tokens, and the tokenizer beside it "
            f"{tokenizer.vocab_size}. Put the run's own {TOKENIZER_FILE} into its folder."
        )
    tokens = encode(prompt, tokenizer)
    if max_new_tokens is None:
        max_new_tokens = max(1, min(200, model.config.max_seq_len - len(tokens)))
    generation = make(
        model,
        tokens,
        max_new_tokens,
        temperature=temperature,
        top_k=top_k,
        seed=seed,
        use_cache=not no_cache,
    )
    pieces = []
    if not as_json:
        click.echo(prompt, nl=False)
    for piece in stream_text(generation, tokenizer):
        pieces.append(piece)
        if not as_json:
            click.echo(piece, nl=False)
    stats = generation.stats
    variant = model.config.variant
    if as_json:
        _print_json(
            {
                "variant": variant.name,
                "prompt": prompt,
                "text": "".join(pieces),
                "prompt_tokens": stats.prompt_tokens,
                "new_tokens": stats.new_tokens,
                "use_cache": not no_cache,
                "cache_bytes": stats.cache_bytes,
                "tokens_per_second": stats.tokens_per_second,
                "prefill_seconds": stats.prefill_seconds,
                "decode_seconds": stats.decode_seconds,
            }
        )
        return
    held = "no cache" if no_cache else f"cache {format_bytes(stats.cache_bytes)}"
    click.echo(
        f"\n\n{variant.name} {variant.tuple_form}: {held}, {stats.new_tokens} tokens at "
        f"{stats.tokens_per_second:,.0f} tokens/s",
        err=True,
    )


@main.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="File to write, FILE.onnx."
)
@click.option("--half", is_flag=True, help="Round weights to float16 and store them so.")
@click.option(
    "--weights", type=click.Path(path_type=Path), metavar="FILE.safetensors",
    help="Keep the weights in this file beside the graph, which PyTorch reads as well.",
)  # fmt: skip
@_json_option
def export(checkpoint: Path, out: Path, half: bool, weights: Path | None, as_json: bool) -> None:
    """Write a trained model as an ONNX graph, for a browser or another runtime.

    CHECKPOINT is the folder of a run, or its .safetensors file.
    """
    from qkvlib.accounting import format_bytes
    from qkvlib.checkpoint import load_checkpoint
    from qkvlib.export import export_onnx, graph_names, round_to_half

    model = load_checkpoint(checkpoint)
    if half:
        round_to_half(model)
    # Other kinds of models are refused there.
    export_onnx(model, out, half=half, weights=weights)  # type: ignore[arg-type]
    inputs, outputs = graph_names(model.config)  # type: ignore[arg-type]
    variant, size = model.config.variant, out.stat().st_size
    if as_json:
        _print_json(
            {
                "variant": variant.name,
                "out": str(out),
                "bytes": size,
                "weights": None if weights is None else str(weights),
                "weights_bytes": None if weights is None else weights.stat().st_size,
                "inputs": inputs,
                "outputs": outputs,
            }
        )
        return
    click.echo(f"{out}: {variant.both_forms}, {format_bytes(size)}")
    if weights is not None:
        click.echo(f"{weights}: its weights, {format_bytes(weights.stat().st_size)}")
    click.echo(f"in:  {', '.join(inputs)}\nout: {', '.join(outputs)}")


@main.group()
def data() -> None:
    """List, fetch and check sets of images, and texts."""


_folder_option = click.option(
    "--folder",
    type=click.Path(path_type=Path),
    help="Folder of downloaded data.  [default: QKV_DATA, or one in the user's cache]",
)


@data.command("list")
@_folder_option
@_json_option
def list_data(folder: Path | None, as_json: bool) -> None:
    """List the sets, and which are on this machine."""
    from qkvlib.local_data import DATA_FOLDER_VARIABLE, data_folder
    from qkvlib.tasks.images import IMAGE_SETS, ImageSource
    from qkvlib.tasks.text import TEXTS, TextSource
    from qkvlib.text_table import aligned

    folder = folder or data_folder()
    rows = []
    lines = [("name", "what", "on this machine", "training", "held out")]
    sources: tuple[ImageSource | TextSource, ...] = (*IMAGE_SETS.values(), *TEXTS.values())
    for source in sources:
        place = source.place(folder)
        # A text is split where it is used.
        sizes = (source.n_train, source.n_test) if isinstance(source, ImageSource) else (None, None)
        rows.append(
            {
                "name": source.name,
                "about": source.about,
                "kind": "text" if None in sizes else "images",
                "n_train": sizes[0],
                "n_test": sizes[1],
                "embedded": source.embedded,
                "folder": None if place is None else str(place),
                "download_bytes": source.download_bytes,
            }
        )
        if source.embedded:
            here = "comes with the course"
        elif place is None:
            here = f"no, {source.download_bytes / 1e6:,.1f} MB to fetch"
        else:
            here = f"in {place.relative_to(folder)}"
        counted = ["" if size is None else f"{size:,}" for size in sizes]
        lines.append((source.name, source.about, here, counted[0], counted[1]))
    if as_json:
        _print_json({"folder": str(folder), "rows": rows})
        return
    click.echo(aligned(lines, left=3))
    click.echo(f"\nThe data folder is {folder}; {DATA_FOLDER_VARIABLE} names another.")


@data.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option(
    "--mirror", "mirrors", multiple=True, metavar="URL",
    help="Folder on a server that has the same archives; may be given again.",
)  # fmt: skip
@_folder_option
@_json_option
def fetch(
    names: tuple[str, ...], mirrors: tuple[str, ...], folder: Path | None, as_json: bool
) -> None:
    """Fetch the sets or texts NAME... to this machine.

    They come from where their authors published them, and are verified. What is here already is not
    fetched again. Stop whenever you like: the same command goes on where it stopped.
    """
    from qkvlib.local_data import data_folder
    from qkvlib.sharing import look_up
    from qkvlib.tasks.images import IMAGE_SETS, ImageSource, fetch_images
    from qkvlib.tasks.text import TEXTS, TextSource, fetch_text

    folder = folder or data_folder()
    rows: list[dict[str, Any]] = []
    known: dict[str, ImageSource | TextSource] = {**IMAGE_SETS, **TEXTS}
    for source in [look_up("set of images or text", name, known) for name in names]:
        missing = source.place(folder) is None
        if missing and not as_json:
            click.echo(f"{source.name}: {source.download_bytes / 1e6:,.1f} MB to fetch", err=True)
        try:
            fetch_it = fetch_text if source.name in TEXTS else fetch_images
            place = fetch_it(source.name, folder, mirrors=mirrors)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                "stopped; what came is kept, and the same command goes on from there"
            ) from None
        rows.append({"name": source.name, "folder": str(place), "fetched": missing})
        if not as_json:
            click.echo(f"{source.name}: {'fetched, now' if missing else 'is'} in {place}")
    if as_json:
        _print_json({"rows": rows})


@data.command()
@click.argument("names", metavar="NAME_OR_FOLDER...", nargs=-1, required=True)
@_folder_option
@_json_option
def check(names: tuple[str, ...], folder: Path | None, as_json: bool) -> None:
    """Read sets or texts; say what is in them, or is wrong.

    Each is the name of a set or a text, or a folder of your own images: in it one folder for
    training and one for testing, in each one for each class, such as pets/train/cat/1.jpg and
    pets/test/cat/2.jpg.
    """
    from qkvlib.tasks import TaskError
    from qkvlib.tasks.images import IMAGE_SETS, image_folder, load_images
    from qkvlib.tasks.text import TEXTS

    rows: list[dict[str, Any]] = []
    problems = []
    for name in names:
        is_path = name not in IMAGE_SETS and (Path(name).name != name or Path(name).exists())
        try:
            if name in TEXTS and not is_path:
                about = _about_text(name, folder)
                summary = "\n".join(f"{label:<8}  {value}" for label, value in about.items())
            else:
                images = image_folder(name) if is_path else load_images(name, folder)
                about = _about_images(images)
                summary = _images_summary(about)
        except (ValueError, OSError) as error:
            problems.append(str(error))
            rows.append({"name": name, "problem": str(error)})
            continue
        rows.append(about | {"problem": None})
        if not as_json:
            click.echo(("\n" if len(rows) > 1 else "") + summary)
    if as_json:
        _print_json({"rows": rows})
    if problems:
        raise TaskError("\n".join(problems))


def _about_text(name: str, folder: Path | None) -> dict[str, Any]:
    from qkvlib.tasks.text import TEXTS, read_named_text

    text = read_named_text(name, folder)
    return {
        "name": name,
        "source": TEXTS[name].url,
        "bytes": len(text),
        "sha256": TEXTS[name].sha256,
    }


def _about_images(images: ImageSet) -> dict[str, Any]:
    return {
        "name": images.name,
        "source": images.source,
        "classes": list(images.classes),
        "train_per_class": images.train_labels.bincount(minlength=len(images.classes)).tolist(),
        "test_per_class": images.test_labels.bincount(minlength=len(images.classes)).tolist(),
        "image_size": images.image_size,
        "n_channels": images.n_channels,
        "sha256": images.sha256,
    }


def _images_summary(about: dict[str, Any]) -> str:
    size, classes = about["image_size"], about["classes"]
    rows = [
        ("set", about["name"]),
        ("source", about["source"]),
        ("training", _counted(about["train_per_class"])),
        ("held out", _counted(about["test_per_class"])),
        ("size", f"{size} x {size} pixels, {'grey' if about['n_channels'] == 1 else 'colour'}"),
        ("classes", f"{len(classes)}: {', '.join(classes[:10])}{', …' * (len(classes) > 10)}"),
        ("sha256", about["sha256"]),
    ]
    return "\n".join(f"{label:<8}  {value}" for label, value in rows)


def _counted(per_class: list[int]) -> str:
    low, high = min(per_class), max(per_class)
    each = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    return f"{sum(per_class):,} images, {each} of each class"
