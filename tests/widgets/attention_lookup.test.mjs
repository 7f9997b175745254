import assert from "node:assert/strict";
import test from "node:test";
import { load } from "./load.mjs";

const lookup = await load("attention_lookup");

const STATE = {
  key_points: [[1, 0], [0, 1], [-1, 0]],
  values: [10, 20, 30],
  query: [2, 0],
  temperature: 1,
  head_dim: 2,
  scaled: true,
};
const state = (changes) => ({ ...STATE, ...changes });
const near = (a, b) => assert.ok(Math.abs(a - b) < 1e-12, `${a} is not ${b}`);
const dot = ([a, b], [c, d]) => a * c + b * d;

test("scores are dot products over the square root of two", () => {
  const scores = lookup.scoresOf(STATE);
  [2, 0, -2].forEach((product, i) => near(scores[i], product / Math.SQRT2));
});

test("with the scale head_dim changes nothing; without, scores grow like its square root", () => {
  for (const head_dim of [2, 8, 64, 4096]) {
    near(lookup.factorOf(state({ head_dim })), 1 / Math.SQRT2);
    near(lookup.factorOf(state({ head_dim, scaled: false })), Math.sqrt(head_dim / 2));
  }
  near(lookup.factorOf(state({ temperature: 0.5 })), Math.SQRT2);
});

test("weights sum to one, also where a power would overflow", () => {
  for (const scores of [[0], [1, 2, 3], [9000, -9000, 8999], [-1e6, -1e6]]) {
    near(lookup.softmax(scores).reduce((a, b) => a + b), 1);
  }
  near(lookup.softmax([9000, 8999])[0], 1 / (1 + Math.exp(-1)));
});

test("effective keys and gradient, from one key to all", () => {
  near(lookup.effectiveKeys([1, 0, 0]), 1);
  near(lookup.effectiveKeys([0.25, 0.25, 0.25, 0.25]), 4);
  near(lookup.letThrough([1, 0, 0]), 0);
  near(lookup.letThrough([0.2, 0.2, 0.2, 0.2, 0.2]), 1);
  near(lookup.letThrough([0.5, 0.5, 0]), 0.75);
  assert.equal(lookup.letThrough([1]), 0);
});

test("values, keys and colours are mixed by the weights", () => {
  near(lookup.mix([0.5, 0.25, 0.25], STATE.values), 17.5);
  assert.deepEqual(lookup.mixKeys([0.5, 0.25, 0.25], STATE.key_points), [0.25, 0.25]);
  assert.equal(lookup.mixColours([1, 0], ["#E69F00", "#000000"]), "rgb(230, 159, 0)");
  assert.equal(lookup.mixColours([0.5, 0.5], ["#FF0000", "#0000FF"]), "rgb(128, 0, 128)");
});

const SHELF = [[2.7, 0.7], [1.2, 0.9], [-0.6, 2.7], [-2.1, 1.5], [-2.4, -0.3]];

test("an exact hit is a key that no other outscores", () => {
  const query = lookup.exactHit(SHELF);
  assert.deepEqual(query, [2.7, 0.7]);
  for (const key of SHELF) assert.ok(dot(query, key) <= dot(query, query));
  assert.deepEqual(lookup.exactHit([[0, 0]]), [0, 0]);
});

test("between two: two share the lead, the others are behind", () => {
  const products = (keys) => {
    const query = lookup.betweenTwo(keys);
    return keys.map((key) => dot(query, key)).sort((a, b) => b - a);
  };
  const [first, second, third] = products(SHELF);
  assert.ok(first - second < 0.05 && second - third > 1, `${first} ${second} ${third}`);
  const [one, two] = products([[1, 1], [1, -1]]);
  assert.ok(one > 0 && Math.abs(one - two) < 0.05);
  assert.deepEqual(lookup.betweenTwo([[1, 2]]), [1, 2]);
});

test("nothing fits: every score is as far below zero as it can be", () => {
  const query = lookup.nothingFits(SHELF);
  assert.ok(Math.max(...SHELF.map((key) => dot(query, key))) < 0);
  assert.equal(Math.max(...SHELF.map((key) => dot(lookup.nothingFits([[0, 0]]), [0, 0]))), 0);
});

test("queries stay within reach", () => {
  for (const [, ask] of lookup.QUESTIONS) {
    for (const x of ask([[3.5, 3.5], [-3.5, 3.5], [0, -3.5]])) assert.ok(Math.abs(x) <= 3.5);
  }
});

test("the hull goes round the outermost keys", () => {
  const square = [[0, 0], [1, 1], [1, 0], [0, 1], [0.5, 0.4]];
  const corners = lookup.hull(square).map(String).sort();
  assert.deepEqual(corners, ["0,0", "0,1", "1,0", "1,1"]);
  assert.deepEqual(lookup.hull([[1, 2]]), [[1, 2]]);
  assert.equal(lookup.hull([[1, 2], [0, 0]]).length, 2);
  assert.equal(lookup.hull([[0, 0], [1, 1], [2, 2]]).length, 2, "on one line, its ends");
});

test("numbers as text", () => {
  const texts = { 0: "0", 5.219: "5.22", 4.7: "4.7", 13.04: "13", 543.2: "543", 15360: "15,360" };
  for (const [x, text] of Object.entries(texts)) assert.equal(lookup.short(Number(x)), text);
  assert.equal(lookup.short(-1.5), "−1.5");
  assert.equal(lookup.short(-0.001), "0");
  assert.equal(lookup.short(100), "100");
  assert.equal(lookup.shareText(0.9999), "> 99.9 %");
  assert.equal(lookup.shareText(1), "100 %");
  assert.equal(lookup.shareText(0.0001), "< 0.1 %");
  assert.equal(lookup.shareText(0), "0 %");
  assert.equal(lookup.shareText(0.315), "31.5 %");
});
