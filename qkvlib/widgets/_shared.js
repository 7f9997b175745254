// What every widget of the course needs: elements, numbers as text, colours, theme, controls, a live region.
//
// Not a module of its own: this text is put in front of each widget's module, so that a module in
// the page is still self-contained and imports nothing.

const SVG = new Set(
  "svg g defs marker path line polyline polygon circle ellipse rect text tspan title".split(" "),
);

/** Make an element; attributes that start with "on" are listeners. */
function h(tag, attributes = {}, ...children) {
  const svg = SVG.has(tag);
  const node = svg
    ? document.createElementNS("http://www.w3.org/2000/svg", tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child != null));
  return node;
}

/** Which theme the host page shows: JupyterLab, the book's theme, or the system's wish. */
export function themeOf(doc, prefersDark) {
  const lab = doc.body?.dataset?.jpThemeLight;
  if (lab) return lab === "false" ? "dark" : "light";
  const book = doc.documentElement?.dataset?.theme;
  if (book === "dark" || book === "light") return book;
  return prefersDark ? "dark" : "light";
}

// The root of every widget has the class "sheet".
const SHEET = `
:host { all: initial; display: block; }
* { box-sizing: border-box; }
.sheet {
  --bg: #ffffff; --soft: #f4f6f9; --line: #d5dbe3; --edge: #7b8794;
  --fg: #1c2530; --muted: #55606d; --accent: #005a8d; --chosen: #e3f0f8;
  --warn-bg: #fdf3e4; --warn-line: #b26a00;
  container-type: inline-size; color-scheme: light;
  color: var(--fg); font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
  background: var(--bg); border: 1px solid var(--line); border-radius: 12px;
}
.sheet[data-theme="dark"] {
  --bg: #171c23; --soft: #1f262f; --line: #36404c; --edge: #7f8b99;
  --fg: #e6ebf1; --muted: #a7b2bf; --accent: #7cc4f2; --chosen: #173449;
  --warn-bg: #33270f; --warn-line: #e0a13c;
  color-scheme: dark;
}
p { margin: 0; }
small, .hint { font-size: 13px; color: var(--muted); font-weight: 400; }
button { font: inherit; color: var(--fg); background: var(--bg); border: 1px solid var(--edge);
  border-radius: 8px; min-height: 36px; padding: 4px 12px; cursor: pointer; }
button:hover { border-color: var(--accent); }
button:focus-visible, input:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
[hidden] { display: none !important; }
.quiet { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%);
  white-space: nowrap; }
fieldset { border: 0; margin: 0; padding: 0; min-width: 0; }
legend, .label { padding: 0; font-weight: 600; font-size: 14px; }
legend { margin-bottom: 6px; }

.options { display: flex; flex-wrap: wrap; gap: 6px; }
.options.two { display: grid; grid-template-columns: 1fr 1fr; }
.option { position: relative; display: block; }
.option input { position: absolute; inset: 0; z-index: 1; width: 100%; height: 100%; margin: 0; opacity: 0;
  cursor: pointer; }
.option input:disabled { cursor: not-allowed; }
.face { display: flex; flex-direction: column; justify-content: center; min-height: 36px;
  min-width: 40px; padding: 4px 10px; border: 1px solid var(--edge); border-radius: 8px;
  background: var(--bg); text-align: center; }
.two .face { text-align: left; padding: 6px 10px 6px 15px; height: 100%; position: relative;
  overflow: hidden; }
.two .face::before { content: ""; position: absolute; inset: 0 auto 0 0; width: 6px;
  background: var(--swatch); }
.face b { font-weight: 600; white-space: nowrap; }
.face small { white-space: nowrap; }
.option input:hover:enabled + .face { border-color: var(--accent); }
.option input:checked + .face { background: var(--chosen); border-color: var(--accent);
  box-shadow: inset 0 0 0 1px var(--accent); }
.option input:disabled + .face { border-style: dashed; border-color: var(--line);
  background: var(--soft); color: var(--muted); }
.option input:disabled + .face::before { opacity: .35; }
.option input:focus-visible + .face { outline: 3px solid var(--accent); outline-offset: 2px; }

button[aria-disabled="true"] { background: var(--soft); color: var(--muted); border-color: var(--line);
  cursor: default; }
button[aria-pressed="true"] { background: var(--chosen); border-color: var(--accent);
  box-shadow: inset 0 0 0 1px var(--accent); }

.note { margin-top: 8px; padding: 8px 12px; border-left: 4px solid var(--warn-line);
  border-radius: 0 8px 8px 0; background: var(--warn-bg); font-size: 13.5px; }
.note .options { margin-top: 6px; }

.number { display: grid; grid-template-columns: minmax(0, 1fr) auto; align-items: center;
  align-content: start; column-gap: 8px; }
.number input[type="number"] { font: inherit; font-variant-numeric: tabular-nums; width: 92px;
  min-height: 34px; padding: 2px 8px; color: var(--fg); background: var(--bg);
  border: 1px solid var(--edge); border-radius: 8px; text-align: right; appearance: textfield; }
.number input::-webkit-inner-spin-button { appearance: none; }
.number input[aria-invalid="true"] { border-color: var(--warn-line);
  box-shadow: inset 0 0 0 1px var(--warn-line); }
.number input[type="range"] { grid-column: 1 / -1; width: 100%; margin: 0; height: 28px;
  accent-color: var(--accent); cursor: pointer; }
.number .error { grid-column: 1 / -1; font-size: 13px; color: var(--fg); background: var(--warn-bg);
  padding: 2px 8px; border-radius: 6px; }
.dock { position: sticky; bottom: 0; display: flex; justify-content: space-between; gap: 10px;
  padding: 8px 16px; background: var(--bg); border-top: 1px solid var(--line);
  border-radius: 0 0 12px 12px; font-size: 14px; z-index: 3; }
.dock b { font-variant-numeric: tabular-nums; }
@container (min-width: 700px) { .dock { display: none !important; } }
@media (pointer: coarse) {
  button { min-height: 44px; min-width: 44px; }
  .face { min-height: 44px; min-width: 44px; }
  .number input[type="number"] { min-height: 44px; }
  .number input[type="range"] { height: 44px; }
}
@media (forced-colors: active) {
  .option input:checked + .face, button[aria-pressed="true"] { outline: 3px solid Highlight; }
}
@media (prefers-reduced-motion: reduce) { .sheet * { transition: none !important; } }
`;

