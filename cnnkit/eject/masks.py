"""Images with a mask each as Python: pairs of files by their names, and what is the same for all masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cnnkit.config.data import DataConfig
from cnnkit.config.dataset import DataSetInfo
from cnnkit.config.mask_folder import IMAGES, MASKS, MaskFolder, list_mask_folder
from cnnkit.config.mask_pairs import MASK_SUFFIXES
from cnnkit.data.images import CorruptFiles
from cnnkit.eject.image_files import image_constants, image_opener, resizer_name
from cnnkit.eject.source_text import SourceText
from cnnkit.eject.text import commented, copied, literal, wrapped
from cnnkit.images.formats import IMAGE_SUFFIXES
from cnnkit.images.padding import NO_PADDING

#: What functions that read masks raise.
BAD_MASK = '''\
class BadMask(ValueError):
    """A mask that no network can learn from."""
'''

_PAIRS = '''\
def image_pairs(%(argument)s):
    """The images of a %(what)s and their masks, files of the same names in `%(images)s` and `%(masks)s`, [n, 2]."""

    def by_name(kind):
        place = Path(%(place)s)
        return {os.path.splitext(os.path.relpath(file, place))[0]: file for file in image_files(place)[0]}

    images, masks = by_name("%(images)s"), by_name("%(masks)s")
%(suffixes)s    alone = images.keys() ^ masks.keys()
    if alone:
        raise BadMask(f"images without a mask, or masks without an image: {sorted(alone)!a}")
    return np.array([(images[name], masks[name]) for name in sorted(images)], object)
'''

_SUFFIXES = """\
    # What masks are called beyond the names of their images.
    for name in [name for name in masks if name not in images]:
        shorter = (name.removesuffix(suffix) for suffix in MASK_SUFFIXES)
        masks[next((short for short in shorter if short in images), name)] = masks.pop(name)
