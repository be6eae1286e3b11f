"""Pictures one after the other, as a file that browsers and slides play over and over."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

#: What the name of a file ends in, and what Pillow calls such a file.
ANIMATIONS = {".gif": "GIF", ".webp": "WEBP"}

#: What WebP keeps of the pixels, 0..100, where they need not all be as they were.
_QUALITY = 80


def animated(
    frames: Sequence[Image.Image], kind: str, milliseconds: int | Sequence[int], *, lossless: bool = True
) -> bytes:
    """A file of a kind, see `ANIMATIONS`.

    Args:
        frames: At least one, all of one size.
        milliseconds: For how long each is shown.
        lossless: Whether WebP keeps every pixel as it is; GIF has at most 256 colours in each frame.
    """
    first, *others = frames
    options = {} if kind == "GIF" else {"lossless": lossless, "quality": _QUALITY}
    durations = milliseconds if isinstance(milliseconds, int) else list(milliseconds)
    stream = io.BytesIO()
    first.save(stream, kind, save_all=True, append_images=others, duration=durations, loop=0, **options)
    return stream.getvalue()
