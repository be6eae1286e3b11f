"""Composite layers and blocks, against networks wired by hand in Keras."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from keras import layers as kl
from pydantic_core import PydanticCustomError

from cnnkit.config.load import LoadedConfig, load_config
from cnnkit.errors import ConfigError
from cnnkit.format.document import dump
from cnnkit.layers.base import Names, Scope, Seeds
from cnnkit.layers.receptive_field import receptive_field
from cnnkit.layers.resolved import Resolved, leaves
from cnnkit.layers.stack import trace
from cnnkit.layers.unresolved import LAYER_CHOICE
from cnnkit.network.summary import summarize
from cnnkit.training.model import build_model

from .truth import GRID, make, random_images

Model = dict[str, Any]

TAIL: list[Any] = ["Flatten", {"Dense": {"units": "classes", "activation": "softmax"}}]
HEAD: list[Any] = ["GlobalAveragePooling2D", {"Dense": {"units": "classes", "activation": "softmax"}}]


def conv_first(filters: Any, data_format: str = "channels_first") -> Model:
    return {"Conv2D": {"filters": filters, "kernel_size": 3, "padding": "same", "data_format": data_format}}


def load(tmp_path: Path, model: Model | list[Any], shape: tuple[int, ...] = (8, 8, 3), *overrides: str) -> LoadedConfig:
    """A config with this model on generated images of a shape."""
    data = {"name": "made_up", "shape": list(shape), "classes": 5, "normalization": "none"}
    section = model if isinstance(model, dict) else {"layers": model}
    training = {"dtype_policy": "float32"}
    file = tmp_path / "config.yaml"
    file.write_text(dump({"data": data, "model": section, "training": training}))
    return load_config(str(file), overrides)


def build(loaded: LoadedConfig) -> Any:
    return build_model(loaded.config, loaded.steps, loaded.info.target, None)


def problems(tmp_path: Path, model: Model | list[Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, model)
    return str(caught.value)


def check_against(
    tmp_path: Path, written: Model | list[Any], by_hand: Callable[[Any], Any], shape: Any = (8, 8, 3)
) -> Any:
    """Whether a config computes what a network wired by hand computes, parameters and shapes included."""
    loaded = load(tmp_path, written, shape)
    model = build(loaded)
    inputs = keras.Input(shape)
    expected = keras.Model(inputs, by_hand(inputs))
    summary = summarize(loaded)
    assert summary.parameters == expected.count_params() == model.count_params()
    assert summary.trainable_parameters == sum(int(np.prod(w.shape)) for w in expected.trainable_weights)
    assert summary.rows[-1].output_shape == tuple(expected.output_shape[1:])
    ours, theirs = named_weights(model), named_weights(expected)
    assert set(ours) == set(theirs)
    for number, name in enumerate(sorted(ours)):
        value = random_images(*theirs[name].shape, seed=number)
        value = np.abs(value) + 0.1 if "variance" in name else value
        ours[name].assign(value)
        theirs[name].assign(value)
    images = random_images(3, *shape)
    np.testing.assert_allclose(np.asarray(model(images)), np.asarray(expected(images)), rtol=1e-4, atol=1e-5)
    return model


def named_weights(model: Any) -> dict[str, Any]:
    """Every weight by its layer's name and its own; the layers' names must differ."""
    found: dict[str, Any] = {}
    for layer in inner_layers(model):
        for weight in layer.weights:
            name = f"{layer.name}/{weight.name}"
            assert name not in found
            found[name] = weight
    assert {id(weight) for weight in found.values()} == {id(weight) for weight in model.weights}
    return found


def inner_layers(model: Any) -> Iterator[Any]:
    """The layers of a model and of the models inside of it, which are none themselves."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from inner_layers(layer)
        else:
            yield layer


def conv(filters: Any, name: str, **further: Any) -> dict[str, Any]:
    return {"Conv2D": {"filters": filters, "kernel_size": 3, "padding": "same", "name": name, **further}}


def keras_conv(filters: int, name: str, **further: Any) -> Any:
    return kl.Conv2D(filters, 3, padding="same", name=name, **further)


def keras_head(tensor: Any) -> Any:
    return kl.Dense(5, activation="softmax", name="head")(kl.GlobalAveragePooling2D()(tensor))


NAMED_HEAD: list[Any] = [
    "GlobalAveragePooling2D",
    {"Dense": {"units": "classes", "activation": "softmax", "name": "head"}},
]


# --- What the composites compute ----------------------------------------------------------------------


def test_a_residual_adds_its_input(tmp_path: Path) -> None:
    written = [conv(4, "a"), {"Residual": [conv(4, "b", activation="relu"), conv(4, "c")]}, *NAMED_HEAD]

    def by_hand(x: Any) -> Any:
        x = keras_conv(4, "a")(x)
        return keras_head(kl.add([x, keras_conv(4, "c")(keras_conv(4, "b", activation="relu")(x))]))

    check_against(tmp_path, written, by_hand)


def test_a_changed_shape_is_projected_with_the_normalization_of_the_main_path(tmp_path: Path) -> None:
    norm = {"BatchNormalization": {"epsilon": 1e-5, "momentum": 0.9, "gamma_initializer": "zeros", "name": "n"}}
    main = [conv(6, "a", strides=2), norm]
    written = [{"Residual": {"layers": main, "activation": "relu"}}, *NAMED_HEAD]

    def by_hand(x: Any) -> Any:
        y = kl.BatchNormalization(epsilon=1e-5, momentum=0.9, name="n")(keras_conv(6, "a", strides=2)(x))
        x = kl.Conv2D(6, 1, strides=2, use_bias=False, name="shortcut.0.Conv2D")(x)
        x = kl.BatchNormalization(epsilon=1e-5, momentum=0.9, name="shortcut.1.BatchNormalization")(x)
        return keras_head(kl.ReLU()(kl.add([x, y])))

    model = check_against(tmp_path, written, by_hand, (9, 8, 3))
    fresh = build(load(tmp_path, written, (9, 8, 3)))
    assert np.all(np.asarray(named_weights(fresh)["n/gamma"]) == 0)
    # A shortcut that started at zero would pass nothing on.
    assert np.all(np.asarray(named_weights(fresh)["shortcut.1.BatchNormalization/gamma"]) == 1)
    assert model.layers[0].name == "0.Residual"


