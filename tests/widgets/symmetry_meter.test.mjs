import assert from "node:assert/strict";
import test from "node:test";
import { load } from "./load.mjs";

const meter = await load("symmetry_meter");

const STATE = {
  variant: "tied",
  labels: ["A", "B", "C"],
  key_points: [[1, 0], [2, 0], [0, 1]],
  query_points: [[2, 0], [1, 0], [0, 1]],
  gain: 1,
  row: 0,
  column: 0,
  variants: [
    { name: "free", ties_query: false, plus: false },
    { name: "tied", ties_query: true, plus: false },
    { name: "tied+", ties_query: true, plus: true },
  ],
};
const state = (changes) => ({ ...STATE, ...changes });
const near = (a, b) => assert.ok(Math.abs(a - b) < 1e-12, `${a} is not ${b}`);

test("scores are dot products over √2; without a query of its own a key asks", () => {
  const tied = meter.scoresOf(state({}));
  near(tied[0][1], 2 / Math.SQRT2);
  near(tied[1][1], 4 / Math.SQRT2);
  assert.deepEqual(tied, tied[0].map((_, i) => tied.map((row) => row[i])));
  near(meter.scoresOf(state({ variant: "free" }))[0][1], 4 / Math.SQRT2);
});

test("the row term moves scores and no weight; the column term moves both", () => {
  const plain = meter.scoresOf(state({ variant: "tied+" }));
  const row = meter.scoresOf(state({ variant: "tied+", row: 3 }));
  assert.deepEqual([0, 1, 2].map((i) => row[i][0] - plain[i][0]), [-3, 0, 3]);
  const [before, after] = [plain, row].map(meter.weightsOf);
  before.flat().forEach((w, i) => near(w, after.flat()[i]));
  const column = meter.weightsOf(meter.scoresOf(state({ variant: "tied+", column: 3 })));
  assert.ok(column[0][2] > before[0][2] + 0.1);
  // Without (X)+ its parts are not heard.
  assert.deepEqual(meter.scoresOf(state({ row: 3, column: 2, gain: 0 })), meter.scoresOf(state({})));
});

test("weights survive large scores", () => {
  const weights = meter.weightsOf([[800, 0], [0, -800]]);
  assert.deepEqual(weights, [[1, 0], [1, 0]]);
});

test("asymmetry is pull and flow at a right angle", () => {
  const none = meter.asymmetryOf(meter.scoresOf(state({})));
  assert.deepEqual(none, { pull: 0, flow: 0, all: 0 });
  const pulled = meter.asymmetryOf(meter.scoresOf(state({ variant: "tied+", row: 1, column: -2 })));
  assert.ok(pulled.pull > 0.1);
  assert.ok(pulled.flow < 1e-12);
  const ring = meter.asymmetryOf([[0, 1, 0], [0, 0, 1], [1, 0, 0]]);
  near(ring.flow, Math.SQRT2);
  near(ring.pull, 0);
  assert.deepEqual(meter.asymmetryOf([[0, 0], [0, 0]]), { pull: 0, flow: 0, all: 0 });
});

test("a round trip is named in the direction that is more likely", () => {
  const ring = [[0, 1, 0], [0, 0, 1], [1, 0, 0]];
  const there = meter.roundTripOf(ring);
  assert.deepEqual(there.places, [0, 1, 2]);
  near(there.times, Math.exp(3));
  const back = meter.roundTripOf([[0, 0, 1], [1, 0, 0], [0, 1, 0]]);
  assert.deepEqual(back.places, [0, 2, 1]);
  near(back.times, Math.exp(3));
  assert.equal(meter.tripText(there, ["A", "B", "C"]), "The round trip A→B→C→A is 20.1 times as likely as backwards.");
  assert.match(meter.tripText({ places: [0, 1, 2], times: 1 }, "ABC"), /nothing flows/);
  assert.match(meter.tripText({ places: [0, 1, 2], times: 1.001 }, "ABC"), /hardly more likely/);
  assert.match(meter.tripText({ places: [0, 1, 2], times: 1e9 }, "ABC"), /over 10,000 times/);
});

test("both wishes are granted to free queries, or by a gain below zero", () => {
  assert.deepEqual(meter.prefersOf(meter.scoresOf(state({}))), [true, false]);
  const crossed = state({ variant: "free", key_points: [[2, 0], [0, 2], [1, 1]], query_points: [[0, 1], [1, 0], [1, 1]] });
  assert.deepEqual(meter.prefersOf(meter.scoresOf(crossed)), [true, true]);
  assert.ok(meter.balanceOf(meter.scoresOf(crossed)) < 0);
  const below = state({ variant: "tied+", gain: -1, key_points: [[2, 0], [-2, 0], [0, 1]] });
  assert.deepEqual(meter.prefersOf(meter.scoresOf(below)), [true, true]);
  assert.match(meter.verdict(below), /gain is below zero/);
  assert.match(meter.verdict(crossed), /query of its own/);
});

test("with one projection and a gain of zero or more nobody gets both", () => {
  let one = 0;
  let seed = 1;
  const dice = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
  for (let n = 0; n < 4000; n++) {
    const pick = (size) => (dice() - 0.5) * size;
    const drawn = state({
      variant: n % 2 ? "tied" : "tied+",
      key_points: [0, 1, 2].map(() => [pick(6), pick(6)]),
      gain: dice() * 3,
      row: pick(8),
      column: pick(8),
    });
    const scores = meter.scoresOf(drawn);
    const wishes = meter.prefersOf(scores);
    assert.ok(!(wishes[0] && wishes[1]), JSON.stringify(drawn));
    assert.ok(meter.balanceOf(scores) > -1e-9);
    assert.equal(meter.roundTripOf(scores).times < 1 + 1e-9, true);
    one += wishes[0] || wishes[1];
  }
  assert.ok(one > 400, "one wish is often granted");
});

test("the verdict names who is longer, or the column term", () => {
  const hair = state({ key_points: [[2.15, 2.1], [2.2, 2.05], ...state({}).key_points.slice(2)] });
  assert.match(meter.verdict(hair), /^A prefers B: the key of B is longer, by a hair\./);
  assert.match(meter.verdict(state({})), /^A prefers B: the key of B is longer, 2\.00 against 1\.00\./);
  const favoured = state({ variant: "tied+", key_points: [[2, 0], [1, 0], [0, 1]], column: 4 });
  assert.match(meter.verdict(favoured), /^A prefers B: the column term favours its place\..*cancelled/);
  const apart = state({ key_points: [[1, 0], [0, 1], [-1, 0]] });
  assert.match(meter.verdict(apart), /never both\. One wish can be had/);
  assert.match(meter.verdict(state({ variant: "free" })), /point to the key of B/);
});

test("numbers are short", () => {
  assert.equal(meter.short(1.234), "1.23");
  assert.equal(meter.short(-12.34), "−12.3");
  assert.equal(meter.short(-0.001), "0.00");
  assert.equal(meter.short(9.999), "10.0");
});
