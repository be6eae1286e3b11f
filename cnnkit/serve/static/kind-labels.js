/** Answers that are any number of labels, with the probabilities of all. */

import { element, percent } from "./elements.js";

/** Longer names of labels take several lines. */
const MOST_LETTERS = 14;

export const examplesNote = "Each with its true labels; none of them was trained on.";

/** What stands under a test image, and what else is said of it to those who do not see it. */
export function labelOf(example) {
  const text = example.labels.join(", ") || "no label";
  return { text, spoken: `true labels: ${text}` };
}

export function measured() {
  return null;
}

export class View {
  /** @param {object} run As /runs describes it. */
  constructor(run) {
    this.rows = element("tbody");
    const longest = Math.max(...run.class_names.map((name) => name.length));
    this.nodes = [
      element("table", { class: "probabilities", "aria-label": `Label probabilities of ${run.name}` }, this.rows),
    ];
    this.figures = [];
    this.nodes[0].style.setProperty("--label", `${Math.min(longest, MOST_LETTERS)}ch`);
  }

  /** Shows an answer; returns what is said of it at once, and in one line. */
  show(found) {
    const listed = Object.entries(found.probabilities);
    this.rows.replaceChildren(...listed.map(([name, share]) => row(name, share, found.labels.includes(name))));
    const line = found.labels.join(", ") || "no label";
    return { answer: [line], line };
  }
}

function row(name, share, said) {
  const bar = element("div", { class: "bar" });
  bar.style.width = `${100 * share}%`;
  return element(
    "tr",
    { class: said ? "predicted" : undefined },
    element("th", { scope: "row" }, name),
    element("td", {}, element("div", { class: "track", "aria-hidden": "true" }, bar)),
    element("td", { class: "number" }, percent(share, 2)),
  );
}
