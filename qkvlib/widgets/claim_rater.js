// ClaimRater: how much of the paper's abstract do you believe, before you have seen a number?
//
// An ES module in the anywidget protocol, self-contained once _shared.js is put in front of it. The
// claims come from Python. So does the sentence that says where the ratings are kept; where it is
// empty there is no kernel, and this page keeps them in the browser's own store.

// ----------------------------------------------------------------------------------------- ratings

/** What of `found` is a rating of one of these claims, in their order. */
export function validRatings(claims, found) {
  const good = (n) => Number.isInteger(n) && n >= 0 && n <= 100;
  const rows = claims.map(({ id }) => [id, found?.[id]]).filter(([, rating]) => good(rating));
  return Object.fromEntries(rows);
}

/** "3 of 7 rated". */
export function progressOf(claims, ratings) {
  const count = Object.keys(ratings).length;
  return count === claims.length ? `All ${count} rated` : `${count} of ${claims.length} rated`;
}

/** A rating in words, for those who hear the slider. */
export function meaningOf(rating) {
  if (rating === undefined) return "not rated";
  if (rating === 0) return "0, surely false";
  if (rating === 50) return "50, cannot say";
  if (rating === 100) return "100, surely true";
  return `${rating}, nearer to ${rating < 50 ? "false" : "true"}`;
}

/** The browser's store, or null where a page may not keep anything; asking alone can throw. */
export function openStore(scope, key) {
  try {
    const store = scope.localStorage;
    const before = store.getItem(key);
    // Some browsers hand out a store that refuses every byte: only writing tells.
    store.setItem(key, before ?? "{}");
    if (before === null) store.removeItem(key);
    return store;
  } catch {
    return null;
  }
}

/** The ratings under a key; what cannot be read counts as none. */
export function readRatings(store, key, claims) {
  try {
    return validRatings(claims, JSON.parse(store.getItem(key) ?? "{}"));
  } catch {
    return {};
  }
}

/** Keep the ratings; false where the store refuses. */
export function writeRatings(store, key, ratings) {
  try {
    if (Object.keys(ratings).length > 0) store.setItem(key, JSON.stringify(ratings));
    else store.removeItem(key);
    return true;
  } catch {
    return false;
  }
}

// ------------------------------------------------------------------------------------------- style

