"""A model as an ONNX graph, for machines without PyTorch: a browser, a telephone.

The graph is traced from the model itself, so there is no second attention to keep in step. What the
cache holds goes in and comes out as tensors, one for each name in ``config.cached``: a graph of
``Q-K=V`` has half as many as one of ``QKV``.

The numbers themselves may lie beside the graph in a safetensors file, which PyTorch reads as well
(:func:`load_weights`): then a model's weights exist once.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import warnings
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Final

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from qkvlib.cache import LayerCache
from qkvlib.checkpoint import CHECKPOINT_FILE, distinct_state
from qkvlib.config import ModelConfig, config_from_dict
from qkvlib.models import GPT, Encoder, TokenTransformer, Transformer, build_model
from qkvlib.records import write_atomically

METADATA_KEY: Final = "qkvlib"
"""Where a graph, and a file of weights, keep the model's configuration, as JSON."""

_LIBRARIES: Final = ("onnx", "onnxscript")
_TRACED_PAST, _TRACED_NEW = 3, 2
"""Lengths to trace with; a length of 1 would be taken for a constant."""

_HALF_FROM: Final = 1024  # numbers; smaller tensors save nothing


class ExportError(ValueError):
    """A model cannot be exported; the message says why and what to do."""


class _HandedOn(LayerCache):
    """A layer's cache that writes nothing in place: old and new are joined, and handed on."""

    def __init__(self, past: dict[str, Tensor]) -> None:
        super().__init__(past, chunk=None)
        self.length = next(iter(past.values())).shape[2]

    def append(self, new: Mapping[str, Tensor]) -> dict[str, Tensor]:
        self.tensors = {
            name: torch.cat([held, new[name]], dim=2) for name, held in self.tensors.items()
        }
        return self.tensors


class _AllLayers:
    """What the blocks of a model ask of a cache."""

    def __init__(self, layers: list[LayerCache]) -> None:
        self.layers = layers


