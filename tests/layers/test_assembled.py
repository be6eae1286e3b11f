"""Layers that are small models of Keras' layers, against those inside of keras.applications and NumPy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras.src.applications import convnext, efficientnet
from pydantic import ValidationError

from cnnkit.format.shapes import Shape, ShapeError
from cnnkit.layers import LAYERS
from cnnkit.layers.base import Layer
from cnnkit.layers.receptive_field import View

from .truth import make, random_images, resolved, run, scope

SHAPES: list[Shape] = [(6,), (5, 6), (4, 5, 6), (2, 4, 5, 6)]


def built(layer: Layer, input_shape: Shape) -> Any:
    return layer.build(scope(input_shape))


def refusal(name: str, arguments: Any) -> str:
    """What is said of arguments that are refused."""
    cls = LAYERS.get(name)
    assert cls is not None
    with pytest.raises(ValidationError) as caught:
        cls.model_validate(arguments)
    return str(caught.value)


@pytest.mark.parametrize("shape", SHAPES)
def test_stochastic_depth_drops_whole_images_as_convnext_does(shape: Shape) -> None:
    images = np.abs(random_images(600, *shape)) + 0.1
    ours = built(resolved("StochasticDepth", 0.25, shape), shape)
    theirs = convnext.StochasticDepth(0.25)
    shares = []
    for layer in (ours, theirs):
        outputs = np.asarray(layer(images, training=True))
        kept = outputs.reshape(600, -1).any(axis=1)
        shares.append(kept.mean())
        np.testing.assert_allclose(outputs[kept], images[kept] / 0.75, rtol=1e-6)
        assert not outputs[~kept].any()
        np.testing.assert_array_equal(np.asarray(layer(images, training=False)), images)
    # Six standard deviations of 600 draws.
    assert shares == pytest.approx([0.75, 0.75], abs=6 * np.sqrt(0.75 * 0.25 / 600))


def test_stochastic_depth_draws_from_the_seed_of_the_run() -> None:
    layer = resolved("StochasticDepth", 0.5, (3,))
    images = np.ones((100, 3), "float32")
    first, again, other = (np.asarray(layer.build(scope((3,), seed=seed))(images, training=True)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert "`seed` comes from the run" in refusal("StochasticDepth", {"rate": 0.5, "seed": 1})


@pytest.mark.parametrize("shape", SHAPES)
def test_layer_scale_is_that_of_convnext(shape: Shape) -> None:
    layer = resolved("LayerScale", None, shape)
    ours, theirs = built(layer, shape), convnext.LayerScale(1e-6, 6)
    images = random_images(3, *shape)
    np.testing.assert_allclose(np.asarray(ours(images)), np.asarray(theirs(images)), rtol=1e-6)
    factors = random_images(6, seed=1)
    theirs.set_weights([factors])
    ours.set_weights([factors.reshape(ours.weights[0].shape)])
    np.testing.assert_allclose(np.asarray(ours(images)), np.asarray(theirs(images)), rtol=1e-6)
    assert layer.output_shape(shape) == shape
    assert layer.parameters(shape) == (theirs.count_params(), 0) == (6, 0)


def test_squeeze_excite_is_that_of_efficientnet() -> None:
    """The block of keras.applications.EfficientNetB0 up to its excitation; a quarter of the 8 channels that come in."""
    inputs = keras.Input((6, 5, 8))
    block = efficientnet.block(
        inputs, activation="swish", name="", filters_in=8, filters_out=8, expand_ratio=3, se_ratio=0.25
    )
    whole = keras.Model(inputs, block)
    theirs = keras.Model(whole.get_layer("se_squeeze").input, whole.get_layer("se_excite").output)
    layer = resolved("SqueezeExcite", {"units": 2, "activation": "silu"}, (6, 5, 24))
    ours = built(layer, (6, 5, 24))
    weights = [random_images(*weight.shape, seed=number) for number, weight in enumerate(theirs.weights)]
    theirs.set_weights(weights)
    ours.set_weights(weights)
    images = random_images(3, 6, 5, 24)
    np.testing.assert_allclose(np.asarray(ours(images)), np.asarray(theirs(images)), rtol=1e-5, atol=1e-6)
    assert layer.parameters((6, 5, 24)) == (theirs.count_params(), 0)
    # A gate moves no pixel, and looks at all of them. Each weight but the biases multiplies once.
    assert layer.macs((6, 5, 24)) == 24 * 2 + 2 * 24
    assert View.of((6, 5, 24)).behind(layer, (6, 5, 24)).field() == (6, 5)


@pytest.mark.parametrize(
    ("arguments", "channels", "units"),
    [(None, 48, 3), ({"ratio": 4}, 10, 2), ({"ratio": 16}, 8, 1), ({"units": 7}, 8, 7)],
)
def test_the_squeeze_has_a_share_of_the_channels(arguments: Any, channels: int, units: int) -> None:
    layer = resolved("SqueezeExcite", arguments, (4, 4, channels))
    assert [weight.size for weight in layer.variables((4, 4, channels))] == [
        *(channels * units, units),
        *(units * channels, channels),
    ]


@pytest.mark.parametrize("shape", [(7, 8), (3, 4, 5, 8)])
def test_signals_and_volumes_are_gated_by_their_means(shape: Shape) -> None:
    layer = resolved("SqueezeExcite", {"ratio": 2}, shape)
    ours = built(layer, shape)
    weights = [random_images(*weight.shape, seed=number) for number, weight in enumerate(ours.weights)]
    ours.set_weights(weights)
    images = random_images(3, *shape)
    means = images.reshape(3, -1, 8).mean(axis=1)
    inner = np.maximum(means @ weights[0].reshape(8, 4) + weights[1], 0)
    gate = 1 / (1 + np.exp(-(inner @ weights[2].reshape(4, 8) + weights[3])))
    expected = images * gate.reshape(3, *(1 for _ in shape[:-1]), 8)
    np.testing.assert_allclose(np.asarray(ours(images)), expected, rtol=1e-4, atol=1e-5)
    assert layer.output_shape(shape) == shape


def test_composites_take_channels_first() -> None:
    images = random_images(2, 4, 5, 6)
    first = np.moveaxis(images, -1, 1)
    for name, arguments in (("ChannelShuffle", {"groups": 3}), ("ChannelSplit", {"part": 1, "parts": 3})):
        layer = resolved(name, {**arguments, "data_format": "channels_first"}, (6, 4, 5))
        expected = run(resolved(name, arguments, (4, 5, 6)), images)
        np.testing.assert_array_equal(np.moveaxis(run(layer, first), 1, -1), expected)
        assert layer.output_shape((6, 4, 5)) == (expected.shape[-1], 4, 5)
    layer = resolved("SqueezeExcite", {"ratio": 2, "data_format": "channels_first"}, (6, 4, 5))
    assert [weight.shape for weight in layer.variables((6, 4, 5))] == [(1, 1, 6, 3), (3,), (1, 1, 3, 6), (6,)]
    scale = resolved("LayerScale", {"data_format": "channels_first"}, (6, 4, 5))
    assert scale.parameters((6, 4, 5)) == (6, 0)


def test_squeeze_excite_refuses_two_sizes_and_what_is_no_image() -> None:
    assert "leave one out" in refusal("SqueezeExcite", {"ratio": 4, "units": 8})
    with pytest.raises(ShapeError, match="needs an image"):
        resolved("SqueezeExcite", None, (12,))


@pytest.mark.parametrize("shape", [(12,), (3, 12), (4, 5, 12)])
@pytest.mark.parametrize("groups", [1, 2, 3, 12])
def test_channels_of_groups_are_interleaved(shape: Shape, groups: int) -> None:
    """Zhang 2017, section 3.1, channel by channel."""
    images = random_images(2, *shape)
    each = 12 // groups
    expected = np.empty_like(images)
    for group in range(groups):
        for channel in range(each):
            expected[..., channel * groups + group] = images[..., group * each + channel]
    layer = make("ChannelShuffle", groups)
    found = run(layer, images)
    np.testing.assert_array_equal(found, expected)
    assert layer.output_shape(shape) == shape
    # As many groups as each had channels put them back.
    np.testing.assert_array_equal(run(make("ChannelShuffle", each), found), images)


@pytest.mark.parametrize("arguments", [{"groups": 3}, {"groups": 4, "data_format": "channels_first"}], ids=str)
def test_channels_of_images_of_any_size_are_interleaved_alike(arguments: dict[str, Any], tmp_path: Path) -> None:
    layer, first = make("ChannelShuffle", arguments), "data_format" in arguments
    built = layer.build(replace(scope((4, 5, 12)), fed=(12, None, None) if first else (None, None, 12)))
    model = keras.Sequential([keras.Input((12, None, None) if first else (None, None, 12)), built])
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    for shape in ((4, 5), (7, 2)):
        images = random_images(2, *((12, *shape) if first else (*shape, 12)))
        np.testing.assert_array_equal(np.asarray(again(images)), run(layer, images))
    assert layer.built_for((4, 5, 12)) == layer.built_for((7, 2, 12))


@pytest.mark.parametrize("shape", [(12,), (3, 12), (4, 5, 12)])
@pytest.mark.parametrize("parts", [1, 2, 3])
def test_parts_are_equal_and_in_order(shape: Shape, parts: int) -> None:
    images = random_images(2, *shape)
    for part, expected in enumerate(np.split(images, parts, axis=-1)):
        layer = make("ChannelSplit", {"part": part, "parts": parts})
        found = run(layer, images)
        np.testing.assert_array_equal(found, expected)
        assert layer.output_shape(shape) == found.shape[1:]


@pytest.mark.parametrize(
    ("name", "arguments", "argument", "words"),
    [
        ("ChannelShuffle", 5, "groups", "groups (5) must divide the 12 channels"),
        ("ChannelSplit", {"part": 0, "parts": 5}, "parts", "parts (5) must divide the 12 channels"),
        ("ChannelSplit", 2, "part", "part 2 is none of 2, which count from 0 to 1"),
    ],
)
def test_channels_that_do_not_fit_are_refused(name: str, arguments: Any, argument: str, words: str) -> None:
    with pytest.raises(ShapeError) as caught:
        make(name, arguments).output_shape((4, 4, 12))
    assert caught.value.argument == argument
    assert words in caught.value.message


def test_a_shuffle_leaves_the_receptive_field_alone() -> None:
    shape = (20, 20, 12)
    view = View.of(shape)
    for name, arguments in (("Conv2D", {"filters": 12, "kernel_size": 3, "padding": "same"}), ("ChannelShuffle", 3)):
        layer = resolved(name, arguments, shape)
        view = view.behind(layer, shape)
    assert view.field() == (3, 3)
