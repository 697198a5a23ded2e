// What is read off a pair: the difference B − A, A or B itself, or a number of the update.
const ofBoth = data.columns.filter((c) => c.both), ofUpdate = data.columns.filter((c) => !c.both);
const START_METRICS = ["update_relative_norm", "alpha_hill", "stable_rank"], START_MODE = "difference";
const MODES = { value: "value", difference: "B − A", relative: "(B − A) / |A|", a: "A", b: "B" };
const isBoth = (name) => data.columns[columnAt.get(name)].both;
const modesOf = (name) => (isBoth(name) ? ["difference", "relative", "a", "b"] : ["value"]).map((mode) => [mode, MODES[mode]]);
const centred = (name, mode) => mode === "difference" || mode === "relative";

function reading(row, name, mode) {
  const at = columnAt.get(name), gap = row.v[at];
  const v = mode === "a" ? row.p[at] : mode === "b" ? row.q[at] : mode !== "relative" ? gap : typeof gap === "number" && row.p[at] ? gap / Math.abs(row.p[at]) : null;
  return typeof v === "number" ? v : null;
}

// Why there is no number.
function why(row, name, mode) {
  if (!isBoth(name)) return row.s !== "ok" ? row.s : /alpha/.test(name) ? "no fit" : "no number";
  const at = columnAt.get(name), missing = ["A", "B"].filter((side, i) => [row.p, row.q][i][at] === null);
  return missing.length ? "no number in " + missing.join(" and ") : mode === "relative" ? "A is zero" : "no number";
}

function sentence(row, metric, mode) {
  const found = reading(row, metric, mode), at = columnAt.get(metric);
  let text = metricTitle(metric) + " " + (found === null ? why(row, metric, mode) : isBoth(metric) ? number(row.p[at]) + " in A, " + number(row.q[at]) + " in B, difference " + signed(row.v[at]) : number(found));
  if (!isBoth(metric) && row.s !== "ok") text += " (" + row.s + ")";
  return text + " (" + row.a + " × " + row.b + ")";
}

const columnOf = (name, mode, title) => [title, (r) => reading(r, name, mode), (r) => why(r, name, mode)];
const GROUPS = {
  difference: ["differences B − A", ofBoth.map((c) => columnOf(c.name, "difference", c.name))],
  update: ["update", ofUpdate.map((c) => columnOf(c.name, "value", c.name))],
  sides: ["A and B", ofBoth.flatMap((c) => [columnOf(c.name, "a", c.name + " A"), columnOf(c.name, "b", c.name + " B")])],
};

function csvColumns() {
  return [["name_b", (r) => r.m || r.n], ["status", (r) => r.s], ["dtype_a", (r) => r.d], ["dtype_b", (r) => r.f],
    ...ofBoth.flatMap((c) => [["a", "a"], ["b", "b"], ["difference", "difference"]].map(([label, mode]) => [c.name + "_" + label, (r) => reading(r, c.name, mode)])),
    ...ofUpdate.map((c) => [c.name, (r) => reading(r, c.name, "value")]), ["stack", (r) => r.k], ["module", (r) => r.o], ["expert", (r) => r.e]];
}
