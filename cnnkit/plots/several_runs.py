"""The learning curves of several runs on one plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cnnkit.plots.style import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION, figure_of, save, show_percent
from cnnkit.task import Figure
from cnnkit.terminal.printable import printable

_COLOURS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, GREY)
_MARKERS = "osD^vPX"
_RATE = Figure("learning_rate", "learning rate", larger_is_better=False)

#: Of one panel.
_WIDTH = 13 / 3


def curves_of_runs(
    runs: Mapping[str, Sequence[Mapping[str, float]]],
    path: Path,
    figures: Sequence[Figure],
    best_epochs: Sequence[int | None],
) -> None:
    """Draws figures and rate of several runs over the epochs: training dashed, the best epoch marked.

    Args:
        runs: The rows of metrics.csv of each run, by its name.
        path: The PNG or SVG file to write.
        figures: Those to draw, see `Task.columns`; a run may lack some of them.
        best_epochs: The epoch to mark for each run; None for none.
    """
    save(curves_of_runs_figure(runs, figures, best_epochs), path)


def curves_of_runs_figure(
    runs: Mapping[str, Sequence[Mapping[str, float]]], figures: Sequence[Figure], best_epochs: Sequence[int | None]
) -> Any:
    """The figure that `curves_of_runs` writes."""
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MaxNLocator

    lines = -(-len(runs) // 3)
    panels = (*figures, _RATE)
    figure = figure_of(_WIDTH * len(panels), 4 + 0.22 * lines)
    for number, panel in enumerate(panels, start=1):
        axes = figure.add_subplot(1, len(panels), number)
        for index, (rows, best) in enumerate(zip(runs.values(), best_epochs, strict=True)):
            marker = _MARKERS[index // len(_COLOURS) % len(_MARKERS)]
            _draw(axes, rows, panel.name, best, _COLOURS[index % len(_COLOURS)], marker)
        axes.set_title(panel.title, fontsize=11)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
        if panel.is_share:
            show_percent(axes)
        axes.grid(True, color="#e4e4e4", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    handles = [
        Line2D([], [], color=_COLOURS[index % len(_COLOURS)], marker=_MARKERS[index // len(_COLOURS) % len(_MARKERS)])
        for index in range(len(runs))
    ]
    kinds = [
        Line2D([], [], color="#000000", linestyle="--"),
        Line2D([], [], color="#000000"),
        Line2D([], [], color="#000000", marker="*", markersize=11, linestyle=""),
    ]
    figure.legend(
        [*handles, *kinds],
        [*(printable(name).replace("$", r"\$") for name in runs), "training", "validation", "best epoch"],
        loc="outside lower center",
        ncols=3,
        frameon=False,
        fontsize=8.5,
    )
    return figure


def _draw(
    axes: Any, rows: Sequence[Mapping[str, float]], key: str, best_epoch: int | None, colour: str, marker: str
) -> None:
    epochs = [row["epoch"] for row in rows]
    size = 3.5 if len(rows) <= 30 else 0
    for name, style in ((key, "--"), (f"val_{key}", "-")):
        values = np.array([row.get(name, np.nan) for row in rows], dtype=np.float64)
        axes.plot(epochs, values, style, color=colour, marker=marker, markersize=size, linewidth=1.5)
    for row in rows:
        if row["epoch"] == best_epoch:
            value = row.get(f"val_{key}", row.get(key, np.nan))
            axes.plot([best_epoch], [value], "*", color=colour, markersize=13, markeredgecolor="#000000", zorder=5)
