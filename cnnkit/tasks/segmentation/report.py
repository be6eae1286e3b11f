"""How good the masks of a run are, prepared for its report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.images.colours import COLOURS
from cnnkit.images.padding import cropped
from cnnkit.inside.gradcam import GradCam
from cnnkit.report.facts import Facts
from cnnkit.report.heat import heat_over
from cnnkit.report.page import Missing, Picture, attempt, drawing, percent, picture
from cnnkit.report.parts import Outcome, Section, Tile, metric_tiles
from cnnkit.report.side_by_side import SideBySide, class_section, figure_rows
from cnnkit.task import Figure
from cnnkit.tasks.segmentation.colours import coloured, errors
from cnnkit.tasks.segmentation.explained import confused
from cnnkit.tasks.segmentation.pictures import compared
from cnnkit.tasks.segmentation.predictions import Predictions
from cnnkit.tasks.segmentation.tables import notes

#: Images in the section of mistakes; their masks have at most so many pixels at a side, since a report is to be mailed.
MISTAKES = 8
_LARGEST_SIDE = 320

_COMPARED = (
    Figure("mean_iou", "mean IoU", is_share=True),
    Figure("pixel_accuracy", "pixel accuracy", is_share=True),
    Figure("class_accuracy", "class accuracy", is_share=True),
    Figure("mean_dice", "mean Dice", is_share=True),
)


def outcome(evaluation: dict[str, Any]) -> Outcome:
    """Mean IoU, and the other figures.

    Args:
        evaluation: evaluation.json.
    """
    mean_iou, accuracy = percent(evaluation["mean_iou"]), percent(evaluation["pixel_accuracy"])
    tiles = [
        Tile("Mean IoU", mean_iou, "mean of the classes that occur"),
        Tile("Pixel accuracy", accuracy, f"of {evaluation['pixels']:,} pixels"),
        Tile("Class accuracy", percent(evaluation["class_accuracy"]), "mean recall of the classes"),
        Tile("Mean Dice", percent(evaluation["mean_dice"])),
        Tile("Test loss", f"{evaluation['loss']:.4f}", evaluation.get("loss_function", "")),
    ]
    return Outcome(
        mean_iou,
        f"Mean IoU {mean_iou} on {evaluation['images']:,} test images",
        [*tiles, *metric_tiles({"metrics": {}, **evaluation})],
        f"({accuracy} of their pixels are right)",
    )


def sections(facts: Facts) -> list[Section]:
    """The classes, and the images whose masks are worst."""
    evaluation = facts.evaluation
    classes = evaluation if isinstance(evaluation, Missing) else attempt(class_table, evaluation)
    return [
        Section("classes", "Classes", __package__, "classes.html", {"classes": classes, "evaluation": evaluation}),
        Section("mistakes", "Mistakes", __package__, "mistakes.html", {"mistakes": attempt(mistakes, facts)}),
    ]


def compare(names: Sequence[str], facts: Sequence[Facts]) -> SideBySide:
    """See `Task.compare`."""
    titles = [one.label for one in _COMPARED]
    return SideBySide(titles, figure_rows(facts, _COMPARED), after_curves=[class_section(names, facts, "iou", "IoU")])


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
    scores = dict.fromkeys(("iou", "dice", "precision", "recall"))
    rows = [
        {**scores, **row, "colour": COLOURS[number % len(COLOURS)]}
        for number, row in enumerate(evaluation["per_class"])
    ]
    return ClassTable(rows, notes(evaluation))


@dataclass(frozen=True)
class Example:
    """A test image with the true mask, that of the network, and where they differ.

    Attributes:
        true_class: Of the pixels of which most are taken for one other class, `predicted_class`.
        confused: Their share of the pixels that count.
        overlay: What speaks for `predicted_class` in them; None without Grad-CAM.
    """

    identity: str
    mean_iou: float
    pixel_accuracy: float
    worst_class: str
    true_class: str
    predicted_class: str
    confused: float
    image: Picture
    truth: Picture
    guess: Picture
    errors: Picture
    overlay: Picture | None


@dataclass(frozen=True)
class Examples:
    """The worst masks.

    Attributes:
        layer: The layer that Grad-CAM looked at, or why there is no Grad-CAM.
    """

    examples: list[Example]
    layer: str | Missing


def mistakes(facts: Facts) -> Examples | Missing:
    """The test images with the smallest mean IoU, and what spoke for the class that pixels are most mistaken for."""
    predictions = facts.predictions
    if isinstance(predictions, Missing):
        return predictions
    assert isinstance(predictions, Predictions)
    places = predictions.worst[:MISTAKES]
    if not len(places):
        return Examples([], "")
    network = attempt(_gradcam, facts)
    compute, layer = (None, network) if isinstance(network, Missing) else network
    return Examples([_example(predictions, compute, *one) for one in compared(predictions, places)], layer)


def _gradcam(facts: Facts) -> tuple[GradCam, str]:
    """What computes maps, and the name of the layer that they come from."""
    from cnnkit.inside.gradcam import gradcam_of

    compute, place = gradcam_of(facts.trained)
    return compute, place.name


def _example(predictions: Predictions, compute: GradCam | None, place: int, *bordered: NDArray[np.uint8]) -> Example:
    """One of `compared`'s images."""
    names, ignore, padding = predictions.target.all_names, predictions.target.ignore, predictions.padding
    pair = confused(predictions, *bordered)
    image, truth, guess = (cropped(one, padding) for one in bordered)
    return Example(
        predictions.identities[place],
        predictions.mean_iou[place],
        predictions.pixel_accuracy[place],
        predictions.worst_class[place],
        names[pair.true_class],
        names[pair.predicted_class],
        pair.share,
        picture(image),
        _drawn(coloured(truth, len(names), ignore)),
        _drawn(coloured(guess, len(names), None)),
        _drawn(errors(truth, guess, ignore)),
        None if compute is None else heat_over(image, pair.heat(compute, pair.predicted_class)),
    )


def _drawn(colours: NDArray[np.uint8]) -> Picture:
    """A coloured mask, of a large one every n-th pixel, so that no colours mix."""
    step = -(-max(colours.shape[:2]) // _LARGEST_SIDE)
    return drawing(colours[::step, ::step], pixelated=max(colours.shape[:2]) <= _LARGEST_SIDE // 2)
