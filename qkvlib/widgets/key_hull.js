// KeyHull: drag keys, values and a query in the plane, and see where the output can go.
//
// An ES module in the anywidget protocol, self-contained once _shared.js is put in front of it. The
// points, the sharings and the tasks come from Python through the state; what follows from them is
// computed here, by the formulas of qkvlib/hull.py and qkvlib/widgets/key_hull.py.

// ---------------------------------------------------------------------------------------- geometry

/** Above zero if the way from a over b to c turns left. */
const turn = (a, b, c) => (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]);

/** The corners of the convex hull, counter-clockwise from the leftmost on. */
export function hullOf(points) {
  const before = (a, b) => a[0] - b[0] || a[1] - b[1];
  const ordered = [...points].sort(before).filter((p, i, all) => i === 0 || before(all[i - 1], p));
  if (ordered.length < 3) return ordered;
  const chain = (list) => {
    const kept = [];
    for (const point of list) {
      while (kept.length >= 2 && turn(kept.at(-2), kept.at(-1), point) <= 0) kept.pop();
      kept.push(point);
    }
    return kept;
  };
  return [...chain(ordered).slice(0, -1), ...chain([...ordered].reverse()).slice(0, -1)];
}

function toSegment([x, y], a, b) {
  const along = [b[0] - a[0], b[1] - a[1]];
  const length = along[0] ** 2 + along[1] ** 2;
  let share = 0;
  if (length > 0) {
    share = ((x - a[0]) * along[0] + (y - a[1]) * along[1]) / length;
    share = Math.min(1, Math.max(0, share));
  }
  return Math.hypot(x - (a[0] + share * along[0]), y - (a[1] + share * along[1]));
}

/** Distance of a point from a hull; 0 inside. */
export function distanceTo(point, hull) {
  const edges = hull.map((corner, i) => [corner, hull[(i + 1) % hull.length]]);
  if (hull.length > 2 && edges.every(([a, b]) => turn(a, b, point) >= 0)) return 0;
  return Math.min(...edges.map(([a, b]) => toSegment(point, a, b)));
}

// --------------------------------------------------------------------------------------- attention

const TOUCH = 1e-9; // distance from a hull that rounding alone can make

/** The entry of `state.sharings` that is switched on. */
export const sharingOf = (state) => state.sharings.find((s) => s.name === state.sharing);

/** The points that are mixed: the keys themselves where they are tied. */
export const valuesOf = (state) => (sharingOf(state).tied ? state.key_points : state.value_points);

