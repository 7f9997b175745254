// DecodeStepper: the same model writes the same text twice, all computed anew and with a KV cache.
//
// An ES module in the anywidget protocol, self-contained once _shared.js is put in front of it. All
// that it shows was recorded in Python, pass by pass; here it is only added up and drawn.

// ---------------------------------------------------------------------------------------- counting

/** The recording that is switched on. */
export function runOf(state) {
  return state.runs.find((run) => run.sharing === state.sharing) ?? state.runs[0];
}

/** What pass number `at` does: how many tokens are seen in all, how many are new, how many kept. */
export function passOf(state, at = state.at) {
  const prompt = state.prompt.length;
  if (at === 0) return { phase: "start", seen: 0, fresh: 0, held: 0 };
  if (at === 1) return { phase: "prefill", seen: prompt, fresh: prompt, held: 0 };
  const seen = prompt + at - 1;
  return { phase: "decode", seen, fresh: 1, held: seen - 1 };
}

/** What the passes up to `at` have cost: [without, with a cache]. */
export function totals(state, at = state.at) {
  const run = runOf(state);
  const made = run.steps.slice(0, at);
  const sum = (pick) => made.reduce((total, step) => total + pick(step), 0);
  const weights = run.weight_bytes * made.length;
  return {
    macs: [sum((step) => step.macs[0]), sum((step) => step.macs[1])],
    read: [weights, weights + sum((step) => step.read)],
    written: sum((step) => step.written),
    held: made.at(-1)?.held ?? 0,
  };
}

/** The cost of one pass in the same form. */
export function costOf(run, at) {
  const step = run.steps[at - 1];
  if (!step) return { macs: [0, 0], read: [0, 0] };
  return { macs: step.macs, read: [run.weight_bytes, run.weight_bytes + step.read] };
}

/** "÷ 14", "× 1.03" or "same": what the cache does to a count. */
export function compared(without, cached) {
  if (without === cached) return "same";
  const factor = Math.max(without, cached) / Math.min(without, cached);
  return `${without > cached ? "÷" : "×"} ${Number(factor.toPrecision(3))}`;
}

/** 0.0000048 -> "4.8 × 10⁻⁶". */
export function formatTiny(value) {
  if (value === 0 || value >= 0.001) return String(value);
  const [digits, power] = value.toExponential().split("e-");
  return `${digits}\u00a0×\u00a010⁻${[...power].map((digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]).join("")}`;
}

/** How a cell stands: "" not reached, "new", "again" computed anew, "kept", or "used" and gone. */
export function cellState(state, lane, role, position, at = state.at) {
  const { seen, held } = passOf(state, at);
  if (position >= seen) return "";
  if (position >= held) return "new";
  if (lane === "without") return "again";
  return role === "Q" ? "used" : "kept";
}

// ------------------------------------------------------------------------------------------- style

