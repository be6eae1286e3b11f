"""Classifiers side by side: accuracies with their intervals, and whether two differ by more than chance."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnnkit.config.class_names import same_names
from cnnkit.report.facts import Facts
from cnnkit.report.page import Missing, attempt, percent
from cnnkit.report.parts import Section
from cnnkit.report.side_by_side import Cell, SideBySide, class_section, figure_rows
from cnnkit.task import Figure
from cnnkit.tasks.classification.predictions import Predictions
from cnnkit.tasks.classification.report import result

#: A difference that chance makes more rarely is called one.
SIGNIFICANCE = 0.05

_FIGURES = (
    Figure("accuracy", "accuracy", is_share=True),
    Figure("cross_entropy", "cross-entropy", larger_is_better=False),
    Figure("calibration_error", "calibration error", larger_is_better=False),
    Figure("macro_f1", "macro F1"),
)

_NOTE = "The interval says how far the choice of the test split alone may move an accuracy (95 %, Wilson 1927)."


def compare(names: Sequence[str], facts: Sequence[Facts]) -> SideBySide:
    """See `Task.compare`."""
    rows: list[Sequence[Cell] | Missing] = []
    for one, cells in zip(facts, figure_rows(facts, _FIGURES), strict=True):
        if isinstance(one.evaluation, Missing) or isinstance(cells, Missing):
            rows.append(cells)
            continue
        accuracy, *others = cells
        rows.append([accuracy, _interval(one.evaluation), *others])
    first, *further = (figure.label for figure in _FIGURES)
    pairs = Section("noise", "More than noise?", __package__, "noise.html", {"pairs": attempt(paired, names, facts)})
    classes = class_section(names, facts, "f1", "F1")
    return SideBySide([first, "interval", *further], rows, _NOTE, [pairs], [classes])


def _interval(evaluation: dict[str, Any]) -> Cell:
    measured = result(evaluation)
    return Cell(f"{percent(measured.low)} to {percent(measured.high)}")


@dataclass(frozen=True)
class Paired:
    """Two runs on the same test images.

    Attributes:
        first_alone: Images that only the first got right; second_alone: likewise.
        probability: How often chance alone would divide these images at least this unevenly, 0..1.
        adjusted: The same, multiplied by the number of pairs (Bonferroni).
    """

    first: str
    second: str
    difference: float
    first_alone: int
    second_alone: int
    probability: float
    adjusted: float

    @property
    def more_than_noise(self) -> bool:
        return self.adjusted < SIGNIFICANCE


def paired(names: Sequence[str], facts: Sequence[Facts]) -> list[Paired] | Missing:
    """All pairs of runs that were tested on the same split.

    The test is McNemar's, in its exact form: of the images that only one of the two got right, each is as likely to be
    the one's as the other's (McNemar 1947; advised for classifiers by Dietterich 1998).
    """
    from scipy.stats import binomtest

    pairs = []
    known = [(name, one.predictions) for name, one in zip(names, facts, strict=True)]
    for (first, one), (second, other) in itertools.combinations(known, 2):
        if isinstance(one, Missing) or isinstance(other, Missing) or not _same_images(one, other):
            continue
        right, right_too = one.predicted == one.labels, other.predicted == other.labels
        alone, alone_too = int((right & ~right_too).sum()), int((right_too & ~right).sum())
        probability = float(binomtest(alone, alone + alone_too).pvalue) if alone + alone_too else 1.0
        pairs.append((first, second, float(right_too.mean() - right.mean()), alone, alone_too, probability))
    if not pairs:
        return Missing("No two of these runs were tested on the same split.")
    return [Paired(*entry, adjusted=min(1.0, entry[-1] * len(pairs))) for entry in pairs]


def _same_images(one: Predictions, other: Predictions) -> bool:
    return (
        same_names(one.class_names, other.class_names)
        and same_names(one.identities, other.identities)
        and bool(np.array_equal(one.labels, other.labels))
    )