/** Softmax of query · key / √2. */
export function weightsOf({ query, key_points: keys }) {
  const scores = keys.map(([x, y]) => (query[0] * x + query[1] * y) / Math.SQRT2);
  const highest = Math.max(...scores);
  const powers = scores.map((score) => Math.exp(score - highest));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

/** Weights, output, hulls, and the distances between them. */
export function readingOf(state) {
  const weights = weightsOf(state);
  const values = valuesOf(state);
  const mixed = (axis) => weights.reduce((sum, w, i) => sum + w * values[i][axis], 0);
  const output = [mixed(0), mixed(1)];
  const keyHull = hullOf(state.key_points);
  const valueHull = hullOf(values);
  const [x, y] = state.target;
  return {
    weights,
    output,
    keyHull,
    valueHull,
    distances: {
      output_keys: distanceTo(output, keyHull),
      output_values: distanceTo(output, valueHull),
      star_values: distanceTo(state.target, valueHull),
      output_star: Math.hypot(output[0] - x, output[1] - y),
    },
  };
}

const written = (x) => {
  const text = x.toFixed(2);
  return text === "-0.00" ? "0.00" : text.replace("-", "−");
};
const place = ([x, y]) => `(${written(x)}, ${written(y)})`;

/** What there is to say: where the output lies, how far the star is, whether it can be reached. */
export function wordsOf(state, { output, distances: far } = readingOf(state)) {
  const { tied } = sharingOf(state);
  const inside = far.output_keys <= TOUCH;
  const reachable = far.star_values <= state.near;
  const hit = far.output_star <= state.near;
  return {
    inside,
    hit,
    where: `Output ${place(output)}: ${inside ? "inside" : "outside"} the hull of the keys.`,
    why: tied
      ? "It is a weighted mean of the keys, so it cannot be anywhere else."
      : "It is a weighted mean of the values, so it is inside the hull of those.",
    star: hit
      ? "The output is on the star."
      : `${written(far.output_star)} from the star. ` +
        (tied
          ? reachable
            ? "The star lies in the hull of the keys: a query can reach it."
            : "The star lies outside that hull: as long as values are keys, no query reaches it."
          : reachable
            ? "The star lies in the hull of the values."
            : "The star lies outside the hull of the values: move a value beyond it."),
  };
}

// ----------------------------------------------------------------------------------------- changes

// Where a fifth and a sixth key appear, each with its value.
const SPARE = [
  { key: [0.2, -2.8], value: [0.4, 3.2] },
  { key: [-3.1, 2.6], value: [-0.6, -0.8] },
];
export const COUNTS = [4, 5, 6];

/** The change that makes it n keys, each with its value; those that are there stay. */
export function withCount({ key_points: keys, value_points: values }, n) {
  const more = SPARE.slice(keys.length - COUNTS[0]);
  return {
    key_points: [...keys, ...more.map((each) => each.key)].slice(0, n),
    value_points: [...values, ...more.map((each) => each.value)].slice(0, n),
  };
}

/** The change that moves one point, within reach and to a hundredth. */
export function moved(state, { kind, index }, point) {
  const held = point.map((x) => {
    const near = Math.round(Math.min(state.reach, Math.max(-state.reach, x)) * 100) / 100;
    return near || 0; // no -0
  });
  if (index === undefined) return { [kind]: held };
  return { [kind]: state[kind].map((old, i) => (i === index ? held : old)) };
}

// ------------------------------------------------------------------------------------------- style

const CSS = `
.hull { --k: #0072b2; --v: #d55e00; --star: #e69f00; --ink: #ffffff; }
.inner { display: grid; gap: 16px 26px; padding: 16px; grid-template-columns: minmax(0, 1fr);
  grid-template-areas: "top" "field" "read" "more"; }
.top { grid-area: top; } .field { grid-area: field; } .read { grid-area: read; } .more { grid-area: more; }
.top, .read, .more { display: grid; gap: 14px; align-content: start; min-width: 0; }
@container (min-width: 700px) {
  .inner { padding: 20px 22px; grid-template-columns: minmax(0, 1fr) minmax(270px, 44%);
    grid-template-rows: auto 1fr; grid-template-areas: "field top" "field read" "more more"; }
  .more { border-top: 1px solid var(--line); padding-top: 14px; }
}
.task { margin-top: 8px; }
.plane { position: relative; width: 100%; max-width: 520px; aspect-ratio: 1; margin: 0 auto;
  border: 1px solid var(--line); border-radius: 10px; background: var(--soft); overflow: hidden;
  user-select: none; -webkit-user-select: none; }
.plane svg { position: absolute; inset: 0; width: 100%; height: 100%; display: block; }
.plane line, .plane polygon { vector-effect: non-scaling-stroke; }
.grid { stroke: var(--line); stroke-width: 1; }
.axis { stroke: var(--edge); stroke-width: 1; }
.keyhull { fill: var(--k); fill-opacity: .16; stroke: var(--k); stroke-width: 1.5; stroke-linejoin: round; }
.valuehull { fill: var(--v); fill-opacity: .1; stroke: var(--v); stroke-width: 1.5; stroke-dasharray: 6 4;
  stroke-linejoin: round; }
.pull { stroke: var(--out); stroke-linecap: round; }
.arrow { stroke: var(--fg); stroke-width: 2; }

.handle { position: absolute; width: 44px; height: 44px; min-width: 0; min-height: 0; margin: -22px 0 0 -22px;
  padding: 0; border: 0; border-radius: 50%; background: none; display: grid; place-items: center;
  touch-action: none; cursor: grab; z-index: 1; }
.handle.query, .handle.target { z-index: 2; }
.handle:focus-visible { outline-offset: -6px; z-index: 3; }
.dragging .handle { cursor: grabbing; }
.dot { width: 24px; height: 24px; display: grid; place-items: center; font-size: 13px; font-weight: 700;
  line-height: 1; font-variant-numeric: tabular-nums; }
.key_points .dot { border-radius: 50%; background: var(--k); color: var(--ink); }
.value_points .dot { border-radius: 4px; background: var(--v); color: #000; }
/* One point that is both: a key with a value's rim. */
.tied .key_points .dot { box-shadow: 0 0 0 4px var(--bg), 0 0 0 7px var(--v); }
.query .dot { border-radius: 50%; background: var(--bg); color: var(--fg); border: 2px solid var(--fg); }
.target .dot { color: var(--star); }
.target svg { position: static; width: 28px; height: 28px; overflow: visible; }
.target polygon { fill: var(--star); stroke: var(--fg); stroke-width: 1.5; stroke-linejoin: round; }
.out { position: absolute; width: 18px; height: 18px; margin: -9px 0 0 -9px; border-radius: 3px;
  transform: rotate(45deg); border: 4px solid var(--out); background: var(--bg);
  box-shadow: 0 0 0 2px var(--fg); z-index: 2; pointer-events: none; }

.legend { display: flex; flex-wrap: wrap; justify-content: center; gap: 4px 14px; margin-top: 8px;
  font-size: 13px; color: var(--muted); font-weight: 400; }
.legend span { display: inline-flex; align-items: center; gap: 6px; }
.legend i { width: 13px; height: 13px; display: inline-block; }
.legend .k { border-radius: 50%; background: var(--k); }
.legend .v { border-radius: 3px; background: var(--v); }
.legend .kv { border-radius: 50%; background: var(--k); box-shadow: 0 0 0 1px var(--bg), 0 0 0 3px var(--v);
  width: 9px; height: 9px; margin: 0 2px; }
.legend .o { width: 11px; height: 11px; border-radius: 2px; transform: rotate(45deg);
  border: 3px solid var(--out); background: var(--bg); box-shadow: 0 0 0 1px var(--fg); }
.legend .q { border-radius: 50%; border: 2px solid var(--fg); background: var(--bg); }
.legend .h { background: var(--k); opacity: .35; border-radius: 3px; }
.legend .hv { border: 1.5px dashed var(--v); border-radius: 3px; }

.verdict { padding: 10px 12px; border-radius: 10px; background: var(--soft);
  border-left: 5px solid var(--out); display: grid; gap: 4px; }
.verdict b { font-size: 16px; font-weight: 650; font-variant-numeric: tabular-nums; }
.verdict .hit { font-weight: 650; }
.bars { display: grid; grid-template-columns: auto minmax(0, 1fr) auto; gap: 5px 10px; align-items: center;
  font-size: 14px; font-variant-numeric: tabular-nums; }
.bars .rail { height: 14px; border-radius: 4px; background: var(--soft); overflow: hidden;
  border: 1px solid var(--line); }
.bars .rail i { display: block; height: 100%; background: var(--out); transition: width .15s ease; }
.bars .share { text-align: right; min-width: 56px; }

details { font-size: 14px; }
summary { cursor: pointer; padding: 6px 0; font-weight: 600; }
summary:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; border-radius: 4px; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 2px 14px 2px 0; font-weight: 400; }
thead th { font-weight: 600; }
td input { font: inherit; width: 84px; min-height: 34px; padding: 2px 8px; text-align: right;
  color: var(--fg); background: var(--bg); border: 1px solid var(--edge); border-radius: 8px; }
@media (pointer: coarse) { td input, summary { min-height: 44px; } summary { padding: 12px 0; } }
@media (forced-colors: active) {
  .dot, .out, .legend i, .bars i, .plane svg { forced-color-adjust: none; }
}
`;

// --------------------------------------------------------------------------------------------- view

const STATE = [
  "sharing", "key_points", "value_points", "query", "target", "sharings", "presets", "reach", "near",
];
const MARGIN = 0.45; // room for a handle at the edge of what can be reached

const STAR = Array.from({ length: 10 }, (_, i) => {
  const [r, angle] = [i % 2 ? 5.2 : 12, (Math.PI * i) / 5 - Math.PI / 2];
  return `${(14 + r * Math.cos(angle)).toFixed(2)},${(14 + r * Math.sin(angle)).toFixed(2)}`;
}).join(" ");

const nameOf = ({ kind, index }, tied) => {
  if (kind === "query") return "Query";
  if (kind === "target") return "Star";
  return `${kind === "value_points" ? "Value" : tied ? "Key and value" : "Key"} ${index + 1}`;
};

/** The points that can be moved, in the order in which the Tab key meets them. */
function movable(state) {
  const each = (kind) => state[kind].map((_, index) => ({ kind, index }));
  const values = sharingOf(state).tied ? [] : each("value_points");
  return [{ kind: "query" }, ...each("key_points"), ...values, { kind: "target" }];
}

const pointOf = (state, { kind, index }) => (index === undefined ? state[kind] : state[kind][index]);

/** The plane: hulls, pulls and the arrow in SVG, with a button over every point that moves. */
function plane({ get, set, rest }) {
  const drawing = h("svg", { "aria-hidden": "true" });
  const out = h("span", { class: "out", "aria-hidden": "true" });
  const root = h("div", { class: "plane", role: "application" }, drawing, out);
  let handles = new Map();
  const span = () => 2 * (get().reach + MARGIN);
  const share = (x) => `${(100 * (x + span() / 2)) / span()}%`;
  const put = (node, [x, y]) => {
    node.style.left = share(x);
    node.style.top = share(-y);
  };

  // The handle nearest to the pointer, since handles may overlap.
  let held = null;
  function under(event) {
    const middle = (node) => {
      const box = node.getBoundingClientRect();
      return Math.hypot(
        event.clientX - box.left - box.width / 2,
        event.clientY - box.top - box.height / 2,
      );
    };
    const all = [...handles.values()];
    return all.reduce((best, each) => (middle(each.node) < middle(best.node) ? each : best));
  }
  root.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !event.target.closest(".handle")) return;
    const { what, node } = under(event);
    held = what;
    event.preventDefault();
    node.focus({ focusVisible: false });
    root.setPointerCapture(event.pointerId);
    root.classList.add("dragging");
  });
  root.addEventListener("pointermove", (event) => {
    if (!held) return;
    const box = root.getBoundingClientRect();
    const at = (offset, size) => (offset / size - 0.5) * span();
    set(
      moved(get(), held, [
        at(event.clientX - box.left, box.width),
        -at(event.clientY - box.top, box.height),
      ]),
    );
  });
  const release = () => {
    if (!held) return;
    held = null;
    root.classList.remove("dragging");
    rest();
  };
  for (const type of ["pointerup", "pointercancel", "lostpointercapture"]) {
    root.addEventListener(type, release);
  }
  const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  function onkey(event, what) {
    const step = STEPS[event.key];
    if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const size = event.shiftKey ? 0.5 : 0.1;
    const [x, y] = pointOf(get(), what);
    set(moved(get(), what, [x + size * step[0], y + size * step[1]]));
    rest();
  }

  function handle(what) {
    const star = h("svg", { viewBox: "0 0 28 28" }, h("polygon", { points: STAR }));
    const text = what.kind === "query" ? "q" : what.kind === "target" ? star : what.index + 1;
    return h(
      "button",
      {
        type: "button",
        class: `handle ${what.kind}`,
        "aria-roledescription": "movable point",
        onkeydown: (event) => onkey(event, what),
      },
      h("span", { class: "dot" }, text),
    );
  }

  return {
    root,
    update(state, { weights, output, keyHull, valueHull }) {
      const { tied } = sharingOf(state);
      const wanted = movable(state);
      const idOf = ({ kind, index = "" }) => `${kind}${index}`;
      if (wanted.map(idOf).join() !== [...handles.keys()].join()) {
        const old = handles;
        handles = new Map(
          wanted.map((what) => [
            idOf(what),
            old.get(idOf(what)) ?? { what, node: handle(what) },
          ]),
        );
        const focused = root.getRootNode().activeElement;
        root.replaceChildren(drawing, ...[...handles.values()].map((each) => each.node), out);
        if (focused && root.contains(focused)) focused.focus();
      }
      for (const { what, node } of handles.values()) {
        const point = pointOf(state, what);
        put(node, point);
        node.setAttribute("aria-label", `${nameOf(what, tied)} at ${place(point)}`);
      }
      put(out, output);

      const half = span() / 2;
      const flat = ([x, y]) => `${x},${-y}`;
      const shape = (name, corners) =>
        h("polygon", { class: name, points: corners.map(flat).join(" ") });
      const line = (name, [x1, y1], [x2, y2], more = {}) =>
        h("line", { class: name, x1, y1: -y1, x2, y2: -y2, ...more });
      const stops = Array.from({ length: 2 * state.reach + 1 }, (_, i) => i - state.reach);
      const values = valuesOf(state);
      drawing.setAttribute("viewBox", `${-half} ${-half} ${2 * half} ${2 * half}`);
      drawing.replaceChildren(
        ...stops.flatMap((at) => [
          line(at ? "grid" : "axis", [at, -half], [at, half]),
          line(at ? "grid" : "axis", [-half, at], [half, at]),
        ]),
        shape("keyhull", keyHull),
        ...(tied ? [] : [shape("valuehull", valueHull)]),
        ...values.map((value, i) =>
          line("pull", output, value, {
            "stroke-width": (1 + 7 * weights[i]).toFixed(2),
            "stroke-opacity": (0.2 + 0.6 * weights[i]).toFixed(3),
          }),
        ),
        line("arrow", [0, 0], state.query),
      );
      root.setAttribute(
        "aria-label",
        `Plane from ${-state.reach} to ${state.reach} both ways. Points move with the arrow keys, ` +
          "faster with Shift.",
      );
    },
  };
}

