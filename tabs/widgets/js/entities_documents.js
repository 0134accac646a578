// Found entities: the documents with their marks, the table of names, the files to take away.

const OPEN_AT_FIRST = 3;
const ROWS_AT_FIRST = 60;
const FILE_WORDS = { "entities.json": "JSON", "entities.csv": "CSV", "entities.conll": "CoNLL" };
const fileSize = (n) => (n >= 1e6 ? `${(n / 1e6).toFixed(1)} MB` : n >= 1e3 ? `${Math.round(n / 1e3)} KB` : `${n} B`);

const makeDocuments = (tip) => {
  const { card, head, side } = cardOf("en-documents", "Entities");
  const legend = node("div");
  const list = node("div", "en-document-list");
  head.append(legend);
  card.append(list);
  let drawn = 0;

  const noteOf = (one) => {
    const parts = [plural(one.found ?? one.entities.length, "entity").replace("entitys", "entities"), `${one.ms.toFixed(one.ms < 10 ? 1 : 0)} ms`];
    if (one.windows > 1) parts.push(`${one.windows} overlapping windows`);
    if (one.cut) parts.push("its beginning is shown, the table and files have all of it");
    return parts.join(" · ");
  };

  const documentOf = (one, colour, only) => {
    const box = node("details", "en-document");
    const summary = node("summary", "en-document-head");
    summary.append(node("span", "en-document-name", one.name), node("span", "bv-muted bs-small", noteOf(one)));
    const text = node("div", "en-text");
    text.dir = "auto";
    box.append(summary, text);
    const fill = () => { if (box.open && !text.firstChild) markText(text, one.text, one.entities, colour, tip); };
    box.addEventListener("toggle", fill);
    box.open = only;
    fill();
    return box;
  };

  return {
    card,
    clear: () => { drawn = 0; list.textContent = ""; legend.textContent = ""; card.hidden = true; },
    update: (m, colour) => {
      const documents = m.documents || [];
      card.hidden = !documents.length;
      while (drawn < documents.length) {
        const one = documents[drawn++];
        const made = documentOf(one, colour, drawn <= OPEN_AT_FIRST);
        made.dataset.index = one.index;
        const after = [...list.children].find((other) => Number(other.dataset.index) > one.index);
        list.insertBefore(made, after ?? null);
      }
      const counts = {};
      for (const one of documents) for (const entity of one.entities) counts[typeOf(entity.type)] = (counts[typeOf(entity.type)] ?? 0) + 1;
      legend.replaceChildren(legendOf(m.start?.labels || [], colour, counts));
      setText(side, documents.length > 1 ? plural(documents.length, "document") : "");
    },
  };
};

const makeNames = () => {
  const { card, head, side } = cardOf("en-names", "Names");
  const files = node("div", "en-files");
  head.append(files);
  const holder = node("div");
  const more = button("bv-link", "", "", () => { all = true; shape = ""; redraw(); });
  card.append(holder, more);
  let all = false, shape = "", redraw = () => {}, by = "count", down = true;

  const HEADS = [["text", "Name", ""], ["type", "Type", ""], ["count", "Count", "num"], ["score", "Mean score", "num"], ["documents", "Documents", "num"]];
  const sorted = (rows) => {
    const sign = down ? -1 : 1;
    const compare = (a, b) => (typeof a[by] === "number" ? a[by] - b[by] : String(a[by]).localeCompare(String(b[by])));
    return [...rows].sort((a, b) => sign * compare(a, b));
  };

  const draw = (m, colour) => {
    const rows = sorted(m.table.rows);
    const shown = all ? rows : rows.slice(0, ROWS_AT_FIRST);
    const { wrap, body, top } = tableOf(HEADS.map(([, , cls]) => ["", cls]), "Names and how often they occur");
    HEADS.forEach(([key, name], i) => {
      const sort = button("en-sort", `${name}${by === key ? (down ? " ↓" : " ↑") : ""}`, "", () => {
        down = by === key ? !down : key === "count" || key === "score" || key === "documents";
        by = key;
        shape = "";
        redraw();
        holder.querySelectorAll(".en-sort")[i].focus();
      });
      top.cells[i].setAttribute("aria-sort", by === key ? (down ? "descending" : "ascending") : "none");
      top.cells[i].append(sort);
    });
    for (const row of shown) {
      const name = node("span", "en-cell", row.text);
      name.dir = "auto";
      rowOf(body, [[name], [tagChip(row.type, colour)], [row.count.toLocaleString("en"), "num"], [scoreText(row.score), "num"], [row.documents.toLocaleString("en"), "num"]]);
    }
    holder.replaceChildren(wrap);
    more.hidden = shown.length === rows.length;
    setText(more, `show all ${rows.length.toLocaleString("en")}`);
  };

  const drawFiles = (m, value) => {
    files.textContent = "";
    if (!value?.files) return;
    for (const file of m.files || []) {
      const link = node("a", "en-file", FILE_WORDS[file.name] ?? file.name);
      link.href = window.benchtop.url(`${value.files}${file.path.split("/").map(encodeURIComponent).join("/")}?ticket=${value.ticket}`);
      link.download = file.name;
      link.title = `${file.name}, ${fileSize(file.bytes)}`;
      files.append(link);
    }
    if (files.firstChild) files.prepend(node("span", "bv-muted bs-small", "Download"));
  };

  return {
    card,
    clear: () => { all = false; shape = ""; holder.textContent = ""; files.textContent = ""; card.hidden = true; },
    update: (m, colour, value) => {
      card.hidden = !m.table;
      if (!m.table) return;
      redraw = () => { const now = `${m.table.rows.length}|${(m.files || []).length}|${value?.ticket ?? ""}`; if (now !== shape) { shape = now; draw(m, colour); drawFiles(m, value); } };
      redraw();
      const total = m.table.total ?? m.table.rows.length;
      setText(side, total ? `${plural(total, "different name")}${total > m.table.rows.length ? `, the ${m.table.rows.length} most frequent are shown` : ""}` : "No entity was found. Try another model, or a lower least score.");
      holder.hidden = !total;
    },
  };
};
