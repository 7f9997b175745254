// What is behind the Attention Lab's picture: what a model has made of a text, and what computes it.
//
// Not a module of its own: this text is put in front of attention_lab.js. What computes stands behind
// one interface with three sides: models in a worker of this page, models in the notebook's kernel, and
// runs that were stored, where neither can be had.

const newId = (stem) => `${stem}-${Math.random().toString(36).slice(2)}`;

// ------------------------------------------------------------------------------------ what was read

/** How many tokens two texts begin with in common. */
export function common(a, b) {
  let n = 0;
  while (n < a.length && n < b.length && a[n] === b[n]) n++;
  return n;
}

/**
 * What one model has made of a text: for each token it has read, where that token looks.
 *
 * A row holds the weights of one token: layers x heads x the tokens it may look at, flat.
 */
export class Tape {
  constructor() {
    this.tokens = [];
    this.rows = [];
    this.bytes = 0; // of the cache, as it was measured after the last token
    this.next = null; // what is written after the last token
    this.likeliest = []; // what the model takes for likely there
    this.ms = []; // of each reading: [tokens, milliseconds]
  }

  get length() {
    return this.rows.length;
  }

  /** Forget what is not read any more. */
  cut(length) {
    if (length >= this.length) return;
    this.bytes = (this.bytes / this.length) * length;
    this.tokens.length = length;
    this.rows.length = length;
    this.next = null;
    this.likeliest = [];
  }

  /** Take in an answer about the tokens from `from` on. */
  add(tokens, { from, weights, shape, next, likeliest = [], cacheBytes, ms }) {
    this.cut(from);
    const [layers, heads, fresh, held] = shape;
    if (from !== this.length || from + fresh !== held || held !== tokens.length) {
      const [got, asked] = [`${held - fresh} to ${held}`, `${this.length} to ${tokens.length}`];
      throw new Error(`an answer about tokens ${got} in place of ${asked}`);
    }
    for (let i = 0; i < fresh; i++) {
      const sees = from + i + 1;
      const row = new Float32Array(layers * heads * sees);
      for (let map = 0; map < layers * heads; map++) {
        const start = (map * fresh + i) * held;
        row.set(weights.subarray(start, start + sees), map * sees);
      }
      this.rows.push(row);
    }
    this.tokens = [...tokens];
    this.next = next;
    this.likeliest = likeliest;
    this.bytes = cacheBytes;
    this.ms.push([fresh, ms]);
  }

  /** Weights of token `i` in one map: a view of as many numbers as it sees. */
  row(map, i) {
    const sees = this.sees(i);
    return this.rows[i].subarray(map * sees, (map + 1) * sees);
  }

  sees(i) {
    return i + 1;
  }
}

/** The same for a model that sees the whole list at once. */
export class Look extends Tape {
  constructor({ tokens, weights, scores, shape, answers, ms }) {
    super();
    const [layers, heads, length] = shape;
    this.tokens = tokens;
    this.scores = scores;
    this.answers = answers;
    this.ms = [[length, ms]];
    const maps = layers * heads;
    for (let i = 0; i < length; i++) {
      const row = new Float32Array(maps * length);
      for (let map = 0; map < maps; map++) {
        const start = (map * length + i) * length;
        row.set(weights.subarray(start, start + length), map * length);
      }
      this.rows.push(row);
    }
  }

  sees() {
    return this.length;
  }

  /** ‖S − Sᵀ‖ / ‖S‖ of one map's scores. */
  asymmetry(map) {
    const n = this.length;
    const at = (i, j) => this.scores[(map * n + i) * n + j];
    let lean = 0;
    let size = 0;
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < n; j++) {
        lean += (at(i, j) - at(j, i)) ** 2;
        size += at(i, j) ** 2;
      }
    }
    return Math.sqrt(lean) / Math.max(Math.sqrt(size), 1e-30);
  }
}

/** The places that a row looks at most: at most `count`, each with at least `least`. */
export function strongest(row, count = 4, least = 0.02) {
  return [...row.keys()]
    .filter((j) => row[j] >= least)
    .sort((a, b) => row[b] - row[a] || a - b)
    .slice(0, count);
}

