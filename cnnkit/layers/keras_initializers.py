"""Initializers that Keras lacks. A saved model names Keras' default instead; its weights are set anyway.

This module imports Keras; only building a model imports it.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray


class Dirac(keras.initializers.Initializer):
    """A convolution that at first passes its input on: filter i is 1 at its centre for channel i, else 0.

    Filters beyond the number of channels are drawn uniformly, with variance 1 / (3 inputs).

    Args:
        seed: Of those filters; None draws them again each time.
    """

    def __init__(self, seed: int | None = None) -> None:
        self.seed = seed
        self.rest = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform", seed=seed)

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        height, width, channels, filters = shape
        kernel = np.array(self.rest(shape, dtype="float32"))
        passed = min(channels, filters)
        kernel[..., :passed] = 0
        kernel[height // 2, width // 2, range(passed), range(passed)] = 1
        return keras.ops.convert_to_tensor(kernel, dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.seed}


class PatchWhitening(keras.initializers.Zeros):
    """Stands for a kernel that is measured on the training images, see `whitening_kernel`.

    Args:
        epsilon: Added to the patches' variances.
    """

    def __init__(self, epsilon: float = 5e-4) -> None:
        self.epsilon = epsilon


def whitening_kernel(
    images: NDArray[np.float32], kernel_size: tuple[int, int], filters: int, epsilon: float
) -> NDArray[np.float32]:
    """Filters whose outputs on the images' patches are uncorrelated and of variance about 1.

    Eigenvectors of the patches' second moments, each divided by sqrt(eigenvalue + epsilon), those of the largest
    eigenvalues first, followed by their negatives; as in cifar10-airbench (Jordan 2024, arXiv:2404.00498), after
    Page, "How to train your ResNet" (2018).

    Args:
        images: Normalized images [images, height, width, channels].
        kernel_size: (height, width) of a patch.
        filters: An even number, at most 2 * height * width * channels.

    Returns:
        A convolution kernel [height, width, channels, filters].
    """
    height, width = kernel_size
    size = height * width * images.shape[-1]
    moments = np.zeros((size, size))
    count = 0
    for start in range(0, len(images), 500):
        windows = np.lib.stride_tricks.sliding_window_view(images[start : start + 500], kernel_size, axis=(1, 2))
        patches = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, size).astype(np.float64)
        moments += patches.T @ patches
        count += len(patches)
    values, vectors = np.linalg.eigh(moments / count)
    scaled = (vectors / np.sqrt(np.maximum(values, 0) + epsilon))[:, ::-1][:, : filters // 2]
    kernel = np.concatenate([scaled, -scaled], axis=1)
    return kernel.reshape(height, width, -1, filters).astype(np.float32)
