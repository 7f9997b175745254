// The parts of the Attention Lab's picture. Each is made once and told of every change: { root, update }.
//
// Not a module of its own: this text is put in front of attention_lab.js. What is to be shown arrives as
// one object, made by `glimpse`; what a reader does goes back through the functions a part was made with.

// --------------------------------------------------------------------------------- colours and pixels

const parse = (colour) => {
  const [, r, g, b] = /^#(..)(..)(..)$/.exec(colour.trim()).map((part) => parseInt(part, 16));
  return [r, g, b];
};
const mix = (from, to, share) => from.map((x, i) => Math.round(x + (to[i] - x) * share));

// The eye tells pale shades apart better than dark ones, so pale weights get more of the scale.
const darkness = (weight) => weight ** 0.6;

/** Colours of the theme, as numbers; ramps of 256 from nothing to most. */
function palette(root) {
  const style = getComputedStyle(root);
  const read = (name) => parse(style.getPropertyValue(name));
  const none = read("--none");
  const ramp = (to) =>
    Uint32Array.from({ length: 256 }, (_, i) => {
      const [r, g, b] = mix(none, to, darkness(i / 255));
      return ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
    });
  return {
    ink: ramp(read("--ink")), plus: ramp(read("--plus")), minus: ramp(read("--minus")),
    k: read("--k"), v: read("--v"), line: read("--line"),
  }; // prettier-ignore
}

/** How many tokens a picture has room for, so that it need not change its scale with each one. */
export function roomFor(n) {
  return Math.max(32, Math.ceil(n / 16) * 16);
}

/** Draw a map of `rows` rows, `weigh(i, j)` from -1 to 1, into a square of `side` places. */
function paint(canvas, { side, rows, sees, weigh, two, colours }) {
  if (canvas.width !== side) canvas.width = canvas.height = side;
  const context = canvas.getContext("2d");
  const image = context.createImageData(side, side);
  const pixels = new Uint32Array(image.data.buffer);
  const [more, less] = two ? [colours.plus, colours.minus] : [colours.ink, colours.ink];
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < sees(i); j++) {
      const weight = weigh(i, j);
      const shade = Math.min(255, Math.round(Math.abs(weight) * 255));
      pixels[i * side + j] = (weight < 0 ? less : more)[shade];
    }
  }
  context.putImageData(image, 0, 0);
}

const [WIDE, HIGH, BETWEEN] = [6, 5, 3]; // pixels of a block, and between keys and values

/** Draw one layer of a cache: a column for each token, a line for each head of keys and of values. */
function paintLayer(canvas, { side, tokens, heads, blocks, colours }) {
  const [width, height] = [side * WIDE, 2 * heads * HIGH + BETWEEN];
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, width, height);
  ["k", "v"].forEach((tensor, part) => {
    for (let head = 0; head < heads; head++) {
      const filled = blocks.share(tensor, head);
      const inset = filled > 0.5 ? 0 : 1; // what is not kept is a ghost of a block
      const y = (part * heads + head) * HIGH + part * BETWEEN + inset;
      const [r, g, b] = mix(colours.line, colours[tensor], filled);
      context.fillStyle = `rgb(${r} ${g} ${b} / ${0.35 + 0.65 * filled})`;
      for (let i = 0; i < tokens; i++) context.fillRect(i * WIDE, y, WIDE - 1, HIGH - 1 - 2 * inset);
    }
  });
}

// ---------------------------------------------------------------------------------------------- words

const share = (weight) => `${Math.round(100 * weight)} %`;

/** A token as a reader can tell it: blanks and line ends by name. */
export function spoken(face) {
  if (face === "\n") return "line end";
  if (/^ +$/.test(face)) return face.length === 1 ? "blank" : `${face.length} blanks`;
  return `‘${face.replaceAll("\n", "↵")}’`;
}

/** Where a token looks, in words. */
export function looksText(faces, row, at) {
  const found = strongest(row);
  if (found.length === 0) return "spreads over everything, 2 % nowhere";
  return found
    .map((j) => `${j === at ? "itself" : spoken(faces[j])} ${share(row[j])}`)
    .join(", ");
}

/** "1.623 bits per byte (1.602 to 1.641)" or "98.1 % right". */
function qualityText(entry) {
  if (!entry.quality) return "not measured here";
  const { value, low, high, unit } = entry.quality;
  const text = (x) => (unit === "%" ? fixed(100 * x, 1) : fixed(x, 3));
  const interval = low === undefined ? "" : ` (${text(low)} to ${text(high)})`;
  return `${text(value)} ${unit === "%" ? "% right" : unit}${interval}`;
}

const megabytes = (bytes) => `${fixed(bytes / 1e6, 1)} MB`;

// -------------------------------------------------------------------------------------- what is shown

/**
 * What all parts draw from.
 *
 * @param {object} given { lab, state, colours, at, asked, hovered }: `at` is the last token that is shown as
 *   read, `asked` and `hovered` are tokens that are asked where they look; null for the last one.
 */
