import assert from "node:assert/strict";
import test from "node:test";
import { load } from "./load.mjs";

const view = await load("plus_grid");

/** Scores as Python packs them: two bytes each, high byte first. */
function packed(rows, low, high) {
  const bytes = rows.flat().flatMap((score) => {
    const level = Math.round((65535 * (score - low)) / (high - low));
    return [level >> 8, level & 255];
  });
  return { low, high, levels: Buffer.from(bytes).toString("base64") };
}

const SCORES = [[2, 1, 0, -1], [1, 3, 1, 0], [0, 1, 2, 1], [-1, 0, 1, 4]]; // its own mirror image
const LAYER = { gain: 1.5, a: [3, -2, 0, 1], b: [0.5, -1, 0.25, 0.25], maps: [[packed(SCORES, -1, 4)]] };
const STATE = {
  told: "its number",
  image: 0,
  layer: 0,
  head: 0,
  patch: 1,
  direction: "out",
  parts: ["gain", "a", "b"],
  grid: [2, 2],
  models: [{ told: "its number", layers: [LAYER] }],
};
const effect = (...parts) => view.effectOf({ ...STATE, parts });
const near = (a, b, within) => assert.ok(Math.abs(a - b) <= within, `${a} is not near ${b}`);

test("scores are read from two bytes each", () => {
  const found = view.unpackScores(packed(SCORES, -1, 4), 4);
  found.forEach((row, i) => row.forEach((score, j) => near(score, SCORES[i][j], 5 / 65535)));
  assert.throws(() => view.unpackScores(packed(SCORES, -1, 4), 3), /32 bytes are not 3 x 3 scores/);
});

test("the parts that are on make the scores", () => {
  const of = (...parts) => view.withParts({ ...STATE, parts }, LAYER, SCORES)[1][2];
  assert.equal(of(), 1);
  assert.equal(of("gain"), 1.5);
  assert.equal(of("a"), 1 - 2);
  assert.equal(of("b"), 1 + 0.25);
  assert.equal(of("gain", "a", "b"), 1.5 - 2 + 0.25);
});

test("weights sum to one, however large the scores", () => {
  for (const row of view.weightsOf([[1000, 1001], [-1000, -1000]])) {
    near(row[0] + row[1], 1, 1e-12);
  }
});

test("the term of the one who looks moves no weight, the others do", () => {
  assert.ok(Math.max(...effect("a").moved) < 1e-12);
  assert.ok(effect("b").meanMoved > 0.01);
  assert.ok(effect("gain").meanMoved > 0.01);
  assert.equal(effect().meanMoved, 0);
});

test("all of its asymmetry is pull", () => {
  const { before, after } = effect("gain", "a", "b").asymmetry;
  near(before.all, 0, 1e-12);
  assert.ok(after.all > 0.1);
  near(after.flow, 0, 1e-12);
  const ring = view.asymmetryOf([[0, 1, 0], [0, 0, 1], [1, 0, 0]]);
  near(ring.flow, ring.all, 1e-12);
});

test("a picture is a row, or a column", () => {
  const at = (i, j) => 10 * i + j;
  assert.deepEqual(view.picture(at, 1, 3, "out"), [10, 11, 12]);
  assert.deepEqual(view.picture(at, 1, 3, "in"), [1, 11, 21]);
});

test("one scale holds all that the parts can add", () => {
  const reach = (...parts) => view.reachOf(LAYER, parts);
  assert.deepEqual([reach("gain", "a", "b"), reach("a"), reach("b")], [3.5, 3, 1]);
  assert.ok(reach("gain") > 0, "it is divided by");
});

test("numbers carry their sign, and nothing has none", () => {
  assert.deepEqual([1.234, -0.5, -0.001, 0].map((x) => view.signedText(x)), ["+1.23", "−0.50", "0.00", "0.00"]);
  assert.equal(view.signedText(-1.26, 1), "−1.3");
});

test("places are counted from one, in reading order", () => {
  assert.equal(view.placeText(0, 4), "row 1, column 1");
  assert.equal(view.placeText(7, 4), "row 2, column 4");
  assert.equal(view.placeText(4, 3), "row 2, column 2");
});

test("arrow keys lead to the neighbours, and stop at the sides", () => {
  const to = (key, patch) => view.step(key, patch, [2, 3]);
  assert.deepEqual([to("ArrowRight", 0), to("ArrowDown", 0), to("ArrowLeft", 4), to("ArrowUp", 4)], [1, 3, 3, 1]);
  assert.deepEqual([to("ArrowLeft", 3), to("ArrowRight", 2), to("ArrowUp", 1), to("ArrowDown", 5)], [3, 2, 1, 5]);
  assert.deepEqual([to("Home", 4), to("End", 4)], [3, 5]);
  assert.equal(to("Enter", 4), null);
});

test("what is added in words", () => {
  const said = (changes) => view.addedText({ ...STATE, ...changes });
  assert.equal(
    said({}),
    "b is highest at row 1, column 1 (+0.50) and lowest at row 1, column 2 (−1.00), whichever patch is chosen. a adds −2.00 to the whole picture of this patch.",
  );
  assert.match(said({ direction: "in" }), /^a is highest at row 1, column 1 \(\+3\.00\).* b adds −1\.00/);
  assert.equal(said({ parts: ["gain"] }), "Nothing is added: only the factor is left.");
  assert.equal(said({ parts: [] }), "(X)+ is off: nothing is added.");
  assert.doesNotMatch(said({ parts: ["b"] }), /a adds/);
});
