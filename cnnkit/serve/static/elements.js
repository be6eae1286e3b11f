/** A new element with attributes and children; text becomes text, never markup. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

/** A slider for the opacity of a picture above another one, in per cent, with its label. */
export function opacityOf(picture, id, value) {
  const slider = element("input", { type: "range", id, min: 0, max: 100, value });
  const apply = () => {
    picture.style.opacity = slider.value / 100;
  };
  slider.addEventListener("input", apply);
  apply();
  return { control: element("div", { class: "controls" }, element("label", { for: id }, "Opacity"), slider) };
}

export function percent(share, digits = 1) {
  return `${(100 * share).toFixed(digits)}\u00a0%`;
}

/** What stands below a run's name.
 *
 *  @param {string} measured How good it is, in words, where that is known.
 *  @param {string} shapes What goes in, and what comes out.
 */
export function factsOf({ headline, parameters }, measured, shapes) {
  const known = parameters === null ? "" : `${parameters.toLocaleString("en")} parameters`;
  return [headline.text === null ? "not evaluated" : measured, known, shapes].filter(Boolean).join(" · ");
}
