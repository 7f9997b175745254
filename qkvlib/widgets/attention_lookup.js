// AttentionLookup: drag a query among keys, and see whose values it fetches.
//
// An ES module in the anywidget protocol, self-contained once _shared.js is put in front of it. Keys,
// values, colours and limits come from Python through the state; the numbers are computed here, as
// the Python class computes them.

// --------------------------------------------------------------------------------------- attention

const dot = ([a, b], [c, d]) => a * c + b * d;

/** What the dot products are multiplied by: width, scale and temperature together. */
export function factorOf({ head_dim, scaled, temperature }) {
  return Math.sqrt(head_dim / 2) / (scaled ? Math.sqrt(head_dim) : 1) / temperature;
}

/** The scores that enter the softmax. */
export function scoresOf(state) {
  const factor = factorOf(state);
  return state.key_points.map((key) => dot(state.query, key) * factor);
}

/** Softmax; the largest score is taken off first, so that no power overflows. */
export function softmax(scores) {
  const highest = Math.max(...scores);
  const powers = scores.map((score) => Math.exp(score - highest));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

export const weightsOf = (state) => softmax(scoresOf(state));

/** Numbers, or the numbers of one column, mixed by the weights. */
export function mix(weights, values) {
  return weights.reduce((sum, weight, i) => sum + weight * values[i], 0);
}

/** The keys mixed by the weights: the output where a key is its own value. */
export function mixKeys(weights, keys) {
  return [0, 1].map((axis) => mix(weights, keys.map((key) => key[axis])));
}

/** How many keys are read in effect: e to the entropy, from 1 to all. */
export function effectiveKeys(weights) {
  return Math.exp(-weights.reduce((sum, w) => sum + (w > 0 ? w * Math.log(w) : 0), 0));
}

/** Trace of the softmax's derivative, as a share of the most there can be. */
export function letThrough(weights) {
  if (weights.length === 1) return 0;
  return weights.reduce((sum, w) => sum + w * (1 - w), 0) / (1 - 1 / weights.length);
}

/** Colours like "#E69F00", mixed by the weights. */
export function mixColours(weights, colours) {
  const channels = [1, 3, 5].map((at) =>
    Math.round(mix(weights, colours.map((colour) => parseInt(colour.slice(at, at + 2), 16)))),
  );
  return `rgb(${channels.join(", ")})`;
}

// --------------------------------------------------------------------------------------- questions

const rounded = (point) => point.map((x) => Math.round(x * 100) / 100 || 0);
const towards = (angle, length) => [length * Math.cos(angle), length * Math.sin(angle)];

/** A query that is itself a key: the longest, which no other can outscore. */
export function exactHit(keys) {
  const longest = keys.reduce((best, key) => (dot(key, key) > dot(best, best) ? key : best));
  return rounded(longest);
}

/** A query for which two keys share the lead, as far ahead of the others as can be. */
export function betweenTwo(keys, length = 3) {
  let best = { lead: -Infinity, query: exactHit(keys) };
  for (let i = 0; i < keys.length; i++) {
    for (let j = i + 1; j < keys.length; j++) {
      const apart = Math.atan2(keys[i][1] - keys[j][1], keys[i][0] - keys[j][0]);
      for (const side of [Math.PI / 2, -Math.PI / 2]) {
        const query = towards(apart + side, length);
        const others = keys.filter((_, k) => k !== i && k !== j).map((key) => dot(query, key));
        const lead = dot(query, keys[i]) - Math.max(0, ...others);
        if (lead > best.lead) best = { lead, query };
      }
    }
  }
  return rounded(best.query);
}

/** A query that points away from every key as far as it can. */
export function nothingFits(keys, length = 3) {
  const highest = (query) => Math.max(...keys.map((key) => dot(query, key)));
  const around = Array.from({ length: 72 }, (_, i) => towards((i * Math.PI) / 36, length));
  return rounded(around.reduce((best, query) => (highest(query) < highest(best) ? query : best)));
}

export const QUESTIONS = [
  ["exact hit", exactHit],
  ["between two", betweenTwo],
  ["nothing fits", nothingFits],
];

/** Corners of the convex hull, in order. */
export function hull(points) {
  const sorted = [...points].sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  const half = (list) => {
    const chain = [];
    for (const p of list) {
      const turn = ([ax, ay], [bx, by]) => (bx - ax) * (p[1] - ay) - (by - ay) * (p[0] - ax);
      while (chain.length > 1 && turn(chain.at(-2), chain.at(-1)) <= 0) chain.pop();
      chain.push(p);
    }
    return chain;
  };
  const lower = half(sorted);
  const upper = half([...sorted].reverse());
  return points.length < 3 ? sorted : [...lower.slice(0, -1), ...upper.slice(0, -1)];
}

// ------------------------------------------------------------------------------------------ as text

/** 5.219 -> "5.22", -13.04 -> "−13", 1536.2 -> "1,536". */
export function short(x) {
  const size = Math.abs(x);
  const [whole, part = ""] = size.toFixed(size < 10 ? 2 : size < 100 ? 1 : 0).split(".");
  const digits = part.replace(/0+$/, "");
  const number = formatCount(whole) + (digits ? `.${digits}` : "");
  return x < 0 && number !== "0" ? `−${number}` : number;
}

const SMALL = 0.0005; // what one digit after the point would show as nothing

/** 0.9999 -> "> 99.9 %": what is rounded must not look like all or nothing. */
export function shareText(weight) {
  if (weight > 1 - SMALL && weight < 1) return "> 99.9 %";
  return weight > 0 && weight < SMALL ? "< 0.1 %" : formatShare(weight);
}

// ------------------------------------------------------------------------------------------- style

const CSS = `
.lookup { --shade: #e6eaf0; --grid: #dfe5ec; --ink: #1c2530; }
.lookup[data-theme="dark"] { --shade: #10151b; --grid: #2b343f; --ink: #e6ebf1; }
.inner { display: grid; gap: 18px 28px; padding: 16px; grid-template-columns: minmax(0, 1fr); }
.inner > * { min-width: 0; display: grid; gap: 14px; align-content: start; }
@container (min-width: 620px) {
  .inner { padding: 20px 22px; grid-template-columns: minmax(0, 1fr) minmax(0, 1.1fr); }
  .wide { grid-column: 1 / -1; }
  .choices { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 14px 28px;
    border-top: 1px solid var(--line); padding-top: 18px; }
}

.plane { position: relative; aspect-ratio: 1; border: 1px solid var(--line); border-radius: 10px;
  background: var(--bg); cursor: crosshair; touch-action: manipulation; user-select: none;
  -webkit-user-select: none; }
.plane svg.field { position: absolute; inset: 0; width: 100%; height: 100%; border-radius: inherit; }
.field .below { fill: var(--shade); }
.field .grid { stroke: var(--grid); stroke-width: .015; }
.field .axis { stroke: var(--edge); stroke-width: .02; }
.field .hull { fill: none; stroke: var(--edge); stroke-width: .03; stroke-dasharray: .1 .08; }
.field .arrow { stroke: var(--ink); stroke-width: .07; stroke-linecap: round; }
.field .tip { fill: var(--ink); }
.field .output { stroke: var(--ink); stroke-width: .1; stroke-linecap: round; }
.field .output.under { stroke: var(--bg); stroke-width: .2; }
.plane svg.over { z-index: 1; pointer-events: none; }
.halo { opacity: .38; }
.side { position: absolute; font-size: 13px; line-height: 1; color: var(--muted);
  pointer-events: none; }
.side.left { left: 6px; bottom: calc(50% + 5px); } .side.right { right: 6px; top: calc(50% + 5px); }
.side.bottom { bottom: 6px; left: calc(50% + 6px); } .side.top { top: 6px; left: calc(50% + 6px); }
.grip { position: absolute; width: 34px; height: 34px; margin: -17px; display: grid;
  place-items: center; border-radius: 50%; cursor: grab; touch-action: none; }
.grip:active { cursor: grabbing; }
.grip:focus-visible { outline: 3px solid var(--accent); outline-offset: 1px; }
.grip.query { z-index: 1; }
.grip .name { position: absolute; top: calc(50% + 11px); left: 50%; transform: translateX(-50%);
  font-size: 13px; line-height: 1.2; font-weight: 600; white-space: nowrap; pointer-events: none;
  padding: 0 3px; border-radius: 4px; background: color-mix(in srgb, var(--bg) 72%, transparent); }
.grip.high .name { top: auto; bottom: calc(50% + 11px); }
.grip.query .name { font-weight: 400; }
.mark { display: block; width: 22px; height: 22px; overflow: visible; flex: none; }
.mark path { stroke: var(--ink); stroke-width: 1.6; stroke-linejoin: round; }
.grip.query .ring { fill: none; stroke: var(--ink); stroke-width: 2; }

.headline { display: flex; flex-wrap: wrap; align-items: center; gap: 2px 12px; }
.headline .what { flex-basis: 100%; font-weight: 600; font-size: 14px; }
.headline .answer { font-size: 38px; line-height: 1.15; font-weight: 650; letter-spacing: -.02em;
  font-variant-numeric: tabular-nums; }
.headline .answer.long { font-size: 24px; line-height: 44px; letter-spacing: 0; }
.swatch { width: 34px; height: 34px; border-radius: 50%; border: 1.6px solid var(--ink); }

table { border-collapse: collapse; table-layout: fixed; width: 100%;
  font-variant-numeric: tabular-nums; }
th, td { padding: 3px 2px 3px 0; text-align: right; vertical-align: middle; font-weight: 400;
  white-space: nowrap; }
th:first-child { width: 26%; padding-left: 2px; text-align: left; overflow: hidden;
  text-overflow: ellipsis; }
th:nth-child(2) { width: 15%; } th:nth-child(4) { width: 16%; }
thead th { font-size: 13px; color: var(--muted); }
thead th.weight, td.weight { text-align: left; padding-left: 10px; }
tbody th > span { display: flex; align-items: center; gap: 6px; font-weight: 600; }
tbody .mark { width: 16px; height: 16px; }
.bar { display: grid; grid-template-columns: minmax(0, 1fr) 4em; align-items: center; gap: 6px; }
.bar .track { height: 14px; border-radius: 4px; background: var(--soft); }
.bar i { display: block; height: 100%; border-radius: 4px; min-width: 2px;
  box-shadow: inset 0 0 0 1px var(--edge); }
tr.lead td, tr.lead th { background: var(--chosen); }

@container (max-width: 640px) { table { font-size: 14px; } }
@container (max-width: 310px) {
  table { font-size: 13px; }
  tbody .mark { width: 13px; height: 13px; }
  tbody th > span { gap: 4px; }
}

.stats { display: grid; grid-template-columns: 1fr 1fr; gap: 8px; }
.stat { min-width: 0; padding: 8px 12px; border-radius: 8px; background: var(--soft);
  border-left: 4px solid transparent; }
.stat b { display: block; font-size: 19px; font-weight: 650; font-variant-numeric: tabular-nums; }
.stat small { display: block; line-height: 1.3; }
.stat.warn { background: var(--warn-bg); border-left-color: var(--warn-line); }
.stat.warn small { color: var(--fg); }

.sum { background: var(--soft); border-radius: 10px; padding: 12px 14px; gap: 8px !important;
  font-variant-numeric: tabular-nums; }
.line { overflow-wrap: anywhere; }
.line small { display: block; }
.line b { font-weight: 650; }
sup { line-height: 0; font-size: .8em; }
@media (pointer: coarse) { .grip { width: 44px; height: 44px; margin: -22px; } }
@media (forced-colors: active) {
  .halo, .mark path, .bar i, .swatch { forced-color-adjust: none; }
}
`;

// --------------------------------------------------------------------------------------------- view

const STATE = [
  "key_points", "labels", "values", "query", "temperature", "head_dim", "scaled", "value_is_key", "axes",
  "unit", "palette", "limits",
];

const STOPS = {
  temperature: Array.from({ length: 41 }, (_, i) => Number((10 ** ((i - 20) / 10)).toPrecision(2))),
  head_dim: Array.from({ length: 12 }, (_, i) => 2 ** (i + 1)),
};

// One shape for each colour, so that no key is known by its colour alone.
const SHAPES = [
  "M9 0A9 9 0 1 1-9 0A9 9 0 1 1 9 0Z",
  "M-8-8H8V8H-8Z",
  "M0-11L11 0L0 11L-11 0Z",
  "M0-10L10.5 8H-10.5Z",
  "M0 10L10.5-8H-10.5Z",
  "M0-10L10-2.5L6 9H-6L-10-2.5Z",
  "M-3.5-10H3.5V-3.5H10V3.5H3.5V10H-3.5V3.5H-10V-3.5H-3.5Z",
  "M-10 0L-5-9H5L10 0L5 9H-5Z",
];

const MARGIN = 0.25; // of the plane, around what can be reached

function mark(i, colour) {
  return h(
    "svg",
    { class: "mark", viewBox: "-12 -12 24 24", "aria-hidden": "true" },
    h("path", { d: SHAPES[i % SHAPES.length], fill: colour }),
  );
}

/** A point that is dragged by mouse, finger or arrow keys; `onmove` gets its new place. */
function grip({ className, face, reach, onmove }) {
  const name = h("span", { class: "name", "aria-hidden": "true" });
  const root = h(
    "div",
    {
      class: `grip ${className}`, role: "slider", tabindex: 0,
      "aria-valuemin": -reach, "aria-valuemax": reach,
    },
    face,
    name,
  );
  const size = 2 * (reach + MARGIN);
  let at = [0, 0];
  let held = null; // where in the grip it was taken, in pixels
  const move = (point, step) => {
    const kept = point.map((x) => {
      const inside = Math.min(reach, Math.max(-reach, x));
      return Math.round(Math.round(inside / step) * step * 100) / 100 || 0;
    });
    if (kept[0] !== at[0] || kept[1] !== at[1]) onmove(kept);
  };
  const middle = () => {
    const box = root.getBoundingClientRect();
    return [box.left + box.width / 2, box.top + box.height / 2];
  };
  root.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault();
    root.setPointerCapture(event.pointerId);
    root.focus({ preventScroll: true });
    const [x, y] = middle();
    held = [event.clientX - x, event.clientY - y];
  });
  root.addEventListener("pointermove", (event) => {
    if (held === null) return;
    const box = root.parentElement.getBoundingClientRect();
    const x = (event.clientX - held[0] - box.left) / box.width - 0.5;
    const y = (event.clientY - held[1] - box.top) / box.height - 0.5;
    move([x * size, -y * size], 0.05);
  });
  for (const end of ["pointerup", "pointercancel"]) {
    root.addEventListener(end, () => {
      held = null;
    });
  }
  root.addEventListener("keydown", (event) => {
    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowDown: [0, -1], ArrowUp: [0, 1] };
    const way = ways[event.key];
    if (!way || isCommand(event)) return;
    event.preventDefault(); // the page would scroll
    const step = event.shiftKey ? 0.5 : 0.1;
    move([at[0] + way[0] * step, at[1] + way[1] * step], 0.01);
  });
  return {
    root,
    update(point, label, words) {
      at = point;
      root.style.left = `${50 + (100 * point[0]) / size}%`;
      root.style.top = `${50 - (100 * point[1]) / size}%`;
      root.classList.toggle("high", className === "query" ? point[1] >= 0 : point[1] < 1 - reach);
      name.textContent = label;
      root.setAttribute("aria-label", label);
      root.setAttribute("aria-valuenow", point[0]);
      root.setAttribute("aria-valuetext", words);
    },
  };
}

