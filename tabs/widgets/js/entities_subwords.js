// From tokens to words: the five ways side by side, and what each tokenizer's tokens are labelled in training.

const STRATEGY_WORDS = {
  none: ["None", "every token that is not O, for itself"],
  simple: ["Simple", "neighbouring tokens of one type; a word may be cut"],
  first: ["First", "a word has the label of its first token"],
  average: ["Average", "a word has the label of its tokens' mean scores"],
  max: ["Max", "a word has the label of its surest token"],
};

const makeStrategies = (tip) => {
  const { card, head, side } = cardOf("en-strategies", "One sentence, five ways");
  const legend = node("div");
  const tokens = node("div", "en-tokens");
  tokens.tabIndex = 0;
  tokens.setAttribute("role", "region");
  tokens.setAttribute("aria-label", "Tokens with their labels and scores");
  const ways = node("div", "en-ways");
  head.append(legend);
  card.append(node("p", "bv-muted bs-small", "What the model says of each token: its best label, and the probability of that label."), tokens, ways);

  const tokenOf = (token, colour) => {
    const box = node("span", "en-token");
    if (token.label !== "O") box.style.setProperty("--type", colour(token.label));
    box.classList.toggle("is-out", token.label === "O");
    const piece = node("span", "en-piece");
    paintToken(piece, { t: token.piece, piece: token.piece });
    box.append(piece, node("span", "en-token-label", token.label), node("span", "en-token-score", scoreText(token.score)));
    return box;
  };

  const wayOf = (result, text, colour) => {
    const [name, note] = STRATEGY_WORDS[result.strategy] ?? [result.strategy, ""];
    const row = node("section", "en-way");
    row.dataset.strategy = result.strategy;
    const marked = result.entities.map((entity, i) => ({ ...entity, differs: result.differs[i] }));
    const different = result.differs.filter(Boolean).length;
    const title = node("div", "en-way-head");
    title.append(node("strong", "", name), node("span", "bv-muted bs-small", note));
    title.append(node("span", "en-way-count", `${result.entities.length} found${different ? `, ${different} not in all` : ""}`));
    const line = node("div", "en-text");
    line.dir = "auto";
    markText(line, text, marked, colour, tip, (entity) => (entity.differs ? [["", "not the same in all five"]] : []));
    row.append(title, line);
    return row;
  };

  return {
    card,
    clear: () => { tokens.textContent = ""; ways.textContent = ""; card.hidden = true; },
    update: (m, colour) => {
      card.hidden = !m.strategies;
      if (!m.strategies || ways.firstChild) return;
      const found = m.strategies;
      legend.replaceChildren(legendOf(m.start?.labels || [], colour));
      tokens.replaceChildren(...found.tokens.map((token) => tokenOf(token, colour)));
      ways.replaceChildren(...found.results.map((result) => wayOf(result, found.text, colour)));
      const different = found.results.some((result) => result.differs.some(Boolean));
      setText(side, different ? "≠ and a dashed frame: not the same in all five" : "all five find the same");
    },
  };
};

const makeAlignments = () => {
  const holder = node("div", "bs-results en-alignments");
  let drawn = 0;

  const HEADS = [["Word", ""], ["", ""], ["Subwords, with word_ids and label under each", ""], ["Why", ""]];
  const ignored = (subword) => subword.label === null;
  const tokenOf = (subword, row, colour) => {
    const cell = node("span", ignored(subword) ? "en-align-token is-ignored" : "en-align-token");
    cell.classList.toggle("is-cut", subword.cut);
    const text = node("span", "en-piece");
    paintToken(text, { t: subword.piece, piece: subword.piece });
    const label = ignored(subword) ? node("span", "en-tag is-ignored", subword.cut ? "cut" : "-100") : tagChip(subword.label || "O", colour);
    cell.append(text, node("span", "en-align-id", row.word_id === null ? "None" : String(row.word_id)), label);
    cell.title = `id ${subword.id}, characters ${subword.start} to ${subword.end}${subword.unknown ? ", not in the vocabulary" : ""}`;
    if (subword.unknown) cell.append(node("span", "en-align-mark", "unknown"));
    return cell;
  };
  const keysOf = () => {
    const keys = node("span", "en-align-keys");
    keys.append(node("span", "", "token"), node("span", "", "word_ids"), node("span", "", "label"));
    return keys;
  };
  const reasons = (row) => {
    const later = row.subwords.slice(1).map((subword) => subword.why);
    return [...new Set([row.why, ...later])].filter(Boolean).join(" ");
  };

  const alignmentOf = (one, colour) => {
    const { card, side } = cardOf("en-alignment", one.tokenizer, one.kind === one.tokenizer ? "" : one.kind);
    card.hidden = false;
    card.dataset.kind = one.kind;
    const count = one.rows.reduce((sum, row) => sum + row.subwords.length, 0), words = one.rows.filter((row) => row.word_id !== null).length;
    setText(side, `${side.textContent ? `${side.textContent} · ` : ""}${plural(words, "word")}, ${plural(count, "token")}`);
    const { wrap, body } = tableOf(HEADS, `Alignment of ${one.tokenizer}`);
    for (const row of one.rows) {
      const tokens = node("span", "en-align-tokens");
      tokens.append(...row.subwords.map((subword) => tokenOf(subword, row, colour)));
      const word = node("span", "en-align-word", row.word);
      word.dir = "auto";
      const made = rowOf(body, [[word], [row.subwords.length ? keysOf() : "", "en-align-key"], [tokens], [reasons(row), "en-why"]]);
      made.classList.toggle("is-special", row.word_id === null);
      made.classList.toggle("is-cut", row.cut || !row.subwords.length);
    }
    card.append(wrap);
    if (one.truncated) card.append(node("p", "en-warn", `${plural(one.truncated, "word")} cut off: what is cut is not trained on.`));
    if (one.note) card.append(node("p", "bv-muted bs-small", one.note));
    return card;
  };

  return {
    card: holder,
    clear: () => { drawn = 0; holder.textContent = ""; holder.hidden = true; },
    update: (m, colour) => {
      const all = m.alignments || [];
      holder.hidden = !all.length;
      while (drawn < all.length) holder.append(alignmentOf(all[drawn++], colour));
    },
  };
};
