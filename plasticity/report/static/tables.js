// Tables: sorted by a heading, a few rows at a time, all of them on paper and as CSV.
const FEW = 30;
const made = new Map(data.tables.map((t) => [t.id, { ...t, sort: null, down: false, all: false }]));

function setUpTables() {
  for (const t of made.values()) drawTable(t);
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-csv], button[data-all]");
    if (!button) return;
    if (button.dataset.csv) { saveCsv(button.dataset.csv.replace("-table", ".csv"), csvText(button.dataset.csv)); return; }
    const t = made.get(button.dataset.all);
    t.all = !t.all;
    drawTable(t);
  });
}

const sortKey = (v, kind) => (kind === "interval" ? (v ? v[0] : null) : v === "" || v === undefined ? null : v);
function sorted(t) {
  if (t.sort === null) return t.rows;
  const kind = t.columns[t.sort].k, key = (row) => sortKey(row[t.sort], kind);
  return t.rows.map((row, i) => [row, i]).sort(([a, i], [b, j]) => {
    const x = key(a), y = key(b);
    if (x === null || y === null) return (x === null) - (y === null) || i - j; // what is missing comes last either way
    const found = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y), "en", { numeric: true });
    return (t.down ? -found : found) || i - j;
  }).map(([row]) => row);
}

function drawTable(t, focus = null) {
  const target = $(t.id);
  if (!target) return;
  const head = el("thead", {}, el("tr", {}, ...t.columns.map((c, i) => {
    const mine = t.sort === i, state = !mine ? "none" : t.down ? "descending" : "ascending";
    return el("th", { scope: "col", "aria-sort": state, class: c.k }, el("button", { type: "button", "data-column": i, onclick: () => { t.down = mine && !t.down; t.sort = i; drawTable(t, i); } }, clean(c.t) + (mine ? (t.down ? " ▼" : " ▲") : "")));
  })));
  const rows = t.all ? sorted(t) : sorted(t).slice(0, FEW);
  target.replaceChildren(head, el("tbody", {}, ...rows.map((row) => el("tr", {}, ...row.map((v, i) => tableCell(v, t.columns[i].k))))));
  const more = document.querySelector('button[data-all="' + t.id + '"]');
  more.hidden = t.rows.length <= FEW;
  more.textContent = t.all ? "Show the first " + FEW : "Show all " + t.rows.length;
  if (focus !== null) target.querySelector('button[data-column="' + focus + '"]').focus({ preventScroll: true });
}

function tableCell(v, kind) {
  if (kind === "method" && v) return el("td", { title: clean(v) }, "(" + (data.methods.indexOf(v) + 1) + ")");
  if (kind === "interval") return v && typeof v[0] === "number" ? el("td", {}, number(v[0]) + " to " + number(v[1])) : el("td", { class: "missing" }, "–");
  if (v === null || v === undefined || v === "") return el("td", { class: "missing " + (kind === "number" ? "" : kind) }, kind === "long" ? "" : "–");
  return el("td", { class: kind === "number" ? "" : kind, ...(kind === "text" ? { title: clean(v) } : {}) }, typeof v === "number" ? number(v) : clean(v));
}

// Intervals are two columns.
function csvText(id = "points-table") {
  const t = made.get(id), wide = (c) => (c.k === "interval" ? [c.t + " low", c.t + " high"] : [c.t]);
  const flat = (row) => row.flatMap((v, i) => (t.columns[i].k === "interval" ? v || [null, null] : [v]));
  return csvOf([t.columns.flatMap(wide), ...sorted(t).map(flat)]);
}

// Before printing all rows, afterwards as it was.
function forPaper(printing) {
  for (const t of made.values()) {
    if (printing) { t.was = t.all; t.all = t.rows.length <= 500; } else t.all = t.was;
    drawTable(t);
  }
}
