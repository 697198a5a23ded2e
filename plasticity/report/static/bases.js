// Numbers of the bases themselves: loss, probes, gap, attention rank at the end.
function setUpLoss() {
  chart("loss-plot", () => {
    const made = overAxis((b) => b.loss, "validation loss (nats a token)", { doubt: true });
    if (typeof made === "string") return made;
    for (const l of lineIndices) {
      const points = data.loss.filter((p) => p.l === l && p.v !== null && p.x !== null).sort(byPlace);
      if (!points.length) continue;
      const known = points.filter((p) => typeof p.lo === "number");
      if (!data.axis.nominal && known.length > 1) made.traces.unshift({ type: "scatter", mode: "lines", fill: "toself", hoverinfo: "skip", showlegend: false, line: { width: 0 }, fillcolor: see(ink(l), 0.14),
        x: [...known.map((p) => p.x + dodge(l)), ...known.map((p) => p.x + dodge(l)).reverse()], y: [...known.map((p) => p.hi), ...known.map((p) => p.lo).reverse()] });
      const told = leastPlaces(l), least = points.filter((p) => told.includes(data.axis.labels[p.x]));
      for (const p of least.length ? least : [points.reduce((a, b) => (b.v < a.v ? b : a))]) made.traces.push(mark(p, l, "star", "least loss"));
      for (const label of bestPlaces(l)) {
        const p = points.find((q) => data.axis.labels[q.x] === label);
        if (p) made.traces.push(mark(p, l, "diamond-open", "best score"));
      }
    }
    return made;
  });
}
const mark = (p, l, symbol, text) => ({ type: "scatter", mode: "markers", showlegend: false, x: [p.x + dodge(l)], y: [p.v], hoverinfo: "text", text: [plotText(text) + ": " + whose(p) + (p.warn ? DOUBT : "")],
  marker: { symbol, size: symbol === "star" ? 17 : 20, color: symbol === "star" ? ink(l) : css("--ink"), line: { width: symbol === "star" ? 1 : 2, color: symbol === "star" ? css("--card") : css("--ink") } } });
// Where the mean over generated tasks is best (or the one task), of the first score that was compared; where the loss is least, over
// the seeds that all bases have, as the sentence under the figure says it.
function optimumOf(l) {
  const mine = data.optimum.filter((one) => data.lines[l] === one.group);
  return mine.find((o) => o.task === "mean") || mine[0] || { best: [], loss: [] };
}
const bestPlaces = (l) => optimumOf(l).best, leastPlaces = (l) => optimumOf(l).loss;

function setUpProbes() {
  if (!$("probes")) return;
  const tasks = [...new Set(data.bases.flatMap((b) => Object.keys(b.probes)))];
  fillLines("probe-line", (l) => data.bases.some((b) => b.l.includes(l) && Object.keys(b.probes).length));
  $("probe-line").closest(".controls").hidden = $("probe-line").options.length < 2;
  const panels = [...(probeTasks.length > 1 ? [probeTasks] : []), ...tasks.map((task) => [task])];
  onChange(["probe-line"], () => redraw(...panels.flatMap((_, i) => ["probe-" + i, "probe-train-" + i])));
  panels.forEach((over, i) => {
    chart("probe-train-" + i, () => probeByLayer(over, chosen("probe-line"), 1));
    chart("probe-" + i, () => probeByLayer(over, chosen("probe-line"), 2));
    chart("probe-best-" + i, () => overAxis((b) => probeMean(b, over), "test accuracy", { interval: over.length > 1 ? null : (b) => b.probes[over[0]], show: percent, percentAxis: true }));
  });
}

// Accuracy by layer, averaged over tasks; `which`: 1 on training texts, 2 on test texts.
function probeByLayer(over, l, which) {
  const traces = [], all = data.bases.filter((b) => b.l.includes(l) && over.every((task) => b.probes[task] && b.probes[task].layers.length));
  if (!all.length) return "No base of this kind was probed";
  const layers = [...new Set(all.flatMap((b) => b.probes[over[0]].layers.map((one) => one[0])))].sort((a, b) => a - b);
  const read = (b, task, layer, side) => { const found = b.probes[task].layers.find((one) => one[0] === layer); return found ? found[side] : null; };
  data.axis.labels.forEach((label, x) => {
    const here = all.filter((b) => b.x === x);
    if (!here.length) return;
    const at = (layer, side) => mean(here.map((b) => { const each = over.map((task) => read(b, task, layer, side)); return each.includes(null) ? null : mean(each); }));
    const y = layers.map((layer) => at(layer, which));
    if (y.every((v) => v === null)) return;
    traces.push({ ...rampLine(x, label), x: layers, y, text: layers.map((layer) => plotText(placeName(x)) + ", layer " + layer + ": test " + percent(at(layer, 2)) + ", training " + percent(at(layer, 1))), hoverinfo: "text" });
  });
  if (!traces.length) return "No accuracy on these texts was kept";
  const majority = mean(all.flatMap((b) => over.map((task) => b.probes[task].majority)));
  if (which === 2 && majority !== null) traces.push({ type: "scatter", mode: "lines", showlegend: false, x: layers, y: layers.map(() => majority), line: { color: css("--dim"), dash: "dot", width: 1.5 }, text: layers.map(() => "commonest label: " + percent(majority)), hoverinfo: "text" });
  return { traces, layout: { xaxis: { title: { text: "layer" }, dtick: Math.ceil(layers.length / 16) }, yaxis: { title: { text: which === 2 ? "test accuracy" : "training accuracy" }, tickformat: ".1~%" }, legend: rampLegend() } };
}

const rampLegend = () => ({ orientation: "h", yref: "container", y: 0, yanchor: "bottom", font: { size: 11 }, title: { text: plotText(data.axis.title) + " ", side: "left", font: { size: 11 } } });
// A line a place of the axis, coloured along a ramp; the marker differs too.
const rampLine = (x, label) => ({ type: "scatter", mode: "lines+markers", name: plotText(label), line: { color: ramp(x, places), width: 2 }, marker: { size: 6, symbol: symbols[x % symbols.length], color: ramp(x, places) } });

function setUpGap() {
  chart("gap-plot", () => {
    const made = overAxis((b) => b.gap.v, "gap in loss (nats a token)", { interval: (b) => b.gap, doubt: true });
    if (typeof made !== "string") Object.assign(made.layout.yaxis, { zeroline: true, zerolinecolor: css("--dim") });
    return made;
  });
  chart("gap-losses", () => {
    const traces = [];
    for (const l of lineIndices) for (const [key, name, dash] of [["val", "held-out", "solid"], ["train", "training", "dot"]]) {
      const points = [...averages((b) => b.gap[key]).values()].filter((p) => p.l === l);
      traces.push(...banded(points.map((p) => ({ ...p, lo: null, hi: null })), l, (p) => whose(p) + ", " + name + ": " + number(p.v) + (doubted(l, p.x) ? DOUBT : ""), { name: plotText((data.lines.length > 1 ? data.lines[l] + ", " : "") + name), line: look(l, { dash }) }));
    }
    return traces.length ? { traces, layout: { xaxis: along(), yaxis: { title: { text: "loss (nats a token)" } } } } : "No base has both losses";
  });
}

function setUpFinalRanks() {
  for (const kind of ["qk", "vp"]) chart("final-" + kind, () => overAxis((b) => b.final["pseudo_rank_" + kind], "pseudo-rank (share of full rank)"));
}
