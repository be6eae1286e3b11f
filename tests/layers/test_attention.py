"""Attention, adaptive pooling, RMS and spectral normalization, and merges of two paths, against second derivations."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from cnnkit.format.shapes import Shape, ShapeError
from cnnkit.layers.base import Names
from cnnkit.layers.receptive_field import receptive_field
from cnnkit.layers.stack import trace
from cnnkit.layers.unresolved import LAYER_CHOICE

from .truth import GRID, check_agreement, facts_of, make, random_images, resolved, scope

FEW = settings(GRID, max_examples=10)


# --- Attention ----------------------------------------------------------------------------------------


def attention_by_hand(weights: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """Softmax(Q K^T / sqrt(K)) V for each head, of positions [batch, length, channels]."""

    def projected(part: str) -> np.ndarray:
        return np.einsum("blc,chk->bhlk", x, weights[f"{part}/kernel"]) + weights[f"{part}/bias"][:, None, :]

    query, key, value = map(projected, ("query", "key", "value"))
    scores = np.einsum("bhqk,bhsk->bhqs", query, key) / np.sqrt(query.shape[-1])
    shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
    shares /= shares.sum(axis=-1, keepdims=True)
    heads = np.einsum("bhqs,bhsv->bqhv", shares, value)
    return np.einsum("bqhv,hvc->bqc", heads, weights["attention_output/kernel"]) + weights["attention_output/bias"]


def named_weights(layer: Any, built: Any, shape: Shape) -> dict[str, np.ndarray]:
    return {w.name: np.asarray(v) for w, v in zip(layer.variables(shape), built.weights, strict=True)}


ATTENTION = {"num_heads": 3, "key_dim": 4, "value_dim": 5, "bias_initializer": "RandomNormal"}


def test_attention_over_positions_is_the_formula_of_the_paper() -> None:
    layer, inputs = make("MultiHeadAttention", ATTENTION), random_images(2, 7, 6)
    built = layer.build(scope((7, 6)))
    np.testing.assert_allclose(
        built(inputs), attention_by_hand(named_weights(layer, built, (7, 6)), inputs), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    ("axes", "arranged", "back"),
    [
        (None, "b (h w) c", (2, 4, 5, 6)),
        (1, "(b w) h c", None),
        (-2, "(b h) w c", None),
    ],
)
def test_attention_over_a_feature_map_is_that_over_positions_in_a_row(axes: Any, arranged: str, back: Any) -> None:
    layer, maps = make("MultiHeadAttention", ATTENTION | {"attention_axes": axes}), random_images(2, 4, 5, 6)
    built = layer.build(scope((4, 5, 6)))
    weights = named_weights(layer, built, (4, 5, 6))
    if arranged == "b (h w) c":
        expected = attention_by_hand(weights, maps.reshape(2, 20, 6)).reshape(maps.shape)
    elif arranged == "(b w) h c":
        columns = maps.transpose(0, 2, 1, 3).reshape(10, 4, 6)
        expected = attention_by_hand(weights, columns).reshape(2, 5, 4, 6).transpose(0, 2, 1, 3)
    else:
        expected = attention_by_hand(weights, maps.reshape(8, 5, 6)).reshape(maps.shape)
    np.testing.assert_allclose(built(maps), expected, rtol=1e-4, atol=1e-5)


def test_the_projections_start_apart() -> None:
    """Keras gives all the one seed that it is given, so that queries would be keys."""
    layer = make("MultiHeadAttention", {"num_heads": 2, "key_dim": 3})
    weights = named_weights(layer, layer.build(scope((5, 4))), (5, 4))
    again = named_weights(layer, layer.build(scope((5, 4))), (5, 4))
    for name, values in weights.items():
        np.testing.assert_array_equal(values, again[name])
    query, key, value = (weights[f"{part}/kernel"] for part in ("query", "key", "value"))
    assert not np.array_equal(query, key)
    assert not np.array_equal(query, value)
    assert not np.array_equal(key, value)


@settings(GRID, max_examples=6)
@given(
    st.fixed_dictionaries(
        {"num_heads": st.integers(1, 3), "key_dim": st.integers(1, 5)},
        optional={"value_dim": st.integers(1, 5), "use_bias": st.booleans(), "use_gate": st.booleans()},
    ),
    st.lists(st.integers(1, 5), min_size=2, max_size=3).map(tuple),
)
def test_attention_has_the_weights_of_keras(arguments: dict[str, Any], shape: Shape) -> None:
    layer = make("MultiHeadAttention", arguments)
    theirs = keras.layers.MultiHeadAttention(**arguments)
    theirs(*[keras.Input(shape)] * 2)
    expected = [("/".join(weight.path.split("/")[-2:]), tuple(weight.shape)) for weight in theirs.weights]
    assert [(weight.name, weight.shape) for weight in layer.variables(shape)] == expected
    assert sum(layer.parameters(shape)) == theirs.count_params()
    assert facts_of(layer.build(scope(shape)), shape).output_shape == layer.output_shape(shape) == shape


def test_multiply_accumulates_of_attention_are_counted_by_hand() -> None:
    """6 positions of 4 channels, 2 heads of 3: four projections of 4x6, and for 36 pairs of each head 3 + 3."""
    layer = make("MultiHeadAttention", {"num_heads": 2, "key_dim": 3})
    assert layer.macs((6, 4)) == 6 * 4 * (4 * 6) + 36 * 2 * (3 + 3)
    within_rows = make("MultiHeadAttention", {"num_heads": 2, "key_dim": 3, "attention_axes": 2})
    assert within_rows.macs((2, 3, 4)) == 6 * 4 * (4 * 6) + (6 * 3) * 2 * (3 + 3)


@pytest.mark.parametrize(
    ("arguments", "shape", "field"),
    [
        ({}, (9, 4), (9,)),
        ({"sliding_window": 3}, (9, 4), (5,)),
        ({"attention_axes": 1}, (6, 7, 4), (6, 1)),
        ({"attention_axes": 2}, (6, 7, 4), (1, 7)),
        ({}, (6, 7, 4), (6, 7)),
    ],
)
def test_a_position_sees_what_changes_it(arguments: dict[str, Any], shape: Shape, field: tuple[int, ...]) -> None:
    layer = make("MultiHeadAttention", {"num_heads": 2, "key_dim": 3, **arguments})
    assert receptive_field([(layer, shape)]) == field
    built = layer.build(scope(shape))
    inputs = random_images(1, *shape)
    centre = tuple(size // 2 for size in shape[:-1])
    before = np.asarray(built(inputs))[(0, *centre)]
    seen = []
    for place in np.ndindex(*shape[:-1]):
        changed = inputs.copy()
        changed[(0, *place)] += 1
        if np.abs(np.asarray(built(changed))[(0, *centre)] - before).max() > 1e-6:
            seen.append(place)
    extent = tuple(max(one) - min(one) + 1 for one in zip(*seen, strict=True))
    assert extent == field


# --- Adaptive pooling ---------------------------------------------------------------------------------


@FEW
@given(st.sampled_from([1, 2, 3]), st.sampled_from(["Average", "Max"]), st.data())
def test_adaptive_pooling_agrees_with_keras_and_its_ranges(axes: int, kind: str, data: st.DataObject) -> None:
    """Each output position is the mean or maximum of what `input_range` says that it sees."""
    name = f"Adaptive{kind}Pooling{axes}D"
    sizes = [data.draw(st.integers(1, 9)) for _ in range(axes)]
    output = [data.draw(st.integers(1, size + 1)) for size in sizes]
    shape = (*sizes, 2)
    arguments = {"output_size": output if axes > 1 else output[0]}
    if 1 not in (*sizes, *output):
        check_agreement(name, {"output_size": tuple(output) if axes > 1 else output[0]}, shape)
    layer, inputs = make(name, arguments), random_images(1, *shape)
    # As in training: as a graph, in which Keras' own layers fail where there is one position.
    built = tf.function(layer.build(scope(shape)), input_signature=[tf.TensorSpec([None, *shape])])
    result = np.asarray(built(inputs))[0]
    for place in np.ndindex(*output):
        ranges = [layer.input_range(position, position, axis, shape) for axis, position in enumerate(place)]
        window = inputs[0][tuple(slice(low, high + 1) for low, high in ranges)]
        expected = window.reshape(-1, 2)
        summed = expected.mean(axis=0) if kind == "Average" else expected.max(axis=0)
        np.testing.assert_allclose(result[place], summed, rtol=1e-4, atol=1e-5)


def test_an_adaptive_pooling_that_sees_all_counts_as_global() -> None:
    (step,) = trace([make("AdaptiveAveragePooling2D", 1)], (6, 8, 3), Names({"classes": 2}))
    assert receptive_field([(step.layer, step.input_shape)]) == (6, 8)


# --- Normalization ------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [-1, [-1, -2], [3], [2, 3, 1]])
def test_rms_normalization_is_its_formula(axis: Any) -> None:
    images = random_images(3, 4, 5, 6)
    layer = make("RMSNormalization", {"axis": axis, "epsilon": 1e-3})
    built = layer.build(scope((4, 5, 6)))
    assert facts_of(built, (4, 5, 6)).weights == tuple((w.name, w.shape, True) for w in layer.variables((4, 5, 6)))
    scale = random_images(*built.weights[0].shape, seed=1)
    built.weights[0].assign(scale)
    axes = tuple(one if one > 0 else 4 + one for one in ([axis] if isinstance(axis, int) else axis))
    expected = images / np.sqrt((images**2).mean(axis=axes, keepdims=True) + 1e-3) * scale
    np.testing.assert_allclose(built(images), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("inner", "shape"),
    [
        ({"Conv2D": {"filters": 5, "kernel_size": 3}}, (6, 7, 3)),
        ({"Dense": {"units": 4}}, (9,)),
        ({"Conv1D": {"filters": 4, "kernel_size": 2, "strides": 2}}, (8, 3)),
    ],
)
def test_spectral_normalization_brings_the_largest_singular_value_to_one(inner: Any, shape: Shape) -> None:
    layer = resolved("SpectralNormalization", {"layer": inner, "power_iterations": 20}, shape)
    built = layer.build(scope(shape))
    plain = resolved(*next(iter(inner.items())), shape)
    assert facts_of(built, shape).output_shape == layer.output_shape(shape) == plain.output_shape(shape)
    assert layer.macs(shape) == plain.macs(shape)
    assert receptive_field([(layer, shape)]) == receptive_field([(plain, shape)])
    kernel = next(weight for weight in built.weights if weight.name == "kernel")
    before = np.asarray(kernel).copy()
    built(random_images(2, *shape), training=False)
    np.testing.assert_array_equal(kernel, before)
    built(random_images(2, *shape), training=True)
    flat = before.reshape(-1, before.shape[-1])
    np.testing.assert_allclose(kernel, before / np.linalg.svd(flat, compute_uv=False)[0], rtol=2e-2, atol=1e-3)
    vectors = [next(w for w in layer.build(scope(shape)).weights if w.name == "vector_u") for _ in range(2)]
    np.testing.assert_array_equal(*vectors)


# --- Layers made of layers that are frozen ------------------------------------------------------------

CONVOLUTION = {"Conv1D": {"filters": 4, "kernel_size": 3, "trainable": False}}


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("MultiHeadAttention", {"num_heads": 2, "key_dim": 3, "trainable": False}),
        ("SpectralNormalization", {"layer": {"Conv1D": {"filters": 4, "kernel_size": 3}}, "trainable": False}),
        ("SpectralNormalization", {"layer": CONVOLUTION}),
        ("Residual", {"layers": [{"MultiHeadAttention": {"num_heads": 2, "key_dim": 3}}], "trainable": False}),
        ("Residual", {"layers": [{"SpectralNormalization": {"layer": CONVOLUTION}}], "shortcut": [CONVOLUTION]}),
    ],
)
def test_frozen_layers_are_trained_by_nothing(name: str, arguments: dict[str, Any]) -> None:
    """Neither counts as trained, nor has a gradient, whatever lies inside."""
    shape = (6, 4)
    layer = resolved(name, arguments, shape)
    assert layer.parameters(shape)[0] == 0
    outputs = (inputs := keras.Input(shape)), layer.build(scope(shape))(inputs)
    assert keras.Model(*outputs).trainable_weights == []


def test_a_frozen_attention_can_be_unfrozen() -> None:
    """As a stage of a training does, and freezes it again."""
    built = resolved("MultiHeadAttention", {"num_heads": 2, "key_dim": 3, "trainable": False}, (6, 4)).build(
        scope((6, 4))
    )
    for trained in (True, False, True):
        built.trainable = trained
        assert len(keras.Sequential([built]).trainable_weights) == (8 if trained else 0)


# --- Merges of two paths ------------------------------------------------------------------------------

PATHS = [[{"Dense": 4}], [{"Dense": 4}, "ReLU"]]


@pytest.mark.parametrize("merge", ["subtract", "minimum"])
def test_merges_of_two_paths_are_those_of_numpy(merge: str) -> None:
    inputs = random_images(2, 5, 3)
    layer = resolved("Branches", {"paths": [[], [{"Dense": 3}]], "merge": merge}, (5, 3))
    built = layer.build(scope((5, 3)))
    kernel, bias = (np.asarray(weight) for weight in built.weights)
    expected = {"subtract": np.subtract, "minimum": np.minimum}[merge](inputs, inputs @ kernel + bias)
    np.testing.assert_allclose(built(inputs), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("axes", "shape", "equation", "macs"),
    [
        (-1, (5, 3), "blc,bmc->blm", 5 * 5 * 3),
        (1, (5, 3), "blc,bld->bcd", 3 * 3 * 5),
        ([1, 2], (4, 4), "blc,bml->bcm", 4 * 4 * 4),
        (1, (6,), "bc,bc->b", 6),
    ],
)
def test_dot_sums_products_along_an_axis(axes: Any, shape: Shape, equation: str, macs: int) -> None:
    inputs = random_images(2, *shape)
    layer = resolved("Branches", {"paths": [[], ["ReLU"]], "merge": "dot", "axes": axes}, shape)
    result = np.asarray(layer.build(scope(shape))(inputs))
    expected = np.einsum(equation, inputs, np.maximum(inputs, 0))
    np.testing.assert_allclose(result.reshape(expected.shape), expected, rtol=1e-4, atol=1e-5)
    assert layer.output_shape(shape) == result.shape[1:]
    assert layer.macs(shape) == macs
    assert receptive_field([(layer, shape)]) == tuple(shape[: max(len(shape) - 1, 1)])


def test_a_normalized_dot_is_a_cosine() -> None:
    inputs = random_images(4, 6)
    arguments = {"paths": [[], [{"Rescaling": -2.0}]], "merge": "dot", "axes": -1, "normalize": True}
    layer = resolved("Branches", arguments, (6,))
    np.testing.assert_allclose(layer.build(scope((6,)))(inputs), -np.ones((4, 1)), rtol=1e-5)


# --- What is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments", "shape", "words"),
    [
        ("MultiHeadAttention", {"num_heads": 1, "key_dim": 2}, (6,), "needs positions (length, channels)"),
        ("MultiHeadAttention", {"num_heads": 1, "key_dim": 2, "attention_axes": 2}, (6, 3), "holds the channels"),
        ("MultiHeadAttention", {"num_heads": 1, "key_dim": 2, "sliding_window": 2}, (6, 5, 3), "positions in a row"),
        ("RMSNormalization", {"axis": 1}, (6, 5, 3), "along the last axes"),
        ("AdaptiveMaxPooling1D", {"output_size": 2}, (6, 5, 3), "use `AdaptiveMaxPooling2D`"),
        ("SpectralNormalization", {"layer": "ReLU"}, (6, 5, 3), "`ReLU` has none that Keras could normalize"),
        (
            "SpectralNormalization",
            {"layer": {"Conv2D": {"filters": 2, "kernel_size": 3, "padding": 1}}},
            (6, 5, 3),
            "with padding in numbers it is two layers",
        ),
        ("SpectralNormalization", {"layer": {"Conv1D": {"filters": 2, "kernel_size": 3}}}, (6, 5, 3), "use `Conv2D`"),
        ("Branches", {"paths": [[], [{"Dense": 4}]], "merge": "dot", "axes": -1}, (6, 3), "which must agree, but have"),
    ],
)
def test_a_shape_that_does_not_fit_is_answered(name: str, arguments: Any, shape: Shape, words: str) -> None:
    with pytest.raises(ShapeError) as caught:
        resolved(name, arguments, shape).output_shape(shape)
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"paths": [[], [], []], "merge": "subtract"}, "is of two paths, got 3"),
        ({"paths": [[], []], "merge": "dot"}, "needs `axes`"),
        ({"paths": [[], []], "merge": "add", "axes": -1}, "`axes` is for `merge: dot`"),
        ({"paths": [[], []], "merge": "dot", "axes": 0}, "axis 0 is the batch"),
    ],
)
def test_a_merge_that_does_not_fit_is_explained(arguments: Any, words: str) -> None:
    with pytest.raises(PydanticCustomError) as caught:
        LAYER_CHOICE.validate({"Branches": arguments})
    assert words in str((caught.value.context or {})["errors"][0]["msg"])
