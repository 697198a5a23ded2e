// Charts over layers: depth profiles, norms, circuits, experts.
const roleLine = (i) => ({ color: LINES[i % LINES.length], dash: DASHES[Math.floor(i / LINES.length) % DASHES.length], width: 2 });

// A line a role over the layers; of several matrices in a cell, the median. With `random`, the null's mean, dotted.
function profile(stack, metric, mode, random) {
  const layers = layersOf(stack).filter((y) => y !== null), found = cellsOf(stack, metric, mode), traces = [];
  data.roles.forEach((role, i) => {
    const line = layers.map((y) => found.get(role + "/" + y));
    if (!line.some((cell) => cell && cell.shown !== null)) return;
    traces.push({ type: "scatter", mode: "lines+markers", name: role, legendgroup: role, x: layers, y: line.map((c) => (c ? c.shown : null)), line: roleLine(i),
      marker: { size: 5, symbol: i }, text: layers.map((y, j) => role + ", layer " + y + ": " + (line[j] ? number(line[j].shown) : "")), hoverinfo: "text" });
    const means = line.map((c) => (c ? median(c.members.map((m) => nullOf(rows[m], metric)).filter((n) => n && n[0] !== null).map((n) => n[0])) : null));
    if (random && means.some((m) => m !== null)) {
      traces.push({ type: "scatter", mode: "lines", name: role + ", random", legendgroup: role, showlegend: false, x: layers, y: means,
        line: { color: LINES[i % LINES.length], dash: "dot", width: 1 }, opacity: 0.7, hoverinfo: "name" });
    }
  });
  return traces;
}

function setUpDepth() {
  if (!$("depth")) return;
  const start = numeric.some((c) => c.name === "alpha_hill") ? "alpha_hill" : (numeric[0] || {}).name;
  pickers("depth", start, () => redraw("depth-plot", "norm-plot"));
  chart("depth-plot", () => {
    const metric = $("depth-metric").value, mode = $("depth-mode").value;
    const traces = profile($("depth-stack").value, metric, mode, mode === "value");
    if (!traces.length) return "No layer has this number";
    return { traces, layout: { xaxis: { title: { text: "layer" } }, yaxis: { title: { text: metricTitle(metric) + (mode === "value" ? "" : ",<br>" + MODES[mode]) } } } };
  });
  const norms = numeric.filter((c) => /_norm$/.test(c.name) && c.name !== "log_alpha_norm");
  fill($("norm-metric"), norms.map((c) => [c.name, c.title]));
  $("norm-metric").addEventListener("change", () => redraw("norm-plot"));
  chart("norm-plot", () => {
    const metric = $("norm-metric").value, traces = metric ? profile($("depth-stack").value, metric, "value", false) : [];
    for (const trace of traces) trace.y = trace.y.map((v) => (v > 0 ? v : null)); // a norm of zero has no place on a log axis
    if (!traces.length) return "No layer has this number";
    const all = traces.flatMap((t) => t.y).filter((v) => v !== null).map(Math.log10);
    const low = Math.min(...all), high = Math.max(...all), margin = 0.06 * (high - low || 1);
    return { traces, layout: { xaxis: { title: { text: "layer" } },
      yaxis: { title: { text: metricTitle(metric) }, type: "log", range: [low - margin, high + margin], ...powers(logTicks(low, high)) } } };
  });
}

const circuitNumeric = data.circuit_columns.filter((c, i) => data.circuits.some((r) => typeof r.v[i] === "number"));
const circuitReading = (row, at, mode) => {
  if (mode === "value") return typeof row.v[at] === "number" ? row.v[at] : null;
  return row.z && row.z[at] ? row.z[at][mode === "difference" ? 2 : 3] : null;
};

function setUpCircuits() {
  if (!$("circuits")) return;
  const at = (name) => data.circuit_columns.findIndex((c) => c.name === name);
  pickers("circuit", "pseudo_rank", () => redraw("circuit-qk", "circuit-vp"), (name) => data.circuits.some((r) => r.z && r.z[at(name)]), circuitNumeric, data.circuit_stacks);
  $("circuit-mode").value = "value";
  for (const kind of ["qk", "vp"]) chart("circuit-" + kind, () => circuitMap(kind, at($("circuit-metric").value), $("circuit-mode").value, $("circuit-stack").value));
  const conventions = [...new Set(data.circuits.map((r) => r.w))];
  $("circuit-say").textContent = "Convention: " + conventions.map(clean).join("; ") + ". " + summed();
}

