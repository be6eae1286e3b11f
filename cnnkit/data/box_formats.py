"""Annotated images written in another format: behind `cnnkit data convert`."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from cnnkit.config.boxes.listing import BoxListing, listing_of
from cnnkit.config.data import DataConfig, DataProblem
from cnnkit.config.image_folder import image_header
from cnnkit.data.images import CorruptFiles
from cnnkit.errors import CnnkitError, UsageError
from cnnkit.images.boxes import AnnotatedImage, Box, other_size
from cnnkit.images.formats import CorruptImage

#: The names of the folders of splits.
_FOLDERS = {"train": "train", "validation": "val", "test": "test"}


def convert(config: DataConfig, folder: Path, kind: str) -> list[str]:
    """Reads a folder or table of annotated images, and writes a new folder in another format.

    Each split gets a folder with `images`, and with `annotations.json` (COCO), `Annotations/*.xml` (VOC) or
    `labels/*.txt` (YOLO, whose `classes.txt` stands beside the splits). Of a table, `boxes.csv` stands beside them.

    Args:
        config: A `data` section that says what to read.
        folder: The folder to write.
        kind: `coco`, `voc`, `yolo` or `table`.

    Returns:
        Lines on what was written.

    Raises:
        UsageError: if there is no such folder or table, or the new one is there already.
        CnnkitError: if something is wrong with images or boxes.
    """
    source = config.source
    if os.path.lexists(folder):
        raise UsageError(f"`{folder}` is there already", "Name a new folder.")
    try:
        listing = listing_of(config)
    except DataProblem as problem:
        kind_of_error = CnnkitError if os.path.exists(source) else UsageError
        raise kind_of_error(problem.message) from None
    problems = [*listing.problems, *_unlike_annotations(listing, config.max_megapixels)]
    if problems:
        raise CorruptFiles(problems)
    try:
        read = f"{listing.notes[0]}, " if listing.table is None else ""
        lines = [f"{source}: {read}{len(listing.class_names)} classes"]
        for split, images in listing.splits.items():
            _write_split(listing, images, folder / _FOLDERS[split], kind)
            boxes = sum(len(image.boxes) for image in images)
            lines.append(f"{folder / _FOLDERS[split]}: {len(images):,} images, {boxes:,} boxes")
        if kind == "table":
            _write_table(listing, folder)
        if kind == "yolo":
            (folder / "classes.txt").write_text("".join(f"{name}\n" for name in listing.class_names), "utf-8")
            crowds = sum(box.crowd for images in listing.splits.values() for image in images for box in image.boxes)
            if crowds:
                lines.append(f"note: YOLO's format has no crowds; {crowds:,} boxes of crowds were left out")
    except OSError as error:
        raise CnnkitError(f"cannot write `{error.filename}`: {error.strerror or error}") from None
    return lines


def _unlike_annotations(listing: BoxListing, most_megapixels: float) -> Iterator[CorruptImage]:
    """Image files of another size than annotations state, or that cannot be read, by their headers."""
    for file, stated in listing.stated_sizes().items():
        path = listing.root / file
        try:
            size = image_header(path, most_megapixels)[:2]
        except CorruptImage as error:
            yield error
        else:
            if size != stated:
                yield other_size(str(path), size, stated)


def _write_split(listing: BoxListing, images: Sequence[AnnotatedImage], folder: Path, kind: str) -> None:
    (folder / "images").mkdir(parents=True)
    named = _names(images)
    for image, name in named:
        shutil.copyfile(listing.root / image.file, folder / "images" / name)
    if kind in _WRITERS:
        _WRITERS[kind](listing, named, folder)


def _names(images: Sequence[AnnotatedImage]) -> list[tuple[AnnotatedImage, str]]:
    """A name of its own for each image, also without its ending: that of its file where it can be."""
    stems = Counter(Path(image.file).stem.lower() for image in images)
    taken = {stem for stem, files in stems.items() if files == 1}
    named = []
    for image in images:
        name = Path(image.file).name
        if stems[Path(name).stem.lower()] > 1:
            name = next(one for one in _longer_names(image.file) if Path(one).stem.lower() not in taken)
            taken.add(Path(name).stem.lower())
        named.append((image, name))
    return named


def _longer_names(file: str) -> Iterator[str]:
    """Names for an image file whose own others have: with its folders, then with its ending, then with numbers."""
    joined = Path(file.replace(os.sep, "_"))
    yield joined.name
    stem = f"{joined.stem}_{joined.suffix[1:]}"
    yield f"{stem}{joined.suffix}"
    yield from (f"{stem}_{number}{joined.suffix}" for number in count(2))


Named = Sequence[tuple[AnnotatedImage, str]]


def _write_coco(listing: BoxListing, images: Named, folder: Path) -> None:
    numbers = {name: number for number, name in enumerate(listing.class_names, start=1)}
    document: dict[str, list[dict[str, Any]]] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": number, "name": name} for name, number in numbers.items()],
    }
    for place, (image, name) in enumerate(images, start=1):
        height, width = image.size
        document["images"].append({"id": place, "file_name": name, "height": height, "width": width})
        for box in image.boxes:
            sides = (box.right - box.left, box.bottom - box.top)
            document["annotations"].append(
                {
                    "id": len(document["annotations"]) + 1,
                    "image_id": place,
                    "category_id": numbers[box.name],
                    "bbox": [round(value, 3) for value in (box.left, box.top, *sides)],
                    "area": round(sides[0] * sides[1], 3),
                    "iscrowd": int(box.crowd),
                }
            )
    (folder / "annotations.json").write_text(json.dumps(document), "utf-8")


def _write_voc(listing: BoxListing, images: Named, folder: Path) -> None:
    (folder / "Annotations").mkdir()
    for image, name in images:
        height, width = image.size
        root = ElementTree.Element("annotation")
        ElementTree.SubElement(root, "filename").text = name
        size = ElementTree.SubElement(root, "size")
        for tag, length in (("width", width), ("height", height)):
            ElementTree.SubElement(size, tag).text = str(length)
        for box in image.boxes:
            entry = ElementTree.SubElement(root, "object")
            ElementTree.SubElement(entry, "name").text = box.name
            ElementTree.SubElement(entry, "difficult").text = str(int(box.crowd))
            edges = ElementTree.SubElement(entry, "bndbox")
            # VOC's first pixel is number 1, and the last one belongs to the box.
            numbers = {"xmin": box.left + 1, "ymin": box.top + 1, "xmax": box.right, "ymax": box.bottom}
            for tag, number in numbers.items():
                ElementTree.SubElement(edges, tag).text = f"{round(number, 3):.10g}"
        ElementTree.indent(root)
        text = ElementTree.tostring(root, "unicode")
        (folder / "Annotations" / Path(name).with_suffix(".xml").name).write_text(f"{text}\n", "utf-8")


def _write_yolo(listing: BoxListing, images: Named, folder: Path) -> None:
    (folder / "labels").mkdir()
    numbers = {name: number for number, name in enumerate(listing.class_names)}
    for image, name in images:
        height, width = image.size
        lines = []
        for box in image.boxes:
            if not box.crowd:
                x, y = (box.left + box.right) / 2 / width, (box.top + box.bottom) / 2 / height
                sides = ((box.right - box.left) / width, (box.bottom - box.top) / height)
                lines.append(" ".join([str(numbers[box.name]), *(f"{share:.8f}" for share in (x, y, *sides))]))
        text = "".join(f"{line}\n" for line in lines)
        (folder / "labels" / Path(name).with_suffix(".txt").name).write_text(text, "utf-8")


#: The columns of a table, as `data.image`, `boxes`, `target` and `split` name them.
_COLUMNS = ("image", "left", "top", "right", "bottom", "class", "crowd", "split")


def _write_table(listing: BoxListing, folder: Path) -> None:
    """A row for each box of all splits, and for each image without one."""
    with open(folder / "boxes.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for split, images in listing.splits.items():
            for image, name in _names(images):
                path = f"{_FOLDERS[split]}/images/{name}"
                nothing = [("", "", "", "", "", "")]
                for cells in [_cells(box) for box in image.boxes] or nothing:
                    writer.writerow([path, *cells, split])


def _cells(box: Box) -> tuple[str, ...]:
    return (*(f"{round(edge, 3):.10g}" for edge in box.edges), box.name, str(int(box.crowd)))


#: For each format with annotations in the folder of a split.
_WRITERS: Mapping[str, Callable[[BoxListing, Named, Path], None]] = {
    "coco": _write_coco,
    "voc": _write_voc,
    "yolo": _write_yolo,
}
