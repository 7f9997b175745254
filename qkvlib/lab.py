"""The Attention Lab's engine in a notebook: the page asks, and PyTorch answers in the kernel.

It answers the same messages as the engine in a browser (``book/_static/lab/worker.mjs``), so that
one page serves both. A message is a dictionary: ``{"id": …, "task": …}`` and what the task is
given; the answer is ``{"id": …, "result": …}`` or ``{"id": …, "error": …, "retry": …}``. A large
array is a buffer of float32 beside the answer, which says ``{"buffer": i}`` in its place.

=========  ==========================================  ============================================
task       given                                       result
=========  ==========================================  ============================================
open                                                   ``engine``, ``about``, ``models``,
                                                       ``examples``
load       name                                        the model's entry of ``models``
encode     name, text                                  a list of ``token`` and ``face``
read       name, tokens; perhaps known, temperature,   ``from``, ``weights`` and their ``shape``
           seed                                        (layers, heads, read, held), ``ms``,
                                                       ``cacheBytes``, ``next``, ``likeliest``
look       name, tokens                                ``logits`` (T, vocabulary), ``scores`` and
                                                       ``weights`` with their ``shape`` (layers,
                                                       heads, T, T), ``answers``, ``ms``
=========  ==========================================  ============================================

``tokens`` are a whole text, and ``known`` so many of its first that the asker knows all about. What
of these is held is not read again; ``from`` says how many that were. So pages that share an engine
get right answers, if slower ones.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, Final

import safetensors
import torch
from torch import Tensor

from qkvlib.accounting import bytes_per_token, count_parameters
from qkvlib.cache import KVCache, marks
from qkvlib.checkpoint import load_checkpoint
from qkvlib.config import ModelConfig
from qkvlib.export import METADATA_KEY, load_weights
from qkvlib.models import GPT, Encoder, TokenTransformer, Transformer
from qkvlib.paper import data_file
from qkvlib.sharing import look_up
from qkvlib.tasks.synthetic import N_DIGITS
from qkvlib.tokenizer import BYTES, BPETokenizer, Tokenizer, load_tokenizer

LAB_FOLDER: Final = "lab"
"""The lab's folder in ``data``."""

MANIFEST_FILE: Final = "manifest.json"
"""The list of the lab's models, in that folder."""

PROMPT: Final = "def read(self, size=-1):\n    "
"""The text that the lab begins with."""

LIKELIEST: Final = 5
"""So many of the likeliest next tokens are told."""

_Model = Transformer | str | PathLike[str]


class LabError(ValueError):
    """The lab cannot do what it was asked for; the message says why, and what it can do."""


def model_entry(name: str, model: TokenTransformer) -> dict[str, Any]:
    """Say what the lab has to know of a model, ready for JSON.

    Args:
        name: What messages call it.
        model: A :class:`GPT` or an :class:`Encoder`.

    Returns:
        ``name``; ``variant`` and ``both_forms`` as the paper has them; ``kind``, ``"gpt"`` or
        ``"encoder"``; ``config``; ``cached``, tensor -> columns; ``bytes_per_token`` of the cache
        in the model's number format, which has ``bytes_per_number``; ``parameters``.
    """
    config = model.config
    causal = isinstance(model, GPT)
    dtype = next(model.parameters()).dtype
    return {
        "name": name,
        "variant": config.variant.name,
        "both_forms": config.variant.both_forms,
        "kind": "gpt" if causal else "encoder",
        "config": config.to_dict(),
        "cached": dict(config.cached) if causal else {},
        "bytes_per_token": bytes_per_token(config, dtype) if causal else 0,
        "bytes_per_number": dtype.itemsize,
        "parameters": count_parameters(config),
    }


def face_of(piece: bytes) -> str:
    """Write a token so that it can be seen; a part of a character is shown as its bytes.

    Args:
        piece: What the token stands for.
    """
    text = piece.decode(errors="replace")
    return text if "\ufffd" not in text else "".join(f"⟨{byte:02x}⟩" for byte in piece)


@dataclass
class _Held:
    """A model of the lab, and what it holds."""

    entry: dict[str, Any]
    model: TokenTransformer
    tokenizer: Tokenizer
    cache: KVCache | None
    tokens: list[int] = field(default_factory=list)  # that the cache holds
    made_by: tuple[Any, ...] = ()  # the state of the weights that made the cache

    def follow_the_weights(self) -> None:
        """Forget what weights have read that are no longer the model's: its owner may train it."""
        now = marks(self.model.parameters())
        if now != self.made_by:
            self.tokens.clear()
            self.made_by = now