GATE = {"Branches": {"merge": "multiply", "paths": [[], [{"Conv2D": {"filters": "$channels", "kernel_size": 1}}]]}}
WIDE: list[Any] = [{"Conv2D": {"filters": 6, "kernel_size": 3, "strides": 2, "padding": "same"}}, "BatchNormalization"]
NARROW: list[Any] = [{"Conv2D": {"filters": 6, "kernel_size": 1, "strides": 2}}]


@pytest.mark.parametrize(
    ("main", "chosen"),
    [
        (WIDE, "1x1 convolution, stride 2, BatchNormalization"),
        ([*WIDE, "$nothing"], "1x1 convolution, stride 2, BatchNormalization"),
        ([*WIDE, {"Repeat": {"times": 0, "layers": ["ReLU"]}}], "1x1 convolution, stride 2, BatchNormalization"),
        ([*WIDE, GATE], "1x1 convolution, stride 2, BatchNormalization"),
        ([{"Repeat": {"times": 1, "layers": [*WIDE, GATE]}}], "1x1 convolution, stride 2, BatchNormalization"),
        ([*WIDE, {"Dropout": 0.1}], "1x1 convolution, stride 2, BatchNormalization"),
        ([*WIDE, {"Rescaling": 0.1}, "ReLU"], "1x1 convolution, stride 2, BatchNormalization"),
        ([*WIDE, "LayerScale", {"StochasticDepth": 0.1}], "1x1 convolution, stride 2, BatchNormalization"),
        ([*WIDE, {"SqueezeExcite": 2}], "1x1 convolution, stride 2, BatchNormalization"),
        ([*WIDE, "PReLU"], "1x1 convolution, stride 2, BatchNormalization"),
        ([{"Branches": [WIDE, [{"MaxPooling2D": 2}]]}], "1x1 convolution, stride 2, BatchNormalization"),
        # A residual connection before activations (He et al. 2016) ends in a convolution, and so does each of these.
        (["BatchNormalization", "ReLU", *NARROW], "1x1 convolution, stride 2"),
        ([*WIDE, {"Dense": 5}], "1x1 convolution, stride 2"),
        ([{"Branches": [WIDE, NARROW]}], "1x1 convolution, stride 2"),
        ([{"MaxPooling2D": [2, 1]}], "1x1 convolution, strides 2x1"),
        (["BatchNormalization"], "identity"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_an_automatic_shortcut_becomes(tmp_path: Path, main: list[Any], chosen: str) -> None:
    """Counted by hand: a weight for each pair of channels, and four numbers for each that is normalized."""
    blocks = {"unit": {"parameters": {"nothing": []}, "layers": [{"Residual": main}]}}
    loaded = load(tmp_path, {"blocks": blocks, "layers": ["unit", *HEAD]})
    summary = summarize(loaded)
    (row,) = summary.rows[0].rows
    assert row.shortcut == chosen == row.as_json()["shortcut"]
    assert f"auto shortcuts   {chosen}" in summary.as_table(1)
    implied = [inner for inner in row.rows if inner.label.startswith("shortcut.")]
    filters = row.output_shape[-1]
    expected = [] if chosen == "identity" else [3 * filters] + [4 * filters] * chosen.endswith("Normalization")
    assert [inner.parameters for inner in implied] == expected


def test_sizes_are_those_of_what_arrives_at_the_layer(tmp_path: Path) -> None:
    """A channel shuffle (Zhang et al. 2017) wherever the channels lie, and a share of the image's area as a rate."""
    shuffle: list[Any] = [
        {"Reshape": ["$height", "$width", 2, "$channels // 2"]},
        {"Permute": [1, 2, 4, 3]},
        {"Reshape": ["$height", "$width", -1]},
    ]
    rate = {"Dropout": "1 / ($height * $width)"}
    first = {"Conv2D": {"filters": "$height", "kernel_size": 1, "data_format": "channels_first"}}
    blocks = {"own": {"parameters": {"height": 2}, "layers": [{"MaxPooling2D": ["$height", 1]}]}}
    layers = [{"Conv2D": {"filters": 6, "kernel_size": [3, 1]}}, *shuffle, rate, "own", {"Permute": [3, 1, 2]}, first]
    loaded = load(tmp_path, {"blocks": blocks, "layers": [*layers, *TAIL]}, (8, 8, 3))
    shapes = [row.output_shape for row in summarize(loaded).rows]
    assert shapes[1:9] == [(6, 8, 2, 3), (6, 8, 3, 2), (6, 8, 6), (6, 8, 6), (3, 8, 6), (6, 3, 8), (3, 3, 8), (72,)]
    (dropout,) = [layer for layer in loaded.config.model.resolved((8, 8, 3), {"classes": 5}) if layer.kind == "Dropout"]
    assert dropout.rate == 1 / 48


def test_the_length_is_that_of_a_signal(tmp_path: Path) -> None:
    """Half of a signal is kept, and whole positions are dropped, wherever the channels lie."""
    first = {"Conv1D": {"filters": "$length", "kernel_size": 1, "data_format": "channels_first"}}
    whole = {"Dropout": {"rate": 0.5, "noise_shape": [None, "$length", 1]}}
    layers = [{"Reshape": [8, 3]}, whole, {"AveragePooling1D": "$length // 2"}, {"Permute": [2, 1]}, first]
    loaded = load(
        tmp_path, {"layers": [*layers, "Flatten", {"Dense": {"units": 5, "activation": "softmax"}}]}, (8, 1, 3)
    )
    resolved = [step.layer for step in loaded.steps]
    assert resolved[1].noise_shape == [None, 8, 1]
    assert [step.output_shape for step in loaded.steps][2:5] == [(2, 3), (3, 2), (2, 2)]


def test_option_a_passes_every_second_pixel_on_and_appends_zeros(tmp_path: Path) -> None:
    written = [{"Residual": {"layers": [conv(7, "a", strides=2)], "shortcut": "pad"}}, *NAMED_HEAD]

    def by_hand(x: Any) -> Any:
        short = keras.ops.pad(x[:, ::2, ::2, :], [[0, 0], [0, 0], [0, 0], [0, 4]])
        return keras_head(kl.add([short, keras_conv(7, "a", strides=2)(x)]))

    check_against(tmp_path, written, by_hand, (9, 8, 3))


MERGES = {
    "concatenate": kl.Concatenate,
    "add": kl.Add,
    "average": kl.Average,
    "maximum": kl.Maximum,
    "minimum": kl.Minimum,
    "multiply": kl.Multiply,
}


@pytest.mark.parametrize("merge", MERGES)
def test_branches_merge_as_keras_does(tmp_path: Path, merge: str) -> None:
    paths = [[], [conv(3, "a"), "ReLU"], [conv(3, "b", use_bias=False)]]
    written = [{"Branches": {"paths": paths, "merge": merge}}, *NAMED_HEAD]

    def by_hand(x: Any) -> Any:
        ways = [x, kl.ReLU()(keras_conv(3, "a")(x)), keras_conv(3, "b", use_bias=False)(x)]
        return keras_head(MERGES[merge]()(ways))

    check_against(tmp_path, written, by_hand)


def test_squeeze_and_excitation_stretches_one_pixel(tmp_path: Path) -> None:
    squeeze = [
        {"GlobalAveragePooling2D": {"keepdims": True}},
        {"Dense": {"units": "$channels // 3", "activation": "relu", "name": "a"}},
        {"Dense": {"units": "$channels * 3", "activation": "sigmoid", "name": "b"}},
    ]
    written = [conv(6, "c"), {"Branches": {"merge": "multiply", "paths": [[], squeeze]}}, *NAMED_HEAD]

    def by_hand(x: Any) -> Any:
        x = keras_conv(6, "c")(x)
        y = kl.Dense(2, activation="relu", name="a")(kl.GlobalAveragePooling2D(keepdims=True)(x))
        return keras_head(kl.multiply([x, kl.Dense(6, activation="sigmoid", name="b")(y)]))

    check_against(tmp_path, written, by_hand)


def test_a_repeat_is_its_layers_written_out(tmp_path: Path) -> None:
    layers = [{"Conv2D": {"filters": "$channels + 2", "kernel_size": 3}}, "ReLU"]
    written = [{"Repeat": {"times": 3, "layers": layers}}, {"Repeat": {"times": 0, "layers": layers}}, *NAMED_HEAD]

    def by_hand(x: Any) -> Any:
        for number in range(3):
            x = kl.ReLU()(kl.Conv2D(x.shape[-1] + 2, 3, name=f"{number}.layers.0.Conv2D")(x))
        return keras_head(x)

    check_against(tmp_path, written, by_hand, (11, 10, 3))


def test_a_u_net_of_nested_branches(tmp_path: Path) -> None:
    inner = [{"MaxPooling2D": 2}, conv(8, "c"), {"UpSampling2D": 2}]
    outer = [{"MaxPooling2D": 2}, conv(4, "b"), {"Branches": [[], inner]}, {"UpSampling2D": 2}]
    written = [conv(2, "a"), {"Branches": [[], outer]}, conv(6, "d"), *NAMED_HEAD]

    def by_hand(x: Any) -> Any:
        x = keras_conv(2, "a")(x)
        y = keras_conv(4, "b")(kl.MaxPooling2D(2)(x))
        z = kl.UpSampling2D(2)(keras_conv(8, "c")(kl.MaxPooling2D(2)(y)))
        y = kl.concatenate([y, z])
        x = kl.concatenate([x, kl.UpSampling2D(2)(y)])
        return keras_head(keras_conv(6, "d")(x))

    check_against(tmp_path, written, by_hand)


# --- Blocks -------------------------------------------------------------------------------------------

BLOCKS: Model = {
    "pair": {
        "parameters": {"filters": "required", "second": "$filters * 2", "act": "relu", "window": [3, 3]},
        "layers": [
            {"Conv2D": {"filters": "$filters", "kernel_size": "$window", "padding": "same", "activation": "$act"}},
            {"Conv2D": {"filters": "$second", "kernel_size": 1, "activation": "$act"}},
        ],
    },
    "twice": {
        "parameters": {"n": "required"},
        "layers": [{"pair": {"filters": "$n + 1", "act": "gelu"}}, {"pair": {"filters": "$channels", "second": "$n"}}],
    },
}


def widths(loaded: LoadedConfig) -> list[tuple[Any, ...]]:
    """Filters, window and activation of all convolutions, in order."""
    resolved = loaded.config.model.resolved(loaded.info.shape, loaded.info.target.values)
    return [
        (layer.filters, layer.kernel_size, layer.activation)  # type: ignore[attr-defined]
        for layer in leaves(resolved)
        if type(layer).__name__ == "Conv2D"
    ]


def test_parameters_and_defaults_reach_the_layers(tmp_path: Path) -> None:
    layers = [{"pair": 4}, {"pair": {"filters": "$channels // 2 + classes", "window": 5}}, {"twice": {"n": 3}}, *HEAD]
    found = widths(load(tmp_path, {"blocks": BLOCKS, "layers": layers}))
    assert found == [
        (4, (3, 3), "relu"),
        (8, (1, 1), "relu"),
        (9, (5, 5), "relu"),
        (18, (1, 1), "relu"),
        # `$channels` in a call is what arrives at the call: the 8 that the first pair outputs.
        (4, (3, 3), "gelu"),
        (8, (1, 1), "gelu"),
        (8, (3, 3), "relu"),
        (3, (1, 1), "relu"),
    ]


def test_an_override_reaches_parameters_defaults_and_inner_layers(tmp_path: Path) -> None:
    layers = [{"pair": 4}, {"pair": {"filters": 3}}, {"Residual": [{"pair": {"filters": 2, "second": 6}}]}, *HEAD]
    overrides = [
        "model.blocks.pair.parameters.act=gelu",
        "model.layers.0.pair.filters=5",
        "model.layers[1].pair.second=classes * 2",
        "model.layers.2.Residual.layers.0.pair.window=[1, 2]",
    ]
    found = widths(load(tmp_path, {"blocks": BLOCKS, "layers": layers}, (8, 8, 3), *overrides))
    assert found[0] == (5, (3, 3), "gelu")
    assert found[1] == (10, (1, 1), "gelu")
    assert found[3] == (10, (1, 1), "gelu")
    assert found[4] == (2, (1, 2), "gelu")


def test_a_block_called_twice_starts_with_different_weights(tmp_path: Path) -> None:
    blocks = {"one": {"layers": [{"Conv2D": {"filters": 3, "kernel_size": 3, "name": "inner", "padding": "same"}}]}}
    model = build(load(tmp_path, {"blocks": blocks, "layers": ["one", "one", *HEAD]}))
    first, second = (np.asarray(layer.get_layer("inner").kernel) for layer in model.layers[:2])
    assert not np.array_equal(first, second)


def test_a_resolved_config_is_written_as_it_was(tmp_path: Path) -> None:
    layers = [{"pair": {"filters": "$channels + 1"}}, {"Residual": {"layers": [{"pair": {"filters": 2}}]}}, *HEAD]
    loaded = load(tmp_path, {"blocks": BLOCKS, "layers": layers})
    file = tmp_path / "again.yaml"
    file.write_text(dump(loaded.config.to_plain()))
    assert widths(load_config(str(file), [])) == widths(loaded)


def test_extends_changes_a_blocks_default(tmp_path: Path) -> None:
    loaded = load(tmp_path, {"blocks": BLOCKS, "layers": [{"pair": 4}, *HEAD]})
    child = tmp_path / "child.yaml"
    child.write_text("extends: config.yaml\nmodel: {blocks: {pair: {parameters: {act: elu}}}}\n")
    assert widths(load_config(str(child), []))[0] == (4, (3, 3), "elu")
    assert loaded.config.model.blocks["pair"].parameters["act"] == "relu"


# --- Arithmetic of composites -------------------------------------------------------------------------


@GRID
@given(*[st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3)), min_size=0, max_size=3)] * 2)
def test_the_receptive_field_is_where_gradients_reach(first: Any, second: Any) -> None:
    """The union over the paths, against the pixels that the built model's output depends on."""
    paths = [
        [{"AveragePooling2D": {"pool_size": list(window), "strides": 1, "padding": "same"}} for window in windows]
        for windows in (first, second)
    ]
    shape = (15, 15, 1)
    step = trace([make("Branches", {"paths": paths, "merge": "add"})], shape, Names({"classes": 2}))[0]
    built = step.layer.build(Scope("b", shape, Seeds(0)))
    images = tf.Variable(tf.zeros([1, *shape]))
    with tf.GradientTape() as tape:
        output = built(images)[0, 7, 7, 0]
    reached = np.asarray(tape.gradient(output, images))[0, :, :, 0] != 0
    rows, columns = np.where(reached.any(1))[0], np.where(reached.any(0))[0]
    expected = (rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1)
    assert receptive_field([(step.layer, shape)]) == expected


