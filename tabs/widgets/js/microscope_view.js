// The microscope: one step's candidates through every sampling stage, as a table whose stage columns can be reordered.

const root = element.querySelector(".bv-microscope") || element;
let shown = null, focusStage = null, waitTimer = 0;

const stageOf = (name) => (shown.stages || []).findIndex((s) => s.name === name);
const movable = () => shown.stages.filter((s) => s.movable).map((s) => s.name);

// The new order of all stages: the movable ones that are on show change places among themselves, the rest keep theirs.
const fullOrder = (visible) => {
  const now = (shown.orders && shown.orders.now) || visible;
  const moving = new Set(visible), next = visible.slice();
  return now.map((name) => (moving.has(name) ? next.shift() : name));
};

const reorder = (visible) => {
  const order = fullOrder(visible);
  if (order.join() === ((shown.orders && shown.orders.now) || movable()).join()) return;
  root.classList.add("is-waiting");
  clearTimeout(waitTimer);
  waitTimer = setTimeout(() => root.classList.remove("is-waiting"), 4000);
  trigger("reorder", { order, column: shown.column, index: shown.index, run: shown.run });
};

const moveStage = (name, way) => {
  const names = movable(), from = names.indexOf(name), to = from + way;
  if (from < 0 || to < 0 || to >= names.length) return;
  [names[from], names[to]] = [names[to], names[from]];
  focusStage = name;
  reorder(names);
};

// --- drawing ---------------------------------------------------------------------------------------------------------
const draw = () => {
  shown = props.value;
  clearTimeout(waitTimer);
  root.classList.remove("is-waiting");
  const keep = focusStage || (root.contains(document.activeElement) && document.activeElement.dataset.stage) || null;
  root.textContent = "";
  const detail = shown ? { column: shown.column, index: shown.index, run: shown.run } : null;
  document.dispatchEvent(new CustomEvent("benchtop:microscope", { detail }));
  if (!shown) {
    root.append(node("p", "bv-empty-line", "Click any token to see what it was chosen from."));
    return;
  }
  root.append(head());
  const changes = changesLine();
  if (changes) root.append(changes);
  root.append(table());
  focusStage = null;
  const again = keep && [...root.querySelectorAll(".bv-grip")].find((g) => g.dataset.stage === keep);
  if (again) again.focus();
};

const head = () => {
  const made = node("header", "bv-micro-head");
  made.append(node("h3", "bv-micro-title", shown.title), node("span", "bv-muted bv-micro-summary", shown.summary || ""));
  const side = node("span", "bv-micro-side");
  const orders = shown.orders;
  const moved = orders && orders.default && orders.now && orders.default.join() !== orders.now.join();
  if (moved) {
    side.append(button("bv-link bv-reset-order", "reset order", "Put the stages back into their usual order",
      () => trigger("reorder", { order: orders.default, column: shown.column, index: shown.index, run: shown.run })));
  } else if (movable().length > 1) side.append(node("span", "bv-muted bv-micro-hint", "drag a column to reorder the stages"));
  side.append(button("bv-link bv-close", "✕", "Close the microscope", () => trigger("close", {})));
  made.append(side);
  return made;
};

const tokenText = (item) => (typeof item === "string" ? item : item.text ?? String(item.id));

const changesLine = () => {
  const { changes, order_note: note } = shown;
  if (!changes && !note) return null;
  const made = node("p", "bv-micro-changes");
  if (note) made.append(node("span", "", note));
  if (changes) {
    const list = (name, items) => {
      if (items && items.length) made.append(node("span", "bv-micro-change", `${name} ${items.map((t) => quoted(tokenText(t))).join(" ")}`));
    };
    list("now kept:", changes.kept);
    list("now cut:", changes.cut);
    if (typeof changes.tv === "number") made.append(node("span", "bv-micro-change", `total variation ${changes.tv.toFixed(3)}`));
  }
  return made;
};

const table = () => {
  const frame = node("div", "bv-micro-scroll");
  frame.tabIndex = 0;
  frame.setAttribute("role", "region");
  frame.setAttribute("aria-label", `${shown.title}, its candidates stage by stage`);
  const made = node("table", "bv-micro");
  const heading = node("tr");
  const first = node("th", "bv-micro-name", "candidate");
  first.scope = "col";
  heading.append(first);
  shown.stages.forEach((stage, i) => heading.append(stageHead(stage, i)));
  const lastHead = node("th", "bv-micro-do");
  lastHead.append(node("span", "bv-offscreen", "branch"));
  heading.append(lastHead);
  const top = node("thead");
  top.append(heading);
  const body = node("tbody");
  const most = Math.max(0.0001, ...shown.rows.flatMap((row) => row.p.filter((p) => p !== null)));
  for (const row of shown.rows) body.append(candidateRow(row, most));
  made.append(top, body);
  const line = node("div", "bv-micro-line");
  line.hidden = true;
  frame.append(made, line);
  dragColumns(frame, heading, line);
  return frame;
};

