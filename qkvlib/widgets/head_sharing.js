// HeadSharing: which query head reads which KV head, and what sharing costs against what it saves.
//
// An ES module in the anywidget protocol, self-contained once _shared.js is put in front of it.
// Models, the points measured on them and the names of sharings come from Python through the state;
// who reads whom, and the bytes, are counted here.

// ---------------------------------------------------------------------------------------- counting

const FLOAT16 = 2; // bytes per number

/** Whole divisors of n, ascending: the numbers of KV heads that n query heads can share. */
export function kvChoices(n) {
  return Array.from({ length: n }, (_, i) => i + 1).filter((d) => n % d === 0);
}

export const modelOf = (state) => state.models.find((row) => row.name === state.model);
export const sharingOf = (state) => state.sharings.find((s) => s.name === state.sharing);

/** The KV head that query head h reads: neighbours share. */
export function kvHeadOf(h, nHeads, nKvHeads) {
  return Math.floor(h / (nHeads / nKvHeads));
}

/** The other query heads that read the same KV head. */
export function siblings(h, nHeads, nKvHeads) {
  const group = nHeads / nKvHeads;
  const first = kvHeadOf(h, nHeads, nKvHeads) * group;
  return Array.from({ length: group }, (_, i) => first + i).filter((other) => other !== h);
}

/** Bytes that one token adds to the cache, in float16. */
export function bytesPerToken(model, sharing, nKvHeads) {
  return model.n_layers * sharing.cached.length * nKvHeads * model.head_dim * FLOAT16;
}

/** Share of the cache kept, of what QKV with MHA keeps. */
export function keptShare(model, sharing, nKvHeads) {
  return (sharing.cached.length * nKvHeads) / (2 * model.n_heads);
}

/** The points of the model shown, each with the share of the cache it keeps. */
export function placed(state) {
  const model = modelOf(state);
  return model.points.map((p) => {
    const sharing = state.sharings.find((s) => s.name === p.sharing);
    return { ...p, share: keptShare(model, sharing, p.n_kv_heads) };
  });
}

/** The points that keep exactly as many bytes as the chosen variant, itself left out. */
export function atEqualCache(state) {
  const share = keptShare(modelOf(state), sharingOf(state), state.n_kv_heads);
  const itself = (p) => p.sharing === state.sharing && p.n_kv_heads === state.n_kv_heads;
  return placed(state).filter((p) => p.share === share && !itself(p));
}

/** What was measured of a variant of this model, or undefined. */
export function pointOf(model, sharing, nKvHeads) {
  return model.points.find((p) => p.sharing === sharing.name && p.n_kv_heads === nKvHeads);
}

/** The state that another model asks for: MHA stays MHA, else the nearest number below. */
export function withModel(state, name) {
  const before = modelOf(state);
  const nHeads = state.models.find((row) => row.name === name).n_heads;
  const below = kvChoices(nHeads).filter((d) => d <= state.n_kv_heads);
  return {
    model: name,
    n_kv_heads: state.n_kv_heads === before.n_heads ? nHeads : below[below.length - 1],
    query_head: Math.min(state.query_head, nHeads - 1),
  };
}

/** Why this state cannot be drawn, or null. */
export function refusal(state) {
  const model = modelOf(state);
  if (!model) return `There is no model called ${state.model}.`;
  if (!sharingOf(state)) return `${state.sharing} cannot share heads, or is no sharing at all.`;
  if (!kvChoices(model.n_heads).includes(state.n_kv_heads)) {
    return (
      `${state.n_kv_heads} KV heads cannot serve ${model.n_heads} query heads evenly. ` +
      `Choose from ${kvChoices(model.n_heads).join(", ")}.`
    );
  }
  if (!(Number.isInteger(state.query_head) && state.query_head >= 0 && state.query_head < model.n_heads)) {
    return `There is no query head ${state.query_head}: they are 0 to ${model.n_heads - 1}.`;
  }
  return null;
}

