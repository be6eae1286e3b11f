"""The smoothest picture of all that agree with what is known: filled in, or enlarged."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.tasks.restoration.observation import shrinking_matrix


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
    down, across = second_differences(height), second_differences(width)
    laplacian = kron(down, eye_array(width)) + kron(eye_array(height), across)
    squared = (laplacian @ laplacian).tocsr()
    is_known = known.ravel()
    filled = picture.reshape(-1, channels).copy()
    rows = squared[~is_known]
    among_missing = splu(rows[:, ~is_known].tocsc(), permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
    filled[~is_known] = among_missing.solve(-(rows[:, is_known] @ filled[is_known]))
    return filled.reshape(picture.shape).clip(0, 1)


def enlarging_matrix(size: int, times: int) -> NDArray[np.float64]:
    """Makes pixels along one axis the smoothest larger ones that are these again when made smaller.

    The smoothest have the least sum of squares of their second differences, where the outermost value is repeated
    beyond the border.

    Args:
        size: Of the larger ones.
        times: How many of them are one of the smaller.

    Returns:
        float64 [size, size // times], a right inverse of `shrinking_matrix`.
    """
    shrinking = shrinking_matrix(size, times).astype(np.float64)
    smaller = len(shrinking)
    differences = second_differences(size).toarray()
    # The conditions for a minimum under constraints, with a multiplier for each of these.
    system = np.block([[differences.T @ differences, shrinking.T], [shrinking, np.zeros((smaller, smaller))]])
    solved = np.linalg.solve(system, np.eye(size + smaller)[:, size:])
    return np.asarray(solved[:size])


def enlarged(picture: NDArray[Any], times: int) -> NDArray[np.float64]:
    """The smoothest picture so many times higher and wider that is the given one when made smaller.

    Args:
        picture: [height, width, channels].
        times: See `enlarging_matrix`, which is applied along both axes.
    """
    height, width, _ = picture.shape
    rows, columns = enlarging_matrix(height * times, times), enlarging_matrix(width * times, times)
    larger: NDArray[np.float64] = np.einsum("hi,ijc,wj->hwc", rows, picture, columns, optimize=True)
    return larger


def second_differences(size: int) -> Any:
    """Along one axis, a sparse matrix [size, size], with the outermost value repeated beyond the border."""
    from scipy.sparse import diags_array

    centre = np.full(size, -2.0)
    centre[[0, -1]] = -1.0
    return diags_array([np.ones(size - 1), centre, np.ones(size - 1)], offsets=[-1, 0, 1])
