"""What a network says of each image's labels: predictions.csv, and the labels that it gets most wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.config.columns import SEPARATOR
from cnnkit.files import to_csv
from cnnkit.runs.predictions_file import broken, read_columns, test_images
from cnnkit.runs.trained import TrainedRun
from cnnkit.tasks.multilabel.metrics import Probabilities

if TYPE_CHECKING:
    from cnnkit.data.splits import Split

_FIRST = ("file", "labels", "predicted")


@dataclass(frozen=True, eq=False)
class Predictions:
    """The images of a split, and what was said of each.

    Attributes:
        names: Of the labels, in the order of the outputs.
        identities: A file or a place for each image.
        truth: Which labels it has, [images, labels].
        probabilities: [images, labels].
        thresholds: From which probability an image has each label.
        open_split: Gives the images; called when the first of them are asked for.
    """

    names: tuple[str, ...]
    identities: tuple[str, ...]
    truth: NDArray[np.bool_]
    probabilities: Probabilities
    thresholds: tuple[float, ...]
    open_split: Callable[[], Split]

    @property
    def said(self) -> NDArray[np.bool_]:
        """Which labels the network gives each image, [images, labels]."""
        return self.probabilities >= np.asarray(self.thresholds)

    @property
    def worst(self) -> NDArray[np.int64]:
        """The places of the images with a wrong label, that with the most confidently wrong one first.

        A missing label is as wrong as its probability is far from 1, a label too many as its probability from 0.
        """
        wrong = self.truth != self.said
        distance = np.where(wrong, np.abs(self.truth - self.probabilities), -1.0).max(axis=1)
        places = np.flatnonzero(wrong.any(axis=1))
        return places[np.argsort(-distance[places], kind="stable")]

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
        """The columns of predictions.csv: the labels, those predicted, and the probability of each."""
        rows = [
            [name, self._text(truth), self._text(said), *(f"{value:.6g}" for value in probabilities)]
            for name, truth, said, probabilities in zip(
                self.identities, self.truth, self.said, self.probabilities.tolist(), strict=True
            )
        ]
        return to_csv(_header(self.names), rows)

    def _text(self, marks: NDArray[np.bool_]) -> str:
        return SEPARATOR.join(name for name, mark in zip(self.names, marks, strict=True) if mark)


def _header(names: Sequence[str]) -> list[str]:
    return [*_FIRST, *(f"probability_{name}" for name in names)]


def read_predictions(trained: TrainedRun, thresholds: Sequence[float]) -> Predictions:
    """The predictions of a run's test images.

    Args:
        thresholds: From which probability an image has each label.

    Raises:
        CnnkitError: if the run was not evaluated, or the file is broken.
    """
    names = trained.interface.class_names
    identities, labels, _, *columns = read_columns(trained, _header(names))
    place = {name: number for number, name in enumerate(names)}
    truth = np.zeros((len(identities), len(names)), bool)
    try:
        probabilities = np.array([[float(value) for value in column] for column in columns]).T
        for row, text in enumerate(labels):
            truth[row, [place[name] for name in text.split(SEPARATOR) if name]] = True
    except (ValueError, KeyError):
        raise broken(trained) from None
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise broken(trained)
    return Predictions(names, identities, truth, probabilities, tuple(thresholds), lambda: test_images(trained))
