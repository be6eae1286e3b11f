"""The arithmetic of convolution and pooling: sizes, padding, parameters and receptive fields.

All functions work on one axis (a height or a width, in pixels) unless they say otherwise. The symbols are
those of the lectures: input size W, window (filter) size F, padding P on each side, stride S, dilation D,
C input channels and K filters. The two formulas that the rest of cnnkit is built on:

    output size   W' = (W - F + 2P)/S + 1, rounded down
    parameters    K(F^2 C + 1), the 1 being the bias

See Dumoulin and Visin, "A guide to convolution arithmetic for deep learning" (arXiv:1603.07285), and for
receptive fields Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks"
(Distill, 2019).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass

#: How many rows (or columns) are added before and after.
Amount = tuple[int, int]


def effective_window(window: int, dilation: int = 1) -> int:
    """How many input positions a dilated window spans: D(F - 1) + 1."""
    return dilation * (window - 1) + 1


def same_output_size(size: int, stride: int) -> int:
    """The output size under `same` padding: W/S, rounded up."""
    return -(-size // stride)


def same_padding(size: int, window: int, stride: int = 1, dilation: int = 1) -> Amount:
    """What `same` padding adds: just enough for W/S windows (rounded up), the odd one after.

    Where the stride leaves room (S >= F) nothing is added.
    """
    span = effective_window(window, dilation)
    total = max((same_output_size(size, stride) - 1) * stride + span - size, 0)
    return total // 2, total - total // 2


def full_padding(window: int, dilation: int = 1) -> Amount:
    """What `full` padding adds: D(F - 1) on both sides, so that every overlap with the input counts."""
    return (effective_window(window, dilation) - 1,) * 2


def output_size(size: int, window: int, stride: int = 1, padding: Amount = (0, 0), dilation: int = 1) -> int:
    """W' = (W - F + 2P)/S + 1, rounded down; F is the dilated window, 2P the padding of both sides.

    Below 1 where the window does not fit the padded input.
    """
    return (size + sum(padding) - effective_window(window, dilation)) // stride + 1


def stride_between(size: int, wanted: int) -> int | None:
    """The smallest stride at which a 1x1 window makes `wanted` rows of `size`, none larger; None where none does."""
    stride = 1 if wanted >= size else (size - 1) // wanted + 1
    return stride if output_size(size, 1, stride) == wanted else None


def dropped(size: int, window: int, stride: int = 1, padding: Amount = (0, 0), dilation: int = 1) -> int:
    """How many rows (or columns) at the end no window reaches: the remainder of (W - F + 2P)/S."""
    return (size + sum(padding) - effective_window(window, dilation)) % stride


def unread(size: int, window: int, stride: int = 1, padding: Amount = (0, 0), dilation: int = 1) -> int:
    """How many input positions no window reads: those that strides pass over, and those at the end."""
    count = max(output_size(size, window, stride, padding, dilation), 0)
    # Windows and taps are one as the other: window o reads o*S + t*D - P by its tap t. Fewer kinds are counted faster.
    common = math.gcd(stride, dilation)
    pairs = [(stride, count), (dilation, window)]
    if min(count, dilation // common) > min(window, stride // common):
        pairs.reverse()
    return size - _reached(size, *pairs[0], *pairs[1], padding[0])


def _reached(size: int, step: int, count: int, other_step: int, other_count: int, before: int) -> int:
    """How many of the positions 0..size - 1 are i*step + j*other_step - before, for i < count and j < other_count."""
    common = math.gcd(step, other_step)
    kinds, apart = other_step // common, step // common
    total = 0
    # The positions of one remainder by other_step: runs of other_count multiples of it, `apart` from each other.
    for kind in range(min(count, kinds)):
        runs = -(-(count - kind) // kinds)
        start = kind * step - before
        low, high = max(-(start // other_step), 0), (size - 1 - start) // other_step
        high = min(high, (runs - 1) * apart + other_count - 1)
        if low <= high:
            total += _in_runs(high, apart, other_count) - _in_runs(low - 1, apart, other_count)
    return total


def _in_runs(last: int, apart: int, length: int) -> int:
    """How many of 0..last lie in runs of a length that start `apart` from each other, from 0 on."""
    whole, rest = divmod(last + 1, apart)
    return whole * min(length, apart) + min(rest, length)


def passes_over(window: int, stride: int, dilation: int = 1) -> bool:
    """Whether windows, however many, leave positions between them unread.

    They do where the stride exceeds the window (S > F), and where a dilation takes all windows to the same positions.
    """
    return min(window, stride // math.gcd(stride, dilation)) < stride


def size_arithmetic(size: int, window: int, stride: int = 1, padding: Amount = (0, 0), dilation: int = 1) -> str:
    """The output size worked out, such as `(32 - 5 + 2*0)/3 + 1 = 10: 27/3 = 9, drops 0`."""
    span = effective_window(window, dilation)
    before, after = padding
    padded = f"2*{before}" if before == after else f"{before} + {after}"
    room = size + before + after - span
    count, rest = divmod(room, stride)
    divided = f"{room}/{stride} = {count}" + (f" remainder {rest}" if rest else "")
    return f"({size} - {span} + {padded})/{stride} + 1 = {count + 1}: {divided}, drops {rest}"


def transposed_output_size(
    size: int,
    window: int,
    stride: int = 1,
    padding: str | Amount = "valid",
    output_padding: int | None = None,
    dilation: int = 1,
) -> int:
    """The output size of a transposed convolution, by Keras' rule.

    With the dilated window F and output padding O: `valid` gives (W - 1)S + max(F, S), or
    (W - 1)S + F + O where O is given; `same` gives W*S, or (W - 1)S + (F mod 2) + O. Explicit padding crops
    the `valid` result, so that the layer undoes a convolution with that padding.
    """
    span = effective_window(window, dilation)
    if padding == "same":
        if output_padding is None:
            return size * stride
        return (size - 1) * stride + span % 2 + output_padding
    tail = max(span, stride) if output_padding is None else span + output_padding
    crop = 0 if isinstance(padding, str) else sum(padding)
    return (size - 1) * stride + tail - crop


def transposed_crop(size: int, window: int, stride: int, output: int, dilation: int = 1) -> int:
    """How many leading rows `same` cuts off a transposed convolution's result (TensorFlow's rule)."""
    return max((size - 1) * stride + effective_window(window, dilation) - output, 0) // 2


def convolution_parameters(
    filters: int, window: tuple[int, int], channels: int, groups: int = 1, use_bias: bool = True
) -> int:
    """K(F^2 C + 1): each of K filters has a weight per window position and channel, and one bias.

    With groups, a filter sees only C/groups channels.
    """
    return filters * (window[0] * window[1] * (channels // groups) + int(use_bias))


def convolution_range(
    low: int, high: int, window: int, stride: int = 1, before: int = 0, dilation: int = 1
) -> tuple[int, int]:
    """The input positions that output positions `low..high` of a convolution or pooling see.

    Output position o sees o*S - P to o*S - P + D(F - 1). Not clipped: padding counts.
    """
    return low * stride - before, high * stride - before + effective_window(window, dilation) - 1


def transposed_range(
    low: int, high: int, window: int, stride: int = 1, before: int = 0, dilation: int = 1
) -> tuple[int, int]:
    """The input positions that output positions `low..high` of a transposed convolution see.

    Input position i reaches outputs i*S - P to i*S - P + D(F - 1). Where the stride exceeds the window,
    an output position may see no input at all: then the first returned position is above the second.
    """
    first = low + before - effective_window(window, dilation) + 1
    return -(-first // stride), (high + before) // stride


#: How far from its centre each interpolation kernel reaches, in input positions.
_KERNEL_RADIUS = {"bilinear": 1, "bicubic": 2, "lanczos3": 3, "lanczos5": 5}


def _resize_reach(position: int, size: int, output: int, interpolation: str, antialias: bool) -> tuple[int, int]:
    # In parts of a half output position, so that all numbers are whole.
    parts = 2 * output
    middle = (2 * position + 1) * size
    if interpolation == "nearest":
        return middle // parts, middle // parts
    centre = middle - output
    widened = max(size, output) if antialias else output
    if centre % parts == 0 and widened == output:
        return centre // parts, centre // parts
    radius = 2 * _KERNEL_RADIUS[interpolation] * widened
    return (centre - radius) // parts + 1, -(-(centre + radius) // parts) - 1


@lru_cache(maxsize=1 << 12)
def resize_range(
    low: int, high: int, size: int, output: int, interpolation: str, antialias: bool = False
) -> tuple[int, int]:
    """The input positions that output positions `low..high` see when `size` rows are resized to `output`.

    Pixel centres lie at i + 1/2, as in `tf.image.resize`. `antialias` widens the kernel when shrinking.
    """
    # A position on a pixel centre sees that pixel only, so its neighbours may reach further out.
    period = -(-output // size)
    some, others = range(low, min(high, low + period) + 1), range(max(low, high - period), high + 1)
    return (
        min(_resize_reach(position, size, output, interpolation, antialias)[0] for position in some),
        max(_resize_reach(position, size, output, interpolation, antialias)[1] for position in others),
    )


def resize_bounds(size: int, output: int, interpolation: str, antialias: bool = False) -> tuple[float, float, float]:
    """Scale s and offsets a, b such that output position p sees no input position outside p*s + a .. p*s + b."""
    scale = size / output
    middle = (scale - 1) / 2
    if interpolation == "nearest":
        return scale, middle - 0.5, middle + 0.5
    radius = _KERNEL_RADIUS[interpolation] * (max(scale, 1.0) if antialias else 1.0)
    return scale, middle - radius, middle + radius


def channels_last(axes: int) -> tuple[int, ...]:
    """Where the axes of a tensor lie whose channels, the last number, come last: height 0, width 1, channels 2."""
    return tuple(range(axes))


def channels_first(axes: int) -> tuple[int, ...]:
    """The same of a tensor whose channels come first."""
    return (axes - 1, *range(axes - 1))
