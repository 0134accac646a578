// Measuring a model on labelled rows: scores, the threshold and what it makes of them, the curves, the calibration.
// The threshold is moved in the browser; each count is made anew from the scores.

const ratio = (a, b) => (b ? a / b : 0);
const f1Of = (p, r) => ratio(2 * p * r, p + r);

const counted = (scores, gold, positive, threshold) => {
  const c = { tp: 0, fp: 0, fn: 0, tn: 0 };
  scores.forEach((score, i) => {
    const said = score >= threshold, is = gold[i] === positive;
    c[said ? (is ? "tp" : "fp") : is ? "fn" : "tn"]++;
  });
  const precision = ratio(c.tp, c.tp + c.fp), recall = ratio(c.tp, c.tp + c.fn);
  return { ...c, n: scores.length, precision, recall, f1: f1Of(precision, recall), accuracy: ratio(c.tp + c.tn, scores.length), specificity: ratio(c.tn, c.tn + c.fp) };
};

// A matrix whose cells open their rows: rows are what is true, columns what was said.
const matrixOf = (rowNames, counts, label, open) => {
  const box = scrolling(label);
  const table = node("table", "sn-matrix");
  const most = Math.max(...counts.flat(), 1);
  const corner = table.createTHead().insertRow();
  const named = node("th", "sn-corner", "true ↓ said →");
  corner.append(named);
  for (const name of rowNames) { const th = node("th", "", name); th.scope = "col"; corner.append(th); }
  const body = table.createTBody();
  counts.forEach((row, i) => {
    const line = body.insertRow();
    const th = node("th", "", rowNames[i]);
    th.scope = "row";
    line.append(th);
    row.forEach((count, j) => {
      const made = button(`sn-cell ${i === j ? "is-hit" : "is-miss"}`, count.toLocaleString("en"), "", () => open(i, j));
      made.setAttribute("aria-label", `${rowNames[i]} taken for ${rowNames[j]}: ${count}. Show them.`);
      made.title = `${rowNames[i]} taken for ${rowNames[j]}`;
      made.style.setProperty("--share", (count / most).toFixed(3));
      made.dataset.cell = `${i},${j}`;
      line.insertCell().append(made);
    });
  });
  box.append(table);
  return box;
};

const makeScores = () => {
  const { card, note } = cardOf("sn-scores", "Scores", "");
  const numbers = node("dl", "sn-numbers");
  const box = scrolling("Scores by label");
  card.append(numbers, box);
  const number = (name, value, brief) => {
    const pair = node("div", "sn-big");
    pair.append(node("dt", "", name), node("dd", "", value), node("span", "bv-muted sn-small", brief));
    return pair;
  };
  let drawn = null;
  return {
    card,
    update: (m, labels) => {
      const e = m.evaluation;
      card.hidden = !e;
      if (!e || drawn === e) return;
      drawn = e;
      const { report, baseline } = e;
      setText(note, `on ${many(e.n, "labelled row")}`);
      numbers.replaceChildren(
        number("accuracy", percent(report.accuracy), baseline ? `always ${nameOfLabel(labels, baseline.label)}: ${percent(baseline.accuracy)}` : ""),
        number("macro F1", flat(report.macro.f1), "mean of the labels' F1"),
        number("macro precision", flat(report.macro.p), ""),
        number("macro recall", flat(report.macro.r), ""),
      );
      const table = tableOf([["Label", ""], ["Precision", "num", "of those said to be it, how many are"], ["Recall", "num", "of those that are it, how many were said to be"], ["F1", "num"], ["Rows", "num"]]);
      for (const c of report.per_class) addRow(table, [["", labelMark(labels, c.label)], ["num", flat(c.p)], ["num", flat(c.r)], ["num", flat(c.f1)], ["num", c.n.toLocaleString("en")]]);
      box.replaceChildren(table);
    },
    clear: () => { drawn = null; },
  };
};

