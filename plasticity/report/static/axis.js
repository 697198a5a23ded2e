// What all figures share: places along the axis, the look of a line, intervals, legends.
const places = data.axis.labels.length;
const dodge = (l) => (data.lines.length < 2 ? 0 : (l - (data.lines.length - 1) / 2) * Math.min(0.07, 0.4 / data.lines.length));
const along = (extra = {}) => ({ tickmode: "array", tickvals: data.axis.labels.map((_, i) => i), ticktext: data.axis.labels.map(plotText),
  range: [-0.45, places - 0.55], title: { text: plotText(data.axis.title) }, fixedrange: true, ...extra });
const symbols = ["circle", "square", "diamond", "triangle-up", "triangle-down", "x", "star", "hexagon", "pentagon", "cross"];
// The colour of line l, lighter on a dark page; its look, which differs by more than colour.
const ink = (l) => { const hex = LINES[l % LINES.length]; return isDark() ? "#" + parts(hex).map((v) => Math.round(v + (255 - v) * 0.38).toString(16).padStart(2, "0")).join("") : hex; };
const look = (l, extra = {}) => ({ ...roleLine(l), color: ink(l), ...extra });
const marker = (l, size = 8) => ({ size, symbol: symbols[l % symbols.length], color: ink(l) });
const see = (hex, alpha) => "rgba(" + parts(hex).join(",") + "," + alpha + ")";
const isDark = () => parts(css("--card").padEnd(7, "0")).reduce((a, b) => a + b) < 380;
// Place i of n along a ramp that stands out from the page, light or dark.
const ramp = (i, n) => { const share = n < 2 ? 0.35 : i / (n - 1); return colour(VIRIDIS, isDark() ? 0.3 + 0.68 * share : 0.84 * share); };

const percent = (v, digits = 1) => (typeof v === "number" ? (100 * v).toFixed(digits).replace("-", "−") + "%" : "–");
const shown = (v, share) => (share ? percent(v) : number(v));
const between = (p, show) => (p.lo === null || p.lo === undefined ? "" : " (" + show(p.lo) + " to " + show(p.hi) + ")");
const placeName = (x) => (x === null ? "" : data.axis.title + " " + data.axis.labels[x]);
const whose = (p) => [data.lines.length > 1 ? data.lines[p.l] : "", placeName(p.x)].filter(Boolean).map(plotText).join(", ");
const mean = (values) => { const known = values.filter((v) => typeof v === "number"); return known.length ? known.reduce((a, b) => a + b, 0) / known.length : null; };
const byPlace = (a, b) => a.x - b.x;

// Points {l, x, v, lo, hi} of one line as a line with its band; as bars where there is one point, or nothing between the places.
function banded(points, l, hover, extra = {}) {
  const known = points.filter((p) => p.v !== null && p.x !== null).sort(byPlace), made = [];
  if (!known.length) return made;
  const at = known.map((p) => p.x + dodge(l)), bars = data.axis.nominal || known.length < 2, hasBounds = known.every((p) => typeof p.lo === "number");
  if (!bars && hasBounds) made.push({ type: "scatter", mode: "lines", fill: "toself", hoverinfo: "skip", showlegend: false, line: { width: 0 }, fillcolor: see(ink(l), 0.16),
    x: [...at, ...at.slice().reverse()], y: [...known.map((p) => p.hi), ...known.map((p) => p.lo).reverse()] });
  made.push({ type: "scatter", mode: data.axis.nominal ? "markers" : "lines+markers", name: plotText(data.lines[l]), x: at, y: known.map((p) => p.v), line: look(l), marker: marker(l),
    text: known.map(hover), hoverinfo: "text", ...(bars || !hasBounds ? { error_y: errors(known, ink(l)) } : {}), ...extra });
  return made;
}
const errors = (points, colour) => ({ type: "data", symmetric: false, thickness: 1.4, width: 4, color: colour,
  array: points.map((p) => (typeof p.hi === "number" ? p.hi - p.v : 0)), arrayminus: points.map((p) => (typeof p.lo === "number" ? p.v - p.lo : 0)) });

const lineIndices = data.lines.map((_, i) => i);
const cell = (l, x) => l + " " + x;

// What a number says beside itself where its bases have different tokenizers.
const DOUBT = "<br>⚠ different tokenizers: not comparable";
const doubted = (l, x) => data.bases.some((b) => b.warn && b.x === x && b.l.includes(l));

