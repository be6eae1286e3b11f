// The live page: asks the server once in a second what the run has come to, and shows it.

import { Chart } from "./charts.js";
import { MISSING, duration, isNumber, percent, significant, whole } from "./format.js";
import { showFilters, showNoSamples, showSamples } from "./samples.js";

const RUNNING = ["starting", "training", "evaluating"];
const MILLISECONDS = { running: 1000, ended: 4000, gone: 3000 };
const PATIENCE_MILLISECONDS = 8000;

const byId = (id) => document.getElementById(id);

/** One for each figure, and one for the learning rate; made when the server has told of the figures. */
const charts = [];

let latest = null;
const shown = { rows: "", snapshot: null };

function setText(id, text) {
  const target = byId(id);
  // A live region announces what is set, even where it is the same.
  if (target.textContent !== text) target.textContent = text;
}

// --- The figures of what is learned ---------------------------------------------------------------------

/** The figure that counts, after the loss. */
const headlineOf = (state) => state.figures[1];

function textOf(figure, value, digits) {
  return figure.is_share ? percent(value, digits) : significant(value);
}

const titleOf = ({ label }) => label.charAt(0).toUpperCase() + label.slice(1);

function makeFigures(figures) {
  for (const figure of figures) {
    const entry = document.createElement("div");
    const name = document.createElement("dt");
    name.textContent = titleOf(figure);
    const value = document.createElement("dd");
    value.id = `figure-${figure.name}`;
    entry.append(name, value);
    byId("figures").insertBefore(entry, byId("speed").parentElement);
    charts.push(
      new Chart(byId("curves"), {
        title: titleOf(figure),
        yLabel: figure.is_share ? `${figure.label} (%)` : figure.label,
        series: [
          { name: "training", key: figure.name, style: "training" },
          { name: "validation", key: `val_${figure.name}`, style: "validation" },
        ],
        format: (value) => significant(figure.is_share ? 100 * value : value),
        largest: figure.is_share ? 1 : undefined,
      }),
    );
  }
  charts.push(
    new Chart(byId("curves"), {
      title: "Learning rate",
      yLabel: "learning rate",
      series: [{ name: "", key: "learning_rate", style: "rate" }],
      format: (value) => significant(value, 3, 1e-3),
      logarithmic: true,
      fromZero: true,
    }),
  );
}

// --- What is shown --------------------------------------------------------------------------------------

function statusText(state) {
  const headline = headlineOf(state);
  const test = state.test
    ? ` Test ${headline.label} ${textOf(headline, state.test[headline.name], 2)} (${whole(state.test.images)} ${state.test.samples}).`
    : "";
  if (state.stopping && state.status !== "evaluating") return "Stopping…";
  switch (state.status) {
    case "starting":
      return "Starting: the first steps are being prepared.";
    case "training":
      return "Training.";
    case "evaluating":
      return "Training is over. Pictures are being drawn, and the test images measured.";
    case "finished":
      return `Finished: ${state.message}.${test}`;
    default: {
      // Most messages begin with what happened.
      const { status, message } = state;
      const text = status === "unknown" || message.startsWith(status) ? message : `${status}: ${message}`;
      return text.charAt(0).toUpperCase() + text.slice(1) + test;
    }
  }
}

function showProgress(state) {
  byId("progress").hidden = !state.epochs;
  const { epochs, steps, step = 0, epochs_done: done = 0 } = state;
  const running = state.status === "training";
  const share = running && steps ? step / steps : 0;
  const before = running && isNumber(state.epoch) ? state.epoch - 1 : done;
  byId("run-progress").value = epochs ? Math.min(1, (before + share) / epochs) : 0;
  byId("epoch-progress").value = steps ? step / steps : 0;
  setText("run-text", epochs ? `epoch ${Math.min(epochs, running ? state.epoch : done)} of ${epochs}` : "");
  setText("epoch-text", steps ? `step ${whole(step)} of ${whole(steps)}` : "");
  for (const figure of state.figures) setText(`figure-${figure.name}`, textOf(figure, state[figure.name]));
  setText("speed", whole(state.images_per_second));
  setText("eta", RUNNING.includes(state.status) ? duration(state.eta_seconds) : MISSING);
  const best = state.rows.find((row) => row.epoch === state.best_epoch);
  setText("best", best ? `${best.epoch} (${bestValue(best, headlineOf(state), state.monitor)})` : MISSING);
}

// What made an epoch the best one; a state of an older version does not name the metric.
function bestValue(row, headline, monitor = `val_${headline.name}`) {
  const isHeadline = [headline.name, `val_${headline.name}`].includes(monitor);
  return isHeadline ? textOf(headline, row[monitor], 2) : `${monitor} ${significant(row[monitor])}`;
}

