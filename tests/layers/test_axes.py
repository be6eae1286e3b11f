"""Layers of one axis and of three against Keras' own: shapes, weights, operations, padding and receptive fields."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from cnnkit.format.shapes import Shape, ShapeError
from cnnkit.layers.base import Names, Scope, Seeds
from cnnkit.layers.receptive_field import receptive_field
from cnnkit.layers.stack import StackError, Step, trace
from cnnkit.layers.unresolved import LAYER_CHOICE

from .truth import GRID, check_agreement, data_formats, facts_of, make, optional, random_images, run, scope

FEW = settings(GRID, max_examples=15)


def sizes(axes: int, low: int, high: int) -> st.SearchStrategy[Any]:
    """One number for all axes, or one for each."""
    number = st.integers(low, high)
    return st.one_of(number, st.lists(number, min_size=axes, max_size=axes))


def sides(axes: int) -> st.SearchStrategy[Any]:
    two = st.lists(st.integers(0, 2), min_size=2, max_size=2)
    each = two if axes == 1 else st.lists(two, min_size=axes, max_size=axes)
    return st.one_of(st.integers(0, 2), each)


@st.composite
def shapes(draw: st.DrawFn, axes: int, data_format: str | None = None) -> Shape:
    spatial = [draw(st.integers(1, 14 if axes == 1 else 6)) for _ in range(axes)]
    channels = draw(st.integers(1, 6))
    return (channels, *spatial) if data_format == "channels_first" else (*spatial, channels)


@st.composite
def cases(draw: st.DrawFn, names: dict[str, int]) -> tuple[str, dict[str, Any], Shape]:
    """One of the layers, each with its number of axes, with arguments for it and a shape."""
    name = draw(st.sampled_from(sorted(names)))
    axes = names[name]
    data_format = draw(data_formats)
    arguments: dict[str, Any] = {"data_format": data_format}
    windowed = {"strides": sizes(axes, 1, 3), "padding": st.sampled_from(["valid", "same"])}
    if "Conv" in name:
        arguments["kernel_size"] = draw(sizes(axes, 1, 4))
        if "Depthwise" not in name:
            arguments["filters"] = draw(st.integers(1, 6))
        if "Depthwise" in name or "Separable" in name:
            windowed["depth_multiplier"] = st.integers(1, 3)
        elif "Transpose" not in name:
            windowed["groups"] = st.integers(1, 3)
        windowed["dilation_rate"] = sizes(axes, 1, 2)
        windowed["use_bias"] = st.booleans()
    else:
        arguments["pool_size"] = draw(sizes(axes, 1, 4))
    return name, arguments | draw(optional(**windowed)), draw(shapes(axes, data_format))


WINDOWED = {
    **dict.fromkeys(["Conv1D", "DepthwiseConv1D", "SeparableConv1D", "Conv1DTranspose"], 1),
    **dict.fromkeys(["MaxPooling1D", "AveragePooling1D"], 1),
    **dict.fromkeys(["Conv3D", "Conv3DTranspose", "MaxPooling3D", "AveragePooling3D"], 3),
}


@settings(GRID, max_examples=40)
@given(cases(WINDOWED))
def test_windowed_layers_agree_with_keras(case: tuple[str, dict[str, Any], Shape]) -> None:
    name, arguments, shape = case
    if name == "DepthwiseConv1D" and isinstance(arguments.get("dilation_rate"), list):
        # Keras builds it, and cannot say then what shape it has.
        arguments["dilation_rate"] = arguments["dilation_rate"][0]
    check_agreement(name, arguments, shape)


@FEW
@given(st.sampled_from([1, 3]), st.sampled_from(["ZeroPadding", "Cropping"]), st.data())
def test_padding_and_cropping_agree_with_keras(axes: int, kind: str, data: st.DataObject) -> None:
    name, data_format = f"{kind}{axes}D", data.draw(data_formats)
    known = {} if name == "Cropping1D" else {"data_format": data_format}
    argument = "padding" if kind == "ZeroPadding" else "cropping"
    shape = data.draw(shapes(axes, known.get("data_format")))
    check_agreement(name, {argument: data.draw(sides(axes)), **known}, shape)


@FEW
@given(st.sampled_from([1, 3]), st.sampled_from(["UpSampling", "GlobalMaxPooling", "GlobalAveragePooling"]), st.data())
def test_upsampling_and_global_pooling_agree_with_keras(axes: int, kind: str, data: st.DataObject) -> None:
    name, data_format = f"{kind}{axes}D", data.draw(data_formats)
    arguments: dict[str, Any] = {} if name == "UpSampling1D" else {"data_format": data_format}
    if kind == "UpSampling":
        arguments["size"] = data.draw(st.integers(1, 3) if axes == 1 else sizes(axes, 1, 3))
    else:
        arguments["keepdims"] = data.draw(st.booleans())
    check_agreement(name, arguments, data.draw(shapes(axes, arguments.get("data_format"))))


@FEW
@given(st.integers(1, 50), st.integers(1, 8), st.booleans(), shapes(1).map(lambda shape: shape[:1]))
def test_embedding_agrees_with_keras(words: int, length: int, mask_zero: bool, shape: Shape) -> None:
    check_agreement("Embedding", {"input_dim": words, "output_dim": length, "mask_zero": mask_zero}, shape)


# --- Explicit padding ---------------------------------------------------------------------------------

AMOUNTS = {1: [2, [0, 1]], 3: [1, [1, 0, 2], [[0, 1], [2, 0], [1, 1]]]}


def pairs(padding: Any, axes: int) -> list[list[int]]:
    if isinstance(padding, int):
        return [[padding, padding]] * axes
    if axes == 1:
        return [padding]
    return [one if isinstance(one, list) else [one, one] for one in padding]


@pytest.mark.parametrize(("axes", "padding"), [(axes, one) for axes, some in AMOUNTS.items() for one in some])
@pytest.mark.parametrize("kind", ["Conv", "MaxPooling", "AveragePooling"])
def test_explicit_padding_is_what_a_padded_input_gives(kind: str, axes: int, padding: Any) -> None:
    inputs = random_images(2, *((9,) if axes == 1 else (5, 6, 7)), 3)
    arguments = {"filters": 4, "kernel_size": 3} if kind == "Conv" else {"pool_size": 3, "strides": 2}
    name = f"{kind}{axes}D"
    layer, plain = make(name, arguments | {"padding": padding}), make(name, arguments)
    border = -np.inf if kind == "MaxPooling" else 0.0
    padded = np.pad(inputs, [(0, 0), *pairs(padding, axes), (0, 0)], constant_values=border)
    result = run(layer, inputs)
    np.testing.assert_allclose(result, run(plain, padded), rtol=1e-5, atol=1e-5)
    assert result.shape[1:] == layer.output_shape(inputs.shape[1:])


@pytest.mark.parametrize(("axes", "padding"), [(1, 1), (1, [0, 1]), (3, [[0, 1], [1, 0], [1, 1]])])
def test_explicit_padding_crops_a_transposed_convolution(axes: int, padding: Any) -> None:
    inputs = random_images(2, *((5,) if axes == 1 else (3, 4, 3)), 2)
    name, arguments = f"Conv{axes}DTranspose", {"filters": 3, "kernel_size": 3, "strides": 2}
    cut = tuple(slice(before, size) for before, size in ((a, -b or None) for a, b in pairs(padding, axes)))
    whole = run(make(name, arguments), inputs)
    np.testing.assert_allclose(run(make(name, arguments | {"padding": padding}), inputs), whole[:, *cut], rtol=1e-5)


# --- Operations ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments", "shape"),
    [
        ("Conv1D", {"filters": 6, "kernel_size": 3, "strides": 2, "groups": 2}, (9, 4)),
        ("DepthwiseConv1D", {"kernel_size": 3, "depth_multiplier": 2}, (9, 4)),
        ("Conv1DTranspose", {"filters": 3, "kernel_size": 3, "strides": 2}, (5, 2)),
        ("Conv3D", {"filters": 6, "kernel_size": [3, 2, 1], "strides": 2}, (5, 6, 4, 3)),
        ("Conv3DTranspose", {"filters": 3, "kernel_size": 3, "strides": 2}, (3, 4, 2, 2)),
    ],
)
def test_multiply_accumulates_are_the_products_of_a_convolution_of_ones(
    name: str, arguments: dict[str, Any], shape: Shape
) -> None:
    """With weights and inputs of 1 the output's sum is the number of products."""
    initializer = "depthwise_initializer" if "Depthwise" in name else "kernel_initializer"
    layer = make(name, arguments | {"use_bias": False, initializer: "ones"})
    assert layer.macs(shape) == run(layer, np.ones((1, *shape), "float32")).sum()


