"""Initializers, regularizers, constraints and activations by Keras' names."""

from __future__ import annotations

import inspect
from typing import Any

import keras
import numpy as np
import pytest
from pydantic_core import PydanticCustomError

from cnnkit.format.base import Choice, Table
from cnnkit.layers.weights import ACTIVATIONS, CONSTRAINTS, INITIALIZERS, REGULARIZERS, WeightObject

from .truth import make, plain_config, random_images, run

TABLES = [
    (INITIALIZERS, keras.initializers),
    (REGULARIZERS, keras.regularizers),
    (CONSTRAINTS, keras.constraints),
]
#: What Keras lacks; tests/layers/test_keras_initializers.py.
OWN = {"Dirac", "PatchWhitening"}
NAMES = [(table, module, name) for table, module in TABLES for name in table.names() if name not in OWN]
#: What the modules hold besides the objects themselves.
NOT_OBJECTS = {"get", "serialize", "deserialize", "Initializer", "Regularizer", "Constraint"}


def read(table: Table, value: Any) -> WeightObject:
    found = Choice(table).validate(value)
    assert isinstance(found, WeightObject)
    return found


@pytest.mark.parametrize(("table", "module"), TABLES)
def test_every_name_of_keras_is_known_or_explained(table: Table, module: Any) -> None:
    names = {name for name in dir(module) if not name.startswith("_")} - NOT_OBJECTS
    known = {*table.names(), *table.aliases, *table.unavailable}
    assert names <= known


@pytest.mark.parametrize(("table", "module"), TABLES)
def test_an_alias_means_what_keras_means_by_it(table: Table, module: Any) -> None:
    for alias, name in table.aliases.items():
        exported = getattr(module, alias, None) or type(module.get(alias))
        assert exported.__name__ == name


@pytest.mark.parametrize(("table", "module", "name"), NAMES)
def test_fields_defaults_and_leading_argument_are_those_of_keras(table: Table, module: Any, name: str) -> None:
    cls = table.get(name)
    assert cls is not None
    parameters = inspect.signature(getattr(module, name).__init__).parameters
    theirs = {k: p.default for k, p in parameters.items() if k not in ("self", "args", "kwargs", "seed")}
    assert {k: field.default for k, field in cls.model_fields.items()} == theirs
    assert all(field.description for field in cls.model_fields.values())
    first = next((k for k in parameters if k not in ("self", "args", "kwargs")), None)
    assert cls.leading == (None if first == "seed" else first)


@pytest.mark.parametrize(("table", "module", "name"), NAMES)
def test_a_bare_name_builds_keras_object(table: Table, module: Any, name: str) -> None:
    assert plain_config(read(table, name).build(seed=3)) == plain_config(getattr(module, name)())


@pytest.mark.parametrize("name", [name for name in INITIALIZERS.names() if name not in OWN])
def test_an_initializer_draws_from_the_given_seed(name: str) -> None:
    def values(seed: int) -> np.ndarray:
        return np.asarray(read(INITIALIZERS, name).build(seed)((4, 4)))

    assert np.array_equal(values(1), values(1))
    random = "seed" in inspect.signature(getattr(keras.initializers, name).__init__).parameters
    assert np.array_equal(values(1), values(2)) != random


def test_arguments_reach_keras() -> None:
    assert read(REGULARIZERS, {"L2": 1e-4}).build(0).l2 == 1e-4
    assert read(REGULARIZERS, {"l1_l2": {"l1": 0.5, "l2": 0.25}}).build(0).get_config() == {
        "l1": 0.5,
        "l2": 0.25,
    }
    constraint = read(CONSTRAINTS, {"max_norm": {"max_value": 3, "axis": [0, 1, 2]}}).build(0)
    assert constraint.get_config() == {"max_value": 3, "axis": [0, 1, 2]}
    scaling = read(INITIALIZERS, {"VarianceScaling": {"scale": 2.0, "mode": "fan_out", "distribution": "uniform"}})
    assert scaling.build(0).get_config()["mode"] == "fan_out"
    axes = read(INITIALIZERS, {"he_normal": {"input_axes": [0, 1], "output_axes": [2]}}).build(0)
    assert (axes.input_axes, axes.output_axes) == ([0, 1], [2])


