// The picture that a network restores, beside the damaged one that it learns from.

export function summary() {
  return "the damaged picture, and the average of what the network makes of it";
}

function figure(caption) {
  const item = document.createElement("figure");
  const picture = document.createElement("img");
  picture.alt = caption;
  const text = document.createElement("figcaption");
  text.textContent = caption;
  item.append(picture, text);
  return item;
}

export function card(image, index) {
  const item = document.createElement("li");
  const before = figure("Damaged");
  before.querySelector("img").src = `images/${index}.png`;
  item.append(before, figure("Restored so far"));
  return item;
}

export function fill(item, image) {
  item.lastElementChild.querySelector("img").src = image.picture;
}