# --- Receptive fields ---------------------------------------------------------------------------------


def steps_of(written: list[Any], shape: Shape) -> list[Step]:
    return trace([LAYER_CHOICE.validate(one) for one in written], shape, Names({"classes": 10}))


def extent_by_gradient(steps: list[Step], shape: Shape) -> tuple[int, ...]:
    """What the central value of the output depends on, along each spatial axis of the input."""
    seeds = Seeds(0)
    layers = [step.layer.build(Scope(f"layer_{place}", step.input_shape, seeds)) for place, step in enumerate(steps)]
    model = keras.Sequential([keras.Input(shape), *layers])
    inputs = tf.constant(np.random.default_rng(0).uniform(1, 2, (1, *shape)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        output = model(inputs)
        value = output[(0, *(size // 2 for size in output.shape[1:]))]
    seen = np.abs(tape.gradient(value, inputs)[0]).max(axis=-1) > 1e-9
    places = np.nonzero(seen)
    return tuple(int(one.max() - one.min() + 1) for one in places)


POSITIVE = {"use_bias": False, "kernel_initializer": {"RandomUniform": {"minval": 0.5, "maxval": 1.0}}}


@st.composite
def stacks(draw: st.DrawFn) -> tuple[list[Any], Shape]:
    axes = draw(st.sampled_from([1, 3]))

    def conv(size: Any, stride: Any, padding: str) -> Any:
        arguments = {"filters": 2, "kernel_size": size, "strides": stride, "padding": padding, **POSITIVE}
        return {f"Conv{axes}D": arguments}

    paddings = st.sampled_from(["valid", "same"])
    layer = st.one_of(
        st.builds(conv, sizes(axes, 1, 3), sizes(axes, 1, 2), paddings),
        st.builds(lambda size: {f"AveragePooling{axes}D": {"pool_size": size}}, sizes(axes, 1, 2)),
        st.just({f"UpSampling{axes}D": 2}),
        st.just({f"Cropping{axes}D": 1}),
        st.just({"Residual": [conv(3, 1, "same")]}),
    )
    return draw(st.lists(layer, min_size=1, max_size=3)), (25, 2) if axes == 1 else (11, 12, 13, 2)


@settings(GRID, max_examples=12)
@given(stacks())
def test_a_field_is_one_number_for_each_axis_and_what_the_gradient_reaches(case: tuple[list[Any], Shape]) -> None:
    written, shape = case
    try:
        steps = steps_of(written, shape)
    except StackError:
        assume(False)
    field = receptive_field([(step.layer, step.input_shape) for step in steps])
    seen = extent_by_gradient(steps, shape)
    assert len(field) == len(seen) == len(shape) - 1
    # Positions differ after an enlargement, and at the edges; the largest central one counts.
    assert all(theirs <= ours for ours, theirs in zip(field, seen, strict=True))
    if not any("UpSampling" in str(one) for one in written) and all(size > 3 for size in steps[-1].output_shape[:-1]):
        assert field == tuple(min(ours, size) for ours, size in zip(field, shape, strict=False)) == seen


def test_the_field_of_a_text_counts_its_words() -> None:
    embedding = {"Embedding": {"input_dim": 50, "output_dim": 8}}
    steps = steps_of([embedding, {"Conv1D": {"filters": 4, "kernel_size": 5}}, {"MaxPooling1D": 2}], (64,))
    assert receptive_field([(step.layer, step.input_shape) for step in steps]) == (6,)
    whole = steps_of([embedding, "GlobalMaxPooling1D"], (64,))
    assert receptive_field([(step.layer, step.input_shape) for step in whole]) == (64,)


# --- Composites and names -----------------------------------------------------------------------------


def test_ids_survive_half_precision_inside_a_block() -> None:
    """In bfloat16, 257 and 256 are one number."""
    layer = make("Repeat", {"times": 1, "layers": [{"Embedding": {"input_dim": 300, "output_dim": 4}}]})
    layer = layer.resolve(Names({"classes": 2}), (2,))
    built = layer.build(scope((2,), dtype="mixed_bfloat16"))
    vectors = np.asarray(built(np.array([[256, 257]], "int32")), "float32")[0]
    expected = np.asarray(tf.cast(built.weights[0][256:258], tf.bfloat16), "float32")
    np.testing.assert_array_equal(vectors, expected)


def test_words_stand_for_the_size_of_the_vocabulary() -> None:
    layer = make("Embedding", {"input_dim": "words", "output_dim": 4})
    assert layer.resolve(Names({"classes": 2, "words": 12}), (7,)).variables((7,))[0].shape == (12, 4)
    with pytest.raises(ShapeError, match="the data have no `words`"):
        layer.resolve(Names({"classes": 2}), (7,))


def test_channels_first_signals_say_where_their_channels_are() -> None:
    """`$channels` of a layer with its channels first is the first size, and the last after a Permute."""
    doubled = {"filters": "2 * $channels", "kernel_size": 1}
    steps = steps_of(
        [{"Conv1D": doubled | {"data_format": "channels_first"}}, {"Permute": [2, 1]}, {"Conv1D": doubled}], (3, 9)
    )
    assert [step.output_shape for step in steps] == [(6, 9), (9, 6), (9, 12)]


# --- What is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments", "shape", "words"),
    [
        ("Conv2D", {"filters": 1, "kernel_size": 1}, (64, 8), "receives 64x8; for (length, channels), use `Conv1D`"),
        ("Conv1D", {"filters": 1, "kernel_size": 1}, (8, 9, 3), "for (height, width, channels), use `Conv2D`"),
        ("MaxPooling2D", {}, (4, 5, 6, 1), "for (depth, height, width, channels), use `MaxPooling3D`"),
        ("GlobalMaxPooling1D", {}, (8, 9, 3), "use `GlobalMaxPooling2D`"),
        ("SpatialDropout3D", {"rate": 0.1}, (8, 3), "use `SpatialDropout1D`"),
        ("Conv1D", {"filters": 1, "kernel_size": 1}, (64,), "`Embedding` turns word ids into (length, channels)"),
        ("Conv1D", {"filters": 1, "kernel_size": 5}, (4, 2), "a window of 5 does not fit the 4 input"),
        ("Cropping1D", {"cropping": 2}, (4, 2), "cropping [2, 2] leaves nothing of the 4 input"),
        ("Conv3D", {"filters": 1, "kernel_size": [1, 5, 1]}, (3, 4, 3, 2), "a 1x5x1 window does not fit the 3x4x3"),
    ],
)
def test_a_shape_that_does_not_fit_is_answered(name: str, arguments: Any, shape: Shape, words: str) -> None:
    with pytest.raises(ShapeError) as caught:
        make(name, arguments).output_shape(shape)
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("Conv1D", {"filters": 2, "kernel_size": [3, 3]}, "expected a whole number from 1 to 65,536, got"),
        ("Conv3D", {"filters": 2, "kernel_size": [3, 3]}, "or a list [depth, height, width] of three"),
        ("Conv1D", {"filters": 2, "kernel_size": 3, "padding": [1, 2, 3]}, "or [before, after], all from 0"),
        ("ZeroPadding3D", {"padding": [1, 2]}, "[[front, back], [top, bottom], [left, right]]"),
        (
            "Conv1DTranspose",
            {"filters": 2, "kernel_size": 3, "padding": 1, "data_format": "channels_first"},
            "Cropping1D",
        ),
        ("Embedding", {"input_dim": 0, "output_dim": 4}, "or `words` (the size of the data set's vocabulary)"),
    ],
)
def test_a_wrong_argument_is_explained(name: str, arguments: Any, words: str) -> None:
    with pytest.raises(PydanticCustomError) as caught:
        make(name, arguments)
    assert words in str((caught.value.context or {})["errors"][0]["msg"])


@pytest.mark.parametrize("name", ["Conv1D", "DepthwiseConv1D", "SeparableConv1D", "Conv3D"])
def test_a_padded_layer_has_the_name_and_weights_of_the_plain_one(name: str) -> None:
    shape = (9, 4) if "1D" in name else (5, 6, 5, 4)
    filters = {} if name == "DepthwiseConv1D" else {"filters": 2}
    layer = make(name, {"kernel_size": 3, "padding": "full", "trainable": False, **filters})
    built = layer.build(scope(shape, name="padded_layer"))
    facts = facts_of(built, shape)
    assert facts.output_shape == layer.output_shape(shape)
    assert facts.weights == tuple((w.name, w.shape, False) for w in layer.variables(shape))
    assert built.name == "padded_layer"
