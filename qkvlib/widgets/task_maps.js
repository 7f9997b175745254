// TaskMaps: a list goes in, an answer comes out, and where did each position look for it?
//
// An ES module in the anywidget protocol, self-contained once _shared.js is put in front of it. Lists,
// answers and maps come from Python; a map is text, a character for each weight.

// -------------------------------------------------------------------------------------------- maps

const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";

/** Rows of weights from a map as Python packed it: steps of 1/63, "~" and a length for zeros. */
export function unpack(text, length) {
  const flat = [];
  for (let at = 0; at < text.length; at++) {
    if (text[at] === "~") {
      at += 1;
      for (let n = DIGITS.indexOf(text[at]); n > 0; n--) flat.push(0);
    } else flat.push(DIGITS.indexOf(text[at]) / (DIGITS.length - 1));
  }
  if (flat.length !== length * length || flat.includes(-1 / (DIGITS.length - 1))) {
    throw new Error(`a map of ${flat.length} weights is not ${length} x ${length}`);
  }
  return Array.from({ length }, (_, i) => flat.slice(i * length, (i + 1) * length));
}

/** Whole percent, as on the maps: "97 %". */
export const percent = (weight) => `${Math.round(100 * weight)} %`;

/** The inputs that a row looks at with at least `least`, the most looked at first; three at most. */
export function reads(row, least = 0.12) {
  return row
    .map((weight, at) => ({ at, weight }))
    .filter(({ weight }) => weight >= least)
    .sort((a, b) => b.weight - a.weight || a.at - b.at)
    .slice(0, 3);
}

/** "input 3 (digit 7) 97 %", or that it spreads over the list. */
export function readsText(row, inputs) {
  const found = reads(row);
  if (found.length === 0) {
    return `the whole list, no input with more than ${percent(Math.max(...row))}`;
  }
  return found.map(({ at, weight }) => `input ${at} (${inputs[at]}) ${percent(weight)}`).join(", ");
}

/** Where an answer differs from what the task asks for; "·" asks for nothing. */
export function wrongPlaces(answers, targets) {
  const wrong = [];
  for (let i = 0; i < targets.length; i++) {
    if (targets[i] !== "·" && answers[i] !== targets[i]) wrong.push(i);
  }
  return wrong;
}

/** "94.1 % (5 seeds, 88.8 % to 94.4 %)". */
export function accuracyText(values) {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const [middle, low, high] = [mean, Math.min(...values), Math.max(...values)].map(formatShare);
  const seeds = plural(values.length, "seed");
  return low === high ? `${middle} (${seeds})` : `${middle} (${seeds}, ${low} to ${high})`;
}

/** What is drawn: the map by hand, then every head of the models chosen. */
export function lookers(state) {
  const task = state.tasks.find((row) => row.name === state.task);
  const shown = task.lists[state.shown];
  const found = [
    { name: "by hand", detail: "", colour: null, weights: unpack(shown.by_hand, state.length) },
  ];
  for (const name of new Set([state.variant, state.other])) {
    const model = modelOf(state, name);
    if (!model) continue;
    const variant = state.variants.find((row) => row.name === name);
    model.maps[state.shown].forEach((text, head) => {
      found.push({
        name,
        detail: state.n_heads > 1 ? `head ${head}` : "",
        colour: variant.colour,
        weights: unpack(text, state.length),
      });
    });
  }
  return found;
}

/** The stored model of a variant for the task and number of heads that are chosen. */
export function modelOf(state, variant) {
  return state.models.find(
    (model) =>
      model.task === state.task && model.variant === variant && model.n_heads === state.n_heads,
  );
}

// ------------------------------------------------------------------------------------------- style

