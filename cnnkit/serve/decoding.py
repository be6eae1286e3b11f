"""From the bytes of images to what a network takes, in threads beside the event loop."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.config.sample import ImageSample, Sample, TextSample
from cnnkit.data.images import read_for, size_of
from cnnkit.images.formats import CorruptImage, TooManyPixels
from cnnkit.runs.inputs import read_text
from cnnkit.runs.interface import Interface
from cnnkit.serve.refusals import TOO_LARGE, UNPROCESSABLE, Refused
from cnnkit.serve.uploads import Upload
from cnnkit.texts.words import words_in

#: Each of their headers tells the size of what is decoded; those of containers may tell another.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP")

#: Where nothing else is said. Most telephones take pictures of at most 50 megapixels.
MOST_MEGAPIXELS = 64

#: A progressive JPEG file may repeat its scans, each a pass over all pixels; cameras and editors write about ten.
MOST_SCANS = 100

_JPEG_START = b"\xff\xd8"
_SCAN_START = b"\xff\xda"


async def decode(uploads: Sequence[Upload], task: Interface, most_megapixels: float, threads: Executor) -> NDArray[Any]:
    """The images, or texts, as a network takes them, [images, ...].

    Args:
        task: What the network takes.
        most_megapixels: An image with more is refused.

    Raises:
        Refused: if one of them is no image, damaged, or has too many pixels; names it where there are several.
    """
    loop = asyncio.get_running_loop()
    images = np.empty((len(uploads), *task.image_shape), task.sample.dtype)
    read = _READ[type(task.sample)]
    for image, upload in zip(images, uploads, strict=True):
        # One by one: others get their turn, and where the client has gone, only what is begun is decoded.
        image[:] = await loop.run_in_executor(threads, read, upload, task, most_megapixels)
    return images


async def sizes_of(uploads: Sequence[Upload], threads: Executor) -> list[tuple[int, int]]:
    """(height, width) of images that `decode` has decoded, each as its file has it."""
    loop = asyncio.get_running_loop()
    return [await loop.run_in_executor(threads, size_of, io.BytesIO(upload.content)) for upload in uploads]


def _read_text(upload: Upload, task: Interface, most_megapixels: float) -> NDArray[Any]:
    before = f"{upload.name}: " if upload.name else ""
    try:
        text = upload.content.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused(UNPROCESSABLE, f"{before}the network takes texts, and this is none in UTF-8") from None
    if not words_in(text):
        raise Refused(UNPROCESSABLE, f"{before}there is no word in the text")
    return read_text(task, text)


def _decode_image(upload: Upload, task: Interface, most_megapixels: float) -> NDArray[np.uint8]:
    before = f"{upload.name}: " if upload.name else ""
    if not upload.content:
        raise Refused(UNPROCESSABLE, f"{before}cannot read the image: it is empty")
    if upload.content.startswith(_JPEG_START) and (scans := upload.content.count(_SCAN_START)) > MOST_SCANS:
        raise Refused(UNPROCESSABLE, f"{before}the image has {scans} scans; at most {MOST_SCANS} are accepted")
    try:
        return read_for(task, io.BytesIO(upload.content), most_megapixels, FORMATS)
    except TooManyPixels as error:
        raise Refused(TOO_LARGE, before + error.message) from None
    except CorruptImage as error:
        raise Refused(UNPROCESSABLE, f"{before}{error.message} (accepted: {', '.join(FORMATS)})") from None


_READ: Mapping[type[Sample], Callable[[Upload, Interface, float], NDArray[Any]]] = {
    ImageSample: _decode_image,
    TextSample: _read_text,
}