/** Under the grips: grid, the side of negative scores, halos, the arrow. Over them: the output. */
function drawField(svg, over, state, weights) {
  const [, reach] = state.limits.reach;
  const edge = reach + MARGIN;
  const [x, y] = state.query;
  const length = Math.hypot(x, y);
  const at = ([a, b]) => `${a},${-b}`;
  const parts = [];
  if (length > 0.01) {
    const [u, v] = [x / length, y / length];
    const far = 3 * edge;
    const corners = [[-v, u], [v, -u], [v - u, -u - v], [-v - u, u - v]];
    const points = corners.map(([a, b]) => at([far * a, far * b])).join(" ");
    parts.push(h("polygon", { class: "below", points }));
  }
  for (let i = -Math.floor(reach); i <= reach; i++) {
    const kind = i === 0 ? "axis" : "grid";
    parts.push(h("line", { class: kind, x1: i, x2: i, y1: -edge, y2: edge }));
    parts.push(h("line", { class: kind, y1: i, y2: i, x1: -edge, x2: edge }));
  }
  state.key_points.forEach((key, i) => {
    const [cx, cy] = [key[0], -key[1]];
    const r = 0.9 * Math.sqrt(weights[i]);
    parts.push(h("circle", { class: "halo", cx, cy, r, fill: state.palette[i] }));
  });
  if (state.value_is_key) {
    const corners = hull(state.key_points).map(at).join(" ");
    parts.push(h("polygon", { class: "hull", points: corners }));
  }
  if (length > 0.3) {
    const [u, v] = [x / length, y / length];
    const along = (d, side) => [x - d * u - side * v, y - d * v + side * u];
    const [x2, y2] = along(0.45, 0);
    parts.push(h("line", { class: "arrow", x1: 0, y1: 0, x2, y2: -y2 }));
    const corners = [along(0.2, 0), along(0.55, 0.17), along(0.55, -0.17)];
    parts.push(h("polygon", { class: "tip", points: corners.map(at).join(" ") }));
  }
  svg.replaceChildren(...parts);
  const cross = [];
  if (state.value_is_key) {
    const [cx, cy] = mixKeys(weights, state.key_points);
    for (const kind of ["output under", "output"]) {
      for (const way of [1, -1]) {
        const ends = { x1: cx - 0.15, x2: cx + 0.15, y1: -cy - 0.15 * way, y2: -cy + 0.15 * way };
        cross.push(h("line", { class: kind, ...ends }));
      }
    }
  }
  over.replaceChildren(...cross);
}

