// The decision boundary of each curve on a toy, moving while it trains; afterwards the slider replays it.

const LEVELS = "0123456789abcdefghijklmnopqrstuvwxyz";
const FRAME_MS = 70;      // between two pictures: a run that is over in a second is still watched
const CANVAS = 220;

const makeToy = () => {
  const card = node("section", "bv-card bs-card bs-toy");
  const head = node("div", "bs-card-head");
  head.append(node("h3", "bv-card-title", "Decision boundary"));
  const key = node("span", "bs-toy-key bv-muted bs-small");
  key.append(node("i", "bs-dot bs-dot-0"), node("span", "", "class 0"), node("i", "bs-dot bs-dot-1"), node("span", "", "class 1"));
  head.append(node("span", "bv-gap"), key);
  const grid = node("div", "bs-toy-grid");
  const controls = node("div", "bs-toy-controls");
  const play = button("bv-button bv-small bs-play", "Replay", "", () => { head_ = 0; playing = true; tick(); });
  const slider = node("input");
  Object.assign(slider, { type: "range", min: "0", max: "1", step: "0.001", value: "0" });
  slider.setAttribute("aria-label", "Share of the budget spent");
  const told = node("span", "bs-mono bs-small bv-muted");
  slider.addEventListener("input", () => { playing = false; head_ = Number(slider.value); paint(); });
  controls.append(play, slider, told);
  card.append(head, grid, controls);

  let model = {}, cells = [], head_ = 0, playing = true, timer = 0;

  const colour = (name) => {
    const text = getComputedStyle(document.body).getPropertyValue(name).trim();
    return /^#[0-9a-f]{6}$/i.test(text) ? [1, 3, 5].map((i) => parseInt(text.slice(i, i + 2), 16)) : [128, 128, 128];
  };

  const toyColumns = () => (model.columns || []).filter((column) => column.toy);
  const latest = () => Math.max(0, ...toyColumns().map((column) => column.frames.at(-1)?.share ?? 0));
  const times = () => [...new Set(toyColumns().flatMap((column) => column.frames.map((frame) => frame.share)))].sort((a, b) => a - b);

  const build = () => {
    const titles = toyColumns().map((column) => column.title);
    if (cells.length === titles.length && cells.every((cell, i) => cell.title === titles[i])) return;
    grid.textContent = "";
    cells = titles.map((title) => {
      const box = node("figure", "bs-toy-cell");
      const canvas = node("canvas");
      canvas.width = canvas.height = CANVAS * 2;
      canvas.setAttribute("role", "img");
      const caption = node("figcaption", "", title);
      const note = node("span", "bs-mono bs-small bv-muted");
      box.append(caption, canvas, note);
      grid.append(box);
      return { title, canvas, note };
    });
  };

  const paintCell = (cell, column) => {
    let frame = column.frames[0];
    for (const each of column.frames) if (each.share <= head_ + 1e-6) frame = each;
    if (!frame) return;
    const side = model.toy.side, [left, bottom, rightX, top] = model.toy.box;
    const zero = colour("--bt-c1"), one = colour("--bt-c2"), ground = colour("--bt-panel");
    const small = document.createElement("canvas");
    small.width = small.height = side;
    const image = new ImageData(side, side);
    for (let i = 0; i < side * side; i++) {
      const p = LEVELS.indexOf(frame.grid[i]) / 35;
      const towards = p < 0.5 ? zero : one, strength = 0.12 + 0.55 * Math.abs(2 * p - 1);
      for (let c = 0; c < 3; c++) image.data[4 * i + c] = Math.round(ground[c] + (towards[c] - ground[c]) * strength);
      image.data[4 * i + 3] = 255;
    }
    small.getContext("2d").putImageData(image, 0, 0);
    const ctx = cell.canvas.getContext("2d"), size = cell.canvas.width;
    ctx.imageSmoothingEnabled = true;
    ctx.drawImage(small, 0, 0, size, size);
    for (const [x, y, label] of model.toy.points) {
      ctx.beginPath();
      ctx.arc(((x - left) / (rightX - left)) * size, ((top - y) / (top - bottom)) * size, 5, 0, 7);
      ctx.fillStyle = `rgb(${label ? one : zero})`;
      ctx.strokeStyle = `rgb(${ground})`;
      ctx.lineWidth = 1.5;
      ctx.fill();
      ctx.stroke();
    }
    const point = column.points.find((each) => each.step === frame.step);
    const text = `step ${frame.step.toLocaleString("en")}` + (point ? ` · ${percent(point.accuracy)} right` : "");
    setText(cell.note, text);
    cell.canvas.setAttribute("aria-label", `${column.title}: ${text}`);
  };

  const paint = () => {
    build();
    toyColumns().forEach((column, i) => paintCell(cells[i], column));
    slider.value = String(head_);
    setText(told, `${Math.round(100 * head_)}% of the budget`);
  };

  // Goes on to the next picture there is, as long as there is one; waits for the training where it is ahead of it.
  const tick = () => {
    clearTimeout(timer);
    if (!playing || !card.isConnected) return;
    const next = times().find((share) => share > head_ + 1e-6);
    if (next === undefined) { paint(); return; }
    head_ = next;
    paint();
    timer = setTimeout(tick, FRAME_MS);
  };

  new MutationObserver(() => { if (card.isConnected && model.toy) paint(); }).observe(document.body, { attributes: true, attributeFilter: ["class"] });

  return {
    card,
    update: (next) => {
      model = next;
      card.hidden = !model.toy;
      if (!model.toy) return;
      const behind = playing && head_ < latest();
      if (!cells.length || (behind && !timer)) tick();
      else if (behind) { clearTimeout(timer); timer = setTimeout(tick, FRAME_MS); }
    },
    clear: () => { clearTimeout(timer); timer = 0; head_ = 0; playing = true; cells = []; grid.textContent = ""; },
  };
};