/** Mean distance of two maps of the same text: half the sum of |differences|, over rows up to `upto`. */
export function distance(a, b, map, upto) {
  const n = Math.min(a.length, b.length, upto);
  if (n === 0) return 0;
  let sum = 0;
  for (let i = 0; i < n; i++) {
    const [x, y] = [a.row(map, i), b.row(map, i)];
    for (let j = 0; j < x.length; j++) sum += Math.abs(x[j] - y[j]);
  }
  return sum / 2 / n;
}

/**
 * Milliseconds per token, the mean of the last readings of one token; null where nothing was measured.
 *
 * The mean, since some browsers round each reading, to whole milliseconds or to zero.
 */
export function pace(ms) {
  const single = ms.filter(([tokens]) => tokens === 1).slice(-24);
  const sum = single.reduce((all, [, each]) => all + each, 0);
  return sum > 0 ? sum / single.length : null;
}

// ------------------------------------------------------------------------------------------ engines

const PATIENCE = 20_000; // ms without a sign of life until what computes is taken for lost

/** What went wrong, in words for the reader; `retry` says whether trying again may help. */
class LabError extends Error {
  constructor(message, retry = false) {
    super(message);
    this.retry = retry;
  }
}

/** Questions and answers over a line on which only messages travel, perhaps those of others too. */
export function line(send, patience = PATIENCE) {
  const asked = new Map();
  const mark = newId("ask");
  let last = 0;
  const settle = (id, how, value) => {
    const question = asked.get(id);
    if (!question) return;
    clearTimeout(question.clock);
    asked.delete(id);
    question[how](value);
  };
  const lost = () => new LabError("What computes does not answer any more.", true);
  const wind = (id) => {
    const question = asked.get(id);
    clearTimeout(question.clock);
    question.clock = setTimeout(() => {
      settle(id, "reject", lost());
      question.gone();
    }, patience);
  };
  return {
    ask(task, given = {}, { progress = () => {}, gone = () => {} } = {}) {
      const id = `${mark}-${(last += 1)}`;
      return new Promise((resolve, reject) => {
        asked.set(id, { resolve, reject, progress, gone });
        wind(id);
        send({ id, task, ...given });
      });
    },
    answer({ id, result, error, retry, loaded, total }) {
      const question = asked.get(id);
      if (!question) return;
      if (error !== undefined) settle(id, "reject", new LabError(error, retry));
      else if (loaded !== undefined) {
        wind(id);
        question.progress(loaded, total);
      } else settle(id, "resolve", result);
    },
    fail() {
      for (const id of [...asked.keys()]) settle(id, "reject", lost());
    },
  };
}

/** What all engines that compute have in common: how they are asked. */
export class Computing {
  /** Read a text; of its first `known` tokens the asker has the rows already. */
  read(name, tokens, { known = 0, temperature = 0, seed = 0 } = {}) {
    return this.ask("read", { name, tokens, known, temperature, seed });
  }

  look(name, tokens) {
    return this.ask("look", { name, tokens }).then((answer) => ({ ...answer, tokens }));
  }

  encode(name, text) {
    return this.ask("encode", { name, text });
  }

  load(name, progress) {
    return this.ask("load", { name }, progress);
  }
}

/** Models in a worker of this page. */
export class PageEngine extends Computing {
  kind = "page";

  /** @param {string} root Where the site keeps the lab's files, with a slash at its end. */
  constructor(root, make = (url) => new Worker(url, { type: "module" })) {
    super();
    this.root = root;
    this.make = make;
    this.loaded = new Set();
  }

  async ask(task, given, progress) {
    if (!this.worker) this.#start();
    // A worker that was started anew knows nothing of what its forerunner had loaded.
    await this.opened;
    if (given?.name && task !== "load" && !this.loaded.has(given.name)) await this.load(given.name);
    return this.#send(task, given, progress);
  }

  async load(name, progress) {
    if (this.loaded.has(name) && this.worker) return;
    if (!this.worker) this.#start();
    await this.opened;
    await this.#send("load", { name }, progress);
    this.loaded.add(name);
  }

  async open() {
    if (!this.worker) this.#start();
    await this.opened;
  }

