// A heat map of buttons, so that keyboard and screen reader can use it: arrow keys move, Enter and click choose.
const grids = new Map();

// `sayId`: where the cell that is pointed at is put in words. `choose(cell)`; `chosen(cell)`: whether it is marked.
function setUpGrid(id, { sayId, choose, chosen }) {
  const target = $(id);
  grids.set(id, { cells: [], chosen });
  const say = (event) => {
    const button = event.target.closest("button");
    if (button) $(sayId).textContent = button.cell.text;
  };
  target.addEventListener("mouseover", say);
  target.addEventListener("focusin", (event) => {
    say(event);
    for (const other of target.querySelectorAll('[tabindex="0"]')) other.tabIndex = -1;
    event.target.tabIndex = 0;
  });
  target.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) choose(button.cell);
  });
  target.addEventListener("keydown", (event) => moveInGrid(grids.get(id).cells, event));
}

// `heads`: labels of the columns ("" where there is none); a line: label and cells, each null or { shown, text, ... }.
function drawGrid(id, { corner, heads, widths, lines, scale }) {
  const target = $(id), found = grids.get(id);
  target.style.gridTemplateColumns = "max-content " + widths.join(" ");
  const head = el("div", { class: "row", role: "row" }, el("span", { class: "head", role: "columnheader" }, corner));
  head.append(...heads.map((text) => el("span", { class: "head", role: "columnheader" }, text)));
  found.cells = [];
  const drawn = lines.map(({ label, cells }) => {
    const line = el("div", { class: "row", role: "row" }, el("span", { class: "role", role: "rowheader" }, label));
    found.cells.push(cells.map((cell) => {
      if (!cell) { line.append(el("span", { role: "gridcell" })); return null; }
      const button = el("button", { type: "button", role: "gridcell", tabindex: "-1", "aria-label": cell.text });
      button.cell = cell;
      if (cell.shown === null) button.classList.add("none");
      else button.style.background = colour(scale.scale, (cell.shown - scale.low) / (scale.high - scale.low));
      line.append(button);
      return button;
    }));
    return line;
  });
  target.replaceChildren(head, ...drawn);
  markGrid(id);
  const first = target.querySelector('[aria-selected="true"]') || target.querySelector("button");
  if (first) first.tabIndex = 0;
}

function markGrid(id) {
  const { cells, chosen } = grids.get(id);
  for (const line of cells) for (const button of line) if (button) button.setAttribute("aria-selected", String(chosen(button.cell)));
}

function drawScale(target, scale, show) {
  const none = [el("span", { class: "none" }), "no number (see its status)"];
  if (!scale) { target.replaceChildren(...none); return; }
  const ramp = el("span", { class: "ramp" });
  ramp.style.background = "linear-gradient(90deg," + scale.scale.join(",") + ")";
  target.replaceChildren((scale.clipped ? "≤ " : "") + show(scale.low, 3), ramp, (scale.clipped ? "≥ " : "") + show(scale.high, 3), ...none);
}

function moveInGrid(cells, event) {
  const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0], Home: [0, -1e9], End: [0, 1e9] };
  const move = steps[event.key], y = cells.findIndex((line) => line.includes(event.target));
  if (!move || y < 0) return;
  event.preventDefault();
  let i = y, j = cells[y].indexOf(event.target), target = null;
  if (Math.abs(move[1]) > 1) {
    const line = cells[y].filter((b) => b);
    target = move[1] < 0 ? line[0] : line[line.length - 1];
  }
  while (!target) {
    i += move[0]; j += move[1];
    if (!cells[i] || j < 0 || j >= cells[i].length) return;
    target = cells[i][j];
  }
  target.focus();
}
