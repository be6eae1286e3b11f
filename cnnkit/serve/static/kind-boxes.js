/** Answers that are boxes around objects. */

import { element, percent } from "./elements.js";

/** Objects that the answer's line names. */
const NAMED = 3;

export const examplesNote = "None of them was trained on.";

export function labelOf(example) {
  const text = counted(example.truth.map((box) => box.class));
  return { text: "", spoken: `true objects: ${text}` };
}

export function measured() {
  return null;
}

/** Such as `2 cat, 1 dog`. */
function counted(names) {
  const counts = new Map();
  for (const name of names) {
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  const parts = [...counts].map(([name, count]) => `${count} ${name}`);
  return parts.slice(0, NAMED).join(", ") + (parts.length > NAMED ? ", ..." : "") || "no object";
}

export class View {
  /** @param {() => void} again Asks anew about the image. */
  constructor(run, number, again) {
    this.colours = run.facts.colours;
    /** What is asked for beside the image. */
    this.parameters = {};
    const value = Math.round(100 * run.facts.threshold);
    const slider = element("input", { type: "range", id: `threshold-${number}`, min: 1, max: 99, value });
    this.threshold = element("output", { for: slider.id }, percent(run.facts.threshold, 0));
    slider.addEventListener("input", () => {
      this.threshold.textContent = percent(slider.value / 100, 0);
    });
    slider.addEventListener("change", () => {
      this.parameters = { threshold: slider.value / 100 };
      again();
    });
    this.picture = element("img", { alt: "The image with a box around each object" });
    this.rows = element("tbody");
    const label = element("label", { for: slider.id }, "At least as sure as");
    this.nodes = [
      element("div", { class: "controls" }, label, slider, this.threshold),
      element("table", { class: "legend", "aria-label": `Objects found by ${run.name}` }, this.rows),
    ];
    this.figures = [element("figure", {}, this.picture, element("figcaption", {}, "What it finds, and how sure it is"))];
  }

  show(found) {
    this.picture.src = found.pictures.boxes;
    this.rows.replaceChildren(
      ...found.boxes.map((box) => {
        const patch = element("span", { class: "patch", "aria-hidden": "true" });
        patch.style.background = this.colours[box.class];
        return element(
          "tr",
          {},
          element("th", { scope: "row" }, patch, box.class),
          element("td", { class: "number" }, percent(box.score, 1)),
        );
      }),
    );
    const line = counted(found.boxes.map((box) => box.class));
    return { answer: [line], line };
  }
}
