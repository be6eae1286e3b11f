"""Trainings by several processes on this machine, as a user starts them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.trainings import run_training

#: Until a training of a few seconds has ended, on a machine that does much else.
LONGEST = 300


def launched(workers: int, arguments: Sequence[str], restarts: int = 0) -> list[str]:
    """The command that has workers run `cnnkit train`."""
    launch = ["launch", "--workers", str(workers), "--restart", str(restarts)]
    return [sys.executable, "-m", "cnnkit", *launch, "train", *arguments]


def train_alone(folder: Path, content: dict[str, Any], name: str) -> Path:
    """A run, trained and evaluated on one device by this process."""
    from cnnkit.runs.evaluation import evaluate_run
    from cnnkit.runs.trained import open_run

    run = run_training(folder, content, name, ("training.strategy=one_device",))
    evaluate_run(open_run(run))
    return run.path


def train_by(workers: int, folder: Path, content: dict[str, Any], name: str, *arguments: str) -> Path:
    """A run, trained by so many workers."""
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False), "utf-8")
    run = folder / name
    done = subprocess.run(
        launched(workers, [str(file), "--run-dir", str(run), "--no-report", *arguments]),
        capture_output=True,
        text=True,
        timeout=LONGEST,
        cwd=folder,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return run


@contextlib.contextmanager
def training_by(workers: int, arguments: Sequence[str], folder: Path, restarts: int = 0) -> Iterator[Any]:
    """The launcher of a training; it is gone after the block."""
    process = subprocess.Popen(
        launched(workers, arguments, restarts),
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def worker_pids(launcher: int) -> dict[int, int]:
    """The processes of a launcher's workers, by rank."""
    found = {}
    for child in Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split():
        with contextlib.suppress(OSError):
            variables = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
            told = [variable for variable in variables if variable.startswith(b"TF_CONFIG=")]
            if told:
                found[yaml.safe_load(told[0].partition(b"=")[2])["task"]["index"]] = int(child)
    return found


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Waits until something is so.

    Raises:
        TimeoutError: if it is not so in time.
    """
    end = time.monotonic() + LONGEST
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.05)


def write_time(run: Path) -> int:
    """When the last checkpoint of a run was written, in nanoseconds; 0 before there is one."""
    with contextlib.suppress(FileNotFoundError):
        return (run / "checkpoints" / "last.npz").stat().st_mtime_ns
    return 0


def wait_for_checkpoint(run: Path, written: int = 0) -> None:
    """Waits until a run has a checkpoint that is newer than one of that time."""
    wait_for(lambda: write_time(run) > written, "a checkpoint")


def wait_until_gone(launcher: int, workers: dict[int, int]) -> None:
    """Waits until no process of these is a worker of the launcher any more."""
    wait_for(lambda: not {*workers.values()} & {*worker_pids(launcher).values()}, "the end of the workers")


def kill(pid: int, number: int) -> None:
    """Sends a signal to a process that may have ended."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
