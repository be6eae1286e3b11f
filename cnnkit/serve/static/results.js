/** What one run says of the image. */

import { element, factsOf, opacityOf } from "./elements.js";

export class RunColumn {
  /**
   * @param {object} run As /runs describes it.
   * @param {object} kind The module for its kind of answers.
   * @param {number} number Tells its elements from those of other runs.
   * @param {(column: RunColumn, wanted: string) => void} asked Called when something else is to be explained, such as
   *   another class.
   */
  constructor(run, kind, number, asked) {
    this.run = run;
    this.kind = kind;
    /** How often it was asked: answers to older questions are not shown. */
    this.question = 0;
    /** The file that it was asked about last. */
    this.image = null;
    this.view = new kind.View(run, number, () => asked(this));
    const { label, text } = run.headline;
    const measured = text === null ? "" : (kind.measured(run) ?? `${label} ${text} on the test images`);
    const facts = factsOf(run, measured, `input ${run.input_shape.join("×")}`);
    const isText = run.sample === "text";
    const none = isText
      ? "No text yet: write one, or click one of the test split."
      : "No image yet: choose, drop, paste or draw one, or click a test image.";
    this.hint = element("p", { class: "muted" }, none);
    this.answer = element("p", { class: "answer" });
    /** The words of a text, each as dark as it speaks for what is explained. */
    this.words = element("p", { class: "words", hidden: !isText });
    this.input = element("img", { class: "pixels", alt: "The image as the network sees it" });
    this.heatBase = element("img", { class: "pixels", alt: "" });
    this.heat = element("img", { class: "overlay" });
    this.wanted = element("select", { id: `class-${number}` }, ...run.subjects.map((name) => element("option", { value: name }, name)));
    this.wanted.addEventListener("change", () => asked(this, this.wanted.value));
    const opacity = opacityOf(this.heat, `opacity-${number}`, 70);
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
      ...(isText ? [] : [opacity.control]),
    );
    this.stages = element("div");
    this.time = element("p", { class: "muted" });
    this.details = element(
      "div",
      { hidden: true },
      this.answer,
      this.words,
      ...this.view.nodes,
      element(
        "div",
        { class: "pictures", hidden: isText },
        element("figure", {}, this.input, element("figcaption", {}, "What the network sees")),
        ...this.view.figures,
        this.heatFigure,
      ),
      this.heatControls,
      ...(run.stages.length ? [element("h3", {}, "Feature maps"), this.stages] : []),
      this.time,
    );
    this.node = element(
      "section",
      { class: "card run", "aria-labelledby": `run-${number}` },
      element("h2", { id: `run-${number}` }, run.name),
      element("p", { class: "muted" }, facts),
      ...(run.note === null ? [] : [element("p", { class: "muted" }, run.note)]),
      this.hint,
      this.details,
    );
  }

  /** Shows no answer any more. */
  reset() {
    this.hint.hidden = false;
    this.details.hidden = true;
  }

  /** Shows an answer of /explain, and returns it in one line. */
  show(found, milliseconds) {
    const { answer, line } = this.view.show(found);
    this.answer.replaceChildren(...answer);
    this.input.src = this.heatBase.src = found.image;
    this.heatFigure.hidden = this.heatControls.hidden = found.gradcam === null;
    if (found.gradcam) {
      this.wanted.value = found.gradcam.class;
      this.heat.src = found.gradcam.overlay;
      this.heat.alt = `Grad-CAM for ${found.gradcam.class}, at the layer ${found.gradcam.layer}`;
    }
    this.words.replaceChildren(...found.words.flatMap(markedWord));
    this.stages.replaceChildren(...found.stages.map(stageFigure));
    this.time.textContent = `${found.milliseconds.toFixed(0)} ms in the server, ${milliseconds.toFixed(0)} ms in all`;
    this.hint.hidden = true;
    this.details.hidden = false;
    return `${this.run.name}: ${line}`;
  }
}

function markedWord([word, strength]) {
  const percent = Math.round(100 * strength);
  const marked = element("mark", { title: `${percent} %` }, word);
  marked.style.setProperty("--strength", `${percent}%`);
  return [percent >= 1 ? marked : word, " "];
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
