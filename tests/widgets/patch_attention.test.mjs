import assert from "node:assert/strict";
import test from "node:test";
import { load } from "./load.mjs";

const view = await load("patch_attention");
const base64 = (bytes) => Buffer.from(bytes).toString("base64");

test("bytes are read as numbers from 0 to 1", () => {
  assert.deepEqual(view.unpack(base64([0, 255, 51]), 3), [0, 1, 0.2]);
  assert.throws(() => view.unpack(base64([0, 255]), 3), /2 bytes, expected 3/);
});

test("a row says where a patch looks, a column who looks at it", () => {
  const map = [1, 2, 3, 4, 5, 6, 7, 8, 9];
  assert.deepEqual(view.looks(map, 1, 3, "out"), [4, 5, 6]);
  assert.deepEqual(view.looks(map, 1, 3, "in"), [2, 5, 8]);
  assert.equal(view.most([0.1, 0.4, 0.4, 0.1]), 1);
});

test("places are counted from one, in reading order", () => {
  assert.equal(view.placeText(0, 4), "row 1, column 1");
  assert.equal(view.placeText(7, 4), "row 2, column 4");
  assert.equal(view.placeText(4, 3), "row 2, column 2");
});

test("arrow keys lead to the neighbours, and stop at the sides", () => {
  const grid = [2, 3];
  const to = (key, patch) => view.step(key, patch, grid);
  assert.deepEqual([to("ArrowRight", 0), to("ArrowDown", 0), to("ArrowLeft", 4), to("ArrowUp", 4)], [1, 3, 3, 1]);
  assert.deepEqual([to("ArrowLeft", 3), to("ArrowRight", 2), to("ArrowUp", 1), to("ArrowDown", 5)], [3, 2, 1, 5]);
  assert.deepEqual([to("Home", 4), to("End", 4)], [3, 5]);
  assert.equal(to("Enter", 4), null);
});

test("the mean over heads in words", () => {
  const all = [[0.5, 0.1, 0.1, 0.3], [0.1, 0.1, 0.3, 0.5]];
  assert.equal(
    view.meanText(all, 0, 2, "out"),
    "on average over 2 heads it gives itself 30\u00a0%, and looks most at row 2, column 2 (40\u00a0%) and row 2, column 1 (20\u00a0%).",
  );
  assert.match(view.meanText([all[0]], 3, 2, "in"), /over 1 head it gives itself 30\u00a0%, and is looked at most from row 1, column 1/);
});

const image = (label, ...answers) => ({ label, answers: answers.map((answer) => ({ answer })) });

test("an image in words: what it is, and how many miss it", () => {
  const classes = ["cat", "dog", "eel"];
  assert.equal(view.mistaken(image(1, 1, 0, 2)), 2);
  assert.equal(view.imageText(image(1, 1, 0, 2), classes), "dog, taken for something else by 2 of 3");
  assert.equal(view.imageText(image(2, 2, 2), classes), "eel, right by all");
});

test("the likeliest classes, three at most", () => {
  assert.deepEqual(view.likeliest([0.1, 0.6, 0.05, 0.25], ["a", "b", "c", "d"]).map(({ name }) => name), ["b", "d", "a"]);
  assert.deepEqual(view.likeliest([0.4, 0.6], ["a", "b"]), [{ name: "b", share: 0.6 }, { name: "a", share: 0.4 }]);
});
