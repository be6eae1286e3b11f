/** The drawing pad. Strokes are kept as lines, so that they can be drawn again in the network's own frame. */

/** Points of a network's pixel per side, before they are averaged: smooth edges, as in scanned digits. */
const FINE = 16;

/** A stroke's width is a share of the drawing's height; on the pad, drawings are taken to be this high. */
const USUAL_HEIGHT = 0.7;

/** A drawing that is smaller, such as a dot, is not enlarged any further. */
const LEAST_EXTENT = 0.1;

/** How far an arrow key moves the pen, as a share of the pad's side; with Shift, a quarter of it. */
const STEP = 0.04;

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** What draws the current stroke, where it is no pointer. */
const KEYBOARD = "keyboard";

export class Pad {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {HTMLInputElement} brush Its value is the width in hundredths of a drawing's height.
   * @param {boolean} bright Whether strokes are white on black, or black on white.
   * @param {() => void} changed Called when a stroke ends, and after other changes.
   */
  constructor(canvas, brush, bright, changed) {
    this.canvas = canvas;
    this.brush = brush;
    this.bright = bright;
    this.changed = changed;
    this.strokes = [];
    this.current = null;
    /** Where the keyboard's pen is. */
    this.pen = [0.5, 0.5];
    canvas.addEventListener("keydown", (event) => this.press(event));
    canvas.addEventListener("focus", () => this.draw());
    canvas.addEventListener("blur", () => {
      this.finish(KEYBOARD);
      this.draw();
    });
    canvas.addEventListener("pointerdown", (event) => this.begin(event));
    canvas.addEventListener("pointermove", (event) => this.extend(event));
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, (event) => this.finish(event.pointerId));
    }
    brush.addEventListener("input", () => this.draw());
    brush.addEventListener("change", () => this.changed());
    this.draw();
  }

  get isEmpty() {
    return this.strokes.length === 0;
  }

  get width() {
    return Number(this.brush.value) / 100;
  }

  clear() {
    this.strokes = [];
    this.draw();
  }

  undo() {
    this.strokes.pop();
    this.draw();
    this.changed();
  }

  begin(event) {
    if (event.button !== 0) return;
    this.finish(KEYBOARD);
    if (this.current) return;
    event.preventDefault();
    this.canvas.setPointerCapture(event.pointerId);
    this.start(event.pointerId);
    this.extend(event);
  }

  start(pointer) {
    this.pointer = pointer;
    this.current = [];
    this.strokes.push(this.current);
  }

  /** Arrow keys move the pen; the space bar puts it down, and lifts it. */
  press(event) {
    const arrow = ARROWS[event.key];
    if (!arrow && event.key !== " ") return;
    event.preventDefault();
    if (this.current && this.pointer !== KEYBOARD) return;
    if (arrow) {
      const step = event.shiftKey ? STEP / 4 : STEP;
      this.pen = this.pen.map((place, axis) => Math.max(0, Math.min(1, place + step * arrow[axis])));
    } else if (this.current) {
      this.finish(KEYBOARD);
    } else {
      this.start(KEYBOARD);
    }
    if (this.current) this.current.push(this.pen);
    this.draw();
  }

  extend(event) {
    if (!this.current || event.pointerId !== this.pointer) return;
    const box = this.canvas.getBoundingClientRect();
    const events = event.getCoalescedEvents?.() ?? [];
    for (const { clientX, clientY } of events.length ? events : [event]) {
      this.current.push([(clientX - box.left) / box.width, (clientY - box.top) / box.height]);
    }
    this.draw();
  }

  finish(pointer) {
    if (!this.current || pointer !== this.pointer) return;
    this.current = null;
    this.changed();
  }

  draw() {
    const size = this.canvas.width;
    const place = ([x, y]) => [x * size, y * size];
    const context = this.canvas.getContext("2d");
    const width = this.width * USUAL_HEIGHT * size;
    paint(context, this.strokes, place, width, this.bright);
    const down = this.current !== null && this.pointer === KEYBOARD;
    if (this.canvas.matches(":focus-visible")) showPen(context, place(this.pen), width / 2, down);
  }

  /** The drawing as a PNG file of the network's size: as large in its frame as the data set's images, its centre of
   *  mass in the middle (as for MNIST; LeCun et al. 1998).
   *
   *  @param {number} height
   *  @param {number} width
   *  @param {{share: number, bright: boolean}} frame How the data set's images fill their frame.
   */
  image(height, width, frame) {
    const fine = new OffscreenCanvas(width * FINE, height * FINE);
    const context = fine.getContext("2d", { willReadFrequently: true });
    const fitted = fit(this.strokes, this.width, frame.share, fine.width, fine.height);
    const render = ([right, down]) => {
      const place = ([x, y]) => [x * fitted.scale + fitted.left + right, y * fitted.scale + fitted.top + down];
      paint(context, this.strokes, place, fitted.width, true);
      return average(context.getImageData(0, 0, fine.width, fine.height), height, width);
    };
    const shift = fitted.within(toTheMiddle(render([0, 0]), height, width));
    const levels = render(shift);
    const pixels = new ImageData(width, height);
    levels.forEach((level, index) => {
      const grey = Math.round(frame.bright ? level : 255 - level);
      pixels.data.set([grey, grey, grey, 255], 4 * index);
    });
    const small = new OffscreenCanvas(width, height);
    small.getContext("2d").putImageData(pixels, 0, 0);
    return small.convertToBlob({ type: "image/png" });
  }
}

