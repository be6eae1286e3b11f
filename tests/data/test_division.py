"""Images divided in two: labels keep their shares, and groups stay whole."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnkit.data.division import at_random, by_groups, by_labels, stratified
from cnnkit.data.targets import ClassNumbers, LabelVectors, Vectors
from cnnkit.errors import CnnkitError


def counts_in(groups: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Images of each label in each group, [groups, labels]."""
    return np.array([labels[groups == group].sum(axis=0) for group in range(groups.max() + 1)])


def rare_labels(size: int, seed: int) -> np.ndarray:
    """Labels of every frequency from one in two to one in a hundred; some images have none."""
    random = np.random.default_rng(seed)
    return (random.random((size, 6)) < [0.5, 0.3, 0.2, 0.1, 0.03, 0.01]).astype(np.float32)


# --- Labels -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_each_label_keeps_its_share_better_than_by_chance(share: float, seed: int) -> None:
    from sklearn.model_selection import train_test_split

    labels = rare_labels(1000, seed)
    rest, part = by_labels(labels, share, seed)
    assert sorted([*rest, *part]) == list(range(1000))
    assert abs(len(part) - share * 1000) <= 10
    counts = labels.sum(axis=0)
    error = np.abs(labels[part].sum(axis=0) - share * counts)
    assert error.max() <= 2
    _, chance = train_test_split(np.arange(1000), test_size=share, random_state=seed)
    assert error.sum() < np.abs(labels[chance].sum(axis=0) - share * counts).sum()
    unlabelled = ~labels.any(axis=1)
    assert abs(unlabelled[part].sum() - share * unlabelled.sum()) <= 10


def test_one_label_per_image_is_divided_as_scikit_learn_divides_classes() -> None:
    from sklearn.model_selection import train_test_split

    classes = np.repeat(np.arange(4), [10, 20, 40, 80])
    _, part = by_labels(np.eye(4)[classes], 0.2, 0)
    _, expected = train_test_split(np.arange(150), test_size=0.2, stratify=classes)
    assert np.bincount(classes[part]).tolist() == np.bincount(classes[expected]).tolist() == [2, 4, 8, 16]


@given(
    # Labels that never meet, of two images or more: each can be on both sides.
    counts=st.lists(st.integers(2, 12), min_size=1, max_size=6),
    share=st.floats(0.05, 0.5),
    seed=st.integers(0, 1000),
)
@settings(deadline=None)
def test_a_label_of_two_images_is_on_both_sides(counts: list[int], share: float, seed: int) -> None:
    labels = np.eye(len(counts))[np.repeat(np.arange(len(counts)), counts)]
    rest, part = by_labels(labels, share, seed)
    assert labels[rest].any(axis=0).all()
    assert labels[part].any(axis=0).all()


@given(
    marks=st.lists(st.tuples(*[st.booleans()] * 4), min_size=2, max_size=40),
    share=st.floats(0.05, 0.5),
    seed=st.integers(0, 1000),
)
@settings(deadline=None, max_examples=100)
def test_whatever_the_labels_are_a_rare_one_is_lacking_only_where_others_need_its_images(
    marks: Sequence[tuple[bool, ...]], share: float, seed: int
) -> None:
    labels = np.array(marks, np.float32)
    try:
        rest, part = by_labels(labels, share, seed)
    except CnnkitError:
        assert len(labels) - np.ceil(len(labels) * share - 1e-9) < 1
        return
    assert sorted([*rest, *part]) == list(range(len(labels)))
    assert by_labels(labels, share, seed)[1].tolist() == part.tolist()
    with_none = np.column_stack([labels, ~labels.any(axis=1)])
    for label in range(5):
        for side, other in ((rest, part), (part, rest)):
            held = other[with_none[other, label] == 1]
            if with_none[side, label].sum() or len(held) < 2:
                continue
            there = with_none[other].sum(axis=0)
            assert all((there[with_none[place] == 1] == 1).any() for place in held)


