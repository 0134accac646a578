// Shared by the teaching views: building nodes, showing text that stays text, small numbers.
// Text of models and documents enters the page through textContent or an attribute, never as markup.

const node = (tag, cls, text) => {
  const made = document.createElement(tag);
  if (cls) made.className = cls;
  if (text !== undefined && text !== null) made.textContent = text;
  return made;
};

const button = (cls, text, label, act) => {
  const made = node("button", cls, text);
  made.type = "button";
  if (label) { made.setAttribute("aria-label", label); made.title = label; }
  if (act) made.addEventListener("click", act);
  return made;
};

const setText = (target, text) => { if (target.textContent !== text) target.textContent = text; };

// --- numbers ---------------------------------------------------------------------------------------------------------
const plural = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;

const percent = (p) => {
  if (p === null || p === undefined) return "";
  if (p > 0 && p < 0.0005) return "<0.1%";
  return `${(p * 100).toFixed(1)}%`;
};

const shortNumber = (value) => {
  if (typeof value !== "number") return value === null || value === undefined ? "n/a" : String(value);
  if (Number.isInteger(value)) return value.toLocaleString("en");
  const size = Math.abs(value);
  if (size >= 100) return Math.round(value).toLocaleString("en");
  if (size >= 10) return value.toFixed(1);
  return value.toFixed(size >= 1.5 ? 1 : 2);
};

const shortCount = (n) => {
  if (n >= 1e9) return `${(n / 1e9).toFixed(n >= 1e10 ? 0 : 1)}B`;
  if (n >= 1e6) return `${(n / 1e6).toFixed(n >= 1e8 ? 0 : 1)}M`;
  if (n >= 1e4) return `${Math.round(n / 1e3)}K`;
  return n.toLocaleString("en");
};

// --- tokens ----------------------------------------------------------------------------------------------------------
const SPECIAL = /^(<\|[^<>]*\|>|<\/?(s|unk|pad|bos|eos|mask|sep|cls)>|\[(CLS|SEP|PAD|MASK|UNK|BOS|EOS)\]|<(start|end)_of_turn>)$/i;
const isSpecial = (token) => token.special === true || SPECIAL.test(token.piece || "");

// Byte-level vocabularies write each byte as one printable character; this is that table, read backwards.
const BYTE_OF = (() => {
  const table = new Map();
  let spare = 256;
  for (let byte = 0; byte < 256; byte++) {
    const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    table.set(String.fromCodePoint(printable ? byte : spare++), byte);
  }
  return table;
})();

const hex = (byte) => byte.toString(16).toUpperCase().padStart(2, "0");

// The bytes of a piece that is no whole character, such as "F0 9F"; "" where the piece is ordinary text.
const bytesOf = (piece) => {
  const named = /^<0x([0-9A-Fa-f]{2})>$/.exec(piece || "");
  if (named) return named[1].toUpperCase();
  const bytes = Array.from(piece || "", (c) => BYTE_OF.get(c));
  if (!bytes.length || bytes.includes(undefined) || !bytes.some((b) => b >= 128)) return "";
  return bytes.map(hex).join(" ");
};

const ODD = /(\r?\n|\r|\t| {2,}|[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]|[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff])/;

// Marks are drawn by CSS from an attribute, so that selecting and copying gives the true text.
const oddPart = (part) => {
  const made = node("span", "bv-ws", part);
  if (/^[\r\n]+$/.test(part)) { made.className = "bv-nl"; made.dataset.mark = "⏎"; return made; }
  if (part === "\t") made.dataset.mark = "→";
  else if (/^ +$/.test(part)) made.dataset.mark = "·".repeat(part.length);
  else if (/^[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]$/.test(part)) made.dataset.mark = "·";
  else { made.className = "bv-odd"; made.dataset.mark = `U+${part.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`; }
  return made;
};

const paintText = (target, text) => {
  if (text === " ") { target.append(oddPart(text)); return; }
  if (!ODD.test(text)) { target.textContent = text; return; }
  for (const part of text.split(ODD)) {
    if (part) target.append(ODD.test(part) ? oddPart(part) : document.createTextNode(part));
  }
};

const chip = (kind, shown, text) => {
  const made = node("span", `bv-chip bv-chip-${kind}`, text);
  if (!text) made.dataset.mark = shown;
  return made;
};

// What a token looks like: its text, or a chip where it has none of its own (bytes of a character, a special token).
const paintToken = (target, token) => {
  const text = token.t ?? "";
  if (isSpecial(token)) target.append(chip("special", token.piece || text, text));
  else if (text === "") target.append(chip(bytesOf(token.piece) ? "byte" : "piece", bytesOf(token.piece) || token.piece || "empty", ""));
  else paintText(target, text);
};

// A token in a sentence: “ Finn”, with its line breaks and tabs spelled out.
const quoted = (text) => `“${text.replace(/\r?\n/g, "⏎").replace(/\t/g, "→")}”`;
const nameOf = (token) => {
  if (isSpecial(token)) return token.piece || token.t;
  if (token.t) return quoted(token.t);
  return bytesOf(token.piece) ? `bytes ${bytesOf(token.piece)}` : token.piece || "empty";
};

// --- clipboard -------------------------------------------------------------------------------------------------------
const copyText = async (text) => {
  if (navigator.clipboard && window.isSecureContext) {
    try { await navigator.clipboard.writeText(text); return true; } catch { /* refused: the older way may still do */ }
  }
  const area = node("textarea", "bv-offscreen");
  area.value = text;
  document.body.append(area);
  const before = document.activeElement;
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  if (before && before.focus) before.focus();
  return done;
};

const copyButton = (cls, text, label, textNow) => {
  const made = button(cls, text, label, async () => {
    const done = await copyText(textNow());
    made.textContent = done ? "copied" : "not allowed";
    made.classList.add("is-told");
    setTimeout(() => { made.textContent = text; made.classList.remove("is-told"); }, 1400);
  });
  return made;
};

// --- one small tooltip per view --------------------------------------------------------------------------------------
let tooltips = 0;
const tooltip = (host) => {
  const box = node("div", "bv-tip");
  box.id = `bv-tip-${Date.now().toString(36)}-${++tooltips}-${Math.random().toString(36).slice(2, 7)}`;
  box.setAttribute("role", "tooltip");
  box.hidden = true;
  host.append(box);
  let anchor = null;
  const hide = () => {
    box.hidden = true;
    if (anchor) anchor.removeAttribute("aria-describedby");
    anchor = null;
  };
  const show = (target, title, lines) => {
    if (anchor && anchor !== target) anchor.removeAttribute("aria-describedby");
    anchor = target;
    box.textContent = "";
    box.append(node("div", "bv-tip-title", title));
    for (const [name, value] of lines) {
      const line = node("div", "bv-tip-line");
      line.append(node("span", "bv-tip-name", name), node("span", "bv-tip-value", value));
      box.append(line);
    }
    box.hidden = false;
    target.setAttribute("aria-describedby", box.id);
    place();
  };
  const place = () => {
    const at = anchor.getClientRects()[0];
    if (!at || !anchor.isConnected) { hide(); return; }
    const width = box.offsetWidth, height = box.offsetHeight;
    const left = Math.max(8, Math.min(at.left, document.documentElement.clientWidth - width - 8));
    const top = at.top - height - 8 >= 4 ? at.top - height - 8 : at.bottom + 8;
    box.style.left = `${left}px`;
    box.style.top = `${top}px`;
  };
  document.addEventListener("scroll", () => { if (anchor) place(); }, { capture: true, passive: true });
  return { show, hide };
};
