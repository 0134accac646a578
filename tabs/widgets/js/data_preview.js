// Before the start: what the training will read, what it will train, what it needs in memory and time.

const figures = window.benchtop.figures;
const root = element.querySelector(".bv-preview") || element;
const box = node("section", "bv-card dp-card");
const head = node("header", "tv-head");
const note = node("span", "bv-muted dp-note", "what the training reads, trains and needs");
const look = button("bv-button bv-small dp-look", "Preview", "", () => { wait("Reading the data and planning."); trigger("preview", {}); });
const measure = button("bv-button bv-small dp-measure", "Measure a step", "Train one step, and throw it away, for an estimate of the time", () => { wait("Measuring one step."); trigger("measure", {}); });
const fold = button("bv-link dp-fold", "hide", "", () => folded(!box.classList.contains("is-folded")));
head.append(node("h3", "bv-card-title", "Before the start"), note, node("span", "bv-gap"), fold, measure, look);
const body = node("div", "dp-body");
box.append(head, body);
root.append(box);
let mounted = [], patience = 0;

const folded = (on) => {
  box.classList.toggle("is-folded", on);
  setText(fold, on ? "show" : "hide");
  fold.setAttribute("aria-expanded", String(!on));
};
// Once the training goes on, its curves take the place.
document.addEventListener("click", (e) => { if (element.isConnected && e.target.closest?.("#finetuning-run")) folded(true); });

const wait = (text) => {
  box.classList.add("is-waiting");
  setText(note, text);
  for (const one of [look, measure]) one.disabled = true;
  clearTimeout(patience);
  patience = setTimeout(rest, 180000);
};
const rest = () => {
  clearTimeout(patience);
  box.classList.remove("is-waiting");
  for (const one of [look, measure]) one.disabled = false;
};

