"""Trained runs that all tests of a session read, in whichever of its processes they run."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cnnkit.format.document import dump, parse
from cnnkit.runs.directory import Run

#: What pytest-xdist calls the process of a worker, in the environment.
WORKER = "PYTEST_XDIST_WORKER"


def shared_run(factory: pytest.TempPathFactory, name: str, train: Callable[[Path], Run]) -> Iterator[Run]:
    """A run for a fixture of the session: the first process that asks trains it, the others wait for it.

    Tests only read it; those that write take a copy, by `copied`. When the session ends, a run that is not as it was
    made is an error.

    Args:
        factory: pytest's, whose folder the workers of a session have in common.
        name: The run's folder.
        train: Makes the run in a folder that is there and empty, or in one inside of it.
    """
    base = factory.getbasetemp()
    folder = (base.parent if WORKER in os.environ else base) / "shared" / name
    folder.parent.mkdir(exist_ok=True)
    place = folder.with_name(f"{name}.made")
    with folder.with_name(f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            # A process that failed in its midst has left a part.
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            place.write_text(str(train(folder).path))
    run = Run(Path(place.read_text()))
    before = _files(run.path)
    yield run
    assert _files(run.path) == before, f"a test has changed {run.path}, which others read"


def copied(run: Run, folder: Path) -> Run:
    """A copy of a run, under its name, for a test that writes."""
    shutil.copytree(run.path, folder / run.name)
    return Run(folder / run.name)


@contextlib.contextmanager
def changed_config(run: Run) -> Iterator[dict[str, Any]]:
    """The content of a run's config.yaml, which is written back as the block leaves it."""
    content = parse(run.config.read_text(encoding="utf-8"), run.config.name).plain()
    yield content
    run.config.write_text(dump(content), encoding="utf-8")


def _files(folder: Path) -> dict[str, tuple[int, int]]:
    """The files of a folder, with their sizes and times."""
    status = {str(path): path.stat() for path in folder.rglob("*") if path.is_file()}
    return {path: (one.st_size, one.st_mtime_ns) for path, one in status.items()}
