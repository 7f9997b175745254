"""The page's tokenizer against the library's: the same tokens for any text."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from qkvlib import standard_library_text
from qkvlib.tokenizer import BPETokenizer

from in_node import find_node

MODULE = Path(__file__).parents[2] / "book" / "_static" / "lab" / "bpe.mjs"

SCRIPT = """
import { readFileSync } from "node:fs";
const { readTokenizer } = await import(process.argv[1]);
const [tokenizer, texts] = JSON.parse(readFileSync(0, "utf8"));
const bpe = readTokenizer(tokenizer);
const answers = texts.map((text) => {
  const tokens = bpe.encode(text);
  const bytes = tokens.flatMap((token) => [...bpe.bytesOf(token)]);
  return [tokens, new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(bytes))];
});
process.stdout.write(JSON.stringify([bpe.size, answers]));
"""

HARD = [
    "",
    "def f(x):\n    return x + 1\n",
    "   four  blanks\t\tand tabs \r\n\r\nand lines\x85\u2028 of all\x0b\x0ckinds\x1c.",
    "they're, it's, I'll, we'd, don't, 'sir",
    "naïve café, straße, 12³ ½ ¾",
    "😀👩‍👩‍👧 emoji, and 🇩🇪 flags",
    "مرحبا بالعالم, שלום עולם",
    "日本語のテキスト\u3000with wide blanks\u00a0and hard ones\ufeff",
    "\x00\x01\x7f\xad\x9f",
    "\ufeffbegins with a mark of byte order",
]


@pytest.fixture(scope="module")
def tokenizer() -> BPETokenizer:
    return BPETokenizer.train(standard_library_text()[:200_000], 700)


def in_page(tokenizer: BPETokenizer, texts: list[str]) -> list[tuple[list[int], str]]:
    run = subprocess.run(
        [find_node(), "--input-type=module", "-e", SCRIPT, MODULE.as_uri()],
        input=json.dumps([json.loads(tokenizer._json), texts]),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    size, answers = json.loads(run.stdout)
    assert size == tokenizer.vocab_size
    return [(tokens, back) for tokens, back in answers]


def check(tokenizer: BPETokenizer, texts: list[str]) -> None:
    for text, (tokens, back) in zip(texts, in_page(tokenizer, texts), strict=True):
        assert tokens == tokenizer.encode(text.encode()).tolist(), repr(text)
        assert back == text


def test_code_and_all_that_is_hard(tokenizer: BPETokenizer) -> None:
    code = standard_library_text()[300_000:340_000].decode(errors="ignore")
    check(tokenizer, [*HARD, code])


@settings(max_examples=5, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=100, max_size=200))
def test_any_text(tokenizer: BPETokenizer, texts: list[str]) -> None:
    check(tokenizer, texts)
