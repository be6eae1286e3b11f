"""From which probability an image has a label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.errors import CnnkitError
from cnnkit.runs.interface import Interface
from cnnkit.runs.thresholds import threshold_between

if TYPE_CHECKING:
    from cnnkit.data.splits import Split
    from cnnkit.runs.trained import TrainedRun

#: What a config says: one for all labels, one for each, or `validation`.
Stated = float | list[float] | str

#: Before any are chosen.
_MIDDLE = 0.5


def stated_thresholds(stated: Stated, labels: int) -> list[float]:
    """One threshold for each label, as far as the config tells."""
    if isinstance(stated, list):
        return stated
    return [_MIDDLE if isinstance(stated, str) else stated] * labels


def thresholds_of(stated: Stated, interface: Interface) -> list[float]:
    """One threshold for each label of a run: those that were chosen on its validation images, else those stated."""
    labels = len(interface.class_names)
    chosen = interface.concluded.get("thresholds") if stated == "validation" else None
    if chosen is None:
        return stated_thresholds(stated, labels)
    if not isinstance(chosen, list) or len(chosen) != labels or not all(_is_probability(value) for value in chosen):
        raise CnnkitError(
            f"expected {labels} thresholds between 0 and 1 in the run's notes, one per label, got {chosen!r}",
            "The run was damaged; train it again.",
        )
    return chosen


def _is_probability(value: Any) -> bool:
    return isinstance(value, int | float) and 0 <= value <= 1


def choose_thresholds(trained: TrainedRun, validation: Split) -> list[float]:
    """For each label, the threshold with the best F1 on the validation images."""
    from cnnkit.runs.outputs import outputs_for
    from cnnkit.tasks.multilabel.metrics import label_probabilities

    answer = outputs_for(trained, validation)
    return best_thresholds(label_probabilities(answer.outputs, trained.interface.head), answer.targets)


def best_thresholds(probabilities: NDArray[Any], truth: NDArray[Any]) -> list[float]:
    """For each label, the threshold with the largest F1: in the middle between two probabilities that occur.

    Of equally good ones the one nearest to 0.5; 0.5 for a label that no image has.

    Args:
        probabilities, truth: [images, labels].
    """
    return [
        _best_threshold(column, marks > 0) if marks.any() else _MIDDLE
        for column, marks in zip(probabilities.T, truth.T, strict=True)
    ]


def _best_threshold(probabilities: NDArray[Any], truth: NDArray[np.bool_]) -> float:
    order = np.argsort(-probabilities, kind="stable")
    scores, right = probabilities[order], np.cumsum(truth[order])
    # With the first n images said to have the label: F1 = 2 right / (n + all that have it).
    f1 = 2 * right / (np.arange(1, len(scores) + 1) + truth.sum())
    below = np.append(scores[1:], 0.0)
    middles = (scores + below) / 2
    # Of equal probabilities, all have the label or none; below the smallest one, there is room down to 0.
    cuts = np.append(scores[:-1] > scores[1:], True)
    best = np.flatnonzero(cuts & (f1 == f1[cuts].max()))
    place = best[np.abs(middles[best] - _MIDDLE).argmin()]
    return threshold_between(float(below[place]), float(scores[place]), 6)


def text_of(thresholds: Sequence[float]) -> str:
    """Thresholds for tables, `0.5` where all are alike."""
    different = list(dict.fromkeys(thresholds))
    return f"{different[0]:g}" if len(different) == 1 else ", ".join(f"{value:.3g}" for value in thresholds)
