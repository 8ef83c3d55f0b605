/** A moving chart: a few lines over the last minutes, with their newest values as text. */

import { make } from "../api.js";

export const POINTS = 150;
const WIDTH = 300, HEIGHT = 64;

export function count(value) {
  if (value >= 1e6) return `${(value / 1e6).toFixed(1)} M`;
  if (value >= 1e4) return `${(value / 1e3).toFixed(1)} k`;
  return Number.isInteger(value) || value >= 100 ? value.toFixed(0) : value.toFixed(1);
}

export function seconds(value) {
  return value >= 1 ? `${value.toFixed(1)} s` : `${(value * 1000).toFixed(value < .01 ? 1 : 0)} ms`;
}

export class Chart {
  #lines;

  /** `lines`: names. `sums`: the text tells the sum over the time shown, not the newest value. */
  constructor(title, lines, { format = count, sums = false } = {}) {
    Object.assign(this, { title, format, sums });
    this.figure = make("figure", "card chart");
    this.note = make("span", "muted");
    const caption = make("figcaption");
    const heading = make("h3", "", title);
    caption.append(heading, this.note);
    this.svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
    this.svg.append(shape("path", { class: "grid", d: `M0 ${HEIGHT / 2}H${WIDTH}` }));
    this.top = make("span", "muted highest");
    const values = make("dl");
    this.#lines = lines.map((name, at) => {
      const path = shape("path", { class: `line c${at}` });
      this.svg.append(path);
      const pair = make("div", lines.length > 1 ? `c${at}` : ""), value = make("dd", "", "–");
      pair.append(make("dt", lines.length > 1 ? "" : "unseen", name), value);
      values.append(pair);
      return { path, value, points: [] };
    });
    const box = make("div", "box");
    box.append(this.svg, this.top);
    this.figure.append(caption, values, box);
  }

  /** One value a line, null where there is none. */
  add(values, note = "") {
    this.#lines.forEach((line, at) => {
      line.points.push(values[at]);
      if (line.points.length > POINTS) line.points.shift();
    });
    this.note.textContent = note;
    this.#draw();
  }

  #draw() {
    const most = Math.max(0, ...this.#lines.flatMap(line => line.points));
    const scale = (HEIGHT - 4) / (most || 1);
    for (const { path, value, points } of this.#lines) {
      let d = "", pen = "M";
      points.forEach((point, at) => {
        if (point === null) return pen = "M";
        d += `${pen}${((POINTS - points.length + at) * WIDTH / (POINTS - 1)).toFixed(1)} ${(HEIGHT - 2 - point * scale).toFixed(1)}`;
        if (pen === "M") d += "h.1";  // so that a point alone is seen
        pen = "L";
      });
      path.setAttribute("d", d || "M0 0");
      const shown = this.sums ? points.reduce((sum, point) => sum + (point ?? 0), 0) : points.at(-1);
      value.textContent = shown === null || shown === undefined ? "–" : this.format(shown);
    }
    this.top.textContent = most ? `max ${this.format(most)}` : "";
    this.svg.setAttribute("aria-label", `${this.title}: at most ${this.format(most)} in the time shown`);
  }
}

function shape(tag, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}