/** Round values for an axis that holds low and high, three to six of them. */
export function ticks(low, high) {
  const span = high - low || 1;
  const power = 10 ** Math.floor(Math.log10(span / 3));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => span / s <= 5);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

/** The corners of the frontier: what can be had for each cache, as stairs from the least cache on. */
export function stairs(points) {
  const best = points.filter((p) => p.beaten_by === "").sort((a, b) => a.share - b.share);
  const corners = [];
  best.forEach((p, i) => {
    if (i > 0) corners.push([p.share, best[i - 1].change]);
    corners.push([p.share, p.change]);
  });
  return corners;
}

// ------------------------------------------------------------------------------------------- words

const signed = (value, digits = 2) =>
  `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(digits)}`.replace(/^−(0\.0*)$/, "+$1");

/** [0, 1, 2, 5] -> "0, 1, 2 and 5". */
export function listed(items) {
  const words = items.map(String);
  if (words.length < 2) return words.join("");
  return `${words.slice(0, -1).join(", ")} and ${words[words.length - 1]}`;
}

/** Who reads whom, for the query head that is lit. */
export function whoReads(h, nHeads, nKvHeads) {
  const others = siblings(h, nHeads, nKvHeads);
  const kv = kvHeadOf(h, nHeads, nKvHeads);
  const run = others.length > 6;
  const first = kv * (nHeads / nKvHeads);
  const company =
    others.length === 0
      ? "and has it to itself"
      : run
        ? `and shares it with the other ${others.length} of heads ${first} to ${first + others.length}`
        : `and shares it with ${others.length === 1 ? "head" : "heads"} ${listed(others)}`;
  return `Query head ${h} reads KV head ${kv}, ${company}.`;
}

const VERDICTS = {
  better: "learns better than QKV",
  worse: "learns worse than QKV",
  "cannot tell": "cannot be told from QKV",
};

/** What was measured of the chosen variant, as sentences. */
export function quality(state) {
  const model = modelOf(state);
  const sharing = sharingOf(state);
  const point = pointOf(model, sharing, state.n_kv_heads);
  if (model.points.length === 0) {
    return [`No model with ${plural(model.n_heads, "query head")} and this shape was trained, so nothing is known of its quality.`];
  }
  const rivals = atEqualCache(state).map((p) => `${p.name} (${signed(p.change)} %)`);
  const equal = rivals.length ? [`At the same cache: ${listed(rivals)}.`] : [];
  if (!point) {
    const name = variantName(sharing, state.n_kv_heads, model.n_heads);
    return [`${name} was not measured on this model.`, ...equal];
  }
  const own =
    point.value_low == null
      ? `${model.metric} ${point.value}`
      : `${point.value.toFixed(3)} ${model.metric} (${point.value_low.toFixed(3)} to ${point.value_high.toFixed(3)})`;
  if (point.verdict === "reference") {
    return [`The others are measured against it: ${own}.`, place(point)];
  }
  const change = `Loss ${signed(point.change)} % against QKV`;
  const cost =
    point.low == null
      ? [`${change}: ${own}. One seed, so no interval.`]
      : [
          `${change} (${signed(point.low)} to ${signed(point.high)}): ${VERDICTS[point.verdict]}.`,
          `In itself ${own}.`,
        ];
  return [...cost, ...equal, place(point)];
}

function place(point) {
  return point.beaten_by === ""
    ? "On the frontier: nothing else shown keeps as little and loses as little."
    : `Not on the frontier: ${point.beaten_by} keeps no more and loses no more.`;
}

// ------------------------------------------------------------------------------------------- style

