// The live chart of a guest: its free memory and its threads over time, one below the other on one time axis.
//
// Follows stream.js in one module (osvlab/widgets/live.py joins the two): `Stream`, `element`, `filled` and `widget` are
// defined there. The bytes are records of four little-endian doubles: seconds, bytes free, bytes in all, threads.

const SVG = "http://www.w3.org/2000/svg"; // a name; nothing is fetched from there
const RECORD = 32; // bytes
const KEEP = 2048; // samples; the kernel keeps no more either
const MIB = 1 << 20;
const HEIGHT = 92; // of one chart, in pixels, without its axis
const LEFT = 52; // room for the labels of the vertical axes
const RIGHT = 12;
const TOP = 32; // room for a chart's name
const BOTTOM = 40; // room for the time axis
const GAP = 3; // intervals without a sample after which the line is broken,
const SHORTEST_GAP = 1; // but not before so many seconds

/** The samples that have arrived. */
class Samples extends Stream {
  restart() {
    this.list = [];
  }

  lose() {} // the chart begins later, or has a gap

  take(bytes) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let at = 0; at + RECORD <= bytes.length; at += RECORD) {
      const [seconds, free, total, threads] = [0, 8, 16, 24].map((offset) => view.getFloat64(at + offset, true));
      this.list.push({ seconds, free: free / MIB, total: total / MIB, threads });
    }
    this.list.splice(0, this.list.length - KEEP);
  }
}

const CHARTS = [
  {
    name: "Free memory",
    unit: "MiB",
    kind: "memory",
    value: (sample) => sample.free,
    top: (samples) => samples.at(-1).total,
    say: (sample) => `${sample.free.toFixed(1)} of ${sample.total.toFixed(0)} MiB`,
  },
  {
    name: "Threads",
    unit: "",
    kind: "threads",
    value: (sample) => sample.threads,
    top: (samples) => Math.max(4, ...samples.map((sample) => sample.threads)) + 1,
    say: (sample) => `${sample.threads}`,
    steps: true, // there is no half thread
  },
];

/** One picture of the samples. */
class View {
  constructor(session, model, root) {
    this.session = session;
    this.model = model;
    this.build(root);
    this.refresh = this.refresh.bind(this);
    for (const trait of ["title", "status", "running"]) model.on(`change:${trait}`, this.refresh);
    // A chart is as wide as its cell.
    this.observer = new ResizeObserver(() => session.redraw());
    this.observer.observe(this.root);
    this.refresh();
    this.draw();
  }

  build(root) {
    this.title = element("span", { class: "title" });
    this.status = element("span", { class: "status", role: "status", "aria-live": "polite" });
    this.stop = element("button", { type: "button", title: "Stop watching; the guest runs on" }, "Stop");
    this.stop.addEventListener("click", () => this.model.send({ type: "stop" }));
    this.picture = graphic("svg", { role: "img" });
    this.root = element(
      "div",
      { class: "osvlab-live", role: "group", "data-lm-suppress-shortcuts": "true" },
      element("div", { class: "head" }, this.title, this.status, this.stop),
      this.picture,
    );
    root.append(this.root);
  }

  refresh() {
    const running = this.model.get("running");
    const focused = this.stop === document.activeElement;
    this.title.textContent = this.model.get("title");
    this.status.textContent = this.model.get("status");
    this.root.setAttribute("aria-label", this.model.get("title"));
    this.root.classList.toggle("running", running);
    this.stop.hidden = !running;
    if (focused && !running) {
      this.root.tabIndex = -1; // or the focus would be nowhere
      this.root.focus();
    }
  }

  draw() {
    const samples = this.session.list;
    const width = Math.max(240, this.root.clientWidth || 600);
    const height = CHARTS.length * (TOP + HEIGHT) + BOTTOM;
    this.picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.picture.setAttribute("height", height);
    this.picture.setAttribute("aria-label", spoken(samples));
    if (samples.length === 0) {
      this.picture.replaceChildren(label(width / 2, height / 2, "waiting for the guest's answer", "middle", "axis"));
      return;
    }
    const across = scale(timeRange(samples), [LEFT, width - RIGHT]);
    const drawn = CHARTS.map((chart, row) => drawChart(chart, samples, across, TOP + row * (TOP + HEIGHT)));
    this.picture.replaceChildren(...drawn.flat(), ...timeAxis(across, height - BOTTOM));
  }

  remove() {
    this.session.views.delete(this);
    this.observer.disconnect();
    for (const trait of ["title", "status", "running"]) this.model.off(`change:${trait}`, this.refresh);
  }
}