/** Every point's coordinates, to read and to type. */
function table({ get, set, rest }) {
  const body = h("tbody");
  const root = h(
    "details",
    {},
    h("summary", {}, "Coordinates and weights"),
    h(
      "table",
      {},
      h(
        "thead",
        {},
        h("tr", {}, ...["point", "x", "y", "weight"].map((name) => h("th", { scope: "col" }, name))),
      ),
      body,
    ),
  );
  let drawn = "";
  let rows = [];
  function row(what) {
    const { reach } = get();
    const inputs = ["x", "y"].map((axis, i) => {
      const input = h("input", { type: "number", min: -reach, max: reach, step: 0.1 });
      input.addEventListener("input", () => {
        const typed = Number(input.value);
        if (input.value === "" || !(Math.abs(typed) <= reach)) return;
        const point = [...pointOf(get(), what)];
        point[i] = typed;
        set(moved(get(), what, point));
        rest();
      });
      input.addEventListener("change", () => {
        input.value = pointOf(get(), what)[i];
      });
      return input;
    });
    const name = h("th", { scope: "row" });
    const weight = h("td");
    const node = h("tr", {}, name, ...inputs.map((input) => h("td", {}, input)), weight);
    return { what, node, inputs, name, weight };
  }
  return {
    root,
    update(state, { weights }) {
      const { tied } = sharingOf(state);
      const wanted = movable(state);
      const signature = JSON.stringify(wanted);
      if (signature !== drawn) {
        drawn = signature;
        rows = wanted.map(row);
        body.replaceChildren(...rows.map((each) => each.node));
      }
      for (const { what, inputs, name, weight } of rows) {
        const title = nameOf(what, tied);
        name.textContent = title;
        weight.textContent = what.kind === "key_points" ? formatShare(weights[what.index]) : "";
        pointOf(state, what).forEach((x, i) => {
          inputs[i].setAttribute("aria-label", `${title}, ${"xy"[i]}`);
          if (Number(inputs[i].value) !== x || inputs[i].value === "") inputs[i].value = x;
        });
      }
    },
  };
}

