// AttentionLab without a page: what it keeps of a text, what it asks an engine for, what may go wrong.

import assert from "node:assert/strict";
import { test } from "node:test";

import { load } from "./load.mjs";

const {
  Computing, KernelEngine, Lab, Look, PageEngine, StoredEngine, Tape, answersTo, common, comparable, distance,
  entryOf, fitting, fromHash, line, looksText, nearestOf, pace, roomFor, spoken, strongest, toHash, unpack,
} = await load("attention_lab");

// A made-up model: token i looks at token j as much as the next; weights depend on its name.

const CONFIG = { n_layers: 2, n_heads: 2, n_kv_heads: 2, head_dim: 4, max_seq_len: 40, cached: ["k", "v"] };
const entry = (name, sharing, option, more = {}) => ({
  kind: "text", name, title: name, sharing, option, tokenizer: "bytes", config: { ...CONFIG, ...more },
});
const MODELS = [
  entry("QKV", "QKV", "MHA"),
  entry("MQA", "QKV", "MQA", { n_kv_heads: 1 }),
  entry("Q-K=V", "Q-K=V", "MHA", { cached: ["k"] }),
  entry("Q=K=V", "Q=K=V", "MHA", { cached: ["k"] }),
];

const first = (name) => (name === "QKV" ? 0.5 : 0.25);

class Fake extends Computing {
  kind = "fake";
  asked = [];
  broken = null;

  async open() {}
  async load() {}

  async ask(task, given) {
    this.asked.push({ task, ...given });
    if (this.broken) throw this.broken;
    if (task === "encode") return [...given.text].map((face) => ({ token: face.codePointAt(0), face }));
    const { name, known } = given;
    const keep = Math.min(known, given.tokens.length - 1);
    const tokens = given.tokens.slice(keep);
    const held = given.tokens.length;
    const weights = new Float32Array(4 * tokens.length * held);
    for (let map = 0; map < 4; map++) {
      tokens.forEach((_, i) => {
        const sees = keep + i + 1;
        for (let j = 0; j < sees; j++) {
          const rest = sees > 1 ? (1 - first(name)) / (sees - 1) : 0;
          weights[(map * tokens.length + i) * held + j] = sees === 1 ? 1 : j === 0 ? first(name) : rest;
        }
      });
    }
    await null;
    return {
      from: keep, weights, shape: [2, 2, tokens.length, held], ms: 2, cacheBytes: 16 * held,
      next: { token: 97 + (held % 26), face: String.fromCharCode(97 + (held % 26)) },
    };
  }
}

function course(changes = {}) {
  const state = {
    kind: "text", variant: "QKV", other: "", layer: 0, head: 0, temperature: 0, seed: 0, prompt: "abc",
    digits: [], models: MODELS, ...changes,
  };
  const engine = new Fake();
  const lab = new Lab({ get: () => state, engine });
  return { state, engine, lab };
}

const textOf = (lab) => lab.text.map((each) => each.face).join("");

test("a tape keeps a row for every token, and gives the same as one long answer", async () => {
  const engine = new Fake();
  const [whole, parts] = [new Tape(), new Tape()];
  const tokens = [1, 2, 3, 4, 5];
  whole.add(tokens, await engine.read("QKV", tokens));
  for (const n of [2, 3, 5]) {
    parts.add(tokens.slice(0, n), await engine.read("other", tokens.slice(0, n), { known: parts.length }));
  }
  assert.equal(parts.length, 5);
  assert.deepEqual(engine.asked.filter((a) => a.name === "other").map((a) => [a.known, a.tokens.length]), [[0, 2], [2, 3], [3, 5]]);
  assert.deepEqual(parts.row(3, 4).length, 5);
  assert.deepEqual([...whole.row(1, 2)], [0.5, 0.25, 0.25]);
  whole.cut(2);
  assert.equal(whole.bytes, 32);
  assert.equal(whole.next, null);
  assert.throws(() => whole.add([1, 2, 3, 4], { from: 3, weights: new Float32Array(4), shape: [1, 1, 1, 4] }), /in place of/);
});

