// The run view: draws the columns of the run that it follows (run_stream.js), and its beam trees (beam_tree.js).
// Runs as gr.HTML's js_on_load: element, trigger, props and watch are given.

const FULL_WASH_BITS = 6;
const FINISH_WORDS = { eos: "end of text", length: "length limit", "stop string": "stop string", stopped: "stopped" };
const METRIC_WORDS = {
  perplexity: ["ppl", "perplexity under the model"],
  "time to first token": ["TTFT", "time to first token"],
  time_to_first_token: ["TTFT", "time to first token"],
  ttft: ["TTFT", "time to first token"],
  repetition: ["repeats", "share of the text that repeats earlier text"],
  bleu: ["BLEU", "BLEU against the reference"],
  rouge: ["ROUGE", "ROUGE against the reference"],
};

// --- the page's skeleton ---------------------------------------------------------------------------------------------
const root = element.querySelector(".bv-run") || element;
const message = node("div", "bv-message");
message.hidden = true;
message.setAttribute("role", "alert");
const empty = node("div", "bv-empty");
const emptyTitle = node("p", "bv-empty-title");
const emptyText = node("p", "bv-empty-text");
empty.append(emptyTitle, emptyText);
const grid = node("div", "bv-grid");
const hand = node("div", "bv-hand");
hand.hidden = true;
const whenWaiting = (act) => () => { if (stream.model.waiting) { stream.model.waiting = false; drawHand(); act(); } };
const nextButton = button("bv-button bv-button-primary bv-next", "Next token", "", whenWaiting(() => trigger("next", {})));
const runOnButton = button("bv-button bv-run-on", "Run on", "", whenWaiting(() => trigger("run_on", {})));
const handText = node("span", "bv-muted");
hand.append(nextButton, runOnButton, handText);
const foot = node("div", "bv-foot");
const state = node("span", "bv-state");
const again = button("bv-link bv-again", "follow again", "", () => stream.again());
again.hidden = true;
const legend = node("span", "bv-legend");
legend.append(node("span", "bv-legend-text", "surprisal 0"), node("i", "bv-legend-bar"), node("span", "bv-legend-text", `${FULL_WASH_BITS} bits or more`));
foot.append(state, again, legend);
const notes = node("ul", "bv-notes");
notes.setAttribute("aria-label", "Warnings");
notes.hidden = true;
const beams = node("div", "bv-beams");
const live = node("div", "bv-offscreen");
live.setAttribute("aria-live", "polite");
root.append(message, empty, grid, hand, foot, notes, live);
root.append(beams);
const tip = tooltip(root);

// --- the run on show -------------------------------------------------------------------------------------------------
let run = null, cards = [], trees = new Map(), picked = null, showIds = false, frame = 0, announced = false, sawHand = false;

const clear = () => {
  grid.textContent = "";
  beams.textContent = "";
  cards = [];
  trees = new Map();
  announced = false;
  sawHand = false;
  setText(live, "");
  tip.hide();
};

const plan = () => { if (!frame) frame = requestAnimationFrame(() => { frame = 0; draw(); }); };
const stream = runStream(() => element.isConnected, plan, clear);

const follow = () => {
  const value = props.value;
  const next = value ? value.run ?? "" : null;
  if (value && value.url && next === run && stream.link !== "refused") {
    if (value.selected !== undefined) pick(value.selected);
    stream.renew(value.url);
    return;
  }
  run = next;
  root.dataset.run = run ?? "";
  picked = (value && value.selected) || null;
  if (value && value.model) stream.follow(null, structuredClone(value.model));
  else stream.follow((value && value.url) || null);
};

// --- drawing ---------------------------------------------------------------------------------------------------------
const over = () => ["finished", "stopped", "failed"].includes(stream.model.status);

const draw = () => {
  const columns = stream.model.columns || [];
  if (columns.length < cards.length) clear();
  while (cards.length < columns.length) cards.push(makeCard(cards.length));
  grid.dataset.columns = columns.length;
  grid.hidden = columns.length === 0;
  drawEmpty(columns.length);
  const grown = columns.map((column, i) => drawCard(cards[i], column));
  columns.forEach((_, i) => { if (grown[i] && cards[i].atEnd) cards[i].flow.scrollTop = cards[i].flow.scrollHeight; });
  drawBeams(columns);
  drawMessage();
  drawHand();
  drawFoot(columns);
  if (over() && !announced) announce(columns);
};

const drawEmpty = (count) => {
  empty.hidden = count > 0 || over() || stream.link === "refused";
  empty.classList.toggle("is-busy", run !== null && run !== "");
  if (run === null) {
    setText(emptyTitle, "Tokens will appear here");
    setText(emptyText, "Press Run: one card per strategy fills token by token, each token shaded by how much it surprised the model.");
  } else {
    setText(emptyTitle, "Getting ready");
    setText(emptyText, progressText() || "Waiting for the first token.");
  }
};

