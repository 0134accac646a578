// Which entities share a sentence: nodes and edges as SVG, and the sentences of the edge or node that was chosen.

const SVG = "http://www.w3.org/2000/svg";
const drawnAs = (tag, attributes) => {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
};
const NARROW = 520;
const LABELS_WHEN_NARROW = 10;
const SENTENCES_AT_FIRST = 12;

const makeGraph = () => {
  const { card, side } = cardOf("en-graph", "Together in a sentence");
  const plane = node("div", "en-plane");
  const panel = node("div", "en-sources");
  panel.setAttribute("aria-live", "polite");
  const hint = node("p", "bv-muted bs-small", "Choose a line to read the sentences it comes from.");
  panel.append(hint);
  card.append(plane, panel);
  let graph = null, colour = () => "", width = 0, chosen = null;

  const edgesAt = (id) => graph.edges.filter((edge) => edge.a === id || edge.b === id);
  const nameOfNode = (id) => graph.nodes.find((one) => one.id === id)?.name ?? String(id);

  const places = (w, h) => {
    const xs = graph.nodes.map((one) => one.x), ys = graph.nodes.map((one) => one.y);
    const spread = (values, value, from, to) => {
      const low = Math.min(...values), high = Math.max(...values);
      return high - low < 1e-9 ? (from + to) / 2 : from + ((value - low) / (high - low)) * (to - from);
    };
    const side = w < NARROW ? 46 : 90;
    const found = graph.nodes.map((one) => ({ id: one.id, x: spread(xs, one.x, side, w - side), y: spread(ys, one.y, 26, h - 34), wide: w < NARROW ? 26 : 14 + 3.2 * Math.min(one.name.length, 26) }));
    apart(found, side, w - side, 26, h - 34);
    return new Map(found.map((one) => [one.id, one]));
  };

  // Moves what stands on one another apart, sideways or up and down, whichever is less.
  const apart = (found, left, right, upper, lower) => {
    for (let turn = 0; turn < 160; turn++) {
      let moved = false;
      for (let i = 0; i < found.length; i++) {
        for (let j = i + 1; j < found.length; j++) {
          const a = found[i], b = found[j];
          const dx = b.x - a.x, dy = b.y - a.y;
          const overX = a.wide + b.wide - Math.abs(dx), overY = 34 - Math.abs(dy);
          if (overX <= 0 || overY <= 0) continue;
          moved = true;
          if (overX < overY * 2) { const by = (overX / 2) * (dx < 0 ? -0.5 : 0.5); a.x -= by; b.x += by; }
          else { const by = (overY / 2) * (dy < 0 ? -0.5 : 0.5); a.y -= by; b.y += by; }
        }
      }
      for (const one of found) { one.x = Math.min(right, Math.max(left, one.x)); one.y = Math.min(lower, Math.max(upper, one.y)); }
      if (!moved) return;
    }
  };

  const mark = () => {
    for (const part of plane.querySelectorAll("[data-edge],[data-node]")) {
      const edge = part.dataset.edge === undefined ? null : graph.edges[Number(part.dataset.edge)];
      const on = chosen && (edge ? edge === chosen.edge || edge.a === chosen.node || edge.b === chosen.node
        : part.dataset.node === String(chosen.node) || (chosen.edge && [chosen.edge.a, chosen.edge.b].map(String).includes(part.dataset.node)));
      part.classList.toggle("is-chosen", Boolean(on));
      if (part.getAttribute("role") === "button") part.setAttribute("aria-pressed", String(Boolean(chosen && (edge ? edge === chosen.edge : part.dataset.node === String(chosen.node)))));
    }
  };

  const withNames = (text, names) => {
    const line = node("span", "en-sentence");
    line.dir = "auto";
    let rest = text;
    while (rest) {
      const found = names.map((name) => [rest.toLowerCase().indexOf(name.toLowerCase()), name.length]).filter(([at]) => at >= 0).sort((a, b) => a[0] - b[0])[0];
      if (!found) break;
      line.append(document.createTextNode(rest.slice(0, found[0])), node("b", "", rest.slice(found[0], found[0] + found[1])));
      rest = rest.slice(found[0] + found[1]);
    }
    line.append(document.createTextNode(rest));
    return line;
  };

  const tell = () => {
    const edges = chosen.edge ? [chosen.edge] : edgesAt(chosen.node);
    const title = chosen.edge ? `${nameOfNode(chosen.edge.a)} and ${nameOfNode(chosen.edge.b)}` : nameOfNode(chosen.node);
    const seen = new Map();
    for (const edge of edges) for (const one of edge.sentences) seen.set(`${one.document}\n${one.text}`, one);
    const sentences = [...seen.values()];
    const names = [...new Set(edges.flatMap((edge) => [nameOfNode(edge.a), nameOfNode(edge.b)]))];
    const top = node("p", "en-sources-title");
    top.append(node("strong", "", title), node("span", "bv-muted bs-small", chosen.edge ? `together in ${plural(chosen.edge.weight, "sentence")}` : edges.length ? `in a sentence with ${plural(edges.length, "other")}` : "never in a sentence with another one"));
    const list = node("ul", "en-sentences");
    for (const one of sentences.slice(0, SENTENCES_AT_FIRST)) {
      const item = node("li", "");
      item.append(withNames(one.text, names), node("span", "bv-muted bs-small", one.document));
      list.append(item);
    }
    panel.replaceChildren(top, list);
    if (sentences.length > SENTENCES_AT_FIRST) panel.append(node("p", "bv-muted bs-small", `and ${sentences.length - SENTENCES_AT_FIRST} more`));
  };

  const choose = (what) => { chosen = what; mark(); tell(); };
  const chooses = (part, label, what) => {
    part.setAttribute("tabindex", "0");
    part.setAttribute("role", "button");
    part.setAttribute("aria-label", label);
    part.addEventListener("click", () => choose(what));
    part.addEventListener("keydown", (e) => { if (e.key === "Enter" || e.key === " ") { e.preventDefault(); choose(what); } });
  };

  const draw = () => {
    const w = Math.max(280, plane.clientWidth || 280), narrow = w < NARROW;
    const h = Math.round(Math.min(460, Math.max(narrow ? 340 : 280, 120 + graph.nodes.length * (narrow ? 18 : 14))));
    const svg = drawnAs("svg", { width: w, height: h, viewBox: `0 0 ${w} ${h}`, role: "group", "aria-label": "Entities that share sentences" });
    const at = places(w, h);
    const most = Math.max(...graph.nodes.map((one) => one.count), 1);
    const named = new Set([...graph.nodes].sort((a, b) => b.count - a.count).slice(0, narrow ? LABELS_WHEN_NARROW : graph.nodes.length).map((one) => one.id));
    graph.edges.forEach((edge, i) => {
      const a = at.get(edge.a), b = at.get(edge.b);
      const line = drawnAs("g", { class: "en-edge", "data-edge": i });
      const ends = { x1: a.x, y1: a.y, x2: b.x, y2: b.y };
      line.append(drawnAs("line", { ...ends, class: "en-edge-line", "stroke-width": Math.min(7, 1 + edge.weight) }), drawnAs("line", { ...ends, class: "en-edge-hit" }));
      const title = drawnAs("title", {});
      title.textContent = `${nameOfNode(edge.a)} and ${nameOfNode(edge.b)}: ${plural(edge.weight, "sentence")}`;
      line.append(title);
      chooses(line, `${nameOfNode(edge.a)} and ${nameOfNode(edge.b)}, together in ${plural(edge.weight, "sentence")}`, { edge, node: null });
      svg.append(line);
    });
    for (const one of graph.nodes) {
      const { x, y } = at.get(one.id);
      const radius = 5 + 7 * Math.sqrt(one.count / most);
      const part = drawnAs("g", { class: named.has(one.id) ? "en-node" : "en-node is-minor", "data-node": one.id });
      part.style.setProperty("--type", colour(one.type));
      const label = drawnAs("text", { x, y: y + radius + 13, "text-anchor": x < w * 0.2 ? "start" : x > w * 0.8 ? "end" : "middle" });
      if (x < w * 0.2) label.setAttribute("x", x - radius);
      if (x > w * 0.8) label.setAttribute("x", x + radius);
      const short = narrow ? 16 : 26;
      label.textContent = one.name.length > short ? `${one.name.slice(0, short - 1)}…` : one.name;
      const title = drawnAs("title", {});
      title.textContent = `${one.name}, ${one.type}, ${plural(one.count, "mention")}`;
      part.append(drawnAs("circle", { cx: x, cy: y, r: radius }), label, title);
      chooses(part, `${one.name}, ${one.type}, ${plural(one.count, "mention")}`, { edge: null, node: one.id });
      svg.append(part);
    }
    plane.replaceChildren(svg);
    mark();
  };

  new ResizeObserver(() => {
    if (graph && plane.clientWidth && Math.abs(plane.clientWidth - width) > 4) { width = plane.clientWidth; draw(); }
  }).observe(plane);

  return {
    card,
    clear: () => { graph = null; chosen = null; plane.textContent = ""; panel.replaceChildren(hint); card.hidden = true; },
    update: (m, colours) => {
      const found = m.graph && m.graph.nodes.length > 1 && m.graph.edges.length ? m.graph : null;
      card.hidden = !found;
      if (!found || found === graph) return;
      graph = found;
      colour = colours;
      width = plane.clientWidth;
      draw();
      const left = graph.left_out ? `, the most frequent of ${(graph.nodes.length + graph.left_out).toLocaleString("en")}` : "";
      setText(side, `${plural(graph.nodes.length, "name")}${left}, ${plural(graph.edges.length, "pair")}; a thicker line is more sentences`);
    },
  };
};
