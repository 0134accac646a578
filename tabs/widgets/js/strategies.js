// The results of a strategies run: the frame (results_frame.js) hands the run's view model to the cards.
// Runs as gr.HTML's js_on_load: element, props and watch are given.

const BUDGET_WORDS = { epochs: "epochs", examples: "examples", steps: "optimizer steps", seconds: "seconds" };

const readings = node("ul", "bs-readings");
readings.setAttribute("aria-label", "What the curves say");
const curves = makeCurves(), toy = makeToy(), scores = makeScores(), matrices = makeConfusion(), pipeline = makePipeline();

const drawReadings = (columns) => {
  const look = lookOf(columns);
  const said = columns.flatMap((column) => column.readings.map((reading) => ({ column, reading })));
  while (readings.children.length < said.length) {
    const { column, reading } = said[readings.children.length];
    const item = node("li", "bs-reading");
    item.dataset.name = reading.name;
    const [word, rest] = [reading.text.slice(0, reading.text.indexOf(":")), reading.text.slice(reading.text.indexOf(":") + 1)];
    item.append(lineKey(look(column)), node("span", "bs-reading-who", column.title), node("strong", "", word), node("span", "", rest));
    readings.append(item);
  }
};

const frame = resultsFrame(resultsRoot("strategies"), {
  prefix: "bs",
  drawMs: 200,      // figures need not be redrawn more often than somebody looks
  cards: [curves.cards[0], toy.card, scores.card, curves.cards[1], matrices.card, pipeline.card],
  inTop: [readings],
  empty: ["Curves will appear here", "Press Run: each model learns with each strategy from the same first weights and on the same budget, and the curves grow side by side."],
  waiting: "Waiting for the first reading.",
  clear: () => {
    for (const part of [curves, toy, matrices, pipeline]) part.clear();
    readings.textContent = "";
  },
  begun: (m) => Boolean(m.columns?.length),
  spell: (seconds) => `${seconds.toFixed(1)} s`,
  doing: ({ progress: p }) => (p && p.total ? `training, ${Math.round(100 * p.done)}%` : "getting ready"),
  facts: (m) => {
    const said = m.budget ? [`budget ${m.budget.amount.toLocaleString("en")} ${BUDGET_WORDS[m.budget.kind]} for each`] : [];
    for (const [name, data] of Object.entries(m.data || {})) said.push(`${name}: ${data.train} to train, ${data.validation} to validate, ${data.test} to test`);
    return said;
  },
  share: ({ progress: p }) => (p?.total ? p.done : 0),
  update: (m) => {
    drawReadings(m.columns);
    for (const part of [curves, toy, scores, matrices, pipeline]) part.update(m);
  },
  told: ({ columns }) => (columns || []).filter((c) => c.result).map((c) => `${c.title}: ${percent(c.result.test_accuracy)} right on the test set`).join("; "),
});

watch("value", frame.follow);
frame.follow();
