"""The pictures of a run: learning curves, confusion matrix, first-layer filters.

matplotlib is used through its Figure objects alone, without pyplot's global state, so that these functions
may run in any thread. The same input makes the same bytes.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.errors import CnnkitError
from cnnkit.rundir import replacing

DPI = 160

# Okabe and Ito's palette, which people with any colour vision can tell apart.
_BLUE, _VERMILION, _GREEN, _GREY = "#0072B2", "#D55E00", "#009E73", "#6b6b6b"
# Around each grey kernel, which may hold white and black: sky blue of the same palette.
_FRAME = (0.337, 0.706, 0.914)

_MOST_CLASSES_WITH_COUNTS = 20
_MOST_FILTERS = 256
_MATRIX_LIMIT_INCHES = 17.0


def curves(rows: Sequence[Mapping[str, float]], path: Path, best_epoch: int | None = None) -> None:
    """Draws loss, accuracy and learning rate over the epochs, a panel for each that the rows hold.

    Args:
        rows: One mapping per epoch, as in metrics.csv: `epoch`, `loss`, `accuracy`, `val_loss`,
            `val_accuracy`, `learning_rate`; each but `epoch` may be missing or NaN.
        path: The PNG file to write.
        best_epoch: The epoch to mark; by default the one with the highest `val_accuracy`, ties by the
            lowest `val_loss`, and none without validation.

    Raises:
        CnnkitError: if there are no rows.
    """
    if not rows:
        raise CnnkitError("there are no epochs to draw", "Train for at least one epoch.")
    epochs = _column(rows, "epoch")
    panels = [
        ("Loss", [("training", "loss", _BLUE), ("validation", "val_loss", _VERMILION)]),
        ("Accuracy", [("training", "accuracy", _BLUE), ("validation", "val_accuracy", _VERMILION)]),
        ("Learning rate", [("", "learning_rate", _GREEN)]),
    ]
    panels = [panel for panel in panels if any(_known(rows, key) for _, key, _ in panel[1])]
    best = _best_epoch(rows) if best_epoch is None else best_epoch
    figure = _figure(4.2 * max(1, len(panels)), 3.6)
    for number, (title, lines) in enumerate(panels, start=1):
        axes = figure.add_subplot(1, len(panels), number)
        for label, key, colour in lines:
            if _known(rows, key):
                _line(axes, epochs, _column(rows, key), label, colour)
        _finish_panel(axes, title, epochs, best)
    _save(figure, path)


def _column(rows: Sequence[Mapping[str, float]], key: str) -> NDArray[np.float64]:
    """One value per row; NaN, which matplotlib leaves out, where it is missing or not finite."""
    values = np.array([_number(row.get(key)) for row in rows], dtype=np.float64)
    return np.where(np.isfinite(values), values, np.nan)


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _known(rows: Sequence[Mapping[str, float]], key: str) -> bool:
    return bool(np.isfinite(_column(rows, key)).any())


def _best_epoch(rows: Sequence[Mapping[str, float]]) -> int | None:
    if not _known(rows, "val_accuracy"):
        return None
    accuracy, loss = _column(rows, "val_accuracy"), _column(rows, "val_loss")
    order = np.lexsort((np.nan_to_num(loss, nan=np.inf), np.nan_to_num(-accuracy, nan=np.inf)))
    return int(rows[int(order[0])]["epoch"])


def _line(axes: Any, epochs: NDArray[np.float64], values: NDArray[np.float64], label: str, colour: str) -> None:
    # Without markers a single epoch, or one between two gaps, would be invisible.
    marker = "o" if len(epochs) <= 30 else None
    dashes = "--" if label == "training" else "-"
    axes.plot(epochs, values, dashes, color=colour, marker=marker, markersize=3.5, linewidth=1.6, label=label)


def _finish_panel(axes: Any, title: str, epochs: NDArray[np.float64], best: int | None) -> None:
    from matplotlib.ticker import LogFormatterSciNotation, MaxNLocator

    axes.set_title(title, fontsize=11)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    margin = max(0.3, 0.02 * (epochs.max() - epochs.min()))
    axes.set_xlim(epochs.min() - margin, epochs.max() + margin)
    if title == "Accuracy":
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.5g} %")
    if title == "Learning rate":
        values = np.concatenate([line.get_ydata() for line in axes.get_lines()])
        values = values[np.isfinite(values)]
        if values.min() > 0 and values.max() > 20 * values.min():
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(LogFormatterSciNotation())
        else:
            axes.set_ylim(bottom=0)
    if best is not None:
        # Above the grid, which may have a line at this epoch (0.5), and below the curves (2).
        axes.axvline(best, color=_GREY, linestyle=":", linewidth=1.3, label=f"best epoch ({best})", zorder=1)
    axes.grid(True, color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if title != "Learning rate":
        axes.legend(frameon=False, fontsize=8.5)


def confusion_matrix(matrix: Any, class_names: Sequence[str], path: Path) -> None:
    """Draws a confusion matrix: colours are shares of the true class, numbers (up to 20 classes) are images.

    Args:
        matrix: Image counts, [classes, classes]; rows are true classes, columns predicted ones.
        class_names: One name per class.
        path: The PNG file to write.

    Raises:
        CnnkitError: if the matrix is not square with one row per class name.
    """
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
    figure = _figure(side, side, constrained=False)
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
    _save(figure, path, tight=True)


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


def filters(before: Any, after: Any, path: Path) -> None:
    """Draws the kernels of the first layer before and after training, side by side.

    Each kernel is scaled by its own largest weight; middle grey is zero, brighter is positive. Kernels with
    three channels are shown in colour; with one in grey; with any other number, the mean of the first three.

    Args:
        before: Kernels as they were initialised, [height, width, channels, filters].
        after: The trained kernels, the same shape.
        path: The PNG file to write; of more than 256 filters, it shows the first 256.

    Raises:
        CnnkitError: if the shapes are not those of kernels, or differ.
    """
    before, after = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    if before.ndim != 4 or before.shape != after.shape or 0 in before.shape:
        raise CnnkitError(
            "expected kernels of one shape (height, width, channels, filters) before and after training, "
            f"got {before.shape} and {after.shape}"
        )
    height, width, channels, number = before.shape
    shown = min(number, _MOST_FILTERS)
    pictures = [_tiles(kernels[..., :shown]) for kernels in (before, after)]
    panel_height, panel_width = pictures[0].shape[:2]
    columns = math.ceil(math.sqrt(shown))
    inches = min(5 / panel_width, 7 / panel_height, 1.2 * columns / max(panel_width, panel_height))
    figure = _figure(2 * max(panel_width * inches, 2.5) + 0.4, panel_height * inches + 0.8)
    part = f"the first {shown} of " if shown < number else ""
    note = f"{part}{number} filter{'s' if number > 1 else ''}"
    figure.suptitle(f"First-layer kernels, {height}x{width}x{channels}, {note} (mid-grey is 0)", fontsize=11)
    for place, picture in enumerate(pictures):
        axes = figure.add_subplot(1, 2, place + 1)
        axes.imshow(picture, interpolation="nearest")
        axes.set_title(("before training", "after training")[place], fontsize=10)
        axes.set_axis_off()
    _save(figure, path)


def _tiles(kernels: NDArray[np.float64]) -> NDArray[np.float64]:
    """All kernels in one RGB picture, 0..1, in rows of about the square root of their number."""
    height, width, channels, number = kernels.shape
    if channels != 3:
        kernels = kernels[:, :, :3].mean(axis=2, keepdims=True)
    # Weights that are not finite (a run that diverged) and kernels of zeros are shown as zero.
    kernels = np.where(np.isfinite(kernels), kernels, 0)
    edge = 1.0 if channels == 3 else _FRAME
    largest = np.abs(kernels).max(axis=(0, 1, 2))
    scaled = 0.5 + 0.5 * kernels / np.where(largest > 0, largest, 1)
    # Several picture elements per weight, so that the frame around a kernel can be thinner than a weight.
    zoom = max(4, 48 // max(height, width))
    frame = max(1, zoom // 8)
    tall, wide = height * zoom + 2 * frame, width * zoom + 2 * frame
    columns = math.ceil(math.sqrt(number))
    picture = np.ones((math.ceil(number / columns) * tall, columns * wide, 3))
    for index in range(number):
        top, left = index // columns * tall, index % columns * wide
        picture[top : top + tall, left : left + wide] = edge
        tile = scaled[..., index].repeat(zoom, axis=0).repeat(zoom, axis=1)
        picture[top + frame : top + tall - frame, left + frame : left + wide - frame] = tile
    return picture


def _figure(width_inches: float, height_inches: float, constrained: bool = True) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    layout: Any = "constrained" if constrained else None
    figure = Figure(figsize=(width_inches, height_inches), dpi=DPI, layout=layout, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Any, path: Path, tight: bool = False) -> None:
    """Writes the PNG so that no one ever reads half a picture."""
    with replacing(path) as temporary, warnings.catch_warnings():
        # A class name in a script that the font lacks is drawn as boxes; that is no news for a terminal.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        # matplotlib would write its version into the file.
        bounds = "tight" if tight else None
        figure.savefig(temporary, format="png", dpi=DPI, bbox_inches=bounds, metadata={"Software": None})
