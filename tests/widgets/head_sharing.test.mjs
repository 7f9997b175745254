import assert from "node:assert/strict";
import test from "node:test";
import { load } from "./load.mjs";

const heads = await load("head_sharing");

const QKV = { name: "QKV", tuple_form: "(Q, K, V)", cached: ["K", "V"], prefix: "" };
const TIED = { name: "Q-K=V", tuple_form: "(Q, K=V)", cached: ["K"], prefix: "Q-" };

const point = (name, sharing, kv, change, more = {}) => ({
  name, sharing, n_kv_heads: kv, change, value: 2.1, value_low: 2, value_high: 2.2,
  verdict: "worse", beaten_by: "", ...more,
});
const OURS = {
  name: "ours", detail: "", n_layers: 3, n_heads: 4, head_dim: 24, metric: "bits per byte", seeds: 5,
  points: [
    point("QKV", "QKV", 4, 0, { verdict: "reference" }),
    point("GQA-2", "QKV", 2, 0.4, { low: -0.1, high: 0.9, verdict: "cannot tell", beaten_by: "MQA" }),
    point("MQA", "QKV", 1, 0.2, { low: 0.1, high: 0.3 }),
    point("Q-K=V", "Q-K=V", 4, 5.4, { low: 4, high: 6.8, beaten_by: "MQA" }),
    point("Q-MQA", "Q-K=V", 1, 6, { low: 5, high: 7 }),
  ],
};
const THEIRS = {
  name: "theirs", detail: "", n_layers: 20, n_heads: 16, head_dim: 64, metric: "perplexity", seeds: 1,
  points: [
    { name: "QKV", sharing: "QKV", n_kv_heads: 16, change: 0, value: 5.11, verdict: "reference", beaten_by: "" },
    { name: "MQA", sharing: "QKV", n_kv_heads: 1, change: 0.95, value: 5.19, verdict: "", beaten_by: "" },
  ],
};
const BARE = { ...OURS, name: "bare", n_heads: 8, points: [] };
const state = (changes = {}) => ({
  model: "ours", sharing: "QKV", n_kv_heads: 2, query_head: 0,
  models: [OURS, THEIRS, BARE], sharings: [QKV, TIED], ...changes,
});

test("neighbours share a KV head", () => {
  const reads = (n, g) => Array.from({ length: n }, (_, h) => heads.kvHeadOf(h, n, g));
  assert.deepEqual(reads(8, 8), [0, 1, 2, 3, 4, 5, 6, 7]);
  assert.deepEqual(reads(8, 2), [0, 0, 0, 0, 1, 1, 1, 1]);
  assert.deepEqual(reads(6, 3), [0, 0, 1, 1, 2, 2]);
  assert.deepEqual(reads(8, 1), [0, 0, 0, 0, 0, 0, 0, 0]);
  assert.deepEqual(heads.siblings(5, 8, 2), [4, 6, 7]);
  assert.deepEqual(heads.siblings(5, 8, 8), []);
});

test("who reads whom is said in a sentence", () => {
  assert.equal(heads.whoReads(1, 4, 4), "Query head 1 reads KV head 1, and has it to itself.");
  assert.equal(heads.whoReads(1, 4, 2), "Query head 1 reads KV head 0, and shares it with head 0.");
  assert.equal(heads.whoReads(5, 8, 2), "Query head 5 reads KV head 1, and shares it with heads 4, 6 and 7.");
  assert.equal(
    heads.whoReads(20, 32, 2),
    "Query head 20 reads KV head 1, and shares it with the other 15 of heads 16 to 31.",
  );
});

test("only divisors can be chosen", () => {
  assert.deepEqual(heads.kvChoices(12), [1, 2, 3, 4, 6, 12]);
  assert.deepEqual(heads.kvChoices(1), [1]);
});

