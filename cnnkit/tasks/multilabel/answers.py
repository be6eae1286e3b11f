"""The labels of an image, as `predict` and `serve` say them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cnnkit.config.columns import SEPARATOR
from cnnkit.errors import CnnkitError
from cnnkit.runs.interface import Interface
from cnnkit.runs.ranking import ranked
from cnnkit.task import Answers
from cnnkit.tasks.multilabel.metrics import label_probabilities
from cnnkit.tasks.multilabel.thresholds import Stated, thresholds_of


@dataclass(frozen=True, eq=False)
class LabelAnswer:
    """What a network says about one image.

    Attributes:
        names: Of the labels.
        probabilities: [labels].
        thresholds: From which probability the image has each label, [labels].
    """

    names: Sequence[str]
    probabilities: NDArray[np.float64]
    thresholds: NDArray[np.float64]

    @property
    def labels(self) -> list[str]:
        """Those that the image has, in their order."""
        marks = self.probabilities >= self.thresholds
        return [name for name, mark in zip(self.names, marks, strict=True) if mark]

    @property
    def text(self) -> str:
        """The labels for pictures."""
        return ", ".join(self.labels) or "no label"

    def cells(self, top: int) -> Sequence[str]:
        likeliest = [(self.names[index], float(self.probabilities[index])) for index in ranked(self.probabilities, top)]
        return [", ".join(self.labels) or "-", ", ".join(f"{name} {value:.4f}" for name, value in likeliest)]

    def fields(self) -> Sequence[str]:
        """With six significant digits, as in `entry`."""
        return [SEPARATOR.join(self.labels), *(f"{value:.6g}" for value in self.probabilities.tolist())]

    def entry(self, top: int | None = None) -> dict[str, Any]:
        """`labels`: those that the image has; `probabilities`: {label: p} in the order of the outputs."""
        order = range(len(self.names)) if top is None else ranked(self.probabilities, top)
        return {
            "labels": self.labels,
            "probabilities": {self.names[index]: float(f"{self.probabilities[index]:.6g}") for index in order},
        }


class LabelAnswers(Answers):
    """Labels with their probabilities.

    Args:
        stated: The thresholds of the config.
        interface: What the network takes and outputs.
    """

    kind: ClassVar[str] = "labels"
    kept: ClassVar[str] = "probabilities"

    def __init__(self, stated: Stated, interface: Interface) -> None:
        self.names = interface.class_names
        self.head = interface.head
        self.thresholds = np.asarray(thresholds_of(stated, interface))
        self.header = ["labels", "probabilities"]
        self.alignment = "<<"
        self.columns = ["labels", *(f"probability_{name}" for name in self.names)]
        of_logits = ["outputs = 1 / (1 + np.exp(-outputs))"] if self.head == "logits" else []
        self.script_lines = [
            *of_logits,
            f"thresholds = {self.thresholds.tolist()}",
            "for row in outputs:",
            "    print([name for name, value, least in zip(classes, row, thresholds) if value >= least], row)",
        ]
        if stated == "validation" and "thresholds" not in interface.concluded:
            self.note = "the training ended before thresholds were chosen; a label counts from 0.5"

    def read(self, outputs: Any) -> Sequence[LabelAnswer]:
        probabilities = self.keep(outputs)
        if probabilities.shape[1] != len(self.names):
            raise CnnkitError(
                f"expected a model with {len(self.names)} labels, got one with {probabilities.shape[1]} outputs"
            )
        return [LabelAnswer(self.names, row, self.thresholds) for row in probabilities]

    def truth(self, target: Any) -> dict[str, Any]:
        return {"labels": [name for name, mark in zip(self.names, target, strict=True) if mark]}

    def are_targets(self, targets: Any) -> bool:
        return targets.ndim == 2 and targets.shape[1] == len(self.names) and bool(np.isin(targets, (0, 1)).all())

    def keep(self, outputs: Any) -> Any:
        return label_probabilities(outputs, self.head)

    def same(self, kept: Any, others: Any) -> Any:
        """Where an image has the same labels."""
        return ((kept >= self.thresholds) == (others >= self.thresholds)).all(axis=-1)

    def guess(self, kept: Any, target: Any) -> dict[str, Any]:
        """`labels`, the true ones, whether all are `right`, and `predicted`: those that the network gives."""
        predicted = LabelAnswer(self.names, kept, self.thresholds).labels
        truth = self.truth(target)
        return {**truth, "right": predicted == truth["labels"], "predicted": predicted}