function glimpse({ lab, state, colours, at, asked, hovered }) {
  const text = state.kind === "text";
  const faces = text ? lab.text.map((each) => each.face) : state.digits.map(String);
  const n = text ? Math.min((at ?? Infinity) + 1, faces.length) : faces.length;
  const own = entryOf(state);
  return {
    lab, state, colours, text, faces, n, at, own,
    names: lab.shown(),
    several: lab.shown().length > 1,
    place: Math.min(hovered ?? asked ?? Infinity, n - 1), // -1 where there is no token
    map: state.layer * own.config.n_heads + state.head,
    sees: (i) => (text ? i + 1 : n),
    side: text ? roomFor(n) : Math.max(1, n),
    entry: (name) => entryOf(state, name),
    title: (name) => state.models.find((each) => each.name === name).title, // of either kind
  }; // prettier-ignore
}

/** The token that is asked, and where it looks, as a sentence. */
function sentence({ lab, faces, place, map, names, several, title }) {
  if (place < 0) {
    return lab.encoded === undefined
      ? "Nothing has been read yet."
      : "Nothing to read yet: the prompt is empty.";
  }
  const parts = names.flatMap((name) => {
    const tape = lab.tape(name);
    if (!tape || place >= tape.length) return [];
    return [`${several ? `${title(name)}: ` : ""}${looksText(faces, tape.row(map, place), place)}`];
  });
  if (parts.length === 0) return "";
  return `Token ${place + 1}, ${spoken(faces[place])}, looks at ${parts.join("; ")}.`;
}

// --------------------------------------------------------------------------------------- small pieces

/** Write a text only where it is another one, so that a selection in it survives. */
function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** A labelled list to choose from. */
function chooser(label, onchoose) {
  const id = newId("choice");
  const select = h("select", { id, onchange: () => onchoose(select.value) });
  let drawn = "";
  return {
    root: h("div", { class: "field" }, h("label", { for: id }, label), select),
    /** options: [[value, text]] */
    update(options, value) {
      const signature = JSON.stringify(options);
      if (signature !== drawn) {
        drawn = signature;
        select.replaceChildren(...options.map(([each, text]) => h("option", { value: each }, text)));
      }
      select.value = String(value);
    },
    disable(off) {
      select.disabled = off;
    },
  };
}

// ------------------------------------------------------------------------------------------- choosing

const KINDS = { text: "writes code", lists: "answers lists" };

const unique = (values) => [...new Set(values)];

/** Which model, which sharing, which heads, and what stands beside it. */
function choices({ choose, nearest }) {
  const kinds = radios({ legend: "Model", onchoose: (kind) => choose({ kind }) });
  const sharing = radios({
    legend: "Sharing",
    two: true,
    onchoose: (name) => choose({ variant: nearest(name).name }),
  });
  const options = radios({ legend: "Heads", onchoose: (name) => choose({ variant: name }) });
  const beside = chooser("Beside it", (name) => choose({ other: name }));
  return {
    roots: [kinds.root, h("div", { class: "choose" }, sharing.root, options.root, beside.root)],
    update({ state, own, text }) {
      const families = unique(state.models.map((each) => each.kind));
      kinds.root.hidden = families.length < 2;
      kinds.update(families.map((each) => ({ value: each, title: KINDS[each] })), state.kind);

      const models = state.models.filter((each) => each.kind === state.kind);
      const first = (name) => models.find((each) => each.sharing === name);
      sharing.update(
        unique(models.map((each) => each.sharing)).map((name) => ({
          value: name, title: name, detail: first(name).tuple_form, swatch: first(name).colour,
        })),
        own.sharing,
      ); // prettier-ignore

      const ways = unique(models.map((each) => each.option));
      const had = new Map(optionsOf(state, own.sharing).map((each) => [each.option, each.name]));
      options.root.hidden = ways.length < 2;
      options.root.querySelector("legend").textContent = text ? "Heads" : "(X)+";
      options.update(
        ways.map((way) => ({ value: had.get(way) ?? way, title: way, disabled: !had.has(way) })),
        own.name,
      );
      const why = text
        ? "A tied query needs a key head of its own, so all heads stay."
        : "(X)+ is made for tied Q and K.";
      options.explain(had.size === ways.length ? "" : why);

      const others = models.filter((each) => each !== own && comparable(own, each));
      beside.update(
        [["", "nothing"], ...others.map((each) => [each.name, each.label])],
        others.some((each) => each.name === state.other) ? state.other : "",
      );
    },
  };
}

// --------------------------------------------------------------------------------------------- status

