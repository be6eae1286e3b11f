"""What in an image speaks for a class of its mask: Grad-CAM of the pixels that are taken for it, or mistaken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.errors import CnnkitError
from cnnkit.images.colours import rgb
from cnnkit.images.padding import Padding, cropped
from cnnkit.inside.gradcam import GradCam, class_numbers, gradcam_of, without_border
from cnnkit.inside.show import gradcam_sheet, read_input
from cnnkit.plots.sheets import Picture, Row
from cnnkit.runs.ranking import ranked
from cnnkit.runs.trained import TrainedRun
from cnnkit.tasks.segmentation.colours import WRONG, overlay
from cnnkit.tasks.segmentation.metrics import confusion_of
from cnnkit.tasks.segmentation.pictures import compared, legend
from cnnkit.tasks.segmentation.predictions import Predictions, read_predictions

#: Classes of a mask that are explained where nothing else is asked for: those with most pixels.
LARGEST = 3


def gradcam(
    trained: TrainedRun,
    image: str,
    classes: Sequence[str],
    path: Path,
    max_megapixels: float | None = None,
    layer: str | None = None,
) -> None:
    """Draws what in an image speaks for the largest classes of its mask, and for any others.

    Args:
        image: An image file, or the place of a test image.
        classes: Names of further classes; one that no pixel is taken for is explained for all pixels.
        path: The PNG file to write.
        max_megapixels: As for `read_input`.
        layer: As for `gradcam_of`.

    Raises:
        CnnkitError: if the image cannot be read, or the run has no model or no layer that outputs an image.
        UsageError: if there is no such class or layer.
    """
    names, padding = trained.interface.class_names, trained.interface.padding
    further = class_numbers(classes, names)
    compute, place = gradcam_of(trained, layer)
    pixels, title = read_input(trained, image, max_megapixels)
    shown = cropped(pixels, padding)

    def heat(number: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The mask inside the border, and the map of a class."""
        probabilities, maps = compute(pixels[None], [number])
        return cropped(probabilities[0].argmax(axis=-1), padding), without_border(maps[0], pixels.shape[:2], padding)

    mask, _ = heat(0)
    shares = np.bincount(mask.ravel(), minlength=len(names)) / mask.size
    largest = [index for index in ranked(shares, LARGEST) if shares[index] > 0]
    pictures = [Picture(shown, title), Picture(overlay(shown, mask, len(names)), "its mask")]
    for number in dict.fromkeys([*largest, *further]):
        share = f"{shares[number]:.1%} of the pixels" if shares[number] else "nowhere, so of all pixels"
        pictures.append(Picture(shown, f"for {names[number]}:\n{share}", heat(number)[1]))
    gradcam_sheet(trained.run, place, [Row("", pictures), legend(names)], path)


def gradcam_mistakes(trained: TrainedRun, count: int, path: Path, layer: str | None = None) -> None:
    """Draws the worst masks of the test images: in each, where one class is taken for another most, and what for both.

    Raises:
        CnnkitError: if the run was not evaluated, has no model, or if every pixel is right.
        UsageError: if there is no such layer.
    """
    predictions = read_predictions(trained)
    compute, place = gradcam_of(trained, layer)
    names = predictions.target.all_names
    pictures = []
    for number, *masks in compared(predictions, predictions.worst[:count]):
        pair = confused(predictions, *masks)
        taken, true = names[pair.predicted_class], names[pair.true_class]
        pictures += [
            Picture(pair.image, f"{predictions.identities[number]}\nmean IoU {predictions.mean_iou[number]:.1%}"),
            Picture(pair.marked, f"{true} as {taken}:\n{pair.share:.1%} of the pixels"),
            Picture(pair.image, f"for {taken}\nin these pixels", pair.heat(compute, pair.predicted_class)),
            Picture(pair.image, f"for {true}\nin these pixels", pair.heat(compute, pair.true_class)),
        ]
    if not pictures:
        raise CnnkitError(f"every pixel of the test images of `{trained.run.path}` is right; there is nothing to show")
    gradcam_sheet(trained.run, place, [Row("", pictures)], path)


@dataclass(frozen=True, eq=False)
class Confused:
    """The pixels of an image's class that are taken for one other class, the most of any two.

    Attributes:
        true_class: A class number, as `predicted_class`.
        whole: The image with its border, uint8 [height, width, channels].
        pixels: Those that are confused, bool [height, width].
        share: How many of the pixels that count are.
        padding: The border.
    """

    true_class: int
    predicted_class: int
    whole: NDArray[np.uint8]
    pixels: NDArray[np.bool_]
    share: float
    padding: Padding

    @property
    def image(self) -> NDArray[np.uint8]:
        """Without the border."""
        return cropped(self.whole, self.padding)

    @property
    def marked(self) -> NDArray[np.uint8]:
        """The image, dark, with the confused pixels in a colour."""
        dark = np.repeat(self.image // 2, 3 // self.image.shape[-1], axis=-1)
        return np.where(cropped(self.pixels, self.padding)[..., None], np.array(rgb(WRONG), np.uint8), dark)

    def heat(self, compute: GradCam, number: int) -> NDArray[np.float32]:
        """What speaks for a class in these pixels, 0..1."""
        _, maps = compute(self.whole[None], [number], self.pixels[None])
        return without_border(maps[0], self.whole.shape[:2], self.padding)


def confused(predictions: Predictions, image: Any, truth: Any, guess: Any) -> Confused:
    """The two classes that are confused most in an image that is not all right; the rest as `compared` gives it."""
    classes = predictions.target.size
    confusion = confusion_of(truth, guess, classes, predictions.target.ignore)
    counting = int(confusion.sum())
    np.fill_diagonal(confusion, 0)
    true, predicted = divmod(int(confusion.argmax()), classes)
    pixels = (truth == true) & (guess == predicted)
    return Confused(true, predicted, image, pixels, confusion[true, predicted] / counting, predictions.padding)
