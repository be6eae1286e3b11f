"""The rules of `inspect --lint` for single layers and for what flows from one to another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cnnkit.format.shapes import Shape, format_shape
from cnnkit.layers.activation import Activation
from cnnkit.layers.axes import positions
from cnnkit.layers.base import Layer
from cnnkit.layers.composite import PaddedChannels
from cnnkit.layers.convolution import Convolution, TransposedConvolution
from cnnkit.layers.core import Dense, Flatten, Permute
from cnnkit.layers.dropout import AlphaDropout, Dropout, GaussianDropout, GaussianNoise, SpatialDropout
from cnnkit.layers.normalization import BatchNormalization
from cnnkit.layers.pooling import AveragePooling, GlobalPooling, MaxPooling
from cnnkit.layers.resampling import Cropping, Rescaling, Resizing, UpSampling
from cnnkit.layers.spatial import THINGS
from cnnkit.layers.window import WindowedLayer
from cnnkit.network.lint import advice
from cnnkit.network.lint.advice import Advice
from cnnkit.network.lint.walk import Chain, Item, Order, leaves

_DROPOUTS = (Dropout, SpatialDropout, GaussianDropout, AlphaDropout)

#: Layers whose output changes by a constant per channel where their input does.
_KEEP_CONSTANTS = (
    MaxPooling,
    GlobalPooling,
    Flatten,
    Permute,
    Cropping,
    UpSampling,
    PaddedChannels,
    GaussianNoise,
)


def bias_before_normalization(chain: Chain) -> Iterator[Advice]:
    """Biases that a BatchNormalization subtracts on every way that they go."""
    subtracted: dict[Item, Item] = {}
    kept: set[Item] = set()

    def flow(items: Chain, biases: frozenset[Item]) -> frozenset[Item]:
        """Which layers' biases are a constant per channel after the items, given those before them."""
        for item in items:
            if item.paths:
                biases = frozenset().union(*(flow(path, biases) for path in item.paths))
            if isinstance(item.layer, BatchNormalization) and _subtracts_constants(item):
                subtracted.update(dict.fromkeys(biases, item))
                biases = frozenset()
            elif not _keeps_constants(item):
                kept.update(biases)
                biases = frozenset()
            if _adds_constants(item):
                biases |= {item}
        return biases

    kept |= flow(chain, frozenset())
    rule = advice.BIAS_BEFORE_NORMALIZATION
    for item in leaves(chain):
        if item.written and item in subtracted and item not in kept:
            offset = "it has an offset of its own" if subtracted[item].layer.center else "they have no effect"
            yield rule.at(
                item.place, f"the BatchNormalization after it subtracts the mean, and with it the biases; {offset}"
            )


def _adds_constants(item: Item) -> bool:
    return bool(getattr(item.layer, "use_bias", False)) and item.layer.output_activation is None


def _subtracts_constants(item: Item) -> bool:
    """Whether a batch normalization has a mean for each channel, and takes it from the batch: a frozen one does not."""
    return bool(item.layer.trainable) and _is_channel(item.layer.axis, item.input_shape, item.before)


def _is_channel(axis: int, shape: Shape, order: Order) -> bool:
    return len(shape) == 1 or positions(axis, shape)[0] == order.index(len(shape) - 1)


def _keeps_constants(item: Item) -> bool:
    """Whether a constant added to each channel before an item is one after it."""
    layer = item.layer
    if item.paths:
        keeps = layer.merge in ("add", "average", "subtract") or (
            layer.merge == "concatenate" and _is_channel(layer.axis, item.output_shape, item.after)
        )
        return keeps and layer.activation == "linear"
    if isinstance(layer, AveragePooling):
        # Explicit padding counts as zeros, so that the border's means differ.
        return layer.explicit_padding() is None
    if isinstance(layer, Convolution):
        unpadded = not any(map(max, layer.padding_amounts(item.input_shape)))
        return unpadded and layer.output_activation is None and not isinstance(layer, TransposedConvolution)
    if isinstance(layer, Dense):
        return layer.output_activation is None and _is_channel(-1, item.input_shape, item.before)
    if isinstance(layer, _DROPOUTS):
        return layer.rate == 0
    if isinstance(layer, Activation):
        return layer.output_activation is None
    if isinstance(layer, Resizing):
        return not layer.pad_to_aspect_ratio
    if isinstance(layer, Rescaling):
        return not isinstance(layer.scale, list)
    return isinstance(layer, _KEEP_CONSTANTS)


