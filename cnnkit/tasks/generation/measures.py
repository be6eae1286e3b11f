"""How like real images made ones are, by features of both. NumPy, SciPy and scikit-learn alone; nothing of a run.

Every figure of two sets of features depends on how many there are, so each is to be read beside its floor: the same of
two sets of real images, as many. `halves` makes such sets.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.floating[Any]]

#: Images of a block of `kernel_distance`, as in its paper.
BLOCK = 1000

#: Nearest neighbours of `density_and_coverage`, as in its paper.
NEIGHBOURS = 5


def frechet_distance(first: Features, second: Features) -> float:
    """The squared Fréchet distance between the normal distributions of two sets' means and covariances.

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), as in FID (Heusel et al. 2017, arXiv:1706.08500). With C1 = A'A and
    C2 = B'B, the trace of the root is the sum of the singular values of A B', which unlike that of the product's root
    is always real. A may be any such factor: of few images, their own deviations from the mean are the smallest.

    Args:
        first, second: [images, features], at least two images each.

    Returns:
        From 0, in squared units of the features. The fewer images, the larger it is, also between equal distributions.
    """
    means, factors = zip(*(_moments(features) for features in (first, second)), strict=True)
    shared = np.linalg.svd(factors[0] @ factors[1].T, compute_uv=False).sum()
    moved = np.square(means[0] - means[1]).sum()
    return float(max(0.0, moved + sum(np.square(factor).sum() for factor in factors) - 2 * shared))


def _moments(features: Features) -> tuple[Any, Any]:
    """Mean, [features], and a factor of the covariance, [rows, features] of no more rows than images or features."""
    values = np.asarray(features, np.float64)
    mean = values.mean(axis=0)
    if len(values) <= values.shape[1]:
        return mean, (values - mean) / np.sqrt(len(values) - 1)
    squares, vectors = np.linalg.eigh(np.atleast_2d(np.cov(values, rowvar=False)))
    return mean, (vectors * np.sqrt(np.maximum(squares, 0))).T


@dataclass(frozen=True)
class KernelDistance:
    """An estimate of the squared maximum mean discrepancy.

    Attributes:
        distance: The mean over blocks; without bias, so around 0, and as often below it, between equal distributions.
        error: The standard error of that mean; None of one block.
    """

    distance: float
    error: float | None


def kernel_distance(first: Features, second: Features, block: int = BLOCK) -> KernelDistance:
    """The kernel distance of two sets with the kernel (x y / features + 1)^3, as in KID.

    Bińkowski et al. 2018, arXiv:1801.01401: the unbiased estimate, as a mean over blocks of the sets.

    Args:
        first, second: [images, features], at least two images each; in no order that means anything.
        block: Images of each set in a block; what remains after the last whole block is left out.
    """
    count = min(len(first), len(second))
    size = min(block, count)
    estimates = [
        _block_distance(*(np.asarray(part[start : start + size], np.float64) for part in (first, second)))
        for start in range(0, count - size + 1, size)
    ]
    error = float(np.std(estimates, ddof=1) / np.sqrt(len(estimates))) if len(estimates) > 1 else None
    return KernelDistance(float(np.mean(estimates)), error)


def _block_distance(first: Any, second: Any) -> float:
    """The unbiased estimate of equally many of both: no image is compared with itself."""
    count, features = first.shape

    def within(values: Any) -> float:
        kernel = (values @ values.T / features + 1) ** 3
        return float((kernel.sum() - np.trace(kernel)) / (count * (count - 1)))

    between = ((first @ second.T / features + 1) ** 3).mean()
    return within(first) + within(second) - 2 * float(between)


def density_and_coverage(real: Features, others: Features, neighbours: int = NEIGHBOURS) -> tuple[float, float]:
    """How often others lie where real ones are dense, and near how many of the real ones others lie.

    Naeem et al. 2020, arXiv:2002.09797. Around each real image is a ball as far as its `neighbours`-th nearest other
    real one. Density is the mean number of balls that one of the others lies in, as a share of `neighbours`: 1 is to be
    expected of equal distributions, more where others keep to what is frequent. Coverage is the share of balls with
    others in them: of equal distributions and as many others, about 1 - 2^-neighbours.

    Args:
        real: [images, features], more than `neighbours`.
        others: [images, features].
    """
    from sklearn.neighbors import NearestNeighbors

    near = NearestNeighbors(n_neighbors=neighbours).fit(real)
    # Of an image among those that it is compared with, scikit-learn leaves out the image itself.
    radii = near.kneighbors()[0][:, -1]
    within = np.zeros(len(real), np.int64)
    total = 0
    for start in range(0, len(others), BLOCK):
        part = others[start : start + BLOCK]
        inside = _distances(part, real) <= radii
        within += inside.sum(axis=0)
        total += int(inside.sum())
    return total / (neighbours * len(others)), float((within > 0).mean())


def _distances(first: Features, second: Features) -> Any:
    from sklearn.metrics import pairwise_distances

    return pairwise_distances(first, second)


def halves(count: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Two sets of as many numbers below `count` each, none in both, int64; of an odd count, one number is in none."""
    drawn = np.random.default_rng(seed).permutation(count)
    half = count // 2
    return drawn[:half], drawn[half : 2 * half]