  #start() {
    this.worker = this.make(new URL("worker.mjs", this.root));
    const talk = line((message) => this.worker.postMessage(message));
    this.talk = talk;
    this.worker.onmessage = ({ data }) => talk.answer(data);
    this.worker.onerror = (event) => {
      event.preventDefault?.();
      this.lose();
    };
    this.opened = this.#send("open");
    // What could not be opened is tried anew by the next question.
    this.opened.catch(() => this.lose());
  }

  #send(task, given, progress) {
    return this.talk.ask(task, given, { progress, gone: () => this.lose() });
  }

  /** Give the worker up; the next question starts another. */
  lose() {
    const { worker, talk } = this;
    this.worker = null;
    this.loaded.clear();
    worker?.terminate();
    talk?.fail();
  }

  close() {
    this.lose();
  }
}

/** An answer with its arrays, which travel as bytes beside the message; that says where. */
function withArrays(result, buffers) {
  if (Array.isArray(result) || typeof result !== "object") return result;
  const arrayOf = ({ buffer, byteOffset, byteLength }) =>
    new Float32Array(buffer.slice(byteOffset, byteOffset + byteLength));
  return Object.fromEntries(
    Object.entries(result).map(([name, value]) => {
      const at = value?.buffer;
      return [name, Number.isInteger(at) ? arrayOf(buffers[at]) : value];
    }),
  );
}

/** Models in the notebook's kernel, over the widget's own messages. */
export class KernelEngine extends Computing {
  kind = "kernel";

  constructor(model) {
    super();
    this.talk = line((message) => model.send(message));
    // All views of a widget hear one and the same message: it is left as it came.
    this.hear = (message, buffers) =>
      this.talk.answer({ ...message, result: withArrays(message.result, buffers) });
    model.on("msg:custom", this.hear);
    this.close = () => model.off("msg:custom", this.hear);
  }

  open() {
    return this.ask("open");
  }

  ask(task, given, progress) {
    return this.talk.ask(task, given, { progress });
  }
}

const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";

/** Numbers from text as Python packed it: steps of 1/63, "~" and a length for zeros. */
export function unpack(text) {
  const flat = [];
  for (let at = 0; at < text.length; at++) {
    if (text[at] === "~") {
      at += 1;
      for (let n = DIGITS.indexOf(text[at]); n > 0; n--) flat.push(0);
    } else flat.push(DIGITS.indexOf(text[at]) / (DIGITS.length - 1));
  }
  return Float32Array.from(flat);
}

/** Runs that were stored: all models have read one text and the same lists, and nothing is computed. */
export class StoredEngine {
  kind = "stored";

  /** @param {object} stored What scripts/make_lab.py has kept: examples, text, faces and models. */
  constructor(stored) {
    this.faces = stored.faces;
    this.given = stored.examples.text;
    this.runtimeBytes = stored.runtime_bytes ?? 0; // what models that compute need beside themselves
    this.models = new Map(stored.models.map((model) => [model.entry.name, model]));
    this.text = stored.text.tokens.map((token) => this.#faced(token));
    this.prompt = stored.text.prompt;
  }

  #faced(token) {
    return { token, face: this.faces[token] };
  }

  async open() {}

  async load() {}

  /** Whether what a state asks for was stored. */
  has({ kind, prompt, digits, temperature }) {
    if (kind === "text") return prompt === this.given && temperature === 0;
    const same = (list) => list.tokens.join() === digits.join();
    return [...this.models.values()].some((model) => model.lists?.some(same));
  }

  /** The example; only its own prompt can be had. */
  async encode(name, text) {
    if (text !== this.given) throw new LabError("This prompt was not stored: a model itself has to read it.");
    return this.text.slice(0, this.prompt);
  }