test("two views of one widget each get their own answers, with the arrays of both", async () => {
  const heard = new Set();
  const sent = [];
  const model = { send: (message) => sent.push(message), on: (_, hear) => heard.add(hear), off: (_, hear) => heard.delete(hear) };
  const [a, b] = [new KernelEngine(model), new KernelEngine(model)];
  const [first, second] = [a.look("x", [1]), b.look("y", [2])];
  assert.notEqual(sent[0].id, sent[1].id);
  const reply = (id, value) => {
    const bytes = new DataView(Float32Array.of(value, 2 * value).buffer);
    const message = Object.freeze({ id, result: Object.freeze({ weights: { buffer: 0 }, answers: [value] }) });
    for (const hear of heard) hear(message, [bytes]);
  };
  reply(sent[1].id, 7);
  reply(sent[0].id, 5);
  assert.deepEqual([...(await first).weights], [5, 10]);
  assert.deepEqual([...(await second).weights], [7, 14]);
  a.close();
  assert.equal(heard.size, 1);
});

test("it writes, goes back, and reads the same text with another model", async () => {
  const { state, engine, lab } = course();
  await lab.follow();
  assert.equal(textOf(lab), "abc");
  for (let i = 0; i < 4; i++) await lab.step();
  assert.equal(textOf(lab), "abcdefg");
  assert.equal(lab.tape("QKV").length, 7);
  state.variant = "Q-K=V";
  await lab.follow();
  assert.equal(textOf(lab), "abcdefg");
  assert.deepEqual(engine.asked.at(-1).tokens.length, 7);
  state.other = "QKV";
  const before = engine.asked.length;
  await lab.follow();
  assert.equal(engine.asked.length, before, "QKV has read this text already");
  await lab.step();
  assert.deepEqual(engine.asked.slice(before).map(({ name, known }) => [name, known]), [["Q-K=V", 7], ["QKV", 7]]);
  await lab.rewind();
  assert.equal(textOf(lab), "abc");
  assert.equal(lab.tape("QKV").length, 3);
});

test("only the last of many wishes is worked on", async () => {
  const { state, engine, lab } = course();
  await lab.follow();
  const wishes = [];
  for (let i = 0; i < 40; i++) {
    state.variant = MODELS[i % MODELS.length].name;
    wishes.push(lab.follow());
  }
  await Promise.all(wishes);
  const names = new Set(engine.asked.filter((a) => a.task === "read").map((a) => a.name));
  assert.deepEqual([...names], ["QKV", state.variant]);
  assert.equal(lab.tape(state.variant).length, 3);
});

test("while it plays, a change of model and a stop find their place", async () => {
  const { state, lab } = course();
  await lab.follow();
  let n = 0;
  await lab.play(async () => {
    n += 1;
    if (n === 3) {
      state.variant = "Q=K=V";
      lab.follow();
    }
    if (n === 6) lab.stop();
  });
  assert.equal(lab.text.length, 3 + 6);
  assert.equal(lab.tape("Q=K=V").length, 9);
  assert.equal(lab.playing, false);
});

test("to stop and write again leaves one writing, not two", async () => {
  const { lab } = course();
  await lab.follow();
  const waits = [];
  const pause = () => new Promise((resolve) => waits.push(resolve));
  const settle = () => new Promise((resolve) => setTimeout(resolve, 5));
  const runs = [lab.play(pause)];
  for (let i = 0; i < 3; i++) {
    await settle();
    lab.stop();
    runs.push(lab.play(pause));
  }
  await settle();
  const before = lab.text.length;
  for (const wake of waits.splice(0)) wake();
  await settle();
  assert.equal(lab.text.length, before + 1);
  assert.ok(lab.playing);
  lab.stop();
  for (const wake of waits.splice(0)) wake();
  await Promise.all(runs);
  assert.equal(lab.text.length, before + 1);
});

test("it stops where the model's places end", async () => {
  const { lab } = course();
  await lab.follow();
  await lab.play(async () => {});
  assert.equal(lab.text.length, CONFIG.max_seq_len);
  assert.equal(lab.status.kind, "ended");
  assert.equal(lab.room, 0);
  assert.equal(lab.canWrite, false);
  await lab.rewind();
  assert.equal(lab.status.kind, "idle");
  assert.equal(lab.canWrite, true);
});

