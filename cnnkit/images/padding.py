"""Borders around images whose sides a network divides by two again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Rows above and below, columns left and right.
Padding = tuple[int, int, int, int]

NO_PADDING: Padding = (0, 0, 0, 0)


def padding_to(height: int, width: int, multiple: int) -> Padding:
    """The smallest border with which both sides are multiples of a number: even, or one more below and on the right.

    Example:
        >>> padding_to(180, 240, 16)
        (6, 6, 0, 0)
    """
    rows, columns = -height % multiple, -width % multiple
    return rows // 2, rows - rows // 2, columns // 2, columns - columns // 2


def padded_image(image: NDArray[np.uint8], padding: Padding) -> NDArray[np.uint8]:
    """An image [height, width, channels] with a border of its outermost pixels."""
    if padding == NO_PADDING:
        return image
    import numpy as np

    top, bottom, left, right = padding
    return np.pad(image, ((top, bottom), (left, right), (0, 0)), "edge")


def padded_mask(mask: NDArray[np.uint8], padding: Padding, ignore: int) -> NDArray[np.uint8]:
    """A mask [height, width] with a border of pixels that do not count."""
    if padding == NO_PADDING:
        return mask
    import numpy as np

    top, bottom, left, right = padding
    return np.pad(mask, ((top, bottom), (left, right)), constant_values=ignore)


def cropped(values: NDArray[Any], padding: Padding) -> NDArray[Any]:
    """What lies inside the border, of [height, width] or [height, width, ...]."""
    top, bottom, left, right = padding
    return values[top : values.shape[0] - bottom, left : values.shape[1] - right]
