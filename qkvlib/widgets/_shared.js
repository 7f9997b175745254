// What every widget of the course needs: elements, colours, theme, a live region.
//
// Not a module of its own: this text is put in front of each widget's module, so that a module in
// the page is still self-contained and imports nothing.

/** Make an element; attributes that start with "on" are listeners. */
function h(tag, attributes = {}, ...children) {
  const svg = tag === "svg" || tag === "polygon";
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
@media (pointer: coarse) { button { min-height: 44px; min-width: 44px; } }
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
  return {
    node,
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
