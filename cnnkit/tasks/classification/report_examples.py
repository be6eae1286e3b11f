"""Test images that the network got wrong, and where it looked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from cnnkit.report.facts import Facts
from cnnkit.report.heat import heat_over
from cnnkit.report.page import Missing, Picture, attempt, picture
from cnnkit.tasks.classification.predictions import ConfusedPair, Mistake, Predictions, confused_pairs, worst_mistakes

PAIRS = 6
EXAMPLES_PER_PAIR = 5
MISTAKES = 12


@dataclass(frozen=True)
class Pair:
    """A pair of classes with a few of its images; with none, where they are not here."""

    pair: ConfusedPair
    pictures: list[Picture]


@dataclass(frozen=True)
class Example:
    """A mistake, and where Grad-CAM says that the network looked; None without the image, or without Grad-CAM."""

    mistake: Mistake
    picture: Picture | None
    overlay: Picture | None


@dataclass(frozen=True)
class Examples:
    """The worst mistakes.

    Attributes:
        layer: The layer that Grad-CAM looked at, or why there is no Grad-CAM.
    """

    examples: list[Example]
    layer: str | Missing


def pairs(facts: Facts) -> list[Pair] | Missing:
    """The most confused pairs of classes."""
    if isinstance(facts.predictions, Missing):
        return facts.predictions
    found = confused_pairs(facts.predictions, PAIRS, EXAMPLES_PER_PAIR)
    return [Pair(pair, _pictures(facts.predictions, pair.examples)) for pair in found]


def _pictures(predictions: Predictions, mistakes: Sequence[Mistake]) -> list[Picture]:
    images = attempt(predictions.pictures, mistakes)
    return [] if isinstance(images, Missing) else [picture(image) for image in images]


def mistakes(facts: Facts) -> Examples | Missing:
    """The most confident mistakes with Grad-CAM for the class that was predicted."""
    if isinstance(facts.predictions, Missing):
        return facts.predictions
    found = worst_mistakes(facts.predictions, MISTAKES)
    if not found:
        return Examples([], "")
    images = attempt(facts.predictions.images, found)
    if isinstance(images, Missing):
        return Examples([Example(mistake, None, None) for mistake in found], images)
    sample = facts.trained.interface.sample
    shown = list(map(picture, sample.pictures(images)))
    maps = attempt(_maps, facts, found, images)
    if isinstance(maps, Missing):
        return Examples([Example(*one, None) for one in zip(found, shown, strict=True)], maps)
    layer, heats = maps
    examples = [
        Example(mistake, image, heat_over(*marked))
        for mistake, image, marked in zip(found, shown, sample.marked(images, heats), strict=True)
    ]
    return Examples(examples, layer)


def _maps(facts: Facts, found: Sequence[Mistake], images: NDArray[Any]) -> tuple[str, Any] | Missing:
    """The layer's name, and for each mistake the map of its predicted class."""
    from cnnkit.inside.gradcam import gradcam_of

    compute, place = gradcam_of(facts.trained)
    class_names = facts.trained.interface.class_names
    _, maps = compute(images, [class_names.index(mistake.predicted_class) for mistake in found])
    return place.name, maps