test("a prompt that is too long loses its beginning, an empty one waits", async () => {
  const { state, lab } = course({ prompt: "x".repeat(100) + "y" });
  await lab.follow();
  assert.equal(lab.text.length, CONFIG.max_seq_len - 16);
  assert.equal(lab.dropped, 101 - 24);
  assert.equal(lab.text.at(-1).face, "y");
  state.prompt = "";
  await lab.follow();
  assert.equal(lab.text.length, 0);
  await lab.step();
  assert.equal(lab.text.length, 0);
  state.prompt = "🙂 שלום";
  await lab.follow();
  assert.equal(textOf(lab), "🙂 שלום");
  await lab.step();
  assert.equal(lab.text.length, 7);
});

test("what fails is said, and the next attempt mends it", async () => {
  const { engine, lab } = course();
  await lab.follow();
  engine.broken = Object.assign(new Error("cut off"), { retry: true });
  assert.equal(await lab.step(), false);
  assert.deepEqual(lab.status, { kind: "failed", words: "cut off", retry: true });
  engine.broken = null;
  await lab.follow();
  assert.deepEqual(lab.status, { kind: "idle" });
  assert.equal(lab.tape("QKV").length, lab.text.length);
});

test("another draw changes what comes next, and not what was read", async () => {
  const { state, engine, lab } = course();
  await lab.follow();
  state.temperature = 0.8;
  await lab.follow();
  const { temperature, known } = engine.asked.at(-1);
  assert.deepEqual([temperature, known], [0.8, 3]);
  assert.equal(lab.tape("QKV").length, 3);
});

test("a line gives each answer to its question, and gives up after a silence", async () => {
  const sent = [];
  const talk = line((message) => sent.push(message), 30);
  const [a, b] = [talk.ask("one"), talk.ask("two", { x: 1 })];
  const [one, two] = sent.map((message) => message.id);
  assert.deepEqual(sent[1], { id: two, task: "two", x: 1 });
  talk.answer({ id: two, result: "second" });
  talk.answer({ id: one, error: "no", retry: true });
  talk.answer({ id: "stray", result: "stray" });
  assert.equal(await b, "second");
  await assert.rejects(a, (error) => error.message === "no" && error.retry);
  let gone = false;
  const heard = [];
  const slow = talk.ask("three", {}, { gone: () => (gone = true), progress: (...how) => heard.push(how) });
  const beat = setInterval(() => talk.answer({ id: sent[2].id, loaded: 1, total: 2 }), 10);
  await new Promise((resolve) => setTimeout(resolve, 80));
  assert.equal(gone, false, "who tells of progress is alive");
  clearInterval(beat);
  await assert.rejects(slow, /does not answer/);
  assert.ok(gone);
  assert.deepEqual(heard[0], [1, 2]);
});

test("a lost worker is replaced, and its successor loads anew", async () => {
  const made = [];
  class Stub {
    constructor() {
      this.heard = [];
      made.push(this);
    }
    postMessage(message) {
      this.heard.push(message.task);
      if (this.dead) return;
      queueMicrotask(() => this.onmessage?.({ data: { id: message.id, result: { face: message.task } } }));
    }
    terminate() {
      this.dead = true;
    }
  }
  const engine = new PageEngine("https://site.example/_static/lab/", () => new Stub());
  await engine.open();
  await engine.load("QKV");
  await engine.load("QKV");
  await engine.encode("QKV", "x");
  assert.deepEqual(made[0].heard, ["open", "load", "encode"]);
  made[0].dead = true;
  const waiting = engine.encode("QKV", "y");
  await null;
  await new Promise((resolve) => setTimeout(resolve, 5));
  made[0].onerror({});
  await assert.rejects(waiting, (error) => error.retry);
  await engine.encode("QKV", "z");
  assert.equal(made.length, 2);
  assert.deepEqual(made[1].heard, ["open", "load", "encode"]);
});

