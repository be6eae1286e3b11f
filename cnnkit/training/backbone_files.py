"""Reading the weights of a backbone from files: of Keras' weights, and of models that have the network in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnkit.errors import CnnkitError, first_line
from cnnkit.layers.weight_paths import SEPARATOR, name_in_layer

if TYPE_CHECKING:
    import numpy as np

    from cnnkit.layers.backbone import Backbone
    from cnnkit.runs.trained import TrainedRun

#: Mean and deviation of ImageNet's channels on the scale 0..1, as keras.applications has them.
_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)
#: The module of the networks that Keras builds with one layer more, a Rescaling, for weights of ImageNet.
_RESCALED = "efficientnet"


def read_arrays(
    file: Path, layer: Backbone, input_shape: tuple[int, ...], run: TrainedRun | None = None
) -> dict[str, np.ndarray]:
    """The weights of a backbone, by their paths in it: `block_12_expand/kernel`.

    Args:
        file: Weights (.h5), or a model (.keras).
        input_shape: What arrives at the backbone.
        run: The run whose model it is.

    Raises:
        CnnkitError: if the file cannot be read, or does not hold the backbone.
    """
    import numpy as np

    if run is not None or file.suffix == ".keras":
        model = run.load_model() if run is not None else _load_model(file)
        found = _of_model(file, model, layer, input_shape)
    else:
        found = _of_weights(file, layer, input_shape)
    wanted = {weight.name for weight in layer.variables(input_shape)}
    arrays = {name: array for name, array in found.items() if name in wanted}
    broken = next((name for name, array in arrays.items() if not np.isfinite(array.astype(np.float32)).all()), None)
    if broken is not None:
        raise CnnkitError(f"`{file}` is damaged: the weight {broken} is not finite")
    return arrays


def _load_model(file: Path) -> Any:
    import keras

    try:
        return keras.models.load_model(file, compile=False)
    except Exception as error:
        raise CnnkitError(f"Keras cannot read the model `{file}`: {first_line(error)}") from None


def _of_weights(file: Path, layer: Backbone, input_shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    from cnnkit.layers.backbone_model import keras_network

    model, operations = keras_network(layer.network, input_shape)
    try:
        model.load_weights(file)
    except Exception as error:
        raise CnnkitError(
            f"`{file}` does not hold the weights of {layer.name} without its classifier: {first_line(error)}",
            f"Expected what keras.applications.{layer.name}(include_top=False).save_weights writes, or the "
            f"file that Keras downloads: {layer.network.file_for(input_shape).file}.",
        ) from None
    arrays: dict[str, Any] = {}
    for name, operation in operations.items():
        arrays |= _arrays(name, operation)
    return _rescaled(arrays, _DEVIATION) if layer.network.module == _RESCALED and _of_imagenet(arrays) else arrays


def _arrays(name: str, keras_layer: Any) -> dict[str, np.ndarray]:
    import numpy as np

    return {
        f"{name}{SEPARATOR}{name_in_layer(keras_layer, variable)}": np.asarray(variable)
        for variable in getattr(keras_layer, "weights", ())
    }


def _of_model(file: Path, model: Any, layer: Backbone, input_shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """The weights of a backbone in a model, or in a model inside it."""
    wanted = [operation for operation in layer.operations(input_shape) if operation.weights]
    best: tuple[int, str] = (-1, "")
    for container in _containers(model):
        by_name = {one.name: one for one in container.layers if one.weights}
        if wanted[0].name not in by_name:
            # Keras numbers the layers that have no name by what was built before.
            names = [node.name for node in layer.network.nodes if node.name in {one.name for one in wanted}]
            by_name = dict(zip(names, by_name.values(), strict=False))
        problem = None
        fitting = 0
        arrays: dict[str, Any] = {}
        for operation in wanted:
            problem = _misfit(operation, by_name.get(operation.name))
            if problem is not None:
                break
            fitting += 1
            arrays |= _arrays(operation.name, by_name[operation.name])
        if problem is None:
            factors = _factors(container) if layer.network.module == _RESCALED else None
            return arrays if factors is None else _rescaled(arrays, factors)
        best = max(best, (fitting, problem))
    raise CnnkitError(
        f"`{file}` does not hold {layer.name}{'' if layer.until is None else f' until {layer.until}'}: {best[1]}",
        f"Expected a model with the layers of keras.applications.{layer.name}(include_top=False).",
    )


def _containers(model: Any) -> Iterator[Any]:
    """A model and the models in it, at any depth."""
    import keras

    yield model
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _containers(layer)


def _misfit(operation: Any, keras_layer: Any) -> str | None:
    wanted = ", ".join(f"{weight.name} {list(weight.shape)}" for weight in operation.weights)
    if keras_layer is None:
        return f"there is no layer {operation.name} with the weights {wanted}"
    shapes = [tuple(weight.shape) for weight in keras_layer.weights]
    if shapes == [weight.shape for weight in operation.weights]:
        return None
    has = ", ".join(f"{weight.name} {list(weight.shape)}" for weight in keras_layer.weights)
    return f"the layer {keras_layer.name} has the weights {has}, but {operation.name} needs {wanted}"


def _of_imagenet(arrays: Mapping[str, Any]) -> bool:
    """Whether the constants of EfficientNet's Normalization are those of ImageNet."""
    import numpy as np

    return bool(np.allclose(arrays["normalization/mean"], _MEAN, atol=1e-4))


def _factors(container: Any) -> tuple[float, ...] | None:
    """By what deviation a model's images are divided once more, whose square roots a Rescaling multiplies with."""
    import keras
    import numpy as np

    scales = [np.atleast_1d(one.scale) for one in container.layers if isinstance(one, keras.layers.Rescaling)]
    scale = next((scale for scale in scales if len(scale) == len(_DEVIATION)), None)
    return None if scale is None else tuple(float(value) for value in 1 / np.asarray(scale, np.float64) ** 2)


def _rescaled(arrays: dict[str, Any], deviation: tuple[float, ...]) -> dict[str, Any]:
    """EfficientNet's weights for a network without the Rescaling that Keras adds for those of ImageNet.

    It divides by the square root of the deviation, and so does a Normalization whose variance is larger by it.
    """
    import numpy as np

    variance = arrays["normalization/variance"].astype(np.float64) * np.asarray(deviation)
    return arrays | {"normalization/variance": variance.astype(np.float32)}
