// Scores after fine-tuning: a panel a task, against the numbers of the bases, by setting, and stability beside plasticity.
const pointsOf = (wanted) => data.points.filter((p) => p.v !== null && Object.entries(wanted).every(([key, v]) => p[key] === v));
const beside = (x) => (x === null ? "" : "\u00a0\u00a0" + plotText(data.axis.labels[x]));
const kindName = (c) => data.scores[c].n;
const scoreHover = (share) => (p) => whose(p) + ": " + shown(p.v, share) + between(p, (v) => shown(v, share)) +
  "<br>" + [p.q ? p.q + " questions" : "", p.n ? p.n + (p.n === 1 ? " seed" : " seeds") : ""].filter(Boolean).join(", ");
const scoreAxis = (c) => ({ title: { text: plotText(kindName(c)) + (data.scores[c].lower ? " (lower is better)" : "") }, ...(data.scores[c].share ? { tickformat: ".1~%" } : {}) });

function setUpScores() {
  if (!$("scores")) return;
  const several = new Set(data.main).size > 1 ? [["main", "the main one of each task"]] : [];
  fill($("score-kind"), [...several, ...data.scores.map((s, i) => [String(i), s.n])]);
  if ($("score-setting")) fill($("score-setting"), options(data.settings));
  const panels = data.tasks.map((_, t) => "score-" + t);
  fill($("score-line"), [["", "all"], ...lineIndices.filter((l) => data.points.some((p) => p.l === l && !p.o)).map((l) => [String(l), data.lines[l]])]);
  $("score-line").closest("label").hidden = $("score-line").options.length < 3;
  onChange(["score-kind", "score-setting", "score-line"], () => { hidePanels(); drawLegend(); redraw(...panels); });
  panels.forEach((id, t) => chart(id, () => { if (t === 0) drawLegend(); return scorePanel(t, kindOf(t), chosen("score-setting")); }));
  hidePanels();
  drawLegend();
}

const kindOf = (t) => ($("score-kind").value === "main" ? data.main[t] : chosen("score-kind"));
// Panels of tasks that do not have the score, or the setting, are not there.
function hidePanels() {
  data.tasks.forEach((_, t) => { $("score-" + t).closest("figure").hidden = !pointsOf({ t, c: kindOf(t), s: chosen("score-setting") }).some((p) => shownLines().includes(p.l)); });
}
// The scores that a task has, in a select beside that of tasks.
function fillKinds(kind, task) {
  const t = chosen(task), known = data.scores.map((s, c) => [String(c), s.n]).filter(([c]) => data.points.some((p) => p.t === t && p.c === Number(c)));
  const before = $(kind).value;
  fill($(kind), known, known.some(([c]) => c === before) ? before : String(data.main[t]));
  $(kind).closest("label").hidden = known.length < 2;
}

const shownLines = () => ($("score-line").value === "" ? lineIndices : [chosen("score-line")]);

function drawLegend() {
  const s = chosen("score-setting"), shownPoints = pointsOf({ s }).filter((p) => p.c === kindOf(p.t)), tuned = shownPoints.filter((p) => !p.o), items = [];
  for (const l of shownLines()) if (tuned.some((p) => p.l === l)) items.push([sample({ colour: ink(l), dot: "full", band: true, dash: data.axis.nominal ? null : "" }), data.lines[l] + ", fine-tuned"]);
  if (shownPoints.some((p) => p.o && shownLines().includes(p.l))) items.push([sample({ colour: ink(0), dash: "5 3" }), "from random weights"]);
  if (data.before.some((p) => p.c === kindOf(p.t))) items.push([sample({ colour: ink(0), dash: null, dot: "open" }), "base, before"]);
  legend("score-legend", items);
}

