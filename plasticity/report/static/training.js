// Over pretraining: attention rank by layer, and norms. A line a place of the axis, mean over seeds.
function overTraining(l, series, title, name) {
  const traces = [];
  data.axis.labels.forEach((label, x) => {
    const here = data.bases.filter((b) => b.l.includes(l) && b.x === x && series(b));
    const steps = [...new Set(here.flatMap((b) => b.steps))].sort((a, b) => a - b);
    const y = steps.map((step) => mean(here.map((b) => { const at = b.steps.indexOf(step); return at < 0 ? null : series(b)[at]; })));
    if (y.some((v) => v !== null)) traces.push({ ...rampLine(x, label), x: steps, y, connectgaps: false, text: steps.map((step, i) => plotText(placeName(x)) + ", step " + step + ": " + number(y[i])), hoverinfo: "text" });
  });
  return traces.length ? { traces, layout: { xaxis: { title: { text: "training step" } }, yaxis: { title: { text: title } }, legend: rampLegend() } } : "No base has " + name;
}

const layersOf = (kind) => [...new Set(data.bases.flatMap((b) => Object.keys(b.ranks[kind] || {})))].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
// The series of a layer; of "*", the mean over layers.
function rankSeries(b, kind, layer) {
  const found = b.ranks[kind];
  if (!found) return null;
  if (layer !== "*") return found[layer] || null;
  const all = Object.values(found);
  return all.length ? b.steps.map((_, i) => mean(all.map((series) => series[i]))) : null;
}

function setUpTraining() {
  if ($("rank-qk")) {
    const layers = [...new Set([...layersOf("qk"), ...layersOf("vp")])];
    fill($("rank-layer"), [["*", "mean over layers"], ...layers.map((layer) => [layer, "layer " + layer])]);
    fillLines("rank-line", (l) => data.bases.some((b) => b.l.includes(l) && b.steps.length > 1));
    onChange(["rank-layer", "rank-line"], () => redraw("rank-qk", "rank-vp"));
    for (const kind of ["qk", "vp"]) chart("rank-" + kind, () => overTraining(chosen("rank-line"), (b) => rankSeries(b, kind, $("rank-layer").value), "pseudo-rank", "such a rank"));
  }
  if ($("norm-plot")) {
    const groups = [...new Set(data.bases.flatMap((b) => Object.keys(b.norms)))];
    fill($("norm-group"), groups.map((g) => [g, g]));
    fillLines("norm-line", (l) => data.bases.some((b) => b.l.includes(l) && b.steps.length > 1));
    onChange(["norm-group", "norm-line"], () => redraw("norm-plot"));
    chart("norm-plot", () => overTraining(chosen("norm-line"), (b) => b.norms[$("norm-group").value] || null, "share of the norm", "this norm"));
  }
}
