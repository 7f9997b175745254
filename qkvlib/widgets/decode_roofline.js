// DecodeRoofline: what a decode step waits for, and what fits into a machine's memory.
//
// An ES module in the anywidget protocol, self-contained once _shared.js is put in front of it.
// Models, sharings and machines come from Python through the state; bytes and multiplications are
// counted here, by the formulas of qkvlib/passes.py and accounting.py, and compared with those
// modules in the tests.

// ---------------------------------------------------------------------------------------- counting

const entry = (rows, name, key = "name") => rows.find((row) => row[key] === name);
const modelOf = (state) => entry(state.models, state.model);
const deviceOf = (state) => entry(state.devices, state.device, "key");
const sharingOf = (state) => entry(state.sharings, state.sharing);

/** Weights in the matrices that each token is multiplied by: projections, MLP, output layer. */
export function matrixWeights(model, sharing, nKvHeads) {
  const heads = sharing.projections.map((name) => (name === "q" ? model.n_heads : nKvHeads));
  const projected = heads.reduce((sum, n) => sum + n, 0) * model.head_dim;
  const out = model.n_heads * model.head_dim;
  const layer = model.d_model * (projected + out + 2 * model.d_ff);
  return model.n_layers * layer + model.d_model * model.vocab_size;
}

/** Bytes that one token of one user adds to the cache. */
export function bytesPerToken(state, sharing = sharingOf(state), nKvHeads = state.n_kv_heads) {
  const { n_layers, head_dim } = modelOf(state);
  return n_layers * sharing.cached.length * nKvHeads * head_dim * state.item_bytes[state.dtype];
}

/** What one decode step costs, for all users together, and what the machine makes of it. */
export function stepOf(state, sharing = sharingOf(state), nKvHeads = state.n_kv_heads) {
  const model = modelOf(state);
  const machine = deviceOf(state);
  const { batch_size: users, tokens } = state;
  const weights = matrixWeights(model, sharing, nKvHeads);
  const seen = 2 * model.n_layers * model.n_heads * model.head_dim * (tokens + 1);
  const perToken = bytesPerToken(state, sharing, nKvHeads);
  const weightBytes = weights * state.item_bytes[state.dtype];
  const cacheBytes = perToken * tokens * users;
  const macs = users * (weights + seen);
  const bytes = weightBytes + cacheBytes;
  const byteSeconds = bytes / machine.bandwidth;
  const macSeconds = macs / machine.peak;
  const ridge = machine.peak / machine.bandwidth;
  return {
    weightBytes, cacheBytes, bytes, macs, byteSeconds, macSeconds, ridge,
    intensity: macs / bytes,
    limit: macs / bytes < ridge ? "bytes" : "arithmetic",
    seconds: Math.max(byteSeconds, macSeconds),
    fits: bytes <= machine.memory,
    longest: Math.max(0, Math.floor((machine.memory - weightBytes) / (perToken * users))),
  };
}

/** The paper's eight configurations: four tyings, GQA and MQA, and both. */
export function variantsOf(state) {
  const { n_heads: all } = modelOf(state);
  const free = state.sharings.filter((s) => !s.ties_query);
  const fewer = all > 4 ? [all / 4, 1] : all > 1 ? [1] : [];
  const shared = free.flatMap((s) => fewer.map((kv) => [s, kv]));
  return [...state.sharings.map((s) => [s, all]), ...shared].map(([sharing, kv]) => ({
    sharing, kv, name: variantName(sharing, kv, all), step: stepOf(state, sharing, kv),
  }));
}

/** The state that another model asks for: MHA stays MHA, else the nearest number below. */
export function withModel(state, name) {
  const before = modelOf(state).n_heads;
  const after = entry(state.models, name).n_heads;
  const below = divisors(after).filter((d) => d <= state.n_kv_heads);
  return { model: name, n_kv_heads: state.n_kv_heads === before ? after : below[below.length - 1] };
}

