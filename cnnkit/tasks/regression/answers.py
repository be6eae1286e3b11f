"""The numbers of an image, as `predict` and `serve` say them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cnnkit.errors import CnnkitError
from cnnkit.runs.interface import Interface
from cnnkit.task import Answers
from cnnkit.tasks.regression.metrics import numbers_of
from cnnkit.tasks.regression.predictions import number_text


@dataclass(frozen=True, eq=False)
class NumberAnswer:
    """What a network says about one image.

    Attributes:
        names: Of the numbers.
        numbers: [numbers], in their own units.
    """

    names: Sequence[str]
    numbers: NDArray[np.float64]

    @property
    def text(self) -> str:
        """The first of them for pictures."""
        pairs = list(zip(self.names, self.numbers.tolist(), strict=True))[:3]
        return "\n".join(f"{name} {value:.4g}" for name, value in pairs)

    def cells(self, top: int) -> Sequence[str]:
        return [f"{value:.5g}" for value in self.numbers.tolist()]

    def fields(self) -> Sequence[str]:
        return [number_text(value) for value in self.numbers.tolist()]

    def entry(self, top: int | None = None) -> dict[str, Any]:
        """`numbers`: {column: number} in the order of the outputs."""
        return {"numbers": _plain(self.names, self.numbers)}


def _plain(names: Sequence[str], numbers: Any) -> dict[str, float]:
    return {name: float(number_text(float(value))) for name, value in zip(names, numbers, strict=True)}


class NumberAnswers(Answers):
    """Numbers in their own units."""

    kind: ClassVar[str] = "numbers"
    kept: ClassVar[str] = "numbers"

    def __init__(self, interface: Interface) -> None:
        self.names = interface.class_names
        self.header = list(self.names)
        self.alignment = ">" * len(self.names)
        self.columns = list(self.names)
        self.script_lines = ["for row in outputs:", "    print(dict(zip(classes, row.tolist())))"]

    def read(self, outputs: Any) -> Sequence[NumberAnswer]:
        numbers = self.keep(outputs)
        if numbers.shape[1] != len(self.names):
            raise CnnkitError(
                f"expected a model with {len(self.names)} numbers, got one with {numbers.shape[1]} outputs"
            )
        return [NumberAnswer(self.names, row) for row in numbers]

    def truth(self, target: Any) -> dict[str, Any]:
        return {"numbers": _plain(self.names, target)}

    def are_targets(self, targets: Any) -> bool:
        fits = targets.ndim == 2 and targets.shape[1] == len(self.names) and targets.dtype.kind == "f"
        return fits and bool(np.isfinite(targets).all())

    def keep(self, outputs: Any) -> Any:
        return numbers_of(outputs)

    def same(self, kept: Any, others: Any) -> Any:
        """Where all numbers of an image agree to a thousandth of themselves, or of their spread over the images."""
        return np.isclose(others, kept, rtol=1e-3, atol=1e-3 * kept.std(axis=0)).all(axis=-1)

    def guess(self, kept: Any, target: Any) -> dict[str, Any]:
        """`numbers`, the true ones, and `predicted`: those that the network gives."""
        return {**self.truth(target), "predicted": _plain(self.names, kept)}
