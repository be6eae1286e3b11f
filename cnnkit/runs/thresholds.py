"""The score that is chosen as the one from which on something is said."""

from __future__ import annotations

#: As many significant digits keep any two floating-point numbers apart.
_ALL_DIGITS = 17


def threshold_between(below: float, least: float, digits: int) -> float:
    """The middle between two neighbouring scores, in as few digits as keep them apart.

    Args:
        below: The largest score of what is not to be said.
        least: The smallest score of what is to be said, larger than `below`.
        digits: Significant digits, at least.

    Returns:
        A number above `below` and at most `least`.
    """
    middle = below + (least - below) / 2
    for count in range(digits, _ALL_DIGITS + 1):
        rounded = float(f"{middle:.{count}g}")
        if below < rounded <= least:
            return rounded
    return least
