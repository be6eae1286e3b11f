// An image that a network makes, beside the noise that it makes it of.

import { pair } from "./pair.js";

export { fill } from "./pair.js";

export function summary() {
  return "what the network makes of the same noise after each epoch";
}

export function card(image, index) {
  return pair(index, "Noise", "Made of it");
}
