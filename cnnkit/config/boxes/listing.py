"""A folder of annotated images: which format it has, its splits, its classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from cnnkit.config.boxes.coco import is_coco, read_coco
from cnnkit.config.boxes.layouts import find_places
from cnnkit.config.boxes.parts import Annotations, Place
from cnnkit.config.boxes.table import read_box_table
from cnnkit.config.boxes.voc import read_voc
from cnnkit.config.boxes.yolo import read_yolo
from cnnkit.config.data import DataConfig, DataProblem
from cnnkit.config.split_folders import test_split
from cnnkit.images.boxes import AnnotatedImage, BadBox
from cnnkit.images.formats import MOST_MEGAPIXELS, CorruptImage
from cnnkit.terminal.printable import printable

_READERS: Mapping[str, Callable[[Place], Annotations]] = {"COCO": read_coco, "VOC": read_voc, "YOLO": read_yolo}


@dataclass(frozen=True)
class BoxListing:
    """The annotated images of a data set, in one form.

    Attributes:
        root: The folder that the files of images are relative to.
        class_names: In the order of the network's outputs.
        splits: The images of each split, sorted by file.
        problems: What is wrong with images or boxes.
        notes: What the user should know, a line each.
        table: The name of the table that they are listed in; None for a folder.
        groups: The group of each file, where a table has such.
    """

    root: Path
    class_names: tuple[str, ...]
    splits: Mapping[str, tuple[AnnotatedImage, ...]]
    problems: tuple[CorruptImage, ...]
    notes: tuple[str, ...]
    table: str | None = None
    groups: Mapping[str, str] = field(default_factory=dict)

    def files(self) -> Iterator[str]:
        for images in self.splits.values():
            for image in images:
                yield image.file

    def stated_sizes(self) -> dict[str, tuple[int, int]]:
        """(height, width) of each file as its annotations state it."""
        return {image.file: image.size for images in self.splits.values() for image in images}


def listing_of(config: DataConfig) -> BoxListing:
    """The annotated images of a config's folder or table.

    Raises:
        DataProblem: if there are none.
    """
    if config.folder is not None:
        return list_boxes(config.folder, config.class_names, config.max_megapixels)
    assert config.table is not None
    file = Path(config.table).expanduser()
    table = read_box_table(config)
    if "train" not in table.splits:
        splits = ", ".join(f"`{name}`" for name in table.splits)
        raise DataProblem(f"`{file}` has no images of the split `train`, only of {splits}", "split")
    listing = combined(file.parent, table.splits, config.class_names, table.notes, "table")
    return replace(listing, table=printable(file.name), groups=table.groups)


def holds_boxes(folder: str | Path) -> bool:
    """Whether a folder holds annotated images in a format that is known, whatever is wrong with them."""
    root = Path(folder).expanduser()
    try:
        kind, places = find_places(root, MOST_MEGAPIXELS)
        if kind == "COCO":
            return any(is_coco(place.annotations) for place in places.values())
        return kind == "VOC" or any(next(place.annotations.rglob("*.txt"), None) for place in places.values())
    except (DataProblem, OSError):
        return False


def list_boxes(folder: str | Path, class_names: Sequence[str] | None, most_megapixels: float) -> BoxListing:
    """The annotated images of a folder, in COCO's, Pascal VOC's or YOLO's format.

    Args:
        class_names: What the config calls the classes, in their order; by default as the annotations say.
        most_megapixels: Image files with more are refused.

    Raises:
        DataProblem: if there is no such folder, or it is in none of the formats.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise DataProblem(f"the folder `{folder}` {'is a file' if root.exists() else 'does not exist'}", "folder")
    try:
        kind, places = find_places(root, most_megapixels)
        found = {split: _READERS[kind](place) for split, place in places.items()}
    except OSError as error:
        raise DataProblem(f"cannot read `{error.filename}`: {error.strerror}", "folder") from None
    if "train" not in found:
        splits = ", ".join(f"`{name}`" for name in found)
        raise DataProblem(f"`{root}` has no training split, only {splits}", "folder")
    if kind == "VOC" and class_names is None:
        # Its classes have no order of their own, in whichever split they occur.
        class_names = sorted({name for annotations in found.values() for name in annotations.class_names})
    return combined(root, found, class_names, (f"read as {kind} annotations",))


def list_boxes_to_measure(folder: str | Path, class_names: Sequence[str], most_megapixels: float) -> BoxListing:
    """The annotated images of a folder to measure a network on, as the split `test`.

    Where it has several splits, those of the split to test on are taken, see `test_split`.

    Args:
        class_names: Those that the network has learned; other objects are errors.

    Raises:
        DataProblem: as `list_boxes`, or if there is only a training split beside others.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise DataProblem(f"the folder `{folder}` {'is a file' if root.exists() else 'does not exist'}", "folder")
    try:
        kind, places = find_places(root, most_megapixels)
        split = next(iter(places)) if len(places) == 1 else test_split(places)
        assert split is not None
        found = {"test": _READERS[kind](places[split])}
    except OSError as error:
        raise DataProblem(f"cannot read `{error.filename}`: {error.strerror}", "folder") from None
    return combined(root, found, class_names, (f"read as {kind} annotations",))


def list_table_to_measure(config: DataConfig, class_names: Sequence[str]) -> BoxListing:
    """The annotated images of a table to measure a network on, as the split `test`.

    Args:
        config: A section with that table, which names its columns; where it names none of splits, all rows are taken.
        class_names: As for `list_boxes_to_measure`.

    Raises:
        DataProblem: if the table cannot be read, or has only rows of the training split beside others.
    """
    assert config.table is not None
    table = read_box_table(config, class_names)
    split = "train" if config.split is None else test_split(table.splits)
    if split is None:
        raise DataProblem(
            f"`{config.table}` has only images of the training split, from which the network may have learned; give "
            "it rows of the split `test`, or leave out the column of the splits",
            "split",
        )
    root = Path(config.table).expanduser().parent
    return combined(root, {"test": table.splits[split]}, class_names, table.notes, "table")


def combined(
    root: Path,
    found: Mapping[str, Annotations],
    class_names: Sequence[str] | None,
    notes: Sequence[str],
    argument: str = "folder",
) -> BoxListing:
    """The splits as one listing.

    Raises:
        DataProblem: if there are no images or classes, or objects of classes that are not in `class_names`.
    """
    names = class_names or tuple(dict.fromkeys(name for one in found.values() for name in one.class_names))
    if not names:
        raise DataProblem("no image has an object, and nothing says what the classes are", "class_names")
    names = tuple(printable(name) for name in names)
    known = set(names)
    problems = [problem for one in found.values() for problem in one.problems]
    for split, one in found.items():
        if not one.images and not one.problems:
            raise DataProblem(f"the {split} split of `{root}` has no images", argument)
        for image in one.images:
            strange = sorted({box.name for box in image.boxes} - known)
            if strange:
                listed = ", ".join(f"`{name}`" for name in strange)
                reason = f"has objects of classes that are not among the names: {listed}"
                problems.append(BadBox(str(root / image.file), reason))
    splits = {
        split: tuple(
            sorted(
                (image for image in one.images if all(box.name in known for box in image.boxes)),
                key=lambda image: image.file,
            )
        )
        for split, one in found.items()
    }
    repeated = sum(one.repeated for one in found.values())
    if repeated:
        notes = [*notes, f"{repeated:,} box{' repeats' if repeated == 1 else 'es repeat'} another; each counts once"]
    return BoxListing(root, names, splits, tuple(problems), tuple(map(printable, notes)))
