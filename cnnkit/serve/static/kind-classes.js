/** Answers that are a class and the probabilities of all classes. */

import { element, percent } from "./elements.js";

/** With more classes, the likeliest are listed first, and the others on demand. */
const MOST_CLASSES = 12;
const LIKELIEST = 10;

/** Longer names of classes take several lines. */
const MOST_LETTERS = 14;

export const examplesNote = "Each with its true class; none of them was trained on.";

/** What stands under a test image, and what else is said of it to those who do not see it. */
export function labelOf(example) {
  return { text: example.class, spoken: `true class ${example.class}` };
}

/** How good a run is, in words. */
export function measured({ headline, sample }) {
  return headline.name === "accuracy" ? `${percent(headline.value, 2)} of the test ${sample}s right` : null;
}

export class View {
  /** @param {object} run As /runs describes it. */
  constructor(run) {
    this.showsAll = false;
    this.rows = element("tbody");
    this.more = element("button", { type: "button" }, "Show all classes");
    this.more.addEventListener("click", () => {
      this.showsAll = !this.showsAll;
      this.listProbabilities();
    });
    const longest = Math.max(...run.class_names.map((name) => name.length));
    /** What stands below the answer, and what beside the image. */
    this.nodes = [
      element("table", { class: "probabilities", "aria-label": `Class probabilities of ${run.name}` }, this.rows),
      this.more,
    ];
    this.figures = [];
    this.nodes[0].style.setProperty("--label", `${Math.min(longest, MOST_LETTERS)}ch`);
  }

  /** Shows an answer; returns what is said of it at once, and in one line. */
  show(found) {
    this.found = found;
    this.listProbabilities();
    const share = percent(found.probability);
    return { answer: [found.class, " ", element("small", {}, share)], line: `${found.class}, ${share}` };
  }

  listProbabilities() {
    let listed = Object.entries(this.found.probabilities);
    const many = listed.length > MOST_CLASSES;
    if (many) {
      listed.sort(([, one], [, other]) => other - one);
      if (!this.showsAll) listed = listed.slice(0, LIKELIEST);
    }
    this.more.hidden = !many;
    this.more.textContent = this.showsAll ? `Show the ${LIKELIEST} likeliest` : "Show all classes";
    this.rows.replaceChildren(...listed.map(([name, share]) => this.probabilityRow(name, share)));
  }

  probabilityRow(name, share) {
    const bar = element("div", { class: "bar" });
    bar.style.width = `${100 * share}%`;
    return element(
      "tr",
      { class: name === this.found.class ? "predicted" : undefined },
      element("th", { scope: "row" }, name),
      element("td", {}, element("div", { class: "track", "aria-hidden": "true" }, bar)),
      element("td", { class: "number" }, percent(share, 2)),
    );
  }
}
