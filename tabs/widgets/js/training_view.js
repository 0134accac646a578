// The training view: a run's state, its curves, what they say, and the same rows before and after. Follows run_stream.js.
// Runs as gr.HTML's js_on_load: element, trigger, props and watch are given. Figures are drawn by window.benchtop.figures.

const AXES = [["step", "step", "optimizer step"], ["epoch", "epoch", "epochs"], ["tokens", "tokens", "tokens seen"], ["seconds", "seconds", "seconds of training"]];
const FIGURE_MS = 350;
const STATES = { waiting: "starting", queued: "queued", running: "training", finished: "finished", stopped: "stopped", failed: "failed" };
const figures = window.benchtop.figures;

// --- words and numbers -----------------------------------------------------------------------------------------------
const duration = (seconds) => {
  if (typeof seconds !== "number") return "";
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 90) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  return minutes < 90 ? `${minutes} min ${String(whole % 60).padStart(2, "0")} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
};
const size = (bytes) => (bytes >= 1e9 ? `${(bytes / 1e9).toFixed(2)} GB` : bytes >= 1e6 ? `${(bytes / 1e6).toFixed(1)} MB` : `${Math.ceil(bytes / 1e3)} KB`);
const share = (part, whole) => (whole ? `${((100 * part) / whole).toPrecision(2)}%` : "");

// --- the skeleton ----------------------------------------------------------------------------------------------------
const root = element.querySelector(".bv-training") || element;
const message = node("div", "bv-message");
message.hidden = true;
message.setAttribute("role", "alert");
const empty = node("div", "bv-empty");
empty.append(
  node("p", "bv-empty-title", "The curves will grow here"),
  node("p", "bv-empty-text", "Press Train: loss, learning rate and gradient norm at each step, and what the model writes for the same rows, before and after."),
);
const stage = node("div", "bt-stage");
stage.hidden = true;
const live = node("div", "bv-offscreen");
live.setAttribute("aria-live", "polite");
root.append(message, empty, stage, live);

const card = (cls, title) => {
  const box = node("section", `bv-card ${cls}`);
  const head = node("header", "tv-head");
  const heading = node("h3", "bv-card-title", title);
  head.append(heading);
  box.append(head);
  stage.append(box);
  return { box, head, heading };
};

const state = card("tv-state", "Training");
const chipState = node("span", "tv-chip");
const left = node("span", "tv-left");
const again = button("bv-link bv-again", "follow again", "", () => stream.again());
again.hidden = true;
state.head.append(chipState, again, node("span", "bv-gap"), left);
const bar = node("div", "tv-bar");
bar.setAttribute("role", "progressbar");
bar.setAttribute("aria-label", "Steps done");
const fill = node("i", "tv-fill");
bar.append(fill);
const facts = node("dl", "tv-facts");
const notes = node("ul", "bv-notes tv-notes");
state.box.append(bar, facts, notes);

// --- curves and their switches ---------------------------------------------------------------------------------------
const curves = card("tv-curves", "Curves");
const view = { axis: "step", smoothing: 0.6, log: false };
const switches = node("div", "tv-switches");
const segments = node("div", "tv-segments");
segments.setAttribute("role", "radiogroup");
segments.setAttribute("aria-label", "Horizontal axis");
for (const [name, word] of AXES) {
  const choice = button("tv-segment", word, "", () => { view.axis = name; drawSwitches(); drawFigures(true); });
  choice.setAttribute("role", "radio");
  choice.dataset.axis = name;
  segments.append(choice);
}
segments.addEventListener("keydown", (e) => {
  const way = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[e.key];
  if (!way) return;
  e.preventDefault();
  const at = AXES.findIndex(([name]) => name === view.axis);
  const next = segments.children[(at + way + AXES.length) % AXES.length];
  next.click();
  next.focus();
});
const smooth = node("label", "tv-smooth");
const slider = node("input");
Object.assign(slider, { type: "range", min: 0, max: 0.95, step: 0.05, value: view.smoothing });
const smoothValue = node("span", "tv-value", view.smoothing.toFixed(2));
slider.addEventListener("input", () => { view.smoothing = Number(slider.value); setText(smoothValue, view.smoothing.toFixed(2)); drawFigures(true); });
smooth.append(node("span", "", "smoothing"), slider, smoothValue);
const logLabel = node("label", "tv-log");
const logBox = node("input");
logBox.type = "checkbox";
logBox.addEventListener("change", () => { view.log = logBox.checked; drawFigures(true); });
logLabel.append(logBox, node("span", "", "log scale"));
switches.append(segments, smooth, logLabel);
curves.head.append(node("span", "bv-gap"), switches);
const grid = node("div", "tv-grid");
const readings = node("ul", "tv-readings");
readings.setAttribute("aria-label", "What the curves say");
curves.box.append(grid, readings);

const drawSwitches = () => {
  for (const choice of segments.children) {
    const on = choice.dataset.axis === view.axis;
    choice.setAttribute("aria-checked", String(on));
    choice.tabIndex = on ? 0 : -1;
  }
};

const points = (rows, name) => {
  const x = [], y = [];
  for (const row of rows) {
    if (typeof row[name] !== "number" || typeof row[view.axis] !== "number") continue;
    x.push(row[view.axis]);
    y.push(row[name]);
  }
  return { x, y };
};
const line = (rows, name, more) => ({ name, ...points(rows, name), ...more });

// The raw points stay in sight, faint, behind the smoothed line.
const soft = (rows, field, name, color) => {
  const raw = points(rows, field);
  if (!raw.x.length) return [];
  if (!view.smoothing) return [{ name, ...raw, color }];
  return [
    { ...raw, name: `${name} (raw)`, color, opacity: 0.28, width: 1.25, quiet: true, unlisted: true },
    { name, x: raw.x, y: figures.smoothed(raw.y, view.smoothing), color },
  ];
};

const bestOf = (rows) => rows.reduce((best, row) => (typeof row.loss === "number" && !(row.loss >= best?.loss) ? row : best), null);

const lossFigure = (m) => {
  const evals = line(m.eval, "loss", { name: "evaluation", color: 1, mode: "lines+markers", size: 6, joined: true });
  const traces = soft(m.train, "loss", "training", 0);
  if (evals.x.length) traces.push(evals);
  const best = m.eval.length > 1 ? bestOf(m.eval) : null;
  if (best) traces.push({ name: "best evaluation", x: [best[view.axis]], y: [best.loss], mode: "markers", symbol: "circle-open", size: 12, color: 1, quiet: true, unlisted: true });
  return { title: "Loss", keys: true, unit: m.start?.task === "language" ? "nats per token" : "nats", height: 250, traces, y: { log: view.log } };
};

const accuracyFigure = (m) => {
  if (m.start && m.start.task !== "language") {
    const traces = [["accuracy", "accuracy", 0, "solid"], ["f1", "F1", 2, "dash"]]
      .map(([field, name, color, dash]) => line(m.eval, field, { name, color, dash, mode: "lines+markers" })).filter((t) => t.x.length);
    return { title: "Score", unit: "on the validation rows", traces, keys: true, empty: "After the first evaluation." };
  }
  const evals = line(m.eval, "token_accuracy", { name: "evaluation", color: 1, mode: "lines+markers", joined: true });
  return { title: "Token accuracy", unit: "share", keys: true, traces: [...soft(m.train, "token_accuracy", "training", 0), ...(evals.x.length ? [evals] : [])] };
};

const single = (title, unit, field, more = {}) => (m) => ({
  title, unit, keys: true, traces: more.raw ? [line(m.train, field, { name: "now" })].filter((t) => t.x.length) : soft(m.train, field, "now", 0), y: { zero: !more.log, log: Boolean(more.log && view.log) },
});

const memoryFigure = (m) => {
  const used = points(m.train, "memory_bytes");
  const traces = used.x.length ? [{ name: "now", x: used.x, y: used.y.map((bytes) => Number((bytes / 1e6).toPrecision(4))), fill: "tozeroy" }] : [];
  return { title: "Memory", unit: "MB", keys: true, traces, y: { zero: true } };
};

const predictedFigure = (m) => {
  const last = [...m.eval].reverse().find((row) => row.predicted);
  const counts = last ? Object.entries(last.predicted) : [];
  return {
    title: "Predicted", unit: last ? `rows at step ${last.step}` : "rows", ownAxis: true, x: { title: "label" }, y: { title: "", zero: true }, values: false,
    traces: counts.length ? [{ name: "rows", kind: "bar", x: counts.map(([label]) => label), y: counts.map(([, n]) => n), color: 0 }] : [],
    empty: "After the first evaluation.",
  };
};

const PANELS = [
  ["loss", lossFigure, true], ["accuracy", accuracyFigure], ["predicted", predictedFigure, false, (m) => Boolean(m.start?.labels?.length)],
  ["gradient", single("Gradient norm", "", "grad_norm", { log: true })], ["rate", single("Learning rate", "", "learning_rate", { raw: true })],
  ["speed", single("Speed", "tokens/s", "tokens_per_second")], ["memory", memoryFigure],
];
let panels = new Map();

const drawFigures = (changed) => {
  const m = stream.model;
  const [, , axisTitle] = AXES.find(([name]) => name === view.axis);
  const resumed = m.start?.resumed && m.train.find((row) => row.step >= m.start.resumed.step);
  for (const [name, make, wide, wanted] of PANELS) {
    const want = !wanted || wanted(m);
    if (!want) { panels.get(name)?.handle.destroy(); panels.get(name)?.box.remove(); panels.delete(name); continue; }
    const made = make(m);
    const spec = {
      height: 150, empty: "From the first step on.", ...made, x: made.ownAxis ? made.x : { title: axisTitle, ...(view.axis === "step" && m.train.length < 7 ? { dtick: 1 } : {}) }, y: { ...made.y },
      shapes: resumed && !made.ownAxis ? [{ x: resumed[view.axis], text: name === "loss" ? "resumed" : "" }] : [],
    };
    const panel = panels.get(name);
    if (panel) { panel.handle.update(spec); continue; }
    const box = node("div", wide ? "tv-panel is-wide" : "tv-panel");
    box.dataset.panel = name;
    grid.append(box);
    panels.set(name, { box, handle: figures.mount(box, spec) });
  }
  drawn = { train: m.train.length, eval: m.eval.length, start: m.start };
};

// --- the same rows, before and after ---------------------------------------------------------------------------------
const samples = card("tv-samples", "The same rows, before and after");
const looks = node("div", "tv-looks");
looks.setAttribute("role", "group");
looks.setAttribute("aria-label", "After which step");
samples.head.append(node("span", "bv-muted tv-samples-note"), node("span", "bv-gap"), looks);
const rowsBox = node("div", "tv-rows");
samples.box.append(rowsBox);
let chosenLook = null, sampleShape = "";

const WORD = /\s+|[^\s]+/g;
// Which words of the tuned text the base text does not have at this place (a longest common subsequence of words).
const newWords = (base, tuned) => {
  const a = (base.match(WORD) ?? []).slice(0, 400), b = (tuned.match(WORD) ?? []).slice(0, 400);
  const best = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--) for (let j = b.length - 1; j >= 0; j--) best[i][j] = a[i] === b[j] ? best[i + 1][j + 1] + 1 : Math.max(best[i + 1][j], best[i][j + 1]);
  const parts = [];
  for (let i = 0, j = 0; j < b.length;) {
    if (i < a.length && a[i] === b[j]) { parts.push([b[j++], false]); i++; }
    else if (i < a.length && best[i + 1][j] >= best[i][j + 1]) i++;
    else parts.push([b[j++], true]);
  }
  return parts;
};

const textCell = (label, text, base) => {
  const cell = node("div", "tv-cell");
  cell.append(node("span", "tv-who", label));
  const said = node("p", "tv-said");
  if (text === null || text === undefined) said.append(node("span", "bv-muted", "not yet"));
  else if (base === undefined || base === null) said.textContent = text || "(nothing)";
  else for (const [part, fresh] of newWords(base, text)) said.append(fresh && part.trim() ? node("mark", "tv-new", part) : document.createTextNode(part));
  cell.append(said);
  return cell;
};

const labelCell = (label, guess, reference, p) => {
  const cell = node("div", "tv-cell");
  cell.append(node("span", "tv-who", label));
  const said = node("p", "tv-guess");
  if (guess === null || guess === undefined) { said.append(node("span", "bv-muted", "not yet")); cell.append(said); return cell; }
  const right = guess === reference;
  const sign = node("span", right ? "tv-right" : "tv-wrong", right ? "✓" : "✕");
  sign.setAttribute("aria-label", right ? "right" : "wrong");
  said.append(sign, node("span", "", String(guess)));
  if (typeof p === "number") {
    const track = node("span", "tv-track"), amount = node("i", "");
    amount.style.width = `${Math.round(100 * p)}%`;
    track.append(amount);
    said.append(track, node("span", "tv-value", percent(p)));
  }
  cell.append(said);
  return cell;
};

const drawSamples = () => {
  const { rows, at } = stream.model.samples;
  samples.box.hidden = !rows.length;
  if (!rows.length) return;
  const look = at.find((one) => one.step === chosenLook) ?? at[at.length - 1];
  const shape = JSON.stringify([rows.length, at.map((one) => one.step), look]);
  if (shape === sampleShape) return;
  sampleShape = shape;
  looks.textContent = "";
  for (const one of at.length > 1 ? at : []) {
    const pick = button("tv-look", String(one.step), `After step ${one.step}`, () => { chosenLook = one === at[at.length - 1] ? null : one.step; drawSamples(); });
    pick.setAttribute("aria-pressed", String(one === look));
    looks.append(pick);
  }
  setText(samples.head.querySelector(".tv-samples-note"), look.step ? `tuned as it is after step ${look.step}` : "before the first step");
  rowsBox.textContent = "";
  const writes = stream.model.start?.task === "language";
  rows.forEach((row, i) => {
    const line_ = node("article", "tv-row");
    line_.append(node("p", "tv-prompt", row.prompt ?? row.text ?? ""));
    const cells = node("div", "tv-cells");
    if (writes) cells.append(textCell("base", row.base), textCell("tuned", look.tuned[i], row.base ?? ""));
    else cells.append(labelCell("base", row.base, row.reference, row.base_p), labelCell("tuned", look.tuned[i], row.reference, look.p[i]));
    line_.append(cells);
    if (row.reference !== undefined && row.reference !== null && row.reference !== "") {
      const wanted = node("p", "tv-reference");
      wanted.append(node("span", "tv-who", writes ? "in the data" : "label"), node("span", "", String(row.reference)));
      line_.append(wanted);
    }
    rowsBox.append(line_);
  });
};

// --- the state -------------------------------------------------------------------------------------------------------
const over = () => ["finished", "stopped", "failed"].includes(stream.model.status) || stream.link === "refused";

const stateText = (m) => {
  if (stream.link === "again") return "reconnecting";
  if (stream.link === "lost") return "connection lost";
  if (m.status === "queued" && m.queue) return `queued, ${plural(m.queue, "run")} before it`;
  if (m.status === "queued") return "starting its process";
  if (m.status === "finished" || m.status === "stopped") {
    const last = m.train[m.train.length - 1];
    return `${STATES[m.status]}${last ? ` after step ${last.step}, ${duration(last.seconds)} of training` : ""}`;
  }
  if (m.status === "running" && !m.train.length) return "getting ready";
  return STATES[m.status] ?? STATES.waiting;
};

const drawState = () => {
  const m = stream.model, start = m.start;
  root.dataset.status = m.status ?? "";
  setText(state.heading, start?.title || props.value?.title || "Training");
  chipState.dataset.status = m.status ?? "waiting";
  setText(chipState, stateText(m));
  again.hidden = stream.link !== "lost";
  const p = m.progress, last = m.train[m.train.length - 1];
  const total = p?.total ?? start?.steps ?? 0, done = over() ? last?.step ?? 0 : p?.done ?? 0;
  const percentDone = total ? Math.min(100, (100 * done) / total) : 0;
  fill.style.width = `${percentDone}%`;
  bar.setAttribute("aria-valuenow", String(Math.round(percentDone)));
  const counted = p?.total ? `${p.unit ? `${p.unit.replace(/s$/, "")} ` : ""}${shortNumber(p.done)} of ${shortNumber(p.total)}` : "";
  const amount = p ? [p.note, counted].filter(Boolean).join(", ") : "";
  const rest = p && typeof p.seconds_left === "number" ? ` · about ${duration(p.seconds_left)} left` : "";
  setText(left, over() ? "" : amount + rest);
  drawFacts(m);
  const said = [...m.warnings];
  if (notes.dataset.said !== JSON.stringify(said)) {
    notes.dataset.said = JSON.stringify(said);
    notes.textContent = "";
    for (const text of said) notes.append(node("li", "", text));
  }
};

const drawFacts = (m) => {
  const start = m.start;
  const lines = [];
  if (start) {
    lines.push(["trains", `${shortCount(start.parameters_trained)} of ${shortCount(start.parameters_total)} parameters, ${share(start.parameters_trained, start.parameters_total)}`]);
    lines.push(["rows", `${shortNumber(start.train_rows)} to learn from, ${shortNumber(start.validation_rows)} kept out`]);
    lines.push(["on", `${start.device} in ${start.dtype}`]);
    if (start.resumed) lines.push(["goes on", `from step ${start.resumed.step} of an earlier run`]);
  }
  for (const metric of m.metrics) lines.push([metric.name.replaceAll("_", " "), `${shortNumber(metric.value)}${metric.unit ? ` ${metric.unit}` : ""}`]);
  if (m.checkpoints.length) {
    const last = m.checkpoints[m.checkpoints.length - 1];
    lines.push([m.checkpoints.length > 1 ? "checkpoints" : "checkpoint", `${m.checkpoints.map((c) => c.step).slice(-4).join(", ")}${last.bytes ? `, ${size(last.bytes)} each` : ""}`]);
  }
  const shape = JSON.stringify(lines);
  if (facts.dataset.shape === shape) return;
  facts.dataset.shape = shape;
  facts.textContent = "";
  for (const [name, text] of lines) {
    const pair = node("div", "tv-fact");
    pair.append(node("dt", "", name), node("dd", "", text));
    facts.append(pair);
  }
};

const drawReadings = () => {
  const said = stream.model.readings;
  const shape = JSON.stringify(said);
  if (readings.dataset.shape === shape) return;
  readings.dataset.shape = shape;
  readings.textContent = "";
  for (const one of said) {
    const item = node("li", "tv-reading");
    item.dataset.reading = one.name;
    item.append(node("span", "tv-reading-step", `step ${one.step}`), node("span", "", one.text));
    readings.append(item);
  }
};

const drawMessage = () => {
  const error = stream.model.error;
  message.hidden = !error;
  if (!error || message.dataset.what === error.what) return;
  message.dataset.what = error.what;
  message.textContent = "";
  message.append(node("span", "bv-message-what", error.what), node("span", "", error.todo));
};

// --- following -------------------------------------------------------------------------------------------------------
let run = null, frame = 0, drawn = null, lastFigures = 0, timer = 0, announced = false;

const draw = () => {
  const m = stream.model;
  empty.hidden = run !== null;
  stage.hidden = run === null;
  drawMessage();
  if (!m.train) { drawBare(); return; }
  drawState();
  drawReadings();
  drawSamples();
  if (!drawn || drawn.train !== m.train.length || drawn.eval !== m.eval.length || drawn.start !== m.start) soonFigures();
  if (over() && !announced) {
    announced = true;
    setText(live, `Training ${stateText(m)}.`);
    if (!props.value?.model) trigger("ended", { run });
  }
};

const drawBare = () => {
  samples.box.hidden = true;
  setText(state.heading, props.value?.title || "Training");
  setText(chipState, run === null ? "" : stream.link === "refused" ? "not found" : "starting");
};

// A step may come every few milliseconds: figures are drawn some three times a second, and at the end.
const soonFigures = () => {
  if (timer) return;
  const wait = over() ? 0 : Math.max(0, lastFigures + FIGURE_MS - performance.now());
  timer = setTimeout(() => {
    timer = 0;
    if (!element.isConnected || !stream.model.train) return;
    lastFigures = performance.now();
    drawFigures();
  }, wait);
};

const clear = () => {
  clearTimeout(timer);
  timer = 0;
  drawn = null;
  announced = false;
  chosenLook = null;
  sampleShape = "";
  for (const { box, handle } of panels.values()) { handle.destroy(); box.remove(); }
  panels = new Map();
  for (const list of [facts, readings, notes]) { list.textContent = ""; list.dataset.shape = list.dataset.said = ""; }
  rowsBox.textContent = "";
  message.dataset.what = "";
  fill.style.width = "0";
  setText(left, "");
  setText(live, "");
};

const plan = () => { if (!frame) frame = requestAnimationFrame(() => { frame = 0; draw(); }); };
const stream = runStream(() => element.isConnected, plan, clear);

const follow = () => {
  const value = props.value;
  const next = value ? value.run : null;
  if (value && value.url && next === run && stream.link !== "refused") { stream.renew(value.url); return; }
  run = next;
  root.dataset.run = run ?? "";
  if (value && value.model) stream.follow(null, structuredClone(value.model));
  else stream.follow((value && value.url) || null);
};

drawSwitches();
figures.load().catch(() => {});
watch("value", follow);
follow();
