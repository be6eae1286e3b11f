// An image that a network makes, beside the noise that it makes it of.

export function summary() {
  return "what the network makes of the same noise after each epoch";
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
  const before = figure("Noise");
  before.querySelector("img").src = `images/${index}.png`;
  item.append(before, figure("Made of it"));
  return item;
}

export function fill(item, image) {
  item.lastElementChild.querySelector("img").src = image.picture;
}
