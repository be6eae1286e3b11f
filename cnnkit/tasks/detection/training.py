"""How a network learns boxes: its loss, the figures of an epoch, and what its map cannot hold."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnkit.data.boxes import BoxTargets
from cnnkit.data.targets import Targets

if TYPE_CHECKING:
    from cnnkit.config.target import Target
    from cnnkit.data.splits import Split
    from cnnkit.tasks.detection.settings import Settings

log = logging.getLogger("cnnkit")

#: What is said of the sizes of objects.
_QUANTILES = {"smallest": 0.0, "quarter": 0.25, "median": 0.5, "three_quarters": 0.75, "largest": 1.0}


def make_loss(settings: Settings, target: Target) -> Any:
    """The Keras loss, see `DetectionLoss`."""
    from cnnkit.tasks.detection.keras_objects import DetectionLoss, LossWeights

    weights = LossWeights(settings.heat_weight, settings.offset_weight, settings.size_weight)
    return DetectionLoss(target.size, settings.stride, weights)


def make_metrics(settings: Settings, target: Target) -> list[Any]:
    """Mean AP over all overlaps, and at 0.5."""
    from cnnkit.tasks.detection.keras_objects import AveragePrecisionAtHalf, MeanAveragePrecision

    mean = MeanAveragePrecision(target.size, settings.stride, settings.most)
    return [mean, AveragePrecisionAtHalf(mean)]


def collisions(targets: Targets, stride: int) -> int:
    """How many objects have their centre in a place where another one of their class has it, in the same image."""
    assert isinstance(targets, BoxTargets)
    boxes = targets.boxes
    images = targets.image_numbers
    centres = np.floor((boxes[:, :2] + boxes[:, 2:4]) / 2 / stride)
    places = np.concatenate([images[:, None], boxes[:, 4:5], centres], axis=1)[boxes[:, 5] == 0]
    return len(places) - len(np.unique(places, axis=0))


def survey(split: Split, stride: int | None) -> dict[str, Any]:
    """The sizes of a split's objects, and how many the network's map cannot tell apart.

    Args:
        stride: Of the map; None where the images do not have their size yet.
    """
    targets = split.targets
    assert isinstance(targets, BoxTargets)
    boxes = targets.boxes[targets.boxes[:, 5] == 0]
    if not len(boxes):
        return {}
    sides = boxes[:, 2:4] - boxes[:, :2]
    height, width = split.shape[:2]
    facts: dict[str, Any] = {}
    if stride is not None:
        medians = np.median(sides, axis=0)
        facts["median_size"] = {"width": float(f"{medians[0]:.4g}"), "height": float(f"{medians[1]:.4g}")}
    shares = {"width": sides[:, 0] / width, "height": sides[:, 1] / height}
    facts["share_of_image"] = {
        side: {name: float(f"{np.quantile(values, place):.3g}") for name, place in _QUANTILES.items()}
        for side, values in shares.items()
    }
    return facts if stride is None else {**facts, "in_the_same_place": collisions(targets, stride)}


def tell_collisions(split: Split, stride: int) -> None:
    """Warns of objects of the training images that no network with this map can tell apart."""
    targets = split.targets
    assert isinstance(targets, BoxTargets)
    lost = collisions(targets, stride)
    if lost:
        log.warning(
            "%s of %s objects have their centre within the same %dx%d pixels as another of their class, and the "
            "network can only find one of both; a smaller `stride` tells more of them apart",
            f"{lost:,}",
            f"{len(targets.boxes):,}",
            stride,
            stride,
        )
