// Several models on the same rows: their scores, whether a difference could be chance, and which rows changed.

const makeComparison = (asker) => {
  const { card, note } = cardOf("sn-models", "Models", "");
  const box = scrolling("Models");
  const said = node("ul", "sn-pairs");
  card.append(box, said);
  const changed = cardOf("sn-changes", "Rows that differ", "");
  const filters = node("span", "sn-filters");
  changed.head.append(node("span", "bv-gap"), filters);
  const list = scrolling("Rows that differ", "sn-tall");
  changed.card.append(list);
  let drawn = null, labels = [], which = "all";

  const interval = (model) => {
    const plot = node("span", "sn-spread");
    const place = (cls, from, to) => { const made = node("i", cls); made.style.left = `${100 * from}%`; if (to !== undefined) made.style.width = `${100 * (to - from)}%`; plot.append(made); };
    if (model.ci) place("sn-box", model.ci[0], model.ci[1]);
    place("sn-median", model.accuracy);
    plot.setAttribute("role", "img");
    plot.setAttribute("aria-label", `accuracy ${percent(model.accuracy)}${model.ci ? `, 95% interval ${percent(model.ci[0])} to ${percent(model.ci[1])}` : ""}`);
    return plot;
  };

  const drawModels = (c) => {
    setText(note, `on the same ${many(c.n, "row")}; the box is the 95% interval of the accuracy`);
    const table = tableOf([["Model", ""], ["Accuracy", "num"], ["0 to 1", "sn-wide"], ["95% interval", "num"], ["Macro F1", "num"], ["Seconds", "num", "of the predictions"]]);
    const top = Math.max(...c.models.map((model) => model.accuracy));
    c.models.forEach((model, i) => {
      const name = node("span", "");
      name.append(node("strong", "", model.title));
      if (i === 0) name.append(node("span", "sn-badge", "reference"));
      if (model.note) name.append(node("span", "bv-muted sn-small sn-note", model.note));
      const best = c.models.length > 1 && model.accuracy === top;
      addRow(table, [["sn-model", name], [`num ${best ? "is-best" : ""}`, `${percent(model.accuracy)}${best ? " ★" : ""}`], ["sn-wide", interval(model)],
        ["num", model.ci ? `${percent(model.ci[0])} – ${percent(model.ci[1])}` : "n/a"], ["num", flat(model.f1)], ["num", model.seconds.toFixed(2)]]);
    });
    box.replaceChildren(table);
    said.replaceChildren(...c.pairs.map((pair) => {
      const line = node("li", `sn-pair ${pair.p_value < 0.05 ? "is-real" : "is-chance"}`);
      const counts = node("span", "bv-muted sn-small");
      const a = titleOf(c, pair.a), b = titleOf(c, pair.b);
      counts.textContent = `both right ${pair.both.toLocaleString("en")} · only ${a} ${pair.only_a.toLocaleString("en")} · only ${b} ${pair.only_b.toLocaleString("en")} · neither ${pair.neither.toLocaleString("en")}`;
      line.append(node("span", "", pair.sentence), counts);
      return line;
    }));
  };
  const titleOf = (c, which_) => c.models[which_]?.title ?? c.models.find((model) => model.name === which_)?.title ?? String(which_);

  const drawChanges = (c) => {
    const first = (row) => row.predicted[0] === row.gold;
    const kinds = { all: () => true, better: (row) => !first(row) && row.predicted.slice(1).some((p) => p === row.gold), worse: (row) => first(row) && row.predicted.slice(1).some((p) => p !== row.gold) };
    const words = { all: "all", better: "the reference is wrong, another right", worse: "the reference is right, another wrong" };
    filters.replaceChildren(...Object.entries(kinds).map(([name, fits]) => {
      const made = button("bv-link", `${words[name]} (${c.changed.filter(fits).length})`, "", () => { which = name; drawChanges(c); });
      made.setAttribute("aria-pressed", String(which === name));
      return made;
    }));
    const table = tableOf([["#", "sn-at"], ["Text", ""], ["True", ""], ...c.models.map((model) => [model.title, ""]), ["", ""]]);
    for (const row of c.changed.filter(kinds[which])) {
      const text = node("span", "sn-clamp", row.text || "(empty)");
      text.dir = "auto";
      const cells = row.predicted.map((p) => { const made = node("span", "sn-said"); const right = p === row.gold; made.append(node("span", right ? "sn-right" : "sn-wrong", right ? "✓" : "✕"), labelMark(labels, p)); return ["", made]; });
      const [why, answer] = asker.of(row.i, labels);
      addRow(table, [["sn-at", String(row.i + 1)], ["sn-text", text], ["", labelMark(labels, row.gold)], ...cells, ["", why]]);
      addBelow(table, answer, 4 + cells.length);
    }
    list.replaceChildren(table);
    setText(changed.note, c.changed.length ? "of the models' predictions" : "Every model says the same of every row.");
  };

  return {
    cards: [card, changed.card],
    update: (m, names) => {
      const c = m.comparison;
      card.hidden = changed.card.hidden = !c;
      if (!c || c === drawn) return;
      drawn = c;
      labels = c.labels ?? names;   // those that only another model knows are among them
      drawModels(c);
      drawChanges(c);
    },
    clear: () => { drawn = null; which = "all"; },
  };
};
