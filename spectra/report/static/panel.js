// One matrix: its ESD with the fits, CCDF, Hill plot, and its row of numbers.
const FITS = [["alpha_hill", "Hill", "#d55e00", "dash"], ["alpha_gof", "goodness-of-fit", "#0072b2", "solid"], ["alpha_fix_finger", "fix-finger", "#009e73", "dot"]];

function setUpPanel() {
  $("pick").addEventListener("change", () => choose(Number($("pick").value)));
  $("before").addEventListener("click", () => choose(selected - 1));
  $("after").addEventListener("click", () => choose(selected + 1));
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-row]");
    if (!link) return;
    event.preventDefault();
    choose(Number(link.dataset.row), { scroll: true });
  });
  chart("esd", drawEsd);
  chart("ccdf", drawCcdf);
  chart("hill", drawHill);
}

// `among`: the matrices offered beside it (those of a cell); without it, the last offer stays where it has the matrix.
function choose(index, { scroll = false, among = null } = {}) {
  if (!rows[index]) return;
  selected = index;
  const row = rows[index], pick = $("pick");
  const offered = among && among.length > 1 ? among : [...pick.options].some((o) => Number(o.value) === index) && pick.options.length ? null : rows.map((_, i) => i);
  if (offered) fill(pick, offered.map((i) => [String(i), rows[i].n]));
  pick.value = String(index);
  $("before").disabled = index === 0;
  $("after").disabled = index === rows.length - 1;
  $("panel-name").textContent = clean(row.n);
  $("panel-what").textContent = [row.k, row.r, layerLabel(row), row.e === null ? "" : "expert " + row.e, row.a + " × " + row.b + " (M = " + row.M + ")", row.d, "status " + row.s, data.pooled ? "fits are of windows cut from the matrix, so they are not drawn" : ""]
    .filter(Boolean).map(clean).join(" · ");
  numbersOf(row);
  markSelected();
  redraw("esd", "ccdf", "hill");
  if (scroll) { $("matrix").scrollIntoView({ block: "start" }); $("pick").focus({ preventScroll: true }); }
}

// Fits that exist: alpha, xmin, tail size m.
function fitsOf(row) {
  if (data.pooled) return []; // of other eigenvalues than those drawn
  return FITS.filter(([name]) => columnAt.has(name) && value(row, name) !== null).map(([name, label, tone, dash]) => ({
    label: label + " α " + number(value(row, name), 3), alpha: value(row, name), xmin: value(row, name + "_xmin"), m: value(row, name + "_tail_size"), tone, dash,
  }));
}

// Positions in log10, labelled as powers: 1, 2, 5 of each decade where there are few decades.
function logTicks(low, high) {
  const steps = high - low > 6 ? [1] : high - low > 2.5 ? [1, 3] : [1, 2, 5], values = [], texts = [];
  const every = Math.max(1, Math.ceil((high - low) / 8));
  for (let e = Math.floor(low); e <= Math.ceil(high); e++) {
    if (e % every) continue;
    for (const s of steps) {
      const x = e + Math.log10(s);
      if (x >= low - 0.3 && x <= high + 0.3) { values.push(x); texts.push(Math.abs(e) > 3 ? (s > 1 ? s + "e" : "1e") + e : String(Number((s * 10 ** e).toPrecision(2)))); }
    }
  }
  return { tickmode: "array", tickvals: values, ticktext: texts };
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
const powers = (ticks) => ({ ...ticks, tickvals: ticks.tickvals.map((v) => 10 ** v) });

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
  const head = el("thead", {}, el("tr", {}, ...["quantity", "value", "random (mean ± sd)", "difference", "z"].map((t) => el("th", { scope: "col" }, t))));
  const body = el("tbody");
  for (const c of data.columns) {
    const v = value(row, c.name), found = nullOf(row, c.name);
    const shown = v === null ? why(row, c.name, "value") : typeof v === "boolean" ? (v ? "yes" : "no") : typeof v === "number" ? number(v, 5) : clean(v);
    const cell = (text) => el("td", {}, text);
    body.append(el("tr", {}, el("th", { scope: "row", title: c.name }, c.title + (c.unit && c.unit !== "1" ? " [" + c.unit + "]" : "")),
      el("td", v === null ? { class: "missing" } : {}, shown),
      cell(found && found[0] !== null ? spread(found) : ""),
      cell(found && found[2] !== null ? signed(found[2], 4) : ""), cell(found && found[3] !== null ? signed(found[3], 3) : "")));
  }
  $("numbers").replaceChildren(head, body);
}
