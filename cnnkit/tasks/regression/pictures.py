"""Predicted numbers against true ones, and the images with the largest errors."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.errors import CnnkitError
from cnnkit.plots.sheets import Picture, Row, sheet
from cnnkit.plots.style import BLUE, GREY, figure_of
from cnnkit.runs.trained import TrainedRun
from cnnkit.tasks.regression.predictions import Predictions, number_text, read_predictions

#: Panels of a figure, and how many of them stand side by side; points of a panel.
_MOST_PANELS, _COLUMNS, _MOST_POINTS = 12, 3, 5000


def predicted_against_true(predictions: Predictions) -> Any:
    """A figure with a panel for each number: what was predicted over what is true, and the line of no error."""
    names = predictions.names[:_MOST_PANELS]
    columns = min(len(names), _COLUMNS)
    rows = math.ceil(len(names) / columns)
    figure = figure_of(max(3.6 * columns, 3.9), 3.6 * rows)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    # Of very many points, as many evenly through the split: they cover one another anyway.
    step = math.ceil(len(predictions.truth) / _MOST_POINTS)
    for place, (axes, name) in enumerate(zip(panels, names, strict=False)):
        _draw_panel(axes, name, predictions.truth[::step, place], predictions.predicted[::step, place])
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    return figure


def _draw_panel(axes: Any, name: str, truth: NDArray[Any], predicted: NDArray[Any]) -> None:
    low, high = min(truth.min(), predicted.min()), max(truth.max(), predicted.max())
    margin = (high - low) * 0.04 or 1.0
    limits = (low - margin, high + margin)
    axes.plot(limits, limits, linestyle="--", color=GREY, linewidth=1.2)
    size = float(np.clip(2000 / len(truth), 4, 24))
    axes.scatter(truth, predicted, s=size, color=BLUE, alpha=0.45, linewidths=0)
    axes.set(xlim=limits, ylim=limits, aspect="equal")
    # A column's name may hold a dollar sign, which would start a formula.
    axes.set_title(name, fontsize=10, parse_math=False)
    axes.set_xlabel("true")
    axes.set_ylabel("predicted")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)


def mistakes(trained: TrainedRun, count: int, path: Path) -> None:
    """Draws the test images with the largest errors.

    Raises:
        CnnkitError: if the run was not evaluated, if every number is exact, or if the images are not there as they
            were.
    """
    predictions = read_predictions(trained)
    if not mistakes_sheet(predictions, f"Largest errors of {trained.run.name}", count, path):
        raise CnnkitError(f"every number of the test split of `{trained.run.path}` is exact; there is nothing to show")


def mistakes_sheet(predictions: Predictions, title: str, count: int, path: Path) -> bool:
    """Draws what `mistakes` does for the images of any split; False where every number is exact."""
    worst = predictions.worst[:count]
    if not len(worst):
        return False
    pictures = []
    for place, image in zip(worst, predictions.pictures(worst), strict=True):
        number = predictions.farthest(place)
        name = [predictions.names[number]] if len(predictions.names) > 1 else []
        said, true = predictions.predicted[place, number], predictions.truth[place, number]
        lines = [predictions.identities[place], *name, f"says {said:.4g}", f"is {number_text(true)}"]
        pictures.append(Picture(image, "\n".join(lines)))
    sheet(title, [Row("The largest errors first", pictures)], path)
    return True
