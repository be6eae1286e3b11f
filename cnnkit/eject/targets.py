"""What images come with, as Python: what it is called, and how images are divided so that every part has its share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cnnkit.config.target import Boxes, Labels, Mask, Numbers, OneClass, Target
from cnnkit.eject.text import copied

_STRATIFIED = '''\
def divide(labels, share, seed):
    """Places in `labels`, at random by the seed: the rest, and a share of every class."""
    random = np.random.RandomState(seed)
    present, counts = np.unique(labels, return_counts=True)
    # Whole numbers whose sum is the share of all, rounded up: the largest remainders round up.
    exact = counts * share
    takes = np.floor(exact).astype(int)
    missing = math.ceil(counts.sum() * share - 1e-9) - takes.sum()
    takes[np.argsort(takes - exact, kind="stable")[: max(0, missing)]] += 1
    parts = [
        random.permutation(np.flatnonzero(labels == label))[: max(take, 1)]
        for label, take in zip(present, takes)
    ]
    part = np.sort(np.concatenate(parts))
    return np.setdiff1d(np.arange(len(labels)), part), part
'''

_AT_RANDOM = '''\
def divide(size, share, seed):
    """Places of as many samples, at random by the seed: the rest, and a share of them."""
    part = np.sort(np.random.RandomState(seed).permutation(size)[: max(1, math.ceil(size * share - 1e-9))])
    return np.setdiff1d(np.arange(size), part), part
'''


@dataclass(frozen=True)
class TargetText:
    """What a script says of one kind of target.

    Attributes:
        name: What it calls those of several images.
        array: What they are as an array.
        division: The function that divides images; None for `divide_labels`, which is copied.
        divided: Its first argument, an expression; `%s` stands for the name of what is listed of the images.
        held_out: Of what a fixed share is the test split, where there is none.
        names: The constant that holds the names of classes, labels or numbers.
        weighed: What `class_weights` are.
        batch: Images that validation and test compute at once, an expression.
    """

    name: str
    array: str
    division: str | None
    divided: str
    held_out: str
    names: str = "CLASS_NAMES"
    weighed: str = "One weight per class, float [CLASSES]."
    batch: str = "500"

    @property
    def divide(self) -> str:
        """The function that divides images."""
        return self.division or copied("cnnkit.data.division", ["divide_labels"]) + "\n"

    @property
    def dividing(self) -> str:
        """Its name."""
        return "divide" if self.division else "divide_labels"


_BY_KIND: Mapping[type[Target], TargetText] = {
    OneClass: TargetText("labels", "int64 [n]", _STRATIFIED, "labels", "every class"),
    Labels: TargetText("labels", "float32 [n, CLASSES]", None, "labels", "every label"),
    Numbers: TargetText("numbers", "float32 [n, columns]", _AT_RANDOM, "len(%s)", "all", names="COLUMNS"),
    Mask: TargetText(
        "masks",
        "class numbers, uint8 [n, height, width, 1]",
        _AT_RANDOM,
        "len(%s)",
        "all",
        batch="BATCH_SIZE",
    ),
    Boxes: TargetText(
        "boxes",
        "float32 [n, most, 6]: left, top, right, bottom in pixels, the class (-1 for none), 1 for a crowd",
        _AT_RANDOM,
        "len(%s)",
        "all",
        batch="BATCH_SIZE",
    ),
}


def target_text(target: Target) -> TargetText:
    """What a script says of a target."""
    return next(_BY_KIND[kind] for kind in type(target).__mro__ if kind in _BY_KIND)
