// Follows one run's event stream and keeps its view model up to date with the operations that arrive.
// `runStream(alive, changed, restarted)`: `changed()` after each change, `restarted()` before the model begins anew.
// `link` is "" (all is well), "again" (reconnecting), "lost" (given up) or "refused" (the model's error says why).

const RETRY_MS = [400, 800, 1600, 3200, 6400];
const RETRIES = 12;

const runStream = (alive, changed, restarted) => {
  const stream = { model: {}, link: "" };
  let address = null, last = -1, source = null, retries = 0, timer = 0;

  const close = () => {
    if (source) source.close();
    source = null;
    clearTimeout(timer);
  };

  const end = (link) => {
    close();
    address = null;
    stream.link = link;
    changed();
  };

  const fullAddress = () => {
    const url = new URL(window.benchtop.url(address));
    if (last >= 0) url.searchParams.set("after", String(last));
    return url.href;
  };

  const open = () => {
    close();
    if (!address || !alive()) return;
    const mine = new EventSource(fullAddress());
    let opened = false;
    source = mine;
    mine.onopen = () => { if (source === mine) { opened = true; stream.link = ""; changed(); } };
    mine.onmessage = (e) => { if (source === mine) { if (alive()) take(e.data); else close(); } };
    mine.addEventListener("end", () => { if (source === mine) end(""); });
    mine.onerror = () => {
      if (source !== mine) return;
      const asked = address;
      retry();
      if (!opened) refusal(asked);
    };
  };

  const take = (text) => {
    const data = JSON.parse(text);
    if (data.seq <= last) return;
    try {
      stream.model = applyOps(stream.model, data.ops);
      last = data.seq;
      retries = 0;
    } catch (problem) {
      console.warn("The run's stream had a gap; reading it again from its start.", problem);
      restarted();
      stream.model = {};
      last = -1;
      retry();
    }
    changed();
  };

  // An EventSource would reconnect with its first address; ours asks for what came after the last record it has.
  const retry = () => {
    close();
    if (retries >= RETRIES) stream.link = "lost";
    else {
      stream.link = "again";
      timer = setTimeout(open, RETRY_MS[Math.min(retries++, RETRY_MS.length - 1)]);
    }
    changed();
  };

  // An EventSource does not say why it was refused; asking once more tells a refusal (with a sentence) from a broken line.
  const refusal = async (asked) => {
    const stop = new AbortController();
    try {
      const answer = await fetch(fullAddress(), { signal: stop.signal });
      if (answer.status < 400 || answer.status >= 500) return;
      const said = await answer.json();
      if (asked !== address) return;
      const error = { what: said.what || "This run cannot be followed.", todo: said.todo || "" };
      stream.model = applyOps(stream.model, [{ set: ["error"], value: error }]);
      end("refused");
    } catch { /* no answer at all: the retry goes on */ } finally { stop.abort(); }
  };

  const again = () => { if (address && !source && alive()) { retries = 0; open(); } };
  window.addEventListener("online", again);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) again(); });

  stream.again = again;
  stream.renew = (url) => { if (address) { address = url; again(); } };
  stream.follow = (url, model = {}) => {
    close();
    restarted();
    address = url;
    last = -1;
    retries = 0;
    stream.link = "";
    stream.model = model;
    changed();
    open();
  };
  return stream;
};
