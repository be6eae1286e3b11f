/** The page: takes images in, asks every run about them, and shows the answers; and what runs make that make images. */

import { element, percent } from "./elements.js";
import { MakerColumn } from "./maker.js";
import { Pad } from "./pad.js";
import { RunColumn } from "./results.js";
import { explain, getBlob, getJson } from "./server.js";

const find = (id) => document.getElementById(id);

/** Questions that are not answered yet. */
let waiting = 0;

/** The runs' columns. An image that is given before the server has told of its runs waits for them. */
const ready = getJson("/runs").then(showRuns);

function wait(change) {
  waiting += change;
  find("runs").setAttribute("aria-busy", String(waiting > 0));
}

function fail(error) {
  find("error").textContent = error.message;
}

/** Asks all runs, as soon as they are known.
 *
 *  @param {(run: object) => Blob | Promise<Blob>} imageFor Makes the file for one of them.
 *  @param {HTMLButtonElement | null} source The example's button, if it is one.
 */
async function ask(imageFor, source = null) {
  wait(1);
  try {
    await askColumns(await ready, imageFor, source);
  } catch (error) {
    fail(error);
  } finally {
    wait(-1);
  }
}

async function askColumns(columns, imageFor, source) {
  find("error").textContent = "";
  for (const button of find("examples").querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(button === source));
  }
  const answers = await Promise.allSettled(columns.map((column) => askOne(column, imageFor)));
  if (answers.some(({ value }) => value === null)) return;
  const lines = answers.filter(({ status }) => status === "fulfilled").map(({ value }) => value);
  const problems = [];
  answers.forEach(({ status, reason }, index) => {
    if (status === "fulfilled") return;
    // The others' answers stay.
    columns[index].reset();
    problems.push(lines.length ? `${columns[index].run.name}: ${reason.message}` : reason.message);
  });
  find("error").textContent = [...new Set(problems)].join("; ");
  find("status").textContent = lines.join("; ");
  find("summary").textContent = lines.join("; ");
  find("summary").hidden = !lines.length;
}

/** One run's answer in a line, once it is shown; null where something newer was asked in the meantime. */
async function askOne(column, imageFor, wanted) {
  column.question += 1;
  const question = column.question;
  const isOld = () => question !== column.question;
  wait(1);
  try {
    const image = await imageFor(column.run);
    if (isOld()) return null;
    column.image = image;
    const start = performance.now();
    const found = await explain(column.run.name, image, wanted, column.view.parameters);
    return isOld() ? null : column.show(found, performance.now() - start);
  } catch (error) {
    if (isOld()) return null;
    throw error;
  } finally {
    wait(-1);
  }
}

async function askForClass(column, wanted) {
  find("error").textContent = "";
  try {
    await askOne(column, () => column.image, wanted);
  } catch (error) {
    fail(error);
  }
}

function askAboutFile(file) {
  if (file) return ask(() => file);
  fail(new Error("There is no image in what you gave."));
}

function takeFiles() {
  const input = find("file");
  input.addEventListener("change", () => {
    if (input.files.length) askAboutFile(input.files[0]);
    // The same file can be chosen again.
    input.value = "";
  });
  let depth = 0;
  const mark = (change) => {
    depth = Math.max(0, depth + change);
    document.body.classList.toggle("dragging", depth > 0);
  };
  document.addEventListener("dragenter", () => mark(1));
  document.addEventListener("dragleave", () => mark(-1));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    mark(-depth);
    askAboutFile(event.dataTransfer.files[0]);
  });
  document.addEventListener("paste", (event) => {
    askAboutFile(event.clipboardData.files[0]);
  });
}

function showExamples({ examples, note }, kind) {
  find("examples-note").textContent = note ?? kind.examplesNote;
  find("examples").classList.toggle("texts", examples.some((example) => example.text));
  for (const example of examples) {
    const shown = example.text
      ? element("span", {}, example.text)
      : element("img", { class: "pixels", src: example.url, alt: "", width: 64, height: 64 });
    const { text, spoken } = kind.labelOf(example);
    const button = element("button", { type: "button", "aria-pressed": "false" }, shown, text);
    const name = example.text ? `Test text: ${example.text}` : `Test image ${example.index + 1}`;
    button.setAttribute("aria-label", [name, spoken].filter(Boolean).join(", "));
    button.addEventListener("click", () => {
      if (example.text) find("text").value = example.text;
      // Once for all runs; and asked for now, so that what is clicked last is shown last.
      const file = example.text ? textFile(example.text) : getBlob(example.url);
      ask(() => file, button);
    });
    find("examples").append(element("li", {}, button));
  }
}

function textFile(text) {
  return new Blob([text], { type: "text/plain" });
}

/** Texts are written; images are chosen, dropped or drawn. */
function offerTexts(runs) {
  const texts = runs.filter((run) => run.sample === "text").length;
  find("text-section").hidden = !texts;
  find("image-section").hidden = texts === runs.length;
  find("text-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const file = textFile(find("text").value);
    ask(() => file);
  });
}

function offerPad(runs) {
  const drawable = runs.filter((run) => run.input_shape[2] === 1);
  if (!drawable.length) return;
  find("pad-section").hidden = false;
  const shares = [...new Set(drawable.map((run) => percent(run.drawing.share, 0)))];
  find("pad-note").textContent =
    "Draw in the square with the mouse, a pen or a finger, or with the keyboard: arrow keys move the pen (less far with " +
    "Shift), the space bar puts it down and lifts it. Your drawing is scaled until it fills " +
    `${shares.join(" or ")} of the network's frame, and moved until its centre of mass is in the middle, as in the ` +
    "images that the network learned from.";
  const pad = new Pad(find("pad"), find("brush"), drawable[0].drawing.bright, () => {
    if (!pad.isEmpty) ask((run) => pad.image(run.input_shape[0], run.input_shape[1], run.drawing));
  });
  find("clear").addEventListener("click", () => pad.clear());
  find("undo").addEventListener("click", () => pad.undo());
}

/** Runs that make images; where there are no others, nothing is given. */
function offerMakers(makers, alone) {
  const told = (error) => {
    find("error").textContent = error?.message ?? "";
  };
  const columns = makers.map((maker, index) => new MakerColumn(maker, index, wait, told));
  find("runs").append(...columns.map((column) => column.node));
  for (const column of columns) column.update();
  if (!alone) return;
  find("inputs").hidden = true;
  find("lead").textContent =
    "See what a network makes of random numbers, and how the image changes on the way to others.";
}

async function showRuns({ runs, makers }) {
  const kinds = await Promise.all(runs.map((run) => import(`./kind-${run.kind}.js`)));
  document.title = `${[...runs, ...makers].map((run) => run.name).join(", ")} - cnnkit serve`;
  const columns = runs.map((run, index) => new RunColumn(run, kinds[index], index, askForClass));
  find("runs").append(...columns.map((column) => column.node));
  offerMakers(makers, !runs.length);
  offerTexts(runs);
  offerPad(runs);
  return columns;
}

takeFiles();
// Images can be given before there are examples, which are of the first run.
Promise.all([ready, getJson("/examples")])
  .then(([columns, examples]) => columns.length && showExamples(examples, columns[0].kind))
  .catch(fail);
