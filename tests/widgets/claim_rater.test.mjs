import assert from "node:assert/strict";
import test from "node:test";
import { load } from "./load.mjs";

const rater = await load("claim_rater");

const CLAIMS = [{ id: "first" }, { id: "second" }, { id: "third" }];

/** A store as browsers have it; `fail` names the methods that throw. */
function fakeStore(entries = {}, ...fail) {
  const map = new Map(Object.entries(entries));
  const guard = (name, act) => (...values) => {
    if (fail.includes(name)) throw new Error(`no ${name}`);
    return act(...values);
  };
  return {
    map,
    getItem: guard("getItem", (key) => map.get(key) ?? null),
    setItem: guard("setItem", (key, value) => map.set(key, value)),
    removeItem: guard("removeItem", (key) => map.delete(key)),
  };
}

test("only ratings of these claims count, in the claims' order", () => {
  const found = { third: 0, second: 100, first: 50, fourth: 7 };
  assert.deepEqual(Object.entries(rater.validRatings(CLAIMS, found)), [
    ["first", 50], ["second", 100], ["third", 0],
  ]);
  for (const bad of [-1, 101, 1.5, "7", null, true, undefined, NaN]) {
    assert.deepEqual(rater.validRatings(CLAIMS, { first: bad, second: 1 }), { second: 1 });
  }
  for (const nothing of [null, undefined, 3, "text", []]) {
    assert.deepEqual(rater.validRatings(CLAIMS, nothing), {});
  }
});

test("progress", () => {
  assert.equal(rater.progressOf(CLAIMS, {}), "0 of 3 rated");
  assert.equal(rater.progressOf(CLAIMS, { second: 0 }), "1 of 3 rated");
  assert.equal(rater.progressOf(CLAIMS, { first: 1, second: 0, third: 9 }), "All 3 rated");
});

test("not rated is not 50", () => {
  assert.equal(rater.meaningOf(undefined), "not rated");
  assert.equal(rater.meaningOf(50), "50, cannot say");
  assert.equal(rater.meaningOf(0), "0, surely false");
  assert.equal(rater.meaningOf(100), "100, surely true");
  assert.equal(rater.meaningOf(49), "49, nearer to false");
  assert.equal(rater.meaningOf(51), "51, nearer to true");
});

test("what is written is read again; nothing rated leaves nothing behind", () => {
  const store = fakeStore();
  assert.equal(rater.writeRatings(store, "k", { first: 0, third: 88 }), true);
  assert.deepEqual(rater.readRatings(store, "k", CLAIMS), { first: 0, third: 88 });
  assert.deepEqual(rater.readRatings(store, "other", CLAIMS), {});
  assert.equal(rater.writeRatings(store, "k", {}), true);
  assert.equal(store.map.size, 0);
});

test("a damaged entry counts as none", () => {
  for (const text of ["{not json", "null", "[1]", "7", '{"first": "x"}']) {
    assert.deepEqual(rater.readRatings(fakeStore({ k: text }), "k", CLAIMS), {});
  }
  assert.deepEqual(rater.readRatings(fakeStore({}, "getItem"), "k", CLAIMS), {});
});

test("a store is opened only where it takes what it is given", () => {
  const store = fakeStore({ k: '{"first":3}' });
  assert.equal(rater.openStore({ localStorage: store }, "k"), store);
  assert.equal(store.map.get("k"), '{"first":3}');
  const empty = fakeStore();
  assert.equal(rater.openStore({ localStorage: empty }, "k"), empty);
  assert.equal(empty.map.size, 0);
  for (const method of ["getItem", "setItem"]) {
    assert.equal(rater.openStore({ localStorage: fakeStore({}, method) }, "k"), null);
  }
  assert.equal(rater.openStore({}, "k"), null);
  const forbidden = {
    get localStorage() {
      throw new Error("SecurityError");
    },
  };
  assert.equal(rater.openStore(forbidden, "k"), null);
});

test("a store that is full says so", () => {
  assert.equal(rater.writeRatings(fakeStore({}, "setItem"), "k", { first: 1 }), false);
  assert.equal(rater.writeRatings(fakeStore({}, "removeItem"), "k", {}), false);
});
