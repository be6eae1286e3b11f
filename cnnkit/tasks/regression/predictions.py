"""The numbers that a network gives each image: predictions.csv, and the largest errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.files import to_csv
from cnnkit.runs.predictions_file import broken, read_columns, test_images
from cnnkit.runs.trained import TrainedRun

if TYPE_CHECKING:
    from cnnkit.data.splits import Split


@dataclass(frozen=True, eq=False)
class Predictions:
    """The images of a split, and the numbers of each.

    Attributes:
        names: Of the numbers, in the order of the outputs.
        identities: A file or a place for each image.
        truth, predicted: [images, numbers], in their own units.
        open_split: Gives the images; called when the first of them are asked for.
    """

    names: tuple[str, ...]
    identities: tuple[str, ...]
    truth: NDArray[np.float64]
    predicted: NDArray[np.float64]
    open_split: Callable[[], Split]

    @property
    def errors(self) -> NDArray[np.float64]:
        """Predicted less true, [images, numbers]."""
        return self.predicted - self.truth

    @property
    def worst(self) -> NDArray[np.int64]:
        """The places of the images that are not exact, the largest error first.

        Errors of different numbers are compared in standard deviations of the true ones.
        """
        sizes = self._sizes.max(axis=1)
        places = np.flatnonzero(sizes > 0)
        return places[np.argsort(-sizes[places], kind="stable")]

    @cached_property
    def _sizes(self) -> NDArray[np.float64]:
        """Of the errors, in standard deviations of the true numbers, [images, numbers]."""
        spread = self.truth.std(axis=0)
        return np.abs(self.errors) / np.where(spread > 0, spread, 1.0)

    def farthest(self, place: int) -> int:
        """Which number of an image has the largest error."""
        return int(self._sizes[place].argmax())

    def pictures(self, places: Sequence[int] | NDArray[Any]) -> Sequence[Any]:
        """Some of the images for the eye, see `Sample.pictures`.

        Raises:
            CnnkitError: if they are not there as they were.
        """
        return self._split.pictures(places)

    @cached_property
    def _split(self) -> Split:
        return self.open_split()

    def as_csv(self) -> str:
        """The columns of predictions.csv: the true and the predicted value of each number."""
        pairs = np.stack([self.truth, self.predicted], axis=2).reshape(len(self.truth), -1)
        rows = [[name, *map(number_text, values)] for name, values in zip(self.identities, pairs.tolist(), strict=True)]
        return to_csv(_header(self.names), rows)


def number_text(value: float) -> str:
    """With seven significant digits, about as many as float32 has."""
    return f"{value:.7g}"


def _header(names: Sequence[str]) -> list[str]:
    return ["file", *(f"{kind}_{name}" for name in names for kind in ("true", "predicted"))]


def read_predictions(trained: TrainedRun) -> Predictions:
    """The predictions of a run's test images.

    Raises:
        CnnkitError: if the run was not evaluated, or the file is broken.
    """
    names = trained.interface.class_names
    identities, *columns = read_columns(trained, _header(names))
    try:
        numbers = np.array([[float(value) for value in column] for column in columns]).T
    except ValueError:
        raise broken(trained) from None
    if not np.isfinite(numbers).all():
        raise broken(trained)
    return Predictions(names, identities, numbers[:, ::2], numbers[:, 1::2], lambda: test_images(trained))
