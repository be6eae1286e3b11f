"""Folders of class folders: which image files they hold, and what the files' headers say."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from cnnkit.config.class_names import same_for
from cnnkit.config.data import DataProblem
from cnnkit.config.split_folders import Scan, class_folders, classes_by_name, split_folders, test_split
from cnnkit.images.files import folders_in, image_files, left_out_text
from cnnkit.images.formats import IMAGE_SUFFIXES, MOST_MEGAPIXELS, header_size, open_image
from cnnkit.terminal.printable import printable

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
        split_folders: The folder of each split; empty where the class folders lie in `root`.
        class_folders: The class folders of each split, in the order of the labels.
        left_out: The files that do not count: those without an image's ending, and those outside the class folders.
        notes: What the user should know of what was listed, a line each.
    """

    root: Path
    class_names: tuple[str, ...]
    splits: dict[str, tuple[tuple[str, ...], ...]]
    split_folders: dict[str, Path]
    class_folders: dict[str, tuple[Path, ...]]
    left_out: tuple[str, ...]
    notes: tuple[str, ...]

    def files(self) -> Iterator[str]:
        for classes in self.splits.values():
            for files in classes:
                yield from files


@dataclass(frozen=True)
class _Classes:
    """The class folders in a folder, each with its image files (by the full path), and the other files."""

    folder: Path
    folders: tuple[Path, ...]
    files: tuple[tuple[str, ...], ...]
    left_out: tuple[str, ...]

    def by_name(self) -> dict[str, int]:
        """The place of each class, by what the spellings of its name have in common."""
        return {same_for(path.name): place for place, path in enumerate(self.folders)}


def list_image_folder(folder: str | Path) -> ImageFolder:
    """The classes and files of a folder to learn from: class folders, or folders of splits that hold class folders.

    Raises:
        DataProblem: if there is no such folder, fewer than two classes, a class without images, or
            splits with other classes than `train`.
    """
    return _listed(folder, _list_to_learn)


def list_labelled_folder(folder: str | Path) -> ImageFolder:
    """The classes and files of a folder to measure a network on, as the split `test`; some classes may be missing.

    Where it has folders of splits, those of the split to test on are taken, see `test_split`.

    Raises:
        DataProblem: if there is no such folder, it holds no class folders, or only a training split.
    """
    return _listed(folder, _list_to_measure)


def _listed(folder: str | Path, list_root: Callable[[Path, Scan], ImageFolder]) -> ImageFolder:
    root = Path(folder).expanduser()
    if not root.is_dir():
        reason = "is a file" if root.exists() else "does not exist"
        raise DataProblem(f"the folder `{folder}` {reason}; expected a folder of class folders", "folder")
    try:
        # Whether folders are those of splits, of classes or of runs is asked in turn; each is listed once.
        return list_root(root, cache(folders_in))
    except OSError as error:
        raise DataProblem(f"cannot read the folder `{error.filename}`: {error.strerror}", "folder") from None


def _list_to_learn(root: Path, scan: Scan) -> ImageFolder:
    splits = split_folders(root, scan)
    if splits and "train" not in splits:
        names = ", ".join(f"`{path.name}`" for path in splits.values())
        raise DataProblem(
            f"`{root}` has no training split, only {names}; expected a folder `train`. If {names} are classes, give "
            "one another name",
            "folder",
        )
    train = _list_classes(splits.get("train", root), scan)
    if len(train.folders) < 2:
        raise DataProblem(
            f"`{train.folder}` has only one class folder (`{train.folders[0].name}`); at least two are needed",
            "folder",
        )
    parts = {"train": train}
    for split, path in splits.items():
        if split != "train":
            parts[split] = _in_order_of(train, _list_classes(path, scan))
    for classes in parts.values():
        for place, files in enumerate(classes.files):
            if not files:
                raise DataProblem(_no_images(classes.folders[place]), "folder")
    return _folder(root, splits, parts, scan)


def _list_to_measure(root: Path, scan: Scan) -> ImageFolder:
    splits = split_folders(root, scan)
    split = test_split(splits)
    if splits and split is None:
        (train,) = splits.values()
        raise DataProblem(
            f"`{root}` has only the training split `{train.name}`, from which the network may have learned; expected a "
            f"test split next to it, or name the folder of the images themselves, such as `{train}`",
            "folder",
        )
    classes = _list_classes(splits[split] if split is not None else root, scan)
    if not any(classes.files):
        raise DataProblem(f"none of the class folders in `{classes.folder}` holds an image", "folder")
    empty = [_no_images(path) for path, files in zip(classes.folders, classes.files, strict=True) if not files]
    chosen = {"test": splits[split]} if split is not None else {}
    return _folder(root, chosen, {"test": classes}, scan, empty)


