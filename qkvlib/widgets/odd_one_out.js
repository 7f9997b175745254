// OddOneOut: find the odd image before the models do, and see where its images look.
//
// An ES module in the anywidget protocol, self-contained once _shared.js is put in front of it. Images,
// scores and maps come from Python; pixels and weights are base64, a byte each.

const NO_PICK = -1;

// --------------------------------------------------------------------------------------- what is so

/** The bytes of a base64 text. */
export const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

/** Rows of weights, from 0 to 1, as Python packed them. */
export function unpackWeights(text, size) {
  const flat = [...bytes(text)].map((byte) => byte / 255);
  if (flat.length !== size * size) throw new Error(`a map of ${flat.length} weights is not ${size} x ${size}`);
  return Array.from({ length: size }, (_, i) => flat.slice(i * size, (i + 1) * size));
}

/** Scores as shares that sum to one. */
export function shares(scores) {
  const most = Math.max(...scores);
  const powers = scores.map((score) => Math.exp(score - most));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

/** The place of the greatest number, the first of them. */
export const best = (numbers) => numbers.indexOf(Math.max(...numbers));

/** Whole percent: "7 %". */
export const percent = (weight) => `${Math.round(100 * weight)} %`;

/** How many rounds were played, and how many of these the learner and each model got right. */
export function tally({ picks, rounds, models }) {
  const played = picks.flatMap((pick, i) => (pick === NO_PICK ? [] : [i]));
  const right = (chosen) => played.filter((i) => chosen(i) === rounds[i].odd).length;
  return {
    played: played.length,
    you: right((i) => picks[i]),
    models: models.map((model) => right((i) => best(model.scores[i]))),
  };
}

/** Edges from an image to another, weak ones left out; with a focus only those from and to it. */
export function edges(weights, least, focus = NO_PICK) {
  const found = [];
  weights.forEach((row, from) =>
    row.forEach((weight, to) => {
      if (from === to || weight < least || weight === 0) return;
      if (focus === NO_PICK || from === focus || to === focus) found.push({ from, to, weight });
    }),
  );
  // The strongest is drawn last, on top of the others.
  return found.sort((a, b) => a.weight - b.weight);
}

/** What a map does with the odd one: its look at itself, the others' at it, the others' among them. */
export function around(weights, odd) {
  const others = weights.map((_, i) => i).filter((i) => i !== odd);
  const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
  return {
    oddOnSelf: weights[odd][odd],
    othersOnSelf: mean(others.map((i) => weights[i][i])),
    onOdd: mean(others.map((i) => weights[i][odd])),
    amongOthers: mean(others.flatMap((i) => others.filter((j) => j !== i).map((j) => weights[i][j]))),
  };
}

/** Where image i of n stands on a circle about 0, clockwise from the top. */
export function spot(i, n, radius) {
  const angle = (2 * Math.PI * i) / n - Math.PI / 2;
  return { x: radius * Math.cos(angle), y: radius * Math.sin(angle) };
}

/** A bent path from one spot to another, ending `gap` short of both; there and back bend apart. */
export function bend(a, b, gap) {
  const [dx, dy] = [b.x - a.x, b.y - a.y];
  const length = Math.hypot(dx, dy);
  const middle = { x: (a.x + b.x) / 2 - 0.13 * dy, y: (a.y + b.y) / 2 + 0.13 * dx };
  const towards = (from) => {
    const [x, y] = [middle.x - from.x, middle.y - from.y];
    const share = gap / Math.max(Math.hypot(x, y), length / 100);
    return `${(from.x + share * x).toFixed(1)} ${(from.y + share * y).toFixed(1)}`;
  };
  return `M${towards(a)}Q${middle.x.toFixed(1)} ${middle.y.toFixed(1)} ${towards(b)}`;
}

const image = (i) => `image ${i + 1}`;

function listed(words) {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}

/** Where an image looks and who looks at it, in words. */
export function focusText(weights, i, labels, least) {
  const strong = (pairs) =>
    pairs
      .filter(({ at, weight }) => at !== i && weight >= least && weight > 0)
      .sort((a, b) => b.weight - a.weight || a.at - b.at)
      .map(({ at, weight }) => `${at + 1} (${percent(weight)})`);
  const looks = strong(weights[i].map((weight, at) => ({ at, weight })));
  const seen = strong(weights.map((row, at) => ({ at, weight: row[i] })));
  return (
    `Image ${i + 1} (${labels[i]}) keeps ${percent(weights[i][i])} of its look for itself. ` +
    `It looks at ${looks.length ? listed(looks) : `no other with ${percent(least)} or more`}. ` +
    `It is looked at by ${seen.length ? listed(seen) : `no other with ${percent(least)} or more`}.`
  );
}

/** Which one is odd, in words that fit digits and clothes alike. */
export function answerText({ odd, labels }) {
  const usual = labels[odd === 0 ? 1 : 0];
  return `the odd one is ${image(odd)} (${labels[odd]}; the others are ${usual})`;
}

// ------------------------------------------------------------------------------------------- style

const CSS = `
.ooo { padding: 16px; display: grid; grid-template-columns: minmax(0, 1fr); gap: 18px; --hand: #3c4650; --shade: 100%;
  --good: #00694a; --bad: #a63a00; }
.ooo[data-theme="dark"] { --hand: #cfd6de; --shade: 62%; --good: #57d3a5; --bad: #ff9d66; }
.ink { --tone: color-mix(in srgb, var(--ink, var(--hand)) var(--shade), white); }
.swatch { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 6px;
  background: var(--tone); vertical-align: -1px; }
.good { color: var(--good); font-weight: 600; }
.bad { color: var(--bad); font-weight: 600; }
img { display: block; width: 100%; height: auto; }
[data-theme="dark"] img { filter: invert(1); }

.top { display: flex; flex-wrap: wrap; gap: 6px 14px; align-items: center; justify-content: space-between; }
.rounds { display: flex; flex-wrap: wrap; gap: 4px; }
.rounds button { min-width: 36px; padding: 2px 0; font-size: 13.5px; line-height: 1.15; display: grid; }
.rounds button span { font-weight: 700; font-size: 12px; min-height: 14px; }
.game { display: grid; gap: 10px; }
.asks { display: flex; flex-wrap: wrap; gap: 8px 14px; align-items: center; min-height: 40px; font-size: 16px; }
.asks b { font-weight: 600; }
.asks button { background: var(--accent); border-color: var(--accent); color: var(--bg); font-weight: 600; }
.cards { display: grid; gap: 6px; grid-template-columns: repeat(5, minmax(0, 1fr)); }
@container (min-width: 620px) { .cards { grid-template-columns: repeat(var(--n), minmax(0, 1fr)); } }
.card { padding: 4px 4px 2px; display: grid; grid-template-columns: minmax(0, 1fr); gap: 2px; min-height: 44px; min-width: 0; font-size: 12.5px;
  color: var(--muted); text-align: center; border-width: 2px; border-color: var(--line); }
.card[aria-disabled="true"] { cursor: default; }
.card[aria-disabled="true"]:hover { border-color: var(--line); }
.card.odd, .card.odd:hover { border-color: var(--good); background: var(--chosen); }
.card.missed, .card.missed:hover { border-color: var(--bad); border-style: dashed; }
.card small { min-height: 19px; font-weight: 600; line-height: 1.2; }
.card.odd small { color: var(--good); }
.card.missed small { color: var(--bad); }

h4 { margin: 0; font: inherit; font-weight: 600; font-size: 15.5px; }
.answers { display: grid; gap: 8px; }
.row { display: grid; grid-template-columns: repeat(var(--n), minmax(0, 1fr)); }
.who { grid-column: 1 / -1; font-size: 13.5px; padding: 0 0 2px; display: flex; flex-wrap: wrap; gap: 0 10px; }
.who b { font-weight: 600; }
.cell { position: relative; min-height: 30px; display: grid; place-items: center; font-size: 12.5px;
  font-variant-numeric: tabular-nums; border-bottom: 1px solid var(--edge); min-width: 0; }
.cell.odd { background: var(--chosen); }
.cell i { position: absolute; inset: auto 8% 0; background: color-mix(in srgb, var(--tone) 45%, transparent);
  border-radius: 3px 3px 0 0; transition: height .25s ease; }
.cell b { position: relative; font-weight: 700; }
.row.heads .cell { border: 0; padding: 2px; min-height: 0; }
.row.heads img { max-width: 34px; }
@container (min-width: 620px) {
  .row { grid-template-columns: 238px repeat(var(--n), minmax(0, 1fr)); }
  .who { grid-column: 1; align-self: center; padding: 0 10px 0 0; display: block; }
  .who small { display: block; }
}

.graph { display: grid; grid-template-columns: minmax(0, 1fr); gap: 14px; }
.choose { display: grid; gap: 12px 18px; }
.pair { display: flex; flex-wrap: wrap; gap: 12px 22px; }
.follow { display: grid; gap: 2px; }
.follow input { width: 100%; margin: 0; height: 28px; accent-color: var(--accent); cursor: pointer; }
@container (min-width: 760px) {
  .graph { grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); align-items: start; }
  .graph h4, .graph .note, .graph details { grid-column: 1 / -1; }
}
.circle { position: relative; width: 100%; max-width: 460px; aspect-ratio: 1; justify-self: center; }
.circle svg { position: absolute; inset: 0; width: 100%; height: 100%; overflow: visible; }
.edge { fill: none; stroke: var(--tone); }
.edge.in { stroke: var(--edge); stroke-dasharray: 5 4; }
.tip { fill: var(--tone); }
.tip.in { fill: var(--edge); }
.ring { fill: none; stroke: var(--line); stroke-width: 5; }
.ring.own { stroke: var(--tone); }
.node { position: absolute; width: 13.4%; aspect-ratio: 1; translate: -50% -50%; padding: 0; min-height: 0;
  border-radius: 50%; border: 0; overflow: hidden; display: grid; place-items: center; background: var(--soft); }
.node img { width: 74%; }
.node[aria-pressed="true"] { background: var(--chosen); box-shadow: inset 0 0 0 2px var(--accent); }
.tag { position: absolute; translate: -50% -50%; font-size: 12.5px; font-weight: 600; color: var(--muted);
  white-space: pre; text-align: center; line-height: 1.1; pointer-events: none; }
.tag.odd { color: var(--good); }
.told { background: var(--soft); border-radius: 10px; padding: 10px 14px; display: grid; gap: 6px;
  font-size: 14.5px; }
.told dl { margin: 0; display: grid; grid-template-columns: 1fr auto; gap: 2px 12px;
  font-variant-numeric: tabular-nums; }
.told dd { margin: 0; text-align: right; }
details { border-top: 1px solid var(--line); padding-top: 8px; }
summary { cursor: pointer; font-weight: 600; font-size: 14px; min-height: 28px; }
summary:focus-visible, .scroll:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; border-radius: 6px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-size: 13px; color: var(--muted); padding: 4px 0; }
th, td { padding: 3px 7px; text-align: right; border-bottom: 1px solid var(--line); font-weight: 400; }
th { font-weight: 600; white-space: nowrap; }
@media (pointer: coarse) { .follow input, summary { min-height: 44px; } .rounds button { min-height: 44px; } }
@media (forced-colors: active) { .cell i, .swatch, .edge, .ring, .tip { forced-color-adjust: none; } }
`;

// -------------------------------------------------------------------------------------------- view

const STATE = [
  "shown", "picks", "variant", "layer", "head", "least", "focus",
  "set_size", "image_size", "n_layers", "n_heads", "rounds", "models",
];

/** Addresses of the images of a round: black ink, as much of it as the pixel is bright. */
function pictures({ pixels }, count, side) {
  const all = bytes(pixels);
  return Array.from({ length: count }, (_, i) => {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = side;
    const context = canvas.getContext("2d");
    const drawn = context.createImageData(side, side);
    for (let at = 0; at < side * side; at++) drawn.data[4 * at + 3] = all[i * side * side + at];
    context.putImageData(drawn, 0, 0);
    return canvas.toDataURL();
  });
}

function render({ model, el }) {
  const get = () => Object.fromEntries(STATE.map((name) => [name, model.get(name)]));
  const set = (changes) => {
    for (const [name, value] of Object.entries(changes)) model.set(name, value);
    model.save_changes();
  };
  const { set_size: n, image_size: side, rounds: given } = get();
  const drawnRounds = new Map();
  const picturesOf = (shown) => {
    if (!drawnRounds.has(shown)) drawnRounds.set(shown, pictures(given[shown], n, side));
    return drawnRounds.get(shown);
  };

  // The game
  const chips = given.map((_, i) =>
    h("button", { type: "button", onclick: () => set({ shown: i, focus: NO_PICK }) }, String(i + 1), h("span", { "aria-hidden": "true" })),
  );
  const score = h("p");
  const asks = h("p");
  const next = h("button", { type: "button", onclick: goOn }, "Next round");
  const cards = Array.from({ length: n }, (_, i) =>
    h("button", { type: "button", class: "card", onclick: () => pick(i) }, h("img", { alt: "" }), h("small", {}, String(i + 1))),
  );
  const game = h(
    "div",
    { class: "game", role: "group", "aria-label": "The images of this round", onkeydown: byDigit },
    h("div", { class: "asks" }, asks, next),
    h("div", { class: "cards", style: `--n:${n}` }, ...cards),
  );

  // The answers
  const answers = h("div", { class: "answers", role: "table", style: `--n:${n}` });
  const answered = h("div", { class: "answers" }, h("h4", {}, "The answers, and how sure each model is"), answers);

  // The graph
  const variants = radios({ legend: "Where does it look?", onchoose: (name) => set({ variant: name }) });
  const layers = radios({ legend: "Layer", onchoose: (layer) => set({ layer }) });
  const heads = radios({ legend: "Head", onchoose: (head) => set({ head }) });
  const leastId = `least-${Math.random().toString(36).slice(2)}`;
  const least = h("input", {
    type: "range", id: leastId, min: 0, max: 60, step: 1, oninput: () => set({ least: Number(least.value) }),
  });
  const leastLabel = h("label", { class: "label", for: leastId });
  const tips = ["out", "in"].map((kind) => `tip-${kind}-${Math.random().toString(36).slice(2)}`);
  const svg = h("svg", { viewBox: "-210 -210 420 420", "aria-hidden": "true" });
  const nodes = Array.from({ length: n }, (_, i) => {
    const node = h(
      "button",
      {
        type: "button", class: "node",
        onclick: () => set({ focus: model.get("focus") === i ? NO_PICK : i }),
        onfocus: () => node.matches(":focus-visible") && hover(i),
        onblur: () => hover(NO_PICK),
      },
      h("img", { alt: "" }),
    );
    node.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && hover(i));
    node.addEventListener("pointerleave", () => hover(NO_PICK));
    const { x, y } = spot(i, n, 152);
    node.style.left = `${((x + 210) / 420) * 100}%`;
    node.style.top = `${((y + 210) / 420) * 100}%`;
    return node;
  });
  const tags = Array.from({ length: n }, (_, i) => {
    const { x, y } = spot(i, n, 199);
    const tag = h("span", { class: "tag", "aria-hidden": "true" });
    tag.style.left = `${((x + 210) / 420) * 100}%`;
    tag.style.top = `${((y + 210) / 420) * 100}%`;
    return tag;
  });
  const circle = h("div", { class: "circle ink", role: "group", "aria-label": "Images in a circle; choose one to see its edges only" }, svg, ...nodes, ...tags);
  const told = h("div", { class: "told" });
  const table = h("table");
  const graph = h(
    "div",
    { class: "graph" },
    h("h4", {}, "Who looks at whom"),
    circle,
    h(
      "div",
      { class: "choose" },
      variants.root,
      h("div", { class: "pair" }, layers.root, heads.root),
      h("div", { class: "follow" }, leastLabel, least),
      told,
    ),
    h(
      "details",
      {},
      h("summary", {}, "The same as a table"),
      h("div", { class: "scroll", role: "region", tabindex: 0, "aria-label": "Table of weights" }, table),
    ),
  );
  const later = h("p", { class: "hint" }, "The models' answers, and where they look, come after your pick.");
  const live = announcer();
  const root = h(
    "section",
    { class: "sheet ooo", "aria-label": "Odd one out: a game" },
    h("div", { class: "top" }, h("div", { class: "rounds", role: "group", "aria-label": "Rounds" }, ...chips), score),
    game,
    later,
    answered,
    graph,
    live.node,
  );
  const staged = stage(root, CSS);

  let hovered = NO_PICK;
  function hover(i) {
    if (hovered === i) return;
    hovered = i;
    drawGraph(get());
  }

  function pick(i) {
    const { picks, shown } = get();
    if (picks[shown] !== NO_PICK) return;
    set({ picks: picks.map((each, k) => (k === shown ? i : each)) });
    // Not sooner: the button appears when the change is drawn.
    queueMicrotask(() => next.focus({ preventScroll: true }));
  }

  function byDigit(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !/^\d$/.test(event.key)) return;
    const i = (Number(event.key) + 9) % 10; // 1 is the first, 0 the tenth
    if (i < n) pick(i);
  }

  function goOn() {
    const { picks, shown, rounds } = get();
    const open = rounds.map((_, k) => (shown + 1 + k) % rounds.length).find((k) => picks[k] === NO_PICK);
    if (open === undefined) set({ picks: picks.map(() => NO_PICK), shown: 0, focus: NO_PICK });
    else set({ shown: open, focus: NO_PICK });
    cards[0].focus({ preventScroll: true });
  }

  function drawGame(state) {
    const { picks, shown, rounds } = state;
    const one = rounds[shown];
    const picked = picks[shown];
    const done = picked !== NO_PICK;
    const count = tally(state);
    chips.forEach((chip, i) => {
      const result = picks[i] === NO_PICK ? "" : picks[i] === rounds[i].odd ? "✓" : "✗";
      chip.lastChild.textContent = result;
      chip.lastChild.className = result === "✓" ? "good" : "bad";
      chip.setAttribute("aria-pressed", String(i === shown));
      const words = { "": "not played yet", "✓": "you were right", "✗": "you were wrong" }[result];
      chip.setAttribute("aria-label", `Round ${i + 1}, ${words}`);
    });
    score.replaceChildren(
      count.played ? h("b", {}, `You: ${count.you} of ${count.played}`) : h("small", {}, `${plural(rounds.length, "round")}, you and ${plural(state.models.length, "model")}`),
    );
    const urls = picturesOf(shown);
    cards.forEach((card, i) => {
      const isOdd = done && i === one.odd;
      const missed = done && i === picked && !isOdd;
      card.firstChild.src = urls[i];
      card.className = `card${isOdd ? " odd" : ""}${missed ? " missed" : ""}`;
      const mark = isOdd ? (i === picked ? "odd ✓" : "odd") : missed ? "yours ✗" : "";
      card.lastChild.textContent = mark || String(i + 1);
      card.setAttribute("aria-disabled", String(done));
      // A picture of a seven says so to the eye; that is what these words say to the ear.
      card.setAttribute("aria-label", `Image ${i + 1}: ${one.labels[i]}${mark ? `, ${mark}` : ""}`);
    });
    next.hidden = !done;
    next.textContent = count.played === rounds.length ? "Play again" : "Next round";
    const right = picked === one.odd;
    asks.replaceChildren(
      ...(done
        ? [
            h("b", { class: right ? "good" : "bad" }, right ? "Right: " : "Not that one: "),
            `${answerText(one)}.`,
          ]
        : [h("b", {}, "Which one is odd? "), h("small", {}, "Click it, or press its number (0 for the tenth).")]),
    );
    return { done, right, one, count };
  }

  function answerRow(name, style, place, odd, details, cells) {
    const isRight = place === odd;
    return h(
      "div",
      { class: "row ink", role: "row", style },
      h(
        "div",
        { class: "who", role: "rowheader" },
        h("span", { class: "name" }, h("span", { class: "swatch", "aria-hidden": "true" }), h("b", {}, name)),
        h("span", {}, ` picks ${place + 1} `, h("span", { class: `name ${isRight ? "good" : "bad"}` }, isRight ? "✓ right" : "✗ wrong")),
        h("small", {}, details),
      ),
      ...cells,
    );
  }

  function drawAnswers(state, { one, count }) {
    const { shown, picks, models } = state;
    const urls = picturesOf(shown);
    const place = (i, ...inside) =>
      h("div", { class: `cell${i === one.odd ? " odd" : ""}`, role: "cell" }, ...inside);
    const header = h(
      "div",
      { class: "row heads", role: "row" },
      h("div", { class: "who", role: "columnheader" }, h("small", {}, "share of each image, %")),
      ...urls.map((src, i) =>
        h("div", { class: `cell${i === one.odd ? " odd" : ""}`, role: "columnheader", "aria-label": `Image ${i + 1}: ${one.labels[i]}` }, h("img", { src, alt: "" })),
      ),
    );
    const played = `of ${count.played} so far`;
    const yours = answerRow(
      "you", null, picks[shown], one.odd, `${count.you} ${played}`,
      urls.map((_, i) => (i === picks[shown] ? place(i, h("i", { style: "height:100%", "aria-hidden": "true" }), h("b", {}, "●"), h("span", { class: "quiet" }, "your pick")) : place(i))),
    );
    const theirs = models.map((each, k) => {
      const share = shares(each.scores[shown]);
      return answerRow(
        each.name, `--ink:${each.colour}`, best(share), one.odd,
        `${count.models[k]} ${played}; held out: ${formatShare(each.accuracy)}`,
        share.map((value, i) => {
          const text = value >= 0.005 ? String(Math.round(100 * value)) : "";
          const inside = [h("i", { style: `height:${(100 * value).toFixed(1)}%`, "aria-hidden": "true" }), i === best(share) ? h("b", {}, text) : h("span", { style: "position:relative" }, text)];
          return place(i, ...inside);
        }),
      );
    });
    answers.setAttribute("aria-label", `Round ${shown + 1}: shares in percent, one column for each image`);
    answers.replaceChildren(header, yours, ...theirs);
  }

  function drawGraph(state) {
    const { shown, picks, variant, layer, head, focus } = state;
    if (picks[shown] === NO_PICK) return "";
    const chosen = state.models.find((each) => each.name === variant);
    const { labels, odd } = state.rounds[shown];
    const weights = unpackWeights(chosen.maps[shown][layer][head], n);
    const from = state.least / 100;
    const only = hovered !== NO_PICK ? hovered : focus;
    circle.style.setProperty("--ink", chosen.colour);
    const marker = (id, kind) =>
      h(
        "marker",
        { id, viewBox: "0 0 10 10", refX: 7, refY: 5, markerWidth: 11, markerHeight: 11, markerUnits: "userSpaceOnUse", orient: "auto" },
        h("path", { class: `tip ${kind}`, d: "M0 1L10 5L0 9z" }),
      );
    const wholeRing = 2 * Math.PI * 31;
    svg.replaceChildren(
      h("defs", {}, marker(tips[0], "out"), marker(tips[1], "in")),
      ...edges(weights, from, only).map((edge) => {
        const incoming = only !== NO_PICK && edge.to === only;
        return h("path", {
          class: `edge${incoming ? " in" : ""}`,
          d: bend(spot(edge.from, n, 152), spot(edge.to, n, 152), 37),
          "stroke-width": (0.5 + 16 * edge.weight).toFixed(2),
          opacity: (0.4 + 0.6 * Math.min(1, 2.5 * edge.weight)).toFixed(2),
          "marker-end": `url(#${tips[incoming ? 1 : 0]})`,
        });
      }),
      ...weights.flatMap((row, i) => {
        const { x, y } = spot(i, n, 152);
        const circleAt = { cx: x.toFixed(1), cy: y.toFixed(1), r: 31 };
        const pale = only !== NO_PICK && only !== i;
        return [
          h("circle", { class: "ring", ...circleAt }),
          h("circle", {
            class: "ring own", ...circleAt, opacity: pale ? 0.25 : 1,
            "stroke-dasharray": `${(wholeRing * row[i]).toFixed(1)} ${wholeRing.toFixed(1)}`,
            transform: `rotate(-90 ${x.toFixed(1)} ${y.toFixed(1)})`,
          }),
        ];
      }),
    );
    const urls = picturesOf(shown);
    nodes.forEach((node, i) => {
      if (node.firstChild.getAttribute("src") !== urls[i]) node.firstChild.src = urls[i];
      node.setAttribute("aria-label", `Image ${i + 1}: ${labels[i]}${i === odd ? ", the odd one" : ""}`);
      node.setAttribute("aria-pressed", String(i === focus));
      tags[i].textContent = i === odd ? `${i + 1}\nodd` : String(i + 1);
      tags[i].className = i === odd ? "tag odd" : "tag";
    });
    const label = `${variant}, layer ${layer}, head ${head}`;
    const found = around(weights, odd);
    const line = (words, value) => [h("dt", {}, words), h("dd", {}, percent(value))];
    const text = only === NO_PICK ? "" : focusText(weights, only, labels, from);
    told.replaceChildren(
      h("p", {}, h("b", {}, label), text ? `. ${text}` : ""),
      text
        ? ""
        : h(
            "dl",
            {},
            ...line("The odd one looks at itself with", found.oddOnSelf),
            ...line("Each of the others at itself, on average", found.othersOnSelf),
            ...line("Each of the others at the odd one", found.onOdd),
            ...line("Each of the others at another of them", found.amongOthers),
          ),
      h("small", {}, text ? "Solid: where it looks. Dashed: who looks at it." : `Equal weights would be ${percent(1 / n)} each. An arrow leads to what is looked at; the ring around an image is what it keeps for itself. Point at an image to see its edges only.`),
    );
    return `${label}. ${text || `The odd one keeps ${percent(found.oddOnSelf)} for itself, the others give it ${percent(found.onOdd)} each.`}`;
  }

  function drawTable(state) {
    const { shown, variant, layer, head } = state;
    const chosen = state.models.find((each) => each.name === variant);
    const { labels } = state.rounds[shown];
    const weights = unpackWeights(chosen.maps[shown][layer][head], n);
    const name = (i) => `${i + 1} (${labels[i]})`;
    table.replaceChildren(
      h("caption", {}, `${variant}, layer ${layer}, head ${head}: rows look, columns are looked at; percent`),
      h("thead", {}, h("tr", {}, h("td"), ...weights.map((_, j) => h("th", { scope: "col" }, name(j))))),
      h("tbody", {}, ...weights.map((row, i) => h("tr", {}, h("th", { scope: "row" }, name(i)), ...row.map((weight) => h("td", {}, String(Math.round(100 * weight))))))),
    );
  }

  let before = "";
  function update(first) {
    const state = get();
    if (hovered !== NO_PICK && before !== String(state.shown)) hovered = NO_PICK;
    before = String(state.shown);
    const drawn = drawGame(state);
    answered.hidden = graph.hidden = !drawn.done;
    later.hidden = drawn.done;
    variants.update(state.models.map((each) => ({ value: each.name, title: each.name, swatch: each.colour })), state.variant);
    layers.update(Array.from({ length: state.n_layers }, (_, i) => ({ value: i, title: String(i) })), state.layer);
    heads.update(Array.from({ length: state.n_heads }, (_, i) => ({ value: i, title: String(i) })), state.head);
    if (Number(least.value) !== state.least) least.value = state.least;
    leastLabel.textContent = `Edges from ${state.least} % on`;
    least.setAttribute("aria-valuetext", `${state.least} percent`);
    let said = `Round ${state.shown + 1}. Which one is odd?`;
    if (drawn.done) {
      drawAnswers(state, drawn);
      said = drawGraph(state);
      drawTable(state);
      const key = JSON.stringify([state.shown, state.picks]);
      if (key !== toldFor) {
        const wrong = state.models.filter((each) => best(each.scores[state.shown]) !== drawn.one.odd).map((each) => each.name);
        said = `${drawn.right ? "Right" : "Not that one"}: ${answerText(drawn.one)}. ${wrong.length ? `Wrong: ${listed(wrong)}` : "All models are right"}. You have ${drawn.count.you} of ${drawn.count.played}.`;
      }
      toldFor = key;
    }
    // The first drawing is read where it stands; only changes are worth hearing.
    if (first !== true) live.say(said);
  }
  let toldFor = "";

  const unfollow = follow(model, ["shown", "picks", "variant", "layer", "head", "least", "focus"], update);
  update(true);
  el.append(staged.host);
  return () => {
    unfollow();
    live.hush();
    staged.remove();
  };
}

export default { render };
