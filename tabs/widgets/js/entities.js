// The results of an entities run: follows the run (run_stream.js) and hands its view model to the cards.
// Runs as gr.HTML's js_on_load: element, props and watch are given.

const DRAW_MS = 120;
const root = element.querySelector(".bv-entities") || element;
const message = node("div", "bv-message");
message.hidden = true;
message.setAttribute("role", "alert");
const empty = node("div", "bv-empty");
const emptyTitle = node("p", "bv-empty-title");
const emptyText = node("p", "bv-empty-text");
empty.append(emptyTitle, emptyText);

const top = node("section", "bv-card bs-card bs-top");
const line = node("div", "bs-top-line");
const state = node("span", "bs-state");
const facts = node("span", "bs-facts bv-muted");
const again = button("bv-link bv-again", "follow again", "", () => stream.again());
again.hidden = true;
line.append(state, again, facts);
const bar = node("div", "bs-bar");
const fill = node("span", "bs-fill");
bar.append(fill);
const notes = node("ul", "bs-notes");
top.append(line, bar, notes);

const live = node("div", "bv-offscreen");
live.setAttribute("aria-live", "polite");
const tip = tooltip(root);
const parts = [makeDocuments(tip), makeNames(), makeGraph(), makeStrategies(tip), makeAlignments(), makeEvaluation(), makeErrors()];
const stage = node("div", "bs-results");
stage.hidden = true;
stage.append(top, ...parts.map((part) => part.card));
root.append(message, empty, stage, live);

let run = null, timer = 0, drawnAt = 0, announced = false;

const clear = () => {
  for (const part of parts) part.clear();
  notes.textContent = "";
  tip.hide();
  announced = false;
  setText(live, "");
};

const over = () => ["finished", "stopped", "failed"].includes(stream.model.status);
const plan = () => {
  if (timer) return;
  const wait = over() || !drawnAt ? 0 : Math.max(0, DRAW_MS - (performance.now() - drawnAt));
  timer = setTimeout(() => { timer = 0; drawnAt = performance.now(); draw(); }, wait);
};
const stream = runStream(() => element.isConnected, plan, clear);

const follow = () => {
  const value = props.value;
  const next = value ? value.run ?? "" : null;
  if (value && value.url && next === run && stream.link !== "refused") { stream.renew(value.url); plan(); return; }
  run = next;
  root.dataset.run = run ?? "";
  stream.follow((value && value.url) || null);
};

const stateText = () => {
  const m = stream.model;
  if (stream.link === "again") return "connection lost, trying again";
  if (stream.link === "lost") return "connection lost";
  if (m.status === "finished") return `finished in ${m.seconds.toFixed(1)} s`;
  if (m.status === "stopped") return `stopped after ${m.seconds.toFixed(1)} s`;
  if (m.status === "failed") return "failed";
  const p = m.progress;
  if (!p || !p.total) return "getting ready";
  const left = typeof p.seconds_left === "number" ? `, about ${Math.max(1, Math.round(p.seconds_left))} s left (estimate)` : "";
  return `${p.done.toLocaleString("en")} of ${p.total.toLocaleString("en")} ${p.unit}${left}`;
};

const drawTop = () => {
  const m = stream.model;
  setText(state, stateText());
  state.dataset.status = m.status ?? "waiting";
  again.hidden = stream.link !== "lost";
  const said = [], model = m.start?.model;
  if (model) said.push(model.title ?? model.name, `${model.device} · ${model.dtype}`);
  if (m.start?.source) said.push(m.start.source);
  if (m.result?.tokens) said.push(`${m.result.tokens.toLocaleString("en")} tokens`, `${Math.round(m.result.tokens_per_second).toLocaleString("en")} tokens/s`);
  setText(facts, said.join(" · "));
  if (model?.why) facts.title = `Why ${model.device}: ${model.why}`;
  fill.style.width = `${100 * (over() ? 1 : m.progress?.total ? m.progress.done / m.progress.total : 0)}%`;
  const warned = m.warnings || [];
  while (notes.children.length < warned.length) notes.append(node("li", "", warned[notes.children.length]));
};

const drawEmpty = (ready) => {
  empty.hidden = ready || over() || stream.link === "refused";
  empty.classList.toggle("is-busy", run !== null && run !== "");
  if (run === null) {
    setText(emptyTitle, "Entities will appear here");
    setText(emptyText, "Press Run: the model labels every token of your text, and persons, organizations and places stand out in it.");
  } else {
    setText(emptyTitle, "Getting ready");
    setText(emptyText, stream.model.progress?.note || "Waiting for the model.");
  }
};

const draw = () => {
  const m = stream.model, ready = Boolean(m.start);
  drawEmpty(ready);
  const error = m.error;
  message.hidden = !error;
  if (error) message.replaceChildren(node("span", "bv-message-what", error.what), node("span", "", error.todo));
  stage.hidden = !ready;
  if (ready) {
    const colour = coloursOf(m.start.labels || []);
    drawTop();
    for (const part of parts) part.update(m, colour, props.value);
  }
  if (over() && !announced) {
    announced = true;
    const found = (m.table?.total ?? 0) || (m.table?.rows.length ?? 0);
    setText(live, `Run ${m.status}.${m.table ? ` ${plural(found, "different name")} found.` : ""}${error ? ` ${error.what} ${error.todo}` : ""}`);
  }
};

watch("value", follow);
follow();
