"""Other images with what is true of them, as a trained network takes them: behind `eval --data`."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from cnnkit.config.boxes.listing import BoxListing, list_boxes_to_measure, list_table_to_measure
from cnnkit.config.cells import columns_of, is_table
from cnnkit.config.class_names import place_of
from cnnkit.config.data import DataConfig, DataProblem
from cnnkit.config.image_folder import list_labelled_folder
from cnnkit.config.mask_folder import list_masks_to_measure
from cnnkit.config.sample import Sample
from cnnkit.config.split_folders import test_split
from cnnkit.config.table import ImageTable, ListedImage, read_image_table
from cnnkit.config.target import OneClass, Target
from cnnkit.config.texts import read_texts
from cnnkit.data.boxes import BoxSource
from cnnkit.data.images import FolderSource
from cnnkit.data.loading import make_splits, whole
from cnnkit.data.masks import MaskSource
from cnnkit.data.splits import Split
from cnnkit.data.targets import ClassNumbers, make_targets, numbered
from cnnkit.data.texts import TextSource
from cnnkit.errors import CnnkitError, UsageError
from cnnkit.images.boxes import BadBox
from cnnkit.images.formats import MOST_MEGAPIXELS
from cnnkit.images.padding import NO_PADDING, Padding

#: Of text files in class folders, where the network did not learn from such.
TEXT_ENDING = ".txt"

log = logging.getLogger("cnnkit")


@contextlib.contextmanager
def _problems_of(place: str | Path, exists: Callable[[str | Path], bool] = os.path.isdir) -> Iterator[None]:
    """Raises what is wrong with data that the command line names: whatever is in them, it was right to name them.

    Raises:
        UsageError: if there is no such folder, or file.
        CnnkitError: if something is wrong inside.
    """
    try:
        yield
    except DataProblem as problem:
        kind = CnnkitError if exists(place) else UsageError
        raise kind(problem.message) from None


def labelled_folder(
    folder: str | Path,
    *,
    class_names: Sequence[str],
    shape: tuple[int, ...],
    resize: str = "stretch",
    most_megapixels: float = MOST_MEGAPIXELS,
    skip_corrupt: bool = False,
    memory_bytes: int | None = None,
) -> Split:
    """All images of a folder of class folders as one split, converted to what a trained network takes.

    Where the folder has folders of splits, those of the one to test on are taken, see `list_labelled_folder`.

    Args:
        folder: The folder of class folders.
        class_names: The network's classes in order; the folders' names have to be among them.
        shape: (height, width, channels) that the network takes.
        resize: How images of another size are resized, see `read_image`.
        most_megapixels: Images with more cannot be decoded.
        skip_corrupt: Whether files that cannot be decoded are left out.
        memory_bytes: As for `load`.

    Raises:
        UsageError: if there is no such folder.
        CnnkitError: if it holds no images, or has a class that the network does not know.
    """
    with _problems_of(folder):
        listing = list_labelled_folder(folder)
    for note in listing.notes:
        log.warning("%s", note)
    files: list[tuple[str, ...]] = [()] * len(class_names)
    for name, paths in zip(listing.class_names, listing.splits["test"], strict=True):
        place = place_of(name, class_names)
        if place is None:
            raise CnnkitError(
                f"`{folder}` has the class `{name}`, which the network does not know",
                "Its classes are " + ", ".join(f"`{known}`" for known in class_names) + ".",
            )
        files[place] = paths
    source = FolderSource(
        listing.root,
        [file for paths in files for file in paths],
        ClassNumbers(numbered(files), class_names),
        shape,
        resize=resize,
        skip_corrupt=skip_corrupt,
        skip_by="add `--skip-corrupt`",
        most_megapixels=most_megapixels,
    )
    return make_splits({"test": whole(source)}, "auto", memory_bytes)[0]["test"]


def labelled_pairs(
    folder: str | Path,
    config: DataConfig,
    *,
    target: Target,
    shape: tuple[int, ...],
    padding: Padding = NO_PADDING,
    resize: str = "stretch",
    most_megapixels: float = MOST_MEGAPIXELS,
    skip_corrupt: bool = False,
    memory_bytes: int | None = None,
) -> Split:
    """The images of a folder of pairs with their masks as one split, converted to what a trained network takes.

    Args:
        folder: The folder, see `list_masks_to_measure`.
        config: The section that the network learned from, which says what masks may hold besides classes.
        target: What the network has learned.
        shape: (height, width, channels) that the network takes, with the border; for what follows see
            `labelled_folder`.
        padding: That border.

    Raises:
        UsageError: if there is no such folder.
        CnnkitError: if it holds no pairs, or something is wrong with them.
    """
    with _problems_of(folder):
        listing = list_masks_to_measure(folder, target.all_names)
    for note in listing.notes:
        log.warning("%s", note)
    source = MaskSource(
        listing.root,
        listing.splits["test"],
        target,
        shape,
        padding,
        config.ignore,
        resize=resize,
        skip_corrupt=skip_corrupt,
        skip_by="add `--skip-corrupt`",
        most_megapixels=most_megapixels,
    )
    return make_splits({"test": whole(source)}, "auto", memory_bytes, problems=listing.unpaired)[0]["test"]


def labelled_texts(file: str, config: DataConfig, target: Target, sample: Sample, shape: tuple[int, ...]) -> Split:
    """The texts of a table as one split, read by the vocabulary of a trained network; see `labelled_table`.

    Args:
        sample: What the network takes.
        shape: How many words it takes.
    """
    table, rows = _texts_to_measure(file, config, target)
    source = TextSource(rows, make_targets(target, [row.value for row in rows]), sample, shape[0])
    for note in table.notes:
        log.warning("%s", note)
    return make_splits({"test": whole(source)}, "auto", None)[0]["test"]


def _texts_to_measure(file: str, config: DataConfig, target: Target) -> tuple[ImageTable, tuple[ListedImage, ...]]:
    """The texts of a table, or of a folder of class folders, as rows."""
    is_folder = os.path.isdir(file) or (config.table is None and not os.path.isfile(file))
    if not is_folder or not issubclass(type(target), OneClass):
        return _rows_to_measure(file, config, target)
    ending = TEXT_ENDING if config.folder is None else config.text
    section = config.model_copy(update={"name": None, "table": None, "folder": file, "text": ending})
    with _problems_of(file):
        table = read_texts(section, type(target), target.names)
    rows = table.splits.get(test_split(table.splits) or "train", ())
    if not rows:
        raise CnnkitError(f"`{file}` holds no texts; expected class folders of `{ending}` files")
    return table, rows


def _rows_to_measure(file: str, config: DataConfig, target: Target) -> tuple[ImageTable, tuple[ListedImage, ...]]:
    """A table like that which a network learned from, and its rows to test on.

    Raises:
        UsageError, CnnkitError: as `labelled_table`.
    """
    with _problems_of(file, exists=os.path.isfile):
        section = _section_of_table(file, config)
        table = read_image_table(section, type(target), target.names)
    chosen = test_split(table.splits) if section.split is not None else "train"
    if chosen is None:
        raise CnnkitError(
            f"`{file}` has only {config.sample.plural} of the training split, from which the network may have learned",
            "Give it rows of the split `test`, or leave out the column of the splits.",
        )
    return table, table.splits[chosen]


def _section_of_table(file: str, config: DataConfig) -> DataConfig:
    """A section with another table, whose columns are called as in that which a network learned from.

    Raises:
        UsageError: if it did not learn from a table.
        DataProblem: if the table cannot be read.
    """
    if config.table is None:
        raise UsageError(
            f"`{file}` is no folder; the run learned from `{config.source}`, which names no columns of a table",
            "Measure it on a folder like the one that it learned from.",
        )
    split = config.split if place_of(config.split or "", columns_of(file)) is not None else None
    return config.model_copy(update={"table": file, "split": split, "group": None, "class_names": None})


def labelled_table(
    file: str,
    config: DataConfig,
    *,
    target: Target,
    shape: tuple[int, ...],
    resize: str = "stretch",
    most_megapixels: float = MOST_MEGAPIXELS,
    skip_corrupt: bool = False,
    memory_bytes: int | None = None,
) -> Split:
    """The images of a table as one split, converted to what a trained network takes.

    Where the table has the column of the splits, those of the one to test on are taken, see `test_split`; else all.

    Args:
        file: The table.
        config: The section that the network learned from, which names the columns.
        target: What the network has learned; classes and labels have to be among its names.
        shape: (height, width, channels) that the network takes; for what follows see `labelled_folder`.

    Raises:
        UsageError: if there is no such table, or the network did not learn from one.
        CnnkitError: if its columns or rows cannot be used.
    """
    table, images = _rows_to_measure(file, config, target)
    for note in table.notes:
        log.warning("%s", note)
    source = FolderSource(
        table.root,
        [image.file for image in images],
        make_targets(target, [image.value for image in images]),
        shape,
        resize=resize,
        skip_corrupt=skip_corrupt,
        skip_by="add `--skip-corrupt`",
        most_megapixels=most_megapixels,
    )
    return make_splits({"test": whole(source)}, "auto", memory_bytes)[0]["test"]


def labelled_boxes(
    place: str,
    config: DataConfig,
    *,
    class_names: Sequence[str],
    shape: tuple[int, ...],
    resize: str = "stretch",
    most_megapixels: float = MOST_MEGAPIXELS,
    skip_corrupt: bool = False,
    memory_bytes: int | None = None,
) -> Split:
    """The images of a folder or table of annotated images as one split, converted to what a trained network takes.

    Args:
        place: The folder, see `list_boxes_to_measure`; or a table with the columns that the network learned from.
        config: The section that the network learned from.
        class_names: The network's classes in order; those of the objects have to be among them. For what follows see
            `labelled_folder`.

    Raises:
        UsageError: if there is no such folder or table, or the network did not learn from one.
        CnnkitError: if it holds no annotated images, or something is wrong with them.
    """
    listing = _annotated_to_measure(place, config, class_names, most_megapixels)
    problems = [one for one in listing.problems if isinstance(one, BadBox) or not skip_corrupt]
    images = listing.splits["test"]
    source = BoxSource(
        listing.root,
        images,
        listing.class_names,
        shape,
        max([1, *(len(image.boxes) for image in images)]),
        resize=resize,
        skip_corrupt=skip_corrupt,
        skip_by="add `--skip-corrupt`",
        most_megapixels=most_megapixels,
    )
    return make_splits({"test": whole(source)}, "auto", memory_bytes, problems=problems)[0]["test"]


def _annotated_to_measure(
    place: str, config: DataConfig, class_names: Sequence[str], most_megapixels: float
) -> BoxListing:
    if not is_table(place):
        with _problems_of(place):
            return list_boxes_to_measure(place, class_names, most_megapixels)
    with _problems_of(place, exists=os.path.isfile):
        section = _section_of_table(place, config)
        return list_table_to_measure(section.model_copy(update={"max_megapixels": most_megapixels}), class_names)
