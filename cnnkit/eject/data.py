"""The data of a config as Python: images in memory, the same splits, order and augmentation as in training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from cnnkit.augmentation.base import Augmentation
from cnnkit.config.data import DataConfig
from cnnkit.config.dataset import DataSetInfo, known_name, prepared_folder, read_prepared, split_name
from cnnkit.config.image_files import SYSTEM_FOLDERS
from cnnkit.config.image_folder import ImageFolder, list_image_folder
from cnnkit.config.image_formats import FORMATS, IMAGE_SUFFIXES
from cnnkit.config.split_folders import test_split
from cnnkit.data.images import RESIZERS
from cnnkit.data.loading import FIXED_SEED, TEST_SHARE
from cnnkit.eject.text import call_text, copied, literal, wrapped

_SEEDS = '''\
def seed_of(*path):
    """A seed for one use of randomness alone: changing another use leaves it as it is."""
    text = "/".join(str(part) for part in (SEED, *path))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") & 0x7FFFFFFF
'''

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
    data = tfds.load(DATA, split=split, as_supervised=True, read_config=config)
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

_FOLDER = '''\
def read_image(path):
    """An image file, uint8 [%(shape)s]."""
    with Image.open(path, formats=FORMATS) as opened:
        ImageOps.exif_transpose(opened, in_place=True)
        image = _convert(opened, %(mode)s)
    %(resize)sreturn np.asarray(image, np.uint8)%(grey)s


def load(folder%(names)s):
    """The images of a folder of class folders, uint8 [n, %(shape)s], and labels, int64 [n]."""
    images, labels = [], []
    for label, name in enumerate(%(in_order)s):
        for path in image_files(Path(folder, name))[0]:
            %(append)s
    return np.stack(images), np.array(labels)
'''

_APPEND = """images.append(read_image(path))
            labels.append(label)"""

_APPEND_READABLE = """try:
                images.append(read_image(path))
            except Exception as error:
                print(f"left out {path}: {error}")
            else:
                labels.append(label)"""

_STRATIFIED = '''\
def divide(labels, share, seed):
    """Places in `labels`, at random by the seed: the rest, and a share of every class."""
    random = np.random.RandomState(seed)
    present, counts = np.unique(labels, return_counts=True)
    # Whole numbers whose sum is the share of all, rounded up: the largest remainders round up.
    exact = counts * share
    takes = np.floor(exact).astype(int)
    missing = math.ceil(counts.sum() * share - 1e-9) - takes.sum()
    takes[np.argsort(takes - exact, kind="stable")[: max(0, missing)]] += 1
    parts = [
        random.permutation(np.flatnonzero(labels == label))[: max(take, 1)]
        for label, take in zip(present, takes)
    ]
    part = np.sort(np.concatenate(parts))
    return np.setdiff1d(np.arange(len(labels)), part), part
'''

_ORDER = '''\
def order(epoch, size):
    """The order of an epoch's images: a permutation that depends on the seed and the epoch alone."""
    key = tf.stack([tf.constant(seed_of("order"), tf.int64), epoch])
    draws = tf.random.stateless_uniform([size], key, None, None, tf.int32, alg="philox")
    return tf.cast(tf.argsort(draws, stable=True), tf.int64)
'''

_BATCHES = '''\
def training_batches(%(arguments)s):
    """The batches of an epoch.

    Args:
        images: uint8 [n, height, width, channels].
        labels: int64 [n].
        epoch: A variable with the epoch's number, which is read whenever an epoch begins.
%(weights)s    """
    size = len(images)
    steps = %(steps)s
    images, labels = tf.constant(images), tf.one_hot(labels, CLASSES)

    def batches(number):
        places = order(number, size)
        return tf.data.Dataset.range(steps).map(
            lambda step: (number, step, places[step * BATCH_SIZE : (step + 1) * BATCH_SIZE])
        )

    def batch(number, step, places):
        %(make)s

    data = tf.data.Dataset.from_tensors(0).map(lambda _: tf.identity(epoch)).flat_map(batches)
    data = data.map(batch, num_parallel_calls=os.cpu_count(), deterministic=True)
    data = data.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(2)
    options = tf.data.Options()
    # Nothing is left to tune, and the tuner can hold up the end of an epoch for seconds.
    options.autotune.enabled = False
    # These would copy all images whenever an epoch begins.
    options.experimental_optimization.apply_default_optimizations = False
    return data.with_options(options)
'''

_SEEDED = '''\
def seeded(layer, number=0):
    """A layer whose draws follow from the seed, the epoch and the step alone; and the stream that it draws from."""
    path = "augmentation", type(layer).__name__, number
    stream = SeedStream((seed_of(*path, 0), seed_of(*path, 1)))
    drive(layer, stream)
    return layer, stream
