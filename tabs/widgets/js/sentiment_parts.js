// Shared by the cards of the Sentiment lab: labels and their colours, probability bars, cards and tables.
// A label has one colour and its name everywhere; of two labels the last has the accent's.

const labelColour = (index, count) => (count === 2 ? 1 - index : index % 8);
const nameOfLabel = (labels, label) => (typeof label === "number" ? labels[label] ?? String(label) : String(label));
const seconds = (s) => (s >= 60 ? `${(s / 60).toFixed(1)} min` : s >= 1 ? `${s.toFixed(1)} s` : `${(s * 1000).toFixed(s >= 0.1 ? 0 : 1)} ms`);
const signed = (x, digits = 3) => `${x < 0 ? "−" : "+"}${Math.abs(x).toFixed(digits)}`;
const points = (x) => `${signed(100 * x, 1)} pp`;
const many = (n, one, several = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : several}`;
const flat = (p) => (p > 0 && p < 0.001 ? p.toExponential(1).replace("e-", "e−") : p.toFixed(3));

const cardOf = (cls, title, brief) => {
  const card = node("section", `bv-card sn-card ${cls}`);
  const head = node("div", "sn-head");
  const note = node("span", "bv-muted sn-small", brief);
  head.append(node("h3", "bv-card-title", title), note);
  card.append(head);
  card.hidden = true;
  return { card, head, note };
};

const scrolling = (label, cls = "") => {
  const box = node("div", `sn-scroll ${cls}`);
  box.tabIndex = 0;
  box.setAttribute("role", "region");
  box.setAttribute("aria-label", label);
  return box;
};

// A table with heads of [text, class, hint]; its rows are added by `line(row, [[class, content], …])`.
const tableOf = (heads) => {
  const table = node("table", "sn-table");
  const top = table.createTHead().insertRow();
  for (const [text, cls, hint] of heads) {
    const th = node("th", cls, text);
    th.scope = "col";
    if (hint) th.title = hint;
    top.append(th);
  }
  table.createTBody();
  return table;
};
const addRow = (table, cells) => {
  const row = table.tBodies[0].insertRow();
  for (const [cls, content] of cells) {
    const cell = row.insertCell();
    if (cls) cell.className = cls;
    if (content instanceof Node) cell.append(content);
    else cell.textContent = content ?? "";
  }
  return row;
};

const labelMark = (labels, label, cls = "") => {
  const made = node("span", `sn-label ${cls}`);
  const at = typeof label === "number" ? label : labels.indexOf(label);
  if (at >= 0) made.style.setProperty("--sn", `var(--bt-c${labelColour(at, labels.length)})`);
  made.append(node("span", "", nameOfLabel(labels, label)));
  return made;
};

// One output is a score on the model's own scale, several are probabilities.
const shareText = (labels, p) => (labels.length === 1 ? p.toFixed(3) : percent(p));

const barLine = (labels, index, p, before) => {
  const line = node("span", "sn-bar-line");
  const track = node("span", "sn-track");
  const fill = node("i");
  fill.style.cssText = `width: ${labels.length === 1 ? 0 : 100 * p}%; --sn: var(--bt-c${labelColour(index, labels.length)})`;
  track.append(fill);
  if (before !== undefined) {
    const mark = node("b", "sn-before");
    mark.style.left = `${100 * before}%`;
    mark.title = `original ${percent(before)}`;
    track.append(mark);
  }
  line.append(node("span", "sn-bar-name", labels[index]), track, node("span", "sn-number", shareText(labels, p)));
  return line;
};

// The probabilities of a text, the largest first where there are more than `most`.
const probabilityBars = (labels, p, { most = 3, before } = {}) => {
  const box = node("span", "sn-bars");
  let order = p.map((_, i) => i);
  if (p.length > most) order = order.sort((a, b) => p[b] - p[a]).slice(0, most);
  for (const i of order) box.append(barLine(labels, i, p[i], before?.[i]));
  return box;
};

const shareBar = (labels, counts) => {
  const total = counts.reduce((a, b) => a + b, 0) || 1;
  const bar = node("div", "sn-stack"), key = node("div", "sn-key");
  bar.setAttribute("role", "img");
  bar.setAttribute("aria-label", labels.map((label, i) => `${label} ${counts[i] ?? 0}`).join(", "));
  labels.forEach((label, i) => {
    const piece = node("i");
    piece.style.cssText = `flex: ${counts[i] ?? 0} 0 0; --sn: var(--bt-c${labelColour(i, labels.length)})`;
    bar.append(piece);
    const entry = node("span", "sn-key-item");
    entry.append(labelMark(labels, i), node("span", "sn-number", `${(counts[i] ?? 0).toLocaleString("en")} · ${percent((counts[i] ?? 0) / total)}`));
    key.append(entry);
  });
  return [bar, key];
};

// The line below a table's row, where an answer about that row comes.
const addBelow = (table, content, columns) => {
  const row = table.tBodies[0].insertRow();
  row.className = "sn-below";
  const cell = row.insertCell();
  cell.colSpan = columns;
  cell.append(content);
};
