"""The convolutions against Keras' own shapes and weights, TensorFlow's own results and published figures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from cnnkit.format.shapes import Shape, ShapeError
from cnnkit.layers.base import Names

from .truth import (
    GRID,
    check_agreement,
    data_formats,
    facts_of,
    image_shapes,
    make,
    optional,
    our_facts,
    pairs,
    random_images,
    run,
    scope,
)

COMMON: dict[str, Any] = {
    "strides": pairs(1, 3),
    "padding": st.sampled_from(["valid", "same"]),
    "dilation_rate": pairs(1, 2),
    "use_bias": st.booleans(),
    "activation": st.sampled_from([None, "relu", "softmax"]),
    "trainable": st.booleans(),
}


@st.composite
def layers_and_shapes(draw: st.DrawFn, required: dict[str, Any], **more: Any) -> tuple[dict[str, Any], Shape]:
    data_format = draw(data_formats)
    arguments = draw(st.fixed_dictionaries(required)) | draw(optional(**COMMON, **more))
    return arguments | {"data_format": data_format}, draw(image_shapes(data_format))


FILTERS = {"filters": st.integers(1, 8), "kernel_size": pairs(1, 5)}
INITIALIZERS = st.sampled_from(["glorot_uniform", "HeNormal", "zeros"])


@GRID
@given(layers_and_shapes(FILTERS, groups=st.integers(1, 4), kernel_initializer=INITIALIZERS))
def test_conv2d_agrees_with_keras(case: tuple[dict[str, Any], Shape]) -> None:
    check_agreement("Conv2D", *case)


@GRID
@given(layers_and_shapes({"kernel_size": pairs(1, 5)}, depth_multiplier=st.integers(1, 3)))
def test_depthwise_agrees_with_keras(case: tuple[dict[str, Any], Shape]) -> None:
    check_agreement("DepthwiseConv2D", *case)


@GRID
@given(layers_and_shapes(FILTERS, depth_multiplier=st.integers(1, 3), pointwise_initializer=INITIALIZERS))
def test_separable_agrees_with_keras(case: tuple[dict[str, Any], Shape]) -> None:
    check_agreement("SeparableConv2D", *case)


@GRID
@given(layers_and_shapes(FILTERS, output_padding=st.one_of(st.none(), pairs(0, 3))))
def test_transposed_agrees_with_keras(case: tuple[dict[str, Any], Shape]) -> None:
    arguments, shape = case
    # Keras builds these and TensorFlow refuses them in training; see the next test.
    assume(not (arguments.get("padding") == "same" and arguments.get("output_padding") is not None))
    check_agreement("Conv2DTranspose", arguments, shape)


@GRID
@given(
    kernel=st.integers(1, 5),
    stride=st.integers(1, 3),
    extra=st.integers(0, 3),
    size=st.integers(1, 6),
)
def test_transposed_with_same_and_output_padding_agrees_with_tensorflow(
    kernel: int, stride: int, extra: int, size: int
) -> None:
    """`same` with output padding: accepted exactly where TensorFlow can run the layer and its gradient."""
    arguments = {"filters": 1, "kernel_size": kernel, "strides": stride, "padding": "same"}
    facts = our_facts("Conv2DTranspose", arguments | {"output_padding": extra}, (size, size, 1))
    output = (size - 1) * stride + kernel % 2 + extra
    image, weights = tf.ones((1, output, output, 1)), tf.ones((kernel, kernel, 1, 1))
    # The layer is the gradient of this convolution, which must give back the layer's input size.
    forward = tf.nn.conv2d(image, weights, stride, "SAME") if output else image
    if extra < stride and forward.shape[1] == size and output:
        assert facts is not None
        assert facts.output_shape == (output, output, 1)
        layer = make("Conv2DTranspose", arguments | {"output_padding": extra})
        assert run(layer, np.ones((1, size, size, 1), "float32")).shape == (1, output, output, 1)
    else:
        assert facts is None


# --- Explicit padding ---------------------------------------------------------------------------------

PADDINGS = [2, [1, 2], [[0, 1], [2, 1]], "full"]


def amounts(padding: Any, window: tuple[int, int], dilation: int) -> list[list[int]]:
    if padding == "full":
        return [[dilation * (size - 1)] * 2 for size in window]
    height, width = [padding] * 2 if isinstance(padding, int) else padding
    return [side if isinstance(side, list) else [side, side] for side in (height, width)]


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize(("strides", "dilation"), [(1, 1), ([2, 1], 1), (1, 2)])
def test_explicit_padding_is_what_tensorflow_does_with_it(padding: Any, strides: Any, dilation: int) -> None:
    images = random_images(2, 7, 9, 3)
    layer = make(
        "Conv2D",
        {
            "filters": 4,
            "kernel_size": [3, 2],
            "strides": strides,
            "dilation_rate": dilation,
            "padding": padding,
        },
    )
    built = layer.build(scope((7, 9, 3)))
    kernel = built.weights[0]
    explicit = [[0, 0], *amounts(padding, (3, 2), dilation), [0, 0]]
    steps = strides if isinstance(strides, list) else [strides, strides]
    expected = tf.nn.conv2d(images, kernel, steps, explicit, dilations=dilation)
    np.testing.assert_allclose(built(images), expected, rtol=1e-5, atol=1e-5)
    facts = facts_of(built, (7, 9, 3))
    assert facts.output_shape == layer.output_shape((7, 9, 3)) == tuple(expected.shape[1:])
    assert [w.shape for w in layer.variables((7, 9, 3))] == [shape for _, shape, _ in facts.weights]


@pytest.mark.parametrize("padding", [1, [1, 2], [[0, 1], [2, 1]], "full"])
@pytest.mark.parametrize(("strides", "extra"), [(1, None), (2, None), (2, 1), ([1, 3], [0, 2])])
def test_explicit_padding_crops_a_transposed_convolution(padding: Any, strides: Any, extra: Any) -> None:
    """The layer with padding P is the gradient of the convolution with padding P."""
    images = random_images(2, 6, 7, 3)
    arguments = {"filters": 4, "kernel_size": [3, 4], "strides": strides, "padding": padding}
    layer = make("Conv2DTranspose", arguments | ({} if extra is None else {"output_padding": extra}))
    built = layer.build(scope((6, 7, 3)))
    output = layer.output_shape((6, 7, 3))
    steps = strides if isinstance(strides, list) else [strides, strides]
    expected = tf.nn.conv2d_transpose(
        images, built.weights[0], (2, *output), steps, [[0, 0], *amounts(padding, (3, 4), 1), [0, 0]]
    )
    np.testing.assert_allclose(built(images), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["Conv2D", "SeparableConv2D", "DepthwiseConv2D", "Conv2DTranspose"])
@pytest.mark.parametrize("padding", PADDINGS)
def test_explicit_padding_works_on_every_convolution(name: str, padding: Any) -> None:
    filters = {} if name == "DepthwiseConv2D" else {"filters": 2}
    layer = make(name, {"kernel_size": 3, "padding": padding, "trainable": False, **filters})
    shape = (8, 9, 4)
    built = layer.build(scope(shape, name="padded_layer"))
    facts = facts_of(built, shape)
    assert facts.output_shape == layer.output_shape(shape)
    assert facts.weights == tuple((w.name, w.shape, False) for w in layer.variables(shape))
    assert built.name == "padded_layer"


def test_zero_padding_is_no_padding() -> None:
    images = random_images(1, 5, 5, 2)
    plain, zero = (make("Conv2D", {"filters": 2, "kernel_size": 3, "padding": p}) for p in ("valid", 0))
    np.testing.assert_array_equal(run(plain, images), run(zero, images))


# --- What is refused ----------------------------------------------------------------------------------


def parse_error(name: str, arguments: dict[str, Any]) -> str:
    with pytest.raises(PydanticCustomError) as caught:
        make(name, arguments)
    return str((caught.value.context or {})["errors"][0]["msg"])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"groups": 3}, "must divide `filters` (8)"),
        ({"strides": 2, "dilation_rate": 2}, "do not work together"),
        ({"strides": 0}, "from 1 to 65,536"),
        ({"kernel_size": "3,3"}, "write a list: [3,3]"),
        ({"padding": -1}, "all from 0 to 65,536"),
        ({"padding": "sane"}, "did you mean `same`?"),
        ({"padding": [1, 2, 3]}, "[top, bottom]"),
        ({"filters": 0}, "`classes`"),
    ],
)
def test_a_wrong_argument_is_explained(arguments: dict[str, Any], expected: str) -> None:
    assert expected in parse_error("Conv2D", {"filters": 8, "kernel_size": 3} | arguments)


def shape_error(name: str, arguments: dict[str, Any], shape: Shape) -> ShapeError:
    with pytest.raises(ShapeError) as caught:
        make(name, arguments).output_shape(shape)
    return caught.value


def test_a_window_that_does_not_fit_names_both_sizes() -> None:
    error = shape_error("Conv2D", {"filters": 8, "kernel_size": 3}, (2, 2, 256))
    assert "a 3x3 window does not fit the 2x2 input this layer receives (here: 2x2x256)" in error.message
    assert error.argument == "kernel_size"
    dilated = shape_error("Conv2D", {"filters": 8, "kernel_size": 3, "dilation_rate": 2}, (4, 4, 1))
    assert "spans 5x5" in dilated.message
    padded = shape_error("DepthwiseConv2D", {"kernel_size": 9, "padding": 1}, (4, 5, 1))
    assert "6x7 with its padding" in padded.message


def test_other_shapes_that_do_not_fit() -> None:
    groups = shape_error("Conv2D", {"filters": 4, "kernel_size": 1, "groups": 2}, (4, 4, 3))
    assert groups.argument == "groups"
    assert "4x4x3" in groups.message
    cropped = shape_error("Conv2DTranspose", {"filters": 1, "kernel_size": 2, "padding": 2}, (2, 2, 1))
    assert cropped.argument == "padding"
    assert "needs an image" in shape_error("Conv2D", {"filters": 4, "kernel_size": 1}, (10,)).message


def test_classes_stand_for_a_number_of_filters() -> None:
    layer = make("Conv2D", {"filters": "classes", "kernel_size": 1, "groups": 3})
    assert layer.resolve(Names({"classes": 6}), (4, 4, 3)).output_shape((4, 4, 3)) == (4, 4, 6)
    with pytest.raises(ShapeError, match="filters"):
        layer.resolve(Names({"classes": 10}), (4, 4, 3)).output_shape((4, 4, 3))


# --- Published figures --------------------------------------------------------------------------------


def test_alexnets_first_layer() -> None:
    """Krizhevsky 2012: 96 filters of 11x11x3, stride 4, on 227x227: 55x55x96, 34,944 parameters."""
    layer = make("Conv2D", {"filters": 96, "kernel_size": 11, "strides": 4})
    assert layer.output_shape((227, 227, 3)) == (55, 55, 96)
    assert layer.parameters((227, 227, 3)) == (34_944, 0)
    assert layer.macs((227, 227, 3)) == 105_415_200
    assert layer.warnings((227, 227, 3)) == ()


def test_mobilenets_parameters_and_multiply_accumulates() -> None:
    """Howard et al. 2017, table 8: 569 million mult-adds; Keras' MobileNet: 4,253,864 parameters."""
    batch_norm = make("BatchNormalization")
    stack = [make("Conv2D", {"filters": 32, "kernel_size": 3, "strides": 2, "padding": "same", "use_bias": False})]
    stack.append(batch_norm)
    filters = [64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024]
    strides = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1]
    for count, stride in zip(filters, strides, strict=True):
        depthwise = {"kernel_size": 3, "strides": stride, "padding": "same", "use_bias": False}
        stack += [make("DepthwiseConv2D", depthwise), batch_norm]
        stack += [make("Conv2D", {"filters": count, "kernel_size": 1, "use_bias": False}), batch_norm]
    stack += [make("GlobalAveragePooling2D"), make("Dense", {"units": 1000})]
    shape: Shape = (224, 224, 3)
    macs = parameters = 0
    for layer in stack:
        macs += layer.macs(shape)
        parameters += sum(layer.parameters(shape))
        shape = layer.output_shape(shape)
    assert parameters == 4_253_864
    assert round(macs / 1e6) == 569