def dropout_before_normalization(chain: Chain) -> Iterator[Advice]:
    """Dropouts that a BatchNormalization follows, however far away."""
    followed: set[Item] = set()

    def flow(items: Chain, dropouts: frozenset[Item], beside: bool = False) -> frozenset[Item]:
        """The dropouts that what leaves the items has passed, given those before them.

        Args:
            beside: Whether the items are added to other paths.
        """
        for item in items:
            if item.paths:
                added = item.layer.merge in ("add", "average", "subtract")
                dropouts = dropouts.union(*(flow(path, dropouts, added) for path in item.paths))
            elif isinstance(item.layer, BatchNormalization) and item.layer.trainable:
                followed.update(dropouts)
            elif isinstance(item.layer, _DROPOUTS) and item.layer.rate > 0:
                dropouts |= set() if beside and _drops_all_at_once(item.layer) else {item}
        return dropouts

    flow(chain, frozenset())
    for item in leaves(chain):
        if item in followed:
            yield advice.DROPOUT_BEFORE_NORMALIZATION.at(
                item.place,
                "dropout changes the variance only in training; the BatchNormalization after it learns one that "
                "inference does not have (Li et al. 2018, arXiv:1801.05134)",
            )


def _drops_all_at_once(layer: Layer) -> bool:
    """Whether a dropout drops all values of an image or none: stochastic depth, where other paths go beside it."""
    return isinstance(layer, Dropout) and layer.noise_shape is not None and set(layer.noise_shape[1:]) == {1}


def normalization_of_mixed_batches(chain: Chain) -> Iterator[Advice]:
    """Batch normalizations in a network that is shown several batches at once, such as real and made images."""
    for item in leaves(chain):
        if isinstance(item.layer, BatchNormalization) and item.layer.trainable:
            yield advice.NORMALIZATION_OF_MIXED_BATCHES.at(
                item.place,
                "it takes one mean and variance of real and made images together: what is said of an image depends on "
                "the others (Gulrajani et al. 2017, arXiv:1704.00028, section 4)",
            )


def warnings(chain: Chain) -> Iterator[Advice]:
    """What the table of `inspect` warns of."""
    for item in leaves(chain):
        layer, shape = item.layer, item.input_shape
        windowed = isinstance(layer, WindowedLayer)
        if not item.written or (windowed and item.read_beside):
            continue
        for warning in layer.warnings(shape):
            if windowed and warning in layer.skips(shape):
                yield advice.SKIPPED_ROWS.at(item.place, warning, _smaller_steps(layer))
            elif windowed and warning in layer.drops(shape):
                yield advice.DROPPED_ROWS.at(item.place, warning)
            else:
                yield advice.LAYER_WARNING.at(item.place, warning)


def _smaller_steps(layer: WindowedLayer) -> str:
    if max(layer.dilation) > 1:
        return "Write `strides: 1`."
    larger = f"a `{layer.window_argument}` of at least the stride"
    if max(layer.window) == 1:
        return (
            f"Use {larger}, or leave the stride to an AveragePooling2D before it (He et al. 2018, arXiv:1812.01187, "
            "section 4.2)."
        )
    return f"Use {larger}, or a smaller stride."


def windows_on_one_pixel(chain: Chain) -> Iterator[Advice]:
    """Windows on a 1x1 image."""
    for item in leaves(chain):
        layer = item.layer
        if not isinstance(layer, WindowedLayer) or isinstance(layer, TransposedConvolution) or max(layer.window) == 1:
            continue
        if set(item.input_size) == {1}:
            thing = "signal of length 1" if layer.axes == 1 else f"{format_shape(item.input_size)} {THINGS[layer.axes]}"
            yield advice.COLLAPSED_TOO_EARLY.at(
                item.place,
                f"its {format_shape(layer.window)} window lies on a {thing}: all but its centre sees padding",
                f"Shrink the image less before it (fewer strides and poolings), or write `{layer.window_argument}: 1`.",
            )


def softmax_twice(chain: Chain) -> Iterator[Advice]:
    """Probabilities of probabilities."""
    repeats: list[Advice] = []

    def flow(items: Chain, squashed: Item | None) -> Item | None:
        """The item that made what leaves the items probabilities, if it is."""
        for item in items:
            for path in item.paths:
                flow(path, squashed)
            activation: Any = item.layer.output_activation
            if activation == "softmax" and squashed is not None and not item.paths:
                repeats.append(
                    advice.SOFTMAX_TWICE.at(
                        item.place,
                        f"{squashed.place} has made probabilities already; a softmax of them is nearly uniform, and "
                        "the loss hardly moves",
                    )
                )
            if activation != "keep":
                squashed = item if activation == "softmax" else None
        return squashed

    flow(chain, None)
    yield from repeats