const CSS = `
.rater { --thumb: 24px; padding: 16px; display: grid; gap: 14px; }
.head { display: grid; grid-template-columns: minmax(0, 1fr) auto; gap: 10px 12px; align-items: center; }
.count { font-size: 17px; font-weight: 650; font-variant-numeric: tabular-nums; }
.meterline { grid-column: 1 / -1; height: 4px; border-radius: 2px; background: var(--line); }
.meterline i { display: block; height: 100%; border-radius: 2px; background: var(--accent);
  transition: width .3s ease; }
button:disabled { color: var(--muted); background: var(--soft); border-color: var(--line);
  cursor: default; }

ol { list-style: none; margin: 0; padding: 0; display: grid; gap: 10px; }
.card { display: grid; grid-template-columns: minmax(0, 1fr) auto; gap: 8px 14px; align-items: start;
  padding: 12px 14px; border: 1px solid var(--line); border-radius: 10px; background: var(--soft); }
.card.rated { background: var(--bg); }
.text b { font-weight: 600; color: var(--muted); font-variant-numeric: tabular-nums; }
.text small { display: block; margin-top: 2px; }
.value { min-width: 66px; text-align: right; font-size: 26px; line-height: 1.1; font-weight: 650;
  font-variant-numeric: tabular-nums; }
.card:not(.rated) .value { font-size: 13px; line-height: 1.7; font-weight: 400; color: var(--muted); }
.rate { grid-column: 1 / -1; min-width: 0; }
@container (min-width: 700px) {
  .card { grid-template-columns: minmax(0, 1fr) minmax(280px, 44%) auto; column-gap: 18px;
    align-items: center; padding: 10px 18px; }
  .rate { grid-column: 2; grid-row: 1; }
}

.scale { position: relative; height: 36px; }
/* The rail ends where the middle of the thumb does. */
.rail { position: absolute; left: calc(var(--thumb) / 2); right: calc(var(--thumb) / 2); top: 50%;
  border-top: 2px solid var(--edge); margin-top: -1px; }
.card:not(.rated) .rail { border-top-style: dashed; }
.rail i { position: absolute; top: -7px; width: 2px; height: 12px; margin-left: -1px;
  background: var(--edge); }
.rail .lean { top: -4px; height: 6px; margin: 0; border-radius: 3px; background: var(--accent); }
.card:not(.rated) .lean { display: none; }
.scale input { position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; border-radius: 8px;
  appearance: none; background: none; cursor: pointer; touch-action: pan-y; }
.scale input:focus-visible { outline-offset: -3px; }
.scale input::-webkit-slider-thumb { appearance: none; width: var(--thumb); height: var(--thumb);
  border: 3px solid var(--bg); border-radius: 50%; background: var(--accent);
  box-shadow: 0 0 0 1px var(--accent); }
.scale input::-moz-range-thumb { box-sizing: border-box; width: var(--thumb); height: var(--thumb);
  border: 3px solid var(--bg); border-radius: 50%; background: var(--accent);
  box-shadow: 0 0 0 1px var(--accent); }
/* Not rated is not 50: nothing stands on the scale yet, only the place where it can be taken. */
.card:not(.rated) input::-webkit-slider-thumb { background: var(--soft); box-shadow: none;
  border: 2px dashed var(--edge); }
.card:not(.rated) input::-moz-range-thumb { background: var(--soft); box-shadow: none;
  border: 2px dashed var(--edge); }
.ends { display: grid; grid-template-columns: 1fr auto 1fr; gap: 8px; font-size: 13px;
  line-height: 1.3; color: var(--muted); }
.ends :last-child { text-align: right; }
.foot { display: grid; gap: 4px; }
.lost { color: var(--fg); background: var(--warn-bg); border-left: 4px solid var(--warn-line);
  border-radius: 0 8px 8px 0; padding: 6px 12px; }
.foot p { overflow-wrap: anywhere; }

@media (pointer: coarse) { .rater { --thumb: 30px; } .scale { height: 48px; } }
@media (forced-colors: active) {
  .rail .lean, .meterline i { background: Highlight; }
  .scale input::-webkit-slider-thumb { background: ButtonText; forced-color-adjust: none; }
  .card:not(.rated) input::-webkit-slider-thumb { background: Canvas; border-color: ButtonText; }
}
`;

// --------------------------------------------------------------------------------------------- view

/** One claim: its text, a native slider, and the number. */
function card({ claim, number, onrate }) {
  const id = `claim-${number}`;
  const value = h("span", { class: "value", "aria-hidden": "true" });
  const lean = h("i", { class: "lean" });
  const slider = h("input", {
    type: "range",
    min: 0,
    max: 100,
    step: 1,
    "aria-labelledby": id,
    "aria-describedby": `${id}-ends`,
  });
  const root = h(
    "li",
    { class: "card" },
    h(
      "div",
      { class: "text" },
      h("span", { id }, h("b", {}, `${number}. `), claim.text),
      h("small", {}, `Lesson ${claim.lesson.slice(0, 2)} tests it.`),
    ),
    value,
    h(
      "div",
      { class: "rate" },
      h(
        "div",
        { class: "scale" },
        h(
          "div",
          { class: "rail", "aria-hidden": "true" },
          ...[0, 50, 100].map((at) => h("i", { style: `left:${at}%` })),
          lean,
        ),
        slider,
      ),
      h(
        "div",
        { class: "ends", id: `${id}-ends` },
        h("span", {}, "surely false"), " ", h("span", {}, "cannot say"), " ", h("span", {}, "surely true"),
      ),
    ),
  );

  let rating; // undefined: not rated
  let moving = false;
  function draw(shown) {
    root.classList.toggle("rated", shown !== undefined);
    value.textContent = shown === undefined ? "not rated" : shown;
    slider.setAttribute("aria-valuetext", meaningOf(shown));
    const at = shown ?? 50;
    lean.style.left = `${Math.min(at, 50)}%`;
    lean.style.width = `${Math.abs(at - 50)}%`;
  }
  // While the thumb moves, the number follows; the rating is given where it comes to rest.
  slider.addEventListener("input", () => {
    moving = true;
    draw(Number(slider.value));
  });
  const settle = () => {
    moving = false;
    onrate(Number(slider.value));
  };
  slider.addEventListener("change", () => {
    if (moving) settle();
  });
  // The slider already stands at 50, so taking it there is no change to the browser.
  let pressed = false;
  slider.addEventListener("pointerdown", () => {
    pressed = true;
  });
  slider.addEventListener("pointerup", () => {
    if (pressed && !moving && rating === undefined) settle();
    pressed = false;
  });
  // A finger that scrolls the page across the slider rates nothing.
  slider.addEventListener("pointercancel", () => {
    pressed = false;
    moving = false;
    update(rating);
  });
  slider.addEventListener("keydown", (event) => {
    if (![" ", "Enter"].includes(event.key)) return;
    event.preventDefault(); // Space would scroll the page
    if (rating === undefined) settle();
  });
  function update(next) {
    rating = next;
    // Rewriting the slider under the pointer would fight it.
    if (moving) return;
    slider.value = next ?? 50;
    draw(next);
  }
  return { root, update };
}

