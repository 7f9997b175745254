// AttentionLab: small trained models read and write, live; their maps and their cache grow with each token.
//
// An ES module in the anywidget protocol, self-contained once _shared.js and what it needs are put in
// front of it.
// needs: _lab

// -------------------------------------------------------------------------------------------- style

const CSS = `
.lab { --k: #0072b2; --v: #d55e00; --ink: #0b4f7d; --plus: #0b4f7d; --minus: #b34a00; --none: #ffffff;
  padding: 14px; display: grid; gap: 14px; grid-template-columns: minmax(0, 1fr); }
.lab[data-theme="dark"] { --k: #3a9bdc; --v: #e8803a; --ink: #9ad4ff; --plus: #7cc4f2; --minus: #f2a873;
  --none: #171c23; }
.lab h3 { margin: 0; font-size: 14px; font-weight: 600; }
.mono { font-family: ui-monospace, SFMono-Regular, Menlo, "DejaVu Sans Mono", monospace; }
.fine { display: grid; gap: 10px; grid-template-columns: minmax(0, 1fr); }
.choose { display: grid; gap: 12px 18px; grid-template-columns: minmax(0, 1fr); }
.field { display: grid; gap: 6px; align-content: start; min-width: 0; }
.field label { font-weight: 600; font-size: 14px; }
select, textarea, .lab input[type="text"] { font: inherit; color: var(--fg); background: var(--bg);
  border: 1px solid var(--edge); border-radius: 8px; min-height: 36px; padding: 4px 8px; width: 100%; }
textarea { resize: vertical; min-height: 58px; line-height: 1.4; tab-size: 4; }
select:focus-visible, textarea:focus-visible, [tabindex]:focus-visible { outline: 3px solid var(--accent);
  outline-offset: 2px; }
.lab .two .face small { white-space: normal; }

.status { border-left: 4px solid var(--accent); border-radius: 0 8px 8px 0; background: var(--soft);
  padding: 8px 12px; display: flex; flex-wrap: wrap; gap: 8px 14px; align-items: center; font-size: 14px; }
.status.failed { border-color: var(--warn-line); background: var(--warn-bg); }
.status p { flex: 1 1 240px; }
progress { flex: 1 1 160px; height: 12px; accent-color: var(--accent); }
.primary { background: var(--accent); color: var(--bg); border-color: var(--accent); font-weight: 600; }
button[aria-disabled="true"] { background: var(--soft); color: var(--muted); border-color: var(--line);
  cursor: default; }

.bar { display: flex; flex-wrap: wrap; gap: 8px; align-items: center; }
.bar .slide { flex: 1 1 180px; display: grid; grid-template-columns: minmax(0, 1fr) auto; gap: 10px;
  align-items: center; }
.bar input[type="range"] { width: 100%; margin: 0; height: 28px; accent-color: var(--accent); cursor: pointer; }
.where { font-size: 13.5px; font-variant-numeric: tabular-nums; min-width: 92px; }

.columns { display: grid; gap: 16px 22px; grid-template-columns: minmax(0, 1fr); align-items: start; }
.main, .aside, .panel { display: grid; gap: 10px; align-content: start; min-width: 0;
  grid-template-columns: minmax(0, 1fr); }
.aside { gap: 16px; }
.tokens { padding: 10px 12px; border-radius: 8px; background: var(--soft); font-size: 15px; line-height: 1.75;
  white-space: pre-wrap; overflow-wrap: anywhere; max-height: 236px; overflow-y: auto; min-height: 56px; }
.tokens span { border-radius: 4px; cursor: pointer; padding: 2px 0; unicode-bidi: isolate;
  border-bottom: 2px solid transparent;
  background: color-mix(in srgb, var(--accent) calc(var(--w, 0) * 62%), transparent); }
.tokens span.mine { font-weight: 650; }
.tokens span.later { opacity: .35; }
.tokens span.at { outline: 2px solid var(--accent); outline-offset: 0; background: var(--chosen); }
.tokens .end { color: var(--muted); cursor: default; }
.list { display: grid; gap: 4px; overflow-x: auto; }
.told { font-size: 14px; min-height: 44px; }
.told b { font-weight: 600; }

.maps { display: grid; gap: 14px 22px; grid-template-columns: minmax(0, 1fr); align-items: start; }
.big { display: grid; gap: 12px; grid-template-columns: minmax(0, 1fr); }
.big.three { grid-template-columns: repeat(auto-fit, minmax(130px, 1fr)); }
figure { margin: 0; min-width: 0; max-width: 360px; }
figcaption { font-size: 13.5px; margin-bottom: 4px; min-height: 20px; }
figcaption b { font-weight: 600; }
.frame { position: relative; border: 1px solid var(--line); border-radius: 6px; overflow: hidden;
  cursor: crosshair; touch-action: manipulation; background: var(--none); }
canvas { display: block; width: 100%; height: auto; image-rendering: pixelated; }
.frame i { position: absolute; left: 0; width: 100%; border: 1.5px solid var(--fg); border-left: 0;
  border-right: 0; pointer-events: none; }
.heads { display: grid; gap: 6px 8px; grid-template-columns: max-content repeat(var(--heads), minmax(0, 84px));
  align-items: center; }
.heads > span { font-size: 12.5px; color: var(--muted); white-space: nowrap; }
.heads label { position: relative; display: block; }
.heads label input { position: absolute; inset: 0; opacity: 0; margin: 0; width: 100%; height: 100%; cursor: pointer;
  z-index: 1; }
.heads .mini { border: 1px solid var(--line); border-radius: 6px; overflow: hidden; background: var(--none);
  min-width: 24px; }
.heads input:checked + .mini { border-color: var(--accent); box-shadow: 0 0 0 2px var(--accent); }
.heads input:focus-visible + .mini { outline: 3px solid var(--accent); outline-offset: 3px; }
.heads small { display: block; text-align: center; font-size: 12px; font-variant-numeric: tabular-nums; }

.layers { display: grid; gap: 5px; }
.layer { display: grid; grid-template-columns: 52px 14px minmax(0, 1fr); gap: 4px; align-items: center;
  font-size: 12.5px; color: var(--muted); }
.layer canvas { border-radius: 3px; }
.layer .names { display: grid; grid-template-rows: 1fr 1fr; height: 100%; align-items: center;
  font-weight: 600; font-size: 11px; color: var(--fg); line-height: 1; }
.gauge { position: relative; height: 14px; border: 1px dashed var(--edge); border-radius: 4px; overflow: hidden; }
.gauge i { position: absolute; inset: 0 auto 0 0; background: var(--accent); transition: width .25s ease; }
.facts { display: grid; grid-template-columns: auto minmax(0, 1fr); gap: 3px 12px; margin: 0; font-size: 14px; }
.facts dt { color: var(--muted); }
.facts .who { grid-column: 1 / -1; color: var(--fg); font-weight: 600; margin-top: 4px; }
.facts .who + dd { display: none; }
.brief { display: grid; gap: 4px; font-size: 13.5px; font-variant-numeric: tabular-nums; }
.facts dd { margin: 0; font-variant-numeric: tabular-nums; }
.lean { display: grid; grid-template-columns: auto minmax(0, 1fr) auto; gap: 4px 8px; align-items: center;
  font-size: 13px; font-variant-numeric: tabular-nums; }
.lean .track { position: relative; height: 12px; border-radius: 3px; background: var(--soft);
  border: 1px solid var(--line); }
.lean .track i { position: absolute; inset: 0 auto 0 0; background: var(--ink); border-radius: 2px; }
.lean .track u { position: absolute; top: -3px; bottom: -3px; left: 70.71%; width: 2px; background: var(--fg); }

.tour { border: 1px solid var(--line); border-radius: 10px; padding: 10px 14px; }
.tour ol { margin: 8px 0 0; padding: 0; list-style: none; display: grid; gap: 6px; font-size: 14px; }
.tour li { display: grid; grid-template-columns: 22px minmax(0, 1fr); color: var(--muted); }
.tour li.now { color: var(--fg); }
.tour li.now b { font-weight: 600; }
.tour li.done s { text-decoration: none; }
.tour .mark { font-weight: 700; color: var(--accent); }
details summary { cursor: pointer; font-size: 14px; padding: 6px 0; }
.scroll { overflow: auto; max-height: 320px; border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; width: 100%; }
th, td { text-align: left; padding: 3px 8px; border-bottom: 1px solid var(--line); vertical-align: top; }
thead th { position: sticky; top: 0; background: var(--bg); }
.shades { display: flex; flex-wrap: wrap; gap: 4px 12px; font-size: 13px; color: var(--muted); align-items: center; }
.shades span { display: inline-flex; gap: 5px; align-items: center; }
.shades i { width: 13px; height: 13px; border: 1px solid var(--line); border-radius: 3px; }

@container (min-width: 560px) {
  .lab { padding: 18px 20px; }
  .choose { grid-template: auto auto / minmax(0, 3fr) minmax(0, 2fr); }
  .choose > :first-child { grid-row: 1 / 3; }
  .lab .options.two { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .aside { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 16px 22px; }
  .aside > .both { grid-column: 1 / -1; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 22px; }
  .aside > .tour { grid-column: 1 / -1; }
}
@container (min-width: 700px) {
  .maps.one { grid-template-columns: minmax(0, 340px) minmax(0, 1fr); }
}
@container (min-width: 900px) {
  .brief { display: none; }
  .lab .options.two { grid-template-columns: repeat(4, minmax(0, 1fr)); }
  .choose { grid-template: auto / minmax(0, 5fr) auto auto; }
  .choose > :first-child { grid-row: auto; }
  .columns { grid-template-columns: minmax(0, 1fr) 340px; }
  .aside, .aside > .both { grid-template-columns: minmax(0, 1fr); gap: 16px; }
}
@media (pointer: coarse) {
  select, .lab input[type="text"] { min-height: 44px; }
  .bar input[type="range"] { height: 44px; }
  details summary { min-height: 44px; display: list-item; padding: 10px 0; }
}
@media (forced-colors: active) { canvas, .gauge i, .tokens span, .lean i { forced-color-adjust: none; } }
`;

