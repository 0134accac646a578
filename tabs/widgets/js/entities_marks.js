// Entities in a text: one colour and one label per type, the score on hover. Offsets count characters as Python does.

const FIXED = { PER: 2, ORG: 1, LOC: 0 };
const SPARE = [3, 4, 5, 7, 6];

// The colour of each type, the same in every part of a run: the usual three have their own, others take turns.
const coloursOf = (labels) => {
  const found = {};
  let next = 0;
  for (const label of labels) {
    const type = typeOf(label);
    if (type === "O" || type in found) continue;
    found[type] = `var(--bt-c${type in FIXED ? FIXED[type] : SPARE[next++ % SPARE.length]})`;
  }
  return (label) => found[typeOf(label)] ?? "var(--bt-c6)";
};
const typeOf = (label) => (/^[BI]-./.test(label) ? label.slice(2) : label);

const scoreText = (score) => (score === null || score === undefined ? "n/a" : score.toFixed(3));

// Text with its entities marked. `about(entity)` gives further lines of the hover.
const markText = (target, text, entities, colour, tip, about = () => []) => {
  const characters = Array.from(text);
  const sorted = [...entities].sort((a, b) => a.start - b.start || b.end - a.end);
  let at = 0;
  target.textContent = "";
  for (const entity of sorted) {
    if (entity.start < at) continue;             // an overlap is shown once
    if (entity.start > at) target.append(document.createTextNode(characters.slice(at, entity.start).join("")));
    target.append(markOf(entity, characters.slice(entity.start, entity.end).join(""), colour, tip, about));
    at = entity.end;
  }
  if (at < characters.length) target.append(document.createTextNode(characters.slice(at).join("")));
};

const markOf = (entity, text, colour, tip, about) => {
  const mark = node("span", "en-mark");
  mark.style.setProperty("--type", colour(entity.type));
  mark.tabIndex = 0;
  mark.setAttribute("role", "note");
  mark.setAttribute("aria-label", `${text}, ${entity.type}, score ${scoreText(entity.score)}`);
  mark.append(node("span", "en-name", text), node("span", "en-label", entity.type));
  if (entity.differs) { mark.classList.add("is-different"); mark.append(node("span", "en-differs", "≠")); }
  const show = () => tip.show(mark, text, [["type", entity.type], ["score", scoreText(entity.score)], ["characters", `${entity.start} to ${entity.end}`], ...about(entity)]);
  for (const event of ["mouseenter", "focus"]) mark.addEventListener(event, show);
  for (const event of ["mouseleave", "blur"]) mark.addEventListener(event, tip.hide);
  return mark;
};

// A tag above or below a word: O is quiet, B- and I- have their type's colour and their whole name.
const tagChip = (tag, colour) => {
  const made = node("span", tag === "O" ? "en-tag is-out" : "en-tag", tag);
  if (tag !== "O") made.style.setProperty("--type", colour(tag));
  return made;
};

const legendOf = (labels, colour, counts) => {
  const box = node("div", "en-legend");
  for (const type of [...new Set(labels.map(typeOf))]) {
    if (type === "O") continue;
    const item = node("span", "en-key");
    const swatch = node("span", "en-swatch");
    swatch.style.setProperty("--type", colour(type));
    item.append(swatch, node("span", "", type));
    if (counts) item.append(node("span", "bs-mono bv-muted", (counts[type] ?? 0).toLocaleString("en")));
    box.append(item);
  }
  return box;
};

const cardOf = (cls, title, note) => {
  const card = node("section", `bv-card bs-card ${cls}`);
  const head = node("div", "bs-card-head");
  const side = node("span", "bv-muted bs-small", note ?? "");
  head.append(node("h3", "bv-card-title", title), side);
  card.append(head);
  card.hidden = true;
  return { card, head, side };
};

const tableOf = (heads, label) => {
  const wrap = node("div", "bs-table en-table");
  wrap.tabIndex = 0;
  wrap.setAttribute("role", "region");
  wrap.setAttribute("aria-label", label);
  const table = node("table");
  const top = table.createTHead().insertRow();
  for (const [name, cls, title] of heads) {
    const th = node("th", cls ?? "", name);
    th.scope = "col";
    if (title) th.title = title;
    top.append(th);
  }
  wrap.append(table);
  return { wrap, table, body: table.createTBody(), top };
};

const rowOf = (body, cells) => {
  const row = body.insertRow();
  for (const [content, cls] of cells) {
    const cell = row.insertCell();
    if (cls) cell.className = cls;
    if (content instanceof Node) cell.append(content); else cell.textContent = content;
  }
  return row;
};
