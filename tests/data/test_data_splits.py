"""The bundled digits, and the stratified division into splits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnkit.config.data import DataConfig
from cnnkit.data import DataSets, channel_statistics, load, split_from_arrays, stratified
from cnnkit.errors import CnnkitError


def load_digits(seed: int = 0, splits: Any = ("train", "validation", "test"), **fields: Any) -> DataSets:
    return load(DataConfig.model_validate({"name": "digits", **fields}), seed, splits=splits)


def test_digits_have_1437_training_and_360_test_images() -> None:
    data = load_digits(validation=0)
    assert data.train is not None
    assert data.test is not None
    assert (data.train.size, data.test.size) == (1437, 360)
    assert data.validation is None


def test_digits_are_scikit_learns_pixels_scaled_to_bytes() -> None:
    from sklearn import datasets

    digits = datasets.load_digits()
    expected = np.rint(digits.images * 255 / 16).astype(np.uint8)[..., None]
    data = load_digits()
    places = []
    for split in (data.train, data.validation, data.test):
        assert split is not None
        assert split.images is not None
        assert split.images.dtype == np.uint8
        rows = [int(name.rpartition("/")[2]) for name in split.ids]
        np.testing.assert_array_equal(split.images, expected[rows])
        np.testing.assert_array_equal(split.labels, digits.target[rows])
        places += rows
    assert sorted(places) == list(range(1797))


def test_the_test_split_of_digits_does_not_depend_on_the_seed_and_the_validation_split_does() -> None:
    one, same, other = load_digits(1), load_digits(1), load_digits(2)
    assert one.test is not None
    assert other.test is not None
    assert one.test.ids == other.test.ids
    assert one.validation is not None
    assert same.validation is not None
    assert other.validation is not None
    assert one.validation.ids == same.validation.ids
    assert one.validation.ids != other.validation.ids


def test_the_test_split_of_digits_is_stratified() -> None:
    data = load_digits()
    assert data.test is not None
    counts = np.bincount(data.test.labels)
    assert counts.min() >= 34
    assert counts.max() <= 37


def test_only_the_splits_asked_for_are_loaded_and_they_are_the_same() -> None:
    whole = load_digits(3)
    for name in ("train", "validation", "test"):
        alone = load_digits(3, splits=(name,))
        assert getattr(alone, name).ids == getattr(whole, name).ids
        assert [getattr(alone, other) for other in ("train", "validation", "test")].count(None) == 2


@given(
    counts=st.lists(st.integers(2, 40), min_size=1, max_size=8),
    share=st.floats(0.01, 0.9),
    seed=st.integers(0, 2**31 - 1),
)
@settings(max_examples=200, deadline=None)
def test_a_stratified_part_has_its_share_of_every_class(counts: list[int], share: float, seed: int) -> None:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    try:
        rest, part = stratified(labels, share, seed)
    except CnnkitError:
        # Only where rounding up takes a class's last image.
        assert any(count * share > count - 1 - 1e-9 for count in counts)
        return
    assert sorted([*rest, *part]) == list(range(len(labels)))
    for label, count in enumerate(counts):
        held_out = int(np.count_nonzero(labels[part] == label))
        assert abs(held_out - count * share) <= 1
        assert 1 <= held_out < count
    again = stratified(labels, share, seed)
    assert again[1].tolist() == part.tolist()


@pytest.mark.parametrize(("share", "count"), [(0.1, 11), (0.2, 21), (0.07, 8), (0.6, 63)])
def test_a_stratified_part_has_as_many_images_as_scikit_learns(share: float, count: int) -> None:
    from sklearn.model_selection import train_test_split

    labels = np.repeat(np.arange(7), 15)
    _, expected = train_test_split(np.arange(105), test_size=share, stratify=labels)
    assert len(stratified(labels, share, 0)[1]) == len(expected) == count


@pytest.mark.parametrize("channels", [1, 3])
def test_channel_statistics_are_numpys(channels: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2500, 5, 4, channels), np.uint8)
    mean, variance = channel_statistics(split_from_arrays(images, np.zeros(2500)))
    np.testing.assert_allclose(mean, images.mean((0, 1, 2), np.float64), rtol=1e-12)
    np.testing.assert_allclose(variance, images.var((0, 1, 2), np.float64), rtol=1e-10)


def test_channel_statistics_of_constant_images_are_exact() -> None:
    images = np.full((1001, 3, 3, 1), 201, np.uint8)
    assert channel_statistics(split_from_arrays(images, np.zeros(1001))) == ([201.0], [0.0])
