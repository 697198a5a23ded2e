// Rows as CSV (RFC 4180), and a file of them saved by whoever reads the page.
const quoted = (v) => {
  const text = v === null || v === undefined ? "" : String(v);
  return /[",\r\n]/.test(text) ? '"' + text.replace(/"/g, '""') + '"' : text;
};
const csvOf = (lines) => lines.map((line) => line.map(quoted).join(",")).join("\r\n") + "\r\n";

function saveCsv(name, text) {
  const url = URL.createObjectURL(new Blob([text], { type: "text/csv" })), link = el("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}