/** Put a widget's root into a shadow of its own, which follows the page's theme. */
function stage(root, css) {
  const host = h("div", {
    // JupyterLab would take digits and arrow keys for notebook commands.
    "data-lm-suppress-shortcuts": "true",
  });
  // The book turns pages on arrow keys and opens its search on others.
  for (const type of ["keydown", "keyup", "keypress"]) {
    host.addEventListener(type, (event) => event.stopPropagation());
  }
  host.attachShadow({ mode: "open" }).append(h("style", {}, SHEET + css), root);

  const dark = matchMedia("(prefers-color-scheme: dark)");
  const theme = () => {
    root.dataset.theme = themeOf(document, dark.matches);
  };
  const watcher = new MutationObserver(theme);
  for (const node of [document.documentElement, document.body]) {
    watcher.observe(node, { attributes: true, attributeFilter: ["data-theme", "data-jp-theme-light"] });
  }
  dark.addEventListener("change", theme);
  theme();
  return {
    host,
    remove() {
      watcher.disconnect();
      dark.removeEventListener("change", theme);
      host.remove();
    },
  };
}

/** Call `draw` once for all changes of these traits that arrive together; returns the way to stop. */
function follow(model, names, draw) {
  let queued = false;
  const schedule = () => {
    if (queued) return;
    queued = true;
    queueMicrotask(() => {
      queued = false;
      draw();
    });
  };
  for (const name of names) model.on(`change:${name}`, schedule);
  return () => {
    for (const name of names) model.off(`change:${name}`, schedule);
  };
}

