"""The mask of an image, as `predict`, `serve` and the live page show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cnnkit.errors import CnnkitError
from cnnkit.images.padding import cropped, padded_mask
from cnnkit.images.pictures import data_url, indexed_picture
from cnnkit.images.placed_masks import OUTSIDE, mask_in_file, shown_part
from cnnkit.runs.interface import Interface
from cnnkit.runs.ranking import ranked
from cnnkit.task import Answer, AnswerPicture, Answers
from cnnkit.tasks.segmentation.colours import masked, palette

#: Pixels of an image that are drawn at a time.
_STRIP = 1_000_000


@dataclass(frozen=True, eq=False)
class MaskAnswer:
    """How much of an image a network takes for each class.

    Attributes:
        class_names: One name per class.
        shares: Of the pixels, 0..1, [classes].
        mask: The class of each pixel of the network's image without the border of `pad_to`, uint8 [height, width]; None
            once it has been drawn.
    """

    class_names: Sequence[str]
    shares: NDArray[np.float64]
    mask: NDArray[np.uint8] | None = None

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
    has_places: ClassVar[bool] = True

    def __init__(self, interface: Interface) -> None:
        self.class_names = interface.class_names
        self.padding = interface.padding
        self.resize = interface.resize
        self.header = ["classes by their share of the pixels"]
        self.alignment = "<"
        self.columns = [f"share_{name}" for name in self.class_names]
        self.pictures = ["mask", "overlay"]
        self.subjects = self.class_names
        self.script_lines = [
            'masks = outputs.argmax(axis=-1).astype("uint8")  # [images, height, width], numbers of classes',
            *self._cropping(),
            *self._counting(),
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

    def _counting(self) -> list[str]:
        """What a script says of the border that `resize: pad` adds: it does not know the sizes of the files."""
        return ["# The black border of images that were padded counts, too."] if self.resize == "pad" else []

    def read(self, outputs: Any) -> Sequence[MaskAnswer]:
        inner = [cropped(mask, self.padding) for mask in self._masks(outputs)]
        return [MaskAnswer(self.class_names, self._shares(mask), mask) for mask in inner]

    def in_file(self, answer: Answer, size: tuple[int, int]) -> MaskAnswer:
        return self.counted(answer, size)

    def counted(self, answer: Answer, size: tuple[int, int]) -> MaskAnswer:
        mask = _mask_of(answer)
        return MaskAnswer(self.class_names, self._shares(mask[shown_part(size, mask.shape, self.resize)]))

    def _shares(self, mask: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Of each class in the pixels of a mask, 0..1, [classes]."""
        shares: NDArray[np.float64] = np.bincount(mask.ravel(), minlength=len(self.class_names)) / mask.size
        return shares

    def draw_in_file(self, answer: Answer, image: Any) -> Sequence[AnswerPicture]:
        """The mask in the size of the file, and both; what a crop has left out is black, and the image alone."""
        mask = mask_in_file(_mask_of(answer), image.shape[:2], self.resize)
        both = np.empty_like(image)
        # In strips: what is computed with takes several times the memory of the image.
        rows = max(1, _STRIP // image.shape[1])
        for top in range(0, len(image), rows):
            strip = slice(top, top + rows)
            both[strip] = masked(image[strip], mask[strip], len(self.class_names), OUTSIDE)
        return AnswerPicture("mask", mask, self._colours), AnswerPicture("overlay", both)

    def subject(self, outputs: Any, size: tuple[int, int] | None = None) -> int:
        """The class with most pixels."""
        (answer,) = self.read(np.asarray(outputs)[None])
        return int((answer if size is None else self.counted(answer, size)).shares.argmax())

    def draw(
        self, images: Any, outputs: Any, sizes: Sequence[tuple[int, int]] | None = None
    ) -> Sequence[Sequence[AnswerPicture]]:
        """Each image's mask, whose pixels are class numbers and whose palette has the classes' colours; and both.

        The border that `resize: pad` adds is of no class where the sizes are known.
        """
        masks = list(self._masks(outputs))
        if sizes is not None:
            masks = [self._without_bars(mask, size) for mask, size in zip(masks, sizes, strict=True)]
        return [
            (
                AnswerPicture("mask", mask, self._colours),
                AnswerPicture("overlay", masked(image, mask, len(self.class_names), OUTSIDE)),
            )
            for image, mask in zip(images, masks, strict=True)
        ]

    def _without_bars(self, mask: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
        """A mask as the network takes it, in which the border that `resize: pad` adds to a file is OUTSIDE."""
        if self.resize != "pad":
            return mask
        inner = cropped(mask, self.padding)
        part = shown_part(size, inner.shape, self.resize)
        kept = np.full_like(inner, OUTSIDE)
        kept[part] = inner[part]
        return padded_mask(kept, self.padding, OUTSIDE)

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


def _mask_of(answer: Answer) -> NDArray[np.uint8]:
    assert isinstance(answer, MaskAnswer)
    assert answer.mask is not None
    return answer.mask
