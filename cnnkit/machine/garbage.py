"""When Python collects garbage: hardly ever while modules load, which make millions of objects that stay."""

from __future__ import annotations

import gc

_WHILE_LOADING = (100_000, 50, 100)
#: Python's own thresholds, or those of the program that calls a command.
_before = gc.get_threshold()


def look_rarely() -> None:
    """For the start of a command: collecting after imports finds nothing, again and again."""
    global _before
    if gc.get_threshold() != _WHILE_LOADING:
        _before = gc.get_threshold()
        gc.set_threshold(*_WHILE_LOADING)


def look_as_usual() -> None:
    """Ends `look_rarely`; what has been loaded by now is not looked through again."""
    if gc.get_threshold() == _WHILE_LOADING:
        gc.freeze()
        gc.set_threshold(*_before)