/** A place that screen readers read out. */
function announcer() {
  const node = h("div", { class: "quiet", role: "status", "aria-live": "polite" });
  let speaking;
  let before = null;
  return {
    node,
    /** Say what is shown now. The first drawing is read where it stands; only changes are worth hearing. */
    follow(sentence) {
      if (before !== null && before !== sentence) this.say(sentence);
      before = sentence;
    },
    // A slider passes many values; only where it rests is worth hearing.
    say(sentence) {
      clearTimeout(speaking);
      speaking = setTimeout(() => {
        if (node.textContent !== sentence) node.textContent = sentence;
      }, 500);
    },
    hush() {
      clearTimeout(speaking);
      node.textContent = "";
    },
  };
}

/** On a phone, a line that stays at the bottom while the headline is out of sight. */
function docked(headline, ...content) {
  const node = h("div", { class: "dock", "aria-hidden": "true" }, ...content);
  const sight = new IntersectionObserver(([entry]) => {
    node.style.visibility = entry.isIntersecting ? "hidden" : "visible";
  });
  sight.observe(headline);
  return {
    node,
    remove() {
      sight.disconnect();
    },
  };
}

// Numbers as text

// Ties go to the even digit, as in Python, so that page and terminal print the same text.
function fixed(value, digits) {
  if ((value * 2 ** (digits + 1)) % 2 !== 1) return value.toFixed(digits);
  const below = Math.floor(value * 10 ** digits);
  return ((below + (below % 2)) / 10 ** digits).toFixed(digits);
}