const bytes = (n) => (n >= 1e9 ? `${(n / 1e9).toFixed(2)} GB` : `${(n / 1e6).toFixed(n < 1e7 ? 1 : 0)} MB`);
const spell = (seconds) => (seconds < 90 ? `${Math.max(1, Math.round(seconds))} s` : seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`);
const part = (title, brief) => {
  const made = node("section", "dp-part");
  const line = node("p", "dp-title", title);
  if (brief) line.append(node("span", "bv-muted dp-brief", brief));
  made.append(line);
  body.append(made);
  return made;
};

// --- numbers and memory ----------------------------------------------------------------------------------------------
const drawNumbers = (v) => {
  const list = node("dl", "dp-numbers");
  const add = (name, value, small) => {
    const pair = node("div", "dp-number");
    pair.append(node("dt", "", name), node("dd", value === "not measured" ? "is-open" : "", value));
    if (small) pair.append(node("span", "dp-small", small));
    list.append(pair);
  };
  if (v.steps) add("steps", v.steps.toLocaleString("en"), `${v.train_rows.toLocaleString("en")} rows, ${v.validation_rows.toLocaleString("en")} kept out`);
  if (v.parameters_trained) add("trained", shortCount(v.parameters_trained), `of ${shortCount(v.parameters_total)}, ${((100 * v.parameters_trained) / v.parameters_total).toPrecision(2)}%`);
  if (v.memory) add("memory", bytes(v.memory.total), v.free ? `estimated; ${bytes(v.free)} free` : "estimated");
  if (v.seconds) add("time", `about ${spell(v.seconds)}`, `${v.step_seconds.toPrecision(2)} s a step, measured`);
  else if (v.steps) add("time", "not measured", "press Measure a step");
  body.append(list);
};

const PARTS = [["weights", "c0"], ["gradients", "c1"], ["optimizer", "c2"], ["activations", "c3"]];
const drawMemory = (v) => {
  if (!v.memory) {
    if (v.why) body.append(node("p", "dp-error", v.why));
    return;
  }
  const made = part("Memory at its peak", v.why || "");
  const bar = node("div", "dp-stack");
  bar.setAttribute("role", "img");
  bar.setAttribute("aria-label", PARTS.map(([name]) => `${name} ${bytes(v.memory[name] || 0)}`).join(", "));
  const key = node("ul", "dp-key");
  for (const [name, colour] of PARTS) {
    const amount = v.memory[name] || 0;
    const piece = node("i", "");
    piece.style.cssText = `flex: ${amount} 0 0; background: var(--bt-${colour})`;
    bar.append(piece);
    const item = node("li", "");
    const dot = node("i", "dp-dot");
    dot.style.background = `var(--bt-${colour})`;
    item.append(dot, node("span", "", name), node("span", "tv-value", bytes(amount)));
    key.append(item);
  }
  made.append(bar, key);
};

// --- which layers ----------------------------------------------------------------------------------------------------
const drawModules = (v) => {
  if (!v.modules || !v.modules.length) return;
  const made = part("Target modules", `what each choice trains at rank ${v.r}`);
  const chosen = new Set(v.targets?.length ? v.targets : v.modules.map((m) => m.name));
  const list = node("div", "dp-modules");
  const total = node("span", "tv-value");
  const tell = () => setText(total, `${shortCount(v.modules.filter((m) => chosen.has(m.name)).reduce((sum, m) => sum + m.trained, 0))} parameters`);
  for (const module of v.modules) {
    const label = node("label", "dp-module");
    const tick = node("input");
    tick.type = "checkbox";
    tick.checked = chosen.has(module.name);
    tick.addEventListener("change", () => {
      if (tick.checked) chosen.add(module.name); else chosen.delete(module.name);
      if (!chosen.size) { chosen.add(module.name); tick.checked = true; return; }
      tell();
      const all = chosen.size === v.modules.length;
      trigger("targets", { names: all ? [] : v.modules.map((m) => m.name).filter((name) => chosen.has(name)) });
    });
    label.append(tick, node("span", "bv-mono", module.name), node("span", "dp-small", `${module.count} × ${module.in_features}→${module.out_features}`), node("span", "tv-value", shortCount(module.trained)));
    list.append(label);
  }
  tell();
  made.querySelector(".dp-title").append(node("span", "bv-gap"), total);
  made.append(list);
};

// --- the data --------------------------------------------------------------------------------------------------------
const MOST_TOKENS = 160;
const drawRows = (v) => {
  if (!v.rows?.length) return;
  const made = part("Rows as the model gets them", "");
  const legend = node("span", "dp-legend");
  legend.append(node("span", "dp-token is-trained", "gives loss"), node("span", "dp-token", "read only"));
  made.querySelector(".dp-title").append(node("span", "bv-gap"), legend);
  v.rows.forEach((row, index) => {
    const line = node("div", "dp-row");
    const flow = node("p", "dp-flow");
    for (const token of row.tokens.slice(0, MOST_TOKENS)) {
      const made_ = node("span", token.trained ? "dp-token is-trained" : "dp-token");
      if (token.special) made_.append(chip("special", token.text, token.text)); else paintText(made_, token.text);
      flow.append(made_);
    }
    const hidden = row.tokens.length - MOST_TOKENS;
    if (hidden > 0) flow.append(node("span", "bv-muted", ` … ${plural(hidden, "token")} more`));
    const side = node("p", "dp-side");
    side.append(node("span", "tv-value", plural(row.tokens.length, "token")));
    if (row.label !== null && row.label !== undefined) side.append(node("span", "dp-label", row.label));
    if (row.cut) side.append(node("span", "dp-cut", `${plural(row.cut, "token")} cut`));
    line.append(side, flow);
    if (index > 2) line.classList.add("is-more");
    made.append(line);
  });
  if (v.rows.length > 3) {
    const more = button("bv-link", `show ${v.rows.length - 3} more rows`, "", () => { made.classList.add("shows-all"); more.remove(); });
    made.append(more);
  }
};

const drawFigures = (v) => {
  const made = node("div", "dp-figures");
  if (v.lengths?.counts?.length) {
    const { edges, counts, unit, longest, mean } = v.lengths;
    const middle = counts.map((_, i) => (edges[i] + edges[i + 1]) / 2);
    const here = node("div", "tv-panel");
    made.append(here);
    mounted.push(figures.mount(here, {
      title: "Lengths", unit: `longest ${longest}, mean ${Math.round(mean)} ${unit}`, height: 150, x: { title: `${unit} in a row` }, y: { title: "rows", zero: true },
      traces: [{ name: "rows", kind: "bar", x: middle, y: counts, widths: counts.map((_, i) => (edges[i + 1] - edges[i]) * 0.92), text: counts.map((n, i) => `${Math.round(edges[i])} to ${Math.round(edges[i + 1])} ${unit}`) }],
      shapes: v.truncated && v.max_length ? [{ x: v.max_length, text: "cut here", color: "warn" }] : [],
    }));
  }
  const labels = Object.entries(v.labels || {});
  if (labels.length) {
    const here = node("div", "tv-panel");
    made.append(here);
    mounted.push(figures.mount(here, {
      title: "Labels", unit: plural(labels.length, "label"), height: 150, x: { title: "label" }, y: { title: "rows", zero: true },
      traces: [{ name: "rows", kind: "bar", color: 1, x: labels.map(([name]) => name), y: labels.map(([, count]) => count) }],
    }));
  }
  if (made.children.length) body.append(made);
};

const drawNotes = (v) => {
  const said = [...(v.notes || [])];
  if (v.truncated) said.push(`${plural(v.truncated, "row")} longer than ${v.max_length ?? "the longest row"} tokens: what is beyond is cut.`);
  const twins = v.duplicates || {};
  if (twins.within) said.push(`${plural(twins.within, "training row")} more than once.`);
  if (twins.across) said.push(`${plural(twins.across, "validation row")} also among the training rows: the evaluation flatters.`);
  for (const text of (twins.examples || []).slice(0, 2)) said.push(`Twice: “${text.length > 90 ? `${text.slice(0, 90)}…` : text}”`);
  if (!said.length) return;
  const list = node("ul", "dp-notes");
  for (const text of said) list.append(node("li", "", text));
  body.append(list);
};

const draw = () => {
  for (const handle of mounted) handle.destroy();
  mounted = [];
  body.textContent = "";
  rest();
  const v = props.value;
  measure.hidden = !v || !v.steps;
  fold.hidden = !v;
  folded(false);
  setText(look, v ? "Preview again" : "Preview");
  setText(note, v ? v.title || "as the inputs are now" : "what the training reads, trains and needs");
  if (!v) {
    body.append(node("p", "bv-empty-line", "Preview shows rows as tokens with their loss mask, how long they are, duplicates, the memory plan and the steps. Train does not need it."));
    return;
  }
  if (v.error) { body.append(node("p", "dp-error", v.error)); return; }
  drawNumbers(v);
  drawMemory(v);
  drawModules(v);
  drawFigures(v);
  drawRows(v);
  drawNotes(v);
};

watch("value", draw);
draw();
