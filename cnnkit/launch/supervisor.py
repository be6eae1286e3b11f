"""Watches a group of workers: all of them train, or none does."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass

from cnnkit.launch.signals import Signals
from cnnkit.launch.worker import Worker, kill


@dataclass(frozen=True)
class Limits:
    """Seconds.

    Attributes:
        between_looks: From one look at the workers to the next.
        start: From a worker's start to its first sign of life; Python has to load.
        silence: Without a sign of life.
        suspicious: The same, of a worker that others may have been waiting for when they failed.
        saving: For the others to leave where one has failed, after a SIGTERM. Whoever is in the middle of a step waits
            for the one that has failed, and cannot.
        leaving: For all to leave when they have been told to, or when worker 0 has, which has most to do at the end.
        of_a_request: In which several signals are one: `timeout` sends each twice.
    """

    between_looks: float = 0.2
    start: float = 60.0
    silence: float = 15.0
    suspicious: float = 5.0
    saving: float = 5.0
    leaving: float = 30.0
    of_a_request: float = 0.5


@dataclass(frozen=True)
class Failure:
    """What has ended a group.

    Attributes:
        reason: Which worker, and how it ended.
        worker: Its name; that of the likely cause, where several have failed.
        lines: The last ones of its output, if they were not shown as they came.
        is_of_usage: Whether the command itself is wrong, so that it would fail again.
        is_told: Whether a worker whose output was shown has said why.
    """

    reason: str
    worker: str
    lines: Sequence[str]
    is_of_usage: bool
    is_told: bool


@dataclass(frozen=True)
class Outcome:
    """How a group ended; none of its workers runs any more.

    Attributes:
        run: The run that was trained, an absolute path, if a worker has said so.
        failure: Why it was ended; None where all left by themselves or were told to leave.
        told: The signal by which they were told to leave.
        codes: The exit codes of the workers, by rank; None for one that could not be killed.
        notes: What is odd and changes nothing, in words.
    """

    run: str | None
    failure: Failure | None
    told: int | None
    codes: Sequence[int | None]
    notes: Sequence[str]


class Supervisor:
    """Watches workers until all have ended.

    Args:
        workers: They have been started; by rank.
        signals: What comes to this process meanwhile.
        limits: How long things may take.
    """

    def __init__(self, workers: Sequence[Worker], signals: Signals, limits: Limits) -> None:
        self._workers = workers
        self._signals = signals
        self._limits = limits
        self._last_look = time.monotonic()
        self._told: int | None = None
        self._told_at = 0.0
        self._killed_at_once = False
        self._excused: list[Worker] = []
        self._notes: list[str] = []

    def watch(self) -> Outcome:
        """Returns when no worker runs any more; none is left behind, however this ends."""
        try:
            failure = self._watch()
        finally:
            kill(self._workers)
        codes = [worker.code for worker in self._workers]
        run = next((worker.run for worker in self._workers if worker.run), None)
        return Outcome(run, failure, self._told, codes, self._notes)

    def _watch(self) -> Failure | None:
        since: float | None = None
        while not self._killed_at_once:
            running = self._running()
            failed = self._failed()
            if failed and self._told is None:
                if not self._is_done():
                    return self._end(failed)
                # What the training has come to is there.
                self._notes += [f"{self._why(worker)}, when worker 0 had finished" for worker in failed]
                self._excused += failed
            if not running:
                return None
            if self._rest_is_to_leave():
                since = time.monotonic() if since is None else since
                late = time.monotonic() - since > self._limits.leaving
                for worker in running:
                    if late or self._is_hanging(worker):
                        self._notes.append(f"{worker} did not leave and was killed")
                        self._excused.append(worker)
                        kill([worker])
            self._wait()
        return None

    def _wait(self) -> None:
        """Waits for the next look: listens to the workers, and passes on what has come to this process."""
        time.sleep(self._limits.between_looks)
        now = time.monotonic()
        # After a sleep of the machine, or of this process, workers had no more time to beat than it to listen.
        passed, self._last_look = min(now - self._last_look, 5 * self._limits.between_looks), now
        for worker in self._workers:
            worker.listen(passed)
        while (number := self._signals.take()) is not None:
            self._pass_on(number)

    def _pass_on(self, number: int) -> None:
        if number == signal.SIGTSTP:
            self._stop_and_continue()
        elif self._told is None:
            self._told, self._told_at = number, time.monotonic()
            for worker in self._running():
                worker.send(number)
        elif time.monotonic() - self._told_at > self._limits.of_a_request:
            self._killed_at_once = True

    def _stop_and_continue(self) -> None:
        workers = self._running()
        for worker in workers:
            worker.send(signal.SIGSTOP)
        # Whoever has started this process sees it stop, and continues it, as `fg` does.
        os.kill(os.getpid(), signal.SIGSTOP)
        for worker in workers:
            worker.send(signal.SIGCONT)

    def _running(self) -> list[Worker]:
        return [worker for worker in self._workers if worker.code is None]

    def _is_hanging(self, worker: Worker) -> bool:
        return worker.silence > (self._limits.silence if worker.has_begun else self._limits.start)

    def _failed(self) -> list[Worker]:
        """The workers that have ended with an error, the likely cause first; if there are none, those that hang.

        One that was killed takes down those that wait for it, at the same look perhaps. One that hangs does, too:
        TensorFlow may notice that before this process is sure of it.
        """
        ended = [worker for worker in self._workers if worker.code and worker not in self._excused]
        if not ended:
            return [worker for worker in self._running() if self._is_hanging(worker)]
        killed = [worker for worker in ended if (worker.code or 0) < 0]
        silent = [worker for worker in self._running() if worker.silence > self._limits.suspicious and worker.has_begun]
        return [*killed, *silent, *(worker for worker in ended if worker not in killed)]

    def _rest_is_to_leave(self) -> bool:
        """Whether those that still run have no reason to do so for long."""
        return self._told is not None or self._is_done()

    def _is_done(self) -> bool:
        """Whether worker 0, which writes all that a training comes to, has been here and has finished."""
        first = self._workers[0]
        return first.rank == 0 and first.code == 0

    def _end(self, failed: Sequence[Worker]) -> Failure:
        """Ends the group because of those that have failed."""
        first = failed[0]
        reason = "; ".join(self._why(worker) for worker in failed)
        if first.is_usage_error:
            # All have the same command, and are about to say the same.
            self._wait_for_all()
        for worker in self._running():
            worker.send(signal.SIGTERM)
        self._wait_for_all()
        told = any(worker.is_shown and worker.is_usage_error for worker in self._workers)
        return Failure(reason, str(first), first.last_lines(), first.is_usage_error, told)

    def _wait_for_all(self) -> None:
        until = time.monotonic() + self._limits.saving
        while self._running() and time.monotonic() < until and self._told is None:
            self._wait()

    def _why(self, worker: Worker) -> str:
        if worker.code is not None:
            return worker.how_it_ended()
        if worker.has_begun:
            return f"{worker} has not answered for {worker.silence:.0f} s"
        return f"{worker} has given no sign of life for {self._limits.start:g} s after its start"