def test_the_tree_folds_and_its_totals_are_those_of_the_leaves(tmp_path: Path) -> None:
    layers = [{"Repeat": {"times": 2, "layers": [{"Residual": [conv(3, "x"), "ReLU"]}]}}, *HEAD]
    summary = summarize(load(tmp_path, layers))
    assert summary.depth() == 3
    assert len(summary.lines(1)) == 3
    table = summary.as_table(1)
    assert "folded at depth 1 of 3" in table
    assert "Conv2D" not in table
    assert "shortcut: the input" in summary.as_table()
    repeat = summary.rows[0]
    convolution = 3 * 3 * 3 * 3 + 3
    assert repeat.parameters == 2 * convolution == sum(row.parameters for row in repeat.rows)
    assert repeat.macs == 2 * 8 * 8 * 3 * 27
    # In each repetition, the outputs of the convolution, of ReLU and of the sum.
    assert repeat.activation_bytes == 2 * 3 * 8 * 8 * 3 * 4
    assert repeat.receptive_field == (5, 5)
    data = summary.as_json()
    assert data["layers"][0]["layers"][0]["layers"][0]["name"] == "x"


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_composites_follow_the_dtype_policy(tmp_path: Path, dtype: str) -> None:
    layers = [{"Residual": {"layers": [conv(4, "a"), "BatchNormalization"], "shortcut": "pad"}}, conv(4, "b"), *HEAD]
    model = build(load(tmp_path, layers, (8, 8, 3), f"training.dtype_policy={dtype}"))
    assert model.layers[0].output.dtype == dtype.removeprefix("mixed_")
    outputs = model(random_images(2, 8, 8, 3))
    assert outputs.dtype == "float32"
    assert np.isfinite(np.asarray(outputs)).all()


