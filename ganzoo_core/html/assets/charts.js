// Curves as SVG, with values shown by mouse, touch or arrow keys.

class Chart {
  constructor(figure, spec) {
    this.figure = figure;
    this.spec = spec;
    this.plot = figure.querySelector(".plot");
    this.hidden = new Set();
    this.at = null;
    this.tip = html("div", { class: "tip", hidden: "" });
    this.said = html("p", { class: "unseen", "aria-live": "polite" });
    for (const series of spec.series) series.bold = spec.smooth ? smoothed(series.y) : series.y;
    this.legend();
    new ResizeObserver(() => this.draw()).observe(this.plot);
    this.draw();
  }

  get shown() { return this.spec.series.filter((series) => !this.hidden.has(series.name)); }

  legend() {
    const place = this.figure.querySelector(".legend");
    if (this.spec.series.length < 2 && !this.spec.legend) { place.remove(); return; }
    place.replaceChildren(...this.spec.series.map((series) => {
      const key = html("span", { class: `key ${look(series)}`, "aria-hidden": "true" });
      const button = html("button", { type: "button", "aria-pressed": "true" }, key, series.name);
      button.addEventListener("click", () => this.toggle(series.name));
      return button;
    }));
  }

  toggle(name) {
    if (!this.hidden.delete(name)) this.hidden.add(name);
    this.figure.querySelectorAll(".legend button").forEach((button, place) => {
      button.setAttribute("aria-pressed", String(!this.hidden.has(this.spec.series[place].name)));
    });
    this.draw();
  }

  scales(width) {
    const spec = this.spec, shown = this.shown;
    const xs = spec.series.flatMap((series) => [series.x[0], series.x[series.x.length - 1]]);
    const first = spec.unit === "images" ? 0 : Math.min(...xs);
    const last = Math.max(...xs) > first ? Math.max(...xs) : first + 1;
    const { low, high, cut } = domainOf(spec, shown);
    const log = spec.scale === "log2" && low > 0;
    const scale = log ? Math.log2 : (value) => value;
    const bottom = HEIGHT - MARGIN.bottom;
    return {
      first, last, low, high, cut, log, bottom,
      x: (value) => MARGIN.left + ((value - first) / (last - first)) * (width - MARGIN.left - MARGIN.right),
      y: (value) => bottom - ((scale(value) - scale(low)) / (scale(high) - scale(low))) * (bottom - MARGIN.top),
    };
  }

  draw() {
    const width = Math.round(this.plot.clientWidth);
    if (width < 120) return;
    const spec = this.spec, to = (this.to = this.scales(width));
    const clip = `clip-${spec.id}`;
    const root = svg("svg", {
      width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, tabindex: "0", role: "img",
      "aria-label": `${spec.title}: ${this.words()} Arrow keys read the values; the table below holds them.`,
    });
    root.append(svg("clipPath", { id: clip }, svg("rect", {
      x: MARGIN.left, y: MARGIN.top - 2, width: width - MARGIN.left - MARGIN.right + 5, height: to.bottom - MARGIN.top + 4,
    })));
    this.axes(root, width);
    const curves = svg("g", { "clip-path": `url(#${clip})` });
    for (const series of this.shown) this.curve(curves, series);
    root.append(curves);
    this.cross = svg("g", { class: "cross" });
    root.append(this.cross);
    const note = this.figure.querySelector(".cut");
    note.hidden = !to.cut;
    note.textContent = to.cut ? `Values ${to.cut} lie outside the picture; the table holds them.` : "";
    const hadFocus = this.plot.contains(document.activeElement);
    this.plot.replaceChildren(root, this.tip, this.said);
    if (hadFocus) root.focus({ preventScroll: true });
    this.listen(root);
    if (this.at !== null) this.show(this.at);
  }

  words() {
    return this.shown.map((series) => {
      const numbers = series.y.filter((value) => value !== null);
      return numbers.length ? `${series.name} from ${valueText(numbers[0])} to ${valueText(numbers[numbers.length - 1])}` :
        `${series.name} without a value`;
    }).join(", ") + ".";
  }

