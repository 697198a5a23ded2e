// The map: roles by layers, one button a cell, so that keyboard and screen reader can use it.
let selected = -1;
let cells = [];

function setUpMap() {
  const start = columnAt.has("alpha_hill") && numeric.some((c) => c.name === "alpha_hill") ? "alpha_hill" : (numeric[0] || {}).name;
  pickers("map", start, drawMap);
}

// Metric, mode and stack selects of a section; `then` runs at every change.
function pickers(section, start, then, known = hasNull, columns = numeric, stacks = data.stacks) {
  const metric = $(section + "-metric"), mode = $(section + "-mode"), stack = $(section + "-stack");
  fill(metric, columns.map((c) => [c.name, c.title]), start);
  const modes = () => {
    const before = mode.value || "difference", found = modesOf(metric.value, known);
    fill(mode, found);
    mode.value = found.some(([m]) => m === before) ? before : "value";
    mode.disabled = found.length < 2;
  };
  modes();
  const size = (s) => rows.filter((r) => r.k === s).length;
  fill(stack, stacks.map((s) => [s, s || "main"]), stacks.slice().sort((a, b) => size(b) - size(a))[0]);
  stack.closest("label").hidden = stacks.length < 2;
  metric.addEventListener("change", () => { modes(); then(); });
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
  const layers = layersOf(stack), found = cellsOf(stack, metric, mode);
  const roles = data.roles.filter((role) => layers.some((y) => found.has(role + "/" + y)));
  const scale = range([...found.values()].map((c) => c.shown), mode);
  const heat = $("heat"), step = layers.length > 45 ? 5 : 1;
  heat.style.gridTemplateColumns = "max-content " + layers.map((y) => (y === null ? "minmax(34px, 56px)" : "minmax(15px, 1fr)")).join(" ");
  const head = el("div", { class: "row", role: "row" }, el("span", { class: "head", role: "columnheader" }, "layer"));
  layers.forEach((y, i) => head.append(el("span", { class: "head", role: "columnheader" }, y === null ? "none" : i % step ? "" : String(y))));
  cells = [];
  const lines = roles.map((role) => {
    const line = el("div", { class: "row", role: "row" }, el("span", { class: "role", role: "rowheader" }, role));
    const buttons = layers.map((y) => {
      const cell = found.get(role + "/" + y);
      if (!cell) { line.append(el("span", { role: "gridcell" })); return null; }
      const button = el("button", { type: "button", role: "gridcell", tabindex: "-1", "aria-label": describe(cell, metric, mode) });
      button.cell = cell;
      if (cell.shown === null) button.classList.add("none");
      else button.style.background = colour(scale.scale, (cell.shown - scale.low) / (scale.high - scale.low));
      line.append(button);
      return button;
    });
    cells.push(buttons);
    return line;
  });
  heat.replaceChildren(head, ...lines);
  drawScale($("heat-scale"), scale, mode);
  markSelected();
  const first = heat.querySelector('[aria-selected="true"]') || heat.querySelector("button");
  if (first) first.tabIndex = 0;
}

function drawScale(target, scale, mode) {
  const none = [el("span", { class: "none" }), "no number (see its status)"];
  if (!scale) { target.replaceChildren(...none); return; }
  const ramp = el("span", { class: "ramp" });
  ramp.style.background = "linear-gradient(90deg," + scale.scale.join(",") + ")";
  const show = mode === "value" ? number : signed;
  target.replaceChildren((scale.clipped ? "≤ " : "") + show(scale.low, 3), ramp, (scale.clipped ? "≥ " : "") + show(scale.high, 3), ...none);
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
  return where + ": " + sentence(row, metric);
}

function sentence(row, metric) {
  const found = nullOf(row, metric), v = value(row, metric);
  let text = metricTitle(metric) + " " + (v === null ? why(row, metric, "value") : number(v));
  if (found && found[0] !== null) {
    text += "; random " + spread(found) + ", difference " + signed(found[2]);
    text += found[3] !== null ? ", z " + signed(found[3], 3) : "";
  }
  return text + " (" + row.a + " × " + row.b + ")";
}

function markSelected() {
  for (const line of cells) for (const button of line) {
    if (button) button.setAttribute("aria-selected", String(button.cell.members.includes(selected)));
  }
}

function wireMap() {
  const heat = $("heat");
  const say = (event) => {
    const button = event.target.closest("button");
    if (button) $("heat-say").textContent = describe(button.cell, $("map-metric").value, $("map-mode").value);
  };
  heat.addEventListener("mouseover", say);
  heat.addEventListener("focusin", (event) => {
    say(event);
    for (const other of heat.querySelectorAll('[tabindex="0"]')) other.tabIndex = -1;
    event.target.tabIndex = 0;
  });
  heat.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) choose(button.cell.members[0], { scroll: true, among: button.cell.members });
  });
  heat.addEventListener("keydown", moveInMap);
}

function moveInMap(event) {
  const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0], Home: [0, -1e9], End: [0, 1e9] };
  const move = steps[event.key], y = cells.findIndex((line) => line.includes(event.target));
  if (!move || y < 0) return;
  event.preventDefault();
  let i = y, j = cells[y].indexOf(event.target), target = null;
  if (Math.abs(move[1]) > 1) {
    const line = cells[y].filter((b) => b);
    target = move[1] < 0 ? line[0] : line[line.length - 1];
  }
  while (!target) {
    i += move[0]; j += move[1];
    if (!cells[i] || j < 0 || j >= cells[i].length) return;
    target = cells[i][j];
  }
  target.focus();
}
