"""TFDS sets as Python: their images with a label or a mask each, in the order of their files."""

from __future__ import annotations

from cnnkit.config.data import DataConfig
from cnnkit.config.dataset import DataSetInfo, known_name, prepared_folder, read_prepared
from cnnkit.config.known_data_sets import KNOWN, KNOWN_MASKS
from cnnkit.config.prepared import read_prepared_masks
from cnnkit.eject.masks import BAD_MASK, check_and_pad, inner_size, mask_constants
from cnnkit.eject.own_test import own_test, tfds_name
from cnnkit.eject.source_text import SourceText
from cnnkit.eject.text import commented, copied, literal
from cnnkit.errors import UsageError

_TFDS = '''\
def load(split):
    """The images of a slice in the order of its files, uint8 [n, %(shape)s], and labels, int64 [n]."""
    config = tfds.ReadConfig(interleave_cycle_length=1)
    data = tfds.load(DATA, split=split, %(supervised)sread_config=config)
    images, labels = next(iter(data%(resize)s.batch(len(data))))
    return images.numpy(), labels.numpy()
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

_READ_MASKS = '''\
def read_pair(row):
    """An image, uint8 [%(size)s, %(channels)s], and its mask, uint8 [%(size)s, 1]."""
    image, mask = row[%(image)s], row[%(mask)s]%(first)s
    return resized(image, %(size)s, %(resize)s), resized_mask(mask, %(size)s, %(resize)s, fill=%(fill)s)
'''

_LOAD_MASKS = '''\
def load(split):
    """The images of a slice in the order of its files, uint8 [n, %(shape)s], and masks, uint8 [n, %(of_masks)s]."""
    config = tfds.ReadConfig(interleave_cycle_length=1)
    data = tfds.load(DATA, split=split, read_config=config).map(read_pair)
    images, masks = (part.numpy() for part in next(iter(data.batch(len(data)))))
%(check)s%(pad)s    return images, masks
'''

_OWN_TEST_MASKS = '''\
def load_test():
    """The images and masks of the first split for tests; None in a set without one."""
    for split in %(candidates)s:
        if split in tfds.builder(DATA).info.splits:
            return load(split)
    return None
'''


def write_records(config: DataConfig, info: DataSetInfo) -> SourceText:
    """The text that reads a labelled TFDS set."""
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
    found, finds_test = own_test(config, facts, known is not None, "images")
    return SourceText(
        commented(f"DATA = {literal(tfds_name(config.name))}", "a data set of tensorflow-datasets"),
        [*functions, *found],
        set(facts["splits"]) if facts else set(),
        ("images", "labels"),
        lambda split: f"load({literal(split)})",
        finds_test,
    )


def write_mask_records(config: DataConfig, info: DataSetInfo) -> SourceText:
    """The text that reads a TFDS set of images with masks.

    Raises:
        UsageError: if nothing says what the set calls its masks.
    """
    assert config.name is not None
    folder, known = prepared_folder(config.name), KNOWN_MASKS.get(known_name(config.name))
    if folder is None and known is None:
        raise UsageError(
            f"nothing here says which feature of `{config.name}` has the masks, which the script is to read",
            f"Fetch the data set first: cnnkit data prepare {config.name}",
        )
    facts = None if folder is None else read_prepared_masks(folder, known)
    first = facts["first"] if facts else known.first if known else 0
    height, width, channels = info.shape
    rows, columns = inner_size(info)
    names = {
        "size": f"{rows}, {columns}",
        "channels": channels,
        "image": literal(facts["image"] if facts else "image"),
        "mask": literal(facts["label"] if facts else known.feature if known else ""),
        "first": f" - {first}  # the number of the first class" if first else "",
        "resize": literal(config.resize),
        "fill": "0" if info.target.ignore is None else "IGNORE",
        "shape": f"{height}, {width}, {channels}",
        "of_masks": f"{height}, {width}, 1",
        **check_and_pad(info),
    }
    functions = [BAD_MASK, copied("cnnkit.data.tfds", ["resized", "resized_mask"]) + "\n"]
    functions += [_READ_MASKS % names, _LOAD_MASKS % names]
    # Of a set that is not here, nobody knows the splits.
    finds_test = facts is None and config.splits.test is None
    if finds_test:
        stated = (config.splits.train, config.splits.validation)
        candidates = tuple(name for name in ("test", "validation") if name not in stated)
        functions.append(_OWN_TEST_MASKS % {"candidates": literal(candidates)})
    return SourceText(
        [
            *commented(f"DATA = {literal(tfds_name(config.name))}", "a data set of tensorflow-datasets"),
            *mask_constants(info),
        ],
        functions,
        set(facts["splits"]) if facts else set(),
        ("images", "masks"),
        lambda split: f"load({literal(split)})",
        finds_test,
    )
