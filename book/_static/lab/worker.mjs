// The engine behind a page: it runs in a worker, so that the page never waits for a model.
//
// Messages in: {id, task, ...}; out: {id, result}, {id, error, retry} or {id, loaded, total}.

import { Engine, choose, dice } from "./engine.mjs";
import { textStream } from "./bpe.mjs";

let engine;

/** What a token stands for, as text; a part of a character is shown as its bytes. */
function faceOf(token) {
  const bytes = engine.tokenizer.bytesOf(token);
  const text = new TextDecoder().decode(bytes);
  if (!text.includes("\ufffd")) return text;
  return [...bytes].map((byte) => `⟨${byte.toString(16).padStart(2, "0")}⟩`).join("");
}

const TASKS = {
  async open({ ort, wasm }) {
    const library = await import(ort);
    library.env.wasm.numThreads = 1;
    library.env.wasm.wasmPaths = { wasm };
    engine = new Engine(new URL("./", import.meta.url), library);
    return engine.open();
  },

  async load({ name }, progress) {
    const { entry } = await engine.load(name, progress);
    return entry;
  },

  encode: ({ text }) =>
    engine.tokenizer.encode(text).map((token) => ({ token, face: faceOf(token) })),

  /** The text of some tokens, where characters may be spread over several. */
  decode({ tokens }) {
    const stream = textStream();
    return tokens.map((token) => stream.push(engine.tokenizer.bytesOf(token))).join("") + stream.end();
  },

  /** Keep the first tokens that are held, read more, and choose what comes next. */
  async read({ name, keep, tokens, temperature = 0, seed = 0 }) {
    const session = await engine.load(name);
    session.truncate(keep);
    const { logits, weights, shape, ms } = await session.read(tokens);
    // The lot depends on the place, so that going back and on again gives the same text.
    const token = choose(logits, temperature, dice(seed * 65_537 + session.length));
    return {
      weights,
      shape,
      ms,
      held: session.length,
      cacheBytes: session.cacheBytes,
      next: { token, face: faceOf(token) },
    };
  },
};

self.onmessage = async ({ data: { id, task, ...given } }) => {
  const progress = (loaded, total) => self.postMessage({ id, loaded, total });
  try {
    self.postMessage({ id, result: await TASKS[task](given, progress) });
  } catch (error) {
    self.postMessage({ id, error: error.message ?? String(error), retry: Boolean(error.retry) });
  }
};
