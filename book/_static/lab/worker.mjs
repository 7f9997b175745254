// The engine behind a page: it runs in a worker, so that the page never waits for a model.
//
// Messages in: {id, task, ...}; out: {id, result}, {id, error, retry} or, while files come,
// {id, loaded, total}. What each task is given and gives stands in qkvlib/lab.py, whose engine answers
// the same. A page that may stop between tokens asks for one token at a time.

import { Engine, EngineError, choose, dice, likeliest } from "./engine.mjs";

const LIKELIEST = 5;

const here = (path) => new URL(path, import.meta.url);
let engine = null;

/** The engine; places other than those of the site can be given with the first message. */
function engineOf({ models = "models/", runtime = "runtime.json", vendor = "../vendor/onnxruntime-web/" } = {}) {
  engine ??= new Engine({ models: here(models), runtime: here(runtime), vendor: here(vendor) });
  return engine;
}

const TASKS = {
  async open(given) {
    const { about, models, examples } = await engineOf(given).open();
    return { engine: "page", about, models, examples };
  },

  async load({ name }, progress) {
    const { entry } = await engineOf().load(name, progress);
    return entry;
  },

  async encode({ text }) {
    await engineOf().open();
    return engine.tokenizer.encode(text).map((token) => engine.faced(token));
  },

  /** Read a text, and choose what comes next. */
  read: ({ name, tokens, known = 0, temperature = 0, seed = 0 }) =>
    engineOf().use(name, "gpt", async (session) => {
      if (!(temperature >= 0 && temperature < Infinity)) {
        throw new EngineError(`temperature=${temperature}: expected 0 or more; 0 is greedy.`);
      }
      const { from, logits, weights, shape, ms } = await session.read(tokens, known);
      // The lot depends on the place, so that going back and on again gives the same text.
      const token = choose(logits, temperature, dice(seed * 65_537 + session.length));
      return {
        from,
        weights,
        shape,
        ms,
        cacheBytes: session.cacheBytes,
        next: engine.faced(token),
        likeliest: likeliest(logits, LIKELIEST).map((each) => ({ ...each, ...engine.faced(each.token) })),
      };
    }),

  /** Look at a whole list. */
  look: ({ name, tokens }) => engineOf().use(name, "encoder", (looker) => looker.look(tokens)),
};

/** The buffers of all arrays of an answer: they are handed over, not copied. */
function buffersOf(value) {
  if (ArrayBuffer.isView(value)) return [value.buffer];
  if (value === null || typeof value !== "object") return [];
  return Object.values(value).flatMap(buffersOf);
}

self.onmessage = async ({ data: { id, task, ...given } }) => {
  const progress = (loaded, total) => self.postMessage({ id, loaded, total });
  try {
    if (!Object.hasOwn(TASKS, task)) throw new Error(`There is no task ${task}.`);
    const result = await TASKS[task](given, progress);
    self.postMessage({ id, result }, [...new Set(buffersOf(result))]);
  } catch (error) {
    self.postMessage({ id, error: error.message ?? String(error), retry: Boolean(error.retry) });
  }
};
