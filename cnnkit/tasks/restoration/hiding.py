"""Known pixels that are hidden from a network, which so learns from a picture how to fill in what is missing of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cnnkit.errors import CnnkitError
from cnnkit.tasks.restoration.lessons import Lessons, details, spread_of
from cnnkit.tasks.restoration.smooth import filled_in

#: How many choices of hidden pixels there are, of which a step has one.
CHOICES = 16

#: The share of known pixels from which on what is missing counts as spots.
_SPOTS = 0.75


def lessons_of_hidden(pixels: NDArray[np.uint8], known: NDArray[np.bool_], share: float, seed: int) -> Lessons:
    """What can be learned of a picture's known pixels, as in Self2Self (Quan et al. 2020) by hiding some of them.

    Args:
        pixels: uint8 [height, width, channels].
        known: bool [height, width].
        share: Of the known pixels, what is hidden at once.
        seed: Draws which.

    Raises:
        CnnkitError: if nothing is missing, or too little is known.
    """
    if known.all() or known.sum() * (1 - share) < 1:
        missing = "nothing is missing" if known.all() else f"of {known.size:,} pixels {known.sum():,} are known"
        raise CnnkitError(
            f"in this picture {missing}; pixels are hidden to learn how to fill in what is missing",
            "A mask is black where pixels are missing.",
        )
    picture = pixels / 255.0
    left = [known]
    for choice in range(CHOICES):
        random = np.random.default_rng((seed, choice))
        left.append(known & ~_hidden(known, share, random))
    filled = np.stack([filled_in(picture, rest) for rest in left]).astype(np.float32)
    of_filled = np.stack([details(one) for one in filled])
    spread = spread_of(of_filled[0])
    are_known = np.stack(left)[..., None].astype(np.float32)
    given = np.concatenate([of_filled / spread, are_known, of_filled / spread * are_known], axis=-1)
    truth = (pixels / np.float32(255)).astype(np.float32)
    return Lessons(filled, given.astype(np.float32), truth, known & ~np.stack(left), spread)


def _hidden(known: NDArray[np.bool_], share: float, random: np.random.Generator) -> NDArray[np.bool_]:
    """A choice of pixels, bool [height, width], of which the known ones are to be hidden.

    They should lie as those that are missing do. Where most of the picture is known, these are a few spots, which are
    moved elsewhere; else single pixels among those that are missing already.
    """
    if known.mean() < _SPOTS:
        return random.random(known.shape) < share
    from scipy.ndimage import label

    numbered, count = label(~known)
    moved = np.roll(numbered, random.integers(0, known.shape), axis=(0, 1))
    spots = random.permutation(np.arange(1, count + 1))
    pixels = np.bincount(moved[known], minlength=count + 1)[spots]
    # One at least: a single spot may be more than the share.
    chosen = spots[: max(1, np.searchsorted(pixels.cumsum(), share * known.sum(), side="right"))]
    return np.isin(moved, chosen)
