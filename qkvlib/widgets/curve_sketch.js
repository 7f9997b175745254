// CurveSketch: draw how a difference moves, then see what was measured.
//
// An ES module in the anywidget protocol, self-contained once _shared.js is put in front of it. What
// was measured comes from Python through the state; the learner's line is drawn here.

// --------------------------------------------------------------------------------------------- lines

/** The name of a curve in `drawn` and `revealed`. */
export const keyOf = ({ name, axis }) => `${name} over ${axis}`;

/** The curve that is shown. */
export const shownIn = (state) =>
  state.curves.find((c) => c.name === state.name_shown && c.axis === state.axis_shown);

/** Lower end of the axis: room for a gap that turns out the other way round. */
export const bottomOf = (curve) => -curve.top / 4;

/** A height inside the picture, in steps that fit it; no -0. */
export function held(curve, y) {
  const inside = Math.min(curve.top, Math.max(bottomOf(curve), y));
  return Number((Math.round((200 * inside) / curve.top) * (curve.top / 200)).toPrecision(6)) || 0;
}

/** Where each size stands from left to right, 0 to 1: equal ratios are equally far apart. */
export function placesOf({ x }) {
  const [low, high] = [Math.log(x[0]), Math.log(x.at(-1))];
  return x.map((each) => (Math.log(each) - low) / (high - low));
}

/** The line after the pen went from one point to another, each [place, height]; a first touch is a flat line. */
export function penned(curve, line, from, to) {
  const places = placesOf(curve);
  const near = (place) =>
    places.reduce((best, at, i) => (Math.abs(at - place) < Math.abs(places[best] - place) ? i : best), 0);
  const next = line ? [...line] : places.map(() => held(curve, to[1]));
  next[near(to[0])] = held(curve, to[1]);
  const [low, high] = from[0] < to[0] ? [from[0], to[0]] : [to[0], from[0]];
  places.forEach((at, i) => {
    if (at <= low || at >= high) return;
    next[i] = held(curve, from[1] + ((to[1] - from[1]) * (at - from[0])) / (to[0] - from[0]));
  });
  return next;
}

/** Least-squares slope against the binary logarithm of the sizes. */
export function slopeOf({ x }, line) {
  const logs = x.map(Math.log2);
  const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
  const [mx, my] = [mean(logs), mean(line)];
  const over = logs.reduce((sum, l, i) => sum + (l - mx) * (line[i] - my), 0);
  return over / logs.reduce((sum, l) => sum + (l - mx) ** 2, 0);
}

/** Mean distance of a line from what was measured. */
export const offBy = ({ mean }, line) =>
  mean.reduce((sum, y, i) => sum + Math.abs(y - line[i]), 0) / mean.length;

// --------------------------------------------------------------------------------------------- words

const short = (value) => String(Number(value.toPrecision(2))).replace("-", "−");
const withSign = (value) => (value > 0 ? "+" : "") + short(value);

/** "shrinks", "grows" or "stays", of a change per doubling that may be an interval. */
export function wayOf({ mean, low = mean, high = mean }) {
  if (low <= 0 && high >= 0) return "stays";
  return mean > 0 ? "grows" : "shrinks";
}

const WAYS = {
  shrinks: "it shrinks",
  grows: "it grows",
  stays: "one cannot tell which way it goes",
};

/** What there is to say of a guess, and of the measurement once it is shown. */
export function wordsOf(curve, line, isRevealed) {
  const said = [];
  if (line) {
    const slope = slopeOf(curve, line);
    const flat = Math.abs(slope) < curve.top / 100;
    said.push(
      flat
        ? "Your line: it stays where it is."
        : `Your line: ${WAYS[wayOf({ mean: slope })]}, ${withSign(slope)} with each doubling.`,
    );
  }
  if (isRevealed) {
    const { mean, low, high } = curve.trend;
    said.push(
      `Measured: ${WAYS[wayOf(curve.trend)]}, ${withSign(mean)} with each doubling ` +
        `(${withSign(low)} to ${withSign(high)}).`,
    );
    if (line) {
      const inside = line.filter((y, i) => y >= curve.low[i] && y <= curve.high[i]).length;
      said.push(
        `You are off by ${short(offBy(curve, line))} on average; ${inside} of ${line.length} points ` +
          "are inside their intervals.",
      );
    }
  }
  return said;
}

// --------------------------------------------------------------------------------------------- style

