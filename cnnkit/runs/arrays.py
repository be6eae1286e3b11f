"""NumPy's files in a run, read as if anybody might have written them."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from cnnkit.runs.directory import Run, damaged

#: Some test images, or the kernels of a layer, take less.
LARGEST = 1 << 28


def read_array(run: Run, path: Path) -> NDArray[Any]:
    """The array of an `.npy` file.

    Raises:
        FileNotFoundError: if it is not there.
        CnnkitError: if it is damaged, or may not be read.
    """
    with run.open(path, LARGEST) as stream:
        try:
            found = np.load(stream, allow_pickle=False)
            if not isinstance(found, np.ndarray):
                raise ValueError("expected one array")
            return found
        except Exception as error:  # a damaged file makes NumPy raise almost anything
            raise damaged(path, _reason(error)) from None


def read_arrays(
    run: Run, path: Path, names: Sequence[str] | None = None, most_bytes: int = LARGEST
) -> dict[str, NDArray[Any]]:
    """The arrays of an `.npz` file by name.

    Such a file holds its arrays as they are. One that was compressed is refused: it might unpack to any size.

    Args:
        names: Those to read; by default all.
        most_bytes: The file's size, at most.

    Raises:
        FileNotFoundError: if it is not there.
        CnnkitError: if it is damaged or too large, lacks an array, or may not be read.
    """
    with run.open(path, most_bytes) as stream:
        try:
            _check_stored(stream)
            with np.load(stream, allow_pickle=False) as archive:
                return {name: archive[name] for name in (archive.files if names is None else names)}
        except Exception as error:  # as above, and zipfile and zlib theirs
            raise damaged(path, _reason(error)) from None


def _check_stored(stream: BinaryIO) -> None:
    with zipfile.ZipFile(stream) as archive:
        members = archive.infolist()
    size = stream.seek(0, 2)
    stream.seek(0)
    if any(one.compress_type != zipfile.ZIP_STORED for one in members):
        raise ValueError("it is compressed, which cnnkit's files are not")
    if sum(one.file_size for one in members) > size:
        raise ValueError("its parts overlap")


def _reason(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
