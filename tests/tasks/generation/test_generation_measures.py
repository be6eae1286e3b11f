"""How like real images made ones are, against closed forms, second derivations and the papers' expectations."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.linalg

from cnnkit.tasks.generation.measures import (
    density_and_coverage,
    frechet_distance,
    halves,
    kernel_distance,
    likeness,
    nearest,
    share_nearer,
)

DRAWN = np.random.default_rng(4)


def normal(count: int, features: int, mean: float = 0.0, scale: float = 1.0) -> np.ndarray:
    return mean + scale * DRAWN.standard_normal((count, features)) @ np.tri(features) / features


def test_the_frechet_distance_of_single_numbers_is_that_of_means_and_deviations() -> None:
    first, second = normal(50, 1, 2, 3), normal(70, 1, -1, 0.5)
    expected = (first.mean() - second.mean()) ** 2 + (first.std(ddof=1) - second.std(ddof=1)) ** 2
    assert frechet_distance(first, second) == pytest.approx(expected)


@pytest.mark.parametrize("count", [40, 4], ids=["whole rank", "fewer images than features"])
def test_the_frechet_distance_agrees_with_scipys_root_of_the_product(count: int) -> None:
    first, second = normal(count, 6), normal(count, 6, 0.3, 2)
    product = np.cov(first, rowvar=False) @ np.cov(second, rowvar=False)
    # Where the product has no inverse, a little on the diagonal gives it one, as FID's own code does.
    root = scipy.linalg.sqrtm(product + (1e-10 if count < 6 else 0) * np.eye(6))
    traces = np.cov(first, rowvar=False).trace() + np.cov(second, rowvar=False).trace()
    expected = np.square(first.mean(0) - second.mean(0)).sum() + traces - 2 * np.trace(root).real
    assert frechet_distance(first, second) == pytest.approx(expected, abs=1e-3 if count < 6 else 1e-9)


def test_equal_sets_have_no_frechet_distance_and_equal_distributions_one_that_falls_with_their_size() -> None:
    first = normal(200, 5)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-9)
    small, large = (frechet_distance(normal(count, 5), normal(count, 5)) for count in (50, 5000))
    assert 0 < large < small / 5


def test_the_kernel_distance_is_the_sum_over_all_pairs_of_other_images() -> None:
    first, second = normal(9, 3), normal(9, 3, 0.5)

    def kernel(one: np.ndarray, other: np.ndarray) -> float:
        return float((one @ other / 3 + 1) ** 3)

    others = [pair for pair in itertools.product(range(9), repeat=2) if pair[0] != pair[1]]
    within = [np.mean([kernel(values[i], values[j]) for i, j in others]) for values in (first, second)]
    between = np.mean([kernel(one, other) for one in first for other in second])
    found = kernel_distance(first, second)
    assert found.distance == pytest.approx(sum(within) - 2 * between)
    assert found.error is None


def test_the_kernel_distance_has_no_bias_however_few_images_there_are() -> None:
    estimates = [kernel_distance(normal(20, 4), normal(20, 4)).distance for _ in range(400)]
    assert abs(np.mean(estimates)) < 3 * np.std(estimates) / np.sqrt(400)
    assert min(estimates) < 0


def test_blocks_are_disjoint_and_their_mean_is_what_is_said() -> None:
    first, second = normal(25, 3), normal(25, 3, 1)
    blocks = [kernel_distance(first[i : i + 10], second[i : i + 10]).distance for i in (0, 10)]
    found = kernel_distance(first, second, block=10)
    assert found.distance == pytest.approx(np.mean(blocks))
    assert found.error == pytest.approx(abs(blocks[0] - blocks[1]) / 2)


def test_density_and_coverage_count_balls() -> None:
    """By the papers' definitions, one ball after the other."""
    real, others = normal(30, 2), normal(20, 2, 0.2)
    radii = [np.sort(np.linalg.norm(real - one, axis=1))[3] for one in real]
    inside = [
        [np.linalg.norm(other - one) <= radius for other in others] for one, radius in zip(real, radii, strict=True)
    ]
    density, coverage = density_and_coverage(real, others, neighbours=3)
    assert density == pytest.approx(np.sum(inside) / (3 * 20))
    assert coverage == pytest.approx(np.mean(np.any(inside, axis=1)))


def test_coverage_of_equal_distributions_is_what_the_paper_expects_and_falls_where_modes_are_missing() -> None:
    real, equal = normal(1000, 3), normal(1000, 3)
    density, coverage = density_and_coverage(real, equal)
    assert density == pytest.approx(1, abs=0.1)
    assert coverage == pytest.approx(1 - 2**-5, abs=0.03)
    # Only what lies on one side of the middle: half the balls are empty, and the others twice as full.
    one_sided = equal[equal[:, 2] > 0]
    density, coverage = density_and_coverage(real, one_sided)
    assert coverage < 0.65
    assert density == pytest.approx(1, abs=0.15)


def test_halves_share_no_image() -> None:
    first, second = halves(11, seed=3)
    assert len(first) == len(second) == 5
    assert len({*first.tolist(), *second.tolist()}) == 10
    assert not np.array_equal(first, halves(11, seed=4)[0])


def test_likeness_is_the_mean_over_pairs() -> None:
    pairs = [(normal(30, 3), normal(30, 3, mean)) for mean in (0, 1)]
    both, each = likeness(pairs), [likeness([pair]) for pair in pairs]
    for name in ("frechet", "kernel", "density", "coverage"):
        assert getattr(both, name) == pytest.approx(np.mean([getattr(one, name) for one in each]))
    assert both.kernel_error is None


def test_the_nearest_image_is_found_across_parts() -> None:
    others = DRAWN.integers(0, 256, (23, 4, 3, 2), np.uint8)
    images = others[[7, 22, 0]].copy()
    images[1] ^= 1
    found = nearest(images, (others[:10], others[10:20], others[20:]))
    assert found.places.tolist() == [7, 22, 0]
    assert found.distances == pytest.approx([0, 1, 0], abs=1e-3)


def test_copies_are_nearer_than_other_real_images() -> None:
    real, made = np.arange(1, 1001, dtype=float), np.arange(1, 1001, dtype=float)
    assert share_nearer(made, real) == pytest.approx(0.01)
    assert share_nearer(np.where(made < 500, 0.1, made), real) == pytest.approx(0.499, abs=0.001)