def test_the_end_of_a_network_is_in_float32_inside_a_block_too(tmp_path: Path) -> None:
    blocks = {
        "head": {
            "layers": [
                "GlobalAveragePooling2D",
                {"Dense": {"units": 8, "name": "a"}},
                {"Dense": {"units": 5, "name": "b"}},
            ]
        },
        "net": {"layers": [conv(4, "c"), "head", "Softmax"]},
    }
    overrides = ("training.dtype_policy=mixed_bfloat16",)
    for layers in (["net"], ["net", {"Dropout": 0.1}]):
        model = build(load(tmp_path, {"blocks": blocks, "layers": layers}, (8, 8, 3), *overrides))
        policies = {layer.name: layer.compute_dtype for layer in inner_layers(model)}
        assert policies["c"] == policies["a"] == policies["b"] == "bfloat16"
        assert policies["layers.2.Softmax"] == "float32"
        assert model(random_images(2, 8, 8, 3)).dtype == "float32"
    model = build(load(tmp_path, {"blocks": blocks, "layers": [conv(4, "d"), "head"]}, (8, 8, 3), *overrides))
    assert model.get_layer("1.head").get_layer("a").compute_dtype == "bfloat16"
    assert model.get_layer("1.head").get_layer("b").compute_dtype == "float32"


