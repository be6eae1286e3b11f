"""The pooling layers against Keras and NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from cnnkit.format.shapes import Shape, ShapeError

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
)


@st.composite
def pools_and_shapes(draw: st.DrawFn) -> tuple[dict[str, Any], Shape]:
    data_format = draw(data_formats)
    arguments = draw(optional(strides=st.one_of(st.none(), pairs(1, 3)), padding=st.sampled_from(["valid", "same"])))
    return (
        arguments | {"pool_size": draw(pairs(1, 5)), "data_format": data_format},
        draw(image_shapes(data_format)),
    )


@pytest.mark.parametrize("name", ["MaxPooling2D", "AveragePooling2D"])
@GRID
@given(case=pools_and_shapes())
def test_a_pooling_agrees_with_keras(name: str, case: tuple[dict[str, Any], Shape]) -> None:
    check_agreement(name, *case)


@pytest.mark.parametrize("name", ["GlobalMaxPooling2D", "GlobalAveragePooling2D"])
@GRID
@given(data_format=data_formats, keepdims=st.booleans(), shape=image_shapes())
def test_a_global_pooling_agrees_with_keras(name: str, data_format: str | None, keepdims: bool, shape: Shape) -> None:
    check_agreement(name, {"data_format": data_format, "keepdims": keepdims}, shape)


def pooled(
    images: np.ndarray,
    window: tuple[int, int],
    strides: tuple[int, int],
    padding: Any,
    fill: float,
    mean: bool,
) -> np.ndarray:
    """Pooling by its definition, over an image padded with `fill`."""
    padded = np.pad(images, [(0, 0), *padding, (0, 0)], constant_values=fill)
    (fh, fw), (sh, sw) = window, strides
    rows = range(0, padded.shape[1] - fh + 1, sh)
    columns = range(0, padded.shape[2] - fw + 1, sw)
    reduce = np.mean if mean else np.max
    return np.stack(
        [np.stack([reduce(padded[:, r : r + fh, c : c + fw], axis=(1, 2)) for c in columns], 1) for r in rows],
        1,
    )


PADDINGS = [
    (1, [(1, 1), (1, 1)]),
    ([1, 0], [(1, 1), (0, 0)]),
    ([[0, 2], [1, 0]], [(0, 2), (1, 0)]),
    ("full", [(2, 2), (2, 2)]),
]


@pytest.mark.parametrize("name", ["MaxPooling2D", "AveragePooling2D"])
@pytest.mark.parametrize(("padding", "amounts"), PADDINGS)
@pytest.mark.parametrize("strides", [(1, 1), (2, 3)])
@pytest.mark.parametrize("offset", [0.0, -100.0])
def test_explicit_padding_never_wins_a_maximum_and_counts_as_zeros_in_a_mean(
    name: str, padding: Any, amounts: Any, strides: tuple[int, int], offset: float
) -> None:
    """With an offset of -100 every input is negative, so that a padding of 0 would be the maximum."""
    images = random_images(2, 7, 8, 3) + np.float32(offset)
    layer = make(name, {"pool_size": 3, "strides": list(strides), "padding": padding})
    mean = name == "AveragePooling2D"
    expected = pooled(images, (3, 3), strides, amounts, 0.0 if mean else -np.inf, mean)
    result = run(layer, images)
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)
    assert np.isfinite(result).all()
    assert layer.output_shape((7, 8, 3)) == result.shape[1:]


@pytest.mark.parametrize("name", ["MaxPooling2D", "AveragePooling2D"])
def test_explicit_padding_of_channels_first_images(name: str) -> None:
    images = random_images(2, 7, 8, 3)
    arguments = {"pool_size": 3, "strides": 2, "padding": [[1, 0], [0, 1]]}
    last = run(make(name, arguments), images)
    first = run(make(name, arguments | {"data_format": "channels_first"}), images.transpose(0, 3, 1, 2))
    np.testing.assert_allclose(first.transpose(0, 2, 3, 1), last, rtol=1e-6, atol=1e-6)


def test_a_window_of_padding_only_is_refused() -> None:
    with pytest.raises(PydanticCustomError) as caught:
        make("MaxPooling2D", {"pool_size": 2, "padding": 2})
    assert "padding only" in str((caught.value.context or {})["errors"][0]["msg"])


def test_a_stride_of_zero_is_refused() -> None:
    """Keras accepts it, and the process dies in training."""
    with pytest.raises(PydanticCustomError):
        make("MaxPooling2D", {"strides": 0})


def test_a_window_that_does_not_fit_names_both_sizes() -> None:
    with pytest.raises(ShapeError) as caught:
        make("MaxPooling2D", {"pool_size": 3}).output_shape((2, 2, 256))
    message = "a 3x3 window does not fit the 2x2 input this layer receives (here: 2x2x256)"
    assert message in caught.value.message
    assert caught.value.argument == "pool_size"


def test_a_leading_argument_is_the_window() -> None:
    assert make("MaxPooling2D", 2) == make("MaxPooling2D", {"pool_size": [2, 2]})
    assert make("AveragePooling2D", [3, 2]).output_shape((9, 8, 1)) == (3, 4, 1)


def test_a_pool_that_drops_a_row_says_so() -> None:
    (warning,) = make("MaxPooling2D", 2).warnings((13, 13, 256))
    assert "(13 - 2 + 2*0)/2 + 1 = 6: 11/2 = 5 remainder 1, drops 1" in warning
    assert make("MaxPooling2D", {"pool_size": 2, "padding": "same"}).warnings((13, 13, 256)) == ()
