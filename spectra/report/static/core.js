// Data, text made safe, numbers as words, colours, and how plotly is called.
const data = JSON.parse(document.getElementById("data").textContent);
const rows = data.rows;
const $ = (id) => document.getElementById(id);
const columnAt = new Map(data.columns.map((c, i) => [c.name, i]));
const nullAt = new Map(data.nulls.map((name, i) => [name, i]));

// A name from a file: control, direction and other invisible characters made visible.
const clean = (text) => String(text).replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (c) => "\\u{" + c.codePointAt(0).toString(16) + "}");
// The same for plotly, which reads tags and entities in every text it draws.
const plotText = (text) => clean(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

function el(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key === "class") made.className = value;
    else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value);
  }
  made.append(...children.filter((c) => c !== null && c !== undefined));
  return made;
}

function fill(select, options, chosen) {
  select.replaceChildren(...options.map(([value, text]) => el("option", { value }, clean(text))));
  if (chosen !== undefined) select.value = chosen;
}

function number(value, digits = 4) {
  if (typeof value !== "number") return "–";
  if (Number.isInteger(value) && Math.abs(value) < 1e7) return String(value);
  const size = Math.abs(value);
  const text = size >= 1e6 || (size < 1e-3 && size > 0) ? value.toExponential(digits - 1) : String(Number(value.toPrecision(digits)));
  return text.replace("-", "−");
}
// mean ± sd; an sd of rounding is none.
const spread = (found) => number(found[0]) + (found[1] === null ? "" : " ± " + (found[1] < 1e-9 * Math.abs(found[0]) ? "0" : number(found[1], 2)));
const signed = (value, digits = 3) => (typeof value === "number" && value > 0 ? "+" : "") + number(value, digits);

const metricTitle = (name) => data.columns[columnAt.get(name)].title;
const value = (row, name) => { const v = row.v[columnAt.get(name)]; return v === undefined ? null : v; };
const nullOf = (row, name) => (row.z && nullAt.has(name) ? row.z[nullAt.get(name)] : null);
const MODES = { value: "value", difference: "difference from null", z: "z against null" };

// What is shown of a row: its value, or how it differs from the random matrix of its shape.
function reading(row, name, mode) {
  if (mode === "value") { const v = value(row, name); return typeof v === "number" ? v : null; }
  const found = nullOf(row, name);
  return found ? found[mode === "difference" ? 2 : 3] : null;
}

// Why there is no number.
function why(row, name, mode) {
  if (row.s !== "ok" && value(row, name) === null) return row.s;
  const fit = name === "alpha_weighted" || name === "log_alpha_norm" ? "alpha_gof" : (name.match(/^alpha_(hill|gof|fix_finger)/) || [null])[0];
  if (fit && value(row, name) === null) return value(row, fit + "_status") || "no number";
  if (value(row, name) === null) return "no number";
  if (mode !== "value" && !nullOf(row, name)) return "no null";
  if (mode === "z" && nullOf(row, name)[3] === null) return "no z: the null does not vary";
  return "no number";
}

const numeric = data.columns.filter((c) => (c.kind === "float" || c.kind === "int") && rows.some((r) => typeof r.v[columnAt.get(c.name)] === "number"));
const hasNull = (name) => nullAt.has(name);
const modesOf = (name, known) => Object.entries(MODES).filter(([mode]) => mode === "value" || known(name));
const layerLabel = (row) => (row.y === null ? "no layer" : "layer " + row.y);

function median(values) {
  const sorted = values.slice().sort((a, b) => a - b), middle = sorted.length >> 1;
  return sorted.length ? (sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2) : null;
}
function quantile(sorted, share) {
  const at = share * (sorted.length - 1), low = Math.floor(at);
  return sorted[low] + (at - low) * ((sorted[low + 1] ?? sorted[low]) - sorted[low]);
}

// Colours that the colour-blind tell apart: viridis for values, purple to orange through white for differences.
const VIRIDIS = ["#440154", "#482878", "#3e4a89", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"];
const DIVERGING = ["#2d004b", "#542788", "#8073ac", "#b2abd2", "#d8daeb", "#f7f7f7", "#fee0b6", "#fdb863", "#e08214", "#b35806", "#7f3b08"];
const LINES = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6bb1", "#999999", "#117733", "#882255"];
const DASHES = ["solid", "dash", "dot"];
const parts = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
function colour(scale, share) {
  const at = Math.min(1, Math.max(0, share)) * (scale.length - 1), low = Math.min(Math.floor(at), scale.length - 2);
  const a = parts(scale[low]), b = parts(scale[low + 1]);
  return "rgb(" + a.map((x, i) => Math.round(x + (b[i] - x) * (at - low))).join(",") + ")";
}
const plotScale = (scale) => scale.map((c, i) => [i / (scale.length - 1), c]);

// Least and greatest colour: all but the outermost 2%, symmetric where zero is the middle.
function range(values, mode) {
  const sorted = values.filter((v) => v !== null).sort((a, b) => a - b);
  if (!sorted.length) return null;
  let low = quantile(sorted, 0.02), high = quantile(sorted, 0.98);
  if (mode !== "value") { high = Math.max(Math.abs(low), Math.abs(high)) || 1; low = -high; }
  if (low === high) { low -= Math.abs(low) * 0.01 || 1; high += Math.abs(high) * 0.01 || 1; }
  return { low, high, clipped: sorted[0] < low || sorted[sorted.length - 1] > high, scale: mode === "value" ? VIRIDIS : DIVERGING };
}

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const CONFIG = { responsive: true, displayModeBar: matchMedia("(hover: hover)").matches ? "hover" : false, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };

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
