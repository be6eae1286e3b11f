"""Arrays of pixels as pictures and files of them."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image


def picture_of(pixels: Any) -> Image.Image:
    """An array as a Pillow image.

    Args:
        pixels: uint8 [height, width, channels]: grey, grey and opacity, colours, or colours and opacity.
    """
    from PIL import Image

    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def indexed_picture(numbers: Any, palette: Sequence[tuple[int, int, int]]) -> Image.Image:
    """An array of numbers as a Pillow image in which each stands for a colour.

    Args:
        numbers: uint8 [height, width].
        palette: A colour for each number, (red, green, blue), 0..255.
    """
    from PIL import Image

    picture = Image.fromarray(numbers)
    picture.putpalette([value for colour in palette for value in colour])
    return picture


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The picture as a file of a kind; options are Pillow's."""
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def data_url(picture: Image.Image, kind: str = "PNG", **options: Any) -> str:
    """The picture as a `data:` URL, see `encoded`."""
    return f"data:image/{kind.lower()};base64,{base64.b64encode(encoded(picture, kind, **options)).decode()}"
