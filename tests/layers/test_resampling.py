"""The layers that enlarge, pad, crop, resize or rescale, against Keras."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from cnnkit.config.run import ModelConfig
from cnnkit.format.shapes import Shape, ShapeError

from .test_normalization import SHAPES
from .truth import (
    GRID,
    check_agreement,
    data_formats,
    image_shapes,
    make,
    optional,
    pairs,
    random_images,
    run,
    sides,
)

INTERPOLATIONS = st.sampled_from(["nearest", "bilinear", "bicubic", "lanczos3", "lanczos5"])


@GRID
@given(pairs(1, 3), INTERPOLATIONS, data_formats, SHAPES)
def test_upsampling_agrees_with_keras(size: Any, interpolation: str, data_format: str | None, shape: Shape) -> None:
    arguments = {"size": size, "interpolation": interpolation, "data_format": data_format}
    check_agreement("UpSampling2D", arguments, shape)


@pytest.mark.parametrize(("name", "argument"), [("ZeroPadding2D", "padding"), ("Cropping2D", "cropping")])
@GRID
@given(amounts=st.one_of(sides(4), st.just(-1)), data_format=data_formats, shape=image_shapes(high=9))
def test_padding_and_cropping_agree_with_keras(
    name: str, argument: str, amounts: Any, data_format: str | None, shape: Shape
) -> None:
    # Keras' ZeroPadding2D accepts -1, which would crop.
    if name == "ZeroPadding2D" and amounts == -1:
        with pytest.raises(PydanticCustomError):
            make(name, {argument: amounts})
        return
    check_agreement(name, {argument: amounts, "data_format": data_format}, shape)


@GRID
@given(
    st.integers(1, 12),
    st.integers(1, 12),
    optional(
        interpolation=INTERPOLATIONS,
        aspect=st.sampled_from(["crop_to_aspect_ratio", "pad_to_aspect_ratio"]),
        fill_value=st.floats(0, 1),
        antialias=st.booleans(),
    ),
    data_formats,
    image_shapes(high=12),
)
def test_resizing_agrees_with_keras(
    height: int, width: int, arguments: dict[str, Any], data_format: str | None, shape: Shape
) -> None:
    arguments = {"height": height, "width": width, "data_format": data_format} | arguments
    if aspect := arguments.pop("aspect", None):
        arguments[aspect] = True
    check_agreement("Resizing", arguments, shape)


NUMBERS = st.one_of(st.floats(-2, 2), st.lists(st.floats(-2, 2), min_size=1, max_size=1))


@GRID
@given(NUMBERS, NUMBERS, SHAPES)
def test_rescaling_agrees_with_keras(scale: Any, offset: Any, shape: Shape) -> None:
    check_agreement("Rescaling", {"scale": scale, "offset": offset}, shape)


def test_rescaling_per_channel() -> None:
    images = random_images(2, 3, 4, 3)
    layer = make("Rescaling", {"scale": [1, 2, 3], "offset": [0, 0, 1]})
    np.testing.assert_allclose(run(layer, images), images * [1, 2, 3] + [0, 0, 1], rtol=1e-6, atol=1e-6)
    with pytest.raises(ShapeError) as caught:
        layer.output_shape((3, 4, 2))
    assert caught.value.argument == "scale"


def test_a_scale_may_be_a_fraction() -> None:
    model = ModelConfig.model_validate({"layers": [{"Rescaling": {"scale": "1/255"}}]})
    images = random_images(2, 3, 4, 3)
    (layer,) = model.resolved((3, 4, 3), {"classes": 2})
    np.testing.assert_array_equal(run(layer, images), run(make("Rescaling", 1 / 255), images))


def test_cropping_everything_away_names_the_size() -> None:
    with pytest.raises(ShapeError) as caught:
        make("Cropping2D", [[2, 2], [0, 0]]).output_shape((4, 5, 3))
    assert caught.value.argument == "cropping"
    assert "4x5" in caught.value.message


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        (
            "Resizing",
            {"height": 2, "width": 2, "crop_to_aspect_ratio": True, "pad_to_aspect_ratio": True},
            "only one",
        ),
        ("UpSampling2D", {"interpolation": "area"}, "bilinear"),
        ("ZeroPadding2D", "same", "[[top, bottom], [left, right]]"),
    ],
)
def test_a_wrong_argument_is_explained(name: str, arguments: Any, expected: str) -> None:
    with pytest.raises(PydanticCustomError) as caught:
        make(name, arguments)
    assert expected in str((caught.value.context or {})["errors"][0]["msg"])
