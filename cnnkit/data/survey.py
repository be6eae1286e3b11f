"""What the files of a folder are: sizes, modes, orientation, damage, and which hold the same pixels."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cnnkit.data.splits import CHUNK, Array
from cnnkit.images.formats import MOST_MEGAPIXELS, CorruptImage, header_size, open_image
from cnnkit.machine.processor import usable_cores

#: The EXIF tag of the orientation, and its values.
_ORIENTATION = 0x0112
_ORIENTATIONS = range(1, 9)

#: Sizes that a summary names.
_NAMED_SIZES = 5


@dataclass(frozen=True)
class FileFacts:
    """What an image file is.

    Attributes:
        file: Its path, relative to the folder.
        size: Height and width in pixels, turned as its EXIF orientation says; None where it cannot be read.
        mode: Pillow's mode; None where it cannot be read.
        odd_orientation: An invalid EXIF orientation, as text; None for a valid one.
        digest: Equal for equal pixels; None where they were not looked at.
        error: Why it cannot be read.
    """

    file: str
    size: tuple[int, int] | None = None
    mode: str | None = None
    odd_orientation: str | None = None
    digest: bytes | None = None
    error: str | None = None


def survey(
    root: Path,
    files: Sequence[str],
    read: Callable[[str], Array] | None = None,
    most_megapixels: float = MOST_MEGAPIXELS,
) -> Iterator[FileFacts]:
    """Looks at image files, in parallel and in their order; a bounded number of images is in memory.

    Args:
        files: Relative to `root`.
        read: Decodes the file of a path; without it, only headers are looked at.
        most_megapixels: Images with more cannot be read.
    """
    with ThreadPoolExecutor(usable_cores()) as pool:
        for start in range(0, len(files), CHUNK):
            # The executor would make a task for each of a million files at once.
            yield from pool.map(lambda file: _look(root, file, read, most_megapixels), files[start : start + CHUNK])


def _look(root: Path, file: str, read: Callable[[str], Array] | None, most_megapixels: float) -> FileFacts:
    path = os.path.join(root, file)
    try:
        with open_image(path, most_megapixels) as image:
            orientation = image.getexif().get(_ORIENTATION, 1)
            right = isinstance(orientation, int) and orientation in _ORIENTATIONS
            facts = FileFacts(file, header_size(image), image.mode, None if right else repr(orientation))
        digest = pixels_digest(read(path)) if read is not None else None
    except CorruptImage as error:
        return FileFacts(file, error=error.reason)
    return FileFacts(facts.file, facts.size, facts.mode, facts.odd_orientation, digest)


def pixels_digest(image: Array) -> bytes:
    """16 bytes that are equal for images of the same size and pixels, uint8 [height, width, channels]."""
    digest = hashlib.blake2b(str(image.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image).data)
    return digest.digest()


def sizes_and_modes(found: Sequence[FileFacts]) -> dict[str, Any]:
    """The files' sizes, modes and damage, as plain values."""
    sizes = [facts.size for facts in found if facts.size is not None]
    summary: dict[str, Any] = {}
    if sizes:
        for place, name in enumerate(("height", "width")):
            values = [size[place] for size in sizes]
            summary[name] = {"min": min(values), "median": int(np.median(values)), "max": max(values)}
        common = Counter(sizes).most_common(_NAMED_SIZES)
        summary["common_sizes"] = {f"{height}x{width}": count for (height, width), count in common}
        summary["modes"] = dict(Counter(facts.mode for facts in found if facts.mode is not None).most_common())
    unreadable = {facts.file: facts.error for facts in found if facts.error is not None}
    return summary | ({"unreadable": unreadable} if unreadable else {})
