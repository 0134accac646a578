// Under the lens: one layer's weights before and after, what the change costs it, and what it costs the model.
// While a control is moved the last answer stays, dimmed, until the next is there.

const HISTOGRAMS = [["linear", "Linear"], ["log", "Logarithmic"]];

const makeLens = (openSweep) => {
  const { card, head, name, note } = cardOf("qz-lens", "Under the lens", "");
  const back = button("bv-link qz-back", "← back to all layers", "", () => openSweep(props.value?.back));
  head.prepend(back);
  const told = node("div", "qz-told"), effect = node("div", "qz-effect"), figures = node("div", "qz-figures");
  const left = node("div"), right = node("div");
  figures.append(left, right);
  const choice = { counts: "linear" };
  const scale = segments("Counts", HISTOGRAMS, choice.counts, (value) => { choice.counts = value; if (drawn) drawFigures(drawn); });
  const switches = node("div", "qz-switches");
  switches.append(node("span", "bv-muted qz-small", "Counts"), scale);
  card.append(told, effect, switches, figures);
  const histogram = figureIn(left), channels = figureIn(right);
  let drawn = null;

  const middles = (edges) => edges.slice(1).map((edge, i) => (edge + edges[i]) / 2);

  const drawFigures = (lens) => {
    const log = choice.counts === "log", x = middles(lens.before.edges);
    const counts = (list) => list.map((n) => (log && !n ? null : n));
    const widths = lens.before.edges.slice(1).map((edge, i) => edge - lens.before.edges[i]);
    const hover = "%{name}: %{y:,} weights near %{x:.3~g}<extra></extra>";
    histogram.update({
      title: "Weights", unit: lens.layer, height: 250, values: false, hover: "closest",
      x: { title: "weight" }, y: { title: "weights per bin", log },
      traces: [
        { name: "after", kind: "bar", x, y: counts(lens.after.counts), widths, color: 1, opacity: 0.55, hover },
        { name: "before", x, y: counts(lens.before.counts), mode: "lines", steps: false, color: 0, width: 2, hover },
      ],
    });
    const snr = lens.channels || [];
    const every = lens.channels_each ?? 1;
    channels.update({
      title: "Signal to noise by channel", unit: every > 1 ? `dB, the worst of each ${every} rows` : "dB, one row of the weight each", height: 250, hover: "closest",
      x: { title: "output channel" }, y: { title: "SNR (dB)" }, empty: "The layer is unchanged: there is no noise.",
      shapes: num(lens.snr_db) ? [{ y: lens.snr_db, text: "the layer" }] : [],
      traces: snr.some(num) ? [{ name: "channel", x: snr.map((_, i) => i * every), y: snr.map((v) => (num(v) ? v : null)), mode: "markers", size: 4, color: 0, hover: "channel %{x}: %{y:.1f} dB<extra></extra>" }] : [],
    });
  };

  const effectOf = (lens) => {
    const { before, after } = lens.perplexity || {};
    const box = node("div", "qz-big");
    const arrow = node("p", "qz-change");
    arrow.append(node("span", "qz-at", perplexityText(before)), node("span", "bv-muted", " → "), node("strong", "", perplexityText(after)));
    const change = num(before) && num(after) ? after - before : null;
    const words = change === null ? "" : `${signed(change)} (${signed((100 * change) / before, 2)}%)`;
    box.append(node("span", "bv-muted qz-small", "Perplexity of the whole model"), arrow, node("span", "qz-at", words));
    return box;
  };

  const draw = (lens) => {
    setText(name, lens.layer);
    setText(note, [lens.shape?.join(" × "), `${lens.parameters.toLocaleString("en")} weights`, num(lens.seconds) ? `looked at in ${seconds(lens.seconds)}` : ""].filter(Boolean).join(" · "));
    told.replaceChildren(sentence(lens.sentence || ""));
    effect.replaceChildren(effectOf(lens), factsOf([
      ["KL of the next token", `${nats(lens.kl)} nats`, "mean divergence from the unchanged model's next-token distribution"],
      ["Top-1 agreement", shareOf(lens.top1), "share of positions at which the most likely token stays"],
      ["Bits per weight", num(lens.bits_per_weight) ? lens.bits_per_weight.toFixed(2) : "n/a", "with scales, zero points or code books shared out over the weights"],
      ["Distinct values", num(lens.distinct) ? lens.distinct.toLocaleString("en") : null],
      ["Zeros", shareOf(lens.zeros)],
      ["Mean squared error", num(lens.mse) ? lens.mse.toExponential(2).replace("e-", "e−").replace("e+", "e") : "n/a"],
      ["SNR", decibels(lens.snr_db), "power of the weights over power of the error"],
      ["Worst channel", lens.worst && num(lens.worst.snr_db) ? `${lens.worst.channel} · ${decibels(lens.worst.snr_db)}` : "none"],
    ]));
    drawFigures(lens);
  };

  return {
    card,
    shown: () => Boolean(drawn),
    update: (m) => {
      const waits = !m.lens && Boolean(props.value?.again) && Boolean(drawn);
      card.classList.toggle("is-waiting", waits && m.status !== "failed");
      card.hidden = !m.lens && !waits;
      back.hidden = !props.value?.back;
      if (!m.lens || m.lens === drawn) return;
      drawn = m.lens;
      draw(m.lens);
    },
    clear: () => {
      if (props.value?.again && drawn) return;
      drawn = null;
      histogram.clear();
      channels.clear();
    },
  };
};
