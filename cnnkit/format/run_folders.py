"""What tells the folder of a run from a folder of images or configs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from cnnkit.errors import UsageError

#: The two files of a run by which it is known.
CONFIG_FILE = "config.yaml"
ENVIRONMENT_FILE = "environment.json"


RUNS = "runs"


def holds_runs(folder: Path) -> bool:
    """Whether a folder is a run, or the one of all runs."""
    if _is_run(folder):
        return True
    return folder.name == RUNS and any(_is_run(path) for path in folder.iterdir())


def outside_runs(files: Sequence[str], folder: str | Path) -> list[str]:
    """The files that lie in no run below a folder: of those that do, none is an image that somebody put there."""
    top = str(folder)

    @cache
    def in_run(place: str) -> bool:
        return place != top and (_is_run(Path(place)) or in_run(os.path.dirname(place)))

    return [file for file in files if not in_run(os.path.dirname(file))]


def _is_run(folder: Path) -> bool:
    # Unlike those of `Path`, these raise nothing.
    return os.path.isfile(folder / CONFIG_FILE) and os.path.isfile(folder / ENVIRONMENT_FILE)


def check_outside(directory: str | None, folder: str | None) -> None:
    """Whether a new run would lie outside the folder of its images, where its pictures would become images, too.

    Args:
        directory: The run's directory, as for `create_run`.
        folder: The folder of images; None where there is none.

    Raises:
        UsageError: if it would lie inside.
    """
    if folder is None:
        return
    images = os.path.realpath(os.path.expanduser(folder))
    place = os.path.realpath(directory if directory is not None else RUNS)
    if os.path.normcase(os.path.join(place, "")).startswith(os.path.normcase(os.path.join(images, ""))):
        run = f"the run directory `{directory}`" if directory is not None else f"`{RUNS}` in the current folder"
        raise UsageError(
            f"{run} would lie inside the folder of the images, `{folder}`",
            "Name a directory outside it with `--run-dir`, or run cnnkit in another folder.",
        )
