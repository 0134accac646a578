// A table of text. Cells are updated in place, so that a refresh moves neither the focus nor the page.
const shape = (v) => JSON.stringify([v.columns, v.rows.map((r) => [r.length]), v.keys ?? null, v.actions ?? null]);
let drawn = "";
let table = null;

const cell = (tag, text) => {
  const node = document.createElement(tag);
  node.textContent = text;
  return node;
};
const words = (value) => (value === null || value === undefined ? "–" : String(value));

const build = (v) => {
  const wrap = element.querySelector(".bt-table");
  wrap.textContent = "";
  table = document.createElement("table");
  const head = table.createTHead().insertRow();
  for (const name of v.columns) { const th = cell("th", name); th.scope = "col"; head.append(th); }
  if (v.actions) { const th = cell("th", ""); th.scope = "col"; th.setAttribute("aria-label", "actions"); head.append(th); }
  const body = table.createTBody();
  v.rows.forEach((row, i) => {
    const line = body.insertRow();
    row.forEach((value, j) => {
      const node = cell("td", words(value));
      if (typeof value === "number" || v.numbers?.includes(j)) node.className = "num";
      line.append(node);
    });
    if (!v.actions) return;
    const acts = line.insertCell();
    acts.className = "acts";
    for (const action of v.actions[i] ?? []) {
      const button = cell("button", action);
      button.type = "button";
      button.setAttribute("aria-label", `${action}: ${words(row[0])}, ${words(row[1])}`);
      button.addEventListener("click", () => trigger("act", { act: action, key: v.keys[i] }));
      acts.append(button);
    }
  });
  wrap.append(table);
};

const draw = () => {
  const v = props.value;
  if (!v) return;
  element.querySelector(".bt-empty").textContent = v.rows.length ? "" : v.empty ?? "Nothing here yet.";
  element.querySelector(".bt-table").hidden = !v.rows.length;
  if (shape(v) !== drawn) { build(v); drawn = shape(v); return; }
  v.rows.forEach((row, i) => row.forEach((value, j) => {
    const node = table.tBodies[0].rows[i].cells[j];
    if (node.textContent !== words(value)) node.textContent = words(value);
  }));
};
watch("value", draw);
draw();