const CSS = `
.cs { --mine: var(--fg); }
.inner { display: grid; gap: 14px; padding: 16px; }
.picks { display: grid; gap: 14px 26px; grid-template-columns: minmax(0, 1fr); }
@container (min-width: 700px) {
  .inner { padding: 20px 22px; }
  .picks { grid-template-columns: minmax(0, auto) minmax(0, auto); justify-content: start; }
}
.chart { display: grid; grid-template-columns: auto minmax(0, 1fr); gap: 4px 8px; }
.what { grid-column: 1 / -1; margin-bottom: 6px; font-size: 14px; color: var(--muted); }
.ys { position: relative; width: 44px; font-size: 13px; color: var(--muted);
  font-variant-numeric: tabular-nums; }
.ys span { position: absolute; right: 0; transform: translateY(-50%); white-space: nowrap; }
.board { position: relative; height: 320px; border: 1px solid var(--line); border-radius: 10px;
  background: var(--soft); touch-action: none; cursor: crosshair; user-select: none;
  -webkit-user-select: none; }
.board svg { position: absolute; inset: 0; width: 100%; height: 100%; overflow: visible; }
.board line, .board polyline, .board polygon { vector-effect: non-scaling-stroke; }
.grid { stroke: var(--line); stroke-width: 1; }
.zero { stroke: var(--edge); stroke-width: 1.5; stroke-dasharray: 5 4; }
.mine { fill: none; stroke: var(--mine); stroke-width: 2; stroke-dasharray: 7 5; }
.band { fill: var(--c); fill-opacity: .22; stroke: none; }
.real { fill: none; stroke: var(--c); stroke-width: 3; }
.spot { position: absolute; width: 11px; height: 11px; margin: -6px 0 0 -6px; border-radius: 50%;
  background: var(--c); border: 2px solid var(--bg); pointer-events: none; }
.grip { position: absolute; width: 44px; height: 44px; min-width: 0; min-height: 0; margin: -22px 0 0 -22px;
  padding: 0; border: 0; border-radius: 50%; background: none; display: grid; place-items: center;
  touch-action: none; cursor: ns-resize; }
.grip i { width: 16px; height: 16px; border-radius: 50%; background: var(--bg);
  border: 3px solid var(--mine); }
.blank .grip i { border-style: dashed; border-width: 2px; border-color: var(--edge); background: none; }
.grip:focus-visible { outline: 3px solid var(--accent); outline-offset: -6px; }
.invite { position: absolute; inset: 14px 8px auto; text-align: center; font-weight: 600;
  pointer-events: none; }
.xs { position: relative; grid-column: 2; height: 20px; font-size: 13px; color: var(--muted);
  font-variant-numeric: tabular-nums; }
.xs span { position: absolute; transform: translateX(-50%); white-space: nowrap; }
.axis { grid-column: 2; text-align: center; font-size: 14px; color: var(--muted); }
.legend { display: flex; flex-wrap: wrap; gap: 4px 16px; font-size: 13px; color: var(--muted); }
.legend span { display: inline-flex; align-items: center; gap: 7px; }
.legend i { width: 26px; height: 0; border-top: 3px solid var(--c); }
.legend .l { border-top: 2px dashed var(--mine); }
.legend .b { height: 12px; border: 0; background: var(--c); opacity: .3; border-radius: 3px; }
.doing { display: flex; flex-wrap: wrap; gap: 8px; }
.doing .go:not([aria-disabled="true"]) { background: var(--accent); border-color: var(--accent); color: var(--bg); font-weight: 600; }
.told { padding: 10px 12px; border-radius: 10px; background: var(--soft); border-left: 5px solid var(--c);
  display: grid; gap: 4px; min-height: 44px; align-content: center; }
details { font-size: 14px; overflow-x: auto; }
summary { cursor: pointer; padding: 6px 0; font-weight: 600; }
summary:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; border-radius: 4px; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 2px 14px 2px 0; font-weight: 400; white-space: nowrap; }
thead th { font-weight: 600; }
@media (pointer: coarse) { summary { min-height: 44px; padding: 12px 0; } }
@media (forced-colors: active) { .board svg, .spot, .grip i, .legend i { forced-color-adjust: none; } }
`;

// ---------------------------------------------------------------------------------------------- view

const STATE = ["curves", "unit", "name_shown", "axis_shown", "drawn", "revealed"];
const PAD = 0.07; // of the width, on either side, so that the outer grips are inside

const unique = (values) => [...new Set(values)];

