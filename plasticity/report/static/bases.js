// Numbers of the bases themselves: loss, probes, gap, attention rank at the end.
function setUpLoss() {
  chart("loss-plot", () => {
    const made = overAxis((b) => b.loss, "validation loss");
    if (typeof made === "string") return made;
    for (const l of lineIndices) {
      const points = data.loss.filter((p) => p.l === l && p.v !== null && p.x !== null).sort(byPlace);
      if (!points.length) continue;
      const known = points.filter((p) => typeof p.lo === "number");
      if (!data.axis.nominal && known.length > 1) made.traces.unshift({ type: "scatter", mode: "lines", fill: "toself", hoverinfo: "skip", showlegend: false, line: { width: 0 }, fillcolor: see(ink(l), 0.14),
        x: [...known.map((p) => p.x + dodge(l)), ...known.map((p) => p.x + dodge(l)).reverse()], y: [...known.map((p) => p.hi), ...known.map((p) => p.lo).reverse()] });
      const least = points.reduce((a, b) => (b.v < a.v ? b : a));
      made.traces.push(mark(least, l, "star", "least loss"));
      for (const label of bestPlaces(l)) {
        const p = points.find((q) => data.axis.labels[q.x] === label);
        if (p) made.traces.push(mark(p, l, "diamond-open", "best score"));
      }
    }
    return made;
  });
}
const mark = (p, l, symbol, text) => ({ type: "scatter", mode: "markers", showlegend: false, x: [p.x + dodge(l)], y: [p.v], hoverinfo: "text", text: [plotText(text) + ": " + whose(p)],
  marker: { symbol, size: symbol === "star" ? 17 : 20, color: symbol === "star" ? ink(l) : css("--ink"), line: { width: symbol === "star" ? 1 : 2, color: symbol === "star" ? css("--card") : css("--ink") } } });
// Where the mean over tasks is best (or the one task), of the first score that was compared.
function bestPlaces(l) {
  const mine = data.optimum.filter((one) => data.lines[l] === one.group);
  const one = mine.find((o) => o.task === "mean") || mine[0];
  return one ? one.best : [];
}

function setUpProbes() {
  if (!$("probes")) return;
  const tasks = [...new Set(data.bases.flatMap((b) => Object.keys(b.probes)))];
  fillLines("probe-line", (l) => data.bases.some((b) => b.l.includes(l) && Object.keys(b.probes).length));
  $("probe-line").closest(".controls").hidden = $("probe-line").options.length < 2;
  onChange(["probe-line"], () => redraw(...tasks.map((_, i) => "probe-" + i)));
  tasks.forEach((task, i) => {
    chart("probe-" + i, () => probeByLayer(task, chosen("probe-line")));
    chart("probe-best-" + i, () => overAxis((b) => (b.probes[task] ? b.probes[task].v : null), "test accuracy", { interval: (b) => b.probes[task], show: percent, percentAxis: true }));
  });
}

function probeByLayer(task, l) {
  const traces = [], all = data.bases.filter((b) => b.l.includes(l) && b.probes[task] && b.probes[task].layers.length);
  if (!all.length) return "No base of this kind was probed";
  const layers = [...new Set(all.flatMap((b) => b.probes[task].layers.map((one) => one[0])))].sort((a, b) => a - b);
  data.axis.labels.forEach((label, x) => {
    const here = all.filter((b) => b.x === x);
    if (!here.length) return;
    const at = (layer, which) => mean(here.map((b) => { const found = b.probes[task].layers.find((one) => one[0] === layer); return found ? found[which] : null; }));
    const y = layers.map((layer) => at(layer, 2));
    traces.push({ ...rampLine(x, label), x: layers, y, text: layers.map((layer, j) => plotText(placeName(x)) + ", layer " + layer + ": test " + percent(y[j]) + ", train " + percent(at(layer, 1))), hoverinfo: "text" });
  });
  const majority = mean(all.map((b) => b.probes[task].majority));
  if (majority !== null) traces.push({ type: "scatter", mode: "lines", name: "commonest label", x: layers, y: layers.map(() => majority), line: { color: css("--dim"), dash: "dot", width: 1.5 }, text: layers.map(() => "commonest label: " + percent(majority)), hoverinfo: "text" });
  return { traces, layout: { xaxis: { title: { text: "layer" }, dtick: Math.ceil(layers.length / 16) }, yaxis: { title: { text: "test accuracy" }, tickformat: ".1~%" }, legend: rampLegend() } };
}

const rampLegend = () => ({ orientation: "h", yref: "container", y: 0, yanchor: "bottom", font: { size: 11 }, title: { text: plotText(data.axis.title) + " ", side: "left", font: { size: 11 } } });
// A line a place of the axis, coloured along a ramp; the marker differs too.
const rampLine = (x, label) => ({ type: "scatter", mode: "lines+markers", name: plotText(label), line: { color: ramp(x, places), width: 2 }, marker: { size: 6, symbol: symbols[x % symbols.length], color: ramp(x, places) } });

function setUpGap() {
  chart("gap-plot", () => {
    const made = overAxis((b) => b.gap.v, "gap in loss", { interval: (b) => b.gap });
    if (typeof made !== "string") Object.assign(made.layout.yaxis, { zeroline: true, zerolinecolor: css("--dim") });
    return made;
  });
  chart("gap-losses", () => {
    const traces = [];
    for (const l of lineIndices) for (const [key, name, dash] of [["val", "held-out", "solid"], ["train", "training", "dot"]]) {
      const points = [...averages((b) => b.gap[key]).values()].filter((p) => p.l === l);
      traces.push(...banded(points.map((p) => ({ ...p, lo: null, hi: null })), l, (p) => whose(p) + ", " + name + ": " + number(p.v), { name: plotText((data.lines.length > 1 ? data.lines[l] + ", " : "") + name), line: look(l, { dash }) }));
    }
    return traces.length ? { traces, layout: { xaxis: along(), yaxis: { title: { text: "loss" } } } } : "No base has both losses";
  });
}

function setUpFinalRanks() {
  for (const kind of ["qk", "vp"]) chart("final-" + kind, () => overAxis((b) => b.final["pseudo_rank_" + kind], "pseudo-rank"));
}