@pytest.mark.parametrize(
    ("name", "arguments", "shape"),
    [
        ("Conv2D", {"filters": 6, "kernel_size": 3, "strides": 2, "groups": 2}, (9, 8, 4)),
        ("Conv2D", {"filters": 5, "kernel_size": [2, 3], "dilation_rate": 2, "padding": "full"}, (6, 7, 3)),
        ("DepthwiseConv2D", {"kernel_size": 3, "depth_multiplier": 2, "strides": 2}, (9, 8, 4)),
        ("Conv2DTranspose", {"filters": 3, "kernel_size": 3, "strides": 2}, (5, 4, 2)),
    ],
)
def test_multiply_accumulates_are_the_products_of_a_convolution_of_ones(
    name: str, arguments: dict[str, Any], shape: Shape
) -> None:
    """With weights and inputs of 1 (padding counted) the output's sum is the number of products."""
    initializer = "depthwise_initializer" if name == "DepthwiseConv2D" else "kernel_initializer"
    layer = make(name, arguments | {"use_bias": False, initializer: "ones"})
    images = np.ones((1, *shape), "float32")
    if arguments.get("padding") == "full":
        images = np.pad(images, [(0, 0), (2, 2), (4, 4), (0, 0)], constant_values=1)
        arguments = arguments | {"padding": "valid"}
        plain = make(name, arguments | {"use_bias": False, initializer: "ones"})
        assert layer.macs(shape) == run(plain, images).sum()
    else:
        assert layer.macs(shape) == run(layer, images).sum()


