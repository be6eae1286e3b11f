"""The samples as they come, for the live page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from cnnkit.errors import CnnkitError
from cnnkit.images.pictures import data_url, picture_of
from cnnkit.runs.interface import Interface
from cnnkit.task import Answer, Answers


class Made(Answers):
    """The image that is made of a latent vector.

    Args:
        interface: The run's.
    """

    kind: ClassVar[str] = "samples"
    header: Sequence[str] = ()
    alignment = ""
    columns: Sequence[str] = ()
    kept: ClassVar[str] = "pictures"

    def __init__(self, interface: Interface) -> None:
        self.shape = interface.data_shape

    def read(self, outputs: Any) -> Sequence[Answer]:
        raise CnnkitError("a generator answers for no images")

    def guess(self, kept: Any, target: Any) -> dict[str, Any]:
        if kept.dtype != np.uint8 or kept.shape != self.shape:
            raise ValueError("no picture is like that")
        return {"picture": data_url(picture_of(kept))}