// Bases at one place of one line, averaged; `get` reads a number off a base.
function averages(get) {
  const found = new Map();
  for (const base of data.bases) {
    const v = get(base);
    if (typeof v !== "number" || base.x === null) continue;
    for (const l of base.l) {
      const key = cell(l, base.x);
      if (!found.has(key)) found.set(key, { l, x: base.x, values: [] });
      found.get(key).values.push(v);
    }
  }
  return new Map([...found].map(([key, f]) => [key, { l: f.l, x: f.x, v: mean(f.values), n: f.values.length }]));
}

// Seeds stand side by side, right of their mean.
const besides = (base, all) => { const seeds = all.filter((b) => b.x === base.x); return base.x + (seeds.length < 2 ? 0 : 0.09 + seeds.indexOf(base) * Math.min(0.06, 0.24 / seeds.length)); };

// A number of the bases along the axis: the mean over seeds as a line, each seed as a dot, with its own interval where it has one.
function overAxis(get, title, { interval = null, show = number, percentAxis = false, doubt = false } = {}) {
  const made = averages(get), traces = [];
  for (const l of lineIndices) {
    const points = [...made.values()].filter((p) => p.l === l);
    traces.push(...banded(points.map((p) => ({ ...p, lo: null, hi: null })), l, (p) => whose(p) + ": " + show(p.v) + (p.n > 1 ? ", mean of " + p.n + " seeds" : "") + (doubt && doubted(l, p.x) ? DOUBT : "")));
    const bases = data.bases.filter((b) => b.l.includes(l) && b.x !== null && typeof get(b) === "number");
    if (!bases.length) continue;
    const points2 = bases.map((b) => ({ v: get(b), ...(interval ? interval(b) : { lo: null, hi: null }) }));
    traces.push({ type: "scatter", mode: "markers", showlegend: false, x: bases.map((b) => besides(b, bases) + dodge(l)), y: points2.map((p) => p.v),
      marker: { size: 5, color: see(ink(l), 0.55) }, hoverinfo: "text", text: bases.map((b, i) => plotText(b.b) + ": " + show(points2[i].v) + between(points2[i], show) + (doubt && b.warn ? DOUBT : "")),
      ...(interval ? { error_y: { ...errors(points2, see(ink(l), 0.45)), thickness: 1, width: 2 } } : {}) });
  }
  if (!traces.length) return "No base has this number";
  return { traces, layout: { xaxis: along(), yaxis: { title: { text: title }, ...(percentAxis ? { tickformat: ".1~%" } : {}) }, showlegend: data.lines.length > 1 } };
}

// One legend for many panels. An item: [svg, text].
function legend(id, items) { $(id).replaceChildren(...items.map(([drawing, text]) => el("span", {}, drawing, clean(text)))); }
function sample({ colour, dash = "", dot = null, band = false }) {
  const ns = "http://www.w3.org/2000/svg", svg = document.createElementNS(ns, "svg");
  const add = (tag, attributes) => { const made = document.createElementNS(ns, tag); for (const [k, v] of Object.entries(attributes)) made.setAttribute(k, v); svg.append(made); };
  for (const [k, v] of [["width", 30], ["height", 14], ["aria-hidden", "true"]]) svg.setAttribute(k, v);
  if (band) add("rect", { x: 0, y: 2, width: 30, height: 10, fill: see(colour, 0.2) });
  if (dash !== null) add("line", { x1: 0, y1: 7, x2: 30, y2: 7, stroke: colour, "stroke-width": 2, "stroke-dasharray": dash });
  if (dot) add("circle", { cx: 15, cy: 7, r: 3.5, fill: dot === "open" ? "none" : colour, stroke: colour, "stroke-width": 1.5 });
  return svg;
}

// Tasks that all probed bases have: those that are averaged over.
const probed = data.bases.filter((b) => Object.keys(b.probes).length);
const probeTasks = probed.length ? Object.keys(probed[0].probes).filter((task) => probed.every((b) => b.probes[task])) : [];
// Over tasks the test accuracy at the layer best in validation of each; null where a base lacks one.
const probeMean = (b, over) => (over.length && over.every((task) => b.probes[task] && typeof b.probes[task].v === "number") ? mean(over.map((task) => b.probes[task].v)) : null);

const taskName = (t) => data.names[data.tasks.indexOf(t)] ?? t;
const options = (names) => names.map((name, i) => [String(i), name]);
function onChange(ids, then) { for (const id of ids) if ($(id)) $(id).addEventListener("change", then); }
const chosen = (id) => ($(id) ? Number($(id).value) : 0);
// Selects of lines stay hidden where there is one line.
function fillLines(id, has = () => true) {
  const known = lineIndices.filter(has);
  fill($(id), known.map((l) => [String(l), data.lines[l]]));
  $(id).closest("label").hidden = known.length < 2;
}