def message_of(table: Table, value: Any) -> str:
    with pytest.raises(PydanticCustomError) as caught:
        read(table, value)
    nested = (caught.value.context or {}).get("errors")
    return str(nested[0]["msg"]) if nested else caught.value.message()


@pytest.mark.parametrize(
    ("table", "value", "expected"),
    [
        (INITIALIZERS, "he_norml", "did you mean `HeNormal`?"),
        (INITIALIZERS, {"HeNormal": {"seed": 1}}, "comes from the run"),
        (INITIALIZERS, "STFT", "there is no"),
        (INITIALIZERS, {"RandomUniform": {"minval": 1, "maxval": 0}}, "must be above"),
        (INITIALIZERS, {"VarianceScaling": {"scale": 0}}, "greater than 0"),
        (INITIALIZERS, {"VarianceScaling": {"mode": "fan"}}, "fan_in"),
        (INITIALIZERS, {"HeNormal": {"input_axes": [0]}}, "only work together"),
        (REGULARIZERS, {"L2": -1}, "greater than or equal to 0"),
        (REGULARIZERS, {"OrthogonalRegularizer": {"mode": "both"}}, "rows"),
        (REGULARIZERS, "L3", "expected one of `L1`, `L1L2`, `L2`"),
        (CONSTRAINTS, {"MinMaxNorm": {"min_value": 2, "max_value": 1}}, "must be at least"),
        (CONSTRAINTS, {"UnitNorm": {"axis": "all"}}, "expected an axis"),
    ],
)
def test_a_mistake_is_named(table: Table, value: Any, expected: str) -> None:
    assert expected in message_of(table, value)


@pytest.mark.parametrize(
    "arguments",
    [
        {"kernel_initializer": "identity"},
        {"bias_initializer": "orthogonal"},
        {"kernel_regularizer": "OrthogonalRegularizer"},
        {"kernel_constraint": {"MaxNorm": {"axis": 4}}},
        {"bias_constraint": {"UnitNorm": [0, 1]}},
    ],
)
def test_what_cannot_act_on_a_convolution_kernel_is_refused(arguments: dict[str, Any]) -> None:
    """Keras finds out when the layer is built, or only in the first training step."""
    with pytest.raises(PydanticCustomError):
        make("Conv2D", {"filters": 2, "kernel_size": 3, **arguments})


def test_the_activations_are_keras_own() -> None:
    exported = {name for name in dir(keras.activations) if not name.startswith("_")}
    assert set(ACTIVATIONS) == exported - {"get", "serialize", "deserialize", "glu", "threshold"}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_works_by_name_and_keeps_the_shape(name: str) -> None:
    images = random_images(2, 3, 3, 4)
    values = run(make("Activation", name), images)
    assert values.shape == images.shape
    assert np.array_equal(values, np.asarray(getattr(keras.activations, name)(images)))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("rellu", "did you mean `relu`?"),
        ("ReLU", "did you mean `relu`?"),
        (3, "expected the name of an activation"),
    ],
)
def test_a_wrong_activation_is_explained(value: Any, expected: str) -> None:
    with pytest.raises(PydanticCustomError) as caught:
        make("Activation", {"activation": value})
    assert expected in str((caught.value.context or {})["errors"][0]["msg"])


def test_an_activation_that_has_no_arguments_by_default_is_explained() -> None:
    with pytest.raises(PydanticCustomError) as caught:
        make("Conv2D", {"filters": 2, "kernel_size": 3, "activation": "threshold"})
    assert "two arguments" in str((caught.value.context or {})["errors"][0]["msg"])
