"""Decoded images on disk: entries that are written atomically, verified when read, and removed when space runs out.

An entry is one `.npz` file of NumPy's, uncompressed, named by a hash over all that decides its content. An array of
unknown length is stored in numbered pieces. The CRC-32 that zip keeps of each piece is compared whenever it is read. An
entry that is damaged or cut off is removed and made again, and a disk that is full or read only costs nothing but the
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
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from cnnkit.data.splits import Array
from cnnkit.errors import UsageError

log = logging.getLogger("cnnkit")

#: Names the folder instead of the customary place.
FOLDER_VARIABLE = "CNNKIT_CACHE_DIR"

#: Bytes that all entries may take together; 0 turns the cache off.
SIZE_VARIABLE = "CNNKIT_CACHE_BYTES"
DEFAULT_BYTES = 10 * 10**9

#: Part of every key: another format, or other pixels from the same files, make all entries useless.
FORMAT = 2

SUFFIX = ".npz"
#: What entries were called before; they are never read, and make room like others.
_OLD_SUFFIXES = (".cnnkit-cache",)
_TEMPORARY = ".partial"

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
        self._archive = zipfile.ZipFile(stream)
        size = os.fstat(stream.fileno()).st_size
        for member in self._archive.infolist():
            # A damaged size could ask for any amount of memory.
            is_stored = member.compress_type == zipfile.ZIP_STORED and member.file_size == member.compress_size
            if not is_stored or member.file_size > size:
                raise Damaged

    def chunks(self, name: str, count: int) -> Iterator[Array]:
        """An array in the pieces in which it was stored.

        Args:
            count: How many rows it has.

        Raises:
            Damaged: at the latest after the last piece, if the bytes are not those that were written.
        """
        index = 0
        while count > 0:
            piece = self.array(_piece(name, index))
            yield piece
            count -= len(piece)
            index += 1
        if count < 0:
            raise Damaged

    def array(self, name: str) -> Array:
        """A whole array, read-only.

        Raises:
            Damaged: if the bytes are not those that were written.
        """
        with _finding_damage():
            # All of it is read, and its checksum compared, before anything is made of it.
            content = self._archive.read(_member(name))
            header = io.BytesIO(content)
            np.lib.format.read_magic(header)
            shape, _, dtype = np.lib.format.read_array_header_1_0(header)
            return np.frombuffer(content, dtype, offset=header.tell()).reshape(shape)


@contextlib.contextmanager
def _finding_damage() -> Iterator[None]:
    """What zipfile and NumPy raise inside the block for bytes that are not those that were written is `Damaged`."""
    try:
        yield
    # No archive; an end too early; a member that is missing; one of another version, or encrypted; a place that no file
    # has; what is no number, name or header.
    except (zipfile.BadZipFile, EOFError, KeyError, RuntimeError, OSError, OverflowError, ValueError) as error:
        raise Damaged from error


def _member(name: str) -> str:
    """The name of an array in the archive."""
    return f"{name}.npy"


def _piece(name: str, index: int) -> str:
    """The name of a part of an array."""
    return f"{name}.{index}"


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
            with _finding_damage():
                entry = Entry(stream)
        except Damaged:
            _drop(path)
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
            writer.add(name, array)


class Writer:
    """An entry that is being written. It never fails: where the disk does, it goes on without writing."""

    def __init__(self, stream: IO[bytes] | None) -> None:
        self._stream = stream
        self._archive = zipfile.ZipFile(stream, "w") if stream is not None else None
        self._pieces: dict[str, int] = {}

    @property
    def is_open(self) -> bool:
        """Whether what is added is kept."""
        return self._archive is not None

    def append(self, name: str, rows: Array) -> None:
        """Adds rows [n, ...] to an array, as a piece of their own."""
        index = self._pieces.get(name, 0)
        self._pieces[name] = index + 1
        self.add(_piece(name, index), rows)

    def add(self, name: str, array: Array) -> None:
        """Adds a whole array."""
        if self._archive is None:
            return
        try:
            # As `np.savez` does, but without the time of day: the same arrays are the same bytes.
            with self._archive.open(zipfile.ZipInfo(_member(name)), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, version=(1, 0), allow_pickle=False)
        except OSError as error:
            self._fail(error)

    def finish(self) -> bool:
        """Writes what the arrays are, and whether all of it is on the disk."""
        if self._archive is not None:
            assert self._stream is not None
            try:
                self._archive.close()
                # The last bytes leave the buffer only now.
                self._stream.close()
            except OSError as error:
                self._fail(error)
        return self._archive is not None

    def close(self) -> None:
        """Closes the file, finished or not."""
        for part in (self._archive, self._stream):
            if part is not None:
                with contextlib.suppress(OSError):
                    part.close()

    def _fail(self, error: OSError) -> None:
        self.close()
        self._archive = None
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
    writer = Writer(os.fdopen(handle, "wb"))
    try:
        yield writer
        if writer.finish():
            # Another process may have written and opened the same entry, which some systems do not let go.
            with contextlib.suppress(OSError):
                os.replace(name, path)
    finally:
        writer.close()
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
        if abandoned or (total + size > limit and path.suffix != _TEMPORARY and _remove(path)):
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
            if entry.name.endswith((SUFFIX, *_OLD_SUFFIXES, _TEMPORARY)):
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
    log.info("the cache file `%s` is damaged; it is removed and made again", path)
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
