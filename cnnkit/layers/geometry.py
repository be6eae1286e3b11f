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
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cnnkit.layers.base import Layer, Shape

#: How many rows (or columns) are added before and after.
Amount = tuple[int, int]

#: Output positions that `receptive_field` tries where a layer enlarges the image.
_CENTRAL_POSITIONS = 64


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


def unread(size: int, window: int, stride: int = 1, padding: Amount = (0, 0), dilation: int = 1) -> list[int]:
    """The input positions, from 0, that no window reads: those that strides pass over, and those at the end."""
    count = output_size(size, window, stride, padding, dilation)
    read = {place * stride - padding[0] + tap * dilation for place in range(count) for tap in range(window)}
    return [position for position in range(size) if position not in read]


def passes_over(window: int, stride: int, dilation: int = 1) -> bool:
    """Whether windows, however many, leave positions between them unread.

    They do where the stride exceeds the window (S > F), and where a dilation takes all windows to the same positions.
    """
    return len({tap * dilation % stride for tap in range(window)}) < stride


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


def _resize_reach(position: int, scale: Fraction, interpolation: str, antialias: bool) -> tuple[int, int]:
    if interpolation == "nearest":
        nearest = math.floor((position + Fraction(1, 2)) * scale)
        return nearest, nearest
    centre = (position + Fraction(1, 2)) * scale - Fraction(1, 2)
    widening = max(scale, Fraction(1)) if antialias else Fraction(1)
    if centre.denominator == 1 and widening == 1:
        return int(centre), int(centre)
    radius = _KERNEL_RADIUS[interpolation] * widening
    return math.floor(centre - radius) + 1, math.ceil(centre + radius) - 1


def resize_range(
    low: int, high: int, size: int, output: int, interpolation: str, antialias: bool = False
) -> tuple[int, int]:
    """The input positions that output positions `low..high` see when `size` rows are resized to `output`.

    Pixel centres lie at i + 1/2, as in `tf.image.resize`. `antialias` widens the kernel when shrinking.
    """
    scale = Fraction(size, output)
    # A position on a pixel centre sees that pixel only, so its neighbours may reach further out.
    period = -(-output // size)
    first = [_resize_reach(p, scale, interpolation, antialias)[0] for p in range(low, min(high, low + period) + 1)]
    last = [_resize_reach(p, scale, interpolation, antialias)[1] for p in range(max(low, high - period), high + 1)]
    return min(first), max(last)


#: Where height (0), width (1) and channels (2) lie in a channels-last and a channels-first image.
CHANNELS_LAST = (0, 1, 2)
CHANNELS_FIRST = (2, 0, 1)


@dataclass(frozen=True)
class StackStep:
    """One layer of a stack, with where height, width and channels lie before and after it."""

    layer: Layer
    input_shape: Shape
    before: tuple[int, ...]
    after: tuple[int, ...]

    def input_axis(self, axis: int) -> int:
        """The input's spatial axis behind a spatial axis of the output; they differ where a Permute swaps."""
        return _spatial_part(self.before).index(_spatial_part(self.after)[axis])

    def input_size(self, axis: int) -> int:
        if len(self.input_shape) != 3:
            return 1
        return self.input_shape[self.before.index(_spatial_part(self.before)[axis])]


def _spatial_part(order: tuple[int, ...]) -> list[int]:
    return [item for item in order if item != 2]


def arriving_order(layer: Layer, order: tuple[int, ...]) -> tuple[int, ...]:
    """Where height (0), width (1) and channels (2) lie as a layer takes them, whose `data_format` decides.

    Args:
        order: Where they lie in what comes before.
    """
    data_format = getattr(layer, "data_format", None)
    if data_format == "channels_first" and order[0] != 2:
        return CHANNELS_FIRST
    if data_format == "channels_last" and order[-1] != 2:
        return CHANNELS_LAST
    return order


def stack_steps(stack: Sequence[tuple[Layer, Shape]]) -> list[StackStep]:
    """The layers of a stack, each with the shape that arrives at it, as `stack_range` needs them."""
    order: tuple[int, ...] = CHANNELS_LAST
    steps = []
    for layer, input_shape in stack:
        order = arriving_order(layer, order)
        after = layer.output_order(order)
        steps.append(StackStep(layer, input_shape, order, after))
        order = after
    return steps


def order_behind(layer: Layer, order: tuple[int, ...]) -> tuple[int, ...]:
    """Where height (0), width (1) and channels (2) lie behind a layer, given where they lie before it."""
    return layer.output_order(arriving_order(layer, order))


def stack_range(steps: Sequence[StackStep], low: int, high: int, axis: int) -> tuple[int, int]:
    """Which input positions of a stack of layers its output positions `low..high` see along one spatial axis.

    Args:
        steps: What `stack_steps` made.
        axis: 0 for height, 1 for width of the output.

    Returns:
        First and last input position; first above last where none is seen.
    """
    clip = False
    for step in reversed(steps):
        if step.layer.sees_everything(axis, step.input_shape):
            clip = True
            low, high = 0, step.input_size(step.input_axis(axis)) - 1
        else:
            low, high = step.layer.input_range(low, high, axis, step.input_shape)
        axis = step.input_axis(axis)
        if clip:
            low, high = max(low, 0), min(high, step.input_size(axis) - 1)
        if high < low:
            return 0, -1
    return low, high


def receptive_field(stack: Sequence[tuple[Layer, Shape]]) -> tuple[int, int]:
    """Height and width of the input region that one output position of a stack of layers sees.

    Composes each layer's exact `input_range` from a central output position back to the input. Behind
    layers that enlarge the image, positions differ, and the largest of up to 64 central ones counts. The
    result is not clipped to the input (it may exceed it, as padding counts), except behind a layer that sees
    everything (Flatten, global pooling), where it is the whole input at most.

    Args:
        stack: The layers in order, each with the shape that arrives at it; all `classes` resolved.
    """
    if not stack:
        return 1, 1
    steps = stack_steps(stack)
    last = steps[-1]
    output_shape = last.layer.output_shape(last.input_shape)
    enlarges = any(layer.may_enlarge() for layer, _ in stack)
    reach = _CENTRAL_POSITIONS // 2 if enlarges else 0
    fields = {}
    for axis, name in enumerate(_spatial_part(last.after)):
        size = output_shape[last.after.index(name)] if len(output_shape) == 3 else 1
        centre = size // 2
        positions = range(max(centre - reach, 0), min(centre + reach, size - 1) + 1)
        ranges = [stack_range(steps, position, position, axis) for position in positions]
        fields[axis] = max(high - low + 1 for low, high in ranges)
    if _spatial_part(steps[0].before) != _spatial_part(last.after):
        return fields[1], fields[0]
    return fields[0], fields[1]
