"""Looks at the images that a config is to be written for: their number, sizes, colour, classes and damage."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cnnkit.config.boxes.listing import BoxListing, holds_boxes
from cnnkit.config.boxes.sizes import sides_in
from cnnkit.config.cells import cells_of, is_table
from cnnkit.config.data import DataConfig, DataProblem
from cnnkit.config.dataset import DataSetInfo, describe_data_set
from cnnkit.config.image_folder import GRAYSCALE_MODES, ImageFolder
from cnnkit.config.mask_folder import MaskFolder, holds_pairs
from cnnkit.config.target import Boxes, Labels, Mask, Numbers, OneClass, Target
from cnnkit.data.catalog import undecoded
from cnnkit.data.images import read_image
from cnnkit.data.loading import SPLITS, load
from cnnkit.data.splits import DataSets
from cnnkit.data.survey import FileFacts, survey
from cnnkit.errors import CnnkitError, UsageError
from cnnkit.format.files import folder_hint
from cnnkit.format.run_folders import holds_runs
from cnnkit.images.files import folders_in, image_files, spread
from cnnkit.task import Task
from cnnkit.tasks import task_of
from cnnkit.terminal.printable import printable

#: Files whose headers are read, spread evenly; more would take long, and training reads them all anyway.
HEADERS = 2_000

#: Files whose pixels are looked at; all of them where there are no more than `HEADERS` and this many megapixels.
PIXELS = 200
MEGAPIXELS = 100

#: The largest difference between the channels of a pixel, of 255, with which it counts as grey: rounding of JPEG.
GREY_WITHIN = 4

#: Shares of the training images to validate on: the first that leaves images of each class on both sides.
SHARES = (0.1, 0.0)
#: The same of so many images.
SHARES_OF_MANY = (0.05, 0.0)
MANY = 20_000


@dataclass(frozen=True)
class Seen:
    """What images are.

    Attributes:
        source: The folder or the table, as it was named.
        data: The fields of a `data` section that say where the images are and what is to be learned of them.
        task: What learns that.
        target: What is to be learned.
        splits: For each split with files of its own, how many images it has.
        counts: For each class or label, how many of the images have it that have no split of their own but `train`;
            empty for what is no class.
        validation: The share of the training images that can be held out.
        train: How many images are left to train on, after those held out.
        held_out: How many those are.
        sizes: Height and width of each image that was looked at and could be read.
        total: How many images there are.
        looked_at: Of how many the headers were read.
        decoded: Of how many the pixels were looked at.
        colour: Whether any has colour; stored in colour and grey nevertheless does not count.
        stored_in_colour: Whether the file of any is stored in colour.
        unreadable: Why files cannot be read.
        copies: How many images are copies of ones in another split; 0 where not all were compared.
        repeated: How many more are copies of ones in the same split, of which another is drawn; likewise.
        objects: (height, width) as shares of its image for each object of the training images that has a box.
    """

    source: str
    data: Mapping[str, Any]
    task: Task
    target: Target
    splits: Mapping[str, int]
    counts: Sequence[int]
    validation: float
    train: int
    held_out: int
    sizes: Sequence[tuple[int, int]]
    total: int
    looked_at: int
    decoded: int
    colour: bool
    stored_in_colour: bool
    unreadable: Mapping[str, str] = field(default_factory=dict)
    copies: int = 0
    repeated: int = 0
    objects: Sequence[tuple[float, float]] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Of the classes, labels or numbers."""
        return self.target.all_names


