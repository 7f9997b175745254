// RotaryCache: keys as hands of a clock that turn with their position, and what then is a value.
//
// An ES module in the anywidget protocol, self-contained once _shared.js is put in front of it. The
// text, the query and the schemes come from Python through the state; what follows from them is
// computed here, by the formulas of qkvlib/rotary.py, and compared with that module in the tests.

// ---------------------------------------------------------------------------------------- turning

const BYTES = 2; // of a number in float16
const STAYS = 1e-5; // distance that rounding alone can make

/** How far each hand turns from one position to the next, in radians. */
export const speedsOf = ({ turning, query_hands: query, base }) =>
  query.map((_, hand) => (hand < turning ? base ** (-hand / turning) : 0));

/** Hands at a position. */
export function turned(hands, speeds, position) {
  return hands.map(([x, y], hand) => {
    const [cos, sin] = [Math.cos(speeds[hand] * position), Math.sin(speeds[hand] * position)];
    return [x * cos - y * sin, x * sin + y * cos];
  });
}

/** The entry of `state.schemes` of that name. */
export const schemeOf = (state, name = state.scheme) => state.schemes.find((each) => each.name === name);

/** Position of the token that asks. */
export const asksAt = ({ start, ahead, key_hands: keys }) => start + keys.length - 1 + ahead;

const dot = (one, other) =>
  one.reduce((sum, [x, y], hand) => sum + x * other[hand][0] + y * other[hand][1], 0);

/** Numbers that are kept of each token: two for a hand, and a second time for what turns. */
export function numbersOf(state, name = state.scheme) {
  const { kept } = schemeOf(state, name);
  const all = 2 * state.query_hands.length;
  return kept.length === 1 ? all : all + 2 * state.turning;
}

/** What the query takes away: weights, the mean of the values, and the output. */
export function readingOf(state, name = state.scheme) {
  const scheme = schemeOf(state, name);
  const speeds = speedsOf(state);
  const place = asksAt(state);
  const turnedKeys = state.key_hands.map((key, i) => turned(key, speeds, state.start + i));
  const query = turned(state.query_hands, speeds, place);
  const scores = turnedKeys.map((key) => dot(query, key) / Math.sqrt(2 * query.length));
  const highest = Math.max(...scores);
  const powers = scores.map((score) => Math.exp(score - highest));
  const total = powers.reduce((a, b) => a + b, 0);
  const weights = powers.map((power) => power / total);
  const values = scheme.value === "plain" ? state.key_hands : turnedKeys;
  const mean = query.map((_, hand) =>
    [0, 1].map((axis) => weights.reduce((sum, w, i) => sum + w * values[i][hand][axis], 0)),
  );
  return { weights, mean, output: scheme.back ? turned(mean, speeds, -place) : mean };
}

/** How far the output is from that of the same text at position 0. */
export function movedOf(state, name = state.scheme) {
  const now = readingOf(state, name).output;
  const then = readingOf({ ...state, start: 0 }, name).output;
  return Math.sqrt(
    now.reduce((sum, [x, y], i) => sum + (x - then[i][0]) ** 2 + (y - then[i][1]) ** 2, 0),
  );
}

/** The change that moves the text, or the query, as far as there is room. */
export function placed(state, what, to) {
  const room = state.positions - state.key_hands.length;
  const [least, most] = what === "start" ? [0, room - state.ahead] : [1, room - state.start];
  return { [what]: Math.min(most, Math.max(least, Math.round(to))) };
}

// ------------------------------------------------------------------------------------------ words

const HANDS_TURN = ["the first", "both"];

/** What there is to say of the chosen scheme, as it stands. */
export function wordsOf(state) {
  const scheme = schemeOf(state);
  const moved = movedOf(state);
  const numbers = numbersOf(state);
  const apart = 4 * state.query_hands.length;
  const n = state.key_hands.length;
  const every = `all ${n} keys held`;
  return {
    stays: moved < STAYS,
    verdict:
      state.start === 0
        ? "The text stands at position 0. Shift it: does the output mind?"
        : moved < STAYS
          ? "The output is what it was at position 0. Only distances count."
          : `The output has moved by ${fixed(moved, 2)}. Same text, same question, another answer.`,
    kept:
      `${numbers} numbers, ${BYTES * numbers} bytes in float16. Keys and values apart: ` +
      `${BYTES * apart} bytes. Saved: ${formatShare(1 - numbers / apart)}.`,
    work: scheme.on_read
      ? `Turned in this step: ${every}, and the query.`
      : `Turned in this step: the newest key and the query${scheme.back ? ", and back again the output" : ""}.`,
  };
}

