"""Lets one write of a short training fail, for each of its writes, goes on, and compares with one that had no fault.

For every file that a training, its evaluation and its report write, every line of log.txt, every figure of TensorBoard
and every folder, and for each of four ways in which that may fail, the training runs with that one fault. Then every
file of the run has to be whole. It goes on with `--resume`, or from the start where there is no run yet, and in the end
all has to be equal, bit for bit, as in scripts/kill_test.py.

A file is written in steps: it is opened, written, brought to the disk, renamed, and its folder is brought to the disk.
By default a file fails at one of them in each way; `--every-step` takes all, which are five times as many.

All of it happens in this process: a kill is an exception that nothing catches, after which nothing is written or
removed. `kill_test.py` kills processes.

The table goes to standard output, progress to standard error; the exit code is 1 where anything differs.
"""

from __future__ import annotations

import argparse
import builtins
import contextlib
import csv
import errno
import gc
import io
import json
import math
import os
import shutil
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import yaml
from kill_test import COMPLETE, differences

from cnnkit import files
from cnnkit.errors import CnnkitError, UsageError
from cnnkit.runs.directory import Run

#: The steps of a file, in order.
STEPS = ("open", "write", "fsync", "rename", "folder")

#: How a step fails, and the steps at which a file does, one after the other. `short`: a part is written, then the disk
#: is full; `killed`: the process ends there.
WAYS = {"ENOSPC": ("write", "open"), "EIO": ("fsync", "rename", "folder"), "short": ("write", "fsync"), "killed": STEPS}

#: Steps that can do a part of their work.
_PARTIAL = ("write", "fsync", "append")

CONFIG = {
    "seed": 7,
    "data": {"name": "digits", "batch_size": 256},
    "augmentation": [{"RandomTranslation": {"height_factor": 0.1, "width_factor": 0.1}}],
    "model": {
        "layers": [
            {"Conv2D": {"filters": 4, "kernel_size": 3}},
            "BatchNormalization",
            "Flatten",
            {"Dropout": 0.2},
            {"Dense": "classes"},
        ]
    },
    "training": {
        "epochs": 2,
        "optimizer": {"Adam": {"learning_rate": 0.003, "use_ema": True, "ema_momentum": 0.9}},
        # A checkpoint after each execution.
        "checkpoint_minutes": 1e-9,
        "steps_per_execution": 2,
    },
}


class Killed(BaseException):
    """The process ends here: nothing catches it, and nothing is written any more."""


