// Colours that the colour-blind tell apart: viridis for values, purple to orange through white for differences.
const VIRIDIS = ["#440154", "#482878", "#3e4a89", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"];
const DIVERGING = ["#2d004b", "#542788", "#8073ac", "#b2abd2", "#d8daeb", "#f7f7f7", "#fee0b6", "#fdb863", "#e08214", "#b35806", "#7f3b08"];
const LINES = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6bb1", "#999999", "#117733", "#882255"];
const DASHES = ["solid", "dash", "dot"];
const parts = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
function colour(scale, share) {
  const at = Math.min(1, Math.max(0, share)) * (scale.length - 1), low = Math.min(Math.floor(at), scale.length - 2);
  const a = parts(scale[low]), b = parts(scale[low + 1]);
  return "rgb(" + a.map((x, i) => Math.round(x + (b[i] - x) * (at - low))).join(",") + ")";
}

// Least and greatest colour: all but the outermost 2%, symmetric where zero is the middle.
function range(values, centred) {
  const sorted = values.filter((v) => v !== null).sort((a, b) => a - b);
  if (!sorted.length) return null;
  let low = quantile(sorted, 0.02), high = quantile(sorted, 0.98);
  if (centred) { high = Math.max(Math.abs(low), Math.abs(high)) || 1; low = -high; }
  if (low === high) { low -= Math.abs(low) * 0.01; high += Math.abs(high) * 0.01 || 1; }
  return { low, high, clipped: sorted[0] < low || sorted[sorted.length - 1] > high, scale: centred ? DIVERGING : VIRIDIS };
}
