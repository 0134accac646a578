// Plan: what each use of a model takes in memory, as stacked bars against the sizes of devices, as verdicts in words, and
// the KV cache by the length of the context. All of it is an estimate from shapes: nothing was loaded.

const PARTS = [["weights", "weights"], ["kv", "KV cache"], ["activations", "activations"], ["gradients", "gradients"], ["optimizer", "optimizer states"]];
const USES = { inference: "inference", lora: "LoRA", qlora: "QLoRA", full: "full" };
const VERDICTS = { fits: ["✓", "fits"], with: ["≈", "fits with"], not: ["✕", "does not fit"] };
const useOf = (use) => USES[use] || use;
const NARROW = 520;   // pixels; below it bars have short names
const GB = 1e9;

const makePlan = () => {
  const { card, note } = cardOf("qz-plan", "Memory plan", "");
  const top = node("div", "qz-plan-top"), place = node("div", "qz-plan-figure");
  card.append(top, place);
  const figure = figureIn(place);
  let drawn = null;

  const bars = (plan) => {
    const rows = [...plan.rows].reverse(), narrow = place.clientWidth < NARROW;
    const names = rows.map((row) => (row.use !== "inference" ? useOf(row.use) : narrow ? row.scheme : row.title));
    const longest = Math.max(...names.map((name) => name.length)), wide = Math.max(120, place.clientWidth - 7 * longest - 40);
    const most = Math.max(...rows.map((row) => row.total)) / GB;
    const sizes = plan.devices.map((device) => device.bytes / GB).sort((a, b) => a - b);
    const end = Math.max(1.08 * most, 1.06 * (sizes.find((size) => size >= most) ?? most));
    const unit = end >= 0.5 ? ["GB", 1] : ["MB", 1000];
    const room = (50 / wide) * end, named = [];
    const lines = plan.devices.filter((device) => device.bytes / GB <= end).map((device) => {
      const at = device.bytes / GB, free = named.every((other) => Math.abs(other - at) >= room);
      if (free) named.push(at);
      return { x: at * unit[1], text: free ? device.title.split(/[,(]/)[0] : "" };
    });
    const traces = PARTS.filter(([part]) => rows.some((row) => row.parts[part] > 0)).map(([part, words], i) => ({
      name: words, kind: "bar", across: true, y: names, x: rows.map((row) => ((row.parts[part] || 0) / GB) * unit[1]), color: PARTS.findIndex(([name]) => name === part),
      hover: `%{y}<br>${words}: %{x:.3~g} ${unit[0]}<extra></extra>`, rest: i,
    }));
    return {
      title: "Bytes by part", unit: `${unit[0]}, decimal; dotted: what a device has`, stacked: true, keys: true, values: false, height: 80 + 27 * rows.length,
      x: { title: `memory (${unit[0]})`, range: [0, end * unit[1]] }, y: { title: "", ticks: { at: names, text: names }, range: [-0.5, names.length + 0.1] }, traces, shapes: lines, hover: "closest",
    };
  };

  return {
    card,
    update: (m) => {
      const plan = m.plan;
      card.hidden = !plan;
      if (!plan || plan === drawn) return;
      drawn = plan;
      const model = plan.model;
      setText(note, `estimate${plan.exact ? ", from the model's own files" : ", from its configuration"}; nothing is loaded for it`);
      top.replaceChildren(
        sentence(plan.sentence || ""),
        factsOf([
          ["Model", model.title || model.name],
          ["Parameters", shortCount(model.parameters)],
          ["Layers", model.layers],
          ["Hidden size", model.hidden],
          ["KV heads", model.kv_heads],
          ["Context", num(model.context) ? `${model.context.toLocaleString("en")} tokens` : null],
          ["Licence", model.licence],
        ]),
      );
      figure.update(bars(plan));
    },
    clear: () => { drawn = null; figure.clear(); },
  };
};

const makeVerdicts = () => {
  const { card } = cardOf("qz-verdicts", "What fits where", "✓ fits, ≈ fits with a change that is named, ✕ does not fit");
  const wrap = scrolling("What fits where"), notes = node("ul", "qz-readings");
  card.append(wrap, notes);
  let drawn = null;

  const cell = (told) => {
    const [sign, words] = VERDICTS[told.verdict] || ["", told.verdict];
    const box = node("span", "qz-pair");
    const main = node("span", `qz-verdict is-${told.verdict}`);
    main.append(node("b", "", sign), node("span", "", words));
    box.append(main, node("span", "qz-sub", [num(told.share) ? `${Math.round(100 * told.share)}% of it` : "", told.with].filter(Boolean).join(" · ")));
    return box;
  };

  return {
    card,
    update: (m) => {
      const plan = m.plan;
      card.hidden = !plan?.rows?.length;
      if (card.hidden || plan === drawn) return;
      drawn = plan;
      const table = tableOf([["Use", "qz-name"], ["Total", "num"], ...plan.devices.map((device) => [device.title, "", bytesText(device.bytes)])]);
      plan.rows.forEach((row, i) => addRow(table, [
        ["qz-name", measured(row.use === "inference" ? row.title : useOf(row.use), row.use === "inference" ? "inference" : row.title)],
        ["num", measured(bytesText(row.total)), PARTS.map(([part, words]) => (row.parts[part] ? `${words} ${bytesText(row.parts[part])}` : "")).filter(Boolean).join(", ")],
        ...plan.verdicts[i].map((told) => ["qz-where", cell(told)]),
      ]));
      wrap.replaceChildren(table);
      const said = [...new Set(plan.rows.map((row) => row.note).filter(Boolean))];
      notes.replaceChildren(...said.map((text) => node("li", "bv-muted qz-small", text)));
    },
    clear: () => { drawn = null; },
  };
};

const makeCache = () => {
  const { card, note } = cardOf("qz-cache", "KV cache by context", "");
  const place = node("div");
  card.append(place);
  const figure = figureIn(place);
  let drawn = null;
  return {
    card,
    update: (m) => {
      const kv = m.plan?.kv;
      card.hidden = !kv?.per_token || !kv.by_context?.length;
      if (card.hidden || kv === drawn) return;
      drawn = kv;
      setText(note, `${bytesText(kv.per_token)} for each token of each sequence`);
      const at = kv.by_context, most = Math.max(...at.map((one) => one.bytes)), [unit, one] = most >= 1e9 ? ["GB", 1e9] : most >= 1e6 ? ["MB", 1e6] : ["kB", 1e3];
      const every = Math.ceil(at.length / Math.max(3, place.clientWidth / 64)), ticks = at.map((p) => p.context).filter((_, i) => (at.length - 1 - i) % every === 0);
      figure.update({
        x: { title: "context (tokens)", log: true, ticks: { at: ticks, text: ticks.map((n) => (n >= 1e4 ? (n % 1024 ? shortCount(n) : `${n / 1024}K`) : n.toLocaleString("en"))) } }, y: { title: `KV cache (${unit})`, zero: true }, height: 220, keys: false,
        traces: [{ name: "KV cache", x: at.map((p) => p.context), y: at.map((p) => p.bytes / one), mode: "lines+markers", color: 1, hover: `%{x:,} tokens<br>%{y:.3~g} ${unit}<extra></extra>` }], hover: "closest",
      });
    },
    clear: () => { drawn = null; figure.clear(); },
  };
};
