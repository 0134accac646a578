// Afterwards: what can be made of a finished training, each as a run of its own, with its files and its certificate.

const root = element.querySelector(".bv-exports") || element;
const box = node("section", "bv-card ex-card");
const head = node("header", "tv-head");
const use = node("a", "bv-button bv-small bv-button-primary ex-use", "Use in Decoding");
const where = node("span", "bv-muted dp-note");
head.append(node("h3", "bv-card-title", "Afterwards"), where, node("span", "bv-gap"), use);
box.append(head);
root.append(box);

const KINDS = [
  ["merge", "Merge", "one model without an adapter, checked against the adapter on the validation rows"],
  ["zip", "Download", "safetensors, tokenizer and card as one zip file"],
  ["onnx", "ONNX", "for onnxruntime, checked against the model in PyTorch"],
  ["tensorboard", "TensorBoard", "these curves as event files"],
  ["hub", "Push to the Hub", "under your name, with your own token"],
];
const size = (bytes) => (bytes >= 1e9 ? `${(bytes / 1e9).toFixed(2)} GB` : bytes >= 1e6 ? `${(bytes / 1e6).toFixed(1)} MB` : `${Math.ceil(bytes / 1e3)} KB`);
const lines = new Map();

const field = (label, type, cls, hint) => {
  const made = node("label", `ex-field ${cls}`);
  const input = node("input");
  input.type = type;
  input.autocomplete = "off";
  if (hint) input.placeholder = hint;
  made.append(...(type === "checkbox" ? [input, node("span", "", label)] : [node("span", "", label), input]));
  return [made, input];
};

for (const [kind, title, what] of KINDS) {
  const line = node("article", "ex-line");
  line.dataset.kind = kind;
  const words = node("p", "ex-words");
  words.append(node("strong", "", title), node("span", "bv-muted", what));
  const result = node("div", "ex-result");
  const one = { line, result, stream: null, run: null, shape: "" };
  const data = () => ({ kind, repo: "", private: true, token: "" });
  const start = button("bv-button bv-small ex-start", kind === "hub" ? "Push" : kind === "zip" ? "Zip" : "Export", "", () => {
    const asked = one.data();
    if (kind === "hub" && (!asked.repo || !asked.token)) { result.textContent = ""; result.append(node("p", "ex-status", "A repository's name and your token are needed.")); return; }
    start.disabled = true;
    setTimeout(() => { start.disabled = false; }, 4000);
    result.textContent = "";
    result.append(node("p", "ex-status", "starting"));
    trigger("export", asked);
  });
  one.data = data;
  const row = node("div", "ex-row");
  row.append(words);
  if (kind === "hub") {
    const [repoLabel, repo] = field("Repository", "text", "", "you/story-pirate");
    const [tokenLabel, token] = field("Your token", "password", "", "hf_…");
    const [privateLabel, hidden] = field("private", "checkbox", "");
    hidden.checked = true;
    const inputs = node("div", "ex-fields");
    inputs.append(repoLabel, tokenLabel, privateLabel, start);
    one.data = () => {
      const given = { kind, repo: repo.value.trim(), private: hidden.checked, token: token.value.trim() };
      token.value = "";
      return given;
    };
    line.append(row, inputs, result);
  } else {
    row.append(start);
    line.append(row, result);
  }
  box.append(line);
  lines.set(kind, one);
}

// --- one export's records --------------------------------------------------------------------------------------------
const certificate = (record) => {
  const table = node("table", "");
  const top = table.createTHead().insertRow();
  for (const name of record.columns) { const th = node("th", "", name); th.scope = "col"; top.append(th); }
  const body = table.createTBody();
  for (const values of record.rows) {
    const row = body.insertRow();
    for (const value of values) {
      const cell = row.insertCell();
      const verdict = value === "pass" || value === "fail" || typeof value === "boolean";
      if (verdict) {
        const good = value === "pass" || value === true;
        cell.append(node("span", good ? "tv-right" : "tv-wrong", good ? "✓ " : "✕ "), node("span", "", good ? "pass" : "fail"));
      } else {
        cell.textContent = typeof value === "number" ? shortFigure(value) : value ?? "–";
        if (typeof value === "number") cell.className = "num";
      }
    }
  }
  const scroll = node("div", "bt-table ex-table");
  scroll.append(table);
  return scroll;
};
const shortFigure = (value) => (value !== 0 && Math.abs(value) < 1e-3 ? value.toExponential(1) : String(Number(value.toPrecision(4))));

const drawLine = (one, records, entry) => {
  const shape = `${records.length}|${entry.run}`;
  if (shape === one.shape) return;
  one.shape = shape;
  one.result.textContent = "";
  const last = records[records.length - 1];
  const failed = records.find((r) => r.kind === "failed");
  const progress = [...records].reverse().find((r) => r.kind === "progress");
  for (const record of records) if (record.kind === "warning") one.result.append(node("p", "ex-status", record.text));
  if (failed) {
    const message = node("p", "ex-error", failed.what);
    message.append(document.createTextNode(` ${failed.todo}`));
    one.result.append(message);
    return;
  }
  for (const record of records) {
    if (record.kind === "table") one.result.append(certificate(record));
    if (record.kind === "artifact" && entry.files) {
      const link = node("a", "ex-file", `${record.path.split("/").pop()}`);
      link.href = window.benchtop.url(`${entry.files}${record.path.split("/").map(encodeURIComponent).join("/")}?ticket=${entry.ticket}`);
      link.download = "";
      link.append(node("span", "tv-value", ` ${size(record.bytes)}`));
      one.result.append(link);
    }
  }
  if (!last || last.kind !== "done") {
    const amount = progress?.total ? ` ${Math.round((100 * progress.done) / progress.total)}%` : "";
    one.result.append(node("p", "ex-status", `${progress?.note || "working"}${amount}`));
  } else {
    const said = last.reason === "stopped" ? "stopped" : last.result?.url ? "" : records.some((r) => r.kind === "artifact" || r.kind === "table") ? "" : "done";
    if (said) one.result.append(node("p", "ex-status", said));
    if (last.result?.url) one.result.append(node("p", "ex-status ex-url", `pushed to ${last.result.url}`));
  }
};

// --- the value -------------------------------------------------------------------------------------------------------
const draw = () => {
  const value = props.value;
  box.hidden = !value;
  if (!value) return;
  use.href = `${window.benchtop.root()}?tab=decoding&model=${encodeURIComponent(value.model)}`;
  use.hidden = !value.decodes;
  setText(where, value.decodes ? "the trained model is in the Decoding lab's picker" : "what can be made of the trained model");
  lines.get("merge").line.hidden = !value.merges;
  for (const [kind, one] of lines) {
    const entry = value.exports.find((e) => e.kind === kind);
    if (!entry) { one.run = null; one.shape = ""; one.result.textContent = ""; continue; }
    if (entry.run === one.run) continue;
    one.run = entry.run;
    one.shape = "";
    if (entry.records) { drawLine(one, entry.records, entry); continue; }
    one.stream ??= runStream(() => element.isConnected, () => drawLine(one, one.stream.model.records ?? [], one.entry), () => {});
    one.entry = entry;
    one.stream.follow(entry.url);
  }
};

watch("value", draw);
draw();
