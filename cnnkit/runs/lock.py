"""A lock that one process holds, and that ends with the process, however that comes."""

from __future__ import annotations

import contextlib
import datetime
import errno
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cnnkit.files import open_regular, read_regular

if sys.platform == "win32":
    import msvcrt

    #: Windows locks bytes, and lets nobody else read them: one far beyond the text.
    _LOCKED_BYTE = 1 << 30

    def _lock(handle: int, *, shared: bool) -> None:
        os.lseek(handle, _LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            raise BlockingIOError(errno.EAGAIN, "another process holds the lock") from None
        finally:
            os.lseek(handle, 0, os.SEEK_SET)

else:
    import fcntl

    def _lock(handle: int, *, shared: bool) -> None:
        # Unlike a lock by `lockf`, it does not end when this process closes another handle of the file.
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


#: Whoever asks whether a lock is held holds it for an instant himself.
_TRIES, _SECONDS_BETWEEN_TRIES = 5, 0.05

#: What a file system says that has no locks.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP)

_LARGEST_TEXT = 4096


@dataclass(frozen=True)
class Holder:
    """The process that holds a lock, as far as it has said so.

    Attributes:
        pid: Its number on its machine.
        machine: The machine's name.
        since: Local time.
    """

    pid: int | None = None
    machine: str | None = None
    since: str | None = None

    def __str__(self) -> str:
        if self.pid is None:
            return "another process"
        here = self.machine == socket.gethostname()
        return f"the process {self.pid} on {'this machine' if here else self.machine}, since {self.since}"


class Held(Exception):
    """Another process has the lock."""

    def __init__(self, holder: Holder) -> None:
        super().__init__(f"held by {holder}")
        self.holder = holder


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[bool]:
    """Nobody else is inside such a block for the same file, in whatever process.

    The file is made, says who is inside, and is removed at the end. The lock is the operating system's own (`flock`; on
    Windows that of a byte), which ends with the process. A child process does not hold it: its handle is not inherited.

    Yields:
        Whether the file system has locks; where it has none, nobody is kept out.

    Raises:
        Held: if another process is inside.
        OSError: if the file cannot be made, or something other than a file is in its place.
    """
    handle, is_locked = _acquire(path)
    if hasattr(os, "register_at_fork"):
        _FORKED.add(handle)
    try:
        _tell(handle)
        yield is_locked
    finally:
        _FORKED.discard(handle)
        # Removed while it is still locked, so that nobody can lock a file that is no longer there unnoticed.
        with contextlib.suppress(OSError):
            if _is_at(handle, path):
                path.unlink()
        os.close(handle)


def holder(path: Path) -> Holder | None:
    """Who holds the lock; None if nobody does, or if there is no such file.

    Raises:
        OSError: if that cannot be known: the file may not be read, or the file system has no locks.
    """
    try:
        handle = open_regular(path)
    except FileNotFoundError:
        return None
    try:
        _lock(handle, shared=True)
    except BlockingIOError:
        return _read(path)
    finally:
        os.close(handle)
    return None


def _acquire(path: Path) -> tuple[int, bool]:
    tries = 0
    while True:
        handle = open_regular(path, os.O_RDWR | os.O_CREAT)
        try:
            _lock(handle, shared=False)
        except BlockingIOError:
            os.close(handle)
            tries += 1
            if tries == _TRIES:
                raise Held(_read(path)) from None
            time.sleep(_SECONDS_BETWEEN_TRIES)
            continue
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return handle, False
            os.close(handle)
            raise
        if _is_at(handle, path):
            return handle, True
        # The one who held it before has removed the file in the meantime.
        os.close(handle)


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.lstat(path))
    except FileNotFoundError:
        return False


def _tell(handle: int) -> None:
    since = datetime.datetime.now().isoformat(" ", "seconds")
    text = json.dumps({"pid": os.getpid(), "machine": socket.gethostname(), "since": since})
    # A full disk leaves the lock without a name.
    with contextlib.suppress(OSError):
        os.ftruncate(handle, 0)
        os.write(handle, text.encode())


def _read(path: Path) -> Holder:
    try:
        found = json.loads(read_regular(path, _LARGEST_TEXT))
        return Holder(int(found["pid"]), str(found["machine"]), str(found["since"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Holder()


#: Handles that only a child made by `fork` gets, too, and must not keep the lock with.
_FORKED: set[int] = set()


def _let_go() -> None:
    for handle in _FORKED:
        os.close(handle)
    _FORKED.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)
