"""What a network that corrects a smooth picture is given, and what it learns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: What is smoother than a Gaussian of that standard deviation, in pixels, is none of a picture's details.
_DETAILS = 2.0

Picture = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Lessons:
    """What a network is given and what it learns.

    Attributes:
        smooth: What the network corrects, float32 [1 + choices, height, width, channels] of 0..1: first the picture to
            be restored, filled in or enlarged smoothly, then what is learned from.
        given: What the network is given of each, float32 [1 + choices, height, width, its channels], among it the
            details of `smooth` in units of `spread`.
        truth: What all but the first should be, where that counts; float32 [height, width, channels] of 0..1.
        counts: The pixels to learn from, bool [1 + choices, height, width]; none in the first.
        spread: The standard deviation of the picture's details, of values 0..1.
    """

    smooth: Picture
    given: Picture
    truth: Picture
    counts: NDArray[np.bool_]
    spread: float


def details(picture: Picture) -> Picture:
    """What of a picture [height, width, channels] is finer than a blur."""
    from scipy.ndimage import gaussian_filter

    finer: Picture = picture - gaussian_filter(picture, (_DETAILS, _DETAILS, 0))
    return finer


def spread_of(finer: Picture) -> float:
    """The standard deviation of details, at least one of 256 steps: a picture may have none."""
    return max(float(finer.std()), 1 / 255)