/** What runs, what is being loaded, what went wrong; and what can be done about it. */
function statusLine({ wake, again, able, onward }) {
  const words = h("p");
  const bar = h("progress", { max: 1, "aria-label": "Loading" });
  const start = action("", wake, "primary");
  const retrial = action("Try again", again);
  const root = h("div", { class: "status" }, words, bar, start.node, retrial.node);
  const alarm = h("div", { class: "quiet", role: "alert" });
  let heard = null;

  function lineOf({ lab, state, title }) {
    const { kind, words: failure, name } = lab.status;
    if (kind === "failed") return failure;
    if (kind === "loading") return name ? `Loading ${title(name)}` : "Starting the models";
    if (lab.replays) {
      if (lab.needsModels) return "No run of this was stored. For models that read it:";
      return able
        ? "A stored run, with nothing loaded yet. To go on from it, or from words of your own:"
        : "This is a stored run: here, no model can run (the page was opened from a file, or the " +
            "browser lacks WebAssembly). On the course's site they do.";
    }
    if (state.kind !== "text") return "";
    if (lab.text.length > 0 && lab.room <= 0) {
      return (
        `The text is full: there are ${lab.places} places and no more. ` +
        "Go back to the prompt, or shorten it."
      );
    }
    if (lab.dropped) {
      const lost = plural(lab.dropped, "token");
      return `The prompt is too long for this model: its first ${lost} found no room.`;
    }
    const waits = lab.encoded !== undefined && lab.text.length === 0;
    return waits ? "Type something for the model to go on from." : "";
  }

  return {
    roots: [root, alarm],
    /** Returns what is to be announced; "" where nothing is. */
    update(shown) {
      const { lab, own } = shown;
      const { kind, retry, loaded, total } = lab.status;
      const line = lineOf(shown);
      const [failed, loading] = [kind === "failed", kind === "loading"];
      const far = total ? `: ${megabytes(loaded)} of ${megabytes(total)}` : "";
      put(words, loading ? `${line}${far} …` : line);
      put(alarm, failed ? line : "");
      const pressed = [start.node, retrial.node].find((each) => each.matches(":focus"));
      root.hidden = line === "";
      root.classList.toggle("failed", failed);
      bar.hidden = !loading;
      if (total) bar.value = loaded / total;
      else bar.removeAttribute("value");
      start.node.hidden = !(lab.replays && able && !(failed && retry));
      start.update(loading, `Start the models (${megabytes(own.download + (lab.engine?.runtimeBytes ?? 0))})`);
      retrial.node.hidden = !(failed && retry);
      // Who pressed a button that goes is not sent back to the top of the page.
      if (pressed && (pressed.hidden || root.hidden)) {
        const stays = !root.hidden && [start.node, retrial.node].find((each) => !each.hidden);
        if (stays) stays.focus();
        else onward();
      }
      const before = heard;
      heard = line;
      if (before === null || before === line || failed) return ""; // what fails is an alert of its own
      return line || "Ready.";
    },
  };
}

// -------------------------------------------------------------------------------------------- writing

const TYPING = 250; // ms without a key until what was typed is read

/** The prompt, and what writes on from it. */
function writer({ typed, write, pause, step, back, goTo, copyLink, able }) {
  const id = newId("prompt");
  let clock = 0; // runs while something was typed that is not read yet
  let plays = false;
  const settle = () => {
    clearTimeout(clock);
    clock = 0;
    typed(prompt.value);
  };
  const prompt = h("textarea", {
    id, rows: 3, class: "mono", spellcheck: "false", dir: "auto", autocapitalize: "off",
    oninput: () => {
      clearTimeout(clock);
      clock = setTimeout(settle, TYPING);
    },
  }); // prettier-ignore
  const after = (work) => () => {
    settle();
    work();
  };
  const buttons = {
    // To settle stops what is being written, so what the button does is decided before.
    write: action("Write", () => (plays ? after(pause) : after(write))(), "primary"),
    step: action("One token", after(step)),
    back: action("Back to the prompt", back),
    link: action("Copy a link", async () => {
      settle();
      buttons.link.update(false, await copyLink());
      setTimeout(() => buttons.link.update(false), 2500);
    }),
  };
  const slider = h("input", {
    type: "range", min: 1, step: 1, "aria-label": "Go back and forth in the text",
    oninput: () => goTo(Number(slider.value) - 1),
  }); // prettier-ignore
  const where = h("span", { class: "where" });
  return {
    root: h(
      "div",
      { class: "panel" },
      h("div", { class: "field" }, h("label", { for: id }, "Prompt"), prompt),
      h("div", { class: "bar" }, ...Object.values(buttons).map((each) => each.node)),
      h("div", { class: "bar" }, h("div", { class: "slide" }, slider, where)),
    ),
    stop: () => clearTimeout(clock),
    focus: () => buttons.write.node.focus(),
    update({ lab, state, text, at }) {
      this.root.hidden = !text;
      if (!text) return;
      // Where no model can run, nothing but what was stored can be asked for.
      prompt.readOnly = lab.replays && !able;
      if (!clock && prompt.value !== state.prompt && !prompt.matches(":focus")) prompt.value = state.prompt;
      plays = lab.playing;
      const n = lab.text.length;
      const full = n > 0 && lab.room <= 0;
      buttons.write.update(!lab.playing && (n === 0 || full), lab.playing ? "Pause" : "Write");
      buttons.step.update(n === 0 || (full && at === null) || lab.playing);
      buttons.back.update(n <= lab.prompt);
      buttons.link.node.hidden = !state.share;
      slider.max = Math.max(1, n);
      slider.value = at === null ? n : at + 1;
      slider.disabled = n < 2;
      const told = `token ${at === null ? n : at + 1} of ${n}`;
      slider.setAttribute("aria-valuetext", told);
      put(where, told);
    },
  };
}

