// CacheMeter: what a model's KV cache weighs, drawn head by head and layer by layer.
//
// An ES module in the anywidget protocol, self-contained once _shared.js is put in front of it:
// `render({ model, el })` draws the model's state and writes changes back. Names of sharings, number
// formats, presets and limits come from Python through the state, so they are written down once.

// ---------------------------------------------------------------------------------------- counting

/** The entry of `state.sharings` that is switched on. */
export function sharingOf(state) {
  return state.sharings.find((s) => s.name === state.sharing);
}

/** Why this state has no answer, or null. A number is shown only when this is null. */
export function refusal(state) {
  const sharing = sharingOf(state);
  if (!sharing) return `There is no sharing called ${state.sharing}.`;
  if (!state.item_bytes[state.dtype]) return `There is no number format called ${state.dtype}.`;
  for (const name of ["n_layers", "n_heads", "n_kv_heads", "head_dim", "tokens", "batch_size"]) {
    if (!Number.isSafeInteger(state[name]) || state[name] < 1) {
      return `${name} is ${state[name]}; it must be a whole number of at least 1.`;
    }
  }
  if (!(state.budget_gb > 0)) return `The budget is ${state.budget_gb} GB; it must be above 0.`;
  if (state.n_heads % state.n_kv_heads) {
    return (
      `${state.n_kv_heads} KV heads cannot serve ${state.n_heads} query heads evenly. ` +
      `Choose from ${divisors(state.n_heads).join(", ")}.`
    );
  }
  if (sharing.ties_query && state.n_kv_heads !== state.n_heads) {
    return (
      `${sharing.name} ${sharing.tuple_form} makes each query head its own key head, so ` +
      `${state.n_heads} query heads need ${state.n_heads} KV heads, not ${state.n_kv_heads}. ` +
      `Set KV heads to ${state.n_heads}, or choose ${untied(state).name} ${untied(state).tuple_form}.`
    );
  }
  return null;
}

/** The sharing that stores the same tensors but leaves the query free: the way out of Q=K. */
export function untied(state, sharing = sharingOf(state)) {
  const same = (s) => s.cached.length === sharing.cached.length;
  return state.sharings.find((s) => !s.ties_query && same(s)) ?? sharing;
}

// BigInt, because a large batch of long contexts passes 2^53.
/** Bytes that one token of one user adds to the cache. */
export function bytesPerToken(state, cached = sharingOf(state).cached.length, kv = state.n_kv_heads) {
  const factors = [state.n_layers, cached, kv, state.head_dim, state.item_bytes[state.dtype]];
  return factors.reduce((product, factor) => product * BigInt(factor), 1n);
}

/** Bytes of the whole cache: every token of every user. */
export function cacheBytes(state) {
  return bytesPerToken(state) * BigInt(state.tokens) * BigInt(state.batch_size);
}

/** Bytes that QKV with MHA would need in the same place. */
export function baselineBytes(state) {
  const perToken = bytesPerToken(state, 2, state.n_heads);
  return perToken * BigInt(state.tokens) * BigInt(state.batch_size);
}

/** Share saved against QKV with MHA, from 0 to 1. */
export function saved(state) {
  return 1 - (sharingOf(state).cached.length * state.n_kv_heads) / (2 * state.n_heads);
}

/** What the budget holds: users with this context, tokens for these users; and for QKV-MHA. */
export function fits(state) {
  const budget = BigInt(Math.round(state.budget_gb * 1e9));
  const users = (perToken) => budget / (perToken * BigInt(state.tokens));
  const perToken = bytesPerToken(state);
  return {
    budget,
    users: users(perToken),
    tokens: budget / (perToken * BigInt(state.batch_size)),
    baselineUsers: users(bytesPerToken(state, 2, state.n_heads)),
  };
}

/** The change to n_kv_heads that keeps a new number of query heads possible. */
export function withHeads(state, nHeads) {
  const mha = state.n_kv_heads === state.n_heads || sharingOf(state)?.ties_query;
  const below = divisors(nHeads).filter((d) => d <= state.n_kv_heads);
  return { n_heads: nHeads, n_kv_heads: mha ? nHeads : below[below.length - 1] };
}

// ------------------------------------------------------------------------------------------- style