  axes(root, width) {
    const spec = this.spec, to = this.to;
    let levels = ticksOf(to.low, to.high, 5);
    if (to.log) {
      const found = [...new Set(spec.series.flatMap((series) => series.y))].filter((value) => value !== null);
      levels = { step: 1, found };
    }
    for (const value of levels.found) {
      const y = Math.round(to.y(value)) + 0.5;
      root.append(svg("line", { class: value === 0 ? "zero" : "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: y, y2: y }));
      root.append(svg("text", { x: MARGIN.left - 8, y: y + 3.5, "text-anchor": "end" }, tickText(value, levels.step, Math.max(Math.abs(to.low), Math.abs(to.high)))));
    }
    const across = ticksOf(to.first, to.last, Math.max(2, Math.min(7, width / 95)));
    for (const value of across.found) {
      const x = to.x(value);
      root.append(svg("line", { class: "tick", x1: x, x2: x, y1: to.bottom, y2: to.bottom + 4 }));
      const edge = x > width - MARGIN.right - 14 ? "end" : "middle";
      root.append(svg("text", { x: edge === "end" ? width - 2 : x, y: to.bottom + 17, "text-anchor": edge }, tickText(value, across.step, to.last)));
    }
    const name = spec.unit === "images" ? "images seen" : spec.unit;
    root.append(svg("text", { class: "axis", x: width - MARGIN.right, y: to.bottom + 32, "text-anchor": "end" }, name));
    let free = -Infinity;
    for (const [images, label] of spec.marks || []) {
      const x = to.x(images);
      if (images > to.first) root.append(svg("line", { class: "mark", x1: x, x2: x, y1: MARGIN.top, y2: to.bottom }));
      if (x < free) continue;
      root.append(svg("text", { class: "mark", x: x + (images > to.first ? 3 : 0), y: MARGIN.top - 8 }, label));
      free = x + 8 * label.length;
    }
  }

  curve(group, series) {
    const to = this.to, step = this.spec.step, colour = look(series);
    const line = (values) => {
      let path = "", before = null;
      values.forEach((value, place) => {
        if (value === null) { before = null; return; }
        const x = to.x(series.x[place]).toFixed(1), y = to.y(value).toFixed(1);
        path += before === null ? `M${x} ${y}` : step ? `V${y}H${x}` : `L${x} ${y}`;
        before = value;
      });
      return path;
    };
    if (series.lo) {
      const kept = series.x.map((x, place) => place).filter((place) => series.lo[place] !== null);
      const along = (values, places) => places.map((place) => `${to.x(series.x[place]).toFixed(1)} ${to.y(values[place]).toFixed(1)}`);
      const around = [...along(series.hi, kept), ...along(series.lo, [...kept].reverse())];
      if (around.length) group.append(svg("path", { class: `band ${colour}`, d: `M${around.join("L")}Z` }));
    }
    if (this.spec.fill) {
      const ends = [series.x[0], series.x[series.x.length - 1]].map((x) => to.x(x).toFixed(1));
      group.append(svg("path", { class: `band ${colour}`, d: `${line(series.y)}L${ends[1]} ${to.bottom}L${ends[0]} ${to.bottom}Z` }));
    }
    if (this.spec.smooth) group.append(svg("path", { class: `pale ${colour}`, d: line(series.y) }));
    group.append(svg("path", { class: `strong ${colour}`, d: line(series.bold) }));
    if (this.spec.points || series.y.length === 1) {
      series.y.forEach((value, place) => {
        if (value !== null) group.append(svg("circle", { class: colour, cx: to.x(series.x[place]), cy: to.y(value), r: 3.5 }));
      });
    }
  }

  listen(root) {
    const point = (event) => {
      const x = event.clientX - root.getBoundingClientRect().left;
      const share = (x - MARGIN.left) / (root.clientWidth - MARGIN.left - MARGIN.right);
      this.show(this.to.first + Math.min(1, Math.max(0, share)) * (this.to.last - this.to.first));
    };
    root.addEventListener("pointermove", point);
    root.addEventListener("pointerdown", point);
    root.addEventListener("pointerleave", () => { if (document.activeElement !== root) this.hide(); });
    root.addEventListener("blur", () => this.hide());
    root.addEventListener("keydown", (event) => this.key(event));
  }

  key(event) {
    const x = this.shown.length ? this.shown[0].x : [];
    if (!x.length) return;
    const last = x.length - 1, now = this.at === null ? last : nearest(x, this.at), far = event.shiftKey ? 10 : 1;
    const to = { ArrowLeft: now - far, ArrowRight: now + far, Home: 0, End: last }[event.key];
    if (event.key === "Escape") this.hide();
    if (to === undefined) return;
    event.preventDefault();
    this.show(x[Math.min(last, Math.max(0, this.at === null ? last : to))]);
    this.said.textContent = this.tip.innerText.replace(/\n+/g, ", ");
  }

  show(at) {
    const width = this.plot.clientWidth, rows = [];
    this.cross.replaceChildren();
    let where = null;
    for (const series of this.shown) {
      const place = nearest(series.x, at);
      if (where === null) where = series.x[place];
      const value = series.y[place];
      const range = series.lo && value !== null ? ` (${valueText(series.lo[place])} to ${valueText(series.hi[place])})` : "";
      const key = html("span", { class: `key ${look(series)}` });
      rows.push(html("div", {}, key, html("span", {}, series.name), html("b", {}, valueText(value) + range)));
      if (value !== null && value >= this.to.low && value <= this.to.high) {
        this.cross.append(svg("circle", { class: look(series), cx: this.to.x(series.x[place]), cy: this.to.y(value), r: 3.5 }));
      }
    }
    if (where === null) { this.hide(); return; }
    this.at = where;
    const x = this.to.x(where);
    this.cross.prepend(svg("line", { x1: x, x2: x, y1: MARGIN.top, y2: this.to.bottom }));
    this.tip.replaceChildren(html("div", { class: "where" }, placeText(this.spec, where)), ...rows);
    this.tip.hidden = false;
    const wide = this.tip.offsetWidth, right = x + 12 + wide <= width;
    this.tip.style.left = `${right ? x + 12 : Math.max(0, x - 12 - wide)}px`;
  }

  hide() {
    this.at = null;
    this.tip.hidden = true;
    this.cross.replaceChildren();
  }
}
