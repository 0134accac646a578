// The status strip: asks the server every three seconds while the page is looked at. Words beside every colour.
const bench = window.benchtop;
const EVERY = 3000;
let asking = 0;

const part = (name) => element.querySelector(`[data-part=${name}]`);
const bytes = (n) => {
  for (const [unit, size] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) {
    if (n >= size) return `${n / size >= 10 ? Math.round(n / size) : Math.round(n / size * 10) / 10} ${unit}`;
  }
  return `${n} B`;
};
const STATES = { "ready": "all labs ready", "warming up": "warming up", "failed": "some labs are not ready" };

const draw = (s) => {
  const [, kind, rest] = /^(\S+?),?(?:\s+(.*))?$/.exec(s.device ?? "CPU") ?? [null, s.device, ""];
  part("device").textContent = kind;
  part("which").textContent = rest ?? "";
  part("models").textContent = s.models ?? 0;
  part("used").textContent = bytes(s.bytes ?? 0);
  part("total").textContent = s.budget ? `of ${bytes(s.budget)}` : "";
  part("queue").textContent = s.queue ?? 0;
  show(s.state ?? "ready", `${s.offline ? "offline, " : ""}${STATES[s.state ?? "ready"] ?? s.state}`);
};
const show = (state, words) => {
  const line = part("state");
  if (line.dataset.state !== state) line.dataset.state = state;
  if (part("words").textContent !== words) part("words").textContent = words;
};

const ask = async () => {
  clearTimeout(asking);
  if (!element.isConnected) return;
  if (document.visibilityState === "visible") {
    try {
      const reply = await fetch(bench.url("status"), { cache: "no-store" });
      if (!reply.ok) throw new Error(reply.status);
      draw(await reply.json());
    } catch {
      show("lost", "no answer from the server");
    }
  }
  asking = setTimeout(ask, EVERY);
};
document.addEventListener("visibilitychange", () => { if (document.visibilityState === "visible") ask(); });
element.querySelector(".bt-theme").addEventListener("click", () => bench.toggleTheme());
bench.paint();
if (props.value) draw(props.value);
ask();