const CSS = `
.tm { padding: 16px; display: grid; gap: 16px; --hand: #3c4650; --shade: 100%; }
.tm[data-theme="dark"] { --hand: #cfd6de; --shade: 62%; }
.pick { display: grid; gap: 14px; }
.rule { font-size: 16px; }
.rule small { display: block; }
.who { display: grid; gap: 12px 18px; grid-template-columns: 1fr 1fr; }
.who .field { grid-column: 1 / -1; }
@container (min-width: 520px) { .who .field { grid-column: auto; } }
@container (min-width: 780px) { .who { grid-template-columns: 1fr 1fr auto auto; } }
.field { display: grid; gap: 6px; align-content: start; }
.field label { font-weight: 600; font-size: 14px; }
select { font: inherit; color: var(--fg); background: var(--bg); border: 1px solid var(--edge);
  border-radius: 8px; min-height: 36px; padding: 2px 8px; width: 100%; cursor: pointer; }
select:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.ink { --tone: color-mix(in srgb, var(--ink, var(--hand)) var(--shade), white); }
.swatch { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 6px;
  background: var(--tone); vertical-align: -1px; }

.table { display: grid; gap: 8px; }
.row { display: grid; grid-template-columns: repeat(var(--length), minmax(0, 1fr)); align-items: stretch; }
.head { grid-column: 1 / -1; font-size: 13.5px; padding-bottom: 2px; min-width: 0; }
.head b { font-weight: 600; }
.head small { display: inline; }
.cell { position: relative; display: grid; justify-items: center; align-content: center; min-height: 28px;
  font-size: 15px; line-height: 1.1; font-variant-numeric: tabular-nums; border: 1px solid transparent;
  border-radius: 5px; min-width: 0; }
.wide .tokens .cell { font-size: 10.5px; letter-spacing: -.06em; }
.row.out .cell { cursor: pointer; }
.row .cell.at { border-color: var(--accent); background: var(--chosen); }
.row.index .cell { min-height: 0; font-size: 11px; color: var(--muted); }
.cell.wrong { background: var(--warn-bg); color: var(--fg); }
.cell.wrong s { text-decoration-thickness: 2px; }
.cell.wrong i { font: 700 10px/1 system-ui, sans-serif; color: var(--fg); }
.row.bars { --tall: 26px; }
.bars .cell { min-height: var(--tall); border-radius: 0; border: 0; border-bottom: 1px solid var(--edge);
  padding: 0 1px; }
.bars .bar { position: absolute; bottom: 0; left: 12%; right: 12%; background: var(--tone);
  border-radius: 2px 2px 0 0; transition: height .2s ease; }
@container (min-width: 700px) {
  .row { grid-template-columns: 208px repeat(var(--length), minmax(0, 1fr)); }
  .head { grid-column: 1; align-self: center; padding: 0 10px 0 0; }
  .head small { display: block; }
  .bars .head small { display: inline; }
  .wide .tokens .cell { font-size: 13px; letter-spacing: 0; }
}
.follow { display: grid; gap: 2px; }
.follow input { width: 100%; margin: 0; height: 28px; accent-color: var(--accent); cursor: pointer; }
.follow input:focus-visible { outline-offset: 0; border-radius: 8px; }
.told { background: var(--soft); border-radius: 10px; padding: 10px 14px; display: grid; gap: 4px;
  font-size: 14.5px; }
.maps { display: grid; gap: 14px; grid-template-columns: repeat(auto-fit, minmax(122px, 1fr)); }
.maps.many { grid-template-columns: repeat(auto-fit, minmax(110px, 1fr)); }
figure { margin: 0; min-width: 0; max-width: 260px; }
figcaption { font-size: 13.5px; margin-bottom: 4px; }
figcaption small { display: inline; }
.map { display: block; width: 100%; height: auto; border: 1px solid var(--line); border-radius: 6px;
  background: var(--bg); cursor: crosshair; touch-action: manipulation; }
.map .w { fill: var(--tone); }
.map .line { fill: none; stroke: var(--fg); stroke-width: .18; }
.scale { display: flex; flex-wrap: wrap; gap: 4px 14px; align-items: center; font-size: 13px;
  color: var(--muted); }
.scale span { display: inline-flex; gap: 5px; align-items: center; }
.scale i { width: 14px; height: 14px; border: 1px solid var(--line); border-radius: 3px; position: relative;
  overflow: hidden; }
.scale i::after { content: ""; position: absolute; inset: 0; background: var(--hand); opacity: var(--dark); }
@media (pointer: coarse) { select { min-height: 44px; } .follow input { height: 44px; }
  .row.out .cell { min-height: 44px; } }
@media (forced-colors: active) { .map, .bars .bar, .swatch, .scale i::after { forced-color-adjust: none; } }
`;

