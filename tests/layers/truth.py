"""What Keras itself says about a layer, to compare with cnnkit's own arithmetic."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from cnnkit.format.shapes import Shape, ShapeError
from cnnkit.layers.base import Layer, Names, Scope, Seeds
from cnnkit.layers.unresolved import LAYER_CHOICE
from cnnkit.layers.weight_paths import name_in_layer

#: The same examples in every run.
GRID = settings(max_examples=60, deadline=None, derandomize=True, database=None)

#: For every layer, arguments that it accepts for the shape of `example_shape`, as YAML gives them.
EXAMPLES: dict[str, dict[str, Any]] = {
    "Conv2D": {"filters": 8, "kernel_size": 3, "kernel_regularizer": {"L2": 1e-4}},
    "SeparableConv2D": {"filters": 8, "kernel_size": [3, 2], "depth_multiplier": 2},
    "DepthwiseConv2D": {"kernel_size": 3, "depthwise_initializer": "he_normal"},
    "Conv2DTranspose": {"filters": 4, "kernel_size": 3, "strides": 2, "output_padding": 1},
    "MaxPooling2D": {},
    "AveragePooling2D": {"pool_size": 2},
    "GlobalMaxPooling2D": {},
    "GlobalAveragePooling2D": {"keepdims": True},
    "BatchNormalization": {"gamma_constraint": "NonNeg"},
    "LayerNormalization": {"axis": [1, 2, 3]},
    "GroupNormalization": {"groups": 2},
    "UnitNormalization": {"axis": [1, 3]},
    "LocalResponseNormalization": {},
    "Normalization": {"mean": [1, 2, 3, 4], "variance": [1, 1, 2, 2]},
    "Activation": {"activation": "gelu"},
    "ReLU": {"max_value": 6},
    "LeakyReLU": {},
    "PReLU": {"shared_axes": [1, 2]},
    "ELU": {},
    "Softmax": {},
    "Maxout": {"num_units": 2},
    "Dense": {"units": 5, "kernel_regularizer": {"OrthogonalRegularizer": {"mode": "columns"}}},
    "Flatten": {},
    "Reshape": {"target_shape": [-1, 4]},
    "Permute": {"dims": [2, 1, 3]},
    "Dropout": {"rate": 0.5, "noise_shape": [None, 1, 1, 4]},
    "SpatialDropout2D": {"rate": 0.5},
    "GaussianNoise": {"stddev": 0.1},
    "GaussianDropout": {"rate": 0.1},
    "AlphaDropout": {"rate": 0.1},
    "UpSampling2D": {},
    "ZeroPadding2D": {},
    "Cropping2D": {"cropping": 1},
    "Rescaling": {"scale": 2},
    "Resizing": {"height": 3, "width": 5},
    "Conv1D": {"filters": 8, "kernel_size": 3, "kernel_regularizer": {"L2": 1e-4}},
    "SeparableConv1D": {"filters": 8, "kernel_size": [3], "depth_multiplier": 2},
    "DepthwiseConv1D": {"kernel_size": 3, "padding": [1, 2]},
    "Conv1DTranspose": {"filters": 4, "kernel_size": 3, "strides": 2, "output_padding": 1},
    "MaxPooling1D": {"padding": 1},
    "AveragePooling1D": {"pool_size": 2},
    "GlobalMaxPooling1D": {},
    "GlobalAveragePooling1D": {"keepdims": True},
    "UpSampling1D": {"size": 3},
    "ZeroPadding1D": {"padding": [1, 0]},
    "Cropping1D": {"cropping": 2},
    "SpatialDropout1D": {"rate": 0.5},
    "Conv3D": {"filters": 8, "kernel_size": [3, 2, 1], "groups": 2},
    "Conv3DTranspose": {"filters": 4, "kernel_size": 3, "strides": [1, 2, 1], "padding": 1},
    "MaxPooling3D": {},
    "AveragePooling3D": {"pool_size": 2},
    "GlobalMaxPooling3D": {},
    "GlobalAveragePooling3D": {"keepdims": True},
    "UpSampling3D": {"size": [1, 2, 3]},
    "ZeroPadding3D": {"padding": [[1, 0], [0, 1], [2, 2]]},
    "Cropping3D": {},
    "SpatialDropout3D": {"rate": 0.5},
    "Embedding": {"input_dim": 20, "output_dim": 4},
    "MultiHeadAttention": {"num_heads": 2, "key_dim": 3, "value_dim": 5},
    "AdaptiveAveragePooling1D": {"output_size": 4},
    "AdaptiveAveragePooling2D": {"output_size": [3, 2]},
    "AdaptiveAveragePooling3D": {"output_size": 2},
    "AdaptiveMaxPooling1D": {"output_size": 4},
    "AdaptiveMaxPooling2D": {"output_size": 3},
    "AdaptiveMaxPooling3D": {"output_size": [1, 2, 3]},
    "RMSNormalization": {},
    "SpectralNormalization": {"layer": {"Conv2D": {"filters": 3, "kernel_size": 3}}},
    "Residual": {"layers": [{"Conv2D": {"filters": 4, "kernel_size": 3, "padding": "same"}}], "activation": "relu"},
    "Backbone": {"name": "MobileNetV2", "weights": None, "until": "block_12_add"},
    "Branches": {"paths": [[], [{"Conv2D": {"filters": 2, "kernel_size": 1}}, "BatchNormalization"]]},
    "StochasticDepth": {"rate": 0.2},
    "LayerScale": {"init_values": 0.5},
    "SqueezeExcite": {"ratio": 2},
    "ChannelShuffle": {"groups": 2},
    "ChannelSplit": {"part": 1},
    "MinibatchStandardDeviation": {"group_size": 3},
    "Repeat": {"times": 2, "layers": [{"Conv2D": {"filters": 3, "kernel_size": 3}}, "ReLU"]},
}
#: The example of a Backbone is for other images; `test_backbone.py` has its tests.
EXAMPLE_SHAPE: Shape = (8, 6, 4)


def example_shape(name: str) -> Shape:
    """What arrives at the example of a layer."""
    if name == "Embedding":
        return (9,)
    return (9, 4) if "1D" in name else (8, 6, 5, 4) if "3D" in name else EXAMPLE_SHAPE


@dataclass(frozen=True)
class Facts:
    """A layer's output shape without the batch axis, and its weights in order."""

    output_shape: Shape
    weights: tuple[tuple[str, Shape, bool], ...]


