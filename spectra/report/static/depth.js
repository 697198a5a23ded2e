// Lines by role over the layers.
// A line a role over the layers; of several matrices in a cell, the median. With `reference(row)`, its median, dotted.
function profile(stack, metric, mode, reference = null) {
  const layers = layersOf(stack).filter((y) => y !== null), found = cellsOf(stack, metric, mode), traces = [];
  data.roles.forEach((role, i) => {
    const line = layers.map((y) => found.get(role + "/" + y));
    if (!line.some((cell) => cell && cell.shown !== null)) return;
    traces.push({ type: "scatter", mode: "lines+markers", name: role, legendgroup: role, x: layers, y: line.map((c) => (c ? c.shown : null)), line: roleLine(i),
      marker: { size: 5, symbol: i }, text: layers.map((y, j) => role + ", layer " + y + ": " + (line[j] ? number(line[j].shown) : "")), hoverinfo: "text" });
    const means = reference ? line.map((c) => (c ? median(c.members.map((m) => reference(rows[m])).filter((v) => v !== null)) : null)) : [];
    if (means.some((m) => m !== null)) {
      traces.push({ type: "scatter", mode: "lines", name: role + ", random", legendgroup: role, showlegend: false, x: layers, y: means,
        line: { color: LINES[i % LINES.length], dash: "dot", width: 1 }, opacity: 0.7, hoverinfo: "name" });
    }
  });
  return traces;
}

// Whole layers only, where there are few.
const layerAxis = (stack) => ({ title: { text: "layer" }, dtick: layersOf(stack).length <= 16 ? 1 : undefined });

// `reference(metric, mode)`: what is drawn dotted beside each line, or null.
function setUpDepth(reference = () => null, also = []) {
  if (!$("depth")) return;
  pickers("depth", () => redraw("depth-plot", ...also), {});
  chart("depth-plot", () => {
    const metric = $("depth-metric").value, mode = $("depth-mode").value, middle = centred(metric, mode);
    const traces = metric ? profile($("depth-stack").value, metric, mode, reference(metric, mode)) : [];
    if (!traces.length) return "No layer has this number";
    return { traces, layout: { xaxis: layerAxis($("depth-stack").value),
      yaxis: { title: { text: metricTitle(metric) + (mode === "value" ? "" : ",<br>" + MODES[mode]) }, zeroline: middle, zerolinecolor: css("--dim"), zerolinewidth: 1 } } };
  });
}
