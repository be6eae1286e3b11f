"""Which data sets are there, and what is in one: behind `cnnkit data list`, `prepare` and `info`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cnnkit.config.boxes.listing import listing_of
from cnnkit.config.data import DataConfig
from cnnkit.config.dataset import DataProblem, DataSetInfo, known_name, prepared_data_sets
from cnnkit.config.image_folder import list_image_folder
from cnnkit.config.known_data_sets import KNOWN, KNOWN_BOXES, KNOWN_TEXTS
from cnnkit.config.mask_folder import list_mask_folder
from cnnkit.config.picture import picture_file
from cnnkit.config.prepared import read_prepared, read_prepared_boxes, read_prepared_texts, text_feature_of
from cnnkit.config.table import read_image_table
from cnnkit.config.target import Target
from cnnkit.config.texts import text_label
from cnnkit.data.batches import channel_statistics
from cnnkit.data.download import fetch
from cnnkit.data.loading import SPLITS, load
from cnnkit.data.splits import Array, DataSets, Split, chunk_size
from cnnkit.data.survey import FileFacts, sizes_and_modes, survey
from cnnkit.data.texts import text_summary
from cnnkit.errors import CnnkitError
from cnnkit.images.formats import CorruptImage
from cnnkit.images.padding import cropped
from cnnkit.machine.fetching import STALL_SECONDS
from cnnkit.task import Task
from cnnkit.tasks import default_task


@dataclass(frozen=True)
class DataSetRow:
    """One line of `cnnkit data list`.

    Args:
        name: What to write as `data.name`.
        where: `bundled`, `prepared` or `download`.
        folder: The prepared folder, or None.
        shape: (height, width, channels); None for a size that differs between images, or a set that is not
            one of labelled images.
        classes: Number of classes, or None where that is not known.
        splits: Samples of each split of a prepared or bundled set.
        text: Of a set of texts, what to write as `data.text`; None of one of images.
    """

    name: str
    where: str
    folder: Path | None
    shape: tuple[int | None, int | None, int] | None
    classes: int | None
    splits: dict[str, int]
    text: str | None = None


def list_data_sets() -> list[DataSetRow]:
    """The bundled set, the prepared TFDS sets, and the known ones that a download would bring."""
    digits = KNOWN["digits"]
    rows = [DataSetRow("digits", "bundled", None, digits.shape, digits.classes, {"all": 1797})]
    prepared = {}
    for name, folder in prepared_data_sets():
        try:
            feature = text_feature_of(folder)
            if known_name(name) in KNOWN_BOXES:
                facts = read_prepared_boxes(folder)
            elif feature is None:
                facts = read_prepared(folder)
            else:
                facts = read_prepared_texts(folder, feature, text_label(name))
        except (DataProblem, OSError, ValueError):
            continue  # other TFDS data, such as audio
        shape = facts.get("shape")
        prepared[known_name(name)] = DataSetRow(
            name, "prepared", folder, shape, facts["classes"], facts["splits"], feature
        )
    rows += prepared.values()
    rows += [
        DataSetRow(name, "download", None, known.shape, known.classes, {})
        for name, known in KNOWN.items()
        if name not in prepared and name != "digits"
    ]
    rows += [
        DataSetRow(name, "download", None, boxed.shape, boxed.classes, {})
        for name, boxed in KNOWN_BOXES.items()
        if name not in prepared
    ]
    rows += [
        DataSetRow(name, "download", None, None, len(known.class_names), {}, known.features[0])
        for name, known in KNOWN_TEXTS.items()
        if name not in prepared
    ]
    return rows


def prepare(name: str, *, stall_seconds: float = STALL_SECONDS) -> Path | None:
    """Have a data set ready for use, downloading it where it is missing.

    Returns:
        The prepared folder; None for `digits`, which is bundled.

    Raises:
        CnnkitError: if it cannot be fetched.
    """
    return None if name == "digits" else fetch(name, stall_seconds=stall_seconds)


def data_set_summary(config: DataConfig, seed: int = 0, task: Task | None = None) -> dict[str, Any]:
    """What is in a data set, as plain values: shape, classes, and images per split and class.

    Of a task that learns something else, there are labels or numbers in the place of the classes.

    `mean` and `variance` are per channel on the scale 0..255, measured on the training split; `notes` are lines on
    what was left out and how the images are read and divided, where there are any.

    Of texts, it has how many words they have and how many of these the vocabulary knows. Of a folder or table of
    images, it has the sizes and modes of the files, too; where the sizes differ and `data.image_size`
    does not say what becomes of them, there is no shape, and nothing is said of pixels.

    Raises:
        CnnkitError: if the data cannot be loaded.
    """
    if config.text is not None:
        return text_summary(config, load(config, seed, task))
    files = _look_at_files(config, task or default_task())
    sized = config.image_size is not None or len({facts.size for facts in files if facts.size is not None}) <= 1
    data = _load_readable(config if sized else undecoded(config), seed, task)
    target, picture = data.info.target, data.info.picture
    splits = {}
    counts: dict[str, Array] = {}
    for split_name in SPLITS:
        split = getattr(data, split_name)
        if split is not None:
            if sized and target.per_pixel:
                counts[split_name] = _pixel_counts(split, data.info)
            splits[split_name] = {
                "images": split.size,
                **split.targets.summary(target.all_names),
                **(task or default_task()).survey(split, sized),
                **(_pixel_shares(counts[split_name], target) if split_name in counts else {}),
                **({"in_memory": split.stored is not None} if sized else {}),
            }
    pixels = {}
    if sized:
        assert data.train is not None
        pixels["mean"], pixels["variance"] = channel_statistics(data.train)
    notes = [*data.notes, *_unlearned(counts, target)]
    return {
        "source": config.source,
        **({"shape": list(data.info.data_shape if picture is None else picture.shape)} if sized else {}),
        **(sizes_and_modes(files) if files else {}),
        target.plural: target.size,
        f"{target.singular}_names": list(target.all_names),
        "splits": splits,
        **pixels,
        "fingerprint": data.fingerprint,
        **({"notes": notes} if notes else {}),
    }


def _pixel_counts(split: Split, info: DataSetInfo) -> Array:
    """How many pixels of the masks have each number, int64 [256], without the border."""
    counts = np.zeros(256, np.int64)
    step = chunk_size(split.source.stored_shape)
    for start in range(0, split.size, step):
        masks = split.read_masks(range(start, min(start + step, split.size)))
        inner = cropped(np.moveaxis(masks, 0, -1), info.padding)
        counts += np.bincount(inner.ravel(), minlength=256)
    return counts


def _unlearned(counts: Mapping[str, Array], target: Target) -> Iterator[str]:
    """A note on classes that other splits have and no training mask shows."""
    for split, others in counts.items():
        absent = [
            name
            for number, name in enumerate(target.all_names)
            if number != target.ignore and others[number] and not counts["train"][number]
        ]
        if absent:
            names = ", ".join(f"`{name}`" for name in absent)
            yield f"masks of the {split} split have classes that no training mask has: {names}"


def _pixel_shares(counts: Array, target: Target) -> dict[str, Any]:
    """The share of each class in the pixels that count, and that of ignored ones in all."""
    counts = counts.copy()
    ignored = 0 if target.ignore is None else int(counts[target.ignore])
    if target.ignore is not None:
        counts[target.ignore] = 0
    # Six digits are enough for the rarest class of a million pixels.
    total = int(counts.sum())
    named = zip(target.all_names, counts[: target.size].tolist(), strict=True)
    shares = {name: round(count / max(1, total), 6) for name, count in named}
    return {"pixels": shares, "ignored_pixels": round(ignored / max(1, ignored + total), 6)}


def undecoded(config: DataConfig) -> DataConfig:
    """A folder or table of images of any sizes, such that loading divides it and decodes nothing."""
    changes = {"image_size": (1, 1), "shape": None, "memory": "stream", "skip_corrupt": False}
    return config.model_copy(update=changes)


def _look_at_files(config: DataConfig, task: Task) -> list[FileFacts]:
    """The headers of the files of a folder or table; none for other data."""
    if not config.has_files:
        return []
    try:
        root, files = _image_files(config, task)
    except DataProblem as problem:
        raise CnnkitError(f"data.{problem.argument}: {problem.message}") from None
    return list(survey(root, files, most_megapixels=config.max_megapixels))


def _image_files(config: DataConfig, task: Task) -> tuple[Path, list[str]]:
    if config.picture is not None:
        file = picture_file(config.picture)
        return file.parent, [file.name]
    if task.target.boxed:
        annotated = listing_of(config)
        return annotated.root, list(annotated.files())
    if config.folder is None:
        table = read_image_table(config, task.target)
        return table.root, list(table.files())
    if task.target.per_pixel:
        pairs = list_mask_folder(config.folder, config.class_names)
        return pairs.root, [image for split in pairs.splits.values() for image, _ in split]
    listing = list_image_folder(config.folder)
    return listing.root, list(listing.files())


def _load_readable(config: DataConfig, seed: int, task: Task | None) -> DataSets:
    """The data set, without files that cannot be read; whoever looks at it is told which they are."""
    try:
        return load(config, seed, task)
    except CorruptImage:
        return load(config.model_copy(update={"skip_corrupt": True}), seed, task)