function scorePanel(t, c, s) {
  const share = data.scores[c].share, traces = [];
  for (const l of shownLines()) {
    traces.push(...scratch(pointsOf({ l, t, c, s, o: 1 }), l, share));
    traces.push(...banded(pointsOf({ l, t, c, s, o: 0 }), l, scoreHover(share)));
    const before = data.before.filter((p) => p.l === l && p.t === t && p.c === c && p.v !== null && p.x !== null);
    if (before.length) traces.push({ type: "scatter", mode: "markers", x: before.map((p) => p.x + dodge(l)), y: before.map((p) => p.v), hoverinfo: "text",
      text: before.map((p) => plotText(p.b) + ", before: " + shown(p.v, share) + between(p, (v) => shown(v, share))), marker: { size: 7, symbol: "circle-open", color: ink(l), line: { width: 1.5 } } });
  }
  return traces.length ? { traces, layout: { xaxis: along(), yaxis: scoreAxis(c), showlegend: false } } : "No " + kindName(c) + " of this task";
}

// The control from random weights belongs to no place of the axis: a level across all of them.
function scratch(points, l, share) {
  const ends = [-0.45, places - 0.55];
  return points.flatMap((p) => {
    const say = (p.w && p.w !== "from scratch" ? plotText(p.w) : "from random weights") + ": " + shown(p.v, share) + between(p, (v) => shown(v, share)), made = [];
    if (typeof p.lo === "number") made.push({ type: "scatter", mode: "lines", fill: "toself", hoverinfo: "skip", line: { width: 0 }, fillcolor: see(ink(l), 0.07), x: [...ends, ends[1], ends[0]], y: [p.lo, p.lo, p.hi, p.hi] });
    made.push({ type: "scatter", mode: "lines", x: [ends[0], ...data.axis.labels.map((_, i) => i), ends[1]], y: Array(places + 2).fill(p.v), line: { color: ink(l), dash: "dash", width: 1.6 }, text: Array(places + 2).fill(say), hoverinfo: "text" });
    return made;
  });
}

// Numbers of a base that may tell how it learns: key as in the correlations, title, and how it is read off a base.
const PREDICTORS = [
  ["eval_loss", "validation loss", (b) => b.loss], ["gap", "train-val gap", (b) => b.gap.v],
  ["pseudo_rank_qk", "pseudo-rank of W_QK", (b) => b.final.pseudo_rank_qk], ["pseudo_rank_vp", "pseudo-rank of W_VP", (b) => b.final.pseudo_rank_vp],
  ["alpha_sd", "spread of alpha", (b) => b.final.alpha_sd],
  ["probe mean", "probe accuracy, mean over tasks, each at the layer best in validation", (b) => (probeTasks.length > 1 ? probeMean(b, probeTasks) : null)],
  ["probe best of test", "probe accuracy" + (probeTasks.length > 1 ? ", mean over tasks," : "") + " at its best layer (chosen on test texts, as the paper does)", (b) => b.probe],
  ...[...new Set(data.bases.flatMap((b) => Object.keys(b.probes)))].map((task) => ["probe:" + task, "probe accuracy, " + task, (b) => (b.probes[task] ? b.probes[task].v : null)]),
].filter(([, , get]) => data.bases.some((b) => typeof get(b) === "number"));

function setUpAgainst() {
  if (!$("against-plot")) return;
  if (!PREDICTORS.length) { $("against-plot").closest(".plots > div").hidden = true; return; }
  fill($("against-of"), PREDICTORS.map(([, title], i) => [String(i), title]));
  fill($("against-task"), data.tasks.map((t, i) => [String(i), taskName(t)]));
  fillKinds("against-kind", "against-task");
  if ($("against-setting")) fill($("against-setting"), options(data.settings));
  $("against-task").addEventListener("change", () => fillKinds("against-kind", "against-task"));
  chart("loo-plot", looPlot);
  for (const [id, few] of [["against-task", data.tasks], ["against-of", PREDICTORS]]) $(id).closest("label").hidden = few.length < 2;
  onChange(["against-of", "against-task", "against-kind", "against-setting"], () => { sayAgainst(); redraw("against-plot", "loo-plot"); });
  chart("against-plot", () => {
    const [key, title, get] = PREDICTORS[chosen("against-of")], t = chosen("against-task"), c = chosen("against-kind"), share = data.scores[c].share;
    const at = averages(get), traces = [];
    for (const l of lineIndices) {
      const points = pointsOf({ l, t, c, s: chosen("against-setting"), o: 0 }).filter((p) => at.has(cell(l, p.x))).sort(byPlace);
      if (!points.length) continue;
      traces.push({ type: "scatter", mode: "markers+text", name: plotText(data.lines[l]), x: points.map((p) => at.get(cell(l, p.x)).v), y: points.map((p) => p.v), marker: marker(l, 10),
        text: points.map((p) => beside(p.x)), textposition: "middle right", textfont: { size: 11, color: css("--dim") }, cliponaxis: false, error_y: { ...errors(points, see(ink(l), 0.5)), thickness: 1 },
        hovertext: points.map((p) => scoreHover(share)(p) + "<br>" + plotText(title) + " " + number(at.get(cell(l, p.x)).v) + (doubtful(key) && doubted(l, p.x) ? DOUBT : "")), hoverinfo: "text" });
    }
    return traces.length ? { traces, layout: { xaxis: { title: { text: wrapped(title + (doubtful(key) ? " (nats a token)" : "")) } }, yaxis: scoreAxis(c), showlegend: data.lines.length > 1 } } : "No base has both numbers";
  });
  sayAgainst();
}

