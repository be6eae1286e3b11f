"""Run directories among others: made, listed, found by name or path."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

from cnnkit.errors import CnnkitError, UsageError
from cnnkit.format.run_folders import RUNS
from cnnkit.runs.directory import Run

#: What the name of a file ends in that `predict` and `serve` can do with instead of a run.
EXPORTED = ".onnx"


def create_run(name: str, directory: str | None = None) -> Run:
    """A new run directory: `directory` itself, or `runs/<name>-<n>` with the next free number.

    Raises:
        UsageError: if `directory` is there already and not empty, or cannot be made.
        CnnkitError: if the current folder cannot be written.
    """
    if directory is not None:
        check_free(directory)
        path = Path(directory)
        try:
            path.mkdir(parents=True, exist_ok=True)
            return _prepared(Run(path))
        except FileExistsError:
            # Another process was faster.
            raise _not_empty(path) from None
        except OSError as error:
            raise UsageError(f"cannot make the run directory `{path}`: {error.strerror}") from None
    parent = Path(RUNS)
    # TensorFlow writes to UTF-8 paths only; the name of a config file may be anything.
    name = name.encode("utf-8", "replace").decode("utf-8")
    pattern = re.compile(re.escape(name) + r"-(\d+)")
    try:
        parent.mkdir(exist_ok=True)
        taken = [int(match[1]) for entry in os.listdir(parent) if (match := pattern.fullmatch(entry))]
        number = max(taken, default=0) + 1
        while True:
            path = parent / f"{name}-{number}"
            try:
                path.mkdir()
            except FileExistsError:
                # Another process took it, or the file system does not tell upper from lower case.
                number += 1
                continue
            return _prepared(Run(path))
    except OSError as error:
        raise CnnkitError(
            f"cannot make a run directory in `{os.path.abspath(parent)}`: {error.strerror}",
            "Run cnnkit in a folder that you may write to, or name one with `--run-dir`.",
        ) from None


def check_free(directory: str) -> None:
    """Whether a new run may be made in `directory`: it is not there yet, or empty.

    Raises:
        UsageError: if it is not.
    """
    path = Path(directory)
    try:
        directory.encode("utf-8")
    except UnicodeEncodeError:
        raise UsageError(
            f"the name of the run directory `{path}` is not UTF-8", "TensorFlow cannot write there; name another one."
        ) from None
    try:
        occupied = path.is_dir() and any(path.iterdir())
    except OSError as error:
        raise UsageError(f"cannot read the run directory `{path}`: {error.strerror}") from None
    if occupied:
        raise _not_empty(path)
    if path.exists() and not path.is_dir():
        raise UsageError(f"the run directory `{path}` is a file", "Name another one.")


def _not_empty(path: Path) -> UsageError:
    return UsageError(
        f"the run directory `{path}` is not empty",
        "Runs are never overwritten: name another one, or continue it with `--resume`.",
    )


def _prepared(run: Run) -> Run:
    # Of two processes that found the directory empty, one can make these.
    run.checkpoint.parent.mkdir()
    run.curves.parent.mkdir()
    return run


def list_runs(parent: str = RUNS) -> list[Run]:
    """All runs under a folder, the oldest first.

    Raises:
        CnnkitError: if the folder cannot be read.
    """
    folder = Path(parent)
    if not folder.is_dir():
        return []
    try:
        runs = [Run(path) for path in folder.iterdir()]
    except OSError as error:
        raise CnnkitError(f"cannot read the folder `{os.path.abspath(folder)}`: {error.strerror}") from None
    aged = []
    for run in runs:
        # A folder without a config is no run, or one that is being made or removed at this moment.
        with contextlib.suppress(OSError):
            aged.append((run.config.lstat().st_mtime_ns, run.name, run))
    return [run for _, _, run in sorted(aged, key=lambda one: one[:2])]


def find_run(path: str | None) -> Run:
    """The run at a path (or of a name under runs/); without one, the latest.

    Raises:
        UsageError: if there is none.
    """
    if path is None:
        runs = list_runs()
        if not runs:
            raise UsageError(f"there are no runs in `{os.path.abspath(RUNS)}`", "Make one: cnnkit train CONFIG")
        runs[-1].check()
        return runs[-1]
    found = run_of(path)
    if found is None and is_exported(path):
        raise UsageError(
            f"`{path}` is no run, but a network that was exported",
            "Name the run that it was exported from. Only `cnnkit predict` and `cnnkit serve` can do without it.",
        )
    if found is None:
        raise UsageError(f"`{path}` is no run: it has no config.yaml", _latest() or "Make one: cnnkit train CONFIG")
    found.check()
    return found


def is_exported(name: str) -> bool:
    """Whether a name is that of an exported file rather than of a run; the file need not be there."""
    path = Path(name)
    return path.suffix.lower() == EXPORTED and not path.is_dir() and run_of(name) is None


def distinct_names(places: Sequence[Path]) -> list[str]:
    """The names of runs, or of exported files; where two have the same, their paths.

    Args:
        places: Their paths.

    Raises:
        UsageError: if one comes twice.
    """
    paths = [Path(os.path.realpath(place)) for place in places]
    for place, path in zip(places, paths, strict=True):
        if paths.count(path) > 1:
            raise UsageError(f"`{place}` comes twice")
    names = [path.name for path in paths]
    return [name if names.count(name) == 1 else str(place) for name, place in zip(names, places, strict=True)]


def run_of(path: str) -> Run | None:
    """The run at a path, or of a name under runs/; None if there is none."""
    candidates = (Run(Path(path)), Run(Path(RUNS) / path))
    return next((run for run in candidates if os.path.lexists(run.config)), None)


def _latest() -> str:
    """A hint that names the latest runs; empty without any."""
    known = ", ".join(run.name for run in list_runs()[-5:])
    return f"The latest in `{RUNS}`: {known}" if known else ""


def config_file(path: str) -> str:
    """A config file as it is; of a run (its path, or its name under runs/), the file that holds its config.

    What is neither a run nor a folder is one, if it can be read: a pipe, and `-`, the standard input.

    Raises:
        UsageError: if it is a folder without a run, or if neither a file nor a run has the name.
    """
    if is_config(path):
        return path
    run = run_of(path)
    if run is not None:
        run.check()
        return str(run.config)
    from cnnkit.format.files import folder_hint, neighbours

    if os.path.isdir(path):
        raise UsageError(f"`{path}` is no run: it has no config.yaml", folder_hint(path) or _latest() or None)
    if path.endswith((".yaml", ".yml")):
        # Whoever reads it says where the name goes wrong.
        return path
    raise UsageError(f"there is neither a config file nor a run `{path}`{neighbours(path)}", _latest() or None)


def is_config(path: str) -> bool:
    """Whether a path names a file, a pipe or the standard input, rather than a run or anything else."""
    return path == "-" or (os.path.exists(path) and not os.path.isdir(path))
