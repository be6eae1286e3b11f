"""Networks of keras.applications as layers, held against keras.applications itself."""

from __future__ import annotations

import gc
import importlib
import math
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import keras
import numpy as np
import pytest
from pydantic import ValidationError

from cnnkit.format.shapes import Shape, ShapeError
from cnnkit.layers.backbone import Backbone
from cnnkit.layers.backbone_graph import FOLDER, NETWORKS, SUFFIX, read_network
from cnnkit.layers.base import Layer
from cnnkit.layers.receptive_field import View
from cnnkit.layers.stack import Step
from cnnkit.layers.weight_paths import weighted_layers
from cnnkit.training.model import plain_layer, weights_by_path

from .truth import make, scope

#: A network that is small, and one that the short tests look at.
SMALL = "MobileNetV3Small"
#: Of each family of networks, the one with the shortest description; in the others, its layers are repeated or wider.
SMALLEST = [
    min(
        (name for name in NETWORKS if NETWORKS[name] == family),
        key=lambda name: (FOLDER / f"{name}{SUFFIX}").stat().st_size,
    )
    for family in sorted(set(NETWORKS.values()))
]


@pytest.fixture(autouse=True)
def _freed() -> Iterator[None]:
    """The networks of one test are gone before the next."""
    yield
    gc.collect()


class Built:
    """A network for the tests that look at it, each of its forms made once: hundreds of layers take seconds."""

    #: Of images whose sides are rounded where they are halved, and of those whose sides are not.
    ODD, EVEN = (97, 131, 3), (96, 128, 3)

    def __init__(self, name: str) -> None:
        self.name = name

    @cached_property
    def odd(self) -> Any:
        """Keras' own, whose weights have no values."""
        return described(self.name, self.ODD)

    @cached_property
    def even(self) -> Any:
        """Keras' own, with values."""
        return of_keras(self.name, self.EVEN)

    @cached_property
    def ours(self) -> Any:
        """The layer's, for `EVEN`."""
        return backbone(self.name).build(scope(self.EVEN))


@pytest.fixture(scope="module")
def built(request: pytest.FixtureRequest) -> Iterator[Built]:
    """One network of `SMALLEST`: pytest runs the tests of one after another."""
    yield Built(request.param)
    gc.collect()


EACH_SMALLEST = pytest.mark.parametrize(
    "built", [pytest.param(name, marks=pytest.mark.long) for name in SMALLEST], indirect=True
)


def backbone(name: str = SMALL, **arguments: Any) -> Backbone:
    layer = make("Backbone", {"name": name, "weights": None, **arguments})
    assert isinstance(layer, Backbone)
    return layer


def of_keras(name: str, shape: tuple[int | None, ...]) -> Any:
    return getattr(keras.applications, name)(include_top=False, weights=None, input_shape=shape)


def described(name: str, shape: tuple[int | None, ...]) -> Any:
    """Keras' own without values: to draw those of a hundred million weights takes longer than all the rest."""
    with keras.StatelessScope(initialize_variables=False):
        model = of_keras(name, shape)
    # Keras would draw them at the end of some other scope.
    keras.src.backend.common.global_state.set_global_attribute("uninitialized_variables", [])
    return model


def counts(model: Any) -> tuple[int, int]:
    """Parameters that are trained, and that are not."""
    trainable = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    return trainable, model.count_params() - trainable


def check_operations(layer: Layer, shape: Shape, model: Any) -> None:
    """Each operation has Keras' type, shape and weights."""
    ours = layer.operations(shape)
    theirs = [one for one in model.operations if not isinstance(one, keras.layers.InputLayer)]
    for operation, keras_operation in zip(ours, theirs, strict=True):
        assert operation.kind == type(keras_operation).__name__
        assert (None, *operation.shape) == keras_operation.output.shape, operation.name
        weights = [(w.name, tuple(w.shape), w.trainable) for w in getattr(keras_operation, "weights", [])]
        if operation.kind != "LayerScale":
            # Keras gives its weight no name.
            assert [(w.name, w.shape, w.trainable) for w in operation.weights] == weights, operation.name


