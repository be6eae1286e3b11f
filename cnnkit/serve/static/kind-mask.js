/** Answers that are a class for each pixel. */

import { element, opacityOf, percent } from "./elements.js";

/** Classes that the answer's line names. */
const NAMED = 3;

export const examplesNote = "None of them was trained on.";

export function labelOf() {
  return { text: "", spoken: "" };
}

export function measured() {
  return null;
}

export class View {
  constructor(run, number) {
    this.colours = run.facts.colours;
    this.base = element("img", { class: "pixels", alt: "" });
    this.mask = element("img", { class: "overlay pixels", alt: "The class of each pixel, by its colour" });
    this.legend = element("tbody");
    const { control } = opacityOf(this.mask, `mask-opacity-${number}`, 60);
    this.nodes = [
      element("table", { class: "legend", "aria-label": `Classes in the mask of ${run.name}` }, this.legend),
    ];
    this.figures = [
      element(
        "figure",
        {},
        element("div", { class: "layers" }, this.base, this.mask),
        element("figcaption", {}, "The class of each pixel"),
        control,
      ),
    ];
  }

  show(found) {
    this.base.src = found.image;
    this.mask.src = found.pictures.mask;
    const present = Object.entries(found.shares).filter(([, share]) => share > 0);
    present.sort(([, one], [, other]) => other - one);
    this.legend.replaceChildren(
      ...present.map(([name, share]) => {
        const patch = element("span", { class: "patch", "aria-hidden": "true" });
        patch.style.background = this.colours[name];
        return element(
          "tr",
          {},
          element("th", { scope: "row" }, patch, name),
          element("td", { class: "number" }, percent(share, 1)),
        );
      }),
    );
    const line = present.slice(0, NAMED).map(([name, share]) => `${name} ${percent(share, 0)}`).join(", ");
    return { answer: [line], line };
  }
}
