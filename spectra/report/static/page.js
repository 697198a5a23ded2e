// Theme, printing, and what the page tells whoever drives it.
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

// Paper is white, and shows what is folded; plotly paints with the colours of the moment.
let unfolded = [];
addEventListener("beforeprint", () => {
  unfolded = [...document.querySelectorAll("main details:not([open])")];
  for (const details of unfolded) details.open = true;
  document.documentElement.dataset.theme = "light";
  for (const id of charts.keys()) stale.add(id);
  drawStale(true);
  forPaper(true);
});
addEventListener("afterprint", () => {
  for (const details of unfolded) details.open = false;
  forPaper(false);
  setTheme(theme);
});

function ready() {
  window.spectraReport = { ready: true, milliseconds: performance.now(), draw: () => drawStale(true), csv: csvText, choose, find: (name) => rows.findIndex((r) => r.n === name) };
}