const progressText = () => {
  const p = stream.model.progress;
  if (!p) return "";
  const amount = p.total ? ` ${shortNumber(p.done)} of ${shortNumber(p.total)}${p.unit ? ` ${p.unit}` : ""}` : "";
  const left = typeof p.seconds_left === "number" ? `, about ${Math.ceil(p.seconds_left)} s left` : "";
  return `${p.note || "Working"}${amount}${left}`;
};

const makeCard = (index) => {
  const box = node("article", "bv-card bv-column");
  box.dataset.column = index;
  const head = node("header", "bv-column-head");
  const title = node("h3", "bv-card-title");
  const dot = node("span", "bv-dot");
  dot.setAttribute("role", "img");
  const ids = button("bv-link bv-ids", "ids", "Show the token ids", () => setIds(!showIds));
  ids.setAttribute("aria-pressed", String(showIds));
  const card = { index, box, title, dot, ids, shown: [], spans: [], prompt: null, tab: 0, atEnd: true };
  const copy = copyButton("bv-link bv-copy", "copy", "Copy the prompt and its continuation as text", () => textOf(index));
  card.rate = node("span", "bv-rate");
  head.append(title, dot, node("span", "bv-gap"), ids, copy, card.rate);
  card.flow = node("div", "bv-flow");
  card.flow.setAttribute("role", "listbox");
  card.flow.setAttribute("aria-orientation", "horizontal");
  card.promptBox = node("span", "bv-prompt");
  card.promptBox.setAttribute("role", "presentation");
  card.caret = node("span", "bv-caret");
  card.caret.setAttribute("aria-hidden", "true");
  card.flow.append(card.promptBox, card.caret);
  card.lines = node("div", "bv-lines");
  card.metrics = node("footer", "bv-metrics");
  box.append(head, card.flow, card.lines, card.metrics);
  box.classList.toggle("show-ids", showIds);
  listen(card);
  grid.append(box);
  return card;
};

const textOf = (index) =>
  [...(stream.model.prompt || []), ...((stream.model.columns || [])[index] || { tokens: [] }).tokens].map((t) => t.t).join("");

const setIds = (on) => {
  showIds = on;
  for (const card of cards) {
    card.box.classList.toggle("show-ids", on);
    card.ids.setAttribute("aria-pressed", String(on));
  }
};

const drawCard = (card, column) => {
  setText(card.title, column.title);
  card.flow.setAttribute("aria-label", `Tokens of ${column.title}`);
  const running = column.state === "running" && !over() && stream.link !== "refused";
  const mark = running ? (stream.model.waiting ? "waiting" : "running") : stream.model.status === "failed" && !column.finish ? "failed"
    : column.finish === "stopped" ? "stopped" : "done";
  if (card.dot.dataset.state !== mark) {
    card.dot.dataset.state = mark;
    card.dot.setAttribute("aria-label", mark);
    card.dot.title = mark;
  }
  card.box.classList.toggle("is-running", running);
  setText(card.rate, column.rate === null || column.rate === undefined ? "" : `${shortNumber(column.rate)} tok/s`);
  card.rate.title = card.rate.textContent ? "tokens per second" : "";
  if (card.prompt !== stream.model.prompt) drawPrompt(card);
  const grew = drawTokens(card, column.tokens);
  card.caret.hidden = !running;
  const lines = drawLines(card, column), metrics = drawMetrics(card, column);
  return grew || lines || metrics; // each moves the end of the flow
};

const drawPrompt = (card) => {
  card.prompt = stream.model.prompt;
  card.promptBox.textContent = "";
  for (const token of stream.model.prompt || []) {
    const span = node("span", "bv-ptok");
    span.dataset.id = token.id;
    span.bench = token;
    paintToken(span, token);
    card.promptBox.append(span);
  }
};

const drawTokens = (card, tokens) => {
  const fresh = document.createDocumentFragment();
  let grew = false;
  while (card.spans.length > tokens.length) { card.spans.pop().remove(); card.shown.pop(); }
  for (let i = 0; i < tokens.length; i++) {
    if (card.shown[i] === tokens[i]) continue;
    const span = tokenSpan(card, tokens[i], i);
    if (i < card.spans.length) card.spans[i].replaceWith(span); else { fresh.append(span); grew = true; }
    card.spans[i] = span;
    card.shown[i] = tokens[i];
  }
  if (grew) card.flow.insertBefore(fresh, card.caret);
  return grew;
};

