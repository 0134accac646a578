// What a tagger gets right: strict and lenient scores side by side, sequences that are no IOB2, and each error in place.

const KIND_WORDS = {
  correct: ["correct", "same place, same type"],
  boundary: ["boundary", "right type, but it begins or ends elsewhere"],
  type: ["type", "right place, but another type"],
  "boundary and type": ["boundary and type", "it overlaps, with another type"],
  missed: ["missed", "nothing was found here"],
  spurious: ["spurious", "something was found where there is nothing"],
};
const ERRORS_AT_FIRST = 25;

const makeEvaluation = () => {
  const { card, head, side } = cardOf("en-evaluation", "Strict and lenient");
  const train = node("a", "bv-button bv-small en-train", "Fine-tune on this data");
  train.title = "Opens the Fine-tuning lab with this data and all-MiniLM-L6-v2";
  head.append(train);
  const holder = node("div");
  const invalid = node("div", "en-invalid");
  card.append(holder, node("p", "bv-muted bs-small en-explain", "Strict: an entity counts when its place, its type and its IOB2 tags are right. Lenient: broken sequences are repaired first, so that I- may begin an entity. Its numbers are coloured where they differ."), invalid);

  const HALVES = [["strict", "Strict"], ["lenient", "Lenient"]];
  const score = (values, key) => (values && typeof values[key] === "number" ? values[key].toFixed(3) : "n/a");
  const of = (half, type) => half.types.find((one) => one.type === type);

  const drawScores = (e, colour) => {
    const table = node("table"), top = table.createTHead(), first = top.insertRow(), second = top.insertRow();
    const th = (row, text, cls, span = 1, title = "") => { const made = node("th", cls, text); made.scope = span > 1 ? "colgroup" : "col"; made.colSpan = span; if (title) made.title = title; row.append(made); };
    th(first, "", "");
    for (const [, words] of HALVES) th(first, words, "en-half", 3);
    th(first, "", "");
    th(second, "Type", "");
    for (let i = 0; i < 2; i++) {
      th(second, "Precision", "num en-half-start", 1, "share of the found entities that are right");
      th(second, "Recall", "num", 1, "share of the true entities that are found");
      th(second, "F1", "num", 1, "harmonic mean of both");
    }
    th(second, "Entities", "num", 1, "how many there are in the data");
    const body = table.createTBody();
    const line = (name, strict, lenient, n, cls = "") => {
      const cells = [[name]];
      for (const half of [strict, lenient]) cells.push([score(half, "p"), "num en-half-start"], [score(half, "r"), "num"], [score(half, "f1"), "num en-f1"]);
      cells.push([n === undefined ? "" : n.toLocaleString("en"), "num"]);
      const row = rowOf(body, cells);
      row.className = cls;
      for (let i = 0; i < 3; i++) row.cells[4 + i].classList.toggle("is-off", row.cells[4 + i].textContent !== row.cells[1 + i].textContent);
    };
    for (const type of e.types) line(tagChip(type, colour), of(e.strict, type), of(e.lenient, type), (of(e.strict, type) ?? of(e.lenient, type))?.n);
    line("All (micro)", e.strict.micro, e.lenient.micro, e.strict.micro?.n, "is-total");
    line("Mean of types (macro)", e.strict.macro, e.lenient.macro, undefined, "is-total");
    const wrap = node("div", "bs-table en-table");
    wrap.tabIndex = 0;
    wrap.setAttribute("role", "region");
    wrap.setAttribute("aria-label", "Scores by type, strict and lenient");
    wrap.append(table);
    holder.replaceChildren(wrap);
  };

  const drawInvalid = (e) => {
    invalid.replaceChildren();
    for (const [who, words] of [["gold", "In the data"], ["predicted", "In the predictions"]]) {
      const found = e.invalid[who] ?? {};
      const total = found.total ?? 0;
      const line = node("p", total ? "en-invalid-line is-some" : "en-invalid-line");
      line.dataset.who = who;
      const counted = `${plural(total, "tag")} in ${plural(found.sentences ?? 0, "sentence")} that IOB2 does not allow`;
      line.append(node("strong", "", `${words}: ${total ? counted : "every sequence is valid IOB2"}. `));
      for (const text of found.explained ?? []) line.append(node("span", "", `${text} `));
      invalid.append(line);
    }
  };

  return {
    card,
    clear: () => { holder.textContent = ""; invalid.textContent = ""; card.hidden = true; },
    update: (m, colour, value) => {
      const e = m.evaluation;
      card.hidden = !e;
      if (!e) return;
      train.hidden = !value?.data;
      if (value?.data) {
        const query = new URLSearchParams({ tab: "finetuning", model: "all-MiniLM-L6-v2", data: value.data, task: "tokens" });
        train.href = `${window.benchtop.root()}?${query}`;
      }
      if (holder.firstChild) return;
      drawScores(e, colour);
      drawInvalid(e);
      setText(side, `${plural(e.n, "sentence")}${e.source ? ` of ${e.source}` : ""}`);
    },
  };
};

