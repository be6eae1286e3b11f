"""What `inspect --lint` says of a network: habits that cost accuracy, parameters or time, each with the fix."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cnnkit.config.load import LoadedConfig
from cnnkit.layers.base import Shape, format_shape
from cnnkit.layers.compound import Compound
from cnnkit.layers.geometry import receptive_field
from cnnkit.layers.stack import Step
from cnnkit.layers.window import WindowedLayer
from cnnkit.summary import Chain

#: Layers that normalize a batch, so that a constant added before them is subtracted again.
_NORMALIZATIONS = ("BatchNormalization",)
_DROPOUTS = ("Dropout", "SpatialDropout2D", "GaussianDropout", "AlphaDropout")

#: Share of the parameters in one Dense layer, of the input that a position sees, and of the values that pass a layer.
LARGEST_DENSE_SHARE = 0.9
SMALLEST_FIELD_SHARE = 0.5
LARGEST_FIELD_SHARE = 2.0
SMALLEST_REMAINDER = 1 / 8

#: Places of one piece of advice that are shown.
MOST_PLACES = 3


@dataclass(frozen=True)
class Advice:
    """One thing to look at.

    Attributes:
        rule: A short name for it.
        places: Where it is, as error messages write it; one or more.
        message: What is there, and why it matters.
        fix: What to write instead.
    """

    rule: str
    places: tuple[str, ...]
    message: str
    fix: str

    def __str__(self) -> str:
        where = "\n".join(self.places[:MOST_PLACES])
        more = len(self.places) - MOST_PLACES
        return f"{where}{f'{chr(10)}and {more} more places' if more > 0 else ''}\n  {self.message}\n  {self.fix}"


@dataclass(frozen=True)
class _Item:
    """A layer in the order in which an image passes; a merge of several paths counts as one."""

    place: str
    step: Step
    stack: Chain

    @property
    def layer(self) -> Any:
        return self.step.layer


def lint(loaded: LoadedConfig) -> list[Advice]:
    """What a teacher would say of a config's network; nothing for a sound one.

    It is advice: a network may have its reasons.
    """
    info = loaded.info
    steps = loaded.config.model.trace(info.shape, info.classes)
    labels = [f"model.layers[{index}].{step.layer.kind}" for index, step in enumerate(steps)]
    found: list[Advice] = []
    chains = list(_chains(steps, labels, None))
    for chain in chains:
        for rule in _CHAIN_RULES:
            found += rule(chain)
    # The outermost chain comes last.
    whole = chains[-1]
    total = sum(sum(step.layer.parameters(step.input_shape)) for step in steps)
    found += _dense_share([item for chain in chains for item in chain], total)
    found += _field(whole, info.shape)
    found += _narrow_dense(whole, info.classes)
    found += _bottlenecks(whole, info.classes)
    return _grouped(found)


def _grouped(found: Sequence[Advice]) -> list[Advice]:
    """The same advice for several places as one."""
    places: dict[tuple[str, str, str], list[str]] = {}
    for one in found:
        places.setdefault((one.rule, one.message, one.fix), []).extend(one.places)
    return [Advice(rule, tuple(where), message, fix) for (rule, message, fix), where in places.items()]


def _chains(steps: Sequence[Step], labels: Sequence[str], before: Chain | None) -> Iterator[list[_Item]]:
    """The sequences of layers between merges, inner ones first; repetitions and blocks are written out."""
    chain: list[_Item] = []
    yield from _into(chain, steps, labels, before)
    yield chain


def _into(
    chain: list[_Item], steps: Sequence[Step], labels: Sequence[str], before: Chain | None
) -> Iterator[list[_Item]]:
    stack = before
    for step, label in zip(steps, labels, strict=True):
        layer = step.layer
        if isinstance(layer, Compound):
            for part in layer.parts:
                if part.implied:
                    continue
                inner = [f"{label}, {name}" for name in part.labels]
                if layer.merge is None:
                    yield from _into(chain, part.steps, inner, stack)
                else:
                    yield from _chains(part.steps, inner, stack)
        stack = Chain(stack, layer, step.input_shape)
        if not isinstance(layer, Compound) or layer.merge is not None:
            chain.append(_Item(label, step, stack))


def _bias_before_normalization(chain: Sequence[_Item]) -> Iterator[Advice]:
    for item, following in itertools.pairwise(chain):
        layer, after = item.layer, following.layer
        biased = getattr(layer, "use_bias", False) and getattr(layer, "activation", None) in (None, "linear")
        if biased and after.kind in _NORMALIZATIONS and after.center and _by_channel(following):
            yield Advice(
                "bias-before-normalization",
                (item.place,),
                "BatchNormalization behind it subtracts the mean, and with it the biases; it has an offset of its own",
                "Write `use_bias: false`.",
            )


def _by_channel(item: _Item) -> bool:
    """Whether a batch normalization subtracts one mean per channel of what a layer with channels last puts out."""
    return item.layer.axis in (-1, len(item.step.input_shape))


def _dropout_before_normalization(chain: Sequence[_Item]) -> Iterator[Advice]:
    normalizations = [place for place, item in enumerate(chain) if item.layer.kind in _NORMALIZATIONS]
    for place, item in enumerate(chain):
        later = [number for number in normalizations if number > place]
        if item.layer.kind in _DROPOUTS and item.layer.rate > 0 and later:
            yield Advice(
                "dropout-before-normalization",
                (item.place,),
                "dropout changes the variance in training alone; the BatchNormalization behind it learns one that "
                "inference does not have (Li et al. 2018, arXiv:1801.05134)",
                "Move it behind the last BatchNormalization.",
            )


def _dropped_rows(chain: Sequence[_Item]) -> Iterator[Advice]:
    for item in chain:
        if not isinstance(item.layer, WindowedLayer):
            continue
        for warning in item.layer.warnings(item.step.input_shape):
            yield Advice(
                "dropped-rows",
                (item.place,),
                warning,
                "Write `padding: same`, or choose window and stride so that the division leaves no remainder.",
            )


def _windows_on_one_pixel(chain: Sequence[_Item]) -> Iterator[Advice]:
    for item in chain:
        shape = item.step.input_shape
        window = getattr(item.layer, "window", None)
        if window is None or len(shape) != 3 or max(window) == 1 or item.layer.kind == "Conv2DTranspose":
            continue
        sizes = shape[1:] if item.layer.data_format == "channels_first" else shape[:2]
        if max(sizes) == 1:
            yield Advice(
                "collapsed-too-early",
                (item.place,),
                f"its {format_shape(window)} window lies on a 1x1 image: all but its centre sees padding",
                f"Shrink the image less before it (fewer strides and poolings), or write "
                f"`{item.layer.window_argument}: 1`.",
            )


def _bottlenecks(chain: Sequence[_Item], classes: int) -> Iterator[Advice]:
    for item in chain[:-1]:
        before, after = item.step.input_shape, item.step.output_shape
        is_score = after[-1] == classes
        if len(before) != 3 or len(after) != 3 or max(after[:2]) == 1 or is_score:
            continue
        share = math.prod(after) / math.prod(before)
        if share < SMALLEST_REMAINDER:
            yield Advice(
                "bottleneck",
                (item.place,),
                f"of {format_shape(before)} values it leaves {format_shape(after)}, {share:.0%}; what is lost here, no "
                "layer behind it can use (Szegedy et al. 2015, arXiv:1512.00567, section 2)",
                "Use more filters, or a smaller stride.",
            )


def _softmax_twice(chain: Sequence[_Item]) -> Iterator[Advice]:
    squashed: _Item | None = None
    for item in chain:
        activation = item.layer.output_activation
        if activation == "softmax" and squashed is not None:
            yield Advice(
                "softmax-twice",
                (item.place,),
                f"{squashed.place} has made probabilities already; a softmax of them is nearly uniform, and the loss "
                "hardly moves",
                "Keep one of the two.",
            )
        if activation != "keep":
            squashed = item if activation == "softmax" else None


_CHAIN_RULES: tuple[Callable[[Sequence[_Item]], Iterator[Advice]], ...] = (
    _bias_before_normalization,
    _dropout_before_normalization,
    _dropped_rows,
    _windows_on_one_pixel,
    _softmax_twice,
)


def _dense_share(items: Sequence[_Item], total: int) -> Iterator[Advice]:
    counts = [
        (sum(item.layer.parameters(item.step.input_shape)), item)
        for item in items
        if not isinstance(item.layer, Compound)
    ]
    convolutions = any(item.layer.kind.endswith(("Conv2D", "Conv2DTranspose")) for _, item in counts)
    for count, item in counts:
        if item.layer.kind == "Dense" and convolutions and count >= LARGEST_DENSE_SHARE * total:
            yield Advice(
                "dense-holds-most",
                (item.place,),
                f"it holds {count:,} of {total:,} parameters, {count / total:.0%}",
                "Shrink the image further before it, or use GlobalAveragePooling2D in the place of Flatten (Lin et al. "
                "2013, arXiv:1312.4400).",
            )


def _field(chain: Sequence[_Item], image: Shape) -> Iterator[Advice]:
    """The receptive field where the image ends: before it is flattened, or pooled as a whole."""
    last = None
    for item in chain:
        shape = item.step.output_shape
        if len(shape) != 3 or max(shape[:2]) == 1:
            break
        last = item
    if last is None:
        return
    field = receptive_field(list(last.stack))
    shares = [seen / size for seen, size in zip(field, image, strict=False)]
    if min(shares) < SMALLEST_FIELD_SHARE:
        yield Advice(
            "small-receptive-field",
            (last.place,),
            f"a position sees {format_shape(field)} of the {format_shape(image[:2])} image; no feature can tell what "
            "is as large as the object",
            "Add layers, strides or pooling before it; `cnnkit inspect` shows the receptive field of each.",
        )
    elif max(shares) > LARGEST_FIELD_SHARE:
        yield Advice(
            "large-receptive-field",
            (last.place,),
            f"a position sees {format_shape(field)}, more than twice the {format_shape(image[:2])} image: padding, for "
            "the larger part",
            "Fewer layers or poolings would do, unless depth itself is wanted.",
        )


def _narrow_dense(chain: Sequence[_Item], classes: int) -> Iterator[Advice]:
    for item in chain[:-1]:
        if item.layer.kind == "Dense" and len(item.step.output_shape) == 1 and item.layer.units < classes:
            yield Advice(
                "narrow-dense",
                (item.place,),
                f"its {item.layer.units} values have to tell {classes} classes apart",
                f"Use at least {classes} units, and usually several times as many.",
            )