/** How fast, and by which rule, the next token is taken. */
function tuning({ setPace, setDraw, able }) {
  const pacing = chooser("Pace", setPace);
  const chance = chooser("Next token", (value) => setDraw(...value.split("/").map(Number)));
  return {
    root: h("div", { class: "fine" }, pacing.root, chance.root),
    update({ lab, state, text }, pace) {
      this.root.hidden = !text;
      chance.disable(lab.replays && !able);
      pacing.update([["calm", "slowly, to watch"], ["fast", "as fast as it goes"]], pace);
      const draws = new Map([["0/0", "always the likeliest"]]);
      const { temperature, seed } = state;
      for (const [t, s] of [[0.8, 1], [0.8, 2], [0.8, 3], [temperature, seed]]) {
        if (t > 0) draws.set(`${t}/${s}`, `by lot (temperature ${t}, seed ${s})`);
      }
      chance.update([...draws], temperature > 0 ? `${temperature}/${seed}` : "0/0");
    },
  }; // prettier-ignore
}

/** The list that encoders answer. */
function lister({ setDigits, able }) {
  const id = newId("list");
  const note = h("p", { class: "hint", id: `${id}-note` });
  let task;
  let drawn = null;
  const say = (good) => {
    box.setAttribute("aria-invalid", String(!good));
    const wanted = `Exactly ${task.length} digits from 0 to ${task.n_digits - 1}, please.`;
    put(note, good ? task.rule : wanted);
  };
  const box = h("input", {
    type: "text", id, inputmode: "numeric", class: "mono", autocomplete: "off",
    "aria-describedby": `${id}-note`,
    onchange: () => {
      const found = [...box.value.replace(/[\s,]/g, "")];
      const fits = (each) => /\d/.test(each) && Number(each) < task.n_digits;
      const good = found.length === task.length && found.every(fits);
      say(good);
      if (good) setDigits(found.map(Number));
    },
  }); // prettier-ignore
  const another = action("Another list", () => {
    say(true);
    setDigits(Array.from({ length: task.length }, () => Math.floor(Math.random() * task.n_digits)));
  });
  return {
    root: h(
      "div",
      { class: "panel" },
      h("div", { class: "field" }, h("label", { for: id }, "List"), box, note),
      h("div", { class: "bar" }, another.node),
    ),
    focus: () => another.node.focus(),
    update({ lab, state, text }) {
      this.root.hidden = text;
      if (text) return;
      task = state.task;
      box.readOnly = another.node.hidden = lab.replays && !able;
      // What was typed stays until there is another list, right or wrong.
      if (drawn === state.digits.join(" ")) return;
      drawn = box.value = state.digits.join(" ");
      say(true);
    },
  };
}

// ------------------------------------------------------------------------------------------ the tokens

/** The text, token by token; each is as dark as it is looked at by the one that is asked. */
function tokenStrip({ ask, point }) {
  const id = newId("token");
  const strip = h("div", {
    class: "tokens mono", role: "listbox", "aria-label": "Text, token by token", tabindex: 0,
  }); // prettier-ignore
  let chips = [];
  let now = { place: -1, n: 0 };
  const tokenAt = (event) => {
    const chip = event.target.closest?.("[data-i]");
    return chip ? Number(chip.dataset.i) : null;
  };
  strip.addEventListener("keydown", (event) => {
    if (isCommand(event)) return;
    const { place, n } = now;
    const to = {
      ArrowLeft: place - 1, ArrowRight: place + 1, ArrowUp: place - 8, ArrowDown: place + 8,
      Home: 0, End: n - 1,
    }[event.key]; // prettier-ignore
    if (to === undefined) return;
    event.preventDefault();
    point(null);
    ask(to);
    chips[Math.max(0, Math.min(to, n - 1))]?.scrollIntoView({ block: "nearest" });
  });
  strip.addEventListener("pointermove", (event) => {
    const i = tokenAt(event);
    if (event.pointerType === "mouse" && i !== null) point(i);
  });
  strip.addEventListener("pointerleave", () => point(null));
  strip.addEventListener("click", (event) => {
    const i = tokenAt(event);
    if (i !== null) ask(i);
  });

  function write(chip, face, text) {
    const shown = !text ? ` ${face} ` : face === "\n" ? "↵\n" : face;
    if (chip.textContent === shown) return;
    chip.textContent = shown;
    if (shown.trim()) chip.removeAttribute("aria-label");
    else chip.setAttribute("aria-label", spoken(face)); // blanks alone would not be read
  }

  return {
    root: strip,
    update(shown) {
      now = shown;
      const { lab, own, faces, n, place, map, text } = shown;
      while (chips.length > faces.length) chips.pop().remove();
      const tape = lab.tape(own.name);
      const row = tape && place >= 0 && place < tape.length ? tape.row(map, place) : [];
      faces.forEach((face, j) => {
        chips[j] ??= strip.appendChild(h("span", { role: "option", "data-i": j, id: `${id}-${j}` }));
        const chip = chips[j];
        write(chip, face, text);
        chip.classList.toggle("mine", text && j >= lab.prompt);
        chip.classList.toggle("later", j >= n);
        chip.classList.toggle("at", j === place);
        chip.setAttribute("aria-selected", String(j === place));
        chip.style.setProperty("--w", (row[j] > 0 ? darkness(row[j]) : 0).toFixed(3));
      });
      if (place >= 0) strip.setAttribute("aria-activedescendant", `${id}-${place}`);
      else strip.removeAttribute("aria-activedescendant");
      if (lab.playing) strip.scrollTop = strip.scrollHeight;
    },
  };
}

