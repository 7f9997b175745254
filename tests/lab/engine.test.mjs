import assert from "node:assert/strict";
import test from "node:test";

const { Session, EngineError, choose, dice, fetchWhole, graphNames } = await import(
  new URL("../../book/_static/lab/engine.mjs", import.meta.url)
);

class Tensor {
  constructor(type, data, dims) {
    Object.assign(this, { type, data, dims });
  }
}

const CONFIG = { n_layers: 2, n_kv_heads: 2, head_dim: 3, max_seq_len: 6, cached: ["k"] };

/** A graph that writes each token's number into the cache, and whose logits say how many are held. */
function session() {
  const inner = {
    async run(feeds) {
      const tokens = [...feeds.tokens.data].map(Number);
      const out = {
        logits: new Tensor("float32", new Float32Array(tokens.length * 4), [1, tokens.length, 4]),
        weights: new Tensor("float32", new Float32Array(0), [2, 2, tokens.length, 0]),
      };
      for (const name of graphNames(CONFIG).past) {
        const { data, dims } = feeds[name];
        const held = dims[2];
        const grown = new Float32Array(2 * (held + tokens.length) * 3);
        for (let head = 0; head < 2; head++) {
          const at = head * (held + tokens.length) * 3;
          grown.set(data.subarray(head * held * 3, (head + 1) * held * 3), at);
          tokens.forEach((token, i) => grown.fill(10 * head + token, at + (held + i) * 3, at + (held + i + 1) * 3));
        }
        out[name.replace("past", "present")] = new Tensor("float32", grown, [1, 2, held + tokens.length, 3]);
      }
      return out;
    },
  };
  return new Session({ Tensor }, inner, { config: CONFIG });
}

test("names are those of the exporter", () => {
  assert.deepEqual(graphNames({ n_layers: 2, cached: ["k", "v"] }).past, [
    "past.0.k", "past.0.v", "past.1.k", "past.1.v",
  ]);
});

test("the cache grows token by token, and its bytes are those of its tensors", async () => {
  const one = session();
  assert.equal(one.cacheBytes, 0);
  await one.read([1, 2, 3]);
  assert.equal(one.length, 3);
  assert.equal(one.cacheBytes, 2 * 1 * 2 * 3 * 3 * 4); // layers, tensors, heads, columns, tokens, bytes
  await one.read([4]);
  assert.deepEqual([...one.past[0].data.subarray(0, 12)], [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]);
});

test("to forget keeps the first tokens of every head", async () => {
  const one = session();
  await one.read([1, 2, 3, 4]);
  one.truncate(2);
  assert.equal(one.length, 2);
  assert.deepEqual(one.past[1].dims, [1, 2, 2, 3]);
  assert.deepEqual([...one.past[1].data], [1, 1, 1, 2, 2, 2, 11, 11, 11, 12, 12, 12]);
  one.truncate(5);
  assert.equal(one.length, 2);
  one.reset();
  assert.equal(one.cacheBytes, 0);
});

test("more than the model can read is refused, and nothing has changed", async () => {
  const one = session();
  await one.read([1, 2, 3, 4]);
  await assert.rejects(one.read([5, 6, 7]), (error) => error instanceof EngineError && /at most 6/.test(error.message));
  await assert.rejects(one.read([]), EngineError);
  assert.equal(one.length, 4);
});

test("the likeliest at temperature 0, and by lot as the weights say", () => {
  const logits = Float32Array.from([0, Math.log(3), -Infinity]);
  assert.equal(choose(logits, 0), 1);
  const random = dice(1);
  const counts = [0, 0, 0];
  for (let i = 0; i < 4000; i++) counts[choose(logits, 1, random)] += 1;
  assert.equal(counts[2], 0);
  assert.ok(Math.abs(counts[1] / 4000 - 0.75) < 0.03, String(counts));
  assert.deepEqual([dice(7)(), dice(7)()], [dice(7)(), dice(7)()]);
});

test("files that are missing, cut off or altered are refused in words", async (t) => {
  const { createServer } = await import("node:http");
  const server = createServer((request, answer) => {
    if (request.url === "/whole") answer.end("twelve bytes");
    else if (request.url === "/cut") {
      answer.writeHead(200, { "content-length": "12" });
      answer.write("six by");
      setTimeout(() => answer.destroy(), 50);
    } else {
      answer.writeHead(404);
      answer.end();
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  const at = (path) => `http://127.0.0.1:${server.address().port}/${path}`;
  const seen = [];
  const whole = await fetchWhole(at("whole"), { bytes: 12, progress: (...p) => seen.push(p) });
  assert.equal(new TextDecoder().decode(whole), "twelve bytes");
  assert.deepEqual(seen.at(-1), [12, 12]);
  const refused = (promise, words) =>
    assert.rejects(promise, (error) => error instanceof EngineError && error.retry && words.test(error.message));
  await refused(fetchWhole(at("missing")), /missing could not be loaded: the server answers 404/);
  await refused(fetchWhole(at("cut"), { bytes: 12 }), /cut was cut off/);
  await refused(fetchWhole(at("whole"), { bytes: 13 }), /12 bytes in place of 13/);
  await refused(fetchWhole(at("whole"), { sha256: "0".repeat(64) }), /not the file that was published/);
  await refused(fetchWhole("http://127.0.0.1:9/none"), /none could not be reached/);
});
