"""The dropout and noise layers against Keras."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from cnnkit.format.shapes import Shape, ShapeError

from .test_normalization import SHAPES
from .truth import GRID, check_agreement, data_formats, image_shapes, make, random_images, scope

#: Layers with their rate, up to the largest that Keras can train with.
RATES = [
    ("Dropout", 1.0),
    ("SpatialDropout2D", 1.0),
    ("GaussianNoise", 1.0),
    ("GaussianDropout", 0.99),
    ("AlphaDropout", 0.99),
]


@pytest.mark.parametrize(("name", "highest"), RATES)
@GRID
@given(data=st.data(), shape=image_shapes())
def test_a_rate_agrees_with_keras(name: str, highest: float, data: st.DataObject, shape: Shape) -> None:
    argument = "stddev" if name == "GaussianNoise" else "rate"
    rate = data.draw(st.one_of(st.floats(0, highest), st.sampled_from([0, -0.1, 1.1])))
    arguments: dict[str, Any] = {argument: rate}
    if name == "SpatialDropout2D":
        arguments["data_format"] = data.draw(data_formats)
    check_agreement(name, arguments, shape)


@GRID
@given(SHAPES)
def test_spatial_dropout_takes_what_keras_takes(shape: Shape) -> None:
    check_agreement("SpatialDropout2D", {"rate": 0.5}, shape)


@pytest.mark.parametrize("name", ["GaussianDropout", "AlphaDropout"])
def test_a_rate_of_1_is_refused_where_keras_divides_by_zero(name: str) -> None:
    with pytest.raises(PydanticCustomError):
        make(name, 1.0)
    make("Dropout", 1.0)


@pytest.mark.parametrize("name", ["Dropout", "AlphaDropout"])
def test_a_noise_shape_drops_channels_together(name: str) -> None:
    layer = make(name, {"rate": 0.5, "noise_shape": [None, 1, 1, None]})
    assert layer.output_shape((6, 5, 8)) == (6, 5, 8)
    images = np.ones((4, 6, 5, 8), "float32")
    dropped = np.asarray(layer.build(scope((6, 5, 8)))(images, training=True))
    assert np.array_equal(dropped, np.broadcast_to(dropped[:, :1, :1], dropped.shape))
    assert len(np.unique(dropped)) == 2


@pytest.mark.parametrize("noise_shape", [[None, 1, 1], [None, 1, 1, 3], [1, 6, 5, 8, 1]])
def test_a_noise_shape_that_does_not_fit_is_refused(noise_shape: list[int | None]) -> None:
    with pytest.raises(ShapeError) as caught:
        make("Dropout", {"rate": 0.5, "noise_shape": noise_shape}).output_shape((6, 5, 8))
    assert caught.value.argument == "noise_shape"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"rate": 0.5, "seed": 3}, "comes from the run"),
        ({"rate": 0.5, "noise_shape": [32, 1, 1, 8]}, "batch axis"),
        ({"rate": 0.5, "noise_shape": 3}, "expected a list"),
        ({"rate": 1.5}, "less than or equal to 1"),
    ],
)
def test_a_wrong_argument_is_explained(arguments: dict[str, Any], expected: str) -> None:
    with pytest.raises(PydanticCustomError) as caught:
        make("Dropout", arguments)
    assert expected in str((caught.value.context or {})["errors"][0]["msg"])


@pytest.mark.parametrize(("name", "rate"), [(name, 0.5) for name, _ in RATES])
def test_the_draws_follow_the_runs_seed(name: str, rate: float) -> None:
    images = random_images(2, 4, 4, 8)

    def draw(seed: int) -> np.ndarray:
        return np.asarray(make(name, rate).build(scope((4, 4, 8), seed=seed))(images, training=True))

    assert np.array_equal(draw(1), draw(1))
    assert not np.array_equal(draw(1), draw(2))
    built = make(name, rate).build(scope((4, 4, 8)))
    assert np.array_equal(np.asarray(built(images, training=False)), images)