// -------------------------------------------------------------------------------------------- the maps

/** One map: { title, rows, weigh, two } says what is in it. */
function mapFrame({ ask, point }) {
  const canvas = h("canvas", { role: "img" });
  const mark = h("i");
  const box = h("div", { class: "frame" }, canvas, mark);
  const caption = h("b");
  const rowAt = (event) => {
    const { top, height } = box.getBoundingClientRect();
    return Math.floor(((event.clientY - top) / height) * canvas.width);
  };
  box.addEventListener("pointermove", (event) => event.pointerType === "mouse" && point(rowAt(event)));
  box.addEventListener("pointerleave", () => point(null));
  box.addEventListener("click", (event) => ask(rowAt(event)));
  return {
    root: h("figure", {}, h("figcaption", {}, caption), box),
    update({ side, sees, place, colours }, { title, rows, weigh, two, alt }) {
      paint(canvas, { side, rows, sees, weigh, colours, two });
      put(caption, title);
      mark.hidden = place < 0 || place >= rows;
      mark.style.top = `${(100 * place) / side}%`;
      mark.style.height = `max(3px, ${100 / side}%)`;
      canvas.setAttribute("aria-label", alt);
    },
  };
}

/** What the frames show: a map for each model, and the difference of two. */
function framesOf(shown) {
  const { lab, state, names, n, map, title } = shown;
  const where = `layer ${state.layer + 1}, head ${state.head + 1}`;
  const frames = names.map((name) => {
    const tape = lab.tape(name);
    const rows = Math.min(n, tape?.length ?? 0);
    const alt = `Map of ${title(name)}, ${where}: ${rows} tokens. ${sentence(shown)}`;
    return { title: title(name), rows, weigh: (i, j) => tape.row(map, i)[j], two: false, alt };
  });
  if (names.length < 2) return frames;
  const apart = share(differenceOf(shown, map).apart);
  return [
    ...frames,
    {
      title: names.map(title).join(" less "),
      ...differenceOf(shown, map),
      alt: `Difference of both maps: on average ${apart} of a token's weight lies elsewhere.`,
    },
  ];
}

/** The difference of two models in one map. */
function differenceOf({ lab, names, n }, map) {
  const [a, b] = names.map((name) => lab.tape(name));
  return {
    rows: a && b ? Math.min(n, a.length, b.length) : 0,
    weigh: (i, j) => a.row(map, i)[j] - b.row(map, i)[j],
    two: true,
    apart: a && b ? distance(a, b, map, n) : 0,
  };
}

/** All heads of all layers, small, to choose from. */
function headGrid({ setHead }) {
  const root = h("fieldset", { class: "heads" });
  const title = h("h3");
  let minis = [];
  let drawn = "";

  function make(layers, heads) {
    const name = newId("head");
    minis = Array.from({ length: layers * heads }, (_, map) => {
      const [layer, head] = [Math.floor(map / heads), map % heads];
      const canvas = h("canvas", { "aria-hidden": "true" });
      const input = h("input", {
        type: "radio", name, "aria-label": `Layer ${layer + 1}, head ${head + 1}`,
        onchange: () => setHead(layer, head),
      }); // prettier-ignore
      const aside = h("small", { "aria-hidden": "true" });
      const label = h("label", {}, input, h("div", { class: "mini" }, canvas), aside);
      return { canvas, input, aside, label };
    });
    const rows = Array.from({ length: layers }, (_, layer) => [
      h("span", {}, `layer ${layer + 1}`),
      ...minis.slice(layer * heads, (layer + 1) * heads).map((each) => each.label),
    ]);
    root.style.setProperty("--heads", heads);
    root.replaceChildren(
      h("legend", { class: "quiet" }, "Layer and head"),
      h("span"),
      ...Array.from({ length: heads }, (_, head) => h("span", {}, `head ${head + 1}`)),
      ...rows.flat(),
    );
  }

  return {
    root: h("div", { class: "panel" }, title, root),
    update(shown) {
      const { lab, own, names, several, n, map: chosen, side, sees, colours } = shown;
      const { n_layers: layers, n_heads: heads } = own.config;
      if (drawn !== `${layers} ${heads}`) {
        drawn = `${layers} ${heads}`;
        make(layers, heads);
      }
      put(title, several ? "All heads: the difference" : "All heads");
      const tape = lab.tape(names[0]);
      minis.forEach(({ canvas, input, aside }, map) => {
        const what = several
          ? differenceOf(shown, map)
          : { rows: Math.min(n, tape?.length ?? 0), weigh: (i, j) => tape.row(map, i)[j], two: false };
        paint(canvas, { ...what, side, sees, colours });
        input.checked = map === chosen;
        put(aside, several ? share(what.apart) : "");
      });
    },
  };
}