// --------------------------------------------------------------------------------- colours and pixels

const parse = (colour) => {
  const [, r, g, b] = /^#(..)(..)(..)$/.exec(colour.trim()).map((part) => parseInt(part, 16));
  return [r, g, b];
};
const mix = (from, to, share) => from.map((x, i) => Math.round(x + (to[i] - x) * share));

// The eye tells pale shades apart better than dark ones, so pale weights get more of the scale.
const darkness = (weight) => weight ** 0.6;

/** Colours of the theme, as numbers; ramps of 256 from nothing to most. */
function palette(root) {
  const style = getComputedStyle(root);
  const read = (name) => parse(style.getPropertyValue(name));
  const none = read("--none");
  const ramp = (to) =>
    Uint32Array.from({ length: 256 }, (_, i) => {
      const [r, g, b] = mix(none, to, darkness(i / 255));
      return ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
    });
  return {
    ink: ramp(read("--ink")), plus: ramp(read("--plus")), minus: ramp(read("--minus")),
    k: read("--k"), v: read("--v"), none, line: read("--line"), edge: read("--edge"),
  }; // prettier-ignore
}

/** How many tokens a picture has room for, so that it need not change its scale with each one. */
export function roomFor(n) {
  return Math.max(32, Math.ceil(n / 16) * 16);
}

/** Draw a map, `weigh(i, j)` from -1 to 1, of `n` rows into a square of `side` places. */
function paint(canvas, side, n, sees, weigh, colours) {
  if (canvas.width !== side) canvas.width = canvas.height = side;
  const context = canvas.getContext("2d");
  const image = context.createImageData(side, side);
  const pixels = new Uint32Array(image.data.buffer);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < sees(i); j++) {
      const w = weigh(i, j);
      const shade = Math.min(255, Math.round(Math.abs(w) * 255));
      pixels[i * side + j] = (colours.two ? (w < 0 ? colours.minus : colours.plus) : colours.ink)[shade];
    }
  }
  context.putImageData(image, 0, 0);
}

/** Draw one layer of a cache: a column for each token, a line for each head of keys and of values. */
function paintLayer(canvas, { side, n, heads, filled, colours }) {
  const [wide, high] = [6, 5];
  const height = 2 * heads * high + 3;
  if (canvas.width !== side * wide || canvas.height !== height) {
    canvas.width = side * wide;
    canvas.height = height;
  }
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, height);
  ["k", "v"].forEach((name, part) => {
    for (let head = 0; head < heads; head++) {
      const y = (part * heads + head) * high + part * 3;
      const share = filled(name, head);
      const [r, g, b] = mix(colours.line, colours[name], share);
      context.fillStyle = `rgb(${r} ${g} ${b} / ${0.35 + 0.65 * share})`;
      for (let i = 0; i < n; i++) {
        const inset = share > 0.5 ? 0 : 1;
        context.fillRect(i * wide, y + inset, wide - 1, high - 1 - 2 * inset);
      }
    }
  });
}

