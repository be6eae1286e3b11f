"""The confusion matrix."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.errors import CnnkitError
from cnnkit.plots.style import figure_of, save

_MOST_CLASSES_WITH_COUNTS = 20
_MATRIX_LIMIT_INCHES = 17.0


def confusion_matrix(matrix: Any, class_names: Sequence[str], path: Path) -> None:
    """Draws a confusion matrix: colours are shares of the true class, numbers (up to 20 classes) are images.

    Args:
        matrix: Image counts, [classes, classes]; rows are true classes, columns predicted ones.
        class_names: One name per class.
        path: The PNG file to write.

    Raises:
        CnnkitError: if the matrix is not square with one row per class name.
    """
    save(confusion_figure(matrix, class_names), path, tight=True)


def confusion_figure(matrix: Any, class_names: Sequence[str]) -> Any:
    """What `confusion_matrix` draws, as a figure to be saved `tight`."""
    from matplotlib.colors import PowerNorm

    counts = np.asarray(matrix, dtype=np.float64)
    classes = len(class_names)
    if counts.shape != (classes, classes) or classes == 0:
        raise CnnkitError(
            f"expected a confusion matrix with one row and column for each of {classes} classes, "
            f"got the shape {counts.shape}"
        )
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    numbered = classes <= _MOST_CLASSES_WITH_COUNTS
    side = min(max((0.62 if numbered else 0.16) * classes, 2.6), _MATRIX_LIMIT_INCHES)
    # The matrix fills the figure and everything else lies outside, where the saved picture grows to hold it.
    figure = figure_of(side, side, constrained=False)
    axes = figure.add_axes((0, 0, 1, 1))
    # The square root makes shares of a few per cent, which most confusions are, visible.
    norm = PowerNorm(0.5, vmin=0, vmax=1)
    picture = axes.imshow(shares, cmap="Blues", norm=norm, interpolation="nearest")
    names = [name if len(name) <= 24 else name[:23] + "…" for name in map(str, class_names)]
    _label_classes(axes, names, side)
    if numbered:
        _write_counts(axes, counts, np.sqrt(shares), side / classes)
    bar = figure.colorbar(picture, cax=figure.add_axes((1 + 0.15 / side, 0, 0.18 / side, 1)))
    ticks = (0, 2, 5, 10, 20, 40, 60, 80, 100)
    bar.set_ticks([tick / 100 for tick in ticks], labels=[f"{tick} %" for tick in ticks])
    bar.set_label("share of the true class", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    return figure


def _label_classes(axes: Any, names: Sequence[str], side: float) -> None:
    # Letters need about 0.11 inches from one line to the next; with less room, only every n-th is named.
    room = side / len(names)
    step = max(1, math.ceil(0.11 / room))
    size = 9 if room >= 0.2 else 6.5
    positions = list(range(0, len(names), step))
    labels = [names[position] for position in positions]
    # A class name may hold a dollar sign, which would start a formula.
    axes.set_xticks(positions, labels, rotation=90, fontsize=size, parse_math=False)
    axes.set_yticks(positions, labels, fontsize=size, parse_math=False)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.tick_params(length=2)


def _write_counts(axes: Any, counts: NDArray[np.float64], darkness: NDArray[np.float64], cell: float) -> None:
    # A digit is about 0.62 of its font's height wide, and a point is 1/72 inch.
    longest = len(f"{int(counts.max())}")
    size = min(9.0, 0.85 * cell * 72 / (0.62 * longest))
    for (row, column), count in np.ndenumerate(counts):
        if count:
            colour = "white" if darkness[row, column] > 0.55 else "#202020"
            axes.text(column, row, f"{int(count)}", ha="center", va="center", fontsize=size, color=colour)