function sayAgainst() {
  const [key, title] = PREDICTORS[chosen("against-of")], task = data.tasks[chosen("against-task")], kind = kindName(chosen("against-kind"));
  $("against-caption").textContent = clean((doubtful(key) && data.bases.some((b) => b.warn) ? "⚠ " : "") + kind + ", " + taskName(task) + ", against " + title + "; beside each point its " + data.axis.title + (data.settings.length > 1 ? "; setting: " + data.settings[chosen("against-setting")] : ""));
  const told = (name, f) => (!f ? "" : f.v === null ? (f.why || name + " cannot be given").replace(/\.$/, "") : name + " " + number(f.v, 2) + " (n = " + f.n + (typeof f.lo === "number" ? "; with any one point left out " + number(f.lo, 2) + " to " + number(f.hi, 2) : "") + ")");
  const lines = correlated().map((one) => (data.lines.length > 1 ? one.group + ": " : "") + [...new Set([told("Pearson r", one.pearson), told("Spearman rho", one.spearman)])].filter(Boolean).join("; ") + "." + (one.warn ? " ⚠ " + one.warn : ""));
  const drawn = pointsOf({ t: chosen("against-task"), c: chosen("against-kind"), s: chosen("against-setting"), o: 0 });
  if (lines.length && new Set(drawn.map((p) => p.n)).size > 1) lines.push("Some bases have more seeds than others: points are over all seeds of each, correlations over those that all have.");
  if (!lines.length) lines.push("No correlation was computed of this score; those of the main scores are in the table.");
  $("against-say").replaceChildren(...lines.map((line) => el("span", {}, clean(line))));
  $("loo-figure").hidden = !correlated().some(leftOut);
  $("loo-caption").textContent = clean("The same correlation with each point left out in turn (● Pearson, ◇ Spearman); lines: with all points; named: the one that moves Pearson's r most");
}

// Rests on losses, which bases of different tokenizers do not share.
const doubtful = (key) => key === "eval_loss" || key === "gap";
// A long title in two lines.
function wrapped(title, width = 48) {
  const text = plotText(title), at = text.indexOf(" ", width);
  return at < 0 ? text : text.slice(0, at) + "<br>" + text.slice(at + 1);
}
// The correlations of what is chosen, in its fine-tuning setting: one a line of bases, and one over all of them.
function correlated() {
  const of = PREDICTORS[chosen("against-of")][0], name = data.tasks[chosen("against-task")] + " " + kindName(chosen("against-kind"));
  return data.correlations.filter((one) => one.s === chosen("against-setting") && one.of === of && one.with === name);
}
const leftOut = (one) => one.pearson && one.pearson.without.some(([, v]) => v !== null);

