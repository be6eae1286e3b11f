"""The images that a network got wrong: the most confident mistakes, and the pairs of classes that it confuses most."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.files import to_csv
from cnnkit.runs.directory import LARGEST_PREDICTIONS
from cnnkit.runs.predictions_file import broken, missing, test_images
from cnnkit.runs.ranking import ranked
from cnnkit.runs.trained import TrainedRun
from cnnkit.tasks.classification.metrics import predictions_rows

if TYPE_CHECKING:
    from cnnkit.data import Split


@dataclass(frozen=True, eq=False)
class Mistake:
    """An image whose class was not the likeliest.

    Attributes:
        place: Its row in the split, from 0.
        identity: Its file, or its index in the data set.
        confidence: The probability of the predicted class, 0..1.
        true_probability: That of the true class.
    """

    place: int
    identity: str
    true_class: str
    predicted_class: str
    confidence: float
    true_probability: float


@dataclass(frozen=True, eq=False)
class ConfusedPair:
    """Images of one class that were taken for another.

    Attributes:
        count: How many of them.
        share: Of the images of the true class, 0..1.
        examples: The most confident of them.
    """

    true_class: str
    predicted_class: str
    count: int
    share: float
    examples: tuple[Mistake, ...]


@dataclass(frozen=True, eq=False)
class Predictions:
    """The images of a split, and what was said of each; for the test split, it is what predictions.csv holds.

    Attributes:
        class_names: In the order of the outputs.
        identities: A file or an index for each image.
        labels: The true class of each, [images].
        predicted: The likeliest class of each, [images].
        probabilities: [images, classes].
        open_split: Gives the images; called when the first of them are asked for.
    """

    class_names: tuple[str, ...]
    identities: tuple[str, ...]
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    open_split: Callable[[], Split]

    @cached_property
    def wrong(self) -> NDArray[np.int64]:
        """The places of the mistakes, the most confident first; equal ones in the order of the split."""
        places = np.flatnonzero(self.predicted != self.labels)
        return places[np.argsort(-self.probabilities.max(axis=1)[places], kind="stable")]

    def as_csv(self) -> str:
        """The columns of predictions.csv, one row for each image."""
        header, rows = predictions_rows(self.probabilities, self.labels, self.class_names, self.identities)
        return to_csv(header, list(rows))

    def pictures(self, mistakes: Sequence[Mistake]) -> Sequence[Any]:
        """Their images for the eye, see `Sample.pictures`.

        Raises:
            CnnkitError: if the images are not there as they were.
        """
        return self._split.pictures([mistake.place for mistake in mistakes])

    def images(self, mistakes: Sequence[Mistake]) -> NDArray[Any]:
        """Their images as the network takes them, [mistakes, ...].

        Raises:
            CnnkitError: if the images are not there as they were.
        """
        return self._split.read([mistake.place for mistake in mistakes])

    @cached_property
    def _split(self) -> Split:
        return self.open_split()


def read_predictions(trained: TrainedRun) -> Predictions:
    """The predictions of a run's test images.

    Raises:
        CnnkitError: if the run was not evaluated, or the file is broken.
    """
    run = trained.run
    names = trained.interface.class_names
    try:
        with io.TextIOWrapper(run.open(run.predictions, LARGEST_PREDICTIONS), "utf-8", newline="") as stream:
            identities, labels, predicted, probabilities = _columns(csv.reader(stream, strict=True), names)
    except FileNotFoundError:
        raise missing(trained) from None
    except (ValueError, KeyError, StopIteration, csv.Error):
        raise broken(trained) from None

    return Predictions(
        names,
        identities,
        np.array(labels, np.int64),
        np.array(predicted, np.int64),
        np.array(probabilities, np.float64),
        lambda: test_images(trained),
    )


def _columns(rows: Any, names: Sequence[str]) -> Any:
    """The columns of predictions.csv: identities, labels, predicted classes, probabilities."""
    header = next(rows)
    if header[4:] != [f"probability_{name}" for name in names]:
        raise ValueError("other classes")
    number = {name: index for index, name in enumerate(names)}
    content = []
    for row in rows:
        probabilities = [float(value) for value in row[4:]]
        if len(row) != len(header) or not all(0 <= value <= 1 for value in probabilities):
            raise ValueError("a row that is cut short")
        content.append((row[0], number[row[1]], number[row[2]], probabilities))
    return zip(*content, strict=True)


def worst_mistakes(predictions: Predictions, count: int) -> list[Mistake]:
    """The most confidently wrong images, at most `count`, the most confident first."""
    return _mistakes(predictions, predictions.wrong[:count])


def confused_pairs(predictions: Predictions, pairs: int, examples: int) -> list[ConfusedPair]:
    """The pairs of true and predicted class with the most mistakes, at most `pairs`, the largest first.

    Args:
        examples: Images for each, at most.
    """
    classes = len(predictions.class_names)
    kinds = predictions.labels[predictions.wrong] * classes + predictions.predicted[predictions.wrong]
    counts = np.bincount(kinds, minlength=classes * classes)
    chosen = [kind for kind in ranked(counts, pairs) if counts[kind]]
    places = [predictions.wrong[kinds == kind][:examples] for kind in chosen]
    totals = np.bincount(predictions.labels, minlength=classes)
    return [
        ConfusedPair(
            predictions.class_names[kind // classes],
            predictions.class_names[kind % classes],
            int(counts[kind]),
            float(counts[kind] / totals[kind // classes]),
            tuple(_mistakes(predictions, here)),
        )
        for kind, here in zip(chosen, places, strict=True)
    ]


def _mistakes(predictions: Predictions, places: NDArray[np.int64]) -> list[Mistake]:
    found = []
    for place in map(int, places):
        truth, guess = predictions.labels[place], predictions.predicted[place]
        found.append(
            Mistake(
                place,
                predictions.identities[place],
                predictions.class_names[truth],
                predictions.class_names[guess],
                float(predictions.probabilities[place, guess]),
                float(predictions.probabilities[place, truth]),
            )
        )
    return found