"""

_OPEN_MASK = '''\
def open_mask(path):
    """A mask file as an image of Pillow's: a byte a pixel, the number of its class."""
    with Image.open(path, formats=("PNG",)) as opened:
        if opened.mode not in ("1", "L", "P"):
            raise BadMask(f"{path!a} has no numbers of classes: its pixels are {opened.mode}")
        # Pillow spreads grey values of 2 and of 4 bits over 0..255.
        spread = {"L;2": 85, "L;4": 17}.get(str(opened.tile[0].args), 1)
        return Image.fromarray(np.asarray(ImageOps.exif_transpose(opened)).astype(np.uint8) // np.uint8(spread))
'''

_READ_PAIR = '''\
def read_pair(image_file, mask_file):
    """An image, uint8 [%(size)s, %(channels)s], and its mask, uint8 [%(size)s, 1], of files."""
    image, mask = open_image(image_file), open_mask(mask_file)
    if image.size != mask.size:
        raise BadMask(f"{mask_file!a} and its image differ in size: {mask.size}, {image.size}")
%(resize)s    return np.asarray(image, np.uint8)%(grey)s, np.asarray(mask)[..., None]
'''

_LOAD = '''\
def load(pairs):
    """The images of pairs of files, uint8 [n, %(shape)s], and their masks, uint8 [n, %(mask)s].%(note)s"""
%(read)s
    images, masks = (np.stack(parts) for parts in zip(*read))
%(check)s%(pad)s    return images, masks
'''

_READ_ALL = "    read = [read_pair(image, mask) for image, mask in pairs]"

_READ_READABLE = """\
    read = []
    for image, mask in pairs:
        try:
            read.append(read_pair(image, mask))
        except BadMask:
            raise
        except Exception as error:
            print(f"left out {image!a}: {error!a}")"""

_CHECK = """\
    strange = np.setdiff1d(masks, [%(known)s])
    if len(strange):
        raise BadMask(f"masks hold {strange}, but the classes are 0 to {CLASSES - 1}")
"""

_PAD = """\
    images = np.pad(images, ((0, 0), *PADDING, (0, 0)), "edge")
    masks = np.pad(masks, ((0, 0), *PADDING, (0, 0)), constant_values=IGNORE)
"""


def write_pairs(config: DataConfig, info: DataSetInfo) -> SourceText:
    """The text that reads a folder of images and masks.

    Raises:
        CnnkitError: if files have no other half.
    """
    assert config.folder is not None
    listing = info.listing if isinstance(info.listing, MaskFolder) else None
    listing = listing or list_mask_folder(config.folder, config.class_names)
    if listing.unpaired:
        raise CorruptFiles(listing.unpaired)
    constants = commented(f"DATA = {literal(str(listing.root))}", "a folder of images and masks")
    constants += [*wrapped(f"CLASS_NAMES = {literal(list(listing.class_names))}"), "CLASSES = len(CLASS_NAMES)"]
    constants += mask_constants(info)
    constants += wrapped(f"IMAGE_SUFFIXES = {literal(IMAGE_SUFFIXES)}")
    # Whether the splits are in the folders of images and masks, rather than these in those of splits.
    inside = len(listing.splits) > 1 and not _split_folder(listing.splits["train"])
    names = {"images": IMAGES, "masks": MASKS, "suffixes": ""}
    if inside:
        names |= {"argument": "split", "what": "split", "place": "DATA, kind, split"}
    else:
        names |= {"argument": "folder=DATA", "what": "folder", "place": "folder, kind"}
    if any(_stem(image) != _stem(mask) for pairs in listing.splits.values() for image, mask in pairs):
        constants += wrapped(f"MASK_SUFFIXES = {literal(MASK_SUFFIXES)}")
        names["suffixes"] = _SUFFIXES
    constants += image_constants(config)
    functions = [BAD_MASK, copied("cnnkit.images.files", ["image_files"]) + "\n", _PAIRS % names]
    functions += [*image_opener(config, info.shape[2]), _OPEN_MASK, *_readers(config, info)]

    def listed(split: str) -> str:
        if inside:
            return f"image_pairs({literal(Path(listing.splits[split][0][0]).parts[1])})"
        place = _split_folder(listing.splits[split])
        return f"image_pairs(Path(DATA, {literal(place)}))" if place else "image_pairs()"

    return SourceText(constants, functions, set(listing.splits), ("pairs",), listed, reader="load")


def _stem(path: str) -> str:
    """The path of a file in the folder `images` or `masks`, without its ending."""
    parts = Path(path).with_suffix("").parts
    place = next(number for number, part in enumerate(parts) if part in (IMAGES, MASKS))
    return "/".join(parts[place + 1 :])


def _split_folder(pairs: Sequence[tuple[str, str]]) -> str:
    """The folder of a split's pairs; empty for the root."""
    return next((first for image, _ in pairs if (first := Path(image).parts[0]) != IMAGES), "")


def mask_constants(info: DataSetInfo) -> list[str]:
    """What is the same for all masks."""
    constants = []
    if info.target.ignore is not None:
        constants.append(f"IGNORE = {info.target.ignore}  # the number in masks of pixels that do not count")
    if info.padding != NO_PADDING:
        top, bottom, left, right = info.padding
        constants.append(f"PADDING = {((top, bottom), (left, right))}  # rows above and below, columns left and right")
    return constants


def inner_size(info: DataSetInfo) -> tuple[int, int]:
    """Height and width of the images without their border."""
    top, bottom, left, right = info.padding
    return info.shape[0] - top - bottom, info.shape[1] - left - right


def check_and_pad(info: DataSetInfo) -> dict[str, str]:
    """The lines that check `masks`, and those that put a border around `images` and them, by name."""
    known = "*range(CLASSES)" + (", IGNORE" if info.target.ignore is not None else "")
    return {"check": _CHECK % {"known": known}, "pad": _PAD if info.padding != NO_PADDING else ""}


def _readers(config: DataConfig, info: DataSetInfo) -> list[str]:
    """The functions that read a pair, and many."""
    height, width, channels = info.shape
    rows, columns = inner_size(info)
    resizer, resize = resizer_name(config), ""
    if resizer is not None:
        fill = ", fill=IGNORE" if config.resize == "pad" else ""
        resize = (
            f"    if image.size != ({columns}, {rows}):\n"
            f"        image = {resizer}(image, {columns}, {rows})\n"
            f"        mask = {resizer}(mask, {columns}, {rows}, nearest=True{fill})\n"
        )
    names = {
        "size": f"{rows}, {columns}",
        "channels": channels,
        "resize": resize,
        "grey": "[..., None]" if channels == 1 else "",
        "shape": f"{height}, {width}, {channels}",
        "mask": f"{height}, {width}, 1",
        "read": _READ_READABLE if config.skip_corrupt else _READ_ALL,
        "note": "\n\n    Pairs that cannot be read are left out.\n    " if config.skip_corrupt else "",
        **check_and_pad(info),
    }
    return [_READ_PAIR % names, _LOAD % names]