  async read(name, tokens) {
    const model = this.models.get(name);
    const all = this.text.map((each) => each.token);
    if (!model || common(all, tokens) < tokens.length) {
      throw new LabError("This text was not stored: the model itself has to read it.");
    }
    const n = tokens.length;
    const { n_layers: layers, n_heads: heads } = model.entry.config;
    const weights = new Float32Array(layers * heads * n * n);
    model.maps.flat().forEach((packed, m) => {
      const map = unpack(packed);
      for (let i = 0; i < n; i++) {
        weights.set(map.subarray(i * all.length, i * all.length + n), (m * n + i) * n);
      }
    });
    return {
      from: 0, weights, shape: [layers, heads, n, n], next: this.text[n] ?? null, ms: null,
      likeliest: model.likeliest[n - 1].map(([token, share]) => ({ ...this.#faced(token), share })),
      cacheBytes: model.entry.bytes_per_token * n,
    }; // prettier-ignore
  }

  async look(name, tokens) {
    const model = this.models.get(name);
    const run = model?.lists.find((list) => list.tokens.join() === tokens.join());
    if (!run) throw new LabError("This list was not stored: the model itself has to read it.");
    const { n_layers: layers, n_heads: heads } = model.entry.config;
    const shape = [layers, heads, tokens.length, tokens.length];
    const weights = Float32Array.from(run.maps.flat().flatMap((packed) => [...unpack(packed)]));
    return { tokens, weights, scores: run.scores, shape, answers: run.answers, ms: null };
  }

  close() {}
}

// ------------------------------------------------------------------------------- a link to what is shown

const IN_LINK = ["kind", "variant", "other", "layer", "head", "temperature", "seed", "prompt"];

/** The state as the end of an address: "#lab?variant=Q-K%3DV&…", with how many tokens were written. */
export function toHash(state, written) {
  const fields = new URLSearchParams();
  for (const name of IN_LINK) fields.set(name, state[name]);
  if (written) fields.set("written", written);
  return `#lab?${fields}`;
}

/** What of an address can be used: fields of the right kind; null if it is not the lab's. */
export function fromHash(hash, state) {
  if (!hash.startsWith("#lab?")) return null;
  const fields = new URLSearchParams(hash.slice("#lab?".length));
  const found = {};
  for (const name of IN_LINK) {
    if (!fields.has(name)) continue;
    const text = fields.get(name);
    const value = typeof state[name] === "number" ? Number(text) : text;
    if (typeof value !== "number" || Number.isFinite(value)) found[name] = value;
  }
  const written = Number(fields.get("written") ?? 0);
  return { changes: found, written: Number.isInteger(written) && written > 0 ? written : 0 };
}

// ------------------------------------------------------------------------------------------- models

/** The entry of a model, by the engine's name of it or the reader's. */
export function entryOf(state, name = state.variant) {
  const models = state.models.filter((each) => each.kind === state.kind);
  for (const field of ["name", "title", "both_forms", "tuple_form"]) {
    const found = models.find((each) => each[field] === name);
    if (found) return found;
  }
  return null;
}

/** Whether two models can stand side by side: map by map, over the same tokens. */
export function comparable(a, b) {
  const same = (name) => a.config[name] === b.config[name];
  return a.kind === b.kind && a.tokenizer === b.tokenizer && same("n_layers") && same("n_heads");
}

/** What of a state can be shown: what does not exist falls to the nearest that does. */
export function fitting(state) {
  const { models, task, digits } = state;
  const kind = models.some((each) => each.kind === state.kind) ? state.kind : models[0].kind;
  const own = entryOf({ ...state, kind }) ?? models.find((each) => each.kind === kind);
  const other = entryOf({ ...state, kind }, state.other);
  const whole = (value, most) => Math.max(0, Math.min(Math.trunc(value) || 0, most));
  const { n_digits: n, length = digits.length } = task;
  const fits = digits.length === length && digits.every((x) => Number.isInteger(x) && x >= 0 && x < n);
  const drawn = Number.isFinite(state.temperature) && state.temperature > 0;
  return {
    kind,
    variant: own.name,
    other: other && other !== own && comparable(own, other) ? other.name : "",
    layer: whole(state.layer, own.config.n_layers - 1),
    head: whole(state.head, own.config.n_heads - 1),
    temperature: drawn ? state.temperature : 0,
    seed: whole(state.seed, 2 ** 32 - 1),
    digits: fits || !n ? digits : Array.from({ length }, (_, i) => i % n),
  };
}

/** What can be chosen beside a sharing: its ways to share heads, or with and without (X)+. */
export function optionsOf(state, sharing) {
  return state.models.filter((each) => each.kind === state.kind && each.sharing === sharing);
}

/** The model of a sharing that is most like the one that is shown; what had to change. */
export function nearestOf(state, sharing) {
  const options = optionsOf(state, sharing);
  const wanted = entryOf(state)?.option;
  return options.find((each) => each.option === wanted) ?? options[0] ?? null;
}

/** What a task of lists asks for. */
export function answersTo(task, inputs) {
  const sorted = [...inputs].sort((a, b) => a - b);
  return { REVERSE: [...inputs].reverse(), SORT: sorted, COPY: [...inputs] }[task];
}

// ---------------------------------------------------------------------------------------- the course

const FREE = 16; // places that a prompt must leave for what is to be written

/** What is being read and written, and by whom: all but the picture. */
export class Lab {
  /**
   * @param {object} given
   * @param {() => object} given.get The widget's state.
   * @param {object} given.engine What computes, or replays.
   * @param {(() => object) | null} given.waker Makes the engine that computes, where this one replays.
   * @param {() => void} given.changed Called after each change.
   */
  constructor({ get, engine, waker = null, changed = () => {} }) {
    Object.assign(this, { get, engine, waker, changed });
    this.text = [];
    this.prompt = 0; // how many tokens of the text were given
    this.dropped = 0; // tokens at its beginning that found no room
    this.tapes = new Map();
    this.looks = new Map();
    this.playing = false;
    this.run = 0; // of writing: a later one ends those before it
    this.wished = false;
    this.waking = null; // a promise, while models are started
    this.starting = null; // their engine
    this.standing = null; // status of that start, which no look at the stored run may wipe away
    this.status = { kind: "idle" };
    this.queue = Promise.resolve();
    this.turn = 0;
    this.closed = false;
  }

  get replays() {
    return this.engine?.kind === "stored";
  }

  /** Names of the models that are looked at, the one that writes first. */
  shown() {
    const { variant, other } = this.get();
    return other && other !== variant ? [variant, other] : [variant];
  }

  tape(name) {
    return (this.get().kind === "lists" ? this.looks : this.tapes).get(name);
  }

  /** Tokens that all models which are shown can read. */
  get places() {
    return Math.min(...this.shown().map((name) => entryOf(this.get(), name).config.max_seq_len));
  }

  get room() {
    return this.places - this.text.length;
  }

  /** Whether a model has read the text to its end, and drawn what comes next as it is to be drawn. */
  #isRead(name) {
    const tape = this.tapes.get(name);
    const tokens = this.text.map((each) => each.token);
    if (!tape || tape.length !== tokens.length || common(tape.tokens, tokens) < tokens.length) return false;
    return tokens.length === 0 || tape.drawn === this.#draw;
  }

  get #draw() {
    const { temperature, seed } = this.get();
    return JSON.stringify([temperature, seed]);
  }

  /** Whether a token can be written now, by what runs now. */
  get canWrite() {
    const { kind } = this.get();
    return kind === "text" && this.text.length > 0 && this.room > 0;
  }

  #say(status) {
    this.status = status;
    this.changed();
  }