const CSS = `
.sharing { --k: #0072b2; --v: #d55e00; --thread: #9aa5b2; --ring: #1c2530; }
.sharing[data-theme="dark"] { --thread: #66717e; --ring: #e6ebf1; }
.inner { display: grid; gap: 20px 30px; padding: 16px; grid-template-columns: minmax(0, 1fr); }
.who, .cost { display: grid; gap: 14px; align-content: start; min-width: 0; }
@container (min-width: 700px) {
  .inner { padding: 20px 22px; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); }
  .models, .refusal { grid-column: 1 / -1; }
  .inner.plain { grid-template-columns: minmax(0, 7fr) minmax(0, 5fr); }
}
.models .options { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); }
.models .face { height: 100%; padding: 4px 6px; }
.sheet .option b, .sheet .option small { white-space: normal; }
.heading { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 2px 14px; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 12px; font-size: 13px; color: var(--muted); }
.key { display: inline-flex; align-items: center; gap: 5px; }
.key i { width: 11px; height: 11px; display: inline-block; border-radius: 3px; background: var(--c); }
.key i.circle { border-radius: 50%; }
.key i.diamond { transform: rotate(45deg) scale(.86); border-radius: 1px; }
.key i.dashes { height: 0; width: 18px; background: none; border-top: 2px dashed var(--fg); border-radius: 0; }

.rows { display: grid; grid-template-columns: 24px minmax(0, 1fr); column-gap: 8px; row-gap: 8px;
  touch-action: manipulation; cursor: pointer; }
.tag { font-size: 13px; font-weight: 600; text-align: right; align-self: center; white-space: nowrap; }
.lane { position: relative; height: 28px; }
.lane i { position: absolute; top: 0; bottom: 0; display: grid; place-items: center; font: inherit;
  font-size: 12.5px; font-style: normal; font-variant-numeric: tabular-nums; border-radius: 5px;
  left: calc(100% * (var(--at) + .1) / var(--heads)); width: calc(100% * .8 / var(--heads)); }
.lane .q { border: 1px solid var(--edge); background: var(--bg); color: var(--fg); }
.lane .kv { border: 2px solid var(--c); background: var(--bg); color: var(--fg); }
.lane .kv.lit { background: var(--c); color: #fff; font-weight: 700;
  box-shadow: 0 0 0 2px var(--bg), 0 0 0 4px var(--ring); }
.lane .q.near { border: 2px solid var(--accent); background: var(--chosen); }
.lane .q.lit { border: 2px solid var(--accent); background: var(--accent); color: var(--bg);
  font-weight: 700; }
.lane .none { inset: 0; left: 0; width: 100%; font-size: 13px; color: var(--muted);
  border: 1px dashed var(--edge); }
.threads { grid-column: 2; display: block; width: 100%; height: 68px; margin: -8px 0; }
.threads path { fill: none; stroke: var(--thread); stroke-width: 1.25px; opacity: .6;
  vector-effect: non-scaling-stroke; }
.threads path.near { stroke: var(--accent); stroke-width: 1.75px; stroke-dasharray: 5 3; opacity: 1; }
.threads path.lit { stroke: var(--accent); stroke-width: 4px; opacity: 1; }
.many .lane i:not(.none) { font-size: 0; border-radius: 3px; }
@container (max-width: 430px) { .some .lane i:not(.none) { font-size: 0; } }
.says { min-height: 2.9em; }
.says code { font: 600 13.5px/1.4 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace;
  white-space: nowrap; }

.slide { display: grid; grid-template-columns: minmax(0, 1fr) auto; gap: 0 10px; align-items: baseline; }
.slide output { font-size: 14px; font-variant-numeric: tabular-nums; text-align: right; }
.slide input { grid-column: 1 / -1; width: 100%; margin: 0; height: 28px; accent-color: var(--accent);
  cursor: pointer; }
.stops { grid-column: 1 / -1; position: relative; height: 18px; margin: 0 8px; font-size: 12.5px;
  color: var(--muted); }
.stops:empty { display: none; }
.stops span { position: absolute; transform: translateX(-50%); white-space: nowrap; }
.stops span:first-child:not(:last-child) { transform: none; margin-left: -6px; }
.stops span:last-child:not(:first-child) { transform: translateX(-100%); margin-left: 6px; }
@media (pointer: coarse) { .slide input { height: 44px; } }

.headline { display: flex; flex-wrap: wrap; align-items: baseline; gap: 0 12px; }
.headline .name { font-size: 30px; line-height: 1.15; font-weight: 650; letter-spacing: -.01em; }
.headline .form { color: var(--muted); }
.headline .bytes { flex-basis: 100%; font-variant-numeric: tabular-nums; }
.headline .bytes b { font-weight: 650; white-space: nowrap; }

.axes { display: grid; grid-template-columns: 34px minmax(0, 1fr); grid-template-rows: auto 220px 20px auto; }
.axes .y, .axes .x { font-size: 13px; color: var(--muted); }
.axes .y { grid-column: 1 / -1; padding-bottom: 6px; } .axes .x { grid-column: 2; text-align: center; }
.axes .yticks { position: relative; } .axes .xticks { position: relative; grid-column: 2; }
.axes .ticks span { position: absolute; font-size: 12.5px; color: var(--muted); line-height: 1;
  font-variant-numeric: tabular-nums; white-space: nowrap; }
.yticks span { right: 7px; transform: translateY(-50%); } .xticks span { top: 5px; transform: translateX(-50%); }
.plot { position: relative; border: 1px solid var(--line); border-width: 0 0 1px 1px; cursor: pointer; }
.plot svg { position: absolute; inset: 0; width: 100%; height: 100%; overflow: visible; }
.plot line { stroke: var(--line); stroke-width: 1px; vector-effect: non-scaling-stroke; }
.plot line.zero { stroke: var(--edge); }
.plot polyline { fill: none; stroke: var(--fg); stroke-width: 2px; stroke-dasharray: 6 4; opacity: .65;
  vector-effect: non-scaling-stroke; }
.plot > i, .plot > span { position: absolute; pointer-events: none; }
.plot .whisker { width: 8px; margin-left: -4px; border: solid var(--c); border-width: 2px 0; }
.plot .whisker::before { content: ""; position: absolute; left: 3px; top: 0; bottom: 0; width: 2px;
  background: var(--c); }
.plot .mark { width: 13px; height: 13px; margin: -6.5px; background: var(--c); box-shadow: 0 0 0 1.5px var(--bg); }
.plot .mark.circle { border-radius: 50%; } .plot .mark.diamond { transform: rotate(45deg) scale(.9); }
.plot .ring { width: 29px; height: 29px; margin: -14.5px; border: 3px solid var(--accent); border-radius: 50%; }
.plot .name { font-size: 12.5px; line-height: 1; white-space: nowrap; padding: 0 0 6px 10px;
  transform: translateY(-100%); text-shadow: 0 0 2px var(--bg), 0 0 2px var(--bg), 0 0 3px var(--bg); }
.plot .name.lit { font-weight: 700; }
.plot .missing { top: 0; bottom: 0; border-left: 2px dashed var(--accent); }
.plot .missing + span { top: 2px; padding-left: 6px; font-size: 12.5px; color: var(--fg); }
.plot .missing + span.end { transform: translateX(-100%); padding: 0 6px 0 0; }
.words { display: grid; gap: 4px; }
.cost > * { min-width: 0; }
details summary { cursor: pointer; min-height: 28px; font-size: 14px; color: var(--muted); }
details summary:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; border-radius: 6px; }
@media (pointer: coarse) { details summary { min-height: 44px; line-height: 44px; } }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; font-variant-numeric: tabular-nums; }
th, td { padding: 4px 10px 4px 0; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap;
  font-weight: 400; }
th:first-child { text-align: left; } thead th { color: var(--muted); white-space: normal; vertical-align: bottom; }
tr.lit > * { font-weight: 650; }
.refused .answer { display: none; }
@media (forced-colors: active) { .lane i, .mark, .whisker, .key i { forced-color-adjust: none; } }
`;

