// PlusGrid: what a trained (X)+ adds to the scores, drawn on the grid of an image's patches.
//
// An ES module in the anywidget protocol, self-contained once _shared.js is put in front of it. Images,
// scores and the terms of (X)+ come from Python; what the chosen terms do is computed here, as the
// Python class computes it.

// ---------------------------------------------------------------------------------------- numbers

const FINEST = 65535; // steps of a score: two bytes each
const PARTS = ["gain", "a", "b"];

const bytesOf = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));

/** Rows of scores as Python packed them. */
export function unpackScores({ low, high, levels }, n) {
  const bytes = bytesOf(levels);
  if (bytes.length !== 2 * n * n) throw new Error(`${bytes.length} bytes are not ${n} x ${n} scores`);
  const at = (k) => low + ((high - low) * (256 * bytes[2 * k] + bytes[2 * k + 1])) / FINEST;
  return Array.from({ length: n }, (_, i) => Array.from({ length: n }, (_, j) => at(i * n + j)));
}

/** The layer that is shown: its factor, its two terms, its maps. */
export function layerOf(state) {
  return state.models.find((model) => model.told === state.told).layers[state.layer];
}

/** What the chosen terms add to the look of i at j. */
export function addedTo(state, layer, i, j) {
  const { parts } = state;
  return (parts.includes("a") ? layer.a[i] : 0) + (parts.includes("b") ? layer.b[j] : 0);
}

