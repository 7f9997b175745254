// A language model that runs where the reader is: ONNX graphs by onnxruntime-web, one token a step.
//
// The graphs are those of qkvlib/export.py: the cache goes in and comes out as tensors, so what is
// drawn as the cache is what the model really holds.

import { readTokenizer } from "./bpe.mjs";

/** What can go wrong, in words for the reader; `retry` says whether trying again may help. */
export class EngineError extends Error {
  constructor(message, { retry = false } = {}) {
    super(message);
    this.retry = retry;
  }
}

/** Fetch a file, telling how far it is; a file of another size or sum is refused. */
export async function fetchWhole(url, { bytes, sha256, progress = () => {}, signal } = {}) {
  let answer;
  try {
    answer = await fetch(url, { signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new EngineError(`${nameOf(url)} could not be reached.`, { retry: true });
  }
  if (!answer.ok) {
    throw new EngineError(`${nameOf(url)} could not be loaded: the server answers ${answer.status}.`, {
      retry: true,
    });
  }
  const parts = [];
  let loaded = 0;
  const reader = answer.body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      parts.push(value);
      loaded += value.length;
      progress(loaded, bytes);
    }
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new EngineError(`${nameOf(url)} was cut off after ${loaded} bytes.`, { retry: true });
  }
  const whole = new Uint8Array(loaded);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  if (bytes !== undefined && loaded !== bytes) {
    throw new EngineError(`${nameOf(url)} has ${loaded} bytes in place of ${bytes}.`, { retry: true });
  }
  // crypto.subtle is missing on pages that are not from https or this machine.
  if (sha256 && globalThis.crypto?.subtle) {
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", whole));
    const found = [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    if (found !== sha256) {
      throw new EngineError(`${nameOf(url)} is not the file that was published.`, { retry: true });
    }
  }
  return whole;
}

const nameOf = (url) => String(url).split("/").at(-1);

/** Names of what goes into a graph and comes out of it, as qkvlib/export.py gives them. */
export function graphNames({ n_layers, cached }) {
  const kept = Array.from({ length: n_layers }, (_, i) => cached.map((name) => `${i}.${name}`)).flat();
  return { past: kept.map((each) => `past.${each}`), present: kept.map((each) => `present.${each}`) };
}

/** A random number generator that gives the same numbers everywhere (mulberry32). */
export function dice(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Choose the next token: the likeliest at temperature 0, else by lot. */
export function choose(logits, temperature, random) {
  let best = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i] > logits[best]) best = i;
  if (temperature === 0) return best;
  const powers = Float64Array.from(logits, (x) => Math.exp((x - logits[best]) / temperature));
  let left = random() * powers.reduce((a, b) => a + b, 0);
  for (let i = 0; i < powers.length; i++) {
    left -= powers[i];
    if (left < 0) return i;
  }
  return best;
}

/** One variant, ready to run, with what it holds. */
export class Session {
  constructor(ort, inner, entry) {
    this.ort = ort;
    this.inner = inner;
    this.entry = entry;
    this.names = graphNames(entry.config);
    this.reset();
  }

  /** Tokens held. */
  get length() {
    return this.held;
  }

  /** Bytes of the tensors that are held. */
  get cacheBytes() {
    return this.past.reduce((sum, tensor) => sum + tensor.data.byteLength, 0);
  }

  reset() {
    const { n_kv_heads: heads, head_dim: columns } = this.entry.config;
    this.held = 0;
    this.past = this.names.past.map(
      () => new this.ort.Tensor("float32", new Float32Array(0), [1, heads, 0, columns]),
    );
  }

  /** Forget all but the first tokens. */
  truncate(length) {
    if (length >= this.held) return;
    this.past = this.past.map((tensor) => {
      const [batch, heads, held, columns] = tensor.dims;
      const kept = new Float32Array(heads * length * columns);
      for (let head = 0; head < heads; head++) {
        const from = head * held * columns;
        kept.set(tensor.data.subarray(from, from + length * columns), head * length * columns);
      }
      return new this.ort.Tensor("float32", kept, [batch, heads, length, columns]);
    });
    this.held = length;
  }

  /**
   * Read tokens.
   *
   * @param {number[]} tokens At least one; with those held no more than max_seq_len.
   * @returns {Promise<{logits: Float32Array, weights: Float32Array, shape: number[], ms: number}>}
   *   Logits of the last token; weights of shape (layers, heads, new, held).
   */
  async read(tokens) {
    const { max_seq_len: most } = this.entry.config;
    if (!tokens.length || this.held + tokens.length > most) {
      throw new EngineError(
        `${tokens.length} tokens after ${this.held}: this model reads at most ${most} in all.`,
      );
    }
    const ids = BigInt64Array.from(tokens, BigInt);
    const feeds = { tokens: new this.ort.Tensor("int64", ids, [1, tokens.length]) };
    this.names.past.forEach((name, i) => {
      feeds[name] = this.past[i];
    });
    const started = performance.now();
    const found = await this.inner.run(feeds);
    const ms = performance.now() - started;
    this.past = this.names.present.map((name) => found[name]);
    this.held += tokens.length;
    const vocabulary = found.logits.dims[2];
    return {
      logits: found.logits.data.slice(-vocabulary),
      weights: found.weights.data,
      shape: found.weights.dims,
      ms,
    };
  }

  async close() {
    await this.inner.release();
  }
}

/** All variants of a folder of models. */
export class Engine {
  /**
   * @param {string} base The folder's address, with a slash at its end.
   * @param {object} ort onnxruntime-web.
   */
  constructor(base, ort) {
    this.base = base;
    this.ort = ort;
    this.sessions = new Map();
  }

  /** Read the list of models and the tokenizer. */
  async open() {
    const text = async (file, facts) =>
      JSON.parse(new TextDecoder().decode(await fetchWhole(new URL(file, this.base), facts)));
    this.manifest = await text("manifest.json");
    const { file, bytes, sha256 } = this.manifest.tokenizer;
    this.tokenizer = readTokenizer(await text(file, { bytes, sha256 }));
    return this.manifest;
  }

  /** Make a variant ready; one that is ready already is at once. */
  load(name, progress) {
    if (!this.sessions.has(name)) {
      const loading = this.#load(name, progress);
      this.sessions.set(name, loading);
      // What failed may be tried again.
      loading.catch(() => this.sessions.delete(name));
    }
    return this.sessions.get(name);
  }

  async #load(name, progress) {
    const entry = this.manifest.models.find((each) => each.name === name);
    if (!entry) throw new EngineError(`There is no model ${name} here.`);
    const { file, bytes, sha256 } = entry;
    const graph = await fetchWhole(new URL(file, this.base), { bytes, sha256, progress });
    const inner = await this.ort.InferenceSession.create(graph, { executionProviders: ["wasm"] });
    return new Session(this.ort, inner, entry);
  }
}