const CSS = `
.stepper { --q: #6b7683; --k: #0072b2; --v: #d55e00; --ghost: #8a95a3; --store: #7b4fb5;
  padding: 16px; display: grid; gap: 16px; grid-template-columns: minmax(0, 1fr); }
.stepper[data-theme="dark"] { --q: #9aa6b3; --k: #3a9bdc; --v: #e8803a; --ghost: #7f8b99;
  --store: #b79af0; }
code, .text, .tokens, .glyph { font-family: ui-monospace, SFMono-Regular, Menlo, "DejaVu Sans Mono", monospace; }

.text { margin: 0; padding: 10px 12px; border-radius: 8px; background: var(--soft); font-size: 16px;
  line-height: 1.5; white-space: pre-wrap; overflow-wrap: anywhere; min-height: 68px; }
.text .given { color: var(--muted); }
.text b { font-weight: 600; }
.text .last { background: var(--chosen); box-shadow: 0 0 0 1px var(--accent); border-radius: 3px; }
.text .caret { display: inline-block; width: 2px; height: 1.1em; background: var(--accent);
  vertical-align: text-bottom; margin-left: 2px; }

.controls { display: flex; flex-wrap: wrap; gap: 8px; align-items: center; }
.controls .slide { flex: 1 1 200px; display: grid; grid-template-columns: minmax(0, 1fr) auto; gap: 10px;
  align-items: center; }
.controls input { width: 100%; margin: 0; height: 28px; accent-color: var(--accent); cursor: pointer; }
.where { font-variant-numeric: tabular-nums; font-size: 14px; min-width: 88px; }
.controls button { flex: 1 1 auto; }
.controls .primary { flex-basis: 100%; }
.primary { background: var(--accent); color: var(--bg); border-color: var(--accent); font-weight: 600; }

.phase { display: flex; flex-wrap: wrap; gap: 4px 10px; align-items: baseline; align-content: start;
  min-height: 120px; }
.chip { padding: 1px 10px; border: 1px solid var(--edge); border-radius: 99px; font-weight: 600;
  font-size: 14px; white-space: nowrap; }
.chip.prefill { background: var(--warn-bg); border-color: var(--warn-line); }
.chip.decode { background: var(--chosen); border-color: var(--accent); }
.phase p { flex: 1 1 250px; }

.lanes { display: grid; gap: 14px; }
.lane .head { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 14px;
  margin-bottom: 4px; }
.lane .head b { font-size: 14px; font-weight: 600; }
.lane .head span { font-size: 13.5px; color: var(--muted); font-variant-numeric: tabular-nums; }
.board { padding: 8px 10px 4px; border: 1px solid var(--line); border-radius: 10px; }
.row { position: relative; display: grid; grid-template-columns: 18px minmax(0, 1fr); align-items: center;
  margin-bottom: 3px; }
.row > b { font-size: 13px; line-height: 1; font-weight: 600; }
.cells { display: grid; grid-template-columns: repeat(var(--n), minmax(0, 1fr)); gap: 2px; }
.cells i { height: 17px; border-radius: 3px; border: 1px solid transparent; font-style: normal;
  transition: opacity .45s ease, transform .45s ease; }
.q { --c: var(--q); } .k { --c: var(--k); } .v { --c: var(--v); }
.cells i { background: var(--soft); }
.cells .new, .key .new { background: var(--c); border-color: var(--c); }
.cells .again, .key .again { border-color: var(--c);
  background: repeating-linear-gradient(135deg, var(--c) 0 3px, var(--bg) 3px 6px); }
.cells .kept, .key .kept { border: 2px solid var(--c);
  background: color-mix(in srgb, var(--c) 22%, var(--bg)); }
.cells .used, .key .used { background: none; border: 1px dashed var(--ghost); opacity: .55; }
.tied .cells i { opacity: 0; transform: scaleY(.1); }
.word { position: absolute; left: 18px; right: 0; text-align: center; font-size: 13px; line-height: 1;
  opacity: 0; transition: opacity .45s ease; color: var(--fg); }
.tied .word { opacity: 1; }
/* Each pass sweeps over what it computes; the name changes with every pass, so that it starts anew. */
.lanes[data-beat="0"] :is(.new, .again) { animation: sweep0 .3s ease-out backwards; }
.lanes[data-beat="1"] :is(.new, .again) { animation: sweep1 .3s ease-out backwards; }
.lanes :is(.new, .again) { animation-delay: calc(var(--i) * 14ms) !important; }
@keyframes sweep0 { from { transform: scale(.3); opacity: .2; } }
@keyframes sweep1 { from { transform: scale(.3); opacity: .2; } }
.tokens { margin: 2px 0 0 18px; display: grid; grid-template-columns: repeat(var(--n), minmax(0, 1fr)); gap: 2px;
  line-height: 16px; text-align: center;
  font-size: clamp(8px, calc((100cqi - 88px) / var(--n) * 1.6), 12px); color: var(--muted); white-space: nowrap; }
.tokens span { min-width: 0; }
.tokens .mine { color: var(--fg); font-weight: 700; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 16px; font-size: 13px; color: var(--muted); }
.key { display: inline-flex; align-items: center; gap: 6px; }
.key i { width: 15px; height: 13px; border-radius: 3px; border: 1px solid transparent; }

.panels { display: grid; gap: 16px 24px; grid-template-columns: minmax(0, 1fr); }
.panel { min-width: 0; display: grid; gap: 6px; align-content: start; }
.panel h3 { margin: 0; font-size: 14px; font-weight: 600; }
.chart { display: block; width: 100%; height: 84px; border-bottom: 1px solid var(--edge); }
.chart .a { fill: var(--edge); } .chart .b { fill: var(--accent); } .chart .c { fill: var(--store); }
.store i { background: var(--store); }
.chart g { opacity: .45; } .chart g.now { opacity: 1; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; font-variant-numeric: tabular-nums; }
th { font-weight: 400; color: var(--muted); text-align: left; padding: 2px 0; white-space: nowrap; }
th i { display: inline-block; width: 10px; height: 10px; border-radius: 2px; margin-right: 5px; }
td { text-align: right; padding: 2px 0 2px 8px; white-space: nowrap; }
thead th + th { text-align: right; padding-left: 8px; }
td.gain { font-weight: 600; white-space: nowrap; }
.cand .glyph { font-size: 15px; width: 30px; color: var(--fg); }
.cand tr.taken { background: var(--chosen); }
.cand td, .cand th { padding: 3px 6px; }
.track { width: 44%; }
.track span { display: block; height: 5px; border-radius: 2px; background: var(--edge); min-width: 1px; }
.track span + span { margin-top: 1px; background: var(--accent); }

@container (min-width: 560px) {
  .stepper { padding: 20px 22px; }
  .text { min-height: 44px; }
  .phase { min-height: 48px; }
  .controls button, .controls .primary { flex: 0 0 auto; }
  .panels { grid-template-columns: 1fr 1fr; }
  .panels > :last-child { grid-column: 1 / -1; }
}
@container (min-width: 860px) {
  .phase { min-height: 28px; }
  .panels { grid-template-columns: repeat(3, minmax(0, 1fr)); }
  .panels > :last-child { grid-column: auto; }
}
@media (pointer: coarse) { .controls input { height: 44px; } }
@media (forced-colors: active) {
  .cells i, .key i, .chart rect, .track span, th i { forced-color-adjust: none; }
}
@media (prefers-reduced-motion: reduce) { .lanes :is(.new, .again) { animation: none !important; } }
`;

