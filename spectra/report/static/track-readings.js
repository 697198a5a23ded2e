// What is read off a trajectory: its first and last value, or the change between them.
const START_METRICS = ["alpha_hill", "stable_rank"], START_MODE = "change";
const MODES = { change: "last − first", relative: "(last − first) / |first|", first: "first", last: "last" };
const modesOf = () => Object.entries(MODES);
const centred = (name, mode) => mode === "change" || mode === "relative";
const seriesOf = (row, name) => row.u[columnAt.get(name)];

function endOf(series, mode) {
  const first = series[0], last = series[series.length - 1];
  if (mode === "first") return first;
  if (mode === "last") return last;
  if (first === null || last === null) return null;
  return mode === "change" ? last - first : first === 0 ? null : (last - first) / Math.abs(first);
}
const reading = (row, name, mode) => endOf(seriesOf(row, name), mode);

// Why there is no number.
function why(row, name, mode) {
  const series = seriesOf(row, name), missing = [["first", series[0]], ["last", series[series.length - 1]]].filter(([end, v]) => v === null && (end === mode || centred(name, mode)));
  return missing.length ? "no number at the " + missing.map(([end]) => end).join(" and ") + " step" : "the first value is zero";
}

function sentence(row, metric) {
  const series = seriesOf(row, metric), shown = (v, at) => (v === null ? "no number" : number(v)) + " at step " + at;
  const gap = reading(row, metric, "change");
  return metricTitle(metric) + " " + shown(series[0], data.steps[0]) + ", " + shown(series[series.length - 1], data.steps[data.steps.length - 1]) +
    (gap === null ? "" : ", change " + signed(gap)) + " (" + row.a + " × " + row.b + ")";
}

const ends = (name) => ["first", "last", "change", "relative"].map((mode) => [mode === "relative" ? "change / |first|" : mode, (r) => reading(r, name, mode), (r) => why(r, name, mode)]);
const GROUPS = {
  ...Object.fromEntries(data.columns.map((c) => [c.name, [c.title, ends(c.name)]])),
  all: ["changes of all metrics", data.columns.map((c) => [c.name, (r) => reading(r, c.name, "change"), (r) => why(r, c.name, "change")])],
};

function csvColumns() {
  return [["status", (r) => r.s], ...data.columns.flatMap((c) => ["first", "last", "change"].map((mode) => [c.name + "_" + mode, (r) => reading(r, c.name, mode)])),
    ["stack", (r) => r.k], ["module", (r) => r.o], ["expert", (r) => r.e]];
}
