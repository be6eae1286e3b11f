"""What a network says of each image's mask: predictions.csv, and the images that it gets most wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.config.target import Target
from cnnkit.data.splits import Split
from cnnkit.files import to_csv
from cnnkit.images.padding import Padding
from cnnkit.runs.heads import pixel_probabilities
from cnnkit.runs.predictions_file import broken, read_columns, test_images
from cnnkit.runs.trained import TrainedRun
from cnnkit.tasks.segmentation.metrics import Confusion, iou_of

_HEADER = ("file", "pixel_accuracy", "mean_iou", "pixels", "worst_class")


@dataclass(frozen=True, eq=False)
class Predictions:
    """The images of a split, and how right their masks are.

    Attributes:
        identities: A file or a place for each image.
        pixel_accuracy: Of the pixels that count, 0..1, [images]; NaN where none does.
        mean_iou: Over the classes that occur in the image's truth or prediction, [images]; NaN likewise.
        pixels: How many pixels count, [images].
        worst_class: The class with the smallest IoU, [images]; empty where no pixel counts.
        target: The classes.
        open_split: Gives the images with their masks.
        predict: From uint8 images to class numbers.
        padding: The border of images and masks, see `images.padding`.
    """

    identities: tuple[str, ...]
    pixel_accuracy: NDArray[np.float64]
    mean_iou: NDArray[np.float64]
    pixels: NDArray[np.int64]
    worst_class: tuple[str, ...]
    target: Target
    open_split: Callable[[], Split]
    predict: Callable[[Any], Any]
    padding: Padding

    @classmethod
    def of(
        cls, images: Split, confusions: NDArray[Any], predict: Callable[[Any], Any], target: Target, padding: Padding
    ) -> Predictions:
        """From the confusion matrix of each image, [images, classes, classes]."""
        names = target.all_names
        pixels = confusions.sum(axis=(1, 2))
        right = np.trace(confusions, axis1=1, axis2=2)
        accuracy = np.divide(right, pixels, out=np.full(len(pixels), np.nan), where=pixels > 0)
        ious = [_ious(matrix) for matrix in confusions]
        means = np.array([np.nan if one is None else float(np.nanmean(one)) for one in ious])
        worst = tuple("" if one is None else names[int(np.nanargmin(one))] for one in ious)
        return cls(tuple(images.ids), accuracy, means, pixels, worst, target, lambda: images, predict, padding)

    @property
    def worst(self) -> NDArray[np.int64]:
        """The places of the images that are not all right, the smallest mean IoU first."""
        places = np.flatnonzero(self.pixel_accuracy < 1)
        return places[np.argsort(self.mean_iou[places], kind="stable")]

    def as_csv(self) -> str:
        rows = zip(self.identities, self.pixel_accuracy, self.mean_iou, self.pixels, self.worst_class, strict=True)
        return to_csv(
            list(_HEADER),
            [[name, _number(accuracy), _number(iou), str(count), worst] for name, accuracy, iou, count, worst in rows],
        )


def _ious(confusion: Confusion) -> NDArray[np.float64] | None:
    return iou_of(confusion) if confusion.any() else None


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.6g}"


def predictor(members: Sequence[TrainedRun], tta: Sequence[str] = ()) -> Callable[[Any], Any]:
    """What runs say of images: from uint8 [batch, height, width, channels] to class numbers [batch, height, width]."""

    def predict(pixels: Any) -> Any:
        each = [pixel_probabilities(trained.network(tta)[0](pixels), trained.interface.head) for trained in members]
        return (sum(each) / len(each)).argmax(axis=-1)

    return predict


def read_predictions(trained: TrainedRun) -> Predictions:
    """The predictions of a run's test images.

    Raises:
        CnnkitError: if the run was not evaluated, or the file is broken.
    """
    names, accuracies, ious, pixels, worst = read_columns(trained, _HEADER)
    try:
        accuracy, mean_iou = (np.array([float(cell or "nan") for cell in column]) for column in (accuracies, ious))
        counts = np.array([int(cell) for cell in pixels], np.int64)
    except ValueError:
        raise broken(trained) from None
    target, padding = trained.loaded.info.target, trained.interface.padding
    return Predictions(
        names, accuracy, mean_iou, counts, worst, target, lambda: test_images(trained), predictor([trained]), padding
    )