// --------------------------------------------------------------------------------------------- view

const PAUSE = 900; // ms between passes while it plays
const ROLES = ["Q", "K", "V"];
const readable = (token) => (token === "␣" ? " " : token);

/** One lane: a cell for each of Q, K and V at every position, and the tokens below. */
function drawLane(name, title, count) {
  const style = `--n:${count}`;
  const cells = {};
  const rows = {};
  for (const role of ROLES) {
    cells[role] = Array.from({ length: count }, (_, i) => h("i", { style: `--i:${i}` }));
    rows[role] = h(
      "div",
      { class: `row ${role.toLowerCase()}` },
      h("b", {}, role),
      h("div", { class: "cells", style }, ...cells[role]),
      h("div", { class: "word" }),
    );
  }
  const tokens = Array.from({ length: count }, () => h("span"));
  const aside = h("span");
  const board = h(
    "div",
    { class: "board", role: "img" },
    ...ROLES.map((role) => rows[role]),
    h("div", { class: "tokens", style }, ...tokens),
  );
  return {
    root: h("div", { class: "lane" }, h("div", { class: "head" }, h("b", {}, title), aside), board),
    update(state, run, text, words) {
      const { seen } = passOf(state);
      for (const role of ROLES) {
        const tied = run.roles[role] !== role;
        rows[role].classList.toggle("tied", tied);
        rows[role].lastChild.textContent = tied ? `${role} is ${run.roles[role]}` : "";
        cells[role].forEach((cell, i) => {
          cell.className = cellState(state, name, role, i);
        });
      }
      tokens.forEach((node, i) => {
        node.textContent = i < seen ? text[i] : "";
        node.className = i < state.prompt.length ? "" : "mine";
      });
      aside.textContent = words.aside;
      board.setAttribute("aria-label", words.label);
    },
  };
}