const makeErrors = () => {
  const { card, side } = cardOf("en-errors", "Errors");
  const filters = node("div", "en-filters");
  filters.setAttribute("role", "group");
  filters.setAttribute("aria-label", "Kinds of errors");
  const list = node("div", "en-error-list");
  const more = button("bv-link", "show more", "", () => { shown += 50; draw(); });
  card.append(filters, list, more);
  let m = null, colour = () => "", kind = "", shown = ERRORS_AT_FIRST, opened = null;

  const comparison = (row) => {
    const box = node("div", "en-compare");
    const legend = node("div", "en-compare-side");
    legend.append(node("span", "", "gold"), node("span", "", ""), node("span", "", "predicted"));
    const words = node("div", "en-compare-words");
    words.dir = "auto";
    row.words.forEach((word, i) => {
      const cell = node("span", row.gold[i] === row.predicted[i] ? "en-compare-word" : "en-compare-word is-wrong");
      cell.append(tagChip(row.gold[i], colour), node("span", "en-compare-text", word), tagChip(row.predicted[i], colour));
      words.append(cell);
    });
    box.append(legend, words);
    return box;
  };

  const errorOf = (row) => {
    const box = node("div", "en-error");
    const open = button("en-error-open", "", "");
    const words = node("span", "en-error-words", row.words.join(" "));
    words.dir = "auto";
    const kinds = node("span", "en-error-kinds");
    for (const one of [...new Set(row.kinds)].filter((each) => each !== "correct")) kinds.append(node("span", "en-kind", one));
    open.append(words, kinds);
    open.setAttribute("aria-expanded", String(opened === row.i));
    open.addEventListener("click", () => {
      opened = opened === row.i ? null : row.i;
      const place = [...list.children].indexOf(box);
      draw();
      list.children[place]?.querySelector("button").focus();
    });
    box.append(open);
    if (opened === row.i) box.append(comparison(row));
    return box;
  };

  const draw = () => {
    const rows = m.errors.rows.filter((row) => !kind || row.kinds.includes(kind));
    list.replaceChildren(...rows.slice(0, shown).map(errorOf));
    more.hidden = rows.length <= shown;
    for (const one of filters.children) one.setAttribute("aria-pressed", String(one.dataset.kind === kind));
  };

  const drawFilters = () => {
    const counts = m.evaluation?.errors ?? {};
    filters.replaceChildren();
    const add = (name, text, title) => {
      const made = button("en-filter", text, "", () => { kind = kind === name ? "" : name; shown = ERRORS_AT_FIRST; draw(); });
      made.dataset.kind = name;
      made.title = title;
      filters.append(made);
    };
    for (const [name, [words, title]] of Object.entries(KIND_WORDS)) {
      if (name === "correct") { filters.append(node("span", "en-right", `✓ ${(counts.correct ?? 0).toLocaleString("en")} correct`)); continue; }
      add(name, `${words} ${(counts[name] ?? 0).toLocaleString("en")}`, title);
    }
  };

  return {
    card,
    clear: () => { m = null; kind = ""; opened = null; shown = ERRORS_AT_FIRST; list.textContent = ""; filters.textContent = ""; card.hidden = true; },
    update: (model, colours) => {
      card.hidden = !model.errors;
      if (!model.errors || m === model) return;
      m = model;
      colour = colours;
      drawFilters();
      draw();
      const rows = model.errors.rows.length, total = model.errors.total ?? rows;
      setText(side, rows ? `click a sentence: gold above, prediction below${total > rows ? `; ${rows} of ${total} sentences` : ""}` : "not one: every sentence is tagged as in the data");
    },
  };
};
