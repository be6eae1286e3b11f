"""A folder of images, each with a mask of the same name: which files belong together, and what their classes are."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cnnkit.config.data import DataProblem
from cnnkit.config.mask_pairs import Pairs, pair_files
from cnnkit.config.split_folders import named_split, test_split
from cnnkit.images.files import folders_in, left_out_text
from cnnkit.images.formats import IMAGE_SUFFIXES
from cnnkit.images.masks import BadMask
from cnnkit.terminal.printable import printable

IMAGES, MASKS, CLASSES = "images", "masks", "classes.txt"

_LAYOUT = (
    f"expected folders `{IMAGES}` and `{MASKS}`, or `train`, `val` and `test` folders with these two in each, or in "
    "each of these two"
)


@dataclass(frozen=True)
class MaskFolder:
    """The pairs of a folder.

    Attributes:
        root: The folder.
        class_names: In the order of the numbers in masks.
        splits: For each split its pairs, image and mask, relative to the root.
        unpaired: What is wrong with files that have no other half.
        left_out: Files that are no images.
        notes: What the user should know, a line each.
    """

    root: Path
    class_names: tuple[str, ...]
    splits: Mapping[str, tuple[tuple[str, str], ...]]
    unpaired: tuple[BadMask, ...]
    left_out: tuple[str, ...]
    notes: tuple[str, ...]

    def files(self) -> Iterator[str]:
        for pairs in self.splits.values():
            for pair in pairs:
                yield from pair


@dataclass(frozen=True)
class _Place:
    """Where the images and the masks of a split are.

    Attributes:
        folder: What messages name.
    """

    folder: Path
    images: Path
    masks: Path

    @classmethod
    def around(cls, folder: Path) -> _Place:
        """That of a folder which holds the two."""
        return cls(folder, folder / IMAGES, folder / MASKS)


def list_mask_folder(folder: str | Path, class_names: Sequence[str] | None) -> MaskFolder:
    """The pairs of a folder that holds images and masks, or splits that do.

    Args:
        class_names: What the config calls the classes; by default the lines of `classes.txt` in the folder.

    Raises:
        DataProblem: if there is no such folder, it holds no pairs, or nothing says what the classes are.
    """
    root = _existing(folder)
    with _readable():
        places = _splits(root)
        names = _class_names(root, class_names)
    if "train" not in places:
        found = ", ".join(f"`{place.folder.name}`" for place in places.values())
        raise DataProblem(f"`{root}` has no training split, only {found}; {_LAYOUT}", "folder")
    return _listed(root, places, names)


def list_masks_to_measure(folder: str | Path, class_names: Sequence[str]) -> MaskFolder:
    """The pairs of a folder to measure a network on, as the split `test`.

    Where it has folders of splits, those of the split to test on are taken, see `test_split`.

    Args:
        class_names: Those that the network has learned.

    Raises:
        DataProblem: if there is no such folder, it holds no pairs or only a training split, or its `classes.txt` names
            other classes.
    """
    root = _existing(folder)
    with _readable():
        places = _splits(root)
        own = _class_names(root, None) if (root / CLASSES).is_file() else tuple(class_names)
    if own != tuple(class_names):
        raise DataProblem(
            f"`{root / CLASSES}` names the classes {', '.join(own)}; the network has learned {', '.join(class_names)}",
            "folder",
        )
    if list(places.values()) == [_Place.around(root)]:
        return _listed(root, {"test": places["train"]}, own)
    split = test_split(places)
    if split is None:
        raise DataProblem(
            f"`{root}` has only the training split `{places['train'].folder.name}`, from which the network may have "
            "learned; expected a test split next to it, or name the folder of the pairs themselves, such as "
            f"`{places['train'].folder}`",
            "folder",
        )
    return _listed(root, {"test": places[split]}, own)


def _existing(folder: str | Path) -> Path:
    root = Path(folder).expanduser()
    if not root.is_dir():
        reason = "is a file" if root.exists() else "does not exist"
        raise DataProblem(f"the folder `{folder}` {reason}; {_LAYOUT}", "folder")
    return root


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    """Says which folder it is that cannot be read."""
    try:
        yield
    except OSError as error:
        raise DataProblem(f"cannot read the folder `{error.filename}`: {error.strerror}", "folder") from None


def _listed(root: Path, places: Mapping[str, _Place], names: tuple[str, ...]) -> MaskFolder:
    with _readable():
        listed = {split: _pairs(root, place) for split, place in places.items()}
    for split, pairs in listed.items():
        if not pairs.files and not pairs.problems:
            raise DataProblem(f"`{places[split].folder}` holds no images; {_LAYOUT}", "folder")
    left_out = tuple(file for pairs in listed.values() for file in pairs.left_out)
    return MaskFolder(
        root,
        names,
        {split: pairs.files for split, pairs in listed.items()},
        tuple(problem for pairs in listed.values() for problem in pairs.problems),
        left_out,
        (printable(left_out_text(left_out)),) if left_out else (),
    )


def holds_pairs(folder: str | Path) -> bool:
    """Whether a folder, or one of a split in it, has a folder of images and one of masks."""
    root = Path(folder).expanduser()
    try:
        places = [root, *(path for path in folders_in(root)[0] if named_split(path.name) is not None)]
    except OSError:
        return False
    return any((place / IMAGES).is_dir() and (place / MASKS).is_dir() for place in places)


def _splits(root: Path) -> dict[str, _Place]:
    """The place of each split; `train` alone where the folder itself holds the images."""
    if (root / IMAGES).is_dir():
        return _splits_inside(root) or {"train": _Place.around(root)}
    places: dict[str, _Place] = {}
    for folder in folders_in(root)[0]:
        if (folder / IMAGES).is_dir():
            _put(places, folder.name, _Place.around(folder))
    if not places:
        raise DataProblem(f"`{root}` holds no images with masks; {_LAYOUT}", "folder")
    return places


def _splits_inside(root: Path) -> dict[str, _Place]:
    """The place of each split where the folder of images holds nothing but folders of splits; else none."""
    images, masks = root / IMAGES, root / MASKS
    folders, files = folders_in(images)
    if any(file.name.lower().endswith(IMAGE_SUFFIXES) for file in files):
        return {}
    splits = [named_split(folder.name) for folder in folders]
    if None in splits or "train" not in splits or len(set(splits)) < 2:
        return {}
    places: dict[str, _Place] = {}
    for folder in folders:
        _put(places, folder.name, _Place(folder, folder, masks / folder.name))
    return places


def _put(places: dict[str, _Place], name: str, place: _Place) -> None:
    """Adds the place of the split that a folder's name stands for, where it stands for one.

    Raises:
        DataProblem: if another does too.
    """
    split = named_split(name)
    if split in places:
        raise DataProblem(f"`{places[split].folder.name}` and `{name}` both stand for the {split} split", "folder")
    if split is not None:
        places[split] = place


def _pairs(root: Path, place: _Place) -> Pairs:
    """The pairs of a place, relative to the root."""
    if not place.masks.is_dir():
        raise DataProblem(f"there is `{place.images}`, and no `{MASKS}` at `{place.masks}`; {_LAYOUT}", "folder")
    pairs = pair_files(place.images, place.masks)
    files = tuple((os.path.relpath(image, root), os.path.relpath(mask, root)) for image, mask in pairs.files)
    return replace(pairs, files=files)


def _class_names(root: Path, stated: Sequence[str] | None) -> tuple[str, ...]:
    if stated is not None:
        return tuple(printable(name) for name in stated)
    file = root / CLASSES
    if not file.is_file():
        raise DataProblem(
            f"nothing says what the numbers in the masks of `{root}` mean; write one class a line into `{file}`, the "
            "first for number 0, or set `data.class_names: [...]`",
            "class_names",
        )
    try:
        names = [line.strip() for line in file.read_text("utf-8-sig").splitlines()]
    except UnicodeDecodeError:
        raise DataProblem(f"`{file}` is not UTF-8 text", "class_names") from None
    while names and not names[-1]:
        names.pop()
    if not names or not all(names) or len(set(names)) < len(names):
        raise DataProblem(f"`{file}` should hold one class a line, each another name", "class_names")
    return tuple(printable(name) for name in names)
