// Test images with the numbers that the network gives each.

export function summary(images, samples) {
  return `the numbers of ${images.length} ${samples} beside the true ones`;
}

export function card(image, index) {
  const item = document.createElement("li");
  const picture = document.createElement("img");
  picture.src = `images/${index}.png`;
  picture.alt = `Test image with ${text(image.numbers)}`;
  picture.className = "pixels";
  const guess = document.createElement("p");
  const truth = document.createElement("p");
  truth.className = "muted";
  item.append(picture, guess, truth);
  return item;
}

export function fill(item, image) {
  const [, guess, truth] = item.children;
  guess.textContent = text(image.predicted);
  truth.textContent = `is ${text(image.numbers)}`;
}

function text(numbers) {
  return Object.entries(numbers)
    .map(([name, value]) => `${name} ${Number(value.toPrecision(4))}`)
    .join(", ");
}