const tokenSpan = (card, token, i) => {
  const span = node("span", "bv-tok");
  span.setAttribute("role", "option");
  span.setAttribute("aria-selected", "false");
  span.tabIndex = i === card.tab ? 0 : -1;
  span.dataset.i = i;
  span.dataset.id = token.id;
  span.bench = token;
  span.style.setProperty("--s", Math.min(1, token.s / FULL_WASH_BITS).toFixed(3));
  if (token.f) span.classList.add("is-forced");
  if (picked && picked.column === card.index && picked.index === i) markPicked(span, true);
  paintToken(span, token);
  return span;
};

const drawLines = (card, column) => {
  const lines = [];
  if (column.drafts && column.drafts.proposed) {
    const { accepted, proposed } = column.drafts;
    lines.push(["", `${accepted} of ${proposed} drafted tokens accepted (${Math.round((100 * accepted) / proposed)}%)`]);
  }
  if (column.check) lines.push([column.check.same ? "is-same" : "is-different", `${column.check.same ? "✓ same as generate():" : "≠ differs from generate():"} ${column.check.text}`]);
  if (column.note) lines.push(["is-note", column.note]);
  const key = JSON.stringify(lines);
  if (card.linesKey === key) return false;
  card.linesKey = key;
  card.lines.textContent = "";
  for (const [cls, text] of lines) card.lines.append(node("p", `bv-line ${cls}`.trim(), text));
  return true;
};

const metricParts = (column) => {
  const parts = (column.metrics || []).map((m) => {
    const [word, title] = METRIC_WORDS[m.name.toLowerCase()] || [m.name, m.name];
    const unit = m.unit === "%" ? "%" : m.unit ? ` ${m.unit}` : "";
    return [word, `${shortNumber(m.value)}${unit}`, title];
  });
  const count = column.tokens.length;
  parts.push(["", plural(count, "token"), "tokens produced"]);
  if (column.finish) parts.push(["", FINISH_WORDS[column.finish] || column.finish, "why this column ended"]);
  return parts;
};

const drawMetrics = (card, column) => {
  const parts = metricParts(column);
  const key = JSON.stringify(parts);
  if (card.metricsKey === key) return false;
  card.metricsKey = key;
  card.metrics.textContent = "";
  for (const [word, value, title] of parts) {
    const part = node("span", "bv-metric", word ? `${word} ${value}` : value);
    part.title = title;
    card.metrics.append(part);
  }
  return true;
};

const drawBeams = (columns) => {
  const place = (element.closest(".bt-lab") || document).querySelector(".bv-beams-here"); // a page may want it further down
  if (place && beams.parentElement !== place) place.append(beams);
  columns.forEach((column, i) => {
    if (!column.beam || !column.beam.steps.length) return;
    let tree = trees.get(i);
    if (!tree) {
      tree = beamTree(tip);
      trees.set(i, tree);
      beams.append(tree.card);
    }
    if (!tree.update(column.beam, column.title)) plan();
  });
};

const drawMessage = () => {
  const failed = stream.model.error;
  message.hidden = !failed;
  const key = failed ? JSON.stringify(stream.model.error) : "";
  if (message.dataset.key === key) return;
  message.dataset.key = key;
  message.textContent = "";
  if (failed) message.append(node("strong", "bv-message-what", stream.model.error.what), node("span", "bv-message-todo", stream.model.error.todo));
};

const drawHand = () => {
  if (stream.model.waiting) sawHand = true;
  hand.hidden = !sawHand || over();
  for (const made of [nextButton, runOnButton]) made.setAttribute("aria-disabled", String(!stream.model.waiting));
  setText(handText, stream.model.waiting ? "One token at a time: look, then go on." : "…");
};

const stateText = () => {
  if (run === null) return "";
  if (stream.link === "lost") return "The connection is lost; what came so far stays here.";
  if (stream.link === "refused") return "not followed any more";
  if (stream.link === "again") return "reconnecting…";
  const time = typeof stream.model.seconds === "number" ? ` after ${shortNumber(stream.model.seconds)} s` : "";
  if (stream.model.status === "finished") return `finished${time}`;
  if (stream.model.status === "stopped") return `stopped${time}`;
  if (stream.model.status === "failed") return `failed${time}`;
  if (!(stream.model.columns || []).length) return ""; // the empty card says it
  return progressText() || (stream.model.waiting ? "waiting for you" : "running");
};

const drawFoot = (columns) => {
  setText(state, stateText());
  again.hidden = stream.link !== "lost";
  legend.hidden = columns.length === 0;
  const warnings = stream.model.warnings || [];
  notes.hidden = warnings.length === 0;
  while (notes.children.length > warnings.length) notes.lastChild.remove();
  for (let i = notes.children.length; i < warnings.length; i++) notes.append(node("li", "bv-line is-note", warnings[i]));
};

