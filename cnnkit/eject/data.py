"""The data of a config as Python: images in memory, the same splits, order and augmentation as in training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cnnkit.augmentation.base import Augmentation
from cnnkit.config.data import DataConfig
from cnnkit.config.dataset import DataSetInfo
from cnnkit.config.script_parts import ScriptParts
from cnnkit.config.split_folders import test_split
from cnnkit.config.target import Target
from cnnkit.data.loading import FIXED_SEED, TEST_SHARE
from cnnkit.eject.augmentation import write_augmentation
from cnnkit.eject.sources import SourceText, write_source

_SEEDS = '''\
def seed_of(*path):
    """A seed for one use of randomness: changing another use leaves it as it is."""
    text = "/".join(str(part) for part in (SEED, *path))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") & 0x7FFFFFFF
'''

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
    """The order of an epoch's images: a permutation that depends only on the seed and the epoch."""
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
    images, labels = tf.constant(images), %(targets)s

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
    """The text that loads images and divides them into splits, as `cnnkit.data.loading` does."""
    source = write_source(config, info)
    stated = (config.splits.train, config.splits.validation)
    test = config.splits.test or test_split(source.splits - set(stated))
    validation = config.splits.validation
    if validation is None and config.has_files and "validation" in source.splits and test != "validation":
        validation = "validation" if config.validation > 0 else None
    share = config.validation if validation is None else 0.0
    lines = [f"{source.name}, labels = {source.listed(config.splits.train or 'train')}"]
    if source.finds_test:
        lines += ["test = load_test()", "if test is None:", *("    " + line for line in _held_out_test(source))]
    elif test is None:
        lines += _held_out_test(source)
    if share:
        lines.append(f'rest, held_out = divide(labels, {share}, seed_of("split"))')
        lines.append(f"validation = {source.images('held_out')}")
        lines.append(f"train = {source.images('rest')}")
    else:
        lines.append(f"train = {source.images()}")
        if validation is not None:
            lines.append(f"validation = {source.images_of(validation)}")
    if test is not None and not source.finds_test:
        lines.append(f"test = {source.images_of(test)}")
    functions = [_SEEDS, *source.functions]
    if share or source.finds_test or test is None:
        functions.append(_STRATIFIED)
    return DataText(source.constants, functions, lines, validated=bool(share) or validation is not None)


def _held_out_test(source: SourceText) -> list[str]:
    return [
        f"# There is no test split: a fixed {TEST_SHARE:.0%} of every class is held out.",
        f"rest, held_out = divide(labels, {TEST_SHARE}, {FIXED_SEED})",
        f"test = {source.images('held_out')}",
        f"{source.name}, labels = {source.name}[rest], labels[rest]",
    ]


def write_batches(
    config: DataConfig,
    augmentation: Sequence[Augmentation],
    target: Target,
    parts: ScriptParts,
) -> list[str]:
    """The functions that make training batches.

    Args:
        parts: The task's, see `Task.script`.
    """
    functions, weighted = [_ORDER], bool(parts.weights)
    make = ["targets = tf.gather(labels, places)", "pictures = tf.gather(images, places)"]
    if augmentation:
        functions += write_augmentation(augmentation, target)
        make.append("pictures, targets = augment(pictures, targets, number, step, places)")
    result = "pictures, targets"
    if weighted:
        make.append(f"weights = {parts.of_batch}")
        result += ", weights"
    weights = "        class_weights: One weight per class, float [CLASSES].\n" if weighted else ""
    values = {
        "steps": steps_text(config, "size"),
        "arguments": "images, labels, epoch" + (", class_weights" if weighted else ""),
        "targets": parts.targets,
        "weights": weights,
        "make": "\n        ".join([*make, f"return {result}"]),
    }
    return [*functions, _BATCHES % values]


def steps_text(config: DataConfig, size: str) -> str:
    """The batches of an epoch, as an expression of the number of images."""
    return f"{size} // BATCH_SIZE" if config.drop_remainder else f"math.ceil({size} / BATCH_SIZE)"
