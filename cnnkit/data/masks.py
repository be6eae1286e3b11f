"""Images with a mask each: files read as pairs, the mask stored behind the channels of its image."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnkit.config.data import DataConfig
from cnnkit.config.dataset import DataSetInfo
from cnnkit.config.image_folder import image_header
from cnnkit.config.mask_folder import MaskFolder
from cnnkit.config.target import Target
from cnnkit.data.images import RESIZERS, BadPair, FolderSource, file_facts, read_image
from cnnkit.data.splits import Array
from cnnkit.data.targets import StoredMasks
from cnnkit.images.formats import MOST_MEGAPIXELS, open_image
from cnnkit.images.padding import NO_PADDING, Padding, padded_image, padded_mask

if TYPE_CHECKING:
    from PIL import Image

#: Pillow's modes whose pixels are numbers of at most 8 bits; those of `P` are places in a palette.
_MODES = ("1", "L", "P")

#: Numbers that a message lists.
_LISTED = 5


def read_mask(file: str | os.PathLike[str], most_megapixels: float = MOST_MEGAPIXELS) -> Image.Image:
    """A mask file as an image of mode `L` whose pixels are the numbers in the file: of a palette, the places in it.

    Raises:
        BadPair: if it has colours, more than 8 bits, or a format that changes numbers.
        CorruptImage: if it cannot be decoded.
    """
    from PIL import Image

    with open_image(file, most_megapixels) as opened:
        what = f"the mask `{os.fspath(file)}`"
        if opened.format == "JPEG":
            raise BadPair(f"{what} is a JPEG file, which changes the numbers of pixels; save masks as PNG")
        if opened.mode.startswith(("I", "F")):
            raise BadPair(f"{what} has numbers of more than 8 bits; save it with 8, as a gray or indexed PNG")
        if opened.mode not in _MODES:
            raise BadPair(
                f"{what} has colours ({opened.mode}); expected the number of a class in each pixel, as in a gray or an "
                "indexed PNG"
            )
        values = np.asarray(opened).astype(np.uint8)
    return Image.fromarray(values)


class MaskSource(FolderSource):
    """Pairs of an image and a mask, decoded when they are read.

    Args:
        root: The folder that the pairs are relative to.
        pairs: Image and mask files.
        target: The classes, and what is ignored.
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
        **options: Any,
    ) -> None:
        super().__init__(root, [image for image, _ in pairs], StoredMasks(len(pairs)), shape, **options)
        self.masks = [mask for _, mask in pairs]
        self.target = target
        self.padding = padding
        height, width, channels = shape
        self.stored_shape = (height, width, channels + 1)
        self.inner = (height - padding[0] - padding[1], width - padding[2] - padding[3])

    @cached_property
    def key(self) -> str:
        digest = hashlib.blake2b(super().key.encode(), digest_size=16)
        how = (self.padding, self.target.size, self.target.ignore, version("pillow"))
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
            raise BadPair(
                f"the image `{file}` is {height}x{width}, but others are {self.inner[0]}x{self.inner[1]}; set "
                "`data.image_size: [height, width]` to resize all images"
            )
        border = _border(self.target)
        stored = (padded_image(image, self.padding), padded_mask(mask, self.padding, border)[..., None])
        return np.concatenate(stored, axis=2)

    def _read_mask(self, file: str, image: str) -> Array:
        """The mask of an image, uint8 [height, width], without a border."""
        opened = read_mask(file, self.most_megapixels)
        height, width, _ = image_header(Path(image), self.most_megapixels)
        if opened.size != (width, height):
            raise BadPair(
                f"the mask `{file}` is {opened.height}x{opened.width}, but its image `{image}` is {height}x{width}; "
                "bring them to one size"
            )
        self._check_numbers(file, np.asarray(opened))
        if self.resize is not None and opened.size != (self.inner[1], self.inner[0]):
            opened = RESIZERS[self.resize](opened, self.inner[1], self.inner[0], nearest=True, fill=self.target.ignore)
        return np.asarray(opened)

    def _check_numbers(self, file: str, values: Array) -> None:
        counts = np.bincount(values.ravel(), minlength=256)
        known = np.arange(256) < self.target.size
        if self.target.ignore is not None:
            known[self.target.ignore] = True
        strange = np.flatnonzero((counts > 0) & ~known)
        if len(strange):
            listed = ", ".join(f"{number} ({counts[number]:,} pixels)" for number in strange[:_LISTED])
            more = ", ..." if len(strange) > _LISTED else ""
            raise BadPair(
                f"the mask `{file}` holds {listed}{more}, but there are the classes 0 to {self.target.size - 1}"
                + (f" and {self.target.ignore} is ignored" if self.target.ignore is not None else "")
                + "; correct the mask, add a class, or set `data.ignore`"
            )


def _border(target: Target) -> int:
    """The number of pixels around a mask, which do not count."""
    return 255 if target.ignore is None else target.ignore


class Pairs:
    """A folder of images and masks as a data set."""

    def __init__(self, listing: MaskFolder, config: DataConfig, info: DataSetInfo) -> None:
        self.listing = listing
        self.config = config
        self.info = info
        self.splits = tuple(listing.splits)
        self.notes = listing.notes
        self.problems = [BadPair(line) for line in listing.unpaired]
        self._opened: dict[str, MaskSource] = {}

    @property
    def fingerprint(self) -> str:
        digest = hashlib.blake2b(digest_size=8)
        count = 0
        for file in self.listing.files():
            size = file_facts(self.listing.root / file).st_size
            digest.update(f"{Path(file).as_posix()}\0{size}\n".encode("utf-8", "surrogateescape"))
            count += 1
        return f"folder {self.listing.root.name} ({count // 2} images with masks, listing {digest.hexdigest()})"

    def open(self, spec: str) -> MaskSource:
        if spec not in self._opened:
            self._opened[spec] = MaskSource(
                self.listing.root,
                self.listing.splits[spec],
                self.info.target,
                self.info.shape,
                self.info.padding,
                resize=None if self.config.image_size is None else self.config.resize,
                skip_corrupt=self.config.skip_corrupt,
                most_megapixels=self.config.max_megapixels,
            )
        return self._opened[spec]
