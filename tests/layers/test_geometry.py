"""The arithmetic of windows by its definition, and receptive fields by the gradient of real networks."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cnnkit.format.shapes import Shape
from cnnkit.layers import geometry
from cnnkit.layers.base import Layer, Scope, Seeds
from cnnkit.layers.receptive_field import receptive_field

from .truth import GRID, make

Stack = list[tuple[Layer, Shape]]


# --- Sizes --------------------------------------------------------------------------------------------


@settings(GRID, max_examples=300)
@given(
    size=st.integers(1, 40),
    window=st.integers(1, 7),
    stride=st.integers(1, 5),
    padding=st.tuples(st.integers(0, 4), st.integers(0, 4)),
    dilation=st.integers(1, 3),
)
def test_output_size_counts_the_windows_that_fit(
    size: int, window: int, stride: int, padding: tuple[int, int], dilation: int
) -> None:
    padded = size + sum(padding)
    span = len(range(0, window * dilation, dilation)) and max(range(0, window * dilation, dilation)) + 1
    starts = [start for start in range(0, padded, stride) if start + span <= padded]
    if starts:
        assert geometry.output_size(size, window, stride, padding, dilation) == len(starts)
        assert geometry.dropped(size, window, stride, padding, dilation) == padded - (starts[-1] + span)
        read = {place for start in starts for place in range(start, start + span, dilation)}
        image = range(padding[0], padding[0] + size)
        assert geometry.unread(size, window, stride, padding, dilation) == len([p for p in image if p not in read])
        residues = {tap * dilation % stride for tap in range(window)}
        assert geometry.passes_over(window, stride, dilation) == (len(residues) < stride)
    else:
        assert geometry.output_size(size, window, stride, padding, dilation) < 1


@settings(GRID, max_examples=300)
@given(st.integers(1, 40), st.integers(1, 7), st.integers(1, 5))
def test_same_padding_is_tensorflows(size: int, window: int, stride: int) -> None:
    """A kernel that is 1 at one end shows which rows `same` puts before and after the image."""
    image = np.ones((1, size, 1, 1), "float32")
    before, after = geometry.same_padding(size, window, stride)
    padded = np.pad(image, [(0, 0), (before, after), (0, 0), (0, 0)])
    for tap in {0, window - 1}:
        kernel = np.zeros((window, 1, 1, 1), "float32")
        kernel[tap] = 1
        expected = tf.nn.conv2d(image, kernel, (stride, 1), "SAME")
        np.testing.assert_array_equal(tf.nn.conv2d(padded, kernel, (stride, 1), "VALID"), expected)
        assert geometry.same_output_size(size, stride) == expected.shape[1]


def test_the_formulas_of_the_lectures() -> None:
    """CS231n: 227x227x3, 96 filters 11x11, stride 4: 55x55x96 and 34,944 parameters; 5x5 pad 2 keeps 32."""
    assert geometry.output_size(227, 11, 4) == 55
    assert geometry.convolution_parameters(96, (11, 11), 3) == 34_944
    assert geometry.output_size(32, 5, 1, (2, 2)) == 32
    assert geometry.convolution_parameters(10, (5, 5), 3) == 760
    assert geometry.convolution_parameters(256, (5, 5), 96, groups=2) == 307_456
    assert geometry.full_padding(3, dilation=2) == (4, 4)


def test_the_arithmetic_in_words() -> None:
    assert geometry.size_arithmetic(32, 5, 3) == "(32 - 5 + 2*0)/3 + 1 = 10: 27/3 = 9, drops 0"
    assert geometry.size_arithmetic(7, 3, 3) == "(7 - 3 + 2*0)/3 + 1 = 2: 4/3 = 1 remainder 1, drops 1"
    assert geometry.size_arithmetic(8, 3, 2, (1, 0), 2) == "(8 - 5 + 1 + 0)/2 + 1 = 3: 4/2 = 2, drops 0"


# --- Receptive fields ---------------------------------------------------------------------------------


def stacked(specs: list[tuple[str, Any]], shape: Shape) -> Stack:
    stack = []
    for name, arguments in specs:
        layer = make(name, arguments)
        stack.append((layer, shape))
        shape = layer.output_shape(shape)
    return stack


def reached(stack: Stack, positions: int, jit: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """For central output positions on a diagonal, which input rows and which columns have a gradient.

    Two arrays of booleans, (positions, height) and (positions, width).
    """
    seeds = Seeds(0)
    layers = [layer.build(Scope(f"layer_{i}", shape, seeds)) for i, (layer, shape) in enumerate(stack)]
    model = keras.Sequential([keras.Input(stack[0][1]), *layers])
    image = np.random.default_rng(0).uniform(1, 2, (1, *stack[0][1])).astype("float32")
    # The same image once per output position, so that one gradient answers for all of them.
    images = tf.constant(np.repeat(image, positions, axis=0))

    def gradient() -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(images)
            output = model(images)
            if len(output.shape) == 2:
                output = output[:, None, None, :]
            rows, columns = output.shape[1:3]
            shifts = [i - positions // 2 for i in range(positions)]
            places = [
                (i, min(max(rows // 2 + shift, 0), rows - 1), min(max(columns // 2 + shift, 0), columns - 1))
                for i, shift in enumerate(shifts)
            ]
            value = tf.reduce_sum(tf.gather_nd(output, places))
        return tape.gradient(value, images)

    # Without XLA the layers run one by one: tracing each network, to run it once, would take longer.
    computed = tf.function(gradient, jit_compile=True) if jit else gradient
    found = np.abs(np.asarray(computed())).max(axis=-1)
    found = found > 1e-6 * found.max()
    return found.any(axis=2), found.any(axis=1)


def seen(stack: Stack, positions: int, jit: bool = False) -> tuple[int, int]:
    """Height and width of the input that has a gradient, the largest over central output positions."""
    rows, columns = reached(stack, positions, jit)
    return extent(rows), extent(columns)


def extent(found: np.ndarray) -> int:
    """The largest distance from the first to the last True of any row, both counted."""
    places = [np.flatnonzero(row) for row in found]
    return max(int(place[-1] - place[0] + 1) if place.size else 0 for place in places)


POSITIVE = {"RandomUniform": {"minval": 0.5, "maxval": 1.0}}
PADDING = st.sampled_from(["valid", "same", 1, [[0, 1], [2, 0]], "full"])


def pair(high: int, low: int = 1) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(low, high), min_size=2, max_size=2)


@st.composite
def layer_specs(draw: st.DrawFn, enlarge: bool) -> tuple[str, Any]:
    names = ["Conv2D", "DepthwiseConv2D", "AveragePooling2D", "ZeroPadding2D", "Cropping2D", "Permute"]
    names += ["Conv2DTranspose", "UpSampling2D"] if enlarge else ["Conv2D"]
    name = draw(st.sampled_from(names))
    if name == "AveragePooling2D":
        return name, {
            "pool_size": draw(pair(3, 2)),
            "strides": draw(pair(2)),
            "padding": draw(st.sampled_from(["valid", "same", 1])),
        }
    if name == "ZeroPadding2D":
        return name, draw(st.lists(pair(2, 0), min_size=2, max_size=2))
    if name == "Cropping2D":
        return name, draw(st.lists(pair(2, 0), min_size=2, max_size=2))
    if name == "Permute":
        return name, [2, 1, 3]
    if name == "UpSampling2D":
        return name, {
            "size": draw(pair(3)),
            "interpolation": draw(st.sampled_from(["nearest", "bilinear", "bicubic"])),
        }
    window = draw(pair(4))
    arguments: dict[str, Any] = {"kernel_size": window, "use_bias": False, "padding": draw(PADDING)}
    if name == "Conv2DTranspose":
        # A window at least as large as the stride, so that every output position sees something.
        arguments["strides"] = [draw(st.integers(1, min(size, 3))) for size in window]
        if arguments["padding"] == "same" and draw(st.booleans()):
            arguments["output_padding"] = [stride - 1 for stride in arguments["strides"]]
            assume(all(stride > 1 or size % 2 for stride, size in zip(arguments["strides"], window, strict=True)))
        return name, arguments | {"filters": 1, "kernel_initializer": POSITIVE}
    if draw(st.booleans()):
        arguments["dilation_rate"] = draw(pair(3))
    else:
        strides = draw(st.integers(1, 2))
        arguments["strides"] = [strides, strides] if name == "DepthwiseConv2D" else [strides, draw(st.integers(1, 2))]
    if name == "DepthwiseConv2D":
        return name, arguments | {"depthwise_initializer": POSITIVE}
    return name, arguments | {"filters": 1, "kernel_initializer": POSITIVE}


#: The layers whose offsets are the hardest to get right, one by one.
OFFSETS: list[tuple[str, Any]] = [
    (
        "Conv2DTranspose",
        {"filters": 1, "kernel_size": [kernel, 3], "strides": [stride, 2], "padding": padding},
    )
    for kernel, stride in [(2, 1), (3, 1), (4, 1), (3, 2), (4, 2), (5, 2), (5, 3), (6, 3)]
    for padding in ("valid", "same", 1, "full")
]
OFFSETS += [
    (
        "Conv2DTranspose",
        {"filters": 1, "kernel_size": size, "strides": 2, "padding": padding, "output_padding": 1},
    )
    for size in (3, 4, 5)
    for padding in ("valid", "same", [[1, 0], [0, 1]])
]
OFFSETS += [
    ("Resizing", {"height": height, "width": width, "interpolation": interpolation, "antialias": antialias})
    for height, width in [(32, 64), (48, 75)]
    for interpolation in ("nearest", "bilinear", "lanczos3")
    for antialias in (False, True)
]
OFFSETS += [
    ("Resizing", {"height": height, "width": width, aspect: True, "interpolation": interpolation})
    for height, width in [(20, 34), (34, 20), (50, 41)]
    for aspect in ("crop_to_aspect_ratio", "pad_to_aspect_ratio")
    for interpolation in ("bilinear", "bicubic")
]


def check_input_range(name: str, arguments: Any) -> None:
    """The input range of single output positions is where their gradient is."""
    stack = stacked([(name, arguments)], (40, 37, 1))
    layer, shape = stack[0]
    output = layer.output_shape(shape)
    positions = 6
    for axis, found in enumerate(reached(stack, positions)):
        for row, shift in zip(found, range(-(positions // 2), positions), strict=False):
            position = output[axis] // 2 + shift
            places = np.flatnonzero(row)
            assert layer.input_range(position, position, axis, shape) == (places[0], places[-1])


@pytest.mark.parametrize(("name", "arguments"), OFFSETS)
def test_the_offset_of_an_input_range(name: str, arguments: Any) -> None:
    if name == "Conv2DTranspose":
        arguments = arguments | {"kernel_initializer": POSITIVE}
    check_input_range(name, arguments)


@settings(GRID, max_examples=60)
@given(layer_specs(enlarge=True))
def test_an_output_position_sees_exactly_its_input_range(spec: tuple[str, Any]) -> None:
    assume(spec[0] != "Permute")
    check_input_range(*spec)


@settings(GRID, max_examples=60)
@given(st.lists(layer_specs(enlarge=False), min_size=1, max_size=5))
def test_the_receptive_field_is_where_the_gradient_is(specs: list[tuple[str, Any]]) -> None:
    stack = stacked(specs, (96, 100, 1))
    field = receptive_field(stack)
    assume(max(field) <= 48)
    assert field == seen(stack, positions=1)


@settings(GRID, max_examples=20)
@given(
    st.lists(layer_specs(enlarge=False), max_size=2),
    layer_specs(enlarge=True),
    st.lists(layer_specs(enlarge=False), max_size=2),
)
def test_the_receptive_field_behind_enlarging_layers(
    before: list[tuple[str, Any]], enlarging: tuple[str, Any], after: list[tuple[str, Any]]
) -> None:
    stack = stacked([*before, enlarging, *after], (64, 60, 1))
    assume(any(name in ("Conv2DTranspose", "UpSampling2D") for name, _ in [*before, enlarging, *after]))
    field = receptive_field(stack)
    assume(max(field) <= 28 and max(stack[-1][0].output_shape(stack[-1][1])) < 200)
    assert field == seen(stack, positions=24)


@pytest.mark.parametrize("padding", ["valid", "same", 1])
def test_the_receptive_field_of_a_dilated_transposed_convolution(padding: Any) -> None:
    """Without XLA it does not run on every CPU."""
    arguments = {
        "filters": 1,
        "kernel_size": 3,
        "dilation_rate": 2,
        "padding": padding,
        "kernel_initializer": "ones",
    }
    stack = stacked([("Conv2DTranspose", arguments)], (20, 20, 1))
    assert receptive_field(stack) == (5, 5) == seen(stack, positions=3, jit=True)


def test_an_output_that_sees_nothing_does_not_count() -> None:
    """Stride 3 with a 1x1 window: two of three positions see no input, the third one position."""
    arguments = {"filters": 1, "kernel_size": 1, "strides": 3, "kernel_initializer": "ones"}
    stack = stacked([("Conv2DTranspose", arguments)], (9, 9, 1))
    assert receptive_field(stack) == (1, 1) == seen(stack, positions=6)


@pytest.mark.parametrize(
    "last",
    [
        [("Flatten", None), ("Dense", {"units": 1, "kernel_initializer": "ones"})],
        [("GlobalAveragePooling2D", None)],
        [
            ("Conv2D", {"filters": 1, "kernel_size": 3, "kernel_initializer": POSITIVE}),
            ("Flatten", None),
            ("Dense", {"units": 1, "kernel_initializer": POSITIVE}),
        ],
        [("GroupNormalization", {"groups": 1})],
        [("LayerNormalization", {"axis": [1, 2, 3]})],
    ],
)
def test_layers_that_see_everything_give_the_whole_input(last: list[tuple[str, Any]]) -> None:
    first = ("Conv2D", {"filters": 1, "kernel_size": 3, "padding": "same", "kernel_initializer": POSITIVE})
    stack = stacked([first, *last], (9, 7, 1))
    assert receptive_field(stack) == (9, 7) == seen(stack, positions=1)


def test_pixels_that_are_cropped_or_dropped_are_not_seen_by_anything() -> None:
    """A 2x2/2 pooling of 9x7 leaves out the last row and column, and so does all that follows."""
    stack = stacked(
        [("AveragePooling2D", 2), ("Flatten", None), ("Dense", {"units": 1, "kernel_initializer": "ones"})],
        (9, 7, 1),
    )
    assert receptive_field(stack) == (8, 6) == seen(stack, positions=1)


def test_channels_first_and_permutations() -> None:
    convolution = {"filters": 1, "kernel_size": [3, 1], "padding": "same", "data_format": "channels_first"}
    stack = stacked([("Permute", [3, 1, 2]), ("Conv2D", convolution), ("Conv2D", convolution)], (12, 10, 3))
    assert receptive_field(stack) == (5, 1)
    turned = stacked([("Permute", [2, 1, 3]), ("Conv2D", {"filters": 1, "kernel_size": [3, 1]})], (12, 10, 3))
    assert receptive_field(turned) == (1, 3) == tuple(reversed(seen(turned[1:], positions=1)))
    whole = stacked([("Permute", [3, 1, 2]), ("Conv2D", convolution), ("Flatten", None)], (12, 10, 3))
    assert receptive_field(whole) == (12, 10)


def test_an_empty_stack_sees_one_pixel() -> None:
    assert receptive_field([]) == (1, 1)


def test_vgg_16_sees_212_pixels_after_its_last_pooling() -> None:
    """Araujo, Norris and Sim 2019: VGG-16's receptive field is 212."""
    specs: list[tuple[str, Any]] = []
    for convolutions in (2, 2, 3, 3, 3):
        specs += [("Conv2D", {"filters": 1, "kernel_size": 3, "padding": "same"})] * convolutions
        specs.append(("MaxPooling2D", 2))
    assert receptive_field(stacked(specs, (224, 224, 3))) == (212, 212)


def test_mobilenet_sees_315_pixels_before_its_pooling() -> None:
    """Araujo, Norris and Sim 2019: MobileNet's receptive field is 315, more than its 224 pixels."""
    specs: list[tuple[str, Any]] = [("Conv2D", {"filters": 1, "kernel_size": 3, "strides": 2, "padding": "same"})]
    for stride in (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1):
        specs.append(("SeparableConv2D", {"filters": 1, "kernel_size": 3, "strides": stride, "padding": "same"}))
    assert receptive_field(stacked(specs, (224, 224, 3))) == (315, 315)
