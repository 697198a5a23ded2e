// The map: roles by layers. What is read off a row, and in which modes, is the page's (MODES, modesOf, reading, why, sentence).
const numeric = data.columns.filter((c) => (c.kind === "float" || c.kind === "int") && modesOf(c.name).some(([mode]) => rows.some((r) => reading(r, c.name, mode) !== null)));
const startMetric = (columns = numeric) => START_METRICS.find((name) => columns.some((c) => c.name === name)) || (columns[0] || {}).name;

function setUpMap() {
  pickers("map", drawMap, {});
  setUpGrid("heat", {
    sayId: "heat-say", choose: (cell) => choose(cell.members[0], { scroll: true, among: cell.members }), chosen: (cell) => cell.members.includes(selected),
  });
  drawMap();
}

// Metric, mode and stack selects of a section; `then` runs at every change.
function pickers(section, then, { start, modes = modesOf, columns = numeric, stacks = data.stacks }) {
  const metric = $(section + "-metric"), mode = $(section + "-mode"), stack = $(section + "-stack");
  fill(metric, columns.map((c) => [c.name, c.title]), start || startMetric(columns));
  const offer = () => {
    const before = mode.value || START_MODE, found = metric.value ? modes(metric.value) : [];
    fill(mode, found);
    mode.value = found.some(([m]) => m === before) ? before : (found[0] || [""])[0];
    mode.disabled = found.length < 2;
  };
  offer();
  const size = (s) => rows.filter((r) => r.k === s).length;
  fill(stack, stacks.map((s) => [s, s || "main"]), stacks.slice().sort((a, b) => size(b) - size(a))[0]);
  stack.closest("label").hidden = stacks.length < 2;
  metric.addEventListener("change", () => { offer(); then(); });
  mode.addEventListener("change", then);
  stack.addEventListener("change", then);
}

function layersOf(stack, of = rows) {
  const found = [...new Set(of.filter((r) => r.k === stack).map((r) => r.y))];
  return found.filter((y) => y !== null).sort((a, b) => a - b).concat(found.includes(null) ? [null] : []);
}

function cellsOf(stack, metric, mode) {
  const made = new Map();
  rows.forEach((row, i) => {
    if (row.k !== stack) return;
    const key = row.r + "/" + row.y;
    if (!made.has(key)) made.set(key, { role: row.r, layer: row.y, members: [], readings: [] });
    const cell = made.get(key), found = reading(row, metric, mode);
    cell.members.push(i);
    if (found !== null) cell.readings.push(found);
  });
  for (const cell of made.values()) cell.shown = median(cell.readings);
  return made;
}

function drawMap() {
  const metric = $("map-metric").value, mode = $("map-mode").value, stack = $("map-stack").value;
  if (!metric) return;
  const layers = layersOf(stack), found = cellsOf(stack, metric, mode);
  for (const cell of found.values()) cell.text = describe(cell, metric, mode);
  const roles = data.roles.filter((role) => layers.some((y) => found.has(role + "/" + y)));
  const scale = range([...found.values()].map((c) => c.shown), centred(metric, mode)), step = layers.length > 45 ? 5 : 1;
  drawGrid("heat", {
    corner: "layer", scale, heads: layers.map((y, i) => (y === null ? "none" : i % step ? "" : String(y))),
    widths: layers.map((y) => (y === null ? "minmax(34px, 56px)" : "minmax(15px, 1fr)")),
    lines: roles.map((role) => ({ label: role, cells: layers.map((y) => found.get(role + "/" + y) || null) })),
  });
  drawScale($("heat-scale"), scale, centred(metric, mode) ? signed : number);
}

function describe(cell, metric, mode) {
  const one = cell.members.length === 1, row = rows[cell.members[0]];
  const where = one ? clean(row.n) : cell.members.length + " matrices of role " + cell.role + ", " + (cell.layer === null ? "no layer" : "layer " + cell.layer);
  if (cell.shown === null) return where + ": " + metricTitle(metric) + ": " + why(row, metric, mode) + (one ? "" : " (the first)");
  if (!one) {
    const sorted = cell.readings.slice().sort((a, b) => a - b), missing = cell.members.length - sorted.length;
    return where + ": " + metricTitle(metric) + ", " + MODES[mode] + ": median " + number(cell.shown) + ", " + number(sorted[0]) + " to " +
      number(sorted[sorted.length - 1]) + (missing ? ", " + missing + " without a number" : "");
  }
  return where + ": " + sentence(row, metric, mode);
}
