"""Layers that Keras lacks, as small functional models of stock layers and operations.

Such a model's `.keras` file needs no custom class, so that it opens without cnnkit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any


def functional(name: str, input_shape: tuple[int | None, ...], dtype: str, body: Callable[[Any], Any]) -> Any:
    """A named functional model of one input.

    Args:
        input_shape: The input's shape without the batch axis; None along axes whose size varies.
        dtype: The dtype to which the model casts its input.
        body: Makes the output tensor from the input tensor.
    """
    import keras

    inputs = keras.Input(input_shape, dtype=dtype)
    return keras.Model(inputs, body(inputs), name=name)


def leaves_of(model: Any) -> Iterator[Any]:
    """The layers of a model, those of sub-models instead of these, from input to output."""
    import keras

    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from leaves_of(layer)
        else:
            yield layer


def with_inner(layers: Sequence[Any]) -> Iterator[Any]:
    """Each of the layers, and after it those inside of it: a sub-model's, and what a wrapper wraps."""
    for layer in layers:
        yield layer
        wrapped = getattr(layer, "layer", None)
        yield from with_inner([*getattr(layer, "layers", []), *([] if wrapped is None else [wrapped])])