// --------------------------------------------------------------------------------------------- view

const STATE = ["model", "sharing", "n_kv_heads", "query_head", "models", "sharings"];

const at = (node, name, value) => {
  node.style.setProperty(name, value);
  return node;
};

/** A labelled slider with what it stands at beside the label, and words under its stops. */
function slide(label, onmove) {
  const id = `slide-${Math.random().toString(36).slice(2)}`;
  const input = h("input", { type: "range", id, min: 0, step: 1, oninput: () => onmove(Number(input.value)) });
  const output = h("output", { for: id });
  const stops = h("div", { class: "stops", "aria-hidden": "true" });
  const root = h("div", { class: "slide" }, h("label", { class: "label", for: id }, label), output, input, stops);
  let drawn = "";
  return {
    root,
    update(last, value, shown, spoken, words) {
      input.max = last;
      input.disabled = last === 0;
      // Rewriting the slider under the pointer would fight it.
      if (Number(input.value) !== value) input.value = value;
      input.setAttribute("aria-valuetext", spoken);
      output.textContent = shown;
      if (words.join() === drawn) return;
      drawn = words.join();
      stops.replaceChildren(
        ...words.map((word, i) => at(h("span", {}, word), "left", `${(100 * i) / Math.max(1, words.length - 1)}%`)),
      );
    },
  };
}

