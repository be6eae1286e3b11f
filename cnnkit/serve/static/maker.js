/** What one run makes: an image that changes as sliders move it through the latent space. */

import { element, factsOf } from "./elements.js";
import { make } from "./server.js";

/** How far sliders reach, in standard deviations of what the network has learned from, and how fine they are. */
const REACH = 3;
const STEP = 0.1;

/** The largest start that the server takes. */
const LAST_START = 2 ** 31 - 1;

export class MakerColumn {
  /**
   * @param {object} maker As /runs describes it.
   * @param {number} number Tells its elements from those of other runs.
   * @param {(change: number) => void} wait Called when an image is asked for (1), and when it has come (-1).
   * @param {(error: Error | null) => void} told Called with what went wrong, and with null when an image has come.
   */
  constructor(maker, number, wait, told) {
    this.maker = maker;
    this.wait = wait;
    this.told = told;
    /** How often something else was wanted, and which of it is asked for. */
    this.wanted = 0;
    this.asking = false;
    const known = maker.class_names;
    const { label, text } = maker.headline;
    const shapes = `${maker.latent} numbers to ${maker.image_shape.join("×")}`;
    this.image = element("img", { class: "pixels made" });
    this.start = element("input", { type: "number", id: `start-${number}`, min: 0, max: LAST_START, step: 1, value: 0 });
    this.start.addEventListener("change", () => this.update());
    const fresh = element("button", { type: "button", class: "primary" }, "New");
    fresh.addEventListener("click", () => {
      this.start.value = Math.floor(Math.random() * (LAST_START + 1));
      this.update();
    });
    this.class = element("select", { id: `made-class-${number}` }, ...known.map((name) => element("option", { value: name }, name)));
    this.class.addEventListener("change", () => this.update());
    this.sliders = Array.from({ length: maker.directions }, (_, index) => this.slider(index, `${number}-${index}`));
    const back = element("button", { type: "button" }, "Back to 0");
    back.addEventListener("click", () => {
      for (const { input } of this.sliders) input.value = 0;
      this.update();
    });
    this.node = element(
      "section",
      { class: "card run", "aria-labelledby": `maker-${number}` },
      element("h2", { id: `maker-${number}` }, maker.name),
      element("p", { class: "muted" }, factsOf(maker, `${label} ${text}`, shapes)),
      element(
        "div",
        { class: "maker" },
        this.image,
        element(
          "div",
          {},
          element("div", { class: "controls" }, element("label", { for: this.start.id }, "Start"), this.start, fresh),
          ...(known.length
            ? [element("div", { class: "controls" }, element("label", { for: this.class.id }, "Class"), this.class)]
            : []),
          element("h3", {}, "Directions"),
          element(
            "p",
            { class: "muted" },
            "Those along which its images change most, the strongest first, in standard deviations.",
          ),
          ...this.sliders.map(({ node }) => node),
          element("div", { class: "controls" }, back),
        ),
      ),
    );
  }

  slider(index, id) {
    const input = element("input", { type: "range", id: `direction-${id}`, min: -REACH, max: REACH, step: STEP, value: 0 });
    const output = element("output", { for: input.id });
    input.addEventListener("input", () => this.update());
    const label = element("label", { for: input.id }, `Direction ${index + 1}`);
    return { input, output, node: element("div", { class: "controls direction" }, label, input, output) };
  }

  /** Shows what is wanted now. One image is asked for at a time; what was wanted in the meantime is left out. */
  async update() {
    for (const { input, output } of this.sliders) output.textContent = Number(input.value).toFixed(1);
    this.wanted += 1;
    if (this.asking) return;
    this.asking = true;
    this.wait(1);
    let shown = null;
    while (shown !== this.wanted) {
      shown = this.wanted;
      try {
        this.show(await make(this.maker.name, this.asked()));
        this.told(null);
      } catch (error) {
        this.told(error);
      }
    }
    this.asking = false;
    this.wait(-1);
  }

  asked() {
    const { class_names: known } = this.maker;
    // What is no number is refused in the server's words.
    const seed = this.start.value === "" ? null : Number(this.start.value);
    return { seed, class: known.length ? this.class.value : null, amounts: this.sliders.map(({ input }) => Number(input.value)) };
  }

  show(file) {
    const before = this.image.src;
    this.image.src = URL.createObjectURL(file);
    this.image.alt = `What ${this.maker.name} makes of the start ${this.start.value}`;
    if (before) URL.revokeObjectURL(before);
  }
}
