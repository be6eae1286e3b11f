"""Starts a group of workers, and starts it again from the run's checkpoint where one of them has failed."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cnnkit.errors import EXIT_USAGE, CnnkitError, UsageError
from cnnkit.launch.cluster import Cluster
from cnnkit.launch.signals import Signals
from cnnkit.launch.supervisor import Failure, Limits, Outcome, Supervisor
from cnnkit.launch.worker import Order, Worker, kill
from cnnkit.terminal.console import echo


@dataclass(frozen=True)
class Command:
    """What the workers are to do.

    Attributes:
        arguments: Of `cnnkit`, as a function of the run that is to be gone on with; None at the first start.
        config: What each worker gets as its standard input when there is no run yet.
        program: What comes before the arguments.
    """

    arguments: Callable[[str | None], Sequence[str]]
    config: bytes | None = None
    program: Sequence[str] = (sys.executable, "-m", "cnnkit")


def launch(
    cluster: Cluster,
    command: Command,
    restarts: int = 0,
    limits: Limits = Limits(),  # noqa: B008
) -> int:
    """Trains with the workers of the cluster that are to be started here, and watches them.

    Worker 0, and the only one of a machine, writes to this process' output. SIGINT, SIGTERM and SIGHUP are passed on.

    Args:
        restarts: How often a group that has failed is started again, from the last checkpoint of its run.

    Returns:
        The exit code: 0; 2 where the command is wrong, which has been said; 128 + the signal that has ended them.

    Raises:
        CnnkitError: if a worker fails, and there is no restart left.
    """
    if sys.platform == "win32":
        raise UsageError("`cnnkit launch` needs Linux, macOS or another POSIX system, whose signals it works with")
    with tempfile.TemporaryDirectory(prefix="cnnkit-launch-") as folder:
        return _Launch(cluster, command, restarts, limits, Path(folder)).run()


class _Launch:
    """One call of `launch`; the arguments are its own, and a folder for files."""

    def __init__(self, cluster: Cluster, command: Command, restarts: int, limits: Limits, folder: Path) -> None:
        self._cluster = cluster
        self._command = command
        self._restarts = restarts
        self._limits = limits
        self._folder = folder
        self._signals = Signals()
        self._run: str | None = None

    def run(self) -> int:
        with self._signals.noted():
            for restart in range(1, self._restarts + 2):
                outcome = self._train()
                for note in outcome.notes:
                    _say(note)
                if outcome.told is not None and outcome.failure is not None:
                    _say(outcome.failure.reason)
                if outcome.told is not None or outcome.failure is None:
                    return self._code(outcome)
                code = self._fail(outcome.failure, is_last=restart > self._restarts)
                if code is not None:
                    return code
                what = "no run had begun; starting again"
                if self._run is not None:
                    what = f"restarting from {_shown(self._run)}"
                _say(f"{what} ({restart} of {self._restarts})")
        raise AssertionError("the last failure raises")

    def _train(self) -> Outcome:
        """Starts the workers once, and returns when all have ended."""
        arguments = self._command.arguments(None if self._run is None else _shown(self._run))
        source = None
        if self._command.config is not None and self._run is None:
            source = self._folder / "config.yaml"
            source.write_bytes(self._command.config)
        workers: list[Worker] = []
        try:
            for rank, environment in self._cluster.environments().items():
                is_shown = rank == 0 or not self._cluster.is_local
                order = Order((*self._command.program, *arguments), environment, source, is_shown)
                workers.append(Worker(rank, order, self._folder, self._cluster.command))
        except BaseException:
            kill(workers)
            raise
        outcome = Supervisor(workers, self._signals, self._limits).watch()
        self._run = outcome.run or self._run
        return outcome

    def _code(self, outcome: Outcome) -> int:
        return 0 if outcome.told is None or not any(outcome.codes) else 128 + outcome.told

    def _fail(self, failure: Failure, *, is_last: bool) -> int | None:
        """Says why a group has failed; the exit code, if that cannot be mended by starting it again.

        Raises:
            CnnkitError: if it is not to be started again.
        """
        if failure.is_of_usage and failure.is_told:
            return EXIT_USAGE
        if failure.lines:
            _say("\n  ".join([f"the last lines of {failure.worker}:", *failure.lines]))
        error = CnnkitError(failure.reason, self._continue_with() if self._run is not None else None)
        if failure.is_of_usage:
            error = UsageError(failure.reason)
        if is_last or failure.is_of_usage:
            raise error
        _say(failure.reason)
        return None

    def _continue_with(self) -> str:
        assert self._run is not None
        resume = f"{self._cluster.command} train --resume {shlex.quote(_shown(self._run))}"
        return f"Continue with: {resume}" + ("" if self._cluster.is_local else " (with its own rank on each machine)")


def _say(text: str) -> None:
    # Nobody may be listening there.
    with contextlib.suppress(OSError):
        echo(f"cnnkit: {text}", err=True)


def _shown(run: str) -> str:
    """A run's path as a user writes it: relative where it is below the current folder."""
    inside = os.path.relpath(run)
    return run if inside.startswith(os.pardir) else inside
