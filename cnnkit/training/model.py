"""The layer list to a `keras.Sequential`, normalisation inside, every initial weight seeded."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnkit.format.seeds import derive_seed
from cnnkit.format.shapes import Shape
from cnnkit.layers.base import ALONE, Seeds, Sharing
from cnnkit.layers.resolved import scopes
from cnnkit.layers.stack import Step, head
from cnnkit.layers.submodel import leaves_of
from cnnkit.layers.weight_paths import SEPARATOR, name_in_layer
from cnnkit.machine.tensorflow import bfloat16_hindrance, has_gpu

if TYPE_CHECKING:
    from cnnkit.config.run import RunConfig
    from cnnkit.config.sample import Sample
    from cnnkit.config.target import Target
    from cnnkit.config.training import TrainingConfig
    from cnnkit.data import Split
    from cnnkit.layers.stack import Step

#: Training images whose patches `PatchWhitening` measures.
WHITENING_IMAGES = 5000

#: Channels of a signal whose kernels can be told apart in a picture, a row for each.
MOST_ROWS = 128


def normalization_constants(
    config: RunConfig, measured: tuple[Sequence[float], Sequence[float]] | None
) -> tuple[list[float], list[float]] | None:
    """Mean and variance per channel on the scale 0..255 for `Normalization`; None for no normalisation.

    Args:
        measured: What `standardize` uses: mean and variance of the training split.
    """
    wanted = config.data.normalization
    if wanted == "none":
        return None
    if wanted == "scale":
        return [0.0], [255.0**2]
    if wanted == "standardize":
        if measured is None:
            raise ValueError("`standardize` needs the measured mean and variance")
        return list(measured[0]), list(measured[1])
    return list(wanted.mean), list(wanted.variance)


def build_model(
    config: RunConfig,
    steps: Sequence[Step],
    target: Target,
    constants: tuple[Sequence[float], Sequence[float]] | None,
    sharing: Sharing = ALONE,
    sample: Sample | None = None,
) -> Any:
    """An uncompiled `keras.Sequential` that takes samples as they are stored: images [batch, height, width, channels],
    0..255, or numbers of words [batch, length].

    A layer is named after its place in the config (`3.Conv2D`) unless it has a name of its own.

    Args:
        steps: The layers of the config, see `LoadedConfig.steps`.
        target: What is to be learned of the images.
        constants: Mean and variance per channel for the normalisation in front; None for none.
        sharing: What several devices need.
        sample: What the network takes; by default a sample of the data set.
    """
    sample = sample or config.data.sample
    steps = config.steps_to_build(steps, {**target.values, **sample.values})
    built = build_layers(steps, sample, constants, Seeds(config.seed), config.training, sharing)
    return config.task.make_model(built, config.training, head([step.layer for step in steps]), target)


def build_other(
    config: RunConfig,
    network: str,
    steps: Sequence[Step],
    constants: tuple[Sequence[float], Sequence[float]] | None,
    sharing: Sharing = ALONE,
) -> list[Any]:
    """The Keras layers of a network that is trained beside the one that is kept, its input and the normalisation first.

    Its initial weights have seeds of their own.

    Args:
        network: Its name.
        steps: Its layers.
        constants, sharing: As for `build_model`.
    """
    seeds = Seeds(derive_seed(config.seed, "network", network))
    return build_layers(steps, config.data.sample, constants, seeds, config.training, sharing)


def build_layers(
    steps: Sequence[Step],
    sample: Sample,
    constants: tuple[Sequence[float], Sequence[float]] | None,
    seeds: Seeds,
    training: TrainingConfig,
    sharing: Sharing = ALONE,
) -> list[Any]:
    """The Keras layers of a stack, its input and the normalisation before them.

    Args:
        steps: The stack.
        sample: What it takes.
        constants, sharing: As for `build_model`.
        seeds: Of the initial weights.
        training: With the settings that run in place of every `auto`.
    """
    import keras

    input_shape = steps[0].input_shape
    built: list[Any] = [
        keras.Input(shape=steps[0].fed or input_shape, name=sample.input_name, dtype=sample.input_dtype)
    ]
    if constants is not None:
        mean, variance = constants
        built.append(
            keras.layers.Normalization(
                mean=_per_channel(mean, input_shape),
                variance=_per_channel(variance, input_shape),
                name="normalization",
                dtype="float32",
            )
        )
    labels = [f"{index}.{step.layer.kind}" for index, step in enumerate(steps)]
    for step, scope in zip(
        steps, scopes(steps, labels, seeds, training.dtype_policy, ending=True, sharing=sharing), strict=True
    ):
        built.append(step.layer.build(scope))
    from cnnkit.layers.bfloat16 import use_exact_sums
    from cnnkit.layers.filter_gradient import use_forward_filter_gradients
    from cnnkit.layers.fused import fuse_activations, postpone_activations, use_keras_normalization

    layers: list[Any] = postpone_activations(built)
    if training.fused_activations == "on":
        fuse_activations(layers)
    if training.forward_filter_gradients == "on":
        use_forward_filter_gradients(layers)
    if training.jit == "on":
        use_keras_normalization(layers)
    elif not has_gpu():
        use_exact_sums(layers, in_software=bfloat16_hindrance() is not None)
    return layers


def _per_channel(values: Sequence[float], input_shape: Shape) -> list[float]:
    """One value per channel; Keras' Normalization does not spread a single one over several."""
    return list(values) * input_shape[-1] if len(values) == 1 else list(values)


