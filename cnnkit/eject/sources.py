"""Where a script's images come from, as Python: a folder, a table, TensorFlow Datasets, or the digits."""

from __future__ import annotations

from cnnkit.config.data import DataConfig
from cnnkit.config.dataset import DataSetInfo, known_name, prepared_folder, read_prepared, split_name
from cnnkit.config.image_folder import ImageFolder, list_image_folder
from cnnkit.config.known_data_sets import KNOWN
from cnnkit.config.table import read_image_table
from cnnkit.eject.image_files import image_constants, image_reader
from cnnkit.eject.masks import write_pairs
from cnnkit.eject.source_text import SourceText
from cnnkit.eject.tables import write_table
from cnnkit.eject.text import copied, literal, wrapped
from cnnkit.errors import UsageError
from cnnkit.images.formats import IMAGE_SUFFIXES

_DIGITS = '''\
def load():
    """The 1,797 digits of scikit-learn: uint8 [n, 8, 8, 1], and labels, int64 [n]."""
    images, labels = load_digits(return_X_y=True)
    images = np.rint(images * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
    return images, labels.astype(np.int64)
'''

_TFDS = '''\
def load(split):
    """The images of a slice in the order of its files, uint8 [n, %(shape)s], and labels, int64 [n]."""
    config = tfds.ReadConfig(interleave_cycle_length=1)
    data = tfds.load(DATA, split=split, %(supervised)sread_config=config)
    images, labels = next(iter(data%(resize)s.batch(len(data))))
    return images.numpy(), labels.numpy()
'''

_OWN_TEST = '''\
def load_test():
    """The images and labels of the first split for tests that has labels; None in a set without one."""
    for split in %(candidates)s:
        if split in tfds.builder(DATA).info.splits:
            images, labels = load(split)
            if labels.min() >= 0:
                return images, labels
    return None
'''

_RESIZE = """\
def resized(image, label):
    image = %(resize)s
    return tf.cast(tf.clip_by_value(tf.round(image), 0, 255), tf.uint8), label
"""

#: For each `data.resize`; `%s` is the size.
_RESIZES = {
    "stretch": "tf.image.resize(image, %s, antialias=True)",
    "pad": "keras.ops.image.resize(tf.cast(image, tf.float32), %s, antialias=True, pad_to_aspect_ratio=True)",
    "crop": "keras.ops.image.resize(tf.cast(image, tf.float32), %s, antialias=True, crop_to_aspect_ratio=True)",
}

_FOLDER = '''\
def image_paths(folder, class_folders=CLASS_NAMES):
    """The image files of a folder of class folders, [n], and their labels, int64 [n]."""
    found = [image_files(Path(folder, name))[0] for name in class_folders]
    paths = np.array([path for paths in found for path in paths], object)
    return paths, np.repeat(np.arange(CLASSES), [len(paths) for paths in found])


'''


def write_source(config: DataConfig, info: DataSetInfo) -> SourceText:
    """The text that reads the images of a config.

    Raises:
        UsageError: if it cannot.
    """
    if info.target.per_pixel and config.folder is None:
        raise UsageError(
            f"no script reads the masks of the TFDS set `{config.name}`",
            "Train it with cnnkit: cnnkit train CONFIG; or eject a config with a `folder:` of images and masks.",
        )
    if info.target.per_pixel:
        return write_pairs(config, info)
    if config.folder is not None:
        listing = info.listing if isinstance(info.listing, ImageFolder) else None
        return _folder(config, listing or list_image_folder(config.folder), info)
    if config.table is not None:
        return write_table(config, info.table or read_image_table(config, type(info.target)), info)
    if config.name == "digits":
        return SourceText([], [_DIGITS], {"train"}, ("images", "labels"), lambda split: "load()")
    return _tfds(config, info)


def _folder(config: DataConfig, listing: ImageFolder, info: DataSetInfo) -> SourceText:
    constants = [f"DATA = {literal(str(listing.root))}  # a folder of class folders"]
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


def _tfds(config: DataConfig, info: DataSetInfo) -> SourceText:
    assert config.name is not None
    height, width, channels = info.shape
    folder = prepared_folder(config.name)
    known = KNOWN.get(known_name(config.name))
    facts = read_prepared(folder) if folder is not None else None
    stored = facts["shape"] if facts else known.shape if known else (None, None)
    functions = []
    resize = ""
    if config.image_size is not None and stored[:2] != config.image_size:
        functions.append(_RESIZE % {"resize": _RESIZES[config.resize] % literal((height, width))})
        resize = ".map(resized)"
    supervised = "as_supervised=True, "
    if facts is not None and not facts["is_supervised"]:
        supervised = ""
        resize = f".map(lambda row: (row[{literal(facts['image'])}], row[{literal(facts['label'])}]))" + resize
    names = {"shape": f"{height}, {width}, {channels}", "resize": resize, "supervised": supervised}
    functions.append(_TFDS % names)
    splits = set(facts["splits"]) if facts else set()
    stated = (config.splits.train, config.splits.validation)
    # Of a set that is not here, nobody knows the splits.
    tests = [name for name in ("test", "validation") if name not in stated and (facts is None or name in splits)]
    # Where there are two, the first may have no labels; and so may that of a set that is hardly known.
    is_sure = facts is not None and known is not None and len(tests) < 2
    finds_test = bool(config.splits.test is None and tests and not is_sure)
    if finds_test:
        functions.append(_OWN_TEST % {"candidates": literal(tuple(tests))})
    return SourceText(
        [f"DATA = {literal(_tfds_name(config.name))}  # a data set of tensorflow-datasets"],
        functions,
        splits,
        ("images", "labels"),
        lambda split: f"load({literal(split)})",
        finds_test,
    )


def _tfds_name(name: str) -> str:
    """The name as TFDS wants it, with the configuration that is meant, and the version where it is stated."""
    version = split_name(name)[2]
    return known_name(name) + (f":{version}" if version else "")
