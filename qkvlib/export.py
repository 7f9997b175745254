"""A model as an ONNX graph, for machines without PyTorch: a browser, a telephone.

The graph is traced from the model itself, so there is no second attention to keep in step. What the
cache holds goes in and comes out as tensors, one for each name in ``config.cached``: a graph of
``Q-K=V`` has half as many as one of ``QKV``.
"""

from __future__ import annotations

import importlib.util
import json
import warnings
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from qkvlib.cache import LayerCache
from qkvlib.config import ModelConfig
from qkvlib.models import GPT, Encoder, TokenTransformer
from qkvlib.records import write_atomically

METADATA_KEY: Final = "qkvlib"
"""Where a graph keeps the model's configuration, as JSON."""

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
        rounded = parameter.half().float()
        if not rounded.isfinite().all():
            raise ExportError(
                f"{name} has weights up to {parameter.abs().max():.3g}, and float16 ends at 65504. "
                "Export without half=True."
            )
        parameter.copy_(rounded)


def export_onnx(model: TokenTransformer, path: str | PathLike[str], *, half: bool = False) -> Path:
    """Write a model as an ONNX graph that takes any number of tokens and any length of cache.

    A causal model becomes a :class:`DecodeStep`, another one a :class:`WholePass` over
    ``max_seq_len`` tokens; :func:`graph_names` names inputs and outputs.

    Args:
        model: A :class:`GPT` or an :class:`Encoder`.
        path: Where to write, for example ``"model.onnx"``.
        half: Store weights in float16, half the bytes; arithmetic stays float32. Call
            :func:`round_to_half` first, or model and graph differ by the rounding.

    Returns:
        The path.

    Raises:
        ExportError: If it is another kind of model, a library is missing, or a length was frozen.
    """
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
    proto = _traced(model)
    _check_lengths(proto, model.config)
    if half:
        _store_in_half(proto)
    entry = proto.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, json.dumps(model.config.to_dict())
    write_atomically(path, proto.SerializeToString())
    return Path(path)


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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own, about its own future
        program = torch.onnx.export(
            step, args, dynamo=True, dynamic_shapes=shapes, input_names=inputs,
            output_names=outputs, verbose=False,
        )  # fmt: skip
    assert program is not None
    return program.model_proto


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


def _store_in_half(proto: Any) -> None:
    """Keep large weights in float16, and cast them where the graph begins."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in proto.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        if values.size < _HALF_FROM:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *proto.graph.node]
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
    "round_to_half",
]