const SHADES = [0.06, 0.25, 0.5, 1];

/** The chosen map large, one for each model; and all heads small. */
function mapsPanel({ ask, point, setHead }) {
  const big = h("div", { class: "big" });
  const shades = h("p", { class: "shades", "aria-hidden": "true" });
  const grid = headGrid({ setHead });
  const frames = [0, 1, 2].map(() => mapFrame({ ask, point }));
  const root = h("div", { class: "maps" }, h("div", { class: "panel" }, big, shades), grid.root);
  const shade = (weight, { ink }) => {
    const pixel = ink[Math.round(255 * weight)];
    const [r, g, b] = [0, 8, 16].map((bits) => (pixel >> bits) & 255);
    return h("span", {}, h("i", { style: `background:rgb(${r} ${g} ${b})` }), share(weight));
  };
  return {
    root,
    update(shown) {
      const what = framesOf(shown);
      big.classList.toggle("three", what.length > 1);
      root.classList.toggle("one", what.length === 1);
      if (big.childElementCount !== what.length) {
        big.replaceChildren(...frames.slice(0, what.length).map((each) => each.root));
      }
      what.forEach((each, i) => frames[i].update(shown, each));
      shades.replaceChildren(
        "Rows look, columns are looked at.",
        ...SHADES.map((weight) => shade(weight, shown.colours)),
      );
      grid.update(shown);
    },
  };
}

/** The chosen map in words, for who would rather read. */
function mapTable({ opened }) {
  const body = h("div", {
    class: "scroll", tabindex: 0, role: "group", "aria-label": "The map as a table",
  }); // prettier-ignore
  const root = h("details", { ontoggle: opened }, h("summary", {}, "The map as a table"), body);
  return {
    root,
    update({ lab, own, faces, n, place, map }) {
      if (!root.open) return;
      const tape = lab.tape(own.name);
      const rows = Math.min(n, tape?.length ?? 0);
      const named = (j, row) => `${j + 1} ${spoken(faces[j])} ${share(row[j])}`;
      const line = (i) => {
        const row = tape.row(map, i);
        const most = strongest(row, 5).map((j) => named(j, row));
        const head = h("th", { scope: "row" }, `${i + 1} ${spoken(faces[i])}`);
        return h("tr", {}, head, h("td", {}, most.join(", ") || "–"));
      };
      const asked = Math.min(place, rows - 1);
      const whole = asked < 0 ? [] : [...tape.row(map, asked).keys()];
      const column = (text) => h("th", { scope: "col" }, text);
      body.replaceChildren(
        h(
          "p",
          { class: "whole" },
          h("b", {}, asked < 0 ? "" : `All of ${asked + 1} ${spoken(faces[asked])}: `),
          whole.map((j) => named(j, tape.row(map, asked))).join(", "),
        ),
        h(
          "table",
          {},
          h("thead", {}, h("tr", {}, column("token"), column("looks most at"))),
          h("tbody", {}, ...Array.from({ length: rows }, (_, i) => line(i))),
        ),
      );
    },
  };
}

// ------------------------------------------------------------------------------------------- the cache

const FADE = 0.08; // of a block, in each frame

/** Blocks of the cache that come and go, not all at once. */
class Blocks {
  constructor() {
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    this.filled = new Map(); // "tensor/head" -> from 0 to 1
  }

  share(tensor, head) {
    return this.filled.get(`${tensor}/${head}`);
  }

  /** Move every block towards being there or not; returns whether some are still under way. */
  move({ cached, n_heads: heads, n_kv_heads: kept }) {
    let moving = false;
    for (const tensor of ["k", "v"]) {
      for (let head = 0; head < heads; head++) {
        const key = `${tensor}/${head}`;
        const goal = cached.includes(tensor) && head < kept ? 1 : 0;
        const now = this.still.matches ? goal : (this.filled.get(key) ?? goal);
        const next = now + Math.sign(goal - now) * Math.min(FADE, Math.abs(goal - now));
        this.filled.set(key, next);
        moving ||= next !== goal;
      }
    }
    return moving;
  }
}

