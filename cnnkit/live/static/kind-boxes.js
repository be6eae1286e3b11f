// Test images with the boxes that the network finds in them, and broken lines around what there is to be found.

const SVG = "http://www.w3.org/2000/svg";

export function summary(images) {
  const said = images.reduce((sum, image) => sum + image.boxes.length, 0);
  const all = images.reduce((sum, image) => sum + image.truth.length, 0);
  return `${said} boxes in ${images.length} images, which show ${all} objects (broken lines)`;
}

export function card(image, index) {
  const item = document.createElement("li");
  const figure = document.createElement("figure");
  const box = document.createElement("div");
  box.className = "layers";
  const picture = document.createElement("img");
  picture.src = `images/${index}.png`;
  picture.alt = `Test image ${index + 1}`;
  const lines = document.createElementNS(SVG, "svg");
  lines.setAttribute("viewBox", `0 0 ${image.width} ${image.height}`);
  lines.setAttribute("aria-hidden", "true");
  box.append(picture, lines);
  figure.append(box, document.createElement("figcaption"));
  item.append(figure);
  return item;
}

function rectangle(box, colour, broken) {
  const shape = document.createElementNS(SVG, "rect");
  shape.setAttribute("x", box.left);
  shape.setAttribute("y", box.top);
  shape.setAttribute("width", box.right - box.left);
  shape.setAttribute("height", box.bottom - box.top);
  shape.setAttribute("fill", "none");
  shape.setAttribute("stroke", colour);
  shape.setAttribute("stroke-width", "1.5");
  shape.setAttribute("vector-effect", "non-scaling-stroke");
  if (broken) {
    shape.setAttribute("stroke-dasharray", "4 3");
  }
  return shape;
}

export function fill(item, image) {
  item.querySelector("svg").replaceChildren(
    ...image.truth.map((box) => rectangle(box, "#f0a52d", true)),
    ...image.boxes.map((box) => rectangle(box, "#0078b4", false)),
  );
  const names = image.boxes.slice(0, 4).map((box) => box.class);
  item.querySelector("figcaption").textContent = names.join(", ") || "finds nothing";
}
