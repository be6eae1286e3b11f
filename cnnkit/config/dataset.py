"""What is known of a data set without TensorFlow: shape, classes, and where its files are."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from cnnkit.config.data import LENGTH, DataConfig, DataProblem, Splits
from cnnkit.config.image_folder import ImageFolder, list_image_folder
from cnnkit.config.image_headers import look_at_headers
from cnnkit.config.known_data_sets import KNOWN, KNOWN_BOXES, KNOWN_MASKS, KNOWN_TEXTS
from cnnkit.config.prepared import read_prepared, read_prepared_boxes, read_prepared_masks
from cnnkit.config.sample import IMAGES, Sample
from cnnkit.config.target import Labels, Numbers, Picture, Target
from cnnkit.config.tfds_names import (
    known_name,
    meant_name,
    prepared_data_sets,
    prepared_folder,
    prepared_versions,
    split_name,
    subfolders,
    tfds_folder,
)
from cnnkit.images.padding import NO_PADDING, Padding, padding_to
from cnnkit.task import Task
from cnnkit.tasks import default_task

if TYPE_CHECKING:
    from pathlib import Path

    # Few configs have boxes, masks or a table.
    from cnnkit.config.boxes.listing import BoxListing
    from cnnkit.config.known_data_sets import KnownBoxes, KnownMasks
    from cnnkit.config.mask_folder import MaskFolder
    from cnnkit.config.picture import PictureInfo
    from cnnkit.config.table import ImageTable

__all__ = [
    "DataProblem",
    "DataSetInfo",
    "describe_data_set",
    "known_name",
    "prepared_data_sets",
    "prepared_folder",
    "read_prepared",
    "split_name",
    "tfds_folder",
]


@dataclass(frozen=True)
class DataSetInfo:
    """What a config needs to know of its data.

    Args:
        shape: Of what reaches the network, the samples or what its task makes it of: (height, width, channels), or
            (length,).
        target: What is to be learned of them.
        source: Where this was found: `known`, `prepared`, `folder`, `table`, `picture` or `config`.
        note: A line about a choice that the user may want otherwise; None where there was none.
        missing: Why the images themselves cannot be read, where only the config says what they are.
        padding: The border around images that is a part of the shape.
        listing: The files of a folder, so that whoever reads them need not look for them again; None for other data.
        table: The rows of a table, likewise.
        sample: What kind of samples they are.
        picture: What is known of the one picture, where that is what is learned from.
    """

    shape: tuple[int, ...]
    target: Target
    source: str
    note: str | None = None
    missing: str | None = None
    padding: Padding = NO_PADDING
    listing: ImageFolder | MaskFolder | BoxListing | None = field(default=None, compare=False, repr=False)
    table: ImageTable | None = field(default=None, compare=False, repr=False)
    picture: PictureInfo | None = None
    sample: Sample = IMAGES

    @property
    def data_shape(self) -> tuple[int, ...]:
        """Of the samples as they are read, where the network takes something else than these."""
        return self.sample.made_shape or self.shape

    @property
    def values(self) -> Mapping[str, int]:
        """What names in layers stand for."""
        return {**self.target.values, **self.sample.values}

    @property
    def classes(self) -> int:
        """How many classes, labels or numbers are to be learned."""
        return self.target.size

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Their names in order, where they are known."""
        return self.target.names


@dataclass(frozen=True)
class RecordedImages:
    """What a run has noted of the images that it learned from.

    Attributes:
        shape: As they are read, see `DataSetInfo.data_shape`.
        names: The classes, labels or numbers, in the order of the outputs.
        padding: The border that is a part of the shape.
    """

    shape: tuple[int, ...]
    names: tuple[str, ...]
    padding: Padding = NO_PADDING

    def info(self, config: DataConfig, task: Task) -> DataSetInfo:
        """What is known of the data set through them."""
        target = task.make_target(config, len(self.names), self.names)
        return task.given(DataSetInfo(self.shape, target, "config", padding=self.padding, sample=config.sample))