def make(name: str, arguments: Any = None) -> Layer:
    """A layer from the values that YAML would give."""
    return LAYER_CHOICE.validate({name: arguments})


def resolved(name: str, arguments: Any, input_shape: Shape) -> Layer:
    """The same where the shape that arrives is known, on a data set of ten classes."""
    return make(name, arguments).resolve(Names({"classes": 10}), input_shape)


def scope(input_shape: Shape, name: str = "layer", seed: int = 0, dtype: str | None = None) -> Scope:
    return Scope(name=name, input_shape=input_shape, seeds=Seeds(seed), dtype=dtype)


def our_facts(name: str, arguments: dict[str, Any], input_shape: Shape) -> Facts | None:
    """What cnnkit says; None where it refuses."""
    try:
        layer = resolved(name, arguments, input_shape)
        output_shape = layer.output_shape(input_shape)
    except (PydanticCustomError, ShapeError):
        return None
    weights = layer.variables(input_shape)
    return Facts(output_shape, tuple((w.name, w.shape, w.trainable and layer.trainable) for w in weights))


def facts_of(keras_layer: Any, input_shape: Shape) -> Facts:
    output = keras_layer(keras.Input(input_shape))
    trainable = {id(weight) for weight in keras_layer.trainable_weights}
    # A Sequential is one layer of the config; in other models the weights of several have the same names.
    named = name_in_layer if isinstance(keras_layer, keras.Sequential) else lambda _, weight: weight.name
    weights = tuple((named(keras_layer, w), tuple(w.shape), id(w) in trainable) for w in keras_layer.weights)
    return Facts(tuple(output.shape[1:]), weights)


def keras_facts(name: str, arguments: dict[str, Any], input_shape: Shape) -> Facts | None:
    """What Keras' own layer says, made from the same arguments; None where Keras refuses."""
    try:
        return facts_of(getattr(keras.layers, name)(**arguments), input_shape)
    except Exception:
        return None


def check_agreement(name: str, arguments: dict[str, Any], input_shape: Shape) -> None:
    """cnnkit and Keras refuse the same arguments, and otherwise give the same shapes, weights and layer."""
    theirs = keras_facts(name, arguments, input_shape)
    assert our_facts(name, arguments, input_shape) == theirs
    if theirs is None:
        return
    built = make(name, arguments).build(scope(input_shape))
    assert plain_config(built) == plain_config(getattr(keras.layers, name)(**arguments))
    assert facts_of(built, input_shape) == theirs


def plain_config(keras_layer: Any) -> Any:
    """A Keras layer's configuration without names and seeds."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items() if k not in ("name", "seed", "shared_object_id")}
        return [plain(item) for item in value] if isinstance(value, list | tuple) else value

    return plain(keras_layer.get_config())


def run(layer: Layer, images: np.ndarray, dtype: str | None = None) -> np.ndarray:
    """The output of a layer that cnnkit built, for a batch of images."""
    return np.asarray(layer.build(scope(images.shape[1:], dtype=dtype))(images))


def random_images(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


# --- Strategies ---------------------------------------------------------------------------------------


def pairs(low: int, high: int) -> st.SearchStrategy[Any]:
    """A whole number for both axes, or one for each."""
    number = st.integers(low, high)
    return st.one_of(number, st.lists(number, min_size=2, max_size=2))


def sides(high: int) -> st.SearchStrategy[Any]:
    """Rows and columns on each side, as ZeroPadding2D takes them."""
    number = st.integers(0, high)
    two = st.lists(number, min_size=2, max_size=2)
    return st.one_of(number, two, st.lists(two, min_size=2, max_size=2))


data_formats = st.sampled_from([None, "channels_last", "channels_first"])


@st.composite
def image_shapes(draw: st.DrawFn, data_format: str | None = None, high: int = 20) -> Shape:
    height, width, channels = draw(st.integers(1, high)), draw(st.integers(1, high)), draw(st.integers(1, 8))
    return (channels, height, width) if data_format == "channels_first" else (height, width, channels)


def optional(**strategies: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Some of the arguments."""
    return st.fixed_dictionaries({}, optional=strategies)
