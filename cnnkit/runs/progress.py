"""live/state.json: what a training process says of itself while it works, and how another process reads it."""

from __future__ import annotations

import contextlib
import math
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cnnkit.errors import CnnkitError, Interrupted
from cnnkit.files import open_regular
from cnnkit.runs.directory import Run
from cnnkit.runs.json_forms import REQUIRED, Form

#: What a run may be doing, and how it may have ended. A reader adds `killed`, `silent` and `unknown`.
RUNNING = ("starting", "training", "evaluating")
ENDED = ("finished", "stopped", "interrupted", "failed")

#: Figures are written at most this often; changes of the status at once.
SECONDS_BETWEEN_WRITES = 1.0

#: A process that says nothing for so long may be gone, where its number cannot be looked up.
SILENT_SECONDS = 900.0

#: What a snapshot leaves in the state; a resumed run has it from before.
_OF_SNAPSHOT = ("snapshot_epoch", "filters", "images")

#: The time that the epochs left will take is the mean of so many epochs before.
_RECENT_EPOCHS = 5


#: What is written, see `Reporter`.
_STATE: Form = {
    **dict.fromkeys(("status", "message", "machine", "images_problem"), str),
    **dict.fromkeys(("pid", "epochs", "steps", "epoch", "step", "epochs_done", "best_epoch", "snapshot_epoch"), int),
    **dict.fromkeys(("filters", "images"), int),
    **dict.fromkeys(("started", "updated", "loss", "images_per_second", "eta_seconds"), float),
    REQUIRED: ("status", "pid", "machine", "updated"),
}


class StopRequested(Exception):
    """Somebody pressed the stop button of the live page."""


class Reporter:
    """Writes the state of a run as it trains, and looks for a request to stop.

    A disk that is full, or a folder that has gone, does not end the training: its own files do, with a message.

    Args:
        run: The run; its folder `live` is made.
        epochs: All epochs of the run.
        steps: Steps of an epoch.
    """

    def __init__(self, run: Run, epochs: int, steps: int) -> None:
        self.run = run
        self.epochs = epochs
        self.steps = steps
        #: Whether training ended because somebody asked for it.
        self.stopped = False
        self._written = -math.inf
        self._recent_seconds = 0.0
        self._fields: dict[str, Any] = {
            "status": "starting",
            "pid": os.getpid(),
            "machine": socket.gethostname(),
            "started": time.time(),
            "epochs": epochs,
            "steps": steps,
        }

    def begin(self, epochs_done: int = 0) -> None:
        """The first state of this process. What an earlier one was asked, or showed, is over.

        Args:
            epochs_done: Epochs that earlier processes of the run have trained.
        """
        with contextlib.suppress(OSError):
            self.run.live.mkdir(exist_ok=True)
            self.run.stop_request.unlink(missing_ok=True)
        shown = {key: value for key, value in _read(self.run).items() if key in _OF_SNAPSHOT}
        self.change(epochs_done=epochs_done, message="", **shown)

    def plan(self, epochs: int) -> None:
        """The run has so many epochs now: a stage may have ended before its time."""
        self.epochs = epochs
        self._fields["epochs"] = epochs

    def change(self, **fields: Any) -> None:
        """Sets fields and writes the state at once."""
        self._fields.update(fields)
        _write(self.run, self._fields)
        self._written = time.perf_counter()

    def note(self, **fields: Any) -> None:
        """Sets fields, and writes the state if the last time is long enough ago."""
        self._fields.update(fields)
        if time.perf_counter() - self._written >= SECONDS_BETWEEN_WRITES:
            self.change()

    def begin_epoch(self, epoch: int) -> None:
        """An epoch begins; they are numbered from 1."""
        begins_training = self._fields["status"] != "training"
        (self.change if begins_training else self.note)(status="training", epoch=epoch, step=0)

    def look(self, step: int, seconds: float, images: int, figures: Mapping[str, float]) -> None:
        """What the running epoch has come to.

        Args:
            step: Steps that are done.
            seconds: Since the epoch began.
            images: Images that it has seen.
            figures: The loss, and the task's figures, over the epoch so far; fields of the state by their names.

        Raises:
            StopRequested: if somebody has asked for it.
        """
        self.check_stop()
        done = step / self.steps
        per_epoch = self._recent_seconds or seconds / done
        self.note(
            step=step,
            **{name: _finite(value) for name, value in figures.items()},
            images_per_second=round(images / seconds, 1),
            eta_seconds=round(per_epoch * (self.epochs - self._fields["epoch"] + 1 - done), 1),
        )

    def end_epoch(
        self, rows: Sequence[dict[str, Any]], best_epoch: int | None, monitor: str, figures: Sequence[str]
    ) -> None:
        """An epoch is over and kept.

        Args:
            rows: One per epoch of the run, as in metrics.csv.
            best_epoch: From 1; None where nothing chooses one.
            monitor: The column that does.
            figures: The names of those that `look` is told.
        """
        last = rows[-1]
        recent = [row["seconds"] for row in rows[-_RECENT_EPOCHS:]]
        self._recent_seconds = sum(recent) / len(recent)
        self.note(
            step=self.steps,
            **{name: _finite(last[name]) for name in (*figures, "images_per_second")},
            epochs_done=len(rows),
            best_epoch=best_epoch,
            monitor=monitor,
            eta_seconds=round(self._recent_seconds * (self.epochs - last["epoch"]), 1),
        )

    def check_stop(self) -> None:
        """Raises StopRequested if the live page has asked for it since the process began."""
        if self.run.stop_request.exists():
            self.stopped = True
            self.end_training()
            with contextlib.suppress(OSError):
                self.run.stop_request.unlink()
            raise StopRequested

    def end_training(self) -> None:
        """The last step is done; pictures and measurements may follow."""
        self.change(status="evaluating", eta_seconds=None)

    def end(self, status: str, message: str) -> None:
        """The last state: one of ENDED, and what a user should know of it."""
        self.change(status=status, message=message, eta_seconds=None)


