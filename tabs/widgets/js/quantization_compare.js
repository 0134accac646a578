// Compare: the table of schemes with what was predicted beside what was measured, the sentences that explain it, where
// the time of a forward pass goes, and the sampled texts with the place of their first difference.

const nextTo = (value, reference) => (num(value) && num(reference) && reference > 0 ? `${(value / reference).toFixed(2)} ×` : "");
const planned = (pair, write) => (num(pair?.predicted) ? `plan ${write(pair.predicted)}` : "");

const SCHEME_HEADS = [
  ["Scheme", "qz-name", ""],
  ["Weights", "num", "all numbers of the model in memory, the quantizer's own constants among them; under it the plan's figure"],
  ["Peak", "num", "the most that loading took at one moment; under it the plan's figure"],
  ["Steady", "num", "what stayed in memory after loading, as the system tells it"],
  ["Load", "num", "time from the files to a model that can be used"],
  ["Prefill", "num", "tokens of the prompt read per second; under it the share of the reference's rate"],
  ["Decode", "num", "tokens written per second; under it the share of the reference's rate"],
  ["Perplexity", "num", "on the scored text: lower is better"],
  ["KL (nats)", "num", "mean divergence of the next-token distribution from the reference's, in nats: 0 is the same"],
  ["Top-1", "num", "share of the positions at which the most likely token is the reference's"],
  ["Same text", "num", "tokens of the sampled text until it first differs from the reference's"],
];

const schemeCells = (row, reference, onFront) => {
  const own = row === reference;
  const bits = num(row.bits) ? `${Number(row.bits.toFixed(2))} bits` : "";
  const first = node("span", "qz-pair"), below = node("span", "qz-marks");
  if (onFront) { const badge = node("span", "qz-badge is-front", "◆ front"); badge.title = "No other scheme is at least as good in bytes, decode time and KL, and better in one of them."; below.append(badge); }
  if (own) below.append(node("span", "qz-badge", "reference"));
  below.append(node("span", "qz-sub", [bits, row.dtype].filter(Boolean).join(" · ")));
  first.append(node("strong", "qz-scheme", row.title || row.scheme), below);
  const of = (part) => (own ? "" : nextTo(row[part]?.tokens_per_second, reference[part]?.tokens_per_second));
  const constants = row.bytes?.constants;
  return [
    ["qz-name", first],
    ["num", measured(bytesText(row.bytes?.measured), planned(row.bytes, bytesText)), num(constants) && constants ? `of these ${bytesText(constants)} are the quantizer's constants` : ""],
    ["num", measured(bytesText(row.peak?.measured), planned(row.peak, bytesText))],
    ["num", measured(row.steady > 0 ? bytesText(row.steady) : "n/a"), row.steady > 0 ? "" : "the process gave back more memory than the model took: nothing can be told from it"],
    ["num", measured(seconds(row.load_seconds))],
    ["num", measured(`${rate(row.prefill?.tokens_per_second)} tok/s`, of("prefill"))],
    ["num", measured(`${rate(row.decode?.tokens_per_second)} tok/s`, of("decode"))],
    ["num", measured(perplexityText(row.perplexity))],
    ["num", measured(own ? "0" : nats(row.kl))],
    ["num", measured(own ? "100%" : shareOf(row.top1))],
    ["num", measured(own ? "–" : sameTokens(row, reference))],
  ];
};
const sameTokens = (row, reference) => {
  if (typeof row.text === "string" && row.text === reference.text) return "all";
  return num(row.same_tokens) ? many(row.same_tokens, "token") : "n/a";
};

const makeSchemes = () => {
  const { card, head } = cardOf("qz-schemes", "Schemes", "measured here; “plan” is what was predicted from the shapes before loading");
  const files = node("span", "qz-files");
  head.append(node("span", "bv-gap"), files);
  const wrap = scrolling("Schemes");
  const reading = node("ul", "qz-readings");
  reading.setAttribute("aria-label", "What the numbers say");
  card.append(wrap, reading);
  let drawn = "";

  const skippedRow = (table, one) => {
    const row = addRow(table, [["qz-name", measured(one.title || one.scheme, "skipped")]]);
    row.className = "is-skipped";
    const why = row.insertCell();
    why.colSpan = SCHEME_HEADS.length - 1;
    why.textContent = one.why;
  };

  return {
    card,
    update: (m) => {
      card.hidden = !m.schemes.length && !m.skipped.length;
      const value = props.value;
      const shape = `${frame.run()}|${m.schemes.length}|${m.skipped.length}|${m.front?.names}|${m.files.length}|${m.reading?.lines?.length}|${Boolean(value?.files)}`;
      if (card.hidden || shape === drawn) return;
      drawn = shape;
      const front = new Set(m.front?.names || []), reference = m.schemes[0];
      const table = tableOf(SCHEME_HEADS);
      for (const row of m.schemes) {
        const line = addRow(table, schemeCells(row, reference, front.has(row.scheme)));
        line.dataset.scheme = row.scheme;
        line.classList.toggle("is-front", front.has(row.scheme));
      }
      for (const one of m.skipped) skippedRow(table, one);
      wrap.replaceChildren(table);
      files.replaceChildren(fileLinks(m.files, value));
      const titles = new Map(m.schemes.map((row) => [row.scheme, row.title || row.scheme]));
      reading.replaceChildren(...(m.reading?.lines || []).map((line) => {
        const item = node("li", "qz-reading");
        const title = titles.get(line.scheme) || line.scheme || "";
        if (!line.text.startsWith(title)) item.append(node("strong", "", title));
        item.append(node("span", "", line.text));
        return item;
      }));
    },
    clear: () => { drawn = ""; },
  };
};

