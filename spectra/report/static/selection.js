// Which row is looked at: the map, the table, the verdict and the list choose; drawPanel is the page's.
let selected = -1;

function setUpSelection() {
  $("pick").addEventListener("change", () => choose(Number($("pick").value)));
  $("before").addEventListener("click", () => choose(selected - 1));
  $("after").addEventListener("click", () => choose(selected + 1));
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-row]");
    if (!link) return;
    event.preventDefault();
    choose(Number(link.dataset.row), { scroll: true });
  });
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
  drawPanel(row);
  markGrid("heat");
  if (scroll) { $("matrix").scrollIntoView({ block: "start" }); $("pick").focus({ preventScroll: true }); }
}

const whereabouts = (row) => [row.k, row.r, layerLabel(row), row.e === null ? "" : "expert " + row.e];

// The row as a table. A line: title, name (shown when pointed at), cells as text; where the first is null, why.
function fillNumbers(headings, lines, id = "numbers") {
  const head = el("thead", {}, el("tr", {}, ...headings.map((t) => el("th", { scope: "col" }, t))));
  const body = lines.map(({ title, name, missing, cells }) => el("tr", {}, el("th", { scope: "row", title: name }, title),
    ...cells.map((text, i) => (text === null ? el("td", { class: "missing" }, i === 0 ? missing : "–") : el("td", {}, text)))));
  $(id).replaceChildren(head, el("tbody", {}, ...body));
}
