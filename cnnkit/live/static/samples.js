// The network's filters and its guesses for a few test images.

import { percent } from "./format.js";

const byId = (id) => document.getElementById(id);

/** Shows the first layer's filters as they are after an epoch. */
export function showFilters(epoch, count, shown) {
  byId("filters").hidden = false;
  const number = count > shown ? `The first ${shown} of ${count} filters` : `${count} filters`;
  byId("filters-note").textContent =
    `${number}, each scaled by its largest weight: middle grey is 0, brighter is positive.`;
  byId("filters-caption").textContent = `After epoch ${epoch}`;
  const before = byId("filters-before");
  if (!before.getAttribute("src")) before.src = "filters.png?when=before";
  const now = byId("filters-now");
  now.alt = `The kernels of the first layer after epoch ${epoch}`;
  now.src = `filters.png?when=now&epoch=${epoch}`;
}

/** Shows what the network says of the test images; `guesses` is the answer of /samples. */
export function showSamples({ epoch, images }) {
  byId("samples").hidden = images.length === 0;
  if (images.length === 0) return;
  const right = images.filter((image) => image.right).length;
  byId("samples-note").textContent = `After epoch ${epoch}: ${right} of ${images.length} right. ` +
    "They are always the same images; the whole test split is measured at the end.";
  const list = byId("sample-list");
  if (list.children.length !== images.length) list.replaceChildren(...images.map(card));
  images.forEach((image, index) => fill(list.children[index], image));
}

export function showNoSamples(problem) {
  byId("samples").hidden = false;
  byId("samples-note").textContent = `The test images cannot be shown: ${problem}`;
}

function card(image, index) {
  const item = document.createElement("li");
  const picture = document.createElement("img");
  picture.src = `images/${index}.png`;
  picture.alt = `Test image of the class ${image.class}`;
  picture.className = "pixels";
  const bar = document.createElement("progress");
  bar.setAttribute("aria-hidden", "true");
  const guess = document.createElement("p");
  const truth = document.createElement("p");
  truth.className = "muted";
  item.append(picture, guess, bar, truth);
  return item;
}

function fill(item, image) {
  const [best] = image.top;
  const [, guess, bar, truth] = item.children;
  guess.className = image.right ? "good" : "bad";
  const mark = document.createElement("span");
  mark.className = "mark";
  mark.textContent = image.right ? "✓ " : "✗ ";
  mark.setAttribute("role", "img");
  mark.setAttribute("aria-label", image.right ? "right:" : "wrong:");
  const probability = percent(best.probability, best.probability > 0.9995 ? 0 : 1).replace(" ", "\u00a0");
  guess.replaceChildren(mark, `${best.class}, ${probability}`);
  bar.value = best.probability;
  truth.textContent = image.right ? "" : `is ${image.class}`;
  item.title = image.top.map((one) => `${one.class}: ${percent(one.probability)}`).join(", ");
}
