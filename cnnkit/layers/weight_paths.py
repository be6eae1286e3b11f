"""Weights by name: the paths of a network's weights, and which of them a name in the config means."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from cnnkit.layers.base import Weight
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
    """

    path: str
    kind: str
    weights: tuple[Weight, ...]

    def path_of(self, weight: Weight) -> str:
        return self.path + SEPARATOR + weight.name


def weighted_layers(
    steps: Sequence[Step], labels: Sequence[str] | None = None, outer: str = ""
) -> Iterator[WeightedLayer]:
    """The layers with weights, from input to output; one is called by its `name`, or else by its place.

    Args:
        labels: What the layers without a name are called; by default as in `model.layers`.
        outer: The path of what is around these layers.
    """
    for index, step in enumerate(steps):
        layer = step.layer
        path = outer + (layer.name or (labels[index] if labels else f"{index}.{layer.kind}"))
        if isinstance(layer, Resolved):
            for part in layer.parts:
                yield from weighted_layers(part.steps, part.labels, path + SEPARATOR)
        elif operations := layer.operations(step.input_shape):
            for operation in operations:
                if operation.weights:
                    yield WeightedLayer(path + SEPARATOR + operation.name, operation.kind, operation.weights)
        elif weights := layer.variables(step.input_shape):
            yield WeightedLayer(path, layer.kind, tuple(weights))


def weight_paths(steps: Sequence[Step]) -> Iterator[str]:
    """The paths of all weights that can be trained: `2.Residual/layers.0.Conv2D/kernel`, see `weighted_layers`."""
    for layer in weighted_layers(steps):
        yield from (layer.path_of(weight) for weight in layer.weights if weight.trainable)


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


def weight_names(paths: Iterable[str]) -> list[str]:
    """All single names that mean some weight."""
    return sorted({part for path in paths for part in path.split(SEPARATOR)})


def keras_path(path: str) -> str:
    """The path that Keras gives a weight of the training model: a layer in another does not know that one's name."""
    parts = path.split(SEPARATOR)
    return SEPARATOR.join(["model", *parts] if len(parts) == 2 else parts[-2:])
