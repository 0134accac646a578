// Figures: Plotly behind one small contract (tabs/widgets/figures.py), one look for light and dark, no server round trip.
// The library is this server's own copy, fetched once, when the first figure is mounted.
(() => {
  const bench = window.benchtop;
  const CONFIG = { displaylogo: false, displayModeBar: false, responsive: false, doubleClick: "reset", showTips: false };
  const SANS = '"IBM Plex Sans", system-ui, sans-serif';
  const MONO = '"IBM Plex Mono", ui-monospace, monospace';
  const MOST_POINTS = 1500;               // a line of more is drawn with fewer: its highs and lows stay
  const mounted = new Set();
  let library = null;

  const load = () => {
    if (!library) {
      library = new Promise((resolve, reject) => {
        const tag = document.createElement("script");
        tag.src = bench.url(`figures/plotly.min.js?v=${bench.plotly ?? ""}`);
        tag.async = true;
        tag.onload = () => (window.Plotly ? resolve(window.Plotly) : reject(new Error("no Plotly in the file")));
        tag.onerror = () => { tag.remove(); library = null; reject(new Error("the file did not arrive")); };
        document.head.append(tag);
      });
    }
    return library;
  };

  // --- colours and words ---------------------------------------------------------------------------------------------
  const colours = () => {
    const style = getComputedStyle(document.body);
    return (name) => style.getPropertyValue(`--bt-${name}`).trim() || "#888888";
  };
  const CYCLE = 8;
  const faint = (hex) => `rgba(${[1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)).join(",")},0.14)`;
  const named = (colour, index) => (typeof colour === "string" ? colour : `c${(colour ?? index) % CYCLE}`);
  const SAFE = { "&": "&amp;", "<": "&lt;", ">": "&gt;" };
  const plain = (text) => String(text ?? "").replace(/[&<>]/g, (c) => SAFE[c]);   // Plotly reads a few tags in labels
  const short = (value) => {
    if (typeof value !== "number" || !Number.isFinite(value)) return "";
    const size = Math.abs(value);
    if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(2).replace("e+", "e");
    if (Number.isInteger(value)) return value.toLocaleString("en");
    return size >= 1000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(4)));
  };

  // --- numbers -------------------------------------------------------------------------------------------------------
  // An exponential mean that starts unbiased; what is missing stays missing. The twin of tabs.widgets.figures.smoothed.
  const smoothed = (values, weight) => {
    if (!(weight > 0)) return values;
    let mean = 0, scale = 0;
    return values.map((value) => {
      if (typeof value !== "number" || !Number.isFinite(value)) return null;
      mean = weight * mean + (1 - weight) * value;
      scale = weight * scale + (1 - weight);
      return mean / scale;
    });
  };

  // Of each stretch the lowest and the highest point, so that no spike is lost.
  const thinned = (x, y, most = MOST_POINTS) => {
    if (!x || x.length <= most) return [x, y];
    const keep = [0], stretch = (2 * x.length) / most;
    for (let from = 1; from < x.length - 1; from += stretch) {
      const first = Math.floor(from), last = Math.min(x.length - 1, Math.floor(from + stretch));
      let low = first, high = first;
      for (let i = first; i < last; i++) {
        if (!(y[i] >= y[low])) low = i;
        if (!(y[i] <= y[high])) high = i;
      }
      keep.push(...(low === high ? [low] : [Math.min(low, high), Math.max(low, high)]));
    }
    keep.push(x.length - 1);
    return [keep.map((i) => x[i]), keep.map((i) => y[i])];
  };

  // --- a spec as Plotly wants it -------------------------------------------------------------------------------------
  const axisOf = (axis, paint, more) => ({
    title: { text: plain(axis?.title), font: { size: 12, color: paint("muted") }, standoff: 8 },
    type: axis?.type ?? (axis?.log ? "log" : "-"),
    gridcolor: paint("line"), linecolor: paint("line"), zeroline: false, ticks: "", automargin: true,
    tickfont: { family: MONO, size: 11, color: paint("muted") },
    exponentformat: "power", showexponent: "all", minexponent: 4, hoverformat: axis?.hover ?? ".4~g", nticks: axis?.nticks ?? 6,
    ...(axis?.log ? { tickformat: "~s" } : {}),
    ...(axis?.dtick ? { dtick: axis.dtick } : {}),
    ...(axis?.zero ? { rangemode: "tozero" } : {}),
    ...(axis?.range ? { range: axis.range } : {}),
    ...(axis?.ticks ? { tickmode: "array", tickvals: axis.ticks.at, ticktext: axis.ticks.text.map(plain) } : {}),
    ...(axis?.reversed ? { autorange: "reversed" } : {}),
    ...(axis?.square ? { scaleanchor: "x" } : {}),
    ...more,
  });

  const traceOf = (trace, index, paint) => {
    const colour = paint(named(trace.color, index));
    const common = {
      name: plain(trace.name), showlegend: false, opacity: trace.opacity ?? 1,
      ...(trace.axis2 ? { yaxis: "y2" } : {}),
      ...(trace.quiet ? { hoverinfo: "skip" } : {}),
      ...(trace.hover ? { hovertemplate: trace.hover.replace("%{name}", plain(trace.name)) } : {}),
    };
    if (trace.kind === "heatmap" || trace.kind === "contour") {
      const scale = trace.scale === "two"
        ? [[0, paint("c1")], [0.5, paint("panel")], [1, paint("c0")]] : [[0, paint("panel")], [1, paint("c0")]];
      return {
        ...common, type: trace.kind, x: trace.x, y: trace.y, z: trace.z, colorscale: scale, showscale: false,
        ...(trace.range ? { zmin: trace.range[0], zmax: trace.range[1] } : {}),
        ...(trace.text ? { text: trace.text.map((row) => row.map(plain)), texttemplate: "%{text}" } : {}),
        ...(trace.kind === "contour" ? { contours: { coloring: "heatmap", showlines: false }, line: { width: 0 } } : { xgap: trace.gap ?? 0, ygap: trace.gap ?? 0 }),
      };
    }
    const text = trace.text ? { text: trace.text.map(plain) } : {};
    if (trace.kind === "bar") {
      return {
        ...common, ...text, type: "bar", x: trace.x, y: trace.y, orientation: trace.across ? "h" : "v",
        ...(trace.widths ? { width: trace.widths } : {}), textposition: "none",
        marker: { color: trace.colors ? trace.colors.map((c) => paint(named(c, 0))) : colour, line: { width: 0 } },
      };
    }
    const [x, y] = trace.text ? [trace.x, trace.y] : thinned(trace.x, trace.y);
    return {
      ...common, ...text, type: "scatter", x, y, mode: trace.mode ?? "lines", connectgaps: Boolean(trace.joined),
      line: { color: colour, width: trace.width ?? 2, dash: trace.dash ?? "solid", shape: trace.steps ? "hv" : "linear" },
      marker: {
        color: trace.colors ? trace.colors.map((c) => paint(named(c, 0))) : colour, size: trace.size ?? 6,
        symbol: trace.symbol ?? "circle", line: { width: trace.rim ? 1 : 0, color: paint("panel") },
      },
      ...(trace.fill ? { fill: trace.fill, fillcolor: faint(colour) } : {}),
      ...(trace.labelled ? { mode: `${trace.mode ?? "markers"}+text`, textposition: trace.labelled === true ? "top center" : trace.labelled, textfont: { size: 11, color: paint("ink") } } : {}),
    };
  };

  // A mark is {"x": 40, "text": "resumed"} or {"y": …}; anything with a type is Plotly's own shape.
  const marksOf = (shapes, paint) => {
    const lines = [], words = [];
    for (const mark of shapes ?? []) {
      if (mark.type) { lines.push(mark); continue; }
      const colour = paint(named(mark.color ?? "muted", 0)), upright = mark.x !== undefined;
      lines.push({
        type: "line", line: { color: colour, width: 1, dash: "dot" }, layer: "below",
        ...(upright ? { x0: mark.x, x1: mark.x, yref: "paper", y0: 0, y1: 1 } : { y0: mark.y, y1: mark.y, xref: "paper", x0: 0, x1: 1 }),
      });
      if (mark.text) {
        words.push({
          text: plain(mark.text), showarrow: false, font: { size: 11, color: colour }, xanchor: upright ? "left" : "right", yanchor: upright ? "top" : "bottom",
          ...(upright ? { x: mark.x, yref: "paper", y: 1, xshift: 3 } : { y: mark.y, xref: "paper", x: 1 }),
        });
      }
    }
    return { shapes: lines, annotations: words };
  };

  const layoutOf = (spec, paint) => {
    const second = (spec.traces ?? []).some((trace) => trace.axis2);
    const flat = (spec.traces ?? []).some((trace) => trace.kind);
    return {
      autosize: true, margin: { l: 44, r: second ? 44 : 12, t: 8, b: 36 }, font: { family: SANS, size: 12, color: paint("muted") },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, bargap: 0.08,
      barmode: spec.stacked ? "stack" : "group", dragmode: "zoom",
      hovermode: spec.hover ?? (flat ? "closest" : "x unified"), hoverdistance: 40,
      hoverlabel: { bgcolor: paint("panel"), bordercolor: paint("line"), font: { family: MONO, size: 12, color: paint("ink") } },
      xaxis: axisOf(spec.x, paint, {}), yaxis: axisOf(spec.y, paint, {}),
      ...(second ? { yaxis2: axisOf(spec.y2, paint, { overlaying: "y", side: "right", showgrid: false }) } : {}),
      ...marksOf(spec.shapes, paint),
      uirevision: `${spec.x?.title}|${spec.x?.log}|${spec.y?.log}|${spec.y?.title}`,   // a zoom lasts until the axes change
    };
  };

  // --- one figure ----------------------------------------------------------------------------------------------------
  const node = (tag, cls, text) => {
    const made = document.createElement(tag);
    made.className = cls;
    if (text !== undefined) made.textContent = text;
    return made;
  };

  const DASHES = { dot: "1 3", dash: "5 3", dashdot: "5 2 1 2" };
  const swatch = (trace, index) => {
    const ns = "http://www.w3.org/2000/svg";
    const svg = document.createElementNS(ns, "svg"), line = document.createElementNS(ns, "line");
    for (const [name, value] of Object.entries({ viewBox: "0 0 18 8", width: 18, height: 8, "aria-hidden": "true" })) svg.setAttribute(name, value);
    for (const [name, value] of Object.entries({ x1: 1, x2: 17, y1: 4, y2: 4 })) line.setAttribute(name, value);
    line.style.cssText = `stroke: var(--bt-${named(trace.color, index)}); stroke-width: ${trace.kind === "bar" ? 7 : 2.5}`;
    if (DASHES[trace.dash]) line.setAttribute("stroke-dasharray", DASHES[trace.dash]);
    svg.append(line);
    return svg;
  };

  const lastOf = (trace) => {
    for (let i = (trace.y?.length ?? 0) - 1; i >= 0; i--) if (Number.isFinite(trace.y[i])) return trace.y[i];
    return null;
  };
  const hasPoints = (spec) => (spec.traces ?? []).some((trace) => (trace.z ?? trace.x ?? []).length);

  const mount = (element, first) => {
    const figure = node("figure", "bf-figure");
    const head = node("figcaption", "bf-head"), title = node("span", "bf-title"), unit = node("span", "bf-unit"), keys = node("span", "bf-keys");
    head.append(title, unit, keys);
    const plot = node("div", "bf-plot"), empty = node("p", "bf-empty");
    plot.setAttribute("role", "img");
    figure.append(head, plot, empty);
    element.append(figure);
    const hidden = new Set();
    const handle = { element: figure, plot };
    let spec = first, drawn = false, stale = true, frame = 0, width = 0, gone = false, keyShape = null;

    const drawHead = () => {
      const named_ = (spec.traces ?? []).map((trace, index) => [trace, index]).filter(([trace]) => trace.name && !trace.unlisted);
      title.textContent = spec.title ?? "";
      unit.textContent = spec.unit ?? "";
      head.hidden = !spec.title && !spec.unit && named_.length < 2 && !spec.keys;
      const listed = spec.keys === false || (named_.length < 2 && !spec.keys) ? [] : named_;
      const shape = JSON.stringify(listed.map(([t, i]) => [t.name, t.dash, named(t.color, i), hidden.has(t.name)]));
      if (shape !== keyShape) {
        keyShape = shape;
        keys.textContent = "";
        for (const [trace, index] of listed) {
          const key = node("button", "bf-key");
          key.type = "button";
          key.title = "Show or hide this line";
          key.setAttribute("aria-pressed", String(!hidden.has(trace.name)));
          key.append(swatch(trace, index), node("span", "bf-key-name", trace.name), node("span", "bf-key-value"));
          key.addEventListener("click", () => {
            if (!hidden.delete(trace.name)) hidden.add(trace.name);
            plan();
          });
          keys.append(key);
        }
      }
      listed.forEach(([trace], at) => { keys.children[at].lastChild.textContent = spec.values === false ? "" : short(lastOf(trace)); });
    };

    const describe = () => {
      const lines = (spec.traces ?? []).filter((trace) => trace.name && !trace.unlisted).map((trace) => {
        const last = short(lastOf(trace));
        return `${trace.name}: ${trace.x?.length ?? 0} points${last ? `, last ${last}` : ""}`;
      });
      return [[spec.title, spec.y?.title].filter(Boolean).join(", "), spec.x?.title ? `over ${spec.x.title}` : "", ...lines].filter(Boolean).join("; ");
    };

    const draw = async () => {
      frame = 0;
      if (gone) return;
      plot.style.height = `${spec.height ?? 220}px`;
      drawHead();
      plot.setAttribute("aria-label", describe());
      const points = hasPoints(spec);
      plot.hidden = !points;
      empty.hidden = points;
      empty.style.minHeight = `${spec.height ?? 220}px`;
      empty.textContent = points ? "" : spec.empty ?? "Nothing to draw yet.";
      stale = true;
      if (!points) { load().catch(() => {}); return; }
      let plotly;
      try { plotly = await load(); } catch {
        plot.hidden = true;
        empty.hidden = false;
        empty.textContent = "The figure's library did not arrive: reload the page.";
        return;
      }
      if (gone || !plot.clientWidth) return;   // out of sight: drawn when it is looked at
      stale = false;
      width = plot.clientWidth;
      const paint = colours();
      const shown = (spec.traces ?? []).map((trace, index) => [trace, index]).filter(([trace]) => !hidden.has(trace.name));
      const traces = shown.map(([trace, index]) => traceOf(trace, index, paint));
      await (drawn ? plotly.react : plotly.newPlot)(plot, traces, layoutOf(spec, paint), CONFIG);
      drawn = true;
      figure.dataset.drawn = String(Number(figure.dataset.drawn ?? 0) + 1);
    };

    const plan = () => { if (!frame) frame = requestAnimationFrame(draw); };
    const watcher = new ResizeObserver(() => {
      if (!plot.clientWidth || plot.clientWidth === width) return;
      if (stale || !drawn) { plan(); return; }
      width = plot.clientWidth;
      window.Plotly.Plots.resize(plot);
    });
    watcher.observe(figure);

    handle.update = (next) => { spec = next; plan(); };
    handle.redraw = () => { if (!figure.isConnected) { handle.destroy(); return; } plan(); };
    handle.destroy = () => {
      gone = true;
      cancelAnimationFrame(frame);
      watcher.disconnect();
      mounted.delete(handle);
      if (drawn) window.Plotly.purge(plot);
      figure.remove();
    };
    mounted.add(handle);
    plan();
    return handle;
  };

  let dark = document.body.classList.contains("dark");
  new MutationObserver(() => {
    const now = document.body.classList.contains("dark");
    if (now === dark) return;
    dark = now;
    for (const handle of [...mounted]) handle.redraw();
  }).observe(document.body, { attributes: true, attributeFilter: ["class"] });

  bench.figures = { mount, load, smoothed, thinned, short };
})();