/** Bars, two for each pass: without a cache, and with one (what comes from the cache on top). */
function drawChart(run, part) {
  const passes = run.steps.map((_, i) => costOf(run, i + 1)[part]);
  const highest = Math.max(...passes.flat());
  const bar = (x, low, high, kind) =>
    h("rect", { class: kind, x, width: 0.38, y: highest - high, height: high - low });
  const groups = passes.map(([without, cached], i) => {
    const base = part === "read" ? run.weight_bytes : cached;
    return h(
      "g",
      {},
      bar(i + 0.1, 0, without, "a"),
      bar(i + 0.5, 0, base, "b"),
      cached > base ? bar(i + 0.5, base, cached, "c") : null,
    );
  });
  const root = h(
    "svg",
    {
      class: "chart",
      viewBox: `0 0 ${passes.length} ${highest}`,
      preserveAspectRatio: "none",
      "aria-hidden": "true", // the table below it says the same
    },
    ...groups,
  );
  return {
    root,
    update(at) {
      groups.forEach((group, i) => {
        group.style.display = i < at ? "" : "none";
        group.setAttribute("class", i === at - 1 ? "now" : "");
      });
    },
  };
}

/** A chart with its table: this pass and all passes so far, without and with a cache. */
function drawCount(title, part, note) {
  const box = h("div");
  const cells = { now: [], all: [] };
  const row = (label, to) => {
    to.push(...[0, 1, 2].map((i) => h("td", { class: i === 2 ? "gain" : null })));
    return h("tr", {}, h("th", { scope: "row" }, label), ...to);
  };
  const head = (text, colour) =>
    h("th", { scope: "col" }, colour ? h("i", { style: `background:var(${colour})` }) : null, text);
  const table = h(
    "table",
    { "aria-label": title },
    h(
      "thead",
      {},
      h("tr", {}, head(""), head("without", "--edge"), head("with", "--accent"), head("effect")),
    ),
    h("tbody", {}, row("this pass", cells.now), row("so far", cells.all)),
  );
  let chart;
  let drawn;
  return {
    root: h("div", { class: "panel" }, h("h3", {}, title), box, table, note),
    update(state, run) {
      if (drawn !== run) {
        chart = drawChart(run, part);
        drawn = run;
        box.replaceChildren(chart.root);
      }
      chart.update(state.at);
      for (const [to, pair] of [
        [cells.now, costOf(run, state.at)[part]],
        [cells.all, totals(state)[part]],
      ]) {
        to[0].textContent = formatCount(pair[0]);
        to[1].textContent = formatCount(pair[1]);
        to[2].textContent = state.at === 0 ? "" : compared(...pair);
      }
    },
  };
}