const CSS = `
.meter {
  --k: #0072b2; --v: #d55e00;
  --ghost: #8a95a3; --query: #8a95a3; --funnel: #e9edf2; --pale: #eef1f5; --dense: #cdd5de;
}
.meter[data-theme="dark"] {
  --ghost: #7f8b99; --query: #7f8b99; --funnel: #252d37; --pale: #1e252e; --dense: #3a4552;
}
.inner { display: grid; gap: 20px 28px; padding: 16px; grid-template-columns: minmax(0, 1fr);
  grid-template-areas: "main" "view" "load" "more"; }
.main { grid-area: main; } .view { grid-area: view; }
.load { grid-area: load; } .more { grid-area: more; }
.main, .view, .load, .more { display: grid; gap: 18px; align-content: start; min-width: 0; }
@container (min-width: 700px) {
  .inner { padding: 20px 22px; grid-template-columns: minmax(270px, 5fr) minmax(0, 7fr);
    grid-template-rows: auto 1fr; grid-template-areas: "main view" "load view" "more more"; }
  .more { grid-template-columns: repeat(auto-fit, minmax(max(264px, (100% - 56px) / 3), 1fr)); gap: 18px 28px;
    border-top: 1px solid var(--line); padding-top: 18px; }
}
.headline { display: flex; flex-wrap: wrap; align-items: baseline; gap: 2px 14px; }
.headline .total { font-size: 44px; line-height: 1.1; font-weight: 650; letter-spacing: -.02em;
  font-variant-numeric: tabular-nums; }
.headline .what { flex-basis: 100%; font-weight: 600; font-size: 14px; }
.headline .save { font-size: 17px; font-weight: 600; }
.headline .than { flex-basis: 100%; color: var(--muted); font-size: 14px; }

.panel > .label { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 2px 14px;
  margin-bottom: 8px; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 12px; font-weight: 400; font-size: 13px;
  color: var(--muted); }
.key { display: inline-flex; align-items: center; gap: 5px; }
.key i { width: 12px; height: 12px; border-radius: 3px; display: inline-block; }
.key .k { background: var(--k); } .key .v { background: var(--v); }
.key .g { border: 1px dashed var(--ghost); background: var(--pale); }

.rows { --pad: .12; display: grid; grid-template-columns: 34px minmax(0, 1fr); column-gap: 8px; }
.rows > .tag { font-size: 13px; font-weight: 600; line-height: 22px; text-align: right;
  white-space: nowrap; }
.lane { position: relative; height: 22px; }
.lane > i { position: absolute; top: 0; bottom: 0; border-radius: 4px;
  left: calc(100% * (var(--at) + var(--pad)) / var(--heads));
  width: calc(100% * (1 - 2 * var(--pad)) / var(--heads)); }
.lane .q { background: var(--query); }
.lane .ghost { border: 1px dashed var(--ghost); background: var(--pale); }
/* Heads of a pixel or two cannot be told apart; a band is truer than an uneven comb. */
.dense { --pad: 0; }
.dense .lane > i { border-radius: 0; }
.dense .lane .ghost { border: 0; background: var(--dense); }
@container (min-width: 1000px) { .dense:not(.full) { --pad: .14; } }
.lane .block { transition: left .45s ease, opacity .45s ease, transform .45s ease; }
.lane .k { background: var(--k); } .lane .v { background: var(--v); }
.lane .word { position: absolute; inset: 0; display: grid; place-items: center; transition: opacity .45s ease;
  font-size: 13px; line-height: 1; color: var(--fg); opacity: 0; }
.lane .word span { background: var(--bg); padding: 3px 8px; border-radius: 6px; }
.lane.gone .v { opacity: 0; transform: scaleY(.1); }
.lane.gone .word { opacity: 1; }
.tied:not(.dense) .lane .q { background: none; box-shadow: inset 0 0 0 2px var(--k); }
.funnels { grid-column: 2; display: block; width: 100%; height: 26px; }
.tied.dense .lane .q { background: var(--k); opacity: .4; }
.funnels polygon { fill: var(--funnel); }
.gap { grid-column: 2; height: 5px; }
.caption { margin-top: 8px; }

.layers { display: grid; --rim: 0px; gap: 5px 2px; grid-template-columns: repeat(auto-fit, minmax(7px, 1fr)); }
.layers.few { column-gap: 4px; --rim: 1px; }
.layer { display: grid; grid-template-rows: 1fr 1fr; row-gap: 1px; height: 64px; }
.layers.many .layer { height: 48px; }
.cell { position: relative; border: 1px dashed var(--ghost); border-radius: 3px;
  background: var(--pale); }
.layers:not(.few) .cell { border: 0; background: var(--dense); }
.cell i { position: absolute; left: -1px; right: -1px; min-height: 2px;
  height: calc(100% * var(--part) + var(--rim));
  border-radius: inherit;
  transition: height .45s ease, opacity .45s ease; }
.cell.k { border-bottom: 0; border-radius: 3px 3px 0 0; }
.cell.v { border-top: 0; border-radius: 0 0 3px 3px; }
.cell.k i { bottom: 0; background: var(--k); } .cell.v i { top: 0; background: var(--v); }
.layers.gone .cell.v i { height: 0; min-height: 0; opacity: 0; }
.layers:not(.few) .cell i { left: 0; right: 0; }

.bar { position: relative; height: 30px; margin: 24px 0 8px; border-radius: 6px;
  background: var(--soft); border: 1px solid var(--line); }
.bar > * { position: absolute; top: 3px; bottom: 3px; }
.bar .ghost { left: 0; border: 1px dashed var(--ghost); border-left: 0; border-radius: 0 4px 4px 0;
  transition: width .45s ease; }
.bar .k, .bar .v { transition: width .45s ease, left .45s ease; }
.bar .k { background: var(--k); left: 0; } .bar .v { background: var(--v); }
.bar .mark { font-style: normal; top: -6px; bottom: -6px; width: 0; border-left: 3px solid var(--fg); margin-left: -1px;
  transition: left .45s ease; }
.bar .mark span { position: absolute; bottom: 100%; white-space: nowrap; font-size: 13px;
  line-height: 1.2; padding-bottom: 1px; }
.bar .mark.start span { left: -3px; } .bar .mark.end span { right: 0; }
.fit b { font-weight: 650; }
.over { border-left: 4px solid var(--warn-line); padding-left: 10px; }

.formula { display: flex; flex-wrap: wrap; align-items: flex-start; gap: 4px 7px;
  font-variant-numeric: tabular-nums; }
.formula + .formula { margin-top: 8px; padding-top: 8px; border-top: 1px solid var(--line); }
.formula .step { display: inline-flex; gap: 7px; }
.formula .term { display: inline-flex; flex-direction: column; align-items: center; line-height: 1.25; }
.formula .term b { font-weight: 600; }
.formula .term small { font-size: 12.5px; }
.formula .op { color: var(--muted); }
.sum { background: var(--soft); border-radius: 10px; padding: 12px 14px; }

.refused .answer { display: none; }

@media (forced-colors: active) {
  .k, .v, .q, .cell i, .key i { forced-color-adjust: none; }
}
`;

