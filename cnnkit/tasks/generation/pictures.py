"""The made images that a classifier accepts least."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cnnkit.errors import CnnkitError
from cnnkit.plots.sheets import Picture, Row, sheet
from cnnkit.runs.predictions_file import broken, read_columns
from cnnkit.runs.trained import TrainedRun
from cnnkit.tasks.generation.classifier import HOW_TO
from cnnkit.tasks.generation.evaluation import COLUMNS, Made


def least_accepted(trained: TrainedRun, count: int, path: Path) -> None:
    """Draws those of which the classifier is least sure, the worst first: on real images it is sure of most.

    Raises:
        CnnkitError: if the run was not evaluated, or had no classifier.
    """
    evaluation = trained.evaluation
    if "classifier" not in evaluation:
        raise CnnkitError("no classifier has said which of the made images are poor", HOW_TO)
    numbers, _, classes, probabilities = read_columns(trained, COLUMNS)
    try:
        likely = np.array([float(value) for value in probabilities])
    except ValueError:
        raise broken(trained) from None
    if len(numbers) != evaluation["samples"]:
        raise broken(trained)
    worst = np.argsort(likely, kind="stable")[:count]
    images = Made(trained, evaluation["seed"], len(numbers)).make(worst)
    pictures = [
        Picture(image, f"{number}\n{classes[number]} at {likely[number]:.0%}")
        for number, image in zip(worst.tolist(), images, strict=True)
    ]
    note = (
        f"Of {len(numbers):,} made images, by number; below, the likeliest class by {evaluation['classifier']['run']}."
    )
    sheet(f"What a classifier accepts least of {trained.run.name}", [Row("", pictures)], path, note=note)
