// Inputs and the address bar. Each lab's part of the address is remembered, so that changing tabs changes the address.
(() => {
  const bench = window.benchtop;
  const labs = {};                       // lab -> {query: Map of what differs, long: whether something was left out}
  const OURS = new Set(["tab", "run"]);
  let timer = 0;

  const records = (value) => value.some((each) => typeof each === "object");
  const text = (value) => (Array.isArray(value) ? (records(value) ? JSON.stringify(value) : value.join(",")) : String(value));
  const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

  bench.address = (lab) => {             // the whole link to a lab with its inputs, without what is only this page's
    const url = new URL(bench.root());
    url.searchParams.set("tab", lab);
    for (const [name, value] of labs[lab]?.query ?? []) url.searchParams.set(name, value);
    return url;
  };
  bench.isLong = (lab) => Boolean(labs[lab]?.long);

  const tell = () => {                   // browsers refuse more than some 100 address changes in half a minute
    clearTimeout(timer);
    timer = setTimeout(() => {
      if (document.documentElement.dataset.restoring) { tell(); return; }  // what it asks for is still to be read
      const url = new URL(location.href);
      for (const name of [...url.searchParams.keys()]) {
        if (OURS.has(name) && name !== "run") url.searchParams.delete(name);
      }
      for (const lab of Object.values(labs)) for (const name of lab.names) url.searchParams.delete(name);
      const tab = bench.tab();
      if (tab) url.searchParams.set("tab", tab);
      for (const [name, value] of labs[tab]?.query ?? []) url.searchParams.set(name, value);
      if (bench.runOf && bench.runOf !== tab) url.searchParams.delete("run");
      if (url.href === location.href) return;
      history.replaceState(history.state, "", url);
      if (window.parent !== window) {    // a Space shows the page in a frame and keeps the address outside
        window.parent.postMessage({ queryString: url.search.slice(1), hash: "" }, "https://huggingface.co");
      }
    }, 250);
  };
  bench.tell = tell;

  bench.sync = ({ lab, names, defaults, longest }, values) => {
    const query = new Map();
    let long = false;
    let length = 0;
    names.forEach((name, i) => {
      const value = values[i];
      if (value === null || value === undefined || same(value, defaults[i])) return;
      const size = encodeURIComponent(text(value)).length;
      if (text(value).length > longest || length + size > longest + 500) { long = true; return; }
      length += size;
      query.set(name, text(value));
    });
    labs[lab] = { query, long, names };
    tell();
  };

  bench.forgetRun = () => {
    const url = new URL(location.href);
    if (!url.searchParams.has("run")) return;
    url.searchParams.delete("run");
    history.replaceState(history.state, "", url);
  };
  bench.runOf = new URL(location.href).searchParams.has("run") ? new URL(location.href).searchParams.get("tab") : null;
})();