// A dot a point left out (figure 10). Of several lines of bases each has a stretch of the axis, under its name.
function looPlot() {
  const found = correlated().filter(leftOut), traces = [], ticks = [];
  let from = 0;
  found.forEach((one, i) => {
    const names = one.pearson.without.map(([name]) => name), at = names.map((_, j) => from + j), ends = [from - 0.4, from + names.length - 0.6], own = ink(i);
    const say = (kind) => ([name, v]) => plotText((found.length > 1 ? one.group + ": " : "") + kind + " without " + name + ": " + number(v, 3)) + (one.warn ? DOUBT : "");
    for (const [f, kind, symbol, shift] of [[one.pearson, "Pearson r", "circle", 0], [one.spearman, "Spearman rho", "diamond-open", 0.18]]) {
      if (!f || f.v === null) continue;
      const dash = symbol === "circle" ? "solid" : "dot";
      traces.push({ type: "scatter", mode: "lines", x: ends, y: [f.v, f.v], line: { color: see(own, 0.6), width: 1.5, dash }, hoverinfo: "text", text: Array(2).fill(plotText(one.group + ": " + kind + " of all " + f.n + " points: " + number(f.v, 3))) });
      traces.push({ type: "scatter", mode: "markers+text", x: at.map((v) => v + shift), y: f.without.map(([, v]) => v), marker: { size: 8, symbol, color: own, line: { width: 1.5, color: own } }, hoverinfo: "text", hovertext: f.without.map(say(kind)),
        text: f.without.map(([name]) => (symbol === "circle" && f.most.includes(name) ? plotText(name) : "")), textposition: "top center", textfont: { size: 11, color: css("--dim") }, cliponaxis: false });
    }
    if (found.length > 1) ticks.push([from + (names.length - 1) / 2, one.group]);
    else names.forEach((name, j) => ticks.push([at[j], name]));
    from += names.length + 1;
  });
  if (!traces.length) return "With fewer than four points none can be left out";
  return { traces, layout: { showlegend: false, yaxis: { title: { text: "correlation" }, range: [-1.12, 1.12], zeroline: true, zerolinecolor: css("--dim") },
    xaxis: { tickmode: "array", tickvals: ticks.map(([x]) => x), ticktext: ticks.map(([, text]) => plotText(text)), title: { text: found.length > 1 ? "" : plotText("left out: " + data.axis.title) }, showgrid: false } } };
}

function setUpGrid() {
  if (!$("settings")) return;
  fill($("grid-task"), data.tasks.map((t, i) => [String(i), taskName(t)]));
  fillKinds("grid-kind", "grid-task");
  $("grid-task").addEventListener("change", () => fillKinds("grid-kind", "grid-task"));
  fillLines("grid-line", (l) => data.points.some((p) => p.l === l && p.o === 0));
  onChange(["grid-kind", "grid-task", "grid-line"], () => redraw("grid-plot", "best-plot"));
  $("grid-plot").style.height = Math.max(380, 90 + 26 * data.settings.length) + "px";
  chart("grid-plot", () => {
    const c = chosen("grid-kind"), points = pointsOf({ t: chosen("grid-task"), c, l: chosen("grid-line"), o: 0 }), share = data.scores[c].share;
    if (!points.length) return "No such scores";
    const z = data.settings.map((_, s) => data.axis.labels.map((_, x) => { const p = points.find((q) => q.s === s && q.x === x); return p ? p.v : null; }));
    return { traces: [{ type: "heatmap", z, x: data.axis.labels.map((_, i) => i), y: data.settings.map(plotText), colorscale: VIRIDIS.map((v, i) => [i / (VIRIDIS.length - 1), v]), reversescale: data.scores[c].lower, xgap: 2, ygap: 2, hoverongaps: false,
      text: z.map((row) => row.map((v) => (v === null ? "" : shown(v, share)))), texttemplate: "%{text}", hoverinfo: "text", showscale: false }],
    layout: { xaxis: along(), yaxis: { autorange: "reversed", title: { text: "" }, tickfont: { size: 11 } }, showlegend: false } };
  });
  chart("best-plot", () => {
    const t = chosen("grid-task"), c = chosen("grid-kind"), { share, lower } = data.scores[c], traces = [];
    for (const l of lineIndices) {
      const points = pointsOf({ t, c, l, o: 0 }), at = data.axis.labels.map((_, x) => points.filter((p) => p.x === x));
      const rows = at.map((found, x) => ({ l, x, best: found.length ? found.reduce((a, b) => ((lower ? b.v < a.v : b.v > a.v) ? b : a)) : null, mean: mean(found.map((p) => p.v)), n: found.length })).filter((r) => r.n);
      for (const [what, y, say] of [["best", (r) => r.best.v, (r) => "best: " + plotText(data.settings[r.best.s])], ["mean", (r) => r.mean, (r) => "mean of " + r.n + " settings"]])
        if (rows.length) traces.push({ type: "scatter", mode: "lines+markers", name: plotText(data.lines[l]) + ", " + what, x: rows.map((r) => r.x + dodge(l)), y: rows.map(y), marker: marker(l), line: look(l, { dash: what === "best" ? "solid" : "dot" }),
          hoverinfo: "text", text: rows.map((r) => whose(r) + ": " + shown(y(r), share) + "<br>" + say(r)) });
    }
    return traces.length ? { traces, layout: { xaxis: along(), yaxis: scoreAxis(c) } } : "No such scores";
  });
}

