import assert from "node:assert/strict";
import test from "node:test";
import { load } from "./load.mjs";

const view = await load("odd_one_out");
const pack = (...numbers) => Buffer.from(numbers).toString("base64");

test("a map is read row by row, and another size is refused", () => {
  assert.deepEqual(view.unpackWeights(pack(255, 0, 51, 204), 2), [[1, 0], [0.2, 0.8]]);
  assert.throws(() => view.unpackWeights(pack(1, 2, 3), 2), /not 2 x 2/);
});

test("shares of large scores stay finite", () => {
  assert.deepEqual(view.shares([1000, 1000]), [0.5, 0.5]);
  assert.deepEqual(view.shares([0, -2000]), [1, 0]);
});

test("of equal numbers the first is best", () => assert.equal(view.best([0, 3, 3, 1]), 1));

const ROUNDS = [{ odd: 1 }, { odd: 0 }, { odd: 2 }];
const MODELS = [
  { scores: [[0, 9, 0], [0, 9, 0], [0, 0, 9]] },
  { scores: [[9, 0, 0], [9, 0, 0], [9, 0, 0]] },
];

test("only rounds that were played count", () => {
  const none = view.tally({ picks: [-1, -1, -1], rounds: ROUNDS, models: MODELS });
  assert.deepEqual(none, { played: 0, you: 0, models: [0, 0] });
  const some = view.tally({ picks: [1, 2, -1], rounds: ROUNDS, models: MODELS });
  assert.deepEqual(some, { played: 2, you: 1, models: [1, 1] });
});

const WEIGHTS = [[0.5, 0.3, 0.2], [0.1, 0.9, 0], [0.25, 0.25, 0.5]];

test("edges lead to others only, weak ones are left out, the strongest is last", () => {
  const short = (found) => found.map(({ from, to }) => `${from}${to}`).join(" ");
  assert.equal(short(view.edges(WEIGHTS, 0)), "10 02 20 21 01");
  assert.equal(short(view.edges(WEIGHTS, 0.25)), "20 21 01");
  assert.equal(short(view.edges(WEIGHTS, 0, 2)), "02 20 21");
  assert.equal(short(view.edges(WEIGHTS, 0.6)), "");
});

test("what a map does with the odd one", () => {
  const found = view.around(WEIGHTS, 0);
  assert.equal(found.oddOnSelf, 0.5);
  assert.equal(found.othersOnSelf, 0.7);
  assert.equal(found.onOdd, 0.175);
  assert.equal(found.amongOthers, 0.125);
});

test("spots go clockwise from the top", () => {
  const close = (a, b) => assert.ok(Math.abs(a - b) < 1e-9);
  const [top, right] = [view.spot(0, 4, 10), view.spot(1, 4, 10)];
  close(top.x, 0), close(top.y, -10), close(right.x, 10), close(right.y, 0);
});

test("there and back are two paths, and both stop short", () => {
  const [a, b] = [{ x: 0, y: 0 }, { x: 100, y: 0 }];
  const numbers = (path) => path.match(/-?[\d.]+/g).map(Number);
  const there = numbers(view.bend(a, b, 10));
  const back = numbers(view.bend(b, a, 10));
  assert.ok(Math.abs(Math.hypot(there[0], there[1]) - 10) < 0.1);
  assert.ok(Math.abs(Math.hypot(100 - there[4], there[5]) - 10) < 0.1);
  assert.equal(Math.sign(there[3]), -Math.sign(back[3]));
});

test("the view of one image in words", () => {
  const labels = ["hat", "cup", "cup"];
  assert.equal(
    view.focusText(WEIGHTS, 0, labels, 0.15),
    "Image 1 (hat) keeps 50 % of its look for itself. It looks at 2 (30 %) and 3 (20 %). " +
      "It is looked at by 3 (25 %).",
  );
  assert.match(view.focusText(WEIGHTS, 1, labels, 0.6), /looks at no other with 60 % or more\./);
});

test("the answer names the odd one and the rest", () => {
  assert.equal(
    view.answerText({ odd: 0, labels: ["7", "3", "3"] }),
    "the odd one is image 1 (7; the others are 3)",
  );
});
