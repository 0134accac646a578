// Shared by the cards of the Quantization lab: cards, tables, switches, and numbers with their units.

const num = (x) => typeof x === "number" && Number.isFinite(x);
const three = (x) => (x >= 100 ? Math.round(x).toLocaleString("en") : x.toFixed(x >= 10 ? 1 : 2));
const bytesText = (n) => {
  if (!num(n)) return "n/a";
  for (const [unit, one] of [["TB", 1e12], ["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) if (Math.abs(n) >= one) return `${three(n / one)} ${unit}`;
  return `${Math.round(n)} B`;
};
const seconds = (s) => {
  if (!num(s)) return "n/a";
  if (s >= 60) return `${(s / 60).toFixed(1)} min`;
  return s >= 1 ? `${s.toFixed(s >= 10 ? 1 : 2)} s` : `${(s * 1000).toFixed(s >= 0.1 ? 0 : 1)} ms`;
};
const rate = (r) => (num(r) ? (r >= 100 ? Math.round(r).toLocaleString("en") : r.toFixed(1)) : "n/a");
const perplexityText = (p) => (num(p) ? (p >= 1000 ? Math.round(p).toLocaleString("en") : p.toFixed(p >= 100 ? 1 : 3)) : "n/a");
const nats = (x) => {
  if (!num(x)) return "n/a";
  if (x === 0) return "0";
  const size = Math.abs(x);
  return size >= 0.01 ? x.toFixed(4) : size >= 1e-9 ? x.toExponential(1).replace("e-", "e−") : x < 0 ? "−0" : "<1e−9";
};
const decibels = (x) => (num(x) ? `${x.toFixed(1)} dB` : "exact");
const signed = (x, digits = 3) => (num(x) ? `${x < 0 ? "−" : "+"}${Math.abs(x).toFixed(digits)}` : "n/a");
const shareOf = (p) => (num(p) ? (p === 1 ? "100%" : `${(100 * p).toFixed(2)}%`) : "n/a");
const many = (n, one, several = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : several}`;

const cardOf = (cls, title, brief) => {
  const card = node("section", `bv-card qz-card ${cls}`);
  const head = node("div", "qz-head");
  const name = node("h3", "bv-card-title", title), note = node("span", "bv-muted qz-small", brief);
  head.append(name, note);
  card.append(head);
  card.hidden = true;
  return { card, head, name, note };
};

const scrolling = (label) => {
  const box = node("div", "qz-scroll");
  box.tabIndex = 0;
  box.setAttribute("role", "region");
  box.setAttribute("aria-label", label);
  return box;
};

// A table with heads of [text, class, hint].
const tableOf = (heads) => {
  const table = node("table", "qz-table");
  const top = table.createTHead().insertRow();
  for (const [text, cls, hint] of heads) {
    const th = node("th", cls, text);
    th.scope = "col";
    if (hint) { th.title = hint; th.classList.add("has-hint"); }
    top.append(th);
  }
  table.createTBody();
  return table;
};
const addRow = (table, cells) => {
  const row = table.tBodies[0].insertRow();
  for (const [cls, content, hint] of cells) {
    const cell = row.insertCell();
    if (cls) cell.className = cls;
    if (hint) cell.title = hint;
    if (content instanceof Node) cell.append(content);
    else cell.textContent = content ?? "";
  }
  return row;
};

// What was measured, and under it, smaller, what it is held against.
const measured = (value, below) => {
  const box = node("span", "qz-pair");
  box.append(node("span", "qz-main", value), node("span", "qz-sub", below || ""));
  return box;
};

const fact = (name, value, hint) => {
  const box = node("div", "qz-fact");
  if (hint) box.title = hint;
  const dd = node("dd", "");
  if (value instanceof Node) dd.append(value);
  else dd.textContent = value;
  box.append(node("dt", "", name), dd);
  return box;
};
const factsOf = (pairs) => {
  const list = node("dl", "qz-facts");
  for (const [name, value, hint] of pairs) if (value !== null && value !== undefined) list.append(fact(name, value, hint));
  return list;
};

// One of several, as a row of joined buttons: a radio group for the keyboard too.
const segments = (label, choices, chosen, choose) => {
  const group = node("span", "qz-segments");
  group.setAttribute("role", "radiogroup");
  group.setAttribute("aria-label", label);
  const mark = (value) => {
    for (const each of group.children) {
      const on = each.dataset.value === value;
      each.setAttribute("aria-checked", String(on));
      each.tabIndex = on ? 0 : -1;
    }
  };
  for (const [value, text] of choices) {
    const made = button("qz-segment", text, "", () => { mark(value); choose(value); });
    made.setAttribute("role", "radio");
    made.dataset.value = value;
    group.append(made);
  }
  group.addEventListener("keydown", (e) => {
    const way = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[e.key];
    if (!way) return;
    e.preventDefault();
    const all = [...group.children], at = all.indexOf(document.activeElement);
    const to = all[(at + way + all.length) % all.length];
    to.focus();
    to.click();
  });
  mark(chosen);
  return group;
};

const selectOf = (label, choices, chosen, choose) => {
  const box = node("label", "qz-choice");
  const select = node("select", "qz-select");
  for (const [value, text] of choices) {
    const option = node("option", "", text);
    option.value = value;
    select.append(option);
  }
  select.value = chosen;
  select.addEventListener("change", () => choose(select.value));
  box.append(node("span", "", label), select);
  return box;
};

// A figure that is mounted when it is first given something to draw.
const figureIn = (place) => {
  let figure = null;
  return {
    update: (spec) => {
      if (figure) figure.update(spec);
      else figure = window.benchtop.figures.mount(place, spec);
    },
    clear: () => { figure?.destroy(); figure = null; },
  };
};

const sentence = (text) => node("p", "qz-sentence", text);

// Links to the files that a run has left, for its owner.
const fileLinks = (files, value) => {
  const box = node("span", "qz-files");
  for (const file of value?.files ? files : []) {
    const link = node("a", "qz-link", file.path.split("/").pop());
    link.href = window.benchtop.url(`${value.files}${file.path.split("/").map(encodeURIComponent).join("/")}?ticket=${value.ticket}`);
    link.download = "";
    link.append(node("span", "qz-at", ` ${bytesText(file.bytes)}`));
    box.append(link);
  }
  return box;
};