function render({ model, el }) {
  const claims = model.get("claims");
  const key = model.get("storage_key");
  const store = model.get("kept") ? null : openStore(window, key);
  let refused = store === null;

  const get = () => validRatings(claims, model.get("ratings"));
  const set = (ratings) => {
    model.set("ratings", validRatings(claims, ratings));
    model.save_changes();
  };
  if (store) {
    const found = readRatings(store, key, claims);
    if (Object.keys(found).length > 0) set(found);
  }

  const cards = claims.map((claim, i) =>
    card({ claim, number: i + 1, onrate: (rating) => set({ ...get(), [claim.id]: rating }) }),
  );
  const count = h("p", { class: "count" });
  const bar = h("i");
  const where = h("p", { class: "hint" });
  const live = announcer();
  let cleared = null; // what a reset took away, until something is rated again
  const reset = h("button", {
    type: "button",
    onclick: () => {
      const before = get();
      const back = cleared;
      cleared = back ? null : before;
      set(back ?? {});
    },
  });
  const root = h(
    "section",
    { class: "sheet rater", "aria-label": "Rate the claims of the abstract" },
    h(
      "div",
      { class: "head" },
      count,
      reset,
      h("div", { class: "meterline", "aria-hidden": "true" }, bar),
    ),
    h("ol", { role: "list" }, ...cards.map((each) => each.root)),
    h(
      "div",
      { class: "foot" },
      h("p", { class: "hint" }, "Drag, tap, or use the arrow keys. Space takes the middle."),
      where,
    ),
    live.node,
  );
  const staged = stage(root, CSS);

  function tellWhere() {
    const sentence =
      model.get("kept") ||
      (refused
        ? "Not kept: this browser lets the page store nothing. The ratings go when you leave."
        : "Kept in this browser only; nothing is sent anywhere.");
    where.textContent = sentence;
    where.className = sentence.startsWith("Not kept") ? "lost" : "hint";
  }

  function update() {
    const ratings = get();
    const done = Object.keys(ratings).length;
    if (done > 0) cleared = null;
    claims.forEach(({ id }, i) => cards[i].update(ratings[id]));
    const progress = progressOf(claims, ratings);
    count.textContent = progress;
    bar.style.width = `${(100 * done) / claims.length}%`;
    reset.textContent = cleared ? "Undo reset" : "Reset";
    reset.disabled = done === 0 && !cleared;
    tellWhere();
    live.follow(`${progress}.`);
  }

  function keep() {
    refused = !(store && writeRatings(store, key, get()));
    update();
  }
  model.on("change:ratings", keep);
  // The same page in another tab.
  const elsewhere = (event) => {
    if (store && (event.key === key || event.key === null)) set(readRatings(store, key, claims));
  };
  window.addEventListener("storage", elsewhere);
  const unfollow = follow(model, ["kept"], update);
  update();
  el.append(staged.host);

  return () => {
    model.off("change:ratings", keep);
    window.removeEventListener("storage", elsewhere);
    unfollow();
    live.hush();
    staged.remove();
  };
}

export default { render };
