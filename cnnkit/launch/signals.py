"""The signals that reach `cnnkit launch`, which its workers get from it, each once."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

#: What ends this process, and what Ctrl-Z sends.
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGTSTP")


@dataclass
class Signals:
    """The signals that have come and were not dealt with yet, in their order."""

    _pending: list[int] = field(default_factory=list)

    def take(self) -> int | None:
        """The next one; None if there is none."""
        return self._pending.pop(0) if self._pending else None

    @contextlib.contextmanager
    def noted(self) -> Iterator[None]:
        """Inside the block, signals are only noted. One that is ignored, as under `nohup`, stays so, in workers too."""

        def note(number: int, frame: Any) -> None:
            self._pending.append(number)

        before: dict[int, Any] = {}
        for name in _NAMES:
            number = getattr(signal, name)
            before[number] = signal.getsignal(number)
            if before[number] is not signal.SIG_IGN:
                signal.signal(number, note)
        # Workers are in the background of the terminal; set to `tostop`, it would stop one that writes there.
        before[signal.SIGTTOU] = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