test("a link holds what is shown, and strange ones do no harm", () => {
  const { state } = course({ prompt: "def f(x):\n  # ünï & 🙂", other: "Q=K=V", layer: 1, temperature: 0.8 });
  const { changes, written } = fromHash(toHash(state, 12), state);
  assert.equal(written, 12);
  for (const [name, value] of Object.entries(changes)) assert.deepEqual(value, state[name]);
  assert.equal(changes.prompt, state.prompt);
  assert.equal(fromHash("#sources", state), null);
  assert.deepEqual(fromHash("#lab?layer=many&written=-3&evil=1", state), { changes: {}, written: 0 });
});

test("what cannot be shown falls to what can", () => {
  const lists = { ...entry("(Q=K-V)+", "Q=K-V", "(X)+"), kind: "lists" };
  const bpe = { ...entry("bpe", "QKV", "MHA"), tokenizer: "bpe" };
  const deep = entry("deep", "QKV", "MHA", { n_layers: 3 });
  const { state } = course({ models: [...MODELS, lists, bpe, deep], task: { length: 3, n_digits: 10 }, digits: [1, 2, 3] });
  const fit = (changes) => fitting({ ...state, ...changes });
  assert.deepEqual(fit({}), {
    kind: "text", variant: "QKV", other: "", layer: 0, head: 0, temperature: 0, seed: 0, digits: [1, 2, 3],
  });
  assert.equal(fit({ kind: "x" }).kind, "text");
  assert.equal(fit({ kind: "lists" }).variant, "(Q=K-V)+");
  assert.equal(fit({ variant: "nothing" }).variant, "QKV");
  for (const [layer, wanted] of [[-1, 0], [0.5, 0], [9, 1], [NaN, 0], [Infinity, 1]]) assert.equal(fit({ layer }).layer, wanted);
  for (const [temperature, wanted] of [[-1, 0], [NaN, 0], [Infinity, 0], [0.8, 0.8]]) {
    assert.equal(fit({ temperature }).temperature, wanted);
  }
  assert.equal(fit({ seed: -3 }).seed, 0);
  for (const other of ["QKV", "(Q=K-V)+", "bpe", "deep", "nothing"]) assert.equal(fit({ other }).other, "", other);
  assert.equal(fit({ other: "Q-K=V" }).other, "Q-K=V");
  assert.ok(!comparable(MODELS[0], bpe) && !comparable(MODELS[0], deep) && comparable(MODELS[0], MODELS[1]));
  for (const digits of [[1, 2], [1, 2, 10], [1, 2, 2.5], []]) assert.deepEqual(fit({ digits }).digits, [0, 1, 2]);
});

test("whoever writes has read this very text, whatever is chosen meanwhile", async () => {
  const { state, engine, lab } = course();
  await lab.follow();
  for (let i = 0; i < 3; i++) await lab.step();
  const { ask } = engine;
  let toggled = false;
  engine.ask = async function (task, given) {
    const answer = await ask.call(this, task, given);
    if (task === "read" && given.name === "MQA" && !toggled) {
      toggled = true;
      state.variant = "Q-K=V"; // which has read nothing
    }
    return answer;
  };
  state.variant = "MQA";
  assert.ok(await lab.step());
  const tape = lab.tape("Q-K=V");
  assert.equal(lab.text.length, 7);
  assert.equal(tape.length, 7);
  assert.equal(textOf(lab), "abcdefg");
});

test("a token that was being written does not come back after going back", async () => {
  const { lab } = course();
  await lab.follow();
  await lab.step();
  await Promise.all([lab.step(), lab.rewind()]);
  assert.equal(textOf(lab), "abc");
});

test("a model with fewer places, or other tokens, reads the prompt anew", async () => {
  const short = entry("short", "QKV", "MHA", { max_seq_len: 10 });
  const other = { ...entry("other", "QKV", "MHA"), tokenizer: "other" };
  const { state, engine, lab } = course({ models: [...MODELS, short, other], prompt: "abcdefghijkl" });
  await lab.follow();
  assert.equal(lab.text.length, 12);
  state.variant = "short";
  await lab.follow();
  assert.deepEqual([lab.places, lab.text.length, lab.dropped], [10, 5, 7]);
  assert.equal(textOf(lab), "hijkl");
  state.variant = "other";
  await lab.follow();
  assert.equal(engine.asked.filter((a) => a.task === "encode").at(-1).name, "other");
  assert.equal(lab.text.length, 12);
});

