"""Layers whose activation is a function with arguments: the layer without it, and the function after it."""

from typing import Any

from cnnkit.format.shapes import Shape
from cnnkit.layers.base import Layer, Names


def with_function(layer: Layer, names: Names, input_shape: Shape) -> Layer:
    """A layer with all it applies: as it is, or, where its activation has arguments, a model of two layers.

    Keras' own layers save an activation by its name alone, so that one with arguments has to come after them.

    Args:
        layer: One with the field `activation`, resolved.
    """
    activation: Any = getattr(layer, "activation")  # noqa: B009
    if activation is None or isinstance(activation, str):
        return layer
    # Few configs have such; the others need no classes of activations.
    from cnnkit.layers.activation import Activation
    from cnnkit.layers.resolved import Part, Resolved
    from cnnkit.layers.stack import trace

    bare = layer.model_copy(update={"activation": "linear", "name": None})
    steps = trace([bare, Activation(activation=activation, dtype=layer.dtype)], input_shape, names)
    return Resolved.of(layer, [Part.of("layers", steps, implied=True)])
