"""Known pixels that are hidden from a network, which so learns from a picture how to fill in what is missing of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.errors import CnnkitError
from cnnkit.tasks.restoration.lessons import Lessons, details, spread_of

#: How many choices of hidden pixels there are, of which a step has one.
CHOICES = 16

#: The share of known pixels from which on what is missing counts as spots.
_SPOTS = 0.75

def hiding_lessons(pixels: NDArray[np.uint8], known: NDArray[np.bool_], share: float, seed: int) -> Lessons:
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
    truth = pixels.astype(np.float32) / 255
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


def filled_in(picture: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """A picture whose missing pixels continue the known ones smoothly: with the least sum of squares of its Laplacian.

    That is the biharmonic equation (Chui and Mhaskar 2010), one sparse system for all channels.

    Args:
        picture: float64 [height, width, channels] of 0..1.
        known: bool [height, width], one at least.
    """
    from scipy.sparse import eye_array, kron
    from scipy.sparse.linalg import splu

    height, width, channels = picture.shape
    down, across = _second_differences(height), _second_differences(width)
    laplacian = kron(down, eye_array(width)) + kron(eye_array(height), across)
    squared = (laplacian @ laplacian).tocsr()
    is_known = known.ravel()
    filled = picture.reshape(-1, channels).copy()
    rows = squared[~is_known]
    among_missing = splu(rows[:, ~is_known].tocsc(), permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
    filled[~is_known] = among_missing.solve(-(rows[:, is_known] @ filled[is_known]))
    return filled.reshape(picture.shape).clip(0, 1)


def _second_differences(size: int) -> Any:
    """Along one axis, [size, size], with the outermost value repeated beyond the border."""
    from scipy.sparse import diags_array

    centre = np.full(size, -2.0)
    centre[[0, -1]] = -1.0
    return diags_array([np.ones(size - 1), centre, np.ones(size - 1)], offsets=[-1, 0, 1])