/** Why this state has no answer, or null. */
export function refusal(state) {
  const sharing = sharingOf(state);
  const model = modelOf(state);
  if (!model) return `There is no model called ${state.model}.`;
  if (!sharing) return `There is no sharing called ${state.sharing}.`;
  if (!deviceOf(state)) return `There is no machine called ${state.device}.`;
  if (!state.item_bytes[state.dtype]) return `There is no number format called ${state.dtype}.`;
  for (const [name, [low, high]] of Object.entries(state.limits)) {
    if (!Number.isSafeInteger(state[name]) || state[name] < low || state[name] > high) {
      return `${name} is ${state[name]}; it must be a whole number from ${low} to ${high}.`;
    }
  }
  if (!divisors(model.n_heads).includes(state.n_kv_heads)) {
    return (
      `${state.n_kv_heads} KV heads cannot serve ${model.n_heads} query heads evenly. ` +
      `Choose from ${divisors(model.n_heads).join(", ")}.`
    );
  }
  if (sharing.ties_query && state.n_kv_heads !== model.n_heads) {
    return (
      `${sharing.name} ${sharing.tuple_form} makes each query head its own key head: it needs ` +
      `${model.n_heads} KV heads, not ${state.n_kv_heads}.`
    );
  }
  return null;
}

// ------------------------------------------------------------------------------------------- words

/** Three significant digits with thousands marked: 0.0123, 45.6, 7,890. */
export function formatNumber(value) {
  if (value === 0) return "0";
  if (value >= 999.5) return formatCount(Math.round(value));
  if (value < 0.001) return value.toExponential(1);
  return String(Number(value.toPrecision(3)));
}

/** 0.00123 -> "1.23 ms". */
export function formatSeconds(seconds) {
  if (seconds >= 0.9995) return `${formatNumber(seconds)} s`;
  if (seconds >= 0.9995e-3) return `${formatNumber(1e3 * seconds)} ms`;
  return `${formatNumber(1e6 * seconds)} µs`;
}

/** 3.84e11 -> "384 G", for multiplications. */
export function formatRate(perSecond) {
  for (const [unit, factor] of [["T", 1e12], ["G", 1e9], ["M", 1e6], ["k", 1e3]]) {
    if (perSecond >= factor * 0.9995) return `${formatNumber(perSecond / factor)} ${unit}`;
  }
  return formatNumber(perSecond);
}

/** The verdict on a step, as one sentence. */
export function verdictOf(step) {
  const times = Math.max(step.byteSeconds, step.macSeconds) / Math.min(step.byteSeconds, step.macSeconds);
  const [waits, other] =
    step.limit === "bytes" ? ["bytes", "multiplications"] : ["arithmetic", "bytes"];
  return times < 1.05
    ? "It waits for bytes and arithmetic alike."
    : `It waits for ${waits}: the ${other} alone would be done in 1/${formatNumber(times)} of the time.`;
}

// ------------------------------------------------------------------------------------------- style

