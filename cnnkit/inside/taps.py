"""Outputs of layers inside a network, at any depth: the only way in which pictures, reports and pages look inside."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from cnnkit.errors import CnnkitError
from cnnkit.inside.outputs import SEPARATOR


def taps(model: Any, names: Sequence[str]) -> Any:
    """A Keras model that outputs what a network outputs, and what some of its layers do.

    A layer inside a sub-model is not connected to the outer model's input in Keras, so the graph is built again around
    the same layers: the weights are shared, and the network is computed once.

    Args:
        model: A built Sequential or functional model.
        names: Layers by name; one inside a sub-model after the sub-model's name and a slash, to any depth:
            `2.stage/layers.0.basic`.

    Returns:
        A functional model with the network's input, and a list of outputs: the network's own, then one for each name
        (once, where one is named twice).

    Raises:
        CnnkitError: if there is no such layer.
    """
    _check(model, names)
    return _tapped(model, list(dict.fromkeys(names)))


def _tapped(model: Any, names: Sequence[str]) -> Any:
    """A model of the same layers with more outputs; names are those of layers inside it."""
    import keras

    tensors: dict[str, Any] = {}

    def call(layer: Any, *arguments: Any, **options: Any) -> Any:
        begin = layer.name + SEPARATOR
        inside = [name for name in names if name.startswith(begin)]
        if inside:
            output, *outputs = _tapped(layer, [name.removeprefix(begin) for name in inside])(*arguments, **options)
            tensors.update(zip(inside, outputs, strict=True))
        else:
            output = layer(*arguments, **options)
        if layer.name in names:
            tensors[layer.name] = output
        return output

    if isinstance(model, keras.Sequential):
        inputs = keras.Input(model.input_shape[1:], dtype=model.inputs[0].dtype)
        output = inputs
        for layer in model.layers:
            output = call(layer, output)
    else:
        rebuilt = keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=call)
        inputs, output = rebuilt.inputs[0], rebuilt.outputs[0]
    return keras.Model(inputs, [output, *(tensors[name] for name in names)])


def _check(model: Any, names: Sequence[str]) -> None:
    known = layer_names(model)
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean `{near[0]}`?" if near else f"Its layers are {', '.join(known[:40])}."
            raise CnnkitError(f"the network has no layer `{name}`", hint)


def layer_names(model: Any, outer: str = "") -> list[str]:
    """The names of all layers of a model, those inside sub-models after theirs."""
    import keras

    names = []
    for layer in model.layers:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        names.append(outer + layer.name)
        if isinstance(layer, keras.Model):
            names += layer_names(layer, outer + layer.name + SEPARATOR)
    return names
