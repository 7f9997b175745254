// PaddingMeter: a batch of paragraphs padded to one length, and what is then reported as perplexity.
//
// An ES module in the anywidget protocol, self-contained once _shared.js is put in front of it. The
// paragraphs' lengths, the models' losses and the paper's figures come from Python through the state.

// ---------------------------------------------------------------------------------------- counting

/** Share of the targets that are padding; the mark at a paragraph's end is none. */
export function shareOf(lengths, padTo) {
  const padding = lengths.reduce((sum, length) => sum + Math.max(0, padTo - length), 0);
  return padding / (lengths.length * padTo);
}

/** The length whose share is nearest to what is asked for. */
export function padToFor(lengths, share, [low, high]) {
  let [below, above] = [low, high];
  while (above - below > 1) {
    const middle = Math.floor((below + above) / 2);
    if (shareOf(lengths, middle) < share) below = middle;
    else above = middle;
  }
  const off = (padTo) => Math.abs(shareOf(lengths, padTo) - share);
  return off(below) <= off(above) ? below : above;
}

/** Nats per scored target, and the two parts they are made of. */
export function reportedOf({ text, padding }, share, scored) {
  const s = scored ? share : 0;
  const parts = { text: (1 - s) * text, padding: s * padding };
  return { ...parts, loss: parts.text + parts.padding };
}

/** Of the text alone, if a printed perplexity holds this share of padding predicted without loss. */
export const undoneOf = (perplexity, share) => perplexity ** (1 / (1 - share));

/** Per cent by which a perplexity lies above another. */
export const gapOf = (perplexity, base) => 100 * (perplexity / base - 1);

/** Everything that the page shows as numbers. */
export function readingOf({ lengths, pad_to: padTo, scored, models, printed }) {
  const share = shareOf(lengths, padTo);
  const measured = models.map((model) => ({ ...model, ...reportedOf(model, share, scored) }));
  const base = Math.exp(measured[0].loss);
  const theirs = printed.map((row) => ({ ...row, undone: undoneOf(row.perplexity, share) }));
  return {
    share,
    cut: lengths.filter((length) => length > padTo).length,
    models: measured.map(({ name, loss, text, padding }) => ({
      name, loss, text, padding, perplexity: Math.exp(loss), gap: gapOf(Math.exp(loss), base),
    })),
    printed: theirs.map(({ name, perplexity, undone }) => ({
      name, perplexity, undone,
      gap: gapOf(perplexity, theirs[0].perplexity),
      undone_gap: gapOf(undone, theirs[0].undone),
    })),
  };
}

// ------------------------------------------------------------------------------------------- words

/** 7.644 -> "7.64", 164.2 -> "164", 2.1e7 -> "21,000,000"; two or three digits are enough. */
export function formatPerplexity(value) {
  if (value < 100) return fixed(value, 2);
  const digits = Math.max(0, Math.floor(Math.log10(value)) - 2);
  return formatCount(Math.round(value / 10 ** digits) * 10 ** digits);
}

/** 3.131 -> "+3.1 %"; from 100 on without decimals. */
export function formatGap(gap) {
  const text = Math.abs(gap) < 100 ? fixed(Math.abs(gap), 1) : formatCount(Math.round(Math.abs(gap)));
  return `${gap < 0 ? "−" : "+"}${text} %`;
}

// ------------------------------------------------------------------------------------------- style

