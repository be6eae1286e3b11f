// Test images under the masks that the network makes of them, each beside the true one.

import { isNumber, percent } from "./format.js";

export function summary(images) {
  const shares = images.map((image) => image.right).filter(isNumber);
  const mean = shares.reduce((sum, share) => sum + share, 0) / shares.length;
  return `${percent(mean)} of the pixels right, the mean of ${images.length} images`;
}

function layers(name, index) {
  const figure = document.createElement("figure");
  const box = document.createElement("div");
  box.className = "layers";
  const picture = document.createElement("img");
  picture.src = `images/${index}.png`;
  picture.alt = "";
  const mask = document.createElement("img");
  mask.className = "mask pixels";
  mask.alt = `${name} of test image ${index + 1}`;
  box.append(picture, mask);
  const caption = document.createElement("figcaption");
  caption.textContent = name;
  figure.append(box, caption);
  return figure;
}

export function card(image, index) {
  const item = document.createElement("li");
  item.append(layers("Prediction", index), layers("Truth", index));
  return item;
}

export function fill(item, image) {
  const [prediction, truth] = item.children;
  prediction.querySelector(".mask").src = image.mask;
  truth.querySelector(".mask").src = image.truth;
  prediction.querySelector("figcaption").textContent =
    image.right === null ? "no pixel counts" : `${percent(image.right)} right`;
}
