"""Images with a box around each object as Python: folders as COCO, Pascal VOC and YOLO have them, tables, TFDS sets."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cnnkit.config.boxes.layouts import find_places
from cnnkit.config.boxes.listing import BoxListing, listing_of
from cnnkit.config.boxes.parts import Place
from cnnkit.config.boxes.yolo import yolo_names
from cnnkit.config.cells import read_cells
from cnnkit.config.class_names import same_for
from cnnkit.config.data import DataConfig
from cnnkit.config.dataset import DataSetInfo, known_name, prepared_folder
from cnnkit.config.known_data_sets import KNOWN_BOXES
from cnnkit.config.prepared import read_prepared_boxes
from cnnkit.config.split_folders import SPLIT_WORDS
from cnnkit.config.table import IMAGE_COLUMN
from cnnkit.data.images import CorruptFiles
from cnnkit.eject.image_files import image_constants, image_opener, resizer_name
from cnnkit.eject.own_test import own_test, tfds_name
from cnnkit.eject.source_text import SourceText
from cnnkit.eject.tables import NORMAL, ROWS, refuse_groups
from cnnkit.eject.text import commented, copied, literal, wrapped
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

_TABLE = '''\
def annotated_images(%(argument)s):
    """The images of %(what)s, and their boxes; see `sorted_arrays`.%(note)s"""
%(rows)s    names, found = [normal(name) for name in CLASS_NAMES], {}
    for row in (dict(zip(header, cells)) for cells in rows):
%(condition)s        of_image = found.setdefault(os.path.normpath(row[%(image)s]), [])
        numbers = [row[name] for name in %(columns)s]
        # An image without objects has a row without a box.
        if any(numbers):
            left, top, %(far)s = map(float, numbers)
            number = names.index(normal(row[%(target)s]))
            of_image.append((left, top, %(edges)s, number, %(crowd)s))
    folder = os.path.dirname(DATA)
    return sorted_arrays([(os.path.join(folder, image), boxes) for image, boxes in found.items()])
'''

_OTHER_SPLIT = """\
        if SPLIT_WORDS[row[%(split)s].lower()] != split:
            continue
"""

#: As keras-retinanet writes tables.
_ROWS_WITHOUT_HEADER = """\
    with open(DATA, encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file, delimiter=%(delimiter)s, skipinitialspace=True)
        rows = [[cell.strip() for cell in cells] for cells in lines if any(map(str.strip, cells))]
    header = %(header)s
"""

_ARRAYS = '''\
def sorted_arrays(found):
    """Image files, [n], sorted by their paths, and the boxes of each, float64 [n, most, 6].

    Of each box: left, top, right, bottom, the number of its class (-1 where there is no box), and 1 for a crowd, of
    which nothing is learned. A box that an image has twice counts once.
    """
    found = sorted(found, key=lambda one: os.path.relpath(one[0], DATA))
    files = np.array([str(file) for file, _ in found], object)
    return files, as_array([list(dict.fromkeys(boxes)) for _, boxes in found])
'''

_ARRAY = '''\
def as_array(each):
    """The boxes of each image as one array, float64 [n, most, 6]; what fills it up is of class -1."""
    boxes = np.zeros((len(each), max([1, *map(len, each)]), 6))
    boxes[..., 4] = -1
    for row, of_image in zip(boxes, each):
        for place, box in enumerate(of_image):
            row[place] = box
    return boxes
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


_LOAD_RECORDS = '''\
def load(split):
    """The images of a slice in the order of its files, uint8 [n, %(shape)s], and boxes, float32 [n, most, 6].

    Of each box: left, top, right, bottom in pixels, the number of its class (-1 where there is no box), and 1 for a
    crowd, or what is hard to see, of which nothing is learned. Boxes of no area are left out.
    """
    config = tfds.ReadConfig(interleave_cycle_length=1)
    images, found = [], []
    for row in tfds.load(DATA, split=split, read_config=config):
        image, objects = row[%(image)s], row[%(objects)s]
        height, width = image.shape[:2]
        # TFDS has shares of the image, the upper edge first.
        edges = np.asarray(objects[%(box)s], float)[:, [1, 0, 3, 2]] * [width, height, width, height]
%(first)s        numbers = np.asarray(objects[%(label)s])
        crowd = %(crowd)s
        boxes = np.column_stack([edges, numbers, crowd])
        boxes = boxes[(boxes[:, 2:4] > boxes[:, :2]).all(axis=1)]
        boxes[:, :4] = placed(boxes[:, :4], (height, width), (%(size)s), %(resize)s)
        images.append(resized(image, %(size)s, %(resize)s).numpy())
        found.append(boxes[(boxes[:, 2:4] > boxes[:, :2]).all(axis=1)])
    return np.stack(images), as_array(found).astype(np.float32)
'''

_FROM_ONE = """\
        edges[:, :2] = np.maximum(edges[:, :2] - 1, 0)  # The set counts pixels from 1.
