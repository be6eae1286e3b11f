/** What one run says of the image. */

import { element, percent } from "./elements.js";

/** With more classes, the likeliest are listed first, and the others on demand. */
const MOST_CLASSES = 12;
const LIKELIEST = 10;

/** Longer names of classes take several lines. */
const MOST_LETTERS = 14;

export class RunColumn {
  /**
   * @param {object} run As /runs describes it.
   * @param {number} number Tells its elements from those of other runs.
   * @param {(column: RunColumn, wanted: string) => void} asked Called when another class is to be explained.
   */
  constructor(run, number, asked) {
    this.run = run;
    /** How often it was asked: answers to older questions are not shown. */
    this.question = 0;
    /** The file that it was asked about last. */
    this.image = null;
    this.showsAll = false;
    const facts = [
      run.accuracy === null ? "not evaluated" : `${percent(run.accuracy, 2)} of the test images right`,
      `${run.parameters.toLocaleString("en")} parameters`,
      `input ${run.input_shape.join("×")}`,
    ];
    this.hint = element("p", { class: "muted" }, "No image yet: choose, drop, paste or draw one, or click a test image.");
    this.answer = element("p", { class: "answer" });
    this.rows = element("tbody");
    this.more = element("button", { type: "button" }, "Show all classes");
    this.more.addEventListener("click", () => {
      this.showsAll = !this.showsAll;
      this.listProbabilities();
    });
    this.input = element("img", { class: "pixels", alt: "The image as the network sees it" });
    this.heatBase = element("img", { class: "pixels", alt: "" });
    this.heat = element("img", { class: "overlay" });
    this.wanted = element("select", { id: `class-${number}` }, ...run.class_names.map((name) => element("option", { value: name }, name)));
    this.wanted.addEventListener("change", () => asked(this, this.wanted.value));
    this.opacity = element("input", { type: "range", id: `opacity-${number}`, min: 0, max: 100, value: 70 });
    this.opacity.addEventListener("input", () => this.applyOpacity());
    this.heatFigure = element(
      "figure",
      {},
      element("div", { class: "layers" }, this.heatBase, this.heat),
      element("figcaption", {}, "Grad-CAM: what speaks for the class"),
    );
    this.heatControls = element(
      "div",
      {},
      element("div", { class: "controls" }, element("label", { for: this.wanted.id }, "Explain"), this.wanted),
      element("div", { class: "controls" }, element("label", { for: this.opacity.id }, "Opacity"), this.opacity),
    );
    this.stages = element("div");
    this.time = element("p", { class: "muted" });
    this.details = element(
      "div",
      { hidden: true },
      this.answer,
      element("table", { class: "probabilities", "aria-label": `Class probabilities of ${run.name}` }, this.rows),
      this.more,
      element(
        "div",
        { class: "pictures" },
        element("figure", {}, this.input, element("figcaption", {}, "What the network sees")),
        this.heatFigure,
      ),
      this.heatControls,
      element("h3", {}, "Feature maps"),
      this.stages,
      this.time,
    );
    this.node = element(
      "section",
      { class: "card run", "aria-labelledby": `run-${number}` },
      element("h2", { id: `run-${number}` }, run.name),
      element("p", { class: "muted" }, facts.join(" · ")),
      this.hint,
      this.details,
    );
    const longest = Math.max(...run.class_names.map((name) => name.length));
    this.node.style.setProperty("--label", `${Math.min(longest, MOST_LETTERS)}ch`);
  }

  applyOpacity() {
    this.heat.style.opacity = this.opacity.value / 100;
  }

  /** Shows no answer any more. */
  reset() {
    this.hint.hidden = false;
    this.details.hidden = true;
  }

  /** Shows an answer of /explain, and returns it in one line. */
  show(found, milliseconds) {
    this.found = found;
    this.answer.replaceChildren(found.class, " ", element("small", {}, percent(found.probability)));
    this.listProbabilities();
    this.input.src = this.heatBase.src = found.image;
    this.heatFigure.hidden = this.heatControls.hidden = found.gradcam === null;
    if (found.gradcam) {
      this.wanted.value = found.gradcam.class;
      this.heat.src = found.gradcam.overlay;
      this.heat.alt = `Grad-CAM for ${found.gradcam.class}, at the layer ${found.gradcam.layer}`;
      this.applyOpacity();
    }
    this.stages.replaceChildren(...found.stages.map(stageFigure));
    this.time.textContent = `${found.milliseconds.toFixed(0)} ms in the server, ${milliseconds.toFixed(0)} ms in all`;
    this.hint.hidden = true;
    this.details.hidden = false;
    return `${this.run.name}: ${found.class}, ${percent(found.probability)}`;
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

function stageFigure(stage) {
  const shown = stage.shown.length;
  const count = shown < stage.channels ? `${shown} of ${stage.channels} channels, the strongest` : `${shown} channels`;
  const caption = `${stage.name}: ${count}, ${stage.rows}×${stage.columns} each`;
  return element(
    "figure",
    { class: "stage" },
    element("figcaption", {}, caption),
    element("img", { class: "pixels", src: stage.sheet, alt: `Feature maps of ${caption}` }),
  );
}
