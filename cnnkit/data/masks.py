"""Images with a mask each: files read as pairs, the mask stored behind the channels of its image."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from cnnkit.config.data import DataConfig
from cnnkit.config.dataset import DataSetInfo
from cnnkit.config.image_folder import image_header
from cnnkit.config.mask_folder import MaskFolder
from cnnkit.config.target import Target
from cnnkit.data.images import RESIZERS, CorruptFiles, FolderSource, file_facts, listing_digest, read_image
from cnnkit.data.splits import Array, ImageCollection
from cnnkit.data.targets import StoredMasks
from cnnkit.images.formats import CorruptImage
from cnnkit.images.masks import BadMask, read_mask
from cnnkit.images.padding import NO_PADDING, Padding, padded_image, padded_mask

#: Numbers that a message lists.
_LISTED = 5


class MaskSource(FolderSource):
    """Pairs of an image and a mask, decoded when they are read.

    Args:
        root: The folder that the pairs are relative to.
        pairs: Image and mask files.
        target: The classes, and the number of pixels around a mask, which do not count.
        ignore: The number that masks themselves may hold besides those of the classes.
        shape: (height, width, channels) of the images that leave here, with their border.
        padding: That border.
        resize: As for `FolderSource`.
    """

    def __init__(
        self,
        root: Path,
        pairs: Sequence[tuple[str, str]],
        target: Target,
        shape: tuple[int, ...],
        padding: Padding = NO_PADDING,
        ignore: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(root, [image for image, _ in pairs], StoredMasks(len(pairs)), shape, **options)
        self.masks = [mask for _, mask in pairs]
        self.target = target
        self.padding = padding
        self.ignore = ignore
        height, width, channels = shape
        self.stored_shape = (height, width, channels + 1)
        self.inner = (height - padding[0] - padding[1], width - padding[2] - padding[3])

    @cached_property
    def key(self) -> str:
        digest = hashlib.blake2b(super().key.encode(), digest_size=16)
        how = (self.padding, self.target.size, self.target.ignore, self.ignore, version("pillow"))
        digest.update(repr(how).encode())
        for file in self.masks:
            facts = file_facts(os.path.join(self.root, file))
            digest.update(f"{file}\0{facts.st_size}\0{facts.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def _read_one(self, position: int) -> Array:
        halves, failed = [], []
        for read, files in ((self._read_image, self.files), (self._read_mask, self.masks)):
            try:
                with self._saying_how_to_skip():
                    halves.append(read(os.path.join(self.root, files[position]), position))
            except CorruptImage as error:
                failed.append(error)
        if failed:
            raise failed[0] if len(failed) == 1 else CorruptFiles(failed)
        image, mask = halves
        border = self.target.ignore
        if border is not None:
            mask = padded_mask(mask, self.padding, border)
        stored = (padded_image(image, self.padding), mask[..., None])
        return np.concatenate(stored, axis=2)

    def _read_image(self, file: str, position: int) -> Array:
        """An image, uint8 [height, width, channels], without a border."""
        size = None if self.resize is None else self.inner
        resize = self.resize or "stretch"
        image = read_image(file, size, self.shape[2], most_megapixels=self.most_megapixels, resize=resize)
        if image.shape[:2] != self.inner:
            height, width = image.shape[:2]
            raise BadMask(
                file,
                f"is {height}x{width}, but others are {self.inner[0]}x{self.inner[1]}; set "
                "`data.image_size: [height, width]` to resize all images",
                kind="image",
            )
        return image

    def _read_mask(self, file: str, position: int) -> Array:
        """The mask of an image, uint8 [height, width], without a border."""
        numbers = read_mask(file, self.most_megapixels)
        image = os.path.join(self.root, self.files[position])
        size: tuple[int, ...] = numbers.shape
        # What is wrong with the image is told by `_read_image`.
        with contextlib.suppress(CorruptImage):
            size = image_header(Path(image), self.most_megapixels)[:2]
        if numbers.shape != size:
            raise BadMask(
                file,
                f"is {numbers.shape[0]}x{numbers.shape[1]}, but its image `{image}` is {size[0]}x{size[1]}; bring them "
                "to one size",
            )
        self._check_numbers(file, numbers)
        if self.resize is None or size == self.inner:
            return numbers
        height, width = self.inner
        resized = RESIZERS[self.resize](as_image(numbers), width, height, nearest=True, fill=self.target.ignore)
        return np.asarray(resized)

    def _check_numbers(self, file: str, values: Array) -> None:
        counts = np.bincount(values.ravel(), minlength=256)
        known = np.arange(256) < self.target.size
        if self.ignore is not None:
            known[self.ignore] = True
        strange = np.flatnonzero((counts > 0) & ~known)
        if len(strange):
            listed = ", ".join(f"{number} ({counts[number]:,} pixels)" for number in strange[:_LISTED])
            more = ", ..." if len(strange) > _LISTED else ""
            classes = f"there are the classes 0 to {self.target.size - 1}"
            if self.ignore is not None:
                classes += f" and {self.ignore} is ignored; correct the mask, or add a class"
            else:
                number = f": {strange[0]}" if len(strange) == 1 else ""
                classes += f"; correct the mask, add a class, or set `data.ignore{number}`"
            raise BadMask(file, f"holds {listed}{more}, but {classes}")


def as_image(numbers: Array) -> Any:
    """A mask as an image of Pillow's mode `L`."""
    from PIL import Image

    return Image.fromarray(numbers)


class Pairs(ImageCollection):
    """A folder of images and masks as a data set."""

    def __init__(self, listing: MaskFolder, config: DataConfig, info: DataSetInfo) -> None:
        self.listing = listing
        self.config = config
        self.info = info
        self.splits = tuple(listing.splits)
        self.notes = listing.notes
        self.problems = listing.unpaired
        self._opened: dict[str, MaskSource] = {}

    @property
    def fingerprint(self) -> str:
        count, digest = listing_digest(self.listing.root, self.listing.files())
        return f"folder {self.listing.root.name} ({count // 2} images with masks, listing {digest})"

    def open(self, spec: str) -> MaskSource:
        if spec not in self._opened:
            self._opened[spec] = MaskSource(
                self.listing.root,
                self.listing.splits[spec],
                self.info.target,
                self.info.shape,
                self.info.padding,
                self.config.ignore,
                resize=None if self.config.image_size is None else self.config.resize,
                skip_corrupt=self.config.skip_corrupt,
                most_megapixels=self.config.max_megapixels,
            )
        return self._opened[spec]
