"""Write text with a trained model, with and without its KV cache.

With the cache each new token costs one pass over that token; without it, one pass over everything
so far. The tokens are the same, and the numbers in ``stats`` say what each way costs.
"""

from __future__ import annotations

import codecs
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from qkvlib.cache import KVCache
from qkvlib.models import GPT, Transformer
from qkvlib.tokenizer import BYTES, Tokenizer


class GenerateError(ValueError):
    """The model cannot go on from this prompt in this way; the message says what to change."""


@dataclass
class GenerationStats:
    """What a generation has cost so far.

    Attributes:
        prompt_tokens: Tokens given.
        new_tokens: Tokens made.
        cache_bytes: Bytes that the KV cache holds, read from its tensors; 0 without a cache.
        prefill_seconds: Time to the first new token: the pass over the prompt.
        decode_seconds: Time of all further tokens.
    """

    prompt_tokens: int
    new_tokens: int = 0
    cache_bytes: int = 0
    prefill_seconds: float = 0.0
    decode_seconds: float = 0.0

    @property
    def tokens_per_second(self) -> float:
        """Speed of decoding, the prompt's pass excluded; 0 while there is nothing to measure."""
        return (self.new_tokens - 1) / self.decode_seconds if self.decode_seconds else 0.0


class Generation(Iterator[int]):
    """An iterator over new tokens, made by :func:`generate`.

    Attributes:
        stats: What it has cost so far.
        cache: The KV cache; ``None`` without one.
    """

    def __init__(
        self,
        model: Transformer,
        prompt: Tensor,
        max_new_tokens: int,
        temperature: float,
        top_k: int | None,
        seed: int,
        use_cache: bool,
    ) -> None:
        weight = next(model.parameters())
        self.stats = GenerationStats(prompt_tokens=len(prompt))
        self.cache: KVCache | None = None
        if use_cache:
            # The last new token is never read again, so it needs no room.
            self.cache = KVCache(
                model.config,
                capacity=len(prompt) + max_new_tokens - 1,
                dtype=weight.dtype,
                device=weight.device,
            )
            self.stats.cache_bytes = self.cache.nbytes
        self._model = model
        self._pending = prompt.to(weight.device)[None]  # (1, T): what the model reads next
        self._left = max_new_tokens
        self._temperature = temperature
        self._top_k = top_k
        self._generator = torch.Generator().manual_seed(seed)

    def __next__(self) -> int:
        if self._left == 0:
            raise StopIteration
        started = time.perf_counter()
        # Mode and inference are set for this one step: between steps the model is the caller's.
        # Setting a mode visits every module, which costs a small model a third of its speed.
        was_training = self._model.training
        if was_training:
            self._model.eval()
        try:
            with torch.inference_mode():
                logits = self._model(self._pending, cache=self.cache)[0, -1]  # (vocab_size,)
                token = self._choose(logits.float().cpu())
                new = torch.tensor([[token]], device=self._pending.device)
                kept = [] if self.cache is not None else [self._pending]
                self._pending = torch.cat([*kept, new], dim=1)
        finally:
            if was_training:
                self._model.train()
        self._left -= 1
        seconds = time.perf_counter() - started
        if self.stats.new_tokens == 0:
            self.stats.prefill_seconds = seconds
        else:
            self.stats.decode_seconds += seconds
        self.stats.new_tokens += 1
        return token

    def _choose(self, logits: Tensor) -> int:
        if self._temperature == 0:
            return int(logits.argmax())
        # The greatest becomes 0, so that a tiny temperature cannot overflow.
        logits = (logits - logits.max()) / self._temperature
        if self._top_k is not None:
            threshold = logits.topk(min(self._top_k, len(logits))).values[-1]
            logits = logits.masked_fill(logits < threshold, -torch.inf)
        return int(torch.multinomial(logits.softmax(dim=-1), 1, generator=self._generator))


def generate(
    model: Transformer,
    prompt: Tensor,
    max_new_tokens: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    seed: int = 0,
    use_cache: bool = True,
) -> Generation:
    """Make new tokens, one at a time.

    Args:
        model: A causal model; its train or eval mode is left as it is.
        prompt: int64 of shape (T,), at least one token.
        max_new_tokens: Tokens to make.
        temperature: Below 1 sharpens the distribution, above 1 flattens it; 0 always takes the
            likeliest token.
        top_k: Choose among the k likeliest tokens only.
        seed: Of the choice; the same seed gives the same tokens.
        use_cache: Whether to keep keys and values; without, all is computed anew for each token.

    Returns:
        An iterator over the new tokens. Its ``stats`` tell bytes held, tokens/s, and seconds of
        prefill and decoding.

    Raises:
        GenerateError: If the prompt is empty or not tokens, prompt and new tokens do not fit
            ``max_seq_len``, the model is not causal, or an argument is out of its range.
    """
    if not isinstance(model, GPT):
        raise GenerateError(
            f"this model is of class {type(model).__name__}: it was made to see the whole of its "
            "input, and cannot write from left to right. Generate with a GPT, a model with "
            "causal=True."
        )
    config = model.config
    if prompt.ndim != 1 or prompt.dtype != torch.int64:
        raise GenerateError(
            f"prompt is {prompt.dtype} of shape {tuple(prompt.shape)}: expected one sequence of "
            "tokens, int64 of shape (T,), such as encode(text)."
        )
    if len(prompt) == 0:
        raise GenerateError(
            "the prompt is empty: the first token needs one before it, if only ' '."
        )
    if int(prompt.min()) < 0 or int(prompt.max()) >= config.vocab_size:
        raise GenerateError(
            f"the prompt has tokens from {int(prompt.min())} to {int(prompt.max())}; the model "
            f"knows 0 to {config.vocab_size - 1}."
        )
    if max_new_tokens < 1:
        raise GenerateError(f"max_new_tokens={max_new_tokens}: expected at least 1.")
    if len(prompt) + max_new_tokens > config.max_seq_len:
        room = config.max_seq_len - len(prompt)
        way_out = f"Ask for at most {room} new tokens, or shorten" if room > 0 else "Shorten"
        raise GenerateError(
            f"{len(prompt)} tokens of prompt and {max_new_tokens} new ones are more than the "
            f"model's max_seq_len={config.max_seq_len}. {way_out} the prompt, or train a model "
            "with a larger max_seq_len."
        )
    if not 0 <= temperature < float("inf"):
        raise GenerateError(f"temperature={temperature}: expected 0 or more; 0 is greedy.")
    if top_k is not None and top_k < 1:
        raise GenerateError(f"top_k={top_k}: expected at least 1, or None for all tokens.")
    return Generation(model, prompt, max_new_tokens, temperature, top_k, seed, use_cache)


def stream_text(tokens: Iterable[int], tokenizer: Tokenizer = BYTES) -> Iterator[str]:
    """Turn tokens into text as they come, holding back characters that are not yet whole.

    Args:
        tokens: Bytes, 0 to 255, or the tokens of a tokenizer.
        tokenizer: Whose tokens they are.

    Yields:
        Pieces of text; bytes that are not UTF-8 become U+FFFD.
    """
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    for token in tokens:
        if piece := decoder.decode(tokenizer.token_bytes[token]):
            yield piece
    if rest := decoder.decode(b"", final=True):
        yield rest
