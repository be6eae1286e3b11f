"""Image files of any format and mode to uint8 arrays, one at a time or a whole folder."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

import numpy as np

from cnnkit.config.sample import IMAGES, Sample
from cnnkit.data.splits import Array, chunk_size
from cnnkit.data.targets import Targets
from cnnkit.errors import CnnkitError
from cnnkit.images.boxes import BadBox
from cnnkit.images.formats import FORMATS, MOST_MEGAPIXELS, CorruptImage, header_size, open_image
from cnnkit.images.masks import BadMask
from cnnkit.images.padding import Padding, padded_image
from cnnkit.machine.processor import usable_cores
from cnnkit.terminal.printable import printable

if TYPE_CHECKING:
    from PIL import Image


class CorruptFiles(CorruptImage):
    """Image files of a data set cannot be decoded.

    Args:
        errors: One for each file, at least one.
    """

    #: Files that are named; of the others, it is said how many they are.
    NAMED = 10

    def __init__(self, errors: Sequence[CorruptImage]) -> None:
        self.errors = tuple(errors)
        lines = [error.message for error in errors]
        if len(lines) > 1:
            rest = len(lines) - self.NAMED
            # Only files can be looked at without a training.
            listed = "; `cnnkit data check CONFIG --json` lists all" if all(error.file for error in errors) else ""
            lines = [
                f"{len(lines):,} {self.summary(errors)}:",
                *("  " + line for line in lines[: self.NAMED]),
                *([f"and {rest:,} more{listed}"] if rest > 0 else []),
            ]
        # To leave some out is of no use where others stop the training all the same.
        stays = any(isinstance(error, BadMask | BadBox) for error in errors)
        hints = dict.fromkeys(error.hint for error in errors if error.hint and not (stays and error.can_be_left_out))
        super().__init__("\n".join(lines), "\n".join(hints) or None)

    @staticmethod
    def summary(errors: Sequence[CorruptImage]) -> str:
        """What is true of several files, behind their number."""
        if any(isinstance(error, BadBox) for error in errors):
            return "images or boxes cannot be used"
        paired = any(isinstance(error, BadMask) for error in errors)
        return "images or masks cannot be used" if paired else "image files cannot be read"


def read_image(
    file: str | os.PathLike[str] | IO[bytes],
    size: tuple[int, int] | None,
    channels: int,
    *,
    most_megapixels: float = MOST_MEGAPIXELS,
    resize: str = "stretch",
    formats: Collection[str] = FORMATS.keys(),
) -> Array:
    """An image file as the network gets it.

    Any of its format's modes is converted: 16-bit values are scaled to 0..255, and so are floating-point numbers
    from 0 to 1; transparent pixels are laid over white, the EXIF orientation is applied, and of an animation the first
    frame is taken, of a document the first page. Resizing is bilinear with antialiasing, as in
    `keras.layers.Resizing(height, width, antialias=True)`, for `pad` with `pad_to_aspect_ratio` and for `crop` with
    `crop_to_aspect_ratio`, the result rounded to whole numbers (at most 1 of 255 apart).

    Args:
        file: Its path, or an open file of bytes.
        size: (height, width) to resize to; None keeps the image's own.
        channels: 1 for grayscale, 3 for colour.
        most_megapixels: An image with more is refused once its header is read, before its pixels are.
        resize: `stretch`, `pad` or `crop`: how an image of other proportions reaches `size`.
        formats: Those that are accepted, of `images.formats.FORMATS`.

    Returns:
        uint8 [height, width, channels], 0..255.

    Raises:
        TooManyPixels: if it has more pixels.
        CorruptImage: if the file cannot be decoded, see `open_image`.
    """
    with open_image(file, most_megapixels, formats) as opened:
        _turn(opened)
        image = _convert(opened, "L" if channels == 1 else "RGB")
        if size is not None and image.size != (size[1], size[0]):
            image = RESIZERS[resize](image, size[1], size[0])
        array = np.asarray(image, np.uint8)
    return array[..., None] if channels == 1 else array


def size_of(file: str | os.PathLike[str] | IO[bytes]) -> tuple[int, int]:
    """(height, width) of an image file that can be read, as its EXIF orientation turns it."""
    with open_image(file, math.inf) as image:
        return header_size(image)


class TakesImages(Protocol):
    """What takes images of one shape.

    Attributes:
        image_shape: (height, width, channels).
        resize: How images reach that shape: `stretch`, `pad` or `crop`.
        max_megapixels: Image files with more are refused.
        padding: The border that is a part of the shape.
    """

    @property
    def image_shape(self) -> tuple[int, ...]: ...
    @property
    def resize(self) -> str: ...
    @property
    def max_megapixels(self) -> float: ...
    @property
    def padding(self) -> Padding: ...


def read_for(
    network: TakesImages,
    file: str | os.PathLike[str] | IO[bytes],
    most_megapixels: float | None = None,
    formats: Collection[str] = FORMATS.keys(),
) -> Array:
    """An image file as a trained network takes it; see `read_image`.

    Args:
        network: What takes it.
        most_megapixels: By default what the network's images were allowed to have.
    """
    top, bottom, left, right = network.padding
    height, width, channels = network.image_shape
    size = (height - top - bottom, width - left - right)
    limit = network.max_megapixels if most_megapixels is None else most_megapixels
    image = read_image(file, size, channels, most_megapixels=limit, resize=network.resize, formats=formats)
    return padded_image(image, network.padding)


def _turn(image: Image.Image) -> None:
    """Turns an image as its EXIF orientation says; one whose EXIF block is damaged stays as it is."""
    from PIL import ImageOps

    image.load()
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except SyntaxError:  # only of EXIF: the pixels are there
        return


def _convert(image: Image.Image, mode: str) -> Image.Image:
    """The image in mode `L` or `RGB`."""
    from PIL import Image

    is_plain = not image.mode.startswith(("I", "F")) and not image.has_transparency_data
    if is_plain:
        return image if image.mode == mode else image.convert(mode)
    # Tags of TIFF files: the bits of a value, and whether 0 is white, which Pillow turns over only where it has 8 bits.
    tags = getattr(image, "tag_v2", {})
    white = 4095 if 12 in tags.get(258, ()) else 65535
    is_negative = tags.get(262) == 0
    # In strips, since what lies between takes several times the memory of the image.
    found = Image.new(mode, image.size)
    rows = max(1, 1_000_000 // image.width)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        if strip.mode.startswith(("I", "F")):
            scaled = _to_bytes(np.asarray(strip), white)
            strip = Image.fromarray(255 - scaled if is_negative else scaled)
        if strip.has_transparency_data:
            strip = strip.convert("RGBA")
            strip = Image.alpha_composite(Image.new("RGBA", strip.size, "white"), strip)
        found.paste(strip.convert(mode), (0, top))
    return found


def _to_bytes(values: np.ndarray, white: int) -> np.ndarray:
    """Whole numbers from 0 to `white`, or floating-point numbers from 0 to 1, scaled to 0..255 and rounded.

    Args:
        values: [rows, columns].

    Raises:
        ValueError: if they are others; which of them is white, no format says.
    """
    low, high = values.min(), values.max()
    if values.dtype.kind == "f":
        if not (low >= 0 and high <= 1):
            raise ValueError(f"its floating-point values are {low:g} to {high:g}; expected 0 (black) to 1 (white)")
        return np.rint(values * np.float32(255)).astype(np.uint8)
    if not (low >= 0 and high <= white):
        raise ValueError(f"its values are {low} to {high}; expected 0 (black) to {white:,} (white)")
    return ((values.astype(np.uint32) * 255 + white // 2) // white).astype(np.uint8)


def _stretched(
    image: Image.Image, width: int, height: int, *, nearest: bool = False, fill: int | None = None
) -> Image.Image:
    """The image in another size, whatever its proportions.

    Args:
        nearest: Whether a pixel takes the value of the nearest one, as masks need it.
        fill: Not used here.
    """
    from PIL import Image

    return image.resize((width, height), Image.Resampling.NEAREST if nearest else Image.Resampling.BILINEAR)


def _padded(
    image: Image.Image, width: int, height: int, *, nearest: bool = False, fill: int | None = None
) -> Image.Image:
    """The whole image in another size, with a border on two sides where its proportions are others.

    Args:
        nearest: As for `_stretched`.
        fill: The border's value; by default black.
    """
    from PIL import Image

    across = (max(image.width, image.height * width // height) - image.width) // 2
    down = (max(image.height, image.width * height // width) - image.height) // 2
    # The length without a border first: an image with its border could take any amount of memory.
    image = _stretched(image, *((image.width, height) if across else (width, image.height)), nearest=nearest)
    framed = Image.new(image.mode, (image.width + 2 * across, image.height + 2 * down), fill or 0)
    framed.paste(image, (across, down))
    return _stretched(framed, width, height, nearest=nearest)


def _cropped(
    image: Image.Image, width: int, height: int, *, nearest: bool = False, fill: int | None = None
) -> Image.Image:
    """The middle of the image in another size, as much of it as has the new proportions."""
    columns = max(1, min(image.width, image.height * width // height))
    rows = max(1, min(image.height, image.width * height // width))
    left, top = (image.width - columns) // 2, (image.height - rows) // 2
    return _stretched(image.crop((left, top, left + columns, top + rows)), width, height, nearest=nearest)


#: For each `data.resize`: from image, width and height to an image of that size.
RESIZERS = {"stretch": _stretched, "pad": _padded, "crop": _cropped}


def file_facts(path: str | os.PathLike[str]) -> os.stat_result:
    """Size and time of a file; of a link that leads nowhere, its own."""
    try:
        return os.stat(path)
    except OSError:
        return os.lstat(path)


def listing_digest(root: Path, files: Iterable[str]) -> tuple[int, str]:
    """How many files a listing has, and a digest of their names and sizes.

    Args:
        files: Relative to the root.
    """
    digest = hashlib.blake2b(digest_size=8)
    count = 0
    for file in files:
        size = file_facts(root / file).st_size
        digest.update(f"{Path(file).as_posix()}\0{size}\n".encode("utf-8", "surrogateescape"))
        count += 1
    return count, digest.hexdigest()


class FolderSource:
    """Image files with a target each, decoded when they are read.

    Args:
        root: The folder that `files` are relative to.
        files: The image files.
        targets: Theirs.
        shape: (height, width, channels) of the images that leave here.
        resize: How images of another size are resized, see `read_image`; None if they are errors.
        skip_corrupt: Whether `decode` leaves out files that cannot be decoded.
        skip_by: How the user asks for that, for messages.
        most_megapixels: Images with more cannot be decoded.
        groups: As `Source.groups` says.
    """

    sample: Sample = IMAGES

    def __init__(
        self,
        root: Path,
        files: Sequence[str],
        targets: Targets,
        shape: tuple[int, ...],
        *,
        resize: str | None,
        skip_corrupt: bool,
        skip_by: str = "set `data.skip_corrupt: true`",
        most_megapixels: float = MOST_MEGAPIXELS,
        groups: Array | None = None,
    ) -> None:
        self.root = root
        self.targets = targets
        self.shape = self.stored_shape = shape
        self.resize = resize
        self.skip_corrupt = skip_corrupt
        self.skip_by = skip_by
        self.most_megapixels = most_megapixels
        self.files = list(files)
        self.groups = groups

    def identity(self, position: int) -> str:
        return printable(Path(self.files[position]).as_posix())

    def path(self, position: int) -> str | None:
        return str(self.root / self.files[position])

    def read(self, positions: Array) -> Array:
        images = np.empty((len(positions), *self.stored_shape), np.uint8)
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
        # The limit decides which images are left out; where none may be, it decides nothing.
        left_out = (self.skip_corrupt, self.skip_corrupt and self.most_megapixels)
        how = (str(self.root.resolve()), self.shape, self.resize, *left_out, version("pillow"))
        digest.update(repr(how).encode("utf-8", "surrogateescape"))
        for file in self.files:
            facts = file_facts(os.path.join(self.root, file))
            line = f"{file}\0{facts.st_size}\0{facts.st_mtime_ns}\n"
            digest.update(line.encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def decode(self, positions: Array) -> Iterator[tuple[Array, Array]]:
        step = chunk_size(self.stored_shape)
        images = np.empty((min(step, len(positions)), *self.stored_shape), np.uint8)
        failed: list[CorruptImage] = []
        # Pillow lets go of Python's global lock while it decodes and resizes.
        with ThreadPoolExecutor(usable_cores()) as pool:
            for start in range(0, len(positions), step):
                left: list[int] = []
                part = [int(position) for position in positions[start : start + step]]
                for position, image in zip(part, pool.map(self._try_one, part), strict=True):
                    if isinstance(image, CorruptFiles):
                        failed += image.errors
                    elif isinstance(image, CorruptImage):
                        failed.append(image)
                    else:
                        images[len(left)] = image
                        left.append(position)
                yield np.array(left, np.int64), images[: len(left)]
        fatal = [error for error in failed if not self.skip_corrupt or isinstance(error, BadMask | BadBox)]
        if fatal:
            raise CorruptFiles(fatal)

    def _try_one(self, position: int) -> Array | CorruptImage:
        try:
            return self._read_one(position)
        except CorruptImage as error:
            return error

    @contextlib.contextmanager
    def _saying_how_to_skip(self, shown: str = "") -> Iterator[None]:
        """Where a file cannot be decoded inside the block, says how to do without it.

        Args:
            shown: What is to be said of the file besides its name.
        """
        try:
            yield
        except (BadMask, BadBox):
            raise
        except CorruptImage as error:
            hint = f"Repair or remove such files, or {self.skip_by} to leave them out."
            raise CorruptImage(
                f"{error.message}{shown}",
                error.hint or hint,
                file=error.file,
                reason=error.reason,
                can_be_left_out=error.hint is None,
            ) from None

    def _read_one(self, position: int) -> Array:
        path = os.path.join(self.root, self.files[position])
        what = self.targets.text(position)
        shown = f" ({what})" if what else ""
        with self._saying_how_to_skip(shown):
            image = read_image(
                path,
                None if self.resize is None else (self.shape[0], self.shape[1]),
                self.shape[2],
                most_megapixels=self.most_megapixels,
                resize=self.resize or "stretch",
            )
        if image.shape != self.shape:
            height, width = image.shape[:2]
            raise CnnkitError(
                f"the image `{path}`{shown} is {height}x{width}, but others are {self.shape[0]}x{self.shape[1]}",
                "Set `data.image_size: [height, width]` to resize all images.",
            )
        return image
