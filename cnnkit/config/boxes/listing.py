"""A folder of annotated images: which format it has, its splits, its classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cnnkit.config.boxes.coco import read_coco
from cnnkit.config.boxes.layouts import find_places
from cnnkit.config.boxes.parts import Annotations, Place
from cnnkit.config.boxes.voc import read_voc
from cnnkit.config.boxes.yolo import read_yolo
from cnnkit.config.data import DataConfig, DataProblem
from cnnkit.config.split_folders import test_split
from cnnkit.images.boxes import AnnotatedImage, BadBox
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
    """

    root: Path
    class_names: tuple[str, ...]
    splits: Mapping[str, tuple[AnnotatedImage, ...]]
    problems: tuple[BadBox, ...]
    notes: tuple[str, ...]

    def files(self) -> Iterator[str]:
        for images in self.splits.values():
            for image in images:
                yield image.file


def listing_of(config: DataConfig) -> BoxListing:
    """The annotated images of a config's folder or table.

    Raises:
        DataProblem: if there are none.
    """
    if config.folder is not None:
        return list_boxes(config.folder, config.class_names, config.max_megapixels)
    raise DataProblem("a table holds no boxes; give a folder", "table")


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
    return combined(root, found, class_names, f"read as {kind} annotations")


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
    return combined(root, found, class_names, f"read as {kind} annotations")


def combined(
    root: Path, found: Mapping[str, Annotations], class_names: Sequence[str] | None, note: str, argument: str = "folder"
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
                problems.append(BadBox(image.file, f"has objects of classes that are not among the names: {listed}"))
    splits = {
        split: tuple(
            sorted(
                (image for image in one.images if all(box.name in known for box in image.boxes)),
                key=lambda image: image.file,
            )
        )
        for split, one in found.items()
    }
    return BoxListing(root, names, splits, tuple(problems), (printable(note),))
