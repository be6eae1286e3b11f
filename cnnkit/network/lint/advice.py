"""The rules of `inspect --lint`, in words, and what they say of a network; docs/reference.md lists them from here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

#: The largest share of a network's parameters in one Dense layer.
LARGEST_DENSE_SHARE = 0.9
#: The smallest and the largest share of the image that an output position sees, along an axis.
SMALLEST_FIELD_SHARE = 0.5
LARGEST_FIELD_SHARE = 2.0
#: The smallest share of its values that a layer, or a narrow place of the network, leaves.
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
class Rule:
    """A habit that costs accuracy, parameters or time.

    Attributes:
        name: Its short name.
        finds: What it warns of.
        why: Why that matters.
        fix: What to write instead.
        source: Where this is published, where it is.
    """

    name: str
    finds: str
    why: str
    fix: str
    source: str = ""

    def at(self, place: str, message: str, fix: str | None = None) -> Advice:
        """The rule's advice for one place.

        Args:
            fix: What to write there; by default what the rule says.
        """
        return Advice(self.name, (place,), message, self.fix if fix is None else fix)


def grouped(advice: Iterable[Advice]) -> list[Advice]:
    """The same advice for several places as one."""
    places: dict[tuple[str, str, str], list[str]] = {}
    for one in advice:
        places.setdefault((one.rule, one.message, one.fix), []).extend(one.places)
    return [Advice(rule, tuple(where), message, fix) for (rule, message, fix), where in places.items()]


BIAS_BEFORE_NORMALIZATION = Rule(
    "bias-before-normalization",
    "Biases that reach nothing but BatchNormalization, directly or through layers after which a constant per channel "
    "is still one: poolings, linear activations, sums, concatenation, unpadded linear convolutions.",
    "BatchNormalization subtracts the mean, and with it the biases: they are parameters without effect.",
    "Write `use_bias: false`.",
    "Ioffe and Szegedy 2015, arXiv:1502.03167, section 3.2",
)
DROPOUT_BEFORE_NORMALIZATION = Rule(
    "dropout-before-normalization",
    "A dropout with a BatchNormalization anywhere after it. Not: one that drops a whole path beside others, as "
    "stochastic depth does (Huang et al. 2016, arXiv:1603.09382).",
    "Dropout changes the variance only in training; the BatchNormalization learns one that inference does not have.",
    "Move it after the last BatchNormalization.",
    "Li et al. 2018, arXiv:1801.05134",
)
NORMALIZATION_OF_MIXED_BATCHES = Rule(
    "normalization-of-mixed-batches",
    "A BatchNormalization that is trained, in a network that a step shows several batches at once, as a discriminator "
    "is shown real and made images.",
    "It takes one mean and variance of both: what is said of an image depends on the others, and R1, which looks at "
    "real images alone with the moving averages, is a penalty on another function than the one that learns.",
    "Leave it out, or normalize each image by itself with LayerNormalization or GroupNormalization; against a "
    "discriminator that is too steep, there are `r1` and SpectralNormalization.",
    "Gulrajani et al. 2017, arXiv:1704.00028, section 4",
)
SKIPPED_ROWS = Rule(
    "skipped-rows",
    "A stride larger than the window, except in the shortcut of a residual connection whose main path reads all "
    "pixels.",
    "Rows and columns between the windows are read by nothing.",
    "Use a window of at least the stride, or a smaller stride.",
    "He et al. 2018, arXiv:1812.01187, section 4.2",
)
DROPPED_ROWS = Rule(
    "dropped-rows",
    "A stride that does not divide evenly, so that the last rows or columns of the image are left over (not: of the "
    "padding only).",
    "They are read by nothing.",
    "Write `padding: same`, or choose window and stride so that the division leaves no remainder.",
    "Dumoulin and Visin 2016, arXiv:1603.07285, section 2.4",
)
LAYER_WARNING = Rule(
    "layer-warning",
    "What a layer warns of by itself in the table of `cnnkit inspect`, such as a Normalization without `mean` and "
    "`variance`.",
    "It does something else than its name says.",
    "Give it the arguments that it lacks, or leave it out.",
)
COLLAPSED_TOO_EARLY = Rule(
    "collapsed-too-early",
    "A window larger than 1x1 on a 1x1 image.",
    "All of the window but its centre sees padding.",
    "Shrink the image less before it (fewer strides and poolings), or use a 1x1 window.",
)
SOFTMAX_TWICE = Rule(
    "softmax-twice",
    "A softmax of what is a softmax already.",
    "A softmax of probabilities is nearly uniform, and the loss hardly moves.",
    "Keep one of the two.",
)
DENSE_HOLDS_MOST = Rule(
    "dense-holds-most",
    f"One Dense layer of a network with convolutions that holds {LARGEST_DENSE_SHARE:.0%} or more of the parameters.",
    "Parameters that no position of the image shares cost memory, and overfit.",
    "Shrink the image further before it, or use GlobalAveragePooling2D in the place of Flatten.",
    "Lin et al. 2013, arXiv:1312.4400",
)
SMALL_RECEPTIVE_FIELD = Rule(
    "small-receptive-field",
    f"Less than {SMALLEST_FIELD_SHARE:.0%} of the image's height or width in the receptive field before a global "
    "pooling, or at the end of a network without one. Flatten with Dense, and a convolution over the rest of the "
    "image, see all that arrives at them.",
    "A global pooling does not know where a feature was: no feature can tell what is as large as the object.",
    "Add layers, strides or pooling before it; `cnnkit inspect` shows the receptive field of each.",
    "Araujo, Norris and Sim 2019, doi:10.23915/distill.00021",
)
LARGE_RECEPTIVE_FIELD = Rule(
    "large-receptive-field",
    f"A receptive field of more than {LARGEST_FIELD_SHARE:g} times the image's height or width, even along the "
    "shortest path through residual connections and branches.",
    "It is padding for the larger part; layers after the first that sees the whole image hardly add accuracy.",
    "Fewer layers or poolings would do.",
    "Richter et al. 2021, arXiv:2106.12307",
)
BOTTLENECK = Rule(
    "bottleneck",
    f"A convolution that leaves less than {Fraction(SMALLEST_REMAINDER)} of the values that arrive (except one channel "
    "per class), or layers that together leave less than that before the values grow again by as much. Not: a pooling "
    "by itself, what covers the whole image, and layers with a path beside them.",
    "No layer after it can use what is lost there.",
    "Use more filters, or a smaller stride.",
    "Szegedy et al. 2015, arXiv:1512.00567, section 2",
)
NARROW_DENSE = Rule(
    "narrow-dense",
    "A Dense layer before the last with fewer units than the network tells classes, labels or numbers.",
    "All of them hang on so few values.",
    "Use at least as many units, and usually several times as many.",
)

#: All rules, in the order in which the reference lists them.
RULES = (
    BIAS_BEFORE_NORMALIZATION,
    DROPOUT_BEFORE_NORMALIZATION,
    NORMALIZATION_OF_MIXED_BATCHES,
    SKIPPED_ROWS,
    DROPPED_ROWS,
    COLLAPSED_TOO_EARLY,
    BOTTLENECK,
    SMALL_RECEPTIVE_FIELD,
    LARGE_RECEPTIVE_FIELD,
    DENSE_HOLDS_MOST,
    NARROW_DENSE,
    SOFTMAX_TWICE,
    LAYER_WARNING,
)