// ---------------------------------------------------------------------------------------------- words

const share = (weight) => `${Math.round(100 * weight)} %`;

/** A token as a reader can tell it: blanks and line ends by name. */
export function spoken(face) {
  if (face === "\n") return "line end";
  if (/^ +$/.test(face)) return face.length === 1 ? "blank" : `${face.length} blanks`;
  return `‘${face.replaceAll("\n", "↵")}’`;
}

/** Where a token looks, in words. */
export function looksText(faces, row, at) {
  const found = strongest(row);
  if (found.length === 0) return "spreads over everything, 2 % nowhere";
  return found
    .map((j) => `${j === at ? "itself" : spoken(faces[j])} ${share(row[j])}`)
    .join(", ");
}

/** "1.623 bits per byte (1.602 to 1.641)" or "98.1 % right". */
function qualityText(entry) {
  if (!entry.quality) return "not measured here";
  const { value, low, high, unit } = entry.quality;
  const text = (x) => (unit === "%" ? fixed(100 * x, 1) : fixed(x, 3));
  const interval = low === undefined ? "" : ` (${text(low)} to ${text(high)})`;
  return `${text(value)} ${unit === "%" ? "% right" : unit}${interval}`;
}

const megabytes = (bytes) => `${fixed(bytes / 1e6, 1)} MB`;

const TOUR = [
  ["Let it write", "Press “Write”. Each token that it adds looks back at all before it.", (lab, state, seen) => seen.wrote && lab.text.length >= lab.prompt + 5],
  ["Ask a token", "Point at a word, or choose one with the arrow keys: where does it look?", (lab, state, seen) => seen.asked],
  ["Tie key and value", "Switch to Q-K=V and watch the orange blocks leave: a key is its own value.", (lab, state) => entryOf(state)?.sharing === "Q-K=V"],
  ["Share heads as well", "Choose MQA. One head of keys is left for all. How many bytes are that?", (lab, state) => entryOf(state)?.option === "MQA"],
  ["Put two side by side", "Choose QKV beside it. Which head has changed the most?", (lab, state) => Boolean(state.other) && state.other !== state.variant],
]; // prettier-ignore

// --------------------------------------------------------------------------------------------- view

const STATE = [
  "kind", "variant", "other", "layer", "head", "temperature", "seed", "prompt", "digits", "models", "task",
  "tour", "share",
]; // prettier-ignore

const KINDS = { text: "writes code", lists: "answers lists" };

/** A labelled list to choose from. */
function chooser(label, onchoose) {
  const id = `choice-${Math.random().toString(36).slice(2)}`;
  const select = h("select", { id, onchange: () => onchoose(select.value) });
  let drawn = "";
  return {
    root: h("div", { class: "field" }, h("label", { for: id }, label), select),
    /** options: [[value, text]] */
    update(options, value) {
      const signature = JSON.stringify(options);
      if (signature !== drawn) {
        drawn = signature;
        select.replaceChildren(...options.map(([each, text]) => h("option", { value: each }, text)));
      }
      select.value = String(value);
    },
  };
}

/** A button that can say why it does nothing. */
function action(text, onclick, extra = {}) {
  const node = h("button", { type: "button", onclick: () => node.getAttribute("aria-disabled") !== "true" && onclick(), ...extra }, text);
  return {
    node,
    update(off, label = text) {
      node.setAttribute("aria-disabled", String(off));
      if (node.textContent !== label) node.textContent = label;
    },
  };
}

/** The engine of this place, and the one that could take over from it. */
function enginesOf(model) {
  if (!model.root) return { engine: new KernelEngine(model), waker: null };
  const root = new URL("_static/lab/", model.root).href;
  const able = typeof WebAssembly === "object" && /^https?:/.test(root);
  return { root, waker: able ? () => new PageEngine(root) : null };
}

/** Fetch the stored runs: a classic script, which also a page opened from a file may load. */
function storedRuns(root) {
  window.qkvLabStored ??= new Promise((resolve, reject) => {
    const script = h("script", { src: new URL("stored.js", root).href });
    script.onload = () => resolve(window.QKV_LAB_STORED);
    script.onerror = () => {
      window.qkvLabStored = undefined;
      reject(new LabError("The stored runs could not be loaded.", true));
    };
    document.head.append(script);
  });
  return window.qkvLabStored;
}

