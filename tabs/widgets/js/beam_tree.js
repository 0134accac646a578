// The beam tree of one column: a step per stop from left to right, kept hypotheses above, pruned ones below in grey.
// `beamTree(tip)` gives {card, update(beam, title)}, which says whether all is drawn; nodes are only ever appended.

const BEAM_STEP = 144, BEAM_NODE = 112, BEAM_KEPT = 30, BEAM_PRUNED = 24, BEAM_TOP = 26, TIP_TEXT = 200, LEVELS_PER_FRAME = 16;
const MOST_LEVELS = 128; // a page with many thousand nodes would no longer answer a click

const beamTree = (tip) => {
  const card = node("section", "bv-beam");
  const head = node("header", "bv-beam-head");
  const title = node("h3", "bv-card-title", "Beam tree");
  const summary = node("span", "bv-muted");
  const toggle = button("bv-link", "hide pruned", "Hide the hypotheses that were pruned", () => {
    const hidden = card.classList.toggle("is-kept-only");
    setText(toggle, hidden ? "show pruned" : "hide pruned");
    toggle.setAttribute("aria-pressed", String(hidden));
    size();
  });
  toggle.setAttribute("aria-pressed", "false");
  const key = node("span", "bv-beam-key");
  for (const [cls, text] of [["is-best", "best so far"], ["is-kept", "kept"], ["is-pruned", "pruned"], ["is-done", "ended"]]) {
    const item = node("span", "bv-beam-key-item");
    item.append(node("i", `bv-beam-swatch ${cls}`), document.createTextNode(text));
    key.append(item);
  }
  head.append(title, summary, key, toggle);
  const scroll = node("div", "bv-beam-scroll");
  scroll.tabIndex = -1;
  const plane = node("div", "bv-beam-plane");
  plane.setAttribute("role", "tree");
  const SVG = "http://www.w3.org/2000/svg";
  const wires = document.createElementNS(SVG, "svg");
  wires.setAttribute("class", "bv-beam-wires");
  wires.setAttribute("aria-hidden", "true");
  plane.append(wires);
  scroll.append(plane);
  card.append(head, scroll);

  let atEnd = true;
  scroll.addEventListener("scroll", () => {
    atEnd = scroll.scrollLeft + scroll.clientWidth >= scroll.scrollWidth - BEAM_STEP;
  }, { passive: true });
  let places = new Map(), levels = [], best = [], keptHeight = 0, fullHeight = 0, tabStop = null;

  const reset = () => {
    for (const child of [...plane.children]) if (child !== wires) child.remove();
    wires.textContent = "";
    places = new Map(); levels = []; best = []; keptHeight = 0; fullHeight = 0; tabStop = null;
  };

  const size = () => {
    const height = card.classList.contains("is-kept-only") ? keptHeight : fullHeight;
    const width = levels.length * BEAM_STEP + 12;
    plane.style.width = `${width}px`;
    plane.style.height = `${height}px`;
    wires.setAttribute("width", width);
    wires.setAttribute("height", height);
  };

  const textOf = (place) => {
    const parts = [];
    for (let at = place; at; at = places.get(at.data.parent)) parts.unshift(at.data.t || "");
    const text = parts.join("");
    return text.length > TIP_TEXT ? `…${text.slice(-TIP_TEXT)}` : text;
  };
  const stateOf = (data, onBest) =>
    [onBest ? "on the best path" : "", data.done ? "ended" : data.kept ? "kept" : "pruned"].filter(Boolean).join(", ");

  const showTip = (place) => tip.show(place.box, textOf(place) || "(empty)", [
    ["state", stateOf(place.data, place.box.classList.contains("is-best"))],
    ["score", Number(place.data.score).toFixed(3)],
    ["log-probability", `${Number(place.data.logprob).toFixed(3)} nats`],
    ["token", `id ${place.data.id}, step ${place.level + 1}`],
  ]);

  const addWire = (from, to, cls) => {
    const wire = document.createElementNS(SVG, "path");
    const x1 = from.x + BEAM_NODE, y1 = from.y + from.h / 2, x2 = to.x, y2 = to.y + to.h / 2, mid = (x1 + x2) / 2;
    wire.setAttribute("d", `M${x1} ${y1}C${mid} ${y1} ${mid} ${y2} ${x2} ${y2}`);
    wire.setAttribute("class", cls);
    wires.append(wire);
    return wire;
  };

  const addLevel = (step, level) => {
    const mark = node("span", "bv-beam-step", String(level + 1));
    mark.style.left = `${level * BEAM_STEP + 6}px`;
    plane.append(mark);
    const row = [];
    const byScore = (a, b) => b.score - a.score;
    const lives = step.nodes.filter((n) => n.kept || n.done).sort(byScore);
    const dead = step.nodes.filter((n) => !(n.kept || n.done)).sort(byScore);
    let y = BEAM_TOP;
    for (const data of [...lives, ...dead]) {
      const alive = data.kept || data.done;
      const box = node("div", `bv-beam-node ${alive ? "is-kept" : "is-pruned"}${data.done ? " is-done" : ""}`);
      box.setAttribute("role", "treeitem");
      box.setAttribute("aria-level", String(level + 1));
      box.tabIndex = -1;
      const text = node("span", "bv-beam-text");
      if (data.t) paintText(text, data.t); else text.append(chip("special", data.done ? "end" : `id ${data.id}`, ""));
      box.append(text, node("span", "bv-beam-score", Number(data.score).toFixed(2)));
      box.setAttribute("aria-label", `${data.t ? quoted(data.t) : "end"}, score ${Number(data.score).toFixed(2)}, ${stateOf(data, false)}`);
      const place = { data, box, level, row: row.length, x: level * BEAM_STEP + 6, y, h: alive ? BEAM_KEPT - 6 : BEAM_PRUNED - 4, wire: null };
      box.style.transform = `translate(${place.x}px, ${place.y}px)`;
      box.style.height = `${place.h}px`;
      box.bench = place;
      plane.append(box);
      const parent = places.get(data.parent);
      if (parent) place.wire = addWire(parent, place, alive ? "is-kept" : "is-pruned");
      places.set(data.n, place);
      row.push(place);
      y += alive ? BEAM_KEPT : BEAM_PRUNED;
      if (alive) keptHeight = Math.max(keptHeight, y + 8);
    }
    fullHeight = Math.max(fullHeight, y + 8);
    levels.push(row);
    if (!tabStop && row[0]) { tabStop = row[0]; tabStop.box.tabIndex = 0; }
  };

  const markBest = (ids) => {
    const there = ids.filter((id) => places.has(id));
    const now = new Set(there);
    const before = new Set(best);
    for (const id of best) if (!now.has(id)) setBest(id, false);
    for (const id of there) if (!before.has(id)) setBest(id, true);
    best = there;
  };
  const setBest = (id, on) => {
    const place = places.get(id);
    place.box.classList.toggle("is-best", on);
    if (place.wire) {
      place.wire.classList.toggle("is-best", on);
      if (on) wires.append(place.wire);
    }
  };

  const move = (place) => {
    if (!place) return;
    if (tabStop) tabStop.box.tabIndex = -1;
    tabStop = place;
    place.box.tabIndex = 0;
    place.box.focus();
  };
  const neighbour = (place, key) => {
    const row = levels[place.level];
    if (key === "ArrowUp") return row[place.row - 1];
    if (key === "ArrowDown") return row[place.row + 1];
    if (key === "ArrowLeft") return places.get(place.data.parent);
    if (key === "ArrowRight") return (levels[place.level + 1] || []).find((p) => p.data.parent === place.data.n);
    if (key === "Home") return levels[0][0];
    if (key === "End") return levels[levels.length - 1][0];
    return undefined;
  };
  plane.addEventListener("keydown", (e) => {
    const place = e.target.bench;
    if (!place) return;
    if (e.key === "Escape") { tip.hide(); return; }
    if (!["ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight", "Home", "End"].includes(e.key)) return;
    e.preventDefault();
    move(neighbour(place, e.key));
  });
  const over = (e) => { const box = e.target.closest(".bv-beam-node"); if (box) showTip(box.bench); };
  plane.addEventListener("pointerover", over);
  plane.addEventListener("focusin", over);
  plane.addEventListener("pointerleave", () => tip.hide());
  plane.addEventListener("focusout", () => tip.hide());

  const update = (beam, columnTitle) => {
    setText(title, `Beam tree of ${columnTitle}`);
    plane.setAttribute("aria-label", title.textContent);
    const drawn = Math.min(beam.steps.length, MOST_LEVELS);
    if (drawn < levels.length) reset();
    if (drawn > levels.length) {
      const until = Math.min(drawn, levels.length + LEVELS_PER_FRAME);
      for (let i = levels.length; i < until; i++) addLevel(beam.steps[i], i);
      size();
      if (atEnd) scroll.scrollLeft = scroll.scrollWidth;
    }
    markBest(beam.best || []);
    const steps = beam.steps.length > MOST_LEVELS ? `the first ${MOST_LEVELS} of ${beam.steps.length} steps` : plural(levels.length, "step");
    setText(summary, `${steps}, ${plural(places.size, "hypothesis").replace("hypothesiss", "hypotheses")}`);
    return levels.length === drawn;
  };
  return { card, update };
};
