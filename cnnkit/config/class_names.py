"""Names of classes, compared as a reader sees them.

An accented letter may be one character or a letter and an accent; macOS writes file names the second way. The two look
alike, and mean one class.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence


def same_for(name: str) -> str:
    """What two spellings of one name have in common (Unicode's composed form, NFC)."""
    return unicodedata.normalize("NFC", name)


def same_names(some: Iterable[str], others: Iterable[str]) -> bool:
    """Whether two sequences hold the same names in the same order."""
    return [same_for(name) for name in some] == [same_for(name) for name in others]


def place_of(name: str, names: Sequence[str]) -> int | None:
    """The place of a name among others; None where it is not there."""
    same_names = [same_for(other) for other in names]
    wanted = same_for(name)
    return same_names.index(wanted) if wanted in same_names else None


def weights_in_order(weights: Mapping[str, float], names: Iterable[str]) -> list[float]:
    """The weight of each class, 1 where none is given."""
    given = {same_for(name): weight for name, weight in weights.items()}
    return [given.get(same_for(name), 1.0) for name in names]


def in_human_order(names: Iterable[str]) -> list[str]:
    """Names sorted as people do it: numbers in them by their value, and capital letters beside small ones."""

    def parts(name: str) -> list[tuple[int, str]]:
        # Every second part is a number.
        split = re.split(r"([0-9]+)", same_for(name).casefold())
        return [(int(part), "") if place % 2 else (-1, part) for place, part in enumerate(split)]

    return sorted(names, key=parts)