// ------------------------------------------------------------------------------------------ style

const CSS = `
.rc { --fast: #0072b2; --slow: #c2410c; --good: #00795a; --bad: #b3261e; padding: 16px; display: grid; gap: 18px; --n: 5; }
.rc[data-theme="dark"] { --fast: #6cb8ef; --slow: #f4a261; --good: #4cc9a0; --bad: #ff8a80; }
.main { --dial: 54px; }
@container (min-width: 700px) { .main { --dial: 68px; } }
.rc h3 { margin: 0; font-size: 14px; font-weight: 600; }
.rc h3 small { display: block; line-height: 1.35; }

.cards { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 8px; }
@container (min-width: 700px) { .cards { grid-template-columns: repeat(4, minmax(0, 1fr)); } }
.cards .face { height: 100%; padding: 10px 8px 8px; align-items: center; justify-content: start; gap: 4px; }
.cards .face b { white-space: normal; font-size: 14px; line-height: 1.2; min-height: 2.4em; display: grid;
  place-items: center; text-wrap: balance; }
.cards .dial { width: 76px; height: 76px; }
.mark { font-size: 13px; font-weight: 600; font-variant-numeric: tabular-nums; color: var(--muted); }
.mark.good { color: var(--good); } .mark.bad { color: var(--bad); }
.says { margin-top: 8px; }

.places { display: grid; gap: 6px; }
.ruler { position: relative; height: 66px; user-select: none; -webkit-user-select: none; touch-action: none; }
.ruler::before { content: ""; position: absolute; inset: 46px 0 auto 0; border-top: 1.5px solid var(--edge); }
.tick { position: absolute; top: 46px; width: 0; height: 5px; border-left: 1.5px solid var(--edge); }
.tick span { position: absolute; top: 6px; left: 0; transform: translateX(-50%); font-size: 12px; color: var(--muted);
  font-variant-numeric: tabular-nums; }
.grip { position: absolute; top: 0; height: 44px; display: flex; align-items: end; cursor: grab; border-radius: 8px;
  touch-action: none; }
.grip:focus-visible { outline: 3px solid var(--accent); outline-offset: 1px; }
.dragging .grip { cursor: grabbing; }
.grip .letters { display: flex; width: 100%; height: 30px; border-radius: 7px; background: var(--chosen);
  border: 1.5px solid var(--accent); align-items: center; font-weight: 650; font-size: 13px; }
.grip .letters i { flex: 1; text-align: center; font-style: normal; }
.grip.asks .letters { background: var(--bg); border-color: var(--fg); }
@container (max-width: 699px) { .grip .letters { font-size: 11px; border-width: 1px; border-radius: 5px; } }
.grip.asks::before { content: ""; position: absolute; inset: 0 -14px; }
.buttons { display: flex; flex-wrap: wrap; gap: 8px; align-items: center; }

.main { display: grid; gap: 18px; }
@container (min-width: 700px) { .main { grid-template-columns: minmax(0, 1fr) 250px; } }
.rows { display: grid; gap: 4px; align-content: start; min-width: 0; }
.row { display: grid; gap: 4px 12px; padding: 8px 10px; border-radius: 10px; }
@container (min-width: 700px) { .row { grid-template-columns: 132px minmax(0, 1fr); align-items: center; } }
.row.kept { background: var(--soft); box-shadow: inset 0 0 0 1.5px var(--edge); }
.cells { display: grid; grid-template-columns: repeat(var(--n), minmax(0, 1fr)); justify-items: center; gap: 4px; }
.cells + .cells { margin-top: 4px; }
.cells .name { font-weight: 650; font-size: 14px; text-align: center; }
.cells .name small { display: block; font-size: 12px; line-height: 1.2; }
.bar { width: 100%; max-width: var(--dial); text-align: center; font-size: 12.5px; font-variant-numeric: tabular-nums; }
.bar i { display: block; height: 34px; position: relative; border-bottom: 1.5px solid var(--edge); }
.bar i::after { content: ""; position: absolute; inset: auto 22% 0 22%; height: var(--share); background: var(--fg);
  border-radius: 3px 3px 0 0; transition: height .2s ease; }
.now { box-shadow: inset 0 0 0 1.5px var(--accent); background: var(--chosen); }

.dial { width: var(--dial); height: var(--dial); max-width: 100%; display: block; overflow: visible; }
.dial .rim { fill: var(--bg); stroke: var(--line); stroke-width: 1.5; }
.dial .zero { stroke: var(--edge); stroke-width: 1; }
.dial .hand { stroke-linecap: round; }
.dial .fast { stroke: var(--fast); fill: var(--fast); stroke-width: 3.2; }
.dial .slow { stroke: var(--slow); fill: var(--slow); stroke-width: 5.2; }
.dial .fast.ghost, .dial .slow.ghost { stroke-width: 1.8; stroke-dasharray: 3 3; fill: none; opacity: .75; }
.dial g.turns { transition: transform .25s ease; }
.out { display: grid; gap: 12px; align-content: start; }
.trio { display: flex; gap: 10px; justify-content: space-evenly; }
.trio figure { margin: 0; display: grid; gap: 4px; justify-items: center; align-content: start; flex: 0 1 104px;
  min-width: 0; }
.trio figcaption { font-size: 13px; text-align: center; line-height: 1.3; }
.trio .dial { width: 96px; height: auto; aspect-ratio: 1; }
.verdict { padding: 10px 12px; border-radius: 10px; background: var(--soft); border-left: 5px solid var(--edge);
  font-weight: 600; font-size: 14.5px; }
.verdict.good { border-color: var(--good); } .verdict.bad { border-color: var(--bad); }
.store { display: grid; gap: 6px; font-size: 14px; }
.slots { display: flex; gap: 3px; }
.slots i { flex: 1; height: 16px; border-radius: 3px; border: 1.5px solid var(--edge); }
.slots i.full { background: var(--fg); border-color: var(--fg); }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; font-size: 13px; color: var(--muted); align-items: center; }
.legend span { display: inline-flex; gap: 6px; align-items: center; }
.legend svg { width: 26px; height: 10px; }
@media (forced-colors: active) { .dial, .slots i, .bar i, .legend svg { forced-color-adjust: none; } }
`;