/** Scores with the chosen parts of (X)+. */
export function withParts(state, layer, scores) {
  const gain = state.parts.includes("gain") ? layer.gain : 1;
  return scores.map((row, i) => row.map((s, j) => gain * s + addedTo(state, layer, i, j)));
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

/** The asymmetry ‖S − Sᵀ‖ / ‖S‖, and the part of it that no height for each place explains. */
export function asymmetryOf(scores) {
  const n = scores.length;
  let size = 0;
  let all = 0;
  const height = Array(n).fill(0);
  scores.forEach((row, i) =>
    row.forEach((s, j) => {
      size += s * s;
      all += (s - scores[j][i]) ** 2;
      height[j] += (s - scores[j][i]) / n;
    }),
  );
  let rest = 0;
  scores.forEach((row, i) =>
    row.forEach((s, j) => {
      rest += (s - scores[j][i] - (height[j] - height[i])) ** 2;
    }),
  );
  const norm = Math.max(Math.sqrt(size), 1e-30);
  return { all: Math.sqrt(all) / norm, flow: Math.sqrt(rest) / norm };
}

/** For each patch the share of its weight that it gives to others than before. */
export function movedOf(before, after) {
  return before.map((row, i) => row.reduce((sum, w, j) => sum + Math.abs(w - after[i][j]), 0) / 2);
}

/** Scores and weights before and after, and what is said of them. */
export function effectOf(state) {
  const layer = layerOf(state);
  const n = state.grid[0] * state.grid[1];
  const before = unpackScores(layer.maps[state.image][state.head], n);
  const after = withParts(state, layer, before);
  const weights = { before: weightsOf(before), after: weightsOf(after) };
  const moved = movedOf(weights.before, weights.after);
  return {
    weights,
    asymmetry: { before: asymmetryOf(before), after: asymmetryOf(after) },
    moved,
    meanMoved: moved.reduce((a, b) => a + b, 0) / n,
  };
}

/** A row of a table of pairs, or with "in" a column of it. */
export function picture(at, patch, n, direction) {
  return Array.from({ length: n }, (_, k) => (direction === "in" ? at(k, patch) : at(patch, k)));
}

/** The largest number, either way, that the parts can add: one scale for the pictures of all patches. */
export function reachOf(layer, parts) {
  const on = ["a", "b"].filter((part) => parts.includes(part)).map((part) => layer[part]);
  const sum = (end) => on.reduce((total, values) => total + end(...values), 0);
  return Math.max(Math.abs(sum(Math.min)), Math.abs(sum(Math.max)), 1e-9);
}

// ---------------------------------------------------------------------------------------- as text

/** 1.234 -> "+1.23", -0.001 -> "0.00". */
export function signedText(x, digits = 2) {
  const text = fixed(Math.abs(x), digits);
  if (Number(text) === 0) return text;
  return `${x < 0 ? "−" : "+"}${text}`;
}

/** "row 1, column 2", both from 1 on, as one counts on a picture. */
export function placeText(patch, columns) {
  return `row ${Math.floor(patch / columns) + 1}, column ${(patch % columns) + 1}`;
}

/** Whole percent: "34 %", not to be broken. */
export const percent = (share) => `${Math.round(100 * share)}\u00a0%`;

/** What is added to the look of a patch (or at it), in a sentence or two. */
export function addedText(state) {
  const { parts, patch, direction, grid } = state;
  const layer = layerOf(state);
  if (!parts.includes("a") && !parts.includes("b")) {
    return parts.includes("gain")
      ? "Nothing is added: only the factor is left."
      : "(X)+ is off: nothing is added.";
  }
  // Out, the picture is b and a only shifts it; in, it is the other way round.
  const [shape, shift] = direction === "out" ? ["b", "a"] : ["a", "b"];
  const said = [];
  if (parts.includes(shape)) {
    const values = layer[shape];
    const [most, least] = [Math.max(...values), Math.min(...values)].map((v) => values.indexOf(v));
    const ends = [most, least].map((k) => `${placeText(k, grid[1])} (${signedText(values[k])})`);
    said.push(`${shape} is highest at ${ends[0]} and lowest at ${ends[1]}, whichever patch is chosen.`);
  }
  if (parts.includes(shift)) {
    said.push(`${shift} adds ${signedText(layer[shift][patch])} to the whole picture of this patch.`);
  }
  return said.join(" ");
}

/** Where an arrow key leads from a patch; null for other keys. */
export function step(key, patch, [rows, columns]) {
  const row = Math.floor(patch / columns);
  const column = patch % columns;
  switch (key) {
    case "ArrowUp": return Math.max(row - 1, 0) * columns + column;
    case "ArrowDown": return Math.min(row + 1, rows - 1) * columns + column;
    case "ArrowLeft": return row * columns + Math.max(column - 1, 0);
    case "ArrowRight": return row * columns + Math.min(column + 1, columns - 1);
    case "Home": return row * columns;
    case "End": return row * columns + columns - 1;
    default: return null;
  }
}

// ------------------------------------------------------------------------------------------- style

const CSS = `
.pg { padding: 16px; display: grid; gap: 16px; --up: #d55e00; --down: #0072b2; --shade: 100%; --bound: #fff; }
.pg[data-theme="dark"] { --up: #e0752a; --down: #3b9fda; --shade: 55%; }
.tone { --tone: color-mix(in srgb, var(--ink) var(--shade), white); }
.picks { display: flex; flex-wrap: wrap; gap: 14px 22px; align-items: start; }
.face { line-height: 1.25; }
.thumbs { display: flex; flex-wrap: wrap; gap: 6px; }
.thumbs .face { padding: 4px 8px; flex-direction: row; align-items: center; gap: 6px; font-size: 14px; }
canvas { display: block; image-rendering: pixelated; width: 100%; height: auto; }
.pg[data-theme="dark"] canvas { filter: invert(1); }
.thumbs canvas { width: 26px; }
.law { border-radius: 10px; background: var(--soft); padding: 10px 14px; display: grid; gap: 8px; }
.sum { display: flex; flex-wrap: wrap; gap: 6px 8px; align-items: center; font-size: 16px; }
.sum var { font-style: italic; }
.sum button { font-variant-numeric: tabular-nums; }
.sum button[aria-pressed="false"] { color: var(--muted); border-style: dashed; text-decoration: line-through; }
.sum .all { margin-left: auto; font-size: 14px; }
h3 { font-size: 14px; font-weight: 600; margin: 0 0 5px; line-height: 1.3; }
h3 small { display: block; font-weight: 400; }
.panels { display: grid; gap: 14px; grid-template-columns: 1fr 1fr; }
@container (min-width: 700px) { .panels { grid-template-columns: repeat(4, minmax(0, 1fr)); } }
.panel { display: grid; grid-template-rows: subgrid; grid-row: span 2; gap: 0; min-width: 0; }
.tile { position: relative; border: 1px solid var(--line); border-radius: 6px; background: var(--bg);
  aspect-ratio: var(--columns) / var(--rows); align-self: start; }
.tile canvas { position: absolute; inset: 0; height: 100%; pointer-events: none; opacity: .17; }
.tile.main canvas { opacity: .88; }
.cells { position: absolute; inset: 0; display: grid;
  grid-template: repeat(var(--rows), 1fr) / repeat(var(--columns), 1fr); }
.cells > div { display: contents; }
.cells span { position: relative; min-width: 0; min-height: 0; cursor: pointer; display: grid; place-items: center; }
.cells i { position: absolute; inset: 0; background: var(--tone); opacity: 0; transition: opacity .15s ease; }
.cells b { display: none; position: relative; font-weight: 500; font-size: 10px; line-height: 1;
  letter-spacing: -.04em; font-variant-numeric: tabular-nums; pointer-events: none; }
@container (min-width: 700px) { .roomy .cells b { display: block; } }
.main .cells span { box-shadow: inset 0 0 0 .5px var(--line); }
.main .cells span:hover { box-shadow: inset 0 0 0 2px var(--accent); }
.cells span.at::after { content: ""; position: absolute; inset: 0; border: 2px solid var(--fg);
  border-radius: 3px; box-shadow: 0 0 0 1px var(--bg), inset 0 0 0 1px var(--bg); pointer-events: none; }
.cells span:focus-visible { outline: none; }
.cells span:focus-visible::after { outline: 3px solid var(--accent); outline-offset: 2px; z-index: 1; }
.scales { display: flex; flex-wrap: wrap; gap: 6px 22px; font-size: 13px; color: var(--muted); align-items: center; }
.scales span { display: inline-flex; gap: 5px; align-items: center; }
.scales i { width: 14px; height: 14px; border: 1px solid var(--line); border-radius: 3px; position: relative;
  overflow: hidden; }
.scales i::after { content: ""; position: absolute; inset: 0; background: var(--tone); opacity: var(--dark); }
.bottom { display: grid; gap: 14px 24px; }
@container (min-width: 700px) { .bottom { grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); } }
.told { background: var(--soft); border-radius: 10px; padding: 10px 14px; font-size: 14.5px; display: grid;
  gap: 6px; align-self: start; }
.meters { display: grid; gap: 8px; align-content: start; }
.meter { display: grid; grid-template-columns: minmax(0, 1fr) 56px; gap: 2px 10px; align-items: end; }
.meter span { font-size: 14px; }
.meter output { text-align: right; font-variant-numeric: tabular-nums; font-weight: 650; }
.track { grid-column: 1 / -1; height: 10px; border-radius: 4px; background: var(--soft); overflow: hidden;
  box-shadow: inset 0 0 0 1px var(--line); }
.track i { display: block; height: 100%; background: var(--accent); transition: width .2s ease; }
@media (pointer: coarse) { .thumbs .face { min-height: 44px; } }
@media (forced-colors: active) { .cells i, .track i, .scales i::after { forced-color-adjust: none; } }
`;

// -------------------------------------------------------------------------------------------- view

const CHOICES = ["told", "image", "layer", "head", "patch", "direction", "parts"];
const STATE = [...CHOICES, "grid", "size", "n_heads", "images", "models", "variant"];

const ROOMY = 5; // columns in which numbers do not touch

// The eye tells pale shades apart better than dark ones, so pale weights get more of the scale.
const darkness = (share) => (0.95 * share ** 0.7).toFixed(3);
// Numbers stand on it, so it stays pale enough for them to be read.
const shade = (share) => (0.62 * Math.min(1, share)).toFixed(3);

/** An image as ink: black, as dense as the pixel is bright. The dark theme inverts it. */
function drawInk(pixels, [height, width]) {
  const canvas = h("canvas", { width, height, "aria-hidden": "true" });
  const context = canvas.getContext("2d");
  const data = context.createImageData(width, height);
  pixels.forEach((value, i) => {
    data.data[4 * i + 3] = value;
  });
  context.putImageData(data, 0, 0);
  return canvas;
}

function render({ model, el }) {
  const get = () => Object.fromEntries(STATE.map((name) => [name, model.get(name)]));
  const set = (changes) => {
    for (const [name, value] of Object.entries(changes)) model.set(name, value);
    model.save_changes();
  };
  const given = get();
  const { grid, size } = given;
  const n = grid[0] * grid[1];
  const pixels = given.images.map((image) => bytesOf(image.pixels));
  const style = `--rows:${grid[0]};--columns:${grid[1]}`;

  // What is chosen

  const told = radios({ legend: "(X)+ is told", onchoose: (name) => set({ told: name }) });
  const layers = radios({ legend: "Layer", onchoose: (at) => set({ layer: at }) });
  const heads = radios({ legend: "Head", onchoose: (at) => set({ head: at }) });
  const thumbName = `image-${Math.random().toString(36).slice(2)}`;
  const thumbInputs = given.images.map((image, i) =>
    h("input", { type: "radio", name: thumbName, onchange: () => set({ image: i }) }),
  );
  const thumbs = h(
    "fieldset",
    {},
    h("legend", {}, "Image"),
    h(
      "div",
      { class: "thumbs" },
      ...given.images.map((image, i) =>
        h(
          "label",
          { class: "option" },
          thumbInputs[i],
          h("span", { class: "face" }, drawInk(pixels[i], size), image.label),
        ),
      ),
    ),
  );
  const direction = radios({ legend: "Show", onchoose: (way) => set({ direction: way }) });

  // (X)+, whose parts are the buttons of its formula

  const toggle = (part) => {
    const { parts } = get();
    set({ parts: PARTS.filter((each) => (each === part ? !parts.includes(part) : parts.includes(each))) });
  };
  const buttons = Object.fromEntries(
    PARTS.map((part) => [part, h("button", { type: "button", onclick: () => toggle(part) })]),
  );
  const all = h("button", {
    type: "button",
    class: "all",
    onclick: () => set({ parts: get().parts.length ? [] : [...PARTS] }),
  });
  const law = h(
    "div",
    { class: "law", role: "group", "aria-label": "The parts of (X)+" },
    h(
      "div",
      { class: "sum" },
      h("span", {}, h("var", {}, "S′"), "(", h("var", {}, "i"), ", ", h("var", {}, "j"), ") = ",
        h("var", {}, "S"), "(", h("var", {}, "i"), ", ", h("var", {}, "j"), ")"),
      ...PARTS.map((part) => buttons[part]),
      all,
    ),
    h("p", { class: "hint" }, "Each part can be left out. Which of them do the weights feel?"),
  );

  // Four pictures of the same grid

  let hovered = null;
  const onhover = (patch) => {
    if (patch === hovered) return;
    hovered = patch;
    paint();
  };
  function panel({ main = false } = {}) {
    const cells = Array.from({ length: n }, (_, i) =>
      h(
        "span",
        main ? { role: "gridcell", tabindex: -1 } : {},
        h("i", { "aria-hidden": "true" }),
        h("b", { "aria-hidden": "true" }),
      ),
    );
    cells.forEach((cell, i) => {
      cell.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && onhover(i));
      cell.addEventListener("click", () => set({ patch: i }));
    });
    const rows = Array.from({ length: grid[0] }, (_, r) => cells.slice(r * grid[1], (r + 1) * grid[1]));
    const board = h(
      "div",
      main
        ? {
            class: "cells",
            role: "grid",
            "aria-label": "Patches of the image. Arrow keys choose one.",
            onkeydown: (event) => {
              const to = step(event.key, model.get("patch"), grid);
              if (to === null || isCommand(event)) return;
              event.preventDefault();
              hovered = null;
              set({ patch: to });
              cells[to].focus();
            },
          }
        : { class: "cells" },
      ...(main ? rows.map((row) => h("div", { role: "row" }, ...row)) : cells),
    );
    board.addEventListener("pointerleave", () => onhover(null));
    const tile = h("div", { class: main ? "tile main" : "tile", style, ...(main ? {} : { role: "img" }) }, board);
    const title = h("h3");
    return { root: h("div", { class: "panel" }, title, tile), title, tile, cells };
  }
  const panels = { image: panel({ main: true }), added: panel(), before: panel(), after: panel() };
  const scales = h(
    "div",
    { class: "scales", "aria-hidden": "true" },
    h("span", { class: "signs" }),
    h("span", { class: "looks tone" }),
  );

  // What is said

  const meter = (label) => {
    const fill = h("i");
    const shown = h("output");
    const name = h("span", {}, label);
    return {
      root: h("div", { class: "meter" }, name, shown, h("div", { class: "track", "aria-hidden": "true" }, fill)),
      update(share, text) {
        fill.style.width = `${Math.min(100, 100 * share)}%`;
        shown.textContent = text;
      },
    };
  };
  const meters = {
    before: meter("Asymmetry ‖S − Sᵀ‖ / ‖S‖ without (X)+"),
    after: meter("… with the parts that are on"),
    moved: meter("Weight moved by them, mean over all patches"),
  };
  const flow = h("p", { class: "hint" });
  const words = h("div", { class: "told" });
  const live = announcer();
  const root = h(
    "section",
    { class: "sheet pg tone", "aria-label": "What (X)+ adds on the grid of an image" },
    h("div", { class: "picks" }, told.root, layers.root, heads.root, thumbs),
    law,
    direction.root,
    h("div", { class: "panels" }, ...Object.values(panels).map((each) => each.root)),
    scales,
    h(
      "div",
      { class: "bottom" },
      words,
      h("div", { class: "meters" }, ...Object.values(meters).map((each) => each.root), flow),
    ),
    live.node,
  );
  root.style.setProperty("--ink", given.variant.colour);
  root.classList.toggle("roomy", grid[1] <= ROOMY);
  const staged = stage(root, CSS);

  let shownImage = null;
  let effect = null;

  function drawImage(state) {
    if (state.image === shownImage) return;
    shownImage = state.image;
    for (const { tile } of Object.values(panels)) {
      tile.querySelector("canvas")?.remove();
      tile.prepend(drawInk(pixels[state.image], size));
    }
  }

  /** Colour the pictures for the patch that is chosen, or under the pointer; returns the words. */
  function paint() {
    const state = get();
    const patch = hovered ?? state.patch;
    const layer = layerOf(state);
    const place = placeText(patch, grid[1]);
    const out = state.direction === "out";
    const pick = (at) => picture(at, patch, n, state.direction);
    const added = pick((i, j) => addedTo(state, layer, i, j));
    const weights = {
      before: pick((i, j) => effect.weights.before[i][j]),
      after: pick((i, j) => effect.weights.after[i][j]),
    };
    const reach = reachOf(layer, state.parts);
    const darkest = Math.max(...weights.before, ...weights.after);

    panels.image.cells.forEach((cell, i) => {
      cell.setAttribute("aria-selected", String(i === state.patch));
      cell.setAttribute("aria-label", `${placeText(i, grid[1])}: added ${signedText(added[i])}`);
      cell.tabIndex = i === state.patch ? 0 : -1;
    });
    for (const { cells } of Object.values(panels)) {
      cells.forEach((cell, i) => cell.classList.toggle("at", i === patch));
    }
    panels.added.cells.forEach((cell, i) => {
      const [fill, number] = cell.children;
      fill.style.background = added[i] < 0 ? "var(--down)" : "var(--up)";
      fill.style.opacity = shade(Math.abs(added[i]) / reach);
      number.textContent = signedText(added[i], 1).replace(/^0.0$/, "0");
    });
    for (const when of ["before", "after"]) {
      panels[when].cells.forEach((cell, i) => {
        cell.firstChild.style.opacity = darkness(weights[when][i] / darkest);
      });
    }
    scales.querySelector(".looks").replaceChildren(
      "weight",
      ...[1 / 8, 1 / 4, 1 / 2, 1].map((share) => {
        const box = h("i", { style: `--dark:${darkness(share)}` });
        return h("span", {}, box, `${fixed(100 * share * darkest, 1)}\u00a0%`);
      }),
    );
    const heading = (title, hint) => [title, h("small", {}, hint)];
    panels.image.title.replaceChildren(...heading("The patch", place));
    panels.added.title.replaceChildren(
      ...heading("(X)+ adds", out ? "to its look at every patch" : "to every patch’s look at it"),
    );
    const way = out ? "where it looks" : "how much each looks at it";
    panels.before.title.replaceChildren(...heading("Without (X)+", way));
    panels.after.title.replaceChildren(
      ...heading(state.parts.length === PARTS.length ? "With (X)+" : "With what is on", way),
    );
    const top = (values) => values.indexOf(Math.max(...values));
    panels.added.tile.setAttribute("aria-label", `Added, ${place}: ${addedText({ ...state, patch })}`);
    for (const [when, name] of [["before", "without"], ["after", "with"]]) {
      const most = top(weights[when]);
      panels[when].tile.setAttribute(
        "aria-label",
        `Weights ${name} (X)+, ${way}: most ${placeText(most, grid[1])}, ${percent(weights[when][most])}`,
      );
    }
    const moved = `${fixed(100 * effect.moved[patch], 1)}\u00a0%`;
    const sentences = [
      `The patch in ${place}. ${addedText({ ...state, patch })}`,
      `Of its own weight ${moved} has moved.`,
    ];
    words.replaceChildren(...sentences.map((text) => h("p", {}, text)));
    return sentences.join(" ");
  }

  function update(first) {
    const state = get();
    effect = effectOf(state);
    const layer = layerOf(state);
    thumbInputs.forEach((input, i) => {
      input.checked = i === state.image;
    });
    told.update(state.models.map((each) => ({ value: each.told, title: each.told })), state.told);
    layers.update(state.models[0].layers.map((_, i) => ({ value: i, title: String(i) })), state.layer);
    heads.update(Array.from({ length: state.n_heads }, (_, i) => ({ value: i, title: String(i) })), state.head);
    direction.update(
      [
        { value: "out", title: "from the patch to all" },
        { value: "in", title: "from all to the patch" },
      ],
      state.direction,
    );
    const faces = { gain: `× g = ${fixed(layer.gain, 2).replace("-", "−")}`, a: "+ a(i)", b: "+ b(j)" };
    for (const part of PARTS) {
      buttons[part].textContent = faces[part];
      buttons[part].setAttribute("aria-pressed", String(state.parts.includes(part)));
    }
    all.textContent = state.parts.length ? "(X)+ off" : "(X)+ on";
    const reach = reachOf(layer, state.parts);
    scales.querySelector(".signs").replaceChildren(
      "added",
      ...[-reach, -reach / 2, reach / 2, reach].map((value) => {
        const ink = value < 0 ? "var(--down)" : "var(--up)";
        const box = h("i", { style: `--tone:${ink};--dark:${shade(Math.abs(value) / reach)}` });
        return h("span", {}, box, signedText(value, reach < 1 ? 2 : 1));
      }),
    );
    drawImage(state);
    const { before, after } = effect.asymmetry;
    meters.before.update(before.all / 2, fixed(before.all, 2));
    meters.after.update(after.all / 2, fixed(after.all, 2));
    meters.moved.update(effect.meanMoved, `${fixed(100 * effect.meanMoved, 1)}\u00a0%`);
    flow.textContent = `Of the asymmetry with them, flow is ${fixed(after.flow, 2)}: the rest is pull, one height for each patch.`;
    const said = paint();
    if (first !== true) {
      live.say(
        `${said} Asymmetry ${fixed(after.all, 2)}; weight moved on average ${fixed(100 * effect.meanMoved, 1)} %.`,
      );
    }
  }

  const unfollow = follow(model, CHOICES, () => update(false));
  update(true);
  el.append(staged.host);
  return () => {
    unfollow();
    live.hush();
    staged.remove();
  };
}

export default { render };
