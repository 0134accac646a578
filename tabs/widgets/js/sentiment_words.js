// Why: a text with each word tinted by what it adds to the target's score, method beside method, and the sum check.
// A word that speaks for the target has its bar below, one that speaks against it above: colour is never alone.

const MOST_WORDS = 1500;       // of a long text so many are drawn; the strongest are listed whatever their place
const STRONGEST = 6;
const METHOD_TITLES = { integrated_gradients: "Integrated gradients", occlusion: "Occlusion" };

const makeWords = (tips) => {
  const wordOf = (text, score, most, target) => {
    const made = node("span", "sn-word", text);
    const share = most ? Math.abs(score) / most : 0;
    if (share >= 0.02) {
      made.classList.add(score > 0 ? "is-for" : "is-against");
      made.style.setProperty("--share", share.toFixed(3));
    }
    made.addEventListener("pointerenter", () => tips.show(made, text, [[score < 0 ? `against ${target}` : `for ${target}`, signed(score)]]));
    made.addEventListener("pointerleave", tips.hide);
    return made;
  };

  // Spans count characters as Python does, so the text is cut into characters, not into UTF-16 units.
  const flow = (text, method, target) => {
    const box = node("p", "sn-flow");
    box.dir = "auto";
    const most = Math.max(...method.scores.map(Math.abs), 0);
    const letters = Array.from(text);
    let at = 0;
    method.words.slice(0, MOST_WORDS).forEach((word, i) => {
      const [from, to] = method.spans[i] ?? [0, 0];
      if (from >= at && to <= letters.length && to > from) {
        box.append(document.createTextNode(letters.slice(at, from).join("")), wordOf(letters.slice(from, to).join(""), method.scores[i], most, target));
        at = to;
      } else box.append(document.createTextNode(" "), wordOf(word, method.scores[i], most, target));
    });
    if (method.words.length > MOST_WORDS) box.append(node("span", "bv-muted", ` … and ${many(method.words.length - MOST_WORDS, "word")} more`));
    else box.append(document.createTextNode(letters.slice(at).join("")));
    return box;
  };

  const strongest = (method, target) => {
    const list = node("ul", "sn-strong");
    const order = method.scores.map((_, i) => i).sort((a, b) => Math.abs(method.scores[b]) - Math.abs(method.scores[a]));
    const most = Math.abs(method.scores[order[0]]) || 1;
    for (const i of order.slice(0, STRONGEST)) {
      const score = method.scores[i];
      if (!score) continue;
      const line = node("li", "sn-strong-line");
      const track = node("span", "sn-both"), fill = node("i", score > 0 ? "is-for" : "is-against");
      fill.style.width = `${(50 * Math.abs(score)) / most}%`;
      track.append(fill);
      line.title = score > 0 ? `speaks for ${target}` : `speaks against ${target}`;
      line.append(node("span", "sn-strong-word", method.words[i]), track, node("span", "sn-number", signed(score)));
      list.append(line);
    }
    return list;
  };

  const check = (method) => {
    const box = node("div", "sn-check");
    const sum = node("p", "sn-sum");
    const add = (name, value) => sum.append(node("span", "bv-muted", name), node("span", "sn-number", value));
    add("sum of the words", signed(method.total));
    add("text − baseline", signed(method.expected));
    add("gap", signed(method.gap));
    box.append(sum);
    const said = [method.baseline && `Baseline: ${method.baseline}`, method.note].filter(Boolean).map((s) => s.replace(/\.?$/, "."));
    box.append(node("p", "bv-muted sn-small", [...said, `Took ${seconds(method.seconds)}.`].join(" ")));
    return box;
  };

  const panel = (text, method, target) => {
    const box = node("div", "sn-method");
    box.dataset.method = method.name;
    box.append(node("h4", "sn-method-title", method.title || METHOD_TITLES[method.name] || method.name), flow(text, method, target), strongest(method, target), check(method));
    return box;
  };

  const legend = (target) => {
    const box = node("p", "sn-legend");
    box.append(node("span", "sn-word is-for", `for ${target}`), node("span", "sn-word is-against", `against ${target}`), node("span", "bv-muted sn-small", "bar below: raises its score; bar above: lowers it; the stronger the tint the more"));
    return box;
  };

  return (labels, values) => {
    const target = nameOfLabel(labels, values.target);
    const box = node("div", "sn-why");
    const grid = node("div", "sn-methods");
    grid.append(...values.methods.map((method) => panel(values.text, method, target)));
    box.append(legend(target), grid);
    return box;
  };
};

// A row's question and the place of its answer, which outlive the row: it may be drawn again meanwhile.
const makeAsker = (drawWords, ask) => {
  const answers = new Map();     // row -> its attribution, or a sentence that says why there is none
  const asked = new Set();
  const places = new Map();      // row -> where its answer stands now, and the labels it is told with

  const draw = (row) => {
    const { box, labels } = places.get(row);
    const answer = answers.get(row);
    if (answer?.methods) box.replaceChildren(drawWords(labels, answer));
    else if (answer) box.replaceChildren(node("p", "sn-error", answer.error));
    else if (asked.has(row)) box.replaceChildren(node("p", "bv-muted sn-small", "Asking each word."));
  };

  return {
    of: (row, labels) => {
      const box = node("div", "sn-answer");
      places.set(row, { box, labels });
      draw(row);
      const why = button("bv-link sn-ask", "why?", `Why row ${row + 1} was given its label`, () => {
        if (answers.get(row)?.methods) { box.hidden = !box.hidden; return; }
        answers.delete(row);
        asked.add(row);
        draw(row);
        ask("why", { row });
      });
      return [why, box];
    },
    answer: (why) => {
      if (!asked.delete(why.row)) return;   // another page's, or one that was answered already
      answers.set(why.row, why);
      if (places.has(why.row)) draw(why.row);
    },
    clear: () => { answers.clear(); asked.clear(); places.clear(); },
  };
};

const makeAttributions = (drawWords) => {
  const { card } = cardOf("sn-attributions", "Why", "what each word adds to the logit of the label, by two methods");
  const body = node("div", "sn-stacked");
  card.append(body);
  return {
    card,
    update: (m, labels) => {
      card.hidden = !m.attributions.length;
      while (body.children.length < m.attributions.length) {
        const values = m.attributions[body.children.length];
        const part = node("article", "sn-part");
        const line = node("p", "sn-result");
        line.append(labelMark(labels, values.label), node("span", "sn-number", shareText(labels, Array.isArray(values.p) ? values.p[values.label] : values.p)));
        if (values.target !== values.label) line.append(node("span", "bv-muted sn-small", `explained: ${nameOfLabel(labels, values.target)}`));
        part.append(line, drawWords(labels, values));
        body.append(part);
      }
    },
    clear: () => { body.textContent = ""; },
  };
};
