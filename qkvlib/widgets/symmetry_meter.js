// SymmetryMeter: drag keys in the plane, and see which token can prefer which.
//
// An ES module in the anywidget protocol, self-contained once _shared.js is put in front of it. Tokens,
// names of variants and limits come from Python through the state; the numbers are computed here,
// as the Python class computes them.

// ---------------------------------------------------------------------------------------- numbers

const MARGIN = 1e-9; // smaller differences come from rounding

const indices = (n) => Array.from({ length: n }, (_, i) => i);
const grid = (n, at) => indices(n).map((i) => indices(n).map((j) => at(i, j)));
const norm = (rows) => Math.sqrt(rows.flat().reduce((sum, x) => sum + x * x, 0));

/** The entry of `state.variants` that is switched on. */
export function variantOf(state) {
  return state.variants.find((v) => v.name === state.variant);
}

/** Scores, a row for each token that looks, after (X)+ if that is on; head_dim is 2. */
export function scoresOf(state) {
  const variant = variantOf(state);
  const keys = state.key_points;
  const queries = variant.ties_query ? keys : state.query_points;
  const n = keys.length;
  const dot = ([a, b], [c, d]) => (a * c + b * d) / Math.SQRT2;
  if (!variant.plus) return grid(n, (i, j) => dot(queries[i], keys[j]));
  const ramp = indices(n).map((i) => (2 * i) / (n - 1) - 1);
  return grid(
    n,
    (i, j) => state.gain * dot(queries[i], keys[j]) + state.row * ramp[i] + state.column * ramp[j],
  );
}

/** The softmax of scores over each row. */
export function weightsOf(scores) {
  return scores.map((row) => {
    const highest = Math.max(...row);
    const powers = row.map((s) => Math.exp(s - highest));
    const sum = powers.reduce((a, b) => a + b, 0);
    return powers.map((power) => power / sum);
  });
}

/** The asymmetry ‖S − Sᵀ‖ / ‖S‖ and its parts: what one height per place explains, and the rest. */
export function asymmetryOf(scores) {
  const n = scores.length;
  const size = Math.max(norm(scores), 1e-30);
  const lean = grid(n, (i, j) => scores[i][j] - scores[j][i]);
  const height = indices(n).map((j) => lean.reduce((sum, row) => sum + row[j], 0) / n);
  const pull = norm(grid(n, (i, j) => height[j] - height[i])) / size;
  const flow = norm(grid(n, (i, j) => lean[i][j] - (height[j] - height[i]))) / size;
  return { pull, flow, all: Math.hypot(pull, flow) };
}

/** The most uneven round trip of three tokens, and how many times as likely it is as backwards. */
export function roundTripOf(scores) {
  const n = scores.length;
  let best = [0, 1, 2];
  let most = 0;
  for (let i = 0; i < n; i++) {
    for (let j = i + 1; j < n; j++) {
      for (let k = j + 1; k < n; k++) {
        const there = scores[i][j] + scores[j][k] + scores[k][i];
        const back = scores[i][k] + scores[k][j] + scores[j][i];
        if (Math.abs(there - back) > Math.abs(most) + MARGIN) {
          best = [i, j, k];
          most = there - back;
        }
      }
    }
  }
  const [i, j, k] = best;
  return { places: most >= 0 ? [i, j, k] : [i, k, j], times: Math.exp(Math.abs(most)) };
}

/** Whether the first token prefers the second over itself, and the second the first. */
export function prefersOf([[aa, ab], [ba, bb]]) {
  return [ab > aa + MARGIN, ba > bb + MARGIN];
}

/** What the first two score with themselves, less what they score with each other. */
export function balanceOf([[aa, ab], [ba, bb]]) {
  return aa + bb - ab - ba;
}

// ---------------------------------------------------------------------------------------- as text

/** 1.234 -> "1.23", -12.34 -> "−12.3": two decimals below ten, one above. */
export function short(x) {
  const text = fixed(Math.abs(x), Math.abs(x) < 9.995 ? 2 : 1);
  return x < 0 && Number(text) !== 0 ? `−${text}` : text;
}

