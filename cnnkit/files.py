"""Files of any place: written whole or not at all; read only where they are what they seem to be."""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

#: What the names of files begin with that are being written.
TEMPORARY = ".cnnkit-"


def write_atomically(path: Path, content: bytes | str) -> None:
    """Writes a whole file under a temporary name and renames it, so that no reader sees half of it.

    When it returns, the file is on the disk, not only in the memory of the operating system.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(encode(content) if isinstance(content, str) else content)


def encode(text: str) -> bytes:
    r"""Text as UTF-8.

    A file name that is not UTF-8 reaches Python with lone surrogates; they become `\udce9`, which JSON understands.
    """
    return text.encode("utf-8", "backslashreplace")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, with the same ending, that takes its place if the block succeeds.

    What was written there reaches the disk first: after a loss of power there is the old file or the new one.
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=TEMPORARY, suffix=path.suffix)
    except OSError as error:
        # The user knows nothing of the temporary name.
        raise _named(error, path) from None
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes private files; a run is as readable as any file the user makes.
        temporary.chmod(0o666 & ~_umask())
        _to_disk(temporary, os.O_RDWR)
        os.replace(temporary, path)
        if sys.platform != "win32":
            # The new name, too; Windows opens no folders.
            _to_disk(path.parent, os.O_RDONLY)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.filename not in (None, name):
            raise
        raise _named(error, path) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _to_disk(path: Path, flags: int) -> None:
    """Waits until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, flags | getattr(os, "O_BINARY", 0))
    try:
        os.fsync(handle)
    except OSError as error:
        # Some file systems cannot do it for folders.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EROFS):
            raise
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def to_csv(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Rows as CSV text; floats with nine significant digits, enough to tell any two 32-bit ones apart."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    for row in rows:
        writer.writerow([format(value, ".9g") if isinstance(value, float) else value for value in row])
    return stream.getvalue()


#: What a name may be that is no file, and what is said of it.
_KINDS = (
    (stat.S_ISLNK, errno.ELOOP, "it is a link, and links are not followed here"),
    (stat.S_ISDIR, errno.EISDIR, "it is a folder"),
    (stat.S_ISFIFO, errno.EINVAL, "it is a pipe, not a file"),
    (stat.S_ISSOCK, errno.EINVAL, "it is a socket, not a file"),
)


def check_regular(path: Path) -> os.stat_result:
    """Whether a name is that of a regular file itself: no link, folder, pipe, socket or device.

    Raises:
        OSError: if it is not, or not there; `strerror` says which.
    """
    facts = os.lstat(path)
    if not stat.S_ISREG(facts.st_mode):
        known = ((number, text) for is_kind, number, text in _KINDS if is_kind(facts.st_mode))
        number, text = next(known, (errno.EINVAL, "it is a device, not a file"))
        raise OSError(number, text, str(path))
    return facts


def check_folder(path: Path) -> None:
    """Whether a name is that of a folder itself: no link, nor anything else.

    Raises:
        OSError: if it is not, or not there.
    """
    if not stat.S_ISDIR(os.lstat(path).st_mode):
        check_regular(path)
        raise OSError(errno.ENOTDIR, "it is a file; expected a folder", str(path))


def open_regular(path: Path, flags: int = os.O_RDONLY) -> int:
    """The handle of a regular file; see `check_regular`. It is not inherited by programs that this process starts.

    Args:
        flags: As for `os.open`; with `os.O_CREAT`, a file that is not there is made.

    Raises:
        OSError: if it cannot be opened, or is something else.
    """
    try:
        check_regular(path)
    except FileNotFoundError:
        if not flags & os.O_CREAT:
            raise
    # A name may become another one after the look at it.
    flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    return os.open(path, flags, 0o666)


def append_line(path: Path, text: str) -> None:
    """Adds a line to a regular file, which is made where it is not there; the whole line, or nothing of it.

    Half a line, which a process that was killed has left, stays on a line of its own.

    Raises:
        OSError: naming the file, if it cannot be written, or is something else.
    """
    content = encode(text + "\n")
    try:
        handle = open_regular(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        before = os.fstat(handle).st_size
        try:
            if before:
                os.lseek(handle, -1, os.SEEK_END)
                if os.read(handle, 1) != b"\n":
                    content = b"\n" + content
            while content:
                # A disk that becomes full takes the part for which there is space.
                content = content[os.write(handle, content) :]
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(handle, before)
            raise
        finally:
            os.close(handle)
    except OSError as error:
        raise _named(error, path) from None


def _named(error: OSError, path: Path) -> OSError:
    """The error with the file that it is about: a write says no name."""
    return OSError(error.errno, error.strerror or str(error), str(path))


def read_regular(path: Path, most_bytes: int) -> bytes:
    """The content of a regular file.

    Raises:
        OSError: if it cannot be read, is something else, or larger than `most_bytes`.
    """
    with open_stream(path, most_bytes) as stream:
        return stream.read()


def open_stream(path: Path, most_bytes: int) -> BinaryIO:
    """A regular file, opened to be read.

    Raises:
        OSError: if it cannot be read, is something else, or larger than `most_bytes`.
    """
    stream = os.fdopen(open_regular(path), "rb")
    if os.fstat(stream.fileno()).st_size > most_bytes:
        stream.close()
        raise OSError(errno.EFBIG, f"it is larger than {most_bytes:,} bytes", str(path))
    return stream


@contextlib.contextmanager
def working_folder(parent: Path) -> Iterator[Path]:
    """A new folder in `parent` for files that are moved to their places when all are made, see `move_into_place`.

    It is gone when the block ends, with whatever is still in it.
    """
    try:
        folder = Path(tempfile.mkdtemp(dir=parent, prefix=TEMPORARY))
    except OSError as error:
        # The user knows nothing of the temporary name.
        raise _named(error, parent) from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def move_into_place(made: Path, target: Path) -> None:
    """Gives a file or folder of a `working_folder` its name beside that folder, whatever had the name before.

    What is in it reaches the disk first.
    """
    for path in [*made.rglob("*"), made] if made.is_dir() else [made]:
        path.chmod((0o777 if path.is_dir() else 0o666) & ~_umask())
        if path.is_file() or sys.platform != "win32":
            _to_disk(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    if target.is_dir() and not target.is_symlink():
        # No folder takes the place of another that holds something.
        os.replace(target, made.with_name(f"{made.name}-before"))
    os.replace(made, target)
    if sys.platform != "win32":
        _to_disk(target.parent, os.O_RDONLY)