class LabEngine:
    """Answers the Attention Lab's questions with PyTorch.

    Args:
        models: Models of your own by name: each a :class:`GPT` or an :class:`Encoder`, the folder
            of a run, or a ``.safetensors`` file. The course's models unless told.
        tokenizer: Whose tokens the models read that have none beside them, as the folder of a run
            has. Bytes unless told, for a vocabulary of 256.
        folder: Of the course's models; ``data/lab`` unless told.

    Raises:
        LabError: If a model reads no tokens, or its tokenizer is not known.
        CheckpointError: If a run cannot be read.
        ExportError: If a file of weights cannot be read.
        DataNotFoundError: If the course's models are not there.
    """

    def __init__(
        self,
        models: Mapping[str, _Model] | None = None,
        *,
        tokenizer: Tokenizer | None = None,
        folder: str | PathLike[str] | None = None,
    ) -> None:
        self._makers: dict[str, Callable[[], _Held]] = {}
        self._held: dict[str, _Held] = {}
        if models is None:
            self._take_the_courses(folder)
            return
        if not models:
            raise LabError("models is empty. Give at least one, such as {'mine': model}, or None.")
        for name, model in models.items():
            self._held[name] = _own(name, model, tokenizer)
        lists = _lists([held.model.config for held in self._held.values()])
        self.catalogue: dict[str, Any] = {
            "engine": "kernel",
            "about": "Models of your own, run by PyTorch in this notebook's kernel.",
            "models": [held.entry for held in self._held.values()],
            "examples": {"text": PROMPT, "lists": lists},
        }

    def _take_the_courses(self, folder: str | PathLike[str] | None) -> None:
        path = (
            data_file(f"{LAB_FOLDER}/{MANIFEST_FILE}")
            if folder is None
            else Path(folder) / MANIFEST_FILE
        )
        manifest = read_manifest(path)
        place = path.parent
        self.catalogue = {
            "engine": "kernel",
            **{name: manifest[name] for name in ("about", "models", "examples")},
        }
        for entry in manifest["models"]:
            self._makers[entry["name"]] = functools.partial(_courses, entry, place, manifest)

    def answer(self, message: Mapping[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        """Answer one message; nothing is raised, what goes wrong is an answer too.

        Args:
            message: As the table at the head of this module says.

        Returns:
            The answer, ready for JSON, and the buffers that it names.
        """
        given = dict(message)
        number, task = given.pop("id", None), given.pop("task", None)
        buffers: list[bytes] = []
        try:
            result = look_up("task of the lab", str(task), self._tasks())(**given)
            return {"id": number, "result": _apart(result, buffers)}, buffers
        except (ValueError, OSError) as error:
            return {"id": number, "error": str(error), "retry": isinstance(error, OSError)}, []
        except Exception as error:  # a page that waits for an answer must get one
            said = f"{type(error).__name__}: {error}"
            return {"id": number, "error": said, "retry": False}, []

    def _tasks(self) -> dict[str, Callable[..., Any]]:
        return {
            name: getattr(self, f"_{name}") for name in ("open", "load", "encode", "read", "look")
        }

    def _find(self, name: str, kind: str | None = None) -> _Held:
        if name not in self._held:
            known = {**dict.fromkeys(self._held), **self._makers}
            maker = look_up("model of the lab", name, known)
            assert maker is not None
            self._held[name] = maker()
        found = self._held[name]
        if kind is not None and found.entry["kind"] != kind:
            tasks = {"gpt": "read", "encoder": "look"}
            raise LabError(
                f"{name} is of kind {found.entry['kind']!r}, and this is asked of a {kind!r}. "
                f"Ask it to {tasks[found.entry['kind']]}."
            )
        return found

    def _open(self) -> dict[str, Any]:
        return self.catalogue

    def _load(self, name: str) -> dict[str, Any]:
        return self._find(name).entry

    def _encode(self, name: str, text: str) -> list[dict[str, Any]]:
        tokenizer = self._find(name, "gpt").tokenizer
        return [_faced(token, tokenizer) for token in tokenizer.encode(text.encode()).tolist()]

    @torch.inference_mode()
    def _read(
        self,
        name: str,
        tokens: Sequence[int],
        known: int = 0,
        temperature: float = 0,
        seed: int = 0,
    ) -> dict[str, Any]:
        found = self._find(name, "gpt")
        model, cache = found.model, found.cache
        assert cache is not None
        _check_tokens(tokens, model.config.vocab_size)
        most = model.config.max_seq_len
        if len(tokens) > most:
            raise LabError(f"a text of {len(tokens)} tokens: {name} reads 1 to {most}.")
        if known < 0:
            raise LabError(f"known={known}: expected a whole number, 0 or more.")
        if not 0 <= temperature < math.inf:
            raise LabError(f"temperature={temperature}: expected 0 or more; 0 is greedy.")
        found.follow_the_weights()
        start = min(_common(found.tokens, tokens), known, len(tokens) - 1)
        cache.truncate(start)
        del found.tokens[start:]
        fresh = list(tokens[start:])
        started = time.perf_counter()
        with _evaluating(model):
            logits, maps = model(_as_batch(fresh, model), cache=cache, return_attention=True)
        ms = 1000 * (time.perf_counter() - started)
        found.tokens += fresh
        last = logits[0, -1].float().cpu()
        # The lot depends on the place, so that going back and on again gives the same text.
        token = choose(last.tolist(), temperature, dice(seed * 65_537 + cache.length))
        weights = torch.stack([layer.weights[0] for layer in maps])
        return {
            "from": start,
            "weights": weights,
            "shape": list(weights.shape),
            "ms": ms,
            "cacheBytes": cache.nbytes_used,
            "next": _faced(token, found.tokenizer),
            "likeliest": _likeliest(last, found.tokenizer),
        }

    @torch.inference_mode()
    def _look(self, name: str, tokens: Sequence[int]) -> dict[str, Any]:
        found = self._find(name, "encoder")
        config = found.model.config
        if len(tokens) != config.max_seq_len:
            raise LabError(
                f"a list of {len(tokens)}: {name} was trained on lists of {config.max_seq_len}."
            )
        _check_tokens(tokens, config.vocab_size)
        started = time.perf_counter()
        with _evaluating(found.model) as model:
            logits, maps = model(_as_batch(tokens, model), return_attention=True)
        ms = 1000 * (time.perf_counter() - started)
        scores, weights = (torch.stack([layer[i][0] for layer in maps]) for i in (0, 1))
        return {
            "logits": logits[0],
            "scores": scores,
            "weights": weights,
            "shape": list(weights.shape),
            "answers": logits[0].argmax(dim=-1).tolist(),
            "ms": ms,
        }


def read_manifest(path: str | PathLike[str]) -> dict[str, Any]:
    """Read the list of the lab's models.

    Args:
        path: The file.

    Raises:
        LabError: If it is damaged.
        OSError: If there is no such file.
    """
    try:
        manifest: dict[str, Any] = json.loads(Path(path).read_bytes())
        manifest["models"], manifest["examples"], manifest["about"]
    except (ValueError, KeyError, TypeError) as error:
        raise LabError(
            f"{path} is damaged or not the lab's list of models. Put it back from the repository: "
            f"git checkout {path}"
        ) from error
    return manifest


# Models


def _hold(entry: dict[str, Any], model: TokenTransformer, tokenizer: Tokenizer) -> _Held:
    weight = next(model.parameters())
    cache = None
    if isinstance(model, GPT):
        cache = KVCache(model.config, chunk=64, dtype=weight.dtype, device=weight.device)
    return _Held(entry, model, tokenizer, cache)


def _courses(entry: dict[str, Any], folder: Path, manifest: Mapping[str, Any]) -> _Held:
    model = load_weights(folder / entry["weights"]["file"])
    assert isinstance(model, TokenTransformer)
    return _hold(entry, model, BPETokenizer.load(folder / manifest["tokenizer"]["file"]))


def _own(name: str, given: _Model, tokenizer: Tokenizer | None) -> _Held:
    model: Transformer
    if isinstance(given, str | PathLike):
        model, beside = _from_file(Path(given)), load_tokenizer(given)
        tokenizer = tokenizer if beside is BYTES else beside
    else:
        model = given
    if not isinstance(model, GPT | Encoder):
        raise LabError(
            f"{name!r} is a {type(model).__name__}: the lab runs models of tokens, a GPT or an "
            "Encoder."
        )
    known = model.config.vocab_size
    if isinstance(model, GPT) and (tokenizer or BYTES).vocab_size != known:
        raise LabError(
            f"{name!r} knows {known} tokens, and its tokenizer {(tokenizer or BYTES).vocab_size}. "
            "Give the one that it was trained with: LabEngine(models, tokenizer=task.tokenizer), "
            "or the folder of its run in place of the model."
        )
    read_as = json.dumps((tokenizer or BYTES).describe(), sort_keys=True)
    return _hold(model_entry(name, model) | {"tokenizer": read_as}, model, tokenizer or BYTES)


def _lists(configs: Iterable[ModelConfig]) -> list[list[int]]:
    """A list that all encoders among the models can look at."""
    shapes = {(c.max_seq_len, min(c.vocab_size, N_DIGITS)) for c in configs if not c.causal}
    if len(shapes) > 1:
        said = " and ".join(f"{length} of {n} digits" for length, n in sorted(shapes))
        raise LabError(
            f"encoders of lists of {said}: in one lab all read the same. Make a LabEngine for each."
        )
    return [[i % n for i in range(length)] for length, n in shapes]


def _from_file(path: Path) -> Transformer:
    """Read a run, or a file of weights: their metadata tell them apart."""
    if path.is_file() and path.suffix == ".safetensors":
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                metadata = json.loads((file.metadata() or {})[METADATA_KEY])
        except (safetensors.SafetensorError, ValueError, KeyError):
            metadata = {}
        if "kind" in metadata:
            return load_weights(path)
    return load_checkpoint(path)


@contextlib.contextmanager
def _evaluating(model: TokenTransformer) -> Iterator[TokenTransformer]:
    """Have a model evaluate for one pass: between passes its mode is its owner's."""
    was_training = model.training
    model.eval()
    try:
        yield model
    finally:
        model.train(was_training)


# Tokens


def _check_tokens(tokens: Sequence[int], vocab_size: int) -> None:
    if not tokens or not all(isinstance(t, int) and 0 <= t < vocab_size for t in tokens):
        raise LabError(
            f"tokens={list(tokens)[:8]}: expected at least 1, each a whole number from 0 to "
            f"{vocab_size - 1}."
        )


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """How many tokens two texts begin with in common."""
    pairs = zip(a, b, strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def _as_batch(tokens: Sequence[int], model: Transformer) -> Tensor:
    return torch.tensor([list(tokens)], device=next(model.parameters()).device)


def _faced(token: int, tokenizer: Tokenizer) -> dict[str, Any]:
    return {"token": token, "face": face_of(tokenizer.token_bytes[token])}


def _likeliest(logits: Tensor, tokenizer: Tokenizer) -> list[dict[str, Any]]:
    shares, tokens = logits.softmax(dim=-1).sort(descending=True, stable=True)
    pairs = zip(tokens.tolist()[:LIKELIEST], shares.tolist()[:LIKELIEST], strict=True)
    return [_faced(token, tokenizer) | {"share": share} for token, share in pairs]


def dice(seed: int) -> Callable[[], float]:
    """Make a random number generator that gives the same numbers here and in the page (mulberry32).

    Args:
        seed: Its lowest 32 bits count.

    Returns:
        A function that returns the next number, from 0 to below 1.
    """
    bits = 0xFFFF_FFFF
    state = seed & bits

    def draw() -> float:
        nonlocal state
        state = (state + 0x6D2B79F5) & bits
        t = state
        t = ((t ^ (t >> 15)) * (t | 1)) & bits
        t ^= (t + ((t ^ (t >> 7)) * (t | 61))) & bits
        return (t ^ (t >> 14)) / 4_294_967_296

    return draw


def choose(logits: Sequence[float], temperature: float, random: Callable[[], float]) -> int:
    """Choose the next token as the page does: the likeliest at temperature 0, else by lot.

    Args:
        logits: One for each token.
        temperature: 0 or more.
        random: Returns a number from 0 to below 1.

    Returns:
        The token.
    """
    most = max(logits)
    best = logits.index(most)
    if temperature == 0:
        return best
    powers = [math.exp((logit - most) / temperature) for logit in logits]
    # One after the other, as the page adds; sum() is more exact from Python 3.12 on.
    *_, total = itertools.accumulate(powers)
    left = random() * total
    for token, power in enumerate(powers):
        left -= power
        if left < 0:
            return token
    return best


# Answers


def _apart(result: Any, buffers: list[bytes]) -> Any:
    """Put tensors into buffers, as float32, and say in their place which."""
    if isinstance(result, Tensor):
        buffers.append(result.detach().float().cpu().contiguous().numpy().tobytes())
        return {"buffer": len(buffers) - 1}
    if isinstance(result, dict):
        return {key: _apart(value, buffers) for key, value in result.items()}
    if isinstance(result, list):
        return [_apart(value, buffers) for value in result]
    return result


__all__ = [
    "LIKELIEST",
    "PROMPT",
    "LabEngine",
    "LabError",
    "choose",
    "dice",
    "face_of",
    "model_entry",
    "read_manifest",
]
