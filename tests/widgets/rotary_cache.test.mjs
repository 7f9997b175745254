import assert from "node:assert/strict";
import test from "node:test";
import { load } from "./load.mjs";

const view = await load("rotary_cache");

const scheme = (name, kept, value, more = {}) => ({
  name, title: name, says: "", kept, value, on_read: false, back: false, ...more,
});
const STATE = {
  scheme: "mistake",
  start: 0,
  ahead: 2,
  turning: 2,
  words: ["A", "B", "C"],
  key_hands: [[[1, 0], [0, 1]], [[0, -1], [0.6, 0.8]], [[-0.6, 0.8], [-1, 0]]],
  query_hands: [[1, 2], [2, -1]],
  positions: 32,
  base: 16,
  schemes: [
    scheme("mistake", ["turned"], "turned"),
    scheme("read", ["plain"], "plain", { on_read: true }),
    scheme("relative", ["turned"], "turned", { back: true }),
    scheme("two", ["plain", "turned"], "plain"),
  ],
};
const state = (changes) => ({ ...STATE, ...changes });
const near = (one, other) => {
  const [a, b] = [one.flat(9), other.flat(9)];
  assert.equal(a.length, b.length);
  a.forEach((x, i) => assert.ok(Math.abs(x - b[i]) < 1e-9, `${a} is not ${b}`));
};

test("hands turn clockwise on a screen, keep their length, and the second is slower", () => {
  near(view.speedsOf(STATE), [1, 0.25]);
  near(view.speedsOf(state({ turning: 1 })), [1, 0]);
  near(view.turned([[1, 0], [0, 2]], [Math.PI / 2, Math.PI / 4], 2), [[-1, 0], [-2, 0]]);
  near(view.turned(STATE.query_hands, view.speedsOf(STATE), 0), STATE.query_hands);
});

test("weights are alike for every scheme and at every place, and depend on the distance", () => {
  const weights = view.readingOf(STATE).weights;
  near([weights.reduce((a, b) => a + b, 0)], [1]);
  for (const name of STATE.schemes.map((each) => each.name)) {
    for (const start of [0, 1, 9, 20]) {
      near(view.readingOf(state({ start }), name).weights, weights);
    }
  }
  assert.ok(Math.abs(view.readingOf(state({ ahead: 5 })).weights[0] - weights[0]) > 1e-3);
});

test("outputs stay where the text is moved, but for the mistake", () => {
  for (const start of [1, 5, 12]) {
    const moved = Object.fromEntries(
      STATE.schemes.map(({ name }) => [name, view.movedOf(state({ start }), name)]),
    );
    assert.ok(moved.mistake > 0.05);
    assert.ok(Math.max(moved.read, moved.relative, moved.two) < 1e-9);
  }
  assert.equal(view.movedOf(STATE), 0);
});

test("read and two are one model, relative values are another", () => {
  const [read, two, relative] = ["read", "two", "relative"].map(
    (name) => view.readingOf(state({ start: 4 }), name).output,
  );
  near(read, two);
  assert.ok(Math.abs(relative[0][0] - read[0][0]) > 1e-3);
});

test("with relative values a token far away hands over its value turned back by the distance", () => {
  const alone = state({ key_hands: [STATE.key_hands[0]], words: ["A"], ahead: 3, start: 6 });
  const { output, mean } = view.readingOf(alone, "relative");
  near(output, view.turned(STATE.key_hands[0], [1, 0.25], -3));
  near(mean, view.turned(STATE.key_hands[0], [1, 0.25], 6));
});

test("numbers kept", () => {
  const numbers = (name, turning = 2) => view.numbersOf(state({ turning }), name);
  assert.deepEqual(["mistake", "read", "relative", "two"].map((name) => numbers(name)), [4, 4, 4, 8]);
  assert.equal(numbers("two", 1), 6);
  assert.equal(numbers("read", 1), 4);
});

test("text and query stay within the positions there are", () => {
  assert.deepEqual(view.placed(STATE, "start", 99), { start: 27 });
  assert.deepEqual(view.placed(STATE, "start", -1), { start: 0 });
  assert.deepEqual(view.placed(STATE, "start", 4.6), { start: 5 });
  assert.deepEqual(view.placed(state({ start: 10 }), "ahead", 99), { ahead: 19 });
  assert.deepEqual(view.placed(STATE, "ahead", 0), { ahead: 1 });
  assert.equal(view.asksAt(state({ start: 27 })), 31);
});

test("what is said", () => {
  const words = (changes) => view.wordsOf(state(changes));
  assert.match(words({}).verdict, /does the output mind/);
  assert.match(words({ start: 3 }).verdict, /^The output has moved by \d\.\d\d\. Same text/);
  assert.ok(!words({ start: 3 }).stays);
  assert.match(words({ start: 3, scheme: "read" }).verdict, /Only distances count/);
  assert.match(words({ scheme: "read" }).work, /all 3 keys held, and the query\.$/);
  assert.match(words({ scheme: "relative" }).work, /back again the output\.$/);
  assert.equal(
    words({ scheme: "two", turning: 1 }).kept,
    "6 numbers, 12 bytes in float16. Keys and values apart: 16 bytes. Saved: 25 %.",
  );
  assert.match(words({ scheme: "two" }).kept, /Saved: 0 %\.$/);
});
