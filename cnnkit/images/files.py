"""The image files of a folder: one walk for training, evaluation and prediction, which ejected scripts copy."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from cnnkit.images.formats import IMAGE_SUFFIXES
from cnnkit.terminal.printable import printable

#: Folders that systems make beside what a person puts there, in small letters: shadow files and thumbnails that look
#: like images, and what was thrown away. Those whose names begin with a dot are hidden anyway.
SYSTEM_FOLDERS = (
    "__macosx",
    "@eadir",
    "@synoresource",
    "@recycle",
    "@recently-snapshot",
    "#recycle",
    "#snapshot",
    "$recycle.bin",
    "recycler",
    "system volume information",
    "lost+found",
    "network trash folder",
    "temporary items",
)


def image_files(folder: str | Path) -> tuple[list[str], list[str]]:
    """The image files in a folder and its sub-folders, by their endings, and the other files; both sorted.

    Raises:
        OSError: as `files_in`.
    """
    images: list[str] = []
    others: list[str] = []
    for path in files_in(folder):
        (images if path.lower().endswith(IMAGE_SUFFIXES) else others).append(path)
    return sorted(images), sorted(others)


def files_in(folder: str | Path) -> list[str]:
    """The files in a folder and its sub-folders.

    Hidden files and folders, and those that systems make, are passed over. Links to folders are followed, behind what
    lies in the folder itself; each folder is searched once, and a link to one that it lies in is left alone.

    Raises:
        OSError: if a folder cannot be read, or a link that may have been one cannot be followed.
    """
    found: list[str] = []
    seen: set[str] = set()
    trees = [str(folder)]
    for tree in trees:  # grows meanwhile: `os.walk` leaves links alone
        top = os.path.realpath(tree)
        for parent, folders, files in os.walk(tree, onerror=_refuse):
            place = top + parent.removeprefix(tree)
            if place in seen:
                folders.clear()
                continue
            seen.add(place)
            folders[:] = sorted(name for name in folders if not is_passed_over(name))
            paths = [os.path.join(parent, name) for name in folders]
            trees += [path for path in paths if os.path.islink(path) and not leads_back(path)]
            for name in files:
                path = os.path.join(parent, name)
                if not is_passed_over(name):
                    check_link(path)
                    found.append(path)
    return found


def folders_in(parent: str | Path) -> tuple[list[Path], list[Path]]:
    """The folders in a folder, and the files beside them; both sorted, and passed over as in `image_files`.

    Raises:
        OSError: if the folder cannot be read, or a link that may have been a folder cannot be followed.
    """
    folders, files = [], []
    with os.scandir(parent) as entries:
        for entry in entries:
            if is_passed_over(entry.name):
                continue
            path = Path(parent, entry.name)
            if not entry.is_dir():
                check_link(str(path))
                files.append(path)
            elif not (entry.is_symlink() and leads_back(str(path))):
                folders.append(path)
    return sorted(folders), sorted(files)


def is_passed_over(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or a folder that systems make."""
    return name.startswith(".") or name.lower() in SYSTEM_FOLDERS


def leads_back(link: str) -> bool:
    """Whether a link leads to a folder that it lies in."""
    place = os.path.realpath(os.path.dirname(link) or ".")
    target = os.path.realpath(link)
    return os.path.join(place, "").startswith(os.path.join(target, ""))


def check_link(path: str) -> None:
    """Refuses a link that leads nowhere if its name has no ending: it may have been a folder of images.

    Raises:
        OSError: if it is one.
    """
    if not os.path.splitext(path)[1] and os.path.islink(path) and not os.path.exists(path):
        raise OSError(None, "the link cannot be followed", path)


def _refuse(error: OSError) -> None:
    raise error


def spread(files: Sequence[str], most: int) -> list[str]:
    """At most so many of some files, spread evenly."""
    return list(files[:: max(1, -(-len(files) // most))])


def left_out_counts(files: Sequence[str]) -> dict[str, int]:
    """How many files do not count as images, by ending; and how many images lie outside the class folders."""
    endings = Counter(os.path.splitext(file)[1].lower() for file in files)
    misplaced = sum(endings.pop(suffix, 0) for suffix in IMAGE_SUFFIXES)
    counts = {ending or "without an ending": count for ending, count in endings.most_common()}
    return counts | ({"outside the class folders": misplaced} if misplaced else {})


def left_out_text(files: Sequence[str]) -> str:
    """`left_out_counts` as a line."""
    counts = ", ".join(f"{count:,} {kind}" for kind, count in left_out_counts(files).items())
    return printable(f"left out {len(files):,} file{'' if len(files) == 1 else 's'}: {counts}")