/** What to say of the most uneven round trip; a number too large to mean much is cut short. */
export function tripText({ places, times }, labels) {
  if (times < 1 + MARGIN) {
    return "Every round trip is exactly as likely as the same backwards: nothing flows.";
  }
  const round = [...places, places[0]].map((i) => labels[i]).join("→");
  if (times < 1.005) return `The round trip ${round} is hardly more likely than backwards.`;
  const many = times > 10_000 ? "over 10,000" : times < 100 ? short(times) : formatCount(Math.round(times));
  return `The round trip ${round} is ${many} times as likely as backwards.`;
}

/** What to say about the wishes, in a sentence or two. */
export function verdict(state) {
  const variant = variantOf(state);
  const [a, b] = state.labels;
  const wishes = prefersOf(scoresOf(state));
  const both = wishes[0] && wishes[1];
  if (!variant.ties_query) {
    return both
      ? "Both at once: each asks for the other with a query of its own."
      : `Each token has a query of its own. Let ${a}’s point to the key of ${b}, and ${b}’s to that of ${a}.`;
  }
  if (variant.plus && state.gain < 0) {
    return both
      ? "Both, because the gain is below zero: now the least alike scores highest. Even so, nothing flows."
      : `Below zero the gain turns likes round: the least alike scores highest. Pull ${a} and ${b} apart.`;
  }
  const apart = "|k\u00a0−\u00a0k′|²\u00a0÷\u00a0√2";
  const never = variant.plus ? `gain × ${apart}` : apart;
  const law =
    `The sum above is ${never}, for the keys of ${a} and ${b}: never below zero, so never both.` +
    (variant.plus ? " The terms of the places have cancelled." : "");
  if (!wishes[0] && !wishes[1]) {
    return `${law} One wish can be had: make one key longer, in nearly the same direction.`;
  }
  const one = wishes[0] ? 0 : 1;
  const [own, other] = [one, 1 - one].map((i) => Math.hypot(...state.key_points[i]));
  const [who, whom] = [state.labels[one], state.labels[1 - one]];
  const lengths =
    short(own) === short(other) ? "by a hair" : `${short(other)} against ${short(own)}`;
  const why =
    other > own
      ? `the key of ${whom} is longer, ${lengths}`
      : "the column term favours its place";
  return `${who} prefers ${whom}: ${why}. ${law}`;
}

// ------------------------------------------------------------------------------------------- style

