// The curves of a strategies run and the noise of their gradients: four figures on one set of switches.
// A curve's dash is its model and its colour its strategy, everywhere on the page; with one strategy, colours tell models.

const STRATEGY_COLOUR = { full: 2, mini: 0, single: 1, accumulated: 3 };
const MODEL_COLOUR = { logistic: 4, mlp: 5, bag: 0, cnn: 1, probe: 2 };
const MODEL_DASH = ["solid", "dash", "dot", "dashdot", "longdash"];
const AXES = [
  ["epoch", "Epochs", "epochs (passes over the training set)"],
  ["examples", "Examples", "examples seen"],
  ["step", "Steps", "optimizer steps"],
  ["seconds", "Seconds", "seconds of training"],
];
const SMALL = 1e-12;

// One of several, as a row of joined buttons: a radio group for the keyboard too.
const segments = (label, choices, chosen, choose) => {
  const group = node("span", "bs-segments");
  group.setAttribute("role", "radiogroup");
  group.setAttribute("aria-label", label);
  const mark = (value) => {
    for (const each of group.children) {
      const on = each.dataset.value === value;
      each.setAttribute("aria-checked", String(on));
      each.tabIndex = on ? 0 : -1;
    }
  };
  for (const [value, text] of choices) {
    const made = button("bs-segment", text, "", () => { mark(value); choose(value); });
    made.setAttribute("role", "radio");
    made.dataset.value = value;
    group.append(made);
  }
  group.addEventListener("keydown", (e) => {
    const way = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[e.key];
    if (!way) return;
    e.preventDefault();
    const all = [...group.children], at = all.indexOf(document.activeElement);
    const to = all[(at + way + all.length) % all.length];
    to.focus();
    to.click();
  });
  mark(chosen);
  return group;
};

const switchBox = (text, act) => {
  const label = node("label", "bs-check");
  const box = node("input");
  box.type = "checkbox";
  box.addEventListener("change", () => act(box.checked));
  label.append(box, node("span", "", text));
  return label;
};

const lookOf = (columns) => {
  const models = [...new Set(columns.map((column) => column.model))];
  const alone = models.length > 1 && new Set(columns.map((column) => column.strategy)).size === 1;
  const colour = (column) => (alone ? MODEL_COLOUR[column.model] : STRATEGY_COLOUR[column.strategy]) ?? 4;
  return (column) => ({ color: colour(column), dash: MODEL_DASH[models.indexOf(column.model)] });
};

const KEY_DASHES = { dash: "5 3", dot: "1 3", dashdot: "5 2 1 2", longdash: "9 3" };
const lineKey = (look) => {
  const ns = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(ns, "svg"), line = document.createElementNS(ns, "line");
  for (const [name, value] of Object.entries({ viewBox: "0 0 22 8", width: 22, height: 8, "aria-hidden": "true" })) svg.setAttribute(name, value);
  for (const [name, value] of Object.entries({ x1: 1, x2: 21, y1: 4, y2: 4 })) line.setAttribute(name, value);
  line.style.cssText = `stroke: var(--bt-c${look.color}); stroke-width: 2.5`;
  if (KEY_DASHES[look.dash]) line.setAttribute("stroke-dasharray", KEY_DASHES[look.dash]);
  svg.append(line);
  return svg;
};