def test_a_composite_that_is_not_trainable_has_no_trainable_weights(tmp_path: Path) -> None:
    layers = [{"Residual": {"layers": [conv(3, "a")], "trainable": False}}, *HEAD]
    loaded = load(tmp_path, layers)
    model = build(loaded)
    assert [weight.path for weight in model.trainable_weights if "Residual" in weight.path] == []
    assert summarize(loaded).trainable_parameters == sum(int(np.prod(w.shape)) for w in model.trainable_weights)


def test_what_is_frozen_inside_a_composite_stays_frozen(tmp_path: Path) -> None:
    frozen = {"Residual": {"layers": [conv(3, "c")], "trainable": False}}
    layers = [{"Residual": [conv(3, "a", trainable=False), conv(3, "b"), frozen]}, *HEAD]
    loaded = load(tmp_path, layers)
    names = {weight.path.split("/")[-2] for weight in build(loaded).trainable_weights}
    assert "b" in names
    assert not names & {"a", "c"}
    assert summarize(loaded).rows[0].trainable_parameters == 84


def test_a_parameter_may_stand_for_layers(tmp_path: Path) -> None:
    blocks = {
        "unit": {
            "parameters": {"norm": "ReLU", "learns": False, "main": [conv(3, "m")]},
            "layers": [
                {"Conv2D": {"filters": 2, "kernel_size": 1, "trainable": "$learns"}},
                "$norm",
                {"Residual": "$main"},
            ],
        },
        "outer": {"parameters": {"t": False}, "layers": [{"unit": {"trainable": "$t", "main": [conv(2, "n")]}}]},
    }
    # A layer's name in a list that is passed on is no arithmetic.
    calls = [
        {"unit": {"norm": {"BatchNormalization": {"epsilon": 1e-5}}, "main": [conv(2, "k-classes"), "ReLU"]}},
        {"unit": {"norm": ["ReLU", {"Dropout": 0.1}], "learns": True, "main": [conv(2, "k")]}},
        "outer",
    ]
    loaded = load(tmp_path, {"blocks": blocks, "layers": [*calls, *HEAD]})
    resolved = loaded.config.model.resolved(loaded.info.shape, {"classes": 5})
    kinds = [type(layer).__name__ for layer in leaves(resolved)]
    assert kinds == [
        "Conv2D", "BatchNormalization", "Conv2D", "ReLU",
        "Conv2D", "ReLU", "Dropout", "Conv2D",
        "Conv2D", "ReLU", "Conv2D",
        "GlobalAveragePooling2D", "Dense",
    ]  # fmt: skip
    model = build(loaded)
    assert model.count_params() == summarize(loaded).parameters
    assert model.layers[2].trainable_weights == []
    assert model.layers[0].layers[1].trainable is False


def test_channels_first_counts_its_channels(tmp_path: Path) -> None:
    layers = [
        {"Permute": [3, 1, 2]},
        {"Conv2D": {"filters": "$channels * 2", "kernel_size": 3, "data_format": "channels_first"}},
        {"Permute": [2, 3, 1]},
        *HEAD,
    ]
    assert widths(load(tmp_path, layers))[0][0] == 6


CHANNELS_FIRST_BLOCKS: Model = {
    "given": {"parameters": {"f": "required"}, "layers": [conv_first("$f")]},
    "default": {"parameters": {"f": "$channels * 2"}, "layers": [conv_first("$f")]},
    "format": {"parameters": {"order": "required"}, "layers": [conv_first("$channels * 2", "$order")]},
}


@pytest.mark.parametrize("call", [{"given": "$channels * 2"}, "default", {"format": "channels_first"}])
@pytest.mark.parametrize("outer", [lambda call: call, lambda call: {"Repeat": {"times": 1, "layers": [call]}}])
def test_a_call_counts_channels_that_come_first(tmp_path: Path, call: Any, outer: Callable[[Any], Any]) -> None:
    """Three of the image, then twice as many at each layer; never the width, which is 8."""
    layers = [{"Permute": [3, 1, 2]}, conv_first("$channels * 2"), outer(call), {"Reshape": ["$channels", -1]}, *TAIL]
    rows = summarize(load(tmp_path, {"blocks": CHANNELS_FIRST_BLOCKS, "layers": layers})).rows
    assert [row.output_shape for row in rows[1:4]] == [(6, 8, 8), (12, 8, 8), (12, 64)]


@pytest.mark.parametrize(
    ("call", "place"), [({"given": "$channels * 2"}, "layers[1].given.f"), ("default", "blocks.default.parameters.f")]
)
def test_channels_are_not_counted_on_an_axis_that_the_block_reads_otherwise(
    tmp_path: Path, call: Any, place: str
) -> None:
    """Behind a Reshape, a count by the axis that Keras takes by default would be the width."""
    layers = [{"Reshape": [3, 8, 8]}, call, *TAIL]
    text = problems(tmp_path, {"blocks": CHANNELS_FIRST_BLOCKS, "layers": layers})
    assert "`$channels` is not known here" in text
    assert place in text


def test_a_path_that_is_stretched_sees_no_more_than_the_image(tmp_path: Path) -> None:
    squeeze = [{"AveragePooling2D": 8}, {"Conv2D": {"filters": "$channels", "kernel_size": 1}}]
    layers = [conv(3, "a"), {"Branches": {"merge": "multiply", "paths": [[], squeeze]}}, *HEAD]
    # The pooled path sees all 8 rows through a 3x3 window: one more on each side.
    assert summarize(load(tmp_path, layers)).rows[1].receptive_field == (10, 10)


