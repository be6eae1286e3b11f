"""When two networks say the same of an image, which each task decides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cnnkit.runs.interface import Interface
from cnnkit.task import Answers
from cnnkit.tasks.classification import Classification
from cnnkit.tasks.multilabel import Multilabel
from cnnkit.tasks.regression import Regression
from cnnkit.tasks.segmentation import Segmentation

NAMES = ("a", "b", "c")


def same(answers: Answers, first: Sequence[Any], second: Sequence[Any]) -> list[Any]:
    kept = [answers.keep(np.array(outputs, np.float32)) for outputs in (first, second)]
    equal: list[Any] = answers.same(*kept).tolist()
    return equal


def test_a_class_is_the_same_whatever_its_probability() -> None:
    answers = Classification.with_defaults().answers(Interface((8, 8, 1), NAMES, "softmax"))
    assert same(answers, [[0.6, 0.3, 0.1], [0.4, 0.3, 0.3]], [[0.5, 0.4, 0.1], [0.3, 0.4, 0.3]]) == [True, False]


def test_labels_are_the_same_on_the_same_sides_of_their_thresholds() -> None:
    interface = Interface((8, 8, 1), NAMES, "sigmoid", concluded={"thresholds": [0.5, 0.2, 0.9]})
    answers = Multilabel(thresholds="validation").answers(interface)
    assert same(answers, [[0.6, 0.3, 0.8], [0.6, 0.3, 0.8]], [[0.9, 0.21, 0.1], [0.6, 0.1, 0.8]]) == [True, False]


def test_numbers_are_the_same_to_a_thousandth_of_their_spread() -> None:
    answers = Regression.with_defaults().answers(Interface((8, 8, 1), NAMES[:1], "logits"))
    assert same(answers, [[-1000.0], [0.0], [1000.0]], [[-1000.5], [0.5], [1003.0]]) == [True, True, False]


def test_masks_are_the_same_pixel_by_pixel_inside_the_border() -> None:
    answers = Segmentation.with_defaults().answers(Interface((3, 2, 1), NAMES, "softmax", padding=(1, 0, 0, 0)))
    masks = np.eye(3)[np.array([[[0, 0], [1, 2], [2, 1]], [[0, 0], [1, 1], [1, 1]]])]
    others = np.eye(3)[np.array([[[2, 2], [1, 2], [2, 0]], [[1, 0], [1, 1], [1, 1]]])]
    assert same(answers, masks, others) == [[[True, True], [True, False]], [[True, True], [True, True]]]