const CSS = `
.symmetry { --tint: #56b4e9; --grid: #dfe5ec; --ink: #1c2530; --paper: #ffffff; }
.symmetry[data-theme="dark"] { --tint: #2f7fae; --grid: #2b343f; --ink: #e6ebf1; --paper: #171c23; }
.inner { display: grid; gap: 18px 28px; padding: 16px; grid-template-columns: minmax(0, 1fr);
  grid-template-areas: "kind" "points" "answers" "maps" "plus"; }
.inner > * { min-width: 0; display: grid; gap: 14px; align-content: start; }
.kind { grid-area: kind; } .points { grid-area: points; }
.answers { grid-area: answers; } .maps { grid-area: maps; } .plus { grid-area: plus; }
@container (min-width: 680px) {
  .inner { padding: 20px 22px; grid-template-columns: minmax(0, 6fr) minmax(0, 7fr);
    grid-template-areas: "kind kind" "points answers" "maps maps"; }
  .inner.sliders { grid-template-areas: "kind kind" "points answers" "plus maps"; }
}
.kind .options { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); }
.kind .face { border-top: 5px solid var(--swatch); padding: 4px 6px; }
.top { display: flex; flex-wrap: wrap; align-items: center; justify-content: space-between; gap: 8px; }
.top p { flex: 1 1 160px; }

.plane { position: relative; aspect-ratio: 1; border: 1px solid var(--line); border-radius: 10px;
  touch-action: manipulation; user-select: none; -webkit-user-select: none; }
.plane svg { position: absolute; inset: 0; width: 100%; height: 100%; }
.plane .grid { stroke: var(--grid); stroke-width: .015; }
.plane .axis { stroke: var(--edge); stroke-width: .02; }
.plane .ray { stroke: var(--edge); stroke-width: .035; }
.plane .ray.query { stroke-dasharray: .1 .08; }
.plane .apart { stroke: var(--warn-line); stroke-width: .05; stroke-dasharray: .02 .1; stroke-linecap: round; }
.grip { position: absolute; width: 36px; height: 36px; margin: -18px; display: grid;
  place-items: center; border-radius: 50%; cursor: grab; touch-action: none; }
.grip:active { cursor: grabbing; }
.grip:focus-visible { outline: 3px solid var(--accent); outline-offset: 0; }
.grip b { position: relative; font-weight: 650; font-size: 14px; line-height: 1; color: var(--paper); }
.grip::before { content: ""; position: absolute; inset: 6px; background: var(--ink); border-radius: 50%; }
.grip.query b { color: var(--ink); }
.grip.query::before { inset: 8px; border-radius: 3px; transform: rotate(45deg);
  background: var(--paper); box-shadow: 0 0 0 2px var(--ink); }
.grip.query { z-index: 1; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 16px; }
.legend span { display: inline-flex; align-items: center; gap: 7px; }
.legend i { width: 13px; height: 13px; border-radius: 50%; background: var(--ink); flex: none; }
.legend .ask { width: 11px; height: 11px; border-radius: 2px; background: var(--paper);
  box-shadow: 0 0 0 2px var(--ink); transform: rotate(45deg); margin: 0 2px; }

.task { border-radius: 10px; background: var(--soft); padding: 12px 14px; display: grid; gap: 8px; }
.task ul { list-style: none; margin: 0; padding: 0; display: grid; gap: 4px; }
.task li { display: flex; flex-wrap: wrap; align-items: baseline; gap: 0 8px; }
.task .tick { font-weight: 700; text-align: center; width: 18px; }
.task li small { margin-left: auto; }
.task li.done b { text-decoration: underline; text-decoration-thickness: 2px; text-underline-offset: 3px; }
.task li b { font-weight: 600; }
.task small, .task .sum { font-variant-numeric: tabular-nums; }
.task .sum { border-top: 1px solid var(--line); padding-top: 8px; font-size: 14px; }
.task .sum b { font-weight: 650; white-space: nowrap; }
.task .said { font-size: 14px; }

.maps { display: grid; gap: 14px 18px;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, calc(var(--n) * 42px + 26px)), 1fr)); }
table { border-collapse: separate; border-spacing: 2px; width: 100%; table-layout: fixed;
  font-variant-numeric: tabular-nums; font-size: 13px; }
caption { text-align: left; font-weight: 600; font-size: 14px; padding-bottom: 4px; }
caption small { font-weight: 400; }
thead td, th { width: 22px; }
th { font-weight: 600; color: var(--muted); padding: 2px; }
thead th { width: auto; }
td.cell { text-align: center; padding: 6px 0; border-radius: 4px; white-space: nowrap;
  background: color-mix(in srgb, var(--tint) calc(var(--p) * 70%), var(--bg)); }
td.cell.most { box-shadow: inset 0 0 0 2px var(--ink); font-weight: 650; }

.meters { display: grid; gap: 6px; }
.meter { display: grid; grid-template-columns: 86px minmax(0, 1fr) 44px; align-items: center; gap: 8px; }
.meter span { font-weight: 600; font-size: 14px; }
.meter.part span { font-weight: 400; padding-left: 12px; }
.meter output { text-align: right; font-variant-numeric: tabular-nums; font-weight: 650; }
.track { height: 14px; border-radius: 4px; background: var(--soft); box-shadow: inset 0 0 0 1px var(--line);
  overflow: hidden; }
.track i { display: block; height: 100%; background: var(--accent); transition: width .2s ease; }
.part .track { height: 8px; }

.plus:not([hidden]) { display: grid; gap: 10px; }
.signed { display: grid; grid-template-columns: minmax(0, 1fr) auto; gap: 0 8px; align-items: baseline; }
.signed output { font-variant-numeric: tabular-nums; font-weight: 650; }
.signed input { grid-column: 1 / -1; width: 100%; margin: 0; height: 28px; accent-color: var(--accent);
  cursor: pointer; }
@media (pointer: coarse) {
  .grip { width: 44px; height: 44px; margin: -22px; }
  .grip::before { inset: 9px; } .grip.query::before { inset: 11px; }
  .signed input { height: 44px; }
}
@media (forced-colors: active) {
  .grip::before, .track i, .legend i, td.cell { forced-color-adjust: none; }
}
`;

