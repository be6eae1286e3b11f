"""The samples as they come, for the live page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from cnnkit.errors import CnnkitError
from cnnkit.images.pictures import data_url, picture_of
from cnnkit.runs.interface import Interface
from cnnkit.task import Answer, Answers
from cnnkit.tasks.generation.sampling import as_bytes


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
        # Pillow takes grey images without an axis for their one channel.
        pixels = "image[..., 0]" if self.shape[-1] == 1 else "image"
        self.script_lines = (
            'for number, image in enumerate(np.rint(outputs).clip(0, 255).astype("uint8")):',
            f'    Image.fromarray({pixels}).save(f"made-{{number:04}}.png")',
        )

    def keep(self, outputs: Any) -> Any:
        return as_bytes(outputs)

    def same(self, kept: Any, others: Any) -> Any:
        return kept == others

    def read(self, outputs: Any) -> Sequence[Answer]:
        raise CnnkitError("a generator answers for no images")

    def guess(self, kept: Any, target: Any) -> dict[str, Any]:
        if kept.dtype != np.uint8 or kept.shape != self.shape:
            raise ValueError("no picture is like that")
        return {"picture": data_url(picture_of(kept))}
