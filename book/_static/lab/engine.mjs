// Models that run where the reader is: ONNX graphs by onnxruntime-web.
//
// The graphs are those of qkvlib/export.py. A language model's takes the cache in and gives it out as
// tensors, so what is drawn as the cache is what the model really holds. Its weights lie beside it, in
// the file that PyTorch reads as well.

import { faceOf, readTokenizer } from "./bpe.mjs";

/** What can go wrong, in words for the reader; `retry` says whether trying again may help. */
export class EngineError extends Error {
  constructor(message, { retry = false } = {}) {
    super(message);
    this.retry = retry;
  }
}

/**
 * Fetch a file, telling how far it is; a file of another size or sum is refused.
 *
 * A file may be published anew under its old name. So one with a sum has it in its address, and of one
 * without the server is asked whether what the browser remembers is still right.
 */
export async function fetchWhole(url, { bytes, sha256, progress = () => {}, signal } = {}) {
  const address = new URL(url);
  if (sha256) address.searchParams.set("sha256", sha256.slice(0, 16));
  let answer;
  try {
    answer = await fetch(address, { signal, cache: sha256 ? "default" : "no-cache" });
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

const nameOf = (url) => new URL(url).pathname.split("/").at(-1);

/** How many tokens two texts begin with in common. */
function common(a, b) {
  let n = 0;
  while (n < a.length && n < b.length && a[n] === b[n]) n++;
  return n;
}

/** Names of what goes into a graph and comes out of it, as qkvlib/export.py gives them. */
export function graphNames({ config, cached }) {
  const parts = Object.keys(cached);
  const kept = Array.from({ length: config.n_layers }, (_, i) => parts.map((name) => `${i}.${name}`)).flat();
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

/** The likeliest tokens and their shares, the likeliest first. */
export function likeliest(logits, count) {
  const most = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  const powers = Float64Array.from(logits, (x) => Math.exp(x - most));
  const all = powers.reduce((a, b) => a + b, 0);
  return Array.from(powers, (power, token) => ({ token, share: power / all }))
    .sort((a, b) => b.share - a.share || a.token - b.token)
    .slice(0, count);
}

const tokensOf = (ort, tokens) =>
  new ort.Tensor("int64", BigInt64Array.from(tokens, BigInt), [1, tokens.length]);

function checkTokens(tokens, { vocab_size: known }) {
  if (!tokens.every((token) => Number.isInteger(token) && token >= 0 && token < known)) {
    throw new EngineError(`tokens ${tokens.slice(0, 8)}: expected whole numbers from 0 to ${known - 1}.`);
  }
}

/** A language model, ready to read, with what it holds. */
export class Session {
  constructor(ort, inner, entry) {
    this.ort = ort;
    this.inner = inner;
    this.entry = entry;
    this.names = graphNames(entry);
    this.reset();
  }

  /** How many tokens are held. */
  get length() {
    return this.tokens.length;
  }

  /** Bytes of the tensors that are held. */
  get cacheBytes() {
    return this.past.reduce((sum, tensor) => sum + tensor.data.byteLength, 0);
  }

  reset() {
    const { n_kv_heads: heads } = this.entry.config;
    const columns = Object.values(this.entry.cached);
    this.tokens = [];
    this.past = this.names.past.map((_, i) => {
      const dims = [1, heads, 0, columns[i % columns.length]];
      return new this.ort.Tensor("float32", new Float32Array(0), dims);
    });
  }

  /** Forget all but the first tokens. */
  truncate(length) {
    if (length >= this.length) return;
    this.past = this.past.map(({ data, dims: [batch, heads, held, columns] }) => {
      const first = new Float32Array(heads * length * columns);
      for (let head = 0; head < heads; head++) {
        const start = head * held * columns;
        first.set(data.subarray(start, start + length * columns), head * length * columns);
      }
      return new this.ort.Tensor("float32", first, [batch, heads, length, columns]);
    });
    this.tokens.length = length;
  }

  /**
   * Read a text; what of its beginning is held is not read again.
   *
   * @param {number[]} tokens From 1 to max_seq_len.
   * @param {number} known So many of the first tokens the asker knows all about. The others are read
   *   even where they are held, and the last one always.
   * @returns {Promise<{from: number, logits: Float32Array, weights: Float32Array, shape: number[], ms: number}>}
   *   How many tokens were not read again; logits of the last one; weights of shape (layers, heads,
   *   read, held).
   */
  async read(tokens, known = 0) {
    const { name, config } = this.entry;
    const most = config.max_seq_len;
    checkTokens(tokens, config);
    if (!tokens.length || tokens.length > most) {
      throw new EngineError(`a text of ${tokens.length} tokens: ${name} reads 1 to ${most}.`);
    }
    if (!(Number.isInteger(known) && known >= 0)) {
      throw new EngineError(`known=${known}: expected a whole number, 0 or more.`);
    }
    const from = Math.min(common(this.tokens, tokens), known, tokens.length - 1);
    this.truncate(from);
    const fresh = tokens.slice(from);
    const feeds = { tokens: tokensOf(this.ort, fresh) };
    this.names.past.forEach((each, i) => {
      feeds[each] = this.past[i];
    });
    const started = performance.now();
    const found = await this.inner.run(feeds);
    const ms = performance.now() - started;
    this.past = this.names.present.map((each) => found[each]);
    this.tokens.push(...fresh);
    const vocabulary = found.logits.dims[2];
    return {
      from,
      logits: found.logits.data.slice(-vocabulary),
      weights: found.weights.data,
      shape: [...found.weights.dims],
      ms,
    };
  }
}

/** A model that sees a whole list at once, ready to look. */
export class Looker {
  constructor(ort, inner, entry) {
    this.ort = ort;
    this.inner = inner;
    this.entry = entry;
  }

  /**
   * Look at a list.
   *
   * @param {number[]} tokens As many as the model was trained on.
   * @returns {Promise<object>} Logits (T, vocabulary); scores and weights, and their shape (layers,
   *   heads, T, T); the likeliest token for each place.
   */
  async look(tokens) {
    const { name, config } = this.entry;
    if (tokens.length !== config.max_seq_len) {
      throw new EngineError(
        `a list of ${tokens.length}: ${name} was trained on lists of ${config.max_seq_len}.`,
      );
    }
    checkTokens(tokens, config);
    const started = performance.now();
    const { logits, scores, weights } = await this.inner.run({ tokens: tokensOf(this.ort, tokens) });
    const ms = performance.now() - started;
    const vocabulary = logits.dims[2];
    const answers = tokens.map((_, i) =>
      choose(logits.data.subarray(i * vocabulary, (i + 1) * vocabulary), 0),
    );
    return {
      logits: logits.data,
      scores: scores.data,
      weights: weights.data,
      shape: [...weights.dims],
      answers,
      ms,
    };
  }
}

const KINDS = { gpt: { Model: Session, task: "read" }, encoder: { Model: Looker, task: "look" } };

/** Add up how far several downloads are. */
function together(facts, progress) {
  const loaded = facts.map(() => 0);
  const total = facts.reduce((sum, { bytes = 0 }) => sum + bytes, 0);
  return (i) => (now) => {
    loaded[i] = now;
    progress(
      loaded.reduce((a, b) => a + b, 0),
      total,
    );
  };
}

/** Fetch several files at once; when one fails, the others are given up. */
async function fetchAll(wanted, progress = () => {}) {
  const stop = new AbortController();
  const tell = together(wanted, progress);
  try {
    return await Promise.all(
      wanted.map(({ url, bytes, sha256 }, i) =>
        fetchWhole(url, { bytes, sha256, progress: tell(i), signal: stop.signal }),
      ),
    );
  } catch (error) {
    stop.abort();
    throw error;
  }
}

/** A promise that is made once, and again after it has failed. */
function once(make) {
  let made = null;
  return (...given) => {
    made ??= make(...given).catch((error) => {
      made = null;
      throw error;
    });
    return made;
  };
}

/** All models of a folder. */
export class Engine {
  /**
   * @param {object} given
   * @param {string | URL} given.models The folder's address, with a slash at its end.
   * @param {string | URL} given.runtime The address of what says which files onnxruntime-web has.
   * @param {string | URL} given.vendor The folder of these, with a slash at its end.
   * @param {(url: string) => Promise<object>} given.load Loads a module.
   */
  constructor({ models, runtime, vendor, load = (url) => import(url) }) {
    Object.assign(this, { models, runtime, vendor, loadModule: load });
    this.ready = new Map();
    this.turns = new Map();
    this.tries = 0;
    this.open = once(() => this.#open());
    this.files = once(() => this.#json(this.runtime));
  }

  async #json(url, facts) {
    const text = new TextDecoder().decode(await fetchWhole(url, facts));
    try {
      return JSON.parse(text);
    } catch {
      throw new EngineError(`${nameOf(url)} is not what was published.`, { retry: true });
    }
  }

  /** Read the list of models, and the tokenizer if there are texts. */
  async #open() {
    const manifest = await this.#json(new URL("manifest.json", this.models));
    const { file, ...facts } = manifest.tokenizer;
    if (file) this.tokenizer = readTokenizer(await this.#json(new URL(file, this.models), facts));
    this.manifest = manifest;
    return manifest;
  }

  #entry(name) {
    const entry = this.manifest.models.find((each) => each.name === name);
    if (!entry) throw new EngineError(`There is no model ${name} here.`);
    return entry;
  }

  /** Make a model ready; one that is ready already is at once. */
  async load(name, progress = () => {}) {
    await this.open();
    const entry = this.#entry(name);
    if (!this.ready.has(name)) this.ready.set(name, once((tell) => this.#load(entry, tell)));
    return this.ready.get(name)(progress);
  }

  async #load(entry, progress) {
    const place = ({ file, ...facts }) => ({ url: new URL(file, this.models), ...facts });
    const wanted = [place(entry.graph), place(entry.weights)];
    const { script, wasm } = await this.files();
    // The runtime is the largest download, and there is one for all models.
    if (!this.binary) wanted.push({ ...wasm, url: new URL(wasm.file, this.vendor) });
    const [graph, data, binary] = await fetchAll(wanted, progress);
    this.binary ??= binary;
    this.ort ??= await this.#start(script);
    let inner;
    try {
      inner = await this.ort.InferenceSession.create(graph, {
        executionProviders: ["wasm"],
        externalData: [{ path: entry.weights.file, data }],
      });
    } catch (error) {
      // The files are whole, so trying again would not help.
      throw new EngineError(`This browser cannot run ${entry.name}: ${error.message ?? error}`);
    }
    return new KINDS[entry.kind].Model(this.ort, inner, entry);
  }

  async #start({ file }) {
    const url = new URL(file, this.vendor);
    // A browser remembers a module that could not be had; under another address it tries again.
    if (this.tries > 0) url.searchParams.set("again", this.tries);
    this.tries += 1;
    let ort;
    try {
      ort = await this.loadModule(url.href);
    } catch {
      throw new EngineError(`${file} could not be loaded.`, { retry: true });
    }
    ort.env.wasm.numThreads = 1;
    ort.env.wasm.wasmBinary = this.binary.buffer;
    return ort;
  }

  /** Do something with a model that is ready, after all that it was asked before. */
  use(name, kind, work) {
    const before = this.turns.get(name) ?? Promise.resolve();
    const turn = before.then(async () => {
      const model = await this.load(name);
      if (model.entry.kind !== kind) {
        throw new EngineError(
          `${name} is of kind '${model.entry.kind}', and this is asked of a '${kind}'. ` +
            `Ask it to ${KINDS[model.entry.kind].task}.`,
        );
      }
      return work(model);
    });
    this.turns.set(name, turn.catch(() => {}));
    return turn;
  }

  /** A token with its face. */
  faced(token) {
    return { token, face: faceOf(this.tokenizer.bytesOf(token)) };
  }
}