// --------------------------------------------------------------------------------------------- view

const STATE = [
  "variant", "labels", "key_points", "query_points", "gain", "row", "column", "variants", "limits",
];
const EDGE = 0.3; // of the plane, around what can be reached

/** A point that is dragged by mouse, finger or arrow keys; `onmove` gets its new place. */
function grip({ kind, reach, onmove }) {
  const letter = h("b", { "aria-hidden": "true" });
  const root = h(
    "div",
    {
      class: `grip ${kind}`, role: "slider", tabindex: 0,
      "aria-valuemin": -reach, "aria-valuemax": reach,
    },
    letter,
  );
  const size = 2 * (reach + EDGE);
  let at = [0, 0];
  let held = null; // where in the grip it was taken, in pixels
  const move = (point, step) => {
    const kept = point.map((x) => {
      const inside = Math.min(reach, Math.max(-reach, x));
      return Math.round(Math.round(inside / step) * step * 100) / 100 || 0;
    });
    if (kept[0] !== at[0] || kept[1] !== at[1]) onmove(kept);
  };
  root.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault();
    root.setPointerCapture(event.pointerId);
    root.focus({ preventScroll: true });
    const box = root.getBoundingClientRect();
    held = [event.clientX - box.left - box.width / 2, event.clientY - box.top - box.height / 2];
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
    update(point, label, name, words) {
      at = point;
      root.style.left = `${50 + (100 * point[0]) / size}%`;
      root.style.top = `${50 - (100 * point[1]) / size}%`;
      letter.textContent = label.slice(0, 2);
      root.setAttribute("aria-label", name);
      root.setAttribute("aria-valuenow", point[0]);
      root.setAttribute("aria-valuetext", words);
    },
  };
}

/** A slider that goes below zero. */
function signed({ label, hint, limits, onset }) {
  const id = `signed-${Math.random().toString(36).slice(2)}`;
  const shown = h("output", { for: id });
  const slider = h("input", {
    type: "range", id, min: limits[0], max: limits[1], step: 0.1,
    oninput: () => onset(Number(slider.value)),
  });
  return {
    root: h(
      "div",
      { class: "signed" },
      h("span", {}, h("label", { class: "label", for: id }, label), " ", h("span", { class: "hint" }, hint)),
      shown,
      slider,
    ),
    update(value) {
      // Rewriting the slider under the pointer would fight it.
      if (Number(slider.value) !== value) slider.value = value;
      shown.textContent = short(value);
    },
  };
}

/** Lines under the grips: the grid, a ray to each point, and what lies between the first two keys. */
function drawPlane(svg, state, reach) {
  const edge = reach + EDGE;
  const line = (kind, [x1, y1], [x2, y2]) =>
    h("line", { class: kind, x1, y1: -y1, x2, y2: -y2 });
  const parts = [];
  for (let i = -Math.floor(reach); i <= reach; i++) {
    const kind = i === 0 ? "axis" : "grid";
    parts.push(line(kind, [i, -edge], [i, edge]), line(kind, [-edge, i], [edge, i]));
  }
  for (const key of state.key_points) parts.push(line("ray", [0, 0], key));
  if (variantOf(state).ties_query) {
    parts.push(line("apart", state.key_points[0], state.key_points[1]));
  } else {
    for (const query of state.query_points) parts.push(line("ray query", [0, 0], query));
  }
  svg.replaceChildren(...parts);
}

/** A map as a table; darker is more, within the map's own range. */
function mapTable(title, hint) {
  const head = h("tr");
  const body = h("tbody");
  const root = h(
    "table",
    {},
    h("caption", {}, title, " ", h("small", {}, hint)),
    h("thead", {}, head),
    body,
  );
  return {
    root,
    update(labels, rows, write, range) {
      const low = range?.[0] ?? Math.min(...rows.flat());
      const high = range?.[1] ?? Math.max(...rows.flat());
      head.replaceChildren(h("td"), ...labels.map((label) => h("th", { scope: "col" }, label)));
      body.replaceChildren(
        ...rows.map((row, i) =>
          h(
            "tr",
            {},
            h("th", { scope: "row" }, labels[i]),
            ...row.map((x) => {
              const share = high > low ? (x - low) / (high - low) : 0;
              const most = x > Math.max(...row) - MARGIN;
              return h(
                "td",
                { class: most ? "cell most" : "cell", style: `--p:${share.toFixed(3)}` },
                write(x),
              );
            }),
          ),
        ),
      );
    },
  };
}

