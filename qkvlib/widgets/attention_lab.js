// AttentionLab: small trained models read and write, live; their maps and their cache grow with each token.
//
// An ES module in the anywidget protocol, self-contained once _shared.js and what it needs are put in
// front of it: what is read and what computes it, and the parts of the picture.
// needs: _lab
// needs: _lab_view

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
.scroll .whole { padding: 6px 8px; }
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
  .maps.one { grid-template-columns: repeat(2, minmax(0, 1fr)); }
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

// --------------------------------------------------------------------------------------------- view

const STATE = [
  "kind", "variant", "other", "layer", "head", "temperature", "seed", "prompt", "digits", "models", "task",
  "tour", "share",
]; // prettier-ignore

const LOOKS = new Set(["layer", "head", "tour", "share"]); // these change the picture, and nothing is read

const CALM = 90; // ms between tokens for who wants to watch
const HEARD = 700; // ms until what is announced has been taken up

/** The engine of this place, and the one that could take over from it. */
function enginesOf(model) {
  if (!model.root) return { engine: new KernelEngine(model), waker: null };
  const root = new URL("_static/lab/", model.root).href;
  const able = typeof WebAssembly === "object" && /^https?:/.test(root);
  return { root, waker: able ? () => new PageEngine(root) : null };
}

function render({ model, el }) {
  // What a kernel has set is made to fit as what a reader chooses is.
  const get = () => {
    const state = Object.fromEntries(STATE.map((name) => [name, model.get(name)]));
    return { ...state, ...fitting(state) };
  };
  const set = (changes) => {
    for (const [name, value] of Object.entries(changes)) model.set(name, value);
    model.save_changes();
  };
  const { engine = null, root: files, waker } = enginesOf(model);
  const lab = new Lab({ get, engine, waker, changed: schedule });
  const able = !files || Boolean(waker);
  const live = announcer();
  const seen = { wrote: false, asked: false };
  let [at, asked, hovered] = [null, null, null]; // as glimpse() is given them
  let paced = "calm";
  let promised = 0; // tokens that a link wants written still, unless the reader does something else
  let keeping = null; // a promise, while they are written
  let heard = "";
  let news = {}; // what is said, or about to be
  let hearing = 0;
  let gone = false;

  // What a reader does

  /** Look at the end of the text, and at its last token. */
  const toTheEnd = () => {
    at = asked = null;
  };

  /** Write no more, neither for the reader nor for a link. */
  function halt() {
    promised = 0;
    lab.stop();
  }

  /** Change what is looked at; what no longer fits falls to the nearest. */
  function choose(changes) {
    const wanted = { ...get(), ...changes };
    if (changes.kind) {
      toTheEnd();
      halt();
    }
    set({ ...changes, ...fitting(wanted) });
  }

  /** Whether something can be written; where a stored run ends, the models start. */
  async function ready() {
    const over = lab.replays && lab.text.length >= lab.engine.text.length;
    if (over && !(await lab.wake())) return false;
    seen.wrote = true;
    toTheEnd();
    return true;
  }

  const pause = () =>
    new Promise((resolve) => {
      if (paced === "fast") requestAnimationFrame(resolve);
      else setTimeout(resolve, CALM);
    });

  async function write() {
    promised = 0;
    if (await ready()) await lab.play(pause);
  }

  async function step() {
    const last = lab.text.length - 1;
    if (at !== null) {
      goTo(Math.min(at + 1, last)); // forth in what was written already
    } else if (await ready()) await lab.step();
  }

  function goTo(place) {
    halt();
    at = place + 1 < lab.text.length ? place : null;
    asked = null;
    schedule();
  }

  function typed(text) {
    if (text === get().prompt) return;
    toTheEnd();
    halt();
    set({ prompt: text });
  }

  const ask = (i) => {
    asked = Math.max(0, Math.min(i, shown().n - 1));
    seen.asked = true;
    schedule();
  };

  function point(i) {
    const next = i !== null && i >= 0 && i < shown().n ? i : null;
    if (hovered === next) return;
    hovered = next;
    seen.asked ||= next !== null;
    schedule();
  }

  function back() {
    toTheEnd();
    halt();
    return lab.rewind();
  }

  async function copyLink() {
    history.replaceState(null, "", toHash(get(), lab.text.length - lab.prompt));
    try {
      await navigator.clipboard.writeText(location.href);
    } catch {
      return "It is in the address bar";
    }
    live.say("The link is copied.");
    return "Copied";
  }

  // The picture

  const parts = {
    choices: choices({ choose, nearest: (name) => nearestOf(get(), name) }),
    brief: brief(),
    status: statusLine({
      able: Boolean(waker),
      wake: () => lab.wake(),
      again: () =>
        !lab.engine ? begin() : promised ? keepPromise() : lab.wished ? lab.wake() : lab.follow(),
      onward: () => (get().kind === "text" ? parts.writer : parts.lister).focus(),
    }),
    writer: writer({ typed, write, pause: halt, step, goTo, copyLink, able, back }),
    lister: lister({ able, setDigits: (digits) => set({ digits }) }),
    strip: tokenStrip({ ask, point }),
    maps: mapsPanel({ ask, point, setHead: (layer, head) => set({ layer, head }) }),
    table: mapTable({ opened: schedule }),
    caches: caches({ redraw: draw }),
    leanings: leanings(),
    facts: measurements(),
    tuning: tuning({
      setPace: (value) => [(paced = value), schedule()],
      setDraw: (temperature, seed) => set({ temperature, seed }),
      able,
    }),
    guide: guide(),
  };
  const told = h("p", { class: "told" });
  const main = [parts.writer, parts.lister, parts.strip].map((each) => each.root);
  const aside = [parts.caches, parts.leanings, parts.facts, parts.tuning, parts.guide];
  const sheet = h(
    "section",
    { class: "sheet lab", "aria-label": "Attention Lab" },
    ...parts.choices.roots,
    parts.brief.root,
    ...parts.status.roots,
    h(
      "div",
      { class: "columns" },
      h("div", { class: "main" }, ...main, told, parts.maps.root, parts.table.root),
      h("div", { class: "aside" }, ...aside.map((each) => each.root)),
    ),
    live.node,
  );
  const staged = stage(sheet, CSS);

  function shown() {
    return glimpse({ lab, state: get(), colours: palette(sheet), at, asked, hovered });
  }

  let missed = false;

  function draw() {
    if (gone) return;
    // A notebook takes what is out of sight out of its page, and there the theme has no colours.
    missed = !sheet.isConnected;
    if (missed) return;
    const now = shown();
    const { writer, lister, strip, maps, table, choices, status, caches, leanings, facts } = parts;
    for (const part of [choices, writer, lister, strip, maps, table, caches, leanings, facts]) {
      part.update(now);
    }
    parts.tuning.update(now, paced);
    announce({ status: status.update(now), tour: parts.guide.update(now, seen) }, sentence(now));
    parts.brief.update(now, now.state.tour ? parts.guide.step : null);
  }

  /** Say what is new of tour and status, and where the token that is asked looks: none in another's place. */
  function announce({ tour, status }, said) {
    put(told, said);
    const fresh = seen.asked && !lab.playing && hovered === null && said !== heard;
    if (fresh) heard = said;
    if (!(fresh || tour || status)) return;
    news = { tour: tour || news.tour, status: status || news.status };
    live.say([news.tour, news.status, seen.asked ? heard : ""].filter(Boolean).join(" "));
    clearTimeout(hearing);
    hearing = setTimeout(() => (news = {}), HEARD);
  }

  let queued = false;
  function schedule() {
    if (queued) return;
    queued = true;
    queueMicrotask(() => {
      queued = false;
      draw();
    });
  }

  // From beginning to end

  async function begin() {
    try {
      if (files) lab.engine = new StoredEngine(await model.stored());
    } catch (error) {
      lab.status = { kind: "failed", words: error.message, retry: true };
      return schedule();
    }
    if (gone) return;
    const linked = toTheLink();
    if (!linked && lab.needsModels) return schedule(); // not loaded before somebody asks for them
    await lab.follow();
    if (linked?.written) await promise(linked.written);
    else if (lab.replays && get().kind === "text" && lab.engine.has(get())) {
      await lab.show(lab.engine.text); // the first screen is not empty
    }
  }

  /** Show what the page's address asks for; null where it asks for nothing. */
  function toTheLink() {
    const linked = get().share ? fromHash(location.hash, get()) : null;
    if (linked) choose(linked.changes);
    return linked;
  }

  /** The address has changed under an open page: a link in it, or back and forth in the history. */
  async function visit() {
    if (!lab.engine) return;
    const linked = toTheLink();
    if (!linked) return;
    await back();
    if (linked.written) await promise(linked.written);
  }

  /** Write what a link wants written, by models that compute. */
  function promise(tokens) {
    promised = tokens;
    return keepPromise();
  }

  function keepPromise() {
    keeping ??= writeOut().finally(() => (keeping = null));
    return keeping;
  }

  async function writeOut() {
    if (!(await lab.wake())) return;
    while (promised > 0 && lab.canWrite && !gone) {
      if (!(await lab.step())) return;
      promised = Math.max(0, promised - 1);
    }
    promised = 0;
  }

  choose({}); // from the first picture on, what is shown exists
  const unlook = follow(model, [...LOOKS], schedule);
  const unfollow = follow(
    model,
    STATE.filter((name) => !LOOKS.has(name)),
    () => {
      schedule();
      if (lab.engine) lab.follow();
    },
  );
  const restyle = new MutationObserver(schedule);
  restyle.observe(sheet, { attributes: true, attributeFilter: ["data-theme"] });
  const returns = new ResizeObserver(() => missed && schedule());
  returns.observe(sheet);
  window.addEventListener("hashchange", visit);
  el.append(staged.host);
  draw();
  begin();
  return () => {
    gone = true;
    parts.writer.stop();
    parts.caches.stop();
    unlook();
    unfollow();
    restyle.disconnect();
    returns.disconnect();
    window.removeEventListener("hashchange", visit);
    lab.close();
    clearTimeout(hearing);
    live.hush();
    staged.remove();
  };
}

export default { render };
