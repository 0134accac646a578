// The editor of a conversation: a role and a text for each turn; add, remove, move. Its value is the list of turns.
// Runs as gr.HTML's js_on_load: element, props, watch and trigger are given.

const ROLES = [["system", "System"], ["user", "User"], ["assistant", "Assistant"]];
const MOST_TURNS = 40;
const box = element.querySelector(".bv-turns") || element;
const list = node("ol", "qz-turns"), foot = node("div", "qz-turns-foot");
const title = node("span", "qz-turns-title", "Conversation");
box.append(title, list, foot);
let turns = [], waiting = 0;

const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
const tell = () => {
  clearTimeout(waiting);
  props.value = turns.map((turn) => ({ ...turn }));
};
const tellSoon = () => { clearTimeout(waiting); waiting = setTimeout(tell, 250); };

const change = (act, focus) => {
  act();
  draw();
  tell();
  if (focus !== undefined) list.children[Math.min(focus, turns.length - 1)]?.querySelector("textarea").focus();
};
const swap = (i, j) => change(() => { [turns[i], turns[j]] = [turns[j], turns[i]]; }, j);

const fit = (area) => {
  area.style.height = "auto";
  area.style.height = `${Math.min(180, Math.max(34, area.scrollHeight + 2))}px`;
};

const lineOf = (turn, i) => {
  const line = node("li", "qz-turn");
  line.style.setProperty("--qz", `var(--bt-c${i % 8})`);
  const head = node("div", "qz-turn-head"), role = node("select", "qz-select"), area = node("textarea", "qz-turn-text");
  role.setAttribute("aria-label", `Role of turn ${i + 1}`);
  for (const [value, words] of ROLES) { const option = node("option", "", words); option.value = value; role.append(option); }
  role.value = turn.role;
  role.addEventListener("change", () => { turn.role = role.value; tell(); });
  const up = button("bv-link", "↑", `Move turn ${i + 1} up`, () => swap(i, i - 1)), down = button("bv-link", "↓", `Move turn ${i + 1} down`, () => swap(i, i + 1));
  up.disabled = i === 0;
  down.disabled = i === turns.length - 1;
  const gone = button("bv-link", "✕", `Remove turn ${i + 1}`, () => change(() => { turns.splice(i, 1); }, i));
  gone.disabled = turns.length < 2;
  head.append(node("span", "qz-at", String(i + 1)), role, node("span", "bv-gap"), up, down, gone);
  area.value = turn.content;
  area.rows = 1;
  area.dir = "auto";
  area.setAttribute("aria-label", `Text of turn ${i + 1}`);
  area.addEventListener("input", () => { turn.content = area.value; fit(area); tellSoon(); });
  area.addEventListener("blur", () => { if (!same(turns, props.value)) tell(); });
  line.append(head, area);
  return line;
};

const draw = () => {
  list.replaceChildren(...turns.map(lineOf));
  add.disabled = turns.length >= MOST_TURNS;
  requestAnimationFrame(() => { for (const area of list.querySelectorAll("textarea")) fit(area); });
};
const add = button("bv-link qz-add", "+ add a turn", "", () => change(() => {
  turns.push({ role: turns[turns.length - 1]?.role === "user" ? "assistant" : "user", content: "" });
}, turns.length));
foot.append(add);

const take = () => {
  const given = Array.isArray(props.value) ? props.value : [];
  if (same(given, turns)) return;
  turns = given.map((turn) => ({ role: String(turn.role ?? "user"), content: String(turn.content ?? "") }));
  draw();
};
new ResizeObserver(() => { for (const area of list.querySelectorAll("textarea")) fit(area); }).observe(box);
watch("value", take);
take();
