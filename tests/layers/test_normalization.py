"""The normalization layers against Keras, TensorFlow and NumPy."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from cnnkit.format.shapes import Shape, ShapeError
from cnnkit.layers.fused import FusedBatchNormalization
from cnnkit.training.model import plain_layer

from .truth import GRID, check_agreement, image_shapes, make, optional, random_images, run, scope

SHAPES = st.one_of(image_shapes(), st.tuples(st.integers(1, 8)))
AXIS = st.integers(-4, 4).filter(bool)
AXES = st.one_of(AXIS, st.lists(AXIS, min_size=1, max_size=3))
SCALED: dict[str, Any] = {
    "epsilon": st.floats(1e-6, 0.1),
    "center": st.booleans(),
    "scale": st.booleans(),
    "gamma_initializer": st.sampled_from(["ones", "zeros", "RandomNormal"]),
    "beta_regularizer": st.sampled_from([None, "L2"]),
    "gamma_constraint": st.sampled_from([None, "NonNeg"]),
}


def distinct(axes: int | list[int], shape: Shape) -> bool:
    """Whether a list names no axis twice, nor the batch, neither of which Keras checks everywhere."""
    listed = [axes] if isinstance(axes, int) else axes
    return len({axis % (len(shape) + 1) for axis in listed} - {0}) == len(listed)


@GRID
@given(
    optional(
        axis=AXIS,
        renorm=st.booleans(),
        momentum=st.floats(0, 1),
        renorm_momentum=st.floats(0, 1),
        synchronized=st.booleans(),
        **SCALED,
    ),
    SHAPES,
)
def test_batch_normalization_agrees_with_keras(arguments: dict[str, Any], shape: Shape) -> None:
    check_agreement("BatchNormalization", arguments, shape)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"scale": False, "epsilon": 1e-6},
        {"center": False, "momentum": 0.6},
        {"dtype": "mixed_bfloat16"},
        {"trainable": False},
    ],
)
def test_the_fused_batch_normalization_computes_what_keras_does(arguments: dict[str, Any]) -> None:
    images, gradients = random_images(8, 5, 6, 16) * 2 + 3, random_images(8, 5, 6, 16, seed=1)
    results = []
    ours = make("BatchNormalization", arguments).build(scope((5, 6, 16)))
    assert isinstance(ours, FusedBatchNormalization)
    for layer in (ours, keras.layers.BatchNormalization(**arguments)):
        layer.build((None, 5, 6, 16))
        layer.set_weights([random_images(16, seed=2) + 2 for _ in layer.weights])
        batch = tf.constant(images)
        with tf.GradientTape() as tape:
            tape.watch(batch)
            outputs = layer(batch, training=True)
            loss = tf.reduce_sum(tf.cast(outputs, tf.float32) * gradients)
        found = tape.gradient(loss, [batch, *(variable.value for variable in layer.trainable_variables)])
        inference = layer(batch, training=False)
        results.append([np.asarray(tf.cast(one, tf.float32)) for one in (outputs, inference, *found, *layer.weights)])
    for mine, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=2e-5)


def test_channels_that_do_not_fill_a_vector_are_left_to_keras() -> None:
    assert type(make("BatchNormalization", {}).build(scope((5, 6, 10)))) is keras.layers.BatchNormalization


@GRID
@given(AXES, optional(**SCALED), SHAPES)
def test_layer_normalization_agrees_with_keras(axes: Any, arguments: dict[str, Any], shape: Shape) -> None:
    assume(distinct(axes, shape))
    check_agreement("LayerNormalization", arguments | {"axis": axes}, shape)


@pytest.mark.parametrize("axes", [[3, 1], [1, 3], [2, -1], [-1, 2], [3, 2, 1]])
def test_layer_normalization_orders_its_axes_as_keras_does(axes: list[int]) -> None:
    check_agreement("LayerNormalization", {"axis": axes}, (4, 5, 6))


@GRID
@given(optional(axis=AXIS, **SCALED), st.sampled_from([-1, 1, 2, 3, 4]), SHAPES)
def test_group_normalization_agrees_with_keras(arguments: dict[str, Any], groups: int, shape: Shape) -> None:
    check_agreement("GroupNormalization", arguments | {"groups": groups}, shape)


@GRID
@given(AXES, SHAPES)
def test_unit_normalization_agrees_with_keras(axes: Any, shape: Shape) -> None:
    assume(distinct(axes, shape))
    check_agreement("UnitNormalization", {"axis": axes}, shape)


STATISTICS = st.one_of(
    st.none(),
    st.just(2.0),
    st.lists(st.floats(0, 3), min_size=1, max_size=4),
    st.lists(st.lists(st.floats(0, 3), min_size=2, max_size=2), min_size=1, max_size=3),
)


@GRID
@given(st.one_of(st.none(), AXES), STATISTICS, STATISTICS, st.booleans(), SHAPES)
def test_normalization_agrees_with_keras(axes: Any, mean: Any, variance: Any, invert: bool, shape: Shape) -> None:
    assume(axes is None or distinct(axes, shape))
    arguments = {"axis": axes, "mean": mean, "variance": variance, "invert": invert}
    check_agreement("Normalization", arguments, shape)


def test_normalization_per_channel_reaches_keras() -> None:
    images = random_images(2, 3, 3, 2)
    layer = make("Normalization", {"mean": [1, 2], "variance": [4, 9]})
    np.testing.assert_allclose(run(layer, images), (images - [1, 2]) / [2, 3], rtol=1e-6, atol=1e-6)


# --- Local response normalization ---------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5, 4, 8), (3, 3, 1), (2, 6, 3), (13, 13, 96)])
@pytest.mark.parametrize("scale", [1.0, 100.0])
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"depth_radius": 5, "bias": 1.0, "alpha": 1.0, "beta": 0.5},
        {"depth_radius": 1, "alpha": 0.01, "beta": 1.0},
    ],
)
def test_local_response_normalization_is_tensorflows(shape: Shape, scale: float, arguments: dict[str, Any]) -> None:
    images = random_images(2, *shape) * np.float32(scale)
    layer = make("LocalResponseNormalization", arguments)
    # TensorFlow's own float32 result is up to 3.5e-7 from its formula in float64; ours up to 3e-7.
    radius, bias = arguments.get("depth_radius", 2), arguments.get("bias", 2.0)
    alpha, beta = arguments.get("alpha", 1e-4), arguments.get("beta", 0.75)
    theirs = tf.nn.local_response_normalization(images, radius, bias, alpha, beta)
    exact = images.astype("float64")
    sums = sum(
        np.pad(exact**2, [(0, 0)] * 3 + [(radius, radius)])[..., shift : shift + shape[-1]]
        for shift in range(2 * radius + 1)
    )
    exact = exact / (bias + alpha * sums) ** beta
    training = layer.build(scope(shape))
    for ours in (training(images), plain_layer(training)(images)):
        assert ours.dtype == "float32"
        np.testing.assert_allclose(ours, exact, rtol=5e-7)
        np.testing.assert_allclose(ours, theirs, rtol=7e-7)


@pytest.mark.parametrize("arguments", [{}, {"depth_radius": 3, "bias": 1.0, "alpha": 0.5, "beta": 0.6}])
def test_the_gradient_of_local_response_normalization_is_tensorflows(arguments: dict[str, Any]) -> None:
    images, gradients = tf.constant(random_images(2, 3, 4, 9) * 2), random_images(2, 3, 4, 9, seed=1)
    layer = make("LocalResponseNormalization", arguments).build(scope((3, 4, 9)))
    defaults = {"depth_radius": 2, "bias": 2.0, "alpha": 1e-4, "beta": 0.75}
    found = []
    for function in (layer, lambda x: tf.nn.local_response_normalization(x, **(defaults | arguments))):
        with tf.GradientTape() as tape:
            tape.watch(images)
            outputs = function(images)
        found.append(np.asarray(tape.gradient(outputs, images, gradients)))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5, atol=1e-6)


def test_local_response_normalization_does_not_overflow_in_half_precision() -> None:
    images = random_images(1, 2, 2, 4) * np.float32(1000)
    result = run(make("LocalResponseNormalization"), images, dtype="mixed_float16")
    np.testing.assert_allclose(result, tf.nn.local_response_normalization(images, 2, 2.0, 1e-4, 0.75), rtol=1e-5)


def test_local_response_normalization_needs_images_and_has_no_weights() -> None:
    layer = make("LocalResponseNormalization")
    assert layer.variables((5, 5, 3)) == ()
    with pytest.raises(ShapeError):
        layer.output_shape((10,))


# --- What is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("BatchNormalization", {"axis": 0}, "batch"),
        ("BatchNormalization", {"renorm_clipping": {"rmax": 2.0}}, "no effect without `renorm: true`"),
        (
            "BatchNormalization",
            {"renorm": True, "renorm_clipping": {"rmax": 1, "rmin": 2}},
            "at least `rmin`",
        ),
        ("GroupNormalization", {"groups": 0}, "from 1 to 1,000,000, or -1"),
        ("LayerNormalization", {"axis": [1, 1]}, "named twice"),
        ("Normalization", {"mean": 1.0}, "belong together"),
        ("Normalization", {"mean": [1.0], "variance": [1.0, 2.0]}, "same shape"),
        ("Normalization", {"mean": [1.0], "variance": [-1.0]}, "not be negative"),
        ("Normalization", {"axis": None, "mean": [1.0], "variance": [1.0]}, "`axis` names only 0"),
        ("LocalResponseNormalization", {"bias": 0}, "greater than 0"),
        ("LayerNormalization", {"gamma_initializer": "orthogonal"}, "at least 2 axes"),
    ],
)
def test_a_wrong_argument_is_explained(name: str, arguments: dict[str, Any], expected: str) -> None:
    with pytest.raises(PydanticCustomError) as caught:
        make(name, arguments)
    assert expected in str((caught.value.context or {})["errors"][0]["msg"])


def test_renorm_clipping_reaches_keras() -> None:
    arguments = {"renorm": True, "renorm_clipping": {"rmax": 3.0, "dmax": 5.0}}
    check_agreement("BatchNormalization", arguments, (4, 4, 3))


@pytest.mark.parametrize(
    ("name", "arguments", "shape", "argument"),
    [
        ("GroupNormalization", {}, (4, 4, 16), "groups"),
        ("BatchNormalization", {"axis": 4}, (4, 4, 3), "axis"),
        ("LayerNormalization", {"axis": [3, -1]}, (4, 4, 3), "axis"),
        ("Normalization", {"mean": [1, 2], "variance": [1, 1]}, (4, 4, 3), "mean"),
    ],
)
def test_a_shape_that_does_not_fit_blames_the_argument(
    name: str, arguments: dict[str, Any], shape: Shape, argument: str
) -> None:
    with pytest.raises(ShapeError) as caught:
        make(name, arguments).output_shape(shape)
    assert caught.value.argument == argument
    assert "x".join(map(str, shape)) in caught.value.message or argument == "axis"


def test_normalization_without_statistics_says_that_it_does_nothing() -> None:
    (warning,) = make("Normalization").warnings((4, 4, 3))
    assert "changes nothing" in warning
    images = random_images(2, 4, 4, 3)
    np.testing.assert_allclose(run(make("Normalization"), images), images)
