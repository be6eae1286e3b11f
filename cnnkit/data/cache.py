"""Decoded images on disk: entries that are written atomically, verified when read, and removed when space runs out.

An entry is one file, named by a hash over all that decides its content. Its arrays come first, each at a multiple of
64 bytes; then, as JSON, what they are, with a CRC-32 of each; then the size and the CRC-32 of that JSON and a mark. An
entry that is damaged or cut off is removed and made anew, and a disk that is full or read only costs nothing but the
time that the cache would have saved.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import logging
import os
import shutil
import struct
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from cnnkit.data.splits import ALIGNMENT, Array
from cnnkit.errors import UsageError

log = logging.getLogger("cnnkit")

#: Names the folder instead of the customary place.
FOLDER_VARIABLE = "CNNKIT_CACHE_DIR"

#: Bytes that all entries may take together; 0 turns the cache off.
SIZE_VARIABLE = "CNNKIT_CACHE_BYTES"
DEFAULT_BYTES = 10 * 10**9

#: Part of every key: another format, or other pixels from the same files, make all entries useless.
FORMAT = 1

SUFFIX = ".cnnkit-cache"
_TEMPORARY = ".partial"
_MARK = b"cnnkit01"
_END = struct.Struct("<QI8s")

#: A temporary file of this age was left by a process that was killed.
_ABANDONED_SECONDS = 24 * 3600


def cache_folder() -> Path:
    """Where the cache is: CNNKIT_CACHE_DIR, else `cnnkit` in the system's folder for caches."""
    stated = os.environ.get(FOLDER_VARIABLE)
    if stated:
        return Path(stated).expanduser()
    if sys.platform == "win32":
        parent = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        parent = "~/Library/Caches"
    else:
        parent = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(parent).expanduser() / "cnnkit"


def cache_limit() -> int:
    """Bytes that all entries may take: CNNKIT_CACHE_BYTES, or 10 GB, but at most half of the disk's free space.

    Space that entries take already counts as free.

    Raises:
        UsageError: if CNNKIT_CACHE_BYTES is no number.
    """
    text = os.environ.get(SIZE_VARIABLE) or str(DEFAULT_BYTES)
    if not text.isdecimal():
        raise UsageError(
            f"{SIZE_VARIABLE} is `{text}`; expected a number of bytes, such as {DEFAULT_BYTES}",
            "0 turns the cache off.",
        )
    folder = cache_folder()
    existing = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    try:
        free = shutil.disk_usage(existing).free
    except OSError:
        return 0
    return min(int(text), (free + cache_size()) // 2)


def cache_size() -> int:
    """Bytes that the entries take now."""
    return sum(size for _, size, _ in _files())


def clear_cache() -> int:
    """Removes every entry; the bytes that this freed. Other files in the folder stay."""
    return sum(size for _, size, path in _files() if _remove(path))


def entry_key(**facts: Any) -> str:
    """The name of an entry: a hash over the facts (plain values) that decide its content."""
    text = json.dumps({"format": FORMAT, **facts}, sort_keys=True)
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=20).hexdigest()


class Damaged(Exception):
    """The bytes of an entry are not those that were written."""


