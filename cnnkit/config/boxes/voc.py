"""Annotations in the format of Pascal VOC: an XML file for each image."""

from __future__ import annotations

import os
from pathlib import Path
from xml.etree import ElementTree

from cnnkit.config.boxes.layouts import images_in
from cnnkit.config.boxes.parts import Annotations, Place, as_number, read_text
from cnnkit.images.boxes import BadBox, Box
from cnnkit.images.files import folders_in
from cnnkit.terminal.printable import printable

#: The edges, in the order of the format.
_EDGES = ("xmin", "ymin", "xmax", "ymax")


def read_voc(place: Place) -> Annotations:
    """The images and boxes of a split.

    VOC counts pixels from 1, and `xmax` and `ymax` are the last ones inside: a box that covers an image of 100 columns
    has `xmin` 1 and `xmax` 100. Objects that are marked as difficult do not count, as in VOC's own evaluation. Classes
    are sorted by name.

    Raises:
        OSError: if a folder cannot be read.
    """
    found = Annotations()
    images, doubles = images_in(place)
    listed = _listed(place) or list(images)
    wanted = {images[name] for name in listed if name in images}
    found.tell_doubles({file: other for file, other in doubles.items() if other in wanted})
    names: set[str] = set()
    for name in listed:
        source = place.annotations / f"{name}.xml"
        if name not in images:
            found.problems.append(BadBox(str(place.names), f"the image `{name}` is not in `{place.images}`"))
            continue
        file = os.path.relpath(images[name], place.root)
        if not source.is_file():
            found.problems.append(BadBox(str(images[name]), f"has no annotations: `{source}` is not there"))
            continue
        root = _parsed(source, found)
        size = None if root is None else _size(root) or found.size_of(place, file)
        if root is None or size is None:
            continue
        boxes = _boxes(source, root, found)
        names |= {box.name for box in boxes}
        found.add(file, size, boxes, str(source))
    if place.names is None:
        _tell_lone(place, set(images), found)
    found.class_names = tuple(sorted(names))
    return found


def _listed(place: Place) -> list[str]:
    """The names of a list of images, one a line; what follows a name is not read."""
    if place.names is None:
        return []
    return sorted({line.split()[0] for line in read_text(place.names).splitlines() if line.strip()})


def _parsed(file: Path, found: Annotations) -> ElementTree.Element | None:
    try:
        root = ElementTree.fromstring(read_text(file))
    except ElementTree.ParseError as error:
        found.problems.append(BadBox(str(file), f"is not XML: {error}"))
        return None
    if root.tag != "annotation":
        found.problems.append(BadBox(str(file), f"should hold an `annotation`, got `{root.tag}`"))
        return None
    return root


def _size(root: ElementTree.Element) -> tuple[int, int] | None:
    """(height, width), where the file says so; some tools write zeros."""
    height, width = (as_number(root.findtext(f"size/{name}")) for name in ("height", "width"))
    return (int(height), int(width)) if height and width else None


def _boxes(file: Path, root: ElementTree.Element, found: Annotations) -> list[Box]:
    boxes = []
    for index, entry in enumerate(root.iter("object"), start=1):
        name = printable((entry.findtext("name") or "").strip())
        label = f"object {index}"
        edges = [as_number(entry.findtext(f"bndbox/{edge}")) for edge in _EDGES]
        if not name or None in edges:
            needed = "a `name` and a `bndbox` with xmin, ymin, xmax and ymax"
            found.problems.append(BadBox(str(file), f"{label} needs {needed}"))
            continue
        left, top, right, bottom = (edge or 0.0 for edge in edges)
        difficult = (entry.findtext("difficult") or "0").strip() == "1"
        # The first pixel is number 1, and the last one belongs to the box.
        boxes.append(Box(left - 1, top - 1, right, bottom, name, f"{label} (`{name}`)", difficult))
    return boxes


def _tell_lone(place: Place, images: set[str], found: Annotations) -> None:
    """Files of annotations without an image."""
    for path in folders_in(place.annotations)[1]:
        if (
            path.suffix.lower() == ".xml"
            and path.stem not in images
            and not any(name.endswith(f"/{path.stem}") for name in images)
        ):
            found.problems.append(BadBox(str(path), f"has no image in `{place.images}`"))