def _folder(
    root: Path, splits: dict[str, Path], found: dict[str, _Classes], scan: Scan, remarks: Iterable[str] = ()
) -> ImageFolder:
    # What `os.path.relpath` would give, which takes ten times as long; a root of `.` leaves no trace in the paths.
    prefix = "" if str(root) == "." else os.path.join(root, "")
    beside = [str(path) for path in scan(root)[1]] if splits else []
    left_out = (*beside, *(file for classes in found.values() for file in classes.left_out))
    notes = list(remarks)
    if any(path.name.lower() not in ("val", "valid", split) for split, path in splits.items()):
        notes.append("splits: " + ", ".join(f"`{path.name}` is the {split} split" for split, path in splits.items()))
    classes_or_splits = class_folders(root, scan)
    notes += [
        f"left out the folder `{path.name}`, which holds runs"
        for path in scan(root)[0]
        if path not in classes_or_splits
    ]
    if left_out:
        notes.append(left_out_text(left_out))
    first = next(iter(found.values()))
    return ImageFolder(
        root,
        tuple(printable(path.name) for path in first.folders),
        {
            split: tuple(tuple(file.removeprefix(prefix) for file in files) for files in classes.files)
            for split, classes in found.items()
        },
        splits,
        {split: classes.folders for split, classes in found.items()},
        left_out,
        tuple(map(printable, notes)),
    )


def _list_classes(folder: Path, scan: Scan) -> _Classes:
    folders = list(classes_by_name(folder, scan).values())
    if not folders:
        raise DataProblem(f"`{folder}` has no class folders; expected one folder of images for each class", "folder")
    listed = [image_files(path) for path in folders]
    _check_apart([images for images, _ in listed])
    left_out = [str(path) for path in scan(folder)[1]] + [file for _, others in listed for file in others]
    return _Classes(folder, tuple(folders), tuple(tuple(images) for images, _ in listed), tuple(left_out))


def _check_apart(classes: Iterable[Iterable[str]]) -> None:
    """Refuses links by which a folder is in two classes.

    Args:
        classes: The image files of each class.

    Raises:
        DataProblem: if there is such a folder.
    """
    known: dict[str, str] = {}
    for files in classes:
        # A class has each folder once, see `image_files`.
        for folder in dict.fromkeys(map(os.path.dirname, files)):
            other = known.setdefault(os.path.realpath(folder), folder)
            if other != folder:
                raise DataProblem(
                    f"`{other}` and `{folder}` are the same folder by a link, so that its images would be of two "
                    "classes; remove the link from one of them",
                    "folder",
                )


def _in_order_of(train: _Classes, split: _Classes) -> _Classes:
    """A split's classes in the order of those of `train`.

    Raises:
        DataProblem: if they are others.
    """
    expected, actual = train.by_name(), split.by_name()
    if expected.keys() != actual.keys():
        missing = [f"`{name}` is only in `{train.folder.name}`" for name in expected if name not in actual]
        extra = [f"`{name}` is only in `{split.folder.name}`" for name in actual if name not in expected]
        raise DataProblem(
            f"the class folders of `{split.folder}` are not those of `{train.folder.name}`: "
            f"{', '.join(missing + extra)}",
            "folder",
        )
    places = [actual[name] for name in expected]
    return replace(
        split,
        folders=tuple(split.folders[place] for place in places),
        files=tuple(split.files[place] for place in places),
    )


def _no_images(folder: Path) -> str:
    suffixes = ", ".join(suffix[1:] for suffix in IMAGE_SUFFIXES)
    others = image_files(folder)[1]
    left_out = f"; {left_out_text(others)}" if others else ""
    return f"the class folder `{folder}` holds no images ({suffixes}){left_out}"


def image_header(path: Path, most_megapixels: float = MOST_MEGAPIXELS) -> tuple[int, int, int]:
    """Height, width and channels (1 or 3) that an image file's header promises.

    Raises:
        CorruptImage: if it cannot be read, see `open_image`.
    """
    with open_image(path, most_megapixels) as image:
        return (*header_size(image), 1 if image.mode in GRAYSCALE_MODES else 3)