/** What a cache holds after so many tokens, and what one of separate projections would. */
function holding({ lab, n, entry }, name) {
  const tape = lab.tape(name);
  const tokens = Math.min(n, tape?.length ?? 0);
  const bytes = tokens ? Math.round((tape.bytes / tape.length) * tokens) : 0;
  return { tokens, bytes, full: entry(name).full_bytes_per_token * tokens };
}

const widthOf = ({ bytes, full }) => `${full ? (100 * bytes) / full : 0}%`;

/** The cache of one model, layer by layer. */
function cachePicture() {
  const blocks = new Blocks();
  const title = h("h3");
  const picture = h("div", { class: "layers", role: "img" });
  const bar = h("i");
  const text = h("p", { class: "cached" });
  let canvases = [];
  const layer = (canvas, i) => {
    const names = h("span", { class: "names" }, ...["K", "V"].map((each) => h("span", {}, each)));
    return h("div", { class: "layer" }, h("span", {}, `layer ${i + 1}`), names, canvas);
  };
  const gauge = h("div", { class: "gauge", "aria-hidden": "true" }, bar);
  return {
    root: h("div", { class: "panel" }, title, picture, gauge, text),
    /** Returns whether it is still under way to what it should show. */
    update(shown, name) {
      const own = shown.entry(name);
      const { n_layers: layers, n_heads: heads, n_kv_heads: kept, cached } = own.config;
      if (canvases.length !== layers) {
        canvases = Array.from({ length: layers }, () => h("canvas"));
        picture.replaceChildren(...canvases.map(layer));
      }
      const moving = blocks.move(own.config);
      const held = holding(shown, name);
      const less = held.full ? 1 - held.bytes / held.full : 0;
      for (const canvas of canvases) {
        paintLayer(canvas, { ...held, side: shown.side, heads, blocks, colours: shown.colours });
      }
      put(title, shown.several ? `KV cache of ${own.title}` : "KV cache");
      put(
        text,
        `${formatCount(held.bytes)} bytes for ${plural(held.tokens, "token")}; ` +
          `QKV with all heads would hold ${formatCount(held.full)}${less > 0 ? `: ${formatShare(less)} saved` : ""}.`,
      );
      bar.style.width = widthOf(held);
      picture.setAttribute(
        "aria-label",
        `Cache of ${own.title}: ${cached.join(" and ")} of ${plural(kept, "head")} ` +
          `in each of ${layers} layers. ${text.textContent}`,
      );
      return moving;
    },
  };
}

/** The caches of all models that are shown. */
function caches({ redraw }) {
  const pictures = [cachePicture(), cachePicture()];
  const root = h("div", { class: "panel" });
  let frame = 0;
  return {
    root,
    stop: () => cancelAnimationFrame(frame),
    update(shown) {
      root.hidden = !shown.text;
      if (!shown.text) return;
      const { names, several } = shown;
      root.classList.toggle("both", several);
      if (root.childElementCount !== names.length) {
        root.replaceChildren(...pictures.slice(0, names.length).map((each) => each.root));
      }
      const moving = names.map((name, i) => pictures[i].update(shown, name));
      cancelAnimationFrame(frame);
      if (moving.some(Boolean)) frame = requestAnimationFrame(redraw);
    },
  };
}

/** In a few lines, near the controls, where the rest has no room beside them. */
function brief() {
  const root = h("div", { class: "brief", "aria-hidden": "true" });
  return {
    root,
    update(shown, tourStep) {
      root.hidden = !shown.text;
      const lines = shown.names.flatMap((name) => {
        const held = holding(shown, name);
        const [bytes, full] = [held.bytes, held.full].map(formatCount);
        return [
          h("span", {}, `${shown.title(name)}: ${bytes} of ${full} bytes of cache`),
          h("div", { class: "gauge" }, h("i", { style: `width:${widthOf(held)}` })),
        ];
      });
      root.replaceChildren(...lines, ...(tourStep ? [h("span", {}, tourStep)] : []));
    },
  };
}

// -------------------------------------------------------------------------------- symmetry and numbers

/** How far each head's scores are from being symmetric. */
function leanings() {
  const root = h("div", { class: "panel" });
  const bars = (look, { n_layers: layers, n_heads: heads }) =>
    Array.from({ length: layers * heads }, (_, map) => {
      const value = look.asymmetry(map);
      const bar = h("i", { style: `width:${Math.min(100, 50 * value)}%` });
      return [
        h("span", {}, `layer ${Math.floor(map / heads) + 1}, head ${(map % heads) + 1}`),
        h("span", { class: "track", "aria-hidden": "true" }, bar, h("u")),
        h("span", {}, fixed(value, 2)),
      ];
    }).flat();
  return {
    root,
    update({ lab, text, names, several, entry, title }) {
      root.hidden = text;
      if (text) return;
      root.classList.toggle("both", several);
      const panels = names.map((name) => {
        const look = lab.tape(name);
        const of = several ? ` of ${title(name)}` : "";
        return h(
          "div",
          { class: "panel" },
          h("h3", {}, `Asymmetry of the scores${of}`),
          h("div", { class: "lean" }, ...(look ? bars(look, entry(name).config) : [])),
        );
      });
      const hint =
        "‖S − Sᵀ‖ / ‖S‖: 0 is a symmetric map, as of tied Q and K; the mark at √2 is what independent " +
        "scores give.";
      root.replaceChildren(...panels, h("p", { class: "hint" }, hint));
    },
  };
}