// ------------------------------------------------------------------------------------------- view

const CHOICES = ["scheme", "start", "ahead", "turning", "key_hands", "query_hands", "words"];
const STATE = [...CHOICES, "schemes", "positions", "base"];
const LOOKS = ["fast", "slow"];
const RADIUS = 50;
const PACE = 450; // ms between two positions while the text moves by itself

const degrees = (radians) => (radians * 180) / Math.PI;

/**
 * A clock face. Hands are given by where they point before any turn, and by how far they are turned,
 * so that a hand goes the way it really goes. Screens count y downwards, so turning is clockwise.
 */
function dial() {
  const rim = h("circle", { class: "rim", r: RADIUS });
  const zero = h("line", { class: "zero", x1: RADIUS - 7, x2: RADIUS });
  const hand = (look, ghost) => {
    const line = h("line", { class: `hand ${look}${ghost ? " ghost" : ""}` });
    const tip = ghost ? null : h("circle", { class: look, r: look === "fast" ? 4.5 : 0.1 });
    const root = h("g", { class: ghost ? "" : "turns" }, line, tip);
    return { root, line, tip };
  };
  const ghosts = LOOKS.map((look) => hand(look, true));
  const hands = LOOKS.map((look) => hand(look, false));
  const all = [...ghosts, ...hands].map((each) => each.root);
  const edge = RADIUS + 3;
  const root = h(
    "svg",
    { class: "dial", viewBox: `${-edge} ${-edge} ${2 * edge} ${2 * edge}`, "aria-hidden": "true" },
    rim, zero, ...all,
  );
  const point = ({ root: node, line, tip }, [x, y], radians, scale) => {
    const length = Math.hypot(x, y) * scale * (RADIUS - 5);
    line.setAttribute("x2", length.toFixed(2));
    tip?.setAttribute("cx", length.toFixed(2));
    node.style.transform = `rotate(${degrees(Math.atan2(y, x) + radians).toFixed(2)}deg)`;
  };
  return {
    root,
    /** turn: radians for each hand, on top of where it points; ghost: hands to draw dashed; shown: how many. */
    update(points, { turn = [0, 0], ghost = null, scale = 1, shown = points.length } = {}) {
      points.forEach((at, i) => {
        hands[i].root.style.display = i < shown ? "" : "none";
        ghosts[i].root.style.display = ghost && i < shown ? "" : "none";
        point(hands[i], at, turn[i], scale);
        if (ghost) point(ghosts[i], ghost[i], 0, scale);
      });
    },
  };
}

