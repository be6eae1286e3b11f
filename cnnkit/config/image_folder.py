"""Folders of class folders: which image files they hold, and what the files' headers say."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cnnkit.config.data import DataProblem
from cnnkit.config.image_files import folders_in, image_files, left_out_text
from cnnkit.config.image_formats import IMAGE_SUFFIXES, MOST_MEGAPIXELS, header_size, open_image
from cnnkit.printable import printable

#: Folder names that stand for a split, and the split's name.
SPLIT_FOLDERS = {
    "train": "train",
    "validation": "validation",
    "val": "validation",
    "valid": "validation",
    "test": "test",
}

#: Pillow's modes without colour; a palette (`P`) may hold any colour.
GRAYSCALE_MODES = ("1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L", "I;16N")


@dataclass(frozen=True)
class ImageFolder:
    """The image files of a folder of class folders.

    Args:
        root: The folder.
        class_names: The class folders' names, sorted, and `printable`; a label is a place in this tuple.
        splits: For each split (`train`, and `validation` and `test` where they have folders), the files of
            each class, sorted, relative to `root`.
        left_out: The files that do not count: those without an image's ending, and those outside the class folders.
    """

    root: Path
    class_names: tuple[str, ...]
    splits: dict[str, tuple[tuple[str, ...], ...]]
    left_out: tuple[str, ...]

    def files(self) -> Iterator[str]:
        for classes in self.splits.values():
            for files in classes:
                yield from files


def list_image_folder(folder: str | Path, minimum_classes: int = 2) -> ImageFolder:
    """The classes and files of `folder`: class folders, or `train` and `test` folders of class folders.

    Args:
        folder: The folder.
        minimum_classes: Class folders that it needs; a trained network can be measured on a single class.

    Raises:
        DataProblem: if there is no such folder, fewer than two classes, a class without images, or
            splits with other classes than `train`.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        reason = "is a file" if root.exists() else "does not exist"
        raise DataProblem(f"the folder `{folder}` {reason}; expected a folder of class folders", "folder")
    try:
        return _list(root, minimum_classes)
    except OSError as error:
        raise DataProblem(f"cannot read the folder `{error.filename}`: {error.strerror}", "folder") from None


def _list(root: Path, minimum_classes: int) -> ImageFolder:
    parts = {path.name.lower(): path for path in folders_in(root)[0]}
    # `train` may also be a class of its own (pictures of trains): then it holds images, not folders.
    if "train" in parts and folders_in(parts["train"])[0]:
        return _list_splits(root, parts)
    names, classes, left_out = _list_classes(root, root, minimum_classes)
    return ImageFolder(root, names, {"train": classes}, left_out)


def _list_splits(root: Path, parts: dict[str, Path]) -> ImageFolder:
    strangers = [path.name for name, path in parts.items() if name not in SPLIT_FOLDERS]
    if strangers:
        raise DataProblem(
            f"`{root}` has a `train` folder, and `{strangers[0]}` beside it; expected only `train`, "
            "`validation` (or `val`) and `test`",
            "folder",
        )
    splits: dict[str, tuple[tuple[str, ...], ...]] = {}
    names, splits["train"], left_out = _list_classes(root, parts["train"])
    for part, path in parts.items():
        split = SPLIT_FOLDERS[part]
        if split == "train":
            continue
        if split in splits:
            raise DataProblem(f"`{root}` has two folders for the {split} split; keep one", "folder")
        found, splits[split], others = _list_classes(root, path)
        left_out += others
        if found != names:
            missing = [f"`{name}` is only in `train`" for name in names if name not in found]
            extra = [f"`{name}` is only in `{path.name}`" for name in found if name not in names]
            raise DataProblem(
                f"the class folders of `{path}` are not those of `train`: {', '.join(missing + extra)}",
                "folder",
            )
    beside = tuple(map(str, folders_in(root)[1]))
    return ImageFolder(root, names, splits, (*beside, *left_out))


def _list_classes(
    root: Path, folder: Path, minimum: int = 2
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...], tuple[str, ...]]:
    """The names of the class folders, the image files of each, and the other files."""
    folders, beside = folders_in(folder)
    if not folders:
        raise DataProblem(f"`{folder}` has no class folders; expected one folder of images for each class", "folder")
    if len(folders) < minimum:
        raise DataProblem(
            f"`{folder}` has only one class folder (`{folders[0].name}`); a classifier needs at least two",
            "folder",
        )
    classes = []
    left_out = [str(path) for path in beside]
    # What `os.path.relpath` would give, which takes ten times as long; a root of `.` leaves no trace in the paths.
    prefix = "" if str(root) == "." else os.path.join(root, "")
    for path in folders:
        files, others = image_files(path)
        if not files:
            suffixes = ", ".join(suffix[1:] for suffix in IMAGE_SUFFIXES)
            found = f"; {left_out_text(others)}" if others else ""
            raise DataProblem(f"the class folder `{path}` holds no images ({suffixes}){found}", "folder")
        classes.append(tuple(file.removeprefix(prefix) for file in files))
        left_out += others
    return tuple(printable(path.name) for path in folders), tuple(classes), tuple(left_out)


def image_header(path: Path, most_megapixels: float = MOST_MEGAPIXELS) -> tuple[int, int, int]:
    """Height, width and channels (1 or 3) that an image file's header promises.

    Raises:
        CorruptImage: if it cannot be read, see `open_image`.
    """
    with open_image(path, most_megapixels) as image:
        return (*header_size(image), 1 if image.mode in GRAYSCALE_MODES else 3)
