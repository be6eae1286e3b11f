"""The networks that are proposed, as the text of `model:`: small ones, to be trained from scratch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cnnkit.config.target import Labels, Numbers, Target
from cnnkit.proposal.text import block, comment, with_reason

#: Maps of this side or less are not pooled once more.
_SMALLEST_MAP = 5

#: The first layer brings larger images down to this side or less.
_LARGEST_MAP = 64

#: Filters of the pairs of convolutions, from the first to the last; a deeper network repeats the last.
_FILTERS_GREY = (16, 40, 40)
_FILTERS_COLOUR = (24, 96, 96)
#: Of grey images with few pixels, which leave time for more.
_FILTERS_TINY = (32, 64)


@dataclass(frozen=True)
class Trunk:
    """A first convolution and pairs of convolutions, each with a pooling.

    Attributes:
        strides: Of the first convolution.
        kernel_size: Likewise.
        same: Whether it keeps the size of images, which are too small to lose a border.
        filters: Of the first convolution, then of each pair.
        sides: Height and width after each pair.
        activation: `gelu`, which is worth its time for colour, or `relu`.
    """

    strides: int
    kernel_size: int
    same: bool
    filters: tuple[int, ...]
    sides: tuple[tuple[int, int], ...]
    activation: str


def trunk(size: tuple[int, int], channels: int) -> Trunk:
    """The trunk for images of a size.

    Args:
        size: Height and width.
        channels: 1 or 3.
    """
    strides = -(-min(size) // _LARGEST_MAP)
    kernel_size = strides + 1 if strides > 1 else 2 if channels == 3 else 3
    same = min(size) < 16
    height, width = (_after_first(side, kernel_size, strides, same) for side in size)
    sides: list[tuple[int, int]] = []
    while min(height, width) > 1 and (max(height, width) > _SMALLEST_MAP or len(sides) < 2):
        height, width = height // 2, width // 2
        sides.append((height, width))
    first = 8 if channels == 1 else 24
    filters = _FILTERS_COLOUR if channels == 3 else _FILTERS_GREY if len(sides) > 2 else _FILTERS_TINY
    pairs = [filters[min(place, len(filters) - 1)] for place in range(len(sides))]
    activation = "gelu" if channels == 3 else "relu"
    return Trunk(strides, kernel_size, same, (first, *pairs), tuple(sides), activation)


def _after_first(side: int, kernel_size: int, strides: int, same: bool) -> int:
    return -(-side // strides) if same else (side - kernel_size) // strides + 1


def network_of_one_answer(size: tuple[int, int], channels: int, target: Target) -> str:
    """`model:` for classes, labels or numbers of an image.

    Args:
        size: Height and width of the images.
        channels: 1 or 3.
    """
    shape = trunk(size, channels)
    first = f"filters: {shape.filters[0]}, kernel_size: {shape.kernel_size}"
    if shape.strides > 1:
        first += f", strides: {shape.strides}"
    if shape.same:
        first += ", padding: same"
    return block(
        [
            "model:",
            "  blocks:",
            with_reason("    pair:", "two convolutions; a pooling between them halves height and width"),
            "      parameters: {filters: required}",
            "      layers:",
            f"        - Conv2D: {_CONVOLUTION}",
            "        - MaxPooling2D: 2",
            f"        - BatchNormalization: {_NORMALIZATION}",
            f"        - Activation: {shape.activation}",
            f"        - Conv2D: {_CONVOLUTION}",
            f"        - BatchNormalization: {_NORMALIZATION}",
            f"        - Activation: {shape.activation}",
            "  layers:",
            comment("Filters that whiten patches of the images: measured on them, not trained.", "    "),
            f"    - Conv2D: {{{first}, kernel_initializer: PatchWhitening, trainable: false}}",
            f"    - Activation: {shape.activation}",
            *_pairs(shape),
            *_ending(target),
        ]
    )


def levels(size: tuple[int, int]) -> int:
    """How often a U-Net halves images of a size: until about six rows or columns are left, at most five times."""
    return max(1, min(5, (min(size) // 6).bit_length() - 1))


def network_of_masks(size: tuple[int, int], count: int) -> str:
    """`model:` for a class of each pixel: a U-Net, as the shipped unet_camvid is.

    Args:
        size: Height and width of the images with their border.
        count: How often they are halved.
    """
    filters = [min(128, 16 << level) for level in range(count)]
    lines = [
        "model:",
        "  blocks:",
        "    conv:",
        "      parameters: {filters: required}",
        "      layers:",
        "        - Conv2D: {filters: $filters, kernel_size: 3, padding: same, use_bias: false}",
        "        - BatchNormalization: {momentum: 0.9}",
        "        - ReLU",
        with_reason("    level:", "two paths: across at this size, and through half of it and up again"),
        "      parameters: {filters: required, wider: required, below: required}",
        "      layers:",
        "        - conv: $filters",
        "        - Branches:",
        "            - []",
        "            - - MaxPooling2D: 2",
        "              - conv: $wider",
        "              - $below",
        "              - Conv2DTranspose: {filters: $filters, kernel_size: 2, strides: 2}",
        "        - conv: $filters",
        "  layers:",
    ]
    indent = "    "
    for level, width in enumerate(filters):
        wider = filters[level + 1] if level + 1 < count else 2 * width
        key = f"{indent}- level:" if level == 0 else f"{indent}level:"
        lines.append(with_reason(key, f"{size[0] >> level}x{size[1] >> level}"))
        indent += "    " if level == 0 else "  "
        lines += [f"{indent}filters: {width}", f"{indent}wider: {wider}"]
        if level + 1 < count:
            lines.append(f"{indent}below:")
            indent += "  "
    last = f"{indent}below: [conv: {wider}, SpatialDropout2D: 0.2]"
    lines.append(with_reason(last, f"{size[0] >> count}x{size[1] >> count}"))
    lines += ["    - Conv2D: {filters: classes, kernel_size: 1}", "    - Softmax"]
    return block(lines)


def network_of_backbone(name: str, target: Target) -> str:
    """`model:` for classes, labels or numbers of an image, on a network that has learned ImageNet.

    Args:
        name: Of the network, in keras.applications.
    """
    numbers = isinstance(target, Numbers)
    activation = "" if numbers else f", activation: {'sigmoid' if isinstance(target, Labels) else 'softmax'}"
    return block(
        [
            "model:",
            "  layers:",
            with_reason(f"    - Backbone: {{name: {name}, weights: imagenet}}", "scales images by itself"),
            "    - GlobalAveragePooling2D",
            "    - Dropout: 0.2",
            f"    - Dense: {{units: {target.named}{activation}}}",
        ]
    )


_CONVOLUTION = "{filters: $filters, kernel_size: 3, padding: same, use_bias: false, kernel_initializer: Dirac}"
_NORMALIZATION = "{momentum: 0.6, epsilon: 1.0e-5, scale: false}"


def _pairs(shape: Trunk) -> Sequence[str]:
    return [
        with_reason(f"    - pair: {filters}", f"{height}x{width}")
        for filters, (height, width) in zip(shape.filters[1:], shape.sides, strict=True)
    ]


def _ending(target: Target) -> Sequence[str]:
    start = "kernel_initializer: {RandomNormal: {stddev: 0.02}}"
    if isinstance(target, Numbers):
        flatten = with_reason("    - Flatten", "a number may depend on where something is, which pooling would forget")
        return [flatten, f"    - Dense: {{units: targets, {start}}}"]
    pooling = with_reason("    - GlobalMaxPooling2D", "what counts is that something is there, not where")
    activation = "sigmoid" if isinstance(target, Labels) else "softmax"
    return [pooling, f"    - Dense: {{units: classes, activation: {activation}, {start}}}"]