def look(source: str, image: str | None = None, target: str | None = None, task: Task | None = None) -> Seen:
    """Looks at a folder of class folders, of images and masks or boxes, or at a table; TensorFlow is not loaded.

    Args:
        source: The folder or table.
        image: Of a table, the column of the images' paths; by default what its names and cells suggest.
        target: Of a table, the column of what is to be learned, or several with commas between them; likewise.
        task: Of a table, what is to be learned of the cells; likewise.

    Raises:
        UsageError: if it is no such thing, or nothing can be learned of it.
    """
    config, learned = _section(source, image, target, task)
    try:
        info = describe_data_set(undecoded(config), learned)
    except DataProblem as problem:
        hint = _hint(source, problem)
        if task is None and issubclass(learned.target, Numbers):
            from cnnkit.proposal.columns import class_hint

            hint = class_hint(source, config.target)
        raise UsageError(problem.message, hint) from None
    share, data = _divided(config, learned, info)
    assert data.train is not None
    # Those of its folder or column, however they were divided here.
    together = [split for split in (data.train, data.validation, data.test) if split is not None]
    together = [split for split in together if split.source is data.train.source]
    files = _files(info)
    every = [file for split in files.values() for file in split]
    root = (info.listing or info.table).root  # type: ignore[union-attr]
    facts, grey = _survey(root, every)
    readable = [one for one in facts if one.error is None]
    if not readable:
        raise UsageError(
            f"none of the {len(every):,} image files of `{source}` can be read; the first: {facts[0].file}: "
            f"{facts[0].error}"
        )
    copies, repeated = _copies(facts, files) if len(grey) >= len(readable) else (0, 0)
    stored_in_colour = any(one.mode not in GRAYSCALE_MODES for one in readable)
    return Seen(
        source=source,
        data=_written(config),
        task=learned,
        target=info.target,
        splits={name: len(split) for name, split in files.items()},
        counts=_counts([split.targets.values for split in together], info.target),
        validation=share,
        train=data.train.size,
        held_out=data.validation.size if data.validation is not None else 0,
        sizes=[one.size for one in readable if one.size is not None],
        total=len(every),
        looked_at=len(facts),
        decoded=len(grey),
        colour=stored_in_colour and not (grey and all(grey.values())),
        stored_in_colour=stored_in_colour,
        unreadable={one.file: one.error for one in facts if one.error is not None},
        copies=copies,
        repeated=0 if "test" in files and "validation" in files else repeated,
        objects=sides_in(info.listing, (1, 1), "stretch") if isinstance(info.listing, BoxListing) else (),
    )


def _section(source: str, image: str | None, target: str | None, task: Task | None) -> tuple[DataConfig, Task]:
    """The `data` section that names the images, and the task that learns of them."""
    if is_table(source):
        from cnnkit.proposal.columns import table_section

        return table_section(source, image, target, task)
    if image is not None or target is not None or task is not None:
        raise UsageError(f"--image, --target and --task are for tables; `{source}` is none")
    root = Path(source).expanduser()
    if not _is_utf8(source):
        raise UsageError(f"the name `{printable(source)}` is not UTF-8, as a config is; give it another one")
    if not root.is_dir():
        reason = "is a file" if root.exists() else "does not exist"
        raise UsageError(
            f"`{source}` {reason}; expected a folder of images, or a table of them (a name that ends in .csv or .tsv)"
        )
    if holds_runs(root):
        raise UsageError(
            f"`{source}` is a run, or holds runs; expected a folder of images",
            f"To go on with a run: cnnkit train --resume {source}",
        )
    if not holds_pairs(root):
        task = task_of(Boxes if holds_boxes(root) else OneClass)
        assert task is not None
        return DataConfig(folder=source), task
    from cnnkit.proposal.masks import mask_numbers

    task = task_of(Mask)
    assert task is not None
    try:
        numbers = mask_numbers(source)
    except DataProblem as problem:
        raise UsageError(problem.message) from None
    fields: dict[str, Any] = {"folder": source}
    fields |= {"class_names": list(numbers.class_names)} if numbers.class_names is not None else {}
    fields |= {"ignore": numbers.ignore} if numbers.ignore is not None else {}
    return DataConfig.model_validate(fields), task


def _written(config: DataConfig) -> dict[str, Any]:
    """The fields of a section that say something, as a person writes them."""
    written = {name: value for name, value in config.to_plain().items() if name in config.model_fields_set}
    return written if config.boxes is None else {**written, "boxes": config.boxes.as_written()}


