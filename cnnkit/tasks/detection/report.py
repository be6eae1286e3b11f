"""How good the boxes of a run are, prepared for its report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnnkit.images.colours import COLOURS
from cnnkit.report.facts import Facts
from cnnkit.report.page import Missing, Picture, attempt, drawing, figure, percent
from cnnkit.report.parts import Outcome, Section, Tile
from cnnkit.report.side_by_side import SideBySide, class_section, figure_rows
from cnnkit.task import Figure
from cnnkit.tasks.detection.drawing import with_judgement
from cnnkit.tasks.detection.pictures import judged
from cnnkit.tasks.detection.precision import RECALLS
from cnnkit.tasks.detection.predictions import Predictions
from cnnkit.tasks.detection.tables import notes

#: Images in the section of mistakes.
MISTAKES = 8

_COMPARED = (
    Figure("map", "mAP@0.5:0.95", is_share=True),
    Figure("map_50", "mAP@0.5", is_share=True),
    Figure("map_75", "mAP@0.75", is_share=True),
    Figure("f1", "F1", is_share=True),
)


def outcome(evaluation: dict[str, Any]) -> Outcome:
    """Mean AP, and the other figures.

    Args:
        evaluation: evaluation.json.
    """
    mean, half = percent(evaluation["map"]), percent(evaluation["map_50"])
    tiles = [
        Tile("mAP@0.5:0.95", mean, "mean of ten overlaps and of the classes"),
        Tile("mAP@0.5", half),
        Tile("mAP@0.75", percent(evaluation["map_75"])),
        Tile("Precision", percent(evaluation["precision"]), f"of boxes with a score from {evaluation['threshold']:g}"),
        Tile("Recall", percent(evaluation["recall"]), f"of {evaluation['objects']:,} objects"),
        Tile("Test loss", f"{evaluation['loss']:.4f}", evaluation.get("loss_function", "")),
    ]
    headline = f"mAP@0.5:0.95 {mean} on {evaluation['images']:,} test images"
    return Outcome(mean, headline, tiles, f"({half} at an overlap of 0.5)")


def sections(facts: Facts) -> list[Section]:
    """The classes, their curves, and the images with most mistakes."""
    evaluation = facts.evaluation
    known = not isinstance(evaluation, Missing)
    classes = attempt(class_table, evaluation) if known else evaluation
    drawn = attempt(_curves, evaluation) if known else evaluation
    values = {"evaluation": evaluation}
    return [
        Section("classes", "Classes", __package__, "objects.html", {"classes": classes, **values}),
        Section("curves_of_classes", "Precision and recall", __package__, "curves.html", {"figure": drawn, **values}),
        Section("mistakes", "Mistakes", __package__, "boxes.html", {"mistakes": attempt(mistakes, facts)}),
    ]


def compare(names: Sequence[str], facts: Sequence[Facts]) -> SideBySide:
    """See `Task.compare`."""
    titles = [one.label for one in _COMPARED]
    section = class_section(names, facts, "ap", "AP@0.5:0.95")
    return SideBySide(titles, figure_rows(facts, _COMPARED), after_curves=[section])


@dataclass(frozen=True)
class ClassTable:
    """The figures of each class.

    Attributes:
        rows: As in evaluation.json, with the `colour` of the class in pictures.
        notes: What a reader should not miss.
    """

    rows: list[dict[str, Any]]
    notes: list[str]


def class_table(evaluation: dict[str, Any]) -> ClassTable:
    """The table of all classes."""
    scores = dict.fromkeys(("ap", "ap_50", "ap_75"))
    rows = [
        {**scores, **row, "colour": COLOURS[number % len(COLOURS)]}
        for number, row in enumerate(evaluation["per_class"])
    ]
    return ClassTable(rows, notes(evaluation))


def _curves(evaluation: dict[str, Any]) -> Any:
    from cnnkit.plots.style import as_svg

    return figure(as_svg(curves_figure(evaluation)), "precision-recall", "Precision by recall of each class")


def curves_figure(evaluation: dict[str, Any]) -> Any:
    """Precision by recall, a line for each class and the mean, as a matplotlib figure."""
    from cnnkit.plots.style import figure_of, show_percent

    drawn = figure_of(5.6, 4.2)
    axes = drawn.subplots()
    lines = [row for row in evaluation["per_class"] if row.get("curve")]
    for number, row in enumerate(evaluation["per_class"]):
        if row.get("curve"):
            axes.plot(RECALLS, row["curve"], color=COLOURS[number % len(COLOURS)], linewidth=0.9, label=row["class"])
    if lines:
        mean = np.mean([row["curve"] for row in lines], axis=0)
        axes.plot(RECALLS, mean, color="black", linewidth=2, label="mean")
    axes.set_xlabel("recall")
    axes.set_ylabel("precision")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    show_percent(axes)
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.5g} %")
    axes.grid(True, color="#e4e4e4", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if len(lines) <= 12:
        drawn.legend(frameon=False, fontsize=8, loc="outside right upper")
    return drawn


@dataclass(frozen=True)
class Example:
    """A test image with its boxes, and how many of each kind there are."""

    identity: str
    image: Picture
    hits: int
    misses: int
    alarms: int


def mistakes(facts: Facts) -> list[Example] | Missing:
    """The test images with most misses and false alarms."""
    predictions = facts.predictions
    if isinstance(predictions, Missing):
        return predictions
    assert isinstance(predictions, Predictions)
    examples = []
    for place, image, one in judged(predictions, predictions.worst[:MISTAKES]):
        _, hits, misses, alarms = predictions.counts[place].tolist()
        shown = drawing(with_judgement(image, one, predictions.class_names))
        examples.append(Example(predictions.identities[place], shown, hits, misses, alarms))
    return examples
