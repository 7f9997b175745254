import assert from "node:assert/strict";
import test from "node:test";
import { load } from "./load.mjs";

const view = await load("task_maps");

test("a map is read row by row", () => {
  assert.deepEqual(view.unpack("_~3_~3_", 3), [[1, 0, 0], [0, 1, 0], [0, 0, 1]]);
  assert.deepEqual(view.unpack("00_0", 2), [[0, 0], [1, 0]]);
});

test("a text that is no such map is refused", () => {
  for (const text of ["", "_", "~9_", "~8_~3", "!~8"]) {
    assert.throws(() => view.unpack(text, 3), /not 3 x 3/);
  }
});

test("what a row reads, the most first", () => {
  const row = [0.2, 0, 0.5, 0.13, 0.1, 0.07];
  assert.deepEqual(view.reads(row), [
    { at: 2, weight: 0.5 },
    { at: 0, weight: 0.2 },
    { at: 3, weight: 0.13 },
  ]);
  assert.equal(view.readsText(row, [..."314159"]), "input 2 (4) 50 %, input 0 (3) 20 %, input 3 (1) 13 %");
  const flat = Array(16).fill(1 / 16);
  assert.equal(view.readsText(flat, flat), "the whole list, no input with more than 6 %");
  assert.deepEqual(view.reads([0.25, 0.25, 0.25, 0.25]).map(({ at }) => at), [0, 1, 2]);
});

test("wrong where something was asked", () => {
  assert.deepEqual(view.wrongPlaces("1234", "1204"), [2]);
  assert.deepEqual(view.wrongPlaces("1234", "··34"), []);
  assert.deepEqual(view.wrongPlaces("9991", "··34"), [2, 3]);
});

test("accuracy in words", () => {
  assert.equal(view.accuracyText([1, 1, 1]), "100 % (3 seeds)");
  assert.equal(view.accuracyText([0.5]), "50 % (1 seed)");
  assert.equal(view.accuracyText([0.885, 0.944, 0.9]), "91 % (3 seeds, 88.5 % to 94.4 %)");
});

const STATE = {
  task: "SHIFT", variant: "QKV", other: "Q=K-V", n_heads: 2, shown: 0, length: 2,
  tasks: [{ name: "SHIFT", lists: [{ inputs: ["3", "1"], targets: "13", by_hand: "0__0" }] }],
  variants: [{ name: "QKV", colour: "#111111" }, { name: "Q=K-V", colour: "#222222" }],
  models: [
    { task: "SHIFT", variant: "QKV", n_heads: 2, maps: [["0__0", "_00_"]] },
    { task: "SHIFT", variant: "QKV", n_heads: 1, maps: [["0__0"]] },
    { task: "SHIFT", variant: "Q=K-V", n_heads: 1, maps: [["VWWV"]] },
  ],
};

test("first the hand, then every head of the models chosen", () => {
  const found = view.lookers(STATE);
  assert.deepEqual(found.map(({ name, detail }) => [name, detail]), [
    ["by hand", ""], ["QKV", "head 0"], ["QKV", "head 1"],
  ]);
  assert.deepEqual(found[1].weights, [[0, 1], [1, 0]]);
  assert.equal(found[2].colour, "#111111");
  const one = view.lookers({ ...STATE, n_heads: 1 });
  assert.deepEqual(one.map(({ name, detail }) => [name, detail]), [["by hand", ""], ["QKV", ""], ["Q=K-V", ""]]);
  assert.equal(view.lookers({ ...STATE, n_heads: 1, other: "QKV" }).length, 2);
  assert.equal(view.lookers({ ...STATE, n_heads: 1, other: "" }).length, 2);
});
