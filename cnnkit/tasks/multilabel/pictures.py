"""Pictures of images whose labels a network gets wrong."""

from __future__ import annotations

from pathlib import Path

from cnnkit.errors import CnnkitError
from cnnkit.plots.sheets import Picture, Row, sheet
from cnnkit.runs.directory import Run
from cnnkit.tasks.multilabel.predictions import Predictions

#: Lines of wrong labels below a picture.
_LINES = 3

_NOTE = "Labels with the probabilities that the network gives them: + too many, - missing."


def mistakes(predictions: Predictions, run: Run, count: int, path: Path) -> None:
    """Draws the test images of a run with the most confidently wrong labels.

    Raises:
        CnnkitError: if every label is right, or if the images are not there as they were.
    """
    if not mistakes_sheet(predictions, f"Mistakes of {run.name}", count, path):
        raise CnnkitError(f"the run `{run.path}` made no mistake on its test split; there is none to show")


def mistakes_sheet(predictions: Predictions, title: str, count: int, path: Path) -> bool:
    """Draws what `mistakes` does for the images of any split; False where every label is right."""
    worst = predictions.worst[:count]
    if not len(worst):
        return False
    said = predictions.said
    pictures = []
    for place, image in zip(worst, predictions.pictures(worst), strict=True):
        wrong = [
            (abs(float(truth) - probability), f"{'-' if truth else '+'} {name} {probability:.1%}")
            for name, truth, guess, probability in zip(
                predictions.names, predictions.truth[place], said[place], predictions.probabilities[place], strict=True
            )
            if truth != guess
        ]
        lines = [text for _, text in sorted(wrong, reverse=True)[:_LINES]]
        pictures.append(Picture(image, "\n".join([predictions.identities[place], *lines])))
    sheet(title, [Row("The most confidently wrong labels first", pictures)], path, note=_NOTE)
    return True
