"""The reliability diagram."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.plots.style import BLUE, GREY, VERMILION, figure_of

if TYPE_CHECKING:
    from cnnkit.runs.heads import Probabilities


def reliability_figure(probabilities: Probabilities, labels: NDArray[np.int64]) -> Any:
    """Accuracy by confidence, above the share of the images with that confidence.

    A calibrated network is right as often as it is confident: its bars end on the diagonal (DeGroot and Fienberg 1983;
    the bins are those of `evaluate.calibration_bins`).

    Args:
        probabilities: [images, classes], 0..1.
        labels: The true class of each image, [images].
    """
    from cnnkit.tasks.classification.metrics import calibration_bins

    bins = calibration_bins(probabilities, labels)
    width = 1 / len(bins.images)
    lefts, filled = bins.edges[:-1], bins.images > 0
    figure = figure_of(4.4, 4.6)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.bar(
        lefts[filled],
        bins.accuracy[filled],
        width,
        align="edge",
        color=BLUE,
        alpha=0.75,
        edgecolor=BLUE,
        label="accuracy",
    )
    # The gap is drawn where it counts: at the mean confidence of the bin's images.
    upper.vlines(
        bins.confidence[filled],
        np.minimum(bins.accuracy, bins.confidence)[filled],
        np.maximum(bins.accuracy, bins.confidence)[filled],
        color=VERMILION,
        linewidth=2.2,
        label="gap to confidence",
    )
    upper.plot([0, 1], [0, 1], linestyle="--", color=GREY, linewidth=1.2, label="calibrated")
    upper.set_ylabel("accuracy")
    upper.set_ylim(0, 1.02)
    figure.legend(frameon=False, fontsize=8.5, loc="outside upper center", ncols=3, columnspacing=1.2)
    lower.bar(lefts, bins.images / bins.images.sum(), width, align="edge", color=GREY)
    lower.set_ylabel("images")
    lower.set_xlabel("confidence (probability of the predicted class)")
    lower.set_xlim(0, 1)
    for axes in (upper, lower):
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g} %")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(True, axis="y", color="#e4e4e4", linewidth=0.6)
        axes.set_axisbelow(True)
    lower.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g} %")
    return figure
