"""What is proposed for images with a box around each object: their size, and a network after CenterNet."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from cnnkit.proposal.text import block, with_reason

#: Longer sides of images, of which the first is taken at which objects are large enough: more pixels take longer.
_SIDES = (128, 192, 256, 384)

#: The longer side of an object in the middle, in pixels: with less, what it is can hardly be told.
_LARGE_ENOUGH = 24

#: Pixels from one place of the output to the next, as the task has them where nothing is said.
_STRIDE = 4

#: Filters at half the size, at that of the output, and at each half of it below.
_FILTERS_GREY = (16, 32, 64, 96, 128)
_FILTERS_COLOUR = (24, 48, 96, 128, 192)

#: Pixels of a batch.
_PIXELS = 32 * 128 * 128
_LARGEST_BATCH = 32
#: Batches of an epoch, where there are images enough for batches of four.
_FEWEST_BATCHES = 10


def size_for_boxes(
    middle: tuple[int, int], one_size: bool, objects: Sequence[tuple[float, float]]
) -> tuple[tuple[int, int], str]:
    """(height, width) to resize images to, and why.

    Args:
        middle: The median height and width of the images.
        one_size: Whether all are of that size.
        objects: (height, width) of each object as shares of its image.
    """
    longer = [max(height * middle[0], width * middle[1]) / max(middle) for height, width in objects]
    share = statistics.median(longer)
    largest = next((side for side in _SIDES if share * side >= _LARGE_ENOUGH), _SIDES[-1])
    scale = min(1.0, largest / max(middle))
    step = _STRIDE << depth(max(middle) * scale)
    height, width = (max(step, round(side * scale / step) * step) for side in middle)
    pixels = max(1, round(share * max(height, width)))
    if one_size and (height, width) == middle:
        return middle, f"as all of them are; the longer side of an object is {pixels} pixels in the middle"
    return (
        height,
        width,
    ), f"multiples of {step}, at which the longer side of an object is {pixels} pixels in the middle"


def depth(side: float) -> int:
    """How often a network halves its map of an image once more, so that a place sees the largest objects whole."""
    return 2 if side <= _SIDES[0] else 3


def batch_with_boxes(size: tuple[int, int], train: int) -> int:
    """Images of a batch."""
    fitting = max(1, _PIXELS // (size[0] * size[1]))
    batch = min(_LARGEST_BATCH, fitting, max(4, train // _FEWEST_BATCHES))
    return int(1 << (batch.bit_length() - 1))


def network_of_boxes(size: tuple[int, int], channels: int) -> str:
    """`model:` for boxes, as the shipped detect_digits is.

    Args:
        size: (height, width) of the images.
        channels: 1 or 3.
    """
    filters = _FILTERS_GREY if channels == 1 else _FILTERS_COLOUR
    height, width = size
    convolution = "kernel_size: 3, strides: $strides, padding: same, use_bias: false, kernel_initializer: he_normal"
    lines = [
        "model:",
        "  blocks:",
        "    conv:",
        "      parameters: {filters: required, strides: 1}",
        "      layers:",
        f"        - Conv2D: {{filters: $filters, {convolution}}}",
        "        - BatchNormalization: {momentum: 0.9}",
        "        - ReLU",
        with_reason("    output:", "each of the three outputs has a convolution of its own before it"),
        "      parameters: {filters: required, bias: 0.0}",
        "      layers:",
        f"        - Conv2D: {{filters: {filters[1]}, kernel_size: 3, padding: same, activation: relu}}",
        "        - Conv2D: {filters: $filters, kernel_size: 1, bias_initializer: {Constant: $bias}}",
        "  layers:",
        with_reason(f"    - conv: {{filters: {filters[0]}, strides: 2}}", f"{height // 2}x{width // 2}"),
        with_reason(
            f"    - conv: {{filters: {filters[1]}, strides: 2}}",
            f"{height // _STRIDE}x{width // _STRIDE}: a place for every {_STRIDE}x{_STRIDE} pixels",
        ),
        f"    - conv: {filters[1]}",
        *_below(filters[1:], depth(max(size)), "    ", (height // _STRIDE, width // _STRIDE)),
        f"    - conv: {filters[2]}",
        with_reason("    - Branches:", "for each place:"),
        with_reason(
            "        - - output: {filters: classes, bias: -2.19}", "is the centre of an object of a class here?"
        ),
        with_reason("        - - output: 2", "where within the place"),
        with_reason("        - - output: 2", "how wide and high"),
    ]
    return block(lines)


def _below(filters: Sequence[int], levels: int, indent: str, size: tuple[int, int]) -> list[str]:
    """Two paths: across at a size, and through half of it and up again, to see whole objects."""
    height, width = size[0] // 2, size[1] // 2
    first = f"{indent}    - - conv: {{filters: {filters[1]}, strides: 2}}"
    inner = f"{indent}      "
    lines = [
        f"{indent}- Branches:",
        f"{indent}    - []",
        with_reason(first, f"{height}x{width}"),
        f"{inner}- conv: {filters[1]}",
    ]
    if levels > 1:
        lines += [*_below(filters[1:], levels - 1, inner, (height, width)), f"{inner}- conv: {filters[1]}"]
    return [*lines, f"{inner}- Conv2DTranspose: {{filters: {filters[0]}, kernel_size: 2, strides: 2}}"]
