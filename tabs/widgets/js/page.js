// What every part of the page may use: the app's own address, the theme, the tabs. Loaded before the widgets.
window.benchtop = (() => {
  const KEY = "benchtop-theme";
  const bench = {};

  // The address under which the app is served, with a slash at its end: right behind a proxy's path too.
  bench.root = () => {
    const root = new URL(window.gradio_config?.root || location.pathname, location.href);
    return location.origin + root.pathname.replace(/\/?$/, "/");
  };
  bench.url = (path) => new URL(path.replace(/^\//, ""), bench.root()).href;

  const remembered = () => { try { return localStorage.getItem(KEY); } catch { return null; } };
  const remember = (value) => { try { localStorage.setItem(KEY, value); } catch { /* kept for this page only */ } };
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const asked = new URL(location.href).searchParams.get("__theme");
  let chosen = ["light", "dark"].includes(asked) ? asked : remembered();

  const paint = () => {
    const dark = chosen ? chosen === "dark" : system.matches;
    if (document.body.classList.contains("dark") !== dark) document.body.classList.toggle("dark", dark);
    document.documentElement.style.colorScheme = dark ? "dark" : "light";
    for (const button of document.querySelectorAll(".bt-theme")) button.setAttribute("aria-pressed", String(dark));
  };
  bench.theme = () => (document.body.classList.contains("dark") ? "dark" : "light");
  bench.toggleTheme = () => {
    chosen = bench.theme() === "dark" ? "light" : "dark";
    remember(chosen);
    paint();
  };
  bench.paint = paint;
  new MutationObserver(paint).observe(document.body, { attributes: true, attributeFilter: ["class"] });
  system.addEventListener("change", paint);
  paint();

  const strip = () => document.querySelector("#bt-tabs [role=tablist]");
  bench.tab = () => strip()?.querySelector("[aria-selected=true]")?.dataset.tabId ?? null;
  bench.open = (tab) => strip()?.querySelector(`[data-tab-id="${CSS.escape(tab)}"]`)?.click();
  bench.asked = () => new URL(location.href).searchParams.get("tab");

  // A link's inputs arrive a moment after the page: until then its lab's Run would start something else.
  const page = document.documentElement.dataset;
  if (bench.asked() && new URL(location.href).searchParams.size > 1) {
    page.restoring = bench.asked();
    setTimeout(() => delete page.restoring, 10_000);  // a link to a tab without inputs, or a lost answer
  }
  bench.restored = (lab) => {
    page.restored = `${page.restored ?? ""} ${lab}`;
    if (page.restoring === lab) delete page.restoring;
  };
  return bench;
})();
