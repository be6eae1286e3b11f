"""What `predict` and `serve` are asked about: a run, or a file that one was exported to."""

from __future__ import annotations

import os
from pathlib import Path

from cnnkit.errors import UsageError
from cnnkit.runs.finding import find_run, is_exported, run_of
from cnnkit.runs.precision import Precision
from cnnkit.runs.predictor import Predictor


def open_predictor(name: str, verb: str, precision: Precision | None = None) -> Predictor:
    """The network of a name; nothing of it is read yet.

    Args:
        name: A run's path, its name under runs/, or an exported file's path.
        verb: What it is opened for, the name of the command.
        precision: What a run's network multiplies; None for what it did in training.

    Raises:
        UsageError: if there is none, or its task has no network that could be asked; or if a precision is asked of an
            exported file.
    """
    if is_exported(name):
        from cnnkit.runs.exported import ExportedNetwork

        if precision is not None:
            raise UsageError(
                f"--precision is for runs, and `{name}` is computed in the numbers of the file",
                "Name the run that it was exported from.",
            )
        exported = ExportedNetwork(Path(name))
        exported.check_model()
        exported.task.check_asked(verb)
        if exported.task.makes_images:
            raise UsageError(
                f"`{name}` makes images, and `{verb}` looks into its network for what changes them, which a file does "
                "not show",
                "Name the run that it was exported from. The script beside the file makes images with it.",
            )
        return exported
    _check_no_folder_of_exports(name)
    run = find_run(name)
    from cnnkit.runs.trained import open_run

    trained = open_run(run, precision=precision)
    trained.task.check_asked(verb)
    return trained


def _check_no_folder_of_exports(name: str) -> None:
    """Whether a folder was named in the place of an exported file in it.

    Raises:
        UsageError: if so.
    """
    if run_of(name) is not None or not os.path.isdir(name):
        return
    files = sorted(str(path) for path in Path(name).iterdir() if is_exported(str(path)))
    if files:
        raise UsageError(f"`{name}` is no run, but a folder with an exported network", f"Name the file: {files[0]}")
