"""Feature maps: what the stages of a network output for images, and which of their channels are worth a look."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.inside.outputs import LayerOutput
from cnnkit.inside.taps import taps
from cnnkit.runs.ranking import ranked

#: From images [n, height, width, channels], 0..255, to the network's outputs [n, classes], and for each stage its maps,
#: float32 [n, rows, columns, channels].
Stages = Callable[[NDArray[Any]], tuple[NDArray[Any], list[NDArray[np.float32]]]]


def compile_stages(model: Any, stages: Sequence[LayerOutput], *, jit_compile: bool) -> Stages:
    """The outputs of some layers as one compiled function.

    Args:
        model: A network that takes images.
        stages: The layers, such as `outputs.stages` finds.
        jit_compile: Whether XLA compiles it; some networks can be computed in no other way, see `TrainedRun.uses_xla`.
    """
    import tensorflow as tf

    tapped = taps(model, [place.name for place in stages])
    taken = model.inputs[0].dtype
    signature = [tf.TensorSpec([None, *model.input_shape[1:]], taken)]

    @tf.function(input_signature=signature, autograph=False, jit_compile=jit_compile)
    def compute(images: Any) -> Any:
        outputs = tapped(images, training=False)
        # Keras gives the only one of a list by itself.
        return outputs if isinstance(outputs, list) else [outputs]

    def run(images: NDArray[Any]) -> tuple[NDArray[Any], list[NDArray[np.float32]]]:
        outputs, *maps = compute(tf.constant(images, taken))
        images_of = [place.as_images(one.numpy()).astype(np.float32) for place, one in zip(stages, maps, strict=True)]
        return outputs.numpy(), images_of

    return run


def most_active(maps: NDArray[np.float32], count: int) -> list[int]:
    """The channels of [rows, columns, channels] with the largest mean output, the largest first."""
    return ranked(maps.mean(axis=(0, 1)), count)


def normalised(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Values from 0 for the smallest to 1 for the largest; all 0 where they are equal, 0 for what is not a number."""
    values = np.nan_to_num(values)
    low, high = float(values.min()), float(values.max())
    return (values - low) / (high - low) if high > low else np.zeros_like(values)
