// Interaction: charts, sliders, copy buttons, and live updates while a run is watched.

class Slides {
  constructor(figure, slides) {
    this.figure = figure;
    this.image = figure.querySelector("img");
    this.words = slides.words;
    this.frames = slides.frames.map((frame) => frame === null ? this.image.src : frame);
    this.slider = figure.querySelector("input[type=range]");
    this.button = figure.querySelector(".play");
    this.alternative = this.image.alt.replace(/ after [\d,]+ images seen$/, "");
    if (!this.slider) return;
    this.slider.addEventListener("input", () => { this.stop(); this.show(); });
    this.button.addEventListener("click", () => this.timer ? this.stop() : this.play());
    this.show();
  }

  get last() { return this.frames.length - 1; }

  show(place = Number(this.slider.value)) {
    this.slider.value = place;
    this.slider.setAttribute("aria-valuetext", this.words[place]);
    this.image.src = this.frames[place];
    this.image.alt = `${this.alternative}, ${this.words[place]}`;
    this.figure.querySelector("output").textContent = this.words[place];
  }

  play() {
    if (Number(this.slider.value) === this.last) this.show(0);
    this.button.textContent = "Stop";
    const pause = Math.min(600, Math.max(110, 8000 / this.frames.length));
    this.timer = setInterval(() => {
      const next = Number(this.slider.value) + 1;
      this.show(Math.min(next, this.last));
      if (next >= this.last) this.stop();
    }, pause);
  }

  stop() {
    clearInterval(this.timer);
    this.timer = null;
    this.button.textContent = "Play";
  }
}

const charts = new Map(), slides = new Map();

// Draw everything in the page's data. After a live update, charts and sliders keep their state.
function start() {
  const data = JSON.parse(document.getElementById("data").textContent);
  for (const figure of document.querySelectorAll("[data-chart]")) {
    const spec = data.charts.find((chart) => chart.id === figure.dataset.chart), before = charts.get(spec.id);
    const chart = new Chart(figure, spec);
    for (const series of spec.series) if (before && before.hidden.has(series.name)) chart.toggle(series.name);
    charts.set(spec.id, chart);
  }
  for (const figure of document.querySelectorAll("[data-slides]")) {
    const name = figure.dataset.slides, before = slides.get(name), now = new Slides(figure, data.slides[name]);
    if (before && before.slider && now.slider) {
      const word = before.words[Number(before.slider.value)], same = now.words.indexOf(word);
      if (Number(before.slider.value) !== before.last && same >= 0) now.show(same);
      before.stop();
    }
    slides.set(name, now);
  }
  for (const place of document.querySelectorAll("[data-frames]")) {
    const shown = slides.get(place.dataset.frames);
    for (const image of place.querySelectorAll("img[data-frame]")) image.src = shown.frames[Number(image.dataset.frame)];
  }
  for (const button of document.querySelectorAll("button.copy")) button.addEventListener("click", () => copy(button));
}

async function copy(button) {
  const code = button.parentNode.querySelector("code");
  try {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  } catch {
    getSelection().selectAllChildren(code);  // copying by script is forbidden; the user can press the keys
    button.textContent = "Selected";
  }
}

// A live page polls for a newer version and replaces its content without moving the scroll position.
async function watch() {
  let known = null;
  for (;;) {
    try {
      const version = await ask("version");
      if (known !== null && version !== known && !document.hidden) await renew();
      if (!document.hidden) known = version;
      document.documentElement.classList.remove("lost");
    } catch {
      document.documentElement.classList.add("lost");
    }
    await new Promise((resolve) => setTimeout(resolve, 1500));
  }
}

async function ask(path) {
  const answer = await fetch(path, { cache: "no-store" });
  if (!answer.ok) throw new Error(answer.status);  // perhaps too many clients; retried at the next poll
  return answer.text();
}

async function renew() {
  const text = await ask("./");
  const fresh = new DOMParser().parseFromString(text, "text/html");
  const open = [...document.querySelectorAll("details")].map((details) => details.open);
  for (const part of ["main", ".state", "nav", "#data"]) {
    document.querySelector(part).replaceWith(document.adoptNode(fresh.querySelector(part)));
  }
  const all = document.querySelectorAll("details");
  if (all.length === open.length) all.forEach((details, place) => { details.open = open[place]; });
  start();
}

start();
if ("live" in document.documentElement.dataset) watch();
