"""A checkpoint holds all that the next epoch depends on.

No Keras checkpoint does: dropout's seed state is in neither `.weights.h5` nor `.keras`, the callbacks' state in none.
Here are all model variables (random seeds included), all optimizer variables, and each callback's attributes; order
and augmentation need nothing, being functions of (seed, epoch, position).
"""

from __future__ import annotations

import json
import re
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cnnkit.errors import CnnkitError
from cnnkit.files import replacing

_NATIVE_KINDS = "biufc"

#: Keras numbers what has no name of its own, such as seed generators, over all models of a process.
_AUTOMATIC_NUMBER = re.compile(r"_\d+(?=/|$)")


def _variables(model: Any) -> dict[str, Any]:
    """Every variable by a unique name, in a fixed order."""
    return {
        f"{owner}/{index}/{_AUTOMATIC_NUMBER.sub('', variable.path)}": variable
        for owner, variables in (("model", model.variables), ("optimizer", model.optimizer.variables))
        for index, variable in enumerate(variables)
    }


def save_checkpoint(path: Path, model: Any, state: dict[str, Any]) -> None:
    """Writes the checkpoint atomically.

    Args:
        model: A compiled model with a built optimizer.
        state: What else the run needs, as JSON values.
    """
    arrays: dict[str, np.ndarray] = {}
    for name, variable in _variables(model).items():
        array = np.asarray(variable.numpy())
        # NumPy files know no bfloat16: its bits are stored.
        arrays[name] = array if array.dtype.kind in _NATIVE_KINDS else array.view(np.uint16)
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, state=np.asarray(json.dumps(state)), **arrays)  # type: ignore[arg-type]


def read_state(path: Path) -> dict[str, Any]:
    """The JSON part of a checkpoint.

    Raises:
        CnnkitError: if there is no checkpoint, or it is broken.
    """
    return _read(path, _state)


def _state(archive: Any) -> dict[str, Any]:
    return dict(json.loads(str(archive["state"])))


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

    def restore(self, model: Any) -> None:
        """Sets every variable of a compiled model with a built optimizer to what the checkpoint holds.

        Raises:
            CnnkitError: if the checkpoint is not of this model and optimizer.
        """
        variables = _variables(model)
        odd = sorted(self.arrays.keys() ^ variables.keys())
        if odd:
            raise self._of_another_model(f"{odd[0]} is only in one of them")
        for name, variable in variables.items():
            array, now = self.arrays[name], np.asarray(variable.numpy())
            if array.shape != now.shape:
                raise self._of_another_model(f"{name} has the shape {array.shape}, here {now.shape}")
            variable.assign(array if now.dtype.kind in _NATIVE_KINDS else array.view(now.dtype))

    def _of_another_model(self, difference: str) -> CnnkitError:
        return CnnkitError(
            f"the checkpoint `{self.path}` is not of this model: {difference}",
            "Resume with the config and the versions that the run was made with.",
        )


def read_checkpoint(path: Path) -> Checkpoint:
    """All of a checkpoint.

    Raises:
        CnnkitError: if there is no checkpoint, or it is broken.
    """

    def everything(archive: Any) -> Checkpoint:
        arrays = {name: archive[name] for name in archive.files if name != "state"}
        return Checkpoint(path, _state(archive), arrays)

    return _read(path, everything)


def _read(path: Path, use: Any) -> Any:
    try:
        # np.load leaves a file that it opened itself open when it turns out to be broken.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return use(archive)
    except FileNotFoundError:
        raise CnnkitError(
            f"there is no checkpoint `{path}`", "No epoch of this run has ended; start it anew with `cnnkit train`."
        ) from None
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise CnnkitError(f"the checkpoint `{path}` cannot be read: {error}") from None