@dataclass(frozen=True)
class Likeness:
    """How alike sets of features are; the mean of what two pairs of them give.

    Attributes:
        frechet: See `frechet_distance`.
        kernel: See `kernel_distance`.
        kernel_error: Its standard error, None of one block in each pair.
        density, coverage: See `density_and_coverage`.
    """

    frechet: float
    kernel: float
    kernel_error: float | None
    density: float
    coverage: float


def likeness(pairs: Sequence[tuple[Features, Features]], neighbours: int = NEIGHBOURS) -> Likeness:
    """How like the first set of each pair, real images, the second one is: the mean over the pairs."""
    kernels = [kernel_distance(real, others) for real, others in pairs]
    dense = [density_and_coverage(real, others, neighbours) for real, others in pairs]
    errors = [kernel.error for kernel in kernels if kernel.error is not None]
    return Likeness(
        frechet=float(np.mean([frechet_distance(real, others) for real, others in pairs])),
        kernel=float(np.mean([kernel.distance for kernel in kernels])),
        kernel_error=float(np.sqrt(np.square(errors).sum()) / len(errors)) if len(errors) == len(pairs) else None,
        density=float(np.mean([density for density, _ in dense])),
        coverage=float(np.mean([coverage for _, coverage in dense])),
    )


@dataclass(frozen=True, eq=False)
class Nearest:
    """For some images, which of others is nearest.

    Attributes:
        places: Its number among the others, int64 [images].
        distances: How far it is: the root of the mean squared difference of pixels, 0..255, float64 [images].
    """

    places: NDArray[np.int64]
    distances: NDArray[np.float64]


def nearest(images: NDArray[np.uint8], others: Iterable[NDArray[np.uint8]]) -> Nearest:
    """The nearest of other images by their pixels; all of these need not be in memory.

    Args:
        images: uint8 [images, height, width, channels].
        others: Images of the same shape, some at a time, in order; at least one in all.
    """
    from sklearn.metrics import pairwise_distances_argmin_min

    flat = images.reshape(len(images), -1).astype(np.float32)
    distances = np.full(len(images), np.inf)
    places = np.zeros(len(images), np.int64)
    begun = 0
    for part in others:
        found, away = pairwise_distances_argmin_min(flat, part.reshape(len(part), -1).astype(np.float32))
        nearer = away < distances
        places[nearer] = begun + found[nearer]
        distances[nearer] = away[nearer]
        begun += len(part)
    return Nearest(places, distances / np.sqrt(flat.shape[1]))


def share_nearer(made: NDArray[np.float64], real: NDArray[np.float64], share: float = 0.01) -> float:
    """How many of made images are as near to their nearest training image as only a share of real ones is.

    Copies of training images are nearer to these than other real images are. Where none are copied, about that share is
    to be expected.

    Args:
        made, real: Distances to the nearest training image, [images].
        share: Of the real ones, the nearest.
    """
    return float((made < np.quantile(real, share)).mean())
