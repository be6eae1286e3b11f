"""Image files of any format and mode to uint8 arrays, one at a time or a whole folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from cnnkit.data.splits import Array, chunk_size
from cnnkit.errors import CnnkitError
from cnnkit.machine import usable_cores

if TYPE_CHECKING:
    from PIL import Image


class CorruptImage(CnnkitError):
    """An image file cannot be decoded."""


class TooManyPixels(CorruptImage):
    """An image has more pixels than may be decoded."""


def read_image(
    file: str | os.PathLike[str] | IO[bytes],
    size: tuple[int, int] | None,
    channels: int,
    *,
    formats: tuple[str, ...] | None = None,
    most_pixels: int | None = None,
) -> Array:
    """An image file as the network gets it.

    Any format and mode is converted: 16-bit values are scaled to 0..255, transparent pixels are laid over
    white, the EXIF orientation is applied, and of an animation the first frame is taken. Resizing is
    bilinear with antialiasing, as in `keras.layers.Resizing(height, width, antialias=True)` with the
    result rounded to whole numbers (at most 1 of 255 apart).

    Args:
        file: Its path, or an open file of bytes.
        size: (height, width) to resize to; None keeps the image's own.
        channels: 1 for grayscale, 3 for colour.
        formats: Pillow's names of the formats to accept; by default all.
        most_pixels: An image with more is refused once its header is read, before its pixels are.

    Returns:
        uint8 [height, width, channels], 0..255.

    Raises:
        TooManyPixels: if it has more than `most_pixels`, or so many that Pillow refuses them.
        CorruptImage: if the file cannot be decoded.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    what = f"the image file `{file}`" if isinstance(file, str | os.PathLike) else "the image"
    try:
        with Image.open(file, formats=formats) as opened:
            width, height = opened.size
            if most_pixels is not None and width * height > most_pixels:
                raise TooManyPixels(
                    f"{what} has {width}x{height} = {width * height:,} pixels; at most {most_pixels:,} are accepted"
                )
            ImageOps.exif_transpose(opened, in_place=True)
            image = _convert(opened, "L" if channels == 1 else "RGB")
    except TooManyPixels:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooManyPixels(f"cannot read {what}: {error}") from None
    except Exception as error:  # damaged files make Pillow raise almost anything: struct.error, KeyError, ...
        reason = str(error) or type(error).__name__
        if isinstance(error, UnidentifiedImageError):
            reason = "not an image, or damaged from its start"
        raise CorruptImage(f"cannot read {what}: {reason}") from None
    if size is not None and image.size != (size[1], size[0]):
        image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    array = np.asarray(image, np.uint8)
    return array[..., None] if channels == 1 else array


def _convert(image: Image.Image, mode: str) -> Image.Image:
    """The image in mode `L` or `RGB`."""
    from PIL import Image

    if image.mode.startswith("I"):  # 16-bit PNG files
        values = np.clip(np.asarray(image), 0, 65535).astype(np.uint32)
        # Divided by 257 and rounded, without the memory of floating-point numbers.
        image = Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image if image.mode == mode else image.convert(mode)


def file_facts(path: str | os.PathLike[str]) -> os.stat_result:
    """Size and time of a file; of a link that leads nowhere, its own."""
    try:
        return os.stat(path)
    except OSError:
        return os.lstat(path)


class FolderSource:
    """Image files with a label each, decoded when they are read.

    Args:
        root: The folder that `files` are relative to.
        files: One list of files for each class.
        class_names: The classes' names, for messages.
        shape: (height, width, channels) of the images that leave here.
        resize: Whether images of another size are resized; else they are errors.
        skip_corrupt: Whether `decode` leaves out files that cannot be decoded.
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

    @cached_property
    def key(self) -> str:
        """A hash over the listing, the sizes and times of the files, and how they are converted."""
        digest = hashlib.blake2b(digest_size=16)
        how = (str(self.root.resolve()), self.shape, self.resize, self.skip_corrupt, version("pillow"))
        digest.update(repr(how).encode("utf-8", "surrogateescape"))
        for file, label in zip(self.files, self.labels.tolist(), strict=True):
            facts = file_facts(os.path.join(self.root, file))
            line = f"{file}\0{label}\0{facts.st_size}\0{facts.st_mtime_ns}\n"
            digest.update(line.encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def decode(self, positions: Array) -> Iterator[tuple[Array, Array]]:
        step = chunk_size(self.shape)
        images = np.empty((min(step, len(positions)), *self.shape), np.uint8)
        # Pillow lets go of Python's global lock while it decodes and resizes.
        with ThreadPoolExecutor(usable_cores()) as pool:
            for start in range(0, len(positions), step):
                left: list[int] = []
                part = [int(position) for position in positions[start : start + step]]
                for position, image in zip(part, pool.map(self._try_one, part), strict=True):
                    if image is not None:
                        images[len(left)] = image
                        left.append(position)
                yield np.array(left, np.int64), images[: len(left)]

    def _try_one(self, position: int) -> Array | None:
        try:
            return self._read_one(position)
        except CorruptImage:
            if self.skip_corrupt:
                return None
            raise

    def _read_one(self, position: int) -> Array:
        path = os.path.join(self.root, self.files[position])
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