/** The picture: a pen for pointers, and a slider at each size for keys. */
function board({ get, draw, rest }) {
  const drawing = h("svg", { viewBox: "0 0 1 1", preserveAspectRatio: "none", "aria-hidden": "true" });
  const invite = h("p", { class: "invite", "aria-hidden": "true" }, "Draw your guess across the picture");
  const root = h("div", { class: "board", role: "group" }, drawing, invite);
  const spots = h("div", { "aria-hidden": "true" });
  const ys = h("div", { class: "ys", "aria-hidden": "true" });
  const xs = h("div", { class: "xs", "aria-hidden": "true" });
  let grips = [];

  const lineOf = (state) => state.drawn[keyOf(shownIn(state))];
  const across = (place) => PAD + (1 - 2 * PAD) * place;
  const up = (curve, y) => (curve.top - y) / (curve.top - bottomOf(curve));
  const percent = (share) => `${(100 * share).toFixed(3)}%`;

  let pen = null; // where the pen was last
  function pointAt(event) {
    const curve = shownIn(get());
    const box = root.getBoundingClientRect();
    const place = ((event.clientX - box.left) / box.width - PAD) / (1 - 2 * PAD);
    const down = (event.clientY - box.top) / box.height;
    return [place, curve.top - down * (curve.top - bottomOf(curve))];
  }
  function trace(event) {
    const state = get();
    const to = pointAt(event);
    draw(penned(shownIn(state), lineOf(state), pen ?? to, to));
    pen = to;
  }
  root.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault();
    root.setPointerCapture(event.pointerId);
    trace(event);
  });
  root.addEventListener("pointermove", (event) => {
    if (pen) trace(event);
  });
  for (const type of ["pointerup", "pointercancel", "lostpointercapture"]) {
    root.addEventListener(type, () => {
      if (pen) rest();
      pen = null;
    });
  }

  function onkey(event, i) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      event.preventDefault();
      grips[i + (event.key === "ArrowLeft" ? -1 : 1)]?.focus();
      return;
    }
    const state = get();
    const curve = shownIn(state);
    const step = (curve.top / 200) * (event.shiftKey ? 10 : 2);
    const now = lineOf(state)?.[i] ?? curve.top / 2;
    const to = {
      ArrowUp: now + step,
      ArrowDown: now - step,
      PageUp: now + curve.top / 10,
      PageDown: now - curve.top / 10,
      Home: bottomOf(curve),
      End: curve.top,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const at = [placesOf(curve)[i], to];
    draw(penned(curve, lineOf(state), at, at));
    rest();
  }
  const grip = (i) =>
    h(
      "button",
      {
        type: "button",
        class: "grip",
        role: "slider",
        "aria-orientation": "vertical",
        onkeydown: (event) => onkey(event, i),
      },
      h("i"),
    );

  return {
    root,
    ys,
    xs,
    update(state) {
      const curve = shownIn(state);
      const line = lineOf(state);
      const isRevealed = state.revealed.includes(keyOf(curve));
      const places = placesOf(curve);
      if (grips.length !== places.length) {
        grips = places.map((_, i) => grip(i));
        root.replaceChildren(drawing, spots, ...grips, invite);
      }
      root.classList.toggle("blank", !line);
      root.setAttribute("aria-label", `Your line, ${state.unit}. Up and down move a point.`);
      invite.hidden = Boolean(line) || isRevealed;
      grips.forEach((node, i) => {
        const y = line?.[i] ?? curve.top / 2;
        node.style.left = percent(across(places[i]));
        node.style.top = percent(up(curve, y));
        node.setAttribute("aria-label", `Guess at ${curve.x_text[i]}`);
        node.setAttribute("aria-valuemin", bottomOf(curve));
        node.setAttribute("aria-valuemax", curve.top);
        node.setAttribute("aria-valuenow", y);
        node.setAttribute("aria-valuetext", line ? short(y) : "not drawn yet");
      });

      const stops = [-1, 0, 1, 2, 3, 4].map((n) => (n * curve.top) / 4);
      const flat = (values) => values.map((y, i) => `${across(places[i])},${up(curve, y)}`).join(" ");
      const level = (name, y) =>
        h("line", { class: name, x1: 0, x2: 1, y1: up(curve, y), y2: up(curve, y) });
      drawing.replaceChildren(
        ...stops.slice(1, -1).map((y) => level(y ? "grid" : "zero", y)),
        ...(isRevealed
          ? [
              h("polygon", {
                class: "band",
                points: `${flat(curve.high)} ${flat(curve.low).split(" ").reverse().join(" ")}`,
              }),
              h("polyline", { class: "real", points: flat(curve.mean) }),
            ]
          : []),
        ...(line ? [h("polyline", { class: "mine", points: flat(line) })] : []),
      );
      spots.replaceChildren(
        ...(isRevealed ? curve.mean : []).map((y, i) =>
          h("span", {
            class: "spot",
            style: `left:${percent(across(places[i]))};top:${percent(up(curve, y))}`,
          }),
        ),
      );
      ys.replaceChildren(
        ...stops.map((y) => h("span", { style: `top:${percent(up(curve, y))}` }, short(y))),
      );
      xs.replaceChildren(
        ...places.map((at, i) => h("span", { style: `left:${percent(across(at))}` }, curve.x_text[i])),
      );
    },
  };
}

