"""Annotations in the format of YOLO: a text file for each image, whose names stand elsewhere."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from cnnkit.config.boxes.layouts import images_in
from cnnkit.config.boxes.parts import Annotations, Place, as_number, read_text
from cnnkit.config.data import DataProblem
from cnnkit.images.boxes import BadBox, Box
from cnnkit.images.files import files_in
from cnnkit.terminal.printable import printable

#: Where the names of the classes may stand.
_LISTS = ("classes.txt", "obj.names")
_MAPPINGS = ("data.yaml", "dataset.yaml", "data.yml")


def read_yolo(place: Place) -> Annotations:
    """The images and boxes of a split.

    Each line is a class number, from 0, and the centre, width and height of a box as shares of the image. An image
    without a file, or with an empty one, has no objects.

    Raises:
        DataProblem: if nothing says what the classes are.
        OSError: if a folder cannot be read.
    """
    found = Annotations(yolo_names(place))
    images, doubles = images_in(place)
    found.tell_doubles(doubles)
    for name, path in images.items():
        file = os.path.relpath(path, place.root)
        size = found.size_of(place, file)
        source = place.annotations / f"{name}.txt"
        if size is not None:
            boxes = _boxes(source, size, found) if source.is_file() else []
            found.add(file, size, boxes, str(source))
    for source in sorted(map(Path, files_in(place.annotations))):
        if source.suffix.lower() != ".txt" or source.name in _LISTS:
            continue
        if source.relative_to(place.annotations).with_suffix("").as_posix() not in images:
            found.problems.append(BadBox(str(source), f"has no image in `{place.images}`"))
        elif source.suffix != ".txt":
            # Where capitals are other letters, its image would have no objects.
            found.problems.append(BadBox(str(source), "is not read; call it `.txt`, in small letters"))
    return found


def yolo_names(place: Place) -> tuple[str, ...]:
    """The names of the classes, from `data.yaml`, `classes.txt` or `obj.names`."""
    for folder in dict.fromkeys((place.root, place.annotations, place.annotations.parent, place.images.parent)):
        for name in _LISTS:
            if (folder / name).is_file():
                lines = [line.strip() for line in read_text(folder / name).splitlines()]
                return _checked(folder / name, [line for line in lines if line])
        for name in _MAPPINGS:
            if (folder / name).is_file():
                return _checked(folder / name, _names_of(folder / name))
    raise DataProblem(
        f"nothing says what the numbers in `{place.annotations}` mean; write one class a line into "
        f"`{place.root / _LISTS[0]}`, the first for number 0",
        "folder",
    )


def _names_of(file: Path) -> list[Any]:
    """`names` of a YAML file: a list, or a mapping from numbers."""
    import yaml

    try:
        document = yaml.safe_load(read_text(file))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DataProblem(f"`{file}` is not YAML: {error}", "folder") from None
    names = document.get("names") if isinstance(document, dict) else None
    if isinstance(names, dict) and all(type(key) is int for key in names) and set(names) == set(range(len(names))):
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list):
        raise DataProblem(
            f"`{file}` should have a list `names`, or a mapping from the numbers 0, 1, 2, ..., got {names!r}", "folder"
        )
    return names


def _checked(file: Path, names: list[Any]) -> tuple[str, ...]:
    for number, name in enumerate(names):
        # YAML takes `no` for false, and nothing for null.
        if isinstance(name, bool) or not isinstance(name, str | int | float) or not str(name).strip():
            raise DataProblem(
                f"`{file}` should have a text as the name of class {number}, got {name!r}; write it in quotes", "folder"
            )
    texts = tuple(printable(str(name)) for name in names)
    if not texts or len(set(texts)) < len(texts):
        raise DataProblem(f"`{file}` should name the classes, each once; got {list(texts)}", "folder")
    return texts


def _boxes(file: Path, size: tuple[int, int], found: Annotations) -> list[Box]:
    height, width = size
    boxes = []
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        if not line.strip():
            continue
        values = [as_number(text) for text in line.split()]
        reason = None
        if len(values) != 5 or None in values:
            reason = "should have a class and four numbers: centre across, centre down, width, height"
        else:
            kind, *shares = (value or 0.0 for value in values)
            if kind != int(kind) or not 0 <= kind < len(found.class_names):
                reason = f"is of class {kind:g}; there are 0 to {len(found.class_names) - 1}"
            elif max(map(abs, shares)) > 2:
                reason = f"has {line.strip()}; expected shares of the image, 0 to 1, not pixels"
        if reason is not None:
            found.problems.append(BadBox(str(file), f"line {number} {reason}"))
            continue
        x, y, across, down = shares
        edges = ((x - across / 2) * width, (y - down / 2) * height, (x + across / 2) * width, (y + down / 2) * height)
        boxes.append(Box(*edges, found.class_names[int(kind)], f"line {number}"))
    return boxes
