"""The class of an image, and the probabilities of all classes, as `predict` and `serve` say them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cnnkit.errors import CnnkitError
from cnnkit.runs.heads import probabilities_from_outputs
from cnnkit.runs.interface import Interface
from cnnkit.runs.ranking import ranked
from cnnkit.task import Answers


@dataclass(frozen=True, eq=False)
class ClassAnswer:
    """What a network says about one image.

    Attributes:
        class_names: One name per class.
        probabilities: [classes].
    """

    class_names: Sequence[str]
    probabilities: NDArray[np.float64]

    def ranked(self, top: int) -> list[tuple[str, float]]:
        """The `top` likeliest classes with their probabilities, the likeliest first."""
        order = ranked(self.probabilities, top)
        return [(self.class_names[index], float(self.probabilities[index])) for index in order]

    @property
    def likeliest(self) -> int:
        """The place of the likeliest class."""
        return int(self.probabilities.argmax())

    def cells(self, top: int) -> Sequence[str]:
        (name, probability), *others = self.ranked(top)
        return [name, f"{probability:.4f}", ", ".join(f"{other} {value:.4f}" for other, value in others)]

    def fields(self) -> Sequence[str]:
        """With six significant digits, as in `entry`."""
        numbers = [f"{value:.6g}" for value in self.probabilities.tolist()]
        return [self.class_names[self.likeliest], numbers[self.likeliest], *numbers]

    def entry(self, top: int | None = None) -> dict[str, Any]:
        """`class`, `probability` and `probabilities`: {class: p} in the order of the outputs."""
        numbers = [float(f"{value:.6g}") for value in self.probabilities.tolist()]
        order = range(len(numbers)) if top is None else ranked(self.probabilities, top)
        return {
            "class": self.class_names[self.likeliest],
            "probability": numbers[self.likeliest],
            "probabilities": {self.class_names[index]: numbers[index] for index in order},
        }


class ClassAnswers(Answers):
    """Classes with their probabilities, whatever the network ends in."""

    kind: ClassVar[str] = "classes"
    kept: ClassVar[str] = "probabilities"

    def __init__(self, interface: Interface) -> None:
        self.class_names = interface.class_names
        self.head = interface.head
        self.header = ["class", "probability", "next"]
        self.alignment = "<><"
        self.columns = ["class", "probability", *(f"probability_{name}" for name in self.class_names)]
        self.subjects = self.class_names
        self.script_lines = ["for row in outputs:", "    print(classes[row.argmax()], row)"]
        if self.head != "softmax":
            done = "scaled to a sum of 1" if self.head == "sigmoid" else "put through a softmax"
            self.note = f"the network ends in {self.head}; its outputs were {done}"

    def read(self, outputs: Any) -> Sequence[ClassAnswer]:
        return [ClassAnswer(self.class_names, row) for row in self.probabilities(outputs)]

    def subject(self, outputs: Any, size: tuple[int, int] | None = None) -> int:
        return int(np.argmax(outputs))

    def truth(self, target: Any) -> dict[str, Any]:
        return {"class": self.class_names[int(target)]}

    def are_targets(self, targets: Any) -> bool:
        is_number = targets.ndim == 1 and targets.dtype.kind == "i"
        return is_number and bool(np.isin(targets, np.arange(len(self.class_names))).all())

    def keep(self, outputs: Any) -> Any:
        return probabilities_from_outputs(outputs, self.head)

    def same(self, kept: Any, others: Any) -> Any:
        """Where the likeliest class is the same."""
        return kept.argmax(axis=-1) == others.argmax(axis=-1)

    def guess(self, kept: Any, target: Any) -> dict[str, Any]:
        """`class`, the true one, whether that is `right`, and `top`: the three likeliest with their probabilities."""
        likeliest = ranked(kept, 3)
        top = [{"class": self.class_names[index], "probability": float(kept[index])} for index in likeliest]
        return {**self.truth(target), "right": likeliest[0] == int(target), "top": top}

    def probabilities(self, outputs: Any) -> NDArray[np.float64]:
        """The class probabilities, [images, classes], for the network's outputs.

        Raises:
            CnnkitError: if they do not fit the classes, or are not finite.
        """
        probabilities = probabilities_from_outputs(outputs, self.head)
        if probabilities.shape[1] != len(self.class_names):
            raise CnnkitError(
                f"expected a model with {len(self.class_names)} classes, got one with {probabilities.shape[1]} outputs"
            )
        if not np.isfinite(probabilities).all():
            raise CnnkitError(
                "expected finite probabilities, the model outputs NaN or infinity",
                "Its weights are not usable; train again with a lower learning rate.",
            )
        return probabilities
