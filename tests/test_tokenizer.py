"""Tokens: text and back, what a token is worth in bytes, and files that are refused."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, strategies as st

from qkvlib import (
    BYTES,
    BPETokenizer,
    ModelConfig,
    TaskError,
    TextTask,
    TokenizerError,
    build_model,
    decode,
    encode,
    evaluate,
    load_tokenizer,
    to_bytes,
)
from qkvlib.cli import main
from qkvlib.generation import stream_text

TEXT = ("the cat sat on the mat and the rat ate the hat\n" * 40 + "größe – 数\n" * 5).encode()


@pytest.fixture(scope="module")
def bpe() -> BPETokenizer:
    return BPETokenizer.train(TEXT, 270)


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_comes_back(bpe: BPETokenizer, text: str) -> None:
    tokens = encode(text, bpe)
    assert tokens.dtype == torch.int64
    assert decode(tokens, bpe) == text
    assert "".join(stream_text(tokens.tolist(), bpe)) == text
    assert to_bytes(encode(text)) == to_bytes(tokens, bpe) == text.encode()


def test_tokens_are_learned_and_every_byte_is_one(bpe: BPETokenizer) -> None:
    assert bpe.vocab_size == 270 == len(bpe.token_bytes)
    assert {bytes([value]) for value in range(256)} < set(bpe.token_bytes)
    assert b" the" in bpe.token_bytes
    assert len(bpe.encode(TEXT)) < len(TEXT) / 2
    assert torch.equal(BPETokenizer.train(TEXT, 270).encode(TEXT), bpe.encode(TEXT))


def test_save_and_load(bpe: BPETokenizer, tmp_path: Path) -> None:
    assert load_tokenizer(tmp_path) is BYTES
    bpe.save(tmp_path / "tokenizer.json")
    again = load_tokenizer(tmp_path)
    assert again.token_bytes == bpe.token_bytes
    assert again.describe() == bpe.describe()
    assert load_tokenizer(tmp_path / "checkpoint.safetensors").vocab_size == 270
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(TokenizerError, match="not a tokenizer"):
        load_tokenizer(tmp_path)
    with pytest.raises(TokenizerError, match="cannot be read"):
        BPETokenizer.load(tmp_path / "nothing.json")


@pytest.mark.parametrize("size", [0, 256])
def test_no_room_for_tokens_is_refused(size: int) -> None:
    with pytest.raises(TokenizerError, match="256 tokens are bytes"):
        BPETokenizer.train(TEXT, size)
    with pytest.raises(TokenizerError, match="nothing to learn"):
        BPETokenizer.train(b"", 270)


def test_without_the_library_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)
    with pytest.raises(TokenizerError, match="pip install"):
        BPETokenizer.train(TEXT, 270)


@pytest.fixture
def text_file(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_bytes(TEXT)
    return path


def test_a_task_with_tokens(text_file: Path) -> None:
    task = TextTask(16, files=[text_file], bpe_vocab_size=270, held_out=0.3)
    same = TextTask(16, files=[text_file], tokenizer=task.tokenizer, held_out=0.3)
    assert task.describe() == same.describe()
    described = task.describe()
    assert described["tokenizer"]["vocab_size"] == task.vocab_size == 270
    assert described["bytes"] == len(TEXT)
    assert "tokenizer" not in TextTask(16, files=[text_file]).describe()
    inputs, targets = task.batch(0, 4)
    assert inputs.shape == targets.shape == (4, 16)
    assert torch.equal(inputs[:, 1:], targets[:, :-1])
    assert to_bytes(torch.cat([inputs[0], targets[0, -1:]]), task.tokenizer) in TEXT
    scored = b"".join(
        to_bytes(row, task.tokenizer) for _, rows in task.eval_batches(4) for row in rows
    )
    count = sum(targets.numel() for _, targets in task.eval_batches(4))
    assert task.bytes_per_token == pytest.approx(len(scored) / count)
    with pytest.raises(TaskError, match="give one of them"):
        TextTask(16, files=[text_file], bpe_vocab_size=270, tokenizer=task.tokenizer)
    with pytest.raises(TaskError, match="tokens \\(of a text of"):
        TextTask(5000, files=[text_file], bpe_vocab_size=270)


def test_bits_per_byte_are_per_byte(text_file: Path) -> None:
    """An untrained model is as surprised by a token as by any; a token is several bytes."""
    task = TextTask(16, files=[text_file], bpe_vocab_size=270)
    config = ModelConfig(d_model=16, n_layers=1, n_heads=2, vocab_size=270, max_seq_len=16)
    metrics = evaluate(build_model(config, seed=0), task)
    assert metrics["loss"] == pytest.approx(math.log(270), abs=0.05)
    per_byte = metrics["loss"] / math.log(2) / task.bytes_per_token
    assert metrics["bits_per_byte"] == pytest.approx(per_byte)


def test_train_and_generate(text_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shape = ["--d-model", "16", "--n-layers", "1", "--n-heads", "2", "--max-seq-len", "16"]
    train = ["train", "text", str(text_file), "--bpe", "270", "--steps", "2", *shape]
    result = CliRunner().invoke(main, [*train, "--out", str(out)])
    assert result.exit_code == 0, result.output
    write = ["generate", "--checkpoint", str(out), "--prompt", "the cat", "--json"]
    result = CliRunner().invoke(main, write)
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert data["prompt_tokens"] == len(encode("the cat", load_tokenizer(out))) < 7
    (out / "tokenizer.json").unlink()
    result = CliRunner().invoke(main, write)
    assert result.exit_code == 2
    assert "knows 270 tokens, and the tokenizer beside it 256" in result.stderr