/** The lines with the numbers put in, for the key that leads. */
function workedOut(state, scores, weights, answer) {
  const lead = weights.indexOf(Math.max(...weights));
  const [x, y] = state.query;
  const [a, b] = state.key_points[lead];
  const signed = (n) => (n < 0 ? `(${short(n)})` : short(n));
  const product = dot(state.query, state.key_points[lead]);
  const scale = state.scaled ? ` ÷ √${formatCount(state.head_dim)}` : "";
  const widen = state.head_dim > 2 ? ` × √(${formatCount(state.head_dim)} ÷ 2)` : "";
  const warm = state.temperature === 1 ? "" : ` ÷ ${state.temperature}`;
  const powers = scores.flatMap((score, i) => {
    const one = ["e", h("sup", {}, short(score))];
    return i ? [" + ", ...one] : one;
  });
  const line = (what, ...content) => h("p", { class: "line" }, h("small", {}, what), ...content);
  const steps = `${widen}${scale}${warm}`;
  const mixed = weights.flatMap((w, i) => {
    const value = state.value_is_key ? state.labels[i] : signed(state.values[i]);
    return w < SMALL ? [] : [`${shareText(w)} × ${value}`];
  });
  if (mixed.length < weights.length) mixed.push("next to nothing");
  return [
    line(
      `Dot product of the query and ${state.labels[lead]}, which leads`,
      `${short(x)} × ${signed(a)} + ${signed(y)} × ${signed(b)} = `, h("b", {}, short(product)),
    ),
    line(
      "Its score",
      `${short(product)}${steps} = `, h("b", {}, short(scores[lead])),
      steps ? "" : " (no scale: the dot product itself)",
    ),
    line(
      "Its weight: e to its score, over the same of all keys",
      "e", h("sup", {}, short(scores[lead])), " ÷ (", ...powers, ") = ",
      h("b", {}, shareText(weights[lead])),
    ),
    line("The output", `${mixed.join(" + ")} = `, h("b", {}, answer)),
  ];
}