def _is_utf8(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _hint(source: str, problem: DataProblem) -> str | None:
    """What else a folder may be that cannot be learned from as it is."""
    root = Path(source).expanduser()
    if problem.argument != "folder" or not root.is_dir():
        return None
    try:
        images, others = image_files(root)
    except OSError:
        return None
    tables = [file for file in others if is_table(file) and _names_some(file, images)]
    if not images:
        return folder_hint(source) or (
            f"`{source}` holds no images at all: put those of each class into a folder of its own, such as "
            f"{os.path.join(source, 'cat', '1.jpg')}"
        )
    if tables:
        return f"If {tables[0]} says what they show: cnnkit new --from {tables[0]}"
    if all(os.path.dirname(file) == str(root) for file in images):
        place = os.path.join(source, "cat", "")
        around = os.path.normpath(os.path.join(source, os.pardir))
        with contextlib.suppress(OSError):
            if len(folders_in(around)[0]) > 1:
                return f"If it is one class of several, name the folder that holds them all: cnnkit new --from {around}"
        return (
            f"Nothing says what its {len(images):,} images show: put those of each class into a folder of its own, "
            f"such as {place}, or list them in a table with the columns `image` and `class`"
        )
    return f"What is in it: cnnkit data check {source}"


def _names_some(table: str, images: Sequence[str]) -> bool:
    """Whether cells of a table name some of the images, as those of a text beside them do not."""
    try:
        columns = cells_of(table)
    except DataProblem:
        return False
    names = {os.path.basename(image) for image in images}
    names |= {os.path.splitext(name)[0] for name in names}
    return len(columns) > 1 and any(os.path.basename(cell) in names for cells in columns.values() for cell in cells)


def _divided(config: DataConfig, task: Task, info: DataSetInfo) -> tuple[float, DataSets]:
    """The largest share that can be held out to validate, and the images divided so; none of them is decoded."""
    shares = SHARES if len(_files(info)["train"]) < MANY else SHARES_OF_MANY
    for share in shares:
        try:
            data = load(undecoded(config).model_copy(update={"validation": share}), 0, task, info=info)
        except CnnkitError as error:
            if share == shares[-1]:
                raise UsageError(error.message, error.hint) from None
        else:
            return share, data
    raise AssertionError


def _counts(values: Sequence[Any], target: Target) -> Sequence[int]:
    """How many images have each class or label."""
    together = np.concatenate(values)
    if isinstance(target, Labels):
        return [int(count) for count in together.sum(axis=0)]
    if isinstance(target, OneClass):
        return [int(count) for count in np.bincount(together, minlength=target.size)]
    return ()


def _files(info: DataSetInfo) -> dict[str, list[str]]:
    """The image files of each split, relative to where they are listed."""
    if info.table is not None:
        files = {split: [image.file for image in images] for split, images in info.table.splits.items()}
    elif isinstance(info.listing, BoxListing):
        files = {split: [image.file for image in images] for split, images in info.listing.splits.items()}
    elif isinstance(info.listing, MaskFolder):
        files = {split: [image for image, _ in pairs] for split, pairs in info.listing.splits.items()}
    else:
        assert isinstance(info.listing, ImageFolder)
        files = {split: [file for one in classes for file in one] for split, classes in info.listing.splits.items()}
    return {split: files[split] for split in SPLITS if split in files}


def _survey(root: Path, files: Sequence[str]) -> tuple[list[FileFacts], dict[str, bool]]:
    """What the headers of files say; and of those whose pixels were looked at, whether they are grey."""
    headers = list(survey(root, spread(files, HEADERS)))
    sound = [one for one in headers if one.error is None and one.size is not None]
    pixels = sum(one.size[0] * one.size[1] for one in sound if one.size is not None)
    whole = len(headers) == len(files) and pixels <= MEGAPIXELS * 1e6
    chosen = [one.file for one in sound] if whole else spread([one.file for one in sound], PIXELS)
    grey: dict[str, bool] = {}

    def read(path: str) -> Any:
        image = read_image(path, None, 3)
        grey[path] = bool((np.ptp(image.astype(np.int16), axis=2) <= GREY_WITHIN).all())
        return image

    looked_at = {one.file: one for one in survey(root, chosen, read)}
    return [looked_at.get(one.file, one) for one in headers], grey


def _copies(facts: Iterable[FileFacts], files: Mapping[str, Sequence[str]]) -> tuple[int, int]:
    """How many images have the same pixels as one of a split before theirs, and how many as one of their own split."""
    split_of = {file: split for split, listed in files.items() for file in listed}
    firsts: dict[bytes, str] = {}
    copies = repeated = 0
    for one in facts:
        if one.digest is not None:
            split = split_of[one.file]
            first = firsts.setdefault(one.digest, one.file)
            copies += split_of[first] != split
            repeated += first != one.file and split_of[first] == split
    return copies, repeated