const makeThreshold = (open) => {
  const { card, note } = cardOf("sn-threshold", "Threshold", "");
  const control = node("div", "sn-slider");
  const range = node("input"), told = node("output", "sn-number");
  Object.assign(range, { type: "range", min: "0", max: "1", step: "0.005", value: "0.5" });
  range.setAttribute("aria-label", "Threshold");
  const best = button("bv-link", "best F1", "The threshold of the largest F1 on these rows", () => set(bestThreshold()));
  const half = button("bv-link", "0.5", "The usual threshold", () => set(0.5));
  control.append(range, told, best, half);
  const facts = node("dl", "sn-facts");
  const sides = node("div", "sn-threshold-body"), place = node("div");
  const figures = node("div", "sn-figures");
  const spots = [node("div"), node("div"), node("div")];
  figures.append(...spots);
  sides.append(place, facts);
  card.append(control, sides, figures);
  let e = null, labels = [], mounted = null, timer = 0;

  const bestThreshold = () => {
    let [top, at] = [-1, 0.5];
    for (let t = 0.005; t < 1; t += 0.005) {
      const { f1 } = counted(e.scores, e.gold, e.positive, t);
      if (f1 > top) [top, at] = [f1, t];
    }
    return at;
  };
  const set = (t) => { range.value = String(t); draw(); };
  range.addEventListener("input", () => draw());

  const fact = (name, value) => { const pair = node("div", "sn-fact"); pair.append(node("dt", "", name), node("dd", "sn-number", value)); return pair; };

  const curved = (curve) => Boolean(curve?.x?.length);
  const specs = (c) => {
    const here = (x, y) => ({ name: "threshold", x: [x], y: [y], mode: "markers", size: 11, color: 1, symbol: "diamond" });
    const common = { height: 230, keys: false, hover: "closest" };
    const { roc, pr, calibration } = e;
    const bins = (calibration?.bins ?? []).filter((bin) => bin.n);
    return [
      { ...common, title: "ROC", unit: curved(roc) ? `area ${flat(roc.area)}` : "", x: { title: "false positive rate", range: [-0.02, 1.02] }, y: { title: "true positive rate", range: [-0.02, 1.02] }, empty: "Needs rows of both kinds.",
        traces: curved(roc) ? [{ name: "by chance", x: [0, 1], y: [0, 1], dash: "dot", color: "muted", width: 1, quiet: true }, { name: "ROC", x: roc.x, y: roc.y, color: 0 }, here(ratio(c.fp, c.fp + c.tn), c.recall)] : [] },
      { ...common, title: "Precision and recall", unit: curved(pr) ? `average precision ${flat(pr.area)}` : "", x: { title: "recall", range: [-0.02, 1.02] }, y: { title: "precision", range: [-0.02, 1.05] }, empty: "Needs rows of both kinds.",
        traces: curved(pr) ? [{ name: "precision", x: pr.x, y: pr.y, color: 0 }, here(c.recall, c.precision)] : [] },
      { ...common, title: "Calibration", unit: bins.length ? `ECE ${flat(calibration.ece)} · Brier ${flat(calibration.brier)}` : "", x: { title: "confidence", range: [-0.02, 1.02] }, y: { title: "share right", range: [-0.02, 1.02] }, empty: "Needs probabilities.",
        traces: bins.length ? [{ name: "perfect", x: [0, 1], y: [0, 1], dash: "dot", color: "muted", width: 1, quiet: true }, { name: "model", x: bins.map((b) => b.confidence), y: bins.map((b) => b.accuracy), text: bins.map((b) => many(b.n, "row")), mode: "lines+markers", size: 7, color: 0, hover: "confidence %{x:.3f}, right %{y:.3f}, %{text}<extra></extra>" }] : [] },
    ];
  };

  const draw = () => {
    const t = Number(range.value);
    const c = counted(e.scores, e.gold, e.positive, t);
    const name = nameOfLabel(labels, e.positive);
    setText(told, t.toFixed(3));
    facts.replaceChildren(
      fact("accuracy", percent(c.accuracy)), fact("precision", flat(c.precision)), fact("recall", flat(c.recall)),
      fact("F1", flat(c.f1)), fact("specificity", flat(c.specificity)), fact(`said ${name}`, `${(c.tp + c.fp).toLocaleString("en")} of ${c.n.toLocaleString("en")}`),
    );
    const first = labels.length === 2 && e.positive === 0;
    const other = labels.length === 2 ? labels[1 - e.positive] : "the others";
    const rows = first ? [[c.tp, c.fn], [c.fp, c.tn]] : [[c.tn, c.fp], [c.fn, c.tp]];
    const names = first ? [name, other] : [other, name];
    const yes = first ? 0 : 1;
    const focused = place.contains(document.activeElement) ? document.activeElement.dataset.cell : null;
    place.replaceChildren(matrixOf(names, rows, "Confusion matrix at this threshold", (i, j) => open({ is: i === yes, said: j === yes, threshold: t, title: `${names[i]} taken for ${names[j]} at ${t.toFixed(3)}`, count: rows[i][j] })));
    if (focused) place.querySelector(`[data-cell="${focused}"]`)?.focus();
    clearTimeout(timer);
    timer = setTimeout(() => {
      const all = specs(c);
      if (mounted) mounted.forEach((figure, i) => figure.update(all[i]));
      else mounted = spots.map((spot, i) => window.benchtop.figures.mount(spot, all[i]));
    }, mounted ? 80 : 0);
  };

  return {
    card,
    update: (m, names) => {
      const next = m.evaluation;
      card.hidden = !next?.scores?.length;
      if (card.hidden || next === e) return;
      e = next;
      labels = names;
      range.value = "0.5";
      const name = nameOfLabel(labels, e.positive);
      setText(note, `a row is ${name} when its probability of ${name} is at least this; the curves are of ${name} against the rest`);
      draw();
    },
    clear: () => { e = null; },
  };
};

const makeConfusion = (open) => {
  const { card } = cardOf("sn-confusion", "Confusion matrix", "by the largest probability; a cell opens its rows");
  const place = node("div");
  card.append(place);
  let drawn = null;
  return {
    card,
    update: (m, labels) => {
      const e = m.evaluation;
      card.hidden = !e || labels.length < 3;
      if (card.hidden || drawn === e) return;
      drawn = e;
      place.replaceChildren(matrixOf(labels, e.confusion, "Confusion matrix", (i, j) => open({ gold: i, predicted: j, title: `${labels[i]} taken for ${labels[j]}`, count: e.confusion[i][j] })));
    },
    clear: () => { drawn = null; place.textContent = ""; },
  };
};