/** What the picture shows, for those who cannot see it. */
function spoken(samples) {
  if (samples.length === 0) return "No samples yet";
  const parts = CHARTS.map((chart) => {
    const values = samples.map(chart.value);
    const [least, most] = [Math.min(...values), Math.max(...values)].map((value) => `${Math.round(value * 10) / 10}`);
    return `${chart.name}: ${chart.say(samples.at(-1))}, least ${least}, most ${most}`;
  });
  return `${parts.join(". ")}. ${samples.length} samples in ${samples.at(-1).seconds.toFixed(1)} seconds`;
}

function drawChart(chart, samples, across, top) {
  const down = scale([0, chart.top(samples)], [top + HEIGHT, top]);
  const [left, right] = across.room;
  const made = [
    label(left, top - 9, chart.unit ? `${chart.name} (${chart.unit})` : chart.name, "start", "name"),
    label(right, top - 9, chart.say(samples.at(-1)), "end", `value ${chart.kind}`),
  ];
  for (const tick of ticks(down.range, 3, 1)) {
    made.push(graphic("line", { class: "grid", x1: left, x2: right, y1: down(tick), y2: down(tick) }));
    made.push(label(left - 6, down(tick) + 4, `${tick}`, "end", "axis"));
  }
  const lines = pathOf(chart, samples, across, down);
  if (!chart.steps) made.push(graphic("path", { class: `area ${chart.kind}`, d: lines.area }));
  made.push(graphic("path", { class: `line ${chart.kind}`, d: lines.line }));
  const [x, y] = [across(samples.at(-1).seconds), down(chart.value(samples.at(-1)))];
  made.push(graphic("circle", { class: `now ${chart.kind}`, cx: x.toFixed(1), cy: y.toFixed(1), r: 3 }));
  return made;
}

/** The line through the samples, and the area below it, both broken where samples are missing. */
function pathOf(chart, samples, across, down) {
  const far = Math.max(SHORTEST_GAP, GAP * typical(samples));
  const runs = [];
  samples.forEach((sample, number) => {
    const before = samples[number - 1];
    if (!before || sample.seconds - before.seconds > far) runs.push([]);
    const [x, y] = [across(sample.seconds), down(chart.value(sample))];
    const run = runs.at(-1);
    if (chart.steps && run.length > 0) run.push([x, run.at(-1)[1]]);
    run.push([x, y]);
  });
  const floor = down(0);
  const through = (points) => points.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L");
  return {
    line: runs.map((run) => `M${through(run)}`).join(""),
    area: runs.map((run) => `M${through([[run[0][0], floor], ...run, [run.at(-1)[0], floor]])}Z`).join(""),
  };
}

/** The median of the times between samples. */
function typical(samples) {
  const between = samples.slice(1).map((sample, number) => sample.seconds - samples[number].seconds);
  return between.sort((one, other) => one - other)[between.length >> 1] ?? Infinity;
}

/** From when to when: at least ten seconds, so that the first samples do not fill the chart. */
function timeRange(samples) {
  const first = samples.length < KEEP ? 0 : samples[0].seconds;
  return [first, Math.max(first + 10, samples.at(-1).seconds)];
}

function timeAxis(across, y) {
  const [left, right] = across.room;
  const made = [graphic("line", { class: "base", x1: left, x2: right, y1: y, y2: y })];
  for (const tick of ticks(across.range, Math.max(3, Math.floor((right - left) / 90)), 1)) {
    made.push(graphic("line", { class: "base", x1: across(tick), x2: across(tick), y1: y, y2: y + 4 }));
    made.push(label(across(tick), y + 17, `${tick}`, "middle", "axis"));
  }
  made.push(label((left + right) / 2, y + 34, "seconds since the watch began", "middle", "axis"));
  return made;
}

/** A linear scale: a function from numbers to pixels. */
function scale(range, room) {
  const factor = (room[1] - room[0]) / (range[1] - range[0]);
  const place = (value) => room[0] + (value - range[0]) * factor;
  return Object.assign(place, { range, room });
}

/** Round numbers within a range, about so many, not closer than `least`. */
function ticks([from, to], count, least) {
  const rough = Math.max((to - from) / count, least);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => power * factor >= rough * 0.999);
  const found = [];
  for (let value = Math.ceil(from / step) * step; value <= to; value += step) found.push(value);
  return found;
}

function label(x, y, text, anchor, kind) {
  return graphic("text", { x: x.toFixed(1), y: y.toFixed(1), "text-anchor": anchor, class: kind }, text);
}

function graphic(name, attributes, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

export default widget(Samples, View);
