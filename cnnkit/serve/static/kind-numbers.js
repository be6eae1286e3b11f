/** Answers that are one or several numbers. */

import { element } from "./elements.js";

export const examplesNote = "Each with its true numbers; none of them was trained on.";

/** What stands under a test image, and what else is said of it to those who do not see it. */
export function labelOf(example) {
  const text = line(example.numbers);
  return { text, spoken: `true numbers: ${text}` };
}

export function measured() {
  return null;
}

export class View {
  /** @param {object} run As /runs describes it. */
  constructor(run) {
    this.rows = element("tbody");
    this.nodes = [element("table", { "aria-label": `Numbers of ${run.name}` }, this.rows)];
    this.figures = [];
  }

  /** Shows an answer; returns what is said of it at once, and in one line. */
  show(found) {
    const listed = Object.entries(found.numbers);
    this.rows.replaceChildren(
      ...listed.map(([name, value]) =>
        element("tr", {}, element("th", { scope: "row" }, name), element("td", { class: "number" }, shown(value))),
      ),
    );
    return { answer: [line(found.numbers)], line: line(found.numbers) };
  }
}

function line(numbers) {
  return Object.entries(numbers)
    .map(([name, value]) => `${name} ${shown(value)}`)
    .join(", ");
}

function shown(value) {
  return String(Number(value.toPrecision(5)));
}