/** All numbers, to read. */
function table() {
  const body = h("tbody");
  const head = h("tr", {}, ...["", "yours", "measured", "interval"].map((t) => h("th", { scope: "col" }, t)));
  const root = h("details", {}, h("summary", {}, "As a table"), h("table", {}, h("thead", {}, head), body));
  return {
    root,
    update(curve, line, isRevealed) {
      body.replaceChildren(
        ...curve.x_text.map((text, i) => {
          const measured = isRevealed
            ? [short(curve.mean[i]), `${short(curve.low[i])} to ${short(curve.high[i])}`]
            : ["hidden", ""];
          const cells = [line ? short(line[i]) : "", ...measured];
          return h("tr", {}, h("th", { scope: "row" }, text), ...cells.map((t) => h("td", {}, t)));
        }),
      );
    },
  };
}

function render({ model, el }) {
  const get = () => Object.fromEntries(STATE.map((name) => [name, model.get(name)]));
  const put = (changes) => {
    for (const [name, value] of Object.entries(changes)) model.set(name, value);
  };
  const rest = () => model.save_changes();
  const set = (changes) => {
    put(changes);
    rest();
  };
  const has = (state, name, axis) => state.curves.some((c) => c.name === name && c.axis === axis);

  const names = radios({
    legend: "The gap of",
    onchoose: (name) => {
      const state = get();
      const axes = state.curves.filter((c) => c.name === name).map((c) => c.axis);
      const axis = has(state, name, state.axis_shown) ? state.axis_shown : axes[0];
      set({ name_shown: name, axis_shown: axis });
    },
  });
  const axes = radios({ legend: "over", onchoose: (axis) => set({ axis_shown: axis }) });
  const picture = board({
    get,
    rest,
    draw: (line) => {
      const state = get();
      put({ drawn: { ...state.drawn, [keyOf(shownIn(state))]: line } });
    },
  });
  const what = h("p", { class: "what" });
  const axis = h("p", { class: "axis" });
  const legend = h(
    "p",
    { class: "legend", "aria-hidden": "true" },
    h("span", {}, h("i", { class: "l" }), "your guess"),
    h("span", {}, h("i"), "measured"),
    h("span", {}, h("i", { class: "b" }), "its 95 % interval"),
  );
  const reveal = () => {
    const state = get();
    set({ revealed: unique([...state.revealed, keyOf(shownIn(state))]) });
  };
  const forget = () => {
    const state = get();
    const key = keyOf(shownIn(state));
    const { [key]: _, ...others } = state.drawn;
    set({ drawn: others, revealed: state.revealed.filter((each) => each !== key) });
  };
  const go = action("Show what was measured", reveal, "go");
  const again = action("Draw again", forget);
  const told = h("div", { class: "told" });
  const numbers = table();
  const live = announcer();
  const root = h(
    "section",
    { class: "sheet cs", "aria-label": "Draw a curve before you see it" },
    h(
      "div",
      { class: "inner" },
      h("div", { class: "picks" }, names.root, axes.root),
      h("div", { class: "chart" }, what, picture.ys, picture.root, picture.xs, axis),
      legend,
      h("div", { class: "doing" }, go.node, again.node),
      told,
      numbers.root,
    ),
    live.node,
  );
  const staged = stage(root, CSS);

  function update() {
    const state = get();
    const curve = shownIn(state);
    if (!curve) return; // name and axis are on their way
    const key = keyOf(curve);
    const line = state.drawn[key];
    const isRevealed = state.revealed.includes(key);
    root.style.setProperty("--c", curve.colour);
    const done = (name, over) => (state.revealed.includes(keyOf({ name, axis: over })) ? "seen" : "to guess");
    names.update(
      unique(state.curves.map((c) => c.name)).map((name) => ({ value: name, title: name })),
      curve.name,
    );
    axes.update(
      unique(state.curves.map((c) => c.axis)).map((over) => ({
        value: over,
        title: over,
        detail: done(curve.name, over),
        disabled: !has(state, curve.name, over),
      })),
      curve.axis,
    );
    what.textContent = state.unit;
    axis.textContent = curve.axis;
    picture.update(state);
    go.update(!line || isRevealed);
    again.update(!line && !isRevealed);
    const words = wordsOf(curve, line, isRevealed);
    told.replaceChildren(
      ...(words.length ? words : ["Nothing drawn yet. What will happen with each doubling?"]).map((each) =>
        h("p", {}, each),
      ),
    );
    numbers.update(curve, line, isRevealed);
    const sentence = `${key}. ${words.join(" ")}`;
    live.follow(sentence);
  }
  const unfollow = follow(model, STATE, update);
  update();
  el.append(staged.host);
  return () => {
    unfollow();
    live.hush();
    staged.remove();
  };
}

export default { render };