def test_a_base_and_its_child_may_name_different_objects_for_a_parameter(tmp_path: Path) -> None:
    blocks = {
        "unit": {
            "parameters": {"penalty": {"L2": 1e-4}},
            "layers": [{"Conv2D": {"filters": 2, "kernel_size": 1, "kernel_regularizer": "$penalty"}}],
        }
    }
    load(tmp_path, {"blocks": blocks, "layers": ["unit", *HEAD]})
    child = tmp_path / "child.yaml"
    child.write_text("extends: config.yaml\nmodel: {blocks: {unit: {parameters: {penalty: {L1: 0.001}}}}}\n")
    loaded = load_config(str(child), [])
    (first, *_) = leaves(loaded.config.model.resolved(loaded.info.shape, {"classes": 5}))
    assert type(first.kernel_regularizer).__name__ == "L1"  # type: ignore[attr-defined]


def test_a_block_may_have_the_name_of_a_value_in_it(tmp_path: Path) -> None:
    relu = {
        "parameters": {"f": "required"},
        "layers": [{"Conv2D": {"filters": "$f", "kernel_size": 1, "activation": "relu"}}],
    }
    assert widths(load(tmp_path, {"blocks": {"relu": relu}, "layers": [{"relu": 4}, *HEAD]})) == [(4, (1, 1), "relu")]


