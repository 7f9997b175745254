// Text to tokens and back, as Hugging Face's tokenizers does it for a byte-level BPE.
//
// What a tokenizer has learned comes from its tokenizer.json; the steps are those of
// qkvlib/tokenizer.py: line by line, then word by word, then the pair learned first is joined first.

// Python's str.splitlines(keepends=True).
const LINES = /[^\n\r\v\f\x1c-\x1e\x85\u2028\u2029]*(?:\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]|$)/gu;

// GPT-2's words: a word takes the blank before it along.
const WORDS =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

/** A letter for each byte that can be seen in a vocabulary: its own where it has one, else the next free one. */
function lettersOfBytes() {
  const seen = (byte) => (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(seen(byte) ? byte : next++));
}

/**
 * Read a tokenizer.
 *
 * @param {{model: {vocab: Record<string, number>, merges: (string | string[])[]}}} json What
 *   tokenizer.json holds.
 * @returns {{size: number, encode: (text: string) => number[], bytesOf: (token: number) => Uint8Array}}
 */
export function readTokenizer(json) {
  const { vocab, merges } = json.model;
  const letters = lettersOfBytes();
  const byteOf = new Map(letters.map((letter, byte) => [letter, byte]));
  const rank = new Map(
    merges.map((pair, i) => [(Array.isArray(pair) ? pair : pair.split(" ")).join(" "), i]),
  );
  const pieces = [];
  for (const [piece, token] of Object.entries(vocab)) {
    pieces[token] = Uint8Array.from([...piece].map((letter) => byteOf.get(letter)));
  }
  const utf8 = new TextEncoder();

  function join(word) {
    let parts = [...utf8.encode(word)].map((byte) => letters[byte]);
    for (;;) {
      let [best, at] = [Infinity, -1];
      for (let i = 0; i + 1 < parts.length; i++) {
        const found = rank.get(`${parts[i]} ${parts[i + 1]}`);
        if (found < best) [best, at] = [found, i];
      }
      if (at < 0) return parts.map((part) => vocab[part]);
      const [left, right] = [parts[at], parts[at + 1]];
      const joined = [];
      for (let i = 0; i < parts.length; i++) {
        if (parts[i] === left && parts[i + 1] === right) {
          joined.push(left + right);
          i += 1;
        } else joined.push(parts[i]);
      }
      parts = joined;
    }
  }

  return {
    size: pieces.length,
    encode(text) {
      // A lone half of a surrogate pair is no text; it becomes U+FFFD, as everywhere in the browser.
      const lines = text.toWellFormed?.().match(LINES) ?? text.match(LINES) ?? [];
      return lines.flatMap((line) => (line.match(WORDS) ?? []).flatMap(join));
    },
    bytesOf: (token) => pieces[token],
  };
}

/** What a token stands for, so that it can be seen; a part of a character is shown as its bytes. */
export function faceOf(bytes) {
  const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes); // a BOM is a character as any other
  if (!text.includes("\ufffd")) return text;
  return [...bytes].map((byte) => `⟨${byte.toString(16).padStart(2, "0")}⟩`).join("");
}
