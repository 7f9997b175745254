import assert from "node:assert/strict";
import test from "node:test";
import { load } from "./load.mjs";

const roof = await load("decode_roofline");

const MODEL = { name: "m", n_layers: 2, d_model: 8, n_heads: 4, head_dim: 2, d_ff: 32, vocab_size: 10 };
const STATE = {
  model: "m", sharing: "apart", n_kv_heads: 4, dtype: "half", tokens: 10, batch_size: 1, device: "d",
  models: [MODEL, { ...MODEL, name: "wide", n_heads: 6 }],
  sharings: [
    { name: "apart", tuple_form: "(a)", prefix: "", projections: ["q", "k", "v"], cached: ["k", "v"], ties_query: false },
    { name: "tied", tuple_form: "(t)", prefix: "T-", projections: ["q", "k"], cached: ["k"], ties_query: false },
    { name: "one", tuple_form: "(o)", prefix: "", projections: ["k"], cached: ["k"], ties_query: true },
  ],
  devices: [{ key: "d", name: "a box", bandwidth: 1000, peak: 2000, memory: 10_000, bandwidth_from: "", peak_from: "" }],
  item_bytes: { half: 2, full: 4 },
  limits: { tokens: [1, 1000], batch_size: [1, 64] },
};
const state = (changes) => ({ ...STATE, ...changes });

test("weights, caches and multiplications by hand", () => {
  // A layer: 3 × 64 of projections, 64 out, 2 × 8 × 32 of MLP; and 80 of the output layer.
  const weights = 2 * (3 * 64 + 64 + 512) + 80;
  const step = roof.stepOf(state({}));
  assert.equal(step.weightBytes, 2 * weights);
  assert.equal(step.cacheBytes, 2 * 2 * 8 * 2 * 10);
  assert.equal(step.macs, weights + 2 * 2 * 8 * 11);
  assert.equal(roof.stepOf(state({ sharing: "tied" })).cacheBytes, step.cacheBytes / 2);
  assert.equal(roof.stepOf(state({ sharing: "tied", n_kv_heads: 1 })).cacheBytes, step.cacheBytes / 8);
  assert.equal(roof.stepOf(state({ dtype: "full" })).bytes, 2 * step.bytes);
});

test("users share the weights and nothing else", () => {
  const one = roof.stepOf(state({}));
  const many = roof.stepOf(state({ batch_size: 7 }));
  assert.equal(many.weightBytes, one.weightBytes);
  assert.equal(many.cacheBytes, 7 * one.cacheBytes);
  assert.equal(many.macs, 7 * one.macs);
});

test("the longer of the two times counts", () => {
  const one = roof.stepOf(state({}));
  assert.equal(one.limit, "bytes");
  assert.equal(one.seconds, one.bytes / 1000);
  const many = roof.stepOf(state({ batch_size: 64 }));
  assert.equal(many.limit, "arithmetic");
  assert.equal(many.seconds, many.macs / 2000);
  assert.match(roof.verdictOf(one), /^It waits for bytes: the multiplications alone .* 1\/3\.93 /);
  assert.match(roof.verdictOf(many), /^It waits for arithmetic: the bytes alone/);
  assert.match(roof.verdictOf({ byteSeconds: 1, macSeconds: 1.01, limit: "bytes" }), /alike/);
});

test("what fits, to the token", () => {
  const { longest } = roof.stepOf(state({}));
  assert.equal(roof.stepOf(state({ tokens: longest })).fits, true);
  assert.equal(roof.stepOf(state({ tokens: longest + 1 })).fits, false);
  const small = [{ ...STATE.devices[0], memory: 100 }];
  assert.equal(roof.stepOf(state({ devices: small })).longest, 0);
});

test("eight variants, each named once, MHA first", () => {
  const names = roof.variantsOf(state({})).map((v) => v.name);
  assert.deepEqual(names, ["apart", "tied", "one", "MQA", "T-MQA"]);
  const wide = { ...MODEL, n_heads: 8 };
  const more = roof.variantsOf(state({ models: [wide], n_kv_heads: 8 })).map((v) => v.name);
  assert.deepEqual(more, ["apart", "tied", "one", "GQA-2", "MQA", "T-GQA-2", "T-MQA"]);
});

test("another model keeps MHA, else the nearest number of KV heads below", () => {
  assert.deepEqual(roof.withModel(state({}), "wide"), { model: "wide", n_kv_heads: 6 });
  assert.deepEqual(roof.withModel(state({ n_kv_heads: 2 }), "wide"), { model: "wide", n_kv_heads: 2 });
  assert.deepEqual(
    roof.withModel(state({ model: "wide", n_kv_heads: 3 }), "m"), { model: "m", n_kv_heads: 2 });
});

test("states without an answer say why", () => {
  assert.equal(roof.refusal(state({})), null);
  assert.match(roof.refusal(state({ n_kv_heads: 3 })), /Choose from 1, 2, 4/);
  assert.match(roof.refusal(state({ sharing: "one", n_kv_heads: 2 })), /needs 4 KV heads, not 2/);
  assert.match(roof.refusal(state({ tokens: 0 })), /tokens is 0.* from 1 to 1000/);
  assert.match(roof.refusal(state({ batch_size: 65 })), /batch_size is 65/);
  assert.match(roof.refusal(state({ model: "x" })), /no model called x/);
  assert.match(roof.refusal(state({ device: "x" })), /no machine called x/);
  assert.match(roof.refusal(state({ dtype: "x" })), /no number format called x/);
  assert.match(roof.refusal(state({ sharing: "x" })), /no sharing called x/);
});

test("numbers, times and rates as text", () => {
  assert.deepEqual(
    [0, 0.0001, 0.0123, 3.14159, 45.67, 999.4, 999.6, 12345].map(roof.formatNumber),
    ["0", "1.0e-4", "0.0123", "3.14", "45.7", "999", "1,000", "12,345"],
  );
  assert.deepEqual(
    [2, 0.9999, 0.0123, 0.00099999, 4.56e-5].map(roof.formatSeconds),
    ["2 s", "1 s", "12.3 ms", "1 ms", "45.6 µs"],
  );
  assert.deepEqual([3.84e11, 1e9, 1e12, 999, 1500].map(roof.formatRate), ["384 G", "1 G", "1 T", "999", "1.5 k"]);
});