/** Query heads, threads, KV heads: the nodes of one picture, and a way to light them. */
function drawHeads(nHeads, nKvHeads, sharing) {
  const group = nHeads / nKvHeads;
  const lane = () => at(h("div", { class: "lane" }), "--heads", nHeads);
  const q = lane();
  const heads = Array.from({ length: nHeads }, (_, i) => at(h("i", { class: "q" }, String(i)), "--at", i));
  q.append(...heads);
  const threads = heads.map((_, i) => {
    const [from, to] = [i + 0.5, (kvHeadOf(i, nHeads, nKvHeads) + 0.5) * group];
    return h("path", { d: `M${from} 0C${from} .55 ${to} .45 ${to} 1` });
  });
  const svg = h(
    "svg",
    { class: "threads", viewBox: `0 0 ${nHeads} 1`, preserveAspectRatio: "none", "aria-hidden": "true" },
    ...threads,
  );
  const kv = Array.from({ length: nKvHeads }, () => []);
  const lanes = ["K", "V"].flatMap((role) => {
    const row = lane();
    if (sharing.cached.includes(role)) {
      kv.forEach((nodes, g) => {
        const place = (g + 0.5) * group - 0.5;
        const node = at(at(h("i", { class: "kv" }, String(g)), "--at", place), "--c", `var(--${role.toLowerCase()})`);
        nodes.push(node);
        row.append(node);
      });
    } else row.append(h("i", { class: "none" }, "not stored: V is K"));
    return [h("span", { class: "tag" }, role), row];
  });
  const root = h(
    "div",
    { class: `rows ${nHeads > 16 ? "many" : nHeads > 8 ? "some" : ""}` },
    h("span", { class: "tag" }, "Q"), q, svg, ...lanes,
  );
  return {
    root,
    /** The query head under a pointer. */
    headAt(x) {
      const box = q.getBoundingClientRect();
      return Math.max(0, Math.min(nHeads - 1, Math.floor((nHeads * (x - box.left)) / box.width)));
    },
    light(h) {
      const near = new Set(siblings(h, nHeads, nKvHeads));
      heads.forEach((node, i) => {
        for (const each of [node, threads[i]]) {
          each.classList.toggle("lit", i === h);
          each.classList.toggle("near", near.has(i));
        }
      });
      svg.append(threads[h]); // on top of the others
      kv.forEach((nodes, g) => {
        for (const node of nodes) node.classList.toggle("lit", g === kvHeadOf(h, nHeads, nKvHeads));
      });
    },
  };
}

/** Where cost and cache lie in the plot, in percent of its box. */
function scales(state) {
  const model = modelOf(state);
  const least = Math.log2(1 / (2 * model.n_heads)) - 0.5;
  const values = model.points.flatMap((p) => [p.change, p.low ?? p.change, p.high ?? p.change]);
  const [low, high] = [Math.min(0, ...values), Math.max(0, ...values)];
  const pad = (high - low || 1) * 0.12;
  const [bottom, top] = [low - pad, high + 1.4 * pad];
  return {
    x: (share) => (100 * (Math.log2(share) - least)) / (0.85 - least),
    y: (change) => (100 * (top - change)) / (top - bottom),
    xticks: Array.from({ length: Math.floor(Math.log2(2 * model.n_heads)) + 1 }, (_, i) => 2 ** -i),
    yticks: ticks(bottom, top),
  };
}

