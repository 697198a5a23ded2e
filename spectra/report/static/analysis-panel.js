// One matrix: its ESD with the fits, CCDF, Hill plot, and its row of numbers.
const FITS = [["alpha_hill", "Hill", "#d55e00", "dash"], ["alpha_gof", "goodness-of-fit", "#0072b2", "solid"], ["alpha_fix_finger", "fix-finger", "#009e73", "dot"]];

function setUpPanel() {
  chart("esd", drawEsd);
  chart("ccdf", drawCcdf);
  chart("hill", drawHill);
}

function drawPanel(row) {
  $("panel-what").textContent = [...whereabouts(row), row.a + " × " + row.b + " (M = " + row.M + ")", row.d, "status " + row.s, data.pooled ? "fits are of windows cut from the matrix, so they are not drawn" : ""]
    .filter(Boolean).map(clean).join(" · ");
  numbersOf(row);
  redraw("esd", "ccdf", "hill");
}

// Fits that exist: alpha, xmin, tail size m.
function fitsOf(row) {
  if (data.pooled) return []; // of other eigenvalues than those drawn
  return FITS.filter(([name]) => columnAt.has(name) && value(row, name) !== null).map(([name, label, tone, dash]) => ({
    label: label + " α " + number(value(row, name), 3), alpha: value(row, name), xmin: value(row, name + "_xmin"), m: value(row, name + "_tail_size"), tone, dash,
  }));
}

function drawEsd() {
  const row = rows[selected];
  if (!row || !row.h) return "No spectrum: status " + (row ? row.s : "unknown");
  const [low, high, counts, zeros] = row.h, width = (high - low) / counts.length;
  const centres = counts.map((_, i) => low + (i + 0.5) * width), threshold = value(row, "tw_threshold");
  const cut = threshold > 0 ? Math.log10(threshold) : Infinity;
  const bar = (name, keep, tone) => ({
    type: "bar", name, x: centres.filter((x) => keep(x)), y: counts.filter((_, i) => keep(centres[i])), width, marker: { color: tone, line: { width: 0 } },
    hovertemplate: "%{y} eigenvalues near 10^%{x:.2f}<extra></extra>",
  });
  const starts = fitsOf(row).map((f) => f.m * (1 - 10 ** (width * (1 - f.alpha)))), highest = Math.max(...counts, 2);
  const top = Math.max(highest, Math.min(3 * highest, Math.max(0, ...starts)));
  const traces = [bar("eigenvalues", (x) => x <= cut, "#8a97a6")], spikes = value(row, "n_spikes");
  if (cut < high) traces.push(bar("above threshold (" + number(spikes) + ")", (x) => x > cut, "#cc79a7"));
  for (const fit of fitsOf(row)) {
    const begin = Math.log10(fit.xmin), xs = [], ys = [];
    for (let i = 0; i <= 40; i++) {
      const x = begin + ((high - begin) * i) / 40;
      const share = (at) => 10 ** ((at - begin) * (1 - fit.alpha));
      xs.push(x); ys.push(fit.m * (share(x) - share(x + width)));
    }
    traces.push({ type: "scatter", mode: "lines", name: fit.label, x: xs, y: ys, line: { color: fit.tone, dash: fit.dash, width: 2 }, hoverinfo: "name" });
    traces.push({ type: "scatter", mode: "markers", x: [begin], y: [ys[0]], marker: { color: fit.tone, size: 9, symbol: "diamond" }, showlegend: false,
      text: ["xmin " + number(fit.xmin) + ", tail " + fit.m], hoverinfo: "text" });
  }
  const edge = value(row, "mp_bulk_edge");
  const upright = (at, name, dash) => traces.push({ type: "scatter", mode: "lines", name, x: [at, at], y: [0.5, top * 1.3], line: { color: css("--ink"), dash, width: 1.3 }, hoverinfo: "name" });
  if (edge > 0) upright(Math.log10(edge), "bulk edge", "dashdot");
  if (threshold > 0) upright(cut, "Tracy-Widom 99%", "dot");
  const left = Math.min(low, edge > 0 ? Math.log10(edge) : low), right = Math.max(high, cut < Infinity ? cut : high);
  return { traces, layout: {
    barmode: "overlay", bargap: 0,
    xaxis: { title: { text: "eigenvalue" + (zeros ? " (" + zeros + " at zero not shown)" : "") }, range: [left - 0.05, right + 0.05], ...logTicks(left, right) },
    yaxis: { title: { text: "count" }, type: "log", range: [Math.log10(0.5), Math.log10(top * 1.6)], ...countTicks(top) },
  } };
}

function countTicks(top) {
  const values = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000].filter((v) => v <= top * 1.6);
  return { tickmode: "array", tickvals: values, ticktext: values.map(String) };
}

const NO_CURVE = "The analysis holds no upper spectrum of this matrix";

