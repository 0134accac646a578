// The tables of a strategies run: scores, confusion matrices, the check of the accumulation, and the way of the data.

const ENDED = { "budget spent": "budget", "early stop": "early", diverged: "diverged", stopped: "stopped", "time limit": "time limit" };
const bytesText = (n) => {
  if (n >= 1e6) return `${(n / 1e6).toFixed(1)} MB`;
  return n >= 1e3 ? `${(n / 1e3).toFixed(n >= 1e5 ? 0 : 1)} KB` : `${n} B`;
};
const tiny = (x) => (x === 0 ? "0" : x.toExponential(1).replace("e+", "e"));

const makeScores = () => {
  const card = node("section", "bv-card bs-card bs-scores");
  const head = node("div", "bs-card-head");
  head.append(node("h3", "bv-card-title", "Scores"), node("span", "bv-muted bs-small", "on the test set, looked at once, after the training"));
  const wrap = node("div", "bs-table");
  wrap.tabIndex = 0;
  wrap.setAttribute("role", "region");
  wrap.setAttribute("aria-label", "Scores");
  const check = node("ul", "bs-checks");
  card.append(head, wrap, check);

  const HEADS = ["Strategy", "Test accuracy", "F1", "Test loss", "Train acc.", "Steps", "Examples", "Seconds", "Memory", "Padding", "Ended"];
  const HEAD_TITLES = {
    F1: "mean of the classes' F1", "Train acc.": "accuracy on the training set at the end", Seconds: "of training steps, without evaluation",
    Memory: "weights, gradients, optimizer state and what one backward pass keeps, measured", Padding: "share of the batches' cells that only pad",
    Ended: "why the training ended: the budget, early stopping, Stop, divergence or the time limit",
  };
  const cells = (column) => {
    const r = column.result;
    if (!r) return [column.title, ...Array(9).fill("…"), "training"];
    return [
      column.title, percent(r.test_accuracy), r.f1.toFixed(3), r.test_loss === null ? "n/a" : r.test_loss.toFixed(3), percent(r.train_accuracy),
      r.steps.toLocaleString("en"), r.examples.toLocaleString("en"), r.seconds.toFixed(2), bytesText(r.memory.total),
      r.padding === null ? "–" : percent(r.padding), ENDED[r.reason] || r.reason,
    ];
  };

  const draw = (model) => {
    const columns = model.columns || [];
    const look = lookOf(columns);
    const done = columns.filter((column) => column.result);
    const best = Math.max(...done.map((column) => column.result.test_accuracy));
    const padded = done.some((column) => column.result.padding !== null);
    const shown = (row) => (padded ? row : row.filter((_, i) => i !== 9));
    const table = node("table");
    const top = table.createTHead().insertRow();
    shown(HEADS).forEach((name, i) => { const th = node("th", i && i < shown(HEADS).length - 1 ? "num" : "", name); th.scope = "col"; if (HEAD_TITLES[name]) th.title = HEAD_TITLES[name]; top.append(th); });
    const body = table.createTBody();
    for (const column of columns) {
      const row = body.insertRow();
      const texts = shown(cells(column));
      texts.forEach((text, i) => {
        const td = row.insertCell();
        td.className = i && i < texts.length - 1 ? "num" : "";
        if (i === 0) { const name = node("span", "bs-named"); name.append(lineKey(look(column)), node("span", "", text)); td.append(name); } else td.textContent = text;
        if (i === 1 && column.result && done.length > 1 && column.result.test_accuracy === best) { td.classList.add("is-best"); td.title = "the best of this run"; td.textContent = `${text} ★`; }
      });
      const m = column.result?.memory;
      if (m) row.cells[8].title = `parameters ${bytesText(m.parameters)}, gradients ${bytesText(m.gradients)}, optimizer ${bytesText(m.optimizer)}, activations ${bytesText(m.activations)}`;
    }
    wrap.replaceChildren(table);
    check.textContent = "";
    for (const c of model.accumulation || []) {
      const same = c.relative < 1e-4;
      let text = `${c.title}: on one batch of ${c.batch} the accumulated gradient differs from the whole batch's by at most ${tiny(c.gradient)}, ${tiny(c.relative)} of its largest entry`;
      if (c.weights !== undefined) text += `; after ${c.steps.toLocaleString("en")} steps the weights differ by at most ${tiny(c.weights)}`;
      check.append(node("li", same ? "is-same" : "is-off", `${same ? "✓ equal to rounding. " : "≠ not equal. "}${text}.`));
    }
  };
  return { card, update: draw };
};

