"""Weights by name: the paths of a network's weights, and which of them a name in the config means."""

from collections.abc import Iterable, Iterator, Sequence

from cnnkit.layers.resolved import Resolved
from cnnkit.layers.stack import Step

#: Between the name of a layer and that of a layer or weight inside it.
SEPARATOR = "/"


def weight_paths(steps: Sequence[Step], labels: Sequence[str] | None = None, outer: str = "") -> Iterator[str]:
    """The paths of all weights that can be trained: the layers around each, then its own name.

    `2.Residual/layers.0.Conv2D/kernel`; a layer is called by its `name`, or else by its place.

    Args:
        labels: What the layers without a name are called; by default as in `model.layers`.
        outer: The path of what is around these layers.
    """
    for index, step in enumerate(steps):
        layer = step.layer
        path = outer + (layer.name or (labels[index] if labels else f"{index}.{layer.kind}")) + SEPARATOR
        if isinstance(layer, Resolved):
            for part in layer.parts:
                yield from weight_paths(part.steps, part.labels, path)
        else:
            yield from (path + weight.name for weight in layer.weights(step.input_shape) if weight.trainable)


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
