import assert from "node:assert/strict";
import test from "node:test";
import { load } from "./load.mjs";

const view = await load("padding_meter");

const STATE = {
  pad_to: 100,
  scored: true,
  lengths: [50, 100, 150, 10],
  models: [{ name: "A", text: 2, padding: 0 }, { name: "B", text: 2.1, padding: 0.02 }],
  printed: [{ name: "A", perplexity: 5 }, { name: "B", perplexity: 5.5 }],
  limits: [16, 2048],
};
const near = (one, other, off = 1e-9) => assert.ok(Math.abs(one - other) < off, `${one} is not ${other}`);

test("the share counts what is behind the end of short paragraphs", () => {
  near(view.shareOf(STATE.lengths, 100), (50 + 90) / 400);
  assert.equal(view.shareOf([20, 30], 20), 0);
  let before = 0;
  for (let padTo = 16; padTo < 400; padTo += 7) {
    const share = view.shareOf(STATE.lengths, padTo);
    assert.ok(share >= before && share < 1);
    before = share;
  }
});

test("a length is found for every share there is", () => {
  for (const padTo of [40, 77, 300, 2048]) {
    assert.equal(view.padToFor(STATE.lengths, view.shareOf(STATE.lengths, padTo), STATE.limits), padTo);
  }
  assert.equal(view.padToFor(STATE.lengths, 0.999, STATE.limits), 2048);
  assert.equal(view.shareOf([100, 200], view.padToFor([100, 200], 0, [16, 2048])), 0);
});

test("a reported loss is a mean of two parts, or of text alone", () => {
  const { loss, text, padding } = view.reportedOf(STATE.models[1], 0.25, true);
  near(text, 0.75 * 2.1);
  near(padding, 0.25 * 0.02);
  near(loss, text + padding);
  assert.equal(view.reportedOf(STATE.models[1], 0.25, false).loss, 2.1);
});

test("free padding is taken out again, gaps and all", () => {
  const share = 0.4;
  for (const perplexity of [3, 5.11, 40]) {
    const reported = Math.exp(view.reportedOf({ text: Math.log(perplexity), padding: 0 }, share, true).loss);
    assert.ok(reported < perplexity);
    near(view.undoneOf(reported, share), perplexity);
  }
  near(view.undoneOf(5.11, 0), 5.11);
  near(view.gapOf(view.undoneOf(5.5, share), view.undoneOf(5, share)), 100 * (1.1 ** (1 / 0.6) - 1));
});

test("a reading holds all of it, and left out the length does not matter", () => {
  const reading = view.readingOf(STATE);
  assert.equal(reading.cut, 1);
  near(reading.models[0].gap, 0);
  near(reading.models[1].gap, 100 * Math.expm1(reading.models[1].loss - reading.models[0].loss), 1e-6);
  near(reading.printed[1].gap, 10);
  assert.ok(reading.printed[1].undone_gap > 10);
  const leftOut = [16, 500].map((pad_to) => view.readingOf({ ...STATE, pad_to, scored: false }).models);
  assert.deepEqual(leftOut[0], leftOut[1]);
  near(leftOut[0][0].perplexity, Math.exp(2));
});

test("numbers as text", () => {
  assert.deepEqual([7.644, 99.994, 164.2, 12345, 2.1e7].map(view.formatPerplexity),
    ["7.64", "99.99", "164", "12,300", "21,000,000"]);
  assert.deepEqual([3.131, -0.42, 0, 99.96, 1234].map(view.formatGap),
    ["+3.1 %", "−0.4 %", "+0.0 %", "+100.0 %", "+1,234 %"]);
});