const makeConfusion = () => {
  const card = node("section", "bv-card bs-card bs-confusion");
  const head = node("div", "bs-card-head");
  head.append(node("h3", "bv-card-title", "Confusion matrices"), node("span", "bv-muted bs-small", "rows: the true class; columns: the predicted one"));
  const grid = node("div", "bs-confusion-grid");
  card.append(head, grid);
  let drawn = "";

  const matrixOf = (column) => {
    const { confusion } = column.result, names = column.classes;
    const most = Math.max(...confusion.flat(), 1);
    const box = node("figure", "bs-matrix");
    box.append(node("figcaption", "", column.title));
    const scroll = node("div", "bs-table");
    scroll.tabIndex = 0;
    scroll.setAttribute("role", "region");
    scroll.setAttribute("aria-label", `Confusion matrix of ${column.title}`);
    const table = node("table");
    const top = table.createTHead().insertRow();
    top.append(node("th", "", ""));
    for (const name of names) { const th = node("th", "", name); th.scope = "col"; top.append(th); }
    const body = table.createTBody();
    confusion.forEach((row, i) => {
      const line = body.insertRow();
      const th = node("th", "", names[i]);
      th.scope = "row";
      line.append(th);
      row.forEach((count, j) => {
        const td = line.insertCell();
        td.textContent = count || "·";
        td.className = i === j ? "is-hit" : "is-miss";
        td.style.setProperty("--share", (count / most).toFixed(3));
        td.title = `${names[i]} taken for ${names[j]}: ${count}`;
      });
    });
    scroll.append(table);
    box.append(scroll);
    return box;
  };

  return {
    card,
    update: (model) => {
      const done = (model.columns || []).filter((column) => column.result);
      card.hidden = !done.length;
      const shape = done.map((column) => column.title).join("|");
      if (shape === drawn) return;
      drawn = shape;
      grid.replaceChildren(...done.map(matrixOf));
    },
    clear: () => { drawn = ""; grid.textContent = ""; },
  };
};

// Raw, cleaned, cut into tokens, numbered, batched: the training texts on their way; for digits, their pixels.
const makePipeline = () => {
  const card = node("section", "bv-card bs-card bs-pipeline");
  const head = node("div", "bs-card-head");
  head.append(node("h3", "bv-card-title", "The way of the data"), node("span", "bv-muted bs-small", "from what is given to what a batch holds"));
  const body = node("div", "bs-pipeline-body");
  card.append(head, body);
  let drawn = null;

  const stage = (title, ...parts) => { const box = node("div", "bs-stage"); box.append(node("span", "bs-stage-name", title), ...parts); return box; };
  const chips = (texts, cls) => { const line = node("span", "bs-tokens"); for (const text of texts) line.append(node("span", cls, String(text))); return line; };

  const texts = (p) => {
    const found = [];
    for (const example of p.examples) {
      const box = node("div", "bs-way");
      box.append(
        stage("raw", node("span", "", example.raw), node("span", "bs-label", example.label)),
        stage("cleaned", node("span", "", example.clean)),
        stage("tokens", chips(example.tokens, "bs-token")),
        stage("numbers", chips(example.ids, "bs-id")),
      );
      found.push(box);
    }
    const batches = node("div", "bs-batches");
    p.batches.forEach((batch, i) => {
      const waste = p.waste[i], share = 1 - waste.tokens / waste.cells;
      const box = node("figure", "bs-batch");
      box.dataset.padding = batch.name;
      const caption = node("figcaption");
      caption.append(node("strong", "", batch.title), node("span", "bs-mono bs-waste", `${percent(share)} padding`));
      const rows = node("div", "bs-batch-rows");
      rows.setAttribute("role", "img");
      rows.setAttribute("aria-label", `${batch.rows.length} rows of a batch, ${batch.width} tokens wide`);
      for (const length of batch.rows) {
        const row = node("span", "bs-batch-row");
        row.style.width = `${(100 * batch.width) / p.longest}%`;
        const real = node("i");
        real.style.width = `${(100 * length) / batch.width}%`;
        row.append(real);
        rows.append(row);
      }
      box.append(caption, rows, node("span", "bv-muted bs-small", `${waste.tokens.toLocaleString("en")} tokens in ${waste.cells.toLocaleString("en")} cells, ${plural(waste.batches, "batch").replace("batchs", "batches")} an epoch; the first is ${batch.width} wide`));
      batches.append(box);
    });
    found.push(node("p", "bs-sub", "Batched: real tokens, and what pads them"), batches);
    return found;
  };

  const picture = (pixels) => {
    const canvas = node("canvas", "bs-digit");
    canvas.width = canvas.height = 8;
    const ctx = canvas.getContext("2d"), image = ctx.createImageData(8, 8);
    pixels.forEach((value, i) => { const grey = 255 - Math.round((255 * value) / 16); image.data.set([grey, grey, grey, 255], 4 * i); });
    ctx.putImageData(image, 0, 0);
    return canvas;
  };

  const digits = (p) => {
    const line = node("div", "bs-digits");
    for (const digit of p.digits) {
      const box = node("figure", "bs-digit-box");
      box.append(picture(digit.pixels), node("figcaption", "bs-mono", digit.label));
      line.append(box);
    }
    const first = p.digits[0], at = Math.max(0, first.pixels.findIndex((v) => v > 0) - 1);
    const some = first.pixels.slice(at, at + 8);
    return [
      stage("raw", node("span", "", "8 × 8 pixels of 0 to 16"), line),
      stage("cleaned", chips(some, "bs-id"), node("span", "bv-muted", "÷ 16 →"), chips(some.map((v) => (v / 16).toFixed(2)), "bs-id"), node("span", "bv-muted", "…")),
      stage("batched", node("span", "", `a mini-batch is a table of ${p.size} × ${p.features} numbers; nothing is padded, all rows are of one length`)),
    ];
  };

  return {
    card,
    update: (model) => {
      card.hidden = !model.pipeline && !model.pixels;
      const shape = `${Boolean(model.pipeline)}${Boolean(model.pixels)}`;
      if (card.hidden || drawn === shape) return;
      drawn = shape;
      body.replaceChildren(...(model.pixels ? digits(model.pixels) : []), ...(model.pipeline ? texts(model.pipeline) : []));
    },
    clear: () => { drawn = null; body.textContent = ""; },
  };
};