const CSS = `
.pm { --ink: #1c2530; --paper: #e8edf3; --stroke: #6b7785; padding: 16px; display: grid; gap: 20px; }
.pm[data-theme="dark"] { --ink: #e6ebf1; --paper: #2b3541; --stroke: #8b98a7; }
.pm h3 { margin: 0 0 8px; font-size: 15px; font-weight: 600; line-height: 1.3; }
.pm h3 small { display: block; }
.controls { display: grid; gap: 14px 28px; }
.views { display: grid; gap: 22px 28px; }
@container (min-width: 700px) {
  .controls { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .controls fieldset { grid-column: 1 / -1; }
  .views { grid-template-columns: minmax(0, 5fr) minmax(0, 7fr); }
}
.views > div { min-width: 0; display: grid; gap: 20px; align-content: start; }

.batch { display: grid; gap: 3px; }
.para { display: flex; height: 19px; border-radius: 3px; overflow: hidden; }
.para .words { background: var(--paper); color: var(--ink); font: 11px/19px ui-monospace, Menlo, Consolas, monospace;
  white-space: pre; overflow: hidden; padding-left: 4px; min-width: 0; }
.para.cut { border-radius: 3px 0 0 3px; border-right: 3px solid var(--ink); }
.para .pad { flex: 1; }
.hatch { background: repeating-linear-gradient(135deg, var(--stroke) 0 1.5px, transparent 1.5px 6px);
  box-shadow: inset 0 0 0 1px var(--stroke); }
.left-out .pad { background: none; box-shadow: none; border: 1px dashed var(--line); border-left: 0; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 16px; margin-top: 8px; font-size: 13px; color: var(--muted); }
.legend span { display: inline-flex; gap: 6px; align-items: center; }
.legend i { width: 20px; height: 12px; border-radius: 2px; flex: none; }
.legend .t { background: var(--paper); box-shadow: inset 0 0 0 1px var(--line); }
.legend .c { width: 3px; background: var(--ink); border-radius: 0; }
.legend .ghost { box-shadow: none; border: 1.5px dashed var(--edge); }

table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { padding: 3px 0 3px 10px; text-align: right; font-weight: 400; vertical-align: baseline; }
th:first-child, td:first-child { padding-left: 0; text-align: left; }
thead th { color: var(--muted); font-size: 13px; line-height: 1.25; vertical-align: bottom; padding-bottom: 5px;
  border-bottom: 1px solid var(--line); }
tbody th { font-weight: 600; }
tbody th small { font-weight: 400; white-space: nowrap; }
td b { font-weight: 650; font-size: 15.5px; }
.bars td { padding: 0 0 9px; }
.theirs td { white-space: nowrap; }
.theirs tbody tr + tr > * { border-top: 1px solid var(--line); }
.track { position: relative; height: 16px; }
.track i { position: absolute; top: 0; bottom: 0; transition: width .25s ease, left .25s ease; }
.track .text { left: 0; background: var(--own); border-radius: 3px 0 0 3px; }
.track .ghost { left: 0; border: 1.5px dashed var(--edge); border-radius: 3px; }
.verdict { padding: 10px 12px; border-radius: 10px; background: var(--soft); border-left: 5px solid var(--accent);
  font-size: 14.5px; }
@media (forced-colors: active) { .para, .track i, .legend i, .hatch { forced-color-adjust: none; } }
`;

// ------------------------------------------------------------------------------------------- view

const CHOICES = ["pad_to", "scored"];
const STATE = [...CHOICES, "lengths", "rows", "models", "printed", "limits"];
const LENGTHS = [16, 24, 32, 48, 64, 96, 128, 160, 192, 256, 320, 384, 512, 640, 768, 1024, 1280, 1536, 2048];
const SHARES = [1, ...Array.from({ length: 19 }, (_, i) => 5 * (i + 1))];

const percent = (share) => `${fixed(100 * share, 1)} %`;

