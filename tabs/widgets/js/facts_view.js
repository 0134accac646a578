// Facts of a model: what it is made of, how large each part is, and why it was placed where it is.

const root = element.querySelector(".bv-facts") || element;
const card = node("details", "bv-card bv-fold");
const summary = node("summary", "bv-fold-head");
const brief = node("span", "bv-muted");
summary.append(node("span", "bv-card-title", "Model"), brief);
const body = node("div", "bv-fold-body");
card.append(summary, body);
root.append(card);

const draw = () => {
  const value = props.value;
  body.textContent = "";
  setText(brief, (value && value.title) || "its parts, its size and where it runs");
  if (!value) {
    body.append(node("p", "bv-empty-line", "Once a model is loaded, its parts and its place are here."));
    return;
  }
  const columns = node("div", "bv-facts-columns");
  const lines = node("dl", "bv-facts-lines");
  for (const [name, text] of value.lines || []) lines.append(node("dt", "", name), node("dd", "", String(text)));
  columns.append(lines);
  const parts = value.tree ? (Array.isArray(value.tree) ? value.tree : [value.tree]) : [];
  if (parts.length) {
    const total = parts.reduce((sum, part) => sum + (part.parameters || 0), 0) || 1;
    const tree = node("div", "bv-facts-tree");
    tree.setAttribute("aria-label", "Parameters per part");
    for (const part of parts) tree.append(partOf(part, total, 0));
    columns.append(tree);
  }
  body.append(columns);
  if (value.why) {
    const why = node("p", "bv-facts-why");
    why.append(node("strong", "", "Why here: "), document.createTextNode(value.why));
    body.append(why);
  }
};

const partOf = (part, total, depth) => {
  const row = (tag) => {
    const made = node(tag, "bv-part");
    const name = node("span", "bv-part-name");
    name.append(node("span", "", part.name));
    if (part.note) name.append(node("span", "bv-muted bv-part-note", part.note));
    const track = node("span", "bv-track");
    const bar = node("span", "bv-bar");
    bar.style.width = `${part.parameters ? Math.max(0.8, (100 * part.parameters) / total) : 0}%`;
    track.append(bar);
    const count = node("span", "bv-number", typeof part.parameters === "number" ? shortCount(part.parameters) : "");
    if (typeof part.parameters === "number") count.title = `${part.parameters.toLocaleString("en")} parameters`;
    made.append(name, track, count);
    return made;
  };
  if (!part.children || !part.children.length) return row("div");
  const made = node("details", "bv-part-group");
  made.open = depth < 1;
  made.append(row("summary"));
  const inside = node("div", "bv-part-inside");
  for (const child of part.children) inside.append(partOf(child, total, depth + 1));
  made.append(inside);
  return made;
};

watch("value", draw);
draw();
