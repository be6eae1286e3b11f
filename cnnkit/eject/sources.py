"""Where a script's samples come from, as Python: a folder, a table, TensorFlow Datasets, or the digits."""

from __future__ import annotations

from cnnkit.config.data import DataConfig
from cnnkit.config.dataset import DataSetInfo
from cnnkit.config.image_folder import ImageFolder, list_image_folder
from cnnkit.config.table import read_image_table
from cnnkit.eject.boxes import write_boxes
from cnnkit.eject.image_files import image_constants, image_reader
from cnnkit.eject.masks import write_pairs
from cnnkit.eject.records import write_mask_records, write_records
from cnnkit.eject.source_text import SourceText
from cnnkit.eject.tables import write_table
from cnnkit.eject.text import commented, copied, literal, wrapped
from cnnkit.eject.texts import write_texts
from cnnkit.images.formats import IMAGE_SUFFIXES

_DIGITS = '''\
def load():
    """The 1,797 digits of scikit-learn: uint8 [n, 8, 8, 1], and labels, int64 [n]."""
    images, labels = load_digits(return_X_y=True)
    images = np.rint(images * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
    return images, labels.astype(np.int64)
'''

_FOLDER = '''\
def image_paths(folder, class_folders=CLASS_NAMES):
    """The image files of a folder of class folders, [n], and their labels, int64 [n]."""
    found = [image_files(Path(folder, name))[0] for name in class_folders]
    paths = np.array([path for paths in found for path in paths], object)
    return paths, np.repeat(np.arange(CLASSES), [len(paths) for paths in found])


'''


def write_source(config: DataConfig, info: DataSetInfo) -> SourceText:
    """The text that reads the images or texts of a config.

    Raises:
        UsageError: if it cannot.
    """
    if info.target.per_pixel:
        return write_mask_records(config, info) if config.folder is None else write_pairs(config, info)
    if info.target.boxed:
        return write_boxes(config, info)
    if config.text is not None and config.table is None:
        return write_texts(config, info)
    if config.folder is not None:
        listing = info.listing if isinstance(info.listing, ImageFolder) else None
        return _folder(config, listing or list_image_folder(config.folder), info)
    if config.table is not None:
        return write_table(config, info.table or read_image_table(config, type(info.target)), info)
    if config.name == "digits":
        return SourceText([], [_DIGITS], {"train"}, ("images", "labels"), lambda split: "load()")
    return write_records(config, info)


def _folder(config: DataConfig, listing: ImageFolder, info: DataSetInfo) -> SourceText:
    constants = commented(f"DATA = {literal(str(listing.root))}", "a folder of class folders")
    constants += wrapped(f"CLASS_NAMES = {literal(list(listing.class_names))}")
    constants += ["CLASSES = len(CLASS_NAMES)", *wrapped(f"IMAGE_SUFFIXES = {literal(IMAGE_SUFFIXES)}")]
    readers = image_reader(config, info.shape)
    functions = [copied("cnnkit.images.files", ["image_files"]) + "\n", *readers[:-1], _FOLDER + readers[-1]]

    def listed(split: str) -> str:
        folder = listing.split_folders.get(split)
        place = f"Path(DATA, {literal(folder.relative_to(listing.root).as_posix())})" if folder is not None else "DATA"
        # A folder may be spelled otherwise than its class is shown, and otherwise in each split.
        names = [path.name for path in listing.class_folders[split]]
        return f"image_paths({place}{'' if names == list(listing.class_names) else f', {literal(names)}'})"

    constants += image_constants(config)
    return SourceText(constants, functions, set(listing.splits), ("paths", "labels"), listed, reader="load")