/** The likeliest next tokens, by both ways. */
function drawCandidates() {
  const body = h("tbody");
  const apart = h("p", { class: "hint" });
  const title = h("h3", {}, "What both lanes predict");
  const table = h(
    "table",
    { class: "cand", "aria-label": "Likeliest next tokens" },
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        ...["next", "", "without", "with"].map((text) => h("th", { scope: "col" }, text)),
      ),
    ),
    body,
  );
  return {
    root: h("div", { class: "panel" }, title, table, apart),
    update(run, at) {
      const step = run.steps[at - 1];
      const rows = step?.candidates ?? run.steps[0].candidates.map(() => ["", 0, 0]);
      body.replaceChildren(
        ...rows.map(([token, without, cached]) =>
          h(
            "tr",
            { class: step?.token === token ? "taken" : null },
            h("th", { scope: "row", class: "glyph" }, token || "–"),
            h(
              "td",
              { class: "track" },
              h("span", { style: `width:${100 * without}%` }),
              h("span", { style: `width:${100 * cached}%` }),
            ),
            h("td", {}, step ? formatShare(without) : ""),
            h("td", {}, step ? formatShare(cached) : ""),
          ),
        ),
      );
      apart.textContent = step
        ? `Largest difference of any of the 256 logits: ${formatTiny(step.apart)}.`
        : "Nothing has been read yet.";
    },
  };
}

/** What the pass does, in words: for the line above the lanes, and for each lane. */
export function wordsOf(state) {
  const run = runOf(state);
  const { phase, seen, fresh, held } = passOf(state);
  const step = run.steps[state.at - 1];
  const made = ROLES.filter((role) => run.roles[role] === role).join(", ");
  const kept = [...new Set([run.roles.K, run.roles.V])].join(" and ");
  if (phase === "start") {
    return {
      chip: "Nothing read yet",
      line: `The prompt of ${plural(state.prompt.length, "token")} waits. Press “Next token”.`,
      without: { aside: "", label: "Without a cache: nothing computed yet." },
      cached: { aside: "holds 0 bytes", label: "With a cache: nothing computed, nothing kept yet." },
    };
  }
  const holds = `holds ${formatCount(step.held)} bytes`;
  const prefill = phase === "prefill";
  const all = `computes ${made} of ${prefill ? "" : "all "}${plural(seen, "token")}`;
  return {
    chip: prefill ? `Prefill: ${plural(seen, "token")} in one pass` : "Decode: one token",
    line: prefill
      ? `Both lanes do the same work. Only the lower one keeps what it made: ${kept}.`
      : `Above, ${plural(held, "token")} ${held === 1 ? "goes" : "go"} through the whole model again. ` +
        `Below, only the newest does: ${kept} of the others ${kept.length > 1 ? "are" : "is"} read back.`,
    without: {
      aside: all,
      label: `Without a cache: ${all}${prefill ? "" : `, ${held} of them again`}.`,
    },
    cached: {
      aside: prefill ? holds : `computes ${made} of 1 token, ${holds}`,
      label:
        `With a cache: computes ${made} of ${plural(fresh, "token")}` +
        `${prefill ? "" : `, reads ${kept} of ${held} back`}; ${holds}.`,
    },
  };
}