  #serial(work) {
    const done = this.queue.then(work);
    this.queue = done.catch(() => {});
    return done;
  }

  /** Do something that may fail; what fails is said, and nothing is left half done. */
  #attempt(work) {
    return this.#serial(async () => {
      if (this.closed) return false;
      try {
        const status = await work();
        this.#say(this.standing ?? status ?? { kind: "idle" });
        return true;
      } catch (error) {
        return this.#failed(error);
      }
    });
  }

  #failed({ message, retry }) {
    this.playing = false;
    this.#say({ kind: "failed", words: message, retry: Boolean(retry) });
    return false;
  }

  get #canWake() {
    return this.replays && Boolean(this.waker) && !this.closed;
  }

  /** Whether what is to be shown was not stored, and models could compute it. */
  get needsModels() {
    return this.#canWake && !this.engine.has(this.get());
  }

  /** Bring all models that are shown up to the text; only the latest wish counts. */
  follow() {
    if (this.needsModels) return this.wake();
    const turn = (this.turn += 1);
    return this.#attempt(async () => {
      if (turn !== this.turn) return;
      await this.#ready();
      await this.#catchUp();
    });
  }

  async #load(engine, say = (status) => this.#say(status)) {
    for (const name of this.shown()) {
      await engine.load(name, (loaded, total) => say({ kind: "loading", name, loaded, total }));
    }
  }

  /** Models loaded, and the text in the tokens of the one that writes. */
  async #ready() {
    await this.engine.open();
    await this.#load(this.engine);
    const { kind, prompt } = this.get();
    if (kind !== "text") return;
    const { tokenizer } = entryOf(this.get());
    const { places } = this;
    const fits = this.text.length <= places;
    if (this.encoded === prompt && this.tokenizer === tokenizer && fits) return;
    const found = await this.engine.encode(this.get().variant, prompt);
    const most = Math.max(places >> 1, places - FREE);
    this.dropped = Math.max(0, found.length - most);
    this.text = found.slice(this.dropped);
    this.prompt = this.text.length;
    this.encoded = prompt;
    this.tokenizer = tokenizer;
  }

  async #catchUp() {
    const { kind, temperature, seed, digits } = this.get();
    for (const name of this.shown()) {
      if (kind === "lists") {
        if (this.looks.get(name)?.tokens.join() === digits.join()) continue;
        this.looks.set(name, new Look(await this.engine.look(name, digits)));
        continue;
      }
      const tokens = this.text.map((each) => each.token);
      const tape = this.tapes.get(name) ?? new Tape();
      this.tapes.set(name, tape);
      if (!tokens.length) tape.cut(0);
      else if (!this.#isRead(name)) {
        const drawn = this.#draw;
        const known = common(tape.tokens, tokens);
        tape.add(tokens, await this.engine.read(name, tokens, { known, temperature, seed }));
        tape.drawn = drawn;
      }
    }
  }

  /** Write one token. */
  step() {
    return this.#attempt(async () => {
      // The choice may change meanwhile: who writes has to have read this very text.
      do {
        await this.#ready();
        await this.#catchUp();
      } while (this.get().kind === "text" && !this.#isRead(this.get().variant));
      // A stored run has no next token at its end; what computes goes on from there.
      const next = this.canWrite ? this.tapes.get(this.get().variant).next : null;
      if (!next) {
        this.playing = false;
        return { kind: "ended" };
      }
      this.text.push(next);
      await this.#catchUp();
    });
  }

  /** Write until told to stop; `pause` waits between tokens. */
  async play(pause) {
    if (this.playing) return;
    const run = (this.run += 1);
    // After a stop another run may have begun while this one waited.
    const goes = () => this.playing && run === this.run;
    this.playing = true;
    this.changed();
    while (goes() && (await this.step())) {
      if (goes()) await pause();
    }
    if (goes()) this.stop();
  }

  stop() {
    this.playing = false;
    this.changed();
  }

  /** Begin with a text that was written before: a stored run's. */
  show(text) {
    return this.#serial(() => (this.text = [...text])).then(() => this.follow());
  }

  /** Forget what was written. */
  rewind() {
    this.playing = false;
    // After a token that is being written, or it would come back.
    return this.#serial(() => (this.text.length = this.prompt)).then(() => this.follow());
  }

  /** Change from a stored run to models that compute. */
  wake() {
    if (!this.#canWake) return this.follow();
    this.wished = true; // what fails is to be tried again
    this.waking ??= this.#start().finally(() => (this.waking = null));
    return this.waking;
  }

  /** Models that compute take over once they are ready; until then the stored run can be looked at. */
  async #start() {
    const engine = (this.starting = this.waker());
    const say = (status) => this.#say((this.standing = status));
    try {
      say({ kind: "loading", name: "", loaded: 0, total: 0 });
      await engine.open();
      await this.#load(engine, say);
    } catch (error) {
      engine.close();
      this.#failed(error);
      this.standing = error.retry ? this.status : null;
      return false;
    }
    return this.#attempt(async () => {
      this.engine.close();
      [this.engine, this.starting, this.standing, this.wished] = [engine, null, null, false];
      this.tapes.clear(); // stored weights are rounded and took no time: the models read it all anew
      this.looks.clear();
      await this.#ready();
      await this.#catchUp();
    });
  }

  close() {
    this.playing = false;
    this.closed = true;
    this.turn += 1;
    this.engine?.close();
    this.starting?.close();
  }
}
