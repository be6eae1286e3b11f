"""Ctrl-C, SIGTERM and SIGHUP while a run is trained: all is kept, and the process ends with 128 + the signal."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from cnnkit.errors import Interrupted

#: What Ctrl-C, schedulers, container runtimes and terminals that close send. Windows has no SIGHUP.
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))

#: What comes this soon after the first signal belongs to the same request. systemd, Slurm and `timeout` send theirs to
#: all processes of a job, and one that has started others passes it on to them.
SECONDS_OF_A_REQUEST = 1.0

#: The same of SIGINT, which is passed on as well; two presses of Ctrl-C are further apart.
SECONDS_OF_CTRL_C = 0.1

#: Shows a terminal's cursor, which a live line has hidden.
_SHOW_CURSOR = b"\x1b[?25h\n"


class _State:
    """The signal that has come, and whether it has to wait for the end of a step."""

    received: int | None = None
    received_at = 0.0
    waiting = False
    #: What Ctrl-C did before.
    on_ctrl_c: Any = None


def requested() -> int:
    """The number of the signal that has asked this process to end; 0 for none."""
    return _State.received or 0


@contextlib.contextmanager
def ending_in_order() -> Iterator[None]:
    """Inside the block, a first signal raises KeyboardInterrupt, and a later one ends the process at once.

    A signal that is ignored stays so, as under `nohup`. Only the main thread may set handlers; in another one, nothing
    changes.

    Raises:
        Interrupted: as the block does; with the signal's name and its exit code, where it was not Ctrl-C.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _State.received = None
    before = {number: signal.getsignal(number) for number in SIGNALS}
    _State.on_ctrl_c = before[signal.SIGINT]
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, _receive)
    try:
        yield
    except (Interrupted, KeyboardInterrupt) as error:
        if _State.received in (None, signal.SIGINT):
            raise
        told = error if isinstance(error, Interrupted) else Interrupted("interrupted")
        message = told.message.replace("interrupted", f"ended by {signal.Signals(_State.received).name}", 1)
        ended = Interrupted(message, told.hint)
        ended.exit_code = 128 + _State.received
        raise ended from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _State.received = None


@contextlib.contextmanager
def waiting() -> Iterator[Callable[[], None]]:
    """From the call of what it yields to the end of the block, a first signal is only noted.

    Whoever is there looks at `requested`, keeps all, and ends.
    """

    def begin() -> None:
        _State.waiting = True

    try:
        yield begin
    finally:
        _State.waiting = False


def _receive(number: int, frame: Any) -> None:
    if requested():
        same_request = SECONDS_OF_CTRL_C if number == signal.SIGINT else SECONDS_OF_A_REQUEST
        if time.monotonic() - _State.received_at > same_request:
            with contextlib.suppress(OSError):
                if os.isatty(1):
                    os.write(1, _SHOW_CURSOR)
            os._exit(128 + number)
        return
    _State.received, _State.received_at = number, time.monotonic()
    if not _State.waiting:
        if number == signal.SIGINT and callable(_State.on_ctrl_c):
            _State.on_ctrl_c(number, frame)
        raise KeyboardInterrupt