function render({ model, el }) {
  const get = () => Object.fromEntries(STATE.map((name) => [name, model.get(name)]));
  const choose = (changes) => {
    for (const [name, value] of Object.entries(changes)) model.set(name, value);
    model.save_changes();
  };
  const given = get();
  const most = Math.floor(100 * shareOf(given.lengths, given.limits[1]));

  const length = number({
    stops: LENGTHS,
    label: "Padded to",
    what: "bytes",
    limits: given.limits,
    onset: (value) => choose({ pad_to: value }),
  });
  const share = number({
    stops: SHARES.filter((each) => each <= most),
    label: "Share of padding",
    what: "%",
    limits: [0, most],
    onset: (value) => choose({ pad_to: padToFor(given.lengths, value / 100, given.limits) }),
  });
  const scored = radios({
    legend: "Padding in the loss",
    onchoose: (value) => choose({ scored: value === "scored" }),
  });

  // The batch

  const paras = given.rows.map(({ opening, length: n }) => {
    const words = h("span", { class: "words" }, opening);
    return { n, words, root: h("div", { class: "para" }, words, h("span", { class: "pad hatch" })) };
  });
  const batch = h("div", { class: "batch", role: "img" }, ...paras.map((each) => each.root));
  const key = (kind, text) => h("span", {}, h("i", { class: kind }), text);
  const batchNote = h("small", {});

  // What is reported

  const rows = given.models.map(({ both_forms: both, colour }, i) => {
    const [name, ...form] = both.split(" ");
    const loss = h("td");
    const perplexity = h("b");
    const gap = h("td");
    const bar = { ghost: h("i", { class: "ghost" }), text: h("i", { class: "text" }), pad: h("i", { class: "hatch" }) };
    const track = h("div", { class: "track", style: `--own:${colour}`, "aria-hidden": "true" }, bar.ghost, bar.text, bar.pad);
    return {
      loss, perplexity, gap, bar,
      nodes: [
        h("tr", {}, h("th", { scope: "row" }, name, " ", h("small", {}, form.join(" "))), loss,
          h("td", {}, perplexity), gap),
        h("tr", { class: "bars" }, h("td", { colspan: 4 }, track)),
      ],
    };
  });
  const head = (...names) => h("thead", {}, h("tr", {}, ...names.map((name) => h("th", { scope: "col" }, name))));
  const base = given.models[0].name;
  const measured = h(
    "table",
    { "aria-label": "Measured here" },
    head("variant", "loss, nats", "perplexity", `above ${base}`),
    h("tbody", {}, ...rows.flatMap((row) => row.nodes)),
  );

  // Read backwards

  const backwards = given.printed.map(({ both_forms: both }) => {
    const [name, ...form] = both.split(" ");
    const cells = ["td", "td", "td"].map((tag) => h(tag));
    return { cells, root: h("tr", {}, h("th", { scope: "row" }, name, " ", h("small", {}, form.join(" "))), ...cells) };
  });
  const theirs = h(
    "table",
    { class: "theirs", "aria-label": "The paper's figures, read backwards" },
    head("variant", "printed", "text alone", "gap"),
    h("tbody", {}, ...backwards.map((row) => row.root)),
  );
  const backNote = h("small", {});
  const verdict = h("p", { class: "verdict" });

  const live = announcer();
  const root = h(
    "section",
    { class: "sheet pm", "aria-label": "Padding meter" },
    h("div", { class: "controls" }, length.root, share.root, scored.root),
    h(
      "div",
      { class: "views" },
      h(
        "div",
        {},
        h(
          "div",
          {},
          h("h3", {}, "The batch ", batchNote),
          batch,
          h("div", { class: "legend" }, key("t", "text"), key("hatch", "padding"), key("c", "cut here")),
        ),
        verdict,
      ),
      h(
        "div",
        {},
        h(
          "div",
          {},
          h("h3", {}, "Measured here ", h("small", {}, "mean over what is scored: text in colour, padding hatched")),
          measured,
          h("div", { class: "legend" }, key("ghost", "loss of the text alone")),
        ),
        h("div", {}, h("h3", {}, "The paper's figures, read backwards ", backNote), theirs),
      ),
    ),
    live.node,
  );
  const staged = stage(root, CSS);

  function update() {
    const state = get();
    const reading = readingOf(state);
    const shareText = percent(reading.share);
    length.update(state.pad_to, `${state.pad_to} bytes`);
    share.update(Math.round(100 * reading.share), shareText);
    scored.update(
      [
        { value: "scored", title: "scored", detail: "counts like text" },
        { value: "left-out", title: "left out", detail: "only text counts" },
      ],
      state.scored ? "scored" : "left-out",
    );

    batch.classList.toggle("left-out", !state.scored);
    for (const { n, words, root: row } of paras) {
      words.style.width = `${(100 * Math.min(n, state.pad_to)) / state.pad_to}%`;
      row.classList.toggle("cut", n > state.pad_to);
    }
    batchNote.textContent =
      `${paras.length} of ${plural(state.lengths.length, "paragraph")}; ${formatCount(reading.cut)} of all are cut`;
    batch.setAttribute(
      "aria-label",
      `Paragraphs padded to ${state.pad_to} bytes: ${shareText} of the targets are padding, ${reading.cut} of ` +
        `${state.lengths.length} paragraphs are cut.`,
    );

    const longest = Math.max(...state.models.map((each) => Math.max(each.text, each.padding)));
    const wide = (nats) => `${(100 * nats) / longest}%`;
    reading.models.forEach((each, i) => {
      const { loss, perplexity, gap, bar } = rows[i];
      loss.textContent = fixed(each.loss, 3);
      perplexity.textContent = formatPerplexity(each.perplexity);
      gap.textContent = i ? formatGap(each.gap) : "";
      bar.ghost.style.width = wide(state.models[i].text);
      bar.text.style.width = wide(each.text);
      bar.pad.style.left = wide(each.text);
      bar.pad.style.width = wide(each.padding);
    });

    reading.printed.forEach((each, i) => {
      const [printed, undone, gap] = backwards[i].cells;
      printed.textContent = fixed(each.perplexity, 2);
      undone.replaceChildren(h("b", {}, formatPerplexity(each.undone)));
      gap.textContent = i ? `${formatGap(each.gap).slice(0, -2)} → ${formatGap(each.undone_gap)}` : "";
    });
    backNote.textContent = `if ${shareText} of its targets were padding, predicted without loss; its share is not known`;

    const [first, second] = reading.models;
    const [theirFirst, theirSecond] = reading.printed;
    const gapText = second ? `, ${second.name} ${formatGap(second.gap)}` : "";
    verdict.textContent =
      (state.scored
        ? `With ${shareText} padding scored, ${first.name} reports ${formatPerplexity(first.perplexity)}${gapText}. `
        : `Padding left out: ${first.name} reports ${formatPerplexity(first.perplexity)}${gapText}, whatever the length. `) +
      `Backwards: ${fixed(theirFirst.perplexity, 2)} and ${formatGap(theirSecond.gap)} would be ` +
      `${formatPerplexity(theirFirst.undone)} and ${formatGap(theirSecond.undone_gap)}.`;
    const sentence = `Padded to ${state.pad_to} bytes. ${verdict.textContent}`;
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
