"""Receptive fields by numbers against the same by every single position, and against gradients where axes move."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cnnkit.config.run import ModelConfig
from cnnkit.format.shapes import Shape, ShapeError
from cnnkit.layers.base import Names, Scope, Seeds
from cnnkit.layers.receptive_field import Pattern, View, receptive_field
from cnnkit.layers.resolved import Resolved
from cnnkit.layers.stack import StackError, Step, trace
from cnnkit.layers.unresolved import LAYER_CHOICE

from .truth import GRID

NO_BIAS = {"use_bias": False, "kernel_initializer": {"RandomUniform": {"minval": 0.5, "maxval": 1.0}}}


def steps_of(written: list[Any], shape: Shape) -> list[Step]:
    return trace([LAYER_CHOICE.validate(one) for one in written], shape, Names({"classes": 10}))


def view_of(steps: list[Step]) -> View:
    view = View.of(steps[0].input_shape)
    for step in steps:
        view = view.behind(step.layer, step.input_shape)
    return view


Cache = dict[tuple[int, int], frozenset[int]]


def positions_seen(steps: Sequence[Step], position: int, axis: int, cache: Cache) -> frozenset[int]:
    """The input positions behind one output position, found position by position; both axes keep their places."""
    if not steps:
        return frozenset({position})
    *before, step = steps
    key = (id(step), position)
    if key not in cache:
        if isinstance(step.layer, Resolved):
            middle = [
                positions_seen(
                    part.steps, 0 if part.output_shape(step.input_shape)[axis] == 1 else position, axis, cache
                )
                for part in step.layer.parts
            ]
            places = frozenset().union(*middle)
        else:
            low, high = step.layer.input_range(position, position, axis, step.input_shape)
            places = frozenset(range(low, high + 1))
        cache[key] = frozenset().union(*(positions_seen(before, place, axis, cache) for place in places))
    return cache[key]


SIZES = st.integers(1, 3)
SIMPLE = st.one_of(
    st.builds(
        lambda size, stride, padding: {
            "Conv2D": {"filters": 2, "kernel_size": size, "strides": stride, "padding": padding}
        },
        st.integers(1, 4),
        SIZES,
        st.sampled_from(["valid", "same", 1, [[0, 2], [1, 0]]]),
    ),
    st.builds(lambda size: {"MaxPooling2D": {"pool_size": size, "padding": "same"}}, SIZES),
    st.builds(
        lambda size, stride: {"Conv2DTranspose": {"filters": 2, "kernel_size": size, "strides": stride}},
        st.integers(1, 4),
        st.integers(1, 5),
    ),
    st.builds(
        lambda size, kind: {"UpSampling2D": {"size": size, "interpolation": kind}},
        st.integers(1, 3),
        st.sampled_from(["nearest", "bilinear", "bicubic"]),
    ),
    st.builds(
        lambda size, kind: {"Resizing": {"height": size, "width": size, "interpolation": kind}},
        st.integers(9, 24),
        st.sampled_from(["nearest", "bilinear", "lanczos3"]),
    ),
    st.just({"ZeroPadding2D": [[2, 0], [0, 1]]}),
    st.just({"Cropping2D": [[1, 0], [0, 2]]}),
    st.just({"Residual": [{"Conv2D": {"filters": 2, "kernel_size": 3, "padding": "same"}}]}),
    st.just(
        {
            "Branches": {
                "paths": [[{"Conv2D": {"filters": 2, "kernel_size": 5, "padding": "same"}}], [{"MaxPooling2D": 99}]],
                "merge": "multiply",
            }
        }
    ),
)


@settings(GRID, max_examples=40)
@given(st.lists(SIMPLE, min_size=1, max_size=4))
def test_patterns_are_what_single_positions_see(written: list[Any]) -> None:
    """The composed pattern of every position, near the edges too, is the hull of what it sees position by position."""
    try:
        steps = steps_of(written, (15, 12, 2))
    except StackError:
        assume(False)
    view = view_of(steps)
    for axis in (0, 1):
        cache: Cache = {}
        for position in range(min(view.output_size(axis), 9)):
            truth = positions_seen(steps, position, axis, cache)
            found = [one for pattern in view.reach(axis) if (one := pattern.at(position))[0] <= one[1]]
            assert found or not truth
            if truth:
                low, high = min(low for low, _ in found), max(high for _, high in found)
                if all(isinstance(pattern, Pattern) for pattern in view.reach(axis)):
                    assert (low, high) == (min(truth), max(truth))
                assert low <= min(truth)
                assert high >= max(truth)
                assert view.trace(axis, position, position) == (min(truth), max(truth))


def gradient_extent(steps: list[Step], shape: Shape) -> tuple[int, int]:
    """Height and width of what the central value of the output depends on in the image."""
    seeds = Seeds(0)
    layers = [step.layer.build(Scope(f"layer_{place}", step.input_shape, seeds)) for place, step in enumerate(steps)]
    model = keras.Sequential([keras.Input(shape), *layers])
    image = tf.constant(np.random.default_rng(0).uniform(1, 2, (1, *shape)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(image)
        output = model(image)
        value = output[(0, *(size // 2 for size in output.shape[1:]))]
    found = np.abs(tape.gradient(value, image)[0]).max(axis=-1) > 1e-9
    rows, columns = np.flatnonzero(found.any(axis=1)), np.flatnonzero(found.any(axis=0))
    return int(rows[-1] - rows[0] + 1), int(columns[-1] - columns[0] + 1)


def conv(filters: int, size: Any, **more: Any) -> dict[str, Any]:
    return {"Conv2D": {"filters": filters, "kernel_size": size, "padding": "same", **NO_BIAS, **more}}


DEPTHWISE = {"DepthwiseConv2D": {"kernel_size": 3, "padding": "same", "use_bias": False}}


@pytest.mark.parametrize(
    "written",
    [
        # A crop of channels; channels shuffled by groups; rows and columns exchanged.
        [conv(8, 3), {"Permute": [3, 1, 2]}, {"Cropping2D": [[4, 0], [0, 0]]}, {"Permute": [2, 3, 1]}],
        [conv(8, 3), {"Reshape": [12, 14, 2, 4]}, {"Permute": [1, 2, 4, 3]}, {"Reshape": [12, 14, 8]}, DEPTHWISE],
        [conv(4, [3, 1]), {"Permute": [2, 1, 3]}, conv(4, [5, 1]), {"Permute": [2, 1, 3]}],
        # Rows that a convolution takes for channels, or a pooling for columns.
        [conv(4, 3), {"Permute": [3, 2, 1]}, conv(4, 1)],
        [conv(4, 3), {"Permute": [3, 1, 2]}, {"AveragePooling2D": [1, 2]}],
        [conv(4, 3), {"Permute": [3, 1, 2]}, {"GlobalAveragePooling2D": {}}],
        [conv(4, 3), {"LayerNormalization": {"axis": 2}}],
        [conv(4, 3), {"Permute": [3, 1, 2]}, {"Activation": "softmax"}],
        [conv(4, 3), {"Permute": [1, 3, 2]}, {"Dense": {"units": 5}}, {"Permute": [1, 3, 2]}],
    ],
)
def test_a_field_follows_the_axes_wherever_they_lie(written: list[Any]) -> None:
    shape = (12, 14, 3)
    steps = steps_of(written, shape)
    assert receptive_field([(step.layer, step.input_shape) for step in steps]) == gradient_extent(steps, shape)


def test_an_axis_that_is_mixed_with_another_counts_as_a_whole() -> None:
    """Columns and channels in one axis: the field of the rows stays exact, that of the columns is an upper bound."""
    steps = steps_of([conv(4, 3), {"Reshape": [12, 56, 1]}, conv(2, 3)], (12, 14, 3))
    assert receptive_field([(step.layer, step.input_shape) for step in steps]) == (5, 14)
    assert gradient_extent(steps, (12, 14, 3)) == (5, 4)


@pytest.mark.parametrize(
    ("written", "most"),
    [
        ([{"UpSampling2D": {"size": 300, "interpolation": "bilinear"}}], (3, 3)),
        ([{"Resizing": {"height": 331, "width": 331}}, conv(1, 3)], (5, 5)),
        ([{"Conv2DTranspose": {"filters": 1, "kernel_size": 700, "strides": 301}}], (4, 4)),
    ],
)
def test_a_pattern_too_long_to_be_kept_is_bounded(written: list[Any], most: tuple[int, int]) -> None:
    steps = steps_of(written, (21, 23, 1))
    caches: list[Cache] = [{}, {}]
    truth = [max(len(positions_seen(steps, p, axis, caches[axis])) for p in range(0, 330)) for axis in (0, 1)]
    found = receptive_field([(step.layer, step.input_shape) for step in steps])
    for ours, theirs, limit in zip(found, truth, most, strict=True):
        assert theirs <= ours <= limit


@pytest.mark.parametrize(
    "layers",
    [
        [conv(3, 3), "BatchNormalization", "ReLU"],
        [{"UpSampling2D": 2}, {"MaxPooling2D": 2}, {"Conv2D": {"filters": 3, "kernel_size": 3, "padding": "same"}}],
        [{"GlobalAveragePooling2D": {"keepdims": True}}, "ReLU", "ReLU"],
        [{"Branches": {"paths": [["ReLU"], ["Softmax"]], "merge": "add"}}],
        [{"Resizing": {"height": 31, "width": 33}}, {"Resizing": {"height": 32, "width": 32}}, "ReLU"],
    ],
)
def test_fields_of_hundreds_of_layers_cost_little(layers: list[Any]) -> None:
    """The fields behind each layer: a second composition of all before it would take minutes."""
    steps = steps_of([{"Repeat": {"times": 100, "layers": layers}}], (32, 32, 3))
    start = time.process_time()
    view = View.of((32, 32, 3))
    for step in steps[0].layer.parts[0].steps:
        view = view.behind(step.layer, step.input_shape)
        view.field()
    assert time.process_time() - start < 1


def test_an_image_of_no_axis_is_no_error() -> None:
    with pytest.raises(ShapeError):
        LAYER_CHOICE.validate("GlobalAveragePooling2D").output_shape((3,))
    assert receptive_field([]) == (1, 1)


def test_strides_and_resizes_beyond_any_image_stay_numbers() -> None:
    resized = [
        {"ZeroPadding2D": 50},
        {"Cropping2D": [[1, 0], [0, 0]]},
        {"Resizing": {"height": 143, "width": 31}},
    ]
    model = ModelConfig.model_validate({"layers": [{"Repeat": {"times": 600, "layers": resized}}]})
    (step,) = model.trace((4, 4, 1), values={"classes": 2})
    rows, columns = receptive_field([(step.layer, step.input_shape)])
    assert rows > 10**9
    assert columns > 4
