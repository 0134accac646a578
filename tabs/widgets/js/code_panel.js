// A run as a script: shown, copied, or saved by the browser itself.

const root = element.querySelector(".bv-code") || element;
const WORDS = new Set(("and as assert break class continue def del elif else except False finally for from global if import in is lambda None nonlocal not or pass raise return True try while with yield").split(" "));
const PARTS = /(#[^\n]*)|("""[\s\S]*?"""|'''[\s\S]*?'''|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')|([A-Za-z_]\w*)|(\d+(?:\.\d+)?(?:e-?\d+)?)/g;

const paintCode = (target, code) => {
  let at = 0;
  for (const found of code.matchAll(PARTS)) {
    const kind = found[1] ? "bv-py-note" : found[2] ? "bv-py-text" : found[4] ? "bv-py-number" : WORDS.has(found[0]) ? "bv-py-word" : "";
    if (!kind) continue;
    target.append(document.createTextNode(code.slice(at, found.index)), node("span", kind, found[0]));
    at = found.index + found[0].length;
  }
  target.append(document.createTextNode(code.slice(at)));
};

const card = node("details", "bv-card bv-fold");
const summary = node("summary", "bv-fold-head");
const note = node("span", "bv-muted");
summary.append(node("span", "bv-card-title", "Code"), note);
const body = node("div", "bv-fold-body");
card.append(summary, body);
root.append(card);

const save = (code, filename) => {
  const address = URL.createObjectURL(new Blob([code], { type: "text/x-python" }));
  const link = node("a");
  link.href = address;
  link.download = filename;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
};

const draw = () => {
  const value = typeof props.value === "string" ? { code: props.value } : props.value;
  body.textContent = "";
  setText(note, (value && value.note) || "the same run in plain transformers");
  if (!value || !value.code) {
    body.append(node("p", "bv-empty-line", "After a run, the script that repeats it without Benchtop is here."));
    return;
  }
  const bar = node("div", "bv-code-bar");
  bar.append(
    node("span", "bv-muted bv-mono", value.filename || "decode.py"),
    node("span", "bv-gap"),
    copyButton("bv-button bv-small bv-code-copy", "Copy", "Copy the script", () => value.code),
    button("bv-button bv-small bv-code-save", "Download", "Download the script", () => save(value.code, value.filename || "decode.py")),
  );
  const pre = node("pre", "bv-code-text");
  pre.tabIndex = 0;
  const code = node("code");
  paintCode(code, value.code);
  pre.append(code);
  body.append(bar, pre);
};

watch("value", draw);
draw();
