// Norms over the layers, and the experts of each layer.
function setUpNorms() {
  if (!$("depth")) return;
  const norms = numeric.filter((c) => /_norm$/.test(c.name) && c.name !== "log_alpha_norm");
  fill($("norm-metric"), norms.map((c) => [c.name, c.title]));
  $("norm-metric").addEventListener("change", () => redraw("norm-plot"));
  chart("norm-plot", () => {
    const metric = $("norm-metric").value, traces = metric ? profile($("depth-stack").value, metric, "value") : [];
    for (const trace of traces) trace.y = trace.y.map((v) => (v > 0 ? v : null)); // a norm of zero has no place on a log axis
    if (!traces.length) return "No layer has this number";
    const all = traces.flatMap((t) => t.y).filter((v) => v !== null).map(Math.log10);
    const low = Math.min(...all), high = Math.max(...all), margin = 0.06 * (high - low || 1);
    return { traces, layout: { xaxis: layerAxis($("depth-stack").value),
      yaxis: { title: { text: metricTitle(metric) }, type: "log", range: [low - margin, high + margin], ...powers(logTicks(low, high)) } } };
  });
}

function setUpExperts() {
  if (!$("experts")) return;
  const experts = rows.filter((r) => r.e !== null), roles = data.roles.filter((role) => experts.some((r) => r.r === role));
  const stacks = data.stacks.filter((s) => experts.some((r) => r.k === s));
  fill($("expert-role"), roles.map((r) => [r, r]));
  pickers("expert", () => redraw("expert-plot"), { stacks });
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
