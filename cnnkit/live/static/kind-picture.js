// The picture that a network restores, beside the damaged one that it learns from.

import { pair } from "./pair.js";

export { fill } from "./pair.js";

export function summary() {
  return "the damaged picture, and the average of what the network makes of it";
}

export function card(image, index) {
  return pair(index, "Damaged", "Restored so far");
}