/** 32768 -> "32,768". */
export function formatCount(n) {
  return String(n).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** 0.96875 -> "96.9 %". */
export function formatShare(share) {
  return `${fixed(100 * share, 1).replace(/\.0$/, "")} %`;
}

/** "2.68 GB", or "2.5 GiB" with binary units. */
export function formatBytes(bytes, binary = false) {
  const step = binary ? 1024 : 1000;
  const units = binary ? ["B", "KiB", "MiB", "GiB", "TiB"] : ["B", "kB", "MB", "GB", "TB"];
  let value = Number(bytes);
  let unit = 0;
  while (value >= step - 0.5 && unit < units.length - 1) {
    value /= step;
    unit += 1;
  }
  const digits = unit === 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
  const text = fixed(value, digits);
  return `${text.includes(".") ? text.replace(/\.?0+$/, "") : text} ${units[unit]}`;
}

const plural = (n, one, many = `${one}s`) => `${formatCount(n)} ${n == 1 ? one : many}`;

// Heads

/** Whole divisors of n, ascending. */
export function divisors(n) {
  const found = [];
  for (let d = 1; d <= n; d++) if (n % d === 0) found.push(d);
  return found;
}

/** "MHA", "GQA-4" or "MQA". */
export function headSharing(nKvHeads, nHeads) {
  if (nKvHeads === nHeads) return "MHA";
  return nKvHeads === 1 ? "MQA" : `GQA-${nKvHeads}`;
}

/** The paper's name of what is chosen: "QKV", "GQA-4", "Q-MQA" … */
export function variantName(sharing, nKvHeads, nHeads) {
  if (nKvHeads === nHeads) return sharing.name;
  return sharing.prefix + (nKvHeads === 1 ? "MQA" : `GQA-${nKvHeads}`);
}

// Controls

/** A button that stays where it is, and in reach of the keyboard, when it has nothing to do. */
function action(text, onclick, kind = null) {
  const press = () => node.getAttribute("aria-disabled") !== "true" && onclick();
  const node = h("button", { type: "button", class: kind, onclick: press }, text);
  return {
    node,
    update(off, label = text) {
      node.setAttribute("aria-disabled", String(off));
      if (node.textContent !== label) node.textContent = label;
    },
  };
}

/** Whether a key is a command to the browser, such as Alt with an arrow to go back. */
const isCommand = (event) => event.altKey || event.ctrlKey || event.metaKey;

function nearest(stops, value) {
  const distance = (stop) => Math.abs(Math.log(stop / value));
  return stops.reduce((best, stop, i) => (distance(stop) < distance(stops[best]) ? i : best), 0);
}

/** A row of native radio buttons. */
function radios({ legend, hint, two, onchoose }) {
  const name = `choice-${Math.random().toString(36).slice(2)}`;
  const box = h("div", { class: two ? "options two" : "options" });
  const note = h("div", { class: "note", id: `${name}-note`, hidden: true });
  const root = h(
    "fieldset",
    { "aria-describedby": `${name}-note` },
    h("legend", {}, legend, hint ? h("small", {}, ` ${hint}`) : null),
    box,
    note,
  );
  let drawn = "";
  return {
    root,
    note,
    /** Say why something cannot be chosen; "" where all can. A hidden note would be read out all the same. */
    explain(...parts) {
      note.replaceChildren(...parts.filter((part) => part !== ""));
      note.hidden = note.childNodes.length === 0;
    },
    /** options: [{ value, title, detail, disabled, swatch }] */
    update(options, value) {
      const signature = JSON.stringify(options.map((o) => [o.value, o.title, o.detail, o.swatch]));
      if (signature !== drawn) {
        drawn = signature;
        box.replaceChildren(
          ...options.map((option) =>
            h(
              "label",
              { class: "option" },
              h("input", {
                type: "radio",
                name,
                value: option.value,
                onchange: () => onchoose(option.value),
              }),
              h(
                "span",
                { class: "face", style: option.swatch ? `--swatch:${option.swatch}` : null },
                h("b", {}, option.title),
                option.detail ? h("small", {}, option.detail) : null,
              ),
            ),
          ),
        );
      }
      [...box.querySelectorAll("input")].forEach((input, i) => {
        input.checked = options[i].value === value;
        input.disabled = Boolean(options[i].disabled);
      });
    },
  };
}

/** A slider for common values with a box beside it for every value. */
function number({ stops, whole = true, label, what, limits, onset }) {
  const [low, high] = limits;
  const id = `box-${Math.random().toString(36).slice(2)}`;
  const box = h("input", {
    type: "number",
    id,
    min: low,
    max: high,
    step: whole ? 1 : "any",
    inputmode: whole ? "numeric" : "decimal",
    "aria-describedby": `${id}-error`,
  });
  const slider = h("input", {
    type: "range",
    min: 0,
    max: stops.length - 1,
    step: 1,
    "aria-label": `${label}: common values`,
  });
  const error = h("p", { class: "error", id: `${id}-error`, hidden: true });
  const hint = h("span", { class: "hint" }, what);
  let current;
  const read = () => {
    const value = Number(box.value);
    const good = box.value !== "" && value >= low && value <= high;
    return good && (!whole || Number.isInteger(value)) ? value : null;
  };
  const say = (bad) => {
    error.hidden = !bad;
    error.textContent = bad
      ? `${whole ? "A whole number" : "A number"} from ${formatCount(low)} to ${formatCount(high)}, please.`
      : "";
    box.setAttribute("aria-invalid", String(bad));
  };
  box.addEventListener("input", () => {
    const value = read();
    say(value === null);
    if (value !== null && value !== current) onset(value);
  });
  box.addEventListener("change", () => {
    if (read() !== null) return;
    box.value = current;
    say(false);
  });
  slider.addEventListener("input", () => onset(stops[Number(slider.value)]));
  return {
    root: h(
      "div",
      { class: "number" },
      h("span", {}, h("label", { class: "label", for: id }, label), " ", hint),
      box,
      slider,
      error,
    ),
    update(value, text, aside = what) {
      current = value;
      hint.textContent = aside;
      if (Number(box.value) !== value || box.value === "") {
        box.value = value;
        say(false);
      }
      const at = nearest(stops, value);
      // Rewriting the slider under the pointer would fight it.
      if (Number(slider.value) !== at) slider.value = at;
      slider.setAttribute("aria-valuetext", text);
    },
  };
}