const makeCurves = () => {
  const choice = { axis: "epoch", set: "validation", right: "accuracy", smooth: 0, logX: false, logY: false };
  const hidden = new Set();
  let model = {}, figures = null, keysShape = "";

  const card = node("section", "bv-card bs-card bs-curves");
  const head = node("div", "bs-card-head");
  const title = node("h3", "bv-card-title", "Curves");
  const axis = segments("Horizontal axis", AXES.map(([value, text]) => [value, text]), choice.axis, (value) => { choice.axis = value; draw(); });
  axis.classList.add("bs-axis");
  head.append(title, node("span", "bv-gap"), axis);
  const bar = node("div", "bs-switches");
  const set = segments("Set", [["train", "Training"], ["validation", "Validation"]], choice.set, (value) => { choice.set = value; draw(); });
  const right = segments("Second figure", [["accuracy", "Accuracy"], ["learning_rate", "Learning rate"]], choice.right, (value) => { choice.right = value; draw(); });
  const smooth = node("label", "bs-smooth");
  const range = node("input");
  Object.assign(range, { type: "range", min: "0", max: "0.95", step: "0.05", value: "0" });
  range.addEventListener("input", () => { choice.smooth = Number(range.value); draw(); });
  smooth.append(node("span", "", "Smoothing"), range);
  bar.append(set, right, smooth, switchBox("log x", (on) => { choice.logX = on; draw(); }), switchBox("log y", (on) => { choice.logY = on; draw(); }));
  const keys = node("div", "bs-keys");
  keys.setAttribute("aria-label", "Curves: click to show or hide");
  const pair = node("div", "bs-figures");
  const left = node("div"), second = node("div");
  pair.append(left, second);
  card.append(head, bar, keys, pair);

  const noise = node("section", "bv-card bs-card bs-noise");
  const noiseHead = node("div", "bs-card-head");
  noiseHead.append(node("h3", "bv-card-title", "Gradient noise"), node("span", "bv-muted bs-small", "measured at the weights of the moment, on the training set"));
  const noisePair = node("div", "bs-figures");
  const variance = node("div"), scale = node("div");
  noisePair.append(variance, scale);
  const source = node("p", "bs-source bv-muted");
  source.textContent = "Dots: mean |g − G|² over drawn batches, g a batch's gradient and G the whole training set's. Lines: what tr(Σ)/B predicts from the single examples. Noise scale: tr(Σ)/|G|², the batch size at which noise and gradient are equal. McCandlish et al., An Empirical Model of Large-Batch Training, 2018 (arXiv:1812.06162).";
  noise.append(noiseHead, noisePair, source);

  const shown = () => (model.columns || []).filter((column) => !hidden.has(column.title));
  const axisTitle = () => AXES.find(([value]) => value === choice.axis)[2];
  const xAxis = () => ({ title: axisTitle(), log: choice.logX });
  // A logarithm has no place for zero, so the first reading is left out there.
  const xs = (points) => points.map((point) => (choice.logX && !(point[choice.axis] > 0) ? null : point[choice.axis] ?? null));

  const traces = (field) => {
    const look = lookOf(model.columns || []);
    return shown().map((column) => {
      const y = window.benchtop.figures.smoothed(column.points.map((point) => point[field] ?? null), choice.smooth);
      return { name: column.title, x: xs(column.points), y, mode: column.points.length > 12 ? "lines" : "lines+markers", size: 5, ...look(column) };
    });
  };

  const noiseTraces = (field, predicted) => {
    const look = lookOf(model.columns || []);
    const all = [];
    for (const column of shown()) {
      const at = column.noise.filter((point) => point[field] > SMALL);   // a full batch has none
      if (!at.length) continue;
      const x = xs(at);
      if (predicted) all.push({ name: `${column.title}, predicted`, unlisted: true, quiet: true, x, y: at.map((p) => p[predicted] ?? null), mode: "lines", width: 1.5, opacity: 0.7, ...look(column) });
      all.push({ name: column.title, x, y: at.map((p) => p[field]), mode: predicted ? "markers" : "lines+markers", size: 7, ...look(column) });
    }
    return all;
  };

  const specs = () => {
    const words = choice.set === "train" ? "training set" : "validation set";
    const field = (name) => (choice.set === "train" ? name : `validation_${name}`);
    const rate = choice.right === "learning_rate";
    const common = { keys: false, height: 230 };
    return [
      { ...common, title: "Loss", unit: words, x: xAxis(), y: { title: "cross-entropy (nats)", log: choice.logY }, traces: traces(field("loss")), empty: "The first reading comes at once." },
      rate
        ? { ...common, title: "Learning rate", x: xAxis(), y: { title: "learning rate", log: choice.logY, zero: !choice.logY }, traces: traces("learning_rate") }
        : { ...common, title: "Accuracy", unit: words, x: xAxis(), y: { title: "share right" }, traces: traces(field("accuracy")) },
      { ...common, title: "Variance of the batch gradient", x: xAxis(), y: { title: "mean |g − G|²", log: true }, traces: noiseTraces("variance", "predicted"), empty: "The full batch has no noise: choose mini-batches or single examples." },
      { ...common, title: "Noise scale", x: xAxis(), y: { title: "tr(Σ)/|G|² (examples)", log: true }, traces: noiseTraces("scale", null) },
    ];
  };

  const drawKeys = () => {
    const columns = model.columns || [];
    const look = lookOf(columns);
    const shape = JSON.stringify(columns.map((column) => [column.title, hidden.has(column.title)]));
    if (shape === keysShape) return;
    keysShape = shape;
    keys.textContent = "";
    for (const column of columns) {
      const key = button("bs-key", "", "", () => {
        if (!hidden.delete(column.title)) hidden.add(column.title);
        draw();
      });
      key.setAttribute("aria-pressed", String(!hidden.has(column.title)));
      key.append(lineKey(look(column)), node("span", "", column.title));
      keys.append(key);
    }
  };

  const draw = () => {
    drawKeys();
    const all = specs();
    if (!figures) figures = [left, second, variance, scale].map((place, i) => window.benchtop.figures.mount(place, all[i]));
    else figures.forEach((figure, i) => figure.update(all[i]));
  };

  return {
    cards: [card, noise],
    update: (next) => { model = next; draw(); },
    clear: () => { hidden.clear(); keysShape = ""; },
  };
};