// Figure 17 has upstream accuracy along the axis, figure 18 stability; a point a base, of one fine-tuning setting.
function setUpTradeoffs() {
  if (!$("tradeoffs")) return;
  const settings = [...new Set(data.tradeoffs.map((p) => p.s))];
  if ($("trade-setting")) fill($("trade-setting"), options(settings));
  onChange(["trade-setting"], () => redraw("trade-plot", "upstream-plot"));
  const sides = [["trade-plot", "stability", "stability: change of upstream accuracy (points)"], ["upstream-plot", "upstream", "upstream accuracy after fine-tuning"]];
  for (const [id, key, title] of sides) chart(id, () => tradePlot(settings[chosen("trade-setting")], key, title));
}

function tradePlot(setting, key, title) {
  const here = data.tradeoffs.filter((p) => p.s === setting && p[key].v !== null), traces = [];
  for (const l of lineIndices) {
    const points = here.filter((p) => p.l === l).sort(byPlace), tint = see(ink(l), 0.5);
    if (!points.length) continue;
    const show = (p) => (v) => shown(v, p.share), scale = key === "stability" ? 100 : 1, points100 = (v) => (v > 0 ? "+" : "") + number(100 * v, 3) + " points";
    const of = points.map((p) => ({ v: scale * p[key].v, lo: p[key].lo === null ? null : scale * p[key].lo, hi: p[key].hi === null ? null : scale * p[key].hi })), say = key === "stability" ? points100 : percent;
    traces.push({ type: "scatter", mode: data.axis.nominal ? "markers+text" : "lines+markers+text", name: plotText(data.lines[l]), x: of.map((one) => one.v), y: points.map((p) => p.plasticity.v), marker: marker(l, 10), line: { color: see(ink(l), 0.35), width: 1 },
      text: points.map((p) => beside(p.x)), textposition: "middle right", textfont: { size: 11, color: css("--dim") }, cliponaxis: false,
      error_x: { ...errors(of, tint), thickness: 1 }, error_y: { ...errors(points.map((p) => p.plasticity), tint), thickness: 1 }, hoverinfo: "text",
      hovertext: points.map((p) => whose(p) + "<br>" + key + " " + say(p[key].v) + between(p[key], say) + "<br>plasticity " + show(p)(p.plasticity.v) + between(p.plasticity, show(p)) + (p.why ? "<br>" + plotText(p.why) : "")) });
  }
  if (!traces.length) return "No base has both numbers in this setting";
  const of = [...new Set(here.map((p) => p.of + (p.lower ? " (lower is better)" : "")))].join("; ");
  return { traces, layout: { xaxis: { title: { text: title }, ...(key === "stability" ? { zeroline: true, zerolinecolor: css("--dim") } : { tickformat: ".1~%" }) },
    yaxis: { title: { text: wrapped("plasticity: " + of, 26) }, ...(here.every((p) => p.share) ? { tickformat: ".1~%" } : {}) }, showlegend: data.lines.length > 1 } };
}
