"""The errors that a user sees: what was received, what was expected, what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


class CnnkitError(Exception):
    """The work failed for a reason that the user can act on (exit code 1).

    Args:
        message: What was expected and what was received.
        hint: What to do about it.
    """

    exit_code = EXIT_FAILED

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class UsageError(CnnkitError):
    """The command line is wrong (exit code 2)."""

    exit_code = EXIT_USAGE


@dataclass(frozen=True)
class Place:
    """Where a value of the config was written.

    Either a position in a file (`line` and `column` count from 1), or, where `override` is given,
    the `--set` argument that wrote it.
    """

    file: str
    line: int = 1
    column: int = 1
    override: str | None = None

    def __str__(self) -> str:
        if self.override is not None:
            return f"--set {self.override}"
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a config: where, and what to do about it.

    `path` is the place in the document, such as `model.layers[3].Conv2D.kernel_size`. Where `of_training` holds, the
    network can be looked at all the same.
    """

    place: Place
    path: str
    message: str
    of_training: bool = False

    def __str__(self) -> str:
        first = f"{self.place}  {self.path}" if self.path else str(self.place)
        return f"{first}\n  {self.message}"


class ConfigError(CnnkitError):
    """The config is wrong (exit code 2); holds every problem that was found."""

    exit_code = EXIT_USAGE

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(
            sorted(
                dict.fromkeys(problems),
                key=lambda p: (p.place.override or "", p.place.file, p.place.line, p.place.column),
            )
        )
        super().__init__("\n".join(str(problem) for problem in self.problems))
