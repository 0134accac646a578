// The results of a sentiment run: follows the run (run_stream.js) and hands its view model to the cards.
// Runs as gr.HTML's js_on_load: element, props, watch and trigger are given.

const DRAW_MS = 120;
const ENDS = ["finished", "stopped", "failed"];
const WORKING = { label: "labelling", explain: "explaining", whatif: "trying versions", bias: "probing", evaluate: "evaluating", compare: "comparing" };

const root = element.querySelector(".bv-sentiment") || element;
const message = node("div", "bv-message");
message.hidden = true;
message.setAttribute("role", "alert");
const empty = node("div", "bv-empty sn-empty");
const emptyTitle = node("p", "bv-empty-title"), emptyText = node("p", "bv-empty-text");
empty.append(emptyTitle, emptyText);

const top_ = node("section", "bv-card sn-card sn-top");
const line = node("div", "sn-top-line");
const state = node("span", "sn-state"), facts = node("span", "bv-muted");
const again = button("bv-link bv-again", "follow again", "", () => stream.again());
again.hidden = true;
line.append(state, again, facts);
const bar = node("div", "sn-progress"), fill = node("span", "sn-fill");
bar.append(fill);
const notes = node("ul", "sn-notes");
top_.append(line, bar, notes);
const live = node("div", "bv-offscreen");
live.setAttribute("aria-live", "polite");
const stage = node("div", "sn-results");
stage.hidden = true;

let run = null, shown = null, timer = 0, drawnAt = 0, announced = false;
const ask = (name, data) => trigger(name, { run, ...data });
const drawWords = makeWords(tooltip(root));
const asker = makeAsker(drawWords, ask);
const rows = makeRows(asker);
const attributions = makeAttributions(drawWords), variants = makeVariants(), bias = makeBias(), scores = makeScores();
const examples = makeExamples(asker, ask);
const threshold = makeThreshold(examples.open), confusion = makeConfusion(examples.open), comparison = makeComparison(asker);
const parts = [attributions, variants, bias, scores, threshold, confusion, examples, comparison, rows];
stage.append(top_, ...parts.flatMap((part) => part.cards ?? [part.card]));
root.append(message, empty, stage, live);

const clear = () => {
  asker.clear();
  for (const part of parts) part.clear();
  notes.textContent = "";
  announced = false;
  setText(live, "");
};
const over = () => ENDS.includes(stream.model.status);
const plan = () => {
  if (timer) return;
  const wait = over() || !drawnAt ? 0 : Math.max(0, DRAW_MS - (performance.now() - drawnAt));
  timer = setTimeout(() => { timer = 0; drawnAt = performance.now(); draw(); }, wait);
};
const stream = runStream(() => element.isConnected, plan, clear);

const follow = () => {
  const value = props.value;
  shown = value;
  const next = value ? value.run ?? "" : null;
  if (value && value.url && next === run && stream.link !== "refused") stream.renew(value.url);
  else {
    run = next;
    root.dataset.run = run ?? "";
    if (value && value.model) stream.follow(null, structuredClone(value.model));
    else stream.follow((value && value.url) || null);
  }
  examples.follow(value?.trained ?? null);
  if (value?.why) asker.answer(value.why);
};

const fileLink = (file) => {
  const made = node("a", "sn-link", `download ${file.path.split("/").pop()}`);
  if (shown?.files) made.href = window.benchtop.url(`${shown.files}${file.path.split("/").map(encodeURIComponent).join("/")}?ticket=${shown.ticket}`);
  made.download = "";
  made.hidden = !shown?.files;
  return made;
};

const stateText = () => {
  const m = stream.model, p = m.progress;
  if (stream.link === "again") return "connection lost, trying again";
  if (stream.link === "lost") return "connection lost";
  if (m.status === "finished") return `finished in ${seconds(m.seconds)}`;
  if (m.status === "stopped") return `stopped after ${seconds(m.seconds)}`;
  if (m.status === "failed") return "failed";
  const doing = p?.note || WORKING[m.start?.mode] || "getting ready";
  if (!p?.total) return doing;
  const left = p.seconds_left ? `, about ${seconds(Math.max(1, Math.round(p.seconds_left)))} left` : "";
  return `${doing}, ${p.done.toLocaleString("en")} of ${p.total.toLocaleString("en")}${p.unit ? ` ${p.unit}` : ""}${left}`;
};

const drawTop = () => {
  const m = stream.model, p = m.progress, s = m.start;
  setText(state, stateText());
  state.dataset.status = m.status ?? "waiting";
  again.hidden = stream.link !== "lost";
  const said = [];
  if (s?.model) said.push([s.model.title || s.model.name, s.model.parameters ? `${shortCount(s.model.parameters)} parameters` : "", [s.model.device, s.model.dtype].filter(Boolean).join(", ")].filter(Boolean).join(" · "));
  if (s?.source) said.push(s.source);
  setText(facts, said.join(" · "));
  facts.title = s?.model?.why || "";
  fill.style.width = `${100 * (over() ? 1 : p?.total ? p.done / p.total : 0)}%`;
  while (notes.children.length < (m.warnings || []).length) notes.append(node("li", "", m.warnings[notes.children.length]));
};

const drawEmpty = (begun) => {
  empty.hidden = begun || over() || stream.link === "refused";
  empty.classList.toggle("is-busy", run !== null && run !== "");
  setText(emptyTitle, run === null ? "Labels will appear here" : "Getting ready");
  setText(emptyText, run === null ? "Press Run: each text gets a label with its probabilities. Ask why, change a word, measure the model on labelled rows, or compare it with another." : stream.model.progress?.note || "Waiting for the model.");
};

const draw = () => {
  const m = stream.model, begun = Boolean(m.start), error = m.error;
  drawEmpty(begun);
  message.hidden = !error;
  if (error) message.replaceChildren(node("span", "bv-message-what", error.what), node("span", "", error.todo));
  stage.hidden = !begun;
  stage.dataset.mode = m.start?.mode ?? "";
  if (begun) {
    const labels = m.start.labels || m.start.model?.labels || [];
    drawTop();
    for (const part of parts) part.update(m, labels, part === rows ? fileLink : Boolean(shown?.files || shown?.model));
  }
  if (over() && !announced) {
    announced = true;
    const n = m.summary?.n ?? m.evaluation?.n ?? m.comparison?.n;
    setText(live, `Run ${m.status}.${n ? ` ${n} rows.` : ""}${error ? ` ${error.what} ${error.todo}` : ""}`);
  }
};

watch("value", follow);
follow();
