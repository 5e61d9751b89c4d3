"use strict";
// Drawing helpers for the charts. All text is inserted as text, never as markup.

const NS = "http://www.w3.org/2000/svg";
const MARGIN = { top: 22, right: 14, bottom: 36, left: 52 };
const HEIGHT = 248;
const COLOURS = 8;

function svg(name, attributes, ...children) {
  const node = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes || {})) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function html(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

// About `about` ticks from low to high, in steps of 1, 2 or 5 times a power of ten.
function ticksOf(low, high, about) {
  const rough = (high - low) / about;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => power * factor >= rough * 0.999);
  const found = [];
  for (let place = Math.ceil(low / step - 1e-9); place * step <= high + step * 1e-9; place++) found.push(place * step);
  return { step, found };
}

function tickText(value, step, top) {
  if (Math.abs(value) < step * 1e-6) return "0";
  if (top >= 1e4) {
    const [size, letter] = [[1e9, "G"], [1e6, "M"], [1e3, "k"]].find(([size]) => top >= size);
    return `${+(value / size).toPrecision(6)}${letter}`;
  }
  if (step < 1e-3) return (+value.toPrecision(6)).toExponential();
  return value.toFixed(Math.max(0, -Math.floor(Math.log10(step) + 1e-9)));
}

function valueText(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  return size !== 0 && (size < 1e-3 || size >= 1e6) ? value.toExponential(3) : String(+value.toPrecision(4));
}

function look(series) {
  return `c${series.colour % COLOURS}${series.dashed ? " dashed" : ""}`;
}

function placeText(chart, x) {
  return chart.unit === "images" ? `${Math.round(x).toLocaleString("en")} images` : `${chart.unit} ${valueText(x)}`;
}

// A centred moving average; null stays null and is left out of the mean.
function smoothed(values) {
  const half = Math.max(1, Math.round(values.length / 50));
  return values.map((value, place) => {
    if (value === null) return null;
    let sum = 0, count = 0;
    const reach = Math.min(half, place, values.length - 1 - place);
    for (let near = place - reach; near <= place + reach; near++) {
      if (values[near] !== null) { sum += values[near]; count++; }
    }
    return sum / count;
  });
}

// The range of all values; extreme outliers, such as those of the first steps, are clipped.
function domainOf(chart, shown) {
  if (chart.range) return { low: chart.range[0], high: chart.range[1], cut: null };
  const all = shown.flatMap((series) => [...series.y, ...(series.lo || []), ...(series.hi || [])])
    .filter((value) => value !== null).sort((a, b) => a - b);
  if (!all.length) return { low: 0, high: 1, cut: null };
  const at = (share) => all[Math.min(all.length - 1, Math.floor(share * all.length))];
  let low = all[0], high = all[all.length - 1];
  const inner = at(0.98) - at(0.02);
  const cut = [];
  if (all.length >= 50 && inner > 0) {
    if (high > at(0.98) + 1.5 * inner) { cut.push(`up to ${valueText(high)}`); high = at(0.98) + 0.4 * inner; }
    if (low < at(0.02) - 1.5 * inner) { cut.push(`down to ${valueText(low)}`); low = at(0.02) - 0.4 * inner; }
  }
  if (chart.scale === "log2" && low > 0 && high > low) return { low, high, cut: null };
  if (chart.fill || (low > 0 && low < 0.35 * high)) low = Math.min(0, low);
  if (low === high) { low -= Math.abs(low) * 0.1 || 0.1; high += Math.abs(high) * 0.1 || 0.1; }
  const room = (high - low) * 0.05;
  return { low: low === 0 ? 0 : low - room, high: high + room, cut: cut.length ? cut.join(" and ") : null };
}

function nearest(xs, at) {
  let low = 0, high = xs.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (xs[middle] < at) low = middle; else high = middle;
  }
  return Math.abs(xs[low] - at) <= Math.abs(xs[high] - at) ? low : high;
}
