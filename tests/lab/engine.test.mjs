import assert from "node:assert/strict";
import test from "node:test";

const { Engine, Session, Looker, EngineError, choose, dice, fetchWhole, graphNames, likeliest } = await import(
  new URL("../../book/_static/lab/engine.mjs", import.meta.url)
);

class Tensor {
  constructor(type, data, dims) {
    Object.assign(this, { type, data, dims });
  }
}

const ENTRY = {
  name: "gpt/small",
  kind: "gpt",
  config: { n_layers: 2, n_kv_heads: 2, head_dim: 3, max_seq_len: 6, vocab_size: 10 },
  cached: { k: 3 },
};

/** A graph that writes each token's number into the cache, and whose logits say how many are held. */
function session() {
  const inner = {
    async run(feeds) {
      const tokens = [...feeds.tokens.data].map(Number);
      const out = {
        logits: new Tensor("float32", new Float32Array(tokens.length * 4), [1, tokens.length, 4]),
        weights: new Tensor("float32", new Float32Array(0), [2, 2, tokens.length, 0]),
      };
      for (const name of graphNames(ENTRY).past) {
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
  return new Session({ Tensor }, inner, ENTRY);
}

test("names are those of the exporter", () => {
  assert.deepEqual(graphNames({ config: { n_layers: 2 }, cached: { k: 3, v: 3 } }).past, [
    "past.0.k", "past.0.v", "past.1.k", "past.1.v",
  ]);
});

test("the cache grows token by token, and its bytes are those of its tensors", async () => {
  const one = session();
  assert.equal(one.cacheBytes, 0);
  await one.read([1, 2, 3]);
  assert.equal(one.length, 3);
  assert.equal(one.cacheBytes, 2 * 1 * 2 * 3 * 3 * 4); // layers, tensors, heads, columns, tokens, bytes
  assert.equal((await one.read([1, 2, 3, 4], 3)).from, 3);
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

test("what is held is not read again, unless it is another text", async () => {
  const one = session();
  const asked = [
    [[1, 2, 3], 0, 0], [[1, 2, 3, 4], 3, 3], [[1, 2, 3, 4], 2, 2], [[1, 9, 3], 3, 1], [[1, 9, 3], 3, 2], [[5], 1, 0],
  ];
  for (const [tokens, known, from] of asked) {
    assert.equal((await one.read(tokens, known)).from, from);
    const first = tokens.flatMap((token) => [token, token, token]);
    assert.deepEqual([...one.past[0].data].slice(0, 3 * tokens.length), first);
  }
  await one.read([5, 6, 7]);
  const { run } = one.inner;
  one.inner.run = () => Promise.reject(new Error("out of memory"));
  await assert.rejects(one.read([5, 6, 8], 2), /out of memory/);
  one.inner.run = run;
  assert.equal(one.length, 2);
  assert.equal((await one.read([5, 6, 8], 2)).from, 2);
});

test("tensors of a cache may have columns of their own", () => {
  const one = new Session({ Tensor }, null, { ...ENTRY, cached: { k: 3, k_turned: 2 } });
  assert.deepEqual(one.past.map(({ dims }) => dims[3]), [3, 2, 3, 2]);
});

test("a list is looked at whole, and one of another length is refused", async () => {
  const inner = {
    async run({ tokens }) {
      const n = tokens.dims[1];
      const logits = new Float32Array(n * 4);
      tokens.data.forEach((token, i) => (logits[i * 4 + Number(token)] = 1));
      const maps = new Tensor("float32", new Float32Array(n * n), [1, 1, n, n]);
      return { logits: new Tensor("float32", logits, [1, n, 4]), scores: maps, weights: maps };
    },
  };
  const config = { max_seq_len: 3, vocab_size: 4 };
  const looker = new Looker({ Tensor }, inner, { name: "encoder/small", kind: "encoder", config });
  const found = await looker.look([2, 0, 3]);
  assert.deepEqual([found.answers, found.shape], [[2, 0, 3], [1, 1, 3, 3]]);
  await assert.rejects(looker.look([2, 0]), /a list of 2: encoder\/small was trained on lists of 3/);
});

test("the likeliest tokens come with their shares", () => {
  const found = likeliest(Float32Array.from([0, Math.log(3), 0, -Infinity]), 3);
  assert.deepEqual(found.map(({ token }) => token), [1, 0, 2]);
  assert.ok(Math.abs(found[0].share - 0.6) < 1e-6 && Math.abs(found[1].share - 0.2) < 1e-6);
});

test("more than the model can read is refused, and nothing has changed", async () => {
  const one = session();
  await one.read([1, 2, 3, 4]);
  const refused = (promise, words) =>
    assert.rejects(promise, (error) => error instanceof EngineError && !error.retry && words.test(error.message));
  await refused(one.read([1, 2, 3, 4, 5, 6, 7], 4), /a text of 7 tokens: gpt\/small reads 1 to 6/);
  await refused(one.read([]), /a text of 0 tokens/);
  await refused(one.read([1], -1), /known=-1/);
  await refused(one.read([1, 10], 1), /whole numbers from 0 to 9/);
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
  const asked = [];
  const server = createServer((request, answer) => {
    const { pathname, search } = new URL(request.url, "http://here");
    asked.push(pathname + search);
    if (pathname === "/whole") answer.end("twelve bytes");
    else if (pathname === "/cut") {
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
  await refused(fetchWhole(at("whole"), { sha256: "0".repeat(64) }), /^whole is not the file that was published/);
  assert.equal(asked.at(-1), `/whole?sha256=${"0".repeat(16)}`); // what was published anew has a new address
  await refused(fetchWhole("http://127.0.0.1:9/none"), /none could not be reached/);
});

test("a model is loaded once, its progress is that of all its files, and what failed may be tried again", async (t) => {
  const { createServer } = await import("node:http");
  const entry = { ...ENTRY, graph: { file: "a.onnx", bytes: 5 }, weights: { file: "a.safetensors", bytes: 7 } };
  const files = {
    "manifest.json": JSON.stringify({ tokenizer: {}, models: [entry] }),
    "runtime.json": JSON.stringify({ script: { file: "ort.mjs" }, wasm: { file: "ort.wasm", bytes: 4 } }),
    "a.onnx": "graph",
    "a.safetensors": "weights",
    "ort.wasm": "wasm",
  };
  const broken = new Set(["ort.wasm"]);
  const asked = [];
  const server = createServer((request, answer) => {
    const name = new URL(request.url, "http://here").pathname.slice(1);
    asked.push(name);
    if (!broken.has(name) && name in files) answer.end(files[name]);
    else answer.writeHead(404).end();
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  const base = `http://127.0.0.1:${server.address().port}/`;
  const given = [];
  let scripts = 0;
  const ort = {
    env: { wasm: {} },
    Tensor,
    InferenceSession: { create: async (...all) => (given.push(all), { run: async () => ({}) }) },
  };
  const load = async (url) => {
    scripts += 1;
    if (scripts === 1) throw new TypeError(url);
    return ort;
  };
  const engine = new Engine({ models: base, runtime: `${base}runtime.json`, vendor: base, load });
  const refused = (words) =>
    assert.rejects(engine.load("gpt/small"), (error) => error.retry && words.test(error.message));
  await refused(/ort.wasm could not be loaded: the server answers 404/);
  broken.clear();
  await refused(/ort.mjs could not be loaded/);
  const seen = [];
  const one = await engine.load("gpt/small", (...each) => seen.push(each));
  assert.deepEqual(seen.at(-1), [12, 12]); // the runtime is there already
  assert.equal(await engine.load("gpt/small"), one);
  const [[graph, options]] = given;
  assert.equal(new TextDecoder().decode(graph), "graph");
  assert.equal(options.externalData[0].path, "a.safetensors");
  assert.equal(ort.env.wasm.numThreads, 1);
  assert.equal(asked.filter((name) => name === "manifest.json").length, 1);
  await assert.rejects(engine.load("gpt/other"), /no model gpt\/other/);
  await assert.rejects(engine.use("gpt/small", "encoder", () => 0), /Ask it to read/);
});

test("what a model is asked is done in order", async () => {
  const engine = new Engine({ models: "", runtime: "", vendor: "" });
  engine.load = async (name) => ({ entry: { name, kind: "gpt" } });
  const done = [];
  const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  await Promise.all([
    engine.use("a", "gpt", () => wait(20).then(() => done.push("first"))),
    engine.use("a", "gpt", () => done.push("second")),
    engine.use("b", "gpt", () => done.push("other")),
  ]);
  assert.deepEqual(done, ["other", "first", "second"]);
});
