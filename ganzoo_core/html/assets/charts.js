"use strict";
// Interaction with the charts that `chart.py` drew: values by mouse, touch or arrow keys, and curves that can be hidden.
// The drawing's `data-` attributes say where values lie. All text is inserted as text, never as markup.

function element(name, attributes, ...children) {
  const node = name === "path" ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

const numbersOf = (text) => text.split(" ").map(Number);

function valueText(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  return size !== 0 && (size < 1e-3 || size >= 1e6) ? value.toExponential(3) : String(+value.toPrecision(4));
}

function nearest(xs, at) {
  let low = 0, high = xs.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (xs[middle] < at) low = middle; else high = middle;
  }
  return Math.abs(xs[low] - at) <= Math.abs(xs[high] - at) ? low : high;
}

class Chart {
  constructor(figure, spec) {
    this.spec = spec;
    this.root = figure.querySelector("svg");
    this.plot = this.root.querySelector(".curves");
    this.groups = [...this.plot.querySelectorAll("g")];
    this.axes = [...this.root.querySelectorAll(".axis")];
    this.entries = [...this.root.querySelectorAll(".entry")];
    [this.first, this.last, this.left, this.right] = numbersOf(this.plot.dataset.x);
    [this.top, this.bottom] = numbersOf(this.plot.dataset.y);
    this.hidden = new Set();
    this.at = null;
    this.tip = element("div", { class: "tip", hidden: "" });
    this.said = element("p", { class: "unseen", "aria-live": "polite" });
    figure.querySelector(".plot").append(this.tip, this.said);
    this.cross = this.root.insertBefore(element("path", { class: "cross" }), this.plot);
    this.root.setAttribute("tabindex", "0");
    this.root.setAttribute("role", "group");
    this.root.setAttribute("aria-label", `${this.root.getAttribute("aria-label")} Arrow keys read the values; the table below holds them.`);
    this.listen();
  }

  listen() {
    const point = (event) => {
      const box = this.root.getBoundingClientRect();
      const x = (event.clientX - box.left) / box.width * this.root.viewBox.baseVal.width;
      const share = (x - this.left) / (this.right - this.left);
      this.show(this.first + Math.min(1, Math.max(0, share)) * (this.last - this.first));
    };
    this.root.addEventListener("pointermove", point);
    this.root.addEventListener("pointerdown", point);
    this.root.addEventListener("pointerleave", () => { if (document.activeElement !== this.root) this.hide(); });
    this.root.addEventListener("blur", () => this.hide());
    this.root.addEventListener("keydown", (event) => { if (event.target === this.root) this.key(event); });
    this.entries.forEach((entry, place) => {
      const name = this.spec.series[place].name;
      for (const [key, value] of [["role", "button"], ["tabindex", "0"], ["aria-pressed", "true"]]) entry.setAttribute(key, value);
      entry.addEventListener("click", () => this.toggle(name));
      entry.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        this.toggle(name);
      });
    });
  }

  isShown(place) { return !this.hidden.has(this.spec.series[place].name); }

  // Hide a curve or show it again, on the narrowest of the drawing's axes that holds the curves that are shown.
  toggle(name) {
    if (!this.hidden.delete(name)) this.hidden.add(name);
    const shown = [...this.groups.keys()].filter((place) => this.isShown(place));
    const holds = this.axes.map((axis) => new Set(numbersOf(axis.dataset.series)));
    let best = 0;
    holds.forEach((held, place) => {
      if (shown.length && held.size < holds[best].size && shown.every((one) => held.has(one))) best = place;
    });
    this.axes.forEach((axis, place) => axis.setAttribute("display", place === best ? "inline" : "none"));
    const [low, high] = numbersOf(this.axes[best].dataset.range);
    this.groups.forEach((group, place) => {
      const [from, to] = numbersOf(group.dataset.range), factor = (to - from) / (high - low);
      const shift = this.bottom * (1 - factor) - (this.bottom - this.top) * (from - low) / (high - low);
      group.setAttribute("transform", `matrix(1 0 0 ${factor} 0 ${shift})`);
      group.setAttribute("display", this.isShown(place) ? "inline" : "none");
      this.entries[place].setAttribute("aria-pressed", String(this.isShown(place)));
    });
    if (this.at !== null) this.show(this.at);
  }

  key(event) {
    const series = this.spec.series.find((one, place) => this.isShown(place));
    if (!series || !series.x.length) return;
    const x = series.x, last = x.length - 1, now = this.at === null ? last : nearest(x, this.at), far = event.shiftKey ? 10 : 1;
    const to = { ArrowLeft: now - far, ArrowRight: now + far, Home: 0, End: last }[event.key];
    if (event.key === "Escape") this.hide();
    if (to === undefined) return;
    event.preventDefault();
    this.show(x[Math.min(last, Math.max(0, this.at === null && event.key !== "Home" ? last : to))]);
    this.said.textContent = this.tip.innerText.replace(/\n+/g, ", ");
  }

  across(value) { return this.left + (value - this.first) / (this.last - this.first) * (this.right - this.left); }

  show(at) {
    this.hide();
    const rows = [];
    this.spec.series.forEach((series, place) => {
      if (!this.isShown(place) || !series.x.length) return;
      const group = this.groups[place], index = nearest(series.x, at), value = series.y[index];
      if (this.at === null) this.at = series.x[index];
      const range = series.lo && value !== null ? ` (${valueText(series.lo[index])} to ${valueText(series.hi[index])})` : "";
      const key = element("span", { class: "key" });
      key.style.background = group.getAttribute("stroke");
      rows.push(element("div", {}, key, element("span", {}, series.name), element("b", {}, valueText(value) + range)));
      if (value === null) return;
      const [low, high] = numbersOf(group.dataset.range), scaled = this.plot.dataset.scale === "log2" ? Math.log2(value) : value;
      const y = this.bottom - (scaled - low) / (high - low) * (this.bottom - this.top);
      group.append(element("path", { class: "dot", d: `M${this.across(series.x[index])} ${y}h0`, "vector-effect": "non-scaling-stroke" }));
    });
    if (this.at === null) return;
    const x = this.across(this.at), unit = this.spec.unit, scale = this.root.clientWidth / this.root.viewBox.baseVal.width;
    this.cross.setAttribute("d", `M${x} ${this.top}V${this.bottom}`);
    const where = unit === "images" ? `${Math.round(this.at).toLocaleString("en")} images` : `${unit} ${valueText(this.at)}`;
    this.tip.replaceChildren(element("div", { class: "where" }, where), ...rows);
    this.tip.hidden = false;
    const wide = this.tip.offsetWidth, fits = x * scale + 12 + wide <= this.root.clientWidth;
    this.tip.style.left = `${fits ? x * scale + 12 : Math.max(0, x * scale - 12 - wide)}px`;
    this.tip.style.top = `${this.top * scale + 4}px`;
  }

  hide() {
    this.at = null;
    this.tip.hidden = true;
    this.cross.removeAttribute("d");
    this.plot.querySelectorAll(".dot").forEach((dot) => dot.remove());
  }
}
