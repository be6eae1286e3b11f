// Test images with the labels that the network gives each.

export function summary(images) {
  return `all labels right of ${images.filter((image) => image.right).length} of ${images.length}`;
}

export function card(image, index) {
  const item = document.createElement("li");
  const picture = document.createElement("img");
  picture.src = `images/${index}.png`;
  picture.alt = `Test image with ${text(image.labels)}`;
  picture.className = "pixels";
  const guess = document.createElement("p");
  const truth = document.createElement("p");
  truth.className = "muted";
  item.append(picture, guess, truth);
  return item;
}

export function fill(item, image) {
  const [, guess, truth] = item.children;
  guess.className = image.right ? "good" : "bad";
  const mark = document.createElement("span");
  mark.className = "mark";
  mark.textContent = image.right ? "✓ " : "✗ ";
  mark.setAttribute("role", "img");
  mark.setAttribute("aria-label", image.right ? "right:" : "wrong:");
  guess.replaceChildren(mark, text(image.predicted));
  truth.textContent = image.right ? "" : `has ${text(image.labels)}`;
}

function text(labels) {
  return labels.join(", ") || "no label";
}