# --- What is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        (
            [{"Branches": [[], [{"MaxPooling2D": 2}]]}],
            ["model.layers[0].Branches", "`paths.0` gives 8x8x3, `paths.1` gives 4x4x3", "concatenated"],
        ),
        (
            [{"Branches": {"merge": "add", "paths": [[], [conv(4, "a")]]}}],
            ["`paths.0` gives 8x8x3, `paths.1` gives 8x8x4: to be added"],
        ),
        (
            [{"Residual": {"layers": [conv(4, "a")], "shortcut": "identity"}}],
            ["Residual.shortcut", "make 8x8x4 of 8x8x3", "`shortcut: auto`"],
        ),
        (
            [{"Residual": {"layers": [conv(4, "a")], "shortcut": [conv(5, "b")]}}],
            ["`layers` gives 8x8x4, but `shortcut` gives 8x8x5"],
        ),
        ([{"Residual": {"layers": [conv(2, "a")], "shortcut": "pad"}}], ["`pad` only appends channels"]),
        (
            [{"Residual": [{"Conv2D": {"filters": 3, "kernel_size": 4}}]}],
            ["make 5x5x3 of 8x8x3", "no stride makes 5 of 8 rows or columns"],
        ),
        ([{"Residual": ["Flatten"]}], ["only images can be projected"]),
        ([{"Residual": [{"UpSampling2D": 2}]}], ["no convolution enlarges an image"]),
        (
            [{"Residual": [{"Reshape": [1, 1, -1]}, *[{"Branches": [[], []]}] * 13, {"MaxPooling2D": 1}]}],
            ["Residual.shortcut", "a shortcut has at most 1,000,000 filters"],
        ),
        (
            [{"Repeat": {"times": 3, "layers": [{"Conv2D": {"filters": 3, "kernel_size": 4}}]}}],
            ["model.layers[0].Repeat.layers[0].Conv2D.kernel_size", "does not fit the 2x2 input"],
        ),
        ([{"Repeat": {"times": 2, "layers": [conv(3, "a")]}}], ["Repeat.layers[0].Conv2D.name", "`a` 2 times"]),
        ([{"Residual": [conv(3, "a"), conv(3, "a")]}], ["has the name `a` already"]),
        ([{"Residual": [conv(3, "add")]}], ["has the name `add` already"]),
        ([{"Repeat": {"times": 4000, "layers": ["ReLU", "ReLU"]}}], ["Repeat", "more than 4,000 layers"]),
        (
            [{"Branches": {"axis": 1, "paths": [["ReLU"], [conv(4, "a")]]}}],
            ["agree on all axes but axis 1"],
        ),
        ([{"Conv2D": {"filters": 3, "kernel_size": 3, "name": "c$channels"}}], ["Conv2D.name", "one `$name`"]),
        ([{"Residual": {"layers": ["ReLU"], "shortcut": "none"}}], ["`auto`, `identity`, `pad` or a list", "none"]),
        ([{"Branches": [["ReLU"]]}], ["at least 2"]),
        ([{"Repeat": {"times": -1, "layers": ["ReLU"]}}], ["of at least 0"]),
        (
            [{"Residual": [{"Branches": [[], [{"Conv2D": {"filters": 2, "kernal_size": 1}}]]}]}],
            ["model.layers[0].Residual.layers[0].Branches.paths[1][0].Conv2D.kernal_size", "`kernel_size`"],
        ),
        ([{"Conv2D": {"filters": "$depth", "kernel_size": 3}}], ["Conv2D.filters", "there is no parameter `$depth`"]),
        (["Flatten", {"Reshape": ["$height", -1]}], ["`$height` is the height of an image, but no image arrives"]),
        ([{"Reshape": ["$length", -1]}], ["`$length` is the length of a signal, but no signal arrives here"]),
        (
            [{"Conv2D": {"filters": "$channels / 2", "kernel_size": 3}}],
            ["a whole number from 1", "got 1.5 (a number) (from `$channels / 2`; `//` rounds down)"],
        ),
        (
            [{"MaxPooling2D": ["$channels / 2", 1]}],
            ["got [1.5, 1] (a list of 2) (from `$channels / 2`; `//` rounds down)"],
        ),
        (
            [{"Conv2D": {"filters": "$channels - 3", "kernel_size": 3}}],
            ["Conv2D.filters", "from 1 to 1,000,000", "0 (a whole number) (from `$channels - 3`)"],
        ),
        (
            [{"Residual": [{"Conv2D": {"filters": 3, "kernel_size": 1, "kernel_initializer": "PatchWhitening"}}]}],
            ["only the first layer can have it"],
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_its_path(tmp_path: Path, layers: list[Any], words: list[str]) -> None:
    text = problems(tmp_path, [*layers, *HEAD])
    for word in words:
        assert word in text


@pytest.mark.parametrize(
    ("blocks", "call", "words"),
    [
        ({}, {"pair": {"filter": 3}}, ["no parameter `filter`; did you mean `filters`?", "is defined at", ".yaml:"]),
        ({}, {"pair": {}}, ["needs its parameter `filters`", "is defined at"]),
        ({}, {"pare": 3}, ["unknown layer `pare`; did you mean `pair`?"]),
        (
            {},
            {"pair": {"filters": "many"}},
            [
                "model.layers[0].pair",
                'needs a number for `$filters`, got "many"',
                "at model.blocks.pair.parameters.second, ",
            ],
        ),
        (
            {},
            {"pair": {"filters": 2, "window": 0}},
            ["model.layers[0].pair", "(from `$window`)", "at model.blocks.pair.layers[0].Conv2D.kernel_size, "],
        ),
        ({}, {"pair": {"filters": 3, "act": "relo"}}, ["`relo`; did you mean `relu`? (from `$act`)"]),
        ({}, {"pair": {"filters": "$filters"}}, ["layers[0].pair.filters", "there is no parameter `$filters` here"]),
        (
            {},
            {"twice": {"n": 0}},
            ["model.layers[0].twice", "at model.blocks.twice.layers[1].pair", "at model.blocks.pair.layers[1].Conv2D"],
        ),
        ({"ReLU": {"layers": ["Flatten"]}}, {"pair": 3}, ["model.blocks.ReLU", "is a layer already"]),
        (
            {"a": {"layers": ["b"]}, "b": {"layers": [{"Residual": ["a"]}]}},
            {"pair": 3},
            ["contains itself: a -> b -> a"],
        ),
        ({"a b": {"layers": ["ReLU"]}}, {"pair": 3}, ["letters, digits and `_`"]),
        ({"a": {"parameters": {"name": 1}, "layers": ["ReLU"]}}, {"pair": 3}, ["model.blocks.a.parameters.name"]),
        (
            {"a": {"parameters": {"x": "$y", "y": 1}, "layers": ["ReLU"]}},
            {"pair": 3},
            ["model.blocks.a.parameters.x", "there is no parameter `$y` here"],
        ),
        (
            {"unused": {"parameters": {"f": 3}, "layers": [{"Conv2D": {"filters": "$f", "kernel": 3}}]}},
            {"pair": 3},
            ["model.blocks.unused.layers[0].Conv2D.kernel", "unknown argument"],
        ),
        ({"none": {"layers": ["ReLU"]}}, {"none": 3}, ["has no parameters"]),
        (
            {"b": {"parameters": {"a": ["b"]}, "layers": [{"Residual": "$a"}]}},
            {"b": {}},
            ["blocks are nested more than 40 deep", "-> b -> b"],
        ),
        ({"broken": 3}, {"broken": {"x": 1}}, ["model.blocks.broken", "expected a mapping"]),
        ({"a": {"layers": []}}, {"pair": 3}, ["model.blocks.a.layers", "at least 1"]),
    ],
)
def test_mistakes_in_blocks_name_the_place_of_use_and_the_block(
    tmp_path: Path, blocks: Model, call: Any, words: list[str]
) -> None:
    text = problems(tmp_path, {"blocks": BLOCKS | blocks, "layers": [call, *HEAD]})
    for word in words:
        assert word in text, text


def test_compounds_are_made_where_shapes_are_known(tmp_path: Path) -> None:
    loaded = load(tmp_path, [{"Residual": ["ReLU"]}, *HEAD])
    written = loaded.config.model.layers[0]
    resolved = loaded.config.model.resolved(loaded.info.shape, {"classes": 5})[0]
    assert isinstance(resolved, Resolved)
    assert resolved.kind == written.kind == "Residual"
    assert resolved.to_plain() == written.to_plain() == {"Residual": {"layers": ["ReLU"]}}


def test_a_mistake_in_the_short_form_is_found_where_it_is(tmp_path: Path) -> None:
    file = tmp_path / "short.yaml"
    file.write_text(
        "data: {name: made_up, shape: [8, 8, 3], classes: 5}\n"
        "model:\n"
        "  layers:\n"
        "    - Residual:\n"
        "        - ReLU\n"
        "        - Conv2D: {filters: 3, kernal_size: 3}\n"
        "    - Flatten\n"
        "    - Dense: classes\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_config(str(file), [])
    assert "short.yaml:6:32" in str(caught.value)


@pytest.mark.parametrize(
    "block", [[1], True, "abc", {"parameters": 3}, {"parameters": [[1]]}, {"parameters": {}}, None]
)
def test_an_override_of_a_broken_blocks_call_is_refused(tmp_path: Path, block: Any) -> None:
    with pytest.raises(ConfigError):
        load(tmp_path, {"blocks": {"b": block}, "layers": [{"b": 3}, *HEAD]}, (8, 8, 3), "model.layers[0].b.f=3")


def test_deep_nesting_is_looked_at_in_no_time(tmp_path: Path) -> None:
    """Each level once: looking at every path to a layer would take 2^20 steps."""
    layer: Any = "ReLU"
    for _ in range(20):
        layer = {"Residual": [layer]}
    loaded = load(tmp_path, [layer, *HEAD])
    assert summarize(loaded).depth() == 21


ORIGINS: Model = {
    "basic": {
        "parameters": {"filters": "required", "act": "relu", "window": 3},
        "layers": [
            {"Conv2D": {"filters": "$filters", "kernel_size": "$window", "padding": "valid"}},
            {"Residual": [{"Activation": "$act"}]},
        ],
    },
    "outer": {"parameters": {"a": "relu"}, "layers": [{"basic": {"filters": 3, "act": "$a"}}]},
}


@pytest.mark.parametrize(
    ("override", "path"),
    [
        ("model.blocks.basic.parameters.act=rellu", "at model.blocks.basic.parameters.act, --set "),
        ("model.blocks.basic.parameters.window=70", "at model.blocks.basic.parameters.window, --set "),
        ("model.blocks.outer.parameters.a=rellu", "at model.blocks.outer.parameters.a, --set "),
        ("model.layers[0].basic.act=rellu", "--set "),
        ("model.layers[1].outer.a=rellu", "--set "),
    ],
)
def test_an_override_of_a_parameter_is_named_where_its_value_is_refused(
    tmp_path: Path, override: str, path: str
) -> None:
    model = {"blocks": ORIGINS, "layers": [{"basic": 3}, "outer", *HEAD]}
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, model, (8, 8, 3), override)
    assert any(line.strip().startswith(path + override) for line in str(caught.value).splitlines()), caught.value


def rates_of(tmp_path: Path, model: Model | list[Any]) -> list[float]:
    """The rates of a network's dropouts, in order."""
    loaded = load(tmp_path, model)
    layers = loaded.config.model.resolved(loaded.info.shape, loaded.info.target.values)
    return [layer.rate for layer in leaves(layers) if layer.kind == "Dropout"]


def test_repetitions_count_themselves(tmp_path: Path) -> None:
    """A rate that rises with the depth, written once; a block sees only what its call hands on."""
    unit = {"parameters": {"rate": "required"}, "layers": [{"Residual": [conv(3, "c"), {"Dropout": "$rate"}]}]}
    stage = {"parameters": {"depth": "required"}, "layers": [
        {"Repeat": {"times": "$depth", "layers": [{"unit": "0.2 * $index / $times"}]}}]}  # fmt: skip
    found = rates_of(tmp_path, {"blocks": {"unit": unit, "stage": stage}, "layers": [{"stage": 5}, *HEAD]})
    assert found == [0, 0.04, 0.08, 0.12, 0.16]


def test_the_innermost_repetition_counts_and_parameters_go_before_it(tmp_path: Path) -> None:
    inner = {"Repeat": {"times": 3, "layers": [{"Dropout": "($index + $times) / 10"}]}}
    layers = [{"Repeat": {"times": 2, "layers": [inner, {"Dropout": "($index + $times) / 10"}]}}, *HEAD]
    assert rates_of(tmp_path, layers) == [0.3, 0.4, 0.5, 0.2, 0.3, 0.4, 0.5, 0.3]
    own = {"parameters": {"index": 0.4}, "layers": [{"Repeat": {"times": 2, "layers": [{"Dropout": "$index"}]}}]}
    assert rates_of(tmp_path, {"blocks": {"own": own}, "layers": ["own", *HEAD]}) == [0.4, 0.4]


@pytest.mark.parametrize(
    ("layer", "place", "words"),
    [
        (
            {"Conv2D": {"filters": "8 / ($index + 1)", "kernel_size": 1}},
            "layers[0].Repeat.layers[0].Conv2D.filters",
            "got 2.6666666666666665 (a number) (from `8 / ($index + 1)`; `//` rounds down) "
            "(in repetition 3 of 3, where `$index` is 2)",
        ),
        (
            {"unit": {"rate": "0.6 * $index"}},
            "layers[0].Repeat.layers[0].unit.rate",
            "got 1.2 (a number) (from `$rate`) (in repetition 3 of 3, where `$index` is 2)",
        ),
        (
            {"Repeat": {"times": 1, "layers": [{"Dropout": "$index + $times + 1"}]}},
            "layers[0].Repeat.layers[0].Repeat.layers[0].Dropout.rate",
            "(from `$index + $times + 1`) (where `$index` is 0) (in repetition 1 of 3)",
        ),
        ({"Dropout": "$indx"}, "layers[0].Repeat.layers[0].Dropout.rate", "did you mean `$index`?"),
    ],
)
def test_what_a_repetition_makes_of_a_value_is_named(tmp_path: Path, layer: Any, place: str, words: str) -> None:
    unit = {"parameters": {"rate": "required"}, "layers": [{"Dropout": "$rate"}]}
    repeat = {"Repeat": {"times": 3, "layers": [layer]}}
    text = problems(tmp_path, {"blocks": {"unit": unit}, "layers": [repeat, *HEAD]})
    assert words in text
    assert place in text
    assert re.search(r"config\.yaml:[0-9]+:[0-9]+ ", text)


def test_no_repetition_is_counted_outside_of_one_or_in_a_block_that_it_calls(tmp_path: Path) -> None:
    unit = {"layers": [{"Dropout": "$index / 10"}]}
    layers = [{"Repeat": {"times": 2, "layers": ["unit"]}}, {"Dropout": "$times"}, *HEAD]
    text = problems(tmp_path, {"blocks": {"unit": unit}, "layers": layers})
    for name in ("index", "times"):
        assert f"`${name}` stands in the layers of a `Repeat`, but no `Repeat` is around this" in text


def test_a_repetition_that_does_not_fit_is_named(tmp_path: Path) -> None:
    """Halved three times, 8 rows are 1; the fourth pooling gets too few."""
    text = problems(tmp_path, [{"Repeat": {"times": 6, "layers": ["ReLU", {"MaxPooling2D": 2}]}}])
    assert "(in repetition 4 of 6)" in text
    assert "layers[0].Repeat.layers[1].MaxPooling2D" in text


def test_all_parameters_with_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    parameters = {"channels": 3, "name": 4, "3x": 5, "classes": 1, "my-f": 3, "late": "$later", "later": 1}
    text = problems(tmp_path, {"blocks": {"b": {"parameters": parameters, "layers": ["ReLU"]}}, "layers": ["b", *HEAD]})
    for name in ("channels", "name", "3x", "classes", "my-f", "late"):
        assert f"model.blocks.b.parameters.{name}\n" in text


@pytest.mark.parametrize("last", [{"Branches": [[], []]}, {"Repeat": {"times": 0, "layers": ["ReLU"]}}])
def test_a_network_that_ends_in_nothing_is_told_what_it_puts_out(tmp_path: Path, last: Any) -> None:
    (tmp_path / "c.yaml").write_text(json.dumps({"data": {"name": "digits"}, "model": {"layers": ["Flatten", last]}}))
    with pytest.raises(ConfigError, match="the network outputs"):
        load_config(str(tmp_path / "c.yaml"))


def test_the_text_of_errors_inside_errors_does_not_grow_with_what_was_written() -> None:
    with pytest.raises(PydanticCustomError) as caught:
        LAYER_CHOICE.validate({"Residual": [{"Conv2D": {"filters": 0, "kernel_size": ["x" * 1000] * 1000}}]})
    assert len(str((caught.value.context or {})["errors"])) < 100
