// Test images with the class that the network takes each for.

import { percent } from "./format.js";

export function summary(images) {
  return `${images.filter((image) => image.right).length} of ${images.length} right`;
}

export function card(image, index) {
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

export function fill(item, image) {
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
