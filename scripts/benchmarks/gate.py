"""A contestant's side of the benchmark: it waits at a gate, runs one repeat when told to, and says what that took."""

from __future__ import annotations

import json
import os
import resource
import time
from pathlib import Path
from typing import Any, TextIO


class Gate:
    """Where a contestant waits between two repeats.

    A contestant calls `enter` before and `leave` after each repeat, for ever. The first `warm_up` repeats pass
    without waiting; tracing, compiling and the first touch of memory fall into them.

    Args:
        commands: Lines from the parent: `run`, or `stop`; its end stops the contestant too.
        answers: Gets one JSON line when the warm-up is over and after every repeat.
        warm_up: Repeats before the first answer.
    """

    def __init__(self, commands: TextIO, answers: TextIO, warm_up: int = 1) -> None:
        self.commands = commands
        self.answers = answers
        self.warm_up = warm_up
        #: What else the contestant has to say of its last repeat, such as a loss.
        self.notes: dict[str, Any] = {}
        self._repeats = 0
        self._took: dict[str, float] = {}
        self._start: tuple[float, float, float] | None = None

    def enter(self) -> None:
        """Waits for `run` and starts the clocks."""
        if self._repeats >= self.warm_up:
            self._wait()
        self._start = (machine_cpu_seconds(), time.perf_counter(), cpu_seconds())

    def leave(self) -> None:
        """Stops the clocks; further calls before the next `enter` do nothing."""
        if self._start is None:
            return
        machine, wall, cpu = self._start
        self._start = None
        wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
        # The machine's counter moves in hundredths of a second.
        others = max(0.0, machine_cpu_seconds() - machine - cpu)
        self._took.update(wall_seconds=wall, cpu_seconds=cpu, others_cpu_seconds=others)
        self._repeats += 1

    def _wait(self) -> None:
        # Only now: after `leave`, `cnnkit train` still writes its checkpoint, which must not disturb the others.
        self.answer({**self._took, **self.notes, "peak_memory_bytes": peak_memory()})
        wall, cpu = time.perf_counter(), cpu_seconds()
        if self.commands.readline().strip() != "run":
            # Keras' `fit` and what surrounds it have nothing to clean up here.
            os._exit(0)
        self._took = {
            "idle_wall_seconds": time.perf_counter() - wall,
            "idle_cpu_seconds": cpu_seconds() - cpu,
        }

    def answer(self, values: dict[str, Any]) -> None:
        """Sends one line to the parent."""
        self.answers.write(json.dumps(values) + "\n")
        self.answers.flush()


def cpu_seconds() -> float:
    """CPU time of this process with all its threads, in user and system mode."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def machine_cpu_seconds() -> float:
    """CPU time of all programs since the machine started, with what a virtual machine was denied; 0 if unknown."""
    try:
        first = Path("/proc/stat").read_text("ascii", "replace").split("\n", 1)[0].split()
    except OSError:
        return 0.0
    user, nice, system, _idle, _waiting, interrupts, soft_interrupts, stolen = map(int, first[1:9])
    ticks = user + nice + system + interrupts + soft_interrupts + stolen
    return ticks / os.sysconf("SC_CLK_TCK")


def peak_memory() -> int:
    """The largest resident memory that this process has had, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text("ascii", "replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def epoch_gate(gate: Gate) -> Any:
    """A Keras callback that makes every epoch of `fit` one repeat; validation does not count."""
    import keras

    class EpochGate(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            gate.enter()

        def on_test_begin(self, logs: Any = None) -> None:
            gate.leave()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            gate.leave()
            gate.notes.update(
                loss=float(logs["loss"]), jit_compile=bool(self.model.jit_compile), steps=self.params["steps"]
            )

    return EpochGate()
