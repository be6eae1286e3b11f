"""Images divided in two: with a share of every class or label in both parts, and whole groups in one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from cnnkit.errors import CnnkitError

Array = np.ndarray[Any, Any]

#: Divisions into groups that are drawn, of which the best counts; and groups that are drawn in all of them together.
_TRIES = 32
_DRAWN = 20_000


def stratified(
    labels: Array, share: float, seed: int, *, class_names: Sequence[str] | None = None, purpose: str = "test"
) -> tuple[Array, Array]:
    """Divide positions into the rest and a part with `share` of every class, at random by `seed`.

    Each class gives its share rounded down or up, such that the part has share * n images, rounded up as
    scikit-learn does; but never less than one.

    Returns:
        Rest and part, both sorted int64 positions into `labels`.

    Raises:
        CnnkitError: if a class has fewer than two images, or would have none left.
    """
    # RandomState's stream is frozen for good, so that a split stays the same under every NumPy.
    random = np.random.RandomState(seed)
    present = np.unique(labels)
    counts = np.array([np.count_nonzero(labels == label) for label in present])
    takes = _shares(counts, share)
    parts = []
    for label, count, take in zip(present, counts, takes, strict=True):
        if count - take < 1:
            name = class_names[label] if class_names is not None else str(label)
            raise CnnkitError(
                f"of the class `{name}` there {'is' if count == 1 else 'are'} {count} to train on; expected at least "
                f"{take + 1}, to hold out {take} for the {purpose} split",
                "Add some of this class"
                + (", or set `data.validation: 0`." if purpose == "validation" else ", or name a test split."),
            )
        parts.append(random.permutation(np.flatnonzero(labels == label))[:take])
    part = np.sort(np.concatenate(parts)).astype(np.int64)
    rest = np.setdiff1d(np.arange(len(labels)), part)
    return rest, part


def _shares(counts: Array, share: float) -> Array:
    """Whole shares of each count whose sum is the share of the total (the largest-remainder method)."""
    exact = counts * share
    takes = np.floor(exact).astype(np.int64)
    # 0.07 * 100 is a little above 7 in floating point.
    missing = math.ceil(float(counts.sum() * share) - 1e-9) - int(takes.sum())
    largest = np.argsort(takes - exact, kind="stable")
    takes[largest[: max(0, missing)]] += 1
    return np.maximum(takes, 1)


def at_random(size: int, share: float, seed: int, *, purpose: str = "test") -> tuple[Array, Array]:
    """Divide positions into the rest and a part with a share of them, rounded up; as `stratified` for one class.

    Raises:
        CnnkitError: if no image would be left.
    """
    take = int(_shares(np.array([size]), share)[0])
    _check_left(size, take, purpose)
    part = np.sort(np.random.RandomState(seed).permutation(size)[:take]).astype(np.int64)
    return np.setdiff1d(np.arange(size), part), part


def by_labels(labels: Array, share: float, seed: int, *, purpose: str = "test") -> tuple[Array, Array]:
    """Divide images with any number of labels each into the rest and a part with about a share of every label.

    Args:
        labels: Zeros and ones [n, k].

    Returns:
        Rest and part, see `divide_labels`.

    Raises:
        CnnkitError: if no image would be left.
    """
    _check_left(len(labels), _held_out(len(labels), share), purpose)
    return divide_labels(labels, share, seed)


def divide_labels(labels: Array, share: float, seed: int) -> tuple[Array, Array]:
    """Places of images, at random by the seed: the rest, and about a share of every label.

    Iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011): again and again, the images of the label that has
    fewest left are dealt out, each to the side that lacks most of this label. Images without a label count as a label
    of their own, and a label that two images have is held to be lacked on both sides.

    Args:
        labels: Zeros and ones [n, k].

    Returns:
        Rest and part, both sorted int64 positions.
    """
    size = len(labels)
    held_out = _held_out(size, share)
    marks = np.column_stack([labels, ~labels.astype(bool).any(axis=1)]).astype(np.int64)
    counts = marks.sum(axis=0)
    held = np.where(counts > 1, np.clip(counts * share, 1, counts - 1), counts * share)
    lacking = np.stack([counts - held, held])
    room = np.array([size - held_out, held_out])
    order = np.random.RandomState(seed).permutation(size)
    sides = np.full(size, -1)
    while len(order):
        left = marks[order].sum(axis=0)
        rarest = int(np.argmin(np.where(left > 0, left, size + 1)))
        chosen = marks[order, rarest] == 1
        for place in order[chosen]:
            rest, part = lacking[:, rarest]
            side = int(part > rest or (part == rest and room[1] > room[0]))
            sides[place] = side
            lacking[side] -= marks[place]
            room[side] -= 1
        order = order[~chosen]
    _share_out(marks, sides)
    return np.flatnonzero(sides == 0), np.flatnonzero(sides == 1)


def _held_out(size: int, share: float) -> int:
    """A share of so many images, rounded up; at least one."""
    return max(1, math.ceil(size * share - 1e-9))


def _share_out(marks: Array, sides: Array) -> None:
    """Moves an image of each label that all its images have on one side, where no other label then lacks there."""
    for label in range(marks.shape[1]):
        places = np.flatnonzero(marks[:, label])
        if len(places) < 2 or len(set(sides[places])) > 1:
            continue
        side = sides[places[0]]
        there = marks[sides == side].sum(axis=0)
        for place in places:
            if (there[marks[place] == 1] > 1).all():
                sides[place] = 1 - side
                break


def by_groups(groups: Array, counts: Array, share: float, seed: int, *, purpose: str = "test") -> tuple[Array, Array]:
    """Divide images into the rest and a part, whole groups to either, with about a share of all and of every class.

    Groups are drawn at random; each that brings the part nearer to its shares goes there. Of several such divisions,
    that with the most classes in both parts counts, and of equals the one nearest to the shares. The rest keeps a group
    of every class.

    Args:
        groups: The group of each image, 0..g-1, int64 [n].
        counts: Of how many images in each group a share is to be kept, for each class or label: int64 [g, k].

    Returns:
        Rest and part, both sorted int64 positions.

    Raises:
        CnnkitError: if no group can be held out.
    """
    sizes = np.bincount(groups, minlength=len(counts))
    present = np.flatnonzero(sizes)
    random = np.random.RandomState(seed)
    columns = np.column_stack([sizes, counts])
    columns = columns[:, columns.any(axis=0)]
    tries = max(1, min(_TRIES, _DRAWN // max(1, len(present))))
    drawn = [_draw_groups(columns, random.permutation(present), share) for _ in range(tries)]
    best = min(drawn, key=lambda chosen: _distance(columns, chosen, share))
    if not len(best):
        if len(present) < 2:
            why = "all that is to be divided is in one group"
        else:
            why = "each of the groups has the last of some class or label"
        raise CnnkitError(
            f"{why}; expected at least two of which either can be held out for the {purpose} split",
            "Add some of other groups"
            + (
                ", or set `data.validation: 0`."
                if purpose == "validation"
                else ", or name the splits with `data.split`."
            ),
        )
    part = np.flatnonzero(np.isin(groups, best))
    return np.setdiff1d(np.arange(len(groups)), part), part


def _draw_groups(columns: Array, order: Array, share: float) -> Array:
    """Some of the groups, taken in an order as long as they bring each column nearer to its share.

    Args:
        columns: How many images of each kind are in each group, [g, k]; the first column counts all.
    """
    shares = columns / columns.sum(axis=0)
    holders = (columns > 0).sum(axis=0)
    total = np.zeros(columns.shape[1])
    chosen: list[int] = []
    smallest: int | None = None
    for group in order:
        held = columns[group] > 0
        if (holders[held] < 2).any():
            continue
        if smallest is None or columns[group, 0] < columns[smallest, 0]:
            smallest = int(group)
        with_it = total + shares[group]
        if ((with_it - share) ** 2).sum() < ((total - share) ** 2).sum():
            total = with_it
            chosen.append(int(group))
            holders = holders - held
    # Where each group is far larger than the share, one has to be held out all the same.
    return np.array(chosen or ([] if smallest is None else [smallest]), np.int64)


def _distance(columns: Array, chosen: Array, share: float) -> tuple[int, float]:
    """How many kinds of images that several groups have are not in the part; and how far it is from its shares."""
    held = columns[chosen].sum(axis=0)
    lacking = (held == 0) & ((columns > 0).sum(axis=0) > 1)
    return int(lacking.sum()), float((((held / columns.sum(axis=0)) - share) ** 2).sum())


def _check_left(size: int, take: int, purpose: str) -> None:
    if size - take < 1:
        raise CnnkitError(
            f"there {'is' if size == 1 else 'are'} {size} to train on; expected at "
            f"least {take + 1}, to hold out {take} for the {purpose} split",
            "Add some" + (", or set `data.validation: 0`." if purpose == "validation" else ", or name a test split."),
        )