/** One bar from 0 to 2 with its number. */
function bar(label, part) {
  const fill = h("i");
  const shown = h("output");
  const root = h(
    "div",
    { class: part ? "meter part" : "meter" },
    h("span", {}, label),
    h("div", { class: "track", "aria-hidden": "true" }, fill),
    shown,
  );
  return {
    root,
    update(value) {
      fill.style.width = `${Math.min(100, 50 * value)}%`;
      shown.textContent = short(value);
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
  const [, reach] = first.limits.reach;
  const edge = reach + EDGE;

  const variant = radios({ legend: "Scores from", onchoose: (name) => set({ variant: name }) });
  const reset = h(
    "button",
    {
      type: "button",
      onclick: () => {
        const { labels, key_points, query_points, gain, row, column } = first;
        set({ labels, key_points, query_points, gain, row, column });
      },
    },
    "Start again",
  );
  const svg = h("svg", {
    viewBox: `${-edge} ${-edge} ${2 * edge} ${2 * edge}`, "aria-hidden": "true",
  });
  const plane = h("div", { class: "plane", role: "group", "aria-label": "Keys and queries" }, svg);
  const asks = h("span", {}, h("i", { class: "ask" }), "query");
  const own = h("span", {}, "A key is its own query.");
  const legend = h(
    "p",
    { class: "hint legend" },
    h("span", {}, h("i"), "key"), asks, own,
  );
  const part = (name, label, hint) =>
    signed({ label, hint, limits: first.limits[name], onset: (value) => set({ [name]: value }) });
  const parts = {
    gain: part("gain", "Gain", "of the scores"),
    column: part("column", "Column term", "pulls to the first place (−) or the last (+)"),
    row: part("row", "Row term", "of the place that looks. Move it and watch the weights"),
  };
  const plus = h(
    "fieldset",
    { class: "plus" },
    h("legend", {}, "(X)+"),
    ...Object.values(parts).map((each) => each.root),
  );

  const question = h("p", { class: "label" });
  const wishes = indices(2).map(() => {
    const tick = h("span", { class: "tick", "aria-hidden": "true" });
    const text = h("b");
    const state = h("span", { class: "quiet" });
    const sizes = h("small");
    return { root: h("li", {}, tick, h("span", {}, text, state), sizes), tick, text, state, sizes };
  });
  const sum = h("p", { class: "sum" });
  const said = h("p", { class: "said" });
  const scoresTable = mapTable("Scores", "row looks at column");
  const weightsTable = mapTable("Weights", "softmax of each row");
  const maps = h("div", { class: "maps" }, scoresTable.root, weightsTable.root);
  const bars = { all: bar("Asymmetry"), pull: bar("pull", true), flow: bar("flow", true) };
  const trip = h("p", { class: "hint" });
  const live = announcer();

  const inner = h(
    "div",
    { class: "inner" },
    h("div", { class: "kind" }, variant.root),
    h(
      "div",
      { class: "points" },
      h(
        "div",
        { class: "top" },
        h("p", { class: "hint" }, "Drag a point, or move the one in focus with the arrow keys."),
        reset,
      ),
      plane, legend,
    ),
    h(
      "div",
      { class: "answers" },
      h(
        "div",
        { class: "task" },
        question,
        h("ul", { role: "list" }, ...wishes.map((wish) => wish.root)),
        sum, said,
      ),
      h("div", { class: "meters" }, ...Object.values(bars).map((each) => each.root), trip),
    ),
    maps,
    plus,
  );
  const root = h(
    "section",
    { class: "sheet symmetry", "aria-label": "Symmetry meter" },
    inner,
    live.node,
  );
  const staged = stage(root, CSS);

  let grips = { key_points: [], query_points: [] };
  /** As many grips as there are tokens; they stay while that number does. */
  function match(state) {
    const n = state.labels.length;
    if (grips.key_points.length === n) return;
    Object.values(grips).flat().forEach((each) => each.root.remove());
    const make = (name, kind) =>
      indices(n).map((i) =>
        grip({
          kind,
          reach,
          onmove: (place) => set({ [name]: get()[name].map((point, k) => (k === i ? place : point)) }),
        }),
      );
    grips = { key_points: make("key_points", "key"), query_points: make("query_points", "query") };
    // Key and query of a token follow each other, for those who walk by keyboard.
    indices(n).forEach((i) => plane.append(grips.key_points[i].root, grips.query_points[i].root));
  }

  function update() {
    const state = get();
    const chosen = variantOf(state);
    const scores = scoresOf(state);
    const weights = weightsOf(scores);
    const { labels } = state;
    const [a, b] = labels;

    variant.update(
      state.variants.map((v) => ({
        value: v.name, title: v.name, detail: v.tuple_form, swatch: v.colour,
      })),
      state.variant,
    );
    match(state);
    drawPlane(svg, state, reach);
    labels.forEach((label, i) => {
      const most = labels[weights[i].indexOf(Math.max(...weights[i]))];
      const place = ([x, y]) => `${short(x)} across, ${short(y)} up`;
      const looks = `looks most at ${most}, ${formatShare(Math.max(...weights[i]))}`;
      grips.key_points[i].update(
        state.key_points[i], label, `key of ${label}`, `${place(state.key_points[i])}; ${looks}`,
      );
      const query = grips.query_points[i];
      query.root.hidden = chosen.ties_query;
      query.update(
        state.query_points[i], label, `query of ${label}`, `${place(state.query_points[i])}; ${looks}`,
      );
    });
    asks.hidden = chosen.ties_query;
    own.hidden = !chosen.ties_query;
    plus.hidden = !chosen.plus;
    inner.classList.toggle("sliders", chosen.plus);
    for (const [name, each] of Object.entries(parts)) each.update(state[name]);

    question.textContent = `Can ${a} and ${b} each prefer the other over itself?`;
    const wished = prefersOf(scores);
    wishes.forEach((wish, i) => {
      const [who, whom] = [labels[i], labels[1 - i]];
      const [self, other] = [scores[i][i], scores[i][1 - i]];
      wish.root.classList.toggle("done", wished[i]);
      wish.tick.textContent = wished[i] ? "✓" : "○";
      wish.text.textContent = `${who} prefers ${whom}`;
      wish.state.textContent = wished[i] ? " (yes)" : " (not yet)";
      const sign = wished[i] ? ">" : other < self - MARGIN ? "<" : "=";
      wish.sizes.textContent = `score ${short(other)} ${sign} ${short(self)} with itself`;
    });
    const [[aa, ab], [ba, bb]] = scores;
    // A sign stays with what follows it, so that a broken line starts with its sign.
    const minus = (x) => (x < 0 ? `−\u00a0(${short(x)})` : `−\u00a0${short(x)}`);
    sum.replaceChildren(
      "Scores with themselves, less scores with each other: ",
      `${short(aa)} +\u00a0${bb < 0 ? `(${short(bb)})` : short(bb)} ${minus(ab)} ${minus(ba)} `,
      h("b", {}, `=\u00a0${short(balanceOf(scores))}`),
    );
    said.textContent = verdict(state);

    maps.style.setProperty("--n", String(labels.length));
    scoresTable.update(labels, scores, short);
    weightsTable.update(labels, weights, (x) => fixed(x, 2), [0, 1]);
    const asymmetry = asymmetryOf(scores);
    for (const [name, each] of Object.entries(bars)) each.update(asymmetry[name]);
    trip.textContent = tripText(roundTripOf(scores), labels);

    const [one, two] = wished.map((yes, i) =>
      `${labels[i]} ${yes ? "prefers" : "does not prefer"} ${labels[1 - i]}`,
    );
    live.follow(
      `${one}; ${two}. Asymmetry ${short(asymmetry.all)}, pull ${short(asymmetry.pull)}, ` +
        `flow ${short(asymmetry.flow)}.`,
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
