"""The data of a config as Python: samples in memory, the same splits, order and augmentation as in training."""

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
from cnnkit.eject.source_text import SourceText
from cnnkit.eject.sources import write_source
from cnnkit.eject.targets import TargetText, target_text
from cnnkit.eject.text import wrapped

_SEEDS = '''\
def seed_of(*path):
    """A seed for one use of randomness: changing another use leaves it as it is."""
    text = "/".join(str(part) for part in (SEED, *path))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") & 0x7FFFFFFF
'''

_ORDER = '''\
def order(epoch, size):
    """The order of an epoch's %(samples)s: a permutation that depends only on the seed and the epoch."""
    key = tf.stack([tf.constant(seed_of("order"), tf.int64), epoch])
    draws = tf.random.stateless_uniform([size], key, None, None, tf.int32, alg="philox")
    return tf.cast(tf.argsort(draws, stable=True), tf.int64)
'''

_BATCHES = '''\
def training_batches(%(arguments)s):
    """The batches of an epoch.

    Args:
        %(samples)s: %(samples_array)s.
        %(target)s: %(array)s.
        epoch: A variable with the epoch's number, which is read whenever an epoch begins.
%(weights)s    """
    size = len(%(samples)s)
    steps = %(steps)s
    %(samples)s, %(target)s = tf.constant(%(samples)s), %(targets)s

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
    # These would copy all %(samples)s whenever an epoch begins.
    options.experimental_optimization.apply_default_optimizations = False
    return data.with_options(options)
'''


#: For each kind of sample, what a script calls those of a batch, and what all are as an array.
_BATCH_OF = {
    "images": ("pictures", "uint8 [n, height, width, channels]"),
    "texts": ("words", "Numbers of words, int32 [n, LENGTH]"),
}


@dataclass(frozen=True)
class DataText:
    """What a script needs to load its images or texts.

    Attributes:
        constants: Assignments.
        functions: Those that load and divide.
        lines: Those of `main` that leave `train`, `test` and, where there is one, `validation`, each (images, targets).
        validated: Whether there is a validation split.
    """

    constants: list[str]
    functions: list[str]
    lines: list[str]
    validated: bool


def write_data(config: DataConfig, info: DataSetInfo) -> DataText:
    """The text that loads samples and divides them into splits, as `cnnkit.data.loading` does."""
    source, target = write_source(config, info), target_text(info.target)
    stated = (config.splits.train, config.splits.validation)
    test = config.splits.test or test_split(source.splits - set(stated))
    validation = config.splits.validation
    if validation is None and config.has_files and "validation" in source.splits and test != "validation":
        validation = "validation" if config.validation > 0 else None
    share = config.validation if validation is None else 0.0
    lines = [f"{', '.join(source.names)} = {source.listed(config.splits.train or 'train')}"]
    if source.finds_test:
        lines += ["test = load_test()", "if test is None:", *("    " + line for line in _held_out_test(source, target))]
    elif test is None:
        lines += _held_out_test(source, target)
    if share:
        lines.append(f'rest, held_out = {target.dividing}({_divided(source, target)}, {share}, seed_of("split"))')
        lines.append(f"validation = {source.read('held_out')}")
        lines.append(f"train = {source.read('rest')}")
    else:
        lines.append(f"train = {source.read()}")
        if validation is not None:
            lines.append(f"validation = {source.read_split(validation)}")
    if test is not None and not source.finds_test:
        lines.append(f"test = {source.read_split(test)}")
    made = ["train", *(["validation"] if share or validation is not None else []), "test"]
    lines += source.concluded(made)
    functions = [_SEEDS, *source.functions]
    if share or source.finds_test or test is None:
        functions.append(target.divide)
    return DataText(source.constants, functions, lines, validated=bool(share) or validation is not None)


def _held_out_test(source: SourceText, target: TargetText) -> list[str]:
    return [
        f"# There is no test split: a fixed {TEST_SHARE:.0%} of {target.held_out} is held out.",
        f"rest, held_out = {target.dividing}({_divided(source, target)}, {TEST_SHARE}, {FIXED_SEED})",
        f"test = {source.read('held_out')}",
        f"{', '.join(source.names)} = {source.at('rest')}",
    ]


def _divided(source: SourceText, target: TargetText) -> str:
    return target.divided.replace("%s", source.names[0])


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
    samples = config.sample.plural
    one, array = _BATCH_OF[samples]
    functions, weighted, text = [_ORDER % {"samples": samples}], bool(parts.weights), target_text(target)
    make = [f"targets = tf.gather({text.name}, places)", f"{one} = tf.gather({samples}, places)"]
    if augmentation:
        functions += write_augmentation(augmentation, target)
        make.append("pictures, targets = augment(pictures, targets, number, step, places)")
    result = f"{one}, targets"
    if weighted:
        make += wrapped(f"weights = {parts.of_batch}")
        result += ", weights"
    weights = f"        class_weights: {text.weighed}\n" if weighted else ""
    values = {
        "steps": steps_text(config, "size"),
        "samples": samples,
        "samples_array": array,
        "arguments": f"{samples}, {text.name}, epoch" + (", class_weights" if weighted else ""),
        "target": text.name,
        "array": text.array,
        "targets": parts.targets,
        "weights": weights,
        "make": "\n        ".join([*make, f"return {result}"]),
    }
    return [*functions, _BATCHES % values]


def steps_text(config: DataConfig, size: str) -> str:
    """The batches of an epoch, as an expression of the number of samples."""
    return f"{size} // BATCH_SIZE" if config.drop_remainder else f"math.ceil({size} / BATCH_SIZE)"
