"""Weights by name: the paths of a network's weights, and which of them a name in the config means."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from cnnkit.layers.base import Layer, Weight
from cnnkit.layers.resolved import Resolved
from cnnkit.layers.stack import Step

#: Between the name of a layer and that of a layer or weight inside it.
SEPARATOR = "/"


@dataclass(frozen=True)
class WeightedLayer:
    """A layer with weights, at any depth.

    Attributes:
        path: The names of the layers around it and its own: `2.Residual/layers.0.Conv2D`.
        kind: What the config calls it.
        weights: All of them, in Keras' order.
        is_trained: Whether neither the layer nor one around it has `trainable: false`.
        outer_kinds: What the config calls the layers around it, from outside in.
    """

    path: str
    kind: str
    weights: tuple[Weight, ...]
    is_trained: bool = True
    outer_kinds: tuple[str, ...] = ()

    @property
    def has_statistics(self) -> bool:
        """Whether it keeps moving statistics of what arrives, as batch normalization does."""
        return any(weight.name.startswith("moving_") for weight in self.weights)

    @property
    def trainable_size(self) -> int:
        """How many numbers a gradient can change."""
        return sum(weight.size for weight in self.weights if weight.trainable)

    def is_called(self, name: str) -> bool:
        """Whether a name is this layer's own or that of its kind, rather than of what is around it."""
        return f"/{self.path}".endswith(f"/{name}") or name.lower() == self.kind.lower()

    def path_of(self, weight: Weight) -> str:
        return self.path + SEPARATOR + weight.name


def path_of_layer(index: int, layer: Layer, labels: Sequence[str] | None, outer: str) -> str:
    """What a layer is called in paths: by its `name`, or else by its place, after the path of what is around it.

    Args:
        labels: What the layers of its stack are called that have no name; by default as in `model.layers`.
    """
    return outer + (layer.name or (labels[index] if labels else f"{index}.{layer.kind}"))


def weighted_layers(
    steps: Sequence[Step],
    labels: Sequence[str] | None = None,
    outer: str = "",
    is_trained: bool = True,
    outer_kinds: tuple[str, ...] = (),
) -> Iterator[WeightedLayer]:
    """The layers with weights, from input to output; one is called by its `name`, or else by its place.

    Args:
        labels: What the layers without a name are called; by default as in `model.layers`.
        outer: The path of what is around these layers.
        is_trained: Whether that is trained.
        outer_kinds: What the config calls it, and what is around it.
    """
    for index, step in enumerate(steps):
        layer = step.layer
        path = path_of_layer(index, layer, labels, outer)
        trained = is_trained and layer.trainable
        kinds = (*outer_kinds, layer.kind)
        if isinstance(layer, Resolved):
            for part in layer.parts:
                yield from weighted_layers(part.steps, part.labels, path + SEPARATOR, trained, kinds)
        elif operations := layer.operations(step.input_shape):
            for operation in operations:
                if operation.weights:
                    inside = path + SEPARATOR + operation.name
                    yield WeightedLayer(inside, operation.kind, operation.weights, trained, kinds)
        elif weights := layer.variables(step.input_shape):
            yield WeightedLayer(path, layer.kind, tuple(weights), trained, outer_kinds)


def weight_paths(steps: Sequence[Step]) -> Iterator[str]:
    """The paths of all weights that can be trained: `2.Residual/layers.0.Conv2D/kernel`, see `weighted_layers`."""
    for layer in weighted_layers(steps):
        yield from (layer.path_of(weight) for weight in layer.weights if weight.trainable)


def name_in_layer(keras_layer: Any, variable: Any) -> str:
    """Keras' name of a layer's variable; ConvNeXt's LayerScale gives its only one none.

    Where several have the same, as in attention, that of the part of the layer comes before it: `query/kernel`.
    """
    if type(keras_layer).__name__ == "LayerScale":
        return "gamma"
    name = str(variable.name)
    if sum(weight.name == name for weight in keras_layer.weights) > 1:
        return SEPARATOR.join(variable.path.split(SEPARATOR)[-2:])
    return name


def own_name(path: str) -> str:
    """A weight's own name: `kernel`, `bias`, `gamma`, ..."""
    return path.rpartition(SEPARATOR)[2]


def meant(name: str, paths: Iterable[str]) -> list[str]:
    """The weights that a name means: all that have it as their own, or else all that are in a layer of that name.

    A name may also be several parts of a path: `2.Residual/layers.0.Conv2D`, `stem/kernel`.

    Args:
        paths: Those of all weights.
    """
    paths = list(paths)
    own = [path for path in paths if own_name(path) == name]
    return own or [path for path in paths if f"/{name}/" in f"/{path}/"]


def layers_meant(name: str, layers: Iterable[WeightedLayer]) -> list[WeightedLayer]:
    """The layers with weights that a name means: those whose path has it, so that the name of a block means all in it.

    `*`, `?` and `[...]` stand for other characters, as in names of files. Where no path has the name, it means the
    layers whose names begin with it and go on after `.`, `_` or `-`, as `block_12` in `block_12_expand`; or else those
    that are, or are inside, what the config calls so: `Backbone`, `BatchNormalization`, also in small letters.

    Args:
        name: A layer's name, several parts of a path, or `all`.
    """
    layers = list(layers)
    if name == "all":
        return layers
    own = [layer for layer in layers if _has(layer.path, name)]
    own = own or [layer for layer in layers if any(_has(layer.path, f"{name}{border}*") for border in "._-")]
    return own or [layer for layer in layers if name.lower() in _lower((*layer.outer_kinds, layer.kind))]


def _lower(names: Iterable[str]) -> list[str]:
    return [name.lower() for name in names]


def _has(path: str, pattern: str) -> bool:
    """Whether consecutive parts of a path match a pattern."""
    parts = path.split(SEPARATOR)
    length = pattern.count(SEPARATOR) + 1
    several = (SEPARATOR.join(parts[begin : begin + length]) for begin in range(len(parts) - length + 1))
    return any(fnmatchcase(text, pattern) for text in several)


def weight_names(paths: Iterable[str]) -> list[str]:
    """All single names that mean some weight."""
    return sorted({part for path in paths for part in path.split(SEPARATOR)})


def keras_path(path: str) -> str:
    """The path that Keras gives a weight of the training model: a layer in another does not know that one's name."""
    parts = path.split(SEPARATOR)
    return SEPARATOR.join(["model", *parts] if len(parts) == 2 else parts[-2:])
