// The results of a quantization run: the frame (results_frame.js) hands the run's view model to the cards.
// Runs as gr.HTML's js_on_load: element, props, watch and trigger are given.

const DOING = { compare: "measuring", plan: "planning", lens: "looking", sweep: "changing one layer after another", chat: "rendering", save: "saving" };

const root = resultsRoot("quantization");
const lens = makeLens((run) => trigger("back", { run }));
const schemes = makeSchemes(), saved = makeSaved();
const parts = [
  makeVerdicts(), makePlan(), makeCache(),
  schemes, makeFront(), makeTimes(), makeTexts(),
  lens, makeSweep((layer) => trigger("layer", { layer, run: frame.run() })),
  makeFormats(), makeWrong(), makeCertificate(), saved,
];
const [verdicts, plan] = parts;
const order = [plan, verdicts, ...parts.slice(2)];

const frame = resultsFrame(root, {
  prefix: "qz",
  drawMs: 150,
  cards: order.map((part) => part.card),
  empty: ["Measurements will appear here", "Press Run: each scheme is loaded, and its memory, speed and quality are measured on your prompt. Other modes plan memory, look into a layer, or show what a chat model reads."],
  waiting: "Waiting for the model.",
  clear: () => { for (const part of parts) part.clear(); },
  begun: (m) => Boolean(m.start || m.plan) || (Boolean(props.value?.again) && lens.shown()),
  spell: seconds,
  doing: ({ progress: p, start }) => {
    const doing = p?.note || DOING[start?.mode] || "getting ready";
    if (!p?.total) return doing;
    const left = p.seconds_left ? `, about ${seconds(Math.max(1, Math.round(p.seconds_left)))} left` : "";
    return `${doing}, ${p.done.toLocaleString("en")} of ${p.total.toLocaleString("en")}${p.unit ? ` ${p.unit}` : ""}${left}`;
  },
  facts: ({ start: s }) => {
    const said = [];
    const m = s?.model;
    if (m && typeof m === "object") said.push([m.title || m.name, num(m.parameters) ? `${shortCount(m.parameters)} parameters` : "", [m.device, m.dtype].filter(Boolean).join(", ")].filter(Boolean).join(" · "));
    if (s?.device?.name) said.push(s.device.name === m?.device ? "" : s.device.name);
    if (num(s?.prompt_tokens)) said.push(many(s.prompt_tokens, "prompt token"));
    if (num(s?.scored_tokens)) said.push(`${many(s.scored_tokens, "scored token")}${s.source ? ` of ${s.source}` : ""}`);
    return said.filter(Boolean);
  },
  why: (m) => m.start?.model?.why,
  share: ({ progress: p }) => (p?.total ? p.done / p.total : 0),
  update: (m) => {
    if (!m.schemes) return;   // nothing of this run has come yet; what stands there is the last one's
    for (const part of parts) part.update(m);
  },
  told: (m) => {
    if (m.schemes?.length) return many(m.schemes.length, "scheme");
    if (m.layers?.length) return many(m.layers.length, "layer");
    return m.lens?.sentence || m.plan?.sentence || "";
  },
});

watch("value", frame.follow);
frame.follow();