test("after the end nothing starts again", async () => {
  const { state, made, lab } = replay({ prompt: "xyz" });
  lab.close();
  await lab.follow();
  await lab.wake();
  await lab.step();
  assert.equal(made.length, 0);
  const other = replay();
  other.lab.waker = () => {
    const engine = Object.assign(new Fake(), { close: () => (engine.closed = true), open: async () => other.lab.close() });
    other.made.push(engine);
    return engine;
  };
  await other.lab.wake();
  assert.ok(other.made[0].closed, "an engine that was being started is ended too");
  assert.equal(state.prompt, "xyz");
});

test("choices fall to the nearest model that exists", () => {
  const { state } = course({ variant: "MQA" });
  assert.equal(nearestOf(state, "Q-K=V").name, "Q-K=V");
  assert.equal(nearestOf(state, "QKV").name, "MQA");
  assert.equal(entryOf(state, "nothing"), null);
});

test("numbers and words of a map", async () => {
  const engine = new Fake();
  const [a, b] = [new Tape(), new Tape()];
  a.add([1, 2, 3], await engine.read("QKV", [1, 2, 3]));
  b.add([1, 2, 3], await engine.read("Q-K=V", [1, 2, 3]));
  assert.equal(distance(a, a, 0, 3), 0);
  assert.ok(Math.abs(distance(a, b, 0, 3) - (0 + 0.25 + 0.25) / 3) < 1e-6);
  assert.deepEqual(strongest(Float32Array.from([0.1, 0.6, 0.3, 0])), [1, 2, 0]);
  assert.equal(looksText(["a", "\n", " "], [0.5, 0.3, 0.2], 2), "‘a’ 50 %, line end 30 %, itself 20 %");
  assert.equal(spoken("    "), "4 blanks");
  assert.equal(pace([[12, 30], [1, 2], [1, 9], [1, 4]]), 5);
  assert.equal(pace([[12, 30]]), null);
  assert.equal(pace([[1, 0], [1, 1], [1, 0], [1, 0]]), 0.25, "some clocks are coarse");
  assert.equal(pace([[1, 0], [1, 0]]), null, "and some tell nothing");
  assert.deepEqual([1, 32, 33, 250].map(roomFor), [32, 32, 48, 256]);
  assert.equal(common([1, 2, 3], [1, 2, 4, 5]), 2);
  assert.deepEqual([...unpack("0-~3_")].map((x) => Math.round(63 * x)), [0, 62, 0, 0, 0, 63]);
  assert.deepEqual(answersTo("SORT", [3, 1, 2, 1]), [1, 1, 2, 3]);
});

test("a list's scores say how symmetric they are", () => {
  const look = (scores) => new Look({ tokens: [0, 1], weights: new Float32Array(4).fill(0.5), scores, shape: [1, 1, 2, 2], answers: [1, 0], ms: 1 });
  assert.equal(look([1, 2, 2, 5]).asymmetry(0), 0);
  assert.equal(look([0, 1, -1, 0]).asymmetry(0), 2);
  assert.deepEqual([...look([0, 1, 2, 3]).row(0, 1)], [0.5, 0.5]);
});

// Stored runs

const STORED = {
  examples: { text: "ab", lists: [] },
  text: { tokens: [97, 98, 99, 100], prompt: 2 },
  faces: { 97: "a", 98: "b", 99: "c", 100: "d" },
  models: ["QKV", "Q-K=V"].map((name) => ({
    entry: { name, bytes_per_token: 16, config: CONFIG },
    likeliest: [0, 1, 2, 3].map((i) => [[98 + i, 0.5]]),
    maps: [0, 1].map(() => [0, 1].map(() => "_~3" + "__~2" + "___0" + "____")),
  })),
};

