"""Networks of keras.applications as Keras models: preprocessing inside, cut where the config says, every draw seeded.

This module imports Keras; only building a model imports it.
"""

# Keras ships no types: its classes are Any to mypy.
# mypy: disallow-subclassing-any=False

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras

from cnnkit.format.seeds import derive_seed

if TYPE_CHECKING:
    from cnnkit.format.shapes import Shape
    from cnnkit.layers.backbone_graph import Network
    from cnnkit.layers.base import Scope


class KeptBatchNormalization(keras.layers.BatchNormalization):
    """Keras' BatchNormalization that normalizes by the mean and variance that it has learned, also in training.

    Its scale and offset can be trained. A functional model's `training=False` does not do that: Keras puts the
    `training` of the model's own call in its place.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        return super().call(inputs, training=False, mask=mask)


def preprocessed(network: Network, images: Any) -> Any:
    """Images of 0..255, red first, as a network of keras.applications expects them."""
    if network.preprocessing is None:
        return images
    return importlib.import_module(f"keras.applications.{network.module}").preprocess_input(images)


def keras_network(network: Network, input_shape: Shape) -> tuple[Any, dict[str, Any]]:
    """A network as keras.applications makes it, after its preprocessing, and its operations by cnnkit's names.

    Keras numbers layers without a name by what was built before; `Network` has the names of a first network.
    """
    images = keras.Input(input_shape, dtype="float32")
    make = getattr(keras.applications, network.name)
    model = make(include_top=False, weights=None, input_tensor=preprocessed(network, images), input_shape=input_shape)
    # The preprocessing comes first.
    operations = model.operations[-len(network.nodes) :]
    return model, {node.name: operation for node, operation in zip(network.nodes, operations, strict=True)}


@dataclass(frozen=True)
class Cut:
    """What of a network is to be built.

    Attributes:
        until: The layer whose output is the last; None for the network's own last.
        name: Of the model.
        key: What the seeds derive from.
        dtype: The dtype policy of the layers; None for Keras' global one.
        keeps_statistics: Whether batch normalization keeps its mean and variance in training.
    """

    network: Network
    until: str | None
    name: str
    key: str
    dtype: str | None
    keeps_statistics: bool


class _Cloner:
    """Makes a network's operations again, with their names, their dtype and seeds of their own."""

    def __init__(self, cut: Cut, scope: Scope, names: dict[int, str]) -> None:
        self._cut = cut
        self._scope = scope
        self._names = names

    def __call__(self, operation: Any) -> Any:
        name = self._names.get(id(operation), operation.name)
        if isinstance(operation, keras.Sequential):
            return keras.models.clone_model(operation, clone_function=self._inside)
        if isinstance(operation, keras.layers.Layer):
            return self._layer(operation, name)
        return type(operation).from_config(operation.get_config() | {"name": name})

    def _inside(self, layer: Any) -> Any:
        return self._layer(layer, layer.name)

    def _layer(self, layer: Any, name: str) -> Any:
        config = layer.get_config() | {"name": name, "dtype": self._cut.dtype}
        for argument, value in config.items():
            if argument.endswith("_initializer") and "seed" in value.get("config", {}):
                value["config"]["seed"] = self._seed("weights", name, argument)
        return self._class(layer, config).from_config(config)

    def _class(self, layer: Any, config: dict[str, Any]) -> Any:
        if isinstance(layer, keras.layers.BatchNormalization):
            if self._cut.keeps_statistics:
                return KeptBatchNormalization
            config["synchronized"] = self._scope.sharing.statistics
        if isinstance(layer, keras.layers.Dropout):
            config["seed"] = self._seed("dropout", config["name"])
            if self._scope.sharing.draws:
                from cnnkit.layers import shared_draws

                return shared_draws.Dropout
        return type(layer)

    def _seed(self, use: str, *path: str) -> int:
        return derive_seed(self._scope.seeds.seed, use, self._cut.key, *path)


def build_backbone(cut: Cut, scope: Scope) -> Any:
    """A functional model of a network's layers, with random weights."""
    model, operations = keras_network(cut.network, scope.input_shape)
    last = operations[cut.until] if cut.until is not None else model.operations[-1]
    whole = keras.Model(model.inputs[0], last.output, name=cut.name)
    names = {id(operation): name for name, operation in operations.items()}
    images = keras.Input(scope.keras_shape, dtype="float32")
    return keras.models.clone_model(whole, images, clone_function=_Cloner(cut, scope, names))
