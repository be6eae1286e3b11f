// Curves over the epochs, as SVG.

import { isNumber } from "./format.js";

const NAMESPACE = "http://www.w3.org/2000/svg";
const HEIGHT = 240;
const MARGIN = { top: 12, right: 12, bottom: 40 };
// Between the figure's edge and the axis: its name, and the text of its ticks, by their number of letters.
const LEFT = 34;
const LETTER = 7.5;
const MOST_POINTS_WITH_DOTS = 40;

function element(name, attributes, text) {
  const made = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

/** Round numbers that divide a range into about `count` parts: steps of 1, 2 or 5 times a power of ten. */
export function ticks(low, high, count, smallest = 0) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = Math.max(smallest, power * [1, 2, 5, 10].find((factor) => factor * power >= rough * (1 - 1e-9)));
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, index) => (first + index) * step);
}

/** The ticks of a logarithmic axis: powers of ten, with 2 and 5 between them where there is room. */
function logarithmicTicks(low, high) {
  const found = [];
  const factors = high / low < 100 ? [1, 2, 5] : [1];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += 1) {
    for (const factor of factors) {
      const value = factor * 10 ** power;
      if (value >= low * (1 - 1e-9) && value <= high * (1 + 1e-9)) found.push(value);
    }
  }
  return found;
}

/** From the smallest and largest value, where an axis begins and ends, and its ticks. */
function scaleFor(values, { logarithmic, fromZero, largest }) {
  let low = Math.min(...values);
  let high = Math.max(...values);
  if (logarithmic && low > 0 && high > 20 * low) {
    const marks = logarithmicTicks(low, high);
    return { low: Math.log(low), high: Math.log(high), marks, map: Math.log };
  }
  if (fromZero) low = Math.min(0, low);
  if (high === low) {
    const room = Math.abs(high) * 0.1 || 1;
    if (!fromZero) low -= room;
    high += room;
  }
  const space = (high - low) * 0.05;
  if (!fromZero) low -= space;
  high += space;
  // Nothing lies beyond what a figure can be, such as an accuracy of 100 %.
  if (largest !== undefined) high = Math.min(high, largest);
  return { low, high, marks: ticks(low, high, 5), map: (value) => value };
}

function path(points) {
  let text = "";
  let pen = "M";
  for (const [x, y] of points) {
    if (y === null) {
      pen = "M";
    } else {
      text += `${pen}${x.toFixed(1)} ${y.toFixed(1)}`;
      pen = "L";
    }
  }
  return text;
}

/**
 * One panel of curves.
 *
 * `options`: title; yLabel; series, each { name, key, style }; format, from a value to the text of a tick; logarithmic,
 * fromZero, largest: how the vertical axis runs.
 */
export class Chart {
  constructor(parent, options) {
    this.options = options;
    this.figure = document.createElement("figure");
    this.caption = document.createElement("figcaption");
    this.svg = element("svg", { role: "img", height: HEIGHT });
    this.figure.append(this.caption, this.svg);
    parent.append(this.figure);
    this.rows = [];
    this.best = null;
    this.epochs = 1;
    new ResizeObserver(() => this.draw()).observe(this.figure);
  }

  update(rows, best, epochs) {
    Object.assign(this, { rows, best, epochs });
    this.draw();
  }

  /** The series that the rows hold. */
  known() {
    return this.options.series.filter(({ key }) => this.rows.some((row) => isNumber(row[key])));
  }