function drawCcdf() {
  const row = rows[selected];
  if (!row || !row.c) return NO_CURVE + (row && row.s !== "ok" ? ": status " + row.s : "");
  const [ranks, eigenvalues] = row.c, largest = eigenvalues[0];
  const traces = [{ type: "scatter", mode: "markers", name: "eigenvalues", x: eigenvalues, y: ranks.map((k) => k / row.M), marker: { color: "#8a97a6", size: 6 },
    text: ranks.map((k, i) => "rank " + k + ", " + number(eigenvalues[i])), hoverinfo: "text" }];
  for (const fit of fitsOf(row)) {
    const share = fit.m / row.M;
    traces.push({ type: "scatter", mode: "lines", name: fit.label, x: [fit.xmin, largest], y: [share, share * (largest / fit.xmin) ** (1 - fit.alpha)],
      line: { color: fit.tone, dash: fit.dash, width: 2 }, hoverinfo: "name" });
  }
  const low = Math.log10(Math.min(...eigenvalues.filter((v) => v > 0))), high = Math.log10(largest);
  return { traces, layout: {
    xaxis: { title: { text: "eigenvalue" }, type: "log", range: [low - 0.05, high + 0.1], ...powers(logTicks(low, high)) },
    yaxis: { title: { text: "share at or above" }, type: "log", range: [Math.log10(0.5 / row.M), 0.1], ...powers(logTicks(-Math.log10(row.M) - 0.3, 0)) },
  } };
}
function drawHill() {
  const row = rows[selected];
  if (!row || !row.c) return NO_CURVE + (row && row.s !== "ok" ? ": status " + row.s : "");
  const kept = row.c[0].map((k, i) => [k, row.c[2][i]]).filter(([k, a]) => a !== null && k > 1);
  if (!kept.length) return "No rank has a Hill alpha";
  const ks = kept.map(([k]) => k), alphas = kept.map(([, a]) => a), half = kept.map(([k, a]) => (a - 1) / Math.sqrt(k));
  const line = { type: "scatter", mode: "lines", hoverinfo: "skip", showlegend: false, line: { width: 0 } };
  const traces = [
    { ...line, x: ks, y: alphas.map((a, i) => a - half[i]) },
    { ...line, x: ks, y: alphas.map((a, i) => a + half[i]), fill: "tonexty", fillcolor: "rgba(86,140,190,0.25)", name: "± standard error", showlegend: true },
    { type: "scatter", mode: "lines", name: "Hill alpha", x: ks, y: alphas, line: { color: css("--ink"), width: 1.8 },
      text: ks.map((k, i) => "k " + k + ", α " + number(alphas[i], 3) + " ± " + number(half[i], 2)), hoverinfo: "text" },
  ];
  for (const fit of fitsOf(row)) {
    traces.push({ type: "scatter", mode: "markers", name: fit.label, x: [fit.m], y: [fit.alpha], marker: { color: fit.tone, size: 10, symbol: "diamond" },
      error_y: { type: "data", array: [(fit.alpha - 1) / Math.sqrt(fit.m)], color: fit.tone, thickness: 1.2 },
      text: ["k " + fit.m + ", " + fit.label], hoverinfo: "text" });
  }
  const found = columnAt.has("alpha_hill") && !data.pooled ? nullOf(row, "alpha_hill") : null;
  if (found && found[0] !== null) {
    traces.push({ type: "scatter", mode: "markers", name: "random matrix, Hill", x: [row.M >> 1], y: [found[0]], marker: { color: css("--dim"), size: 10, symbol: "x" }, hoverinfo: "name" });
  }
  const shown = alphas.filter((_, i) => ks[i] >= 4), sorted = (shown.length ? shown : alphas).slice().sort((a, b) => a - b);
  const top = Math.max(quantile(sorted, 0.97) * 1.3, ...fitsOf(row).map((f) => Math.min(f.alpha * 1.1, quantile(sorted, 1) * 2)), found && found[0] ? found[0] * 1.1 : 0);
  return { traces, layout: {
    xaxis: { title: { text: "k largest eigenvalues" }, type: "log", ...powers(logTicks(0, Math.log10(row.M))), range: [0, Math.log10(row.M) + 0.05] },
    yaxis: { title: { text: "alpha" }, range: [Math.min(1, sorted[0]), top] },
  } };
}

function numbersOf(row) {
  fillNumbers(["quantity", "value", "random (mean ± sd)", "difference", "z"], data.columns.map((c) => {
    const v = value(row, c.name), found = nullOf(row, c.name);
    const shown = v === null ? null : typeof v === "boolean" ? (v ? "yes" : "no") : typeof v === "number" ? number(v, 5) : clean(v);
    return { title: c.title + (c.unit && c.unit !== "1" ? " [" + c.unit + "]" : ""), name: c.name, missing: why(row, c.name, "value"),
      cells: [shown, found && found[0] !== null ? spread(found) : "", found && found[2] !== null ? signed(found[2], 4) : "", found && found[3] !== null ? signed(found[3], 3) : ""] };
  }));
}
