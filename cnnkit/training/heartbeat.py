"""The signs of life that a training gives to whoever has started it, `cnnkit launch` or another supervisor."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnkit.files import read_regular, write_atomically

if TYPE_CHECKING:
    from cnnkit.runs.directory import Run

#: Names the file that this process touches every second while it lives.
VARIABLE = "CNNKIT_HEARTBEAT"

SECONDS_BETWEEN_BEATS = 1.0
#: Seconds that a process whose launcher has died may take to save and leave.
SECONDS_TO_LEAVE = 20.0

_LARGEST_TEXT = 65536


def prepare(path: Path, launcher: int, command: str) -> None:
    """Makes the file for a process to be started.

    Args:
        launcher: The process that starts it; when that ends, so does this one.
        command: What a user writes in place of `cnnkit` to have it started so.
    """
    write_atomically(path, json.dumps({"launcher": launcher, "command": command}))


def beat() -> None:
    """From now on, a thread touches the file that CNNKIT_HEARTBEAT names; without the variable, nothing happens.

    A process that hangs as a whole, because it is stopped or waits for a disk that does not answer, touches it no more.
    Where the file names a launcher and that has died, this process gets a SIGTERM, after which a training saves and
    leaves, and is killed if it is still there 20 seconds later.
    """
    path = _path()
    if path is not None:
        launcher = _read(path).get("launcher")
        threading.Thread(target=_beat, args=(path, launcher), name="heartbeat", daemon=True).start()


def announce(run: Path) -> None:
    """Tells the launcher which run is being trained, from which it can go on."""
    path = _path()
    if path is not None:
        # Without it, a launcher has nothing to restart from; the training is none the worse.
        with contextlib.suppress(OSError):
            write_atomically(path, json.dumps({**_read(path), "run": os.path.abspath(run)}))


def announcing(opened: Callable[[Run], None] | None) -> Callable[[Run], None]:
    """What `train` and `resume` take as `opened`: it announces the run, besides what `opened` does."""

    def announce_and_open(run: Run) -> None:
        announce(run.path)
        if opened is not None:
            opened(run)

    return announce_and_open


def command() -> str:
    """What a user writes before `train`, to go on as this process was started."""
    path = _path()
    return str(_read(path).get("command", "cnnkit")) if path is not None else "cnnkit"


def announced_run(path: Path) -> str | None:
    """The absolute path of the run that the process of this file trains; None if it has said nothing yet."""
    run = _read(path).get("run")
    return run if isinstance(run, str) else None


def last_beat(path: Path) -> int:
    """When the file was touched, in nanoseconds of its file system's clock; 0 if it is not there."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _path() -> Path | None:
    name = os.environ.get(VARIABLE)
    return Path(name) if name else None


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_regular(path, _LARGEST_TEXT))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _beat(path: Path, launcher: Any) -> None:
    while launcher is None or os.getppid() == launcher:
        # A folder that is cleaned up, or a full disk, is no reason to end a training.
        with contextlib.suppress(OSError):
            os.utime(path)
        time.sleep(SECONDS_BETWEEN_BEATS)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(SECONDS_TO_LEAVE)
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
