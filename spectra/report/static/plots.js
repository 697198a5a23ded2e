// How plotly is called: layout in the page's colours, and when a chart is drawn.
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const CONFIG = { responsive: true, displayModeBar: matchMedia("(hover: hover)").matches ? "hover" : false, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };

// The look of line i; colour, dash and marker differ, so that no line is told by its colour alone.
const roleLine = (i) => ({ color: LINES[i % LINES.length], dash: DASHES[Math.floor(i / LINES.length) % DASHES.length], width: 2 });

function layout(extra) {
  const axis = () => ({ gridcolor: css("--grid"), linecolor: css("--line"), zeroline: false, automargin: true, title: { standoff: 6 } });
  const made = {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: { l: 48, r: 10, t: 8, b: 40 },
    font: { color: css("--ink"), size: 12, family: "system-ui, sans-serif" }, hovermode: "closest",
    hoverlabel: { align: "left", bgcolor: css("--card"), bordercolor: css("--line"), font: { color: css("--ink") } },
    legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom", font: { size: 11 } }, showlegend: true, ...extra,
  };
  made.xaxis = { ...axis(), ...(extra.xaxis || {}) };
  made.yaxis = { ...axis(), ...(extra.yaxis || {}) };
  return made;
}

// Charts are drawn when they come near the screen; before printing, all of them.
const charts = new Map(), stale = new Set();
const watcher = "IntersectionObserver" in window ? new IntersectionObserver((entries) => {
  for (const entry of entries) { const chart = charts.get(entry.target.id); if (chart) chart.near = entry.isIntersecting; }
  drawStale();
}, { rootMargin: "300px" }) : null;

function chart(id, make) {
  if (!$(id)) return;
  charts.set(id, { make, near: watcher === null });
  stale.add(id);
  if (watcher) watcher.observe($(id));
}
function drawStale(everything) {
  for (const id of [...stale]) if (everything || charts.get(id).near) draw(id);
}
function redraw(...ids) { for (const id of ids) if (charts.has(id)) stale.add(id); drawStale(); }
function draw(id) {
  stale.delete(id);
  const made = charts.get(id).make(), target = $(id);
  inWords(target, typeof made !== "string");
  if (typeof made === "string") {
    Plotly.purge(target);
    target.replaceChildren(el("div", { class: "empty" }, made));
    return;
  }
  if (target.querySelector(".empty")) target.replaceChildren();
  Plotly.react(target, made.traces, layout(made.layout), CONFIG);
  if (made.click && !target.dataset.click) {
    target.dataset.click = "1";
    target.on("plotly_click", (event) => charts.get(id).make().click(event.points[0]));
  }
}

// To who cannot see it a drawing is its caption; one that says it has nothing to draw is read as it stands.
function inWords(target, drawn) {
  const figure = target.closest("figure"), caption = figure && figure.querySelector("figcaption");
  for (const [key, value] of [["role", "img"], ["aria-label", caption && caption.textContent]])
    if (drawn && caption) target.setAttribute(key, value);
    else target.removeAttribute(key);
}

// Positions in log10, labelled as powers: 1, 2, 5 of each decade where there are few decades.
function logTicks(low, high) {
  const steps = high - low > 6 ? [1] : high - low > 2.5 ? [1, 3] : [1, 2, 5], values = [], texts = [];
  const every = Math.max(1, Math.ceil((high - low) / 8));
  for (let e = Math.floor(low); e <= Math.ceil(high); e++) {
    if (e % every) continue;
    for (const s of steps) {
      const x = e + Math.log10(s);
      if (x >= low - 0.3 && x <= high + 0.3) { values.push(x); texts.push(Math.abs(e) > 3 ? (s > 1 ? s + "e" : "1e") + e : String(Number((s * 10 ** e).toPrecision(2)))); }
    }
  }
  if (values.filter((x) => x >= low && x <= high).length > 1) return { tickmode: "array", tickvals: values, ticktext: texts };
  const from = 10 ** low, to = 10 ** high, rough = (to - from) / 4 || from, unit = 10 ** Math.floor(Math.log10(rough)); // far less than a decade
  const step = [1, 2, 5, 10].map((m) => m * unit).find((s) => s >= rough * 0.999), even = [];
  for (let i = Math.floor(from / step); i <= Math.ceil(to / step); i++) if (i > 0) even.push(i * step);
  return { tickmode: "array", tickvals: even.map(Math.log10), ticktext: even.map((v) => String(Number(v.toPrecision(6)))) };
}

// The same positions on an axis of type log.
const powers = (ticks) => ({ ...ticks, tickvals: ticks.tickvals.map((v) => 10 ** v) });
