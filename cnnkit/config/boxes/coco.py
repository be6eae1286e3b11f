"""Annotations in the format of COCO: one JSON file for a split."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cnnkit.config.boxes.parts import Annotations, Place, as_number, read_text
from cnnkit.config.data import DataProblem
from cnnkit.images.boxes import BadBox, Box, problem_of
from cnnkit.terminal.printable import printable

#: The lists that a file has to have.
_LISTS = ("images", "annotations", "categories")


def read_coco(place: Place) -> Annotations:
    """The images and boxes of a split.

    Classes are in the order of their ids, which may begin with any number and have gaps. `iscrowd` may be missing.

    Raises:
        DataProblem: if the file as a whole is not one of COCO's.
    """
    file = place.annotations
    document = _document(file)
    found = Annotations()
    names = _categories(file, document["categories"])
    found.class_names = tuple(names[number] for number in sorted(names))
    images = _images(file, document["images"], found)
    boxes = _boxes(file, document["annotations"], names, images, found)
    numbers: dict[str, Any] = {}
    for number, entry in sorted(images.items(), key=lambda item: str(item[1]["file_name"])):
        path = _image_path(place, str(entry["file_name"]))
        if path is None:
            found.problems.append(BadBox(str(file), f"the image `{entry['file_name']}` (id {number}) is not there"))
            continue
        other = numbers.setdefault(path, number)
        if other != number:
            reason = f"the images with the ids {other} and {number} are the same file, `{path}`; keep one"
            found.problems.append(BadBox(str(file), reason))
            continue
        size = _size(entry) or found.size_of(place, path)
        if size is not None:
            found.add(path, size, boxes[number], str(file))
    _tell_corners(file, found, [box for of_image in boxes.values() for box in of_image], images, boxes)
    return found


def is_coco(file: Path) -> bool:
    """Whether a file is one of COCO's, and not any other of JSON."""
    try:
        _document(file)
    except DataProblem:
        return False
    return True


