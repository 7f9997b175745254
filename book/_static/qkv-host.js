// Brings a page of the book to life: mounts the course's widgets and draws its figures.
//
// A classic script, because module scripts and fetch() do not work from file://. The widgets'
// sources arrive as text in window.QKV_WIDGETS (widgets/*.js, written when the book is built).

(() => {
  "use strict";

  const NARROW = 600; // px of figure width below which a legend moves under the plot

  function isDark() {
    const chosen = document.documentElement.dataset.theme;
    if (chosen === "dark" || chosen === "light") return chosen === "dark";
    return matchMedia("(prefers-color-scheme: dark)").matches;
  }

  function onThemeChange(callback) {
    new MutationObserver(callback).observe(document.documentElement, {
      attributes: true,
      attributeFilter: ["data-theme"],
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", callback);
  }

  // -------------------------------------------------------------------------------------- widgets

  /** Where the site begins, seen from any of its pages. */
  const ROOT = new URL(document.documentElement.dataset.content_root ?? "./", location.href).href;

  let stored;

  /** Fetch the lab's stored runs, once: by a classic script, which also a page opened from a file may load. */
  function storedRuns() {
    stored ??= new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = new URL("_static/lab/stored.js", ROOT).href;
      script.onload = () => resolve(window.QKV_LAB_STORED);
      script.onerror = () => {
        stored = undefined; // the next time it is tried again
        script.remove();
        reject(new Error("The stored runs could not be loaded."));
      };
      document.head.append(script);
    });
    return stored;
  }

  /** The part of Jupyter's widget model that a view may use, without a kernel behind it. */
  function makeModel(state) {
    const listeners = new Map();
    const emit = (event, ...values) => {
      for (const callback of [...(listeners.get(event) ?? [])]) callback(...values);
    };
    return {
      root: ROOT, // a view may fetch what the site keeps for it
      stored: storedRuns,
      get: (name) => state[name],
      set(name, value) {
        if (JSON.stringify(state[name]) === JSON.stringify(value)) return;
        state[name] = value;
        emit(`change:${name}`, this, value);
        emit("change", this);
      },
      save_changes() {},
      on(event, callback) {
        if (!listeners.has(event)) listeners.set(event, new Set());
        listeners.get(event).add(callback);
      },
      off(event, callback) {
        if (callback) listeners.get(event)?.delete(callback);
        else listeners.delete(event);
      },
      send() {},
    };
  }

  const modules = new Map();

  /** Load a widget's module once, however many of it a page has. */
  function load(name) {
    if (!modules.has(name)) {
      const source = window.QKV_WIDGETS?.[name];
      if (source === undefined) {
        return Promise.reject(new Error(`widgets/${name}.js is not there`));
      }
      const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
      modules.set(
        name,
        import(url).finally(() => URL.revokeObjectURL(url)),
      );
    }
    return modules.get(name);
  }

  function complain(mount, error) {
    console.error(error);
    const note = document.createElement("p");
    note.className = "qkv-error";
    note.setAttribute("role", "alert");
    note.style.cssText =
      "border-left:4px solid #b26a00;padding:.5em .75em;background:#fdf3e4;color:#1c2530";
    note.textContent =
      `This interactive figure could not start (${error.message ?? error}). ` +
      "What it would have shown is written out here.";
    mount.prepend(note);
  }

  /** The state that stands in a mount point. */
  const stateIn = (mount) =>
    JSON.parse(mount.querySelector(':scope > script[type="application/json"]').textContent);

  async function mountWidget(mount, read = stateIn) {
    const fallback = mount.querySelector(":scope > .qkv-widget-fallback");
    const el = document.createElement("div");
    try {
      const model = makeModel(await read(mount));
      let widget = (await load(mount.dataset.widget)).default;
      if (typeof widget === "function") widget = await widget();
      await widget.initialize?.({ model });
      // In the page before it is drawn: a view may measure itself.
      mount.append(el);
      const stop = await widget.render({ model, el });
      if (fallback) fallback.hidden = true;
      mount.qkvModel = model;
      mount.dataset.state = "live";
      return stop;
    } catch (error) {
      el.remove();
      mount.dataset.state = "failed";
      complain(mount, error);
    }
  }

  /** What an attribute says, as what the trait holds by default. */
  function valued(text, usual) {
    if (typeof usual === "boolean") return text !== "false";
    if (Array.isArray(usual)) return (text.match(/\d+/g) ?? []).map(Number);
    return typeof usual === "number" ? Number(text) : text;
  }

  const GIVEN = new Set(["models", "task"]); // these are the site's, and no attribute changes them

  /** The lab as an element: <attention-lab variant="Q-K=V" other="QKV"></attention-lab>. */
  class AttentionLab extends HTMLElement {
    connectedCallback() {
      if (this.mount) return; // it was moved, and is there
      const mount = document.createElement("div");
      mount.className = "qkv-widget";
      mount.dataset.widget = "attention_lab";
      const fallback = document.createElement("div");
      fallback.className = "qkv-widget-fallback";
      fallback.append(...this.childNodes);
      mount.append(fallback);
      this.mount = mount;
      this.append(mount);
      this.stop = mountWidget(mount, async () => {
        const { state } = await storedRuns();
        const own = [...this.attributes].filter(
          ({ name }) => Object.hasOwn(state, name) && !GIVEN.has(name),
        );
        return { ...state, ...Object.fromEntries(own.map((a) => [a.name, valued(a.value, state[a.name])])) };
      });
    }

    async disconnectedCallback() {
      await null; // one that is moved is back by now
      if (this.isConnected || !this.mount) return;
      const { mount, stop } = this;
      this.mount = null;
      this.append(...mount.querySelector(".qkv-widget-fallback").childNodes);
      mount.remove();
      (await stop)?.(); // models, and the worker they are in
    }
  }

  // -------------------------------------------------------------------------------------- figures

  const fontOf = () => getComputedStyle(document.body).fontFamily;

  /** The layout keys that depend on the theme; axes are found by name. */
  function themed(layout) {
    const dark = isDark();
    const ink = dark ? "#e6ebf1" : "#1c2530";
    const grid = dark ? "#36404c" : "#dde2e9";
    const patch = {
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      "font.color": ink,
      "font.family": fontOf(),
      "legend.bgcolor": "rgba(0,0,0,0)",
      "hoverlabel.bgcolor": dark ? "#1f262f" : "#ffffff",
      "hoverlabel.font.color": ink,
      "modebar.bgcolor": "rgba(0,0,0,0)",
      "modebar.color": dark ? "#a7b2bf" : "#55606d",
      "modebar.activecolor": ink,
    };
    const axes = Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key));
    for (const axis of new Set([...axes, "xaxis", "yaxis"])) {
      patch[`${axis}.gridcolor`] = grid;
      patch[`${axis}.zerolinecolor`] = grid;
      patch[`${axis}.linecolor`] = dark ? "#7f8b99" : "#7b8794";
    }
    return patch;
  }

  /** Break a title into lines of about so many letters, between words. */
  function wrapped(text, letters) {
    const lines = [""];
    for (const word of text.split(" ")) {
      const line = lines.at(-1);
      if (line && line.length + word.length >= letters) lines.push(word);
      else lines[lines.length - 1] = line ? `${line} ${word}` : word;
    }
    return lines.join("<br>");
  }

  /** Where the legend goes: at the bottom, unless there is room and the figure places it itself. */
  function fitted(original, width) {
    const legend = original.legend ?? {};
    const narrow = width < NARROW;
    const placed = ["x", "y", "xref", "yref"].some((key) => legend[key] != null);
    const bottom = { x: 0, xanchor: "left", y: 0, yanchor: "bottom", yref: "container" };
    const patch = {
      "legend.orientation": narrow ? "h" : (legend.orientation ?? (placed ? null : "h")),
      "margin.l": narrow ? 48 : (original.margin?.l ?? null),
      "margin.r": narrow ? 12 : (original.margin?.r ?? null),
    };
    if (original.title?.text) {
      const text = original.title.text;
      patch["title.text"] = narrow ? wrapped(text, Math.floor(width / 8)) : text;
      patch["title.xref"] = narrow ? "container" : (original.title.xref ?? null);
      patch["title.x"] = narrow ? 0.03 : (original.title.x ?? null);
      patch["title.font.size"] = narrow ? 14 : (original.title.font?.size ?? null);
    }
    for (const [key, value] of Object.entries(bottom)) {
      patch[`legend.${key}`] = narrow || !placed ? value : (legend[key] ?? null);
    }
    return patch;
  }

  async function drawFigure(figure) {
    const plot = figure.querySelector(".qkv-plotly-plot");
    try {
      const data = figure.querySelector('script[type="application/json"]');
      const { data: traces, layout = {}, config = {} } = JSON.parse(data.textContent);
      if (!window.Plotly) throw new Error("plotly did not load");
      const original = structuredClone(layout);
      plot.replaceChildren();
      // A responsive plot fills its box, so the box has to be as high as the figure asks for.
      if (layout.height) plot.style.height = `${layout.height}px`;
      const width = () => plot.clientWidth || figure.clientWidth || NARROW;
      let narrow = width() < NARROW;
      await Plotly.newPlot(plot, traces, layout, {
        responsive: true,
        displaylogo: false,
        displayModeBar: false, // buttons have no place inside what is read as one image
        ...config,
      });
      await Plotly.relayout(plot, { ...themed(original), ...fitted(original, width()) });
      plot.setAttribute("role", "img");
      if (original.meta?.alt) plot.setAttribute("aria-label", original.meta.alt);
      onThemeChange(() => Plotly.relayout(plot, themed(original)));
      new ResizeObserver(() => {
        if (width() < NARROW === narrow) return;
        narrow = !narrow;
        Plotly.relayout(plot, fitted(original, width()));
      }).observe(plot);
      figure.dataset.state = "live";
    } catch (error) {
      figure.dataset.state = "failed";
      complain(figure, error);
    }
  }

  function start() {
    document.querySelectorAll(".qkv-widget[data-widget]").forEach((mount) => mountWidget(mount));
    // A page into which the script was put twice has the element already.
    if (!customElements.get("attention-lab")) customElements.define("attention-lab", AttentionLab);
    document.querySelectorAll(".qkv-plotly").forEach(drawFigure);
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
