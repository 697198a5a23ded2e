// What is read off a row of an analysis: its value, or how it differs from the random matrix of its shape.
const nullAt = new Map(data.nulls.map((name, i) => [name, i]));
const nullOf = (row, name) => (row.z && nullAt.has(name) ? row.z[nullAt.get(name)] : null);
const START_METRICS = ["alpha_hill", "stable_rank"], START_MODE = "difference";
const MODES = { value: "value", difference: "difference from null", z: "z against null" };

function reading(row, name, mode) {
  if (mode === "value") { const v = value(row, name); return typeof v === "number" ? v : null; }
  const found = nullOf(row, name);
  return found ? found[mode === "difference" ? 2 : 3] : null;
}

// Why there is no number.
function why(row, name, mode) {
  if (row.s !== "ok" && value(row, name) === null) return row.s;
  const fit = name === "alpha_weighted" || name === "log_alpha_norm" ? "alpha_gof" : (name.match(/^alpha_(hill|gof|fix_finger)/) || [null])[0];
  if (fit && value(row, name) === null) return value(row, fit + "_status") || "no number";
  if (value(row, name) === null) return "no number";
  if (mode !== "value" && !nullOf(row, name)) return "no null";
  if (mode === "z" && nullOf(row, name)[3] === null) return "no z: the null does not vary";
  return "no number";
}

const hasNull = (name) => nullAt.has(name);
const modesOf = (name, known = hasNull) => Object.entries(MODES).filter(([mode]) => mode === "value" || known(name));
const centred = (name, mode) => mode !== "value";

function sentence(row, metric) {
  const found = nullOf(row, metric), v = value(row, metric);
  let text = metricTitle(metric) + " " + (v === null ? why(row, metric, "value") : number(v));
  if (found && found[0] !== null) {
    text += "; random " + spread(found) + ", difference " + signed(found[2]);
    text += found[3] !== null ? ", z " + signed(found[3], 3) : "";
  }
  return text + " (" + row.a + " × " + row.b + ")";
}

// Columns of the table, in groups: [heading, what of a row, why there is nothing].
const BASIC = ["alpha_hill", "alpha_gof", "alpha_fix_finger", "stable_rank", "effective_rank", "pseudo_rank", "numerical_rank", "spectral_norm", "frobenius_norm", "n_spikes"];
const valueColumn = (name) => [name, (r) => value(r, name), (r) => why(r, name, "value")];
const nullColumn = (name, part, label) => [name + " " + label, (r) => { const n = nullOf(r, name); return n ? n[part] : null; }];
const isFit = (c) => /^(alpha_(hill|gof|fix_finger)|lr_|bootstrap)/.test(c.name);
const valueColumns = (keep) => data.columns.filter(keep).map((c) => valueColumn(c.name));
const GROUPS = {
  basic: ["the usual", valueColumns((c) => BASIC.includes(c.name))],
  null: ["against null", data.nulls.filter((n) => columnAt.has(n)).flatMap((n) => [nullColumn(n, 2, "difference"), nullColumn(n, 3, "z")])],
  fits: ["power laws", valueColumns(isFit)],
  rest: ["norms, ranks, bulk", valueColumns((c) => !isFit(c))],
  all: ["all values", valueColumns(() => true)],
};

function csvColumns() {
  const nulls = data.nulls.flatMap((n) => ["mean", "sd", "difference", "z"].map((part, i) => ["null_" + n + "_" + part, (r) => (nullOf(r, n) || [])[i]]));
  return [["n_eigenvalues", (r) => r.M], ["dtype", (r) => r.d], ["status", (r) => r.s], ...data.columns.map((c, i) => [c.name, (r) => r.v[i]]),
    ["stack", (r) => r.k], ["module", (r) => r.o], ["expert", (r) => r.e], ...nulls];
}
