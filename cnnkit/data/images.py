"""Image files of any format and mode to uint8 arrays, one at a time or a whole folder."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnkit.data.splits import CHUNK, Array, empty_images
from cnnkit.errors import CnnkitError

if TYPE_CHECKING:
    from PIL import Image

log = logging.getLogger("cnnkit")


class CorruptImage(CnnkitError):
    """An image file cannot be decoded."""


def read_image(path: str | os.PathLike[str], size: tuple[int, int] | None, channels: int) -> Array:
    """An image file as the network gets it.

    Any format and mode is converted: 16-bit values are scaled to 0..255, transparent pixels are laid over
    white, the EXIF orientation is applied, and of an animation the first frame is taken. Resizing is
    bilinear with antialiasing, as in `keras.layers.Resizing(height, width, antialias=True)` with the
    result rounded to whole numbers (at most 1 of 255 apart).

    Args:
        path: The file.
        size: (height, width) to resize to; None keeps the image's own.
        channels: 1 for grayscale, 3 for colour.

    Returns:
        uint8 [height, width, channels], 0..255.

    Raises:
        CorruptImage: if the file cannot be decoded.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened)
            image = _convert(image, "L" if channels == 1 else "RGB")
    except Exception as error:  # damaged files make Pillow raise almost anything: struct.error, KeyError, ...
        reason = str(error) or type(error).__name__
        if isinstance(error, UnidentifiedImageError):
            reason = "not an image, or damaged from its start"
        raise CorruptImage(f"cannot read the image file `{path}`: {reason}") from None
    if size is not None and image.size != (size[1], size[0]):
        image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    array = np.asarray(image, np.uint8)
    return array[..., None] if channels == 1 else array


def _convert(image: Image.Image, mode: str) -> Image.Image:
    """The image in mode `L` or `RGB`."""
    from PIL import Image

    if image.mode.startswith("I"):  # 16-bit PNG files
        values = np.asarray(image).astype(np.float64)
        image = Image.fromarray(np.rint(np.clip(values, 0, 65535) / 257).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image if image.mode == mode else image.convert(mode)


class FolderSource:
    """Image files with a label each, decoded when they are read.

    Args:
        root: The folder that `files` are relative to.
        files: One list of files for each class.
        class_names: The classes' names, for messages.
        shape: (height, width, channels) of the images that leave here.
        resize: Whether images of another size are resized; else they are errors.
        skip_corrupt: Whether `read_all` leaves out files that cannot be decoded.
    """

    def __init__(
        self,
        root: Path,
        files: Sequence[Sequence[str]],
        class_names: Sequence[str],
        shape: tuple[int, int, int],
        *,
        resize: bool,
        skip_corrupt: bool,
    ) -> None:
        self.root = root
        self.class_names = class_names
        self.shape = shape
        self.resize = resize
        self.skip_corrupt = skip_corrupt
        self.files = [file for names in files for file in names]
        self.labels = np.repeat(np.arange(len(files), dtype=np.int64), [len(names) for names in files])

    def identity(self, position: int) -> str:
        return Path(self.files[position]).as_posix()

    def path(self, position: int) -> str | None:
        return str(self.root / self.files[position])

    def read(self, positions: Array) -> Array:
        images = np.empty((len(positions), *self.shape), np.uint8)
        for index, position in enumerate(positions):
            images[index] = self._read_one(int(position))
        return images

    def read_in_graph(self, positions: Any) -> Any:
        import tensorflow as tf

        return tf.numpy_function(self.read, [positions], tf.uint8)

    def read_all(self, positions: Array) -> tuple[Array, Array]:
        images = empty_images(len(positions), self.shape)
        left = self._decode(positions, images)
        return (images if len(left) == len(positions) else images[: len(left)]), left

    def readable(self, positions: Array) -> Array:
        """The positions whose files can be decoded, every file tried and none kept."""
        return self._decode(positions, None)

    def _decode(self, positions: Array, out: Array | None) -> Array:
        """Decode in parallel into the front of `out`; the positions that could be decoded."""
        left: list[int] = []
        corrupt: list[str] = []
        # Pillow lets go of Python's global lock while it decodes and resizes.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for start in range(0, len(positions), CHUNK):
                part = [int(position) for position in positions[start : start + CHUNK]]
                for position, image in zip(part, pool.map(self._try_one, part), strict=True):
                    if isinstance(image, CorruptImage):
                        corrupt.append(self.files[position])
                        continue
                    if out is not None:
                        out[len(left)] = image
                    left.append(position)
        if corrupt:
            log.warning(
                "left out %d image file%s of `%s` that cannot be read: %s%s",
                len(corrupt),
                "" if len(corrupt) == 1 else "s",
                self.root,
                ", ".join(corrupt[:20]),
                ", ..." if len(corrupt) > 20 else "",
            )
        return np.array(left, np.int64)

    def _try_one(self, position: int) -> Array | CorruptImage:
        try:
            return self._read_one(position)
        except CorruptImage as error:
            if self.skip_corrupt:
                return error
            raise

    def _read_one(self, position: int) -> Array:
        path = self.root / self.files[position]
        label = self.class_names[self.labels[position]]
        try:
            image = read_image(path, self.shape[:2] if self.resize else None, self.shape[2])
        except CorruptImage as error:
            raise CorruptImage(
                f"{error.message} (class `{label}`)",
                "Repair or remove the file, or set `data.skip_corrupt: true` to train without such files.",
            ) from None
        if image.shape != self.shape:
            height, width = image.shape[:2]
            raise CnnkitError(
                f"the image `{path}` (class `{label}`) is {height}x{width}, but others are "
                f"{self.shape[0]}x{self.shape[1]}",
                "Set `data.image_size: [height, width]` to resize all images.",
            )
        return image
