import assert from "node:assert/strict";
import test from "node:test";
import { load } from "./load.mjs";

const hull = await load("key_hull");

const STATE = {
  sharing: "Q-K=V",
  key_points: [[-2, -2], [2, -2], [2, 2], [-2, 2]],
  value_points: [[-4, -4], [4, -4], [4, 4], [-4, 4]],
  query: [0, 0],
  target: [0, 0],
  reach: 4,
  near: 0.15,
  sharings: [
    { name: "QKV", tuple_form: "(Q, K, V)", tied: false, colour: "#0072B2" },
    { name: "Q-K=V", tuple_form: "(Q, K=V)", tied: true, colour: "#009E73" },
  ],
};
const state = (changes) => ({ ...STATE, ...changes });

test("corners, counter-clockwise, without doubles, inner points and points on an edge", () => {
  const square = [[0, 0], [1, 0], [1, 1], [0, 1]];
  const more = [[0.5, 0.5], [0.5, 0], [1, 1], ...square.toReversed()];
  assert.deepEqual(hull.hullOf(more), square);
  assert.deepEqual(hull.hullOf([[2, 2], [0, 0], [1, 1]]), [[0, 0], [2, 2]]);
  assert.deepEqual(hull.hullOf([[1, 2], [1, 2]]), [[1, 2]]);
});

test("distance from a hull, a segment and a point", () => {
  const square = hull.hullOf([[0, 0], [1, 0], [1, 1], [0, 1]]);
  assert.equal(hull.distanceTo([0.3, 0.9], square), 0);
  assert.equal(hull.distanceTo([4, 5], square), 5);
  assert.ok(Math.abs(hull.distanceTo([0, 1], [[0, 0], [1, 1]]) - Math.SQRT1_2) < 1e-12);
  assert.equal(hull.distanceTo([4, 4], [[1, 0]]), 5);
});

test("a query of zero weighs all alike, a long one picks a corner, and nothing overflows", () => {
  assert.deepEqual(hull.weightsOf(STATE), [0.25, 0.25, 0.25, 0.25]);
  const decided = hull.readingOf(state({ query: [400, 400] }));
  assert.deepEqual(decided.output, [2, 2]);
  assert.equal(decided.distances.output_keys, 0);
});

test("tied, the output never leaves the hull of the keys; untied, it does", () => {
  let outside = 0;
  for (let i = 0; i < 500; i++) {
    const query = [Math.sin(7 * i) * 4, Math.cos(3 * i) * 4];
    assert.ok(hull.readingOf(state({ query })).distances.output_keys < 1e-9);
    const free = hull.readingOf(state({ query, sharing: "QKV" })).distances;
    assert.ok(free.output_values < 1e-9);
    if (free.output_keys > 0.1) outside += 1;
  }
  assert.ok(outside > 100);
});

test("a level query: moving a key up or down changes no weight, and the output follows", () => {
  const level = state({ query: [3.4, 0], key_points: [[-3, 1], [-1, -2], [1, 2], [3, -1]] });
  const before = hull.readingOf(level);
  const lifted = { ...level, ...hull.moved(level, { kind: "key_points", index: 3 }, [3, 2]) };
  const after = hull.readingOf(lifted);
  assert.deepEqual(after.weights, before.weights);
  assert.ok(Math.abs(after.output[1] - before.output[1] - 3 * before.weights[3]) < 1e-12);
});

test("what is said", () => {
  const words = (changes) => hull.wordsOf(state(changes));
  const home = words({});
  assert.equal(home.where, "Output (0.00, 0.00): inside the hull of the keys.");
  assert.ok(home.hit);
  assert.equal(home.star, "The output is on the star.");
  assert.match(words({ target: [1, 1] }).star, /^1.41 from the star.*a query can reach it/);
  assert.match(words({ target: [3, 3] }).star, /as long as values are keys, no query reaches it/);
  assert.match(words({ target: [3, 3], sharing: "QKV" }).star, /lies in the hull of the values/);
  const beyond = { value_points: STATE.key_points, target: [3, 3], sharing: "QKV" };
  assert.match(words(beyond).star, /move a value beyond it/);
  const out = words({ query: [-4, -4], sharing: "QKV" });
  assert.match(out.where, /^Output \(−4.00, −4.00\): outside the hull of the keys\.$/);
  assert.match(out.why, /mean of the values/);
});

test("points stay within reach, at a hundredth, and the others where they are", () => {
  const change = hull.moved(STATE, { kind: "key_points", index: 1 }, [9, -0.001]);
  assert.deepEqual(change, { key_points: [[-2, -2], [4, 0], [2, 2], [-2, 2]] });
  assert.ok(!Object.is(change.key_points[1][1], -0));
  assert.deepEqual(hull.moved(STATE, { kind: "query" }, [0.126, -7]), { query: [0.13, -4] });
});

test("more and fewer keys, each with its value", () => {
  for (const n of hull.COUNTS) {
    const change = hull.withCount(STATE, n);
    assert.equal(change.key_points.length, n);
    assert.equal(change.value_points.length, n);
    assert.deepEqual(change.key_points.slice(0, 4), STATE.key_points);
  }
  const six = { ...STATE, ...hull.withCount(STATE, 6) };
  assert.deepEqual(hull.withCount(six, 4).key_points, STATE.key_points);
  const five = { ...STATE, ...hull.withCount(STATE, 5) };
  assert.deepEqual(hull.withCount(five, 6), hull.withCount(STATE, 6));
});