const shape = (state, name) => (name === state.sharings[0].name ? "circle" : "diamond");
const colourOf = (state, name) => state.sharings.find((s) => s.name === name).colour;

function drawPlot(state) {
  const model = modelOf(state);
  const points = placed(state);
  const { x, y, xticks, yticks } = scales(state);
  const share = keptShare(model, sharingOf(state), state.n_kv_heads);
  const chosen = pointOf(model, sharingOf(state), state.n_kv_heads);
  const set = (node, left, top) => at(at(node, "left", `${left}%`), "top", `${top}%`);
  const corners = stairs(points).map(([s, change]) => [x(s), y(change)]);
  const line = [[corners[0][0], 0], ...corners, [100, corners[corners.length - 1][1]]];
  const plot = h(
    "div",
    { class: "plot" },
    h(
      "svg",
      { viewBox: "0 0 100 100", preserveAspectRatio: "none", "aria-hidden": "true" },
      ...yticks.map((t) => h("line", { class: t === 0 ? "zero" : null, x1: 0, x2: 100, y1: y(t), y2: y(t) })),
      h("polyline", { points: line.map((corner) => corner.join(",")).join(" ") }),
    ),
  );
  if (!chosen) {
    const end = x(share) > 65 ? "end" : "";
    plot.append(
      at(h("i", { class: "missing" }), "left", `${x(share)}%`),
      at(h("span", { class: end }, "not measured"), "left", `${x(share)}%`),
    );
  }
  for (const p of points) {
    const [left, top] = [x(p.share), y(p.change)];
    const lit = chosen?.name === p.name;
    const paint = (node) => at(node, "--c", colourOf(state, p.sharing));
    if (p.low != null) {
      const bar = set(paint(h("i", { class: "whisker" })), left, y(p.high));
      plot.append(at(bar, "height", `${y(p.low) - y(p.high)}%`));
    }
    if (lit) plot.append(set(h("i", { class: "ring" }), left, top));
    plot.append(
      set(paint(h("i", { class: `mark ${shape(state, p.sharing)}` })), left, top),
      set(h("span", { class: `name ${lit ? "lit" : ""}` }, p.name), left, top),
    );
  }
  const percent = (s) => String(Number((100 * s).toPrecision(3)));
  const words = points.map((p) => `${p.name} keeps ${percent(p.share)} %, loss ${signed(p.change)} %`);
  return {
    root: h(
      "div",
      { class: "axes", role: "img", "aria-label": `Loss against cache kept. ${words.join("; ")}.` },
      h("div", { class: "y" }, "loss above QKV (%), lower is better"),
      h("div", { class: "ticks yticks" }, ...yticks.map((t) => at(h("span", {}, String(t).replace("-", "−")), "top", `${y(t)}%`))),
      plot,
      h("div", { class: "ticks xticks" }, ...xticks.map((s) => at(h("span", {}, percent(s)), "left", `${x(s)}%`))),
      h("div", { class: "x" }, "cache kept, of what QKV keeps (%)"),
    ),
    /** The point nearest to a pointer. */
    nearest(event) {
      const box = plot.getBoundingClientRect();
      const distance = (p) =>
        Math.hypot(
          (x(p.share) / 100) * box.width - (event.clientX - box.left),
          (y(p.change) / 100) * box.height - (event.clientY - box.top),
        );
      return points.reduce((best, p) => (distance(p) < distance(best) ? p : best));
    },
  };
}

