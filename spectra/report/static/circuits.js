// One map a circuit, layer by head.
let head = null;
const circuitNumeric = data.circuit_columns.filter((c, i) => data.circuits.some((r) => typeof r.v[i] === "number"));
const circuitReading = (row, at, mode) => {
  if (mode === "value") return typeof row.v[at] === "number" ? row.v[at] : null;
  return row.z && row.z[at] ? row.z[at][mode === "difference" ? 2 : 3] : null;
};

function setUpCircuits() {
  if (!$("circuits")) return;
  const at = (name) => data.circuit_columns.findIndex((c) => c.name === name);
  pickers("circuit", drawCircuits, { start: "pseudo_rank", columns: circuitNumeric, stacks: data.circuit_stacks,
    modes: (name) => modesOf(name, () => data.circuits.some((r) => r.z && r.z[at(name)])) });
  $("circuit-mode").value = "value";
  for (const kind of ["qk", "vp"]) {
    setUpGrid("circuit-" + kind, { sayId: "circuit-pointed", choose: (cell) => chooseHead(cell.row), chosen: (cell) => cell.row === head });
  }
  drawCircuits();
  chooseHead(data.circuits.find((r) => r.h !== null && r.k === $("circuit-stack").value) || null);
  const conventions = [...new Set(data.circuits.map((r) => r.w))];
  $("circuit-say").textContent = "Convention: " + conventions.map(clean).join("; ") + ". " + summed();
}

function summed() {
  const found = data.circuits.filter((r) => r.h === null && typeof r.v[0] === "number");
  return ["qk", "vp"].map((kind) => [kind, found.filter((r) => r.q === kind).map((r) => r.v[0])]).filter(([, v]) => v.length)
    .map(([kind, v]) => "All heads summed, W_" + kind.toUpperCase() + ": median " + number(median(v), 3) + " of d_model.").join(" ");
}

function drawCircuits() {
  const at = data.circuit_columns.findIndex((c) => c.name === $("circuit-metric").value), mode = $("circuit-mode").value, stack = $("circuit-stack").value;
  const here = data.circuits.filter((r) => r.k === stack && r.h !== null), scale = range(here.map((r) => circuitReading(r, at, mode)), mode !== "value");
  for (const kind of ["qk", "vp"]) {
    const mine = here.filter((r) => r.q === kind), modules = [...new Set(mine.map((r) => r.o))];
    const layers = modules.map((o) => mine.find((r) => r.o === o).y), heads = [...new Set(mine.map((r) => r.h))].sort((a, b) => a - b);
    const found = new Map(mine.map((r) => [r.o + "/" + r.h, { row: r, shown: circuitReading(r, at, mode), text: circuitText(r, at) }])), step = modules.length > 24 ? 4 : 1;
    drawGrid("circuit-" + kind, { corner: "head", scale, heads: layers.map((y, i) => (i % step ? "" : y === null ? "–" : String(y))), widths: modules.map(() => "minmax(12px, 1fr)"),
      lines: heads.map((h) => ({ label: String(h), cells: modules.map((o) => found.get(o + "/" + h) || null) })) });
  }
  drawScale($("circuit-scale"), scale, mode === "value" ? number : signed);
}

const headName = (r) => "W_" + r.q.toUpperCase() + " of " + clean(r.o) + ", head " + r.h + (r.g !== null && r.g !== r.h ? " (k/v head " + r.g + ")" : "");

function circuitText(r, at) {
  const random = r.z && r.z[at];
  return headName(r) + ": " + data.circuit_columns[at].title + " " + (typeof r.v[at] === "number" ? number(r.v[at]) : clean(r.s)) +
    (random && random[0] !== null ? "; random " + spread(random) + (random[3] !== null ? ", z " + signed(random[3]) : "") : "");
}

// All numbers of one head, under the maps.
function chooseHead(row) {
  if (!row) return;
  head = row;
  for (const kind of ["qk", "vp"]) markGrid("circuit-" + kind);
  $("circuit-name").textContent = headName(row);
  fillNumbers(["quantity", "value", "random (mean ± sd)", "difference", "z"], data.circuit_columns.map((c, i) => {
    const found = row.z && row.z[i];
    return { title: c.title, name: c.name, missing: clean(row.s), cells: [typeof row.v[i] === "number" ? number(row.v[i], 5) : null,
      found && found[0] !== null ? spread(found) : "", found && found[2] !== null ? signed(found[2], 4) : "", found && found[3] !== null ? signed(found[3], 3) : ""] };
  }), "circuit-numbers");
}
