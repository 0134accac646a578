// Labelled texts, edits beside their original, and the groups of a bias probe.

const PAGE = 100;      // rows are drawn by the hundred

const makeRows = (asker) => {
  const { card, head, note } = cardOf("sn-rows", "Texts", "");
  const files = node("span", "sn-files");
  head.append(node("span", "bv-gap"), files);
  const shares = node("div", "sn-shares");
  const box = scrolling("Labelled texts", "sn-tall");
  const more = button("bv-link", "", "", () => { most += PAGE; drawRows(); });
  card.append(head, shares, box, more);
  let table = null, rows = [], labels = [], most = PAGE, drawn = 0;

  const add = (row) => {
    const [why, answer] = asker.of(row.i, labels);
    addRow(table, [
      ["sn-at", String(row.i + 1)], ["sn-text", textCell(row)], ["", labelMark(labels, row.label)], ["sn-p", probabilityBars(labels, row.p)],
      ["num", row.tokens.toLocaleString("en")], ["num", row.ms.toFixed(row.ms < 10 ? 1 : 0)], ["", labels.length > 1 ? why : ""],
    ]);
    addBelow(table, answer, 7);
  };
  const textCell = (row) => {
    const made = node("span", ""), text = node("span", "sn-clamp", row.text || "(empty)");
    text.dir = "auto";
    made.append(text);
    const said = [row.cut ? "the beginning is shown" : "", row.windows > 1 ? `read in ${row.windows} windows` : ""].filter(Boolean).join(", ");
    if (said) made.append(node("span", "bv-muted sn-small", said));
    return made;
  };

  const drawRows = () => {
    table ??= tableOf([["#", "sn-at"], ["Text", ""], ["Label", ""], ["Probability", ""], ["Tokens", "num", "with the special ones"], ["ms", "num", "its share of its batch's pass, by tokens"], ["", ""]]);
    if (!table.isConnected) box.append(table);
    while (drawn < Math.min(rows.length, most)) add(rows[drawn++]);
    more.hidden = rows.length <= most;
    setText(more, `show ${Math.min(PAGE, rows.length - most)} more of ${rows.length} shown here`);
  };

  return {
    card,
    update: (m, names, link) => {
      labels = names;
      rows = m.rows;
      card.hidden = !rows.length || m.start?.mode === "evaluate" || (m.start?.mode === "explain" && m.start.total === 1);
      if (card.hidden) return;
      drawRows();
      const s = m.summary;
      const parts = [];
      if (s) parts.push(`${many(s.n, "text")} in ${seconds(s.seconds)}`, `${shortNumber(s.texts_per_second)} texts/s`);
      if (s && s.n > rows.length) parts.push(`the first ${rows.length} are shown, the file has all`);
      if (s?.long?.n) parts.push(`long texts: ${s.long.how}`);
      setText(note, parts.join(" · "));
      if (s && labels.length > 1 && !shares.children.length && s.n > 1) shares.append(...shareBar(labels, s.counts));
      if (files.children.length < m.files.length) files.replaceChildren(...m.files.map(link));
    },
    clear: () => { table = null; most = PAGE; drawn = 0; for (const part of [box, shares, files]) part.textContent = ""; setText(note, ""); },
  };
};

// --- what if ---------------------------------------------------------------------------------------------------------
// A change is [start, end, before, after]; start and end are characters of the original.
const changedText = (original, variant) => {
  const box = node("span", "sn-changed");
  box.dir = "auto";
  const letters = Array.from(original);
  let at = 0;
  for (const [start, end, before, after] of [...variant.changes].sort((a, b) => a[0] - b[0])) {
    if (start < at) continue;
    box.append(document.createTextNode(letters.slice(at, start).join("")));
    if (before) box.append(node("del", "", before));
    if (after) box.append(node("ins", "", after));
    at = end;
  }
  box.append(document.createTextNode(letters.slice(at).join("")));
  return box;
};