/** What was measured of the models that are shown. */
function measurements() {
  const list = h("dl", { class: "facts" });

  function ofText(lab, tape) {
    const ms = lab.replays ? null : pace(tape?.ms ?? []);
    const none = lab.replays ? "a stored run has none" : "not measured yet";
    const rate = ms === null ? "" : formatCount(Math.round(1000 / ms));
    const likely = (tape?.likeliest ?? []).slice(0, 3);
    const words = likely.map((each) => `${spoken(each.face)} ${share(each.share)}`).join(", ");
    return [
      ["Speed", ms === null ? none : `${fixed(ms, 2)} ms a token, ${rate} tokens/s`],
      ...(words ? [["Takes for likely", words]] : []),
    ];
  }

  function ofList(look, { task, digits }) {
    if (!look) return [];
    const wanted = answersTo(task.name, digits);
    if (!wanted) return [["Answers", look.answers.join(" ")]];
    const right = look.answers.filter((each, i) => each === wanted[i]).length;
    return [["Answers", `${look.answers.join(" ")} (${right} of ${wanted.length} right)`]];
  }

  return {
    root: h("div", { class: "panel" }, h("h3", {}, "Measured"), list),
    update({ lab, state, text, names, several, entry }) {
      const rows = names.flatMap((name) => [
        ...(several ? [[entry(name).label, null]] : []),
        [text ? "Held-out text" : "Held-out lists", qualityText(entry(name))],
        ...(text ? ofText(lab, lab.tape(name)) : ofList(lab.tape(name), state)),
      ]);
      const row = ([label, value]) => [
        h("dt", { class: value === null ? "who" : null }, label),
        h("dd", {}, value ?? ""),
      ];
      list.replaceChildren(...rows.flatMap(row));
    },
  };
}

// -------------------------------------------------------------------------------------------- the tour

/** Steps of the tour: what it is called, what to do, and when that is done. */
const TOUR = [
  {
    title: "Let it write",
    words: "Press “Write”. Each token that it adds looks back at all before it.",
    done: ({ lab }, seen) => seen.wrote && lab.text.length >= lab.prompt + 5,
  },
  {
    title: "Ask a token",
    words: "Point at a word, or choose one with the arrow keys: where does it look?",
    done: (shown, seen) => seen.asked,
  },
  {
    title: "Tie key and value",
    words: "Switch to Q-K=V and watch the orange blocks leave: a key is its own value.",
    done: ({ own }) => own.sharing === "Q-K=V",
  },
  {
    title: "Share heads as well",
    words: "Choose MQA. One head of keys is left for all. How many bytes are that?",
    done: ({ own }) => own.option === "MQA",
  },
  {
    title: "Put two side by side",
    words: "Choose QKV beside it. Which head has changed the most?",
    done: ({ several }) => several,
  },
];

/** Five steps that are done by doing; `seen` is what the reader has done. */
function guide() {
  const root = h("div", { class: "tour" });
  let done = 0;
  let drawn = null;
  const item = ({ title, words }, i) => {
    const [past, now] = [i < done, i === done];
    const text = h("span", {}, h("b", {}, title), now ? `. ${words}` : "");
    if (past) text.append(h("span", { class: "quiet" }, " (done)"));
    return h(
      "li",
      { class: past ? "done" : now ? "now" : null, "aria-current": now ? "step" : null },
      h("span", { class: "mark", "aria-hidden": "true" }, past ? "✓" : String(i + 1)),
      text,
    );
  };
  return {
    root,
    /** The step that is to be done, in a line; null when all are. */
    get step() {
      return done < TOUR.length ? `Tour, ${done + 1} of ${TOUR.length}: ${TOUR[done].words}` : null;
    },
    /** Returns what is to be announced; "" where nothing is. */
    update(shown, seen) {
      root.hidden = !shown.state.tour || !shown.text;
      if (root.hidden) return "";
      const before = done;
      // A step counts once those before it are done.
      while (done < TOUR.length && TOUR[done].done(shown, seen)) done += 1;
      if (drawn === done) return "";
      drawn = done;
      root.replaceChildren(
        h("h3", {}, done === TOUR.length ? "Tour: all five done" : "Tour: five steps"),
        h("ol", {}, ...TOUR.map(item)),
      );
      if (done === before) return "";
      return done < TOUR.length ? `Done. ${this.step}` : "The tour is done.";
    },
  };
}
