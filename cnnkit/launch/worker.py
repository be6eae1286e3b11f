"""One worker: a process that `cnnkit launch` has started, its signs of life and its output."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from cnnkit.errors import EXIT_USAGE
from cnnkit.training import heartbeat

#: How many of a worker's last lines are shown, and the bytes that they are looked for in.
LINES_SHOWN = 20
_LAST_BYTES = 65536

_SECONDS_TO_DIE = 5.0


@dataclass(frozen=True)
class Order:
    """What a worker is started with.

    Attributes:
        words: The program and its arguments.
        environment: Variables besides those of this process.
        input: A file for its standard input; without one, that is empty.
        is_shown: Whether its output goes to that of this process, as if it was run directly; else it is kept in a file.
    """

    words: Sequence[str]
    environment: Mapping[str, str]
    input: Path | None = None
    is_shown: bool = False


class Worker:
    """A process in a process group of its own, which signals of the terminal do not reach: each comes once, from here.

    Args:
        rank: Its number among the workers.
        order: What to start.
        folder: Where its files are made.
        command: What a user writes before `train` to have workers started so.
    """

    def __init__(self, rank: int, order: Order, folder: Path, command: str) -> None:
        self.rank = rank
        self.is_shown = order.is_shown
        #: Seconds for which it has given no sign of life, as far as this process was awake to see it.
        self.silence = 0.0
        self.has_begun = False
        self._output = folder / f"worker-{rank}.txt"
        self._heartbeat = folder / f"worker-{rank}.json"
        heartbeat.prepare(self._heartbeat, os.getpid(), command)
        self._last_beat = heartbeat.last_beat(self._heartbeat)
        with contextlib.ExitStack() as files:
            output: IO[bytes] | None = None if order.is_shown else files.enter_context(self._output.open("wb"))
            self.process = subprocess.Popen(
                order.words,
                env={**os.environ, **order.environment, heartbeat.VARIABLE: str(self._heartbeat)},
                stdin=subprocess.DEVNULL if order.input is None else files.enter_context(order.input.open("rb")),
                stdout=output,
                stderr=output,
                process_group=0,
            )

    def __str__(self) -> str:
        return f"worker {self.rank}"

    @property
    def code(self) -> int | None:
        """Its exit code, below 0 after a signal; None while it runs."""
        return self.process.poll()

    @property
    def is_usage_error(self) -> bool:
        """Whether it has ended because the command is wrong."""
        return self.code == EXIT_USAGE

    @property
    def run(self) -> str | None:
        """The absolute path of the run that it trains, as soon as it has said so."""
        return heartbeat.announced_run(self._heartbeat)

    def listen(self, seconds: float) -> None:
        """Looks for a sign of life since the last look.

        Args:
            seconds: Since that look.
        """
        beat = heartbeat.last_beat(self._heartbeat)
        if beat != self._last_beat:
            self._last_beat = beat
            self.has_begun = True
            self.silence = 0.0
        else:
            self.silence += seconds

    def how_it_ended(self) -> str:
        """How it ended, in words."""
        code = self.code
        assert code is not None
        if code >= 0:
            of_signal = f" ({_signal_name(code - 128)})" if _signal_name(code - 128) else ""
            return f"{self} ended with exit code {code}{of_signal}"
        name = _signal_name(-code)
        killed = f"{self} was killed by signal {-code}{f' ({name})' if name else ''}"
        if -code == signal.SIGKILL and sys.platform == "linux":
            return f"{killed}, which the system also sends where memory runs out"
        return killed

    def last_lines(self) -> list[str]:
        """The last lines of its output; none where that was shown as it came."""
        if self.is_shown:
            return []
        with self._output.open("rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - _LAST_BYTES))
            text = stream.read().decode("utf-8", "replace")
        return [line for line in text.splitlines() if line.strip()][-LINES_SHOWN:]

    def send(self, number: int) -> None:
        """Sends a signal to the process; what a terminal sends, also to those that it has started."""
        if self.code is None:
            with contextlib.suppress(ProcessLookupError):
                send = os.kill if number == signal.SIGTERM else os.killpg
                send(self.process.pid, number)


def kill(workers: Sequence[Worker]) -> None:
    """Ends those workers at once that still run, with all that they have started."""
    for worker in workers:
        # The number of one that has ended may belong to somebody else by now.
        if worker.code is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(worker.process.pid, signal.SIGKILL)
    for worker in workers:
        # One that waits for a disk that does not answer cannot be killed.
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.process.wait(_SECONDS_TO_DIE)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return ""
