"""What became of the objects of each image: predictions.csv, and the images with most mistakes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.data.splits import Split
from cnnkit.files import to_csv
from cnnkit.runs.predictions_file import broken, read_columns, test_images
from cnnkit.runs.trained import TrainedRun
from cnnkit.tasks.detection.detecting import detector, threshold_of
from cnnkit.tasks.detection.peaks import Detections
from cnnkit.tasks.detection.precision import match
from cnnkit.tasks.detection.settings import Settings

_HEADER = ("file", "objects", "hits", "misses", "false_alarms")


@dataclass(frozen=True, eq=False)
class Judged:
    """The detections of an image above a score, held against its objects at an overlap of 0.5.

    Attributes:
        found: The detections.
        right: Which of them are matched with an object.
        counts: Which of them count; those in crowds do not.
        truths: The image's boxes, float [boxes, 6].
        missed: Which of them are objects that count and that nothing is matched with.
    """

    found: Detections
    right: NDArray[np.bool_]
    counts: NDArray[np.bool_]
    truths: NDArray[Any]
    missed: NDArray[np.bool_]


def judge(found: Detections, truths: NDArray[Any], threshold: float, classes: int) -> Judged:
    """What became of the objects of an image.

    Args:
        found: All detections.
        truths: float [boxes, 6].
        threshold: The score from which on they are said.
    """
    said = found.above(threshold)
    right, counts = np.zeros(len(said.scores), np.bool_), np.ones(len(said.scores), np.bool_)
    missed = truths[:, 5] == 0
    for number in range(classes):
        matches = match(said, truths, number, np.array([0.5]))
        hit = matches.matched[0] >= 0
        right[matches.places] = hit & ~matches.ignored[0]
        counts[matches.places] = ~matches.ignored[0]
        missed[matches.matched[0][hit]] = False
    return Judged(said, right, counts, truths, missed)


@dataclass(frozen=True, eq=False)
class Predictions:
    """The images of a split, and what became of their objects.

    Attributes:
        identities: A file or a place for each image.
        counts: Objects, hits, misses and false alarms of each, int64 [images, 4].
        threshold: The score from which on boxes are said.
        class_names: In the order of the outputs.
        open_split: Gives the images.
        detect: From uint8 images to all detections of each.
    """

    identities: Sequence[str]
    counts: NDArray[np.int64]
    threshold: float
    class_names: Sequence[str]
    open_split: Callable[[], Split]
    detect: Callable[[Any], list[Detections]]

    @classmethod
    def of(
        cls,
        images: Split,
        found: Sequence[Detections],
        truths: Sequence[Any],
        threshold: float,
        class_names: Sequence[str],
        detect: Callable[[Any], list[Detections]],
    ) -> Predictions:
        """From the detections and the boxes of each image."""
        judged = [judge(one, true, threshold, len(class_names)) for one, true in zip(found, truths, strict=True)]
        rows = [
            (
                int((one.truths[:, 5] == 0).sum()),
                int(one.right.sum()),
                int(one.missed.sum()),
                int((one.counts & ~one.right).sum()),
            )
            for one in judged
        ]
        counts = np.array(rows, np.int64).reshape(-1, 4)
        return cls(tuple(images.ids), counts, threshold, tuple(class_names), lambda: images, detect)

    def rates(self) -> dict[str, float]:
        """Precision, recall and F1 of all images together; 0 where there is nothing to divide by."""
        _, hits, misses, alarms = self.counts.sum(axis=0).tolist()
        return {
            "precision": hits / max(1, hits + alarms),
            "recall": hits / max(1, hits + misses),
            "f1": 2 * hits / max(1, 2 * hits + misses + alarms),
        }

    @property
    def worst(self) -> NDArray[np.int64]:
        """The places of the images with mistakes, those with most first."""
        mistakes = self.counts[:, 2] + self.counts[:, 3]
        places = np.flatnonzero(mistakes)
        return places[np.argsort(-mistakes[places], kind="stable")]

    def as_csv(self) -> str:
        rows = zip(self.identities, self.counts.tolist(), strict=True)
        return to_csv(list(_HEADER), [[name, *map(str, numbers)] for name, numbers in rows])


def read_predictions(settings: Settings, trained: TrainedRun) -> Predictions:
    """The predictions of a run's test images.

    Raises:
        CnnkitError: if the run was not evaluated, or the file is broken.
    """
    names, *columns = read_columns(trained, _HEADER)
    try:
        counts = np.array([[int(cell) for cell in column] for column in columns], np.int64).T
    except ValueError:
        raise broken(trained) from None
    return Predictions(
        names,
        counts,
        threshold_of(trained.interface),
        trained.interface.class_names,
        lambda: test_images(trained),
        detector(trained, settings),
    )
