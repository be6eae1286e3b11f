"""Several runs as one ensemble: whether they fit together."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from cnnkit.config.class_names import same_names
from cnnkit.errors import UsageError
from cnnkit.runs.trained import TrainedRun


def check_members(members: Sequence[TrainedRun]) -> None:
    """Whether all runs see the same images and classes, and none is named twice.

    Raises:
        UsageError: if not.
    """
    _check_different(members)
    first = members[0].interface
    for member in members[1:]:
        other = member.interface
        same_images = (other.image_shape, other.resize) == (first.image_shape, first.resize)
        if not same_images or not same_names(other.class_names, first.class_names):
            raise UsageError(
                f"the runs `{members[0].run.path}` and `{member.run.path}` do not see the same images and classes",
                "An ensemble needs networks of one task.",
            )


def _check_different(members: Sequence[TrainedRun]) -> None:
    """Whether no run is named twice.

    Raises:
        UsageError: if one is.
    """
    seen = set()
    for member in members:
        place = os.path.realpath(member.run.path)
        if place in seen:
            raise UsageError(
                f"the run `{member.run.path}` is named twice", "An ensemble needs different runs; name each once."
            )
        seen.add(place)


def check_same_split(members: Sequence[TrainedRun], split: str) -> None:
    """Whether a split has the same images in all runs: another's may be among those that a run has learned from.

    Raises:
        UsageError: if it has not.
    """

    def decides(member: TrainedRun) -> tuple[Any, ...]:
        config = member.loaded.config
        drawn = (config.data.validation, config.seed) if split != "test" else ()
        return (config.data.source, config.data.split, config.data.splits, *drawn)

    for member in members:
        member.check_images()
    for member in members[1:]:
        if decides(member) != decides(members[0]):
            what = "`data.splits`, `data.validation` or `seed`" if split != "test" else "`data.splits`"
            raise UsageError(
                f"the {split} images of `{members[0].run.path}` and of `{member.run.path}` are not the same, "
                f"because {what} differs",
                "One of them may have learned from images of the other's. Measure them on the test split, or on a "
                "folder of other images with `--data`.",
            )