// --------------------------------------------------------------------------------------------- view

const STATE = [
  "sharing", "n_layers", "n_heads", "n_kv_heads", "head_dim", "tokens", "batch_size", "dtype",
  "budget_gb", "units", "sharings", "item_bytes", "presets", "limits",
];

const powers = (low, high) => Array.from({ length: high - low + 1 }, (_, i) => 2 ** (low + i));

// What a slider stops at; the box beside it takes every value within the limits.
const STOPS = {
  n_layers: Array.from({ length: 100 }, (_, i) => i + 1),
  n_heads: [1, 2, 4, 8, 12, 16, 20, 24, 32, 40, 48, 64, 96, 128],
  head_dim: [16, 32, 48, 64, 80, 96, 128, 160, 192, 256, 512],
  tokens: powers(7, 20),
  batch_size: powers(0, 10),
  budget_gb: [0.1, 0.25, 0.5, 1, 2, 4, 6, 8, 12, 16, 24, 32, 40, 48, 64, 80, 96, 141, 192, 288],
};

function drawHeads(state) {
  const { n_heads: H } = state;
  const place = (node, at) => {
    node.style.setProperty("--at", String(at));
    return node;
  };
  const lane = () => h("div", { class: "lane" });
  const q = lane();
  const lanes = { k: lane(), v: lane() };
  const blocks = { k: [], v: [] };
  for (let head = 0; head < H; head++) {
    q.append(place(h("i", { class: "q" }), head));
    for (const role of ["k", "v"]) lanes[role].append(place(h("i", { class: "ghost" }), head));
  }
  for (const role of ["k", "v"]) {
    for (let head = 0; head < H; head++) blocks[role].push(h("i", { class: `block ${role}` }));
    lanes[role].append(...blocks[role]);
  }
  const word = h("div", { class: "word" }, h("span", {}, "not stored: V is K"));
  lanes.v.append(word);
  const funnels = h("svg", {
    class: "funnels",
    viewBox: `0 0 ${H} 1`,
    preserveAspectRatio: "none",
    "aria-hidden": "true",
  });
  const tag = h("span", { class: "tag" }, "Q");
  const root = h(
    "div",
    { class: H > 72 ? "rows dense full" : H > 40 ? "rows dense" : "rows", style: `--heads:${H}` },
    tag, q, funnels,
    h("span", { class: "tag" }, "K"), lanes.k,
    h("span", { class: "gap" }),
    h("span", { class: "tag" }, "V"), lanes.v,
  );
  return {
    root,
    update({ n_kv_heads: G }, sharing) {
      const group = H / G;
      funnels.replaceChildren(
        ...Array.from({ length: G }, (_, g) => {
          const left = g * group;
          const right = left + group;
          const middle = (left + right) / 2;
          const corners = [
            [left + 0.12, 0], [right - 0.12, 0], [middle + 0.38, 1], [middle - 0.38, 1],
          ];
          return h("polygon", { points: corners.map((c) => c.join(",")).join(" ") });
        }),
      );
      for (const role of ["k", "v"]) {
        // Every head keeps a block; those that share a KV head slide onto the same place.
        blocks[role].forEach((block, head) => {
          place(block, (Math.floor(head / group) + 0.5) * group - 0.5);
        });
      }
      lanes.v.classList.toggle("gone", sharing.cached.length === 1);
      root.classList.toggle("tied", sharing.ties_query);
      tag.textContent = sharing.ties_query ? "Q=K" : "Q";
    },
  };
}