class DecodeStep(nn.Module):
    """A causal model as a function without memory: its cache goes in and comes out.

    Args:
        model: What to run; it is switched to evaluation.
    """

    def __init__(self, model: GPT) -> None:
        super().__init__()
        self.model = model.eval()
        self.eval()

    def forward(
        self, tokens: Tensor, past: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Read T new tokens.

        Args:
            tokens: Shape (1, T), int64.
            past: For each layer, and in it for each name of ``config.cached``, what is held: shape
                (1, G, P, its columns), P of 0 or more.

        Returns:
            Logits of shape (1, T, vocab_size); weights of shape (layers, H, T, P + T); and the
            cache with the new tokens behind the old ones, in the order in which it was given.
        """
        model, names = self.model, list(self.model.config.cached)
        layers: list[LayerCache] = [
            _HandedOn(dict(zip(names, past[i : i + len(names)], strict=True)))
            for i in range(0, len(past), len(names))
        ]
        start = layers[0].length
        x = model.position(model.embedding(tokens), start)
        x, maps = model._run(x, _AllLayers(layers), True, start)  # type: ignore[arg-type]
        kept = [layer.tensors[name] for layer in layers for name in names]
        return model.head(x), torch.stack([each.weights[0] for each in maps]), kept


class WholePass(nn.Module):
    """A model that sees the whole sequence, with its maps as tensors.

    Args:
        model: What to run; it is switched to evaluation.
    """

    def __init__(self, model: Encoder) -> None:
        super().__init__()
        self.model = model.eval()
        self.eval()

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Read a sequence.

        Args:
            tokens: Shape (1, T), int64.

        Returns:
            Logits of shape (1, T, vocab_size); scores and weights, each of shape
            (layers, H, T, T).
        """
        logits, maps = self.model(tokens, return_attention=True)
        scores, weights = (torch.stack([each[i][0] for each in maps]) for i in (0, 1))
        return logits, scores, weights


def graph_names(config: ModelConfig) -> tuple[list[str], list[str]]:
    """Name what goes into a graph and what comes out, in order.

    Args:
        config: The model's configuration.
    """
    if not config.causal:
        return ["tokens"], ["logits", "scores", "weights"]
    kept = [f"{i}.{name}" for i in range(config.n_layers) for name in config.cached]
    return (
        ["tokens", *(f"past.{each}" for each in kept)],
        ["logits", "weights", *(f"present.{each}" for each in kept)],
    )


def empty_past(config: ModelConfig, tokens: int = 0) -> list[Tensor]:
    """Make the cache that :class:`DecodeStep` starts from.

    Args:
        config: The model's configuration.
        tokens: P, how many tokens of zeros it holds.
    """
    return [
        torch.zeros(1, config.n_kv_heads, tokens, columns)
        for _ in range(config.n_layers)
        for columns in config.cached.values()
    ]


@torch.no_grad()
def round_to_half(model: nn.Module) -> None:
    """Round every weight to the nearest number that float16 can hold; the model stays float32.

    A graph with float16 weights then computes what the model does.

    Raises:
        ExportError: If a weight is too large for float16.
    """
    for name, parameter in model.named_parameters():
        parameter.copy_(_halved(name, parameter))


def _halved(name: str, weights: Tensor) -> Tensor:
    half = weights.half()
    if not half.isfinite().all():
        raise ExportError(
            f"{name} has weights up to {weights.abs().max():.3g}, and float16 ends at 65504. "
            "Export without half=True."
        )
    return half


def save_weights(model: Transformer, path: str | PathLike[str], *, half: bool = False) -> Path:
    """Write a model's weights and configuration, without what only training needs.

    Args:
        model: Any model of the course.
        path: Where to write, for example ``"model.safetensors"``.
        half: In float16, half the bytes. Call :func:`round_to_half` first, or the model and what
            is read back differ by the rounding.

    Returns:
        The path.

    Raises:
        ExportError: If a weight is too large for float16, and it was to be half.
    """
    tensors = {
        name: (_halved(name, tensor) if half else tensor.float()).detach().cpu().contiguous()
        for name, tensor in distinct_state(model).items()
    }
    metadata = {METADATA_KEY: json.dumps(model.config.to_dict())}
    write_atomically(path, safetensors.torch.save(tensors, metadata))
    return Path(path)


def load_weights(path: str | PathLike[str]) -> Transformer:
    """Rebuild a model from what :func:`save_weights` wrote.

    Args:
        path: The file.

    Returns:
        The model in eval mode, its weights in float32.

    Raises:
        ExportError: If there is no such file, it is damaged, or of another kind.
    """
    path = Path(path)
    if not path.is_file():
        raise ExportError(
            f"there is no file {path}. save_weights(model, path) writes one; a run's folder is "
            "read by load_checkpoint."
        )
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            config = config_from_dict(json.loads((file.metadata() or {})[METADATA_KEY]))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        model = build_model(config)
        own = distinct_state(model)
        if {n: t.shape for n, t in own.items()} != {n: t.shape for n, t in tensors.items()}:
            raise ValueError("its tensors are not those of its model")
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ExportError(
            f"{path} is damaged or not a file of weights ({type(error).__name__}: {error}). Put "
            "back a copy, or write it again with save_weights."
        ) from error
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(tensors[name])
    return model.eval()


def export_onnx(
    model: TokenTransformer,
    path: str | PathLike[str],
    *,
    half: bool = False,
    weights: str | PathLike[str] | None = None,
) -> Path:
    """Write a model as an ONNX graph that takes any number of tokens and any length of cache.

    A causal model becomes a :class:`DecodeStep`, another one a :class:`WholePass` over
    ``max_seq_len`` tokens; :func:`graph_names` names inputs and outputs.

    Args:
        model: A :class:`GPT` or an :class:`Encoder`.
        path: Where to write, for example ``"model.onnx"``.
        half: Store weights in float16, half the bytes; arithmetic stays float32. Call
            :func:`round_to_half` first, or model and graph differ by the rounding.
        weights: A file beside the graph that :func:`save_weights` is to write, for example
            ``"model.safetensors"``. The graph then refers to it (ONNX calls this external data)
            and holds only what is no weight.

    Returns:
        The path.

    Raises:
        ExportError: If it is another kind of model, a library is missing, a length was frozen, the
            weights would lie in another folder or over a run's checkpoint, or one of them is too
            large for float16.
    """
    path = Path(path)
    missing = [name for name in _LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        raise ExportError(
            f'export needs {" and ".join(missing)}: pip install "qkvlib[export]" brings them.'
        )
    if not isinstance(model, GPT | Encoder):
        raise ExportError(
            f"{type(model).__name__} cannot be exported: expected a model of tokens, a GPT or an "
            "Encoder."
        )
    if weights is not None and Path(weights).absolute().parent != path.absolute().parent:
        raise ExportError(
            f"weights={weights} and the graph {path} are in two folders. A graph finds its weights "
            f"by their name beside it: write them to {path.with_suffix('.safetensors')}."
        )
    if weights is not None and Path(weights).name in (path.name, CHECKPOINT_FILE):
        raise ExportError(
            f"weights={weights} would be written over: it is the graph itself, or the checkpoint "
            "of a run, which only training can make again. Give the weights a name of their own, "
            f"such as {path.with_suffix('.safetensors')}."
        )
    # Only weights: a table of sines is not one, and round_to_half leaves it as it is too.
    narrowed = {
        _numbers(_halved(name, weight.detach().cpu()).numpy())
        for name, weight in model.named_parameters()
        if half and weight.numel() >= _HALF_FROM
    }
    proto = _traced(model)
    _check_lengths(proto, model.config)
    places = {} if weights is None else _places(save_weights(model, weights, half=half))
    _move_weights(proto, places, narrowed, np.dtype(np.float16 if half else np.float32))
    entry = proto.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, json.dumps(model.config.to_dict())
    write_atomically(path, proto.SerializeToString())
    return path


def _traced(model: GPT | Encoder) -> Any:
    config = model.config
    inputs, outputs = graph_names(config)
    free = torch.export.Dim.DYNAMIC
    if isinstance(model, GPT):
        if config.max_seq_len < _TRACED_PAST + _TRACED_NEW:
            raise ExportError(
                f"max_seq_len={config.max_seq_len}: a graph is traced with {_TRACED_PAST} tokens "
                f"in the cache and {_TRACED_NEW} new ones, so it must be at least "
                f"{_TRACED_PAST + _TRACED_NEW}."
            )
        past = empty_past(config, _TRACED_PAST)
        step: nn.Module = DecodeStep(model)
        args: tuple[Any, ...] = (torch.zeros(1, _TRACED_NEW, dtype=torch.int64), past)
        shapes: Any = ({1: free}, [{2: free} for _ in past])
    else:
        step = WholePass(model)
        args, shapes = (torch.zeros(1, config.max_seq_len, dtype=torch.int64),), None
    with warnings.catch_warnings(), _quiet("onnxscript"):
        warnings.simplefilter("ignore")  # the exporter's own, about its own future
        program = torch.onnx.export(
            step, args, dynamo=True, dynamic_shapes=shapes, input_names=inputs,
            output_names=outputs, verbose=False,
        )  # fmt: skip
    assert program is not None
    proto = program.model_proto
    # Where in whose source each node was traced: larger than the graph, and other on each machine.
    del proto.metadata_props[:], proto.graph.metadata_props[:], proto.graph.value_info[:]
    for part in (*proto.graph.node, *proto.graph.input, *proto.graph.output):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    return proto


@contextlib.contextmanager
def _quiet(library: str) -> Iterator[None]:
    """Let a library log errors only: it tells what it could not make faster."""
    logger = logging.getLogger(library)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _check_lengths(proto: Any, config: ModelConfig) -> None:
    """A length that the tracer took for a constant would fail, or be wrong, at any other."""
    if not config.causal:
        return
    for value in proto.graph.input:
        axis = 1 if value.name == "tokens" else 2
        if not value.type.tensor_type.shape.dim[axis].dim_param:
            raise ExportError(
                f"the exporter froze axis {axis} of {value.name!r}, so the graph would read one "
                "length only. This is a fault of the exporter's version: see constraints.txt for "
                "the versions that were tested."
            )


@dataclass(frozen=True)
class _Place:
    """Where the numbers of a weight lie."""

    location: str
    offset: int
    length: int


_Numbers = tuple[tuple[int, ...], bytes]
"""A tensor by its shape and its numbers, as stored."""


def _numbers(values: np.ndarray) -> _Numbers:
    return values.shape, values.tobytes()


def _places(path: Path) -> dict[_Numbers, _Place]:
    """What a safetensors file holds, by its numbers: the tracer gives weights names of its own."""
    data = path.read_bytes()
    begin = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:begin])
    return {
        (tuple(entry["shape"]), data[begin + first : begin + last]): _Place(
            path.name, begin + first, last - first
        )
        for name, entry in header.items()
        if name != "__metadata__"
        for first, last in [entry["data_offsets"]]
    }