function render({ model, el }) {
  const get = () => Object.fromEntries(STATE.map((name) => [name, model.get(name)]));
  const set = (changes) => {
    for (const [name, value] of Object.entries(changes)) model.set(name, value);
  };
  const rest = () => model.save_changes();
  const choose = (changes) => {
    set(changes);
    rest();
  };
  const samePoints = (state, preset) =>
    ["key_points", "value_points"].every(
      (name) => JSON.stringify(state[name]) === JSON.stringify(preset[name]),
    );

  const live = announcer();
  const field = plane({ get, set, rest });
  const coordinates = table({ get, set, rest });
  const sharing = radios({
    legend: "Sharing",
    two: true,
    onchoose: (name) => choose({ sharing: name }),
  });
  const count = radios({ legend: "How many keys", onchoose: (n) => choose(withCount(get(), n)) });
  const task = h("p", { class: "hint task" });
  let chosen = get().presets.findIndex((preset) => samePoints(get(), preset));
  const presets = get().presets.map((preset, i) =>
    h(
      "button",
      {
        type: "button",
        onclick: () => {
          chosen = i;
          const { key_points, value_points, query, target } = preset;
          choose({ key_points, value_points, query, target });
          update();
        },
      },
      preset.name,
    ),
  );
  const legend = h("div", { class: "legend", "aria-hidden": "true" });
  const where = h("b");
  const why = h("span");
  const star = h("span");
  const bars = h("div", { class: "bars", role: "img" });
  const root = h(
    "section",
    { class: "sheet hull", "aria-label": "Output and the hull of the keys" },
    h(
      "div",
      { class: "inner" },
      h(
        "div",
        { class: "top" },
        h("fieldset", {}, h("legend", {}, "Try"), h("div", { class: "options" }, ...presets), task),
        sharing.root,
      ),
      h("div", { class: "field" }, field.root, legend),
      h(
        "div",
        { class: "read" },
        h("p", { class: "verdict" }, where, why, star),
        h("div", {}, h("div", { class: "label" }, "Attention weights"), bars),
      ),
      h("div", { class: "more" }, count.root, coordinates.root),
    ),
    live.node,
  );
  const staged = stage(root, CSS);

  const key = (kind, text) => h("span", {}, h("i", { class: kind }), text);
  function explain({ tied }) {
    legend.replaceChildren(
      ...(tied
        ? [key("kv", "key and value in one"), key("h", "hull of the keys")]
        : [
            key("k", "key"), key("v", "value"),
            key("h", "hull of the keys"), key("hv", "hull of the values"),
          ]),
      key("q", "query"), key("o", "output"),
      h("span", {}, "★ goal"),
    );
  }

  function update() {
    const state = get();
    const reading = readingOf(state);
    const { tied, colour } = sharingOf(state);
    root.style.setProperty("--out", colour);
    root.classList.toggle("tied", tied);
    sharing.update(
      state.sharings.map((s) => ({
        value: s.name,
        title: s.name,
        detail: s.tuple_form,
        swatch: s.colour,
      })),
      state.sharing,
    );
    count.update(COUNTS.map((n) => ({ value: n, title: String(n) })), state.key_points.length);
    // Points that came from elsewhere may be another example's; dragged ones keep theirs.
    const isOf = (preset) => samePoints(state, preset);
    if (!(chosen >= 0 && isOf(state.presets[chosen])) && state.presets.some(isOf)) {
      chosen = state.presets.findIndex(isOf);
    }
    presets.forEach((button, i) => button.setAttribute("aria-pressed", String(i === chosen)));
    task.textContent = state.presets[chosen]?.task ?? "Drag the points, or move them by the keyboard.";
    field.update(state, reading);
    coordinates.update(state, reading);
    explain({ tied });

    const words = wordsOf(state, reading);
    where.textContent = words.where;
    why.textContent = words.why;
    star.textContent = words.star;
    star.className = words.hit ? "hit" : "";
    bars.replaceChildren(
      ...reading.weights.flatMap((weight, i) => [
        h("span", {}, `key ${i + 1}`),
        h("div", { class: "rail" }, h("i", { style: `width:${(100 * weight).toFixed(1)}%` })),
        h("span", { class: "share" }, formatShare(weight)),
      ]),
    );
    bars.setAttribute(
      "aria-label",
      reading.weights.map((weight, i) => `key ${i + 1}: ${formatShare(weight)}`).join(", "),
    );
    const sentence = `${words.where} ${words.star}`;
    live.follow(sentence);
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
