// One pair, and the order in which the page of a comparison comes to life.
function drawPanel(row) {
  const dtypes = row.d === row.f ? row.d : row.d + " in A, " + row.f + " in B";
  $("panel-what").textContent = [...whereabouts(row), row.a + " × " + row.b, dtypes, row.m === null ? "" : "in B: " + row.m, row.s === "no update" ? "" : "update " + row.s]
    .filter(Boolean).map(clean).join(" · ");
  const title = (c) => c.title + (c.unit && c.unit !== "1" ? " [" + c.unit + "]" : "");
  const shown = (name, mode, show) => { const v = reading(row, name, mode); return v === null ? null : show(v, 5); };
  fillNumbers(["quantity", "B − A", "A", "B", "(B − A) / |A|"], ofBoth.map((c) => ({ title: title(c), name: c.name, missing: why(row, c.name, "difference"),
    cells: [shown(c.name, "difference", signed), shown(c.name, "a", number), shown(c.name, "b", number), shown(c.name, "relative", signed)] })));
  if ($("update-numbers")) {
    fillNumbers(["quantity", "value"], ofUpdate.map((c) => ({ title: title(c), name: c.name, missing: why(row, c.name, "value"), cells: [shown(c.name, "value", number)] })), "update-numbers");
  }
}

setUpMap();
setUpSelection();
const named = document.querySelector(".finding a[data-row]");
choose(named ? Number(named.dataset.row) : 0);
setUpDepth();
setUpTable();
ready();
