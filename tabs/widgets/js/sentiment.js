// The results of a sentiment run: the frame (results_frame.js) hands the run's view model to the cards.
// Runs as gr.HTML's js_on_load: element, props, watch and trigger are given.

const WORKING = { label: "labelling", explain: "explaining", whatif: "trying versions", bias: "probing", evaluate: "evaluating", compare: "comparing" };

const root = resultsRoot("sentiment");
const ask = (name, data) => trigger(name, { run: frame.run(), ...data });
const drawWords = makeWords(tooltip(root));
const asker = makeAsker(drawWords, ask);
const rows = makeRows(asker);
const attributions = makeAttributions(drawWords), variants = makeVariants(), bias = makeBias(), scores = makeScores();
const examples = makeExamples(asker, ask);
const threshold = makeThreshold(examples.open), confusion = makeConfusion(examples.open), comparison = makeComparison(asker);
const parts = [attributions, variants, bias, scores, threshold, confusion, examples, comparison, rows];

const fileLink = (file) => {
  const shown = props.value;
  const made = node("a", "sn-link", `download ${file.path.split("/").pop()}`);
  if (shown?.files) made.href = window.benchtop.url(`${shown.files}${file.path.split("/").map(encodeURIComponent).join("/")}?ticket=${shown.ticket}`);
  made.download = "";
  made.hidden = !shown?.files;
  return made;
};

const frame = resultsFrame(root, {
  prefix: "sn",
  drawMs: 120,
  cards: parts.flatMap((part) => part.cards ?? [part.card]),
  empty: ["Labels will appear here", "Press Run: each text gets a label with its probabilities. Ask why, change a word, measure the model on labelled rows, or compare it with another."],
  waiting: "Waiting for the model.",
  clear: () => {
    asker.clear();
    for (const part of parts) part.clear();
  },
  begun: (m) => Boolean(m.start),
  spell: seconds,
  doing: ({ progress: p, start }) => {
    const doing = p?.note || WORKING[start?.mode] || "getting ready";
    if (!p?.total) return doing;
    const left = p.seconds_left ? `, about ${seconds(Math.max(1, Math.round(p.seconds_left)))} left` : "";
    return `${doing}, ${p.done.toLocaleString("en")} of ${p.total.toLocaleString("en")}${p.unit ? ` ${p.unit}` : ""}${left}`;
  },
  facts: ({ start: s }) => {
    const said = [];
    if (s?.model) said.push([s.model.title || s.model.name, s.model.parameters ? `${shortCount(s.model.parameters)} parameters` : "", [s.model.device, s.model.dtype].filter(Boolean).join(", ")].filter(Boolean).join(" · "));
    if (s?.source) said.push(s.source);
    return said;
  },
  why: (m) => m.start?.model?.why,
  share: ({ progress: p }) => (p?.total ? p.done / p.total : 0),
  update: (m) => {
    const labels = m.start.labels || m.start.model?.labels || [], shown = props.value;
    for (const part of parts) part.update(m, labels, part === rows ? fileLink : Boolean(shown?.files || shown?.model));
  },
  told: (m) => {
    const n = m.summary?.n ?? m.evaluation?.n ?? m.comparison?.n;
    return n ? `${n} rows` : "";
  },
});

const follow = () => {
  frame.follow();
  examples.follow(props.value?.trained ?? null);
  if (props.value?.why) asker.answer(props.value.why);
};
watch("value", follow);
follow();