def _move_weights(
    proto: Any, places: Mapping[_Numbers, _Place], inside: Container[_Numbers], dtype: np.dtype
) -> None:
    """Have the graph read its weights from their places, or keep them ``inside`` in ``dtype``.

    A weight that the tracer has transposed is transposed back where the graph begins; a runtime
    does so once, when it loads the graph.
    """
    from onnx import TensorProto, helper, numpy_helper

    first = []
    for tensor in proto.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        name = tensor.name
        values = numpy_helper.to_array(tensor).astype(dtype)
        place = places.get(_numbers(values))
        turned = place is None and (place := places.get(_numbers(values.T))) is not None
        kept = _numbers(values) in inside or _numbers(values.T) in inside
        narrow = dtype != np.float32 and (place is not None or kept)
        steps: list[tuple[str, dict[str, Any]]] = []
        steps += [("Cast", {"to": TensorProto.FLOAT})] * narrow + [("Transpose", {})] * turned
        if place is None and not narrow:
            continue
        names = [*(f"{name}.{i}" for i in range(len(steps))), name]
        tensor.CopyFrom(numpy_helper.from_array(values.T if turned else values, names[0]))
        if place is not None:
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in vars(place).items():
                tensor.external_data.add(key=key, value=str(value))
        first += [
            helper.make_node(kind, [names[i]], [names[i + 1]], **options)
            for i, (kind, options) in enumerate(steps)
        ]
    nodes = [*first, *proto.graph.node]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)


__all__ = [
    "METADATA_KEY",
    "DecodeStep",
    "ExportError",
    "WholePass",
    "empty_past",
    "export_onnx",
    "graph_names",
    "load_weights",
    "round_to_half",
    "save_weights",
]
