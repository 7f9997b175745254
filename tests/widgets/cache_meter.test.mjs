import assert from "node:assert/strict";
import test from "node:test";
import { load } from "./load.mjs";

const meter = await load("cache_meter");

const STATE = {
  sharing: "QKV",
  n_layers: 20,
  n_heads: 16,
  n_kv_heads: 16,
  head_dim: 64,
  tokens: 32768,
  batch_size: 1,
  dtype: "float16",
  budget_gb: 24,
  units: "decimal",
  item_bytes: { float16: 2, float32: 4 },
  sharings: [
    { name: "QKV", tuple_form: "(Q, K, V)", cached: ["K", "V"], ties_query: false },
    { name: "Q=K-V", tuple_form: "(Q=K, V)", cached: ["K", "V"], ties_query: true },
    { name: "Q-K=V", tuple_form: "(Q, K=V)", cached: ["K"], ties_query: false },
    { name: "Q=K=V", tuple_form: "(Q=K=V)", cached: ["K"], ties_query: true },
  ],
};
const state = (changes) => ({ ...STATE, ...changes });

test("the paper's 300M table, two bytes per number", () => {
  const perToken = (sharing, kv) =>
    Number(meter.bytesPerToken(state({ sharing, n_kv_heads: kv }))) / 1024;
  assert.deepEqual(
    [
      perToken("QKV", 16), perToken("Q-K=V", 16), perToken("Q=K-V", 16), perToken("Q=K=V", 16),
      perToken("QKV", 4), perToken("QKV", 1), perToken("Q-K=V", 4), perToken("Q-K=V", 1),
    ],
    [80, 40, 80, 40, 20, 5, 10, 2.5],
  );
});

test("savings follow 1 - g/H and 1 - g/(2H)", () => {
  assert.equal(meter.saved(state({})), 0);
  assert.equal(meter.saved(state({ sharing: "Q=K-V" })), 0);
  assert.equal(meter.saved(state({ n_kv_heads: 4 })), 0.75);
  assert.equal(meter.saved(state({ sharing: "Q-K=V", n_kv_heads: 1 })), 0.96875);
});

test("bytes stay exact above 2^53", () => {
  const huge = state({ n_layers: 127, head_dim: 513, tokens: 16777213, batch_size: 4093 });
  const exact = 127n * 2n * 16n * 513n * 2n * 16777213n * 4093n;
  assert.ok(exact > 2n ** 53n);
  assert.equal(meter.cacheBytes(huge), exact);
});

test("Q=K refuses fewer KV heads, with both ways out", () => {
  for (const [sharing, free] of [["Q=K-V", "QKV"], ["Q=K=V", "Q-K=V"]]) {
    const problem = meter.refusal(state({ sharing, n_kv_heads: 4 }));
    assert.match(problem, /Set KV heads to 16/);
    assert.ok(problem.includes(`choose ${free} `), problem);
    assert.equal(meter.refusal(state({ sharing })), null);
  }
});

test("other states without an answer say why", () => {
  assert.match(meter.refusal(state({ n_kv_heads: 3 })), /Choose from 1, 2, 4, 8, 16/);
  assert.match(meter.refusal(state({ sharing: "QVK" })), /no sharing called QVK/);
  assert.match(meter.refusal(state({ dtype: "int3" })), /no number format called int3/);
  assert.match(meter.refusal(state({ tokens: 0 })), /tokens is 0/);
  assert.match(meter.refusal(state({ n_layers: 2.5 })), /n_layers is 2.5/);
  assert.match(meter.refusal(state({ budget_gb: 0 })), /budget is 0 GB/);
});

test("a new number of query heads keeps MHA, else the largest possible KV heads below", () => {
  assert.deepEqual(meter.withHeads(state({}), 32), { n_heads: 32, n_kv_heads: 32 });
  assert.deepEqual(meter.withHeads(state({ n_kv_heads: 4 }), 32), { n_heads: 32, n_kv_heads: 4 });
  assert.deepEqual(meter.withHeads(state({ n_kv_heads: 4 }), 6), { n_heads: 6, n_kv_heads: 3 });
  assert.deepEqual(meter.withHeads(state({ n_kv_heads: 8 }), 1), { n_heads: 1, n_kv_heads: 1 });
  assert.deepEqual(
    meter.withHeads(state({ sharing: "Q=K-V" }), 12),
    { n_heads: 12, n_kv_heads: 12 },
  );
});

test("what the budget holds", () => {
  const room = meter.fits(state({}));
  assert.equal(room.budget, 24_000_000_000n);
  assert.equal(room.users, 8n);
  assert.equal(room.tokens, 292_968n);
  assert.equal(meter.fits(state({ sharing: "Q-K=V" })).users, 17n);
  assert.equal(meter.fits(state({ sharing: "Q-K=V" })).baselineUsers, 8n);
  assert.equal(meter.fits(state({ budget_gb: 0.001 })).users, 0n);
});

test("numbers are written as the command line writes them", () => {
  assert.equal(meter.formatBytes(2684354560n), "2.68 GB");
  assert.equal(meter.formatBytes(2684354560n, true), "2.5 GiB");
  assert.equal(meter.formatBytes(1152, true), "1.12 KiB"); // a tie: Python rounds it to even
  assert.equal(meter.formatBytes(999), "999 B");
  assert.equal(meter.formatBytes(1000), "1 kB");
  assert.equal(meter.formatBytes(100_000), "100 kB");
  assert.equal(meter.formatBytes(0), "0 B");
  assert.equal(meter.formatShare(0.96875), "96.9 %");
  assert.equal(meter.formatShare(0.0625), "6.2 %");
  assert.equal(meter.formatShare(0.5), "50 %");
  assert.equal(meter.formatCount(2684354560n), "2,684,354,560");
  assert.equal(meter.formatCount(999), "999");
});

test("head sharing is named", () => {
  assert.equal(meter.headSharing(16, 16), "MHA");
  assert.equal(meter.headSharing(4, 16), "GQA-4");
  assert.equal(meter.headSharing(1, 16), "MQA");
  assert.equal(meter.headSharing(1, 1), "MHA");
  assert.deepEqual(meter.divisors(12), [1, 2, 3, 4, 6, 12]);
});

test("the theme follows JupyterLab, then the book, then the system", () => {
  const page = (body, html) => ({ body: { dataset: body }, documentElement: { dataset: html } });
  assert.equal(meter.themeOf(page({ jpThemeLight: "false" }, { theme: "light" }), false), "dark");
  assert.equal(meter.themeOf(page({ jpThemeLight: "true" }, {}), true), "light");
  assert.equal(meter.themeOf(page({}, { theme: "dark" }), false), "dark");
  assert.equal(meter.themeOf(page({}, { theme: "light" }), true), "light");
  assert.equal(meter.themeOf(page({}, {}), true), "dark");
  assert.equal(meter.themeOf(page({}, {}), false), "light");
});
