"""What a restoration has come to, prepared for the run's report."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from cnnkit.images.pictures import picture_of
from cnnkit.plots import style
from cnnkit.report.facts import Facts
from cnnkit.report.page import Missing, Picture, attempt, drawing, figure
from cnnkit.report.parts import Outcome, Section, Tile
from cnnkit.tasks.restoration.evaluation import ITERATION, place_taken, read_iterations, restored_picture, summary
from cnnkit.tasks.restoration.observation import observe
from cnnkit.tasks.restoration.settings import Settings

#: A report is to be mailed: longer sides of its pictures have at most so many pixels.
_LARGEST_SIDE = 512

#: The title and the axis of each column of iterations.csv that is drawn, by its name.
_CURVES = {
    "held_out": ("The average of the outputs against the pixels held out", "fit (dB)"),
    "variance": ("Variance of the outputs", "variance (values of 0 to 1)"),
    "psnr": ("The average of the outputs against the undamaged picture", "PSNR (dB)"),
    "fit": ("Each output against what is learned of", "fit (dB)"),
}


def outcome(evaluation: dict[str, Any]) -> Outcome:
    """PSNR and SSIM where the undamaged picture is known.

    Args:
        evaluation: evaluation.json.
    """
    tiles = []
    if "psnr" in evaluation:
        tiles.append(Tile("PSNR", _decibels(evaluation["psnr"]), _before(evaluation, "psnr", "{:.2f} dB")))
    if "ssim" in evaluation:
        tiles.append(Tile("SSIM", f"{evaluation['ssim']:.4f}", _before(evaluation, "ssim", "{:.4f}")))
    if "fit" in evaluation:
        tiles.append(Tile("Fit", _decibels(evaluation["fit"]), "PSNR to what was learned of"))
    if "iteration" in evaluation:
        tiles.append(Tile("Taken after", f"{evaluation['iteration']:,}", f"of {evaluation['iterations']:,} iterations"))
    short = _decibels(evaluation["psnr"]) if "psnr" in evaluation else "restored"
    return Outcome(short, summary(evaluation), tiles)


def _decibels(value: float) -> str:
    return f"{value:.2f}\N{NO-BREAK SPACE}dB"


def _before(evaluation: dict[str, Any], name: str, form: str) -> str:
    before = evaluation.get(f"{name}_before")
    return "" if before is None else f"before: {form.format(before)}"


def sections(facts: Facts) -> list[Section]:
    """The pictures, and where in the course of the training the restored one was taken."""
    task = facts.trained.task
    assert isinstance(task, Settings)
    learned = "copies" if task.from_copies is not None else "hidden"
    taken = {"course": attempt(course, facts), "decided_by": task.decided_by or learned}
    return [
        Section("pictures", "Pictures", __package__, "pictures.html", {"pictures": attempt(pictures, facts)}),
        Section("course", "When it was taken", __package__, "course.html", taken),
    ]


def pictures(facts: Facts) -> list[tuple[str, Picture]]:
    """The damaged, the restored and, where it is known, the undamaged picture, with their names."""
    from cnnkit.data import load

    trained = facts.trained
    config, data_set = trained.loaded.config, trained.data_set
    split = load(trained.data, config.seed, config.task, splits=("test",), info=data_set).test
    assert split is not None
    observation = observe(config.data, split.read([0])[0])
    named = {
        "damaged": observation.shown,
        "restored": restored_picture(trained.run, observation.shown.shape),
        "undamaged": observation.reference,
    }
    return [(name, _drawn(pixels)) for name, pixels in named.items() if pixels is not None]


def _drawn(pixels: Any) -> Picture:
    shown = picture_of(pixels)
    shown.thumbnail((_LARGEST_SIDE, _LARGEST_SIDE), Image.Resampling.LANCZOS)
    values = np.asarray(shown)
    return drawing(values[..., None] if values.ndim == 2 else values)


def course(facts: Facts) -> list[Any] | Missing:
    """The curves over the iterations, with that marked at which the picture was taken."""
    columns = read_iterations(facts.run)
    if not columns:
        return Missing("No epoch has ended.")
    at = place_taken(columns, facts.trained)
    return [_curve(columns[ITERATION], columns[name], name, at) for name in _CURVES if name in columns]


def _curve(iterations: Any, values: Any, name: str, at: int) -> Any:
    title, label = _CURVES[name]
    plot = style.figure_of(6.4, 2.9)
    axes = plot.subplots()
    axes.plot(iterations, values, color=style.BLUE, linewidth=1.4)
    axes.axvline(iterations[at], color=style.GREY, linestyle="--", linewidth=1.2)
    if name == "variance":
        axes.set_yscale("log")
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("iteration")
    axes.set_ylabel(label)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color="#e4e4e4", linewidth=0.6)
    taken = f"The picture was taken at iteration {iterations[at]:,.0f}, where it is {values[at]:.4g}."
    return figure(style.as_svg(plot), f"course-{name}", f"{title} over {len(iterations)} iterations. {taken}")
