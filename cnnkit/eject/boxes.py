"""Images with a box around each object as Python: folders in the formats of COCO, Pascal VOC and YOLO."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from cnnkit.config.boxes.layouts import find_places
from cnnkit.config.boxes.listing import BoxListing, listing_of
from cnnkit.config.boxes.parts import Place
from cnnkit.config.boxes.yolo import yolo_names
from cnnkit.config.data import DataConfig
from cnnkit.config.dataset import DataSetInfo
from cnnkit.data.images import CorruptFiles
from cnnkit.eject.image_files import image_constants, image_opener, resizer_name
from cnnkit.eject.source_text import SourceText
from cnnkit.eject.text import copied, literal, wrapped
from cnnkit.errors import UsageError
from cnnkit.images.formats import IMAGE_SUFFIXES

_COCO = '''\
def annotated_images(folder, file):
    """The images of a COCO file, and their boxes; see `sorted_arrays`."""
    document = json.loads(Path(DATA, file).read_text("utf-8-sig"))
    names = {one["id"]: one["name"] for one in document["categories"]}
    boxes = collections.defaultdict(list)
    for one in document["annotations"]:
        left, top, width, height = map(float, one["bbox"])
        number = CLASS_NAMES.index(names[one["category_id"]])
        crowd = bool(one.get("iscrowd"))
        boxes[one["image_id"]].append((left, top, left + width, top + height, number, crowd))

    def path(name):
        folders = Path(DATA, folder), Path(DATA, file).parent, Path(DATA)
        places = [parent / part for parent in folders for part in (name, os.path.basename(name))]
        return next((place for place in places if place.is_file()), places[0])

    return sorted_arrays([(path(one["file_name"]), boxes[one["id"]]) for one in document["images"]])
'''

_IMAGES_IN = '''\
def images_in(folder):
    """The image files of a folder, by their names without endings."""
    place = Path(DATA, folder)
    return {Path(file).relative_to(place).with_suffix("").as_posix(): file for file in image_files(place)[0]}
'''

_VOC = '''\
def annotated_images(folder, annotations%(argument)s):
    """The images of %(what)s, and their boxes; see `sorted_arrays`."""
    files, found = images_in(folder), []
%(listed)s    for name in names:
        boxes = []
        for one in ElementTree.parse(Path(DATA, annotations, f"{name}.xml")).iter("object"):
            edges = ("xmin", "ymin", "xmax", "ymax")
            left, top, right, bottom = (float(one.findtext(f"bndbox/{edge}")) for edge in edges)
            number = CLASS_NAMES.index(one.findtext("name").strip())
            difficult = (one.findtext("difficult") or "0").strip() == "1"
            # VOC counts pixels from 1, and the last one belongs to the box.
            boxes.append((left - 1, top - 1, right, bottom, number, difficult))
        found.append((files[name], boxes))
    return sorted_arrays(found)
'''

_VOC_LISTED = """\
    lines = Path(DATA, listed).read_text("utf-8-sig").splitlines()
    names = sorted({line.split()[0] for line in lines if line.strip()})
"""

_YOLO = '''\
def annotated_images(folder, labels, names=CLASS_NAMES):
    """The images of a folder, and their boxes; see `sorted_arrays`. The edges of boxes are shares of their images."""
    found = []
    for name, file in images_in(folder).items():
        source, boxes = Path(DATA, labels, f"{name}.txt"), []
        # An image without a file has no objects.
        for line in source.read_text("utf-8-sig").splitlines() if source.is_file() else []:
            if line.strip():
                number, x, y, width, height = map(float, line.split())
                edges = x - width / 2, y - height / 2, x + width / 2, y + height / 2
                boxes.append((*edges, CLASS_NAMES.index(names[int(number)]), 0))
        found.append((file, boxes))
    return sorted_arrays(found)
'''

_ARRAYS = '''\
def sorted_arrays(found):
    """Image files, [n], sorted by their paths, and the boxes of each, float64 [n, most, 6].

    Of each box: left, top, right, bottom, the number of its class (-1 where there is no box), and 1 for a crowd, of
    which nothing is learned.
    """
    found = sorted(found, key=lambda one: os.path.relpath(one[0], DATA))
    boxes = np.zeros((len(found), max([1, *(len(of_image) for _, of_image in found)]), 6))
    boxes[..., 4] = -1
    for row, (_, of_image) in zip(boxes, found):
        for place, box in enumerate(of_image):
            row[place] = box
    return np.array([str(file) for file, _ in found], object), boxes
'''

_READ = '''\
def read_annotated(path, boxes):
    """An image file, uint8 [%(shape)s], and its boxes in pixels of that, float32 [most, 6]."""
    image = open_image(path)
    width, height = image.size
    edges, there = boxes[:, :4], boxes[:, 4] >= 0
%(shares)s    edges = np.clip(edges, 0, [width, height, width, height])
    if (edges[there, 2:] <= edges[there, :2]).any():
        raise BadBox(f"{path!a} has boxes of no area, or outside of it: {boxes[there, :4].tolist()}")
%(resize)s    boxes = np.concatenate([edges, boxes[:, 4:]], axis=1).astype(np.float32)
%(gone)s    return np.asarray(image, np.uint8)%(grey)s, boxes
'''

_RESIZE = """\
    if image.size != (%(columns)s, %(rows)s):
        image = %(resizer)s(image, %(columns)s, %(rows)s)
    edges = placed(edges, (height, width), (%(rows)s, %(columns)s), %(how)s)