class Fault:
    """Inside `active`, the nth step of writing into a folder fails.

    Attributes:
        steps: What was done, as (step, file).
        hit: What failed; None where there were fewer steps.
    """

    def __init__(self, folder: Path, way: str, number: int) -> None:
        self.folder = folder
        self.way = way
        self.number = number
        self.steps: list[tuple[str, str]] = []
        self.hit: tuple[str, str] | None = None
        self._is_dead = False

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """The fault is there inside the block."""
        from cnnkit.training.event_files import EventFiles

        patches = [
            mock.patch.object(EventFiles, "_write", self._events(EventFiles._write)),
            mock.patch.object(tempfile, "mkstemp", self._mkstemp(tempfile.mkstemp)),
            mock.patch.object(files, "_to_disk", self._to_disk(files._to_disk)),
            mock.patch.object(os, "replace", self._replace(os.replace)),
            mock.patch.object(os, "mkdir", self._mkdir(os.mkdir)),
            mock.patch.object(os, "write", self._append(os.write)),
            mock.patch.object(os, "unlink", self._unlink(os.unlink)),
            mock.patch.object(io, "open", self._open(builtins.open)),
            mock.patch.object(builtins, "open", self._open(builtins.open)),
        ]
        with contextlib.ExitStack() as stack:
            for patch in patches:
                stack.enter_context(patch)
            yield

    def step(self, kind: str, path: Any, part: Callable[[], Any] = lambda: None) -> None:
        """One step; `part` does a part of it."""
        if self._is_dead:
            raise Killed
        self.steps.append((kind, str(Path(path).relative_to(self.folder))))
        if len(self.steps) != self.number or (self.way == "short" and kind not in _PARTIAL):
            return
        self.hit = self.steps[-1]
        if self.way == "killed":
            if kind in _PARTIAL:
                part()
            self._is_dead = True
            raise Killed
        if self.way == "short":
            part()
        number = errno.EIO if self.way == "EIO" else errno.ENOSPC
        # The system names a file only where it was called with a name.
        raise OSError(number, os.strerror(number), *([] if kind in _PARTIAL else [str(path)]))

    def _holds(self, path: Any) -> bool:
        return isinstance(path, str | Path) and Path(path).is_relative_to(self.folder)

    def _mkstemp(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def mkstemp(*arguments: Any, dir: Any = None, **options: Any) -> Any:
            if self._holds(dir):
                self.step("open", Path(dir) / "*")
            return original(*arguments, dir=dir, **options)

        return mkstemp

    def _to_disk(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def to_disk(path: Path, flags: int) -> None:
            if self._holds(path):
                kind = "fsync" if flags == os.O_RDWR else "folder"
                self.step(kind, path, lambda: os.truncate(path, path.stat().st_size // 2))
            original(path, flags)

        return to_disk

    def _replace(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def replace(source: Any, target: Any) -> None:
            if self._holds(target):
                self.step("rename", target)
            original(source, target)

        return replace

    def _mkdir(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def mkdir(path: Any, *arguments: Any, **options: Any) -> None:
            if self._holds(path) and not os.path.isdir(path):
                self.step("mkdir", path)
            original(path, *arguments, **options)

        return mkdir

    def _append(self, original: Callable[..., Any]) -> Callable[..., Any]:
        log = self.folder / "log.txt"

        def write(handle: int, content: bytes) -> int:
            if log.exists() and os.path.samestat(os.fstat(handle), log.stat()):
                self.step("append", log, lambda: original(handle, content[: len(content) // 2]))
            return original(handle, content)

        return write

    def _events(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def write(callback: Any, *arguments: Any) -> None:
            self.step("events", callback.folder)
            original(callback, *arguments)

        return write

    def _unlink(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def unlink(path: Any, *arguments: Any, **options: Any) -> None:
            if not (self._is_dead and self._holds(path)):
                original(path, *arguments, **options)

        return unlink

    def _open(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def opened(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
            if "b" in mode and "w" in mode and self._holds(file):
                raw = _Raw(file, mode.replace("b", ""), self)
                return io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            return original(file, mode, *arguments, **options)

        return opened


class _Raw(io.FileIO):
    """A file whose first write is a step."""

    def __init__(self, path: Any, mode: str, fault: Fault) -> None:
        super().__init__(path, mode)
        self._fault = fault
        self._is_first = True

    def write(self, content: Any) -> int:
        if self._is_first:
            self._is_first = False
            content = memoryview(content).cast("B")
            self._fault.step("write", self.name, lambda: super(_Raw, self).write(content[: len(content) // 2]))
        return super().write(content)


# --- What a run holds -------------------------------------------------------------------------------------


def _read_archive(path: Path) -> None:
    # A zip archive holds a checksum of each of its parts.
    with path.open("rb") as stream, zipfile.ZipFile(stream) as archive:
        assert archive.testzip() is None


def _read_picture(path: Path) -> None:
    from PIL import Image

    with Image.open(path) as picture:
        picture.load()


def _read_lines(path: Path) -> None:
    text = path.read_text("utf-8")
    assert text.endswith("\n")
    assert len({len(row) for row in csv.reader(text.splitlines())}) == 1


def _read_page(path: Path) -> None:
    assert path.read_text("utf-8").rstrip().endswith("</html>")


def _read_config(path: Path) -> None:
    assert {"data", "model", "training"} <= yaml.safe_load(path.read_bytes()).keys()


def _read_log(path: Path) -> None:
    text = path.read_text("utf-8")
    assert not text or text.endswith("\n")


#: How a file is read whole, by its ending.
_READERS: dict[str, Callable[[Path], Any]] = {
    ".json": lambda path: json.loads(path.read_bytes()),
    ".yaml": _read_config,
    ".npz": _read_archive,
    ".npy": lambda path: np.load(path, allow_pickle=False),
    ".keras": _read_archive,
    ".png": _read_picture,
    ".csv": _read_lines,
    ".html": _read_page,
    ".txt": _read_log,
}


def broken(run: Path) -> list[str]:
    """The files of a run that are not whole; not those that a process has left half written under another name."""
    found = []
    for path in sorted(run.rglob("*")):
        if path.is_file() and not path.name.startswith(files.TEMPORARY) and path.suffix in _READERS:
            try:
                _READERS[path.suffix](path)
                if path == Run(run).metrics:
                    # Cut between two lines, it is whole by itself.
                    Run(run).read_metrics()
            except Exception as error:
                found.append(f"{path.relative_to(run)} is broken ({type(error).__name__}: {error})")
    return found


# --- Scenarios --------------------------------------------------------------------------------------------


@dataclass
class Scenario:
    """A training with one fault, and what followed.

    Attributes:
        step: What failed: open, write, fsync, rename, folder, append, events or mkdir.
        file: Of which file.
        said: What the user was told; None where the training went on.
        problems: What is not as without the fault.
    """

    way: str
    step: str
    file: str
    said: str | None = None
    problems: list[str] = field(default_factory=list)


def command(*arguments: str) -> None:
    """`cnnkit train` in this process."""
    import keras

    from cnnkit.cli import cli

    keras.backend.clear_session()
    gc.collect()
    with contextlib.redirect_stdout(io.StringIO()):
        cli.main(["train", *arguments], standalone_mode=False)


def play(file: Path, run: Path, whole: Path, way: str, number: int, step: str) -> Scenario:
    """One scenario, in which the step of a number, which is of a kind, fails."""
    fault = Fault(run, way, number)
    said = None
    try:
        with fault.active():
            command(str(file), "--run-dir", str(run))
    except Killed:
        said = "killed"
    except CnnkitError as error:
        said = str(error)
    if fault.hit is None or fault.hit[0] != step:
        return Scenario(way, step, "?", said, [f"the step {number} was another one: {fault.hit}"])
    scenario = Scenario(way, *fault.hit, said)
    # A line of the log cannot be renamed; what goes on begins a new one.
    torn = "log.txt is broken" if way == "killed" and scenario.step == "append" else None
    scenario.problems += [problem for problem in broken(run) if torn is None or not problem.startswith(torn)]
    if way != "killed":
        scenario.problems += [f"{path.name} is left over" for path in run.rglob(f"{files.TEMPORARY}*")]
    try:
        if not (run / "config.yaml").exists():
            # There is no run yet: the same command again.
            shutil.rmtree(run, ignore_errors=True)
            command(str(file), "--run-dir", str(run))
        else:
            command("--resume", str(run))
    except UsageError as error:
        # It was finished in spite of the fault.
        if said not in (None, "killed") or not any(text in error.message for text in COMPLETE):
            scenario.problems.append(f"it cannot be gone on with: {error}")
    except CnnkitError as error:
        scenario.problems.append(f"it cannot be gone on with: {error}")
    differing = broken(run) + differences(run, whole)
    if said is None:
        # What the live page shows is not worth the end of a training: a warning said so.
        differing = [problem for problem in differing if not problem.startswith("live/")]
    scenario.problems += differing
    return scenario


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, `sys.argv` by default."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="some of the ways (default: all)")
    parser.add_argument("--stride", type=int, default=1, metavar="N", help="only every Nth fault (default: 1)")
    parser.add_argument("--every-step", action="store_true", help="let a file fail at each step in each way")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave the runs that differ here")
    return parser.parse_args(arguments)


def chosen(steps: Sequence[tuple[str, str]], way: str, *, every_step: bool) -> list[int]:
    """The numbers, from 1, of the steps that are to fail in a way."""
    numbers, files_before = [], 0
    for number, (step, _) in enumerate(steps, 1):
        if step == STEPS[0]:
            files_before += 1
        at = WAYS[way][files_before % len(WAYS[way])]
        is_possible = way != "short" or step in _PARTIAL
        if is_possible and (every_step or step == at or step not in STEPS):
            numbers.append(number)
    return numbers


def fail_and_compare(options: argparse.Namespace, folder: Path) -> list[Scenario]:
    """A scenario for every step and way."""
    file, whole = folder / "net.yaml", folder / "whole"
    file.write_text(yaml.safe_dump(CONFIG, sort_keys=False), "utf-8")
    counting = Fault(whole, "none", 0)
    with (
        # What depends on time would give another step the same number: snapshots, and figures of the live page.
        mock.patch("cnnkit.training.snapshots.FIRST_SECONDS", 0.0),
        mock.patch("cnnkit.runs.progress.SECONDS_BETWEEN_WRITES", math.inf),
        # Small pictures are drawn sooner.
        mock.patch("cnnkit.plots.style.DPI", 20),
    ):
        with counting.active():
            command(str(file), "--run-dir", str(whole))
        faults = [
            (way, number)
            for way in options.ways
            for number in chosen(counting.steps, way, every_step=options.every_step)
        ]
        scenarios = []
        for way, number in faults[:: options.stride]:
            run = folder / f"{way}-{number}"
            scenario = play(file, run, whole, way, number, counting.steps[number - 1][0])
            scenarios.append(scenario)
            outcome = "; ".join(scenario.problems) or "same"
            sys.stderr.write(f"{way} {number} {scenario.step} {scenario.file}: {scenario.said}: {outcome}\n")
            if not scenario.problems:
                shutil.rmtree(run, ignore_errors=True)
    return scenarios


def table(scenarios: Sequence[Scenario]) -> str:
    """One row for each step, as Markdown: how often it failed in each way, and what differed in the end."""
    ways = [way for way in WAYS if any(scenario.way == way for scenario in scenarios)]
    lines = [f"| step | {' | '.join(ways)} | differences |", f"| --- |{' ---: |' * (len(ways) + 1)}"]
    for step in dict.fromkeys(scenario.step for scenario in scenarios):
        own = [scenario for scenario in scenarios if scenario.step == step]
        counts = Counter(scenario.way for scenario in own)
        differing = sum(bool(scenario.problems) for scenario in own)
        lines.append(f"| {step} | {' | '.join(str(counts[way]) for way in ways)} | {differing} |")
    return "\n".join(lines)


def main() -> None:
    options = parse_arguments()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        scenarios = fail_and_compare(options, folder.resolve())
    sys.stdout.write(table(scenarios) + "\n")
    differing = [scenario for scenario in scenarios if scenario.problems]
    for scenario in differing:
        problems = "; ".join(scenario.problems)
        sys.stdout.write(f"{scenario.way}, {scenario.step} of {scenario.file}: {problems}\n")
    sys.exit(bool(differing))


if __name__ == "__main__":
    main()
