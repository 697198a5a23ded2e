// All rows: sorted, filtered, a page at a time; CSV of what the filters leave. GROUPS and csvColumns are the page's.
const PAGE = 50, PAPER = 500; // rows at a time on the screen, and in print
const IDENTITY = [["name", (r) => r.n], ["role", (r) => r.r], ["layer", (r) => r.y], ["rows", (r) => r.a], ["cols", (r) => r.b], ["status", (r) => r.s]];
const table = { sort: null, down: false, page: 0, size: PAGE, order: [] };

function setUpTable() {
  fill($("row-role"), [["", "all"], ...data.roles.map((r) => [r, r])]);
  fill($("row-stack"), [["*", "all"], ...data.stacks.map((s) => [s, s || "main"])]);
  $("row-stack").closest("label").hidden = data.stacks.length < 2;
  fill($("row-status"), [["", "all"], ...[...new Set(rows.map((r) => r.s))].map((s) => [s, s])]);
  fill($("row-columns"), Object.entries(GROUPS).filter(([, [, columns]]) => columns.length).map(([key, [label]]) => [key, label]));
  for (const id of ["row-role", "row-stack", "row-status", "row-name"]) $(id).addEventListener("input", () => { table.page = 0; drawTable(); });
  $("row-columns").addEventListener("input", drawTable);
  $("page-before").addEventListener("click", () => { table.page--; drawTable(); });
  $("page-after").addEventListener("click", () => { table.page++; drawTable(); });
  $("csv").addEventListener("click", () => saveCsv("spectra.csv", csvText()));
  drawTable();
}

// More rows at a time, from the first; and back to the page that was there.
function forPaper(printing) {
  if (!$("table")) return;
  if (printing) table.before = table.page;
  table.size = printing ? PAPER : PAGE;
  table.page = printing ? 0 : table.before;
  drawTable();
}

function compare(a, b) {
  if (a === null || b === null) return a === b ? 0 : a === null ? 2 : -2; // what is missing comes last either way
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
}

function drawTable() {
  const columns = [...IDENTITY, ...GROUPS[$("row-columns").value][1]];
  const name = $("row-name").value.toLowerCase(), role = $("row-role").value, stack = $("row-stack").value, status = $("row-status").value;
  table.order = rows.map((_, i) => i).filter((i) => {
    const r = rows[i];
    return (!name || r.n.toLowerCase().includes(name)) && (!role || r.r === role) && (stack === "*" || r.k === stack) && (!status || r.s === status);
  });
  const sorted = columns.find(([title]) => title === table.sort);
  if (sorted) {
    const keys = new Map(table.order.map((i) => [i, sorted[1](rows[i])]));
    table.order.sort((i, j) => {
      const found = compare(keys.get(i), keys.get(j));
      return (Math.abs(found) === 2 && (keys.get(i) === null || keys.get(j) === null) ? found : table.down ? -found : found) || i - j;
    });
  }
  const pages = Math.max(1, Math.ceil(table.order.length / table.size));
  table.page = Math.min(Math.max(0, table.page), pages - 1);
  const shown = table.order.slice(table.page * table.size, (table.page + 1) * table.size);
  $("table").replaceChildren(tableHead(columns), el("tbody", {}, ...shown.map((i) => tableRow(i, columns))));
  $("page-say").textContent = table.order.length + " of " + rows.length + ", page " + (table.page + 1) + " of " + pages;
  $("page-before").disabled = table.page === 0;
  $("page-after").disabled = table.page === pages - 1;
}

function tableHead(columns) {
  return el("thead", {}, el("tr", {}, ...columns.map(([title]) => {
    const mine = table.sort === title, state = !mine ? "none" : table.down ? "descending" : "ascending";
    const sort = () => {
      table.down = mine && !table.down;
      table.sort = title;
      table.page = 0;
      drawTable();
      const again = [...$("table").querySelectorAll("thead button")].find((b) => b.dataset.column === title);
      if (again) again.focus({ preventScroll: true });
    };
    return el("th", { scope: "col", "aria-sort": state, class: ["name", "role", "status"].includes(title) ? "text" : "" },
      el("button", { type: "button", "data-column": title, onclick: sort }, title + (mine ? (table.down ? " ▼" : " ▲") : "")));
  })));
}

function tableRow(i, columns) {
  const row = rows[i];
  return el("tr", {}, ...columns.map(([title, get, missing]) => {
    if (title === "name") return el("td", { class: "id", title: clean(row.n) }, el("a", { href: "#matrix", "data-row": i }, clean(row.n)));
    const v = get(row);
    if (v === null) return el("td", { class: "missing" }, missing ? missing(row) : "–");
    const text = typeof v === "number" ? number(v) : typeof v === "boolean" ? (v ? "yes" : "no") : clean(v);
    return el("td", { class: typeof v === "string" ? "text" : "" }, text);
  }));
}

function csvText() {
  const columns = [["name", (r) => r.n], ["tensor", (r) => r.t], ["layer", (r) => r.y], ["role", (r) => r.r], ["rows", (r) => r.a], ["cols", (r) => r.b], ...csvColumns()];
  return csvOf([columns.map(([title]) => title), ...table.order.map((i) => columns.map(([, get]) => get(rows[i])))]);
}