function showRows(state) {
  const last = state.rows.at(-1);
  const key = `${state.rows.length} ${last?.epoch} ${last?.loss} ${state.best_epoch} ${state.epochs}`;
  if (key === shown.rows) return;
  shown.rows = key;
  const any = state.rows.length > 0;
  byId("no-curves").hidden = any;
  byId("curves").hidden = !any;
  byId("table-details").hidden = !any;
  if (!any) return;
  for (const chart of charts) chart.update(state.rows, state.best_epoch ?? null, state.epochs ?? last.epoch);
  showTable(state.rows);
}

function showTable(rows) {
  const names = Object.keys(rows[0]);
  const head = document.createElement("tr");
  head.append(
    ...names.map((name) => {
      const cell = document.createElement("th");
      cell.scope = "col";
      cell.className = "number";
      cell.textContent = name.replaceAll("_", " ");
      return cell;
    }),
  );
  byId("table-head").replaceChildren(head);
  const lines = rows.toReversed().map((row) => {
    const line = document.createElement("tr");
    line.append(
      ...names.map((name, index) => {
        const cell = document.createElement(index ? "td" : "th");
        if (!index) cell.scope = "row";
        cell.className = "number";
        cell.textContent = significant(row[name], 5);
        return cell;
      }),
    );
    return line;
  });
  byId("table-body").replaceChildren(...lines);
}

async function showSnapshot(state) {
  const epoch = state.snapshot_epoch ?? null;
  if (epoch === null || epoch === shown.snapshot) return;
  if (state.filters) showFilters(epoch, state.filters, state.filters_shown);
  if (state.images) await showSamples(await ask("samples"));
  else if (state.images_problem) showNoSamples(state.images_problem);
  // Not before: what could not be fetched is asked for again.
  shown.snapshot = epoch;
}

function showStop(state) {
  const can = ["starting", "training"].includes(state.status) && !state.stopping;
  byId("stop").disabled = !can;
  byId("stop").hidden = !RUNNING.includes(state.status);
  if (!can && byId("stop-dialog").open) byId("stop-dialog").close("");
}

async function show(state) {
  if (latest && latest.folder !== state.folder) {
    // Another run is served here now.
    location.reload();
    return;
  }
  if (!charts.length) makeFigures(state.figures);
  latest = state;
  setText("run", state.run);
  const progress = state.status === "training" ? `epoch ${state.epoch}/${state.epochs}` : state.status;
  document.title = `${progress} · ${state.run} · cnnkit`;
  setText("status", statusText(state));
  showProgress(state);
  showRows(state);
  showStop(state);
  await showSnapshot(state);
}

// --- The server -----------------------------------------------------------------------------------------

async function ask(address, options = {}) {
  const answer = await fetch(address, {
    cache: "no-store",
    signal: AbortSignal.timeout(PATIENCE_MILLISECONDS),
    ...options,
  });
  if (!answer.ok) {
    const { detail } = await answer.json().catch(() => ({}));
    throw new Error(typeof detail === "string" ? detail : `${answer.status} ${answer.statusText}`);
  }
  return answer.json();
}

function showConnection(works) {
  const notice = byId("connection");
  if (works) {
    notice.hidden = true;
    return;
  }
  byId("stop").disabled = true;
  const again = latest ? ` To see the run again: cnnkit watch ${latest.run}` : "";
  const ended = latest && !RUNNING.includes(latest.status);
  setText(
    "connection",
    (ended ? "The server has ended with the training; this is the final state." : "The server does not answer.") +
      ` This page connects again when it comes back.${again}`,
  );
  notice.hidden = false;
}

async function poll() {
  let pause = MILLISECONDS.gone;
  try {
    const state = await ask("state");
    showConnection(true);
    await show(state);
    pause = RUNNING.includes(state.status) ? MILLISECONDS.running : MILLISECONDS.ended;
  } catch {
    showConnection(false);
  }
  setTimeout(poll, pause);
}

// --- The stop button ------------------------------------------------------------------------------------

byId("stop").addEventListener("click", () => {
  const done = latest?.epochs_done ?? 0;
  byId("stop-text").textContent = done
    ? `Training stops at once. The ${done === 1 ? "epoch" : `${done} epochs`} so far ${done === 1 ? "is" : "are"} kept, ` +
      "the best one is measured on the test images, and the run can be resumed later. What the epoch in progress has " +
      "learned is lost."
    : "No epoch has ended yet: the weights so far are kept and measured on the test images, but the run cannot be " +
      "resumed.";
  byId("stop-dialog").returnValue = "";
  byId("stop-dialog").showModal();
});

byId("stop-dialog").addEventListener("close", async () => {
  if (byId("stop-dialog").returnValue !== "stop") return;
  byId("stop").disabled = true;
  setText("status", "Stopping…");
  try {
    await ask("stop", { method: "POST" });
  } catch (error) {
    setText("status", `The training could not be stopped: ${error.message}`);
  }
});

poll();