class Entry:
    """A stored entry, open for reading. It stays readable while another process replaces or removes it."""

    def __init__(self, stream: io.BufferedReader) -> None:
        self._stream = stream
        size = os.fstat(stream.fileno()).st_size
        if size < _END.size:
            raise Damaged
        stream.seek(size - _END.size)
        length, checksum, mark = _END.unpack(stream.read(_END.size))
        if mark != _MARK or length > size - _END.size:
            raise Damaged
        stream.seek(size - _END.size - length)
        table = stream.read(length)
        if zlib.crc32(table) != checksum:
            raise Damaged
        self._arrays: dict[str, Any] = json.loads(table)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of an array."""
        return tuple(self._arrays[name]["shape"])

    def chunks(self, name: str, rows: int) -> Iterator[Array]:
        """An array some rows at a time; each chunk is overwritten by the next.

        Raises:
            Damaged: at the latest after the last chunk, if the bytes are not those that were written.
        """
        facts = self._arrays[name]
        count, *inner = facts["shape"]
        self._stream.seek(facts["start"])
        memory = np.empty((min(rows, count), *inner), facts["dtype"])
        checksum = 0
        for first in range(0, count, rows):
            chunk = memory[: min(rows, count - first)]
            if chunk.nbytes:
                view = chunk.data.cast("B")
                if self._stream.readinto(view) != chunk.nbytes:
                    raise Damaged
                checksum = zlib.crc32(view, checksum)
            yield chunk
        if checksum != facts["crc32"]:
            raise Damaged

    def array(self, name: str) -> Array:
        """A whole array.

        Raises:
            Damaged: if the bytes are not those that were written.
        """
        shape = self.shape(name)
        whole = np.empty(shape, self._arrays[name]["dtype"])
        for chunk in self.chunks(name, max(1, shape[0])):
            whole = chunk
        return whole


@contextlib.contextmanager
def opened(key: str) -> Iterator[Entry | None]:
    """The entry of that key, None where there is none; if the block raises `Damaged`, it is removed.

    Raises:
        Damaged: if the block does. An entry that is seen to be damaged when it is opened counts as missing.
    """
    path = _path(key)
    try:
        stream = path.open("rb")
    except OSError:
        yield None
        return
    with stream:
        try:
            entry = Entry(stream)
        except (Damaged, ValueError):
            _drop(path)
            yield None
            return
        except OSError as error:
            log.info("cannot read the cache file `%s`: %s", path, error.strerror)
            yield None
            return
        try:
            yield entry
        except Damaged:
            _drop(path)
            raise
        # What was used last is removed last.
        with contextlib.suppress(OSError):
            os.utime(path)


def read_arrays(key: str, *names: str) -> list[Array] | None:
    """Whole arrays of an entry; None where there is no such entry, or it is damaged."""
    with contextlib.suppress(Damaged), opened(key) as entry:
        if entry is not None:
            return [entry.array(name) for name in names]
    return None


def write_arrays(key: str, arrays: Mapping[str, Array]) -> None:
    """Stores whole arrays as an entry; nothing happens where they cannot be kept."""
    with writing(key, sum(array.nbytes for array in arrays.values())) as writer:
        for name, array in arrays.items():
            writer.begin(name)
            writer.append(array)


class Writer:
    """An entry in the making. It never fails: where the disk does, it goes on without writing."""

    def __init__(self, stream: IO[bytes] | None) -> None:
        self._stream = stream
        self._arrays: dict[str, dict[str, Any]] = {}
        self._current: dict[str, Any] = {}

    @property
    def is_open(self) -> bool:
        """Whether what is appended is kept."""
        return self._stream is not None

    def begin(self, name: str) -> None:
        """Starts an array; what is appended from now on are its rows."""
        if self._stream is not None:
            self._write(b"\0" * (-self._stream.tell() % ALIGNMENT))
        if self._stream is not None:
            self._current = {"start": self._stream.tell(), "crc32": 0}
            self._arrays[name] = self._current

    def append(self, rows: Array) -> None:
        """Adds rows [n, ...] to the array that was begun last."""
        if self._stream is None:
            return
        count, *inner = self._current.get("shape", [0, *rows.shape[1:]])
        self._current.update(shape=[count + len(rows), *inner], dtype=rows.dtype.str)
        if rows.nbytes:
            view = np.ascontiguousarray(rows).data.cast("B")
            self._current["crc32"] = zlib.crc32(view, self._current["crc32"])
            self._write(view)

    def finish(self) -> bool:
        """Writes what the arrays are, and whether all of it is on the disk."""
        table = json.dumps(self._arrays).encode("ascii")
        self._write(table + _END.pack(len(table), zlib.crc32(table), _MARK))
        if self._stream is not None:
            try:
                # The last bytes leave the buffer only now.
                self._stream.close()
            except OSError as error:
                self._stream = None
                _warn_unwritable(error)
        return self._stream is not None

    def _write(self, data: Any) -> None:
        if self._stream is None:
            return
        try:
            self._stream.write(data)
        except OSError as error:
            self._stream = None
            _warn_unwritable(error)


@contextlib.contextmanager
def writing(key: str, size: int) -> Iterator[Writer]:
    """A writer of the entry, which appears under its name when the block has succeeded.

    Args:
        size: Bytes that the entry will have, for which older ones make room.
    """
    path = _path(key)
    if not _make_room(size):
        yield Writer(None)
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, suffix=_TEMPORARY)
    except OSError as error:
        _warn_unwritable(error)
        yield Writer(None)
        return
    stream = os.fdopen(handle, "wb")
    try:
        writer = Writer(stream)
        yield writer
        if writer.finish():
            # Another process may have written and opened the same entry, which some systems do not let go.
            with contextlib.suppress(OSError):
                os.replace(name, path)
    finally:
        with contextlib.suppress(OSError):
            stream.close()
        _remove(Path(name))


def _make_room(size: int) -> bool:
    """Removes the entries used longest ago until one of that size fits; whether it can fit at all."""
    limit = cache_limit()
    if size > limit:
        if limit > 0:
            log.info("%.1f GB do not fit in the cache, which may take %.1f GB", size / 1e9, limit / 1e9)
        return False
    files = sorted(_files())
    total = sum(taken for _, taken, _ in files)
    for used, taken, path in files:
        abandoned = path.suffix == _TEMPORARY and time.time() - used > _ABANDONED_SECONDS
        if abandoned or (total + size > limit and path.suffix == SUFFIX and _remove(path)):
            total -= taken
            if abandoned:
                _remove(path)
    return total + size <= limit


def _path(key: str) -> Path:
    return cache_folder() / "decoded" / (key + SUFFIX)


def _files() -> list[tuple[float, int, Path]]:
    """(time of the last use, bytes, path) of every entry and temporary file."""
    found = []
    with contextlib.suppress(OSError):
        for entry in os.scandir(_path("").parent):
            if entry.name.endswith((SUFFIX, _TEMPORARY)):
                with contextlib.suppress(OSError):
                    facts = entry.stat()
                    found.append((facts.st_mtime, facts.st_size, Path(entry.path)))
    return found


def _remove(path: Path) -> bool:
    try:
        path.unlink()
    except OSError:
        return False
    return True


def _drop(path: Path) -> None:
    log.info("the cache file `%s` is damaged; it is removed and made anew", path)
    _remove(path)


def _warn_unwritable(error: OSError) -> None:
    reason = error.strerror or str(error)
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        remedy = f"set {FOLDER_VARIABLE} to a folder that can be written"
    else:
        remedy = f"free some space, or set {FOLDER_VARIABLE} to a folder on another disk"
    log.warning(
        "decoded images cannot be kept in `%s` (%s), so that every start decodes them again; %s",
        cache_folder(),
        reason,
        remedy,
    )