  draw() {
    const series = this.known();
    this.figure.hidden = series.length === 0;
    const width = this.figure.clientWidth;
    if (series.length === 0 || width === 0) return;
    this.drawCaption(series);
    this.svg.replaceChildren(element("title", {}, this.summary(series)));
    this.svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    const first = this.rows[0].epoch;
    const last = this.rows.at(-1).epoch;
    // A few epochs do not fill the width at once, so that the curve is seen to grow.
    const end = Math.max(last, first + 1, Math.min(this.epochs, first + 9));
    const values = series.flatMap(({ key }) => this.rows.map((row) => row[key]).filter(isNumber));
    const scale = scaleFor(values, this.options);
    this.left = LEFT + LETTER * Math.max(...scale.marks.map((mark) => this.options.format(mark).length));
    const x = (epoch) => this.left + ((epoch - first) / (end - first)) * (width - this.left - MARGIN.right);
    const share = (value) => (scale.map(value) - scale.low) / (scale.high - scale.low);
    const y = (value) => HEIGHT - MARGIN.bottom - share(value) * (HEIGHT - MARGIN.top - MARGIN.bottom);
    this.drawAxes(x, y, scale.marks, ticks(first, end, Math.max(2, Math.min(8, width / 60)), 1), width);
    if (this.best !== null && this.best >= first && this.best <= last) {
      const place = { x1: x(this.best), x2: x(this.best), y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom };
      this.svg.append(element("line", { class: "chart-best", ...place }));
    }
    for (const one of series) this.drawLine(one, x, y);
  }

  drawCaption(series) {
    const title = document.createElement("strong");
    title.textContent = this.options.title;
    const entries = series.filter(({ name }) => name).map(({ name, style }) => legend(name, `chart-line ${style}`));
    if (this.best !== null) entries.push(legend(`best epoch (${this.best})`, "chart-best"));
    this.caption.replaceChildren(title, ...entries);
  }

  summary(series) {
    const last = this.rows.at(-1);
    const parts = series.map(({ name, key }) => `${name || this.options.title} ${this.options.format(last[key])}`);
    return `${this.options.title} over the epochs. After epoch ${last.epoch}: ${parts.join(", ")}.`;
  }

  drawAxes(x, y, marks, epochs, width) {
    const bottom = HEIGHT - MARGIN.bottom;
    for (const mark of marks) {
      const place = { x1: this.left, x2: width - MARGIN.right, y1: y(mark), y2: y(mark) };
      this.svg.append(element("line", { class: "chart-grid", ...place }));
      const at = { x: this.left - 8, y: y(mark) + 4, "text-anchor": "end" };
      this.svg.append(element("text", { class: "chart-text", ...at }, this.options.format(mark)));
    }
    this.svg.append(
      element("line", { class: "chart-axis", x1: this.left, x2: width - MARGIN.right, y1: bottom, y2: bottom }),
    );
    for (const epoch of epochs) {
      const at = { x: x(epoch), y: bottom + 16, "text-anchor": "middle" };
      this.svg.append(element("text", { class: "chart-text", ...at }, String(epoch)));
    }
    const middle = (this.left + width - MARGIN.right) / 2;
    this.svg.append(
      element("text", { class: "chart-text", x: middle, y: HEIGHT - 6, "text-anchor": "middle" }, "epoch"),
    );
    const across = { transform: `translate(12 ${(MARGIN.top + bottom) / 2}) rotate(-90)`, "text-anchor": "middle" };
    this.svg.append(element("text", { class: "chart-text", ...across }, this.options.yLabel));
  }

  drawLine({ key, style }, x, y) {
    const points = this.rows.map((row) => [x(row.epoch), isNumber(row[key]) ? y(row[key]) : null]);
    this.svg.append(element("path", { class: `chart-line ${style}`, d: path(points) }));
    if (points.length > MOST_POINTS_WITH_DOTS) return;
    for (const [cx, cy] of points) {
      if (cy !== null) this.svg.append(element("circle", { class: style, cx, cy, r: 3 }));
    }
  }
}

function legend(name, style) {
  const entry = document.createElement("span");
  entry.className = "legend";
  const sample = element("svg", { viewBox: "0 0 28 10", "aria-hidden": "true" });
  sample.append(element("line", { class: style, x1: 0, x2: 28, y1: 5, y2: 5 }));
  entry.append(sample, name);
  return entry;
}
