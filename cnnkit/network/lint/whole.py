"""The rules of `inspect --lint` that look at the whole network: its parameters, receptive field and narrow places."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from itertools import accumulate

from cnnkit.config.target import Target
from cnnkit.format.shapes import Shape, format_shape
from cnnkit.layers.convolution import Convolution
from cnnkit.layers.core import Dense
from cnnkit.layers.window import WindowedLayer
from cnnkit.network.lint import advice
from cnnkit.network.lint.advice import (
    LARGEST_DENSE_SHARE,
    LARGEST_FIELD_SHARE,
    SMALLEST_FIELD_SHARE,
    SMALLEST_REMAINDER,
    Advice,
)
from cnnkit.network.lint.walk import Chain, Item, features, field, leaves, shortest, trunks


def dense_share(chain: Chain) -> Iterator[Advice]:
    """A Dense layer that holds nearly all parameters of a network with convolutions."""
    counts = {item: sum(item.layer.parameters(item.input_shape)) for item in leaves(chain)}
    total = sum(counts.values())
    if not any(isinstance(item.layer, Convolution) for item in counts):
        return
    for item, count in counts.items():
        if isinstance(item.layer, Dense) and count >= LARGEST_DENSE_SHARE * total:
            yield advice.DENSE_HOLDS_MOST.at(
                item.place,
                f"it holds {count:,} of {total:,} parameters, {count / total:.0%}",
                "Shrink the image further before it, or use GlobalAveragePooling2D in the place of Flatten (Lin et al. "
                "2013, arXiv:1312.4400).",
            )


def small_field(chain: Chain, image: Shape) -> Iterator[Advice]:
    """Features that see too little of the image.

    Args:
        image: Height, width and channels; of a signal its length and channels.
    """
    if len(image) < 3:
        # What tells a text or a signal apart may be a few positions anywhere in it.
        return
    items, pooling = features(chain)
    seen = field(items)
    if min(part / size for part, size in zip(seen, image, strict=False)) >= SMALLEST_FIELD_SHARE:
        return
    last = _last_window(items) or pooling
    if last is not None:
        yield advice.SMALL_RECEPTIVE_FIELD.at(
            last.place,
            f"a position sees {format_shape(seen)} of the {format_shape(image[:-1])} image; no feature can tell what "
            "is as large as the object",
        )


def large_field(chain: Chain, image: Shape) -> Iterator[Advice]:
    """Positions that see padding for the larger part, as long as there is an image.

    Args:
        image: Height, width and channels; of a signal its length and channels.
    """
    items: list[Item] = []
    for item in shortest(chain):
        if len(item.output_shape) != len(image) or set(item.output_size) == {1}:
            break
        items.append(item)
    seen = field(items)
    last = _last_window(items)
    if last is not None and max(part / size for part, size in zip(seen, image, strict=False)) > LARGEST_FIELD_SHARE:
        yield advice.LARGE_RECEPTIVE_FIELD.at(
            last.place,
            f"a position sees {format_shape(seen)}, more than twice the {format_shape(image[:-1])} image: padding, for "
            "the larger part; layers after the first that sees the whole image hardly add accuracy (Richter et al. "
            "2021, arXiv:2106.12307)",
        )


def _last_window(items: Sequence[Item]) -> Item | None:
    """The last layer that lets a position see more than before, or else the last layer."""
    windows = [item for item in items if isinstance(item.layer, WindowedLayer) and max(item.layer.window) > 1]
    return next(reversed(windows or items), None)


def bottlenecks(chain: Chain, scores: Collection[int]) -> Iterator[Advice]:
    """Layers through which all has to pass, and which leave too few values.

    Args:
        scores: How many channels are those of an answer: a score for each class, or what the network outputs.
    """
    for trunk in trunks(chain):
        images = list(_images(trunk))
        sudden = [item for item in images if _is_bottleneck(item, scores)]
        for item in sudden:
            share = math.prod(item.output_shape) / math.prod(item.input_shape)
            yield advice.BOTTLENECK.at(
                item.place,
                f"of {format_shape(item.input_shape)} values it leaves {format_shape(item.output_shape)}, {share:.0%}; "
                "no layer after it can use what is lost here (Szegedy et al. 2015, arXiv:1512.00567, section 2)",
            )
        yield from _narrow_places(images, sudden)


def _images(trunk: Chain) -> Iterator[Item]:
    """The items before the image ends."""
    for item in trunk:
        vectors = min(len(item.input_shape), len(item.output_shape)) < 2
        if vectors or set(item.input_size) == {1} or item.covers_image:
            return
        yield item


def _is_bottleneck(item: Item, scores: Collection[int]) -> bool:
    """Whether a layer that computes features leaves too few; a pooling is to leave few, and so is an answer."""
    if (
        not isinstance(item.layer, Convolution | Dense)
        or item.output_shape[item.after.index(len(item.output_shape) - 1)] in scores
    ):
        return False
    return math.prod(item.output_shape) < SMALLEST_REMAINDER * math.prod(item.input_shape)


def _narrow_places(images: Sequence[Item], known: Sequence[Item]) -> Iterator[Advice]:
    """Where values get few in several steps and grow again.

    Args:
        known: Items of which the advice is given already.
    """
    narrow: list[list[int]] = []
    around = _around(images)
    for number in range(len(images)):
        if _is_narrow(images, number, around):
            if not narrow or narrow[-1][-1] != number - 1:
                narrow.append([])
            narrow[-1].append(number)
    for run in narrow:
        first = min(run, key=lambda number: math.prod(images[number].output_shape))
        if any(images[number] in known for number in run):
            continue
        most, later = around[first]
        item = images[first]
        share = math.prod(item.output_shape) / math.prod(most)
        yield advice.BOTTLENECK.at(
            item.place,
            f"of {format_shape(most)} values before, {format_shape(item.output_shape)} are left here, {share:.0%}, "
            f"which layers after it make {format_shape(later)} again; what is lost here, they cannot use (Szegedy et "
            "al. 2015, arXiv:1512.00567, section 2)",
            "Use more filters here and in the layers before it, or shrink the image after layers with more filters.",
        )


def _is_narrow(images: Sequence[Item], number: int, around: Sequence[tuple[Shape, Shape]]) -> bool:
    if number == len(images) - 1:
        return False
    limit = SMALLEST_REMAINDER * min(math.prod(shape) for shape in around[number])
    return math.prod(images[number].output_shape) < limit


def _around(images: Sequence[Item]) -> list[tuple[Shape, Shape]]:
    """For each item the largest shape before it, and the largest after it; after the last, its own output."""
    before = accumulate((item.input_shape for item in images), _larger)
    outputs: list[Shape] = [item.output_shape for item in (*images[1:], *images[-1:])]
    behind = list(accumulate(reversed(outputs), lambda later, earlier: _larger(earlier, later)))
    return list(zip(before, reversed(behind), strict=True))


def _larger(one: Shape, other: Shape) -> Shape:
    return max(one, other, key=math.prod)


def narrow_dense(chain: Chain, target: Target) -> Iterator[Advice]:
    """Dense layers with fewer values than the network is to tell."""
    for trunk in trunks(chain):
        for item in trunk[:-1]:
            if isinstance(item.layer, Dense) and len(item.output_shape) == 1 and int(item.layer.units) < target.size:
                yield advice.NARROW_DENSE.at(
                    item.place,
                    f"{target.size} {target.plural} hang on its {item.layer.units} values",
                    f"Use at least {target.size} units, and usually several times as many.",
                )