const makeVariants = () => {
  const { card } = cardOf("sn-variants", "What if", "each version beside the original; pp are percentage points");
  const body = node("div", "sn-stacked");
  card.append(body);
  const part = (labels, variant, original) => {
    const box = node("article", "sn-part sn-variant");
    const line = node("p", "sn-result");
    line.append(node("strong", "", variant.title), labelMark(labels, variant.label));
    if (variant.flips) line.append(node("span", "sn-badge is-flip", "the label flips"));
    const text = node("p", "sn-flow");
    text.append(original ? changedText(original.text, variant) : document.createTextNode(variant.text));
    text.dir = "auto";
    const sides = node("div", "sn-variant-p");
    sides.append(probabilityBars(labels, variant.p, { most: 7, before: original?.p }));
    if (original && labels.length > 1) {
      const list = node("span", "sn-deltas");
      labels.forEach((name, i) => list.append(node("span", `sn-number ${Math.abs(variant.delta[i]) >= 0.1 ? "is-large" : ""}`, `${name} ${points(variant.delta[i])}`)));
      sides.append(list);
    } else if (original) sides.append(node("span", "sn-number", signed(variant.delta[0])));
    box.append(line, text, sides);
    return box;
  };
  return {
    card,
    update: (m, labels) => {
      const all = m.variants;
      card.hidden = !all.length;
      const original = all.find((v) => v.index === 0);
      while (body.children.length < all.length) {
        const variant = all[body.children.length];
        body.append(part(labels, variant, variant === original ? null : original));
      }
    },
    clear: () => { body.textContent = ""; },
  };
};

// --- bias ------------------------------------------------------------------------------------------------------------
const makeBias = () => {
  const { card, note } = cardOf("sn-bias", "Scores by group", "");
  const said = node("p", "sn-sentence");
  const key = node("p", "bv-muted sn-small", "Each row: the line spans all scores, the box half of them, the tick is the median, the dot the mean.");
  const box = scrolling("Scores by group");
  const lists = node("div", "sn-examples-by-group");
  card.append(said, box, key, lists);
  let drawn = 0;

  const spread = (g) => {
    const plot = node("span", "sn-spread");
    plot.setAttribute("role", "img");
    plot.setAttribute("aria-label", `from ${flat(g.min)} to ${flat(g.max)}, middle half ${flat(g.q1)} to ${flat(g.q3)}, median ${flat(g.median)}, mean ${flat(g.mean)}`);
    const place = (cls, from, to) => {
      const made = node("i", cls);
      made.style.left = `${100 * from}%`;
      if (to !== undefined) made.style.width = `${100 * (to - from)}%`;
      plot.append(made);
    };
    place("sn-whisker", g.min, g.max);
    place("sn-box", g.q1, g.q3);
    place("sn-median", g.median);
    place("sn-mean", g.mean);
    return plot;
  };

  return {
    card,
    update: (m, labels) => {
      card.hidden = !m.groups.length;
      const b = m.bias;
      if (b) {
        setText(note, `probability of ${nameOfLabel(labels, b.positive)}`);
        setText(said, `${b.sentence} Largest difference of means ${flat(b.gap)}, p ${b.p_value < 0.001 ? "< 0.001" : `= ${b.p_value.toFixed(3)}`} by a permutation test.`);
      }
      if (drawn === m.groups.length) return;
      drawn = m.groups.length;
      const table = tableOf([["Group", ""], ["0 to 1", "sn-wide"], ["Mean", "num"], ["SD", "num", "standard deviation"], ["Median", "num"], ["n", "num"]]);
      for (const g of m.groups) addRow(table, [["", g.group], ["sn-wide", spread(g)], ["num", flat(g.mean)], ["num", flat(g.sd)], ["num", flat(g.median)], ["num", String(g.n)]]);
      box.replaceChildren(table);
      lists.replaceChildren(...m.groups.filter((g) => g.examples?.length).map((g) => {
        const fold = node("details", "sn-fold");
        fold.append(node("summary", "", `${g.group}: examples`));
        for (const e of g.examples) { const line = node("p", "sn-example-line"); line.append(node("span", "sn-number", flat(e.p)), node("span", "", e.text)); fold.append(line); }
        return fold;
      }));
    },
    clear: () => { drawn = 0; said.textContent = box.textContent = lists.textContent = ""; },
  };
};
