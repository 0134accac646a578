// The visitor's training runs: choose some, and see them side by side: a table, their curves on one figure, their scores.

const figures = window.benchtop.figures;
const root = element.querySelector(".bv-runs") || element;
const card = node("details", "bv-card bv-fold");
const summary = node("summary", "bv-fold-head");
const brief = node("span", "bv-muted");
summary.append(node("span", "bv-card-title", "Compare"), brief);
const body = node("div", "bv-fold-body");
const list = node("div", "rt-list");
const bar = node("div", "rt-bar");
const go = button("bv-button bv-small bv-button-primary rt-go", "Compare", "", () => ask());
const axis = node("select", "rt-axis");
axis.setAttribute("aria-label", "Horizontal axis of the curves");
for (const [value, word] of [["step", "by step"], ["epoch", "by epoch"], ["tokens", "by tokens"], ["seconds", "by seconds"]]) {
  const option = node("option", "", word);
  option.value = value;
  axis.append(option);
}
axis.addEventListener("change", () => { if (props.value?.compared) ask(); });
const refresh = button("bv-link", "refresh", "Look for new runs and new points", () => look());
bar.append(go, axis, refresh);
const result = node("div", "rt-result");
body.append(list, bar, result);
card.append(summary, body);
root.append(card);
card.addEventListener("toggle", () => { if (card.open) trigger("refresh", { runs: [...chosen], axis: axis.value, compared: false }); });

const chosen = new Set();
const look = () => trigger("refresh", { runs: [...chosen], axis: axis.value, compared: Boolean(props.value?.compared) });
const EVERY = 4000;  // milliseconds between two looks at a list on show whose runs still go on
let next = 0;
const watchRuns = (runs) => {
  clearTimeout(next);
  if (!card.open || !runs.some((run) => run.status === "running")) return;
  next = setTimeout(() => { if (element.offsetParent && !document.hidden) look(); else watchRuns(runs); }, EVERY);
};
let mounted = [], listed = "", compared = "";
const ask = () => { if (chosen.size) trigger("compare", { runs: [...chosen], axis: axis.value }); };
const tell = () => {
  go.disabled = chosen.size < 2;
  setText(go, chosen.size > 1 ? `Compare ${chosen.size} runs` : "Choose two or more");
};

const drawList = (runs) => {
  const shape = JSON.stringify(runs);
  if (shape === listed) return;
  listed = shape;
  list.textContent = "";
  if (!runs.length) { list.append(node("p", "bv-empty-line", "Your runs will be listed here.")); return; }
  const groups = new Map();
  for (const run of runs) if (run.group) groups.set(run.group, [...(groups.get(run.group) ?? []), run.id]);
  const told = new Set();
  for (const run of runs) {
    if (run.group && !told.has(run.group) && groups.get(run.group).length > 1) {
      told.add(run.group);
      const ids = groups.get(run.group);
      const whole = node("div", "rt-group");
      whole.append(node("span", "", `a sweep of ${ids.length} runs`), button("bv-link rt-all", "choose all of it", "", () => { chosen.clear(); for (const id of ids) chosen.add(id); listed = ""; draw(); ask(); }));
      list.append(whole);
    }
    const line = node("div", "rt-run");
    const label = node("label", "");
    const tick = node("input");
    tick.type = "checkbox";
    tick.checked = chosen.has(run.id);
    tick.addEventListener("change", () => { if (tick.checked) chosen.add(run.id); else chosen.delete(run.id); tell(); });
    label.append(tick, node("span", "rt-title", run.title));
    line.append(label, node("span", "rt-state", run.status), node("span", "tv-value", run.age), button("bv-link", "open", `Open ${run.title}`, () => trigger("open", { run: run.id })));
    list.append(line);
  }
};

const number = (value) => {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return String(value);
  return Number.isInteger(value) ? value.toLocaleString("en") : String(Number(value.toPrecision(4)));
};

const drawCompared = (found) => {
  const shape = JSON.stringify(found ?? null);
  if (shape === compared) return;
  compared = shape;
  for (const handle of mounted) handle.destroy();
  mounted = [];
  result.textContent = "";
  if (!found) return;
  const scroll = node("div", "bt-table rt-table");
  const table = node("table", "");
  const headRow = table.createTHead().insertRow();
  for (const name of found.columns) { const th = node("th", "", name); th.scope = "col"; headRow.append(th); }
  const rows = table.createTBody();
  found.rows.forEach((row, i) => {
    const line = rows.insertRow();
    row.forEach((value, j) => {
      const cell = line.insertCell();
      if (j === 0) {
        const dot = node("i", "dp-dot");
        dot.style.background = `var(--bt-c${i % 8})`;
        cell.append(dot, node("span", "", number(value)));
      } else { cell.textContent = number(value); if (typeof value === "number" || value === null) cell.className = "num"; }
    });
  });
  scroll.append(table);
  result.append(scroll);
  const grid = node("div", "rt-figures");
  result.append(grid);
  for (const name of ["score", "eval", "train"]) {
    const spec = found.figures[name];
    if (!spec) continue;
    const place = node("div", name === "score" ? "tv-panel is-wide" : "tv-panel");
    place.dataset.figure = name;
    grid.append(place);
    const score = name === "score";
    const traces = spec.traces.map((trace) => (score ? { size: 10, rim: true, width: 1.25, ...trace } : { joined: true, ...trace }));
    mounted.push(figures.mount(place, { height: score ? 240 : 220, values: !score, ...spec, traces, hover: score ? "closest" : "x unified", empty: "No points yet." }));
  }
};

const draw = () => {
  const value = props.value;
  const runs = value?.runs ?? [];
  const known = new Set(runs.map((run) => run.id));
  for (const id of value?.chosen ?? []) if (known.has(id)) chosen.add(id);
  for (const id of [...chosen]) if (!known.has(id)) chosen.delete(id);
  if (value?.open && !card.open) card.open = true;
  setText(brief, runs.length ? `${plural(runs.length, "run")} of yours: curves and scores on one figure` : "your runs, their curves and scores on one figure");
  drawList(runs);
  drawCompared(value?.compared);
  tell();
  watchRuns(runs);
};

watch("value", draw);
draw();
