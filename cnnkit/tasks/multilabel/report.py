"""How good the labels of a run are, prepared for its report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cnnkit.config.sample import IMAGES, Sample
from cnnkit.report.facts import Facts
from cnnkit.report.page import Missing, Picture, attempt, percent, picture
from cnnkit.report.parts import Outcome, Section, Tile, metric_tiles
from cnnkit.tasks.multilabel.predictions import Predictions

#: Images in the section of mistakes.
MISTAKES = 12


def outcome(evaluation: dict[str, Any], sample: Sample = IMAGES) -> Outcome:
    """Mean average precision, and the other figures.

    Args:
        evaluation: evaluation.json.
    """
    precision = percent(evaluation["mean_average_precision"])
    exact = percent(evaluation["exact_match"])
    tiles = [
        Tile("Mean average precision", precision, f"over the labels that any {sample.singular} has"),
        Tile("Micro F1", percent(evaluation["micro_f1"]), f"of all labels of all {sample.plural}"),
        Tile("Macro F1", percent(evaluation["macro_f1"]), "mean of the labels"),
        Tile("All labels right", exact, f"of the {sample.plural}"),
        Tile("Test loss", f"{evaluation['loss']:.4f}", evaluation.get("loss_function") or ""),
    ]
    sentence = f"Mean average precision {precision} on {evaluation['images']:,} test {sample.plural}"
    remark = f"(on {exact} of them, all labels are right)"
    return Outcome(precision, sentence, [*tiles, *metric_tiles({"metrics": {}, **evaluation})], remark)


def sections(facts: Facts) -> list[Section]:
    """The labels, and the images with the most confidently wrong ones."""
    values = {"mistakes": attempt(mistakes, facts)}
    return [
        Section("labels", "Labels", __package__, "labels.html", {"evaluation": facts.evaluation}),
        Section("mistakes", "Mistakes", __package__, "mistakes.html", values),
    ]


@dataclass(frozen=True)
class Example:
    """A test image with the labels that are wrong, and their probabilities."""

    identity: str
    image: Picture
    missing: list[tuple[str, float]]
    too_many: list[tuple[str, float]]


def mistakes(facts: Facts) -> list[Example] | Missing:
    """The test images with the most confidently wrong labels."""
    predictions = facts.predictions
    if isinstance(predictions, Missing):
        return predictions
    assert isinstance(predictions, Predictions)
    places = predictions.worst[:MISTAKES]
    if not len(places):
        return []
    examples = []
    for place, image in zip(places, predictions.pictures(places), strict=True):
        labels = list(
            zip(
                predictions.names,
                predictions.truth[place],
                predictions.said[place],
                predictions.probabilities[place].tolist(),
                strict=True,
            )
        )
        missing = [(name, share) for name, truth, said, share in labels if truth and not said]
        too_many = [(name, share) for name, truth, said, share in labels if said and not truth]
        examples.append(Example(predictions.identities[place], picture(image), missing, too_many))
    return examples
