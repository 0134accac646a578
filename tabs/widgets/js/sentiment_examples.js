// The rows behind a matrix's cell: each can be explained, given another label, or dropped; then the model learns again.

const SHOWN = 20;      // rows of a cell that are drawn at once

// The state of the training that was started from here, as its own stream tells it.
const trainingState = (m) => {
  if (!m || !m.status) return "";
  if (m.status === "queued" || m.status === "waiting") return "waits in the queue";
  if (m.status === "running") return m.progress?.total ? `trains, ${Math.round((100 * m.progress.done) / m.progress.total)}%` : "is getting ready";
  return m.status === "finished" ? "is trained" : m.status === "stopped" ? "was stopped" : "failed";
};

const makeExamples = (asker, ask) => {
  const { card, head, note } = cardOf("sn-examples", "Rows", "");
  const title = head.firstChild;
  const all = button("bv-link", "all wrong ones", "", () => show(null));
  head.append(node("span", "bv-gap"), all);
  const list = node("div", "sn-example-list");
  const more = button("bv-link", "", "", () => { most += SHOWN; draw(); });
  const bar = node("div", "sn-train");
  const told = node("span", "sn-small");
  const train = button("bv-button bv-small bv-button-primary sn-train-again", "Train again", "Fine-tune the model on these rows with your corrections", () => {
    train.disabled = true;
    setTimeout(() => { train.disabled = false; }, 5000);
    ask("train", { corrections: [...fixes].map(([row, label]) => [row, label]) });
  });
  bar.append(told, node("span", "bv-gap"), train);
  const loop = node("div", "sn-loop");
  const state = node("p", "sn-loop-state");
  const compare = button("bv-button bv-small sn-compare-both", "Compare before and after", "Run both models on the same rows", () => ask("versus", { trained: trained?.run }));
  loop.append(state, node("span", "bv-gap"), compare);
  card.append(list, more, bar, loop);

  let rows = [], labels = [], scores = [], positive = 0, own = false, most = SHOWN, chosen = null, trained = null, drawn = "";
  const fixes = new Map();       // row -> the new label, or null for a row that is dropped

  const scoreOf = (row) => scores[row.i] ?? (labels.length === 2 ? (row.predicted === positive ? row.p : 1 - row.p) : row.predicted === positive ? row.p : 0);
  const saidOf = (row) => {
    if (!chosen || chosen.threshold === undefined || labels.length !== 2) return row.predicted;
    return scoreOf(row) >= chosen.threshold ? positive : 1 - positive;
  };
  const fits = (row) => {
    if (!chosen) return row.gold !== row.predicted;
    if (chosen.threshold === undefined) return row.gold === chosen.gold && row.predicted === chosen.predicted;
    return (row.gold === positive) === chosen.is && (scoreOf(row) >= chosen.threshold) === chosen.said;
  };

  const told_ = () => {
    const dropped = [...fixes.values()].filter((label) => label === null).length, changed = fixes.size - dropped;
    const parts = [];
    if (changed) parts.push(`${many(changed, "row")} relabelled`);
    if (dropped) parts.push(`${many(dropped, "row")} dropped`);
    setText(told, parts.length ? parts.join(", ") : "Give wrong rows another label or drop them, then train again.");
    bar.hidden = !own;
    train.setAttribute("aria-disabled", String(!parts.length));
    train.disabled = !parts.length;
  };

  const fixer = (row) => {
    const box = node("span", "sn-fix");
    const select = node("select", "sn-select");
    select.setAttribute("aria-label", `True label of row ${row.i + 1}`);
    labels.forEach((name, i) => { const option = node("option", "", i === row.gold ? name : `${name} (new)`); option.value = String(i); select.append(option); });
    const gone = node("option", "", "drop the row");
    gone.value = "";
    select.append(gone);
    select.value = fixes.has(row.i) ? String(fixes.get(row.i) ?? "") : String(row.gold);
    select.addEventListener("change", () => {
      const label = select.value === "" ? null : Number(select.value);
      if (label === row.gold) fixes.delete(row.i);
      else fixes.set(row.i, label);
      box.closest(".sn-example").classList.toggle("is-fixed", fixes.has(row.i));
      told_();
    });
    box.append(node("span", "bv-muted sn-small", "true"), select);
    return box;
  };

  const exampleOf = (row) => {
    const box = node("article", `sn-example ${fixes.has(row.i) ? "is-fixed" : ""}`);
    box.dataset.row = row.i;
    const said = saidOf(row), right = said === row.gold;
    const line = node("p", "sn-example-head");
    line.append(node("span", "sn-at", `row ${row.i + 1}`), node("span", right ? "sn-right" : "sn-wrong", right ? "✓" : "✕"));
    line.append(node("span", "bv-muted sn-small", "said"), labelMark(labels, said), node("span", "sn-number", chosen?.threshold === undefined ? percent(row.p) : `${flat(scoreOf(row))} ${labels[positive]}`));
    if (own) line.append(fixer(row));
    else line.append(node("span", "bv-muted sn-small", "true"), labelMark(labels, row.gold));
    const text = node("p", "sn-clamp sn-example-text", row.text || "(empty)");
    text.dir = "auto";
    const [why, answer] = asker.of(row.i, labels);
    line.append(node("span", "bv-gap"), why);
    box.append(line, text, answer);
    return box;
  };

  const draw = () => {
    const found = rows.filter(fits);
    const count = chosen ? chosen.count : null;
    setText(title, chosen ? chosen.title : "Wrong rows");
    const shown = Math.min(found.length, most);
    const kept = count !== null && count > found.length ? `; ${many(found.length, "row")} of this cell ${found.length === 1 ? "is" : "are"} kept to look at` : "";
    setText(note, `${many(count ?? found.length, "row")}${kept}`);
    all.hidden = !chosen;
    list.replaceChildren(...found.slice(0, shown).map(exampleOf));
    if (!found.length) list.append(node("p", "bv-muted sn-small", chosen ? "None of these rows is kept to look at." : "No row is wrong."));
    more.hidden = found.length <= most;
    setText(more, `show ${Math.min(SHOWN, found.length - most)} more`);
    told_();
  };
  const show = (cell) => { chosen = cell; most = SHOWN; draw(); };

  const stream = runStream(() => element.isConnected, () => drawLoop(), () => {});
  const drawLoop = () => {
    loop.hidden = !trained;
    if (!trained) return;
    const words = (trained.url && trainingState(stream.model)) || trainingState({ status: trained.status });
    const link = node("a", "sn-link", "in the Fine-tuning lab");
    link.href = `${window.benchtop.root()}?tab=finetuning&run=${encodeURIComponent(trained.run)}`;
    state.replaceChildren(node("strong", "", "The model on the corrected rows"), document.createTextNode(` ${words} `), link, document.createTextNode(". It has seen the rows that it is compared on: read which of them changed, not the score."));
    const ready = (trained.url ? stream.model.status : trained.status) === "finished";
    compare.disabled = !ready;
    loop.dataset.status = ready ? "finished" : "going";
  };

  return {
    card,
    open: (cell) => { show(cell); card.scrollIntoView({ block: "nearest", behavior: "smooth" }); },
    update: (m, names, mine) => {
      card.hidden = m.start?.mode !== "evaluate" || !m.evaluation;
      if (card.hidden) return;
      const shape = `${m.examples.length}|${names.length}|${mine}`;
      if (shape === drawn) return;
      drawn = shape;
      rows = m.examples;
      labels = names;
      own = mine;
      scores = m.evaluation.scores ?? [];
      positive = m.evaluation.positive ?? names.length - 1;
      draw();
    },
    follow: (next) => {
      const same = trained?.run === next?.run;
      trained = next;
      if (next?.url && !same) stream.follow(next.url);
      else if (next?.url) stream.renew(next.url);
      else stream.follow(null);
      drawLoop();
    },
    clear: () => {
      fixes.clear();
      chosen = null;
      most = SHOWN;
      drawn = "";
      rows = [];
      list.textContent = "";
    },
  };
};
