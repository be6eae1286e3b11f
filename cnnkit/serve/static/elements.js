/** A new element with attributes and children; text becomes text, never markup. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

export function percent(share, digits = 1) {
  return `${(100 * share).toFixed(digits)}\u00a0%`;
}