const stageHead = (stage, i) => {
  const made = node("th", `bv-stage${stage.neutral ? " is-neutral" : ""}${stage.movable ? " is-movable" : ""}`);
  made.scope = "col";
  made.dataset.stage = stage.name;
  const label = stage.label || stage.name;
  const line = node("div", "bv-stage-name");
  if (stage.movable) {
    const names = movable();
    const grip = button("bv-grip", "⋮⋮", `${label}: stage ${names.indexOf(stage.name) + 1} of ${names.length}. Arrow keys move it.`);
    grip.dataset.stage = stage.name;
    grip.addEventListener("keydown", (e) => {
      const way = { ArrowLeft: -1, ArrowRight: 1 }[e.key];
      if (way) { e.preventDefault(); moveStage(stage.name, way); }
    });
    line.append(grip);
  }
  line.append(node("span", "bv-stage-label", label));
  const under = node("div", "bv-stage-left");
  const before = i > 0 ? shown.stages[i - 1].left : null;
  if (typeof stage.left === "number") {
    const cut = before !== null && stage.left < before;
    under.append(node("span", cut ? "bv-left is-cut" : "bv-left", stage.neutral ? "off" : `${stage.left.toLocaleString("en")} left`));
  }
  if (stage.movable) {
    const arrows = node("span", "bv-arrows");
    for (const [text, way, word] of [["◀", -1, "left"], ["▶", 1, "right"]]) {
      const arrow = button("bv-arrow", text, `Move ${label} ${word}`, () => moveStage(stage.name, way));
      arrow.tabIndex = -1;
      arrows.append(arrow);
    }
    under.append(arrows);
  }
  made.append(line, under);
  return made;
};

const candidateRow = (row, most) => {
  const made = node("tr", row.chosen ? "bv-row is-chosen" : "bv-row");
  const name = node("th", "bv-micro-name");
  name.scope = "row";
  const text = node("span", "bv-cand");
  name.title = `${nameOf({ t: row.text, piece: row.piece || row.text })}, id ${row.id}`;
  paintCandidate(text, row);
  name.append(text);
  made.append(name);
  const cutAt = row.cut_by ? stageOf(row.cut_by) : -1;
  row.p.forEach((p, i) => made.append(shareCell(p, most, shown.stages[i], i === cutAt)));
  const act = node("td", "bv-micro-do");
  if (row.chosen) act.append(node("span", "bv-chosen", "chosen"));
  else {
    act.append(button("bv-branch", "branch", `Go on with ${quoted(row.text || row.piece || `id ${row.id}`)} instead`,
      () => trigger("branch", { id: row.id, column: shown.column, index: shown.index, run: shown.run })));
  }
  made.append(act);
  return made;
};

// A leading space belongs to most tokens, so here it gets a mark of its own.
const paintCandidate = (target, row) => {
  if (!row.text || isSpecial({ piece: row.piece || row.text })) { paintToken(target, { t: row.text, piece: row.piece || row.text }); return; }
  if (/^ [^ ]/.test(row.text)) {
    const space = node("span", "bv-ws", " ");
    space.dataset.mark = "·";
    target.append(space);
    const rest = node("span");
    paintText(rest, row.text.slice(1));
    target.append(rest);
  } else paintText(target, row.text);
};

const shareCell = (p, most, stage, here) => {
  const made = node("td", `bv-share${stage && stage.neutral ? " is-neutral" : ""}`);
  const inner = node("div", "bv-share-in");
  if (p === null || p === undefined) {
    inner.append(node("span", here ? "bv-cut is-here" : "bv-cut", "cut"));
    if (here) made.title = `cut by ${stage.label || stage.name}`;
  } else {
    const track = node("span", "bv-track");
    const bar = node("span", "bv-bar");
    bar.style.width = `${Math.max(1.5, (100 * p) / most)}%`;
    track.append(bar);
    inner.append(track, node("span", "bv-number", percent(p)));
  }
  made.append(inner);
  return made;
};

// --- dragging a column -----------------------------------------------------------------------------------------------
const dragColumns = (frame, heading, line) => {
  heading.addEventListener("pointerdown", (e) => {
    const head = e.target.closest(".bv-stage.is-movable");
    if (!head || e.button !== 0 || e.target.closest(".bv-arrow")) return;
    const heads = [...heading.querySelectorAll(".bv-stage.is-movable")];
    const from = heads.indexOf(head), start = e.clientX;
    let to = from, moving = false;
    head.setPointerCapture(e.pointerId); // at once: a quick first move may already be outside the header
    const move = (at) => {
      if (!moving && Math.abs(at.clientX - start) < 5) return;
      if (!moving) { moving = true; head.classList.add("is-dragged"); }
      at.preventDefault();
      head.style.transform = `translateX(${at.clientX - start}px)`;
      const boxes = heads.map((h) => ({ left: h.offsetLeft, width: h.offsetWidth }));
      const x = at.clientX - frame.getBoundingClientRect().left + frame.scrollLeft;
      to = boxes.filter((b, i) => i !== from && b.left + b.width / 2 < x).length;
      const others = boxes.filter((b, i) => i !== from);
      const edge = to < others.length ? others[to].left : others[to - 1].left + others[to - 1].width;
      line.hidden = to === from;
      line.style.left = `${edge}px`;
    };
    const end = (at) => {
      head.removeEventListener("pointermove", move);
      head.removeEventListener("pointerup", end);
      head.removeEventListener("pointercancel", end);
      head.classList.remove("is-dragged");
      head.style.transform = "";
      line.hidden = true;
      if (!moving || at.type === "pointercancel" || to === from) return;
      const names = heads.map((h) => h.dataset.stage), [name] = names.splice(from, 1);
      names.splice(to, 0, name);
      focusStage = name;
      reorder(names);
    };
    head.addEventListener("pointermove", move);
    head.addEventListener("pointerup", end);
    head.addEventListener("pointercancel", end);
  });
};

watch("value", draw);
draw();
