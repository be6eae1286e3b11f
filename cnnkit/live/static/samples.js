// The network's filters, and what it says of a few test images.

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
export async function showSamples({ epoch, kind, samples, images }) {
  byId("samples").hidden = images.length === 0;
  if (images.length === 0) return;
  const { card, fill, summary } = await import(`./kind-${kind}.js`);
  byId("samples-heading").textContent = `Test ${samples} and what the network says of them`;
  byId("samples-note").textContent =
    `After epoch ${epoch}: ${summary(images, samples)}. They are always the same ${samples}; the whole test split is measured at ` +
    "the end.";
  const list = byId("sample-list");
  list.classList.add(`kind-${kind}`);
  if (list.children.length !== images.length) list.replaceChildren(...images.map(card));
  images.forEach((image, index) => fill(list.children[index], image));
}

export function showNoSamples(problem) {
  byId("samples").hidden = false;
  byId("samples-note").textContent = `The test images cannot be shown: ${problem}`;
}
