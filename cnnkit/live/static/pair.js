// What a network makes, beside what it makes it of or learns it from.

function figure(caption) {
  const item = document.createElement("figure");
  const picture = document.createElement("img");
  picture.alt = caption;
  const text = document.createElement("figcaption");
  text.textContent = caption;
  item.append(picture, text);
  return item;
}

export function pair(index, before, after) {
  const item = document.createElement("li");
  const first = figure(before);
  first.querySelector("img").src = `images/${index}.png`;
  item.append(first, figure(after));
  return item;
}

export function fill(item, image) {
  item.lastElementChild.querySelector("img").src = image.picture;
}
