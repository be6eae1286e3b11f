"""Files of any place: written whole or not at all, and the texts that go into them."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any


def write_atomically(path: Path, content: bytes | str) -> None:
    """Writes a whole file under a temporary name and renames it, so that no reader sees half of it."""
    with replacing(path) as temporary:
        temporary.write_bytes(encode(content) if isinstance(content, str) else content)


def encode(text: str) -> bytes:
    r"""Text as UTF-8.

    A file name that is not UTF-8 reaches Python with lone surrogates; they become `\udce9`, which JSON understands.
    """
    return text.encode("utf-8", "backslashreplace")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, with the same ending, that takes its place if the block succeeds."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=path.suffix)
    except OSError as error:
        # The user knows nothing of the temporary name.
        raise OSError(error.errno, error.strerror, str(path)) from None
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes private files; a run is as readable as any file the user makes.
        temporary.chmod(0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


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
