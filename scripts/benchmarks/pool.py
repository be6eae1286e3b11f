"""The benchmark's own side: contestants in processes of their own, whose repeats are interleaved."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from cnnkit.machine.tensorflow import ENVIRONMENT

SCRIPT = Path(__file__).parent.parent / "benchmark.py"

#: The argument with which the script is a contestant instead.
CONTESTANT = "_contestant"


class BenchmarkError(Exception):
    """Something failed; the message says what, and what the failed process wrote."""


@dataclass
class Measured:
    """What a contestant's repeats took.

    Attributes:
        title: How tables name it.
        spec: What it was told to do.
        warm_up: The answer after the warm-up.
        repeats: One answer per repeat: `wall_seconds`, `cpu_seconds`, `idle_cpu_seconds`, `peak_memory_bytes`, ...
    """

    title: str
    spec: dict[str, Any]
    warm_up: dict[str, Any] = field(default_factory=dict)
    repeats: list[dict[str, Any]] = field(default_factory=list)

    def values(self, name: str) -> list[float]:
        """One figure of all repeats."""
        return [repeat[name] for repeat in self.repeats]


class Contestant:
    """A process that does one thing again whenever it is told to, and sleeps in between.

    Args:
        title: How tables and messages name it.
        spec: What `benchmarks.contestants` is to do: `kind` and its arguments.
    """

    def __init__(self, title: str, spec: dict[str, Any]) -> None:
        self.measured = Measured(title, spec)
        self._errors: TextIO = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, str(SCRIPT), CONTESTANT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=plain_environment(),
            text=True,
        )
        self._send(json.dumps(spec))

    def warm_up(self) -> None:
        """Waits until the first repeat can begin."""
        self.measured.warm_up = self._receive()

    def repeat(self) -> dict[str, Any]:
        """One repeat, and what it took."""
        self._send("run")
        answer = self._receive()
        self.measured.repeats.append(answer)
        return answer

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._errors.close()

    def _send(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._failure() from None

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._failure()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _failure(self) -> BenchmarkError:
        code = self._process.wait()
        self._errors.seek(0)
        wrote = "".join(self._errors.readlines()[-15:]).strip()
        return BenchmarkError(f"{self.measured.title}: the process ended with code {code}\n{wrote}")


def ask(title: str, spec: dict[str, Any]) -> dict[str, Any]:
    """What a contestant answers that does one thing only, in a process of its own."""
    contestant = Contestant(title, spec)
    try:
        contestant.warm_up()
    finally:
        contestant.close()
    return contestant.measured.warm_up


class Pool:
    """Contestants that live side by side: `with Pool() as pool`, and all of them end with the block."""

    def __init__(self) -> None:
        self._contestants: list[Contestant] = []

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for contestant in self._contestants:
            contestant.close()

    def start(self, title: str, spec: dict[str, Any]) -> Measured:
        """Starts a contestant and waits for the end of its warm-up."""
        say(f"  starting {title}")
        contestant = Contestant(title, spec)
        self._contestants.append(contestant)
        contestant.warm_up()
        return contestant.measured

    def run(self, repeats: int) -> None:
        """All contestants in turn, so many times: A B C A B C ..."""
        for number in range(repeats):
            for contestant in self._contestants:
                took = contestant.repeat()
                say(
                    f"  repeat {number + 1}/{repeats}  {contestant.measured.title}: "
                    f"{took['wall_seconds']:.2f} s, {took['cpu_seconds']:.2f} CPU s"
                )


def race(contestants: Sequence[tuple[str, dict[str, Any]]], repeats: int) -> list[Measured]:
    """Starts contestants, (title, spec) each, and runs their interleaved repeats."""
    with Pool() as pool:
        measured = [pool.start(title, spec) for title, spec in contestants]
        pool.run(repeats)
    return measured


def plain_environment() -> dict[str, str]:
    """The environment of a contestant: none of cnnkit's variables, TensorFlow as Keras' backend, and no GPU.

    `cnnkit train` sets its variables itself; a plain Keras script has none.
    """
    environment = {name: value for name, value in os.environ.items() if name not in ENVIRONMENT}
    return {**environment, "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": ""}


def say(text: str) -> None:
    """Progress, on standard error, so that standard output holds only the tables."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
