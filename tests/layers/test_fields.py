"""Every argument that Keras gives a layer is there, with Keras' default and a description."""

from __future__ import annotations

import inspect
from typing import Any

import keras
import pytest

from cnnkit.format.base import StrictModel
from cnnkit.format.document import parse
from cnnkit.layers import LAYERS
from cnnkit.layers.base import Layer, Names
from cnnkit.layers.stack import trace
from cnnkit.layers.unresolved import LAYER_CHOICE

from .truth import EXAMPLES, example_shape, facts_of, make, our_facts, resolved, scope

#: Keras' arguments that the format leaves out: the run gives the seed; the rest is no matter of training.
LEFT_OUT = {"self", "kwargs", "name", "dtype", "seed", "lora_rank", "lora_alpha", "quantization_config", "weights"}
#: Layers that Keras lacks.
OWN = {
    *("Backbone", "LocalResponseNormalization", "Maxout", "Residual", "Branches", "Repeat"),
    *("StochasticDepth", "LayerScale", "SqueezeExcite", "ChannelShuffle", "ChannelSplit"),
    "MinibatchStandardDeviation",
}
#: Arguments that the format leaves out: of attention another number of channels, for which there is `Dense` after it,
#: and a choice among GPU kernels.
LEFT_OUT_OF = {"MultiHeadAttention": {"output_shape", "flash_attention"}}
#: Arguments that Keras does not have.
OF_OUR_OWN = {"Embedding": {"padding_idx"}}
KERAS_LAYERS = sorted(set(LAYERS.names()) - OWN)
ORDINARY = sorted(set(LAYERS.names()) - {"Backbone"})


def keras_parameters(name: str) -> dict[str, inspect.Parameter]:
    found = inspect.signature(getattr(keras.layers, name).__init__).parameters
    return {key: value for key, value in found.items() if key not in LEFT_OUT | LEFT_OUT_OF.get(name, set())}


def comparable(value: Any) -> Any:
    """A default as both sides can write it: objects by their class name, one number of one axis by itself."""
    if isinstance(value, StrictModel):
        return type(value).__name__
    while isinstance(value, tuple) and len(value) == 1:
        value = value[0]
    return value


@pytest.mark.parametrize("name", KERAS_LAYERS)
def test_fields_and_defaults_are_those_of_keras(name: str) -> None:
    cls = LAYERS.get(name)
    assert cls is not None
    ours = {key: field for key, field in cls.model_fields.items() if key not in Layer.model_fields}
    theirs = keras_parameters(name)
    assert set(ours) - OF_OUR_OWN.get(name, set()) == set(theirs)
    for key, parameter in theirs.items():
        if parameter.default is inspect.Parameter.empty:
            assert ours[key].is_required(), key
        elif name.startswith(("ZeroPadding", "Cropping")) and key in ("padding", "cropping"):
            # Keras writes 1 or (1, 1) and means one row or column on each of all sides.
            assert comparable(ours[key].default) == getattr(getattr(keras.layers, name)(), key)
        elif key.endswith("_initializer"):
            assert type(ours[key].default).__name__ == type(keras.initializers.get(parameter.default)).__name__
        elif key == "dilation_rate":
            # Keras writes 1 for each of them.
            assert set(ours[key].default) == {1}
        else:
            assert comparable(ours[key].default) == comparable(parameter.default), key


@pytest.mark.parametrize("name", KERAS_LAYERS)
def test_the_leading_argument_is_keras_first_one(name: str) -> None:
    cls = LAYERS.get(name)
    assert cls is not None
    assert cls.leading == next(iter(keras_parameters(name)), None)


@pytest.mark.parametrize("name", LAYERS.names())
def test_every_field_says_what_it_is(name: str) -> None:
    cls = LAYERS.get(name)
    assert cls is not None
    assert cls.__doc__
    for key, field in cls.model_fields.items():
        assert field.description, key


def test_every_layer_has_an_example() -> None:
    assert set(EXAMPLES) == set(LAYERS.names())


@pytest.mark.parametrize("name", ORDINARY)
def test_an_ordinary_layer_agrees_with_the_built_one(name: str) -> None:
    shape = example_shape(name)
    layer = resolved(name, EXAMPLES[name], shape)
    built = layer.build(scope(shape, name="my_layer"))
    assert built.name == "my_layer"
    facts = facts_of(built, shape)
    assert our_facts(name, EXAMPLES[name], shape) == facts
    assert sum(layer.parameters(shape)) == built.count_params()


@pytest.mark.parametrize("name", LAYERS.names())
def test_a_layer_written_out_reads_back_as_the_same(name: str) -> None:
    layer = make(name, EXAMPLES[name])
    assert LAYER_CHOICE.validate(layer.to_plain()) == layer


@pytest.mark.parametrize("name", ORDINARY)
def test_name_trainable_and_dtype_reach_keras(name: str) -> None:
    arguments = {**EXAMPLES[name], "name": "mine", "trainable": False, "dtype": "float64"}
    shape = example_shape(name)
    layer = resolved(name, arguments, shape)
    built = layer.build(scope(shape))
    assert built.name == "mine"
    facts = facts_of(built, shape)
    assert not any(trainable for _, _, trainable in facts.weights)
    assert layer.parameters(shape)[0] == 0
    assert str(built(keras.Input(shape)).dtype) == "float64"


@pytest.mark.parametrize("name", [name for name in ORDINARY if LAYERS.get(name).example])  # type: ignore[union-attr]
def test_examples_of_the_reference_are_valid(name: str) -> None:
    cls = LAYERS.get(name)
    assert cls is not None
    layers = [LAYER_CHOICE.validate(layer) for layer in parse(cls.example, "example").plain()]
    assert f"{name}:" in cls.example
    trace(layers, (32, 32, 24), Names({"classes": 10}))


def test_layers_made_of_others_have_an_example() -> None:
    composites = ("composite", "assembled", "channels")
    assert all(LAYERS.get(name).example for module in composites for name in LAYERS.modules[module])  # type: ignore[union-attr]