def test_separable_multiply_accumulates_are_those_of_its_two_steps() -> None:
    shape = (9, 8, 4)
    separable = make("SeparableConv2D", {"filters": 5, "kernel_size": 3, "strides": 2, "depth_multiplier": 2})
    depthwise = make("DepthwiseConv2D", {"kernel_size": 3, "strides": 2, "depth_multiplier": 2})
    pointwise = make("Conv2D", {"filters": 5, "kernel_size": 1})
    assert separable.macs(shape) == depthwise.macs(shape) + pointwise.macs(depthwise.output_shape(shape))


# --- Warnings -----------------------------------------------------------------------------------------


def test_rows_that_a_stride_drops_are_named_with_the_arithmetic() -> None:
    layer = make("Conv2D", {"filters": 1, "kernel_size": 5, "strides": 2})
    (warning,) = layer.warnings((32, 32, 3))
    assert "(32 - 5 + 2*0)/2 + 1 = 14: 27/2 = 13 remainder 1, drops 1" in warning
    assert "the last 1 row and column" in warning
    height, width = layer.warnings((32, 34, 3)), layer.warnings((33, 34, 3))
    assert len(height) == 2
    assert len(width) == 1
    assert "1 column" in width[0]


@pytest.mark.parametrize("size", range(5, 15))
@pytest.mark.parametrize("stride", [1, 2, 3, 4])
@pytest.mark.parametrize("padding", ["valid", "same", 1, [[0, 1], [2, 0]]])
def test_a_warning_comes_exactly_where_pixels_do_not_matter(size: int, stride: int, padding: Any) -> None:
    """Each of W' windows, laid one after the other on the padded input, reads three rows."""
    layer = make("Conv2D", {"filters": 1, "kernel_size": 3, "strides": stride, "padding": padding})
    rows = layer.output_shape((size, size, 1))[0]
    same = max((rows - 1) * stride + 3 - size, 0) // 2
    top = {"valid": 0, "same": same}.get(padding, 1) if not isinstance(padding, list) else 0
    read = {place * stride + tap - top for place in range(rows) for tap in range(3)}
    unread = set(range(size)) - read
    named = [warning for warning in layer.warnings((size, size, 1)) if "row" in warning]
    assert bool(named) == bool(unread)
    if stride == 4 and unread:
        assert f"of {size} rows" in named[0]
        assert f"{size - len(unread)} are read" in named[0]


def test_dropped_padding_is_no_loss() -> None:
    """ResNet's first layer: the row that is left over is padding. With a row of padding below, one of two is."""
    layer = make("Conv2D", {"filters": 64, "kernel_size": 7, "strides": 2, "padding": 3})
    assert layer.warnings((224, 224, 3)) == ()
    assert layer.output_shape((224, 224, 3)) == (112, 112, 64)
    (warning,) = make("MaxPooling2D", {"pool_size": 3, "strides": 3, "padding": [[0, 1], [0, 1]]}).warnings((4, 4, 1))
    assert warning.endswith("Keras drops the last 2 rows and columns, 1 of them padding")
