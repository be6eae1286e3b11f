"""The errors that a user sees: what was received, what was expected, what to do."""

from __future__ import annotations

import errno
import re
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


#: What to do about a file that cannot be written or read, by the system's reason.
_FILE_HINTS = {
    errno.ENOSPC: "Free some space there",
    errno.EDQUOT: "Free some space in your quota",
    errno.EFBIG: "Raise the limit on the size of files (`ulimit -f`)",
    errno.EROFS: "Make its file system writable, or use another folder",
    errno.EACCES: "Ask for the right to it, or use another folder",
    errno.EPERM: "Ask for the right to it, or use another folder",
    errno.ENAMETOOLONG: "Use a shorter name",
    errno.EIO: "The disk may be damaged: copy what is on it to another",
    errno.EMFILE: "Raise the limit on open files (`ulimit -n`)",
}


def of_the_system(error: BaseException) -> CnnkitError | None:
    """What the system refused, as an error for the user; None for any other error.

    That is a file that cannot be read or written, or memory, or a thread.
    """
    text = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if _is_of_memory(error):
        # TensorFlow says more of its own operations and devices than of what did not fit.
        shape = re.search(r"OOM when allocating tensor with shape(\[[\d,]*\]) and type (\w+)", text)
        if shape is not None:
            text = f"TensorFlow found none for {shape[1]} values of type {shape[2]}"
        return CnnkitError(
            f"there is not enough memory: {text}",
            "Close other programs, raise a limit (`ulimit -v`, the container's), or use less: a smaller "
            "`data.batch_size`, fewer `training.threads`, `data.memory: stream`.",
        )
    if not isinstance(error, OSError):
        return None
    hint = _FILE_HINTS.get(error.errno or 0)
    file = f"`{error.filename}`: " if error.filename else ""
    return CnnkitError(f"{file}{error.strerror or text}", f"{hint}, then try again." if hint else None)


def first_line(error: BaseException) -> str:
    """What an error of another library says, as far as one line of ours has room for it."""
    return str(error).strip().split("\n")[0].strip()[:300] or type(error).__name__


def _is_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    # TensorFlow's has a class of its own, and a library that does not fit is an ImportError.
    words = ("cannot allocate memory", "failed to map segment", "can't start new thread", "bad_alloc", "out of memory")
    return type(error).__name__ == "ResourceExhaustedError" or any(word in str(error).lower() for word in words)


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

    `path` is the place in the document, such as `model.layers[3].Conv2D.kernel_size`, and `keys` the same in parts;
    both are empty where it is the file itself. Where `of_training` holds, the network can be looked at all the same.
    """

    place: Place
    path: str
    message: str
    of_training: bool = False
    keys: tuple[str | int, ...] = ()

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


class Interrupted(CnnkitError):
    """The user pressed Ctrl-C; what was learned is kept."""

    exit_code = EXIT_INTERRUPTED


class NonFiniteLoss(CnnkitError):
    """The loss or a weight is NaN or infinite."""