function render({ model, el }) {
  const get = () => Object.fromEntries(STATE.map((name) => [name, model.get(name)]));
  const set = (changes) => {
    for (const [name, value] of Object.entries(changes)) model.set(name, value);
    model.save_changes();
  };
  const first = get();
  const [, reach] = first.limits.reach;
  const edge = reach + MARGIN;

  const [field, over] = ["field", "field over"].map((kind) =>
    h("svg", {
      class: kind, viewBox: `${-edge} ${-edge} ${2 * edge} ${2 * edge}`, "aria-hidden": "true",
    }),
  );
  const sides = ["left", "right", "bottom", "top"].map((side) =>
    h("span", { class: `side ${side}`, "aria-hidden": "true" }),
  );
  const ring = h(
    "svg",
    { class: "mark", viewBox: "-12 -12 24 24", "aria-hidden": "true" },
    h("circle", { class: "ring", r: 9 }),
  );
  const queryGrip = grip({
    className: "query", face: ring, reach, onmove: (query) => set({ query }),
  });
  const plane = h("div", { class: "plane", role: "group" }, field, over, ...sides);
  plane.addEventListener("click", (event) => {
    if (event.target.closest(".grip")) return;
    const box = plane.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width - 0.5) * 2 * edge;
    const y = (0.5 - (event.clientY - box.top) / box.height) * 2 * edge;
    const inside = (v) => Math.min(reach, Math.max(-reach, Math.round(20 * v) / 20)) || 0;
    set({ query: [inside(x), inside(y)] });
  });
  const asked = h("div", { class: "options" });
  const shade = h("p", { class: "hint" });

  const what = h("span", { class: "what" });
  const swatch = h("span", { class: "swatch", "aria-hidden": "true" });
  const answer = h("span", { class: "answer" });
  const valueHead = h("th", { scope: "col" });
  const rows = h("tbody");
  const table = h(
    "table",
    {},
    h("caption", { class: "quiet" }, "Keys, their dot products with the query, and their weights"),
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        h("th", { scope: "col" }, "key"),
        h("th", { scope: "col" }, "q · k"),
        h("th", { scope: "col", class: "weight" }, "weight"),
        valueHead,
      ),
    ),
    rows,
  );
  const reads = h("b");
  const readsOf = h("small");
  const passes = h("b");
  const passesWhat = h("small");
  const gradient = h("div", { class: "stat" }, passes, passesWhat);

  const temperature = number({
    stops: STOPS.temperature, whole: false, label: "Temperature", what: "small: hard, large: uniform",
    limits: first.limits.temperature, onset: (value) => set({ temperature: value }),
  });
  const width = number({
    stops: STOPS.head_dim, label: "head_dim", what: "D",
    limits: first.limits.head_dim, onset: (value) => set({ head_dim: value }),
  });
  const scale = radios({ legend: "Scale", onchoose: (scaled) => set({ scaled }) });
  const role = radios({
    legend: "A key hands over", onchoose: (value_is_key) => set({ value_is_key }),
  });
  const why = h("p", { class: "hint wide" });
  const sum = h("div", { class: "sum wide" });
  const live = announcer();

  const root = h(
    "section",
    { class: "sheet lookup", "aria-label": "Attention as a lookup" },
    h(
      "div",
      { class: "inner" },
      h(
        "div",
        {},
        h("p", { class: "hint" }, "Drag the query, or a key. Arrow keys move what is in focus."),
        plane,
        h("fieldset", {}, h("legend", {}, "Ask"), asked),
        shade,
      ),
      h(
        "div",
        {},
        h("div", { class: "headline" }, what, swatch, answer),
        table,
        h("div", { class: "stats" }, h("div", { class: "stat" }, reads, readsOf), gradient),
        temperature.root,
        width.root,
      ),
      h("div", { class: "choices wide" }, scale.root, role.root, why),
      sum,
    ),
    live.node,
  );
  const staged = stage(root, CSS);

  let keyGrips = [];
  /** As many grips and rows as there are keys; they stay while the number of keys does. */
  function match(state) {
    if (keyGrips.length === state.key_points.length) return;
    keyGrips.forEach((each) => each.root.remove());
    keyGrips = state.key_points.map((_, i) =>
      grip({
        className: "key", face: mark(i, state.palette[i]), reach,
        onmove: (place) => set({ key_points: get().key_points.map((key, k) => (k === i ? place : key)) }),
      }),
    );
    plane.append(...keyGrips.map((each) => each.root), queryGrip.root);
    rows.replaceChildren(
      ...state.key_points.map((_, i) =>
        h(
          "tr",
          {},
          h("th", { scope: "row" }, h("span", {}, mark(i, state.palette[i]), h("span"))),
          h("td"),
          h(
            "td",
            { class: "weight" },
            h(
              "div",
              { class: "bar" },
              h(
                "div",
                { class: "track" },
                h("i", { style: `background:${state.palette[i]}` }),
              ),
              h("span"),
            ),
          ),
          h("td"),
        ),
      ),
    );
  }

  function update() {
    const state = get();
    const scores = scoresOf(state);
    const weights = softmax(scores);
    const lead = weights.indexOf(Math.max(...weights));
    const [, right, , top] = state.axes;
    const place = (point) => `${right} ${short(point[0])}, ${top} ${short(point[1])}`;
    const money = (value) => `${short(value)} ${state.unit}`.trim();
    const out = state.value_is_key
      ? `(${mixKeys(weights, state.key_points).map(short).join(", ")})`
      : money(mix(weights, state.values));

    match(state);
    drawField(field, over, state, weights);
    sides.forEach((side, i) => {
      side.textContent = state.axes[i];
    });
    plane.setAttribute("aria-label", `Plane: ${right} to the right, ${top} to the top`);
    queryGrip.update(
      state.query,
      "query",
      `${place(state.query)}; most weight on ${state.labels[lead]}, ${shareText(weights[lead])}`,
    );
    keyGrips.forEach((each, i) => {
      const words = `${place(state.key_points[i])}; weight ${shareText(weights[i])}`;
      each.update(state.key_points[i], state.labels[i], words);
    });

    if (asked.children.length === 0) {
      asked.append(
        ...QUESTIONS.map(([name, ask]) =>
          h("button", { type: "button", onclick: () => set({ query: ask(get().key_points) }) }, name),
        ),
      );
    }
    [...asked.children].forEach((button, i) => {
      const same = String(QUESTIONS[i][1](state.key_points)) === String(state.query);
      button.setAttribute("aria-pressed", String(same));
    });
    shade.textContent = state.value_is_key
      ? "Shaded: scores below zero. The cross is the output; it cannot leave the dashed line around the keys."
      : "Shaded: scores below zero. The halo of a key grows with its weight.";

    what.textContent = state.value_is_key ? `Output: a point (${right}, ${top})` : "Mixed value";
    swatch.style.background = mixColours(weights, state.palette.slice(0, weights.length));
    answer.textContent = out;
    answer.classList.toggle("long", state.value_is_key);
    swatch.hidden = state.value_is_key;
    valueHead.textContent = "value";
    [...rows.children].forEach((row, i) => {
      row.classList.toggle("lead", i === lead);
      const [name, product, weight, value] = row.children;
      name.firstChild.lastChild.textContent = state.labels[i];
      product.textContent = short(dot(state.query, state.key_points[i]));
      const [track, text] = weight.firstChild.children;
      track.firstChild.style.width = `${100 * weights[i]}%`;
      text.textContent = shareText(weights[i]);
      value.textContent = state.value_is_key ? "its key" : money(state.values[i]);
    });

    reads.textContent = effectiveKeys(weights).toFixed(2);
    readsOf.textContent = `of ${plural(weights.length, "key")} read, in effect`;
    const through = letThrough(weights);
    const stuck = through < 0.05;
    passes.textContent = shareText(through);
    passesWhat.textContent = stuck
      ? "gradient through the softmax: next to nothing can be learnt"
      : "gradient through the softmax (equal weights: 100 %)";
    gradient.classList.toggle("warn", stuck);

    temperature.update(state.temperature, `temperature ${state.temperature}`);
    const spread = short(Math.sqrt(state.head_dim / 2));
    width.update(
      state.head_dim,
      plural(state.head_dim, "dimension"),
      state.scaled ? "D; the scale undoes its effect" : `D; scores spread ${spread} times as wide`,
    );
    scale.update(
      [
        { value: true, title: "÷ √head_dim", detail: "as in the formula" },
        { value: false, title: "none", detail: "dot products as they are" },
      ],
      state.scaled,
    );
    role.update(
      [
        { value: false, title: "its number", detail: state.unit },
        { value: true, title: "itself", detail: "the value is the key" },
      ],
      state.value_is_key,
    );
    why.textContent =
      "The plane has two dimensions. In D of them two random vectors are each √(D/2) times as long, " +
      "and nearer to a right angle; together, their dot product spreads √(D/2) times as wide. The " +
      "picture stays flat, and every dot product is multiplied by that before it is scaled.";
    sum.replaceChildren(...workedOut(state, scores, weights, out));

    live.follow(
      `Most weight on ${state.labels[lead]}, ${shareText(weights[lead])}. Output ${out}. ` +
        `In effect ${short(effectiveKeys(weights))} of ${plural(weights.length, "key")} read.`,
    );
  }

  const unfollow = follow(model, STATE, update);
  update();
  el.append(staged.host);

  return () => {
    unfollow();
    live.hush();
    staged.remove();
  };
}

export default { render };
