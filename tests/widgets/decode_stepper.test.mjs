import assert from "node:assert/strict";
import test from "node:test";
import { load } from "./load.mjs";

const stepper = await load("decode_stepper");

const step = (token, macs, read, held, apart = 0) => ({
  token, macs, read, held, apart, written: 8, candidates: [[token, 0.5, 0.5]],
});
const STATE = {
  prompt: ["a", "␣", "b"],
  sharing: "QKV",
  at: 0,
  runs: [
    {
      sharing: "QKV",
      roles: { Q: "Q", K: "K", V: "V" },
      weight_bytes: 100,
      steps: [step("x", [30, 30], 0, 24), step("y", [40, 10], 24, 32), step("z", [50, 11], 32, 40)],
    },
    {
      sharing: "Q-K=V",
      roles: { Q: "Q", K: "K", V: "K" },
      weight_bytes: 80,
      steps: [step("p", [20, 20], 0, 12), step("q", [28, 7], 12, 16), step("r", [40, 8], 16, 20)],
    },
  ],
};
const state = (changes) => ({ ...STATE, ...changes });

test("a pass reads the prompt first, then one token, and sees all", () => {
  assert.deepEqual(stepper.passOf(STATE), { phase: "start", seen: 0, fresh: 0, held: 0 });
  assert.deepEqual(stepper.passOf(STATE, 1), { phase: "prefill", seen: 3, fresh: 3, held: 0 });
  assert.deepEqual(stepper.passOf(STATE, 2), { phase: "decode", seen: 4, fresh: 1, held: 3 });
  assert.deepEqual(stepper.passOf(STATE, 3), { phase: "decode", seen: 5, fresh: 1, held: 4 });
});

test("weights are read in every pass, the cache on top", () => {
  assert.deepEqual(stepper.totals(STATE), { macs: [0, 0], read: [0, 0], written: 0, held: 0 });
  assert.deepEqual(stepper.totals(STATE, 3), {
    macs: [120, 51], read: [300, 356], written: 24, held: 40,
  });
  assert.deepEqual(stepper.totals(state({ sharing: "Q-K=V", at: 2 })), {
    macs: [48, 27], read: [160, 172], written: 16, held: 16,
  });
  const [run] = STATE.runs;
  assert.deepEqual(stepper.costOf(run, 2), { macs: [40, 10], read: [100, 124] });
  assert.deepEqual(stepper.costOf(run, 0), { macs: [0, 0], read: [0, 0] });
});

test("a sharing that is not there leaves the first recording", () => {
  assert.equal(stepper.runOf(state({ sharing: "Q=K=V" })), STATE.runs[0]);
});

test("cells: all anew above, only the newest below", () => {
  const row = (lane, role, at) =>
    Array.from({ length: 5 }, (_, i) => stepper.cellState(STATE, lane, role, i, at));
  for (const lane of ["without", "cached"]) {
    assert.deepEqual(row(lane, "K", 0), ["", "", "", "", ""]);
    assert.deepEqual(row(lane, "Q", 1), ["new", "new", "new", "", ""]);
  }
  assert.deepEqual(row("without", "V", 2), ["again", "again", "again", "new", ""]);
  assert.deepEqual(row("cached", "V", 2), ["kept", "kept", "kept", "new", ""]);
  assert.deepEqual(row("cached", "Q", 3), ["used", "used", "used", "used", "new"]);
});

test("what the cache does to a count", () => {
  assert.equal(stepper.compared(30, 30), "same");
  assert.equal(stepper.compared(500, 1), "÷ 500");
  assert.equal(stepper.compared(120, 51), "÷ 2.35");
  assert.equal(stepper.compared(300, 356), "× 1.19");
  assert.equal(stepper.compared(10_000, 10_001), "× 1");
});

test("tiny numbers", () => {
  assert.equal(stepper.formatTiny(0), "0");
  assert.equal(stepper.formatTiny(4.8e-6), "4.8\u00a0×\u00a010⁻⁶");
  assert.equal(stepper.formatTiny(1e-12), "1\u00a0×\u00a010⁻¹²");
  assert.equal(stepper.formatTiny(0.25), "0.25");
});

test("words for every phase", () => {
  assert.match(stepper.wordsOf(STATE).line, /prompt of 3 tokens waits/);
  const prefill = stepper.wordsOf(state({ at: 1 }));
  assert.equal(prefill.chip, "Prefill: 3 tokens in one pass");
  assert.match(prefill.line, /Both lanes do the same work.*K and V/);
  assert.equal(prefill.cached.aside, "holds 24 bytes");
  const decode = stepper.wordsOf(state({ at: 3 }));
  assert.equal(decode.chip, "Decode: one token");
  assert.match(decode.line, /4 tokens go through the whole model again/);
  assert.equal(decode.without.label, "Without a cache: computes Q, K, V of all 5 tokens, 4 of them again.");
  assert.equal(
    decode.cached.label,
    "With a cache: computes Q, K, V of 1 token, reads K and V of 4 back; holds 40 bytes.",
  );
});

test("with a tied value the words know no V", () => {
  for (const at of [1, 2, 3]) {
    const words = JSON.stringify(stepper.wordsOf(state({ sharing: "Q-K=V", at })));
    assert.match(words, /Q, K of/);
    assert.doesNotMatch(words, /V/);
  }
  const one = stepper.wordsOf(state({ prompt: ["a"], sharing: "Q-K=V", at: 2 }));
  assert.match(one.line, /1 token goes through the whole model again.*K of the others is read back/);
});