function drawTable(state) {
  const model = modelOf(state);
  const chosen = pointOf(model, sharingOf(state), state.n_kv_heads);
  const row = (p) => {
    const bytes = bytesPerToken(model, state.sharings.find((s) => s.name === p.sharing), p.n_kv_heads);
    const change = p.verdict === "reference" ? "–" : `${signed(p.change)} %`;
    const interval = p.low == null ? "–" : `${signed(p.low)} to ${signed(p.high)}`;
    return h(
      "tr",
      { class: p === chosen ? "lit" : null },
      h("th", { scope: "row" }, p.name),
      ...[formatCount(bytes), change, interval].map((text) => h("td", {}, text)),
    );
  };
  const heads = ["variant", "bytes per token", "loss", model.seeds > 1 ? "95 % interval" : "interval"];
  return h(
    "table",
    {},
    h("thead", {}, h("tr", {}, ...heads.map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", {}, ...model.points.map(row)),
  );
}

function render({ model, el }) {
  const get = () => Object.fromEntries(STATE.map((name) => [name, model.get(name)]));
  const set = (changes) => {
    for (const [name, value] of Object.entries(changes)) model.set(name, value);
    model.save_changes();
  };
  const models = radios({ legend: "Model", onchoose: (name) => set(withModel(get(), name)) });
  const sharing = radios({
    legend: "Sharing",
    hint: "is the key also the value?",
    two: true,
    onchoose: (name) => set({ sharing: name }),
  });
  const kv = slide("KV heads", (i) => set({ n_kv_heads: kvChoices(modelOf(get()).n_heads)[i] }));
  const query = slide("Query head", (i) => set({ query_head: i }));

  const refused = h("p", { class: "note", role: "alert", hidden: true });
  const picture = h("div", { role: "img" });
  const says = h("p", { class: "says" });
  const who = h("div", { class: "legend" });
  const marks = h("div", { class: "legend" });
  const name = h("span", { class: "name" });
  const form = h("span", { class: "form" });
  const bytes = h("span", { class: "bytes" });
  const plotBox = h("div");
  const words = h("div", { class: "words" });
  const tableBox = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "The points as a table" });
  const table = h("details", {}, h("summary", {}, "The points as a table"), tableBox);
  const live = announcer();
  const costHeading = h("div", { class: "heading" }, h("span", { class: "label" }, "What it costs, what it saves"), marks);
  const inner = h(
    "div",
    { class: "inner" },
    h("div", { class: "models" }, models.root),
    h("div", { class: "refusal" }, refused),
    h(
      "div",
      { class: "who" },
      sharing.root,
      h(
        "div",
        { class: "who answer" },
        h("div", { class: "heading" }, h("span", { class: "label" }, "Who reads whom"), who),
        picture, says, kv.root, query.root,
      ),
    ),
    h(
      "div",
      { class: "cost answer" },
      h("div", { class: "headline" }, name, form, bytes),
      costHeading, plotBox, words, table,
    ),
  );
  const root = h("section", { class: "sheet sharing", "aria-label": "Sharing heads" }, inner, live.node);
  const staged = stage(root, CSS);
  const key = (kind, colour, text) => h("span", { class: "key" }, at(h("i", { class: kind }), "--c", colour), text);

  let heads = null;
  let drawn = "";
  let hovered = null;
  let plot = null;

  function lightUp() {
    const state = get();
    const { n_heads: nHeads } = modelOf(state);
    const lit = hovered ?? state.query_head;
    heads.light(lit);
    says.replaceChildren(
      whoReads(lit, nHeads, state.n_kv_heads), " ",
      h("code", {}, `${lit} // (${nHeads} // ${state.n_kv_heads}) = ${kvHeadOf(lit, nHeads, state.n_kv_heads)}`),
    );
  }

  picture.addEventListener("pointermove", (event) => {
    if (event.pointerType !== "mouse" || refusal(get())) return;
    hovered = heads.headAt(event.clientX);
    lightUp();
  });
  picture.addEventListener("pointerleave", () => {
    hovered = null;
    if (!refusal(get())) lightUp();
  });
  picture.addEventListener("click", (event) => set({ query_head: heads.headAt(event.clientX) }));
  plotBox.addEventListener("click", (event) => {
    const p = plot.nearest(event);
    set({ sharing: p.sharing, n_kv_heads: p.n_kv_heads });
  });

  function update() {
    const state = get();
    const problem = refusal(state);
    refused.hidden = problem === null;
    refused.parentNode.hidden = problem === null;
    refused.textContent = problem ?? "";
    root.classList.toggle("refused", problem !== null);
    models.update(
      state.models.map((row) => ({ value: row.name, title: row.name, detail: row.detail })),
      state.model,
    );
    models.root.parentNode.hidden = state.models.length < 2;
    sharing.update(
      state.sharings.map((s) => ({
        value: s.name,
        title: s.name,
        detail: `${s.tuple_form}: ${s.cached.length === 1 ? "only K stored" : "K and V stored"}`,
        swatch: s.colour,
      })),
      state.sharing,
    );
    if (problem !== null) {
      live.hush();
      return;
    }
    const shown = modelOf(state);
    const chosen = sharingOf(state);
    const { n_heads: nHeads } = shown;
    const nKv = state.n_kv_heads;
    const variant = variantName(chosen, nKv, nHeads);
    const choices = kvChoices(nHeads);

    // Who reads whom.
    const signature = [nHeads, nKv, chosen.name].join();
    if (signature !== drawn) {
      drawn = signature;
      hovered = null;
      heads = drawHeads(nHeads, nKv, chosen);
      picture.replaceChildren(heads.root);
    }
    const group = nHeads / nKv;
    picture.setAttribute(
      "aria-label",
      `${plural(nHeads, "query head")} above, ${plural(nKv, "KV head")} below. ` +
        (group === 1
          ? "Each query head reads its own KV head."
          : `Each KV head is read by ${group} query heads side by side.`),
    );
    who.replaceChildren(
      ...chosen.cached.map((role) => key("", `var(--${role.toLowerCase()})`, `${role} heads stored`)),
    );
    lightUp();
    const kind = nKv === nHeads ? "MHA" : nKv === 1 ? "MQA" : `GQA-${nKv}`;
    kv.update(
      choices.length - 1, choices.indexOf(nKv), `${nKv} of ${nHeads}: ${kind}`,
      `${plural(nKv, "KV head")} for ${plural(nHeads, "query head")}, ${kind}`,
      choices.map((n, i) => (choices.length > 1 && i === 0 ? `${n} MQA` : n === nHeads ? `${n} MHA` : String(n))),
    );
    query.update(
      nHeads - 1, state.query_head, `number ${state.query_head}`, whoReads(state.query_head, nHeads, nKv), [],
    );

    // Cost and saving.
    const perToken = bytesPerToken(shown, chosen, nKv);
    const saved = 1 - keptShare(shown, chosen, nKv);
    name.textContent = variant;
    form.textContent = nKv === nHeads ? chosen.tuple_form : `${chosen.tuple_form}, ${plural(nKv, "KV head")}`;
    bytes.replaceChildren(
      h("b", {}, `${formatCount(perToken)} bytes`), " per token in float16, ",
      h("b", {}, saved > 0 ? `${formatShare(saved)} saved` : "nothing saved"),
    );
    const known = shown.points.length > 0;
    for (const node of [costHeading, plotBox, table]) node.hidden = !known;
    inner.classList.toggle("plain", !known);
    if (known) {
      plot = drawPlot(state);
      plotBox.replaceChildren(plot.root);
      tableBox.replaceChildren(drawTable(state));
      marks.replaceChildren(
        ...state.sharings.map((s) => key(shape(state, s.name), s.colour, s.name)),
        key("dashes", "", "frontier of the means"),
      );
    }
    const sentences = quality(state);
    words.replaceChildren(...sentences.map((text) => h("p", {}, text)));
    live.follow(
      `${variant}: ${formatCount(perToken)} bytes per token, ` +
        `${saved > 0 ? formatShare(saved) : "nothing"} saved. ${sentences[0]}`,
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