"""


def write_boxes(config: DataConfig, info: DataSetInfo) -> SourceText:
    """The text that reads a folder, a table or a TFDS set of annotated images.

    Raises:
        CnnkitError: if boxes or images cannot be used.
        UsageError: if a set is not here, or a table names groups.
    """
    if config.folder is None and config.table is None:
        return _write_records(config, info)
    if config.table is not None:
        refuse_groups(config)
    listing = info.listing if isinstance(info.listing, BoxListing) else listing_of(config)
    if listing.problems:
        # Also where corrupt images are to be left out: it would be divided otherwise with those that are not listed.
        raise CorruptFiles(listing.problems)
    source = _of_folder(config, listing) if config.table is None else _of_table(config)
    names = [*wrapped(f"CLASS_NAMES = {literal(list(listing.class_names))}"), "CLASSES = len(CLASS_NAMES)"]
    return SourceText(
        [source.constants[0], *names, *source.constants[1:], *image_constants(config)],
        [_BAD_BOX, *source.functions, _ARRAYS, _ARRAY, *_readers(config, info, source.has_shares)],
        set(listing.splits),
        ("paths", "boxes"),
        source.listed,
        reader="load",
    )


@dataclass(frozen=True)
class _Listed:
    """What a script needs to list images and boxes.

    Attributes:
        constants: The first says where the data are.
        functions: The last is `annotated_images`.
        listed: An expression that calls it, for a split.
        has_shares: Whether edges are shares of their images, in place of pixels.
    """

    constants: list[str]
    functions: list[str]
    listed: Callable[[str], str]
    has_shares: bool


def _of_folder(config: DataConfig, listing: BoxListing) -> _Listed:
    """Of one of the usual formats."""
    kind, places = find_places(listing.root, config.max_megapixels)
    constants, functions = commented(f"DATA = {literal(str(listing.root))}", "a folder of annotated images"), []
    if kind != "COCO":
        constants += wrapped(f"IMAGE_SUFFIXES = {literal(IMAGE_SUFFIXES)}")
        functions += [copied("cnnkit.images.files", ["image_files"]) + "\n", _IMAGES_IN]

    def listed(split: str) -> str:
        place = places[split]
        paths = [place.images, place.annotations, *([place.names] if place.names is not None else [])]
        arguments = [literal(_relative(path, listing.root)) for path in paths]
        if kind == "YOLO" and yolo_names(place) != tuple(listing.class_names):
            # Their numbers in the files are others than the network's.
            arguments.append(literal(list(yolo_names(place))))
        return f"annotated_images({', '.join(arguments)})"

    return _Listed(constants, [*functions, _lister(kind, places)], listed, kind == "YOLO")


def _of_table(config: DataConfig) -> _Listed:
    assert config.table is not None
    assert config.boxes is not None
    assert config.target is not None
    columns, split = config.boxes, config.split
    header, cells, delimiter = read_cells(Path(config.table).expanduser(), {})
    has_header = cells[0][0] > 1
    rows = {"delimiter": literal(delimiter), "before": "", "header": literal(header)}
    across, down = columns.right is None, columns.bottom is None
    crowd = "0" if columns.crowd is None else f'row[{literal(same_for(columns.crowd))}].lower() in ("1", "true")'
    target = config.target if isinstance(config.target, str) else config.target[0]
    names = {
        "argument": "" if split is None else "split",
        "what": "the table" if split is None else "a split of the table",
        "note": " The edges of boxes are shares of their images." if columns.unit == "shares" else "",
        "rows": (ROWS if has_header else _ROWS_WITHOUT_HEADER) % rows,
        "condition": "" if split is None else _OTHER_SPLIT % {"split": literal(same_for(split))},
        "image": literal(same_for(config.image or IMAGE_COLUMN)),
        "columns": literal([same_for(name) for name in columns.names]),
        "far": f"{'width' if across else 'right'}, {'height' if down else 'bottom'}",
        "target": literal(same_for(target)),
        "edges": f"{'left + width' if across else 'right'}, {'top + height' if down else 'bottom'}",
        "crowd": crowd,
    }
    constants = commented(f"DATA = {literal(config.table)}", "a table of annotated images")
    constants += [] if split is None else wrapped(f"SPLIT_WORDS = {literal(SPLIT_WORDS)}")

    def listed(part: str) -> str:
        return f"annotated_images({literal(part) if split is not None else ''})"

    return _Listed(constants, [NORMAL, _TABLE % names], listed, columns.unit == "shares")


def _write_records(config: DataConfig, info: DataSetInfo) -> SourceText:
    """The text that reads a prepared TFDS set."""
    assert config.name is not None
    folder, known = prepared_folder(config.name), KNOWN_BOXES.get(known_name(config.name))
    if folder is None:
        raise UsageError(
            f"nothing here says what `{config.name}` calls its boxes and classes, which the script is to read",
            f"Fetch the data set first: cnnkit data prepare {config.name}",
        )
    facts = read_prepared_boxes(folder)
    height, width, channels = info.shape
    objects, label = facts["label"].split("/")
    crowd = None if facts["crowd"] is None else facts["crowd"].split("/")[1]
    names = {
        "shape": f"{height}, {width}, {channels}",
        "image": literal(facts["image"]),
        "objects": literal(objects),
        "label": literal(label),
        "box": literal(facts["box"].split("/")[1]),
        "crowd": "np.zeros(len(numbers))" if crowd is None else f"np.asarray(objects[{literal(crowd)}])",
        "first": _FROM_ONE if known is not None and known.first else "",
        "size": f"{height}, {width}",
        "resize": literal("stretch" if config.image_size is None else config.resize),
    }
    found, finds_test = own_test(config, facts, known is not None, "images", "boxes", "(boxes[..., 4] >= 0).any()")
    return SourceText(
        [
            *commented(f"DATA = {literal(tfds_name(config.name))}", "a data set of tensorflow-datasets"),
            *wrapped(f"CLASS_NAMES = {literal(list(info.target.all_names))}"),
        ],
        [
            copied("cnnkit.data.tfds", ["resized"]) + "\n",
            copied("cnnkit.images.boxes", ["frame_of"]) + "\n",
            copied("cnnkit.data.boxes", ["placed"]) + "\n",
            _ARRAY,
            _LOAD_RECORDS % names,
            *found,
        ],
        set(facts["splits"]),
        ("images", "boxes"),
        lambda split: f"load({literal(split)})",
        finds_test,
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


def _readers(config: DataConfig, info: DataSetInfo, has_shares: bool) -> list[str]:
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
        "shares": "    edges = edges * [width, height, width, height]\n" if has_shares else "",
        "resize": resize,
        "gone": _GONE if resizer is not None and config.resize == "crop" else "",
        "grey": "[..., None]" if channels == 1 else "",
        "read": _READ_READABLE if config.skip_corrupt else _READ_ALL,
        "note": "\n\n    Images that cannot be read are left out.\n    " if config.skip_corrupt else "",
    }
    return [*image_opener(config, channels), *functions, _READ % names, _LOAD % names]
