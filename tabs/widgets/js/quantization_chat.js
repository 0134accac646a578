// Chat format: what the model really reads, format beside format. Special tokens are chips, turns have their tints and
// token counts, and below stands what each format does to the model's answer.

const turnColour = (turn) => (num(turn) && turn >= 0 ? `var(--bt-c${turn % 8})` : "transparent");
const marksOf = (special) => {
  if (!special) return "";
  if (typeof special === "string") return special;
  const one = special.one ?? special.whole ?? special.as_one ?? 0, split = special.split ?? special.pieces ?? 0;
  if (!one && !split) return "no special tokens";
  return [one ? `${many(one, "special token")} known as one` : "", split ? `${split} cut into pieces` : ""].filter(Boolean).join(", ");
};

const makeFormats = () => {
  const { card, head } = cardOf("qz-formats", "What the model reads", "the same conversation in each format");
  const choice = { view: "text" };
  let model = null, shape = "";
  const views = segments("Show", [["text", "Text"], ["tokens", "Tokens"]], choice.view, (value) => { choice.view = value; shape = ""; draw(); });
  head.append(node("span", "bv-gap"), views);
  const legend = node("p", "qz-legend");
  legend.append(chip("special", "", "special"), node("span", "bv-muted qz-small", "a token of the format"), node("span", "qz-role", "role"), node("span", "bv-muted qz-small", "whose turn it is"), node("span", "qz-generation", "generation prompt"), node("span", "bv-muted qz-small", "where the model goes on; tints tell the turns apart"));
  const grid = node("div", "qz-formats-grid");
  card.append(legend, grid);

  const pieceOf = (piece) => {
    const made = node("span", `qz-piece is-${piece.kind}`);
    made.style.setProperty("--qz", turnColour(piece.turn));
    if (piece.kind === "special") { made.append(chip("special", "", piece.text.replace(/\n/g, "")), ...(piece.text.endsWith("\n") ? [oddPart("\n")] : [])); return made; }
    paintText(made, piece.text);
    return made;
  };
  const tokenOf = (token, i) => {
    const made = node("span", `qz-token${i % 2 ? " is-odd" : ""}`);
    made.style.setProperty("--qz", turnColour(token.turn));
    paintToken(made, { t: token.t, piece: token.piece, special: token.special === true });
    return made;
  };

  const counts = (format) => {
    const list = node("ul", "qz-counts");
    (format.per_turn || []).forEach((n, turn) => {
      const item = node("li", "qz-key");
      item.style.setProperty("--qz", turnColour(turn));
      item.append(node("span", "", `turn ${turn + 1}`), node("span", "qz-number", many(n, "token")));
      list.append(item);
    });
    return list;
  };

  const formatOf = (format) => {
    const box = node("article", "qz-format");
    box.dataset.format = format.format;
    const title = node("div", "qz-text-head");
    title.append(node("h4", "", format.title || format.format), node("span", "bv-muted qz-small", num(format.total) ? many(format.total, "token") : ""));
    box.append(title);
    if (format.note) box.append(node("p", "qz-note", format.note));
    if (format.text || format.pieces?.length) {
      const flow = node("p", "qz-flow qz-prompt");
      flow.dir = "auto";
      if (choice.view === "tokens") (format.tokens || []).forEach((token, i) => flow.append(tokenOf(token, i)));
      else flow.append(...(format.pieces || []).map(pieceOf));
      if (choice.view === "tokens" && format.total > (format.tokens || []).length) flow.append(node("span", "bv-muted", ` … and ${many(format.total - format.tokens.length, "token")} more`));
      box.append(flow, counts(format), node("p", "bv-muted qz-small", marksOf(format.special_as_one)));
    }
    if (format.reply) {
      const reply = node("div", "qz-reply"), words = node("p", "qz-flow");
      words.dir = "auto";
      paintText(words, format.reply.text || "");
      if (!format.reply.text) words.textContent = "(nothing: it ends at once)";
      reply.append(node("span", "bv-muted qz-small", "the model goes on, greedily"), words);
      box.append(reply);
    }
    return box;
  };

  const draw = () => {
    const now = `${frame.run()}|${model.formats.length}|${choice.view}`;
    if (now === shape) return;
    shape = now;
    grid.replaceChildren(...model.formats.map(formatOf));
  };

  return {
    card,
    update: (m) => {
      model = m;
      card.hidden = !m.formats.length;
      if (!card.hidden) draw();
    },
    clear: () => { shape = ""; grid.textContent = ""; },
  };
};

const makeWrong = () => {
  const { card, note } = cardOf("qz-wrong", "With the wrong template", "the same conversation, the same model, another format");
  const lines = node("ul", "qz-readings"), wrap = scrolling("How likely the last answer is in each format");
  card.append(lines, wrap);
  let drawn = null;
  return {
    card,
    update: (m) => {
      const told = m.wrong;
      card.hidden = !told?.lines?.length && !Object.keys(told?.perplexity || {}).length;
      if (card.hidden || told === drawn) return;
      drawn = told;
      const titleOf = (format) => m.formats.find((f) => f.format === format)?.title || format;
      setText(note, told.against ? `the same conversation and model, each format held against ${titleOf(told.against).replace(/^The/, "the")}` : "the same conversation, the same model, another format");
      lines.replaceChildren(...(told.lines || []).map((line) => {
        const item = node("li", "qz-reading");
        if (line.format) item.append(node("strong", "", titleOf(line.format)));
        item.append(node("span", "", line.text ?? String(line)));
        return item;
      }));
      const found = Object.entries(told.perplexity || {}).filter(([, value]) => num(value));
      wrap.hidden = !found.length;
      if (!found.length) return;
      const table = tableOf([["Format", "qz-name"], ["Perplexity of the last answer", "num", "how surprised the model is by the last assistant turn: lower is less"]]);
      const least = Math.min(...found.map(([, value]) => value));
      for (const [format, value] of found) addRow(table, [["qz-name", titleOf(format)], [`num${value === least ? " is-best" : ""}`, `${perplexityText(value)}${value === least ? " ★" : ""}`]]);
      table.classList.add("is-narrow");
      wrap.replaceChildren(table);
    },
    clear: () => { drawn = null; },
  };
};
