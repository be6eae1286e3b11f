"""What the masks of a folder hold, where no config says it: their classes, and pixels that are of none."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cnnkit.config.data import DataProblem
from cnnkit.config.mask_folder import list_mask_folder
from cnnkit.images.files import spread
from cnnkit.images.formats import CorruptImage
from cnnkit.images.masks import read_mask

#: Masks that are read, spread evenly; a class that none of them has may be missed.
MASKS = 200

#: What pixels of no class have in most data sets.
_NO_CLASS = 255


@dataclass(frozen=True)
class MaskNumbers:
    """What masks were found to hold.

    Attributes:
        class_names: What the config has to say of the classes, in the order of their numbers; None where a file of the
            folder says it.
        ignore: The number of pixels that do not count; None where all are of a class.
    """

    class_names: tuple[str, ...] | None
    ignore: int | None


def mask_numbers(folder: str) -> MaskNumbers:
    """Looks at masks of a folder.

    Raises:
        DataProblem: if the folder holds no pairs, nothing says what their classes are and no mask can be read, or a
            number that is of no class would leave only one that is.
    """
    stated = True
    try:
        listing = list_mask_folder(folder, None)
    except DataProblem as problem:
        if problem.argument != "class_names":
            raise
        stated = False
        listing = list_mask_folder(folder, ("0", "1"))
    masks = [os.path.join(listing.root, mask) for pairs in listing.splits.values() for _, mask in pairs]
    numbers = _numbers(spread(masks, MASKS))
    if stated:
        beyond = [number for number in numbers if number >= len(listing.class_names)]
        # Several are a mistake, of which loading tells.
        ignore = beyond[0] if len(beyond) == 1 else None
        _check_rest(folder, numbers, ignore)
        return MaskNumbers(None, ignore)
    ignore = _NO_CLASS if _NO_CLASS in numbers else None
    _check_rest(folder, numbers, ignore)
    highest = max((number for number in numbers if number != ignore), default=0)
    return MaskNumbers(tuple(f"class {number}" for number in range(max(2, highest + 1))), ignore)


def _check_rest(folder: str, numbers: Sequence[int], ignore: int | None) -> None:
    """Refuses to take a number for that of no class where it is one of two: many programs mark what is there by 255.

    Raises:
        DataProblem: if no two classes would be left.
    """
    rest = [number for number in numbers if number != ignore]
    if ignore is None or len(rest) > 1:
        return
    beside = f"{rest[0]} and {ignore}" if rest else f"{ignore}"
    raise DataProblem(
        f"the masks of `{folder}` hold nothing but {beside}; expected numbers of at least two classes, counted from 0. "
        f"If {ignore} is a class, write its number into the masks instead, such as 1; if it is none, there is nothing "
        "to be told apart",
        "folder",
    )


def _numbers(masks: Sequence[str]) -> list[int]:
    """The numbers that occur, sorted; masks that cannot be read are told of by loading."""
    found: set[int] = set()
    for mask in masks:
        try:
            found |= {int(number) for number in np.unique(read_mask(mask))}
        except CorruptImage:
            continue
    return sorted(found)
