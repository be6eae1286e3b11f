"""The activation layers against Keras and NumPy."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from cnnkit.format.shapes import Shape, ShapeError
from cnnkit.layers.base import Names
from cnnkit.layers.unresolved import LAYER_CHOICE
from cnnkit.layers.weights import ACTIVATION_FUNCTIONS, ACTIVATIONS

from .test_normalization import AXES, SHAPES, distinct
from .truth import GRID, check_agreement, make, optional, random_images, run, scope

SLOPES = st.floats(-0.5, 3)


@GRID
@given(st.sampled_from(ACTIVATIONS), SHAPES)
def test_activation_agrees_with_keras(name: str, shape: Shape) -> None:
    check_agreement("Activation", {"activation": name}, shape)


@GRID
@given(optional(max_value=st.one_of(st.none(), SLOPES), negative_slope=SLOPES, threshold=SLOPES), SHAPES)
def test_relu_agrees_with_keras(arguments: dict[str, Any], shape: Shape) -> None:
    check_agreement("ReLU", arguments, shape)


@GRID
@given(SLOPES, SHAPES)
def test_leaky_relu_agrees_with_keras(slope: float, shape: Shape) -> None:
    check_agreement("LeakyReLU", {"negative_slope": slope}, shape)


@GRID
@given(SLOPES, SHAPES)
def test_elu_agrees_with_keras(alpha: float, shape: Shape) -> None:
    check_agreement("ELU", {"alpha": alpha}, shape)


@GRID
@given(
    optional(
        alpha_initializer=st.sampled_from(["zeros", {"Constant": 0.25}, "he_normal"]).map(
            lambda value: value if isinstance(value, str) else "ones"
        ),
        alpha_regularizer=st.sampled_from([None, "L1"]),
        shared_axes=st.one_of(st.none(), st.integers(1, 4), st.lists(st.integers(1, 4), min_size=1, unique=True)),
    ),
    SHAPES,
)
def test_prelu_agrees_with_keras(arguments: dict[str, Any], shape: Shape) -> None:
    check_agreement("PReLU", arguments, shape)


@GRID
@given(AXES, SHAPES)
def test_softmax_agrees_with_keras(axes: Any, shape: Shape) -> None:
    listed = axes if isinstance(axes, list) else [axes]
    # Keras takes an axis that the input does not have until it runs.
    assume(distinct(axes, shape) and all(-len(shape) <= axis <= len(shape) for axis in listed))
    check_agreement("Softmax", {"axis": axes}, shape)


@pytest.mark.parametrize("axis", [4, -4, [1, 4]])
def test_softmax_over_an_axis_that_is_not_there_is_refused(axis: Any) -> None:
    with pytest.raises(ShapeError) as caught:
        make("Softmax", {"axis": axis}).output_shape((3, 4, 5))
    assert caught.value.argument == "axis"


@pytest.mark.parametrize("shape", [(12,), (3, 12), (4, 5, 12)])
@pytest.mark.parametrize("units", [1, 3, 4, 12])
def test_maxout_takes_the_maximum_of_neighbouring_channels(shape: Shape, units: int) -> None:
    images = random_images(3, *shape)
    layer = make("Maxout", units)
    groups = np.split(images, units, axis=-1)
    expected = np.stack([group.max(axis=-1) for group in groups], axis=-1)
    result = run(layer, images)
    np.testing.assert_array_equal(result, expected)
    assert layer.output_shape(shape) == result.shape[1:]
    assert layer.variables(shape) == ()


def test_maxout_must_divide_the_channels() -> None:
    with pytest.raises(ShapeError) as caught:
        make("Maxout", 5).output_shape((4, 4, 12))
    assert caught.value.argument == "num_units"
    assert "5" in caught.value.message
    assert "12 channels" in caught.value.message
    assert make("Maxout", "classes").resolve(Names({"classes": 3}), (12,)).output_shape((12,)) == (3,)


def test_maxout_keeps_half_precision() -> None:
    result = run(make("Maxout", 2), random_images(1, 2, 2, 4), dtype="mixed_float16")
    assert result.dtype == np.float16


def test_prelu_counts_axes_from_1() -> None:
    with pytest.raises(PydanticCustomError):
        make("PReLU", {"shared_axes": [0, 1]})
    with pytest.raises(ShapeError, match="from 1"):
        make("PReLU", {"shared_axes": -1}).output_shape((3, 3, 2))
    with pytest.raises(ShapeError, match="axes"):
        make("PReLU", {"alpha_initializer": "orthogonal"}).output_shape((3,))


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("Dense", {"units": 3, "activation": "softmax"}, "softmax"),
        ("Dense", {"units": 3, "activation": "linear"}, None),
        ("Conv2D", {"filters": 3, "kernel_size": 1, "activation": "sigmoid"}, "sigmoid"),
        ("Activation", "tanh", "tanh"),
        ("Softmax", None, "softmax"),
        ("ReLU", None, "relu"),
        ("BatchNormalization", None, None),
        ("Flatten", None, "keep"),
        ("Dropout", 0.5, "keep"),
        ("GlobalAveragePooling2D", None, "keep"),
        ("Maxout", 2, None),
    ],
)
def test_what_a_layer_applies_last(name: str, arguments: Any, expected: str | None) -> None:
    assert make(name, arguments).output_activation == expected


FUNCTIONS: dict[str, dict[str, Any]] = {
    "celu": {"alpha": 0.5},
    "elu": {"alpha": 2.0},
    "gelu": {"approximate": True},
    "glu": {"axis": -1},
    "hard_shrink": {"threshold": 1.0},
    "leaky_relu": {"negative_slope": 0.5},
    "log_softmax": {"axis": 1},
    "relu": {"negative_slope": 0.1, "max_value": 0.7, "threshold": 0.2},
    "soft_shrink": {"threshold": 0.1},
    "softmax": {"axis": 2},
    "squareplus": {"b": 0.5},
    "threshold": {"threshold": 0.3, "default_value": -2.0},
}


def test_functions_with_arguments_are_those_of_keras() -> None:
    """Their names, arguments and defaults."""
    assert set(FUNCTIONS) == set(ACTIVATION_FUNCTIONS.names())
    for name in FUNCTIONS:
        cls = ACTIVATION_FUNCTIONS.get(name)
        assert cls is not None
        _, *theirs = inspect.signature(getattr(keras.activations, name)).parameters.values()
        assert set(cls.model_fields) == {one.name for one in theirs}
        for one in theirs:
            field = cls.model_fields[one.name]
            assert field.is_required() == (one.default is inspect.Parameter.empty)
            assert field.is_required() or field.default == one.default


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_computes_with_its_arguments(name: str, tmp_path: Path) -> None:
    images = random_images(2, 3, 4, 6)
    expected = np.asarray(getattr(keras.activations, name)(images, **FUNCTIONS[name]))
    layer = make("Activation", {name: FUNCTIONS[name]})
    assert LAYER_CHOICE.validate(layer.to_plain()) == layer
    assert layer.output_shape((3, 4, 6)) == expected.shape[1:]
    assert layer.output_activation == name
    built = layer.build(scope((3, 4, 6)))
    np.testing.assert_allclose(np.asarray(built(images)), expected, rtol=1e-6)
    model = keras.Sequential([keras.Input((3, 4, 6)), built])
    model.save(tmp_path / "model.keras")
    np.testing.assert_allclose(
        np.asarray(keras.saving.load_model(tmp_path / "model.keras")(images)), expected, rtol=1e-6
    )


def test_glu_is_a_layer_that_halves_the_channels() -> None:
    images = random_images(2, 3, 4, 6)
    first, second = np.split(images, 2, axis=-1)
    np.testing.assert_allclose(run(make("Activation", "glu"), images), first / (1 + np.exp(-second)), rtol=1e-5)
    with pytest.raises(ShapeError, match="glu halves an axis, but this one has 5 values"):
        make("Activation", "glu").output_shape((3, 4, 5))
    misspelt: list[Any] = [{"gelu": {"aproximate": True}}, {"swishh": 1}]
    for wrong in (*misspelt, {"elu": {"alpha": "x"}}, "threshold", {"gelu": True, "elu": 1}):
        with pytest.raises(PydanticCustomError):
            make("Activation", wrong)
