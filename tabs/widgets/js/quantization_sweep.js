// Layer by layer: what changing one layer alone costs the model, as bars by part and depth that grow while the run goes on.
// A bar is a button: it opens that layer under the lens.

// [field, words, how it is written, whether a high bar is bad]
const COSTS = {
  kl: ["KL", "mean divergence of the next-token distribution, in nats", nats, true],
  delta: ["Δ perplexity", "change of the model's perplexity when this layer alone is changed", (x) => signed(x), true],
  top1: ["Changed tokens", "share of positions whose most likely token changes", (x) => `${(100 * x).toFixed(2)}%`, true],
  snr_db: ["Noise", "error over signal of the weights alone, in dB: no text is read for it", (x) => (num(x) ? `${(-x).toFixed(1)} dB` : "none"), true],
};
const COST_CHOICES = Object.entries(COSTS).map(([name, [words]]) => [name, words]);
// A layer's name inside its block: the same in every block.
const titleOf = (layer) => layer.title || layer.layer.replace(/^.*?\.\d+\./, "");
const costOf = (layer, cost) => {
  const value = layer[cost];
  if (!num(value)) return null;
  return cost === "top1" ? 1 - value : value;
};
// Each value as a share of the track's height (below zero: it hangs), and where on the track zero lies.
const scaleOf = (values, cost) => {
  const known = values.filter(num);
  if (cost === "snr_db") {
    const low = Math.min(...known), high = Math.max(...known);   // a low ratio is much noise: the tallest bar
    return { floor: 0, height: (v) => (num(v) ? 0.15 + 0.85 * (high > low ? (high - v) / (high - low) : 1) : 0) };
  }
  const high = Math.max(...known, 0), low = Math.min(...known, 0), span = high - low || 1;
  return { floor: -low / span, height: (v) => (num(v) ? v / span : 0) };
};

const makeSweep = (openLayer) => {
  const { card, head } = cardOf("qz-sweep", "Sensitivity by layer", "each layer changed alone; click a bar to put that layer under the lens");
  const choice = { cost: "kl" };
  let model = null, shape = "";
  head.append(node("span", "bv-gap"), segments("What the bars show", COST_CHOICES, choice.cost, (value) => { choice.cost = value; shape = ""; draw(); }));
  const told = node("div", "qz-told"), hint = node("p", "bv-muted qz-small");
  const wrap = scrolling("Sensitivity by layer");
  card.append(told, hint, wrap);

  // Bars stand on one line, which lies higher where some of them hang below it.
  const barOf = (layer, height, floor, text, wide) => {
    const made = button("qz-layer", "", `${layer.layer}: ${COSTS[choice.cost][0]} ${text}. Open it under the lens.`, () => openLayer(layer.layer));
    made.dataset.layer = layer.layer;
    const track = node("span", "qz-layer-track"), fill = node("i", height < 0 ? "is-below" : "");
    fill.style.height = `${Math.max(2, 100 * Math.abs(height))}%`;
    fill.style.bottom = height < 0 ? "auto" : `${100 * floor}%`;
    fill.style.top = height < 0 ? `${100 * (1 - floor)}%` : "auto";
    if (floor) track.style.setProperty("--floor", `${100 * (1 - floor)}%`);
    track.classList.toggle("has-below", floor > 0);
    track.append(fill);
    made.append(track, node("span", "qz-layer-value", wide ? text : ""));
    return made;
  };

  const draw = () => {
    const layers = model?.layers || [];
    const now = `${frame.run()}|${choice.cost}|${layers.length}|${Boolean(model?.summary)}`;
    if (now === shape) return;
    shape = now;
    const [, words, write] = COSTS[choice.cost];
    setText(hint, `${words[0].toUpperCase()}${words.slice(1)}. Rows are the parts of a block, columns its depth.`);
    const rows = [...new Map(layers.map((layer) => [titleOf(layer), layer.part]))], depths = [...new Set(layers.map((layer) => layer.depth))].sort((a, b) => (a ?? -1) - (b ?? -1));
    const { height, floor } = scaleOf(layers.map((layer) => costOf(layer, choice.cost)), choice.cost);
    const at = new Map(layers.map((layer) => [`${titleOf(layer)}|${layer.depth}`, layer]));
    const most = model?.summary?.most;
    const table = node("table", "qz-layers");
    const top = table.createTHead().insertRow();
    top.append(node("th", "", ""));
    for (const depth of depths) { const th = node("th", "", depth === null ? "–" : `block ${depth}`); th.scope = "col"; top.append(th); }
    const body = table.createTBody();
    let group = null;
    for (const [title, part] of rows) {
      const row = body.insertRow(), th = node("th", "");
      th.scope = "row";
      th.append(node("span", "qz-layer-part", part === group ? "" : part), node("span", "", title.split(".").at(-1)));
      th.title = title;
      row.classList.toggle("is-first", part !== group);
      group = part;
      row.append(th);
      for (const depth of depths) {
        const cell = row.insertCell(), layer = at.get(`${title}|${depth}`);
        if (!layer) continue;
        const value = costOf(layer, choice.cost);
        const bar = barOf(layer, height(value), floor, write(value), depths.length <= 12);
        bar.classList.toggle("is-most", layer.layer === most);
        cell.append(bar);
      }
    }
    const focus = wrap.querySelector(".qz-layer:focus")?.dataset.layer;
    wrap.replaceChildren(table);
    if (focus) [...wrap.querySelectorAll(".qz-layer")].find((each) => each.dataset.layer === focus)?.focus();
    drawTold();
  };

  const drawTold = () => {
    const s = model?.summary;
    if (!s) { told.textContent = ""; return; }
    const all = s.all_at_once || {};
    told.replaceChildren(sentence(s.sentence || ""), factsOf([
      ["Most sensitive", s.most],
      ["Least sensitive", s.least],
      ["All layers at once", num(all.perplexity) ? `perplexity ${perplexityText(all.perplexity)}` : null],
      ["Its KL", num(all.kl) ? `${nats(all.kl)} nats` : null],
      ["Sum of the single changes", num(s.sum_of_deltas) ? signed(s.sum_of_deltas) : null, "of perplexity; all at once need not be their sum"],
    ]));
  };

  return {
    card,
    update: (m) => {
      model = m;
      card.hidden = !m.layers.length;
      if (!card.hidden) draw();
    },
    clear: () => { model = null; shape = ""; wrap.textContent = ""; told.textContent = ""; },
  };
};