'''

_AUGMENT = '''\
@tf.autograph.experimental.do_not_convert
def augment(images, labels, epoch, step, places):
    """Changes each image of a batch in its own way; the draws depend on the seed, the epoch and the step alone."""
    shape = images.shape
    images = tf.cast(images, tf.float32)
    for layer, stream in AUGMENTATION:
        stream.start(epoch, step, places)
%(apply)s
        images = tf.ensure_shape(images, shape)
    return images, labels
'''


@dataclass(frozen=True)
class DataText:
    """What a script needs to load its images.

    Attributes:
        constants: Assignments.
        functions: Those that load and divide.
        lines: Those of `main` that leave `train`, `test` and, where there is one, `validation`, each (images, labels).
        validated: Whether there is a validation split.
    """

    constants: list[str]
    functions: list[str]
    lines: list[str]
    validated: bool


def write_data(config: DataConfig, info: DataSetInfo) -> DataText:
    """The text that loads images and divides them into splits."""
    constants: list[str] = []
    functions = [_SEEDS]
    height, width, channels = info.shape
    shape = f"{height}, {width}, {channels}"
    if config.folder is not None:
        listing = list_image_folder(config.folder)
        constants += [f"DATA = {literal(str(listing.root))}  # a folder of class folders"]
        constants += wrapped(f"CLASS_NAMES = {literal(list(listing.class_names))}")
        constants += ["CLASSES = len(CLASS_NAMES)", *wrapped(f"IMAGE_SUFFIXES = {literal(IMAGE_SUFFIXES)}")]
        constants += wrapped(f"SYSTEM_FOLDERS = {literal(SYSTEM_FOLDERS)}")
        constants += [
            "# Others are not tried: some that Pillow knows start programs.",
            f"FORMATS = {literal(tuple(FORMATS))}",
        ]
        resizer = RESIZERS[config.resize].__name__
        resize = f"if image.size != ({width}, {height}):\n        image = {resizer}(image, {width}, {height})\n    "
        respelled = any(_folder_names(listing, split) != list(listing.class_names) for split in listing.splits)
        names = {
            "shape": shape,
            "mode": literal("L" if channels == 1 else "RGB"),
            "resize": resize if config.image_size is not None else "",
            "grey": "[..., None]" if channels == 1 else "",
            "names": ", names=CLASS_NAMES" if respelled else "",
            "in_order": "names" if respelled else "CLASS_NAMES",
            "append": _APPEND_READABLE if config.skip_corrupt else _APPEND,
        }
        functions.append(copied("cnnkit.config.image_files", ["image_files"]) + "\n")
        used = ["_convert", resizer] if config.image_size is not None else ["_convert"]
        functions += [copied("cnnkit.data.images", used) + "\n", _FOLDER % names]
        found = set(listing.splits)

        def load(split: str) -> str:
            return _load_folder(listing, split)

    elif config.name == "digits":
        functions.append(_DIGITS)
        found = {"train"}

        def load(split: str) -> str:
            return "load()"

    else:
        assert config.name is not None
        resize = ""
        stored, found = _tfds_facts(config.name, info)
        if stored != (height, width):
            functions.append(_RESIZE % {"resize": _RESIZES[config.resize] % literal((height, width))})
            resize = ".map(resized)"
        functions.append(_TFDS % {"shape": shape, "resize": resize})
        constants.append(f"DATA = {literal(_tfds_name(config.name))}  # a data set of tensorflow-datasets")

        def load(split: str) -> str:
            return f"load({literal(split)})"

    train = config.splits.train or "train"
    stated = (config.splits.train, config.splits.validation)
    test = config.splits.test or test_split(found - set(stated))
    validation = config.splits.validation
    if validation is None and config.folder is not None and "validation" in found and test != "validation":
        validation = "validation" if config.validation > 0 else None
    share = config.validation if validation is None else 0.0
    lines = [f"images, labels = {load(train)}"]
    if test is None:
        lines.append(f"# There is no test split: a fixed {TEST_SHARE:.0%} of every class is held out.")
        lines.append(f"rest, held_out = divide(labels, {TEST_SHARE}, {FIXED_SEED})")
        lines.append("test = images[held_out], labels[held_out]")
        lines.append("images, labels = images[rest], labels[rest]")
    if share:
        lines.append(f'rest, held_out = divide(labels, {share}, seed_of("split"))')
        lines.append("validation = images[held_out], labels[held_out]")
        lines.append("train = images[rest], labels[rest]")
    else:
        lines.append("train = images, labels")
        if validation is not None:
            lines.append(f"validation = {load(validation)}")
    if test is not None:
        lines.append(f"test = {load(test)}")
    if test is None or share:
        functions.append(_STRATIFIED)
    return DataText(constants, functions, lines, validated=bool(share) or validation is not None)


def _load_folder(listing: ImageFolder, split: str) -> str:
    """The call that loads a split of a folder."""
    folder = listing.split_folders.get(split)
    place = f"Path(DATA, {literal(folder.relative_to(listing.root).as_posix())})" if folder is not None else "DATA"
    names = _folder_names(listing, split)
    return f"load({place})" if names == list(listing.class_names) else f"load({place}, {literal(names)})"


def _folder_names(listing: ImageFolder, split: str) -> list[str]:
    """The names of a split's class folders, which may be spelled otherwise than those of the classes."""
    return [path.name for path in listing.class_folders[split]]


def _tfds_name(name: str) -> str:
    """The name as TFDS wants it, with the configuration that is meant, and the version where it is stated."""
    version = split_name(name)[2]
    return known_name(name) + (f":{version}" if version else "")


def _tfds_facts(name: str, info: DataSetInfo) -> tuple[tuple[int | None, int | None], set[str]]:
    """Height and width as they are stored, and the splits; of a set that is not here, the usual ones."""
    folder = prepared_folder(name)
    if folder is None:
        return info.shape[:2], {"train", "test"}
    facts = read_prepared(folder)
    return facts["shape"][:2], set(facts["splits"])


def write_batches(
    config: DataConfig,
    augmentation: Sequence[Augmentation],
    *,
    weighted: bool,
) -> list[str]:
    """The functions that make training batches.

    Args:
        weighted: Whether each image has the weight of its class.
    """
    functions = [_ORDER]
    make = ["targets = tf.gather(labels, places)", "pictures = tf.gather(images, places)"]
    if augmentation:
        functions += _write_augmentation(augmentation)
        make.append("pictures, targets = augment(pictures, targets, number, step, places)")
    result = "pictures, targets"
    if weighted:
        make.append("weights = tf.linalg.matvec(targets, tf.constant(class_weights, tf.float32))")
        result += ", weights"
    weights = "        class_weights: One weight per class, float [CLASSES].\n" if weighted else ""
    values = {
        "steps": steps_text(config, "size"),
        "arguments": "images, labels, epoch" + (", class_weights" if weighted else ""),
        "weights": weights,
        "make": "\n        ".join([*make, f"return {result}"]),
    }
    return [*functions, _BATCHES % values]


def steps_text(config: DataConfig, size: str) -> str:
    """The batches of an epoch, as an expression of the number of images."""
    return f"{size} // BATCH_SIZE" if config.drop_remainder else f"math.ceil({size} / BATCH_SIZE)"


def _write_augmentation(augmentation: Sequence[Augmentation]) -> list[str]:
    calls = [one.call() for one in augmentation]
    own = {call.function for call in calls if "." not in call.function}
    layers = copied("cnnkit.augmentation.keras_layers", {"drive", *own})
    # Of the class that draws, what is not called is left out.
    unused = {name for name in ("bits_of_images", "branch") if f".{name}(" not in layers}
    functions = [copied("cnnkit.augmentation.keras_layers", {"drive", *own, "SeedStream"}, unused) + "\n", _SEEDED]
    counts: Counter[str] = Counter()
    items = []
    for one, call in zip(augmentation, calls, strict=True):
        kind = type(one).__name__
        items.append(f"seeded({call_text(call)}{f', {counts[kind]}' if counts[kind] else ''}),")
        counts[kind] += 1
    comment = "# Layers of Keras, or made of them, that give each image draws of its own."
    lines = [line for item in items for line in wrapped(item, 4)]
    functions.append("\n".join([comment, "AUGMENTATION = [", *lines, "]"]) + "\n")
    mixing = sorted({f"layers.{type(one).__name__}" for one in augmentation if one.mixes_labels})
    plain = "images = layer(images, training=True)"
    if mixing:
        kinds = mixing[0] if len(mixing) == 1 else f"({', '.join(mixing)})"
        apply = [
            f"        if isinstance(layer, {kinds}):",
            '            mixed = layer({"images": images, "labels": labels}, training=True)',
            '            images, labels = mixed["images"], mixed["labels"]',
            "        else:",
            f"            {plain}",
        ]
        if all(one.mixes_labels for one in augmentation):
            apply = [line[4:] for line in apply[1:3]]
    else:
        apply = [f"        {plain}"]
    functions.append(_AUGMENT % {"apply": "\n".join(apply)})
    return functions