@dataclass(frozen=True)
class DescribedImages:
    """What was found out of a data set already, for another config of it.

    Attributes:
        config, task: Whose data set it is.
        found: What `describe_data_set` said of them.
    """

    config: DataConfig
    task: Task
    found: DataSetInfo

    def info(self, config: DataConfig, task: Task) -> DataSetInfo:
        """What is known of a data set, which is looked at where it is another one.

        Raises:
            DataProblem: as `describe_data_set`.
        """
        if task == self.task and config == self.config.model_copy(update={"memory": config.memory}):
            return self.found
        return describe_data_set(config, task)


@dataclass(frozen=True)
class _Found:
    """What was found before `image_size`, `shape` and `classes` of the config are looked at."""

    shape: tuple[int | None, int | None, int]
    classes: int | None
    class_names: tuple[str, ...] | None
    source: str
    note: str | None = None
    missing: str | None = None
    listing: ImageFolder | MaskFolder | BoxListing | None = None
    table: ImageTable | None = None


def describe_data_set(config: DataConfig, task: Task | None = None) -> DataSetInfo:
    """Shape and target of the configured data, without TensorFlow.

    Looked for in cnnkit's table of common sets, in a prepared TFDS folder, or in the folder or table of images itself;
    `data.shape` and `data.classes` serve where none of these knows. `data.image_size` replaces height and
    width.

    Args:
        task: What is to be learned of the images; by default what a config means that does not say it.

    Raises:
        DataProblem: if nothing is known, the config contradicts what is known, or sizes differ.
    """
    task = task or default_task()
    if config.picture is not None or issubclass(task.target, Picture):
        return _describe_picture(config, task)
    if config.table is None and config.text is None and issubclass(task.target, Labels | Numbers):
        raise DataProblem(
            f"the images come with one class each, but the task learns {task.target.plural} of each; name a `table:` "
            "that has them, with a row for each image",
            "name" if config.folder is None else "folder",
        )
    stated_splits = [name for name, value in config.splits.to_plain().items() if value is not None]
    if stated_splits and (config.has_files or config.name == "digits"):
        raise DataProblem(
            f"`data.splits.{stated_splits[0]}` is a TFDS slice; a folder's splits are its `train`, `validation` "
            "and `test` folders, a table has a column for them (`split:`), and those of `digits` are fixed",
            "splits",
        )
    _check_test_is_stated(config.splits)
    if config.text is not None:
        return _describe_texts(config, task)
    if config.name == "digits" and config.image_size is not None:
        raise DataProblem(
            "`digits` are 8x8 and never resized; let the network begin with a `Resizing` layer instead", "image_size"
        )
    if config.boxes is not None and not task.target.boxed:
        raise DataProblem(
            f"`boxes` names columns of boxes around objects, and the task {task.name} learns {task.target.plural} of "
            "whole images; leave it out, or choose another `task:`",
            "boxes",
        )
    info = _describe_files(config, task) if config.has_files else _describe_name(config, task)
    _check_stated(config, info)
    height, width, channels = info.shape
    stated_channels = config.channels or (config.shape[2] if config.shape is not None else None)
    if config.has_files and stated_channels is not None:
        channels = stated_channels
    if config.image_size is not None:
        height, width = config.image_size
    if height is None or width is None:
        what = f"{'data set' if config.name else 'table' if config.table else 'folder'} `{config.source}`"
        raise DataProblem(
            f"the images of the {what} differ in size; set `data.image_size: [height, width]` to resize them",
            "image_size",
        )
    classes = info.classes if info.classes is not None else config.classes
    assert classes is not None
    note = info.note if stated_channels is None else None
    target = task.make_target(config, classes, info.class_names)
    padding = _padding(config, target, height, width)
    shape = (height + padding[0] + padding[1], width + padding[2] + padding[3], channels)
    return task.given(
        DataSetInfo(shape, target, info.source, note, info.missing, padding, listing=info.listing, table=info.table)
    )


