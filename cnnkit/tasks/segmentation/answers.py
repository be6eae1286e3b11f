"""The mask of an image, as `predict`, `serve` and the live page show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cnnkit.errors import CnnkitError
from cnnkit.images.padding import cropped
from cnnkit.images.pictures import data_url, indexed_picture
from cnnkit.runs.interface import Interface
from cnnkit.runs.ranking import ranked
from cnnkit.task import AnswerPicture, Answers
from cnnkit.tasks.segmentation.colours import overlay, palette


@dataclass(frozen=True, eq=False)
class MaskAnswer:
    """How much of an image a network takes for each class.

    Attributes:
        class_names: One name per class.
        shares: Of the pixels, 0..1, [classes].
    """

    class_names: Sequence[str]
    shares: NDArray[np.float64]

    def cells(self, top: int) -> Sequence[str]:
        largest = [index for index in ranked(self.shares, top) if self.shares[index] > 0]
        return [", ".join(f"{self.class_names[index]} {self.shares[index]:.1%}" for index in largest)]

    def fields(self) -> Sequence[str]:
        return [f"{share:.6g}" for share in self.shares.tolist()]

    def entry(self, top: int | None = None) -> dict[str, Any]:
        """`shares`: the share of each class, six significant digits, in the order of the outputs."""
        order = range(len(self.shares)) if top is None else ranked(self.shares, top)
        return {"shares": {self.class_names[index]: float(f"{self.shares[index]:.6g}") for index in order}}


class MaskAnswers(Answers):
    """Masks, each pixel of the likeliest class, and the share of each class in them."""

    kind: ClassVar[str] = "mask"
    kept: ClassVar[str] = "masks"

    def __init__(self, interface: Interface) -> None:
        self.class_names = interface.class_names
        self.padding = interface.padding
        self.header = ["classes by their share of the pixels"]
        self.alignment = "<"
        self.columns = [f"share_{name}" for name in self.class_names]
        self.pictures = ["mask", "overlay"]
        self.subjects = self.class_names
        self.script_lines = [
            'masks = outputs.argmax(axis=-1).astype("uint8")  # [images, height, width], numbers of classes',
            *self._cropping(),
            "for mask in masks:",
            "    print({classes[number]: float((mask == number).mean()) for number in np.unique(mask)})",
        ]
        colours = ["#" + bytes(colour).hex() for colour in self._colours]
        self.facts = {"colours": dict(zip(self.class_names, colours, strict=False))}

    def _cropping(self) -> list[str]:
        """The line of a script that takes the border off."""
        top, bottom, left, right = self.padding
        inner = f"{top} : masks.shape[1] - {bottom}, {left} : masks.shape[2] - {right}"
        return [f"masks = masks[:, {inner}]"] if any(self.padding) else []

    def read(self, outputs: Any) -> Sequence[MaskAnswer]:
        classes = len(self.class_names)
        inner = [cropped(mask, self.padding) for mask in self._masks(outputs)]
        shares = [np.bincount(mask.ravel(), minlength=classes) / mask.size for mask in inner]
        return [MaskAnswer(self.class_names, share) for share in shares]

    def subject(self, outputs: Any) -> int:
        """The class with most pixels."""
        (answer,) = self.read(np.asarray(outputs)[None])
        return int(answer.shares.argmax())

    def draw(self, images: Any, outputs: Any) -> Sequence[Sequence[AnswerPicture]]:
        """Each image's mask, whose pixels are class numbers and whose palette has the classes' colours; and both."""
        return [
            (
                AnswerPicture("mask", mask, self._colours),
                AnswerPicture("overlay", overlay(image, mask, len(self.class_names))),
            )
            for image, mask in zip(images, self._masks(outputs), strict=True)
        ]

    def are_targets(self, targets: Any) -> bool:
        return targets.dtype == np.uint8 and targets.ndim == 3

    def keep(self, outputs: Any) -> Any:
        return np.asarray(outputs).argmax(axis=-1).astype(np.uint8)

    def same(self, kept: Any, others: Any) -> Any:
        """Where a pixel has the same class; the border does not count."""
        inner = [np.stack([cropped(mask, self.padding) for mask in masks]) for masks in (kept, others)]
        return inner[0] == inner[1]

    def guess(self, kept: Any, target: Any) -> dict[str, Any]:
        """The `mask` and the `truth` as pictures, and which share of the pixels that count is `right`; None of none."""
        if kept.shape != target.shape or kept.dtype != np.uint8:
            raise ValueError("a mask is expected for each image")
        mask, truth = cropped(kept, self.padding), cropped(target, self.padding)
        counts = truth < len(self.class_names)
        right = float((mask == truth)[counts].mean()) if counts.any() else None
        return {"mask": self._picture(mask), "truth": self._picture(truth), "right": right}

    def _masks(self, outputs: Any) -> NDArray[np.uint8]:
        """Class numbers, uint8 [images, height, width]."""
        values = np.asarray(outputs)
        if values.ndim != 4 or values.shape[-1] != len(self.class_names):
            raise CnnkitError(
                f"expected a model that outputs {len(self.class_names)} classes for each pixel, got outputs of shape "
                f"{values.shape}"
            )
        if not np.isfinite(values).all():
            raise CnnkitError(
                "expected finite probabilities, the model outputs NaN or infinity",
                "Its weights are not usable; train again with a lower learning rate.",
            )
        masks: NDArray[np.uint8] = values.argmax(axis=-1).astype(np.uint8)
        return masks

    @property
    def _colours(self) -> list[tuple[int, int, int]]:
        """Of each number; what is no class is black."""
        return [(red, green, blue) for red, green, blue in palette(len(self.class_names), None).tolist()]

    def _picture(self, mask: NDArray[np.uint8]) -> str:
        return data_url(indexed_picture(np.ascontiguousarray(mask), self._colours))
