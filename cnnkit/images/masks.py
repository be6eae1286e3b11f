"""Masks: PNG images whose pixels are the numbers of classes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from cnnkit.images.formats import MOST_MEGAPIXELS, CorruptImage, open_image

if TYPE_CHECKING:
    import numpy as np

_SAVE_AS = "Save it as a PNG file of one byte a pixel, grey or with a palette, whose values are the numbers of classes."

#: Pillow spreads grey values of fewer bits over 0..255; by its raw mode, what undoes that.
_SPREAD = {"L;2": 85, "L;4": 17}

_REFUSED = {"I;16": "has 16 bits a pixel", "LA": "has an alpha channel"}


class BadMask(CorruptImage):
    """A mask that no network can learn from, or an image without one; never left out in silence, as others may be.

    Args:
        file: The mask, or the image; the name of a record where there are no files.
        reason: What is wrong with it, as the rest of a sentence that begins with it.
        hint: As of every error.
        kind: Which of both the file is, `mask` or `image`.
        is_file: Whether it is a file.
    """

    def __init__(
        self, file: str, reason: str, hint: str | None = None, *, kind: str = "mask", is_file: bool = True
    ) -> None:
        super().__init__(f"the {kind} `{file}` {reason}", hint, file=file if is_file else None, reason=reason)


def read_mask(file: str | os.PathLike[str], most_megapixels: float = MOST_MEGAPIXELS) -> np.ndarray[Any, Any]:
    """The numbers that a mask holds, 0..255: uint8 [height, width].

    Of a palette the indices count, not the colours; of grey values of 1, 2 or 4 bits, the values as they are stored.

    Raises:
        BadMask: if its pixels are colours, have 16 bits, or were stored in a format that need not keep them exactly.
        CorruptImage: if it cannot be read, see `open_image`.
    """
    with open_image(file, most_megapixels) as image:
        name = os.fspath(file)
        if image.format != "PNG":
            raise BadMask(name, f"is a {image.format} file; expected PNG", _SAVE_AS)
        if image.mode not in ("1", "L", "P"):
            reason = _REFUSED.get(image.mode, f"is a colour image ({image.mode})")
            raise BadMask(name, f"{reason}; expected one number of a class, 0..255, a pixel", _SAVE_AS)

        import numpy as np
        from PIL import ImageOps

        # Known before the pixels are read only.
        raw = image.tile[0].args if image.tile else None
        turned = ImageOps.exif_transpose(image)
        return np.asarray(turned).astype(np.uint8) // np.uint8(_SPREAD.get(str(raw), 1))