function render({ model, el }) {
  const names = ["prompt", "runs", "sharing", "at"];
  const get = () => Object.fromEntries(names.map((name) => [name, model.get(name)]));
  const first = get();
  const last = first.runs[0].steps.length;
  const go = (at) => {
    model.set("at", Math.min(last, Math.max(0, at)));
    model.save_changes();
  };

  let timer = null;
  const stop = () => {
    clearTimeout(timer);
    timer = null;
  };
  const play = () => {
    go(model.get("at") + 1);
    timer = model.get("at") < last ? setTimeout(play, PAUSE) : null;
    drawPlayer();
  };

  const by = (move) => () => {
    stop();
    go(move(model.get("at")));
    drawPlayer();
  };
  const next = action("Next token", by((at) => at + 1), "primary");
  const back = action("Back", by((at) => at - 1));
  const restart = action("Start over", by(() => 0));
  const player = action("Play", () => {
    if (timer !== null) {
      stop();
      drawPlayer();
      return;
    }
    if (model.get("at") === last) go(0);
    play();
  });
  const drawPlayer = () => player.update(false, timer === null ? "Play" : "Pause");
  const slider = h("input", {
    type: "range", min: 0, max: last, step: 1, "aria-label": "Passes made",
    oninput: () => by(() => Number(slider.value))(),
  });
  const where = h("span", { class: "where", "aria-hidden": "true" }); // the slider says it
  const sharing = radios({
    legend: "Sharing",
    hint: "another model each; it writes its own words",
    onchoose: (name) => {
      model.set("sharing", name);
      model.save_changes();
    },
  });
  sharing.root.hidden = first.runs.length < 2;

  const text = h("p", { class: "text" });
  const chip = h("span", { class: "chip" });
  const line = h("p");
  const count = first.prompt.length + last - 1;
  const lanes = {
    without: drawLane("without", "Without a cache", count),
    cached: drawLane("cached", "With a cache", count),
  };
  const board = h("div", { class: "lanes" }, lanes.without.root, lanes.cached.root);
  const key = (kind, words, role = "k") =>
    h("span", { class: `key ${role}` }, h("i", { class: kind }), words);
  const onTop = h(
    "p",
    { class: "hint" },
    "With a cache: the weights, and on top ",
    h("span", { class: "key store" }, h("i"), "what is read from the cache."),
  );
  const macs = drawCount("Multiplications", "macs");
  const read = drawCount("Bytes read from memory", "read", onTop);
  const candidates = drawCandidates();
  const live = announcer();
  const root = h(
    "section",
    { class: "sheet stepper", "aria-label": "Decoding step by step" },
    sharing.root,
    text,
    h(
      "div",
      { class: "controls" },
      ...[next, back, player, restart].map((each) => each.node),
      h("div", { class: "slide" }, slider, where),
    ),
    h("div", { class: "phase" }, chip, line),
    board,
    h(
      "p",
      { class: "legend", "aria-hidden": "true" },
      key("new", "computed now"), key("again", "computed again"), key("kept", "kept in the cache"),
      key("used", "asked once, not kept", "q"),
    ),
    h("div", { class: "panels" }, macs.root, read.root, candidates.root),
    live.node,
  );
  const staged = stage(root, CSS);

  function update() {
    const state = get();
    const run = runOf(state);
    const { at } = state;
    const written = run.steps.slice(0, at).map((step) => step.token);
    const words = wordsOf(state);
    sharing.update(
      state.runs.map((each) => ({
        value: each.sharing, title: each.sharing, detail: each.tuple_form,
      })),
      run.sharing,
    );
    text.replaceChildren(
      h("span", { class: "given" }, state.prompt.map(readable).join("")),
      h("b", {}, written.slice(0, -1).map(readable).join("")),
      h("b", { class: "last" }, written.slice(-1).map(readable).join("")),
      h("span", { class: "caret", "aria-hidden": "true" }),
    );
    next.update(at === last);
    back.update(at === 0);
    restart.update(at === 0);
    if (Number(slider.value) !== at) slider.value = at;
    const { phase } = passOf(state);
    slider.setAttribute("aria-valuetext", `${at} of ${last}, ${phase}`);
    where.textContent = `pass ${at} of ${last}`;
    chip.textContent = words.chip;
    chip.className = `chip ${phase}`;
    line.textContent = words.line;
    board.dataset.beat = at % 2;
    const tokens = [...state.prompt, ...written];
    lanes.without.update(state, run, tokens, words.without);
    lanes.cached.update(state, run, tokens, words.cached);
    macs.update(state, run);
    read.update(state, run);
    candidates.update(run, at);
    const sentence =
      at === 0
        ? words.chip
        : `${words.chip}, writes ${written.at(-1)}. ${words.without.label} ${words.cached.label}`;
    if (timer === null) live.follow(sentence); // while it plays, every pass would be too much to hear
  }

  const unfollow = follow(model, ["at", "sharing"], update);
  drawPlayer();
  update();
  el.append(staged.host);

  return () => {
    stop();
    unfollow();
    live.hush();
    staged.remove();
  };
}

export default { render };
