"""The learning curves of several runs on one plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cnnkit.plots.style import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION, figure_of, save
from cnnkit.printable import printable

_COLOURS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, GREY)
_MARKERS = "osD^vPX"
_PANELS = (("Loss", "loss"), ("Accuracy", "accuracy"), ("Learning rate", "learning_rate"))


def curves_of_runs(runs: Mapping[str, Sequence[Mapping[str, float]]], path: Path) -> None:
    """Draws loss, accuracy and rate of several runs over the epochs: training dashed, the best epoch marked.

    Args:
        runs: The rows of metrics.csv of each run, by its name.
        path: The PNG or SVG file to write.
    """
    save(curves_of_runs_figure(runs), path)


def curves_of_runs_figure(runs: Mapping[str, Sequence[Mapping[str, float]]]) -> Any:
    """The figure that `curves_of_runs` writes."""
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MaxNLocator

    lines = -(-len(runs) // 3)
    figure = figure_of(13, 4 + 0.22 * lines)
    for number, (title, key) in enumerate(_PANELS, start=1):
        axes = figure.add_subplot(1, len(_PANELS), number)
        for index, rows in enumerate(runs.values()):
            _draw(axes, rows, key, _COLOURS[index % len(_COLOURS)], _MARKERS[index // len(_COLOURS) % len(_MARKERS)])
        axes.set_title(title, fontsize=11)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
        if title == "Accuracy":
            axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.5g} %")
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


def _draw(axes: Any, rows: Sequence[Mapping[str, float]], key: str, colour: str, marker: str) -> None:
    epochs = [row["epoch"] for row in rows]
    size = 3.5 if len(rows) <= 30 else 0
    for name, style in ((key, "--"), (f"val_{key}", "-")):
        values = np.array([row.get(name, np.nan) for row in rows], dtype=np.float64)
        axes.plot(epochs, values, style, color=colour, marker=marker, markersize=size, linewidth=1.5)
    measured = [row for row in rows if np.isfinite(row.get("val_accuracy", np.nan))]
    if measured:
        best = max(measured, key=lambda row: (row["val_accuracy"], -row["val_loss"]))
        value = best.get(f"val_{key}", np.nan)
        axes.plot([best["epoch"]], [value], "*", color=colour, markersize=13, markeredgecolor="#000000", zorder=5)
