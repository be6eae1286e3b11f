"""The picture as it comes, for the live page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from cnnkit.errors import CnnkitError
from cnnkit.images.pictures import data_url, picture_of
from cnnkit.runs.interface import Interface
from cnnkit.task import Answer, Answers

if TYPE_CHECKING:
    from cnnkit.tasks.restoration.settings import Settings


class PictureAnswers(Answers):
    """The restored picture beside the damaged one.

    Args:
        interface: The run's.
        task: Its arguments.
    """

    kind: ClassVar[str] = "picture"
    header: Sequence[str] = ()
    alignment = ""
    columns: Sequence[str] = ()
    kept: ClassVar[str] = "pictures"

    def __init__(self, interface: Interface, task: Settings) -> None:
        height, width, channels = task.output_shape(interface.image_shape, len(interface.class_names))
        self.shape = (height, width, channels)

    def read(self, outputs: Any) -> Sequence[Answer]:
        raise CnnkitError("a restoration answers for no images")

    def shown_shape(self, interface: Interface) -> tuple[int, int, int]:
        return self.shape

    def guess(self, kept: Any, target: Any) -> dict[str, Any]:
        if kept.dtype != np.uint8 or kept.ndim != 3 or kept.shape[-1] != self.shape[-1]:
            raise ValueError("no picture is like that")
        return {"picture": data_url(picture_of(kept))}