const CSS = `
.roof { --w: #0072b2; --c: #d55e00; --dot: #1c2530; --free: #eef1f5; --ghost: #8a95a3; }
.roof[data-theme="dark"] { --w: #4ba3d8; --c: #f08a3c; --dot: #e6ebf1; --free: #1e252e; --ghost: #7f8b99; }
.inner { display: grid; gap: 20px 30px; padding: 16px; grid-template-columns: minmax(0, 1fr); }
.set, .out { display: grid; gap: 16px; align-content: start; min-width: 0; }
.top { display: grid; gap: 16px; }
@container (min-width: 720px) {
  .inner { padding: 20px 22px; grid-template-columns: minmax(270px, 5fr) minmax(0, 7fr); }
  .top { grid-column: 1 / -1; grid-template-columns: minmax(0, 7fr) minmax(0, 5fr); }
  .wide { grid-column: 1 / -1; }
}
.top .option small { white-space: normal; }
.spec { margin-top: 6px; }
.headline { display: flex; flex-wrap: wrap; align-items: baseline; gap: 2px 14px; }
.headline .what { flex-basis: 100%; font-weight: 600; font-size: 14px; }
.headline .total { font-size: 40px; line-height: 1.1; font-weight: 650; letter-spacing: -.02em;
  font-variant-numeric: tabular-nums; }
.headline .users { font-size: 16px; font-variant-numeric: tabular-nums; }
.headline .users b, .fit b { font-weight: 650; }
.headline .why { flex-basis: 100%; }
.panel > .label { margin-bottom: 6px; }

.axes { display: grid; grid-template-columns: 42px minmax(0, 1fr); grid-template-rows: auto 210px 20px auto; }
.axes .y, .axes .x { font-size: 13px; color: var(--muted); }
.axes .y { grid-column: 1 / -1; padding-bottom: 6px; } .axes .x { grid-column: 2; text-align: center; }
.yticks, .xticks { position: relative; } .xticks { grid-column: 2; }
.ticks span { position: absolute; font-size: 12.5px; color: var(--muted); line-height: 1; white-space: nowrap;
  font-variant-numeric: tabular-nums; }
.yticks span { right: 6px; transform: translateY(-50%); } .xticks span { top: 5px; transform: translateX(-50%); }
.plot { position: relative; border: 1px solid var(--line); border-width: 0 0 1px 1px; overflow: hidden; }
.plot svg { position: absolute; inset: 0; width: 100%; height: 100%; }
.plot line { stroke: var(--line); stroke-width: 1px; vector-effect: non-scaling-stroke; }
.plot polyline { fill: none; stroke: var(--fg); stroke-width: 2.5px; vector-effect: non-scaling-stroke; }
.plot .drop { stroke: var(--dot); stroke-dasharray: 3 4; }
.plot > i, .plot > span { position: absolute; pointer-events: none; transition: left .4s ease, top .4s ease; }
.plot .mark { width: 16px; height: 16px; margin: -8px; border-radius: 50%; background: var(--dot);
  box-shadow: 0 0 0 2px var(--bg); z-index: 2; }
.plot .ghost { width: 10px; height: 10px; margin: -5px; border-radius: 50%; border: 2px solid var(--ghost);
  background: var(--bg); }
.plot .part { width: 12px; height: 12px; margin: -6px; transform: rotate(45deg); box-shadow: 0 0 0 1.5px var(--bg);
  z-index: 1; }
.plot .part.w { background: var(--w); margin-top: -24px; } .plot .part.c { background: var(--c); margin-top: 12px; }
.plot .side { font-size: 12.5px; color: var(--muted); line-height: 1.2; top: 3px; white-space: nowrap; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 12px; font-size: 13px; color: var(--muted); margin-top: 6px; }
.key { display: inline-flex; align-items: center; gap: 6px; }
.key i { width: 11px; height: 11px; display: inline-block; }
.key .w { background: var(--w); } .key .c { background: var(--c); }
.key .turn { transform: rotate(45deg) scale(.85); }
.key .dot { background: var(--dot); border-radius: 50%; }
.key .ring { border: 2px solid var(--ghost); border-radius: 50%; }

.bar { position: relative; height: 30px; margin: 6px 0 6px; border-radius: 6px; background: var(--free);
  border: 1px solid var(--line); overflow: hidden; }
.bar.marked { margin-top: 24px; overflow: visible; }
.bar > i { position: absolute; top: 3px; bottom: 3px; transition: left .4s ease, width .4s ease; }
.bar .w { background: var(--w); left: 0; } .bar .c { background: var(--c); }
.bar .limit { top: -6px; bottom: -6px; border-left: 3px solid var(--fg); margin-left: -2px; font-style: normal; }
.bar .limit span { position: absolute; bottom: 100%; right: 0; white-space: nowrap; font-size: 13px; line-height: 1.2;
  padding-bottom: 1px; }
.bar .limit.start span { right: auto; left: -3px; }
.over { border-left: 4px solid var(--warn-line); padding-left: 10px; }
.parts { display: flex; flex-wrap: wrap; gap: 2px 14px; font-variant-numeric: tabular-nums; font-size: 14px; }

.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 10px 5px 0; text-align: right; border-bottom: 1px solid var(--line); font-weight: 400; }
th:first-child { text-align: left; } thead th { color: var(--muted); font-size: 13px; vertical-align: bottom; }
th small { white-space: nowrap; }
td:last-child, th:last-child { padding-right: 0; }
tr.lit > * { font-weight: 650; } tr.lit th { box-shadow: inset 4px 0 0 var(--accent); }
tbody th { padding-left: 10px; }
table + p, .scroll + p { margin-top: 8px; }
.no { color: var(--muted); }
.refused .answer { display: none; }
@media (forced-colors: active) { .bar > i, .mark, .part, .key i { forced-color-adjust: none; } }
`;

