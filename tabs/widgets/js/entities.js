// The results of an entities run: the frame (results_frame.js) hands the run's view model to the cards.
// Runs as gr.HTML's js_on_load: element, props and watch are given.

const root = resultsRoot("entities");
const tip = tooltip(root);
const parts = [makeDocuments(tip), makeNames(), makeGraph(), makeStrategies(tip), makeAlignments(), makeEvaluation(), makeErrors()];

const frame = resultsFrame(root, {
  prefix: "bs",
  drawMs: 120,
  cards: parts.map((part) => part.card),
  empty: ["Entities will appear here", "Press Run: the model labels every token of your text, and persons, organizations and places stand out in it."],
  waiting: "Waiting for the model.",
  clear: () => {
    for (const part of parts) part.clear();
    tip.hide();
  },
  begun: (m) => Boolean(m.start),
  spell: (seconds) => `${seconds.toFixed(1)} s`,
  doing: ({ progress: p }) => {
    if (!p || !p.total) return "getting ready";
    const left = typeof p.seconds_left === "number" ? `, about ${Math.max(1, Math.round(p.seconds_left))} s left (estimate)` : "";
    return `${p.done.toLocaleString("en")} of ${p.total.toLocaleString("en")} ${p.unit}${left}`;
  },
  facts: (m) => {
    const said = [], model = m.start?.model;
    if (model) said.push(model.title ?? model.name, `${model.device} · ${model.dtype}`);
    if (m.start?.source) said.push(m.start.source);
    if (m.result?.tokens) said.push(`${m.result.tokens.toLocaleString("en")} tokens`, `${Math.round(m.result.tokens_per_second).toLocaleString("en")} tokens/s`);
    return said;
  },
  why: (m) => { const model = m.start?.model; return model?.why ? `Why ${model.device}: ${model.why}` : ""; },
  share: ({ progress: p }) => (p?.total ? p.done / p.total : 0),
  update: (m) => {
    const colour = coloursOf(m.start.labels || []);
    for (const part of parts) part.update(m, colour, props.value);
  },
  told: ({ table }) => (table ? `${plural((table.total ?? 0) || table.rows.length, "different name")} found` : ""),
});

watch("value", frame.follow);
frame.follow();
