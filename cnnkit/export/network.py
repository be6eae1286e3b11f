"""A run's network in the form that Keras' exporters take, and what an exporter makes of it."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any

from cnnkit.errors import CnnkitError, first_line
from cnnkit.export.formats import Format
from cnnkit.export.onnx_operators import teach_operators
from cnnkit.machine.tensorflow import standard_error_on_failure


def exportable(model: Any) -> Any:
    """A copy of a model that computes in float32, with all that does not change as constants of its graph.

    A mixed policy is one of the training and of the device that it ran on; the weights are float32 in any.
    """
    import keras
    import tensorflow as tf

    copy = keras.saving.deserialize_keras_object(_in_float32(keras.saving.serialize_keras_object(model)))
    copy.set_weights(model.get_weights())
    for layer in copy._flatten_layers():
        for name, value in list(vars(layer).items()):
            # Such as the mean of a Normalization, which tf2onnx would take for another input.
            if isinstance(value, tf.Tensor):
                setattr(layer, name, value.numpy())
    # Keras exports to ONNX what has been called.
    copy(tf.zeros([1, *copy.input_shape[1:]], copy.inputs[0].dtype))
    return copy


def _in_float32(config: Any) -> Any:
    """The config of a Keras object, in which every policy is float32."""
    if isinstance(config, dict):
        if config.get("class_name") == "DTypePolicy":
            return {**config, "config": {"name": "float32"}}
        return {name: _in_float32(value) for name, value in config.items()}
    return [_in_float32(value) for value in config] if isinstance(config, list) else config


def convert(model: Any, format_: Format, path: Path, settings: dict[str, Any]) -> None:
    """Writes a model in a format, by Keras' own exporter.

    Args:
        model: See `exportable`.
        path: Of its file or folder, with the format's ending.
        settings: What the converter takes beside the model.

    Raises:
        CnnkitError: naming the first layer that the format has no form for.
    """
    failure = _failure(model, format_, path, settings)
    if failure is None:
        return
    name = _culprit(model, format_, settings)
    where = f"the layer `{name}`" if name is not None else "the network"
    raise CnnkitError(
        f"{where} cannot be written as {format_.title}: {failure}",
        "Choose another --format, or another layer; saved_model takes whatever Keras computes.",
    ) from None


def _failure(model: Any, format_: Format, path: Path, settings: dict[str, Any]) -> str | None:
    """Why a model cannot be written, or run where it is written; None where it can."""
    # What converters tell developers, in any number of lines, is shown to nobody.
    with standard_error_on_failure(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if format_.name == "onnx":
            teach_operators()
        try:
            model.export(str(path), format=format_.keras_name, verbose=False, **settings)
            return _unknown_operator(path, model.inputs[0].name) if format_.name == "onnx" else None
        except MemoryError:
            raise
        except Exception as error:  # each converter has errors of its own
            return first_line(error)


def _unknown_operator(path: Path, taken: str) -> str | None:
    """What ONNX does not know in a file: tf2onnx leaves operators that it cannot convert as they were.

    Args:
        taken: The name of the network's input.
    """
    import onnx

    model = onnx.load(path)
    for node in model.graph.node:
        if node.domain in ("", "ai.onnx") and not onnx.defs.has(node.op_type):
            return f"there is no operator for TensorFlow's {node.op_type}"
    strangers = [value.name for value in model.graph.input if value.name != taken]
    return f"the file would take more than {taken}: {', '.join(strangers)}" if strangers else None


def _culprit(model: Any, format_: Format, settings: dict[str, Any]) -> str | None:
    """The first layer that cannot be written by itself; None where each can."""
    import keras
    import tensorflow as tf

    if "representative_dataset" in settings:
        # It has images for the whole network.
        settings = {}
    with tempfile.TemporaryDirectory() as folder:
        for layer in model.layers:
            if isinstance(layer, keras.layers.InputLayer):
                continue
            inputs = keras.Input(shape=layer.input.shape[1:], name=model.inputs[0].name, dtype=layer.input.dtype)
            alone = keras.Model(inputs, layer(inputs))
            alone(tf.zeros([1, *inputs.shape[1:]], inputs.dtype))
            if _failure(alone, format_, Path(folder, f"layer{format_.ending}"), settings) is not None:
                return str(layer.name)
    return None