// ------------------------------------------------------------------------------------------- view

const CHOICES = ["model", "sharing", "n_kv_heads", "dtype", "tokens", "batch_size", "device"];
const STATE = [...CHOICES, "models", "sharings", "devices", "item_bytes", "limits"];

const powers = (low, high) => Array.from({ length: high - low + 1 }, (_, i) => 2 ** (low + i));
const STOPS = { tokens: powers(4, 20), batch_size: powers(0, 10) };

const LEFT = 0.1; // multiplications for each byte, at the left edge
const RIGHT = 2000;
const across = (x) => (100 * Math.log(Math.min(RIGHT, Math.max(LEFT, x)) / LEFT)) / Math.log(RIGHT / LEFT);

/** Where a rate stands on the plot of one machine, in per cent from the top. */
function heights({ bandwidth, peak }) {
  const low = LEFT * bandwidth;
  const high = 3 * peak;
  return { low, high, at: (y) => 100 - (100 * Math.log(y / low)) / Math.log(high / low) };
}

/** The plot: the roof, and what stands on it. */
function chart() {
  const marks = h("div");
  const svg = h("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", "aria-hidden": "true" });
  const plot = h("div", { class: "plot" }, svg);
  const yticks = h("div", { class: "yticks ticks" });
  const xticks = h("div", { class: "xticks ticks" });
  const left = h("span", { class: "side", style: "left:6px" }, "waits for bytes");
  const right = h("span", { class: "side", style: "right:4px" }, "for arithmetic");
  const dot = h("i", { class: "mark" });
  const parts = { w: h("i", { class: "part w" }), c: h("i", { class: "part c" }) };
  const ghosts = [];
  plot.append(left, right, parts.w, parts.c, dot);
  const root = h(
    "div",
    { class: "axes", role: "img" },
    h("div", { class: "y" }, "multiplications per second, at most"),
    yticks, plot, xticks,
    h("div", { class: "x" }, "multiplications for each byte"),
    marks,
  );
  for (const power of [-1, 0, 1, 2, 3]) {
    xticks.append(h("span", { style: `left:${across(10 ** power)}%` }, formatCount(10 ** power)));
  }
  return {
    root,
    update(machine, step, parted, others, words) {
      const { low, high, at } = heights(machine);
      const y = (x) => at(Math.min(machine.peak, x * machine.bandwidth));
      const place = (node, x) => {
        node.style.left = `${across(x)}%`;
        node.style.top = `${y(Math.min(RIGHT, Math.max(LEFT, x)))}%`;
      };
      const grid = [];
      yticks.replaceChildren();
      for (let power = Math.ceil(Math.log10(low)); 10 ** power <= high; power += 1) {
        const top = at(10 ** power);
        grid.push(h("line", { x1: 0, x2: 100, y1: top, y2: top }));
        yticks.append(h("span", { style: `top:${top}%` }, formatRate(10 ** power)));
      }
      const ridge = across(step.ridge);
      svg.replaceChildren(
        ...grid,
        h("line", { class: "drop", x1: ridge, x2: ridge, y1: at(machine.peak), y2: 100 }),
        h("polyline", { points: `0,${y(LEFT)} ${ridge},${at(machine.peak)} 100,${at(machine.peak)}` }),
      );
      while (ghosts.length < others.length) {
        ghosts.push(h("i", { class: "ghost" }));
        plot.insertBefore(ghosts[ghosts.length - 1], parts.w);
      }
      others.forEach((x, i) => place(ghosts[i], x));
      place(parts.w, parted.w);
      place(parts.c, parted.c);
      place(dot, step.intensity);
      root.setAttribute("aria-label", words);
    },
  };
}

