import assert from "node:assert/strict";
import test from "node:test";
import { load } from "./load.mjs";

const sketch = await load("curve_sketch");

const CURVE = {
  name: "MQA",
  axis: "tokens",
  x: [1, 2, 4, 8],
  x_text: ["1M", "2M", "4M", "8M"],
  mean: [8, 6, 4, 2],
  low: [7, 5, 3, 1],
  high: [9, 7, 5, 3],
  trend: { mean: -2, low: -2.5, high: -1.5 },
  top: 20,
  colour: "#0072B2",
};

test("sizes that double are equally far apart", () => {
  const places = sketch.placesOf(CURVE);
  [0, 1 / 3, 2 / 3, 1].forEach((at, i) => assert.ok(Math.abs(places[i] - at) < 1e-12));
});

test("heights stay in the picture, in steps, without -0", () => {
  assert.equal(sketch.held(CURVE, 99), 20);
  assert.equal(sketch.held(CURVE, -99), sketch.bottomOf(CURVE));
  assert.equal(sketch.held(CURVE, 3.14159), 3.1);
  assert.ok(Object.is(sketch.held(CURVE, -0.01), 0));
});

test("the first touch lays a flat line, and a stroke bends what it passes", () => {
  const flat = sketch.penned(CURVE, undefined, [0.3, 8], [0.3, 8]);
  assert.deepEqual(flat, [8, 8, 8, 8]);
  // From the far left to the far right, falling: every point is passed.
  assert.deepEqual(sketch.penned(CURVE, flat, [-0.05, 12], [1.05, 1]), [11.5, 8.2, 4.8, 1.5]);
  // The same stroke from right to left.
  assert.deepEqual(sketch.penned(CURVE, flat, [1.05, 1], [-0.05, 12]), [11.5, 8.2, 4.8, 1.5]);
  // A short one moves the nearest point only, and the line given is left as it was.
  assert.deepEqual(sketch.penned(CURVE, flat, [0.35, 5], [0.36, 6]), [8, 6, 8, 8]);
  assert.deepEqual(flat, [8, 8, 8, 8]);
});

test("a fast stroke leaves no point behind", () => {
  let line = sketch.penned(CURVE, undefined, [0, 0], [0, 0]);
  line = sketch.penned(CURVE, line, [0, 0], [1, 15]);
  assert.deepEqual(line, [0, 5, 10, 15]);
});

test("slope and distance", () => {
  assert.ok(Math.abs(sketch.slopeOf(CURVE, CURVE.mean) + 2) < 1e-12);
  assert.equal(sketch.offBy(CURVE, [8, 6, 5, 5]), 1);
  assert.equal(sketch.wayOf({ mean: -1, low: -3, high: 1 }), "stays");
  assert.equal(sketch.wayOf({ mean: 1 }), "grows");
});

test("nothing of the measurement is said before it is shown", () => {
  assert.deepEqual(sketch.wordsOf(CURVE, undefined, false), []);
  const guess = [5, 5, 5, 5];
  const before = sketch.wordsOf(CURVE, guess, false);
  assert.deepEqual(before, ["Your line: it stays where it is."]);
  const after = sketch.wordsOf(CURVE, guess, true);
  assert.equal(after[1], "Measured: it shrinks, −2 with each doubling (−2.5 to −1.5).");
  assert.equal(after[2], "You are off by 2 on average; 2 of 4 points are inside their intervals.");
  const unsure = { ...CURVE, trend: { mean: -0.1, low: -1, high: 0.8 } };
  assert.match(sketch.wordsOf(unsure, undefined, true)[0], /one cannot tell which way/);
});
