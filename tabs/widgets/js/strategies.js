// The results of a strategies run: follows the run (run_stream.js) and hands its view model to the cards.
// Runs as gr.HTML's js_on_load: element, props and watch are given.

const DRAW_MS = 200;      // figures need not be redrawn more often than somebody looks
const BUDGET_WORDS = { epochs: "epochs", examples: "examples", steps: "optimizer steps", seconds: "seconds" };

const root = element.querySelector(".bv-strategies") || element;
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
const readings = node("ul", "bs-readings");
readings.setAttribute("aria-label", "What the curves say");
const notes = node("ul", "bs-notes");
top.append(line, bar, readings, notes);

const live = node("div", "bv-offscreen");
live.setAttribute("aria-live", "polite");
const curves = makeCurves(), toy = makeToy(), scores = makeScores(), matrices = makeConfusion(), pipeline = makePipeline();
const stage = node("div", "bs-results");
stage.hidden = true;
stage.append(top, curves.cards[0], toy.card, scores.card, curves.cards[1], matrices.card, pipeline.card);
root.append(message, empty, stage, live);

let run = null, timer = 0, drawnAt = 0, announced = false;

const clear = () => {
  for (const part of [curves, toy, matrices, pipeline]) part.clear();
  readings.textContent = "";
  notes.textContent = "";
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
  if (value && value.url && next === run && stream.link !== "refused") { stream.renew(value.url); return; }
  run = next;
  root.dataset.run = run ?? "";
  if (value && value.model) stream.follow(null, structuredClone(value.model));
  else stream.follow((value && value.url) || null);
};

const stateText = () => {
  const m = stream.model;
  if (stream.link === "again") return "connection lost, trying again";
  if (stream.link === "lost") return "connection lost";
  if (m.status === "finished") return `finished in ${m.seconds.toFixed(1)} s`;
  if (m.status === "stopped") return `stopped after ${m.seconds.toFixed(1)} s`;
  if (m.status === "failed") return "failed";
  const p = m.progress;
  return p && p.total ? `training, ${Math.round(100 * p.done)}%` : "getting ready";
};

const drawTop = () => {
  const m = stream.model;
  setText(state, stateText());
  state.dataset.status = m.status ?? "waiting";
  again.hidden = stream.link !== "lost";
  const parts = [];
  if (m.budget) parts.push(`budget ${m.budget.amount.toLocaleString("en")} ${BUDGET_WORDS[m.budget.kind]} for each`);
  for (const [name, data] of Object.entries(m.data || {})) parts.push(`${name}: ${data.train} to train, ${data.validation} to validate, ${data.test} to test`);
  setText(facts, parts.join(" · "));
  fill.style.width = `${100 * (over() ? 1 : m.progress?.total ? m.progress.done : 0)}%`;
  const look = lookOf(m.columns || []);
  const said = (m.columns || []).flatMap((column) => column.readings.map((reading) => ({ column, reading })));
  while (readings.children.length < said.length) {
    const { column, reading } = said[readings.children.length];
    const item = node("li", "bs-reading");
    item.dataset.name = reading.name;
    const [word, rest] = [reading.text.slice(0, reading.text.indexOf(":")), reading.text.slice(reading.text.indexOf(":") + 1)];
    item.append(lineKey(look(column)), node("span", "bs-reading-who", column.title), node("strong", "", word), node("span", "", rest));
    readings.append(item);
  }
  const warned = m.warnings || [];
  while (notes.children.length < warned.length) notes.append(node("li", "", warned[notes.children.length]));
};

const drawEmpty = (count) => {
  empty.hidden = count > 0 || over() || stream.link === "refused";
  empty.classList.toggle("is-busy", run !== null && run !== "");
  if (run === null) {
    setText(emptyTitle, "Curves will appear here");
    setText(emptyText, "Press Run: each model learns with each strategy from the same first weights and on the same budget, and the curves grow side by side.");
  } else {
    setText(emptyTitle, "Getting ready");
    setText(emptyText, stream.model.progress?.note || "Waiting for the first reading.");
  }
};

const draw = () => {
  const m = stream.model, columns = m.columns || [];
  drawEmpty(columns.length);
  const error = m.error;
  message.hidden = !error;
  if (error) message.replaceChildren(node("span", "bv-message-what", error.what), node("span", "", error.todo));
  stage.hidden = !columns.length;
  if (columns.length) {
    drawTop();
    curves.update(m);
    toy.update(m);
    scores.update(m);
    matrices.update(m);
    pipeline.update(m);
  }
  if (over() && !announced) {
    announced = true;
    const each = columns.filter((c) => c.result).map((c) => `${c.title}: ${percent(c.result.test_accuracy)} right on the test set`);
    setText(live, `Run ${m.status}. ${each.join("; ")}.${error ? ` ${error.what} ${error.todo}` : ""}`);
  }
};

watch("value", follow);
follow();