def _describe_texts(config: DataConfig, task: Task) -> DataSetInfo:
    if not task.takes_images:
        raise DataProblem(f"the task {task.name} makes images, and learns from no texts; leave `text` out", "text")
    from cnnkit.config.texts import find_texts

    texts = find_texts(config, task.target)
    known = texts.classes if texts.names is None else len(texts.names)
    if known is not None and config.classes not in (None, known):
        raise DataProblem(
            f"`data.classes` is {config.classes}, but the data set has {known} classes; remove `classes`", "classes"
        )
    classes = config.classes if known is None else known
    assert classes is not None
    return DataSetInfo(
        (config.length or LENGTH,),
        task.make_target(config, classes, texts.names),
        texts.source,
        missing=texts.missing,
        table=texts.table,
        sample=config.sample,
    )


def _describe_picture(config: DataConfig, task: Task) -> DataSetInfo:
    """One picture, and the network's input that makes it."""
    if not issubclass(task.target, Picture):
        from cnnkit.tasks import task_of

        of_pictures = task_of(Picture)
        restoring = of_pictures.name if of_pictures is not None else ""
        raise DataProblem(
            f"`image` alone is one picture, but the task {task.name} learns of many images; name them by `name:`, "
            f"`folder:` or `table:`, or restore the picture with `task: {restoring}`",
            "image",
        )
    if config.picture is None:
        raise DataProblem(
            f"the task {task.name} learns from one picture; name its file: `image: photo.png`",
            next(name for name in ("name", "folder", "table") if getattr(config, name) is not None),
        )
    from cnnkit.config.picture import describe_picture

    found = describe_picture(config)
    height, width, channels = found.shape
    top, bottom, left, right = found.padding
    target = task.make_target(config, channels, None)
    shape = task.input_shape((height + top + bottom, width + left + right, channels), found.times)
    return DataSetInfo(shape, target, "picture", missing=found.missing, padding=found.padding, picture=found)


def _padding(config: DataConfig, target: Target, height: int, width: int) -> Padding:
    if target.per_pixel and config.image_size is not None and config.resize == "pad" and config.ignore is None:
        raise DataProblem(
            "`resize: pad` puts a border around masks, whose pixels must not count; set `data.ignore` to the number "
            "that they get, one of no class, such as 255, or choose `resize: stretch` or `crop`",
            "resize",
        )
    if config.pad_to is None:
        return NO_PADDING
    if not target.per_pixel:
        raise DataProblem(
            "`data.pad_to` is for images with masks; let the network begin with `ZeroPadding2D` instead", "pad_to"
        )
    if config.ignore is None and target.size > 255:
        raise DataProblem("each number is one of a class, and none is left for the border; remove `pad_to`", "pad_to")
    return padding_to(height, width, config.pad_to)


def _check_test_is_stated(splits: Splits) -> None:
    """Where the test split trains or validates, no default of what to test on would be what every reader expects."""
    for name, use, slices in (("train", "train", splits.train), ("validation", "validate", splits.validation)):
        if splits.test is None and slices is not None and re.search(r"\btest\b", slices):
            advice = (
                f"{use} on a part of the training split (`train: train[:90%]`, `validation: train[90%:]`), or say with "
                "`test:` what is to be tested on"
            )
            if name == "validation":
                advice += "; `test: test` chooses the best epoch on the images that it is tested on"
            raise DataProblem(f"`{name}: {slices}` takes of the test split: {advice}", "splits")