@contextlib.contextmanager
def evaluating(run: Run) -> Iterator[None]:
    """The state while the test split is measured after training; afterwards it is what it was.

    An interrupt and an error inside the block become the run's last state, and go on. No other process trains the run
    meanwhile.

    Raises:
        CnnkitError: if one does already.
    """
    with run.training():
        before = _read(run)
        _write(run, before | {"status": "evaluating"})
        try:
            yield
        except (KeyboardInterrupt, Interrupted):
            _write(run, before | {"status": "interrupted", "message": "interrupted in the evaluation"})
            raise
        except Exception as error:
            _write(run, before | {"status": "failed", "message": f"the evaluation failed: {error}"})
            raise
        _write(run, before)


def read_state(run: Run) -> dict[str, Any]:
    """The state of a run for somebody who watches it.

    Returns:
        What was written last (see `Reporter`), and `updated`, in seconds since 1970. The status is `killed` where the
        process has gone without a last word, `silent` where that cannot be known and it has said nothing for
        SILENT_SECONDS, and `unknown` where the run has no live/state.json.
    """
    state = _read(run)
    if "status" not in state:
        return {"status": "unknown", "message": "An older cnnkit made this run; it left no account of its progress."}
    if state["status"] not in RUNNING:
        return state
    alive = _is_alive(run, state)
    if alive is False:
        return state | {"status": "killed", "message": f"The training process {state['pid']} ended without a word."}
    silent = time.time() - state["updated"]
    if alive is None and silent > SILENT_SECONDS:
        minutes = round(silent / 60)
        return state | {"status": "silent", "message": f"The training process has said nothing for {minutes} minutes."}
    return state


def is_complete(run: Run) -> bool:
    """Whether a process has done all that a training ends with: the evaluation and the report.

    One that was killed, or failed, on the way leaves its last state. A run that was trained further and killed before
    its evaluation has the evaluation and the report of before: they are older than its last epoch.
    """
    status = _read(run).get("status", "finished")
    try:
        trained, *followed = (path.stat().st_mtime_ns for path in (run.metrics, run.evaluation, run.report))
    except FileNotFoundError:
        return False
    return status in ("finished", "stopped") and min(followed) >= trained and _has_all_metrics(run)


def _has_all_metrics(run: Run) -> bool:
    try:
        return bool(run.read_metrics())
    except CnnkitError:
        return False


def request_stop(run: Run) -> bool:
    """Asks the training process of a run to end; False where none runs that could."""
    if read_state(run)["status"] not in ("starting", "training"):
        return False
    os.close(open_regular(run.stop_request, os.O_WRONLY | os.O_CREAT))
    return True


def _is_alive(run: Run, state: dict[str, Any]) -> bool | None:
    """Whether the process that wrote the state still runs, so that it holds the lock; None where nobody can know."""
    is_training = run.is_training()
    # Not every file system tells other machines of its locks.
    return None if is_training is False and state.get("machine") != socket.gethostname() else is_training


def _read(run: Run) -> dict[str, Any]:
    try:
        return run.read_json(run.live_state, _STATE)
    except CnnkitError:
        return {}


def _write(run: Run, fields: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):
        run.write_json(run.live_state, fields | {"updated": time.time()})


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