function render({ model, el }) {
  const get = () => Object.fromEntries(STATE.map((name) => [name, model.get(name)]));
  const set = (changes) => {
    for (const [name, value] of Object.entries(changes)) model.set(name, value);
    model.save_changes();
  };
  const first = get();

  const device = radios({ legend: "Machine", onchoose: (key) => set({ device: key }) });
  const spec = h("p", { class: "hint spec" });
  const models = radios({ legend: "Model", onchoose: (name) => set(withModel(get(), name)) });
  const sharing = radios({
    legend: "Sharing", hint: "which projections are tied", two: true,
    onchoose: (name) => set({ sharing: name }),
  });
  const kv = radios({
    legend: "KV heads", hint: "query heads can share them", onchoose: (n) => set({ n_kv_heads: n }),
  });
  const dtype = radios({ legend: "Number format", hint: "of weights and cache", onchoose: (name) => set({ dtype: name }) });
  const make = (field, label, what) =>
    number({
      stops: STOPS[field], label, what, limits: first.limits[field],
      onset: (value) => set({ [field]: value }),
    });
  const numbers = {
    tokens: make("tokens", "Context", "tokens of each user"),
    batch_size: make("batch_size", "Users", "a batch: one step serves all"),
  };

  const refused = h("p", { class: "note", role: "alert", hidden: true });
  const total = h("span", { class: "total" });
  const users = h("span", { class: "users" });
  const why = h("span", { class: "why" });
  const roof = chart();
  const key = (kind, text) => h("span", { class: "key" }, h("i", { class: kind }), text);
  const readBar = { w: h("i", { class: "w" }), c: h("i", { class: "c" }) };
  const readBox = h("div", { class: "bar", role: "img" }, readBar.w, readBar.c);
  const readParts = h("div", { class: "parts" });
  const heldBar = { w: h("i", { class: "w" }), c: h("i", { class: "c" }), text: h("span") };
  heldBar.limit = h("i", { class: "limit" }, heldBar.text);
  const heldBox = h("div", { class: "bar marked", role: "img" }, heldBar.w, heldBar.c, heldBar.limit);
  const fit = h("p", { class: "fit" });
  const fitsLabel = h("div", { class: "label" });
  const body = h("tbody");
  const perUser = h("th", { scope: "col" });
  const dockTotal = h("b");
  const dockWaits = h("span");
  const dock = docked(total, dockTotal, dockWaits);
  const live = announcer();

  const root = h(
    "section",
    { class: "sheet roof", "aria-label": "One decode step on its roofline" },
    h(
      "div",
      { class: "inner" },
      h("div", { class: "top" }, h("div", {}, device.root, spec), models.root),
      h(
        "div",
        { class: "set" },
        numbers.tokens.root, numbers.batch_size.root, sharing.root, kv.root, dtype.root,
      ),
      h(
        "div",
        { class: "out" },
        refused,
        h("div", { class: "headline answer" }, h("span", { class: "what" }, "One step takes at least"), total, users, why),
        h(
          "div",
          { class: "panel answer" },
          roof.root,
          h("div", { class: "legend" }, key("dot", "this step"), key("w turn", "its weights alone"),
            key("c turn", "its caches alone"), key("ring", "the other variants")),
        ),
        h("div", { class: "panel answer" }, h("div", { class: "label" }, "Read from memory in each step"), readBox, readParts),
      ),
      h(
        "div",
        { class: "panel answer wide" },
        fitsLabel, heldBox, fit,
        h("div", { class: "scroll" },
          h("table", {},
            h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Variant"),
              h("th", { scope: "col" }, "longest context that fits"), perUser)),
            body)),
        h("p", { class: "hint" }, "Only matrices are counted as weights, and the machine is left nothing for itself. ",
          "The bar counts what is held, the table how far it can grow."),
      ),
    ),
    dock.node,
    live.node,
  );
  const staged = stage(root, CSS);

  function update() {
    const state = get();
    const chosen = sharingOf(state);
    const shape = modelOf(state);
    const machine = deviceOf(state);
    const problem = refusal(state);
    const all = shape?.n_heads ?? 1;
    const mha = state.n_kv_heads === all;

    device.update(
      state.devices.map((d) => ({ value: d.key, title: d.name, detail: `${formatBytes(d.bandwidth)}/s, ${formatBytes(d.memory)}` })),
      state.device,
    );
    models.update(
      state.models.map((m) => ({ value: m.name, title: m.name, detail: `${m.n_layers} layers of ${m.d_model}` })),
      state.model,
    );
    sharing.update(
      state.sharings.map((s) => ({
        value: s.name, title: s.name, detail: s.tuple_form, swatch: s.colour,
        // The chosen one stays reachable even where Python was refused, so it can be left.
        disabled: s.ties_query && !mha && s.name !== state.sharing,
      })),
      state.sharing,
    );
    kv.update(
      divisors(all).map((n) => ({
        value: n, title: String(n), detail: n === all ? "MHA" : n === 1 ? "MQA" : "GQA",
        disabled: chosen?.ties_query && n !== all && n !== state.n_kv_heads,
      })),
      state.n_kv_heads,
    );
    const tied = state.sharings.filter((s) => s.ties_query).map((s) => s.name).join(" and ");
    sharing.explain(mha ? "" : `${tied} need all ${all} KV heads: a query head is its own key head.`);
    const stay = chosen?.ties_query && all > 1;
    kv.explain(stay ? `With ${chosen.name} a query head is its own key head, so all ${all} stay.` : "");
    dtype.update(
      Object.entries(state.item_bytes).map(([name, n]) => ({ value: name, title: name, detail: `${n} bytes` })),
      state.dtype,
    );
    numbers.tokens.update(state.tokens, plural(state.tokens, "token"));
    numbers.batch_size.update(state.batch_size, plural(state.batch_size, "user"));

    refused.hidden = problem === null;
    refused.textContent = problem ?? "";
    root.classList.toggle("refused", problem !== null);
    if (problem !== null) {
      dockTotal.textContent = "No answer";
      dockWaits.textContent = "";
      live.hush();
      return;
    }

    const step = stepOf(state);
    const size = formatBytes;
    spec.replaceChildren(
      `${size(machine.bandwidth)} per second: ${machine.bandwidth_from}. ` +
        `${formatNumber(machine.peak / 1e9)} billion multiplications per second: ${machine.peak_from}. ` +
        `The limits meet at ${formatNumber(step.ridge)} multiplications for each byte.`,
    );
    const each = `${formatNumber(1 / step.seconds)} tokens/s`;
    total.textContent = formatSeconds(step.seconds);
    users.replaceChildren(
      ...(state.batch_size === 1
        ? [h("b", {}, each)]
        : [h("b", {}, each), " for each user, ", h("b", {}, formatNumber(state.batch_size / step.seconds)), " in all"]),
    );
    why.textContent = verdictOf(step);
    dockTotal.textContent = `${formatSeconds(step.seconds)}, ${each}`;
    dockWaits.textContent = step.fits ? `waits for ${step.limit}` : "does not fit";

    const item = state.item_bytes[state.dtype];
    const onlyCache = all / (state.n_kv_heads * item) * (2 / chosen.cached.length);
    roof.update(
      machine, step,
      { w: state.batch_size / item, c: onlyCache },
      variantsOf(state).map((v) => v.step.intensity),
      `Roofline of ${machine.name}. This step makes ${formatNumber(step.intensity)} multiplications for each byte; ` +
        `the limits meet at ${formatNumber(step.ridge)}. ${verdictOf(step)} ` +
        `Weights alone: ${formatNumber(state.batch_size / item)}, caches alone: ${formatNumber(onlyCache)}.`,
    );

    const share = step.weightBytes / step.bytes;
    readBar.w.style.width = `${100 * share}%`;
    readBar.c.style.left = `${100 * share}%`;
    readBar.c.style.width = `${100 * (1 - share)}%`;
    readParts.replaceChildren(
      key("w", `weights ${size(step.weightBytes)}, ${formatShare(share)}`),
      key("c", `${state.batch_size === 1 ? "cache" : `${formatCount(state.batch_size)} caches`} ${size(step.cacheBytes)}, ${formatShare(1 - share)}`),
    );
    readBox.setAttribute("aria-label",
      `Read in each step: ${size(step.weightBytes)} of weights and ${size(step.cacheBytes)} of cache.`);

    fitsLabel.textContent = `What fits into ${machine.name}: ${size(step.bytes)} of ${size(machine.memory)}`;
    const scale = Math.max(machine.memory, step.bytes);
    const percent = (n) => `${(100 * n) / scale}%`;
    heldBar.w.style.width = percent(step.weightBytes);
    heldBar.c.style.left = percent(step.weightBytes);
    heldBar.c.style.width = percent(step.cacheBytes);
    heldBar.limit.style.left = percent(machine.memory);
    heldBar.limit.className = machine.memory / scale < 0.4 ? "limit start" : "limit";
    heldBar.text.textContent = `${size(machine.memory)}`;
    heldBox.setAttribute("aria-label",
      `Weights ${size(step.weightBytes)} and caches ${size(step.cacheBytes)} of ${size(machine.memory)}.`);
    fit.classList.toggle("over", !step.fits);
    fit.replaceChildren(
      ...(step.fits ? [] : [h("b", {}, `${size(step.bytes - machine.memory)} too much. `)]),
      ...(step.longest
        ? ["Room for ", h("b", {}, plural(step.longest, "token")),
          state.batch_size === 1 ? "." : ` for each of ${formatCount(state.batch_size)} users.`]
        : [step.fits ? "" : "There is no room for even one token."]),
    );

    perUser.textContent = `tokens/s${state.batch_size === 1 ? "" : " for each user"} at ${formatCount(state.tokens)}`;
    body.replaceChildren(
      ...variantsOf(state).map(({ sharing: s, kv: g, name, step: other }) =>
        h("tr", { class: s.name === state.sharing && g === state.n_kv_heads ? "lit" : null },
          h("th", { scope: "row" }, name, " ", h("small", {}, s.tuple_form)),
          h("td", {}, formatCount(other.longest)),
          other.fits
            ? h("td", {}, formatNumber(1 / other.seconds))
            : h("td", { class: "no" }, "does not fit")),
      ),
    );
    live.follow(
      `A step takes at least ${formatSeconds(step.seconds)}, ${each}, waiting for ${step.limit}. ` +
        `${step.fits ? "It fits" : "It does not fit"}: ${size(step.bytes)} of ${size(machine.memory)}.`,
    );
  }

  const unfollow = follow(model, STATE, update);
  update();
  el.append(staged.host);
  return () => {
    unfollow();
    dock.remove();
    live.hush();
    staged.remove();
  };
}

export default { render };
