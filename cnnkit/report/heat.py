"""Grad-CAM maps over their images, for reports."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cnnkit.images.pictures import picture_of
from cnnkit.report.page import Picture, drawing

#: The size of an overlay, in pixels, at least; and how much of the image a full heat covers.
_OVERLAY_SIDE = 96
_OPACITY = 0.75


def heat_over(image: NDArray[np.uint8], heat: NDArray[np.float32] | None) -> Picture:
    """A Grad-CAM map over its image in grey, as colours from dark violet to yellow.

    Args:
        image: [height, width, channels].
        heat: [rows, columns], 0..1; None where the image shows it already.

    Returns:
        Small images enlarged by a whole number.
    """
    if heat is None:
        return drawing(image)
    import matplotlib
    from PIL import Image

    base = picture_of(image[..., :3]).convert("L")
    zoom = -(-_OVERLAY_SIDE // max(base.size))
    base = base.resize((base.width * zoom, base.height * zoom), Image.Resampling.NEAREST)
    base.thumbnail((2 * _OVERLAY_SIDE, 2 * _OVERLAY_SIDE))
    grey = np.asarray(base, np.float32)[..., None] / 255
    spread = np.asarray(Image.fromarray(heat, "F").resize(base.size, Image.Resampling.BICUBIC)).clip(0, 1)
    colours = matplotlib.colormaps["plasma"](spread)[..., :3]
    opacity = _OPACITY * spread[..., None]
    return drawing(np.round(255 * (grey * (1 - opacity) + colours * opacity)).astype(np.uint8))