function paint(context, strokes, place, width, bright) {
  const [background, ink] = bright ? ["#000000", "#ffffff"] : ["#ffffff", "#000000"];
  context.fillStyle = background;
  context.fillRect(0, 0, context.canvas.width, context.canvas.height);
  context.strokeStyle = ink;
  context.lineWidth = width;
  context.lineCap = context.lineJoin = "round";
  for (const stroke of strokes) {
    context.beginPath();
    context.moveTo(...place(stroke[0]));
    for (const point of stroke) context.lineTo(...place(point));
    context.stroke();
  }
}

/** The keyboard's pen: a ring, filled while it is down. Its grey is seen on black, on white and on strokes. */
function showPen(context, [x, y], radius, down) {
  context.strokeStyle = context.fillStyle = "#808080";
  context.lineWidth = Math.max(2, radius / 4);
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  if (down) context.fill();
  context.stroke();
}

/** How strokes (in 0..1) are scaled and moved so that they fill the frame's share, their box in the middle. */
function fit(strokes, brush, share, frameWidth, frameHeight) {
  const xs = strokes.flat().map(([x]) => x);
  const ys = strokes.flat().map(([, y]) => y);
  const [minX, maxX, minY, maxY] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const side = share * Math.min(frameWidth, frameHeight);
  const width = brush * side;
  const scale = (side - width) / Math.max(maxX - minX, maxY - minY, LEAST_EXTENT);
  const inkWidth = (maxX - minX) * scale + width;
  const inkHeight = (maxY - minY) * scale + width;
  const bounded = (value, room) => Math.max(-room, Math.min(room, value));
  return {
    scale,
    width,
    left: (frameWidth - (minX + maxX) * scale) / 2,
    top: (frameHeight - (minY + maxY) * scale) / 2,
    /** A shift, shortened where the drawing would leave the frame. */
    within: ([right, down]) => [
      bounded(right * FINE, (frameWidth - inkWidth) / 2),
      bounded(down * FINE, (frameHeight - inkHeight) / 2),
    ],
  };
}

/** The mean brightness of each block of FINE x FINE points. */
function average(pixels, height, width) {
  const levels = new Float64Array(height * width);
  for (let y = 0; y < pixels.height; y += 1) {
    for (let x = 0; x < pixels.width; x += 1) {
      const block = Math.floor(y / FINE) * width + Math.floor(x / FINE);
      levels[block] += pixels.data[4 * (y * pixels.width + x)] / FINE ** 2;
    }
  }
  return levels;
}

/** The way from the centre of mass to the middle, in pixels: right and down. */
function toTheMiddle(levels, height, width) {
  let [total, right, down] = [0, 0, 0];
  levels.forEach((level, index) => {
    total += level;
    right += level * (index % width);
    down += level * Math.floor(index / width);
  });
  if (total === 0) return [0, 0];
  return [(width - 1) / 2 - right / total, (height - 1) / 2 - down / total];
}
