"""Pictures of what a classifier gets wrong, and of what in an image speaks for a class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cnnkit.errors import CnnkitError
from cnnkit.inside.show import gradcam_sheet, read_input
from cnnkit.plots.sheets import Picture, Row, sheet
from cnnkit.runs.trained import TrainedRun
from cnnkit.tasks.classification.predictions import Predictions


def gradcam(
    trained: TrainedRun,
    image: str,
    classes: Sequence[str],
    path: Path,
    max_megapixels: float | None = None,
    layer: str | None = None,
) -> None:
    """Draws what in an image speaks for the predicted class, and for any others.

    Args:
        image: An image file, or the place of a test image.
        classes: Names of further classes.
        path: The PNG file to write.
        max_megapixels: As for `read_input`.
        layer: As for `gradcam_of`.

    Raises:
        CnnkitError: if the image cannot be read, or the run has no model or no layer that outputs an image.
        UsageError: if there is no such class or layer.
    """
    from cnnkit.inside.gradcam import class_numbers, gradcam_of

    names = trained.interface.class_names
    further = class_numbers(classes, names)
    compute, place = gradcam_of(trained, layer)
    pixels, title = read_input(trained, image, max_megapixels)
    probabilities, _ = compute(pixels[None], [0])
    best = int(probabilities[0].argmax())
    wanted = list(dict.fromkeys([best, *further]))
    _, maps = compute(np.stack([pixels] * len(wanted)), wanted)
    sample = trained.interface.sample
    pictures = [Picture(sample.pictures(pixels[None])[0], title)]
    for index, (picture, overlay) in zip(wanted, sample.marked([pixels] * len(wanted), maps), strict=True):
        verb = "says" if index == best else "for"
        pictures.append(Picture(picture, f"{verb} {names[index]}:\n{probabilities[0, index]:.1%}", overlay))
    gradcam_sheet(trained.run, place, [Row("", pictures)], path)


def gradcam_mistakes(trained: TrainedRun, count: int, path: Path, layer: str | None = None) -> None:
    """Draws the most confident mistakes, and what in each spoke for the predicted and for the true class.

    Raises:
        CnnkitError: if the run was not evaluated, or has no model.
        UsageError: if there is no such layer.
    """
    from cnnkit.inside.gradcam import gradcam_of
    from cnnkit.tasks.classification.predictions import read_predictions, worst_mistakes

    names = trained.interface.class_names
    predictions = read_predictions(trained)
    found = worst_mistakes(predictions, count)
    compute, place = gradcam_of(trained, layer)
    if not found:
        raise CnnkitError(f"the run `{trained.run.path}` made no mistake on its test split; there is none to show")
    images = predictions.images(found)
    sample = trained.interface.sample
    sides = [
        sample.marked(images, compute(images, [names.index(name) for name in chosen])[1])
        for chosen in ([one.predicted_class for one in found], [one.true_class for one in found])
    ]
    pictures = []
    for one, image, guess, truth in zip(found, sample.pictures(images), *sides, strict=True):
        pictures += [
            Picture(image, f"{one.identity}\nis {one.true_class}"),
            Picture(guess[0], f"for {one.predicted_class}:\n{one.confidence:.1%}", guess[1]),
            Picture(truth[0], f"for {one.true_class}:\n{one.true_probability:.1%}", truth[1]),
        ]
    gradcam_sheet(trained.run, place, [Row("", pictures)], path, columns=6)


def mistakes(trained: TrainedRun, count: int, path: Path) -> None:
    """Draws the most confidently wrong test images, and the pairs of classes that are confused most, with examples.

    Raises:
        CnnkitError: if the run was not evaluated, or its test images are not there as they were.
    """
    from cnnkit.tasks.classification.predictions import read_predictions

    predictions = read_predictions(trained)
    if not predictions.wrong.size:
        raise CnnkitError(f"the run `{trained.run.path}` made no mistake on its test split; there is none to show")
    mistakes_sheet(predictions, f"Mistakes of {trained.run.name}", count, path)


def mistakes_sheet(predictions: Predictions, title: str, count: int, path: Path) -> None:
    """Draws what `mistakes` does, for the images of any split, of which at least one was taken for another class.

    Raises:
        CnnkitError: if the images are not there as they were.
    """
    from cnnkit.tasks.classification.predictions import confused_pairs, worst_mistakes

    worst = worst_mistakes(predictions, count)
    pictures = []
    for one, image in zip(worst, predictions.pictures(worst), strict=True):
        shares = f"{one.confidence:.1%} to {one.true_probability:.1%}"
        pictures.append(Picture(image, f"says {one.predicted_class}\nis {one.true_class}\n{shares}"))
    rows = [Row("The most confident mistakes, with the probabilities of both classes", pictures)]
    for pair in confused_pairs(predictions, 5, 8):
        heading = (
            f"{pair.true_class} taken for {pair.predicted_class}: {pair.count} image{'s' * (pair.count != 1)}, "
            f"{pair.share:.1%} of the class"
        )
        images = predictions.pictures(pair.examples)
        examples = [
            Picture(image, f"{one.identity}\n{one.confidence:.1%}")
            for one, image in zip(pair.examples, images, strict=True)
        ]
        rows.append(Row(heading, examples))
    sheet(title, rows, path)
