// What the results of most labs have in common: the message of a failed run, the empty state, the run at a glance, and
// following the run (run_stream.js). The cards below are the lab's own. Element, props and watch are given.

const ENDS = ["finished", "stopped", "failed"];

const resultsRoot = (view) => element.querySelector(`.bv-${view}`) || element;

// `prefix` names the lab's classes, `drawMs` is the shortest time between two drawings. `cards` are put below the top,
// `inTop` above its notes. Asked with the view model: `begun`, `doing` (words while it runs), `facts` (an array), `why`
// (a tooltip), `share` (0 to 1), `told` (for screen readers, at the end). `update` draws the cards, `clear` empties them.
const resultsFrame = (root, lab) => {
  const p = lab.prefix;
  const message = node("div", "bv-message");
  message.hidden = true;
  message.setAttribute("role", "alert");
  const empty = node("div", `bv-empty ${p}-empty`);
  const emptyTitle = node("p", "bv-empty-title"), emptyText = node("p", "bv-empty-text");
  empty.append(emptyTitle, emptyText);

  const top = node("section", `bv-card ${p}-card ${p}-top`);
  const line = node("div", "bv-run-line");
  const state = node("span", `bv-run-state ${p}-state`), facts = node("span", "bv-muted");
  const again = button("bv-link bv-again", "follow again", "", () => stream.again());
  again.hidden = true;
  line.append(state, again, facts);
  const bar = node("div", "bv-run-bar"), fill = node("span", "bv-run-fill");
  bar.append(fill);
  const notes = node("ul", `bv-run-notes ${p}-notes`);
  top.append(line, bar, ...(lab.inTop ?? []), notes);
  const live = node("div", "bv-offscreen");
  live.setAttribute("aria-live", "polite");
  const stage = node("div", `${p}-results`);
  stage.hidden = true;
  stage.append(top, ...lab.cards);
  root.append(message, empty, stage, live);

  let run = null, timer = 0, drawnAt = 0, announced = false;
  const clear = () => {
    lab.clear();
    notes.textContent = "";
    announced = false;
    setText(live, "");
  };
  const over = () => ENDS.includes(stream.model.status);
  const plan = () => {
    if (timer) return;
    const wait = over() || !drawnAt ? 0 : Math.max(0, lab.drawMs - (performance.now() - drawnAt));
    timer = setTimeout(() => { timer = 0; drawnAt = performance.now(); draw(); }, wait);
  };
  const stream = runStream(() => element.isConnected, plan, clear);

  const follow = () => {
    const value = props.value;
    const next = value ? value.run ?? "" : null;
    if (value && value.url && next === run && stream.link !== "refused") { stream.renew(value.url); plan(); return; }
    run = next;
    root.dataset.run = run ?? "";
    if (value && value.model) stream.follow(null, structuredClone(value.model));
    else stream.follow((value && value.url) || null);
  };

  const stateText = (m) => {
    if (stream.link === "again") return "connection lost, trying again";
    if (stream.link === "lost") return "connection lost";
    if (m.status === "finished") return `finished in ${lab.spell(m.seconds)}`;
    if (m.status === "stopped") return `stopped after ${lab.spell(m.seconds)}`;
    return m.status === "failed" ? "failed" : lab.doing(m);
  };

  const drawTop = (m) => {
    setText(state, stateText(m));
    state.dataset.status = m.status ?? "waiting";
    again.hidden = stream.link !== "lost";
    setText(facts, lab.facts(m).join(" · "));
    facts.title = lab.why?.(m) ?? "";
    fill.style.width = `${100 * (over() ? 1 : lab.share(m))}%`;
    const warned = m.warnings || [];
    while (notes.children.length < warned.length) notes.append(node("li", "", warned[notes.children.length]));
  };

  const drawEmpty = (begun) => {
    empty.hidden = begun || over() || stream.link === "refused";
    empty.classList.toggle("is-busy", run !== null && run !== "");
    setText(emptyTitle, run === null ? lab.empty[0] : "Getting ready");
    setText(emptyText, run === null ? lab.empty[1] : stream.model.progress?.note || lab.waiting);
  };

  const draw = () => {
    const m = stream.model, begun = lab.begun(m), error = m.error;
    drawEmpty(begun);
    message.hidden = !error;
    if (error) message.replaceChildren(node("span", "bv-message-what", error.what), node("span", "", error.todo));
    stage.hidden = !begun;
    stage.dataset.mode = m.start?.mode ?? "";
    if (begun) { drawTop(m); lab.update(m); }
    if (over() && !announced) {
      announced = true;
      const told = lab.told(m);
      setText(live, `Run ${m.status}.${told ? ` ${told}.` : ""}${error ? ` ${error.what} ${error.todo}` : ""}`);
    }
  };
  return { follow, run: () => run };
};
