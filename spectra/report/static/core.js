// The page's data, text made safe, numbers as words.
const data = JSON.parse(document.getElementById("data").textContent);
const rows = data.rows;
const $ = (id) => document.getElementById(id);
const columnAt = new Map(data.columns.map((c, i) => [c.name, i]));

// A name from a file: control, direction and other invisible characters made visible.
const clean = (text) => String(text).replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (c) => "\\u{" + c.codePointAt(0).toString(16) + "}");
// The same for plotly, which reads tags and entities in every text it draws.
const plotText = (text) => clean(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

function el(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key === "class") made.className = value;
    else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value);
  }
  made.append(...children.filter((c) => c !== null && c !== undefined));
  return made;
}

function fill(select, options, chosen) {
  select.replaceChildren(...options.map(([value, text]) => el("option", { value }, clean(text))));
  if (chosen !== undefined) select.value = chosen;
}

function number(value, digits = 4) {
  if (typeof value !== "number") return "–";
  if (Number.isInteger(value) && Math.abs(value) < 1e7) return String(value);
  const size = Math.abs(value);
  const text = size >= 1e6 || (size < 1e-3 && size > 0) ? value.toExponential(digits - 1) : String(Number(value.toPrecision(digits)));
  return text.replace("-", "−");
}
// mean ± sd; an sd of rounding is none.
const spread = (found) => number(found[0]) + (found[1] === null ? "" : " ± " + (found[1] < 1e-9 * Math.abs(found[0]) ? "0" : number(found[1], 2)));
const signed = (value, digits = 3) => (typeof value === "number" && value > 0 ? "+" : "") + number(value, digits);

const metricTitle = (name) => data.columns[columnAt.get(name)].title;
const value = (row, name) => { const v = row.v[columnAt.get(name)]; return v === undefined ? null : v; };
const layerLabel = (row) => (row.y === null ? "no layer" : "layer " + row.y);

function median(values) {
  const sorted = values.slice().sort((a, b) => a - b), middle = sorted.length >> 1;
  return sorted.length ? (sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2) : null;
}
function quantile(sorted, share) {
  const at = share * (sorted.length - 1), low = Math.floor(at);
  return sorted[low] + (at - low) * ((sorted[low + 1] ?? sorted[low]) - sorted[low]);
}
