// Theme, and the order in which the page comes to life.
const THEMES = ["auto", "light", "dark"];

function remembered() {
  try { return localStorage.getItem("spectra-theme") || "auto"; } catch { return "auto"; }
}

function setTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  $("theme").textContent = "Theme: " + theme;
  $("theme").setAttribute("aria-label", "Colour theme: " + (theme === "auto" ? "as the system" : theme));
  try { localStorage.setItem("spectra-theme", theme); } catch { /* a page from a file may keep nothing */ }
  redraw(...charts.keys());
}

let theme = THEMES.includes(remembered()) ? remembered() : "auto";
setTheme(theme);
$("theme").addEventListener("click", () => { theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length]; setTheme(theme); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraw(...charts.keys()));

if (rows.length) {
  setUpMap();
  wireMap();
  setUpPanel();
  drawMap();
  const first = document.querySelector(".finding a[data-row]");
  choose(first ? Number(first.dataset.row) : 0);
  setUpDepth();
  setUpCircuits();
  setUpExperts();
  setUpTable();
}
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("#coverage details, #glossary details, .finding details")) details.open = true;
  document.documentElement.dataset.theme = "light"; // paper is white; plotly paints with the colours of the moment
  for (const id of charts.keys()) stale.add(id);
  drawStale(true);
});
addEventListener("afterprint", () => setTheme(theme));
window.spectraReport = { ready: true, milliseconds: performance.now(), draw: () => drawStale(true), csv: csvText, choose, find: (name) => rows.findIndex((r) => r.n === name) };
