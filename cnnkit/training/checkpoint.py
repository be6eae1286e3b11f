"""A checkpoint holds all that the next step depends on.

No Keras checkpoint does: dropout's seed state is in neither `.weights.h5` nor `.keras`, the callbacks' state in none.
Here are all variables of the model (random seeds included), of its metrics and of the optimizer, and each callback's
attributes; order and augmentation need nothing, being functions of (seed, epoch, step).
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cnnkit.errors import CnnkitError
from cnnkit.files import replacing
from cnnkit.runs.arrays import read_arrays
from cnnkit.runs.directory import Run, damaged
from cnnkit.runs.json_forms import REQUIRED, Form, mismatch

log = logging.getLogger("cnnkit")

#: Attributes that Keras' callbacks change during training; none of Keras' checkpoints holds them.
CALLBACK_STATE = ("best", "wait", "cooldown_counter", "stopped_epoch", "best_epoch", "measured_epoch", "epoch_rate")

#: What the JSON part of a checkpoint holds.
_STATE: Form = {
    "epochs_done": int,
    "step": int,
    "seconds": float,
    "stopped": bool,
    "rows": [{"epoch": int, "loss": float, "seconds": float, REQUIRED: ("epoch", "loss", "seconds")}],
    "best": [float],
    "best_epoch": int,
    "callbacks": {"plateau": {}, "early_stopping": {}, "rate": {}},
    "stages": [int],
    "ended": bool,
    REQUIRED: ("epochs_done", "stopped", "rows", "callbacks"),
}

#: The optimizers keep at most four values for each weight, its average is a fifth, and float64 takes 8 bytes.
_BYTES_PER_PARAMETER = 8 * 8
_BYTES_BESIDE = 1 << 27
LARGEST_CHECKPOINT = 1 << 40

_NATIVE_KINDS = "biufc"

#: Keras numbers what has no name of its own, such as seed generators, over all models of a process.
_AUTOMATIC_NUMBER = re.compile(r"_\d+(?=/|$)")


def _variables(model: Any) -> dict[str, Any]:
    """Every variable of a model and its optimizers by a unique name, in a fixed order."""
    optimizers = {"optimizer": model.optimizer}
    optimizers |= {f"{name}_optimizer": one for name, one in getattr(model, "other_optimizers", {}).items()}
    variables = _named("model", model.variables)
    for name, optimizer in optimizers.items():
        variables |= _named(name, optimizer.variables)
    return variables


def _named(owner: str, variables: Sequence[Any]) -> dict[str, Any]:
    return {
        f"{owner}/{index}/{_AUTOMATIC_NUMBER.sub('', variable.path)}": variable
        for index, variable in enumerate(variables)
    }


def save_checkpoint(run: Run, model: Any, state: dict[str, Any], metrics: Sequence[np.ndarray] | None = None) -> None:
    """Writes the checkpoint of a run, and keeps the one before it.

    Args:
        model: A compiled model with a built optimizer.
        state: What else the run needs, as JSON values.
        metrics: Within an epoch, what the metrics' variables hold in each process that trains, [processes, ...] for
            each variable.
    """
    values = {name: np.asarray(variable.numpy()) for name, variable in _variables(model).items()}
    if metrics is not None:
        values |= dict(zip(_named("metrics", model.metrics_variables), metrics, strict=True))
    # NumPy files know no bfloat16: its bits are stored.
    arrays = {
        name: array if array.dtype.kind in _NATIVE_KINDS else array.view(np.uint16) for name, array in values.items()
    }
    with replacing(run.checkpoint) as temporary:
        with temporary.open("wb") as stream:
            np.savez(stream, state=np.asarray(json.dumps(state)), **arrays)  # type: ignore[arg-type]
        with contextlib.suppress(FileNotFoundError):
            os.replace(run.checkpoint, run.previous_checkpoint)


def save_beginning(run: Run, model: Any) -> None:
    """Writes the checkpoint of a run that has not taken a step, for one whose initial weights come from elsewhere.

    Args:
        model: As for `save_checkpoint`.
    """
    state = {"epochs_done": 0, "step": 0, "seconds": 0.0, "stopped": False, "rows": [], "callbacks": {}}
    save_checkpoint(run, model, state)


def read_state(run: Run) -> dict[str, Any]:
    """The JSON part of a run's checkpoint.

    Raises:
        CnnkitError: if there is no checkpoint, or it is damaged.
    """
    newest = _newest(run, ("state",), LARGEST_CHECKPOINT)
    if newest is None:
        raise CnnkitError(f"there is no checkpoint `{run.checkpoint}`")
    return newest.state


def ended_early(run: Run) -> bool:
    """Whether a run has come to its end before all its epochs: by early stopping, in its last stage or another.

    Raises:
        CnnkitError: if that cannot be read.
    """
    state = read_state(run)
    # Where there are no stages, to be stopped is to be at the end.
    return bool(state.get("ended", state.get("stopped")))


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a checkpoint holds, all of it from one reading of one file.

    Attributes:
        path: The file.
        state: Its JSON part.
        arrays: Every variable by its name.
    """

    path: Path
    state: dict[str, Any]
    arrays: dict[str, np.ndarray]

    @property
    def epochs(self) -> int:
        """Epochs that it holds."""
        return int(self.state["epochs_done"])

    @property
    def step(self) -> int:
        """Steps of the epoch after `epochs_done` that it holds; 0 where that has not begun."""
        return int(self.state.get("step", 0))

    @property
    def text(self) -> str:
        """The position in words."""
        epochs = f"epoch {self.epochs}"
        return f"step {self.step} of the epoch after {epochs}" if self.step else epochs

    def restore(self, model: Any, process: int = 0, processes: int = 1) -> None:
        """Sets every variable of a compiled model with a built optimizer to what the checkpoint holds.

        Args:
            process: The number of this one among those that train, which has metrics of its own within an epoch.
            processes: How many train.

        Raises:
            CnnkitError: if the checkpoint is not of this model and optimizer.
        """
        metrics = _named("metrics", model.metrics_variables) if self.step else {}
        variables = {**_variables(model), **metrics}
        odd = sorted(self.arrays.keys() ^ variables.keys())
        if odd:
            raise self._of_another_model(f"{odd[0]} is only in one of them")
        for name, variable in variables.items():
            array, now = self.arrays[name], np.asarray(variable.numpy())
            if name in metrics and array.ndim:
                array = _own_part(array, process, processes)
            if array.shape != now.shape:
                raise self._of_another_model(f"{name} has the shape {array.shape}, here {now.shape}")
            variable.assign(array if now.dtype.kind in _NATIVE_KINDS else array.view(now.dtype))

    def _of_another_model(self, difference: str) -> CnnkitError:
        return CnnkitError(
            f"the checkpoint `{self.path}` is not of this model: {difference}",
            "Resume with the config and the versions that the run was made with.",
        )