def _check_stated(config: DataConfig, info: _Found) -> None:
    """Compare `data.shape` and `data.classes` with what was found."""
    if config.classes is not None and info.classes is not None and config.classes != info.classes:
        raise DataProblem(
            f"`data.classes` is {config.classes}, but the data set has {info.classes} classes; remove `classes`",
            "classes",
        )
    if not config.has_files and config.channels not in (None, info.shape[2]):
        raise DataProblem(
            f"`data.channels` is {config.channels}, but the images of `{config.name}` have {info.shape[2]}; only the "
            "files of a folder or table are converted, so remove `channels`",
            "channels",
        )
    if config.shape is None:
        return
    height, width, channels = info.shape
    # Image files have no channels of their own: those of any mode are converted, so the config may choose.
    free_channels = config.has_files and config.shape[2] in (1, 3)
    expected = [size for size in ((height, width), config.image_size) if size is not None]
    fits = any(
        all(known is None or known == stated for known, stated in zip(size, config.shape[:2], strict=True))
        for size in expected
    )
    if not fits or (config.shape[2] != channels and not free_channels):
        known_size = "x".join("?" if size is None else str(size) for size in info.shape)
        stated_size = "x".join(str(size) for size in config.shape)
        raise DataProblem(
            f"`data.shape` is {stated_size}, but the images are {known_size}; remove `shape`"
            + ("" if config.image_size else ", or set `image_size` to resize"),
            "shape",
        )


# --- TFDS sets ---------------------------------------------------------------------------------------

#: What is known of a set whose images come with more than a class.
_Known = TypeVar("_Known")


def _describe_name(config: DataConfig, task: Task) -> _Found:
    name = config.name
    assert name is not None
    if task.target.boxed:
        instead = "a `folder:` or `table:` of annotated images"
        return _describe_more(config, name, KNOWN_BOXES, "boxes", instead, _describe_boxes)
    if task.target.per_pixel:
        instead = "a `folder:` with `images` and `masks`"
        return _describe_more(config, name, KNOWN_MASKS, "masks", instead, _describe_masks)
    known = KNOWN.get(known_name(name))
    prepared = prepared_folder(name) if name != "digits" else None
    if known is not None:
        names = known.class_names
        if names is None and prepared is not None:
            names = read_prepared(prepared)["class_names"]
        return _Found(known.shape, known.classes, names, "known")
    if prepared is not None:
        facts = read_prepared(prepared)
        if facts["classes"] is None and config.classes is None:
            raise DataProblem(f"`{name}` does not say how many classes it has; set `data.classes`", "classes")
        return _Found(facts["shape"], facts["classes"], facts["class_names"], "prepared")
    return _stated(config, name)


def _describe_more(
    config: DataConfig,
    name: str,
    sets: Mapping[str, _Known],
    what: str,
    instead: str,
    describe: Callable[[DataConfig, str, _Known | None, Path | None], _Found],
) -> _Found:
    """A TFDS set whose images come with more than a class.

    Args:
        sets: The common ones.
        what: What they come with.
        instead: What a user may give in the place of such a set.
        describe: Takes what is known of the set, and where it is prepared; one of them is None at the most.
    """
    known = sets.get(known_name(name))
    prepared = prepared_folder(name) if name != "digits" else None
    if known is None and known_name(name) in KNOWN:
        others = ", ".join(f"`{other}`" for other in sets)
        raise DataProblem(
            f"`{name}` has a class for each image and no {what}; take {others}, or give {instead}",
            "name",
        )
    if known is None and prepared is None:
        return _stated(config, name)
    return describe(config, name, known, prepared)


def _describe_masks(config: DataConfig, name: str, known: KnownMasks | None, prepared: Path | None) -> _Found:
    """A TFDS set as one of images with a mask each."""
    names = config.class_names or (None if known is None else known.class_names)
    if known is not None:
        shape, source = known.shape, "known"
    else:
        assert prepared is not None
        shape, source = read_prepared_masks(prepared)["shape"], "prepared"
    if names is None and config.classes is None:
        raise DataProblem(
            f"`{name}` does not say what the numbers in its masks mean; set `data.class_names: [...]`, the first for "
            "number 0",
            "class_names",
        )
    return _Found(shape, None if names is None else len(names), None if names is None else tuple(names), source)


