// PatchAttention: choose a patch of an image, and see where every head of every layer looks.
//
// An ES module in the anywidget protocol, self-contained once _shared.js is put in front of it. Images,
// answers and maps come from Python; pixels and weights are bytes in base64.

// -------------------------------------------------------------------------------------------- data

const FINEST = 255; // a weight of one, and a pixel that is all ink

/** Numbers from 0 to 1 from bytes in base64; `count` of them. */
export function unpack(text, count) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  if (bytes.length !== count) throw new Error(`${bytes.length} bytes, expected ${count}`);
  return Array.from(bytes, (byte) => byte / FINEST);
}

/** Whole percent: "34 %", not to be broken. */
export const percent = (weight) => `${Math.round(100 * weight)}\u00a0%`;

/** What a patch has to do with each patch: the weights it gives them, or those that they give it. */
export function looks(map, patch, n, direction) {
  const at = (j) => (direction === "in" ? map[j * n + patch] : map[patch * n + j]);
  return Array.from({ length: n }, (_, j) => at(j));
}

/** The place of the greatest weight; the first of several. */
export const most = (weights) => weights.indexOf(Math.max(...weights));

/** "row 1, column 2", both from 1 on, as one counts on a picture. */
export function placeText(patch, columns) {
  return `row ${Math.floor(patch / columns) + 1}, column ${(patch % columns) + 1}`;
}