test("another model keeps what can be kept", () => {
  assert.deepEqual(
    heads.withModel(state({ n_kv_heads: 4, query_head: 3 }), "theirs"),
    { model: "theirs", n_kv_heads: 16, query_head: 3 },
  );
  assert.deepEqual(
    heads.withModel(state({ n_kv_heads: 1 }), "theirs"),
    { model: "theirs", n_kv_heads: 1, query_head: 0 },
  );
  assert.deepEqual(
    heads.withModel(state({ model: "theirs", n_kv_heads: 8, query_head: 15 }), "ours"),
    { model: "ours", n_kv_heads: 4, query_head: 3 },
  );
});

test("states that cannot be drawn say why", () => {
  assert.equal(heads.refusal(state()), null);
  assert.match(heads.refusal(state({ n_kv_heads: 3 })), /Choose from 1, 2, 4/);
  assert.match(heads.refusal(state({ sharing: "Q=K-V" })), /Q=K-V cannot share heads/);
  assert.match(heads.refusal(state({ query_head: 4 })), /they are 0 to 3/);
  assert.match(heads.refusal(state({ query_head: 0.5 })), /no query head 0.5/);
  assert.match(heads.refusal(state({ model: "mine" })), /no model called mine/);
});

test("equal cache is found across sharings", () => {
  const names = (changes) => heads.atEqualCache(state(changes)).map((p) => p.name);
  assert.deepEqual(names({}), ["Q-K=V"]);
  assert.deepEqual(names({ sharing: "Q-K=V", n_kv_heads: 4 }), ["GQA-2"]);
  assert.deepEqual(names({ sharing: "Q-K=V", n_kv_heads: 2 }), ["MQA"]);
  assert.deepEqual(names({ sharing: "Q-K=V", n_kv_heads: 1 }), []);
});

test("quality is told with its interval, its rival and its place", () => {
  assert.deepEqual(heads.quality(state()), [
    "Loss +0.40 % against QKV (−0.10 to +0.90): cannot be told from QKV.",
    "In itself 2.100 bits per byte (2.000 to 2.200).",
    "At the same cache: Q-K=V (+5.40 %).",
    "Not on the frontier: MQA keeps no more and loses no more.",
  ]);
  assert.deepEqual(heads.quality(state({ n_kv_heads: 4 })), [
    "The others are measured against it: 2.100 bits per byte (2.000 to 2.200).",
    "On the frontier: nothing else shown keeps as little and loses as little.",
  ]);
  assert.match(heads.quality(state({ n_kv_heads: 1 }))[0], /learns worse than QKV/);
});

test("what was not measured is not shown as if it were", () => {
  assert.deepEqual(heads.quality(state({ sharing: "Q-K=V", n_kv_heads: 2 })), [
    "Q-GQA-2 was not measured on this model.",
    "At the same cache: MQA (+0.20 %).",
  ]);
  assert.deepEqual(heads.quality(state({ model: "bare" })), [
    "No model with 8 query heads and this shape was trained, so nothing is known of its quality.",
  ]);
  assert.equal(
    heads.quality(state({ model: "theirs", n_kv_heads: 1 }))[0],
    "Loss +0.95 % against QKV: perplexity 5.19. One seed, so no interval.",
  );
});

test("the frontier is a staircase from the least cache on", () => {
  assert.deepEqual(heads.stairs(heads.placed(state())), [
    [0.125, 6], [0.25, 6], [0.25, 0.2], [1, 0.2], [1, 0],
  ]);
});

test("axes have round ticks within their ends", () => {
  assert.deepEqual(heads.ticks(-0.8, 7.3), [0, 2, 4, 6]);
  assert.deepEqual(heads.ticks(-0.35, 2.9), [0, 1, 2]);
  assert.deepEqual(heads.ticks(-0.02, 0.11), [0, 0.05, 0.1]);
  assert.deepEqual(heads.ticks(-4, 28), [0, 10, 20]);
  for (let i = 1; i < 60; i++) {
    const [low, high] = [-i * Math.sin(i) ** 2, Math.cos(i) ** 2 * 3 * i + 0.01];
    const found = heads.ticks(low, high);
    assert.ok(found.length >= 2 && found.length <= 6, `${low} ${high} ${found}`);
    assert.ok(found.includes(0) && found[0] >= low - 1e-9 && found.at(-1) <= high + 1e-9);
  }
});
