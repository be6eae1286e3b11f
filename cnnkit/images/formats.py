"""The image formats that are read, and the one way in which an image file is opened.

Neither numpy nor Pillow is imported before an image is opened.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import re
import stat
import threading
import warnings
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from typing import IO, TYPE_CHECKING, Any, Literal, get_args

from cnnkit.errors import CnnkitError
from cnnkit.machine.processor import usable_cores

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile


@dataclass(frozen=True)
class Format:
    """An image format.

    Attributes:
        plugin: Pillow's module that reads it.
        suffixes: The endings of its files, lower case.
        start: Matches the first bytes of its files.
        pixel_bytes: The most memory that a pixel takes while it is decoded: four bytes in Pillow's image, as many in
            each of two copies, turned or converted and cut, and what the format's library holds besides.
    """

    plugin: str
    suffixes: tuple[str, ...]
    start: re.Pattern[bytes]
    pixel_bytes: int = 12


#: By Pillow's names. What is not here is never tried: some of Pillow's formats start programs (EPS: Ghostscript).
FORMATS = {
    "PNG": Format("PngImagePlugin", (".png",), re.compile(rb"\x89PNG\r\n\x1a\n")),
    "JPEG": Format("JpegImagePlugin", (".jpg", ".jpeg", ".jfif"), re.compile(rb"\xff\xd8\xff")),
    "BMP": Format("BmpImagePlugin", (".bmp",), re.compile(rb"BM")),
    "GIF": Format("GifImagePlugin", (".gif",), re.compile(rb"GIF8[79]a")),
    "WEBP": Format("WebPImagePlugin", (".webp",), re.compile(rb"RIFF....WEBP", re.DOTALL), 20),
    "TIFF": Format("TiffImagePlugin", (".tif", ".tiff"), re.compile(rb"II[*+]\0|MM\0[*+]")),
    "AVIF": Format("AvifImagePlugin", (".avif",), re.compile(rb"....ftyp(avi[fs]|m[is]f1)", re.DOTALL), 16),
}

#: The endings of image files, lower case.
IMAGE_SUFFIXES = tuple(suffix for one in FORMATS.values() for suffix in one.suffixes)

#: Bytes that tell the format of a file.
START_BYTES = 16

MEGAPIXEL = 1_000_000

#: Images of more megapixels are refused where nothing else is said. Telephones take up to 200, cameras 151, and an A3
#: page scanned at 1,200 dots per inch has 278; a small file that claims more is meant to fill the memory.
MOST_MEGAPIXELS = 300.0

#: How an image of other proportions is resized, see `data.images.read_image`.
Resizing = Literal["stretch", "pad", "crop"]
RESIZINGS: tuple[str, ...] = get_args(Resizing)

#: Memory for images that are decoded at the same time: for each core enough for one of 16 megapixels.
_CORE_BYTES = 192 << 20
_LEAST_BYTES = 1 << 30

_ORIENTATION = 0x0112
_TIFF_SIZE = (256, 257)
_TIFF_TILE = (322, 323)


class CorruptImage(CnnkitError):
    """An image file cannot be read.

    Args:
        message, hint: As of every error.
        file: The file, as it was named; None where it has no name.
        reason: What is wrong with it, where its name stands beside it; by default the message.
        can_be_left_out: Whether the hint says how to do without the file.
    """

    def __init__(
        self,
        message: str,
        hint: str | None = None,
        *,
        file: str | os.PathLike[str] | None = None,
        reason: str | None = None,
        can_be_left_out: bool = False,
    ) -> None:
        super().__init__(message, hint)
        self.file = None if file is None else os.fspath(file)
        self.reason = reason or message
        self.can_be_left_out = can_be_left_out


class TooManyPixels(CorruptImage):
    """An image has more pixels than may be decoded; nothing else need be wrong with it."""


def format_of(start: bytes) -> str | None:
    """The format of a file by its first `START_BYTES` bytes; None for a format that is not read."""
    return next((name for name, one in FORMATS.items() if one.start.match(start)), None)


@contextlib.contextmanager
def open_image(
    file: str | os.PathLike[str] | IO[bytes],
    most_megapixels: float = MOST_MEGAPIXELS,
    formats: Collection[str] = FORMATS.keys(),
) -> Iterator[ImageFile]:
    """An image file, opened by Pillow: its header is read, its pixels are not yet.

    Everything that a user hands over is opened here. The first bytes alone decide the format. Inside the block, the
    image holds its share of the memory for decoding; where too many others are being decoded, it waits for them.

    Args:
        file: Its path, or an open file of bytes.
        most_megapixels: An image with more is refused.
        formats: Those that are accepted, of `FORMATS`.

    Raises:
        TooManyPixels: if it has more pixels.
        CorruptImage: if it is no regular file, of no format that is read, or damaged; also for whatever Pillow raises
            inside the block, since damaged files make it raise almost anything.
    """
    path = file if isinstance(file, str | os.PathLike) else None
    what = "the image" if path is None else f"the image file `{os.fspath(path)}`"
    try:
        with contextlib.ExitStack() as stack:
            content = stack.enter_context(_open_regular(file)) if isinstance(file, str | os.PathLike) else file
            name, image = _identify(content, formats)
            stack.enter_context(image)
            width, height = _decoded_size(image)
            if width * height > most_megapixels * MEGAPIXEL:
                raise _too_many(what, width, height, most_megapixels, path)
            stack.enter_context(_memory().share(width * height * FORMATS[name].pixel_bytes))
            yield image
    except CnnkitError:
        raise
    except MemoryError:
        reason = "there is not enough memory for its pixels"
        raise CorruptImage(f"cannot read {what}: {reason}", file=path, reason=reason) from None
    except Exception as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise CorruptImage(f"cannot read {what}: {reason}", file=path, reason=reason) from None


def _too_many(
    what: str, width: int, height: int, most_megapixels: float, path: str | os.PathLike[str] | None
) -> TooManyPixels:
    reason = (
        f"has {width}x{height} = {width * height:,} pixels; at most {most_megapixels * MEGAPIXEL:,.0f} are accepted"
    )
    return TooManyPixels(
        f"{what} {reason}",
        f"If it is meant to be so large, raise the limit of {most_megapixels:g} megapixels with `data.max_megapixels` "
        "in the config, or with `--max-megapixels`.",
        file=path,
        reason=reason,
    )


def header_size(image: ImageFile) -> tuple[int, int]:
    """Height and width that an opened image will have once it is turned as its EXIF orientation says."""
    width, height = image.size
    if image.format == "TIFF":
        # Pillow turns these itself, and says the size before or after that, depending on its version.
        tags: Any = image.tag_v2  # type: ignore[attr-defined]
        width, height = (tags[tag] for tag in _TIFF_SIZE)
    try:
        # As in ImageOps.exif_transpose: what is not one of its numbers, such as a text, turns nothing.
        turned = image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
    except SyntaxError:  # the EXIF block is damaged
        turned = False
    return (width, height) if turned else (height, width)


@contextlib.contextmanager
def _open_regular(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A file, opened only if it is one: opening a pipe waits for a writer, and opening a device can do anything.

    Raises:
        CorruptImage: if it is something else.
        OSError: if it cannot be opened.
    """
    kind = stat.S_IFMT(os.stat(path).st_mode)
    if kind != stat.S_IFREG:
        is_a = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}
        reason = f"is {is_a.get(kind, 'a device')}, not an image file"
        raise CorruptImage(f"`{os.fspath(path)}` {reason}", file=path, reason=reason)
    # It may have become something else since.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with open(os.open(path, flags), "rb") as file:
        yield file


