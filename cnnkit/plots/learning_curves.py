"""The figures of a training, and the learning rate, over the epochs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.errors import CnnkitError
from cnnkit.plots.style import BLUE, GREEN, GREY, VERMILION, figure_of, save, show_percent
from cnnkit.task import Figure


@dataclass(frozen=True)
class Panel:
    """One plot beside others.

    Attributes:
        lines: Of each: its label, the column of metrics.csv, the colour.
        is_share: Whether the values are shown in percent.
        is_rate: Whether they are learning rates, which may span powers of ten.
    """

    title: str
    lines: tuple[tuple[str, str, str], ...]
    is_share: bool = False
    is_rate: bool = False

    @property
    def columns(self) -> list[str]:
        return [column for _, column, _ in self.lines]


_RATE = Panel("Learning rate", (("", "learning_rate", GREEN),), is_rate=True)

_INCHES = (4.2, 3.6)


def curves(
    rows: Sequence[Mapping[str, float]], path: Path, figures: Sequence[Figure], best_epoch: int | None = None
) -> None:
    """Draws figures and learning rate over the epochs, a panel for each that the rows hold.

    Args:
        rows: One mapping per epoch, as in metrics.csv: `epoch`, the figures by their names, those of validation by
            `val_` and the name, `learning_rate`; each but `epoch` may be missing or NaN.
        path: The PNG file to write.
        figures: Those to draw, see `Task.columns`.
        best_epoch: The epoch to mark; None for none.

    Raises:
        CnnkitError: if there are no rows.
    """
    save(curves_figure(rows, figures, best_epoch), path)


def curves_figure(rows: Sequence[Mapping[str, float]], figures: Sequence[Figure], best_epoch: int | None = None) -> Any:
    """What `curves` draws, as a figure."""
    panels = list(_panels(rows, figures))
    figure = figure_of(_INCHES[0] * max(1, len(panels)), _INCHES[1])
    for number, panel in enumerate(panels, start=1):
        _draw(figure.add_subplot(1, len(panels), number), panel, rows, best_epoch)
    return figure


def curve_figures(
    rows: Sequence[Mapping[str, float]], figures: Sequence[Figure], best_epoch: int | None = None
) -> Iterator[tuple[Panel, Any]]:
    """The panels of `curves`, each with a drawing of its own, for pages that have no room for them side by side."""
    for panel in _panels(rows, figures):
        drawing = figure_of(*_INCHES)
        _draw(drawing.add_subplot(), panel, rows, best_epoch)
        yield panel, drawing


def _panels(rows: Sequence[Mapping[str, float]], figures: Sequence[Figure]) -> Iterator[Panel]:
    if not rows:
        raise CnnkitError("there are no epochs to draw", "Train for at least one epoch.")
    for panel in (*map(_panel, figures), _RATE):
        if any(_known(rows, column) for column in panel.columns):
            yield panel


def _panel(figure: Figure) -> Panel:
    lines = (("training", figure.name, BLUE), ("validation", f"val_{figure.name}", VERMILION))
    return Panel(figure.title, lines, is_share=figure.is_share)


def _draw(axes: Any, panel: Panel, rows: Sequence[Mapping[str, float]], best_epoch: int | None) -> None:
    epochs = _column(rows, "epoch")
    for label, column, colour in panel.lines:
        if _known(rows, column):
            _line(axes, epochs, _column(rows, column), label, colour)
    _finish_panel(axes, panel, epochs, best_epoch)


def _column(rows: Sequence[Mapping[str, float]], key: str) -> NDArray[np.float64]:
    """One value per row; NaN, which matplotlib leaves out, where it is missing or not finite."""
    values = np.array([_number(row.get(key)) for row in rows], dtype=np.float64)
    return np.where(np.isfinite(values), values, np.nan)


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _known(rows: Sequence[Mapping[str, float]], key: str) -> bool:
    return bool(np.isfinite(_column(rows, key)).any())


def _line(axes: Any, epochs: NDArray[np.float64], values: NDArray[np.float64], label: str, colour: str) -> None:
    # Without markers a single epoch, or one between two gaps, would be invisible.
    marker = "o" if len(epochs) <= 30 else None
    dashes = "--" if label == "training" else "-"
    axes.plot(epochs, values, dashes, color=colour, marker=marker, markersize=3.5, linewidth=1.6, label=label)


def _finish_panel(axes: Any, panel: Panel, epochs: NDArray[np.float64], best: int | None) -> None:
    from matplotlib.ticker import LogFormatterSciNotation, MaxNLocator

    axes.set_title(panel.title, fontsize=11)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    margin = max(0.3, 0.02 * (epochs.max() - epochs.min()))
    axes.set_xlim(epochs.min() - margin, epochs.max() + margin)
    if panel.is_share:
        show_percent(axes)
    if panel.is_rate:
        values = np.concatenate([line.get_ydata() for line in axes.get_lines()])
        values = values[np.isfinite(values)]
        if values.min() > 0 and values.max() > 20 * values.min():
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(LogFormatterSciNotation())
        else:
            axes.set_ylim(bottom=0)
    if best is not None:
        # Above the grid, which may have a line at this epoch (0.5), and below the curves (2).
        axes.axvline(best, color=GREY, linestyle=":", linewidth=1.3, label=f"best epoch ({best})", zorder=1)
    axes.grid(True, color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if not panel.is_rate:
        axes.legend(frameon=False, fontsize=8.5)
