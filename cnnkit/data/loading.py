"""From the `data` section to splits: which source, which images train, validate and test."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence

import numpy as np

from cnnkit.config.data import DataConfig, DataProblem
from cnnkit.config.dataset import DataSetInfo, describe_data_set
from cnnkit.config.split_folders import test_split
from cnnkit.data.collections import Collection, open_collection
from cnnkit.data.copies import Measured, copies_text, find_copies, measured, measured_in_cache
from cnnkit.data.decoded import decode, readable
from cnnkit.data.division import by_groups
from cnnkit.data.images import CorruptFiles, FolderSource
from cnnkit.data.memory import MEMORY_SHARE
from cnnkit.data.picture import load_picture
from cnnkit.data.prepared import Prepared
from cnnkit.data.splits import Array, DataSets, Source, Split
from cnnkit.data.targets import ClassNumbers, StoredMasks
from cnnkit.errors import CnnkitError
from cnnkit.format.seeds import derive_seed
from cnnkit.images.formats import CorruptImage
from cnnkit.machine.memory import available_memory
from cnnkit.machine.processor import sharing_workers
from cnnkit.task import Task

log = logging.getLogger("cnnkit")

SPLITS = ("train", "validation", "test")

#: Draws the test split of a set that has none, whatever the run's seed is.
FIXED_SEED = 0

#: Share of the images that are the test split of a set that has none.
TEST_SHARE = 0.2


def load(
    config: DataConfig,
    seed: int,
    task: Task | None = None,
    *,
    splits: Sequence[str] = SPLITS,
    memory_bytes: int | None = None,
    info: DataSetInfo | None = None,
) -> DataSets:
    """The configured images, divided into splits.

    `data.memory: cache` keeps all images as uint8 in memory, and their decoded bytes on disk for the next start
    (see `cache.py`); `stream` decodes them again whenever they are read; `auto` keeps those that fit in a third of
    the free memory. Order and pixels are the same either way.

    The test split is the set's own, else its validation split, else a stratified fifth that no seed moves.
    The validation split is a stratified share of the training split, drawn by `seed`, unless
    `data.splits.validation` names a slice, or the folder or table has `train`, `validation` and `test`. Groups of a
    table stay whole, and what is a number is not stratified.

    Example:
        >>> from cnnkit.config.data import DataConfig
        >>> data = load(DataConfig.model_validate({"name": "digits"}), seed=0, splits=["test"])
        >>> data.test.size, data.test.shape
        (360, (8, 8, 1))

    Args:
        config: The `data` section; a relative `folder` or `table` is looked up from the working directory.
        seed: The run's seed; the split draws from a stream of its own.
        task: What is to be learned of the images; by default what a config means that does not say it.
        splits: Which splits to load; the others are None.
        memory_bytes: Decoded images above this size do not fit for `auto`; by default a third of the free memory.
        info: What `describe_data_set` said of this section, where that was asked.

    Raises:
        CnnkitError: if the data are not there, are damaged, or cannot be divided as configured.
    """
    try:
        info = info or describe_data_set(config, task)
        if config.picture is not None:
            return load_picture(config, info)
        collection = open_collection(config, info)
        if not config.has_files:
            # A download brings the class names.
            info = describe_data_set(config, task)
    except DataProblem as problem:
        raise CnnkitError(f"data.{problem.argument}: {problem.message}") from None
    try:
        plan = _plan(config, collection, seed, splits)
        info = _begin(config, collection, seed, plan) or info
    except CnnkitError:
        if collection.problems:
            # They have left too little, and are what there is to mend.
            raise CorruptFiles(collection.problems) from None
        raise
    besides = []
    is_training = "train" in splits and "test" not in splits
    if is_training and config.has_files:
        test_spec = _test_spec(config, collection)
        # Corrupt test images, and copies of training images, are to be known before the training, not after it.
        besides = [collection.open(test_spec)] if test_spec is not None else []
    made, memory = make_splits(plan, config.memory, memory_bytes, besides, collection.problems)
    if is_training and "validation" in made:
        made["validation"].targets.check_measurable("validation")
    for source in besides:
        source.targets.check_measurable("test")
    return DataSets(
        train=made.get("train"),
        validation=made.get("validation"),
        test=made.get("test"),
        info=info,
        fingerprint=collection.fingerprint,
        memory=memory,
        notes=(
            *collection.notes,
            *_note_on_test(config, collection),
            *([info.note] if info.note else []),
            *(_note_on_copies(config, collection, seed, made) if config.has_files else []),
        ),
    )


def training_images(config: DataConfig, seed: int, info: DataSetInfo) -> Measured | None:
    """The training images of a folder or table, where the cache holds them; nothing is decoded.

    Args:
        info: What `describe_data_set` says of the section.
    """
    if not config.has_files:
        return None
    try:
        plan = _plan(config, open_collection(config, info), seed, ("train",))
        return measured_in_cache("train", *plan["train"])
    except (DataProblem, CnnkitError, OSError):
        return None


def _note_on_copies(config: DataConfig, collection: Collection, seed: int, made: dict[str, Split]) -> list[str]:
    """How many images of the other splits, of the test split also where it was not asked for, are training images."""
    training = measured(made["train"]) if "train" in made else None
    if training is None:
        return []
    others = [measured(split) for name, split in made.items() if name != "train"]
    if "test" not in made:
        plan = _plan(config, collection, seed, ("test",))
        others += [measured_in_cache(name, source, positions) for name, (source, positions) in plan.items()]
    copies = [found for other in others if other is not None and (found := find_copies(training, other))]
    return [f"{copies_text(copies)}; `cnnkit data check` lists all"] if copies else []


# --- Dividing -----------------------------------------------------------------------------------------


def _plan(
    config: DataConfig, collection: Collection, seed: int, splits: Sequence[str]
) -> dict[str, tuple[Source, Array]]:
    """For each split asked for that exists: its source and the positions in it."""
    train_spec = config.splits.train or "train"
    test_spec = _test_spec(config, collection)
    validation_spec = config.splits.validation
    if (
        validation_spec is None
        and not isinstance(collection, Prepared)
        and "validation" in collection.splits
        and test_spec != "validation"
        and config.validation > 0
    ):
        validation_spec = "validation"
    has_train = config.splits.train is not None or "train" in collection.splits
    if isinstance(collection, Prepared) and has_train:
        _check_overlap(collection, train_spec, validation_spec, test_spec)
    plan: dict[str, tuple[Source, Array]] = {}
    if "test" in splits and test_spec is not None:
        plan["test"] = whole(collection.open(test_spec))
    if "validation" in splits and validation_spec is not None:
        plan["validation"] = whole(collection.open(validation_spec))
    shared = validation_spec is None and config.validation > 0
    if "train" in splits or ("validation" in splits and shared) or ("test" in splits and test_spec is None):
        divide = _Division(config.validation if shared else 0.0, test_spec is None, seed)
        source = _open_train(collection, train_spec)
        for name, positions in divide(source).items():
            if name in splits:
                plan[name] = (source, positions)
    return plan


def _begin(
    config: DataConfig, collection: Collection, seed: int, plan: dict[str, tuple[Source, Array]]
) -> DataSetInfo | None:
    """Lets a collection learn of its training samples what others are read by, see `Collection.begin`."""

    def training() -> tuple[Source, Array]:
        return plan.get("train") or _plan(config, collection, seed, ("train",))["train"]

    return collection.begin(training)


def _open_train(collection: Collection, spec: str) -> Source:
    if spec == "train" and "train" not in collection.splits:
        names = ", ".join(f"`{name}`" for name in collection.splits)
        raise CnnkitError(
            f"the data set has no `train` split; it has {names}", "Set `data.splits.train` to one of its slices."
        )
    return collection.open(spec)


class _Division:
    """Divides the training images: off goes a fixed fifth to test where needed, then the validation share."""

    def __init__(self, validation: float, needs_test: bool, seed: int) -> None:
        self.validation = validation
        self.needs_test = needs_test
        self.seed = derive_seed(seed, "split")

    def __call__(self, source: Source) -> dict[str, Array]:
        source.targets.check_learnable()
        found = {}
        train = np.arange(source.targets.size)
        if self.needs_test:
            train, found["test"] = _divide(source, train, TEST_SHARE, FIXED_SEED, "test")
        if self.validation > 0:
            train, found["validation"] = _divide(source, train, self.validation, self.seed, "validation")
        return {"train": train, **found}


def _divide(source: Source, positions: Array, share: float, seed: int, purpose: str) -> tuple[Array, Array]:
    """Some positions in a source, divided into the rest and a share."""
    targets = source.targets.take(positions)
    if source.groups is None:
        rest, part = targets.divide(share, seed, purpose)
    else:
        groups = source.groups[positions]
        rest, part = by_groups(groups, targets.count_in(groups), share, seed, purpose=purpose)
    return positions[rest], positions[part]


def whole(source: Source) -> tuple[Source, Array]:
    """All of a source, for `make_splits`."""
    return source, np.arange(source.targets.size)


def _test_spec(config: DataConfig, collection: Collection) -> str | None:
    """The split or slice to test on; None where a share of the training split is."""
    if config.splits.test is not None:
        return config.splits.test
    is_labelled: Callable[[str], bool] = getattr(collection, "is_labelled", lambda split: True)
    taken = (config.splits.train, config.splits.validation)
    free = [split for split in collection.splits if split not in taken and is_labelled(split)]
    return test_split(free)


def _note_on_test(config: DataConfig, collection: Collection) -> Sequence[str]:
    """Where a share of the training split is tested on although the data set has a split for that: why."""
    own = test_split(collection.splits)
    if own is None or _test_spec(config, collection) is not None:
        return ()
    why = (
        "validates" if own == config.splits.validation else "trains" if own == config.splits.train else "has no labels"
    )
    return (f"the test split is a fixed fifth of the training split; the data set's own `{own}` {why}",)


def _check_overlap(collection: Prepared, train: str, validation: str | None, test: str | None) -> None:
    """Refuse to train on images that validate or test."""
    for name, other in (("validation", validation), ("test", test)):
        if other is not None and collection.prepared.record_files.overlap(train, other):
            raise CnnkitError(
                f"the training slice `{train}` and the {name} slice `{other}` overlap; a network must not "
                "be judged by what it was trained on",
                "Set `data.splits.train` to a slice that leaves them out, such as `train[:90%]`.",
            )
    if validation is not None and test is not None and collection.prepared.record_files.overlap(validation, test):
        log.warning(
            "the validation slice `%s` and the test slice `%s` overlap: the best epoch is chosen on what "
            "it is tested on",
            validation,
            test,
        )


# --- In memory or not ---------------------------------------------------------------------------------


def make_splits(
    plan: dict[str, tuple[Source, Array]],
    memory: str,
    memory_bytes: int | None,
    besides: Sequence[Source] = (),
    problems: Sequence[CorruptImage] = (),
) -> tuple[dict[str, Split], str]:
    """The planned splits, and whether their images are in memory (`cache`) or not (`stream`).

    Args:
        besides: What later is read from the cache; its images are put there, and none is kept in memory.
        problems: What is wrong with files already, to be told with what is wrong with others.
    """
    needed = sum(len(positions) * math.prod(source.stored_shape) for source, positions in plan.values())
    available = available_memory() // sharing_workers()
    limit = available * MEMORY_SHARE if memory_bytes is None else memory_bytes
    if memory == "cache" and needed > available:
        raise CnnkitError(
            f"data.memory: `cache` keeps {needed / 1e9:.1f} GB of decoded images in memory, but only "
            f"{available / 1e9:.1f} GB are free{' for each worker' if sharing_workers() > 1 else ''}",
            "Set `data.memory: stream` to decode images as they are read, or make them smaller with `data.image_size`.",
        )
    if memory == "stream" or (memory == "auto" and needed > limit):
        _check_pairs([source for source, _ in plan.values()], problems)
        return {name: _streamed(name, source, positions) for name, (source, positions) in plan.items()}, "stream"
    made = {}
    sources = {id(source): source for source, _ in plan.values()}
    failed: list[CorruptImage] = list(problems)
    for source in (*sources.values(), *besides):
        names = [name for name, (other, _) in plan.items() if other is source]
        parts = [plan[name][1] for name in names] or [np.empty(0, np.int64)]
        # The cache holds whole slices. One that is much larger than what is asked of it is not decoded for its sake.
        keep = source.targets.size * math.prod(source.stored_shape) <= max(limit, needed)
        try:
            decoded = decode(source, parts, keep=keep)
        except CorruptFiles as error:
            failed += error.errors
        if failed:
            # What is left of the images may be too little, of which these are the reason.
            continue
        for name, part, found in zip(names, parts, decoded, strict=False):
            _check_left(name, source, part, found.positions)
            targets = source.targets.take(found.positions)
            made[name] = Split(name, targets, source.shape, source, found.positions, found.images, found.moments)
    if failed:
        raise CorruptFiles(failed)
    return made, "cache"


def _check_pairs(sources: Sequence[Source], problems: Sequence[CorruptImage]) -> None:
    """Reads all masks of some sources once; the outcome is cached.

    Raises:
        CorruptFiles: if one cannot be learned from, or there are other problems.
    """
    failed = list(problems)
    for source in {id(source): source for source in sources}.values():
        if not isinstance(source.targets, StoredMasks):
            continue
        try:
            readable(source, np.arange(source.targets.size))
        except CorruptFiles as error:
            failed += error.errors
    if failed:
        raise CorruptFiles(failed)


def _streamed(name: str, source: Source, positions: Array) -> Split:
    if isinstance(source, FolderSource) and source.skip_corrupt:
        left = readable(source, positions)
        _check_left(name, source, positions, left)
        positions = left
    return Split(name, source.targets.take(positions), source.shape, source, positions)


def _check_left(name: str, source: Source, wanted: Array, left: Array) -> None:
    """Say which images were left out because they are corrupt.

    Raises:
        CnnkitError: if no image is left, or none to train on of a class that had some.
    """
    corrupt = np.setdiff1d(wanted, left)
    if len(corrupt):
        log.warning(
            "left out %d image file%s of the %s split that cannot be read: %s%s",
            len(corrupt),
            "" if len(corrupt) == 1 else "s",
            name,
            ", ".join(source.identity(int(position)) for position in corrupt[: CorruptFiles.NAMED]),
            ", ..." if len(corrupt) > CorruptFiles.NAMED else "",
        )
    if len(left) == 0:
        raise CnnkitError(f"the {name} split has no images that can be read")
    targets = source.targets
    if not (isinstance(source, FolderSource) and isinstance(targets, ClassNumbers)):
        return
    lost = np.setdiff1d(targets.values[wanted], targets.values[left])
    if len(lost):
        class_name = targets.names[lost[0]]
        message = f"no image of the class `{class_name}` in the {name} split can be read"
        if name == "train":
            raise CnnkitError(message, "Repair or replace some of its files, or remove the folder of the class.")
        log.warning("%s", message)
