// The order in which the page of an analysis comes to life.
if (rows.length) {
  setUpMap();
  setUpSelection();
  setUpPanel();
  const first = document.querySelector(".finding a[data-row]");
  choose(first ? Number(first.dataset.row) : 0);
  setUpDepth((metric, mode) => (mode === "value" ? (row) => (nullOf(row, metric) || [null])[0] : null), ["norm-plot"]);
  setUpNorms();
  setUpCircuits();
  setUpExperts();
  setUpTable();
}
ready();
