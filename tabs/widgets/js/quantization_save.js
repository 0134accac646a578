// Save: the certificate of the checkpoint that was written and read back, what was written, and where to download it.

const makeCertificate = () => {
  const { card, note } = cardOf("qz-certificate", "Certificate of parity", "");
  const wrap = scrolling("Certificate of parity"), beside = node("div", "qz-told");
  card.append(wrap, beside);
  let drawn = null;

  const cellOf = (value) => {
    if (value === "pass" || value === "fail" || typeof value === "boolean") {
      const good = value === "pass" || value === true;
      const box = node("span", `qz-verdict is-${good ? "fits" : "not"}`);
      box.append(node("b", "", good ? "✓" : "✕"), node("span", "", good ? "pass" : "fail"));
      return box;
    }
    return document.createTextNode(typeof value === "number" ? shortNumber(value) : value || "–");
  };

  const distance = (told) => {
    if (!told) return [];
    if (typeof told === "string") return [sentence(told)];
    const words = { kl: ["KL", (x) => `${nats(x)} nats`], top1: ["Top-1 agreement", shareOf], perplexity: ["Perplexity", perplexityText], full_perplexity: ["In full precision", perplexityText] };
    const pairs = Object.entries(told).filter(([, value]) => num(value)).map(([name, value]) => [words[name]?.[0] ?? name.replace(/_/g, " "), (words[name]?.[1] ?? shortNumber)(value)]);
    return [node("p", "qz-sub-title", "Distance from full precision"), node("p", "bv-muted qz-small", "for information; no verdict is drawn from it"), factsOf(pairs), ...(told.sentence ? [sentence(told.sentence)] : [])];
  };

  return {
    card,
    update: (m) => {
      const told = m.certificate;
      card.hidden = !told;
      if (!told || told === drawn) return;
      drawn = told;
      const rows = told.rows || told.lines || [];
      setText(note, told.what || "what was in memory against what was read back from the files");
      const table = tableOf((told.columns || ["measure", "measured", "allowed", "result"]).map((name) => [name, ""]));
      for (const row of rows) addRow(table, row.map((value) => ["", cellOf(value)]));
      wrap.replaceChildren(table);
      beside.replaceChildren(...distance(told.distance ?? told.full_precision ?? told.from_full));
    },
    clear: () => { drawn = null; },
  };
};

const makeSaved = () => {
  const { card, note } = cardOf("qz-saved", "The checkpoint", "");
  const bars = node("div", "qz-saved-bars"), wrap = scrolling("Files of the checkpoint"), links = node("p", "qz-told");
  card.append(bars, links, wrap);
  let drawn = "";

  const bar = (name, bytes, most, colour) => {
    const line = node("div", "qz-time"), box = node("span", "qz-time-bar"), track = node("span", "qz-stack"), piece = node("i");
    piece.style.cssText = `flex: 1 0 0; --qz: var(--bt-c${colour})`;
    track.style.width = `${(100 * bytes) / most}%`;
    track.append(piece);
    box.append(track);
    line.append(node("span", "qz-time-name", name), box, node("span", "qz-number", bytesText(bytes)));
    return line;
  };

  return {
    card,
    update: (m) => {
      const saved = m.saved, shape = `${frame.run()}|${Boolean(saved)}|${m.files.length}|${Boolean(props.value?.files)}`;
      card.hidden = !saved;
      if (!saved || shape === drawn) return;
      drawn = shape;
      const full = saved.full_bytes;
      setText(note, num(full) && full > 0 ? `${(full / saved.bytes).toFixed(2)} times smaller than in full precision` : "");
      bars.replaceChildren(...[["saved", saved.bytes, 0], ["full precision", full, 6]].filter(([, bytes]) => num(bytes)).map(([name, bytes, colour]) => bar(name, bytes, Math.max(saved.bytes, full || 0), colour)));
      const found = fileLinks(m.files, props.value);
      links.replaceChildren(...(m.files.length ? [node("span", "bv-muted qz-small", found.children.length ? "Download: " : "Its owner can download it."), found] : []));
      const table = tableOf([["File", "qz-name"], ["Size", "num"]]);
      for (const file of saved.files || []) addRow(table, [["qz-name", file.name], ["num", bytesText(file.bytes)]]);
      table.classList.add("is-narrow");
      wrap.replaceChildren(table);
    },
    clear: () => { drawn = ""; },
  };
};
