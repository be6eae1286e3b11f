"""Images with a mask each: files read as pairs, the mask stored behind the channels of its image."""

from __future__ import annotations

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
from cnnkit.data.images import RESIZERS, FolderSource, file_facts, listing_digest, read_image
from cnnkit.data.splits import Array
from cnnkit.data.targets import StoredMasks
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
        shape: tuple[int, int, int],
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
        file = os.path.join(self.root, self.files[position])
        size = None if self.resize is None else self.inner
        resize = self.resize or "stretch"
        channels = self.shape[2]
        image = read_image(file, size, channels, most_megapixels=self.most_megapixels, resize=resize)
        mask = self._read_mask(os.path.join(self.root, self.masks[position]), file)
        if image.shape[:2] != self.inner:
            height, width = image.shape[:2]
            raise BadMask(
                f"the image `{file}` is {height}x{width}, but others are {self.inner[0]}x{self.inner[1]}; set "
                "`data.image_size: [height, width]` to resize all images"
            )
        border = self.target.ignore
        if border is not None:
            mask = padded_mask(mask, self.padding, border)
        stored = (padded_image(image, self.padding), mask[..., None])
        return np.concatenate(stored, axis=2)

    def _read_mask(self, file: str, image: str) -> Array:
        """The mask of an image, uint8 [height, width], without a border."""
        numbers = read_mask(file, self.most_megapixels)
        size = image_header(Path(image), self.most_megapixels)[:2]
        if numbers.shape != size:
            raise BadMask(
                f"the mask `{file}` is {numbers.shape[0]}x{numbers.shape[1]}, but its image `{image}` is "
                f"{size[0]}x{size[1]}; bring them to one size"
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
            raise BadMask(
                f"the mask `{file}` holds {listed}{more}, but there are the classes 0 to {self.target.size - 1}"
                + (f" and {self.ignore} is ignored" if self.ignore is not None else "")
                + "; correct the mask, add a class, or set `data.ignore`"
            )


def as_image(numbers: Array) -> Any:
    """A mask as an image of Pillow's mode `L`."""
    from PIL import Image

    return Image.fromarray(numbers)


class Pairs:
    """A folder of images and masks as a data set."""

    def __init__(self, listing: MaskFolder, config: DataConfig, info: DataSetInfo) -> None:
        self.listing = listing
        self.config = config
        self.info = info
        self.splits = tuple(listing.splits)
        self.notes = listing.notes
        self.problems = [BadMask(line) for line in listing.unpaired]
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