def _own_part(metrics: np.ndarray, process: int, processes: int) -> np.ndarray:
    """What a process goes on with of what the metrics of several have counted, [processes, ...]."""
    if len(metrics) == processes:
        part: np.ndarray = metrics[process]
        return part
    # They were as many as they are no longer: all that was counted is the first one's.
    total = metrics.sum(axis=0, dtype=metrics.dtype)
    return total if process == 0 else np.zeros_like(total)


def read_checkpoint(run: Run, parameters: int) -> Checkpoint | None:
    """All of a run's checkpoint: the newest, or, if that is damaged, the one before it; a warning says so.

    Every array is held against its checksum (CRC-32, as in all zip archives).

    Args:
        parameters: Of the run's network, which bound the size of the file.

    Returns:
        None where there is none.

    Raises:
        CnnkitError: if it is damaged, and there is no other.
    """
    return _newest(run, None, _BYTES_PER_PARAMETER * parameters + _BYTES_BESIDE)


def _newest(run: Run, names: Sequence[str] | None, most_bytes: int) -> Checkpoint | None:
    before = run.previous_checkpoint
    try:
        return _read(run, run.checkpoint, names, most_bytes)
    except FileNotFoundError:
        # A process may have ended between the two renames.
        with contextlib.suppress(FileNotFoundError):
            return _read(run, before, names, most_bytes)
        return None
    except CnnkitError as error:
        try:
            found = _read(run, before, names, most_bytes)
        except (CnnkitError, FileNotFoundError):
            raise error from None
        log.warning("%s; going on from `%s`, which is of %s", error.message, before, found.text)
        return found


def _read(run: Run, path: Path, names: Sequence[str] | None, most_bytes: int) -> Checkpoint:
    arrays = read_arrays(run, path, names, most_bytes)
    try:
        state = json.loads(str(arrays.pop("state")))
    except (KeyError, ValueError, RecursionError):
        raise damaged(path, "it does not say how far the training was") from None
    wrong = mismatch(state, _STATE)
    if wrong is None and len(state["rows"]) != state["epochs_done"]:
        wrong = f"it should hold one row for each of {state['epochs_done']} epochs"
    if wrong is None and not all(
        key in (*CALLBACK_STATE, "rate") and isinstance(value, int | float | None)
        for attributes in state["callbacks"].values()
        for key, value in attributes.items()
    ):
        wrong = "`callbacks` should hold numbers that callbacks have"
    if wrong is not None:
        raise damaged(path, wrong)
    return Checkpoint(path, state, arrays)
