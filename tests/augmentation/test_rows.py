"""A share of a batch is augmented as in the whole batch, to the last bit, as each of several processes does it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cnnkit.augmentation import Augmentation, MaskError
from cnnkit.augmentation.pipeline import Pipeline
from cnnkit.augmentation.rows import Rows

from .examples import ARGUMENTS, SLOW, example, make, one_hot, random_images

#: More than a processor's vector of numbers, and no multiple of one: TensorFlow computes the rest with other formulas.
COUNT = 19
EPOCH, STEP = 2, 5
IGNORE = 255
CHAIN = (
    *(make("RandomCrop", {"padding": 4}), make("RandAugment"), make("MixUp", 0.5), make("CutMix", [1, 1])),
    *(make("RandomFlip", {"mode": "horizontal", "alternate": True}), make("RandomErasing", [1, 1])),
)
#: One of each kind in the first stage: moved, turned, of colours, erased, and mixed.
QUICK = {
    "RandomFlip",
    "RandomCrop",
    "RandomRotation",
    "RandomBrightness",
    "RandomHue",
    "RandomErasing",
    "MixUp",
    "CutMix",
}
#: Chosen so that a constant meets another one, which TensorFlow's optimizer makes one.
FROM_ZERO: dict[str, Any] = {
    "RandomRotation": [0, 0.3],
    "RandomBrightness": [0, 0.37],
    "RandomTranslation": {"height_factor": [0, 0.3], "width_factor": [0, 0.21]},
    "RandomGaussianBlur": {"factor": 0.8, "sigma": 0.9, "kernel_size": 5},
    "Solarization": {"addition_factor": 0.37, "threshold_factor": 0.7},
}


def batch_of(count: int, masks: bool, size: int = 20) -> dict[str, np.ndarray]:
    images = random_images(count, size)
    if not masks:
        return {"images": images, "labels": one_hot(count)}
    ids = np.random.default_rng(1).integers(0, 5, (count, size, size, 1)).astype(np.uint8)
    return {"images": images, "segmentation_masks": ids}


def in_pipeline(make: Callable[[Any], dict[str, Any]]) -> dict[str, np.ndarray]:
    """What a function of the step gives inside tf.data, where augmentation runs."""
    import tensorflow as tf

    plain = tf.autograph.experimental.do_not_convert(make)
    [made] = tf.data.Dataset.range(STEP, STEP + 1).map(plain).as_numpy_iterator()
    return dict(made)


def whole(pipeline: Pipeline, batch: dict[str, np.ndarray], places: np.ndarray) -> dict[str, np.ndarray]:
    import tensorflow as tf

    return in_pipeline(lambda step: pipeline(tf.nest.map_structure(tf.constant, batch), EPOCH, step, places))


def share(
    pipeline: Pipeline, batch: dict[str, np.ndarray], places: np.ndarray, rows: np.ndarray, *, sized: bool = False
) -> dict[str, np.ndarray]:
    """What a process gets that has some rows.

    Args:
        sized: Whether the number of rows is known when the graph is made.
    """
    import tensorflow as tf

    def made(step: Any) -> dict[str, Any]:
        # Tensors that are known only when the graph runs.
        here = tf.constant(rows, tf.int64) if sized else tf.constant(rows, tf.int64)[: step + 1000]
        wanted = Rows(here, step + len(places) - STEP)
        needed = pipeline.needed(EPOCH, step, wanted)
        part = {name: tf.gather(values, needed.places) for name, values in batch.items()}
        return pipeline(part, EPOCH, step, tf.gather(places, needed.places), wanted)

    return in_pipeline(made)


def check(augmentations: list[Augmentation], shares: list[Any], *, masks: bool = False, count: int = COUNT) -> None:
    pipeline = Pipeline(augmentations, seed=3, masks=masks, ignore=IGNORE if masks else None)
    batch = batch_of(count, masks)
    places = np.random.default_rng(2).permutation(1000)[:count]
    expected = whole(pipeline, batch, places)
    assert not np.array_equal(expected["images"], batch["images"])
    for number, rows in enumerate(shares):
        got = share(pipeline, batch, places, np.array(rows, np.int64), sized=number % 2 == 1)
        assert got.keys() == expected.keys()
        for name, values in got.items():
            np.testing.assert_array_equal(values, expected[name][rows], err_msg=f"{name} of {rows}", strict=True)


def parts(count: int, number: int) -> list[list[int]]:
    return [list(map(int, part)) for part in np.array_split(np.arange(count), number)]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.long) for name in ARGUMENTS]
)
def test_a_share_of_a_batch_becomes_what_it_becomes_in_the_batch(name: str) -> None:
    check([example(name)], [list(range(1, COUNT, 2))[::-1]])


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name == "RandomRotation" else pytest.mark.long) for name in sorted(FROM_ZERO)],
)
def test_so_it_does_where_arithmetic_is_joined_with_the_draws(name: str) -> None:
    check([make(name, FROM_ZERO[name])], [parts(COUNT, 2)[1]])


def test_so_it_does_where_pixels_are_added_up_that_are_no_whole_numbers() -> None:
    check([make("RandomBrightness", 0.2), make("RandomContrast", [0.3, 0.5])], [list(range(1, COUNT))])


@pytest.mark.long
@pytest.mark.parametrize("name", ARGUMENTS)
def test_so_it_does_in_shares_of_any_size(name: str) -> None:
    check([example(name)], [parts(7, 2)[1], []], count=7)
    if name not in SLOW:
        check([example(name)], [parts(41, 3)[1], [20]], count=41)


@pytest.mark.parametrize("name", ["RandomCrop", "CutMix"])
def test_so_does_a_share_with_masks(name: str) -> None:
    check([example(name)], [parts(COUNT, 3)[1]], masks=True)


@pytest.mark.long
@pytest.mark.parametrize("name", ARGUMENTS)
def test_so_does_every_share_with_masks(name: str) -> None:
    try:
        example(name).for_masks(IGNORE)
    except MaskError:
        pytest.skip("refused where there are masks")
    check([example(name)], [parts(COUNT, 2)[1], [3]], masks=True)


@pytest.mark.long
def test_so_it_does_where_images_are_mixed_twice() -> None:
    check([make("MixUp", 0.5), make("CutMix", [1, 1]), make("RandomBrightness", 0.2)], [[4, 11, 2]])


@pytest.mark.long
def test_so_it_does_in_a_chain_of_everything() -> None:
    check([*CHAIN], [parts(COUNT, 2)[1], parts(COUNT, 3)[1], [4], []])


@pytest.mark.long
def test_images_that_are_not_mixed_in_need_not_be_there() -> None:
    pipeline = Pipeline([make("MixUp", 0.5), make("RandomFlip"), make("CutMix", [1, 1])], seed=3)
    batch = batch_of(32, False)
    places = np.arange(32)
    needed = np.asarray(pipeline.needed(EPOCH, STEP, Rows([4, 9], 32)).places)
    assert needed[:2].tolist() == [4, 9]
    assert len(set(needed.tolist())) == len(needed) <= 8
    expected = whole(pipeline, batch, places)
    # Whose pixels and labels have a part in the result: the others may be anything.
    others = np.setdiff1d(places, needed)
    batch["images"][others] = 0
    batch["labels"][others] = 0
    changed = whole(pipeline, batch, places)
    for name in batch:
        np.testing.assert_array_equal(changed[name][[4, 9]], expected[name][[4, 9]])
    assert len(np.unique(np.nonzero(expected["labels"][[4, 9]])[1])) > 2


def test_without_mixing_a_share_needs_its_own_images_only() -> None:
    pipeline = Pipeline([make("RandomFlip"), make("RandomErasing", [1, 1])], seed=3)
    needed = pipeline.needed(EPOCH, STEP, Rows([7, 2, 5], 8))
    assert np.asarray(needed.places).tolist() == [7, 2, 5]
    assert int(needed.whole) == 8


def test_a_share_may_be_augmented_eagerly() -> None:
    pipeline = Pipeline([example("RandomFlip"), example("RandomCrop"), example("MixUp")], seed=3)
    batch = batch_of(8, False)
    expected = pipeline.apply_numpy(batch, EPOCH, STEP)
    wanted = Rows([6, 1, 3], 8)
    needed = np.asarray(pipeline.needed(EPOCH, STEP, wanted).places)
    got = pipeline({name: values[needed] for name, values in batch.items()}, EPOCH, STEP, needed, wanted)
    for name, values in got.items():
        np.testing.assert_array_equal(values, expected[name][[6, 1, 3]])
