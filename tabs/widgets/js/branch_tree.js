// The branches of a run: a small tree to return to. Nothing is drawn where there is only the run itself.

const root = element.querySelector(".bv-branches") || element;
const DOTS = { finished: "✓", stopped: "■", failed: "✕", running: "●", waiting: "○" };

const draw = () => {
  const value = props.value;
  root.textContent = "";
  const nodes = (value && value.nodes) || [];
  root.hidden = nodes.length < 2;
  if (root.hidden) return;
  const children = new Map();
  const known = new Set(nodes.map((n) => n.run));
  for (const item of nodes) {
    const parent = known.has(item.parent) ? item.parent : null;
    if (!children.has(parent)) children.set(parent, []);
    children.get(parent).push(item);
  }
  root.append(node("h3", "bv-card-title", "Branches"), node("span", "bv-muted", " each is a run of its own; click one to return to it"));
  const seen = new Set();
  const list = (parent) => {
    const made = node("ul", parent === null ? "bv-branch-list is-root" : "bv-branch-list");
    for (const item of children.get(parent) || []) {
      if (seen.has(item.run)) continue;
      seen.add(item.run);
      const line = node("li");
      line.append(entry(item, value.current));
      if (children.has(item.run)) line.append(list(item.run));
      made.append(line);
    }
    return made;
  };
  root.append(list(null));
};

const entry = (item, current) => {
  const made = button("bv-branch-open", "", "", () => trigger("open", { run: item.run }));
  made.dataset.run = item.run;
  if (item.run === current) { made.classList.add("is-current"); made.setAttribute("aria-current", "true"); }
  const dot = node("span", "bv-branch-dot", DOTS[item.status] || "○");
  dot.title = item.status || "";
  dot.setAttribute("aria-label", item.status || "");
  made.append(dot, node("span", "bv-branch-label", item.label || item.run));
  if (item.title) made.append(node("span", "bv-muted bv-branch-title", item.title));
  return made;
};

watch("value", draw);
draw();