def check_network(name: str, shape: Shape, model: Any) -> None:
    """Shapes, weights and counts of the layer are those of Keras' network."""
    layer = backbone(name)
    assert (None, *layer.output_shape(shape)) == model.output_shape
    assert layer.parameters(shape) == counts(model)
    check_operations(layer, shape, model)


@pytest.mark.parametrize(
    "name",
    [
        SMALL,
        *(pytest.param(name, marks=pytest.mark.long) for name in NETWORKS if name not in SMALLEST),
    ],
)
def test_shapes_weights_and_counts_are_those_of_keras(name: str) -> None:
    check_network(name, Built.ODD, described(name, Built.ODD))


@EACH_SMALLEST
def test_shapes_weights_and_counts_of_each_family_are_those_of_keras(built: Built) -> None:
    check_network(built.name, built.ODD, built.odd)
    check_network(built.name, built.EVEN, built.even)


@EACH_SMALLEST
def test_until_keeps_what_a_layer_depends_on(built: Built) -> None:
    name, shape, model = built.name, built.ODD, built.odd
    operations = model.operations[1:]
    nodes = read_network(name).nodes
    for place in range(2, len(nodes), max(len(nodes) // 4, 1)):
        cut = keras.Model(model.inputs[0], operations[place].output)
        layer = backbone(name, until=nodes[place].name)
        if len(operations[place].output.shape) == 4:
            assert (None, *layer.output_shape(shape)) == cut.output_shape
        assert layer.parameters(shape) == counts(cut)
        assert len(layer.operations(shape)) == len(cut.operations) - 1


def randomize(model: Any) -> None:
    """Other weights than those at the start, of which many are 0 or 1.

    Kernels keep their mean of 0: otherwise outputs grow from layer to layer, beyond float32 in the deepest networks.
    """
    generator = np.random.default_rng(0)
    for weight in model.weights:
        if weight.dtype == "float32":
            factor = generator.uniform(0.9, 1.1, weight.shape).astype("float32")
            offset = generator.uniform(0.001, 0.01, weight.shape) if len(weight.shape) == 1 else 0.0
            weight.assign(weight * factor + np.asarray(offset, "float32"))


@EACH_SMALLEST
def test_outputs_are_those_of_keras_for_its_own_preprocessing(built: Built) -> None:
    name, shape, ours, model = built.name, built.EVEN, built.ours, built.even
    randomize(model)
    layers = {
        node.name: operation for node, operation in zip(read_network(name).nodes, model.operations[1:], strict=True)
    }
    for layer in ours.layers:
        if layer.weights:
            layer.set_weights(layers[layer.name].get_weights())
    images = np.random.default_rng(1).uniform(0, 255, (2, *shape)).astype("float32")
    preprocess = importlib.import_module(f"keras.applications.{NETWORKS[name]}").preprocess_input
    wanted = np.asarray(model(preprocess(images.copy()), training=False))
    assert np.abs(wanted).max() > 0
    outputs = np.asarray(ours(images, training=False))
    np.testing.assert_allclose(outputs, wanted, rtol=1e-5, atol=1e-6 * np.abs(wanted).max())
    # What is saved is of Keras' own layers.
    plain = plain_layer(ours)
    plain.set_weights(ours.get_weights())
    assert not any(type(layer).__module__.startswith("cnnkit") for layer in plain.layers)
    np.testing.assert_array_equal(plain(images, training=False), outputs)


@EACH_SMALLEST
def test_weights_have_paths(built: Built) -> None:
    """`weight_paths` and the built model agree; a name without `/` is a whole one."""
    name, shape = built.name, built.EVEN
    layer = backbone(name)
    paths = [one.path_of(weight) for one in weighted_layers([Step(layer, shape, shape)]) for weight in one.weights]
    assert len(set(paths)) == len(paths)
    assert set(paths) == {f"{name}/{path}" for path in weights_by_path(built.ours)}
    assert not any("/" in node.name for node in read_network(name).nodes)


def test_the_receptive_field_is_what_gradients_reach() -> None:
    shape = (96, 64, 3)
    layer = backbone("MobileNetV2", until="block_3_depthwise")
    built = layer.build(scope(shape))
    for weight in built.weights:
        if weight.name == "kernel":
            # Positive, so that no unit is dead and nothing cancels.
            weight.assign(np.full(weight.shape, 1 / np.prod(weight.shape[:-1]), "float32"))
    import tensorflow as tf

    images = tf.ones((1, *shape)) * 200.0
    with tf.GradientTape() as tape:
        tape.watch(images)
        outputs = built(images, training=False)
        height, width = outputs.shape[1] // 2, outputs.shape[2] // 2
        value = tf.reduce_sum(outputs[0, height, width])
    rows, columns = np.nonzero(np.abs(tape.gradient(value, images)[0]).sum(-1))
    seen = [(int(side.min()), int(side.max())) for side in (rows, columns)]
    assert [layer.range_along(place, place, axis, shape) for axis, place in enumerate((height, width))] == seen
    view = View.of(shape).behind(layer, shape)
    assert view.field() == tuple(last - first + 1 for first, last in seen)


def test_a_squeeze_sees_the_whole_image() -> None:
    view = View.of((64, 96, 3)).behind(backbone(), (64, 96, 3))
    assert view.field() == (64, 96)


@pytest.mark.long
def test_initial_weights_come_from_the_seed_wherever_the_network_ends() -> None:
    shape = (32, 32, 3)
    first, again, cut, other = (
        {path: np.asarray(weight) for path, weight in weights_by_path(layer.build(scope(shape, seed=seed))).items()}
        for layer, seed in (
            (backbone(), 3), (backbone(), 3), (backbone(until="expanded_conv_2_add"), 3), (backbone(), 4),
        )
    )  # fmt: skip
    assert all(np.array_equal(first[path], again[path]) for path in first)
    assert 0 < len(cut) < len(first)
    assert all(np.array_equal(first[path], cut[path]) for path in cut)
    assert not np.array_equal(first["conv/kernel"], other["conv/kernel"])


def test_a_frozen_network_learns_nothing() -> None:
    shape = (32, 32, 3)
    layer = backbone(trainable=False)
    assert layer.parameters(shape)[0] == 0
    built = layer.build(scope(shape))
    assert built.trainable_weights == []
    before = [np.array(weight) for weight in built.weights]
    built(np.random.default_rng(0).uniform(0, 255, (4, *shape)), training=True)
    assert all(np.array_equal(one, other) for one, other in zip(before, built.weights, strict=True))


@pytest.mark.parametrize(
    ("arguments", "shape", "message"),
    [
        ({}, (32, 32, 1), "takes images of 3 channels (red, green, blue), but receives 32x32x1"),
        ({}, (32, 31, 3), "takes images of at least 32x32, but receives 32x31x3"),
        ({"name": "InceptionV3"}, (74, 75, 3), "at least 75x75"),
        ({}, (32,), "takes images"),
    ],
)
def test_other_images_are_refused(arguments: dict[str, Any], shape: Shape, message: str) -> None:
    with pytest.raises(ShapeError) as caught:
        backbone(**arguments).output_shape(shape)
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "MobilNetV2"}, "unknown network `MobilNetV2`; did you mean `MobileNetV2`?"),
        ({"name": "mobilenetv3small"}, "did you mean `MobileNetV3Small`?"),
        ({"name": 3}, "expected the name of a network"),
        ({"until": "expanded_conv_2_ad"}, "no layer `expanded_conv_2_ad`; did you mean `expanded_conv_2_add`?"),
        ({"until": "qqqq"}, "no layer `qqqq`; its last one is `activation_17`"),
    ],
)
def test_names_that_do_not_exist_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Backbone.model_validate({"name": SMALL, **arguments})
    assert message in str(caught.value)


def test_there_is_a_file_for_each_network() -> None:
    assert sorted(file.name for file in FOLDER.iterdir()) == sorted(name + SUFFIX for name in NETWORKS)
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 300_000
