"""The figures of a training over its epochs."""

from __future__ import annotations

from typing import Any

from cnnkit.plots import style
from cnnkit.report.facts import Facts
from cnnkit.report.page import Missing, figure


def curve_drawings(facts: Facts) -> list[Any] | Missing:
    """The figures and the learning rate over the epochs, one drawing each."""
    from cnnkit.plots.learning_curves import curve_figures

    epochs, best_epoch = facts.epochs, facts.best_epoch
    if not epochs:
        return Missing(facts.training)
    best = f" The best epoch, {best_epoch}, is marked." if best_epoch is not None else ""
    last = epochs[-1]
    drawings: list[Any] = []
    for panel, drawing in curve_figures(epochs, facts.trained.task.columns, best_epoch):
        ends = ", ".join(f"{key.replace('_', ' ')} {last[key]:.4g}" for key in panel.columns if key in last)
        described = f"{panel.title} over {len(epochs)} epochs; at the end {ends}.{best}"
        drawings.append(figure(style.as_svg(drawing), f"curve-{len(drawings)}", described))
    return drawings