// -------------------------------------------------------------------------------------------- view

const STATE = [
  "task", "variant", "other", "n_heads", "shown", "position", "length", "tasks", "variants", "models",
];

// The eye tells pale shades apart better than dark ones, so pale weights get more of the scale.
const darkness = (weight) => weight ** 0.6;

/** A list to choose from, with the colour of what is chosen beside its label. */
function chooser({ label, empty, onchoose }) {
  const id = `choice-${Math.random().toString(36).slice(2)}`;
  const swatch = h("span", { class: "swatch", "aria-hidden": "true" });
  const select = h("select", { id, onchange: () => onchoose(select.value) });
  return {
    root: h("div", { class: "field ink" }, h("label", { for: id }, swatch, label), select),
    update(variants, value) {
      if (select.options.length === 0) {
        if (empty) select.append(h("option", { value: "" }, empty));
        select.append(...variants.map((v) => h("option", { value: v.name }, `${v.name}  ${v.tuple_form}`)));
      }
      select.value = value;
      const chosen = variants.find((v) => v.name === value);
      swatch.hidden = !chosen;
      if (chosen) swatch.parentNode.parentNode.style.setProperty("--ink", chosen.colour);
    },
  };
}

/** One map; `onrow` is told which row the pointer is on, `onchoose` which was chosen. */
function drawMap({ looker, length, inputs, onrow, onchoose }) {
  const line = h("rect", { class: "line", x: 0.09, width: length - 0.18, height: 1, rx: 0.2 });
  const words = looker.weights
    .map((row, i) => `position ${i}: ${readsText(row, inputs)}`)
    .join("; ");
  const svg = h("svg", {
    class: "map",
    viewBox: `0 0 ${length} ${length}`,
    role: "img",
    "aria-label": `Map ${looker.name} ${looker.detail}. ${words}.`,
    "shape-rendering": "crispEdges",
  });
  looker.weights.forEach((row, i) => {
    row.forEach((weight, j) => {
      if (weight === 0) return;
      svg.append(
        h("rect", { class: "w", x: j, y: i, width: 1, height: 1, opacity: darkness(weight).toFixed(3) }),
      );
    });
  });
  svg.append(line);
  const rowOf = (event) => {
    const box = svg.getBoundingClientRect();
    const row = Math.floor(((event.clientY - box.top) / box.height) * length);
    return Math.min(Math.max(row, 0), length - 1);
  };
  svg.addEventListener("pointermove", (event) => {
    if (event.pointerType === "mouse") onrow(rowOf(event));
  });
  svg.addEventListener("pointerleave", () => onrow(null));
  svg.addEventListener("click", (event) => onchoose(rowOf(event)));
  const style = looker.colour ? `--ink:${looker.colour}` : null;
  return {
    root: h(
      "figure",
      { class: "ink", style },
      h("figcaption", {}, h("b", {}, looker.name), looker.detail ? h("small", {}, ` ${looker.detail}`) : null),
      svg,
    ),
    follow: (position) => line.setAttribute("y", position),
  };
}