function summed() {
  const found = data.circuits.filter((r) => r.h === null && typeof r.v[0] === "number");
  return ["qk", "vp"].map((kind) => [kind, found.filter((r) => r.q === kind).map((r) => r.v[0])]).filter(([, v]) => v.length)
    .map(([kind, v]) => "All heads summed, W_" + kind.toUpperCase() + ": median " + number(median(v), 3) + " of d_model.").join(" ");
}

function circuitMap(kind, at, mode, stack) {
  const here = data.circuits.filter((r) => r.k === stack && r.h !== null), mine = here.filter((r) => r.q === kind);
  if (!mine.length) return "No such circuits";
  const modules = [...new Set(mine.map((r) => r.o))], heads = Math.max(...mine.map((r) => r.h)) + 1;
  const layers = modules.map((o) => mine.find((r) => r.o === o).y), plain = new Set(layers).size === layers.length && !layers.includes(null);
  const z = Array.from({ length: heads }, () => modules.map(() => null)), text = z.map((line) => line.map(() => ""));
  const column = new Map(modules.map((o, i) => [o, i])), title = data.circuit_columns[at].title;
  for (const row of mine) {
    const x = column.get(row.o), found = circuitReading(row, at, mode), random = row.z && row.z[at];
    z[row.h][x] = found;
    text[row.h][x] = plotText(row.o) + ", head " + row.h + (row.g !== null && row.g !== row.h ? " (k/v head " + row.g + ")" : "") + "<br>" + title + ": " +
      (typeof row.v[at] === "number" ? number(row.v[at]) : plotText(row.s)) +
      (random && random[0] !== null ? "<br>random " + spread(random) + (random[3] !== null ? ", z " + signed(random[3]) : "") : "");
  }
  const scale = range(here.map((r) => circuitReading(r, at, mode)), mode);
  if (!scale) return "No head has this number";
  return { traces: [{ type: "heatmap", x: plain ? layers : modules.map((o, i) => i), y: z.map((_, h) => h), z, text, hoverinfo: "text", zmin: scale.low, zmax: scale.high, xgap: 1, ygap: 1,
    colorscale: plotScale(scale.scale), colorbar: { thickness: 12, len: 1, outlinewidth: 0 }, hoverongaps: false }],
  layout: { showlegend: false, plot_bgcolor: css("--grey"), xaxis: { title: { text: plain ? "layer" : "attention module" }, showgrid: false }, yaxis: { title: { text: "head" }, showgrid: false, autorange: "reversed", dtick: heads > 16 ? undefined : 1 } } };
}

function setUpExperts() {
  if (!$("experts")) return;
  const experts = rows.filter((r) => r.e !== null), roles = data.roles.filter((role) => experts.some((r) => r.r === role));
  const stacks = data.stacks.filter((s) => experts.some((r) => r.k === s));
  fill($("expert-role"), roles.map((r) => [r, r]));
  const start = numeric.some((c) => c.name === "alpha_hill") ? "alpha_hill" : (numeric[0] || {}).name;
  pickers("expert", start, () => redraw("expert-plot"), hasNull, numeric, stacks);
  $("expert-role").addEventListener("change", () => redraw("expert-plot"));
  chart("expert-plot", () => {
    const role = $("expert-role").value, metric = $("expert-metric").value, mode = $("expert-mode").value, x = [], y = [], text = [], at = [];
    rows.forEach((row, i) => {
      if (row.e === null || row.r !== role || row.k !== $("expert-stack").value) return;
      const found = reading(row, metric, mode);
      if (found === null) return;
      x.push(row.y === null ? "none" : row.y); y.push(found); at.push(i);
      text.push("expert " + row.e + "<br>" + plotText(row.n) + "<br>" + number(found));
    });
    if (!y.length) return "No expert has this number";
    return { traces: [{ type: "box", x, y, text, customdata: at, boxpoints: y.length > 600 ? "outliers" : "all", jitter: 0.4, pointpos: 0, hoverinfo: "text",
      marker: { color: "#d55e00", size: 4 }, line: { color: "#0072b2", width: 1.4 }, fillcolor: "rgba(0,114,178,0.18)" }],
    layout: { showlegend: false, xaxis: { title: { text: "layer" } }, yaxis: { title: { text: metricTitle(metric) + (mode === "value" ? "" : ",<br>" + MODES[mode]) } } },
    click: (point) => { if (point.customdata !== undefined) choose(Number(point.customdata), { scroll: true }); } };
  });
}
