"""Directions of the latent space, against what is known of generators that were made by hand, and scikit-learn."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression

from cnnkit.runs.directory import Run
from cnnkit.runs.trained import open_run
from cnnkit.tasks.generation.directions import first_layer, principal_directions
from cnnkit.tasks.generation.sampling import latents

LATENT = 6


def made_by_hand(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The kernel of a linear layer to 30 outputs, [latent, 30], and the directions that change these most, in order."""
    drawn = np.random.default_rng(seed)
    directions = np.linalg.qr(drawn.standard_normal((LATENT, LATENT)))[0].T
    outputs = np.linalg.qr(drawn.standard_normal((30, LATENT)))[0].T
    return directions.T @ np.diag([9, 7, 5, 4, 3, 1]) @ outputs, directions


def along(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """How far each direction is the expected one, whichever way it leads: 1 for the same."""
    return np.abs((found * expected).sum(axis=1))


@pytest.mark.parametrize("classes", [0, 3])
def test_of_a_linear_layer_they_are_those_that_it_was_made_of(classes: int) -> None:
    kernel, expected = made_by_hand(1)
    of_classes = 100 * np.random.default_rng(2).standard_normal((classes, 30))

    def layer(taken: Any) -> Any:
        assert taken.shape[1] == LATENT + classes
        return taken[:, :LATENT] @ kernel + taken[:, LATENT:] @ of_classes + 20

    found = principal_directions(layer, LATENT, classes, seed=0)
    np.testing.assert_allclose(found @ found.T, np.eye(LATENT), atol=1e-6)
    np.testing.assert_allclose(along(found, expected), 1, atol=1e-6)
    np.testing.assert_array_equal(found, principal_directions(layer, LATENT, classes, seed=0))


def test_of_a_bent_layer_they_are_those_of_ganspace() -> None:
    """Principal components of its outputs, to which the latent vectors are fitted (Härkönen et al. 2020)."""
    kernel, _ = made_by_hand(3)

    def layer(taken: Any) -> Any:
        outputs = taken @ kernel + 1
        return np.where(outputs > 0, outputs, 0.3 * outputs)

    found = principal_directions(layer, LATENT, 0, seed=0)
    vectors = latents(5, 20_000, LATENT)
    coordinates = PCA(LATENT).fit_transform(layer(vectors))
    slopes = LinearRegression().fit(coordinates, vectors).coef_.T
    expected = slopes / np.linalg.norm(slopes, axis=1, keepdims=True)
    # What is bent varies more than the last direction, of which GANSpace has that in its place.
    assert (along(found, expected)[:-1] > 0.99).all()


def test_of_a_run_they_are_those_of_its_first_layer(maker_run: Run) -> None:
    """The generator begins with a Dense layer, whose kernel has them as singular vectors."""
    trained = open_run(maker_run)
    found = trained.task.maker(trained).directions(5)
    dense = next(layer for layer in keras.saving.load_model(maker_run.model).layers if layer.weights)
    (kernel,) = dense.get_weights()
    expected = np.linalg.svd(kernel[:8], full_matrices=False)[0].T
    assert found.shape == (5, 8)
    np.testing.assert_allclose(along(found, expected[:5]), 1, atol=1e-3)
    taken = np.random.default_rng(0).standard_normal((4, 18)).astype(np.float32)
    np.testing.assert_allclose(first_layer(trained)(taken), taken @ kernel, atol=1e-5)
