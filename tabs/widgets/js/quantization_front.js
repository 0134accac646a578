// The schemes as points of one figure. Two readings are chosen as axes; the Pareto front of these two is worked out here
// from the rows, and drawn as a line.

// [field, words, unit of the axis, whether more is better, how to read it, how to divide for the axis]
const READINGS = {
  bytes: ["Weights", "MB", false, (row) => row.bytes?.measured, 1e6],
  peak: ["Peak while loading", "MB", false, (row) => row.peak?.measured, 1e6],
  prefill: ["Prefill", "tokens per second", true, (row) => row.prefill?.tokens_per_second, 1],
  decode: ["Decode", "tokens per second", true, (row) => row.decode?.tokens_per_second, 1],
  perplexity: ["Perplexity", "", false, (row) => row.perplexity, 1],
  kl: ["KL from the reference", "nats", false, (row) => row.kl ?? 0, 1],
  top1: ["Top-1 agreement", "share", true, (row) => row.top1 ?? 1, 1],
};
const HEIGHT = 360;
const READING_CHOICES = Object.entries(READINGS).map(([name, [words]]) => [name, words]);

// Points that no other beats: none is at least as good in both and better in one.
const paretoFront = (points, moreX, moreY) => {
  const x = (p) => (moreX ? -p.x : p.x), y = (p) => (moreY ? -p.y : p.y);
  const beats = (a, b) => x(a) <= x(b) && y(a) <= y(b) && (x(a) < x(b) || y(a) < y(b));
  return points.filter((p) => !points.some((other) => beats(other, p))).sort((a, b) => a.x - b.x);
};

const padded = (values) => {
  const low = Math.min(...values), high = Math.max(...values);
  const room = high > low ? (high - low) * 0.16 : Math.abs(high) * 0.1 || 1;
  return [low - room, high + room];
};

// Where each point's name stands: beside its neighbours' names, not upon them. Of each place: Plotly's name, and the way
// from the point to the middle of the name, in halves of the name's width and in lines.
const SPOTS = [["top center", 0, 1], ["bottom center", 0, -1], ["middle right", 1.15, 0], ["middle left", -1.15, 0], ["top right", 1.1, 0.9], ["bottom right", 1.1, -0.9], ["top left", -1.1, 0.9], ["bottom left", -1.1, -0.9]];
const placed = (points, rangeX, rangeY, width, height) => {
  const at = (p) => [((p.x - rangeX[0]) / (rangeX[1] - rangeX[0])) * width, ((p.y - rangeY[0]) / (rangeY[1] - rangeY[0])) * height];
  const taken = points.map((p) => [...at(p), 7, 7]);
  return points.map((p, own) => {
    const [x, y] = at(p), half = 3.1 * p.name.length + 2;
    const crowd = SPOTS.map(([spot, dx, dy]) => {
      const cx = x + dx * half + Math.sign(dx) * 6, cy = y + dy * 16;
      const out = cx - half < 0 || cx + half > width || cy > height - 6 || cy < 6 ? 3 : 0;
      return [out + taken.filter(([tx, ty, tw, th], i) => i !== own && Math.abs(tx - cx) < half + tw && Math.abs(ty - cy) < 7 + th).length, spot, cx, cy];
    });
    const best = crowd.reduce((a, b) => (b[0] < a[0] ? b : a));
    taken.push([best[2], best[3], half, 7]);
    return best[1];
  });
};

const makeFront = () => {
  const { card, head } = cardOf("qz-front", "Trade-offs", "");
  const choice = { x: "bytes", y: "kl" };
  let model = null;
  const axis = (way, label) => selectOf(label, READING_CHOICES, choice[way], (value) => { choice[way] = value; draw(); });
  const switches = node("span", "qz-switches");
  switches.append(axis("x", "across"), axis("y", "upwards"));
  head.append(node("span", "bv-gap"), switches);
  const place = node("div", "qz-front-figure"), said = node("p", "bv-muted qz-small");
  card.append(place, said);
  const figure = figureIn(place);

  const title = (name) => {
    const [words, unit, more] = READINGS[name];
    return `${words}${unit ? ` (${unit})` : ""}, ${more ? "more" : "less"} is better`;
  };

  const draw = () => {
    const [, , moreX, readX, byX] = READINGS[choice.x], [, , moreY, readY, byY] = READINGS[choice.y];
    const points = (model?.schemes || [])
      .map((row) => ({ name: row.title || row.scheme, x: readX(row) / byX, y: readY(row) / byY }))
      .filter((p) => num(p.x) && num(p.y));
    if (!points.length) { figure.update({ traces: [], height: 300, empty: "No scheme has both readings." }); setText(said, ""); return; }
    const front = paretoFront(points, moreX, moreY), on = new Set(front);
    const rangeX = padded(points.map((p) => p.x)), rangeY = padded(points.map((p) => p.y));
    const spots = placed(points, rangeX, rangeY, Math.max(200, place.clientWidth - 70), HEIGHT - 50);
    const hover = `%{text}<br>${READINGS[choice.x][0]}: %{x:.4~g} ${READINGS[choice.x][1]}<br>${READINGS[choice.y][0]}: %{y:.4~g} ${READINGS[choice.y][1]}<extra></extra>`;
    const traces = points.map((p, i) => ({
      name: p.name, unlisted: true, x: [p.x], y: [p.y], text: [p.name], mode: "markers", labelled: spots[i], hover,
      color: on.has(p) ? 0 : 6, symbol: on.has(p) ? "diamond" : "circle-open", size: on.has(p) ? 11 : 9,
    }));
    if (front.length > 1) traces.unshift({ name: "Pareto front", x: front.map((p) => p.x), y: front.map((p) => p.y), mode: "lines", dash: "dot", color: 0, width: 1.5, quiet: true });
    figure.update({ x: { title: title(choice.x), range: rangeX }, y: { title: title(choice.y), range: rangeY }, traces, keys: false, hover: "closest", height: HEIGHT });
    setText(said, `◆ on the front of these two: ${front.map((p) => p.name).join(", ")}. ○ beaten by one of them.`);
  };

  return {
    card,
    update: (m) => {
      card.hidden = m.schemes.length < 2;
      const grown = model?.schemes !== m.schemes || card.dataset.n !== String(m.schemes.length);
      model = m;
      if (card.hidden || !grown) return;
      card.dataset.n = String(m.schemes.length);
      draw();
    },
    clear: () => { model = null; delete card.dataset.n; figure.clear(); },
  };
};