def _document(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(read_text(file))
    except (ValueError, RecursionError) as error:
        raise DataProblem(f"`{file}` is not JSON: {error}", "folder") from None
    missing = [name for name in _LISTS if not isinstance(document, dict) or not isinstance(document.get(name), list)]
    if missing:
        lists = ", ".join(f"`{name}`" for name in missing)
        raise DataProblem(f"`{file}` is not in COCO's format: it has no list {lists}", "folder")
    for name in _LISTS:
        if not all(isinstance(entry, dict) for entry in document[name]):
            raise DataProblem(f"`{file}` is not in COCO's format: `{name}` should hold mappings", "folder")
    whole: dict[str, Any] = document
    return whole


def _categories(file: Path, entries: list[dict[str, Any]]) -> dict[int, str]:
    """The name of each id."""
    names: dict[int, str] = {}
    for entry in entries:
        number, name = entry.get("id"), entry.get("name")
        if not isinstance(number, int) or not _is_id(number) or not isinstance(name, str) or not name.strip():
            raise DataProblem(f"`{file}`: a category needs a whole number `id` and a `name`, got {entry}", "folder")
        if number in names:
            raise DataProblem(
                f"`{file}`: two categories have the id {number}, `{names[number]}` and `{name}`", "folder"
            )
        if name in names.values():
            raise DataProblem(f"`{file}`: two categories have the name `{name}`", "folder")
        names[number] = printable(name)
    if not names:
        raise DataProblem(f"`{file}` has no categories", "folder")
    return names


def _images(file: Path, entries: list[dict[str, Any]], found: Annotations) -> dict[Any, dict[str, Any]]:
    """The images by id."""
    images: dict[Any, dict[str, Any]] = {}
    for entry in entries:
        number, name = entry.get("id"), entry.get("file_name")
        if not _is_id(number) or not isinstance(name, str) or not name:
            reason = f"an image needs an `id`, a number or text, and a `file_name`, got {entry}"
            found.problems.append(BadBox(str(file), reason))
        elif number in images:
            reason = f"two images have the id {number}, `{images[number]['file_name']}` and `{name}`"
            found.problems.append(BadBox(str(file), reason))
        else:
            images[number] = entry
    return images


def _boxes(
    file: Path,
    entries: list[dict[str, Any]],
    names: Mapping[int, str],
    images: Mapping[Any, Any],
    found: Annotations,
) -> dict[Any, list[Box]]:
    """The boxes of each image."""
    boxes: dict[Any, list[Box]] = defaultdict(list)
    seen: set[Any] = set()
    for index, entry in enumerate(entries):
        number = entry.get("id")
        label = f"annotation {number}" if number is not None else f"the annotation at place {index}"
        numbers = _numbers(entry)
        reason = _strange_id(entry)
        if reason is None:
            if number is not None and number in seen:
                reason = "has the id of another annotation"
            elif entry["image_id"] not in images:
                reason = f"belongs to the image {entry['image_id']!r}, which is not in `images`"
            elif entry["category_id"] not in names:
                reason = f"is of the category {entry['category_id']!r}, which is not in `categories`"
            elif len(numbers) != 4 or None in numbers:
                reason = (
                    "should have a `bbox` of four numbers [left, top, width, height], each below 1e9, got "
                    f"{entry.get('bbox')}"
                )
            elif entry.get("iscrowd") not in (None, 0, 1):
                reason = f"should have an `iscrowd` of 0 or 1, got {entry['iscrowd']!r}"
            seen.add(number)
        if reason is not None:
            found.problems.append(BadBox(str(file), f"{label} {reason}"))
            continue
        left, top, width, height = (value or 0.0 for value in numbers)
        crowd = bool(entry.get("iscrowd"))
        name = names[entry["category_id"]]
        boxes[entry["image_id"]].append(Box(left, top, left + width, top + height, name, label, crowd))
    return boxes


def _numbers(entry: Mapping[str, Any]) -> list[float | None]:
    box = entry.get("bbox")
    return [as_number(value) for value in box] if isinstance(box, list) else []


def _strange_id(entry: Mapping[str, Any]) -> str | None:
    """Which of an annotation's ids is none; its own may be missing."""
    for name in ("image_id", "category_id", "id"):
        value = entry.get(name)
        if not _is_id(value) and not (name == "id" and value is None):
            return f"should have a number or text as its `{name}`, got {value}"
    return None


def _is_id(value: Any) -> bool:
    return isinstance(value, int | float | str) and not isinstance(value, bool)


def _image_path(place: Place, name: str) -> str | None:
    """An image's file relative to the data set's folder; None where there is none."""
    for folder in dict.fromkeys((place.images, place.annotations.parent, place.root)):
        for candidate in (folder / name, folder / os.path.basename(name)):
            if candidate.is_file():
                return os.path.relpath(candidate, place.root)
    return None


def _size(entry: Mapping[str, Any]) -> tuple[int, int] | None:
    height, width = entry.get("height"), entry.get("width")
    if isinstance(height, int) and isinstance(width, int) and min(height, width) > 0:
        return height, width
    return None


def _tell_corners(
    file: Path, found: Annotations, every: list[Box], images: Mapping[Any, dict[str, Any]], boxes: Mapping[Any, Any]
) -> None:
    """Where boxes lie outside of their images, and none would if their numbers were edges, says so."""
    sizes = {number: _size(entry) for number, entry in images.items()}
    outside = as_edges = 0
    for number, of_image in boxes.items():
        size = sizes.get(number)
        if size is None:
            continue
        for box in of_image:
            outside += problem_of(box.edges, size) is not None
            edges = (box.left, box.top, box.right - box.left, box.bottom - box.top)
            as_edges += problem_of(edges, size) is None
    if outside and as_edges == len(every):
        reason = (
            f"{outside:,} boxes lie outside of their images as [left, top, width, height], and none would as [left, "
            "top, right, bottom]; COCO's `bbox` has the width and the height, so subtract left and top"
        )
        found.problems.insert(0, BadBox(str(file), reason))