def _identify(content: IO[bytes], formats: Collection[str]) -> tuple[str, ImageFile]:
    pillow = _pillow()
    content.seek(0)
    start = content.read(START_BYTES)
    name = format_of(start)
    if name is None or name not in formats:
        raise ValueError("not an image, or damaged from its start" if start else "it is empty")
    plugin = importlib.import_module(f"PIL.{FORMATS[name].plugin}")
    if not getattr(plugin, "SUPPORTED", True):
        raise ValueError(f"this installation of Pillow was built without {name}")
    try:
        return name, pillow.open(content, formats=(name,))
    except pillow.UnidentifiedImageError:
        raise ValueError(f"a {name} file of a kind that Pillow does not know, or damaged from its start") from None


def _decoded_size(image: ImageFile) -> tuple[int, int]:
    """Width and height of what is decoded: the tiles of a TIFF file may be larger than its image."""
    tags: Any = getattr(image, "tag_v2", {})
    sizes = zip(image.size, (tags.get(tag, 0) for tag in _TIFF_TILE), strict=True)
    width, height = (max(size, tile) if isinstance(tile, int) else size for size, tile in sizes)
    return width, height


@cache
def _pillow() -> Any:
    """`PIL.Image`, silent, without its own limit of pixels: that is one number for the whole process, and warns."""
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None
    # What is odd in a file is either read all the same, or an error that names the file.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    return Image


class _Memory:
    """Bytes that threads share out among them; who asks first gets first, so that large images have their turn too."""

    def __init__(self, total: int) -> None:
        self._total = self._free = total
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()

    @contextlib.contextmanager
    def share(self, wanted: int) -> Iterator[None]:
        """Bytes for the time of the block; more than there are is all of them. Not to be nested in one thread."""
        wanted = min(wanted, self._total)
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            try:
                self._changed.wait_for(lambda: self._waiting[0] is ticket and wanted <= self._free)
                self._free -= wanted
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._free += wanted
                self._changed.notify_all()


@cache
def _memory() -> _Memory:
    return _Memory(max(_LEAST_BYTES, _CORE_BYTES * usable_cores()))