def test_the_division_of_a_set_stays_what_it_is() -> None:
    # Published results rest on it: neither a new NumPy nor a change here may move an image.
    _, part = by_labels(rare_labels(30, 0), 0.2, 1)
    assert part.tolist() == [0, 5, 7, 8, 11, 27, 28]
    _, part = at_random(30, 0.2, 1)
    assert part.tolist() == stratified(np.zeros(30, int), 0.2, 1)[1].tolist() == [10, 14, 17, 19, 20, 21]


# --- Groups -------------------------------------------------------------------------------------------


@given(
    sizes=st.lists(st.integers(1, 9), min_size=2, max_size=30),
    share=st.floats(0.05, 0.5),
    seed=st.integers(0, 1000),
    kind=st.sampled_from(["classes", "labels", "numbers"]),
)
@settings(deadline=None, max_examples=60)
def test_no_group_is_torn_apart(sizes: list[int], share: float, seed: int, kind: str) -> None:
    random = np.random.default_rng(seed)
    groups = random.permutation(np.repeat(np.arange(len(sizes)), sizes))
    targets = {
        "classes": ClassNumbers(random.integers(0, 3, len(groups)), "abc"),
        "labels": LabelVectors(random.random((len(groups), 3)) < 0.3, "abc"),
        "numbers": Vectors(random.random((len(groups), 2))),
    }[kind]
    counts = targets.count_in(groups)
    try:
        rest, part = by_groups(groups, counts, share, seed)
    except CnnkitError:
        # Each group is the only one with some class or label.
        only = (counts > 0).sum(axis=0) == 1
        assert (counts[:, only] > 0).any(axis=1).all()
        return
    assert sorted([*rest, *part]) == list(range(len(groups)))
    assert set(groups[rest]).isdisjoint(groups[part])
    assert len(rest) > 0
    assert len(part) > 0
    # What training has nothing of, it cannot learn.
    assert (counts[np.unique(groups[rest])].sum(axis=0) > 0).tolist() == (counts.sum(axis=0) > 0).tolist()
    assert by_groups(groups, counts, share, seed)[1].tolist() == part.tolist()


@pytest.mark.parametrize("seed", range(5))
def test_groups_keep_the_shares_of_classes_as_closely_as_scikit_learns(seed: int) -> None:
    from sklearn.model_selection import StratifiedGroupKFold

    random = np.random.default_rng(seed)
    groups = random.integers(0, 60, 900)
    # Most images of a patient are of one class.
    usual = random.integers(0, 4, 60)
    classes = np.where(random.random(900) < 0.8, usual[groups], random.integers(0, 4, 900))
    targets = ClassNumbers(classes, "abcd")

    def error(part: np.ndarray) -> float:
        return float(np.abs(np.bincount(classes[part], minlength=4) / np.bincount(classes) - 0.2).max())

    _, part = by_groups(groups, targets.count_in(groups), 0.2, seed)
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=seed).split(classes, classes, groups)
    assert error(part) <= max(error(fold) for _, fold in folds)
    assert error(part) < 0.05


def test_counts_of_groups_are_those_of_a_table() -> None:
    groups = np.array([0, 2, 2, 0, 1])
    assert ClassNumbers([1, 0, 0, 1, 0], "ab").count_in(groups).tolist() == [[0, 2], [1, 0], [2, 0]]
    labels = np.array([[1, 1], [0, 0], [1, 0], [0, 1], [0, 0]])
    assert LabelVectors(labels, "ab").count_in(groups).tolist() == counts_in(groups, labels).tolist()
    assert Vectors(labels).count_in(groups).shape == (3, 0)


def test_one_group_cannot_be_divided() -> None:
    with pytest.raises(CnnkitError, match="all that is to be divided is in one group"):
        by_groups(np.zeros(4, int), np.zeros((1, 0)), 0.2, 0)
    with pytest.raises(CnnkitError, match=r"the last of some class.*validation"):
        by_groups(np.array([0, 0, 1]), np.array([[2, 0], [0, 1]]), 0.2, 0, purpose="validation")