function drawLayers(count) {
  const root = h("div", {
    class: `layers ${count <= 24 ? "few" : count > 60 ? "many" : ""}`,
    "aria-hidden": "true",
  });
  for (let layer = 0; layer < count; layer++) {
    root.append(
      h(
        "div",
        { class: "layer" },
        h("div", { class: "cell k" }, h("i")),
        h("div", { class: "cell v" }, h("i")),
      ),
    );
  }
  return root;
}

function term(value, label) {
  return h("span", { class: "term" }, h("b", {}, value), h("small", {}, label));
}

function formula(terms, results) {
  // A sign stays with what follows it, so that a broken line starts with its sign.
  const step = (sign, what) => h("span", { class: "step" }, h("span", { class: "op" }, sign), what);
  const [first, ...rest] = terms;
  return [first, ...rest.map((t) => step("×", t)), ...results.map((t) => step("=", t))];
}

function render({ model, el }) {
  const get = () => Object.fromEntries(STATE.map((name) => [name, model.get(name)]));
  const set = (changes) => {
    for (const [name, value] of Object.entries(changes)) model.set(name, value);
    model.save_changes();
  };
  const first = get();
  const sharing = radios({
    legend: "Sharing",
    hint: "which projections are tied",
    two: true,
    onchoose: (name) => set({ sharing: name }),
  });
  const kv = radios({
    legend: "KV heads",
    hint: "query heads can share them",
    onchoose: (n) => set({ n_kv_heads: n }),
  });
  const dtype = radios({ legend: "Number format", onchoose: (name) => set({ dtype: name }) });
  const units = radios({ legend: "Units", onchoose: (name) => set({ units: name }) });
  const make = (field, label, what, onset = (value) => set({ [field]: value })) =>
    number({
      stops: STOPS[field],
      whole: field !== "budget_gb",
      label,
      what,
      limits: first.limits[field],
      onset,
    });
  const numbers = {
    tokens: make("tokens", "Context", "tokens per user"),
    batch_size: make("batch_size", "Users", "served at once"),
    n_layers: make("n_layers", "Layers", ""),
    n_heads: make("n_heads", "Query heads", "", (n) => setHeads(n)),
    head_dim: make("head_dim", "Head width", "head_dim"),
    budget_gb: make("budget_gb", "Memory budget", "GB"),
  };
  // KV heads as they were chosen, by hand or from Python: a number of query heads on the way to the
  // one that is meant (3 on the way to 32) must not take them away for good.
  let wished = { n_heads: first.n_heads, n_kv_heads: first.n_kv_heads };
  let made = wished; // what became of them here
  const setHeads = (n, changes = {}) => {
    made = withHeads({ ...get(), ...wished }, n);
    set({ ...changes, ...made });
  };
  const shape = ["n_layers", "n_heads", "head_dim"];
  const presets = first.presets.map((preset) => {
    const { name, n_layers, n_heads, head_dim } = preset;
    const onclick = () => setHeads(n_heads, { n_layers, head_dim });
    return { preset, node: h("button", { type: "button", onclick }, name) };
  });

  const total = h("span", { class: "total" });
  const save = h("span", { class: "save" });
  const than = h("span", { class: "than" });
  const headline = h(
    "div",
    { class: "headline answer" },
    h("span", { class: "what" }, "KV cache"), total, save, than,
  );
  const refused = h("p", { class: "note", role: "alert", hidden: true });
  const headsBox = h("div", { role: "img" });
  const headsCaption = h("p", { class: "hint caption" });
  const layersBox = h("div", { role: "img" });
  const layersLabel = h("span");
  const bar = {
    ghost: h("i", { class: "ghost" }),
    k: h("i", { class: "k" }),
    v: h("i", { class: "v" }),
    text: h("span"),
  };
  bar.mark = h("i", { class: "mark" }, bar.text);
  const barBox = h("div", { class: "bar", role: "img" }, bar.ghost, bar.k, bar.v, bar.mark);
  const fit = h("p", { class: "fit" });
  const perToken = h("div", { class: "formula" });
  const all = h("div", { class: "formula" });
  const dockTotal = h("b");
  const dockSave = h("span");
  const dock = docked(total, dockTotal, dockSave);
  const live = announcer();

  const key = (kind, text) => h("span", { class: "key" }, h("i", { class: kind }), text);
  const meter = h(
    "section",
    { class: "sheet meter", "aria-label": "KV cache meter" },
    h(
      "div",
      { class: "inner" },
      h(
        "div",
        { class: "main" },
        sharing.root, kv.root,
      ),
      h(
        "div",
        { class: "view" },
        refused,
        headline,
        h(
          "div",
          { class: "panel answer" },
          h(
            "div",
            { class: "label" },
            "One layer: who stores what",
            h(
              "span",
              { class: "legend" },
              key("k", "K"), key("v", "V"), key("g", "stored by QKV with MHA"),
            ),
          ),
          headsBox,
          headsCaption,
        ),
        h("div", { class: "panel answer" }, h("div", { class: "label" }, layersLabel), layersBox),
        h("div", { class: "panel answer" }, h("div", { class: "label" }, "In your memory"), barBox, fit),
        h("div", { class: "panel answer sum" }, perToken, all),
      ),
      h(
        "div",
        { class: "load" },
        numbers.tokens.root, numbers.batch_size.root, numbers.budget_gb.root,
      ),
      h(
        "div",
        { class: "more" },
        h(
          "fieldset",
          {},
          h("legend", {}, "Model shape"),
          h("div", { class: "options" }, ...presets.map((each) => each.node)),
        ),
        numbers.n_layers.root, numbers.n_heads.root, numbers.head_dim.root,
        dtype.root, units.root,
      ),
    ),
    dock.node,
    live.node,
  );
  const staged = stage(meter, CSS);

  let heads = null;
  let headsOf = 0;
  let layersOf = 0;

  function explain(state) {
    const chosen = sharingOf(state);
    const mha = state.n_kv_heads === state.n_heads;
    const tied = state.sharings.filter((s) => s.ties_query).map((s) => s.name);
    const wayOut = (text, changes, next) =>
      h(
        "button",
        {
          type: "button",
          onclick: () => {
            set(changes);
            update();
            // The button is gone now; the keyboard goes on from the choice it belonged to.
            next.root.querySelector("input:checked")?.focus();
          },
        },
        text,
      );
    const all = state.n_heads;
    if (!mha) {
      sharing.explain(
        `${tied.join(" and ")} need one KV head for every query head, because a query head is ` +
          `its own key head: ${all}, not ${state.n_kv_heads}.`,
        h("div", { class: "options" }, wayOut(`Use ${all} KV heads`, { n_kv_heads: all }, sharing)),
      );
    } else sharing.explain();
    if (chosen?.ties_query && all > 1) {
      const free = untied(state);
      kv.explain(
        `Fewer KV heads are off: under ${chosen.name} a query head is its own key head, so ` +
          `${all} query heads keep ${all}. To share heads, free the query.`,
        h("div", { class: "options" },
          wayOut(`Use ${free.name} ${free.tuple_form}`, { sharing: free.name }, kv)),
      );
    } else kv.explain();
  }

  function update() {
    const state = get();
    const chosen = sharingOf(state);
    const binary = state.units === "binary";
    const size = (n) => formatBytes(n, binary);
    const problem = refusal(state);
    const mha = state.n_kv_heads === state.n_heads;
    if (["n_heads", "n_kv_heads"].some((name) => state[name] !== made[name])) {
      const { n_heads, n_kv_heads } = state;
      wished = made = { n_heads, n_kv_heads };
    }

    sharing.update(
      state.sharings.map((s) => ({
        value: s.name,
        title: s.name,
        detail: s.tuple_form,
        swatch: s.colour,
        // The chosen one stays reachable even where Python was refused, so it can be left.
        disabled: s.ties_query && !mha && s.name !== state.sharing,
      })),
      state.sharing,
    );
    kv.update(
      divisors(state.n_heads).map((n) => ({
        value: n,
        title: String(n),
        detail: n === state.n_heads ? "MHA" : n === 1 ? "MQA" : "GQA",
        disabled: chosen?.ties_query && n !== state.n_heads && n !== state.n_kv_heads,
      })),
      state.n_kv_heads,
    );
    dtype.update(
      Object.entries(state.item_bytes)
        .sort((a, b) => a[1] - b[1] || (a[0] < b[0] ? 1 : -1))
        .map(([name, bytes]) => ({ value: name, title: name, detail: `${bytes} bytes` })),
      state.dtype,
    );
    units.update(
      [
        { value: "decimal", title: "MB, GB", detail: "powers of 10" },
        { value: "binary", title: "MiB, GiB", detail: "powers of 2" },
      ],
      state.units,
    );
    for (const { preset, node } of presets) {
      node.setAttribute("aria-pressed", String(shape.every((name) => preset[name] === state[name])));
    }
    numbers.tokens.update(state.tokens, plural(state.tokens, "token"));
    numbers.batch_size.update(state.batch_size, plural(state.batch_size, "user"));
    numbers.n_layers.update(state.n_layers, plural(state.n_layers, "layer"));
    numbers.n_heads.update(state.n_heads, plural(state.n_heads, "query head"));
    numbers.head_dim.update(state.head_dim, `${state.head_dim} numbers`);
    numbers.budget_gb.update(
      state.budget_gb,
      `${state.budget_gb} GB`,
      binary ? `GB (${formatBytes(state.budget_gb * 1e9, true)})` : "GB",
    );
    explain(state);

    refused.hidden = problem === null;
    refused.textContent = problem ?? "";
    meter.classList.toggle("refused", problem !== null);
    if (problem !== null) {
      dockTotal.textContent = "No answer";
      dockSave.textContent = "";
      live.hush();
      return;
    }

    // Numbers.
    const bytes = cacheBytes(state);
    const baseline = baselineBytes(state);
    const share = saved(state);
    const room = fits(state);
    const isBaseline = bytes === baseline;
    total.textContent = size(bytes);
    save.textContent = share > 0 ? `${formatShare(share)} saved` : "nothing saved";
    than.textContent =
      share > 0
        ? `QKV with all ${state.n_heads} heads (MHA) would need ${size(baseline)}.`
        : chosen.ties_query
          ? "K and V are both still stored. Only Q went, and Q was never in the cache."
          : "This is QKV with MHA, the one the others are measured against.";
    dockTotal.textContent = size(bytes);
    dockSave.textContent = isBaseline ? "nothing saved" : `${formatShare(share)} saved`;

    // Heads of one layer.
    if (headsOf !== state.n_heads) {
      heads = drawHeads(state);
      headsOf = state.n_heads;
      headsBox.replaceChildren(heads.root);
    }
    heads.update(state, chosen);
    const group = state.n_heads / state.n_kv_heads;
    const stores =
      chosen.cached.length === 1
        ? `${plural(state.n_kv_heads, "K head")}, no V: the key is the value`
        : `${plural(state.n_kv_heads, "K head")} and ${plural(state.n_kv_heads, "V head")}`;
    headsCaption.textContent =
      `${headSharing(state.n_kv_heads, state.n_heads)}: ` +
      (group === 1
        ? "every query head has its own KV head."
        : `${group === state.n_heads ? `all ${group}` : `every ${group}`} query heads share one KV head.`) +
      (chosen.ties_query ? " Its query is its key." : "");
    headsBox.setAttribute(
      "aria-label",
      `One layer with ${plural(state.n_heads, "query head")} stores ${stores}.`,
    );

    // All layers.
    if (layersOf !== state.n_layers) {
      layersBox.replaceChildren(drawLayers(state.n_layers));
      layersOf = state.n_layers;
    }
    const layers = layersBox.firstElementChild;
    layers.style.setProperty("--part", String(1 / group));
    layers.classList.toggle("gone", chosen.cached.length === 1);
    layersLabel.textContent =
      state.n_layers === 1 ? "The only layer" : `All ${state.n_layers} layers, one column each`;
    layersBox.setAttribute(
      "aria-label",
      `${plural(state.n_layers, "layer")}, each filled to ${formatShare(1 - share)} of what QKV with MHA stores.`,
    );

    // Budget.
    const budget = Number(room.budget);
    const scale = Math.max(budget, Number(baseline));
    const percent = (n) => `${(100 * Number(n)) / scale}%`;
    const half = Number(bytes) / chosen.cached.length;
    bar.ghost.style.width = percent(baseline);
    bar.k.style.width = percent(half);
    bar.v.style.left = percent(half);
    bar.v.style.width = percent(Number(bytes) - half);
    bar.mark.style.left = percent(budget);
    bar.mark.className = `mark ${budget / scale > 0.5 ? "end" : "start"}`;
    bar.text.textContent = `budget ${size(budget)}`;
    const isOver = bytes > room.budget;
    barBox.setAttribute(
      "aria-label",
      `The cache takes ${size(bytes)} of a budget of ${size(budget)}; QKV with MHA would take ${size(baseline)}.`,
    );
    fit.classList.toggle("over", isOver);
    fit.replaceChildren(
      ...(isOver ? [h("b", {}, `${size(bytes - room.budget)} too much. `)] : []),
      "Room for ",
      h("b", {}, plural(room.users, "user")),
      ` of ${plural(state.tokens, "token")} each`,
      isBaseline ? "" : ` (QKV with MHA: ${formatCount(room.baselineUsers)})`,
      ", or for ",
      h("b", {}, plural(room.tokens, "token")),
      state.batch_size === 1 ? " of one user." : ` for each of ${formatCount(state.batch_size)} users.`,
    );

    // The formula, with the numbers put in.
    const one = bytesPerToken(state);
    perToken.replaceChildren(
      ...formula(
        [
          term(state.n_layers, state.n_layers === 1 ? "layer" : "layers"),
          term(chosen.cached.length, chosen.cached.join(" and ")),
          term(state.n_kv_heads, state.n_kv_heads === 1 ? "KV head" : "KV heads"),
          term(state.head_dim, "head_dim"),
          term(state.item_bytes[state.dtype], "bytes"),
        ],
        [term(size(one), "per token")],
      ),
    );
    all.replaceChildren(
      ...formula(
        [
          term(formatCount(one), "bytes"),
          term(formatCount(state.tokens), state.tokens === 1 ? "token" : "tokens"),
          term(formatCount(state.batch_size), state.batch_size === 1 ? "user" : "users"),
        ],
        [term(formatCount(bytes), "bytes"), term(size(bytes), "in all")],
      ),
    );

    live.follow(
      `KV cache ${size(bytes)}, ${isBaseline ? "nothing" : formatShare(share)} saved, ` +
        `${isOver ? "over budget" : "within budget"}, room for ${plural(room.users, "user")}.`,
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
