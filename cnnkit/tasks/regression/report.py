"""How far the numbers of a run are from the true ones, prepared for its report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cnnkit.config.sample import IMAGES, Sample
from cnnkit.plots.style import as_svg
from cnnkit.report.facts import Facts
from cnnkit.report.page import Missing, Picture, attempt, figure, picture
from cnnkit.report.parts import Outcome, Section, Tile, metric_tiles
from cnnkit.tasks.regression.pictures import predicted_against_true
from cnnkit.tasks.regression.predictions import Predictions, number_text

#: Images in the section of errors.
ERRORS = 12


def outcome(evaluation: dict[str, Any], sample: Sample = IMAGES) -> Outcome:
    """The mean absolute error, and the other figures.

    Args:
        evaluation: evaluation.json.
    """
    mae = f"{evaluation['mae']:.5g}"
    r2 = "–" if evaluation.get("r2") is None else f"{evaluation['r2']:.4f}"
    tiles = [
        Tile("Mean absolute error", mae, "in the numbers' own units"),
        Tile("Root mean squared error", f"{evaluation['rmse']:.5g}"),
        Tile("R²", r2, "share of the variance that is explained"),
        Tile("Test loss", f"{evaluation['loss']:.4f}", "of standardised numbers"),
    ]
    sentence = f"Mean absolute error {mae} on {evaluation['images']:,} test {sample.plural}"
    return Outcome(mae, sentence, [*tiles, *metric_tiles({"metrics": {}, **evaluation})], f"(R² {r2})")


def sections(facts: Facts) -> list[Section]:
    """The numbers, predicted against true, and the images with the largest errors."""
    numbers = {"evaluation": facts.evaluation, "scatter": attempt(scatter, facts)}
    return [
        Section("numbers", "Numbers", __package__, "numbers.html", numbers),
        Section("errors", "Largest errors", __package__, "errors.html", {"errors": attempt(errors, facts)}),
    ]


def scatter(facts: Facts) -> Any:
    """The figure of predicted against true numbers, as an `<svg>` element."""
    predictions = facts.predictions
    if isinstance(predictions, Missing):
        return predictions
    assert isinstance(predictions, Predictions)
    drawn = as_svg(predicted_against_true(predictions))
    return figure(drawn, "numbers", "Predicted numbers against true ones, with the line of no error")


@dataclass(frozen=True)
class Example:
    """A test image with the number that is farthest from the true one."""

    identity: str
    image: Picture
    name: str
    predicted: str
    truth: str


def errors(facts: Facts) -> list[Example] | Missing:
    """The test images with the largest errors."""
    predictions = facts.predictions
    if isinstance(predictions, Missing):
        return predictions
    assert isinstance(predictions, Predictions)
    places = predictions.worst[:ERRORS]
    if not len(places):
        return []
    return [
        Example(
            predictions.identities[place],
            picture(image),
            predictions.names[number],
            f"{predictions.predicted[place, number]:.4g}",
            number_text(float(predictions.truth[place, number])),
        )
        for place, image in zip(places, predictions.pictures(places), strict=True)
        for number in [predictions.farthest(place)]
    ]
