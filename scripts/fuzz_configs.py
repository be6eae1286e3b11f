"""Tries damaged configs: whatever a file holds, it is valid or refused, soon and in little memory.

    python scripts/fuzz_configs.py --inputs 100000 --out failures
    python scripts/fuzz_configs.py --only 4711          # one input again, with its traceback

Each input is loaded as `cnnkit inspect` does it; one that is valid is shown (the table, --json, --lint, each with its
own time) and compared with the valid one before it (`diff`). Reported: any exception but cnnkit's own, any of these
steps that takes more than a second of CPU time, and any input for which the process grows by more than 300 MB. The exit
code is 1 if there was one. Standard output gets a line of JSON with the figures. Nothing is downloaded or trained.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from fuzzing import configs
from fuzzing.processes import in_processes, largest_size, parser_of, reset_largest_size

#: Bounds of one step: CPU seconds, and bytes that the process may grow by.
MOST_SECONDS = 1.0
MOST_BYTES = 300 << 20

#: CPU seconds after which a step is given up, and the address space that a process may take.
HANGS_AFTER = 20.0
ADDRESS_SPACE = 4 << 30


class Hangs(BaseException):
    """A step takes so long that it is given up; no `except Exception` holds it."""


@dataclass
class Failure:
    """What is wrong with one input."""

    number: int
    step: str
    what: str


@dataclass
class Figures:
    """What came of many inputs."""

    inputs: int = 0
    accepted: int = 0
    refused: int = 0
    slowest_seconds: float = 0.0
    slowest_input: int = -1
    most_bytes: int = 0
    most_bytes_input: int = -1
    failures: list[Failure] = field(default_factory=list)

    def add(self, other: Figures) -> None:
        self.inputs += other.inputs
        self.accepted += other.accepted
        self.refused += other.refused
        self.failures += other.failures
        if other.slowest_seconds > self.slowest_seconds:
            self.slowest_seconds, self.slowest_input = other.slowest_seconds, other.slowest_input
        if other.most_bytes > self.most_bytes:
            self.most_bytes, self.most_bytes_input = other.most_bytes, other.most_bytes_input


class Checker:
    """Takes inputs one after another."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.seed = seed
        self.file = folder / "config.yaml"
        self.before: Any = None
        self.figures = Figures()

    def check(self, number: int) -> None:
        """Everything that can be done with one input without TensorFlow; adds what came of it to `figures`."""
        from cnnkit.config.load import load_config
        from cnnkit.errors import CnnkitError

        self.file.write_bytes(configs.config(self.seed, number))
        self.figures.inputs += 1
        self.number = number
        base = reset_largest_size()
        try:
            loaded = self._timed("load", lambda: load_config(str(self.file)))
            self.figures.accepted += 1
            self._show(loaded)
        except CnnkitError as error:
            self.figures.refused += 1
            if not str(error).strip():
                self._fail("load", "an error without a message")
        except Hangs:
            pass
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{Path(frame.filename).name}:{frame.lineno}"
            self._fail("", f"{type(error).__name__} at {place}: {str(error)[:200]}")
        grown = largest_size() - base
        if grown > self.figures.most_bytes:
            self.figures.most_bytes, self.figures.most_bytes_input = grown, number
        if grown > MOST_BYTES:
            self._fail("", f"the process grew by {grown >> 20} MB")

    def _show(self, loaded: Any) -> None:
        from cnnkit.comparing.difference import Side, as_text, compare
        from cnnkit.network.lint import lint
        from cnnkit.network.summary import summarize

        summary = self._timed("summary", lambda: summarize(loaded))
        self._timed("table", lambda: summary.as_table())
        self._timed("json", lambda: json.dumps(summary.as_json()))
        self._timed("lint", lambda: [str(one) for one in lint(loaded)])
        side = Side("one", loaded, summary, loaded.config.task.headline, None)
        other, self.before = self.before or side, side
        self._timed("diff", lambda: as_text(other, side))
        self._timed("diff json", lambda: json.dumps(compare(other, side)))

    def _timed(self, step: str, work: Callable[[], Any]) -> Any:
        start = time.process_time()
        try:
            with _time_limit():
                return work()
        except Hangs:
            self._fail(step, f"given up after {HANGS_AFTER:.0f} s")
            raise
        finally:
            seconds = time.process_time() - start
            if seconds > self.figures.slowest_seconds:
                self.figures.slowest_seconds, self.figures.slowest_input = seconds, self.number
            if MOST_SECONDS < seconds < HANGS_AFTER:
                self._fail(step, f"took {seconds:.1f} s")

    def _fail(self, step: str, what: str) -> None:
        self.figures.failures.append(Failure(self.number, step, what))


@contextmanager
def _time_limit() -> Iterator[None]:
    """Raises Hangs where the block takes more CPU time than a step may."""

    def give_up(*_: Any) -> None:
        raise Hangs

    before = signal.signal(signal.SIGPROF, give_up)
    signal.setitimer(signal.ITIMER_PROF, HANGS_AFTER)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def check_many(seed: int, numbers: range) -> Figures:
    """The figures of some inputs, in this process."""
    with tempfile.TemporaryDirectory() as folder:
        checker = Checker(seed, Path(folder))
        for number in numbers:
            checker.check(number)
    return checker.figures


def _start_worker() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    # What the user has prepared is no part of this.
    os.environ["TFDS_DATA_DIR"] = os.devnull


def run(seed: int, inputs: int, jobs: int, report: Callable[[Figures, list[Failure]], None]) -> Figures:
    """The figures of all inputs, in processes of their own, so that one that ends is noticed."""
    figures = Figures()
    for chunk, found in in_processes(partial(check_many, seed), inputs, jobs, _start_worker):
        if found is None:
            what = f"a process ended in inputs {chunk.start} to {chunk.stop - 1}"
            figures.failures.append(Failure(chunk.start, "", what))
        else:
            figures.add(found)
            report(figures, found.failures)
    return figures


def keep_failures(figures: Figures, seed: int, folder: Path) -> None:
    """Writes the inputs that failed, and what was wrong with each."""
    folder.mkdir(parents=True, exist_ok=True)
    for failure in figures.failures:
        (folder / f"{failure.number}.yaml").write_bytes(configs.config(seed, failure.number))
    (folder / "failures.json").write_text(json.dumps([asdict(one) for one in figures.failures], indent=1))


def main(arguments: list[str] | None = None) -> int:
    options = parser_of(__doc__, 10_000).parse_args(arguments)
    if options.only is not None:
        sys.stdout.write(configs.config(options.seed, options.only).decode("utf-8", "backslashreplace"))
        figures = check_many(options.seed, range(options.only, options.only + 1))
    else:
        figures = run(options.seed, options.inputs, options.jobs, _report)
    if options.out is not None:
        keep_failures(figures, options.seed, options.out)
    sys.stdout.write(f"\n{json.dumps(asdict(figures))}\n")
    return 1 if figures.failures else 0


def _report(figures: Figures, failures: list[Failure]) -> None:
    for failure in failures:
        sys.stderr.write(f"\n{failure.number} {failure.step}: {failure.what}\n")
    sys.stderr.write(
        f"\r{figures.inputs:,} inputs: {figures.accepted:,} valid, slowest {figures.slowest_seconds:.2f} s, "
        f"most {figures.most_bytes >> 20} MB, {len(figures.failures)} failures "
    )


if __name__ == "__main__":
    sys.exit(main())