def _describe_boxes(config: DataConfig, name: str, known: KnownBoxes | None, prepared: Path | None) -> _Found:
    """A TFDS set as one of images with a box around each object."""
    if prepared is not None:
        facts = read_prepared_boxes(prepared)
        return _Found(facts["shape"], facts["classes"], facts["class_names"], "prepared")
    assert known is not None
    return _Found(known.shape, known.classes, known.class_names, "known")


def _stated(config: DataConfig, name: str) -> _Found:
    """A data set of which only the config knows something."""
    texts = KNOWN_TEXTS.get(known_name(name))
    if texts is not None:
        raise DataProblem(
            f"`{name}` is a data set of texts; to learn from them, add `text: {texts.features[0]}`", "name"
        )
    if config.shape is None or config.classes is None:
        configurations = [path.name for path in subfolders(tfds_folder() / name) if prepared_versions(path)]
        if configurations:
            choices = ", ".join(f"`{name}/{path}`" for path in configurations)
            raise DataProblem(f"`{name}` has several configurations; name one of {choices}", "name")
        raise DataProblem(
            f"unknown data set `{name}`{meant_name(name) or '.'} For another TFDS data set, fetch it first "
            f"(`cnnkit data prepare {name}`) or set `data.shape` and `data.classes`; for your own images, "
            "use `folder:`",
            "name",
        )
    return _Found(config.shape, config.classes, None, "config")


# --- Image files ----------------------------------------------------------------------------------------


def _describe_files(config: DataConfig, task: Task) -> _Found:
    try:
        found = _list_files(config, task)
    except DataProblem as problem:
        if os.path.lexists(config.source):
            raise
        # The files may come later, or have been there for the training alone.
        if config.shape is None or config.classes is None:
            hint = "; with `data.shape` and `data.classes`, the network can be inspected without it"
            raise DataProblem(problem.message + hint, problem.argument) from None
        return _Found(config.shape, config.classes, None, "config", missing=problem.message)
    return found


def _list_files(config: DataConfig, task: Task) -> _Found:
    if task.target.per_pixel:
        return _list_pairs(config)
    if task.target.boxed:
        return _list_boxes(config)
    if config.folder is not None:
        if config.class_names is not None:
            raise DataProblem("the classes of a folder are its class folders; remove `class_names`", "class_names")
        listing = list_image_folder(config.folder)
        shape, note = look_at_headers(listing.root, list(listing.files()), config)
        return _Found(shape, len(listing.class_names), listing.class_names, "folder", note, listing=listing)
    from cnnkit.config.table import check_table, read_image_table

    table = read_image_table(config, task.target)
    check_table(table)
    shape, note = look_at_headers(table.root, list(table.files()), config)
    return _Found(shape, len(table.names), table.names, "table", note, table=table)


def _list_pairs(config: DataConfig) -> _Found:
    if config.folder is None:
        raise DataProblem("a table holds no masks; give a folder with `images` and `masks`", "table")
    from cnnkit.config.mask_folder import list_mask_folder

    listing = list_mask_folder(config.folder, config.class_names)
    images = [image for pairs in listing.splits.values() for image, _ in pairs]
    shape, note = look_at_headers(listing.root, images, config)
    return _Found(shape, len(listing.class_names), listing.class_names, "masks", note, listing=listing)


def _list_boxes(config: DataConfig) -> _Found:
    from cnnkit.config.boxes.listing import listing_of

    listing = listing_of(config)
    stated = listing.stated_sizes()
    if not stated:
        count, first = len(listing.problems), listing.problems[0].message
        more = f" (the first of {count:,} mistakes)" if count > 1 else ""
        argument = "folder" if config.table is None else "table"
        raise DataProblem(f"no image of `{config.source}` can be learned from: {first}{more}", argument)
    shape, note = look_at_headers(listing.root, list(stated), config, stated)
    return _Found(shape, len(listing.class_names), listing.class_names, "boxes", note, listing=listing)