const announce = (columns) => {
  announced = true;
  const each = columns.map((c) => `${c.title}: ${plural(c.tokens.length, "token")}`).join("; ");
  const error = stream.model.error ? ` ${stream.model.error.what} ${stream.model.error.todo}` : "";
  setText(live, `Run ${stream.model.status}. ${each}.${error}`);
};

// --- looking at a token ----------------------------------------------------------------------------------------------
const markPicked = (span, on) => {
  span.classList.toggle("is-picked", on);
  span.setAttribute("aria-selected", String(on));
};

const pick = (place) => {
  for (const span of grid.querySelectorAll(".bv-tok.is-picked")) markPicked(span, false);
  picked = place;
  const card = place && cards[place.column];
  if (card && card.spans[place.index]) markPicked(card.spans[place.index], true);
};

// The microscope says which token it shows (or none), so that the outline never points elsewhere.
document.addEventListener("benchtop:microscope", (e) => {
  const shown = e.detail;
  if (!element.isConnected || (shown && shown.run && shown.run !== run)) return;
  pick(shown ? { column: shown.column, index: shown.index } : null);
});

const showTip = (span) => {
  const token = span.bench;
  const lines = [["id", String(token.id)], ["piece", token.piece || "(none)"]];
  if (token.p !== undefined) {
    lines.push(["probability", percent(token.p)], ["rank", String(token.rank)], ["surprisal", `${token.s.toFixed(2)} bits`], ["entropy", `${token.h.toFixed(2)} bits`]);
    if (token.f) lines.push(["placed", "by a branch"]);
  } else lines.push(["part of", "the prompt"]);
  tip.show(span, nameOf(token), lines);
};

const focusToken = (card, i) => {
  const to = card.spans[Math.max(0, Math.min(i, card.spans.length - 1))];
  if (!to) return;
  const from = card.spans[card.tab];
  if (from) from.tabIndex = -1;
  card.tab = Number(to.dataset.i);
  to.tabIndex = 0;
  to.focus();
};

const choose = (card, span) => {
  const index = Number(span.dataset.i);
  focusToken(card, index);
  pick({ column: card.index, index });
  trigger("pick", { column: card.index, index, run });
};

const listen = (card) => {
  const flow = card.flow;
  flow.addEventListener("scroll", () => {
    card.atEnd = flow.scrollTop + flow.clientHeight >= flow.scrollHeight - 12;
  }, { passive: true });
  const token = (e) => e.target.closest(".bv-tok, .bv-ptok");
  flow.addEventListener("pointerover", (e) => { const span = token(e); if (span) showTip(span); else tip.hide(); });
  flow.addEventListener("pointerleave", () => tip.hide());
  flow.addEventListener("focusin", (e) => { const span = token(e); if (span) showTip(span); });
  flow.addEventListener("focusout", () => tip.hide());
  flow.addEventListener("click", (e) => {
    const span = e.target.closest(".bv-tok");
    const selection = getSelection();
    if (span && (!selection || selection.isCollapsed)) choose(card, span);
  });
  flow.addEventListener("keydown", (e) => {
    const span = e.target.closest(".bv-tok");
    if (!span) return;
    const i = Number(span.dataset.i);
    const to = { ArrowRight: i + 1, ArrowLeft: i - 1, Home: 0, End: card.spans.length - 1 }[e.key];
    if (e.key === "Escape") tip.hide();
    else if (e.key === "Enter" || e.key === " ") { e.preventDefault(); choose(card, span); }
    else if (to !== undefined) { e.preventDefault(); focusToken(card, to); }
    else if (e.key === "ArrowDown" || e.key === "ArrowUp") { e.preventDefault(); focusLine(card, i, e.key === "ArrowDown" ? 1 : -1); }
  });
};

// Up and down go to the nearest token of the next line that has one.
const focusLine = (card, i, way) => {
  const from = card.spans[i].getClientRects()[0];
  let bestIndex = -1, bestGap = Infinity, line = null;
  for (let k = i + way; k >= 0 && k < card.spans.length; k += way) {
    const box = card.spans[k].getClientRects()[0];
    if (!box || Math.abs(box.top - from.top) < 4) continue;
    if (line === null) line = box.top;
    if (Math.abs(box.top - line) > 4) break;
    const gap = Math.abs(box.left - from.left);
    if (gap < bestGap) { bestGap = gap; bestIndex = k; }
  }
  if (bestIndex >= 0) focusToken(card, bestIndex);
};

watch("value", follow);
follow();