function render({ model, el }) {
  const get = () => Object.fromEntries(STATE.map((name) => [name, model.get(name)]));
  const set = (changes) => {
    for (const [name, value] of Object.entries(changes)) model.set(name, value);
  };
  const choose = (changes) => {
    set(changes);
    model.save_changes();
  };
  const given = get();

  // The schemes, each with its output

  const group = `scheme-${Math.random().toString(36).slice(2)}`;
  const cards = given.schemes.map(({ name, title }) => {
    const input = h("input", { type: "radio", name: group, value: name, onchange: () => choose({ scheme: name }) });
    const face = dial();
    const mark = h("span", { class: "mark" });
    return {
      name, input, face, mark,
      root: h("label", { class: "option" }, input, h("span", { class: "face" }, h("b", {}, title), face.root, mark)),
    };
  });
  const says = h("p", { class: "hint says" });
  const schemes = h(
    "fieldset",
    {},
    h("legend", {}, "What becomes of the values ", h("small", {}, "and the output that each gives")),
    h("div", { class: "cards" }, ...cards.map((card) => card.root)),
    says,
  );

  // Where the text stands, and where the query

  const ruler = h("div", { class: "ruler" });
  const shareOf = (position) => `${(100 * position) / given.positions}%`;
  for (let at = 0; at < given.positions; at += 1) {
    ruler.append(
      h("div", { class: "tick", "aria-hidden": "true", style: `left:${shareOf(at + 0.5)}` },
        at % 5 ? null : h("span", {}, at)),
    );
  }
  const KEYS = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -5, PageUp: 5 };
  function grip(what, label) {
    const letters = h("span", { class: "letters" });
    const node = h(
      "div",
      {
        class: what === "start" ? "grip" : "grip asks",
        role: "slider",
        tabindex: 0,
        "aria-label": label,
        onkeydown: (event) => {
          if (isCommand(event)) return;
          const ends = { Home: -Infinity, End: Infinity };
          const to = event.key in ends ? ends[event.key] : get()[what] + KEYS[event.key];
          if (Number.isNaN(to)) return;
          event.preventDefault();
          halt();
          choose(placed(get(), what, to));
        },
      },
      letters,
    );
    return { node, letters, what };
  }
  const text = grip("start", "Position of the first token");
  const asks = grip("ahead", "How far behind the text the query stands");
  ruler.append(text.node, asks.node);
  let held = null;
  for (const { node, what } of [text, asks]) {
    node.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      event.preventDefault();
      halt();
      node.focus({ focusVisible: false });
      node.setPointerCapture(event.pointerId);
      held = { what, from: event.clientX, was: get()[what] };
      ruler.classList.add("dragging");
    });
    node.addEventListener("pointermove", (event) => {
      if (held?.what !== what) return;
      const step = ruler.getBoundingClientRect().width / given.positions;
      set(placed(get(), what, held.was + (event.clientX - held.from) / step));
    });
    for (const type of ["pointerup", "pointercancel", "lostpointercapture"]) {
      node.addEventListener(type, () => {
        if (!held) return;
        held = null;
        ruler.classList.remove("dragging");
        model.save_changes();
      });
    }
  }
  let ticking = null;
  const play = h("button", { type: "button", onclick: () => (ticking === null ? go() : halt()) });
  function halt() {
    clearInterval(ticking);
    ticking = null;
    play.textContent = "▶ Move along";
    play.setAttribute("aria-pressed", "false");
  }
  function go() {
    if (placed(get(), "start", get().start + 1).start === get().start) choose({ start: 0 });
    ticking = setInterval(() => {
      const next = placed(get(), "start", get().start + 1);
      if (next.start === get().start) halt();
      else choose(next);
    }, PACE);
    play.textContent = "❚❚ Stop";
    play.setAttribute("aria-pressed", "true");
  }
  const home = h("button", { type: "button", onclick: () => { halt(); choose({ start: 0 }); } }, "Back to 0");
  const turning = radios({ legend: "Hands that turn", onchoose: (n) => choose({ turning: n }) });
  const places = h(
    "div",
    { class: "places" },
    h("h3", {}, "Where the text stands ",
      h("small", {}, "Drag the text, or the token that asks (?), or use the arrow keys.")),
    ruler,
    h("div", { class: "buttons" }, play, home),
  );

  // The text, from what is projected to what is taken

  const cells = () => h("div", { class: "cells" });
  const board = () => ({ dials: [], node: cells() });
  function row(kind, ...boards) {
    const title = h("h3");
    const root = h("div", { class: `row ${kind}` }, title,
      h("div", {}, ...boards.map((each) => each.node ?? each)));
    return { root, title, say: (...parts) => title.replaceChildren(...parts) };
  }
  const boards = Object.fromEntries(["plain", "first", "second", "key", "value"].map((name) => [name, board()]));
  const [nameCells, barCells] = [cells(), cells()];
  const rows = {
    plain: row("", nameCells, boards.plain),
    kept: row("kept", boards.first, boards.second),
    key: row("", boards.key),
    weights: row("", barCells),
    value: row("", boards.value),
  };
  let n = 0;
  let names = [];
  let bars = [];
  /** Python may give the text other tokens: a column for each. */
  function match(count) {
    if (count === n) return;
    n = count;
    const each = (make) => Array.from({ length: n }, make);
    names = each(() => h("div", { class: "name" }));
    bars = each(() => h("div", { class: "bar" }, h("i"), h("span")));
    nameCells.replaceChildren(...names);
    barCells.replaceChildren(...bars);
    for (const place of Object.values(boards)) {
      place.dials = each(dial);
      place.node.replaceChildren(...place.dials.map((face) => face.root));
    }
    root.style.setProperty("--n", n);
  }

  // What comes out

  const trio = ["query", "mean", "output"].map((name) => {
    const face = dial();
    const caption = h("figcaption");
    return { name, face, caption, root: h("figure", {}, face.root, caption) };
  });
  const verdict = h("p", { class: "verdict" });
  const slots = h("div", { class: "slots", "aria-hidden": "true" });
  const kept = h("p");
  const work = h("p");
  const swatch = (look, dashed) =>
    h("svg", { viewBox: "0 0 26 10", "aria-hidden": "true" },
      h("line", { x1: 2, y1: 5, x2: 22, y2: 5, stroke: look ? `var(--${look})` : "var(--muted)",
        "stroke-width": dashed ? 1.8 : look === "slow" ? 5 : 3, "stroke-dasharray": dashed ? "3 3" : null,
        "stroke-linecap": "round" }),
      look === "fast" ? h("circle", { cx: 22, cy: 5, r: 4, fill: "var(--fast)" }) : null);
  const slowly = h("span");
  const legend = h(
    "div",
    { class: "legend" },
    h("span", {}, swatch("fast"), "first pair of columns"),
    h("span", {}, swatch("slow"), slowly),
    h("span", {}, swatch(null, true), "dashed: before turning; of an output: at position 0"),
  );
  const live = announcer();
  const root = h(
    "section",
    { class: "sheet rc", "aria-label": "Keys that turn, and what is taken of them" },
    schemes,
    places,
    h("div", { class: "main" },
      h("div", { class: "rows" }, ...Object.values(rows).map((each) => each.root)),
      h("div", { class: "out" },
        h("div", { class: "trio" }, ...trio.map((each) => each.root)),
        verdict,
        h("div", { class: "store" }, h("h3", {}, "Kept of each token"), slots, kept, work),
        turning.root)),
    legend,
    live.node,
  );
  const staged = stage(root, CSS);

  function update() {
    const state = get();
    match(state.key_hands.length);
    const scheme = schemeOf(state);
    const speeds = speedsOf(state);
    const place = asksAt(state);
    const reading = readingOf(state);
    const words = wordsOf(state);
    const still = { ...state, start: 0 };
    const angles = (position) => speeds.map((speed) => speed * position);

    for (const card of cards) {
      const moved = movedOf(state, card.name);
      const [now, then] = [state, still].map((each) => readingOf(each, card.name).output);
      card.input.checked = card.name === state.scheme;
      card.face.update(now, { ghost: state.start ? then : null });
      const stays = moved < STAYS;
      card.mark.textContent = !state.start ? "at position 0" : stays ? "✓ stays" : `✗ moved by ${fixed(moved, 2)}`;
      card.mark.className = `mark${!state.start ? "" : stays ? " good" : " bad"}`;
    }
    says.textContent = scheme.says;

    for (const [{ node, letters }, at, width, shown] of [
      [text, state.start, n, state.words],
      [asks, place, 1, ["?"]],
    ]) {
      node.style.left = shareOf(at);
      node.style.width = shareOf(width);
      letters.replaceChildren(...shown.map((word) => h("i", {}, word)));
    }
    for (const [{ node, what }, sentence] of [
      [text, `text at positions ${state.start} to ${state.start + n - 1}`],
      [asks, `query at position ${place}, ${state.ahead} behind the text`],
    ]) {
      node.setAttribute("aria-valuemin", placed(state, what, -Infinity)[what]);
      node.setAttribute("aria-valuemax", placed(state, what, Infinity)[what]);
      node.setAttribute("aria-valuenow", state[what]);
      node.setAttribute("aria-valuetext", sentence);
    }
    turning.update([1, 2].map((hands) => ({ value: hands, title: HANDS_TURN[hands - 1] })), state.turning);
    slowly.textContent = state.turning === 2 ? "second pair, turns more slowly" : "second pair, does not turn";

    const plain = (key) => [key, {}];
    const atPlace = (key, i) => [key, { turn: angles(state.start + i), ghost: key }];
    const draw = (name, how) => boards[name].dials.forEach((each, i) => each.update(...how(state.key_hands[i], i)));
    const forms = { plain, turned: atPlace };
    const small = (...parts) => h("small", {}, ...parts);
    draw("plain", plain);
    names.forEach((node, i) => node.replaceChildren(state.words[i], small(state.start + i)));
    draw("first", forms[scheme.kept[0]]);
    boards.second.node.hidden = scheme.kept.length === 1;
    if (scheme.kept.length === 2) {
      draw("second", (key, i) => {
        const [points, how] = forms[scheme.kept[1]](key, i);
        return [points, { ...how, shown: state.turning }]; // what does not turn is kept once
      });
    }
    draw("key", atPlace);
    draw("value", forms[scheme.value]);
    bars.forEach((node, i) => {
      node.firstChild.style.setProperty("--share", `${(100 * reading.weights[i]).toFixed(1)}%`);
      node.lastChild.textContent = `${fixed(100 * reading.weights[i], 0)} %`;
    });
    rows.plain.say("As projected", small("token and position; the key before any turn"));
    rows.kept.say("Kept in the cache", small(scheme.kept.join(" and, once more, ")));
    rows.key.say("Compared: key", small(scheme.on_read ? "turned now, every one of them" : "as it is kept"));
    rows.key.root.classList.toggle("now", scheme.on_read);
    rows.weights.say("Weights", small("alike for all four schemes, wherever the text stands"));
    rows.value.say("Taken: value", small(scheme.value === "plain" ? "plain" : "turned, by its own position"));

    const [query, mean, output] = trio;
    const longest = Math.max(...state.query_hands.map(([x, y]) => Math.hypot(x, y)));
    query.face.update(state.query_hands, { turn: angles(place), scale: 1 / longest, ghost: state.query_hands });
    query.caption.textContent = `query at ${place}, turned`;
    mean.root.hidden = !scheme.back;
    const ghost = readingOf(still);
    mean.face.update(reading.mean, { ghost: state.start ? ghost.mean : null });
    mean.caption.textContent = "mean of the values";
    output.face.update(reading.output, { ghost: state.start ? ghost.output : null });
    output.caption.textContent = scheme.back ? `output: turned back by ${place}` : "output: mean of the values";

    const good = state.start && words.stays;
    verdict.className = `verdict${!state.start ? "" : good ? " good" : " bad"}`;
    verdict.textContent = words.verdict;
    const apart = 4 * state.query_hands.length;
    slots.replaceChildren(
      ...Array.from({ length: apart }, (_, i) => h("i", { class: i < numbersOf(state) ? "full" : null })),
    );
    kept.textContent = words.kept;
    work.textContent = words.work;
    const sentence = `${scheme.title}, text at position ${state.start}, query at ${place}. ${words.verdict} Kept of each token: ${words.kept}`;
    live.follow(sentence);
  }

  halt();
  const unfollow = follow(model, STATE, update);
  update();
  el.append(staged.host);
  return () => {
    halt();
    unfollow();
    live.hush();
    staged.remove();
  };
}

export default { render };