/** What the heads do together: the mean weight of the patch itself, and the two greatest others. */
export function meanText(all, patch, columns, direction) {
  const mean = all[0].map((_, j) => all.reduce((sum, weights) => sum + weights[j], 0) / all.length);
  const others = mean
    .map((weight, at) => ({ at, weight }))
    .filter(({ at }) => at !== patch)
    .sort((a, b) => b.weight - a.weight || a.at - b.at)
    .slice(0, 2)
    .map(({ at, weight }) => `${placeText(at, columns)} (${percent(weight)})`)
    .join(" and ");
  const itself = percent(mean[patch]);
  const rest = direction === "in" ? `is looked at most from ${others}` : `looks most at ${others}`;
  return `on average over ${plural(all.length, "head")} it gives itself ${itself}, and ${rest}.`;
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

/** Classes from the likeliest on, three at most: [{ name, share }]. */
export function likeliest(shares, classes) {
  return shares
    .map((share, i) => ({ name: classes[i], share }))
    .sort((a, b) => b.share - a.share)
    .slice(0, 3);
}

/** How many of the models take an image for something else. */
export const mistaken = (image) => image.answers.filter(({ answer }) => answer !== image.label).length;

/** "a 7, right by all", "a 7, taken for something else by 2 of 4". */
export function imageText(image, classes) {
  const wrong = mistaken(image);
  const rest = wrong ? `taken for something else by ${wrong} of ${image.answers.length}` : "right by all";
  return `${classes[image.label]}, ${rest}`;
}

// ------------------------------------------------------------------------------------------- style

const CSS = `
.pa { padding: 16px; display: grid; gap: 18px; --ink: #1c2530; }
.pa[data-theme="dark"] { --ink: #f2f5f8; }
.thumbs { display: grid; gap: 6px; grid-template-columns: repeat(auto-fill, minmax(54px, 1fr)); }
.thumbs .face { padding: 5px 3px 3px; min-width: 0; align-items: center; gap: 2px; }
.thumbs .face b { font-size: 13.5px; }
.thumbs .face .bad { font-weight: 600; color: var(--fg); background: var(--warn-bg);
  border-radius: 4px; padding: 0 4px; font-size: 12px; }
canvas { display: block; image-rendering: pixelated; width: 100%; height: auto; }
.pa[data-theme="dark"] canvas { filter: invert(1); }
.thumbs canvas { width: 36px; }
.two .face b { white-space: normal; }
.two .face small { white-space: normal; }
.who .options { grid-template-columns: 1fr 1fr; }
@container (min-width: 720px) { .who .options { grid-template-columns: repeat(4, 1fr); } }
.main { display: grid; gap: 18px; }
@container (min-width: 640px) { .main { grid-template-columns: minmax(0, 5fr) minmax(0, 7fr); } }
.left { display: grid; gap: 12px; align-content: start; justify-items: stretch; }
@container (max-width: 639px) { .left { grid-template-columns: minmax(0, 1fr); } }
.whole { max-width: 320px; }
h3 { font-size: 14px; font-weight: 600; margin: 0 0 6px; }
.tile { position: relative; border: 1px solid var(--line); border-radius: 6px; overflow: hidden;
  background: var(--bg); }
.whole .tile { overflow: visible; }
.tile canvas { position: relative; pointer-events: none; opacity: .88; }
.cells { position: absolute; inset: 0; display: grid;
  grid-template: repeat(var(--rows), 1fr) / repeat(var(--columns), 1fr); }
.cells > div { display: contents; }
.cells span { position: relative; min-width: 0; cursor: pointer; }
.cells i { position: absolute; inset: 0; background: var(--tone); opacity: 0; }
.whole .cells span { box-shadow: inset 0 0 0 .5px var(--line); }
.whole .cells span:hover { box-shadow: inset 0 0 0 2px var(--accent); }
.cells span.at::after { content: ""; position: absolute; inset: 0; border: 2.5px solid var(--fg);
  border-radius: 3px; box-shadow: 0 0 0 1.5px var(--bg), inset 0 0 0 1px var(--bg); }
.heads .cells span.at::after { border-width: 1.5px; box-shadow: none; }
.cells span:focus-visible { outline: none; }
.cells span:focus-visible::after { outline: 3px solid var(--accent); outline-offset: 2px; }
.bars { display: grid; gap: 3px; font-size: 13.5px; font-variant-numeric: tabular-nums; max-width: 320px; }
.bars div { display: grid; grid-template-columns: minmax(34px, max-content) minmax(0, 1fr) 44px; gap: 8px;
  align-items: center; }
.bars i { display: block; height: 12px; border-radius: 3px; background: var(--tone); min-width: 1px; }
.bars div span:last-child { text-align: right; }
.layers { display: grid; gap: 14px; align-content: start; }
.heads { display: grid; gap: 10px 8px; grid-template-columns: repeat(auto-fit, minmax(62px, 1fr)); }
figure { margin: 0; min-width: 0; max-width: 150px; }
figcaption { font-size: 12.5px; color: var(--muted); margin-top: 3px; line-height: 1.25; }
.told { background: var(--soft); border-radius: 10px; padding: 10px 14px; font-size: 14.5px; }
.scale { display: flex; flex-wrap: wrap; gap: 4px 14px; align-items: center; font-size: 13px;
  color: var(--muted); }
.scale span { display: inline-flex; gap: 5px; align-items: center; }
.scale i { width: 14px; height: 14px; border: 1px solid var(--line); border-radius: 3px; position: relative;
  overflow: hidden; }
.scale i::after { content: ""; position: absolute; inset: 0; background: var(--tone); opacity: var(--dark); }
@media (pointer: coarse) { .thumbs .face { min-height: 60px; } }
@media (forced-colors: active) { .cells i, .bars i, .scale i::after { forced-color-adjust: none; } }
`;

// -------------------------------------------------------------------------------------------- view

const CHOICES = ["image", "patch", "variant", "direction"];
const STATE = [
  ...CHOICES, "grid", "size", "classes", "variants", "n_layers", "n_heads", "images",
];

// The eye tells pale shades apart better than dark ones, so pale weights get more of the scale.
const darkness = (weight) => (0.92 * weight ** 0.6).toFixed(3);

/** An image as ink: black, as dense as the pixel is bright. The dark theme inverts it. */
function drawInk(pixels, [height, width]) {
  const canvas = h("canvas", { width, height, "aria-hidden": "true" });
  const context = canvas.getContext("2d");
  const data = context.createImageData(width, height);
  pixels.forEach((value, i) => {
    data.data[4 * i + 3] = Math.round(255 * value);
  });
  context.putImageData(data, 0, 0);
  return canvas;
}

/** The patches of an image as cells in rows; `make` gives the attributes of each. */
function cellsOf([rows, columns], make) {
  const cells = Array.from({ length: rows * columns }, (_, i) =>
    h("span", make(i), h("i", { "aria-hidden": "true" })),
  );
  const inRows = Array.from({ length: rows }, (_, r) => cells.slice(r * columns, (r + 1) * columns));
  return { cells, inRows };
}

function render({ model, el }) {
  const get = () => Object.fromEntries(STATE.map((name) => [name, model.get(name)]));
  const set = (changes) => {
    for (const [name, value] of Object.entries(changes)) model.set(name, value);
    model.save_changes();
  };
  const given = get();
  const { grid, size, classes, variants } = given;
  const n = grid[0] * grid[1];
  const pixels = given.images.map((image) => unpack(image.pixels, size[0] * size[1]));
  const style = `--rows:${grid[0]};--columns:${grid[1]}`;

  const ways = { out: "where it looks", in: "who looks at it" };

  // Images to choose from
  const thumbName = `image-${Math.random().toString(36).slice(2)}`;
  const thumbInputs = given.images.map((image, i) =>
    h("input", {
      type: "radio",
      name: thumbName,
      "aria-label": `image ${i + 1}: ${imageText(image, classes)}`,
      onchange: () => set({ image: i }),
    }),
  );
  const thumbs = h(
    "fieldset",
    {},
    h("legend", {}, "Image", h("small", {}, " what it is; ✗ how many of the models miss it")),
    h(
      "div",
      { class: "thumbs" },
      ...given.images.map((image, i) =>
        h(
          "label",
          { class: "option" },
          thumbInputs[i],
          h(
            "span",
            { class: "face", "aria-hidden": "true" },
            drawInk(pixels[i], size),
            h(
              "span",
              {},
              h("b", {}, classes[image.label]),
              mistaken(image) ? h("small", { class: "bad" }, `✗${mistaken(image)}`) : null,
            ),
          ),
        ),
      ),
    ),
  );
  const sharing = radios({ legend: "Sharing", two: true, onchoose: (name) => set({ variant: name }) });
  sharing.root.classList.add("who");
  const direction = radios({ legend: "Show", onchoose: (way) => set({ direction: way }) });

  // The image, whose patches are chosen
  let hovered = null;
  const onhover = (patch) => {
    if (patch === hovered) return;
    hovered = patch;
    paint();
  };
  const watch = (cells) => {
    cells.forEach((cell, i) => {
      cell.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && onhover(i));
      cell.addEventListener("click", () => set({ patch: i }));
    });
  };
  const whole = cellsOf(grid, () => ({ role: "gridcell", tabindex: -1 }));
  whole.cells.forEach((cell, i) => cell.setAttribute("aria-label", placeText(i, grid[1])));
  watch(whole.cells);
  const board = h(
    "div",
    {
      class: "cells",
      role: "grid",
      style,
      "aria-label": "Patches of the image. Arrow keys choose one.",
      onpointerleave: () => onhover(null),
      onkeydown: (event) => {
        const to = step(event.key, model.get("patch"), grid);
        if (to === null || isCommand(event)) return;
        event.preventDefault();
        hovered = null;
        set({ patch: to });
        whole.cells[to].focus();
      },
    },
    ...whole.inRows.map((row) => h("div", { role: "row" }, ...row)),
  );
  const wholeTile = h("div", { class: "tile", style }, board);
  const question = h("h3");
  const bars = h("div", { class: "bars", role: "list" });
  const barsTitle = h("h3");
  const layers = h("div", { class: "layers" });
  const told = h("p", { class: "told" });
  const live = announcer();
  const scale = h(
    "div",
    { class: "scale", "aria-hidden": "true" },
    "Weight:",
    ...[1 / n, 0.25, 0.5, 1].map((weight) =>
      h("span", {}, h("i", { style: `--dark:${darkness(weight)}` }), percent(weight)),
    ),
    h("small", {}, `(${percent(1 / n)}: alike for all)`),
  );
  const root = h(
    "section",
    { class: "sheet pa", "aria-label": "Where the patches of an image look" },
    thumbs,
    sharing.root,
    h(
      "div",
      { class: "main" },
      h(
        "div",
        { class: "left" },
        h("div", { class: "whole" }, question, wholeTile),
        h("div", {}, barsTitle, bars),
      ),
      h("div", { class: "layers" }, direction.root, layers),
    ),
    told,
    scale,
    live.node,
  );
  const staged = stage(root, CSS);

  // Heads, by layer
  const heads = [];
  for (let layer = 0; layer < given.n_layers; layer++) {
    const figures = Array.from({ length: given.n_heads }, (_, head) => {
      const { cells, inRows } = cellsOf(grid, () => ({}));
      watch(cells);
      const tile = h(
        "div",
        { class: "tile", role: "img", style },
        h("div", { class: "cells", onpointerleave: () => onhover(null) }, ...inRows.flat()),
      );
      const peak = h("span");
      heads.push({ layer, head, cells, tile, peak });
      return h("figure", {}, tile, h("figcaption", {}, `head ${head}`, h("br"), peak));
    });
    layers.append(h("div", {}, h("h3", {}, `layer ${layer}`), h("div", { class: "heads" }, ...figures)));
  }

  let shownImage = null;
  let maps = [];

  function drawImage(state) {
    if (state.image === shownImage) return;
    shownImage = state.image;
    for (const tile of [wholeTile, ...heads.map((each) => each.tile)]) {
      tile.querySelector("canvas")?.remove();
      tile.append(drawInk(pixels[state.image], size));
    }
  }

  /** Colour the patches for the patch that is chosen, or under the pointer; returns the words. */
  function paint() {
    const state = get();
    const patch = hovered ?? state.patch;
    const place = placeText(patch, grid[1]);
    whole.cells.forEach((cell, i) => {
      cell.classList.toggle("at", i === patch);
      cell.setAttribute("aria-selected", String(i === state.patch));
      cell.tabIndex = i === state.patch ? 0 : -1;
    });
    const all = heads.map((each, k) => {
      const weights = looks(maps[k], patch, n, state.direction);
      each.cells.forEach((cell, i) => {
        cell.firstChild.style.opacity = darkness(weights[i]);
        cell.classList.toggle("at", i === patch);
      });
      const top = most(weights);
      const share = percent(weights[top]);
      each.peak.textContent = `${top === patch ? "itself" : "most"} ${share}`;
      const where = top === patch ? "itself" : placeText(top, grid[1]);
      each.tile.setAttribute(
        "aria-label",
        `Layer ${each.layer}, head ${each.head}, ${place}, ${ways[state.direction]}: most ${where}, ${share}`,
      );
      return weights;
    });
    const sentence = `${state.variant}, the patch in ${place}: ${meanText(all, patch, grid[1], state.direction)}`;
    told.textContent = sentence;
    return sentence;
  }

  function update(first) {
    const state = get();
    const image = state.images[state.image];
    const at = variants.findIndex((variant) => variant.name === state.variant);
    thumbInputs.forEach((input, i) => {
      input.checked = i === state.image;
    });
    sharing.update(
      variants.map((variant, i) => {
        const { answer, shares } = image.answers[i];
        const mark = answer === image.label ? "✓" : "✗";
        return {
          value: variant.name,
          title: `${variant.name} ${variant.tuple_form.replaceAll(" ", "\u00a0")}`,
          detail: `says ${classes[answer]} ${mark}, ${percent(shares[answer])}`,
          swatch: variant.colour,
        };
      }),
      state.variant,
    );
    direction.update(
      Object.entries(ways).map(([value, title]) => ({ value, title })),
      state.direction,
    );
    root.style.setProperty("--tone", variants[at].colour);
    const { answer, shares, maps: packed } = image.answers[at];
    question.textContent = `Choose a patch of this ${classes[image.label]}`;
    barsTitle.textContent = `${state.variant} takes it for ${classes[answer]}`;
    bars.replaceChildren(
      ...likeliest(shares, classes).map(({ name, share }) =>
        h(
          "div",
          { role: "listitem" },
          h("span", {}, name),
          h("i", { "aria-hidden": "true", style: `width:${(100 * share).toFixed(1)}%` }),
          h("span", {}, percent(share)),
        ),
      ),
    );
    maps = packed.flat().map((text) => unpack(text, n * n));
    drawImage(state);
    const said = paint();
    // The first drawing is read where it stands; only changes are worth hearing.
    if (first !== true) live.say(said);
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