"""

_GONE = """\
    # What is not in the middle that was cut out is no box any more.
    boxes[(boxes[:, 2:4] <= boxes[:, :2]).any(axis=1), 4] = -1
"""

_BAD_BOX = '''\
class BadBox(ValueError):
    """A box that no network can learn from."""
'''

_LOAD = '''\
def load(paths, boxes):
    """The images of files, uint8 [n, %(shape)s], and their boxes, float32 [n, most, 6].%(note)s"""
%(read)s
    images, boxes = (np.stack(parts) for parts in zip(*read))
    return images, boxes
'''

_READ_ALL = "    read = [read_annotated(path, of_image) for path, of_image in zip(paths, boxes)]"

_READ_READABLE = """\
    read = []
    for path, of_image in zip(paths, boxes):
        try:
            read.append(read_annotated(path, of_image))
        except BadBox:
            raise
        except Exception as error:
            print(f"left out {path!a}: {error!a}")"""


def write_boxes(config: DataConfig, info: DataSetInfo) -> SourceText:
    """The text that reads a folder of annotated images.

    Raises:
        CnnkitError: if boxes or images cannot be used.
        UsageError: if they are in no folder.
    """
    _check_is_folder(config)
    listing = info.listing if isinstance(info.listing, BoxListing) else listing_of(config)
    if listing.problems:
        # Also where corrupt images are to be left out: it would be divided otherwise with those that are not listed.
        raise CorruptFiles(listing.problems)
    kind, places = find_places(listing.root, config.max_megapixels)
    constants = [f"DATA = {literal(str(listing.root))}  # a folder of annotated images"]
    constants += [*wrapped(f"CLASS_NAMES = {literal(list(listing.class_names))}"), "CLASSES = len(CLASS_NAMES)"]
    functions = [_BAD_BOX]
    if kind != "COCO":
        constants += wrapped(f"IMAGE_SUFFIXES = {literal(IMAGE_SUFFIXES)}")
        functions += [copied("cnnkit.images.files", ["image_files"]) + "\n", _IMAGES_IN]
    functions += [_lister(kind, places), _ARRAYS, *_readers(config, info, kind)]

    def listed(split: str) -> str:
        place = places[split]
        paths = [place.images, place.annotations, *([place.names] if place.names is not None else [])]
        arguments = [literal(_relative(path, listing.root)) for path in paths]
        if kind == "YOLO" and yolo_names(place) != tuple(listing.class_names):
            # Their numbers in the files are others than the network's.
            arguments.append(literal(list(yolo_names(place))))
        return f"annotated_images({', '.join(arguments)})"

    constants += image_constants(config)
    return SourceText(constants, functions, set(listing.splits), ("paths", "boxes"), listed, reader="load")


def _check_is_folder(config: DataConfig) -> None:
    if config.table is not None:
        raise UsageError(
            f"no script reads boxes from a table (`data.table: {config.table}`), only from folders in the format of "
            "COCO, Pascal VOC or YOLO",
            "Write them as such a folder, `cnnkit data convert CONFIG NEW_FOLDER --to coco`, and name it with "
            "`data.folder`.",
        )
    if config.folder is None:
        raise UsageError(
            f"no script reads boxes from a set of TFDS (`data.name: {config.name}`), only from folders in the format "
            "of COCO, Pascal VOC or YOLO",
            "Get the set in its own format, and name its folder with `data.folder`; or train with cnnkit.",
        )


def _relative(path: Path, root: Path) -> str:
    return Path(os.path.relpath(path, root)).as_posix()


def _lister(kind: str, places: Mapping[str, Place]) -> str:
    """The function that lists the images of a split with their boxes."""
    if kind == "COCO":
        return _COCO
    if kind == "YOLO":
        return _YOLO
    if any(place.names is not None for place in places.values()):
        return _VOC % {"argument": ", listed", "what": "a list of such", "listed": _VOC_LISTED}
    return _VOC % {"argument": "", "what": "a folder", "listed": "    names = files\n"}


def _readers(config: DataConfig, info: DataSetInfo, kind: str) -> list[str]:
    """The functions that read an image with its boxes, and many."""
    height, width, channels = info.shape
    resizer, resize, functions = resizer_name(config), "", []
    if resizer is not None:
        names = {"columns": width, "rows": height, "resizer": resizer, "how": literal(config.resize)}
        resize = _RESIZE % names
        functions.append(copied("cnnkit.images.boxes", ["frame_of"]) + "\n")
        functions.append(copied("cnnkit.data.boxes", ["placed"]) + "\n")
    names = {
        "shape": f"{height}, {width}, {channels}",
        "shares": "    edges = edges * [width, height, width, height]\n" if kind == "YOLO" else "",
        "resize": resize,
        "gone": _GONE if resizer is not None and config.resize == "crop" else "",
        "grey": "[..., None]" if channels == 1 else "",
        "read": _READ_READABLE if config.skip_corrupt else _READ_ALL,
        "note": "\n\n    Images that cannot be read are left out.\n    " if config.skip_corrupt else "",
    }
    return [*image_opener(config, channels), *functions, _READ % names, _LOAD % names]
