// The copy button. Where the clipboard is refused (a frame, plain http) the link is shown selected, to copy by hand.
const bench = window.benchtop;
const [button, share, field, note] = [".bt-copy", ".bt-share", "input", "span"].map((part) => element.querySelector(part));
let clearing = 0;

const say = (words) => {
  note.textContent = words;
  clearTimeout(clearing);
  clearing = setTimeout(() => { note.textContent = ""; }, 6000);
};
const byHand = (url) => {
  field.hidden = false;
  field.value = url;
  field.focus();
  field.select();
  let copied = false;
  try { copied = document.execCommand("copy"); } catch { copied = false; }
  if (copied) field.hidden = true;
  say(copied ? "Copied" : "Press Ctrl+C (or ⌘C) to copy");
};
const copy = async (url) => {
  try {
    await navigator.clipboard.writeText(url);
    field.hidden = true;
    say("Copied");
  } catch {
    byHand(url);
  }
};

const askForRun = () => {
  say("Making a link…");
  trigger("make_link");
};
share.addEventListener("click", askForRun);
button.addEventListener("click", () => {
  if (bench.isLong(LAB)) {
    askForRun();
  } else {
    copy(bench.address(LAB).href);
  }
});
watch("value", () => {
  const value = props.value;
  if (!value) return;
  if (!value.run) { say("Press Run first: the link opens a run."); return; }
  const url = new URL(bench.root());
  url.searchParams.set("tab", LAB);
  url.searchParams.set("run", value.run);
  copy(url.href);
});
