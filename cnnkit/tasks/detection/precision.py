"""Average precision as COCO's evaluator measures it, and what became of each box.

The rules are those of `pycocotools.cocoeval` (Lin et al. 2014), area `all`: detections of a class are matched in each
image, the surest first, with the object left that they overlap most, if by at least the threshold; crowds may be
matched by any number, and neither they nor what matches them count; precision is read at 101 recalls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.tasks.detection.peaks import Detections

#: The overlaps at which precision is averaged.
THRESHOLDS = np.linspace(0.5, 0.95, 10)

#: The recalls at which precision is read.
RECALLS = np.linspace(0, 1, 101)

_EPSILON = np.spacing(1)


def overlaps(boxes: NDArray[Any], truths: NDArray[Any], crowds: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Intersection over union of boxes with the true ones, [boxes, truths]; for a crowd, over the box alone.

    Args:
        boxes, truths: Left, top, right, bottom, [n, 4].
        crowds: Which of `truths` are crowds.
    """
    upper = np.minimum(boxes[:, None, 2:], truths[None, :, 2:4])
    lower = np.maximum(boxes[:, None, :2], truths[None, :, :2])
    shared = np.prod(np.maximum(upper - lower, 0), axis=-1)
    areas = np.prod(boxes[:, 2:4] - boxes[:, :2], axis=-1)[:, None]
    true_areas = np.prod(truths[:, 2:4] - truths[:, :2], axis=-1)[None, :]
    union = np.where(crowds[None, :], areas, areas + true_areas - shared)
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


@dataclass(frozen=True, eq=False)
class Matches:
    """What became of the boxes of an image that have one class, at several thresholds.

    Attributes:
        scores: Of the detections, the surest first, [n].
        places: Theirs among the detections of the image, [n].
        matched: Which of the image's true boxes each is matched with, -1 for none: int64 [thresholds, n].
        ignored: Which detections do not count, bool [thresholds, n].
        objects: How many true boxes count.
    """

    scores: NDArray[np.float64]
    places: NDArray[np.int64]
    matched: NDArray[np.int64]
    ignored: NDArray[np.bool_]
    objects: int


def match(
    found: Detections, truths: NDArray[Any], number: int, thresholds: NDArray[Any], most: int | None = None
) -> Matches:
    """Matches the detections of a class in an image with its objects.

    Args:
        truths: float [boxes, 6], see `data.boxes.BoxTargets`.
        number: Of the class.
        most: Detections that count, the surest ones; by default all.
    """
    mine = np.flatnonzero(found.numbers == number)
    mine = mine[np.argsort(-found.scores[mine], kind="stable")][:most]
    own = np.flatnonzero(truths[:, 4] == number)
    crowds = truths[own, 5] > 0
    # Crowds last: an object that counts is preferred.
    own = own[np.argsort(crowds, kind="stable")]
    crowds = np.sort(crowds)
    shared = overlaps(found.boxes[mine], truths[own, :4].astype(np.float64), crowds)
    matched = np.full((len(thresholds), len(mine)), -1, np.int64)
    ignored = np.zeros((len(thresholds), len(mine)), np.bool_)
    ordinary = int((~crowds).sum())
    for level, threshold in enumerate(thresholds):
        taken = np.zeros(len(own), np.bool_)
        least = min(threshold, 1 - 1e-10)
        for place in np.flatnonzero(shared.max(axis=1, initial=0) >= least):
            best = _best(shared[place], taken, crowds, ordinary, least)
            if best >= 0:
                taken[best] = True
                matched[level, place] = own[best]
                ignored[level, place] = crowds[best]
    return Matches(found.scores[mine], mine, matched, ignored, ordinary)


def _best(row: Any, taken: Any, crowds: Any, ordinary: int, threshold: float) -> int:
    """The true box that a detection is matched with; -1 for none. Of equal overlaps, the last."""
    for places in (range(ordinary), range(ordinary, len(row))):
        best, overlap = -1, threshold
        for place in places:
            if (not taken[place] or crowds[place]) and row[place] >= overlap:
                best, overlap = place, row[place]
        if best >= 0:
            return best
    return -1


@dataclass(frozen=True, eq=False)
class Curve:
    """Precision and recall of a class at a threshold, with each further detection.

    Attributes:
        scores: Of the detections, falling, [n].
        precision, recall: With these, [n].
    """

    scores: NDArray[np.float64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]


def curve(matches: Sequence[Matches], level: int) -> Curve | None:
    """The curve of a class; None where no object of it counts.

    Args:
        matches: Of all images.
        level: Which of the thresholds.
    """
    objects = sum(one.objects for one in matches)
    if objects == 0:
        return None
    scores = np.concatenate([one.scores for one in matches])
    hits = np.concatenate([one.matched[level] >= 0 for one in matches])
    counting = ~np.concatenate([one.ignored[level] for one in matches])
    order = np.argsort(-scores, kind="mergesort")
    order = order[counting[order]]
    right = np.cumsum(hits[order].astype(np.float64))
    wrong = np.cumsum((~hits[order]).astype(np.float64))
    return Curve(scores[order], right / (right + wrong + _EPSILON), right / objects)


def average_precision(line: Curve) -> float:
    """The mean of the precision at 101 recalls, at each the best that is reached with at least that recall."""
    best = np.maximum.accumulate(line.precision[::-1])[::-1]
    places = np.searchsorted(line.recall, RECALLS, side="left")
    inside = places[places < len(best)]
    return float(best[inside].sum() / len(RECALLS))


@dataclass(frozen=True, eq=False)
class Precisions:
    """The average precision of each class at each threshold.

    Attributes:
        values: [classes, thresholds]; NaN for a class without objects that count.
        curves: Of each class at the first threshold; None likewise.
        objects: How many objects of each class count, int64 [classes].
    """

    values: NDArray[np.float64]
    curves: Sequence[Curve | None]
    objects: NDArray[np.int64]

    def mean(self, level: int | None = None) -> float:
        """The mean over the classes that occur, at one of the thresholds or over all; NaN where none does."""
        values = self.values if level is None else self.values[:, level]
        known = values[~np.isnan(values)]
        return float(known.mean()) if len(known) else float("nan")


def precisions(each: Sequence[Detections], truths: Sequence[NDArray[Any]], classes: int, most: int) -> Precisions:
    """Average precision on a whole split.

    Args:
        each: What was found in each image.
        truths: The true boxes of each, float [boxes, 6].
        most: Detections of a class in an image that count.
    """
    values = np.full((classes, len(THRESHOLDS)), np.nan)
    curves: list[Curve | None] = []
    objects = np.zeros(classes, np.int64)
    for number in range(classes):
        matches = [match(found, true, number, THRESHOLDS, most) for found, true in zip(each, truths, strict=True)]
        objects[number] = sum(one.objects for one in matches)
        lines = [curve(matches, level) for level in range(len(THRESHOLDS))]
        curves.append(lines[0])
        for level, line in enumerate(lines):
            if line is not None:
                values[number, level] = average_precision(line)
    return Precisions(values, curves, objects)