function render({ model, el }) {
  const get = () => Object.fromEntries(STATE.map((name) => [name, model.get(name)]));
  const set = (changes) => {
    for (const [name, value] of Object.entries(changes)) model.set(name, value);
    model.save_changes();
  };
  const entry = (name) => entryOf(get(), name);
  const titleOf = (name) => entry(name).title;
  const { engine, root: files, waker } = enginesOf(model);
  const lab = new Lab({ get, engine: engine ?? null, waker, changed: () => schedule() });
  const seen = { wrote: false, asked: false };
  let at = null; // the token up to which is shown; null for the last
  let asked = null; // the token whose row is shown; null for the last
  let hovered = null;
  let fast = false;
  let gone = false;
  const done = new Set(); // steps of the tour

  // Choosing

  const kinds = radios({ legend: "Model", onchoose: (kind) => choose({ kind }) });
  const sharing = radios({
    legend: "Sharing",
    two: true,
    onchoose: (name) => choose({ variant: nearestOf(get(), name).name }),
  });
  const options = radios({ legend: "Heads", onchoose: (name) => choose({ variant: name }) });
  const beside = chooser("Beside it", (name) => choose({ other: name }));
  const chooseBox = h("div", { class: "choose" }, sharing.root, options.root, beside.root);

  /** Change what is looked at; what no longer fits falls to the nearest. */
  function choose(changes) {
    const state = { ...get(), ...changes };
    changes.variant = (entryOf(state) ?? state.models.find((each) => each.kind === state.kind)).name;
    changes.other = entryOf(state, state.other)?.name ?? "";
    const { config } = entryOf({ ...state, ...changes });
    if (state.layer >= config.n_layers) changes.layer = config.n_layers - 1;
    if (state.head >= config.n_heads) changes.head = config.n_heads - 1;
    if (changes.kind) {
      at = asked = null;
      lab.stop();
    }
    set(changes);
  }

  // What runs

  const words = h("p");
  const gaugeBar = h("progress", { max: 1, "aria-label": "Loading" });
  const wake = action("", () => lab.wake(), { class: "primary" });
  const again = action("Try again", () => (lab.engine ? (lab.wished ? lab.wake() : lab.follow()) : begin()));
  const status = h("div", { class: "status" }, words, gaugeBar, wake.node, again.node);
  const alarm = h("div", { class: "quiet", role: "alert" });

  // Text

  const promptId = `prompt-${Math.random().toString(36).slice(2)}`;
  let typing;
  const prompt = h("textarea", {
    id: promptId, rows: 3, class: "mono", spellcheck: "false", dir: "auto", autocapitalize: "off",
    oninput: () => {
      clearTimeout(typing);
      typing = setTimeout(typed, 250);
    },
  }); // prettier-ignore
  function typed() {
    clearTimeout(typing);
    if (prompt.value === get().prompt) return;
    at = asked = null;
    lab.stop();
    set({ prompt: prompt.value });
  }
  const ready = () => {
    typed();
    if (lab.replays && lab.text.length >= lab.engine.text.length) return lab.wake();
    return Promise.resolve(true);
  };
  const write = action("Write", async () => {
    if (lab.playing) return lab.stop();
    if (await ready()) {
      seen.wrote = true;
      at = asked = null;
      await lab.play(pause);
    }
  }, { class: "primary" });
  const step = action("One token", async () => {
    const n = lab.text.length;
    if (at !== null && at + 1 < n) {
      at = at + 2 < n ? at + 1 : null;
      return schedule();
    }
    if (await ready()) {
      seen.wrote = true;
      at = asked = null;
      await lab.step();
    }
  });
  const back = action("Back to the prompt", () => {
    at = asked = null;
    lab.rewind();
  });
  const pause = () =>
    new Promise((resolve) => (fast ? requestAnimationFrame(resolve) : setTimeout(resolve, 90)));
  const pacing = chooser("Pace", (value) => {
    fast = value === "fast";
    schedule();
  });
  const chance = chooser("Next token", (value) => {
    const [temperature, seed] = value.split("/").map(Number);
    set({ temperature, seed });
  });
  const where = h("span", { class: "where" });
  const slider = h("input", {
    type: "range", min: 1, step: 1, "aria-label": "Go back and forth in the text",
    oninput: () => {
      lab.stop();
      const place = Number(slider.value) - 1;
      at = place + 1 < lab.text.length ? place : null;
      asked = null;
      schedule();
    },
  }); // prettier-ignore
  const link = action("Copy a link", async () => {
    const address = new URL(toHash(get(), lab.text.length - lab.prompt), location.href).href;
    history.replaceState(null, "", new URL(address).hash);
    try {
      await navigator.clipboard.writeText(address);
      live.say("The link is copied.");
      link.update(false, "Copied");
    } catch {
      link.update(false, "It is in the address bar");
    }
    setTimeout(() => !gone && link.update(false), 2500);
  });
  const writing = h(
    "div",
    { class: "panel" },
    h("div", { class: "field" }, h("label", { for: promptId }, "Prompt"), prompt),
    h("div", { class: "bar" }, write.node, step.node, back.node, link.node),
    h("div", { class: "bar" }, h("div", { class: "slide" }, slider, where)),
  );
  const fine = h("div", { class: "fine" }, pacing.root, chance.root);

  // Lists

  const listId = `list-${Math.random().toString(36).slice(2)}`;
  const listNote = h("p", { class: "hint", id: `${listId}-note` });
  const listBox = h("input", {
    type: "text", id: listId, inputmode: "numeric", class: "mono", autocomplete: "off",
    "aria-describedby": `${listId}-note`,
    onchange: () => {
      const { task } = get();
      const found = [...listBox.value.replace(/[\s,]/g, "")];
      const good = found.length === task.length && found.every((d) => /\d/.test(d) && Number(d) < task.n_digits);
      listBox.setAttribute("aria-invalid", String(!good));
      listNote.textContent = good ? task.rule : `Exactly ${task.length} digits from 0 to ${task.n_digits - 1}, please.`;
      if (good) setDigits(found.map(Number));
    },
  }); // prettier-ignore
  const another = action("Another list", () => {
    const { task } = get();
    listBox.setAttribute("aria-invalid", "false");
    setDigits(Array.from({ length: task.length }, () => Math.floor(Math.random() * task.n_digits)));
  });
  function setDigits(digits) {
    set({ digits });
  }
  const listing = h(
    "div",
    { class: "panel" },
    h("div", { class: "field" }, h("label", { for: listId }, "List"), listBox, listNote),
    h("div", { class: "bar" }, another.node),
  );

  // Where it looks

  const strip = h("div", { class: "tokens mono", role: "listbox", "aria-label": "Text, token by token", tabindex: 0 });
  const told = h("p", { class: "told" });
  const big = h("div", { class: "big" });
  const brief = h("div", { class: "brief", "aria-hidden": "true" });
  const heads = h("fieldset", { class: "heads" });
  const headsTitle = h("h3");
  const shades = h("p", { class: "shades", "aria-hidden": "true" });
  const tableBody = h("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": "The map as a table" });
  const table = h("details", { ontoggle: () => schedule() }, h("summary", {}, "The map as a table"), tableBody);
  const cachePanel = h("div", { class: "panel" });
  const maps = h(
    "div",
    { class: "maps" },
    h("div", { class: "panel" }, big, shades),
    h("div", { class: "panel" }, headsTitle, heads),
  );
  const facts = h("div", { class: "panel" });
  const tour = h("div", { class: "tour" });
  const live = announcer();

  const sheet = h(
    "section",
    { class: "sheet lab", "aria-label": "Attention Lab" },
    kinds.root,
    chooseBox,
    brief,
    status,
    h(
      "div",
      { class: "columns" },
      h("div", { class: "main" }, writing, listing, strip, told, maps, table),
      h("div", { class: "aside" }, cachePanel, facts, fine, tour),
    ),
    alarm,
    live.node,
  );
  const staged = stage(sheet, CSS);

  // Tokens

  /** Tokens that are shown as reached. */
  const upto = () => (get().kind === "lists" ? get().digits.length : Math.min((at ?? Infinity) + 1, lab.text.length));
  const facesOf = () => (get().kind === "lists" ? get().digits.map(String) : lab.text.map((each) => each.face));
  const place = () => Math.min(hovered ?? asked ?? Infinity, upto() - 1);

  const ask = (i) => {
    asked = Math.max(0, Math.min(i, upto() - 1));
    seen.asked = true;
    schedule();
  };
  strip.addEventListener("keydown", (event) => {
    const now = place();
    const to = { ArrowLeft: now - 1, ArrowRight: now + 1, ArrowUp: now - 8, ArrowDown: now + 8, Home: 0, End: upto() - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    hovered = null;
    ask(to);
    strip.querySelector(".at")?.scrollIntoView({ block: "nearest" });
  });
  const tokenAt = (event) => {
    const found = event.target.closest?.("[data-i]");
    return found ? Number(found.dataset.i) : null;
  };
  strip.addEventListener("pointermove", (event) => {
    if (event.pointerType !== "mouse") return;
    const i = tokenAt(event);
    if (i !== null) point(i);
  });
  strip.addEventListener("pointerleave", () => point(null));
  strip.addEventListener("click", (event) => {
    const i = tokenAt(event);
    if (i !== null) ask(i);
  });
  function point(i) {
    if (hovered === i) return;
    hovered = i !== null && i < upto() ? i : null;
    if (hovered !== null) seen.asked = true;
    schedule();
  }

  let chips = [];
  const mapOf = (state, config) => state.layer * config.n_heads + state.head;

  function drawTokens(state, tape) {
    const faces = facesOf();
    const n = upto();
    const i = place();
    while (chips.length > faces.length) chips.pop().remove();
    faces.forEach((face, j) => {
      if (!chips[j]) {
        chips[j] = h("span", { role: "option", "data-i": j, id: `${promptId}-${j}` });
        strip.append(chips[j]);
      }
      const text = state.kind === "lists" ? ` ${face} ` : face === "\n" ? "↵\n" : face;
      if (chips[j].textContent !== text) {
        chips[j].textContent = text;
        if (text.trim()) chips[j].removeAttribute("aria-label");
        else chips[j].setAttribute("aria-label", spoken(face)); // blanks alone would not be read
      }
      const kind = `${state.kind === "text" && j >= lab.prompt ? "mine" : ""} ${j >= n ? "later" : ""} ${j === i ? "at" : ""}`;
      if (chips[j].className !== kind) chips[j].className = kind;
      chips[j].setAttribute("aria-selected", String(j === i));
    });
    if (i >= 0) strip.setAttribute("aria-activedescendant", `${promptId}-${i}`);
    else strip.removeAttribute("aria-activedescendant");
    if (lab.playing) strip.scrollTop = strip.scrollHeight;
    const row = tape && i >= 0 && i < tape.length ? tape.row(mapOf(state, entry().config), i) : [];
    chips.forEach((chip, j) => chip.style.setProperty("--w", (row[j] > 0 ? darkness(row[j]) : 0).toFixed(3)));
  }

  function sentence(state) {
    const faces = facesOf();
    const i = place();
    if (i < 0) return "Nothing to read yet: the prompt is empty.";
    const parts = lab.shown().map((name) => {
      const tape = lab.tape(name);
      if (!tape || i >= tape.length) return null;
      const row = tape.row(mapOf(state, entry(name).config), i);
      return `${lab.shown().length > 1 ? `${titleOf(name)}: ` : ""}${looksText(faces, row, i)}`;
    });
    if (parts.every((part) => part === null)) return "";
    return `Token ${i + 1}, ${spoken(faces[i])}, looks at ${parts.filter(Boolean).join("; ")}.`;
  }

  // Maps

  const frames = new Map();
  /** A map with its title, made once. */
  function frameOf(key) {
    if (!frames.has(key)) {
      const canvas = h("canvas", { role: "img" });
      const mark = h("i");
      const box = h("div", { class: "frame" }, canvas, mark);
      const caption = h("figcaption");
      const rowAt = (event) => {
        const bounds = box.getBoundingClientRect();
        return Math.floor(((event.clientY - bounds.top) / bounds.height) * canvas.width);
      };
      box.addEventListener("pointermove", (event) => event.pointerType === "mouse" && point(rowAt(event)));
      box.addEventListener("pointerleave", () => point(null));
      box.addEventListener("click", (event) => ask(rowAt(event)));
      frames.set(key, { root: h("figure", {}, caption, box), canvas, mark, caption });
    }
    return frames.get(key);
  }

  function drawMaps(state, colours) {
    const [first, second] = lab.shown();
    const [a, b] = [lab.tape(first), second && lab.tape(second)];
    const { config } = entry();
    const map = mapOf(state, config);
    const n = upto();
    const side = state.kind === "lists" ? Math.max(1, state.digits.length) : roomFor(n);
    const sees = (i) => (state.kind === "lists" ? n : i + 1);
    const both = a && b ? Math.min(a.length, b.length) : 0;
    const panels = [["a", titleOf(first), a, null]];
    if (second) {
      const titles = [first, second].map(titleOf).join(" less ");
      panels.push(["b", titleOf(second), b, null], ["d", titles, null, both]);
    }
    big.classList.toggle("three", panels.length > 1);
    maps.classList.toggle("one", panels.length === 1);
    const wanted = panels.map(([key, title, tape, two]) => {
      const frame = frameOf(key);
      const rows = Math.min(n, two ?? tape?.length ?? 0);
      const weigh = tape
        ? (i, j) => tape.row(map, i)[j]
        : (i, j) => a.row(map, i)[j] - b.row(map, i)[j];
      paint(frame.canvas, side, rows, sees, weigh, { ...colours, two: two !== null });
      frame.caption.replaceChildren(h("b", {}, title));
      const i = place();
      frame.mark.hidden = i < 0 || i >= rows;
      frame.mark.style.top = `${(100 * i) / side}%`;
      frame.mark.style.height = `max(3px, ${100 / side}%)`;
      frame.canvas.setAttribute(
        "aria-label",
        two === null
          ? `Map of ${title}, layer ${state.layer + 1}, head ${state.head + 1}: ${rows} tokens. ${sentence(state)}`
          : `Difference of both maps: on average ${share(a && b ? distance(a, b, map, n) : 0)} of a token's weight lies elsewhere.`,
      );
      return frame.root;
    });
    if (big.children.length !== wanted.length || wanted.some((each, i) => big.children[i] !== each)) {
      big.replaceChildren(...wanted);
    }
    drawHeads(state, colours, a, b, n, side, sees);
  }

  let minis = [];
  function drawHeads(state, colours, a, b, n, side, sees) {
    const { n_layers: layers, n_heads: count } = entry().config;
    if (minis.length !== layers * count || heads.dataset.count !== String(count)) {
      heads.dataset.count = count;
      heads.style.setProperty("--heads", count);
      const name = `head-${Math.random().toString(36).slice(2)}`;
      minis = Array.from({ length: layers * count }, (_, map) => {
        const canvas = h("canvas", { "aria-hidden": "true" });
        const input = h("input", {
          type: "radio", name, "aria-label": `Layer ${Math.floor(map / count) + 1}, head ${(map % count) + 1}`,
          onchange: () => set({ layer: Math.floor(map / count), head: map % count }),
        }); // prettier-ignore
        const aside = h("small", { "aria-hidden": "true" });
        return { canvas, input, aside, root: h("label", {}, input, h("div", { class: "mini" }, canvas), aside) };
      });
      heads.replaceChildren(
        h("legend", { class: "quiet" }, "Layer and head"),
        h("span"),
        ...Array.from({ length: count }, (_, i) => h("span", {}, `head ${i + 1}`)),
        ...Array.from({ length: layers }, (_, l) => [
          h("span", {}, `layer ${l + 1}`),
          ...minis.slice(l * count, (l + 1) * count).map((each) => each.root),
        ]).flat(),
      );
    }
    headsTitle.textContent = b ? "All heads: the difference" : "All heads";
    const both = Boolean(a && b);
    const rows = Math.min(n, a?.length ?? 0, both ? b.length : Infinity);
    minis.forEach(({ canvas, input, aside }, map) => {
      const weigh = both ? (i, j) => a.row(map, i)[j] - b.row(map, i)[j] : (i, j) => a.row(map, i)[j];
      paint(canvas, side, rows, sees, weigh, { ...colours, two: both });
      input.checked = map === mapOf(state, entry().config);
      aside.textContent = both ? share(distance(a, b, map, n)) : "";
    });
  }

  function drawTable(state) {
    if (!table.open) return;
    const faces = facesOf();
    const tape = lab.tape(state.variant);
    const map = mapOf(state, entry().config);
    const n = Math.min(upto(), tape?.length ?? 0);
    const i = Math.min(place(), n - 1);
    const rows = Array.from({ length: n }, (_, k) =>
      h(
        "tr",
        {},
        h("th", { scope: "row" }, `${k + 1} ${spoken(faces[k])}`),
        h("td", {}, strongest(tape.row(map, k), 5).map((j) => `${j + 1} ${spoken(faces[j])} ${share(tape.row(map, k)[j])}`).join(", ") || "–"),
      ),
    );
    const whole = i >= 0 ? [...tape.row(map, i)].map((w, j) => `${j + 1} ${spoken(faces[j])} ${share(w)}`).join(", ") : "";
    tableBody.replaceChildren(
      h("p", { style: "padding:6px 8px" }, h("b", {}, i >= 0 ? `All of ${i + 1} ${spoken(faces[i])}: ` : ""), whole),
      h(
        "table",
        {},
        h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "token"), h("th", { scope: "col" }, "looks most at"))),
        h("tbody", {}, ...rows),
      ),
    );
  }

  // The cache, or how symmetric scores are

  let layers = []; // [{ name, canvases }], one for each model that is shown
  const filling = new Map(); // "model place/tensor/head" -> how far it is filled, from 0 to 1
  let fading = 0;
  const still = matchMedia("(prefers-reduced-motion: reduce)");

  /** Move every block towards being there or not; returns whether some are still under way. */
  function fade(names) {
    let moving = false;
    names.forEach((name, place) => {
      const { config } = entry(name);
      for (const tensor of ["k", "v"]) {
        for (let head = 0; head < config.n_heads; head++) {
          const key = `${place}/${tensor}/${head}`;
          const goal = config.cached.includes(tensor) && head < config.n_kv_heads ? 1 : 0;
          const now = filling.get(key);
          const next = now === undefined || still.matches ? goal : now + Math.sign(goal - now) * Math.min(0.08, Math.abs(goal - now));
          filling.set(key, next);
          moving ||= next !== goal;
        }
      }
    });
    return moving;
  }

  function drawCache(state, colours) {
    const names = lab.shown();
    const { n_layers: count, n_heads: rows } = entry().config;
    const signature = JSON.stringify([names.length, count]);
    if (cachePanel.dataset.drawn !== signature) {
      cachePanel.dataset.drawn = signature;
      layers = names.map(() => {
        const canvases = Array.from({ length: count }, () => h("canvas", { "aria-hidden": "true" }));
        const title = h("h3");
        const text = h("p", { class: "cached" });
        const bar = h("i");
        const picture = h(
          "div",
          { class: "layers", role: "img" },
          ...canvases.map((canvas, i) =>
            h(
              "div",
              { class: "layer" },
              h("span", {}, `layer ${i + 1}`),
              h("span", { class: "names", "aria-hidden": "true" }, h("span", {}, "K"), h("span", {}, "V")),
              canvas,
            ),
          ),
        );
        return {
          canvases, title, text, bar, picture,
          root: h("div", { class: "panel" }, title, picture, h("div", { class: "gauge", "aria-hidden": "true" }, bar), text),
        };
      }); // prettier-ignore
      cachePanel.classList.toggle("both", names.length > 1);
      cachePanel.replaceChildren(...layers.map((each) => each.root));
    }
    const n = upto();
    const moving = fade(names);
    const docked = [];
    names.forEach((name, place) => {
      const each = layers[place];
      const own = entry(name);
      const tape = lab.tape(name);
      const shown = Math.min(n, tape?.length ?? 0);
      for (const canvas of each.canvases) {
        paintLayer(canvas, {
          side: roomFor(n), n: shown, heads: rows, colours,
          filled: (tensor, head) => filling.get(`${place}/${tensor}/${head}`),
        }); // prettier-ignore
      }
      const full = fullBytes(own, shown);
      const bytes = tape?.length ? Math.round((tape.bytes / tape.length) * shown) : 0;
      each.title.textContent = names.length > 1 ? `KV cache of ${own.title}` : "KV cache";
      const less = full ? 1 - bytes / full : 0;
      const text = `${formatCount(bytes)} bytes for ${plural(shown, "token")}; QKV with all heads would hold ${formatCount(full)}${less > 0 ? `: ${formatShare(less)} saved` : ""}.`;
      if (each.text.textContent !== text) each.text.textContent = text;
      const filled = `${full ? (100 * bytes) / full : 0}%`;
      each.bar.style.width = filled;
      docked.push(h("span", {}, `${own.title}: ${formatCount(bytes)} of ${formatCount(full)} bytes of cache`));
      docked.push(h("div", { class: "gauge" }, h("i", { style: `width:${filled}` })));
      each.picture.setAttribute("aria-label", `Cache of ${own.title}: ${own.config.cached.join(" and ")} of ${plural(own.config.n_kv_heads, "head")} in each of ${count} layers. ${text}`);
    });
    if (state.tour && done.size < TOUR.length) {
      docked.push(h("span", {}, h("b", {}, `Tour, ${done.size + 1} of ${TOUR.length}: `), TOUR[done.size][1]));
    }
    brief.replaceChildren(...docked);
    if (moving && !fading) {
      fading = requestAnimationFrame(() => {
        fading = 0;
        if (!gone && get().kind === "text") drawCache(get(), palette(sheet));
      });
    }
  }

  function drawLean(state) {
    cachePanel.dataset.drawn = "lean";
    cachePanel.classList.toggle("both", lab.shown().length > 1);
    const parts = lab.shown().map((name) => {
      const look = lab.tape(name);
      const { n_layers: count, n_heads: rows } = entry(name).config;
      const bars = Array.from({ length: look ? count * rows : 0 }, (_, map) => {
        const value = look.asymmetry(map);
        return [
          h("span", {}, `layer ${Math.floor(map / rows) + 1}, head ${(map % rows) + 1}`),
          h("span", { class: "track", "aria-hidden": "true" }, h("i", { style: `width:${Math.min(100, 50 * value)}%` }), h("u")),
          h("span", {}, fixed(value, 2)),
        ];
      });
      return h(
        "div",
        { class: "panel" },
        h("h3", {}, `Asymmetry of the scores${lab.shown().length > 1 ? ` of ${titleOf(name)}` : ""}`),
        h("div", { class: "lean" }, ...bars.flat()),
      );
    });
    cachePanel.replaceChildren(
      ...parts,
      h("p", { class: "hint" }, "‖S − Sᵀ‖ / ‖S‖: 0 is a symmetric map, as of tied Q and K; the mark at √2 is what independent scores give."),
    );
  }

  function drawFacts(state) {
    const rows = [];
    for (const name of lab.shown()) {
      const own = entry(name);
      const tape = lab.tape(name);
      if (lab.shown().length > 1) rows.push([own.both_forms, null]);
      rows.push([state.kind === "lists" ? "Held-out lists" : "Held-out text", qualityText(own)]);
      if (state.kind === "text") {
        const ms = lab.replays ? null : pace(tape?.ms ?? []);
        rows.push(["Speed", ms === null ? (lab.replays ? "a stored run has none" : "not measured yet") : `${fixed(ms, 2)} ms a token, ${formatCount(Math.round(1000 / ms))} tokens/s`]);
        const likely = tape?.likeliest.slice(0, 3).map(({ face, share: p }) => `${spoken(face)} ${share(p)}`);
        if (likely?.length) rows.push(["Takes for likely", likely.join(", ")]);
      } else if (tape) {
        const wanted = answersTo(state.task.name, state.digits);
        const right = tape.answers.filter((each, i) => each === wanted[i]).length;
        rows.push(["Answers", `${tape.answers.join(" ")} (${right} of ${wanted.length} right)`]);
      }
    }
    facts.replaceChildren(
      h("h3", {}, "Measured"),
      h("dl", { class: "facts" }, ...rows.flatMap(([label, text]) => [h("dt", { class: text === null ? "who" : null }, label), h("dd", {}, text ?? "")])),
    );
  }

  // Tour

  function drawTour(state) {
    tour.hidden = !state.tour || state.kind !== "text";
    if (tour.hidden) return;
    const before = done.size;
    // A step counts once those before it are done.
    while (done.size < TOUR.length && TOUR[done.size][2](lab, state, seen)) done.add(done.size);
    const signature = String(done.size);
    if (tour.dataset.done === signature) return;
    tour.dataset.done = signature;
    tour.replaceChildren(
      h("h3", {}, done.size === TOUR.length ? "Tour: all five done" : "Tour: five steps"),
      h(
        "ol",
        {},
        ...TOUR.map(([title, text], i) =>
          h(
            "li",
            { class: i < done.size ? "done" : i === done.size ? "now" : "", "aria-current": i === done.size ? "step" : null },
            h("span", { class: "mark", "aria-hidden": "true" }, i < done.size ? "✓" : `${i + 1}`),
            h("span", {}, h("b", {}, title), i < done.size ? h("span", { class: "quiet" }, " (done)") : null, i === done.size ? `. ${text}` : ""),
          ),
        ),
      ),
    );
    if (done.size > before && before > 0 && done.size < TOUR.length) live.say(`Done. Next: ${TOUR[done.size][1]}`);
  }

  // Status

  function drawStatus(state) {
    const { kind, words: text, retry, loaded, total, name } = lab.status;
    const stalled = kind === "failed";
    let line = "";
    if (stalled) line = text;
    else if (kind === "loading") {
      line = `${name ? `Loading ${titleOf(name)}` : "Starting the models"}${total ? `: ${megabytes(loaded)} of ${megabytes(total)}` : ""} …`;
    } else if (lab.replays) {
      line = waker
        ? "A stored run, with nothing loaded yet. To go on from it, or from words of your own:"
        : "This is a stored run: here, no model can run (the page was opened from a file, or the browser lacks WebAssembly). On the course's site they do.";
    } else if (kind === "ended") {
      line = lab.room <= 0 ? `The text is full: this model knows ${entry().config.max_seq_len} places and no more. Go back to the prompt, or shorten it.` : "";
    } else if (lab.dropped) {
      line = `The prompt is too long for this model: its first ${plural(lab.dropped, "token")} found no room.`;
    } else if (state.kind === "text" && lab.encoded !== undefined && lab.text.length === 0) {
      line = "Type something for the model to go on from.";
    }
    words.textContent = line;
    status.hidden = line === "";
    status.classList.toggle("failed", stalled);
    alarm.textContent = stalled ? line : "";
    gaugeBar.hidden = kind !== "loading";
    if (total) gaugeBar.value = loaded / total;
    else gaugeBar.removeAttribute("value");
    wake.node.hidden = !(lab.replays && waker && kind !== "loading" && !stalled);
    wake.update(false, `Start the models (${megabytes(entry().download + (lab.engine?.runtimeBytes ?? 0))})`);
    again.node.hidden = !(stalled && retry);
  }

  // All of it

  let queued = false;
  function schedule() {
    if (queued || gone) return;
    queued = true;
    queueMicrotask(() => {
      queued = false;
      if (!gone) draw();
    });
  }

  function draw() {
    const state = get();
    const own = entryOf(state);
    const text = state.kind === "text";
    const colours = palette(sheet);
    const families = [...new Set(state.models.map((each) => each.kind))];
    kinds.root.hidden = families.length < 2;
    kinds.update(families.map((each) => ({ value: each, title: KINDS[each] })), state.kind);
    const sharings = [...new Map(state.models.filter((each) => each.kind === state.kind).map((each) => [each.sharing, each])).values()];
    sharing.update(
      sharings.map((each) => ({ value: each.sharing, title: each.sharing, detail: each.tuple_form, swatch: each.colour })),
      own.sharing,
    );
    const ways = [...new Set(state.models.filter((each) => each.kind === state.kind).map((each) => each.option))];
    options.root.querySelector("legend").textContent = text ? "Heads" : "(X)+";
    const had = optionsOf(state, own.sharing);
    options.root.hidden = ways.length < 2;
    options.update(
      ways.map((way) => {
        const found = had.find((each) => each.option === way);
        return { value: found?.name ?? `none ${way}`, title: way, disabled: !found };
      }),
      own.name,
    );
    const missing = had.length < ways.length;
    options.note.hidden = !missing;
    options.note.textContent = missing ? (text ? "A tied query needs a key head of its own, so all heads stay." : "(X)+ is made for tied Q and K.") : "";
    beside.update(
      [["", "nothing"], ...state.models.filter((each) => each.kind === state.kind && each.name !== own.name).map((each) => [each.name, each.both_forms])],
      state.other === own.name ? "" : state.other,
    );
    writing.hidden = fine.hidden = strip.dataset.hidden = !text;
    listing.hidden = text;
    // Where no model can run, nothing but what was stored can be asked for.
    prompt.readOnly = listBox.readOnly = another.node.hidden = lab.replays && !waker;
    if (text) {
      if (prompt.value !== state.prompt && staged.host.shadowRoot.activeElement !== prompt) prompt.value = state.prompt;
      const n = lab.text.length;
      const last = at === null ? n : at + 1;
      const full = n > 0 && lab.room <= 0;
      write.update(!lab.playing && (n === 0 || full), lab.playing ? "Pause" : "Write");
      step.update(n === 0 || (full && at === null) || lab.playing);
      back.update(n <= lab.prompt);
      link.node.hidden = !state.share;
      slider.max = Math.max(1, n);
      slider.value = last;
      slider.disabled = n < 2;
      slider.setAttribute("aria-valuetext", `token ${last} of ${n}`);
      where.textContent = `token ${last} of ${n}`;
      pacing.update([["calm", "slowly, to watch"], ["fast", "as fast as it goes"]], fast ? "fast" : "calm");
      const draws = new Map([["0/0", "always the likeliest"]]);
      for (const [temperature, seed] of [[0.8, 1], [0.8, 2], [0.8, 3], [state.temperature, state.seed]]) {
        if (temperature > 0) draws.set(`${temperature}/${seed}`, `by lot (temperature ${temperature}, seed ${seed})`);
      }
      chance.update([...draws], state.temperature > 0 ? `${state.temperature}/${state.seed}` : "0/0");
    } else {
      if (staged.host.shadowRoot.activeElement !== listBox) listBox.value = state.digits.join(" ");
      if (listBox.getAttribute("aria-invalid") !== "true") listNote.textContent = state.task.rule;
    }
    drawStatus(state);
    drawTokens(state, lab.tape(own.name));
    const said = sentence(state);
    told.textContent = said;
    drawMaps(state, colours);
    shades.replaceChildren(
      "Rows look, columns are looked at.",
      ...[0.06, 0.25, 0.5, 1].map((w) => h("span", {}, h("i", { style: `background:rgb(${mix(colours.none, parse(getComputedStyle(sheet).getPropertyValue("--ink")), darkness(w)).join(" ")})` }), share(w))),
    );
    drawTable(state);
    drawTour(state);
    brief.hidden = !text;
    if (text) drawCache(state, colours);
    else drawLean(state);
    drawFacts(state);
    if (seen.asked && !lab.playing && hovered === null) live.say(said);
  }

  // Beginning

  async function begin() {
    try {
      if (!engine) {
        lab.engine = new StoredEngine(await storedRuns(files));
      }
    } catch (error) {
      lab.status = { kind: "failed", words: error.message, retry: true };
      return schedule();
    }
    if (gone) return;
    const linked = get().share ? fromHash(location.hash, get()) : null;
    choose(linked?.changes ?? {});
    const { text: stored } = lab.engine;
    await lab.follow();
    if (lab.replays && !linked && get().kind === "text") {
      // The first screen is not empty: the stored text is there, whole.
      await lab.show(stored);
    }
    if (linked?.written) {
      if (lab.replays) await lab.wake();
      for (let n = 0; n < linked.written && lab.canWrite && !gone; n++) if (!(await lab.step())) break;
    }
  }

  const unfollow = follow(model, STATE, () => {
    schedule();
    if (lab.engine) lab.follow();
  });
  const restyle = new MutationObserver(schedule);
  restyle.observe(sheet, { attributes: true, attributeFilter: ["data-theme"] });
  el.append(staged.host);
  draw();
  begin();
  return () => {
    gone = true;
    clearTimeout(typing);
    cancelAnimationFrame(fading);
    unfollow();
    restyle.disconnect();
    lab.close();
    live.hush();
    staged.remove();
  };
}

export default { render };