function render({ model, el }) {
  const get = () => Object.fromEntries(STATE.map((name) => [name, model.get(name)]));
  const set = (changes) => {
    for (const [name, value] of Object.entries(changes)) model.set(name, value);
    model.save_changes();
  };
  const tasks = radios({ legend: "Task", onchoose: (name) => set({ task: name }) });
  const variant = chooser({ label: "Model", onchoose: (name) => set({ variant: name }) });
  const other = chooser({
    label: "Beside it",
    empty: "nothing",
    onchoose: (name) => set({ other: name }),
  });
  const heads = radios({ legend: "Heads", onchoose: (n) => set({ n_heads: n }) });
  const lists = radios({ legend: "List", onchoose: (n) => set({ shown: n }) });
  const rule = h("span");
  const byHand = h("small");
  const table = h("div", { class: "table", role: "table" });
  const sliderId = `position-${Math.random().toString(36).slice(2)}`;
  const slider = h("input", {
    type: "range",
    id: sliderId,
    min: 0,
    max: model.get("length") - 1,
    step: 1,
    oninput: () => set({ position: Number(slider.value) }),
  });
  const sliderLabel = h("label", { class: "label", for: sliderId });
  const told = h("div", { class: "told" });
  const maps = h("div", { class: "maps" });
  const live = announcer();
  const scale = h(
    "div",
    { class: "scale", "aria-hidden": "true" },
    "Rows look, columns are looked at.",
    ...[0.06, 0.25, 0.5, 1].map((weight) =>
      h("span", {}, h("i", { style: `--dark:${darkness(weight).toFixed(3)}` }), percent(weight)),
    ),
  );
  const root = h(
    "section",
    { class: "sheet tm", "aria-label": "Attention maps of the synthetic tasks" },
    h(
      "div",
      { class: "pick" },
      tasks.root,
      h("p", { class: "rule" }, rule, byHand),
      h("div", { class: "who" }, variant.root, other.root, heads.root, lists.root),
    ),
    table,
    h("div", { class: "follow" }, sliderLabel, slider),
    told,
    maps,
    scale,
    live.node,
  );
  const staged = stage(root, CSS);

  let drawn = ""; // what the table and maps now show, but for the position
  let cells = []; // rows of cells that mark the position
  let bars = []; // [{ looker, cells }]
  let shownMaps = [];
  let hovered = null; // the row under the pointer, followed while it is there

  const onrow = (row) => {
    if (row === hovered) return;
    hovered = row;
    followPosition();
  };
  const onchoose = (row) => set({ position: row });

  function addRow(kind, head, filled, marks) {
    const row = h(
      "div",
      { class: `row ${kind}`, role: "row" },
      h("span", { class: "head", role: "rowheader" }, ...head),
      ...filled,
    );
    table.append(row);
    if (marks) cells.push(filled);
    return row;
  }

  const cell = (...inside) => h("span", { class: "cell", role: "cell" }, ...inside);

  function answerCell(digit, isWrong, asked) {
    if (!asked) return cell("·");
    if (!isWrong) return cell(digit);
    const made = cell(h("s", {}, digit), h("i", { "aria-hidden": "true" }, "✗"), h("span", { class: "quiet" }, "wrong"));
    made.classList.add("wrong");
    return made;
  }

  function draw(state) {
    const task = state.tasks.find((row) => row.name === state.task);
    const { inputs, targets } = task.lists[state.shown];
    const all = lookers(state);
    table.replaceChildren();
    table.style.setProperty("--length", state.length);
    table.setAttribute("aria-label", `${task.name}, list ${state.shown + 1}: one column for each position`);
    table.classList.toggle("wide", inputs.some((text) => text.length > 1));
    cells = [];
    bars = [];
    addRow("index", [h("small", {}, "position")], inputs.map((_, i) => cell(String(i))), false);
    addRow("tokens", [h("b", {}, "input")], inputs.map((text) => cell(text)), false);
    for (const looker of all) {
      const filled = inputs.map(() =>
        cell(h("i", { class: "bar", "aria-hidden": "true" }), h("span", { class: "quiet" })),
      );
      const label = `${looker.name}${looker.detail ? `, ${looker.detail}` : ""}`;
      const row = addRow("bars ink", [h("small", {}, "looked at, "), h("b", {}, label)], filled, false);
      if (looker.colour) row.style.setProperty("--ink", looker.colour);
      bars.push({ looker, filled });
    }
    addRow("out", [h("b", {}, "should be")], [...targets].map((text) => cell(text)), true);
    for (const name of new Set([state.variant, state.other])) {
      const found = modelOf(state, name);
      if (!found) continue;
      const answers = found.answers[state.shown];
      const wrong = wrongPlaces(answers, targets);
      const asked = [...targets].filter((t) => t !== "·").length;
      const filled = [...answers].map((digit, i) => answerCell(digit, wrong.includes(i), targets[i] !== "·"));
      addRow(
        "out ink",
        [
          h("b", {}, name),
          ` ${asked - wrong.length} of ${asked} right`,
          h("small", {}, ` held-out: ${accuracyText(found.accuracy)}`),
        ],
        filled,
        true,
      );
    }
    for (const row of cells) {
      row.forEach((each, i) => {
        each.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && onrow(i));
        each.addEventListener("pointerleave", () => onrow(null));
        each.addEventListener("click", () => onchoose(i));
      });
    }
    shownMaps = all.map((looker) =>
      drawMap({ looker, length: state.length, inputs, onrow, onchoose }),
    );
    maps.classList.toggle("many", shownMaps.length > 3);
    maps.replaceChildren(...shownMaps.map((each) => each.root));
  }

  /** Mark a position everywhere, and say what it reads. */
  function followPosition() {
    const state = get();
    const at = hovered ?? state.position;
    const task = state.tasks.find((row) => row.name === state.task);
    const { inputs, targets } = task.lists[state.shown];
    for (const row of cells) row.forEach((each, i) => each.classList.toggle("at", i === at));
    for (const { looker, filled } of bars) {
      filled.forEach((each, j) => {
        const weight = looker.weights[at][j];
        each.firstChild.style.height = `${100 * weight}%`;
        each.lastChild.textContent = percent(weight);
      });
    }
    for (const each of shownMaps) each.follow(at);
    sliderLabel.textContent = `Position ${at}`;
    const asks =
      targets[at] === "·"
        ? `Nothing is asked of position ${at}.`
        : `Position ${at} should write ${targets[at]}.`;
    const lines = bars.map(({ looker }) => {
      const label = `${looker.name}${looker.detail ? `, ${looker.detail}` : ""}`;
      return [label, `looks at ${readsText(looker.weights[at], inputs)}.`];
    });
    told.replaceChildren(
      h("p", {}, asks),
      ...lines.map(([label, text]) => h("p", {}, h("b", {}, label), ` ${text}`)),
    );
    const said = `${asks} ${lines.map((pair) => pair.join(" ")).join(" ")}`;
    slider.setAttribute("aria-valuetext", asks);
    return said;
  }

  function update(first) {
    const state = get();
    tasks.update(
      state.tasks.map((row) => ({ value: row.name, title: row.name })),
      state.task,
    );
    variant.update(state.variants, state.variant);
    other.update(state.variants, state.other);
    const counts = [...new Set(state.models.map((each) => each.n_heads))].sort((a, b) => a - b);
    heads.update(counts.map((n) => ({ value: n, title: String(n) })), state.n_heads);
    const task = state.tasks.find((row) => row.name === state.task);
    lists.update(task.lists.map((_, i) => ({ value: i, title: String(i + 1) })), state.shown);
    rule.textContent = task.rule;
    byHand.textContent = task.by_hand;
    if (Number(slider.value) !== state.position) slider.value = state.position;
    const now = JSON.stringify([state.task, state.variant, state.other, state.n_heads, state.shown]);
    if (now !== drawn) {
      drawn = now;
      hovered = null;
      draw(state);
    }
    const said = followPosition();
    // The first drawing is read where it stands; only changes are worth hearing.
    if (first !== true) live.say(said);
  }

  const unfollow = follow(model, ["task", "variant", "other", "n_heads", "shown", "position"], update);
  update(true);
  el.append(staged.host);
  return () => {
    unfollow();
    live.hush();
    staged.remove();
  };
}

export default { render };