def measure_initial_weights(model: Any, split: Split) -> None:
    """Sets the kernels that `PatchWhitening` asks for, from the first images of the training split.

    Args:
        model: What `build_model` made.
        split: The training images.
    """
    from cnnkit.layers.keras_initializers import PatchWhitening, whitening_kernel

    for index, layer in enumerate(model.layers):
        initializer = getattr(layer, "kernel_initializer", None)
        if isinstance(initializer, PatchWhitening):
            images = split.read(np.arange(min(split.size, WHITENING_IMAGES))).astype(np.float32)
            for before in model.layers[:index]:
                images = np.asarray(before(images))
            kernel = whitening_kernel(images, layer.kernel_size, layer.filters, initializer.epsilon)
            layer.kernel.assign(kernel)


def first_kernel(model: Any, axes: int | None = None) -> np.ndarray | None:
    """The kernel of the first convolution in which something can be seen; None without one.

    A depthwise one counts as filters of one channel each. Networks that take ids have none: the vectors of ids have no
    order that could be seen. Nor have those that make images of vectors: their kernels look at no image.

    Args:
        axes: How many the kernel has; by default as many as that of the first has.

    Returns:
        float32: of images [height, width, channels, filters], of signals [length, channels, filters] with at most
        `MOST_ROWS` channels, of volumes [depth, height, width, channels, filters].
    """
    if "int" in str(model.inputs[0].dtype) or len(model.input_shape) == 2:
        return None
    seen = (kernel for _, kernel in kernels(model) if kernel.ndim != 3 or kernel.shape[1] <= MOST_ROWS)
    return next((kernel for kernel in seen if axes in (None, kernel.ndim)), None)


def kernels(model: Any) -> Iterator[tuple[str, np.ndarray]]:
    """The names and kernels of all convolutions in their order, as `first_kernel` has them, whatever can be seen."""
    import keras

    layers: Any = keras.layers
    of_signals = (layers.Conv1D, layers.Conv1DTranspose, layers.DepthwiseConv1D, layers.SeparableConv1D)
    turned = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
    depthwise = (layers.DepthwiseConv1D, layers.SeparableConv1D, layers.DepthwiseConv2D, layers.SeparableConv2D)
    for outer in leaves_of(model):
        layer = outer.layer if isinstance(outer, layers.Wrapper) else outer
        # Attention has weights of three axes, too.
        ranks = (3,) if isinstance(layer, of_signals) else (4, 5)
        kernel = next((weight for weight in outer.weights if len(weight.shape) in ranks), None)
        if kernel is None:
            continue
        values = np.asarray(kernel.numpy(), np.float32)
        if isinstance(layer, turned):
            values = np.swapaxes(values, -1, -2)
        elif isinstance(layer, depthwise):
            values = values.reshape(*values.shape[:-2], 1, -1)
        yield outer.name, values


def weights_by_path(model: Any, outer: str = "") -> dict[str, Any]:
    """The variables of a model's layers, at any depth, by the paths that `layers.weight_paths` gives them.

    Keras' own `path` does not tell what a layer in a sub-model is inside of. A Sequential inside is one layer of the
    config, built with its padding before it (`layers.window`).
    """
    import keras

    found: dict[str, Any] = {}
    for layer in model.layers:
        path = outer + layer.name + SEPARATOR
        if isinstance(layer, keras.Model) and not isinstance(layer, keras.Sequential):
            found |= weights_by_path(layer, path)
        else:
            found |= {path + name_in_layer(layer, weight): weight for weight in layer.weights}
    return found


def train_only(paths: Collection[str], model: Any, outer: str = "") -> None:
    """Sets Keras' `trainable` of a model's layers with weights, at any depth.

    Args:
        paths: Those of the layers that are to be trained, see `layers.weight_paths`.
    """
    import keras

    for layer in model.layers:
        path = outer + layer.name
        if isinstance(layer, keras.Model) and not isinstance(layer, keras.Sequential):
            # This sets those inside, too, so it comes first.
            layer.trainable = any(one.startswith(path + SEPARATOR) for one in paths)
            train_only(paths, layer, path + SEPARATOR)
        elif layer.weights:
            layer.trainable = path in paths


def without_training_state(model: Any, input_shape: Shape | None = None) -> Any:
    """A model of Keras' own layers with the model's weights: what is saved for use opens without cnnkit, and is small.

    Layers that only training needs (`layers/fused.py`) and initial weights that Keras cannot draw are replaced.

    Args:
        input_shape: (height, width, channels) of the images that it is for; by default what the model itself takes,
            which may be images of several sizes.
    """
    import keras

    layers = [plain_layer(layer) for layer in model.layers]
    shape = model.input_shape[1:] if input_shape is None else input_shape
    (taken,) = model.inputs
    plain = keras.Sequential([keras.Input(shape=shape, name=taken.name, dtype=taken.dtype), *layers], name=model.name)
    plain.set_weights(model.get_weights())
    return plain


def plain_layer(layer: Any) -> Any:
    """A new layer as Keras itself has it, from one that cnnkit built; sub-models layer by layer."""
    import keras

    from cnnkit.layers.fused import FusedLocalResponseNormalization

    if isinstance(layer, FusedLocalResponseNormalization):
        return layer.make_plain()
    if isinstance(layer, keras.Model):
        return keras.models.clone_model(layer, clone_function=plain_layer)
    config = layer.get_config()
    for name, value in list(config.items()):
        # Without it, Keras takes its default; the weights are set anyway.
        if name.endswith("_initializer") and str((value or {}).get("module", "")).startswith("cnnkit"):
            del config[name]
    cls = type(layer)
    while cls.__module__.startswith("cnnkit"):
        cls = cls.__bases__[0]
    return cls.from_config(config)