// --- where the time goes ---------------------------------------------------------------------------------------------
const TIME_PARTS = [["products_seconds", "matrix products"], ["unpacking_seconds", "unpacking weights"], ["rounding_seconds", "rounding activations"], ["casts_seconds", "casts and copies"], ["attention_seconds", "attention"], ["other_seconds", "everything else"]];

const makeTimes = () => {
  const { card } = cardOf("qz-times", "Where the time goes", "one written token: parts from the profiler, scaled to the time that was measured without it");
  const list = node("div", "qz-times-list"), key = node("div", "qz-keys");
  card.append(list, key);
  let drawn = "";

  const line = (row, most) => {
    const box = node("div", "qz-time"), track = node("span", "qz-stack");
    const parts = TIME_PARTS.map(([part]) => row.parts[part] || 0), total = parts.reduce((a, b) => a + b, 0);
    track.style.width = `${(100 * total) / most}%`;
    track.setAttribute("role", "img");
    track.setAttribute("aria-label", TIME_PARTS.map(([, words], i) => `${words} ${seconds(parts[i])}`).join(", "));
    parts.forEach((part, i) => {
      if (!part) return;
      const piece = node("i");
      piece.style.cssText = `flex: ${(1000 * part) / total} 0 0; --qz: var(--bt-c${i})`;
      piece.title = `${TIME_PARTS[i][1]}: ${seconds(part)}`;
      track.append(piece);
    });
    const bar = node("span", "qz-time-bar");
    bar.append(track);
    box.append(node("span", "qz-time-name", row.title || row.scheme), bar, node("span", "qz-number", seconds(total)));
    if (row.parts.kernel) box.append(node("span", "qz-time-kernel bv-muted qz-small", `products run as ${row.parts.kernel}`));
    return box;
  };

  return {
    card,
    update: (m) => {
      const rows = m.schemes.filter((row) => TIME_PARTS.some(([part]) => row.parts?.[part] > 0));
      card.hidden = !rows.length;
      const shape = `${frame.run()}|${rows.length}`;
      if (card.hidden || shape === drawn) return;
      drawn = shape;
      const totals = rows.map((row) => TIME_PARTS.reduce((sum, [part]) => sum + (row.parts[part] || 0), 0));
      list.replaceChildren(...rows.map((row) => line(row, Math.max(...totals))));
      const found = TIME_PARTS.map(([part, words], i) => [words, i, rows.some((row) => row.parts[part] > 0)]).filter(([, , there]) => there);
      key.replaceChildren(...found.map(([words, i]) => {
        const item = node("span", "qz-key");
        item.style.setProperty("--qz", `var(--bt-c${i})`);
        item.append(node("span", "", words));
        return item;
      }));
    },
    clear: () => { drawn = ""; },
  };
};

// --- the sampled texts -----------------------------------------------------------------------------------------------
const sharedStart = (one, other) => {
  const a = Array.from(one), b = Array.from(other);
  let same = 0;
  while (same < a.length && same < b.length && a[same] === b[same]) same++;
  return [a.slice(0, same).join(""), a.slice(same).join(""), same === b.length];
};

const makeTexts = () => {
  const { card } = cardOf("qz-texts", "Sampled text", "one prompt and one seed; what differs from the reference is marked from its first token on");
  const grid = node("div", "qz-texts-grid");
  card.append(grid);
  let shown = "";

  const textOf = (row, reference) => {
    const box = node("article", "qz-text");
    box.dataset.scheme = row.scheme;
    const [same, rest, whole] = sharedStart(row.text, reference.text);
    const equal = row === reference || (!rest && whole);
    const told = row === reference ? "reference" : equal ? "the same text" : `${many(row.same_tokens ?? 0, "token")} the same`;
    const head = node("div", "qz-text-head");
    head.append(node("h4", "", row.title || row.scheme), node("span", "bv-muted qz-small", told));
    const flow = node("p", "qz-flow");
    flow.dir = "auto";
    const start = node("span", ""), end = node("mark", "qz-differs");
    paintText(start, same);
    flow.append(start);
    if (row !== reference && (rest || !whole)) {
      if (rest) paintText(end, rest); else end.textContent = "(ends here)";
      flow.append(end);
    }
    box.append(head, flow);
    return box;
  };

  return {
    card,
    update: (m) => {
      const rows = m.schemes.filter((row) => typeof row.text === "string");
      card.hidden = !rows.length;
      const shape = `${frame.run()}|${rows.length}`;
      if (card.hidden || shape === shown) return;
      shown = shape;
      grid.replaceChildren(...rows.map((row) => textOf(row, rows[0])));
    },
    clear: () => { shown = ""; grid.textContent = ""; },
  };
};
