// Lines over training: of roles, of one matrix, of circuits, of groups of parameters.
const stepAxis = () => {
  const kind = $("step-axis") ? $("step-axis").value : "linear";
  const axis = { title: { text: "training step" }, type: kind };
  return kind === "log" ? { ...axis, ...powers(logTicks(Math.log10(data.steps[0]), Math.log10(data.steps[data.steps.length - 1]))) } : axis;
};

function stepLine(name, series, i, extra = {}) {
  return { type: "scatter", mode: "lines+markers", name: plotText(name), x: data.steps, y: series, line: roleLine(i), marker: { size: 5, symbol: i % 40 },
    text: series.map((v, at) => plotText(name) + ", step " + data.steps[at] + ": " + number(v)), hoverinfo: "text", ...extra };
}

const known = (series) => series.some((v) => v !== null);
const overSteps = (title, extra = {}) => ({ xaxis: stepAxis(), yaxis: { title: { text: title }, ...extra } });
const ROLE_MODES = [["value", "median"], ["change", "change since the first"], ["relative", "change as a share of the first"]];

// A series as it is, or as its change since the first step.
function since(series, mode) {
  const first = series[0];
  if (mode === "value") return series;
  return series.map((v) => (v === null || first === null || (mode === "relative" && first === 0) ? null : mode === "change" ? v - first : (v - first) / Math.abs(first)));
}

function setUpRoles() {
  fill($("role-metric"), numeric.map((c) => [c.name, c.title]), startMetric());
  fill($("role-mode"), ROLE_MODES);
  for (const id of ["role-metric", "role-mode"]) $(id).addEventListener("change", () => redraw("role-plot"));
  if ($("step-axis")) $("step-axis").addEventListener("change", () => redraw(...charts.keys()));
  chart("role-plot", () => {
    const name = $("role-metric").value, mode = $("role-mode").value, at = columnAt.get(name);
    const traces = name ? data.roles.map((role, i) => stepLine(role, since(data.role_series[role][at], mode), i)).filter((t) => known(t.y)) : [];
    if (!traces.length) return "No role has this number";
    return { traces, layout: overSteps(metricTitle(name) + (mode === "value" ? "" : ",<br>" + ROLE_MODES.find(([m]) => m === mode)[1]),
      { zeroline: mode !== "value", zerolinecolor: css("--dim"), zerolinewidth: 1 }) };
  });
}

function setUpOne() {
  fill($("one-metric"), numeric.map((c) => [c.name, c.title]), startMetric());
  $("one-metric").addEventListener("change", () => redraw("one-plot"));
  $("map-metric").addEventListener("change", () => { $("one-metric").value = $("map-metric").value; redraw("one-plot"); });
  chart("one-plot", () => {
    const row = rows[selected], name = $("one-metric").value;
    if (!row || !name || !known(seriesOf(row, name))) return "This matrix has no such number at any step";
    const role = data.role_series[row.r][columnAt.get(name)];
    return { traces: [stepLine(row.n.length > 60 ? "this matrix" : row.n, seriesOf(row, name), 0),
      stepLine("median of role " + row.r, role, 1, { mode: "lines", line: { color: css("--dim"), dash: "dot", width: 1.5 } })],
    layout: overSteps(metricTitle(name)) };
  });
}

function drawPanel(row) {
  $("panel-what").textContent = [...whereabouts(row), row.a + " × " + row.b, row.s].filter(Boolean).map(clean).join(" · ");
  const shown = (name, mode, show) => { const v = reading(row, name, mode); return v === null ? null : show(v, 5); };
  fillNumbers(["quantity", "change", "first", "last", "change / |first|", "least", "greatest"], data.columns.map((c) => {
    const values = seriesOf(row, c.name).filter((v) => v !== null), extreme = (of) => (values.length ? number(of(...values), 5) : null);
    return { title: c.title + (c.unit && c.unit !== "1" ? " [" + c.unit + "]" : ""), name: c.name, missing: why(row, c.name, "change"),
      cells: [shown(c.name, "change", signed), shown(c.name, "first", number), shown(c.name, "last", number), shown(c.name, "relative", signed), extreme(Math.min), extreme(Math.max)] };
  }));
  redraw("one-plot");
}

// Boxes to tick, and buttons that tick the few, all or none of them. `few`: which are ticked at first.
function setUpChecks(id, labels, few, then) {
  const boxes = labels.map((label, i) => {
    const box = el("input", { type: "checkbox", value: i });
    box.checked = few.includes(i);
    return box;
  });
  $(id).querySelector(".boxes").replaceChildren(...boxes.map((box, i) => el("label", {}, box, clean(labels[i]))));
  $(id).addEventListener("change", then);
  $(id).addEventListener("click", (event) => {
    const picked = event.target.dataset.pick;
    if (!picked) return;
    boxes.forEach((box, i) => { box.checked = picked === "all" || (picked === "few" && few.includes(i)); });
    then();
  });
}
const ticked = (id) => [...$(id).querySelectorAll("input:checked")].map((box) => Number(box.value));
const firstMiddleLast = (indices) => (indices.length ? [...new Set([indices[0], indices[indices.length >> 1], indices[indices.length - 1]])] : []);

function setUpTrackedCircuits() {
  if (!$("circuits")) return;
  const layers = data.circuits.map((c) => c.y), plain = !layers.includes(null) && new Set(layers).size === layers.length;
  const labels = data.circuits.map((c) => (plain ? "layer " + c.y : c.o));
  setUpChecks("circuit-layers", labels, firstMiddleLast(labels.map((_, i) => i)), () => redraw("circuit-qk", "circuit-vp"));
  for (const kind of ["qk", "vp"]) chart("circuit-" + kind, () => {
    const traces = ticked("circuit-layers").map((at, i) => stepLine(labels[at], data.circuits[at][kind], i)).filter((t) => known(t.y));
    return traces.length ? { traces, layout: overSteps("pseudo-rank") } : "No layer is ticked that has this number";
  });
}

function setUpTrackedNorms() {
  const labels = data.norms.map((n) => n.g), all = labels.map((_, i) => i), inLayer = all.filter((i) => /layer \d+$/.test(labels[i]));
  setUpChecks("norm-groups", labels, [...all.filter((i) => !inLayer.includes(i)), ...firstMiddleLast(inLayer)], () => redraw("norm-plot"));
  chart("norm-plot", () => {
    const traces = ticked("norm-groups").map((at, i) => stepLine(labels[at], data.norms[at].u, i)).filter((t) => known(t.y));
    return traces.length ? { traces, layout: overSteps("share of the norm") } : "No group is ticked that has a norm";
  });
}