function replay(changes = {}) {
  const state = { kind: "text", variant: "QKV", other: "", temperature: 0, seed: 0, prompt: "ab", digits: [], models: MODELS, ...changes };
  const made = [];
  const waker = () => {
    made.push(Object.assign(new Fake(), { close() {} }));
    return made.at(-1);
  };
  return { state, made, lab: new Lab({ get: () => state, engine: new StoredEngine(STORED), waker }) };
}

test("a stored run is replayed, and its end waits for models that compute", async () => {
  const { state, made, lab } = replay();
  await lab.follow();
  await lab.show(lab.engine.text);
  assert.equal(textOf(lab), "abcd");
  assert.equal(lab.tape("QKV").bytes, 64);
  await lab.rewind();
  await lab.step();
  assert.equal(textOf(lab), "abc");
  state.other = "Q-K=V";
  await lab.follow();
  assert.deepEqual(lab.tape("Q-K=V").likeliest.map((each) => each.token), [100]);
  await lab.step();
  await lab.step();
  assert.equal(lab.status.kind, "ended");
  state.temperature = 0.8;
  assert.ok(lab.needsModels, "what is stored was not drawn by lot");
  state.temperature = 0;
  assert.equal(made.length, 0);
  assert.ok(await lab.wake());
  await lab.step();
  assert.equal(textOf(lab), "abcde");
  assert.equal(lab.replays, false);
});

test("what was not stored starts the models by itself, and two wishes start them once", async () => {
  const { state, made, lab } = replay({ prompt: "xyz" });
  await Promise.all([lab.follow(), lab.wake(), lab.wake()]);
  assert.equal(made.length, 1);
  assert.equal(textOf(lab), "xyz");
  state.variant = "Q=K=V";
  await lab.follow();
  assert.equal(lab.status.kind, "idle");
});

test("models that cannot start leave the stored run as it is", async () => {
  const { lab } = replay();
  await lab.follow();
  const before = lab.tape("QKV").length;
  lab.waker = () => Object.assign(new Fake(), {
    close() {},
    load: () => Promise.reject(Object.assign(new Error("no wasm"), { retry: true })),
  });
  assert.equal(await lab.wake(), false);
  assert.deepEqual(lab.status, { kind: "failed", words: "no wasm", retry: true });
  assert.ok(lab.replays && lab.wished);
  assert.equal(lab.tape("QKV").length, before);
});

test("while models load, stored runs can be looked at, and what fails is not wiped away", async () => {
  const { state, lab } = replay();
  await lab.follow();
  let end;
  let closed = 0;
  const engine = Object.assign(new Fake(), {
    close: () => (closed += 1),
    load: (name, progress) => (progress(1, 2), new Promise((_, reject) => (end = reject))),
  });
  lab.waker = () => engine;
  const woken = lab.wake();
  await null;
  await null;
  state.variant = "Q-K=V";
  assert.ok(await lab.follow());
  assert.equal(lab.tape("Q-K=V").length, 2);
  assert.deepEqual(lab.status, { kind: "loading", name: "QKV", loaded: 1, total: 2 });
  end(Object.assign(new Error("the line is cut"), { retry: true }));
  assert.equal(await woken, false);
  state.variant = "QKV";
  assert.ok(await lab.follow());
  assert.deepEqual(lab.status, { kind: "failed", words: "the line is cut", retry: true });
  lab.waker = () => Object.assign(new Fake(), { close() {} });
  assert.ok(await lab.wake());
  assert.deepEqual([lab.status.kind, lab.replays, closed], ["idle", false, 1]);
});

test("models that are still loading end with the page", async () => {
  const { lab } = replay();
  await lab.follow();
  let closed = 0;
  lab.waker = () => Object.assign(new Fake(), { close: () => (closed += 1), open: () => new Promise(() => {}) });
  lab.wake();
  lab.close();
  assert.equal(closed, 1);
});

test("where nothing can compute, what was not stored is refused", async () => {
  const { state, lab } = replay();
  lab.waker = null;
  state.prompt = "other";
  assert.equal(await lab.follow(), false);
  assert.match(lab.status.words, /was not stored/);
});
